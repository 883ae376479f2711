/* Expressions of the template language. Operators on values are in template_ops.c, calls in template_call.c, statements
 * in template_exec.c. Used by template_exec.c and template_macro.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

int tpl_eval_truth(struct tpl_rt *rt, const struct tpl_node *n, bool *out) {
    tpl_value_t v;
    return tpl_eval(rt, n, &v) < 0 ? -1 : tpl_truth(rt, &v, out);
}

static int eval_items(struct tpl_rt *rt, const struct tpl_node *n, int kind, tpl_value_t *out) {
    tpl_value_t v;
    if (tpl_new_list(rt, kind, (size_t)n->count, out) < 0)
        return -1;
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (tpl_eval(rt, i, &v) < 0 || tpl_list_add(rt, out->u.list, v) < 0)
            return -1;
    }
    return 0;
}

static int eval_dict(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t key, value;
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    for (const struct tpl_node *i = n->items; i; i = i->next->next) {
        if (tpl_eval(rt, i, &key) < 0 || tpl_eval(rt, i->next, &value) < 0 || tpl_check_key(rt, &key) < 0 ||
            tpl_dict_set(rt, out->u.dict, key, value) < 0)
            return -1;
    }
    return 0;
}

/* ---- arguments and calls ---- */
static int too_many(struct tpl_rt *rt) { return tpl_type_error(rt, "a call has more than %d arguments", TPL_MAX_ARGS); }

static int spread_list(struct tpl_rt *rt, const tpl_value_t *v, struct tpl_args *args) {
    struct tpl_iter it;
    tpl_value_t item;
    int rc = tpl_iter_init(rt, v, &it);
    while (rc >= 0 && (rc = tpl_iter_step(rt, &it, &item)) > 0) {
        if (args->n_pos == TPL_MAX_ARGS)
            return too_many(rt);
        args->pos[args->n_pos++] = item;
    }
    return rc;
}

static int spread_dict(struct tpl_rt *rt, const tpl_value_t *v, struct tpl_args *args) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (v->kind != V_DICT)
        return tpl_type_error(rt, "'**' needs a mapping, not a value of type '%s'", tpl_type_name(v));
    for (size_t i = 0; i < v->u.dict->len; i++) {
        const tpl_value_t *key = &v->u.dict->pairs[i].key;
        char *name;
        if (key->kind != V_STR)
            return tpl_type_error(rt, "the names behind '**' must be texts");
        if (args->n_kw == TPL_MAX_ARGS)
            return too_many(rt);
        if (!(name = tpl_alloc(rt, (size_t)key->len + 1)))
            return -1;
        memcpy(name, key->u.s, key->len);
        for (int k = 0; k < args->n_kw; k++) {
            if (strcmp(args->names[k], name) == 0)
                return tpl_type_error(rt, "the argument '%s' is given twice", name);
        }
        args->names[args->n_kw] = name;
        args->kw[args->n_kw++] = v->u.dict->pairs[i].value;
    }
    return 0;
}

static int eval_args(struct tpl_rt *rt, const struct tpl_node *n, struct tpl_args *args) {
    args->n_pos = args->n_kw = 0;
    if (n->items && tpl_stack_check(rt) < 0)
        return -1;
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (!i->keyword) {
            if (tpl_eval(rt, i, &args->pos[args->n_pos++]) < 0)
                return -1;
        } else if (i->keyword != tpl_star && i->keyword != tpl_star_star) {
            args->names[args->n_kw] = i->keyword;
            if (tpl_eval(rt, i, &args->kw[args->n_kw++]) < 0)
                return -1;
        } else {
            tpl_value_t v;
            if (tpl_eval(rt, i, &v) < 0 ||
                (i->keyword == tpl_star ? spread_list(rt, &v, args) : spread_dict(rt, &v, args)) < 0)
                return -1;
        }
    }
    return 0;
}

struct tpl_args *tpl_args_take(struct tpl_rt *rt, const struct tpl_node *n) {
    struct tpl_args *args = rt->spare_args;
    if (args)
        rt->spare_args = args->next;
    else if (!(args = tpl_alloc(rt, sizeof(*args))))
        return NULL;
    return eval_args(rt, n, args) < 0 ? NULL : args;
}

void tpl_args_give(struct tpl_rt *rt, struct tpl_args *args) {
    args->next = rt->spare_args;
    rt->spare_args = args;
}

/* What is called: a row with its `self` (a method, without a bound one being made first) or a value. */
static int eval_callee(struct tpl_rt *rt, const struct tpl_node *n, const struct tpl_row **row, tpl_value_t *self) {
    tpl_value_t of;
    *row = NULL;
    if (n->a->type != N_GETATTR)
        return tpl_eval(rt, n->a, self);
    if (tpl_eval(rt, n->a->a, &of) < 0)
        return -1;
    rt->line = n->line;
    if ((*row = tpl_method_find(&of, n->a->value.u.s, n->a->value.len))) {
        *self = of;
        return 0;
    }
    return tpl_getattr(rt, &of, n->a->value.u.s, n->a->value.len, self);
}

static int eval_call(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    struct tpl_args *args;
    const struct tpl_row *row;
    tpl_value_t self;
    if (eval_callee(rt, n, &row, &self) < 0 || !(args = tpl_args_take(rt, n)))
        return -1;
    rt->line = n->line;
    int rc = row ? tpl_call_row(rt, "method", row, &self, args, out) : tpl_call_value(rt, &self, args, out);
    tpl_args_give(rt, args);
    return rc;
}

int tpl_call_print(struct tpl_rt *rt, const struct tpl_node *n) {
    struct tpl_args *args;
    const struct tpl_row *row;
    tpl_value_t self, v;
    int rc;
    if (tpl_charge(rt, 1) < 0 || eval_callee(rt, n, &row, &self) < 0 || !(args = tpl_args_take(rt, n)))
        return -1;
    rt->line = n->line;
    if (!row && tpl_writes(&self)) {
        rc = tpl_run_writer(rt, &self, args);
    } else {
        rc = row ? tpl_call_row(rt, "method", row, &self, args, &v) : tpl_call_value(rt, &self, args, &v);
        if (rc == 0)
            rc = tpl_print(rt, &v, rt->out);
    }
    tpl_args_give(rt, args);
    return rc;
}

int tpl_apply(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *self, tpl_value_t *out) {
    struct tpl_args *args;
    const char *what = n->type == N_FILTER ? "filter" : "test";
    rt->line = n->line;
    if (!n->row)
        return tpl_type_error(rt, "%s '%.*s' is not known", what, (int)n->value.len, n->value.u.s);
    if (!(args = tpl_args_take(rt, n)))
        return -1;
    rt->line = n->line;
    int rc = tpl_call_row(rt, what, n->row, self, args, out);
    tpl_args_give(rt, args);
    return rc;
}

/* ---- operators ---- */
static int eval_compare(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t left, right;
    bool hit = true;
    if (tpl_eval(rt, n->a, &left) < 0)
        return -1;
    for (const struct tpl_node *i = n->items; i && hit; i = i->next, left = right) {
        if (tpl_eval(rt, i->a, &right) < 0)
            return -1;
        rt->line = n->line;
        if (tpl_compare(rt, i->op, &left, &right, &hit) < 0)
            return -1;
    }
    *out = tpl_bool(hit);
    return 0;
}

static int eval_logic(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        bool truth;
        if (tpl_eval(rt, i, out) < 0)
            return -1;
        if (!i->next)
            return 0;
        if (tpl_truth(rt, out, &truth) < 0)
            return -1;
        if (truth == (n->type == N_OR))
            return 0;
    }
    return 0;
}

/* Where output is escaped, one safe part makes the whole safe and the other parts are escaped. */
static int concat_escaped(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t parts, text;
    bool safe = false;
    if (eval_items(rt, n, V_LIST, &parts) < 0)
        return -1;
    struct tpl_list *l = parts.u.list;
    for (size_t i = 0; i < l->len; i++)
        safe = safe || (l->items[i].kind == V_STR && (l->items[i].flags & V_FLAG_SAFE));
    struct tpl_capture c = tpl_capture_begin(rt);
    int rc = 0;
    for (size_t i = 0; i < l->len && rc == 0; i++) {
        if (safe)
            rc = tpl_escape(rt, &l->items[i], &text) < 0 ? -1 : tpl_print(rt, &text, rt->out);
        else
            rc = tpl_print(rt, &l->items[i], rt->out);
    }
    rc = tpl_capture_end(rt, c, rc, out);
    if (rc == 0 && safe)
        out->flags = V_FLAG_SAFE;
    return rc;
}

static int eval_concat(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    if (n->op)
        return concat_escaped(rt, n, out);
    struct tpl_capture c = tpl_capture_begin(rt);
    tpl_value_t v;
    int rc = 0;
    for (const struct tpl_node *i = n->items; rc == 0 && i; i = i->next)
        rc = tpl_eval(rt, i, &v) < 0 ? -1 : tpl_print(rt, &v, rt->out);
    return tpl_capture_end(rt, c, rc, out);
}

static int eval_sign(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t v, zero = tpl_int(0);
    if (tpl_eval(rt, n->a, &v) < 0)
        return -1;
    if (v.kind == V_FLOAT) {
        *out = tpl_float(n->type == N_NEG ? -v.u.f : v.u.f);
        return 0;
    }
    if (v.kind == V_UNDEF || tpl_is_any_int(&v))
        return tpl_binary(rt, n->type == N_NEG ? OP_SUB : OP_ADD, &zero, &v, out);
    return tpl_type_error(rt, "a sign cannot stand before a value of type '%s'", tpl_type_name(&v));
}

static int eval_slice(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t v, part[3];
    if (tpl_eval(rt, n->a, &v) < 0 || tpl_eval(rt, n->b, &part[0]) < 0 || tpl_eval(rt, n->c, &part[1]) < 0 ||
        tpl_eval(rt, n->d, &part[2]) < 0)
        return -1;
    rt->line = n->line;
    return tpl_slice(rt, &v, part, out);
}

static int eval_cond(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    bool truth;
    if (tpl_eval_truth(rt, n->a, &truth) < 0)
        return -1;
    if (truth || n->c)
        return tpl_eval(rt, truth ? n->b : n->c, out);
    if (tpl_undefined(rt, "the inline if is false and has no else", out) < 0)
        return -1;
    out->flags |= V_FLAG_SOFT;
    return 0;
}

static int eval_outer(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    const struct tpl_frame *f = rt->frame;
    for (int hops = n->hops; hops; hops--)
        f = f->up;
    *out = f->slots[n->slot];
    return 0;
}

int tpl_eval(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t a, b;
    bool truth;
    if (tpl_charge(rt, 1) < 0)
        return -1;
    rt->line = n->line;
    switch (n->type) {
    case N_CONST: *out = n->value; return 0;
    case N_NAME: *out = rt->frame->globals[n->slot]; return 0;
    case N_LOCAL: *out = rt->frame->slots[n->slot]; return 0;
    case N_OUTER: return eval_outer(rt, n, out);
    case N_LIST: return eval_items(rt, n, V_LIST, out);
    case N_TUPLE: return eval_items(rt, n, V_TUPLE, out);
    case N_DICT: return eval_dict(rt, n, out);
    case N_GETATTR: return tpl_eval(rt, n->a, &a) < 0 ? -1 : tpl_getattr(rt, &a, n->value.u.s, n->value.len, out);
    case N_GETITEM:
        return tpl_eval(rt, n->a, &a) < 0 || tpl_eval(rt, n->b, &b) < 0 ? -1 : tpl_getitem(rt, &a, &b, out);
    case N_SLICE: return eval_slice(rt, n, out);
    case N_CALL: return eval_call(rt, n, out);
    case N_FILTER: case N_TEST: return tpl_eval(rt, n->a, &a) < 0 ? -1 : tpl_apply(rt, n, &a, out);
    case N_NEG: case N_POS: return eval_sign(rt, n, out);
    case N_NOT:
        if (tpl_eval_truth(rt, n->a, &truth) < 0)
            return -1;
        *out = tpl_bool(!truth);
        return 0;
    case N_BINARY:
        if (tpl_eval(rt, n->a, &a) < 0 || tpl_eval(rt, n->b, &b) < 0)
            return -1;
        rt->line = n->line;
        return tpl_binary(rt, n->op, &a, &b, out);
    case N_CONCAT: return eval_concat(rt, n, out);
    case N_COMPARE: return eval_compare(rt, n, out);
    case N_AND: case N_OR: return eval_logic(rt, n, out);
    case N_COND: return eval_cond(rt, n, out);
    default: return tpl_fail(rt, OSMO_EINTERNAL, "unexpected node %d in an expression", n->type);
    }
}
