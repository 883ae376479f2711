/* A JSON tree whose strings are templates: pod templates and group templates. The strings are compiled once for all
 * tasks of a platform; those without a delimiter are rendered at once. Called by pods*.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/pods_internal.h"
#include "model/template.h"

struct pod_template {
    json_t *value;                 /* a rendered leaf (NULL = null) */
    template_t *text;              /* a leaf that depends on the task */
    enum json_kind kind;           /* JSON_OBJECT, JSON_ARRAY, or JSON_NULL for a leaf */
    char **keys;
    struct pod_template **items;
    size_t len;
};

void pod_template_free(struct pod_template *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->len; i++) {
        if (t->keys)
            free(t->keys[i]);
        pod_template_free(t->items[i]);
    }
    free(t->keys);
    free(t->items);
    json_free(t->value);
    template_free(t->text);
    free(t);
}

/* A text that is exactly ARRAY:[a,b] on one line becomes the list of what stands between the commas. */
static int text_value(const char *text, size_t len, json_t **out)
{
    static const char head[] = "ARRAY:[";
    const size_t n = sizeof(head) - 1;
    _cleanup_json_ json_t *list = NULL;

    if (len <= n || memcmp(text, head, n) != 0 || text[len - 1] != ']' || memchr(text, '\n', len))
        return (*out = json_string_n(text, len)) ? 0 : OSMO_ENOMEM;
    list = json_array();
    for (const char *p = text + n, *end = text + len - 1; list;) {
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

static int render_text(const template_t *text, const json_t *variables, json_t **out, osmo_error_t *err)
{
    static const struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    _cleanup_buf_ buf_t b = BUF_INIT(limits.max_output);
    int rc = template_render(text, variables, &limits, &b, err);
    return rc < 0 ? rc : text_value(buf_cstr(&b), b.len, out);
}

static int compile_string(const json_t *in, struct pod_template *t, osmo_error_t *err)
{
    size_t len = 0;
    const char *s = json_bytes(in, &len);
    int rc = template_compile(s, len, &t->text, err);
    bool fixed = true;

    for (size_t i = 0; i + 1 < len && fixed; i++)
        fixed = s[i] != '{' || !strchr("{%#", s[i + 1]) || s[i + 1] == '\0';
    if (rc < 0 || !fixed)
        return rc;
    rc = render_text(t->text, NULL, &t->value, err);
    template_free(t->text);
    t->text = NULL;
    return rc;
}

static int compile(const json_t *in, struct pod_template **out, int depth, osmo_error_t *err);

static int compile_items(const json_t *in, struct pod_template *t, int depth, osmo_error_t *err)
{
    size_t n = json_len(in);
    bool keyed = t->kind == JSON_OBJECT;
    json_iter_t it = json_iter(in);

    t->items = calloc(n + 1, sizeof(*t->items));
    t->keys = keyed ? calloc(n + 1, sizeof(*t->keys)) : NULL;
    if (!t->items || (keyed && !t->keys))
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        char where[24];
        if (keyed && (!json_iter_next(&it) || !(t->keys[i] = str_dup(it.key))))
            return OSMO_ENOMEM;
        t->len = i + 1;
        int rc = compile(keyed ? it.value : json_at(in, i), &t->items[i], depth + 1, err);
        if (rc < 0) {
            snprintf(where, sizeof(where), "%zu", i);
            osmo_error_prefix(err, "%.60s", keyed ? it.key : where);
            return rc;
        }
    }
    return 0;
}

static int compile(const json_t *in, struct pod_template **out, int depth, osmo_error_t *err)
{
    struct pod_template *t = calloc(1, sizeof(*t));
    enum json_kind kind = json_kind(in);
    int rc = t ? 0 : OSMO_ENOMEM;

    *out = t;
    if (rc < 0)
        return rc;
    if (depth > JSON_MAX_DEPTH)
        return osmo_error_set(err, OSMO_EUSAGE, "nested more than %d deep", JSON_MAX_DEPTH);
    if (kind == JSON_STRING)
        return compile_string(in, t, err);
    if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
        t->kind = kind;
        return compile_items(in, t, depth, err);
    }
    t->value = json_copy(in);
    return in && !t->value ? OSMO_ENOMEM : 0;
}

int pod_template_compile(const json_t *in, struct pod_template **out, osmo_error_t *err)
{
    int rc = compile(in, out, 0, err);
    if (rc < 0) {
        pod_template_free(*out);
        *out = NULL;
    }
    return rc;
}

/* Depth is that of the compiled tree, which is bounded. */
int pod_template_render(const struct pod_template *t, const json_t *variables, json_t **out, osmo_error_t *err)
{
    *out = NULL;
    if (t->text)
        return render_text(t->text, variables, out, err);
    if (t->kind == JSON_NULL) {
        *out = json_ref(t->value); /* read only: whoever changes a tree copies */
        return 0;
    }
    _cleanup_json_ json_t *v = t->kind == JSON_OBJECT ? json_object() : json_array();
    for (size_t i = 0; v && i < t->len; i++) {
        char where[24];
        json_t *item = NULL;
        int rc = pod_template_render(t->items[i], variables, &item, err);
        if (rc < 0) {
            snprintf(where, sizeof(where), "%zu", i);
            osmo_error_prefix(err, "%.60s", t->keys ? t->keys[i] : where);
            return rc;
        }
        rc = t->keys ? json_set(v, t->keys[i], item) : json_add(v, item);
        if (rc < 0)
            return rc;
    }
    return (*out = STEAL(v)) ? 0 : OSMO_ENOMEM;
}
