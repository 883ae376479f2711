/* Keys of interactive sessions: what is a key, what a genuine one is, and what it says. */
#include "model/router_key.h"

#include "check.h"

#define UUID "0123456789abcdef0123456789abcdef"
#define OTHER "0123456789abcdef0123456789abcdee"
static const uint8_t secret[32] = { 1, 2, 3, 4, 5 }, other_secret[32] = { 1, 2, 3, 4, 6 };

static struct router_key sample(enum router_action a, char text[ROUTER_KEY_MAX]) {
    struct router_key k = { .action = a, .nonce = 0xa1b2c3d4e5f6, .replica = 0xdeadbeef, .expires_s = 1764175560 };
    k.user = router_key_user(secret, k.nonce, "jane");
    k.task = router_key_task(secret, k.nonce, "train", 2);
    router_key_make(secret, UUID, &k, text);
    return k;
}

static void test_round_trip(void) {
    static const char *const prefixes[] = { "EXEC-", "PORTFORWARD-", "webserver-", "RSYNC-" };
    for (unsigned a = 0; a < ROUTER_ACTIONS; a++) {
        char text[ROUTER_KEY_MAX];
        struct router_key k = sample((enum router_action)a, text), back;
        CHECK(strncmp(text, prefixes[a], strlen(prefixes[a])) == 0);
        CHECK_INT(strlen(text), strlen(prefixes[a]) + ROUTER_KEY_TEXT);
        REQUIRE(router_key_parse(text, &back));
        CHECK_INT(back.action, a);
        CHECK_INT(back.form, ROUTER_KEY_SESSION);
        CHECK_INT(back.nonce, k.nonce);
        CHECK_INT(back.replica, k.replica);
        CHECK_INT(back.expires_s, k.expires_s);
        CHECK_INT(back.user, k.user);
        CHECK_INT(back.task, k.task);
        CHECK(router_key_is_genuine(secret, UUID, &back));
        CHECK(!router_key_is_genuine(secret, OTHER, &back));
        CHECK(!router_key_is_genuine(other_secret, UUID, &back));
        back.action = (enum router_action)((a + 1) % ROUTER_ACTIONS);
        CHECK(!router_key_is_genuine(secret, UUID, &back));
    }
}

/* The text is the wire: another build has to read it. */
static void test_known(void) {
    char text[ROUTER_KEY_MAX];
    sample(ROUTER_EXEC, text);
    CHECK_STR(text, "EXEC-rry5qgfd34poz3neugzmhvhf63pk3pxpnets5se6pofiegeub2ra");
}

/* No character can be another one, and none is without meaning. */
static void test_every_character_counts(void) {
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    char text[ROUTER_KEY_MAX];
    struct router_key back;
    sample(ROUTER_EXEC, text);
    size_t len = strlen(text), wrong = 0;
    for (size_t i = strlen("EXEC-"); i < len; i++) {
        char was = text[i];
        for (const char *c = alphabet; *c; c++) {
            text[i] = *c;
            wrong += *c != was && router_key_parse(text, &back) && router_key_is_genuine(secret, UUID, &back);
        }
        text[i] = was;
    }
    CHECK_INT(wrong, 0);
}

static void test_forms(void) {
#define HEX32 "00112233445566778899aabbccddeeff"
#define BODY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    static const struct { const char *text; int form; } cases[] = {
        { "EXEC-" BODY, ROUTER_KEY_SESSION },
        { "PORTFORWARD-" BODY "-1", ROUTER_KEY_CONNECTION },
        { "PORTFORWARD-" BODY "-4294967295", ROUTER_KEY_CONNECTION },
        { "webserver-" BODY "-12", ROUTER_KEY_CONNECTION },
        { "PORTFORWARD-" HEX32, ROUTER_KEY_INVENTED },
        { "RSYNC-" HEX32, ROUTER_KEY_INVENTED },
        { "PORTFORWARD-" BODY "-4294967296", -1 },
        { "PORTFORWARD-" BODY "-99999999999999999999", -1 },
        { "PORTFORWARD-" BODY "-0", -1 },
        { "PORTFORWARD-" BODY "-01", -1 },
        { "PORTFORWARD-" BODY "-", -1 },
        { "PORTFORWARD-" BODY "-1x", -1 },
        { "PORTFORWARD-" BODY "1", -1 },
        { "PORTFORWARD-" BODY "--1", -1 },
        { "EXEC-" HEX32, -1 },
        { "webserver-" HEX32, -1 },
        { "PORTFORWARD-00112233445566778899AABBCCDDEEFF", -1 },
        { "PORTFORWARD-0011223344", -1 },
        { "EXEC-Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1 },
        { "EXEC-1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1 },
        { "EXEC-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", -1 }, /* a bit that means nothing */
        { "exec-" BODY, -1 },
        { "WEBSERVER-" BODY, -1 },
        { "EXEC-", -1 },
        { "", -1 },
        { "-", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct router_key k = { 0 };
        bool good = router_key_parse(cases[i].text, &k);
        if (good != (cases[i].form >= 0) || (good && (int)k.form != cases[i].form))
            fprintf(stderr, "%s\n", cases[i].text);
        CHECK_INT(good, cases[i].form >= 0);
        if (good)
            CHECK_INT(k.form, cases[i].form);
    }
    struct router_key k;
    CHECK(!router_key_parse(NULL, &k));
}

static void test_parent(void) {
    char text[ROUTER_KEY_MAX], below[ROUTER_KEY_MAX * 2], parent[ROUTER_KEY_MAX];
    struct router_key k;
    sample(ROUTER_PORTFORWARD, text);
    snprintf(below, sizeof below, "%s-77", text);
    REQUIRE(router_key_parse(below, &k));
    CHECK_INT(k.number, 77);
    CHECK(router_key_is_genuine(secret, UUID, &k));
    router_key_parent(below, parent);
    CHECK_STR(parent, text);
    router_key_parent(text, parent);
    CHECK_STR(parent, text);
}

static void test_hosts(void) {
    char text[ROUTER_KEY_MAX], host[200], found[ROUTER_KEY_MAX];
    struct router_key k;
    sample(ROUTER_WEBSERVER, text);
    CHECK(strlen(text) <= 63); /* a label */
    static const char *const rests[] = { "", ".osmo.example", ".osmo.example:8443", ":8000" };
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        snprintf(host, sizeof host, "%s%s", text, rests[i]);
        CHECK(router_key_of_host(host, &k, found));
        CHECK_STR(found, text);
    }
    for (char *c = host; *c; c++)
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    CHECK(router_key_of_host(host, &k, found));
    CHECK_STR(found, text);
    snprintf(host, sizeof host, "www.%s.osmo.example", text);
    CHECK(!router_key_of_host(host, &k, found));
    CHECK(!router_key_of_host("osmo.example", &k, found));
    CHECK(!router_key_of_host("", &k, found));
    CHECK(!router_key_of_host(NULL, &k, found));
    snprintf(host, sizeof host, "%s-1.osmo.example", text);
    CHECK(!router_key_of_host(host, &k, found));
}

/* Whoever sees two keys does not see whether they are one user's. */
static void test_hashes(void) {
    CHECK(router_key_user(secret, 1, "jane") == router_key_user(secret, 1, "jane"));
    CHECK(router_key_user(secret, 1, "jane") != router_key_user(secret, 2, "jane"));
    CHECK(router_key_user(secret, 1, "jane") != router_key_user(secret, 1, "joe"));
    CHECK(router_key_user(secret, 1, "jane") != router_key_user(other_secret, 1, "jane"));
    CHECK(router_key_task(secret, 1, "t", 0) != router_key_task(secret, 1, "t", 1));
    CHECK(router_key_task(secret, 1, "t", 0) != router_key_user(secret, 1, "t"));
    CHECK(router_key_task(secret, 1, NULL, 0) == router_key_task(secret, 1, "", 0));
    CHECK_INT(router_key_replica("deadbeef0123456789abcdef01234567"), 0xdeadbeef);
    CHECK_INT(router_key_replica("00000001ffffffffffffffffffffffff"), 1);
}

static void test_actions(void) {
    enum router_action a;
    for (unsigned i = 0; i < ROUTER_ACTIONS; i++) {
        const char *name = router_action_name((enum router_action)i);
        CHECK(router_action_parse(name, strlen(name), &a) && (unsigned)a == i);
    }
    CHECK(!router_action_parse("execute", 7, &a));
    CHECK(!router_action_parse("", 0, &a));
    CHECK_STR(router_action_name(ROUTER_ACTIONS), "");
}

static const struct check_test tests[] = {
    { "a key says what went into it", test_round_trip },
    { "the text does not change between versions", test_known },
    { "a key with another character is none", test_every_character_counts },
    { "forms", test_forms },
    { "connections belong to a session", test_parent },
    { "hosts of web servers", test_hosts },
    { "hashes of users and tasks", test_hashes },
    { "names of actions", test_actions },
};
TEST_MAIN("router_key", tests)
