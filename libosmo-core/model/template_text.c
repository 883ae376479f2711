/* Text side of template values: characters, letter case, Python's str() and repr(), conversions from JSON and YAML.
 * Used by template*.c and submission.c. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/template_internal.h"

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

/* Letters of the scripts people write specs in: Latin, Greek, Cyrillic. Others have no case here. */
static uint32_t to_lower(uint32_t c) {
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    if (c >= 0x400 && c <= 0x40f)
        return c + 80;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c & 1 ? c + 1 : c;
    if (c >= 0x100 && c <= 0x177 && c != 0x130 && c != 0x131 && c != 0x138)
        return c | 1;
    return c == 0x178 ? 0xff : c;
}

static uint32_t to_upper(uint32_t c) {
    if (c < 0x80)
        return c >= 'a' && c <= 'z' ? c - 32 : c;
    if ((c >= 0xe0 && c <= 0xfe && c != 0xf7) || (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) || (c >= 0x430 && c <= 0x44f))
        return c - 32;
    if (c >= 0x450 && c <= 0x45f)
        return c - 80;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c & 1 ? c : c - 1;
    if (c >= 0x100 && c <= 0x177 && c != 0x130 && c != 0x131 && c != 0x138)
        return c & ~1u;
    return c == 0xff ? 0x178 : c == 0x3c2 ? 0x3a3 : c;
}

void tpl_case_append(buf_t *b, const char *s, size_t len, enum tpl_case to) {
    for (const char *end = s + len; s < end;) {
        size_t n;
        uint32_t c = tpl_char_get(s, end, &n);
        uint32_t m = to == CASE_UPPER ? to_upper(c) : to_lower(c);
        if (to == CASE_UPPER && c == 0xdf)
            buf_puts(b, "SS");
        else if (m == c)
            buf_append(b, s, n);
        else
            tpl_char_put(b, m);
        s += n;
    }
}

bool tpl_is_cased(const char *s, size_t len, enum tpl_case as) {
    bool cased = false;
    for (const char *end = s + len; s < end;) {
        size_t n;
        uint32_t c = tpl_char_get(s, end, &n), low = to_lower(c), up = to_upper(c);
        if (low != up || c == 0xdf) {
            if (as == CASE_UPPER ? c != up || c == 0xdf : c != low)
                return false;
            cased = true;
        }
        s += n;
    }
    return cased;
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

/* Python's int()/float() allow blanks around and single underscores between digits; this strips both into `out`. */
static bool clean_number(const char *s, size_t len, char *out, size_t size) {
    size_t n = 0;
    while (len && tpl_space(*s))
        s++, len--;
    while (len && tpl_space(s[len - 1]))
        len--;
    if (len == 0 || len >= size)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] != '_')
            out[n++] = s[i];
        else if (i == 0 || i + 1 == len || !isalnum((unsigned char)s[i - 1]) || !isalnum((unsigned char)s[i + 1]))
            return false;
    }
    out[n] = 0;
    return n > 0;
}

bool tpl_text_to_int(const char *s, size_t len, int base, int64_t *out) {
    char t[128], *end, *p = t;
    if (base < 2 || base > 36 || !clean_number(s, len, t, sizeof(t)))
        return false;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    int prefix = p[0] == '0' ? tolower((unsigned char)p[1]) : 0;
    if ((base == 16 && prefix == 'x') || (base == 8 && prefix == 'o') || (base == 2 && prefix == 'b'))
        p += 2;
    if (!isalnum((unsigned char)*p) || (base == 16 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')))
        return false;
    errno = 0;
    unsigned long long v = strtoull(p, &end, base);
    if (*end || errno || v > (unsigned long long)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool tpl_text_to_float(const char *s, size_t len, double *out) {
    char t[512], *end;
    if (!clean_number(s, len, t, sizeof(t)))
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
static bool printable(uint32_t c) {
    if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad)
        return false;
    if (c < 0x600)
        return true;
    return !((c >= 0x600 && c <= 0x605) || c == 0x1680 || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
             (c >= 0x205f && c <= 0x206f) || c == 0x3000 || (c >= 0xd800 && c <= 0xf8ff) || c == 0xfeff ||
             (c >= 0xfff0 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || c >= 0xe0000);
}

static void repr_char(uint32_t c, const char *s, size_t n, char quote, buf_t *out) {
    if (c == (uint32_t)quote || c == '\\')
        buf_printf(out, "\\%c", (char)c);
    else if (c == '\n')
        buf_puts(out, "\\n");
    else if (c == '\r')
        buf_puts(out, "\\r");
    else if (c == '\t')
        buf_puts(out, "\\t");
    else if (printable(c))
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
        buf_printf(out, "range(%lld, %lld", (long long)r->start, (long long)(r->start + r->len * r->step));
        if (r->step != 1)
            buf_printf(out, ", %lld", (long long)r->step);
        buf_putc(out, ')');
        break;
    }
    default: rc = tpl_type_error(rt, "a value of type '%s' cannot be printed", tpl_type_name(v));
    }
    rt->depth--;
    return rc;
}

int tpl_repr(struct tpl_rt *rt, const tpl_value_t *v, buf_t *out) {
    if (v->kind != V_STR)
        return tpl_print(rt, v, out);
    if (tpl_charge(rt, 1 + v->len / 64) < 0)
        return -1;
    tpl_repr_str(v->u.s, v->len, out);
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
    case V_NONE: buf_puts(out, "None"); break;
    case V_FLOAT:
        tpl_float_repr(v->u.f, number);
        buf_puts(out, number);
        break;
    case V_UNDEF: return tpl_undefined_error(rt, v);
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
        return 0;
    }
    if (tpl_print(rt, v, &b) < 0) {
        buf_free(&b);
        return -1;
    }
    return tpl_str_take(rt, &b, out);
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

int tpl_from_yaml(struct tpl_rt *rt, const yaml_node_t *n, tpl_value_t *out) {
    int rc = 0;
    if (tpl_descend(rt) < 0)
        return -1;
    switch (n->kind) {
    case YAML_NULL: *out = tpl_none(); break;
    case YAML_BOOL: *out = tpl_bool(n->boolean); break;
    case YAML_INT: *out = tpl_int(n->integer); break;
    case YAML_FLOAT: *out = tpl_float(n->number); break;
    case YAML_STRING: case YAML_DATE: rc = tpl_str_copy(rt, n->text, n->text_len, out); break;
    case YAML_LIST: rc = from_yaml_list(rt, n, out); break;
    case YAML_MAP: rc = from_yaml_map(rt, n, out); break;
    }
    rt->depth--;
    return rc;
}
