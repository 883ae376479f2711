/**
 * @file osmo/policy.h
 * @brief Who may do what, without a service: role documents in, decisions and their reasons out.
 *
 * Roles are the documents that OSMO keeps and exchanges: a name and policies, each of which allows or denies actions
 * ("workflow:Create", "workflow:*", "*:Read", "*:*") on resources ("pool/team-a", "pool/team-*", "*"). A denial of any role wins over
 * everything that others allow; what nobody allows is not allowed. Pure computation: nothing is read, written or timed.
 *
 * @code
 * osmo_policy_t *policy;
 * osmo_policy_grants_t *grants;
 * const char *const roles[] = { "osmo-user", "osmo-default", NULL };
 * if (osmo_policy_new(&policy, &err) < 0 || osmo_policy_add_defaults(policy, &err) < 0 ||
 *     osmo_policy_grants(policy, roles, &grants, &err) < 0)
 *     fail(err.text);
 * int may = osmo_policy_decide(grants, osmo_policy_action("workflow:Create"), "pool/default") == OSMO_ALLOW;
 * @endcode
 */
#ifndef OSMO_POLICY_H
#define OSMO_POLICY_H
#include <stddef.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif

/** Roles by name. To be filled by one thread; may then be read by several. */
typedef struct osmo_policy osmo_policy_t;
/** What some roles together permit, prepared for quick decisions. Immutable: several threads may ask at once. */
typedef struct osmo_policy_grants osmo_policy_grants_t;

/** What is decided. */
typedef enum osmo_verdict {
    OSMO_NOT_ALLOWED = 0, /**< no policy speaks of it */
    OSMO_ALLOW = 1,       /**< a policy allows it and none denies it */
    OSMO_DENY = 2         /**< a policy denies it */
} osmo_verdict_t;

/**
 * A policy without roles.
 * @param[out] out the policy; untouched on failure. Free with osmo_policy_free()
 * @param err may be NULL
 * @return 0 or ::OSMO_ENOMEM
 */
OSMO_API int osmo_policy_new(osmo_policy_t **out, osmo_error_t *err);
/** Free a policy. Grants made from it stay. NULL is fine. */
OSMO_API void osmo_policy_free(osmo_policy_t *p);

/**
 * Add a role, or replace the one of its name.
 * @param p the policy
 * @param document JSON: {"name", "description", "policies": [{"effect", "actions", "resources"}], …}
 * @param len its length in bytes
 * @param err names the member and what it may be; may be NULL
 * @return 0, ::OSMO_EUSER (no such document), ::OSMO_ELIMIT (too many roles), another negative code (no JSON) or ::OSMO_ENOMEM; on
 * failure the policy is as before
 */
OSMO_API int osmo_policy_add(osmo_policy_t *p, const char *document, size_t len, osmo_error_t *err);
/**
 * Add the roles that every installation begins with: osmo-admin, osmo-user, osmo-backend, osmo-ctrl, and osmo-default, which a service
 * adds to the roles of every caller.
 * @param p the policy
 * @param err may be NULL
 * @return 0 or ::OSMO_ENOMEM
 */
OSMO_API int osmo_policy_add_defaults(osmo_policy_t *p, osmo_error_t *err);
/** Number of roles. */
OSMO_API size_t osmo_policy_len(const osmo_policy_t *p);

/**
 * The number of an action, for decisions. "" is what is not registered: only those may do it who may do everything.
 * @return 0 or more; ::OSMO_EINVAL when there is no such action
 */
OSMO_API int osmo_policy_action(const char *name);
/** The name of an action by its number; NULL behind the last. */
OSMO_API const char *osmo_policy_action_name(int action);

/**
 * What roles together permit.
 * @param p where their documents are
 * @param roles names, NULL at the end; names without a role permit nothing
 * @param[out] out the grants; untouched on failure. Free with osmo_policy_grants_free()
 * @param err may be NULL
 * @return 0 or ::OSMO_ENOMEM
 */
OSMO_API int osmo_policy_grants(const osmo_policy_t *p, const char *const *roles, osmo_policy_grants_t **out, osmo_error_t *err);
/** Free grants. NULL is fine. */
OSMO_API void osmo_policy_grants_free(osmo_policy_grants_t *g);
/**
 * Decide.
 * @param g the grants
 * @param action as osmo_policy_action() gives it; a negative one is not allowed
 * @param resource "pool/NAME", "config/KIND", "backend/NAME", "user/NAME"; NULL or "" for none
 */
OSMO_API osmo_verdict_t osmo_policy_decide(const osmo_policy_grants_t *g, int action, const char *resource);

/** Why it was decided so. Texts are borrowed from the policy and stay until it is changed. */
typedef struct osmo_policy_reason {
    osmo_verdict_t verdict;  /**< as osmo_policy_decide() has it */
    const char *role;        /**< whose policy decides; NULL when none does */
    size_t policy;           /**< which of its policies, from 1 */
    const char *action;      /**< the pattern there that the action matches */
    const char *resource;    /**< the pattern there that the resource matches; NULL when there was no resource */
} osmo_policy_reason_t;
/**
 * Which policy decides: of those that deny, or else of those that allow, the first in the order of the roles.
 * @param p where the documents of the roles are
 * @param roles names, NULL at the end
 * @param action as in osmo_policy_decide()
 * @param resource as in osmo_policy_decide()
 * @param[out] out the reason
 */
OSMO_API void osmo_policy_explain(const osmo_policy_t *p, const char *const *roles, int action, const char *resource,
                                  osmo_policy_reason_t *out);

#ifdef __cplusplus
}
#endif
#endif
