/* The door of the placement for drivers: nodes, queues, groups and pods come and go, and a run decides. See place.h. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "cluster/place_int.h"

/* ---- making and freeing ---- */

int place_new(const struct place_options *o, place_t **out, osmo_error_t *err) {
    const osmo_scheduler_options_t options = { .size = sizeof options, .levels = o->levels, .strict_order = o->strict_order };
    place_t *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    p->any_node = o->any_node;
    p->pods = map_new(NULL);
    p->groups = map_new(NULL);
    p->units = map_new(NULL);
    int rc = p->pods && p->groups && p->units ? osmo_scheduler_new(&options, &p->scheduler, err) : no_memory(err);
    for (size_t i = 0; rc == 0 && o->levels && o->levels[i]; i++)
        if (!(p->levels[i] = str_dup(o->levels[i])))
            rc = no_memory(err);
    if (rc < 0) {
        place_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

static void waiter_free(struct waiter *w) {
    free(w->name), free(w->subgroup), free(w->node);
    json_free(w->needs);
    free(w);
}

static void group_free(place_t *p, struct group *g) {
    while (g->units)
        place_unit_free(p, g->units);
    for (size_t i = 0; i < g->npods; i++)
        waiter_free(g->pods[i]);
    free(g->pods);
    json_free(g->spec);
    free(g->name), free(g->queue), free(g->user);
    free(g);
}

void place_free(place_t *p) {
    size_t it = 0;
    const char *name;
    void *g;
    if (!p)
        return;
    while (p->groups && map_next(p->groups, &it, &name, &g))
        group_free(p, g);
    map_free(p->groups);
    map_free(p->pods);
    map_free(p->units);
    osmo_scheduler_free(p->scheduler);
    for (size_t i = 0; i < ARRAY_SIZE(p->levels); i++)
        free(p->levels[i]);
    free(p->dirty);
    free(p);
}

/* ---- groups ---- */

static struct group *group_get(place_t *p, const char *name) {
    struct group *g = map_get(p->groups, name);
    if (g)
        return g;
    if (map_len(p->groups) == p->cap_dirty) {
        size_t cap = p->cap_dirty ? 2 * p->cap_dirty : 16;
        struct group **grown = reallocarray(p->dirty, cap, sizeof *grown);
        if (!grown)
            return NULL;
        p->dirty = grown;
        p->cap_dirty = cap;
    }
    g = calloc(1, sizeof *g);
    if (!g || !(g->name = str_dup(name)) || !(g->queue = str_dup("")) || !(g->user = str_dup("")) || map_set(p->groups, name, g) < 0) {
        if (g)
            group_free(p, g);
        return NULL;
    }
    g->priority = 100;
    g->min_member = 1;
    return g;
}

void place_group_mark(place_t *p, struct group *g) {
    if (g->dirty)
        return;
    g->dirty = true;
    p->dirty[p->ndirty++] = g;
}

/* One that is marked goes after the next run. */
static void group_drop(place_t *p, struct group *g) {
    if (g->npods || g->known || g->dirty)
        return;
    map_remove(p->groups, g->name);
    group_free(p, g);
}

/* ---- objects ---- */

int place_node(place_t *p, const json_t *node, osmo_error_t *err) {
    const json_t *map = json_path(node, "metadata", "labels", NULL);
    osmo_sched_pair_t labels[256], taints[PLACE_MAX_PAIRS];
    osmo_sched_node_t n;
    place_read_node(node, &n);
    n.labels = labels;
    n.taints = taints;
    if (!p->any_node) {
        n.nlabels = place_read_labels(map, labels, ARRAY_SIZE(labels));
        n.ntaints = place_read_taints(node, taints);
    }
    return osmo_scheduler_set_node(p->scheduler, &n, err);
}

void place_node_gone(place_t *p, const char *name) { osmo_scheduler_remove_node(p->scheduler, name); }

static int put_group(place_t *p, const char *name, const json_t *object, osmo_error_t *err) {
    if (!map_has(p->groups, name) && map_len(p->groups) >= PLACE_MAX_GROUPS)
        return osmo_error_set(err, OSMO_ELIMIT, "PodGroup %s is one more than %d", name, PLACE_MAX_GROUPS);
    struct group *g = group_get(p, name);
    if (!g || place_read_group(g, object) < 0)
        return no_memory(err);
    place_group_mark(p, g);
    return 0;
}

int place_object(place_t *p, const json_t *object, osmo_error_t *err) {
    const char *kind = json_get_str(object, "kind"), *name = json_get_str(json_get(object, "metadata"), "name");
    osmo_sched_queue_t q;
    if (!kind || !name)
        return osmo_error_set(err, OSMO_EINVAL, "an object needs a kind and a metadata.name");
    if (str_eq(kind, "PodGroup"))
        return put_group(p, name, object, err);
    if (!str_eq(kind, "Queue"))
        return 0;
    place_read_queue(object, &q);
    return osmo_scheduler_set_queue(p->scheduler, &q, err);
}

void place_object_gone(place_t *p, const char *kind, const char *name) {
    struct group *g = str_eq(kind, "PodGroup") ? map_get(p->groups, name) : NULL;
    if (g) {
        g->known = false;
        group_drop(p, g);
    } else if (str_eq(kind, "Queue")) {
        osmo_sched_queue_t q = { .size = sizeof q, .name = name, .weight = 1 };
        for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
            q.guarantee.of[r] = q.maximum.of[r] = -1;
        osmo_scheduler_set_queue(p->scheduler, &q, NULL); /* it exists already, so that nothing can fail */
    }
}

/* ---- pods ---- */

static const char *group_name(const json_t *pod) {
    const json_t *meta = json_get(pod, "metadata");
    const char *group = json_get_str(json_get(meta, "annotations"), "pod-group-name");
    if (!group)
        group = json_get_str(json_get(meta, "labels"), "pod-group-name");
    return group ? group : json_get_str(meta, "name");
}

static struct waiter *waiter_new(const place_t *p, const json_t *pod, int64_t arrival, const char *node) {
    const json_t *meta = json_get(pod, "metadata"), *spec = json_get(pod, "spec");
    struct waiter *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    const char *subgroup = json_get_str(json_get(meta, "labels"), "kai.scheduler/subgroup-name");
    w->name = str_dup(json_get_str(meta, "name"));
    w->subgroup = str_dup(subgroup);
    w->node = str_dup(node);
    w->needs = p->any_node ? NULL : place_read_needs(spec);
    w->arrival = arrival;
    place_request(spec, &w->request);
    if (!w->name || (subgroup && !w->subgroup) || (node && !w->node) || (!p->any_node && !w->needs)) {
        waiter_free(w);
        return NULL;
    }
    return w;
}

/* What the pod tells of its group; whoever comes first names the user. */
static int group_learn(struct group *g, const json_t *pod) {
    const char *user = json_get_str(json_path(pod, "metadata", "labels", NULL), "osmo.submitted_by");
    if (!g->known && place_read_lone(g, pod) < 0)
        return OSMO_ENOMEM;
    if (*g->user || !user)
        return 0;
    char *copy = str_dup(user);
    if (!copy)
        return OSMO_ENOMEM;
    free(g->user);
    g->user = copy;
    return 0;
}

static int group_reserve(struct group *g) {
    if (g->npods < g->cap)
        return 0;
    size_t cap = g->cap ? 2 * g->cap : 4;
    struct waiter **grown = reallocarray(g->pods, cap, sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    g->pods = grown;
    g->cap = cap;
    return 0;
}

int place_pod(place_t *p, const json_t *pod, int64_t arrival, const char *node, osmo_error_t *err) {
    const char *name = json_get_str(json_get(pod, "metadata"), "name");
    if (!name)
        return osmo_error_set(err, OSMO_EINVAL, "a pod needs a name");
    if (map_has(p->pods, name))
        return osmo_error_set(err, OSMO_EEXISTS, "pod %s is known already", name);
    if (map_len(p->pods) >= PLACE_MAX_PODS || (!map_has(p->groups, group_name(pod)) && map_len(p->groups) >= PLACE_MAX_GROUPS))
        return osmo_error_set(err, OSMO_ELIMIT, "pod %s or its group is one more than %d", name, PLACE_MAX_PODS);
    struct group *g = group_get(p, group_name(pod));
    struct waiter *w = g && group_reserve(g) == 0 && group_learn(g, pod) == 0 ? waiter_new(p, pod, arrival, node) : NULL;
    if (!w || map_set(p->pods, name, w) < 0) {
        if (w)
            waiter_free(w);
        if (g)
            group_drop(p, g);
        return no_memory(err);
    }
    w->group = g;
    w->pos = g->npods;
    g->pods[g->npods++] = w;
    place_group_mark(p, g);
    return 0;
}

void place_pod_leaving(place_t *p, const char *pod) {
    struct waiter *w = map_get(p->pods, pod);
    if (w)
        w->leaving = true;
}

void place_pod_ended(place_t *p, const char *pod) {
    struct waiter *w = map_get(p->pods, pod);
    if (!w || w->ended)
        return;
    w->ended = true;
    place_unit_end_pod(p, w);
}

void place_pod_gone(place_t *p, const char *pod) {
    struct waiter *w = map_take(p->pods, pod);
    if (!w)
        return;
    struct group *g = w->group;
    place_unit_end_pod(p, w);
    g->pods[w->pos] = g->pods[--g->npods];
    g->pods[w->pos]->pos = w->pos;
    waiter_free(w);
    group_drop(p, g);
}

/* ---- a run ---- */

static void on_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    place_t *p = ctx;
    struct unit *u = map_get(p->units, gang);
    u->state = UNIT_RUNNING;
    u->group->waiting = NULL;
    p->bound += (int64_t)npods;
    for (size_t i = 0; i < npods; i++)
        p->sink->bind(p->sink->ctx, u->pods[i]->name, nodes[i]);
}

static void on_evict(void *ctx, const char *gang, const char *for_gang, const char *reason) {
    place_t *p = ctx;
    const struct unit *victim = map_get(p->units, gang), *heir = map_get(p->units, for_gang);
    _cleanup_free_ char *message = str_printf("preempted for group %s: %s", heir->group->name, reason);
    for (struct unit *u = victim->group->units; u; u = u->next) {
        if (u->state != UNIT_RUNNING)
            continue;
        u->state = UNIT_ENDING;
        for (size_t i = 0; i < u->npods; i++)
            if (u->pods[i])
                p->sink->preempt(p->sink->ctx, u->pods[i]->name, message ? message : reason);
    }
}

static void on_wait(void *ctx, const char *gang, const char *reason) {
    place_t *p = ctx;
    struct unit *u = map_get(p->units, gang);
    u->told = true;
    place_say_wait(p, u, reason);
}

static int64_t arrival_of(const struct group *g) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i]->arrival < first)
            first = g->pods[i]->arrival;
    return first;
}

struct marked { struct group *group; int64_t arrival; };

static int by_arrival(const void *a, const void *b) {
    const struct marked *x = a, *y = b;
    if (x->arrival != y->arrival)
        return x->arrival < y->arrival ? -1 : 1;
    return strcmp(x->group->name, y->group->name);
}

/* In order of arrival: of those that ran already, the last is the first to leave. */
static int sync_all(place_t *p, struct marked *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        list[i] = (struct marked){ p->dirty[i], arrival_of(p->dirty[i]) };
    if (n)
        qsort(list, n, sizeof *list, by_arrival);
    for (size_t i = 0; i < n; i++) {
        int rc = place_group_sync(p, list[i].group);
        if (rc < 0)
            return rc; /* all stay marked; to bring one in line twice changes nothing */
    }
    for (size_t i = 0; i < n; i++)
        list[i].group->dirty = false;
    p->ndirty = 0;
    return 0;
}

int64_t place_run(place_t *p, const struct place_sink *sink, osmo_error_t *err) {
    const osmo_sched_sink_t decisions = { .size = sizeof decisions, .ctx = p, .place = on_place, .evict = on_evict, .wait = on_wait };
    size_t n = p->ndirty;
    _cleanup_free_ struct marked *list = calloc(n + 1, sizeof *list);
    if (!list)
        return no_memory(err);
    p->sink = sink;
    p->bound = 0;
    int64_t rc = sync_all(p, list, n);
    if (rc == 0)
        rc = osmo_scheduler_run(p->scheduler, 0, &decisions, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        struct group *g = list[i].group;
        if (g->waiting && !g->waiting->told)
            place_say_wait(p, g->waiting, "waits for its turn");
        group_drop(p, g);
    }
    p->sink = NULL;
    return rc < 0 ? no_memory(err) : p->bound;
}
