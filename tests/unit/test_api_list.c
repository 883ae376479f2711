/* The lists of workflows, tasks and submitters: every filter against a plain model of it on both databases, the plans of
 * the usual queries, label selectors, the migration that made the indexes, and the routes. */
#include "pgsql_fixture.h"
#include "service_fixture.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "model/label_selector.h"
#include "store/repo_tags.h"

static store_t *st;
static osmo_error_t err;

static db_t *reader(void) {
    db_t *db = NULL;
    CHECK_INT(store_reader(st, &db, &err), 0);
    return db;
}

/* ---- selectors ---- */

static void selectors(void) {
    static const struct { const char *text, *want; } good[] = {
        { "team=red", "team=red" }, { "a.b/c=1", "a.b/c=1" }, { "team=*", "team=*" }, { "team=r*d", "team=r*d" },
        { "team=(red|blue)", "team=red|blue" }, { "team=x-(1|2)-(a|b)", "team=x-1-a|x-1-b|x-2-a|x-2-b" },
        { "team=(a|b*)", "team=a|b*" }, { "team=(a|a)", "team=a" },
        { "k=(1|2)(1|2)(1|2)(1|2)(1|2)", "k=11111|11112|11121|11122|11211|11212|11221|11222|12111|12112|12121|12122|12211|"
          "12212|12221|12222|21111|21112|21121|21122|21211|21212|21221|21222|22111|22112|22121|22122|22211|22212|22221|"
          "22222" },
    };
    static const struct { const char *text, *why; } bad[] = {
        { "team", "key=value" }, { "=red", "label key" }, { "-x=red", "label key" }, { "team=", "1 to 63" },
        { "team=re d", "1 to 63" }, { "team=-red", "1 to 63" }, { "team=(a|b", "no ')'" }, { "team=(a|(b|c))", "nested" },
        { "team=(a)", "two or more" }, { "team=(a|)", "empty" }, { "team=a|b", "outside" }, { "team=a)", "outside" },
        { "k=(1|2)(1|2)(1|2)(1|2)(1|2)(1|2)", "more than 32" }, { "team=a?", "1 to 63" }, { "team=[ab]", "1 to 63" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        strlist_t out = { 0 };
        CHECK_INT(label_selector_expand(good[i].text, &out, &err), 0);
        CHECK_STR(out.len ? out.items[0] : NULL, good[i].want);
        strlist_free(&out);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        strlist_t out = { 0 };
        CHECK_INT(label_selector_expand(bad[i].text, &out, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, bad[i].why);
        CHECK_INT(out.len, 0);
        strlist_free(&out);
    }
    char *big = malloc(5000);
    memset(big, 'a', 4999);
    big[4999] = '\0';
    big[1] = '=';
    strlist_t out = { 0 };
    CHECK_INT(label_selector_expand(big, &out, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "4096");
    strlist_free(&out);
    free(big);
}

/* ---- the model ---- */

/* More than a small set of one user, pool and label, so that every path is taken. */
#define WORKFLOWS 2700
#define TASKS 2

struct wf {
    char id[32], uuid[33], user[16], pool[16], team[16];
    const char *priority;
    enum status status;
    int64_t submit_us;
};
struct task { const struct wf *w; char name[8]; enum status status; int64_t start_us; const char *node; };
static struct wf model[WORKFLOWS];
static struct task tasks[WORKFLOWS * TASKS];
static uint64_t state;

static unsigned chance(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

static void make_model(void) {
    static const enum status finished[] = { STATUS_COMPLETED, STATUS_FAILED, STATUS_FAILED_CANCELED,
                                            STATUS_FAILED_SUBMISSION, STATUS_FAILED_IMAGE_PULL };
    static const enum status live[] = { STATUS_PENDING, STATUS_RUNNING, STATUS_WAITING };
    static const enum status task_live[] = { STATUS_WAITING, STATUS_PROCESSING, STATUS_SCHEDULING, STATUS_INITIALIZING,
                                             STATUS_RUNNING, STATUS_COMPLETED };
    static const enum status task_done[] = { STATUS_COMPLETED, STATUS_FAILED, STATUS_FAILED_UPSTREAM, STATUS_RESCHEDULED };
    static const char *const priorities[] = { "HIGH", "NORMAL", "LOW" };
    static const char *const nodes[] = { "n1", "n2", NULL };
    state = 42;
    for (int i = 0; i < WORKFLOWS; i++) {
        struct wf *w = &model[i];
        bool busy = chance(10) < 8;
        snprintf(w->id, sizeof w->id, "%s-%d", i % 2 ? "beta_x" : "alpha", i / 2 + 1);
        snprintf(w->uuid, sizeof w->uuid, "%032x", i + 1);
        snprintf(w->user, sizeof w->user, "u%u@x", busy ? 0 : 1 + chance(8));
        snprintf(w->pool, sizeof w->pool, "p%u", busy ? 0 : chance(4));
        snprintf(w->team, sizeof w->team, "%s%u", busy ? "red-" : "blue.", busy ? 1 : chance(3));
        w->priority = priorities[chance(3)];
        w->status = chance(10) ? finished[chance(5)] : live[chance(3)];
        w->submit_us = 1000 + (i - i % 3) * 10; /* three at a time */
        bool alive = !status_is_workflow_finished(w->status);
        for (int k = 0; k < TASKS; k++) {
            struct task *t = &tasks[i * TASKS + k];
            t->w = w;
            snprintf(t->name, sizeof t->name, "t%d", k);
            t->status = alive ? task_live[chance(6)] : task_done[chance(4)];
            bool started = t->status >= STATUS_RUNNING && t->status != STATUS_FAILED_UPSTREAM && chance(8);
            t->start_us = started ? w->submit_us + 5 + chance(200) : 0;
            t->node = started ? nodes[chance(3)] : NULL;
        }
    }
}

static bool has_tag(int i, const char *tag) { return i % (tag[0] == 'n' ? 1 : 97) == 0; }
#define LIST(...) { .items = (char *[]){ __VA_ARGS__ }, .len = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) }

static int insert_one(db_t *db, int i, osmo_error_t *e) {
    struct wf *m = &model[i];
    _cleanup_free_ char *labels = i % 5 == 4 ? str_dup("{}") : str_printf("{\"team\":\"%s\"%s}", m->team,
                                                                          i % 100 == 3 ? ",\"golden\":\"yes\"" : "");
    struct workflow_row w = { .name = (char *)(i % 2 ? "beta_x" : "alpha"), .user = m->user, .pool = m->pool,
                              .priority = (char *)m->priority, .labels_json = labels, .submit_us = m->submit_us,
                              .sm = { .status = m->status } };
    struct task_row rows[TASKS] = { 0 };
    memcpy(w.uuid, m->uuid, 33);
    int rc = repo_workflow_insert(db, &w, e);
    CHECK_STR(w.id, m->id);
    free(w.id);
    for (int k = 0; k < TASKS; k++) {
        const struct task *t = &tasks[i * TASKS + k];
        snprintf(rows[k].key, 33, "%030x%02x", i, k);
        memcpy(rows[k].uuid, rows[k].key, 33);
        memcpy(rows[k].workflow_uuid, m->uuid, 33);
        memcpy(rows[k].group_uuid, m->uuid, 33);
        rows[k].name = (char *)t->name;
        rows[k].node_name = (char *)t->node;
        rows[k].cpu = 2;
        rows[k].gpu = k;
        rows[k].sm = (struct sm_task){ .status = t->status, .start_us = t->start_us };
    }
    if (rc >= 0 && (has_tag(i, "nightly") || has_tag(i, "rare")))
        rc = repo_tags_change(db, m->uuid,
                              &(strlist_t)LIST((char *)(has_tag(i, "nightly") ? "nightly" : "rare"),
                                               (char *)(has_tag(i, "rare") ? "rare" : "nightly")), &(strlist_t){ 0 }, e);
    return rc < 0 ? rc : repo_tasks_insert(db, rows, TASKS, e);
}

static int insert_model(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = 0;
    (void)ctx;
    for (int i = 0; rc >= 0 && i < WORKFLOWS; i++)
        rc = insert_one(db, i, e);
    return rc;
}

static char u0[] = "u0@x", u1[] = "u1@x", u2[] = "u2@x", u3[] = "u3@x", u4[] = "u4@x", u5[] = "u5@x", nobody[] = "nobody",
    p0[] = "p0", p1[] = "p1", p2[] = "p2", high[] = "HIGH", low[] = "LOW", running[] = "RUNNING", pending[] = "PENDING",
    failed[] = "FAILED", pull[] = "FAILED_IMAGE_PULL", submission[] = "FAILED_SUBMISSION", red[] = "team=red-1",
    either[] = "team=red-1|blue.0|blue.2", blue[] = "team=blue.*", any_team[] = "team=*", golden[] = "golden=yes",
    nightly[] = "nightly", rare[] = "rare", unknown[] = "unknown",
    team_key[] = "team", golden_key[] = "golden", mixed[] = "team=blue.1|re*";

static const struct workflow_filter filters[] = {
    { .users = LIST(u0) }, { .users = LIST(u1) }, { .users = LIST(u1, u1, u2) }, { .users = LIST(nobody) },
    { .users = LIST(u0, u1, u2, u3, u4, u5) }, { .users = LIST(u1, u2, u3, u4, u5) }, { .pools = LIST(p0) },
    { .pools = LIST(p0, p1) }, { .users = LIST(u0), .pools = LIST(p0) }, { .users = LIST(u0), .pools = LIST(p2) },
    { .users = LIST(u3), .pools = LIST(p0, p2) }, { .statuses = LIST(running, pending) }, { .statuses = LIST(submission) },
    { .users = LIST(u0), .statuses = LIST(failed, pull) }, { .pools = LIST(p0), .statuses = LIST(pull) },
    { .priorities = LIST(high) }, { .priorities = LIST(high, low), .users = LIST(u0) },
    { .labels = LIST(red) }, { .labels = LIST(either) }, { .labels = LIST(blue) }, { .labels = LIST(any_team) },
    { .labels = LIST(mixed), .users = LIST(u0, u1) }, { .labels = LIST(golden) }, { .labels = LIST(red, golden) },
    { .labels = LIST(golden), .users = LIST(u0), .pools = LIST(p0) }, { .labels = LIST(red), .users = LIST(u0) },
    { .no_labels = LIST(team_key) }, { .no_labels = LIST(golden_key), .labels = LIST(red) },
    { .name_contains = "a_x-1" }, { .name_contains = "a_x-1234" }, { .name_contains = "zeta" }, { .name_contains = "-12" },
    { .name_contains = "123" }, { .name_contains = "ha-" }, { .name_contains = "alpha-77", .users = LIST(u0) }, { .name_contains = "%" },
    { .submitted_after_us = 9000 }, { .submitted_before_us = 9000, .users = LIST(u0) },
    { .submitted_after_us = 9000, .submitted_before_us = 9600, .labels = LIST(red) },
    { .submitted_after_us = 9000, .submitted_before_us = 12000, .pools = LIST(p0, p1), .users = LIST(u0) }, { .all_users = true },
    { .tags = LIST(nightly) }, { .tags = LIST(rare) }, { .tags = LIST(rare, nightly, rare) }, { .tags = LIST(unknown) },
    { .tags = LIST(nightly), .users = LIST(u0) }, { .tags = LIST(rare, unknown), .labels = LIST(red), .statuses = LIST(failed) },
};

static bool one_of(const strlist_t *l, const char *text) { return !l->len || strlist_has(l, text); }

static bool label_matches(const struct wf *w, const char *selector) {
    int i = (int)(w - model);
    bool has_team = i % 5 != 4, has_golden = has_team && i % 100 == 3;
    if (strncmp(selector, "golden=", 7) == 0)
        return has_golden;
    strlist_t values = { 0 };
    bool found = false;
    CHECK_INT(strlist_split(&values, selector + 5, '|'), 0);
    for (size_t k = 0; k < values.len; k++) {
        size_t n = strcspn(values.items[k], "*");
        found |= values.items[k][n] ? strncmp(values.items[k], w->team, n) == 0 : strcmp(values.items[k], w->team) == 0;
    }
    strlist_free(&values);
    return has_team && found;
}

static bool matches(const struct workflow_filter *f, const struct wf *w) {
    int i = (int)(w - model);
    bool ok = one_of(&f->users, w->user) && one_of(&f->pools, w->pool) && one_of(&f->priorities, w->priority);
    ok = ok && (f->statuses.len ? strlist_has(&f->statuses, status_name(w->status)) : w->status != STATUS_FAILED_SUBMISSION);
    ok = ok && (!f->name_contains || strstr(w->id, f->name_contains));
    ok = ok && w->submit_us >= f->submitted_after_us && (!f->submitted_before_us || w->submit_us < f->submitted_before_us);
    for (size_t k = 0; ok && k < f->labels.len; k++)
        ok = label_matches(w, f->labels.items[k]);
    bool tagged = !f->tags.len;
    for (size_t k = 0; k < f->tags.len; k++)
        tagged |= f->tags.items[k] != unknown && has_tag(i, f->tags.items[k]);
    ok = ok && tagged;
    for (size_t k = 0; ok && k < f->no_labels.len; k++)
        ok = strcmp(f->no_labels.items[k], "team") == 0 ? i % 5 == 4 : !(i % 5 != 4 && i % 100 == 3);
    return ok;
}

static int newest_first(const void *a, const void *b) {
    const struct wf *x = *(const struct wf *const *)a, *y = *(const struct wf *const *)b;
    if (x->submit_us != y->submit_us)
        return x->submit_us < y->submit_us ? 1 : -1;
    return strcmp(y->id, x->id);
}

static void check_page(const struct workflow_filter *f, size_t number) {
    static const struct wf *want[WORKFLOWS];
    struct workflow_row *rows = NULL;
    size_t n = 0, total = 0, bad = 0;
    for (int i = 0; i < WORKFLOWS; i++) {
        if (matches(f, &model[i]))
            want[total++] = &model[i];
    }
    qsort(want, total, sizeof *want, newest_first);
    if (repo_workflow_list(reader(), f, &rows, &n, &err) < 0)
        fprintf(stderr, "filter %zu: %s\n", number, err.text), bad++;
    size_t from = (size_t)f->offset < total ? (size_t)f->offset : total;
    size_t page = total - from < (size_t)f->limit ? total - from : (size_t)f->limit;
    if (n != page)
        fprintf(stderr, "filter %zu: %zu rows, not %zu\n", number, n, page), bad++;
    for (size_t i = 0; i < n && i < page && !bad; i++) {
        const struct wf *w = want[f->ascending ? total - 1 - from - i : from + i];
        if (strcmp(rows[i].id, w->id) != 0)
            fprintf(stderr, "filter %zu row %zu: %s, not %s\n", number, i, rows[i].id, w->id), bad++;
    }
    CHECK_INT(bad, 0);
    workflow_rows_free(rows, n);
}

static void pages_body(store_t *s, const char *url) {
    static const struct { int64_t offset, limit; bool ascending; } spans[] = {
        { 0, 20, false }, { 0, 20, true }, { 17, 5, false }, { 300, 1000, true }, { 0, 5000, false } };
    (void)url;
    st = s;
    make_model();
    REQUIRE(store_write(st, "k", insert_model, NULL, &err) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(spans); k++) {
            struct workflow_filter f = filters[i];
            f.offset = spans[k].offset;
            f.limit = spans[k].limit;
            f.ascending = spans[k].ascending;
            check_page(&f, i);
        }
    }
}
static void pages(void) { fixture_each(pages_body); }

/* ---- plans ---- */

/* No plan of the embedded database reads the table of workflows, labels or tasks from end to end. */
static void plans(void) {
    _cleanup_free_ char *url = sqlite_fixture_url();
    const struct store_options o = { .url = url };
    REQUIRE(store_open(&o, &st, &err) == 0);
    make_model();
    REQUIRE(store_write(st, "k", insert_model, NULL, &err) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct workflow_filter f = filters[i];
        strlist_t steps = { 0 };
        size_t keys = 0;
        f.limit = 20;
        CHECK_INT(repo_workflow_list_explain(reader(), &f, &steps, &err), 0);
        for (size_t k = 0; k < steps.len; k++) {
            bool scan = str_starts(steps.items[k], "SCAN t") || str_starts(steps.items[k], "SCAN l");
            bool in_order = strstr(steps.items[k], "USING") && strstr(steps.items[k], "workflows_by_time");
            if (scan && !in_order)
                fprintf(stderr, "filter %zu: %s\n", i, steps.items[k]);
            CHECK(!scan || in_order);
            keys += strstr(steps.items[k], "sqlite_autoindex_workflows") != NULL;
        }
        CHECK(keys > 0); /* rows of the page alone are looked up by their id */
        strlist_free(&steps);
    }
    store_close(st);
}

/* ---- tasks ---- */

static int rank(const struct task *t) {
    return t->status == STATUS_SCHEDULING ? 0 : t->status == STATUS_INITIALIZING ? 1 : t->status == STATUS_RUNNING ? 2 : 3;
}

static int task_order(const void *a, const void *b) {
    const struct task *x = *(const struct task *const *)a, *y = *(const struct task *const *)b;
    if (rank(x) != rank(y))
        return rank(x) - rank(y);
    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? 1 : -1;
    if (x->w->submit_us != y->w->submit_us)
        return x->w->submit_us < y->w->submit_us ? 1 : -1;
    return strcmp(y->name, x->name);
}

static bool task_matches(const struct task_filter *f, const struct task *t) {
    return matches(f->workflows, t->w) && one_of(&f->statuses, status_name(t->status)) &&
        (!f->nodes.len || (t->node && strlist_has(&f->nodes, t->node))) &&
        (!t->start_us || t->start_us >= f->started_after_us) &&
        (!f->before_set || (t->start_us && t->start_us < f->started_before_us));
}

static char completed[] = "COMPLETED", scheduling[] = "SCHEDULING", processing[] = "PROCESSING", waiting[] = "WAITING",
    upstream[] = "FAILED_UPSTREAM", rescheduled[] = "RESCHEDULED", n1[] = "n1";
static const struct task_filter task_filters[] = {
    { .limit = 5000 }, { .limit = 40 }, { .limit = 40, .offset = 250 }, { .limit = 40, .offset = 3500 },
    { .statuses = LIST(running, scheduling, processing), .limit = 1000 }, { .statuses = LIST(waiting, processing), .limit = 50 },
    { .statuses = LIST(completed), .limit = 100, .offset = 30 }, { .statuses = LIST(failed), .limit = 5000 },
    { .statuses = LIST(failed, upstream, rescheduled), .limit = 100, .offset = 1200 },
    { .statuses = LIST(upstream), .limit = 70, .offset = 3 }, { .nodes = LIST(n1), .limit = 300 },
    { .started_after_us = 12000, .limit = 5000 }, { .started_before_us = 12000, .before_set = true, .limit = 5000 },
    { .statuses = LIST(pending), .limit = 10 },
};

static void check_tasks(const struct task_filter *f, size_t number) {
    static const struct task *want[WORKFLOWS * TASKS];
    struct task_item *rows = NULL;
    size_t n = 0, total = 0, bad = 0;
    for (int i = 0; i < WORKFLOWS * TASKS; i++) {
        if (task_matches(f, &tasks[i]))
            want[total++] = &tasks[i];
    }
    qsort(want, total, sizeof *want, task_order);
    if (repo_task_list(reader(), f, &rows, &n, &err) < 0)
        fprintf(stderr, "tasks %zu: %s\n", number, err.text), bad++;
    size_t from = (size_t)f->offset < total ? (size_t)f->offset : total;
    size_t page = total - from < (size_t)f->limit ? total - from : (size_t)f->limit;
    if (n != page)
        fprintf(stderr, "tasks %zu: %zu rows, not %zu\n", number, n, page), bad++;
    for (size_t i = 0; i < n && i < page && !bad; i++) { /* those of one time and name come in any order */
        const struct task *t = want[from + i];
        bool same = strcmp(rows[i].name, t->name) == 0 && rows[i].start_us == t->start_us &&
            (rank(t) == 3 || rows[i].status == t->status);
        if (!same)
            fprintf(stderr, "tasks %zu row %zu: %s of %s\n", number, i, rows[i].name, rows[i].workflow_id), bad++;
    }
    CHECK_INT(bad, 0);
    task_items_free(rows, n);
}

static void check_sums(const struct task_filter *f) {
    struct task_sum *sums = NULL;
    size_t n = 0;
    double cpu = 0, gpu = 0, want_cpu = 0, want_gpu = 0;
    for (int i = 0; i < WORKFLOWS * TASKS; i++) {
        want_cpu += task_matches(f, &tasks[i]) ? 2 : 0;
        want_gpu += task_matches(f, &tasks[i]) ? i % TASKS : 0;
    }
    for (int by = 0; by < 2; by++) {
        CHECK_INT(repo_task_sums(reader(), f, by, &sums, &n, &err), 0);
        cpu = gpu = 0;
        for (size_t i = 0; i < n; i++) {
            cpu += sums[i].cpu;
            gpu += sums[i].gpu;
            CHECK((sums[i].workflow_id != NULL) == by);
            CHECK(!i || strcmp(sums[i - 1].user, sums[i].user) <= 0);
        }
        CHECK(cpu == want_cpu && gpu == want_gpu);
        task_sums_free(sums, n);
    }
}

static void tasks_body(store_t *s, const char *url) {
    const struct workflow_filter of[] = { { .all_users = true }, { .users = LIST(u0) }, { .users = LIST(u1) },
        { .users = LIST(u0), .pools = LIST(p0) }, { .pools = LIST(p1, p2) }, { .labels = LIST(golden) },
        { .name_contains = "alpha-7" }, { .priorities = LIST(high) } };
    (void)url;
    st = s;
    make_model();
    REQUIRE(store_write(st, "k", insert_model, NULL, &err) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(task_filters); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(of); k++) {
            struct task_filter f = task_filters[i];
            f.workflows = &of[k];
            check_tasks(&f, i * 100 + k);
            if (i % 4 == 0)
                check_sums(&f);
        }
    }
}
static void task_lists(void) { fixture_each(tasks_body); }

/* ---- migration ---- */

static const char *const undo[] = {
    "DROP TABLE submitters", "DROP TABLE workflow_names", "DROP INDEX workflows_by_time",
    "CREATE INDEX workflows_by_time ON workflows (submit_us, id)",
    "DROP INDEX workflows_by_status", "DROP INDEX workflows_by_user", "DROP INDEX workflows_by_pool",
    "CREATE INDEX workflows_by_status ON workflows (status, submit_us)",
    "CREATE INDEX workflows_by_user ON workflows (user_name, submit_us)",
    "CREATE INDEX workflows_by_pool ON workflows (pool, status, submit_us)", "DROP INDEX workflow_labels_by_value",
    "CREATE INDEX workflow_labels_by_value ON workflow_labels (label_key, label_value, workflow_uuid)",
    "ALTER TABLE workflow_labels DROP COLUMN submit_us", "DROP INDEX tasks_by_start", "DROP INDEX tasks_by_failure",
    "DELETE FROM schema_version WHERE version = 4",
};

static int undo_lists(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = 0;
    (void)ctx;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(undo); i++)
        rc = db_exec(db, undo[i], NULL, 0, NULL, e);
    return rc;
}

static void migrate_one(const char *url) {
    const struct store_options o = { .url = url };
    REQUIRE(store_open(&o, &st, &err) == 0);
    make_model();
    CHECK_INT(store_write(st, "k", insert_model, NULL, &err), 0);
    CHECK_INT(store_write(st, "k", undo_lists, NULL, &err), 0);
    store_close(st);
    st = NULL;
    if (store_open(&o, &st, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    REQUIRE(st != NULL);
    strlist_t users = { 0 };
    CHECK_INT(repo_submitters(reader(), &users, &err), 0);
    CHECK_INT(users.len, 9);
    CHECK_STR(users.len ? users.items[0] : NULL, "u0@x");
    strlist_free(&users);
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct workflow_filter f = filters[i];
        f.limit = 50;
        check_page(&f, i);
    }
    store_close(st);
}

static void migration(void) {
    _cleanup_free_ char *file = sqlite_fixture_url(), *server = pgsql_fixture_url();
    migrate_one(file);
    if (server)
        migrate_one(server);
}

/* ---- routes ---- */

static void check_list(struct fixture *f, const char *path, const char *query, const char *member, size_t want) {
    struct answer a = ask(f, "GET", path, query, NULL, NULL);
    if (a.status != 200 || json_len(json_get(a.json, member)) != want)
        fprintf(stderr, "%s?%s: %s\n", path, query, a.body ? a.body : "");
    CHECK_INT(a.status, 200);
    CHECK_INT(json_len(json_get(a.json, member)), want);
    answer_free(&a);
}

static void tag_routes(struct fixture *f) {
    static const char config[] = "workflow:\n  workflow_info:\n    tags: [gold, silver]\n";
    static char path[128]; /* outlives this call in the options */
    snprintf(path, sizeof path, "%s/osmo.yaml", f->dir);
    REQUIRE(file_write_atomic(path, config, strlen(config), 0600, false, &err) == 0);
    f->options.config_file = path;
    REQUIRE(fixture_reopen(f));
    static const struct { const char *query; int status; const char *part, *tags; } steps[] = {
        { "add=gold&add=silver", 200, "null", "[\"gold\",\"silver\"]" },
        { "add=gold&remove=silver&remove=never", 200, "null", "[\"gold\"]" },
        { "add=lead&remove=gold", 400, "Tag lead is not one", "[\"gold\"]" },
        { "add=silver", 200, "null", "[\"gold\",\"silver\"]" },
        { "add=gold&remove=gold&remove=silver", 200, "null", "[\"gold\"]" },
    };
    struct answer a = ask(f, "GET", "/api/tag", "", NULL, NULL);
    CHECK_STR(a.body, "{\"tags\":[\"gold\",\"silver\"]}");
    answer_free(&a);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        a = ask(f, "POST", "/api/workflow/two-1/tag", steps[i].query, NULL, NULL);
        CHECK_INT(a.status, steps[i].status);
        CHECK_CONTAINS(a.body, steps[i].part);
        answer_free(&a);
        a = ask(f, "GET", "/api/workflow/two-1", "skip_groups=true", NULL, NULL);
        _cleanup_free_ char *tags = json_to_text(json_get(a.json, "tags"));
        CHECK_STR(tags, steps[i].tags);
        answer_free(&a);
    }
    check_list(f, "/api/workflow", "all_users=1&all_pools=1&tags=gold&tags=silver", "workflows", 1);
    a = ask(f, "POST", "/api/workflow/nine-9/tag", "add=gold", NULL, NULL);
    CHECK_INT(a.status, 400);
    answer_free(&a);
}

static void routes(void) {
    static const struct { const char *path, *query; int status; const char *part; } refused[] = {
        { "/api/workflow", "limit=1001&all_pools=1", 400, "limit must be 1000 or less" },
        { "/api/workflow", "users=zed&all_pools=1", 400, "User zed not found" },
        { "/api/workflow", "users=ann&all_pools=1", 400, "User ann is not unique" },
        { "/api/workflow", "label=team%3D(a%7C&all_pools=1", 400, "USAGE" },
        { "/api/workflow", "no_label=-&all_pools=1", 400, "USAGE" },
        { "/api/task", "statuses=GONE&all_pools=1", 422, "enum" },
        { "/api/task", "started_after=x&all_pools=1", 422, "datetime_parsing" },
    };
    struct fixture f;
    struct seed s;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "one", "ann@a", 2, &s));
    CHECK(seed_workflow(&f, "two", "ann@b", 3, &s));
    CHECK(seed_workflow(&f, "three", "bob@a", 1, &s));
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct answer a = ask(&f, "GET", refused[i].path, refused[i].query, NULL, NULL);
        CHECK_INT(a.status, refused[i].status);
        CHECK_CONTAINS(a.body, refused[i].part);
        answer_free(&a);
    }
    check_list(&f, "/api/workflow", "limit=1000&all_users=1&all_pools=1", "workflows", 3);
    check_list(&f, "/api/workflow", "users=bob&all_pools=1", "workflows", 1);
    check_list(&f, "/api/workflow", "users=ann%40a&users=bob&all_pools=1", "workflows", 2);
    check_list(&f, "/api/workflow", "all_users=1&pools=nowhere", "workflows", 0);
    check_list(&f, "/api/workflow", "all_users=1&all_pools=1&no_label=team", "workflows", 3);
    check_list(&f, "/api/workflow", "all_users=1&all_pools=1&label=team%3D*", "workflows", 0);
    check_list(&f, "/api/workflow", "all_users=1&all_pools=1&tags=x", "workflows", 0);
    tag_routes(&f);
    check_list(&f, "/api/task", "all_users=1&all_pools=1&limit=5000", "tasks", 6);
    check_list(&f, "/api/task", "all_users=1&all_pools=1&limit=4&offset=3", "tasks", 3);
    check_list(&f, "/api/task", "users=ann%40b&all_pools=1&workflow_id=wo-1", "tasks", 3);
    check_list(&f, "/api/task", "all_users=1&all_pools=1&summary=1&aggregate_by_workflow=1", "summaries", 3);
    struct answer a = ask(&f, "GET", "/api/task", "all_users=1&all_pools=1&aggregate_by_workflow=true", NULL, NULL);
    json_t *first = json_at(json_get(a.json, "summaries"), 0);
    CHECK_STR(json_get_str(first, "user"), "ann@a");
    CHECK_STR(json_get_str(first, "workflow_id"), "one-1");
    CHECK_INT(json_get_int(first, "cpu", 0), 2);
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow", "limit=2&all_users=1&all_pools=1&order=DESC", NULL, NULL);
    CHECK(json_get_bool(a.json, "more_entries", false));
    CHECK_STR(json_get_str(json_at(json_get(a.json, "workflows"), 0), "name"), "three-1");
    answer_free(&a);
    a = ask(&f, "GET", "/api/users", "", NULL, NULL);
    CHECK_STR(a.body, "[\"ann@a\",\"ann@b\",\"bob@a\"]");
    answer_free(&a);
    fixture_close(&f);
}

static const struct check_test list_tests[] = {
    { "label selectors", selectors },
    { "pages of every filter", pages },
    { "plans", plans },
    { "tasks and their sums", task_lists },
    { "databases of before", migration },
    { "routes", routes },
};
TEST_MAIN("lists", list_tests)
