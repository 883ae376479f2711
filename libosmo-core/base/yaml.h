/* YAML 1.1 in, as PyYAML's safe loader means it, and block YAML out.
 *
 * Reading gives the Python value in our terms (booleans yes/no/on/off, octal 010, sexagesimal numbers, underscores,
 * floats need a dot, dates, merge keys, equal keys: the last value wins at the first one's place, !!set, !!omap,
 * !!pairs, !!binary) as a tree that remembers line and column. Size, depth and what aliases expand to are capped; an
 * alias inside of what it names is refused. Any code of the libraries may call this. */
#ifndef BASE_YAML_H
#define BASE_YAML_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "osmo/error.h"

enum yaml_kind {
    YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STRING, YAML_DATE, YAML_LIST, YAML_MAP
} __attribute__((packed)); /* one byte: trees are large */

/* What a kind alone does not tell. Code that does not care may ignore it, except for YAML_BIG where numbers are
 * computed. */
enum yaml_flavour {
    YAML_ORDINARY,
    YAML_BIG,            /* INT beyond 64 bits: `text` has its decimal digits, `integer` the nearest bound */
    YAML_BINARY,         /* STRING decoded from !!binary (Python: bytes); always valid UTF-8 */
    YAML_DATETIME,       /* DATE with a time of day, without a zone */
    YAML_DATETIME_ZONED, /* DATE with a time of day and a zone */
    YAML_SET,            /* MAP whose values are all null */
    YAML_PAIRS           /* LIST of lists of two items, from !!omap or !!pairs */
};

typedef struct yaml_node {
    enum yaml_kind kind;
    bool boolean;
    bool plain;                   /* STRING written without quotes or tag */
    uint8_t flavour;              /* enum yaml_flavour */
    uint8_t inner;                /* of the loader */
    uint16_t height;              /* loaded: levels as written below and including this one */
    union {
        int64_t integer;          /* INT; DATE: microseconds since 1970, in UTC where there is a zone */
        double number;            /* FLOAT */
        struct yaml_index *index; /* MAP: of the loader; NULL for maps made by hand */
    };
    char *text;                   /* scalar as written; for STRING and DATE the value, with `text_len` bytes */
    struct yaml_node **keys;      /* MAP: any scalar kind may be a key */
    struct yaml_node **values;    /* MAP: value i; LIST: item i */
    size_t len;
    uint32_t text_len;
    int line, column;             /* 1-based */
    union {
        uint32_t weight;          /* loaded: nodes as written below and including this one, aliases counted in full */
        uint32_t cap, refs;       /* of trees made by hand */
    };
} yaml_node_t;

typedef struct yaml_limits { size_t max_bytes; int max_depth; size_t max_nodes; } yaml_limits_t;
#define YAML_LIMITS_DEFAULT { .max_bytes = 64u << 20, .max_depth = 100, .max_nodes = 20u * 1000 * 1000 }

/* One document; empty text gives a YAML_NULL node. OSMO_EUSAGE / OSMO_ELIMIT / OSMO_ENOMEM; the text of the error is
 * one line that names the place and the remedy. The tree is one piece of memory behind its root: aliases share nodes,
 * and only the root can be freed. */
int yaml_parse(const char *text, size_t len, const yaml_limits_t *limits, yaml_node_t **out, osmo_error_t *err);
void yaml_tree_free(yaml_node_t *root); /* of yaml_parse() only */
#define yaml_free yaml_tree_free /* libyaml exports a yaml_free of its own, which ours must not replace */
static inline void yaml_freep(yaml_node_t **n) { yaml_free(*n); }
#define _cleanup_yaml_ __attribute__((cleanup(yaml_freep)))
size_t yaml_tree_bytes(const yaml_node_t *root); /* memory that the tree occupies */

/* Sets the kind that PyYAML gives the unquoted scalar, nothing else; YAML_MAP for "<<" and "=", which are not text
 * either. */
void yaml_resolve(yaml_node_t *n, const char *text, size_t len);
const yaml_node_t *yaml_get(const yaml_node_t *map, const char *key); /* string keys only; NULL if absent */
/* A scalar as Python's str() prints the resolved value: True, None, 8, 1.5, text. Malloc'ed; NULL for list/map. */
char *yaml_scalar_text(const yaml_node_t *n);
/* Python-like word for messages: "null", "a boolean", "an integer", "a list", "a mapping" … */
const char *yaml_kind_name(const yaml_node_t *n);
/* JSON tree of the node; non-string keys become their Python text, dates become ISO text, sets objects with null
 * values. An integer beyond 64 bits is refused: JSON trees hold none. */
int yaml_to_json(const yaml_node_t *n, json_t **out, osmo_error_t *err);
/* Block YAML of a JSON tree, keys in the order of the tree (sort first if wanted), literal blocks for
 * multi-line strings, quoting so that PyYAML reads back the same value and type. */
int yaml_emit(const json_t *v, buf_t *out);
#endif
