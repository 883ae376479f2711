/* osmo-sim: a described cluster and a trace of submissions, run through the scheduler in simulated time. Shared by its own files only. */
#ifndef OSMO_SIM_H
#define OSMO_SIM_H
#include <stdbool.h>
#include <stdint.h>
#include "base/yaml.h"
#include "osmo/scheduler.h"

#define SIM_MAX_GANGS 2000000
#define SIM_MAX_PODS 100000000 /* of all gangs */

/* One line of the trace, after `count` was unfolded. Times in seconds. */
struct sim_gang {
    char *name, *queue, *user;
    double at, duration;
    const char *level;
    int priority;
    bool preemptible;
    osmo_sched_amount_t request; /* of each pod */
    size_t npods;
    /* what became of it */
    double placed_at, ended_at; /* -1 = not yet */
    uint64_t generation;        /* of its running; an end event of an earlier one is void */
    size_t evictions;
};
struct sim {
    osmo_scheduler_t *scheduler;
    struct sim_gang *gangs;
    size_t ngangs, npods, nnodes;
    char *levels[9];
    double grace; /* seconds from eviction to leaving */
    int64_t gpus, cpus;
};

/* Reads the description, fills the scheduler with nodes and queues, and the list of gangs. The error names the place. */
int sim_load(const char *text, size_t len, struct sim *sim, osmo_error_t *err);
void sim_free(struct sim *sim);
#endif
