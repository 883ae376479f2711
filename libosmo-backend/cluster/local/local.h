/* The local cluster driver; the driver table of the operator names it. */
#ifndef CLUSTER_LOCAL_H
#define CLUSTER_LOCAL_H
#include "osmo/backend/cluster.h"
extern const osmo_cluster_driver_t local_cluster_driver;
#endif
