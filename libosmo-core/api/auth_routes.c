/* Login information, public keys and the two token exchanges. All are open: the token in the request is the proof. Refused ones count
 * against the peer, as every refused proof of identity does. */
#include <stdlib.h>
#include <string.h>

#include "api/guard.h"
#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/crypto.h"

int get_login_info(struct call *c, osmo_error_t *err) {
    (void)err;
    const struct settings *s = engine_settings(c->engine);
    const struct login_info *l = &s->login_info;
    const struct { const char *name, *value; } members[] = {
        { "device_endpoint", l->device_endpoint },   { "device_client_id", l->device_client_id },
        { "browser_endpoint", l->browser_endpoint }, { "browser_client_id", l->browser_client_id },
        { "token_endpoint", l->token_endpoint },     { "logout_endpoint", l->logout_endpoint },
    };
    _cleanup_json_ json_t *o = json_object();
    bool failed = !o;
    for (size_t i = 0; !failed && i < ARRAY_SIZE(members); i++)
        failed = json_set_str(o, members[i].name, members[i].value) < 0;
    engine_settings_put(s);
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_keys(struct call *c, osmo_error_t *err) {
    json_t *keys = auth_jwks(c->engine);
    if (!keys)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the signing key is not available; see the service log");
    return answer_json(c, 200, keys);
}

/* For the audit log: whose token it was. */
static void remember_caller(struct call *c, const char *jwt) {
    _cleanup_json_ json_t *claims = NULL;
    if (jwt_peek(jwt, strlen(jwt), &claims, NULL) < 0)
        return;
    bool task = json_has(claims, "osmo_workflow_id");
    c->who.kind = task ? IDENTITY_TASK : json_has(claims, "osmo_backend_token") ? IDENTITY_BACKEND : IDENTITY_TOKEN;
    c->who.user = str_dup(json_get_str(claims, "unique_name"));
    c->who.token_name = str_dup(json_get_str(claims, "osmo_token_name"));
    c->who.backend = str_dup(json_get_str(claims, "osmo_backend"));
    c->who.workflow_id = str_dup(json_get_str(claims, "osmo_workflow_id"));
}

static int answer_token(struct call *c, char *jwt, int64_t expires_at) {
    _cleanup_json_secret_ json_t *o = json_object();
    remember_caller(c, jwt);
    bool failed = !o || answer_header(c, "cache-control", "no-store") < 0;
    failed = failed || json_set_str(o, "token", jwt) < 0 || json_set_int(o, "expires_at", expires_at) < 0;
    crypto_wipe(jwt, strlen(jwt));
    free(jwt);
    return failed ? OSMO_ENOMEM : answer_secret(c, STEAL(o));
}

static int exchange(struct call *c, const char *token, osmo_error_t *err) {
    char *jwt = NULL;
    int64_t expires_at;
    int rc = guard_may_prove(c, err);
    if (rc >= 0 && (rc = auth_exchange(c->engine, token, &jwt, &expires_at, err)) == OSMO_EUSER)
        guard_refused(c);
    return rc < 0 ? rc : answer_token(c, jwt, expires_at);
}

/* The `token` member of the body; borrowed from *body. */
static int body_token(struct call *c, json_t **body, const char **token, osmo_error_t *err) {
    int rc = body_json(c, body, err);
    if (rc < 0)
        return rc;
    *token = json_get_str(*body, "token");
    if (*token)
        return 0;
    bool there = json_has(*body, "token");
    rc = answer_unprocessable(c, "body", "token", there ? "string_type" : "missing", there
                              ? "Input should be a valid string" : "Field required");
    return rc < 0 ? rc : OSMO_EINVAL;
}

static int query_needed(struct call *c, const char *name, const char **value) {
    *value = query_get(c, name);
    if (*value)
        return 0;
    int rc = answer_unprocessable(c, "query", name, "missing", "Field required");
    return rc < 0 ? rc : OSMO_EINVAL;
}

int post_access_token(struct call *c, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *body = NULL;
    const char *token;
    int rc = body_token(c, &body, &token, err);
    return rc < 0 ? rc : exchange(c, token, err);
}

int get_access_token(struct call *c, osmo_error_t *err) {
    const char *token;
    int rc = query_needed(c, "access_token", &token);
    return rc < 0 ? rc : exchange(c, token, err);
}

static int answer_finished(struct call *c) {
    static const char text[] = "{\"detail\":{\"token\":null,\"expires_at\":null,\"error\":\"FINISHED\"},\"error\":\"FINISHED\"}";
    return answer_text(c, 400, "application/json", text, sizeof text - 1);
}

static int exchange_task(struct call *c, const char *token, osmo_error_t *err) {
    const char *workflow, *group, *task;
    int64_t retry, expires_at;
    bool finished = false;
    char *jwt = NULL;
    int rc = query_needed(c, "workflow_id", &workflow);
    if (rc >= 0)
        rc = query_needed(c, "group_name", &group);
    if (rc >= 0)
        rc = query_needed(c, "task_name", &task);
    if (rc >= 0)
        rc = query_int(c, "retry_id", 0, &retry, err);
    if (rc >= 0)
        rc = guard_may_prove(c, err);
    if (rc >= 0)
        rc = auth_exchange_task(c->engine, workflow, group, task, retry, token, &jwt, &expires_at, &finished, err);
    if (rc == OSMO_EUSER)
        guard_refused(c);
    if (finished)
        return answer_finished(c);
    return rc < 0 ? rc : answer_token(c, jwt, expires_at);
}

int post_refresh_token(struct call *c, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *body = NULL;
    const char *token;
    int rc = body_token(c, &body, &token, err);
    return rc < 0 ? rc : exchange_task(c, token, err);
}

int get_refresh_token(struct call *c, osmo_error_t *err) {
    const char *token;
    int rc = query_needed(c, "refresh_token", &token);
    return rc < 0 ? rc : exchange_task(c, token, err);
}
