/* Whose turn it is in a queue: the highest priority, then the user who has least, then the gang that came first. */
#include <stdlib.h>
#include <string.h>

#include "model/schedule_internal.h"

/* The largest part of anything that somebody has. */
static double dominant(const amount_t *used, const amount_t *of) {
    double most = 0;
    for (int r = 0; r < R; r++) {
        double part = of->of[r] > 0 ? (double)used->of[r] / (double)of->of[r] : 0;
        if (part > most)
            most = part;
    }
    return most;
}

/* Below 1 while it has less than it is guaranteed; past that by its weighted part of the cluster. */
double sched_queue_share(const osmo_scheduler_t *s, const struct queue *q) {
    amount_t deserved;
    bool over = false;
    for (int r = 0; r < R; r++) {
        deserved.of[r] = q->guarantee.of[r] >= 0 ? q->guarantee.of[r] : s->capacity.of[r];
        over |= q->guarantee.of[r] >= 0 && q->used.of[r] >= deserved.of[r] && q->used.of[r] > 0;
    }
    double share = dominant(&q->used, &deserved);
    if (!over && share < 1)
        return share;
    return 1 + dominant(&q->used, &s->capacity) / q->weight;
}

/* ---- a heap of lanes, least share first ---- */

static bool before(const osmo_scheduler_t *s, const struct lane *a, const struct lane *b) {
    double x = dominant(&a->share->used, &s->capacity), y = dominant(&b->share->used, &s->capacity);
    if (x < y || x > y)
        return x < y;
    const struct gang *g = a->items[a->read], *h = b->items[b->read];
    return g->arrival != h->arrival ? g->arrival < h->arrival : strcmp(g->name, h->name) < 0;
}

static void sift_down(const osmo_scheduler_t *s, struct queue *q, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < q->nheap; child++)
            if (before(s, q->heap[child], q->heap[least]))
                least = child;
        if (least == at)
            return;
        struct lane *swap = q->heap[at];
        q->heap[at] = q->heap[least];
        q->heap[least] = swap;
        at = least;
    }
}

static bool lane_ready(struct lane *l) {
    while (l->read < l->len && !l->items[l->read])
        l->read++;
    return l->read < l->len;
}

static int fill_heap(osmo_scheduler_t *s, struct queue *q) {
    struct band *b = q->bands[q->band_at];
    if (b->nlanes > q->cap_heap) {
        struct lane **grown = reallocarray(q->heap, b->nlanes, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        q->heap = grown;
        q->cap_heap = b->nlanes;
    }
    q->nheap = 0;
    for (size_t i = 0; i < b->nlanes; i++) {
        struct lane *l = b->lanes[i];
        l->read = l->write = 0;
        if (lane_ready(l))
            q->heap[q->nheap++] = l;
    }
    for (size_t i = q->nheap; i--;)
        sift_down(s, q, i);
    return 0;
}

int sched_turn_begin(osmo_scheduler_t *s, struct queue *q) {
    q->band_at = q->nheap = 0;
    q->blocked = false;
    return q->nbands ? fill_heap(s, q) : 0;
}

struct gang *sched_turn_next(osmo_scheduler_t *s, struct queue *q) {
    if (q->blocked)
        return NULL;
    for (;;) {
        while (q->nheap && !lane_ready(q->heap[0])) {
            q->heap[0] = q->heap[--q->nheap];
            sift_down(s, q, 0);
        }
        if (q->nheap) {
            sift_down(s, q, 0); /* its share or its first gang may be others since the last turn */
            if (lane_ready(q->heap[0]))
                break;
            continue;
        }
        if (q->band_at + 1 >= q->nbands)
            return NULL;
        q->band_at++;
        if (fill_heap(s, q) < 0) {
            s->out_of_memory = true;
            return NULL;
        }
    }
    struct lane *l = q->heap[0];
    return l->items[l->read++];
}

void sched_turn_keep(struct gang *g) {
    struct lane *l = g->lane;
    l->items[l->read - 1] = NULL;
    l->items[l->write] = g;
    g->lane_pos = l->write++;
}

/* Close the holes that the run left behind. */
void sched_turn_end(struct queue *q) {
    for (size_t b = 0; b < q->nbands; b++)
        for (size_t i = 0; i < q->bands[b]->nlanes; i++) {
            struct lane *l = q->bands[b]->lanes[i];
            size_t n = l->write;
            for (size_t at = l->read; at < l->len; at++)
                if (l->items[at]) {
                    struct gang *g = l->items[at];
                    l->items[at] = NULL;
                    l->items[n] = g;
                    g->lane_pos = n++;
                }
            l->len = n;
            l->read = l->write = 0;
        }
}
