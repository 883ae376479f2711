/* Calls in templates: binding of arguments to rows, and the tables of global functions, methods and tests. A new one
 * is a function and a row. Filters are in template_filter*.c. Used by template_eval.c. */
#include <math.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

const struct tpl_row *tpl_row_find(const struct tpl_row *rows, const char *name, size_t len) {
    for (; rows->name; rows++) {
        if (strncmp(rows->name, name, len) == 0 && rows->name[len] == 0)
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

/* ---- global functions ---- */
static int fn_range(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    int64_t v[3] = { 0, 0, 1 }, n = 0;
    for (int i = 0; i < 3; i++) {
        if (tpl_given(&c->a[i]) && tpl_as_int(rt, &c->a[i], "an argument of range()", &v[i]) < 0)
            return -1;
    }
    if (!tpl_given(&c->a[1])) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (v[2] == 0)
        return tpl_type_error(rt, "the step of range() cannot be zero");
    __int128 span = v[2] > 0 ? (__int128)v[1] - v[0] : (__int128)v[0] - v[1], step = v[2] > 0 ? v[2] : -(__int128)v[2];
    __int128 count = span > 0 ? (span + step - 1) / step : 0;
    if (count > TPL_RANGE_MAX)
        return tpl_type_error(rt, "range() is limited to %d items", TPL_RANGE_MAX);
    n = (int64_t)count;
    struct tpl_range *r = tpl_alloc(rt, sizeof(*r));
    if (!r)
        return -1;
    *r = (struct tpl_range){ v[0], v[2], n };
    *out = (tpl_value_t){ .kind = V_RANGE, .u.range = r };
    return 0;
}

static int fn_dict(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    for (int i = 0; i < c->args->n_pos; i++) {
        const tpl_value_t *from = &c->args->pos[i];
        if (i > 0 || from->kind != V_DICT)
            return tpl_type_error(rt, "dict() takes one mapping and named arguments");
        for (size_t k = 0; k < from->u.dict->len; k++) {
            if (tpl_dict_set(rt, out->u.dict, from->u.dict->pairs[k].key, from->u.dict->pairs[k].value) < 0)
                return -1;
        }
    }
    for (int i = 0; i < c->args->n_kw; i++) {
        if (tpl_dict_set(rt, out->u.dict, tpl_str(c->args->names[i], strlen(c->args->names[i])), c->args->kw[i]) < 0)
            return -1;
    }
    return 0;
}

static int fn_namespace(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    if (fn_dict(rt, c, out) < 0)
        return -1;
    out->kind = V_NAMESPACE;
    return 0;
}

static int fn_cycler(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_cycler *cy = tpl_alloc(rt, sizeof(*cy));
    if (!cy)
        return -1;
    if (!c->args->n_pos)
        return tpl_type_error(rt, "cycler() needs at least one item");
    for (int i = 0; i < c->args->n_pos; i++) {
        if (tpl_list_add(rt, &cy->items, c->args->pos[i]) < 0)
            return -1;
    }
    *out = (tpl_value_t){ .kind = V_CYCLER, .u.cycler = cy };
    return 0;
}

static int fn_joiner(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_joiner *j = tpl_alloc(rt, sizeof(*j));
    if (!j)
        return -1;
    j->sep = tpl_given(&c->a[0]) ? c->a[0] : tpl_str(", ", 2);
    *out = (tpl_value_t){ .kind = V_JOINER, .u.joiner = j };
    return 0;
}

static const struct tpl_row functions[] = {
    { "range", fn_range, "start,stop,step", 1 }, { "dict", fn_dict, NULL, 0 }, { "namespace", fn_namespace, NULL, 0 },
    { "cycler", fn_cycler, NULL, 0 }, { "joiner", fn_joiner, "sep", 0 }, { "lipsum", NULL, NULL, 0 }, { 0 },
};
const struct tpl_row *tpl_function_find(const char *name, size_t len) { return tpl_row_find(functions, name, len); }

int tpl_call_value(struct tpl_rt *rt, const tpl_value_t *callee, const struct tpl_args *args, tpl_value_t *out) {
    switch (callee->kind) {
    case V_UNDEF: return tpl_undefined_error(rt, callee);
    case V_FUNC: return tpl_call_row(rt, "function", callee->u.func, NULL, args, out);
    case V_METHOD: return tpl_call_row(rt, "method", callee->u.method->row, &callee->u.method->self, args, out);
    case V_JOINER:
        *out = callee->u.joiner->used ? callee->u.joiner->sep : tpl_str("", 0);
        callee->u.joiner->used = true;
        return 0;
    default: return tpl_type_error(rt, "a value of type '%s' cannot be called", tpl_type_name(callee));
    }
}

/* ---- methods of dictionaries, lists, loops, cyclers ---- */
static int dict_view(struct tpl_rt *rt, const struct tpl_dict *d, int what, const char *view, tpl_value_t *out) {
    if (tpl_new_list(rt, V_LIST, d->len, out) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        tpl_value_t v = what == 'k' ? d->pairs[i].key : d->pairs[i].value;
        if (what == 'i') {
            if (tpl_new_list(rt, V_TUPLE, 2, &v) < 0 || tpl_list_add(rt, v.u.list, d->pairs[i].key) < 0 ||
                tpl_list_add(rt, v.u.list, d->pairs[i].value) < 0)
                return -1;
        }
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, out->u.list, v) < 0)
            return -1;
    }
    out->u.list->view = view;
    return 0;
}

static int m_items(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    return dict_view(rt, c->self.u.dict, 'i', "dict_items", out);
}
static int m_keys(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    return dict_view(rt, c->self.u.dict, 'k', "dict_keys", out);
}
static int m_values(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    return dict_view(rt, c->self.u.dict, 'v', "dict_values", out);
}

static int m_get(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    if (tpl_check_key(rt, &c->a[0]) < 0)
        return -1;
    const tpl_value_t *hit = tpl_dict_get(c->self.u.dict, &c->a[0]);
    *out = hit ? *hit : tpl_given(&c->a[1]) ? c->a[1] : tpl_none();
    return 0;
}

static int m_update(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t more;
    if (fn_dict(rt, c, &more) < 0)
        return -1;
    for (size_t i = 0; i < more.u.dict->len; i++) {
        if (tpl_dict_set(rt, c->self.u.dict, more.u.dict->pairs[i].key, more.u.dict->pairs[i].value) < 0)
            return -1;
    }
    *out = tpl_none();
    return 0;
}

static int m_index(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    const struct tpl_list *l = c->self.u.list;
    for (size_t i = 0; i < l->len; i++) {
        if (tpl_equal(rt, &l->items[i], &c->a[0])) {
            *out = tpl_int((int64_t)i);
            return 0;
        }
    }
    return tpl_type_error(rt, "index(): the value is not in the list");
}

static int m_count(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    const struct tpl_list *l = c->self.u.list;
    int64_t n = 0;
    for (size_t i = 0; i < l->len; i++)
        n += tpl_equal(rt, &l->items[i], &c->a[0]);
    *out = tpl_int(n);
    return 0;
}

static int m_append(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    *out = tpl_none();
    return tpl_list_add(rt, c->self.u.list, c->a[0]);
}

static int m_cycle(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    if (!c->args->n_pos)
        return tpl_type_error(rt, "loop.cycle() needs at least one item");
    *out = c->args->pos[c->self.u.loop->index0 % (size_t)c->args->n_pos];
    return 0;
}

static int m_changed(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t now;
    if (tpl_new_list(rt, V_TUPLE, 0, &now) < 0)
        return -1;
    for (int i = 0; i < c->args->n_pos; i++) {
        if (tpl_list_add(rt, now.u.list, c->args->pos[i]) < 0)
            return -1;
    }
    *out = tpl_bool(!tpl_equal(rt, &now, &c->self.u.loop->changed));
    c->self.u.loop->changed = now;
    return 0;
}

static int m_next(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_cycler *cy = c->self.u.cycler;
    *out = cy->items.items[cy->pos];
    cy->pos = (cy->pos + 1) % cy->items.len;
    return tpl_charge(rt, 1);
}

static int m_reset(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    c->self.u.cycler->pos = 0;
    *out = tpl_none();
    return tpl_charge(rt, 1);
}

static const struct tpl_row dict_methods[] = {
    { "items", m_items, "", 0 },        { "keys", m_keys, "", 0 },       { "values", m_values, "", 0 },
    { "get", m_get, "key,default", 1 }, { "update", m_update, NULL, 0 }, { "clear", NULL, NULL, 0 },
    { "copy", NULL, NULL, 0 },          { "fromkeys", NULL, NULL, 0 },   { "pop", NULL, NULL, 0 },
    { "popitem", NULL, NULL, 0 },       { "setdefault", NULL, NULL, 0 }, { 0 },
};
static const struct tpl_row list_methods[] = {
    { "index", m_index, "value", 1 }, { "count", m_count, "value", 1 }, { "append", m_append, "value", 1 }, { 0 },
};
static const struct tpl_row loop_methods[] = { { "cycle", m_cycle, NULL, 0 },
                                               { "changed", m_changed, NULL, 0 },
                                               { 0 } };
static const struct tpl_row cycler_methods[] = { { "next", m_next, "", 0 }, { "reset", m_reset, "", 0 }, { 0 } };

const struct tpl_row *tpl_method_find(const tpl_value_t *self, const char *name, size_t len) {
    switch (self->kind) {
    case V_STR: return tpl_row_find(tpl_str_methods, name, len);
    case V_DICT: return tpl_row_find(dict_methods, name, len);
    case V_LIST: return tpl_row_find(list_methods, name, len);
    case V_TUPLE: return len == 6 ? NULL : tpl_row_find(list_methods, name, len);
    case V_LOOP: return tpl_row_find(loop_methods, name, len);
    case V_CYCLER: return tpl_row_find(cycler_methods, name, len);
    default: return NULL;
    }
}

/* ---- tests ---- */
#define TEST(name, expr) \
    static int name(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { \
        const tpl_value_t *v = &c->self; \
        *out = tpl_bool(expr); \
        return tpl_charge(rt, 1); \
    }
TEST(is_defined, v->kind != V_UNDEF)
TEST(is_undefined, v->kind == V_UNDEF)
TEST(is_none, v->kind == V_NONE)
TEST(is_string, v->kind == V_STR)
TEST(is_number, tpl_is_number(v))
TEST(is_integer, v->kind == V_INT)
TEST(is_float, v->kind == V_FLOAT)
TEST(is_boolean, v->kind == V_BOOL)
TEST(is_true, v->kind == V_BOOL && v->u.i)
TEST(is_false, v->kind == V_BOOL && !v->u.i)
TEST(is_mapping, v->kind == V_DICT)
TEST(is_sequence, v->kind == V_STR || tpl_is_list(v) || v->kind == V_DICT || v->kind == V_RANGE)
TEST(is_callable, v->kind == V_FUNC || v->kind == V_METHOD || v->kind == V_JOINER)
TEST(is_lower, v->kind == V_STR && tpl_is_cased(v->u.s, v->len, CASE_LOWER))
TEST(is_upper, v->kind == V_STR && tpl_is_cased(v->u.s, v->len, CASE_UPPER))
TEST(is_sameas, v->kind == c->a[0].kind &&
                    (tpl_is_list(v) || v->kind == V_DICT ? v->u.s == c->a[0].u.s : tpl_equal(rt, v, &c->a[0])))

static int remainder_is(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *by, int64_t want,
                        tpl_value_t *out) {
    tpl_value_t r, w = tpl_int(want);
    if (tpl_binary(rt, OP_MOD, v, by, &r) < 0)
        return -1;
    *out = tpl_bool(tpl_equal(rt, &r, &w));
    return 0;
}
static int is_odd(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t two = tpl_int(2);
    return remainder_is(rt, &c->self, &two, 1, out);
}
static int is_even(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t two = tpl_int(2);
    return remainder_is(rt, &c->self, &two, 0, out);
}
static int is_divisibleby(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    return remainder_is(rt, &c->self, &c->a[0], 0, out);
}

#define COMPARE_TEST(name, op) \
    static int name(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { \
        bool hit; \
        if (tpl_compare(rt, op, &c->self, &c->a[0], &hit) < 0) \
            return -1; \
        *out = tpl_bool(hit); \
        return 0; \
    }
COMPARE_TEST(is_eq, OP_EQ)
COMPARE_TEST(is_ne, OP_NE)
COMPARE_TEST(is_lt, OP_LT)
COMPARE_TEST(is_le, OP_LE)
COMPARE_TEST(is_gt, OP_GT)
COMPARE_TEST(is_ge, OP_GE)
COMPARE_TEST(is_in, OP_IN)

static const struct tpl_row tests[] = {
    { "defined", is_defined, "", 0 },
    { "undefined", is_undefined, "", 0 },
    { "none", is_none, "", 0 },
    { "string", is_string, "", 0 },
    { "number", is_number, "", 0 },
    { "integer", is_integer, "", 0 },
    { "float", is_float, "", 0 },
    { "boolean", is_boolean, "", 0 },
    { "true", is_true, "", 0 },
    { "false", is_false, "", 0 },
    { "mapping", is_mapping, "", 0 },
    { "sequence", is_sequence, "", 0 },
    { "iterable", is_sequence, "", 0 },
    { "callable", is_callable, "", 0 },
    { "lower", is_lower, "", 0 },
    { "upper", is_upper, "", 0 },
    { "sameas", is_sameas, "other", 1 },
    { "odd", is_odd, "", 0 },
    { "even", is_even, "", 0 },
    { "divisibleby", is_divisibleby, "num", 1 },
    { "in", is_in, "seq", 1 },
    { "eq", is_eq, "b", 1 },
    { "equalto", is_eq, "b", 1 },
    { "ne", is_ne, "b", 1 },
    { "lt", is_lt, "b", 1 },
    { "lessthan", is_lt, "b", 1 },
    { "le", is_le, "b", 1 },
    { "gt", is_gt, "b", 1 },
    { "greaterthan", is_gt, "b", 1 },
    { "ge", is_ge, "b", 1 },
    { 0 },
};
const struct tpl_row *tpl_test_find(const char *name, size_t len) { return tpl_row_find(tests, name, len); }
