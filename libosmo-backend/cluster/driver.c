/* The table of cluster drivers: one row each. */
#include <stddef.h>
#include <string.h>
#include "cluster/drivers.h"

static const osmo_cluster_driver_t *const drivers[] = {&local_driver, &scripted_driver};

const osmo_cluster_driver_t *osmo_cluster_driver_find(const char *name) {
    for (size_t i = 0; name && i < sizeof drivers / sizeof drivers[0]; i++) {
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    }
    return NULL;
}
