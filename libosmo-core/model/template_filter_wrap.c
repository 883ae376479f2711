/* Filters that lay out text: center, indent, truncate, wordcount, wordwrap. A new one is a function and a row. Looked up
 * by template_filter.c. */
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

static FILTER(f_center) {
    OUT_BUF(b);
    tpl_value_t t;
    int64_t width;
    if (tpl_soft_text(rt, &c->self, &t) < 0 || tpl_arg_int(rt, &c->a[0], "filter 'center': the width", 80, &width) < 0)
        return -1;
    int64_t len = (int64_t)tpl_char_count(t.u.s, t.len), pad = width > len ? width - len : 0;
    if ((uint64_t)pad > rt->limits.max_output)
        return tpl_fail(rt, OSMO_EUSAGE, "filter 'center' makes more than %zu bytes of text", rt->limits.max_output);
    int64_t left = pad / 2 + (pad & width & 1);
    if (tpl_charge(rt, (size_t)pad / 64) < 0)
        return -1;
    for (int64_t i = 0; i < left; i++)
        buf_putc(&b, ' ');
    buf_append(&b, t.u.s, t.len);
    for (int64_t i = left; i < pad; i++)
        buf_putc(&b, ' ');
    return tpl_take_like(rt, &b, &t, out);
}

/* ---- indent ---- */
static int indentation(struct tpl_rt *rt, const tpl_value_t *width, const tpl_value_t *like, tpl_value_t *out) {
    OUT_BUF(b);
    int64_t n;
    if (width->kind == V_STR) {
        if (like->flags & V_FLAG_SAFE) /* joined to safe text, it is taken as safe itself */
            return tpl_text(rt, width, out);
        *out = *width;
        return 0;
    }
    if (tpl_arg_int(rt, width, "filter 'indent': the width", 4, &n) < 0)
        return -1;
    if (n > 0 && (uint64_t)n > rt->limits.max_output)
        return tpl_fail(rt, OSMO_EUSAGE, "filter 'indent' makes more than %zu bytes of text", rt->limits.max_output);
    if (tpl_charge(rt, n > 0 ? (size_t)n / 64 : 0) < 0)
        return -1;
    for (; n > 0; n--)
        buf_putc(&b, ' ');
    return tpl_str_take(rt, &b, out);
}

static FILTER(f_indent) {
    _cleanup_buf_ OUT_BUF(text);
    OUT_BUF(b);
    tpl_value_t by;
    bool first, blank;
    if (tpl_want_text(rt, "filter 'indent'", &c->self) < 0 || indentation(rt, &c->a[0], &c->self, &by) < 0 ||
        tpl_arg_bool(rt, &c->a[1], false, &first) < 0 || tpl_arg_bool(rt, &c->a[2], false, &blank) < 0)
        return -1;
    /* A line end is added before the lines are cut, so that a last empty line counts. */
    buf_append(&text, c->self.u.s, c->self.len);
    buf_putc(&text, '\n');
    if (tpl_buf_check(rt, &text) < 0)
        return -1;
    for (const char *s = buf_cstr(&text), *end = s + text.len, *next; s < end; s = next) {
        size_t n = tpl_line_len(s, end, &next);
        bool at_first = s == text.data;
        if (!at_first)
            buf_putc(&b, '\n');
        if (at_first ? first : (blank || n > 0))
            buf_append(&b, by.u.s, by.len);
        buf_append(&b, s, n);
        if (buf_failed(&b) || tpl_charge(rt, 1 + n / 64) < 0)
            break;
    }
    return tpl_take_like(rt, &b, &c->self, out);
}

/* ---- truncate ---- */
static int number_arg(struct tpl_rt *rt, const tpl_value_t *v, const char *what, double absent, double *out) {
    *out = absent;
    return tpl_given(v) ? tpl_to_double(rt, what, v, out) : 0;
}

/* The text up to `keep` characters, to a word's end unless `kill`, and `end` behind it. */
static int cut_text(struct tpl_rt *rt, const tpl_value_t *text, int64_t keep, bool kill, const tpl_value_t *end,
                    tpl_value_t *out) {
    OUT_BUF(b);
    size_t n = tpl_char_offset(text->u.s, text->len, (size_t)keep);
    const char *space = kill ? NULL : memrchr(text->u.s, ' ', n);
    tpl_value_t head = tpl_str(text->u.s, space ? (size_t)(space - text->u.s) : n), tail = *end;
    head.flags = text->flags;
    bool safe = (head.flags | tail.flags) & V_FLAG_SAFE; /* of text and safe text, the text is escaped */
    if (safe && (tpl_escape(rt, &head, &head) < 0 || tpl_escape(rt, &tail, &tail) < 0))
        return -1;
    buf_append(&b, head.u.s, head.len);
    buf_append(&b, tail.u.s, tail.len);
    if (tpl_str_take(rt, &b, out) < 0)
        return -1;
    out->flags = safe ? V_FLAG_SAFE : 0;
    return 0;
}

static FILTER(f_truncate) {
    const tpl_value_t absent = { .kind = V_ABSENT }, *leeway = tpl_set(&c->a[3]) ? &c->a[3] : &absent;
    tpl_value_t end = tpl_given(&c->a[2]) ? c->a[2] : tpl_str("...", 3);
    double length, more;
    int64_t end_len, have, keep;
    bool kill;
    if (number_arg(rt, &c->a[0], "filter 'truncate': the length", 255, &length) < 0 ||
        number_arg(rt, leeway, "filter 'truncate': the leeway", 5, &more) < 0 ||
        tpl_length(rt, &end, &end_len) < 0)
        return -1;
    if (!(length >= (double)end_len) || !(more >= 0))
        return tpl_type_error(rt, "filter 'truncate': the %s must be at least %lld", more >= 0 ? "length" : "leeway",
                              more >= 0 ? (long long)end_len : 0);
    if (tpl_length(rt, &c->self, &have) < 0)
        return -1;
    *out = c->self;
    if ((double)have <= length + more)
        return 0;
    if (tpl_want_text(rt, "filter 'truncate'", &c->self) < 0 || tpl_want_text(rt, "filter 'truncate': the end", &end) < 0 ||
        tpl_arg_int(rt, &c->a[0], "filter 'truncate': the length", 255, &keep) < 0 ||
        tpl_arg_bool(rt, &c->a[1], false, &kill) < 0)
        return -1;
    return cut_text(rt, &c->self, keep - end_len, kill, &end, out);
}

/* ---- wordcount ---- */
static FILTER(f_wordcount) {
    tpl_value_t t;
    int64_t words = 0;
    bool inside = false;
    if (tpl_soft_text(rt, &c->self, &t) < 0 || tpl_charge(rt, t.len / 16) < 0)
        return -1;
    for (const char *s = t.u.s, *end = s + t.len; s < end;) {
        size_t n;
        bool word = tpl_is_word(tpl_char_get(s, end, &n));
        words += word && !inside;
        inside = word;
        s += n;
    }
    *out = tpl_int(words);
    return 0;
}

/* ---- wordwrap ---- */
/* Whether long words break is asked only when there is one. Chunks break at hyphens only if that argument is true itself,
 * long words also if it merely counts as true. */
struct wrap { int64_t width; tpl_value_t with, break_long, break_hyphens; struct tpl_rt *rt; buf_t *out; bool at_hyphens, any; };
struct chunk { const char *s, *end; int64_t chars; };

/* Here only the blanks of ASCII separate words. */
static bool blank_at(const char *s, const char *end) { return s < end && (*s == ' ' || (*s >= '\t' && *s <= '\r')); }

static uint32_t char_before(const char *start, const char *s, const char **at) {
    size_t n;
    const char *p = s;
    if (s <= start)
        return 0;
    do
        p--;
    while (p > start && ((unsigned char)*p & 0xc0) == 0x80);
    *at = p;
    return tpl_char_get(p, s, &n);
}

static uint32_t char_at(const char *s, const char *end, const char **next) {
    size_t n = 0;
    uint32_t c = s < end ? tpl_char_get(s, end, &n) : 0;
    *next = s + n;
    return c;
}

static bool punctuates(uint32_t c) { return c && (tpl_is_word(c) || (c < 0x80 && strchr("!\"'&.,?", (int)c))); }

/* Behind a hyphen a word may break if two letters stand before it, or a letter, hyphen, letter, and if a letter and
 * another one, perhaps with a hyphen between, follow. `start` is the begin of the line. */
static bool breaks_behind(const char *start, const char *hyphen, const char *end) {
    const char *p = hyphen, *q;
    if (!tpl_is_alpha(char_before(start, p, &p)))
        return false;
    uint32_t second = char_before(start, p, &p);
    if (!tpl_is_alpha(second) && !(second == '-' && tpl_is_alpha(char_before(start, p, &p))))
        return false;
    if (!tpl_is_alpha(char_at(hyphen + 1, end, &q)))
        return false;
    if (q < end && *q == '-')
        q++;
    return tpl_is_alpha(char_at(q, end, &p));
}

/* Two or more hyphens at s with a word character behind: how many. */
static size_t dash_at(const char *s, const char *end) {
    const char *p = s, *next;
    while (p < end && *p == '-')
        p++;
    return p - s >= 2 && tpl_is_word(char_at(p, end, &next)) ? (size_t)(p - s) : 0;
}

/* The piece of the line that begins at s: blanks, a dash, or a word up to where it may break. */
static const char *chunk_end(const struct wrap *w, const char *start, const char *s, const char *end) {
    const char *p = s, *before;
    if (blank_at(s, end)) {
        while (blank_at(p, end))
            p++;
        return p;
    }
    if (w->at_hyphens && *s == '-' && punctuates(char_before(start, s, &before)) && dash_at(s, end))
        return s + dash_at(s, end);
    while (p < end && !blank_at(p, end)) {
        const char *at = p;
        p += tpl_char_len(p, end);
        if (!w->at_hyphens || p >= end)
            continue;
        if (*at == '-' && at > s && breaks_behind(start, at, end))
            break;
        if (*p == '-' && punctuates(char_before(start, p, &before)) && dash_at(p, end))
            break;
    }
    return p;
}

static int chunks_of(const struct wrap *w, const char *s, const char *end, struct chunk **out, size_t *n) {
    struct chunk *list = NULL;
    size_t cap = 0;
    *n = 0;
    for (const char *start = s; s < end;) {
        if (*n == cap) {
            struct chunk *grown = tpl_alloc(w->rt, (cap ? cap * 2 : 16) * sizeof(*grown));
            if (!grown)
                return -1;
            if (*n)
                memcpy(grown, list, *n * sizeof(*grown));
            cap = cap ? cap * 2 : 16;
            list = grown;
        }
        const char *to = chunk_end(w, start, s, end);
        list[(*n)++] = (struct chunk){ s, to, (int64_t)tpl_char_count(s, (size_t)(to - s)) };
        if (tpl_charge(w->rt, 1 + (size_t)(to - s) / 16) < 0)
            return -1;
        s = to;
    }
    *out = list;
    return 0;
}

/* Takes as much of a word as has room, best up to a hyphen. */
static int take_part(const struct wrap *w, struct chunk *word, int64_t room, struct chunk *part) {
    size_t n = tpl_char_offset(word->s, (size_t)(word->end - word->s), (size_t)(room < 1 ? 0 : room));
    bool hyphens;
    if (tpl_arg_bool(w->rt, &w->break_hyphens, true, &hyphens) < 0)
        return -1;
    if (hyphens && word->chars > room) {
        const char *hyphen = n ? memrchr(word->s, '-', n) : NULL;
        for (const char *p = word->s; hyphen && p < hyphen; p++) {
            if (*p != '-') {
                n = (size_t)(hyphen - word->s) + 1;
                break;
            }
        }
    }
    *part = (struct chunk){ word->s, word->s + n, (int64_t)tpl_char_count(word->s, n) };
    word->s += n;
    word->chars -= part->chars;
    return 0;
}

static bool is_blank(const struct wrap *w, const struct chunk *k) {
    const char *s = k->s;
    for (size_t n; (n = tpl_space_len(s, k->end));)
        s += n;
    tpl_charge(w->rt, (size_t)(s - k->s) / 16);
    return s == k->end;
}

/* Lines that safe text joins are escaped. */
static int put_line(struct wrap *w, const char *from, const char *to) {
    tpl_value_t line = tpl_str(from, (size_t)(to - from));
    if (w->any)
        buf_append(w->out, w->with.u.s, w->with.len);
    w->any = true;
    if ((w->with.flags & V_FLAG_SAFE) && tpl_escape(w->rt, &line, &line) < 0)
        return -1;
    buf_append(w->out, line.u.s, line.len);
    return tpl_buf_check(w->rt, w->out) < 0 ? -1 : tpl_charge(w->rt, 1);
}

/* One line of the input. Pieces of one output line follow each other in the input, so that two pointers describe it. */
static int wrap_line(struct wrap *w, const char *s, const char *end) {
    struct chunk *k, part;
    size_t n, i = 0;
    bool lines = false;
    if (chunks_of(w, s, end, &k, &n) < 0)
        return -1;
    while (i < n) {
        if (lines && is_blank(w, &k[i]) && ++i == n)
            break;
        const char *from = k[i].s, *to = from, *before = from; /* `before`: without the last piece */
        int64_t len = 0;
        struct chunk last = { from, from, 0 };
        for (; i < n && len + k[i].chars <= w->width; i++) {
            len += k[i].chars;
            before = to;
            last = k[i];
            to = k[i].end;
        }
        if (i < n && k[i].chars > w->width) {
            bool split;
            if (tpl_arg_bool(w->rt, &w->break_long, true, &split) < 0)
                return -1;
            if (split) {
                if (take_part(w, &k[i], w->width - len, &part) < 0)
                    return -1;
                before = to;
                last = part;
                to = part.end;
            } else if (to == from) {
                before = to;
                last = k[i];
                to = k[i++].end;
            }
        }
        if (last.end > last.s ? is_blank(w, &last) : true)
            to = before;
        if (to > from && put_line(w, from, to) < 0)
            return -1;
        lines = lines || to > from;
        if (tpl_charge(w->rt, 1) < 0)
            return -1;
    }
    return 0;
}

static FILTER(f_wordwrap) {
    _cleanup_buf_ OUT_BUF(b);
    struct wrap w = { .rt = rt, .out = &b, .with = tpl_str("\n", 1), .break_long = c->a[1], .break_hyphens = c->a[3] };
    bool first = true;
    if (tpl_want_text(rt, "filter 'wordwrap'", &c->self) < 0)
        return -1;
    w.at_hyphens = !tpl_given(&c->a[3]) || (c->a[3].kind == V_BOOL && c->a[3].u.i);
    if (tpl_set(&c->a[2])) {
        w.with = c->a[2];
        if (tpl_want_text(rt, "filter 'wordwrap': the text between lines", &w.with) < 0)
            return -1;
    }
    for (const char *s = c->self.u.s, *end = s + c->self.len, *next; s < end; s = next) {
        size_t n = tpl_line_len(s, end, &next);
        if (tpl_arg_int(rt, &c->a[0], "filter 'wordwrap': the width", 79, &w.width) < 0)
            return -1;
        if (w.width <= 0)
            return tpl_type_error(rt, "filter 'wordwrap': the width must be more than 0, not %lld", (long long)w.width);
        if (!first)
            buf_append(&b, w.with.u.s, w.with.len);
        first = w.any = false;
        if (wrap_line(&w, s, s + n) < 0)
            return -1;
    }
    if (tpl_buf_check(rt, &b) < 0 || tpl_str_copy(rt, buf_cstr(&b), b.len, out) < 0)
        return -1;
    out->flags = w.with.flags & V_FLAG_SAFE;
    return 0;
}

const struct tpl_row tpl_wrap_filters[] = {
    { "center", f_center, "width", 0 }, { "indent", f_indent, "width,first,blank", 0 },
    { "truncate", f_truncate, "length,killwords,end,leeway", 0 }, { "wordcount", f_wordcount, "", 0 },
    { "wordwrap", f_wordwrap, "width,break_long_words,wrapstring,break_on_hyphens", 0 }, { 0 },
};
