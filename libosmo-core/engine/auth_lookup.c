/* Look-ups for those that must not wait: an upgrade is answered on the thread of the connections, which may not ask the store. What it
 * does not remember is found out here, on a thread of its own, and remembered for the next attempt. The same thread goes through the open
 * sessions when users, roles or tokens were changed, and now and then. Called by auth_identify.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "engine/identity_internal.h"

#define WAITING_MAX 256
#define SWEEP_US (15 * 1000000LL) /* words of changes may get lost, and directories change without one */
#define REFUSED_S 5 /* how long a refusal is remembered: the next attempt comes sooner */

struct wanted { uint8_t hash[32]; char token[LEGACY_TOKEN_LEN + 1]; struct identity who; int64_t until_s; };
struct lookups {
    engine_t *e;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started, stop, sweep;
    int64_t swept_us;
    struct wanted *ring[WAITING_MAX];
    size_t first, n;
};

static void wanted_free(struct wanted *w) {
    identity_clear(&w->who);
    crypto_wipe(w->token, sizeof w->token);
    free(w);
}

static void look_up(engine_t *e, struct wanted *w) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t now_s = engine_now(e) / 1000000;
    int rc;
    if (w->token[0])
        rc = token_identify(e, w->token, strlen(w->token), &w->who, &err);
    else
        rc = auth_confirm(e, &w->who, &err);
    if (w->token[0] && rc >= 0)
        w->until_s = w->who.token_expires_us ? w->who.token_expires_us / 1000000 : now_s + JWT_SECONDS;
    if (rc == OSMO_EUSER || rc == OSMO_EUNAUTH || rc == OSMO_EDENIED) {
        identity_clear(&w->who);
        w->until_s = now_s + REFUSED_S;
    } else if (rc < 0) {
        log_warning(&e->log, "who is asking could not be looked up: %s", err.text);
        return;
    }
    cache_put(e->identities->cache, w->hash, w->until_s, &w->who);
}

/* Under the lock, which is let go. */
static void look_up_first(struct lookups *l) {
    struct wanted *w = l->ring[l->first];
    pthread_mutex_unlock(&l->lock);
    look_up(l->e, w);
    pthread_mutex_lock(&l->lock);
    l->first = (l->first + 1) % WAITING_MAX; /* until here the same one is not asked for again */
    l->n--;
    wanted_free(w);
}

static void sweep(struct lookups *l) {
    l->sweep = false;
    l->swept_us = clock_mono_us();
    pthread_mutex_unlock(&l->lock);
    sessions_sweep(l->e);
    pthread_mutex_lock(&l->lock);
}

static void wait_for_work(struct lookups *l) {
    int64_t until = l->swept_us + SWEEP_US;
    if (!sessions_any(l->e))
        pthread_cond_wait(&l->changed, &l->lock);
    else if (until > clock_mono_us())
        cond_wait_until(&l->changed, &l->lock, until);
    else
        l->sweep = true;
}

static void *lookup_main(void *arg) {
    struct lookups *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->n)
            look_up_first(l);
        else if (l->sweep)
            sweep(l);
        else
            wait_for_work(l);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void lookups_sweep(engine_t *e) {
    struct lookups *l = e->identities->lookups;
    pthread_mutex_lock(&l->lock);
    l->sweep = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void identities_changed(engine_t *e) {
    if (e->identities && e->identities->lookups)
        lookups_sweep(e);
}

static bool is_wanted(const struct lookups *l, const uint8_t hash[32]) {
    for (size_t i = 0; i < l->n; i++) {
        if (!memcmp(l->ring[(l->first + i) % WAITING_MAX]->hash, hash, 32))
            return true;
    }
    return false;
}

void lookups_want(engine_t *e, const uint8_t hash[32], const char *token, const struct identity *who, int64_t until_s) {
    struct lookups *l = e->identities->lookups;
    struct wanted *w = calloc(1, sizeof *w);
    if (!w)
        return;
    memcpy(w->hash, hash, sizeof w->hash);
    w->until_s = until_s;
    if (token)
        snprintf(w->token, sizeof w->token, "%s", token);
    else if (identity_copy(who, &w->who) < 0) {
        wanted_free(w);
        return;
    }
    pthread_mutex_lock(&l->lock);
    bool take = l->n < WAITING_MAX && !is_wanted(l, hash);
    if (take) {
        l->ring[(l->first + l->n++) % WAITING_MAX] = w;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    if (!take)
        wanted_free(w);
}

int lookups_open(engine_t *e, osmo_error_t *err) {
    struct lookups *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    l->e = e;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->changed);
    e->identities->lookups = l;
    l->started = pthread_create(&l->thread, NULL, lookup_main, l) == 0;
    return l->started ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start a thread for identities: too many threads");
}

void lookups_close(engine_t *e) {
    struct lookups *l = e->identities->lookups;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        pthread_join(l->thread, NULL);
    for (; l->n; l->n--, l->first = (l->first + 1) % WAITING_MAX)
        wanted_free(l->ring[l->first]);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
    e->identities->lookups = NULL;
}
