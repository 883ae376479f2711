/* Something small for every pod of a cluster, found by the pod's uid (or by its name, where a cluster has no uids).
 * Items lie side by side: a pointer to one is good until the next pod_table_add() or pod_table_remove(). Called by the
 * trackers. */
#ifndef OPERATOR_POD_TABLE_H
#define OPERATOR_POD_TABLE_H
#include "operator/pod_facts.h"

struct pod_key { uint64_t a, b; };
/* False when the pod has neither uid nor name. */
bool pod_key_of(const pod_facts_t *pod, struct pod_key *out);

typedef struct pod_table pod_table_t;
pod_table_t *pod_table_new(size_t item_size);
void pod_table_free(pod_table_t *t);
size_t pod_table_count(const pod_table_t *t);
void *pod_table_get(const pod_table_t *t, struct pod_key key);
/* A new item of zeros; the key must not be there yet. NULL without memory. */
void *pod_table_add(pod_table_t *t, struct pod_key key);
void pod_table_remove(pod_table_t *t, struct pod_key key);
void *pod_table_at(const pod_table_t *t, size_t i); /* i below the count; order is nothing to rely on */
#endif
