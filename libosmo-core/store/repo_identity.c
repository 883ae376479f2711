/* Keys and values, users and roles, access tokens (only their hashes), profiles. Part of repo.h. Errors never
 * quote a value. */
#include <string.h>
#include "store/repo.h"
#include "store/rows.h"

int repo_kv_get(db_t *db, const char *key, char **value, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *value = NULL;
    int rc = db_query(db, "SELECT content FROM kv WHERE name = ?", DB_ARGS(DB_T(key)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) < 0)
        return rc;
    if (rc == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "setting %s does not exist", key);
    *value = str_dup(db_text(rows, 0));
    return *value ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int repo_kv_set(db_t *db, const char *key, const char *value, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO kv (name, content) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET content = "
                       "excluded.content",
                   DB_ARGS(DB_T(key), DB_T(value)), NULL, err);
}

int repo_kv_set_if_absent(db_t *db, const char *key, const char *value, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO kv (name, content) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                   DB_ARGS(DB_T(key), DB_T(value)), NULL, err);
}

int repo_kv_touch(db_t *db, const char *key, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO kv (name, content) VALUES (?, '') ON CONFLICT (name) DO UPDATE SET content = kv.content",
                   DB_ARGS(DB_T(key)), NULL, err);
}

int repo_user_ensure(db_t *db, const char *user, const char *created_by, int64_t now_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO users (name, created_by, created_us) VALUES (?, ?, ?) ON CONFLICT (name) DO "
                       "NOTHING",
                   DB_ARGS(DB_T(user), DB_T(created_by), DB_I(now_us)), NULL, err);
}

int repo_user_role_add(db_t *db, const char *user, const char *role, const char *by, int64_t now_us,
                       osmo_error_t *err) {
    return db_exec(db, "INSERT INTO user_roles (user_name, role, assigned_by, assigned_us) VALUES (?, ?, ?, ?)"
                       " ON CONFLICT (user_name, role) DO NOTHING", DB_ARGS(DB_T(user), DB_T(role), DB_T(by),
                           DB_I(now_us)), NULL, err);
}

int repo_user_roles(db_t *db, const char *user, strlist_t *roles, osmo_error_t *err) {
    return strings_select(db, "SELECT role FROM user_roles WHERE user_name = ? ORDER BY role",
                          DB_ARGS(DB_T(user)), 1, roles, err);
}

/* ---- tokens ---- */

#define TK_COL(kind, column, field) COL_ENTRY(token_row, kind, column, field)
static const struct col token_cols[] = {
    TK_COL(TEXT, user_name, user) TK_COL(TEXT, name, name) TK_COL(TEXT, description, description) TK_COL(TEXT,
        roles_csv, roles_csv)
    TK_COL(I64, expires_us, expires_us) TK_COL(I64, created_us, created_us)
};
#define TOKEN_LEN (sizeof(token_cols) / sizeof(token_cols[0]))
static const struct row_type token_type = { "tokens", sizeof(struct token_row), token_cols, TOKEN_LEN, TOKEN_LEN };

void token_row_clear(struct token_row *r) { row_clear(&token_type, r); }

int repo_token_put(db_t *db, const struct token_row *r, osmo_error_t *err) {
    struct db_arg args[TOKEN_LEN + 1];
    row_args(token_cols, TOKEN_LEN, r, args);
    args[TOKEN_LEN] = DB_B(r->hash, sizeof(r->hash));
    return db_exec(db, "INSERT INTO tokens (user_name, name, description, roles_csv, expires_us, created_us, "
                       "hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
                       " ON CONFLICT (user_name, name) DO UPDATE SET description = excluded.description, "
                       "roles_csv = excluded.roles_csv,"
                       " expires_us = excluded.expires_us, created_us = excluded.created_us, hash = excluded.hash",
                   args, TOKEN_LEN + 1, NULL, err);
}

int repo_token_by_hash(db_t *db, const uint8_t hash[32], struct token_row *out, osmo_error_t *err) {
    int rc = row_select(db, &token_type, "SELECT user_name, name, description, roles_csv, expires_us, "
                                         "created_us FROM tokens WHERE hash = ?",
                        DB_ARGS(DB_B(hash, 32)), out, err, "access token");
    if (rc == 0)
        memcpy(out->hash, hash, sizeof(out->hash));
    return rc;
}

int repo_token_delete(db_t *db, const char *user, const char *name, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, "DELETE FROM tokens WHERE user_name = ? AND name = ?", DB_ARGS(DB_T(user),
        DB_T(name)), &changed, err);
    if (rc == 0 && changed == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "access token %s does not exist", name);
    return rc;
}

/* ---- profiles ---- */

#define P_COL(kind, column, field) COL_ENTRY(profile_row, kind, column, field)
static const struct col profile_cols[] = {
    P_COL(BOOL, email_notification, email_notification) P_COL(BOOL, slack_notification,
                                                              slack_notification) P_COL(TEXT, pool, pool)
};
static const struct row_type profile_type = { "profiles", sizeof(struct profile_row), profile_cols, 3, 3 };

int repo_profile_get(db_t *db, const char *user, struct profile_row *out, osmo_error_t *err) {
    osmo_error_t mine = OSMO_ERROR_INIT;
    int rc = row_select(db, &profile_type, "SELECT email_notification, slack_notification, pool FROM profiles "
                                           "WHERE user_name = ?",
                        DB_ARGS(DB_T(user)), out, &mine, "profile of %s", user);
    if (rc == OSMO_ENOTFOUND)
        return 0; /* the zeroed row: no notifications, no pool */
    if (rc < 0 && err)
        *err = mine;
    return rc;
}

int repo_profile_set(db_t *db, const char *user, const struct profile_row *p, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO profiles (user_name, email_notification, slack_notification, pool) VALUES "
                       "(?, ?, ?, ?)"
                       " ON CONFLICT (user_name) DO UPDATE SET email_notification = excluded.email_notification,"
                       " slack_notification = excluded.slack_notification, pool = excluded.pool",
                   DB_ARGS(DB_T(user), DB_I(p->email_notification), DB_I(p->slack_notification),
                           DB_T(p->pool)), NULL, err);
}
