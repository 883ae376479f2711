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

/* The child for this requirement; whoever comes first decides its label and kind. */
static struct node *child_of(struct node *parent, const struct spec_topology *t, const char *label)
{
    _cleanup_free_ char *name = parent->name ? str_printf("%s-%s", parent->name, t->group) : str_dup(t->group);
    if (!name)
        return NULL;
    for (size_t i = 0; i < parent->nchildren; i++)
        if (strcmp(parent->children[i]->name, name) == 0)
            return parent->children[i];
    struct node *n = calloc(1, sizeof(*n));
    struct node **grown = n ? realloc(parent->children, (parent->nchildren + 1) * sizeof(*grown)) : NULL;
    if (!grown) {
        free(n);
        return NULL;
    }
    parent->children = grown;
    n->name = STEAL(name);
    n->label = label;
    n->preferred = t->preferred;
    parent->children[parent->nchildren++] = n;
    return n;
}

/* Requirements of one task, coarse to fine in the pool's order; remembers the last node's name. */
static int attach(struct pod_build *b, struct node *root, const json_t *keys, struct pod_task *t)
{
    struct node *at = root;
    at->tasks++;
    for (size_t k = 0; k < json_len(keys); k++) {
        const json_t *key = json_at(keys, k);
        for (size_t i = 0; i < t->resource->ntopology; i++) {
            if (!str_eq(t->resource->topology[i].key, json_get_str(key, "key")))
                continue;
            at = child_of(at, &t->resource->topology[i], json_get_str(key, "label"));
            if (!at)
                return OSMO_ENOMEM;
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
    pods_put_text(b, v, "topology", b->topology_name);
    pods_put_text(b, v, n->preferred ? "preferredTopologyLevel" : "requiredTopologyLevel", n->label);
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
    int rc = root ? 0 : OSMO_ENOMEM;

    if (rc == 0 && text)
        rc = json_parse(text, strlen(text), &keys, b->err);
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        if (b->tasks[i].resource)
            rc = attach(b, root, keys, &b->tasks[i]);
    if (rc == 0)
        put_tree(b, podgroup_spec, root);
    node_free(root);
    return rc;
}
