/* Macros, callers, blocks and `self`: activations, binding of arguments, and what these values can be asked. Used by
 * template_exec.c and template_eval.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

/* ---- activations ---- */
struct tpl_frame *tpl_push(struct tpl_rt *rt, const struct tpl_unit *unit, struct tpl_frame *up, tpl_value_t *globals) {
    struct tpl_frame *f = unit->captured ? NULL : rt->idle[unit->index];
    if (f)
        rt->idle[unit->index] = f->up;
    else if (!(f = tpl_alloc(rt, sizeof(*f) + (size_t)unit->n_slots * sizeof(f->slots[0]))))
        return NULL;
    f->up = up;
    f->globals = globals;
    rt->frame = f;
    return f;
}

void tpl_pop(struct tpl_rt *rt, const struct tpl_unit *unit, struct tpl_frame *back) {
    if (!unit->captured) {
        rt->frame->up = rt->idle[unit->index];
        rt->idle[unit->index] = rt->frame;
    }
    rt->frame = back;
}

/* ---- calling a macro ---- */
/* Value of parameter `p`: by position, by name (then *used gets its bit), or absent. */
static tpl_value_t argument(const struct tpl_args *args, int at, const struct tpl_param *p, uint64_t *used) {
    if (at < args->n_pos)
        return args->pos[at];
    for (int i = 0; i < args->n_kw; i++) {
        if (tpl_str_is(&p->name, args->names[i])) {
            *used |= (uint64_t)1 << i;
            return args->kw[i];
        }
    }
    return (tpl_value_t){ .kind = V_ABSENT };
}

static int name_of(struct tpl_rt *rt, const char *name, tpl_value_t *out) { return tpl_str_copy(rt, name, strlen(name), out); }

static int bind_kwargs(struct tpl_rt *rt, const struct tpl_unit *u, const struct tpl_args *args, uint64_t used) {
    tpl_value_t rest = tpl_none(), key;
    if (u->kwargs >= 0 && tpl_new_dict(rt, &rest) < 0)
        return -1;
    for (int i = 0; i < args->n_kw; i++) {
        if (used & (uint64_t)1 << i)
            continue;
        if (u->kwargs < 0)
            return tpl_type_error(rt, "macro '%.*s' takes no argument '%s'", (int)u->name.len, u->name.len ? u->name.u.s : "",
                                  args->names[i]);
        if (name_of(rt, args->names[i], &key) < 0 || tpl_dict_set(rt, rest.u.dict, key, args->kw[i]) < 0)
            return -1;
    }
    if (u->kwargs >= 0)
        rt->frame->slots[u->kwargs] = rest;
    return 0;
}

static int bind_varargs(struct tpl_rt *rt, const struct tpl_unit *u, const struct tpl_args *args) {
    tpl_value_t rest;
    if (u->varargs < 0) {
        if (args->n_pos > u->n_params)
            return tpl_type_error(rt, "macro '%.*s' takes not more than %d arguments", (int)u->name.len,
                                  u->name.len ? u->name.u.s : "", u->n_params);
        return 0;
    }
    if (tpl_new_list(rt, V_TUPLE, 0, &rest) < 0)
        return -1;
    for (int i = u->n_params; i < args->n_pos; i++) {
        if (tpl_list_add(rt, rest.u.list, args->pos[i]) < 0)
            return -1;
    }
    rt->frame->slots[u->varargs] = rest;
    return 0;
}

static void bind_caller(struct tpl_rt *rt, const struct tpl_unit *u, const struct tpl_args *args, uint64_t *used) {
    static const char none[] = "no caller: the macro was not used by a 'call' tag";
    tpl_value_t v = tpl_str(none, sizeof(none) - 1);
    v.kind = V_UNDEF;
    for (int i = 0; i < args->n_kw; i++) {
        if (strcmp(args->names[i], "caller") == 0) {
            *used |= (uint64_t)1 << i;
            if (args->kw[i].kind != V_NONE)
                v = args->kw[i];
        }
    }
    rt->frame->slots[u->caller] = v;
}

/* Defaults are evaluated inside, so that they can use the parameters before them. */
static int bind_defaults(struct tpl_rt *rt, const struct tpl_unit *u) {
    for (int i = 0; i < u->n_params; i++) {
        const struct tpl_param *p = &u->params[i];
        tpl_value_t *slot = &rt->frame->slots[p->slot];
        if (slot->kind != V_ABSENT)
            continue;
        if (p->fallback) {
            tpl_value_t v;
            *slot = p->name; /* while it is being found, the parameter itself is undefined */
            slot->kind = V_UNDEF;
            slot->flags = V_FLAG_NAME;
            if (tpl_eval(rt, p->fallback, &v) < 0)
                return -1;
            *slot = v;
            continue;
        }
        buf_t text = BUF_INIT(512);
        buf_printf(&text, "parameter '%.*s' was not provided", (int)(p->name.len > 200 ? 200 : p->name.len), p->name.u.s);
        if (tpl_str_take(rt, &text, slot) < 0)
            return -1;
        slot->kind = V_UNDEF;
    }
    return 0;
}

static int bind_arguments(struct tpl_rt *rt, const struct tpl_unit *u, const struct tpl_args *args) {
    uint64_t used = 0;
    for (int i = 0; i < u->n_params; i++)
        rt->frame->slots[u->params[i].slot] = argument(args, i, &u->params[i], &used);
    if (u->caller >= 0)
        bind_caller(rt, u, args, &used);
    if (bind_kwargs(rt, u, args, used) < 0 || bind_varargs(rt, u, args) < 0)
        return -1;
    tpl_enter_scope(rt, &u->scope);
    return bind_defaults(rt, u);
}

int tpl_run_macro(struct tpl_rt *rt, const struct tpl_macro *m, const struct tpl_args *args) {
    struct tpl_frame *back = rt->frame;
    if (tpl_descend(rt) < 0 || !tpl_push(rt, m->unit, m->closure, m->closure->globals))
        return -1;
    int rc = bind_arguments(rt, m->unit, args);
    if (rc == 0)
        rc = tpl_exec(rt, m->unit->body);
    rt->depth--;
    tpl_pop(rt, m->unit, back);
    return rc;
}

/* ---- blocks ---- */
int tpl_run_block(struct tpl_rt *rt, const struct tpl_block *b, tpl_value_t *globals) {
    static const char no_parent[] = "there is no parent block: templates cannot extend others here";
    struct tpl_frame *back = rt->frame;
    const struct tpl_unit *u = &b->unit;
    if (tpl_descend(rt) < 0 || !tpl_push(rt, u, NULL, globals))
        return -1;
    if (u->self >= 0)
        rt->frame->slots[u->self] = (tpl_value_t){ .kind = V_SELF, .u.block = b };
    if (u->super >= 0) {
        rt->frame->slots[u->super] = tpl_str(no_parent, sizeof(no_parent) - 1);
        rt->frame->slots[u->super].kind = V_UNDEF;
    }
    tpl_enter_scope(rt, &u->scope);
    int rc = tpl_exec(rt, u->body);
    rt->depth--;
    tpl_pop(rt, u, back);
    return rc;
}

/* ---- as values ---- */
bool tpl_writes(const tpl_value_t *callee) {
    return callee->kind == V_MACRO || callee->kind == V_BLOCK || (callee->kind == V_LOOP && callee->u.loop->node);
}

int tpl_run_writer(struct tpl_rt *rt, const tpl_value_t *callee, const struct tpl_args *args) {
    if (callee->kind == V_MACRO)
        return tpl_run_macro(rt, callee->u.macro, args);
    if (callee->kind == V_BLOCK) {
        if (args->n_pos || args->n_kw)
            return tpl_type_error(rt, "block '%.*s' takes no arguments", (int)callee->u.block->name.len, callee->u.block->name.u.s);
        return tpl_run_block(rt, callee->u.block, rt->frame->globals);
    }
    if (args->n_pos != 1 || args->n_kw)
        return tpl_type_error(rt, "loop() takes one argument, the items to walk");
    const struct tpl_loop *l = callee->u.loop;
    return tpl_run_loop(rt, l->node, &args->pos[0], l->closure, l->depth0 + 1);
}

static int names_of(struct tpl_rt *rt, const struct tpl_unit *u, tpl_value_t *out) {
    if (tpl_new_list(rt, V_TUPLE, (size_t)u->n_params, out) < 0)
        return -1;
    for (int i = 0; i < u->n_params; i++) {
        if (tpl_list_add(rt, out->u.list, u->params[i].name) < 0)
            return -1;
    }
    return 0;
}

static int macro_attribute(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *key, tpl_value_t *out) {
    const struct tpl_unit *u = v->u.macro->unit;
    if (tpl_str_is(key, "name")) {
        *out = u->name.kind == V_STR ? u->name : tpl_none();
        return 0;
    }
    if (tpl_str_is(key, "arguments"))
        return names_of(rt, u, out);
    const struct { const char *name; bool value; } flags[] = {
        { "catch_kwargs", u->kwargs >= 0 }, { "catch_varargs", u->varargs >= 0 },
        { "caller", u->caller >= 0 || u->explicit_caller }, { "explicit_caller", u->explicit_caller },
    };
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        if (tpl_str_is(key, flags[i].name)) {
            *out = tpl_bool(flags[i].value);
            return 0;
        }
    }
    return tpl_missing(rt, v, key->u.s, key->len, out);
}

int tpl_macro_attribute(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    tpl_value_t key = tpl_str(name, len);
    if (v->kind == V_MACRO)
        return macro_attribute(rt, v, &key, out);
    if (v->kind == V_BLOCK) {
        if (tpl_str_is(&key, "name")) {
            *out = v->u.block->name;
            return 0;
        }
        if (tpl_str_is(&key, "super"))
            return tpl_undefined(rt, "there is no parent block: templates cannot extend others here", out);
        return tpl_missing(rt, v, name, len, out);
    }
    for (const struct tpl_block *b = rt->t->blocks; b; b = b->next) {
        if (b->name.len == len && memcmp(b->name.u.s, name, len) == 0) {
            *out = (tpl_value_t){ .kind = V_BLOCK, .u.block = b };
            return tpl_charge(rt, 1);
        }
    }
    return tpl_missing(rt, v, name, len, out);
}

static int repr_loop(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    tpl_value_t len;
    if (tpl_loop_attribute(rt, v, "length", 6, &len) < 0)
        return -1;
    buf_printf(out, "<LoopContext %lld/%lld>", (long long)v->u.loop->index0 + 1, (long long)len.u.i);
    return 0;
}

/* The global functions that are classes have a text; that of others is an address, which is of no use. */
static int repr_function(struct tpl_rt *rt, const struct tpl_row *row, buf_t *out) {
    static const char *const classes[][2] = { { "dict", "dict" }, { "namespace", "jinja2.utils.Namespace" },
                                              { "cycler", "jinja2.utils.Cycler" }, { "joiner", "jinja2.utils.Joiner" } };
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        if (strcmp(row->name, classes[i][0]) == 0) {
            buf_printf(out, "<class '%s'>", classes[i][1]);
            return tpl_buf_check(rt, out);
        }
    }
    return tpl_type_error(rt, "the function '%s' cannot be printed", row->name);
}

int tpl_repr_other(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    const struct tpl_unit *u = v->kind == V_MACRO ? v->u.macro->unit : NULL;
    switch (v->kind) {
    case V_UNDEF:
        buf_puts(out, "Undefined");
        break;
    case V_MACRO:
        if (u->name.kind == V_STR) {
            buf_puts(out, "<Macro ");
            tpl_repr_str(u->name.u.s, u->name.len, out);
            buf_putc(out, '>');
        } else {
            buf_puts(out, "<Macro anonymous>");
        }
        break;
    case V_LOOP: return repr_loop(rt, v, out) < 0 ? -1 : tpl_buf_check(rt, out);
    case V_SELF:
        buf_puts(out, "<TemplateReference None>");
        break;
    case V_FUNC: return repr_function(rt, v->u.func, out);
    default: return tpl_type_error(rt, "a value of type '%s' cannot be printed", tpl_type_name(v));
    }
    return tpl_buf_check(rt, out);
}
