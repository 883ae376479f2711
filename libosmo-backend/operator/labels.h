/* Writes labels to nodes, one after another, away from the loop: the newest value of each, tried again when the cluster does not take it.
 * Called by operator.c. */
#ifndef OPERATOR_LABELS_H
#define OPERATOR_LABELS_H
#include "base/log.h"
#include "osmo/backend/cluster.h"

typedef struct labels labels_t;
/* impl is that of the driver, and must outlive it. NULL without memory or threads. */
labels_t *labels_new(const osmo_cluster_driver_t *driver, void *impl, const logger_t *log);
/* Any thread; ctx is a labels_t. */
void labels_set(void *ctx, const char *node, const char *label, const char *value);
/* What is still to be written is left. The driver must have been stopped, so that no call of it takes long. */
void labels_free(labels_t *l);
#endif
