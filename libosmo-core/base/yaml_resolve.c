/* Unquoted YAML scalars: which type PyYAML's implicit resolver gives them (YAML 1.1), and the values that its
 * constructors make of texts and tags. For the loader, and for yaml_emit.c, which must know what to quote. */
#include "base/yaml_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define DIGITS "0123456789"
#define DIGITS_ "0123456789_"

/* ---- the tag of an unquoted scalar ---- */

static size_t span(const char *s, const char *set) { return strspn(s, set); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The end of the text. A final line break counts as such to Python's regular expressions. */
static bool at_end(const char *s) { return !s[0] || (s[0] == '\n' && !s[1]); }

static bool is_word(const char *s, const char *word) {
    size_t n = strlen(word);
    return strncmp(s, word, n) == 0 && at_end(s + n);
}

static bool is_one_of(const char *s, const char *const *words) {
    for (; *words; words++) {
        if (is_word(s, *words))
            return true;
    }
    return false;
}

/* (:[0-5]?[0-9])+ ; returns the characters taken, 0 when none */
static size_t sexagesimal_tail(const char *s) {
    size_t n = 0;
    while (s[n] == ':' && is_digit(s[n + 1])) {
        if (is_digit(s[n + 2]) && s[n + 1] <= '5')
            n += 3;
        else
            n += 2;
    }
    return n;
}

static bool is_int(const char *s) {
    const char *p = s + (*s == '-' || *s == '+');
    if (p[0] == '0') {
        if (at_end(p + 1))
            return true;
        const char *digits = p + (p[1] == 'b' || p[1] == 'x' ? 2 : 1);
        size_t n = span(digits, p[1] == 'b' ? "01_" : p[1] == 'x' ? "0123456789abcdefABCDEF_" : "01234567_");
        return n && at_end(digits + n);
    }
    if (!is_digit(*p))
        return false;
    p += span(p, DIGITS_);
    return at_end(p + sexagesimal_tail(p));
}

/* ([eE][-+][0-9]+)? then end */
static bool exponent_then_end(const char *s) {
    if ((s[0] == 'e' || s[0] == 'E') && (s[1] == '-' || s[1] == '+') && is_digit(s[2]))
        s += 2 + span(s + 2, DIGITS);
    return at_end(s);
}

static bool is_float(const char *s) {
    static const char *const inf_words[] = { ".inf", ".Inf", ".INF", NULL };
    static const char *const nan_words[] = { ".nan", ".NaN", ".NAN", NULL };
    const char *p = s + (*s == '-' || *s == '+');
    if (*p == '.') {
        if (p == s && is_digit(p[1]))
            return exponent_then_end(p + 1 + span(p + 1, DIGITS_));
        return is_one_of(p, inf_words) || (p == s && is_one_of(p, nan_words));
    }
    if (!is_digit(*p))
        return false;
    p += span(p, DIGITS_);
    if (*p == '.')
        return exponent_then_end(p + 1 + span(p + 1, DIGITS_));
    size_t tail = sexagesimal_tail(p);
    return tail && p[tail] == '.' && at_end(p + tail + 1 + span(p + tail + 1, DIGITS_));
}

struct stamp {
    int year, month, day, hour, minute, second, micros, offset; /* offset in minutes */
    bool timed, zoned;
};

static bool number_of(const char **s, size_t min, size_t max, int *out) {
    size_t n = 0;
    for (*out = 0; n < max && is_digit((*s)[n]); n++)
        *out = *out * 10 + ((*s)[n] - '0');
    *s += n;
    return n >= min;
}

static bool eat(const char **s, char c) {
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

/* [-+]hh(:mm)? or Z, blanks before it; nothing when there is none */
static bool read_zone(const char *p, struct stamp *t) {
    int hours, minutes = 0;
    if (at_end(p))
        return true;
    p += span(p, " \t");
    t->zoned = true;
    if (eat(&p, 'Z'))
        return at_end(p);
    int sign = *p == '-' ? -1 : 1;
    if (*p != '-' && *p != '+')
        return false;
    p++;
    if (!number_of(&p, 1, 2, &hours) || (eat(&p, ':') && !number_of(&p, 2, 2, &minutes)))
        return false;
    t->offset = sign * (hours * 60 + minutes);
    return at_end(p);
}

/* What PyYAML's expression for timestamps takes; `strict` also what its resolver wants: bare dates have all digits. */
static bool read_stamp(const char *s, bool strict, struct stamp *t) {
    const char *p = s;
    memset(t, 0, sizeof *t);
    if (!number_of(&p, 4, 4, &t->year) || !eat(&p, '-') || !number_of(&p, 1, 2, &t->month) || !eat(&p, '-') ||
        !number_of(&p, 1, 2, &t->day))
        return false;
    if (at_end(p))
        return !strict || p - s == 10;
    if (*p == 'T' || *p == 't')
        p++;
    else if (*p == ' ' || *p == '\t')
        p += span(p, " \t");
    else
        return false;
    t->timed = true;
    if (!number_of(&p, 1, 2, &t->hour) || !eat(&p, ':') || !number_of(&p, 2, 2, &t->minute) || !eat(&p, ':') ||
        !number_of(&p, 2, 2, &t->second))
        return false;
    if (eat(&p, '.')) {
        for (int unit = 100000; is_digit(*p); p++, unit /= 10)
            t->micros += (*p - '0') * unit;
    }
    return read_zone(p, t);
}

/* Whether the text is the word in lower case, in upper case or with a capital; `word` is in lower case. */
static bool is_cased(const char *s, size_t len, const char *word) {
    if (strncasecmp(s, word, len) != 0 || word[len])
        return false;
    bool lower = true, upper = true; /* behind the first letter */
    for (size_t i = 1; i < len; i++) {
        lower &= (s[i] & 0x20) != 0;
        upper &= (s[i] & 0x20) == 0;
    }
    return lower || (upper && !(s[0] & 0x20));
}

static enum yaml_tag tag_of_word(const char *s, size_t len) {
    static const struct {
        const char *words[3];
        enum yaml_tag tags[2];
    } by_length[] = { { { "on", "no" }, { TAG_BOOL, TAG_BOOL } }, { { "yes", "off" }, { TAG_BOOL, TAG_BOOL } },
                      { { "true", "null" }, { TAG_BOOL, TAG_NULL } }, { { "false" }, { TAG_BOOL, TAG_BOOL } } };
    len -= len && s[len - 1] == '\n';
    for (size_t i = 0; len >= 2 && len <= 5 && by_length[len - 2].words[i]; i++) {
        if (is_cased(s, len, by_length[len - 2].words[i]))
            return by_length[len - 2].tags[i];
    }
    return TAG_STR;
}

enum yaml_tag yaml_implicit_tag(const char *text, size_t len) {
    struct stamp t;
    switch (text[0]) {
    case '\0':
        return TAG_NULL;
    case 'y': case 'Y': case 't': case 'T': case 'f': case 'F': case 'o': case 'O': case 'n': case 'N':
        return len <= 6 ? tag_of_word(text, len) : TAG_STR;
    case '~':
        return at_end(text + 1) ? TAG_NULL : TAG_STR;
    case '<':
        return is_word(text, "<<") ? TAG_MERGE : TAG_STR;
    case '=':
        return at_end(text + 1) ? TAG_VALUE : TAG_STR;
    case '.': case '-': case '+':
        if (text[0] != '.' && is_int(text))
            return TAG_INT;
        return is_float(text) ? TAG_FLOAT : TAG_STR;
    default:
        if (!is_digit(text[0]))
            return TAG_STR;
        return is_int(text) ? TAG_INT
               : is_float(text) ? TAG_FLOAT : read_stamp(text, true, &t) ? TAG_TIMESTAMP : TAG_STR;
    }
}

void yaml_resolve(yaml_node_t *n, const char *text, size_t len) {
    static const enum yaml_kind kinds[] = { [TAG_STR] = YAML_STRING, [TAG_NULL] = YAML_NULL, [TAG_BOOL] = YAML_BOOL,
                                            [TAG_INT] = YAML_INT, [TAG_FLOAT] = YAML_FLOAT, [TAG_TIMESTAMP] = YAML_DATE,
                                            [TAG_MERGE] = YAML_MAP, [TAG_VALUE] = YAML_MAP };
    n->kind = kinds[yaml_implicit_tag(text, len)];
}

/* ---- whole numbers, as Python's int() reads them ---- */

#define BIG_DIGITS 4300 /* what Python prints at most */
struct big {
    uint32_t limbs[BIG_DIGITS / 9 + 2]; /* base 10^9, lowest first */
    size_t len;
    uint64_t times, plus; /* not yet worked in: value * times + plus */
};

static bool big_work_in(struct big *b) {
    uint64_t carry = b->plus;
    for (size_t i = 0; i < b->len; i++) {
        carry += b->limbs[i] * b->times;
        b->limbs[i] = (uint32_t)(carry % 1000000000u);
        carry /= 1000000000u;
    }
    for (; carry && b->len < BIG_DIGITS / 9 + 2; carry /= 1000000000u)
        b->limbs[b->len++] = (uint32_t)(carry % 1000000000u);
    b->times = 1;
    b->plus = 0;
    return !carry;
}

static bool big_add(struct big *b, unsigned base, unsigned digit) {
    b->times *= base;
    b->plus = b->plus * base + digit;
    return b->times < (1u << 26) || big_work_in(b);
}

/* Sign, digits and base of one number. */
struct whole {
    bool negative;
    const char *digits;
    size_t len;
    unsigned base;
};

static unsigned digit_of(char c) {
    if (is_digit(c))
        return (unsigned)(c - '0');
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

/* Length of the white space (to Python) that s begins with. */
static size_t blank(const char *s, size_t len) {
    static const char *const wide[] = { "\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
                                        "\xE2\x80\x82",
                                        "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87",
                                        "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x80\xA9",
                                        "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80", NULL };
    if (len && (*s == ' ' || (*s >= '\t' && *s <= '\r') || (*s >= 0x1C && *s <= 0x1F)))
        return 1;
    for (size_t i = 0; len && (unsigned char)*s >= 0xC2 && wide[i]; i++) {
        size_t n = strlen(wide[i]);
        if (n <= len && memcmp(s, wide[i], n) == 0)
            return n;
    }
    return 0;
}

static void strip(const char **s, size_t *len) {
    for (size_t n; (n = blank(*s, *len)) > 0; *len -= n)
        *s += n;
    for (bool more = true; more;) {
        more = false;
        for (size_t n = 1; n <= 3 && n <= *len && !more; n++) {
            more = blank(*s + *len - n, n) == n;
            if (more)
                *len -= n;
        }
    }
}

static bool whole_of(const char *s, size_t len, unsigned base, struct whole *w) {
    strip(&s, &len);
    w->base = base;
    w->negative = len && *s == '-';
    if (len && (*s == '-' || *s == '+')) {
        s++;
        len--;
    }
    char prefix = base == 2 ? 'b' : base == 8 ? 'o' : base == 16 ? 'x' : '\0';
    if (prefix && len > 2 && s[0] == '0' && (s[1] | 0x20) == prefix) {
        s += 2;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        if (digit_of(s[i]) >= base)
            return false;
    }
    if (!len || (base == 10 && len > BIG_DIGITS))
        return false;
    for (; len > 1 && *s == '0'; len--)
        s++;
    w->digits = s;
    w->len = len;
    return true;
}

/* False when the magnitude does not fit 64 bits. */
static bool whole_small(const struct whole *w, int64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < w->len; i++) {
        if (__builtin_mul_overflow(v, (uint64_t)w->base, &v) ||
            __builtin_add_overflow(v, (uint64_t)digit_of(w->digits[i]), &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + w->negative)
        return false;
    *out = w->negative ? (int64_t)-v : (int64_t)v;
    return true;
}

static int bad_value(struct yaml_reader *r, const yaml_node_t *n, const char *what) {
    int shown = n->text_len > 60 ? 60 : (int)n->text_len;
    while (shown > 0 && ((unsigned char)n->text[shown] & 0xC0) == 0x80) /* whole characters */
        shown--;
    return yaml_fail(r, n, "\"%.*s\" is not a valid %s; quote it to mean text", shown, n->text, what);
}

static int set_int(yaml_node_t *n, int64_t v) {
    n->kind = YAML_INT;
    n->integer = v;
    return 0;
}

/* The decimal digits become the node's text. */
static int set_big(struct yaml_reader *r, yaml_node_t *n, struct big *b, bool negative) {
    if (!big_work_in(b) || b->len > BIG_DIGITS / 9 + 1)
        return yaml_fail(r, n, "an integer of more than %d digits; quote it to mean text", BIG_DIGITS);
    while (b->len && !b->limbs[b->len - 1])
        b->len--;
    char *text = yaml_arena_text(r, b->len * 9 + 2);
    if (!text)
        return OSMO_ENOMEM;
    size_t at = (size_t)snprintf(text, 12, "%s%u", negative ? "-" : "", b->limbs[b->len - 1]);
    for (size_t i = b->len - 1; i > 0; i--, at += 9)
        snprintf(text + at, 10, "%09u", b->limbs[i - 1]);
    if (at - negative > BIG_DIGITS)
        return yaml_fail(r, n, "an integer of more than %d digits; quote it to mean text", BIG_DIGITS);
    n->kind = YAML_INT;
    n->flavour = YAML_BIG;
    n->text = text;
    n->text_len = (uint32_t)at;
    n->integer = negative ? INT64_MIN : INT64_MAX;
    return 0;
}

/* first:second:third to the base of 60, each of them a number as int() takes it. */
static int sexagesimal_int(struct yaml_reader *r, yaml_node_t *n, const char *s, size_t len, bool negative) {
    struct big b = { .times = 1 };
    int64_t sum = 0, part;
    bool small = true, usual = true; /* fits 64 bits; parts behind the first are 0 to 59 */
    for (bool first = true;; first = false) {
        const char *colon = memchr(s, ':', len);
        size_t n1 = colon ? (size_t)(colon - s) : len;
        struct whole w;
        if (!whole_of(s, n1, 10, &w))
            return bad_value(r, n, "integer");
        bool fits = whole_small(&w, &part);
        for (size_t i = 0; usual && first && i < w.len; i++)
            usual = big_add(&b, 10, digit_of(w.digits[i])) && !w.negative;
        if (!first)
            usual = usual && fits && part >= 0 && part < 60 && big_add(&b, 60, (unsigned)part);
        small = small && fits && !__builtin_mul_overflow(sum, (int64_t)60, &sum) &&
                !__builtin_add_overflow(sum, part, &sum);
        if (!colon)
            break;
        s += n1 + 1;
        len -= n1 + 1;
    }
    if (small && (sum != INT64_MIN || !negative))
        return set_int(n, negative ? -sum : sum);
    return usual ? set_big(r, n, &b, negative) : bad_value(r, n, "integer of 64 bits");
}

/* A copy without underscores, or the text itself when it has none. */
static char *without_underscores(struct yaml_reader *r, const yaml_node_t *n, size_t *len) {
    *len = n->text_len;
    if (!memchr(n->text, '_', n->text_len))
        return n->text;
    char *copy = yaml_arena_text(r, n->text_len + 1);
    if (!copy)
        return NULL;
    *len = 0;
    for (size_t i = 0; i < n->text_len; i++) {
        if (n->text[i] != '_')
            copy[(*len)++] = n->text[i];
    }
    copy[*len] = '\0';
    return copy;
}

static int int_value(struct yaml_reader *r, yaml_node_t *n) {
    size_t len;
    const char *s = without_underscores(r, n, &len);
    if (!s)
        return OSMO_ENOMEM;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') {
        s++;
        len--;
    }
    if (!len)
        return bad_value(r, n, "integer");
    bool prefixed = s[0] == '0' && (s[1] == 'b' || s[1] == 'x');
    unsigned base = prefixed ? (s[1] == 'b' ? 2 : 16) : s[0] == '0' && len > 1 ? 8 : 10;
    if (base == 10 && memchr(s, ':', len))
        return sexagesimal_int(r, n, s, len, negative);
    struct whole w;
    int64_t v;
    if (!whole_of(s + 2 * prefixed, len - 2 * prefixed, base, &w))
        return bad_value(r, n, "integer");
    w.negative ^= negative;
    if (whole_small(&w, &v))
        return set_int(n, v);
    struct big b = { .times = 1 };
    bool fits = true;
    for (size_t i = 0; fits && i < w.len; i++)
        fits = big_add(&b, w.base, digit_of(w.digits[i]));
    return fits ? set_big(r, n, &b, w.negative)
                : yaml_fail(r, n, "an integer of more than %d digits; quote it to mean text", BIG_DIGITS);
}

/* ---- floats, as Python's float() reads them ---- */

static bool float_of(const char *s, size_t len, double *out) {
    strip(&s, &len);
    const char *p = s, *end = s + len;
    p += p < end && (*p == '-' || *p == '+');
    size_t left = (size_t)(end - p);
    bool word = (left == 3 && (strncasecmp(p, "inf", 3) == 0 || strncasecmp(p, "nan", 3) == 0)) ||
                (left == 8 && strncasecmp(p, "infinity", 8) == 0);
    if (!word) {
        size_t digits = 0;
        for (; p < end && is_digit(*p); p++)
            digits++;
        for (p += p < end && *p == '.'; p < end && is_digit(*p); p++)
            digits++;
        if (digits && p < end && (*p | 0x20) == 'e') {
            p++;
            p += p < end && (*p == '-' || *p == '+');
            digits = 0;
            for (; p < end && is_digit(*p); p++)
                digits++;
        }
        if (!digits || p != end)
            return false;
    }
    *out = strtod(s, NULL); /* stops at the end of what was checked: a blank, a colon or a NUL follows */
    return true;
}

/* From the last part to the first, as PyYAML adds them up: the rounding is the same. */
static bool sexagesimal_float(const char *s, size_t len, double *out) {
    long double base = 1; /* exact up to 60^16 */
    double sum = 0, part;
    const char *end = s + len;
    for (int parts = 0; parts < 17; parts++, base *= 60) {
        const char *from = end;
        while (from > s && from[-1] != ':')
            from--;
        if (!float_of(from, (size_t)(end - from), &part))
            return false;
        sum += part * (double)base;
        if (from == s) {
            *out = sum;
            return true;
        }
        end = from - 1;
    }
    return false;
}

static int float_value(struct yaml_reader *r, yaml_node_t *n) {
    size_t len;
    double v;
    const char *s = without_underscores(r, n, &len);
    if (!s)
        return OSMO_ENOMEM;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') {
        s++;
        len--;
    }
    if (len == 4 && strcasecmp(s, ".inf") == 0)
        v = INFINITY;
    else if (len == 4 && strcasecmp(s, ".nan") == 0)
        v = NAN;
    else if (!(memchr(s, ':', len) ? sexagesimal_float(s, len, &v) : float_of(s, len, &v)))
        return bad_value(r, n, "float");
    n->kind = YAML_FLOAT;
    n->number = negative ? -v : v;
    return 0;
}

/* ---- the rest ---- */

static int bool_value(struct yaml_reader *r, yaml_node_t *n) {
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(n->text, words[i]) == 0) {
            n->kind = YAML_BOOL;
            n->boolean = i % 2;
            return 0;
        }
    }
    return bad_value(r, n, "boolean");
}

/* Days since 1970-01-01 of a day of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool valid_stamp(const struct stamp *t) {
    static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    if (t->year < 1 || t->month < 1 || t->month > 12 || t->day < 1)
        return false;
    bool leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
    if (t->day > days[t->month - 1] + (t->month == 2 && leap))
        return false;
    return t->hour < 24 && t->minute < 60 && t->second < 60 && abs(t->offset) < 24 * 60;
}

static int date_value(struct yaml_reader *r, yaml_node_t *n) {
    struct stamp t;
    if (!read_stamp(n->text, false, &t) || !valid_stamp(&t))
        return bad_value(r, n, "date or time");
    char text[64];
    int len = snprintf(text, sizeof text, "%04d-%02d-%02d", t.year, t.month, t.day);
    if (t.timed)
        len += snprintf(text + len, sizeof text - (size_t)len, " %02d:%02d:%02d", t.hour, t.minute, t.second);
    if (t.micros)
        len += snprintf(text + len, sizeof text - (size_t)len, ".%06d", t.micros);
    if (t.zoned)
        len += snprintf(text + len, sizeof text - (size_t)len, "%c%02d:%02d", t.offset < 0 ? '-' : '+',
                        abs(t.offset) / 60, abs(t.offset) % 60);
    char *copy = yaml_arena_text(r, (size_t)len + 1);
    if (!copy)
        return OSMO_ENOMEM;
    n->text = memcpy(copy, text, (size_t)len + 1);
    n->text_len = (uint32_t)len;
    n->kind = YAML_DATE;
    n->flavour = t.zoned ? YAML_DATETIME_ZONED : t.timed ? YAML_DATETIME : YAML_ORDINARY;
    int64_t seconds = ((days_of(t.year, t.month, t.day) * 24 + t.hour) * 60 + t.minute - t.offset) * 60 + t.second;
    n->integer = seconds * 1000000 + t.micros;
    return 0;
}

static int base64_value(char c) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(set, c) : NULL;
    return p ? (int)(p - set) : -1;
}

/* As Python's base64.decodebytes: characters that are none are passed over, what follows the padding is not read. */
static int binary_value(struct yaml_reader *r, yaml_node_t *n) {
    char *out = yaml_arena_text(r, n->text_len / 4 * 3 + 4);
    size_t len = 0;
    unsigned bits = 0, have = 0, pads = 0;
    if (!out)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n->text_len; i++) {
        if ((unsigned char)n->text[i] >= 0x80)
            return bad_value(r, n, "base64 text");
    }
    for (size_t i = 0; i < n->text_len; i++) {
        int v = base64_value(n->text[i]);
        if (n->text[i] == '=' && have >= 2 && have + ++pads >= 4) {
            have = 0;
            break;
        }
        if (v < 0)
            continue;
        pads = 0;
        bits = bits << 6 | (unsigned)v;
        if (have)
            out[len++] = (char)(bits >> (6 - 2 * have));
        have = (have + 1) % 4;
    }
    if (have)
        return bad_value(r, n, "base64 text");
    out[len] = '\0';
    if (memchr(out, '\0', len) || !utf8_valid(out, len))
        return yaml_fail(r, n, "!!binary of bytes that are not text in UTF-8; give such data in a file or a dataset");
    n->text = out;
    n->text_len = (uint32_t)len;
    n->flavour = YAML_BINARY;
    return 0;
}

int yaml_scalar_value(struct yaml_reader *r, yaml_node_t *n) {
    switch (yaml_tag_of(n)) {
    case TAG_STR: return 0;
    case TAG_NULL: n->kind = YAML_NULL; return 0;
    case TAG_BOOL: return bool_value(r, n);
    case TAG_INT: return int_value(r, n);
    case TAG_FLOAT: return float_value(r, n);
    case TAG_TIMESTAMP: return date_value(r, n);
    case TAG_BINARY: return binary_value(r, n);
    default: return osmo_error_set(r->err, OSMO_EINTERNAL, "a YAML scalar without a type");
    }
}
