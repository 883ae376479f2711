/* The mailbox of the ctrls: what waits in the table ctrl_actions is sent over the logger sockets of the tasks. As with barriers
 * (logs_barrier.c) the rows are the mailbox: they are looked at where they were made, in the other replicas because of a hint that says
 * where to look, and where a ctrl connects; nothing of it is in a process.
 *
 * A ctrl with the extension "actions" gets "id" in each message, and each again on every new connection until it has confirmed it; it does
 * what it knows already not twice. To others a message is one that may be lost with its connection, as it is upstream: its row is marked
 * when it was sent. Frames are BINARY, as upstream's ctrl wants them. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/logs_internal.h"
#include "engine/replicas.h"
#include "engine/router_internal.h"

#define BATCH 64
#define SWEEP_ROWS 1000
#define SWEEP_REST_US (10 * SECOND_US) /* many go at once */
#define KEPT_US (2 * ROUTER_WAIT_S * SECOND_US) /* when the ctrl has it */

/* ---- one message ---- */

static int make_key(engine_t *e, const struct action_row *a, char key[ROUTER_KEY_MAX]) {
    const uint8_t *secret = e->router->secret;
    if (a->action < 0 || a->action >= ROUTER_ACTIONS)
        return OSMO_EINVAL;
    struct router_key k = { .action = (enum router_action)a->action, .nonce = (uint64_t)a->nonce, .replica = (uint32_t)a->replica,
                            .expires_s = (uint32_t)a->key_expires_s };
    k.user = router_key_user(secret, k.nonce, a->user);
    k.task = router_key_task(secret, k.nonce, a->task, a->retry_id);
    router_key_make(secret, a->workflow_uuid, &k, key);
    return 0;
}

/* {action, router_address, key, cookie, …} and, for a ctrl that confirms, id; malloc'ed. OSMO_ENOMEM; another one: the row is damaged. */
static int message(engine_t *e, const struct action_row *a, bool with_id, char **text) {
    char key[ROUTER_KEY_MAX], id[24];
    _cleanup_json_ json_t *o = NULL;
    _cleanup_free_ char *cookie = router_cookie_of(e, (uint32_t)a->replica);
    int rc = json_parse(a->payload_json, strlen(a->payload_json), &o, NULL);
    if (rc >= 0 && json_kind(o) != JSON_OBJECT)
        rc = OSMO_EINVAL;
    if (rc >= 0)
        rc = make_key(e, a, key);
    if (rc >= 0)
        rc = json_set_str(o, "action", router_action_name((enum router_action)a->action));
    if (rc >= 0)
        rc = json_set_str(o, "key", key);
    if (rc >= 0)
        rc = cookie ? json_set_str(o, "cookie", cookie) : OSMO_ENOMEM;
    snprintf(id, sizeof id, "%lld", (long long)a->id);
    if (rc >= 0 && with_id)
        rc = json_set_str(o, "id", id);
    *text = rc < 0 ? NULL : json_to_text(o);
    return rc < 0 || *text ? rc : OSMO_ENOMEM;
}

/* ---- a row that a ctrl has ---- */

struct taken { engine_t *e; char workflow_uuid[33]; char *task; int64_t id, retry_id; };

static void taken_free(struct taken *t) {
    free(t->task);
    free(t);
}

static int taken_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct taken *t = ctx;
    return repo_action_done(db, t->id, t->workflow_uuid, t->task, t->retry_id, engine_now(t->e) + KEPT_US, err);
}

static void taken_done(void *ctx, int rc, const osmo_error_t *err) {
    struct taken *t = ctx;
    if (rc < 0)
        log_warning(&t->e->log, "action %lld of task %s may be told twice: %s", (long long)t->id, t->task, err ? err->text : "");
    logs_write_end(t->e);
    taken_free(t);
}

/* In the background: this may run on a writer thread. */
static void mark_taken(engine_t *e, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t id) {
    struct taken *t = calloc(1, sizeof *t);
    if (t) {
        *t = (struct taken){ .e = e, .task = str_dup(task), .id = id, .retry_id = retry_id };
        snprintf(t->workflow_uuid, sizeof t->workflow_uuid, "%s", workflow_uuid);
    }
    logs_write_begin(e);
    int rc = t && t->task ? store_post(e->store, workflow_uuid, taken_fn, taken_done, t) : OSMO_ENOMEM;
    if (rc >= 0)
        return;
    logs_write_end(e);
    log_warning(&e->log, "action %lld of task %s may be told twice: %s", (long long)id, task, osmo_error_name(rc));
    if (t)
        taken_free(t);
}

void actions_confirmed(struct logger_session *s, int64_t id) {
    if (id > 0)
        mark_taken(s->engine, s->workflow_uuid, s->task, s->retry_id, id);
}

/* ---- telling ---- */

struct telling { engine_t *e; const char *workflow_id; const struct logger_session *only; /* NULL = all that are here */ };

/* The connection that is to be told; false: there is none, or it has been. A mailbox may be looked at any number of times. */
static bool listener(const struct telling *w, const struct action_row *a, uint64_t *conn, bool *confirms) {
    struct loggers *l = w->e->loggers;
    _cleanup_free_ char *key = logs_attempt_key(w->workflow_id, a->task, a->retry_id);
    if (!key)
        return false;
    pthread_mutex_lock(&l->lock);
    struct logger_session *s = map_get(l->by_attempt, key);
    bool news = s && (!w->only || s == w->only) && a->id > s->last_action;
    if (news) {
        s->last_action = a->id;
        *conn = s->conn;
        *confirms = s->takes_actions;
    }
    pthread_mutex_unlock(&l->lock);
    return news;
}

static void tell(const struct telling *w, const struct action_row *a) {
    const osmo_transport_t *t = w->e->transport;
    uint64_t conn;
    bool confirms;
    if (!t || !listener(w, a, &conn, &confirms))
        return;
    _cleanup_free_ char *text = NULL;
    int rc = message(w->e, a, confirms, &text);
    if (rc < 0 && rc != OSMO_ENOMEM) { /* it would be in the way of all that come behind it */
        log_error(&w->e->log, "action %lld for task %s cannot be read and is left out", (long long)a->id, a->task);
        mark_taken(w->e, a->workflow_uuid, a->task, a->retry_id, a->id);
        return;
    }
    rc = rc < 0 ? rc : t->ws_send(t->impl, conn, text, strlen(text), 1);
    if (rc >= 0 && !confirms)
        mark_taken(w->e, a->workflow_uuid, a->task, a->retry_id, a->id);
    if (rc < 0 && rc != OSMO_ENOTFOUND) /* what comes next must not come without this */
        t->ws_close(t->impl, conn, CLOSE_INTERNAL, "actions cannot be sent to this task now: connect again");
}

/* One at a time, so that what is read in order is sent in order. */
static int tell_all(const struct telling *w, db_t *db, const char *workflow_uuid, size_t *found, osmo_error_t *err) {
    int64_t after = 0;
    int rc = 0;
    *found = 0;
    pthread_mutex_lock(&w->e->router->tell_lock);
    for (size_t n = BATCH; rc >= 0 && n == BATCH;) {
        struct action_row *rows = NULL;
        n = 0;
        rc = repo_actions_waiting(db, workflow_uuid, after, engine_now(w->e), BATCH, &rows, &n, err);
        for (size_t i = 0; rc >= 0 && i < n; i++) {
            tell(w, &rows[i]);
            after = rows[i].id;
        }
        *found += n;
        action_rows_free(rows, n);
    }
    pthread_mutex_unlock(&w->e->router->tell_lock);
    return rc;
}

bool actions_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct workflow_row w = { 0 };
    size_t found = 0;
    db_t *db;
    int rc = store_reader(e->store, &db, &err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_uuid, &w, &err);
    if (rc >= 0)
        rc = tell_all(&(struct telling){ e, w.id, NULL }, db, workflow_uuid, &found, &err);
    if (rc < 0 && rc != OSMO_ENOTFOUND)
        log_warning(&e->log, "the ctrls of group %s cannot be told of interactive sessions: %s", group_uuid, err.text);
    workflow_row_clear(&w);
    return rc < 0 || found;
}

void actions_changed(engine_t *e, const char *workflow_uuid, const char *group_uuid) {
    if (actions_check_here(e, workflow_uuid, group_uuid))
        replicas_hint_group(e, HINT_ACTIONS, workflow_uuid, group_uuid);
}

void actions_check_one(struct logger_session *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t found;
    db_t *db;
    int rc = store_reader(s->engine->store, &db, &err);
    if (rc >= 0)
        rc = tell_all(&(struct telling){ s->engine, s->workflow_id, s }, db, s->workflow_uuid, &found, &err);
    if (rc < 0)
        log_warning(&s->engine->log, "task %s of %s cannot be told of interactive sessions: %s", s->task, s->workflow_id, err.text);
}

/* ---- upkeep ---- */

struct sweep { int64_t now, removed; };

static int sweep_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct sweep *s = ctx;
    return repo_actions_expire(db, s->now, SWEEP_ROWS, &s->removed, err);
}

int actions_sweep(engine_t *e, int64_t *wait_us, osmo_error_t *err) {
    struct sweep s = { .now = engine_now(e), .removed = SWEEP_ROWS };
    int64_t next = 0;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_actions_next_expiry(db, &next, err);
    while (rc >= 0 && next && next <= s.now && s.removed == SWEEP_ROWS)
        rc = store_write(e->store, NULL, sweep_run, &s, err);
    int64_t wait = next - s.now > SWEEP_REST_US ? next - s.now : SWEEP_REST_US;
    if (rc >= 0 && next && wait < *wait_us)
        *wait_us = wait;
    return rc;
}
