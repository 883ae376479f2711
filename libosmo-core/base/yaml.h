/* The only door to libyaml. Reads YAML 1.1 as PyYAML's safe loader resolves it (booleans yes/no/on/off,
 * octal 010, sexagesimal, underscores, floats need a dot, dates, merge keys, duplicate keys: last wins) into
 * a tree that remembers line and column. Size, depth and alias expansion are capped. */
#ifndef BASE_YAML_H
#define BASE_YAML_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "osmo/error.h"

enum yaml_kind { YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STRING, YAML_DATE, YAML_LIST, YAML_MAP };

typedef struct yaml_node {
    enum yaml_kind kind;
    bool boolean;
    bool plain;                  /* STRING written without quotes or tag: only then is "<<" a merge key */
    int64_t integer;
    double number;
    char *text;                  /* scalar as written; for STRING and DATE the value, with `text_len` bytes */
    size_t text_len;
    struct yaml_node **keys;     /* MAP: any scalar kind may be a key */
    struct yaml_node **values;   /* MAP: value i; LIST: item i */
    size_t len, cap;
    int line, column;            /* 1-based */
    unsigned refs;               /* aliases share nodes */
    int height;                  /* levels below and including this one */
    size_t weight;               /* nodes below and including this one, aliases counted in full */
} yaml_node_t;

typedef struct yaml_limits { size_t max_bytes; int max_depth; size_t max_nodes; } yaml_limits_t;
#define YAML_LIMITS_DEFAULT { .max_bytes = 64u << 20, .max_depth = 100, .max_nodes = 20u * 1000 * 1000 }

/* One document; empty text gives a YAML_NULL node. Error text has "line L, column C". OSMO_EUSAGE / OSMO_ELIMIT. */
/* The kind PyYAML resolves an unquoted scalar to, and its value into n (kind, boolean, integer, number). */
void yaml_resolve(yaml_node_t *n, const char *text, size_t len);
int yaml_parse(const char *text, size_t len, const yaml_limits_t *limits, yaml_node_t **out, osmo_error_t *err);
void yaml_tree_free(yaml_node_t *n);
#define yaml_free yaml_tree_free /* libyaml exports a yaml_free of its own, which ours must not replace */
static inline void yaml_freep(yaml_node_t **n) { yaml_free(*n); }
#define _cleanup_yaml_ __attribute__((cleanup(yaml_freep)))

const yaml_node_t *yaml_get(const yaml_node_t *map, const char *key); /* string keys only; NULL if absent */
/* A scalar as Python's str() prints the resolved value: True, None, 8, 1.5, text. Malloc'ed; NULL for list/map. */
char *yaml_scalar_text(const yaml_node_t *n);
/* Python-like word for messages: "null", "a boolean", "an integer", "a list", "a mapping" … */
const char *yaml_kind_name(const yaml_node_t *n);
/* JSON tree of the node; non-string keys become their Python text, dates become ISO text. */
int yaml_to_json(const yaml_node_t *n, json_t **out, osmo_error_t *err);
/* Block YAML of a JSON tree, keys in the order of the tree (sort first if wanted), literal blocks for
 * multi-line strings, quoting so that PyYAML reads back the same value and type. */
int yaml_emit(const json_t *v, buf_t *out);
#endif
