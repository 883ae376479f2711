/* Reading YAML mappings by table: key, kind, offset. Shared by the workflow specification and the settings, so that
 * both coerce alike and both report every finding with its path, line and column instead of stopping at the first.
 * Pure. */
#ifndef MODEL_SPEC_READ_H
#define MODEL_SPEC_READ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "base/yaml.h"
#include "model/spec_findings.h"
#include "osmo/error.h"

/* Where a value stands in the document; linked on the caller's stack. key NULL: item `index` of a list. */
struct read_path {
    const struct read_path *up;
    const char *key;
    size_t index;
};

struct reader {
    int code;                /* code of ordinary findings */
    struct spec_findings *f;
    struct spec_findings own;
    bool oom;
};

void reader_init(struct reader *r, int code);
/* Findings go to f, which the caller keeps; reader_result() is then not used. */
void reader_init_to(struct reader *r, int code, struct spec_findings *f);
void reader_clear(struct reader *r);
/* 0 when nothing was found; otherwise the code, with `what` and all findings in err. */
int reader_result(struct reader *r, const char *what, osmo_error_t *err);
void read_report(struct reader *r, const struct read_path *at, const yaml_node_t *n, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Text of a path: "workflow.tasks.0.command". malloc'ed. */
char *read_path_text(const struct read_path *at);
/* The same with a code of its own. OSMO_ERESOURCE outranks what was found before, as upstream raises it at once. */
void read_report_code(struct reader *r, int code, const struct read_path *at, const yaml_node_t *n,
                      const char *format, ...)
    __attribute__((format(printf, 5, 6)));

enum read_kind {
    READ_TEXT,       /* char *: text only */
    READ_TEXT_LAX,   /* char *: numbers become text as Python prints them */
    READ_BOOL,       /* bool */
    READ_INT,        /* int64_t */
    READ_TEXTS,      /* strlist_t: list of lax text */
    READ_DURATION,   /* int64_t microseconds: duration text or a number of seconds */
    READ_OBJECT,     /* char *: a mapping as JSON text */
    READ_ARRAY,      /* char *: a list as JSON text */
    READ_IGNORE,     /* accepted, no effect */
    READ_CUSTOM      /* fn */
};
#define READ_REQUIRED 1u
#define READ_NULLABLE 2u  /* null means unset */

typedef void (*read_fn)(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
struct read_field {
    const char *key;
    enum read_kind kind;
    unsigned flags;
    size_t offset;
    read_fn fn;
};
struct read_table {
    const struct read_field *fields;
    size_t len;
    bool open;  /* unknown keys are accepted without effect */
};
#define READ_TABLE(array, is_open) { (array), sizeof(array) / sizeof((array)[0]), (is_open) }

/* Fill `object` from a mapping. */
void read_mapping(struct reader *r, const yaml_node_t *n, const struct read_path *at, const struct read_table *t,
                  void *object);
/* Array of n->len zeroed items of `size`, each filled by fn; NULL and 0 for an empty or wrong list. */
void *read_list(struct reader *r, const yaml_node_t *n, const struct read_path *at, size_t size, size_t *count,
                read_fn fn);
bool read_text(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool lax, char **out);
bool read_bool(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool *out);
bool read_int(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out);
bool read_texts(struct reader *r, const yaml_node_t *n, const struct read_path *at, strlist_t *out);
/* Booleans are refused unless they are allowed to count as seconds. */
bool read_duration(struct reader *r, const yaml_node_t *n, const struct read_path *at, bool allow_bool, int64_t *us);
/* Text of a scalar value of the free maps (environment, exitActions, credentials): text, numbers and booleans. */
bool read_loose(struct reader *r, const yaml_node_t *n, const struct read_path *at, char **out);
/* Key of a free map as text; malloc'ed. The second refuses keys that are not text, the first turns them into text. */
char *read_key(struct reader *r, const yaml_node_t *key, const struct read_path *at);
char *read_text_key(struct reader *r, const yaml_node_t *key, const struct read_path *at);

/* A tree of YAML nodes over JSON, so that what was stored is read by the same tables. Freed by its own function. */
int yaml_from_json(const json_t *v, yaml_node_t **out);
void yaml_from_json_free(yaml_node_t *n);
static inline void yaml_from_json_freep(yaml_node_t **n) { yaml_from_json_free(*n); }
#endif
