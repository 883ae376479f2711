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

int get_plugin_configs(struct call *c, osmo_error_t *err) {
    (void)err;
    static const char text[] =
        "{\"rsync\":{\"enabled\":false,\"enable_telemetry\":false,\"read_bandwidth_limit\":2621440,\"write_bandwidth_limit\":2621440,"
        "\"allowed_paths\":{},\"daemon_debounce_delay\":30.0,\"daemon_poll_interval\":120.0,\"daemon_reconcile_interval\":60.0,"
        "\"client_upload_rate_limit\":2097152}}";
    return answer_text(c, 200, "application/json", text, sizeof text - 1);
}

int any_router(struct call *c, osmo_error_t *err) {
    (void)c;
    return osmo_error_set(err, OSMO_EUNAVAIL, "interactive access to tasks is not available on this service");
}
