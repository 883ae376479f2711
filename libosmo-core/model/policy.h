/* Roles and what they permit: documents, and the decision whether callers with some roles may do an action on a resource. Pure. For the
 * authorisation of requests (engine/access.c) and embedders (osmo/policy.h).
 *
 * A policy allows or denies actions ("workflow:Create", "workflow:*", "*:Read", "*:*", "*") on resources ("pool/team-a", "pool/team-*",
 * "*"). A denial of any role wins over everything that others allow; what nobody allows is denied. A policy without resources speaks of
 * requests without a resource only. Requests outside of the registry of actions (ACTION_NONE) are for those who may do everything on
 * everything. "auth:Token" on "*" is about one's own tokens: those of others take a resource that names users, or everything. */
#ifndef MODEL_POLICY_H
#define MODEL_POLICY_H
#include <stdbool.h>
#include <stddef.h>
#include "base/json.h"
#include "base/str.h"
#include "osmo/error.h"

#define ROLE_OF_EVERYBODY "osmo-default" /* what everybody has, whether given or not */
#define ROLES_MAX 4096
#define ROLE_POLICIES_MAX 256
#define POLICY_TEXTS_MAX 1024 /* actions, and resources, of one policy */
#define POLICY_TEXT_MAX 512   /* bytes of one */

/* Every action that a route can need; ACTION_NONE is for routes that have none. */
#define POLICY_ACTIONS(X)                                                                                                                  \
    X(ACTION_NONE, "")                                                                                                                     \
    X(ACTION_WORKFLOW_CREATE, "workflow:Create")                                                                                           \
    X(ACTION_WORKFLOW_LIST, "workflow:List")                                                                                               \
    X(ACTION_WORKFLOW_READ, "workflow:Read")                                                                                               \
    X(ACTION_WORKFLOW_UPDATE, "workflow:Update")                                                                                           \
    X(ACTION_WORKFLOW_DELETE, "workflow:Delete")                                                                                           \
    X(ACTION_WORKFLOW_CANCEL, "workflow:Cancel")                                                                                           \
    X(ACTION_WORKFLOW_EXEC, "workflow:Exec")                                                                                               \
    X(ACTION_WORKFLOW_PORT_FORWARD, "workflow:PortForward")                                                                                \
    X(ACTION_WORKFLOW_RSYNC, "workflow:Rsync")                                                                                             \
    X(ACTION_POOL_LIST, "pool:List")                                                                                                       \
    X(ACTION_CREDENTIALS_CREATE, "credentials:Create")                                                                                     \
    X(ACTION_CREDENTIALS_READ, "credentials:Read")                                                                                         \
    X(ACTION_CREDENTIALS_UPDATE, "credentials:Update")                                                                                     \
    X(ACTION_CREDENTIALS_DELETE, "credentials:Delete")                                                                                     \
    X(ACTION_PROFILE_READ, "profile:Read")                                                                                                 \
    X(ACTION_PROFILE_UPDATE, "profile:Update")                                                                                             \
    X(ACTION_USER_LIST, "user:List")                                                                                                       \
    X(ACTION_APP_CREATE, "app:Create")                                                                                                     \
    X(ACTION_APP_READ, "app:Read")                                                                                                         \
    X(ACTION_APP_UPDATE, "app:Update")                                                                                                     \
    X(ACTION_APP_DELETE, "app:Delete")                                                                                                     \
    X(ACTION_RESOURCES_READ, "resources:Read")                                                                                             \
    X(ACTION_CONFIG_READ, "config:Read")                                                                                                   \
    X(ACTION_CONFIG_UPDATE, "config:Update")                                                                                               \
    X(ACTION_AUTH_LOGIN, "auth:Login")                                                                                                     \
    X(ACTION_AUTH_REFRESH, "auth:Refresh")                                                                                                 \
    X(ACTION_AUTH_TOKEN, "auth:Token")                                                                                                     \
    X(ACTION_MCP_ACCESS, "mcp:Access")                                                                                                     \
    X(ACTION_SYSTEM_HEALTH, "system:Health")                                                                                               \
    X(ACTION_SYSTEM_VERSION, "system:Version")                                                                                             \
    X(ACTION_INTERNAL_OPERATOR, "internal:Operator")                                                                                       \
    X(ACTION_INTERNAL_LOGGER, "internal:Logger")                                                                                           \
    X(ACTION_INTERNAL_ROUTER, "internal:Router")
#define POLICY_ACTION_ENUM(id, name) id,
enum action { POLICY_ACTIONS(POLICY_ACTION_ENUM) ACTION_COUNT };
const char *action_name(enum action a); /* "" for ACTION_NONE */
/* ACTION_NONE when it is not registered. */
enum action action_parse(const char *text);

enum role_sync { ROLE_SYNC_IMPORT, ROLE_SYNC_FORCE, ROLE_SYNC_IGNORE };
struct policy { bool deny; strlist_t actions, resources; };
struct role {
    char *name, *description;
    struct policy *policies;
    size_t npolicies;
    bool immutable;
    enum role_sync sync_mode;
    bool has_external; /* external_roles was given: an empty list clears the mappings, an absent one leaves them */
    strlist_t external_roles;
};

/* {"name", "description", "policies": [{"effect", "actions", "resources"}], "immutable", "sync_mode", "external_roles"}; a lone text
 * stands for a list of one. OSMO_EUSER names the member and what it may be. */
int role_read(const json_t *document, struct role *out, osmo_error_t *err);
void role_clear(struct role *r);
/* NULL when memory is short. Actions are sorted, empty resources are left out. */
json_t *role_json(const struct role *r);
/* The roles every installation begins with; NULL at the end of the list. Borrowed text of a role document each. */
const char *role_default(size_t i);
/* Adds to `have` what the default role of its name permits and it does not. *changed tells whether there was any. */
int role_complete(struct role *have, const struct role *standard, bool *changed, osmo_error_t *err);

/* Does this one policy speak of the action on the resource, and by which of its texts? resource is NULL for requests without one. */
struct policy_match { const char *action, *resource; };
bool policy_matches(const struct policy *p, enum action a, const char *resource, struct policy_match *out);

/* What some roles together permit. Immutable, so that several threads may ask. */
typedef struct grants grants_t;
int grants_new(const struct role *const *roles, size_t n, grants_t **out, osmo_error_t *err);
void grants_free(grants_t *g);
enum policy_verdict { VERDICT_NONE, VERDICT_ALLOW, VERDICT_DENY };
/* resource: "pool/NAME", "config/KIND", "backend/NAME", "user/NAME"; NULL or "" for none. Never "X/…" of something unknown: the caller
 * refuses what does not exist to those who may not see everything. */
enum policy_verdict grants_decide(const grants_t *g, enum action a, const char *resource);
/* On all resources of a kind ("pool/") there could be, nothing denied. */
bool grants_allow_every(const grants_t *g, enum action a, const char *kind);
/* On one resource of the kind at least, that exists or not. */
bool grants_allow_some(const grants_t *g, enum action a, const char *kind);
static inline bool grants_allow(const grants_t *g, enum action a, const char *resource) {
    return grants_decide(g, a, resource) == VERDICT_ALLOW;
}
#endif
