/* Browsers on web servers of tasks. The host <key>.<anything> is the capability: whoever knows it may open connections, each of which gets
 * a key of its own below that of the session, is announced to the ctrl over its end of the session and then joined with what the ctrl
 * opens for it. The bytes of the browser are carried as they are, from the head of the first request on, so that bodies stream, headers
 * keep their number and websockets are nothing special. See router.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"

#define TOO_MANY "%d connections wait for this web server already: try again"
#define NO_SESSION "there is no web server of a task behind this address any more: open it again"

static const char *header_of(const osmo_request_t *rq, const char *name) {
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2)
        if (strcmp(h[0], name) == 0)
            return h[1];
    return NULL;
}

/* By the key alone, which has enough in it that nobody guesses it. */
static struct meeting *find_server_locked(struct router_table *t, const char *key) {
    struct meeting *m = t->first;
    while (m && !(m->state == MEETING_SERVES && m->ctrl && strcmp(m->ctrl->text, key) == 0))
        m = m->next;
    return m;
}

bool router_webserver_here(engine_t *e, const char *key) {
    struct router_table *t = e->router;
    pthread_mutex_lock(&t->lock);
    bool found = find_server_locked(t, key) != NULL;
    pthread_mutex_unlock(&t->lock);
    return found;
}

int router_webserver_alive(engine_t *e, const char *key, bool *alive, osmo_error_t *err) {
    struct replica_found at;
    struct router_key k;
    *alive = false;
    if (!router_key_parse(key, &k) || k.action != ROUTER_WEBSERVER || k.form != ROUTER_KEY_SESSION)
        return 0;
    *alive = router_webserver_here(e, key);
    if (*alive || replicas_by_number(e, k.replica, &at) != REPLICA_ELSEWHERE)
        return 0;
    return replicas_webserver_alive(e, key, alive, err);
}

static int make_session(engine_t *e, const osmo_request_t *rq, uint64_t conn, const char *key, const struct meeting *m,
                        router_session_t **out) {
    struct router_session *s = calloc(1, sizeof *s);
    if (!s)
        return OSMO_ENOMEM;
    s->e = e;
    s->conn = conn;
    s->action = ROUTER_WEBSERVER;
    s->tunnel = true;
    s->wait_s = TUNNEL_WAIT_S;
    snprintf(s->text, sizeof s->text, "%s", key);
    s->workflow = str_dup(m->workflow_id);
    s->workflow_id = str_dup(m->workflow_id);
    memcpy(s->workflow_uuid, m->workflow_uuid, sizeof s->workflow_uuid);
    if (!s->workflow || !s->workflow_id || router_remember(s, rq) < 0) {
        router_session_free(s);
        return OSMO_ENOMEM;
    }
    *out = s;
    return 0;
}

int router_tunnel_open(engine_t *e, const osmo_request_t *rq, uint64_t conn, router_session_t **out, int *status, osmo_error_t *err) {
    struct router_table *t = e->router;
    struct router_key k;
    char key[ROUTER_KEY_MAX];
    bool known = router_key_of_host(header_of(rq, "host"), &k, key), full = false;
    int rc = OSMO_ENOTFOUND;
    pthread_mutex_lock(&t->lock);
    const struct meeting *m = known ? find_server_locked(t, key) : NULL;
    full = m && m->pending >= TUNNELS_PENDING_MAX;
    if (m && !full)
        rc = make_session(e, rq, conn, key, m, out);
    pthread_mutex_unlock(&t->lock);
    *status = full ? 503 : rc == OSMO_ENOTFOUND ? 404 : 500;
    if (full)
        return osmo_error_set(err, OSMO_EBUSY, TOO_MANY, TUNNELS_PENDING_MAX);
    return rc == OSMO_ENOTFOUND ? osmo_error_set(err, rc, NO_SESSION) : rc < 0 ? no_memory(err) : 0;
}

/* ---- on a worker ---- */

/* The connection's own key. */
static int number_locked(struct router_table *t, struct router_session *s, uint64_t *ctrl, osmo_error_t *err) {
    struct meeting *m = find_server_locked(t, s->text);
    char key[ROUTER_KEY_MAX];
    if (!m)
        return osmo_error_set(err, OSMO_EGONE, NO_SESSION);
    if (m->pending >= TUNNELS_PENDING_MAX)
        return osmo_error_set(err, OSMO_EBUSY, TOO_MANY, TUNNELS_PENDING_MAX);
    if (++m->number == 0)
        m->number = 1;
    *ctrl = m->ctrl->conn;
    snprintf(key, sizeof key, "%.68s-%u", s->text, m->number);
    snprintf(s->text, sizeof s->text, "%s", key);
    return router_key_parse(s->text, &s->key) ? 0 : osmo_error_set(err, OSMO_EINTERNAL, "the key of a connection is none");
}

static void count_pending(struct router_session *s) {
    struct router_table *t = s->e->router;
    pthread_mutex_lock(&t->lock);
    struct meeting *m = s->meeting;
    if (m && m->state == MEETING_WAITS && m->parent) {
        m->pends = true;
        m->parent->pending++;
    }
    pthread_mutex_unlock(&t->lock);
}

static int announce(const struct router_session *s, uint64_t ctrl, osmo_error_t *err) {
    const osmo_transport_t *tr = s->e->transport;
    _cleanup_json_ json_t *o = json_object();
    _cleanup_free_ char *cookie = router_cookie_of(s->e, s->key.replica);
    int rc = o && cookie ? json_set_str(o, "key", s->text) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(o, "cookie", cookie);
    if (rc >= 0)
        rc = json_set_str(o, "type", "tcp");
    _cleanup_free_ char *text = rc < 0 ? NULL : json_to_text(o);
    if (!text)
        return no_memory(err);
    rc = tr ? tr->ws_send(tr->impl, ctrl, text, strlen(text), 0) : OSMO_ENOTFOUND;
    return rc < 0 ? osmo_error_set(err, OSMO_EGONE, "the task does not take connections now: try again") : 0;
}

void router_tunnel_opened(struct router_session *s) {
    struct router_table *t = s->e->router;
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t ctrl = 0;
    pthread_mutex_lock(&t->lock);
    int rc = number_locked(t, s, &ctrl, &err);
    pthread_mutex_unlock(&t->lock);
    if (rc >= 0)
        rc = router_meet(s, NULL, &err);
    if (rc >= 0) {
        count_pending(s);
        rc = announce(s, ctrl, &err);
    }
    if (rc < 0)
        router_refuse(s, rc, &err);
    else
        router_audit(s, "opened", true, NULL);
}
