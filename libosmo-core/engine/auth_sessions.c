/* Websockets that are open, so that they end with what they were opened by: when a token is deleted, a role is taken away or a backend's
 * token leaves the directory, its sessions are closed, also those that say nothing. Sessions of tasks are not among them: a task's last
 * lines may come after its end. Opened and closed by api/ws.c; gone through by the thread of auth_lookup.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "engine/access.h"
#include "engine/auth_sessions.h"
#include "engine/identity_internal.h"

#define CLOSE_REFUSED 4000
#define CLOSE_INTERNAL 1011 /* the store does not answer: connect again */
#define REASON_MAX 120

struct auth_session {
    struct auth_session *prev, *next;
    engine_t *e;
    uint64_t conn, number;         /* a connection may be held by two: by whoever opened it, and for somebody else */
    struct identity who;
    enum action action;
    char *resource;
    _Atomic bool ended;
};
struct sessions { pthread_mutex_t lock; struct auth_session *first; size_t n; uint64_t last_number; };

int sessions_open(engine_t *e, osmo_error_t *err) {
    struct sessions *all = calloc(1, sizeof *all);
    if (!all)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&all->lock, NULL);
    e->identities->sessions = all;
    return 0;
}

void sessions_close(engine_t *e) {
    struct sessions *all = e->identities->sessions;
    if (!all)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
    e->identities->sessions = NULL;
}

static int check(engine_t *e, struct identity *who, enum action a, const char *resource, osmo_error_t *err) {
    int rc = auth_confirm(e, who, err);
    bool any = resource && str_ends(resource, "/");
    if (rc < 0 || (any ? access_allows_some(e, who, a, resource) : access_decide(e, who, a, resource) == VERDICT_ALLOW))
        return rc;
    return osmo_error_set(err, OSMO_EDENIED, "access denied: the token does not allow %s any more", a ? action_name(a) : "this");
}

static bool is_refusal(int rc) { return rc == OSMO_EUNAUTH || rc == OSMO_EDENIED; }

static void close_connection(engine_t *e, uint64_t conn, int code, const osmo_error_t *why) {
    char reason[REASON_MAX + 1];
    size_t n = strnlen(why->text, REASON_MAX);
    while (n && ((unsigned char)why->text[n] & 0xC0) == 0x80) /* it must stay UTF-8 */
        n--;
    memcpy(reason, why->text, n);
    reason[n] = '\0';
    if (e->transport && e->transport->ws_close)
        e->transport->ws_close(e->transport->impl, conn, code, reason);
}

/* ---- one ---- */

static void session_free(struct auth_session *s) {
    identity_clear(&s->who);
    free(s->resource);
    free(s);
}

int auth_session_new(engine_t *e, uint64_t conn, const struct identity *who, enum action a, const char *resource,
                     struct auth_session **out, osmo_error_t *err) {
    struct auth_session *s = calloc(1, sizeof *s);
    if (!s || identity_copy(who, &s->who) < 0 || identity_set_text(&s->resource, resource) < 0) {
        if (s)
            session_free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    s->e = e;
    s->conn = conn;
    s->action = a;
    *out = s;
    return 0;
}

bool auth_session_opened(struct auth_session *s) {
    struct sessions *all = s->e->identities->sessions;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = s->who.kind == IDENTITY_TASK ? auth_confirm(s->e, &s->who, &err) : check(s->e, &s->who, s->action, s->resource, &err);
    if (rc < 0 && !is_refusal(rc)) {
        log_error(&s->e->log, "who opens a session cannot be confirmed: %s", err.text);
        osmo_error_set(&err, rc, "who is asking cannot be looked up now: connect again");
    }
    if (rc < 0) {
        s->ended = true;
        close_connection(s->e, s->conn, is_refusal(rc) ? CLOSE_REFUSED : CLOSE_INTERNAL, &err);
        return false;
    }
    s->who.stale = true;
    if (s->who.kind == IDENTITY_TASK || s->who.kind == IDENTITY_DEV)
        return true;
    pthread_mutex_lock(&all->lock);
    s->number = ++all->last_number;
    s->next = all->first;
    if (s->next)
        s->next->prev = s;
    all->first = s;
    bool only = all->n++ == 0;
    pthread_mutex_unlock(&all->lock);
    if (only)
        lookups_sweep(s->e); /* from now on there is something to go through */
    return true;
}

int auth_session_identity(struct auth_session *s, struct identity *out) {
    struct sessions *all = s->e->identities->sessions;
    pthread_mutex_lock(&all->lock);
    int rc = identity_copy(&s->who, out);
    pthread_mutex_unlock(&all->lock);
    return rc;
}

int auth_session_narrow(struct auth_session *s, const char *resource) {
    struct sessions *all = s->e->identities->sessions;
    char *copy = str_dup(resource);
    if (!copy)
        return OSMO_ENOMEM;
    pthread_mutex_lock(&all->lock);
    char *before = s->resource;
    s->resource = copy;
    pthread_mutex_unlock(&all->lock);
    free(before);
    return 0;
}

bool auth_session_ended(const struct auth_session *s) { return s->ended; }

void auth_session_free(struct auth_session *s) {
    if (!s)
        return;
    struct sessions *all = s->e->identities->sessions;
    pthread_mutex_lock(&all->lock);
    if (s->prev || all->first == s) {
        *(s->prev ? &s->prev->next : &all->first) = s->next;
        if (s->next)
            s->next->prev = s->prev;
        all->n--;
    }
    pthread_mutex_unlock(&all->lock);
    session_free(s);
}

/* ---- all ---- */

/* Copies, because the store is asked and sessions come and go meanwhile. */
static struct auth_session *copy_all(struct sessions *all, size_t *n) {
    pthread_mutex_lock(&all->lock);
    struct auth_session *list = all->n ? calloc(all->n, sizeof *list) : NULL;
    *n = 0;
    for (const struct auth_session *s = all->first; list && s; s = s->next) {
        struct auth_session *copy = &list[*n];
        if (identity_copy(&s->who, &copy->who) < 0)
            break;
        copy->conn = s->conn;
        copy->number = s->number;
        copy->action = s->action;
        *n += 1;
        if (identity_set_text(&copy->resource, s->resource) < 0)
            break;
    }
    pthread_mutex_unlock(&all->lock);
    return list;
}

/* What was confirmed is the session's now: its roles may be others than when it was opened. */
static void note(struct sessions *all, struct auth_session *copy, bool ended) {
    pthread_mutex_lock(&all->lock);
    for (struct auth_session *s = all->first; s; s = s->next) {
        if (s->number != copy->number)
            continue;
        struct identity before = s->who;
        s->who = copy->who;
        copy->who = before;
        s->ended = ended;
        break;
    }
    pthread_mutex_unlock(&all->lock);
}

void sessions_sweep(engine_t *e) {
    struct sessions *all = e->identities->sessions;
    size_t n;
    struct auth_session *list = copy_all(all, &n);
    for (size_t i = 0; i < n; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = check(e, &list[i].who, list[i].action, list[i].resource, &err);
        if (rc >= 0 || is_refusal(rc))
            note(all, &list[i], rc < 0);
        if (is_refusal(rc))
            close_connection(e, list[i].conn, CLOSE_REFUSED, &err);
        else if (rc < 0)
            log_warning(&e->log, "who holds an open session could not be confirmed, later again: %s", err.text);
        identity_clear(&list[i].who);
        free(list[i].resource);
    }
    free(list);
}

bool sessions_any(engine_t *e) {
    struct sessions *all = e->identities->sessions;
    pthread_mutex_lock(&all->lock);
    bool any = all->n > 0;
    pthread_mutex_unlock(&all->lock);
    return any;
}
