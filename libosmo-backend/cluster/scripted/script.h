/* What a script says about pods, and the pod states it leads to. Pure; used by scripted.c alone.
 *
 *     tasks:                      # the first pattern that matches the task name (or the pod name) counts
 *       train-*: {duration_ms: 200, exit_code: 3, message: out of luck, retry: 0}
 *       "*":     {node: node-b, event: evict, log: "last words"}
 *
 * event: image_pull_error, evict, node_loss, preempt, oom, start_error, delete, unschedulable. retry limits a row to one retry. */
#ifndef SCRIPTED_SCRIPT_H
#define SCRIPTED_SCRIPT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "osmo/error.h"

enum script_event { EVENT_NONE, EVENT_IMAGE_PULL_ERROR, EVENT_EVICT, EVENT_NODE_LOSS, EVENT_PREEMPT, EVENT_OOM, EVENT_START_ERROR,
                    EVENT_DELETE, EVENT_UNSCHEDULABLE };
struct script_rule { char *pattern, *message, *node, *log; int64_t duration_ms, exit_code, retry; enum script_event event; };
struct script { struct script_rule *rules; size_t len; };

int script_load(const char *path, struct script *out, osmo_error_t *err); /* path NULL: no rules */
void script_free(struct script *s);
/* Never NULL: without a matching row every pod succeeds at once. */
const struct script_rule *script_find(const struct script *s, const json_t *pod);

enum pod_phase { POD_PENDING, POD_INITIALIZING, POD_RUNNING, POD_ENDED };
/* Put a status (and a node) into the pod. */
int script_pod_status(json_t *pod, const struct script_rule *rule, enum pod_phase phase, const char *now);
json_t *script_node(const char *name);
#define SCRIPT_NODE "scripted-node"
#endif
