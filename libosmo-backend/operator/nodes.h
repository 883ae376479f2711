/* Nodes of the cluster as the service sees them: resource messages, availability by rules, usage summed per node from
 * pods. No I/O and no threads; one owner (the operator's loop). Messages leave through `emit`. */
#ifndef OPERATOR_NODES_H
#define OPERATOR_NODES_H
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "base/log.h"
#include "model/messages.h"
#include "operator/pod_facts.h"

/* Takes body. `key` names what a newer message of the same key replaces while it waits. */
typedef void (*nodes_emit_fn)(void *ctx, enum message_type type, const char *key, json_t *body);

/* Asks for a label on a node, by metadata.name: value "True" or "False". */
typedef void (*nodes_label_fn)(void *ctx, const char *node, const char *label, const char *value);

typedef struct nodes nodes_t;
nodes_t *nodes_new(const char *namespace_, nodes_emit_fn emit, void *ctx, const logger_t *log);
void nodes_free(nodes_t *n);
/* Pods of this namespace count as workflows' too. At the start, before any pod. */
int nodes_include_namespace(nodes_t *n, const char *namespace_);
/* From now on `set` is asked to write whether a node is available to its label <prefix>verified, whenever the label
 * says something else. */
int nodes_label_with(nodes_t *n, const char *prefix, nodes_label_fn set, void *ctx);
/* ADDED or MODIFIED, and DELETED. */
void nodes_apply(nodes_t *n, const json_t *node);
void nodes_remove(nodes_t *n, const json_t *node);
/* Pods of any namespace; their requests count while they run, or wait with a node. Marks nodes dirty; nothing is sent
 * yet. */
void nodes_apply_pod(nodes_t *n, const pod_facts_t *pod);
void nodes_remove_pod(nodes_t *n, const pod_facts_t *pod);
bool nodes_is_dirty(const nodes_t *n);
/* Send resource_usage of the dirty nodes whose rounded values changed. */
void nodes_flush_usage(nodes_t *n);
/* A list of all nodes begins. Until nodes_are_all() there is no node_hash: the service fails the tasks of nodes that it leaves out. */
void nodes_begin(nodes_t *n);
/* The list came to its end; true when that is news. */
bool nodes_are_all(nodes_t *n);
/* Everything again, and node_hash: after the connection came (back). */
void nodes_resend(nodes_t *n);
/* Rules {"type regex": "status regex"} or NULL for the default; a bad set is refused with the reason and the old one
 * stays. */
int nodes_set_rules(nodes_t *n, const json_t *rules, osmo_error_t *err);
#endif
