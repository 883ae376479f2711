/* Names of users, expiry and roles of access tokens: tables. */
#include <stdlib.h>

#include "base/clock.h"
#include "check.h"
#include "model/account.h"

#define DAY_US (86400LL * 1000000)

static void names(void) {
    static const struct { const char *name; bool valid; } cases[] = {
        { "a", true }, { "7", true }, { "ann", true }, { "ann.b_c@x-y.org", true }, { "0@9", true }, { "a--b", true }, { "a..b", true },
        { "", false }, { "@a", false }, { "a@", false }, { "-a", false }, { "a-", false }, { "a.", false }, { "_a", false },
        { "a b", false }, { "a/b", false }, { "a,b", false }, { "a\nb", false }, { "\xc3\xa4nn", false }, { "a\xc3\xa4n", false },
    };
    char longest[USER_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (user_name_valid(cases[i].name) != cases[i].valid)
            fprintf(stderr, "name %s\n", cases[i].name);
        CHECK_INT(user_name_valid(cases[i].name), cases[i].valid);
    }
    CHECK(!user_name_valid(NULL));
    memset(longest, 'a', sizeof longest);
    longest[USER_NAME_MAX + 1] = '\0';
    CHECK(!user_name_valid(longest));
    longest[USER_NAME_MAX] = '\0';
    CHECK(user_name_valid(longest));
}

static void descriptions(void) {
    static const struct { const char *text; bool valid; } cases[] = {
        { "", true }, { "on the desk", true }, { "f\xc3\xbcr Anna \xe2\x80\x94 \xc2\xa0", true },
        { "two\nlines", false }, { "tab\t", false }, { "\x1b[2J", false }, { "\x7f", false }, { "\xc2\x9b" "2J", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_INT(token_text_valid(cases[i].text), cases[i].valid);
    char longest[TOKEN_TEXT_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[TOKEN_TEXT_MAX + 1] = '\0';
    CHECK(!token_text_valid(longest));
    longest[TOKEN_TEXT_MAX] = '\0';
    CHECK(token_text_valid(longest));
}

static void expiry(void) {
    int64_t noon, got, want;
    char text[TIME_TEXT_MAX];
    REQUIRE(time_parse("2028-02-27T12:00:00", &noon));
    static const struct { const char *date; int64_t max_us; const char *why; } cases[] = {
        { "2028-02-28", 365 * DAY_US, NULL },
        { "2028-02-29", 365 * DAY_US, NULL },
        { "2029-02-26", 365 * DAY_US, NULL },
        { "2028-02-28", DAY_US, NULL },
        { "2028-02-28", 2 * DAY_US - 1, NULL },
        { "2028-02-27", 365 * DAY_US, "must be after today, which is 2028-02-27" },
        { "1999-12-31", 365 * DAY_US, "must be after today" },
        { "2029-02-27", 365 * DAY_US, "no later than 2029-02-26" },
        { "2028-02-29", DAY_US, "no later than 2028-02-28: access tokens last 1 days" },
        { "2028-02-28", DAY_US - 1, "no later than 2028-02-27" },
        { "2029-02-29", 900 * DAY_US, "is not a date; write it as YYYY-MM-DD" },
        { "2028-04-31", 900 * DAY_US, "is not a date" },
        { "2028-13-01", 900 * DAY_US, "is not a date" },
        { "2028-3-1", 900 * DAY_US, "is not a date" },
        { "28.02.2028", 900 * DAY_US, "is not a date" },
        { "2028-02-28T00:00:00", 900 * DAY_US, "is not a date" },
        { "1900000000", 900 * DAY_US, "is not a date" },
        { "", 900 * DAY_US, "is not a date" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = token_expiry(cases[i].date, noon, cases[i].max_us, &got, &err);
        if (cases[i].why) {
            CHECK_INT(rc, OSMO_EUSER);
            CHECK_CONTAINS(err.text, cases[i].why);
            continue;
        }
        CHECK_OK(rc, &err);
        CHECK(time_parse(cases[i].date, &want) && got == want);
        CHECK_CONTAINS(time_iso(got, text), "T00:00:00");
    }
}

static strlist_t words(const char *text) {
    strlist_t l = { 0 };
    if (text && *text)
        CHECK_INT(strlist_split(&l, text, ' '), 0);
    return l;
}

static void roles(void) {
    static const struct { const char *held, *wanted, *limit /* NULL: none */, *roles, *why; int code; } cases[] = {
        { "a b c", NULL, NULL, "a b c", NULL, 0 },
        { "a b c", "", NULL, "a b c", NULL, 0 },
        { "a b c", "c a", NULL, "c a", NULL, 0 },
        { "a b c", "a a", NULL, "a", NULL, 0 },
        { "a b c", NULL, "b d", "b", NULL, 0 },
        { "a b c", "b", "b d", "b", NULL, 0 },
        { "a b c", "b c", "b", "", "does not have role c itself", OSMO_EDENIED },
        { "a b c", "a d", NULL, "", "User ann does not have role d", OSMO_EUSER },
        { "a b c", "A", NULL, "", "does not have role A", OSMO_EUSER },
        { "a", "b", "b", "", "does not have role b", OSMO_EUSER },
        { "", NULL, NULL, "", "User ann has no role", OSMO_EUSER },
        { "a", NULL, "", "", "has no role", OSMO_EUSER },
        { "a", "", "b", "", "has no role", OSMO_EUSER },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        strlist_t held = words(cases[i].held), wanted = words(cases[i].wanted), limit = words(cases[i].limit), out = { 0 };
        strlist_t want = words(cases[i].roles);
        int rc = token_roles("ann", &held, cases[i].wanted ? &wanted : NULL, cases[i].limit ? &limit : NULL, &out, &err);
        CHECK_INT(rc, cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].why ? cases[i].why : "");
        CHECK_INT(out.len, want.len);
        for (size_t k = 0; k < out.len && k < want.len; k++)
            CHECK_STR(out.items[k], want.items[k]);
        strlist_t *all[] = { &held, &wanted, &limit, &out, &want };
        for (size_t k = 0; k < 5; k++)
            strlist_free(all[k]);
    }
}

static const struct check_test tests[] = { { "names", names }, { "descriptions", descriptions }, { "expiry", expiry }, { "roles", roles } };
TEST_MAIN("account", tests)
