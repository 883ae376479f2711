/* The decision of osmo_pod_status() on facts, for those who hold them already. */
#ifndef OPERATOR_POD_DECIDE_H
#define OPERATOR_POD_DECIDE_H
#include <stdint.h>
#include "operator/pod_facts.h"
#include "osmo/backend/pod_status.h"

/* *recheck_us is the time at which a grace period ends and the pod must be looked at again without an event; 0 = none. */
int pod_decide(const pod_facts_t *pod, int64_t now_us, osmo_pod_status_t *out, int64_t *recheck_us, osmo_error_t *err);
#endif
