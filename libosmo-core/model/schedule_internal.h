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
#define MAX_AMOUNT (INT64_C(1) << 46) /* of a node, so that no sum over all of them overflows */
#define MAX_REQUEST (INT64_C(1) << 50)
#define MAX_TOTAL (INT64_C(1) << 61)  /* of a gang */
#define MAX_SCOPES 1024
#define MAX_CLASSES 4096      /* distinct label and taint sets; past that all share the last bit and are told apart node by node */
#define MAX_TRIES 4096        /* placements of one gang that are tried in different domains */
#define MAX_VICTIM_TRIES 64   /* placements that are tried for one gang with victims out of the way */
#define MAX_VICTIMS 4096      /* gangs considered as victims for one gang */
#define MAX_PREEMPTORS 256    /* gangs for which victims are looked for in one run */
#define RUNS_EXAMINED 64      /* runs of pods of one shape in a gang of which it is asked whether they fit anywhere */
#define REASON_MAX 320

typedef osmo_sched_amount_t amount_t;

struct pair { char *key, *value; };
struct pairs { struct pair *items; size_t len; };

/* Labels and taints that many nodes share; what names one node or one domain is not part of it. */
struct node_class { struct pairs labels, taints; bool gpu; };

struct node {
    char *name;
    amount_t capacity, used, releasing, reserved;
    amount_t soft;               /* used by gangs that could be made to leave */
    amount_t seen;               /* what was idle when the last decision or event was complete */
    bool dirty;                  /* it has got more room since the last pass, or is another */
    struct pairs labels, taints;
    size_t class_index;
    uint32_t domain[MAX_LEVELS]; /* number of the value of each level's label; 0 = without */
    size_t pos;                  /* leaf in the tree */
    bool cordoned;
};

struct kind;
struct class;

/* What a pod asks of a node; pods of all gangs share it. */
struct shape {
    char *key;
    amount_t request;
    struct pairs selector, tolerations;
    size_t refs;
    signed char *class_ok;       /* by class of nodes: 0 not asked yet, 1, -1 */
    uint64_t mask;               /* classes that may match, as bits modulo 64 */
    size_t mask_classes;         /* how many classes the mask knows */
    struct kind *shut;           /* kinds that wait for a node with room for this */
    struct shape *prev, *next;   /* in the list of shapes that have such kinds */
};

/*
 * What a gang asks in all. A simple one has pods of one shape and no scopes: placing it can fail only because too few such pods fit,
 * so that it fails until some node gets room for one more. Of others we know that when one of their shapes fits nowhere.
 */
struct kind {
    char *key;
    size_t refs;
    bool simple;
    amount_t total;
    int level;                   /* all its pods have to be in one domain of this level; -1 = anywhere */
    struct shape *shut_by;       /* it fails for certain until a node gets room for this */
    struct kind *prev, *next;    /* in that shape's list */
    uint64_t failed_version;     /* it fails for certain while nothing changes */
    struct class *classes;       /* waiting gangs of this kind */
};

enum gang_state { GANG_WAITING, GANG_NOMINATED, GANG_RUNNING, GANG_EVICTED };
struct pod { struct shape *shape; int scope; bool ended; struct node *node; };
struct scope { int parent, level; bool preferred; amount_t total; };
struct queue;
struct lane;
/* What a user has of a queue; lives as long as a gang of the user does. */
struct turn { double share; int64_t arrival; const char *name; }; /* a key as of when it was last looked at */
struct share {
    char *user;
    size_t refs;
    amount_t used;
    /* of a band in a pass: lanes of the user, the gang that came first at the top */
    uint64_t filled;
    struct turn turn;
    struct lane **heap;
    size_t nheap, cap_heap;
};

struct gang {
    char *name;
    struct queue *queue;
    struct share *share;
    struct lane *lane;           /* while it waits */
    size_t lane_pos;
    int priority;
    bool preemptible, fresh;
    int64_t arrival;
    uint64_t started;            /* order in which gangs began to run */
    struct pod *pods;
    size_t npods;
    struct scope *scopes;        /* [0] is the gang itself */
    size_t nscopes;
    amount_t total;
    struct kind *kind;
    enum gang_state state;
    uint64_t told;               /* which reason of its class its caller has heard */
    struct gang *fresh_prev, *fresh_next; /* began to wait since the last run */
    size_t victims_left;         /* of a nominated one */
    struct gang *evicted_for;
    size_t running_pos, soft_pos; /* in the queue's lists of running gangs, and of those that may be made to leave */
};

/* Waiting gangs of one user and one class, by arrival and name. Those before `first` are gone. */
struct lane {
    char *key;
    struct class *class;
    size_t class_pos;
    struct share *share;
    struct gang **items;
    size_t first, len, cap;
    struct lane *next_empty;     /* emptied during a run, to be freed at its end */
    bool empty;
};

/* Waiting gangs of a queue that ask for the same at the same priority: whatever keeps one of them waiting keeps all. */
enum class_state { CLASS_OPEN, CLASS_QUOTA, CLASS_FIT };
struct class {
    char *key;
    struct queue *queue;
    struct band *band;
    size_t band_pos;             /* the open ones of a band come first */
    struct kind *kind;
    struct class *kind_prev, *kind_next;
    bool preemptible;
    struct lane **lanes;
    size_t nlanes, cap_lanes;
    enum class_state state;      /* not open: certain to fail until something is given back */
    uint64_t pass;               /* it failed in this pass */
    uint64_t searched_version;   /* no victims were found, as of then */
    int cause;                   /* kind of reason, 0 = none yet */
    uint64_t reason_number;      /* unique; 0 = none */
    char *reason;
};
struct band { int priority; struct class **classes; size_t nclasses, cap, nopen; };
struct softs { int priority; struct gang **gangs; size_t len, cap; };
struct queue {
    char *name;
    size_t index;
    amount_t guarantee, maximum, used, firm; /* firm: used by gangs that are not preemptible */
    double weight;
    struct band **bands;         /* highest priority first */
    size_t nbands;
    map_t *shares, *lanes, *classes; /* user -> share; the others by their keys */
    struct gang **running;
    size_t nrunning, cap_running;
    struct softs *soft;          /* running gangs that may be made to leave, lowest priority first */
    size_t nsoft, cap_soft;
    size_t waiting, busy_pos;
    bool given;                  /* it may have become entitled to more */
    bool over;                   /* of a pass: has more than its guarantee, and gangs that can leave */
    /* of a pass */
    size_t band_at;
    struct share **heap;
    size_t nheap, cap_heap;
    bool blocked;
};
struct queue_turn { double share; struct queue *queue; };

/* Complete binary tree over the nodes in topology order: what one below has at most, has at most if all left that can be made to, what
 * all have together, and which classes are there. */
struct tree_node { amount_t most, possible, sum; uint64_t classes; };
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
    struct queue **busy;         /* queues in which gangs wait */
    size_t nbusy;
    struct queue_turn *turns;    /* heap of the queues of a pass */
    size_t nturns, cap_queues;
    size_t nover, nguaranteed;   /* queues over their guarantee, as of the pass; queues that have one */
    struct node **dirty;
    size_t ndirty;
    struct shape *shut_shapes;
    struct gang *fresh, *fresh_last;
    struct lane *empty_lanes;
    uint64_t version;            /* grows with every change */
    uint64_t pass, filled, reason_number;
    uint64_t started, run_mark;  /* what began after the mark began in this run: it is no victim in it */
    bool in_run, full_runs, began_soft;
    size_t tries;
    const struct shape *failed;  /* the pod that did not fit last */
    size_t failed_placed;
    char reason[REASON_MAX];     /* as given out last */
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
void sched_node_changed(osmo_scheduler_t *s, struct node *n);  /* its amounts are others now, perhaps only for a trial */
void sched_node_commit(osmo_scheduler_t *s, struct node *n);   /* they are, for good */
void sched_nodes_free(osmo_scheduler_t *s);
amount_t sched_node_idle(const struct node *n);                /* for new pods: without what is promised to somebody */
/* First node in [from, to) that the shape fits, or NULL. */
struct node *sched_find(osmo_scheduler_t *s, struct shape *shape, size_t from, size_t to);
/* Is there a node that the shape would fit if everybody left who can be made to? */
bool sched_could_hold(osmo_scheduler_t *s, struct shape *shape);
amount_t sched_sum(const osmo_scheduler_t *s, size_t from, size_t to);
bool sched_node_matches(osmo_scheduler_t *s, struct shape *shape, const struct node *n);
bool sched_pair_has(const struct pairs *list, const struct pair *p);
bool sched_tolerated(const struct pairs *taints, const struct pairs *tolerations);
int sched_pairs_copy(struct pairs *to, const osmo_sched_pair_t *from, size_t n);
void sched_pairs_free(struct pairs *p);

/* ---- schedule_gangs.c: gangs, shapes, kinds ---- */
int sched_gang_new(osmo_scheduler_t *s, const osmo_sched_gang_t *from, struct gang **out, osmo_error_t *err);
void sched_gang_free(osmo_scheduler_t *s, struct gang *g);

/* ---- schedule_queue.c: queues, and the classes and lanes in which gangs wait there ---- */
struct queue *sched_queue_get(osmo_scheduler_t *s, const char *name); /* made when it is new; NULL when out of memory */
void sched_queue_free(struct queue *q);
struct share *sched_share_get(struct queue *q, const char *user); /* one more reference, or NULL */
void sched_share_put(struct queue *q, struct share *x);
int sched_queue_enter(osmo_scheduler_t *s, struct gang *g);   /* begins to wait */
void sched_queue_leave(osmo_scheduler_t *s, struct gang *g);  /* no longer waits */
void sched_fresh_remove(osmo_scheduler_t *s, struct gang *g);
void sched_lanes_sweep(osmo_scheduler_t *s);                  /* free what was emptied during a run */
struct gang *sched_lane_head(struct lane *l);
struct gang *sched_class_head(const struct class *c);
int sched_running_add(osmo_scheduler_t *s, struct gang *g);
void sched_running_remove(struct gang *g);
void sched_running_evict(struct gang *g);                     /* stays in the list, is no victim any more */
void sched_queue_charge(osmo_scheduler_t *s, struct gang *g, int sign); /* its total counts to its queue and user */
void sched_queue_charge_amount(osmo_scheduler_t *s, struct gang *g, const amount_t *amount, int sign);

/* ---- schedule_memory.c: what is certain to fail, and until when ---- */
void sched_class_open(struct class *c);
void sched_class_shut(struct class *c, enum class_state state);
void sched_kind_failed(osmo_scheduler_t *s, struct gang *g);  /* placing one was tried just now and failed */
bool sched_kind_known(const osmo_scheduler_t *s, const struct kind *k); /* another try would fail */
void sched_kind_open(osmo_scheduler_t *s, struct kind *k);
void sched_reopen(osmo_scheduler_t *s);                       /* look at what was given back since the last pass */

/* ---- schedule_order.c: whose turn it is ---- */
int sched_pass_begin(osmo_scheduler_t *s);
struct gang *sched_pass_next(osmo_scheduler_t *s);            /* the next gang to try; NULL when there is none left */
double sched_queue_share(const osmo_scheduler_t *s, const struct queue *q);

/* ---- schedule_place.c ---- */
/* Find room for every pod and take it. false: nothing was changed, and s->failed tells the pod that did not fit. */
bool sched_place(osmo_scheduler_t *s, struct gang *g);
void sched_unplace(osmo_scheduler_t *s, struct gang *g);
void sched_take(osmo_scheduler_t *s, struct gang *g, int sign); /* the room its pods have on their nodes */
void sched_commit(osmo_scheduler_t *s, const struct gang *g); /* its nodes are as they are for good */
void sched_soft(osmo_scheduler_t *s, const struct gang *g, int sign); /* where it runs it can, or can no longer, be made to leave */

/* ---- schedule_reason.c ---- */
enum { CAUSE_MAXIMUM = 10, CAUSE_GUARANTEE = 20, CAUSE_TOO_LARGE = 30, CAUSE_TOTAL = 40, CAUSE_NO_NODES = 50, CAUSE_FIT = 51 };
extern const char *const sched_resource_names[R];
int sched_cause_quota(const struct gang *g);                  /* CAUSE_ + resource, or 0 */
int sched_cause_fit(const osmo_scheduler_t *s, const struct gang *g); /* of one that does not fit */
/* false: it would fit */
bool sched_reason_text(osmo_scheduler_t *s, struct gang *g, int cause, char out[REASON_MAX]);

/* ---- schedule_evict.c ---- */
/* Are there gangs that could be made to leave for one of this queue and priority, other queues' only if it may reclaim? */
bool sched_has_victims(const struct queue *q, int priority);
bool sched_may_reclaim(const osmo_scheduler_t *s, const struct gang *g);
/* A pod of it would find no node even if everybody left who can be made to. */
bool sched_is_hopeless(osmo_scheduler_t *s, const struct gang *g);
/* Choose victims for a gang that has no room; on success the gang is nominated with its pods placed, and *victims lists them. */
bool sched_make_room(osmo_scheduler_t *s, struct gang *g, struct gang ***victims, size_t *nvictims);
#endif
