/* The public face of templates (osmo/template.h) over model/template.h. */
#include <osmo/template.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "model/template.h"

struct osmo_template { template_t *compiled; };
struct osmo_template_limits { struct template_limits inner; };

int osmo_template_compile(const char *text, size_t len, osmo_template_t **out, osmo_error_t *err) {
    osmo_template_t *t = calloc(1, sizeof(*t));
    if (!t)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading a template");
    int rc = template_compile(text, len, &t->compiled, err);
    if (rc < 0) {
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void osmo_template_free(osmo_template_t *t) {
    if (!t)
        return;
    template_free(t->compiled);
    free(t);
}

static int render(const osmo_template_t *t, const json_t *variables, const osmo_template_limits_t *limits, char **text,
                  size_t *len, osmo_error_t *err) {
    static const struct template_limits defaults = TEMPLATE_LIMITS_DEFAULT;
    const struct template_limits *inner = limits ? &limits->inner : &defaults;
    _cleanup_buf_ buf_t out = BUF_INIT(inner->max_output);
    int rc = template_render(t->compiled, variables, inner, &out, err);
    if (rc < 0)
        return rc;
    size_t n = out.len;
    char *s = n ? buf_steal(&out, NULL) : calloc(1, 1);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while rendering a template");
    if (len)
        *len = n;
    *text = s;
    return 0;
}

int osmo_template_render(const osmo_template_t *t, const char *variables, const osmo_template_limits_t *limits, char **text,
                         size_t *len, osmo_error_t *err) {
    _cleanup_json_ json_t *parsed = NULL;
    if (variables) {
        int rc = json_parse(variables, strlen(variables), &parsed, err);
        if (rc == OSMO_ENOMEM)
            return rc;
        if (rc < 0 || json_kind(parsed) != JSON_OBJECT)
            return osmo_error_set(err, OSMO_EINVAL, "the variables of a template must be a JSON object");
    }
    return render(t, parsed, limits, text, len, err);
}

int osmo_template_render_pairs(const osmo_template_t *t, const char *const *pairs, const osmo_template_limits_t *limits,
                               char **text, size_t *len, osmo_error_t *err) {
    _cleanup_json_ json_t *variables = json_new_object();
    if (!variables)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while rendering a template");
    for (; pairs && pairs[0]; pairs += 2) {
        if (!pairs[1])
            return osmo_error_set(err, OSMO_EINVAL, "the template variable '%s' has no value", pairs[0]);
        json_t *value = json_string(pairs[1]);
        if (!value || json_set(variables, pairs[0], value) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory while rendering a template");
    }
    return render(t, variables, limits, text, len, err);
}

int osmo_template_limits_new(osmo_template_limits_t **out) {
    static const struct template_limits defaults = TEMPLATE_LIMITS_DEFAULT;
    osmo_template_limits_t *limits = calloc(1, sizeof(*limits));
    if (!limits)
        return OSMO_ENOMEM;
    limits->inner = defaults;
    *out = limits;
    return 0;
}

void osmo_template_limits_free(osmo_template_limits_t *limits) { free(limits); }
void osmo_template_limits_set_steps(osmo_template_limits_t *limits, uint64_t steps) { limits->inner.max_steps = steps; }
void osmo_template_limits_set_depth(osmo_template_limits_t *limits, int depth) { limits->inner.max_depth = depth; }
void osmo_template_limits_set_output(osmo_template_limits_t *limits, size_t bytes) { limits->inner.max_output = bytes; }
void osmo_template_limits_set_values(osmo_template_limits_t *limits, size_t values) { limits->inner.max_values = values; }

void osmo_template_limits_set_expired(osmo_template_limits_t *limits, bool (*expired)(void *arg), void *arg) {
    limits->inner.expired = expired;
    limits->inner.expired_arg = arg;
}
