/* Inside of the placement for drivers; included by place*.c only. */
#ifndef CLUSTER_PLACE_INT_H
#define CLUSTER_PLACE_INT_H
#include "base/map.h"
#include "cluster/place.h"

#define PLACE_MAX_PAIRS 64 /* selectors, tolerations, taints: as many as the scheduler takes */

struct unit;
struct group;

struct waiter {
    char *name, *subgroup, *node; /* node: of one that ran already, until its unit is made */
    json_t *needs;                /* nodeSelector and tolerations; NULL where they do not count */
    osmo_sched_amount_t request;
    int64_t arrival;
    struct group *group;
    size_t pos;                   /* in its group's list */
    struct unit *unit;            /* NULL = of none yet, or of none any more */
    bool ended, leaving;          /* leaving: it ran already, and was preempted */
    size_t index;                 /* in its unit */
};

/* The pods of a PodGroup that the scheduler knows under one name: those that were placed together, or wait to be. */
enum unit_state { UNIT_WAITING, UNIT_RUNNING, UNIT_ENDING };
struct unit {
    char *name;                   /* the group's, '#', a number */
    struct group *group;
    enum unit_state state;
    bool told;
    struct waiter **pods;         /* NULL = has ended */
    size_t npods, live;
    struct unit *next;            /* of its group */
};

struct group {
    char *name;                   /* of the PodGroup; of the pod where it has none */
    bool known;                   /* there is a PodGroup */
    json_t *spec;                 /* of it */
    char *queue, *user;
    int priority;
    bool preemptible;
    int64_t min_member;
    struct waiter **pods;
    size_t npods, cap;
    struct unit *units, *waiting;
    bool dirty;                   /* in the list of those that the next run brings in line */
};

struct place {
    osmo_scheduler_t *scheduler;
    char *levels[9];
    bool any_node;
    map_t *pods, *groups, *units; /* by name */
    struct group **dirty;         /* has room for all groups */
    size_t ndirty, cap_dirty;
    uint64_t serial;
    const struct place_sink *sink; /* during a run */
    int64_t bound;
};

/* place_read.c: from objects to what the scheduler takes */
int place_read_group(struct group *g, const json_t *object);
int place_read_lone(struct group *g, const json_t *pod);    /* a pod without PodGroup is a group of its own */
json_t *place_read_needs(const json_t *pod_spec);
int place_read_queue(const json_t *object, osmo_sched_queue_t *out);
void place_read_node(const json_t *node, osmo_sched_node_t *out); /* without labels and taints */
size_t place_read_labels(const json_t *map, osmo_sched_pair_t *out, size_t max);
size_t place_read_taints(const json_t *node, osmo_sched_pair_t out[PLACE_MAX_PAIRS]);
size_t place_read_tolerations(const json_t *list, osmo_sched_pair_t *out, size_t max);
const char *place_read_level(const place_t *p, const json_t *constraint, int *preferred);
/* Scopes of a PodGroup's subgroups; the index of each is its place in the list. */
size_t place_read_scopes(const place_t *p, const json_t *spec, osmo_sched_scope_t *out, size_t max);
int place_scope_of(const json_t *spec, const char *subgroup);

/* place_unit.c: groups as the scheduler knows them */
int place_group_sync(place_t *p, struct group *g);          /* what of it waits or ran already becomes known to the scheduler */
void place_unit_free(place_t *p, struct unit *u);           /* also out of the scheduler */
void place_unit_end_pod(place_t *p, struct waiter *w);
void place_say_wait(const place_t *p, const struct unit *u, const char *reason);

/* place.c */
void place_group_mark(place_t *p, struct group *g);         /* the next run brings it in line */
#endif
