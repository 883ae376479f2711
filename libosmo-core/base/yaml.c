/* libyaml behind yaml.h: its events become a tree of nodes with marks and tags, within the limits. The values are made
 * afterwards (yaml_construct.c), as PyYAML does: a node that nothing constructs may have any tag. */
#define yaml_node_t libyaml_node_t /* libyaml has a document tree of that name, which we do not use */
#include <yaml.h>
#undef yaml_node_t

#include "base/yaml_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define CHUNK_MIN 4096u
#define CHUNK_MAX (8u << 20)
#define MENDS_MAX 64 /* each reads the whole text again */
#define MEND_BYTES (32u << 20)

/* The first thing of the first chunk, so that the root leads to all of them. */
struct tree {
    struct yaml_chunk *chunks;
    size_t total;
    yaml_node_t root;
};

struct frame {
    yaml_node_t *n;
    size_t base;             /* where its children begin in the reader's list */
    bool flow;               /* in brackets */
    bool late;               /* some of its children have no value yet */
};

struct composer {
    struct yaml_reader r;
    yaml_parser_t parser;
    struct yaml_places places;
    struct frame *open;
    size_t depth, cap;
    yaml_node_t *root;
    size_t insert_at;        /* what mends the text, see mend() */
    char insert;
};

/* ---- memory ---- */

int yaml_no_memory(struct yaml_reader *r) { return osmo_error_set(r->err, OSMO_ENOMEM, "out of memory"); }

static struct yaml_chunk *new_chunk(struct yaml_reader *r, size_t size) {
    struct yaml_chunk *c = malloc(sizeof *c + size);
    if (!c) {
        yaml_no_memory(r);
        return NULL;
    }
    c->size = size;
    r->arena.total += size + sizeof *c;
    return c;
}

/* Room for `size` bytes in the newest chunk, or a chunk of its own (which is then not the newest) for a big piece. */
static bool make_room(struct yaml_reader *r, size_t size, char **alone) {
    struct yaml_arena *a = &r->arena;
    size_t half = a->total / 2 & ~(size_t)7, usual = half < CHUNK_MIN ? CHUNK_MIN : half < CHUNK_MAX ? half : CHUNK_MAX;
    bool big = a->chunks && size > usual / 4;
    struct yaml_chunk *c = new_chunk(r, big ? size : usual);
    if (!c)
        return false;
    if (big) {
        c->next = a->chunks->next;
        a->chunks->next = c;
        *alone = (char *)(c + 1);
        return true;
    }
    c->next = a->chunks;
    a->chunks = c;
    a->front = (char *)(c + 1);
    a->back = a->front + usual;
    return true;
}

void *yaml_arena_block(struct yaml_reader *r, size_t size) {
    char *alone = NULL;
    size = (size + 7) & ~(size_t)7;
    if ((size_t)(r->arena.back - r->arena.front) < size && !make_room(r, size, &alone))
        return NULL;
    if (alone)
        return alone;
    char *p = r->arena.front;
    r->arena.front += size;
    return p;
}

char *yaml_arena_text(struct yaml_reader *r, size_t size) {
    char *alone = NULL;
    if ((size_t)(r->arena.back - r->arena.front) < size && !make_room(r, (size + 7) & ~(size_t)7, &alone))
        return NULL;
    return alone ? alone : (r->arena.back -= size);
}

static void free_chunks(struct yaml_chunk *c) {
    while (c) {
        struct yaml_chunk *next = c->next;
        free(c);
        c = next;
    }
}

static struct tree *tree_of(const yaml_node_t *root) {
    return (struct tree *)((char *)root - offsetof(struct tree, root));
}

void yaml_free(yaml_node_t *root) {
    if (root)
        free_chunks(tree_of(root)->chunks);
}

size_t yaml_tree_bytes(const yaml_node_t *root) { return tree_of(root)->total; }

int yaml_list_add(struct yaml_reader *r, yaml_node_t *n) {
    if (r->list_len == r->list_cap) {
        size_t cap = r->list_cap ? r->list_cap * 2 : 64;
        yaml_node_t **list = reallocarray(r->list, cap, sizeof(*list));
        if (!list)
            return yaml_no_memory(r);
        r->list = list;
        r->list_cap = cap;
    }
    r->list[r->list_len++] = n;
    return 0;
}

/* ---- errors ---- */

int yaml_fail(struct yaml_reader *r, const yaml_node_t *n, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) /* parts of the document: the message stays one line */
            *p = ' ';
    }
    return osmo_error_set(r->err, OSMO_EUSAGE, "invalid YAML: %s (line %d, column %d)", text, n->line, n->column);
}

static int over_limit(struct composer *c, const yaml_mark_t *m, const char *what, size_t limit, const char *unit) {
    return osmo_error_set(c->r.err, OSMO_ELIMIT, "invalid YAML: %s %zu %s (line %zu, column %zu)", what, limit, unit,
                          m->line + 1, m->column + 1);
}

/* A byte that no YAML text may hold: libyaml gives its offset only. */
static int reader_error(struct composer *c) {
    size_t line = 1, column = 1, at = c->parser.problem_offset;
    at = at < c->places.len ? at : c->places.len;
    for (size_t i = 0; i < at; i++) {
        unsigned char b = (unsigned char)c->places.text[i];
        if (b == '\n') {
            line++;
            column = 1;
        } else if ((b & 0xC0) != 0x80) {
            column++;
        }
    }
    const char *problem = c->parser.problem ? c->parser.problem : "malformed text";
    return osmo_error_set(c->r.err, OSMO_EUSAGE, "invalid YAML: %s; %s (line %zu, column %zu, byte %zu)", problem,
                          yaml_remedy(problem, "", '\0'), line, column, at);
}

/* Whether the header of a block scalar has an indentation mark already, or a line of blanks before its text is longer
 * than the indentation: such text means something else. */
static bool has_longer_line(const char *text, size_t at, size_t end, size_t indent) {
    size_t blanks = 0;
    for (; at < end && text[at] != '\n' && text[at] != '\r' && text[at] != '#'; at++) {
        if (text[at] >= '1' && text[at] <= '9')
            return true;
    }
    while (at < end && text[at] != '\n' && text[at] != '\r')
        at++;
    for (; at < end; at++) {
        blanks = text[at] == ' ' ? blanks + 1 : 0;
        if (blanks > indent)
            return true;
    }
    return false;
}

/* Two things that PyYAML takes libyaml does not. A character more says the same in a way that both understand, and
 * the text is read again: an indentation mark for a block scalar whose first line begins with a tab, and a blank
 * between the colon and a bracket or comma inside of brackets. */
static void mend(struct composer *c) {
    const yaml_parser_t *p = &c->parser;
    if (strstr(p->problem, "found unexpected ':'")) {
        c->insert_at = yaml_byte_at(&c->places, p->problem_mark.index) + 1;
        c->insert = c->insert_at < c->places.len && strchr(",[]{}", c->places.text[c->insert_at]) ? ' ' : '\0';
    } else if (strstr(p->problem, "found a tab character where an indentation space")) {
        int digit = (int)p->problem_mark.column - (p->indent > 0 ? p->indent : 0);
        c->insert_at = yaml_byte_at(&c->places, p->context_mark.index) + 1;
        size_t tab = yaml_byte_at(&c->places, p->problem_mark.index);
        bool usual = digit >= 1 && digit <= 9 &&
                     !has_longer_line(c->places.text, c->insert_at, tab, p->problem_mark.column);
        c->insert = usual ? (char)('0' + digit) : '\0';
    }
}

static int parser_error(struct composer *c) {
    const yaml_parser_t *p = &c->parser;
    if (p->error == YAML_SCANNER_ERROR && p->problem)
        mend(c);
    if (p->error == YAML_MEMORY_ERROR)
        return yaml_no_memory(&c->r);
    if (p->error == YAML_READER_ERROR)
        return reader_error(c);
    const char *context = p->context ? p->context : "", *problem = p->problem ? p->problem : "malformed text";
    char began[80] = "";
    if (p->context && p->context_mark.line != p->problem_mark.line)
        snprintf(began, sizeof began, " that began at line %zu, column %zu", p->context_mark.line + 1,
                 p->context_mark.column + 1);
    char found = p->buffer.pointer < p->buffer.last ? (char)*p->buffer.pointer : '\0';
    return osmo_error_set(c->r.err, OSMO_EUSAGE, "invalid YAML: %s%s%s%s; %s (line %zu, column %zu)", context, began,
                          *context ? ", " : "", problem, yaml_remedy(problem, context, found), p->problem_mark.line + 1,
                          p->problem_mark.column + 1);
}

/* ---- nodes ---- */

static int new_node(struct composer *c, const yaml_event_t *e, enum yaml_kind kind, yaml_node_t **out) {
    if (++c->r.nodes > c->r.limits.max_nodes)
        return over_limit(c, &e->start_mark, "more than", c->r.limits.max_nodes, "nodes; split the document");
    yaml_node_t *n;
    if (c->root) {
        n = yaml_arena_block(&c->r, sizeof *n);
    } else {
        struct tree *t = yaml_arena_block(&c->r, sizeof *t);
        n = t ? &t->root : NULL;
        c->root = n;
    }
    if (!n)
        return OSMO_ENOMEM;
    *n = (yaml_node_t){ .kind = kind, .weight = 1, .height = 1, .line = (int)e->start_mark.line + 1,
                        .column = (int)e->start_mark.column + 1 };
    *out = n;
    return 0;
}

static enum yaml_tag tag_named(const char *tag) {
    static const struct {
        const char *name;
        enum yaml_tag tag;
    } known[] = {
        { "str", TAG_STR }, { "null", TAG_NULL }, { "bool", TAG_BOOL }, { "int", TAG_INT }, { "float", TAG_FLOAT },
        { "timestamp", TAG_TIMESTAMP }, { "binary", TAG_BINARY }, { "merge", TAG_MERGE }, { "value", TAG_VALUE },
        { "seq", TAG_SEQ }, { "omap", TAG_OMAP }, { "pairs", TAG_PAIRS }, { "map", TAG_MAP }, { "set", TAG_SET },
    };
    static const char prefix[] = "tag:yaml.org,2002:";
    if (strncmp(tag, prefix, sizeof prefix - 1) == 0) {
        for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
            if (strcmp(tag + sizeof prefix - 1, known[i].name) == 0)
                return known[i].tag;
        }
    }
    return TAG_OTHER;
}

/* The name of a tag that means nothing to us, for the message should the node be constructed. */
static int keep_tag_name(struct composer *c, const char *tag, yaml_node_t *n) {
    size_t len = strlen(tag);
    n->text = yaml_arena_text(&c->r, len + 1);
    if (!n->text)
        return OSMO_ENOMEM;
    memcpy(n->text, tag, len + 1);
    n->text_len = (uint32_t)len;
    return 0;
}

/* NULL also for the lone "!", which leaves the type open. */
static const char *tag_text(const yaml_char_t *tag) {
    return tag && strcmp((const char *)tag, "!") != 0 ? (const char *)tag : NULL;
}

/* The value at once. What has none is an error only if the node is constructed, and then found again. */
static int value_early(struct composer *c, yaml_node_t *n) {
    if (yaml_tag_of(n) > TAG_BINARY)
        return 0;
    if (yaml_tag_of(n) == TAG_STR) {
        n->inner |= INNER_DONE;
        return 0;
    }
    osmo_error_t *err = c->r.err;
    c->r.err = NULL;
    int rc = yaml_scalar_value(&c->r, n);
    c->r.err = err;
    if (!rc)
        n->inner |= INNER_DONE;
    return rc == OSMO_ENOMEM ? yaml_no_memory(&c->r) : 0;
}

static int scalar(struct composer *c, const yaml_event_t *e, yaml_node_t **out) {
    int rc = new_node(c, e, YAML_STRING, out);
    if (rc)
        return rc;
    yaml_node_t *n = *out;
    const char *tag = tag_text(e->data.scalar.tag);
    const char *value = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    if (e->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && memchr(value, '\0', len))
        return yaml_fail(&c->r, n, "a NUL character in text, which no program can be given; remove the \\0 escape");
    if (tag && tag_named(tag) == TAG_OTHER) {
        yaml_set_tag(n, TAG_OTHER);
        return keep_tag_name(c, tag, n);
    }
    n->text = yaml_arena_text(&c->r, len + 1);
    if (!n->text)
        return OSMO_ENOMEM;
    memcpy(n->text, value, len);
    n->text[len] = '\0';
    n->text_len = (uint32_t)len;
    if (tag) {
        yaml_set_tag(n, tag_named(tag));
    } else if (e->data.scalar.plain_implicit || e->data.scalar.tag) { /* unquoted, or anything behind a lone "!" */
        yaml_set_tag(n, yaml_implicit_tag(n->text, len));
        n->plain = yaml_tag_of(n) == TAG_STR;
    }
    return value_early(c, n);
}

static int begin(struct composer *c, const yaml_event_t *e, const char *tag, enum yaml_kind kind, yaml_node_t **out) {
    int rc = new_node(c, e, kind, out);
    if (rc)
        return rc;
    yaml_set_tag(*out, tag ? tag_named(tag) : kind == YAML_LIST ? TAG_SEQ : TAG_MAP);
    (*out)->inner |= INNER_OPEN;
    if (yaml_tag_of(*out) == TAG_OTHER && keep_tag_name(c, tag, *out) < 0)
        return OSMO_ENOMEM;
    if (c->depth == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        struct frame *open = reallocarray(c->open, cap, sizeof *open);
        if (!open)
            return yaml_no_memory(&c->r);
        c->open = open;
        c->cap = cap;
    }
    bool flow = kind == YAML_LIST ? e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
                                  : e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    c->open[c->depth++] = (struct frame){ *out, c->r.list_len, flow, false };
    return 0;
}

static int take_children(struct composer *c, yaml_node_t *n, yaml_node_t **children, size_t count) {
    yaml_node_t **array = yaml_arena_block(&c->r, count * sizeof(*array));
    if (!array)
        return OSMO_ENOMEM;
    n->values = array;
    n->len = count;
    if (n->kind == YAML_LIST) {
        memcpy(array, children, count * sizeof(*array));
        return 0;
    }
    n->len = count / 2;
    n->keys = array;
    n->values = array + n->len;
    for (size_t i = 0; i < n->len; i++) {
        n->keys[i] = children[2 * i];
        n->values[i] = children[2 * i + 1];
    }
    return 0;
}

/* The children of the innermost open collection move from the list into arrays of their number. */
static int end(struct composer *c, yaml_node_t **out) {
    struct frame *f = &c->open[--c->depth];
    size_t count = c->r.list_len - f->base;
    *out = f->n;
    f->n->inner &= (uint8_t)~INNER_OPEN;
    c->r.list_len = f->base;
    int rc = count ? take_children(c, f->n, c->r.list + f->base, count) : 0;
    return rc || f->late ? rc : yaml_settle_early(&c->r, f->n);
}

static int alias(struct composer *c, const yaml_event_t *e, yaml_node_t **out) {
    const char *name = (const char *)e->data.alias.anchor;
    const yaml_mark_t *m = &e->start_mark;
    yaml_node_t here = { .line = (int)m->line + 1, .column = (int)m->column + 1 };
    yaml_node_t *target = map_get(c->r.anchors, name);
    if (!target)
        return yaml_fail(&c->r, &here,
                         "unknown alias *%.60s; define it before as &%.60s, or quote text that starts with *", name,
                         name);
    if (target->inner & INNER_OPEN)
        return yaml_fail(&c->r, &here, "the alias *%.60s is inside of what it stands for", name);
    c->r.nodes += target->weight;
    if (c->r.nodes > c->r.limits.max_nodes)
        return over_limit(c, m, "aliases expand to more than", c->r.limits.max_nodes, "nodes; use fewer of them");
    if (c->depth + (size_t)target->height > (size_t)c->r.limits.max_depth)
        return over_limit(c, m, "nested by aliases deeper than", (size_t)c->r.limits.max_depth, "levels");
    *out = target;
    return 0;
}

static int keep_anchor(struct composer *c, const char *name, yaml_node_t *n) {
    if (!c->r.anchors)
        c->r.anchors = map_new(NULL);
    if (!c->r.anchors)
        return yaml_no_memory(&c->r);
    const yaml_node_t *first = map_get(c->r.anchors, name);
    if (first)
        return yaml_fail(&c->r, n, "the anchor &%.60s is taken since line %d; give each one a name of its own", name,
                         first->line);
    return map_set(c->r.anchors, name, n) < 0 ? yaml_no_memory(&c->r) : 0;
}

/* ---- events ---- */

static int check_place(struct composer *c, const yaml_event_t *e) {
    struct yaml_span s = { .start = e->start_mark.index, .end = e->end_mark.index,
                           .flow = c->depth && c->open[c->depth - 1].flow };
    if (!c->places.tabs && e->type != YAML_SCALAR_EVENT)
        return 0;
    if (e->type == YAML_SCALAR_EVENT) {
        yaml_scalar_style_t style = e->data.scalar.style;
        bool tagged = e->data.scalar.tag || !e->data.scalar.quoted_implicit;
        s.properties = (unsigned)tagged + (e->data.scalar.anchor != NULL);
        s.style = style == YAML_PLAIN_SCALAR_STYLE ? SPAN_PLAIN
                  : style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE ? SPAN_BLOCK : SPAN_WHOLE;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        s.properties = (e->data.sequence_start.anchor != NULL) + (e->data.sequence_start.tag != NULL);
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        s.properties = (e->data.mapping_start.anchor != NULL) + (e->data.mapping_start.tag != NULL);
    } else if (e->type == YAML_DOCUMENT_START_EVENT) {
        s.start = s.end; /* directives are no place for tabs either */
    } else if (e->type == YAML_ALIAS_EVENT) {
        s.style = SPAN_WHOLE;
    }
    return yaml_strict_event(&c->r, &c->places, &s);
}

/* One event of a document's content; *done is a node that is complete now. */
static int content(struct composer *c, const yaml_event_t *e, yaml_node_t **done) {
    yaml_node_t *n = NULL;
    const char *anchor = NULL;
    int rc;
    if (e->type != YAML_SEQUENCE_END_EVENT && e->type != YAML_MAPPING_END_EVENT &&
        c->depth >= (size_t)c->r.limits.max_depth)
        return over_limit(c, &e->start_mark, "nested deeper than", (size_t)c->r.limits.max_depth, "levels");
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return alias(c, e, done);
    case YAML_SCALAR_EVENT:
        rc = scalar(c, e, &n);
        anchor = (const char *)e->data.scalar.anchor;
        *done = n;
        break;
    case YAML_SEQUENCE_START_EVENT:
        rc = begin(c, e, tag_text(e->data.sequence_start.tag), YAML_LIST, &n);
        anchor = (const char *)e->data.sequence_start.anchor;
        break;
    case YAML_MAPPING_START_EVENT:
        rc = begin(c, e, tag_text(e->data.mapping_start.tag), YAML_MAP, &n);
        anchor = (const char *)e->data.mapping_start.anchor;
        break;
    default:
        return end(c, done);
    }
    return !rc && anchor ? keep_anchor(c, anchor, n) : rc;
}

static int add_child(struct composer *c, yaml_node_t *child) {
    if (!c->depth)
        return 0;
    yaml_node_t *parent = c->open[c->depth - 1].n;
    parent->weight += child->weight;
    if (parent->height <= child->height)
        parent->height = (uint16_t)(child->height + 1);
    c->open[c->depth - 1].late |= !(child->inner & INNER_DONE);
    return yaml_list_add(&c->r, child);
}

static int compose(struct composer *c) {
    bool over = false; /* the one document has ended */
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&c->parser, &e))
            return parser_error(c);
        int rc = check_place(c, &e);
        yaml_event_type_t type = e.type;
        if (rc) {
            yaml_event_delete(&e);
            return rc;
        }
        if (type == YAML_DOCUMENT_START_EVENT && over) {
            yaml_node_t here = { .line = (int)e.start_mark.line + 1, .column = (int)e.start_mark.column + 1 };
            rc = yaml_fail(&c->r, &here, "more than one document; remove the --- line and what follows");
        } else if (type == YAML_DOCUMENT_END_EVENT) {
            over = true;
        } else if (type == YAML_STREAM_END_EVENT && !c->root) {
            yaml_node_t *n;
            rc = new_node(c, &e, YAML_STRING, &n);
            if (!rc) {
                n->text = memset(yaml_arena_text(&c->r, 1), 0, 1); /* the first chunk has room */
                yaml_set_tag(n, TAG_NULL);
            }
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            yaml_node_t *done = NULL;
            rc = content(c, &e, &done);
            if (!rc && done)
                rc = add_child(c, done);
        }
        yaml_event_delete(&e);
        if (rc || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

/* Reads the text once. */
static int attempt(struct composer *c) {
    if (!yaml_parser_initialize(&c->parser))
        return yaml_no_memory(&c->r);
    yaml_parser_set_input_string(&c->parser, (const unsigned char *)c->places.text, c->places.len);
    yaml_parser_set_encoding(&c->parser, YAML_UTF8_ENCODING);
    int rc = compose(c);
    yaml_parser_delete(&c->parser);
    map_free(c->r.anchors);
    free(c->open);
    c->r.list_len = 0;
    if (!rc)
        rc = yaml_construct(&c->r, c->root);
    free(c->r.list);
    if (rc) {
        free_chunks(c->r.arena.chunks);
        return rc;
    }
    struct tree *t = tree_of(c->root);
    t->chunks = c->r.arena.chunks;
    t->total = c->r.arena.total;
    return 0;
}

/* A copy of the text with the character that mends it; NULL when memory is short. */
static char *mended(const struct composer *c) {
    const char *text = c->places.text;
    size_t len = c->places.len, at = c->insert_at;
    char *copy = malloc(len + 2);
    if (copy) {
        memcpy(copy, text, at);
        copy[at] = c->insert;
        memcpy(copy + at + 1, text + at, len - at);
        copy[len + 1] = '\0';
    }
    return copy;
}

/* No more than the fields of a node can count. */
static yaml_limits_t limits_of(const yaml_limits_t *wanted) {
    const yaml_limits_t usual = YAML_LIMITS_DEFAULT;
    yaml_limits_t l = wanted ? *wanted : usual;
    l.max_depth = l.max_depth > INT16_MAX ? INT16_MAX : l.max_depth < 0 ? 0 : l.max_depth;
    l.max_nodes = l.max_nodes > INT32_MAX ? INT32_MAX : l.max_nodes;
    l.max_bytes = l.max_bytes > INT32_MAX ? INT32_MAX : l.max_bytes;
    return l;
}

int yaml_parse(const char *text, size_t len, const yaml_limits_t *limits, yaml_node_t **out, osmo_error_t *err) {
    struct composer c = { .r.limits = limits_of(limits) };
    _cleanup_free_ char *copy = NULL;
    *out = NULL;
    if (!len)
        text = "";
    if (len > c.r.limits.max_bytes)
        return osmo_error_set(err, OSMO_ELIMIT, "YAML text of %zu bytes is larger than the limit of %zu bytes", len,
                              c.r.limits.max_bytes);
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
        text += 3;
        len -= 3;
    }
    for (int round = 0, rc;; round++) {
        c = (struct composer){ .r.limits = c.r.limits, .r.err = err };
        yaml_places_init(&c.places, text, len);
        rc = attempt(&c);
        if (!rc)
            *out = c.root;
        if (!rc || !c.insert || round == MENDS_MAX || len > MEND_BYTES / ((size_t)round + 1))
            return rc;
        char *next = mended(&c);
        if (!next)
            return yaml_no_memory(&c.r);
        free(copy);
        text = copy = next;
        len++;
    }
}
