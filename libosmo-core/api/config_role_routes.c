/* Roles as administrators write them: /api/configs/role. The path decides which role a document is of. */
#include <stdlib.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/access.h"
#include "engine/config_objects.h"

int get_config_roles(struct call *c, osmo_error_t *err) {
    json_t *roles = NULL;
    int rc = access_roles_json(c->engine, &roles, err);
    return rc < 0 ? rc : answer_json(c, 200, roles);
}

int get_config_role(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *roles = NULL;
    int rc = access_roles_json(c->engine, &roles, err);
    for (size_t i = 0; rc >= 0 && i < json_len(roles); i++) {
        json_t *one = json_at(roles, i);
        if (str_eq(json_get_str(one, "name"), c->params[0]))
            return answer_json(c, 200, json_ref(one));
    }
    return rc < 0 ? rc : osmo_error_set(err, OSMO_EUSER, "Role %s does not exist; osmo config list ROLE shows the roles", c->params[0]);
}

/* ---- changes ---- */

struct documents { struct role *roles; const struct role **list; size_t n; };

static void documents_clear(struct documents *d) {
    for (size_t i = 0; i < d->n; i++)
        role_clear(&d->roles[i]);
    free(d->roles);
    free(d->list);
}

static int documents_new(struct documents *d, size_t n, osmo_error_t *err) {
    d->roles = calloc(n + 1, sizeof *d->roles);
    d->list = calloc(n + 1, sizeof *d->list);
    return d->roles && d->list ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int read_one(struct documents *d, const json_t *document, osmo_error_t *err) {
    int rc = role_read(document, &d->roles[d->n], err);
    if (rc >= 0) {
        d->list[d->n] = &d->roles[d->n];
        d->n++;
    }
    return rc;
}

int put_config_roles(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    _cleanup_(documents_clear) struct documents d = { 0 };
    json_t *list = NULL;
    int rc = config_payload(c, "configs", JSON_ARRAY, &body, &list, err);
    if (rc >= 0 && json_len(list) > ROLES_MAX)
        rc = osmo_error_set(err, OSMO_ELIMIT, "more than %d roles at once", ROLES_MAX);
    if (rc >= 0)
        rc = documents_new(&d, json_len(list), err);
    for (size_t i = 0; rc >= 0 && i < json_len(list); i++)
        rc = read_one(&d, json_at(list, i), err);
    if (rc >= 0)
        rc = access_put_roles(c->engine, d.list, d.n, err);
    return rc < 0 ? rc : answer_null(c);
}

int put_config_role(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL, *named = NULL;
    _cleanup_(documents_clear) struct documents d = { 0 };
    json_t *document = NULL;
    int rc = config_payload(c, "configs", JSON_OBJECT, &body, &document, err);
    if (rc < 0)
        return rc;
    if (json_has(document, "name") && !str_eq(json_get_str(document, "name"), c->params[0]))
        return osmo_error_set(err, OSMO_EUSER, "the document is of role '%.100s', the path of role '%.100s': they must be the same",
                              json_get_str(document, "name") ? json_get_str(document, "name") : "", c->params[0]);
    named = json_copy(document);
    rc = named && json_set_str(named, "name", c->params[0]) >= 0 ? documents_new(&d, 1, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = read_one(&d, named, err);
    if (rc >= 0)
        rc = access_put_roles(c->engine, d.list, d.n, err);
    return rc < 0 ? rc : answer_null(c);
}

int delete_config_role(struct call *c, osmo_error_t *err) {
    int rc = config_remark(c, err);
    if (rc >= 0)
        rc = access_delete_role(c->engine, c->params[0], err);
    return rc < 0 ? rc : answer_null(c);
}
