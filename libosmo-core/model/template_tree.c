/* Templates and tokens over JSON trees: pod templates and per-task token replacement. Part of template.h. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

static int array_or_string(const char *s, size_t len, json_t **out) {
    static const char head[] = "ARRAY:[";
    size_t n = sizeof(head) - 1;
    if (len < n + 1 || memcmp(s, head, n) != 0 || s[len - 1] != ']')
        return (*out = json_string_n(s, len)) ? 0 : OSMO_ENOMEM;
    _cleanup_json_ json_t *list = json_array();
    for (const char *p = s + n, *end = s + len - 1; list;) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        json_t *item = json_string_n(p, (size_t)(stop - p));
        if (!item || json_add(list, item) < 0)
            return OSMO_ENOMEM;
        if (!comma)
            break;
        p = comma + 1;
    }
    return (*out = STEAL(list)) ? 0 : OSMO_ENOMEM;
}

/* What to do with strings; both walks share map_tree(). */
struct walk {
    const json_t *variables;
    const struct template_limits *limits;
    bool tokens;
    osmo_error_t *err;
};

static int map_string(const struct walk *w, const char *s, size_t len, json_t **out) {
    _cleanup_buf_ buf_t b = BUF_INIT((size_t)1 << 30);
    int rc = w->tokens ? template_replace_tokens(s, len, w->variables, &b)
                       : template_render_text(s, len, w->variables, w->limits, &b, w->err);
    if (rc < 0)
        return rc;
    if (w->tokens)
        return (*out = json_string_n(buf_cstr(&b), b.len)) ? 0 : OSMO_ENOMEM;
    return array_or_string(buf_cstr(&b), b.len, out);
}

static int map_tree(const struct walk *w, const json_t *in, int depth, json_t **out);

static int map_object(const struct walk *w, const json_t *in, int depth, json_t **out) {
    _cleanup_json_ json_t *o = json_new_object();
    json_iter_t it = json_iter(in);
    while (o && json_iter_next(&it)) {
        _cleanup_buf_ buf_t key = BUF_INIT((size_t)1 << 20);
        json_t *v = NULL;
        int rc = w->tokens ? template_replace_tokens(it.key, strlen(it.key), w->variables, &key) : buf_puts(&key, it.key);
        if (rc == 0)
            rc = map_tree(w, it.value, depth + 1, &v);
        if (rc < 0 || (rc = json_set(o, buf_cstr(&key), v)) < 0) {
            if (!w->tokens && w->err)
                osmo_error_prefix(w->err, "%.60s", it.key);
            return rc;
        }
    }
    return (*out = STEAL(o)) ? 0 : OSMO_ENOMEM;
}

static int map_tree(const struct walk *w, const json_t *in, int depth, json_t **out) {
    if (depth > JSON_MAX_DEPTH)
        return osmo_error_set(w->err, OSMO_EUSAGE, "a template is nested more than %d deep", JSON_MAX_DEPTH);
    switch (json_kind(in)) {
    case JSON_NULL: *out = NULL; return 0;
    case JSON_STRING: {
        size_t len;
        const char *s = json_bytes(in, &len);
        return map_string(w, s, len, out);
    }
    case JSON_OBJECT: return map_object(w, in, depth, out);
    case JSON_ARRAY: {
        _cleanup_json_ json_t *a = json_array();
        for (size_t i = 0; a && i < json_len(in); i++) {
            json_t *v = NULL;
            int rc = map_tree(w, json_at(in, i), depth + 1, &v);
            if (rc < 0 || (rc = json_add(a, v)) < 0)
                return rc;
        }
        return (*out = STEAL(a)) ? 0 : OSMO_ENOMEM;
    }
    default: return (*out = json_copy(in)) ? 0 : OSMO_ENOMEM;
    }
}

int template_render_json(const json_t *in, const json_t *variables, const struct template_limits *limits, json_t **out,
                         osmo_error_t *err) {
    struct walk w = { .variables = variables, .limits = limits, .err = err };
    return map_tree(&w, in, 0, out);
}

int template_replace_tokens(const char *text, size_t len, const json_t *tokens, buf_t *out) {
    const char *p = text, *end = text + len, *open;
    while ((open = tpl_find(p, (size_t)(end - p), "{{", 2))) {
        const char *from = open + 2, *close = tpl_find(from, (size_t)(end - from), "}}", 2), *to = close;
        char key[512];
        const char *value = NULL;
        while (close && from < to && *from == ' ')
            from++;
        while (close && to > from && to[-1] == ' ')
            to--;
        if (close && (size_t)(to - from) < sizeof(key)) {
            memcpy(key, from, (size_t)(to - from));
            key[to - from] = 0;
            value = json_get_str(tokens, key);
        }
        buf_append(out, p, (size_t)(open - p));
        if (value)
            buf_puts(out, value);
        else
            buf_putc(out, '{'); /* the next brace may open a token of its own */
        p = value ? close + 2 : open + 1;
    }
    buf_append(out, p, (size_t)(end - p));
    return out->code;
}

int template_replace_tokens_json(const json_t *in, const json_t *tokens, json_t **out) {
    struct walk w = { .variables = tokens, .tokens = true };
    return map_tree(&w, in, 0, out);
}
