/* Why a gang waits, in words for people. Causes are cheap to find and tell one kind of reason from another; the text with its amounts is
 * made where somebody hears it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/schedule_internal.h"

const char *const sched_resource_names[R] = { "cpu", "memory", "storage", "gpu", "pods" };

static const char *amount_text(int r, int64_t amount, char out[32]) {
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti" };
    if (r == OSMO_SCHED_CPU) {
        snprintf(out, 32, "%g", (double)amount / 1000);
    } else if (r == OSMO_SCHED_MEMORY || r == OSMO_SCHED_STORAGE) {
        double n = (double)amount;
        size_t unit = 0;
        while (n >= 1024 && unit + 1 < sizeof units / sizeof *units)
            n /= 1024, unit++;
        snprintf(out, 32, "%.4g%s", n, units[unit]);
    } else {
        snprintf(out, 32, "%" PRId64, amount);
    }
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

/* ---- causes ---- */

int sched_cause_quota(const struct gang *g) {
    const struct queue *q = g->queue;
    for (int r = 0; r < R; r++) {
        if (q->maximum.of[r] >= 0 && g->total.of[r] && q->used.of[r] + g->total.of[r] > q->maximum.of[r])
            return CAUSE_MAXIMUM + r;
        if (!g->preemptible && q->guarantee.of[r] >= 0 && g->total.of[r] && q->firm.of[r] + g->total.of[r] > q->guarantee.of[r])
            return CAUSE_GUARANTEE + r;
    }
    return 0;
}

int sched_cause_fit(const osmo_scheduler_t *s, const struct gang *g) {
    if (!s->nnodes)
        return CAUSE_NO_NODES;
    for (int r = 0; r < R; r++)
        if (g->total.of[r] > s->capacity.of[r])
            return CAUSE_TOO_LARGE + r;
    for (int r = 0; r < R; r++)
        if (g->total.of[r] > s->tree.nodes[1].sum.of[r])
            return CAUSE_TOTAL + r;
    return CAUSE_FIT;
}

/* ---- words ---- */

static void say_fit(osmo_scheduler_t *s, const struct gang *g, char out[REASON_MAX]) {
    struct survey v;
    struct shape *shape = s->failed ? (struct shape *)s->failed : g->pods[0].shape;
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

static void say_limit(const struct gang *g, int cause, char out[REASON_MAX]) {
    const struct queue *q = g->queue;
    bool maximum = cause < CAUSE_GUARANTEE;
    int r = cause - (maximum ? CAUSE_MAXIMUM : CAUSE_GUARANTEE);
    char need[32], used[32], limit[32];
    amount_text(r, (maximum ? q->maximum : q->guarantee).of[r], limit);
    amount_text(r, (maximum ? q->used : q->firm).of[r], used);
    say(out, "queue %s %s %s %s, of which %s are used and %s asked%s", q->name, maximum ? "has a maximum of" : "is guaranteed", limit,
        sched_resource_names[r], used, amount_text(r, g->total.of[r], need), maximum ? "" : "; a lower priority may borrow");
}

bool sched_reason_text(osmo_scheduler_t *s, struct gang *g, int cause, char out[REASON_MAX]) {
    char asked[32], most[32];
    out[0] = '\0';
    if (cause < CAUSE_TOO_LARGE) {
        say_limit(g, cause, out);
    } else if (cause == CAUSE_NO_NODES) {
        say(out, "the cluster has no nodes");
    } else if (cause < CAUSE_TOTAL) {
        int r = cause - CAUSE_TOO_LARGE;
        say(out, "needs %s %s in all, the cluster has %s", amount_text(r, g->total.of[r], asked), sched_resource_names[r],
            amount_text(r, s->capacity.of[r], most));
    } else if (cause < CAUSE_NO_NODES) {
        int r = cause - CAUSE_TOTAL;
        say(out, "needs %s %s in all, %s are free in the cluster", amount_text(r, g->total.of[r], asked), sched_resource_names[r],
            amount_text(r, s->tree.nodes[1].sum.of[r], most));
    } else if (sched_place(s, g)) { /* the attempt tells which pod finds no place */
        sched_unplace(s, g);
        return false;
    } else {
        say_fit(s, g, out);
    }
    return true;
}
