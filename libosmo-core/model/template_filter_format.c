/* Python's % formatting of texts: the filter format, and the operator through tpl_percent_format(). Used by
 * template_ops.c and, as a filter, by template_filter.c. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

#define PRECISION_MAX 1000 /* of numbers; a double has no more digits than that */

/* One conversion: %(key)-+ #0WIDTH.PRECISIONx */
struct spec { bool left, plus, blank, alt, zero; int64_t width, precision; char kind; };

struct format {
    struct tpl_rt *rt;
    const char *p, *end;
    const tpl_value_t *args; /* a tuple: one after the other; a dictionary: by key; else one value */
    size_t used;
    bool safe, by_key;
    buf_t *out;
};

static int next_arg(struct format *f, tpl_value_t *out) {
    bool many = f->args->kind == V_TUPLE;
    if (f->used >= (many ? f->args->u.list->len : 1))
        return tpl_type_error(f->rt, "not enough arguments for the %% conversions of a text");
    *out = many ? f->args->u.list->items[f->used] : *f->args;
    f->used++;
    return 0;
}

/* ---- reading ---- */
static int read_number(struct format *f, const char *what, int64_t *out) {
    tpl_value_t v;
    *out = 0;
    if (f->p < f->end && *f->p == '*') {
        f->p++;
        return next_arg(f, &v) < 0 ? -1 : tpl_as_int(f->rt, &v, what, out);
    }
    for (; f->p < f->end && *f->p >= '0' && *f->p <= '9'; f->p++) {
        if (*out > INT32_MAX / 10)
            return tpl_type_error(f->rt, "%s is too large", what);
        *out = *out * 10 + (*f->p - '0');
    }
    return 0;
}

/* Looks the key up that stands in parentheses; from here on the arguments are one value. */
static int read_key(struct format *f, tpl_value_t *holder) {
    const char *from = ++f->p;
    int open = 1;
    for (; f->p < f->end && open > 0; f->p++)
        open += *f->p == '(' ? 1 : *f->p == ')' ? -1 : 0;
    if (open > 0)
        return tpl_type_error(f->rt, "a key of a %% conversion has no closing parenthesis");
    tpl_value_t key = tpl_str(from, (size_t)(f->p - 1 - from));
    if (f->args->kind != V_DICT && !f->by_key)
        return tpl_type_error(f->rt, "a %% conversion with a key needs a mapping, not a value of type '%s'",
                              tpl_type_name(f->args));
    const tpl_value_t *hit = f->args->kind == V_DICT ? tpl_dict_get(f->args->u.dict, &key) : NULL;
    if (!hit)
        return tpl_type_error(f->rt, "the mapping has no key '%.*s' for a %% conversion", (int)(key.len > 200 ? 200 : key.len),
                              key.u.s);
    *holder = *hit;
    return 0;
}

static int read_spec(struct format *f, struct spec *s, tpl_value_t *value, bool *has_value) {
    *s = (struct spec){ .width = 0, .precision = -1 };
    *has_value = false;
    if (f->p < f->end && *f->p == '(') {
        if (read_key(f, value) < 0)
            return -1;
        *has_value = true;
    }
    for (; f->p < f->end && *f->p && strchr("-+ #0", *f->p); f->p++) {
        s->left = s->left || *f->p == '-';
        s->plus = s->plus || *f->p == '+';
        s->blank = s->blank || *f->p == ' ';
        s->alt = s->alt || *f->p == '#';
        s->zero = s->zero || *f->p == '0';
    }
    if (read_number(f, "the width of a % conversion", &s->width) < 0)
        return -1;
    if (s->width < 0) {
        s->left = true;
        s->width = s->width < -INT32_MAX ? INT32_MAX : -s->width;
    }
    if (f->p < f->end && *f->p == '.') {
        f->p++;
        if (read_number(f, "the precision of a % conversion", &s->precision) < 0)
            return -1;
        s->precision = s->precision < 0 ? 0 : s->precision;
    }
    f->p += f->p < f->end && *f->p && strchr("hlL", *f->p);
    if (f->p >= f->end)
        return tpl_type_error(f->rt, "a %% conversion is not complete");
    s->kind = *f->p++;
    return (uint64_t)s->width > f->rt->limits.max_output
               ? tpl_fail(f->rt, OSMO_EUSAGE, "a %% conversion makes more than %zu bytes of text", f->rt->limits.max_output)
               : 0;
}

/* ---- writing ---- */
static void pad(buf_t *b, int64_t n, char fill) {
    for (; n > 0 && !buf_failed(b); n--)
        buf_putc(b, fill);
}

/* A sign, a prefix such as 0x, and digits, brought to the width. */
static void put_number(struct format *f, const struct spec *s, bool negative, const char *prefix, const char *digits) {
    char sign[2] = { negative ? '-' : s->plus ? '+' : s->blank ? ' ' : 0, 0 };
    int64_t missing = s->width - (int64_t)(strlen(sign) + strlen(prefix) + strlen(digits));
    if (!s->left && !s->zero)
        pad(f->out, missing, ' ');
    buf_puts(f->out, sign);
    buf_puts(f->out, prefix);
    if (!s->left && s->zero)
        pad(f->out, missing, '0');
    buf_puts(f->out, digits);
    if (s->left)
        pad(f->out, missing, ' ');
}

static int put_int(struct format *f, const struct spec *s, const tpl_value_t *v) {
    _cleanup_buf_ buf_t digits = BUF_INIT(f->rt->limits.max_output), text = BUF_INIT(f->rt->limits.max_output);
    tpl_value_t whole = *v;
    bool decimal = strchr("diu", s->kind) != NULL, negative;
    if (v->kind == V_FLOAT && decimal) {
        if (tpl_double_to_whole(f->rt, v->u.f, &whole) < 0)
            return -1;
    } else if (!tpl_is_any_int(v) || (!decimal && f->safe)) {
        return tpl_type_error(f->rt, "%%%c needs an integer, not a value of type '%s'", s->kind, tpl_type_name(v));
    }
    if (tpl_big_digits(f->rt, &whole, decimal ? 10 : s->kind == 'o' ? 8 : 16, &digits, &negative) < 0)
        return -1;
    pad(&text, s->precision - (int64_t)digits.len, '0');
    for (size_t i = 0; i < digits.len; i++)
        buf_putc(&text, s->kind == 'X' ? (char)toupper((unsigned char)digits.data[i]) : digits.data[i]);
    put_number(f, s, negative, !s->alt || decimal ? "" : s->kind == 'o' ? "0o" : s->kind == 'x' ? "0x" : "0X", buf_cstr(&text));
    return tpl_buf_check(f->rt, &digits) < 0 ? -1 : tpl_buf_check(f->rt, &text);
}

static int put_float(struct format *f, const struct spec *s, const tpl_value_t *v) {
    char text[PRECISION_MAX + 400], form[16];
    double d;
    if (tpl_to_double(f->rt, "a % conversion", v, &d) < 0)
        return -1;
    bool upper = s->kind >= 'A' && s->kind <= 'Z';
    if (isfinite(d)) {
        snprintf(form, sizeof(form), "%%%s.*%c", s->alt ? "#" : "", s->kind);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), form, (int)(s->precision < 0 ? 6 : s->precision), fabs(d));
#pragma GCC diagnostic pop
    } else {
        strcpy(text, isnan(d) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
    }
    put_number(f, s, signbit(d) && !isnan(d), "", text);
    return 0;
}

static void ascii_only(const char *s, size_t len, buf_t *b) {
    for (const char *end = s + len; s < end;) {
        size_t n;
        uint32_t c = tpl_char_get(s, end, &n);
        if (c < 0x80)
            buf_putc(b, (char)c);
        else
            buf_printf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        s += n;
    }
}

/* A failed append is left to the caller, who checks the buffer. */
static int text_of(struct format *f, char kind, const tpl_value_t *v, buf_t *b) {
    _cleanup_buf_ buf_t plain = BUF_INIT(f->rt->limits.max_output);
    tpl_value_t t;
    if (kind == 'c') {
        if (v->kind == V_STR ? tpl_char_count(v->u.s, v->len) != 1 : !tpl_is_int(v) || v->u.i < 0 || v->u.i >= 0x110000)
            return tpl_type_error(f->rt, "%%c needs a character or the number of one");
        if (v->kind == V_STR)
            buf_append(b, v->u.s, v->len);
        else
            tpl_char_put(b, (uint32_t)v->u.i);
        return 0;
    }
    if (kind == 's' ? (f->safe ? tpl_escape(f->rt, v, &t) : tpl_text(f->rt, v, &t)) < 0 : tpl_repr(f->rt, v, &plain) < 0)
        return -1;
    if (kind != 's' && f->safe) {
        t = tpl_str(buf_cstr(&plain), plain.len);
        if (tpl_escape(f->rt, &t, &t) < 0)
            return -1;
    }
    if (kind == 's' || f->safe)
        buf_append(b, t.u.s, t.len);
    else if (kind == 'a')
        ascii_only(buf_cstr(&plain), plain.len, b);
    else
        buf_append(b, buf_cstr(&plain), plain.len);
    return 0;
}

static int put_text(struct format *f, const struct spec *s, const tpl_value_t *v) {
    _cleanup_buf_ buf_t b = BUF_INIT(f->rt->limits.max_output);
    if (text_of(f, s->kind, v, &b) < 0 || tpl_buf_check(f->rt, &b) < 0)
        return -1;
    size_t len = b.len;
    if (s->precision >= 0 && s->kind != 'c')
        len = tpl_char_offset(buf_cstr(&b), b.len, (size_t)s->precision);
    int64_t missing = s->width - (int64_t)tpl_char_count(buf_cstr(&b), len);
    if (!s->left)
        pad(f->out, missing, ' ');
    buf_append(f->out, b.data, len);
    if (s->left)
        pad(f->out, missing, ' ');
    return 0;
}

static int convert(struct format *f) {
    struct spec s;
    tpl_value_t v;
    bool has_value;
    if (read_spec(f, &s, &v, &has_value) < 0)
        return -1;
    if (s.kind == '%') {
        buf_putc(f->out, '%');
        return 0;
    }
    if (!s.kind || !strchr("diouxXeEfFgGcrsa", s.kind))
        return tpl_type_error(f->rt, "unsupported %% conversion in a text");
    if (!has_value && next_arg(f, &v) < 0)
        return -1;
    if (v.kind == V_UNDEF && !strchr("sra", s.kind))
        return tpl_undefined_error(f->rt, &v);
    if (strchr("csra", s.kind))
        return put_text(f, &s, &v);
    if (s.precision > PRECISION_MAX)
        return tpl_type_error(f->rt, "the precision of a %% conversion is larger than %d", PRECISION_MAX);
    return strchr("diouxX", s.kind) ? put_int(f, &s, &v) : put_float(f, &s, &v);
}

int tpl_percent_format(struct tpl_rt *rt, const tpl_value_t *format, const tpl_value_t *args, tpl_value_t *out) {
    _cleanup_buf_ OUT_BUF(b);
    struct format f = { .rt = rt, .p = format->u.s, .end = format->u.s + format->len, .args = args, .out = &b,
                        .safe = format->flags & V_FLAG_SAFE };
    f.by_key = args->kind == V_LIST || args->kind == V_RANGE || args->kind == V_DICT;
    while (f.p < f.end) {
        const char *hit = memchr(f.p, '%', (size_t)(f.end - f.p)), *to = hit ? hit : f.end;
        buf_append(&b, f.p, (size_t)(to - f.p));
        f.p = to;
        if (hit) {
            f.p++;
            if (convert(&f) < 0)
                return -1;
        }
        if (tpl_buf_check(rt, &b) < 0 || tpl_charge(rt, 1) < 0)
            return -1;
    }
    if (!f.by_key && f.used < (args->kind == V_TUPLE ? args->u.list->len : 1))
        return tpl_type_error(rt, "not all arguments were converted by the %% conversions of a text");
    if (tpl_str_copy(rt, buf_cstr(&b), b.len, out) < 0)
        return -1;
    out->flags = format->flags & V_FLAG_SAFE;
    return 0;
}

static FILTER(f_format) {
    tpl_value_t format, args;
    if (c->args->n_pos && c->args->n_kw)
        return tpl_type_error(rt, "filter 'format' takes positional or named arguments, not both");
    if (tpl_soft_text(rt, &c->self, &format) < 0 ||
        (c->args->n_kw ? tpl_dict_from_args(rt, c->args, &args) : tpl_new_list(rt, V_TUPLE, 0, &args)) < 0)
        return -1;
    for (int i = 0; i < c->args->n_pos; i++) {
        if (tpl_list_add(rt, args.u.list, c->args->pos[i]) < 0)
            return -1;
    }
    return tpl_percent_format(rt, &format, &args, out);
}

const struct tpl_row tpl_format_filters[] = { { "format", f_format, NULL, 0 }, { 0 } };
