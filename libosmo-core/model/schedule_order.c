/* Whose turn it is: the queue that has least of what it deserves; in it the highest priority, then the user who has least, then the gang
 * that came first. Within a pass what somebody has only grows, so a heap whose keys are brought up to date at its top is enough. */
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

/* ---- users of one priority, and the lanes of each ---- */

static bool turn_before(const struct turn *a, const struct turn *b) {
    if (a->share < b->share || a->share > b->share)
        return a->share < b->share;
    if (a->arrival != b->arrival)
        return a->arrival < b->arrival;
    return a->name != b->name && strcmp(a->name, b->name) < 0;
}

static struct turn lane_turn(struct lane *l) {
    const struct gang *head = sched_lane_head(l);
    return head ? (struct turn){ 0, head->arrival, head->name } : (struct turn){ 0, INT64_MAX, "" };
}

static void lanes_sift(struct share *x, size_t at) {
    for (;;) {
        size_t least = at;
        struct turn best = x->nheap ? lane_turn(x->heap[at]) : (struct turn){ 0 };
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < x->nheap; child++) {
            struct turn turn = lane_turn(x->heap[child]);
            if (turn_before(&turn, &best)) {
                least = child;
                best = turn;
            }
        }
        if (least == at)
            return;
        struct lane *swap = x->heap[at];
        x->heap[at] = x->heap[least];
        x->heap[least] = swap;
        at = least;
    }
}

static void users_sift(struct queue *q, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < q->nheap; child++)
            if (turn_before(&q->heap[child]->turn, &q->heap[least]->turn))
                least = child;
        if (least == at)
            return;
        struct share *swap = q->heap[at];
        q->heap[at] = q->heap[least];
        q->heap[least] = swap;
        at = least;
    }
}

/* The first gang of the user in a class that has not failed in this pass. */
static struct gang *user_head(const osmo_scheduler_t *s, struct share *x) {
    while (x->nheap) {
        lanes_sift(x, 0); /* its first gang may have gone */
        struct gang *head = x->heap[0]->class->pass == s->pass ? NULL : sched_lane_head(x->heap[0]);
        if (head)
            return head;
        x->heap[0] = x->heap[--x->nheap];
    }
    return NULL;
}

/* Could running gangs leave for one of this class? */
static bool may_displace(const osmo_scheduler_t *s, const struct class *c) {
    if (s->no_preemption)
        return false;
    if (sched_has_victims(c->queue, c->band->priority))
        return true;
    const struct gang *g = sched_class_head(c);
    return g && sched_may_reclaim(s, g);
}

static bool takes_part(const osmo_scheduler_t *s, const struct class *c) {
    return c->state == CLASS_OPEN || s->full_runs || (c->state == CLASS_FIT && (s->strict_order || may_displace(s, c)));
}

static int add_lane(osmo_scheduler_t *s, struct queue *q, struct lane *l) {
    struct share *x = l->share;
    if (!sched_lane_head(l))
        return 0;
    if (x->filled != s->filled) {
        x->filled = s->filled;
        x->nheap = 0;
        q->heap[q->nheap++] = x;
    }
    if (x->nheap == x->cap_heap) {
        size_t cap = x->cap_heap ? 2 * x->cap_heap : 4;
        struct lane **grown = reallocarray(x->heap, cap, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        x->heap = grown;
        x->cap_heap = cap;
    }
    x->heap[x->nheap++] = l;
    return 0;
}

static int users_reserve(struct queue *q) {
    size_t users = map_len(q->shares);
    if (users <= q->cap_heap)
        return 0;
    struct share **grown = reallocarray(q->heap, 2 * users, sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    q->heap = grown;
    q->cap_heap = 2 * users;
    return 0;
}

/* Classes that are certain to fail take no part, except where they hold up others or could displace some. */
static int fill_band(osmo_scheduler_t *s, struct queue *q, const struct band *b) {
    bool look = s->full_runs || s->strict_order ||
                (!s->no_preemption && (sched_has_victims(q, b->priority) || s->nover > (size_t)q->over));
    q->nheap = 0;
    s->filled++;
    if (users_reserve(q) < 0)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < (look ? b->nclasses : b->nopen); i++) {
        const struct class *c = b->classes[i];
        size_t nlanes = takes_part(s, c) ? c->nlanes : 0;
        for (size_t k = 0; k < nlanes; k++)
            if (add_lane(s, q, c->lanes[k]) < 0)
                return OSMO_ENOMEM;
    }
    for (size_t i = 0; i < q->nheap; i++) {
        struct share *x = q->heap[i];
        for (size_t k = x->nheap / 2 + 1; k--;)
            lanes_sift(x, k < x->nheap ? k : 0);
        x->turn = lane_turn(x->heap[0]);
        x->turn.share = dominant(&x->used, &s->capacity);
    }
    for (size_t i = q->nheap / 2 + 1; i--;)
        users_sift(q, i);
    return 0;
}

static struct gang *queue_next(osmo_scheduler_t *s, struct queue *q) {
    while (!q->blocked) {
        if (!q->nheap) {
            if (q->band_at >= q->nbands)
                break;
            if (fill_band(s, q, q->bands[q->band_at++]) < 0) {
                s->out_of_memory = true;
                break;
            }
            continue;
        }
        struct share *x = q->heap[0];
        struct gang *head = user_head(s, x);
        if (!head) {
            q->heap[0] = q->heap[--q->nheap];
            users_sift(q, 0);
            continue;
        }
        struct turn now = { dominant(&x->used, &s->capacity), head->arrival, head->name };
        if (!turn_before(&x->turn, &now))
            return head;
        x->turn = now; /* its share or its first gang is another since it was put there */
        users_sift(q, 0);
    }
    return NULL;
}

/* ---- queues ---- */

static bool queue_before(const struct queue_turn *a, const struct queue_turn *b) {
    if (a->share < b->share || a->share > b->share)
        return a->share < b->share;
    return a->queue->index < b->queue->index;
}

static void queues_sift(osmo_scheduler_t *s, size_t at) {
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->nturns; child++)
            if (queue_before(&s->turns[child], &s->turns[least]))
                least = child;
        if (least == at)
            return;
        struct queue_turn swap = s->turns[at];
        s->turns[at] = s->turns[least];
        s->turns[least] = swap;
        at = least;
    }
}

static bool queue_takes_part(const osmo_scheduler_t *s, const struct queue *q) {
    if (s->full_runs || s->strict_order || (!s->no_preemption && s->nover > (size_t)q->over))
        return true;
    for (size_t i = 0; i < q->nbands; i++)
        if (q->bands[i]->nopen || (!s->no_preemption && sched_has_victims(q, q->bands[i]->priority)))
            return true;
    return false;
}

/* Who has borrowed is settled for the whole pass; another borrower than in the last one may have what a search did not find then. */
static void find_borrowers(osmo_scheduler_t *s) {
    s->nover = 0;
    for (size_t i = 0; s->nguaranteed && i < s->nqueues; i++) {
        struct queue *q = s->queues[i];
        bool was = q->over;
        q->over = false;
        for (int r = 0; r < R && q->nsoft; r++)
            q->over |= q->guarantee.of[r] >= 0 && q->used.of[r] > q->guarantee.of[r];
        s->nover += q->over;
        s->version += q->over != was;
    }
}

int sched_pass_begin(osmo_scheduler_t *s) {
    s->pass++;
    s->nturns = 0;
    sched_reopen(s);
    find_borrowers(s);
    for (size_t i = 0; i < s->nbusy; i++) {
        struct queue *q = s->busy[i];
        if (!queue_takes_part(s, q))
            continue;
        q->band_at = q->nheap = 0;
        q->blocked = false;
        s->turns[s->nturns++] = (struct queue_turn){ sched_queue_share(s, q), q };
    }
    for (size_t i = s->nturns / 2 + 1; i--;)
        if (i < s->nturns)
            queues_sift(s, i);
    return s->out_of_memory ? OSMO_ENOMEM : 0;
}

struct gang *sched_pass_next(osmo_scheduler_t *s) {
    while (s->nturns && !s->out_of_memory) {
        struct queue_turn *top = &s->turns[0], now = { sched_queue_share(s, top->queue), top->queue };
        if (queue_before(top, &now)) {
            *top = now;
            queues_sift(s, 0);
            continue;
        }
        struct gang *g = queue_next(s, top->queue);
        if (g)
            return g;
        *top = s->turns[--s->nturns];
        queues_sift(s, 0);
    }
    return NULL;
}
