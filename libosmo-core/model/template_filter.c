/* Filters on plain text, and the lookup of all filters. A new one is a function and a row. Used by the parser, by map and
 * by the test `filter`. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

/* ---- what filters share ---- */
int tpl_want_text(struct tpl_rt *rt, const char *what, const tpl_value_t *v) {
    if (v->kind == V_STR)
        return 0;
    if (v->kind == V_UNDEF)
        return tpl_undefined_error(rt, v);
    return tpl_type_error(rt, "%s needs a text, not a value of type '%s'", what, tpl_type_name(v));
}

int tpl_arg_int(struct tpl_rt *rt, const tpl_value_t *v, const char *what, int64_t absent, int64_t *out) {
    *out = absent;
    return tpl_given(v) ? tpl_as_int(rt, v, what, out) : 0;
}

int tpl_arg_bool(struct tpl_rt *rt, const tpl_value_t *v, bool absent, bool *out) {
    *out = absent;
    return tpl_given(v) ? tpl_truth(rt, v, out) : 0;
}

/* ---- letter case ---- */
static int change_case(struct tpl_rt *rt, struct tpl_call *c, enum tpl_case to, tpl_value_t *out) {
    OUT_BUF(b);
    tpl_value_t t;
    if (tpl_soft_text(rt, &c->self, &t) < 0)
        return -1;
    tpl_case_append(&b, t.u.s, t.len, to);
    return tpl_take_like(rt, &b, &t, out);
}
static FILTER(f_upper) { return change_case(rt, c, CASE_UPPER, out); }
static FILTER(f_lower) { return change_case(rt, c, CASE_LOWER, out); }

static FILTER(f_capitalize) {
    OUT_BUF(b);
    tpl_value_t t;
    if (tpl_soft_text(rt, &c->self, &t) < 0)
        return -1;
    size_t n = t.len ? tpl_char_len(t.u.s, t.u.s + t.len) : 0;
    tpl_title_append(&b, t.u.s, n);
    tpl_case_append(&b, t.u.s + n, t.len - n, CASE_LOWER);
    return tpl_take_like(rt, &b, &t, out);
}

static bool word_break(const char *s, const char *end) {
    return tpl_space_len(s, end) || (*s && strchr("-({[<", *s));
}

/* Words and what stands between them take turns; each begins with an upper case letter and goes on in lower case. */
static FILTER(f_title) {
    OUT_BUF(b);
    tpl_value_t t;
    if (tpl_soft_text(rt, &c->self, &t) < 0)
        return -1;
    for (const char *s = t.u.s, *end = s + t.len; s < end;) {
        size_t n = tpl_char_len(s, end);
        const char *from = s + n, *to = from;
        bool between = word_break(s, end);
        while (to < end && word_break(to, end) == between)
            to += tpl_char_len(to, end);
        tpl_case_append(&b, s, n, CASE_UPPER);
        tpl_case_append(&b, from, (size_t)(to - from), CASE_LOWER);
        s = to;
    }
    return tpl_str_take(rt, &b, out);
}

/* ---- trim, replace, string, default ---- */
static bool one_of(const tpl_value_t *chars, const char *s, size_t n) {
    for (const char *p = chars->u.s, *end = p + chars->len; p < end;) {
        size_t len = tpl_char_len(p, end);
        if (len == n && memcmp(p, s, n) == 0)
            return true;
        p += len;
    }
    return false;
}

static FILTER(f_trim) {
    tpl_value_t t, chars;
    if (tpl_soft_text(rt, &c->self, &t) < 0)
        return -1;
    const char *s = t.u.s, *end = s + t.len;
    if (!tpl_set(&c->a[0])) {
        tpl_strip(&s, &end);
    } else {
        if (tpl_want_text(rt, "filter 'trim': the characters", &c->a[0]) < 0 ||
            ((t.flags & V_FLAG_SAFE) ? tpl_escape(rt, &c->a[0], &chars) : tpl_text(rt, &c->a[0], &chars)) < 0 ||
            tpl_charge(rt, (size_t)t.len * chars.len / 64) < 0)
            return -1;
        while (s < end && one_of(&chars, s, tpl_char_len(s, end)))
            s += tpl_char_len(s, end);
        while (end > s) {
            const char *p = end - 1;
            while (p > s && ((unsigned char)*p & 0xc0) == 0x80)
                p--;
            if (!one_of(&chars, p, (size_t)(end - p)))
                break;
            end = p;
        }
    }
    *out = tpl_str(s, (size_t)(end - s));
    out->flags = t.flags;
    return 0;
}

/* Where output is escaped: as the method, on a text that is safe when a part put into it is. */
static int replace_escaped(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out) {
    struct tpl_args args = { .n_pos = tpl_set(&c->a[2]) ? 3 : 2 };
    tpl_value_t self;
    bool old_safe = c->a[0].kind == V_STR && (c->a[0].flags & V_FLAG_SAFE);
    bool new_safe = c->a[1].kind == V_STR && (c->a[1].flags & V_FLAG_SAFE);
    if ((old_safe || new_safe ? tpl_escape(rt, &c->self, &self) : tpl_soft_text(rt, &c->self, &self)) < 0 ||
        tpl_soft_text(rt, &c->a[0], &args.pos[0]) < 0 || tpl_soft_text(rt, &c->a[1], &args.pos[1]) < 0)
        return -1;
    args.pos[2] = c->a[2];
    return tpl_call_row(rt, "filter", tpl_method_find(&self, "replace", 7), &self, &args, out);
}

static FILTER(f_replace) {
    OUT_BUF(b);
    tpl_value_t t, from, to;
    int64_t count = -1;
    if (rt->autoescape)
        return replace_escaped(rt, c, out);
    if (tpl_text(rt, &c->self, &t) < 0 || tpl_text(rt, &c->a[0], &from) < 0 || tpl_text(rt, &c->a[1], &to) < 0 ||
        (tpl_set(&c->a[2]) && tpl_as_int(rt, &c->a[2], "filter 'replace': the count", &count) < 0))
        return -1;
    const char *s = t.u.s, *end = s + t.len, *hit;
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
        if (buf_failed(&b) || tpl_charge(rt, 1) < 0)
            break;
    }
    if (s < end)
        buf_append(&b, s, (size_t)(end - s));
    return tpl_str_take(rt, &b, out);
}

static FILTER(f_string) { return tpl_soft_text(rt, &c->self, out); }

static FILTER(f_default) {
    bool truth = true, boolean = false;
    if (c->self.kind != V_UNDEF && (tpl_arg_bool(rt, &c->a[1], false, &boolean) < 0 ||
                                    (boolean && tpl_truth(rt, &c->self, &truth) < 0)))
        return -1;
    *out = c->self.kind != V_UNDEF && truth ? c->self : tpl_given(&c->a[0]) ? c->a[0] : tpl_str("", 0);
    return 0;
}

static const struct tpl_row text_filters[] = {
    { "upper", f_upper, "", 0 }, { "lower", f_lower, "", 0 }, { "capitalize", f_capitalize, "", 0 }, { "title", f_title, "", 0 },
    { "trim", f_trim, "chars", 0 }, { "replace", f_replace, "old,new,count", 2 }, { "string", f_string, "", 0 },
    { "default", f_default, "default_value,boolean", 0 }, { "d", f_default, "default_value,boolean", 0 }, { 0 },
};

const struct tpl_row *tpl_filter_find(const char *name, size_t len) {
    static const struct tpl_row *const tables[] = {
        text_filters, tpl_list_filters, tpl_pick_filters, tpl_sort_filters, tpl_number_filters, tpl_format_filters,
        tpl_wrap_filters, tpl_html_filters, tpl_urlize_filters, tpl_dump_filters,
    };
    const struct tpl_row *row = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(tables) && !row; i++)
        row = tpl_row_find(tables[i], name, len);
    return row;
}
