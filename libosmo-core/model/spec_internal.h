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
void spec_link_groups(struct reader *r, struct spec *s, const struct read_path *at, bool implicit);

void spec_task_clear(struct spec_task *t);
void spec_resource_clear(struct spec_resource *x);
void spec_group_clear(struct spec_group *g);

bool spec_name_valid(const char *name);
/* One of the five storage schemes, well formed. */
bool spec_url_valid(const char *url);
bool spec_image_valid(const char *image);
/* One task as JSON without defaults, and back: the pod builder replaces tokens in this form. */
json_t *spec_task_to_json(const struct spec_task *t);
int spec_task_from_json(const json_t *task, struct spec_task *out, osmo_error_t *err);
#endif
