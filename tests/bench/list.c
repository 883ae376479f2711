/* Pages of the lists and the restart of a service over many stored workflows.
 *   list [WORKFLOWS [DIR [DATABASE]]]
 * Fills the database (an SQLite file in DIR unless it is given) with WORKFLOWS finished workflows of one task each, 1,000,000
 * by default, and asks osmo_service_handle for pages: bytes in, bytes out, no socket. A DIR that was filled before is used
 * as it is. Without DIR everything is in a temporary directory that is removed at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "osmo/service.h"
#include "store/store.h"

#define ROUNDS 200
#define WARM_UP 5

/* ---- rows ---- */

/* 300 users, a few of whom do most; 20 pools; 5,000 names; 50 teams; the newest thousand are not finished. `h` is what
 * stands in for chance. */
#define NUMBERS \
    "WITH RECURSIVE c(n) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT n + 1 FROM c WHERE n + 1 < ?)," \
    " r AS (SELECT n, (n * 2654435761) % 4294967296 AS h FROM c)"
#define USER "'user' || CAST(((h / 7) % 300) * ((h / 2100) % 300) / 300 AS TEXT) || '@example.com'"
#define START "1700000000000000 + n * 30000000"
#define STATUS "CASE WHEN n >= ? THEN CASE WHEN n % 4 = 0 THEN 21 ELSE 6 END" \
    " ELSE CASE WHEN h % 1000 < 900 THEN 7 WHEN h % 1000 < 960 THEN 9 WHEN h % 1000 < 990 THEN 10" \
    " WHEN h % 1000 < 999 THEN 13 ELSE 15 END END"
#define TASK_STATUS "CASE WHEN n >= ? THEN CASE WHEN n % 4 = 0 THEN 3 ELSE 6 END" \
    " ELSE CASE WHEN h % 1000 < 900 THEN 7 WHEN h % 1000 < 960 THEN 9 WHEN h % 1000 < 990 THEN 10" \
    " WHEN h % 1000 < 999 THEN 13 ELSE 15 END END"
#define WORKFLOWS(uuid) \
    NUMBERS " INSERT INTO workflows (uuid, id, name, job_id, user_name, pool, backend, priority, labels_json," \
    " parent_job_id, submit_us, exec_timeout_us, queue_timeout_us, status, groups_total, groups_unfinished," \
    " groups_running, groups_canceled, groups_server_error, groups_exec_timeout, groups_queue_timeout, groups_failed," \
    " groups_failed_upstream, failed_kind, failed_mixed, start_us, end_us, cancel_requested, archived, groups_uncleaned)" \
    " SELECT " uuid ", 'train-' || CAST(n % 5000 AS TEXT) || '-' || CAST(n / 5000 + 1 AS TEXT)," \
    " 'train-' || CAST(n % 5000 AS TEXT), n / 5000 + 1, " USER ", 'pool' || CAST((h / 11) % 20 AS TEXT), 'default'," \
    " CASE WHEN h % 100 < 5 THEN 'HIGH' WHEN h % 100 < 80 THEN 'NORMAL' ELSE 'LOW' END," \
    " '{\"team\":\"t' || CAST((h / 13) % 50 AS TEXT) || '\"}', 0, " START ", 0, 0, " STATUS ", 1, 0, 0, 0, 0, 0, 0, 0, 0," \
    " 0, 0, " START " + 5000000, CASE WHEN n >= ? THEN 0 ELSE " START " + 25000000 END, 0, 1, 0 FROM r"
#define TASKS(uuid) \
    NUMBERS " INSERT INTO tasks (task_key, uuid, workflow_uuid, group_uuid, name, ordinal, retry_id, is_lead, cpu, gpu," \
    " memory_gib, storage_gib, exit_actions_json, status, exit_code, node_name, pod_name, scheduling_us, initializing_us," \
    " start_us, end_us, heartbeat_us, input_download_start_us, input_download_end_us, output_upload_start_us," \
    " output_upload_end_us) SELECT " uuid ", " uuid ", " uuid ", " uuid ", 'step', 0, 0, 1, 4, 1, 16, 10, '{}', " \
    TASK_STATUS ", 0, 'node' || CAST(h % 100 AS TEXT), 'pod' || CAST(n AS TEXT), " START ", " START "," \
    " CASE WHEN n >= ? AND n % 4 = 0 THEN 0 ELSE " START " + 5000000 END," \
    " CASE WHEN n >= ? THEN 0 ELSE " START " + 25000000 END, 0, 0, 0, 0, 0 FROM r"
#define LABELS(uuid) \
    NUMBERS " INSERT INTO workflow_labels (workflow_uuid, label_key, label_value, submit_us)" \
    " SELECT " uuid ", 'team', 't' || CAST((h / 13) % 50 AS TEXT), " START " FROM r"
#define GOLDEN(uuid) \
    NUMBERS " INSERT INTO workflow_labels (workflow_uuid, label_key, label_value, submit_us)" \
    " SELECT " uuid ", 'golden', 'yes', " START " FROM r WHERE n % 50000 = 7"
#define SQLITE_UUID "printf('%032x', n)"
#define PGSQL_UUID "lpad(to_hex(n), 32, '0')"
#define BOTH(text) { text(SQLITE_UUID), text(PGSQL_UUID) }

struct fill { int64_t from, to, live; };

static int fill_some(db_t *db, void *ctx, osmo_error_t *err) {
    static const struct { const char *sql[2]; size_t live; } steps[] = {
        { BOTH(WORKFLOWS), 2 }, { BOTH(TASKS), 3 }, { BOTH(LABELS), 0 }, { BOTH(GOLDEN), 0 },
    };
    const struct fill *f = ctx;
    const struct db_arg args[] = { DB_I(f->from), DB_I(f->to), DB_I(f->live), DB_I(f->live), DB_I(f->live) };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(steps); i++)
        rc = db_exec(db, steps[i].sql[db_is_pgsql(db)], args, 2 + steps[i].live, NULL, err);
    return rc;
}

static int finish_fill(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    int rc = db_exec(db, "INSERT INTO submitters (user_name) SELECT DISTINCT user_name FROM workflows", NULL, 0, NULL, err);
    if (rc >= 0)
        rc = db_exec(db, "INSERT INTO workflow_names (name) SELECT DISTINCT name FROM workflows", NULL, 0, NULL, err);
    return rc < 0 || !db_is_pgsql(db) ? rc : db_exec(db, "ANALYZE", NULL, 0, NULL, err);
}

static int count_rows(store_t *s, int64_t *n, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    db_t *db;
    int rc = store_reader(s, &db, err);
    if (rc >= 0)
        rc = db_query(db, "SELECT COUNT(*) FROM workflows", NULL, 0, &rows, err);
    if (rc >= 0 && (rc = db_next(rows, err)) == 1)
        *n = db_int(rows, 0);
    return rc < 0 ? rc : 0;
}

static int fill(const char *url, int64_t n, osmo_error_t *err) {
    const struct store_options o = { .url = url };
    int64_t there = 0, from = clock_mono_us();
    store_t *s = NULL;
    int rc = store_open(&o, &s, err);
    if (rc >= 0)
        rc = count_rows(s, &there, err);
    for (int64_t i = 0; rc >= 0 && !there && i < n; i += 100000) {
        struct fill f = { i, i + 100000 < n ? i + 100000 : n, n - 1000 };
        rc = store_write(s, NULL, fill_some, &f, err);
    }
    if (rc >= 0 && !there)
        rc = store_write(s, NULL, finish_fill, NULL, err);
    store_close(s);
    if (rc >= 0)
        printf("%lld workflows, %s in %.1f s\n", (long long)(there ? there : n), there ? "found" : "filled",
               (double)(clock_mono_us() - from) / 1e6);
    return rc;
}

/* ---- pages ---- */

#define EVERYONE "all_users=true&all_pools=true&order=DESC"

static const struct { const char *what, *path, *query; } pages[] = {
    { "newest of all", "/api/workflow", EVERYONE },
    { "oldest of all", "/api/workflow", "all_users=true&all_pools=true&order=ASC" },
    { "1,000 newest of all", "/api/workflow", EVERYONE "&limit=1000" },
    { "of a busy user", "/api/workflow", "users=user3&all_pools=true&order=DESC" },
    { "of a user with few", "/api/workflow", "users=user120&all_pools=true&order=DESC" },
    { "of a user, RUNNING", "/api/workflow", "users=user3&all_pools=true&order=DESC&statuses=RUNNING" },
    { "of a user in a pool, FAILED", "/api/workflow", "users=user9&pools=pool4&order=DESC&statuses=FAILED" },
    { "of five users in two pools", "/api/workflow",
      "users=user1&users=user2&users=user3&users=user4&users=user5&pools=pool1&pools=pool2&order=DESC" },
    { "a pool, RUNNING or PENDING", "/api/workflow", "all_users=true&pools=pool7&statuses=RUNNING&statuses=PENDING" },
    { "FAILED_IMAGE_PULL of all", "/api/workflow", EVERYONE "&statuses=FAILED_IMAGE_PULL" },
    { "priority HIGH, FAILED", "/api/workflow", EVERYONE "&statuses=FAILED&priority=HIGH" },
    { "label of 2% of all", "/api/workflow", EVERYONE "&label=team=t7" },
    { "label of 20 workflows", "/api/workflow", EVERYONE "&label=golden=yes" },
    { "label with alternatives", "/api/workflow", EVERYONE "&label=team=t(1%7C2%7C3)" },
    { "label with a wildcard", "/api/workflow", EVERYONE "&label=team=t4*" },
    { "without a label", "/api/workflow", EVERYONE "&no_label=golden" },
    { "a day in the middle", "/api/workflow",
      EVERYONE "&submitted_after=2024-03-01T00:00:00&submitted_before=2024-03-02T00:00:00" },
    { "name, frequent", "/api/workflow", EVERYONE "&name=train-77" },
    { "name, one workflow", "/api/workflow", EVERYONE "&name=train-4321-17" },
    { "name, none", "/api/workflow", EVERYONE "&name=nothing" },
    { "offset 10,000", "/api/workflow", EVERYONE "&offset=10000" },
    { "offset 500,000", "/api/workflow", EVERYONE "&offset=500000" },
    { "tasks of all", "/api/task", "all_users=true&all_pools=true" },
    { "tasks, unfinished", "/api/task",
      "all_users=true&all_pools=true&statuses=PROCESSING&statuses=SCHEDULING&statuses=INITIALIZING&statuses=RUNNING" },
    { "tasks, FAILED", "/api/task", "all_users=true&all_pools=true&statuses=FAILED" },
    { "tasks of a user with few", "/api/task", "users=user120&all_pools=true" },
    { "sums of unfinished tasks", "/api/task",
      "all_users=true&all_pools=true&summary=true&statuses=PROCESSING&statuses=RUNNING" },
    { "submitters", "/api/users", "" },
};

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int ask(osmo_service_t *s, const char *path, const char *query, int64_t *took, size_t *bytes) {
    static uint64_t id;
    const char *headers[] = { "host", "127.0.0.1:8000", NULL };
    osmo_request_t rq = { .size = sizeof rq, .id = ++id, .method = "GET", .path = path, .query = query, .headers = headers,
                          .peer = "127.0.0.1" };
    osmo_response_t rs = { 0 };
    int64_t from = clock_mono_us();
    osmo_service_handle(s, &rq, &rs);
    *took = clock_mono_us() - from;
    *bytes = rs.body_len;
    int status = rs.status;
    if (status != 200)
        fprintf(stderr, "list: %s?%s: %d %s\n", path, query, status, rs.body ? rs.body : "");
    osmo_response_clear(&rs);
    return status == 200 ? 0 : -1;
}

/* Fewer rounds where one takes long. */
static int measure(osmo_service_t *s, size_t page) {
    int64_t took[ROUNDS + WARM_UP], all = 0;
    size_t bytes = 0, n = 0;
    for (size_t i = 0; i < ROUNDS + WARM_UP && (i < WARM_UP + 5 || all < 5000000); i++) {
        int64_t one;
        if (ask(s, pages[page].path, pages[page].query, &one, &bytes) < 0)
            return 1;
        all += one;
        if (i >= WARM_UP)
            took[n++] = one;
    }
    qsort(took, n, sizeof *took, compare);
    printf("%-30s %10.2f %10.2f %10.2f %10zu\n", pages[page].what, (double)took[n / 2] / 1000,
           (double)took[n * 99 / 100] / 1000, (double)took[n - 1] / 1000, bytes);
    fflush(stdout);
    return 0;
}

/* ---- the service ---- */

static int no_send(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    (void)impl, (void)conn, (void)data, (void)len, (void)binary;
    return 0;
}
static void no_close(void *impl, uint64_t conn, int code, const char *reason) {
    (void)impl, (void)conn, (void)code, (void)reason;
}
static void no_wake(void *impl, uint64_t request) { (void)impl, (void)request; }

static int serve(const char *dir, const char *url, bool first, osmo_error_t *err) {
    osmo_transport_t transport = { .size = sizeof transport, .ws_send = no_send, .ws_close = no_close, .stream_wake = no_wake };
    osmo_service_options_t o = { .size = sizeof o, .data_dir = dir, .database = url, .auth = OSMO_AUTH_DEV,
                                 .base_url = "http://127.0.0.1:8000", .transport = &transport, .log_level = 50 };
    osmo_service_t *s = NULL;
    int64_t from = clock_mono_us(), took;
    size_t bytes;
    int rc = osmo_service_open(&o, &s, err);
    if (rc < 0)
        return rc;
    int failed = ask(s, "/api/workflow", EVERYONE, &took, &bytes) < 0;
    printf("%s until the first page: %.1f ms\n", first ? "first start" : "restart", (double)(clock_mono_us() - from) / 1000);
    if (!first)
        printf("%-30s %10s %10s %10s %10s\n", "page", "p50 ms", "p99 ms", "max ms", "bytes");
    for (size_t i = 0; !failed && !first && i < ARRAY_SIZE(pages); i++)
        failed = measure(s, i);
    osmo_service_close(s);
    return failed ? OSMO_EINTERNAL : 0;
}

int main(int argc, char **argv) {
    char temporary[] = "/tmp/osmo-list-XXXXXX";
    int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;
    const char *dir = argc > 2 ? argv[2] : mkdtemp(temporary);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (n < 2000 || !dir || (argc > 2 && mkdir(dir, 0700) < 0 && access(dir, W_OK) < 0)) {
        fprintf(stderr, "usage: list [WORKFLOWS (2000 or more) [DIR [DATABASE]]]\n");
        return 2;
    }
    _cleanup_free_ char *file = str_printf("sqlite:%s/osmo.db", dir);
    const char *url = argc > 3 ? argv[3] : file;
    int rc = fill(url, n, &err);
    if (rc >= 0)
        rc = serve(dir, url, true, &err); /* a new database gets its keys */
    if (rc >= 0)
        rc = serve(dir, url, false, &err);
    if (rc < 0)
        fprintf(stderr, "list: %s\n", err.text);
    if (argc <= 2)
        dir_remove_tree(dir, NULL);
    return rc < 0;
}
