/* The scheduler's public door and its run. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "model/schedule_internal.h"

#define LEAVING "waits for the gangs that leave for it"

/* ---- making and freeing ---- */

static int add_levels(osmo_scheduler_t *s, const char *const *levels, osmo_error_t *err) {
    for (; levels && levels[s->nlevels]; s->nlevels++) {
        if (s->nlevels == MAX_LEVELS)
            return osmo_error_set(err, OSMO_EINVAL, "more than %d levels of topology", MAX_LEVELS);
        s->levels[s->nlevels] = str_dup(levels[s->nlevels]);
        s->domain_values[s->nlevels] = map_new(NULL);
        if (!s->levels[s->nlevels] || !s->domain_values[s->nlevels]) {
            s->nlevels++;
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
    }
    return 0;
}

int osmo_scheduler_new(const osmo_scheduler_options_t *options, osmo_scheduler_t **out, osmo_error_t *err) {
    if (options->size < sizeof *options)
        return osmo_error_set(err, OSMO_EINVAL, "the options of a scheduler need their size");
    osmo_scheduler_t *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->strict_order = options->strict_order != 0;
    s->no_preemption = options->no_preemption != 0;
    s->full_runs = options->full_runs != 0;
    s->order_dirty = true;
    s->version = 1;
    map_t **maps[] = { &s->node_by_name, &s->queue_by_name, &s->gang_by_name, &s->shape_by_key, &s->kind_by_key, &s->class_by_key };
    int rc = 0;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (!(*maps[i] = map_new(NULL)))
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = add_levels(s, options->levels, err);
    if (rc < 0) {
        osmo_scheduler_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void osmo_scheduler_free(osmo_scheduler_t *s) {
    size_t it = 0;
    const char *name;
    void *g;
    if (!s)
        return;
    while (s->gang_by_name && map_next(s->gang_by_name, &it, &name, &g))
        sched_gang_free(s, g);
    for (size_t i = 0; i < s->nqueues; i++)
        sched_queue_free(s->queues[i]);
    free(s->queues);
    free(s->busy);
    free(s->turns);
    sched_nodes_free(s);
    free(s->nominated);
    map_t *maps[] = { s->node_by_name, s->queue_by_name, s->gang_by_name, s->shape_by_key, s->kind_by_key, s->class_by_key };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_free(maps[i]);
    free(s);
}

/* ---- gangs come and go ---- */

int osmo_scheduler_submit(osmo_scheduler_t *s, const osmo_sched_gang_t *gang, osmo_error_t *err) {
    struct gang *g;
    int rc = sched_gang_new(s, gang, &g, err);
    if (rc == 0 && sched_queue_enter(s, g) < 0) {
        map_remove(s->gang_by_name, g->name);
        sched_gang_free(s, g);
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return rc;
}

int osmo_scheduler_adopt(osmo_scheduler_t *s, const osmo_sched_gang_t *gang, const char *const *nodes, osmo_error_t *err) {
    struct gang *g;
    int rc = sched_gang_new(s, gang, &g, err);
    if (rc < 0)
        return rc;
    if (sched_running_add(s, g) < 0) {
        map_remove(s->gang_by_name, g->name);
        sched_gang_free(s, g);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < g->npods; i++)
        g->pods[i].node = nodes[i] ? map_get(s->node_by_name, nodes[i]) : NULL;
    sched_take(s, g, 1);
    sched_soft(s, g, 1);
    sched_commit(s, g);
    sched_queue_charge(s, g, 1);
    return 0;
}

/* A claim that ends: what was promised is free for others, and victims still on their way out leave for nobody. */
static void withdraw(osmo_scheduler_t *s, struct gang *g) {
    for (size_t i = 0; i < s->nnominated; i++)
        if (s->nominated[i] == g) {
            s->nominated[i] = s->nominated[--s->nnominated];
            break;
        }
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node)
            amount_add(&g->pods[i].node->reserved, &g->pods[i].shape->request, -1);
    sched_commit(s, g);
    for (size_t q = 0; g->victims_left && q < s->nqueues; q++)
        for (size_t i = 0; i < s->queues[q]->nrunning; i++)
            if (s->queues[q]->running[i]->evicted_for == g) {
                s->queues[q]->running[i]->evicted_for = NULL;
                g->victims_left--;
            }
}

static void leave_nodes(osmo_scheduler_t *s, struct gang *g) {
    bool evicted = g->state == GANG_EVICTED;
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node) {
            amount_add(&g->pods[i].node->used, &g->pods[i].shape->request, -1);
            if (evicted)
                amount_add(&g->pods[i].node->releasing, &g->pods[i].shape->request, -1);
        }
    sched_commit(s, g);
    if (g->evicted_for)
        g->evicted_for->victims_left--;
}

int osmo_scheduler_remove(osmo_scheduler_t *s, const char *gang) {
    struct gang *g = map_take(s->gang_by_name, gang);
    if (!g)
        return OSMO_ENOTFOUND;
    if (g->state == GANG_WAITING) {
        sched_queue_leave(s, g);
    } else {
        if (g->state != GANG_EVICTED)
            sched_queue_charge(s, g, -1);
        if (g->state == GANG_NOMINATED) {
            withdraw(s, g);
        } else {
            if (g->state == GANG_RUNNING)
                sched_soft(s, g, -1);
            leave_nodes(s, g);
            sched_running_remove(g);
        }
    }
    sched_gang_free(s, g);
    return 0;
}

int osmo_scheduler_end_pod(osmo_scheduler_t *s, const char *gang, size_t index) {
    struct gang *g = map_get(s->gang_by_name, gang);
    if (!g || index >= g->npods || (g->state != GANG_RUNNING && g->state != GANG_EVICTED))
        return OSMO_ENOTFOUND;
    struct pod *p = &g->pods[index];
    struct node *n = p->node;
    if (p->ended)
        return 0;
    p->ended = true;
    p->node = NULL;
    if (n) {
        amount_add(&n->used, &p->shape->request, -1);
        if (g->state == GANG_EVICTED)
            amount_add(&n->releasing, &p->shape->request, -1);
        else if (g->preemptible)
            amount_add(&n->soft, &p->shape->request, -1);
        sched_node_commit(s, n);
    }
    if (g->state == GANG_RUNNING)
        sched_queue_charge_amount(s, g, &p->shape->request, -1);
    amount_add(&g->total, &p->shape->request, -1);
    s->version++;
    return 0;
}

const char *osmo_scheduler_get_reason(osmo_scheduler_t *s, const char *gang) {
    struct gang *g = map_get(s->gang_by_name, gang);
    if (!g)
        return NULL;
    if (g->state == GANG_NOMINATED)
        return LEAVING;
    if (g->state != GANG_WAITING || sched_nodes_order(s) < 0)
        return "";
    int cause = sched_cause_quota(g);
    return sched_reason_text(s, g, cause ? cause : sched_cause_fit(s, g), s->reason) ? s->reason : "";
}

/* ---- a run ---- */

struct run {
    osmo_scheduler_t *s;
    const osmo_sched_sink_t *sink;
    size_t max_pods;
    int64_t placed;
    size_t searches;
    bool again; /* gangs were made to leave: everybody's turn begins anew */
    const char **nodes;
    size_t cap_nodes;
};

static bool run_reserve(struct run *run, size_t npods) {
    if (npods <= run->cap_nodes)
        return true;
    const char **grown = reallocarray(run->nodes, npods, sizeof *grown);
    if (!grown) {
        run->s->out_of_memory = true;
        return false;
    }
    run->nodes = grown;
    run->cap_nodes = npods;
    return true;
}

static void waits(struct run *run, struct gang *g, const char *reason) {
    if (run->sink->wait)
        run->sink->wait(run->sink->ctx, g->name, reason);
}

static void tell(struct run *run, struct gang *g) {
    const struct class *c = g->lane->class;
    if (g->told == c->reason_number)
        return;
    g->told = c->reason_number;
    waits(run, g, c->reason);
}

/* Whether the room that is missing would do if it lay together changes too often to be news. */
static bool is_other(int was, int is) {
    bool room = is == CAUSE_FIT && was >= CAUSE_TOTAL && was < CAUSE_NO_NODES;
    return was != is && !room && !(was == CAUSE_FIT && is >= CAUSE_TOTAL && is < CAUSE_NO_NODES);
}

/* The class of g waits for this cause; who waits in it hears of it when it is another than before. */
static void class_waits(struct run *run, struct gang *g, int cause) {
    osmo_scheduler_t *s = run->s;
    struct class *c = g->lane->class;
    char reason[REASON_MAX];
    char *copy = NULL;
    if (is_other(c->cause, cause) && sched_reason_text(s, g, cause, reason)) {
        if (!(copy = str_dup(reason))) {
            s->out_of_memory = true;
            sched_class_open(c);
            return;
        }
        free(c->reason);
        c->reason = copy;
        c->cause = cause;
        c->reason_number = ++s->reason_number;
    }
    tell(run, g);
    for (size_t l = 0; copy && l < c->nlanes; l++)
        for (size_t i = c->lanes[l]->first; i < c->lanes[l]->len; i++)
            if (c->lanes[l]->items[i])
                tell(run, c->lanes[l]->items[i]);
}

/* Who came since the last run and joined a class that was not looked at. */
static void tell_fresh(struct run *run) {
    osmo_scheduler_t *s = run->s;
    while (s->fresh) {
        struct gang *g = s->fresh;
        sched_fresh_remove(s, g);
        if (g->lane->class->reason)
            tell(run, g);
    }
}

static void placed(struct run *run, struct gang *g) {
    for (size_t i = 0; i < g->npods; i++)
        run->nodes[i] = g->pods[i].node->name;
    run->placed += (int64_t)g->npods;
    if (run->sink->place)
        run->sink->place(run->sink->ctx, g->name, run->nodes, g->npods);
}

enum claim { CLAIM_GOOD, CLAIM_EARLY, CLAIM_LOST };

/* Its victims are gone, but room it counted on may have been lent until others have left, and nodes can go or shrink. */
static enum claim try_claim(osmo_scheduler_t *s, struct gang *g) {
    enum claim claim = CLAIM_GOOD;
    for (size_t i = 0; i < g->npods; i++)
        if (!g->pods[i].node)
            return CLAIM_LOST;
    sched_take(s, g, 1);
    for (size_t i = 0; i < g->npods; i++) {
        const struct node *n = g->pods[i].node;
        for (int r = 0; r < R; r++) {
            if (n->used.of[r] <= n->capacity.of[r])
                continue;
            if (n->used.of[r] - n->releasing.of[r] > n->capacity.of[r])
                claim = CLAIM_LOST;
            else if (claim == CLAIM_GOOD)
                claim = CLAIM_EARLY;
        }
    }
    if (claim != CLAIM_GOOD)
        sched_take(s, g, -1);
    return claim;
}

static void wait_again(osmo_scheduler_t *s, struct gang *g) {
    for (size_t p = 0; p < g->npods; p++)
        g->pods[p].node = NULL;
    sched_queue_charge(s, g, -1);
    s->out_of_memory |= sched_queue_enter(s, g) < 0;
}

static void settle(struct run *run) {
    osmo_scheduler_t *s = run->s;
    for (size_t i = s->nnominated; i-- > 0;) {
        struct gang *g = s->nominated[i];
        if (g->victims_left || !run_reserve(run, g->npods))
            continue;
        enum claim claim = try_claim(s, g);
        if (claim == CLAIM_EARLY)
            continue;
        withdraw(s, g);
        if (claim == CLAIM_LOST) {
            wait_again(s, g);
        } else if (sched_running_add(s, g) < 0) {
            s->out_of_memory = true;
            sched_take(s, g, -1);
            sched_commit(s, g);
            wait_again(s, g);
        } else {
            sched_soft(s, g, 1);
            sched_commit(s, g);
            placed(run, g);
        }
    }
}

/* It has to wait, unless running gangs can be made to leave. */
static bool make_room(struct run *run, struct gang *g) {
    osmo_scheduler_t *s = run->s;
    struct class *c = g->lane->class;
    struct gang **victims;
    size_t n;
    if (s->no_preemption || (!sched_has_victims(g->queue, g->priority) && !sched_may_reclaim(s, g)))
        return false;
    if (sched_is_hopeless(s, g) || run->searches >= MAX_PREEMPTORS || (c->searched_version == s->version && !s->full_runs))
        return false;
    run->searches++;
    if (!sched_make_room(s, g, &victims, &n)) {
        if (!s->out_of_memory)
            c->searched_version = s->version;
        return false;
    }
    sched_queue_leave(s, g);
    sched_queue_charge(s, g, 1);
    for (size_t i = 0; i < n; i++)
        if (run->sink->evict)
            run->sink->evict(run->sink->ctx, victims[i]->name, g->name,
                             victims[i]->queue == g->queue ? "a gang of higher priority needs its place"
                                                           : "the queue of another gang takes back what is guaranteed to it");
    free(victims);
    waits(run, g, LEAVING);
    run->again = true;
    return true;
}

static void starts(struct run *run, struct gang *g) {
    osmo_scheduler_t *s = run->s;
    if (sched_running_add(s, g) < 0) {
        sched_unplace(s, g);
        s->out_of_memory = true;
        return;
    }
    sched_soft(s, g, 1);
    sched_commit(s, g);
    sched_queue_leave(s, g);
    sched_queue_charge(s, g, 1);
    placed(run, g);
}

/* In each pass a class is tried until one of its gangs fails. */
static void try_gang(struct run *run, struct gang *g) {
    osmo_scheduler_t *s = run->s;
    struct class *c = g->lane->class;
    int cause = sched_cause_quota(g);
    if (cause) {
        c->pass = s->pass;
        sched_class_shut(c, CLASS_QUOTA);
        class_waits(run, g, cause);
        return;
    }
    if (!run_reserve(run, g->npods))
        return;
    if (!sched_kind_known(s, g->kind)) {
        if (sched_place(s, g)) {
            starts(run, g);
            return;
        }
        if (s->out_of_memory)
            return; /* it may be wrong that there is no room */
        sched_kind_failed(s, g);
    }
    if (make_room(run, g) || s->out_of_memory)
        return;
    c->pass = s->pass;
    if (g->kind->shut_by)
        sched_class_shut(c, CLASS_FIT);
    else
        sched_class_open(c);
    cause = sched_cause_fit(s, g);
    g->queue->blocked = s->strict_order && (cause < CAUSE_TOO_LARGE || cause >= CAUSE_TOTAL);
    class_waits(run, g, cause);
}

static bool is_full(const struct run *run) { return run->max_pods && run->placed >= (int64_t)run->max_pods; }

/* A pass ends when gangs were made to leave, and with the last gang that it had to look at. */
static int run_passes(struct run *run) {
    osmo_scheduler_t *s = run->s;
    do {
        struct gang *g;
        run->again = false;
        if (sched_pass_begin(s) < 0)
            return OSMO_ENOMEM;
        while (!run->again && !is_full(run) && !s->out_of_memory && (g = sched_pass_next(s)))
            try_gang(run, g);
    } while (run->again && !is_full(run) && !s->out_of_memory);
    return s->out_of_memory ? OSMO_ENOMEM : 0;
}

int64_t osmo_scheduler_run(osmo_scheduler_t *s, size_t max_pods, const osmo_sched_sink_t *sink, osmo_error_t *err) {
    struct run run = { .s = s, .sink = sink, .max_pods = max_pods };
    s->out_of_memory = false;
    s->version += s->began_soft; /* what began in the last run may leave now */
    s->began_soft = false;
    s->run_mark = s->started;
    s->in_run = true;
    int rc = sched_nodes_order(s);
    if (rc == 0) {
        settle(&run);
        rc = run_passes(&run);
        tell_fresh(&run);
    }
    sched_lanes_sweep(s);
    s->in_run = false;
    free(run.nodes);
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : run.placed;
}
