/* The table of meetings: who waits, who is joined, how many there may be, and the thread that ends what has waited, been idle or lasted
 * long enough, or whose task has ended. Nothing that is carried is seen here; the transport says how much it was, and when.
 * See router.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/audit.h"
#include "engine/auth_internal.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"
#include "model/policy.h"

#define KEY_PURPOSE "router-key:1"
#define ENDS_PER_TURN 64
#define CHANGED_MAX 4096            /* workflows; then all are looked at */
#define LOOK_REST_US (SECOND_US / 2) /* between looks at the state of workflows: logs that grow are changes too */
#define LOOK_REST_FAILED_US (5 * SECOND_US)
#define LONGEST_WAIT_US (3600 * SECOND_US)

/* ---- closing and the audit log ---- */

void router_close(engine_t *e, uint64_t conn, int code, const char *reason) {
    char text[REASON_MAX + 1];
    size_t n = strnlen(reason, REASON_MAX);
    while (n && ((unsigned char)reason[n] & 0xC0) == 0x80) /* it must stay UTF-8 */
        n--;
    memcpy(text, reason, n);
    text[n] = '\0';
    if (e->transport && e->transport->ws_close)
        e->transport->ws_close(e->transport->impl, conn, code, text);
}

void router_audit(const struct router_session *s, const char *what, bool allowed, const struct meeting *m) {
    static const enum action actions[ROUTER_ACTIONS] = {
        [ROUTER_EXEC] = ACTION_WORKFLOW_EXEC, [ROUTER_PORTFORWARD] = ACTION_WORKFLOW_PORT_FORWARD,
        [ROUTER_WEBSERVER] = ACTION_WORKFLOW_PORT_FORWARD, [ROUTER_RSYNC] = ACTION_WORKFLOW_RSYNC,
    };
    osmo_request_t rq = { .size = sizeof rq, .id = s->request, .method = s->method, .path = s->path, .peer = s->peer };
    _cleanup_free_ char *resource = s->pool ? str_printf("pool/%s", s->pool) : NULL;
    enum action a = s->ctrl ? ACTION_INTERNAL_ROUTER : actions[s->action];
    struct audit_event ev = { .rq = &rq, .who = &s->who, .action = action_name(a), .resource = resource, .allowed = allowed,
                              .status = allowed ? 101 : 403, .session = what };
    if (m && strcmp(what, "closed") == 0) {
        ev.in = m->in;
        ev.out = m->out;
        ev.lasted_us = clock_mono_us() - m->began_us;
    }
    audit_write(s->e, &ev);
}

/* ---- limits ---- */

struct session_limits router_limits(const struct settings *s, enum router_action a) {
    const struct session_limits all[ROUTER_ACTIONS] = {
        [ROUTER_EXEC] = s->interactive.exec, [ROUTER_PORTFORWARD] = s->interactive.port_forward,
        [ROUTER_WEBSERVER] = s->interactive.webserver, [ROUTER_RSYNC] = s->interactive.rsync,
    };
    return all[a];
}

static int check_counts_locked(const struct router_table *t, const char *workflow_uuid, const char *user, osmo_error_t *err) {
    const struct settings *s = engine_settings(t->e);
    int64_t of_user = 0, of_workflow = 0, most = s->interactive.max_sessions, per_user = s->interactive.max_per_user,
            per_workflow = s->interactive.max_per_workflow;
    engine_settings_put(s);
    if ((int64_t)t->n >= most)
        return osmo_error_set(err, OSMO_EBUSY, "this service carries its %lld interactive sessions already: try again later",
                              (long long)most);
    for (const struct meeting *m = t->first; m; m = m->next) {
        of_user += user && m->user && strcmp(m->user, user) == 0;
        of_workflow += memcmp(m->workflow_uuid, workflow_uuid, 32) == 0;
    }
    if (of_user >= per_user)
        return osmo_error_set(err, OSMO_EBUSY, "you have %lld interactive sessions open, which is the limit: end one of them",
                              (long long)of_user);
    if (of_workflow >= per_workflow)
        return osmo_error_set(err, OSMO_EBUSY, "the workflow has %lld interactive sessions open, which is the limit: end one of them",
                              (long long)of_workflow);
    return 0;
}

/* ---- meetings ---- */

static char *name_of(const char *workflow_uuid, const char *key) { return str_printf("%.32s/%s", workflow_uuid, key); }

struct meeting *meeting_find_locked(struct router_table *t, const char *workflow_uuid, const char *key) {
    _cleanup_free_ char *name = name_of(workflow_uuid, key);
    return name ? map_get(t->by_name, name) : NULL;
}

static void meeting_free(struct meeting *m) {
    free(m->name);
    free(m->workflow_id);
    free(m->task);
    free(m->user);
    free(m);
}

static int set_text(char **to, const char *from) {
    *to = from ? str_dup(from) : NULL;
    return from && !*to ? OSMO_ENOMEM : 0;
}

/* What is known of it: from the mailbox, from its session, or from whoever came first. */
static int meeting_fill(struct meeting *m, const struct router_session *s, const struct action_row *made_for) {
    const struct meeting *p = m->parent;
    bool task = s->ctrl && s->who.kind == IDENTITY_TASK;
    const char *name = made_for ? made_for->task : p ? p->task : task ? s->who.task_name : NULL;
    const char *user = made_for ? made_for->user : p ? p->user : s->ctrl ? NULL : s->who.user;
    m->retry_id = made_for ? made_for->retry_id : p ? p->retry_id : task ? s->who.retry_id : 0;
    memcpy(m->workflow_uuid, s->workflow_uuid, sizeof m->workflow_uuid);
    m->name = name_of(s->workflow_uuid, s->text);
    m->workflow_id = str_dup(s->workflow_id);
    bool failed = set_text(&m->task, name) < 0 || set_text(&m->user, user) < 0;
    return failed || !m->name || !m->workflow_id ? OSMO_ENOMEM : 0;
}

int meeting_new_locked(struct router_table *t, const struct router_session *s, const struct action_row *made_for, struct meeting **out,
                       osmo_error_t *err) {
    char parent[ROUTER_KEY_MAX];
    struct meeting *m = calloc(1, sizeof *m);
    if (!m)
        return no_memory(err);
    router_key_parent(s->text, parent);
    m->parent = s->key.form == ROUTER_KEY_CONNECTION ? meeting_find_locked(t, s->workflow_uuid, parent) : NULL;
    m->action = m->parent ? m->parent->action : s->key.form == ROUTER_KEY_INVENTED ? s->action : s->key.action;
    m->began_us = m->last_us = clock_mono_us();
    m->due_us = INT64_MAX;
    int rc = meeting_fill(m, s, made_for) < 0 ? no_memory(err) : check_counts_locked(t, s->workflow_uuid, m->user, err);
    if (rc >= 0 && map_set(t->by_name, m->name, m) < 0)
        rc = no_memory(err);
    if (rc < 0) {
        meeting_free(m);
        return rc;
    }
    m->listed = true;
    m->next = t->first;
    if (m->next)
        m->next->prev = m;
    t->first = m;
    t->n++;
    atomic_store(&t->any, true);
    *out = m;
    return 0;
}

void meeting_unlist_locked(struct router_table *t, struct meeting *m) {
    if (m->listed)
        map_remove(t->by_name, m->name);
    m->listed = false;
}

void meeting_leave_locked(struct router_table *t, struct meeting *m) {
    if (m->client || m->ctrl)
        return;
    meeting_unlist_locked(t, m);
    for (struct meeting *c = t->first; c; c = c->next)
        if (c->parent == m)
            c->parent = NULL;
    *(m->prev ? &m->prev->next : &t->first) = m->next;
    if (m->next)
        m->next->prev = m->prev;
    t->n--;
    atomic_store(&t->any, t->n > 0);
    meeting_free(m);
}

void meeting_settle_locked(struct meeting *m) {
    if (m->pends && m->parent)
        m->parent->pending--;
    m->pends = false;
}

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

void meeting_plan_locked(struct router_table *t, struct meeting *m, const struct settings *settings) {
    const struct router_session *waits = m->client ? m->client : m->ctrl;
    struct session_limits limits = router_limits(settings, m->action);
    m->due_us = INT64_MAX;
    if (m->state == MEETING_WAITS && waits)
        m->due_us = m->began_us + waits->wait_s * SECOND_US;
    else if (m->state == MEETING_JOINED || m->state == MEETING_SERVES)
        m->due_us = sooner(limits.total_us ? m->began_us + limits.total_us : INT64_MAX, limits.idle_us ? m->last_us + limits.idle_us
                                                                                                     : INT64_MAX);
    if (m->due_us >= t->next_us)
        return;
    t->next_us = m->due_us;
    waker_wake(&t->waker);
}

/* ---- the thread: what is due ---- */

struct end { uint64_t conn; int code; char reason[REASON_MAX + 1]; };
struct ends { struct end list[ENDS_PER_TURN]; size_t n; };

/* False: not in this turn. One end is closed; the transport hands code and reason on to the other. */
static bool end_one(struct router_table *t, struct meeting *m, struct ends *ends, int code, const char *reason) {
    if (ends->n == ENDS_PER_TURN)
        return false;
    const struct router_session *s = m->client ? m->client : m->ctrl;
    struct end *e = &ends->list[ends->n++];
    e->conn = s->conn;
    e->code = s->tunnel && m->state == MEETING_WAITS ? 504 : code;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    meeting_unlist_locked(t, m);
    meeting_settle_locked(m);
    m->state = MEETING_ENDS;
    m->due_us = INT64_MAX;
    return true;
}

/* Connections of browsers end with their session, before it, so that it is there for as long as that takes. Those of port-forwards have
 * limits and a user of their own. */
static bool end_meeting(struct router_table *t, struct meeting *m, struct ends *ends, int code, const char *reason) {
    bool all = true;
    for (struct meeting *c = m->state == MEETING_SERVES ? t->first : NULL; c; c = c->next)
        if (c->parent == m && c->state != MEETING_ENDS)
            all &= end_one(t, c, ends, code, reason);
    return all && end_one(t, m, ends, code, reason);
}

static void look_at_traffic(struct router_table *t, struct meeting *m) {
    const osmo_transport_t *tr = t->e->transport;
    osmo_traffic_t seen = { .size = sizeof seen };
    const struct router_session *s = m->client ? m->client : m->ctrl;
    if (m->state != MEETING_JOINED || !s || !tr || tr->size < sizeof *tr || !tr->traffic || tr->traffic(tr->impl, s->conn, &seen) < 0)
        return;
    m->in = s == m->client ? seen.in : seen.out;
    m->out = s == m->client ? seen.out : seen.in;
    if (seen.last_us > m->last_us)
        m->last_us = seen.last_us;
}

/* A session is as busy as the busiest of its connections. */
static void look_at_connections(struct router_table *t, struct meeting *m) {
    look_at_traffic(t, m);
    for (struct meeting *c = t->first; c; c = c->next) {
        if (c->parent != m)
            continue;
        look_at_traffic(t, c);
        if (c->last_us > m->last_us)
            m->last_us = c->last_us;
    }
}

static void span_text(int64_t us, char out[40]) {
    int64_t s = us / SECOND_US;
    if (s >= 7200)
        snprintf(out, 40, "%lld hours", (long long)(s / 3600));
    else if (s >= 120)
        snprintf(out, 40, "%lld minutes", (long long)(s / 60));
    else
        snprintf(out, 40, "%lld s", (long long)s);
}

static bool waited(struct router_table *t, struct meeting *m, struct ends *ends) {
    const struct router_session *s = m->client ? m->client : m->ctrl;
    char reason[REASON_MAX + 1], span[40];
    span_text(s->wait_s * SECOND_US, span);
    if (s->tunnel)
        snprintf(reason, sizeof reason, "the task did not answer within %s: try again", span);
    else if (s->ctrl)
        snprintf(reason, sizeof reason, "nobody came to this session within %s", span);
    else
        snprintf(reason, sizeof reason, "task %.40s did not answer within %s: try again, with a longer timeout", m->task ? m->task : "",
                 span);
    return end_meeting(t, m, ends, CLOSE_REFUSED, reason);
}

static bool due(struct router_table *t, struct meeting *m, const struct settings *settings, int64_t now, struct ends *ends) {
    struct session_limits limits = router_limits(settings, m->action);
    char reason[REASON_MAX + 1], span[40];
    if (m->state == MEETING_WAITS)
        return waited(t, m, ends);
    if (limits.total_us && now - m->began_us >= limits.total_us) {
        span_text(limits.total_us, span);
        snprintf(reason, sizeof reason, "a session lasts at most %s: begin a new one", span);
        return end_meeting(t, m, ends, CLOSE_REFUSED, reason);
    }
    look_at_connections(t, m);
    if (limits.idle_us && now - m->last_us >= limits.idle_us) {
        span_text(limits.idle_us, span);
        snprintf(reason, sizeof reason, "the session was idle for %s: begin a new one", span);
        return end_meeting(t, m, ends, CLOSE_REFUSED, reason);
    }
    meeting_plan_locked(t, m, settings);
    return true;
}

static void close_ends(struct router_table *t, struct ends *ends) {
    for (size_t i = 0; i < ends->n; i++)
        router_close(t->e, ends->list[i].conn, ends->list[i].code, ends->list[i].reason);
    ends->n = 0;
}

/* Returns when there is something next. */
static int64_t end_due(struct router_table *t) {
    const struct settings *settings = engine_settings(t->e);
    struct ends ends = { .n = 0 };
    int64_t now = clock_mono_us(), next = INT64_MAX;
    bool all = true;
    pthread_mutex_lock(&t->lock);
    for (struct meeting *m = t->first; m; m = m->next) {
        if (m->due_us <= now)
            all &= due(t, m, settings, now, &ends);
        next = sooner(next, m->due_us);
    }
    t->next_us = next;
    pthread_mutex_unlock(&t->lock);
    engine_settings_put(settings);
    close_ends(t, &ends);
    return all ? next : now;
}

/* ---- the thread: workflows whose state has changed ---- */

void router_workflow_changed(engine_t *e, const char *workflow_id) {
    struct router_table *t = e->router;
    if (!t || !atomic_load(&t->any))
        return;
    pthread_mutex_lock(&t->lock);
    bool known = workflow_id && map_has(t->changed, workflow_id);
    if (!known && (!workflow_id || map_len(t->changed) >= CHANGED_MAX || map_set(t->changed, workflow_id, NULL) < 0))
        t->all_changed = true;
    pthread_mutex_unlock(&t->lock);
    if (!known)
        waker_wake(&t->waker);
}

struct attempt { char workflow_uuid[33]; char *task; int64_t retry_id; bool over; };

/* Attempts with sessions here, in the workflows that changed; task NULL: of any task. Caller frees. */
static struct attempt *attempts_to_look_at(struct router_table *t, size_t *n) {
    pthread_mutex_lock(&t->lock);
    struct attempt *list = calloc(t->n + 1, sizeof *list);
    *n = 0;
    for (const struct meeting *m = t->first; list && m; m = m->next) {
        if (m->state == MEETING_ENDS || !(t->all_changed || map_has(t->changed, m->workflow_id)))
            continue;
        struct attempt *a = &list[*n];
        size_t k = 0;
        while (k < *n && !(memcmp(list[k].workflow_uuid, m->workflow_uuid, 32) == 0 && list[k].retry_id == m->retry_id &&
                           str_eq(list[k].task, m->task) && !list[k].task == !m->task))
            k++;
        if (k < *n)
            continue;
        memcpy(a->workflow_uuid, m->workflow_uuid, sizeof a->workflow_uuid);
        a->retry_id = m->retry_id;
        if (set_text(&a->task, m->task) >= 0)
            ++*n;
    }
    size_t it = 0;
    const char *key;
    while (map_next(t->changed, &it, &key, NULL))
        map_remove(t->changed, key);
    t->all_changed = false;
    pthread_mutex_unlock(&t->lock);
    return list;
}

static int look_at_attempt(engine_t *e, struct attempt *a, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct task_row row = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, a->workflow_uuid, &w, err);
    a->over = rc == OSMO_ENOTFOUND || (rc >= 0 && status_is_workflow_finished(w.sm.status));
    if (rc >= 0 && !a->over && a->task) {
        rc = repo_task_by_name(db, a->workflow_uuid, a->task, a->retry_id, &row, err);
        a->over = rc == OSMO_ENOTFOUND || (rc >= 0 && status_is_task_finished(row.sm.status));
    }
    task_row_clear(&row);
    workflow_row_clear(&w);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static bool is_of(const struct meeting *m, const struct attempt *a) {
    return m->state != MEETING_ENDS && memcmp(m->workflow_uuid, a->workflow_uuid, 32) == 0 && m->retry_id == a->retry_id &&
        !m->task == !a->task && str_eq(m->task, a->task);
}

static void end_attempt(struct router_table *t, const struct attempt *a) {
    struct ends ends = { .n = 0 };
    char reason[REASON_MAX + 1];
    snprintf(reason, sizeof reason, "task %.60s has ended", a->task ? a->task : "");
    for (bool all = false; !all;) {
        all = true;
        pthread_mutex_lock(&t->lock);
        for (struct meeting *m = t->first; m; m = m->next)
            all &= !is_of(m, a) || end_meeting(t, m, &ends, CLOSE_REFUSED, a->task ? reason : "the workflow has ended");
        pthread_mutex_unlock(&t->lock);
        close_ends(t, &ends);
    }
}

static void look_at_workflows(struct router_table *t) {
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t n = 0;
    struct attempt *list = attempts_to_look_at(t, &n);
    size_t unknown = list ? 0 : 1;
    for (size_t i = 0; list && i < n; i++) {
        if (look_at_attempt(t->e, &list[i], &err) < 0)
            unknown++;
        else if (list[i].over)
            end_attempt(t, &list[i]);
        free(list[i].task);
    }
    free(list);
    t->look_us = clock_mono_us() + (unknown ? LOOK_REST_FAILED_US : LOOK_REST_US);
    if (unknown == 0)
        return;
    log_warning(&t->e->log, "whether %zu tasks with sessions still run cannot be looked up, again soon: %s", unknown, err.text);
    router_workflow_changed(t->e, NULL);
}

static bool has_changes(struct router_table *t) {
    pthread_mutex_lock(&t->lock);
    bool some = t->all_changed || map_len(t->changed);
    pthread_mutex_unlock(&t->lock);
    return some;
}

static void *router_main(void *arg) {
    struct router_table *t = arg;
    while (!waker_stopped(&t->waker)) {
        int64_t next = end_due(t), now = clock_mono_us();
        if (has_changes(t)) {
            if (now >= t->look_us)
                look_at_workflows(t);
            else
                next = sooner(next, t->look_us);
        }
        now = clock_mono_us();
        waker_wait(&t->waker, next <= now ? 0 : sooner(next - now, LONGEST_WAIT_US));
    }
    return NULL;
}

/* ---- life ---- */

int router_start(engine_t *e, osmo_error_t *err) {
    struct router_table *t = calloc(1, sizeof *t);
    if (!t)
        return no_memory(err);
    t->e = e;
    t->next_us = INT64_MAX;
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->tell_lock, NULL);
    pthread_mutex_init(&t->peers_lock, NULL);
    waker_init(&t->waker);
    crypto_hmac_sha256(e->auth->master, sizeof e->auth->master, KEY_PURPOSE, strlen(KEY_PURPOSE), t->secret);
    t->by_name = map_new(NULL);
    t->changed = map_new(NULL);
    e->router = t;
    if (!t->by_name || !t->changed || peers_seen_new(&t->peers) < 0)
        return no_memory(err);
    t->started = e->roles & ROLE_ROUTER && pthread_create(&t->thread, NULL, router_main, t) == 0;
    if (e->roles & ROLE_ROUTER && !t->started)
        return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the thread of interactive sessions: too many threads");
    return 0;
}

void router_stop(engine_t *e) {
    struct router_table *t = e->router;
    if (!t)
        return;
    if (t->started) {
        waker_stop(&t->waker);
        pthread_join(t->thread, NULL);
        t->started = false;
    }
    struct ends ends = { .n = 0 };
    for (bool all = false; !all;) {
        all = true;
        pthread_mutex_lock(&t->lock);
        t->stopping = true;
        for (struct meeting *m = t->first; m; m = m->next)
            all &= m->state == MEETING_ENDS || end_meeting(t, m, &ends, CLOSE_AWAY, "the service is being stopped: connect again");
        pthread_mutex_unlock(&t->lock);
        close_ends(t, &ends);
    }
}

void router_free_all(engine_t *e) {
    struct router_table *t = e->router;
    if (!t)
        return;
    e->router = NULL;
    while (t->first) { /* of sessions that the transport has not taken back */
        struct meeting *m = t->first;
        t->first = m->next;
        meeting_free(m);
    }
    map_free(t->by_name);
    map_free(t->changed);
    peers_seen_free(t->peers);
    crypto_wipe(t->secret, sizeof t->secret);
    waker_destroy(&t->waker);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->tell_lock);
    pthread_mutex_destroy(&t->peers_lock);
    free(t);
}
