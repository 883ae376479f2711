/* Whose a pod is, small enough to be kept for every one of them: what are UUIDs without dashes, as OSMO's ids are,
 * takes half its size. Called by the pod tracker. */
#ifndef OPERATOR_POD_IDS_H
#define OPERATOR_POD_IDS_H
#include "operator/pod_facts.h"

struct pod_ids { const char *label[LABEL_KEPT]; int64_t retry; }; /* borrowed texts, NULL = none */
struct pod_ids pod_ids_of(const pod_facts_t *pod);

#define POD_IDS_MAX (LABEL_KEPT * 254)
size_t pod_ids_pack(const pod_facts_t *pod, uint8_t out[POD_IDS_MAX]);
struct pod_unpacked { char text[LABEL_KEPT][256]; };
struct pod_ids pod_ids_unpack(const uint8_t *packed, size_t len, struct pod_unpacked *texts);

uint64_t pod_ids_mix(uint64_t hash, const char *text); /* NULL is another text than ""; never 0 */
uint64_t pod_ids_hash(const char *text);               /* 0 for NULL */
#endif
