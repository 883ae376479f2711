/* Node accounting; see nodes.h. Usage is kept as sums that pods add to and take from, so a pod event costs the same however
 * many pods a node has. Nodes are keyed by metadata.name and reported by their hostname label. */
#include "operator/nodes.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "operator/quantity.h"
#include "operator/rules.h"

#define MAX_NODES 65536u
#define MAX_PODS (1u << 20)

enum { USE_CPU, USE_MEMORY, USE_STORAGE, USE_GPU, USE_COUNT };
/* cpu is summed in thousandths; the unit is what one step of the reported number holds. */
static const struct { const char *name; int scale; int64_t unit; const char *suffix; } uses[USE_COUNT] = {
    {"cpu", 3, 1000, ""}, {"memory", 0, 1024, "Ki"}, {"ephemeral-storage", 0, 1024, "Ki"}, {"nvidia.com/gpu", 0, 1, ""},
};
enum { OWN_WORKFLOW, OWN_OTHER, OWN_COUNT };

struct node {
    char *hostname;          /* NULL until the node itself was seen: pods may be reported first */
    json_t *resource;        /* body of the last resource message */
    json_t *conditions;      /* [{type,status}] */
    bool unschedulable, dirty, reported;
    size_t pods;
    int64_t sum[OWN_COUNT][USE_COUNT];
    int64_t sent[OWN_COUNT][USE_COUNT]; /* rounded */
};

struct pod_use { char *node; int owner; int64_t use[USE_COUNT]; };

struct nodes {
    char *namespace_;
    nodes_emit_fn emit;
    void *ctx;
    const logger_t *log;
    map_t *nodes;            /* name → struct node */
    map_t *pods;             /* namespace/name → struct pod_use */
    rules_t *rules;
    bool dirty;
};

static void free_node(void *p) {
    struct node *n = p;
    free(n->hostname);
    json_free(n->resource);
    json_free(n->conditions);
    free(n);
}

static void free_use(void *p) {
    struct pod_use *u = p;
    free(u->node);
    free(u);
}

nodes_t *nodes_new(const char *namespace_, nodes_emit_fn emit, void *ctx, const logger_t *log) {
    nodes_t *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->namespace_ = str_dup(namespace_);
    n->nodes = map_new(free_node);
    n->pods = map_new(free_use);
    n->emit = emit;
    n->ctx = ctx;
    n->log = log;
    if (!n->namespace_ || !n->nodes || !n->pods || rules_new(NULL, &n->rules, NULL) < 0) {
        nodes_free(n);
        return NULL;
    }
    return n;
}

void nodes_free(nodes_t *n) {
    if (!n)
        return;
    map_free(n->nodes);
    map_free(n->pods);
    rules_free(n->rules);
    free(n->namespace_);
    free(n);
}

bool nodes_is_dirty(const nodes_t *n) { return n->dirty; }

static void emit(nodes_t *n, enum message_type type, const char *kind, const char *name, json_t *body) {
    _cleanup_free_ char *key = name ? str_printf("%s:%s", kind, name) : str_dup(kind);
    if (!key || !body) {
        json_free(body);
        log_error(n->log, "out of memory: a %s message is lost", message_type_name(type));
        return;
    }
    n->emit(n->ctx, type, key, body);
}

static struct node *node_at(nodes_t *n, const char *name) {
    struct node *e = map_get(n->nodes, name);
    if (e)
        return e;
    if (map_len(n->nodes) >= MAX_NODES) {
        log_error(n->log, "node %s is ignored: more than %u nodes", name, MAX_NODES);
        return NULL;
    }
    e = calloc(1, sizeof *e);
    if (!e || map_set(n->nodes, name, e) < 0)
        return NULL;
    return e;
}

/* ---- resource ---- */

static json_t *make_allocatable(const json_t *node) {
    json_t *out = json_object();
    json_iter_t it = json_iter(json_path(node, "status", "allocatable", NULL));
    while (out && json_iter_next(&it)) {
        const char *text = json_str(it.value);
        char number[24];
        int64_t cores;
        if (text && strcmp(it.key, "cpu") == 0 && quantity_parse_floor(text, 0, &cores)) {
            snprintf(number, sizeof number, "%lld", (long long)cores);
            text = number;
        } else if (!text && json_kind(it.value) == JSON_INT) {
            snprintf(number, sizeof number, "%lld", (long long)json_as_int(it.value, 0));
            text = number;
        }
        if (text)
            json_set_str(out, it.key, text);
    }
    return out;
}

static json_t *make_labels(const json_t *node) {
    json_t *out = json_object();
    json_iter_t it = json_iter(json_path(node, "metadata", "labels", NULL));
    while (out && json_iter_next(&it)) {
        if (!str_starts(it.key, "feature.node.kubernetes.io") && json_str(it.value))
            json_set_str(out, it.key, json_str(it.value));
    }
    return out;
}

static json_t *make_taints(const json_t *node) {
    const json_t *taints = json_path(node, "spec", "taints", NULL);
    json_t *out = json_array();
    for (size_t i = 0; out && i < json_len(taints); i++) {
        const json_t *t = json_at(taints, i);
        json_t *one = json_object();
        if (!one)
            break;
        json_set_str(one, "effect", json_get_str(t, "effect"));
        json_set_str(one, "key", json_get_str(t, "key"));
        json_set_str(one, "time_added", json_get_str(t, "timeAdded"));
        json_set_str(one, "value", json_get_str(t, "value"));
        json_add(out, one);
    }
    return out;
}

/* Names of the True conditions for the message; type and status of all of them for later changes of the rules. */
static json_t *make_conditions(const json_t *node, json_t **all) {
    const json_t *list = json_path(node, "status", "conditions", NULL);
    json_t *names = json_array();
    *all = json_array();
    for (size_t i = 0; names && *all && i < json_len(list); i++) {
        const char *type = json_get_str(json_at(list, i), "type");
        const char *status = json_get_str(json_at(list, i), "status");
        json_t *one = type && status ? json_object() : NULL;
        if (!one)
            continue;
        json_set_str(one, "type", type);
        json_set_str(one, "status", status);
        json_add(*all, one);
        if (strcmp(status, "True") == 0)
            json_add_str(names, type);
    }
    return names;
}

static json_t *make_resource(nodes_t *n, struct node *e, const json_t *node) {
    json_t *body = json_object(), *all = NULL;
    if (!body)
        return NULL;
    json_t *names = make_conditions(node, &all);
    json_free(e->conditions);
    e->conditions = all;
    e->unschedulable = json_get_bool(json_get(node, "spec"), "unschedulable", false);
    int rc = json_set_str(body, "hostname", e->hostname);
    rc |= json_set_bool(body, "available", !e->unschedulable && rules_allow(n->rules, e->conditions));
    rc |= json_set(body, "conditions", names);
    rc |= json_set(body, "processed_fields", json_object());
    rc |= json_set(body, "allocatable_fields", make_allocatable(node));
    rc |= json_set(body, "label_fields", make_labels(node));
    rc |= json_set(body, "taints", make_taints(node));
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

static void send_resource(nodes_t *n, struct node *e) {
    emit(n, MSG_RESOURCE, "resource", e->hostname, json_copy(e->resource));
    if (!e->reported) {
        e->reported = true; /* its usage follows once, also when it is all zero */
        e->dirty = n->dirty = true;
        for (int o = 0; o < OWN_COUNT; o++) {
            for (int u = 0; u < USE_COUNT; u++)
                e->sent[o][u] = -1;
        }
    }
}

static const char *hostname_of(const json_t *node, const char *name) {
    const char *label = json_get_str(json_path(node, "metadata", "labels", NULL), "kubernetes.io/hostname");
    return label && *label ? label : name;
}

void nodes_apply(nodes_t *n, const json_t *node) {
    const char *name = json_get_str(json_get(node, "metadata"), "name");
    struct node *e = name ? node_at(n, name) : NULL;
    if (!e)
        return;
    const char *hostname = hostname_of(node, name);
    if (!str_eq(e->hostname, hostname)) {
        if (e->hostname)
            nodes_remove(n, node);
        e = node_at(n, name);
        if (!e || !(e->hostname = str_dup(hostname)))
            return;
    }
    json_t *body = make_resource(n, e, node);
    if (!body) {
        log_error(n->log, "out of memory: node %s is not reported", name);
        return;
    }
    bool same = e->resource && json_equal(e->resource, body);
    json_free(e->resource);
    e->resource = body;
    if (!same)
        send_resource(n, e);
}

void nodes_remove(nodes_t *n, const json_t *node) {
    const char *name = json_get_str(json_get(node, "metadata"), "name");
    struct node *e = name ? map_get(n->nodes, name) : NULL;
    if (!e)
        return;
    if (e->hostname) {
        json_t *body = json_object();
        if (body)
            json_set_str(body, "resource", e->hostname);
        emit(n, MSG_DELETE_RESOURCE, "delete", e->hostname, body);
    }
    if (!e->pods) {
        map_remove(n->nodes, name);
        return;
    }
    free(e->hostname); /* its pods are still to be reported as gone */
    json_free(e->resource);
    e->hostname = NULL;
    e->resource = NULL;
    e->reported = false;
}

/* ---- usage ---- */

static bool counts(const json_t *pod) {
    const char *phase = json_get_str(json_get(pod, "status"), "phase");
    const char *node = json_get_str(json_get(pod, "spec"), "nodeName");
    return node && *node && (!phase || strcmp(phase, "Running") == 0 || strcmp(phase, "Pending") == 0);
}

static int64_t add_sat(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void sum_requests(const json_t *pod, int64_t use[USE_COUNT]) {
    const json_t *containers = json_path(pod, "spec", "containers", NULL);
    for (size_t i = 0; i < json_len(containers); i++) {
        const json_t *requests = json_path(json_at(containers, i), "resources", "requests", NULL);
        for (int u = 0; u < USE_COUNT; u++) {
            const json_t *v = json_get(requests, uses[u].name);
            char number[32];
            const char *text = json_str(v);
            if (!text && json_kind(v) == JSON_INT) {
                snprintf(number, sizeof number, "%lld", (long long)json_as_int(v, 0));
                text = number;
            }
            int64_t amount;
            /* A foreign pod with an unreadable quantity counts as zero: it must not stop the accounting of the others. */
            if (text && quantity_parse(text, uses[u].scale, &amount) && amount > 0)
                use[u] = add_sat(use[u], amount);
        }
    }
}

static char *pod_key(const json_t *pod) {
    const json_t *meta = json_get(pod, "metadata");
    const char *name = json_get_str(meta, "name"), *ns = json_get_str(meta, "namespace");
    return name ? str_printf("%s/%s", ns ? ns : "", name) : NULL;
}

static void take_from_node(nodes_t *n, const struct pod_use *u) {
    struct node *e = map_get(n->nodes, u->node);
    if (!e)
        return;
    for (int i = 0; i < USE_COUNT; i++)
        e->sum[u->owner][i] -= u->use[i];
    e->pods--;
    e->dirty = n->dirty = true;
    if (!e->pods && !e->hostname)
        map_remove(n->nodes, u->node);
}

static bool same_use(const struct pod_use *u, const char *node, int owner, const int64_t use[USE_COUNT]) {
    return u && str_eq(u->node, node) && u->owner == owner && memcmp(u->use, use, sizeof u->use) == 0;
}

static void forget_pod(nodes_t *n, const char *key) {
    struct pod_use *u = map_get(n->pods, key);
    if (u) {
        take_from_node(n, u);
        map_remove(n->pods, key);
    }
}

static void add_to_node(nodes_t *n, const char *key, const char *node, int owner, const int64_t use[USE_COUNT]) {
    struct node *e = map_len(n->pods) < MAX_PODS ? node_at(n, node) : NULL;
    struct pod_use *u = e ? calloc(1, sizeof *u) : NULL;
    if (!u || !(u->node = str_dup(node)) || map_set(n->pods, key, u) < 0) {
        /* map_set frees what it could not keep */
        if (u && !u->node)
            free(u);
        log_error(n->log, "pod %s is left out of the usage of node %s: out of room", key, node);
        return;
    }
    u->owner = owner;
    for (int i = 0; i < USE_COUNT; i++) {
        /* Far below the end of the range (8 PiB), so that what is added can be taken off again. */
        u->use[i] = use[i] < (INT64_MAX >> 10) ? use[i] : INT64_MAX >> 10;
        e->sum[owner][i] = add_sat(e->sum[owner][i], u->use[i]);
    }
    e->pods++;
    e->dirty = n->dirty = true;
}

void nodes_apply_pod(nodes_t *n, const json_t *pod) {
    _cleanup_free_ char *key = pod_key(pod);
    if (!key)
        return;
    if (!counts(pod)) {
        forget_pod(n, key);
        return;
    }
    const char *ns = json_get_str(json_get(pod, "metadata"), "namespace");
    const char *node = json_get_str(json_get(pod, "spec"), "nodeName");
    int owner = !ns || strcmp(ns, n->namespace_) == 0 ? OWN_WORKFLOW : OWN_OTHER;
    int64_t use[USE_COUNT] = { 0 };
    sum_requests(pod, use);
    if (same_use(map_get(n->pods, key), node, owner, use))
        return;
    forget_pod(n, key);
    add_to_node(n, key, node, owner, use);
}

void nodes_remove_pod(nodes_t *n, const json_t *pod) {
    _cleanup_free_ char *key = pod_key(pod);
    if (key)
        forget_pod(n, key);
}

static json_t *make_usage(const int64_t values[USE_COUNT]) {
    json_t *out = json_object();
    for (int u = 0; out && u < USE_COUNT; u++) {
        char text[32];
        snprintf(text, sizeof text, "%lld%s", (long long)values[u], uses[u].suffix);
        json_set_str(out, uses[u].name, text);
    }
    return out;
}

static void send_usage(nodes_t *n, struct node *e) {
    int64_t now[OWN_COUNT][USE_COUNT];
    for (int o = 0; o < OWN_COUNT; o++) {
        for (int u = 0; u < USE_COUNT; u++)
            now[o][u] = e->sum[o][u] / uses[u].unit + (e->sum[o][u] % uses[u].unit > 0);
    }
    if (memcmp(now, e->sent, sizeof now) == 0)
        return;
    json_t *body = json_object();
    if (!body)
        return;
    memcpy(e->sent, now, sizeof now);
    json_set_str(body, "hostname", e->hostname);
    json_set(body, "usage_fields", make_usage(now[OWN_WORKFLOW]));
    json_set(body, "non_workflow_usage_fields", make_usage(now[OWN_OTHER]));
    emit(n, MSG_RESOURCE_USAGE, "usage", e->hostname, body);
}

void nodes_flush_usage(nodes_t *n) {
    size_t it = 0;
    const char *name;
    void *value;
    n->dirty = false;
    while (map_next(n->nodes, &it, &name, &value)) {
        struct node *e = value;
        if (e->dirty && e->reported)
            send_usage(n, e);
        e->dirty = e->dirty && !e->reported;
    }
}

/* ---- all of it ---- */

void nodes_resend(nodes_t *n) {
    size_t it = 0;
    const char *name;
    void *value;
    json_t *names = json_array();
    while (names && map_next(n->nodes, &it, &name, &value)) {
        struct node *e = value;
        if (!e->resource)
            continue;
        e->reported = false;
        send_resource(n, e);
        json_add_str(names, e->hostname);
    }
    nodes_flush_usage(n);
    json_t *body = names && json_len(names) ? json_object() : NULL;
    if (!body) { /* an empty list would make the service forget every node */
        json_free(names);
        return;
    }
    json_set(body, "node_hashes", names);
    emit(n, MSG_NODE_HASH, "node_hash", NULL, body);
}

int nodes_set_rules(nodes_t *n, const json_t *rules, osmo_error_t *err) {
    rules_t *r = NULL;
    int rc = rules_new(rules, &r, err);
    if (rc < 0)
        return rc;
    rules_free(n->rules);
    n->rules = r;
    size_t it = 0;
    const char *name;
    void *value;
    while (map_next(n->nodes, &it, &name, &value)) {
        struct node *e = value;
        if (!e->resource)
            continue;
        bool available = !e->unschedulable && rules_allow(r, e->conditions);
        if (available != json_get_bool(e->resource, "available", false)) {
            json_set_bool(e->resource, "available", available);
            send_resource(n, e);
        }
    }
    return OSMO_OK;
}
