/* What became of an identity since it was proved: a signature says who somebody was, the store says what is left of it. Tokens are looked
 * up again when somebody changed users, roles or tokens (access_generation) and now and then, so that a lost word of another replica does
 * no lasting harm. Attempts of tasks end without such a word, in any replica: theirs is looked up again every second, which is one indexed
 * query; telling all replicas of the end of every task would cost more. Called by auth_identify.c and by sessions that stay open. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/access.h"
#include "engine/identity_internal.h"

#define HOLDS_US (30 * 1000000LL)
#define TASK_HOLDS_US 1000000LL

static bool still_holds(engine_t *e, const struct identity *who) {
    int64_t age = clock_mono_us() - who->confirmed_us;
    if (!who->confirmed_us || (who->token_expires_us && engine_now(e) >= who->token_expires_us))
        return false;
    if (who->kind == IDENTITY_TASK)
        return age < TASK_HOLDS_US;
    return age < HOLDS_US && who->generation == access_generation(e);
}

/* ---- roles ---- */

/* A denial of any role of a user counts, also for tokens that were made without the role, and for tasks. */
static int find_left_out(db_t *db, const char *user, struct identity *who, osmo_error_t *err) {
    strlist_t held = { 0 };
    strlist_free(&who->left_out);
    int rc = repo_user_roles(db, user, &held, err);
    for (size_t i = 0; rc >= 0 && i < held.len; i++) {
        if (!strlist_has(&who->roles, held.items[i]) && strlist_add(&who->left_out, held.items[i]) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    strlist_free(&held);
    return rc;
}

int identity_token_roles(db_t *db, const char *user, const char *name, struct identity *who, osmo_error_t *err) {
    strlist_free(&who->roles);
    int rc = repo_token_held(db, user, name, &who->roles, err);
    return rc < 0 ? rc : find_left_out(db, user, who, err);
}

/* ---- access tokens ---- */

static int refuse_token(const struct identity *who, const char *why, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUNAUTH, "the access token %.200s of %.256s %s; make a new one", who->token_name, who->user, why);
}

/* Made again under its name since then? JWTs of earlier versions do not say which one they are of, only when they were issued. */
static bool is_another(const struct identity *who, const struct token_row *row) {
    if (who->made_us)
        return row->created_us != who->made_us;
    return who->issued_s && row->created_us / 1000000 > who->issued_s + JWT_SKEW_SECONDS;
}

static int confirm_token(engine_t *e, struct identity *who, osmo_error_t *err) {
    struct token_row row = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_token_get(db, who->user, who->token_name, &row, err);
    if (rc == OSMO_ENOTFOUND)
        rc = refuse_token(who, "does not exist any more", err);
    else if (rc >= 0 && row.expires_us <= engine_now(e))
        rc = refuse_token(who, "has expired", err);
    else if (rc >= 0 && is_another(who, &row))
        rc = refuse_token(who, "was deleted; there is another one of its name", err);
    if (rc >= 0)
        rc = identity_token_roles(db, who->user, who->token_name, who, err);
    if (rc >= 0) {
        free(who->backend);
        who->backend = STEAL(row.backend);
        who->token_expires_us = row.expires_us;
    }
    token_row_clear(&row);
    return rc;
}

static int confirm_backend(engine_t *e, struct identity *who, osmo_error_t *err) {
    const char *backend = identity_backend_of(who->user, who->token_name);
    if (!backend || !backend_tokens_hold(e, backend, who->token_id))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of backend %.63s is not among the backend tokens any more",
                              backend ? backend : "");
    return 0;
}

/* ---- tasks ---- */

static int confirm_task(engine_t *e, struct identity *who, osmo_error_t *err) {
    enum status status;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_attempt_status(db, who->workflow_id, who->group_name, who->task_name, who->retry_id, &status, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EUNAUTH, "Task %s of workflow %s, attempt %lld, does not exist any more", who->task_name,
                              who->workflow_id, (long long)who->retry_id);
    if (rc >= 0 && status_is_task_finished(status))
        return osmo_error_set(err, OSMO_EUNAUTH, "Task %s of workflow %s, attempt %lld, is finished, and its token ended with it",
                              who->task_name, who->workflow_id, (long long)who->retry_id);
    return rc < 0 ? rc : find_left_out(db, who->user, who, err);
}

/* ---- those that others vouch for ---- */

/* Whose token came with the installation is who has that token, not whom somebody else calls so. */
static int check_foreign(engine_t *e, const struct identity *who, osmo_error_t *err) {
    bool ours = false;
    if (!identity_is_foreign(who->user))
        return osmo_error_set(err, OSMO_EUNAUTH, "user %.256s cannot be vouched for: names that begin so are those of backends", who->user);
    int rc = auth_is_administrator(e, who->user, &ours, err);
    if (rc < 0 || !ours)
        return rc;
    return osmo_error_set(err, OSMO_EUNAUTH, "user %.256s is the administrator of this installation and is known by its access token only: "
                          "log in with that, or under another name", who->user);
}

static int confirm_foreign(engine_t *e, struct identity *who, osmo_error_t *err) {
    strlist_t roles = { 0 };
    int rc = check_foreign(e, who, err);
    if (rc >= 0)
        rc = (who->stale ? access_held : access_sync)(e, who->user, &who->external, &roles, err);
    if (rc >= 0) {
        strlist_free(&who->roles);
        who->roles = roles;
        return 0;
    }
    strlist_free(&roles);
    return rc;
}

static int take_roles(struct identity *who) {
    strlist_free(&who->roles);
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < who->external.len; i++)
        rc = strlist_add(&who->roles, who->external.items[i]);
    return rc;
}

/* A gateway that says which token it has verified means one of ours. A task it names has the roles that its token has. */
static int confirm_gateway(engine_t *e, struct identity *who, osmo_error_t *err) {
    const char *backend = identity_backend_of(who->user, who->token_name);
    db_t *db;
    if (who->workflow_id && take_roles(who) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (who->workflow_id) {
        int rc = store_reader(e->store, &db, err);
        return rc < 0 ? rc : find_left_out(db, who->user, who, err);
    }
    if (!who->token_name)
        return confirm_foreign(e, who, err);
    if (!backend || !backend_tokens_hold(e, backend, ""))
        return confirm_token(e, who, err);
    strlist_free(&who->roles);
    free(who->backend);
    who->backend = str_dup(backend);
    return who->backend && strlist_add(&who->roles, ROLE_OF_BACKENDS) >= 0 ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int confirm(engine_t *e, struct identity *who, osmo_error_t *err) {
    switch (who->kind) {
    case IDENTITY_TOKEN:
        return confirm_token(e, who, err);
    case IDENTITY_BACKEND:
        return confirm_backend(e, who, err);
    case IDENTITY_TASK:
        return confirm_task(e, who, err);
    case IDENTITY_PROVIDER:
        return confirm_foreign(e, who, err);
    case IDENTITY_GATEWAY:
        return confirm_gateway(e, who, err);
    case IDENTITY_DEV:
        return 0;
    case IDENTITY_NONE:
        break;
    }
    return osmo_error_set(err, OSMO_EUNAUTH, "nobody has said who is asking; " LOGIN_HINT);
}

int auth_confirm(engine_t *e, struct identity *who, osmo_error_t *err) {
    if (who->kind == IDENTITY_DEV || still_holds(e, who))
        return 0;
    uint64_t generation = access_generation(e); /* what is changed while we look is looked at again */
    int64_t now = clock_mono_us();
    int rc = confirm(e, who, err);
    if (rc < 0)
        return rc;
    who->generation = generation;
    who->confirmed_us = now;
    return 0;
}
