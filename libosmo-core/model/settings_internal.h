/* Shared between the files of the settings only: model/settings*.c. */
#ifndef MODEL_SETTINGS_INTERNAL_H
#define MODEL_SETTINGS_INTERNAL_H
#include "base/json.h"
#include "base/map.h"
#include "model/settings.h"
#include "model/spec_read.h"

/* Named building blocks that pools refer to: built-in ones, overlaid by the file's. Objects name → JSON. */
struct settings_parts { json_t *pod_templates, *group_templates, *validations; };

/* A settings struct with every scalar default and no pool or backend. NULL on ENOMEM. */
struct settings *settings_new(void);
/* read_fn of the sections; object is a struct settings. */
void settings_read_service(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_read_workflow(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_read_labels(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_labels_clear(struct settings *s);
/* service.interactive; workflow.plugins_config, workflow.max_num_ports_per_task. */
void settings_read_interactive(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_read_plugins(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_read_ports(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_interactive_default(struct settings *s);
void settings_interactive_clear(struct settings *s);
/* service.service_auth. */
void settings_read_auth(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void settings_auth_default(struct settings *s);
void settings_auth_clear(struct settings *s);
void settings_read_roles(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s);
/* Node validation tests: before the backends, which name them. */
void settings_read_tests(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s,
                         const struct settings_parts *parts);
void settings_backends_clear(struct settings *s);
/* What a backend may have of its own, and the service for those that have not. */
void settings_read_offline(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct offline_policy *p);
void settings_read_job_timeout(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out);
/* Named templates, in order, over `target`; reported as member `key` of what stands at `at`. */
void settings_merge_templates(struct reader *r, const yaml_node_t *place, const struct read_path *at, json_t *target, const char *key,
                              const strlist_t *names, const json_t *known);
void settings_read_backends(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s);
/* The whole pools section, each pool with its parts merged. */
void settings_read_pools(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s,
                         const struct settings_parts *parts);
void settings_pool_clear(struct pool *p);
#endif
