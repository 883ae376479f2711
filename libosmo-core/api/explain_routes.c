/* Why a workflow is where it is, and the work items that ran out of attempts. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "engine/explain.h"
#include "store/repo_explain.h"

#define DEAD_LIMIT 100
#define DEAD_LIMIT_MAX 1000

/* ---- explain ---- */

/* Adds `item` (taken, may be NULL for no memory) to the list. */
static int add_item(json_t *list, json_t *item, int failed) {
    if (!item || failed) {
        json_free(item);
        return -1;
    }
    return json_add(list, item) < 0 ? -1 : 0;
}

static int add_reason(json_t *list, const struct explain_reason *r) {
    json_t *o = json_object();
    int failed = json_set_str(o, "reason", explain_why_name(r->why)) | json_set_str(o, "message", r->text) |
                 json_set_str(o, "task", r->task) | json_set_time(o, "since", r->since_us);
    return add_item(list, o, failed);
}

static int add_group(json_t *list, const struct explain_verdict *v) {
    json_t *o = json_object(), *reasons = json_array();
    const struct explain_group *g = v->group;
    int failed = !reasons;
    for (size_t i = 0; !failed && i < v->n; i++)
        failed = add_reason(reasons, &v->reasons[i]);
    failed |= json_set_str(o, "name", g->name) | json_set_str(o, "status", status_name(g->status)) |
              json_set_time(o, "since", g->since_us) | json_set_int(o, "tasks", g->tasks_total) |
              json_set_int(o, "tasks_unfinished", g->tasks_unfinished) |
              json_set_int(o, "tasks_running", g->tasks_running) | json_set(o, "reasons", reasons);
    return add_item(list, o, failed);
}

static int add_step(json_t *list, const struct explain_step *s) {
    json_t *o = json_object();
    int failed = json_set_str(o, "what", s->what) | json_set_str(o, "subject", s->subject) |
                 json_set_str(o, "message", s->text) | json_set_time(o, "time", s->at_us);
    return add_item(list, o, failed);
}

static json_t *failure_json(struct call *c, const struct explain_snapshot *s, const char *line) {
    const struct explain_failure *f = &s->failure;
    _cleanup_json_ json_t *o = json_object();
    json_t *events = json_array();
    if (!o || !events) {
        json_free(events);
        return NULL;
    }
    int failed = 0;
    for (size_t i = f->nevents; i-- > 0;)
        failed |= json_add_str(events, f->events[i].text);
    failed |= json_set_str(o, "summary", line) | json_set_str(o, "task", f->task) | json_set_str(o, "group", f->group) |
              json_set_int(o, "retry_id", f->retry_id) | json_set_str(o, "status", status_name(f->status)) |
              json_set(o, "exit_code", f->exit_code == EXIT_CODE_NONE ? NULL : json_int(f->exit_code)) |
              json_set_text(o, "message", f->message) | json_set_text(o, "node", f->node) |
              json_set_time(o, "time", f->at_us) | json_set(o, "events", events);
    if (f->task)
        failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs?task_name=%s&retry_id=%lld", call_base_url(c), s->id,
                               f->task, (long long)f->retry_id);
    else
        failed |= json_set(o, "logs", NULL);
    return failed ? NULL : STEAL(o);
}

static json_t *backend_json(const struct explain_snapshot *s) {
    _cleanup_json_ json_t *o = json_object();
    bool silent = s->link == LINK_UNKNOWN && s->now_us - s->heartbeat_us > INT64_C(120000000);
    int failed = json_set_str(o, "name", s->backend) |
                 json_set_bool(o, "online", s->backend_known && s->link != LINK_DOWN && !silent) |
                 json_set_time(o, "last_heartbeat", s->heartbeat_us);
    return failed ? NULL : STEAL(o);
}

static int answer_explained(struct call *c, const struct explained *e) {
    const struct explain_snapshot *s = explained_snapshot(e);
    const struct explain *x = explained_answer(e);
    _cleanup_json_ json_t *o = json_object(), *groups = json_array(), *steps = json_array();
    json_t *backend = backend_json(s), *failure = s->failure.exists ? failure_json(c, s, x->failure) : NULL;
    int failed = !o || !groups || !steps || !backend || (s->failure.exists && !failure);
    for (size_t i = 0; !failed && i < x->ngroups; i++)
        failed = add_group(groups, &x->groups[i]);
    for (size_t i = 0; !failed && i < x->nsteps; i++)
        failed = add_step(steps, &x->steps[i]);
    failed |= json_set(o, "backend", backend) | json_set(o, "failed_first", failure);
    failed |= json_set_str(o, "name", s->id) | json_set_str(o, "status", status_name(s->status)) |
              json_set_str(o, "summary", x->summary) | json_set_time(o, "time", s->now_us) |
              json_set_int(o, "groups_total", s->groups_total) |
              json_set_int(o, "groups_unfinished", s->groups_unfinished);
    failed |= json_set(o, "groups", STEAL(groups)) | json_set(o, "next", STEAL(steps));
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_explain(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct explained *e = NULL;
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = engine_explain(c->engine, w.uuid, &e, err);
    if (rc >= 0)
        rc = answer_explained(c, e);
    explained_free(e);
    workflow_row_clear(&w);
    return rc;
}

/* ---- dead letters ---- */

static int add_dead(json_t *list, const struct dead_row *r) {
    json_t *o = json_object();
    int failed = json_set_int(o, "id", r->id) | json_set_str(o, "type", r->kind) |
                 json_set_text(o, "workflow_id", r->workflow_id) | json_set_text(o, "group", r->group_name) |
                 json_set_text(o, "backend", r->backend) | json_set_int(o, "attempts", r->attempts) |
                 json_set_text(o, "last_error", r->last_error) | json_set_time(o, "since", r->since_us);
    return add_item(list, o, failed);
}

static int answer_dead(struct call *c, const struct dead_row *rows, size_t n, bool more) {
    _cleanup_json_ json_t *o = json_object(), *list = json_array();
    int failed = !o || !list;
    for (size_t i = 0; !failed && i < n; i++)
        failed = add_dead(list, &rows[i]);
    failed = failed || json_set(o, "items", STEAL(list)) < 0 || json_set_bool(o, "more_entries", more) < 0;
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_dead_work(struct call *c, osmo_error_t *err) {
    struct dead_row *rows = NULL;
    size_t n = 0;
    int64_t after, limit;
    db_t *db;
    int rc = query_int(c, "after", 0, &after, err);
    if (rc >= 0)
        rc = query_int(c, "limit", DEAD_LIMIT, &limit, err);
    if (rc >= 0 && (limit < 1 || limit > DEAD_LIMIT_MAX))
        rc = osmo_error_set(err, OSMO_EUSER, "limit is %lld; it must be 1 to %d", (long long)limit, DEAD_LIMIT_MAX);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_work_dead(db, after, (size_t)limit + 1, &rows, &n, err);
    if (rc >= 0)
        rc = answer_dead(c, rows, n > (size_t)limit ? (size_t)limit : n, n > (size_t)limit);
    dead_rows_free(rows, n);
    return rc;
}

int post_dead_retry(struct call *c, osmo_error_t *err) {
    int64_t id = 0, revived = 0;
    if (!str_eq(c->params[0], "all") && (!str_to_i64(c->params[0], &id) || id <= 0))
        return osmo_error_set(err, OSMO_EUSER, "work item '%.100s' is neither a number nor 'all'", c->params[0]);
    int rc = engine_dead_retry(c->engine, id, &revived, err);
    if (rc < 0)
        return rc;
    if (revived)
        log_info(&c->engine->log, "%s gave %lld dead work items new attempts", c->user, (long long)revived);
    _cleanup_json_ json_t *o = json_object();
    return !o || json_set_int(o, "retried", revived) < 0 ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}
