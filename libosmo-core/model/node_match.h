/* Which nodes a platform can use, and reading a node's amounts: the labels and taints of Kubernetes. Pure. */
#ifndef MODEL_NODE_MATCH_H
#define MODEL_NODE_MATCH_H
#include <stdbool.h>
#include "base/json.h"

/* Every label of the selector is there with that value. */
bool node_labels_match(const json_t *labels, const json_t *selector);
/* Every taint that keeps pods away is tolerated. */
bool node_taints_tolerated(const json_t *taints, const json_t *tolerations);
/* Amount of one resource ("cpu" in cores, the others as bytes or a count); 0 when absent or malformed. */
double node_quantity(const json_t *resources, const char *name);
#endif
