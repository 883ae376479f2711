/* Streams that promise a sign of life have one every beat_us: a thread of its own wakes them, which is all it does. It runs while there are
 * such streams. Called by logs_stream.c and logs.c. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/engine_internal.h"
#include "engine/logs_internal.h"

#define STREAMS_MAX 65536
#define BEAT_US (15LL * 1000 * 1000)

struct beats {
    pthread_mutex_t lock;
    struct waker waker;
    uint64_t *requests;
    size_t n, cap;
    pthread_t thread;
    bool started;
    engine_t *engine;
};

int beats_open(engine_t *e, osmo_error_t *err) {
    struct beats *b = calloc(1, sizeof *b);
    if (!b)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&b->lock, NULL);
    waker_init(&b->waker);
    b->engine = e;
    e->loggers->beats = b;
    e->loggers->beat_us = BEAT_US;
    return 0;
}

void beats_close(engine_t *e) {
    struct beats *b = e->loggers->beats;
    if (!b)
        return;
    waker_stop(&b->waker);
    if (b->started)
        pthread_join(b->thread, NULL);
    e->loggers->beats = NULL;
    waker_destroy(&b->waker);
    pthread_mutex_destroy(&b->lock);
    free(b->requests);
    free(b);
}

/* The transport is called without the lock; a stream that has left meanwhile is woken in vain. */
static void wake_all(struct beats *b) {
    const osmo_transport_t *t = b->engine->transport;
    pthread_mutex_lock(&b->lock);
    size_t n = b->n;
    uint64_t *all = n ? malloc(n * sizeof *all) : NULL;
    for (size_t i = 0; all && i < n; i++)
        all[i] = b->requests[i];
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; all && t && t->stream_wake && i < n; i++)
        t->stream_wake(t->impl, all[i]);
    free(all);
}

static void *beats_main(void *arg) {
    struct beats *b = arg;
    pthread_setname_np(pthread_self(), "osmo-beats");
    while (!waker_stopped(&b->waker)) {
        pthread_mutex_lock(&b->lock);
        bool any = b->n > 0;
        pthread_mutex_unlock(&b->lock);
        waker_wait(&b->waker, any ? b->engine->loggers->beat_us : INT64_C(3600) * 1000000);
        if (any)
            wake_all(b);
    }
    return NULL;
}

static int start(struct beats *b) {
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    b->started = pthread_create(&b->thread, NULL, beats_main, b) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return b->started ? 0 : OSMO_EUNAVAIL;
}

int beats_add(engine_t *e, uint64_t request_id) {
    struct beats *b = e->loggers->beats;
    pthread_mutex_lock(&b->lock);
    int rc = b->started ? 0 : start(b);
    if (rc == 0 && b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 16;
        uint64_t *bigger = cap <= STREAMS_MAX ? realloc(b->requests, cap * sizeof *bigger) : NULL;
        rc = bigger ? 0 : cap > STREAMS_MAX ? OSMO_EBUSY : OSMO_ENOMEM;
        if (bigger) {
            b->requests = bigger;
            b->cap = cap;
        }
    }
    bool first = rc == 0 && b->n == 0;
    if (rc == 0)
        b->requests[b->n++] = request_id;
    pthread_mutex_unlock(&b->lock);
    if (first)
        waker_wake(&b->waker);
    return rc;
}

void beats_remove(engine_t *e, uint64_t request_id) {
    struct beats *b = e->loggers ? e->loggers->beats : NULL;
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->n; i++) {
        if (b->requests[i] == request_id) {
            b->requests[i] = b->requests[--b->n];
            break;
        }
    }
    pthread_mutex_unlock(&b->lock);
}
