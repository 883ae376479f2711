/* See pods_queues.h. Names are those that PodGroups and pods refer to (pods.c). */
#include "model/pods_queues.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"

#define QUEUE_API "scheduling.run.ai/v2"
#define TOPOLOGY_API "kai.scheduler/v1alpha1"

/* {quota, limit, overQuotaWeight}; takes weight. */
static int put_share(json_t *resources, const char *name, int64_t quota, int64_t limit, json_t *weight) {
    json_t *share = json_object();
    int rc = share ? json_set(resources, name, share) : OSMO_ENOMEM;
    if (rc < 0) {
        json_free(weight);
        return rc;
    }
    rc = json_set_int(share, "quota", quota);
    rc |= json_set_int(share, "limit", limit);
    rc |= weight ? json_set(share, "overQuotaWeight", weight) : OSMO_ENOMEM;
    return rc < 0 ? OSMO_ENOMEM : 0;
}

/* How the pool takes part in what is left over; 1 where it says nothing. */
static json_t *pool_weight(const struct pool *pool) {
    _cleanup_json_ json_t *resources = NULL;
    const char *text = pool ? pool->resources_json : NULL;
    if (!text || json_parse(text, strlen(text), &resources, NULL) < 0)
        return json_int(1);
    const json_t *weight = json_path(resources, "gpu", "weight", NULL);
    enum json_kind kind = json_kind(weight);
    return kind == JSON_INT || kind == JSON_DOUBLE ? json_copy(weight) : json_int(1);
}

/* {apiVersion, kind, metadata: {name, labels}, spec: {}} */
static json_t *object_new(const char *api, const char *kind, const char *name, const char *k8s_namespace) {
    json_t *o = json_object(), *meta = json_object(), *labels = json_object();
    int rc = o && meta && labels && name ? 0 : OSMO_ENOMEM;
    if (rc == 0) {
        rc = json_set_str(o, "apiVersion", api);
        rc |= json_set_str(o, "kind", kind);
        rc |= json_set_str(labels, "osmo.namespace", k8s_namespace);
        rc |= json_set_str(meta, "name", name);
        rc |= json_set(meta, "labels", json_ref(labels));
        rc |= json_set(o, "metadata", json_ref(meta));
        rc |= json_set(o, "spec", json_object());
    }
    json_free(labels);
    json_free(meta);
    if (rc == 0)
        return o;
    json_free(o);
    return NULL;
}

/* pool NULL: the parent of all. Only GPUs are shared out. */
static int add_queue(json_t *list, const char *k8s_namespace, const char *parent, const struct pool *pool) {
    _cleanup_free_ char *name = pool ? str_printf("osmo-pool-%s-%s", k8s_namespace, pool->name) : str_dup(parent);
    json_t *o = object_new(QUEUE_API, "Queue", name, k8s_namespace), *resources = json_object();
    int rc = o && resources ? 0 : OSMO_ENOMEM;
    if (rc == 0 && pool)
        rc = json_set_str(json_get(o, "spec"), "parentQueue", parent);
    if (rc == 0)
        rc = json_set(json_get(o, "spec"), "resources", json_ref(resources));
    if (rc == 0)
        rc = put_share(resources, "cpu", -1, -1, json_int(1));
    if (rc == 0)
        rc = put_share(resources, "memory", -1, -1, json_int(1));
    if (rc == 0)
        rc = put_share(resources, "gpu", pool ? pool->gpu_guarantee : -1, pool ? pool->gpu_maximum : -1, pool_weight(pool));
    json_free(resources);
    if (rc == 0)
        return json_add(list, o);
    json_free(o);
    return rc;
}

/* Levels from coarse to fine, as the pool lists them. */
static int add_levels(json_t *levels, const json_t *keys) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_len(keys); i++) {
        json_t *level = json_object();
        rc = level ? json_set_str(level, "nodeLabel", json_get_str(json_at(keys, i), "label")) : OSMO_ENOMEM;
        if (rc == 0)
            rc = json_add(levels, level);
        else
            json_free(level);
    }
    return rc;
}

static int add_topology(json_t *list, const char *k8s_namespace, const struct pool *pool, osmo_error_t *err) {
    _cleanup_json_ json_t *keys = NULL;
    const char *text = pool->topology_keys_json;
    int rc = text ? json_parse(text, strlen(text), &keys, err) : 0;
    if (rc < 0 || !json_len(keys))
        return rc;
    _cleanup_free_ char *name = str_printf("osmo-pool-%s-%s-topology", k8s_namespace, pool->name);
    json_t *o = object_new(TOPOLOGY_API, "Topology", name, k8s_namespace), *levels = json_array();
    rc = o && levels ? json_set(json_get(o, "spec"), "levels", json_ref(levels)) : OSMO_ENOMEM;
    if (rc == 0)
        rc = add_levels(levels, keys);
    json_free(levels);
    if (rc == 0)
        return json_add(list, o);
    json_free(o);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct pool *const *)a)->name, (*(const struct pool *const *)b)->name);
}

static int add_resources(const struct settings *s, const char *backend, const char *k8s_namespace, json_t *list, osmo_error_t *err) {
    _cleanup_free_ const struct pool **pools = calloc(s->npools + 1, sizeof *pools);
    _cleanup_free_ char *parent = str_printf("osmo-default-%s", k8s_namespace);
    size_t n = 0;
    if (!pools || !parent)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < s->npools; i++)
        if (str_eq(s->pools[i].backend, backend))
            pools[n++] = &s->pools[i];
    if (n)
        qsort(pools, n, sizeof *pools, by_name);
    int rc = add_queue(list, k8s_namespace, parent, NULL);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_queue(list, k8s_namespace, parent, pools[i]);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_topology(list, k8s_namespace, pools[i], err);
    return rc;
}

/* What of this kind bears the label and is not among the resources is removed. */
static int add_spec(json_t *specs, const char *api, const char *kind, const char *k8s_namespace) {
    json_t *spec = json_object(), *generic = json_object(), *labels = json_object();
    int rc = spec && generic && labels ? 0 : OSMO_ENOMEM;
    if (rc == 0) {
        rc = json_set_str(generic, "api_version", api);
        rc |= json_set_str(generic, "kind", kind);
        rc |= json_set_str(labels, "osmo.namespace", k8s_namespace);
        rc |= json_set(spec, "generic_api", json_ref(generic));
        rc |= json_set(spec, "labels", json_ref(labels));
    }
    json_free(generic);
    json_free(labels);
    if (rc == 0)
        return json_add(specs, spec);
    json_free(spec);
    return rc;
}

int pods_queues(const struct settings *s, const char *backend, const char *k8s_namespace, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *resources = json_array(), *specs = json_array(), *immutable = json_array(), *o = json_object();
    int rc = resources && specs && immutable && o ? add_resources(s, backend, k8s_namespace, resources, err) : OSMO_ENOMEM;
    if (rc == 0)
        rc = add_spec(specs, QUEUE_API, "Queue", k8s_namespace);
    if (rc == 0)
        rc = add_spec(specs, TOPOLOGY_API, "Topology", k8s_namespace);
    if (rc == 0)
        rc = json_add_str(immutable, "Topology");
    if (rc == 0)
        rc = json_set(o, "k8s_resources", json_ref(resources));
    if (rc == 0)
        rc = json_set(o, "cleanup_specs", json_ref(specs));
    if (rc == 0)
        rc = json_set(o, "immutable_kinds", json_ref(immutable));
    if (rc < 0)
        return rc == OSMO_ENOMEM ? osmo_error_set(err, rc, "out of memory") : rc;
    *out = json_ref(o);
    return 0;
}

void pods_queues_digest(const char *k8s_uid, const char *objects_text, char out[65]) {
    char inner[65], both[2 * 64 + 1];
    crypto_sha256_hex(k8s_uid, strlen(k8s_uid), both);
    crypto_sha256_hex(objects_text, strlen(objects_text), inner);
    memcpy(both + 64, inner, sizeof inner);
    crypto_sha256_hex(both, 128, out);
}
