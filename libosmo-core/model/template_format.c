/* str.format() and str.format_map() as the sandbox has them: fields reach attributes and items only as expressions do. The
 * mini language behind the colon is tpl_format_value(). Used by template_methods_str.c and by filters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/template_filter.h"
#include "model/template_internal.h"

#define PRECISION_MAX 1000 /* a double has no more digits than that */
#define NESTED_FIELDS 3    /* a field, and fields inside its own specification, twice */

/* [[fill]align][sign][z][#][0][width][grouping][.precision][type] */
struct spec {
    const char *fill;
    size_t fill_len;
    char align, sign, group, type;
    bool alt, zero_off;
    int64_t width, precision;
};

static int spec_number(struct tpl_rt *rt, const char **p, const char *end, int64_t *out) {
    for (*out = 0; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        if (*out > INT32_MAX / 10)
            return tpl_type_error(rt, "a number in a format specification is too large");
        *out = *out * 10 + (**p - '0');
    }
    return 0;
}

static int read_spec(struct tpl_rt *rt, const char *p, size_t len, const tpl_value_t *v, struct spec *s) {
    const char *end = p + len, *all = p;
    size_t n = len ? tpl_char_len(p, end) : 0;
    *s = (struct spec){ .fill = " ", .fill_len = 1, .precision = -1 };
    bool filled = len && p + n < end && p[n] && strchr("<>=^", p[n]);
    if (filled) {
        s->fill = p;
        s->fill_len = n;
        s->align = p[n];
        p += n + 1;
    } else if (len && *p && strchr("<>=^", *p)) {
        s->align = *p++;
    }
    if (p < end && *p && strchr("+- ", *p))
        s->sign = *p++;
    if (p < end && *p == 'z') {
        s->zero_off = true;
        p++;
    }
    if (p < end && *p == '#') {
        s->alt = true;
        p++;
    }
    if (!filled && p < end && *p == '0') {
        if (!s->align)
            s->align = v->kind == V_STR ? '<' : '=';
        s->fill = "0";
        p++;
    }
    if (spec_number(rt, &p, end, &s->width) < 0)
        return -1;
    if (p < end && (*p == ',' || *p == '_'))
        s->group = *p++;
    if (p < end && *p == '.') {
        const char *digits = ++p;
        if (spec_number(rt, &p, end, &s->precision) < 0)
            return -1;
        if (p == digits)
            return tpl_type_error(rt, "the precision is missing in the format specification '%.*s'", (int)len, all);
    }
    if (p < end)
        s->type = *p++;
    if (p < end || (s->type && !strchr("bcdeEfFgGnosxX%", s->type)))
        return tpl_type_error(rt, "bad format specification '%.*s' for a value of type '%s'", (int)(len > 100 ? 100 : len), all,
                              tpl_type_name(v));
    if (s->group && (s->type == 'n' || s->type == 'c' || s->type == 's'))
        return tpl_type_error(rt, "'%c' does not go with '%c' in a format specification", s->group, s->type);
    return (uint64_t)s->width > rt->limits.max_output
               ? tpl_fail(rt, OSMO_EUSAGE, "a format specification makes more than %zu bytes of text", rt->limits.max_output)
               : 0;
}

static void fill(buf_t *b, int64_t n, const struct spec *s) {
    for (; n > 0 && !buf_failed(b); n--)
        buf_append(b, s->fill, s->fill_len);
}

static void put_aligned(const struct spec *s, char align, const char *head, size_t head_len, const char *body, size_t len,
                        size_t chars, buf_t *out) {
    int64_t missing = s->width - (int64_t)(head_len + chars), left = 0;
    missing = missing > 0 ? missing : 0;
    if (align == '>' || align == '^')
        left = align == '^' ? missing / 2 : missing;
    fill(out, left, s);
    buf_append(out, head, head_len);
    if (align == '=')
        fill(out, missing, s);
    buf_append(out, body, len);
    if (align == '<' || align == '^')
        fill(out, missing - left, s);
}

static int format_text(struct tpl_rt *rt, const tpl_value_t *v, const struct spec *s, buf_t *out) {
    if ((s->type && s->type != 's') || s->sign || s->alt || s->group || s->align == '=' || s->zero_off)
        return tpl_type_error(rt, "the format specification of a text can have only fill, '<', '>' or '^', width, precision and 's'");
    size_t len = s->precision < 0 ? v->len : tpl_char_offset(v->u.s, v->len, (size_t)s->precision);
    put_aligned(s, s->align ? s->align : '<', "", 0, v->u.s, len, tpl_char_count(v->u.s, len), out);
    return tpl_charge(rt, 1 + len / 64 + (size_t)s->width / 64);
}

/* ---- numbers ---- */
/* Digits with a separator before every `every`-th from the end. With a fill of zeros these are grouped too, until the
 * number is as wide as asked for. */
static void group_digits(const struct spec *s, const char *digits, size_t n, int every, int64_t want, buf_t *out) {
    bool zeros = s->align == '=' && s->fill_len == 1 && *s->fill == '0';
    int64_t total = (int64_t)n;
    if (s->group && zeros) {
        while (total + (total - 1) / every < want)
            total++;
    }
    for (int64_t i = total; i > 0; i--) {
        buf_putc(out, i > (int64_t)n ? '0' : digits[(int64_t)n - i]);
        if (s->group && i > 1 && (i - 1) % every == 0)
            buf_putc(out, s->group);
    }
}

static void put_number(const struct spec *s, bool negative, const char *prefix, const char *digits, size_t whole, const char *rest,
                       int every, buf_t *out) {
    char head[8];
    size_t n = 0;
    if (negative || (s->sign && s->sign != '-'))
        head[n++] = negative ? '-' : s->sign;
    for (const char *p = prefix; *p; p++)
        head[n++] = *p;
    buf_t body = BUF_INIT(out->max);
    group_digits(s, digits, whole, every, s->width - (int64_t)(n + strlen(rest)), &body);
    buf_puts(&body, rest);
    if (buf_failed(&body))
        out->code = out->code ? out->code : body.code;
    else
        put_aligned(s, s->align ? s->align : '>', head, n, buf_cstr(&body), body.len, body.len, out);
    buf_free(&body);
}

static int format_int(struct tpl_rt *rt, const tpl_value_t *v, const struct spec *s, buf_t *out) {
    _cleanup_buf_ buf_t digits = BUF_INIT(rt->limits.max_output);
    int64_t i = v->kind == V_BIG ? -1 : v->u.i;
    bool negative;
    unsigned base = s->type == 'b' ? 2 : s->type == 'o' ? 8 : s->type == 'x' || s->type == 'X' ? 16 : 10;
    if (s->precision >= 0)
        return tpl_type_error(rt, "the format specification of an integer cannot have a precision");
    if (s->zero_off)
        return tpl_type_error(rt, "the format specification of an integer cannot have 'z'");
    if (s->group == ',' && base != 10)
        return tpl_type_error(rt, "',' does not go with '%c' in a format specification", s->type);
    if (s->type == 'c') {
        buf_t one = BUF_INIT(8);
        if (s->sign || s->alt || s->group || i < 0 || i >= 0x110000 || (i >= 0xd800 && i < 0xe000))
            return tpl_type_error(rt, "'c' in a format specification needs the number of a character, without sign");
        tpl_char_put(&one, (uint32_t)i);
        put_aligned(s, s->align ? s->align : '<', "", 0, buf_cstr(&one), one.len, 1, out);
        buf_free(&one);
        return 0;
    }
    if (tpl_big_digits(rt, v, base, &digits, &negative) < 0 || tpl_buf_check(rt, &digits) < 0)
        return -1;
    for (size_t k = 0; s->type == 'X' && k < digits.len; k++)
        digits.data[k] = (char)(digits.data[k] >= 'a' ? digits.data[k] - 32 : digits.data[k]);
    const char *prefix = !s->alt || base == 10 ? "" : base == 2 ? "0b" : base == 8 ? "0o" : s->type == 'X' ? "0X" : "0x";
    put_number(s, negative, prefix, buf_cstr(&digits), digits.len, "", base == 10 ? 3 : 4, out);
    return tpl_charge(rt, 1 + (size_t)s->width / 64);
}

/* Without a type: like g, but with a digit behind the point, and with an exponent one step earlier. */
static void plain_digits(double d, int precision, bool alt, char *out, size_t size) {
    char probe[PRECISION_MAX + 32];
    snprintf(probe, sizeof(probe), alt ? "%#.*e" : "%.*e", precision - 1, d);
    const char *e = strchr(probe, 'e');
    int exponent = e ? atoi(e + 1) : 0;
    if (e && (exponent < -4 || exponent >= precision - 1)) {
        size_t n = (size_t)(e - probe); /* the mantissa, without the zeros at its end */
        while (!alt && memchr(probe, '.', n) && probe[n - 1] == '0')
            n--;
        n -= !alt && probe[n - 1] == '.';
        snprintf(out, size, "%.*s%s", (int)n, probe, e);
        return;
    }
    snprintf(out, size, alt ? "%#.*g" : "%.*g", precision, d);
    size_t n = strlen(out);
    if (!strchr(out, '.') && n + 3 <= size)
        memcpy(out + n, ".0", 3);
}

/* Digits of a finite number of at least zero, as the type asks for; `size` is enough for PRECISION_MAX. */
static void float_digits(double d, const struct spec *s, char *out, size_t size) {
    char form[16];
    char type = s->type == 'n' ? 'g' : s->type == '%' ? 'f' : s->type;
    int precision = (int)(s->precision < 0 ? 6 : s->precision);
    if (!type && s->precision < 0) { /* as repr() */
        tpl_float_repr(d, out);
        char *e = strchr(out, 'e');
        if (s->alt && e && !strchr(out, '.')) {
            memmove(e + 1, e, strlen(e) + 1);
            *e = '.';
        }
        return;
    }
    if (!type) {
        plain_digits(d, precision ? precision : 1, s->alt, out, size);
        return;
    }
    if (s->alt && (type == 'g' || type == 'G')) { /* by hand: not every C library rounds 99999.5 up to an exponent rightly */
        char probe[PRECISION_MAX + 32];
        precision = precision ? precision : 1;
        snprintf(probe, sizeof(probe), "%.*e", precision - 1, d);
        const char *e = strchr(probe, 'e');
        int exponent = e ? atoi(e + 1) : 0;
        bool short_form = exponent >= -4 && exponent < precision;
        type = short_form ? 'f' : type == 'G' ? 'E' : 'e';
        precision = short_form ? precision - 1 - exponent : precision - 1;
    }
    snprintf(form, sizeof(form), "%%%s.*%c", s->alt ? "#" : "", type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(out, size, form, precision, d);
#pragma GCC diagnostic pop
}

static int format_float(struct tpl_rt *rt, double d, const struct spec *s, buf_t *out) {
    char text[PRECISION_MAX + 400];
    bool upper = s->type == 'E' || s->type == 'F' || s->type == 'G', negative = signbit(d) && !isnan(d);
    if (strchr("bcdosxX", s->type ? s->type : 'f'))
        return tpl_type_error(rt, "'%c' in a format specification does not go with a number of type 'float'", s->type);
    if (s->precision > PRECISION_MAX)
        return tpl_type_error(rt, "the precision of a format specification is larger than %d", PRECISION_MAX);
    if (isfinite(d))
        float_digits(fabs(s->type == '%' ? d * 100 : d), s, text, sizeof(text) - 2);
    else
        strcpy(text, isnan(d) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
    if (s->type == '%') /* room was left for it */
        memcpy(text + strlen(text), "%", 2);
    if (s->zero_off && negative && !text[strspn(text, "0.%")])
        negative = false;
    size_t whole = strspn(text, "0123456789");
    if (!whole) { /* nan and inf have nothing to group */
        struct spec plain = *s;
        plain.group = 0;
        put_number(&plain, negative, "", text, strlen(text), "", 3, out);
    } else {
        put_number(s, negative, "", text, whole, text + whole, 3, out);
    }
    return tpl_charge(rt, 1 + (size_t)s->width / 64);
}

int tpl_format_value(struct tpl_rt *rt, const tpl_value_t *v, const char *spec, size_t len, buf_t *out) {
    struct spec s;
    if (v->kind == V_UNDEF && tpl_undefined_use(rt, v) < 0)
        return -1;
    if (!len)
        return tpl_print(rt, v, out);
    if (v->kind != V_STR && !tpl_is_number(v) && v->kind != V_BIG)
        return tpl_type_error(rt, "a value of type '%s' takes no format specification", tpl_type_name(v));
    if (read_spec(rt, spec, len, v, &s) < 0)
        return -1;
    int rc;
    if (v->kind == V_STR)
        rc = format_text(rt, v, &s, out);
    else if (v->kind == V_FLOAT)
        rc = format_float(rt, v->u.f, &s, out);
    else if (s.type && strchr("eEfFgG%", s.type))
        rc = format_float(rt, v->kind == V_BIG ? tpl_big_double(v) : (double)v->u.i, &s, out);
    else if (s.type == 's')
        rc = tpl_type_error(rt, "'s' in a format specification does not go with a number of type '%s'", tpl_type_name(v));
    else
        rc = format_int(rt, v, &s, out);
    return rc < 0 ? -1 : tpl_buf_check(rt, out);
}

/* ---- fields ---- */
enum { NUMBERING_OPEN, NUMBERING_OWN, NUMBERING_GIVEN };
struct format {
    struct tpl_rt *rt;
    const struct tpl_args *args;
    const tpl_value_t *map;
    int64_t next; /* number of the next field without one */
    int numbering; /* NUMBERING_… */
    bool safe;
};

static int field_root(struct format *f, const char *name, size_t len, tpl_value_t *out) {
    struct tpl_rt *rt = f->rt;
    bool number = len > 0;
    int64_t at = 0;
    for (size_t i = 0; i < len; i++)
        number = number && name[i] >= '0' && name[i] <= '9';
    if (number || !len) {
        int want = number ? NUMBERING_GIVEN : NUMBERING_OWN;
        if (f->numbering != NUMBERING_OPEN && f->numbering != want)
            return tpl_type_error(rt, "format() cannot mix fields with numbers and fields without");
        f->numbering = want;
        if (!number)
            at = f->next++;
        else if (!tpl_text_to_int(name, len, 10, &at))
            at = INT64_MAX;
        if (at >= f->args->n_pos)
            return tpl_type_error(rt, "format() has no argument %lld", (long long)at);
        *out = f->args->pos[at];
        return 0;
    }
    tpl_value_t key = tpl_str(name, len);
    if (f->map) {
        if (f->map->kind == V_UNDEF)
            return tpl_undefined_error(rt, f->map);
        const tpl_value_t *hit = f->map->kind == V_DICT ? tpl_dict_get(f->map->u.dict, &key) : NULL;
        if (!hit)
            return tpl_type_error(rt, "format_map() has no value '%.*s'", (int)(len > 200 ? 200 : len), name);
        *out = *hit;
        return 0;
    }
    for (int i = 0; i < f->args->n_kw; i++) {
        if (tpl_str_is(&key, f->args->names[i])) {
            *out = f->args->kw[i];
            return 0;
        }
    }
    return tpl_type_error(rt, "format() has no argument '%.*s'", (int)(len > 200 ? 200 : len), name);
}

/* name.attribute[item]… */
static int field_value(struct format *f, const char *p, const char *end, tpl_value_t *out) {
    const char *q = p;
    while (q < end && *q != '.' && *q != '[')
        q++;
    if (field_root(f, p, (size_t)(q - p), out) < 0)
        return -1;
    while (q < end) {
        tpl_value_t of = *out;
        const char *from = q + 1, *to = from;
        bool item = *q == '[';
        if (!item && *q != '.')
            return tpl_type_error(f->rt, "only '.' or '[' may follow ']' in a field of format()");
        while (to < end && (item ? *to != ']' : *to != '.' && *to != '['))
            to++;
        if (from == to || (item && to == end))
            return tpl_type_error(f->rt, "%s in a field of format()", from == to ? "an attribute is empty" : "']' is missing");
        tpl_value_t key = tpl_str(from, (size_t)(to - from));
        int64_t at;
        bool digits = true;
        for (const char *d = from; d < to; d++)
            digits = digits && *d >= '0' && *d <= '9';
        if (item && digits && tpl_text_to_int(from, key.len, 10, &at))
            key = tpl_int(at);
        if ((item ? tpl_getitem(f->rt, &of, &key, out) : tpl_getattr(f->rt, &of, from, (size_t)(to - from), out)) < 0)
            return -1;
        q = to + item;
    }
    return 0;
}

static int format_into(struct format *f, const char *p, const char *end, int depth, buf_t *out);

static int convert(struct format *f, char how, tpl_value_t *v) {
    buf_t b = BUF_INIT(f->rt->limits.max_output);
    if (how == 's')
        return tpl_soft_text(f->rt, v, v);
    if (how != 'r' && how != 'a')
        return tpl_type_error(f->rt, "unknown conversion '!%c' in a field of format()", how);
    if (tpl_repr(f->rt, v, &b) < 0) {
        buf_free(&b);
        return -1;
    }
    if (how == 'a') {
        buf_t plain = b;
        b = (buf_t)BUF_INIT(f->rt->limits.max_output);
        for (const char *s = buf_cstr(&plain), *end = s + plain.len; s < end;) {
            size_t n;
            uint32_t c = tpl_char_get(s, end, &n);
            if (c < 0x80)
                buf_putc(&b, (char)c);
            else
                buf_printf(&b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
            s += n;
        }
        buf_free(&plain);
    }
    return tpl_str_take(f->rt, &b, v);
}

static int put_field(struct format *f, const char *p, const char *end, int depth, buf_t *out) {
    _cleanup_buf_ buf_t spec = BUF_INIT(f->rt->limits.max_output);
    const char *q = p;
    tpl_value_t v;
    char how = 0;
    for (int brackets = 0; q < end && (brackets || (*q != '!' && *q != ':')); q++)
        brackets = *q == '[' ? 1 : *q == ']' ? 0 : brackets;
    if (field_value(f, p, q, &v) < 0)
        return -1;
    if (q < end && *q == '!') {
        if (q + 1 >= end || (q + 2 < end && q[2] != ':'))
            return tpl_type_error(f->rt, "a field of format() has a bad conversion behind '!'");
        how = q[1];
        q += 2;
    }
    if (q < end && format_into(f, q + 1, end, depth + 1, &spec) < 0)
        return -1;
    if (how && convert(f, how, &v) < 0)
        return -1;
    if (!f->safe)
        return tpl_format_value(f->rt, &v, buf_cstr(&spec), spec.len, out);
    if (v.kind == V_STR && (v.flags & V_FLAG_SAFE) && !spec.len) {
        buf_append(out, v.u.s, v.len);
        return 0;
    }
    buf_t plain = BUF_INIT(f->rt->limits.max_output);
    if (tpl_format_value(f->rt, &v, buf_cstr(&spec), spec.len, &plain) < 0) {
        buf_free(&plain);
        return -1;
    }
    tpl_value_t text, escaped;
    if (tpl_str_take(f->rt, &plain, &text) < 0 || tpl_escape(f->rt, &text, &escaped) < 0)
        return -1;
    buf_append(out, escaped.u.s, escaped.len);
    return 0;
}

static int format_into(struct format *f, const char *p, const char *end, int depth, buf_t *out) {
    if (depth > NESTED_FIELDS)
        return tpl_type_error(f->rt, "fields of format() are nested too deeply");
    while (p < end) {
        const char *run = p;
        while (p < end && *p != '{' && *p != '}')
            p++;
        buf_append(out, run, (size_t)(p - run));
        if (p >= end)
            break;
        if (p + 1 < end && p[1] == *p) {
            buf_putc(out, *p);
            p += 2;
            continue;
        }
        if (*p == '}')
            return tpl_type_error(f->rt, "a single '}' in the text of format()");
        const char *from = ++p;
        int open = 1;
        for (; p < end && open; p++)
            open += *p == '{' ? 1 : *p == '}' ? -1 : 0;
        if (open)
            return tpl_type_error(f->rt, "a '{' without its '}' in the text of format()");
        if (tpl_charge(f->rt, 1) < 0 || put_field(f, from, p - 1, depth, out) < 0)
            return -1;
    }
    return tpl_buf_check(f->rt, out);
}

int tpl_format(struct tpl_rt *rt, const tpl_value_t *format, const struct tpl_args *args, const tpl_value_t *map, tpl_value_t *out) {
    struct format f = { .rt = rt, .args = args, .map = map, .safe = format->flags & V_FLAG_SAFE };
    buf_t b = BUF_INIT(rt->limits.max_output);
    if (format_into(&f, format->u.s, format->u.s + format->len, 1, &b) == 0)
        return tpl_take_like(rt, &b, format, out);
    buf_free(&b);
    return -1;
}
