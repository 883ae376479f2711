/* The settings of the service and of workflows as administrators see them, in OSMO's form: what has no meaning here has its default there,
 * secrets are masked. They are written in the service's file. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "model/spec.h"

#define MASK "**********"

/* An object whose first failure sticks. */
struct out { json_t *v; bool failed; };

static struct out out_new(void) {
    struct out o = { json_object(), false };
    o.failed = !o.v;
    return o;
}

static void put(struct out *o, const char *key, json_t *v) {
    if (!o->v)
        json_free(v);
    else
        o->failed |= json_set(o->v, key, v) < 0;
}

static void put_text(struct out *o, const char *key, const char *text) {
    o->failed |= !o->v || json_set_str(o->v, key, text ? text : "") < 0;
}

static void put_null_or_text(struct out *o, const char *key, const char *text) {
    o->failed |= !o->v || json_set_text(o->v, key, text) < 0;
}

static void put_secret(struct out *o, const char *key, const char *text) { put_text(o, key, text && *text ? MASK : ""); }

static void put_int(struct out *o, const char *key, int64_t n) { o->failed |= !o->v || json_set_int(o->v, key, n) < 0; }

static void put_duration(struct out *o, const char *key, int64_t us) {
    char text[32];
    put_text(o, key, duration_text(us, text));
}

static void put_list(struct out *o, const char *key, const strlist_t *l) { o->failed |= !o->v || json_set_strs(o->v, key, l) < 0; }

/* Takes what is in it. */
static void put_object(struct out *o, const char *key, struct out *inner) {
    o->failed |= inner->failed;
    put(o, key, inner->v);
    inner->v = NULL;
}

static int answer_out(struct call *c, struct out *o) {
    if (!o->failed)
        return answer_json(c, 200, o->v);
    json_free(o->v);
    return OSMO_ENOMEM;
}

/* ---- service ---- */

static void put_keys(struct out *o, struct call *c) {
    _cleanup_json_ json_t *jwks = auth_jwks(c->engine);
    const json_t *list = json_get(jwks, "keys");
    struct out keys = out_new();
    const char *active = NULL;
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *one = json_at(list, i);
        const char *kid = json_get_str(one, "kid");
        _cleanup_free_ char *text = json_to_text(one);
        struct out key = out_new();
        put_text(&key, "public_key", text);
        put_text(&key, "private_key", MASK);
        put_object(&keys, kid ? kid : "", &key);
        active = active ? active : kid;
    }
    put_object(o, "keys", &keys);
    put_text(o, "active_key", active);
}

static void put_auth(struct out *o, struct call *c, const struct settings *s) {
    const struct login_info *l = &s->login_info;
    struct out auth = out_new(), login = out_new();
    strlist_t user_roles = { 0 };
    auth.failed |= strlist_add(&user_roles, "osmo-user") < 0;
    put_keys(&auth, c);
    put_text(&auth, "issuer", s->issuer);
    put_text(&auth, "audience", s->audience);
    put_list(&auth, "user_roles", &user_roles);
    put_list(&auth, "ctrl_roles", &s->ctrl_roles);
    put_null_or_text(&login, "device_endpoint", l->device_endpoint);
    put_null_or_text(&login, "device_client_id", l->device_client_id);
    put_null_or_text(&login, "browser_endpoint", l->browser_endpoint);
    put_null_or_text(&login, "browser_client_id", l->browser_client_id);
    put_null_or_text(&login, "token_endpoint", l->token_endpoint);
    put_null_or_text(&login, "logout_endpoint", l->logout_endpoint);
    put_object(&auth, "login_info", &login);
    put_duration(&auth, "max_token_duration", s->max_token_us);
    put_object(o, "service_auth", &auth);
    strlist_free(&user_roles);
}

static void put_spans(struct out *o, const char *key, struct session_limits l) {
    struct out spans = out_new();
    put_duration(&spans, "idle", l.idle_us);
    put_duration(&spans, "total", l.total_us);
    put_object(o, key, &spans);
}

static void put_interactive(struct out *o, const struct interactive_settings *s) {
    struct out all = out_new();
    put_int(&all, "max_sessions", s->max_sessions);
    put_int(&all, "max_sessions_per_user", s->max_per_user);
    put_int(&all, "max_sessions_per_workflow", s->max_per_workflow);
    put_spans(&all, "exec", s->exec);
    put_spans(&all, "port_forward", s->port_forward);
    put_spans(&all, "rsync", s->rsync);
    put_spans(&all, "webserver", s->webserver);
    put_object(o, "interactive", &all);
}

int get_config_service(struct call *c, osmo_error_t *err) {
    (void)err;
    struct out o = out_new(), cli = out_new();
    const struct settings *s = engine_settings(c->engine);
    put_text(&o, "service_base_url", call_base_url(c));
    put_auth(&o, c, s);
    put_null_or_text(&cli, "latest_version", s->latest_client_version);
    put_null_or_text(&cli, "min_supported_version", s->min_client_version);
    put(&cli, "client_install_url", NULL);
    put_object(&o, "cli_config", &cli);
    put_duration(&o, "max_pod_restart_limit", s->max_pod_restart_us);
    put_int(&o, "agent_queue_size", s->agent_queue_size);
    put_interactive(&o, &s->interactive);
    engine_settings_put(s);
    return answer_out(c, &o);
}

/* ---- workflow ---- */

/* null without an endpoint; without keys when it has none. */
static void put_storage(struct out *o, const char *endpoint, const struct data_login *d) {
    struct out credential = out_new();
    if (!endpoint || !*endpoint) {
        put(o, "credential", NULL);
        json_free(credential.v);
        return;
    }
    put_text(&credential, "endpoint", endpoint);
    put_null_or_text(&credential, "region", d->region);
    put_null_or_text(&credential, "override_url", d->override_url);
    put_null_or_text(&credential, "addressing_style", d->addressing_style);
    if (d->access_key) {
        put_text(&credential, "access_key_id", d->access_key_id);
        put_secret(&credential, "access_key", d->access_key);
    }
    put_object(o, "credential", &credential);
}

static void put_data(struct out *o, const struct settings *s) {
    struct out data = out_new();
    put_storage(&data, s->data_endpoint, &s->data_login);
    put_text(&data, "base_url", s->data_base_url ? s->data_base_url : "");
    put_int(&data, "websocket_timeout", s->websocket_timeout_min);
    put_int(&data, "data_timeout", s->data_timeout_min);
    put_text(&data, "download_type", "download");
    put_object(o, "workflow_data", &data);
}

static void put_archive(struct out *o, const struct settings *s) {
    struct out log = out_new(), app = out_new();
    put_storage(&log, s->archive_endpoint, &s->archive_login);
    put(&app, "credential", NULL);
    put_object(o, "workflow_log", &log);
    put_object(o, "workflow_app", &app);
}

static void put_images(struct out *o, const struct settings *s) {
    struct out images = out_new(), credential = out_new(), info = out_new(), checks = out_new();
    put_text(&credential, "registry", s->image_login.registry);
    put_text(&credential, "username", s->image_login.username);
    put_secret(&credential, "auth", s->image_login.auth);
    put_text(&images, "init", s->init_image);
    put_text(&images, "client", s->client_image);
    put_object(&images, "credential", &credential);
    put_list(&info, "tags", &s->workflow_tags);
    put_int(&info, "max_name_length", s->max_name_length);
    put_list(&checks, "disable_registry_validation", &s->unchecked_registries);
    put_list(&checks, "disable_data_validation", &s->unchecked_schemes);
    put_object(o, "workflow_info", &info);
    put_object(o, "backend_images", &images);
    put_object(o, "credential_config", &checks);
}

static void put_labels(struct out *o, const struct settings *s) {
    static const char *const names[] = { [LABEL_OFF] = "off", [LABEL_WARN] = "warn", [LABEL_ENFORCE] = "enforce" };
    struct out labels = out_new();
    json_t *list = json_array();
    for (size_t i = 0; list && i < s->nlabel_policies; i++) {
        const struct label_policy *p = &s->label_policies[i];
        struct out one = out_new();
        put_text(&one, "key", p->key);
        put_list(&one, "allow_list", &p->allowed);
        put_text(&one, "enforcement", names[p->enforcement]);
        put_text(&one, "assert_message", p->message);
        labels.failed |= one.failed | (json_add(list, one.v) < 0);
    }
    labels.failed |= !list;
    put(&labels, "policy", list);
    put_text(&labels, "pod_label_prefix", s->pod_label_prefix);
    put_object(o, "labels_config", &labels);
}

static void put_limits(struct out *o, const struct settings *s) {
    struct out limits = out_new();
    if (s->max_user_workflows)
        put_int(&limits, "max_num_workflows", s->max_user_workflows);
    else
        put(&limits, "max_num_workflows", NULL);
    if (s->max_user_tasks)
        put_int(&limits, "max_num_tasks", s->max_user_tasks);
    else
        put(&limits, "max_num_tasks", NULL);
    put(&limits, "jinja_sandbox_max_time", json_double((double)s->template_max_us / 1e6));
    put_int(&limits, "jinja_sandbox_memory_limit", s->template_max_bytes);
    put_object(o, "user_workflow_limits", &limits);
    put_int(o, "max_num_tasks", s->max_num_tasks);
    put_int(o, "max_num_ports_per_task", s->max_ports_per_task);
    put_int(o, "max_retry_per_task", s->max_retry_per_task);
    put_int(o, "max_retry_per_job", s->max_retry_per_job);
    put_duration(o, "default_exec_timeout", s->default_exec_timeout_us);
    put_duration(o, "default_queue_timeout", s->default_queue_timeout_us);
    put_duration(o, "max_exec_timeout", s->max_exec_timeout_us);
    put_duration(o, "max_queue_timeout", s->max_queue_timeout_us);
    put_int(o, "max_log_lines", s->max_log_lines);
    put_int(o, "max_error_log_lines", s->max_error_log_lines);
}

int get_config_workflow(struct call *c, osmo_error_t *err) {
    (void)err;
    struct out o = out_new(), plugins = out_new();
    const struct settings *s = engine_settings(c->engine);
    put_data(&o, s);
    put_archive(&o, s);
    put_images(&o, s);
    put_limits(&o, s);
    put_labels(&o, s);
    json_t *rsync = rsync_config_json(&s->rsync);
    plugins.failed |= !rsync;
    put(&plugins, "rsync", rsync);
    put_object(&o, "plugins_config", &plugins);
    engine_settings_put(s);
    return answer_out(c, &o);
}
