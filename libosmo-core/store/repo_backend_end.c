/* See repo_backend_end.h. */
#include "store/repo_backend_end.h"

#include "base/cleanup.h"
#include "model/status.h"
#include "store/repo_auth.h"
#include "store/repo_queues.h"
#include "store/rows.h"

#define UNFINISHED "status IN (?, ?, ?)"
#define UNFINISHED_ARGS DB_I(STATUS_PENDING), DB_I(STATUS_RUNNING), DB_I(STATUS_WAITING)

/* The lock of a server database lets heartbeats pass, and holds up the deletion. */
int repo_backend_accepts(db_t *db, const char *name, bool *yes, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, db_is_pgsql(db) ? "SELECT 1 FROM backends WHERE name = ? AND ending = 0 FOR KEY SHARE"
                                            : "SELECT 1 FROM backends WHERE name = ? AND ending = 0",
                        DB_ARGS(DB_T(name)), 0, &n, err);
    *yes = n > 0;
    return rc;
}

static int changes(db_t *db, const char *sql, const struct db_arg *args, size_t n, bool *any, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, sql, args, n, &changed, err);
    *any = changed > 0;
    return rc;
}

int repo_backend_identity(db_t *db, const char *name, const char *k8s_uid, const char *node_prefix, bool *found, osmo_error_t *err) {
    return changes(db, "UPDATE backends SET k8s_uid = COALESCE(?, k8s_uid), node_prefix = COALESCE(?, node_prefix)"
                       " WHERE name = ? AND ending = 0", DB_ARGS(DB_T(k8s_uid), DB_T(node_prefix), DB_T(name)), found, err);
}

int repo_backend_owed(db_t *db, const char *name, int64_t *workflows, int64_t *groups, osmo_error_t *err) {
    int rc = int_select(db, "SELECT COUNT(*) FROM workflows WHERE " UNFINISHED " AND backend = ?",
                        DB_ARGS(UNFINISHED_ARGS, DB_T(name)), 0, workflows, err);
    return rc < 0 ? rc : int_select(db, "SELECT COUNT(DISTINCT group_uuid) FROM placements WHERE backend = ?", DB_ARGS(DB_T(name)), 0,
                                    groups, err);
}

int repo_backend_end_begin(db_t *db, const char *name, bool *found, osmo_error_t *err) {
    return changes(db, "UPDATE backends SET ending = 1 WHERE name = ?", DB_ARGS(DB_T(name)), found, err);
}

int repo_backends_ending(db_t *db, strlist_t *names, osmo_error_t *err) {
    return strings_select(db, "SELECT name FROM backends WHERE ending = 1 ORDER BY name", NULL, 0, 1, names, err);
}

int repo_backend_workflows(db_t *db, const char *name, const char *after, size_t limit, strlist_t *uuids, osmo_error_t *err) {
    return strings_select(db, "SELECT uuid FROM workflows WHERE " UNFINISHED " AND backend = ? AND uuid > ?"
                              " UNION SELECT workflow_uuid FROM placements WHERE backend = ? AND workflow_uuid > ? ORDER BY 1 LIMIT ?",
                          DB_ARGS(UNFINISHED_ARGS, DB_T(name), DB_T(after), DB_T(name), DB_T(after), DB_I((int64_t)limit)), 1, uuids, err);
}

static int delete_tokens(db_t *db, const char *name, int64_t *tokens, osmo_error_t *err) {
    strlist_t pairs = { 0 };
    int rc = strings_select(db, "SELECT user_name, name FROM tokens WHERE backend = ? ORDER BY user_name, name", DB_ARGS(DB_T(name)), 2,
                            &pairs, err);
    for (size_t i = 0; rc >= 0 && i + 1 < pairs.len; i += 2) {
        rc = repo_user_lock(db, pairs.items[i], err);
        if (rc >= 0)
            rc = repo_token_delete(db, pairs.items[i], pairs.items[i + 1], err);
        if (rc == OSMO_ENOTFOUND)
            rc = 0;
        else if (rc >= 0)
            ++*tokens;
    }
    strlist_free(&pairs);
    return rc;
}

/* First the row: whoever writes for the backend right now is waited for, and nobody begins after that. */
int repo_backend_end(db_t *db, const char *name, bool *again, int64_t *tokens, osmo_error_t *err) {
    static const char *const rest[] = {
        "DELETE FROM nodes WHERE backend = ?",
        "DELETE FROM work WHERE backend = ? AND NOT EXISTS (SELECT 1 FROM workflows w WHERE w.uuid = work.workflow_uuid AND w.status IN"
        " (?, ?, ?))",
    };
    int64_t placed = 0;
    bool there = false;
    *again = false;
    *tokens = 0;
    int rc = changes(db, "UPDATE backends SET ending = 1 WHERE name = ? AND ending = 1", DB_ARGS(DB_T(name)), &there, err);
    if (rc < 0 || !there)
        return rc;
    rc = int_select(db, "SELECT 1 FROM placements WHERE backend = ?", DB_ARGS(DB_T(name)), 0, &placed, err);
    *again = placed > 0;
    if (rc < 0 || *again)
        return rc;
    rc = db_exec(db, "DELETE FROM backends WHERE name = ?", DB_ARGS(DB_T(name)), NULL, err);
    if (rc >= 0)
        rc = db_exec(db, rest[0], DB_ARGS(DB_T(name)), NULL, err);
    if (rc >= 0)
        rc = db_exec(db, rest[1], DB_ARGS(DB_T(name), UNFINISHED_ARGS), NULL, err);
    if (rc >= 0)
        rc = repo_queues_forget(db, name, err);
    return rc < 0 ? rc : delete_tokens(db, name, tokens, err);
}
