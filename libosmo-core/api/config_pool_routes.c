/* Pools as administrators write them: /api/configs/pool and what is below it. What is shown is what was written, with defaults for the
 * rest; `verbose` adds what follows from it. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/config_objects.h"
#include "model/spec.h"

/* ---- bodies ---- */

static int unprocessable(struct call *c, const char *field, const char *type, const char *message, osmo_error_t *err) {
    int rc = answer_unprocessable(c, "body", field, type, message);
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "%s: %s", field, message);
}

/* What may stand beside every payload. */
static int check_remark(struct call *c, const json_t *body, osmo_error_t *err) {
    const json_t *description = json_get(body, "description"), *tags = json_get(body, "tags");
    if (description && !json_str(description))
        return unprocessable(c, "description", "string_type", "Input should be a valid string", err);
    if (tags && json_kind(tags) != JSON_ARRAY)
        return unprocessable(c, "tags", "list_type", "Input should be a valid list", err);
    for (size_t i = 0; i < json_len(tags); i++)
        if (!json_str(json_at(tags, i)))
            return unprocessable(c, "tags", "string_type", "Input should be a list of strings", err);
    return 0;
}

int config_payload(struct call *c, const char *member, enum json_kind kind, json_t **body, json_t **payload, osmo_error_t *err) {
    int rc = body_json(c, body, err);
    if (rc >= 0)
        rc = check_remark(c, *body, err);
    if (rc < 0)
        return rc;
    *payload = json_get(*body, member);
    if (!*payload)
        return unprocessable(c, member, "missing", "Field required", err);
    if (json_kind(*payload) == kind)
        return 0;
    return kind == JSON_OBJECT  ? unprocessable(c, member, "dict_type", "Input should be a JSON object", err)
           : kind == JSON_ARRAY ? unprocessable(c, member, "list_type", "Input should be a valid list", err)
                                : unprocessable(c, member, "string_type", "Input should be a valid string", err);
}

int config_remark(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    if (!c->rq->body_len && !c->rq->body_file)
        return 0;
    int rc = body_json(c, &body, err);
    return rc < 0 ? rc : check_remark(c, body, err);
}

/* ---- what is shown ---- */

struct view {
    const struct settings *settings;
    struct backend_row *backends;
    size_t nbackends;
    int64_t now;
    bool verbose;
};

static int view_open(struct call *c, struct view *v, osmo_error_t *err) {
    db_t *db;
    *v = (struct view){ .now = engine_now(c->engine) };
    int rc = query_bool(c, "verbose", false, &v->verbose, err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_list(db, &v->backends, &v->nbackends, err);
    if (rc >= 0)
        v->settings = engine_settings(c->engine);
    return rc;
}

static void view_close(struct view *v) {
    backend_rows_free(v->backends, v->nbackends);
    if (v->settings)
        engine_settings_put(v->settings);
}

static int set_members(json_t *o, const json_t *document, const struct config_member *members) {
    for (const struct config_member *m = members; m->key; m++) {
        json_t *v = json_get(document, m->key);
        if (json_set(o, m->key, v ? json_copy(v) : json_from_text(m->fallback, NULL)) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

static int set_parsed(json_t *o, const char *validations, const char *template) {
    int failed = json_set(o, "parsed_resource_validations", json_from_text(validations, json_array()));
    failed |= json_set(o, "parsed_pod_template", json_from_text(template, json_object()));
    failed |= json_set(o, "parsed_pod_template_for_accounting", json_from_text(template, json_object()));
    return failed;
}

static int set_tolerations(json_t *o, const struct platform *p) {
    json_t *list = json_from_text(p->tolerations_json, json_array());
    for (size_t i = 0; i < json_len(list); i++) {
        json_t *one = json_at(list, i);
        if (json_kind(one) == JSON_OBJECT && !json_has(one, "operator") && json_set_str(one, "operator", "Equal") < 0)
            return json_free(list), OSMO_ENOMEM;
    }
    return json_set(o, "tolerations", list);
}

static json_t *platform_json(const struct platform *p, const json_t *document, bool verbose) {
    _cleanup_json_ json_t *o = json_object();
    int failed = o ? set_members(o, document, platform_members) : OSMO_ENOMEM;
    if (!failed && verbose) {
        failed |= json_set_strs(o, "default_mounts", &p->default_mounts);
        failed |= set_tolerations(o, p);
        failed |= json_set(o, "labels", json_from_text(p->labels_json, json_object()));
        failed |= set_parsed(o, p->validations_json, p->pod_template_json);
    }
    return failed ? NULL : STEAL(o);
}

static json_t *platforms_json(const struct pool *p, const json_t *document, bool verbose) {
    _cleanup_json_ json_t *all = json_object();
    const json_t *written = json_get(document, "platforms");
    for (size_t i = 0; all && i < p->nplatforms; i++) {
        json_t *one = platform_json(&p->platforms[i], json_get(written, p->platforms[i].name), verbose);
        if (!one || json_set(all, p->platforms[i].name, one) < 0)
            return NULL;
    }
    return STEAL(all);
}

/* Shares that were given, whole. */
static int set_resources(json_t *o, const struct pool *p, const json_t *document) {
    const json_t *given = json_path(document, "resources", "gpu", NULL);
    json_t *resources = json_object(), *gpu = given ? json_object() : NULL;
    int failed = json_set(o, "resources", resources);
    if (gpu) {
        failed |= json_set_int(gpu, "guarantee", p->gpu_guarantee);
        failed |= json_set_int(gpu, "maximum", p->gpu_maximum);
        failed |= json_set_int(gpu, "weight", json_get_int(given, "weight", 1));
    }
    if (!resources || (given && !gpu)) {
        json_free(gpu);
        return OSMO_ENOMEM;
    }
    return failed | json_set(resources, "gpu", gpu);
}

static int set_inherited(json_t *o, const char *key, int64_t own, int64_t inherited) {
    char text[32];
    return json_set_str(o, key, duration_text(own ? own : inherited, text));
}

static int set_derived(json_t *o, const struct view *v, const struct pool *p, const struct backend_row *backend) {
    const struct settings *s = v->settings;
    int failed = set_inherited(o, "default_exec_timeout", p->default_exec_timeout_us, s->default_exec_timeout_us);
    failed |= set_inherited(o, "default_queue_timeout", p->default_queue_timeout_us, s->default_queue_timeout_us);
    failed |= set_inherited(o, "max_exec_timeout", p->max_exec_timeout_us, s->max_exec_timeout_us);
    failed |= set_inherited(o, "max_queue_timeout", p->max_queue_timeout_us, s->max_queue_timeout_us);
    failed |= json_set_time(o, "last_heartbeat", backend ? backend->heartbeat_us : 0);
    failed |= set_parsed(o, p->validations_json, p->pod_template_json);
    return failed | json_set(o, "parsed_group_templates", json_from_text(p->group_templates_json, json_array()));
}

static json_t *pool_json(const struct view *v, const struct pool *p) {
    _cleanup_json_ json_t *o = json_object(), *document = json_from_text(p->document_json, json_object());
    const struct backend_row *backend = NULL;
    for (size_t i = 0; i < v->nbackends && !backend; i++)
        backend = str_eq(v->backends[i].name, p->backend) ? &v->backends[i] : NULL;
    bool online = backend && v->now - backend->heartbeat_us <= BACKEND_ONLINE_US;
    if (!o || !document)
        return NULL;
    int failed = json_set_str(o, "name", p->name);
    failed |= json_set_str(o, "status", p->enable_maintenance ? "MAINTENANCE" : online ? "ONLINE" : "OFFLINE");
    failed |= set_members(o, document, pool_members);
    failed |= set_resources(o, p, document);
    failed |= json_set(o, "platforms", platforms_json(p, document, v->verbose));
    if (v->verbose)
        failed |= set_derived(o, v, p, backend);
    return failed ? NULL : STEAL(o);
}

static int find_pool(const struct view *v, const char *name, const struct pool **out, osmo_error_t *err) {
    *out = settings_pool(v->settings, name);
    return *out ? 0 : osmo_error_set(err, OSMO_EUSER, "Pool %s does not exist; osmo config list POOL shows the pools", name);
}

int get_config_pools(struct call *c, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    _cleanup_json_ json_t *o = json_object();
    const char *backend = query_get(c, "backend");
    json_t *pools = json_object();
    int rc = o && json_set(o, "pools", pools) >= 0 ? 0 : OSMO_ENOMEM;
    int opened = view_open(c, &v, err);
    rc = rc < 0 ? rc : opened;
    for (size_t i = 0; rc >= 0 && i < v.settings->npools; i++) {
        const struct pool *p = &v.settings->pools[i];
        if (backend && !str_eq(p->backend, backend))
            continue;
        json_t *one = pool_json(&v, p);
        rc = one ? json_set(pools, p->name, one) : OSMO_ENOMEM;
    }
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

static int show_pool(struct call *c, bool whole, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    const struct pool *p = NULL;
    int rc = view_open(c, &v, err);
    v.verbose |= whole;
    if (rc >= 0)
        rc = find_pool(&v, c->params[0], &p, err);
    if (rc < 0)
        return rc;
    json_t *o = pool_json(&v, p);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

int get_config_pool(struct call *c, osmo_error_t *err) { return show_pool(c, false, err); }

int get_config_platforms(struct call *c, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    const struct pool *p = NULL;
    int rc = view_open(c, &v, err);
    if (rc >= 0)
        rc = find_pool(&v, c->params[0], &p, err);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *document = json_from_text(p->document_json, json_object());
    json_t *o = platforms_json(p, document, v.verbose);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

int get_config_platform(struct call *c, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    const struct pool *p = NULL;
    int rc = view_open(c, &v, err);
    if (rc >= 0)
        rc = find_pool(&v, c->params[0], &p, err);
    const struct platform *pl = rc >= 0 ? pool_platform(p, c->params[1]) : NULL;
    if (rc >= 0 && !pl)
        rc = osmo_error_set(err, OSMO_EUSER, "Pool %s has no platform %s", c->params[0], c->params[1]);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *document = json_from_text(p->document_json, json_object());
    json_t *o = platform_json(pl, json_get(json_get(document, "platforms"), pl->name), v.verbose);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

/* ---- changes ---- */

/* A configuration from a file is no matter of the body. */
static int change(struct call *c, struct pool_edit *edit, const char *member, enum json_kind kind, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    json_t *payload = NULL;
    int rc = config_writable(c->engine, err);
    if (rc >= 0)
        rc = config_payload(c, member, kind, &body, &payload, err);
    edit->document = payload;
    edit->new_name = json_str(payload);
    return rc < 0 ? rc : config_edit_pools(c->engine, edit, err);
}

int put_config_pools(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = POOLS_PUT };
    int rc = change(c, &e, "configs", JSON_OBJECT, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_pool(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = POOLS_PUT };
    _cleanup_json_ json_t *body = NULL, *pools = json_object();
    json_t *payload = NULL;
    int rc = pools ? config_writable(c->engine, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = config_payload(c, "configs", JSON_OBJECT, &body, &payload, err);
    if (rc >= 0)
        rc = json_set(pools, c->params[0], json_ref(payload));
    e.document = pools;
    if (rc >= 0)
        rc = config_edit_pools(c->engine, &e, err);
    return rc < 0 ? rc : answer_null(c);
}

int patch_config_pool(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = POOL_PATCH, .pool = c->params[0] };
    int rc = change(c, &e, "configs_dict", JSON_OBJECT, err);
    return rc < 0 ? rc : show_pool(c, true, err);
}

int delete_config_pool(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = POOL_DELETE, .pool = c->params[0] };
    int rc = config_remark(c, err);
    if (rc >= 0)
        rc = config_edit_pools(c->engine, &e, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_pool_rename(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = POOL_RENAME, .pool = c->params[0] };
    int rc = change(c, &e, "new_name", JSON_STRING, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_platform(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = PLATFORM_PUT, .pool = c->params[0], .platform = c->params[1] };
    int rc = change(c, &e, "configs", JSON_OBJECT, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_platform_rename(struct call *c, osmo_error_t *err) {
    struct pool_edit e = { .kind = PLATFORM_RENAME, .pool = c->params[0], .platform = c->params[1] };
    int rc = change(c, &e, "new_name", JSON_STRING, err);
    return rc < 0 ? rc : answer_null(c);
}
