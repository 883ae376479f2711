/* Filters that order and gather: sort, dictsort, groupby, min, max, sum. A new one is a function and a row. Looked up by
 * template_filter.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

#define RUN 64 /* up to this many items are sorted by insertion, in the order of comparisons Python has */

struct sorter { struct tpl_rt *rt; const tpl_value_t *keys; bool wrapped; };

static int less(const struct sorter *s, uint32_t a, uint32_t b, bool *out) {
    const tpl_value_t *x = &s->keys[a], *y = &s->keys[b];
    for (size_t i = 0; s->wrapped && x->kind == V_LIST && y->kind == V_LIST && i < x->u.list->len && i < y->u.list->len; i++) {
        const tpl_value_t *p = &x->u.list->items[i], *q = &y->u.list->items[i]; /* the first two that differ decide */
        if (p->kind == V_UNDEF || q->kind == V_UNDEF)
            return tpl_undefined_error(s->rt, p->kind == V_UNDEF ? p : q);
        if (!tpl_equal(s->rt, p, q))
            break;
    }
    if (s->wrapped && x->kind != V_UNDEF && y->kind != V_UNDEF && tpl_equal(s->rt, x, y)) {
        *out = false;
        return tpl_charge(s->rt, 0);
    }
    return tpl_compare(s->rt, OP_LT, x, y, out);
}

/* Length of the run the part begins with; a falling one is turned round. */
static int first_run(const struct sorter *s, uint32_t *o, size_t n, size_t *len) {
    bool falling = false, is_less;
    size_t i = 2;
    *len = n;
    if (n < 2)
        return 0;
    if (less(s, o[1], o[0], &falling) < 0)
        return -1;
    for (; i < n; i++) {
        if (less(s, o[i], o[i - 1], &is_less) < 0)
            return -1;
        if (is_less != falling)
            break;
    }
    *len = i;
    for (size_t a = 0, b = i; falling && a + 1 < b; a++) {
        uint32_t t = o[a];
        o[a] = o[--b];
        o[b] = t;
    }
    return 0;
}

static int insertion_sort(const struct sorter *s, uint32_t *o, size_t n) {
    size_t start;
    if (first_run(s, o, n, &start) < 0)
        return -1;
    for (; start < n; start++) {
        uint32_t pivot = o[start];
        size_t low = 0, high = start;
        while (low < high) {
            size_t mid = low + (high - low) / 2;
            bool is_less;
            if (less(s, pivot, o[mid], &is_less) < 0)
                return -1;
            if (is_less)
                high = mid;
            else
                low = mid + 1;
        }
        memmove(o + low + 1, o + low, (start - low) * sizeof(*o));
        o[low] = pivot;
    }
    return 0;
}

static int merge(const struct sorter *s, const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b, uint32_t *out) {
    while (n_a && n_b) {
        bool is_less;
        if (less(s, *b, *a, &is_less) < 0)
            return -1;
        if (is_less)
            n_b--;
        else
            n_a--;
        *out++ = is_less ? *b++ : *a++;
    }
    memcpy(out, n_a ? a : b, (n_a + n_b) * sizeof(*out));
    return 0;
}

static void turn(uint32_t *o, size_t n) {
    for (size_t i = 0; i + 1 < n; i++) {
        uint32_t t = o[i];
        o[i] = o[--n];
        o[n] = t;
    }
}

int tpl_sort(struct tpl_rt *rt, const tpl_value_t *keys, size_t n, bool wrapped, bool reverse, uint32_t *order) {
    struct sorter s = { rt, keys, wrapped };
    uint32_t *from = order, *to = n > RUN ? tpl_alloc(rt, n * sizeof(*to)) : order;
    if (!to || tpl_charge(rt, n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)(reverse ? n - 1 - i : i); /* turned before and after, so that equal items keep their order */
    for (size_t i = 0; i < n; i += RUN) {
        if (insertion_sort(&s, order + i, n - i < RUN ? n - i : RUN) < 0)
            return -1;
    }
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t a = n - i < width ? n - i : width, b = n - i - a < width ? n - i - a : width;
            if (merge(&s, from + i, a, from + i + a, b, to + i) < 0)
                return -1;
        }
        uint32_t *t = from;
        from = to;
        to = t;
    }
    if (from != order)
        memcpy(order, from, n * sizeof(*order));
    if (reverse)
        turn(order, n);
    return 0;
}

/* ---- keys ---- */
int tpl_lower_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    OUT_BUF(b);
    *out = *v;
    if (v->kind != V_STR)
        return 0;
    tpl_case_append(&b, v->u.s, v->len, CASE_LOWER);
    return tpl_take_like(rt, &b, v, out);
}

int tpl_sort_key(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, const tpl_value_t *fallback,
                 bool case_sensitive, tpl_value_t *out) {
    tpl_value_t v;
    if (tpl_attribute(rt, item, path, fallback, &v) < 0)
        return -1;
    if (!case_sensitive)
        return tpl_lower_text(rt, &v, out);
    *out = v;
    return 0;
}

/* The key of sort: one attribute, or a list of those that `paths` names with commas. */
static int multi_key(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *paths, bool case_sensitive,
                     tpl_value_t *out) {
    tpl_value_t key;
    if (paths->kind != V_STR || !memchr(paths->u.s, ',', paths->len))
        return tpl_sort_key(rt, item, paths, NULL, case_sensitive, out);
    if (tpl_new_list(rt, V_LIST, 0, out) < 0)
        return -1;
    for (const char *p = paths->u.s, *end = p + paths->len; p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        tpl_value_t path = tpl_str(p, (size_t)((comma ? comma : end) - p));
        if (tpl_sort_key(rt, item, &path, NULL, case_sensitive, &key) < 0 || tpl_list_add(rt, out->u.list, key) < 0)
            return -1;
        p += path.len + 1;
    }
    return 0;
}

static int room(struct tpl_rt *rt, size_t n, tpl_value_t **keys, uint32_t **order) {
    *keys = tpl_alloc(rt, (n + 1) * sizeof(**keys));
    *order = *keys ? tpl_alloc(rt, (n + 1) * sizeof(**order)) : NULL;
    return *order ? 0 : -1;
}

/* ---- sort, dictsort, groupby ---- */
static int reverse_arg(struct tpl_rt *rt, const tpl_value_t *v, bool *out) {
    int64_t i = 0;
    if (tpl_given(v) && tpl_as_int(rt, v, "the argument 'reverse'", &i) < 0)
        return -1;
    *out = i != 0;
    return 0;
}

static FILTER(f_sort) {
    tpl_value_t list, *keys;
    uint32_t *order;
    bool reverse, case_sensitive;
    if (tpl_arg_bool(rt, &c->a[1], false, &case_sensitive) < 0 || reverse_arg(rt, &c->a[0], &reverse) < 0 ||
        tpl_to_list(rt, &c->self, &list) < 0)
        return -1;
    size_t n = list.u.list->len;
    if (room(rt, n, &keys, &order) < 0 || tpl_new_list(rt, V_LIST, n, out) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (multi_key(rt, &list.u.list->items[i], &c->a[2], case_sensitive, &keys[i]) < 0)
            return -1;
    }
    if (tpl_sort(rt, keys, n, true, reverse, order) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (tpl_list_add(rt, out->u.list, list.u.list->items[order[i]]) < 0)
            return -1;
    }
    return 0;
}

static FILTER(f_dictsort) {
    tpl_value_t *keys, pair;
    uint32_t *order;
    bool reverse, case_sensitive, by_value = tpl_given(&c->a[1]) && tpl_str_is(&c->a[1], "value");
    if (tpl_given(&c->a[1]) && !by_value && !tpl_str_is(&c->a[1], "key"))
        return tpl_type_error(rt, "filter 'dictsort' sorts by 'key' or by 'value' only");
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (c->self.kind != V_DICT)
        return tpl_type_error(rt, "filter 'dictsort' needs a mapping, not a value of type '%s'", tpl_type_name(&c->self));
    const struct tpl_dict *d = c->self.u.dict;
    if (tpl_arg_bool(rt, &c->a[0], false, &case_sensitive) < 0 || reverse_arg(rt, &c->a[2], &reverse) < 0 ||
        room(rt, d->len, &keys, &order) < 0 || tpl_new_list(rt, V_LIST, d->len, out) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        keys[i] = by_value ? d->pairs[i].value : d->pairs[i].key;
        if (!case_sensitive && tpl_lower_text(rt, &keys[i], &keys[i]) < 0)
            return -1;
    }
    if (tpl_sort(rt, keys, d->len, false, reverse, order) < 0)
        return -1;
    for (size_t i = 0; i < d->len; i++) {
        if (tpl_pair(rt, d->pairs[order[i]].key, d->pairs[order[i]].value, &pair) < 0 ||
            tpl_list_add(rt, out->u.list, pair) < 0)
            return -1;
    }
    return 0;
}

/* The group of the item `first`, shown under its own attribute rather than the lower case one it was compared by. */
static int new_group(struct tpl_rt *rt, struct tpl_call *c, bool case_sensitive, const tpl_value_t *first,
                     const tpl_value_t *key, tpl_value_t *out, struct tpl_list **members) {
    tpl_value_t grouper = *key, list, group;
    if ((!case_sensitive && tpl_attribute(rt, first, &c->a[0], &c->a[1], &grouper) < 0) ||
        tpl_new_list(rt, V_LIST, 0, &list) < 0 || tpl_pair(rt, grouper, list, &group) < 0)
        return -1;
    group.u.list->group = true;
    *members = list.u.list;
    return tpl_list_add(rt, out->u.list, group);
}

static FILTER(f_groupby) {
    tpl_value_t list, *keys;
    uint32_t *order;
    bool case_sensitive, same;
    if (tpl_arg_bool(rt, &c->a[2], false, &case_sensitive) < 0 || tpl_to_list(rt, &c->self, &list) < 0)
        return -1;
    size_t n = list.u.list->len;
    const tpl_value_t *items = list.u.list->items;
    if (room(rt, n, &keys, &order) < 0 || tpl_new_list(rt, V_LIST, 0, out) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (tpl_sort_key(rt, &items[i], &c->a[0], &c->a[1], case_sensitive, &keys[i]) < 0)
            return -1;
    }
    if (tpl_sort(rt, keys, n, false, false, order) < 0)
        return -1;
    struct tpl_list *members = NULL;
    for (size_t i = 0; i < n; i++) {
        const tpl_value_t *key = &keys[order[i]];
        same = false;
        if (i > 0 && tpl_compare(rt, OP_EQ, &keys[order[i - 1]], key, &same) < 0)
            return -1;
        if ((!same && new_group(rt, c, case_sensitive, &items[order[i]], key, out, &members) < 0) ||
            tpl_list_add(rt, members, items[order[i]]) < 0)
            return -1;
    }
    return 0;
}

/* ---- min, max, sum ---- */
static int extreme(struct tpl_rt *rt, struct tpl_call *c, int op, tpl_value_t *out) {
    struct tpl_iter it;
    tpl_value_t item, key, best;
    bool case_sensitive = false, better = true, any = false;
    int rc;
    if (tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    while ((rc = tpl_iter_step(rt, &it, &item)) > 0) {
        if ((!any && tpl_arg_bool(rt, &c->a[0], false, &case_sensitive) < 0) ||
            tpl_sort_key(rt, &item, &c->a[1], NULL, case_sensitive, &key) < 0 ||
            (any && tpl_compare(rt, op, &key, &best, &better) < 0))
            return -1;
        if (better) {
            best = key;
            *out = item;
        }
        any = true;
    }
    return rc == 0 && !any ? tpl_undefined_value(rt, "the sequence is empty and has no smallest or largest item", out) : rc;
}
static FILTER(f_min) { return extreme(rt, c, OP_LT, out); }
static FILTER(f_max) { return extreme(rt, c, OP_GT, out); }

static FILTER(f_sum) {
    struct tpl_iter it;
    tpl_value_t item, sum = tpl_given(&c->a[1]) ? c->a[1] : tpl_int(0);
    int rc;
    if (sum.kind == V_STR)
        return tpl_type_error(rt, "filter 'sum' cannot add texts: use |join");
    if (tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    while ((rc = tpl_iter_step(rt, &it, &item)) > 0) {
        tpl_value_t before = sum;
        if ((tpl_set(&c->a[0]) && tpl_attribute(rt, &item, &c->a[0], NULL, &item) < 0) ||
            tpl_binary(rt, OP_ADD, &before, &item, &sum) < 0)
            return -1;
    }
    *out = sum;
    return rc;
}

const struct tpl_row tpl_sort_filters[] = {
    { "sort", f_sort, "reverse,case_sensitive,attribute", 0 }, { "dictsort", f_dictsort, "case_sensitive,by,reverse", 0 },
    { "groupby", f_groupby, "attribute,default,case_sensitive", 1 }, { "min", f_min, "case_sensitive,attribute", 0 },
    { "max", f_max, "case_sensitive,attribute", 0 }, { "sum", f_sum, "attribute,start", 0 }, { 0 },
};
