/* The life of a backend in the engine, on SQLite and, where there is one, PostgreSQL: told of its tests as of its pools, and deleted while
 * things run there so that nothing hangs, nothing leaks and the name is free. */
#include <time.h>

#include "engine/backends.h"
#include "engine/engine_internal.h"
#include "engine_fixture.h"
#include "store/repo_auth.h"
#include "store/repo_backend_end.h"

#define PATIENCE 2000 /* of 10 ms */

static int64_t number(const char *sql) {
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t n = -1;
    if (db_query(reader(), sql, NULL, 0, &rows, &err) >= 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

static bool soon(bool (*holds)(void)) {
    for (int i = 0; i < PATIENCE && !holds(); i++) {
        struct timespec t = { 0, 10000000 };
        nanosleep(&t, NULL);
    }
    return holds();
}

static const char single[] = "workflow:\n  name: one\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n";
static const char serial[] = "workflow:\n  name: two\n  tasks:\n  - {name: a, image: i, command: [x]}\n"
                             "  - {name: b, image: i, command: [x], inputs: [{task: a}]}\n";

static int patch(const char *name, const char *text, osmo_error_t *err) {
    _cleanup_json_ json_t *v = NULL;
    CHECK_INT(json_parse(text, strlen(text), &v, NULL), 0);
    return backend_update(e, name, v, err);
}

static int put_test(const char *name, const char *schedule) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *text = str_printf("{\"%s\":{\"description\":\"d\",\"cron_schedule\":\"%s\",\"node_conditions\":[\"Gpu\"],"
                                           "\"common_pod_template\":[\"default_ctrl\"]}}", name, schedule);
    _cleanup_json_ json_t *v = NULL;
    CHECK_INT(json_parse(text, strlen(text), &v, NULL), 0);
    struct test_edit edit = { .kind = TESTS_PUT, .document = v };
    int rc = tests_change(e, &edit, &err);
    CHECK_OK(rc, &err);
    return rc;
}

/* ---- tests ---- */

static bool nothing_owed(void) { return number("SELECT COUNT(*) FROM work WHERE kind = 'sync_tests'") == 0; }

static json_t *tests_job(size_t n) {
    json_t *j = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), "BackendSynchronizeBackendTest");
    CHECK_STR(json_get_str(j, "super_type"), "backend");
    CHECK(str_starts(json_get_str(j, "job_id") ? json_get_str(j, "job_id") : "", "default-sync-tests-"));
    CHECK_STR(json_get_str(j, "node_condition_prefix"), "osmo/");
    CHECK_INT(json_len(json_get(j, "test_configs")), n);
    return j;
}

/* Those that it names, when it comes, when anything of them changes, until it has confirmed just these; never anything else. */
static void told_of_tests(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    put_test("gpu", "0 3 * * *");
    put_test("net", "0 4 * * *"); /* not one that it names */
    CHECK(nothing_owed());
    CHECK_OK(patch("default", "{\"tests\":[\"gpu\"]}", &err), &err);
    _cleanup_json_ json_t *j = tests_job(1);
    const json_t *gpu = json_path(j, "test_configs", "gpu", NULL);
    CHECK_STR(json_get_str(gpu, "name"), "gpu");
    CHECK_STR(json_get_str(gpu, "cron_schedule"), "0 3 * * *");
    CHECK_STR(json_get_str(gpu, "test_timeout"), "300s");
    CHECK_INT(json_len(json_path(gpu, "parsed_pod_template", "spec", "containers", NULL)), 1);
    put_test("gpu", "0 5 * * *"); /* while it is told of the one before */
    answer(j, "SUCCESS");
    _cleanup_json_ json_t *k = tests_job(1);
    CHECK_STR(json_get_str(json_path(k, "test_configs", "gpu", NULL), "cron_schedule"), "0 5 * * *");
    answer(k, "FAILED_RETRY");
    _cleanup_json_ json_t *again = tests_job(1);
    answer(again, "FAILED_NO_RETRY"); /* a dead letter, until something changes */
    put_test("gpu", "0 6 * * *");
    _cleanup_json_ json_t *l = tests_job(1);
    answer(l, "SUCCESS");
    CHECK(soon(nothing_owed));
    backend_gone();
    CHECK_OK(patch("default", "{\"description\":\"no matter of its tests\"}", &err), &err);
    backend_connect("jobs");
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS"); /* the next job after all */
    CHECK_OK(patch("default", "{\"tests\":[]}", &err), &err);
    _cleanup_json_ json_t *none = tests_job(0); /* so that it removes what it has */
    answer(none, "SUCCESS");
    CHECK(soon(nothing_owed));
    stop(true);
}

/* ---- those that take nothing ---- */

static bool is_told_to_begin_again(void) {
    pthread_mutex_lock(&net.lock);
    bool yes = net.close_code == 1013;
    pthread_mutex_unlock(&net.lock);
    return yes;
}

/* A peer that never reads is told to begin again, and what it did not hear is owed; others are served meanwhile. */
static void never_reads(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    agent_session_t *other = session(AGENT_HEARTBEAT, 7, NULL);
    pthread_mutex_lock(&net.lock);
    net.full = LISTENER;
    pthread_mutex_unlock(&net.lock);
    for (int i = 0; i < 2000; i++) /* more than may be open at a time: the caller must not be held up */
        say(listener, "heartbeat", "{\"time\":\"2025-11-02T10:00:05\"}");
    CHECK(soon(is_told_to_begin_again));
    say(other, "heartbeat", "{\"time\":\"2025-11-02T10:00:05\"}");
    _cleanup_json_ json_t *ack = net_take(7, 0, "ack");
    CHECK(ack != NULL);
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    agent_closed(other);
    stop(true);
}

/* ---- deletion ---- */

static int token_run(db_t *db, void *ctx, osmo_error_t *err) {
    const char *backend = ctx;
    struct user_row u = { .name = (char *)(uintptr_t)"ops", .created_by = (char *)(uintptr_t)"x", .created_us = 1 };
    struct token_row t = { .user = u.name, .name = (char *)(uintptr_t)(backend ? "bound" : "free"), .description = (char *)(uintptr_t)"",
                           .backend = (char *)(uintptr_t)backend, .expires_us = INT64_MAX / 2, .created_us = 1 };
    strlist_t none = { 0 };
    memset(t.hash, backend ? 1 : 2, sizeof t.hash);
    int rc = backend ? repo_user_add(db, &u, err) : 0;
    return rc < 0 ? rc : repo_token_add(db, &t, &none, "x", err);
}

static bool is_closed_twice(void) {
    pthread_mutex_lock(&net.lock);
    bool yes = net.closes >= 2 && net.close_code == 4000;
    pthread_mutex_unlock(&net.lock);
    return yes;
}

static bool is_refused(void) {
    pthread_mutex_lock(&net.lock);
    bool yes = net.close_code == 4000;
    pthread_mutex_unlock(&net.lock);
    return yes;
}

static void nothing_left(void) {
    static const char *const counts[] = {
        "SELECT COUNT(*) FROM backends",   "SELECT COUNT(*) FROM nodes", "SELECT COUNT(*) FROM work WHERE backend = 'default'",
        "SELECT COUNT(*) FROM placements", "SELECT COUNT(*) FROM kv WHERE name IN ('queues/default', 'tests/default')",
        "SELECT COUNT(*) FROM tokens WHERE backend = 'default'", "SELECT COUNT(*) FROM timers",
    };
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        if (number(counts[i]) != 0)
            fprintf(stderr, "%s: %lld\n", counts[i], (long long)number(counts[i]));
        CHECK_INT(number(counts[i]), 0);
    }
}

/* A running task, one that waits for another, a workflow that was never sent, a cleanup that is owed. */
static void forced(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char first[33], second[33], third[33];
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    CHECK_OK(store_write(e->store, NULL, token_run, (void *)(uintptr_t)"default", &err), &err);
    CHECK_OK(store_write(e->store, NULL, token_run, NULL, &err), &err);
    report("resource", "{\"hostname\":\"n1\",\"available\":true,\"allocatable_fields\":{\"cpu\":\"4\"}}");
    REQUIRE(submit(single)); /* its cleanup stays owed */
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "COMPLETED", 0);
    memcpy(first, wf_uuid, 33);
    json_free(net_take(WORKER, 1, NULL));
    CHECK_INT(backend_delete(e, "default", false, &err), OSMO_EUSER);
    CHECK(strstr(err.text, "still has the objects of 1 group of finished workflows") != NULL);
    REQUIRE(submit(serial));
    job("CreateGroup", "a-group", "SUCCESS");
    pod("a", "RUNNING", -1);
    memcpy(second, wf_uuid, 33);
    backend_gone();
    REQUIRE(submit(single));
    memcpy(third, wf_uuid, 33);
    CHECK_INT(backend_delete(e, "default", false, &err), OSMO_EUSER);
    CHECK(strstr(err.text, "has 2 unfinished workflows: cancel them") != NULL);
    CHECK_INT(number("SELECT COUNT(*) FROM backends WHERE ending = 0"), 1);
    backend_connect("jobs");
    CHECK_OK(backend_delete(e, "default", true, &err), &err);
    CHECK(soon(is_closed_twice));
    memcpy(wf_uuid, second, 33);
    expect_end(STATUS_FAILED, "backend default was deleted");
    CHECK_STR(status_name(task_status("a", NULL)), "FAILED_BACKEND_ERROR");
    CHECK_STR(status_name(task_status("b", NULL)), "FAILED_UPSTREAM");
    memcpy(wf_uuid, third, 33);
    expect_end(STATUS_FAILED, "backend default was deleted");
    memcpy(wf_uuid, first, 33);
    CHECK_STR(status_name(workflow_status(NULL)), "COMPLETED");
    CHECK(soon(is_archived)); /* its log ends although nobody cleaned up */
    backend_gone();
    nothing_left();
    CHECK_INT(number("SELECT COUNT(*) FROM tokens"), 1);
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.n; i++)
        net.sent[i].taken = true; /* what was on its way when it ended */
    pthread_mutex_unlock(&net.lock);
    backend_connect("jobs"); /* as if it had never been there */
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    pod("t", "RUNNING", -1);
    stop(true);
}

static bool never(void *unused) {
    (void)unused;
    return false;
}

static int mark_run(db_t *db, void *ctx, osmo_error_t *err) {
    bool *found = ctx;
    return repo_backend_end_begin(db, "default", found, err);
}

/* The service stopped behind the mark: it goes on at its next start; until then the backend is not there. */
static void cut_off(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool found = false;
    struct backend_row b = { 0 };
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    CHECK_OK(store_write(e->store, NULL, mark_run, &found, &err), &err);
    CHECK(found);
    CHECK_INT(repo_backend_get(reader(), "default", &b, NULL), OSMO_ENOTFOUND);
    report("resource", "{\"hostname\":\"n1\",\"available\":true}");
    CHECK_INT(number("SELECT COUNT(*) FROM nodes"), 0); /* it takes nothing any more */
    agent_session_t *s = session(AGENT_POD, 77, NULL);
    CHECK(soon(is_refused));
    agent_closed(s);
    backend_gone();
    CHECK_OK(backends_end_turn(e, never, NULL, &err), &err);
    expect_end(STATUS_FAILED, "backend default was deleted");
    nothing_left();
    CHECK_OK(backends_end_turn(e, never, NULL, &err), &err);
    stop(true);
}

static void on_pgsql(void) {
    use_pgsql = true;
    told_of_tests();
    never_reads();
    forced();
    cut_off();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "told of tests", told_of_tests },
    { "one that never reads", never_reads },
    { "forced", forced },
    { "cut off", cut_off },
    { "the same on PostgreSQL", on_pgsql },
};
TEST_MAIN("backends", tests)
