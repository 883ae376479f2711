/* Shared between the files of the specification only: model/spec*.c. */
#ifndef MODEL_SPEC_INTERNAL_H
#define MODEL_SPEC_INTERNAL_H
#include "model/spec.h"
#include "model/spec_read.h"

/* read_fn of one task or group; object is a zeroed struct spec_task / spec_group. */
void spec_read_task(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
void spec_read_group(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
/* The mapping of named resources. */
void spec_read_resources(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct spec *s);
/* One entry; object is a zeroed struct spec_resource. */
void spec_read_resource(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object);
/* Labels: object of strings into *labels. */
void spec_read_labels(struct reader *r, const yaml_node_t *n, const struct read_path *at, json_t **labels);

/* Upstream and downstream lists; reports unknown and misplaced inputs. Every name must be set. */
void spec_link_groups(struct reader *r, struct spec *s, const struct read_path *at);
/* s->by_name over the resources, which must not move any more. */
void spec_index_resources(struct reader *r, struct spec *s);
/* Where to point at: the value of a key of n, or n itself. */
static inline const yaml_node_t *spec_member(const yaml_node_t *n, const char *key)
{
    const yaml_node_t *v = n->kind == YAML_MAP ? yaml_get(n, key) : NULL;
    return v ? v : n;
}

/* Checks of one task against its platform, as findings at the task: spec_check.c, for validate.c too. */
void spec_check_task_platform(struct spec_findings *f, const struct spec *s, size_t group, size_t task,
                              const struct spec_resource *x, const struct pool *pool, const struct platform *p);
void spec_check_topology_sets(struct spec_findings *f, const struct spec *s);
/* "workflow.groups.1.tasks.0" or "workflow.tasks.3"; malloc'ed. */
char *spec_task_path(const struct spec *s, size_t group, size_t task);
/* A finding about one task, with its path and place. */
void spec_report_task(struct spec_findings *f, int code, const struct spec *s, size_t group, size_t task,
                      const char *format, ...) __attribute__((format(printf, 6, 7)));
static inline int spec_findings_code(const struct spec_findings *f)
{
    return f->oom ? OSMO_ENOMEM : f->code;
}

#define SPEC_NAME_RULE                                                                                                 \
    "'%.80s' must begin with a letter, end with a letter or digit, and hold only letters, digits, - and _ between"
#define SPEC_URL_RULE                                                                                                  \
    "'%.200s' is no storage address: s3://BUCKET/PATH, gs://BUCKET/PATH, azure://ACCOUNT/CONTAINER/PATH, "           \
    "tos://ENDPOINT/BUCKET/PATH or swift://HOST/ACCOUNT/CONTAINER/PATH, without empty parts and without , ; *"

void spec_task_clear(struct spec_task *t);
void spec_resource_clear(struct spec_resource *x);
void spec_group_clear(struct spec_group *g);

bool spec_name_valid(const char *name);
bool spec_label_key_valid(const char *key);
bool spec_label_value_valid(const char *value);
/* A regular expression as Python's re module reads it; *why and *at (characters from 0) tell what is wrong where. */
bool spec_regex_valid(const char *pattern, const char **why, size_t *at);
/* One of the five storage schemes, well formed. */
bool spec_url_valid(const char *url);
bool spec_image_valid(const char *image);
/* One task as JSON without defaults, and back: the pod builder replaces tokens in this form. */
json_t *spec_task_to_json(const struct spec_task *t);
int spec_task_from_json(const json_t *task, struct spec_task *out, osmo_error_t *err);
#endif
