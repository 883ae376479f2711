/* Cluster events about workflow pods → pod_event. No I/O and no threads; one owner (the operator's loop), but for events_read(). */
#ifndef OPERATOR_EVENTS_H
#define OPERATOR_EVENTS_H
#include <stdint.h>
#include "base/json.h"

/* What counts of a core/v1 Event, in one block: free(). */
typedef struct event_facts event_facts_t;
/* NULL when it is about nothing that pods are told of, or cannot be read. Any thread. */
event_facts_t *events_read(const char *json, size_t len);
size_t events_size(const event_facts_t *f);

typedef struct events events_t;
events_t *events_new(const char *namespace_);
void events_free(events_t *e);
/* Body of the pod_event that an event gives, or NULL: not about a pod of ours, or told before. */
json_t *events_apply(events_t *e, const event_facts_t *event, int64_t now_us);
#endif
