/* Our operator against an agent of OSMO 6.4, the listener's half: logging in, the handshake and where it may end, what goes out
 * on which socket, acknowledgements, the window, replay, pushes. Every message is checked against what that agent takes. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"
#include "interop_bench.h"
#include "upstream_fixture.h"

#define QUIET "tasks: {}\n"
#define SLOW "tasks:\n  slow: {duration_ms: 3600000}\n"

static const char *uuid_of(const char *text, char out[33]) {
    const char *p = text ? strstr(text, "\"uuid\":\"") : NULL;
    snprintf(out, 33, "%.32s", p ? p + 8 : "");
    return out;
}

static void acknowledge(int path, const char *uuid) {
    _cleanup_free_ char *text = str_printf("{\"type\":\"ack\",\"body\":{\"uuid\":\"%s\"},\"uuid\":\"%032d\"}", uuid, 7);
    upstream_say(path, text);
}

static void wait_all_open(size_t nth) {
    for (int i = 0; i < UP_PATHS; i++)
        upstream_await_connection(i, nth);
}

/* ---- handshake ---- */

static void init_is_first(void) {
    struct bench b;
    REQUIRE(bench_open(&b, QUIET));
    bench_await_inits(1);
    for (int i = 0; i < UP_PATHS; i++) {
        const char *first = upstream_nth(i, 0);
        CHECK_CONTAINS(first, "\"type\":\"init\"");
        CHECK_CONTAINS(first, "\"k8s_namespace\":\"wf-ns\"");
        CHECK_CONTAINS(first, "\"node_condition_prefix\":\"osmo.nvidia.com/\"");
        CHECK_CONTAINS(first, "\"version\":\"6.");
    }
    CHECK(upstream_await(UP_HEARTBEAT, "\"type\":\"heartbeat\"", 1) != NULL);
    bench_close(&b);
}

/* A node is told before its use, and all of them after. */
static void nodes_in_order(void) {
    struct bench b;
    static const char *const order[] = { "\"type\":\"init\"", "\"type\":\"resource\"", "\"type\":\"resource_usage\"",
                                         "\"type\":\"node_hash\"" };
    REQUIRE(bench_open(&b, QUIET));
    CHECK(upstream_await(UP_NODE, "node_hash", 1) != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        CHECK_CONTAINS(upstream_nth(UP_NODE, i), order[i]);
    CHECK_CONTAINS(upstream_nth(UP_NODE, 1), "\"processed_fields\":{}");
    upstream_drop(UP_NODE); /* an agent that lost its memory hears it again */
    CHECK(upstream_await(UP_NODE, "node_hash", 2) != NULL);
    bench_close(&b);
}

/* The agent goes at every point of the handshake, for each socket alone and for all together. */
static void ends_at_every_point(void) {
    struct bench b;
    static const int refusals[] = { 401, 403, 404, 429, 500, 502, 503, 302, 200 };
    REQUIRE(bench_start(&b));
    upstream_cut(-1, UP_CUT_ACCEPTED, 0);
    REQUIRE(bench_run(&b, QUIET, NULL));
    wait_all_open(1);
    size_t round = 1, pongs = 0;
    for (enum up_cut stage = UP_CUT_REQUEST; stage < UP_CUT_STAGES; stage++)
        for (size_t i = 0; i < (stage == UP_CUT_REFUSED ? ARRAY_SIZE(refusals) : 1); i++) {
            upstream_cut(-1, stage, refusals[i]);
            round += stage == UP_CUT_INIT; /* these count as connections */
            for (int p = 0; p < UP_PATHS; p++)
                upstream_drop(p);
            round++;
            wait_all_open(round);
            for (int p = 0; p < UP_PATHS; p++) { /* a connection that is heard of is a good one: the next wait is short again */
                acknowledge(p, "ffffffffffffffffffffffffffffffff");
                upstream_ping(p, "x");
                upstream_await_pongs(p, ++pongs);
                pongs -= p + 1 < UP_PATHS;
            }
        }
    for (int p = 0; p < UP_PATHS; p++) {
        upstream_cut(p, UP_CUT_HALF_ANSWER, 0);
        upstream_drop(p);
        upstream_await_connection(p, round + 1);
    }
    CHECK(upstream_await(UP_HEARTBEAT, "\"type\":\"heartbeat\"", 2) != NULL);
    bench_close(&b);
}

static void away_and_back(void) {
    struct bench b;
    REQUIRE(bench_open(&b, QUIET));
    wait_all_open(1);
    upstream_vanish(true);
    upstream_vanish(false);
    wait_all_open(2);
    upstream_close(UP_POD, 1001, "going away");
    upstream_close(UP_NODE, 1012, "service restart");
    upstream_close(UP_WORKER, 4000, "database error");
    upstream_await_connection(UP_POD, 3);
    upstream_await_connection(UP_NODE, 3);
    upstream_await_connection(UP_WORKER, 3);
    CHECK_INT(upstream_await_close(UP_POD), 1001); /* echoed, as RFC 6455 wants it */
    bench_close(&b);
}

/* What WebSocket allows and libraries do: pings, messages in pieces, and a ping between the pieces. */
static void frames(void) {
    struct bench b;
    static const char text[] = "{\"type\":\"node_conditions\",\"body\":{\"rules\":{}},\"uuid\":\"00000000000000000000000000000001\"}";
    REQUIRE(bench_open(&b, QUIET));
    bench_await_inits(1);
    for (int i = 0; i < UP_PATHS; i++)
        upstream_ping(i, "abc");
    for (int i = 0; i < UP_PATHS; i++)
        upstream_await_pongs(i, 1);
    upstream_send_parts(UP_CONTROL, 1, text, strlen(text), 7);
    upstream_ping(UP_CONTROL, "");
    upstream_await_pongs(UP_CONTROL, 2);
    for (int i = 0; i < UP_PATHS; i++)
        CHECK_INT(upstream_connections(i), 1);
    bench_close(&b);
}

/* A listener takes messages of 1 MiB, as its model does; a larger one is told to be too large. */
static void too_large_for_a_listener(void) {
    struct bench b;
    size_t len = (1u << 20) + 1;
    char *text = malloc(len);
    REQUIRE(text && bench_open(&b, QUIET));
    memset(text, ' ', len);
    memcpy(text, "{}", 2);
    bench_await_inits(1);
    upstream_send(UP_CONTROL, 1, text, len);
    upstream_await_connection(UP_CONTROL, 2);
    CHECK_INT(upstream_await_close(UP_CONTROL), 1009);
    free(text);
    bench_close(&b);
}

/* ---- logging in ---- */

static void logs_in(void) {
    struct bench b;
    REQUIRE(bench_start(&b));
    upstream_expect_token(TOKEN_43);
    REQUIRE(bench_run(&b, QUIET, TOKEN_43 "\r\n")); /* its end of line is not part of it */
    bench_await_inits(1);
    CHECK_INT(upstream_await_login(1), 43);
    CHECK(upstream_logins() <= UP_PATHS);
    bench_close(&b);
}

/* Whatever the token endpoint does, it is asked again. */
static void login_fails_and_heals(void) {
    struct bench b;
    static const int answers[] = { 500, 502, 503, 504, 429, 408, 301, UP_LOGIN_CLOSE, UP_LOGIN_EMPTY, UP_LOGIN_NO_TOKEN, 200 };
    REQUIRE(bench_start(&b));
    upstream_expect_token(TOKEN_43);
    upstream_login(answers, ARRAY_SIZE(answers));
    REQUIRE(bench_run(&b, QUIET, TOKEN_43));
    bench_await_inits(1);
    CHECK(upstream_logins() >= ARRAY_SIZE(answers));
    bench_close(&b);
}

/* The file is read at each login: what is refused is replaced without a restart. Lengths that the agent refuses are among it. */
static void token_is_replaced(void) {
    struct bench b;
    char token[66];
    static const int lengths[] = { 42, 44, 63, 65, 1 };
    static const int statuses[] = { 400, 401, 403 };
    size_t asked = 1;
    memset(token, 'f', sizeof token);
    REQUIRE(bench_start(&b));
    upstream_expect_token(TOKEN_43);
    token[41] = '\0';
    REQUIRE(bench_run(&b, QUIET, token));
    CHECK_INT(upstream_await_login(asked), 41);
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        memset(token, 'f', sizeof token);
        token[lengths[i]] = '\0';
        bench_token(&b, token);
        size_t nth = asked;
        while (upstream_await_login(nth) > 0 && upstream_await_login(nth) != lengths[i])
            nth++;
        CHECK_INT(upstream_await_login(nth), lengths[i]);
        asked = nth;
    }
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) { /* well formed, and refused by each of the ways of saying so */
        memset(token, 'a' + (int)i, 64);
        token[64] = '\0';
        upstream_login(&statuses[i], 1);
        bench_token(&b, token);
        size_t nth = 1;
        while (upstream_await_login(nth) > 0 && upstream_await_login(nth) != 64)
            nth++;
        CHECK_INT(upstream_await_login(nth), 64);
    }
    CHECK_INT(upstream_connections(UP_POD), 0);
    upstream_login((const int[]){ 200 }, 1);
    bench_token(&b, TOKEN_43);
    bench_await_inits(1);
    memset(token, 'n', 64);
    upstream_expect_token(token); /* rotated: the next connection shows the new one */
    bench_token(&b, token);
    upstream_drop(UP_POD);
    upstream_await_connection(UP_POD, 2);
    bench_close(&b);
}

/* An endpoint that never answers keeps nobody from ending. */
static void login_without_answer(void) {
    struct bench b;
    REQUIRE(bench_start(&b));
    upstream_expect_token(TOKEN_43);
    upstream_login((const int[]){ UP_LOGIN_SILENT }, 1);
    REQUIRE(bench_run(&b, QUIET, TOKEN_43));
    CHECK_INT(upstream_await_login(1), 43);
    bench_close(&b);
}

/* ---- acknowledgements ---- */

/* The agent lags: a hundred messages and no more are under way. */
static void window(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SLOW));
    bench_await_inits(1);
    upstream_mute(UP_POD, true);
    say_create("j1", "", "slow", 60);
    CHECK(upstream_await(UP_POD, NULL, 101) != NULL); /* INIT and the window */
    CHECK(upstream_await(UP_HEARTBEAT, "heartbeat", 1) != NULL);
    upstream_ping(UP_POD, "x");
    upstream_await_pongs(UP_POD, 1); /* what it had to say before is here now */
    CHECK_INT(upstream_count(UP_POD, NULL), 101);
    /* Lost without one acknowledgement: all of it again, in order, then the rest when they come. */
    upstream_mute(UP_POD, false);
    upstream_drop(UP_POD);
    CHECK(upstream_await(UP_POD, "\"RUNNING\"", 60) != NULL);
    CHECK_CONTAINS(upstream_nth(UP_POD, 101), "\"type\":\"init\"");
    for (size_t i = 1; i <= 100; i++)
        CHECK_STR(upstream_nth(UP_POD, 101 + i), upstream_nth(UP_POD, i));
    bench_close(&b);
}

/* Acknowledged by hand, with gaps: exactly the gaps come again. */
static void replays_what_is_missing(void) {
    struct bench b;
    char uuid[33];
    enum { N = 20 };
    REQUIRE(bench_open(&b, SLOW));
    bench_await_inits(1);
    upstream_mute(UP_POD, true);
    say_create("j1", "", "slow", N);
    CHECK(upstream_await(UP_POD, "\"RUNNING\"", N) != NULL);
    size_t sent = upstream_count(UP_POD, NULL), missing = 0;
    acknowledge(UP_POD, "ffffffffffffffffffffffffffffffff"); /* of nothing: not worth a word */
    for (size_t i = 1; i < sent; i++)
        if (i % 3) {
            acknowledge(UP_POD, uuid_of(upstream_nth(UP_POD, i), uuid));
            acknowledge(UP_POD, uuid); /* twice */
        }
    upstream_ping(UP_POD, "x");
    upstream_await_pongs(UP_POD, 1);
    upstream_drop(UP_POD);
    CHECK(upstream_await(UP_POD, "\"type\":\"init\"", 2) != NULL);
    upstream_await_connection(UP_POD, 2);
    for (size_t i = 3; i < sent; i += 3)
        missing++;
    CHECK(upstream_await(UP_POD, NULL, sent + 1 + missing) != NULL);
    for (size_t i = 3, k = sent + 1; i < sent; i += 3, k++)
        CHECK_STR(upstream_nth(UP_POD, k), upstream_nth(UP_POD, i));
    upstream_ping(UP_POD, "x");
    upstream_await_pongs(UP_POD, 2);
    CHECK_INT(upstream_count(UP_POD, NULL), sent + 1 + missing);
    bench_close(&b);
}

/* Messages that make no sense are left alone, and the socket with them. */
static void nonsense_is_ignored(void) {
    struct bench b;
    static const char *const texts[] = {
        "", "{", "[]", "null", "{}", "{\"type\":\"ack\"}", "{\"type\":\"ack\",\"body\":null,\"uuid\":\"1\"}",
        "{\"type\":\"ack\",\"body\":{},\"uuid\":\"1\"}", "{\"type\":\"ack\",\"body\":{\"uuid\":7},\"uuid\":\"1\"}",
        "{\"type\":\"ack\",\"body\":{\"uuid\":\"\\u0000\"},\"uuid\":\"1\"}", "{\"type\":\"teapot\",\"body\":{},\"uuid\":\"1\"}",
        "{\"type\":\"task_list\",\"body\":{},\"uuid\":\"1\"}", "{\"type\":\"task_list\",\"body\":{\"task_list\":[]},\"uuid\":\"1\"}",
        "{\"type\":\"heartbeat\"}", "{\"type\":\"node_conditions\",\"body\":{\"rules\":7},\"uuid\":\"1\"}",
    };
    REQUIRE(bench_open(&b, QUIET));
    bench_await_inits(1);
    for (int p = 0; p < UP_PATHS; p++) {
        for (size_t i = 0; p != UP_WORKER && i < ARRAY_SIZE(texts); i++)
            upstream_say(p, texts[i]);
        upstream_ping(p, "x");
        upstream_await_pongs(p, 1);
        CHECK_INT(upstream_connections(p), 1);
    }
    CHECK_INT(upstream_count(UP_POD, "task_list"), 0);
    bench_close(&b);
}

/* ---- pushes ---- */

#define LABEL_NODE "{\"super_type\":\"backend\",\"job_type\":\"LabelNode\",\"job_id\":\"n1-4fe21-labelnode\",\"job_uuid\":" \
    "\"6a1d0f3e-0000-4000-8000-000000000002\",\"backend\":\"east\",\"node_name\":\"n1\",\"labels\":{\"osmo.verified\":\"False\"," \
    "\"osmo.reason\":\"PreflightTestFailed\"},\"workflow_uuid\":\"w1\",\"user\":\"alice\"}"

#define ODD_NODE "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"n1\"}}," \
    "\"spec\":{\"taints\":[{\"key\":\"nvidia.com/gpu\",\"effect\":\"NoSchedule\",\"value\":\"present\"},{\"key\":\"k\",\"effect\":" \
    "\"NoExecute\",\"timeAdded\":\"2025-11-02T10:00:00Z\"}]},\"status\":{\"allocatable\":{\"cpu\":\"3900m\",\"memory\":\"1Gi\"," \
    "\"ephemeral-storage\":\"1000000\",\"pods\":\"110\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}," \
    "{\"type\":\"GpuMissing\",\"status\":\"True\"}]}}"

static void rules(void) {
    struct bench b;
    static const struct { const char *rules, *available; } cases[] = {
        { "{\"^GpuMissing$\":\"False\"}", "false" }, { "null", "true" }, { "{\"Gpu\":\"False|Unknown\"}", "false" }, { "{}", "true" },
        { "{\"^Ready$\":\"True\",\"GpuMissing\":\"False\"}", "false" }, { "{\".*Missing\":\"Tr\"}", NULL },
        { "{\".*\":\"True|False\"}", NULL }, { "{\"^Ready$\":\"False\"}", NULL }, { "{\"(\":\"True\",\"^Gpu\":\"True\"}", "true" },
    };
    size_t told = 1;
    REQUIRE(bench_open(&b, QUIET));
    bench_await_inits(1);
    say_create("nodes", ODD_NODE, "", 0);
    upstream_job(LABEL_NODE); /* the scripted cluster tells of a node when it changes */
    CHECK_CONTAINS(upstream_await(UP_NODE, "\"type\":\"resource\",\"body\":{\"hostname\":\"n1\"", told), "\"available\":true");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = str_printf("{\"type\":\"node_conditions\",\"body\":{\"rules\":%s},\"uuid\":\"%032zu\"}", cases[i].rules,
                                               i);
        _cleanup_free_ char *want = str_printf("\"available\":%s", cases[i].available ? cases[i].available : "");
        upstream_say(UP_CONTROL, text);
        if (cases[i].available)
            CHECK_CONTAINS(upstream_await(UP_NODE, "\"type\":\"resource\",\"body\":{\"hostname\":\"n1\"", ++told), want);
    }
    CHECK_INT(upstream_connections(UP_CONTROL), 1);
    bench_close(&b);
}

/* ---- what is told of pods ---- */

#define FOREIGN "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"foreign\",\"labels\":{\"app\":\"x\"}},\"spec\":" \
    "{\"containers\":[{\"name\":\"main\"}]}},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bare\"},\"spec\":" \
    "{\"containers\":[{\"name\":\"main\"}]}}"

static void pods(void) {
    struct bench b;
    static const struct { const char *task, *status, *code; } ends[] = {
        { "ok", "COMPLETED", "\"exit_code\":0" }, { "bad", "\"FAILED\"", "\"exit_code\":7" },
        { "oom", "FAILED_EVICTED", "\"exit_code\":3004" }, { "pull", "FAILED_IMAGE_PULL", "\"exit_code\":30" },
        { "start", "FAILED_START_ERROR", "\"exit_code\":3003" }, { "preempted", "FAILED_PREEMPTED", "\"exit_code\":3006" },
        { "gone", "FAILED_BACKEND_ERROR", "\"exit_code\":3001" },
    };
    REQUIRE(bench_open(&b, "tasks:\n  bad: {exit_code: 7, message: \"caf\xc3\xa9 \\\"quoted\\\"\"}\n  oom: {event: oom}\n"
                           "  pull: {event: image_pull_error}\n  start: {event: start_error}\n  preempted: {event: preempt}\n"
                           "  gone: {event: delete}\n"));
    bench_await_inits(1);
    say_create("foreign", FOREIGN, "ok", 1);
    for (size_t i = 1; i < ARRAY_SIZE(ends); i++)
        say_create(ends[i].task, "", ends[i].task, 1);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        _cleanup_free_ char *part = str_printf("\"task_uuid\":\"u-%s\",\"retry_id\":0,\"container\":\"main\"", ends[i].task);
        const char *text = NULL;
        for (size_t n = 1; (text = upstream_await(UP_POD, part, n)) && !strstr(text, ends[i].status);)
            n++;
        CHECK_CONTAINS(text, ends[i].code);
    }
    CHECK(upstream_await(UP_EVENT, "pod_conditions", 1) != NULL);
    CHECK_INT(upstream_count(UP_POD, "foreign"), 0);
    CHECK_INT(upstream_connections(UP_POD), 1);
    CHECK_INT(upstream_connections(UP_EVENT), 1);
    bench_close(&b);
}

/* Told once: neither a new connection nor a change without news makes it be told again. */
static void told_once(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SLOW));
    bench_await_inits(1);
    say_create("j1", "", "slow", 3);
    CHECK(upstream_await(UP_POD, "\"RUNNING\"", 3) != NULL);
    upstream_ping(UP_POD, "x");
    upstream_await_pongs(UP_POD, 1);
    for (size_t i = 2; i < 6; i++) {
        upstream_drop(UP_POD);
        CHECK(upstream_await(UP_POD, "\"type\":\"init\"", i) != NULL);
    }
    say_create("j2", "", "ok", 1);
    CHECK(upstream_await(UP_POD, "COMPLETED", 1) != NULL);
    CHECK_INT(upstream_count(UP_POD, "\"task_uuid\":\"u-slow-0\",\"retry_id\":0,\"container\""),
              upstream_count(UP_POD, "\"task_uuid\":\"u-slow-1\",\"retry_id\":0,\"container\""));
    bench_close(&b);
}

static const struct check_test tests[] = {
    { "INIT is first", init_is_first }, { "nodes in order", nodes_in_order }, { "ends at every point", ends_at_every_point },
    { "away and back", away_and_back }, { "frames", frames }, { "too large for a listener", too_large_for_a_listener },
    { "logs in", logs_in }, { "login fails and heals", login_fails_and_heals }, { "token is replaced", token_is_replaced },
    { "login without answer", login_without_answer }, { "window", window }, { "replays what is missing", replays_what_is_missing },
    { "nonsense is ignored", nonsense_is_ignored }, { "rules", rules }, { "pods", pods }, { "told once", told_once },
};
TEST_MAIN("interop operator", tests)
