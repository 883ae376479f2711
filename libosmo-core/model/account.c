/* Accounts; see account.h. */
#include "model/account.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"

#define DAY_US (86400LL * 1000000)
#define BACKEND_PREFIX "backend-operator-" /* who has such a name and a token may pass for an operator behind a gateway */
#define DATE_LEN 10 /* 2026-03-01 */

static bool is_alnum(char c) { return isascii((unsigned char)c) && isalnum((unsigned char)c); }

bool user_name_valid(const char *name) {
    size_t n = name ? strnlen(name, USER_NAME_MAX + 1) : 0;
    if (n < 1 || n > USER_NAME_MAX || str_starts(name, BACKEND_PREFIX) || !is_alnum(name[0]) || !is_alnum(name[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_alnum(name[i]) && !strchr("_.@-", name[i]))
            return false;
    }
    return true;
}

bool token_text_valid(const char *text) {
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n <= TOKEN_TEXT_MAX; p++, n++) {
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)) /* C0, DEL, C1 */
            return false;
    }
    return n <= TOKEN_TEXT_MAX;
}

/* ---- expiry ---- */

/* A day of the calendar: one that is read and written again is the same. */
static bool date_parse(const char *text, int64_t *us) {
    char again[TIME_TEXT_MAX];
    if (strnlen(text, DATE_LEN + 1) != DATE_LEN || !time_parse(text, us))
        return false;
    return strncmp(time_iso(*us, again), text, DATE_LEN) == 0;
}

int token_expiry(const char *date, int64_t now_us, int64_t max_us, int64_t *expires_us, osmo_error_t *err) {
    char today[TIME_TEXT_MAX], last[TIME_TEXT_MAX];
    int64_t day = now_us / DAY_US * DAY_US, end = day + max_us / DAY_US * DAY_US;
    if (!date_parse(date, expires_us))
        return osmo_error_set(err, OSMO_EUSER, "expires_at \"%.40s\" is not a date; write it as YYYY-MM-DD", date);
    if (*expires_us <= day)
        return osmo_error_set(err, OSMO_EUSER, "expires_at %s must be after today, which is %.10s (UTC)", date, time_iso(day, today));
    if (*expires_us > end)
        return osmo_error_set(err, OSMO_EUSER, "expires_at %s must be no later than %.10s: access tokens last %lld days at most here", date,
                              time_iso(end, last), (long long)(max_us / DAY_US));
    return 0;
}

/* ---- roles ---- */

static int check_wanted(const char *owner, const strlist_t *held, const strlist_t *wanted, const strlist_t *limit, osmo_error_t *err) {
    for (size_t i = 0; i < wanted->len; i++) {
        if (!strlist_has(held, wanted->items[i]))
            return osmo_error_set(err, OSMO_EUSER, "User %.100s does not have role %.100s, so an access token cannot have it", owner,
                                  wanted->items[i]);
    }
    for (size_t i = 0; limit && i < wanted->len; i++) {
        if (!strlist_has(limit, wanted->items[i]))
            return osmo_error_set(err, OSMO_EDENIED,
                                  "access denied: the token that asks does not have role %.100s itself; use one that does",
                                  wanted->items[i]);
    }
    return 0;
}

int token_roles(const char *owner, const strlist_t *held, const strlist_t *wanted, const strlist_t *limit, strlist_t *out,
                osmo_error_t *err) {
    bool named = wanted && wanted->len;
    const strlist_t *from = named ? wanted : held;
    int rc = named ? check_wanted(owner, held, wanted, limit, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < from->len; i++) {
        if (strlist_has(out, from->items[i]) || (limit && !strlist_has(limit, from->items[i])))
            continue;
        if (strlist_add(out, from->items[i]) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return out->len ? 0
                    : osmo_error_set(err, OSMO_EUSER, "User %.100s has no role that an access token could have; an administrator gives one "
                                     "with osmo user update", owner);
}
