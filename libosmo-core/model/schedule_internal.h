/* Inside of the scheduler: the picture of the cluster. Included by schedule*.c only; the rules are in osmo/scheduler.h. */
#ifndef MODEL_SCHEDULE_INTERNAL_H
#define MODEL_SCHEDULE_INTERNAL_H
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"
#include "osmo/scheduler.h"

#define R OSMO_SCHED_RESOURCES
#define MAX_LEVELS 8
#define MAX_NODES 65536
#define MAX_QUEUES 10000
#define MAX_GANGS 2000000
#define MAX_PODS 65536
#define MAX_AMOUNT (INT64_C(1) << 46) /* of one pod or node, so that no sum over all of them overflows */
#define MAX_SCOPES 1024
#define MAX_CLASSES 4096      /* distinct label and taint sets; past that all share the last bit and are told apart node by node */
#define MAX_TRIES 4096        /* placements of one gang that are tried in different domains */
#define MAX_VICTIM_TRIES 64   /* placements that are tried for one gang with victims out of the way */
#define MAX_VICTIMS 4096      /* gangs considered as victims for one gang */
#define MAX_PREEMPTORS 256    /* gangs for which victims are looked for in one run */
#define REASON_MAX 320

typedef osmo_sched_amount_t amount_t;

struct pair { char *key, *value; };
struct pairs { struct pair *items; size_t len; };

/* Labels and taints that many nodes share; what names one node or one domain is not part of it. */
struct node_class { struct pairs labels, taints; bool gpu; };

struct node {
    char *name;
    amount_t capacity, used, releasing, reserved;
    struct pairs labels, taints;
    size_t class_index;
    uint32_t domain[MAX_LEVELS]; /* number of the value of each level's label; 0 = without */
    size_t pos;                  /* leaf in the tree */
    bool cordoned;
};

/* What a pod asks of a node; pods of all gangs share it. */
struct shape {
    char *key;
    amount_t request;
    struct pairs selector, tolerations;
    size_t refs;
    signed char *class_ok;       /* by class: 0 not asked yet, 1, -1 */
    size_t nclass_ok;
    uint64_t mask;               /* classes that may match, as bits modulo 64 */
    size_t mask_classes;         /* how many classes the mask knows */
};

/* What a gang asks in all. Gangs of one kind fail alike until something is given back. */
struct kind { char *key; size_t refs; uint64_t failed_epoch; char reason[REASON_MAX]; };

enum gang_state { GANG_WAITING, GANG_NOMINATED, GANG_RUNNING, GANG_EVICTED };
struct pod { struct shape *shape; int scope; bool ended; struct node *node; };
struct scope { int parent, level; bool preferred; amount_t total; };
struct queue;
struct lane;
struct gang {
    char *name;
    struct queue *queue;
    struct lane *lane;           /* while it waits */
    size_t lane_pos;
    char *user;
    int priority;
    bool preemptible;
    int64_t arrival;
    uint64_t started;            /* order in which gangs began to run */
    struct pod *pods;
    size_t npods;
    struct scope *scopes;        /* [0] is the gang itself */
    size_t nscopes;
    amount_t total;
    struct kind *kind;
    enum gang_state state;
    char *reason;                /* of a waiting one */
    size_t victims_left;         /* of a nominated one */
    struct gang *evicted_for;
    size_t running_pos;          /* in the queue's list of running gangs */
};

/* Waiting gangs of one user at one priority, by arrival. */
struct lane {
    char *user;
    struct share *share;
    struct gang **items;
    size_t len, cap, read, write; /* read and write are the run's place; kept gangs move down */
};
struct share { amount_t used; };  /* what a user has of a queue */
struct band { int priority; struct lane **lanes; size_t nlanes; map_t *by_user; };
struct queue {
    char *name;
    amount_t guarantee, maximum, used, firm; /* firm: used by gangs that are not preemptible */
    double weight;
    struct band **bands;         /* highest priority first */
    size_t nbands;
    map_t *shares;               /* user → share */
    struct gang **running;
    size_t nrunning, cap_running;
    size_t waiting;
    /* of a run */
    size_t band_at;
    struct lane **heap;
    size_t nheap, cap_heap;
    bool blocked;
};

/* Complete binary tree over the nodes in topology order: what one below has at most, what all have together, which classes are there. */
struct tree_node { amount_t most, sum; uint64_t classes; };
struct tree { struct tree_node *nodes; size_t leaves, cap; };

struct osmo_scheduler {
    char *levels[MAX_LEVELS];
    size_t nlevels;
    bool strict_order, no_preemption;
    map_t *node_by_name, *queue_by_name, *gang_by_name, *shape_by_key, *kind_by_key, *class_by_key, *domain_values[MAX_LEVELS];
    struct node **order;         /* nodes in topology order */
    size_t nnodes, cap_nodes;
    bool order_dirty;
    size_t *starts[MAX_LEVELS];  /* where each domain of a level begins in order; ends with nnodes */
    size_t nstarts[MAX_LEVELS];
    struct node_class **classes;
    size_t nclasses;
    struct tree tree;
    struct queue **queues;
    size_t nqueues;
    struct gang **nominated;
    size_t nnominated, cap_nominated;
    amount_t capacity;           /* of all nodes */
    uint64_t epoch;              /* grows whenever something is given back */
    uint64_t started;
    size_t tries;
    const struct shape *failed;  /* the pod that did not fit last */
    size_t failed_placed;
    bool out_of_memory;
};

/* ---- amounts ---- */
static inline bool amount_fits(const amount_t *need, const amount_t *have) {
    for (int r = 0; r < R; r++)
        if (need->of[r] > have->of[r])
            return false;
    return true;
}
static inline void amount_add(amount_t *to, const amount_t *what, int sign) {
    for (int r = 0; r < R; r++)
        to->of[r] += sign * what->of[r];
}

/* ---- schedule_nodes.c: nodes, classes, domains, the tree ---- */
int sched_nodes_order(osmo_scheduler_t *s);                    /* sort and build the tree where nodes came or went; 0 or OSMO_ENOMEM */
void sched_node_changed(osmo_scheduler_t *s, struct node *n);  /* its amounts are others now */
void sched_nodes_free(osmo_scheduler_t *s);
amount_t sched_node_idle(const struct node *n);                /* for new pods: without what is promised to somebody */
/* First node in [from, to) that the shape fits, or NULL. */
struct node *sched_find(osmo_scheduler_t *s, struct shape *shape, size_t from, size_t to);
amount_t sched_sum(const osmo_scheduler_t *s, size_t from, size_t to);
bool sched_node_matches(osmo_scheduler_t *s, struct shape *shape, const struct node *n);
bool sched_pair_has(const struct pairs *list, const struct pair *p);
bool sched_tolerated(const struct pairs *taints, const struct pairs *tolerations);
int sched_pairs_copy(struct pairs *to, const osmo_sched_pair_t *from, size_t n);
void sched_pairs_free(struct pairs *p);

/* ---- schedule_gangs.c: gangs, shapes, kinds, and the queues they stand in ---- */
int sched_gang_new(osmo_scheduler_t *s, const osmo_sched_gang_t *from, struct gang **out, osmo_error_t *err);
void sched_gang_free(osmo_scheduler_t *s, struct gang *g);
struct queue *sched_queue_get(osmo_scheduler_t *s, const char *name); /* made when it is new; NULL when out of memory */
void sched_queue_free(struct queue *q);
int sched_queue_enter(osmo_scheduler_t *s, struct gang *g);   /* begins to wait */
void sched_queue_leave(struct gang *g);                       /* no longer waits */
int sched_running_add(osmo_scheduler_t *s, struct gang *g);
void sched_running_remove(struct gang *g);
void sched_queue_charge(struct gang *g, int sign);            /* its total counts to its queue and user */
void sched_queue_charge_amount(struct gang *g, const amount_t *amount, int sign);

/* ---- schedule_order.c: whose turn it is ---- */
int sched_turn_begin(osmo_scheduler_t *s, struct queue *q);
struct gang *sched_turn_next(osmo_scheduler_t *s, struct queue *q); /* the next gang to try; NULL when there is none left */
void sched_turn_keep(struct gang *g);                         /* it goes on waiting */
void sched_turn_end(struct queue *q);
double sched_queue_share(const osmo_scheduler_t *s, const struct queue *q);

/* ---- schedule_place.c ---- */
/* Find room for every pod and take it. false: nothing was changed, and s->failed tells the pod that did not fit. */
bool sched_place(osmo_scheduler_t *s, struct gang *g);
void sched_take(osmo_scheduler_t *s, struct gang *g, int sign); /* the room its pods have on their nodes */
void sched_reason_fit(osmo_scheduler_t *s, const struct gang *g, char out[REASON_MAX]);
extern const char *const sched_resource_names[R];
bool sched_quota_allows(const struct gang *g, char out[REASON_MAX]);

/* ---- schedule_evict.c ---- */
/* Choose victims for a gang that has no room; on success the gang is nominated with its pods placed, and *victims lists them. */
bool sched_make_room(osmo_scheduler_t *s, struct gang *g, struct gang ***victims, size_t *nvictims);
#endif
