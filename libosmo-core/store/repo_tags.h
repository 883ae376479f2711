/* Tags of workflows. Used by api/. */
#ifndef STORE_REPO_TAGS_H
#define STORE_REPO_TAGS_H
#include "base/str.h"
#include "store/store.h"

/* A workflow has at most this many: tags are chosen from a configured list, and the list may change. */
#define WORKFLOW_TAGS_MAX 200

/* In their own order. */
int repo_tags_of(db_t *db, const char *workflow_uuid, strlist_t *out, osmo_error_t *err);
/* Those to add that are there, and those to remove that are not, are fine; one in both lists is there afterwards. OSMO_ENOTFOUND when the
 * workflow does not exist (any more). */
int repo_tags_change(db_t *db, const char *workflow_uuid, const strlist_t *add, const strlist_t *remove, osmo_error_t *err);
#endif
