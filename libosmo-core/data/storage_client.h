/* Client of the service's own task-data storage (one HTTP root per task): list, fetch, upload, commit. Used by the
 * in-pod runtime. Requests that meet a service that is down are repeated with backoff until the deadline given at
 * creation. */
#ifndef DATA_STORAGE_CLIENT_H
#define DATA_STORAGE_CLIENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "osmo/error.h"

typedef struct storage_client storage_client_t;
struct storage_options {
    /* Value for the Authorization header ("Bearer …"), asked before each request; malloc'ed, NULL = none. */
    char *(*authorization)(void *ctx);
    /* Told about a file that was left out, and why; may be NULL. */
    void (*left_out)(void *ctx, const char *path, const char *why);
    void *ctx;
    /* Symlinks in an upload may lead to files below these directories (NULL-terminated; NULL = anywhere). */
    const char *const *link_roots;
    int64_t retry_for_ms;                            /* how long an unreachable service is waited for */
};
struct storage_totals { uint64_t files, bytes; };

bool storage_is_url(const char *url);                /* http:// or https:// */
int storage_client_new(const struct storage_options *o, storage_client_t **out, osmo_error_t *err);
void storage_client_free(storage_client_t *c);
/* Everything published under `url` whose relative path matches `regex` at its start ("" = all) into `folder`. Files are
 * written aside and renamed. The first failure ends it and names the file. */
int storage_download(storage_client_t *c, const char *url, const char *regex, const char *folder,
                     struct storage_totals *totals, osmo_error_t *err);
/* All regular files below `folder` (symlinks to files are followed as far as link_roots allows, those to directories
 * are not) to `url`, published in one step at the end. `only` limits it to one relative path; NULL = all. */
int storage_upload(storage_client_t *c, const char *url, const char *regex, const char *folder, const char *only,
                   struct storage_totals *totals, osmo_error_t *err);
#endif
