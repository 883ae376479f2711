/* The connections of a Kubernetes client and the pace of its requests. Who waits is served in the order of arrival; everything that waits
 * here ends at once when the client is stopped. Called by kube_client.c. */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/cond.h"
#include "base/crypto.h"
#include "base/error.h"
#include "cluster/kubernetes/kube_int.h"

struct kube_waiter { pthread_cond_t served; kube_conn_t *got; struct kube_waiter *next; };

int kube_pool_init(struct kube_pool *p, const char *user_agent, int max, double qps, int burst) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    cond_init(&p->stop);
    p->last = &p->first;
    p->max = max;
    p->user_agent = user_agent;
    p->qps = qps;
    p->burst = burst > 0 ? burst : qps * 1.5 > 1 ? qps * 1.5 : 1;
    p->tokens = p->burst;
    p->tokens_us = clock_mono_us();
    return crypto_random(&p->seed, sizeof p->seed);
}

static void free_conn(kube_conn_t *c) {
    http_client_free(c->http);
    free(c);
}

void kube_pool_clear(struct kube_pool *p) {
    while (p->idle) {
        kube_conn_t *c = p->idle;
        p->idle = c->next;
        free_conn(c);
    }
    pthread_cond_destroy(&p->stop);
    pthread_mutex_destroy(&p->lock);
}

void kube_pool_stop(struct kube_pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stopped, true);
    for (kube_conn_t *c = p->busy; c; c = c->next)
        http_client_cancel(c->http);
    for (struct kube_waiter *w = p->first; w; w = w->next)
        pthread_cond_signal(&w->served);
    pthread_cond_broadcast(&p->stop);
    pthread_mutex_unlock(&p->lock);
}

int kube_stopped(osmo_error_t *err) { return osmo_error_set(err, OSMO_ECONFLICT, "the Kubernetes client is being stopped"); }

/* ---- connections ---- */

static int open_conn(struct kube_pool *p, bool own, kube_conn_t **out, osmo_error_t *err) {
    kube_conn_t *c = calloc(1, sizeof *c);
    int rc = c ? http_client_new(p->user_agent, &c->http, err) : no_memory(err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->own = own;
    http_client_set_hints(c->http, "is the Kubernetes API server up, and is this its address?",
                          "give its authority as certificate-authority in the kubeconfig");
    *out = c;
    return 0;
}

static void leave_queue(struct kube_pool *p, struct kube_waiter *me) {
    struct kube_waiter **at = &p->first;
    while (*at && *at != me)
        at = &(*at)->next;
    if (*at)
        *at = me->next;
    for (p->last = &p->first; *p->last; p->last = &(*p->last)->next)
        ;
}

/* Called with the lock, which it lets go of meanwhile. */
static int queue_up(struct kube_pool *p, int64_t deadline_us, kube_conn_t **out, osmo_error_t *err) {
    struct kube_waiter me = {.got = NULL};
    cond_init(&me.served);
    *p->last = &me;
    p->last = &me.next;
    while (!me.got && !atomic_load(&p->stopped) && clock_mono_us() < deadline_us)
        cond_wait_until(&me.served, &p->lock, deadline_us);
    if (!me.got)
        leave_queue(p, &me);
    pthread_cond_destroy(&me.served);
    *out = me.got;
    if (me.got)
        return 0;
    return atomic_load(&p->stopped) ? kube_stopped(err)
           : osmo_error_set(err, OSMO_EBUSY, "all %d connections to the Kubernetes API server are in use", p->max);
}

int kube_pool_take(struct kube_pool *p, bool own, int64_t deadline_us, kube_conn_t **out, osmo_error_t *err) {
    kube_conn_t *c = NULL;
    int rc = 0;
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->stopped)) {
        rc = kube_stopped(err);
    } else if (own) {
        rc = open_conn(p, true, &c, err);
    } else if (!p->first && p->idle) {
        c = p->idle;
        p->idle = c->next;
    } else if (!p->first && p->open < p->max) {
        rc = open_conn(p, false, &c, err);
        p->open += rc == 0;
    } else {
        rc = queue_up(p, deadline_us, &c, err);
    }
    if (rc == 0) {
        c->next = p->busy;
        p->busy = c;
        if (atomic_load(&p->stopped))
            http_client_cancel(c->http);
        *out = c;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void kube_pool_give(struct kube_pool *p, kube_conn_t *c) {
    pthread_mutex_lock(&p->lock);
    kube_conn_t **at = &p->busy;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    struct kube_waiter *w = c->own ? NULL : p->first;
    if (w) {
        p->first = w->next;
        if (!p->first)
            p->last = &p->first;
        w->got = c;
        pthread_cond_signal(&w->served);
    } else if (!c->own) {
        c->next = p->idle;
        p->idle = c;
    }
    bool own = c->own && !w;
    pthread_mutex_unlock(&p->lock);
    if (own)
        free_conn(c);
}

/* ---- pace ---- */

static int sleep_locked(struct kube_pool *p, int64_t us, osmo_error_t *err) {
    int64_t until_us = clock_mono_us() + us;
    while (!atomic_load(&p->stopped) && clock_mono_us() < until_us)
        cond_wait_until(&p->stop, &p->lock, until_us);
    return atomic_load(&p->stopped) ? kube_stopped(err) : 0;
}

int kube_pool_sleep(struct kube_pool *p, int64_t us, osmo_error_t *err) {
    pthread_mutex_lock(&p->lock);
    int rc = sleep_locked(p, us, err);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int kube_pool_throttle(struct kube_pool *p, int64_t deadline_us, osmo_error_t *err) {
    int rc = 0;
    if (p->qps <= 0)
        return 0;
    pthread_mutex_lock(&p->lock);
    int64_t now = clock_mono_us(), wait_us = 0;
    p->tokens += (double)(now - p->tokens_us) / 1e6 * p->qps;
    p->tokens = p->tokens > p->burst ? p->burst : p->tokens;
    p->tokens_us = now;
    p->tokens--; /* below zero: promised to those who wait */
    if (p->tokens < 0)
        wait_us = (int64_t)(-p->tokens / p->qps * 1e6);
    if (now + wait_us > deadline_us) {
        p->tokens++;
        rc = osmo_error_set(err, OSMO_EBUSY, "more than %g requests a second are wanted of the Kubernetes API: raise the limit", p->qps);
    } else if (wait_us > 0) {
        rc = sleep_locked(p, wait_us, err);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

uint64_t kube_pool_random(struct kube_pool *p, uint64_t below) {
    pthread_mutex_lock(&p->lock);
    uint64_t x = p->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64: jitter needs no more */
    pthread_mutex_unlock(&p->lock);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return below ? x % below : 0;
}
