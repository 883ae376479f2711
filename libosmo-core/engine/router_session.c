/* Ends of interactive sessions: websockets of clients and of ctrls, from their upgrade to their end. What can be told on the thread of the
 * connections is told there (router_open); the workflow, the key and the rights on it are looked at when the session is open, on a
 * worker, and refused by a close. See router.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/auth_sessions.h"
#include "engine/identity_internal.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"

#define GONE "the router that this session was made for is gone: begin a new session"

#define LEFT "the other end has just left: begin a new session"

/* ---- opening ---- */

void router_session_free(struct router_session *s) {
    if (!s)
        return;
    auth_session_free(s->owner);
    identity_clear(&s->who);
    free(s->workflow);
    free(s->workflow_id);
    free(s->pool);
    free(s->method);
    free(s->path);
    free(s);
}

/* The key is no matter of the audit log. */
int router_remember(struct router_session *s, const osmo_request_t *rq) {
    const char *path = rq->path ? rq->path : "", *end = s->tunnel ? NULL : strrchr(path, '/');
    s->request = rq->id;
    s->method = str_dup(rq->method ? rq->method : "GET");
    s->path = str_printf("%.*s", (int)(end ? (size_t)(end - path) : strlen(path)), path);
    snprintf(s->peer, sizeof s->peer, "%s", rq->peer ? rq->peer : "");
    return s->method && s->path ? 0 : OSMO_ENOMEM;
}

static int64_t bounded(int64_t wait_s) { return wait_s < 1 ? 1 : wait_s > ROUTER_WAIT_MAX_S ? ROUTER_WAIT_MAX_S : wait_s; }

/* Which keys belong to which paths. A session's own key goes with its own action, because that is what the client was asked for the right
 * to; connections of all kinds are opened by the ctrl as those of port-forwards. */
static bool fits(enum router_action path, bool ctrl, const struct router_key *k) {
    bool forward = path == ROUTER_PORTFORWARD || path == ROUTER_RSYNC;
    if (k->form == ROUTER_KEY_SESSION)
        return k->action == path && (ctrl || path != ROUTER_WEBSERVER);
    if (ctrl)
        return forward && k->action != ROUTER_EXEC;
    return k->form == ROUTER_KEY_INVENTED ? forward : forward && k->action == path;
}

int router_open(engine_t *e, const struct router_upgrade *u, uint64_t conn, router_session_t **out, osmo_error_t *err) {
    struct replica_found at;
    struct router_key k;
    if (!router_key_parse(u->key, &k) || !fits(u->action, u->ctrl, &k))
        return osmo_error_set(err, OSMO_EINVAL, "the key of this session is none of %s", router_action_name(u->action));
    if (k.form != ROUTER_KEY_INVENTED && replicas_by_number(e, k.replica, &at) != REPLICA_HERE)
        return osmo_error_set(err, OSMO_EUNAVAIL, GONE);
    struct router_session *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    s->e = e;
    s->conn = conn;
    s->action = u->action;
    s->ctrl = u->ctrl;
    s->key = k;
    s->wait_s = u->ctrl ? ROUTER_WAIT_S : bounded(u->wait_s);
    snprintf(s->text, sizeof s->text, "%s", u->key);
    s->workflow = str_dup(u->workflow);
    if (!s->workflow || router_remember(s, u->rq) < 0) {
        router_session_free(s);
        return no_memory(err);
    }
    *out = s;
    return 0;
}

const char *router_peer_of(const router_session_t *s) { return s->peer; }

/* A web server's session is never joined: what it says is for nobody. A ctrl often is here before the client, who has yet to get the
 * key: what it refuses must not be lost for that. */
int router_held(const router_session_t *s) {
    if (!s->tunnel && s->action == ROUTER_WEBSERVER)
        return 0;
    return s->ctrl ? 2 : 1;
}

void router_refuse(router_session_t *s, int rc, const osmo_error_t *err) {
    bool ours = rc == OSMO_ENOMEM || rc == OSMO_EDATABASE || rc == OSMO_EUNAVAIL || rc == OSMO_EIO || rc == OSMO_EINTERNAL;
    s->refused = true;
    if (ours)
        log_error(&s->e->log, "interactive session of workflow %s: %s", s->workflow, err->text);
    router_audit(s, "refused", false, NULL);
    if (s->tunnel)
        router_close(s->e, s->conn, rc == OSMO_EBUSY ? 503 : 502, ours ? "the session cannot be opened now: try again" : err->text);
    else
        router_close(s->e, s->conn, ours ? 1011 : CLOSE_REFUSED, ours ? "the session cannot be opened now: try again" : err->text);
}

bool router_session_workflow(router_session_t *s, char **workflow, char **pool) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct workflow_row w = { 0 };
    db_t *db;
    int rc = store_reader(s->e->store, &db, &err);
    *workflow = *pool = NULL;
    if (rc >= 0)
        rc = repo_workflow_get(db, s->workflow, &w, &err);
    if (rc >= 0) {
        memcpy(s->workflow_uuid, w.uuid, sizeof s->workflow_uuid);
        s->workflow_over = status_is_workflow_finished(w.sm.status);
        s->workflow_id = STEAL(w.id);
        s->pool = STEAL(w.pool);
    }
    workflow_row_clear(&w);
    if (rc >= 0 || rc == OSMO_ENOTFOUND) { /* who may not see it must not be told that it is not there */
        *workflow = str_dup(s->workflow);
        *pool = str_dup(s->pool ? s->pool : "");
        rc = *workflow && *pool ? 0 : no_memory(&err);
    }
    if (rc >= 0)
        return true;
    router_refuse(s, rc, &err);
    return false;
}

/* ---- what the key says ---- */

static int check_key(const struct router_session *s, osmo_error_t *err) {
    const uint8_t *secret = s->e->router->secret;
    const struct router_key *k = &s->key;
    if (k->form == ROUTER_KEY_INVENTED)
        return 0;
    if (!router_key_is_genuine(secret, s->workflow_uuid, k))
        return osmo_error_set(err, OSMO_EDENIED, "the key is none of this workflow: begin a new session");
    if (!s->ctrl && !s->tunnel && router_key_user(secret, k->nonce, s->who.user) != k->user)
        return osmo_error_set(err, OSMO_EDENIED, "the key was made for another user: begin a session of your own");
    if (s->ctrl && s->who.kind == IDENTITY_TASK && router_key_task(secret, k->nonce, s->who.task_name, s->who.retry_id) != k->task)
        return osmo_error_set(err, OSMO_EDENIED, "the key was made for another task");
    return 0;
}

/* What the mailbox says of the session; its row is gone after an hour, which web servers outlive. */
static int find_action(const struct router_session *s, struct action_row *a, bool *found, osmo_error_t *err) {
    db_t *db;
    *found = false;
    if (s->key.form != ROUTER_KEY_SESSION)
        return 0;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_action_by_nonce(db, s->workflow_uuid, (int64_t)s->key.nonce, a, err);
    *found = rc >= 0;
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int check_attempt(const struct router_session *s, const struct action_row *a, osmo_error_t *err) {
    bool task = s->ctrl && s->who.kind == IDENTITY_TASK;
    const char *name = a ? a->task : task ? s->who.task_name : NULL;
    struct task_row row = { 0 };
    db_t *db;
    if (s->workflow_over)
        return osmo_error_set(err, OSMO_EGONE, "workflow %s has ended", s->workflow_id);
    if (!name)
        return 0;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, s->workflow_uuid, name, a ? a->retry_id : s->who.retry_id, &row, err);
    bool over = rc == OSMO_ENOTFOUND || (rc >= 0 && status_is_task_finished(row.sm.status));
    task_row_clear(&row);
    return over ? osmo_error_set(err, OSMO_EGONE, "task %.60s has ended", name) : rc;
}

/* Whose browsers this will serve, for as long as they may have that. False with rc 0: they may not, it is being closed. */
static bool find_owner(struct router_session *s, const struct action_row *a, int *rc, osmo_error_t *err) {
    struct identity who = { 0 };
    _cleanup_free_ char *resource = str_printf("pool/%s", s->pool ? s->pool : "");
    *rc = resource ? 0 : no_memory(err);
    if (*rc >= 0)
        *rc = a ? identity_from_json(a->made_by_json, &who, err)
                : osmo_error_set(err, OSMO_EGONE, "the session of this web server is over: open it again");
    if (*rc >= 0)
        *rc = auth_session_new(s->e, s->conn, &who, ACTION_WORKFLOW_PORT_FORWARD, resource, &s->owner, err);
    identity_clear(&who);
    return *rc >= 0 && auth_session_opened(s->owner);
}

/* ---- meeting ---- */

/* Somebody has to be first, and that only for a while; a connection needs its session. */
static int may_be_first_locked(struct router_table *t, const struct router_session *s, osmo_error_t *err) {
    char parent[ROUTER_KEY_MAX];
    if (t->stopping)
        return osmo_error_set(err, OSMO_EGONE, "the service is being stopped: begin a new session");
    if (s->key.form == ROUTER_KEY_SESSION && engine_now(s->e) / SECOND_US > (int64_t)s->key.expires_s)
        return osmo_error_set(err, OSMO_EGONE, "the key is too old: begin a new session");
    if (s->key.form != ROUTER_KEY_CONNECTION)
        return 0;
    router_key_parent(s->text, parent);
    const struct meeting *p = meeting_find_locked(t, s->workflow_uuid, parent);
    bool waits = p && p->state == MEETING_WAITS && !s->ctrl; /* a client does not know whether its task has come yet */
    if (!p || (!waits && p->state != MEETING_JOINED && p->state != MEETING_SERVES))
        return osmo_error_set(err, OSMO_EGONE, "the session of this connection has ended: begin a new one");
    if (s->key.action == ROUTER_WEBSERVER && !s->tunnel) /* only browsers begin those, and they are here already */
        return osmo_error_set(err, OSMO_EGONE, "nobody waits for this connection any more");
    return 0;
}

/* The other end that waits, or 0 to wait oneself. *instead: a connection of the same end that was here before. */
static int take_place_locked(struct router_table *t, struct router_session *s, const struct action_row *made_for, uint64_t *other,
                             uint64_t *instead, osmo_error_t *err) {
    struct meeting *m = meeting_find_locked(t, s->workflow_uuid, s->text);
    int rc = 0;
    *other = *instead = 0;
    if (m && m->state != MEETING_WAITS && m->state != MEETING_SERVES)
        return osmo_error_set(err, OSMO_EDENIED, "the key is in use: begin a new session");
    if (!m && (rc = may_be_first_locked(t, s, err)) >= 0)
        rc = meeting_new_locked(t, s, made_for, &m, err);
    if (rc < 0)
        return rc;
    struct router_session **own = s->ctrl ? &m->ctrl : &m->client, *peer = s->ctrl ? m->client : m->ctrl;
    if (*own) { /* it lost its connection before we have noticed */
        *instead = (*own)->conn;
        (*own)->meeting = NULL;
    }
    *own = s;
    s->meeting = m;
    if (peer)
        *other = peer->conn;
    m->state = s->action == ROUTER_WEBSERVER && !s->tunnel ? MEETING_SERVES : peer ? MEETING_JOINED : MEETING_WAITS;
    if (m->state == MEETING_WAITS)
        m->began_us = clock_mono_us();
    if (m->state == MEETING_JOINED)
        m->began_us = m->last_us = clock_mono_us();
    if (m->state == MEETING_JOINED)
        meeting_settle_locked(m);
    if (m->parent)
        m->parent->last_us = clock_mono_us();
    return 0;
}

int router_meet(struct router_session *s, const struct action_row *made_for, osmo_error_t *err) {
    struct router_table *t = s->e->router;
    const osmo_transport_t *tr = s->e->transport;
    const struct settings *settings = engine_settings(s->e);
    uint64_t other, instead;
    pthread_mutex_lock(&t->lock);
    int rc = take_place_locked(t, s, made_for, &other, &instead, err);
    bool joined = rc >= 0 && s->meeting->state == MEETING_JOINED;
    if (rc >= 0)
        meeting_plan_locked(t, s->meeting, settings);
    pthread_mutex_unlock(&t->lock);
    engine_settings_put(settings);
    if (rc < 0)
        return rc;
    if (instead)
        router_close(s->e, instead, CLOSE_REFUSED, "another connection has come with the same key");
    if (!joined)
        return 0;
    rc = tr && tr->size >= sizeof *tr && tr->join ? tr->join(tr->impl, s->ctrl ? other : s->conn, s->ctrl ? s->conn : other)
                                                  : OSMO_EUNAVAIL;
    if (rc >= 0)
        return 0;
    router_close(s->e, other, CLOSE_REFUSED, LEFT); /* whichever of them is still there */
    return osmo_error_set(err, OSMO_EGONE, LEFT);
}

void router_opened(router_session_t *s, const struct identity *who) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct action_row made_for = { 0 };
    bool found = false;
    int rc = identity_copy(who, &s->who) < 0 ? no_memory(&err) : 0;
    if (rc >= 0 && s->tunnel) {
        router_tunnel_opened(s);
        return;
    }
    if (rc >= 0 && !s->workflow_id)
        rc = osmo_error_set(&err, OSMO_EGONE, "workflow %.80s does not exist", s->workflow);
    if (rc >= 0)
        rc = check_key(s, &err);
    if (rc >= 0)
        rc = find_action(s, &made_for, &found, &err);
    if (rc >= 0)
        rc = check_attempt(s, found ? &made_for : NULL, &err);
    bool may = rc >= 0 && (s->action != ROUTER_WEBSERVER || find_owner(s, found ? &made_for : NULL, &rc, &err));
    if (may)
        rc = router_meet(s, found ? &made_for : NULL, &err);
    if (rc < 0)
        router_refuse(s, rc, &err);
    else if (!may)
        s->refused = true;
    else if (!s->ctrl)
        router_audit(s, "opened", true, NULL);
    action_row_clear(&made_for);
}

/* ---- the end ---- */

/* Browsers that wait for a ctrl which is gone; all of the session when its user may not have it any more. A handful each time. */
static size_t leave_locked(struct router_table *t, const struct meeting *of, bool all, uint64_t conns[TUNNELS_PENDING_MAX]) {
    size_t n = 0;
    for (struct meeting *c = t->first; c && n < TUNNELS_PENDING_MAX; c = c->next) {
        if (c->parent != of || !c->client || !c->client->tunnel || !(c->state == MEETING_WAITS || (all && c->state == MEETING_JOINED)))
            continue;
        conns[n++] = c->client->conn;
        meeting_unlist_locked(t, c);
        meeting_settle_locked(c);
        c->state = MEETING_ENDS;
        c->due_us = INT64_MAX;
    }
    return n;
}

static void close_browsers(struct router_session *s) {
    struct router_table *t = s->e->router;
    bool ended = s->owner && auth_session_ended(s->owner);
    uint64_t conns[TUNNELS_PENDING_MAX];
    size_t n = TUNNELS_PENDING_MAX;
    while (n == TUNNELS_PENDING_MAX) {
        pthread_mutex_lock(&t->lock);
        struct meeting *m = s->meeting;
        if (m)
            m->state = MEETING_ENDS; /* no more of them come */
        n = m ? leave_locked(t, m, ended, conns) : 0;
        pthread_mutex_unlock(&t->lock);
        for (size_t i = 0; i < n; i++)
            router_close(s->e, conns[i], 502, ended ? "the user who opened this web server may not use it any more"
                                                    : "the task has left: open the web server again");
    }
}

static void count_traffic(struct router_session *s, struct meeting *m) {
    const osmo_transport_t *tr = s->e->transport;
    osmo_traffic_t seen = { .size = sizeof seen };
    if (!tr || tr->size < sizeof *tr || !tr->traffic || tr->traffic(tr->impl, s->conn, &seen) < 0)
        return;
    m->in = s->ctrl ? seen.out : seen.in;
    m->out = s->ctrl ? seen.in : seen.out;
}

void router_closed(router_session_t *s) {
    struct router_table *t = s->e->router;
    if (s->action == ROUTER_WEBSERVER && !s->tunnel)
        close_browsers(s);
    pthread_mutex_lock(&t->lock);
    struct meeting *m = s->meeting;
    if (m) {
        count_traffic(s, m);
        meeting_settle_locked(m);
        if (m->parent)
            m->parent->last_us = clock_mono_us();
        *(s->ctrl ? &m->ctrl : &m->client) = NULL;
        meeting_unlist_locked(t, m);
        m->state = MEETING_ENDS;
        m->due_us = INT64_MAX;
    }
    struct meeting last = m ? *m : (struct meeting){ 0 };
    if (m)
        meeting_leave_locked(t, m);
    pthread_mutex_unlock(&t->lock);
    if (m && !s->ctrl && !s->refused)
        router_audit(s, "closed", true, &last);
    router_session_free(s);
}
