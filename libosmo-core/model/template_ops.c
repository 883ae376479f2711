/* Operators on template values: arithmetic, attribute and item access, slices. Used by template_eval.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

static int int_power(int64_t base, int64_t exponent, int64_t *r) {
    for (*r = 1; exponent;) {
        if ((exponent & 1) && __builtin_mul_overflow(*r, base, r))
            return -1;
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return -1;
    }
    return 0;
}

/* A double holds it exactly. */
static bool in_double(int64_t i) {
    return i >= -(INT64_C(1) << 53) && i <= INT64_C(1) << 53;
}

static int int_op(struct tpl_rt *rt, int op, int64_t a, int64_t b, tpl_value_t *out) {
    int64_t r = 0;
    bool bad = false;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0)
        return tpl_type_error(rt, "division by zero");
    switch (op) {
    case OP_ADD: bad = __builtin_add_overflow(a, b, &r); break;
    case OP_SUB: bad = __builtin_sub_overflow(a, b, &r); break;
    case OP_MUL: bad = __builtin_mul_overflow(a, b, &r); break;
    case OP_DIV:
        if (in_double(a) && in_double(b)) {
            *out = tpl_float((double)a / (double)b);
            return 0;
        }
        bad = true; /* rounded once, of the exact quotient */
        break;
    case OP_FLOORDIV:
        if ((bad = a == INT64_MIN && b == -1))
            break;
        r = a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
        break;
    case OP_MOD:
        r = b == -1 ? 0 : a % b;
        if (r && (r < 0) != (b < 0))
            r += b;
        break;
    default: bad = int_power(a, b, &r) < 0;
    }
    if (bad) {
        tpl_value_t x = tpl_int(a), y = tpl_int(b);
        return tpl_big_op(rt, op, &x, &y, out);
    }
    *out = tpl_int(r);
    return 0;
}

static int float_op(struct tpl_rt *rt, int op, double a, double b, tpl_value_t *out) {
    double r;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0)
        return tpl_type_error(rt, "division by zero");
    switch (op) {
    case OP_ADD: r = a + b; break;
    case OP_SUB: r = a - b; break;
    case OP_MUL: r = a * b; break;
    case OP_DIV: r = a / b; break;
    case OP_FLOORDIV: case OP_MOD: {
        double mod = fmod(a, b), div = (a - mod) / b;
        if (mod != 0 && (mod < 0) != (b < 0)) {
            mod += b;
            div -= 1;
        } else if (mod == 0) {
            mod = copysign(0, b);
        }
        r = div != 0 ? floor(div) : copysign(0, a / b);
        if (op == OP_MOD)
            r = mod;
        else if (div - r > 0.5)
            r += 1;
        break;
    }
    default:
        if (a == 0 && b < 0)
            return tpl_type_error(rt, "division by zero");
        if (a < 0 && b != floor(b))
            return tpl_type_error(rt, "a negative number has no real power of %g", b);
        r = pow(a, b);
        if (isinf(r) && !isinf(a) && !isinf(b))
            return tpl_type_error(rt, "number too large");
    }
    *out = tpl_float(r);
    return 0;
}

static int repeat(struct tpl_rt *rt, const tpl_value_t *v, int64_t times, tpl_value_t *out) {
    size_t n = times > 0 ? (size_t)times : 0, unit = v->kind == V_STR ? v->len : v->u.list->len, total;
    if (__builtin_mul_overflow(n, unit, &total) || total > rt->limits.max_output)
        return tpl_fail(rt, OSMO_EUSAGE, "template repeats a value too often");
    if (tpl_charge(rt, 1 + (v->kind == V_STR ? total / 64 : total)) < 0)
        return -1;
    if (v->kind != V_STR) {
        if (tpl_new_list(rt, v->kind, total, out) < 0)
            return -1;
        for (size_t i = 0; i < total; i++) {
            if (tpl_list_add(rt, out->u.list, v->u.list->items[i % unit]) < 0)
                return -1;
        }
        return 0;
    }
    char *s = tpl_alloc(rt, total + 1);
    if (!s)
        return -1;
    for (size_t at = 0; at < total; at += unit)
        memcpy(s + at, v->u.s, unit);
    *out = tpl_str(s, total);
    out->flags = v->flags & V_FLAG_SAFE;
    return 0;
}

static int join_texts(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    tpl_value_t left = *a, right = *b;
    uint8_t safe = (a->flags | b->flags) & V_FLAG_SAFE;
    if (safe && (tpl_escape(rt, a, &left) < 0 || tpl_escape(rt, b, &right) < 0))
        return -1;
    size_t n = (size_t)left.len + right.len;
    char *s = n > rt->limits.max_output ? NULL : tpl_alloc(rt, n + 1);
    if (!s)
        return tpl_fail(rt, OSMO_EUSAGE, "template makes a text longer than %zu bytes", rt->limits.max_output);
    memcpy(s, left.u.s, left.len);
    memcpy(s + left.len, right.u.s, right.len);
    *out = tpl_str(s, n);
    out->flags = safe;
    return tpl_charge(rt, n / 64);
}

static int join_lists(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    const struct tpl_list *part[] = { a->u.list, b->u.list };
    tpl_value_t list;
    if (tpl_new_list(rt, a->kind, part[0]->len + part[1]->len, &list) < 0 ||
        tpl_charge(rt, part[0]->len + part[1]->len) < 0)
        return -1;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < part[k]->len; i++) {
            if (tpl_list_add(rt, list.u.list, part[k]->items[i]) < 0)
                return -1;
        }
    }
    *out = list;
    return 0;
}

static bool is_sequence(const tpl_value_t *v) { return v->kind == V_STR || (tpl_is_list(v) && !v->u.list->view); }

static double as_double(const tpl_value_t *v) {
    return v->kind == V_FLOAT ? v->u.f : v->kind == V_BIG ? tpl_big_double(v) : (double)v->u.i;
}

int tpl_binary(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    static const char *const symbols[] = { "", "+", "-", "*", "/", "//", "%", "**" };
    if (a->kind == V_UNDEF)
        return tpl_undefined_error(rt, a);
    if (b->kind == V_UNDEF)
        return tpl_undefined_error(rt, b);
    if (tpl_is_int(a) && tpl_is_int(b) && !(op == OP_POW && b->u.i < 0))
        return int_op(rt, op, a->u.i, b->u.i, out);
    if (a->kind == V_BIG || b->kind == V_BIG) {
        bool root = op == OP_POW && (b->kind == V_BIG ? tpl_big_double(b) < 0 : tpl_is_int(b) && b->u.i < 0);
        if (tpl_is_any_int(a) && tpl_is_any_int(b) && !root)
            return tpl_big_op(rt, op, a, b, out);
    }
    if ((tpl_is_number(a) || a->kind == V_BIG) && (tpl_is_number(b) || b->kind == V_BIG)) {
        double x = as_double(a), y = as_double(b);
        if ((a->kind == V_BIG && isinf(x)) || (b->kind == V_BIG && isinf(y)))
            return tpl_type_error(rt, "an integer is too large for a float");
        return float_op(rt, op, x, y, out);
    }
    bool seq_a = is_sequence(a), seq_b = is_sequence(b);
    if (op == OP_ADD && seq_a && seq_b && a->kind == b->kind)
        return a->kind == V_STR ? join_texts(rt, a, b, out) : join_lists(rt, a, b, out);
    if (op == OP_MUL && ((seq_a && b->kind == V_BIG) || (seq_b && a->kind == V_BIG)))
        return tpl_fail(rt, OSMO_EUSAGE, "template repeats a value too often");
    if (op == OP_MUL && seq_a && tpl_is_int(b))
        return repeat(rt, a, b->u.i, out);
    if (op == OP_MUL && seq_b && tpl_is_int(a))
        return repeat(rt, b, a->u.i, out);
    if (op == OP_MOD && a->kind == V_STR)
        return tpl_percent_format(rt, a, b, out);
    return tpl_type_error(rt, "'%s' is not supported between '%s' and '%s'", symbols[op], tpl_type_name(a),
                          tpl_type_name(b));
}

/* ---- access ---- */
int tpl_undefined(struct tpl_rt *rt, const char *text, tpl_value_t *out) {
    if (tpl_str_copy(rt, text, strlen(text), out) < 0)
        return -1;
    out->kind = V_UNDEF;
    return 0;
}

static int missing(struct tpl_rt *rt, const tpl_value_t *v, const char *what, const char *name, size_t len, tpl_value_t *out) {
    buf_t b = BUF_INIT(4096);
    buf_printf(&b, "'%s object' has no %s %.*s", tpl_type_name(v), what, (int)(len > 200 ? 200 : len), name);
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    out->kind = V_UNDEF;
    return 0;
}

int tpl_missing(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    char quoted[210];
    int n = snprintf(quoted, sizeof(quoted), "'%.*s'", (int)(len > 200 ? 200 : len), name);
    return missing(rt, v, "attribute", quoted, (size_t)n, out);
}

static int missing_item(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *key, tpl_value_t *out) {
    buf_t b = BUF_INIT(rt->limits.max_output);
    tpl_value_t text;
    if (tpl_repr(rt, key, &b) < 0) {
        buf_free(&b);
        return -1;
    }
    return tpl_str_take(rt, &b, &text) < 0 ? -1 : missing(rt, v, "element", text.u.s, text.len, out);
}

/* Attributes that Python has for its own use are refused, but as an undefined value: nobody may look, asking is fine. */
static int unsafe(struct tpl_rt *rt, const char *name, size_t len, tpl_value_t *out) {
    buf_t b = BUF_INIT(4096);
    buf_printf(&b, "access to attribute '%.*s' is refused: names that begin with '_' are unsafe", (int)(len > 200 ? 200 : len), name);
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    out->kind = V_UNDEF;
    return 0;
}

struct field { const char *name; tpl_value_t value; };

static bool pick(const struct field *fields, size_t n, const char *name, size_t len, tpl_value_t *out) {
    tpl_value_t key = tpl_str(name, len);
    for (size_t i = 0; i < n; i++) {
        if (tpl_str_is(&key, fields[i].name)) {
            *out = fields[i].value;
            return true;
        }
    }
    return false;
}

/* Attributes that are neither methods nor items. */
static bool data_attribute(const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    switch (v->kind) {
    case V_BOOL: case V_INT: {
        const struct field f[] = { { "real", tpl_int(v->u.i) }, { "imag", tpl_int(0) }, { "numerator", tpl_int(v->u.i) },
                                   { "denominator", tpl_int(1) } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_BIG: {
        const struct field f[] = { { "real", *v }, { "imag", tpl_int(0) }, { "numerator", *v }, { "denominator", tpl_int(1) } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_FLOAT: {
        const struct field f[] = { { "real", *v }, { "imag", tpl_float(0) } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_RANGE: {
        const struct field f[] = { { "start", tpl_int(v->u.range->start) }, { "stop", tpl_int(v->u.range->stop) },
                                   { "step", tpl_int(v->u.range->step) } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_TUPLE: {
        if (!v->u.list->group)
            return false;
        const struct field f[] = { { "grouper", v->u.list->items[0] }, { "list", v->u.list->items[1] } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_CYCLER: {
        const struct field f[] = { { "current", v->u.cycler->items.items[v->u.cycler->pos] },
                                   { "pos", tpl_int((int64_t)v->u.cycler->pos) },
                                   { "items", { .kind = V_TUPLE, .u.list = &v->u.cycler->items } } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    case V_JOINER: {
        const struct field f[] = { { "sep", v->u.joiner->sep }, { "used", tpl_bool(v->u.joiner->used) } };
        return pick(f, ARRAY_SIZE(f), name, len, out);
    }
    default: return false;
    }
}

static int bound_method(struct tpl_rt *rt, const tpl_value_t *self, const struct tpl_row *row, tpl_value_t *out) {
    struct tpl_method *m = tpl_alloc(rt, sizeof(*m));
    if (!m)
        return -1;
    *m = (struct tpl_method){ *self, row };
    *out = (tpl_value_t){ .kind = V_METHOD, .u.method = m };
    return 0;
}

/* What Python's getattr() finds: 1, 0 if nothing, -1 failed. */
static int own_attribute(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    const tpl_value_t *hit = NULL;
    if (len > 4 && name[0] == '_' && name[1] == '_' && name[len - 1] == '_' && name[len - 2] == '_')
        return unsafe(rt, name, len, out) < 0 ? -1 : 1;
    const struct tpl_row *row = tpl_method_find(v, name, len);
    if (row)
        return bound_method(rt, v, row, out) < 0 ? -1 : 1;
    switch (v->kind) {
    case V_NAMESPACE:
        hit = tpl_dict_get_str(v->u.dict, name, len);
        if (hit && name[0] == '_')
            return unsafe(rt, name, len, out) < 0 ? -1 : 1;
        if (hit)
            *out = *hit;
        return hit != NULL;
    case V_LOOP: return tpl_loop_attribute(rt, v, name, len, out) < 0 ? -1 : 1;
    case V_MACRO: case V_BLOCK: case V_SELF: return tpl_macro_attribute(rt, v, name, len, out) < 0 ? -1 : 1;
    case V_FUNC:
        if (strcmp(v->u.func->name, "dict") == 0 && len == 8 && memcmp(name, "fromkeys", 8) == 0) {
            tpl_value_t self;
            if (tpl_new_dict(rt, &self) < 0)
                return -1;
            return bound_method(rt, &self, tpl_method_find(&self, name, len), out) < 0 ? -1 : 1;
        }
        return 0;
    default: return data_attribute(v, name, len, out);
    }
}

int tpl_getattr(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    int rc = own_attribute(rt, v, name, len, out);
    if (rc)
        return rc < 0 ? -1 : 0;
    const tpl_value_t *hit = v->kind == V_DICT ? tpl_dict_get_str(v->u.dict, name, len) : NULL;
    if (!hit)
        return tpl_missing(rt, v, name, len, out);
    *out = *hit;
    return 0;
}

static bool is_indexed(const tpl_value_t *v) { return is_sequence(v) || v->kind == V_RANGE; }

int tpl_getitem(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *key, tpl_value_t *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (v->kind == V_DICT) {
        if (key->kind == V_UNDEF)
            return tpl_undefined_error(rt, key);
        if (!tpl_hashable(key))
            return missing_item(rt, v, key, out);
        if (tpl_check_key(rt, key) < 0)
            return -1;
        const tpl_value_t *hit = tpl_dict_get(v->u.dict, key);
        if (hit) {
            *out = *hit;
            return 0;
        }
    } else if (tpl_is_int(key) && is_indexed(v)) {
        int64_t n = (int64_t)tpl_iter_count(v), i = key->u.i < 0 ? key->u.i + n : key->u.i;
        if (i >= 0 && i < n) {
            struct tpl_iter it = { .over = *v, .pos = (size_t)i };
            if (v->kind == V_STR)
                it.pos = tpl_char_offset(v->u.s, v->len, (size_t)i);
            tpl_iter_next(&it, out);
            if (v->kind == V_STR)
                out->flags = v->flags; /* unlike a walk, an index keeps safe text safe */
            return tpl_charge(rt, v->kind == V_STR ? v->len / 64 : 0);
        }
    }
    if (key->kind != V_STR)
        return missing_item(rt, v, key, out);
    int rc = own_attribute(rt, v, key->u.s, key->len, out);
    return rc ? (rc < 0 ? -1 : 0) : tpl_missing(rt, v, key->u.s, key->len, out);
}

static int slice_range(struct tpl_rt *rt, const struct tpl_range *r, const int64_t bound[2], int64_t step, tpl_value_t *out) {
    struct tpl_range *cut = tpl_alloc(rt, sizeof(*cut));
    int64_t by;
    if (!cut)
        return -1;
    if (__builtin_mul_overflow(r->step, step, &by))
        return tpl_type_error(rt, "the step of a slice is too large");
    int64_t span = step > 0 ? bound[1] - bound[0] : bound[0] - bound[1], each = step > 0 ? step : -step;
    cut->start = r->start + bound[0] * r->step;
    cut->stop = r->start + bound[1] * r->step;
    cut->step = by;
    cut->len = span > 0 ? (span - 1) / each + 1 : 0;
    *out = (tpl_value_t){ .kind = V_RANGE, .u.range = cut };
    return 0;
}

int tpl_slice(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t part[3], tpl_value_t *out) {
    int64_t n, step = 1, bound[2];
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (!is_indexed(v))
        return tpl_type_error(rt, "a value of type '%s' cannot be sliced", tpl_type_name(v));
    if (tpl_length(rt, v, &n) < 0 || (part[2].kind != V_NONE && tpl_as_int(rt, &part[2], "the step of a slice", &step) < 0))
        return -1;
    if (step == 0 || step == INT64_MIN)
        return tpl_type_error(rt, "the step of a slice cannot be zero");
    for (int i = 0; i < 2; i++) {
        int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
        bound[i] = (i == 0) == (step > 0) ? low : high;
        if (part[i].kind == V_NONE)
            continue;
        if (tpl_as_int(rt, &part[i], "a bound of a slice", &bound[i]) < 0)
            return -1;
        if (bound[i] < 0)
            bound[i] += n;
        bound[i] = bound[i] < low ? low : bound[i] > high ? high : bound[i];
    }
    if (v->kind == V_STR && step == 1) {
        size_t from = tpl_char_offset(v->u.s, v->len, (size_t)bound[0]);
        size_t to = bound[1] > bound[0] ? tpl_char_offset(v->u.s, v->len, (size_t)bound[1]) : from;
        *out = tpl_str(v->u.s + from, to - from);
        out->flags = v->flags & V_FLAG_SAFE;
        return 0;
    }
    if (v->kind == V_RANGE)
        return slice_range(rt, v->u.range, bound, step, out);
    tpl_value_t all, item;
    buf_t b = BUF_INIT(rt->limits.max_output);
    if (tpl_to_list(rt, v, &all) < 0 || tpl_new_list(rt, v->kind == V_TUPLE ? V_TUPLE : V_LIST, 0, out) < 0)
        return -1;
    for (int64_t i = bound[0]; step > 0 ? i < bound[1] : i > bound[1];) {
        item = all.u.list->items[i];
        if (v->kind == V_STR)
            buf_append(&b, item.u.s, item.len);
        else if (tpl_list_add(rt, out->u.list, item) < 0)
            return -1;
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return v->kind == V_STR ? tpl_take_like(rt, &b, v, out) : 0;
}
