/* The caller's stored credentials: list, set, delete. What is in them goes in and never out. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/credentials.h"
#include "engine/data_access.h"
#include "engine/registry.h"

static json_t *row_json(const struct credential_row *row) {
    json_t *o = json_object();
    if (o && json_set_str(o, "cred_name", row->name) >= 0 && json_set_str(o, "cred_type", row->type) >= 0 &&
        json_set_text(o, "profile", row->profile) >= 0)
        return o;
    json_free(o);
    return NULL;
}

static int answer_rows(struct call *c, const struct credential_row *rows, size_t n) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    int rc = o && list ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        json_t *row = row_json(&rows[i]);
        rc = row ? json_add(list, row) : OSMO_ENOMEM;
    }
    if (rc < 0) {
        json_free(list);
        return rc;
    }
    return json_set(o, "credentials", list) < 0 ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_credentials(struct call *c, osmo_error_t *err) {
    struct credential_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_credential_list(db, c->user, &rows, &n, err);
    if (rc >= 0)
        rc = answer_rows(c, rows, n);
    credential_rows_free(rows, n);
    return rc;
}

/* The body as it came, in memory that leaves nothing behind. */
static int read_body(struct call *c, json_t **out, osmo_error_t *err) {
    osmo_error_t reason = OSMO_ERROR_INIT;
    int rc = 0;
    if (!c->rq->body_len)
        rc = answer_unprocessable(c, "body", NULL, "missing", "Field required: the request needs a JSON object as its body");
    else if (json_parse_secret(c->rq->body, c->rq->body_len, out, &reason) < 0)
        rc = answer_unprocessable(c, "body", NULL, "json_invalid", reason.text);
    else if (json_kind(*out) != JSON_OBJECT)
        rc = answer_unprocessable(c, "body", NULL, "model_attributes_type", "Input should be a JSON object");
    else
        return 0;
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "the request body is not a JSON object");
}

static int set_credential(struct call *c, const char *name, const json_t *body, osmo_error_t *err) {
    _cleanup_(credential_clear) struct credential cred;
    struct credential_fault fault;
    int rc = credential_read(body, &cred, &fault, err);
    if (rc == OSMO_EINVAL) {
        rc = answer_unprocessable(c, "body", fault.field, fault.type, fault.message);
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    if (rc >= 0 && cred.kind == CREDENTIAL_REGISTRY)
        rc = registry_check_login(c->engine, cred.profile, json_get_str(cred.pairs, "username"),
                                  json_get_str(cred.pairs, "auth"), err);
    if (rc >= 0 && cred.kind == CREDENTIAL_DATA)
        rc = data_access_check_login(c->engine, &cred, err);
    return rc < 0 ? rc : credentials_store(c->engine, c->user, name, &cred, err);
}

int post_credential(struct call *c, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *body = NULL;
    const char *name = c->params[0];
    if (!credential_name_valid(name))
        return osmo_error_set(err, OSMO_EUSER, "'%.80s' is no name of a credential: it begins with a letter, ends with a letter or "
                              "digit and has letters, digits, _ and - in between, at most 128", name);
    int rc = read_body(c, &body, err);
    if (rc >= 0)
        rc = set_credential(c, name, body, err);
    return rc < 0 ? rc : answer_null(c);
}

int delete_credential(struct call *c, osmo_error_t *err) {
    struct credential_row row = { 0 };
    int rc = credentials_remove(c->engine, c->user, c->params[0], &row, err);
    if (rc >= 0)
        rc = answer_rows(c, &row, 1);
    credential_row_clear(&row);
    return rc;
}
