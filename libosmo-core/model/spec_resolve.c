/* A parsed specification meets its pool: platforms, timeouts, permissions, and environment overlays. Pure. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "model/spec_internal.h"

static int resolve_platforms(struct spec *s, const struct pool *pool, osmo_error_t *err)
{
    for (size_t i = 0; i < s->nresources; i++) {
        struct spec_resource *x = &s->resources[i];
        if (x->platform)
            continue;
        if (!pool->default_platform || !*pool->default_platform)
            return osmo_error_set(err, OSMO_ERESOURCE, "resource '%.80s' names no platform and pool '%.80s' has no "
                "default "
                                  "platform: add platform to the resource", x->name, pool->name);
        x->platform = str_dup(pool->default_platform);
        if (!x->platform)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}

static int platform_unknown(const struct spec_task *t, const char *name, const struct pool *pool, osmo_error_t *err)
{
    _cleanup_buf_ buf_t known = BUF_INIT(600);
    for (size_t i = 0; i < pool->nplatforms && known.len < 300; i++)
        buf_printf(&known, "%s%.80s", i ? ", " : "", pool->platforms[i].name);
    return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s' asks for platform '%.80s', which pool '%.80s' does "
        "not have (it has: %s)",
                          t->name, name, pool->name, buf_cstr(&known));
}

/* `src` or `src:dst`. */
static int check_mount(const struct spec_task *t, const char *mount, const struct platform *p, osmo_error_t *err)
{
    const char *colon = strchr(mount, ':');
    if (colon && (colon[1] == '\0' || strchr(colon + 1, ':')))
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s': volumeMounts item '%.200s' must be SOURCE or "
            "SOURCE:DESTINATION",
                              t->name, mount);
    _cleanup_free_ char *src = colon ? strndup(mount, (size_t)(colon - mount)) : strdup(mount);
    if (!src)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (strlist_has(&p->allowed_mounts, src))
        return 0;
    if (strlist_has(&p->default_mounts, src))
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s': '%.200s' is already mounted on platform '%.80s': "
            "remove it from "
                              "volumeMounts", t->name, src, p->name);
    return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s' may not mount '%.200s' on platform '%.80s': an "
        "administrator can add it to "
                          "allowed_mounts", t->name, src, p->name);
}

/* A percentage of the storage or a size. */
static bool cache_size_valid(const char *text)
{
    size_t len = strlen(text);
    double value;
    char *end;

    if (len == 0 || text[len - 1] != '%')
        return quantity_bytes(text, &value);
    value = strtod(text, &end);
    return end == text + len - 1 && end > text && floor(value) >= 0 && floor(value) <= 100;
}

static int check_permissions(const struct spec_task *t, const struct platform *p, osmo_error_t *err)
{
    if (t->privileged && !p->privileged_allowed)
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s' may not be privileged on platform '%.80s'",
            t->name, p->name);
    if (t->host_network && !p->host_network_allowed)
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s' may not use hostNetwork on platform '%.80s'",
            t->name, p->name);
    for (size_t i = 0; i < t->volume_mounts.len; i++) {
        int rc = check_mount(t, t->volume_mounts.items[i], p, err);
        if (rc < 0)
            return rc;
    }
    if (t->cache_size && !cache_size_valid(t->cache_size))
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s': cacheSize '%.60s' is neither a percentage from "
            "0%% to 100%% nor a "
                              "size such as 8Gi", t->name, t->cache_size);
    return 0;
}

static int check_addresses(const struct spec_task *t, osmo_error_t *err)
{
    if (!spec_image_valid(t->image))
        return osmo_error_set(err, OSMO_EUSAGE, "task '%.80s': '%.200s' is no image reference "
            "([host[:port]/]name[:tag][@digest], "
                              "the name in lower case)", t->name, t->image);
    for (size_t i = 0; i < t->ninputs + t->noutputs; i++) {
        const char *url = i < t->ninputs ? t->inputs[i].url : t->outputs[i - t->ninputs].url;
        if (url && !spec_url_valid(url))
            return osmo_error_set(err, OSMO_EUSAGE, "task '%.80s': '%.200s' is no storage address "
                "(s3://bucket/..., gs://, azure://, "
                                  "tos://, swift://)", t->name, url);
    }
    return 0;
}

static int resolve_task(const struct spec_task *t, const map_t *resources, const struct pool *pool, osmo_error_t *err)
{
    const struct spec_resource *x = map_get(resources, t->resource);
    if (!x)
        return osmo_error_set(err, OSMO_ERESOURCE, "task '%.80s' uses resource '%.80s', which is not declared "
            "under resources",
                              t->name, t->resource);
    const struct platform *p = pool_platform(pool, x->platform);
    if (!p)
        return platform_unknown(t, x->platform, pool, err);
    int rc = check_permissions(t, p, err);
    return rc < 0 ? rc : check_addresses(t, err);
}

/* Topology keys must be the pool's, and all tasks that state requirements must state the same set. */
static int check_topology(const struct spec *s, const struct pool *pool, osmo_error_t *err)
{
    _cleanup_json_ json_t *keys = NULL;
    if (pool->topology_keys_json && json_parse(pool->topology_keys_json, strlen(pool->topology_keys_json), &keys,
        err) < 0)
        return OSMO_EINTERNAL;
    for (size_t i = 0; i < s->nresources; i++) {
        for (size_t k = 0; k < s->resources[i].ntopology; k++) {
            bool known = false;
            for (size_t j = 0; j < json_len(keys) && !known; j++)
                known = str_eq(json_get_str(json_at(keys, j), "key"), s->resources[i].topology[k].key);
            if (!known)
                return osmo_error_set(err, OSMO_ESUBMISSION, "resource '%.80s' uses topology key '%.80s', which "
                    "pool '%.80s' does "
                                      "not have", s->resources[i].name, s->resources[i].topology[k].key, pool->name);
        }
    }
    return 0;
}

static bool same_keys(const struct spec_resource *a, const struct spec_resource *b)
{
    for (size_t i = 0; i < a->ntopology; i++) {
        bool found = false;
        for (size_t k = 0; k < b->ntopology && !found; k++)
            found = strcmp(a->topology[i].key, b->topology[k].key) == 0;
        if (!found)
            return false;
    }
    return true;
}

static int check_topology_uniform(const struct spec *s, const map_t *resources, osmo_error_t *err)
{
    const struct spec_resource *first = NULL, *last = NULL;
    for (size_t i = 0; i < s->ngroups; i++) {
        for (size_t k = 0; k < s->groups[i].ntasks; k++) {
            const struct spec_resource *x = map_get(resources, s->groups[i].tasks[k].resource);
            if (!x || x->ntopology == 0 || x == last)
                continue;
            last = x;
            if (!first)
                first = x;
            else if (!same_keys(first, x) || !same_keys(x, first))
                return osmo_error_set(err, OSMO_ERESOURCE, "resources '%.80s' and '%.80s' use different topology "
                    "keys: all tasks of a "
                                      "workflow that state a topology must use the same keys", first->name, x->name);
        }
    }
    return 0;
}

static int64_t effective(int64_t given, int64_t pool_default, int64_t default_us, int64_t pool_max, int64_t max_us)
{
    int64_t us = given ? given : pool_default ? pool_default : default_us;
    int64_t most = pool_max ? pool_max : max_us;
    return most > 0 && us > most ? most : us;
}

int spec_resolve(struct spec *s, const struct settings *settings, const struct pool *pool, osmo_error_t *err)
{
    map_t *resources = map_new(NULL);
    int rc = resources ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");

    for (size_t i = 0; i < s->nresources && rc == 0; i++)
        if (map_set(resources, s->resources[i].name, &s->resources[i]) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = resolve_platforms(s, pool, err);
    if (rc == 0)
        rc = check_topology(s, pool, err);
    if (rc == 0)
        rc = check_topology_uniform(s, resources, err);
    for (size_t i = 0; i < s->ngroups && rc == 0; i++)
        for (size_t k = 0; k < s->groups[i].ntasks && rc == 0; k++)
            rc = resolve_task(&s->groups[i].tasks[k], resources, pool, err);
    map_free(resources);
    s->exec_timeout_us = effective(s->given_exec_us, pool->default_exec_timeout_us, settings->default_exec_timeout_us,
                                   pool->max_exec_timeout_us, settings->max_exec_timeout_us);
    s->queue_timeout_us = effective(s->given_queue_us, pool->default_queue_timeout_us,
        settings->default_queue_timeout_us,
                                    pool->max_queue_timeout_us, settings->max_queue_timeout_us);
    return rc;
}

static int set_env(struct spec_task *t, const char *name, size_t len, const char *value)
{
    for (size_t i = 0; i < t->nenv; i++) {
        if (strncmp(t->env[i].name, name, len) != 0 || t->env[i].name[len] != '\0')
            continue;
        char *copy = str_dup(value);
        if (!copy)
            return OSMO_ENOMEM;
        free(t->env[i].value);
        t->env[i].value = copy;
        return 0;
    }
    struct spec_env *env = realloc(t->env, (t->nenv + 1) * sizeof(*env));
    if (!env)
        return OSMO_ENOMEM;
    t->env = env;
    env[t->nenv] = (struct spec_env){ strndup(name, len), str_dup(value) };
    if (!env[t->nenv].name || !env[t->nenv].value) {
        free(env[t->nenv].name);
        free(env[t->nenv].value);
        return OSMO_ENOMEM;
    }
    t->nenv++;
    return 0;
}

int spec_overlay_env(struct spec *s, const strlist_t *env_vars, osmo_error_t *err)
{
    for (size_t i = 0; i < env_vars->len; i++) {
        const char *item = env_vars->items[i], *equals = strchr(item, '=');
        if (!equals)
            return osmo_error_set(err, OSMO_EUSAGE, "environment variable %zu of the request must be written "
                "NAME=VALUE", i + 1);
        for (size_t g = 0; g < s->ngroups; g++)
            for (size_t k = 0; k < s->groups[g].ntasks; k++)
                if (set_env(&s->groups[g].tasks[k], item, (size_t)(equals - item), equals + 1) < 0)
                    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}
