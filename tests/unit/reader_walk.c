/* See reader_walk.h. */
#include "reader_walk.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *read_value(json_reader_t *r);

/* Of a slice; NULL without memory. An escape is never shorter than its character, but for a byte that becomes U+FFFD.
 * */
static char *text_of(const json_slice_t *s, size_t *len) {
    char *text = malloc(s->len * 3 + 1);
    if (text)
        *len = json_slice_copy(s, text, s->len * 3 + 1);
    return text;
}

static json_t *read_object(json_reader_t *r) {
    json_t *out = json_object();
    json_slice_t key;
    if (!json_reader_object(r))
        return out;
    while (json_reader_key(r, &key)) {
        size_t len;
        char *name = text_of(&key, &len);
        json_t *value = read_value(r);
        if (name)
            json_set(out, name, value);
        else
            json_free(value);
        free(name);
    }
    return out;
}

static json_t *read_array(json_reader_t *r) {
    json_t *out = json_array();
    if (json_reader_array(r)) {
        while (json_reader_element(r))
            json_add(out, read_value(r));
    }
    return out;
}

static json_t *read_string(json_reader_t *r) {
    json_slice_t s;
    size_t len = 0;
    if (!json_reader_string(r, &s))
        return NULL;
    char *text = text_of(&s, &len);
    json_t *out = text ? json_string_n(text, len) : NULL;
    free(text);
    return out;
}

static json_t *read_number(json_reader_t *r, enum json_kind kind) {
    int64_t v = 0;
    json_slice_t whole;
    json_reader_t before = *r;
    if (kind == JSON_INT && json_reader_int(r, &v))
        return json_int(v);
    *r = before;
    json_reader_skip(r, &whole);
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)whole.len, whole.text);
    return json_double(strtod(text, NULL));
}

static json_t *read_value(json_reader_t *r) {
    enum json_kind kind = json_reader_kind(r);
    bool b;
    switch (kind) {
    case JSON_OBJECT: return read_object(r);
    case JSON_ARRAY: return read_array(r);
    case JSON_STRING: return read_string(r);
    case JSON_BOOL: return json_reader_bool(r, &b) ? json_bool_new(b) : NULL;
    case JSON_INT:
    case JSON_DOUBLE: return read_number(r, kind);
    default: break;
    }
    json_reader_skip(r, NULL);
    return NULL;
}

bool reader_walk(const char *text, size_t len, json_t **tree) {
    json_reader_t r;
    json_reader_init(&r, text, len);
    *tree = read_value(&r);
    if (json_reader_at_end(&r) && !json_reader_failed(&r))
        return true;
    json_free(*tree);
    *tree = NULL;
    return false;
}

bool reader_pass(const char *text, size_t len) {
    json_reader_t r;
    json_slice_t whole;
    json_reader_init(&r, text, len);
    json_reader_skip(&r, &whole);
    return json_reader_at_end(&r);
}
