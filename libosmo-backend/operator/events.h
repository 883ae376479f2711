/* Cluster events about workflow pods → pod_event. No I/O and no threads; one owner (the operator's loop). */
#ifndef OPERATOR_EVENTS_H
#define OPERATOR_EVENTS_H
#include <stdint.h>
#include "base/json.h"
typedef struct events events_t;
events_t *events_new(const char *namespace_);
void events_free(events_t *e);
/* Body of the pod_event that a core/v1 Event gives, or NULL: not about a pod of ours, or told before. */
json_t *events_apply(events_t *e, const json_t *event, int64_t now_us);
#endif
