/* Attempts after the first: exitActions RESCHEDULE of tasks and pools, the jobs they cause, what siblings do, and what
 * cancels, failures and restarts of the service leave of it. */
#include "engine_fixture.h"

#include <time.h>

#include "engine/reactor_internal.h"

#define HELP 11 /* connection numbers of ctrls */
#define BOSS 12

static const char retrying[] = "workflow:\n  max_retry_per_task: %d\n";
static const char task_again[] = "workflow:\n  name: again\n  tasks:\n  - {name: t, image: ubuntu, command: ['true'], "
                                 "exitActions: {RESCHEDULE: '3,3001', COMPLETE: '7'}}\n";

static bool start_retrying(int limit) {
    char config[128];
    snprintf(config, sizeof config, retrying, limit);
    return start_with(config);
}

static json_t *next_job(const char *type) {
    json_t *j = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), type);
    return j;
}

static void check_attempt(const char *task, int64_t retry, enum status status, int64_t exit_code, const char *message) {
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, task, retry, &t, NULL), 0);
    CHECK_STR(status_name(t.sm.status), status_name(status));
    CHECK_INT(t.sm.exit_code, exit_code);
    CHECK_STR(t.failure_message, message);
    CHECK_INT(t.sm.retry_id, retry);
    task_row_clear(&t);
}

static int64_t latest(const char *task) {
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, task, -1, &t, NULL), 0);
    int64_t retry = t.sm.retry_id;
    task_row_clear(&t);
    return retry;
}

/* The counters of the only group must stand for its latest attempts. */
static void check_counters(int64_t total, int64_t unfinished, int64_t running) {
    struct group_row *g = NULL;
    size_t n = 0;
    CHECK_INT(repo_groups_of(reader(), wf_uuid, false, &g, &n, NULL), 0);
    REQUIRE(n == 1);
    CHECK_INT(g[0].sm.total, total);
    CHECK_INT(g[0].sm.unfinished, unfinished);
    CHECK_INT(g[0].sm.running, running);
    group_rows_free(g, n);
}

/* ---- one task ---- */

static void check_retry_job(const json_t *j, const char *retry, const char *before) {
    char id[128], uuid[33];
    task_status("t", uuid);
    snprintf(id, sizeof id, "%s-t-%s-reschedule", wf_uuid, retry);
    CHECK_STR(json_get_str(j, "job_id"), id);
    CHECK_STR(json_get_str(j, "super_type"), "frontend");
    CHECK_STR(json_get_str(j, "task_name"), "t");
    CHECK(json_get_bool(j, "lead_task", false));
    const json_t *create = json_get(j, "create_job"), *cleanup = json_get(j, "cleanup_job");
    CHECK_STR(json_get_str(create, "job_type"), "CreateGroup");
    CHECK_STR(json_get_str(cleanup, "job_type"), "CleanupGroup");
    const json_t *objects = json_get(create, "k8s_resources");
    size_t pods = 0, secrets = 0;
    for (size_t i = 0; i < json_len(objects); i++) {
        const json_t *o = json_at(objects, i);
        secrets += str_eq(json_get_str(o, "kind"), "Secret");
        if (!str_eq(json_get_str(o, "kind"), "Pod"))
            continue;
        pods++;
        CHECK_STR(json_get_str(json_path(o, "metadata", "labels", NULL), "osmo.retry_id"), retry);
    }
    CHECK_INT(pods, 1);
    CHECK_INT(pods + secrets, json_len(objects));
    const json_t *specs = json_get(cleanup, "cleanup_specs");
    CHECK_INT(json_len(specs), 1);
    CHECK_STR(json_get_str(json_at(specs, 0), "resource_type"), "Pod");
    CHECK_STR(json_get_str(json_get(json_at(specs, 0), "labels"), "osmo.retry_id"), before);
    CHECK_STR(json_get_str(json_get(json_at(specs, 0), "labels"), "osmo.task_uuid"), uuid);
    CHECK_STR(json_get_str(json_get(json_at(specs, 0), "labels"), "osmo.workflow_uuid"), wf_uuid);
    CHECK_STR(json_get_str(json_path(cleanup, "error_log_spec", "labels", NULL), "osmo.retry_id"), before);
}

static void say_log(int64_t retry, const char *text) {
    char uuid[33], body[200];
    task_status("t", uuid);
    snprintf(body, sizeof body, "{\"text\":\"%s\",\"task\":\"%s\",\"retry_id\":%lld,\"mask\":true}", text, uuid,
             (long long)retry);
    say(worker, "pod_log", body);
}

static void check_file(const char *path, const char *want) {
    char *text = NULL;
    size_t len = 0;
    CHECK_INT(repo_file_get(reader(), wf_uuid, path, &text, &len, NULL), 0);
    CHECK_STR(text, want);
    free(text);
}

static void fails_twice(void) {
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 3);
    CHECK_INT(group_status("t-group"), STATUS_RUNNING);
    expect_end(STATUS_RUNNING, NULL);
    check_attempt("t", 0, STATUS_RESCHEDULED, 3, "it broke; exit code 3 is rescheduled by exitActions: retry 1 of at most 3");
    check_attempt("t", 1, STATUS_PROCESSING, EXIT_CODE_NONE, NULL);
    check_counters(1, 1, 0);
    pod_of("t", 0, "FAILED", 3); /* told again: the attempt is over */
    pod_of("t", 0, "COMPLETED", 0);
    CHECK_INT(latest("t"), 1);
    _cleanup_json_ json_t *first = next_job("RescheduleTask");
    check_retry_job(first, "1", "0");
    say_log(0, "of the first");
    say_log(1, "of nobody yet");
    answer(first, "SUCCESS");
    run_pod("t", "FAILED", 3);
    check_attempt("t", 2, STATUS_PROCESSING, EXIT_CODE_NONE, NULL);
    _cleanup_json_ json_t *second = next_job("RescheduleTask");
    check_retry_job(second, "2", "1");
    say_log(1, "of the second");
    answer(second, "SUCCESS");
    pod("t", "RUNNING", -1);
    check_counters(1, 1, 1);
    CHECK_INT(jobs_sent(), 3);
    pod("t", "COMPLETED", 0);
    expect_end(STATUS_COMPLETED, NULL);
    check_attempt("t", 2, STATUS_COMPLETED, 0, NULL);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    check_file("t_error_logs.txt", "of the first");
    check_file("t_1_error_logs.txt", "of the second");
    stop(true);
}

static void the_limit(void) {
    REQUIRE(start_retrying(1));
    backend_connect(NULL); /* plain upstream: one job at a time */
    REQUIRE(submit(task_again));
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 3);
    job("RescheduleTask", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 3);
    check_attempt("t", 1, STATUS_FAILED, 3,
                  "it broke; not rescheduled: the retry limit max_retry_per_task of 1 is reached");
    expect_end(STATUS_FAILED, "task t failed with exit code 3: it broke; not rescheduled: the retry limit "
                              "max_retry_per_task of 1 is reached");
    job("CleanupGroup", "t-group", "SUCCESS");
    stop(true);
}

/* The pool speaks where the task does not; before anything ran the group does not run yet. */
static void actions_of_the_pool(void) {
    static const char config[] =
        "workflow: {max_retry_per_task: 2}\nbackends: {default: {k8s_namespace: default}}\npools:\n  default:\n"
        "    backend: default\n    default_platform: cpu\n    platforms: {cpu: {}}\n"
        "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
        "    default_exit_actions: {COMPLETE: '7', RESCHEDULE: '7,301'}\n";
    REQUIRE(start_with(config));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    job("CreateGroup", "t-group", "SUCCESS");
    pod("t", "FAILED_IMAGE_PULL", 301);
    CHECK_INT(group_status("t-group"), STATUS_RUNNING); /* its exec_timeout counts from here, whatever the next attempt waits for */
    CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    check_attempt("t", 1, STATUS_PROCESSING, EXIT_CODE_NONE, NULL);
    job("RescheduleTask", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 7);
    check_attempt("t", 1, STATUS_COMPLETED, 7, NULL);
    expect_end(STATUS_COMPLETED, NULL);
    job("CleanupGroup", "t-group", "SUCCESS");
    stop(true);
}

/* ---- what comes in between ---- */

static void cancelled_before_it_is_sent(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    watch_add(e, wf_id, 7);
    _cleanup_json_ json_t *create = next_job("CreateGroup");
    run_pod("t", "FAILED", 3); /* the retry waits for the answer to the create */
    CHECK_INT(engine_cancel(e, wf_id, "bob", NULL, false, &err), 0);
    expect_end(STATUS_FAILED_CANCELED, "cancelled by bob");
    check_attempt("t", 1, STATUS_FAILED_CANCELED, EXIT_CODE_NONE, "cancelled by bob");
    backend_gone(); /* what was not sent is looked at again */
    backend_connect("jobs");
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

/* The pod of a small task may end before the create of its group is answered. */
static void after_the_create(void) {
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    _cleanup_json_ json_t *create = next_job("CreateGroup");
    run_pod("t", "FAILED", 3);
    CHECK_INT(latest("t"), 1);
    pod_of("t", 0, "FAILED", 3);
    CHECK_INT(jobs_sent(), 1);
    answer(create, "SUCCESS");
    job("RescheduleTask", "t-group", "SUCCESS");
    stop(true);
}

/* The service ends with the retry in its outbox, and with the retry at the backend. */
static void survives_restarts(void) {
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 3);
    json_free(next_job("RescheduleTask"));
    stop(false);
    REQUIRE(start_retrying(3));
    CHECK_INT(group_status("t-group"), STATUS_RUNNING);
    backend_connect("jobs");
    _cleanup_json_ json_t *again = next_job("RescheduleTask");
    check_retry_job(again, "1", "0");
    pod("t", "RUNNING", -1); /* its pod exists: the job need not be sent a third time */
    stop(false);
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    watch_add(e, wf_id, 7);
    pod("t", "COMPLETED", 0);
    expect_end(STATUS_COMPLETED, NULL);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

/* A retry that cannot be made fails its attempt with 3001, which may be worth another one. */
static void hopeless_retry(void) {
    REQUIRE(start_retrying(2));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 3);
    job("RescheduleTask", "t-group", "FAILED_NO_RETRY");
    _cleanup_json_ json_t *second = next_job("RescheduleTask");
    check_attempt("t", 1, STATUS_RESCHEDULED, EXIT_BACKEND,
                  "its pod could not be created again: FAILED_NO_RETRY; exit code 3001 is rescheduled by exitActions: "
                  "retry 2 of at most 2");
    check_retry_job(second, "2", "1");
    answer(second, "FAILED_NO_RETRY");
    CHECK(until(is_finished));
    check_attempt("t", 2, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND,
                  "its pod could not be created again: FAILED_NO_RETRY; not rescheduled: the retry limit "
                  "max_retry_per_task of 2 is reached");
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

static void failed_preflight(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(task_again));
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", EXIT_PREFLIGHT);
    CHECK_INT(task_status("t", NULL), STATUS_FAILED);
    _cleanup_json_ json_t *cleanup = next_job("CleanupGroup");
    _cleanup_json_ json_t *label = next_job("LabelNode");
    CHECK_STR(json_get_str(label, "super_type"), "backend");
    CHECK_STR(json_get_str(label, "node_name"), "n1");
    const json_t *labels = json_get(label, "labels");
    CHECK_STR(json_get_str(labels, "osmo.verified"), "False");
    CHECK_STR(json_get_str(labels, "osmo.reason"), "PreflightTestFailed");
    CHECK_STR(json_get_str(labels, "osmo.reserved"), "preflight");
    const char *day = json_get_str(labels, "osmo.last-labeled");
    CHECK_INT(day ? strlen(day) : 0, strlen("2000-01-01"));
    answer(label, "FAILED_NO_RETRY"); /* the cluster does not let us: nothing follows */
    answer(cleanup, "SUCCESS");
    run_pod("t", "FAILED", EXIT_PREFLIGHT); /* told again */
    CHECK_INT(jobs_sent(), 3);
    stop(true);
}

/* ---- siblings ---- */

static const char pair[] =
    "workflow:\n  name: pair\n  groups:\n  - name: g\n    ignoreNonleadStatus: %s\n    tasks:\n"
    "    - {name: boss, lead: true, image: ubuntu, command: ['true'], exitActions: {RESCHEDULE: '3'}}\n"
    "    - {name: help, image: ubuntu, command: ['true'], exitActions: {RESCHEDULE: '3'}}\n";

static logger_session_t *ctrl_open(const char *task, int64_t retry, uint64_t conn) {
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *extensions = NULL;
    logger_session_t *s = NULL;
    CHECK_OK(logger_open(e, wf_id, task, retry, conn, NULL, &s, &extensions, &err), &err);
    if (s)
        logger_opened(s);
    return s;
}

static void join(logger_session_t *s) {
    static const char frame[] = "{\"Source\":\"x\",\"Time\":\"2026-03-01T09:31:12Z\",\"IOType\":\"BARRIER\",\"Name\":"
                                "\"all\",\"Count\":-1}";
    logger_message(s, frame, strlen(frame), false);
}

/* Messages with this action that the connection was sent. */
static size_t told(uint64_t conn, const char *action) {
    size_t n = 0;
    pthread_mutex_lock(&net.lock);
    for (size_t i = 0; i < net.n; i++)
        n += net.sent[i].conn == conn && strstr(net.sent[i].data, action) != NULL;
    pthread_mutex_unlock(&net.lock);
    return n;
}

/* At least n of them. */
static size_t await_told(uint64_t conn, const char *action, size_t n) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    size_t seen = 0, found;
    int rc = 0;
    while ((found = told(conn, action)) < n && rc == 0) {
        pthread_mutex_lock(&net.lock);
        while (net.n == seen && rc == 0)
            rc = pthread_cond_timedwait(&net.cond, &net.lock, &end);
        seen = net.n;
        pthread_mutex_unlock(&net.lock);
    }
    return found;
}

/* Exactly n of them: what a commit causes comes right after it, so one more would be there. */
static void expect_told(uint64_t conn, const char *action, size_t n) { CHECK_INT(await_told(conn, action, n), n); }

/* A release may be told more than once: by each of the joins that were committed together. */
static void expect_released(uint64_t conn) { CHECK(await_told(conn, "barrier", 1) >= 1); }

static bool start_pair(const char *ignore) {
    char text[640];
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(pair, "%s") - pair), pair, ignore,
                     strstr(pair, "%s") + 2);
    if (n < 0 || !submit(text))
        return false;
    job("CreateGroup", "g", "SUCCESS");
    pod("boss", "RUNNING", -1);
    pod("help", "RUNNING", -1);
    return true;
}

static void siblings(void) {
    static const struct {
        const char *ignore, *who;
        bool restarts;
    } cases[] = {
        { "true", "boss", true }, { "true", "help", false }, { "false", "boss", true }, { "false", "help", true }
    };
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t boss_conn = 100 + 2 * i, help_conn = boss_conn + 1;
        REQUIRE(start_pair(cases[i].ignore));
        logger_session_t *boss = ctrl_open("boss", 0, boss_conn), *help = ctrl_open("help", 0, help_conn);
        REQUIRE(boss && help);
        pod(cases[i].who, "FAILED", 3);
        bool of_boss = strcmp(cases[i].who, "boss") == 0;
        expect_told(of_boss ? help_conn : boss_conn, "restart", cases[i].restarts);
        expect_told(of_boss ? boss_conn : help_conn, "restart", 0);
        CHECK_INT(latest(cases[i].who), 1);
        CHECK_INT(latest(of_boss ? "help" : "boss"), 0);
        CHECK_INT(task_status(of_boss ? "help" : "boss", NULL), STATUS_RUNNING);
        CHECK_INT(group_status("g"), STATUS_RUNNING);
        check_counters(2, 2, 1);
        job("RescheduleTask", "g", "SUCCESS");
        run_pod(cases[i].who, "RUNNING", -1);
        check_counters(2, 2, 2);
        pod("boss", "COMPLETED", 0);
        expect_end(STATUS_COMPLETED, NULL);
        job("CleanupGroup", "g", "SUCCESS");
        logger_closed(boss);
        logger_closed(help);
    }
    stop(true);
}

/* The barrier is empty after a restart, and who joined before it must join again. */
static void barrier_after_a_restart(void) {
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(start_pair("true"));
    logger_session_t *boss = ctrl_open("boss", 0, BOSS), *help = ctrl_open("help", 0, HELP);
    REQUIRE(boss && help);
    join(boss);
    join(help);
    expect_released(BOSS);
    expect_released(HELP);
    logger_closed(help); /* its connection is lost just now */
    pod("boss", "FAILED", 3);
    logger_closed(boss);
    job("RescheduleTask", "g", "SUCCESS");
    pod("boss", "RUNNING", -1);
    boss = ctrl_open("boss", 1, BOSS + 10);
    join(boss);
    pod("help", "RUNNING", -1); /* committed after the join */
    expect_told(BOSS + 10, "barrier", 0);
    help = ctrl_open("help", 0, HELP + 10);
    expect_told(HELP + 10, "restart", 1);
    logger_closed(help); /* before it has joined: it may not have heard it */
    help = ctrl_open("help", 0, HELP + 20);
    expect_told(HELP + 20, "restart", 1);
    expect_told(HELP + 20, "barrier", 0);
    join(help);
    expect_released(HELP + 20);
    expect_released(BOSS + 10);
    logger_closed(help);
    help = ctrl_open("help", 0, HELP + 30); /* it has joined again: it knows */
    expect_released(HELP + 30);
    CHECK_INT(told(HELP + 30, "restart"), 0);
    logger_closed(help);
    logger_closed(boss);
    stop(true);
}

/* Without barriers a restart is told once, at the next connection at the latest. */
static void restart_without_barrier(void) {
    REQUIRE(start_retrying(3));
    backend_connect("jobs");
    REQUIRE(start_pair("true"));
    pod("boss", "FAILED", 3);
    logger_session_t *help = ctrl_open("help", 0, HELP);
    REQUIRE(help != NULL);
    expect_told(HELP, "restart", 1);
    logger_closed(help);
    pod("help", "RUNNING", -1); /* one writer per workflow: the mark is gone when this is committed */
    help = ctrl_open("help", 0, HELP + 10);
    CHECK_INT(told(HELP + 10, "restart"), 0);
    logger_closed(help);
    stop(true);
}

static void on_pgsql(void) {
    use_pgsql = true;
    fails_twice();
    the_limit();
    cancelled_before_it_is_sent();
    survives_restarts();
    hopeless_retry();
    failed_preflight();
    siblings();
    barrier_after_a_restart();
    restart_without_barrier();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "fails twice", fails_twice },
    { "the limit", the_limit },
    { "actions of the pool", actions_of_the_pool },
    { "cancelled before it is sent", cancelled_before_it_is_sent },
    { "after the create", after_the_create },
    { "survives restarts", survives_restarts },
    { "hopeless retry", hopeless_retry },
    { "failed preflight", failed_preflight },
    { "siblings", siblings },
    { "barrier after a restart", barrier_after_a_restart },
    { "restart without barrier", restart_without_barrier },
    { "the same on PostgreSQL", on_pgsql },
};
TEST_MAIN("retry", tests)
