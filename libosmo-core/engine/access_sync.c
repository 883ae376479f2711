/* Users that an identity provider or a gateway vouches for: what its names for roles mean here. The usual request finds that nothing
 * differs and writes nothing. See access.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "engine/access_internal.h"
#include "store/repo_auth.h"

#define SYNC_BY "idp-sync"

static bool is_mapped(const struct role *r, const strlist_t *external) {
    for (size_t i = 0; i < r->external_roles.len; i++)
        if (strlist_has(external, r->external_roles.items[i]) || str_eq(r->external_roles.items[i], ROLE_OF_EVERYBODY))
            return true;
    return false;
}

/* What the picture says of a user's roles. */
struct view {
    struct role_mode *modes; size_t nmodes; /* of the roles that are synchronised; the names are copies */
    bool from_file;                         /* nothing is synchronised: the names mean these roles, as long as they come */
    bool differs;                           /* the user's roles are not what they should be */
};

static void view_clear(struct view *v) {
    for (size_t i = 0; i < v->nmodes; i++)
        free((char *)(uintptr_t)v->modes[i].role);
    free(v->modes);
}

static int view_role(struct view *v, const struct role *r, const strlist_t *external, strlist_t *held) {
    bool mapped = is_mapped(r, external), has = strlist_has(held, r->name);
    if (str_eq(r->name, ROLE_OF_EVERYBODY)) /* everybody has it: nobody is given it */
        return 0;
    if (v->from_file)
        return mapped && !has ? strlist_add(held, r->name) : 0;
    if (r->sync_mode == ROLE_SYNC_IGNORE)
        return 0;
    v->differs |= (mapped && !has) || (!mapped && has && r->sync_mode == ROLE_SYNC_FORCE);
    v->modes[v->nmodes] = (struct role_mode){ str_dup(r->name), (int)r->sync_mode };
    return v->modes[v->nmodes++].role ? 0 : OSMO_ENOMEM;
}

static int view_take(struct access *a, const strlist_t *external, strlist_t *held, struct view *v) {
    size_t it = 0;
    void *role;
    pthread_rwlock_rdlock(&a->lock);
    v->modes = calloc(map_len(a->picture->roles) + 1, sizeof *v->modes);
    v->from_file = a->picture->from_file;
    int rc = v->modes ? 0 : OSMO_ENOMEM;
    while (rc >= 0 && map_next(a->picture->roles, &it, NULL, &role))
        rc = view_role(v, role, external, held);
    pthread_rwlock_unlock(&a->lock);
    return rc;
}

struct sync { const char *user; const strlist_t *external; const struct view *view; int64_t now_us; strlist_t roles; bool changed; };

static int sync_user(db_t *db, void *ctx, osmo_error_t *err) {
    struct sync *s = ctx;
    const struct user_row row = { .name = (char *)(uintptr_t)s->user, .created_by = (char *)(uintptr_t)SYNC_BY, .created_us = s->now_us };
    int rc = repo_user_lock(db, s->user, err);
    if (rc == OSMO_ENOTFOUND)
        rc = repo_user_add(db, &row, err);
    return rc < 0 ? rc : repo_user_sync(db, s->user, s->external, s->view->modes, s->view->nmodes, s->now_us, &s->roles, &s->changed, err);
}

static int read_user(engine_t *e, const char *user, strlist_t *held, bool *known, osmo_error_t *err) {
    struct user_row row = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_user_get(db, user, &row, err);
    *known = rc >= 0;
    if (rc == OSMO_ENOTFOUND)
        rc = 0;
    if (rc >= 0 && *known)
        rc = repo_user_roles(db, user, held, err);
    user_row_clear(&row);
    return rc;
}

static int write_user(engine_t *e, struct sync *s, strlist_t *roles, osmo_error_t *err) {
    int rc = store_write(e->store, s->user, sync_user, s, err);
    if (rc >= 0 && !s->view->from_file) {
        strlist_free(roles);
        *roles = s->roles;
        s->roles = (strlist_t){ 0 };
    }
    strlist_free(&s->roles);
    if (rc >= 0 && s->changed)
        access_changed(e);
    return rc;
}

static int look(engine_t *e, const char *user, const strlist_t *external, strlist_t *roles, bool *known, struct view *view,
                osmo_error_t *err) {
    int rc = read_user(e, user, roles, known, err);
    if (rc >= 0 && view_take(e->access, external, roles, view) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return rc;
}

int access_sync(engine_t *e, const char *user, const strlist_t *external, strlist_t *roles, osmo_error_t *err) {
    _cleanup_(view_clear) struct view view = { 0 };
    bool known = false;
    int rc = look(e, user, external, roles, &known, &view, err);
    struct sync s = { .user = user, .external = external, .view = &view, .now_us = engine_now(e) };
    if (rc >= 0 && (!known || view.differs))
        rc = write_user(e, &s, roles, err);
    if (rc < 0)
        strlist_free(roles);
    return rc;
}

int access_held(engine_t *e, const char *user, const strlist_t *external, strlist_t *roles, osmo_error_t *err) {
    _cleanup_(view_clear) struct view view = { 0 };
    bool known;
    int rc = look(e, user, external, roles, &known, &view, err);
    if (rc < 0)
        strlist_free(roles);
    return rc;
}
