/* Bounded queue between threads; see queue.h. */
#include "base/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cond.h"
#include "osmo/error.h"

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    void **ring;
    size_t max, cap, head, len;
    bool closed;
};

queue_t *queue_new(size_t max) {
    queue_t *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->max = max;
    pthread_mutex_init(&q->lock, NULL);
    cond_init(&q->filled);
    return q;
}

void queue_free(queue_t *q) {
    if (!q)
        return;
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
    free(q->ring);
    free(q);
}

static int grow(queue_t *q) {
    size_t cap = q->cap ? q->cap * 2 : 16;
    if (cap > q->max)
        cap = q->max;
    void **ring = malloc(cap * sizeof *ring);
    if (!ring)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < q->len; i++)
        ring[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
    return 0;
}

int queue_push(queue_t *q, void *item) {
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    if (q->closed) {
        rc = OSMO_EUNAVAIL;
    } else if (q->len == q->max) {
        rc = OSMO_EBUSY;
    } else if (q->len == q->cap) {
        rc = grow(q);
    }
    if (!rc) {
        q->ring[(q->head + q->len++) % q->cap] = item;
        pthread_cond_signal(&q->filled);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

size_t queue_pop_many(queue_t *q, void **items, size_t max, int64_t timeout_ms) {
    int64_t until = timeout_ms < 0 ? COND_FOR_EVER : clock_mono_us() + timeout_ms * 1000;
    pthread_mutex_lock(&q->lock);
    while (!q->len && !q->closed && timeout_ms != 0 && cond_wait_until(&q->filled, &q->lock, until))
        ;
    size_t n = 0;
    for (; n < max && q->len; n++) {
        items[n] = q->ring[q->head];
        q->head = (q->head + 1) % q->cap;
        q->len--;
    }
    pthread_mutex_unlock(&q->lock);
    return n;
}

void *queue_pop(queue_t *q, int64_t timeout_ms) {
    void *item = NULL;
    queue_pop_many(q, &item, 1, timeout_ms);
    return item;
}

size_t queue_len(queue_t *q) {
    pthread_mutex_lock(&q->lock);
    size_t n = q->len;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void queue_close(queue_t *q) {
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
}
