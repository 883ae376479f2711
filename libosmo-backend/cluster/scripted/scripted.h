/* The scripted cluster driver; for cluster/driver.c only. */
#ifndef CLUSTER_SCRIPTED_H
#define CLUSTER_SCRIPTED_H
#include "osmo/backend/cluster.h"
extern const osmo_cluster_driver_t scripted_cluster_driver;
#endif
