/* The reactor: every change of state is one function run by the store under the workflow's key. It locks the
 * workflow, decides, writes; what others must learn happens in the done function, after the commit. Called by api/,
 * agents, timers. */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/masks.h"
#include "engine/reactor_internal.h"

struct reactor {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t pending;
};

struct reaction {
    engine_t *e;
    char workflow_uuid[33];
    decide_fn decide;
    void *arg;
    void (*free_arg)(void *);
    struct effects fx;
    engine_done_fn done;
    void *ctx;
};

int reactor_open(engine_t *e, osmo_error_t *err) {
    struct reactor *r = calloc(1, sizeof *r);
    if (!r)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->idle, NULL);
    e->reactor = r;
    return 0;
}

void reactor_close(engine_t *e) {
    struct reactor *r = e->reactor;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    while (r->pending)
        pthread_cond_wait(&r->idle, &r->lock);
    pthread_mutex_unlock(&r->lock);
    pthread_cond_destroy(&r->idle);
    pthread_mutex_destroy(&r->lock);
    free(r);
    e->reactor = NULL;
}

static void pending_add(engine_t *e) {
    pthread_mutex_lock(&e->reactor->lock);
    e->reactor->pending++;
    pthread_mutex_unlock(&e->reactor->lock);
}

static void pending_drop(engine_t *e) {
    pthread_mutex_lock(&e->reactor->lock);
    if (--e->reactor->pending == 0)
        pthread_cond_broadcast(&e->reactor->idle);
    pthread_mutex_unlock(&e->reactor->lock);
}

static void txn_clear(struct txn *x) {
    txn_history_clear(x);
    workflow_row_clear(&x->wf);
    for (size_t i = 0; i < x->nended; i++)
        free(x->ended[i].name);
    free(x->ended);
}

/* The store function of every event. It may run again after a failed commit, so it rebuilds its effects each time. */
static int reaction_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct reaction *r = ctx;
    effects_reset(&r->fx);
    _cleanup_(txn_clear) struct txn x = {
        .e = r->e, .db = db, .now = engine_now(r->e), .resume_after = -1, .fx = &r->fx, .err = err
    };
    int rc = repo_workflow_lock(db, r->workflow_uuid, &x.wf, err);
    if (rc == OSMO_ENOTFOUND) {
        log_warning(&r->e->log, "an event for the unknown workflow %s was dropped", r->workflow_uuid);
        return 0;
    }
    if (rc < 0)
        return rc;
    x.cascade = !x.wf.cancel_requested; /* what is unfinished will be cancelled, not started or blamed on another group */
    rc = r->decide(&x, r->arg);
    if (rc < 0)
        return rc;
    rc = txn_finish(&x);
    if (rc < 0)
        return rc;
    r->fx.workflow_id = str_dup(x.wf.id);
    return r->fx.workflow_id || !x.wf.id ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static void effects_perform(struct reaction *r) {
    if (r->fx.changed)
        watch_workflow_changed(r->e, r->workflow_uuid, r->fx.workflow_id);
    for (size_t i = 0; i < r->fx.barrier_groups.len; i++)
        logger_barrier_check(r->e, r->workflow_uuid, r->fx.barrier_groups.items[i]);
    for (size_t i = 0; i < r->fx.restart_groups.len; i++)
        logger_restart(r->e, r->workflow_uuid, r->fx.restart_groups.items[i]);
    if (r->fx.wake)
        engine_wake(r->e, r->fx.wake);
}

static void reaction_done(void *ctx, int rc, const osmo_error_t *err) {
    struct reaction *r = ctx;
    engine_t *e = r->e;
    if (rc >= 0)
        effects_perform(r);
    else
        log_error(&e->log, "an event of workflow %s was not stored: %s", r->workflow_uuid, err ? err->text : "");
    if (r->done)
        r->done(r->ctx, rc, err);
    if (r->free_arg)
        r->free_arg(r->arg);
    effects_reset(&r->fx);
    free(r);
    pending_drop(e);
}

int reactor_post(engine_t *e, const char *workflow_uuid, decide_fn decide, void *arg, void (*free_arg)(void *),
                 engine_done_fn done, void *ctx) {
    struct reaction *r = calloc(1, sizeof *r);
    int rc = r ? 0 : OSMO_ENOMEM;
    if (r) {
        *r =
            (struct reaction){ .e = e, .decide = decide, .arg = arg, .free_arg = free_arg, .done = done, .ctx = ctx };
        snprintf(r->workflow_uuid, sizeof r->workflow_uuid, "%s", workflow_uuid);
        pending_add(e);
        rc = store_post(e->store, r->workflow_uuid, reaction_run, reaction_done, r);
        if (rc < 0)
            pending_drop(e);
    }
    if (rc < 0) {
        free(r);
        if (free_arg)
            free_arg(arg);
    }
    return rc;
}

int reactor_run(engine_t *e, const char *workflow_uuid, decide_fn decide, void *arg, osmo_error_t *err) {
    struct reaction r = { .e = e, .decide = decide, .arg = arg };
    snprintf(r.workflow_uuid, sizeof r.workflow_uuid, "%s", workflow_uuid);
    int rc = store_write(e->store, r.workflow_uuid, reaction_run, &r, err);
    if (rc >= 0)
        effects_perform(&r);
    effects_reset(&r.fx);
    return rc;
}

/* ---- task events ---- */

struct backend_event {
    struct task_event ev;
    char *backend;
};

void task_event_clear(struct task_event *ev) {
    free(ev->message);
    free(ev->node);
    free(ev->pod_ip);
    ev->message = ev->node = ev->pod_ip = NULL;
}

static void backend_event_free(void *p) {
    struct backend_event *b = p;
    task_event_clear(&b->ev);
    free(b->backend);
    free(b);
}

/* A backend speaks for its own workflows only. */
static bool of_backend(const struct txn *x, const char *backend) {
    if (!backend || str_eq(backend, x->wf.backend))
        return true;
    log_warning(&x->e->log, "backend %s reported about workflow %s, which belongs to backend %s: ignored", backend,
                x->wf.id, x->wf.backend);
    return false;
}

static int decide_task(struct txn *x, void *arg) {
    const struct backend_event *b = arg;
    return of_backend(x, b->backend) ? txn_task_event(x, &b->ev) : 0;
}

int reactor_backend_event(engine_t *e, const char *backend, struct task_event *ev, engine_done_fn done, void *ctx) {
    masks_workflow_text(e, ev->workflow_uuid, &ev->message); /* a container may have said it with its last words */
    struct backend_event *b = calloc(1, sizeof *b);
    if (b) {
        b->ev = *ev;
        ev->message = ev->node = ev->pod_ip = NULL;
        b->backend = str_dup(backend);
    }
    if (!b || (backend && !b->backend)) {
        task_event_clear(ev);
        if (b)
            backend_event_free(b);
        return OSMO_ENOMEM;
    }
    return reactor_post(e, b->ev.workflow_uuid, decide_task, b, backend_event_free, done, ctx);
}

/* Measured from the moment the task began to initialise, so that repeated reports of the same attempt do not push it
 * away. */
static int decide_start_timer(struct txn *x, void *arg) {
    const struct backend_event *b = arg;
    struct task_row t = { 0 };
    if (!of_backend(x, b->backend))
        return 0;
    int rc = repo_task_get(x->db, x->wf.uuid, b->ev.task_uuid, b->ev.retry_id, &t, x->err);
    if (rc == 0 && status_is_prerunning(t.sm.status)) {
        const struct settings *s = engine_settings(x->e);
        int64_t due = (t.sm.initializing_us ? t.sm.initializing_us : x->now) + s->max_pod_restart_us;
        engine_settings_put(s);
        char subject[64];
        snprintf(subject, sizeof subject, "%s:%lld", t.uuid, (long long)t.sm.retry_id);
        rc = repo_timer_set(x->db, TIMER_START, x->wf.uuid, subject, 0, due, x->err);
        x->fx->wake |= WAKE_TIMERS;
    }
    task_row_clear(&t);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

int reactor_start_timer(engine_t *e, const char *backend, const char *workflow_uuid, const char *task_uuid,
                        int64_t retry_id, engine_done_fn done, void *ctx) {
    struct backend_event *b = calloc(1, sizeof *b);
    if (!b)
        return OSMO_ENOMEM;
    b->backend = str_dup(backend);
    b->ev.retry_id = retry_id;
    snprintf(b->ev.workflow_uuid, sizeof b->ev.workflow_uuid, "%s", workflow_uuid);
    snprintf(b->ev.task_uuid, sizeof b->ev.task_uuid, "%s", task_uuid);
    if (backend && !b->backend) {
        backend_event_free(b);
        return OSMO_ENOMEM;
    }
    return reactor_post(e, b->ev.workflow_uuid, decide_start_timer, b, backend_event_free, done, ctx);
}

/* ---- cancel ---- */

struct cancel {
    const char *user, *message; /* the message as it is stored */
    bool force;
};

static int cancel_later(struct txn *x, const struct cancel *c, int64_t after) {
    _cleanup_json_ json_t *payload = json_object();
    char key[64];
    snprintf(key, sizeof key, "%s%s", x->wf.uuid, c->force ? ":force" : "");
    int rc = payload ? json_set_str(payload, "message", c->message) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_bool(payload, "force", c->force);
    if (rc >= 0)
        rc = json_set_int(payload, "after", after);
    _cleanup_free_ char *text = rc < 0 ? NULL : json_to_text(payload);
    x->fx->wake |= WAKE_WORK;
    return text ? repo_work_add(x->db, WORK_CANCEL, key, x->wf.uuid, NULL, 4, text, x->now, x->err)
                : osmo_error_set(x->err, OSMO_ENOMEM, "out of memory");
}

/* A forced cancel asks the cluster again, without grace, also for groups that ended. */
static int force_cleanup(struct txn *x, const struct group_row *g) {
    if (!group_was_sent(g))
        return 0;
    char key[64];
    snprintf(key, sizeof key, "%s:force", g->uuid);
    x->fx->wake |= WAKE_WORK;
    return repo_work_add(x->db, WORK_CLEANUP, key, x->wf.uuid, x->wf.backend, 5, "{\"force\":true}", x->now, x->err);
}

/* The groups behind `after`, a batch of them; the rest is left to a work item. */
static int cancel_batch(struct txn *x, const struct cancel *c, int64_t after) {
    struct group_row *groups = NULL;
    size_t n = 0;
    int rc = repo_groups_after(x->db, x->wf.uuid, after, GROUPS_PER_TXN, &groups, &n, x->err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (!status_is_group_finished(groups[i].sm.status))
            rc = txn_group_fail(x, &groups[i], STATUS_FAILED_CANCELED, EXIT_CODE_NONE, c->message);
        if (rc >= 0 && c->force)
            rc = force_cleanup(x, &groups[i]);
    }
    int64_t last = n ? groups[n - 1].ordinal : 0;
    group_rows_free(groups, n);
    return rc < 0 || n < GROUPS_PER_TXN ? rc : cancel_later(x, c, last);
}

/* Cancellation is wanted from here on, whatever has been reached: nothing new starts. */
static int decide_cancel(struct txn *x, void *arg) {
    const struct cancel *c = arg;
    if (status_is_workflow_finished(x->wf.sm.status) && !c->force)
        return osmo_error_set(x->err, OSMO_EUSER,
                              "workflow %s is already finished with status %s; only a forced cancel acts on it",
                              x->wf.id, status_name(x->wf.sm.status));
    if (!x->wf.cancel_requested) {
        x->wf.cancel_requested = true;
        free(x->wf.cancelled_by);
        x->wf.cancelled_by = str_dup(c->user);
        x->wf_dirty = true;
    }
    x->cascade = false;
    return cancel_batch(x, c, -1);
}

int cancel_resume(struct txn *x, const struct work_row *item) {
    _cleanup_json_ json_t *payload = NULL;
    const char *text = item->payload_json ? item->payload_json : "{}";
    int rc = json_parse(text, strlen(text), &payload, x->err);
    const char *message = json_get_str(payload, "message");
    struct cancel c = { NULL, message ? message : "cancelled", json_get_bool(payload, "force", false) };
    x->cascade = false;
    return rc < 0 ? rc : cancel_batch(x, &c, json_get_int(payload, "after", -1));
}

int engine_cancel(engine_t *e, const char *id_or_uuid, const char *user, const char *message, bool force,
                  osmo_error_t *err) {
    db_t *db;
    struct workflow_row wf = { 0 };
    int rc = store_reader(e->store, &db, err);
    if (rc < 0)
        return rc;
    rc = repo_workflow_get(db, id_or_uuid, &wf, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EDATABASE, "workflow %s is not found", id_or_uuid);
    if (rc >= 0) {
        _cleanup_free_ char *text = message && *message ? str_printf("cancelled by %s: %s", user, message)
                                                        : str_printf("cancelled by %s", user);
        struct cancel c = { user, text, force };
        rc = text ? reactor_run(e, wf.uuid, decide_cancel, &c, err)
                  : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    workflow_row_clear(&wf);
    return rc;
}
