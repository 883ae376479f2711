/* Node accounting; see nodes.h. Usage is kept as sums that pods add to and take from, so a pod event costs the same
 * however many pods a node has. Nodes are keyed by metadata.name and reported by their hostname label. */
#include "operator/nodes.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "operator/pod_table.h"
#include "operator/quantity.h"
#include "operator/rules.h"

#define MAX_NODES 65536u
#define MAX_PODS (1u << 20)

/* What one step of the reported number holds. */
static const struct { int64_t unit; const char *suffix; } steps[USE_COUNT] = {
    [USE_CPU] = {1000, ""}, [USE_MEMORY] = {1024, "Ki"}, [USE_STORAGE] = {1024, "Ki"}, [USE_GPU] = {1, ""},
};
enum { OWN_WORKFLOW, OWN_OTHER, OWN_COUNT };

struct node {
    char *name;
    char *hostname;          /* NULL until the node itself was seen: pods may be reported first */
    json_t *resource;        /* body of the last resource message */
    json_t *conditions;      /* [{type,status}] */
    bool unschedulable, dirty, reported;
    /* <prefix>verified as it was seen, and as it was asked for: 'T', 'F', other; 0 = not at all */
    char labelled, asked;
    size_t pods;
    int64_t sum[OWN_COUNT][USE_COUNT];
    int64_t sent[OWN_COUNT][USE_COUNT]; /* rounded */
};

/* Of one pod. Its node stays as long as it has pods. */
struct pod_use { struct node *node; int64_t use[USE_COUNT]; int owner; };

struct nodes {
    strlist_t namespaces;    /* whose pods are workflows' */
    nodes_emit_fn emit;
    void *ctx;
    const logger_t *log;
    map_t *nodes;            /* name → struct node */
    pod_table_t *pods;       /* of struct pod_use */
    rules_t *rules;
    char *label;             /* written to nodes; NULL = none */
    nodes_label_fn set_label;
    void *label_ctx;
    bool dirty, listing;     /* listing: there may be more nodes than were seen */
};

static void free_node(void *p) {
    struct node *n = p;
    free(n->name);
    free(n->hostname);
    json_free(n->resource);
    json_free(n->conditions);
    free(n);
}

nodes_t *nodes_new(const char *namespace_, nodes_emit_fn emit, void *ctx, const logger_t *log) {
    nodes_t *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->nodes = map_new(free_node);
    n->pods = pod_table_new(sizeof(struct pod_use));
    n->emit = emit;
    n->ctx = ctx;
    n->log = log;
    if (nodes_include_namespace(n, namespace_) < 0 || !n->nodes || !n->pods || rules_new(NULL, &n->rules, NULL) < 0) {
        nodes_free(n);
        return NULL;
    }
    return n;
}

void nodes_free(nodes_t *n) {
    if (!n)
        return;
    map_free(n->nodes);
    pod_table_free(n->pods);
    rules_free(n->rules);
    strlist_free(&n->namespaces);
    free(n->label);
    free(n);
}

int nodes_include_namespace(nodes_t *n, const char *namespace_) {
    return strlist_has(&n->namespaces, namespace_) ? OSMO_OK : strlist_add(&n->namespaces, namespace_);
}

int nodes_label_with(nodes_t *n, const char *prefix, nodes_label_fn set, void *ctx) {
    char *label = str_printf("%sverified", prefix);
    if (!label)
        return OSMO_ENOMEM;
    free(n->label);
    n->label = label;
    n->set_label = set;
    n->label_ctx = ctx;
    return OSMO_OK;
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
    if (e && !(e->name = str_dup(name))) {
        free(e);
        e = NULL;
    }
    return e && map_set(n->nodes, name, e) == 0 ? e : NULL;
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

/* Once for each difference: a label that cannot be written is not asked for with every heartbeat of the node. */
static void check_label(nodes_t *n, struct node *e) {
    const char *value = json_get_bool(e->resource, "available", false) ? "True" : "False";
    if (!n->label || e->labelled == *value || e->asked == *value)
        return;
    e->asked = *value;
    n->set_label(n->label_ctx, e->name, n->label, value);
}

static void see_label(const nodes_t *n, struct node *e, const json_t *node) {
    const char *text = n->label ? json_get_str(json_path(node, "metadata", "labels", NULL), n->label) : NULL;
    char seen = !text ? 0 : strcmp(text, "True") == 0 ? 'T' : strcmp(text, "False") == 0 ? 'F' : '?';
    if (seen != e->labelled)
        e->asked = 0;
    e->labelled = seen;
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
    see_label(n, e, node);
    check_label(n, e);
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

static bool counts(const pod_facts_t *pod) {
    return pod->node && (!pod->phase || strcmp(pod->phase, "Running") == 0 || strcmp(pod->phase, "Pending") == 0);
}

static int64_t add_sat(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void drop_if_unused(nodes_t *n, const struct node *e) {
    if (!e->pods && !e->hostname)
        map_remove(n->nodes, e->name);
}

static void take_from_node(nodes_t *n, const struct pod_use *u) {
    struct node *e = u->node;
    for (int i = 0; i < USE_COUNT; i++)
        e->sum[u->owner][i] -= u->use[i];
    e->pods--;
    e->dirty = n->dirty = true;
    drop_if_unused(n, e);
}

static void add_to_node(nodes_t *n, const struct pod_use *u) {
    struct node *e = u->node;
    for (int i = 0; i < USE_COUNT; i++)
        e->sum[u->owner][i] = add_sat(e->sum[u->owner][i], u->use[i]);
    e->pods++;
    e->dirty = n->dirty = true;
}

static void forget_pod(nodes_t *n, struct pod_key key) {
    const struct pod_use *u = pod_table_get(n->pods, key);
    if (u) {
        take_from_node(n, u);
        pod_table_remove(n->pods, key);
    }
}

/* What a pod takes; false when there is no room for its node. */
static bool use_of(nodes_t *n, const pod_facts_t *pod, struct pod_use *out) {
    *out = (struct pod_use){ .node = node_at(n, pod->node), .owner = OWN_OTHER };
    if (!pod->namespace_ || strlist_has(&n->namespaces, pod->namespace_))
        out->owner = OWN_WORKFLOW;
    /* Far below the end of the range (8 PiB), so that what is added can be taken off again. */
    for (int i = 0; i < USE_COUNT; i++)
        out->use[i] = pod->use[i] < (INT64_MAX >> 10) ? pod->use[i] : INT64_MAX >> 10;
    return out->node != NULL;
}

static bool same_use(const struct pod_use *a, const struct pod_use *b) {
    return a->node == b->node && a->owner == b->owner && memcmp(a->use, b->use, sizeof a->use) == 0;
}

void nodes_apply_pod(nodes_t *n, const pod_facts_t *pod) {
    struct pod_key key;
    struct pod_use use;
    if (!pod_key_of(pod, &key))
        return;
    if (!counts(pod)) {
        forget_pod(n, key);
        return;
    }
    if (!use_of(n, pod, &use))
        return;
    struct pod_use *known = pod_table_get(n->pods, key), before = known ? *known : (struct pod_use){ 0 };
    if (known && same_use(known, &use))
        return;
    if (!known && pod_table_count(n->pods) < MAX_PODS)
        known = pod_table_add(n->pods, key);
    if (!known) {
        log_error(n->log, "pod %s is left out of the usage of node %s: out of room", fact_text(pod->name), pod->node);
        drop_if_unused(n, use.node);
        return;
    }
    *known = use;
    add_to_node(n, &use);
    if (before.node)
        take_from_node(n, &before);
}

void nodes_remove_pod(nodes_t *n, const pod_facts_t *pod) {
    struct pod_key key;
    if (pod_key_of(pod, &key))
        forget_pod(n, key);
}

static json_t *make_usage(const int64_t values[USE_COUNT]) {
    json_t *out = json_object();
    for (int u = 0; out && u < USE_COUNT; u++) {
        char text[32];
        snprintf(text, sizeof text, "%lld%s", (long long)values[u], steps[u].suffix);
        json_set_str(out, use_kinds[u].name, text);
    }
    return out;
}

static void send_usage(nodes_t *n, struct node *e) {
    int64_t now[OWN_COUNT][USE_COUNT];
    for (int o = 0; o < OWN_COUNT; o++) {
        for (int u = 0; u < USE_COUNT; u++)
            now[o][u] = e->sum[o][u] / steps[u].unit + (e->sum[o][u] % steps[u].unit > 0);
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

void nodes_begin(nodes_t *n) { n->listing = true; }

bool nodes_are_all(nodes_t *n) {
    bool news = n->listing;
    n->listing = false;
    return news;
}

void nodes_resend(nodes_t *n) {
    size_t it = 0;
    const char *name;
    void *value;
    json_t *names = json_array();
    bool whole = !n->listing;
    while (names && map_next(n->nodes, &it, &name, &value)) {
        struct node *e = value;
        if (!e->resource) {
            whole = whole && !e->hostname; /* memory was short for it; without a hostname it is only known from pods */
            continue;
        }
        e->reported = false;
        send_resource(n, e);
        whole = json_add_str(names, e->hostname) == 0 && whole;
    }
    nodes_flush_usage(n);
    json_t *body = names && json_len(names) && whole ? json_object() : NULL;
    if (!body) { /* an empty list would make the service forget every node, and part of one those that are left out */
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
            check_label(n, e);
        }
    }
    return OSMO_OK;
}
