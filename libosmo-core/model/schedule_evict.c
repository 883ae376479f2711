/* Making room: which running gangs have to go so that a waiting one can run. */
#include <stdlib.h>
#include <string.h>

#include "model/schedule_internal.h"

struct candidate { struct gang *gang; double over; };
struct search { struct candidate *items; size_t len, cap; struct gang *for_gang; };

bool sched_has_victims(const struct queue *q, int priority) {
    return q->nsoft && q->soft[0].priority < priority;
}

/* With this gang the queue stays within what it is guaranteed, so that room lent to others is its own. */
bool sched_may_reclaim(const osmo_scheduler_t *s, const struct gang *g) {
    bool limited = false;
    if (s->nover <= (size_t)g->queue->over)
        return false;
    for (int r = 0; r < R; r++) {
        int64_t guarantee = g->queue->guarantee.of[r];
        if (guarantee < 0 || !g->total.of[r])
            continue;
        limited = true;
        if (g->queue->used.of[r] + g->total.of[r] > guarantee)
            return false;
    }
    return limited;
}

/* How far a queue is above its guarantee in what the gang needs; 0 = not at all. */
static double overdraft(const osmo_scheduler_t *s, const struct queue *q, const struct gang *g) {
    double most = 0;
    for (int r = 0; r < R; r++) {
        if (q->guarantee.of[r] < 0 || !g->total.of[r] || s->capacity.of[r] <= 0)
            continue;
        double over = (double)(q->used.of[r] - q->guarantee.of[r]) / (double)s->capacity.of[r];
        if (over > most)
            most = over;
    }
    return most;
}

/* Only a gang on a node that some pod of ours could use is worth anything. */
static bool helps(osmo_scheduler_t *s, const struct gang *victim, struct gang *g) {
    for (size_t i = 0; i < victim->npods && i < 64; i++) {
        const struct node *n = victim->pods[i].node;
        for (size_t p = 0; n && p < g->npods; p++) {
            if (p && g->pods[p].shape == g->pods[p - 1].shape)
                continue;
            if (sched_node_matches(s, g->pods[p].shape, n))
                return true;
        }
    }
    return false;
}

static bool search_add(osmo_scheduler_t *s, struct search *x, struct gang *v, double over) {
    if (x->len == x->cap) {
        size_t cap = x->cap ? 2 * x->cap : 32;
        struct candidate *grown = reallocarray(x->items, cap, sizeof *grown);
        if (!grown) {
            s->out_of_memory = true;
            return false;
        }
        x->items = grown;
        x->cap = cap;
    }
    x->items[x->len++] = (struct candidate){ v, over };
    return true;
}

/* Of lower priority than `below`. Nobody leaves in the run in which it came. */
static bool collect_queue(osmo_scheduler_t *s, struct search *x, const struct queue *q, int64_t below, double over) {
    for (size_t p = 0; p < q->nsoft && q->soft[p].priority < below; p++)
        for (size_t i = 0; i < q->soft[p].len && x->len < MAX_VICTIMS; i++) {
            struct gang *v = q->soft[p].gangs[i];
            if (v->started <= s->run_mark && helps(s, v, x->for_gang) && !search_add(s, x, v, over))
                return false;
        }
    return true;
}

/* Who goes first: lower priority, then the queue that borrowed most, then who began last. */
static int compare_candidates(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->gang->priority != y->gang->priority)
        return x->gang->priority < y->gang->priority ? -1 : 1;
    if (x->over > y->over || x->over < y->over)
        return x->over > y->over ? -1 : 1;
    return x->gang->started > y->gang->started ? -1 : 1;
}

static bool collect(osmo_scheduler_t *s, struct search *x) {
    struct gang *g = x->for_gang;
    if (sched_has_victims(g->queue, g->priority) && !collect_queue(s, x, g->queue, g->priority, 0))
        return false;
    bool reclaim = sched_may_reclaim(s, g);
    for (size_t i = 0; reclaim && i < s->nqueues; i++) {
        double over = s->queues[i] == g->queue || !s->queues[i]->over ? 0 : overdraft(s, s->queues[i], g);
        if (over > 0 && !collect_queue(s, x, s->queues[i], INT64_MAX, over))
            return false;
    }
    if (x->len)
        qsort(x->items, x->len, sizeof *x->items, compare_candidates);
    return true;
}

/* Does the gang fit with these out of the way? They are put back; the gang keeps its nodes on success but takes no room. */
static bool fits_without(osmo_scheduler_t *s, struct gang *g, struct candidate *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (out[i].gang)
            sched_take(s, out[i].gang, -1);
    bool fits = sched_place(s, g);
    if (fits)
        sched_unplace(s, g);
    for (size_t i = 0; i < n; i++)
        if (out[i].gang)
            sched_take(s, out[i].gang, 1);
    return fits;
}

/* Double the number of victims until it is enough, then halve the last step. */
static size_t enough(osmo_scheduler_t *s, struct search *x) {
    size_t low = 0, high = 1;
    while (!fits_without(s, x->for_gang, x->items, high)) {
        if (high == x->len)
            return 0;
        low = high;
        high = 2 * high < x->len ? 2 * high : x->len;
    }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (fits_without(s, x->for_gang, x->items, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* Spare whom we do not need, the dearest first. */
static void spare(osmo_scheduler_t *s, struct search *x, size_t n) {
    int tries = 0;
    for (size_t i = n - 1; i-- > 0 && tries < MAX_VICTIM_TRIES; tries++) {
        struct gang *v = x->items[i].gang;
        x->items[i].gang = NULL;
        if (!fits_without(s, x->for_gang, x->items, n))
            x->items[i].gang = v;
    }
}

/* The victims' room is being given back, and the gang holds a claim to its share of it. */
static void nominate(osmo_scheduler_t *s, struct gang *g, struct gang **victims, size_t n) {
    for (size_t i = 0; i < n; i++)
        sched_take(s, victims[i], -1);
    bool fits = sched_place(s, g);
    for (size_t i = 0; fits && i < g->npods; i++) {
        struct node *node = g->pods[i].node;
        amount_add(&node->used, &g->pods[i].shape->request, -1);
        amount_add(&node->reserved, &g->pods[i].shape->request, 1);
    }
    for (size_t i = 0; i < n; i++) {
        struct gang *v = victims[i];
        sched_take(s, v, 1);
        sched_soft(s, v, -1);
        sched_running_evict(v);
        v->evicted_for = g;
        sched_queue_charge(s, v, -1);
        for (size_t p = 0; p < v->npods; p++)
            if (v->pods[p].node)
                amount_add(&v->pods[p].node->releasing, &v->pods[p].shape->request, 1);
    }
    sched_commit(s, g);
    for (size_t i = 0; i < n; i++)
        sched_commit(s, victims[i]);
    g->victims_left = n;
    g->state = GANG_NOMINATED;
}

static bool nominated_reserve(osmo_scheduler_t *s) {
    if (s->nnominated < s->cap_nominated)
        return true;
    size_t cap = s->cap_nominated ? 2 * s->cap_nominated : 16;
    struct gang **grown = reallocarray(s->nominated, cap, sizeof *grown);
    if (!grown) {
        s->out_of_memory = true;
        return false;
    }
    s->nominated = grown;
    s->cap_nominated = cap;
    return true;
}

bool sched_is_hopeless(osmo_scheduler_t *s, const struct gang *g) {
    for (size_t i = 0, runs = 0; i < g->npods && runs < RUNS_EXAMINED; i++) {
        if (i && g->pods[i].shape == g->pods[i - 1].shape)
            continue;
        runs++;
        if (!sched_could_hold(s, g->pods[i].shape) && !s->out_of_memory)
            return true;
    }
    return false;
}

bool sched_make_room(osmo_scheduler_t *s, struct gang *g, struct gang ***victims, size_t *nvictims) {
    struct search x = { .for_gang = g };
    *victims = NULL;
    *nvictims = 0;
    size_t n = collect(s, &x) && x.len ? enough(s, &x) : 0;
    struct gang **list = n && nominated_reserve(s) ? calloc(n, sizeof *list) : NULL;
    s->out_of_memory |= n && !list;
    if (list) {
        spare(s, &x, n);
        for (size_t i = 0; i < n; i++)
            if (x.items[i].gang)
                list[(*nvictims)++] = x.items[i].gang;
        nominate(s, g, list, *nvictims);
        s->nominated[s->nnominated++] = g;
        *victims = list;
    }
    free(x.items);
    return list != NULL;
}
