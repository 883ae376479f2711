/* The decision of osmo_pod_status() on a parsed pod, for the pod tracker that already holds the tree. */
#ifndef OPERATOR_POD_DECIDE_H
#define OPERATOR_POD_DECIDE_H
#include <stdint.h>
#include "base/json.h"
#include "osmo/backend/pod_status.h"

/* *recheck_us is the time at which a grace period ends and the pod must be looked at again without an event; 0 = none. */
int pod_decide(const json_t *pod, int64_t now_us, osmo_pod_status_t *out, int64_t *recheck_us, osmo_error_t *err);
#endif
