/* Resource rules of pools at submission: static ones over what a task asks for, and node rules over what a node of its
 * platform can give (OSMO 6.4: resource_validations). Operands are templates with the variables of pod templates and
 * K8_CPU, K8_GPU, K8_MEMORY, K8_STORAGE. Pure. */
#ifndef MODEL_VALIDATE_H
#define MODEL_VALIDATE_H
#include <stdbool.h>
#include <stddef.h>
#include "model/settings.h"
#include "model/spec.h"
#include "osmo/error.h"

/* A node of a platform: what it can give to tasks of this service, without the share of osmo-ctrl. Bytes. */
struct validate_node { const char *name; double cpu, gpu, memory, storage; };
struct validate_platform {
    const struct platform *platform;
    const struct validate_node *nodes; /* none: node rules are not evaluated, unless nodes_known */
    size_t nnodes;
    bool nodes_known; /* the list is complete: a platform without nodes refuses tasks that node rules apply to */
};

/* A resolved specification against the platforms it uses; platforms that are not listed have no known nodes.
 * OSMO_EUSER: a static rule failed; OSMO_ERESOURCE: no node satisfies all node rules, the text names what is too large
 * and the largest node; OSMO_EUSAGE: a rule cannot be evaluated. */
int validate_resources(const struct spec *s, const struct pool *pool, const char *priority,
                       const struct validate_platform *platforms, size_t nplatforms, osmo_error_t *err);
/* The whole check of resources, platform by platform and task by task in OSMO 6.4's order, all findings: one set of
 * topology keys; then for each task its platform, static rules, permissions and mounts, node rules. Equal requests are
 * reported once. 0 or f's code. */
int validate_tasks(const struct spec *s, const struct pool *pool, const char *priority,
                   const struct validate_platform *platforms, size_t nplatforms, struct spec_findings *f);
#endif
