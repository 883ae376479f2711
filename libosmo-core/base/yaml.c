/* libyaml behind yaml.h: events in, a tree with marks out. */
#define yaml_node_t libyaml_node_t /* libyaml has a document tree of that name, which we do not use */
#include <yaml.h>
#undef yaml_node_t

#include "base/yaml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

struct reader {
    yaml_parser_t parser;
    yaml_limits_t limits;
    map_t *anchors;          /* name → yaml_node_t*, borrowed one reference each */
    size_t nodes;            /* counting aliases in full */
    osmo_error_t *err;
};

static void free_anchor(void *p) { yaml_free(p); }

static int fail_at(struct reader *r, const yaml_mark_t *m, int code, const char *text) {
    return osmo_error_set(r->err, code, "invalid YAML: %s (line %zu, column %zu)", text, m->line + 1, m->column + 1);
}

static int next_event(struct reader *r, yaml_event_t *e) {
    if (yaml_parser_parse(&r->parser, e))
        return 0;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return osmo_error_set(r->err, OSMO_ENOMEM, "out of memory");
    char text[300];
    const char *context = r->parser.context ? r->parser.context : "";
    snprintf(text, sizeof text, "%s%s%s", context, *context ? ", " : "",
             r->parser.problem ? r->parser.problem : "malformed text");
    const yaml_mark_t *mark = &r->parser.problem_mark;
    if (r->parser.error == YAML_READER_ERROR)
        return osmo_error_set(r->err, OSMO_EUSAGE, "invalid YAML: %s at byte %zu", text, r->parser.problem_offset);
    return fail_at(r, mark, OSMO_EUSAGE, text);
}

void yaml_free(yaml_node_t *n) {
    if (!n || --n->refs)
        return;
    for (size_t i = 0; i < n->len; i++) {
        if (n->keys)
            yaml_free(n->keys[i]);
        yaml_free(n->values[i]);
    }
    free(n->keys);
    free(n->values);
    free(n->text);
    free(n);
}

static int new_node(struct reader *r, const yaml_event_t *e, enum yaml_kind kind, yaml_node_t **out) {
    if (++r->nodes > r->limits.max_nodes)
        return fail_at(r, &e->start_mark, OSMO_ELIMIT, "too many nodes");
    yaml_node_t *n = calloc(1, sizeof *n);
    if (!n)
        return osmo_error_set(r->err, OSMO_ENOMEM, "out of memory");
    n->kind = kind;
    n->refs = 1;
    n->weight = 1;
    n->height = 1;
    n->line = (int)e->start_mark.line + 1;
    n->column = (int)e->start_mark.column + 1;
    *out = n;
    return 0;
}

static int push(yaml_node_t *n, yaml_node_t *key, yaml_node_t *value) {
    if (n->len == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 4;
        yaml_node_t **values = reallocarray(n->values, cap, sizeof *values);
        if (!values)
            return OSMO_ENOMEM;
        n->values = values;
        if (n->kind == YAML_MAP) {
            yaml_node_t **keys = reallocarray(n->keys, cap, sizeof *keys);
            if (!keys)
                return OSMO_ENOMEM;
            n->keys = keys;
        }
        n->cap = cap;
    }
    if (n->kind == YAML_MAP)
        n->keys[n->len] = key;
    n->values[n->len++] = value;
    n->weight += value->weight + (key ? 1 : 0);
    if (n->height <= value->height)
        n->height = value->height + 1;
    return 0;
}

static const struct {
    const char *tag;
    enum yaml_kind kind;
} tags[] = {
    { "tag:yaml.org,2002:str", YAML_STRING },  { "tag:yaml.org,2002:int", YAML_INT },
    { "tag:yaml.org,2002:float", YAML_FLOAT }, { "tag:yaml.org,2002:bool", YAML_BOOL },
    { "tag:yaml.org,2002:null", YAML_NULL },   { "tag:yaml.org,2002:timestamp", YAML_DATE },
};

/* An explicit tag must agree with what the text resolves to, except !!str (anything) and !!float over an integer. */
static int apply_tag(struct reader *r, const yaml_event_t *e, const char *tag, yaml_node_t *n) {
    for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
        if (strcmp(tags[i].tag, tag) != 0)
            continue;
        if (tags[i].kind == YAML_STRING) {
            n->kind = YAML_STRING;
            return 0;
        }
        yaml_resolve(n, n->text, n->text_len);
        if (tags[i].kind == YAML_FLOAT && n->kind == YAML_INT) {
            n->kind = YAML_FLOAT;
            n->number = (double)n->integer;
        }
        return n->kind == tags[i].kind ? 0 : fail_at(r, &e->start_mark, OSMO_EUSAGE, "the value does not fit its tag");
    }
    return fail_at(r, &e->start_mark, OSMO_EUSAGE, "unsupported tag");
}

static int scalar(struct reader *r, const yaml_event_t *e, yaml_node_t **out) {
    int rc = new_node(r, e, YAML_STRING, out);
    if (rc)
        return rc;
    yaml_node_t *n = *out;
    n->text_len = e->data.scalar.length;
    if (memchr(e->data.scalar.value, '\0', n->text_len)) {
        yaml_free(n);
        *out = NULL;
        return fail_at(r, &e->start_mark, OSMO_EUSAGE, "a NUL character in text");
    }
    n->text = malloc(n->text_len + 1);
    if (!n->text)
        rc = osmo_error_set(r->err, OSMO_ENOMEM, "out of memory");
    if (!rc) {
        memcpy(n->text, e->data.scalar.value, n->text_len);
        n->text[n->text_len] = '\0';
        const char *tag = (const char *)e->data.scalar.tag;
        if (tag && strcmp(tag, "!") != 0)
            rc = apply_tag(r, e, tag, n);
        else if (!tag && e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
            yaml_resolve(n, n->text, n->text_len);
            n->plain = n->kind == YAML_STRING;
        }
    }
    if (rc) {
        yaml_free(n);
        *out = NULL;
    }
    return rc;
}

static int value_of(struct reader *r, yaml_event_t *e, int depth, yaml_node_t **out);

static int sequence(struct reader *r, const yaml_event_t *start, int depth, yaml_node_t **out) {
    _cleanup_yaml_ yaml_node_t *n = NULL;
    int rc = new_node(r, start, YAML_LIST, &n);
    while (!rc) {
        yaml_event_t e;
        rc = next_event(r, &e);
        if (rc)
            break;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            *out = STEAL(n);
            return 0;
        }
        yaml_node_t *item = NULL;
        rc = value_of(r, &e, depth + 1, &item);
        yaml_event_delete(&e);
        if (!rc && (rc = push(n, NULL, item))) {
            yaml_free(item);
            osmo_error_set(r->err, rc, "out of memory");
        }
    }
    return rc;
}

static bool is_merge_key(const yaml_node_t *k) {
    return k->plain && k->text_len == 2 && memcmp(k->text, "<<", 2) == 0;
}

/* A hashable identity of a key: its kind (dates and strings are different things) and text. */
static char *key_identity(const yaml_node_t *k) {
    char *text = yaml_scalar_text(k);
    if (!text)
        return NULL;
    char *id = malloc(strlen(text) + 2);
    if (id) {
        id[0] = (char)('a' + k->kind);
        strcpy(id + 1, text);
    }
    free(text);
    return id;
}

/* Append one pair of a map, the later of equal keys wins at the earlier one's place, as a Python dict does. */
static int put(yaml_node_t *n, map_t *seen, yaml_node_t *key, yaml_node_t *value, bool keep_existing) {
    _cleanup_free_ char *id = key_identity(key);
    if (!id)
        return OSMO_ENOMEM;
    uintptr_t at = (uintptr_t)map_get(seen, id);
    if (at) {
        if (!keep_existing) {
            yaml_free(n->values[at - 1]);
            n->values[at - 1] = value;
            value->refs++;
        }
        return 0;
    }
    int rc = push(n, key, value);
    if (rc)
        return rc;
    key->refs++;
    value->refs++;
    return map_set(seen, id, (void *)(uintptr_t)n->len);
}

static int merge_from(struct reader *r, yaml_node_t *n, map_t *seen, const yaml_node_t *source, bool keep_existing) {
    if (source->kind == YAML_LIST) { /* earlier maps of the list win over later ones */
        int rc = 0;
        for (size_t i = 0; !rc && i < source->len; i++) {
            if (source->values[i]->kind != YAML_MAP)
                return osmo_error_set(r->err, OSMO_EUSAGE,
                                      "invalid YAML: a merge key needs mappings (line %d, column %d)", source->line,
                                      source->column);
            rc = merge_from(r, n, seen, source->values[i], true);
        }
        return rc;
    }
    if (source->kind != YAML_MAP)
        return osmo_error_set(r->err, OSMO_EUSAGE, "invalid YAML: a merge key needs a mapping (line %d, column %d)",
                              source->line, source->column);
    int rc = 0;
    for (size_t i = 0; !rc && i < source->len; i++)
        rc = put(n, seen, source->keys[i], source->values[i], keep_existing);
    return rc;
}

/* Resolve merge keys and duplicates of a freshly read map into a new one: merged pairs first, own pairs over them. */
static int settle_map(struct reader *r, yaml_node_t *raw, yaml_node_t **out) {
    _cleanup_yaml_ yaml_node_t *n = calloc(1, sizeof *n);
    map_t *seen = map_new(NULL);
    int rc = n && seen ? 0 : OSMO_ENOMEM;
    if (n)
        n->refs = 1; /* before any way out: freeing drops one */
    if (!rc) {
        *n = (yaml_node_t){ .kind = YAML_MAP, .refs = 1, .weight = 1, .height = 1, .line = raw->line, .column = raw->column };
        for (size_t i = 0; !rc && i < raw->len; i++) {
            if (is_merge_key(raw->keys[i]))
                rc = merge_from(r, n, seen, raw->values[i], false);
        }
        for (size_t i = 0; !rc && i < raw->len; i++) {
            if (!is_merge_key(raw->keys[i]))
                rc = put(n, seen, raw->keys[i], raw->values[i], false);
        }
    }
    map_free(seen);
    if (rc == OSMO_ENOMEM)
        osmo_error_set(r->err, rc, "out of memory");
    if (!rc)
        *out = STEAL(n);
    return rc;
}

static int mapping_pair(struct reader *r, yaml_event_t *key_event, int depth, yaml_node_t *n) {
    _cleanup_yaml_ yaml_node_t *key = NULL;
    _cleanup_yaml_ yaml_node_t *value = NULL;
    int rc = value_of(r, key_event, depth + 1, &key);
    if (rc)
        return rc;
    if (key->kind == YAML_LIST || key->kind == YAML_MAP)
        return fail_at(r, &key_event->start_mark, OSMO_EUSAGE,
                       "a list or mapping cannot be a key; quote text that starts with { or [");
    yaml_event_t e;
    rc = next_event(r, &e);
    if (rc)
        return rc;
    rc = value_of(r, &e, depth + 1, &value);
    yaml_event_delete(&e);
    if (!rc)
        rc = push(n, key, value);
    if (rc == OSMO_ENOMEM)
        return osmo_error_set(r->err, rc, "out of memory");
    if (!rc) {
        key = NULL;
        value = NULL;
    }
    return rc;
}

static int mapping(struct reader *r, const yaml_event_t *start, int depth, yaml_node_t **out) {
    _cleanup_yaml_ yaml_node_t *n = NULL;
    int rc = new_node(r, start, YAML_MAP, &n);
    while (!rc) {
        yaml_event_t e;
        rc = next_event(r, &e);
        if (rc)
            break;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return settle_map(r, n, out);
        }
        rc = mapping_pair(r, &e, depth, n);
        yaml_event_delete(&e);
    }
    return rc;
}

static int alias(struct reader *r, const yaml_event_t *e, int depth, yaml_node_t **out) {
    yaml_node_t *target = map_get(r->anchors, (const char *)e->data.alias.anchor);
    if (!target)
        return fail_at(r, &e->start_mark, OSMO_EUSAGE, "unknown alias");
    r->nodes += target->weight;
    if (r->nodes > r->limits.max_nodes)
        return fail_at(r, &e->start_mark, OSMO_ELIMIT, "aliases expand to too many nodes");
    if (depth + target->height - 1 > r->limits.max_depth)
        return fail_at(r, &e->start_mark, OSMO_ELIMIT, "nested too deeply by aliases");
    target->refs++;
    *out = target;
    return 0;
}

static int value_of(struct reader *r, yaml_event_t *e, int depth, yaml_node_t **out) {
    if (depth > r->limits.max_depth)
        return fail_at(r, &e->start_mark, OSMO_ELIMIT, "nested too deeply");
    const char *anchor = NULL;
    int rc;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return alias(r, e, depth, out);
    case YAML_SCALAR_EVENT:
        anchor = (const char *)e->data.scalar.anchor;
        rc = scalar(r, e, out);
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = (const char *)e->data.sequence_start.anchor;
        rc = sequence(r, e, depth, out);
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = (const char *)e->data.mapping_start.anchor;
        rc = mapping(r, e, depth, out);
        break;
    default:
        return fail_at(r, &e->start_mark, OSMO_EUSAGE, "unexpected content");
    }
    if (!rc && anchor) {
        (*out)->refs++;
        rc = map_set(r->anchors, anchor, *out);
        if (rc) {
            yaml_free(*out);
            *out = NULL;
        }
    }
    return rc;
}

static int document(struct reader *r, yaml_node_t **out) {
    bool seen = false;
    for (;;) {
        yaml_event_t e;
        int rc = next_event(r, &e);
        if (rc)
            return rc;
        yaml_event_type_t type = e.type;
        if (type == YAML_DOCUMENT_START_EVENT && seen)
            rc = fail_at(r, &e.start_mark, OSMO_EUSAGE, "more than one document");
        else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                 type != YAML_DOCUMENT_END_EVENT && type != YAML_STREAM_END_EVENT) {
            rc = value_of(r, &e, 1, out);
            seen = true;
        } else if (type == YAML_STREAM_END_EVENT && !seen) {
            rc = new_node(r, &e, YAML_NULL, out);
        }
        yaml_event_delete(&e);
        if (rc || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

int yaml_parse(const char *text, size_t len, const yaml_limits_t *limits, yaml_node_t **out, osmo_error_t *err) {
    struct reader r = { .limits = YAML_LIMITS_DEFAULT, .err = err };
    if (limits)
        r.limits = *limits;
    *out = NULL;
    if (len > r.limits.max_bytes)
        return osmo_error_set(err, OSMO_ELIMIT, "YAML text of %zu bytes is larger than %zu bytes", len,
                              r.limits.max_bytes);
    r.anchors = map_new(free_anchor);
    if (!r.anchors || !yaml_parser_initialize(&r.parser)) {
        map_free(r.anchors);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_node_t *root = NULL;
    int rc = document(&r, &root);
    yaml_parser_delete(&r.parser);
    map_free(r.anchors);
    if (rc)
        yaml_free(root);
    else
        *out = root;
    return rc;
}

const yaml_node_t *yaml_get(const yaml_node_t *map, const char *key) {
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->len; i++) {
        if (map->keys[i]->kind == YAML_STRING && strcmp(map->keys[i]->text, key) == 0)
            return map->values[i];
    }
    return NULL;
}

char *yaml_scalar_text(const yaml_node_t *n) {
    char text[40];
    switch (n->kind) {
    case YAML_NULL: return strdup("None");
    case YAML_BOOL: return strdup(n->boolean ? "True" : "False");
    case YAML_INT:
        if (n->integer == INT64_MAX || n->integer == -INT64_MAX) /* beyond 64 bits: Python would print the digits */
            return strdup(n->text + (*n->text == '+'));
        snprintf(text, sizeof text, "%lld", (long long)n->integer);
        return strdup(text);
    case YAML_FLOAT: return strdup(double_repr(n->number, text));
    case YAML_STRING: case YAML_DATE: return strdup(n->text);
    default: return NULL;
    }
}

const char *yaml_kind_name(const yaml_node_t *n) {
    static const char *const names[] = { "null", "a boolean", "an integer", "a float",
                                         "text", "a date",    "a list",     "a mapping" };
    return n ? names[n->kind] : "nothing";
}

static int map_to_json(const yaml_node_t *n, json_t *object, osmo_error_t *err) {
    for (size_t i = 0; i < n->len; i++) {
        _cleanup_free_ char *key = yaml_scalar_text(n->keys[i]);
        json_t *v = NULL;
        int rc = key ? yaml_to_json(n->values[i], &v, err) : OSMO_ENOMEM;
        if (!rc)
            rc = json_set(object, key, v);
        if (rc)
            return rc;
    }
    return 0;
}

int yaml_to_json(const yaml_node_t *n, json_t **out, osmo_error_t *err) {
    int rc = 0;
    json_t *v = NULL;
    switch (n->kind) {
    case YAML_NULL: *out = NULL; return 0;
    case YAML_BOOL: v = json_bool_new(n->boolean); break;
    case YAML_INT: v = json_int(n->integer); break;
    case YAML_FLOAT: v = json_double(n->number); break;
    case YAML_STRING: case YAML_DATE: v = json_string_n(n->text, n->text_len); break;
    case YAML_LIST:
        v = json_array();
        for (size_t i = 0; v && !rc && i < n->len; i++) {
            json_t *item = NULL;
            rc = yaml_to_json(n->values[i], &item, err);
            if (!rc)
                rc = json_add(v, item);
        }
        break;
    case YAML_MAP:
        v = json_object();
        if (v)
            rc = map_to_json(n, v, err);
        break;
    }
    if (!v || rc) {
        json_free(v);
        return osmo_error_set(err, rc ? rc : OSMO_ENOMEM, "out of memory");
    }
    *out = v;
    return 0;
}
