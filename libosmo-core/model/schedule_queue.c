/* The scheduler's queues: to which gangs count, and in which they wait, sorted into classes that fail alike. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "model/schedule_internal.h"

/* ---- lanes, classes, bands: they go when they are empty ---- */

static void lane_free(struct lane *l) {
    free(l->items);
    free(l->key);
    free(l);
}

static void class_free(struct class *c) {
    for (size_t i = 0; i < c->nlanes; i++)
        lane_free(c->lanes[i]);
    free(c->lanes);
    free(c->reason);
    free(c->key);
    free(c);
}

static void band_free(struct band *b) {
    for (size_t i = 0; i < b->nclasses; i++)
        class_free(b->classes[i]);
    free(b->classes);
    free(b);
}

static void band_drop(struct queue *q, struct band *b) {
    for (size_t i = 0; i < q->nbands; i++)
        if (q->bands[i] == b) {
            memmove(q->bands + i, q->bands + i + 1, (--q->nbands - i) * sizeof *q->bands);
            break;
        }
    band_free(b);
}

static void class_drop(struct class *c) {
    struct band *b = c->band;
    sched_class_shut(c, CLASS_QUOTA); /* out of the front part */
    struct class *last = b->classes[--b->nclasses];
    b->classes[c->band_pos] = last;
    last->band_pos = c->band_pos;
    if (c->kind_prev)
        c->kind_prev->kind_next = c->kind_next;
    else
        c->kind->classes = c->kind_next;
    if (c->kind_next)
        c->kind_next->kind_prev = c->kind_prev;
    map_remove(c->queue->classes, c->key);
    if (!b->nclasses)
        band_drop(c->queue, b);
    class_free(c);
}

static void lane_drop(struct lane *l) {
    struct class *c = l->class;
    struct lane *last = c->lanes[--c->nlanes];
    c->lanes[l->class_pos] = last;
    last->class_pos = l->class_pos;
    map_remove(c->queue->lanes, l->key);
    lane_free(l);
    if (!c->nlanes)
        class_drop(c);
}

static struct band *band_get(struct queue *q, int priority) {
    size_t at = 0;
    while (at < q->nbands && q->bands[at]->priority > priority)
        at++;
    if (at < q->nbands && q->bands[at]->priority == priority)
        return q->bands[at];
    struct band **grown = reallocarray(q->bands, q->nbands + 1, sizeof *grown), *b = NULL;
    if (!grown)
        return NULL;
    q->bands = grown;
    if (!(b = calloc(1, sizeof *b)))
        return NULL;
    b->priority = priority;
    memmove(grown + at + 1, grown + at, (q->nbands - at) * sizeof *grown);
    q->nbands++;
    return grown[at] = b;
}

static int band_reserve(struct band *b) {
    if (b->nclasses < b->cap)
        return 0;
    size_t cap = b->cap ? 2 * b->cap : 4;
    struct class **grown = reallocarray(b->classes, cap, sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    b->classes = grown;
    b->cap = cap;
    return 0;
}

static struct class *class_new(struct queue *q, struct band *b, const struct gang *g, char **key) {
    struct class *c = band_reserve(b) == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c || map_set(q->classes, *key, c) < 0) {
        free(c);
        return NULL;
    }
    *c = (struct class){ .key = STEAL(*key), .queue = q, .band = b, .kind = g->kind, .preemptible = g->preemptible,
                         .kind_next = g->kind->classes, .state = CLASS_QUOTA, .band_pos = b->nclasses };
    b->classes[b->nclasses++] = c;
    sched_class_open(c);
    if (c->kind_next)
        c->kind_next->kind_prev = c;
    return g->kind->classes = c;
}

static struct class *class_get(struct queue *q, const struct gang *g) {
    _cleanup_free_ char *key = str_printf("%d %d %p", g->priority, g->preemptible, (void *)g->kind);
    struct class *c = key ? map_get(q->classes, key) : NULL;
    if (c || !key)
        return c;
    struct band *b = band_get(q, g->priority);
    c = b ? class_new(q, b, g, &key) : NULL;
    if (!c && b && !b->nclasses)
        band_drop(q, b);
    return c;
}

static struct lane *lane_new(struct class *c, const struct gang *g, char **key) {
    struct lane *l = NULL;
    if (c->nlanes == c->cap_lanes) {
        size_t cap = c->cap_lanes ? 2 * c->cap_lanes : 2;
        struct lane **grown = reallocarray(c->lanes, cap, sizeof *grown);
        if (!grown)
            return NULL;
        c->lanes = grown;
        c->cap_lanes = cap;
    }
    if (!(l = calloc(1, sizeof *l)) || map_set(c->queue->lanes, *key, l) < 0) {
        free(l);
        return NULL;
    }
    *l = (struct lane){ .key = STEAL(*key), .class = c, .class_pos = c->nlanes, .share = g->share };
    return c->lanes[c->nlanes++] = l;
}

static struct lane *lane_get(struct class *c, const struct gang *g) {
    _cleanup_free_ char *key = str_printf("%p %s", (void *)c, g->share->user);
    struct lane *l = key ? map_get(c->queue->lanes, key) : NULL;
    return l || !key ? l : lane_new(c, g, &key);
}

/* ---- gangs in a lane ---- */

static bool before(const struct gang *a, const struct gang *b) {
    return a->arrival != b->arrival ? a->arrival < b->arrival : strcmp(a->name, b->name) < 0;
}

/* Holes left by gangs that no longer wait go when a lane is full of them. */
static void lane_squeeze(struct lane *l) {
    size_t n = 0;
    for (size_t i = l->first; i < l->len; i++)
        if (l->items[i]) {
            l->items[n] = l->items[i];
            l->items[n]->lane_pos = n;
            n++;
        }
    l->first = 0;
    l->len = n;
}

/* Room for one more: squeezed first, and grown when that gave less than half back, so that neither happens often. */
static int lane_reserve(struct lane *l) {
    if (l->len < l->cap)
        return 0;
    lane_squeeze(l);
    if (l->cap && l->len <= l->cap / 2)
        return 0;
    size_t cap = l->cap ? 2 * l->cap : 4;
    struct gang **grown = reallocarray(l->items, cap, sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    l->items = grown;
    l->cap = cap;
    return 0;
}

static int lane_insert(struct lane *l, struct gang *g) {
    if (lane_reserve(l) < 0)
        return OSMO_ENOMEM;
    size_t at = l->len;
    while (at > l->first && (!l->items[at - 1] || before(g, l->items[at - 1])))
        at--;
    for (size_t i = l->len; i > at; i--) {
        l->items[i] = l->items[i - 1];
        if (l->items[i])
            l->items[i]->lane_pos = i;
    }
    l->items[at] = g;
    l->len++;
    g->lane = l;
    g->lane_pos = at;
    return 0;
}

struct gang *sched_lane_head(struct lane *l) {
    while (l->first < l->len && !l->items[l->first])
        l->first++;
    return l->first < l->len ? l->items[l->first] : NULL;
}

/* Any gang of the class, to ask what holds for all of them. Lanes emptied in this run are still there. */
struct gang *sched_class_head(const struct class *c) {
    struct gang *head = NULL;
    for (size_t i = 0; i < c->nlanes && !head; i++)
        head = sched_lane_head(c->lanes[i]);
    return head;
}

static void fresh_add(osmo_scheduler_t *s, struct gang *g) {
    g->fresh = true;
    g->told = 0;
    g->fresh_prev = s->fresh_last;
    g->fresh_next = NULL;
    if (s->fresh_last)
        s->fresh_last->fresh_next = g;
    else
        s->fresh = g;
    s->fresh_last = g;
}

void sched_fresh_remove(osmo_scheduler_t *s, struct gang *g) {
    if (!g->fresh)
        return;
    if (g->fresh_prev)
        g->fresh_prev->fresh_next = g->fresh_next;
    else
        s->fresh = g->fresh_next;
    if (g->fresh_next)
        g->fresh_next->fresh_prev = g->fresh_prev;
    else
        s->fresh_last = g->fresh_prev;
    g->fresh = false;
}

int sched_queue_enter(osmo_scheduler_t *s, struct gang *g) {
    struct queue *q = g->queue;
    struct class *c = class_get(q, g);
    struct lane *l = c ? lane_get(c, g) : NULL;
    if (!l || lane_insert(l, g) < 0) {
        if (l && !sched_lane_head(l) && !l->empty)
            lane_drop(l);
        else if (c && !c->nlanes)
            class_drop(c);
        return OSMO_ENOMEM;
    }
    g->state = GANG_WAITING;
    fresh_add(s, g);
    if (!q->waiting++) {
        q->busy_pos = s->nbusy;
        s->busy[s->nbusy++] = q;
    }
    return 0;
}

void sched_queue_leave(osmo_scheduler_t *s, struct gang *g) {
    struct lane *l = g->lane;
    struct queue *q = g->queue;
    if (!l)
        return;
    l->items[g->lane_pos] = NULL;
    while (l->len > l->first && !l->items[l->len - 1])
        l->len--;
    g->lane = NULL;
    sched_fresh_remove(s, g);
    if (!--q->waiting) {
        struct queue *last = s->busy[--s->nbusy];
        s->busy[q->busy_pos] = last;
        last->busy_pos = q->busy_pos;
    }
    if (sched_lane_head(l))
        return;
    if (!s->in_run) {
        lane_drop(l);
    } else if (!l->empty) {
        l->empty = true;
        l->next_empty = s->empty_lanes;
        s->empty_lanes = l;
    }
}

/* During a run its heaps name lanes, so that they have to stay. */
void sched_lanes_sweep(osmo_scheduler_t *s) {
    while (s->empty_lanes) {
        struct lane *l = s->empty_lanes;
        s->empty_lanes = l->next_empty;
        l->empty = false;
        if (!sched_lane_head(l))
            lane_drop(l);
    }
}

/* ---- queues ---- */

void sched_queue_free(struct queue *q) {
    for (size_t i = 0; i < q->nbands; i++)
        band_free(q->bands[i]);
    free(q->bands);
    map_free(q->shares);
    map_free(q->lanes);
    map_free(q->classes);
    free(q->running);
    for (size_t i = 0; i < q->nsoft; i++)
        free(q->soft[i].gangs);
    free(q->soft);
    free(q->heap);
    free(q->name);
    free(q);
}

static void no_limits(amount_t *a) {
    for (int r = 0; r < R; r++)
        a->of[r] = -1;
}

static int queues_reserve(osmo_scheduler_t *s) {
    if (s->nqueues < s->cap_queues)
        return 0;
    size_t cap = s->cap_queues ? 2 * s->cap_queues : 8;
    struct queue **queues = reallocarray(s->queues, cap, sizeof *queues);
    if (queues)
        s->queues = queues;
    struct queue **busy = reallocarray(s->busy, cap, sizeof *busy);
    if (busy)
        s->busy = busy;
    struct queue_turn *turns = reallocarray(s->turns, cap, sizeof *turns);
    if (turns)
        s->turns = turns;
    if (!queues || !busy || !turns)
        return OSMO_ENOMEM;
    s->cap_queues = cap;
    return 0;
}

struct queue *sched_queue_get(osmo_scheduler_t *s, const char *name) {
    struct queue *q = map_get(s->queue_by_name, name);
    if (q)
        return q;
    if (s->nqueues >= MAX_QUEUES || queues_reserve(s) < 0 || !(q = calloc(1, sizeof *q)))
        return NULL;
    q->name = str_dup(name);
    q->shares = map_new(NULL);
    q->lanes = map_new(NULL);
    q->classes = map_new(NULL);
    if (!q->name || !q->shares || !q->lanes || !q->classes || map_set(s->queue_by_name, name, q) < 0) {
        sched_queue_free(q);
        return NULL;
    }
    q->index = s->nqueues;
    q->weight = 1;
    no_limits(&q->guarantee);
    no_limits(&q->maximum);
    return s->queues[s->nqueues++] = q;
}

struct share *sched_share_get(struct queue *q, const char *user) {
    struct share *x = map_get(q->shares, user);
    if (!x) {
        x = calloc(1, sizeof *x);
        if (!x || !(x->user = str_dup(user)) || map_set(q->shares, user, x) < 0) {
            free(x ? x->user : NULL);
            free(x);
            return NULL;
        }
    }
    x->refs++;
    return x;
}

void sched_share_put(struct queue *q, struct share *x) {
    if (--x->refs)
        return;
    map_remove(q->shares, x->user);
    free(x->heap);
    free(x->user);
    free(x);
}

void sched_queue_charge_amount(osmo_scheduler_t *s, struct gang *g, const amount_t *amount, int sign) {
    amount_add(&g->queue->used, amount, sign);
    if (!g->preemptible)
        amount_add(&g->queue->firm, amount, sign);
    amount_add(&g->share->used, amount, sign);
    g->queue->given |= sign < 0;
    s->version++;
}

void sched_queue_charge(osmo_scheduler_t *s, struct gang *g, int sign) { sched_queue_charge_amount(s, g, &g->total, sign); }

/* ---- running gangs, and how many of them could be made to leave ---- */

static struct softs *softs_get(struct queue *q, int priority) {
    size_t at = 0;
    while (at < q->nsoft && q->soft[at].priority < priority)
        at++;
    if (at < q->nsoft && q->soft[at].priority == priority)
        return &q->soft[at];
    if (q->nsoft == q->cap_soft) {
        size_t cap = q->cap_soft ? 2 * q->cap_soft : 4;
        struct softs *grown = reallocarray(q->soft, cap, sizeof *grown);
        if (!grown)
            return NULL;
        q->soft = grown;
        q->cap_soft = cap;
    }
    struct gang **gangs = calloc(4, sizeof *gangs);
    if (!gangs)
        return NULL;
    memmove(q->soft + at + 1, q->soft + at, (q->nsoft++ - at) * sizeof *q->soft);
    q->soft[at] = (struct softs){ .priority = priority, .gangs = gangs, .cap = 4 };
    return &q->soft[at];
}

static int soft_add(struct queue *q, struct gang *g) {
    struct softs *x = softs_get(q, g->priority);
    if (!x)
        return OSMO_ENOMEM;
    if (x->len == x->cap) {
        struct gang **grown = reallocarray(x->gangs, 2 * x->cap, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        x->gangs = grown;
        x->cap *= 2;
    }
    g->soft_pos = x->len;
    x->gangs[x->len++] = g;
    return 0;
}

static void soft_remove(struct queue *q, const struct gang *g) {
    size_t at = 0;
    while (q->soft[at].priority != g->priority)
        at++;
    struct softs *x = &q->soft[at];
    struct gang *last = x->gangs[--x->len];
    x->gangs[g->soft_pos] = last;
    last->soft_pos = g->soft_pos;
    if (x->len)
        return;
    free(x->gangs);
    memmove(x, x + 1, (--q->nsoft - at) * sizeof *x);
}

int sched_running_add(osmo_scheduler_t *s, struct gang *g) {
    struct queue *q = g->queue;
    if (q->nrunning == q->cap_running) {
        size_t cap = q->cap_running ? 2 * q->cap_running : 16;
        struct gang **grown = reallocarray(q->running, cap, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        q->running = grown;
        q->cap_running = cap;
    }
    if (g->preemptible && soft_add(q, g) < 0)
        return OSMO_ENOMEM;
    s->began_soft |= g->preemptible;
    g->running_pos = q->nrunning;
    q->running[q->nrunning++] = g;
    g->state = GANG_RUNNING;
    g->started = ++s->started;
    return 0;
}

void sched_running_evict(struct gang *g) {
    soft_remove(g->queue, g);
    g->state = GANG_EVICTED;
}

void sched_running_remove(struct gang *g) {
    struct queue *q = g->queue;
    struct gang *last = q->running[--q->nrunning];
    q->running[g->running_pos] = last;
    last->running_pos = g->running_pos;
    if (g->state == GANG_RUNNING && g->preemptible)
        soft_remove(q, g);
}

static bool has_guarantee(const struct queue *q) {
    for (int r = 0; r < R; r++)
        if (q->guarantee.of[r] >= 0)
            return true;
    return false;
}

int osmo_scheduler_set_queue(osmo_scheduler_t *s, const osmo_sched_queue_t *queue, osmo_error_t *err) {
    if (queue->size < sizeof *queue || !queue->name)
        return osmo_error_set(err, OSMO_EINVAL, "a queue needs its size and a name");
    if (!map_has(s->queue_by_name, queue->name) && s->nqueues >= MAX_QUEUES)
        return osmo_error_set(err, OSMO_ELIMIT, "queue %s is one more than %d", queue->name, MAX_QUEUES);
    struct queue *q = sched_queue_get(s, queue->name);
    if (!q)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->nguaranteed -= has_guarantee(q);
    q->guarantee = queue->guarantee;
    q->maximum = queue->maximum;
    q->weight = queue->weight > 0 ? queue->weight : 1;
    s->nguaranteed += has_guarantee(q);
    q->over = false;
    q->given = true;
    s->version++;
    return 0;
}
