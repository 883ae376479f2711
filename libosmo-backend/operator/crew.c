/* See crew.h. Batches stand in a ring; each thread takes one piece of the next batch that has any. */
#include "operator/crew.h"
#include <pthread.h>
#include <stdlib.h>

struct batch {
    struct batch *next, *prev;
    bool (*piece)(void *ctx, size_t index);
    void *ctx;
    size_t at, n;              /* the next piece to begin */
    size_t running;
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t work;       /* a batch came, stop */
    pthread_cond_t done;       /* a piece was done */
    struct batch ring;         /* sentinel: batches with pieces that nobody began */
    bool stop;
    int nthreads;
    pthread_t threads[CREW_MAX];
};

static void leave(struct batch *b) {
    b->prev->next = b->next;
    b->next->prev = b->prev;
    b->next = b->prev = b;
}

static void join_last(struct crew *c, struct batch *b) {
    b->prev = c->ring.prev;
    b->next = &c->ring;
    b->prev->next = b;
    c->ring.prev = b;
}

/* With the lock held, which is given away meanwhile. The batch goes behind the others, so that all get their turns. */
static void do_one(struct crew *c, struct batch *b) {
    size_t index = b->at++;
    leave(b);
    if (b->at < b->n)
        join_last(c, b);
    b->running++;
    pthread_mutex_unlock(&c->lock);
    bool goes_on = b->piece(b->ctx, index);
    pthread_mutex_lock(&c->lock);
    b->running--;
    if (!goes_on) {
        b->at = b->n;
        leave(b);
    }
    if (!b->running)
        pthread_cond_broadcast(&c->done);
}

static void *crew_main(void *ctx) {
    struct crew *c = ctx;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if (c->ring.next == &c->ring)
            pthread_cond_wait(&c->work, &c->lock);
        else
            do_one(c, c->ring.next);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

crew_t *crew_new(int threads) {
    crew_t *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->ring.next = c->ring.prev = &c->ring;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->done, NULL);
    while (c->nthreads < threads && c->nthreads < CREW_MAX) {
        if (pthread_create(&c->threads[c->nthreads], NULL, crew_main, c) != 0) {
            crew_free(c);
            return NULL;
        }
        c->nthreads++;
    }
    return c;
}

void crew_free(crew_t *c) {
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->nthreads; i++)
        pthread_join(c->threads[i], NULL);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->done);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void crew_do(crew_t *c, size_t n, bool (*piece)(void *ctx, size_t index), void *ctx) {
    if (!c) {
        for (size_t i = 0; i < n && piece(ctx, i); i++)
            ;
        return;
    }
    struct batch b = { .next = &b, .prev = &b, .piece = piece, .ctx = ctx, .n = n };
    pthread_mutex_lock(&c->lock);
    if (n) {
        join_last(c, &b);
        pthread_cond_broadcast(&c->work);
    }
    while (b.at < b.n)
        do_one(c, &b);
    while (b.running)
        pthread_cond_wait(&c->done, &c->lock);
    leave(&b);
    pthread_mutex_unlock(&c->lock);
}
