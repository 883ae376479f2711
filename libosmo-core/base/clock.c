/* Clocks and time texts; see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_now_us(void) { return read_clock(CLOCK_REALTIME); }
int64_t clock_mono_us(void) { return read_clock(CLOCK_MONOTONIC); }

/* Civil date from days since the epoch (proleptic Gregorian), and back. */
static void civil(int64_t days, int *y, int *m, int *d) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static int64_t days_of(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

struct parts { int y, mo, d, h, mi, s, us; };

static struct parts split(int64_t us) {
    struct parts p;
    int64_t s = us / 1000000, f = us % 1000000;
    if (f < 0) {
        f += 1000000;
        s--;
    }
    int64_t days = s / 86400, rest = s % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil(days, &p.y, &p.mo, &p.d);
    p.h = (int)(rest / 3600);
    p.mi = (int)(rest / 60 % 60);
    p.s = (int)(rest % 60);
    p.us = (int)f;
    return p;
}

const char *time_iso(int64_t us, char out[TIME_TEXT_MAX]) {
    struct parts p = split(us);
    int n = snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", p.y, p.mo, p.d, p.h, p.mi, p.s);
    if (p.us)
        snprintf(out + n, TIME_TEXT_MAX - (size_t)n, ".%06d", p.us);
    return out;
}

const char *time_log(int64_t us, char out[TIME_TEXT_MAX]) {
    struct parts p = split(us);
    snprintf(out, TIME_TEXT_MAX, "%04d/%02d/%02d %02d:%02d:%02d", p.y, p.mo, p.d, p.h, p.mi, p.s);
    return out;
}

const char *time_rfc3339(int64_t us, char out[TIME_TEXT_MAX]) {
    struct parts p = split(us);
    snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", p.y, p.mo, p.d, p.h, p.mi, p.s, p.us);
    return out;
}

static bool digits(const char **s, int n, int *out) {
    *out = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        *out = *out * 10 + (**s - '0');
    }
    return true;
}

static bool literal(const char **s, const char *set) {
    if (!**s || !strchr(set, **s))
        return false;
    (*s)++;
    return true;
}

static int fraction_us(const char **s) {
    int us = 0, n = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++, n++) {
        if (n < 6)
            us = us * 10 + (**s - '0');
    }
    for (; n < 6; n++)
        us *= 10;
    return us;
}

/* Z, +hh:mm, -hhmm, or nothing; seconds east of UTC. */
static bool zone(const char **s, int *offset) {
    *offset = 0;
    if (**s == 'Z' || **s == 'z') {
        (*s)++;
    } else if (**s == '+' || **s == '-') {
        int sign = *(*s)++ == '-' ? -1 : 1, h, m = 0;
        if (!digits(s, 2, &h))
            return false;
        if (**s == ':')
            (*s)++;
        if (**s && !digits(s, 2, &m))
            return false;
        *offset = sign * (h * 3600 + m * 60);
    }
    return **s == '\0';
}

bool time_parse(const char *text, int64_t *us) {
    struct parts p = { 0 };
    const char *s = text;
    int offset = 0;
    if (!digits(&s, 4, &p.y) || !literal(&s, "-")) {
        char *end;
        double seconds = strtod(text, &end);
        if (end == text || *end || !(seconds > -1e12 && seconds < 1e12))
            return false;
        *us = (int64_t)(seconds * 1e6);
        return true;
    }
    if (!digits(&s, 2, &p.mo) || !literal(&s, "-") || !digits(&s, 2, &p.d))
        return false;
    if (*s) {
        if (!literal(&s, "Tt ") || !digits(&s, 2, &p.h) || !literal(&s, ":") || !digits(&s, 2, &p.mi))
            return false;
        if (*s == ':' && (s++, !digits(&s, 2, &p.s)))
            return false;
        if (*s == '.' || *s == ',') {
            s++;
            p.us = fraction_us(&s);
        }
        if (!zone(&s, &offset))
            return false;
    }
    if (p.mo < 1 || p.mo > 12 || p.d < 1 || p.d > 31 || p.h > 23 || p.mi > 59 || p.s > 60)
        return false;
    *us = ((days_of(p.y, p.mo, p.d) * 86400) + p.h * 3600 + p.mi * 60 + p.s - offset) * 1000000 + p.us;
    return true;
}
