/* JSON as a tree of YAML nodes, so that groups kept by the store are read by the tables that read submissions.
 * Only model/spec_json.c and the pod builder need it. */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "model/spec_read.h"

static void node_free(yaml_node_t *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->len; i++) {
        if (n->keys)
            node_free(n->keys[i]);
        if (n->values)
            node_free(n->values[i]);
    }
    free(n->keys);
    free(n->values);
    free(n->text);
    free(n);
}

void yaml_from_json_free(yaml_node_t *n)
{
    node_free(n);
}

static yaml_node_t *string_node(const char *text, size_t len)
{
    yaml_node_t *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->kind = YAML_STRING;
    n->refs = 1;
    n->text = malloc(len + 1);
    if (!n->text) {
        free(n);
        return NULL;
    }
    memcpy(n->text, text, len);
    n->text[len] = '\0';
    n->text_len = len;
    return n;
}

static yaml_node_t *node_build(const json_t *v);

static bool members_build(yaml_node_t *n, const json_t *v)
{
    size_t len = json_len(v);
    n->cap = len;
    n->values = len ? calloc(len, sizeof(*n->values)) : NULL;
    if (len && !n->values)
        return false;
    if (n->kind == YAML_LIST) {
        for (; n->len < len; n->len++) {
            n->values[n->len] = node_build(json_at(v, n->len));
            if (!n->values[n->len])
                return false;
        }
        return true;
    }
    n->keys = len ? calloc(len, sizeof(*n->keys)) : NULL;
    if (len && !n->keys)
        return false;
    for (json_iter_t it = json_iter(v); n->len < len && json_iter_next(&it);) {
        size_t i = n->len++;
        n->keys[i] = string_node(it.key, strlen(it.key));
        n->values[i] = n->keys[i] ? node_build(it.value) : NULL;
        if (!n->values[i])
            return false;
    }
    return true;
}

/* Text of numbers and booleans: messages and coercions print it. */
static bool scalar_build(yaml_node_t *n, const json_t *v, enum json_kind kind)
{
    char repr[32];
    if (kind == JSON_BOOL) {
        n->kind = YAML_BOOL;
        n->boolean = json_as_bool(v, false);
        n->text = str_dup(n->boolean ? "true" : "false");
    } else if (kind == JSON_INT) {
        n->kind = YAML_INT;
        n->integer = json_as_int(v, 0);
        n->text = str_printf("%lld", (long long)n->integer);
    } else if (kind == JSON_DOUBLE) {
        n->kind = YAML_FLOAT;
        n->number = json_as_double(v, 0);
        n->text = str_dup(double_repr(n->number, repr));
    } else {
        n->kind = YAML_NULL;
        n->text = str_dup("null");
    }
    n->text_len = n->text ? strlen(n->text) : 0;
    return n->text != NULL;
}

static yaml_node_t *node_build(const json_t *v)
{
    enum json_kind kind = json_kind(v);
    if (kind == JSON_STRING)
        return string_node(json_str(v) ? json_str(v) : "", json_str_len(v)); /* text with NUL bytes is none */
    yaml_node_t *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->refs = 1;
    bool good;
    if (kind == JSON_ARRAY || kind == JSON_OBJECT) {
        n->kind = kind == JSON_ARRAY ? YAML_LIST : YAML_MAP;
        good = members_build(n, v);
    } else {
        good = scalar_build(n, v, kind);
    }
    if (good)
        return n;
    node_free(n);
    return NULL;
}

int yaml_from_json(const json_t *v, yaml_node_t **out)
{
    *out = node_build(v);
    return *out ? 0 : OSMO_ENOMEM;
}
