/* Who asks how often, by a clock that the test turns. */
#include "engine/limits.h"
#include <pthread.h>
#include <strings.h>
#include "service_fixture.h"

static struct fixture f;
static int64_t now_us = 1000000;
static int64_t test_clock(void) { return now_us; }

static bool open_with(int64_t rate, int64_t burst, int64_t refused) {
    if (!fixture_open(&f, OSMO_AUTH_DEV, NULL))
        return false;
    struct settings *s = (struct settings *)(uintptr_t)engine_settings(f.engine);
    s->request_rate = rate;
    s->request_burst = burst;
    s->refused_rate = refused;
    engine_settings_put(s);
    limits_clock(f.engine, test_clock);
    return true;
}

static struct identity user(const char *name, const char *workflow) {
    return (struct identity){ .user = (char *)(uintptr_t)name, .workflow_id = (char *)(uintptr_t)workflow };
}

static int taken(const struct identity *who, int tries) {
    int64_t wait;
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += limits_take(f.engine, who, &wait);
    return n;
}

static void test_callers(void) {
    struct identity maya = user("maya", NULL), liam = user("liam", NULL), task = user("maya", "maya-1");
    int64_t wait = -1;
    REQUIRE(open_with(10, 20, 30));
    CHECK_INT(taken(&maya, 100), 20);
    CHECK(!limits_take(f.engine, &maya, &wait));
    CHECK_INT(wait, 1);
    CHECK_INT(taken(&liam, 100), 20); /* each has his own */
    CHECK_INT(taken(&task, 100), 20);
    now_us += 100000;
    CHECK_INT(taken(&maya, 100), 1);
    now_us += 1000000;
    CHECK_INT(taken(&maya, 100), 10);
    now_us += 3600 * INT64_C(1000000);
    CHECK_INT(taken(&maya, 100), 20); /* what is not used does not add up */
    CHECK(limits_take(f.engine, &liam, &wait));
    CHECK_INT(wait, 0);
    fixture_close(&f);
}

static void test_no_limit(void) {
    struct identity maya = user("maya", NULL);
    int64_t wait;
    REQUIRE(open_with(0, 0, 0));
    CHECK_INT(taken(&maya, 10000), 10000);
    for (int i = 0; i < 1000; i++)
        limits_refused(f.engine, "192.0.2.1");
    CHECK(limits_may_prove(f.engine, "192.0.2.1", &wait));
    fixture_close(&f);
}

static void test_slow_rate(void) {
    struct identity maya = user("maya", NULL);
    int64_t wait;
    REQUIRE(open_with(1, 0, 30)); /* a burst of nothing is one */
    CHECK_INT(taken(&maya, 5), 1);
    CHECK(!limits_take(f.engine, &maya, &wait));
    CHECK_INT(wait, 1);
    fixture_close(&f);
}

static void test_refused(void) {
    static const struct { const char *one, *other; bool same; } peers[] = {
        { "192.0.2.7", "192.0.2.7", true },
        { "192.0.2.7", "192.0.2.8", false },
        { "127.0.0.1", "127.0.0.1", true },
        { "127.0.0.1", "127.0.0.2", false },
        { "2001:db8::1", "2001:db8::ffff:2", true }, /* one network */
        { "2001:db8::1", "2001:db8:0:1::1", false },
        { "::ffff:192.0.2.7", "192.0.2.7", true },
        { "::1", "::2", false },
        { "", NULL, true },
        { "a-socket", "another", false },
    };
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        int64_t wait = -1;
        REQUIRE(open_with(0, 0, 30));
        for (int n = 0; n < 30; n++) {
            CHECK(limits_may_prove(f.engine, peers[i].other, &wait));
            limits_refused(f.engine, peers[i].one);
        }
        CHECK(!limits_may_prove(f.engine, peers[i].one, &wait));
        CHECK_INT(wait, 2); /* 30 a minute */
        if (limits_may_prove(f.engine, peers[i].other, &wait) == peers[i].same) {
            fprintf(stderr, "%s and %s\n", peers[i].one, peers[i].other ? peers[i].other : "none");
            CHECK(false);
        }
        for (int n = 0; n < 1000; n++) /* those that nobody looked at make it no longer */
            limits_refused(f.engine, peers[i].one);
        now_us += 2000000;
        CHECK(limits_may_prove(f.engine, peers[i].one, &wait));
        limits_refused(f.engine, peers[i].one);
        CHECK(!limits_may_prove(f.engine, peers[i].one, &wait));
        fixture_close(&f);
    }
}

/* A crowd pushes out those who owe nothing, and not the one it hides. */
static void test_crowd(void) {
    int64_t wait;
    char peer[32];
    REQUIRE(open_with(0, 0, 30));
    for (int n = 0; n < 30; n++)
        limits_refused(f.engine, "192.0.2.7");
    for (unsigned n = 0; n < 200000; n++) {
        snprintf(peer, sizeof peer, "10.%u.%u.%u", n >> 16, n >> 8 & 255, n & 255);
        limits_refused(f.engine, peer);
    }
    CHECK(!limits_may_prove(f.engine, "192.0.2.7", &wait));
    fixture_close(&f);
}

static void *hammer(void *arg) {
    struct identity maya = user("maya", NULL);
    *(int *)arg = taken(&maya, 20000);
    return NULL;
}

static void test_threads(void) {
    pthread_t threads[4];
    int got[4], all = 0;
    REQUIRE(open_with(1000, 5000, 30));
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, hammer, &got[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        all += got[i];
    }
    CHECK_INT(all, 5000);
    fixture_close(&f);
}

/* ---- as clients see it ---- */

static const char *header_of(const struct answer *a, const char *name) {
    for (char **h = a->rs.headers; h && *h; h += 2) {
        if (!strcasecmp(h[0], name))
            return h[1];
    }
    return "";
}

static void test_wrong_tokens(void) {
    const char *const bad[] = { "authorization", "Bearer a.b.c", NULL };
    struct answer a;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    struct settings *s = (struct settings *)(uintptr_t)engine_settings(f.engine);
    s->refused_rate = 30;
    engine_settings_put(s);
    limits_clock(f.engine, test_clock);
    for (int i = 0; i < 30; i++) {
        a = ask(&f, "GET", "/api/workflow", NULL, NULL, bad);
        CHECK_INT(a.status, 401);
        answer_free(&a);
    }
    a = ask(&f, "GET", "/api/workflow", NULL, NULL, bad);
    CHECK_INT(a.status, 429);
    CHECK_STR(header_of(&a, "retry-after"), "2");
    CHECK_CONTAINS(json_get_str(a.json, "message"), "too many tokens from this address were refused: try again in 2 seconds");
    answer_free(&a);
    a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    CHECK_INT(a.status, 429);
    answer_free(&a);
    for (int i = 0; i < 100; i++) { /* without a token nothing is tried */
        a = ask(&f, "GET", "/api/workflow", NULL, NULL, NULL);
        CHECK_INT(a.status, 401);
        answer_free(&a);
    }
    a = ask(&f, "GET", "/api/version", NULL, NULL, bad);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    now_us += 2000000;
    a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

static void test_many_requests(void) {
    const char *const maya[] = { "x-osmo-user", "maya", NULL }, *const liam[] = { "x-osmo-user", "liam", NULL };
    REQUIRE(open_with(1, 3, 30));
    for (int i = 0; i < 4; i++) {
        struct answer a = ask(&f, "GET", "/api/profile/settings", NULL, NULL, maya);
        CHECK_INT(a.status, i < 3 ? 200 : 429);
        if (i == 3) {
            CHECK_STR(header_of(&a, "retry-after"), "1");
            CHECK_CONTAINS(json_get_str(a.json, "message"), "too many requests of this user: try again in 1 second");
        }
        answer_free(&a);
    }
    struct answer a = ask(&f, "GET", "/api/profile/settings", NULL, NULL, liam);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "a caller has a rate and a burst", test_callers },
    { "no limit", test_no_limit },
    { "a slow rate", test_slow_rate },
    { "refused proofs of a peer", test_refused },
    { "a crowd hides nobody", test_crowd },
    { "from many threads", test_threads },
    { "wrong tokens", test_wrong_tokens },
    { "many requests", test_many_requests },
};
TEST_MAIN("limits", tests)
