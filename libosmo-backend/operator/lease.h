/* Which of several replicas works: the one that holds a Lease of the cluster (coordination.k8s.io/v1), renewed every few seconds. The
 * others watch it, and take it when it was given back or not renewed for its whole duration, measured by their own clocks. A holder that
 * cannot renew in time says so before anybody else may take the lease. A thread of its own. Called by operator.c. */
#ifndef OPERATOR_LEASE_H
#define OPERATOR_LEASE_H
#include <stdbool.h>
#include "base/log.h"
#include "osmo/backend/kube.h"

struct lease_options {
    const char *name, *namespace_, *identity; /* copied */
    int duration_s;            /* 0 = 15 */
    int64_t renew_ms;          /* 0 = a third of the duration */
    const logger_t *log;
    void *ctx;
    /* In the lease's thread, once: it is not held any more, or will soon not be. */
    void (*lost)(void *ctx);
};
typedef struct lease lease_t;
/* Starts to contend. The client is this lease's alone: one try a request, a timeout well below the duration. It is freed with the lease,
 * and when this fails. */
int lease_open(osmo_kube_t *k, const struct lease_options *o, lease_t **out, osmo_error_t *err);
/* Wait until it is held. OSMO_ECONFLICT after lease_interrupt(). */
int lease_wait(lease_t *l);
void lease_interrupt(lease_t *l); /* any thread */
/* Held, and not about to end. Any thread; asks the clock. */
bool lease_is_held(lease_t *l);
/* One line: "holds the lease …", "stands by: … holds the lease …". */
void lease_describe(lease_t *l, char *out, size_t cap);
/* Gives it back, if it is held, so that another one need not wait; frees. */
void lease_close(lease_t *l);
#endif
