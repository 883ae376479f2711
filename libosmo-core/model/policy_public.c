/* The public face of roles and decisions (osmo/policy.h) over model/policy.h. */
#include <osmo/policy.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "model/policy.h"

struct osmo_policy { map_t *roles; /* name → struct role * */ };
struct osmo_policy_grants { grants_t *inner; };

_Static_assert((int)OSMO_NOT_ALLOWED == (int)VERDICT_NONE && (int)OSMO_ALLOW == (int)VERDICT_ALLOW &&
               (int)OSMO_DENY == (int)VERDICT_DENY, "public verdicts");

static void role_freep(void *p) {
    role_clear(p);
    free(p);
}

int osmo_policy_new(osmo_policy_t **out, osmo_error_t *err) {
    osmo_policy_t *p = calloc(1, sizeof *p);
    if (p)
        p->roles = map_new(role_freep);
    if (!p || !p->roles) {
        free(p);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = p;
    return 0;
}

void osmo_policy_free(osmo_policy_t *p) {
    if (!p)
        return;
    map_free(p->roles);
    free(p);
}

size_t osmo_policy_len(const osmo_policy_t *p) { return map_len(p->roles); }

int osmo_policy_add(osmo_policy_t *p, const char *document, size_t len, osmo_error_t *err) {
    _cleanup_json_ json_t *v = NULL;
    int rc = json_parse(document, len, &v, err);
    if (rc < 0)
        return rc;
    struct role *r = calloc(1, sizeof *r);
    rc = r ? role_read(v, r, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0 && map_len(p->roles) >= ROLES_MAX && !map_has(p->roles, r->name)) {
        role_clear(r);
        rc = osmo_error_set(err, OSMO_ELIMIT, "there are more than %d roles", ROLES_MAX);
    }
    if (rc < 0) {
        free(r);
        return rc;
    }
    return map_set(p->roles, r->name, r) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

int osmo_policy_add_defaults(osmo_policy_t *p, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && role_default(i); i++)
        rc = osmo_policy_add(p, role_default(i), strlen(role_default(i)), err);
    return rc;
}

/* ---- actions ---- */

int osmo_policy_action(const char *name) {
    enum action a = action_parse(name);
    return a != ACTION_NONE || str_eq(name, "") ? (int)a : OSMO_EINVAL;
}

const char *osmo_policy_action_name(int action) {
    return action >= 0 && action < (int)ACTION_COUNT ? action_name((enum action)action) : NULL;
}

/* ---- decisions ---- */

int osmo_policy_grants(const osmo_policy_t *p, const char *const *roles, osmo_policy_grants_t **out, osmo_error_t *err) {
    size_t n = 0, known = 0;
    while (roles[n])
        n++;
    const struct role **list = calloc(n + 1, sizeof *list);
    osmo_policy_grants_t *g = calloc(1, sizeof *g);
    for (size_t i = 0; list && i < n; i++) {
        const struct role *r = map_get(p->roles, roles[i]);
        if (r)
            list[known++] = r;
    }
    int rc = list && g ? grants_new(list, known, &g->inner, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    free(list);
    if (rc < 0)
        free(g);
    else
        *out = g;
    return rc;
}

void osmo_policy_grants_free(osmo_policy_grants_t *g) {
    if (!g)
        return;
    grants_free(g->inner);
    free(g);
}

osmo_verdict_t osmo_policy_decide(const osmo_policy_grants_t *g, int action, const char *resource) {
    if (action < 0 || action >= (int)ACTION_COUNT)
        return OSMO_NOT_ALLOWED;
    return (osmo_verdict_t)grants_decide(g->inner, (enum action)action, resource);
}

void osmo_policy_explain(const osmo_policy_t *p, const char *const *roles, int action, const char *resource, osmo_policy_reason_t *out) {
    *out = (osmo_policy_reason_t){ .verdict = OSMO_NOT_ALLOWED };
    if (action < 0 || action >= (int)ACTION_COUNT)
        return;
    for (; *roles; roles++) {
        const struct role *r = map_get(p->roles, *roles);
        for (size_t i = 0; r && i < r->npolicies; i++) {
            const struct policy *one = &r->policies[i];
            struct policy_match m;
            if (!policy_matches(one, (enum action)action, resource, &m) || (out->role && !one->deny))
                continue;
            *out = (osmo_policy_reason_t){ one->deny ? OSMO_DENY : OSMO_ALLOW, r->name, i + 1, m.action, m.resource };
            if (one->deny)
                return;
        }
    }
}
