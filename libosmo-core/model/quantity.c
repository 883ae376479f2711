/* Durations, quantities and container names as OSMO writes them. Used by spec, settings, pods and the engine. Pure. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "model/spec.h"

static const struct { const char *name; int64_t us; } duration_units[] = {
    { "d", INT64_C(86400000000) }, { "h", INT64_C(3600000000) }, { "m", INT64_C(60000000) },
    { "s", INT64_C(1000000) }, { "ms", INT64_C(1000) }, { "us", INT64_C(1) },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int bad_duration(const char *text, osmo_error_t *err)
{
    return osmo_error_set(err, OSMO_EUSAGE,
                          "'%.60s' is not a duration: write a whole number and one unit of d, h, m, s, ms, us (90m), "
                          "or ISO 8601 (PT1H30M)", text);
}

/* Scaled addition that refuses to overflow. */
static bool add_scaled(int64_t *total, int64_t n, int64_t unit)
{
    int64_t part;
    return !__builtin_mul_overflow(n, unit, &part) && !__builtin_add_overflow(*total, part, total);
}

/* Digits at *p, and at most 18 of them so that they fit. */
static bool take_number(const char **p, int64_t *n)
{
    const char *start = *p;
    *n = 0;
    while (is_digit(**p) && *p - start < 18)
        *n = *n * 10 + (*(*p)++ - '0');
    return *p > start && !is_digit(**p);
}

/* ".25" after the seconds: microseconds, further digits are dropped. */
static bool take_fraction(const char **p, int64_t *us)
{
    int64_t scale = 100000;
    *us = 0;
    if (**p != '.')
        return true;
    if (!is_digit(*++*p))
        return false;
    for (; is_digit(**p); ++*p, scale /= 10)
        *us += (**p - '0') * scale;
    return **p == 'S';
}

/* P[nD][T[nH][nM][n(.n)S]] with at least one part. */
static bool iso_duration(const char *p, int64_t *us)
{
    static const struct { char letter; bool time; int64_t us; } parts[] = {
        { 'D', false, INT64_C(86400000000) }, { 'H', true, INT64_C(3600000000) },
        { 'M', true, INT64_C(60000000) }, { 'S', true, INT64_C(1000000) },
    };
    bool time = false, any = false;
    size_t next = 0;

    *us = 0;
    for (p++; *p;) {
        if (*p == 'T' && !time) {
            time = true;
            p++;
            continue;
        }
        int64_t n, fraction;
        if (!take_number(&p, &n) || !take_fraction(&p, &fraction))
            return false;
        while (next < ARRAY_SIZE(parts) && parts[next].letter != *p)
            next++;
        if (next == ARRAY_SIZE(parts) || parts[next].time != time || !add_scaled(us, n, parts[next].us))
            return false;
        *us += fraction;
        any = true;
        next++;
        p++;
    }
    return any && p[-1] != 'T';
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A Python integer literal as int() reads it: blanks around, a sign, single underscores between digits. */
static bool python_int(const char *p, size_t len, int64_t *n)
{
    const char *end = p + len;
    bool negative = false, digit = false;

    while (p < end && is_blank(*p))
        p++;
    while (end > p && is_blank(end[-1]))
        end--;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    *n = 0;
    for (; p < end; p++) {
        if (*p == '_' && digit && p + 1 < end && is_digit(p[1]))
            continue;
        if (!is_digit(*p) || *n > INT64_C(900000000000000000) / 10)
            return false;
        *n = *n * 10 + (*p - '0');
        digit = true;
    }
    if (negative)
        *n = -*n;
    return digit;
}

int duration_parse(const char *text, int64_t *us, osmo_error_t *err)
{
    size_t len = strlen(text), letters = 0;
    int64_t n;

    if (text[0] == 'P') {
        int64_t value;
        if (!iso_duration(text, &value))
            return bad_duration(text, err);
        *us = value;
        return 0;
    }
    while (letters < len && text[len - letters - 1] >= 'a' && text[len - letters - 1] <= 'z')
        letters++;
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        int64_t value = 0;
        if (strcmp(text + len - letters, duration_units[i].name) != 0)
            continue;
        if (!python_int(text, len - letters, &n) || !add_scaled(&value, n, duration_units[i].us))
            break;
        *us = value;
        return 0;
    }
    return bad_duration(text, err);
}

int64_t duration_seconds(const char *text)
{
    int64_t total = 0;
    if (!*text)
        return -1;
    while (*text) {
        int64_t n = 0;
        size_t digits = strspn(text, "0123456789");
        if (!digits || digits > 6)
            return -1;
        for (size_t i = 0; i < digits; i++)
            n = n * 10 + (text[i] - '0');
        text += digits;
        int64_t unit = *text == 's' ? 1 : *text == 'm' ? 60 : *text == 'h' ? 3600 : *text == 'd' ? 86400 : 0;
        if (!unit)
            return -1;
        total += n * unit;
        text++;
    }
    return total;
}

const char *duration_text(int64_t us, char out[32])
{
    if (us == 0)
        return strcpy(out, "0s");
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        if (us % duration_units[i].us != 0)
            continue;
        snprintf(out, 32, "%" PRId64 "%s", us / duration_units[i].us, duration_units[i].name);
        break;
    }
    return out;
}

void kube_name(const char *name, char out[64])
{
    size_t len = strnlen(name, 63);
    while (len > 0 && (name[len - 1] == '-' || name[len - 1] == '_'))
        len--;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        out[i] = c == '_' ? '-' : (c >= 'A' && c <= 'Z') ? (char)(c - 'A' + 'a') : c;
    }
    out[len] = '\0';
}

bool quantity_bytes(const char *text, double *bytes)
{
    static const struct { const char *names[3]; double factor; } units[] = {
        { { "", "B", "B" }, 1.0 }, { { "K", "Ki", "KiB" }, 1024.0 }, { { "M", "Mi", "MiB" }, 1048576.0 },
        { { "G", "Gi", "GiB" }, 1073741824.0 }, { { "T", "Ti", "TiB" }, 1099511627776.0 }, { { "m", "m", "m" },
            1.0 / 1024 },
    };
    const char *p = text;

    while (is_digit(*p))
        p++;
    if (p == text || p - text > 300)
        return false;
    if (*p == '.') {
        if (!is_digit(*++p))
            return false;
        while (is_digit(*p))
            p++;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        for (size_t k = 0; k < 3; k++) {
            if (strcmp(p, units[i].names[k]) != 0)
                continue;
            /* The digits were checked above; strtod stops at the unit. Locale: the service never leaves "C". */
            *bytes = strtod(text, NULL) * units[i].factor;
            return isfinite(*bytes);
        }
    }
    return false;
}
