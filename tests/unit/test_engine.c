/* From submission to the end through the engine and a scripted backend: states, failures, cancel, restarts, timers,
 * messages. */
#include "engine_fixture.h"
#include "engine/reactor_internal.h"
#include "model/messages.h"

static const char hello[] = "workflow:\n  name: hello\n  tasks:\n  - name: hello\n    image: ubuntu:24.04\n    "
                            "command: [echo]\n    args: [hi]\n";
static const char serial[] = "workflow:\n  name: serial\n  tasks:\n"
                             "  - {name: a, image: ubuntu, command: ['true']}\n"
                             "  - {name: b, image: ubuntu, command: ['true'], inputs: [{task: a}]}\n"
                             "  - {name: c, image: ubuntu, command: ['true'], inputs: [{task: a}, {task: b}]}\n"
                             "  - {name: other, image: ubuntu, command: ['true']}\n";

static void happy_path(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(hello));
    watch_add(e, wf_id, 7);
    CHECK_STR(wf_id, "hello-1");
    CHECK_STR(status_name(workflow_status(NULL)), "PENDING");
    CHECK_INT(group_status("hello-group"), STATUS_PROCESSING);
    _cleanup_json_ json_t *create = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(create, "job_type"), "CreateGroup");
    CHECK_STR(json_get_str(create, "super_type"), "frontend");
    CHECK(json_len(json_get(create, "k8s_resources")) > 1);
    answer(create, "SUCCESS");
    pod("hello", "SCHEDULING", -1);
    CHECK_INT(group_status("hello-group"), STATUS_SCHEDULING);
    pod("hello", "INITIALIZING", -1);
    CHECK_INT(group_status("hello-group"), STATUS_INITIALIZING);
    pod("hello", "RUNNING", -1);
    CHECK_STR(status_name(workflow_status(NULL)), "RUNNING");
    pod("hello", "COMPLETED", 0);
    CHECK_INT(task_status("hello", NULL), STATUS_COMPLETED);
    expect_end(STATUS_COMPLETED, NULL);
    job("CleanupGroup", "hello-group", "SUCCESS");
    CHECK(until(is_archived));
    /* duplicates and late reports change nothing and are acknowledged */
    pod("hello", "RUNNING", -1);
    pod("hello", "FAILED", 3);
    pod("hello", "COMPLETED", 0);
    expect_end(STATUS_COMPLETED, NULL);
    CHECK_INT(jobs_sent(), 2);
    stop(true);
}

static void serial_dag(void) {
    REQUIRE(start_with(NULL));
    backend_connect(NULL); /* plain upstream: one job at a time */
    REQUIRE(submit(serial));
    CHECK_INT(group_status("b-group"), STATUS_WAITING);
    job("CreateGroup", "a-group", "SUCCESS");
    job("CreateGroup", "other-group", "SUCCESS");
    run_pod("a", "COMPLETED", 0);
    CHECK_INT(group_status("b-group"), STATUS_PROCESSING);
    CHECK_INT(group_status("c-group"), STATUS_WAITING);
    CHECK_STR(status_name(workflow_status(NULL)), "RUNNING");
    job("CleanupGroup", "a-group", "SUCCESS");
    job("CreateGroup", "b-group", "SUCCESS");
    run_pod("b", "COMPLETED", 0);
    job("CleanupGroup", "b-group", "SUCCESS");
    job("CreateGroup", "c-group", "SUCCESS");
    run_pod("c", "COMPLETED", 0);
    job("CleanupGroup", "c-group", "SUCCESS");
    CHECK(!is_finished());
    run_pod("other", "COMPLETED", 0);
    expect_end(STATUS_COMPLETED, NULL);
    job("CleanupGroup", "other-group", "SUCCESS");
    watch_add(e, wf_id, 7);
    CHECK(until(is_archived));
    stop(true);
}

static void failure_cascades(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(serial));
    job("CreateGroup", "a-group", "SUCCESS");
    job("CreateGroup", "other-group", "SUCCESS");
    run_pod("a", "FAILED", 3);
    CHECK_INT(group_status("a-group"), STATUS_FAILED);
    CHECK_INT(group_status("b-group"), STATUS_FAILED_UPSTREAM);
    CHECK_INT(group_status("c-group"), STATUS_FAILED_UPSTREAM);
    CHECK_INT(task_status("c", NULL), STATUS_FAILED_UPSTREAM);
    CHECK(!is_finished());
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, "b", -1, &t, NULL), 0);
    CHECK_INT(t.sm.exit_code, EXIT_UPSTREAM);
    CHECK_STR(t.failure_message, "upstream group a-group ended with FAILED");
    task_row_clear(&t);
    run_pod("other", "COMPLETED", 0);
    expect_end(STATUS_FAILED, "task a failed with exit code 3: it broke");
    /* the cleanup of a failed group collects error logs */
    _cleanup_json_ json_t *cleanup = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(cleanup, "group_name"), "a-group");
    CHECK_STR(json_get_str(json_get(cleanup, "error_log_spec"), "resource_type"), "Pod");
    char uuid[33], body[200];
    task_status("a", uuid);
    snprintf(body, sizeof body, "{\"text\":\"Traceback\\n\",\"task\":\"%s\",\"retry_id\":0,\"mask\":true}", uuid);
    say(worker, "pod_log", body);
    say(worker, "pod_log", body);
    answer(cleanup, "SUCCESS");
    job("CleanupGroup", "other-group", "SUCCESS");
    watch_add(e, wf_id, 7);
    CHECK(until(is_archived)); /* b and c never reached the backend: no cleanup is owed */
    char *text = NULL;
    size_t len = 0;
    CHECK_INT(repo_file_get(reader(), wf_uuid, "a_error_logs.txt", &text, &len, NULL), 0);
    CHECK_STR(text, "Traceback\nTraceback\n");
    free(text);
    stop(true);
}

static const char pair[] =
    "workflow:\n  name: pair\n  groups:\n  - name: g\n    ignoreNonleadStatus: %s\n    tasks:\n"
    "    - {name: boss, lead: true, image: ubuntu, command: ['true']}\n"
    "    - {name: help, image: ubuntu, command: ['true']}\n";

static void lead_and_others(void) {
    static const struct {
        const char *ignore, *who, *end;
        int code;
        enum status boss, help, workflow;
        const char *cause;
    } cases[] = {
        { "true", "boss", "COMPLETED", 0, STATUS_COMPLETED, STATUS_COMPLETED, STATUS_COMPLETED, NULL },
        { "true", "boss", "FAILED", 9, STATUS_FAILED, STATUS_FAILED, STATUS_FAILED,
          "task boss failed with exit code 9: it broke" },
        { "true", "boss", "FAILED_EVICTED", 3004, STATUS_FAILED_EVICTED, STATUS_FAILED, STATUS_FAILED_EVICTED,
          "task boss failed (FAILED_EVICTED) with exit code 3004: it broke" },
        { "true", "help", "FAILED", 9, STATUS_RUNNING, STATUS_FAILED, STATUS_RUNNING, NULL },
        { "false", "help", "FAILED", 9, STATUS_FAILED, STATUS_FAILED, STATUS_FAILED,
          "task help failed with exit code 9: it broke" },
        { "false", "help", "COMPLETED", 0, STATUS_RUNNING, STATUS_COMPLETED, STATUS_RUNNING, NULL },
    };
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(strstr(pair, "%s") - pair), pair, cases[i].ignore,
                         strstr(pair, "%s") + 2);
        REQUIRE(n > 0 && submit(text));
        job("CreateGroup", "g", "SUCCESS");
        pod("boss", "RUNNING", -1);
        pod("help", "RUNNING", -1);
        pod(cases[i].who, cases[i].end, cases[i].code);
        CHECK_STR(status_name(task_status("boss", NULL)), status_name(cases[i].boss));
        CHECK_STR(status_name(task_status("help", NULL)), status_name(cases[i].help));
        expect_end(cases[i].workflow, cases[i].cause);
        if (status_is_workflow_finished(cases[i].workflow))
            job("CleanupGroup", "g", "SUCCESS");
    }
    stop(true);
}

static void exit_actions(void) {
    static const struct {
        const char *actions;
        const char *end;
        int code;
        enum status want;
        const char *message;
    } cases[] = {
        { "{COMPLETE: '3'}", "FAILED", 3, STATUS_COMPLETED, NULL },
        { "{FAIL: '0'}", "COMPLETED", 0, STATUS_FAILED,
          "exit code 0 was turned from COMPLETED into FAILED by exitActions" },
        { "{RESCHEDULE: '3'}", "FAILED", 3, STATUS_FAILED,
          "it broke; not rescheduled: the retry limit max_retry_per_task of 0 is reached" },
    };
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[512];
        snprintf(
            text, sizeof text,
            "workflow:\n  name: act\n  tasks:\n  - {name: t, image: ubuntu, command: ['true'], exitActions: %s}\n",
            cases[i].actions);
        REQUIRE(submit(text));
        job("CreateGroup", "t-group", "SUCCESS");
        pod("t", cases[i].end, cases[i].code);
        struct task_row t = { 0 };
        repo_task_by_name(reader(), wf_uuid, "t", -1, &t, NULL);
        CHECK_STR(status_name(t.sm.status), status_name(cases[i].want));
        CHECK_STR(t.failure_message, cases[i].message);
        task_row_clear(&t);
        job("CleanupGroup", "t-group", "SUCCESS");
    }
    stop(true);
}

static void cancel_now(bool force, int want) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = engine_cancel(e, wf_id, "bob", "enough", force, &err);
    if (rc < 0 && want >= 0)
        fprintf(stderr, "cancel: %s\n", err.text);
    CHECK_INT(rc, want);
}

/* Cancelled before anything was sent, while the create is with the backend, and while it runs. */
static void cancel_in_each_phase(void) {
    static const char *const cause = "cancelled by bob: enough";
    REQUIRE(start_with(NULL));
    REQUIRE(submit(serial)); /* no backend: nothing was sent */
    watch_add(e, wf_id, 7);
    cancel_now(false, 0);
    expect_end(STATUS_FAILED_CANCELED, cause);
    CHECK_INT(group_status("c-group"), STATUS_FAILED_CANCELED);
    CHECK(until(is_archived));
    cancel_now(false, OSMO_EUSER);
    backend_connect("jobs");

    REQUIRE(submit(hello)); /* also proves that the items of the first workflow are dropped */
    watch_add(e, wf_id, 7);
    _cleanup_json_ json_t *create = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(create, "workflow_id"), wf_id);
    cancel_now(false, 0);
    expect_end(STATUS_FAILED_CANCELED, cause);
    CHECK_INT(jobs_sent(), 1);
    answer(create, "SUCCESS"); /* the cleanup waits for this answer */
    job("CleanupGroup", "hello-group", "SUCCESS");
    CHECK(until(is_archived));

    REQUIRE(submit(hello));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "hello-group", "SUCCESS");
    pod("hello", "RUNNING", -1);
    cancel_now(true, 0);
    expect_end(STATUS_FAILED_CANCELED, cause);
    CHECK_INT(task_status("hello", NULL), STATUS_FAILED_CANCELED);
    job("CleanupGroup", "hello-group", "SUCCESS");
    job("CleanupGroup", "hello-group", "SUCCESS"); /* the forced one */
    pod("hello", "COMPLETED", 0);
    expect_end(STATUS_FAILED_CANCELED, cause);
    CHECK(until(is_archived));
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(engine_cancel(e, "nothing-1", "bob", NULL, false, &err), OSMO_EDATABASE);
    stop(true);
}

/* The service stops with a job in flight; nothing is lost and nothing is done twice by it. */
static void restart_in_the_middle(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(hello));
    json_free(net_take(WORKER, 1, NULL));
    stop(false); /* the create was sent and never answered */
    REQUIRE(start_with(NULL));
    CHECK_INT(group_status("hello-group"), STATUS_PROCESSING);
    backend_connect("jobs");
    job("CreateGroup", "hello-group", "SUCCESS");
    pod("hello", "RUNNING", -1);
    stop(false);
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    watch_add(e, wf_id, 7);
    pod("hello", "SCHEDULING", -1); /* an operator that restarts reports everything again */
    pod("hello", "COMPLETED", 0);
    expect_end(STATUS_COMPLETED, NULL);
    job("CleanupGroup", "hello-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

/* A worker that goes away gives its jobs back at once. */
static void lost_worker(void) {
    REQUIRE(start_with(NULL));
    backend_connect(NULL);
    REQUIRE(submit(hello));
    json_free(net_take(WORKER, 1, NULL));
    agent_closed(worker);
    worker = session(AGENT_WORKER, WORKER, NULL);
    say(worker, "job_status", "{\"status\":\"SUCCESS\",\"message\":null}"); /* of the job before; nothing is sent until it has come */
    job("CreateGroup", "hello-group", "FAILED_RETRY"); /* again after a delay */
    job("CreateGroup", "hello-group", "FAILED_NO_RETRY");
    watch_add(e, wf_id, 7);
    CHECK(until(is_finished));
    expect_end(STATUS_FAILED_SERVER_ERROR, "group hello-group could not be created: FAILED_NO_RETRY");
    job("CleanupGroup", "hello-group", "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

static const char timed[] =
    "workflow:\n  name: timed\n  timeout: {exec_timeout: 50ms, queue_timeout: 50ms}\n  tasks:\n"
    "  - {name: t, image: ubuntu, command: ['true']}\n";

static void timers(void) {
    static const struct {
        const char *phase;
        bool monitor;
        enum status want;
        const char *cause;
    } cases[] = {
        { "SCHEDULING", false, STATUS_FAILED_QUEUE_TIMEOUT,
          "group t-group waited for resources longer than its queue_timeout of 50ms" },
        { "RUNNING", false, STATUS_FAILED_EXEC_TIMEOUT, "group t-group ran longer than its exec_timeout of 50ms" },
        { "INITIALIZING", true, STATUS_FAILED,
          "task t failed (FAILED_START_TIMEOUT) with exit code 3005: the task did not start within 40ms" },
    };
    REQUIRE(start_with("service:\n  max_pod_restart_limit: 40ms\n"));
    backend_connect("jobs");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        REQUIRE(submit(timed));
        watch_add(e, wf_id, 7);
        job("CreateGroup", "t-group", "SUCCESS");
        pod("t", cases[i].phase, -1);
        if (cases[i].monitor) {
            char uuid[33], body[200];
            task_status("t", uuid);
            snprintf(body, sizeof body,
                     "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":0,\"message\":\"\"}", wf_uuid,
                     uuid);
            report("monitor_pod", body);
        }
        CHECK(until(is_finished));
        expect_end(cases[i].want, cases[i].cause);
        job("CleanupGroup", "t-group", "SUCCESS");
    }
    stop(true);
}

/* Each cause says everything once: the backend's words, and what the task itself wrote last. */
static void causes(void) {
    static const struct {
        const char *status, *message, *line;
        int code;
        const char *task, *workflow;
    } cases[] = {
        { "FAILED", "- Task t failed with exit code 127", "cannot run 'x': No such file or directory\n", 127,
          "exit code 127: cannot run 'x': No such file or directory",
          "task t failed with exit code 127: cannot run 'x': No such file or directory" },
        { "FAILED", "- Task t failed with exit code 3", "ValueError: no\n", 3,
          "exit code 3: last error output: ValueError: no",
          "task t failed with exit code 3: last error output: ValueError: no" },
        { "FAILED", "- Task t failed with exit code 3", NULL, 3, "exit code 3", "task t failed with exit code 3" },
        { "FAILED", "- Task t failed with exit code 1: disk on fire", "other\n", 1, "exit code 1: disk on fire",
          "task t failed with exit code 1: disk on fire" },
        { "FAILED_EVICTED", "- Task t failed with exit code 137 (OOMKilled)", "other\n", 3004,
          "exit code 137 (OOMKilled)", "task t failed (FAILED_EVICTED) with exit code 3004: exit code 137 (OOMKilled)" },
        { "FAILED", "- Task t failed with exit code 137", "loading the model\n", 137, "exit code 137: last error output: loading the model",
          "task t failed with exit code 137 (128 + SIGKILL): last error output: loading the model" },
        { "FAILED", "- Task t failed with exit code 9\\n- OSMO Control failed with exit code 2001", NULL, 2001,
          "exit code 9; OSMO Control failed with exit code 2001",
          "task t failed with exit code 2001: exit code 9; OSMO Control failed with exit code 2001" },
    };
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char uuid[33], body[600];
        REQUIRE(submit("workflow:\n  name: why\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n"));
        job("CreateGroup", "t-group", "SUCCESS");
        task_status("t", uuid);
        struct log_entry entry = { .time_us = 1, .type = IO_STDERR, .text = cases[i].line,
                                   .len = cases[i].line ? strlen(cases[i].line) : 0 };
        if (cases[i].line)
            CHECK_INT(logstore_append(e->logs, wf_id, "t", 0, &entry, 1, NULL), 0);
        snprintf(body, sizeof body,
                 "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":0,\"status\":\"%s\","
                 "\"message\":\"%s\",\"exit_code\":%d}",
                 wf_uuid, uuid, cases[i].status, cases[i].message, cases[i].code);
        report("update_pod", body);
        struct task_row t = { 0 };
        repo_task_by_name(reader(), wf_uuid, "t", -1, &t, NULL);
        CHECK_STR(t.failure_message, cases[i].task);
        task_row_clear(&t);
        char *message = NULL;
        workflow_status(&message);
        CHECK_STR(message, cases[i].workflow);
        free(message);
        job("CleanupGroup", "t-group", "SUCCESS");
    }
    stop(true);
}

static void nodes_and_events(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    report("resource_usage", /* may come first */
           "{\"hostname\":\"n1\",\"usage_fields\":{\"cpu\":\"1\"},\"non_workflow_usage_fields\":{\"cpu\":\"0\"}}");
    report("resource", "{\"hostname\":\"n1\",\"available\":true,\"conditions\":[\"Ready\"],\"processed_fields\":{},"
                       "\"allocatable_fields\":{\"cpu\":\"4\"},\"label_fields\":{},\"taints\":[]}");
    report("resource_usage",
           "{\"hostname\":\"n1\",\"usage_fields\":{\"cpu\":\"1\"},\"non_workflow_usage_fields\":{\"cpu\":\"0\"}}");
    report("node_hash", "{\"node_hashes\":[\"n1\"]}");
    report("heartbeat", "{\"time\":\"2026-01-01T00:00:00\"}");
    report("heartbeat", "{\"time\":\"2026-01-01T00:00:00\"}");
    report("logging", "{\"type\":10,\"text\":\"hello\",\"workflow_uuid\":null}");
    report("container_node", "{}");
    struct node_row *rows = NULL;
    size_t n = 0;
    CHECK_INT(repo_node_list(reader(), "default", &rows, &n, NULL), 0);
    CHECK_INT(n, 1);
    node_rows_free(rows, n);

    REQUIRE(submit(hello));
    job("CreateGroup", "hello-group", "SUCCESS");
    pod("hello", "RUNNING", -1);
    char uuid[33], body[600];
    task_status("hello", uuid);
    for (int twice = 0; twice < 2; twice++) { /* a replay adds nothing */
        snprintf(body, sizeof body,
                 "{\"workflow_uuid\":\"%s\",\"task_uuid\":\"%s\",\"retry_id\":0,\"conditions\":["
                 "{\"reason\":\"Unschedulable\",\"message\":\"0/"
                 "3\",\"timestamp\":\"2025-11-02T09:59:00Z\",\"status\":\"False\",\"type\":\"PodScheduled\"},"
                 "{\"reason\":null,\"message\":null,\"timestamp\":\"2025-11-02T09:59:00Z\",\"status\":\"False\","
                 "\"type\":\"Ready\"}]}",
                 wf_uuid, uuid);
        report("pod_conditions", body);
        snprintf(body, sizeof body,
                 "{\"pod_name\":\"%.16s-%.16s\",\"reason\":\"Pulled\",\"message\":\"image "
                 "present\",\"timestamp\":\"2025-11-02T10:00:01Z\"}",
                 wf_uuid, uuid);
        report("pod_event", body);
    }
    strlist_t lines = { 0 };
    int64_t last = 0;
    CHECK_INT(repo_event_list(reader(), wf_uuid, NULL, -1, 0, &lines, &last, NULL), 0);
    CHECK_INT(lines.len, 2);
    if (lines.len == 2) {
        CHECK_STR(lines.items[0],
                  "2025-11-02 09:59:00+00:00 [hello] PodScheduled: False, Reason: Unschedulable, Message: 0/3");
        CHECK_STR(lines.items[1], "2025-11-02 10:00:01+00:00 [hello] Pulled: image present");
    }
    strlist_free(&lines);
    report("delete_resource", "{\"resource\":\"n1\"}");
    expect_end(STATUS_FAILED,
               "task hello failed (FAILED_BACKEND_ERROR) with exit code 3001: node n1 was removed from the cluster");
    report("delete_resource", "{\"resource\":\"n1\"}");
    stop(true);
}

static void bad_messages(void) {
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    report("update_pod", "{}"); /* poison is acknowledged, or it would come back for ever */
    report(
        "update_pod",
        "{\"workflow_uuid\":\"00000000000000000000000000000000\",\"task_uuid\":\"00000000000000000000000000000000\","
        "\"retry_id\":0,\"status\":\"RUNNING\",\"exit_code\":null}");
    report("no_such_type", "{}");
    say(worker, "job_status", "{\"status\":\"SUCCESS\",\"message\":null}");
    CHECK_INT(net.closes, 0);
    agent_message(listener, "garbage", 7, false);
    CHECK_INT(net.close_code, 1008);
    agent_closed(listener);
    /* INIT must come first */
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *accepted;
    net.closes = 0;
    CHECK_OK(agent_open(e, AGENT_POD, "default", 9, NULL, &listener, &accepted, &err), &err);
    agent_opened(listener);
    say(listener, "heartbeat", "{\"time\":\"2026-01-01T00:00:00\"}");
    CHECK_INT(net.closes, 1);
    agent_closed(listener);
    listener = NULL;
    /* the control socket learns the node rules */
    agent_session_t *control = NULL;
    CHECK_OK(agent_open(e, AGENT_CONTROL, "default", 5, NULL, &control, &accepted, &err), &err);
    agent_opened(control);
    _cleanup_json_ json_t *rules = net_take(5, 0, "node_conditions");
    CHECK(json_kind(json_path(rules, "body", "rules", NULL)) == JSON_OBJECT);
    agent_closed(control);
    stop(true);
}

/* The newest worker session gets the new jobs; an older one keeps what it has, and gives it back when it ends. */
static void two_workers(void) {
    REQUIRE(start_with(NULL));
    backend_connect(NULL);
    REQUIRE(submit(serial));
    json_free(net_take(WORKER, 1, NULL)); /* create a, not answered */
    agent_session_t *older = worker;
    worker = session(AGENT_WORKER, 3, NULL);
    /* may be of the older one's job: none is sent before it comes */
    say(worker, "job_status", "{\"status\":\"SUCCESS\",\"message\":null}");
    _cleanup_json_ json_t *other = net_take(3, 1, NULL);
    CHECK_STR(json_get_str(other, "group_name"), "other-group");
    agent_closed(older);
    answer(other, "SUCCESS");
    _cleanup_json_ json_t *again = net_take(3, 1, NULL);
    CHECK_STR(json_get_str(again, "group_name"), "a-group");
    CHECK_INT(jobs_sent(), 3);
    stop(true);
}

/* A cleanup that fails for good is a dead letter; the log of the workflow ends all the same. */
static void hopeless_cleanup(void) {
    REQUIRE(start_with("workflow:\n  max_retry_per_job: 1\n"));
    backend_connect("jobs");
    REQUIRE(submit(hello));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "hello-group", "SUCCESS");
    pod("hello", "COMPLETED", 0);
    job("CleanupGroup", "hello-group", "FAILED_NO_RETRY");
    CHECK(until(is_archived));
    expect_end(STATUS_COMPLETED, NULL);
    stop(true);
}

/* A backend cannot speak for the workflows of another one, nor take its name. */
static void foreign_backend(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *accepted;
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    REQUIRE(submit(hello));
    job("CreateGroup", "hello-group", "SUCCESS");
    agent_session_t *own = listener;
    CHECK_OK(agent_open(e, AGENT_POD, "elsewhere", LISTENER, NULL, &listener, &accepted, &err), &err);
    agent_opened(listener);
    say(listener, "init",
        "{\"k8s_uid\":\"u2\",\"k8s_namespace\":\"ns\",\"version\":\"1\",\"node_condition_prefix\":\"\"}");
    pod("hello", "FAILED", 1);
    CHECK_INT(task_status("hello", NULL), STATUS_PROCESSING);
    agent_closed(listener);
    listener = own;
    pod("hello", "RUNNING", -1);
    CHECK_INT(task_status("hello", NULL), STATUS_RUNNING);
    /* the same name from another cluster: refused */
    agent_session_t *thief = NULL;
    CHECK_OK(agent_open(e, AGENT_NODE, "default", 8, NULL, &thief, &accepted, &err), &err);
    agent_opened(thief);
    say(thief, "init",
        "{\"k8s_uid\":\"u2\",\"k8s_namespace\":\"ns\",\"version\":\"1\",\"node_condition_prefix\":\"\"}");
    pod("hello", "RUNNING", -1); /* committed after it */
    CHECK_INT(net.close_code, 4000);
    agent_closed(thief);
    stop(true);
}

/* Many workflows through a window of several jobs. */
static void many(void) {
    enum { N = 40 };
    REQUIRE(start_with(NULL));
    for (int i = 0; i < N; i++)
        REQUIRE(submit(hello));
    char last[33];
    memcpy(last, wf_uuid, sizeof last);
    backend_connect("jobs");
    size_t creates = 0, cleanups = 0;
    for (int i = 0; i < 2 * N; i++) {
        _cleanup_json_ json_t *j = net_take(WORKER, 1, NULL);
        REQUIRE(j != NULL);
        bool create = strcmp(json_get_str(j, "job_type"), "CreateGroup") == 0;
        creates += create;
        cleanups += !create;
        answer(j, "SUCCESS");
        snprintf(wf_uuid, sizeof wf_uuid, "%s", json_get_str(j, "workflow_uuid"));
        if (create)
            run_pod("hello", "COMPLETED", 0);
        CHECK_INT(workflow_status(NULL), STATUS_COMPLETED);
    }
    CHECK_INT(creates, N);
    CHECK_INT(cleanups, N);
    memcpy(wf_uuid, last, sizeof last);
    watch_add(e, wf_id, 7);
    CHECK(until(is_archived));
    stop(true);
}

/* PostgreSQL has several writer threads and real row locks; without a server these run on SQLite once more. */
/* ---- size ---- */

static int64_t count(const char *sql) {
    db_rows_t *rows = NULL;
    int64_t n = -1;
    if (db_query(reader(), sql, NULL, 0, &rows, NULL) >= 0 && db_next(rows, NULL) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

#define LARGE 2500 /* more than a chunk of the insertion, a batch of create jobs and a batch of cancellations */

static void large(void) {
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
    REQUIRE(start_with(NULL));
    buf_puts(&text, "workflow:\n  name: large\n  tasks:\n");
    for (int i = 0; i < LARGE; i++)
        buf_printf(&text, "  - {name: t%d, image: ubuntu, command: ['true']}\n", i);
    REQUIRE(submit(buf_cstr(&text)));
    CHECK_INT(count("SELECT COUNT(*) FROM tasks"), LARGE);
    CHECK_INT(count("SELECT COUNT(DISTINCT pod_name) FROM tasks"), LARGE);
    CHECK_INT(count("SELECT COUNT(*) FROM group_specs"), LARGE);
    CHECK_INT(count("SELECT COUNT(*) FROM submissions"), 0);
    CHECK_INT(count("SELECT COUNT(*) FROM work WHERE kind = 'create_group'"), START_BATCH);
    backend_connect("jobs");
    for (int i = 0; i < START_BATCH / 2 + 20; i++) {
        char group[32];
        snprintf(group, sizeof group, "t%d-group", i);
        job("CreateGroup", group, "SUCCESS");
    }
    CHECK(count("SELECT COUNT(*) FROM work WHERE kind = 'create_group'") > START_BATCH);
    CHECK(count("SELECT COUNT(*) FROM work WHERE kind = 'create_group'") < 2 * START_BATCH); /* one batch more, not two */
    osmo_error_t err = OSMO_ERROR_INIT;
    watch_add(e, wf_id, 7);
    CHECK_INT(engine_cancel(e, wf_id, "ann", "enough", false, &err), 0);
    CHECK(until(is_finished));
    CHECK_INT(workflow_status(NULL), STATUS_FAILED_CANCELED);
    struct task_row t = { 0 };
    CHECK_INT(repo_task_by_name(reader(), wf_uuid, "t2499", -1, &t, NULL), 0);
    CHECK_INT(t.sm.status, STATUS_FAILED_CANCELED);
    CHECK_STR(t.failure_message, "cancelled by ann: enough");
    task_row_clear(&t);
    CHECK_INT(count("SELECT COUNT(*) FROM tasks WHERE status < 8"), 0);
    stop(true);
}

#define WIDE 700 /* more than two transactions of groups */

/* One group before many: they start in several transactions, and fail in several. */
static void wide(void) {
    for (int fails = 0; fails < 2; fails++) {
        _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
        REQUIRE(start_with(NULL));
        backend_connect("jobs");
        buf_puts(&text, "workflow:\n  name: wide\n  tasks:\n  - {name: first, image: ubuntu, command: ['true']}\n");
        for (int i = 0; i < WIDE; i++)
            buf_printf(&text, "  - {name: t%d, image: ubuntu, command: ['true'], inputs: [{task: first}]}\n", i);
        REQUIRE(submit(buf_cstr(&text)));
        watch_add(e, wf_id, 7);
        job("CreateGroup", "first-group", "SUCCESS");
        run_pod("first", fails ? "FAILED" : "COMPLETED", fails ? 3 : 0);
        if (fails) {
            CHECK(until(is_finished));
            CHECK_INT(count("SELECT COUNT(*) FROM workflow_groups WHERE failure_message LIKE 'upstream group first%'"), WIDE);
        } else {
            job("CleanupGroup", "first-group", "SUCCESS");
            for (int i = 0; i < WIDE; i++) { /* in order, each once */
                char group[32];
                snprintf(group, sizeof group, "t%d-group", i);
                job("CreateGroup", group, "SUCCESS");
            }
            CHECK_INT(count("SELECT SUM(remaining_upstream) FROM workflow_groups"), 0);
        }
        stop(true);
    }
}

static int half_written(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    struct group_row g = { .uuid = "10000000000000000000000000000001", .name = (char *)"g", .spec_json = (char *)"{}" };
    struct task_row t = { .uuid = "20000000000000000000000000000001", .name = (char *)"t", .exit_actions_json = (char *)"{}" };
    static const char lost[] = "30000000000000000000000000000001";
    memcpy(g.workflow_uuid, lost, sizeof lost);
    memcpy(t.workflow_uuid, lost, sizeof lost);
    memcpy(t.group_uuid, g.uuid, sizeof t.group_uuid);
    memcpy(t.key, t.uuid, sizeof t.key);
    const char *const edges[][2] = { { g.uuid, g.uuid } };
    int rc = repo_submission_begin(db, lost, "", 1, err);
    if (rc >= 0)
        rc = repo_groups_insert(db, &g, 1, err);
    if (rc >= 0)
        rc = repo_tasks_insert(db, &t, 1, err);
    return rc < 0 ? rc : repo_edges_insert(db, lost, edges, 1, err);
}

/* What a killed service leaves of a large submission is gone after the next start; a finished workflow stays. */
static void half_a_submission(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(start_with(NULL));
    REQUIRE(submit(serial));
    int64_t tasks = count("SELECT COUNT(*) FROM tasks"), groups = count("SELECT COUNT(*) FROM workflow_groups");
    int64_t edges = count("SELECT COUNT(*) FROM group_edges");
    CHECK_INT(store_write(e->store, NULL, half_written, NULL, &err), 0);
    CHECK_INT(count("SELECT COUNT(*) FROM tasks"), tasks + 1);
    stop(false);
    REQUIRE(start_with(NULL));
    CHECK_INT(count("SELECT COUNT(*) FROM tasks"), tasks);
    CHECK_INT(count("SELECT COUNT(*) FROM workflow_groups"), groups);
    CHECK_INT(count("SELECT COUNT(*) FROM group_specs"), groups);
    CHECK_INT(count("SELECT COUNT(*) FROM group_edges"), edges);
    CHECK_INT(count("SELECT COUNT(*) FROM submissions"), 0);
    stop(true);
}

/* A group whose create job is larger than a frame: our operator gets it in parts, another one's submission is refused. */
static void large_job(void) {
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20), whole = BUF_INIT(JOB_TOTAL_MAX);
    uint32_t noise = 1;
    REQUIRE(start_with(NULL));
    buf_puts(&text, "workflow:\n  name: heavy\n  tasks:\n  - name: t\n    image: ubuntu\n    command: ['true']\n    files:\n");
    for (int f = 0; f < 24; f++) {
        buf_printf(&text, "    - path: /data/f%d\n      contents: '", f);
        for (size_t i = 0; i < 1u << 20; i++) {
            noise = noise * 1664525u + 1013904223u;
            buf_putc(&text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[noise >> 26]);
        }
        buf_puts(&text, "'\n");
    }
    backend_connect("jobs");
    struct submit_result r = { 0 };
    struct submit_request rq = { .user = "ann", .pool = "default", .text = buf_cstr(&text), .text_len = text.len };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(engine_submit(e, &rq, &r, NULL, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "group t-group");
    CHECK_CONTAINS(err.text, "the limit is 16777216");
    CHECK_INT(count("SELECT COUNT(*) FROM tasks"), 0);
    backend_gone();
    backend_connect("jobs, job-parts");
    REQUIRE(submit(buf_cstr(&text)));
    int rc = 0;
    size_t seen = 0;
    pthread_mutex_lock(&net.lock);
    for (int waits = 0; rc == 0 && waits < 2000;) {
        if (seen == net.n) {
            struct timespec until_ts;
            clock_gettime(CLOCK_REALTIME, &until_ts);
            until_ts.tv_sec += 1;
            pthread_cond_timedwait(&net.cond, &net.lock, &until_ts);
            waits++;
            continue;
        }
        const struct sent *s = &net.sent[seen++];
        if (s->binary && job_is_part(s->data, s->len))
            rc = job_part_add(&whole, s->data, s->len, &err);
    }
    pthread_mutex_unlock(&net.lock);
    CHECK_INT(rc, 1);
    _cleanup_json_ json_t *j = NULL;
    CHECK_INT(job_unpack(whole.data, whole.len, JOB_TOTAL_MAX, &j, &err), 0);
    CHECK_STR(json_get_str(j, "group_name"), "t-group");
    CHECK(json_len(json_get(j, "k8s_resources")) > 1);
    stop(true);
}

static void on_pgsql(void) {
    use_pgsql = true;
    happy_path();
    serial_dag();
    failure_cascades();
    cancel_in_each_phase();
    restart_in_the_middle();
    two_workers();
    many();
    timers();
    nodes_and_events();
    large();
    wide();
    half_a_submission();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "happy path", happy_path },
    { "serial DAG", serial_dag },
    { "failure cascades", failure_cascades },
    { "lead and others", lead_and_others },
    { "exit actions", exit_actions },
    { "cancel in each phase", cancel_in_each_phase },
    { "restart in the middle", restart_in_the_middle },
    { "lost worker", lost_worker },
    { "two workers", two_workers },
    { "hopeless cleanup", hopeless_cleanup },
    { "foreign backend", foreign_backend },
    { "many", many },
    { "timers", timers },
    { "causes", causes },
    { "nodes and events", nodes_and_events },
    { "bad messages", bad_messages },
    { "large", large },
    { "wide", wide },
    { "half a submission", half_a_submission },
    { "large job", large_job },
    { "the same on PostgreSQL", on_pgsql },
};
TEST_MAIN("engine", tests)
