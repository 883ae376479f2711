/* Inside of placement for Kubernetes; included by gang*.c only. Everything below is under gang.lock. */
#ifndef KUBERNETES_GANG_INT_H
#define KUBERNETES_GANG_INT_H
#include <pthread.h>
#include "base/map.h"
#include "base/queue.h"
#include "cluster/kubernetes/gang.h"
#include "cluster/kubernetes/meta.h"
#include "cluster/place.h"

#define GANG_THREADS 8
#define GANG_NAME_MAX 256

/* ---- gang_read.c: what objects say ---- */

struct pod_facts {
    struct meta meta;
    json_slice_t node, scheduler, phase, group;
    bool ended;
    bool unschedulable;         /* PodScheduled=False of reason Unschedulable, with a message */
    bool preempted;             /* DisruptionTarget=True of reason PreemptionByScheduler */
    json_slice_t why, preempted_why;
};
bool gang_read_pod(const char *json, size_t len, struct pod_facts *out);
/* What cluster/place.h looks at, as a small manifest; malloc'ed. NULL without memory. */
char *gang_read_manifest(const struct pod_facts *f);
/* Requests of a pod that is only counted. False when its spec cannot be read. */
bool gang_read_request(const struct pod_facts *f, osmo_sched_amount_t *out);
struct node_facts { struct meta meta; json_slice_t taints; bool cordoned; osmo_sched_amount_t room; };
bool gang_read_node(const char *json, size_t len, struct node_facts *out);

/* ---- what is kept ---- */

/* A pod that is ours to place. */
struct gang_pod {
    char *name, *group, *manifest;
    char uid[40];
    int64_t arrival;
    char *node;                 /* as the API server has it, NULL = none */
    bool ended, deleting, leaving;
    bool in_place, end_told;    /* what cluster/place.h knows */
    char *at;                   /* the node that cluster/place.h has it on: when `node` is not yet that, it is to be bound */
    char *preempt;              /* it has to leave: the message */
    char *why;                  /* why it waits now */
    char *told;                 /* what the API server says of that */
    int64_t why_due_us, why_last_us; /* when it is told: once the reason stays the same for a while, or at last; 0 = not waited for */
    bool bind_sent, preempt_sent, acting;
    int64_t retry_us;
    unsigned tries;
    struct gang_pod *next, *prev; /* in the list of those with something to be done; NULL = not in it */
};

/* A pod of others: it takes up room. */
struct foreign_pod { char uid[40]; char *node; osmo_sched_amount_t request; };
struct gang_node { char *name, *labels, *taints; bool known, cordoned, dirty; osmo_sched_amount_t room, used; };
struct kept_object { char *kind, *name, *text; };

enum act_kind { ACT_BIND, ACT_WAIT, ACT_PREEMPT };
struct act { enum act_kind kind; char name[GANG_NAME_MAX], uid[40]; char *text; };

struct gang {
    struct gang_options o;
    char *namespace_;
    logger_t log;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t decider, actors[GANG_THREADS];
    bool decider_started, stop;
    int nactors;
    queue_t *acts;
    unsigned synced, needed;    /* sources */
    bool work, rebuild, troubled;
    place_t *place;
    char *levels[9];
    map_t *pods, *foreign, *nodes, *kept;
    size_t held;                /* pods that wait for their PodGroup to be known: an upper bound */
    struct gang_pod todo;       /* ring */
};

/* gang_pod.c */
void gang_pod_free(void *pod);
void gang_foreign_free(void *pod);
void gang_pod_put(gang_t *g, const struct pod_facts *f, char *manifest);
void gang_foreign_put(gang_t *g, const char *key, const struct pod_facts *f, const osmo_sched_amount_t *request);
void gang_pod_drop(gang_t *g, const char *name);
void gang_foreign_drop(gang_t *g, const char *key);
/* What cluster/place.h knows of it becomes what is so. */
void gang_pod_sync(gang_t *g, struct gang_pod *p);
void gang_pod_todo(gang_t *g, struct gang_pod *p);
void gang_pod_done(struct gang_pod *p);
void gang_pod_say(gang_t *g, struct gang_pod *p, const char *why);
/* Set a text; false without memory, which leads to a new beginning. */
bool gang_text(gang_t *g, char **to, const char *text);
bool gang_slice(gang_t *g, char **to, const json_slice_t *text);

/* gang_node.c */
void gang_node_free(void *node);
void gang_node_put(gang_t *g, const struct node_facts *f);
void gang_node_drop(gang_t *g, const char *name);
void gang_node_use(gang_t *g, const char *name, const osmo_sched_amount_t *request, int sign);
void gang_nodes_flush(gang_t *g);  /* changed ones to cluster/place.h */
void gang_kept_free(void *object);
void gang_kept_put(gang_t *g, const char *map_name, const char *text);
void gang_kept_drop(gang_t *g, const char *map_name);
bool gang_kept_has_group(const gang_t *g, const char *name);
/* Begin again with cluster/place.h, with the levels that the topologies have now. */
int gang_rebuild(gang_t *g);

/* gang_act.c */
int64_t gang_dispatch(gang_t *g);  /* begin what is due; when the next is due, by clock_mono_us(), 0 = nothing */
void *gang_actor(void *gang);
void gang_act_free(struct act *a);
#endif
