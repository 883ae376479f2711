/* Backends as operators, the client and administrators see and change them: /api/configs/backend. What the operators said when they
 * connected comes from the store, the rest is configuration. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/backends.h"
#include "engine/config_objects.h"

/* ---- what is shown ---- */

static json_t *scheduler_json(const struct backend_settings *b) {
    json_t *o = json_object();
    if (o && json_set_str(o, "scheduler_type", b ? b->scheduler_type : "kai") >= 0 &&
        json_set_str(o, "scheduler_name", b ? b->scheduler_name : "kai-scheduler") >= 0 &&
        json_set_int(o, "scheduler_timeout", b ? b->scheduler_timeout : 30) >= 0)
        return o;
    json_free(o);
    return NULL;
}

static json_t *conditions_json(const struct backend_settings *b, const struct backend_row *row) {
    const char *text = b && b->node_rules_json ? b->node_rules_json : "{\"Ready\":\"True\"}";
    json_t *o = json_object(), *rules = json_from_text(text, json_object());
    if (o && rules && json_set(o, "rules", rules) >= 0 &&
        json_set_str(o, "prefix", row && row->node_prefix ? row->node_prefix : "osmo.nvidia.com/") >= 0)
        return o;
    if (!o)
        json_free(rules);
    json_free(o);
    return NULL;
}

/* Our own members, where they were given. */
static int set_own(json_t *o, const struct backend_settings *b) {
    static const char *const keys[] = { "offline", "job_timeout" };
    _cleanup_json_ json_t *document = b ? json_from_text(b->document_json, json_object()) : NULL;
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        json_t *v = json_get(document, keys[i]);
        if (v)
            failed |= json_set(o, keys[i], json_ref(v));
    }
    return failed;
}

static const char *or_empty(const char *text) { return text ? text : ""; }

/* What the operator brought; row NULL: nobody has connected yet. */
static int set_row(struct call *c, json_t *o, const struct backend_row *r) {
    int failed = json_set_str(o, "version", r ? or_empty(r->version) : "");
    failed |= json_set_str(o, "k8s_uid", r ? or_empty(r->k8s_uid) : "");
    failed |= json_set_str(o, "k8s_namespace", r ? or_empty(r->k8s_namespace) : "");
    failed |= json_set_time(o, "last_heartbeat", r ? (r->heartbeat_us ? r->heartbeat_us : r->created_us) : 0);
    failed |= json_set_time(o, "created_date", r ? r->created_us : 0);
    failed |= json_set_bool(o, "online", r && engine_now(c->engine) - r->heartbeat_us <= BACKEND_ONLINE_US);
    failed |= json_set_str(o, "status", r ? or_empty(r->status) : "");
    return failed;
}

static json_t *backend_json(struct call *c, const char *name, const struct backend_settings *b, const struct backend_row *r) {
    const char *router = b ? or_empty(b->router_address) : "", *base = call_base_url(c);
    static const strlist_t none;
    _cleanup_free_ char *own = !*router && str_starts(base, "http") ? str_printf("ws%s", base + 4) : NULL;
    _cleanup_json_ json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = json_set_str(o, "name", name);
    failed |= json_set_str(o, "description", b ? or_empty(b->description) : "");
    failed |= set_row(c, o, r);
    failed |= json_set_str(o, "dashboard_url", b ? b->dashboard_url : "");
    failed |= json_set_str(o, "grafana_url", b ? b->grafana_url : "");
    failed |= json_set_strs(o, "tests", b ? &b->tests : &none);
    failed |= json_set(o, "scheduler_settings", scheduler_json(b));
    failed |= json_set(o, "node_conditions", conditions_json(b, r));
    failed |= json_set_str(o, "router_address", own ? own : router);
    failed |= set_own(o, b);
    return failed ? NULL : STEAL(o);
}

struct view { const struct settings *settings; struct backend_row *rows; size_t n; };

static int view_open(struct call *c, struct view *v, osmo_error_t *err) {
    db_t *db;
    *v = (struct view){ 0 };
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_list(db, &v->rows, &v->n, err);
    v->settings = engine_settings(c->engine);
    return rc;
}

static void view_close(struct view *v) {
    backend_rows_free(v->rows, v->n);
    if (v->settings)
        engine_settings_put(v->settings);
}

static const struct backend_row *view_row(const struct view *v, const char *name) {
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(v->rows[i].name, name))
            return &v->rows[i];
    return NULL;
}

/* One that is configured is there although nobody has connected yet; the one that is built in is not, unless a file says so. */
static bool is_shown(const struct view *v, const struct backend_settings *b) {
    return b && (v->settings->from_file || !str_eq(b->name, "default") || !str_eq(b->description, "Built-in backend"));
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* By name. */
static int view_names(const struct view *v, strlist_t *names) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < v->n; i++)
        rc = strlist_add(names, v->rows[i].name);
    for (size_t i = 0; rc >= 0 && i < v->settings->nbackends; i++)
        if (is_shown(v, &v->settings->backends[i]) && !view_row(v, v->settings->backends[i].name))
            rc = strlist_add(names, v->settings->backends[i].name);
    if (rc >= 0 && names->len)
        qsort(names->items, names->len, sizeof *names->items, by_name);
    return rc;
}

int get_backends(struct call *c, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    _cleanup_json_ json_t *o = json_object();
    strlist_t names = { 0 };
    json_t *list = json_array();
    int rc = view_open(c, &v, err);
    if (rc >= 0 && (!o || !list || json_set(o, "backends", list) < 0))
        rc = OSMO_ENOMEM;
    if (rc >= 0)
        rc = view_names(&v, &names);
    for (size_t i = 0; rc >= 0 && i < names.len; i++) {
        const char *name = names.items[i];
        if (c->who.backend && !str_eq(c->who.backend, name))
            continue;
        json_t *b = backend_json(c, name, settings_backend(v.settings, name), view_row(&v, name));
        rc = b ? json_add(list, b) : OSMO_ENOMEM;
    }
    strlist_free(&names);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

int get_backend(struct call *c, osmo_error_t *err) {
    _cleanup_(view_close) struct view v;
    const char *name = c->params[0];
    int rc = view_open(c, &v, err);
    const struct backend_settings *b = settings_backend(v.settings, name);
    const struct backend_row *row = view_row(&v, name);
    if (rc >= 0 && !row && !is_shown(&v, b))
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "Backend %s does not exist; a backend appears when its operator first connects", name);
    if (rc < 0)
        return rc;
    json_t *o = backend_json(c, name, b, row);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

int backends_online(struct call *c, strlist_t *online, osmo_error_t *err) {
    struct backend_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int64_t now = engine_now(c->engine);
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_list(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (now - rows[i].heartbeat_us <= BACKEND_ONLINE_US && strlist_add(online, rows[i].name) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    backend_rows_free(rows, n);
    return rc;
}

/* ---- changes ---- */

int post_backend(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    json_t *payload = NULL;
    int rc = config_writable(c->engine, err);
    if (rc >= 0)
        rc = config_payload(c, "configs", JSON_OBJECT, &body, &payload, err);
    if (rc >= 0)
        rc = backend_update(c->engine, c->params[0], payload, err);
    return rc < 0 ? rc : answer_null(c);
}

/* {"force": bool} in the body, or as a query parameter. */
static int read_force(struct call *c, bool *force, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    int rc = query_bool(c, "force", false, force, err);
    if (rc < 0 || (!c->rq->body_len && !c->rq->body_file))
        return rc;
    rc = body_json(c, &body, err);
    if (rc < 0 || !json_has(body, "force"))
        return rc;
    if (json_kind(json_get(body, "force")) != JSON_BOOL) {
        rc = answer_unprocessable(c, "body", "force", "bool_type", "Input should be a valid boolean");
        return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "force: Input should be a valid boolean");
    }
    *force = json_get_bool(body, "force", false);
    return 0;
}

int delete_backend(struct call *c, osmo_error_t *err) {
    bool force = false;
    int rc = config_writable(c->engine, err);
    if (rc >= 0)
        rc = config_remark(c, err);
    if (rc >= 0)
        rc = read_force(c, &force, err);
    if (rc >= 0)
        rc = backend_delete(c->engine, c->params[0], force, err);
    return rc < 0 ? rc : answer_null(c);
}
