/* Pools as users see them, and their GPU quota. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "model/node_match.h"
#include "model/spec.h"

static int set_duration(json_t *o, const char *key, int64_t us) {
    char text[32];
    return json_set_str(o, key, us > 0 ? duration_text(us, text) : "");
}

static int set_platforms(json_t *pool, const struct pool *p) {
    json_t *all = json_object();
    int failed = json_set(pool, "platforms", all);
    for (size_t i = 0; !failed && i < p->nplatforms; i++) {
        const struct platform *pl = &p->platforms[i];
        json_t *o = json_object();
        failed = !o || json_set(all, pl->name, o);
        if (failed)
            break;
        failed |= json_set_str(o, "description", pl->description ? pl->description : "");
        failed |= json_set_bool(o, "host_network_allowed", pl->host_network_allowed);
        failed |= json_set_bool(o, "privileged_allowed", pl->privileged_allowed);
        failed |= json_set_strs(o, "allowed_mounts", &pl->allowed_mounts);
        failed |= json_set_strs(o, "default_mounts", &pl->default_mounts);
    }
    return failed;
}

static int set_gpu(json_t *pool, const struct pool *p, bool with_gpu) {
    bool limited = with_gpu || p->gpu_guarantee != -1 || p->gpu_maximum != -1;
    json_t *resources = json_object(), *gpu = limited ? json_object() : NULL;
    int failed = json_set(pool, "resources", resources);
    if (gpu) {
        failed |= json_set_int(gpu, "guarantee", p->gpu_guarantee);
        failed |= json_set_int(gpu, "maximum", p->gpu_maximum);
        failed |= json_set_int(gpu, "weight", 1);
    }
    return failed | (resources ? json_set(resources, "gpu", gpu) : OSMO_ENOMEM);
}

static json_t *pool_to_json(const struct pool *p, bool online, bool with_gpu) {
    json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "name", p->name) |
        json_set_str(o, "description", p->description ? p->description : "");
    failed |= json_set_str(o, "status", p->enable_maintenance ? "MAINTENANCE" : online ? "ONLINE" : "OFFLINE");
    failed |= json_set_text(o, "download_type", p->download_type);
    failed |= json_set_bool(o, "enable_maintenance", p->enable_maintenance);
    failed |= json_set_str(o, "backend", p->backend ? p->backend : "");
    failed |= json_set_text(o, "default_platform", p->default_platform);
    failed |= set_duration(o, "default_exec_timeout", p->default_exec_timeout_us);
    failed |= set_duration(o, "default_queue_timeout", p->default_queue_timeout_us);
    failed |= set_duration(o, "max_exec_timeout", p->max_exec_timeout_us);
    failed |= set_duration(o, "max_queue_timeout", p->max_queue_timeout_us);
    failed |= json_set(o, "default_exit_actions", json_from_text(p->default_exit_actions_json, json_object()));
    failed |= set_gpu(o, p, with_gpu);
    failed |= json_set(o, "topology_keys", json_from_text(p->topology_keys_json, json_array()));
    failed |= set_platforms(o, p);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static bool pool_wanted(struct call *c, const char *name) {
    const strlist_t *pools = query_all(c, "pools");
    return !pools || !pools->len || strlist_has(pools, name);
}

/* ---- quota ---- */

struct usage { int64_t used, total; };            /* GPUs of running tasks: without LOW, and all */
struct quota {
    const struct settings *settings;
    struct node_set nodes;
    bool *serves;                                  /* node × pools + pool */
    double *gpus, *busy;                           /* per node: allocatable, in use by anybody */
    size_t *set_of;                                /* per pool: node set = lowest pool index in it */
    struct usage *usage;                           /* per pool */
    strlist_t online;
};

static void quota_clear(struct quota *q) {
    node_set_clear(&q->nodes);
    free(q->serves);
    free(q->gpus);
    free(q->busy);
    free(q->set_of);
    free(q->usage);
    strlist_free(&q->online);
    if (q->settings)
        engine_settings_put(q->settings);
}

static double gpu_in(const char *json) {
    _cleanup_json_ json_t *v = json_from_text(json, NULL);
    return node_quantity(v, "nvidia.com/gpu");
}

static void join_sets(struct quota *q, size_t a, size_t b) {
    size_t from = q->set_of[a] > q->set_of[b] ? q->set_of[a] : q->set_of[b];
    size_t to = q->set_of[a] > q->set_of[b] ? q->set_of[b] : q->set_of[a];
    for (size_t i = 0; i < q->settings->npools; i++) {
        if (q->set_of[i] == from)
            q->set_of[i] = to;
    }
}

static bool serves(const struct quota *q, size_t node, size_t pool) {
    return q->serves[node * q->settings->npools + pool];
}

static bool has_nodes(const struct quota *q, size_t pool) {
    for (size_t n = 0; n < q->nodes.n; n++) {
        if (serves(q, n, pool))
            return true;
    }
    return false;
}

/* Pools that share a node belong together; so do the pools without nodes of one backend. */
static void build_sets(struct quota *q) {
    const struct settings *s = q->settings;
    for (size_t i = 0; i < s->npools; i++)
        q->set_of[i] = i;
    for (size_t n = 0; n < q->nodes.n; n++) {
        size_t first = s->npools;
        for (size_t i = 0; i < s->npools; i++) {
            q->serves[n * s->npools + i] = node_serves_pool(&q->nodes, n, &s->pools[i]);
            if (!serves(q, n, i))
                continue;
            if (first == s->npools)
                first = i;
            else
                join_sets(q, first, i);
        }
    }
    for (size_t a = 0; a < s->npools; a++) {
        for (size_t b = 0; b < a; b++) {
            if (str_eq(s->pools[a].backend, s->pools[b].backend) && !has_nodes(q, a) && !has_nodes(q, b))
                join_sets(q, a, b);
        }
    }
}

static int add_running(struct quota *q, db_t *db, const struct workflow_row *w, osmo_error_t *err) {
    struct task_row *tasks = NULL;
    size_t n = 0, pool = 0;
    while (pool < q->settings->npools && !str_eq(q->settings->pools[pool].name, w->pool))
        pool++;
    if (pool == q->settings->npools)
        return 0;
    int rc = repo_tasks_of_workflow(db, w->uuid, false, &tasks, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        int64_t gpus = tasks[i].sm.status == STATUS_RUNNING ? (int64_t)tasks[i].gpu : 0;
        q->usage[pool].total += gpus;
        q->usage[pool].used += str_eq(w->priority, "LOW") ? 0 : gpus;
    }
    task_rows_free(tasks, n);
    return rc;
}

/* Only where there are GPUs can tasks be using some. */
static int count_running(struct call *c, struct quota *q, osmo_error_t *err) {
    struct workflow_filter f = { .all_users = true, .all_pools = true, .limit = 1000 };
    struct workflow_row *rows = NULL;
    size_t n = 0;
    double gpus = 0;
    db_t *db;
    for (size_t i = 0; i < q->nodes.n; i++)
        gpus += q->gpus[i];
    if (gpus < 1)
        return 0;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = strlist_add(&f.statuses, "RUNNING");
    if (rc >= 0)
        rc = repo_workflow_list(db, &f, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = add_running(q, db, &rows[i], err);
    workflow_rows_free(rows, n);
    strlist_free(&f.statuses);
    return rc;
}

static int quota_load(struct call *c, struct quota *q, osmo_error_t *err) {
    q->settings = engine_settings(c->engine);
    int rc = node_set_load(c, &q->nodes, err);
    if (rc >= 0)
        rc = backends_online(c, &q->online, err);
    if (rc < 0)
        return rc;
    q->serves = calloc(q->nodes.n * q->settings->npools + 1, sizeof *q->serves);
    q->gpus = calloc(q->nodes.n + 1, sizeof *q->gpus);
    q->busy = calloc(q->nodes.n + 1, sizeof *q->busy);
    q->set_of = calloc(q->settings->npools + 1, sizeof *q->set_of);
    q->usage = calloc(q->settings->npools + 1, sizeof *q->usage);
    if (!q->serves || !q->gpus || !q->busy || !q->set_of || !q->usage)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < q->nodes.n; i++) {
        q->gpus[i] = gpu_in(q->nodes.nodes[i].allocatable_json);
        q->busy[i] = gpu_in(q->nodes.nodes[i].usage_json) + gpu_in(q->nodes.nodes[i].foreign_usage_json);
    }
    build_sets(q);
    return count_running(c, q, err);
}

struct gpu_numbers { int64_t used, free_quota, limit, usage, capacity, free_gpus; };

/* The client reads these as text. */
static json_t *numbers_json(const struct gpu_numbers *n) {
    const struct { const char *key; int64_t value; } rows[] = { { "quota_used", n->used },
        { "quota_free", n->free_quota },
        { "quota_limit", n->limit }, { "total_usage", n->usage }, { "total_capacity", n->capacity },
            { "total_free", n->free_gpus } };
    json_t *o = json_object();
    for (size_t i = 0; o && i < ARRAY_SIZE(rows); i++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)rows[i].value);
        if (json_set_str(o, rows[i].key, text) < 0) {
            json_free(o);
            return NULL;
        }
    }
    return o;
}

static struct gpu_numbers pool_numbers(const struct quota *q, size_t pool) {
    struct gpu_numbers n = { .used = q->usage[pool].used, .usage = q->usage[pool].total };
    double capacity = 0, busy = 0;
    for (size_t i = 0; i < q->nodes.n; i++) {
        bool in_set = false;
        for (size_t p = 0; !in_set && p < q->settings->npools; p++)
            in_set = q->set_of[p] == q->set_of[pool] && serves(q, i, p);
        capacity += in_set ? q->gpus[i] : 0;
        busy += in_set ? q->busy[i] : 0;
    }
    n.capacity = (int64_t)floor(capacity);
    n.free_gpus = (int64_t)floor(capacity - busy);
    n.limit = q->settings->pools[pool].gpu_guarantee >= 0 ? q->settings->pools[pool].gpu_guarantee : n.capacity;
    n.free_quota = n.limit - n.used;
    return n;
}

static json_t *quota_pool(const struct quota *q, size_t i, const struct gpu_numbers *n) {
    const struct pool *p = &q->settings->pools[i];
    json_t *o = pool_to_json(p, strlist_has(&q->online, p->backend), true);
    if (o && json_set(o, "resource_usage", numbers_json(n)) >= 0)
        return o;
    json_free(o);
    return NULL;
}

/* One node set; capacity counts once per set in the sum. */
static int add_set(struct call *c, const struct quota *q, size_t set, json_t *sets, struct gpu_numbers *sum) {
    _cleanup_json_ json_t *o = json_object();
    json_t *pools = json_array();
    bool counted = false;
    if (!o || json_set(o, "pools", pools) < 0)
        return OSMO_ENOMEM;
    for (size_t i = set; i < q->settings->npools; i++) {
        if (q->set_of[i] != set || !pool_wanted(c, q->settings->pools[i].name))
            continue;
        struct gpu_numbers n = pool_numbers(q, i);
        json_t *p = quota_pool(q, i, &n);
        if (!p || json_add(pools, p) < 0)
            return OSMO_ENOMEM;
        sum->used += n.used;
        sum->free_quota += n.free_quota;
        sum->limit += n.limit;
        sum->usage += n.usage;
        sum->capacity += counted ? 0 : n.capacity;
        sum->free_gpus += counted ? 0 : n.free_gpus;
        counted = true;
    }
    return json_len(pools) ? json_add(sets, STEAL(o)) : 0;
}

static json_t *quota_sets(struct call *c, const struct quota *q, struct gpu_numbers *sum) {
    json_t *sets = json_array();
    for (size_t i = 0; sets && i < q->settings->npools; i++) {
        if (q->set_of[i] == i && add_set(c, q, i, sets, sum) < 0) {
            json_free(sets);
            return NULL;
        }
    }
    return sets;
}

int get_pool_quota(struct call *c, osmo_error_t *err) {
    struct quota q = { 0 };
    struct gpu_numbers sum = { 0 };
    _cleanup_json_ json_t *o = json_object();
    int rc = quota_load(c, &q, err);
    if (rc >= 0) {
        json_t *sets = quota_sets(c, &q, &sum);
        rc = o && sets && json_set(o, "node_sets", json_ref(sets)) >= 0 &&
            json_set(o, "resource_sum", numbers_json(&sum)) >= 0 ? 0 : OSMO_ENOMEM;
        json_free(sets);
    }
    quota_clear(&q);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

/* The map under `pools` is what clients show; `node_sets` lets the client pick the pool when there is only one. */
int get_pools(struct call *c, osmo_error_t *err) {
    struct quota q = { 0 };
    struct gpu_numbers sum = { 0 };
    _cleanup_json_ json_t *o = json_object();
    json_t *pools = NULL;
    int rc = o ? quota_load(c, &q, err) : OSMO_ENOMEM;
    if (rc >= 0) {
        pools = json_object();
        rc = pools ? json_set(o, "pools", pools) : OSMO_ENOMEM;
    }
    for (size_t i = 0; rc >= 0 && i < q.settings->npools; i++) {
        const struct pool *p = &q.settings->pools[i];
        if (!pool_wanted(c, p->name))
            continue;
        json_t *v = pool_to_json(p, strlist_has(&q.online, p->backend), false);
        rc = v ? json_set(pools, p->name, v) : OSMO_ENOMEM;
    }
    if (rc >= 0)
        rc = json_set(o, "node_sets", quota_sets(c, &q, &sum));
    quota_clear(&q);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}
