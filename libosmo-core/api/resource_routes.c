/* Nodes with their capacity and use, per pool and platform. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/access.h"
#include "model/node_match.h"

#define GIB (1024.0 * 1024 * 1024)
/* What osmo-ctrl takes beside each task. */
#define CTRL_CPU 0.05
#define CTRL_MEMORY (32.0 * 1024 * 1024)
#define CTRL_STORAGE (64.0 * 1024 * 1024)

struct amounts { double cpu, memory, storage, gpu; };
struct view {
    struct call *c;
    const struct settings *s;
    struct node_set set;
    strlist_t online;
    bool limited; strlist_t allowed; /* the query names no pools: those of the caller */
};

static struct amounts amounts_of(const json_t *v) {
    struct amounts a = { node_quantity(v, "cpu"), node_quantity(v, "memory"), node_quantity(v, "ephemeral-storage"),
        node_quantity(v, "nvidia.com/gpu") };
    return a;
}

static struct amounts minus(struct amounts a, struct amounts b) {
    struct amounts d = { a.cpu - b.cpu, a.memory - b.memory, a.storage - b.storage, a.gpu - b.gpu };
    return d;
}

static double positive(double v) {
    return v > 0 ? v : 0;
}

/* Does the query ask for this pool and platform? */
static bool wanted(const struct view *v, const struct pool *p, const struct platform *pl) {
    const strlist_t *pools = query_all(v->c, "pools"), *platforms = query_all(v->c, "platforms");
    if (v->limited)
        return strlist_has(&v->allowed, p->name);
    if (!pools || !pools->len)
        return true;
    return strlist_has(pools, p->name) && (!platforms || !platforms->len || strlist_has(platforms, pl->name));
}

/* The raw quantity texts under the client's four names. */
static json_t *raw_fields(const json_t *v) {
    static const char *const names[][2] = { { "storage", "ephemeral-storage" }, { "cpu", "cpu" },
        { "memory", "memory" }, { "gpu", "nvidia.com/gpu" } };
    json_t *o = json_object();
    for (size_t i = 0; o && i < ARRAY_SIZE(names); i++) {
        const json_t *value = json_get(v, names[i][1]);
        _cleanup_free_ char *number = value && !json_str(value) ? json_to_text(value) : NULL;
        if (json_set_str(o, names[i][0], json_str(value) ? json_str(value) : number ? number : "0") < 0) {
            json_free(o);
            return NULL;
        }
    }
    return o;
}

static int set_amounts(json_t *pools, const struct pool *p, const struct platform *pl, struct amounts a) {
    json_t *pool = json_get(pools, p->name), *o = json_object();
    char memory[32];
    if (!pool) {
        pool = json_object();
        if (json_set(pools, p->name, pool) < 0 || !pool) {
            json_free(o);
            return OSMO_ENOMEM;
        }
    }
    if (json_set(pool, pl->name, o) < 0 || !o)
        return OSMO_ENOMEM;
    snprintf(memory, sizeof memory, "%.0fKi", floor(positive(a.memory) / 1024));
    return json_set_int(o, "storage", (int64_t)positive(a.storage)) |
        json_set_int(o, "cpu", (int64_t)floor(positive(a.cpu))) |
           json_set_str(o, "memory", memory) | json_set_int(o, "gpu", (int64_t)floor(positive(a.gpu)));
}

static int set_config(json_t *pools, const struct pool *p, const struct platform *pl) {
    json_t *pool = json_get(pools, p->name), *o = json_object(), *defaults = json_array(), *allowed = json_array();
    int failed = !o || !defaults || !allowed;
    for (size_t i = 0; !failed && i < pl->default_mounts.len; i++)
        failed = json_add_str(defaults, pl->default_mounts.items[i]);
    for (size_t i = 0; !failed && i < pl->allowed_mounts.len; i++)
        failed = json_add_str(allowed, pl->allowed_mounts.items[i]);
    if (!failed && !pool) {
        pool = json_object();
        failed = !pool || json_set(pools, p->name, pool);
    }
    if (failed) {
        json_free(o);
        json_free(defaults);
        json_free(allowed);
        return OSMO_ENOMEM;
    }
    failed |= json_set_bool(o, "host_network", pl->host_network_allowed) |
        json_set_bool(o, "privileged", pl->privileged_allowed);
    failed |= json_set(o, "default_mounts", defaults) | json_set(o, "allowed_mounts", allowed);
    return failed | json_set(pool, pl->name, o);
}

/* Members of an entry that are filled pool by pool, borrowed from the entry. */
struct per_pool { json_t *names, *allocatable, *available, *workflow, *config, *labels; int64_t pools; };

static int add_platform(struct per_pool *x, const struct pool *p, const struct platform *pl, struct amounts alloc,
                        struct amounts used, struct amounts foreign) {
    struct amounts ctrl = { CTRL_CPU, CTRL_MEMORY, CTRL_STORAGE, 0 }, usable = minus(alloc, ctrl),
        ours = minus(usable, foreign);
    _cleanup_free_ char *name = str_printf("%s/%s", p->name, pl->name);
    json_t *labels = json_get(x->labels, p->name);
    int failed = !name || json_add_str(x->names, name);
    failed |= set_amounts(x->allocatable, p, pl, usable) | set_amounts(x->available, p, pl, minus(ours, used));
    failed |= set_amounts(x->workflow, p, pl, ours) | set_config(x->config, p, pl);
    if (!labels) {
        labels = json_array();
        failed |= json_set(x->labels, p->name, labels);
        x->pools++;
    }
    return failed | json_add_str(labels, pl->name);
}

/* 0 with nothing added when no wanted pool is served. */
static int add_pools(const struct view *v, size_t node, struct per_pool *x, struct amounts alloc, struct amounts used,
                     struct amounts foreign, int64_t *all_pools) {
    for (size_t i = 0; i < v->s->npools; i++) {
        const struct pool *p = &v->s->pools[i];
        *all_pools += node_serves_pool(&v->set, node, p);
        for (size_t j = 0; j < p->nplatforms; j++) {
            const struct platform *pl = &p->platforms[j];
            if (wanted(v, p, pl) && node_serves_platform(&v->set, node, p, pl) &&
                add_platform(x, p, pl, alloc, used, foreign))
                return OSMO_ENOMEM;
        }
    }
    return 0;
}

static int set_exposed(json_t *o, const struct node_row *n, struct amounts a, json_t **names) {
    json_t *exposed = json_object();
    char text[32];
    *names = json_array();
    if (json_set(o, "exposed_fields", exposed) < 0 || !exposed) {
        json_free(*names);
        return OSMO_ENOMEM;
    }
    int failed = json_set_str(exposed, "node", n->name) | json_set(exposed, "pool/platform", *names);
    const struct { const char *key; double value; } rows[] = { { "storage", a.storage / GIB }, { "cpu", a.cpu },
        { "memory", a.memory / GIB }, { "gpu", a.gpu } };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        snprintf(text, sizeof text, "%.0f", floor(positive(rows[i].value)));
        failed |= json_set_str(exposed, rows[i].key, text);
    }
    return failed;
}

static int set_fresh(json_t *o, const char *key, json_t **out) {
    *out = json_object();
    return !*out || json_set(o, key, *out) < 0 ? OSMO_ENOMEM : 0;
}

/* *served false: no pool that the query asks for uses the node. */
static json_t *node_json(const struct view *v, size_t node, bool *served) {
    const struct node_row *n = &v->set.nodes[node];
    _cleanup_json_ json_t *o = json_object(), *alloc = json_from_text(n->allocatable_json, json_object());
    _cleanup_json_ json_t *usage = json_from_text(n->usage_json, json_object()),
        *foreign = json_from_text(n->foreign_usage_json, json_object());
    struct per_pool x = { 0 };
    int64_t pools = 0;
    if (!o)
        return NULL;
    int failed = json_set_str(o, "hostname", n->name) | set_exposed(o, n, amounts_of(alloc), &x.names);
    failed |= json_set(o, "taints", v->set.taints[node] ? json_ref(v->set.taints[node]) : json_array());
    failed |= json_set(o, "usage_fields", raw_fields(usage)) | json_set(o, "conditions", NULL);
    failed |= json_set(o, "non_workflow_usage_fields", json_ref(foreign));
    failed |= json_set(o, "allocatable_fields", raw_fields(alloc));
    failed |= set_fresh(o, "platform_allocatable_fields", &x.allocatable) |
        set_fresh(o, "platform_available_fields", &x.available);
    failed |= set_fresh(o, "platform_workflow_allocatable_fields", &x.workflow) |
        set_fresh(o, "config_fields", &x.config);
    failed |= json_set_str(o, "backend", n->backend) | json_set(o, "label_fields", NULL) |
        set_fresh(o, "pool_platform_labels", &x.labels);
    if (failed || add_pools(v, node, &x, amounts_of(alloc), amounts_of(usage), amounts_of(foreign), &pools) < 0)
        return NULL;
    *served = x.pools > 0;
    failed = json_set_str(o, "resource_type", pools > 1 ? "SHARED" : pools ? "RESERVED" : "UNUSED");
    return failed ? NULL : STEAL(o);
}

static json_t *numbers(struct amounts a) {
    json_t *o = json_object();
    if (o && !(json_set_double(o, "storage", a.storage / GIB) | json_set_double(o, "cpu", a.cpu) |
               json_set_double(o, "memory", a.memory / GIB) | json_set_double(o, "gpu", a.gpu)))
        return o;
    json_free(o);
    return NULL;
}

static json_t *concise_entry(const struct view *v, const struct pool *p, const struct platform *pl) {
    struct amounts used = { 0 }, alloc = { 0 };
    for (size_t i = 0; i < v->set.n; i++) {
        if (!node_serves_platform(&v->set, i, p, pl))
            continue;
        _cleanup_json_ json_t *a = json_from_text(v->set.nodes[i].allocatable_json, NULL),
            *u = json_from_text(v->set.nodes[i].usage_json, NULL);
        struct amounts na = amounts_of(a), nu = amounts_of(u), zero = { 0 };
        alloc = minus(alloc, minus(zero, na));
        used = minus(used, minus(zero, nu));
    }
    json_t *o = json_object();
    const char *status = p->enable_maintenance ? "MAINTENANCE" : strlist_has(&v->online, p->backend) ? "ONLINE" : "OFFLINE";
    if (o && !(json_set_str(o, "pool", p->name) | json_set_str(o, "platform", pl->name) |
               json_set_str(o, "backend", p->backend) |
               json_set_str(o, "status", status) | json_set(o, "usage_fields", numbers(used)) |
                   json_set(o, "allocatable_fields", numbers(alloc))))
        return o;
    json_free(o);
    return NULL;
}

static json_t *concise_list(const struct view *v) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < v->s->npools; i++) {
        const struct pool *p = &v->s->pools[i];
        for (size_t j = 0; list && j < p->nplatforms; j++) {
            if (!wanted(v, p, &p->platforms[j]))
                continue;
            json_t *o = concise_entry(v, p, &p->platforms[j]);
            if (!o || json_add(list, o) < 0) {
                json_free(list);
                list = NULL;
            }
        }
    }
    return list;
}

static json_t *node_list(const struct view *v, const char *only) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < v->set.n; i++) {
        bool served = false;
        if ((only && !str_eq(only, v->set.nodes[i].name)) || (!only && !v->set.nodes[i].available))
            continue;
        json_t *o = node_json(v, i, &served);
        if (o && !served && !only) {
            json_free(o);
        } else if (!o || json_add(list, o) < 0) {
            json_free(list);
            list = NULL;
        }
    }
    return list;
}

/* A caller without a pool sees nothing rather than everything. */
static int limit_pools(struct view *v, osmo_error_t *err) {
    const strlist_t *pools = query_all(v->c, "pools");
    bool all;
    int rc = query_bool(v->c, "all_pools", false, &all, err);
    v->limited = rc >= 0 && !all && (!pools || !pools->len);
    return v->limited ? access_pools(v->c->engine, &v->c->who, &v->allowed, err) : rc;
}

static int view_open(struct call *c, struct view *v, osmo_error_t *err) {
    v->c = c;
    v->s = engine_settings(c->engine);
    int rc = node_set_load(c, &v->set, err);
    return rc < 0 ? rc : backends_online(c, &v->online, err);
}

static void view_close(struct view *v) {
    node_set_clear(&v->set);
    strlist_free(&v->online);
    strlist_free(&v->allowed);
    engine_settings_put(v->s);
}

/* Takes the list. */
static int answer_named(struct call *c, const char *name, json_t *list) {
    json_t *o = list ? json_object() : NULL;
    if (!o) {
        json_free(list);
        return OSMO_ENOMEM;
    }
    int rc = json_set(o, name, list);
    if (rc >= 0)
        return answer_json(c, 200, o);
    json_free(o);
    return rc;
}

int get_resources(struct call *c, osmo_error_t *err) {
    struct view v = { 0 };
    bool concise;
    int rc = query_bool(c, "concise", false, &concise, err);
    if (rc < 0)
        return rc;
    rc = view_open(c, &v, err);
    if (rc >= 0)
        rc = limit_pools(&v, err);
    if (rc >= 0)
        rc = concise ? answer_named(c, "pools", concise_list(&v)) : answer_named(c, "resources", node_list(&v, NULL));
    view_close(&v);
    return rc;
}

int get_resource(struct call *c, osmo_error_t *err) {
    struct view v = { 0 };
    int rc = view_open(c, &v, err);
    if (rc >= 0) {
        json_t *list = node_list(&v, c->params[0]);
        if (list && !json_len(list)) {
            json_free(list);
            rc = osmo_error_set(err, OSMO_ENOTFOUND, "Node %s does not exist; osmo resource list shows the nodes",
                                c->params[0]);
        } else {
            rc = answer_named(c, "resources", list);
        }
    }
    view_close(&v);
    return rc;
}
