/* What interactive sessions may take (service.interactive) and synchronisation of files with running tasks
 * (workflow.plugins_config.rsync). Called by settings_sections.c and settings.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/settings_internal.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define SESSIONS_MOST 1000000
#define PATHS_MAX 64

void settings_interactive_default(struct settings *s)
{
    s->interactive = (struct interactive_settings){
        .max_sessions = 10000, .max_per_user = 1000, .max_per_workflow = 1000,
        .exec = { 24 * HOUR_US, 7 * 24 * HOUR_US }, .port_forward = { 24 * HOUR_US, 7 * 24 * HOUR_US },
        .rsync = { 24 * HOUR_US, 7 * 24 * HOUR_US }, .webserver = { HOUR_US / 2, 7 * 24 * HOUR_US },
    };
    s->rsync = (struct rsync_settings){
        .read_limit = 2621440, .write_limit = 2621440, .client_limit = 2097152,
        .debounce_s = 30, .poll_s = 120, .reconcile_s = 60,
    };
    s->max_ports_per_task = 30;
}

void settings_interactive_clear(struct settings *s)
{
    for (size_t i = 0; i < s->rsync.npaths; i++) {
        free(s->rsync.paths[i].name);
        free(s->rsync.paths[i].path);
    }
    free(s->rsync.paths);
    s->rsync.paths = NULL;
    s->rsync.npaths = 0;
}

/* ---- service.interactive ---- */

static void read_sessions(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_int(r, n, at, out) && (*out < 1 || *out > SESSIONS_MOST))
        read_report(r, at, n, "must be 1 to %d, it is %lld", SESSIONS_MOST, (long long)*out);
}

/* 0: for as long as it takes. */
static void read_span(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_duration(r, n, at, false, out) && *out != 0 && *out < 10 * SECOND_US)
        read_report(r, at, n, "must be at least 10s, or 0 for no limit");
}

static void read_idle(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_span(r, n, at, &((struct session_limits *)object)->idle_us);
}

static void read_total(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_span(r, n, at, &((struct session_limits *)object)->total_us);
}

static const struct read_field span_fields[] = {
    { "idle", READ_CUSTOM, 0, 0, read_idle },
    { "total", READ_CUSTOM, 0, 0, read_total },
};
static const struct read_table span_table = READ_TABLE(span_fields, false);

static void read_limits_of(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct session_limits *out)
{
    read_mapping(r, n, at, &span_table, out);
}

#define PART(member, read) \
    static void read_##member(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object) \
    { \
        read(r, n, at, &((struct interactive_settings *)object)->member); \
    }
PART(max_sessions, read_sessions)
PART(max_per_user, read_sessions)
PART(max_per_workflow, read_sessions)
PART(exec, read_limits_of)
PART(port_forward, read_limits_of)
PART(rsync, read_limits_of)
PART(webserver, read_limits_of)

static const struct read_field interactive_fields[] = {
    { "max_sessions", READ_CUSTOM, 0, 0, read_max_sessions },
    { "max_sessions_per_user", READ_CUSTOM, 0, 0, read_max_per_user },
    { "max_sessions_per_workflow", READ_CUSTOM, 0, 0, read_max_per_workflow },
    { "exec", READ_CUSTOM, READ_NULLABLE, 0, read_exec },
    { "port_forward", READ_CUSTOM, READ_NULLABLE, 0, read_port_forward },
    { "rsync", READ_CUSTOM, READ_NULLABLE, 0, read_rsync },
    { "webserver", READ_CUSTOM, READ_NULLABLE, 0, read_webserver },
};
static const struct read_table interactive_table = READ_TABLE(interactive_fields, false);

void settings_read_interactive(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &interactive_table, &((struct settings *)object)->interactive);
}

/* ---- workflow.plugins_config ---- */

static void read_rate(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_int(r, n, at, out) && *out < 0)
        read_report(r, at, n, "must not be negative: it is bytes a second, 0 for no limit");
}

static void read_read_limit(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate(r, n, at, &((struct rsync_settings *)object)->read_limit);
}

static void read_write_limit(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate(r, n, at, &((struct rsync_settings *)object)->write_limit);
}

static void read_client_limit(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate(r, n, at, &((struct rsync_settings *)object)->client_limit);
}

static void read_seconds(struct reader *r, const yaml_node_t *n, const struct read_path *at, double *out)
{
    bool number = n->kind == YAML_FLOAT || (n->kind == YAML_INT && n->flavour != YAML_BIG);
    double value = n->kind == YAML_FLOAT ? n->number : number ? (double)n->integer : 0;
    if (!number || !(value > 0 && value <= 1e6))
        read_report(r, at, n, "must be a number of seconds, more than 0");
    else
        *out = value;
}

static void read_debounce(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_seconds(r, n, at, &((struct rsync_settings *)object)->debounce_s);
}

static void read_poll(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_seconds(r, n, at, &((struct rsync_settings *)object)->poll_s);
}

static void read_reconcile(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_seconds(r, n, at, &((struct rsync_settings *)object)->reconcile_s);
}

static const struct read_field path_fields[] = {
    { "path", READ_TEXT, READ_REQUIRED, offsetof(struct rsync_path, path), NULL },
    { "writable", READ_BOOL, 0, offsetof(struct rsync_path, writable), NULL },
};
static const struct read_table path_table = READ_TABLE(path_fields, false);

/* They become one argument of the task's programs, name:path:writable with commas between. */
static void read_one_path(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct rsync_path *p)
{
    read_mapping(r, n, at, &path_table, p);
    if (p->name && (!*p->name || strpbrk(p->name, ":,/ \t\r\n")))
        read_report(r, at, n, "needs a name without blanks, ':', ',' and '/'");
    if (p->path && (*p->path != '/' || strpbrk(p->path, ":,\r\n") || strstr(p->path, "/../") || str_ends(p->path, "/..")))
        read_report(r, at, n, "needs an absolute path without '..', ':' and ','");
}

static void read_paths(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct rsync_settings *s = object;
    if (n->kind != YAML_MAP || n->len > PATHS_MAX) {
        read_report(r, at, n, "must map at most %d names to {path, writable}", PATHS_MAX);
        return;
    }
    s->paths = calloc(n->len ? n->len : 1, sizeof *s->paths);
    r->oom |= !s->paths;
    for (size_t i = 0; s->paths && i < n->len; i++) {
        struct rsync_path *p = &s->paths[s->npaths++];
        p->name = read_text_key(r, n->keys[i], at);
        struct read_path member = { at, p->name ? p->name : "", 0 };
        read_one_path(r, n->values[i], &member, p);
    }
}

#define RSYNC(member) offsetof(struct rsync_settings, member)
static const struct read_field rsync_fields[] = {
    { "enabled", READ_BOOL, 0, RSYNC(enabled), NULL },
    { "enable_telemetry", READ_BOOL, 0, RSYNC(enable_telemetry), NULL },
    { "read_bandwidth_limit", READ_CUSTOM, 0, 0, read_read_limit },
    { "write_bandwidth_limit", READ_CUSTOM, 0, 0, read_write_limit },
    { "allowed_paths", READ_CUSTOM, READ_NULLABLE, 0, read_paths },
    { "daemon_debounce_delay", READ_CUSTOM, 0, 0, read_debounce },
    { "daemon_poll_interval", READ_CUSTOM, 0, 0, read_poll },
    { "daemon_reconcile_interval", READ_CUSTOM, 0, 0, read_reconcile },
    { "client_upload_rate_limit", READ_CUSTOM, 0, 0, read_client_limit },
};
static const struct read_table rsync_table = READ_TABLE(rsync_fields, false);

static void read_rsync_plugin(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &rsync_table, &((struct settings *)object)->rsync);
}

/* Upstream's files may know plugins that this version does not. */
static const struct read_field plugin_fields[] = { { "rsync", READ_CUSTOM, READ_NULLABLE, 0, read_rsync_plugin } };
static const struct read_table plugin_table = READ_TABLE(plugin_fields, true);

void settings_read_plugins(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &plugin_table, object);
}

void settings_read_ports(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t *out = &((struct settings *)object)->max_ports_per_task;
    if (read_int(r, n, at, out) && (*out < 1 || *out > 65535))
        read_report(r, at, n, "must be 1 to 65535, it is %lld", (long long)*out);
}
