/* Reader of Kubernetes quantities, for node accounting. Foreign pods write every form the grammar allows, so all of it is read:
 * sign, decimal fraction, binary suffixes Ki..Ei, decimal suffixes n..E, and exponents. */
#include "operator/quantity.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

static const struct { const char *text; int pow2, pow10; } suffixes[] = {
    {"", 0, 0}, {"n", 0, -9}, {"u", 0, -6}, {"m", 0, -3}, {"k", 0, 3}, {"M", 0, 6}, {"G", 0, 9}, {"T", 0, 12},
    {"P", 0, 15}, {"E", 0, 18}, {"Ki", 10, 0}, {"Mi", 20, 0}, {"Gi", 30, 0}, {"Ti", 40, 0}, {"Pi", 50, 0}, {"Ei", 60, 0},
};

/* value = digits * 10^exp10; digits beyond what int64 can hold only raise the exponent. */
struct number { uint64_t digits; int exp10; bool negative, inexact; };

static const char *read_digits(const char *p, struct number *n, bool *any) {
    bool fraction = false;
    for (; isdigit((unsigned char)*p) || (*p == '.' && !fraction); p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        *any = true;
        unsigned d = (unsigned)(*p - '0');
        if (n->digits <= (UINT64_MAX - 9) / 10) {
            n->digits = n->digits * 10 + d;
            n->exp10 -= fraction;
        } else {
            n->inexact = n->inexact || d;
            n->exp10 += !fraction;
        }
    }
    return p;
}

static bool read_suffix(const char *p, int *pow2, int *pow10) {
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        if (strcmp(p, suffixes[i].text) == 0) {
            *pow2 = suffixes[i].pow2;
            *pow10 = suffixes[i].pow10;
            return true;
        }
    }
    if ((*p != 'e' && *p != 'E') || strlen(p) > 5)
        return false;
    char *end;
    const char *digits = p[1] == '+' || p[1] == '-' ? p + 2 : p + 1;
    if (!isdigit((unsigned char)*digits))
        return false;
    *pow2 = 0;
    *pow10 = (int)strtol(p + 1, &end, 10);
    return *end == '\0';
}

/* digits * 2^pow2 * 10^exp10 in int64, rounded towards +infinity or -infinity. */
static int64_t scaled(const struct number *n, int pow2, int exp10, bool ceil_wanted) {
    const unsigned __int128 limit = (unsigned __int128)INT64_MAX;
    unsigned __int128 v = n->digits; /* < 2^64, so times 2^60 it still fits into 128 bits */
    bool rest = n->inexact;
    v <<= pow2;
    for (; exp10 > 0 && v <= limit; exp10--)
        v *= 10;
    for (; exp10 < 0 && (v || rest); exp10++) {
        rest = rest || v % 10;
        v /= 10;
        if (!v)
            break;
    }
    if (rest && ceil_wanted != n->negative)
        v++;
    int64_t magnitude = v > limit ? INT64_MAX : (int64_t)v;
    return n->negative ? -magnitude : magnitude;
}

static bool parse(const char *text, int scale, bool ceil_wanted, int64_t *out) {
    struct number n = { 0 };
    bool any = false;
    int pow2 = 0, pow10 = 0;
    if (!text)
        return false;
    if (*text == '+' || *text == '-')
        n.negative = *text++ == '-';
    const char *p = read_digits(text, &n, &any);
    if (!any || !read_suffix(p, &pow2, &pow10))
        return false;
    *out = scaled(&n, pow2, n.exp10 + pow10 + scale, ceil_wanted);
    return true;
}

bool quantity_parse(const char *text, int scale, int64_t *out) { return parse(text, scale, true, out); }
bool quantity_parse_floor(const char *text, int scale, int64_t *out) { return parse(text, scale, false, out); }
