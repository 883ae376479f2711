/* Reading nodes, queues, PodGroups and pods for placement. Called by place.c and place_unit.c. */
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/place_int.h"
#include "operator/quantity.h"

#define AMOUNT_MAX (INT64_C(1) << 46) /* of a node; the scheduler takes no more */

static const struct { const char *name; int scale, at; } kinds[] = {
    { "cpu", 3, OSMO_SCHED_CPU },
    { "memory", 0, OSMO_SCHED_MEMORY },
    { "ephemeral-storage", 0, OSMO_SCHED_STORAGE },
    { "nvidia.com/gpu", 0, OSMO_SCHED_GPU },
};

static bool read_quantity(const json_t *v, int scale, int64_t *out) {
    char number[32];
    if (json_kind(v) == JSON_INT)
        snprintf(number, sizeof number, "%lld", (long long)json_as_int(v, 0));
    const char *text = json_kind(v) == JSON_INT ? number : json_str(v);
    return text && quantity_parse(text, scale, out) && *out > 0;
}

static void add_requests(const json_t *container, osmo_sched_amount_t *sum) {
    const json_t *requests = json_path(container, "resources", "requests", NULL);
    const json_t *limits = json_path(container, "resources", "limits", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const json_t *v = json_get(json_has(requests, kinds[i].name) ? requests : limits, kinds[i].name);
        int64_t n, *to = &sum->of[kinds[i].at];
        if (read_quantity(v, kinds[i].scale, &n) && __builtin_add_overflow(*to, n, to))
            *to = INT64_MAX;
    }
}

void place_request(const json_t *pod_spec, osmo_sched_amount_t *out) {
    osmo_sched_amount_t sum = { { 0 } };
    const json_t *list = json_get(pod_spec, "containers"), *inits = json_get(pod_spec, "initContainers");
    for (size_t i = 0; i < json_len(list); i++)
        add_requests(json_at(list, i), &sum);
    for (size_t i = 0; i < json_len(inits); i++) {
        osmo_sched_amount_t one = { { 0 } };
        add_requests(json_at(inits, i), &one);
        for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
            sum.of[r] = sum.of[r] > one.of[r] ? sum.of[r] : one.of[r];
    }
    sum.of[OSMO_SCHED_PODS] = 1;
    *out = sum;
}

/* ---- groups ---- */

/* The classes that the control plane names, and what the chart of OSMO gives them. */
static int priority_of(const char *text) {
    return !text ? 100 : str_ends(text, "high") ? 125 : str_ends(text, "low") ? 50 : 100;
}

static int set_text(char **to, const char *text) {
    char *copy = str_dup(text ? text : "");
    if (!copy)
        return OSMO_ENOMEM;
    free(*to);
    *to = copy;
    return 0;
}

int place_read_group(struct group *g, const json_t *object) {
    const json_t *spec = json_get(object, "spec"), *subs = json_get(spec, "subGroups");
    const char *queue = json_get_str(spec, "queue"), *how = json_get_str(spec, "preemptibility");
    json_t *copy = spec ? json_copy(spec) : json_object();
    if (!copy || set_text(&g->queue, queue) < 0) {
        json_free(copy);
        return OSMO_ENOMEM;
    }
    json_free(g->spec);
    g->spec = copy;
    g->known = true;
    g->priority = priority_of(json_get_str(spec, "priorityClassName"));
    g->preemptible = how ? str_eq(how, "preemptible") : g->priority < 100;
    g->min_member = json_get_int(spec, "minMember", 0);
    for (size_t i = 0; !json_has(spec, "minMember") && i < json_len(subs); i++)
        if (!json_get_str(json_at(subs, i), "parent") &&
            __builtin_add_overflow(g->min_member, json_get_int(json_at(subs, i), "minMember", 0), &g->min_member))
            g->min_member = INT64_MAX;
    return 0;
}

int place_read_lone(struct group *g, const json_t *pod) {
    const json_t *labels = json_path(pod, "metadata", "labels", NULL);
    g->priority = priority_of(json_get_str(labels, "osmo.priority"));
    g->preemptible = g->priority < 100;
    g->min_member = 1;
    return set_text(&g->queue, json_get_str(labels, "kai.scheduler/queue"));
}

static bool in_levels(const place_t *p, const char *label) {
    for (size_t i = 0; p->levels[i]; i++)
        if (str_eq(p->levels[i], label))
            return true;
    return false;
}

const char *place_read_level(const place_t *p, const json_t *constraint, int *preferred) {
    const char *level = json_get_str(constraint, "requiredTopologyLevel");
    *preferred = !level;
    if (!level)
        level = json_get_str(constraint, "preferredTopologyLevel");
    return level && in_levels(p, level) ? level : NULL;
}

int place_scope_of(const json_t *spec, const char *subgroup) {
    const json_t *subs = json_get(spec, "subGroups");
    for (size_t i = 0; subgroup && i < json_len(subs); i++)
        if (str_eq(json_get_str(json_at(subs, i), "name"), subgroup))
            return (int)i;
    return -1;
}

size_t place_read_scopes(const place_t *p, const json_t *spec, osmo_sched_scope_t *out, size_t max) {
    const json_t *subs = json_get(spec, "subGroups");
    size_t n = json_len(subs) < max ? json_len(subs) : max;
    for (size_t i = 0; i < n; i++) {
        const json_t *sub = json_at(subs, i);
        int parent = place_scope_of(spec, json_get_str(sub, "parent"));
        out[i].level = place_read_level(p, json_get(sub, "topologyConstraint"), &out[i].preferred);
        out[i].parent = parent < (int)i ? parent : -1;
    }
    return n;
}

/* ---- labels, taints, tolerations ---- */

size_t place_read_labels(const json_t *map, osmo_sched_pair_t *out, size_t max) {
    size_t n = 0;
    for (json_iter_t it = json_iter(map); n < max && json_iter_next(&it);)
        if (json_str(it.value))
            out[n++] = (osmo_sched_pair_t){ it.key, json_str(it.value) };
    return n;
}

static bool keeps_away(const char *effect) { return str_eq(effect, "NoSchedule") || str_eq(effect, "NoExecute"); }

size_t place_read_taints(const json_t *node, osmo_sched_pair_t out[PLACE_MAX_PAIRS]) {
    const json_t *list = json_path(node, "spec", "taints", NULL);
    size_t n = 0;
    for (size_t i = 0; i < json_len(list) && n < PLACE_MAX_PAIRS; i++) {
        const json_t *t = json_at(list, i);
        const char *value = json_get_str(t, "value");
        if (json_get_str(t, "key") && keeps_away(json_get_str(t, "effect")))
            out[n++] = (osmo_sched_pair_t){ json_get_str(t, "key"), value ? value : "" };
    }
    return n;
}

size_t place_read_tolerations(const json_t *list, osmo_sched_pair_t *out, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i < json_len(list) && n < max; i++) {
        const json_t *t = json_at(list, i);
        const char *key = json_get_str(t, "key"), *value = json_get_str(t, "value"), *effect = json_get_str(t, "effect");
        bool any = str_eq(json_get_str(t, "operator"), "Exists");
        if (effect && *effect && !keeps_away(effect))
            continue;
        if (any || (key && *key))
            out[n++] = (osmo_sched_pair_t){ key && *key ? key : NULL, any ? NULL : value ? value : "" };
    }
    return n;
}

json_t *place_read_needs(const json_t *pod_spec) {
    static const char *const keys[] = { "nodeSelector", "tolerations" };
    json_t *needs = json_object();
    for (size_t i = 0; needs && i < ARRAY_SIZE(keys); i++) {
        const json_t *v = json_get(pod_spec, keys[i]);
        if (json_len(v) && json_set(needs, keys[i], json_copy(v)) < 0) {
            json_free(needs);
            return NULL;
        }
    }
    return needs;
}

/* ---- nodes and queues ---- */

void place_read_node(const json_t *node, osmo_sched_node_t *out) {
    const json_t *all = json_path(node, "status", "allocatable", NULL);
    *out = (osmo_sched_node_t){ .size = sizeof *out, .name = json_get_str(json_get(node, "metadata"), "name") };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int64_t n;
        if (read_quantity(json_get(all, kinds[i].name), kinds[i].scale, &n))
            out->capacity.of[kinds[i].at] = n < AMOUNT_MAX ? n : AMOUNT_MAX;
    }
    if (!read_quantity(json_get(all, "pods"), 0, &out->capacity.of[OSMO_SCHED_PODS]))
        out->capacity.of[OSMO_SCHED_PODS] = 110;
    out->cordoned = json_get_bool(json_get(node, "spec"), "unschedulable", false);
}

/* quota and limit of gpu, cpu (thousandths of a core) and memory (millions of bytes); -1 or nothing = no limit. */
int place_read_queue(const json_t *object, osmo_sched_queue_t *out) {
    static const struct { const char *name; int at; double unit; } parts[] = { { "gpu", OSMO_SCHED_GPU, 1 },
                                                                              { "cpu", OSMO_SCHED_CPU, 1 },
                                                                              { "memory", OSMO_SCHED_MEMORY, 1e6 } };
    const json_t *resources = json_path(object, "spec", "resources", NULL);
    *out = (osmo_sched_queue_t){ .size = sizeof *out, .name = json_get_str(json_get(object, "metadata"), "name"), .weight = 1 };
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
        out->guarantee.of[r] = out->maximum.of[r] = -1;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const json_t *part = json_get(resources, parts[i].name);
        double quota = json_get_double(part, "quota", -1), limit = json_get_double(part, "limit", -1);
        if (quota >= 0 && quota < 1e12)
            out->guarantee.of[parts[i].at] = (int64_t)(quota * parts[i].unit);
        if (limit >= 0 && limit < 1e12)
            out->maximum.of[parts[i].at] = (int64_t)(limit * parts[i].unit);
        if (parts[i].at == OSMO_SCHED_GPU)
            out->weight = json_get_double(part, "overQuotaWeight", 1);
    }
    return out->name ? 0 : OSMO_EINVAL;
}
