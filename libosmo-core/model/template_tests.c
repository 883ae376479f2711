/* Tests of templates (`x is odd`). A new one is a function and a row. Looked up by the parser and by select and reject. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

static bool is_one_of(const tpl_value_t *v, unsigned kinds) { return v->kind < 32 && (kinds >> v->kind & 1); }
#define K(kind) (1u << (kind))

#define TEST(name, expr) \
    static FILTER(name) { \
        const tpl_value_t *v = &c->self; \
        *out = tpl_bool(expr); \
        return tpl_charge(rt, 1); \
    }
TEST(is_defined, v->kind != V_UNDEF)
TEST(is_undefined, v->kind == V_UNDEF)
TEST(is_none, v->kind == V_NONE)
TEST(is_string, v->kind == V_STR)
TEST(is_number, tpl_is_number(v) || v->kind == V_BIG)
TEST(is_integer, v->kind == V_INT || v->kind == V_BIG)
TEST(is_float, v->kind == V_FLOAT)
TEST(is_boolean, v->kind == V_BOOL)
TEST(is_true, v->kind == V_BOOL && v->u.i)
TEST(is_false, v->kind == V_BOOL && !v->u.i)
TEST(is_mapping, v->kind == V_DICT)
TEST(is_escaped, v->kind == V_STR && (v->flags & V_FLAG_SAFE))
TEST(is_sequence, is_one_of(v, K(V_STR) | K(V_TUPLE) | K(V_DICT) | K(V_RANGE)) || (v->kind == V_LIST && !v->u.list->view) ||
                      (v->kind == V_UNDEF && (v->flags & V_FLAG_SOFT)))
/* Everything that is not plain data can be called, undefined values too, which then fail. */
TEST(is_callable, !is_one_of(v, K(V_NONE) | K(V_BOOL) | K(V_INT) | K(V_FLOAT) | K(V_STR) | K(V_LIST) | K(V_TUPLE) |
                                    K(V_DICT) | K(V_RANGE) | K(V_NAMESPACE) | K(V_CYCLER) | K(V_ITER) | K(V_SELF) | K(V_BIG)))

bool tpl_is_iterable(const tpl_value_t *v) {
    return is_one_of(v, K(V_STR) | K(V_LIST) | K(V_TUPLE) | K(V_DICT) | K(V_RANGE) | K(V_ITER) | K(V_LOOP));
}

static FILTER(is_iterable) {
    bool undefined = c->self.kind == V_UNDEF;
    if (undefined && !(c->self.flags & V_FLAG_SOFT))
        return tpl_undefined_error(rt, &c->self);
    *out = tpl_bool(undefined || tpl_is_iterable(&c->self));
    return 0;
}

/* Scalars are the same object when they are equal and of one type; everything else by identity. */
static FILTER(is_sameas) {
    const tpl_value_t *a = &c->self, *b = &c->a[0];
    bool same = a->kind == b->kind;
    if (same && a->kind == V_STR)
        same = a->len == b->len && memcmp(a->u.s, b->u.s, a->len) == 0 && a->flags == b->flags;
    else if (same && a->kind == V_TUPLE && !a->u.list->len)
        same = !b->u.list->len;
    else if (same && a->kind != V_NONE)
        same = a->u.i == b->u.i;
    *out = tpl_bool(same);
    return tpl_charge(rt, 1 + (a->kind == V_STR ? a->len / 64 : 0));
}

static int cased(struct tpl_rt *rt, struct tpl_call *c, enum tpl_case as, tpl_value_t *out) {
    tpl_value_t t;
    if (tpl_text(rt, &c->self, &t) < 0)
        return -1;
    *out = tpl_bool(tpl_is_cased(t.u.s, t.len, as));
    return tpl_charge(rt, t.len / 64);
}
static FILTER(is_lower) { return cased(rt, c, CASE_LOWER, out); }
static FILTER(is_upper) { return cased(rt, c, CASE_UPPER, out); }

static int remainder_is(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *by, int64_t want, tpl_value_t *out) {
    tpl_value_t r, w = tpl_int(want);
    if (tpl_binary(rt, OP_MOD, v, by, &r) < 0)
        return -1;
    *out = tpl_bool(tpl_equal(rt, &r, &w));
    return 0;
}
static FILTER(is_odd) {
    tpl_value_t two = tpl_int(2);
    return remainder_is(rt, &c->self, &two, 1, out);
}
static FILTER(is_even) {
    tpl_value_t two = tpl_int(2);
    return remainder_is(rt, &c->self, &two, 0, out);
}
static FILTER(is_divisibleby) { return remainder_is(rt, &c->self, &c->a[0], 0, out); }

#define COMPARE_TEST(name, op) \
    static FILTER(name) { \
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

/* A name of a filter or a test: what is no text is no name, but has to be hashable. */
static int known(struct tpl_rt *rt, const tpl_value_t *v, const struct tpl_row *(*find)(const char *, size_t),
                 tpl_value_t *out) {
    if (v->kind != V_NAMESPACE && tpl_check_key(rt, v) < 0)
        return -1;
    *out = tpl_bool(v->kind == V_STR && find(v->u.s, v->len));
    return 0;
}
static FILTER(is_filter) { return known(rt, &c->self, tpl_filter_find, out); }
static FILTER(is_test) { return known(rt, &c->self, tpl_test_find, out); }

/* Digits stand for parameters that cannot be given by name. */
static const struct tpl_row tests[] = {
    { "defined", is_defined, "", 0 }, { "undefined", is_undefined, "", 0 }, { "none", is_none, "", 0 },
    { "string", is_string, "", 0 }, { "number", is_number, "", 0 }, { "integer", is_integer, "", 0 },
    { "float", is_float, "", 0 }, { "boolean", is_boolean, "", 0 }, { "true", is_true, "", 0 },
    { "false", is_false, "", 0 }, { "mapping", is_mapping, "", 0 }, { "sequence", is_sequence, "", 0 },
    { "iterable", is_iterable, "", 0 }, { "callable", is_callable, "", 0 }, { "lower", is_lower, "", 0 },
    { "upper", is_upper, "", 0 }, { "sameas", is_sameas, "other", 1 }, { "odd", is_odd, "", 0 },
    { "even", is_even, "", 0 }, { "divisibleby", is_divisibleby, "num", 1 }, { "in", is_in, "seq", 1 },
    { "escaped", is_escaped, "", 0 }, { "filter", is_filter, "", 0 }, { "test", is_test, "", 0 },
    { "==", is_eq, "0", 1 }, { "eq", is_eq, "0", 1 }, { "equalto", is_eq, "0", 1 }, { "!=", is_ne, "0", 1 },
    { "ne", is_ne, "0", 1 }, { "<", is_lt, "0", 1 }, { "lt", is_lt, "0", 1 }, { "lessthan", is_lt, "0", 1 },
    { "<=", is_le, "0", 1 }, { "le", is_le, "0", 1 }, { ">", is_gt, "0", 1 }, { "gt", is_gt, "0", 1 },
    { "greaterthan", is_gt, "0", 1 }, { ">=", is_ge, "0", 1 }, { "ge", is_ge, "0", 1 }, { 0 },
};
const struct tpl_row *tpl_test_find(const char *name, size_t len) { return tpl_row_find(tests, name, len); }
