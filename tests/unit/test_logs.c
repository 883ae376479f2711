/* Logger websockets and the text that readers get: both encodings, batches and their acknowledgement, barriers,
 * refusals, the end. */
#include "logs_fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"

#define BARRIER "{\"action\":\"barrier\"}"

static void lines_become_text(void) {
    struct fixture f;
    struct seed s;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 2, &s));
    osmo_ws_t *ws = plain(&f, &s, "t0", 7);
    REQUIRE(ws != NULL);
    send_double(ws, LINE("STDOUT", "first"));
    send_single(ws, LINE("DOWNLOAD", "Download starting"));
    send_double(ws,
                "{\"source\":\"t0\",\"time\":\"2026-03-01T09:31:15Z\",\"iotype\":\"STDERR\",\"text\":\"lower case\"}");
    send_double(ws, LINE("LOG_DONE", ""));
    CHECK(fixture_wait_sent(&f, 1));
    CHECK_INT(fixture_count(&f, 7, DONE, 0), 1);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    CHECK_STR(text, "2026/03/01 09:31:12 [t0] first\n"
                    "2026/03/01 09:31:12 [t0][osmo] Download starting\n"
                    "2026/03/01 09:31:15 [t0] lower case\n");
    CHECK(!ended);
    _cleanup_free_ char *tail = logs_of(&f, &s, "task_name=t0&last_n_lines=1", &ended);
    CHECK_STR(tail, "2026/03/01 09:31:15 [t0] lower case\n");
    _cleanup_free_ char *filtered = logs_of(&f, &s, "query=osmo.*start", &ended);
    CHECK_STR(filtered, "2026/03/01 09:31:12 [t0][osmo] Download starting\n");
    _cleanup_free_ char *other = logs_of(&f, &s, "task_name=t1", &ended);
    CHECK_STR(other, "");
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static void batches_are_acknowledged(void) {
    static const char batch[] = "{\"IOType\":\"LOG_BATCH\",\"entries\":["
        "{\"seq\":1,\"Time\":\"2026-03-01T09:00:00.5Z\",\"IOType\":\"STDOUT\",\"Text\":\"one\"},"
        "{\"seq\":2,\"Time\":\"2026-03-01T09:00:01Z\",\"IOType\":\"STDERR\",\"Text\":\"two\"}]}";
    struct fixture f;
    struct seed s;
    const char *extensions;
    int status;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    osmo_ws_t *ws = connect_ctrl(&f, s.id, "t0", 0, 1, "other, logs", &extensions, &status);
    REQUIRE(ws != NULL);
    CHECK_STR(extensions, "logs");
    CHECK_INT(fixture_count(&f, 1, "{\"action\":\"log_ack\",\"seq\":0}", 0), 1);
    send_single(ws, batch);
    CHECK_INT(fixture_count(&f, 1, "{\"action\":\"log_ack\",\"seq\":2}", 0), 1);
    osmo_ws_closed(ws);
    ws = connect_ctrl(&f, s.id, "t0", 0, 2, "logs", &extensions, &status);
    REQUIRE(ws != NULL);
    CHECK_INT(fixture_count(&f, 2, "{\"action\":\"log_ack\",\"seq\":2}", 0), 1);
    send_single(ws, batch); /* a replay is acknowledged and stored once */
    CHECK_INT(fixture_count(&f, 2, "{\"action\":\"log_ack\",\"seq\":2}", 0), 2);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    CHECK_STR(text, "2026/03/01 09:00:00 [t0] one\n2026/03/01 09:00:01 [t0] two\n");
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static void bad_frames_close(void) {
    static const char *const frames[] = {
        "", "{", "5", "\"5\"", "[]", "{}", "{\"IOType\":\"NOISE\"}", "{\"IOType\":\"LOG_BATCH\",\"entries\":[]}",
        "{\"IOType\":\"BARRIER\",\"Name\":\"\",\"Count\":-1}", "{\"IOType\":\"DUMP\",\"Text\":\"x\"}",
    };
    struct fixture f;
    struct seed s;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    osmo_ws_t *ws = plain(&f, &s, "t0", 1);
    REQUIRE(ws != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        size_t before = fixture_nsent(&f);
        send_single(ws, frames[i]);
        CHECK_INT(fixture_nsent(&f), before + 1);
        CHECK_INT(f.sent[before].close_code, 4000);
    }
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static void unknown_attempts(void) {
    static const struct { const char *workflow, *task; int retry; } cases[] = { { "nope-1", "t0", 0 },
        { "wf-1", "t9", 0 }, { "wf-1", "t0", 3 } };
    struct fixture f;
    struct seed s;
    const char *extensions;
    int status;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_ws_t *ws = connect_ctrl(&f, cases[i].workflow, cases[i].task, cases[i].retry, 10 + i, NULL, &extensions,
                                     &status);
        REQUIRE(ws != NULL);
        CHECK_INT(f.sent[i].close_code, 4000);
        CHECK_CONTAINS(f.sent[i].text, cases[i].workflow);
        send_single(ws, LINE("STDOUT", "ignored"));
        osmo_ws_closed(ws);
    }
    CHECK(connect_ctrl(&f, "wf-1", "t0", -1, 20, NULL, &extensions, &status) == NULL);
    CHECK_INT(status, 400);
    fixture_close(&f);
}

static osmo_ws_t *connect_with(struct fixture *f, const char *jwt, const char *path, int *status) {
    _cleanup_free_ char *bearer = str_printf("Bearer %s", jwt);
    const char *headers[] = { "authorization", bearer, NULL }, *extensions;
    osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = path, .query = "", .headers = headers };
    osmo_response_t rs;
    osmo_ws_t *ws;
    osmo_service_ws_open(f->service, &rq, 1, &ws, &extensions, &rs);
    *status = ws ? 101 : rs.status;
    osmo_response_clear(&rs);
    return ws;
}

static void only_that_task_may_log(void) {
    static const struct { const char *path; int status; } cases[] = {
        { "/api/logger/workflow/wf-1/osmo_ctrl/t0/retry_id/0", 101 },
            { "/api/logger/workflow/wf-1/osmo_ctrl/t1/retry_id/0", 403 },
        { "/api/logger/workflow/wf-1/osmo_ctrl/t0/retry_id/1", 403 },
            { "/api/logger/workflow/wf-2/osmo_ctrl/t0/retry_id/0", 403 },
        { "/api/agent/worker/backend/default", 403 },
            { "/api/agent/listener/pod/backend/default", 403 },
        { "/api/router/exec/wf-1/client/EXEC-1", 403 },
        { "/api/router/exec/wf-1/backend/EXEC-1", 400 },
        { "/api/router/webserver/wf-1/backend/EXEC-1", 400 },
        { "/api/router/exec/wf-2/backend/EXEC-1", 403 },
        { "/api/nothing", 404 },
    };
    struct fixture f;
    struct seed s;
    char *jwt = NULL;
    REQUIRE(open_fixture(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(seed_workflow(&f, "wf", "maya", 2, &s));
    CHECK_INT(auth_task_jwt(f.engine, "maya", s.id, "g", "t0", 0, &jwt, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int status;
        osmo_ws_t *ws = connect_with(&f, jwt, cases[i].path, &status);
        CHECK_INT(status, cases[i].status);
        if (ws)
            osmo_ws_closed(ws);
    }
    free(jwt);
    int status;
    CHECK(connect_with(&f, "x.y.z", cases[0].path, &status) == NULL);
    CHECK_INT(status, 401);
    fixture_close(&f);
}

static void send_barrier(osmo_ws_t *ws) {
    send_double(ws, "{\"Source\":\"t\",\"Time\":\"2026-03-01T09:00:00Z\",\"IOType\":\"BARRIER\","
                    "\"Name\":\"osmo-group-ready\",\"Count\":-1}");
}

static void barrier_releases_all(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 3, &s));
    osmo_ws_t *a = plain(&f, &s, "t0", 1), *b = plain(&f, &s, "t1", 2);
    REQUIRE(a && b);
    send_barrier(a);
    send_barrier(a);
    send_barrier(b);
    CHECK(seed_task_status(&f, &s, 2, STATUS_RUNNING)); /* a write behind the joins: they are committed now */
    CHECK_INT(fixture_nsent(&f), 0);
    CHECK(seed_task_status(&f, &s, 2, STATUS_COMPLETED));
    logger_barrier_check(f.engine, s.uuid, s.group_uuid);
    CHECK(fixture_wait_sent(&f, 2));
    CHECK_INT(fixture_count(&f, 1, BARRIER, 1), 1);
    CHECK_INT(fixture_count(&f, 2, BARRIER, 1), 1);
    osmo_ws_closed(b);
    b = plain(&f, &s, "t1", 3); /* missed it? released again on connect, alone */
    CHECK_INT(fixture_count(&f, 3, BARRIER, 1), 1);
    CHECK_INT(fixture_count(&f, 1, BARRIER, 1), 1);
    osmo_ws_closed(a);
    osmo_ws_closed(b);
    fixture_close(&f);
}

/* An attempt that has ended joins nothing: nobody would take it out again. */
static void late_join(void) {
    struct fixture f;
    struct seed s;
    strlist_t members = { 0 };
    db_t *db;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 2, &s));
    osmo_ws_t *a = plain(&f, &s, "t0", 1), *b = plain(&f, &s, "t1", 2);
    REQUIRE(a && b);
    CHECK(seed_task_status(&f, &s, 1, STATUS_FAILED_CANCELED));
    send_barrier(a);
    send_barrier(b);
    CHECK(seed_task_status(&f, &s, 0, STATUS_RUNNING)); /* a write behind the joins */
    CHECK_INT(store_reader(f.engine->store, &db, NULL), 0);
    CHECK_INT(repo_barrier_members(db, s.group_uuid, "osmo-group-ready", &members, NULL), 0);
    CHECK_INT(members.len, 1);
    CHECK_STR(members.len ? members.items[0] : "", "t0");
    strlist_free(&members);
    osmo_ws_closed(a);
    osmo_ws_closed(b);
    fixture_close(&f);
}

static void counted_barrier(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 3, &s));
    osmo_ws_t *a = plain(&f, &s, "t0", 1), *b = plain(&f, &s, "t1", 2);
    REQUIRE(a && b);
    send_single(a, "{\"IOType\":\"BARRIER\",\"Name\":\"half\",\"Count\":2}");
    send_single(b, "{\"IOType\":\"BARRIER\",\"Name\":\"half\",\"Count\":2}");
    CHECK(fixture_wait_sent(&f, 2));
    CHECK(fixture_count(&f, 1, BARRIER, 1) >= 1); /* each of two joins in one commit may find it open */
    logger_action(f.engine, s.id, "t0", 0, "{\"action\":\"restart\"}");
    logger_action(f.engine, s.id, "t2", 0, "{\"action\":\"restart\"}");
    CHECK_INT(fixture_count(&f, 1, "{\"action\":\"restart\"}", 1), 1);
    osmo_ws_closed(a);
    osmo_ws_closed(b);
    fixture_close(&f);
}

static int mark_both(db_t *db, void *ctx, osmo_error_t *err) {
    const struct seed *s = ctx;
    int rc = repo_barrier_join(db, s->group_uuid, RESTART_ONCE, "0:t0:77", err);
    return rc < 0 ? rc : repo_barrier_join(db, s->group_uuid, RESTART_ONCE, "0:t1:78", err);
}

static int nothing(db_t *db, void *ctx, osmo_error_t *err) {
    (void)db, (void)ctx, (void)err;
    return 0;
}

static void check_marks(struct fixture *f, const struct seed *s, int64_t want) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t marks = -1;
    db_t *db;
    CHECK_OK(store_write(f->engine->store, s->uuid, nothing, NULL, &err), &err); /* behind what was posted */
    CHECK_OK(store_reader(f->engine->store, &db, &err), &err);
    CHECK_OK(repo_barrier_count(db, s->group_uuid, RESTART_ONCE, &marks, &err), &err);
    CHECK_INT(marks, want);
}

/* A ctrl that confirms is told until it does, on every connection; another one is told once. */
static void restarts_are_confirmed(void) {
    static const char restart[] = "{\"action\":\"restart\"}", numbered[] = "{\"action\":\"restart\",\"id\":\"77\"}",
                      confirm[] = "{\"IOType\":\"RESTARTED\",\"id\":\"77\"}";
    struct fixture f;
    struct seed s;
    const char *extensions;
    int status;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 2, &s));
    osmo_ws_t *a = connect_ctrl(&f, s.id, "t0", 0, 1, "restarts", &extensions, &status), *b = plain(&f, &s, "t1", 2);
    REQUIRE(a && b);
    CHECK_STR(extensions, "restarts");
    CHECK_OK(store_write(f.engine->store, s.uuid, mark_both, &s, &err), &err);
    logger_restart(f.engine, s.uuid, s.group_uuid);
    CHECK_INT(fixture_count(&f, 1, numbered, 1), 1);
    CHECK_INT(fixture_count(&f, 2, restart, 1), 1);
    check_marks(&f, &s, 1);
    osmo_ws_closed(a);
    a = connect_ctrl(&f, s.id, "t0", 0, 3, "logs, restarts", &extensions, &status);
    REQUIRE(a);
    CHECK_STR(extensions, "logs, restarts");
    CHECK_INT(fixture_count(&f, 3, numbered, 1), 1);
    send_single(a, "{\"IOType\":\"RESTARTED\",\"id\":\"76\"}"); /* of one before */
    send_single(a, "{\"IOType\":\"RESTARTED\"}");
    check_marks(&f, &s, 1);
    send_single(a, confirm);
    check_marks(&f, &s, 0);
    osmo_ws_closed(a);
    a = plain(&f, &s, "t0", 4);
    CHECK_INT(fixture_count(&f, 4, restart, 1), 0);
    send_single(a, confirm); /* was not agreed on */
    CHECK(fixture_wait_sent(&f, 5));
    CHECK_INT(f.sent[fixture_nsent(&f) - 1].close_code, 4000);
    osmo_ws_closed(a);
    osmo_ws_closed(b);
    fixture_close(&f);
}

/* While a ctrl of a workflow that has just ended is connected, its last lines are waited for. */
static void last_lines(void) {
    struct fixture f;
    struct seed s, other;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s) && seed_workflow(&f, "wf", "testuser", 1, &other));
    osmo_ws_t *a = plain(&f, &s, "t0", 1), *b = plain(&f, &other, "t0", 2);
    REQUIRE(a && b);
    CHECK_OK(store_write(f.engine->store, NULL, end_now, s.uuid, &err), &err);
    CHECK_INT(logs_finish_workflow(f.engine, s.uuid, &err), OSMO_EBUSY);
    osmo_ws_closed(a);
    CHECK_OK(logs_finish_workflow(f.engine, s.uuid, &err), &err); /* the other workflow's ctrl does not matter */
    osmo_ws_closed(b);
    fixture_close(&f);
}

static void end_of_the_log(void) {
    struct fixture f;
    struct seed s;
    bool ended;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    osmo_ws_t *ws = plain(&f, &s, "t0", 1);
    REQUIRE(ws != NULL);
    send_single(ws, LINE("STDOUT", "last words"));
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/logs", s.id);
    struct answer follower = ask(&f, "GET", path, "", NULL, NULL);
    _cleanup_free_ char *before = drain(&follower, &ended);
    CHECK(!ended);
    int wakes = fixture_wakes(&f);
    CHECK(seed_workflow_status(&f, &s, STATUS_FAILED, "task t0 exited with code 3"));
    CHECK_OK(logs_finish_workflow(f.engine, s.uuid, &err), &err);
    CHECK_OK(logs_finish_workflow(f.engine, s.uuid, &err), &err);
    CHECK(fixture_wakes(&f) > wakes);
    _cleanup_free_ char *after = drain(&follower, &ended);
    CHECK(ended);
    CHECK_CONTAINS(after, "Workflow wf-1: FAILED\n");
    CHECK_CONTAINS(after, "Cause: task t0 exited with code 3\n");
    answer_free(&follower);
    _cleanup_free_ char *all = logs_of(&f, &s, "", &ended);
    const char *banner = strstr(all, "Cause:");
    CHECK(ended && banner && !strstr(banner + 1, "Cause:"));
    send_single(ws, LINE("STDOUT", "too late"));
    send_single(ws, LINE("LOG_DONE", ""));
    CHECK_INT(fixture_count(&f, 1, DONE, 0), 1);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static int archive(db_t *db, void *ctx, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    int rc = repo_workflow_get(db, ((const struct seed *)ctx)->uuid, &w, err);
    w.archived = true;
    w.sm.status = STATUS_FAILED_SUBMISSION;
    if (rc >= 0)
        rc = repo_workflow_update(db, &w, err);
    workflow_row_clear(&w);
    return rc;
}

/* A refused submission never had a log: its readers must not wait for one. */
static void refused_workflow_ends(void) {
    static const char *const paths[] = { "/api/workflow/wf-1/logs", "/api/workflow/wf-1/events",
                                         "/api/workflow/wf-1/watch" };
    struct fixture f;
    struct seed s;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    CHECK_OK(store_write(f.engine->store, s.uuid, archive, &s, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        bool ended;
        struct answer a = ask(&f, "GET", paths[i], "", NULL, NULL);
        _cleanup_free_ char *text = drain(&a, &ended);
        CHECK(ended);
        answer_free(&a);
    }
    fixture_close(&f);
}

static void status_follows(void) {
    struct fixture f;
    struct seed s;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    struct answer a = ask(&f, "GET", "/api/workflow/wf-1/watch", "", NULL, NULL);
    CHECK_STR(a.rs.content_type, "application/x-ndjson");
    _cleanup_free_ char *first = drain(&a, &ended);
    CHECK_STR(first, "{\"name\":\"wf-1\",\"status\":\"RUNNING\",\"failure_message\":null}\n");
    CHECK(!ended);
    _cleanup_free_ char *nothing = drain(&a, &ended);
    CHECK_STR(nothing, "");
    CHECK(seed_workflow_status(&f, &s, STATUS_FAILED, "exit code 3"));
    _cleanup_free_ char *last = drain(&a, &ended);
    CHECK_STR(last, "{\"name\":\"wf-1\",\"status\":\"FAILED\",\"failure_message\":\"exit code 3\"}\n");
    CHECK(ended);
    answer_free(&a);
    fixture_close(&f);
}

static int add_event(db_t *db, void *ctx, osmo_error_t *err) {
    const struct seed *s = ctx;
    return repo_event_add(db, s->uuid, "t0", 0, 1, "2026-03-01 09:00:00 [t0] Scheduled: True", err);
}

static void events_and_error_logs(void) {
    struct fixture f;
    struct seed s;
    bool ended;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    struct answer a = ask(&f, "GET", "/api/workflow/wf-1/events", "task_name=t0", NULL, NULL);
    CHECK_INT(a.status, 200);
    _cleanup_free_ char *none = drain(&a, &ended);
    CHECK_STR(none, "");
    CHECK(!ended);
    CHECK_OK(store_write(f.engine->store, s.uuid, add_event, &s, &err), &err);
    _cleanup_free_ char *one = drain(&a, &ended);
    CHECK_STR(one, "2026-03-01 09:00:00 [t0] Scheduled: True\n");
    CHECK(!ended);
    CHECK(seed_workflow_status(&f, &s, STATUS_COMPLETED, NULL));
    CHECK_OK(logs_finish_workflow(f.engine, s.uuid, &err), &err);
    _cleanup_free_ char *rest = drain(&a, &ended);
    CHECK_STR(rest, "");
    CHECK(ended);
    answer_free(&a);
    CHECK(seed_task_status(&f, &s, 0, STATUS_FAILED));
    a = ask(&f, "GET", "/api/workflow/wf-1/error_logs", "", NULL, NULL);
    CHECK_CONTAINS(a.body, "error_logs?task_name=t0&retry_id=0");
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow/wf-1/error_logs", "task_name=t0", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "");
    answer_free(&a);
    static const struct { const char *query; int status; } bad[] = {
        { "last_n_lines=-1", 400 }, { "query=(", 400 }, { "retry_id=x", 422 }, { "task_name=t9", 400 },
            { "task_name=t0&retry_id=4", 400 } };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        a = ask(&f, "GET", "/api/workflow/wf-1/logs", bad[i].query, NULL, NULL);
        CHECK_INT(a.status, bad[i].status);
        answer_free(&a);
    }
    fixture_close(&f);
}

static void metrics_are_stored(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    osmo_ws_t *ws = plain(&f, &s, "t0", 1);
    REQUIRE(ws != NULL);
    send_double(
        ws, "{\"Source\":\"t0\",\"Time\":\"2026-03-01T09:00:00Z\",\"IOType\":\"METRICS\","
            "\"MetricType\":\"group_metrics\",\"Metric\":{"
            "\"retry_id\":\"0\",\"start_time\":\"2026-03-01 09:00:00.250\",\"end_time\":\"2026-03-01 09:00:02.000\","
            "\"type_of_metrics\":\"input_download\"}}");
    send_double(ws, "{\"IOType\":\"METRICS\",\"MetricType\":\"task_io_metrics\",\"Metric\":{\"url\":\"s3://b\"}}");
    CHECK(seed_workflow_status(&f, &s, STATUS_RUNNING, NULL)); /* behind the metric in the writer's queue */
    struct answer a = ask(&f, "GET", "/api/workflow/wf-1", "", NULL, NULL);
    json_t *task = json_at(json_get(json_at(json_get(a.json, "groups"), 0), "tasks"), 0);
    CHECK_STR(json_get_str(task, "input_download_start_time"), "2026-03-01T09:00:00.250000");
    CHECK_STR(json_get_str(task, "input_download_end_time"), "2026-03-01T09:00:02");
    answer_free(&a);
    CHECK_INT(fixture_nsent(&f), 0);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

/* What does not depend on the kind of log store, with the other one. */
static void also_on_pgsql(void) {
    static void (*const again[])(void) = {
        lines_become_text, batches_are_acknowledged, bad_frames_close, unknown_attempts, only_that_task_may_log,
        last_lines, end_of_the_log, events_and_error_logs,
    };
    _cleanup_free_ char *url = pgsql_fixture_url();
    on_pgsql = true;
    for (size_t i = 0; url && i < ARRAY_SIZE(again); i++)
        again[i]();
    on_pgsql = false;
}

static const struct check_test tests[] = {
    { "lines become text", lines_become_text },
    { "batches are acknowledged and replays skipped", batches_are_acknowledged },
    { "bad frames close the connection", bad_frames_close },
    { "unknown attempts are told why", unknown_attempts },
    { "only that task may log", only_that_task_may_log },
    { "barrier releases all members", barrier_releases_all },
    { "an attempt that has ended joins no barrier", late_join },
    { "counted barrier and actions", counted_barrier },
    { "restarts are confirmed", restarts_are_confirmed },
    { "last lines", last_lines },
    { "end of a log", end_of_the_log },
    { "a refused workflow has no log to wait for", refused_workflow_ends },
    { "status lines follow changes", status_follows },
    { "events and error logs", events_and_error_logs },
    { "metrics are stored", metrics_are_stored },
    { "on PostgreSQL", also_on_pgsql },
};
TEST_MAIN("logs", tests)
