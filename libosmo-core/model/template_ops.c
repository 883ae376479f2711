/* Operators on template values: arithmetic, attribute and item access, slices. Used by template_eval.c. */
#include <math.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

static int overflow(struct tpl_rt *rt) {
    return tpl_fail(rt, OSMO_EUSAGE, "integer result does not fit 64 bits");
}

static int int_power(struct tpl_rt *rt, int64_t base, int64_t exponent, tpl_value_t *out) {
    int64_t r = 1;
    while (exponent) {
        if ((exponent & 1) && __builtin_mul_overflow(r, base, &r))
            return overflow(rt);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return overflow(rt);
    }
    *out = tpl_int(r);
    return 0;
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
    case OP_DIV: *out = tpl_float((double)((long double)a / (long double)b)); return 0;
    case OP_FLOORDIV:
        if (a == INT64_MIN && b == -1)
            return overflow(rt);
        r = a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
        break;
    case OP_MOD:
        r = b == -1 ? 0 : a % b;
        if (r && (r < 0) != (b < 0))
            r += b;
        break;
    default: return int_power(rt, a, b, out);
    }
    if (bad)
        return overflow(rt);
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
        double mod = fmod(a, b);
        if (mod != 0 && (mod < 0) != (b < 0))
            mod += b;
        else if (mod == 0)
            mod = copysign(0, b);
        r = op == OP_MOD ? mod : round((a - mod) / b);
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
    return 0;
}

static int join_two(struct tpl_rt *rt, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    if (a->kind == V_STR) {
        size_t n = (size_t)a->len + b->len;
        char *s = n > rt->limits.max_output ? NULL : tpl_alloc(rt, n + 1);
        if (!s)
            return tpl_fail(rt, OSMO_EUSAGE, "template makes a text longer than %zu bytes", rt->limits.max_output);
        memcpy(s, a->u.s, a->len);
        memcpy(s + a->len, b->u.s, b->len);
        *out = tpl_str(s, n);
        return tpl_charge(rt, n / 64);
    }
    tpl_value_t list;
    if (tpl_new_list(rt, a->kind, a->u.list->len + b->u.list->len, &list) < 0)
        return -1;
    for (size_t i = 0; i < a->u.list->len; i++) {
        if (tpl_list_add(rt, list.u.list, a->u.list->items[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < b->u.list->len; i++) {
        if (tpl_list_add(rt, list.u.list, b->u.list->items[i]) < 0)
            return -1;
    }
    *out = list;
    return tpl_charge(rt, list.u.list->len);
}

int tpl_binary(struct tpl_rt *rt, int op, const tpl_value_t *a, const tpl_value_t *b, tpl_value_t *out) {
    static const char *const symbols[] = { "", "+", "-", "*", "/", "//", "%", "**" };
    if (a->kind == V_UNDEF)
        return tpl_undefined_error(rt, a);
    if (b->kind == V_UNDEF)
        return tpl_undefined_error(rt, b);
    if (tpl_is_int(a) && tpl_is_int(b) && !(op == OP_POW && b->u.i < 0))
        return int_op(rt, op, a->u.i, b->u.i, out);
    if (tpl_is_number(a) && tpl_is_number(b))
        return float_op(rt, op, a->kind == V_FLOAT ? a->u.f : (double)a->u.i,
                        b->kind == V_FLOAT ? b->u.f : (double)b->u.i, out);
    bool seq_a = a->kind == V_STR || tpl_is_list(a), seq_b = b->kind == V_STR || tpl_is_list(b);
    if (op == OP_ADD && seq_a && a->kind == b->kind)
        return join_two(rt, a, b, out);
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
static int missing(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    buf_t b = BUF_INIT(4096);
    buf_printf(&b, "'%s object' has no attribute '%.*s'", tpl_type_name(v), (int)(len > 200 ? 200 : len), name);
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    out->kind = V_UNDEF;
    return 0;
}

static int loop_attribute(struct tpl_rt *rt, const struct tpl_loop *l, const tpl_value_t *v, const char *name,
                          size_t len, tpl_value_t *out) {
    tpl_value_t key = tpl_str(name, len);
    struct tpl_iter ahead = l->ahead;
    int64_t i = (int64_t)l->index0, n = (int64_t)l->len;
    const struct { const char *name; tpl_value_t value; } simple[] = {
        { "index", tpl_int(i + 1) }, { "index0", tpl_int(i) }, { "revindex", tpl_int(n - i) },
        { "revindex0", tpl_int(n - i - 1) }, { "first", tpl_bool(i == 0) }, { "last", tpl_bool(i == n - 1) },
        { "length", tpl_int(n) }, { "depth", tpl_int(1) }, { "depth0", tpl_int(0) },
    };
    for (size_t k = 0; k < ARRAY_SIZE(simple); k++) {
        if (tpl_str_is(&key, simple[k].name)) {
            *out = simple[k].value;
            return 0;
        }
    }
    if (tpl_str_is(&key, "previtem") && l->has_prev) {
        *out = l->prev;
        return 0;
    }
    if (tpl_str_is(&key, "nextitem") && tpl_iter_next(&ahead, out))
        return 0;
    return missing(rt, v, name, len, out);
}

int tpl_getattr(struct tpl_rt *rt, const tpl_value_t *v, const char *name, size_t len, tpl_value_t *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (len && name[0] == '_')
        return tpl_type_error(rt, "access to attribute '%.*s' is refused: names that begin with '_' are unsafe",
                              (int)len, name);
    const struct tpl_row *row = tpl_method_find(v, name, len);
    const tpl_value_t *hit = NULL;
    if (row) {
        struct tpl_method *m = tpl_alloc(rt, sizeof(*m));
        if (!m)
            return -1;
        *m = (struct tpl_method){ *v, row };
        *out = (tpl_value_t){ .kind = V_METHOD, .u.method = m };
        return 0;
    }
    if (v->kind == V_DICT || v->kind == V_NAMESPACE)
        hit = tpl_dict_get_str(v->u.dict, name, len);
    else if (v->kind == V_LOOP)
        return loop_attribute(rt, v->u.loop, v, name, len, out);
    else if (v->kind == V_CYCLER && len == 7 && memcmp(name, "current", 7) == 0)
        hit = &v->u.cycler->items.items[v->u.cycler->pos];
    if (!hit)
        return missing(rt, v, name, len, out);
    *out = *hit;
    return 0;
}

int tpl_getitem(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t *key, tpl_value_t *out) {
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    if (key->kind == V_UNDEF)
        return tpl_undefined_error(rt, key);
    if (v->kind == V_DICT) {
        if (tpl_check_key(rt, key) < 0)
            return -1;
        const tpl_value_t *hit = tpl_dict_get(v->u.dict, key);
        if (hit) {
            *out = *hit;
            return 0;
        }
    } else if (tpl_is_int(key) && (v->kind == V_STR || tpl_is_list(v) || v->kind == V_RANGE)) {
        int64_t n = (int64_t)tpl_iter_count(v), i = key->u.i < 0 ? key->u.i + n : key->u.i;
        if (i >= 0 && i < n) {
            struct tpl_iter it = { .over = *v, .pos = (size_t)i };
            if (v->kind == V_STR)
                it.pos = tpl_char_offset(v->u.s, v->len, (size_t)i);
            tpl_iter_next(&it, out);
            return tpl_charge(rt, v->kind == V_STR ? v->len / 64 : 0);
        }
    }
    if (key->kind == V_STR)
        return tpl_getattr(rt, v, key->u.s, key->len, out);
    tpl_value_t text;
    return tpl_text(rt, key, &text) < 0 ? -1 : missing(rt, v, text.u.s, text.len, out);
}

int tpl_slice(struct tpl_rt *rt, const tpl_value_t *v, const tpl_value_t part[3], tpl_value_t *out) {
    int64_t n, step = 1, bound[2];
    if (v->kind == V_DICT || tpl_length(rt, v, &n) < 0 ||
        (part[2].kind != V_NONE && tpl_as_int(rt, &part[2], "the step of a slice", &step) < 0))
        return tpl_type_error(rt, "a value of type '%s' cannot be sliced", tpl_type_name(v));
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
        return 0;
    }
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
    return v->kind == V_STR ? tpl_str_take(rt, &b, out) : 0;
}
