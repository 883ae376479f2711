/* PodGroups, Queues and Topologies in a cluster without KAI: each is kept in a ConfigMap of the namespace, with the labels of the
 * object, so that selectors find it, and its text. Pure translation; called by objects.c, removal.c and gang.c. */
#ifndef KUBERNETES_KEPT_H
#define KUBERNETES_KEPT_H
#include <stdbool.h>
#include "base/json.h"

#define KEPT_LABEL "osmo.kind"
#define KEPT_NAME_MAX 254

/* Is it a kind that is kept? The versions that KAI gives it count, so that somebody else's Queue is none. */
bool kept_is(const char *api_version, const char *kind);
/* Name of its ConfigMap. False when it would be too long. */
bool kept_name(const char *kind, const char *name, char out[KEPT_NAME_MAX]);
/* The ConfigMap of an object; *out is malloc'ed. OSMO_EINVAL without kind or name */
int kept_wrap(const char *json, size_t len, const char *namespace_, char **out, osmo_error_t *err);
/* The text of the object in a ConfigMap. *out is malloc'ed; NULL when it holds none. OSMO_ENOMEM */
int kept_unwrap(const char *json, size_t len, char **out);
/* "selector,osmo.kind=Kind"; malloc'ed, NULL without memory. */
char *kept_selector(const char *kind, const char *selector);
#endif
