/* Access tokens: one's own, and those of another user for whom the caller's roles allow it (rule user/<id>). A token of a task or of a
 * backend has no business here, whatever its roles. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/access.h"
#include "model/account.h"
#include "model/credential.h"
#include "model/pool_config.h"
#include "store/repo_auth.h"

#define TOKEN_BYTES 32
#define TOKEN_CHARS 43
#define TOKENS_PER_USER_MAX 1000
#define ROLE_OF_BACKENDS "osmo-backend"

static int check_caller(struct call *c, osmo_error_t *err) {
    if (c->who.kind == IDENTITY_TASK || c->who.workflow_id)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: a task may not see, make or delete access tokens");
    if (c->who.kind == IDENTITY_BACKEND || c->who.backend)
        return osmo_error_set(err, OSMO_EDENIED, "access denied: the token of a backend may not see, make or delete access tokens");
    return 0;
}

static int unknown_user(const char *user, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "User %.200s does not exist; osmo user list shows the users", user);
}

static int user_exists(db_t *db, const char *user, osmo_error_t *err) {
    struct user_row u;
    int rc = repo_user_get(db, user, &u, err);
    user_row_clear(&u);
    return rc == OSMO_ENOTFOUND ? unknown_user(user, err) : rc;
}

static int unknown_token(const char *name, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "Access token %.200s does not exist; osmo token list shows the tokens", name);
}

/* ---- list ---- */

/* `pairs` are token, role, …, in the order of the tokens; *at is where those of this token may begin. A token that came while they were
 * read is passed over. */
static int set_roles(json_t *o, const char *token, const strlist_t *pairs, size_t *at) {
    json_t *roles = json_array();
    int failed = !roles || json_set(o, "roles", roles) < 0;
    while (*at + 1 < pairs->len && strcmp(pairs->items[*at], token) < 0)
        *at += 2;
    for (; !failed && *at + 1 < pairs->len && str_eq(pairs->items[*at], token); *at += 2)
        failed = json_add_str(roles, pairs->items[*at + 1]) < 0;
    return failed ? OSMO_ENOMEM : 0;
}

static int add_token(json_t *list, const struct token_row *t, const strlist_t *pairs, size_t *at) {
    json_t *o = json_object();
    int failed = !o || json_add(list, o) < 0;
    if (failed || json_set_str(o, "user_name", t->user) < 0 || json_set_str(o, "token_name", t->name) < 0 ||
        json_set_time(o, "expires_at", t->expires_us) < 0 || json_set_str(o, "description", t->description ? t->description : "") < 0 ||
        set_roles(o, t->name, pairs, at) < 0 || (t->backend && json_set_str(o, "backend", t->backend) < 0))
        return OSMO_ENOMEM;
    return 0;
}

static int list_tokens(struct call *c, const char *user, bool must_exist, osmo_error_t *err) {
    _cleanup_json_ json_t *list = json_array();
    struct token_row *rows = NULL;
    strlist_t pairs = { 0 };
    size_t n = 0, at = 0;
    db_t *db;
    int rc = list ? check_caller(c, err) : no_memory(err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0 && must_exist)
        rc = user_exists(db, user, err);
    if (rc >= 0)
        rc = repo_token_list(db, user, &rows, &n, err);
    if (rc >= 0)
        rc = repo_tokens_held(db, user, &pairs, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (add_token(list, &rows[i], &pairs, &at) < 0)
            rc = no_memory(err);
    }
    strlist_free(&pairs);
    token_rows_free(rows, n);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(list));
}

int get_own_tokens(struct call *c, osmo_error_t *err) { return list_tokens(c, c->user, false, err); }
int get_user_tokens(struct call *c, osmo_error_t *err) { return list_tokens(c, c->params[0], true, err); }

/* ---- create ---- */

struct new_token {
    struct token_row row; /* borrows its texts */
    const char *by;
    const strlist_t *wanted, *limit;
    bool own;
};

static int insert_token(db_t *db, void *ctx, osmo_error_t *err) {
    const struct new_token *t = ctx;
    strlist_t held = { 0 }, roles = { 0 };
    int64_t count = 0;
    int rc = repo_user_lock(db, t->row.user, err);
    if (rc == OSMO_ENOTFOUND)
        rc = t->own ? 0 : unknown_user(t->row.user, err); /* who has no roles here is told that */
    if (rc >= 0)
        rc = repo_user_roles(db, t->row.user, &held, err);
    if (rc >= 0)
        rc = token_roles(t->row.user, &held, t->wanted, t->limit, &roles, err);
    if (rc >= 0 && t->row.backend && !strlist_has(&roles, ROLE_OF_BACKENDS))
        rc = osmo_error_set(err, OSMO_EUSER, "an access token for backend %.100s needs role " ROLE_OF_BACKENDS " among its roles",
                            t->row.backend);
    if (rc >= 0)
        rc = repo_token_count(db, t->row.user, &count, err);
    if (rc >= 0 && count >= TOKENS_PER_USER_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "User %.200s has %d access tokens already: delete some first", t->row.user,
                            TOKENS_PER_USER_MAX);
    if (rc >= 0)
        rc = repo_token_add(db, &t->row, &roles, t->by, err);
    if (rc == OSMO_EEXISTS)
        osmo_error_set(err, rc, "Access token %.200s exists already; delete it first or take another name", t->row.name);
    strlist_free(&held);
    strlist_free(&roles);
    return rc;
}

/* The value as a JSON text, which is the answer, and its hash into the row. */
static int make_value(struct new_token *t, buf_t *quoted, osmo_error_t *err) {
    uint8_t secret[TOKEN_BYTES];
    int rc = crypto_random(secret, sizeof secret);
    if (rc >= 0)
        rc = buf_putc(quoted, '"');
    if (rc >= 0)
        rc = crypto_base64url(secret, sizeof secret, quoted);
    if (rc >= 0)
        rc = buf_putc(quoted, '"');
    crypto_wipe(secret, sizeof secret);
    if (rc < 0 || quoted->len != TOKEN_CHARS + 2)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    crypto_sha256(quoted->data + 1, TOKEN_CHARS, t->row.hash);
    return 0;
}

static int read_expiry(struct call *c, struct new_token *t, osmo_error_t *err) {
    const char *date = query_get(c, "expires_at");
    if (!date) {
        int rc = answer_unprocessable(c, "query", "expires_at", "missing", "Field required: a date as YYYY-MM-DD");
        return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter expires_at is missing");
    }
    const struct settings *s = engine_settings(c->engine);
    t->row.created_us = engine_now(c->engine);
    int rc = token_expiry(date, t->row.created_us, s->max_token_us, &t->row.expires_us, err);
    engine_settings_put(s);
    return rc;
}

static int read_token(struct call *c, const char *user, const char *name, struct new_token *t, osmo_error_t *err) {
    const char *description = query_get(c, "description"), *backend = query_get(c, "backend");
    if (!credential_name_valid(name))
        return osmo_error_set(err, OSMO_EUSER, "\"%.200s\" cannot name an access token: begin with a letter, end with a letter or digit, "
                              "with letters, digits, - and _ in between, 128 characters at most", name);
    if (description && !token_text_valid(description))
        return osmo_error_set(err, OSMO_EUSER, "the description must be one line of at most %d bytes", TOKEN_TEXT_MAX);
    if (backend && !config_name_valid(backend))
        return osmo_error_set(err, OSMO_EUSER, "\"%.200s\" cannot name a backend", backend);
    t->row.user = (char *)user;
    t->row.name = (char *)name;
    t->row.description = (char *)(description ? description : "");
    t->row.backend = (char *)backend;
    t->wanted = query_all(c, "roles");
    t->by = c->user;
    /* For oneself a token is never worth more than the one it is made with; who may do everything gives others what they have. */
    if ((t->own && c->who.kind == IDENTITY_TOKEN) || !call_may_all(c))
        t->limit = &c->who.roles;
    return read_expiry(c, t, err);
}

static int create_token(struct call *c, const char *user, const char *name, bool own, osmo_error_t *err) {
    _cleanup_buf_ buf_t value = BUF_SECRET(128);
    struct new_token t = { .own = own };
    int rc = check_caller(c, err);
    if (rc >= 0)
        rc = read_token(c, user, name, &t, err);
    if (rc >= 0)
        rc = make_value(&t, &value, err);
    if (rc >= 0)
        rc = store_write(c->engine->store, NULL, insert_token, &t, err);
    if (rc >= 0) {
        access_changed(c->engine);
        rc = answer_text(c, 200, "application/json", buf_cstr(&value), value.len);
    }
    return rc;
}

int post_own_token(struct call *c, osmo_error_t *err) { return create_token(c, c->user, c->params[0], true, err); }
int post_user_token(struct call *c, osmo_error_t *err) {
    return create_token(c, c->params[0], c->params[1], str_eq(c->params[0], c->user), err);
}

/* ---- delete ---- */

struct old_token { const char *user, *name; bool own; };

static int remove_token(db_t *db, void *ctx, osmo_error_t *err) {
    const struct old_token *t = ctx;
    int rc = t->own ? 0 : user_exists(db, t->user, err);
    if (rc >= 0)
        rc = repo_token_delete(db, t->user, t->name, err);
    return rc == OSMO_ENOTFOUND ? unknown_token(t->name, err) : rc;
}

static int delete_token(struct call *c, const char *user, const char *name, bool own, osmo_error_t *err) {
    struct old_token t = { user, name, own };
    int rc = check_caller(c, err);
    if (rc >= 0)
        rc = store_write(c->engine->store, NULL, remove_token, &t, err);
    if (rc < 0)
        return rc;
    access_changed(c->engine);
    return answer_null(c);
}

int delete_own_token(struct call *c, osmo_error_t *err) { return delete_token(c, c->user, c->params[0], true, err); }
int delete_user_token(struct call *c, osmo_error_t *err) { return delete_token(c, c->params[0], c->params[1], false, err); }

/* ---- roles ---- */

int get_own_token_roles(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    struct token_row t = { 0 };
    struct assignment_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = o ? check_caller(c, err) : no_memory(err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_token_get(db, c->user, c->params[0], &t, err);
    if (rc == OSMO_ENOTFOUND)
        rc = unknown_token(c->params[0], err);
    if (rc >= 0)
        rc = repo_token_roles(db, c->user, c->params[0], &rows, &n, err);
    if (rc >= 0 && (json_set_str(o, "user_name", c->user) < 0 || json_set_str(o, "token_name", t.name) < 0 ||
                    assignments_json(o, "roles", rows, n) < 0))
        rc = no_memory(err);
    token_row_clear(&t);
    assignment_rows_free(rows, n);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}
