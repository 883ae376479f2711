/* Filters that map and pick items: map, select, reject, selectattr, rejectattr, unique, and the attribute paths they
 * share with the sorting ones. They give iterators, as Jinja does: nothing is computed, and nothing can fail, before an
 * item is asked for. A new one is a function and a row. Looked up by template_filter.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

int tpl_new_gen(struct tpl_rt *rt, const char *type, int (*next)(struct tpl_rt *, struct tpl_gen *, tpl_value_t *),
                void *state, tpl_value_t *out) {
    struct tpl_gen *g = tpl_alloc(rt, sizeof(*g));
    if (!g)
        return -1;
    *g = (struct tpl_gen){ .next = next, .type = type, .state = state };
    *out = (tpl_value_t){ .kind = V_ITER, .u.gen = g };
    return tpl_charge(rt, 1);
}

int tpl_pair(struct tpl_rt *rt, tpl_value_t a, tpl_value_t b, tpl_value_t *out) {
    if (tpl_new_list(rt, V_TUPLE, 2, out) < 0 || tpl_list_add(rt, out->u.list, a) < 0)
        return -1;
    return tpl_list_add(rt, out->u.list, b);
}

int tpl_undefined_value(struct tpl_rt *rt, const char *message, tpl_value_t *out) {
    if (tpl_str_copy(rt, message, strlen(message), out) < 0)
        return -1;
    out->kind = V_UNDEF;
    return 0;
}

/* ---- attribute paths ---- */
static bool all_digits(const char *s, size_t n) {
    for (const char *end = s + n; s < end;) {
        size_t len;
        if (tpl_digit(tpl_char_get(s, end, &len)) < 0)
            return false;
        s += len;
    }
    return n > 0;
}

static int attribute_part(struct tpl_rt *rt, const tpl_value_t *part, const tpl_value_t *fallback, tpl_value_t *at) {
    tpl_value_t from = *at;
    if (tpl_charge(rt, 1) < 0 || tpl_getitem(rt, &from, part, at) < 0)
        return -1;
    if (fallback && tpl_set(fallback) && at->kind == V_UNDEF)
        *at = *fallback;
    return 0;
}

int tpl_attribute(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, const tpl_value_t *fallback,
                  tpl_value_t *out) {
    tpl_value_t at = *item;
    if (path->kind == V_UNDEF)
        return tpl_undefined_error(rt, path);
    if (path->kind != V_STR) {
        if (tpl_set(path) && attribute_part(rt, path, fallback, &at) < 0)
            return -1;
        *out = at;
        return 0;
    }
    for (const char *p = path->u.s, *end = p + path->len; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t n = (size_t)((dot ? dot : end) - p);
        int64_t i;
        tpl_value_t key = tpl_str(p, n);
        if (all_digits(p, n) && tpl_text_to_int(p, n, 10, &i))
            key = tpl_int(i);
        if (attribute_part(rt, &key, fallback, &at) < 0)
            return -1;
        p += n + 1;
    }
    *out = at;
    return 0;
}

/* ---- map, select, reject ---- */
enum { KEEP = 1, BY_ATTRIBUTE = 2 };
struct pick {
    struct tpl_iter it;
    tpl_value_t over, attribute, fallback;
    bool begun, empty;
    int how;
    const struct tpl_row *row; /* filter or test to apply; NULL: none */
    struct tpl_args args;
};

static int take_args(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out,
                     int (*next)(struct tpl_rt *, struct tpl_gen *, tpl_value_t *), int how) {
    struct pick *s = tpl_alloc(rt, sizeof(*s));
    if (!s)
        return -1;
    s->over = c->self;
    s->how = how;
    s->args = *c->args;
    return tpl_new_gen(rt, "generator", next, s, out);
}

static void drop_first(struct tpl_args *args) {
    args->n_pos--;
    memmove(args->pos, args->pos + 1, (size_t)args->n_pos * sizeof(args->pos[0]));
}

static int find_row(struct tpl_rt *rt, struct pick *s, const char *what, const struct tpl_row *(*find)(const char *, size_t)) {
    const tpl_value_t *name = &s->args.pos[0];
    if (name->kind == V_UNDEF)
        return tpl_undefined_error(rt, name);
    s->row = name->kind == V_STR ? find(name->u.s, name->len) : NULL;
    if (!s->row && name->kind == V_STR)
        return tpl_type_error(rt, "no %s named '%.*s'", what, (int)(name->len > 200 ? 200 : name->len), name->u.s);
    if (!s->row)
        return tpl_type_error(rt, "the name of a %s must be a text, not a value of type '%s'", what, tpl_type_name(name));
    drop_first(&s->args);
    return 0;
}

/* 1 when there is something to walk: an empty or false input is never looked at any further. */
static int begin(struct tpl_rt *rt, struct pick *s) {
    bool truth;
    if (s->begun)
        return !s->empty;
    s->begun = true;
    if (tpl_truth(rt, &s->over, &truth) < 0)
        return -1;
    s->empty = !truth;
    if (s->empty)
        return 0;
    return tpl_iter_init(rt, &s->over, &s->it) < 0 ? -1 : 1;
}

static int prepare_map(struct tpl_rt *rt, struct pick *s) {
    bool by_attribute = false;
    for (int i = 0; i < s->args.n_kw && !s->args.n_pos; i++)
        by_attribute = by_attribute || strcmp(s->args.names[i], "attribute") == 0;
    if (!by_attribute) {
        if (!s->args.n_pos)
            return tpl_type_error(rt, "filter 'map' needs the name of a filter or attribute=");
        return 0;
    }
    s->how |= BY_ATTRIBUTE;
    for (int i = 0; i < s->args.n_kw; i++) {
        if (strcmp(s->args.names[i], "attribute") == 0)
            s->attribute = s->args.kw[i];
        else if (strcmp(s->args.names[i], "default") == 0)
            s->fallback = s->args.kw[i];
        else
            return tpl_type_error(rt, "filter 'map' does not take the argument '%s'", s->args.names[i]);
    }
    return 0;
}

static int next_map(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct pick *s = g->state;
    tpl_value_t item;
    bool first = !s->begun;
    int rc = begin(rt, s);
    if (rc <= 0 || (first && prepare_map(rt, s) < 0))
        return rc > 0 ? -1 : rc;
    rc = tpl_iter_step(rt, &s->it, &item);
    if (rc <= 0)
        return rc;
    if (s->how & BY_ATTRIBUTE)
        return tpl_attribute(rt, &item, &s->attribute, &s->fallback, out) < 0 ? -1 : 1;
    if (!s->row && find_row(rt, s, "filter", tpl_filter_find) < 0)
        return -1;
    return tpl_call_row(rt, "filter", s->row, &item, &s->args, out) < 0 ? -1 : 1;
}

static FILTER(f_map) { return take_args(rt, c, out, next_map, 0); }

static int prepare_select(struct tpl_rt *rt, struct pick *s) {
    if (!(s->how & BY_ATTRIBUTE))
        return 0;
    if (!s->args.n_pos)
        return tpl_type_error(rt, "filters 'selectattr' and 'rejectattr' need the name of an attribute");
    s->attribute = s->args.pos[0];
    drop_first(&s->args);
    return 0;
}

static int next_select(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct pick *s = g->state;
    bool first = !s->begun;
    int rc = begin(rt, s);
    if (rc <= 0 || (first && prepare_select(rt, s) < 0))
        return rc > 0 ? -1 : rc;
    while ((rc = tpl_iter_step(rt, &s->it, out)) > 0) {
        tpl_value_t v = *out, hit;
        bool truth;
        if ((s->how & BY_ATTRIBUTE) && tpl_attribute(rt, out, &s->attribute, NULL, &v) < 0)
            return -1;
        if (!s->row && s->args.n_pos && find_row(rt, s, "test", tpl_test_find) < 0)
            return -1;
        if (s->row && tpl_call_row(rt, "test", s->row, &v, &s->args, &hit) < 0)
            return -1;
        if (tpl_truth(rt, s->row ? &hit : &v, &truth) < 0)
            return -1;
        if (truth == ((s->how & KEEP) != 0))
            return 1;
    }
    return rc;
}

static FILTER(f_select) { return take_args(rt, c, out, next_select, KEEP); }
static FILTER(f_reject) { return take_args(rt, c, out, next_select, 0); }
static FILTER(f_selectattr) { return take_args(rt, c, out, next_select, KEEP | BY_ATTRIBUTE); }
static FILTER(f_rejectattr) { return take_args(rt, c, out, next_select, BY_ATTRIBUTE); }

/* ---- unique ---- */
struct unique { struct tpl_iter it; tpl_value_t over, seen, case_sensitive, attribute; bool begun, exact; };

static int next_unique(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct unique *s = g->state;
    tpl_value_t key;
    int rc;
    if (!s->begun && (tpl_arg_bool(rt, &s->case_sensitive, false, &s->exact) < 0 || tpl_new_dict(rt, &s->seen) < 0 ||
                      tpl_iter_init(rt, &s->over, &s->it) < 0))
        return -1;
    s->begun = true;
    while ((rc = tpl_iter_step(rt, &s->it, out)) > 0) {
        if (tpl_sort_key(rt, out, &s->attribute, NULL, s->exact, &key) < 0 || tpl_check_key(rt, &key) < 0)
            return -1;
        if (tpl_dict_get(s->seen.u.dict, &key))
            continue;
        return tpl_dict_set(rt, s->seen.u.dict, key, tpl_none()) < 0 ? -1 : 1;
    }
    return rc;
}

static FILTER(f_unique) {
    struct unique *s = tpl_alloc(rt, sizeof(*s));
    if (!s)
        return -1;
    s->over = c->self;
    s->case_sensitive = c->a[0];
    s->attribute = c->a[1];
    return tpl_new_gen(rt, "generator", next_unique, s, out);
}

const struct tpl_row tpl_pick_filters[] = {
    { "map", f_map, NULL, 0 }, { "select", f_select, NULL, 0 }, { "reject", f_reject, NULL, 0 },
    { "selectattr", f_selectattr, NULL, 0 }, { "rejectattr", f_rejectattr, NULL, 0 },
    { "unique", f_unique, "case_sensitive,attribute", 0 }, { 0 },
};
