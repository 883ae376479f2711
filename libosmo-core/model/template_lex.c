/* Lexer of the template engine: text to tokens, with Jinja's whitespace marks, raw blocks and newline rules. Every
 * token points into one normalised copy of the text in the template's arena. Used by template.c. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

struct lexer {
    struct tpl_arena *arena;
    const char *p, *end, *counted; /* `line` is right for the position `counted` */
    int line, code;
    bool protect;
    char open[TPL_MAX_NESTING]; /* brackets still open inside the current tag */
    int depth;
    struct tpl_tokens *out;
    osmo_error_t *err;
};

static int lex_fail(struct lexer *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int lex_fail(struct lexer *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    l->code = osmo_error_setv(l->err, OSMO_EUSAGE, format, args);
    va_end(args);
    if (l->err)
        osmo_error_prefix(l->err, "line %d", l->line);
    return -1;
}

static int lex_nomem(struct lexer *l) {
    l->code = osmo_error_set(l->err, OSMO_ENOMEM, "out of memory while reading a template");
    return -1;
}

static void count_lines(struct lexer *l, const char *to) {
    const char *nl;
    while (l->counted < to && (nl = memchr(l->counted, '\n', (size_t)(to - l->counted)))) {
        l->line++;
        l->counted = nl + 1;
    }
    if (l->counted < to)
        l->counted = to;
}

static int add_token(struct lexer *l, int type, tpl_value_t value) {
    struct tpl_tokens *t = l->out;
    if (t->len == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct tpl_token *grown = realloc(t->items, cap * sizeof(*grown));
        if (!grown)
            return lex_nomem(l);
        t->items = grown;
        t->cap = cap;
    }
    t->items[t->len++] = (struct tpl_token){ .type = type, .line = l->line, .value = value };
    return 0;
}

static int add_data(struct lexer *l, const char *from, const char *to, bool strip) {
    if (strip) {
        const char *first = from;
        tpl_strip(&first, &to);
        to = first < to ? to : from;
    }
    return to > from ? add_token(l, T_DATA, tpl_str(from, (size_t)(to - from))) : 0;
}

static void skip_space(struct lexer *l) {
    size_t n;
    while (l->p < l->end && (n = tpl_space_len(l->p, l->end)))
        l->p += n;
}

size_t tpl_special_token(const char *p, const char *end) {
    static const char *const exact[] = { "{{uuid}}", "{{workflow_id}}", "{{output}}" };
    static const char *const open[] = { "{{input:", "{{host:" };
    size_t room = (size_t)(end - p);
    for (size_t i = 0; i < ARRAY_SIZE(exact); i++) {
        size_t n = strlen(exact[i]);
        if (room >= n && memcmp(p, exact[i], n) == 0)
            return n;
    }
    for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
        size_t n = strlen(open[i]);
        if (room < n || memcmp(p, open[i], n) != 0)
            continue;
        const char *close = memchr(p + n, '}', room - n);
        if (close && close > p + n && close + 1 < end && close[1] == '}')
            return (size_t)(close + 2 - p);
    }
    return 0;
}

/* ---- inside a tag ---- */
static size_t digits(const char *p, const char *end, const char *set) {
    const char *q = p;
    while (q < end && (strchr(set, *q) ? *q != 0 : *q == '_' && q > p && q + 1 < end && q[1] && strchr(set, q[1])))
        q++;
    return (size_t)(q - p);
}

static int lex_number(struct lexer *l) {
    static const char dec[] = "0123456789";
    const char *p = l->p, *q = p + digits(p, l->end, dec);
    bool is_float = false, after_dot = p[-1] == '.';
    const char *r = q;
    if (!after_dot && r + 1 < l->end && *r == '.' && digits(r + 1, l->end, dec)) {
        r += 1 + digits(r + 1, l->end, dec);
        is_float = true;
    }
    if (!after_dot && r + 1 < l->end && (*r == 'e' || *r == 'E')) {
        const char *e = r + 1 + (r[1] == '+' || r[1] == '-');
        size_t n = e < l->end ? digits(e, l->end, dec) : 0;
        if (n) {
            r = e + n;
            is_float = true;
        }
    }
    if (is_float) {
        double f;
        if (!tpl_text_to_float(p, (size_t)(r - p), &f))
            return lex_fail(l, "bad number '%.*s'", (int)(r - p), p);
        l->p = r;
        return add_token(l, T_FLOAT, tpl_float(f));
    }
    int base = 10;
    if (*p == '0' && p + 1 < l->end && strchr("xXoObB", p[1]) && p[1]) {
        int kind = p[1] | 0x20;
        const char *set = kind == 'x' ? "0123456789abcdefABCDEF" : kind == 'o' ? "01234567" : "01";
        const char *from = p + 2 + (p + 2 < l->end && p[2] == '_');
        size_t n = from < l->end ? digits(from, l->end, set) : 0;
        if (n) {
            base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
            q = from + n;
        }
    }
    if (base == 10 && *p == '0')
        q = p + digits(p, l->end, "0");
    int64_t i;
    tpl_value_t v;
    size_t lead = base == 10 ? 0 : 2;
    l->p = q;
    if (tpl_text_to_int(p, (size_t)(q - p), base, &i))
        v = tpl_int(i);
    else if (!tpl_big_parse(l->arena, p + lead, (size_t)(q - p) - lead, (unsigned)base, &v))
        return lex_fail(l, "the integer %.*s… has too many digits", (int)(q - p > 60 ? 60 : q - p), p);
    return add_token(l, T_INT, v);
}

static int unescape_number(const char **p, const char *end, int width, int base, uint32_t *out) {
    uint32_t v = 0;
    int n = 0;
    for (; n < width && *p < end; n++, (*p)++) {
        char c = **p;
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 99;
        if (d >= base)
            break;
        v = v * (uint32_t)base + (uint32_t)d;
    }
    *out = v;
    return n;
}

/* One escape behind the backslash at *p - 1. */
static int unescape_one(struct lexer *l, const char **p, const char *end, buf_t *b) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = *(*p)++;
    const char *hit = c ? strchr(from, c) : NULL;
    uint32_t v;
    if (hit) {
        buf_putc(b, to[hit - from]);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int width = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        if (unescape_number(p, end, width, 16, &v) != width || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
            return lex_fail(l, "bad \\%c escape in a string", c);
        tpl_char_put(b, v);
    } else if (c >= '0' && c <= '7') {
        (*p)--;
        unescape_number(p, end, 3, 8, &v);
        tpl_char_put(b, v);
    } else if (c == 'N') {
        return lex_fail(l, "\\N escapes in a string are not supported; write the character itself");
    } else if (c != '\n') {
        buf_putc(b, '\\');
        buf_putc(b, c);
    }
    return 0;
}

static int lex_string(struct lexer *l) {
    char quote = *l->p;
    const char *from = l->p + 1, *q = from;
    bool escaped = false;
    while (q < l->end && *q != quote) {
        if (*q == '\\') {
            escaped = true;
            q++;
        }
        q++;
    }
    if (q >= l->end)
        return lex_fail(l, "a string that starts here is not closed");
    if (!escaped) {
        if (add_token(l, T_STRING, tpl_str(from, (size_t)(q - from))) < 0)
            return -1;
        l->p = q + 1;
        return 0;
    }
    _cleanup_buf_ buf_t b = BUF_INIT((size_t)(q - from) * 4 + 16);
    for (const char *r = from; r < q;) {
        if (*r != '\\')
            buf_putc(&b, *r++);
        else if (r++, unescape_one(l, &r, q, &b) < 0)
            return -1;
    }
    char *copy = buf_failed(&b) ? NULL : tpl_arena_alloc(l->arena, b.len + 1);
    if (!copy)
        return lex_nomem(l);
    if (b.len)
        memcpy(copy, b.data, b.len);
    l->p = q + 1;
    return add_token(l, T_STRING, tpl_str(copy, b.len));
}

/* Length of the letter, digit or underscore at p, or 0. */
static size_t name_char(const char *p, const char *end) {
    size_t n;
    char c = *p;
    if ((unsigned char)c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    return tpl_is_word(tpl_char_get(p, end, &n)) ? n : 0;
}

static int lex_operator(struct lexer *l) {
    static const struct { char text[3]; int type; } twos[] = {
        { "//", T_FLOORDIV }, { "**", T_POW }, { "==", T_EQ }, { "!=", T_NE }, { ">=", T_GE }, { "<=", T_LE },
    };
    char c = *l->p;
    for (size_t i = 0; i < ARRAY_SIZE(twos); i++) {
        if (l->p + 1 < l->end && memcmp(l->p, twos[i].text, 2) == 0) {
            l->p += 2;
            return add_token(l, twos[i].type, tpl_none());
        }
    }
    if (!c || !strchr("+-/*%~[](){}<>=.:|,;", c))
        return lex_fail(l, "unexpected character '%.*s'", (int)tpl_char_len(l->p, l->end), l->p);
    if (strchr("([{", c)) {
        if (l->depth == TPL_MAX_NESTING)
            return lex_fail(l, "brackets are nested more than %d deep", TPL_MAX_NESTING);
        l->open[l->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (l->depth == 0)
            return lex_fail(l, "unexpected '%c'", c);
        if (l->open[--l->depth] != c)
            return lex_fail(l, "unexpected '%c', expected '%c'", c, l->open[l->depth]);
    }
    l->p++;
    return add_token(l, (unsigned char)c, tpl_none());
}

/* Length of the end mark ("-%}", "%}", "+%}", "}}" …) at p, 0 if there is none; *strip is set for the minus. */
static size_t end_mark(const char *p, const char *end, const char *mark, bool plus, bool *strip) {
    size_t lead = p < end && (*p == '-' || (plus && *p == '+'));
    if ((size_t)(end - p) < lead + 2 || memcmp(p + lead, mark, 2) != 0)
        return 0;
    *strip = lead && *p == '-';
    return lead + 2;
}

static int lex_tag(struct lexer *l, bool block) {
    const char *mark = block ? "%}" : "}}";
    l->depth = 0;
    while (l->p < l->end) {
        bool strip = false;
        count_lines(l, l->p);
        size_t n = l->depth ? 0 : end_mark(l->p, l->end, mark, block, &strip);
        if (n) {
            l->p += n;
            if (add_token(l, block ? T_BLOCK_END : T_VAR_END, tpl_none()) < 0)
                return -1;
            if (strip)
                skip_space(l);
            return 0;
        }
        char c = *l->p;
        int rc = 0;
        if ((n = tpl_space_len(l->p, l->end))) {
            l->p += n;
        } else if (c >= '0' && c <= '9') {
            rc = lex_number(l);
        } else if ((n = name_char(l->p, l->end))) {
            const char *from = l->p;
            while (l->p < l->end && (n = name_char(l->p, l->end)))
                l->p += n;
            rc = add_token(l, T_NAME, tpl_str(from, (size_t)(l->p - from)));
        } else if (c == '"' || c == '\'') {
            rc = lex_string(l);
        } else {
            rc = lex_operator(l);
        }
        if (rc < 0)
            return rc;
    }
    return lex_fail(l, "the template ends inside %s; '%s' is missing", block ? "a '{%' tag" : "'{{'", mark);
}

/* ---- outside of tags ---- */
static int lex_comment(struct lexer *l) {
    const char *from = l->p;
    if (from == l->end) /* Jinja, too, lets an opening mark stand as the last thing of a text */
        return 0;
    const char *hit = tpl_find(from, (size_t)(l->end - from), "#}", 2);
    if (!hit)
        return lex_fail(l, "a comment that starts with '{#' is not closed by '#}' "
                           "(shell text such as ${#name} must be put into a raw block)");
    l->p = hit + 2;
    if (hit > from && hit[-1] == '-')
        skip_space(l);
    return 0;
}

/* `{% word %}` at p (with marks and blanks): length, or 0. */
static size_t keyword_tag(const char *p, const char *end, const char *word, bool plus_end, bool *strip_before,
                          bool *strip_after) {
    const char *q = p + 2;
    size_t n = strlen(word);
    if (end - p < 2 || p[0] != '{' || p[1] != '%')
        return 0;
    *strip_before = q < end && *q == '-';
    if (q < end && (*q == '-' || *q == '+'))
        q++;
    while (q < end && tpl_space(*q))
        q++;
    if ((size_t)(end - q) < n || memcmp(q, word, n) != 0)
        return 0;
    q += n;
    while (q < end && tpl_space(*q))
        q++;
    size_t mark = end_mark(q, end, "%}", plus_end, strip_after);
    return mark ? (size_t)(q - p) + mark : 0;
}

static int lex_raw(struct lexer *l) {
    const char *from = l->p;
    if (from == l->end)
        return 0;
    for (const char *q = from; (q = tpl_find(q, (size_t)(l->end - q), "{%", 2)); q += 2) {
        bool before, after;
        size_t n = keyword_tag(q, l->end, "endraw", true, &before, &after);
        if (!n)
            continue;
        if (add_data(l, from, q, before) < 0)
            return -1;
        l->p = q + n;
        if (after)
            skip_space(l);
        return 0;
    }
    return lex_fail(l, "a raw block is not closed by {%% endraw %%}");
}

static int lex_root(struct lexer *l) {
    const char *from = l->p, *q = from;
    for (; (q = memchr(q, '{', (size_t)(l->end - q))); q++) {
        if (q + 1 >= l->end) {
            q = NULL;
            break;
        }
        size_t special = l->protect && q[1] == '{' ? tpl_special_token(q, l->end) : 0;
        if (special)
            q += special - 1;
        else if (q[1] == '{' || q[1] == '%' || q[1] == '#')
            break;
    }
    if (!q) {
        l->p = l->end;
        return add_data(l, from, l->end, false);
    }
    bool mark = q + 2 < l->end && (q[2] == '-' || q[2] == '+');
    if (add_data(l, from, q, mark && q[2] == '-') < 0)
        return -1;
    count_lines(l, q);
    bool before, after;
    size_t raw = keyword_tag(q, l->end, "raw", false, &before, &after);
    if (raw) {
        l->p = q + raw;
        if (after)
            skip_space(l);
        return lex_raw(l);
    }
    l->p = q + 2 + mark;
    if (q[1] == '#')
        return lex_comment(l);
    bool block = q[1] == '%';
    if (add_token(l, block ? T_BLOCK_BEGIN : T_VAR_BEGIN, tpl_none()) < 0)
        return -1;
    return lex_tag(l, block);
}

/* CR and CRLF become LF; one newline at the end is dropped. */
static char *normalise(struct tpl_arena *arena, const char *text, size_t len, size_t *out_len) {
    char *copy = tpl_arena_alloc(arena, len + 1);
    size_t n = 0;
    if (!copy)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r') {
            copy[n++] = '\n';
            if (i + 1 < len && text[i + 1] == '\n')
                i++;
        } else {
            copy[n++] = text[i];
        }
    }
    if (n && copy[n - 1] == '\n')
        n--;
    copy[n] = 0;
    *out_len = n;
    return copy;
}

int tpl_lex(struct tpl_arena *arena, const char *text, size_t len, const struct tpl_options *options,
            struct tpl_tokens *out, osmo_error_t *err) {
    struct lexer l = { .arena = arena, .line = options->first_line, .protect = options->protect_tokens, .out = out,
                       .err = err };
    size_t n;
    if (len > UINT32_MAX / 4)
        return osmo_error_set(err, OSMO_EUSAGE, "template text is larger than 1 GiB");
    const char *copy = normalise(arena, text, len, &n);
    if (!copy) {
        lex_nomem(&l);
        return l.code;
    }
    l.p = l.counted = copy;
    l.end = copy + n;
    while (l.p < l.end) {
        if (lex_root(&l) < 0)
            return l.code;
    }
    count_lines(&l, l.end);
    return add_token(&l, T_EOF, tpl_none()) < 0 ? l.code : 0;
}
