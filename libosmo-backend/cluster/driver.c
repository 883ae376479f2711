/* The table of cluster drivers: one row each. */
#include <stddef.h>
#include <string.h>
#include "osmo/backend/cluster.h"
#include "cluster/kubernetes/kubernetes.h"
#include "cluster/local/local.h"
#include "cluster/scripted/scripted.h"

static const osmo_cluster_driver_t *const drivers[] = {&local_cluster_driver, &kubernetes_cluster_driver, &scripted_cluster_driver};

const osmo_cluster_driver_t *osmo_cluster_driver_find(const char *name) {
    for (size_t i = 0; name && i < sizeof drivers / sizeof drivers[0]; i++) {
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    }
    return NULL;
}
