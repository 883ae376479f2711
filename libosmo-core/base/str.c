/* String helpers and strlist; see str.h. */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "osmo/error.h"

int strlist_addn(strlist_t *l, const char *text, size_t n) {
    if (l->len == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        char **items = reallocarray(l->items, cap, sizeof *items);
        if (!items)
            return OSMO_ENOMEM;
        l->items = items;
        l->cap = cap;
    }
    char *copy = malloc(n + 1);
    if (!copy)
        return OSMO_ENOMEM;
    memcpy(copy, text, n);
    copy[n] = '\0';
    l->items[l->len++] = copy;
    return 0;
}

int strlist_add(strlist_t *l, const char *text) { return strlist_addn(l, text, strlen(text)); }

void strlist_free(strlist_t *l) {
    for (size_t i = 0; i < l->len; i++)
        free(l->items[i]);
    free(l->items);
    *l = (strlist_t){ NULL, 0, 0 };
}

bool strlist_has(const strlist_t *l, const char *text) {
    for (size_t i = 0; i < l->len; i++) {
        if (strcmp(l->items[i], text) == 0)
            return true;
    }
    return false;
}

int strlist_split(strlist_t *l, const char *text, char sep) {
    for (;;) {
        const char *end = strchrnul(text, sep);
        int rc = strlist_addn(l, text, (size_t)(end - text));
        if (rc || !*end)
            return rc;
        text = end + 1;
    }
}

bool str_eq(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }
bool str_starts(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

/* A dotted quad within 127.0.0.0/8. */
static bool is_loopback_v4(const char *s, size_t len) {
    char text[16];
    unsigned a, b, c, d;
    char extra;
    if (len >= sizeof text)
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    return text[strspn(text, "0123456789.")] == '\0' && sscanf(text, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &extra) == 4 && a == 127 &&
           b < 256 && c < 256 && d < 256;
}

bool host_is_loopback(const char *host, size_t len) {
    static const char *const names[] = { "localhost", "localhost.", "::1", "[::1]" };
    static const char mapped[] = "::ffff:";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && strncasecmp(host, names[i], len) == 0)
            return true;
    size_t skip = len > strlen(mapped) && strncasecmp(host, mapped, strlen(mapped)) == 0 ? strlen(mapped) : 0;
    return is_loopback_v4(host + skip, len - skip);
}

bool str_ends(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

char *str_printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *out = NULL;
    if (vasprintf(&out, format, args) < 0)
        out = NULL;
    va_end(args);
    return out;
}

char *str_dup(const char *s) { return s ? strdup(s) : NULL; }

bool str_to_i64(const char *s, int64_t *out) {
    if (!s || !*s || *s == ' ' || *s == '\t' || *s == '\n')
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end || end == s)
        return false;
    *out = v;
    return true;
}

/* Length of the valid UTF-8 sequence at s, 0 when invalid. */
static size_t utf8_sequence(const unsigned char *s, size_t len) {
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) ||
        (c == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

bool utf8_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence((const unsigned char *)s + i, len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

/* Of the sequence of n bytes at s, which is valid. */
static uint32_t utf8_value(const unsigned char *s, size_t n) {
    uint32_t v = n == 1 ? s[0] : s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        v = v << 6 | (s[i] & 0x3F);
    return v;
}

static bool is_unseen(uint32_t v) {
    return v < 0x20 || (v >= 0x7F && v < 0xA0) || v == 0xAD || v == 0x61C || v == 0x115F || v == 0x1160 || v == 0x180E || v == 0x3164 ||
           (v >= 0x200B && v <= 0x200F) || (v >= 0x2028 && v <= 0x202E) || (v >= 0x2060 && v <= 0x206F) || (v >= 0xFE00 && v <= 0xFE0F) ||
           v == 0xFEFF || v == 0xFFA0 || (v >= 0xFFF0 && v <= 0xFFFB) || v >= 0xE0000;
}

static bool is_blank(uint32_t v) {
    return v == ' ' || v == 0xA0 || v == 0x1680 || (v >= 0x2000 && v <= 0x200A) || v == 0x202F || v == 0x205F || v == 0x3000;
}

bool str_is_plain(const char *s) {
    size_t len = strlen(s);
    uint32_t last = ' ';
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence((const unsigned char *)s + i, len - i);
        uint32_t v = n ? utf8_value((const unsigned char *)s + i, n) : 0;
        if (!n || is_unseen(v) || (!i && is_blank(v)))
            return false;
        last = v;
        i += n;
    }
    return !is_blank(last);
}

char *utf8_repair(const char *s, size_t len, size_t *out_len) {
    if (len > SIZE_MAX / 3 - 1)
        return NULL;
    char *out = malloc(len * 3 + 1);
    if (!out)
        return NULL;
    size_t o = 0;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence((const unsigned char *)s + i, len - i);
        if (n) {
            memcpy(out + o, s + i, n);
        } else {
            memcpy(out + o, "\xEF\xBF\xBD", 3);
        }
        o += n ? n : 3;
        i += n ? n : 1;
    }
    out[o] = '\0';
    if (out_len)
        *out_len = o;
    return out;
}
