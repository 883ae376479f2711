/* Text side of template values: characters, Python's str() and repr(), conversions from JSON and YAML. Letter case is in
 * template_unicode.c.
 * Used by template*.c and submission.c. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/template_filter.h"

/* ---- characters ---- */
uint32_t tpl_char_get(const char *s, const char *end, size_t *len) {
    const unsigned char *p = (const unsigned char *)s;
    size_t room = (size_t)(end - s), n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 1;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    if (n > room)
        n = 1;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) { /* broken sequence: its first byte stands alone */
            n = 1;
            c = p[0];
            break;
        }
        c = c << 6 | (p[i] & 0x3f);
    }
    *len = n;
    return c;
}

size_t tpl_char_len(const char *s, const char *end) {
    size_t n;
    if ((unsigned char)*s < 0x80)
        return 1;
    tpl_char_get(s, end, &n);
    return n;
}

void tpl_char_put(buf_t *b, uint32_t c) {
    char t[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n; i-- > 1; c >>= 6)
        t[i] = (char)(0x80 | (c & 0x3f));
    t[0] = (char)(lead[n] | c);
    buf_append(b, t, n);
}

size_t tpl_char_count(const char *s, size_t len) {
    size_t n = 0;
    for (const char *end = s + len; s < end; n++)
        s += tpl_char_len(s, end);
    return n;
}

size_t tpl_char_offset(const char *s, size_t len, size_t chars) {
    const char *p = s, *end = s + len;
    while (p < end && chars--)
        p += tpl_char_len(p, end);
    return (size_t)(p - s);
}

const char *tpl_find(const char *hay, size_t hay_len, const char *needle, size_t len) {
    return len == 0 ? hay : memmem(hay, hay_len, needle, len);
}

/* ---- numbers ---- */
void tpl_float_repr(double v, char out[40]) {
    if (isnan(v))
        strcpy(out, "nan");
    else if (isinf(v))
        strcpy(out, v < 0 ? "-inf" : "inf");
    else
        double_repr(v, out);
}

/* Python's int() and float() allow blanks around, single underscores between digits, and digits of all scripts. This
 * strips the first two and writes the last as ASCII. */
static bool clean_number(const char *s, size_t len, bool whole, char *out, size_t size) {
    size_t n = 0;
    const char *end = s + len;
    bool digit = false, gap = false; /* what stands before the current character */
    tpl_strip(&s, &end);
    if (s == end || (size_t)(end - s) >= size)
        return false;
    for (size_t used; s < end; s += used) {
        uint32_t c = tpl_char_get(s, end, &used);
        int value = tpl_digit(c);
        if (c == '_') {
            if (!digit)
                return false;
            digit = false;
            gap = true;
            continue;
        }
        if (!c || (c >= 0x80 && value < 0))
            return false;
        digit = value >= 0 || (whole && isalnum((int)c)); /* letters are digits too, and the x of 0x may be followed by one */
        if (gap && !digit)
            return false;
        gap = false;
        out[n++] = value >= 0 ? (char)('0' + value) : (char)c;
    }
    out[n] = 0;
    return n > 0 && !gap;
}

#define NUMBER_MAX 4400 /* bytes of the text of an integer; Python reads no more than 4300 digits either */

/* Sign, prefix and digits of an integer: false if the text is none. */
static bool read_digits(const char *s, size_t len, int *base, char text[NUMBER_MAX], bool *negative, const char **digits) {
    if ((*base != 0 && *base < 2) || *base > 36 || !clean_number(s, len, true, text, NUMBER_MAX))
        return false;
    const char *p = text;
    *negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    int prefix = p[0] == '0' ? tolower((unsigned char)p[1]) : 0;
    int means = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 0;
    if (means && (*base == 0 || *base == means)) {
        p += 2;
        *base = means;
    } else if (*base == 0) {
        if (*p == '0' && p[strspn(p, "0")]) /* not octal, and nothing else either */
            return false;
        *base = 10;
    }
    *digits = p;
    for (; *p; p++) {
        int value = *p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10;
        if (!isalnum((unsigned char)*p) || value >= *base)
            return false;
    }
    return p > *digits;
}

bool tpl_text_to_int(const char *s, size_t len, int base, int64_t *out) {
    char text[NUMBER_MAX];
    const char *digits;
    bool negative;
    if (!read_digits(s, len, &base, text, &negative, &digits))
        return false;
    errno = 0;
    unsigned long long v = strtoull(digits, NULL, base);
    if (errno || v > (unsigned long long)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static int big_from_digits(struct tpl_rt *rt, const char *digits, int base, bool negative, tpl_value_t *out) {
    size_t len = strlen(digits);
    tpl_value_t zero = tpl_int(0), v;
    if (tpl_charge(rt, 1 + len * len / 256) < 0)
        return -1;
    if (!tpl_big_parse(&rt->arena, digits, len, (unsigned)base, &v))
        return tpl_type_error(rt, "an integer has too many digits");
    *out = v;
    return negative ? tpl_binary(rt, OP_SUB, &zero, &v, out) : 0;
}

int tpl_text_to_whole(struct tpl_rt *rt, const char *s, size_t len, int base, tpl_value_t *out) {
    char text[NUMBER_MAX];
    const char *digits;
    bool negative;
    int64_t i;
    if (tpl_text_to_int(s, len, base, &i)) {
        *out = tpl_int(i);
        return 1;
    }
    if (!read_digits(s, len, &base, text, &negative, &digits) || (base == 10 && strlen(digits) > 4300))
        return 0;
    return big_from_digits(rt, digits, base, negative, out) < 0 ? -1 : 1;
}

int tpl_double_to_whole(struct tpl_rt *rt, double v, tpl_value_t *out) {
    char text[400];
    if (v >= -9223372036854775808.0 && v < 9223372036854775808.0) {
        *out = tpl_int((int64_t)v);
        return 0;
    }
    if (!isfinite(v))
        return tpl_type_error(rt, "an infinite value or nan is no integer");
    snprintf(text, sizeof(text), "%.0f", fabs(v));
    return big_from_digits(rt, text, 10, v < 0, out);
}

bool tpl_text_to_float(const char *s, size_t len, double *out) {
    char t[2 * NUMBER_MAX], *end;
    if (!clean_number(s, len, false, t, sizeof(t)))
        return false;
    const char *p = t + (*t == '-' || *t == '+');
    static const char *const words[] = { "nan", "inf", "infinity" };
    bool word = false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        word = word || strcasecmp(p, words[i]) == 0;
    if (!word && p[strspn(p, "0123456789.eE+-")])
        return false; /* strtod would take hexadecimal and nan(…) */
    *out = strtod(t, &end);
    return *end == 0;
}

/* ---- repr and str ---- */
static void repr_char(uint32_t c, const char *s, size_t n, char quote, buf_t *out) {
    if (c == (uint32_t)quote || c == '\\')
        buf_printf(out, "\\%c", (char)c);
    else if (c == '\n')
        buf_puts(out, "\\n");
    else if (c == '\r')
        buf_puts(out, "\\r");
    else if (c == '\t')
        buf_puts(out, "\\t");
    else if (tpl_is_printable(c))
        buf_append(out, s, n);
    else
        buf_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

void tpl_repr_str(const char *s, size_t len, buf_t *out) {
    char quote = memchr(s, '\'', len) && !memchr(s, '"', len) ? '"' : '\'';
    buf_putc(out, quote);
    for (const char *end = s + len; s < end;) {
        const char *run = s; /* plain bytes in one go */
        while (s < end && *s >= 0x20 && *s < 0x7f && *s != '\\' && *s != quote)
            s++;
        buf_append(out, run, (size_t)(s - run));
        if (s < end) {
            size_t n;
            uint32_t c = tpl_char_get(s, end, &n);
            repr_char(c, s, n, quote, out);
            s += n;
        }
    }
    buf_putc(out, quote);
}

static int repr_items(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    const struct tpl_list *l = v->u.list;
    bool tuple = v->kind == V_TUPLE;
    if (l->view)
        buf_printf(out, "%s(", l->view);
    buf_putc(out, tuple ? '(' : '[');
    for (size_t i = 0; i < l->len; i++) {
        if (i)
            buf_puts(out, ", ");
        if (tpl_repr(rt, &l->items[i], out) < 0)
            return -1;
    }
    if (tuple && l->len == 1)
        buf_putc(out, ',');
    buf_putc(out, tuple ? ')' : ']');
    if (l->view)
        buf_putc(out, ')');
    return 0;
}

static int repr_dict(struct tpl_rt *rt, const struct tpl_dict *d, buf_t *out) {
    buf_putc(out, '{');
    for (size_t i = 0; i < d->len; i++) {
        if (i)
            buf_puts(out, ", ");
        if (tpl_repr(rt, &d->pairs[i].key, out) < 0)
            return -1;
        buf_puts(out, ": ");
        if (tpl_repr(rt, &d->pairs[i].value, out) < 0)
            return -1;
    }
    buf_putc(out, '}');
    return 0;
}

static int repr_deep(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    int rc = 0;
    if (tpl_descend(rt) < 0)
        return -1;
    switch (v->kind) {
    case V_LIST: case V_TUPLE: rc = repr_items(rt, v, out); break;
    case V_DICT: rc = repr_dict(rt, v->u.dict, out); break;
    case V_NAMESPACE:
        buf_puts(out, "<Namespace ");
        rc = repr_dict(rt, v->u.dict, out);
        buf_putc(out, '>');
        break;
    case V_RANGE: {
        const struct tpl_range *r = v->u.range;
        buf_printf(out, "range(%lld, %lld", (long long)r->start, (long long)r->stop);
        if (r->step != 1)
            buf_printf(out, ", %lld", (long long)r->step);
        buf_putc(out, ')');
        break;
    }
    case V_ITER:
        rc = tpl_type_error(rt, "a %s cannot be printed, it has no text of its own: put |list or |join behind it",
                            tpl_type_name(v));
        break;
    default: rc = tpl_repr_other(rt, v, out);
    }
    rt->depth--;
    return rc;
}

int tpl_repr(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    if (v->kind == V_UNDEF) {
        buf_puts(out, "Undefined");
        return tpl_buf_check(rt, out);
    }
    if (v->kind != V_STR)
        return tpl_print(rt, v, out);
    if (tpl_charge(rt, 1 + v->len / 64) < 0)
        return -1;
    if (v->flags & V_FLAG_SAFE)
        buf_puts(out, "Markup(");
    tpl_repr_str(v->u.s, v->len, out);
    if (v->flags & V_FLAG_SAFE)
        buf_putc(out, ')');
    return tpl_buf_check(rt, out);
}

static void print_int(int64_t i, buf_t *out) {
    char t[24], *p = t + sizeof(t);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do {
        *--p = (char)('0' + u % 10);
    } while (u /= 10);
    if (i < 0)
        *--p = '-';
    buf_append(out, p, (size_t)(t + sizeof(t) - p));
}

int tpl_print(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    char number[40];
    switch (v->kind) {
    case V_STR: buf_append(out, v->u.s, v->len); break;
    case V_INT: print_int(v->u.i, out); break;
    case V_BOOL: buf_puts(out, v->u.i ? "True" : "False"); break;
    case V_BIG: return tpl_big_print(rt, v, out);
    case V_NONE: buf_puts(out, "None"); break;
    case V_FLOAT:
        tpl_float_repr(v->u.f, number);
        buf_puts(out, number);
        break;
    case V_UNDEF: return tpl_undefined_use(rt, v);
    default:
        if (repr_deep(rt, v, out) < 0)
            return -1;
    }
    if (buf_failed(out))
        return tpl_buf_check(rt, out);
    return tpl_charge(rt, 1);
}

int tpl_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    buf_t b = BUF_INIT(rt->limits.max_output);
    if (v->kind == V_STR) {
        *out = *v;
        out->flags = 0;
        return 0;
    }
    if (tpl_print(rt, v, &b) < 0) {
        buf_free(&b);
        return -1;
    }
    return tpl_str_take(rt, &b, out);
}

int tpl_soft_text(struct tpl_rt *rt, const tpl_value_t *v, tpl_value_t *out) {
    if (v->kind != V_STR)
        return tpl_text(rt, v, out);
    *out = *v;
    return 0;
}

int tpl_take_like(struct tpl_rt *rt, buf_t *b, const tpl_value_t *like, tpl_value_t *out) {
    uint8_t flags = like->kind == V_STR ? like->flags & V_FLAG_SAFE : 0;
    if (tpl_str_take(rt, b, out) < 0)
        return -1;
    out->flags = flags;
    return 0;
}

/* ---- from the outside ---- */
static int from_json_object(struct tpl_rt *rt, const json_t *v, tpl_value_t *out) {
    json_iter_t it = json_iter(v);
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    while (json_iter_next(&it)) {
        tpl_value_t key, value;
        if (tpl_str_copy(rt, it.key, strlen(it.key), &key) < 0 || tpl_from_json(rt, it.value, &value) < 0 ||
            tpl_dict_set(rt, out->u.dict, key, value) < 0)
            return -1;
    }
    return 0;
}

static int from_json_array(struct tpl_rt *rt, const json_t *v, tpl_value_t *out) {
    size_t n = json_len(v);
    if (tpl_new_list(rt, V_LIST, n, out) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        tpl_value_t item;
        if (tpl_from_json(rt, json_at(v, i), &item) < 0 || tpl_list_add(rt, out->u.list, item) < 0)
            return -1;
    }
    return 0;
}

int tpl_from_json(struct tpl_rt *rt, const json_t *v, tpl_value_t *out) {
    int rc = 0;
    if (tpl_descend(rt) < 0)
        return -1;
    switch (json_kind(v)) {
    case JSON_NULL: *out = tpl_none(); break;
    case JSON_BOOL: *out = tpl_bool(json_as_bool(v, false)); break;
    case JSON_INT: *out = tpl_int(json_as_int(v, 0)); break;
    case JSON_DOUBLE: *out = tpl_float(json_as_double(v, 0)); break;
    case JSON_STRING: {
        size_t len;
        const char *s = json_bytes(v, &len);
        rc = tpl_str_copy(rt, s, len, out);
        break;
    }
    case JSON_ARRAY: rc = from_json_array(rt, v, out); break;
    case JSON_OBJECT: rc = from_json_object(rt, v, out); break;
    }
    rt->depth--;
    return rc;
}

static int from_yaml_map(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out) {
    if (tpl_new_dict(rt, out) < 0)
        return -1;
    for (size_t i = 0; i < n->len; i++) {
        tpl_value_t key, value;
        if (tpl_from_yaml(rt, n->keys[i], &key) < 0 || tpl_from_yaml(rt, n->values[i], &value) < 0 ||
            tpl_check_key(rt, &key) < 0 || tpl_dict_set(rt, out->u.dict, key, value) < 0)
            return -1;
    }
    return 0;
}

static int from_yaml_list(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out) {
    if (tpl_new_list(rt, V_LIST, n->len, out) < 0)
        return -1;
    for (size_t i = 0; i < n->len; i++) {
        tpl_value_t item;
        if (tpl_from_yaml(rt, n->values[i], &item) < 0 || tpl_list_add(rt, out->u.list, item) < 0)
            return -1;
    }
    return 0;
}

static int from_yaml_int(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out) {
    bool negative = n->text && *n->text == '-';
    tpl_value_t zero = tpl_int(0), big;
    if (n->flavour != YAML_BIG) {
        *out = tpl_int(n->integer);
        return 0;
    }
    if (!tpl_big_parse(&rt->arena, n->text + negative, strlen(n->text) - negative, 10, &big))
        return tpl_fail(rt, OSMO_ELIMIT, "the number %.40s... is too large", n->text);
    *out = big;
    return negative ? tpl_big_op(rt, OP_SUB, &zero, &big, out) : 0;
}

int tpl_from_yaml(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out) {
    int rc = 0;
    if (tpl_descend(rt) < 0)
        return -1;
    switch (n->kind) {
    case YAML_NULL: *out = tpl_none(); break;
    case YAML_BOOL: *out = tpl_bool(n->boolean); break;
    case YAML_INT: rc = from_yaml_int(rt, n, out); break;
    case YAML_FLOAT: *out = tpl_float(n->number); break;
    case YAML_STRING: case YAML_DATE: rc = tpl_str_copy(rt, n->text, n->text_len, out); break;
    case YAML_LIST: rc = from_yaml_list(rt, n, out); break;
    case YAML_MAP: rc = from_yaml_map(rt, n, out); break;
    }
    rt->depth--;
    return rc;
}
