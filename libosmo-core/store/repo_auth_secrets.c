/* Stored credentials, and the keys of users and of the service; see repo_auth.h. Everything secret comes here sealed. */
#include "store/repo_auth.h"

#include "base/cleanup.h"
#include "store/rows.h"

/* ---- credentials ---- */

#define C_COL(kind, column, field) COL_ENTRY(credential_row, kind, column, field)
static const struct col credential_cols[] = {
    C_COL(TEXT, user_name, user) C_COL(TEXT, name, name) C_COL(TEXT, cred_type, type) C_COL(TEXT, profile, profile)
    C_COL(TEXT, payload, payload) C_COL(I64, created_us, created_us)
};
#define CREDENTIAL_LEN ARRAY_SIZE(credential_cols)
#define CREDENTIAL_SELECT "SELECT t.user_name, t.name, t.cred_type, t.profile, t.payload, t.created_us FROM credentials t"
static const struct row_type credential_type = { "credentials", sizeof(struct credential_row), credential_cols, CREDENTIAL_LEN,
                                                 CREDENTIAL_LEN };

void credential_row_clear(struct credential_row *r) { row_clear(&credential_type, r); }
void credential_rows_free(struct credential_row *r, size_t n) { row_list_free(&credential_type, r, n); }

int repo_credential_list(db_t *db, const char *user, struct credential_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &credential_type,
                         CREDENTIAL_SELECT " WHERE t.user_name = ? ORDER BY CASE t.cred_type WHEN 'DATA' THEN 0 WHEN 'REGISTRY' THEN 1"
                                           " ELSE 2 END, t.name",
                         DB_ARGS(DB_T(user)), &list, n, err);
    *out = list;
    return rc;
}

int repo_credential_put(db_t *db, const struct credential_row *r, osmo_error_t *err) {
    /* One change of a user at a time: two rows may have to make room. */
    int rc = repo_user_lock(db, r->user, err);
    if (rc >= 0 || rc == OSMO_ENOTFOUND)
        rc = db_exec(db, "DELETE FROM credentials WHERE user_name = ? AND (name = ? OR profile = ?)",
                     DB_ARGS(DB_T(r->user), DB_T(r->name), DB_T(r->profile)), NULL, err);
    return rc < 0 ? rc : rows_insert(db, &credential_type, r, 1, err);
}

int repo_credential_take(db_t *db, const char *user, const char *name, struct credential_row *out, osmo_error_t *err) {
    int64_t there = 0;
    int rc = row_select(db, &credential_type, CREDENTIAL_SELECT " WHERE t.user_name = ? AND t.name = ?", DB_ARGS(DB_T(user), DB_T(name)),
                        out, err, "credential %s", name);
    if (rc == 0)
        rc = db_exec(db, "DELETE FROM credentials WHERE user_name = ? AND name = ?", DB_ARGS(DB_T(user), DB_T(name)), &there, err);
    if (rc == 0 && there == 0)
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "credential %s does not exist", name);
    if (rc < 0)
        credential_row_clear(out);
    return rc;
}

/* ---- keys of users ---- */

#define K_COL(kind, column, field) COL_ENTRY(user_key_row, kind, column, field)
static const struct col user_key_cols[] = {
    K_COL(TEXT, user_name, user) K_COL(TEXT, kid, kid) K_COL(TEXT, sealed, sealed) K_COL(BOOL, is_current, current)
};
#define USER_KEY_SELECT "SELECT t.user_name, t.kid, t.sealed, t.is_current FROM user_keys t"
static const struct row_type user_key_type = { "user_keys", sizeof(struct user_key_row), user_key_cols, 4, 4 };

void user_key_row_clear(struct user_key_row *r) { row_clear(&user_key_type, r); }
void user_key_rows_free(struct user_key_row *r, size_t n) { row_list_free(&user_key_type, r, n); }

int repo_user_keys(db_t *db, const char *user, struct user_key_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = user ? rows_select(db, &user_key_type, USER_KEY_SELECT " WHERE t.user_name = ? ORDER BY t.kid", DB_ARGS(DB_T(user)), &list, n,
                                err)
                  : rows_select(db, &user_key_type, USER_KEY_SELECT " ORDER BY t.user_name, t.kid", NULL, 0, &list, n, err);
    *out = list;
    return rc;
}

int repo_user_key_put(db_t *db, const struct user_key_row *r, osmo_error_t *err) {
    int rc = r->current ? db_exec(db, "UPDATE user_keys SET is_current = 0 WHERE user_name = ? AND kid <> ?",
                                  DB_ARGS(DB_T(r->user), DB_T(r->kid)), NULL, err)
                        : 0;
    return rc < 0 ? rc
                  : db_exec(db, "INSERT INTO user_keys (user_name, kid, sealed, is_current) VALUES (?, ?, ?, ?)"
                                " ON CONFLICT (user_name, kid) DO UPDATE SET sealed = excluded.sealed, is_current = excluded.is_current",
                            DB_ARGS(DB_T(r->user), DB_T(r->kid), DB_T(r->sealed), DB_I(r->current)), NULL, err);
}

/* ---- signing keys ---- */

#define S_COL(kind, column, field) COL_ENTRY(signing_key_row, kind, column, field)
static const struct col signing_cols[] = {
    S_COL(TEXT, kid, kid) S_COL(TEXT, sealed, sealed) S_COL(I64, created_us, created_us) S_COL(I64, retired_us, retired_us)
};
static const struct row_type signing_type = { "signing_keys", sizeof(struct signing_key_row), signing_cols, 4, 4 };

void signing_key_row_clear(struct signing_key_row *r) { row_clear(&signing_type, r); }
void signing_key_rows_free(struct signing_key_row *r, size_t n) { row_list_free(&signing_type, r, n); }

int repo_signing_keys(db_t *db, struct signing_key_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &signing_type, "SELECT t.kid, t.sealed, t.created_us, t.retired_us FROM signing_keys t"
                                            " ORDER BY t.created_us DESC, t.kid",
                         NULL, 0, &list, n, err);
    *out = list;
    return rc;
}

int repo_signing_key_put(db_t *db, const struct signing_key_row *r, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO signing_keys (kid, sealed, created_us, retired_us) VALUES (?, ?, ?, ?) ON CONFLICT (kid) DO UPDATE"
                       " SET sealed = excluded.sealed, created_us = excluded.created_us, retired_us = excluded.retired_us",
                   DB_ARGS(DB_T(r->kid), DB_T(r->sealed), DB_I(r->created_us), DB_I(r->retired_us)), NULL, err);
}

int repo_signing_key_delete(db_t *db, const char *kid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM signing_keys WHERE kid = ?", DB_ARGS(DB_T(kid)), NULL, err);
}
