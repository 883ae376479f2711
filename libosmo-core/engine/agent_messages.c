/* What listeners report about pods, and the small messages: one handler each, one row in the table at the end. Called
 * by agent.c. */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "engine/masks.h"
#include "engine/reconcile.h"
#include "store/repo_reconcile.h"

#define HEARTBEAT_WRITE_US (5LL * 1000 * 1000)
#define EVENTS_MAX 200 /* lines kept of one task attempt */

/* ---- reading bodies ---- */

const char *body_text(const json_t *body, const char *key, osmo_error_t *err) {
    const char *text = json_get_str(body, key);
    if (!text)
        osmo_error_set(err, OSMO_EINVAL, "%s is missing or no text", key);
    return text;
}

int body_uuid(const json_t *body, const char *key, char out[33], osmo_error_t *err) {
    const char *text = body_text(body, key, err);
    if (!text)
        return OSMO_EINVAL;
    size_t n = strlen(text);
    for (size_t i = 0; i < n && n == 32; i++)
        if (!isxdigit((unsigned char)text[i]) || isupper((unsigned char)text[i]))
            n = 0;
    if (n != 32)
        return osmo_error_set(err, OSMO_EINVAL, "%s is not 32 lower-case hexadecimal digits", key);
    memcpy(out, text, 33);
    return 0;
}

int64_t body_int(const json_t *body, const char *key, int64_t fallback) {
    const json_t *v = json_get(body, key);
    const char *text = json_str(v);
    int64_t n;
    if (text)
        return str_to_i64(text, &n) ? n : fallback;
    return json_as_int(v, fallback);
}

static int bad(struct ticket *t, int rc) {
    ticket_done(t, 0, NULL);
    return rc;
}

/* A post that was refused: as if its commit had failed. */
static int posted(struct ticket *t, int rc) {
    if (rc < 0) {
        osmo_error_t err = OSMO_ERROR_INIT;
        osmo_error_set(&err, rc, "the store does not accept more work");
        ticket_done(t, rc, &err);
    }
    return 0;
}

struct task_ref {
    char workflow_uuid[33], task_uuid[33];
    int64_t retry_id;
};

static int read_ref(const json_t *body, struct task_ref *ref, osmo_error_t *err) {
    int rc = body_uuid(body, "workflow_uuid", ref->workflow_uuid, err);
    if (rc >= 0)
        rc = body_uuid(body, "task_uuid", ref->task_uuid, err);
    ref->retry_id = body_int(body, "retry_id", -1);
    if (rc >= 0 && ref->retry_id < 0)
        rc = osmo_error_set(err, OSMO_EINVAL, "retry_id is missing or no number");
    return rc;
}

/* ---- pods ---- */

static int handle_update_pod(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    struct task_ref ref;
    int rc = read_ref(body, &ref, err);
    const char *name = rc < 0 ? NULL : body_text(body, "status", err);
    struct task_event ev = { .status = status_parse(name), .retry_id = ref.retry_id };
    if (!name)
        return bad(t, OSMO_EINVAL);
    /* The statuses that a pod can have; the others belong to the service. */
    if (ev.status < STATUS_SCHEDULING || ev.status > STATUS_FAILED_PREEMPTED || ev.status == STATUS_RESCHEDULED)
        return bad(t, osmo_error_set(err, OSMO_EINVAL, "status %s is not one of a pod", name));
    memcpy(ev.workflow_uuid, ref.workflow_uuid, 33);
    memcpy(ev.task_uuid, ref.task_uuid, 33);
    ev.exit_code = body_int(body, "exit_code", EXIT_CODE_NONE);
    ev.message = str_dup(json_get_str(body, "message"));
    ev.node = str_dup(json_get_str(body, "node"));
    ev.pod_ip = str_dup(json_get_str(body, "pod_ip"));
    return posted(t, reactor_backend_event(s->e, s->backend, &ev, ticket_done, t));
}

static int handle_monitor_pod(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    struct task_ref ref;
    int rc = read_ref(body, &ref, err);
    if (rc < 0)
        return bad(t, rc);
    return posted(
        t, reactor_start_timer(s->e, s->backend, ref.workflow_uuid, ref.task_uuid, ref.retry_id, ticket_done, t));
}

/* ---- events of a workflow ---- */

/* "2026-03-01 09:30:00+00:00 [task retry-1] " */
static int line_begin(int64_t at_us, const char *task, int64_t retry_id, buf_t *out) {
    char text[TIME_TEXT_MAX];
    time_log(at_us, text);
    for (char *p = text; *p; p++)
        if (*p == '/')
            *p = '-';
    buf_printf(out, "%s+00:00 [%s", text, task);
    if (retry_id > 0)
        buf_printf(out, " retry-%lld", (long long)retry_id);
    return buf_puts(out, "] ");
}

static int event_add(db_t *db, const struct task_row *t, int64_t at_us, const char *text, bool *added,
                     osmo_error_t *err) {
    return repo_event_add_once(db, t->workflow_uuid, t->name, t->sm.retry_id, at_us, text, EVENTS_MAX, added, err);
}

struct conditions {
    struct task_ref ref;
    char *backend, *json;
};

static void conditions_free(void *p) {
    struct conditions *c = p;
    free(c->backend);
    free(c->json);
    free(c);
}

/* What every pod passes through, or is not true yet, is no news. */
static bool condition_is_news(const char *type, const char *status) {
    if (str_eq(type, "ContainersReady"))
        return false;
    return !str_eq(status, "False") || (!str_eq(type, "Initialized") && !str_eq(type, "Ready"));
}

static int condition_line(struct txn *x, const struct task_row *t, const json_t *c) {
    const char *type = json_get_str(c, "type"), *status = json_get_str(c, "status"),
               *stamp = json_get_str(c, "timestamp");
    const char *reason = json_get_str(c, "reason");
    int64_t at = 0;
    if (!type || !status || !condition_is_news(type, status))
        return 0;
    if (!stamp || !time_parse(stamp, &at))
        at = x->now;
    _cleanup_free_ char *message = str_dup(json_get_str(c, "message"));
    masks_text(x->e, x->db, x->wf.user, &message);
    _cleanup_buf_ buf_t text = BUF_INIT(16384);
    line_begin(at, t->name, t->sm.retry_id, &text);
    buf_printf(&text, "%s: %s", type, status);
    if (reason)
        buf_printf(&text, ", Reason: %s", reason);
    if (message)
        buf_printf(&text, ", Message: %s", message);
    bool added = false;
    int rc = buf_failed(&text) ? 0 : event_add(x->db, t, at, buf_cstr(&text), &added, x->err);
    x->fx->changed |= added;
    return rc;
}

static int decide_conditions(struct txn *x, void *arg) {
    const struct conditions *c = arg;
    _cleanup_json_ json_t *list = NULL;
    struct task_row t = { 0 };
    if (!str_eq(c->backend, x->wf.backend))
        return 0;
    int rc = json_parse(c->json, strlen(c->json), &list, x->err);
    if (rc >= 0)
        rc = repo_task_get(x->db, x->wf.uuid, c->ref.task_uuid, c->ref.retry_id, &t, x->err);
    for (size_t i = 0; rc >= 0 && i < json_len(list); i++)
        rc = condition_line(x, &t, json_at(list, i));
    task_row_clear(&t);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int handle_pod_conditions(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    struct task_ref ref;
    int rc = read_ref(body, &ref, err);
    if (rc < 0)
        return bad(t, rc);
    struct conditions *c = calloc(1, sizeof *c);
    if (!c)
        return posted(t, OSMO_ENOMEM);
    c->ref = ref;
    c->backend = str_dup(s->backend);
    c->json = json_kind(json_get(body, "conditions")) == JSON_ARRAY ? json_to_text(json_get(body, "conditions"))
                                                                    : str_dup("[]");
    if (!c->backend || !c->json) {
        conditions_free(c);
        return posted(t, OSMO_ENOMEM);
    }
    return posted(t, reactor_post(s->e, ref.workflow_uuid, decide_conditions, c, conditions_free, ticket_done, t));
}

struct pod_event {
    struct ticket *ticket;
    char *pod, *reason, *message;
    int64_t at_us;
    char *workflow_id; /* out */
};

/* The event names the pod only: the newest attempt of its task is meant. */
static int pod_event_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct pod_event *p = ctx;
    struct task_row *rows = NULL;
    struct workflow_row wf = { 0 };
    size_t n = 0, newest = 0;
    free(p->workflow_id);
    p->workflow_id = NULL;
    int rc = repo_tasks_by_pod(db, p->pod, &rows, &n, err);
    for (size_t i = 1; rc >= 0 && i < n; i++)
        if (rows[i].sm.retry_id > rows[newest].sm.retry_id)
            newest = i;
    if (rc >= 0 && n > 0) /* the lock keeps the numbers of one workflow's events in the order in which they appear */
        rc = repo_workflow_lock(db, rows[newest].workflow_uuid, &wf, err);
    if (rc >= 0 && n > 0 && str_eq(wf.backend, p->ticket->s->backend)) {
        bool added = false;
        _cleanup_buf_ buf_t text = BUF_INIT(16384);
        _cleanup_free_ char *message = str_dup(p->message);
        masks_text(p->ticket->s->e, db, wf.user, &message);
        line_begin(p->at_us, rows[newest].name, 0, &text);
        buf_printf(&text, "%s: %s", p->reason, message ? message : "");
        rc = buf_failed(&text) ? 0 : event_add(db, &rows[newest], p->at_us, buf_cstr(&text), &added, err);
        if (added)
            p->workflow_id = str_dup(wf.id);
    }
    task_rows_free(rows, n);
    workflow_row_clear(&wf);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static void pod_event_done(void *ctx, int rc, const osmo_error_t *err) {
    struct pod_event *p = ctx;
    if (rc >= 0 && p->workflow_id)
        watch_workflow_changed(p->ticket->s->e, NULL, p->workflow_id);
    ticket_done(p->ticket, rc, err);
    free(p->pod);
    free(p->reason);
    free(p->message);
    free(p->workflow_id);
    free(p);
}

static int handle_pod_event(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *pod = body_text(body, "pod_name", err), *stamp = json_get_str(body, "timestamp");
    if (!pod)
        return bad(t, OSMO_EINVAL);
    struct pod_event *p = calloc(1, sizeof *p);
    if (!p)
        return posted(t, OSMO_ENOMEM);
    const char *reason = json_get_str(body, "reason"), *message = json_get_str(body, "message");
    p->ticket = t;
    p->pod = str_dup(pod);
    p->reason = str_dup(reason ? reason : "");
    p->message = str_dup(message ? message : "");
    if (!stamp || !time_parse(stamp, &p->at_us))
        p->at_us = engine_now(s->e);
    int rc = p->pod && p->reason && p->message ? store_post(s->e->store, NULL, pod_event_run, pod_event_done, p)
                                               : OSMO_ENOMEM;
    if (rc < 0) {
        osmo_error_t busy = OSMO_ERROR_INIT;
        osmo_error_set(&busy, rc, "the store does not accept more work");
        pod_event_done(p, rc, &busy);
    }
    return 0;
}

/* ---- heartbeat and log lines ---- */

struct beat {
    struct ticket *ticket;
    char *backend, *status;
    bool returned; /* out: the backend was lost */
};

static int beat_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct beat *b = ctx;
    b->returned = false;
    int rc = repo_backend_heartbeat(db, b->backend, engine_now(b->ticket->s->e), b->status, err);
    return rc < 0 ? rc : repo_backend_returned(db, b->backend, &b->returned, err);
}

/* A backend that is not there any more was deleted: its sessions end. */
static void beat_done(void *ctx, int rc, const osmo_error_t *err) {
    struct beat *b = ctx;
    if (rc >= 0 && b->returned)
        offline_returned(b->ticket->s);
    if (rc == OSMO_ENOTFOUND) {
        session_close(b->ticket->s, CLOSE_REFUSED, "the backend was deleted");
        rc = 0;
    }
    ticket_done(b->ticket, rc, err);
    free(b->backend);
    free(b->status);
    free(b);
}

/* Heartbeats say one thing; several in a short time are written once. The time is ours: the operator's clock may be
 * wrong. */
static bool beat_is_due(struct agents *a, const char *backend, const char *status) {
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&a->lock);
    struct last_beat *last = map_get(a->heartbeats, backend);
    bool due = !last || now - last->at >= HEARTBEAT_WRITE_US || !str_eq(last->status, status);
    if (!last && (last = calloc(1, sizeof *last)) && map_set(a->heartbeats, backend, last) < 0)
        last = NULL;
    if (due && last) {
        last->at = now;
        snprintf(last->status, sizeof last->status, "%s", status);
    }
    pthread_mutex_unlock(&a->lock);
    return due;
}

/* One line without control characters, as much of it as is kept. */
static void read_status(const struct agent_session *s, const json_t *body, char out[BACKEND_STATUS_MAX + 1]) {
    const char *text = s->status_extension ? json_get_str(body, "status") : NULL;
    size_t n = text ? strlen(text) : 0;
    if (n > BACKEND_STATUS_MAX)
        for (n = BACKEND_STATUS_MAX; n && ((unsigned char)text[n] & 0xC0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
    out[n] = '\0';
}

static int handle_heartbeat(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    char status[BACKEND_STATUS_MAX + 1];
    (void)err;
    read_status(s, body, status);
    if (!beat_is_due(s->e->agents, s->backend, status))
        return bad(t, 0);
    struct beat *b = calloc(1, sizeof *b);
    if (!b)
        return posted(t, OSMO_ENOMEM);
    b->ticket = t;
    b->backend = str_dup(s->backend);
    b->status = str_dup(status);
    int rc = b->backend && b->status ? store_post(s->e->store, s->backend, beat_run, beat_done, b) : OSMO_ENOMEM;
    if (rc < 0) {
        osmo_error_t busy = OSMO_ERROR_INIT;
        osmo_error_set(&busy, rc, "the store does not accept more work");
        beat_done(b, rc, &busy);
    }
    return 0;
}

void agent_logging(struct agent_session *s, const json_t *body) {
    int64_t level = body_int(body, "type", LOG_LEVEL_INFO);
    const char *text = json_get_str(body, "text");
    if (level != LOG_LEVEL_DEBUG && level != LOG_LEVEL_INFO && level != LOG_LEVEL_WARNING && level != LOG_LEVEL_ERROR)
        level = LOG_LEVEL_INFO;
    log_write(&s->e->log, (int)level, "backend %s %s: %.2000s", s->backend,
              s->kind == AGENT_WORKER ? "worker" : "listener", text ? text : "");
}

message_fn agent_handler(enum message_type type) {
    static const struct {
        enum message_type type;
        message_fn fn;
    } handlers[] = {
        { MSG_UPDATE_POD, handle_update_pod },
        { MSG_MONITOR_POD, handle_monitor_pod },
        { MSG_POD_CONDITIONS, handle_pod_conditions },
        { MSG_POD_EVENT, handle_pod_event },
        { MSG_HEARTBEAT, handle_heartbeat },
        { MSG_RESOURCE, agent_resource },
        { MSG_RESOURCE_USAGE, agent_resource_usage },
        { MSG_DELETE_RESOURCE, agent_delete_resource },
        { MSG_NODE_HASH, agent_node_hash },
        { MSG_TASK_LIST, agent_task_list },
    };
    for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
        if (handlers[i].type == type)
            return handlers[i].fn;
    return NULL; /* container_node, metrics: acknowledged without effect */
}
