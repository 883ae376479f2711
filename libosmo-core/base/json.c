/* json-c behind json.h: one place for its strictness, depth, number and printing rules. */
#include <json-c/json.h> /* before json.h, which gives the name json_object another meaning */
#include <json-c/json_visit.h>

#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* json-c takes single quotes and NaN even in strict mode and clamps integers beyond 64 bits: look at the text first. */
static int scan(const char *t, size_t len, osmo_error_t *err) {
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = t[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            else if ((unsigned char)c < 0x20)
                return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: control character in a string", i);
            continue;
        }
        if (c == '"')
            in_string = true;
        else if (c == '\'' || c == 'N' || c == 'I' || c == '/')
            return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: unexpected '%c'", i, c);
        else if (c >= '0' && c <= '9') {
            size_t n = strspn(t + i, "0123456789"); /* the text is NUL-terminated by the caller */
            bool is_integer = i + n >= len || !strchr(".eE", t[i + n]);
            bool negative = i > 0 && t[i - 1] == '-';
            if (is_integer &&
                (n > 19 ||
                 (n == 19 && memcmp(t + i, negative ? "9223372036854775808" : "9223372036854775807", 19) > 0)))
                return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: integer beyond 64 bits", i);
            if (!is_integer && isinf(strtod(t + i, NULL))) /* it would have no text of its own */
                return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: number out of range", i);
            i += n - 1;
            while (i + 1 < len && strchr("0123456789.eE+-", t[i + 1]))
                i++;
        }
    }
    return 0;
}

/* The number of an escape \uhhhh at p, or -1. */
static int escaped_unit(const char *p) {
    int unit = 0;
    if (p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        const char *digits = "0123456789abcdef", *d = p[i] ? strchr(digits, p[i] >= 'A' && p[i] <= 'F' ? p[i] + 32 : p[i]) : NULL;
        if (!d)
            return -1;
        unit = unit * 16 + (int)(d - digits);
    }
    return unit;
}

/* json-c 0.16 takes U+1D800 to U+1DFFF for halves of a pair when they come as escapes: write them out. Returns the new length. */
static size_t write_out_pairs(char *t, size_t len) {
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        int high = t[i] == '\\' ? escaped_unit(t + i) : -1, low = high >= 0xD800 && high < 0xDC00 ? escaped_unit(t + i + 6) : -1;
        int c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00) : 0;
        if (c >= 0x1D800 && c <= 0x1DFFF) {
            t[to++] = (char)(0xF0 | c >> 18);
            t[to++] = (char)(0x80 | (c >> 12 & 63));
            t[to++] = (char)(0x80 | (c >> 6 & 63));
            t[to++] = (char)(0x80 | (c & 63));
            i += 11;
            continue;
        }
        t[to++] = t[i];
        if (t[i] == '\\' && i + 1 < len)
            t[to++] = t[++i];
    }
    t[to] = '\0';
    return to;
}

/* What the tokenizer collects its strings in, as large as it can become: it would leave copies behind when it grows. */
static bool collect_all(struct json_tokener *tok, size_t len) {
    if (printbuf_memset(tok->pb, 0, 0, (int)len + 1) < 0)
        return false;
    printbuf_reset(tok->pb);
    return true;
}

static int parse_value(struct json_tokener *tok, const char *copy, size_t len, json_t **out, osmo_error_t *err) {
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *v = json_tokener_parse_ex(tok, copy, (int)len + 1);
    enum json_tokener_error e = json_tokener_get_error(tok);
    size_t end = json_tokener_get_parse_end(tok);
    if (e == json_tokener_success && strspn(copy + (end < len ? end : len), " \t\r\n") != len - (end < len ? end : len)) {
        json_free_secret(v);
        return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: text after the value", end);
    }
    if (e != json_tokener_success)
        return osmo_error_set(err, OSMO_EINVAL, "invalid JSON at byte %zu: %s", end,
                              e == json_tokener_continue ? "unexpected end of text" : json_tokener_error_desc(e));
    *out = v;
    return 0;
}

static int tokenize(const char *copy, size_t len, bool secret, json_t **out, osmo_error_t *err) {
    struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH);
    if (!tok || (secret && !collect_all(tok, len))) {
        if (tok)
            json_tokener_free(tok);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    int rc = parse_value(tok, copy, len, out, err);
    if (secret)
        explicit_bzero(tok->pb->buf, (size_t)tok->pb->size);
    json_tokener_free(tok);
    return rc;
}

static int parse(const char *text, size_t len, bool secret, json_t **out, osmo_error_t *err) {
    *out = NULL;
    if (len > (1u << 30))
        return osmo_error_set(err, OSMO_ELIMIT, "JSON text of %zu bytes is larger than 1 GiB", len);
    char *copy = NULL; /* json-c and strspn want a terminator; most callers have one, none promises it */
    copy = malloc(len + 1);
    if (!copy)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    int rc;
    if (memchr(copy, '\0', len))
        rc = osmo_error_set(err, OSMO_EINVAL, "invalid JSON: NUL byte");
    else if (!utf8_valid(copy, len)) /* json-c lets overlong forms pass */
        rc = osmo_error_set(err, OSMO_EINVAL, "invalid JSON: not UTF-8");
    else
        rc = scan(copy, len, err);
    size_t shorter = !rc && memmem(copy, len, "\\u", 2) ? write_out_pairs(copy, len) : len;
    if (!rc)
        rc = tokenize(copy, shorter, secret, out, err);
    if (secret)
        explicit_bzero(copy, len);
    free(copy);
    return rc;
}

int json_parse(const char *text, size_t len, json_t **out, osmo_error_t *err) { return parse(text, len, false, out, err); }

int json_parse_secret(const char *text, size_t len, json_t **out, osmo_error_t *err) { return parse(text, len, true, out, err); }

/* Digits of an integer below 2^53 with `decimals` of them behind the point. */
static const char *print_scaled(uint64_t scaled, int decimals, bool negative, char out[32]) {
    char digits[24], *p = out;
    int n = 0;
    do {
        digits[n++] = (char)('0' + scaled % 10);
        scaled /= 10;
    } while (scaled || n <= decimals);
    if (negative)
        *p++ = '-';
    while (n) {
        if (n == decimals)
            *p++ = '.';
        *p++ = digits[--n];
    }
    *p = '\0';
    return out;
}

/* Most numbers that people write have a few decimals: such a one is the quotient of two integers that a double holds exactly,
 * and a correctly rounded division is what reading the text does. */
static const char *print_short(double v, char out[32]) {
    static const double scale[] = { 1, 10, 100, 1000, 10000 };
    double a = fabs(v);
    if (a != 0 && (a < 1e-4 || a >= 1e11))
        return NULL;
    for (int k = 1; k <= 4; k++) {
        double scaled = nearbyint(a * scale[k]);
        if (scaled / scale[k] == a)
            return print_scaled((uint64_t)scaled, k, signbit(v), out);
    }
    return NULL;
}

const char *double_repr(double v, char out[32]) {
    if (isnan(v))
        return strcpy(out, "nan");
    if (isinf(v))
        return strcpy(out, v < 0 ? "-inf" : "inf");
    if (print_short(v, out))
        return out;
    char digits[32];
    /* 15 digits survive the way through a double (of normal size): when they read back, the shortest text is these without zeros */
    int precision = fabs(v) < DBL_MIN ? 0 : 14;
    do {
        snprintf(digits, sizeof digits, "%.*e", precision, v);
    } while (strtod(digits, NULL) != v && ++precision < 17);
    char *e = strchr(digits, 'e');
    int exponent = atoi(e + 1);
    for (const char *last = e - 1; precision > 0 && *last == '0'; last--)
        precision--;
    if (exponent < -4 || exponent >= 16) {
        snprintf(digits, sizeof digits, "%.*e", precision, v);
        *strchr(digits, 'e') = '\0';
        snprintf(out, 32, "%.24se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent) % 1000);
        return out;
    }
    int decimals = precision - exponent;
    snprintf(out, 32, "%.*f", decimals > 0 ? decimals : 1, v);
    return out;
}

static int print_string(const char *s, size_t len, buf_t *out) {
    static const char hex[] = "0123456789abcdef";
    buf_putc(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, s + from, i - from);
        from = i + 1;
        const char *at = strchr("\"\"\\\\\nn\tt\rr\bb\ff", c);
        if (c && at) {
            char esc[2] = { '\\', c == '\n'   ? 'n'
                                  : c == '\t' ? 't'
                                  : c == '\r' ? 'r'
                                  : c == '\b' ? 'b'
                                  : c == '\f' ? 'f'
                                              : (char)c };
            buf_append(out, esc, 2);
        } else {
            char esc[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
            buf_append(out, esc, 6);
        }
    }
    buf_append(out, s + from, len - from);
    return buf_putc(out, '"');
}

static void newline(int indent, int level, buf_t *out) {
    if (!indent)
        return;
    buf_putc(out, '\n');
    for (int i = 0; i < indent * level; i++)
        buf_putc(out, ' ');
}

static void print_value(const json_t *v, int indent, int level, buf_t *out);

static void print_members(const json_t *v, int indent, int level, buf_t *out) {
    bool first = true;
    buf_putc(out, '{');
    for (json_iter_t it = json_iter(v); json_iter_next(&it); first = false) {
        if (!first)
            buf_putc(out, ',');
        newline(indent, level + 1, out);
        print_string(it.key, strlen(it.key), out);
        buf_puts(out, indent ? ": " : ":");
        print_value(it.value, indent, level + 1, out);
    }
    if (!first)
        newline(indent, level, out);
    buf_putc(out, '}');
}

static void print_items(const json_t *v, int indent, int level, buf_t *out) {
    size_t n = json_len(v);
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        newline(indent, level + 1, out);
        print_value(json_at(v, i), indent, level + 1, out);
    }
    if (n)
        newline(indent, level, out);
    buf_putc(out, ']');
}

static void print_value(const json_t *v, int indent, int level, buf_t *out) {
    char text[32];
    switch (json_kind(v)) {
    case JSON_NULL: buf_puts(out, "null"); break;
    case JSON_BOOL: buf_puts(out, json_as_bool(v, false) ? "true" : "false"); break;
    case JSON_INT: buf_printf(out, "%lld", (long long)json_as_int(v, 0)); break;
    case JSON_DOUBLE: {
        double d = json_as_double(v, 0);
        buf_puts(out, isfinite(d) ? double_repr(d, text) : "null");
        break;
    }
    case JSON_STRING: {
        size_t len;
        const char *s = json_bytes(v, &len);
        print_string(s, len, out);
        break;
    }
    case JSON_ARRAY: print_items(v, indent, level, out); break;
    case JSON_OBJECT: print_members(v, indent, level, out); break;
    }
}

int json_print(const json_t *v, int indent, buf_t *out) {
    print_value(v, indent, 0, out);
    return out->code;
}

char *json_to_text(const json_t *v) {
    buf_t out = BUF_INIT((size_t)1 << 32);
    json_print(v, 0, &out);
    char *text = buf_steal(&out, NULL);
    buf_free(&out);
    return text;
}

json_t *json_ref(json_t *v) { return json_object_get(v); }
void json_free(json_t *v) { json_object_put(v); }

static int wipe_string(json_object *v, int flags, json_object *parent, const char *key, size_t *index, void *arg) {
    (void)flags, (void)parent, (void)key, (void)index, (void)arg;
    if (json_object_is_type(v, json_type_string))
        explicit_bzero((char *)json_object_get_string(v), (size_t)json_object_get_string_len(v));
    return JSON_C_VISIT_RETURN_CONTINUE;
}

void json_free_secret(json_t *v) {
    if (v)
        json_c_visit(v, 0, wipe_string, NULL);
    json_object_put(v);
}
json_t *json_new_object(void) { return json_object_new_object(); }
json_t *json_array(void) { return json_object_new_array(); }
json_t *json_string(const char *s) { return s ? json_object_new_string(s) : NULL; }
json_t *json_string_n(const char *s, size_t len) { return json_object_new_string_len(s, (int)len); }
json_t *json_int(int64_t v) { return json_object_new_int64(v); }
json_t *json_bool_new(bool v) { return json_object_new_boolean(v); }

json_t *json_double(double v) { return json_object_new_double(v); }

int json_set(json_t *object, const char *key, json_t *v) {
    if (json_kind(object) == JSON_OBJECT && json_object_object_add(object, key, v) == 0)
        return 0;
    json_object_put(v);
    return OSMO_ENOMEM;
}

static int set_new(json_t *object, const char *key, json_t *v) { return v ? json_set(object, key, v) : OSMO_ENOMEM; }

int json_set_str(json_t *object, const char *key, const char *s) {
    return s ? set_new(object, key, json_string(s)) : json_set(object, key, NULL);
}
int json_set_int(json_t *object, const char *key, int64_t v) { return set_new(object, key, json_int(v)); }
int json_set_bool(json_t *object, const char *key, bool v) { return set_new(object, key, json_bool_new(v)); }
int json_set_double(json_t *object, const char *key, double v) { return set_new(object, key, json_double(v)); }

int json_add(json_t *array, json_t *v) {
    if (json_kind(array) == JSON_ARRAY && json_object_array_add(array, v) == 0)
        return 0;
    json_object_put(v);
    return OSMO_ENOMEM;
}

int json_add_str(json_t *array, const char *s) {
    json_t *v = json_string(s);
    return s && !v ? OSMO_ENOMEM : json_add(array, v);
}

int json_set_strs(json_t *object, const char *key, const strlist_t *list) {
    json_t *array = json_array();
    int rc = array ? json_set(object, key, array) : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < list->len; i++)
        rc = json_add_str(array, list->items[i]);
    return rc;
}

void json_del(json_t *object, const char *key) {
    if (json_kind(object) == JSON_OBJECT)
        json_object_object_del(object, key);
}

enum json_kind json_kind(const json_t *v) {
    switch (json_object_get_type((json_t *)v)) {
    case json_type_boolean: return JSON_BOOL;
    case json_type_int: return JSON_INT;
    case json_type_double: return JSON_DOUBLE;
    case json_type_string: return JSON_STRING;
    case json_type_array: return JSON_ARRAY;
    case json_type_object: return JSON_OBJECT;
    case json_type_null: default: return JSON_NULL;
    }
}

json_t *json_get(const json_t *object, const char *key) {
    json_t *v = NULL;
    if (json_kind(object) == JSON_OBJECT)
        json_object_object_get_ex((json_t *)object, key, &v);
    return v;
}

bool json_has(const json_t *object, const char *key) {
    return json_kind(object) == JSON_OBJECT && json_object_object_get_ex((json_t *)object, key, NULL);
}

json_t *json_path(const json_t *v, ...) {
    va_list args;
    va_start(args, v);
    const char *key;
    while (v && (key = va_arg(args, const char *)))
        v = json_get(v, key);
    va_end(args);
    return (json_t *)v;
}

const char *json_bytes(const json_t *v, size_t *len) {
    bool is_string = json_kind(v) == JSON_STRING;
    *len = is_string ? (size_t)json_object_get_string_len(v) : 0;
    return is_string ? json_object_get_string((json_t *)v) : NULL;
}

const char *json_str(const json_t *v) {
    size_t len;
    const char *s = json_bytes(v, &len);
    return s && strlen(s) == len ? s : NULL;
}

size_t json_str_len(const json_t *v) {
    size_t len;
    const char *s = json_bytes(v, &len);
    return s && strlen(s) == len ? len : 0;
}

const char *json_get_str(const json_t *o, const char *key) { return json_str(json_get(o, key)); }
int64_t json_get_int(const json_t *o, const char *key, int64_t fallback) {
    return json_as_int(json_get(o, key), fallback);
}
double json_get_double(const json_t *o, const char *key, double fallback) {
    return json_as_double(json_get(o, key), fallback);
}
bool json_get_bool(const json_t *o, const char *key, bool fallback) { return json_as_bool(json_get(o, key), fallback); }

int64_t json_as_int(const json_t *v, int64_t fallback) {
    return json_kind(v) == JSON_INT ? json_object_get_int64(v) : fallback;
}

double json_as_double(const json_t *v, double fallback) {
    enum json_kind k = json_kind(v);
    return k == JSON_INT || k == JSON_DOUBLE ? json_object_get_double(v) : fallback;
}

bool json_as_bool(const json_t *v, bool fallback) {
    return json_kind(v) == JSON_BOOL ? json_object_get_boolean(v) : fallback;
}

size_t json_len(const json_t *v) {
    switch (json_kind(v)) {
    case JSON_ARRAY: return json_object_array_length(v);
    case JSON_OBJECT: return (size_t)json_object_object_length(v);
    default: return 0;
    }
}

json_t *json_at(const json_t *array, size_t i) {
    return json_kind(array) == JSON_ARRAY ? json_object_array_get_idx(array, i) : NULL;
}

json_iter_t json_iter(const json_t *object) {
    json_iter_t it = { NULL, NULL, NULL };
    if (json_kind(object) == JSON_OBJECT)
        it.cursor = json_object_get_object(object)->head;
    return it;
}

bool json_iter_next(json_iter_t *it) {
    struct lh_entry *e = it->cursor;
    if (!e)
        return false;
    it->key = lh_entry_k(e);
    it->value = (json_t *)lh_entry_v(e);
    it->cursor = e->next;
    return true;
}

json_t *json_copy(const json_t *v) {
    json_t *out = NULL;
    if (!v || json_object_deep_copy((json_t *)v, &out, NULL))
        return NULL;
    return out;
}

bool json_equal(const json_t *a, const json_t *b) { return json_object_equal((json_t *)a, (json_t *)b); }

static int compare_keys(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int sort_object(const json_t *v, json_t *copy) {
    strlist_t keys = { 0 };
    int rc = 0;
    for (json_iter_t it = json_iter(v); !rc && json_iter_next(&it);)
        rc = strlist_add(&keys, it.key);
    if (keys.len)
        qsort(keys.items, keys.len, sizeof *keys.items, compare_keys);
    for (size_t i = 0; !rc && i < keys.len; i++) {
        json_t *child;
        rc = json_sort_keys(json_get(v, keys.items[i]), &child);
        if (!rc)
            rc = json_set(copy, keys.items[i], child);
    }
    strlist_free(&keys);
    return rc;
}

int json_sort_keys(json_t *v, json_t **out) {
    enum json_kind k = json_kind(v);
    int rc = 0;
    *out = NULL;
    if (k != JSON_OBJECT && k != JSON_ARRAY) {
        *out = json_copy(v);
        return v && !*out ? OSMO_ENOMEM : 0;
    }
    json_t *copy = k == JSON_OBJECT ? json_object() : json_array();
    if (!copy)
        return OSMO_ENOMEM;
    if (k == JSON_OBJECT) {
        rc = sort_object(v, copy);
    } else {
        for (size_t i = 0; !rc && i < json_len(v); i++) {
            json_t *child;
            rc = json_sort_keys(json_at(v, i), &child);
            if (!rc)
                rc = json_add(copy, child);
        }
    }
    if (rc)
        json_free(copy);
    else
        *out = copy;
    return rc;
}
