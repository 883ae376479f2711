/* Configuration as plain data: pools, platforms, pod templates, resource validations, backends, limits, service and
 * workflow settings. Built-in defaults plus an optional YAML file in OSMO's ConfigMap form (keys service, workflow,
 * pools, pod_templates, group_templates, resource_validations, backends, backend_tests, roles). Immutable once loaded;
 * shared between threads by reference count, so it holds its JSON values as text where threads need them as trees.
 * Pure. */
#ifndef MODEL_SETTINGS_H
#define MODEL_SETTINGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

struct platform {
    char *name, *description;
    bool host_network_allowed, privileged_allowed;
    strlist_t allowed_mounts, default_mounts;
    char *variables_json;      /* pool variables deep-merged with the platform's, as JSON text */
    char *pod_template_json;   /* merged pod template, as JSON text */
    char *labels_json, *tolerations_json;  /* nodeSelector and tolerations of the merged template */
    char *validations_json;    /* array of {operator,left_operand,right_operand,assert_message} */
};
struct pool {
    char *name, *description, *backend, *default_platform, *download_type;
    bool enable_maintenance;
    int64_t default_exec_timeout_us, default_queue_timeout_us, max_exec_timeout_us, max_queue_timeout_us; /* 0 = inherit */
    char *default_exit_actions_json, *resources_json, *topology_keys_json;
    char *group_templates_json;        /* array of merged manifests, as JSON text; NULL = none */
    char *pod_template_json, *validations_json; /* of all platforms, as JSON texts */
    char *document_json;               /* as it was written, as JSON text */
    int64_t gpu_guarantee, gpu_maximum; /* -1 = unlimited */
    struct platform *platforms; size_t nplatforms;
};
/* What becomes of the work at a backend that is not heard of any more. */
enum offline_action { OFFLINE_INHERIT, OFFLINE_WAIT, OFFLINE_FAIL };
struct offline_policy { enum offline_action action; int64_t after_us; /* 0 = inherited */ };
struct backend_settings {
    char *name, *description, *scheduler_name, *router_address, *node_rules_json;
    char *scheduler_type, *dashboard_url, *grafana_url;
    int64_t scheduler_timeout;         /* shown only */
    strlist_t tests;                   /* names of those it runs */
    char *document_json;               /* as it was written, as JSON text */
    struct offline_policy offline;     /* as far as it has one of its own */
    int64_t job_timeout_us;            /* 0 = that of the service */
};
/* A test that backends which name it run on their nodes now and then, and the node conditions that tell of its outcome. */
struct backend_test {
    char *name, *description, *cron_schedule, *test_timeout;
    strlist_t node_conditions, pod_templates;
    char *pod_template_json;           /* merged, as JSON text */
    char *document_json;               /* as it was written */
};
/* What a workflow must say about itself: a label that must be there, with one of these values (none listed: any). */
enum label_enforcement { LABEL_OFF, LABEL_WARN, LABEL_ENFORCE };
struct label_policy { char *key, *message; strlist_t allowed; enum label_enforcement enforcement; };
/* What clients need for signing in at a provider; each may be NULL. */
struct login_info {
    char *device_endpoint, *device_client_id, *browser_endpoint, *browser_client_id, *token_endpoint, *logout_endpoint;
};
/* An OpenID Connect provider whose tokens are accepted. jwks_uri is looked up at the issuer when it is not given; audiences are
 * the clients that tokens may be for. */
struct provider {
    char *name, *issuer, *jwks_uri;
    strlist_t audiences;
    char *user_claim, *roles_claim;    /* preferred_username, roles */
    int64_t clock_skew_s;              /* 60 */
};
/* Interactive sessions: how many at a time, and how long they may be idle and last (0 = no limit). */
struct session_limits { int64_t idle_us, total_us; };
struct interactive_settings {
    int64_t max_sessions, max_per_user, max_per_workflow;
    struct session_limits exec, port_forward, rsync, webserver;
};
/* Synchronisation of files with running tasks: bytes a second (0 = no limit), and what may be reached beside the workspace. */
struct rsync_path { char *name, *path; bool writable; };
struct rsync_settings {
    bool enabled, enable_telemetry;
    int64_t read_limit, write_limit, client_limit;
    double debounce_s, poll_s, reconcile_s; /* of the client's daemon */
    struct rsync_path *paths; size_t npaths;
};
struct settings {
    /* service */
    char *service_base_url;            /* "" until the listener knows its address */
    int64_t max_pod_restart_us;        /* start timeout, 30m */
    int64_t agent_queue_size;
    struct offline_policy offline;     /* of backends without one: wait, 5m */
    int64_t job_timeout_us;            /* a job that no operator answers for so long is asked for again, 30m */
    char *latest_client_version, *min_client_version; /* NULL = no gate */
    strlist_t ctrl_roles;              /* osmo-user, osmo-ctrl */
    char *issuer, *audience;           /* "osmo" */
    int64_t signing_key_bits;          /* 2048, 3072 or 4096, of keys that are made from now on */
    struct login_info login_info;
    struct provider *providers; size_t nproviders;
    int64_t request_rate, request_burst; /* requests a second of one caller, and at once; 0 = not limited */
    int64_t refused_rate;              /* refused proofs of identity a minute of one peer, 30 */
    int64_t max_token_us;              /* 365d */
    struct interactive_settings interactive;
    /* workflow */
    int64_t max_num_tasks;             /* default 1000000 (upstream: 20) */
    int64_t max_name_length;           /* 64 */
    strlist_t workflow_tags;           /* what a workflow may be tagged with */
    int64_t max_ports_per_task;        /* of one request to forward them, 30 */
    struct rsync_settings rsync;
    int64_t max_retry_per_task, max_retry_per_job;
    int64_t default_exec_timeout_us, default_queue_timeout_us, max_exec_timeout_us, max_queue_timeout_us;
    int64_t websocket_timeout_min, data_timeout_min;
    int64_t max_error_log_lines, max_log_lines;
    char *init_image, *client_image;
    char *data_endpoint;               /* "" = the service's own storage */
    char *data_base_url;               /* where people look at it, "" = nowhere */
    /* where finished workflows are archived, "" = nowhere; how long the log store keeps its copy then; attempts until a dead
     * letter; one more file a task; the archive goes when retention deletes the workflow */
    char *archive_endpoint;
    int64_t archive_keep_local_us, archive_attempts;
    bool archive_task_logs, archive_delete;
    int64_t template_max_us, template_max_bytes;
    char *pod_label_prefix;
    struct label_policy *label_policies; size_t nlabel_policies;
    int64_t retention_us;              /* finished workflows are deleted this long after their end; 0 = kept */
    int64_t max_user_workflows, max_user_tasks; /* ongoing at a time, per user; 0 = unlimited */
    strlist_t unchecked_registries, unchecked_schemes; /* credential_config: not checked at submission */
    bool strict_registries;            /* one that cannot be asked is an error then, not a warning */
    /* of the service itself: for data_endpoint, for archive_endpoint, and for the init and client images; each may be NULL */
    struct data_login { char *access_key_id, *access_key, *region, *override_url, *addressing_style; } data_login, archive_login;
    struct image_login { char *registry, *username, *auth; } image_login;
    struct pool *pools; size_t npools;
    struct backend_settings *backends; size_t nbackends;
    struct backend_test *tests; size_t ntests;
    strlist_t roles;                   /* documents (model/policy.h) as JSON texts */
    bool has_roles;                    /* the roles are those, and not what the store has */
    bool from_file;                    /* config writes answer 409 then */
};
/* Built-in pool, platform and backend `default`; osmo-ctrl requests 50m CPU, 32Mi memory, 64Mi storage. */
int settings_default(struct settings **out, osmo_error_t *err);
/* YAML text in ConfigMap form over the defaults. On failure nothing is returned and err names the key and the line. */
int settings_parse(const char *yaml, size_t len, const char *source_name, struct settings **out, osmo_error_t *err);
/* The same from a tree that is kept elsewhere than in a file: no lines in the text of an error, from_file is false. */
int settings_from_json(const json_t *document, const char *source_name, struct settings **out, osmo_error_t *err);
/* Name → document of what is there in a section (pools, backends, pod_templates, …) when nobody configured anything; empty when nothing
 * is. */
int settings_builtin(const char *section, json_t **out, osmo_error_t *err);
void settings_free(struct settings *s);
/* May an identity provider be asked there: https, or http on this machine? */
bool settings_provider_url(const char *url);
const struct pool *settings_pool(const struct settings *s, const char *name);          /* NULL if absent */
const struct platform *pool_platform(const struct pool *p, const char *name);
const struct backend_settings *settings_backend(const struct settings *s, const char *name);
const struct backend_test *settings_test(const struct settings *s, const char *name);
/* Whole; also of a backend that the settings do not know. */
struct offline_policy settings_offline(const struct settings *s, const char *backend);
int64_t settings_job_timeout(const struct settings *s, const char *backend);
#endif
