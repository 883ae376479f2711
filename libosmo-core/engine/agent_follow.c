/* What open sessions of operators learn of changes: rules for node conditions go to their control sockets at once, and sessions of a
 * backend that was deleted, or given to another cluster, end. Called on the dispatcher's thread after each change of the configuration,
 * and when a session has come. */
#include <string.h>

#include "base/crypto.h"
#include "engine/agent_internal.h"

#define RULES_FRAME_MAX (1u << 20) /* what an operator's control socket takes */

/* {"rules": …}; NULL when memory is short. */
static json_t *rules_body(const struct settings *settings, const char *backend) {
    const struct backend_settings *b = settings_backend(settings, backend);
    const char *text = b && b->node_rules_json ? b->node_rules_json : "{\"Ready\":\"True\"}";
    json_t *rules = NULL;
    _cleanup_json_ json_t *body = json_object();
    if (!body || json_parse(text, strlen(text), &rules, NULL) < 0 || json_set(body, "rules", rules) < 0)
        return NULL;
    return STEAL(body);
}

/* Under the lock of the session, so that what is sent last is what is wanted last. */
static void send_rules_locked(struct agent_session *s) {
    const struct settings *settings = engine_settings(s->e);
    json_t *body = rules_body(settings, s->backend);
    _cleanup_free_ char *text = body ? json_to_text(body) : NULL;
    char uuid[33];
    engine_settings_put(settings);
    _cleanup_buf_ buf_t out = BUF_INIT(RULES_FRAME_MAX);
    if (!text || str_eq(text, s->rules) || crypto_random_hex32(uuid) < 0) {
        json_free(body);
        return;
    }
    if (message_build(MSG_NODE_CONDITIONS, uuid, body, &out) < 0)
        return;
    const osmo_transport_t *t = s->e->transport;
    if (t && t->ws_send && t->ws_send(t->impl, s->conn, out.data, out.len, false) >= 0) {
        free(s->rules);
        s->rules = STEAL(text);
    }
}

void agent_send_rules(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    if (s->opened && !s->closed)
        send_rules_locked(s);
    pthread_mutex_unlock(&s->lock);
}

void agent_belongs(struct agent_session *s, const char *k8s_uid, int64_t born_us) {
    char *copy = str_dup(k8s_uid ? k8s_uid : "");
    pthread_mutex_lock(&s->lock);
    if (copy) {
        free(s->k8s_uid);
        s->k8s_uid = copy;
        s->born_us = born_us;
    }
    pthread_mutex_unlock(&s->lock);
}

static int64_t born_of(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    int64_t born = s->born_us;
    pthread_mutex_unlock(&s->lock);
    return born;
}

/* One session as it was before the rows were read, so that a backend which came meanwhile is not missed among them. */
struct look { struct agent_session *s; int64_t born; bool gone; };

/* What a control socket says is not read: it belongs to the backend that is there when it comes. */
static void look_at(struct look *l, const struct backend_row *row) {
    if (!l->born) {
        if (row && l->s->kind == AGENT_CONTROL)
            agent_belongs(l->s, row->k8s_uid, row->created_us);
        return;
    }
    pthread_mutex_lock(&l->s->lock);
    l->gone = !row || row->created_us != l->born || !str_eq(row->k8s_uid, l->s->k8s_uid);
    pthread_mutex_unlock(&l->s->lock);
}

/* A control socket goes with the others of its backend. */
static bool goes_along(const struct look *looks, size_t n, const struct look *l) {
    for (size_t i = 0; i < n && l->s->kind == AGENT_CONTROL; i++)
        if (looks[i].gone && str_eq(looks[i].s->backend, l->s->backend))
            return true;
    return false;
}

static const struct backend_row *find_row(const struct backend_row *rows, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(rows[i].name, name))
            return &rows[i];
    return NULL;
}

static int end_gone(struct agents *a, osmo_error_t *err) {
    struct backend_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    struct held all = agents_hold(a, false);
    _cleanup_free_ struct look *looks = calloc(all.n + 1, sizeof *looks);
    int rc = looks ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < all.n; i++)
        looks[i] = (struct look){ .s = all.s[i], .born = born_of(all.s[i]) };
    if (rc >= 0)
        rc = store_reader(a->e->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_list(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < all.n; i++)
        look_at(&looks[i], find_row(rows, n, all.s[i]->backend));
    for (size_t i = 0; rc >= 0 && i < all.n; i++)
        if (looks[i].gone || goes_along(looks, all.n, &looks[i]))
            session_close(all.s[i], CLOSE_REFUSED, "the backend was deleted, or belongs to another cluster now");
    agents_drop(&all);
    backend_rows_free(rows, n);
    return rc;
}

void agents_follow(struct agents *a) {
    const struct settings *s = engine_settings(a->e);
    osmo_error_t err = OSMO_ERROR_INIT;
    pthread_mutex_lock(&a->lock);
    bool look = a->look;
    a->look = false;
    pthread_mutex_unlock(&a->lock);
    if (s == a->followed && !look) {
        engine_settings_put(s);
        return;
    }
    struct held all = agents_hold(a, false);
    for (size_t i = 0; i < all.n; i++)
        if (all.s[i]->kind == AGENT_CONTROL)
            agent_send_rules(all.s[i]);
    agents_drop(&all);
    engine_settings_put(a->followed);
    a->followed = s;
    if (end_gone(a, &err) < 0) {
        log_warning(&a->e->log, "whether backends with open sessions are still there cannot be read: %s", err.text);
        agents_look(a->e);
    }
}

void agents_look(engine_t *e) {
    struct agents *a = e->agents;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->look = true;
    pthread_mutex_unlock(&a->lock);
}
