/* The rule of a route applied to a request: on what it is done is read from the path, the roles of the caller decide (engine/access.h),
 * and tokens of tasks and backends reach their own only. Called by service.c and ws.c, once for every request that needs an identity. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "engine/access.h"

#define POOLS "pool/"
#define CONFIGS "/api/configs"

bool call_may(struct call *c, enum action action, const char *resource) {
    return access_decide(c->engine, &c->who, action, resource) == VERDICT_ALLOW;
}

bool call_may_all(struct call *c) { return call_may(c, ACTION_NONE, NULL); }

/* What to ask for, without telling what the caller may not know: `on` is what it named itself. */
static int refuse(const struct call *c, enum action a, const char *kind, const char *on, osmo_error_t *err) {
    _cleanup_free_ char *what = a || !c->route ? str_dup(a ? action_name(a) : "this")
                                               : str_printf("%s %s", c->route->method, c->route->pattern);
    if (!what)
        return no_memory(err);
    if (c->who.workflow_id)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: the token of a task does not allow %s%s%s%.200s; use a token of your own",
                              what, *on ? " on " : "", kind, on);
    if (c->who.backend)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: the token of backend %.60s does not allow %s%s%s%.200s", c->who.backend,
                              what, *on ? " on " : "", kind, on);
    if (!a)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: %s is for administrators; ask for a role that allows *:* on *", what);
    if (!*on)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: ask an administrator for a role that allows %s", action_name(a));
    return osmo_error_set(err, OSMO_EDENIED, "access denied: ask an administrator for a role that allows %s on %s%.200s", action_name(a),
                          kind, on);
}

/* Takes `resource`. */
static int decide(struct call *c, enum action a, char *resource, osmo_error_t *err) {
    if (!resource)
        return no_memory(err);
    free(c->resource);
    c->resource = resource;
    return call_may(c, a, resource) ? 0 : refuse(c, a, "", resource, err);
}

/* ---- workflows ---- */

static int pool_of(struct call *c, const char *workflow, char **pool, char **user, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    db_t *db;
    *pool = NULL;
    *user = NULL;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow, &w, err);
    if (rc >= 0) {
        *pool = STEAL(w.pool);
        *user = STEAL(w.user);
    }
    workflow_row_clear(&w);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* Workflows that are not there and those of foreign pools are refused alike, except to those who may see all. The roles of a task are not
 * its user's: it sees what is her own. */
static int workflow_allowed(struct call *c, enum action a, const char *id_or_uuid, char **resource, osmo_error_t *err) {
    _cleanup_free_ char *pool = NULL;
    _cleanup_free_ char *user = NULL;
    if (!c->who.workflow_id && access_allows_all(c->engine, &c->who, a, POOLS))
        return 0;
    int rc = pool_of(c, id_or_uuid, &pool, &user, err);
    if (rc < 0)
        return rc;
    *resource = pool ? str_printf(POOLS "%s", pool) : NULL;
    if (pool && !*resource)
        return no_memory(err);
    bool visible = pool && (!c->who.workflow_id || str_eq(user, c->who.user));
    return visible && call_may(c, a, *resource) ? 0 : refuse(c, a, "the pool of workflow ", id_or_uuid, err);
}

int call_authorize_workflow(struct call *c, enum action a, const char *id_or_uuid, osmo_error_t *err) {
    _cleanup_free_ char *resource = NULL;
    return workflow_allowed(c, a, id_or_uuid, &resource, err);
}

int call_workflow_pool(struct call *c, char **resource, osmo_error_t *err) {
    _cleanup_free_ char *pool = NULL;
    _cleanup_free_ char *user = NULL;
    int rc = pool_of(c, c->params[0], &pool, &user, err);
    if (rc < 0)
        return rc;
    *resource = str_printf(POOLS "%s", pool ? pool : "");
    return *resource ? 0 : no_memory(err);
}

static int on_workflow(struct call *c, enum action a, osmo_error_t *err) {
    return workflow_allowed(c, a, c->params[0], &c->resource, err);
}

/* What one is denied to read is in no list. */
static bool is_listed(struct call *c, enum action a, const char *resource) {
    return call_may(c, a, resource) && access_decide(c->engine, &c->who, ACTION_WORKFLOW_READ, resource) != VERDICT_DENY;
}

int call_pools(struct call *c, enum action a, strlist_t *pools, osmo_error_t *err) {
    if (access_allows_all(c->engine, &c->who, a, POOLS) &&
        access_decide(c->engine, &c->who, ACTION_WORKFLOW_READ, NULL) != VERDICT_DENY) /* a denial on any pool is one without a pool */
        return 0;
    const struct settings *s = engine_settings(c->engine);
    strlist_t kept = { 0 };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < (pools->len ? pools->len : s->npools); i++) {
        const char *pool = pools->len ? pools->items[i] : s->pools[i].name;
        _cleanup_free_ char *resource = str_printf(POOLS "%s", pool);
        if (!resource || (is_listed(c, a, resource) && strlist_add(&kept, pool) < 0))
            rc = no_memory(err);
    }
    engine_settings_put(s);
    if (rc >= 0 && !kept.len && strlist_add(&kept, "") < 0) /* no pool has this name */
        rc = no_memory(err);
    strlist_free(pools);
    *pools = kept;
    return rc;
}

static int on_storage(struct call *c, enum action a, osmo_error_t *err) {
    if (c->who.workflow_id && str_eq(c->who.workflow_id, c->params[0]))
        return 0;
    if (!a)
        return call_may_all(c) ? 0 : osmo_error_set(err, OSMO_EDENIED,
                                                    "access denied: data of workflow %.100s is written by its own tasks", c->params[0]);
    return on_workflow(c, a, err);
}

/* ---- what is bound to a task or a backend ---- */

static bool is_that_attempt(const struct call *c) {
    int64_t retry;
    return c->who.workflow_id && c->who.task_name && str_eq(c->who.workflow_id, c->params[0]) &&
        str_eq(c->who.task_name, c->params[1]) && str_to_i64(c->params[2], &retry) && c->who.retry_id == retry;
}

static int on_attempt(struct call *c, enum action a, osmo_error_t *err) {
    if (call_may_all(c) || (is_that_attempt(c) && call_may(c, a, NULL)))
        return 0;
    return osmo_error_set(err, OSMO_EDENIED, "access denied: the token is not the one of task %.80s of workflow %.80s, attempt %.20s",
                          c->params[1], c->params[0], c->params[2]);
}

static int on_session(struct call *c, enum action a, osmo_error_t *err) {
    if (call_may_all(c) || (str_eq(c->who.workflow_id, c->params[0]) && c->who.workflow_id && call_may(c, a, NULL)))
        return 0;
    return osmo_error_set(err, OSMO_EDENIED, "access denied: the token is not the one of a task of workflow %.80s", c->params[0]);
}

/* "/api/configs/backend/{}": "config/backend" */
static int on_config(struct call *c, enum action a, const char *pattern, osmo_error_t *err) {
    const char *kind = str_starts(pattern, CONFIGS "/") ? pattern + strlen(CONFIGS "/") : "*";
    char *resource = str_printf("config/%.*s", (int)strcspn(kind, "/"), kind);
    int rc = decide(c, a, resource, err);
    bool foreign = c->who.backend && c->params[0] && !str_eq(c->params[0], c->who.backend);
    return rc >= 0 && foreign && str_starts(kind, "backend/") ? refuse(c, a, "", c->params[0], err) : rc;
}

/* ---- users ---- */

static int on_user(struct call *c, enum action a, osmo_error_t *err) {
    free(c->resource);
    c->resource = str_printf("user/%s", c->params[0]);
    if (!c->resource)
        return no_memory(err);
    enum policy_verdict v = access_decide(c->engine, &c->who, a, c->resource);
    if (v == VERDICT_NONE && str_eq(c->params[0], c->who.user))
        v = access_decide(c->engine, &c->who, a, NULL);
    return v == VERDICT_ALLOW ? 0 : refuse(c, a, "", c->resource, err);
}

/* ---- all of them ---- */

static int authorize(struct call *c, enum action a, enum scope scope, const char *pattern, bool now, osmo_error_t *err) {
    switch (scope) {
    case SCOPE_NONE:
        return call_may(c, a, NULL) ? 0 : refuse(c, a, "", "", err);
    case SCOPE_POOL:
        return decide(c, a, str_printf(POOLS "%s", c->params[0]), err);
    case SCOPE_WORKFLOW:
        if (now)
            return access_allows_some(c->engine, &c->who, a, POOLS) ? 0 : refuse(c, a, "the pool of workflow ", c->params[0], err);
        return on_workflow(c, a, err);
    case SCOPE_SOME_POOL:
        return access_allows_some(c->engine, &c->who, a, POOLS) ? 0 : refuse(c, a, "", "a pool", err);
    case SCOPE_CONFIG:
        return on_config(c, a, pattern, err);
    case SCOPE_BACKEND:
        return decide(c, a, str_printf("backend/%s", c->params[0]), err);
    case SCOPE_USER:
        return on_user(c, a, err);
    case SCOPE_STORAGE:
        return on_storage(c, a, err);
    case SCOPE_ATTEMPT:
        return on_attempt(c, a, err);
    case SCOPE_SESSION:
        return on_session(c, a, err);
    }
    return refuse(c, a, "", "", err);
}

int call_authorize(struct call *c, enum action action, enum scope scope, const char *pattern, osmo_error_t *err) {
    return authorize(c, action, scope, pattern, false, err);
}

int call_authorize_now(struct call *c, enum action action, enum scope scope, const char *pattern, osmo_error_t *err) {
    return authorize(c, action, scope, pattern, true, err);
}
