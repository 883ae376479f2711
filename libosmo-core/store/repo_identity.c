/* Keys and values, profiles. Part of repo.h. Errors never quote a value. */
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
