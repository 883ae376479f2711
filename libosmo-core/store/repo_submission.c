/* Large workflows on their way in and out: the mark of an unfinished insertion, the groups that may start, and the removal
 * of rows a piece at a time. Part of repo.h. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "store/repo.h"
#include "store/rows.h"

int repo_submission_begin(db_t *db, const char *workflow_uuid, const char *owner, int64_t now_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO submissions (workflow_uuid, owner, started_us) VALUES (?, ?, ?)"
                       " ON CONFLICT (workflow_uuid) DO NOTHING",
                   DB_ARGS(DB_T(workflow_uuid), DB_T(owner), DB_I(now_us)), NULL, err);
}

int repo_submission_is_mine(db_t *db, const char *workflow_uuid, const char *owner, bool *mine, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, db_is_pgsql(db) ? "SELECT 1 FROM submissions WHERE workflow_uuid = ? AND owner = ? FOR SHARE"
                                            : "SELECT 1 FROM submissions WHERE workflow_uuid = ? AND owner = ?",
                        DB_ARGS(DB_T(workflow_uuid), DB_T(owner)), 0, &n, err);
    *mine = n > 0;
    return rc;
}

int repo_submission_end(db_t *db, const char *workflow_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM submissions WHERE workflow_uuid = ?", DB_ARGS(DB_T(workflow_uuid)), NULL, err);
}

#define OWNER_IS_GONE " NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = owner AND r.ended = 0)"

int repo_submission_list(db_t *db, strlist_t *workflow_uuids, osmo_error_t *err) {
    return strings_select(db, db_is_pgsql(db)
                                  ? "SELECT workflow_uuid FROM submissions WHERE" OWNER_IS_GONE " ORDER BY started_us, workflow_uuid"
                                  : "SELECT workflow_uuid FROM submissions ORDER BY started_us, workflow_uuid",
                          NULL, 0, 1, workflow_uuids, err);
}

int repo_submission_take(db_t *db, const char *workflow_uuid, const char *owner, bool *taken, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, db_is_pgsql(db) ? "UPDATE submissions SET owner = ? WHERE workflow_uuid = ? AND" OWNER_IS_GONE
                                         : "UPDATE submissions SET owner = ? WHERE workflow_uuid = ?",
                     DB_ARGS(DB_T(owner), DB_T(workflow_uuid)), &changed, err);
    *taken = changed > 0;
    return rc;
}

/* Found by the key of the row alone, so that a piece costs what it removes and not what is left. Specifications and
 * barriers go with their groups, which are the same ones in these statements. */
int repo_submission_remove(db_t *db, const char *workflow_uuid, int64_t limit, bool *more, osmo_error_t *err) {
    static const char *const pieces[] = {
        "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM timers WHERE id IN (SELECT id FROM timers WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM ctrl_actions WHERE id IN (SELECT id FROM ctrl_actions WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM task_io WHERE (workflow_uuid, task, retry_id, io_type, url, start_us) IN"
        " (SELECT workflow_uuid, task, retry_id, io_type, url, start_us FROM task_io WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM workflow_tags WHERE (workflow_uuid, tag) IN"
        " (SELECT workflow_uuid, tag FROM workflow_tags WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM workflow_labels WHERE (workflow_uuid, label_key) IN"
        " (SELECT workflow_uuid, label_key FROM workflow_labels WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM workflow_files WHERE (workflow_uuid, path) IN"
        " (SELECT workflow_uuid, path FROM workflow_files WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM tasks WHERE uuid IN (SELECT uuid FROM tasks WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM group_edges WHERE (upstream_uuid, downstream_uuid) IN"
        " (SELECT upstream_uuid, downstream_uuid FROM group_edges WHERE workflow_uuid = ? LIMIT ?)",
        "DELETE FROM barrier_members WHERE group_uuid IN"
        " (SELECT uuid FROM workflow_groups WHERE workflow_uuid = ? ORDER BY ordinal LIMIT ?)",
        "DELETE FROM group_specs WHERE group_uuid IN"
        " (SELECT uuid FROM workflow_groups WHERE workflow_uuid = ? ORDER BY ordinal LIMIT ?)",
        "DELETE FROM workflow_groups WHERE uuid IN"
        " (SELECT uuid FROM workflow_groups WHERE workflow_uuid = ? ORDER BY ordinal LIMIT ?)",
    };
    *more = false;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        int64_t removed = 0;
        int rc = db_exec(db, pieces[i], DB_ARGS(DB_T(workflow_uuid), DB_I(limit)), &removed, err);
        if (rc < 0)
            return rc;
        *more |= removed > 0;
    }
    return *more ? 0 : repo_submission_end(db, workflow_uuid, err);
}

/* uuid and ordinal of up to `limit` rows. */
static int places_select(db_t *db, const char *sql, const struct db_arg *args, size_t n_args, size_t limit,
                         struct group_place *out, size_t *n, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *n = 0;
    int rc = db_query(db, sql, args, n_args, &rows, err);
    while (rc >= 0 && *n < limit && (rc = db_next(rows, err)) == 1) {
        snprintf(out[*n].uuid, sizeof out[*n].uuid, "%s", db_text(rows, 0));
        out[(*n)++].ordinal = db_int(rows, 1);
    }
    return rc < 0 ? rc : 0;
}

int repo_groups_ready(db_t *db, const char *workflow_uuid, int64_t after, size_t limit, struct group_place *out,
                      size_t *n, osmo_error_t *err) {
    return places_select(db, "SELECT uuid, ordinal FROM workflow_groups WHERE workflow_uuid = ? AND ordinal > ?"
                             " AND status = ? AND exec_generation = 0 ORDER BY ordinal LIMIT ?",
                         DB_ARGS(DB_T(workflow_uuid), DB_I(after), DB_I(STATUS_PROCESSING), DB_I((int64_t)limit)), limit,
                         out, n, err);
}

int repo_downstream_after(db_t *db, const char *group_uuid, int64_t after, size_t limit, struct group_place *out,
                          size_t *n, osmo_error_t *err) {
    return places_select(db, "SELECT g.uuid, g.ordinal FROM group_edges e JOIN workflow_groups g ON g.uuid ="
                             " e.downstream_uuid WHERE e.upstream_uuid = ? AND g.ordinal > ? ORDER BY g.ordinal LIMIT ?",
                         DB_ARGS(DB_T(group_uuid), DB_I(after), DB_I((int64_t)limit)), limit, out, n, err);
}
