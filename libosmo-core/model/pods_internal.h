/* Shared between the files that build a group's objects: model/pods*.c; validate.c borrows the variables of tasks. */
#ifndef MODEL_PODS_INTERNAL_H
#define MODEL_PODS_INTERNAL_H
#include "base/map.h"
#include "model/pods.h"
#include "model/spec_internal.h"

/* The files every pod gets beside the user's own. */
enum pod_file { FILE_SERVICE_CONFIG, FILE_METADATA, FILE_REFRESH_TOKEN, FILE_LOGIN, FILE_USER_CONFIG, FILE_COUNT };

struct pod_task {
    struct spec_task spec;              /* tokens replaced */
    const struct pod_task_ids *ids;
    const struct spec_resource *resource;
    const struct platform *platform;
    char *data_url;                     /* where its output goes for others to read */
    strlist_t user_files;               /* secret (and volume) name of spec.files[i] */
    char *files[FILE_COUNT];            /* secret names */
    const char *subgroup;               /* of the topology, or NULL; owned by pod_build.topology */
};

struct pod_build {
    const struct pod_context *c;
    const struct spec_group *group;
    const struct spec *spec;
    struct pod_task *tasks;             /* group->ntasks */
    json_t *objects;                    /* the result, in creation order */
    json_t *labels;                     /* system labels */
    json_t *tokens;                     /* token text → value, shared by the tasks */
    map_t *ids, *secrets;               /* task name → ids; secret names already built */
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
#endif
