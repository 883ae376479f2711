/* Configuration reads that operators and the client need: backends as the agent handshake registered them. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"

static json_t *scheduler_json(const struct backend_settings *b) {
    json_t *o = json_object();
    if (o && json_set_str(o, "scheduler_type", "kai") >= 0 &&
        json_set_str(o, "scheduler_name", b && b->scheduler_name ? b->scheduler_name : "kai-scheduler") >= 0 &&
        json_set_int(o, "scheduler_timeout", 30) >= 0)
        return o;
    json_free(o);
    return NULL;
}

static json_t *conditions_json(const struct backend_settings *b, const struct backend_row *row) {
    json_t *o = json_object(), *rules = json_from_text(b ? b->node_rules_json : NULL, json_object());
    if (o && rules && json_set(o, "rules", rules) >= 0 &&
        json_set_str(o, "prefix", row->node_prefix && *row->node_prefix ? row->node_prefix : "osmo.nvidia.com/") >= 0)
        return o;
    if (!o)
        json_free(rules);
    json_free(o);
    return NULL;
}

static json_t *backend_json(struct call *c, const struct settings *s, const struct backend_row *r) {
    const struct backend_settings *b = settings_backend(s, r->name);
    const char *router = b && b->router_address ? b->router_address : "", *base = call_base_url(c);
    _cleanup_free_ char *own = !*router && str_starts(base, "http") ? str_printf("ws%s", base + 4) : NULL;
    _cleanup_json_ json_t *o = json_object();
    if (!o)
        return NULL;
    int failed = 0;
    failed |= json_set_str(o, "name", r->name);
    failed |= json_set_str(o, "description", b && b->description ? b->description : "");
    failed |= json_set_str(o, "version", r->version ? r->version : "");
    failed |= json_set_str(o, "k8s_uid", r->k8s_uid ? r->k8s_uid : "");
    failed |= json_set_str(o, "k8s_namespace", r->k8s_namespace ? r->k8s_namespace : "");
    failed |= json_set_str(o, "dashboard_url", "");
    failed |= json_set_str(o, "grafana_url", "");
    failed |= json_set(o, "tests", json_array());
    failed |= json_set(o, "scheduler_settings", scheduler_json(b));
    failed |= json_set(o, "node_conditions", conditions_json(b, r));
    failed |= json_set_time(o, "last_heartbeat", r->heartbeat_us ? r->heartbeat_us : r->created_us);
    failed |= json_set_time(o, "created_date", r->created_us);
    failed |= json_set_str(o, "router_address", own ? own : router);
    failed |= json_set_bool(o, "online", engine_now(c->engine) - r->heartbeat_us <= BACKEND_ONLINE_US);
    return failed ? NULL : STEAL(o);
}

int get_backends(struct call *c, osmo_error_t *err) {
    struct backend_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_list(db, &rows, &n, err);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    const struct settings *s = engine_settings(c->engine);
    bool failed = !list;
    for (size_t i = 0; !failed && i < n; i++) {
        if (c->who.backend && !str_eq(c->who.backend, rows[i].name))
            continue;
        json_t *b = backend_json(c, s, &rows[i]);
        failed = !b || json_add(list, b) < 0;
    }
    engine_settings_put(s);
    backend_rows_free(rows, n);
    failed |= !o || json_set(o, "backends", STEAL(list)) < 0;
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_backend(struct call *c, osmo_error_t *err) {
    struct backend_row r = { 0 };
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_get(db, c->params[0], &r, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, rc, "Backend %s does not exist; a backend appears when its operator first connects",
                              c->params[0]);
    if (rc < 0)
        return rc;
    const struct settings *s = engine_settings(c->engine);
    json_t *o = backend_json(c, s, &r);
    engine_settings_put(s);
    backend_row_clear(&r);
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
