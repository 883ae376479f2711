/* Archived workflows; see repo_archive.h. */
#include "store/repo_archive.h"

#include "base/cleanup.h"
#include "store/rows.h"

/* How the column local_log says it. */
static const int64_t local_of[] = { [ARCHIVE_BOTH] = 1, [ARCHIVE_DROPPING] = 2, [ARCHIVE_ONLY] = 0 };

int repo_archive_get(db_t *db, const char *workflow_uuid, enum archive_state *out, osmo_error_t *err) {
    int64_t local = -1;
    int rc = int_select(db, "SELECT local_log FROM workflow_archives WHERE workflow_uuid = ?", DB_ARGS(DB_T(workflow_uuid)),
                        -1, &local, err);
    *out = ARCHIVE_NONE;
    for (size_t i = ARCHIVE_BOTH; i < ARRAY_SIZE(local_of); i++)
        if (local == local_of[i])
            *out = (enum archive_state)i;
    return rc;
}

int repo_archive_add(db_t *db, const char *workflow_uuid, const char *workflow_id, int64_t now_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO workflow_archives (workflow_uuid, workflow_id, archived_us, local_log) VALUES (?, ?, ?, ?)"
                       " ON CONFLICT (workflow_uuid) DO NOTHING",
                   DB_ARGS(DB_T(workflow_uuid), DB_T(workflow_id), DB_I(now_us), DB_I(local_of[ARCHIVE_BOTH])), NULL, err);
}

int repo_archive_set(db_t *db, const char *workflow_uuid, enum archive_state state, osmo_error_t *err) {
    return db_exec(db, "UPDATE workflow_archives SET local_log = ? WHERE workflow_uuid = ?",
                   DB_ARGS(DB_I(local_of[state]), DB_T(workflow_uuid)), NULL, err);
}

int repo_archive_items(db_t *db, const char *workflow_uuid, const char *kind, int64_t *n, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM work WHERE workflow_uuid = ? AND kind = ?",
                      DB_ARGS(DB_T(workflow_uuid), DB_T(kind)), 0, n, err);
}

static const struct col place_cols[] = { COL_ENTRY(expired_row, UUID, workflow_uuid, uuid)
                                         COL_ENTRY(expired_row, TEXT, workflow_id, id)
                                         COL_ENTRY(expired_row, I64, archived_us, end_us) };
static const struct row_type place_type = { "workflow_archives", sizeof(struct expired_row), place_cols, 3, 3 };

int repo_archive_next(db_t *db, int64_t after_us, const char *after_uuid, struct expired_row *out, osmo_error_t *err) {
    return row_select(db, &place_type,
                      "SELECT workflow_uuid, workflow_id, archived_us FROM workflow_archives WHERE local_log > 0"
                      " AND archived_us >= ? AND (archived_us > ? OR workflow_uuid > ?)"
                      " ORDER BY archived_us, workflow_uuid LIMIT 1",
                      DB_ARGS(DB_I(after_us), DB_I(after_us), DB_T(after_uuid)), out, err, "an archived workflow");
}

int repo_archive_delete(db_t *db, const char *workflow_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM workflow_archives WHERE workflow_uuid = ?", DB_ARGS(DB_T(workflow_uuid)), NULL, err);
}

int repo_file_names(db_t *db, const char *workflow_uuid, const char *after, size_t limit, strlist_t *names,
                    osmo_error_t *err) {
    return strings_select(db, "SELECT path FROM workflow_files WHERE workflow_uuid = ? AND path > ? ORDER BY path LIMIT ?",
                          DB_ARGS(DB_T(workflow_uuid), DB_T(after), DB_I((int64_t)limit)), 1, names, err);
}

int repo_file_drop_errors(db_t *db, const char *workflow_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM workflow_files WHERE workflow_uuid = ? AND path LIKE '%~_error~_logs.txt' ESCAPE '~'",
                   DB_ARGS(DB_T(workflow_uuid)), NULL, err);
}

int repo_group_kinds_get(db_t *db, const char *group_uuid, char **json, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *json = NULL;
    int rc = db_query(db, "SELECT template_kinds_json FROM group_specs WHERE group_uuid = ?", DB_ARGS(DB_T(group_uuid)), &rows,
                      err);
    if (rc >= 0)
        rc = db_next(rows, err);
    if (rc <= 0 || db_is_null(rows, 0))
        return rc < 0 ? rc : 0;
    *json = str_dup(db_text(rows, 0));
    return *json ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int repo_group_kinds_set(db_t *db, const char *group_uuid, const char *json, osmo_error_t *err) {
    return db_exec(db, "UPDATE group_specs SET template_kinds_json = ? WHERE group_uuid = ?",
                   DB_ARGS(DB_T(json), DB_T(group_uuid)), NULL, err);
}
