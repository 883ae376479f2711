/* Access tokens, of which only the hashes are kept, and their roles; see repo_auth.h. */
#include "store/repo_auth.h"

#include <string.h>

#include "base/cleanup.h"
#include "store/rows.h"

#define TK_COL(kind, column, field) COL_ENTRY(token_row, kind, column, field)
static const struct col token_cols[] = {
    TK_COL(TEXT, user_name, user) TK_COL(TEXT, name, name) TK_COL(TEXT, description, description) TK_COL(TEXT, backend, backend)
    TK_COL(I64, expires_us, expires_us) TK_COL(I64, created_us, created_us)
};
#define TOKEN_LEN ARRAY_SIZE(token_cols)
#define TOKEN_SELECT "SELECT t.user_name, t.name, t.description, t.backend, t.expires_us, t.created_us FROM tokens t"
static const struct row_type token_type = { "tokens", sizeof(struct token_row), token_cols, TOKEN_LEN, TOKEN_LEN };

void token_row_clear(struct token_row *r) { row_clear(&token_type, r); }
void token_rows_free(struct token_row *r, size_t n) { row_list_free(&token_type, r, n); }

int repo_token_add(db_t *db, const struct token_row *r, const strlist_t *roles, const char *by, osmo_error_t *err) {
    struct db_arg args[TOKEN_LEN + 1];
    int64_t added = 0;
    row_args(token_cols, TOKEN_LEN, r, args);
    args[TOKEN_LEN] = DB_B(r->hash, sizeof r->hash);
    int rc = db_exec(db, "INSERT INTO tokens (user_name, name, description, backend, expires_us, created_us, hash)"
                         " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_name, name) DO NOTHING",
                     args, TOKEN_LEN + 1, &added, err);
    if (rc == 0 && added == 0)
        return osmo_error_set(err, OSMO_EEXISTS, "access token %s exists already", r->name);
    for (size_t i = 0; rc >= 0 && i < roles->len; i++)
        rc = db_exec(db, "INSERT INTO token_roles (user_name, token_name, role, assigned_by, assigned_us) VALUES (?, ?, ?, ?, ?)"
                         " ON CONFLICT (user_name, token_name, role) DO NOTHING",
                     DB_ARGS(DB_T(r->user), DB_T(r->name), DB_T(roles->items[i]), DB_T(by), DB_I(r->created_us)), NULL, err);
    return rc;
}

int repo_token_list(db_t *db, const char *user, struct token_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &token_type, TOKEN_SELECT " WHERE t.user_name = ? ORDER BY t.name", DB_ARGS(DB_T(user)), &list, n, err);
    *out = list;
    return rc;
}

int repo_token_get(db_t *db, const char *user, const char *name, struct token_row *out, osmo_error_t *err) {
    return row_select(db, &token_type, TOKEN_SELECT " WHERE t.user_name = ? AND t.name = ?", DB_ARGS(DB_T(user), DB_T(name)), out, err,
                      "access token %s", name);
}

int repo_token_by_hash(db_t *db, const uint8_t hash[32], struct token_row *out, osmo_error_t *err) {
    int rc = row_select(db, &token_type, TOKEN_SELECT " WHERE t.hash = ?", DB_ARGS(DB_B(hash, 32)), out, err, "access token");
    if (rc == 0)
        memcpy(out->hash, hash, sizeof out->hash);
    return rc;
}

int repo_token_count(db_t *db, const char *user, int64_t *count, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM tokens WHERE user_name = ?", DB_ARGS(DB_T(user)), 0, count, err);
}

int repo_token_held(db_t *db, const char *user, const char *name, strlist_t *roles, osmo_error_t *err) {
    return strings_select(db, "SELECT t.role FROM token_roles t JOIN user_roles r ON r.user_name = t.user_name AND r.role = t.role"
                              " WHERE t.user_name = ? AND t.token_name = ? ORDER BY t.role",
                          DB_ARGS(DB_T(user), DB_T(name)), 1, roles, err);
}

int repo_tokens_held(db_t *db, const char *user, strlist_t *pairs, osmo_error_t *err) {
    return strings_select(db, "SELECT t.token_name, t.role FROM token_roles t JOIN user_roles r ON r.user_name = t.user_name"
                              " AND r.role = t.role WHERE t.user_name = ? ORDER BY t.token_name, t.role",
                          DB_ARGS(DB_T(user)), 2, pairs, err);
}

int repo_token_delete(db_t *db, const char *user, const char *name, osmo_error_t *err) {
    int64_t there = 0;
    int rc = db_exec(db, "DELETE FROM tokens WHERE user_name = ? AND name = ?", DB_ARGS(DB_T(user), DB_T(name)), &there, err);
    if (rc == 0 && there == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "access token %s does not exist", name);
    return rc < 0 ? rc : db_exec(db, "DELETE FROM token_roles WHERE user_name = ? AND token_name = ?", DB_ARGS(DB_T(user), DB_T(name)),
                                 NULL, err);
}
