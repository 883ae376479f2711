/* The sections service and workflow of the configuration: which keys exist, their types and where they go.
 * Called by settings.c only; service_auth is read by settings_auth.c. Keys without a place are accepted, because upstream's files hold
 * them. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/credential.h"
#include "model/settings_internal.h"

#define AT(member) offsetof(struct settings, member)
#define MINUTE_US INT64_C(60000000)
#define DAY_US (24 * 60 * MINUTE_US)

struct settings *settings_new(void)
{
    struct settings *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct settings){
        .max_pod_restart_us = 30 * MINUTE_US, .agent_queue_size = 1024, .max_token_us = 365 * DAY_US,
        .max_num_tasks = 1000000, .max_name_length = 64, .max_retry_per_task = 0, .max_retry_per_job = 5,
        .default_exec_timeout_us = 60 * DAY_US, .default_queue_timeout_us = 60 * DAY_US,
        .max_exec_timeout_us = 60 * DAY_US, .max_queue_timeout_us = 60 * DAY_US,
        .websocket_timeout_min = 1440, .data_timeout_min = 10, .max_error_log_lines = 100, .max_log_lines = 10000,
        .offline = { OFFLINE_WAIT, 5 * MINUTE_US }, .job_timeout_us = 30 * MINUTE_US,
        .archive_keep_local_us = 10 * MINUTE_US, .archive_attempts = 10, .archive_task_logs = true,
        /* upstream allows 0.5 s and 100 MiB */
        .template_max_us = 500000, .template_max_bytes = INT64_C(104857600),
    };
    settings_auth_default(s);
    settings_interactive_default(s);
    s->service_base_url = str_dup("");
    s->issuer = str_dup("osmo");
    s->audience = str_dup("osmo");
    /* of no registry: a name that one might have would be somebody else's there */
    s->init_image = str_dup("localhost/osmo/runtime:" OSMO_VERSION);
    s->client_image = str_dup("localhost/osmo/runtime:" OSMO_VERSION);
    s->data_endpoint = str_dup("");
    s->data_base_url = str_dup("");
    s->pod_label_prefix = str_dup("");
    s->archive_endpoint = str_dup("");
    bool good = s->service_base_url && s->issuer && s->audience && s->init_image && s->client_image &&
        s->data_endpoint && s->data_base_url && s->archive_endpoint &&
                s->pod_label_prefix && strlist_add(&s->ctrl_roles, "osmo-user") == 0 &&
                strlist_add(&s->ctrl_roles, "osmo-ctrl") == 0;
    if (good)
        return s;
    settings_free(s);
    return NULL;
}

/* ---- service ---- */

static const struct read_field cli_fields[] = {
    { "latest_version", READ_TEXT, READ_NULLABLE, AT(latest_client_version), NULL },
    { "min_supported_version", READ_TEXT, READ_NULLABLE, AT(min_client_version), NULL },
    { "client_install_url", READ_IGNORE, 0, 0, NULL },
};
static const struct read_table cli_table = READ_TABLE(cli_fields, false);

static void read_cli(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &cli_table, object);
}

/* ---- backends that are silent ---- */

#define OFFLINE_LEAST_US (MINUTE_US / 2)

static void read_offline_action(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    _cleanup_free_ char *text = NULL;
    struct offline_policy *p = object;
    if (!read_text(r, n, at, false, &text))
        return;
    p->action = str_eq(text, "wait") ? OFFLINE_WAIT : str_eq(text, "fail") ? OFFLINE_FAIL : OFFLINE_INHERIT;
    if (p->action == OFFLINE_INHERIT)
        read_report(r, at, n, "must be wait or fail, not %s", text);
}

static void read_offline_after(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct offline_policy *p = object;
    if (read_duration(r, n, at, false, &p->after_us) && p->after_us < OFFLINE_LEAST_US)
        read_report(r, at, n, "must be at least 30s: a backend that is well is heard of every 20 seconds");
}

static const struct read_field offline_fields[] = {
    { "after", READ_CUSTOM, 0, 0, read_offline_after },
    { "action", READ_CUSTOM, 0, 0, read_offline_action },
};
static const struct read_table offline_table = READ_TABLE(offline_fields, false);

void settings_read_job_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_duration(r, n, at, false, out) && *out < MINUTE_US / 60)
        read_report(r, at, n, "must be at least 1s, and more than large groups take to be created");
}

static void read_default_offline(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &offline_table, &((struct settings *)object)->offline);
}

static void read_default_job_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    settings_read_job_timeout(r, n, at, &((struct settings *)object)->job_timeout_us);
}

void settings_read_offline(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct offline_policy *p)
{
    read_mapping(r, n, at, &offline_table, p);
}

static const struct read_field service_fields[] = {
    { "service_base_url", READ_TEXT, 0, AT(service_base_url), NULL },
    { "service_auth", READ_CUSTOM, READ_NULLABLE, 0, settings_read_auth },
    { "cli_config", READ_CUSTOM, READ_NULLABLE, 0, read_cli },
    { "max_pod_restart_limit", READ_DURATION, 0, AT(max_pod_restart_us), NULL },
    { "agent_queue_size", READ_INT, 0, AT(agent_queue_size), NULL },
    { "backend_offline", READ_CUSTOM, READ_NULLABLE, 0, read_default_offline },
    { "backend_job_timeout", READ_CUSTOM, READ_NULLABLE, 0, read_default_job_timeout },
    { "interactive", READ_CUSTOM, READ_NULLABLE, 0, settings_read_interactive },
};
static const struct read_table service_table = READ_TABLE(service_fields, false);

void settings_read_service(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &service_table, object);
}

/* ---- workflow ---- */

/* What a credential says beside its endpoint. */
#define CREDENTIAL_REST(login) \
    { "region", READ_TEXT, READ_NULLABLE, AT(login.region), NULL }, \
    { "override_url", READ_TEXT, READ_NULLABLE, AT(login.override_url), NULL }, \
    { "addressing_style", READ_TEXT, READ_NULLABLE, AT(login.addressing_style), NULL }, \
    { "access_key_id", READ_TEXT, READ_NULLABLE, AT(login.access_key_id), NULL }, \
    { "access_key", READ_TEXT, READ_NULLABLE, AT(login.access_key), NULL }, { "secret_file", READ_IGNORE, 0, 0, NULL }, \
    { "secretName", READ_IGNORE, 0, 0, NULL }, { "secretKey", READ_IGNORE, 0, 0, NULL }

static const struct read_field credential_fields[] = {
    { "endpoint", READ_TEXT, READ_REQUIRED, AT(data_endpoint), NULL },
    CREDENTIAL_REST(data_login),
};
static const struct read_table credential_table = READ_TABLE(credential_fields, false);

static void read_data_credential(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &credential_table, object);
}

static const struct read_field data_fields[] = {
    { "credential", READ_CUSTOM, READ_NULLABLE, 0, read_data_credential },
    { "base_url", READ_TEXT, READ_NULLABLE, AT(data_base_url), NULL },
    { "websocket_timeout", READ_INT, 0, AT(websocket_timeout_min), NULL },
    { "data_timeout", READ_INT, 0, AT(data_timeout_min), NULL },
    { "download_type", READ_IGNORE, 0, 0, NULL },
};
static const struct read_table data_table = READ_TABLE(data_fields, false);

static void read_data(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &data_table, object);
}

/* ---- the archive ---- */

/* The driver's own demands come when it is opened; what can be told from the text is told here, with its line. */
static void read_archive_endpoint(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;
    char *url = NULL;
    if (!read_text(r, n, at, false, &url))
        return;
    const char *why;
    if (!str_starts(url, "file:///") && !data_endpoint_valid(url, &why))
        read_report(r, at, n, "is '%.200s'; finished workflows can be archived to s3://BUCKET/PREFIX, gs://, azure://, swift:// and tos:// "
                              "addresses, or to file:///ABSOLUTE/DIRECTORY", url);
    else if (str_starts(url, "file:///") && (strstr(url, "/../") || str_ends(url, "/..") || strlen(url) > 4000 ||
             strspn(url + strlen("file://"), "/") == strlen(url + strlen("file://"))))
        read_report(r, at, n, "must name a directory below the root, without '..'");
    free(s->archive_endpoint);
    s->archive_endpoint = url;
}

static const struct read_field archive_credential_fields[] = {
    { "endpoint", READ_CUSTOM, READ_REQUIRED, 0, read_archive_endpoint },
    CREDENTIAL_REST(archive_login),
};
static const struct read_table archive_credential_table = READ_TABLE(archive_credential_fields, false);

static void read_archive_credential(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &archive_credential_table, object);
}

static void read_keep_local(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t *out = &((struct settings *)object)->archive_keep_local_us;
    if (read_duration(r, n, at, false, out) && *out < 0)
        read_report(r, at, n, "must not be negative: 0 lets the log store drop a log as soon as it is archived");
}

static void read_attempts(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t *out = &((struct settings *)object)->archive_attempts;
    if (read_int(r, n, at, out) && (*out < 1 || *out > 1000))
        read_report(r, at, n, "must be 1 to 1000, it is %lld", (long long)*out);
}

static const struct read_field archive_fields[] = {
    { "credential", READ_CUSTOM, READ_NULLABLE, 0, read_archive_credential },
    { "keep_local", READ_CUSTOM, READ_NULLABLE, 0, read_keep_local },
    { "task_logs", READ_BOOL, 0, AT(archive_task_logs), NULL },
    { "attempts", READ_CUSTOM, READ_NULLABLE, 0, read_attempts },
    { "delete_with_workflow", READ_BOOL, 0, AT(archive_delete), NULL },
};
static const struct read_table archive_table = READ_TABLE(archive_fields, false);

static void read_archive(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &archive_table, object);
}

static const struct read_field info_fields[] = {
    { "tags", READ_TEXTS, READ_NULLABLE, AT(workflow_tags), NULL },
    { "max_name_length", READ_INT, 0, AT(max_name_length), NULL },
};
static const struct read_table info_table = READ_TABLE(info_fields, false);

static void read_info(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &info_table, object);
}

static const struct read_field image_login_fields[] = {
    { "registry", READ_TEXT, READ_NULLABLE, AT(image_login.registry), NULL },
    { "username", READ_TEXT, READ_NULLABLE, AT(image_login.username), NULL },
    { "auth", READ_TEXT, READ_NULLABLE, AT(image_login.auth), NULL },
    { "password", READ_TEXT, READ_NULLABLE, AT(image_login.auth), NULL },
    { "secret_file", READ_IGNORE, 0, 0, NULL }, { "secretName", READ_IGNORE, 0, 0, NULL }, { "secretKey", READ_IGNORE, 0, 0, NULL },
};
static const struct read_table image_login_table = READ_TABLE(image_login_fields, false);

static void read_image_login(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &image_login_table, object);
}

static const struct read_field image_fields[] = {
    { "init", READ_TEXT, 0, AT(init_image), NULL },
    { "client", READ_TEXT, 0, AT(client_image), NULL },
    { "credential", READ_CUSTOM, READ_NULLABLE, 0, read_image_login },
};
static const struct read_table image_table = READ_TABLE(image_fields, false);

static void read_images(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &image_table, object);
}

static void read_template_time(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_duration(r, n, at, false, &((struct settings *)object)->template_max_us);
}

/* 0 keeps everything. */
static void read_retention(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t *out = &((struct settings *)object)->retention_us;
    if (read_duration(r, n, at, false, out) && *out < 0)
        read_report(r, at, n, "must not be negative: 0 keeps finished workflows");
}

/* A limit that is unset or more than 0. */
static void read_user_limit(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_int(r, n, at, out) && *out <= 0)
        read_report(r, at, n, "must be more than 0, it is %lld: leave it out for no limit", (long long)*out);
}

static void read_user_workflows(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_user_limit(r, n, at, &((struct settings *)object)->max_user_workflows);
}

static void read_user_tasks(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_user_limit(r, n, at, &((struct settings *)object)->max_user_tasks);
}

static const struct read_field limit_fields[] = {
    { "max_num_workflows", READ_CUSTOM, READ_NULLABLE, 0, read_user_workflows },
    { "max_num_tasks", READ_CUSTOM, READ_NULLABLE, 0, read_user_tasks },
    { "jinja_sandbox_workers", READ_IGNORE, 0, 0, NULL },
    { "jinja_sandbox_max_time", READ_CUSTOM, 0, 0, read_template_time },
    { "jinja_sandbox_memory_limit", READ_INT, 0, AT(template_max_bytes), NULL },
};
static const struct read_table limit_table = READ_TABLE(limit_fields, false);

static void read_limits(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &limit_table, object);
}

static const struct read_field unchecked_fields[] = {
    { "disable_registry_validation", READ_TEXTS, READ_NULLABLE, AT(unchecked_registries), NULL },
    { "disable_data_validation", READ_TEXTS, READ_NULLABLE, AT(unchecked_schemes), NULL },
    { "strict_registry_validation", READ_BOOL, 0, AT(strict_registries), NULL },
};
static const struct read_table unchecked_table = READ_TABLE(unchecked_fields, true);

static void read_unchecked(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &unchecked_table, object);
}

static const struct read_field workflow_fields[] = {
    { "workflow_data", READ_CUSTOM, 0, 0, read_data },
    { "workflow_log", READ_CUSTOM, READ_NULLABLE, 0, read_archive },
    { "workflow_app", READ_IGNORE, 0, 0, NULL },
    { "workflow_info", READ_CUSTOM, 0, 0, read_info },
    { "backend_images", READ_CUSTOM, 0, 0, read_images },
    { "workflow_alerts", READ_IGNORE, 0, 0, NULL },
    { "credential_config", READ_CUSTOM, READ_NULLABLE, 0, read_unchecked },
    { "user_workflow_limits", READ_CUSTOM, 0, 0, read_limits },
    { "plugins_config", READ_CUSTOM, READ_NULLABLE, 0, settings_read_plugins },
    { "labels_config", READ_CUSTOM, READ_NULLABLE, 0, settings_read_labels },
    { "max_num_tasks", READ_INT, 0, AT(max_num_tasks), NULL },
    { "max_num_ports_per_task", READ_CUSTOM, 0, 0, settings_read_ports },
    { "max_retry_per_task", READ_INT, 0, AT(max_retry_per_task), NULL },
    { "max_retry_per_job", READ_INT, 0, AT(max_retry_per_job), NULL },
    { "default_schedule_timeout", READ_IGNORE, 0, 0, NULL },
    { "default_exec_timeout", READ_DURATION, 0, AT(default_exec_timeout_us), NULL },
    { "default_queue_timeout", READ_DURATION, 0, AT(default_queue_timeout_us), NULL },
    { "max_exec_timeout", READ_DURATION, 0, AT(max_exec_timeout_us), NULL },
    { "max_queue_timeout", READ_DURATION, 0, AT(max_queue_timeout_us), NULL },
    { "retention", READ_CUSTOM, READ_NULLABLE, 0, read_retention },
    { "force_cleanup_delay", READ_IGNORE, 0, 0, NULL },
    { "max_log_lines", READ_INT, 0, AT(max_log_lines), NULL },
    { "max_task_log_lines", READ_IGNORE, 0, 0, NULL },
    { "max_error_log_lines", READ_INT, 0, AT(max_error_log_lines), NULL },
    { "max_event_log_lines", READ_IGNORE, 0, 0, NULL },
    { "task_heartbeat_frequency", READ_IGNORE, 0, 0, NULL },
};
static const struct read_table workflow_table = READ_TABLE(workflow_fields, false);

void settings_read_workflow(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;
    read_mapping(r, n, at, &workflow_table, s);
    if (s->max_name_length < 8)
        read_report(r, at, n, "workflow_info.max_name_length must be at least 8, it is %lld",
                    (long long)s->max_name_length);
    if (s->max_num_tasks < 1)
        read_report(r, at, n, "max_num_tasks must be at least 1, it is %lld", (long long)s->max_num_tasks);
    if (s->template_max_bytes < 1 || s->template_max_us < 1)
        read_report(r, at, n, "jinja_sandbox_max_time and jinja_sandbox_memory_limit must be more than 0");
}
