/* Tags of workflows; see repo_tags.h. Each carries the time of its workflow, so that the list reads them in its order. */
#include "store/repo_tags.h"

#include "store/repo.h"
#include "store/rows.h"

int repo_tags_of(db_t *db, const char *workflow_uuid, strlist_t *out, osmo_error_t *err) {
    return strings_select(db, "SELECT tag FROM workflow_tags WHERE workflow_uuid = ? ORDER BY tag", DB_ARGS(DB_T(workflow_uuid)), 1, out,
                          err);
}

int repo_tags_change(db_t *db, const char *workflow_uuid, const strlist_t *add, const strlist_t *remove, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    int64_t count = 0;
    int rc = repo_workflow_lock(db, workflow_uuid, &w, err);
    for (size_t i = 0; rc >= 0 && i < remove->len; i++)
        rc = db_exec(db, "DELETE FROM workflow_tags WHERE workflow_uuid = ? AND tag = ?",
                     DB_ARGS(DB_T(workflow_uuid), DB_T(remove->items[i])), NULL, err);
    for (size_t i = 0; rc >= 0 && i < add->len; i++)
        rc = db_exec(db, "INSERT INTO workflow_tags (workflow_uuid, tag, submit_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                     DB_ARGS(DB_T(workflow_uuid), DB_T(add->items[i]), DB_I(w.submit_us)), NULL, err);
    if (rc >= 0 && add->len)
        rc = int_select(db, "SELECT COUNT(*) FROM workflow_tags WHERE workflow_uuid = ?", DB_ARGS(DB_T(workflow_uuid)), 0, &count, err);
    if (rc >= 0 && count > WORKFLOW_TAGS_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "workflow %s would have more than %d tags: remove some", w.id, WORKFLOW_TAGS_MAX);
    workflow_row_clear(&w);
    return rc;
}
