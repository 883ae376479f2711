/* See pool_config.h. */
#include "model/pool_config.h"

#include <ctype.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"

const struct config_member pool_members[] = {
    { "description", "\"\"" },
    { "download_type", "null" },
    { "enable_maintenance", "false" },
    { "backend", "\"\"" },
    { "default_platform", "null" },
    { "default_exec_timeout", "\"\"" },
    { "default_queue_timeout", "\"\"" },
    { "max_exec_timeout", "\"\"" },
    { "max_queue_timeout", "\"\"" },
    { "default_exit_actions", "{}" },
    { "resources", "{\"gpu\":null}" },
    { "topology_keys", "[]" },
    { "common_default_variables", "{}" },
    { "common_resource_validations", "[]" },
    { "common_pod_template", "[]" },
    { "common_group_templates", "[]" },
    { "platforms", "{}" },
    { NULL, NULL },
};
const struct config_member platform_members[] = {
    { "description", "\"\"" },   { "host_network_allowed", "false" }, { "privileged_allowed", "false" },
    { "allowed_mounts", "[]" },  { "default_variables", "{}" },       { "resource_validations", "[]" },
    { "override_pod_template", "[]" }, { NULL, NULL },
};

bool config_name_valid(const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (!n || n > POOL_NAME_MAX || !isascii(name[0]) || !isalpha((unsigned char)name[0]) || !isascii(name[n - 1]) ||
        !isalnum((unsigned char)name[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isascii(name[i]) || (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])))
            return false;
    return true;
}

/* ---- changes ---- */

/* Takes v. */
static int put(json_t *object, const char *key, json_t *v, osmo_error_t *err) {
    return json_set(object, key, v) < 0 ? no_memory(err) : 0;
}

enum action { MERGE, REPLACE, DELETE };

static int read_action(const json_t *item, enum action *out, osmo_error_t *err) {
    const char *text = json_get_str(item, "$action");
    *out = MERGE;
    if (!json_has(item, "$action"))
        return 0;
    if (str_eq(text, "delete"))
        *out = DELETE;
    else if (str_eq(text, "replace"))
        *out = REPLACE;
    else
        return osmo_error_set(err, OSMO_EUSAGE, "\"$action\" must be \"delete\" or \"replace\"");
    return 0;
}

static bool are_objects(const json_t *list) {
    for (size_t i = 0; i < json_len(list); i++)
        if (json_kind(json_at(list, i)) != JSON_OBJECT)
            return false;
    return json_kind(list) == JSON_ARRAY && json_len(list);
}

static int merge_members(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *merged = json_kind(base) == JSON_OBJECT ? json_copy(base) : json_object();
    if (!merged)
        return no_memory(err);
    for (json_iter_t it = json_iter(patch); json_iter_next(&it);) {
        enum action a = MERGE;
        json_t *v = NULL;
        int rc = 0;
        if (str_eq(it.key, "$index") || str_eq(it.key, "$action"))
            continue;
        if (json_kind(it.value) == JSON_OBJECT)
            rc = read_action(it.value, &a, err);
        if (rc >= 0 && a == DELETE) {
            json_del(merged, it.key);
            continue;
        }
        if (rc >= 0)
            rc = config_patch(a == REPLACE ? NULL : json_get(merged, it.key), it.value, &v, err);
        if (rc >= 0)
            rc = put(merged, it.key, v, err);
        if (rc < 0)
            return rc;
    }
    *out = STEAL(merged);
    return 0;
}

/* The items of the list that is changed, each owned; NULL for a deleted one. */
struct slots { json_t **items; size_t n, len; };

static void slots_clear(struct slots *s) {
    for (size_t i = 0; i < s->len; i++)
        json_free(s->items[i]);
    free(s->items);
}

static int patch_item(struct slots *s, const json_t *item, osmo_error_t *err) {
    json_t *at = json_get(item, "$index");
    int64_t i = json_as_int(at, -1);
    enum action a;
    int rc = read_action(item, &a, err);
    if (rc < 0)
        return rc;
    if (json_has(item, "$index") && (json_kind(at) != JSON_INT || i < 0))
        return osmo_error_set(err, OSMO_EUSAGE, "\"$index\" must be the place of an item, from 0");
    bool there = at && (uint64_t)i < s->n;
    if (a == DELETE) {
        if (there) {
            json_free(s->items[i]);
            s->items[i] = NULL;
        }
        return 0;
    }
    json_t *v = NULL;
    rc = merge_members(there && a == MERGE ? s->items[i] : NULL, item, &v, err);
    if (rc < 0)
        return rc;
    size_t to = there ? (size_t)i : s->len++;
    if (there)
        json_free(s->items[i]);
    s->items[to] = v;
    return 0;
}

static int merge_items(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err) {
    _cleanup_(slots_clear) struct slots s = { .n = json_kind(base) == JSON_ARRAY ? json_len(base) : 0 };
    _cleanup_json_ json_t *list = json_array();
    s.items = calloc(s.n + json_len(patch) + 1, sizeof(json_t *));
    int rc = list && s.items ? 0 : no_memory(err);
    for (; rc >= 0 && s.len < s.n; s.len++)
        s.items[s.len] = json_ref(json_at(base, s.len));
    for (size_t i = 0; rc >= 0 && i < json_len(patch); i++)
        rc = patch_item(&s, json_at(patch, i), err);
    for (size_t i = 0; rc >= 0 && i < s.len; i++) {
        json_t *copy = s.items[i] ? json_copy(s.items[i]) : NULL;
        if (s.items[i] && (!copy || json_add(list, copy) < 0))
            rc = no_memory(err);
    }
    *out = rc < 0 ? NULL : STEAL(list);
    return rc;
}

int config_patch(const json_t *base, const json_t *patch, json_t **out, osmo_error_t *err) {
    *out = NULL;
    if (json_kind(patch) == JSON_OBJECT)
        return merge_members(base, patch, out, err);
    if (are_objects(patch))
        return merge_items(are_objects(base) ? base : NULL, patch, out, err);
    *out = json_copy(patch);
    return patch && !*out ? no_memory(err) : 0;
}

/* ---- pools ---- */

#define NO_NAME(of)                                                                                                                        \
    "'%.100s' is no name for a " of ": it begins with a letter, ends with a letter or digit and has only letters, digits, '.', '_' and"    \
    " '-' between"

/* Only what a pool or a platform has and is not null. */
static json_t *only(const json_t *document, const struct config_member *members) {
    json_t *out = json_object();
    for (const struct config_member *m = members; out && m->key; m++) {
        json_t *v = json_get(document, m->key), *copy = json_copy(v);
        if (v && (!copy || json_set(out, m->key, copy) < 0)) {
            json_free(out);
            return NULL;
        }
    }
    return out;
}

static int take_pool(json_t *pools, const char *name, const json_t *document, osmo_error_t *err) {
    _cleanup_json_ json_t *pool = only(document, pool_members);
    if (json_kind(document) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "pools.%.200s must be an object", name);
    const json_t *given = json_get(pool, "platforms");
    _cleanup_json_ json_t *platforms = json_object();
    if (!pool || !platforms)
        return no_memory(err);
    for (json_iter_t it = json_iter(given); json_iter_next(&it);) {
        if (!config_name_valid(it.key))
            return osmo_error_set(err, OSMO_EUSER, NO_NAME("platform"), it.key);
        /* what is no object is left for the reader of the whole to complain about */
        json_t *one = json_kind(it.value) == JSON_OBJECT ? only(it.value, platform_members) : json_copy(it.value);
        if ((it.value && !one) || json_set(platforms, it.key, one) < 0)
            return no_memory(err);
    }
    int rc = json_kind(given) == JSON_OBJECT ? put(pool, "platforms", STEAL(platforms), err) : 0;
    return rc < 0 ? rc : put(pools, name, STEAL(pool), err);
}

static int check_pool_name(const char *name, osmo_error_t *err) {
    return config_name_valid(name) ? 0 : osmo_error_set(err, OSMO_EUSER, NO_NAME("pool"), name);
}

static int edit_put(json_t *pools, const json_t *documents, osmo_error_t *err) {
    int rc = 0;
    for (json_iter_t it = json_iter(documents); rc >= 0 && json_iter_next(&it);) {
        rc = check_pool_name(it.key, err);
        if (rc >= 0)
            rc = take_pool(pools, it.key, it.value, err);
    }
    return rc;
}

static int edit_patch(json_t *pools, const json_t *pool, const struct pool_edit *e, osmo_error_t *err) {
    _cleanup_json_ json_t *v = NULL;
    int rc = config_patch(pool, e->document, &v, err);
    return rc < 0 ? rc : take_pool(pools, e->pool, v, err);
}

static int edit_rename(json_t *pools, json_t *pool, const struct pool_edit *e, osmo_error_t *err) {
    int rc = check_pool_name(e->new_name, err);
    if (rc >= 0 && json_has(pools, e->new_name))
        rc = osmo_error_set(err, OSMO_EEXISTS, "Pool %s exists already", e->new_name);
    if (rc >= 0)
        rc = put(pools, e->new_name, json_ref(pool), err);
    if (rc >= 0)
        json_del(pools, e->pool);
    return rc;
}

static int edit_platform(json_t *pools, const json_t *pool, const struct pool_edit *e, osmo_error_t *err) {
    _cleanup_json_ json_t *copy = json_copy(pool), *document = json_copy(e->document);
    json_t *platforms = json_get(copy, "platforms");
    if (!copy || !document)
        return no_memory(err);
    int rc = platforms ? 0 : put(copy, "platforms", platforms = json_object(), err);
    if (rc >= 0)
        rc = put(platforms, e->platform, STEAL(document), err);
    return rc < 0 ? rc : take_pool(pools, e->pool, copy, err);
}

static int edit_platform_rename(json_t *pools, const json_t *pool, const struct pool_edit *e, osmo_error_t *err) {
    _cleanup_json_ json_t *copy = json_copy(pool);
    json_t *platforms = json_get(copy, "platforms"), *one = json_get(platforms, e->platform);
    if (!copy)
        return no_memory(err);
    if (!one)
        return osmo_error_set(err, OSMO_EUSER, "Pool %s has no platform %s", e->pool, e->platform);
    if (json_has(platforms, e->new_name))
        return osmo_error_set(err, OSMO_EEXISTS, "Pool %s has a platform %s already", e->pool, e->new_name);
    int rc = put(platforms, e->new_name, json_ref(one), err);
    if (rc >= 0)
        json_del(platforms, e->platform);
    if (rc >= 0 && str_eq(json_get_str(copy, "default_platform"), e->platform) &&
        json_set_str(copy, "default_platform", e->new_name) < 0)
        rc = no_memory(err);
    return rc < 0 ? rc : take_pool(pools, e->pool, copy, err);
}

int pools_edit(json_t *pools, const struct pool_edit *edit, osmo_error_t *err) {
    json_t *pool = edit->pool ? json_get(pools, edit->pool) : NULL;
    int rc = 0;
    if (!pool && edit->kind != POOLS_PUT && edit->kind != POOL_DELETE)
        return osmo_error_set(err, OSMO_EUSER, "Pool %s does not exist; osmo config list POOL shows the pools", edit->pool);
    switch (edit->kind) {
    case POOLS_PUT: rc = edit_put(pools, edit->document, err); break;
    case POOL_PATCH: rc = edit_patch(pools, pool, edit, err); break;
    case POOL_DELETE: json_del(pools, edit->pool); break;
    case POOL_RENAME: rc = edit_rename(pools, pool, edit, err); break;
    case PLATFORM_PUT: rc = edit_platform(pools, pool, edit, err); break;
    case PLATFORM_RENAME: rc = edit_platform_rename(pools, pool, edit, err); break;
    }
    if (rc >= 0 && json_len(pools) > POOLS_MAX)
        rc = osmo_error_set(err, OSMO_ELIMIT, "there would be %zu pools; %d is the most", json_len(pools), POOLS_MAX);
    return rc;
}
