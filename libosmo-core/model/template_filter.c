/* Filters and methods on text, and the lookup of filters. A new one is a function and a row. Used by template_call.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

#define OUT_BUF(b) buf_t b = BUF_INIT(rt->limits.max_output)

static int self_text(struct tpl_rt *rt, struct tpl_call *c) { return tpl_text(rt, &c->self, &c->self); }

static int f_case(struct tpl_rt *rt, struct tpl_call *c, enum tpl_case to, tpl_value_t *out) {
    OUT_BUF(b);
    if (self_text(rt, c) < 0)
        return -1;
    tpl_case_append(&b, c->self.u.s, c->self.len, to);
    return tpl_str_take(rt, &b, out);
}
static int f_upper(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return f_case(rt, c, CASE_UPPER, out); }
static int f_lower(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return f_case(rt, c, CASE_LOWER, out); }

static int f_capitalize(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    OUT_BUF(b);
    if (self_text(rt, c) < 0)
        return -1;
    size_t n = c->self.len ? tpl_char_len(c->self.u.s, c->self.u.s + c->self.len) : 0;
    tpl_case_append(&b, c->self.u.s, n, CASE_UPPER);
    tpl_case_append(&b, c->self.u.s + n, c->self.len - n, CASE_LOWER);
    return tpl_str_take(rt, &b, out);
}

static int f_title(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    OUT_BUF(b);
    bool begin = true;
    if (self_text(rt, c) < 0)
        return -1;
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end;) {
        size_t n = tpl_char_len(s, end);
        tpl_case_append(&b, s, n, begin ? CASE_UPPER : CASE_LOWER);
        begin = tpl_space(*s) || (*s && strchr("-({[<", *s));
        s += n;
    }
    return tpl_str_take(rt, &b, out);
}

static int f_trim(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    if (self_text(rt, c) < 0)
        return -1;
    const char *s = c->self.u.s, *end = s + c->self.len;
    bool set = tpl_set(&c->a[0]) && c->a[0].kind == V_STR;
#define STRIPS(ch) (set ? memchr(c->a[0].u.s, (ch), c->a[0].len) != NULL : tpl_space(ch))
    while (s < end && STRIPS(*s))
        s++;
    while (s < end && STRIPS(end[-1]))
        end--;
    *out = tpl_str(s, (size_t)(end - s));
    return 0;
}

static int f_replace(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    OUT_BUF(b);
    tpl_value_t from, to;
    int64_t count = -1;
    if (self_text(rt, c) < 0 || tpl_text(rt, &c->a[0], &from) < 0 || tpl_text(rt, &c->a[1], &to) < 0 ||
        (tpl_set(&c->a[2]) && tpl_as_int(rt, &c->a[2], "the count of replace", &count) < 0))
        return -1;
    const char *s = c->self.u.s, *end = s + c->self.len, *hit;
    while (count != 0 && s <= end && (hit = tpl_find(s, (size_t)(end - s), from.u.s, from.len))) {
        buf_append(&b, s, (size_t)(hit - s));
        buf_append(&b, to.u.s, to.len);
        s = hit + from.len;
        if (from.len == 0) {
            size_t n = s < end ? tpl_char_len(s, end) : 0;
            buf_append(&b, s, n);
            s += n ? n : 1;
        }
        count -= count > 0;
        if (buf_failed(&b))
            break;
    }
    if (s < end)
        buf_append(&b, s, (size_t)(end - s));
    return tpl_str_take(rt, &b, out);
}

static int f_string(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return tpl_text(rt, &c->self, out); }

static int f_default(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    bool truth = true, boolean = false;
    if (tpl_given(&c->a[1]) && tpl_truth(rt, &c->a[1], &boolean) < 0)
        return -1;
    if (c->self.kind != V_UNDEF && boolean && tpl_truth(rt, &c->self, &truth) < 0)
        return -1;
    *out = c->self.kind != V_UNDEF && truth ? c->self : tpl_given(&c->a[0]) ? c->a[0] : tpl_str("", 0);
    return 0;
}

static int f_int(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    int64_t base = 10, i;
    double f = NAN;
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    if (tpl_given(&c->a[1]) && tpl_as_int(rt, &c->a[1], "the base of int", &base) < 0)
        return -1;
    *out = tpl_given(&c->a[0]) ? c->a[0] : tpl_int(0);
    if (tpl_is_int(&c->self))
        *out = tpl_int(c->self.u.i);
    else if (c->self.kind == V_STR && tpl_text_to_int(c->self.u.s, c->self.len, (int)base, &i))
        *out = tpl_int(i);
    else if (c->self.kind == V_FLOAT || (c->self.kind == V_STR && tpl_text_to_float(c->self.u.s, c->self.len, &f))) {
        f = c->self.kind == V_FLOAT ? c->self.u.f : f;
        if (isfinite(f) && fabs(f) >= 9.2e18)
            return tpl_type_error(rt, "integer result does not fit 64 bits");
        if (isfinite(f))
            *out = tpl_int((int64_t)f);
    }
    return 0;
}

static int f_float(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    double f;
    if (c->self.kind == V_UNDEF)
        return tpl_undefined_error(rt, &c->self);
    *out = tpl_given(&c->a[0]) ? c->a[0] : tpl_float(0);
    if (tpl_is_int(&c->self))
        *out = tpl_float((double)c->self.u.i);
    else if (c->self.kind == V_FLOAT)
        *out = c->self;
    else if (c->self.kind == V_STR && tpl_text_to_float(c->self.u.s, c->self.len, &f))
        *out = tpl_float(f);
    return 0;
}

static int f_length(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    int64_t n;
    if (tpl_length(rt, &c->self, &n) < 0)
        return -1;
    *out = tpl_int(n);
    return 0;
}

static int f_list(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return tpl_to_list(rt, &c->self, out); }

static int f_first(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_iter it;
    if (tpl_iter_init(rt, &c->self, &it) < 0)
        return -1;
    return tpl_iter_next(&it, out) ? 0 : tpl_type_error(rt, "an empty sequence has no first item");
}

static int f_last(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t list;
    if (tpl_to_list(rt, &c->self, &list) < 0)
        return -1;
    if (!list.u.list->len)
        return tpl_type_error(rt, "an empty sequence has no last item");
    *out = list.u.list->items[list.u.list->len - 1];
    return 0;
}

static int join_items(struct tpl_rt *rt, const tpl_value_t *over, const tpl_value_t *sep, const tpl_value_t *path,
                      tpl_value_t *out) {
    OUT_BUF(b);
    struct tpl_iter it;
    tpl_value_t v;
    bool first = true;
    int rc = tpl_iter_init(rt, over, &it);
    while (rc == 0 && tpl_iter_next(&it, &v)) {
        if (!first && tpl_given(sep))
            rc = tpl_print(rt, sep, &b);
        first = false;
        if (rc == 0 && tpl_set(path))
            rc = tpl_attribute_path(rt, &v, path, &v);
        if (rc == 0)
            rc = tpl_print(rt, &v, &b);
    }
    if (rc == 0)
        return tpl_str_take(rt, &b, out);
    buf_free(&b);
    return rc;
}

static int f_join(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return join_items(rt, &c->self, &c->a[0], &c->a[1], out); }

static int m_join(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    tpl_value_t none = { .kind = V_ABSENT };
    return join_items(rt, &c->a[0], &c->self, &none, out);
}

static int m_split(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    int64_t max = -1;
    bool blanks = !tpl_set(&c->a[0]);
    if (tpl_new_list(rt, V_LIST, 0, out) < 0 || (tpl_given(&c->a[1]) && tpl_as_int(rt, &c->a[1], "maxsplit", &max) < 0))
        return -1;
    if (!blanks && (c->a[0].kind != V_STR || c->a[0].len == 0))
        return tpl_type_error(rt, "split() needs a separator that is a text and not empty");
    for (;;) {
        while (blanks && s < end && tpl_space(*s))
            s++;
        if (blanks && s == end)
            return 0;
        const char *hit = NULL;
        if (max != 0 && !blanks)
            hit = tpl_find(s, (size_t)(end - s), c->a[0].u.s, c->a[0].len);
        for (const char *q = s; max != 0 && blanks && !hit && q < end; q++)
            hit = tpl_space(*q) ? q : NULL;
        const char *stop = hit ? hit : end;
        while (blanks && !hit && stop > s && tpl_space(stop[-1]))
            stop--;
        if (tpl_charge(rt, 1) < 0 || tpl_list_add(rt, out->u.list, tpl_str(s, (size_t)(stop - s))) < 0)
            return -1;
        if (!hit)
            return 0;
        s = hit + (blanks ? 1 : c->a[0].len);
        max -= max > 0;
    }
}

static int m_affix(struct tpl_rt *rt, struct tpl_call *c, bool front, tpl_value_t *out) {
    const tpl_value_t *x = &c->a[0];
    if (x->kind != V_STR)
        return tpl_type_error(rt, "%s() needs a text", front ? "startswith" : "endswith");
    *out = tpl_bool(x->len <= c->self.len && memcmp(front ? c->self.u.s : c->self.u.s + c->self.len - x->len, x->u.s, x->len) == 0);
    return 0;
}
static int m_startswith(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return m_affix(rt, c, true, out); }
static int m_endswith(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) { return m_affix(rt, c, false, out); }

int tpl_attribute_path(struct tpl_rt *rt, const tpl_value_t *item, const tpl_value_t *path, tpl_value_t *out) {
    tpl_value_t at = *item;
    if (path->kind != V_STR)
        return tpl_getitem(rt, item, path, out);
    for (const char *p = path->u.s, *end = p + path->len; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t n = (size_t)((dot ? dot : end) - p);
        int64_t i;
        tpl_value_t key = tpl_str(p, n), from = at;
        if (n && p[0] >= '0' && p[0] <= '9' && tpl_text_to_int(p, n, 10, &i))
            key = tpl_int(i);
        if (tpl_getitem(rt, &from, &key, &at) < 0)
            return -1;
        p += n + 1;
    }
    *out = at;
    return 0;
}

/* One % conversion with its flags, through the C library for numbers. */
static int format_one(struct tpl_rt *rt, const char *spec, size_t n, const tpl_value_t *v, buf_t *b) {
    char f[40], kind = spec[n - 1];
    if (n > 30)
        return tpl_type_error(rt, "the %% conversion is too long");
    if (kind == 's' || kind == 'r') {
        tpl_value_t t;
        if (n != 2)
            return tpl_type_error(rt, "'%.*s' is not supported: %%%c takes no width", (int)n, spec, kind);
        return kind == 'r' ? tpl_repr(rt, v, b) : tpl_text(rt, v, &t) < 0 ? -1 : buf_append(b, t.u.s, t.len);
    }
    if (!tpl_is_number(v))
        return tpl_type_error(rt, "%%%c needs a number, not a value of type '%s'", kind, tpl_type_name(v));
    if (atoi(spec + 1 + strspn(spec + 1, "-+ #0")) > 1000)
        return tpl_type_error(rt, "the %% conversion is too wide");
    memcpy(f, spec, n - 1);
    bool whole = strchr("diouxX", kind) != NULL;
    snprintf(f + n - 1, sizeof(f) - (n - 1), whole ? "ll%c" : "%c", kind == 'i' || kind == 'u' ? 'd' : kind);
    char text[1400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (whole)
        snprintf(text, sizeof(text), f, v->kind == V_FLOAT ? (long long)v->u.f : (long long)v->u.i);
    else
        snprintf(text, sizeof(text), f, v->kind == V_FLOAT ? v->u.f : (double)v->u.i);
#pragma GCC diagnostic pop
    return buf_puts(b, text);
}

int tpl_percent_format(struct tpl_rt *rt, const tpl_value_t *format, const tpl_value_t *args, tpl_value_t *out) {
    OUT_BUF(b);
    size_t used = 0, n_args = args->kind == V_TUPLE ? args->u.list->len : 1;
    int rc = 0;
    for (const char *p = format->u.s, *end = p + format->len; rc >= 0 && p < end;) {
        if (*p != '%') {
            buf_putc(&b, *p++);
            continue;
        }
        size_t n = 1 + strspn(p + 1, "-+ #0123456789.");
        if (p + n >= end || !strchr("srdiuxXoeEfFgG%", p[n])) {
            rc = tpl_type_error(rt, "unsupported %% conversion in a text");
        } else if (p[n] == '%') {
            buf_putc(&b, '%');
        } else if (used == n_args) {
            rc = tpl_type_error(rt, "not enough arguments for the %% conversions of a text");
        } else {
            rc = format_one(rt, p, n + 1, args->kind == V_TUPLE ? &args->u.list->items[used] : args, &b);
            used++;
        }
        p += n + 1;
    }
    if (rc >= 0 && used < n_args && args->kind != V_DICT)
        rc = tpl_type_error(rt, "not all arguments were converted by the %% conversions of a text");
    if (rc >= 0)
        return tpl_str_take(rt, &b, out);
    buf_free(&b);
    return -1;
}

const struct tpl_row tpl_text_filters[] = {
    { "upper", f_upper, "", 0 }, { "lower", f_lower, "", 0 }, { "capitalize", f_capitalize, "", 0 }, { "title", f_title, "", 0 },
    { "trim", f_trim, "chars", 0 }, { "replace", f_replace, "old,new,count", 2 }, { "string", f_string, "", 0 },
    { "safe", f_string, "", 0 }, { "default", f_default, "default_value,boolean", 0 },
    { "d", f_default, "default_value,boolean", 0 }, { "int", f_int, "default,base", 0 }, { "float", f_float, "default", 0 },
    { "length", f_length, "", 0 }, { "count", f_length, "", 0 }, { "list", f_list, "", 0 }, { "first", f_first, "", 0 },
    { "last", f_last, "", 0 }, { "join", f_join, "d,attribute", 0 }, { 0 },
};
const struct tpl_row tpl_str_methods[] = {
    { "upper", f_upper, "", 0 }, { "lower", f_lower, "", 0 }, { "capitalize", f_capitalize, "", 0 },
    { "strip", f_trim, "chars", 0 }, { "replace", f_replace, "old,new,count", 2 }, { "split", m_split, "sep,maxsplit", 0 },
    { "join", m_join, "iterable", 1 }, { "startswith", m_startswith, "prefix", 1 }, { "endswith", m_endswith, "suffix", 1 },
    { "format", NULL, NULL, 0 }, { 0 },
};
const struct tpl_row *tpl_filter_find(const char *name, size_t len) { return tpl_row_find(tpl_text_filters, name, len); }
