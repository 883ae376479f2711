/* Placement of gangs on nodes, pure: a snapshot in, placements and a reason for every unplaced group out.
 * First shape: capacity fit, all or nothing per group, priority then arrival order. */
#ifndef MODEL_SCHEDULE_H
#define MODEL_SCHEDULE_H
#include <stddef.h>
#include <stdint.h>
struct sched_amount { int64_t cpu_milli, memory, storage, gpu, pods; }; /* bytes for memory and storage */
struct sched_node { const char *name; struct sched_amount free; };
struct sched_pod { struct sched_amount request; int node; /* out: index of the node, -1 unplaced */ };
struct sched_gang {
    const char *name;
    int priority;
    int64_t arrival;
    struct sched_pod *pods;
    size_t npods;
    char reason[160]; /* out: "" when placed */
};
/* Sorts nothing in place; returns the number of gangs placed. Deducts from nodes[].free. A gang that does not fit is
 * skipped unless it has waited longest in its priority and smaller ones would starve it: `strict_fifo` keeps the order.
 */
size_t schedule_place(struct sched_node *nodes, size_t nnodes, struct sched_gang *gangs, size_t ngangs,
                      int strict_fifo);
#endif
