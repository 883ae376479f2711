/* A group of tasks becomes Kubernetes objects: secrets, PodGroup, pods, headless service. Names, labels and argument
 * order are OSMO's and part of the wire contract. Pure: ids, tokens and time come in. */
#ifndef MODEL_PODS_H
#define MODEL_PODS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "model/settings.h"
#include "model/spec.h"
#include "osmo/error.h"

struct pod_task_ids { const char *name, *uuid; int64_t retry_id; const char *refresh_token; const char *login_jwt; };
struct pod_context {
    const char *workflow_id, *workflow_uuid, *group_uuid, *user, *priority; /* priority HIGH NORMAL LOW */
    const struct pod_task_ids *tasks; size_t ntasks;  /* every task of the group */
    const struct settings *settings;
    const struct pool *pool;
    const char *backend_namespace;     /* of the backend, as its INIT said */
    const char *scheduler_name;
    const char *service_base_url;      /* http(s)://host:port */
    bool dev_login;                    /* login.yaml holds dev_login instead of token_login */
    const char *data_endpoint;         /* e.g. http://host:port/api/storage, or s3://bucket/prefix */
    const json_t *workflow_labels;     /* may be NULL */
};
/* `group` comes from spec_group_from_json (one group). `*objects` is an array in creation order. */
int pods_build_group(const struct pod_context *c, const struct spec *group, json_t **objects, osmo_error_t *err);
/* Pod name: first 16 of workflow uuid, '-', first 16 of task uuid. */
void pod_name(const char *workflow_uuid, const char *task_uuid, char out[40]);
/* Cleanup specs of a group: [{labels:{...}, generic_api:{api_version,kind}}, ...] in OSMO's order. */
json_t *pods_cleanup_specs(const char *workflow_uuid, const char *group_uuid);
/* Deep merge of pod templates: maps recurse, lists merge by "name", later wins. `target` is changed. */
int pods_merge(json_t *target, const json_t *overlay);
#endif
