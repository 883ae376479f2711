/* Inside of the kubernetes driver; included by the files of this directory only.
 *
 * Threads: callers, in functions of objects.c and removal.c; one for each reflector, which reports to the sink; one that looks after
 * finalizers (finalizers.c); and where there is no KAI one that decides and a few that carry out (gang.c). */
#ifndef KUBERNETES_INT_H
#define KUBERNETES_INT_H
#include <pthread.h>
#include "base/log.h"
#include "base/str.h"
#include "cluster/kubernetes/finalizers.h"
#include "cluster/kubernetes/gang.h"
#include "cluster/kubernetes/reflector.h"
#include "operator/crew.h"

enum watch_id { WATCH_PODS, WATCH_FOREIGN, WATCH_UNLABELED, WATCH_NODES, WATCH_EVENTS, WATCH_KEPT, WATCHES };

#define TROUBLE_MAX 256
struct kubernetes;
/* One reflector, and what its callbacks need. */
struct watch {
    struct kubernetes *k;
    enum watch_id id;
    reflector_t *reflector;
    char trouble[TROUBLE_MAX];  /* "" = none; under the lock of the driver */
};

struct kubernetes {
    osmo_cluster_sink_t sink;
    logger_t log;
    osmo_kube_t *client;
    char *namespace_;
    char uid[64];
    int page_size;
    bool cluster_usage;         /* pods of others are watched too */
    crew_t *crew;
    struct watch watches[WATCHES];
    finalizers_t *finalizers;
    gang_t *gang;               /* NULL = KAI places pods */
    char mode[256];             /* how groups are placed, for describe() */
    char gang_trouble[TROUBLE_MAX];
    pthread_mutex_t lock;
};

#define KUBERNETES_WIDTH 8
#define CONFLICTS_MAX 8         /* tries of what others change at the same time */

/* objects.c */
int kubernetes_create(void *impl, const char *json, size_t len, osmo_error_t *err);
int kubernetes_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn, void *ctx,
                    osmo_error_t *err);
int kubernetes_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx, osmo_error_t *err);
int kubernetes_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *json, size_t len,
                     osmo_error_t *err);
int kubernetes_replace(void *impl, const char *json, size_t len, osmo_error_t *err);
int kubernetes_erase(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err);
/* Where a kind is. The target's strings are borrowed from the arguments and from k. */
int kubernetes_target(struct kubernetes *k, const char *api_version, const char *kind, osmo_kube_target_t *out, osmo_error_t *err);
/* Of what is in no namespace, only queues and topologies are made, replaced and removed, whatever the rights of the operator are:
 * OSMO_EDENIED for others. */
int kubernetes_stay_inside(const osmo_kube_target_t *t, osmo_error_t *err);

/* removal.c */
int kubernetes_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force, osmo_error_t *err);
#endif
