/* Loads the snapshot that model/explain.c decides on: rows of the store, and whether an operator of the backend is
 * connected here. Called by api/explain_routes.c through engine/explain.h. */
#include "base/error.h"
#include "engine/explain.h"

#include <string.h>

#include "engine/agent_internal.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "store/repo_explain.h"

#define TIMERS_MAX 500
#define WORK_MAX 500
#define DUTIES_MAX 50
#define EVIDENCE_MAX 5
#define REVIVE_PIECE 1000 /* dead items that one transaction gives new attempts */

struct loaded_task {
    struct event_row *rows;
    size_t nrows;
    struct explain_event events[EXPLAIN_EVENTS_MAX];
};
struct loaded_group {
    struct open_task *rows;
    size_t nrows;
    struct open_edge *edges;
    size_t nedges;
    struct explain_task tasks[EXPLAIN_TASKS_MAX];
    struct loaded_task loads[EXPLAIN_TASKS_MAX];
    struct explain_dependency upstream[EXPLAIN_NAMES_MAX];
};
struct explained {
    engine_t *e;
    db_t *db;
    struct workflow_row wf;
    struct backend_row backend;
    struct open_group *rows;
    size_t nrows;
    struct explain_group *groups;
    struct loaded_group *loads;
    struct timer_row *timers;
    size_t ntimers;
    struct work_row *work;
    size_t nwork;
    struct explain_duty duties[DUTIES_MAX];
    char *duty_subjects[DUTIES_MAX];
    struct history_row failure;
    struct task_row failed_task;
    char *failed_name;
    struct event_row *evidence_rows;
    size_t nevidence;
    struct explain_event evidence[EVIDENCE_MAX];
    struct explain_snapshot s;
    struct explain x;
};

static size_t events_fill(const struct event_row *rows, size_t n, size_t max, struct explain_event *out) {
    for (size_t i = 0; i < n && i < max; i++)
        out[i] = (struct explain_event){ .text = rows[i].content ? rows[i].content : "", .at_us = rows[i].at_us };
    return n < max ? n : max;
}

/* ---- the backend ---- */

/* Only where this process is the only one does the absence of a session say anything. */
static enum explain_link backend_link(engine_t *e, const char *backend) {
    enum explain_link link = LINK_DOWN;
    if (!e->agents)
        return LINK_UNKNOWN;
    pthread_mutex_lock(&e->agents->lock);
    for (struct agent_session *s = e->agents->sessions; s && link != LINK_UP; s = s->next) {
        pthread_mutex_lock(&s->lock);
        if (s->kind == AGENT_WORKER && !s->closed && str_eq(s->backend, backend))
            link = LINK_UP;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&e->agents->lock);
    return link == LINK_DOWN && store_is_pgsql(e->store) ? LINK_UNKNOWN : link;
}

static int load_backend(struct explained *x, osmo_error_t *err) {
    const char *name = x->wf.backend ? x->wf.backend : "";
    x->s.backend = name;
    int rc = *name ? repo_backend_get(x->db, name, &x->backend, err) : OSMO_ENOTFOUND;
    x->s.backend_known = rc >= 0;
    x->s.heartbeat_us = rc >= 0 ? x->backend.heartbeat_us : 0;
    x->s.link = backend_link(x->e, name);
    if (rc >= 0)
        rc = offline_since(x->e, x->db, name, x->s.heartbeat_us, &x->s.offline, &x->s.lost_at_us, err);
    x->s.lost = x->s.lost_at_us && x->s.lost_at_us <= x->s.now_us;
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* ---- groups and tasks ---- */

static int64_t since(const struct open_group *g, int64_t submit_us) {
    switch (g->status) {
    case STATUS_PROCESSING: return g->processing_us;
    case STATUS_SCHEDULING: return g->scheduling_us;
    case STATUS_INITIALIZING: return g->initializing_us;
    case STATUS_RUNNING: return g->start_us;
    default: return submit_us;
    }
}

static int64_t timer_of(const struct explained *x, const char *kind, const char *subject, int64_t generation) {
    for (size_t i = 0; i < x->ntimers; i++)
        if (str_eq(x->timers[i].kind, kind) && str_eq(x->timers[i].subject, subject) &&
            (generation < 0 || x->timers[i].generation == generation))
            return x->timers[i].due_us;
    return 0;
}

static struct explain_job job_of(const struct explained *x, const struct work_row *w) {
    return (struct explain_job){ .exists = true, .leased = w->owner && w->lease_until_us > x->s.now_us, .dead = w->dead,
                                 .id = w->id, .attempts = w->attempts, .run_at_us = w->run_at_us,
                                 .last_error = w->last_error };
}

static int load_task(struct explained *x, struct loaded_group *l, size_t i, osmo_error_t *err) {
    const struct open_task *r = &l->rows[i];
    struct explain_task *t = &l->tasks[i];
    char subject[64];
    *t = (struct explain_task){ .name = r->name, .retry_id = r->retry_id, .status = r->status, .lead = r->lead };
    snprintf(subject, sizeof subject, "%s:%lld", r->uuid, (long long)r->retry_id);
    if (r->status < STATUS_RUNNING)
        t->start_timeout_us = timer_of(x, TIMER_START, subject, -1);
    if (r->status != STATUS_SCHEDULING && r->status != STATUS_INITIALIZING)
        return 0;
    struct loaded_task *lt = &l->loads[i];
    int rc = repo_events_newest(x->db, x->wf.uuid, r->name, r->retry_id, EXPLAIN_EVENTS_MAX, &lt->rows, &lt->nrows, err);
    t->nevents = events_fill(lt->rows, lt->nrows, EXPLAIN_EVENTS_MAX, lt->events);
    t->events = lt->events;
    return rc;
}

static int load_upstream(struct explained *x, const struct open_group *r, struct explain_group *g,
                         struct loaded_group *l, osmo_error_t *err) {
    int rc = repo_open_upstream(x->db, r->uuid, EXPLAIN_NAMES_MAX, &l->edges, &l->nedges, err);
    for (size_t i = 0; i < l->nedges; i++)
        l->upstream[i] = (struct explain_dependency){ .name = l->edges[i].name, .status = l->edges[i].status };
    g->upstream = l->upstream;
    g->nupstream = l->nedges;
    return rc;
}

static int load_group(struct explained *x, size_t i, osmo_error_t *err) {
    const struct open_group *r = &x->rows[i];
    struct explain_group *g = &x->groups[i];
    struct loaded_group *l = &x->loads[i];
    *g = (struct explain_group){ .name = r->name, .status = r->status, .sent = r->exec_generation > 0,
                                 .since_us = since(r, x->wf.submit_us), .tasks_total = r->tasks_total,
                                 .tasks_unfinished = r->tasks_unfinished, .tasks_running = r->tasks_running,
                                 .upstream_total = r->remaining_upstream };
    if (r->status == STATUS_RUNNING)
        g->exec_timeout_us = timer_of(x, TIMER_EXEC, r->uuid, r->exec_generation);
    if (r->status == STATUS_SCHEDULING)
        g->queue_timeout_us = timer_of(x, TIMER_QUEUE, r->uuid, r->queue_generation);
    for (size_t k = 0; k < x->nwork; k++)
        if (str_eq(x->work[k].kind, WORK_CREATE) && str_eq(x->work[k].key, r->uuid))
            g->create = job_of(x, &x->work[k]);
    if (r->status <= STATUS_WAITING)
        return load_upstream(x, r, g, l, err);
    int rc = repo_open_tasks(x->db, r->uuid, EXPLAIN_TASKS_MAX, &l->rows, &l->nrows, err);
    for (size_t k = 0; rc >= 0 && k < l->nrows; k++)
        rc = load_task(x, l, k, err);
    g->tasks = l->tasks;
    g->ntasks = l->nrows;
    return rc;
}

static int load_groups(struct explained *x, osmo_error_t *err) {
    int rc = repo_open_groups(x->db, x->wf.uuid, EXPLAIN_GROUPS_MAX, &x->rows, &x->nrows, err);
    if (rc < 0)
        return rc;
    x->groups = calloc(x->nrows + 1, sizeof *x->groups);
    x->loads = calloc(x->nrows + 1, sizeof *x->loads);
    if (!x->groups || !x->loads)
        return no_memory(err);
    for (size_t i = 0; rc >= 0 && i < x->nrows; i++)
        rc = load_group(x, i, err);
    x->s.groups = x->groups;
    x->s.ngroups = x->nrows;
    return rc;
}

/* ---- what is owed ---- */

static const char *duty_name(const char *kind) {
    static const struct { const char *kind, *name; } names[] = {
        { WORK_CREATE, "create" }, { WORK_CLEANUP, "cleanup" }, { WORK_ARCHIVE, "archive" },
        { WORK_CANCEL, "cancel" }, { WORK_PROPAGATE, "propagate" }, { WORK_RESCHEDULE, "reschedule" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(names[i].kind, kind))
            return names[i].name;
    return kind;
}

static bool is_of_open_group(const struct explained *x, const struct work_row *w) {
    for (size_t i = 0; i < x->nrows; i++)
        if (str_eq(w->kind, WORK_CREATE) && str_eq(w->key, x->rows[i].uuid))
            return true;
    return false;
}

static int load_duty(struct explained *x, const struct work_row *w, osmo_error_t *err) {
    size_t i = x->s.nduties++;
    struct group_row g = { 0 };
    char uuid[33];
    snprintf(uuid, sizeof uuid, "%.32s", w->key); /* keys of jobs begin with their group */
    int rc = repo_group_state(x->db, uuid, &g, NULL);
    if (rc >= 0) {
        x->duty_subjects[i] = STEAL(g.name);
        group_row_clear(&g);
    } else if (rc != OSMO_ENOTFOUND) {
        return osmo_error_set(err, rc, "the groups of workflow %s cannot be read", x->wf.id);
    }
    x->duties[i] = (struct explain_duty){ .kind = duty_name(w->kind), .subject = x->duty_subjects[i],
                                          .job = job_of(x, w) };
    return 0;
}

static int load_duties(struct explained *x, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < x->nwork && x->s.nduties < DUTIES_MAX; i++)
        if (!is_of_open_group(x, &x->work[i]) && (x->work[i].dead || !str_eq(x->work[i].kind, WORK_CREATE)))
            rc = load_duty(x, &x->work[i], err);
    x->s.duties = x->duties;
    return rc;
}

/* ---- what failed first ---- */

static int load_failed_task(struct explained *x, const char *name, int64_t retry_id, osmo_error_t *err) {
    struct explain_failure *f = &x->s.failure;
    int rc = repo_task_by_name(x->db, x->wf.uuid, name, retry_id, &x->failed_task, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    const struct task_row *t = &x->failed_task;
    f->group = t->group_name;
    f->node = t->node_name;
    f->exit_code = t->sm.exit_code;
    if (t->failure_message && *t->failure_message)
        f->message = t->failure_message;
    rc = repo_events_newest(x->db, x->wf.uuid, name, retry_id, EVIDENCE_MAX, &x->evidence_rows, &x->nevidence, err);
    f->nevents = events_fill(x->evidence_rows, x->nevidence, EVIDENCE_MAX, x->evidence);
    f->events = x->evidence;
    return rc;
}

/* "task:NAME:RETRY" or "group:NAME" */
static int load_subject(struct explained *x, osmo_error_t *err) {
    struct explain_failure *f = &x->s.failure;
    const char *subject = x->failure.subject ? x->failure.subject : "", *name = strchr(subject, ':');
    bool task = str_starts(subject, "task:");
    const char *end = task ? strrchr(subject, ':') : NULL;
    if (!name)
        return 0;
    name++;
    x->failed_name = end && end >= name ? str_printf("%.*s", (int)(end - name), name) : str_dup(name);
    if (!x->failed_name)
        return no_memory(err);
    if (!task) {
        f->group = x->failed_name;
        return 0;
    }
    f->task = x->failed_name;
    if (end)
        (void)str_to_i64(end + 1, &f->retry_id);
    return load_failed_task(x, x->failed_name, f->retry_id, err);
}

static int load_failure(struct explained *x, osmo_error_t *err) {
    struct explain_failure *f = &x->s.failure;
    f->exit_code = EXIT_CODE_NONE;
    if (x->wf.sm.status == STATUS_FAILED_SUBMISSION) {
        f->exists = true;
        f->status = x->wf.sm.status;
        f->message = x->wf.failure_message;
        f->at_us = x->wf.sm.end_us;
        return 0;
    }
    int rc = repo_first_failure(x->db, x->wf.uuid, &x->failure, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    f->exists = true;
    f->status = x->failure.to_status;
    f->message = x->failure.cause;
    f->at_us = x->failure.at_us;
    return load_subject(x, err);
}

/* ---- the whole ---- */

static void load_workflow(struct explained *x) {
    const struct workflow_row *w = &x->wf;
    const struct settings *settings = engine_settings(x->e);
    x->s.now_us = engine_now(x->e);
    x->s.id = w->id;
    x->s.status = w->sm.status;
    x->s.failure_message = w->failure_message;
    x->s.cancelled_by = w->cancelled_by && *w->cancelled_by ? w->cancelled_by : NULL;
    x->s.cancel_requested = w->cancel_requested;
    x->s.archived = w->archived;
    x->s.end_us = w->sm.end_us;
    x->s.retention_us = settings->retention_us;
    x->s.groups_total = w->sm.total;
    x->s.groups_unfinished = w->sm.unfinished;
    x->s.groups_uncleaned = w->groups_uncleaned;
    engine_settings_put(settings);
}

static int load(struct explained *x, const char *id, osmo_error_t *err) {
    int rc = store_reader(x->e->store, &x->db, err);
    if (rc >= 0)
        rc = repo_workflow_get(x->db, id, &x->wf, err);
    if (rc < 0)
        return rc;
    load_workflow(x);
    rc = load_backend(x, err);
    if (rc >= 0)
        rc = repo_timers_of_workflow(x->db, x->wf.uuid, TIMERS_MAX, &x->timers, &x->ntimers, err);
    if (rc >= 0)
        rc = repo_work_of_workflow(x->db, x->wf.uuid, WORK_MAX, &x->work, &x->nwork, err);
    if (rc >= 0)
        rc = load_groups(x, err);
    if (rc >= 0)
        rc = load_duties(x, err);
    return rc < 0 ? rc : load_failure(x, err);
}

int engine_explain(engine_t *e, const char *id_or_uuid, struct explained **out, osmo_error_t *err) {
    struct explained *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return no_memory(err);
    x->e = e;
    int rc = load(x, id_or_uuid, err);
    if (rc >= 0)
        rc = explain_workflow(&x->s, &x->x, err);
    if (rc < 0) {
        explained_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

static void free_load(struct loaded_group *l) {
    for (size_t i = 0; i < EXPLAIN_TASKS_MAX; i++)
        event_rows_free(l->loads[i].rows, l->loads[i].nrows);
    open_tasks_free(l->rows, l->nrows);
    open_edges_free(l->edges, l->nedges);
}

void explained_free(struct explained *x) {
    if (!x)
        return;
    explain_clear(&x->x);
    for (size_t i = 0; x->loads && i < x->nrows; i++)
        free_load(&x->loads[i]);
    for (size_t i = 0; i < DUTIES_MAX; i++)
        free(x->duty_subjects[i]);
    open_groups_free(x->rows, x->nrows);
    timer_rows_free(x->timers, x->ntimers);
    work_rows_free(x->work, x->nwork);
    event_rows_free(x->evidence_rows, x->nevidence);
    history_row_clear(&x->failure);
    task_row_clear(&x->failed_task);
    backend_row_clear(&x->backend);
    workflow_row_clear(&x->wf);
    free(x->failed_name);
    free(x->groups);
    free(x->loads);
    free(x);
}

const struct explain_snapshot *explained_snapshot(const struct explained *x) { return &x->s; }
const struct explain *explained_answer(const struct explained *x) { return &x->x; }

/* ---- dead letters ---- */

struct revival {
    engine_t *e;
    int64_t id, count;
};

static int revive_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct revival *r = ctx;
    r->count = 0;
    return repo_work_revive(db, r->id, engine_now(r->e), REVIVE_PIECE, &r->count, err);
}

int engine_dead_retry(engine_t *e, int64_t id, int64_t *revived, osmo_error_t *err) {
    struct revival r = { .e = e, .id = id };
    int rc;
    *revived = 0;
    do {
        rc = store_write(e->store, NULL, revive_run, &r, err);
        if (rc >= 0)
            *revived += r.count;
    } while (rc >= 0 && !id && r.count == REVIVE_PIECE);
    if (*revived)
        engine_wake(e, WAKE_WORK | WAKE_ARCHIVE);
    if (rc >= 0 && id && !r.count)
        return osmo_error_set(err, OSMO_ENOTFOUND, "work item %lld is not one that ran out of attempts", (long long)id);
    return rc < 0 ? rc : 0;
}
