/* Sessions: options, connections, the callbacks; see session.h and transfer.h. */
#include "data/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/error.h"

#define CONNECTIONS 16
#define PART_SIZE (16u << 20)
#define MULTIPART_FROM (64u << 20)
#define PATIENCE_MS 600000

static void conn_free(struct data_conn *c) {
    if (!c)
        return;
    http_client_free(c->http);
    crypto_digest_free(c->md5);
    crypto_digest_free(c->sha256);
    free(c->buffer);
    free(c);
}

int session_conn(data_session_t *s, size_t i, struct data_conn **out, osmo_error_t *err) {
    if (s->conns[i]) {
        *out = s->conns[i];
        return 0;
    }
    struct data_conn *c = calloc(1, sizeof *c);
    if (!c || !(c->buffer = malloc(REMOTE_BUFFER))) {
        conn_free(c);
        return no_memory(err);
    }
    c->session = s;
    int rc = http_client_new(s->o.user_agent, &c->http, err);
    if (!rc && crypto_digest_new(CRYPTO_MD5, &c->md5, err) == OSMO_ENOMEM) /* a policy may rule it out: then without */
        rc = OSMO_ENOMEM;
    if (!rc)
        rc = crypto_digest_new(CRYPTO_SHA256, &c->sha256, err);
    if (rc < 0) {
        conn_free(c);
        return rc;
    }
    http_client_set_hints(c->http, "is the storage up, and the address right?", NULL);
    pthread_mutex_lock(&s->lock);
    s->conns[i] = c;
    bool late = atomic_load(&s->stop);
    pthread_mutex_unlock(&s->lock);
    if (late)
        http_client_cancel(c->http);
    *out = c;
    return 0;
}

void session_drop_conns(data_session_t *s) {
    for (size_t i = 0; i < REMOTE_CONNECTIONS_MAX; i++) {
        conn_free(s->conns[i]);
        s->conns[i] = NULL;
    }
}

void session_stop(data_session_t *s) {
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    for (size_t i = 0; i < REMOTE_CONNECTIONS_MAX; i++)
        if (s->conns[i])
            http_client_cancel(s->conns[i]->http);
    pthread_cond_broadcast(&s->changed);
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
}

bool session_stopped(const data_session_t *s) { return atomic_load(&s->stop); }

int session_cancelled(osmo_error_t *err) { return osmo_error_set(err, OSMO_ECONFLICT, "the transfer was cancelled"); }

int session_pause(data_session_t *s, int64_t ms, osmo_error_t *err) {
    int64_t until = clock_mono_us() + ms * 1000;
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop) && cond_wait_until(&s->changed, &s->lock, until))
        ;
    pthread_mutex_unlock(&s->lock);
    return session_stopped(s) ? session_cancelled(err) : 0;
}

void session_left_out(data_session_t *s, const char *path, const char *why) {
    if (!s->o.left_out)
        return;
    pthread_mutex_lock(&s->callbacks);
    s->o.left_out(s->o.ctx, path, why);
    pthread_mutex_unlock(&s->callbacks);
}

char *session_authorization(data_session_t *s) {
    if (!s->o.authorization)
        return NULL;
    pthread_mutex_lock(&s->callbacks);
    char *value = s->o.authorization(s->o.ctx);
    pthread_mutex_unlock(&s->callbacks);
    return value;
}

int data_session_new(const struct data_options *o, data_session_t **out, osmo_error_t *err) {
    data_session_t *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return no_memory(err);
    s->o = *o;
    s->o.connections = o->connections <= 0 ? CONNECTIONS : o->connections;
    if (s->o.connections > REMOTE_CONNECTIONS_MAX - 2)
        s->o.connections = REMOTE_CONNECTIONS_MAX - 2;
    s->o.part_size = o->part_size ? o->part_size : PART_SIZE;
    s->o.multipart_from = o->multipart_from ? o->multipart_from : MULTIPART_FROM;
    s->o.retry_for_ms = o->retry_for_ms ? o->retry_for_ms : PATIENCE_MS;
    s->o.stall_ms = o->stall_ms ? o->stall_ms : PATIENCE_MS;
    s->o.user_agent = o->user_agent ? o->user_agent : "osmo/" OSMO_VERSION;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->callbacks, NULL);
    cond_init(&s->changed);
    cond_init(&s->room);
    cond_init(&s->ended);
    *out = s;
    return 0;
}

void data_session_free(data_session_t *s) {
    if (!s)
        return;
    session_drop_conns(s);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->room);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->callbacks);
    free(s);
}
