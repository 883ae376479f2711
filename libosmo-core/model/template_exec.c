/* Statements of the template language: output, conditions, loops, assignments. Expressions are in template_eval.c,
 * macros and blocks in template_macro.c. Used by template.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

void tpl_enter_scope(struct tpl_rt *rt, const struct tpl_scope *scope) {
    for (const struct tpl_init *i = scope->inits, *end = i + scope->n; i < end; i++) {
        const struct tpl_frame *from = rt->frame;
        if (i->how == LOAD_GLOBAL) {
            rt->frame->slots[i->slot] = rt->frame->globals[i->from];
        } else if (i->how == LOAD_ALIAS) {
            for (int hops = i->hops; hops; hops--)
                from = from->up;
            rt->frame->slots[i->slot] = from->slots[i->from];
        } else {
            tpl_value_t undefined = i->name;
            undefined.kind = V_UNDEF;
            undefined.flags = V_FLAG_NAME;
            rt->frame->slots[i->slot] = undefined;
        }
    }
}

/* ---- text written aside ---- */
struct tpl_capture tpl_capture_begin(struct tpl_rt *rt) {
    struct tpl_capture c = { rt->out, rt->scratch.len };
    rt->out = &rt->scratch;
    return c;
}

int tpl_capture_end(struct tpl_rt *rt, struct tpl_capture c, int rc, tpl_value_t *out) {
    rt->out = c.out;
    if (rc < 0 || tpl_buf_check(rt, &rt->scratch) < 0)
        return -1;
    rc = tpl_str_copy(rt, rt->scratch.data ? rt->scratch.data + c.mark : "", rt->scratch.len - c.mark, out);
    if (rt->scratch.data)
        buf_truncate(&rt->scratch, c.mark);
    return rc;
}

int tpl_escapes(struct tpl_rt *rt, bool *on) {
    *on = rt->autoescape;
    return rt->escape.kind == V_UNDEF ? tpl_undefined_error(rt, &rt->escape) : 0;
}

static int escapes_here(struct tpl_rt *rt, int mode, bool *on) {
    *on = mode == ESCAPE_ON;
    return mode == ESCAPE_ASK ? tpl_escapes(rt, on) : 0;
}

/* Text of a body, through the filters that hang on `filters` (the innermost has no input). */
static int exec_captured(struct tpl_rt *rt, const struct tpl_node *n, tpl_value_t *out) {
    const struct tpl_node *chain[TPL_MAX_NESTING];
    size_t len = 0;
    bool safe = false;
    tpl_enter_scope(rt, n->scope);
    struct tpl_capture c = tpl_capture_begin(rt);
    if (tpl_capture_end(rt, c, tpl_exec(rt, n->items), out) < 0 || (n->b && escapes_here(rt, n->op, &safe) < 0))
        return -1;
    if (safe)
        out->flags = V_FLAG_SAFE;
    for (const struct tpl_node *f = n->b; f && len < TPL_MAX_NESTING; f = f->a)
        chain[len++] = f;
    while (len--) {
        tpl_value_t in = *out;
        if (tpl_apply(rt, chain[len], &in, out) < 0)
            return -1;
    }
    return 0;
}

static int exec_set_block(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v, text;
    bool safe;
    if (exec_captured(rt, n, &v) < 0 || tpl_escapes(rt, &safe) < 0)
        return -1;
    if (safe) {
        if (tpl_text(rt, &v, &text) < 0)
            return -1;
        v = text;
        v.flags = V_FLAG_SAFE;
    }
    return tpl_assign_target(rt, n->a, &v);
}

static int exec_filter_block(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v;
    if (exec_captured(rt, n, &v) < 0)
        return -1;
    rt->line = n->line;
    if (v.kind == V_UNDEF)
        return tpl_undefined_error(rt, &v);
    if (v.kind != V_STR)
        return tpl_type_error(rt, "the filters of a 'filter' tag must make a text, not a value of type '%s'", tpl_type_name(&v));
    return tpl_put(rt, v.u.s, v.len) < 0 ? tpl_buf_check(rt, rt->out) : 0;
}

/* ---- assignments ---- */
static int unpack(struct tpl_rt *rt, const struct tpl_node *target, const tpl_value_t *v) {
    struct tpl_iter it;
    tpl_value_t item, list;
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (tpl_is_list(v)) { /* without a copy: the common case */
        list = *v;
    } else if (tpl_to_list(rt, v, &list) < 0) {
        return -1;
    }
    if (list.u.list->len != (size_t)target->count)
        return tpl_type_error(rt, "cannot unpack %zu values into %d names", list.u.list->len, target->count);
    if (tpl_iter_init(rt, &list, &it) < 0)
        return -1;
    for (const struct tpl_node *t = target->items; t && tpl_iter_next(&it, &item); t = t->next) {
        if (tpl_assign_target(rt, t, &item) < 0)
            return -1;
    }
    return 0;
}

static tpl_value_t *variable(struct tpl_rt *rt, const struct tpl_node *n) {
    struct tpl_frame *f = rt->frame;
    for (int hops = n->hops; hops; hops--)
        f = f->up;
    return &f->slots[n->slot];
}

static int assign_attribute(struct tpl_rt *rt, const struct tpl_node *target, const tpl_value_t *v) {
    const tpl_value_t *ns = target->op ? &rt->frame->globals[target->slot] : variable(rt, target);
    if (ns->kind == V_UNDEF)
        return tpl_undefined_error(rt, ns);
    if (ns->kind != V_NAMESPACE)
        return tpl_type_error(rt, "only attributes of a namespace can be set, not those of a '%s'", tpl_type_name(ns));
    return tpl_dict_set(rt, ns->u.dict, target->value, *v);
}

int tpl_assign_target(struct tpl_rt *rt, const struct tpl_node *target, const tpl_value_t *v) {
    if (target->type == N_LOCAL || target->type == N_OUTER) {
        *variable(rt, target) = *v;
        if (target->export)
            rt->frame->globals[target->export - 1] = *v;
        return 0;
    }
    return target->type == N_GETATTR ? assign_attribute(rt, target, v) : unpack(rt, target, v);
}

/* ---- loops ---- */
/* The next item: 1, 0 at the end, -1 failed. */
static int source_next(struct tpl_rt *rt, struct tpl_source *src, tpl_value_t *out) {
    for (;;) {
        int rc = tpl_iter_step(rt, &src->it, out);
        if (rc <= 0 || !src->test)
            return rc;
        struct tpl_frame *back = rt->frame;
        bool keep = false;
        rt->frame = src->frame;
        tpl_enter_scope(rt, src->test->scope);
        rc = tpl_assign_target(rt, src->test->a, out) < 0 || tpl_eval_truth(rt, src->test->c, &keep) < 0 ? -1 : 1;
        rt->frame = back;
        if (rc < 0 || keep)
            return rc;
    }
}

static int loop_next(struct tpl_rt *rt, struct tpl_loop *loop) {
    tpl_value_t item;
    if (loop->has_after) {
        loop->has_after = false;
        item = loop->after;
    } else {
        int rc = source_next(rt, &loop->ahead, &item);
        if (rc <= 0)
            return rc;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = item;
    return 1;
}

static int loop_peek(struct tpl_rt *rt, struct tpl_loop *loop, bool *end) {
    if (!loop->has_after) {
        int rc = source_next(rt, &loop->ahead, &loop->after);
        if (rc < 0)
            return -1;
        loop->has_after = rc > 0;
    }
    *end = !loop->has_after;
    return 0;
}

/* The length of what has none is found by walking it to its end. */
static int loop_length(struct tpl_rt *rt, struct tpl_loop *loop) {
    tpl_value_t rest, item;
    int rc;
    if (loop->len >= 0)
        return 0;
    if (!loop->ahead.test && loop->iterable.kind != V_ITER)
        return tpl_length(rt, &loop->iterable, &loop->len);
    if (tpl_new_list(rt, V_LIST, 0, &rest) < 0)
        return -1;
    while ((rc = source_next(rt, &loop->ahead, &item)) > 0) {
        if (tpl_list_add(rt, rest.u.list, item) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    loop->ahead.test = NULL;
    loop->len = (int64_t)rest.u.list->len + loop->index0 + 1 + loop->has_after;
    return tpl_iter_init(rt, &rest, &loop->ahead.it);
}

int tpl_loop_attribute(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    static const char *const names[] = { "index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem",
                                         "nextitem", "depth", "depth0" };
    struct tpl_loop *l = v->u.loop;
    tpl_value_t key = tpl_str(name, len);
    bool end = false;
    size_t k = 0;
    while (k < ARRAY_SIZE(names) && !tpl_str_is(&key, names[k]))
        k++;
    switch (k) {
    case 0: *out = tpl_int(l->index0 + 1); return 0;
    case 1: *out = tpl_int(l->index0); return 0;
    case 2: *out = tpl_bool(l->index0 == 0); return 0;
    case 3:
        if (loop_peek(rt, l, &end) < 0)
            return -1;
        *out = tpl_bool(end);
        return 0;
    case 4: case 5: case 6:
        if (loop_length(rt, l) < 0)
            return -1;
        *out = tpl_int(k == 4 ? l->len : l->len - l->index0 - (k == 6));
        return 0;
    case 7:
        if (l->index0 == 0)
            return tpl_undefined(rt, "there is no previous item", out);
        *out = l->before;
        return 0;
    case 8:
        if (loop_peek(rt, l, &end) < 0)
            return -1;
        if (end)
            return tpl_undefined(rt, "there is no next item", out);
        *out = l->after;
        return 0;
    case 9: *out = tpl_int(l->depth0 + 1); return 0;
    case 10: *out = tpl_int(l->depth0); return 0;
    default: return tpl_missing(rt, v, name, len, out);
    }
}

static int run_iterations(struct tpl_rt *rt, const struct tpl_node *n, struct tpl_source *src, struct tpl_loop *loop) {
    tpl_value_t item, handle = { .kind = V_LOOP, .u.loop = loop };
    bool any = false;
    int rc;
    while ((rc = loop ? loop_next(rt, loop) : source_next(rt, src, &item)) > 0) {
        any = true;
        if (loop) {
            item = loop->current;
            rt->frame->slots[n->slot] = handle;
        }
        if (n->a->type == N_LOCAL)
            rt->frame->slots[n->a->slot] = item;
        else if (tpl_assign_target(rt, n->a, &item) < 0)
            return -1;
        tpl_enter_scope(rt, n->scope);
        if (tpl_exec(rt, n->items) < 0)
            return -1;
    }
    if (rc < 0 || any)
        return rc;
    tpl_enter_scope(rt, n->scope2);
    return tpl_exec(rt, n->d);
}

/* A recursive loop runs in an activation of its own; `closure` is the one it stands in. */
int tpl_run_loop(struct tpl_rt *rt, const struct tpl_node *n, const tpl_value_t *over, struct tpl_frame *closure, int depth0) {
    struct tpl_frame *back = rt->frame;
    if (n->unit) {
        if (tpl_descend(rt) < 0 || !tpl_push(rt, n->unit, closure, closure->globals))
            return -1;
    }
    struct tpl_source src = { .test = n->c, .frame = rt->frame };
    struct tpl_loop *loop = NULL;
    int rc = tpl_iter_init(rt, over, &src.it);
    if (rc == 0 && n->slot >= 0) {
        if (!(loop = tpl_alloc(rt, sizeof(*loop))))
            rc = -1;
        else
            *loop = (struct tpl_loop){ .ahead = src, .iterable = *over, .index0 = -1, .len = -1, .depth0 = depth0,
                                       .node = n->unit ? n : NULL, .closure = closure };
    }
    if (rc == 0)
        rc = run_iterations(rt, n, &src, loop);
    if (n->unit) {
        rt->depth--;
        tpl_pop(rt, n->unit, back);
    }
    return rc;
}

static int exec_for(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t over;
    return tpl_eval(rt, n->b, &over) < 0 ? -1 : tpl_run_loop(rt, n, &over, rt->frame, 0);
}

/* ---- the rest ---- */
static int exec_if(struct tpl_rt *rt, const struct tpl_node *n) {
    do {
        bool truth;
        if (tpl_eval_truth(rt, n->a, &truth) < 0)
            return -1;
        if (truth)
            return tpl_exec(rt, n->b);
        n = n->c;
    } while (n && n->type == N_IF && n->op); /* elif */
    return tpl_exec(rt, n);
}

static int exec_with(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v;
    tpl_enter_scope(rt, n->scope);
    for (const struct tpl_node *s = n->items; s; s = s->next) {
        if (tpl_eval(rt, s->b, &v) < 0 || tpl_assign_target(rt, s->a, &v) < 0)
            return -1;
    }
    return tpl_exec(rt, n->b);
}

/* There is nothing to load templates from; only `include` of an empty list with `ignore missing` has nothing to load. */
static int exec_loader(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t which;
    if (tpl_eval(rt, n->a, &which) < 0)
        return -1;
    rt->line = n->line;
    if (n->op && tpl_is_list(&which) && !which.u.list->len)
        return 0;
    return tpl_type_error(rt, "tag '%.*s' is not supported: there are no other templates to load", (int)n->value.len, n->value.u.s);
}

static int exec_autoescape(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v, was = rt->escape;
    bool on = false, was_on = rt->autoescape;
    tpl_enter_scope(rt, n->scope);
    if (tpl_eval(rt, n->a, &v) < 0 || (v.kind != V_UNDEF && tpl_truth(rt, &v, &on) < 0))
        return -1;
    rt->autoescape = on;
    rt->escape = v;
    int rc = tpl_exec(rt, n->items);
    rt->autoescape = was_on;
    rt->escape = was;
    return rc;
}

static int put_int(struct tpl_rt *rt, int64_t i) {
    char text[24], *p = text + sizeof(text);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do {
        *--p = (char)('0' + u % 10);
    } while (u /= 10);
    if (i < 0)
        *--p = '-';
    return tpl_put(rt, p, (size_t)(text + sizeof(text) - p));
}

static int print_escaped(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v, text;
    bool on;
    if (tpl_eval(rt, n->a, &v) < 0 || escapes_here(rt, n->op, &on) < 0)
        return -1;
    if (!on)
        return tpl_print(rt, &v, rt->out);
    return tpl_escape(rt, &v, &text) < 0 ? -1 : tpl_print(rt, &text, rt->out);
}

/* Most output is the text or the number of a variable; these take a short way. */
static int exec_print(struct tpl_rt *rt, const struct tpl_node *n) {
    const struct tpl_node *e = n->a;
    const tpl_value_t *at;
    tpl_value_t v;
    if (n->op)
        return print_escaped(rt, n);
    if (e->type == N_LOCAL) {
        at = &rt->frame->slots[e->slot];
    } else if (e->type == N_NAME) {
        at = &rt->frame->globals[e->slot];
    } else if (e->type == N_CALL) {
        return tpl_call_print(rt, e);
    } else {
        if (tpl_eval(rt, e, &v) < 0)
            return -1;
        at = &v;
    }
    if (at->kind == V_STR)
        return tpl_put(rt, at->u.s, at->len) < 0 ? tpl_buf_check(rt, rt->out) : 0;
    if (at->kind == V_INT)
        return put_int(rt, at->u.i) < 0 ? tpl_buf_check(rt, rt->out) : 0;
    return tpl_print(rt, at, rt->out);
}

static int exec_macro(struct tpl_rt *rt, const struct tpl_node *n) {
    struct tpl_macro *m = tpl_alloc(rt, sizeof(*m));
    if (!m)
        return -1;
    *m = (struct tpl_macro){ n->unit, rt->frame };
    rt->frame->slots[n->slot] = (tpl_value_t){ .kind = V_MACRO, .u.macro = m };
    if (n->export)
        rt->frame->globals[n->export - 1] = rt->frame->slots[n->slot];
    return 0;
}

static int exec_call_block(struct tpl_rt *rt, const struct tpl_node *n) {
    struct tpl_macro *m = tpl_alloc(rt, sizeof(*m));
    struct tpl_args *args;
    tpl_value_t callee, v;
    if (!m || tpl_eval(rt, n->b->a, &callee) < 0 || !(args = tpl_args_take(rt, n->b)))
        return -1;
    *m = (struct tpl_macro){ n->unit, rt->frame };
    rt->line = n->line;
    for (int i = 0; i < args->n_kw; i++) {
        if (strcmp(args->names[i], "caller") == 0)
            return tpl_type_error(rt, "the argument 'caller' of a 'call' tag is given twice");
    }
    if (args->n_kw == TPL_MAX_ARGS)
        return tpl_type_error(rt, "a call has more than %d arguments", TPL_MAX_ARGS);
    args->names[args->n_kw] = "caller";
    args->kw[args->n_kw++] = (tpl_value_t){ .kind = V_MACRO, .u.macro = m };
    int rc;
    if (tpl_writes(&callee)) /* what a 'call' tag makes is written as it is */
        rc = tpl_run_writer(rt, &callee, args);
    else
        rc = tpl_call_value(rt, &callee, args, &v) < 0 ? -1 : tpl_print(rt, &v, rt->out);
    tpl_args_give(rt, args);
    return rc;
}

static int exec_block(struct tpl_rt *rt, const struct tpl_node *n) {
    const struct tpl_block *b = n->block;
    tpl_value_t *globals = rt->frame->globals;
    if (b->required)
        return tpl_type_error(rt, "the required block '%.*s' is nowhere defined", (int)b->name.len, b->name.u.s);
    if (b->n_dump) {
        size_t names = (size_t)rt->t->n_names;
        if (!(globals = tpl_alloc(rt, names * sizeof(*globals))) || tpl_charge(rt, names / 16) < 0)
            return -1;
        memcpy(globals, rt->frame->globals, names * sizeof(*globals));
        for (int i = 0; i < b->n_dump; i++) {
            const struct tpl_frame *f = rt->frame;
            for (int hops = b->dump[i].hops; hops; hops--)
                f = f->up;
            if (f->slots[b->dump[i].slot].kind != V_UNDEF && f->slots[b->dump[i].slot].kind != V_ABSENT)
                globals[b->dump[i].name] = f->slots[b->dump[i].slot];
        }
    }
    return tpl_run_block(rt, b, globals);
}

static int exec_one(struct tpl_rt *rt, const struct tpl_node *n) {
    tpl_value_t v;
    switch (n->type) {
    case N_IF: return exec_if(rt, n);
    case N_FOR: return exec_for(rt, n);
    case N_SET: return tpl_eval(rt, n->b, &v) < 0 ? -1 : tpl_assign_target(rt, n->a, &v);
    case N_SET_BLOCK: return exec_set_block(rt, n);
    case N_WITH: return exec_with(rt, n);
    case N_FILTER_BLOCK: return exec_filter_block(rt, n);
    case N_GROUP: return tpl_exec(rt, n->items);
    case N_MACRO: return exec_macro(rt, n);
    case N_CALL_BLOCK: return exec_call_block(rt, n);
    case N_BLOCK: return exec_block(rt, n);
    case N_LOADER: return exec_loader(rt, n);
    case N_SCOPE: return exec_autoescape(rt, n);
    default: return tpl_fail(rt, OSMO_EINTERNAL, "unexpected node %d in a template", n->type);
    }
}

int tpl_exec(struct tpl_rt *rt, const struct tpl_node *body) {
    for (; body; body = body->next) {
        rt->line = body->line;
        if (tpl_charge(rt, 1) < 0)
            return -1;
        if (body->type == N_DATA) {
            if (tpl_put(rt, body->value.u.s, body->value.len) < 0)
                return tpl_buf_check(rt, rt->out);
        } else if ((body->type == N_PRINT ? exec_print(rt, body) : exec_one(rt, body)) < 0) {
            return -1;
        }
    }
    return 0;
}
