/* Shared between the files that build a group's objects: model/pods*.c; validate.c borrows the variables of tasks. */
#ifndef MODEL_PODS_INTERNAL_H
#define MODEL_PODS_INTERNAL_H
#include "base/map.h"
#include "model/pods.h"
#include "model/spec_internal.h"

/* The files every pod gets beside the user's own. */
enum pod_own_file { FILE_SERVICE_CONFIG, FILE_METADATA, FILE_REFRESH_TOKEN, FILE_LOGIN, FILE_USER_CONFIG, FILE_COUNT };

/* A file the task asked for: of its `files`, or a key of a credential mounted as a directory. */
struct pod_file {
    const char *path, *contents;        /* borrowed */
    bool base64;
    char *own_path;                     /* what path points to when it was made here */
    char *secret;                       /* name of its secret and volume */
};

struct pod_template;                    /* a compiled template tree */

/* What all tasks on one platform share. */
struct pod_platform {
    const struct platform *platform;
    struct pod_template *template;      /* NULL: the platform has none */
    json_t *variables, *labels;
};

struct pod_task {
    struct spec_task spec;              /* tokens replaced */
    bool spec_borrowed;                 /* it holds none: the group's own, not to be cleared */
    const struct pod_task_ids *ids;
    const struct spec_resource *resource;
    const struct platform *platform;
    const struct pod_platform *shared;
    char *data_url;                     /* where its output goes for others to read */
    struct pod_file *files; size_t nfiles;
    char *own[FILE_COUNT];              /* secret names */
    const char *subgroup;               /* of the topology, or NULL; owned by pod_build.subgroups */
};

struct pod_build {
    const struct pod_context *c;
    const struct spec_group *group;
    const struct spec *spec;
    struct pod_task *tasks;             /* group->ntasks */
    json_t *objects;                    /* the result, in creation order */
    json_t *labels;                     /* system labels */
    json_t *workflow_labels;            /* the user's, under the configured prefix */
    json_t *tokens;                     /* token text → value, shared by the tasks */
    json_t *user_secrets;               /* credential.key → value */
    map_t *ids, *secrets, *platforms, *resources, *credentials; /* by name; secrets: names already built */
    char *user_config, *service_config; /* YAML text, the same for every task */
    char *user_secret, *service_secret; /* names of their secrets */
    char *endpoint, *queue, *topology_name;
    char *host;                         /* of the service */
    int port;
    bool tls, oom;
    map_t *subgroups;                   /* owns the names pod_task.subgroup points to */
    osmo_error_t *err;
};

/* JSON construction whose failures collect in b->oom. They take the value's reference. */
json_t *pods_object(struct pod_build *b);
json_t *pods_array(struct pod_build *b);
void pods_put(struct pod_build *b, json_t *object, const char *key, json_t *v);
void pods_put_text(struct pod_build *b, json_t *object, const char *key, const char *text);
void pods_add(struct pod_build *b, json_t *array, json_t *v);
void pods_add_text(struct pod_build *b, json_t *array, const char *text);
/* A fresh {apiVersion, kind, metadata: {name, labels: system labels}}. */
json_t *pods_manifest(struct pod_build *b, const char *api, const char *kind, const char *name);
const char *pods_base_name(const char *path);
/* Is the pod of this task built? */
static inline bool pods_wanted(const struct pod_build *b, size_t i)
{
    return !b->c->only_task || str_eq(b->c->only_task, b->group->tasks[i].name);
}

/* pods_labels.c */
void pods_system_labels(struct pod_build *b);
const char *pods_priority(const struct pod_build *b);
void pods_queue_labels(struct pod_build *b, json_t *labels);
/* What a template may override: the workflow's labels under the generated ones. */
json_t *pods_pod_labels(struct pod_build *b, const struct pod_task *t);
/* Labels nothing may override: the system's, the task's, the platform's, the scheduler's. */
void pods_final_labels(struct pod_build *b, const struct pod_task *t, json_t *labels);
/* Text as a label value: at most 63 characters, then no - or _ at the end. */
void pods_label_text(const char *text, char out[64]);

/* pods_credential.c: files and secret values of a task's credentials; configuration files; pull secrets. */
int pods_credentials_prepare(struct pod_build *b);
int pods_task_credentials(struct pod_build *b, struct pod_task *t);
bool pods_image_credential(const struct pod_build *b);
/* .dockerconfigjson in base64, malloc'ed: of the user for the group's images, and of the service's own. */
char *pods_user_auths(struct pod_build *b);
char *pods_service_auths(struct pod_build *b);

/* pods_secret.c: the file secrets of one task, then those of the group. */
int pods_task_secrets(struct pod_build *b, struct pod_task *t);
void pods_group_secrets(struct pod_build *b);
/* pods_pod.c: the pod before templates. */
json_t *pods_pod(struct pod_build *b, struct pod_task *t);
/* pods_vars.c */
json_t *pods_group_variables(struct pod_build *b);
json_t *pods_task_variables(struct pod_build *b, const struct pod_task *t);
/* pods_topology.c: constraint and subgroups into the PodGroup's spec; fills pod_task.subgroup. */
int pods_topology(struct pod_build *b, json_t *podgroup_spec);
/* pods_template.c: strings of a JSON tree as templates, compiled once. */
int pod_template_compile(const json_t *in, struct pod_template **out, osmo_error_t *err);
int pod_template_render(const struct pod_template *t, const json_t *variables, json_t **out, osmo_error_t *err);
void pod_template_free(struct pod_template *t);
#endif
