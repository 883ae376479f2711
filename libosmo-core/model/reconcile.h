/* What is in a cluster against what ought to be there: the set of pods of one snapshot, what becomes of each pod, and how long a
 * backend may be silent. Pure; engine/reconcile.c and engine/offline.c fill in the facts and act. */
#ifndef MODEL_RECONCILE_H
#define MODEL_RECONCILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/settings.h"
#include "model/status.h"
#include "osmo/error.h"

/* ---- the pods of one snapshot ---- */
#define POD_SET_MAX (1u << 20)
#define POD_ANY_RETRY (-1) /* of lists that do not say which attempt is there */
struct pod_key { uint64_t high, low; int64_t retry_id; };
struct pod_set { struct pod_key *keys; size_t n, cap; bool sorted; };
/* OSMO_EINVAL: no uuid of 32 hexadecimal digits; OSMO_ELIMIT: too many. */
int pod_set_add(struct pod_set *s, const char *task_uuid, int64_t retry_id);
bool pod_set_has(struct pod_set *s, const char *task_uuid, int64_t retry_id);
void pod_set_clear(struct pod_set *s);

/* ---- one pod ---- */
/* Whose pods carry our labels: several installations may share a namespace. */
enum pod_owner { POD_OWNER_UNMARKED, /* by an operator that does not mark what it creates */ POD_OWNER_US, POD_OWNER_OTHER };
struct pod_facts {
    enum pod_owner owner;
    bool workflow, group, task;     /* known here */
    bool this_backend;              /* the workflow is one of the backend that has the pod */
    bool sent;                      /* the group was handed out */
    enum status group_status;
    int64_t retry_id;               /* of the pod */
    int64_t latest_retry;           /* of its task, and whether the backend has yet to create that attempt */
    bool latest_pending;
    enum status status, reported;   /* of the attempt that the pod is of: as it is known, and as it is */
};
enum pod_fate {
    POD_KEEP,
    POD_REPORT,      /* its status is news */
    POD_CLEAN_GROUP, /* its group has ended: the cleanup of that group, again if need be */
    POD_REMOVE,      /* this pod alone is one too many */
    POD_REMOVE_GROUP,/* nobody knows its group: all objects with its labels */
    POD_FOREIGN      /* not ours, as far as can be told: left alone */
};
enum pod_fate pod_fate(const struct pod_facts *f);

/* ---- a silent backend ---- */
/* The moment from which it counts as lost; 0: never. It was last heard of at heartbeat_us, and somebody has listened since
 * listening_us. */
int64_t offline_deadline(const struct offline_policy *p, int64_t heartbeat_us, int64_t listening_us);
/* Since when somebody has listened without a gap: the last one said at seen_us that it had since since_us (both 0: nobody did). */
int64_t offline_listening(int64_t since_us, int64_t seen_us, int64_t now_us);
#define OFFLINE_GAP_US (INT64_C(90) * 1000 * 1000) /* a silence of the service that is longer is one */
#endif
