/* Placing one gang: every pod of it or none, inside the domains that its scopes ask for. */
#include "model/schedule_internal.h"

struct range { size_t from, to; };

void sched_take(osmo_scheduler_t *s, struct gang *g, int sign) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node) {
            amount_add(&g->pods[i].node->used, &g->pods[i].shape->request, sign);
            sched_node_changed(s, g->pods[i].node);
        }
}

void sched_unplace(osmo_scheduler_t *s, struct gang *g) {
    sched_take(s, g, -1);
    for (size_t i = 0; i < g->npods; i++)
        g->pods[i].node = NULL;
}

void sched_commit(osmo_scheduler_t *s, const struct gang *g) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node)
            sched_node_commit(s, g->pods[i].node);
}

void sched_soft(osmo_scheduler_t *s, const struct gang *g, int sign) {
    for (size_t i = 0; g->preemptible && i < g->npods; i++)
        if (g->pods[i].node) {
            amount_add(&g->pods[i].node->soft, &g->pods[i].shape->request, sign);
            sched_node_changed(s, g->pods[i].node);
        }
}

/* ---- one attempt ---- */

static void unplace(osmo_scheduler_t *s, struct pod *p) {
    amount_add(&p->node->used, &p->shape->request, -1);
    sched_node_changed(s, p->node);
    p->node = NULL;
}

static bool place_pod(osmo_scheduler_t *s, struct pod *p, const struct range *in) {
    struct node *n = sched_find(s, p->shape, in->from, in->to);
    if (!n)
        return false;
    p->node = n;
    amount_add(&n->used, &p->shape->request, 1);
    sched_node_changed(s, n);
    return true;
}

static void scope_undo(osmo_scheduler_t *s, struct gang *g, int scope);

static bool is_below(const struct gang *g, int scope, int top) {
    while (scope > top)
        scope = g->scopes[scope].parent;
    return scope == top;
}

static void scope_undo(osmo_scheduler_t *s, struct gang *g, int scope) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node && is_below(g, g->pods[i].scope, scope))
            unplace(s, &g->pods[i]);
}

static bool place_scope(osmo_scheduler_t *s, struct gang *g, int scope, const struct range *in, int depth);

/* The scope's own pods, then the scopes below it, which have constraints of their own. */
static bool place_inside(osmo_scheduler_t *s, struct gang *g, int scope, const struct range *in, int depth) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].scope == scope && !place_pod(s, &g->pods[i], in)) {
            s->failed = g->pods[i].shape;
            s->failed_placed = i;
            scope_undo(s, g, scope);
            return false;
        }
    for (size_t child = (size_t)scope + 1; child < g->nscopes; child++)
        if (g->scopes[child].parent == scope && !place_scope(s, g, (int)child, in, depth + 1)) {
            scope_undo(s, g, scope);
            return false;
        }
    return true;
}

/* In one domain of the scope's level after the other; nodes that are in no domain of that level are left out. */
static bool place_in_domain(osmo_scheduler_t *s, struct gang *g, int scope, const struct range *in, int depth) {
    const struct scope *x = &g->scopes[scope];
    const size_t *starts = s->starts[x->level];
    for (size_t d = 0; d < s->nstarts[x->level]; d++) {
        struct range domain = { starts[d] > in->from ? starts[d] : in->from, starts[d + 1] < in->to ? starts[d + 1] : in->to };
        if (domain.from >= domain.to || !s->order[domain.from]->domain[x->level])
            continue;
        amount_t room = sched_sum(s, domain.from, domain.to);
        if (!amount_fits(&x->total, &room))
            continue;
        if (++s->tries > MAX_TRIES)
            return false;
        if (place_inside(s, g, scope, &domain, depth))
            return true;
    }
    return false;
}

static bool place_scope(osmo_scheduler_t *s, struct gang *g, int scope, const struct range *in, int depth) {
    const struct scope *x = &g->scopes[scope];
    if (depth > MAX_LEVELS + 2)
        return false;
    if (x->level >= 0 && place_in_domain(s, g, scope, in, depth))
        return true;
    return (x->level < 0 || x->preferred) && place_inside(s, g, scope, in, depth);
}

bool sched_place(osmo_scheduler_t *s, struct gang *g) {
    struct range all = { 0, s->nnodes };
    s->tries = 0;
    s->failed = NULL;
    s->failed_placed = 0;
    amount_t room = s->nnodes ? s->tree.nodes[1].sum : (amount_t){ { 0 } };
    if (!amount_fits(&g->total, &room))
        return false;
    return place_scope(s, g, 0, &all, 0);
}
