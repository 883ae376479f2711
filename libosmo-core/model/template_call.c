/* Calls in templates: binding of arguments to rows, and calls of values. Methods are in template_methods*.c, filters in
 * template_filter*.c, tests in template_tests.c, global functions in template_functions.c. Used by template_eval.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

const struct tpl_row *tpl_row_find(const struct tpl_row *rows, const char *name, size_t len) {
    for (; rows->name; rows++) {
        if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
            return rows;
    }
    return NULL;
}

/* Position of `name` in "a,b,c", -1 if absent; NULL counts the parameters. */
static int param_index(const char *params, const char *name) {
    int i = 0;
    for (const char *p = params; *p; i++) {
        size_t n = strcspn(p, ",");
        if (name && strlen(name) == n && memcmp(p, name, n) == 0)
            return i;
        p += n + (p[n] == ',');
    }
    return name ? -1 : i;
}

int tpl_call_row(struct tpl_rt *rt, const char *what, const struct tpl_row *row, const tpl_value_t *self,
                 const struct tpl_args *args, tpl_value_t *out) {
    struct tpl_call c;
    if (!row->fn)
        return tpl_type_error(rt, "%s '%s' is not supported", what, row->name);
    c.self = self ? *self : tpl_none();
    c.args = args;
    memset(c.a, 0, sizeof(c.a));
    if (row->params) {
        int max = param_index(row->params, NULL);
        if (args->n_pos > max)
            return tpl_type_error(rt, "%s '%s' takes at most %d arguments, got %d", what, row->name, max, args->n_pos);
        memcpy(c.a, args->pos, (size_t)args->n_pos * sizeof(c.a[0]));
        for (int i = 0; i < args->n_kw; i++) {
            int at = param_index(row->params, args->names[i]);
            if (at < 0 || tpl_given(&c.a[at]))
                return tpl_type_error(rt, "%s '%s' does not take the argument '%s'%s", what, row->name, args->names[i],
                                      at < 0 ? "" : " twice");
            c.a[at] = args->kw[i];
        }
        for (int i = 0; i < row->required; i++) {
            if (!tpl_given(&c.a[i]))
                return tpl_type_error(rt, "%s '%s' needs at least %d arguments", what, row->name, row->required);
        }
    }
    return tpl_charge(rt, 1) < 0 ? -1 : row->fn(rt, &c, out);
}

int tpl_call_value(struct tpl_rt *rt, const tpl_value_t *callee, const struct tpl_args *args, tpl_value_t *out) {
    switch (callee->kind) {
    case V_UNDEF: return tpl_undefined_error(rt, callee);
    case V_FUNC: return tpl_call_row(rt, "function", callee->u.func, NULL, args, out);
    case V_METHOD: return tpl_call_row(rt, "method", callee->u.method->row, &callee->u.method->self, args, out);
    case V_MACRO: case V_BLOCK: case V_LOOP: {
        if (!tpl_writes(callee))
            return tpl_type_error(rt, "loop() can be called only in a loop marked 'recursive'");
        struct tpl_capture c = tpl_capture_begin(rt);
        bool safe;
        if (tpl_capture_end(rt, c, tpl_run_writer(rt, callee, args), out) < 0 || tpl_escapes(rt, &safe) < 0)
            return -1;
        out->flags = safe ? V_FLAG_SAFE : 0;
        return 0;
    }
    case V_JOINER:
        if (args->n_pos || args->n_kw)
            return tpl_type_error(rt, "a joiner takes no arguments");
        *out = callee->u.joiner->used ? callee->u.joiner->sep : tpl_str("", 0);
        callee->u.joiner->used = true;
        return 0;
    default: return tpl_type_error(rt, "a value of type '%s' cannot be called", tpl_type_name(callee));
    }
}
