/* What tasks carried in and out, and where their outputs are looked at, on both databases: told twice it is one row, and it goes with its
 * workflow. */
#include <string.h>

#include "base/cleanup.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/repo.h"
#include "store/repo_retention.h"
#include "store/repo_task_io.h"

#define MINE "11111111111111111111111111111111"
#define OTHER "22222222222222222222222222222222"

static store_t *st;
static osmo_error_t err;

static int add_run(db_t *db, void *ctx, osmo_error_t *e) { return repo_task_io_add(db, ctx, e); }
static int insert_run(db_t *db, void *ctx, osmo_error_t *e) { return repo_workflow_insert(db, ctx, e); }
static int remove_run(db_t *db, void *ctx, osmo_error_t *e) { return repo_submission_remove(db, MINE, 2, ctx, e); }

static void add(const char *uuid, const char *task, const char *type, const char *url, int64_t start_us, int64_t files) {
    struct task_io_row r = { .group_name = "g", .task = (char *)task, .type = (char *)type, .url = (char *)url, .operation_type = "Url",
                             .download_type = "download", .retry_id = 1, .start_us = start_us, .end_us = start_us + 5, .bytes = INT64_MAX,
                             .files = files };
    memcpy(r.workflow_uuid, uuid, sizeof r.workflow_uuid);
    CHECK_OK(store_write(st, uuid, add_run, &r, &err), &err);
}

static size_t count(const char *uuid) {
    struct task_io_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    CHECK_OK(store_reader(st, &db, &err), &err);
    CHECK_OK(repo_task_io_list(db, uuid, &rows, &n, &err), &err);
    task_io_rows_free(rows, n);
    return n;
}

static void rows_body(store_t *s, const char *url) {
    struct task_io_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    bool more = true;
    (void)url;
    st = s;
    add(MINE, "late", "OUTPUT", "s3://b/x", 900, 1);
    add(MINE, "early", "INPUT", "s3://b/x", 100, 2);
    add(MINE, "early", "INPUT", "s3://b/x", 100, 2); /* told again */
    add(MINE, "early", "INPUT", "s3://b/y", 100, 3);
    add(OTHER, "early", "INPUT", "s3://b/x", 100, 4);
    CHECK_OK(store_reader(st, &db, &err), &err);
    CHECK_OK(repo_task_io_list(db, MINE, &rows, &n, &err), &err);
    REQUIRE(n == 3);
    CHECK_STR(rows[0].url, "s3://b/x");
    CHECK_STR(rows[1].url, "s3://b/y");
    CHECK_STR(rows[2].task, "late");
    CHECK_STR(rows[2].type, "OUTPUT");
    CHECK_STR(rows[0].download_type, "download");
    CHECK_INT(rows[0].files, 2);
    CHECK_INT(rows[0].retry_id, 1);
    CHECK_INT(rows[0].end_us, 105);
    CHECK(rows[0].bytes == INT64_MAX);
    task_io_rows_free(rows, n);
    for (int i = 0; more && i < 10; i++)
        CHECK_OK(store_write(st, MINE, remove_run, &more, &err), &err);
    CHECK(!more);
    CHECK_INT(count(MINE), 0);
    CHECK_INT(count(OTHER), 1);
}

static void outputs_body(store_t *s, const char *url) {
    static const struct { const char *below, *outputs; } cases[] = {
        { NULL, NULL }, { "https://look.example/at", "https://look.example/at/name-2" }, { "https://h/", "https://h/name-3" } };
    (void)url;
    st = s;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct workflow_row w = { .name = str_dup("name"), .outputs_below = cases[i].below, .sm.status = STATUS_PENDING }, read = { 0 };
        db_t *db;
        snprintf(w.uuid, sizeof w.uuid, "%032zu", i);
        CHECK_OK(store_write(st, NULL, insert_run, &w, &err), &err);
        CHECK_OK(store_reader(st, &db, &err), &err);
        CHECK_OK(repo_workflow_get(db, w.uuid, &read, &err), &err);
        CHECK(str_eq(read.outputs, cases[i].outputs));
        workflow_row_clear(&w);
        workflow_row_clear(&read);
    }
}

static void test_rows(void) { fixture_each(rows_body); }
static void test_outputs(void) { fixture_each(outputs_body); }

static const struct check_test tests[] = { { "rows", test_rows }, { "where outputs are looked at", test_outputs } };
TEST_MAIN("task_io", tests)
