/* Methods of text, as Python's str has them. Safe text (already escaped) stays safe and escapes what it is joined with.
 * A new one is a function and a row; parameters that Python takes only by position are named by their number. Used by
 * template_methods.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

#define METHOD(name) static int name(struct tpl_rt *rt, struct tpl_call *c, tpl_value_t *out)

/* An argument that must be a text; escaped where the text itself is safe. */
static int text_arg(struct tpl_rt *rt, struct tpl_call *c, int i, const char *what) {
    if (tpl_want_text(rt, what, &c->a[i]) < 0)
        return -1;
    tpl_value_t in = c->a[i];
    return (c->self.flags & V_FLAG_SAFE) ? tpl_escape(rt, &in, &c->a[i]) : 0;
}

static int take(struct tpl_rt *rt, const struct tpl_call *c, buf_t *b, tpl_value_t *out) {
    if (tpl_charge(rt, c->self.len / 16) < 0) {
        buf_free(b);
        return -1;
    }
    return tpl_take_like(rt, b, &c->self, out);
}

static tpl_value_t part(const struct tpl_call *c, const char *from, const char *to) {
    tpl_value_t v = tpl_str(from, (size_t)(to - from));
    v.flags = c->self.flags & V_FLAG_SAFE;
    return v;
}

/* ---- letter case ---- */
METHOD(str_upper) {
    OUT_BUF(b);
    tpl_case_append(&b, c->self.u.s, c->self.len, CASE_UPPER);
    return take(rt, c, &b, out);
}
METHOD(str_lower) {
    OUT_BUF(b);
    tpl_case_append(&b, c->self.u.s, c->self.len, CASE_LOWER);
    return take(rt, c, &b, out);
}

METHOD(str_casefold) {
    OUT_BUF(b);
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end;) {
        size_t n;
        uint32_t ch = tpl_char_get(s, end, &n);
        buf_t up = BUF_INIT(64);
        tpl_case_append(&up, s, n, CASE_UPPER);
        if (ch == 0x1e9e)
            buf_puts(&b, "ss");
        else if (ch == 0x131)
            buf_append(&b, s, n);
        else if ((ch >= 0x13a0 && ch <= 0x13fd) || (ch >= 0xab70 && ch <= 0xabbf)) /* Cherokee folds to capitals */
            buf_append(&b, buf_cstr(&up), up.len);
        else if (ch < 0x80 || !up.len)
            tpl_case_append(&b, s, n, CASE_LOWER);
        else
            tpl_case_append(&b, buf_cstr(&up), up.len, CASE_LOWER);
        buf_free(&up);
        s += n;
        if (buf_failed(&b))
            break;
    }
    return tpl_str_take(rt, &b, out);
}

METHOD(str_capitalize) {
    OUT_BUF(b);
    const char *s = c->self.u.s;
    size_t n = c->self.len ? tpl_char_len(s, s + c->self.len) : 0;
    if (n)
        tpl_title_append(&b, s, n);
    tpl_case_append(&b, s + n, c->self.len - n, CASE_LOWER);
    return take(rt, c, &b, out);
}

METHOD(str_title) {
    OUT_BUF(b);
    bool inside = false;
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end;) {
        size_t n;
        bool cased = tpl_char_case(tpl_char_get(s, end, &n)) != 0;
        if (inside)
            tpl_case_append(&b, s, n, CASE_LOWER);
        else
            tpl_title_append(&b, s, n);
        inside = cased;
        s += n;
    }
    return take(rt, c, &b, out);
}

METHOD(str_swapcase) {
    OUT_BUF(b);
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end;) {
        size_t n;
        int is = tpl_char_case(tpl_char_get(s, end, &n));
        if (is == 'u' || is == 'l')
            tpl_case_append(&b, s, n, is == 'u' ? CASE_LOWER : CASE_UPPER);
        else
            buf_append(&b, s, n);
        s += n;
    }
    return take(rt, c, &b, out);
}

/* ---- padding ---- */
static int pad(struct tpl_rt *rt, struct tpl_call *c, const char *what, size_t left, size_t right, tpl_value_t *out) {
    OUT_BUF(b);
    tpl_value_t fill = tpl_str(" ", 1);
    if (tpl_given(&c->a[1])) {
        if (tpl_want_text(rt, what, &c->a[1]) < 0)
            return -1;
        if (tpl_char_count(c->a[1].u.s, c->a[1].len) != 1)
            return tpl_type_error(rt, "%s() needs one character to fill with", what);
        if (text_arg(rt, c, 1, what) < 0)
            return -1;
        fill = c->a[1];
    }
    if (left + right > rt->limits.max_output)
        return tpl_fail(rt, OSMO_EUSAGE, "%s() makes a text longer than %zu bytes", what, rt->limits.max_output);
    if (tpl_charge(rt, (left + right) / 16) < 0)
        return -1;
    while (left-- && !buf_failed(&b))
        buf_append(&b, fill.u.s, fill.len);
    buf_append(&b, c->self.u.s, c->self.len);
    while (right-- && !buf_failed(&b))
        buf_append(&b, fill.u.s, fill.len);
    return take(rt, c, &b, out);
}

/* Characters missing to the wanted width. */
static int lacking(struct tpl_rt *rt, struct tpl_call *c, const char *what, size_t *width, size_t *out) {
    int64_t want;
    size_t have = tpl_char_count(c->self.u.s, c->self.len);
    if (tpl_as_int(rt, &c->a[0], what, &want) < 0)
        return -1;
    *width = want > 0 ? (size_t)want : 0;
    *out = *width > have ? *width - have : 0;
    return tpl_charge(rt, c->self.len / 64);
}

METHOD(str_ljust) {
    size_t width, n;
    return lacking(rt, c, "the width of ljust()", &width, &n) < 0 ? -1 : pad(rt, c, "ljust", 0, n, out);
}
METHOD(str_rjust) {
    size_t width, n;
    return lacking(rt, c, "the width of rjust()", &width, &n) < 0 ? -1 : pad(rt, c, "rjust", n, 0, out);
}
METHOD(str_center) {
    size_t width, n;
    if (lacking(rt, c, "the width of center()", &width, &n) < 0)
        return -1;
    size_t left = n / 2 + (n & width & 1);
    return pad(rt, c, "center", left, n - left, out);
}

METHOD(str_zfill) {
    OUT_BUF(b);
    size_t width, n;
    if (lacking(rt, c, "the width of zfill()", &width, &n) < 0)
        return -1;
    bool sign = c->self.len && (c->self.u.s[0] == '-' || c->self.u.s[0] == '+');
    if (n > rt->limits.max_output)
        return tpl_fail(rt, OSMO_EUSAGE, "zfill() makes a text longer than %zu bytes", rt->limits.max_output);
    buf_append(&b, c->self.u.s, sign);
    while (n-- && !buf_failed(&b))
        buf_putc(&b, '0');
    buf_append(&b, c->self.u.s + sign, c->self.len - sign);
    return take(rt, c, &b, out);
}

METHOD(str_expandtabs) {
    OUT_BUF(b);
    int64_t size, column = 0;
    if (tpl_arg_int(rt, &c->a[0], "the size of expandtabs()", 8, &size) < 0)
        return -1;
    if (size > INT32_MAX || size < INT32_MIN)
        return tpl_type_error(rt, "the size of expandtabs() is too large");
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end && !buf_failed(&b);) {
        size_t n = tpl_char_len(s, end);
        if (*s == '\t') {
            int64_t blanks = size > 0 ? size - column % size : 0;
            if (blanks > (int64_t)rt->limits.max_output)
                blanks = (int64_t)rt->limits.max_output + 1;
            for (column += blanks; blanks > 0 && !buf_failed(&b); blanks--)
                buf_putc(&b, ' ');
        } else {
            buf_append(&b, s, n);
            column = *s == '\n' || *s == '\r' ? 0 : column + 1;
        }
        s += n;
    }
    return take(rt, c, &b, out);
}

/* ---- searching ---- */
/* Bytes from `from` to `to` named by the arguments a[at] and a[at + 1]; *start is the first one's character. False: the
 * range is behind the end, so that even the empty text is not in it. */
static int range_of(struct tpl_rt *rt, struct tpl_call *c, int at, const char **from, const char **to, int64_t *start, bool *valid) {
    int64_t n = (int64_t)tpl_char_count(c->self.u.s, c->self.len), bound[2] = { 0, n };
    for (int i = 0; i < 2; i++) {
        if (!tpl_set(&c->a[at + i]))
            continue;
        if (tpl_as_int(rt, &c->a[at + i], "a position", &bound[i]) < 0)
            return -1;
        bound[i] = bound[i] < 0 ? bound[i] + n : bound[i];
        if (bound[i] < 0)
            bound[i] = 0;
    }
    if (bound[1] > n)
        bound[1] = n;
    *valid = bound[0] <= bound[1];
    *start = bound[0];
    *from = c->self.u.s + (*valid ? tpl_char_offset(c->self.u.s, c->self.len, (size_t)bound[0]) : 0);
    *to = *valid ? *from + tpl_char_offset(*from, (size_t)(c->self.u.s + c->self.len - *from), (size_t)(bound[1] - bound[0])) : *from;
    return tpl_charge(rt, 1 + c->self.len / 32);
}

/* Charged by what is compared, since many places may be nearly alike. */
static const char *find_last(struct tpl_rt *rt, const char *s, const char *end, const tpl_value_t *needle) {
    size_t len = needle->len;
    if (len > (size_t)(end - s))
        return NULL;
    for (const char *p = end - len;; p--) {
        if (!len || (*p == *needle->u.s && p[len - 1] == needle->u.s[len - 1])) {
            if (tpl_charge(rt, 1 + len / 64) < 0)
                return NULL;
            if (memcmp(p, needle->u.s, len) == 0)
                return p;
        }
        if (p == s)
            return NULL;
    }
}

static int search(struct tpl_rt *rt, struct tpl_call *c, const char *what, bool last, bool must, tpl_value_t *out) {
    const char *from, *to, *hit = NULL;
    int64_t start;
    bool valid;
    if (tpl_want_text(rt, what, &c->a[0]) < 0 || range_of(rt, c, 1, &from, &to, &start, &valid) < 0)
        return -1;
    if (last && tpl_charge(rt, c->self.len / 8) < 0)
        return -1;
    if (valid)
        hit = last ? find_last(rt, from, to, &c->a[0]) : tpl_find(from, (size_t)(to - from), c->a[0].u.s, c->a[0].len);
    if (rt->code)
        return -1;
    if (!hit && must)
        return tpl_type_error(rt, "%s(): the text is not in it", what);
    *out = tpl_int(hit ? start + (int64_t)tpl_char_count(from, (size_t)(hit - from)) : -1);
    return 0;
}
METHOD(str_find) { return search(rt, c, "find", false, false, out); }
METHOD(str_rfind) { return search(rt, c, "rfind", true, false, out); }
METHOD(str_index) { return search(rt, c, "index", false, true, out); }
METHOD(str_rindex) { return search(rt, c, "rindex", true, true, out); }

METHOD(str_count) {
    const char *from, *to, *hit;
    int64_t start, n = 0;
    bool valid;
    if (tpl_want_text(rt, "count", &c->a[0]) < 0 || range_of(rt, c, 1, &from, &to, &start, &valid) < 0)
        return -1;
    if (valid && !c->a[0].len)
        n = (int64_t)tpl_char_count(from, (size_t)(to - from)) + 1;
    while (valid && c->a[0].len && (hit = tpl_find(from, (size_t)(to - from), c->a[0].u.s, c->a[0].len))) {
        n++;
        from = hit + c->a[0].len;
    }
    *out = tpl_int(n);
    return 0;
}

static bool has_affix(const char *from, const char *to, const tpl_value_t *x, bool front) {
    return x->len <= (size_t)(to - from) && memcmp(front ? from : to - x->len, x->u.s, x->len) == 0;
}

static int affix(struct tpl_rt *rt, struct tpl_call *c, const char *what, bool front, tpl_value_t *out) {
    const tpl_value_t *x = &c->a[0];
    const char *from, *to;
    int64_t start;
    bool valid, hit = false;
    if (range_of(rt, c, 1, &from, &to, &start, &valid) < 0)
        return -1;
    for (size_t i = 0; i < (x->kind == V_TUPLE ? x->u.list->len : 1) && !hit; i++) {
        const tpl_value_t *one = x->kind == V_TUPLE ? &x->u.list->items[i] : x;
        if (tpl_want_text(rt, what, one) < 0)
            return -1;
        hit = valid && has_affix(from, to, one, front);
    }
    *out = tpl_bool(hit);
    return 0;
}
METHOD(str_startswith) { return affix(rt, c, "startswith", true, out); }
METHOD(str_endswith) { return affix(rt, c, "endswith", false, out); }

METHOD(str_removeprefix) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    if (tpl_want_text(rt, "removeprefix", &c->a[0]) < 0)
        return -1;
    *out = part(c, has_affix(s, end, &c->a[0], true) ? s + c->a[0].len : s, end);
    return 0;
}
METHOD(str_removesuffix) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    if (tpl_want_text(rt, "removesuffix", &c->a[0]) < 0)
        return -1;
    *out = part(c, s, has_affix(s, end, &c->a[0], false) ? end - c->a[0].len : end);
    return 0;
}

METHOD(str_replace) {
    OUT_BUF(b);
    int64_t count = -1;
    if (text_arg(rt, c, 0, "replace") < 0 || text_arg(rt, c, 1, "replace") < 0 ||
        tpl_arg_int(rt, &c->a[2], "the count of replace()", -1, &count) < 0)
        return -1;
    const tpl_value_t *from = &c->a[0], *to = &c->a[1];
    const char *s = c->self.u.s, *end = s + c->self.len, *hit;
    while (count != 0 && s <= end && !buf_failed(&b) && (hit = tpl_find(s, (size_t)(end - s), from->u.s, from->len))) {
        buf_append(&b, s, (size_t)(hit - s));
        buf_append(&b, to->u.s, to->len);
        s = hit + from->len;
        if (from->len == 0) { /* between any two characters */
            size_t n = s < end ? tpl_char_len(s, end) : 0;
            buf_append(&b, s, n);
            s += n ? n : 1;
        }
        count -= count > 0;
    }
    if (s < end)
        buf_append(&b, s, (size_t)(end - s));
    return take(rt, c, &b, out);
}

/* ---- stripping ---- */
static bool in_set(struct tpl_rt *rt, const tpl_value_t *set, const char *s, size_t n) {
    if (tpl_charge(rt, 1 + set->len / 16) < 0)
        return false;
    for (const char *p = set->u.s, *end = p + set->len; p < end;) {
        size_t m = tpl_char_len(p, end);
        if (m == n && memcmp(p, s, n) == 0)
            return true;
        p += m;
    }
    return false;
}

static int strip(struct tpl_rt *rt, struct tpl_call *c, bool left, bool right, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len, *from = s, *to = end;
    if (!tpl_set(&c->a[0])) {
        tpl_strip(&from, &to);
    } else {
        if (tpl_want_text(rt, "strip", &c->a[0]) < 0)
            return -1;
        while (from < to && in_set(rt, &c->a[0], from, tpl_char_len(from, to)))
            from += tpl_char_len(from, to);
        while (to > from) {
            const char *q = to - 1;
            while (q > from && ((unsigned char)*q & 0xc0) == 0x80)
                q--;
            if (!in_set(rt, &c->a[0], q, (size_t)(to - q)))
                break;
            to = q;
        }
    }
    if (rt->code)
        return -1;
    if (left && right)
        *out = part(c, from, to);
    else if (from == to) /* everything goes */
        *out = part(c, s, s);
    else
        *out = left ? part(c, from, end) : part(c, s, to);
    return 0;
}
METHOD(str_strip) { return strip(rt, c, true, true, out); }
METHOD(str_lstrip) { return strip(rt, c, true, false, out); }
METHOD(str_rstrip) { return strip(rt, c, false, true, out); }

/* ---- splitting and joining ---- */
static int add(struct tpl_rt *rt, const struct tpl_call *c, tpl_value_t *list, const char *from, const char *to) {
    return tpl_charge(rt, 1) < 0 ? -1 : tpl_list_add(rt, list->u.list, part(c, from, to));
}

static int split_blanks(struct tpl_rt *rt, struct tpl_call *c, int64_t max, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    for (;;) {
        size_t n;
        while (s < end && (n = tpl_space_len(s, end)))
            s += n;
        if (s == end)
            return 0;
        const char *to = s;
        if (max-- == 0) {
            const char *first = s, *last = end;
            tpl_strip(&first, &last);
            return add(rt, c, out, s, last);
        }
        while (to < end && !tpl_space_len(to, end))
            to += tpl_char_len(to, end);
        if (add(rt, c, out, s, to) < 0)
            return -1;
        s = to;
    }
}

/* From the right: pieces are found last first and turned round at the end. */
static int rsplit_blanks(struct tpl_rt *rt, struct tpl_call *c, int64_t max, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    for (;;) {
        const char *first = s;
        tpl_strip(&first, &end);
        if (first >= end)
            return 0;
        if (max-- == 0)
            return add(rt, c, out, s, end);
        const char *from = end;
        while (from > first) {
            const char *q = from - 1;
            while (q > first && ((unsigned char)*q & 0xc0) == 0x80)
                q--;
            if (tpl_space_len(q, end))
                break;
            from = q;
        }
        if (add(rt, c, out, from, end) < 0 || tpl_charge(rt, (size_t)(first - s)) < 0)
            return -1;
        end = from;
    }
}

static int split_by(struct tpl_rt *rt, struct tpl_call *c, int64_t max, bool right, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len, *hit;
    const tpl_value_t *sep = &c->a[0];
    if (!sep->len)
        return tpl_type_error(rt, "split() needs a separator that is not empty");
    if (right && tpl_charge(rt, c->self.len / 8) < 0)
        return -1;
    while (max-- != 0) {
        hit = right ? find_last(rt, s, end, sep) : tpl_find(s, (size_t)(end - s), sep->u.s, sep->len);
        if (rt->code)
            return -1;
        if (!hit)
            break;
        if (add(rt, c, out, right ? hit + sep->len : s, right ? end : hit) < 0)
            return -1;
        if (right)
            end = hit;
        else
            s = hit + sep->len;
    }
    return add(rt, c, out, s, end);
}

static int split(struct tpl_rt *rt, struct tpl_call *c, bool right, tpl_value_t *out) {
    int64_t max;
    if (tpl_new_list(rt, V_LIST, 0, out) < 0 || tpl_arg_int(rt, &c->a[1], "maxsplit", -1, &max) < 0)
        return -1;
    int rc;
    if (tpl_set(&c->a[0]))
        rc = text_arg(rt, c, 0, "split") < 0 ? -1 : split_by(rt, c, max, right, out);
    else
        rc = right ? rsplit_blanks(rt, c, max, out) : split_blanks(rt, c, max, out);
    struct tpl_list *l = out->u.list;
    for (size_t i = 0; right && i < l->len / 2; i++) {
        tpl_value_t v = l->items[i];
        l->items[i] = l->items[l->len - 1 - i];
        l->items[l->len - 1 - i] = v;
    }
    return rc;
}
METHOD(str_split) { return split(rt, c, false, out); }
METHOD(str_rsplit) { return split(rt, c, true, out); }

static int not_int(struct tpl_rt *rt, const char *what) { return tpl_type_error(rt, "%s must be an integer", what); }

METHOD(str_splitlines) {
    int64_t keep;
    if (tpl_new_list(rt, V_LIST, 0, out) < 0 || (tpl_given(&c->a[0]) && c->a[0].kind == V_NONE ? not_int(rt, "keepends") :
                                                 tpl_arg_int(rt, &c->a[0], "keepends", 0, &keep)) < 0)
        return -1;
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end;) {
        const char *next;
        size_t n = tpl_line_len(s, end, &next);
        if (add(rt, c, out, s, keep ? next : s + n) < 0)
            return -1;
        s = next;
    }
    return 0;
}

static int partition(struct tpl_rt *rt, struct tpl_call *c, bool last, tpl_value_t *out) {
    const char *s = c->self.u.s, *end = s + c->self.len;
    if (text_arg(rt, c, 0, "partition") < 0)
        return -1;
    const tpl_value_t *sep = &c->a[0];
    if (!sep->len)
        return tpl_type_error(rt, "partition() needs a separator that is not empty");
    const char *hit = last ? find_last(rt, s, end, sep) : tpl_find(s, c->self.len, sep->u.s, sep->len);
    const char *cut[4] = { s, hit, hit ? hit + sep->len : NULL, end };
    if (!hit) { /* the whole text stands first, or last */
        cut[1] = cut[2] = last ? s : end;
    }
    if (rt->code || tpl_charge(rt, c->self.len / 16) < 0 || tpl_new_list(rt, V_TUPLE, 3, out) < 0)
        return -1;
    return add(rt, c, out, cut[0], cut[1]) < 0 || add(rt, c, out, cut[1], cut[2]) < 0 ? -1 : add(rt, c, out, cut[2], cut[3]);
}
METHOD(str_partition) { return partition(rt, c, false, out); }
METHOD(str_rpartition) { return partition(rt, c, true, out); }

METHOD(str_join) {
    OUT_BUF(b);
    struct tpl_iter it;
    tpl_value_t v;
    bool safe = c->self.flags & V_FLAG_SAFE, first = true;
    int rc = tpl_iter_init(rt, &c->a[0], &it);
    while (rc >= 0 && (rc = tpl_iter_step(rt, &it, &v)) > 0) {
        tpl_value_t in = v;
        if (safe ? tpl_escape(rt, &in, &v) < 0 : v.kind != V_STR) {
            rc = safe ? -1 : v.kind == V_UNDEF ? tpl_undefined_error(rt, &v)
                                               : tpl_type_error(rt, "join() needs texts, not a value of type '%s'", tpl_type_name(&v));
            break;
        }
        if (!first)
            buf_append(&b, c->self.u.s, c->self.len);
        first = false;
        buf_append(&b, v.u.s, v.len);
        if (buf_failed(&b))
            break;
    }
    if (rc >= 0)
        return take(rt, c, &b, out);
    buf_free(&b);
    return -1;
}

/* ---- what kind of text ---- */
enum kind { ALNUM, ALPHA, DECIMAL, DIGIT, NUMERIC, SPACE, PRINTABLE, IDENTIFIER };

static bool char_is(enum kind k, uint32_t ch, const char *s, const char *end, bool first) {
    switch (k) {
    case ALNUM: return ch != '_' && tpl_is_word(ch);
    case ALPHA: return tpl_is_letter(ch);
    case DECIMAL: return tpl_number_kind(ch) == 'd';
    case DIGIT: return tpl_number_kind(ch) == 'd' || tpl_number_kind(ch) == 's';
    case NUMERIC: return tpl_number_kind(ch) != 0;
    case SPACE: return tpl_space_len(s, end) > 0;
    case PRINTABLE: return tpl_is_printable(ch);
    case IDENTIFIER: return tpl_starts_name(ch) || (!first && tpl_number_kind(ch) == 'd');
    }
    return false;
}

static int all(struct tpl_rt *rt, struct tpl_call *c, enum kind k, bool of_empty, tpl_value_t *out) {
    bool ok = c->self.len || of_empty, first = true;
    for (const char *s = c->self.u.s, *end = s + c->self.len; ok && s < end; first = false) {
        size_t n;
        uint32_t ch = tpl_char_get(s, end, &n);
        ok = char_is(k, ch, s, end, first);
        s += n;
    }
    *out = tpl_bool(ok);
    return tpl_charge(rt, 1 + c->self.len / 32);
}
METHOD(str_isalnum) { return all(rt, c, ALNUM, false, out); }
METHOD(str_isalpha) { return all(rt, c, ALPHA, false, out); }
METHOD(str_isdecimal) { return all(rt, c, DECIMAL, false, out); }
METHOD(str_isdigit) { return all(rt, c, DIGIT, false, out); }
METHOD(str_isnumeric) { return all(rt, c, NUMERIC, false, out); }
METHOD(str_isspace) { return all(rt, c, SPACE, false, out); }
METHOD(str_isprintable) { return all(rt, c, PRINTABLE, true, out); }
METHOD(str_isidentifier) { return all(rt, c, IDENTIFIER, false, out); }
METHOD(str_islower) {
    *out = tpl_bool(tpl_is_cased(c->self.u.s, c->self.len, CASE_LOWER));
    return tpl_charge(rt, 1 + c->self.len / 32);
}
METHOD(str_isupper) {
    *out = tpl_bool(tpl_is_cased(c->self.u.s, c->self.len, CASE_UPPER));
    return tpl_charge(rt, 1 + c->self.len / 32);
}

METHOD(str_isascii) {
    bool ok = true;
    for (uint32_t i = 0; ok && i < c->self.len; i++)
        ok = (unsigned char)c->self.u.s[i] < 0x80;
    *out = tpl_bool(ok);
    return tpl_charge(rt, 1 + c->self.len / 32);
}

METHOD(str_istitle) {
    bool ok = true, cased = false, inside = false;
    for (const char *s = c->self.u.s, *end = s + c->self.len; ok && s < end;) {
        size_t n;
        int is = tpl_char_case(tpl_char_get(s, end, &n));
        ok = is == 0 || (is == 'l') == inside;
        inside = is != 0;
        cased = cased || is;
        s += n;
    }
    *out = tpl_bool(ok && cased);
    return tpl_charge(rt, 1 + c->self.len / 32);
}

/* ---- translation ---- */
METHOD(str_maketrans) {
    const tpl_value_t *x = c->a;
    if (!tpl_given(&x[1])) {
        if (x[0].kind != V_DICT)
            return tpl_type_error(rt, "maketrans() with one argument needs a dictionary");
        if (tpl_new_dict(rt, out) < 0)
            return -1;
        for (size_t i = 0; i < x[0].u.dict->len; i++) {
            tpl_value_t key = x[0].u.dict->pairs[i].key;
            if (key.kind == V_STR && tpl_char_count(key.u.s, key.len) == 1) {
                size_t n;
                key = tpl_int(tpl_char_get(key.u.s, key.u.s + key.len, &n));
            }
            if (!tpl_is_int(&key))
                return tpl_type_error(rt, "the keys of maketrans() must be integers or texts of one character");
            if (tpl_dict_set(rt, out->u.dict, key, x[0].u.dict->pairs[i].value) < 0)
                return -1;
        }
        return 0;
    }
    for (int i = 0; i < 2 + tpl_given(&x[2]); i++) {
        if (tpl_want_text(rt, "maketrans", &x[i]) < 0)
            return -1;
    }
    if (tpl_char_count(x[0].u.s, x[0].len) != tpl_char_count(x[1].u.s, x[1].len))
        return tpl_type_error(rt, "the first two arguments of maketrans() must be equally long");
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    size_t n, m;
    for (const char *a = x[0].u.s, *b = x[1].u.s; a < x[0].u.s + x[0].len; a += n, b += m) {
        tpl_value_t from = tpl_int(tpl_char_get(a, x[0].u.s + x[0].len, &n));
        tpl_value_t to = tpl_int(tpl_char_get(b, x[1].u.s + x[1].len, &m));
        if (tpl_dict_set(rt, out->u.dict, from, to) < 0)
            return -1;
    }
    for (const char *a = x[2].u.s; tpl_given(&x[2]) && a < x[2].u.s + x[2].len; a += n) {
        if (tpl_dict_set(rt, out->u.dict, tpl_int(tpl_char_get(a, x[2].u.s + x[2].len, &n)), tpl_none()) < 0)
            return -1;
    }
    return 0;
}

METHOD(str_translate) {
    OUT_BUF(b);
    if (c->a[0].kind != V_DICT)
        return tpl_type_error(rt, "translate() needs a dictionary");
    for (const char *s = c->self.u.s, *end = s + c->self.len; s < end && !buf_failed(&b);) {
        size_t n;
        tpl_value_t key = tpl_int(tpl_char_get(s, end, &n));
        const tpl_value_t *to = tpl_dict_get(c->a[0].u.dict, &key);
        if (!to)
            buf_append(&b, s, n);
        else if (to->kind == V_STR)
            buf_append(&b, to->u.s, to->len);
        else if (tpl_is_int(to) && to->u.i > 0 && to->u.i < 0x110000 && (to->u.i < 0xd800 || to->u.i > 0xdfff))
            tpl_char_put(&b, (uint32_t)to->u.i);
        else if (to->kind != V_NONE) {
            buf_free(&b);
            return tpl_type_error(rt, "translate() can replace a character by a text, a code or none");
        }
        s += n;
    }
    return tpl_charge(rt, c->self.len / 16) < 0 ? (buf_free(&b), -1) : take(rt, c, &b, out);
}

/* ---- format ---- */
METHOD(str_format) { return tpl_format(rt, &c->self, c->args, NULL, out); }
METHOD(str_format_map) {
    static const struct tpl_args none;
    return tpl_format(rt, &c->self, &none, &c->a[0], out);
}

const struct tpl_row tpl_str_methods[] = {
    { "format", str_format, NULL, 0 },
    { "join", str_join, "0", 1 },
    { "split", str_split, "sep,maxsplit", 0 },
    { "replace", str_replace, "0,1,2", 2 },
    { "upper", str_upper, "", 0 },
    { "lower", str_lower, "", 0 },
    { "strip", str_strip, "0", 0 },
    { "lstrip", str_lstrip, "0", 0 },
    { "rstrip", str_rstrip, "0", 0 },
    { "startswith", str_startswith, "0,1,2", 1 },
    { "endswith", str_endswith, "0,1,2", 1 },
    { "title", str_title, "", 0 },
    { "capitalize", str_capitalize, "", 0 },
    { "swapcase", str_swapcase, "", 0 },
    { "casefold", str_casefold, "", 0 },
    { "ljust", str_ljust, "0,1", 1 },
    { "rjust", str_rjust, "0,1", 1 },
    { "center", str_center, "0,1", 1 },
    { "zfill", str_zfill, "0", 1 },
    { "expandtabs", str_expandtabs, "tabsize", 0 },
    { "find", str_find, "0,1,2", 1 },
    { "rfind", str_rfind, "0,1,2", 1 },
    { "index", str_index, "0,1,2", 1 },
    { "rindex", str_rindex, "0,1,2", 1 },
    { "count", str_count, "0,1,2", 1 },
    { "removeprefix", str_removeprefix, "0", 1 },
    { "removesuffix", str_removesuffix, "0", 1 },
    { "rsplit", str_rsplit, "sep,maxsplit", 0 },
    { "splitlines", str_splitlines, "keepends", 0 },
    { "partition", str_partition, "0", 1 },
    { "rpartition", str_rpartition, "0", 1 },
    { "isalnum", str_isalnum, "", 0 },
    { "isalpha", str_isalpha, "", 0 },
    { "isascii", str_isascii, "", 0 },
    { "isdecimal", str_isdecimal, "", 0 },
    { "isdigit", str_isdigit, "", 0 },
    { "isnumeric", str_isnumeric, "", 0 },
    { "isidentifier", str_isidentifier, "", 0 },
    { "islower", str_islower, "", 0 },
    { "isupper", str_isupper, "", 0 },
    { "istitle", str_istitle, "", 0 },
    { "isspace", str_isspace, "", 0 },
    { "isprintable", str_isprintable, "", 0 },
    { "maketrans", str_maketrans, "0,1,2", 1 },
    { "translate", str_translate, "0", 1 },
    { "format_map", str_format_map, "0", 1 },
    { "encode", NULL, NULL, 0 }, /* there are no bytes in templates here */
    { 0 },
};
