/* The driver for clusters of Kubernetes, for the table in driver.c. */
#ifndef CLUSTER_KUBERNETES_H
#define CLUSTER_KUBERNETES_H
#include "osmo/backend/cluster.h"
extern const osmo_cluster_driver_t kubernetes_cluster_driver;
#endif
