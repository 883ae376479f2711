/* Which type an unquoted YAML scalar has, as PyYAML's implicit resolver decides (YAML 1.1). Used by yaml.c for reading
 * and by yaml_emit.c to know what must be quoted. */
#include "base/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool one_of(const char *s, const char *const *words) {
    for (; *words; words++) {
        if (strcmp(s, *words) == 0)
            return true;
    }
    return false;
}

static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const true_words[] = { "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL };
static const char *const false_words[] = { "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL };
static const char *const inf_words[] = { ".inf", ".Inf", ".INF", NULL };
static const char *const nan_words[] = { ".nan", ".NaN", ".NAN", NULL };

static size_t span(const char *s, const char *set) { return strspn(s, set); }
#define DIGITS "0123456789"
#define DIGITS_ "0123456789_"

/* (:[0-5]?[0-9])+ ; returns the characters taken, 0 when none */
static size_t sexagesimal_tail(const char *s) {
    size_t n = 0;
    while (s[n] == ':') {
        size_t d = span(s + n + 1, DIGITS);
        if (d == 0 || d > 2 || (d == 2 && s[n + 1] > '5'))
            return 0;
        n += 1 + d;
    }
    return n;
}

static void strip(const char *s, size_t len, char out[64]) { /* without underscores */
    size_t o = 0;
    for (size_t i = 0; i < len && o < 63; i++) {
        if (s[i] != '_')
            out[o++] = s[i];
    }
    out[o] = '\0';
}

/* Base 60 value of digits(:digits)*, the last part may have a fraction. */
static double sexagesimal(const char *s) {
    double v = 0;
    for (;;) {
        char part[64];
        size_t n = strcspn(s, ":");
        strip(s, n, part);
        v = v * 60 + strtod(part, NULL);
        if (!s[n])
            return v;
        s += n + 1;
    }
}

static bool as_int(yaml_node_t *n, const char *s) {
    const char *p = s + (*s == '-' || *s == '+');
    char digits[64];
    int base = 0;
    if (p[0] == '0' && p[1] == 'b' && p[2] && !p[2 + span(p + 2, "01_")])
        base = 2;
    else if (p[0] == '0' && p[1] == 'x' && p[2] && !p[2 + span(p + 2, "0123456789abcdefABCDEF_")])
        base = 16;
    else if (p[0] == '0' && p[1] && !p[1 + span(p + 1, "01234567_")])
        base = 8;
    else if ((p[0] == '0' && !p[1]) || (*p >= '1' && *p <= '9' && !p[span(p, DIGITS_)]))
        base = 10;
    if (base) {
        p += base == 2 || base == 16 ? 2 : 0;
        strip(p, strlen(p), digits);
        unsigned long long v = strtoull(digits, NULL, base);
        n->integer = v > INT64_MAX ? INT64_MAX : (int64_t)v;
        if (*s == '-' && v == (unsigned long long)INT64_MAX + 1) {
            n->integer = INT64_MIN;
            n->kind = YAML_INT;
            return true;
        }
    } else {
        size_t head = span(p, DIGITS_);
        size_t tail = *p >= '1' && *p <= '9' ? sexagesimal_tail(p + head) : 0;
        if (!tail || p[head + tail])
            return false;
        double v = sexagesimal(p);
        n->integer = v < 9223372036854775808.0 ? (int64_t)v : INT64_MAX;
    }
    if (*s == '-')
        n->integer = -n->integer;
    n->kind = YAML_INT;
    return true;
}

/* ([eE][-+][0-9]+)? then end */
static bool exponent_then_end(const char *s) {
    if (!*s)
        return true;
    if ((*s != 'e' && *s != 'E') || (s[1] != '-' && s[1] != '+'))
        return false;
    size_t d = span(s + 2, DIGITS);
    return d && !s[2 + d];
}

static bool as_float(yaml_node_t *n, const char *s) {
    const char *p = s + (*s == '-' || *s == '+');
    char text[64];
    size_t head = span(p, DIGITS_);
    if (one_of(p, inf_words)) {
        n->number = *s == '-' ? -INFINITY : INFINITY;
    } else if (one_of(s, nan_words)) {
        n->number = NAN;
    } else if (*p >= '0' && *p <= '9' && p[head] == '.' &&
               exponent_then_end(p + head + 1 + span(p + head + 1, DIGITS_))) {
        strip(s, strlen(s), text);
        n->number = strtod(text, NULL);
    } else if (p == s && s[0] == '.' && s[1] >= '0' && s[1] <= '9' && exponent_then_end(s + 1 + span(s + 1, DIGITS_))) {
        strip(s, strlen(s), text);
        n->number = strtod(text, NULL);
    } else {
        size_t tail = *p >= '0' && *p <= '9' ? sexagesimal_tail(p + head) : 0;
        if (!tail || p[head + tail] != '.' || p[head + tail + 1 + span(p + head + tail + 1, DIGITS_)])
            return false;
        n->number = sexagesimal(p) * (*s == '-' ? -1 : 1);
    }
    n->kind = YAML_FLOAT;
    return true;
}

static bool number_of(const char **s, size_t min, size_t max) {
    size_t d = span(*s, DIGITS);
    if (d < min || d > max)
        return false;
    *s += d;
    return true;
}

static bool eat(const char **s, char c) {
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static bool is_date(const char *s) {
    const char *p = s;
    if (number_of(&p, 4, 4) && eat(&p, '-') && number_of(&p, 2, 2) && eat(&p, '-') && number_of(&p, 2, 2) && !*p)
        return true;
    p = s;
    if (!number_of(&p, 4, 4) || !eat(&p, '-') || !number_of(&p, 1, 2) || !eat(&p, '-') || !number_of(&p, 1, 2))
        return false;
    if (*p == 'T' || *p == 't')
        p++;
    else if (span(p, " \t"))
        p += span(p, " \t");
    else
        return false;
    if (!number_of(&p, 1, 2) || !eat(&p, ':') || !number_of(&p, 2, 2) || !eat(&p, ':') || !number_of(&p, 2, 2))
        return false;
    if (eat(&p, '.'))
        p += span(p, DIGITS);
    p += span(p, " \t");
    if (!*p || (*p == 'Z' && !p[1]))
        return true;
    if (*p != '+' && *p != '-')
        return false;
    p++;
    if (!number_of(&p, 1, 2))
        return false;
    return !*p || (eat(&p, ':') && number_of(&p, 2, 2) && !*p);
}

void yaml_resolve(yaml_node_t *n, const char *text, size_t len) {
    n->kind = YAML_STRING;
    if (len > 60 || strlen(text) != len) /* no typed scalar worth the name is longer */
        return;
    if (one_of(text, true_words) || one_of(text, false_words)) {
        n->kind = YAML_BOOL;
        n->boolean = one_of(text, true_words);
    } else if (one_of(text, null_words)) {
        n->kind = YAML_NULL;
    } else if (!as_float(n, text) && !as_int(n, text) && is_date(text)) {
        n->kind = YAML_DATE;
    }
}
