/* Front of the template engine: compile, render, budgets, name slots. The public face of template.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

int tpl_compile(const char *text, size_t len, const struct tpl_options *options, template_t **out, osmo_error_t *err) {
    struct tpl_tokens tokens = { 0 };
    struct template *t = calloc(1, sizeof(*t));
    if (!t)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading a template");
    t->arena.max = (size_t)1 << 32;
    int rc = tpl_lex(&t->arena, text, len, options, &tokens, err);
    if (rc == 0) {
        struct tpl_parser p = { .t = t, .tok = tokens.items, .err = err };
        t->body = tpl_parse_body(&p);
        rc = p.code ? p.code : tpl_resolve(&p);
    }
    free(tokens.items);
    if (rc < 0) {
        template_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

int template_compile(const char *text, size_t len, template_t **out, osmo_error_t *err) {
    static const struct tpl_options plain = { .protect_tokens = false, .first_line = 1 };
    return tpl_compile(text, len, &plain, out, err);
}

void template_free(template_t *t) {
    if (!t)
        return;
    tpl_arena_free(&t->arena);
    free(t);
}

/* ---- failures and budgets ---- */
static int __attribute__((format(printf, 3, 0))) fail_v(struct tpl_rt *rt, int code, const char *format, va_list args) {
    if (rt->code) /* the first failure is the cause */
        return -1;
    rt->code = osmo_error_setv(rt->err, code, format, args);
    if (rt->err && rt->line)
        osmo_error_prefix(rt->err, "line %d", rt->line);
    return -1;
}

int tpl_fail(struct tpl_rt *rt, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_v(rt, code, format, args);
    va_end(args);
    return -1;
}

int tpl_type_error(struct tpl_rt *rt, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_v(rt, OSMO_EUSAGE, format, args);
    va_end(args);
    return -1;
}

#define CHECK_STEPS 4096 /* between two looks at the clock */

static void next_check(struct tpl_rt *rt) {
    rt->check_at = rt->limits.max_steps;
    if (rt->limits.expired && rt->limits.max_steps - rt->steps > CHECK_STEPS)
        rt->check_at = rt->steps + CHECK_STEPS;
}

int tpl_steps_exceeded(struct tpl_rt *rt) {
    if (rt->steps > rt->limits.max_steps)
        return tpl_fail(rt, OSMO_EUSAGE, "template exceeds %llu steps", (unsigned long long)rt->limits.max_steps);
    if (rt->limits.expired && rt->limits.expired(rt->limits.expired_arg))
        return tpl_fail(rt, OSMO_EUSAGE, "template takes too long to render");
    next_check(rt);
    return 0;
}

int tpl_stack_check(struct tpl_rt *rt) {
    const char *here = __builtin_frame_address(0);
    size_t used = rt->stack > here ? (size_t)(rt->stack - here) : (size_t)(here - rt->stack);
    return rt->stack && used > TPL_STACK_MAX ? tpl_fail(rt, OSMO_EUSAGE, "template calls are nested too deep") : 0;
}

int tpl_descend(struct tpl_rt *rt) {
    if (rt->depth >= rt->limits.max_depth)
        return tpl_fail(rt, OSMO_EUSAGE, "template values or calls are nested more than %d deep", rt->limits.max_depth);
    rt->depth++;
    return tpl_stack_check(rt) < 0 ? -1 : tpl_charge(rt, 1);
}

/* ---- one rendering ---- */
static void undefined_name(tpl_value_t *out, const tpl_value_t *name) {
    *out = *name;
    out->kind = V_UNDEF;
    out->flags = V_FLAG_NAME;
}

int tpl_rt_init(struct tpl_rt *rt, const struct template *t, const struct template_limits *limits, osmo_error_t *err) {
    static const struct template_limits defaults = TEMPLATE_LIMITS_DEFAULT;
    *rt = (struct tpl_rt){ .t = t, .limits = limits ? *limits : defaults, .err = err };
    size_t room = rt->limits.max_output < SIZE_MAX / 8 ? rt->limits.max_output * 4 : SIZE_MAX / 2;
    rt->arena.max = room + ((size_t)1 << 20);
    rt->scratch = (buf_t)BUF_INIT(rt->limits.max_output);
    next_check(rt);
    rt->globals = tpl_alloc(rt, ((size_t)t->n_names + 1) * sizeof(*rt->globals));
    rt->idle = tpl_alloc(rt, ((size_t)t->n_units + 1) * sizeof(struct tpl_frame *));
    if (!rt->globals || !rt->idle)
        return rt->code;
    for (int i = 0; i < t->n_names; i++) {
        const struct tpl_row *function = tpl_function_find(t->names[i].u.s, t->names[i].len);
        if (function)
            rt->globals[i] = (tpl_value_t){ .kind = V_FUNC, .u.func = function };
        else
            undefined_name(&rt->globals[i], &t->names[i]);
    }
    return 0;
}

bool tpl_rt_uses(const struct tpl_rt *rt, const char *name, size_t len) { return tpl_name_find(rt->t, name, len) >= 0; }

int tpl_rt_bind(struct tpl_rt *rt, const char *name, size_t len, tpl_value_t v) {
    int at = tpl_name_find(rt->t, name, len);
    if (at >= 0)
        rt->globals[at] = v;
    return 0;
}

/* Writes straight into `out`, which is put back as it was when the rendering fails. */
int tpl_rt_run(struct tpl_rt *rt, buf_t *out) {
    const struct tpl_unit *root = &rt->t->root;
    size_t mark = out->len, max = out->max;
    if (out->code)
        return out->code;
    if (max > mark && max - mark > rt->limits.max_output)
        out->max = mark + rt->limits.max_output;
    rt->out = out;
    rt->stack = __builtin_frame_address(0);
    if (tpl_push(rt, root, NULL, rt->globals)) {
        if (root->self >= 0)
            rt->frame->slots[root->self] = (tpl_value_t){ .kind = V_SELF };
        tpl_enter_scope(rt, &root->scope);
        if (tpl_exec(rt, root->body) == 0)
            tpl_buf_check(rt, out);
    }
    out->max = max;
    if (rt->code) {
        out->code = 0;
        if (out->data)
            buf_truncate(out, mark);
    }
    return rt->code;
}

void tpl_rt_free(struct tpl_rt *rt) {
    tpl_arena_free(&rt->arena);
    buf_free(&rt->scratch);
}

int template_render(const template_t *t, const json_t *variables, const struct template_limits *limits, buf_t *out,
                    osmo_error_t *err) {
    struct tpl_rt rt;
    int rc = tpl_rt_init(&rt, t, limits, err);
    json_iter_t it = json_iter(variables);
    while (rc == 0 && json_kind(variables) == JSON_OBJECT && json_iter_next(&it)) {
        tpl_value_t v;
        if (!tpl_rt_uses(&rt, it.key, strlen(it.key)))
            continue;
        if (tpl_from_json(&rt, it.value, &v) < 0)
            rc = rt.code;
        else
            tpl_rt_bind(&rt, it.key, strlen(it.key), v);
    }
    if (rc == 0)
        rc = tpl_rt_run(&rt, out);
    tpl_rt_free(&rt);
    return rc;
}

int template_render_text(const char *text, size_t len, const json_t *variables, const struct template_limits *limits,
                         buf_t *out, osmo_error_t *err) {
    template_t *t;
    int rc = template_compile(text, len, &t, err);
    if (rc < 0)
        return rc;
    rc = template_render(t, variables, limits, out, err);
    template_free(t);
    return rc;
}
