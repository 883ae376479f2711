/* Placing one gang: every pod of it or none, inside the domains that its scopes ask for. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/schedule_internal.h"

struct range { size_t from, to; };

void sched_take(osmo_scheduler_t *s, struct gang *g, int sign) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node) {
            amount_add(&g->pods[i].node->used, &g->pods[i].shape->request, sign);
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

/* ---- why not ---- */

const char *const sched_resource_names[R] = { "cpu", "memory", "storage", "gpu", "pods" };

static const char *amount_text(int r, int64_t amount, char out[32]) {
    if (r == OSMO_SCHED_CPU)
        snprintf(out, 32, "%g", (double)amount / 1000);
    else if (r == OSMO_SCHED_MEMORY || r == OSMO_SCHED_STORAGE)
        snprintf(out, 32, "%.4gGi", (double)amount / (1024.0 * 1024 * 1024));
    else
        snprintf(out, 32, "%" PRId64, amount);
    return out;
}

struct survey { size_t nodes, cordoned, taint, selector, lack[R]; int64_t most[R]; };

/* Each node counts once for each thing that it lacks. */
static void survey(osmo_scheduler_t *s, struct shape *shape, struct survey *out) {
    *out = (struct survey){ .nodes = s->nnodes };
    for (size_t i = 0; i < s->nnodes; i++) {
        const struct node *n = s->order[i];
        if (n->cordoned) {
            out->cordoned++;
        } else if (!sched_tolerated(&n->taints, &shape->tolerations)) {
            out->taint++;
        } else if (!sched_node_matches(s, shape, n)) {
            out->selector++;
        } else {
            amount_t idle = sched_node_idle(n);
            for (int r = 0; r < R; r++) {
                out->lack[r] += shape->request.of[r] > idle.of[r];
                if (idle.of[r] > out->most[r])
                    out->most[r] = idle.of[r];
            }
        }
    }
}

static void say(char out[REASON_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char out[REASON_MAX], const char *format, ...) {
    va_list args;
    size_t n = strlen(out);
    va_start(args, format);
    vsnprintf(out + n, REASON_MAX - n, format, args);
    va_end(args);
}

static void say_survey(const struct survey *v, const struct shape *shape, char out[REASON_MAX]) {
    char asked[32], most[32];
    const char *comma = ": ";
    if (v->cordoned)
        say(out, "%s%zu cordoned", comma, v->cordoned), comma = ", ";
    if (v->taint)
        say(out, "%s%zu with a taint that is not tolerated", comma, v->taint), comma = ", ";
    if (v->selector)
        say(out, "%s%zu without the labels asked for", comma, v->selector), comma = ", ";
    for (int r = 0; r < R; r++)
        if (v->lack[r]) {
            say(out, "%s%zu with too little %s (%s asked, at most %s free on one)", comma, v->lack[r], sched_resource_names[r],
                amount_text(r, shape->request.of[r], asked), amount_text(r, v->most[r], most));
            comma = ", ";
        }
}

void sched_reason_fit(osmo_scheduler_t *s, const struct gang *g, char out[REASON_MAX]) {
    struct survey v;
    struct shape *shape = s->failed ? (struct shape *)s->failed : g->pods[0].shape;
    char asked[32], most[32];
    out[0] = '\0';
    if (!s->nnodes) {
        say(out, "the cluster has no nodes");
        return;
    }
    const amount_t *room = &s->tree.nodes[1].sum;
    for (int r = 0; r < R; r++)
        if (g->total.of[r] > room->of[r]) {
            say(out, "needs %s %s in all, %s are free in the cluster", amount_text(r, g->total.of[r], asked), sched_resource_names[r],
                amount_text(r, room->of[r], most));
            return;
        }
    survey(s, shape, &v);
    if (g->npods > 1)
        say(out, "room for %zu of its %zu pods; for the next none", s->failed_placed, g->npods);
    else
        say(out, "none");
    say(out, " of %zu nodes fits", v.nodes);
    bool constrained = false;
    for (size_t i = 0; i < g->nscopes; i++)
        constrained |= g->scopes[i].level >= 0 && !g->scopes[i].preferred;
    if (constrained)
        say(out, " inside one %s", s->levels[g->scopes[0].level >= 0 ? g->scopes[0].level : g->scopes[g->nscopes - 1].level]);
    say_survey(&v, shape, out);
}

bool sched_quota_allows(const struct gang *g, char out[REASON_MAX]) {
    const struct queue *q = g->queue;
    char need[32], used[32], limit[32];
    for (int r = 0; r < R; r++) {
        if (q->maximum.of[r] >= 0 && g->total.of[r] && q->used.of[r] + g->total.of[r] > q->maximum.of[r]) {
            snprintf(out, REASON_MAX, "queue %s has a maximum of %s %s, of which %s are used and %s asked", q->name,
                     amount_text(r, q->maximum.of[r], limit), sched_resource_names[r], amount_text(r, q->used.of[r], used),
                     amount_text(r, g->total.of[r], need));
            return false;
        }
        if (!g->preemptible && q->guarantee.of[r] >= 0 && g->total.of[r] && q->firm.of[r] + g->total.of[r] > q->guarantee.of[r]) {
            snprintf(out, REASON_MAX, "queue %s is guaranteed %s %s, of which %s are used and %s asked; a lower priority may borrow",
                     q->name, amount_text(r, q->guarantee.of[r], limit), sched_resource_names[r], amount_text(r, q->firm.of[r], used),
                     amount_text(r, g->total.of[r], need));
            return false;
        }
    }
    return true;
}
