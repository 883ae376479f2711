/* Followers: streaming answers that wait for news of one workflow, by its public id. Status changes and log growth
 * wake them through the transport, and those of other replicas by a hint; a wake is only a hint, so waking one too
 * many is harmless. Safe from any thread. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "engine/replicas.h"
#include "engine/router.h"

#define FOLLOWERS_MAX 65536
#define WAKE_CHUNK 64

struct followers {
    uint64_t *requests;
    size_t len, cap;
};

struct watchers {
    pthread_mutex_t lock;
    map_t *by_workflow; /* id → struct followers */
    size_t total;
};

static void followers_free(void *p) {
    struct followers *f = p;
    free(f->requests);
    free(f);
}

int watch_open(engine_t *e, osmo_error_t *err) {
    struct watchers *w = calloc(1, sizeof *w);
    if (w)
        w->by_workflow = map_new(followers_free);
    if (!w || !w->by_workflow) {
        free(w);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&w->lock, NULL);
    e->watchers = w;
    return 0;
}

void watch_close(engine_t *e) {
    struct watchers *w = e->watchers;
    if (!w)
        return;
    e->watchers = NULL;
    map_free(w->by_workflow);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static struct followers *followers_of(struct watchers *w, const char *workflow_id) {
    struct followers *f = map_get(w->by_workflow, workflow_id);
    if (f)
        return f;
    f = calloc(1, sizeof *f);
    if (f && map_set(w->by_workflow, workflow_id, f) < 0)
        f = NULL; /* freed by the map */
    return f;
}

static int followers_add(struct watchers *w, const char *workflow_id, uint64_t request_id) {
    if (w->total >= FOLLOWERS_MAX)
        return OSMO_EBUSY;
    struct followers *f = followers_of(w, workflow_id);
    if (!f)
        return OSMO_ENOMEM;
    if (f->len == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 4;
        uint64_t *bigger = realloc(f->requests, cap * sizeof *bigger);
        if (!bigger)
            return OSMO_ENOMEM;
        f->requests = bigger;
        f->cap = cap;
    }
    f->requests[f->len++] = request_id;
    w->total++;
    return 0;
}

int watch_add(engine_t *e, const char *workflow_id, uint64_t request_id) {
    pthread_mutex_lock(&e->watchers->lock);
    int rc = followers_add(e->watchers, workflow_id, request_id);
    pthread_mutex_unlock(&e->watchers->lock);
    return rc;
}

void watch_remove(engine_t *e, const char *workflow_id, uint64_t request_id) {
    struct watchers *w = e->watchers;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    struct followers *f = map_get(w->by_workflow, workflow_id);
    for (size_t i = 0; f && i < f->len; i++) {
        if (f->requests[i] != request_id)
            continue;
        f->requests[i] = f->requests[--f->len];
        w->total--;
        break;
    }
    if (f && f->len == 0)
        map_remove(w->by_workflow, workflow_id);
    pthread_mutex_unlock(&w->lock);
}

void watch_workflow_changed(engine_t *e, const char *workflow_uuid, const char *workflow_id) {
    (void)workflow_uuid;
    if (!workflow_id)
        return;
    watch_workflow_here(e, workflow_id);
    replicas_hint(e, HINT_WORKFLOW, workflow_id);
}

void watch_workflow_here(engine_t *e, const char *workflow_id) {
    struct watchers *w = e->watchers;
    router_workflow_changed(e, workflow_id);
    if (!w || !workflow_id || !e->transport || !e->transport->stream_wake)
        return;
    /* The transport is called without our lock, chunk by chunk from the end: a follower that leaves meanwhile moves
     * the last one forward, so nobody is missed and at worst one is woken twice. */
    uint64_t chunk[WAKE_CHUNK];
    size_t top = SIZE_MAX;
    while (top > 0) {
        pthread_mutex_lock(&w->lock);
        const struct followers *f = map_get(w->by_workflow, workflow_id);
        size_t end = f ? f->len : 0;
        end = end < top ? end : top;
        size_t n = end < WAKE_CHUNK ? end : WAKE_CHUNK;
        if (n)
            memcpy(chunk, f->requests + end - n, n * sizeof chunk[0]);
        pthread_mutex_unlock(&w->lock);
        for (size_t i = 0; i < n; i++)
            e->transport->stream_wake(e->transport->impl, chunk[i]);
        top = end - n;
    }
}

int watch_all_here(engine_t *e) {
    struct watchers *w = e->watchers;
    if (!w || !e->transport || !e->transport->stream_wake)
        return 0;
    size_t n = 0, it = 0;
    void *value;
    pthread_mutex_lock(&w->lock);
    uint64_t *all = w->total ? malloc(w->total * sizeof *all) : NULL;
    bool no_memory = w->total && !all;
    while (all && map_next(w->by_workflow, &it, NULL, &value)) {
        const struct followers *f = value;
        memcpy(all + n, f->requests, f->len * sizeof *all);
        n += f->len;
    }
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < n; i++)
        e->transport->stream_wake(e->transport->impl, all[i]);
    free(all);
    return no_memory ? OSMO_ENOMEM : 0;
}
