/* What is stored and what is in a cluster: snapshots with lost statuses, missing pods and pods of nobody, jobs that are never
 * answered, and backends that do not return. The decisions by themselves, then the engine on SQLite, and on PostgreSQL where there is
 * one. */
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "engine/agent_internal.h"
#include "engine/engine_internal.h"
#include "engine/explain.h"
#include "engine/reactor_internal.h"
#include "engine_fixture.h"
#include "model/reconcile.h"
#include "store/repo_explain.h"
#include "store/repo_reconcile.h"

#define SECOND INT64_C(1000000)
#define NOBODY "00000000000000000000000000000bad"

static const char single[] = "workflow:\n  name: one\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n";
static const char retrying[] = "workflow:\n  name: again\n  tasks:\n  - {name: t, image: ubuntu, command: ['true'], "
                               "exitActions: {RESCHEDULE: '3,3001'}}\n";
static const char chain[] = "workflow:\n  name: chain\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n"
                            "  - {name: u, image: ubuntu, command: ['true'], inputs: [{task: t}]}\n";

/* ---- decisions ---- */

static void set_of_pods(void) {
    struct pod_set s = { 0 };
    char uuid[33];
    for (int i = 0; i < 1000; i++) {
        snprintf(uuid, sizeof uuid, "%032x", i * 7919 % 1000);
        CHECK_INT(pod_set_add(&s, uuid, i % 3), 0);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(uuid, sizeof uuid, "%032x", i * 7919 % 1000);
        CHECK(pod_set_has(&s, uuid, i % 3));
        CHECK(!pod_set_has(&s, uuid, i % 3 + 1));
    }
    CHECK(!pod_set_has(&s, NOBODY, 0));
    CHECK_INT(pod_set_add(&s, NOBODY, POD_ANY_RETRY), 0);
    CHECK(pod_set_has(&s, NOBODY, 5));
    CHECK_INT(pod_set_add(&s, "0123", 0), OSMO_EINVAL);
    CHECK_INT(pod_set_add(&s, "0000000000000000000000000000000g", 0), OSMO_EINVAL);
    CHECK(!pod_set_has(&s, "0123", 0));
    pod_set_clear(&s);
    CHECK(!pod_set_has(&s, NOBODY, 5));
}

static void fates(void) {
    static const struct { const char *what; struct pod_facts f; enum pod_fate want; } cases[] = {
        { "another installation's", { .owner = POD_OWNER_OTHER, .workflow = true, .group = true, .task = true, .this_backend = true },
          POD_FOREIGN },
        { "unmarked and unknown", { .owner = POD_OWNER_UNMARKED }, POD_FOREIGN },
        { "ours and unknown", { .owner = POD_OWNER_US }, POD_REMOVE_GROUP },
        { "of another backend", { .owner = POD_OWNER_US, .workflow = true, .group = true }, POD_FOREIGN },
        { "group unknown", { .workflow = true, .this_backend = true }, POD_REMOVE_GROUP },
        { "group ended", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                           .group_status = STATUS_COMPLETED }, POD_CLEAN_GROUP },
        { "group ended before it was sent", { .workflow = true, .this_backend = true, .group = true,
                                              .group_status = STATUS_FAILED_CANCELED }, POD_CLEAN_GROUP },
        { "group not sent yet", { .workflow = true, .this_backend = true, .group = true, .group_status = STATUS_PROCESSING },
          POD_KEEP },
        { "task unknown", { .workflow = true, .this_backend = true, .group = true, .sent = true,
                            .group_status = STATUS_RUNNING }, POD_REMOVE },
        { "news", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                    .group_status = STATUS_SCHEDULING, .status = STATUS_SCHEDULING, .reported = STATUS_RUNNING }, POD_REPORT },
        { "no news", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                       .group_status = STATUS_RUNNING, .status = STATUS_RUNNING, .reported = STATUS_SCHEDULING }, POD_KEEP },
        { "no status", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                         .group_status = STATUS_RUNNING, .status = STATUS_RUNNING }, POD_KEEP },
        { "before the next attempt", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                                       .group_status = STATUS_RUNNING, .status = STATUS_RESCHEDULED, .latest_retry = 1,
                                       .latest_pending = true, .reported = STATUS_RUNNING }, POD_KEEP },
        { "an old attempt", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                              .group_status = STATUS_RUNNING, .status = STATUS_RESCHEDULED, .latest_retry = 1 }, POD_REMOVE },
        { "an attempt that never was", { .workflow = true, .this_backend = true, .group = true, .task = true, .sent = true,
                                         .group_status = STATUS_RUNNING, .retry_id = 2, .latest_retry = 1 }, POD_REMOVE },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (pod_fate(&cases[i].f) != cases[i].want)
            fprintf(stderr, "%s\n", cases[i].what);
        CHECK_INT(pod_fate(&cases[i].f), cases[i].want);
    }
}

static void deadlines(void) {
    struct offline_policy fail = { OFFLINE_FAIL, 300 }, wait = { OFFLINE_WAIT, 300 };
    CHECK_INT(offline_deadline(&fail, 1000, 0), 1300);
    CHECK_INT(offline_deadline(&fail, 1000, 2000), 2300); /* nobody listened before */
    CHECK_INT(offline_deadline(&wait, 1000, 0), 0);
    int64_t t = 1000 * SECOND;
    CHECK_INT(offline_listening(0, 0, t), t);
    CHECK_INT(offline_listening(t, t + 50 * SECOND, t + 100 * SECOND), t);
    CHECK_INT(offline_listening(t, t + 50 * SECOND, t + 50 * SECOND + OFFLINE_GAP_US + 1), t + 50 * SECOND + OFFLINE_GAP_US + 1);
    CHECK_INT(offline_listening(t, t, t - SECOND), t - SECOND); /* the clock was set back */
}

static void check_policy(const char *text, const char *backend, enum offline_action action, int64_t after_s, int64_t job_s) {
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(text ? settings_parse(text, strlen(text), "f", &s, &err) : settings_default(&s, &err), &err);
    REQUIRE(s != NULL);
    struct offline_policy p = settings_offline(s, backend);
    CHECK_INT(p.action, action);
    CHECK_INT(p.after_us, after_s * SECOND);
    CHECK_INT(settings_job_timeout(s, backend), job_s * SECOND);
    settings_free(s);
}

static void check_refused(const char *text, const char *why) {
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(settings_parse(text, strlen(text), "f", &s, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, why);
    settings_free(s);
}

static void policies(void) {
    static const char both[] = "service: {backend_offline: {after: 10m, action: fail}, backend_job_timeout: 1h}\n"
                               "backends:\n  a: {offline: {action: wait}}\n  b: {offline: {after: 90s}, job_timeout: 5m}\n  c: {}\n";
    check_policy(NULL, "default", OFFLINE_WAIT, 300, 1800);
    check_policy(NULL, "unknown", OFFLINE_WAIT, 300, 1800);
    check_policy(both, "a", OFFLINE_WAIT, 600, 3600);
    check_policy(both, "b", OFFLINE_FAIL, 90, 300);
    check_policy(both, "c", OFFLINE_FAIL, 600, 3600);
    check_policy(both, "unknown", OFFLINE_FAIL, 600, 3600);
    check_refused("service: {backend_offline: {after: 29s}}\n", "service.backend_offline.after");
    check_refused("service: {backend_offline: {after: 29s}}\n", "at least 30s");
    check_refused("backends: {a: {offline: {action: retry}}}\n", "must be wait or fail, not retry");
    check_refused("backends: {a: {offline: {when: 5m}}}\n", "when");
    check_refused("backends: {a: {job_timeout: 0}}\n", "at least 1s");
}

/* ---- the engine ---- */

static const char fails_fast[] = "service: {backend_offline: {after: 2m, action: fail}}\n";
static _Atomic int64_t ahead, set_by; /* what has passed; how much the wall clock was set */

static int64_t now_us(void) { return clock_now_us() + atomic_load(&ahead) + atomic_load(&set_by); }
static int64_t steady_us(void) { return clock_mono_us() + atomic_load(&ahead); }
static bool never(void *ctx) { return ctx != NULL; }

/* Time passes, and the monitor looks at the backends. */
static void pass(int64_t seconds) {
    int64_t next = 0, wait = INT64_MAX;
    osmo_error_t err = OSMO_ERROR_INIT;
    atomic_fetch_add(&ahead, seconds * SECOND);
    CHECK_OK(offline_turn(e, &next, never, NULL, &wait, &err), &err);
}

/* Of the two minutes of the policy; what the test itself takes is part of the time. */
static void pass_most(void) {
    pass(60);
    pass(45);
}

static bool begin_offline(const char *config) {
    engine_clock_source(now_us, steady_us);
    if (!start_with(config))
        return false;
    pass(0); /* it listens from here on */
    return true;
}

static void end_offline(void) {
    stop(true);
    engine_clock_source(NULL, NULL);
    atomic_store(&ahead, 0);
    atomic_store(&set_by, 0);
}


static int64_t snapshot; /* number of the one that was asked for */

static void connect_backend(void) {
    listener = session(AGENT_MESSAGE, LISTENER, "snapshot");
    _cleanup_json_ json_t *ask = net_take(LISTENER, 0, "task_list");
    snapshot = json_get_int(json_get(ask, "body"), "snapshot", 0);
    CHECK(snapshot > 0);
    worker = session(AGENT_WORKER, WORKER, "jobs");
}

static void reconnect(void) {
    backend_gone();
    connect_backend();
}

/* One entry of a snapshot; the task's group and workflow unless others are given. */
static void entry(buf_t *out, const char *task, int64_t retry, const char *status, const char *workflow, const char *mark) {
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, task, -1, &t, NULL), 0);
    buf_printf(out, "%s{\"workflow_uuid\":\"%s\",\"group_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":%lld,\"pod_name\":\"p\"",
               out->len ? "," : "", workflow ? workflow : wf_uuid, workflow ? workflow : t.group_uuid, t.uuid, (long long)retry);
    if (status)
        buf_printf(out, ",\"status\":\"%s\",\"exit_code\":%d,\"message\":\"seen\"", status, strcmp(status, "FAILED") == 0 ? 3 : 0);
    if (mark)
        buf_printf(out, ",\"installation\":\"%s\"", mark);
    buf_putc(out, '}');
    task_row_clear(&t);
}

static void tell(const char *pods, int64_t number, bool last) {
    _cleanup_buf_ buf_t body = BUF_INIT(65536);
    buf_printf(&body, "{\"snapshot\":%lld,\"last\":%s,\"pods\":[%s]}", (long long)number, last ? "true" : "false", pods);
    report("task_list", buf_cstr(&body));
}

static void tell_one(const char *task, int64_t retry, const char *status) {
    _cleanup_buf_ buf_t pods = BUF_INIT(65536);
    entry(&pods, task, retry, status, NULL, NULL);
    tell(buf_cstr(&pods), snapshot, true);
}

static bool submit_and_create(const char *text) {
    if (!submit(text))
        return false;
    watch_add(e, wf_id, 7);
    job("CreateGroup", "t-group", "SUCCESS");
    return true;
}

static void statuses_are_brought(void) {
    REQUIRE(start_with(NULL));
    connect_backend();
    tell("", snapshot, true);
    REQUIRE(submit_and_create(single));
    pod("t", "SCHEDULING", -1);
    reconnect();
    tell_one("t", 0, "RUNNING");
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    reconnect();
    tell_one("t", 0, "RUNNING");
    tell_one("t", 0, "FAILED"); /* of a snapshot that is over */
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    reconnect();
    tell_one("t", 0, "FAILED");
    CHECK_INT(task_status("t", NULL), STATUS_FAILED);
    expect_end(STATUS_FAILED, "task t failed with exit code 3: seen");
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

static void the_cluster_is_wiped(void) {
    REQUIRE(start_with(NULL));
    connect_backend();
    REQUIRE(submit_and_create(chain));
    pod("t", "RUNNING", -1);
    int64_t old = snapshot;
    reconnect();
    tell("", old, true); /* of the connection before */
    tell("", snapshot, false);
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING); /* not whole */
    reconnect();
    tell_one("t", 0, "RUNNING");
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    reconnect();
    tell("", snapshot, true);
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, "t", -1, &t, NULL), 0);
    CHECK_INT(t.sm.exit_code, EXIT_BACKEND);
    _cleanup_free_ char *cause = str_printf("the pod %s is gone from cluster default: it was deleted outside of OSMO, or the cluster "
                                            "was reset", t.pod_name);
    CHECK_STR(t.failure_message, cause);
    task_row_clear(&t);
    _cleanup_free_ char *whole = str_printf("task t failed (FAILED_BACKEND_ERROR) with exit code 3001: %s", cause);
    expect_end(STATUS_FAILED, whole);
    CHECK_INT(task_status("u", NULL), STATUS_FAILED_UPSTREAM);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

static void exit_actions_apply(void) {
    REQUIRE(start_with("workflow: {max_retry_per_task: 2}\n"));
    connect_backend();
    REQUIRE(submit_and_create(retrying));
    pod("t", "RUNNING", -1);
    reconnect();
    tell("", snapshot, true);
    CHECK_INT(task_status("t", NULL), STATUS_PROCESSING);
    _cleanup_json_ json_t *again = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(again, "job_type"), "RescheduleTask");
    CHECK_STR(json_get_str(json_get(again, "create_job"), "installation"), e->agents->installation);
    reconnect(); /* the next attempt is on its way: nothing is missing */
    tell("", snapshot, true);
    CHECK_INT(task_status("t", NULL), STATUS_PROCESSING);
    job("RescheduleTask", "t-group", "SUCCESS");
    pod("t", "SCHEDULING", -1); /* so that the answer is stored */
    reconnect();
    tell("", snapshot, true); /* its second pod is gone as well */
    job("RescheduleTask", "t-group", "SUCCESS");
    reconnect();
    tell_one("t", 2, "COMPLETED");
    expect_end(STATUS_COMPLETED, NULL);
    stop(true);
}

/* What is being created, or was created after the snapshot began, cannot be missing. */
static void what_is_underway_is_left_alone(void) {
    REQUIRE(start_with(NULL));
    connect_backend();
    REQUIRE(submit(single));
    _cleanup_json_ json_t *create = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(create, "installation"), e->agents->installation);
    tell("", snapshot, true);
    CHECK_INT(task_status("t", NULL), STATUS_PROCESSING);
    reconnect();
    job("CreateGroup", "t-group", "SUCCESS"); /* after the question */
    pod("t", "SCHEDULING", -1);
    tell("", snapshot, true);
    CHECK_INT(task_status("t", NULL), STATUS_SCHEDULING);
    reconnect();
    tell("", snapshot, true);
    CHECK_INT(task_status("t", NULL), STATUS_FAILED_BACKEND_ERROR);
    stop(true);
}

static void check_orphan_job(const char *label, const char *value) {
    _cleanup_json_ json_t *j = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), "CleanupGroup");
    const json_t *specs = json_get(j, "cleanup_specs");
    REQUIRE(json_len(specs) > 0);
    for (size_t i = 0; i < json_len(specs); i++) {
        const json_t *labels = json_get(json_at(specs, i), "labels");
        CHECK_STR(json_get_str(labels, label), value);
        CHECK(json_get_str(labels, "osmo.workflow_uuid") != NULL && json_get_str(labels, "osmo.group_uuid") != NULL);
    }
    if (j)
        answer(j, "SUCCESS");
}

static bool nothing_is_owed(void) {
    struct work_row *rows = NULL;
    size_t n = 0;
    repo_work_of_workflow(reader(), NOBODY, 10, &rows, &n, NULL);
    work_rows_free(rows, n);
    return n == 0;
}

static void pods_of_nobody(void) {
    _cleanup_buf_ buf_t pods = BUF_INIT(65536);
    REQUIRE(start_with(NULL));
    connect_backend();
    REQUIRE(submit_and_create(single));
    pod("t", "RUNNING", -1);
    size_t before = jobs_sent();
    reconnect();
    entry(&pods, "t", 0, "RUNNING", NULL, e->agents->installation);
    entry(&pods, "t", 0, "RUNNING", NOBODY, NULL);      /* unmarked: may be anybody's */
    entry(&pods, "t", 0, "RUNNING", NOBODY, "another"); /* marked by others */
    buf_puts(&pods, ",{\"workflow_uuid\":\"short\"},7");
    tell(buf_cstr(&pods), snapshot, true);
    CHECK_INT(jobs_sent(), before);
    CHECK(nothing_is_owed());
    reconnect();
    buf_reset(&pods);
    entry(&pods, "t", 0, "RUNNING", NULL, e->agents->installation);
    entry(&pods, "t", 0, "RUNNING", NOBODY, e->agents->installation);
    entry(&pods, "t", 1, "RUNNING", NOBODY, e->agents->installation);
    tell(buf_cstr(&pods), snapshot, true);
    CHECK(!nothing_is_owed());
    check_orphan_job("osmo.workflow_uuid", NOBODY);
    for (int i = 0; i < 200 && !nothing_is_owed(); i++) { /* its outcome is stored by the writer, after another event of it */
        pod("t", "RUNNING", -1);
    }
    CHECK(nothing_is_owed());
    reconnect(); /* an attempt that never was */
    buf_reset(&pods);
    entry(&pods, "t", 0, "RUNNING", NULL, NULL);
    entry(&pods, "t", 4, "RUNNING", NULL, NULL);
    tell(buf_cstr(&pods), snapshot, true);
    check_orphan_job("osmo.retry_id", "4");
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    stop(true);
}

static void left_over_after_cleanup(void) {
    REQUIRE(start_with(NULL));
    connect_backend();
    REQUIRE(submit_and_create(single));
    run_pod("t", "COMPLETED", 0);
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK(until(is_archived));
    reconnect();
    tell_one("t", 0, "RUNNING");
    job("CleanupGroup", "t-group", "SUCCESS");
    expect_end(STATUS_COMPLETED, NULL);
    stop(true);
}

/* Plain OSMO: uuids only, and nobody asked. What was created lately may be younger than the list. */
static void a_plain_list(void) {
    char uuid[33], body[128];
    REQUIRE(begin_offline(NULL));
    backend_connect("jobs");
    REQUIRE(submit_and_create(single));
    pod("t", "RUNNING", -1);
    task_status("t", uuid);
    backend_gone();
    backend_connect("jobs");
    report("task_list", "{\"task_list\":[]}");
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING); /* less than a minute old */
    report("task_list", "{\"task_list\":7}");
    report("task_list", "{\"snapshot\":2,\"last\":true,\"pods\":[]}"); /* never offered */
    snprintf(body, sizeof body, "{\"task_list\":[\"%s\"]}", uuid);
    report("task_list", body);
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    atomic_fetch_add(&ahead, 61 * SECOND);
    backend_gone();
    backend_connect("jobs");
    report("task_list", body);
    CHECK_INT(task_status("t", NULL), STATUS_RUNNING);
    report("task_list", "{\"task_list\":[]}");
    CHECK_INT(task_status("t", NULL), STATUS_FAILED_BACKEND_ERROR);
    end_offline();
}

/* ---- jobs that nobody answers ---- */

/* The service closes a connection. */
static void await_close(void) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&net.lock);
    while (!net.closes && pthread_cond_timedwait(&net.cond, &net.lock, &end) == 0)
        ;
    CHECK_INT(net.closes, 1);
    CHECK_INT(net.close_code, 1013);
    pthread_mutex_unlock(&net.lock);
}

static void jobs_are_not_awaited_for_ever(void) {
    REQUIRE(start_with("service: {backend_job_timeout: 1s}\nworkflow: {max_retry_per_job: 2}\n"));
    connect_backend();
    REQUIRE(submit(single));
    watch_add(e, wf_id, 7);
    json_free(net_take(WORKER, 1, NULL));
    await_close();
    reconnect();
    json_free(net_take(WORKER, 1, NULL)); /* again, after its delay */
    CHECK(until(is_finished));
    expect_end(STATUS_FAILED_SERVER_ERROR, "group t-group could not be created: the operator of backend default did not answer within "
                                           "its job_timeout of 1s");
    stop(true);
}

/* ---- backends that do not return ---- */

static size_t dead_letters(const char *cause) {
    struct dead_row *rows = NULL;
    size_t n = 0;
    CHECK_INT(repo_work_dead(reader(), 0, 100, &rows, &n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        CHECK_CONTAINS(rows[i].last_error, cause);
    dead_rows_free(rows, n);
    return n;
}

/* What explain says of the group t-group, and of the loss of its backend. */
static void check_explained(const char *policy, bool step) {
    struct explained *x = NULL;
    CHECK_INT(engine_explain(e, wf_id, &x, NULL), 0);
    const struct explain *a = x ? explained_answer(x) : NULL;
    bool found = false;
    for (size_t i = 0; a && i < a->ngroups; i++)
        if (strcmp(a->groups[i].group->name, "t-group") == 0)
            CHECK_CONTAINS(a->groups[i].reasons[0].text, policy);
    for (size_t i = 0; a && i < a->nsteps; i++)
        found |= strcmp(a->steps[i].what, "backend_lost") == 0 && a->steps[i].at_us > now_us();
    CHECK_INT(found, step);
    explained_free(x);
}

static void it_never_returns(void) {
    char first_id[80], first_uuid[33];
    REQUIRE(begin_offline(fails_fast));
    connect_backend();
    REQUIRE(submit_and_create(chain));
    pod("t", "RUNNING", -1);
    memcpy(first_id, wf_id, sizeof first_id);
    memcpy(first_uuid, wf_uuid, sizeof first_uuid);
    backend_gone();
    REQUIRE(submit(single)); /* was never handed out */
    pass_most();
    check_explained("(offline policy: fail after 2m, of what was handed to it)", false);
    memcpy(wf_uuid, first_uuid, sizeof wf_uuid);
    memcpy(wf_id, first_id, sizeof wf_id);
    CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    check_explained(" UTC (offline policy: fail after 2m)", true);
    pass(20);
    CHECK(until(is_finished));
    char *message = NULL;
    CHECK_STR(status_name(workflow_status(&message)), "FAILED");
    CHECK_CONTAINS(message, "backend default has not been heard of since ");
    free(message);
    CHECK_INT(task_status("t", NULL), STATUS_FAILED_BACKEND_ERROR);
    CHECK_INT(task_status("u", NULL), STATUS_FAILED_UPSTREAM);
    CHECK(until(is_archived)); /* its log ends */
    CHECK_INT(dead_letters("backend default has not been heard of since "), 1);
    pass(60); /* once is enough */
    CHECK_INT(dead_letters("backend default has not been heard of since "), 1);
    connect_backend(); /* it is back: what it left is removed, what waited begins */
    tell_one("t", 0, "RUNNING");
    for (int i = 0; i < 2; i++) {
        _cleanup_json_ json_t *j = net_take(WORKER, 1, NULL);
        bool cleanup = str_eq(json_get_str(j, "job_type"), "CleanupGroup");
        CHECK_STR(json_get_str(j, "workflow_id"), cleanup ? first_id : "one-1");
        CHECK(cleanup || str_eq(json_get_str(j, "job_type"), "CreateGroup"));
        if (j)
            answer(j, "SUCCESS");
    }
    CHECK_INT(dead_letters(""), 0);
    CHECK_INT(workflow_status(NULL), STATUS_FAILED);
    end_offline();
}

static void it_returns_in_time(void) {
    REQUIRE(begin_offline(fails_fast));
    connect_backend();
    REQUIRE(submit_and_create(single));
    pod("t", "RUNNING", -1);
    backend_gone();
    pass_most();
    connect_backend();
    tell_one("t", 0, "RUNNING");
    pass_most();
    report("heartbeat", "{\"time\":\"2026-03-01T00:00:00\"}");
    pass_most();
    CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    stop(false); /* the service is away for an hour: the backend gets the whole time again */
    atomic_fetch_add(&ahead, 3600 * SECOND);
    REQUIRE(start_with(fails_fast));
    watch_add(e, wf_id, 7);
    pass(0);
    pass_most();
    CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    pass(20);
    CHECK(until(is_finished)); /* the monitor may have been faster, and be at it */
    CHECK_INT(task_status("t", NULL), STATUS_FAILED_BACKEND_ERROR);
    end_offline();
}

/* Setting the clock makes no backend silent for longer. */
static void the_clock_is_set(void) {
    static const int64_t hours[] = { 1, -5 };
    for (size_t i = 0; i < ARRAY_SIZE(hours); i++) {
        REQUIRE(begin_offline(fails_fast));
        connect_backend();
        REQUIRE(submit_and_create(single));
        pod("t", "RUNNING", -1);
        backend_gone();
        pass(0);
        atomic_fetch_add(&set_by, hours[i] * 3600 * SECOND);
        engine_wake(e, WAKE_TIMERS);
        for (int k = 0; k < 1000 && llabs(engine_now(e) - now_us()) > SECOND; k++) /* the monitor moves the deadlines */
            usleep(10000);
        pass_most();
        CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
        pass(60); /* setting it may give the whole time again */
        pass(60);
        pass(20);
        CHECK(until(is_finished));
        end_offline();
    }
}

static void it_is_waited_for(void) {
    REQUIRE(begin_offline("backends:\n  default: {offline: {after: 30s}}\n"));
    connect_backend();
    REQUIRE(submit_and_create(single));
    pod("t", "RUNNING", -1);
    backend_gone();
    for (int i = 0; i < 10; i++)
        pass(60);
    check_explained("(offline policy: wait)", false);
    CHECK_INT(workflow_status(NULL), STATUS_RUNNING);
    connect_backend();
    tell_one("t", 0, "COMPLETED");
    CHECK_INT(workflow_status(NULL), STATUS_COMPLETED);
    end_offline();
}

/* What was not handed out yet ends with what was; nothing has to be removed of it. */
static void a_workflow_ends_as_a_whole(void) {
    static const char pair[] = "workflow:\n  name: pair\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n"
                               "  - {name: u, image: ubuntu, command: ['true']}\n";
    REQUIRE(begin_offline(fails_fast));
    backend_connect(NULL); /* one job at a time */
    REQUIRE(submit(pair));
    watch_add(e, wf_id, 7);
    _cleanup_json_ json_t *create = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(create, "group_name"), "t-group");
    backend_gone();
    pass_most();
    CHECK_INT(workflow_status(NULL), STATUS_PENDING);
    pass(20);
    CHECK(until(is_archived));
    CHECK_INT(task_status("t", NULL), STATUS_FAILED_BACKEND_ERROR);
    CHECK_INT(task_status("u", NULL), STATUS_FAILED_BACKEND_ERROR);
    CHECK_INT(dead_letters("; it is tried again when the backend is back"), 1);
    size_t before = jobs_sent();
    backend_connect("jobs");
    job("CleanupGroup", "t-group", "SUCCESS");
    CHECK_INT(jobs_sent(), before + 1);
    end_offline();
}

/* A group that has ended, but whose cleanup was owed when its backend went, does not keep its log open either. */
static void only_the_cleanup_was_owed(void) {
    REQUIRE(begin_offline(fails_fast));
    connect_backend();
    REQUIRE(submit_and_create(single));
    pod("t", "RUNNING", -1);
    pod("t", "COMPLETED", 0);
    backend_gone();
    pass_most();
    pass(20);
    expect_end(STATUS_COMPLETED, NULL);
    CHECK(until(is_archived));
    connect_backend();
    job("CleanupGroup", "t-group", "SUCCESS");
    end_offline();
}

static void engine_tests(void) {
    statuses_are_brought();
    the_cluster_is_wiped();
    exit_actions_apply();
    what_is_underway_is_left_alone();
    pods_of_nobody();
    left_over_after_cleanup();
    a_plain_list();
    jobs_are_not_awaited_for_ever();
    it_never_returns();
    it_returns_in_time();
    it_is_waited_for();
    a_workflow_ends_as_a_whole();
    only_the_cleanup_was_owed();
}

static void on_pgsql(void) {
    use_pgsql = true;
    engine_tests();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "set of pods", set_of_pods },
    { "fates", fates },
    { "deadlines", deadlines },
    { "policies", policies },
    { "statuses are brought", statuses_are_brought },
    { "the cluster is wiped", the_cluster_is_wiped },
    { "exit actions apply", exit_actions_apply },
    { "what is underway is left alone", what_is_underway_is_left_alone },
    { "pods of nobody", pods_of_nobody },
    { "left over after the cleanup", left_over_after_cleanup },
    { "a plain list", a_plain_list },
    { "jobs are not awaited for ever", jobs_are_not_awaited_for_ever },
    { "it never returns", it_never_returns },
    { "it returns in time", it_returns_in_time },
    { "the clock is set", the_clock_is_set },
    { "it is waited for", it_is_waited_for },
    { "a workflow ends as a whole", a_workflow_ends_as_a_whole },
    { "only the cleanup was owed", only_the_cleanup_was_owed },
    { "on PostgreSQL", on_pgsql },
};
TEST_MAIN("reconcile", tests)
