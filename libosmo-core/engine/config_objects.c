/* See config_objects.h. A pool is a row of kind "pool"; what is null in the store is a built-in pool that was deleted. */
#include "base/error.h"
#include "engine/config_objects.h"

#include <string.h>

#include "base/cleanup.h"
#include "engine/engine_internal.h"
#include "engine/replicas.h"
#include "store/repo_auth.h"
#include "store/repo_pool.h"

#define KIND_POOL "pool"
#define OBJECTS_MAX_BYTES (16u << 20) /* of all, as much as a file may have */

/* ---- what there is ---- */

static int add_row(json_t *pools, const struct config_row *r, osmo_error_t *err) {
    json_t *v = NULL;
    int rc = json_parse(r->body, strlen(r->body), &v, err);
    if (rc < 0)
        return osmo_error_prefix(err, "pool %s in the database is not readable", r->name);
    if (!v)
        json_del(pools, r->name);
    else if (json_set(pools, r->name, v) < 0)
        return no_memory(err);
    return 0;
}

/* Name → document: the built-in ones and those of the store. */
static int read_pools(db_t *db, json_t **out, osmo_error_t *err) {
    struct config_row *rows = NULL;
    size_t n = 0;
    _cleanup_json_ json_t *pools = NULL;
    int rc = settings_builtin_pools(&pools, err);
    if (rc >= 0)
        rc = repo_config_list(db, KIND_POOL, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = add_row(pools, &rows[i], err);
    config_rows_free(rows, n);
    *out = rc < 0 ? NULL : STEAL(pools);
    return rc;
}

/* Borrows pools. */
static int parse(json_t *pools, const char *what, struct settings **out, osmo_error_t *err) {
    _cleanup_json_ json_t *document = json_object();
    if (!document || json_set(document, "pools", json_ref(pools)) < 0)
        return no_memory(err);
    return settings_from_json(document, what, out, err);
}

int config_stored(engine_t *e, struct settings **out, osmo_error_t *err) {
    _cleanup_json_ json_t *pools = NULL;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = read_pools(db, &pools, err);
    return rc < 0 ? rc : parse(pools, "the configuration in the database", out, err);
}

/* ---- changes ---- */

static int check_gone(db_t *db, const json_t *before, const json_t *after, osmo_error_t *err) {
    int64_t ongoing = 0;
    for (json_iter_t it = json_iter(before); json_iter_next(&it);) {
        if (json_has(after, it.key))
            continue;
        int rc = repo_pool_ongoing(db, it.key, &ongoing, err);
        if (rc < 0)
            return rc;
        if (ongoing)
            return osmo_error_set(err, OSMO_EUSER, "Pool %s has %lld unfinished workflow%s; cancel %s, or set enable_maintenance and wait"
                                  " until %s finished", it.key, (long long)ongoing, ongoing == 1 ? "" : "s", ongoing == 1 ? "it" : "them",
                                  ongoing == 1 ? "it is" : "they are");
    }
    return 0;
}

/* They must be read again, all of them, at the next start. */
static int check_whole(json_t *after, osmo_error_t *err) {
    struct settings *s = NULL;
    _cleanup_free_ char *text = json_to_text(after);
    if (!text)
        return no_memory(err);
    if (strlen(text) > OBJECTS_MAX_BYTES)
        return osmo_error_set(err, OSMO_ELIMIT, "the configuration would have %zu bytes; %u is the most", strlen(text), OBJECTS_MAX_BYTES);
    int rc = parse(after, "the configuration", &s, err);
    settings_free(s);
    return rc;
}

static int write_changed(db_t *db, const json_t *before, const json_t *after, osmo_error_t *err) {
    for (json_iter_t it = json_iter(after); json_iter_next(&it);) {
        const json_t *old = json_get(before, it.key);
        if (old == it.value || (old && json_equal(old, it.value)))
            continue;
        _cleanup_free_ char *text = json_to_text(it.value);
        int rc = text ? repo_config_put(db, KIND_POOL, it.key, text, err) : no_memory(err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_gone(db_t *db, const json_t *before, const json_t *after, osmo_error_t *err) {
    _cleanup_json_ json_t *builtin = NULL;
    int rc = settings_builtin_pools(&builtin, err);
    for (json_iter_t it = json_iter(before); rc >= 0 && json_iter_next(&it);) {
        bool there;
        if (json_has(after, it.key))
            continue;
        rc = json_has(builtin, it.key) ? repo_config_put(db, KIND_POOL, it.key, "null", err)
                                       : repo_config_delete(db, KIND_POOL, it.key, &there, err);
    }
    return rc;
}

static int change_run(db_t *db, void *ctx, osmo_error_t *err) {
    _cleanup_json_ json_t *before = NULL, *after = json_object();
    int rc = after ? repo_config_lock(db, err) : no_memory(err);
    if (rc >= 0)
        rc = read_pools(db, &before, err);
    for (json_iter_t it = json_iter(before); rc >= 0 && json_iter_next(&it);)
        rc = json_set(after, it.key, json_ref(it.value)) < 0 ? no_memory(err) : 0;
    if (rc >= 0)
        rc = pools_edit(after, ctx, err);
    if (rc >= 0)
        rc = check_gone(db, before, after, err);
    if (rc >= 0)
        rc = check_whole(after, err);
    if (rc >= 0)
        rc = write_changed(db, before, after, err);
    return rc < 0 ? rc : write_gone(db, before, after, err);
}

int config_writable(engine_t *e, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool from_file = s->from_file;
    engine_settings_put(s);
    return from_file ? osmo_error_set(err, OSMO_ECONFLICT, "the configuration of this service comes from a file and is changed there, not"
                                      " through the API; the service takes the changed file by itself") : 0;
}

int config_edit_pools(engine_t *e, const struct pool_edit *edit, osmo_error_t *err) {
    struct pool_edit copy = *edit;
    int rc = config_writable(e, err);
    if (rc >= 0)
        rc = store_write(e->store, NULL, change_run, &copy, err);
    if (rc < 0)
        return rc;
    replicas_hint(e, HINT_CONFIG, NULL);
    rc = engine_reload(e, err);
    if (rc < 0) {
        hint_apply(e, HINT_CONFIG, NULL); /* where several services share the database somebody tries again */
        osmo_error_prefix(err, "the change is stored, and counts here when the database can be read again");
    }
    return rc;
}
