/* The picture of all roles that decisions are made from: parsed documents, and what sets of them together permit, prepared when somebody
 * first asks with such a set. Immutable but for that; guarded by its owner, engine/access.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/access_internal.h"

static void role_freep(void *p) {
    role_clear(p);
    free(p);
}

static void grants_freep(void *p) { grants_free(p); }

void picture_free(struct picture *p) {
    if (!p)
        return;
    map_free(p->roles);
    map_free(p->grants);
    free(p);
}

struct picture *picture_new(void) {
    struct picture *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->roles = map_new(role_freep);
    p->grants = map_new(grants_freep);
    if (p->roles && p->grants)
        return p;
    picture_free(p);
    return NULL;
}

int picture_add(struct picture *p, struct role *r, osmo_error_t *err) {
    if (map_len(p->roles) >= ROLES_MAX && !map_has(p->roles, r->name)) {
        role_clear(r);
        return osmo_error_set(err, OSMO_ELIMIT, "there are more than %d roles", ROLES_MAX);
    }
    struct role *copy = malloc(sizeof *copy);
    if (!copy) {
        role_clear(r);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *copy = *r;
    *r = (struct role){ 0 };
    return map_set(p->roles, copy->name, copy) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

const struct role *picture_role(const struct picture *p, const char *name) { return map_get(p->roles, name); }

const grants_t *picture_known(const struct picture *p, const char *key) { return map_get(p->grants, key); }

/* Names without a role permit nothing. */
int picture_prepare(struct picture *p, const char *key, const strlist_t *names, const grants_t **out, osmo_error_t *err) {
    const struct role **roles = calloc(names->len + 1, sizeof *roles);
    size_t n = 0;
    grants_t *g = NULL;
    for (size_t i = 0; roles && i <= names->len; i++) {
        const struct role *r = picture_role(p, i < names->len ? names->items[i] : ROLE_OF_EVERYBODY);
        if (r)
            roles[n++] = r;
    }
    int rc = roles ? grants_new(roles, n, &g, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    free(roles);
    if (rc < 0)
        return rc;
    if (map_len(p->grants) >= PICTURE_GRANTS_MAX) { /* sets come back quickly, and so many are rare */
        map_t *fresh = map_new(grants_freep);
        if (!fresh) {
            grants_free(g);
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
        map_free(p->grants);
        p->grants = fresh;
    }
    if (map_set(p->grants, key, g) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = g;
    return 0;
}
