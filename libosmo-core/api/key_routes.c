/* Rotation of the service's own keys, for administrators. */
#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/vault.h"

static int rotate_signing(struct call *c, json_t *answer, osmo_error_t *err) {
    (void)answer;
    return auth_rotate_key(c->engine, err);
}

/* "left": what cannot be opened by any key there is, and stays as it is. */
static int rotate_master(struct call *c, json_t *answer, osmo_error_t *err) {
    strlist_t left = { 0 };
    int rc = vault_rotate(c->engine, &left, err);
    if (rc >= 0 && json_set_strs(answer, "left", &left) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < left.len; i++)
        log_warning(&c->engine->log, "not wrapped under the new master key: %s", left.items[i]);
    strlist_free(&left);
    return rc;
}

int post_rotate_key(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL, *answer = json_object();
    int rc = body_json(c, &body, err);
    if (rc < 0)
        return rc;
    const char *what = json_get_str(body, "what");
    bool signing = str_eq(what, "signing");
    if (!signing && !str_eq(what, "master")) {
        rc = answer_unprocessable(c, "body", "what", what ? "enum" : "missing",
                                  what ? "Input should be 'signing' or 'master'" : "Field required");
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    if (!answer || json_set_str(answer, "what", what) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    rc = signing ? rotate_signing(c, answer, err) : rotate_master(c, answer, err);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(answer));
}
