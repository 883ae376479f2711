/* Rows and queries, over each database: what goes in comes out, look-ups, filters, claims, timers, numbers
 * under concurrency. */
#include <pthread.h>
#include <stdlib.h>
#include "base/str.h"
#include "pgsql_fixture.h"
#include "check.h"
#include "store/repo.h"

static osmo_error_t err;
static store_t *st;

static db_t *rd(void) {
    db_t *db = NULL;
    CHECK_OK(store_reader(st, &db, &err), &err);
    return db;
}

#define WRITE(fn, ctx) CHECK_OK(store_write(st, "k", fn, ctx, &err), &err)
static char *S(const char *s) { return (char *)(uintptr_t)s; }

static void uuid_of(char out[33], int kind, int n) { snprintf(out, 33, "%08x%024x", (unsigned)kind, (unsigned)n); }
static char U[64][33];
static const char *uu(int kind, int n) {
    static int at;
    char *u = U[at++ % 64];
    uuid_of(u, kind, n);
    return u;
}

/* ---- workflows ---- */

static struct workflow_row sample(int n, const char *name) {
    struct workflow_row w = { .name = str_dup(name), .user = str_dup("ann@x"), .pool = str_dup("robots"),
                              .backend = str_dup("east"),
        .priority = str_dup("NORMAL"), .labels_json = str_dup("{\"team\":\"red\",\"ring/tier\":\"1\"}"),
            .submit_us = 1000 + n, .exec_timeout_us = 5,
        .queue_timeout_us = 6, .sm = { .status = STATUS_PENDING, .total = 3, .unfinished = 3 }, .groups_uncleaned = 3 };
    uuid_of(w.uuid, 1, n);
    return w;
}

static int insert_wf(db_t *db, void *ctx, osmo_error_t *e) { return repo_workflow_insert(db, ctx, e); }
static int update_wf(db_t *db, void *ctx, osmo_error_t *e) {
    struct workflow_row w;
    int rc = repo_workflow_lock(db, ctx, &w, e);
    if (rc < 0)
        return rc;
    w.sm = (struct sm_workflow){ STATUS_FAILED, 9, 8, 7, 6, 5, 4, 3, 2, 1, STATUS_FAILED_EVICTED, true,
                                 1LL << 50, 1LL << 51 };
    w.cancelled_by = str_dup("bob");
    w.failure_message = str_dup("it's \"over\" \xc3\xa9");
    w.cancel_requested = w.archived = true;
    w.groups_uncleaned = 2;
    rc = repo_workflow_update(db, &w, e);
    workflow_row_clear(&w);
    return rc;
}

static void workflow_body(store_t *s, const char *url) {
    struct workflow_row w = sample(1, "train"), got;
    (void)url;
    st = s;
    WRITE(insert_wf, &w);
    CHECK_STR(w.id, "train-1");
    CHECK_OK(repo_workflow_get(rd(), "train-1", &got, &err), &err);
    CHECK_STR(got.uuid, w.uuid);
    CHECK(got.job_id == 1 && got.submit_us == 1001 && got.exec_timeout_us == 5 && got.queue_timeout_us == 6 &&
          got.groups_uncleaned == 3);
    CHECK_STR(got.user, "ann@x");
    CHECK(!got.cancelled_by && !got.failure_message && !got.parent_name && !got.cancel_requested);
    CHECK_STR(got.labels_json, w.labels_json);
    workflow_row_clear(&got);
    WRITE(update_wf, w.uuid);
    CHECK_OK(repo_workflow_get(rd(), w.uuid, &got, &err), &err);
    CHECK(got.sm.status == STATUS_FAILED && got.sm.total == 9 && got.sm.unfinished == 8 &&
          got.sm.running == 7 && got.sm.canceled == 6 &&
          got.sm.server_error == 5 && got.sm.exec_timeout == 4 && got.sm.queue_timeout == 3 && got.sm.failed ==
              2 && got.sm.failed_upstream == 1 &&
          got.sm.failed_kind == STATUS_FAILED_EVICTED && got.sm.failed_mixed && got.sm.start_us == 1LL << 50 &&
              got.sm.end_us == 1LL << 51);
    CHECK(got.cancel_requested && got.archived && got.groups_uncleaned == 2);
    CHECK_STR(got.cancelled_by, "bob");
    CHECK_STR(got.failure_message, "it's \"over\" \xc3\xa9");
    workflow_row_clear(&got);
    CHECK_INT(repo_workflow_get(rd(), "train-2", &got, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "train-2");
    CHECK_INT(store_write(st, "k", insert_wf, &w, &err), OSMO_EDATABASE); /* same uuid */
    workflow_row_clear(&w);
    w = sample(2, "train");
    WRITE(insert_wf, &w);
    CHECK_STR(w.id, "train-2");
    workflow_row_clear(&w);
}
static void workflows(void) { fixture_each(workflow_body); }

static void *submit_some(void *arg) {
    for (int i = 0; i < 25; i++) {
        struct workflow_row w = sample(1000 * *(int *)arg + i, "race");
        osmo_error_t e = OSMO_ERROR_INIT;
        if (store_write(st, w.uuid, insert_wf, &w, &e) < 0)
            fprintf(stderr, "%s\n", e.text);
        workflow_row_clear(&w);
    }
    return NULL;
}
static void numbers_body(store_t *s, const char *url) {
    pthread_t t[8];
    int ids[8];
    struct workflow_filter f = { .name_contains = "race-", .limit = 1000, .all_users = true };
    struct workflow_row *rows;
    size_t n;
    (void)url;
    st = s;
    for (int i = 0; i < 8; i++) {
        ids[i] = i + 1;
        REQUIRE(pthread_create(&t[i], NULL, submit_some, &ids[i]) == 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    CHECK_OK(repo_workflow_list(rd(), &f, &rows, &n, &err), &err);
    CHECK_INT(n, 200);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rows[i].job_id;
    CHECK_INT(sum, 200 * 201 / 2); /* unique by constraint, and without a gap */
    workflow_rows_free(rows, n);
}
static void numbers(void) { fixture_each(numbers_body); }

static int insert_listed(db_t *db, void *ctx, osmo_error_t *e) {
    static const struct {
        const char *name, *user, *pool, *priority, *labels;
        enum status status;
        int64_t at;
    } rows[] = {
        { "alpha", "ann", "p1", "HIGH", "{\"team\":\"red\"}", STATUS_PENDING, 100 },
        { "beta_x", "bob", "p1", "NORMAL", "{\"team\":\"blue\",\"a.b/c\":\"1\"}", STATUS_RUNNING, 200 },
        { "betaYx", "ann", "p2", "LOW", "{}", STATUS_COMPLETED, 200 },
        { "gamma", "cat", "p3", "NORMAL", "{\"team\":\"red\",\"a.b/c\":\"1\"}", STATUS_FAILED_SUBMISSION, 300 },
    };
    (void)ctx;
    for (int i = 0; i < 4; i++) {
        struct workflow_row w = { .name = S(rows[i].name), .user = S(rows[i].user), .pool = S(rows[i].pool),
                                  .priority = S(rows[i].priority),
                                  .labels_json = S(rows[i].labels), .submit_us = rows[i].at, .sm =
                                      { .status = rows[i].status } };
        uuid_of(w.uuid, 2, i);
        int rc = repo_workflow_insert(db, &w, e);
        free(w.id);
        if (rc < 0)
            return rc;
    }
    return 0;
}

#define LIST(...) { .items = (char *[]){ __VA_ARGS__ }, .len = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) }
static char ann[] = "ann", bob[] = "bob", p1[] = "p1", p2[] = "p2", running[] = "RUNNING", completed[] =
    "COMPLETED", failed_sub[] = "FAILED_SUBMISSION",
    red[] = "team=red", one[] = "a.b/c=1", high[] = "HIGH", low[] = "LOW", inject[] = "x' OR '1'='1";
static void filter_body(store_t *s, const char *url) {
    const struct { struct workflow_filter f; const char *want; } cases[] = {
        { { .limit = 10 }, "beta_x-1 betaYx-1 alpha-1 " }, { { .limit = 10, .ascending = true },
                                                             "alpha-1 betaYx-1 beta_x-1 " },
        { { .limit = 2 }, "beta_x-1 betaYx-1 " }, { { .limit = 2, .offset = 2 }, "alpha-1 " },
        { { .name_contains = "a_x" }, "beta_x-1 " }, { { .name_contains = "A_X" }, "" },
            { { .name_contains = "%" }, "" },
        { { .users = LIST(ann) }, "betaYx-1 alpha-1 " }, { { .users = LIST(ann, bob) }, "beta_x-1 betaYx-1 alpha-1 " },
        { { .users = LIST(ann), .all_users = true }, "beta_x-1 betaYx-1 alpha-1 " }, { { .users = LIST(inject) }, "" },
        { { .pools = LIST(p2) }, "betaYx-1 " }, { { .pools = LIST(p1, p2), .users = LIST(bob) }, "beta_x-1 " },
        { { .statuses = LIST(running, completed) }, "beta_x-1 betaYx-1 " }, { { .statuses = LIST(failed_sub) },
            "gamma-1 " },
        { { .priorities = LIST(high, low) }, "betaYx-1 alpha-1 " },
        { { .labels = LIST(red) }, "alpha-1 " }, { { .labels = LIST(one) }, "beta_x-1 " },
            { { .labels = LIST(red, one), .statuses = LIST(failed_sub) }, "gamma-1 " },
        { { .submitted_after_us = 200 }, "beta_x-1 betaYx-1 " }, { { .submitted_before_us = 200 }, "alpha-1 " },
    };
    (void)url;
    st = s;
    WRITE(insert_listed, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct workflow_row *rows = NULL;
        size_t n = 0;
        char got[200] = "";
        CHECK_OK(repo_workflow_list(rd(), &cases[i].f, &rows, &n, &err), &err);
        for (size_t k = 0; k < n; k++) {
            strcat(got, rows[k].id);
            strcat(got, " ");
        }
        CHECK_STR(got, cases[i].want);
        workflow_rows_free(rows, n);
    }
    struct workflow_filter bad = { .statuses = LIST(inject) };
    struct workflow_row *rows;
    size_t n;
    CHECK_INT(repo_workflow_list(rd(), &bad, &rows, &n, &err), OSMO_EUSER);
}
static void filters(void) { fixture_each(filter_body); }

/* ---- groups and tasks ---- */

static int insert_graph(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    struct workflow_row w = sample(1, "graph");
    int rc = repo_workflow_insert(db, &w, e);
    workflow_row_clear(&w);
    struct group_row g[3] = { { .name = S("first"), .spec_json = S("{\"n\":1}"), .ordinal = 0,
                                .sm = { .status = STATUS_WAITING, .total = 2 } },
                              { .name = S("second"), .spec_json = S("{\"n\":2}"), .ordinal = 1,
                                .sm = { .status = STATUS_WAITING, .remaining_upstream = 1 } },
                              { .name = S("third"), .ordinal = 2, .sm = { .status = STATUS_WAITING } } };
    struct task_row t[4] = { { .name = S("lead"), .ordinal = 0, .sm = { .status = STATUS_RESCHEDULED,
        .lead = true, .exit_code = EXIT_CODE_NONE } },
                             { .name = S("lead"), .ordinal = 0, .sm = { .status = STATUS_RUNNING, .lead = true,
                                 .retry_id = 1, .exit_code = EXIT_CODE_NONE },
                               .node_name = S("n1"), .pod_name = S("pod-lead-1") },
                             { .name = S("side"), .ordinal = 1, .cpu = 0.5, .gpu = 2, .memory_gib = 1.25,
                               .storage_gib = 3, .exit_actions_json = S("{\"a\":1}"),
                               .sm = { .status = STATUS_COMPLETED, .exit_code = 3 }, .node_name = S("n1"),
                                   .pod_name = S("pod-side") },
                             { .name = S("solo"), .ordinal = 0, .sm = { .status = STATUS_WAITING } } };
    for (int i = 0; i < 3; i++) {
        uuid_of(g[i].uuid, 3, i);
        uuid_of(g[i].workflow_uuid, 1, 1);
    }
    for (int i = 0; i < 4; i++) {
        uuid_of(t[i].key, 5, i);
        uuid_of(t[i].uuid, 4, i == 1 ? 0 : i);
        uuid_of(t[i].workflow_uuid, 1, 1);
        uuid_of(t[i].group_uuid, 3, i == 3 ? 1 : 0);
    }
    const char *edges[2][2] = { { g[0].uuid, g[1].uuid }, { g[0].uuid, g[2].uuid } };
    if (rc == 0)
        rc = repo_groups_insert(db, g, 3, e);
    if (rc == 0)
        rc = repo_edges_insert(db, g[0].workflow_uuid, (const char *const (*)[2])edges, 2, e);
    return rc == 0 ? repo_tasks_insert(db, t, 4, e) : rc;
}

static int update_graph(db_t *db, void *ctx, osmo_error_t *e) {
    struct group_row g;
    struct task_row t;
    (void)ctx;
    int rc = repo_group_get(db, uu(3, 0), &g, e);
    if (rc < 0)
        return rc;
    g.sm = (struct sm_group){ STATUS_RUNNING, true, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    g.cleaned_up = true;
    g.exec_generation = 16;
    g.queue_generation = 17;
    rc = repo_group_update(db, &g, e);
    group_row_clear(&g);
    if (rc == 0)
        rc = repo_task_metric(db, uu(1, 1), "lead", 1, "input_download", 21, 22, e);
    if (rc == 0)
        rc = repo_task_get(db, uu(1, 1), uu(4, 0), 1, &t, e);
    if (rc < 0)
        return rc;
    t.sm = (struct sm_task){ STATUS_FAILED, true, 1, 137, 31, 32, 33, 34 };
    t.pod_ip = str_dup("10.0.0.1");
    t.heartbeat_us = 35;
    rc = repo_task_update(db, &t, e);
    task_row_clear(&t);
    return rc == 0 ? repo_task_metric(db, uu(1, 1), "lead", 1, "output_upload", 23, 24, e) : rc;
}

static int bad_metric(db_t *db, void *ctx, osmo_error_t *e) {
    return repo_task_metric(db, uu(1, 1), "lead", ctx ? 9 : 1, ctx ? "input_download" : "nonsense", 1, 2, e);
}

#define COUNT_TASKS(call, want) do { struct task_row *rows_ = NULL; size_t n_ = 0; CHECK_OK(call, &err); \
                                     CHECK_INT(n_, want); task_rows_free(rows_, n_); } while (0)

static void graph_body(store_t *s, const char *url) {
    struct group_row *g, one_group;
    struct task_row t;
    size_t n;
    strlist_t names = { 0 };
    (void)url;
    st = s;
    WRITE(insert_graph, NULL);
    CHECK_OK(repo_groups_of(rd(), uu(1, 1), false, &g, &n, &err), &err);
    CHECK(n == 3 && !g[0].spec_json && str_eq(g[1].name, "second") && g[1].sm.remaining_upstream == 1);
    group_rows_free(g, n);
    CHECK_OK(repo_groups_of(rd(), uu(1, 1), true, &g, &n, &err), &err);
    CHECK(n == 3 && str_eq(g[1].spec_json, "{\"n\":2}") && !g[2].spec_json);
    group_rows_free(g, n);
    CHECK_OK(repo_edges_of(rd(), uu(1, 1), &names, &err), &err);
    CHECK(names.len == 4 && str_eq(names.items[0], "first") && str_eq(names.items[1], "second") &&
          str_eq(names.items[3], "third"));
    strlist_free(&names);
    struct group_place places[4];
    CHECK_OK(repo_downstream_after(rd(), uu(3, 0), -1, 4, places, &n, &err), &err);
    CHECK(n == 2 && str_eq(places[0].uuid, uu(3, 1)));
    CHECK_OK(repo_downstream_after(rd(), uu(3, 0), -1, 1, places, &n, &err), &err);
    CHECK(n == 1 && str_eq(places[0].uuid, uu(3, 1)));
    CHECK_OK(repo_downstream_after(rd(), uu(3, 0), places[0].ordinal, 4, places, &n, &err), &err);
    CHECK_INT(n, 1);
    CHECK_OK(repo_groups_after(rd(), uu(1, 1), -1, 2, &g, &n, &err), &err);
    CHECK(n == 2 && g[0].ordinal == 0 && !g[0].spec_json);
    group_rows_free(g, n);
    COUNT_TASKS(repo_tasks_of_workflow(rd(), uu(1, 1), true, &rows_, &n_, &err), 4);
    COUNT_TASKS(repo_tasks_of_workflow(rd(), uu(1, 1), false, &rows_, &n_, &err), 3);
    COUNT_TASKS(repo_tasks_of_group(rd(), uu(3, 0), true, &rows_, &n_, &err), 3);
    COUNT_TASKS(repo_tasks_of_group(rd(), uu(3, 0), false, &rows_, &n_, &err), 2);
    COUNT_TASKS(repo_tasks_by_pod(rd(), "pod-side", &rows_, &n_, &err), 1);
    COUNT_TASKS(repo_tasks_by_node(rd(), "east", "n1", &rows_, &n_, &err), 1);
    COUNT_TASKS(repo_tasks_by_node(rd(), "west", "n1", &rows_, &n_, &err), 0);
    CHECK_OK(repo_task_by_name(rd(), uu(1, 1), "side", -1, &t, &err), &err);
    CHECK(t.cpu == 0.5 && t.gpu == 2 && t.memory_gib == 1.25 && t.storage_gib == 3 && t.sm.exit_code == 3 &&
          !t.sm.lead);
    CHECK_STR(t.group_name, "first");
    CHECK_STR(t.exit_actions_json, "{\"a\":1}");
    task_row_clear(&t);
    CHECK_OK(repo_task_by_name(rd(), uu(1, 1), "lead", 0, &t, &err), &err);
    CHECK(t.sm.status == STATUS_RESCHEDULED && t.sm.lead && t.sm.exit_code == EXIT_CODE_NONE);
    task_row_clear(&t);
    WRITE(update_graph, NULL);
    CHECK_OK(repo_task_by_name(rd(), uu(1, 1), "lead", -1, &t, &err), &err);
    CHECK(t.sm.status == STATUS_FAILED && t.sm.retry_id == 1 && t.sm.exit_code == 137 &&
          t.sm.scheduling_us == 31 && t.sm.initializing_us == 32 &&
          t.sm.start_us == 33 && t.sm.end_us == 34 && t.heartbeat_us == 35 && t.input_download_start_us ==
              21 && t.input_download_end_us == 22 &&
          t.output_upload_start_us == 23 && t.output_upload_end_us == 24);
    CHECK_STR(t.pod_ip, "10.0.0.1");
    task_row_clear(&t);
    CHECK_OK(repo_group_get(rd(), uu(3, 0), &one_group, &err), &err);
    CHECK(one_group.sm.status == STATUS_RUNNING && one_group.sm.ignore_nonlead_status &&
          one_group.sm.total == 1 && one_group.sm.unfinished == 2 &&
          one_group.sm.running == 3 && one_group.sm.finished_or_rescheduled == 4 && one_group.sm.failed_upstream == 5 &&
          one_group.sm.failed_server_error == 6 && one_group.sm.failed_preempted == 7 &&
              one_group.sm.considered_evicted == 8 &&
          one_group.sm.considered_failed == 9 && one_group.sm.remaining_upstream == 10 &&
              one_group.sm.processing_us == 11 &&
          one_group.sm.scheduling_us == 12 && one_group.sm.initializing_us == 13 && one_group.sm.start_us ==
              14 && one_group.sm.end_us == 15 &&
          one_group.cleaned_up && one_group.exec_generation == 16 && one_group.queue_generation == 17);
    CHECK_STR(one_group.spec_json, "{\"n\":1}");
    group_row_clear(&one_group);
    CHECK_INT(repo_task_get(rd(), uu(1, 2), uu(4, 0), 1, &t, &err), OSMO_ENOTFOUND);
    CHECK_INT(repo_task_by_name(rd(), uu(1, 1), "nobody", -1, &t, &err), OSMO_ENOTFOUND);
    CHECK_INT(store_write(st, "k", bad_metric, NULL, &err), OSMO_EINVAL);
    CHECK_INT(store_write(st, "k", bad_metric, &n, &err), OSMO_ENOTFOUND);
}
static void graph(void) { fixture_each(graph_body); }

static int insert_many(db_t *db, void *ctx, osmo_error_t *e) {
    size_t n = *(size_t *)ctx;
    struct task_row *t = calloc(n, sizeof(*t));
    if (!t)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        uuid_of(t[i].key, 7, (int)i);
        uuid_of(t[i].uuid, 8, (int)i);
        uuid_of(t[i].workflow_uuid, 1, 1);
        uuid_of(t[i].group_uuid, 3, 2);
        t[i].name = str_printf("t%zu", i);
        t[i].ordinal = (int64_t)i;
        t[i].sm.status = STATUS_WAITING;
    }
    int rc = repo_tasks_insert(db, t, n, e);
    task_rows_free(t, n);
    return rc;
}

static void bulk_body(store_t *s, const char *url) {
    size_t n = 20001;
    (void)url;
    st = s;
    WRITE(insert_graph, NULL);
    WRITE(insert_many, &n);
    COUNT_TASKS(repo_tasks_of_group(rd(), uu(3, 2), false, &rows_, &n_, &err), n);
}
static void bulk(void) { fixture_each(bulk_body); }

/* ---- files ---- */

static int put_file(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = repo_file_put(db, uu(1, 1), "spec.yaml", "old", 3, e);
    return rc == 0 ? repo_file_put(db, uu(1, 1), "spec.yaml", ctx, 5, e) : rc;
}
static void file_body(store_t *s, const char *url) {
    char *content;
    size_t len;
    static char bytes[] = "a\0b\xffz";
    (void)url;
    st = s;
    WRITE(insert_graph, NULL);
    WRITE(put_file, bytes);
    CHECK_OK(repo_file_get(rd(), uu(1, 1), "spec.yaml", &content, &len, &err), &err);
    CHECK(len == 5 && memcmp(content, bytes, 6) == 0);
    free(content);
    CHECK_INT(repo_file_get(rd(), uu(1, 1), "other", &content, &len, &err), OSMO_ENOTFOUND);
}
static void files(void) { fixture_each(file_body); }

/* ---- work ---- */

struct claim { const char *backend, *owner; int64_t now; size_t limit; char got[200]; int64_t ids[16];
               int64_t attempts; };
static int add_work(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    int rc = repo_work_add(db, "create", "g1", uu(1, 1), "east", 5, "{}", 100, e);
    rc = rc ? rc : repo_work_add(db, "create", "g2", uu(1, 1), "east", 1, "{\"p\":2}", 100, e);
    rc = rc ? rc : repo_work_add(db, "create", "g3", uu(1, 1), "east", 5, NULL, 900, e);
    rc = rc ? rc : repo_work_add(db, "create", "g4", uu(1, 1), "west", 5, NULL, 0, e);
    rc = rc ? rc : repo_work_add(db, "archive", "w", NULL, NULL, 5, NULL, 0, e);
    rc = rc ? rc : repo_work_add(db, "create", "g1", uu(1, 1), "east", 0, "{\"other\":1}", 0, e); /* stays as it was */
    return rc ? rc : repo_work_add(db, "cleanup", "g1", uu(1, 1), "east", 5, NULL, 100, e);
}
static int claim_work(db_t *db, void *ctx, osmo_error_t *e) {
    struct claim *c = ctx;
    struct work_row *rows;
    size_t n;
    c->got[0] = '\0';
    int rc = repo_work_claim(db, c->backend, c->owner, c->now, 50, c->limit, &rows, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        strcat(strcat(strcat(c->got, rows[i].kind), ":"), rows[i].key);
        strcat(c->got, rows[i].backend ? " " : "* ");
        c->ids[i] = rows[i].id;
        c->attempts = rows[i].attempts;
        CHECK_INT(rows[i].lease_until_us, c->now + 50);
        CHECK_STR(rows[i].owner, c->owner);
    }
    work_rows_free(rows, rc == 0 ? n : 0);
    return rc;
}
#define CLAIM(be, ow, at, lim, want) do { c = (struct claim){ .backend = be, .owner = "r/" ow, .now = at, \
                                                              .limit = lim }; WRITE(claim_work, &c); \
                                                              CHECK_STR(c.got, want); } while (0)

static int retry_work(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_retry(db, *(int64_t *)ctx, 700,
    "no luck", e); }
static int kill_work(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_kill(db, *(int64_t *)ctx, "gave up", e); }
static int renew_work(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_renew(db, ctx, 5000, e); }
static int revive_work(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    return repo_work_add(db, "create", "g1", uu(1, 1), "east", 5, "{\"force\":true}", 6000, e);
}
static int postpone_work(db_t *db, void *ctx, osmo_error_t *e) {
    return repo_work_postpone(db, *(int64_t *)ctx, 7000, e);
}
static int done_work(db_t *db, void *ctx, osmo_error_t *e) { return repo_work_done(db, *(int64_t *)ctx, e); }
static int release_work(db_t *db, void *ctx, osmo_error_t *e) {
    int64_t left = -1;
    int rc = repo_work_release(db, ctx, &left, e);
    CHECK_INT(left, 0);
    return rc;
}

static int64_t next_due(int64_t now) {
    int64_t due = -1;
    CHECK_OK(repo_work_next_due(rd(), now, &due, &err), &err);
    return due;
}

static void work_body(store_t *s, const char *url) {
    struct claim c;
    int64_t id;
    (void)url;
    st = s;
    CHECK_INT(next_due(0), 0);
    WRITE(add_work, NULL);
    CLAIM("east", "a", 99, 9, "");
    CHECK_INT(next_due(99), 100);
    CHECK_INT(next_due(100), 900);
    CLAIM("east", "a", 100, 2, "create:g2 create:g1 "); /* by priority, then age */
    CLAIM("east", "b", 100, 9, "cleanup:g1 ");
    CLAIM("east", "c", 149, 9, "");
    CHECK_INT(next_due(100), 150);
    CLAIM(NULL, "w", 100, 9, "archive:w* ");
    id = c.ids[0];
    WRITE(done_work, &id);
    CHECK_INT(store_write(st, "k", done_work, &id, &err), OSMO_ENOTFOUND);
    CLAIM(NULL, "w", 500, 9, "");
    CLAIM("east", "c", 150, 9, "create:g2 create:g1 cleanup:g1 "); /* leases ran out */
    CHECK_INT(c.attempts, 0);
    WRITE(retry_work, &c.ids[0]);
    WRITE(kill_work, &c.ids[1]);
    WRITE(release_work, S("r/c"));
    CLAIM("east", "d", 160, 9, "cleanup:g1 ");
    CHECK_INT(c.attempts, 0);
    CLAIM("east", "e", 700, 9, "create:g2 cleanup:g1 ");
    CLAIM("east", "f", 2000, 1, "create:g2 ");
    CHECK_INT(c.attempts, 1);
    CLAIM("west", "f", 2000, 9, "create:g4 ");
    WRITE(renew_work, S("r/f"));
    CLAIM("west", "g", 4999, 9, "");
    CLAIM("west", "g", 5000, 9, "create:g4 ");
    WRITE(revive_work, NULL); /* a dead letter that is wanted again */
    CLAIM("east", "h", 5999, 9, "create:g2 create:g3 cleanup:g1 ");
    CLAIM("east", "i", 6000, 9, "create:g1 ");
    CHECK_INT(c.attempts, 0);
    WRITE(postpone_work, &c.ids[0]);
    CLAIM("east", "j", 6999, 9, "create:g2 create:g3 cleanup:g1 ");
    CLAIM("east", "k", 7000, 9, "create:g1 ");
    CHECK_INT(c.attempts, 0);
}
static void work(void) { fixture_each(work_body); }

static int add_hundred(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc == 0 && i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        rc = repo_work_add(db, "k", key, NULL, "be", 0, NULL, 0, e);
    }
    return rc;
}
struct claimer { char owner[16]; size_t got; };
static int claim_some(db_t *db, void *ctx, osmo_error_t *e) {
    struct claimer *c = ctx;
    struct work_row *rows;
    int rc = repo_work_claim(db, "be", c->owner, 10, 1000, 3, &rows, &c->got, e);
    work_rows_free(rows, c->got);
    return rc;
}
static void *claim_all(void *arg) {
    struct claimer *c = arg;
    osmo_error_t e = OSMO_ERROR_INIT;
    size_t total = 0;
    while (store_write(st, NULL, claim_some, c, &e) == 0 && c->got)
        total += c->got;
    return (void *)total;
}
static void claimers_body(store_t *s, const char *url) {
    struct claimer c[6];
    pthread_t t[6];
    size_t total = 0;
    (void)url;
    st = s;
    WRITE(add_hundred, NULL);
    for (int i = 0; i < 6; i++) {
        snprintf(c[i].owner, sizeof(c[i].owner), "o%d", i);
        REQUIRE(pthread_create(&t[i], NULL, claim_all, &c[i]) == 0);
    }
    for (int i = 0; i < 6; i++) {
        void *n;
        pthread_join(t[i], &n);
        total += (size_t)n;
    }
    CHECK_INT(total, 100); /* each once */
}
static void claimers(void) { fixture_each(claimers_body); }

/* ---- timers ---- */

static int set_timers(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    int rc = repo_timer_set(db, "exec", uu(1, 1), "g1", 1, 500, e);
    rc = rc ? rc : repo_timer_set(db, "queue", uu(1, 1), "g1", 1, 300, e);
    return rc ? rc : repo_timer_set(db, "exec", uu(1, 2), "g2", 1, 400, e);
}
static int reset_timer(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    return repo_timer_set(db, "queue", uu(1, 1), "g1", 2, 600, e);
}
static bool timer_taken;
static int delete_timer(db_t *db, void *ctx, osmo_error_t *e) { return repo_timer_take(db, *(int64_t *)ctx, &timer_taken, e); }
static int delete_timers(db_t *db, void *ctx, osmo_error_t *e) { return repo_timers_of_workflow_delete(db, ctx, e); }
static int64_t next_timer(void) {
    int64_t due = -1;
    CHECK_OK(repo_timer_next(rd(), &due, &err), &err);
    return due;
}
static void timer_body(store_t *s, const char *url) {
    struct timer_row *rows;
    size_t n;
    char wf[33];
    (void)url;
    st = s;
    CHECK_INT(next_timer(), 0);
    WRITE(set_timers, NULL);
    CHECK_INT(next_timer(), 300);
    CHECK_OK(repo_timer_due(rd(), 400, 10, &rows, &n, &err), &err);
    CHECK(n == 2 && str_eq(rows[0].kind, "queue") && str_eq(rows[1].subject, "g2") && rows[0].generation == 1);
    int64_t old = n ? rows[0].id : 0;
    timer_rows_free(rows, n);
    WRITE(reset_timer, NULL);
    WRITE(delete_timer, &old); /* a late delete of the replaced one leaves the new one alone */
    CHECK_OK(repo_timer_due(rd(), 1000, 10, &rows, &n, &err), &err);
    CHECK(n == 3 && rows[2].generation == 2 && rows[2].due_us == 600);
    timer_rows_free(rows, n);
    uuid_of(wf, 1, 1);
    WRITE(delete_timers, wf);
    CHECK_INT(next_timer(), 400);
}
static void timers(void) { fixture_each(timer_body); }

/* ---- the rest ---- */

static int backend_steps(db_t *db, void *ctx, osmo_error_t *e) {
    struct backend_row b = { .name = S("east"), .k8s_uid = S(ctx ? "other" : "uid"), .k8s_namespace = S("ns"),
                             .version = S(ctx ? "2" : "1"), .heartbeat_us = 5, .created_us = ctx ? 9 : 4 };
    return repo_backend_upsert(db, &b, e);
}
static int node_steps(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    struct node_row n = { .name = S("n1"), .backend = S("east"), .available = true,
                          .allocatable_json = S("{\"cpu\":8}"), .labels_json = S("{}") };
    strlist_t keep = LIST(S("n1"), S("n3"));
    int rc = repo_node_usage(db, "east", "n1", "{}", "{\"cpu\":3}", e); /* before the node itself */
    rc = rc ? rc : repo_node_upsert(db, &n, e);
    rc = rc ? rc : repo_node_usage(db, "east", "n1", "{\"cpu\":1}", "{\"cpu\":2}", e);
    n.available = false;
    rc = rc ? rc : repo_node_upsert(db, &n, e); /* usage stays */
    n.name = S("n2");
    rc = rc ? rc : repo_node_upsert(db, &n, e);
    n.backend = S("west");
    rc = rc ? rc : repo_node_upsert(db, &n, e);
    return rc ? rc : repo_nodes_keep(db, "east", &keep, e);
}
static void cluster_body(store_t *s, const char *url) {
    struct backend_row b, *list;
    struct node_row *nodes;
    size_t n;
    (void)url;
    st = s;
    WRITE(backend_steps, NULL);
    WRITE(backend_steps, NULL);
    CHECK_INT(store_write(st, "k", backend_steps, &n, &err), OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, "east");
    CHECK_OK(repo_backend_get(rd(), "east", &b, &err), &err);
    CHECK(b.created_us == 4 && str_eq(b.version, "1"));
    backend_row_clear(&b);
    CHECK_OK(repo_backend_list(rd(), &list, &n, &err), &err);
    CHECK_INT(n, 1);
    backend_rows_free(list, n);
    WRITE(node_steps, NULL);
    CHECK_OK(repo_node_list(rd(), "east", &nodes, &n, &err), &err);
    CHECK(n == 1 && !nodes[0].available && str_eq(nodes[0].usage_json, "{\"cpu\":1}") &&
          str_eq(nodes[0].foreign_usage_json, "{\"cpu\":2}"));
    node_rows_free(nodes, n);
    CHECK_OK(repo_node_list(rd(), NULL, &nodes, &n, &err), &err);
    CHECK_INT(n, 2);
    node_rows_free(nodes, n);
}
static void cluster(void) { fixture_each(cluster_body); }

static int event_steps(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    int rc = repo_event_add(db, uu(1, 1), "a", 0, 10, "one", e);
    rc = rc ? rc : repo_event_add(db, uu(1, 1), "b", 1, 10, "two \xff", e);
    rc = rc ? rc : repo_event_add(db, uu(1, 2), "a", 0, 10, "other", e);
    rc = rc ? rc : repo_history_add(db, uu(1, 1), "workflow", STATUS_NONE, STATUS_PENDING, NULL, 5, e);
    rc = rc ? rc : repo_barrier_join(db, uu(3, 1), "ready", "b", e);
    rc = rc ? rc : repo_barrier_join(db, uu(3, 1), "ready", "a", e);
    return rc ? rc : repo_barrier_join(db, uu(3, 1), "ready", "a", e);
}
static int barrier_leave(db_t *db, void *ctx, osmo_error_t *e) {
    int64_t left = -1;
    int rc = ctx ? repo_barrier_clear(db, uu(3, 1), e) : repo_barrier_leave(db, uu(3, 1), "a", &left, e);
    CHECK_INT(left, ctx ? -1 : 1);
    return rc;
}
static size_t members(void) {
    strlist_t l = { 0 };
    int64_t count = -1;
    CHECK_OK(repo_barrier_count(rd(), uu(3, 1), "ready", &count, &err), &err);
    CHECK_OK(repo_barrier_members(rd(), uu(3, 1), "ready", &l, &err), &err);
    size_t n = l.len;
    CHECK_INT(count, n);
    strlist_free(&l);
    return n;
}
static int event_once(db_t *db, void *ctx, osmo_error_t *e) {
    static const struct { const char *text; int64_t max; bool added; } cases[] = {
        { "one", 9, false }, { "three", 1, false }, { "three", 9, true }, { "three", 9, false },
    };
    (void)ctx;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool added = !cases[i].added;
        int rc = repo_event_add_once(db, uu(1, 1), "a", 0, 10, cases[i].text, cases[i].max, &added, e);
        if (rc < 0)
            return rc;
        CHECK_INT(added, cases[i].added);
    }
    return 0;
}
static void event_body(store_t *s, const char *url) {
    strlist_t l = { 0 };
    int64_t last, after;
    (void)url;
    st = s;
    WRITE(event_steps, NULL);
    CHECK_OK(repo_event_list(rd(), uu(1, 1), NULL, -1, 0, &l, &last, &err), &err);
    CHECK(l.len == 2 && str_eq(l.items[0], "one") && str_eq(l.items[1], "two \xef\xbf\xbd") && last > 0);
    strlist_free(&l);
    CHECK_OK(repo_event_list(rd(), uu(1, 1), "b", 1, 0, &l, &after, &err), &err);
    CHECK(l.len == 1 && after == last);
    strlist_free(&l);
    CHECK_OK(repo_event_list(rd(), uu(1, 1), NULL, -1, last, &l, &after, &err), &err);
    CHECK(l.len == 0 && after == last);
    WRITE(event_once, NULL);
    CHECK_OK(repo_event_list(rd(), uu(1, 1), "a", 0, last, &l, &after, &err), &err);
    CHECK(l.len == 1 && str_eq(l.items[0], "three"));
    strlist_free(&l);
    CHECK_INT(members(), 2);
    WRITE(barrier_leave, NULL);
    CHECK_INT(members(), 1);
    WRITE(barrier_leave, &last);
    CHECK_INT(members(), 0);
}
static void events(void) { fixture_each(event_body); }

static int identity_steps(db_t *db, void *ctx, osmo_error_t *e) {
    struct profile_row p = { .email_notification = true, .pool = S("robots") };
    (void)ctx;
    int rc = repo_kv_set_if_absent(db, "k", "1", e);
    rc = rc ? rc : repo_kv_set_if_absent(db, "k", "2", e);
    rc = rc ? rc : repo_kv_set(db, "m", "1", e);
    rc = rc ? rc : repo_kv_set(db, "m", "2", e);
    return rc ? rc : repo_profile_set(db, "ann", &p, e);
}
static void identity_body(store_t *s, const char *url) {
    char *v;
    struct profile_row p;
    (void)url;
    st = s;
    WRITE(identity_steps, NULL);
    CHECK_OK(repo_kv_get(rd(), "k", &v, &err), &err);
    CHECK_STR(v, "1");
    free(v);
    CHECK_OK(repo_kv_get(rd(), "m", &v, &err), &err);
    CHECK_STR(v, "2");
    free(v);
    CHECK_INT(repo_kv_get(rd(), "none", &v, &err), OSMO_ENOTFOUND);
    CHECK_OK(repo_profile_get(rd(), "ann", &p, &err), &err);
    CHECK(p.email_notification && !p.slack_notification && str_eq(p.pool, "robots"));
    free(p.pool);
    CHECK_OK(repo_profile_get(rd(), "nobody", &p, &err), &err);
    CHECK(!p.email_notification && !p.slack_notification && !p.pool);
}
static void identity(void) { fixture_each(identity_body); }

static const struct check_test tests[] = {
    { "workflows", workflows }, { "numbers under concurrency", numbers }, { "filters", filters },
        { "groups and tasks", graph }, { "bulk insert", bulk },
    { "files", files }, { "work", work }, { "claimers", claimers }, { "timers", timers },
        { "backends and nodes", cluster }, { "events", events },
    { "identity", identity },
};
TEST_MAIN("repo", tests)
