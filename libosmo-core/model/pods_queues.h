/* The pools of a backend as its scheduler knows them: a Queue for each with what it is guaranteed and may use at most, all below one
 * parent, and a Topology for those with topology keys. Pure; engine/queues.c sends them. */
#ifndef MODEL_PODS_QUEUES_H
#define MODEL_PODS_QUEUES_H
#include "base/json.h"
#include "model/settings.h"
#include "osmo/error.h"

/* {k8s_resources, cleanup_specs, immutable_kinds} of a BackendSynchronizeQueues job, in an order that only depends on the names of
 * the pools. The namespace is that of the backend, as its INIT said. */
int pods_queues(const struct settings *s, const char *backend, const char *k8s_namespace, json_t **out, osmo_error_t *err);
/* Names the objects in this one cluster: another digest, another state. */
void pods_queues_digest(const char *k8s_uid, const char *objects_text, char out[65]);
#endif
