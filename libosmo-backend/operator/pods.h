/* Pods of workflows as the service hears of them: update_pod, monitor_pod, pod_conditions. No I/O and no threads; one
 * owner (the operator's loop). */
#ifndef OPERATOR_PODS_H
#define OPERATOR_PODS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "base/log.h"
#include "model/messages.h"
#include "operator/pod_facts.h"

struct pods_out {
    void *ctx;
    /* Takes body and keeps the message until it is acknowledged. False when it could not be taken. */
    bool (*emit)(void *ctx, enum message_type type, json_t *body);
    /* Is the operator itself removing what carries these labels (of pod_facts.h)? Then a deleted pod is no failure. */
    bool (*cleaning)(void *ctx, const json_t *labels);
};

typedef struct pods pods_t;
pods_t *pods_new(const char *backend, const char *namespace_, const struct pods_out *out, const logger_t *log);
void pods_free(pods_t *p);
/* What a snapshot says of a pod; *out stays NULL for one that is none of a workflow. */
int pods_describe(const char *namespace_, const pod_facts_t *pod, int64_t now_us, json_t **out);
void pods_apply(pods_t *p, pod_facts_t *pod, int64_t now_us);
/* Its last state, or no more than name, namespace and uid. */
void pods_remove(pods_t *p, pod_facts_t *pod, int64_t now_us);
/* Look again at pods whose grace period is over. Returns the time of the next one, 0 = none. */
int64_t pods_recheck(pods_t *p, int64_t now_us);
/* The earliest time at which pods_recheck() may have something to do, 0 = none. */
int64_t pods_next_recheck(const pods_t *p);
size_t pods_count(const pods_t *p);
#endif
