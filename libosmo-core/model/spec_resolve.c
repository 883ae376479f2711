/* A parsed specification meets its pool: platforms, timeouts, and environment overlays. Pure. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/spec_internal.h"

static void place_resource(struct spec_resource *x, const struct pool *pool, struct spec_findings *f)
{
    if (x->platform)
        return;
    if (!pool->default_platform || !*pool->default_platform) {
        _cleanup_free_ char *path = str_printf("workflow.resources.%.200s", x->name);
        spec_findings_add(f, OSMO_ERESOURCE, path, x->line, x->column, "resource '%.80s' names no platform and pool "
                          "'%.80s' has no default platform: add platform to the resource", x->name, pool->name);
        return;
    }
    x->platform = str_dup(pool->default_platform);
    f->oom |= !x->platform;
}

/* Keys must be the pool's, also those of entries that no task uses. */
static void check_topology_keys(const struct spec *s, const struct pool *pool, struct spec_findings *f)
{
    _cleanup_json_ json_t *keys = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    if (pool->topology_keys_json &&
        json_parse(pool->topology_keys_json, strlen(pool->topology_keys_json), &keys, &err) == OSMO_ENOMEM)
        f->oom = true;
    for (size_t i = 0; i < s->nresources; i++) {
        const struct spec_resource *x = &s->resources[i];
        for (size_t k = 0; k < x->ntopology; k++) {
            bool known = false;
            for (size_t j = 0; j < json_len(keys) && !known; j++)
                known = str_eq(json_get_str(json_at(keys, j), "key"), x->topology[k].key);
            if (known)
                continue;
            _cleanup_free_ char *path = str_printf("workflow.resources.%.200s.topology.%zu.key", x->name, k);
            _cleanup_buf_ buf_t names = BUF_INIT(1200);
            for (size_t j = 0; j < json_len(keys) && names.len < 300; j++)
                buf_printf(&names, "%s%.80s", j ? ", " : "", json_get_str(json_at(keys, j), "key"));
            spec_findings_add(f, OSMO_ESUBMISSION, path, x->line, x->column, "resource '%.80s' uses topology key "
                              "'%.80s', which pool '%.80s' does not have (it has: %s)", x->name, x->topology[k].key,
                                  pool->name,
                              names.len ? buf_cstr(&names) : "none");
        }
    }
}

int spec_place(struct spec *s, const struct pool *pool, struct spec_findings *f)
{
    for (size_t i = 0; i < s->nresources; i++)
        place_resource(&s->resources[i], pool, f);
    check_topology_keys(s, pool, f);
    for (size_t i = 0; i < s->ngroups; i++)
        for (size_t k = 0; k < s->groups[i].ntasks; k++) {
            const struct spec_task *t = &s->groups[i].tasks[k];
            if (!spec_find_resource(s, t->resource))
                spec_report_task(f, OSMO_ERESOURCE, s, i, k, "task '%.80s' uses resource '%.80s', which is not "
                                 "declared under resources", t->name, t->resource);
        }
    return spec_findings_code(f);
}

static int64_t effective(int64_t given, int64_t pool_default, int64_t default_us, int64_t pool_max, int64_t max_us)
{
    int64_t us = given ? given : pool_default ? pool_default : default_us;
    int64_t most = pool_max ? pool_max : max_us;
    return most > 0 && us > most ? most : us;
}

void spec_set_timeouts(struct spec *s, const struct settings *settings, const struct pool *pool)
{
    s->exec_timeout_us = effective(s->given_exec_us, pool->default_exec_timeout_us, settings->default_exec_timeout_us,
                                   pool->max_exec_timeout_us, settings->max_exec_timeout_us);
    s->queue_timeout_us = effective(s->given_queue_us, pool->default_queue_timeout_us,
                                    settings->default_queue_timeout_us,
                                    pool->max_queue_timeout_us, settings->max_queue_timeout_us);
}

int spec_resolve(struct spec *s, const struct settings *settings, const struct pool *pool, osmo_error_t *err)
{
    _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
    int rc = spec_place(s, pool, &f);

    if (rc == 0)
        rc = spec_check_platforms(s, pool, &f);
    if (rc == 0)
        rc = spec_check_addresses(s, &f);
    spec_set_timeouts(s, settings, pool);
    return spec_findings_result(&f, "the workflow", err);
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
                                  "NAME=VALUE",
                                  i + 1);
        if (equals == item)
            return osmo_error_set(err, OSMO_EUSAGE, "environment variable %zu of the request has no name before '='",
                                  i + 1);
        for (size_t g = 0; g < s->ngroups; g++)
            for (size_t k = 0; k < s->groups[g].ntasks; k++)
                if (set_env(&s->groups[g].tasks[k], item, (size_t)(equals - item), equals + 1) < 0)
                    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}
