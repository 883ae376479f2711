/* Health, versions and the small read-only lists: users, plug-ins. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/audit.h"
#include "osmo/version.h"


int get_health(struct call *c, osmo_error_t *err) {
    (void)err;
    static const char ok[] = "{\"status\":\"OK\"}", unwell[] = "{\"status\":\"OK\",\"audit_log\":\"cannot be written\"}";
    return audit_is_well(c->engine) ? answer_text(c, 200, "application/json", ok, sizeof ok - 1)
                                    : answer_text(c, 200, "application/json", unwell, sizeof unwell - 1);
}

/* "M.m.r[.hash]" as {major, minor, revision, hash}, every part text. */
static json_t *version_json(const char *text) {
    static const char *const names[] = { "major", "minor", "revision", "hash" };
    strlist_t parts = { 0 };
    json_t *o = json_object();
    bool failed = !o || strlist_split(&parts, text, '.') < 0;
    for (size_t i = 0; !failed && i < ARRAY_SIZE(names); i++)
        failed = json_set_str(o, names[i], i < parts.len ? parts.items[i] : "") < 0;
    strlist_free(&parts);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static int answer_version(struct call *c, const char *text) {
    json_t *o = version_json(text);
    return o ? answer_json(c, 200, o) : OSMO_ENOMEM;
}

int get_version(struct call *c, osmo_error_t *err) {
    (void)err;
    return answer_version(c, OSMO_WIRE_VERSION);
}

int get_client_version(struct call *c, osmo_error_t *err) {
    (void)err;
    const struct settings *s = engine_settings(c->engine);
    _cleanup_free_ char *text = str_dup(s->latest_client_version ? s->latest_client_version : OSMO_WIRE_VERSION);
    const char *accept = request_header(c->rq, "accept");
    engine_settings_put(s);
    if (!text)
        return OSMO_ENOMEM;
    if (accept && strstr(accept, "text/plain"))
        return answer_text(c, 200, "text/plain; charset=utf-8", text, strlen(text));
    return answer_version(c, text);
}

int get_users(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *list = json_array();
    strlist_t users = { 0 };
    db_t *db;
    int rc = list ? store_reader(c->engine->store, &db, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = repo_submitters(db, &users, err);
    for (size_t i = 0; rc >= 0 && i < users.len; i++)
        rc = json_add_str(list, users.items[i]);
    strlist_free(&users);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(list));
}

static int put_paths(json_t *o, const struct rsync_settings *r) {
    json_t *paths = json_object();
    int rc = paths ? json_set(o, "allowed_paths", paths) : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < r->npaths; i++) {
        json_t *one = json_object();
        rc = one ? json_set(paths, r->paths[i].name, one) : OSMO_ENOMEM;
        if (rc >= 0)
            rc = json_set_str(one, "path", r->paths[i].path);
        if (rc >= 0)
            rc = json_set_bool(one, "writable", r->paths[i].writable);
    }
    return rc;
}

json_t *rsync_config_json(const struct rsync_settings *r) {
    json_t *o = json_object();
    int rc = o ? json_set_bool(o, "enabled", r->enabled) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_bool(o, "enable_telemetry", r->enable_telemetry);
    if (rc >= 0)
        rc = json_set_int(o, "read_bandwidth_limit", r->read_limit);
    if (rc >= 0)
        rc = json_set_int(o, "write_bandwidth_limit", r->write_limit);
    if (rc >= 0)
        rc = put_paths(o, r);
    if (rc >= 0)
        rc = json_set(o, "daemon_debounce_delay", json_double(r->debounce_s));
    if (rc >= 0)
        rc = json_set(o, "daemon_poll_interval", json_double(r->poll_s));
    if (rc >= 0)
        rc = json_set(o, "daemon_reconcile_interval", json_double(r->reconcile_s));
    if (rc >= 0)
        rc = json_set_int(o, "client_upload_rate_limit", r->client_limit);
    if (rc >= 0)
        return o;
    json_free(o);
    return NULL;
}

int get_plugin_configs(struct call *c, osmo_error_t *err) {
    (void)err;
    const struct settings *s = engine_settings(c->engine);
    json_t *rsync = rsync_config_json(&s->rsync), *o = json_object();
    engine_settings_put(s);
    if (rsync && o && json_set(o, "rsync", rsync) >= 0)
        return answer_json(c, 200, o);
    if (!o)
        json_free(rsync);
    json_free(o);
    return OSMO_ENOMEM;
}
