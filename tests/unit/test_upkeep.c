/* What the engine does beside running workflows: explaining them, dead letters, retention, clocks that are set, and leases
 * at the end. On SQLite, and on PostgreSQL where there is one. */
#include <time.h>

#include "engine/engine_internal.h"
#include "engine/explain.h"
#include "engine/reactor_internal.h"
#include "engine_fixture.h"
#include "store/repo_explain.h"

static const char chain[] = "workflow:\n  name: chain\n  timeout: {exec_timeout: 1h}\n  tasks:\n"
                            "  - {name: a, image: ubuntu, command: ['true']}\n"
                            "  - {name: b, image: ubuntu, command: ['true'], inputs: [{task: a}]}\n";
static const char single[] = "workflow:\n  name: one\n  timeout: {exec_timeout: 1h}\n  tasks:\n"
                             "  - {name: t, image: ubuntu, command: ['true']}\n";

/* ---- explain ---- */

/* "why: text" of the first reason of a group; "" when it is not among the unfinished ones. */
static const char *reason(const char *group) {
    static char text[1024];
    struct explained *x = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    text[0] = '\0';
    CHECK_OK(engine_explain(e, wf_id, &x, &err), &err);
    const struct explain *a = x ? explained_answer(x) : NULL;
    for (size_t i = 0; a && i < a->ngroups; i++)
        if (strcmp(a->groups[i].group->name, group) == 0 && a->groups[i].n)
            snprintf(text, sizeof text, "%s: %s", explain_why_name(a->groups[i].reasons[0].why),
                     a->groups[i].reasons[0].text);
    explained_free(x);
    return text;
}

/* "what subject: text" of the step; "" when there is none. */
static const char *step(const char *what) {
    static char text[1024];
    struct explained *x = NULL;
    text[0] = '\0';
    if (engine_explain(e, wf_id, &x, NULL) < 0)
        return text;
    const struct explain *a = explained_answer(x);
    for (size_t i = 0; i < a->nsteps && !text[0]; i++)
        if (strcmp(a->steps[i].what, what) == 0)
            snprintf(text, sizeof text, "%s %s: %s%s", what, a->steps[i].subject ? a->steps[i].subject : "-",
                     a->steps[i].text, a->steps[i].at_us ? "" : " (some day)");
    explained_free(x);
    return text;
}

static void pod_condition(const char *task, const char *body) {
    char uuid[33], text[700];
    task_status(task, uuid);
    snprintf(text, sizeof text, "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":0,\"conditions\":[%s]}",
             wf_uuid, uuid, body);
    report("pod_conditions", text);
}

static void explains(void) {
    REQUIRE(start_with(NULL));
    REQUIRE(submit(chain));
    CHECK_STR(reason("a-group"),
              "backend_unknown: backend default of the pool has never connected to this service: start its operator");
    CHECK_STR(reason("b-group"), "dependency: waits for group a-group (PROCESSING) to complete");
    backend_connect("jobs");
    job("CreateGroup", "a-group", "FAILED_RETRY");
    report("heartbeat", "{\"time\":\"2026-03-01T00:00:00\"}");
    job("CreateGroup", "a-group", "SUCCESS"); /* after its delay */
    pod("a", "SCHEDULING", -1);
    CHECK_CONTAINS(reason("a-group"), "scheduler: the scheduler of backend default has not placed it yet");
    CHECK_CONTAINS(step("queue_timeout"), "queue_timeout a-group: the group fails if it has not been placed by then");
    pod_condition("a", "{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":"
                       "\"0/1 nodes are available: 1 Insufficient cpu.\",\"timestamp\":\"2026-03-01T09:30:00\"}");
    CHECK_STR(reason("a-group"),
              "fit: the scheduler has not placed task a: 0/1 nodes are available: 1 Insufficient cpu.");
    pod("a", "RUNNING", -1);
    CHECK_STR(reason("a-group"), "running: 1 of its 1 tasks run");
    CHECK_CONTAINS(step("exec_timeout"), "exec_timeout a-group: the group fails if it still runs then");
    CHECK_STR(step("queue_timeout"), "");
    pod("a", "FAILED", 3);
    struct explained *x = NULL;
    REQUIRE(engine_explain(e, wf_uuid, &x, NULL) == 0);
    CHECK_STR(explained_answer(x)->failure, "task a ended first: FAILED with exit code 3: it broke");
    CHECK_STR(explained_snapshot(x)->failure.group, "a-group");
    CHECK_STR(explained_snapshot(x)->failure.node, "n1");
    CHECK(explained_snapshot(x)->failure.at_us > 0);
    CHECK_INT(explained_snapshot(x)->failure.nevents, 1);
    CHECK_INT(explained_answer(x)->ngroups, 0);
    CHECK_CONTAINS(explained_answer(x)->summary, "workflow chain-1 is FAILED: task a failed");
    explained_free(x);
    CHECK_CONTAINS(step("cleanup"), "cleanup a-group: ");
    CHECK_INT(engine_explain(e, "nobody-1", &x, NULL), OSMO_ENOTFOUND);
    stop(true);
}

static void backend_is_gone(void) {
    if (use_pgsql)
        return; /* there the heartbeat decides, which is two minutes */
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    _cleanup_json_ json_t *ready = NULL;
    REQUIRE(submit(single));
    ready = net_take(WORKER, 1, NULL);
    CHECK_CONTAINS(reason("t-group"), "handover: backend default creates it now");
    backend_gone();
    CHECK_CONTAINS(reason("t-group"), "backend_offline: backend default is offline");
    stop(true);
}

static void being_cancelled(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "RUNNING", -1);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(engine_cancel(e, wf_id, "bob", "enough", false, &err), &err);
    struct explained *x = NULL;
    REQUIRE(engine_explain(e, wf_id, &x, NULL) == 0);
    CHECK_CONTAINS(explained_answer(x)->failure, "FAILED_CANCELED");
    CHECK_CONTAINS(explained_answer(x)->failure, "enough");
    explained_free(x);
    stop(true);
}

/* ---- dead letters ---- */

static size_t dead_letters(int64_t *id) {
    struct dead_row *rows = NULL;
    size_t n = 0;
    CHECK_INT(repo_work_dead(reader(), 0, 10, &rows, &n, NULL), 0);
    if (n) {
        *id = rows[0].id;
        CHECK_STR(rows[0].kind, "cleanup_group");
        CHECK_STR(rows[0].workflow_id, wf_id);
        CHECK_STR(rows[0].group_name, "t-group");
        CHECK_STR(rows[0].backend, "default");
        CHECK_CONTAINS(rows[0].last_error, "objects labelled osmo.group_uuid=");
        CHECK_CONTAINS(rows[0].last_error, " may be left in backend default: FAILED_NO_RETRY");
        CHECK_INT(rows[0].attempts, 1);
        CHECK(rows[0].since_us > INT64_C(1700000000000000));
    }
    dead_rows_free(rows, n);
    return n;
}

static bool has_dead_letter(void) {
    struct dead_row *rows = NULL;
    size_t n = 0;
    repo_work_dead(reader(), 0, 1, &rows, &n, NULL);
    dead_rows_free(rows, n);
    return n > 0;
}

static bool is_cleaned(void) { return !*step("cleanup"); }

static void retry_dead(void) {
    int64_t id = 0, n = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(start_with("workflow: {max_retry_per_job: 1}\n"));
    backend_connect("jobs");
    REQUIRE(submit(single));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "COMPLETED", 0);
    job("CleanupGroup", "t-group", "FAILED_NO_RETRY");
    CHECK(until(has_dead_letter));
    CHECK_INT(dead_letters(&id), 1);
    CHECK(until(is_archived));
    char want[200];
    snprintf(want, sizeof want, "cleanup t-group: work item %lld ran out of attempts: objects labelled osmo.group_uuid=",
             (long long)id);
    CHECK_CONTAINS(step("cleanup"), want);
    snprintf(want, sizeof want, "FAILED_NO_RETRY; `osmo work retry %lld` tries again (some day)", (long long)id);
    CHECK_CONTAINS(step("cleanup"), want);
    CHECK_INT(engine_dead_retry(e, id + 1, &n, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "is not one that ran out of attempts");
    CHECK_OK(engine_dead_retry(e, id, &n, &err), &err);
    CHECK_INT(n, 1);
    CHECK_INT(dead_letters(&id), 0);
    job("CleanupGroup", "t-group", "FAILED_NO_RETRY");
    CHECK(until(has_dead_letter));
    CHECK_OK(engine_dead_retry(e, 0, &n, &err), &err);
    CHECK_INT(n, 1);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK_OK(engine_dead_retry(e, 0, &n, &err), &err);
    CHECK_INT(n, 0);
    CHECK(until(is_cleaned)); /* the answer is taken in by another thread */
    stop(true);
}

/* ---- retention ---- */

static bool is_deleted(void) {
    struct workflow_row w = { 0 };
    int rc = repo_workflow_get(reader(), wf_uuid, &w, NULL);
    workflow_row_clear(&w);
    return rc == OSMO_ENOTFOUND;
}

static int64_t rows_left(void) {
    static const char *const counts[] = {
        "SELECT COUNT(*) FROM tasks WHERE workflow_uuid = ?", "SELECT COUNT(*) FROM workflow_groups WHERE workflow_uuid = ?",
        "SELECT COUNT(*) FROM history WHERE workflow_uuid = ?", "SELECT COUNT(*) FROM events WHERE workflow_uuid = ?",
        "SELECT COUNT(*) FROM workflow_files WHERE workflow_uuid = ?",
        "SELECT COUNT(*) FROM group_edges WHERE workflow_uuid = ?", "SELECT COUNT(*) FROM timers WHERE workflow_uuid = ?",
        "SELECT COUNT(*) FROM submissions WHERE workflow_uuid = ?",
    };
    int64_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        _cleanup_rows_ db_rows_t *rows = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(db_query(reader(), counts[i], DB_ARGS(DB_T(wf_uuid)), &rows, &err), &err);
        if (rows && db_next(rows, &err) == 1)
            sum += db_int(rows, 0);
    }
    return sum;
}

static bool nothing_left(void) { return rows_left() == 0; }

static bool owes_nothing(void) {
    struct work_row *rows = NULL;
    size_t n = 0;
    repo_work_of_workflow(reader(), wf_uuid, 1, &rows, &n, NULL);
    work_rows_free(rows, n);
    return n == 0;
}

/* In whatever log store there is: one that has ended says so, one that was never there has nothing yet. */
static bool log_exists(void) {
    log_reader_t *r = NULL;
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    int rc = logstore_reader(e->logs, wf_id, NULL, &r, NULL);
    CHECK_INT(rc, 0);
    rc = r ? log_reader_read(r, &text, 1000, NULL) : 0;
    log_reader_free(r);
    return rc != 0;
}

static void keeps_what_owes(void) {
    int64_t id = 0, n = 0;
    REQUIRE(start_with("workflow: {retention: 1ms, max_retry_per_job: 1}\n"));
    backend_connect("jobs");
    REQUIRE(submit(single));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "FAILED", 1);
    job("CleanupGroup", "t-group", "FAILED_NO_RETRY");
    CHECK(until(is_archived));
    CHECK(until(has_dead_letter));
    char first[33];
    memcpy(first, wf_uuid, sizeof first);
    /* one that owes nothing goes, the other stays */
    REQUIRE(submit(single));
    CHECK_STR(wf_id, "one-2");
    watch_add(e, wf_id, 8);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "COMPLETED", 0);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_deleted));
    CHECK(until(nothing_left));
    CHECK(!log_exists());
    memcpy(wf_uuid, first, sizeof first);
    snprintf(wf_id, sizeof wf_id, "one-1");
    CHECK(!is_deleted());
    CHECK(log_exists());
    CHECK(rows_left() > 3);
    CHECK_INT(dead_letters(&id), 1);
    CHECK_INT(engine_dead_retry(e, id, &n, NULL), 0);
    watch_add(e, wf_id, 7);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(owes_nothing));
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_deleted));
    CHECK(until(nothing_left));
    /* its number is not given again */
    REQUIRE(submit(single));
    CHECK_STR(wf_id, "one-3");
    stop(true);
}

static void keeps_by_default(void) {
    REQUIRE(start_with(NULL));
    const struct settings *s = engine_settings(e);
    CHECK_INT(s->retention_us, 0);
    engine_settings_put(s);
    stop(true);
    osmo_error_t err = OSMO_ERROR_INIT;
    static const struct { const char *text; int64_t us; } cases[] = {
        { "workflow: {retention: 30d}", INT64_C(2592000000000) }, { "workflow: {retention: 0}", 0 },
        { "workflow: {retention: null}", 0 }, { "workflow: {retention: 60}", 60000000 },
        { "workflow: {retention: -5}", -1 }, { "workflow: {retention: soon}", -1 }, { "workflow: {retention: true}", -1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings *parsed = NULL;
        int rc = settings_parse(cases[i].text, strlen(cases[i].text), "test", &parsed, &err);
        CHECK_INT(parsed ? parsed->retention_us : -1, cases[i].us);
        CHECK(rc >= 0 || strstr(err.text, "retention"));
        settings_free(parsed);
    }
}

/* ---- clocks ---- */

static atomic_llong wall_ahead, steady_ahead; /* microseconds */

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t wall(void) { return read_clock(CLOCK_REALTIME) + atomic_load(&wall_ahead) + atomic_load(&steady_ahead); }
static int64_t steady(void) { return read_clock(CLOCK_MONOTONIC) + atomic_load(&steady_ahead); }

#define HOUR INT64_C(3600000000)

/* How far the deadline of the running group is away, in whole hours of the clock as it is now. */
static int64_t hours_left(void) {
    struct timer_row *rows = NULL;
    size_t n = 0;
    int64_t left = -1;
    repo_timers_of_workflow(reader(), wf_uuid, 10, &rows, &n, NULL);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].kind, "exec_timeout") == 0)
            left = (rows[i].due_us - wall() + HOUR / 2) / HOUR;
    timer_rows_free(rows, n);
    return left;
}

static bool one_hour_left(void) { return hours_left() == 1; }

static void set_clock(int64_t by) {
    atomic_fetch_add(&wall_ahead, by);
    engine_wake(e, WAKE_TIMERS); /* the kernel would, of the real clock */
}

static void clock_is_set(void) {
    static const int64_t steps[] = { 5 * HOUR, -12 * HOUR, 2 * HOUR };
    engine_clock_source(wall, steady);
    REQUIRE(start_with("workflow:\n  retention: 100h\n"));
    backend_connect("jobs");
    REQUIRE(submit(single));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "RUNNING", -1);
    CHECK_INT(hours_left(), 1);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        set_clock(steps[i]);
        CHECK(until(one_hour_left)); /* moved along: neither early nor late */
        CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    }
    /* an hour that passes is one */
    atomic_fetch_add(&steady_ahead, 2 * HOUR);
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_finished));
    CHECK_INT(workflow_status(NULL), STATUS_FAILED_EXEC_TIMEOUT);
    job("CleanupGroup", "t-group", "SUCCESS"); /* work waits no longer than before either */
    CHECK(until(is_archived));
    /* a clock that was set forward makes nothing old */
    set_clock(1000 * HOUR);
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    run_pod("t", "RUNNING", -1);
    CHECK(until(one_hour_left));
    struct workflow_row w = { 0 };
    CHECK_INT(repo_workflow_get(reader(), "one-1", &w, NULL), 0);
    workflow_row_clear(&w);
    stop(true);
    engine_clock_source(NULL, NULL);
    atomic_store(&wall_ahead, 0);
    atomic_store(&steady_ahead, 0);
}

/* ---- leases at the end ---- */

static void check_lease(bool held) {
    struct work_row *rows = NULL;
    size_t n = 0;
    CHECK_INT(repo_work_of_workflow(reader(), wf_uuid, 10, &rows, &n, NULL), 0);
    REQUIRE(n == 1);
    CHECK_INT(rows[0].owner != NULL, held);
    CHECK_INT(rows[0].lease_until_us > 0, held);
    CHECK_INT(rows[0].attempts, 0);
    work_rows_free(rows, n);
}

/* A service that ends gives back what its backends and its worker have not done: another may go on at once. */
static void leases_return(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[128];
    if (use_pgsql)
        return; /* the database of the fixture is not known here */
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(single));
    json_free(net_take(WORKER, 1, NULL));
    check_lease(true);
    stop(false);
    snprintf(url, sizeof url, "sqlite:%s/osmo.db", test_dir);
    engine_t bare = { 0 };
    struct store_options so = { .url = url, .log = &bare.log };
    REQUIRE(store_open(&so, &bare.store, &err) == 0);
    e = &bare;
    check_lease(false);
    e = NULL;
    store_close(bare.store);
    REQUIRE(start_with(NULL));
    stop(true);
}

/* Items of an unknown kind, each of which the worker begins only when the test lets it. */
#define ITEMS 10
static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int begun, tokens;
    bool stopping, stopped;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void gate_log(void *ctx, int level, const char *text) {
    (void)ctx;
    (void)level;
    if (!str_starts(text, "nothing failed"))
        return;
    pthread_mutex_lock(&gate.lock);
    gate.begun++;
    pthread_cond_broadcast(&gate.cond);
    while (!gate.tokens)
        pthread_cond_wait(&gate.cond, &gate.lock);
    gate.tokens--;
    pthread_mutex_unlock(&gate.lock);
}

static int add_items(db_t *db, void *ctx, osmo_error_t *err) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc >= 0 && i < ITEMS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        rc = repo_work_add(db, "nothing", key, wf_uuid, NULL, 1, "{}", 1, err);
    }
    return rc;
}

static void *stop_worker(void *arg) {
    pthread_mutex_lock(&gate.lock);
    gate.stopping = true;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
    worker_stop(arg);
    pthread_mutex_lock(&gate.lock);
    gate.stopped = true;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
    return NULL;
}

/* Items that live, and of them those that are leased. */
static void count_items(int *living, int *leased) {
    struct work_row *rows = NULL;
    size_t n = 0;
    *living = *leased = 0;
    CHECK_INT(repo_work_of_workflow(reader(), wf_uuid, 100, &rows, &n, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].kind, "nothing") != 0 || rows[i].dead)
            continue;
        CHECK_INT(rows[i].attempts, 0);
        *living += 1;
        *leased += rows[i].owner || rows[i].lease_until_us;
    }
    work_rows_free(rows, n);
}

/* A worker that is told to end finishes the item it is at, and gives the others back as they were. */
static void worker_leases_return(void) {
    pthread_t thread;
    int living, leased;
    REQUIRE(start_with(NULL));
    REQUIRE(submit(single));
    gate.begun = gate.tokens = 0;
    gate.stopping = gate.stopped = false;
    e->log.fn = gate_log;
    REQUIRE(store_write(e->store, NULL, add_items, NULL, NULL) == 0);
    engine_wake(e, WAKE_WORK);
    pthread_mutex_lock(&gate.lock);
    while (!gate.begun)
        pthread_cond_wait(&gate.cond, &gate.lock);
    count_items(&living, &leased);
    CHECK_INT(living, ITEMS);
    CHECK_INT(leased, ITEMS);
    bool started = pthread_create(&thread, NULL, stop_worker, e) == 0;
    CHECK(started);
    while (started && !gate.stopping)
        pthread_cond_wait(&gate.cond, &gate.lock);
    usleep(300000); /* the word to stop is the first thing that the other thread says now; nothing shows that it was said */
    while (started && !gate.stopped) {
        int seen = gate.begun;
        gate.tokens++;
        pthread_cond_broadcast(&gate.cond);
        while (!gate.stopped && gate.begun == seen)
            pthread_cond_wait(&gate.cond, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    if (started)
        pthread_join(thread, NULL);
    count_items(&living, &leased);
    CHECK(living > 0);
    CHECK_INT(leased, 0);
    stop(true);
}

static void on_pgsql(void) {
    use_pgsql = true;
    explains();
    being_cancelled();
    retry_dead();
    keeps_what_owes();
    clock_is_set();
    worker_leases_return();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "explains", explains },
    { "backend is gone", backend_is_gone },
    { "being cancelled", being_cancelled },
    { "dead letters are retried", retry_dead },
    { "retention keeps what owes", keeps_what_owes },
    { "retention keeps by default", keeps_by_default },
    { "clock is set", clock_is_set },
    { "leases return", leases_return },
    { "leases of the worker return", worker_leases_return },
    { "on PostgreSQL", on_pgsql },
};
TEST_MAIN("upkeep", tests)
