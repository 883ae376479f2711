/* What the parts of the YAML loader share: yaml.c (libyaml's events to nodes), yaml_construct.c (nodes to values),
 * yaml_resolve.c (scalars), yaml_strict.c (what libyaml
 * takes too easily) and yaml_error.c (messages). For these files and yaml_emit.c only. */
#ifndef BASE_YAML_INTERNAL_H
#define BASE_YAML_INTERNAL_H
#include "base/map.h"
#include "base/yaml.h"

/* Tags of YAML 1.1, in the lower bits of a node's `inner` while it is loaded. */
enum yaml_tag {
    TAG_STR, TAG_NULL, TAG_BOOL, TAG_INT, TAG_FLOAT, TAG_TIMESTAMP, TAG_BINARY, TAG_MERGE, TAG_VALUE,
    TAG_SEQ, TAG_OMAP, TAG_PAIRS, TAG_MAP, TAG_SET, TAG_OTHER
};
#define INNER_TAG 0x0Fu
#define INNER_OPEN 0x10u    /* a collection whose end has not been read */
#define INNER_DONE 0x20u    /* its value is made, or will be: it is queued */
#define INNER_SETTLED 0x40u /* a map whose merge keys and equal keys are resolved */

struct yaml_chunk {
    struct yaml_chunk *next;
    size_t size;
};

/* Memory of a tree: nodes and arrays from the front of the newest chunk, texts from its back, so that nothing is
 * padded. */
struct yaml_arena {
    struct yaml_chunk *chunks;
    char *front, *back;
    size_t total;
};

struct yaml_reader {
    struct yaml_arena arena;
    yaml_limits_t limits;
    map_t *anchors;          /* name → node, borrowed; NULL until there is one */
    yaml_node_t **list;      /* composing: children of open collections; constructing: the queue */
    size_t list_len, list_cap;
    size_t nodes;            /* aliases counted in full */
    osmo_error_t *err;
};

/* Both zeroed by nobody; NULL when memory is short (the error is set). */
void *yaml_arena_block(struct yaml_reader *r, size_t size);
char *yaml_arena_text(struct yaml_reader *r, size_t size);
int yaml_no_memory(struct yaml_reader *r);
int yaml_list_add(struct yaml_reader *r, yaml_node_t *n);

static inline enum yaml_tag yaml_tag_of(const yaml_node_t *n) { return (enum yaml_tag)(n->inner & INNER_TAG); }
static inline void yaml_set_tag(yaml_node_t *n, enum yaml_tag tag) {
    n->inner = (uint8_t)((n->inner & ~INNER_TAG) | (unsigned)tag);
}

/* "invalid YAML: … (line L, column C)"; OSMO_EUSAGE. */
int yaml_fail(struct yaml_reader *r, const yaml_node_t *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What to do about a problem that libyaml reports, at the character `found`; never NULL. */
const char *yaml_remedy(const char *problem, const char *context, char found);

/* Where in the text events lie: libyaml counts characters. */
struct yaml_places {
    const char *text;
    size_t len;
    size_t byte, index; /* of the same character */
    size_t seen;        /* up to this byte everything was looked at */
    bool measured, ascii, tabs; /* ascii: known once measured */
};
enum yaml_span_style { SPAN_OTHER, SPAN_PLAIN, SPAN_BLOCK, SPAN_WHOLE };
struct yaml_span {
    size_t start, end;    /* characters */
    unsigned properties;  /* tag and anchor that stand in front */
    enum yaml_span_style style;
    bool flow;            /* inside of brackets */
};
void yaml_places_init(struct yaml_places *p, const char *text, size_t len);
size_t yaml_byte_at(struct yaml_places *p, size_t index);
/* Refuses what PyYAML's scanner does not take. */
int yaml_strict_event(struct yaml_reader *r, struct yaml_places *p, const struct yaml_span *e);

/* The tag that PyYAML resolves an unquoted scalar to; text[len] is NUL. */
enum yaml_tag yaml_implicit_tag(const char *text, size_t len);
/* Kind and value of a scalar from its tag and text. */
int yaml_scalar_value(struct yaml_reader *r, yaml_node_t *n);
/* For a collection that has just been read and whose children all have their values: makes its own where that is
 * simple. */
int yaml_settle_early(struct yaml_reader *r, yaml_node_t *n);
/* All values of a composed tree. */
int yaml_construct(struct yaml_reader *r, yaml_node_t *root);
#endif
