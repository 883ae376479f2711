/* Bounded queue between threads; see queue.h. */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

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
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, &attr);
    pthread_condattr_destroy(&attr);
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

static void deadline_after(struct timespec *ts, int64_t ms) {
    clock_gettime(CLOCK_MONOTONIC, ts);
    ts->tv_sec += ms / 1000;
    ts->tv_nsec += ms % 1000 * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
}

size_t queue_pop_many(queue_t *q, void **items, size_t max, int64_t timeout_ms) {
    struct timespec until;
    if (timeout_ms > 0)
        deadline_after(&until, timeout_ms);
    pthread_mutex_lock(&q->lock);
    while (!q->len && !q->closed && timeout_ms != 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&q->filled, &q->lock);
        else if (pthread_cond_timedwait(&q->filled, &q->lock, &until) == ETIMEDOUT)
            break;
    }
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
