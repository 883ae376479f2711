/* Methods of lists, tuples, ranges, dictionaries, numbers, loops and cyclers: those a sandboxed template may call. Text
 * has its own in template_methods_str.c. A new one is a function and a row; parameters that Python takes only by position
 * are named by their number. Used by template_call.c. */
#include <math.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

#define METHOD(name) static int name(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out)

static int done(tpl_value_t *out) {
    *out = tpl_none();
    return 0;
}

/* ---- dictionaries ---- */
static int dict_view(struct tpl_rt *rt, const struct tpl_dict *d, int what, const char *view, tpl_value_t *out) {
    if (tpl_new_list(rt, V_LIST, d->len, out) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        tpl_value_t v = what == 'k' ? d->pairs[i].key : d->pairs[i].value;
        if (what == 'i' && tpl_pair(rt, d->pairs[i].key, d->pairs[i].value, &v) < 0)
            return -1;
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, out->u.list, v) < 0)
            return -1;
    }
    out->u.list->view = view;
    return 0;
}
METHOD(dict_items) { return dict_view(rt, c->self.u.dict, 'i', "dict_items", out); }
METHOD(dict_keys) { return dict_view(rt, c->self.u.dict, 'k', "dict_keys", out); }
METHOD(dict_values) { return dict_view(rt, c->self.u.dict, 'v', "dict_values", out); }

METHOD(dict_get) {
    if (tpl_check_key(rt, &c->a[0]) < 0)
        return -1;
    const tpl_value_t *hit = tpl_dict_get(c->self.u.dict, &c->a[0]);
    *out = hit ? *hit : tpl_given(&c->a[1]) ? c->a[1] : tpl_none();
    return 0;
}

METHOD(dict_update) {
    tpl_value_t more;
    if (tpl_dict_from_args(rt, c->args, &more) < 0)
        return -1;
    for (size_t i = 0; i < more.u.dict->len; i++) {
        if (tpl_dict_set(rt, c->self.u.dict, more.u.dict->pairs[i].key, more.u.dict->pairs[i].value) < 0)
            return -1;
    }
    return done(out);
}

METHOD(dict_setdefault) {
    if (tpl_check_key(rt, &c->a[0]) < 0)
        return -1;
    const tpl_value_t *hit = tpl_dict_get(c->self.u.dict, &c->a[0]);
    *out = hit ? *hit : tpl_given(&c->a[1]) ? c->a[1] : tpl_none();
    return hit ? 0 : tpl_dict_set(rt, c->self.u.dict, c->a[0], *out);
}

METHOD(dict_pop) {
    if (tpl_check_key(rt, &c->a[0]) < 0)
        return -1;
    const tpl_value_t *hit = tpl_dict_get(c->self.u.dict, &c->a[0]);
    if (!hit && !tpl_given(&c->a[1]))
        return tpl_type_error(rt, "pop(): the dictionary has no such key");
    *out = hit ? *hit : c->a[1];
    if (hit)
        tpl_dict_remove(c->self.u.dict, &c->a[0]);
    return tpl_charge(rt, c->self.u.dict->len);
}

METHOD(dict_popitem) {
    struct tpl_dict *d = c->self.u.dict;
    if (!d->len)
        return tpl_type_error(rt, "popitem(): the dictionary is empty");
    struct tpl_pair last = d->pairs[d->len - 1];
    tpl_dict_remove(d, &last.key);
    return tpl_charge(rt, d->len) < 0 ? -1 : tpl_pair(rt, last.key, last.value, out);
}

METHOD(dict_clear) {
    struct tpl_dict *d = c->self.u.dict;
    if (tpl_charge(rt, d->len) < 0)
        return -1;
    *d = (struct tpl_dict){ .pairs = NULL };
    return done(out);
}

METHOD(dict_copy) {
    const struct tpl_dict *d = c->self.u.dict;
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        if (tpl_charge(rt, 1) < 0 || tpl_dict_set(rt, out->u.dict, d->pairs[i].key, d->pairs[i].value) < 0)
            return -1;
    }
    return 0;
}

METHOD(dict_fromkeys) {
    struct tpl_iter it;
    tpl_value_t key, v = tpl_given(&c->a[1]) ? c->a[1] : tpl_none();
    int rc = tpl_new_dict(rt, out);
    if (rc == 0)
        rc = tpl_iter_init(rt, &c->a[0], &it);
    while (rc >= 0 && (rc = tpl_iter_step(rt, &it, &key)) > 0)
        rc = tpl_check_key(rt, &key) < 0 ? -1 : tpl_dict_set(rt, out->u.dict, key, v);
    return rc;
}

static const struct tpl_row dict_methods[] = {
    { "items", dict_items, "", 0 },
    { "keys", dict_keys, "", 0 },
    { "values", dict_values, "", 0 },
    { "get", dict_get, "0,1", 1 },
    { "update", dict_update, NULL, 0 },
    { "setdefault", dict_setdefault, "0,1", 1 },
    { "pop", dict_pop, "0,1", 1 },
    { "popitem", dict_popitem, "", 0 },
    { "clear", dict_clear, "", 0 },
    { "copy", dict_copy, "", 0 },
    { "fromkeys", dict_fromkeys, "0,1", 1 },
    { 0 },
};

/* ---- lists and tuples ---- */
/* A position as slices take it: from the end when negative, cut to 0 … n. */
static int position(struct tpl_rt *rt, const tpl_value_t *v, int64_t absent, size_t n, size_t *out) {
    int64_t i = absent;
    if (tpl_given(v) && tpl_as_int(rt, v, "a position", &i) < 0)
        return -1;
    i = i < 0 ? i + (int64_t)n : i;
    *out = i < 0 ? 0 : i > (int64_t)n ? n : (size_t)i;
    return 0;
}

METHOD(list_index) {
    size_t n = tpl_iter_count(&c->self), from, to, i = 0;
    struct tpl_iter it;
    tpl_value_t v;
    if (position(rt, &c->a[1], 0, n, &from) < 0 || position(rt, &c->a[2], INT64_MAX, n, &to) < 0 ||
        tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    for (; tpl_iter_next(&it, &v); i++) {
        if (i >= from && i < to && tpl_equal(rt, &v, &c->a[0])) {
            *out = tpl_int((int64_t)i);
            return rt->code ? -1 : 0;
        }
    }
    return tpl_type_error(rt, "index(): the value is not in the %s", tpl_type_name(&c->self));
}

METHOD(list_count) {
    struct tpl_iter it;
    tpl_value_t v;
    int64_t n = 0;
    if (tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    while (tpl_iter_next(&it, &v))
        n += tpl_equal(rt, &v, &c->a[0]);
    *out = tpl_int(n);
    return rt->code ? -1 : 0;
}

METHOD(list_append) { return tpl_list_add(rt, c->self.u.list, c->a[0]) < 0 ? -1 : done(out); }

METHOD(list_extend) {
    tpl_value_t more; /* a copy first: a list may be extended by itself */
    if (tpl_to_list(rt, &c->a[0], &more) < 0)
        return -1;
    for (size_t i = 0; i < more.u.list->len; i++) {
        if (tpl_list_add(rt, c->self.u.list, more.u.list->items[i]) < 0)
            return -1;
    }
    return done(out);
}

METHOD(list_insert) {
    struct tpl_list *l = c->self.u.list;
    size_t at;
    if (position(rt, &c->a[0], 0, l->len, &at) < 0 || tpl_list_add(rt, l, c->a[1]) < 0 || tpl_charge(rt, (l->len - at) / 16) < 0)
        return -1;
    memmove(&l->items[at + 1], &l->items[at], (l->len - 1 - at) * sizeof(l->items[0]));
    l->items[at] = c->a[1];
    return done(out);
}

static int take_at(struct tpl_rt *rt, struct tpl_list *l, size_t at, tpl_value_t *out) {
    *out = l->items[at];
    memmove(&l->items[at], &l->items[at + 1], (l->len - at - 1) * sizeof(l->items[0]));
    l->len--;
    return tpl_charge(rt, (l->len - at) / 16);
}

METHOD(list_pop) {
    struct tpl_list *l = c->self.u.list;
    int64_t at = -1, n = (int64_t)l->len;
    if (tpl_given(&c->a[0]) && tpl_as_int(rt, &c->a[0], "the position of pop()", &at) < 0)
        return -1;
    at = at < 0 ? at + n : at;
    if (at < 0 || at >= n)
        return tpl_type_error(rt, n ? "pop(): the list has no such position" : "pop(): the list is empty");
    return take_at(rt, l, (size_t)at, out);
}

METHOD(list_remove) {
    struct tpl_list *l = c->self.u.list;
    for (size_t i = 0; i < l->len; i++) {
        if (tpl_equal(rt, &l->items[i], &c->a[0]))
            return rt->code || take_at(rt, l, i, out) < 0 ? -1 : done(out);
    }
    return tpl_type_error(rt, "remove(): the value is not in the list");
}

METHOD(list_clear) {
    (void)rt;
    c->self.u.list->len = 0;
    return done(out);
}
METHOD(list_copy) { return tpl_to_list(rt, &c->self, out); }

METHOD(list_reverse) {
    struct tpl_list *l = c->self.u.list;
    for (size_t i = 0; i < l->len / 2; i++) {
        tpl_value_t v = l->items[i];
        l->items[i] = l->items[l->len - 1 - i];
        l->items[l->len - 1 - i] = v;
    }
    return tpl_charge(rt, l->len / 16) < 0 ? -1 : done(out);
}

METHOD(list_sort) {
    struct tpl_list *l = c->self.u.list;
    int64_t reverse = 0;
    tpl_value_t keys, sorted;
    if ((tpl_given(&c->a[1]) && tpl_as_int(rt, &c->a[1], "reverse", &reverse) < 0) || tpl_new_list(rt, V_LIST, l->len, &keys) < 0 ||
        tpl_new_list(rt, V_LIST, l->len, &sorted) < 0)
        return -1;
    for (size_t i = 0; i < l->len; i++) {
        struct tpl_args args = { .n_pos = 1 };
        tpl_value_t key = l->items[i];
        args.pos[0] = l->items[i];
        if ((tpl_set(&c->a[0]) && tpl_call_value(rt, &c->a[0], &args, &key) < 0) || tpl_list_add(rt, keys.u.list, key) < 0)
            return -1;
    }
    uint32_t *order = tpl_alloc(rt, (l->len + 1) * sizeof(*order));
    if (!order || tpl_sort(rt, keys.u.list->items, l->len, false, reverse != 0, order) < 0)
        return -1;
    for (size_t i = 0; i < l->len; i++) {
        if (tpl_list_add(rt, sorted.u.list, l->items[order[i]]) < 0)
            return -1;
    }
    if (l->len)
        memcpy(l->items, sorted.u.list->items, l->len * sizeof(l->items[0]));
    return done(out);
}

static const struct tpl_row list_methods[] = {
    { "append", list_append, "0", 1 },
    { "extend", list_extend, "0", 1 },
    { "insert", list_insert, "0,1", 2 },
    { "pop", list_pop, "0", 0 },
    { "remove", list_remove, "0", 1 },
    { "clear", list_clear, "", 0 },
    { "copy", list_copy, "", 0 },
    { "reverse", list_reverse, "", 0 },
    { "sort", list_sort, "key,reverse", 0 },
    { "index", list_index, "0,1,2", 1 },
    { "count", list_count, "0", 1 },
    { 0 },
};
static const struct tpl_row tuple_methods[] = {
    { "index", list_index, "0,1,2", 1 },
    { "count", list_count, "0", 1 },
    { 0 },
};
static const struct tpl_row range_methods[] = {
    { "index", list_index, "0", 1 },
    { "count", list_count, "0", 1 },
    { 0 },
};

/* ---- numbers ---- */
static int bits(struct tpl_rt *rt, struct tpl_call *c, bool ones, tpl_value_t *out) {
    _cleanup_buf_ buf_t digits = BUF_INIT(rt->limits.max_output);
    bool negative;
    int64_t n = 0;
    if (tpl_big_digits(rt, &c->self, 2, &digits, &negative) < 0 || tpl_buf_check(rt, &digits) < 0)
        return -1;
    for (size_t i = 0; i < digits.len; i++)
        n += digits.data[i] == '1' || (!ones && n);
    *out = tpl_int(n);
    return 0;
}
METHOD(int_bit_length) { return bits(rt, c, false, out); }
METHOD(int_bit_count) { return bits(rt, c, true, out); }
METHOD(number_conjugate) {
    *out = c->self.kind == V_BOOL ? tpl_int(c->self.u.i) : c->self;
    return tpl_charge(rt, 1);
}
METHOD(int_ratio) { return tpl_pair(rt, c->self.kind == V_BOOL ? tpl_int(c->self.u.i) : c->self, tpl_int(1), out); }

METHOD(float_ratio) {
    double f = c->self.u.f;
    int exponent;
    if (isinf(f) || isnan(f))
        return tpl_type_error(rt, "%s cannot be written as a ratio", isnan(f) ? "NaN" : "infinity");
    double m = frexp(f, &exponent);
    for (int i = 0; i < 300 && m != floor(m); i++) {
        m *= 2;
        exponent--;
    }
    tpl_value_t whole = tpl_int((int64_t)m), two = tpl_int(2), by = tpl_int(exponent < 0 ? -exponent : exponent), power, scaled;
    if (tpl_binary(rt, OP_POW, &two, &by, &power) < 0 || tpl_binary(rt, OP_MUL, &whole, &power, &scaled) < 0)
        return -1;
    return exponent >= 0 ? tpl_pair(rt, scaled, tpl_int(1), out) : tpl_pair(rt, whole, power, out);
}

METHOD(float_is_integer) {
    *out = tpl_bool(isfinite(c->self.u.f) && c->self.u.f == floor(c->self.u.f));
    return tpl_charge(rt, 1);
}

METHOD(float_hex) {
    double f = c->self.u.f;
    char text[64];
    if (!isfinite(f)) {
        tpl_float_repr(f, text);
        return tpl_str_copy(rt, text, strlen(text), out);
    }
    uint64_t bits;
    memcpy(&bits, &f, sizeof(bits));
    int exponent = (int)(bits >> 52 & 0x7ff);
    buf_t b = BUF_INIT(64);
    buf_printf(&b, "%s0x%d.", bits >> 63 ? "-" : "", exponent != 0);
    if (f == 0)
        buf_puts(&b, "0p+0");
    else
        buf_printf(&b, "%013llxp%+d", (unsigned long long)(bits & 0xfffffffffffffu), exponent ? exponent - 1023 : -1022);
    return tpl_str_take(rt, &b, out);
}

static const struct tpl_row int_methods[] = {
    { "bit_length", int_bit_length, "", 0 },
    { "bit_count", int_bit_count, "", 0 },
    { "conjugate", number_conjugate, "", 0 },
    { "as_integer_ratio", int_ratio, "", 0 },
    { "to_bytes", NULL, NULL, 0 },
    { "from_bytes", NULL, NULL, 0 },
    { 0 },
};
static const struct tpl_row float_methods[] = {
    { "is_integer", float_is_integer, "", 0 },
    { "conjugate", number_conjugate, "", 0 },
    { "as_integer_ratio", float_ratio, "", 0 },
    { "hex", float_hex, "", 0 },
    { "fromhex", NULL, NULL, 0 },
    { 0 },
};

/* ---- loops and cyclers ---- */
METHOD(loop_cycle) {
    if (!c->args->n_pos || c->args->n_kw)
        return tpl_type_error(rt, "loop.cycle() needs items without names");
    *out = c->args->pos[c->self.u.loop->index0 % c->args->n_pos];
    return 0;
}

METHOD(loop_changed) {
    struct tpl_loop *l = c->self.u.loop;
    tpl_value_t now;
    if (tpl_new_list(rt, V_TUPLE, (size_t)c->args->n_pos, &now) < 0)
        return -1;
    for (int i = 0; i < c->args->n_pos; i++) {
        if (tpl_list_add(rt, now.u.list, c->args->pos[i]) < 0)
            return -1;
    }
    *out = tpl_bool(!l->has_changed || !tpl_equal(rt, &now, &l->changed));
    l->changed = now;
    l->has_changed = true;
    return rt->code ? -1 : 0;
}

METHOD(cycler_next) {
    struct tpl_cycler *cy = c->self.u.cycler;
    *out = cy->items.items[cy->pos];
    cy->pos = (cy->pos + 1) % cy->items.len;
    return tpl_charge(rt, 1);
}

METHOD(cycler_reset) {
    c->self.u.cycler->pos = 0;
    *out = tpl_none();
    return tpl_charge(rt, 1);
}

static const struct tpl_row loop_methods[] = { { "cycle", loop_cycle, NULL, 0 }, { "changed", loop_changed, NULL, 0 }, { 0 } };
static const struct tpl_row cycler_methods[] = { { "next", cycler_next, "", 0 }, { "reset", cycler_reset, "", 0 }, { 0 } };

const struct tpl_row *tpl_method_find(const tpl_value_t *self, const char *name, size_t len) {
    switch (self->kind) {
    case V_STR: return tpl_row_find(tpl_str_methods, name, len);
    case V_DICT: return tpl_row_find(dict_methods, name, len);
    case V_LIST: return self->u.list->view ? NULL : tpl_row_find(list_methods, name, len);
    case V_TUPLE: return tpl_row_find(tuple_methods, name, len);
    case V_RANGE: return tpl_row_find(range_methods, name, len);
    case V_BOOL: case V_INT: case V_BIG: return tpl_row_find(int_methods, name, len);
    case V_FLOAT: return tpl_row_find(float_methods, name, len);
    case V_LOOP: return tpl_row_find(loop_methods, name, len);
    case V_CYCLER: return tpl_row_find(cycler_methods, name, len);
    default: return NULL;
    }
}
