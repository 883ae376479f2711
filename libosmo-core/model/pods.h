/* A group of tasks becomes Kubernetes objects: secrets, PodGroup, pods, headless service. Names, labels and argument
 * order are OSMO's and part of the wire contract. Pure: ids, tokens, credentials and time come in. */
#ifndef MODEL_PODS_H
#define MODEL_PODS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "model/settings.h"
#include "model/spec.h"
#include "osmo/error.h"

struct pod_task_ids { const char *name, *uuid; int64_t retry_id; const char *refresh_token; const char *login_jwt; };

/* A stored credential in the clear. The profile is the scope of a registry ("host" or "host/path") or the bucket of a
 * data credential ("s3://bucket"); generic ones have none. Keys: username, auth of a registry; access_key_id,
 * access_key, endpoint, region, … of data; whatever the user stored of a generic one. */
enum pod_credential_type { POD_CREDENTIAL_GENERIC, POD_CREDENTIAL_REGISTRY, POD_CREDENTIAL_DATA };
struct pod_pair { const char *key, *value; };
struct pod_credential {
    const char *name;
    enum pod_credential_type type;
    const char *profile;
    const struct pod_pair *pairs; size_t npairs;
};

/* File synchronisation into running tasks: bytes a second, and where it may write beside the workspace. */
struct pod_rsync_path { const char *module, *path; bool writable; };
struct pod_rsync { int64_t read_limit, write_limit; const struct pod_rsync_path *paths; size_t npaths; };

struct pod_context {
    const char *workflow_id, *workflow_uuid, *group_uuid, *user, *priority; /* priority HIGH NORMAL LOW */
    const struct pod_task_ids *tasks; size_t ntasks;  /* every task of the group */
    const struct settings *settings;
    const struct pool *pool;
    const char *backend_namespace;     /* of the backend, as its INIT said */
    const char *scheduler_name;        /* NULL = kai-scheduler */
    const char *service_base_url;      /* http(s)://host:port */
    bool dev_login;                    /* login.yaml holds dev_login instead of token_login */
    const char *data_endpoint;         /* e.g. http://host:port/api/storage, or s3://bucket/prefix */
    const json_t *workflow_labels;     /* may be NULL */
    const struct pod_credential *credentials; size_t ncredentials; /* everything the user stored */
    const struct pod_credential *data_credential;  /* for data_endpoint; NULL: the service's own storage, by token */
    const struct pod_credential *image_credential; /* registry of the init and client images; NULL or empty = none */
    const struct pod_rsync *rsync;     /* NULL = off for this workflow */
    const char *only_task;             /* a retry: this task's file secrets and its pod, nothing else; NULL = all */
};
/* `group` comes from spec_group_from_json (one group). `*objects` is an array in creation order. OSMO_ECREDENTIAL when
 * a task names a credential or key the user does not have; OSMO_ERESOURCE when the pool no longer allows what was
 * asked. */
int pods_build_group(const struct pod_context *c, const struct spec *group, json_t **objects, osmo_error_t *err);
/* Pod name: first 16 of workflow uuid, '-', first 16 of task uuid. */
void pod_name(const char *workflow_uuid, const char *task_uuid, char out[40]);
/* The distinct kinds of the pool's group templates: [{apiVersion, kind}, ...] in creation order. NULL = no memory. */
json_t *pods_template_kinds(const struct pool *pool);
/* Cleanup specs of a group: [{labels:{...}, generic_api:{api_version,kind}}, ...] in OSMO's order, those of
 * `template_kinds` (may be NULL) last. NULL = no memory. */
json_t *pods_cleanup_specs(const char *workflow_uuid, const char *group_uuid, const json_t *template_kinds);
/* Deep merge of pod templates: maps recurse, lists merge by "name", later wins. `target` is changed. */
int pods_merge(json_t *target, const json_t *overlay);
#endif
