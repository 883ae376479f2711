/**
 * @file osmo/scheduler.h
 * @brief Placement of gangs of pods on the nodes of a cluster: who runs where, who has to go, and why the rest waits.
 *
 * A scheduler holds a picture of one cluster: nodes, queues, running and waiting gangs. The caller keeps the picture true
 * (osmo_scheduler_set_node(), osmo_scheduler_adopt(), osmo_scheduler_remove() …) and calls osmo_scheduler_run(), which decides for
 * every waiting gang and reports through callbacks. Nothing is read or written anywhere: the same picture gives the same decisions.
 *
 * Rules: a gang is placed whole or not at all. Queues are served by how little they have of what they deserve; in a queue higher
 * priority goes first, then the user who has least, then who came first. A gang that is not preemptible stays within the guarantee of
 * its queue; a preemptible one may borrow what is free up to the maximum. A queue below its guarantee takes borrowed room back, and
 * within one queue a higher priority displaces preemptible gangs of a lower one; victims are as few and as late-started as possible,
 * and nobody leaves in the run in which it was placed.
 *
 * What failed is looked at again only when something it could use was given back: a run costs what changed, not what waits.
 *
 * A scheduler may be used by one thread at a time, and not from inside its callbacks.
 */
#ifndef OSMO_SCHEDULER_H
#define OSMO_SCHEDULER_H
#include <stddef.h>
#include <stdint.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif

/** What is counted. The names are indexes of osmo_sched_amount_t. */
enum {
    OSMO_SCHED_CPU = 0, /**< thousandths of a core */
    OSMO_SCHED_MEMORY,  /**< bytes */
    OSMO_SCHED_STORAGE, /**< bytes of ephemeral storage */
    OSMO_SCHED_GPU,     /**< devices */
    OSMO_SCHED_PODS,    /**< pods; a pod's request counts as one when it says 0 */
    OSMO_SCHED_RESOURCES
};
/** An amount of everything, 0 to 2^46 each, in requests of pods to 2^50. In limits -1 means none. */
typedef struct osmo_sched_amount {
    int64_t of[OSMO_SCHED_RESOURCES]; /**< by the indexes above */
} osmo_sched_amount_t;
/** A label, a taint (kept away unless tolerated), or a selector. */
typedef struct osmo_sched_pair {
    const char *key;   /**< of a toleration: NULL = every taint */
    const char *value; /**< of a toleration: NULL = any value */
} osmo_sched_pair_t;
/** A node. */
typedef struct osmo_sched_node {
    size_t size;                     /**< sizeof(osmo_sched_node_t) */
    const char *name;                /**< unique */
    osmo_sched_amount_t capacity;    /**< what gangs of this scheduler may use in all */
    const osmo_sched_pair_t *labels; /**< labels */
    size_t nlabels;                  /**< their number, at most 256 */
    const osmo_sched_pair_t *taints; /**< taints of effect NoSchedule and NoExecute */
    size_t ntaints;                  /**< their number, at most 64 */
    int cordoned;                    /**< takes no new pods */
} osmo_sched_node_t;
/** A queue, in OSMO a pool. */
typedef struct osmo_sched_queue {
    size_t size;                   /**< sizeof(osmo_sched_queue_t) */
    const char *name;              /**< unique */
    osmo_sched_amount_t guarantee; /**< its own; -1 = no limit for what is not preemptible, and nothing to take back */
    osmo_sched_amount_t maximum;   /**< never more than this; -1 = no limit */
    double weight;                 /**< share of what nobody is guaranteed; 0 counts as 1 */
} osmo_sched_queue_t;
/** Pods that belong close together. */
typedef struct osmo_sched_scope {
    int parent;        /**< index of an earlier scope, -1 = the gang itself */
    const char *level; /**< label whose value all its pods share, NULL = none */
    int preferred;     /**< only if possible */
} osmo_sched_scope_t;
/** A pod of a gang. */
typedef struct osmo_sched_pod {
    osmo_sched_amount_t request;          /**< what it needs */
    const osmo_sched_pair_t *selector;    /**< labels its node must have */
    size_t nselector;                     /**< their number, at most 64 */
    const osmo_sched_pair_t *tolerations; /**< taints it tolerates */
    size_t ntolerations;                  /**< their number, at most 64 */
    int scope;                            /**< index into the scopes of the gang, -1 = the gang itself */
} osmo_sched_pod_t;
/** A gang, in OSMO a group of tasks. */
typedef struct osmo_sched_gang {
    size_t size;                      /**< sizeof(osmo_sched_gang_t) */
    const char *name;                 /**< unique among waiting and running gangs */
    const char *queue;                /**< name of a queue; an unknown one has neither guarantee nor maximum */
    const char *user;                 /**< whose share it counts to */
    int priority;                     /**< higher goes first */
    int preemptible;                  /**< may borrow, and may have to go */
    int64_t arrival;                  /**< any clock or counter; earlier goes first */
    const char *level;                /**< label whose value all its pods share, NULL = none */
    int preferred;                    /**< only if possible */
    const osmo_sched_scope_t *scopes; /**< parts with constraints of their own */
    size_t nscopes;                   /**< their number, at most 1024 */
    const osmo_sched_pod_t *pods;     /**< its pods */
    size_t npods;                     /**< their number, 1 to 65,536 */
} osmo_sched_gang_t;

/** Options of osmo_scheduler_new(). Zero-initialise and set size. */
typedef struct osmo_scheduler_options {
    size_t size;               /**< sizeof(osmo_scheduler_options_t) */
    const char *const *levels; /**< labels of the topology, coarse to fine; NULL-terminated, at most 8, may be NULL */
    int strict_order;          /**< a gang for which there is no room holds up what stands behind it in its queue, unless the whole cluster
                                    would be too small for it */
    int no_preemption;         /**< never report victims */
    int full_runs;             /**< every run looks at every waiting gang: for tests and measurements, the decisions are the same */
} osmo_scheduler_options_t;

/** What osmo_scheduler_run() decided. Texts and arrays are valid during the call only. Members may be NULL. */
typedef struct osmo_sched_sink {
    size_t size; /**< sizeof(osmo_sched_sink_t) */
    void *ctx;   /**< first argument of every function */
    /** The gang runs now: nodes[i] is the node of its pod i. */
    void (*place)(void *ctx, const char *gang, const char *const *nodes, size_t npods);
    /**
     * The running gang has to go so that another one can run. Its room stays taken until osmo_scheduler_remove(); the other one
     * holds a claim to it and is placed by the first run after that.
     */
    void (*evict)(void *ctx, const char *gang, const char *for_gang, const char *reason);
    /**
     * The gang waits, and why. Called once for each kind of reason (a limit, too little of something), not when only amounts or
     * nodes differ: osmo_scheduler_get_reason() has those of the moment.
     */
    void (*wait)(void *ctx, const char *gang, const char *reason);
} osmo_sched_sink_t;

/** A scheduler. */
typedef struct osmo_scheduler osmo_scheduler_t;
/** Make an empty one. @return 0, ::OSMO_EINVAL or ::OSMO_ENOMEM */
OSMO_API int osmo_scheduler_new(const osmo_scheduler_options_t *options, osmo_scheduler_t **out, osmo_error_t *err);
/** Free it. NULL is fine. */
OSMO_API void osmo_scheduler_free(osmo_scheduler_t *s);
/** Add a node or change it. Pods on it stay. @return 0, ::OSMO_EINVAL, ::OSMO_ELIMIT (65,536 nodes) or ::OSMO_ENOMEM */
OSMO_API int osmo_scheduler_set_node(osmo_scheduler_t *s, const osmo_sched_node_t *node, osmo_error_t *err);
/** Take a node away. Gangs on it keep running as far as the scheduler knows until they are removed. */
OSMO_API int osmo_scheduler_remove_node(osmo_scheduler_t *s, const char *name);
/** Add a queue or change it. @return 0, ::OSMO_EINVAL, ::OSMO_ELIMIT (10,000 queues) or ::OSMO_ENOMEM */
OSMO_API int osmo_scheduler_set_queue(osmo_scheduler_t *s, const osmo_sched_queue_t *queue, osmo_error_t *err);
/** A gang waits. @return 0, ::OSMO_EEXISTS, ::OSMO_EINVAL, ::OSMO_ELIMIT (2,000,000 gangs) or ::OSMO_ENOMEM */
OSMO_API int osmo_scheduler_submit(osmo_scheduler_t *s, const osmo_sched_gang_t *gang, osmo_error_t *err);
/** A gang runs already: nodes[i] is the node of pod i; a pod on an unknown node counts to its queue only. As osmo_scheduler_submit(). */
OSMO_API int osmo_scheduler_adopt(osmo_scheduler_t *s, const osmo_sched_gang_t *gang, const char *const *nodes, osmo_error_t *err);
/** Pod @p index of a running gang has ended before the others: its room is free. @return 0 or ::OSMO_ENOTFOUND */
OSMO_API int osmo_scheduler_end_pod(osmo_scheduler_t *s, const char *gang, size_t index);
/** A gang has ended, was cancelled or has left after an eviction. @return 0 or ::OSMO_ENOTFOUND */
OSMO_API int osmo_scheduler_remove(osmo_scheduler_t *s, const char *gang);
/**
 * Decide.
 * @param s the scheduler
 * @param max_pods stop after this many pods were placed, 0 = no limit
 * @param sink where the decisions go
 * @param err receives the text on failure; may be NULL
 * @return number of pods placed, or ::OSMO_ENOMEM: what was reported until then holds, and the next run goes on. After a run that placed
 *         some another one may find more: somebody waits for room that was just given to a gang that can leave.
 */
OSMO_API int64_t osmo_scheduler_run(osmo_scheduler_t *s, size_t max_pods, const osmo_sched_sink_t *sink, osmo_error_t *err);
/** Why a gang waits, as things are now; "" when it does not, or when only its turn has not come. NULL when unknown. Borrowed until the
 *  next call. */
OSMO_API const char *osmo_scheduler_get_reason(osmo_scheduler_t *s, const char *gang);

#ifdef __cplusplus
}
#endif
#endif
