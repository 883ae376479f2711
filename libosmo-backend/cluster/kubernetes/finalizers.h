/* Sees to it that no pod stays because of its finalizer, whatever happened to it; see finalizers.c. Fed by the watch of the pods of
 * workflows (kubernetes.c). */
#ifndef KUBERNETES_FINALIZERS_H
#define KUBERNETES_FINALIZERS_H
#include "base/log.h"
#include "osmo/backend/cluster.h"
#include "osmo/backend/kube.h"

typedef struct finalizers finalizers_t;
/* patience_ms: for how long the service may take to clean up a pod that has ended; 0 = 120000. */
int finalizers_start(osmo_kube_t *client, const char *namespace_, int64_t patience_ms, const logger_t *log, finalizers_t **out,
                     osmo_error_t *err);
/* Any thread. */
void finalizers_see(finalizers_t *f, osmo_change_t change, const char *json, size_t len);
/* Call osmo_kube_stop() first. NULL is fine. */
void finalizers_stop(finalizers_t *f);
/* Take the finalizer from the pod with that uid; 0 also when it is gone. removal.c */
int kubernetes_strip(osmo_kube_t *client, const osmo_kube_target_t *t, const char *uid, osmo_error_t *err);
#endif
