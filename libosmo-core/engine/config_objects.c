/* See config_objects.h. What is null in the store is a built-in object that was deleted. */
#include "base/error.h"
#include "engine/config_objects.h"

#include <string.h>

#include "base/cleanup.h"
#include "engine/engine_internal.h"
#include "engine/replicas.h"
#include "store/repo_auth.h"
#include "store/repo_pool.h"

#define OBJECTS_MAX_BYTES (16u << 20) /* of all, as much as a file may have */

/* Each object is a row of its kind; together they are a section of the configuration, as a file has it. */
static const struct section { const char *kind, *name; } sections[] = {
    { "pool", "pools" },
    { "backend", "backends" },
    { "backend_test", "backend_tests" },
};

/* ---- what there is ---- */

static int add_row(json_t *objects, const struct config_row *r, osmo_error_t *err) {
    json_t *v = NULL;
    int rc = json_parse(r->body, strlen(r->body), &v, err);
    if (rc < 0)
        return osmo_error_prefix(err, "%s %s in the database is not readable", r->kind, r->name);
    if (!v)
        json_del(objects, r->name);
    else if (json_set(objects, r->name, v) < 0)
        return no_memory(err);
    return 0;
}

/* Name → document: the built-in ones and those of the store. */
static int read_section(db_t *db, const struct section *section, json_t **out, osmo_error_t *err) {
    struct config_row *rows = NULL;
    size_t n = 0;
    _cleanup_json_ json_t *objects = NULL;
    int rc = settings_builtin(section->name, &objects, err);
    if (rc >= 0)
        rc = repo_config_list(db, section->kind, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = add_row(objects, &rows[i], err);
    config_rows_free(rows, n);
    *out = rc < 0 ? NULL : STEAL(objects);
    return rc;
}

static int read_document(db_t *db, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *document = json_object();
    int rc = document ? 0 : no_memory(err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(sections); i++) {
        json_t *objects;
        rc = read_section(db, &sections[i], &objects, err);
        if (rc >= 0 && json_set(document, sections[i].name, objects) < 0)
            rc = no_memory(err);
    }
    *out = rc < 0 ? NULL : STEAL(document);
    return rc;
}

int config_stored(engine_t *e, struct settings **out, osmo_error_t *err) {
    _cleanup_json_ json_t *document = NULL;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = read_document(db, &document, err);
    return rc < 0 ? rc : settings_from_json(document, "the configuration in the database", out, err);
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
    int rc = settings_from_json(after, "the configuration", &s, err);
    settings_free(s);
    return rc;
}

static int write_changed(db_t *db, const char *kind, const json_t *before, const json_t *after, osmo_error_t *err) {
    for (json_iter_t it = json_iter(after); json_iter_next(&it);) {
        const json_t *old = json_get(before, it.key);
        if (old == it.value || (old && json_equal(old, it.value)))
            continue;
        _cleanup_free_ char *text = json_to_text(it.value);
        int rc = text ? repo_config_put(db, kind, it.key, text, err) : no_memory(err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_gone(db_t *db, const struct section *section, const json_t *before, const json_t *after, osmo_error_t *err) {
    _cleanup_json_ json_t *builtin = NULL;
    int rc = settings_builtin(section->name, &builtin, err);
    for (json_iter_t it = json_iter(before); rc >= 0 && json_iter_next(&it);) {
        bool there;
        if (json_has(after, it.key))
            continue;
        rc = json_has(builtin, it.key) ? repo_config_put(db, section->kind, it.key, "null", err)
                                       : repo_config_delete(db, section->kind, it.key, &there, err);
    }
    return rc;
}

/* Sections of their own, which may be changed; the objects in them are the same, and are replaced only. */
static int copy_sections(const json_t *before, json_t *after, osmo_error_t *err) {
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        json_t *objects = json_object();
        if (json_set(after, sections[i].name, objects) < 0 || !objects)
            return no_memory(err);
        for (json_iter_t it = json_iter(json_get(before, sections[i].name)); json_iter_next(&it);)
            if (json_set(objects, it.key, json_ref(it.value)) < 0)
                return no_memory(err);
    }
    return 0;
}

struct change { config_edit_fn edit; void *ctx; };

static int change_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct change *c = ctx;
    _cleanup_json_ json_t *before = NULL, *after = json_object();
    int rc = after ? repo_config_lock(db, err) : no_memory(err);
    if (rc >= 0)
        rc = read_document(db, &before, err);
    if (rc >= 0)
        rc = copy_sections(before, after, err);
    if (rc >= 0)
        rc = c->edit(db, after, c->ctx, err);
    if (rc >= 0)
        rc = check_gone(db, json_get(before, "pools"), json_get(after, "pools"), err);
    if (rc >= 0)
        rc = check_whole(after, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(sections); i++) {
        const json_t *old = json_get(before, sections[i].name), *new = json_get(after, sections[i].name);
        rc = write_changed(db, sections[i].kind, old, new, err);
        if (rc >= 0)
            rc = write_gone(db, &sections[i], old, new, err);
    }
    return rc;
}

int config_writable(engine_t *e, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool from_file = s->from_file;
    engine_settings_put(s);
    return from_file ? osmo_error_set(err, OSMO_ECONFLICT, "the configuration of this service comes from a file and is changed there, not"
                                      " through the API; the service takes the changed file by itself") : 0;
}

/* Committed: it is read again, here and in the other replicas. */
static int config_changed(engine_t *e, osmo_error_t *err) {
    replicas_hint(e, HINT_CONFIG, NULL);
    int rc = engine_reload(e, err);
    if (rc < 0) {
        hint_apply(e, HINT_CONFIG, NULL); /* where several services share the database somebody tries again */
        osmo_error_prefix(err, "the change is stored, and counts here when the database can be read again");
    }
    return rc;
}

int config_edit(engine_t *e, config_edit_fn edit, void *ctx, osmo_error_t *err) {
    struct change c = { edit, ctx };
    int rc = config_writable(e, err);
    if (rc >= 0)
        rc = store_write(e->store, NULL, change_run, &c, err);
    return rc < 0 ? rc : config_changed(e, err);
}

static int edit_pools(db_t *db, json_t *document, void *ctx, osmo_error_t *err) {
    (void)db;
    return pools_edit(json_get(document, "pools"), ctx, err);
}

int config_edit_pools(engine_t *e, const struct pool_edit *edit, osmo_error_t *err) {
    struct pool_edit copy = *edit;
    return config_edit(e, edit_pools, &copy, err);
}
