/* The task list: tasks of the matching workflows, as rows or summed per user, pool and priority. */
#include <string.h>

#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define LIST_MAX 1000

/* ---- rows ---- */

static json_t *row_json(struct call *c, const struct task_item *t, int64_t now_us) {
    const char *base = call_base_url(c), *id = t->workflow_id;
    long long retry = (long long)t->retry_id;
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "user", t->user) | json_set_str(o, "workflow_id", id) |
        json_set_str(o, "workflow_uuid", t->workflow_uuid);
    failed |= json_set_str(o, "task_name", t->name) | json_set_int(o, "retry_id", t->retry_id) |
        json_set_text(o, "pool", t->pool);
    failed |= json_set_text(o, "node", t->node_name) | json_set_time(o, "start_time", t->start_us) |
        json_set_time(o, "end_time", t->end_us);
    failed |= t->start_us ? json_set_double(o, "duration",
                                            (double)((t->end_us ? t->end_us : now_us) - t->start_us) / 1e6)
                          : json_set(o, "duration", NULL);
    failed |= json_set_str(o, "status", status_name(t->status)) |
        json_set_url(o, "overview", "%s/workflows/%s", base, id);
    failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs?task_name=%s&retry_id=%lld", base, id, t->name, retry);
    if (status_has_error_logs(t->status))
        failed |= json_set_url(o, "error_logs", "%s/api/workflow/%s/error_logs?task_name=%s&retry_id=%lld", base, id,
                               t->name, retry);
    else
        failed |= json_set(o, "error_logs", NULL);
    failed |= json_set(o, "grafana_url", NULL) | json_set(o, "dashboard_url", NULL);
    failed |= json_set_double(o, "storage", t->storage_gib) | json_set_int(o, "cpu", (int64_t)t->cpu) |
        json_set_double(o, "memory", t->memory_gib) | json_set_int(o, "gpu", (int64_t)t->gpu);
    failed |= json_set_str(o, "priority", t->priority ? t->priority : "NORMAL");
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
static int answer_rows(struct call *c, const struct task_item *rows, size_t n, bool ascending) {
    int64_t now_us = engine_now(c->engine);
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        json_t *o = row_json(c, &rows[ascending ? n - 1 - i : i], now_us);
        if (!o || json_add(list, o) < 0) {
            json_free(list);
            list = NULL;
        }
    }
    return answer_list(c, "tasks", list);
}

static int list_rows(struct call *c, db_t *db, const struct task_filter *f, osmo_error_t *err) {
    struct task_item *rows = NULL;
    size_t n = 0;
    int rc = repo_task_list(db, f, &rows, &n, err);
    if (rc >= 0)
        rc = answer_rows(c, rows, n, f->workflows->ascending);
    task_items_free(rows, n);
    return rc;
}

/* ---- summaries ---- */

static json_t *sum_json(const struct task_sum *s) {
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "user", s->user) | json_set_text(o, "pool", s->pool);
    failed |= json_set_double(o, "storage", s->storage_gib) | json_set_int(o, "cpu", (int64_t)s->cpu);
    failed |= json_set_double(o, "memory", s->memory_gib) | json_set_int(o, "gpu", (int64_t)s->gpu);
    failed |= json_set_str(o, "priority", s->priority ? s->priority : "NORMAL");
    if (s->workflow_id)
        failed |= json_set_str(o, "workflow_id", s->workflow_id);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static int list_sums(struct call *c, db_t *db, const struct task_filter *f, bool by_workflow, osmo_error_t *err) {
    struct task_sum *sums = NULL;
    size_t n = 0;
    int rc = repo_task_sums(db, f, by_workflow, &sums, &n, err);
    json_t *list = rc >= 0 ? json_array() : NULL;
    for (size_t i = 0; list && i < n; i++) {
        json_t *o = sum_json(&sums[i]);
        if (!o || json_add(list, o) < 0) {
            json_free(list);
            list = NULL;
        }
    }
    task_sums_free(sums, n);
    return rc < 0 ? rc : answer_list(c, "summaries", list);
}

/* ---- the route ---- */

/* The status filter is about tasks here, so it moves from the workflow filter to the task filter. */
static int read_filters(struct call *c, struct workflow_filter *w, struct task_filter *f, osmo_error_t *err) {
    const strlist_t *nodes = query_all(c, "nodes");
    int rc = filter_read(c, w, err);
    if (rc < 0)
        return rc;
    f->statuses = w->statuses;
    memset(&w->statuses, 0, sizeof w->statuses);
    w->name_contains = query_get(c, "workflow_id");
    f->workflows = w;
    f->offset = w->offset;
    f->limit = w->limit < LIST_MAX ? w->limit : LIST_MAX;
    f->before_set = query_get(c, "started_before") != NULL;
    if (!f->limit)
        return osmo_error_set(err, OSMO_EUSER, "limit must be 1 or more");
    for (size_t i = 0; rc >= 0 && nodes && i < nodes->len; i++)
        rc = strlist_add(&f->nodes, nodes->items[i]);
    if (rc >= 0)
        rc = query_time(c, "started_after", &f->started_after_us, err);
    return rc < 0 ? rc : query_time(c, "started_before", &f->started_before_us, err);
}

int list_tasks(struct call *c, osmo_error_t *err) {
    struct workflow_filter w;
    struct task_filter f = { 0 };
    bool summary, by_workflow;
    db_t *db;
    int rc = read_filters(c, &w, &f, err);
    if (rc >= 0)
        rc = query_bool(c, "summary", false, &summary, err);
    if (rc >= 0)
        rc = query_bool(c, "aggregate_by_workflow", false, &by_workflow, err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = summary || by_workflow ? list_sums(c, db, &f, !summary, err) : list_rows(c, db, &f, err);
    strlist_free(&f.statuses);
    strlist_free(&f.nodes);
    filter_clear(&w);
    return rc;
}
