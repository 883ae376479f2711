/*
 * Placement for clusters that bring no scheduler of their own: the local machine, and Kubernetes without KAI. Called by drivers only.
 *
 * A driver gives what it sees, as the objects of Kubernetes, each time something changes: nodes, the Queues and PodGroups that the control
 * plane makes, pods that wait, pods that run already, pods that have ended. It calls place_run() after that and gets, through the sink,
 *   bind     the pod runs on this node: set spec.nodeName, start it;
 *   preempt  the running pod has to end: give it the condition DisruptionTarget=True with reason PreemptionByScheduler, which the control
 *            plane reads as FAILED_PREEMPTED, end it within its grace period, and say place_pod_ended() when it is gone. Its room is taken
 *            until then; who needs it is bound by the first run after that;
 *   wait     the pod is not placed, and why: the condition PodScheduled=False with this message.
 * Rules are those of osmo/scheduler.h with OSMO's three priorities: HIGH and NORMAL stay within the guarantee of their pool's Queue and do
 * not leave; LOW may borrow and may have to leave. The pods of a PodGroup start together, once minMember of them exist; pods that come
 * later, retries, start when there is room for them. When part of a group has to leave, all of it leaves.
 *
 * Everything is kept by deltas: a run costs what changed since the last one. No threads, no I/O; the caller serialises. Its functions must
 * not be called from inside the sink.
 */
#ifndef CLUSTER_PLACE_H
#define CLUSTER_PLACE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "osmo/error.h"
#include "osmo/scheduler.h"

#define PLACE_MAX_PODS 1000000
#define PLACE_MAX_GROUPS 1000000

struct place_options {
    const char *const *levels; /* labels of the topology, coarse to fine, NULL-terminated; others in PodGroups are no constraint */
    bool any_node;             /* labels, taints and selectors do not count */
    bool strict_order;         /* what came later does not pass by a large group that waits */
};
struct place_sink {
    void *ctx;
    void (*bind)(void *ctx, const char *pod, const char *node);
    void (*preempt)(void *ctx, const char *pod, const char *message);
    void (*wait)(void *ctx, const char *pod, const char *reason);
};
typedef struct place place_t;

int place_new(const struct place_options *o, place_t **out, osmo_error_t *err);
void place_free(place_t *p);
/* A Node is there or is another now. */
int place_node(place_t *p, const json_t *node, osmo_error_t *err);
/* Its pods count to their queues until they are said to have ended. */
void place_node_gone(place_t *p, const char *name);
/* A PodGroup or Queue is there or is another now; every other kind is ignored. */
int place_object(place_t *p, const json_t *object, osmo_error_t *err);
void place_object_gone(place_t *p, const char *kind, const char *name);
/* A pod waits (node NULL) or runs already. Earlier arrivals go first. OSMO_EEXISTS, OSMO_ELIMIT, OSMO_ENOMEM */
int place_pod(place_t *p, const json_t *pod, int64_t arrival, const char *node, osmo_error_t *err);
/* After a restart: a pod that place_pod() said to run was preempted before and is on its way out, so that nobody else has to go. */
void place_pod_leaving(place_t *p, const char *pod);
/* It has ended: its room is free; its group is as large as before. An unknown one is no error. */
void place_pod_ended(place_t *p, const char *pod);
/* It is gone, or is being removed before it started. An unknown one is no error. */
void place_pod_gone(place_t *p, const char *pod);
/* Decide. Number of pods bound: when that is not 0, run once more. OSMO_ENOMEM: what was said holds, the next run goes on. */
int64_t place_run(place_t *p, const struct place_sink *sink, osmo_error_t *err);

/* What a pod asks for, as Kubernetes counts: all containers together, or the largest init container if that is more. */
void place_request(const json_t *pod_spec, osmo_sched_amount_t *out);
#endif
