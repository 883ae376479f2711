/* Filters that walk, cut, join and turn sequences. A new one is a function and a row. Looked up by template_filter.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

static FILTER(f_length) {
    int64_t n;
    if (tpl_length(rt, &c->self, &n) < 0)
        return -1;
    *out = tpl_int(n);
    return 0;
}

static FILTER(f_list) { return tpl_to_list(rt, &c->self, out); }

static FILTER(f_first) {
    struct tpl_iter it;
    if (tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    int rc = tpl_iter_step(rt, &it, out);
    return rc == 0 ? tpl_undefined_value(rt, "the sequence is empty and has no first item", out) : rc < 0 ? -1 : 0;
}

static FILTER(f_last) {
    tpl_value_t list;
    if (c->self.kind == V_ITER)
        return tpl_type_error(rt, "filter 'last' needs a sequence that can be walked backwards, not a %s: put |list before it",
                              tpl_type_name(&c->self));
    if (tpl_to_list(rt, &c->self, &list) < 0)
        return -1;
    if (!list.u.list->len)
        return tpl_undefined_value(rt, "the sequence is empty and has no last item", out);
    *out = list.u.list->items[list.u.list->len - 1];
    if (c->self.kind == V_STR)
        out->flags = c->self.flags; /* walking forwards the characters of safe text are plain, backwards they are not */
    return 0;
}

static FILTER(f_random) {
    (void)c;
    *out = tpl_none();
    return tpl_type_error(rt, "filter 'random' is not supported: a rendering must be repeatable");
}

/* Where output is escaped: as the method of the separator, which is safe when an item is. */
static int join_escaped(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_args args = { .n_pos = 1 };
    tpl_value_t sep = tpl_str("", 0), v, raw = sep;
    struct tpl_iter it;
    bool safe = false;
    int rc;
    if ((tpl_given(&c->a[0]) && tpl_soft_text(rt, &c->a[0], &raw) < 0) || tpl_new_list(rt, V_LIST, 0, &args.pos[0]) < 0 ||
        tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    while ((rc = tpl_iter_step(rt, &it, &v)) > 0) {
        tpl_value_t item = v;
        if (tpl_set(&c->a[1]) && tpl_attribute(rt, &v, &c->a[1], NULL, &item) < 0)
            return -1;
        if (tpl_soft_text(rt, &item, &v) < 0 || tpl_list_add(rt, args.pos[0].u.list, v) < 0)
            return -1;
        safe = safe || (v.flags & V_FLAG_SAFE);
    }
    if (rc < 0 || (safe ? tpl_escape(rt, &raw, &sep) : tpl_soft_text(rt, &raw, &sep)) < 0)
        return -1;
    return tpl_call_row(rt, "filter", tpl_method_find(&sep, "join", 4), &sep, &args, out);
}

static FILTER(f_join) {
    _cleanup_buf_ OUT_BUF(b);
    if (rt->autoescape)
        return join_escaped(rt, c, out);
    struct tpl_iter it;
    tpl_value_t v, sep = tpl_str("", 0);
    bool first = true;
    int rc;
    if ((tpl_given(&c->a[0]) && tpl_text(rt, &c->a[0], &sep) < 0) || tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    while ((rc = tpl_iter_step(rt, &it, &v)) > 0) {
        if (!first)
            buf_append(&b, sep.u.s, sep.len);
        first = false;
        if ((tpl_set(&c->a[1]) && tpl_attribute(rt, &v, &c->a[1], NULL, &v) < 0) || tpl_print(rt, &v, &b) < 0)
            return -1;
    }
    return rc < 0 ? -1 : tpl_str_take(rt, &b, out);
}

/* ---- reverse ---- */
struct backwards { struct tpl_list *list; size_t left; };

static int next_backwards(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct backwards *s = g->state;
    if (s->left > s->list->len)
        s->left = 0;
    if (!s->left)
        return 0;
    *out = s->list->items[--s->left];
    return tpl_charge(rt, 1) < 0 ? -1 : 1;
}

static int reverse_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    char *s = tpl_alloc(rt, (size_t)v->len + 1);
    if (!s || tpl_charge(rt, v->len / 64) < 0)
        return -1;
    char *to = s + v->len;
    for (const char *p = v->u.s, *end = p + v->len; p < end;) {
        size_t n = tpl_char_len(p, end);
        memcpy(to -= n, p, n);
        p += n;
    }
    *out = tpl_str(s, v->len);
    out->flags = v->flags;
    return 0;
}

static FILTER(f_reverse) {
    tpl_value_t list = c->self;
    if (c->self.kind == V_STR)
        return reverse_text(rt, &c->self, out);
    struct backwards *s = tpl_alloc(rt, sizeof(*s));
    if (!s || ((c->self.kind != V_LIST || c->self.u.list->view) && tpl_to_list(rt, &c->self, &list) < 0))
        return -1;
    s->list = list.u.list;
    s->left = list.u.list->len;
    if (c->self.kind == V_ITER) { /* what cannot be walked backwards becomes a list */
        for (size_t i = 0, j = s->left; i + 1 < j; i++) {
            tpl_value_t t = s->list->items[i];
            s->list->items[i] = s->list->items[--j];
            s->list->items[j] = t;
        }
        *out = list;
        return 0;
    }
    return tpl_new_gen(rt, c->self.kind == V_LIST ? "list_reverseiterator" : "reversed", next_backwards, s, out);
}

/* ---- batch and slice ---- */
struct batch { struct tpl_iter it; tpl_value_t over, size, fill, pending; bool begun, has_pending, ended; };

static int fill_batch(struct tpl_rt *rt, const struct batch *s, struct tpl_list *l) {
    tpl_value_t have = tpl_int((int64_t)l->len);
    bool less;
    int64_t size;
    if (!tpl_set(&s->fill))
        return 0;
    if (tpl_compare(rt, OP_LT, &have, &s->size, &less) < 0 ||
        (less && tpl_as_int(rt, &s->size, "filter 'batch': the number of items", &size) < 0))
        return -1;
    while (less && (int64_t)l->len < size) {
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, l, s->fill) < 0)
            return -1;
    }
    return 0;
}

static int next_batch(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct batch *s = g->state;
    tpl_value_t item;
    int rc = 0;
    if (s->ended || (!s->begun && tpl_iter_init(rt, &s->over, &s->it) < 0) || tpl_new_list(rt, V_LIST, 0, out) < 0)
        return s->ended ? 0 : -1;
    s->begun = true;
    if (s->has_pending && tpl_list_add(rt, out->u.list, s->pending) < 0)
        return -1;
    s->has_pending = false;
    while ((rc = tpl_iter_step(rt, &s->it, &item)) > 0) {
        tpl_value_t have = tpl_int((int64_t)out->u.list->len);
        bool full;
        if (tpl_compare(rt, OP_EQ, &have, &s->size, &full) < 0)
            return -1;
        if (full) {
            s->pending = item;
            s->has_pending = true;
            return 1;
        }
        if (tpl_list_add(rt, out->u.list, item) < 0)
            return -1;
    }
    s->ended = true;
    if (rc < 0 || !out->u.list->len)
        return rc;
    return fill_batch(rt, s, out->u.list) < 0 ? -1 : 1;
}

static FILTER(f_batch) {
    struct batch *s = tpl_alloc(rt, sizeof(*s));
    if (!s)
        return -1;
    s->over = c->self;
    s->size = c->a[0];
    s->fill = c->a[1];
    return tpl_new_gen(rt, "generator", next_batch, s, out);
}

struct slice { tpl_value_t over, count, fill, all; int64_t slices, number, offset; bool begun; };

static int next_slice(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct slice *s = g->state;
    if (!s->begun) {
        if (tpl_to_list(rt, &s->over, &s->all) < 0 ||
            tpl_as_int(rt, &s->count, "filter 'slice': the number of slices", &s->slices) < 0)
            return -1;
        if (s->slices == 0)
            return tpl_type_error(rt, "filter 'slice' cannot make zero slices");
        s->begun = true;
    }
    if (s->number >= s->slices || tpl_new_list(rt, V_LIST, 0, out) < 0)
        return s->number >= s->slices ? 0 : -1;
    int64_t len = (int64_t)s->all.u.list->len, each = len / s->slices, extra = len % s->slices;
    int64_t from = s->offset + s->number * each;
    s->offset += s->number < extra;
    for (int64_t to = s->offset + (s->number + 1) * each; from < to; from++) {
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, out->u.list, s->all.u.list->items[from]) < 0)
            return -1;
    }
    if (tpl_set(&s->fill) && s->number >= extra && tpl_list_add(rt, out->u.list, s->fill) < 0)
        return -1;
    s->number++;
    return tpl_charge(rt, 1) < 0 ? -1 : 1;
}

static FILTER(f_slice) {
    struct slice *s = tpl_alloc(rt, sizeof(*s));
    if (!s)
        return -1;
    s->over = c->self;
    s->count = c->a[0];
    s->fill = c->a[1];
    return tpl_new_gen(rt, "generator", next_slice, s, out);
}

/* ---- items and attr ---- */
struct items { tpl_value_t over; size_t at; };

static int next_items(struct tpl_rt *rt, struct tpl_gen *g, tpl_value_t *out) {
    struct items *s = g->state;
    if (s->over.kind == V_UNDEF)
        return 0;
    if (s->over.kind != V_DICT)
        return tpl_type_error(rt, "filter 'items' needs a mapping, not a value of type '%s'", tpl_type_name(&s->over));
    if (s->at >= s->over.u.dict->len)
        return 0;
    const struct tpl_pair *p = &s->over.u.dict->pairs[s->at++];
    return tpl_charge(rt, 1) < 0 || tpl_pair(rt, p->key, p->value, out) < 0 ? -1 : 1;
}

static FILTER(f_items) {
    struct items *s = tpl_alloc(rt, sizeof(*s));
    if (!s)
        return -1;
    s->over = c->self;
    return tpl_new_gen(rt, "generator", next_items, s, out);
}

/* Like x.name, but keys of a dictionary are no attributes. */
static FILTER(f_attr) {
    const tpl_value_t *name = &c->a[0];
    if (tpl_want_text(rt, "filter 'attr': the name", name) < 0)
        return -1;
    bool hidden = name->len && name->u.s[0] == '_' && (name->len < 2 || name->u.s[1] != '_');
    if (hidden || (c->self.kind == V_DICT && !(name->len && name->u.s[0] == '_') &&
                   !tpl_method_find(&c->self, name->u.s, name->len))) {
        _cleanup_buf_ buf_t b = BUF_INIT(4096);
        buf_printf(&b, "'%s object' has no attribute '%.*s'", tpl_type_name(&c->self), (int)(name->len > 200 ? 200 : name->len),
                   name->u.s);
        return c->self.kind == V_UNDEF ? tpl_undefined_error(rt, &c->self) : tpl_undefined_value(rt, buf_cstr(&b), out);
    }
    return tpl_getattr(rt, &c->self, name->u.s, name->len, out);
}

const struct tpl_row tpl_list_filters[] = {
    { "length", f_length, "", 0 }, { "count", f_length, "", 0 }, { "list", f_list, "", 0 }, { "first", f_first, "", 0 },
    { "last", f_last, "", 0 }, { "random", f_random, "", 0 }, { "join", f_join, "d,attribute", 0 },
    { "reverse", f_reverse, "", 0 }, { "batch", f_batch, "linecount,fill_with", 1 },
    { "slice", f_slice, "slices,fill_with", 1 }, { "items", f_items, "", 0 }, { "attr", f_attr, "name", 1 }, { 0 },
};
