/* The archive: workflows archived and read again with every filter, the end of logs, failures that become dead letters, and what a
 * cleanup must look for. On SQLite, and on PostgreSQL where there is one. */
#include <dirent.h>
#include <stdatomic.h>
#include <time.h>

#include "base/file.h"
#include "engine/archive.h"
#include "engine/engine_internal.h"
#include "engine/logs_internal.h"
#include "engine/explain.h"
#include "engine_fixture.h"
#include "pgsql_fixture.h"
#include "store/repo_archive.h"
#include "store/repo_explain.h"
#include "store/writer.h"

#define SECRET "s3cr3t-0815-value"

/* ---- workflows ---- */

static const char secretive[] = "workflow:\n  name: arch\n  tasks:\n"
                                "  - name: a\n    image: ubuntu\n    command: ['true']\n"
                                "    environment: {API_TOKEN: " SECRET ", PLAIN: seen}\n"
                                "  - {name: b, image: ubuntu, command: ['true']}\n";

static void configure(const char *more) {
    char text[400], path[128];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(text, sizeof text, "workflow: {workflow_log: {credential: {endpoint: 'file://%s/archive'}%s}, retention: 0}\n",
             fixture_dir(), more);
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    CHECK_OK(file_write_atomic(path, text, strlen(text), 0600, false, &err), &err);
    CHECK_OK(engine_reload(e, &err), &err);
}

/* A fresh engine with an archive; `more` are further keys of workflow_log. */
static bool begin(const char *more) {
    char path[160];
    snprintf(path, sizeof path, "%s/archive", fixture_dir());
    CHECK_INT(dir_remove_tree(path, NULL), 0);
    if (!start_with("workflow: {}\n"))
        return false;
    configure(more);
    return true;
}

static void log_lines(const char *task, int64_t retry, enum io_type type, const char *const *lines, size_t n) {
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        struct log_entry entry = { .time_us = INT64_C(1772357472000000) + (int64_t)i, .type = type, .text = lines[i],
            .len = strlen(lines[i]) };
        CHECK_OK(logstore_append(e->logs, wf_id, task, retry, &entry, 1, &err), &err);
    }
}

static int put_files(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    static const char template[] = "API_TOKEN: '" SECRET "'\nx: {{y}}\n";
    int rc = repo_file_put(db, wf_uuid, "templated_workflow_spec.yaml", template, sizeof template - 1, err);
    if (rc >= 0)
        rc = repo_file_put(db, wf_uuid, "b_error_logs.txt", "one\ntwo\n", 8, err);
    for (int i = 0; rc >= 0 && i < 130; i++) { /* more than a page of names */
        char name[40];
        snprintf(name, sizeof name, "b_%d_error_logs.txt", i + 1);
        rc = repo_file_put(db, wf_uuid, name, name, strlen(name), err);
    }
    return rc < 0 ? rc : repo_event_add(db, wf_uuid, "a", 0, 1, "2026-03-01 09:00:00 [a] Scheduled: True", err);
}

static void write_log(void) {
    const char *const out[] = { "first", "two\nlines", "third", "" }, *const bad[] = { "oops", "worse" };
    osmo_error_t err = OSMO_ERROR_INIT;
    log_lines("a", 0, IO_STDOUT, out, 3);
    log_lines("b", 0, IO_STDERR, bad, 2);
    log_lines("a", 0, IO_OSMO_CTRL, out, 4);
    log_lines("b", 1, IO_STDOUT, out, 3);
    log_lines("a", 0, IO_STDERR, bad, 1);
    CHECK_OK(store_write(e->store, wf_uuid, put_files, NULL, &err), &err);
}

/* The workflow of two groups runs; b fails. */
static bool run(void) {
    backend_connect("jobs");
    if (!submit(secretive))
        return false;
    watch_add(e, wf_id, 7);
    job("CreateGroup", "a-group", "SUCCESS");
    job("CreateGroup", "b-group", "SUCCESS");
    write_log();
    run_pod("a", "COMPLETED", 0);
    job("CleanupGroup", "a-group", "SUCCESS");
    run_pod("b", "FAILED", 3);
    return true;
}

static enum archive_state state(void) {
    enum archive_state s = ARCHIVE_NONE;
    CHECK_INT(repo_archive_get(reader(), wf_uuid, &s, NULL), 0);
    return s;
}
static bool is_only_in_archive(void) { return state() == ARCHIVE_ONLY; }

/* What a stream gives until it ends or has nothing; *ended tells which. */
static char *all_of(osmo_stream_t *s, bool *ended) {
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    char piece[7];
    ssize_t n;
    while ((n = s->read(s, piece, sizeof piece)) > 0)
        buf_append(&text, piece, (size_t)n);
    CHECK(n == 0 || n == OSMO_EGONE);
    *ended = n == OSMO_EGONE;
    buf_cstr(&text);
    return text.data ? buf_steal(&text, NULL) : strdup("");
}

static const struct { struct log_query q; const char *regex, *grep; enum line_format format; } queries[] = {
    { { .retry_id = -1 }, NULL, NULL, LINES_TEXT },
    { { .retry_id = -1 }, "t[wh]", NULL, LINES_TEXT },
    { { .retry_id = -1, .last_n = 1 }, NULL, NULL, LINES_TEXT },
    { { .retry_id = -1, .last_n = 5 }, NULL, NULL, LINES_TEXT }, { { .retry_id = -1, .last_n = 500 }, NULL, NULL, LINES_TEXT },
    { { .retry_id = -1, .last_n = 4 }, "r", NULL, LINES_TEXT },
    { { .task = "a", .retry_id = -1 }, NULL, NULL, LINES_TEXT },
    { { .task = "a", .retry_id = 0 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = -1 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = 0 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = 1 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = 2 }, NULL, NULL, LINES_TEXT }, { { .task = "nobody", .retry_id = -1 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = -1, .last_n = 2 }, NULL, NULL, LINES_TEXT },
    { { .task = "a", .retry_id = 0, .last_n = 3 }, "o", NULL, LINES_TEXT },
    { { .retry_id = -1, .error_only = true }, NULL, NULL, LINES_TEXT },
    { { .retry_id = -1, .error_only = true, .last_n = 2, .scan_max = 3 }, NULL, NULL, LINES_TEXT },
    { { .retry_id = -1, .from_line = 3 }, NULL, NULL, LINES_TEXT }, { { .retry_id = -1, .from_line = 999 }, NULL, NULL, LINES_TEXT },
    { { .task = "b", .retry_id = -1, .from_line = 3 }, NULL, NULL, LINES_SSE }, { { .retry_id = -1 }, NULL, "third$", LINES_JSON },
    { { .retry_id = -1, .kinds = 1u << IO_STDERR | 1u << IO_OSMO_CTRL }, "o", NULL, LINES_SSE },
    { { .task = "b", .retry_id = -1, .last_n = 2 }, NULL, "", LINES_JSON }, { { .retry_id = -1, .last_n = 7 }, NULL, "[a]", LINES_SSE },
    { { .retry_id = -1, .since_us = 1772357472000000 }, NULL, NULL, LINES_TEXT }, /* 2026-03-01 09:31:12 */
    { { .task = "b", .retry_id = -1, .since_us = 1772357473000000 }, NULL, NULL, LINES_SSE },
};

static char *log_of(size_t i) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_stream_t *s = NULL;
    bool ended = false;
    struct line_options o = { .log = queries[i].q, .regex = queries[i].regex, .grep = queries[i].grep, .format = queries[i].format };
    CHECK_OK(lines_stream(e, wf_id, false, &o, 99, &s, &err), &err);
    char *text = s ? all_of(s, &ended) : NULL;
    CHECK(ended);
    if (s)
        s->close(s);
    return text;
}

static char *archived(const char *name) {
    char path[300];
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(path, sizeof path, "%s/archive/%s/%s", fixture_dir(), wf_id, name);
    if (file_read(path, &text, &err) < 0)
        return NULL;
    buf_cstr(&text);
    return buf_steal(&text, NULL);
}

static void check_archived(const char *name, const char *want) {
    _cleanup_free_ char *got = archived(name);
    CHECK_STR(got, want);
}

#define A0(text) "2026/03/01 09:31:12 [a] " text "\n"
#define AC(text) "2026/03/01 09:31:12 [a][osmo] " text "\n"
#define B0(text) "2026/03/01 09:31:12 [b] " text "\n"
#define B1(text) "2026/03/01 09:31:12 [b retry-1] " text "\n"

static void check_tree(void) {
    _cleanup_free_ char *log = archived("workflow_logs.txt"), *served = log_of(0), *spec = archived("workflow_spec.yaml");
    CHECK_STR(log, served);
    CHECK_CONTAINS(log, "Workflow arch-1: FAILED\n");
    check_archived("task_logs_a_0.txt", A0("first") A0("two\nlines") A0("third") AC("first") AC("two\nlines") AC("third") A0("oops"));
    check_archived("task_logs_b_0.txt", B0("oops") B0("worse"));
    check_archived("task_logs_b_1.txt", B1("first") B1("two\nlines") B1("third"));
    _cleanup_free_ char *events = archived("workflow_events.txt");
    CHECK_CONTAINS(events, "2026-03-01 09:00:00 [a] Scheduled: True\n");
    CHECK_CONTAINS(spec, "API_TOKEN: [MASKED]\n");
    CHECK_CONTAINS(spec, "PLAIN: seen\n");
    check_archived("templated_workflow_spec.yaml", "API_TOKEN: '[MASKED]'\nx: {{y}}\n");
    check_archived("b_error_logs.txt", "one\ntwo\n");
    check_archived("b_1_error_logs.txt", "b_1_error_logs.txt");
    check_archived("b_130_error_logs.txt", "b_130_error_logs.txt");
}

/* No file of the archive holds the secret; how many files there are. */
static int secret_files(void) {
    char dir[200];
    int n = 0;
    snprintf(dir, sizeof dir, "%s/archive/%s", fixture_dir(), wf_id);
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_free_ char *text = archived(entry->d_name);
        CHECK(text != NULL);
        CHECK(!text || !strstr(text, SECRET));
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

/* In whatever log store there is: one that has ended says so, one that is not there has nothing yet. */
static bool log_is_local(void) {
    log_reader_t *r = NULL;
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    CHECK_INT(logstore_reader(e->logs, wf_id, NULL, &r, NULL), 0);
    int rc = r ? log_reader_read(r, &text, 1000, NULL) : 0;
    log_reader_free(r);
    return rc != 0;
}

static void archives(void) {
    char *before[ARRAY_SIZE(queries)];
    osmo_stream_t *slow = NULL, *tail = NULL, *late = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool ended;
    char piece[10];
    REQUIRE(begin(""));
    REQUIRE(run());
    CHECK_INT(state(), ARCHIVE_NONE);
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    CHECK_INT(state(), ARCHIVE_BOTH);
    CHECK(log_is_local());
    check_tree();
    CHECK_INT(secret_files(), 3 + 3 + 1 + 2 + 131);
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
        before[i] = log_of(i);
    CHECK_CONTAINS(before[0], "Cause: task b failed with exit code 3");
    CHECK_CONTAINS(before[14], AC("two")); /* of an entry of two lines, the one that matches */
    CHECK_STR(before[16], A0("oops"));
    /* followers that have not read to the end when the copy goes: a slow one, one that has begun with the last lines, one that
     * has not begun */
    CHECK_OK(logs_stream(e, wf_id, &queries[0].q, NULL, 11, &slow, &err), &err);
    CHECK_OK(logs_stream(e, wf_id, &queries[3].q, NULL, 12, &tail, &err), &err);
    CHECK_OK(logs_stream(e, wf_id, &queries[3].q, NULL, 13, &late, &err), &err);
    CHECK_INT(slow->read(slow, piece, sizeof piece), sizeof piece);
    configure(", keep_local: 0");
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_only_in_archive));
    CHECK(!log_is_local());
    _cleanup_free_ char *rest = all_of(slow, &ended), *lines = all_of(late, &ended);
    CHECK(ended);
    CHECK_STR(rest, before[0] + sizeof piece);
    CHECK_STR(lines, before[3]);
    osmo_stream_t *const streams[] = { slow, tail, late };
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
        streams[i]->close(streams[i]);
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        _cleanup_free_ char *after = log_of(i);
        CHECK_STR(after, before[i]);
        free(before[i]);
    }
    char *text = NULL;
    size_t len;
    CHECK_INT(repo_file_get(reader(), wf_uuid, "b_error_logs.txt", &text, &len, NULL), OSMO_ENOTFOUND);
    free(text);
    _cleanup_buf_ buf_t found = BUF_INIT(1000);
    CHECK_OK(archive_text(e, wf_id, "b_error_logs.txt", &found, &err), &err);
    CHECK_STR(buf_cstr(&found), "one\ntwo\n");
    CHECK_OK(events_stream(e, wf_id, "a", 0, 14, &late, &err), &err);
    _cleanup_free_ char *events = all_of(late, &ended);
    CHECK(ended && strstr(events, "Scheduled: True"));
    late->close(late);
    stop(true);
}

/* ---- what goes wrong ---- */

static bool has_dead_letter(void) {
    struct dead_row *rows = NULL;
    size_t n = 0;
    repo_work_dead(reader(), 0, 1, &rows, &n, NULL);
    dead_rows_free(rows, n);
    return n > 0;
}

static void failure_is_a_dead_letter(void) {
    char path[100], in_the_way[300];
    struct dead_row *rows = NULL;
    size_t n = 0;
    int64_t revived = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin(", attempts: 2"));
    snprintf(path, sizeof path, "%s/archive", fixture_dir());
    CHECK_OK(file_write_atomic(path, "x", 1, 0600, false, &err), &err); /* root may write everywhere; not into a file */
    REQUIRE(run());
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(has_dead_letter));
    CHECK(!is_archived());
    REQUIRE(repo_work_dead(reader(), 0, 10, &rows, &n, NULL) == 0 && n == 1);
    CHECK_STR(rows[0].kind, "archive_workflow");
    CHECK_CONTAINS(rows[0].last_error, path);
    CHECK_CONTAINS(rows[0].last_error, "workflow.workflow_log.credential.endpoint");
    CHECK_CONTAINS(rows[0].last_error, "a directory is needed there");
    dead_rows_free(rows, n);
    struct explained *x = NULL;
    bool told = false;
    REQUIRE(engine_explain(e, wf_id, &x, NULL) == 0);
    for (size_t i = 0; i < explained_answer(x)->nsteps; i++)
        told |= strcmp(explained_answer(x)->steps[i].what, "archive") == 0 && strstr(explained_answer(x)->steps[i].text, "retry");
    CHECK(told);
    explained_free(x);
    _cleanup_free_ char *log = log_of(0); /* nothing is lost, and its readers end */
    CHECK_CONTAINS(log, A0("first"));
    CHECK_INT(unlink(path), 0);
    /* half an archive of an earlier attempt */
    snprintf(in_the_way, sizeof in_the_way, "%s/%s", path, wf_id);
    CHECK_OK(dir_make(in_the_way, 0700, &err), &err);
    strcat(in_the_way, "/.osmo-part-00");
    CHECK_OK(file_write_atomic(in_the_way, "half", 4, 0600, false, &err), &err);
    strcpy(strrchr(in_the_way, '/'), "/workflow_logs.txt");
    CHECK_OK(file_write_atomic(in_the_way, "half", 4, 0600, false, &err), &err);
    CHECK_OK(engine_dead_retry(e, 0, &revived, &err), &err);
    CHECK_INT(revived, 1);
    CHECK(until(is_archived));
    check_tree();
    secret_files();
    strcpy(strrchr(in_the_way, '/'), "/.osmo-part-00");
    CHECK(!file_exists(in_the_way));
    /* the archive is moved away: told, and no other log is shown instead */
    configure(", keep_local: 0");
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_only_in_archive));
    CHECK_INT(dir_remove_tree(path, NULL), 0);
    osmo_stream_t *s = NULL;
    CHECK_INT(logs_stream(e, wf_id, NULL, NULL, 21, &s, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "bring it back");
    CHECK_CONTAINS(err.text, path);
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    CHECK_OK(file_write_atomic(path, "workflow: {}\n", 13, 0600, false, &err), &err);
    CHECK_OK(engine_reload(e, &err), &err);
    CHECK_INT(logs_stream(e, wf_id, NULL, NULL, 21, &s, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "is not configured");
    stop(true);
}

/* ---- without an archive ---- */

static void without_an_archive(void) {
    REQUIRE(start_with(NULL));
    REQUIRE(run());
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    CHECK_INT(state(), ARCHIVE_NONE);
    _cleanup_free_ char *log = log_of(0);
    CHECK_CONTAINS(log, A0("first"));
    stop(true);
}

/* ---- retention ---- */

static bool is_deleted(void) {
    struct workflow_row w = { 0 };
    int rc = repo_workflow_get(reader(), wf_uuid, &w, NULL);
    workflow_row_clear(&w);
    return rc == OSMO_ENOTFOUND;
}

static void expire(const char *more) {
    char text[400], path[160];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(text, sizeof text, "workflow: {workflow_log: {credential: {endpoint: 'file://%s/archive'}%s}, retention: 1ms}\n",
             fixture_dir(), more);
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    CHECK_OK(file_write_atomic(path, text, strlen(text), 0600, false, &err), &err);
    CHECK_OK(engine_reload(e, &err), &err);
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_deleted));
}

static void retention_and_the_archive(void) {
    static const struct { const char *more; bool stays; } cases[] = {
        { "", true }, { ", delete_with_workflow: true", false } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        REQUIRE(begin(cases[i].more));
        REQUIRE(run());
        job("CleanupGroup", "b-group", "SUCCESS");
        CHECK(until(is_archived));
        expire(cases[i].more);
        _cleanup_free_ char *log = archived("workflow_logs.txt");
        CHECK_INT(log != NULL, cases[i].stays);
        CHECK_INT(state(), ARCHIVE_NONE);
        char path[300];
        snprintf(path, sizeof path, "%s/archive/%s", fixture_dir(), wf_id);
        CHECK_INT(file_exists(path), cases[i].stays);
        CHECK(!log_is_local());
        stop(true);
    }
}

/* ---- a backend that does not come back ---- */

static atomic_llong ahead; /* of the clocks, microseconds */

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 + atomic_load(&ahead);
}
static int64_t wall(void) { return read_clock(CLOCK_REALTIME); }
static int64_t steady(void) { return read_clock(CLOCK_MONOTONIC); }

static bool log_ended(void) {
    osmo_stream_t *s = NULL;
    bool ended = false;
    if (logs_stream(e, wf_id, NULL, NULL, 31, &s, NULL) < 0)
        return false;
    free(all_of(s, &ended));
    s->close(s);
    return ended;
}

static const char *archive_step(void) {
    static char text[600];
    struct explained *x = NULL;
    int n = 0;
    text[0] = '\0';
    if (engine_explain(e, wf_id, &x, NULL) < 0)
        return text;
    for (size_t i = 0; i < explained_answer(x)->nsteps; i++) {
        if (strcmp(explained_answer(x)->steps[i].what, "archive") == 0 && n++ == 0)
            snprintf(text, sizeof text, "%s", explained_answer(x)->steps[i].text);
    }
    explained_free(x);
    CHECK(n <= 1);
    return text;
}

static void end_of_the_log(void) {
    engine_clock_source(wall, steady);
    REQUIRE(begin(""));
    REQUIRE(run());
    backend_gone(); /* with the cleanup of b-group */
    CHECK(is_finished());
    CHECK(!log_ended());
    CHECK_CONTAINS(archive_step(), "objects of 1 groups are removed from backend default");
    atomic_fetch_add(&ahead, 59 * 1000000);
    engine_wake(e, WAKE_ARCHIVE);
    CHECK(!log_ended());
    atomic_fetch_add(&ahead, 2 * 1000000);
    engine_wake(e, WAKE_ARCHIVE);
    CHECK(until(log_ended));
    CHECK(!is_archived());
    _cleanup_free_ char *log = log_of(0);
    CHECK_CONTAINS(log, "Workflow arch-1: FAILED\n");
    /* it comes back after all */
    backend_connect("jobs");
    watch_add(e, wf_id, 7);
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    check_tree();
    CHECK_STR(archive_step(), "");
    stop(true);
    engine_clock_source(NULL, NULL);
}

/* ---- a cleanup that was given up and succeeds later brings its error logs then ---- */

static int put_late(db_t *db, void *ctx, osmo_error_t *err) { return repo_file_put(db, wf_uuid, ctx, "late\n", 5, err); }

static bool late_is_archived(void) {
    _cleanup_free_ char *text = archived("late_error_logs.txt");
    return text != NULL;
}

static void late_files(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin(", keep_local: 0"));
    REQUIRE(run());
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    engine_wake(e, WAKE_TIMERS);
    CHECK(until(is_only_in_archive));
    _cleanup_free_ char *before = log_of(0);
    CHECK_OK(store_write(e->store, wf_uuid, put_late, (void *)"late_error_logs.txt", &err), &err);
    /* as a process that died behind the last object would find it: again, and the log is not written from nothing */
    struct work_row item = { .kind = (char *)"archive_workflow" };
    memcpy(item.workflow_uuid, wf_uuid, sizeof item.workflow_uuid);
    CHECK_OK(archive_workflow(e, &item, &err), &err);
    CHECK(late_is_archived());
    _cleanup_free_ char *after = log_of(0);
    CHECK_STR(after, before);
    check_archived("b_error_logs.txt", "one\ntwo\n");
    CHECK(!log_is_local());
    stop(true);
}

/* ---- many attempts, and entries larger than a piece ---- */

#define TASKS 150

static void many_attempts(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t big = (2u << 20) + 17;
    char *text = malloc(big);
    REQUIRE(text && begin(""));
    memset(text, 'x', big);
    backend_connect("jobs");
    REQUIRE(submit("workflow:\n  name: arch\n  tasks:\n  - {name: a, image: ubuntu, command: ['true']}\n"));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "a-group", "SUCCESS");
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < TASKS; i++) {
            char task[32];
            snprintf(task, sizeof task, "t%d", i);
            struct log_entry entry = { .time_us = 1, .type = IO_DUMP, .text = task, .len = strlen(task) };
            if (i == 77 && round == 2)
                entry = (struct log_entry){ .time_us = 1, .type = IO_DUMP, .text = text, .len = big };
            CHECK_OK(logstore_append(e->logs, wf_id, task, round == 3, &entry, 1, &err), &err);
        }
    }
    run_pod("a", "COMPLETED", 0);
    job("CleanupGroup", "a-group", "SUCCESS");
    CHECK(until(is_archived));
    for (int i = 0; i < TASKS; i++) {
        char name[64], want[64];
        snprintf(name, sizeof name, "task_logs_t%d_0.txt", i);
        snprintf(want, sizeof want, "t%d\nt%d\nt%d\n", i, i, i);
        _cleanup_free_ char *got = archived(name);
        if (i == 77)
            CHECK_INT(got ? strlen(got) : 0, big + 1 + 8);
        else
            CHECK_STR(got, want);
        snprintf(name, sizeof name, "task_logs_t%d_1.txt", i);
        check_archived(name, want + 2 * strlen(want) / 3);
    }
    archive_reader_t *r = NULL;
    struct log_query q = { .task = "t77", .retry_id = -1 };
    _cleanup_buf_ buf_t all = BUF_INIT(64u << 20);
    CHECK_OK(archive_reader(e, wf_id, &q, 3, &r, &err), &err);
    int rc = 1;
    while (r && rc > 0)
        rc = archive_reader_read(r, &all, 100, &err);
    CHECK_INT(rc, OSMO_EGONE);
    CHECK_INT(all.len, big + 1 + 8 + 4 - 3);
    archive_reader_free(r);
    free(text);
    stop(true);
}

/* ---- kinds of objects that the pool's templates made ---- */

static const char templates[] =
    "group_templates:\n"
    "  map: {apiVersion: v1, kind: ConfigMap, metadata: {name: '{{WF_ID}}-map'}}\n"
    "  domain: {apiVersion: resource.nvidia.com/v1beta1, kind: ComputeDomain, metadata: {name: '{{WF_ID}}-domain'}}\n"
    "backends: {default: {}}\n"
    "pools:\n"
    "  default:\n"
    "    backend: default\n"
    "    default_platform: default\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_pod_template: [default_ctrl, default_user]\n"
    "    common_group_templates: [%s]\n"
    "    platforms: {default: {description: x}}\n";

static void use_templates(const char *names) {
    char text[1200], path[160];
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(text, sizeof text, templates, names);
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    CHECK_OK(file_write_atomic(path, text, strlen(text), 0600, false, &err), &err);
    CHECK_OK(engine_reload(e, &err), &err);
}

/* How often the cleanup job looks for a kind. */
static int looks_for(const json_t *job, const char *kind) {
    const json_t *specs = json_get(job, "cleanup_specs");
    int n = 0;
    for (size_t i = 0; i < json_len(specs); i++) {
        const char *got = json_get_str(json_get(json_at(specs, i), "generic_api"), "kind");
        n += got && strcmp(got, kind) == 0;
    }
    return n;
}

static void templates_that_are_gone(void) {
    REQUIRE(start_with("workflow: {}\n"));
    use_templates("map");
    backend_connect("jobs");
    REQUIRE(submit("workflow:\n  name: arch\n  tasks:\n  - {name: a, image: ubuntu, command: ['true']}\n"));
    watch_add(e, wf_id, 7);
    job("CreateGroup", "a-group", "FAILED_RETRY"); /* something of it may be there */
    use_templates("domain");
    job("CreateGroup", "a-group", "SUCCESS");
    use_templates("");
    run_pod("a", "COMPLETED", 0);
    _cleanup_json_ json_t *cleanup = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(cleanup, "job_type"), "CleanupGroup");
    CHECK_INT(looks_for(cleanup, "ConfigMap"), 1);
    CHECK_INT(looks_for(cleanup, "ComputeDomain"), 1);
    CHECK_INT(looks_for(cleanup, "Pod"), 1);
    if (cleanup)
        answer(cleanup, "SUCCESS");
    CHECK(until(is_archived));
    stop(true);
}

/* ---- what another service, or another item, has done meanwhile ---- */

static int only_run(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    int rc = repo_archive_add(db, wf_uuid, wf_id, 1, err);
    return rc < 0 ? rc : repo_archive_set(db, wf_uuid, ARCHIVE_ONLY, err);
}

/* Archives a log of one line and drops the log store's, in the middle of an archiver's work: it has written the last lines of the
 * log, and not read it yet. */
static void archive_first(void) {
    static const char text[] = "GOOD\n", task[] = "a\n";
    uint8_t index[ARCHIVE_RECORD_SIZE];
    char path[300];
    uint64_t seq = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (writers_is_writer() || logstore_last_seq(e->logs, wf_id, "osmo:banner", 0, &seq, NULL) < 0 || seq != 1)
        return;
    on_wake = NULL;
    archive_record_pack(&(struct archive_record){ 5, 0, 0, IO_STDOUT }, index);
    snprintf(path, sizeof path, "%s/archive/%s", fixture_dir(), wf_id);
    CHECK_OK(dir_make(path, 0700, &err), &err);
    strcat(path, "/workflow_logs.txt");
    CHECK_OK(file_write_atomic(path, text, 5, 0600, false, &err), &err);
    strcpy(strrchr(path, '.'), ".tasks");
    CHECK_OK(file_write_atomic(path, task, 2, 0600, false, &err), &err);
    strcpy(strrchr(path, '.'), ".idx");
    CHECK_OK(file_write_atomic(path, index, sizeof index, 0600, false, &err), &err);
    CHECK_OK(store_write(e->store, wf_uuid, only_run, NULL, &err), &err);
    CHECK_OK(logstore_remove(e->logs, wf_id, &err), &err);
}

static void archived_twice(void) {
    REQUIRE(begin(""));
    REQUIRE(run());
    on_wake = archive_first;
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    CHECK(on_wake == NULL);
    on_wake = NULL;
    CHECK_INT(state(), ARCHIVE_ONLY);
    check_archived("workflow_logs.txt", "GOOD\n");
    _cleanup_free_ char *log = log_of(0);
    CHECK_STR(log, "GOOD\n");
    stop(true);
}

/* A reader of another service than the one that drops the copy, a moment after it began. */
static void dropped_elsewhere(void) {
    osmo_stream_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char piece[10];
    bool ended = false;
    char line[4000];
    const char *const lines[] = { line };
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    REQUIRE(begin(""));
    REQUIRE(run());
    for (int i = 0; i < 50; i++) /* more than is read at a time */
        log_lines("a", 0, IO_STDOUT, lines, 1);
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    _cleanup_free_ char *all = log_of(0);
    CHECK_OK(logs_stream(e, wf_id, NULL, NULL, 41, &s, &err), &err);
    REQUIRE(s != NULL);
    CHECK_INT(s->read(s, piece, sizeof piece), sizeof piece);
    CHECK_OK(store_write(e->store, wf_uuid, only_run, NULL, &err), &err);
    CHECK_OK(logstore_remove(e->logs, wf_id, &err), &err);
    _cleanup_free_ char *rest = all_of(s, &ended);
    CHECK(ended);
    CHECK_STR(rest, all + sizeof piece);
    s->close(s);
    stop(true);
}

/* ---- the copy beside the archive ---- */

static bool never(void *ctx) {
    (void)ctx;
    return false;
}

static void sweep_once(enum archive_state want) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t wait = INT64_MAX;
    CHECK_OK(retention_sweep(e, never, NULL, &wait, &err), &err);
    CHECK(wait > 0); /* not at once again */
    CHECK_INT(state(), want);
    CHECK_INT(log_is_local(), want == ARCHIVE_BOTH);
}

static int owe_run(db_t *db, void *ctx, osmo_error_t *err) {
    return ctx ? repo_work_add(db, "archive_workflow", "held", wf_uuid, "/nobody", 5, "{}", 1, err)
               : db_exec(db, "DELETE FROM work WHERE work_key = 'held'", NULL, 0, NULL, err);
}

/* Archived before the one that is looked at, and can never go. */
static int stuck_run(db_t *db, void *ctx, osmo_error_t *err) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc >= 0 && i < 150; i++) {
        char uuid[33];
        snprintf(uuid, sizeof uuid, "%032d", i);
        rc = repo_archive_add(db, uuid, "../stuck", i + 1, err);
    }
    return rc;
}

static void the_only_copy_stays(void) {
    char path[200], away[200];
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin(", keep_local: 1h"));
    REQUIRE(run());
    job("CleanupGroup", "b-group", "SUCCESS");
    CHECK(until(is_archived));
    /* the archive is not where it was */
    snprintf(path, sizeof path, "%s/archive", fixture_dir());
    snprintf(away, sizeof away, "%s/away", fixture_dir());
    CHECK_INT(rename(path, away), 0);
    configure(", keep_local: 0");
    sweep_once(ARCHIVE_BOTH);
    _cleanup_free_ char *log = log_of(0);
    CHECK_CONTAINS(log, A0("first"));
    CHECK_OK(store_write(e->store, wf_uuid, owe_run, wf_uuid, &err), &err);
    CHECK_INT(rename(away, path), 0);
    /* something has still to be archived */
    sweep_once(ARCHIVE_BOTH);
    char *text = NULL;
    size_t len;
    CHECK_INT(repo_file_get(reader(), wf_uuid, "b_error_logs.txt", &text, &len, NULL), 0);
    free(text);
    /* those that cannot go do not keep the others */
    CHECK_OK(store_write(e->store, wf_uuid, stuck_run, NULL, &err), &err);
    CHECK_OK(store_write(e->store, wf_uuid, owe_run, NULL, &err), &err);
    sweep_once(ARCHIVE_ONLY);
    stop(true);
}

static const struct check_test engine_tests[] = {
    { "", archives }, { "", failure_is_a_dead_letter }, { "", without_an_archive }, { "", retention_and_the_archive },
    { "", end_of_the_log }, { "", late_files }, { "", many_attempts }, { "", templates_that_are_gone },
    { "", archived_twice }, { "", dropped_elsewhere }, { "", the_only_copy_stays },
};

static void on_pgsql(void) {
    char *url = pgsql_fixture_url();
    use_pgsql = url != NULL;
    for (size_t i = 0; url && i < ARRAY_SIZE(engine_tests); i++)
        engine_tests[i].run();
    use_pgsql = false;
    free(url);
}

static const struct check_test tests[] = {
    { "archive and read again", archives },
    { "failure is a dead letter", failure_is_a_dead_letter },
    { "without an archive", without_an_archive },
    { "retention", retention_and_the_archive },
    { "end of the log", end_of_the_log },
    { "late files", late_files },
    { "many attempts", many_attempts },
    { "templates that are gone", templates_that_are_gone },
    { "archived twice", archived_twice },
    { "dropped elsewhere", dropped_elsewhere },
    { "the only copy stays", the_only_copy_stays },
    { "on PostgreSQL", on_pgsql },
};
TEST_MAIN("archive", tests)
