/**
 * @file osmo/backend.h
 * @brief Umbrella header of libosmo-backend.
 */
#ifndef OSMO_BACKEND_H
#define OSMO_BACKEND_H
#include <osmo/backend/cluster.h>
#include <osmo/backend/kube.h>
#include <osmo/backend/operator.h>
#include <osmo/backend/pod_status.h>
#endif
