/* Topology requirements of a group's tasks as a PodGroup's constraint and subgroups. Called by pods.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/pods_internal.h"

struct node {
    char *name;                 /* group names along the path joined by '-' */
    const char *label;          /* of the cluster's nodes; NULL at the root */
    bool preferred;
    size_t tasks;               /* attached here or below */
    struct node **children;
    size_t nchildren;
    struct node *parent;
};

static void node_free(struct node *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->nchildren; i++)
        node_free(n->children[i]);
    free(n->children);
    free(n->name);
    free(n);
}

/* The node for this requirement below parent; whoever comes first decides its label, kind and place. Names are those of
 * subgroups, so they are unique in the group: a-b under the root and b under a would be one. */
static int child_of(struct pod_build *b, map_t *nodes, struct node *parent, const struct spec_topology *t,
                    const char *label, struct node **out)
{
    _cleanup_free_ char *name = parent->name ? str_printf("%s-%s", parent->name, t->group) : str_dup(t->group);
    struct node *n = name ? map_get(nodes, name) : NULL;

    if (!name)
        return OSMO_ENOMEM;
    *out = n;
    if (n && n->parent != parent)
        return osmo_error_set(b->err, OSMO_ERESOURCE, "two topology groups of group '%.80s' would both be called "
            "'%.80s': rename one of them", b->group->name, name);
    if (n)
        return 0;
    n = calloc(1, sizeof(*n));
    struct node **grown = n ? realloc(parent->children, (parent->nchildren + 1) * sizeof(*grown)) : NULL;
    if (!grown || map_set(nodes, name, n) < 0) {
        if (grown)
            parent->children = grown;
        free(n);
        return OSMO_ENOMEM;
    }
    *n = (struct node){ .name = STEAL(name), .label = label, .preferred = t->preferred, .parent = parent };
    parent->children = grown;
    parent->children[parent->nchildren++] = n;
    *out = n;
    return 0;
}

/* Requirements of one task, coarse to fine in the pool's order; remembers the last node's name. */
static int attach(struct pod_build *b, map_t *nodes, struct node *root, const json_t *keys, struct pod_task *t)
{
    struct node *at = root;
    at->tasks++;
    for (size_t k = 0; k < json_len(keys); k++) {
        const json_t *key = json_at(keys, k);
        for (size_t i = 0; i < t->resource->ntopology; i++) {
            if (!str_eq(t->resource->topology[i].key, json_get_str(key, "key")))
                continue;
            int rc = child_of(b, nodes, at, &t->resource->topology[i], json_get_str(key, "label"), &at);
            if (rc < 0)
                return rc;
            at->tasks++;
        }
    }
    if (at == root)
        return 0;
    if (!map_has(b->subgroups, at->name)) {
        char *copy = str_dup(at->name);
        if (!copy || map_set(b->subgroups, at->name, copy) < 0)
            return OSMO_ENOMEM;
    }
    t->subgroup = map_get(b->subgroups, at->name);
    return 0;
}

static json_t *constraint(struct pod_build *b, const struct node *n)
{
    json_t *v = pods_object(b);
    pods_put_text(b, v, n->preferred ? "preferredTopologyLevel" : "requiredTopologyLevel", n->label);
    pods_put_text(b, v, "topology", b->topology_name);
    return v;
}

/* Depth is the number of topology keys of the pool. */
static void emit(struct pod_build *b, json_t *list, const struct node *n, const char *parent)
{
    if (n->nchildren == 1 && !parent) {
        emit(b, list, n->children[0], NULL);
        return;
    }
    json_t *v = pods_object(b);
    pods_put_text(b, v, "name", n->name);
    pods_put(b, v, "minMember", json_int((int64_t)n->tasks));
    pods_put(b, v, "topologyConstraint", constraint(b, n));
    if (parent)
        pods_put_text(b, v, "parent", parent);
    pods_add(b, list, v);
    for (size_t i = 0; i < n->nchildren; i++)
        emit(b, list, n->children[i], n->name);
}

static void put_tree(struct pod_build *b, json_t *spec, const struct node *root)
{
    const struct node *at = root;
    while (at->nchildren == 1)
        at = at->children[0];
    if (at != root)
        pods_put(b, spec, "topologyConstraint", constraint(b, at));
    if (at->nchildren == 0) {
        pods_put(b, spec, "minMember", json_int((int64_t)b->group->ntasks));
        for (size_t i = 0; i < b->group->ntasks; i++)
            b->tasks[i].subgroup = NULL;
        return;
    }
    json_t *list = pods_array(b);
    for (size_t i = 0; i < at->nchildren; i++)
        emit(b, list, at->children[i], NULL);
    pods_put(b, spec, "subGroups", list);
}

int pods_topology(struct pod_build *b, json_t *podgroup_spec)
{
    _cleanup_json_ json_t *keys = NULL;
    const char *text = b->c->pool->topology_keys_json;
    struct node *root = calloc(1, sizeof(*root));
    map_t *nodes = map_new(NULL);
    int rc = root && nodes ? 0 : OSMO_ENOMEM;

    if (rc == 0 && text)
        rc = json_parse(text, strlen(text), &keys, b->err);
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        if (b->tasks[i].resource)
            rc = attach(b, nodes, root, keys, &b->tasks[i]);
    if (rc == 0)
        put_tree(b, podgroup_spec, root);
    node_free(root);
    map_free(nodes);
    return rc;
}
