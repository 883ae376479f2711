/* Finished workflows at the end of their retention; see repo_retention.h. */
#include "store/repo_archive.h"
#include "base/cleanup.h"
#include "store/rows.h"

static const struct col expired_cols[] = { COL_ENTRY(expired_row, UUID, uuid, uuid) COL_ENTRY(expired_row, TEXT, id, id)
                                           COL_ENTRY(expired_row, I64, end_us, end_us) };
static const struct row_type expired_type = { "workflows", sizeof(struct expired_row), expired_cols, 3, 3 };

void expired_row_clear(struct expired_row *r) { row_clear(&expired_type, r); }

int repo_retention_next(db_t *db, int64_t after_end_us, const char *after_uuid, struct expired_row *out,
                        osmo_error_t *err) {
    return row_select(db, &expired_type,
                      "SELECT w.uuid, w.id, w.end_us FROM workflows w WHERE w.archived = 1 AND w.end_us > 0"
                      " AND w.end_us >= ? AND (w.end_us > ? OR w.uuid > ?)"
                      " AND NOT EXISTS (SELECT 1 FROM work k WHERE k.workflow_uuid = w.uuid)"
                      " ORDER BY w.end_us, w.uuid LIMIT 1",
                      DB_ARGS(DB_I(after_end_us), DB_I(after_end_us), DB_T(after_uuid)), out, err,
                      "an expired workflow");
}

/* The highest number of the name that is gone. */
static int remember_number(db_t *db, const struct workflow_row *w, osmo_error_t *err) {
    _cleanup_free_ char *key = str_printf(KV_WORKFLOW_NUMBER "%s", w->name), *known = NULL;
    char number[32];
    int64_t before = 0;
    if (!key)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = repo_kv_get(db, key, &known, err);
    if (rc < 0 && rc != OSMO_ENOTFOUND)
        return rc;
    if (known && str_to_i64(known, &before) && before >= w->job_id)
        return 0;
    snprintf(number, sizeof number, "%lld", (long long)w->job_id);
    return repo_kv_set(db, key, number, err);
}

static int owes_nothing(db_t *db, const struct workflow_row *w, bool *yes, osmo_error_t *err) {
    int64_t items = 0;
    int rc = int_select(db, "SELECT COUNT(*) FROM work WHERE workflow_uuid = ?", DB_ARGS(DB_T(w->uuid)), 0, &items, err);
    *yes = w->archived && status_is_workflow_finished(w->sm.status) && !w->groups_uncleaned && !items;
    return rc;
}

int repo_retention_hide(db_t *db, const char *uuid, const char *owner, int64_t now_us, bool *hidden, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    *hidden = false;
    int rc = repo_workflow_lock(db, uuid, &w, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    rc = owes_nothing(db, &w, hidden, err);
    if (rc >= 0 && *hidden) {
        rc = remember_number(db, &w, err);
        if (rc >= 0)
            rc = repo_submission_begin(db, uuid, owner, now_us, err);
        if (rc >= 0)
            rc = repo_archive_delete(db, uuid, err);
        if (rc >= 0)
            rc = db_exec(db, "DELETE FROM workflows WHERE uuid = ?", DB_ARGS(DB_T(uuid)), NULL, err);
    }
    workflow_row_clear(&w);
    return rc;
}
