/* What is known of archived workflows, and what the archive needs of the others' rows: files and their names. Used by
 * engine/archive*.c, retention.c and logs_stream.c; the kinds of objects of a group by agent_*.c and reactor_jobs.c. */
#ifndef STORE_REPO_ARCHIVE_H
#define STORE_REPO_ARCHIVE_H
#include "base/str.h"
#include "store/repo_retention.h"

/* Where the log of a workflow is. */
enum archive_state {
    ARCHIVE_NONE,     /* in the log store only */
    ARCHIVE_BOTH,     /* in the archive; the log store still has its copy */
    ARCHIVE_DROPPING, /* in the archive; the log store may have lost its copy */
    ARCHIVE_ONLY
};
int repo_archive_get(db_t *db, const char *workflow_uuid, enum archive_state *out, osmo_error_t *err);
/* Everything of the workflow is in the archive; again changes nothing. */
int repo_archive_add(db_t *db, const char *workflow_uuid, const char *workflow_id, int64_t now_us, osmo_error_t *err);
int repo_archive_set(db_t *db, const char *workflow_uuid, enum archive_state state, osmo_error_t *err);
/* Of those that are not in the archive only, the one that was archived first behind (time, uuid); end_us is when.
 * OSMO_ENOTFOUND. */
int repo_archive_next(db_t *db, int64_t after_us, const char *after_uuid, struct expired_row *out, osmo_error_t *err);
/* Work items of that kind that the workflow has still, dead ones included. */
int repo_archive_items(db_t *db, const char *workflow_uuid, const char *kind, int64_t *n, osmo_error_t *err);
int repo_archive_delete(db_t *db, const char *workflow_uuid, osmo_error_t *err);

/* Names of the files of a workflow behind `after`, in their order, at most `limit`. */
int repo_file_names(db_t *db, const char *workflow_uuid, const char *after, size_t limit, strlist_t *names,
                    osmo_error_t *err);
/* Deletes the error logs among them; they are in the archive. */
int repo_file_drop_errors(db_t *db, const char *workflow_uuid, osmo_error_t *err);

/* Kinds that templates of the pool made for the group, as a JSON array, or NULL: what its cleanup must look for. */
int repo_group_kinds_get(db_t *db, const char *group_uuid, char **json, osmo_error_t *err);
int repo_group_kinds_set(db_t *db, const char *group_uuid, const char *json, osmo_error_t *err);
#endif
