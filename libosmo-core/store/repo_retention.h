/* Finished workflows that are older than they are kept. Used by engine/retention.c. */
#ifndef STORE_REPO_RETENTION_H
#define STORE_REPO_RETENTION_H
#include "store/repo.h"

struct expired_row { char uuid[33]; char *id; int64_t end_us; };
void expired_row_clear(struct expired_row *r);
/* The archived workflow that ended first behind (end, uuid) and owes nothing: no work item of it is left, dead ones
 * included. OSMO_ENOTFOUND when there is none. */
int repo_retention_next(db_t *db, int64_t after_end_us, const char *after_uuid, struct expired_row *out,
                        osmo_error_t *err);
/* Takes the workflow's own row away if it still owes nothing; with that nobody sees it any more. Its number is
 * remembered, so that no other gets its id. The rest is marked as left over and goes with repo_submission_remove. */
int repo_retention_hide(db_t *db, const char *uuid, const char *owner, int64_t now_us, bool *hidden, osmo_error_t *err);
#define KV_WORKFLOW_NUMBER "workflow-number:" /* and the name: the highest number of a deleted workflow */
#endif
