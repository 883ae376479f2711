/*
 * What the scheduler remembers of failures, so that a run looks only at what can have changed.
 *
 * A class of gangs fails for its queue's quota until the queue has less or may have more. It fails for room until a node gets room for
 * one more of the pods that fit nowhere: within a pass room is only taken, and pods of one shape fit wherever they are put first. What
 * is not certain to fail stays open and is tried in every pass; so the decisions are those of a run that tries everything.
 */
#include "model/schedule_internal.h"

#define NODES_ONE_BY_ONE 64 /* past that the tree tells sooner whether some node has room */

static void swap(struct band *b, size_t x, size_t y) {
    struct class *c = b->classes[x];
    b->classes[x] = b->classes[y];
    b->classes[y] = c;
    b->classes[x]->band_pos = x;
    b->classes[y]->band_pos = y;
}

void sched_class_open(struct class *c) {
    if (c->state == CLASS_OPEN)
        return;
    c->state = CLASS_OPEN;
    swap(c->band, c->band_pos, c->band->nopen++);
}

void sched_class_shut(struct class *c, enum class_state state) {
    if (c->state == CLASS_OPEN)
        swap(c->band, c->band_pos, --c->band->nopen);
    c->state = state;
}

/* ---- kinds and the shapes they wait for ---- */

static void shut_by(osmo_scheduler_t *s, struct kind *k, struct shape *x) {
    if (k->shut_by)
        return;
    if (!x->shut) {
        x->prev = NULL;
        x->next = s->shut_shapes;
        if (x->next)
            x->next->prev = x;
        s->shut_shapes = x;
    }
    k->shut_by = x;
    k->prev = NULL;
    k->next = x->shut;
    if (k->next)
        k->next->prev = k;
    x->shut = k;
}

void sched_kind_open(osmo_scheduler_t *s, struct kind *k) {
    struct shape *x = k->shut_by;
    if (!x)
        return;
    if (k->prev)
        k->prev->next = k->next;
    else
        x->shut = k->next;
    if (k->next)
        k->next->prev = k->prev;
    k->shut_by = NULL;
    for (struct class *c = k->classes; c; c = c->kind_next)
        if (c->state == CLASS_FIT)
            sched_class_open(c);
    if (x->shut)
        return;
    if (x->prev)
        x->prev->next = x->next;
    else
        s->shut_shapes = x->next;
    if (x->next)
        x->next->prev = x->prev;
}

void sched_kind_failed(osmo_scheduler_t *s, struct gang *g) {
    struct kind *k = g->kind;
    k->failed_version = s->version;
    if (s->tries > MAX_TRIES)
        return;
    if (k->simple) {
        shut_by(s, k, g->pods[0].shape);
        return;
    }
    for (size_t i = 0, runs = 0; i < g->npods && runs < RUNS_EXAMINED; i++) {
        if (i && g->pods[i].shape == g->pods[i - 1].shape)
            continue;
        runs++;
        if (!sched_find(s, g->pods[i].shape, 0, s->nnodes) && !s->out_of_memory) {
            shut_by(s, k, g->pods[i].shape);
            return;
        }
    }
}

bool sched_kind_known(const osmo_scheduler_t *s, const struct kind *k) {
    return !s->full_runs && (k->shut_by || k->failed_version == s->version);
}

/* ---- what was given back ---- */

static bool has_room(osmo_scheduler_t *s, struct shape *x) {
    if (s->ndirty > NODES_ONE_BY_ONE)
        return sched_find(s, x, 0, s->nnodes) != NULL;
    for (size_t i = 0; i < s->ndirty; i++)
        if (amount_fits(&x->request, &s->dirty[i]->seen) && sched_node_matches(s, x, s->dirty[i]))
            return true;
    return false;
}

static void reopen_queue(const struct queue *q) {
    for (size_t b = 0; b < q->nbands; b++) {
        const struct band *band = q->bands[b];
        for (size_t i = band->nclasses; i-- > band->nopen;) {
            struct class *c = band->classes[i];
            struct gang *g = c->state == CLASS_QUOTA ? sched_class_head(c) : NULL;
            if (g && !sched_cause_quota(g))
                sched_class_open(c), i++; /* another one has come to this place */
        }
    }
}

static bool domain_has_room(const osmo_scheduler_t *s, const struct node *n, const struct kind *k) {
    const size_t *starts = s->starts[k->level];
    size_t low = 0, high = s->nstarts[k->level]; /* starts[low] <= pos < starts[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (starts[middle] <= n->pos)
            low = middle;
        else
            high = middle;
    }
    amount_t room = sched_sum(s, starts[low], starts[low + 1]);
    return amount_fits(&k->total, &room);
}

/* Of a simple kind not even all room together may do, where a node has got more of it. What comes together later in nodes that cannot
 * take one pod of it changes nothing for it. */
static bool may_fit(const osmo_scheduler_t *s, const struct kind *k) {
    if (!k->simple)
        return true;
    if (!amount_fits(&k->total, &s->tree.nodes[1].sum))
        return false;
    if (k->level < 0 || s->ndirty > NODES_ONE_BY_ONE)
        return true;
    for (size_t i = 0; i < s->ndirty; i++)
        if (amount_fits(&k->shut_by->request, &s->dirty[i]->seen) && domain_has_room(s, s->dirty[i], k))
            return true;
    return false;
}

void sched_reopen(osmo_scheduler_t *s) {
    for (struct shape *x = s->shut_shapes, *next; s->ndirty && x; x = next) {
        next = x->next;
        if (!has_room(s, x) && !s->out_of_memory)
            continue;
        for (struct kind *k = x->shut, *after; k; k = after) {
            after = k->next;
            if (may_fit(s, k))
                sched_kind_open(s, k);
        }
    }
    for (size_t i = 0; i < s->ndirty; i++)
        s->dirty[i]->dirty = false;
    s->ndirty = 0;
    for (size_t i = 0; i < s->nbusy; i++)
        if (s->busy[i]->given) {
            s->busy[i]->given = false;
            reopen_queue(s->busy[i]);
        }
}
