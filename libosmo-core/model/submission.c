/* From submitted text to rendered workflow text: sections, variables, tokens, template. Called by the engine's submit. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/yaml.h"
#include "model/submission.h"
#include "model/template_internal.h"

static bool letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* Length of the section name when a line begins one, else 0. */
static size_t section_name(const char *p, const char *end) {
    const char *q = p;
    if (q == end || !letter(*q))
        return 0;
    while (q < end && (letter(*q) || (*q >= '0' && *q <= '9') || *q == '_' || *q == '-'))
        q++;
    return q < end && *q == ':' ? (size_t)(q - p) : 0;
}

int submission_split(const char *text, size_t len, struct sections *out, osmo_error_t *err) {
    static const char *const names[] = { "workflow", "default-values", "version" };
    const char *start[3] = { 0 }, *stop[3] = { 0 }, *end = text + len;
    int line_of[3] = { 0 }, line = 1, current = -1;
    for (const char *p = text; p < end; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *next = nl ? nl + 1 : end;
        size_t n = section_name(p, next);
        if (n) {
            int which = -1;
            for (int i = 0; i < 3; i++)
                which = strlen(names[i]) == n && memcmp(p, names[i], n) == 0 ? i : which;
            if (which < 0)
                return osmo_error_set(err, OSMO_EUSER, "line %d: unknown section '%.*s'; a workflow file has the sections "
                                      "workflow, default-values and version", line, (int)(n > 100 ? 100 : n), p);
            if (start[which])
                return osmo_error_set(err, OSMO_EUSER, "line %d: section '%s' appears twice", line, names[which]);
            if (current >= 0)
                stop[current] = p;
            current = which;
            start[which] = p;
            line_of[which] = line;
        }
        p = next;
    }
    if (current >= 0)
        stop[current] = end;
    if (!start[0])
        return osmo_error_set(err, OSMO_EUSER, "no section 'workflow': a line that begins with 'workflow:' is needed");
    *out = (struct sections){ .workflow = start[0], .workflow_len = (size_t)(stop[0] - start[0]), .workflow_line = line_of[0],
                              .defaults = start[1], .defaults_len = start[1] ? (size_t)(stop[1] - start[1]) : 0,
                              .defaults_line = line_of[1] };
    return 0;
}

static int bind_defaults(struct tpl_rt *rt, const struct sections *s, osmo_error_t *err) {
    static const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    if (!s->defaults)
        return 0;
    int rc = yaml_parse(s->defaults, s->defaults_len, &limits, &doc, err);
    if (rc < 0) {
        osmo_error_prefix(err, "default-values (from line %d)", s->defaults_line);
        return rc;
    }
    const yaml_node_t *values = yaml_get(doc, "default-values");
    if (!values || values->kind == YAML_NULL)
        return 0;
    if (values->kind != YAML_MAP)
        return osmo_error_set(err, OSMO_EUSAGE, "line %d: default-values must be a mapping, not %s", s->defaults_line,
                              yaml_kind_name(values));
    for (size_t i = 0; i < values->len; i++) {
        tpl_value_t v, key;
        if (tpl_from_yaml(rt, values->keys[i], &key) < 0 || tpl_check_key(rt, &key) < 0)
            return rt->code;
        if (key.kind != V_STR || !tpl_rt_uses(rt, key.u.s, key.len))
            continue;
        if (tpl_from_yaml(rt, values->values[i], &v) < 0)
            return rt->code;
        tpl_rt_bind(rt, key.u.s, key.len, v);
    }
    return 0;
}

static int bind_list(struct tpl_rt *rt, const strlist_t *list, const char *option, bool typed, osmo_error_t *err) {
    for (size_t i = 0; list && i < list->len; i++) {
        const char *item = list->items[i], *eq = strchr(item, '=');
        tpl_value_t v;
        int64_t n;
        double f;
        if (!eq)
            return osmo_error_set(err, OSMO_EUSAGE, "%s '%.100s': expected name=value", option, item);
        const char *text = eq + 1;
        if (typed && tpl_text_to_int(text, strlen(text), 10, &n))
            v = tpl_int(n);
        else if (typed && tpl_text_to_float(text, strlen(text), &f))
            v = tpl_float(f);
        else if (tpl_str_copy(rt, text, strlen(text), &v) < 0)
            return rt->code;
        tpl_rt_bind(rt, item, (size_t)(eq - item), v);
    }
    return 0;
}

int submission_render(const char *text, size_t len, const strlist_t *set_variables, const strlist_t *set_string_variables,
                      const struct template_limits *limits, buf_t *out, osmo_error_t *err) {
    struct sections s;
    struct tpl_rt rt;
    template_t *t;
    int rc = submission_split(text, len, &s, err);
    if (rc < 0)
        return rc;
    struct tpl_options options = { .protect_tokens = true, .first_line = s.workflow_line };
    if ((rc = tpl_compile(s.workflow, s.workflow_len, &options, &t, err)) < 0)
        return rc;
    rc = tpl_rt_init(&rt, t, limits, err);
    if (rc == 0)
        rc = bind_defaults(&rt, &s, err);
    if (rc == 0)
        rc = bind_list(&rt, set_variables, "set_variables", true, err);
    if (rc == 0)
        rc = bind_list(&rt, set_string_variables, "set_string_variables", false, err);
    if (rc == 0)
        rc = tpl_rt_run(&rt, out);
    tpl_rt_free(&rt);
    template_free(t);
    return rc;
}
