/* Where there is no KAI scheduler the driver places the pods of PodGroups itself: a controller that is fed by the watches of nodes,
 * pods and ConfigMaps (kept.h), lets cluster/place.h decide, and carries the decisions out at the API server. Nothing is kept but
 * what the API server has: after a restart everything follows from the first lists. Called by kubernetes.c.
 *
 * What it looks at of a pod: requests, nodeSelector, tolerations, its PodGroup. Affinity, host ports and volumes that are bound to
 * nodes are left to the kubelet, which refuses what does not fit. */
#ifndef KUBERNETES_GANG_H
#define KUBERNETES_GANG_H
#include <stdbool.h>
#include "base/log.h"
#include "osmo/backend/cluster.h"
#include "osmo/backend/kube.h"

#define GANG_SCHEDULER "osmo-scheduler"
#define GANG_ANNOTATION "pod-group-name"

typedef struct gang gang_t;
struct gang_options {
    osmo_kube_t *client;
    const char *namespace_;
    bool foreign;               /* pods of others are watched: gang_synced() is called for them too */
    bool alone;                 /* there is no KAI: what waits for it is ours as well */
    int64_t patience_ms;        /* how long a pod waits before it is told why; 0 = 2000 */
    const logger_t *log;
    void *ctx;
    void (*state)(void *ctx, const char *trouble); /* decisions cannot be carried out, or can again (NULL); may be NULL */
};
/* Sources that must be known whole before anything is decided. */
enum gang_source { GANG_NODES = 1, GANG_PODS = 2, GANG_KEPT = 4, GANG_FOREIGN = 8, GANG_UNLABELED = 16 };

int gang_start(const struct gang_options *o, gang_t **out, osmo_error_t *err);
/* What the reflectors tell; any thread. */
void gang_node(gang_t *g, osmo_change_t change, const char *json, size_t len);
void gang_pod(gang_t *g, osmo_change_t change, const char *json, size_t len); /* workflows' and others', of any namespace */
void gang_kept(gang_t *g, osmo_change_t change, const char *json, size_t len);
void gang_synced(gang_t *g, enum gang_source source);
/* Call osmo_kube_stop() first. NULL is fine. */
void gang_stop(gang_t *g);
#endif
