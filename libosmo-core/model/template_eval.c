/* Runs the compiled tree: expressions, statements and scopes. Operators on values are in template_ops.c, calls in
 * template_call.c. Used by template.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

/* ---- scopes: every name has one current value; leaving a scope puts the old ones back ---- */
int tpl_assign(struct tpl_rt *rt, int slot, tpl_value_t v) {
    if (rt->undo_len == rt->undo_cap) {
        size_t cap = rt->undo_cap ? rt->undo_cap * 2 : 64;
        struct tpl_undo *grown = cap > rt->limits.max_values ? NULL : realloc(rt->undo, cap * sizeof(*grown));
        if (!grown)
            return tpl_fail(rt, OSMO_EUSAGE, "template assigns too many variables");
        rt->undo = grown;
        rt->undo_cap = cap;
    }
    rt->undo[rt->undo_len++] = (struct tpl_undo){ slot, rt->slots[slot] };
    rt->slots[slot] = v;
    return 0;
}

void tpl_unwind(struct tpl_rt *rt, size_t mark) {
    while (rt->undo_len > mark) {
        struct tpl_undo *u = &rt->undo[--rt->undo_len];
        rt->slots[u->slot] = u->old;
    }
}

/* ---- expressions ---- */
static int eval_truth(struct tpl_rt *rt, const struct tpl_node *n, bool *out) {
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
        if (tpl_eval(rt, i, &key) < 0 || tpl_check_key(rt, &key) < 0 || tpl_eval(rt, i->next, &value) < 0 ||
            tpl_dict_set(rt, out->u.dict, key, value) < 0)
            return -1;
    }
    return 0;
}

static int eval_args(struct tpl_rt *rt, const struct tpl_node *n, struct tpl_args *args) {
    args->n_pos = args->n_kw = 0;
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (i->keyword)
            args->names[args->n_kw] = i->keyword;
        if (tpl_eval(rt, i, i->keyword ? &args->kw[args->n_kw++] : &args->pos[args->n_pos++]) < 0)
            return -1;
    }
    return 0;
}

static int eval_call(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    struct tpl_args args;
    tpl_value_t callee, self;
    if (n->a->type == N_GETATTR) { /* a method is called without making a bound method first */
        if (tpl_eval(rt, n->a->a, &self) < 0)
            return -1;
        const struct tpl_row *row = tpl_method_find(&self, n->a->value.u.s, n->a->value.len);
        if (row)
            return eval_args(rt, n, &args) < 0 ? -1 : tpl_call_row(rt, "method", row, &self, &args, out);
        if (tpl_getattr(rt, &self, n->a->value.u.s, n->a->value.len, &callee) < 0)
            return -1;
    } else if (tpl_eval(rt, n->a, &callee) < 0) {
        return -1;
    }
    if (eval_args(rt, n, &args) < 0)
        return -1;
    rt->line = n->line;
    return tpl_call_value(rt, &callee, &args, out);
}

static int apply_row(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *self, tpl_value_t *out) {
    struct tpl_args args;
    if (eval_args(rt, n, &args) < 0)
        return -1;
    rt->line = n->line;
    return tpl_call_row(rt, n->type == N_FILTER ? "filter" : "test", n->row, self, &args, out);
}

static int eval_compare(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t left, right;
    bool hit = true;
    if (tpl_eval(rt, n->a, &left) < 0)
        return -1;
    for (const struct tpl_node *i = n->items; i && hit; i = i->next, left = right) {
        if (tpl_eval(rt, i->a, &right) < 0 || tpl_compare(rt, i->op, &left, &right, &hit) < 0)
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

static int eval_concat(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    buf_t b = BUF_INIT(rt->limits.max_output);
    tpl_value_t v;
    for (const struct tpl_node *i = n->items; i; i = i->next) {
        if (tpl_eval(rt, i, &v) < 0 || tpl_print(rt, &v, &b) < 0) {
            buf_free(&b);
            return -1;
        }
    }
    return tpl_str_take(rt, &b, out);
}

static int eval_sign(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t v, zero = tpl_int(0);
    if (tpl_eval(rt, n->a, &v) < 0)
        return -1;
    if (v.kind == V_FLOAT) {
        *out = tpl_float(n->type == N_NEG ? -v.u.f : v.u.f);
        return 0;
    }
    if (v.kind == V_UNDEF || tpl_is_int(&v))
        return tpl_binary(rt, n->type == N_NEG ? OP_SUB : OP_ADD, &zero, &v, out);
    return tpl_type_error(rt, "a sign cannot stand before a value of type '%s'", tpl_type_name(&v));
}

static int eval_slice(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    tpl_value_t v, part[3];
    if (tpl_eval(rt, n->a, &v) < 0 || tpl_eval(rt, n->b, &part[0]) < 0 || tpl_eval(rt, n->c, &part[1]) < 0 ||
        tpl_eval(rt, n->d, &part[2]) < 0)
        return -1;
    return tpl_slice(rt, &v, part, out);
}

static int eval_cond(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    static const char text[] = "the inline if is false and has no else";
    bool truth;
    if (eval_truth(rt, n->a, &truth) < 0)
        return -1;
    if (truth || n->c)
        return tpl_eval(rt, truth ? n->b : n->c, out);
    *out = tpl_str(text, sizeof(text) - 1);
    out->kind = V_UNDEF;
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
    case N_NAME: *out = rt->slots[n->slot]; return 0;
    case N_LIST: return eval_items(rt, n, V_LIST, out);
    case N_TUPLE: return eval_items(rt, n, V_TUPLE, out);
    case N_DICT: return eval_dict(rt, n, out);
    case N_GETATTR: return tpl_eval(rt, n->a, &a) < 0 ? -1 : tpl_getattr(rt, &a, n->value.u.s, n->value.len, out);
    case N_GETITEM:
        return tpl_eval(rt, n->a, &a) < 0 || tpl_eval(rt, n->b, &b) < 0 ? -1 : tpl_getitem(rt, &a, &b, out);
    case N_SLICE: return eval_slice(rt, n, out);
    case N_CALL: return eval_call(rt, n, out);
    case N_FILTER: case N_TEST: return tpl_eval(rt, n->a, &a) < 0 ? -1 : apply_row(rt, n, &a, out);
    case N_NEG: case N_POS: return eval_sign(rt, n, out);
    case N_NOT:
        if (eval_truth(rt, n->a, &truth) < 0)
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

/* ---- statements ---- */
static int assign_target(struct tpl_rt *rt, const struct tpl_node *target, const tpl_value_t *v) {
    if (target->type == N_NAME)
        return tpl_assign(rt, target->slot, *v);
    if (target->type == N_GETATTR) {
        const tpl_value_t *ns = &rt->slots[target->slot];
        if (ns->kind == V_UNDEF)
            return tpl_undefined_error(rt, ns);
        if (ns->kind != V_NAMESPACE)
            return tpl_type_error(rt, "only attributes of a namespace can be set, not those of a '%s'", tpl_type_name(ns));
        return tpl_dict_set(rt, ns->u.dict, target->value, *v);
    }
    struct tpl_iter it;
    tpl_value_t item;
    if (tpl_iter_init(rt, v, &it) < 0)
        return -1;
    if (tpl_iter_count(v) != (size_t)target->count)
        return tpl_type_error(rt, "cannot unpack %zu values into %d names", tpl_iter_count(v), target->count);
    for (const struct tpl_node *t = target->items; t && tpl_iter_next(&it, &item); t = t->next) {
        if (assign_target(rt, t, &item) < 0)
            return -1;
    }
    return 0;
}

/* Items that pass the condition of `for x in xs if condition`. */
static int filter_items(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *over, tpl_value_t *out) {
    struct tpl_iter it;
    tpl_value_t item, list;
    if (tpl_iter_init(rt, over, &it) < 0 || tpl_new_list(rt, V_LIST, 0, &list) < 0)
        return -1;
    while (tpl_iter_next(&it, &item)) {
        size_t mark = rt->undo_len;
        bool keep = false;
        int rc = assign_target(rt, n->a, &item) < 0 || eval_truth(rt, n->c, &keep) < 0 ? -1 : 0;
        tpl_unwind(rt, mark);
        if (rc < 0 || (keep && tpl_list_add(rt, list.u.list, item) < 0))
            return -1;
    }
    *out = list;
    return 0;
}

static int exec_scoped(struct tpl_rt *rt, const struct tpl_node *body) {
    size_t mark = rt->undo_len;
    int rc = tpl_exec(rt, body);
    tpl_unwind(rt, mark);
    return rc;
}

static int exec_for(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t over, item;
    if (tpl_eval(rt, n->b, &over) < 0 || (n->c && filter_items(rt, n, &over, &over) < 0))
        return -1;
    struct tpl_loop *loop = tpl_alloc(rt, sizeof(*loop));
    if (!loop || tpl_iter_init(rt, &over, &loop->ahead) < 0)
        return -1;
    loop->len = tpl_iter_count(&over);
    tpl_value_t handle = { .kind = V_LOOP, .u.loop = loop };
    if (!loop->len)
        return exec_scoped(rt, n->d);
    for (; tpl_iter_next(&loop->ahead, &item); loop->index0++) {
        size_t mark = rt->undo_len;
        loop->prev = loop->current;
        loop->current = item;
        loop->has_prev = loop->index0 > 0;
        int rc = tpl_charge(rt, 1) < 0 || tpl_assign(rt, n->slot, handle) < 0 || assign_target(rt, n->a, &item) < 0 ? -1
                 : tpl_exec(rt, n->items);
        tpl_unwind(rt, mark);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int exec_if(struct tpl_rt *rt, const struct tpl_node *n) {
    do {
        bool truth;
        if (eval_truth(rt, n->a, &truth) < 0)
            return -1;
        if (truth)
            return tpl_exec(rt, n->b);
        n = n->c;
    } while (n && n->type == N_IF && n->op); /* elif */
    return tpl_exec(rt, n);
}

/* Text of a body as a value, then through the filters that hang on `filters` (innermost has no input). */
static int capture(struct tpl_rt *rt, const struct tpl_node *body, const struct tpl_node *filters, tpl_value_t *out) {
    buf_t b = BUF_INIT(rt->limits.max_output), *outer = rt->out;
    rt->out = &b;
    int rc = exec_scoped(rt, body);
    rt->out = outer;
    if (rc < 0) {
        buf_free(&b);
        return rc;
    }
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    const struct tpl_node *chain[TPL_MAX_NESTING];
    size_t len = 0;
    for (const struct tpl_node *f = filters; f && len < TPL_MAX_NESTING; f = f->a)
        chain[len++] = f;
    while (len--) {
        tpl_value_t in = *out;
        if (apply_row(rt, chain[len], &in, out) < 0)
            return -1;
    }
    return 0;
}

static int exec_with(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t values[TPL_MAX_ARGS];
    size_t mark = rt->undo_len;
    int i = 0, rc = 0;
    for (const struct tpl_node *s = n->items; s; s = s->next) {
        if (tpl_eval(rt, s->b, &values[i++]) < 0)
            return -1;
    }
    i = 0;
    for (const struct tpl_node *s = n->items; rc == 0 && s; s = s->next)
        rc = assign_target(rt, s->a, &values[i++]);
    if (rc == 0)
        rc = tpl_exec(rt, n->b);
    tpl_unwind(rt, mark);
    return rc;
}

static int exec_one(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v;
    switch (n->type) {
    case N_DATA: return buf_append(rt->out, n->value.u.s, n->value.len) < 0 ? tpl_buf_check(rt, rt->out) : 0;
    case N_PRINT: return tpl_eval(rt, n->a, &v) < 0 ? -1 : tpl_print(rt, &v, rt->out);
    case N_IF: return exec_if(rt, n);
    case N_FOR: return exec_for(rt, n);
    case N_SET: return tpl_eval(rt, n->b, &v) < 0 ? -1 : assign_target(rt, n->a, &v);
    case N_SET_BLOCK: return capture(rt, n->items, n->b, &v) < 0 ? -1 : assign_target(rt, n->a, &v);
    case N_WITH: return exec_with(rt, n);
    case N_FILTER_BLOCK: return capture(rt, n->items, n->b, &v) < 0 ? -1 : tpl_print(rt, &v, rt->out);
    default: return tpl_fail(rt, OSMO_EINTERNAL, "unexpected node %d in a template", n->type);
    }
}

int tpl_exec(struct tpl_rt *rt, const struct tpl_node *body) {
    for (; body; body = body->next) {
        rt->line = body->line;
        if (tpl_charge(rt, 1) < 0 || exec_one(rt, body) < 0)
            return -1;
    }
    return 0;
}
