/* See repo_pool.h. */
#include "store/repo_pool.h"

#include "model/status.h"
#include "store/rows.h"

/* An embedded database has one writer. */
int repo_config_lock(db_t *db, osmo_error_t *err) {
    int64_t unused;
    if (!db_is_pgsql(db))
        return 0;
    return int_select(db, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended(COALESCE(current_schema(), ''), 5721)))"
                          " AS locked", NULL, 0, 0, &unused, err);
}

int repo_pool_ongoing(db_t *db, const char *pool, int64_t *workflows, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM workflows WHERE pool = ? AND status IN (?, ?, ?)",
                      DB_ARGS(DB_T(pool), DB_I(STATUS_PENDING), DB_I(STATUS_RUNNING), DB_I(STATUS_WAITING)), 0, workflows, err);
}
