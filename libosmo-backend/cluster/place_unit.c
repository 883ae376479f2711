/* Groups as the scheduler knows them: what of a PodGroup was placed together, or waits to be, is one gang there. Called by place.c. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/place_int.h"

void place_say_wait(const place_t *p, const struct unit *u, const char *reason) {
    for (size_t i = 0; i < u->npods; i++)
        if (u->pods[i])
            p->sink->wait(p->sink->ctx, u->pods[i]->name, reason);
}

void place_unit_free(place_t *p, struct unit *u) {
    struct unit **at = &u->group->units;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    if (u->group->waiting == u)
        u->group->waiting = NULL;
    for (size_t i = 0; i < u->npods; i++)
        if (u->pods[i])
            u->pods[i]->unit = NULL;
    osmo_scheduler_remove(p->scheduler, u->name);
    map_remove(p->units, u->name);
    free(u->pods);
    free(u->name);
    free(u);
}

void place_unit_end_pod(place_t *p, struct waiter *w) {
    struct unit *u = w->unit;
    if (!u)
        return;
    u->pods[w->index] = NULL;
    w->unit = NULL;
    if (u->state == UNIT_WAITING) { /* the others wait without it */
        place_group_mark(p, u->group);
        place_unit_free(p, u);
        return;
    }
    osmo_scheduler_end_pod(p->scheduler, u->name, w->index);
    if (--u->live == 0)
        place_unit_free(p, u);
}

/* ---- making one ---- */

static int by_arrival(const void *a, const void *b) {
    const struct waiter *x = *(struct waiter *const *)a, *y = *(struct waiter *const *)b;
    if (x->arrival != y->arrival)
        return x->arrival < y->arrival ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Pods of no unit that ran already, or those that wait, in order of arrival. */
static size_t collect(const struct group *g, bool ran, struct waiter **out) {
    size_t n = 0;
    for (size_t i = 0; i < g->npods; i++)
        if (!g->pods[i]->unit && !g->pods[i]->ended && !g->pods[i]->node == !ran)
            out[n++] = g->pods[i];
    if (n)
        qsort(out, n, sizeof *out, by_arrival);
    return n;
}

static struct unit *unit_new(place_t *p, struct group *g, struct waiter **pods, size_t n) {
    struct unit *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->name = str_printf("%s#%llu", g->name, (unsigned long long)++p->serial);
    u->pods = calloc(n, sizeof *u->pods);
    if (!u->name || !u->pods || map_set(p->units, u->name, u) < 0) {
        free(u->name), free(u->pods), free(u);
        return NULL;
    }
    u->group = g;
    u->npods = u->live = n;
    for (size_t i = 0; i < n; i++) {
        u->pods[i] = pods[i];
        pods[i]->unit = u;
        pods[i]->index = i;
    }
    u->next = g->units;
    return g->units = u;
}

/* A unit in the words of the scheduler; pairs are borrowed from the pods. */
struct ask {
    osmo_sched_gang_t gang;
    osmo_sched_pod_t *pods;
    osmo_sched_scope_t *scopes;
    osmo_sched_pair_t *pairs;
    size_t npairs;
    const char **nodes;
};

static void ask_free(struct ask *a) { free(a->pods), free(a->scopes), free(a->pairs), free(a->nodes); }

static size_t at_most(size_t n) { return n < PLACE_MAX_PAIRS ? n : PLACE_MAX_PAIRS; }

static size_t pairs_of(const struct waiter *w) {
    return at_most(json_len(json_get(w->needs, "nodeSelector"))) + at_most(json_len(json_get(w->needs, "tolerations")));
}

static void ask_pod(const struct unit *u, size_t i, struct ask *a) {
    const struct waiter *w = u->pods[i];
    const json_t *selector = json_get(w->needs, "nodeSelector"), *tolerations = json_get(w->needs, "tolerations");
    int scope = place_scope_of(u->group->spec, w->subgroup);
    osmo_sched_pod_t *pod = &a->pods[i];
    *pod = (osmo_sched_pod_t){ .request = w->request, .scope = scope < (int)a->gang.nscopes ? scope : -1 };
    a->nodes[i] = w->node;
    pod->selector = a->pairs + a->npairs;
    pod->nselector = place_read_labels(selector, a->pairs + a->npairs, at_most(json_len(selector)));
    a->npairs += pod->nselector;
    pod->tolerations = a->pairs + a->npairs;
    pod->ntolerations = place_read_tolerations(tolerations, a->pairs + a->npairs, at_most(json_len(tolerations)));
    a->npairs += pod->ntolerations;
}

static int ask_build(const place_t *p, const struct unit *u, struct ask *a) {
    const struct group *g = u->group;
    size_t subs = json_len(json_get(g->spec, "subGroups")), pairs = 1;
    for (size_t i = 0; i < u->npods; i++)
        pairs += pairs_of(u->pods[i]);
    *a = (struct ask){ .pods = calloc(u->npods, sizeof *a->pods), .nodes = calloc(u->npods, sizeof *a->nodes),
                       .scopes = calloc(subs + 1, sizeof *a->scopes), .pairs = calloc(pairs, sizeof *a->pairs) };
    if (!a->pods || !a->nodes || !a->scopes || !a->pairs)
        return OSMO_ENOMEM;
    a->gang = (osmo_sched_gang_t){ .size = sizeof a->gang, .name = u->name, .queue = g->queue, .user = g->user, .priority = g->priority,
                                   .preemptible = g->preemptible, .arrival = u->pods[0]->arrival, .scopes = a->scopes, .pods = a->pods,
                                   .npods = u->npods };
    a->gang.level = place_read_level(p, json_get(g->spec, "topologyConstraint"), &a->gang.preferred);
    a->gang.nscopes = place_read_scopes(p, g->spec, a->scopes, subs);
    for (size_t i = 0; i < u->npods; i++)
        ask_pod(u, i, a);
    return 0;
}

/* What leaves anyway is the first that others are given the place of. */
static bool ask_leaving(const struct unit *u, struct ask *a) {
    bool leaving = false;
    for (size_t i = 0; i < u->npods; i++)
        leaving |= u->pods[i]->leaving;
    if (leaving) {
        a->gang.priority = INT_MIN;
        a->gang.preemptible = 1;
    }
    return leaving;
}

/* What the scheduler refuses waits with its reason. */
static int unit_begin(place_t *p, struct group *g, struct waiter **pods, size_t n, bool ran) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct ask ask = { 0 };
    struct unit *u = unit_new(p, g, pods, n);
    int rc = u ? ask_build(p, u, &ask) : OSMO_ENOMEM;
    bool leaving = rc == 0 && ran && ask_leaving(u, &ask);
    if (rc == 0)
        rc = ran ? osmo_scheduler_adopt(p->scheduler, &ask.gang, ask.nodes, &err) : osmo_scheduler_submit(p->scheduler, &ask.gang, &err);
    ask_free(&ask);
    if (rc == 0) {
        u->state = leaving ? UNIT_ENDING : ran ? UNIT_RUNNING : UNIT_WAITING;
        if (!ran)
            g->waiting = u;
        return 0;
    }
    if (u && rc != OSMO_ENOMEM && !ran)
        place_say_wait(p, u, err.text);
    if (u)
        place_unit_free(p, u);
    return rc == OSMO_ENOMEM ? rc : 0;
}

static int begin_waiting(place_t *p, struct group *g, struct waiter **list) {
    char reason[80];
    if (g->waiting)
        place_unit_free(p, g->waiting);
    size_t n = collect(g, false, list);
    if (!n)
        return 0;
    if ((int64_t)g->npods >= g->min_member)
        return unit_begin(p, g, list, n, false);
    snprintf(reason, sizeof reason, "waits for %lld more pods of its group", (long long)(g->min_member - (int64_t)g->npods));
    for (size_t i = 0; i < n; i++)
        p->sink->wait(p->sink->ctx, list[i]->name, reason);
    return 0;
}

int place_group_sync(place_t *p, struct group *g) {
    if (!g->npods)
        return 0;
    _cleanup_free_ struct waiter **list = calloc(g->npods, sizeof *list);
    if (!list)
        return OSMO_ENOMEM;
    size_t n = collect(g, true, list);
    int rc = n ? unit_begin(p, g, list, n, true) : 0;
    return rc < 0 ? rc : begin_waiting(p, g, list);
}
