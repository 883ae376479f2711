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
                return osmo_error_set(err, OSMO_EUSER, "line %d: unknown section '%.*s'; a workflow file has the "
                                      "sections workflow, default-values and version", line, (int)(n > 100 ? 100 : n),
                                          p);
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

/* The mapping of default-values, which *doc owns; NULL when there is none. */
static int read_defaults(const struct sections *s, yaml_node_t **doc, const yaml_node_t **out,
                         enum submission_stage *stage, osmo_error_t *err) {
    static const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    *out = NULL;
    if (!s->defaults)
        return 0;
    *stage = SUBMISSION_DEFAULTS;
    int rc = yaml_parse(s->defaults, s->defaults_len, &limits, doc, err);
    if (rc < 0) {
        osmo_error_prefix(err, "default-values (from line %d)", s->defaults_line);
        return rc;
    }
    *stage = SUBMISSION_VARIABLES;
    const yaml_node_t *values = yaml_get(*doc, "default-values");
    if (!values || values->kind == YAML_NULL)
        return 0;
    if (values->kind != YAML_MAP)
        return osmo_error_set(err, OSMO_EUSAGE, "line %d: default-values must be a mapping of names to values, not %s",
                              s->defaults_line, yaml_kind_name(values));
    *out = values;
    return 0;
}

static int check_items(const strlist_t *list, const char *option, osmo_error_t *err) {
    for (size_t i = 0; list && i < list->len; i++)
        if (!strchr(list->items[i], '='))
            return osmo_error_set(err, OSMO_EUSAGE, "%s '%.100s': expected name=value", option, list->items[i]);
    return 0;
}

static int bind_defaults(struct tpl_rt *rt, const yaml_node_t *values) {
    for (size_t i = 0; values && i < values->len; i++) {
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

/* The decimal text of a whole number as int() reads it, whatever its size; NULL when it is none. malloc'ed. */
static char *large_int(const char *text) {
    const char *p = text + strspn(text, " \t\r\n\f\v");
    size_t n = 0;
    char *out = malloc(strlen(p) + 2);
    if (!out)
        return NULL;
    if (*p == '-')
        out[n++] = *p;
    p += *p == '-' || *p == '+';
    size_t sign = n;
    for (bool digit = false; (*p >= '0' && *p <= '9') || (*p == '_' && digit && p[1] >= '0' && p[1] <= '9'); p++) {
        digit = true;
        if (*p != '_' && !(*p == '0' && n == sign))
            out[n++] = *p;
    }
    out[n] = '\0';
    p += strspn(p, " \t\r\n\f\v");
    if (!*p && n > sign)
        return out;
    free(out);
    return NULL;
}

static int bind_value(struct tpl_rt *rt, const char *text, bool typed, tpl_value_t *out) {
    size_t len = strlen(text);
    int64_t n;
    double f;
    if (typed && tpl_text_to_int(text, len, 10, &n)) {
        *out = tpl_int(n);
        return 0;
    }
    _cleanup_free_ char *large = typed ? large_int(text) : NULL; /* prints as the number it is */
    if (large)
        return tpl_str_copy(rt, large, strlen(large), out);
    if (typed && tpl_text_to_float(text, len, &f)) {
        *out = tpl_float(f);
        return 0;
    }
    return tpl_str_copy(rt, text, len, out);
}

static int bind_list(struct tpl_rt *rt, const strlist_t *list, bool typed) {
    for (size_t i = 0; list && i < list->len; i++) {
        const char *item = list->items[i], *eq = strchr(item, '=');
        tpl_value_t v;
        if (bind_value(rt, eq + 1, typed, &v) < 0)
            return rt->code;
        tpl_rt_bind(rt, item, (size_t)(eq - item), v);
    }
    return 0;
}

static int run(const struct sections *s, const yaml_node_t *defaults, const strlist_t *set, const strlist_t *set_string,
               const struct template_limits *limits, buf_t *out, osmo_error_t *err) {
    struct tpl_options options = { .protect_tokens = true, .first_line = s->workflow_line };
    struct tpl_rt rt;
    template_t *t;
    int rc = tpl_compile(s->workflow, s->workflow_len, &options, &t, err);
    if (rc < 0)
        return rc;
    rc = tpl_rt_init(&rt, t, limits, err);
    if (rc == 0)
        rc = bind_defaults(&rt, defaults);
    if (rc == 0)
        rc = bind_list(&rt, set, true);
    if (rc == 0)
        rc = bind_list(&rt, set_string, false);
    if (rc == 0)
        rc = tpl_rt_run(&rt, out);
    tpl_rt_free(&rt);
    template_free(t);
    return rc;
}

int submission_render_staged(const char *text, size_t len, const strlist_t *set_variables,
                             const strlist_t *set_string_variables, const struct template_limits *limits, buf_t *out,
                             enum submission_stage *stage, osmo_error_t *err) {
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    const yaml_node_t *defaults;
    enum submission_stage unused;
    struct sections s;

    stage = stage ? stage : &unused;
    *stage = SUBMISSION_SECTIONS;
    if (len > SUBMISSION_TEXT_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "the workflow text has %zu bytes, at most %u are allowed", len,
                              SUBMISSION_TEXT_MAX);
    int rc = submission_split(text, len, &s, err);
    if (rc < 0)
        return rc;
    rc = read_defaults(&s, &doc, &defaults, stage, err);
    if (rc < 0)
        return rc;
    *stage = SUBMISSION_VARIABLES;
    if ((rc = check_items(set_variables, "set_variables", err)) < 0 ||
        (rc = check_items(set_string_variables, "set_string_variables", err)) < 0)
        return rc;
    *stage = SUBMISSION_TEMPLATE;
    for (int line = 1; line < s.workflow_line; line++)
        buf_putc(out, '\n');
    return run(&s, defaults, set_variables, set_string_variables, limits, out, err);
}

int submission_render(const char *text, size_t len, const strlist_t *set_variables,
                      const strlist_t *set_string_variables,
                      const struct template_limits *limits, buf_t *out, osmo_error_t *err) {
    return submission_render_staged(text, len, set_variables, set_string_variables, limits, out, NULL, err);
}
