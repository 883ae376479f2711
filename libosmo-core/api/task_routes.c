/* The task list: tasks of the newest matching workflows, as rows or summed per user, pool and priority. */
#include <stdlib.h>
#include <string.h>

#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define MAX_WORKFLOWS 1000
#define MAX_TASKS 200000

struct row { const struct workflow_row *w; const struct task_row *t; };
struct tasks {
    struct workflow_row *workflows; size_t nworkflows;
    struct task_row **per_workflow; size_t *counts;      /* parallel to workflows */
    struct row *rows; size_t n, cap;
};
struct task_filter { strlist_t statuses; const strlist_t *nodes; int64_t after_us, before_us; bool before_set; };

static void tasks_clear(struct tasks *x) {
    for (size_t i = 0; x->per_workflow && i < x->nworkflows; i++)
        task_rows_free(x->per_workflow[i], x->counts[i]);
    workflow_rows_free(x->workflows, x->nworkflows);
    free(x->per_workflow);
    free(x->counts);
    free(x->rows);
}

static bool task_wanted(const struct task_filter *f, const struct task_row *t) {
    if (f->statuses.len && !strlist_has(&f->statuses, status_name(t->sm.status)))
        return false;
    if (f->nodes && f->nodes->len && (!t->node_name || !strlist_has(f->nodes, t->node_name)))
        return false;
    if (f->after_us && t->sm.start_us && t->sm.start_us < f->after_us)
        return false;
    return !f->before_set || (t->sm.start_us && t->sm.start_us < f->before_us);
}

static int add_row(struct tasks *x, const struct workflow_row *w, const struct task_row *t, osmo_error_t *err) {
    if (x->n == MAX_TASKS)
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d tasks match; narrow the filter", MAX_TASKS);
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        struct row *grown = realloc(x->rows, cap * sizeof *grown);
        if (!grown)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        x->rows = grown;
        x->cap = cap;
    }
    x->rows[x->n++] = (struct row){ w, t };
    return 0;
}

static int rank(enum status s) {
    return s == STATUS_SCHEDULING ? 0 : s == STATUS_INITIALIZING ? 1 : s == STATUS_RUNNING ? 2 : 3;
}

static int newest_first(int64_t a, int64_t b) {
    return (a < b) - (a > b);
}

static int row_order(const void *pa, const void *pb) {
    const struct row *a = pa, *b = pb;
    int c = rank(a->t->sm.status) - rank(b->t->sm.status);
    if (!c)
        c = newest_first(a->t->sm.start_us, b->t->sm.start_us);
    if (!c)
        c = newest_first(a->w->submit_us, b->w->submit_us);
    if (!c)
        c = strcmp(b->t->name, a->t->name);
    return c ? c : newest_first(a->t->sm.retry_id, b->t->sm.retry_id);
}

static int load_rows(struct tasks *x, db_t *db, const struct task_filter *f, osmo_error_t *err) {
    x->per_workflow = calloc(x->nworkflows + 1, sizeof(struct task_row *));
    x->counts = calloc(x->nworkflows + 1, sizeof *x->counts);
    int rc = x->per_workflow && x->counts ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < x->nworkflows; i++) {
        rc = repo_tasks_of_workflow(db, x->workflows[i].uuid, true, &x->per_workflow[i], &x->counts[i], err);
        for (size_t j = 0; rc >= 0 && j < x->counts[i]; j++) {
            if (task_wanted(f, &x->per_workflow[i][j]))
                rc = add_row(x, &x->workflows[i], &x->per_workflow[i][j], err);
        }
    }
    if (rc >= 0 && x->n)
        qsort(x->rows, x->n, sizeof *x->rows, row_order);
    return rc;
}

/* Only unfinished tasks asked for: finished workflows have none. */
static int narrow_workflows(struct workflow_filter *w, const struct task_filter *f) {
    bool alive = f->statuses.len > 0;
    for (size_t i = 0; i < f->statuses.len; i++)
        alive &= !status_is_task_finished(status_parse(f->statuses.items[i]));
    if (!alive)
        return 0;
    return strlist_add(&w->statuses, "PENDING") | strlist_add(&w->statuses, "RUNNING") |
        strlist_add(&w->statuses, "WAITING");
}

static int load(struct call *c, struct workflow_filter *w, const struct task_filter *f, struct tasks *x,
                osmo_error_t *err) {
    db_t *db;
    w->name_contains = query_get(c, "workflow_id");
    w->ascending = false;
    w->offset = 0;
    w->limit = MAX_WORKFLOWS;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = narrow_workflows(w, f);
    if (rc >= 0)
        rc = repo_workflow_list(db, w, &x->workflows, &x->nworkflows, err);
    return rc < 0 ? rc : load_rows(x, db, f, err);
}

/* ---- rows ---- */

static int set_resources(json_t *o, const struct task_row *t) {
    return json_set_double(o, "storage", t->storage_gib) | json_set_int(o, "cpu", (int64_t)t->cpu) |
           json_set_double(o, "memory", t->memory_gib) | json_set_int(o, "gpu", (int64_t)t->gpu);
}

static json_t *row_json(struct call *c, const struct row *r, int64_t now_us) {
    const char *base = call_base_url(c), *id = r->w->id;
    const struct sm_task *t = &r->t->sm;
    long long retry = (long long)t->retry_id;
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "user", r->w->user) | json_set_str(o, "workflow_id", id) |
        json_set_str(o, "workflow_uuid", r->w->uuid);
    failed |= json_set_str(o, "task_name", r->t->name) | json_set_int(o, "retry_id", t->retry_id) |
        json_set_text(o, "pool", r->w->pool);
    failed |= json_set_text(o, "node", r->t->node_name) | json_set_time(o, "start_time", t->start_us) |
        json_set_time(o, "end_time", t->end_us);
    failed |= t->start_us ? json_set_double(o, "duration",
                                            (double)((t->end_us ? t->end_us : now_us) - t->start_us) / 1e6)
                          : json_set(o, "duration", NULL);
    failed |= json_set_str(o, "status", status_name(t->status)) |
        json_set_url(o, "overview", "%s/workflows/%s", base, id);
    failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs?task_name=%s&retry_id=%lld", base, id, r->t->name,
                           retry);
    if (status_has_error_logs(t->status))
        failed |= json_set_url(o, "error_logs", "%s/api/workflow/%s/error_logs?task_name=%s&retry_id=%lld", base, id,
                               r->t->name, retry);
    else
        failed |= json_set(o, "error_logs", NULL);
    failed |= json_set(o, "grafana_url", NULL) | json_set(o, "dashboard_url", NULL) | set_resources(o, r->t);
    failed |= json_set_str(o, "priority", r->w->priority ? r->w->priority : "NORMAL");
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static int answer_list(struct call *c, const char *name, json_t *list) {
    json_t *o = list ? json_object() : NULL;
    if (!o) {
        json_free(list);
        return OSMO_ENOMEM;
    }
    int rc = json_set(o, name, list);
    if (rc >= 0)
        return answer_json(c, 200, o);
    json_free(o);
    return rc;
}

/* The page is always picked in priority order; ASC only turns it round. */
static int answer_rows(struct call *c, const struct tasks *x, int64_t offset, int64_t limit, bool ascending) {
    size_t from = (size_t)offset < x->n ? (size_t)offset : x->n;
    size_t n = x->n - from < (size_t)limit ? x->n - from : (size_t)limit;
    int64_t now_us = clock_now_us();
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        json_t *o = row_json(c, &x->rows[from + (ascending ? n - 1 - i : i)], now_us);
        if (!o || json_add(list, o) < 0) {
            json_free(list);
            list = NULL;
        }
    }
    return answer_list(c, "tasks", list);
}

/* ---- summaries ---- */

struct sum { const struct workflow_row *w; double storage, memory, cpu, gpu; };

static int sum_order(const void *pa, const void *pb) {
    const struct sum *a = pa, *b = pb;
    int c = strcmp(a->w->user, b->w->user);
    if (!c)
        c = strcmp(a->w->pool ? a->w->pool : "", b->w->pool ? b->w->pool : "");
    if (!c)
        c = strcmp(a->w->priority ? a->w->priority : "", b->w->priority ? b->w->priority : "");
    return c ? c : strcmp(a->w->id, b->w->id);
}

static int add_sum(struct map *sums, const struct row *r, bool by_workflow) {
    const char *pool = r->w->pool ? r->w->pool : "", *priority = r->w->priority ? r->w->priority : "";
    _cleanup_free_ char *key = str_printf("%s\n%s\n%s\n%s", r->w->user, pool, priority, by_workflow ? r->w->id : "");
    struct sum *s = key ? map_get(sums, key) : NULL;
    if (!s) {
        s = key ? calloc(1, sizeof *s) : NULL;
        if (!s || map_set(sums, key, s) < 0)
            return OSMO_ENOMEM;
        s->w = r->w;
    }
    s->storage += r->t->storage_gib;
    s->memory += r->t->memory_gib;
    s->cpu += r->t->cpu;
    s->gpu += r->t->gpu;
    return 0;
}

static json_t *sum_json(const struct sum *s, bool by_workflow) {
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "user", s->w->user) | json_set_text(o, "pool", s->w->pool);
    failed |= json_set_double(o, "storage", s->storage) | json_set_int(o, "cpu", (int64_t)s->cpu);
    failed |= json_set_double(o, "memory", s->memory) | json_set_int(o, "gpu", (int64_t)s->gpu);
    failed |= json_set_str(o, "priority", s->w->priority ? s->w->priority : "NORMAL");
    if (by_workflow)
        failed |= json_set_str(o, "workflow_id", s->w->id);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static json_t *sums_json(struct map *sums, bool by_workflow) {
    _cleanup_free_ struct sum *sorted = calloc(map_len(sums) + 1, sizeof *sorted);
    json_t *list = json_array();
    size_t it = 0, n = 0;
    const char *key;
    void *value;
    while (sorted && map_next(sums, &it, &key, &value))
        sorted[n++] = *(struct sum *)value;
    if (sorted && n)
        qsort(sorted, n, sizeof *sorted, sum_order);
    for (size_t i = 0; list && i < n; i++) {
        json_t *o = sum_json(&sorted[i], by_workflow);
        if (!o || json_add(list, o) < 0) {
            json_free(list);
            list = NULL;
        }
    }
    return list;
}

static int answer_sums(struct call *c, const struct tasks *x, bool by_workflow) {
    struct map *sums = map_new(free);
    int rc = sums ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < x->n; i++)
        rc = add_sum(sums, &x->rows[i], by_workflow);
    if (rc >= 0)
        rc = answer_list(c, "summaries", sums_json(sums, by_workflow));
    map_free(sums);
    return rc;
}

/* ---- the route ---- */

/* The status filter is about tasks here, so it moves from the workflow filter to the task filter. */
static int read_filters(struct call *c, struct workflow_filter *w, struct task_filter *f, osmo_error_t *err) {
    int rc = filter_read(c, w, err);
    if (rc < 0)
        return rc;
    f->statuses = w->statuses;
    memset(&w->statuses, 0, sizeof w->statuses);
    f->nodes = query_all(c, "nodes");
    f->before_set = query_get(c, "started_before") != NULL;
    if (!w->limit)
        return osmo_error_set(err, OSMO_EUSER, "limit must be 1 or more");
    rc = query_time(c, "started_after", &f->after_us, err);
    return rc < 0 ? rc : query_time(c, "started_before", &f->before_us, err);
}

int list_tasks(struct call *c, osmo_error_t *err) {
    struct workflow_filter w;
    struct task_filter f = { 0 };
    struct tasks x = { 0 };
    bool summary, by_workflow;
    int rc = read_filters(c, &w, &f, err);
    int64_t offset = w.offset, limit = w.limit;
    bool ascending = w.ascending;
    if (rc >= 0)
        rc = query_bool(c, "summary", false, &summary, err);
    if (rc >= 0)
        rc = query_bool(c, "aggregate_by_workflow", false, &by_workflow, err);
    if (rc >= 0)
        rc = load(c, &w, &f, &x, err);
    if (rc >= 0 && (summary || by_workflow))
        rc = answer_sums(c, &x, !summary);
    else if (rc >= 0)
        rc = answer_rows(c, &x, offset, limit, ascending);
    tasks_clear(&x);
    strlist_free(&f.statuses);
    filter_clear(&w);
    return rc;
}
