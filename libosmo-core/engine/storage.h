/* The service's own storage of task data: one published tree of files per task, replaced as a whole by a commit.
 * Used by api/storage_routes.c,
     which decides who may do what. Names and paths come from outside: nothing here follows a
 * symbolic link or leaves the storage directory.
 *
 *     <storage>/<workflow>/<task>/upload         id of the upload that was published
 *     <storage>/<workflow>/<task>/data/…         the objects
 *     <storage>/.staging/<workflow>/<task>/<upload>/data/…   an upload in progress
 */
#ifndef ENGINE_STORAGE_H
#define ENGINE_STORAGE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/json.h"
#include "engine/engine.h"

struct storage_body { const void *data; size_t len; const char *file; /* spooled body, moved away; NULL = data */ };
/* Array of {path, size, mode, sha256?} of the published tree; empty when nothing was published. mode is the number, not
 * its octal text. */
int storage_list(engine_t *e, const char *workflow, const char *task, json_t **out, osmo_error_t *err);
/* OSMO_ENOTFOUND; the caller closes *fd. */
int storage_get(engine_t *e, const char *workflow, const char *task, const char *path, int *fd, uint64_t *size,
                mode_t *mode, osmo_error_t *err);
int storage_put(engine_t *e, const char *workflow, const char *task, const char *upload, const char *path, mode_t mode,
                const struct storage_body *body, uint64_t *size, char sha256[65], osmo_error_t *err);
/* Publish an upload in place of what was there. Repeating the commit of the upload that is published changes
 * nothing. */
int storage_commit(engine_t *e, const char *workflow, const char *task, const char *upload, int64_t *objects,
                   osmo_error_t *err);
/* Remove what uploads of a finished workflow left behind unpublished. */
void storage_forget_uploads(engine_t *e, const char *workflow);
/* 32 lower-case hexadecimal digits. */
bool storage_upload_valid(const char *upload);
#endif
