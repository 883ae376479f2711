/* Rows that the writer keeps: they are what the database says, whatever changed it. */
#include <stdlib.h>
#include "base/str.h"
#include "pgsql_fixture.h"
#include "check.h"
#include "store/driver.h"
#include "store/repo.h"
#include "store/repo_retention.h"
#include "store/row_cache.h"

static osmo_error_t err;
static store_t *st;

#define WF "11111111111111111111111111111111"
#define GROUP "22222222222222222222222222222222"
#define TASK "33333333333333333333333333333333"
#define WRITE(fn, ctx) CHECK_OK(store_write(st, WF, fn, ctx, &err), &err)

/* ---- the table ---- */

struct sample { char uuid[33]; char *text; int64_t n; };
static const struct col sample_cols[] = { COL_ENTRY(sample, UUID, uuid, uuid) COL_ENTRY(sample, TEXT, text, text)
                                          COL_ENTRY(sample, I64, n, n) };
static const struct row_type sample_type = { "samples", sizeof(struct sample), sample_cols, 3, 3 };

static void put(row_cache_t *c, int i, const char *text) {
    struct sample s = { .text = (char *)(uintptr_t)text, .n = i };
    snprintf(s.uuid, sizeof s.uuid, "%032d", i);
    row_cache_put(c, &sample_type, s.uuid, i % 3, 1000 + i, &s);
}

static const struct sample *get(row_cache_t *c, int i) {
    char uuid[33];
    int64_t rowid = 0;
    snprintf(uuid, sizeof uuid, "%032d", i);
    const struct sample *s = row_cache_find(c, &sample_type, uuid, i % 3, &rowid);
    CHECK(!s || rowid == 1000 + i);
    return s;
}

static void table(void) {
    row_cache_t *c = row_cache_new(20000);
    REQUIRE(c);
    for (int i = 0; i < 1000; i++) {
        put(c, i, i % 2 ? "odd" : NULL);
        CHECK(row_cache_bytes(c) <= 20000);
        CHECK(get(c, 0) != NULL); /* what is used stays */
    }
    CHECK(get(c, 1) == NULL);
    CHECK(get(c, 999) && get(c, 998) && !get(c, 998)->text);
    CHECK_STR(get(c, 999)->text, "odd");
    put(c, 999, "new");
    CHECK_STR(get(c, 999)->text, "new");
    row_cache_changed(c, "others", 1999);
    row_cache_changed(c, "samples", 5);
    CHECK(get(c, 999) != NULL);
    row_cache_changed(c, "samples", 1999);
    CHECK(get(c, 999) == NULL && get(c, 998) != NULL);
    row_cache_reset(c);
    CHECK(get(c, 0) == NULL);
    CHECK_INT(row_cache_bytes(c), 0);
    put(c, 7, "again");
    CHECK(get(c, 7) != NULL);
    row_cache_free(c);
}

/* ---- the writer ---- */

static int insert(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    struct workflow_row w = { .uuid = WF, .name = str_dup("w"), .sm = { .status = STATUS_PENDING, .total = 1, .unfinished = 1 } };
    struct group_row g = { .uuid = GROUP, .workflow_uuid = WF, .name = (char *)(uintptr_t)"g", .sm = { .status = STATUS_WAITING } };
    struct task_row t = { .uuid = TASK, .key = TASK, .workflow_uuid = WF, .group_uuid = GROUP, .name = (char *)(uintptr_t)"t",
                          .sm = { .status = STATUS_WAITING } };
    int rc = repo_workflow_insert(db, &w, e);
    workflow_row_clear(&w);
    if (rc >= 0)
        rc = repo_groups_insert(db, &g, 1, e);
    return rc < 0 ? rc : repo_tasks_insert(db, &t, 1, e);
}

struct bump { bool fail; int64_t seen; };
/* Adds one to a number of each row. */
static int bump(db_t *db, void *ctx, osmo_error_t *e) {
    struct bump *b = ctx;
    struct workflow_row w = { 0 };
    struct group_row g = { 0 };
    struct task_row t = { 0 };
    int rc = repo_workflow_lock(db, WF, &w, e);
    if (rc >= 0)
        rc = repo_task_get(db, WF, TASK, 0, &t, e);
    if (rc >= 0)
        rc = repo_group_state(db, GROUP, &g, e);
    b->seen = t.heartbeat_us;
    if (rc >= 0 && (g.queue_generation != t.heartbeat_us || w.groups_uncleaned != t.heartbeat_us))
        rc = osmo_error_set(e, OSMO_EINTERNAL, "the rows went apart");
    t.heartbeat_us++;
    g.queue_generation++;
    w.groups_uncleaned++;
    t.sm.status = t.sm.status == STATUS_RUNNING ? STATUS_WAITING : STATUS_RUNNING;
    w.sm.status = t.sm.status;
    if (rc >= 0)
        rc = repo_task_update(db, &t, e);
    if (rc >= 0)
        rc = repo_group_update(db, &g, e);
    if (rc >= 0)
        rc = repo_workflow_update(db, &w, e);
    workflow_row_clear(&w);
    group_row_clear(&g);
    task_row_clear(&t);
    return rc >= 0 && b->fail ? osmo_error_set(e, OSMO_EUSER, "on purpose") : rc;
}

static int64_t heartbeat(void) { /* as a reader sees it */
    db_t *db;
    struct task_row t = { 0 };
    CHECK_OK(store_reader(st, &db, &err), &err);
    CHECK_OK(repo_task_get(db, WF, TASK, 0, &t, &err), &err);
    int64_t n = t.heartbeat_us;
    task_row_clear(&t);
    return n;
}

static int metric(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    return repo_task_metric(db, WF, "t", 0, "input_download", 5, 6, e);
}

static int see_metric(db_t *db, void *ctx, osmo_error_t *e) {
    struct task_row t = { 0 };
    int rc = repo_task_get(db, WF, TASK, 0, &t, e);
    *(int64_t *)ctx = t.input_download_end_us;
    task_row_clear(&t);
    return rc;
}

static int remove_all(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    bool more = true;
    int rc = 0;
    while (rc >= 0 && more)
        rc = repo_submission_remove(db, WF, 10, &more, e);
    return rc < 0 ? rc : db_exec(db, "DELETE FROM workflows WHERE uuid = ?", DB_ARGS(DB_T(WF)), NULL, e);
}

static void writer_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    WRITE(insert, NULL);
    enum { N = 300 };
    struct bump b[N];
    int64_t good = 0, end = -1;
    for (int i = 0; i < N; i++) { /* many share a transaction, a third of them fails when it has written */
        b[i] = (struct bump){ .fail = i % 3 == 1 };
        good += !b[i].fail;
        CHECK_INT(store_post(s, WF, bump, NULL, &b[i]), 0);
    }
    struct bump last = { 0 };
    WRITE(bump, &last);
    CHECK_INT(last.seen, good);
    CHECK_INT(heartbeat(), good + 1);
    WRITE(metric, NULL);
    WRITE(see_metric, &end);
    CHECK_INT(end, 6);
    WRITE(bump, &last);
    CHECK_INT(last.seen, good + 1);
    WRITE(remove_all, NULL);
    CHECK_INT(store_write(s, WF, bump, &last, &err), OSMO_ENOTFOUND);
    WRITE(insert, NULL); /* the numbers of the rows may be the same */
    WRITE(bump, &last);
    CHECK_INT(last.seen, 0);
}
static void writer(void) { fixture_each(writer_body); }

/* Somebody changes the file beside the service. */
static void foreign_body(store_t *s, const char *url) {
    st = s;
    struct bump b = { 0 };
    db_t *other = NULL;
    struct db_target t = { .url = url };
    WRITE(insert, NULL);
    WRITE(bump, &b);
    WRITE(bump, &b);
    CHECK_INT(b.seen, 1);
    const struct db_driver *drv = store_is_pgsql(s) ? &db_pgsql : &db_sqlite;
    CHECK_OK(drv->open(&t, true, &other, &err), &err);
    REQUIRE(other);
    CHECK_OK(drv->script(other, "UPDATE tasks SET heartbeat_us = 50; UPDATE workflows SET groups_uncleaned = 50;"
                                " UPDATE workflow_groups SET queue_generation = 50", &err), &err);
    drv->close(other);
    WRITE(bump, &b);
    CHECK_INT(b.seen, 50);
    CHECK_INT(heartbeat(), 51);
}
static void foreign(void) { fixture_each(foreign_body); }

static const struct check_test tests[] = { { "table", table }, { "writer", writer }, { "foreign", foreign } };
TEST_MAIN("row_cache", tests)
