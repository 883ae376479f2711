/* See repo_secure.h. */
#include "store/repo_secure.h"

#include "store/repo.h"

static int pragma(db_t *db, const char *sql, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_is_pgsql(db) ? 0 : db_query(db, sql, NULL, 0, &rows, err);
    if (rc == 0 && rows)
        rc = db_next(rows, err);
    return rc < 0 ? rc : 0;
}

int repo_kv_overwrite(db_t *db, const char *key, const char *value, osmo_error_t *err) {
    int rc = pragma(db, "PRAGMA secure_delete=ON", err);
    if (rc == 0)
        rc = value ? repo_kv_set(db, key, value, err) : db_exec(db, "DELETE FROM kv WHERE name = ?", DB_ARGS(DB_T(key)), NULL, err);
    int off = pragma(db, "PRAGMA secure_delete=OFF", rc < 0 ? NULL : err);
    return rc < 0 ? rc : off;
}

int repo_overwritten(db_t *db, osmo_error_t *err) { return pragma(db, "PRAGMA wal_checkpoint(TRUNCATE)", err); }
