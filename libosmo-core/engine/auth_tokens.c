/* Token exchanges: access token → JWT, task refresh token → JWT, and the tokens that pods are created with.
 * Called by api/auth_routes.c and by whoever builds pods. Tokens never appear in error texts or logs. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/access.h"
#include "engine/identity_internal.h"
#include "store/repo_auth.h"

struct jwt_subject {
    const char *user; const strlist_t *roles;
    const char *token_name; int64_t token_expires_us, made_us;
    const char *backend, *token_id; /* the only one it serves; "" unless by a token of the directory */
    const char *workflow_id, *group, *task; int64_t retry_id;
};

static int add_task_claims(json_t *claims, const struct jwt_subject *s) {
    int failed = json_set_str(claims, "osmo_workflow_id", s->workflow_id);
    failed |= json_set_str(claims, "osmo_group_name", s->group);
    failed |= json_set_str(claims, "osmo_task_name", s->task);
    failed |= json_set_int(claims, "osmo_retry_id", s->retry_id);
    return failed ? OSMO_ENOMEM : 0;
}

static int add_token_claims(json_t *claims, const struct jwt_subject *s) {
    int failed = json_set_str(claims, "osmo_token_name", s->token_name);
    if (s->token_expires_us)
        failed |= json_set_int(claims, "osmo_token_expires_at", s->token_expires_us / 1000000);
    if (s->made_us)
        failed |= json_set_int(claims, "osmo_token_made_us", s->made_us);
    if (s->backend)
        failed |= json_set_str(claims, "osmo_backend", s->backend);
    if (*s->token_id)
        failed |= json_set_str(claims, "osmo_backend_token", s->token_id);
    return failed ? OSMO_ENOMEM : 0;
}

static int build_claims(engine_t *e, const struct jwt_subject *s, int64_t now_s, json_t **out) {
    _cleanup_json_ json_t *claims = json_object();
    json_t *roles = json_array();
    int failed = !claims || !roles;
    for (size_t i = 0; !failed && i < s->roles->len; i++)
        failed = json_add_str(roles, s->roles->items[i]);
    if (failed) {
        json_free(roles);
        return OSMO_ENOMEM;
    }
    const struct settings *set = engine_settings(e);
    failed |= json_set(claims, "roles", roles);
    failed |= json_set_str(claims, "iss", set->issuer);
    failed |= json_set_str(claims, "aud", set->audience);
    engine_settings_put(set);
    failed |= json_set_int(claims, "iat", now_s);
    failed |= json_set_int(claims, "nbf", now_s);
    failed |= json_set_int(claims, "exp", now_s + JWT_SECONDS);
    failed |= json_set_str(claims, "unique_name", s->user);
    if (s->token_name)
        failed |= add_token_claims(claims, s);
    if (s->workflow_id)
        failed |= add_task_claims(claims, s);
    if (failed)
        return OSMO_ENOMEM;
    *out = STEAL(claims);
    return 0;
}

static int mint(engine_t *e, const struct jwt_subject *s, char **jwt, int64_t *expires_at_s, osmo_error_t *err) {
    _cleanup_json_ json_t *claims = NULL;
    _cleanup_buf_ buf_t text = BUF_SECRET(JWT_MAX_BYTES);
    int64_t now_s = engine_now(e) / 1000000;
    int rc = build_claims(e, s, now_s, &claims);
    if (rc < 0)
        return osmo_error_set(err, rc, "out of memory");
    rc = keys_sign(e, claims, &text, err);
    if (rc < 0)
        return rc;
    *jwt = buf_steal(&text, NULL);
    if (!*jwt)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (expires_at_s)
        *expires_at_s = now_s + JWT_SECONDS;
    return 0;
}

/* ---- access tokens ---- */

static int find_token(engine_t *e, db_t *db, const char *token, size_t len, struct token_row *row, osmo_error_t *err) {
    uint8_t hash[32];
    crypto_sha256(token, len, hash);
    int rc = repo_token_by_hash(db, hash, row, err);
    crypto_wipe(hash, sizeof hash);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EUSER, "the access token is not known to this service; ask for a new one");
    if (rc >= 0 && row->expires_us <= engine_now(e))
        return osmo_error_set(err, OSMO_EUSER, "the access token has expired; make a new one");
    return rc;
}

static int identify_stored(engine_t *e, const char *token, size_t len, struct identity *out, osmo_error_t *err) {
    struct token_row row = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = find_token(e, db, token, len, &row, err);
    if (rc >= 0)
        rc = identity_token_roles(db, row.user, row.name, out, err);
    if (rc >= 0) {
        out->kind = IDENTITY_TOKEN;
        out->user = STEAL(row.user);
        out->token_name = STEAL(row.name);
        out->backend = STEAL(row.backend);
        out->token_expires_us = row.expires_us;
        out->made_us = row.created_us;
    }
    token_row_clear(&row);
    return rc;
}

int token_identify(engine_t *e, const char *token, size_t len, struct identity *out, osmo_error_t *err) {
    char backend[BACKEND_NAME_MAX + 1], id[17];
    uint64_t generation = access_generation(e);
    int64_t looked_us = clock_mono_us();
    if (len != ACCESS_TOKEN_LEN && len != LEGACY_TOKEN_LEN)
        return osmo_error_set(err, OSMO_EUSER, "the access token must have %d characters; check that it was copied whole",
                              ACCESS_TOKEN_LEN);
    bool found = backend_tokens_find(e, token, len, backend, id);
    int rc = found ? identity_of_backend(backend, out) : identify_stored(e, token, len, out, err);
    if (rc < 0) {
        identity_clear(out);
        return found ? osmo_error_set(err, rc, "out of memory") : rc;
    }
    if (found)
        memcpy(out->token_id, id, sizeof id);
    out->issued_s = engine_now(e) / 1000000;
    out->generation = generation;
    out->confirmed_us = looked_us;
    return 0;
}

int auth_exchange(engine_t *e, const char *token, char **jwt, int64_t *expires_at_s, osmo_error_t *err) {
    struct identity who = { 0 };
    int rc = token_identify(e, token, strnlen(token, LEGACY_TOKEN_LEN + 1), &who, err);
    if (rc >= 0) {
        struct jwt_subject s = { .user = who.user, .roles = &who.roles, .token_name = who.token_name, .backend = who.backend,
                                 .token_expires_us = who.token_expires_us, .made_us = who.made_us, .token_id = who.token_id };
        rc = mint(e, &s, jwt, expires_at_s, err);
    }
    identity_clear(&who);
    return rc;
}

/* ---- task tokens ---- */

int auth_task_refresh_token(engine_t *e, const char *task_uuid, int64_t retry_id, char out[44], osmo_error_t *err) {
    char text[96];
    uint8_t mac[32];
    int n = snprintf(text, sizeof text, "refresh-token:%s:%lld", task_uuid, (long long)retry_id);
    if (n < 0 || (size_t)n >= sizeof text)
        return osmo_error_set(err, OSMO_EINVAL, "malformed task id");
    crypto_hmac_sha256(e->auth->master, sizeof e->auth->master, text, (size_t)n, mac);
    int rc = token_text(mac, out);
    crypto_wipe(mac, sizeof mac);
    return rc < 0 ? osmo_error_set(err, rc, "cannot derive a task token") : 0;
}

static int mint_task(engine_t *e, const char *user, const char *workflow_id, const char *group, const char *task,
                     int64_t retry_id, char **jwt, int64_t *expires_at_s, osmo_error_t *err) {
    const struct settings *set = engine_settings(e);
    struct jwt_subject s = { .user = user, .roles = &set->ctrl_roles, .workflow_id = workflow_id, .group = group,
        .task = task, .retry_id = retry_id };
    int rc = mint(e, &s, jwt, expires_at_s, err);
    engine_settings_put(set);
    return rc;
}

int auth_task_jwt(engine_t *e, const char *user, const char *workflow_id, const char *group, const char *task,
                  int64_t retry_id, char **jwt, osmo_error_t *err) {
    return mint_task(e, user, workflow_id, group, task, retry_id, jwt, NULL, err);
}

static int check_refresh_token(engine_t *e, const struct task_row *t, const char *token, osmo_error_t *err) {
    char expected[ACCESS_TOKEN_LEN + 1];
    int rc = auth_task_refresh_token(e, t->uuid, t->sm.retry_id, expected, err);
    if (rc < 0)
        return rc;
    bool same = strnlen(token, sizeof expected) == ACCESS_TOKEN_LEN && crypto_equal(token, expected, ACCESS_TOKEN_LEN);
    crypto_wipe(expected, sizeof expected);
    return same ? 0 : osmo_error_set(err, OSMO_EUSER, "the refresh token is not the one of this task");
}

static int load_attempt(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id,
                        struct workflow_row *w, struct task_row *t, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_id, w, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, w->uuid, task, retry_id, t, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EUSER, "Task %s of workflow %s, attempt %lld, does not exist", task,
                              workflow_id, (long long)retry_id);
    return rc;
}

int auth_exchange_task(engine_t *e, const char *workflow_id, const char *group, const char *task, int64_t retry_id,
                       const char *token, char **jwt, int64_t *expires_at_s, bool *finished, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct task_row t = { 0 };
    *finished = false;
    int rc = retry_id < 0 ? osmo_error_set(err, OSMO_EUSER, "retry_id must not be negative") : 0;
    if (rc >= 0)
        rc = load_attempt(e, workflow_id, task, retry_id, &w, &t, err);
    if (rc >= 0 && !str_eq(t.group_name, group))
        rc = osmo_error_set(err, OSMO_EUSER, "Task %s of workflow %s is not in group %s", task, workflow_id, group);
    if (rc >= 0)
        rc = check_refresh_token(e, &t, token, err);
    if (rc >= 0 && status_is_task_finished(t.sm.status)) {
        *finished = true;
        rc = osmo_error_set(err, OSMO_EGONE, "Task %s of workflow %s is finished", task, workflow_id);
    }
    if (rc >= 0)
        rc = mint_task(e, w.user, w.id, group, task, retry_id, jwt, expires_at_s, err);
    task_row_clear(&t);
    workflow_row_clear(&w);
    return rc;
}
