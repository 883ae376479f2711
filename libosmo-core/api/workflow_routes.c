/* Workflows: list, detail, one task, cancel. */
#include <stdlib.h>
#include <string.h>

#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "store/repo_tags.h"

#define URL_LINES 1000
#define LIST_MAX 1000
#define MAX_DETAIL (256u << 20)

/* ---- list ---- */

static json_t *entry_json(struct call *c, const struct workflow_row *w, int64_t now_us) {
    const char *base = call_base_url(c);
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "user", w->user) | json_set_str(o, "name", w->id) |
        json_set_str(o, "workflow_uuid", w->uuid);
    failed |= json_set_time(o, "submit_time", w->submit_us) | json_set_time(o, "start_time", w->sm.start_us);
    failed |= json_set_time(o, "end_time", w->sm.end_us);
    failed |= view_set_durations(o, w->submit_us, w->sm.start_us, w->sm.end_us, now_us);
    failed |= json_set_str(o, "status", status_name(w->sm.status));
    failed |= json_set_url(o, "overview", "%s/workflows/%s", base, w->id);
    failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs", base, w->id);
    if (status_has_error_logs(w->sm.status))
        failed |= json_set_url(o, "error_logs", "%s/api/workflow/%s/error_logs", base, w->id);
    else
        failed |= json_set(o, "error_logs", NULL);
    failed |= json_set(o, "grafana_url", NULL) | json_set(o, "dashboard_url", NULL) | json_set_text(o, "pool", w->pool);
    failed |= view_set_apps(o) | json_set_str(o, "priority", w->priority ? w->priority : "NORMAL");
    failed |= json_set(o, "labels", json_from_text(w->labels_json, json_object()));
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static int answer_list(struct call *c, const struct workflow_row *rows, size_t n, bool more) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    int64_t now_us = engine_now(c->engine);
    bool failed = !o || !list;
    for (size_t i = 0; !failed && i < n; i++) {
        json_t *entry = entry_json(c, &rows[i], now_us);
        failed = !entry || json_add(list, entry) < 0;
    }
    if (failed) {
        json_free(list);
        return OSMO_ENOMEM;
    }
    failed = json_set(o, "workflows", list) < 0 || json_set_bool(o, "more_entries", more) < 0;
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

/* One row more than asked for tells whether there are more. */
static int list_rows(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    struct workflow_row *rows = NULL;
    size_t n = 0, want = (size_t)f->limit;
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    f->limit++;
    if (rc >= 0)
        rc = repo_workflow_list(db, f, &rows, &n, err);
    if (rc >= 0)
        rc = answer_list(c, rows, n < want ? n : want, n > want);
    workflow_rows_free(rows, n);
    return rc;
}

int list_workflows(struct call *c, osmo_error_t *err) {
    struct workflow_filter f;
    int rc = filter_read(c, &f, err);
    const strlist_t *tags = query_all(c, "tags");
    f.name_contains = query_get(c, "name");
    for (size_t i = 0; rc >= 0 && tags && i < tags->len; i++)
        rc = strlist_add(&f.tags, tags->items[i]);
    if (rc >= 0)
        rc = query_time(c, "submitted_after", &f.submitted_after_us, err);
    if (rc >= 0)
        rc = query_time(c, "submitted_before", &f.submitted_before_us, err);
    if (rc >= 0 && f.limit > LIST_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "limit must be %d or less; ask for further pages with offset", LIST_MAX);
    /* No workflow comes from an app here, so such a filter matches nothing. */
    if (rc >= 0 && query_get(c, "app"))
        rc = answer_list(c, NULL, 0, false);
    else if (rc >= 0)
        rc = list_rows(c, &f, err);
    filter_clear(&f);
    return rc;
}

/* ---- detail ---- */

struct detail { struct workflow_row w; struct group_row *groups; struct task_row *tasks; size_t ngroups,
    ntasks; strlist_t edges, tags; };

static int detail_load(struct call *c, struct detail *d, bool groups, bool verbose, osmo_error_t *err) {
    db_t *db;
    int rc = call_workflow(c, c->params[0], &d->w, err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_tags_of(db, d->w.uuid, &d->tags, err);
    if (rc < 0 || !groups)
        return rc;
    if (rc >= 0)
        rc = repo_groups_of(db, d->w.uuid, false, &d->groups, &d->ngroups, err);
    if (rc >= 0)
        rc = repo_tasks_of_workflow(db, d->w.uuid, verbose, &d->tasks, &d->ntasks, err);
    if (rc >= 0)
        rc = repo_edges_of(db, d->w.uuid, &d->edges, err);
    return rc;
}

static void detail_clear(struct detail *d) {
    strlist_free(&d->edges);
    strlist_free(&d->tags);
    task_rows_free(d->tasks, d->ntasks);
    group_rows_free(d->groups, d->ngroups);
    workflow_row_clear(&d->w);
}

/* There are no pages in this answer: the client shows the whole workflow. */
static int answer_workflow(struct call *c, const struct workflow_view *v, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(MAX_DETAIL);
    size_t len = 0;
    int rc = workflow_view_write(v, &text);
    if (rc == OSMO_ELIMIT)
        return osmo_error_set(err, rc, "the %zu tasks of workflow %s make an answer larger than %u MiB: ask for it with "
                                       "skip_groups=true, and for single tasks", v->ntasks, v->w->id, MAX_DETAIL >> 20);
    if (rc < 0)
        return rc;
    char *body = buf_steal(&text, &len);
    return body ? answer_body(c, 200, "application/json", body, len) : OSMO_ENOMEM;
}

int get_workflow(struct call *c, osmo_error_t *err) {
    struct detail d = { 0 };
    bool skip_groups, verbose;
    int rc = query_bool(c, "skip_groups", false, &skip_groups, err);
    if (rc >= 0)
        rc = query_bool(c, "verbose", false, &verbose, err);
    if (rc >= 0)
        rc = detail_load(c, &d, !skip_groups, verbose, err);
    if (rc >= 0) {
        struct workflow_view v = { .w = &d.w, .groups = d.groups, .ngroups = d.ngroups, .tasks = d.tasks,
            .ntasks = d.ntasks,
                                   .edges = &d.edges, .tags = &d.tags, .base = call_base_url(c), .now_us = engine_now(c->engine),
                                       .url_lines = URL_LINES };
        rc = answer_workflow(c, &v, err);
    }
    detail_clear(&d);
    return rc;
}

static json_t *task_entry(const struct workflow_row *w, const struct task_row *t) {
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "workflow_id", w->id) | json_set_str(o, "task_name", t->name) |
        json_set_text(o, "node", t->node_name);
    failed |= json_set_time(o, "start_time", t->sm.start_us) | json_set_time(o, "end_time", t->sm.end_us);
    failed |= json_set_str(o, "status", status_name(t->sm.status));
    failed |= json_set_double(o, "storage", t->storage_gib) | json_set_int(o, "cpu", (int64_t)t->cpu);
    failed |= json_set_double(o, "memory", t->memory_gib) | json_set_int(o, "gpu", (int64_t)t->gpu);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

int get_workflow_task(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct task_row t = { 0 };
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = call_task(c, &w, c->params[1], -1, &t, err);
    if (rc >= 0) {
        json_t *o = task_entry(&w, &t);
        rc = o ? answer_json(c, 200, o) : OSMO_ENOMEM;
    }
    task_row_clear(&t);
    workflow_row_clear(&w);
    return rc;
}

/* ---- cancel ---- */

int post_cancel(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    bool force;
    int rc = query_bool(c, "force", false, &force, err);
    if (rc >= 0)
        rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = engine_cancel(c->engine, w.uuid, c->user, query_get(c, "message"), force, err);
    if (rc >= 0) {
        json_t *o = json_object();
        rc = o && json_set_str(o, "name", w.id) >= 0 ? answer_json(c, 200, STEAL(o)) : OSMO_ENOMEM;
        json_free(o);
    }
    workflow_row_clear(&w);
    return rc;
}
