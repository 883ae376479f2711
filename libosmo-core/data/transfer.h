/* Files to and from storage: in parallel, in parts, with retry, resume and checksums. Used by osmo_ctrl, `osmo data`,
 * and tests. Everything that was not carried completely is a failure that names the file. A session belongs to one
 * thread at a time; it blocks. Callbacks come one at a time, but from other threads than the caller's, too; what they
 * point to lives as long as the session. */
#ifndef DATA_TRANSFER_H
#define DATA_TRANSFER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "data/data_credentials.h"
#include "data/uri.h"
#include "osmo/error.h"

/* What the environment says where no credential is configured; read by the caller, the library does not look. All may be NULL. */
struct data_environment {
    const char *aws_access_key_id, *aws_secret_access_key, *aws_session_token, *aws_region, *aws_endpoint_url;
    const char *azure_connection_string;
    enum data_addressing addressing; /* where a credential says none: OSMO_S3_ADDRESSING_STYLE, AWS_S3_FORCE_PATH_STYLE */
};
struct data_totals { uint64_t files, bytes, skipped; /* skipped: there already (resume) */ };
struct data_progress { uint64_t files_done, files_total, bytes_done,
                       bytes_total; const char *current; bool listing; /* totals still grow */ };
struct data_options {
    const data_credentials_t *credentials;  /* borrowed; may be NULL */
    int connections;                        /* at once; 0 = 16 */
    uint64_t part_size, multipart_from;     /* bytes; 0 = 16 MiB, 64 MiB */
    int64_t retry_for_ms, stall_ms;         /* service that is down or busy; without a byte. 0 = 10 minutes each */
    char *(*authorization)(void *ctx);      /* for the service's own storage: "Bearer …", malloc'ed; may be NULL */
    void (*progress)(void *ctx, const struct data_progress *p); /* at most a few times a second; may be NULL */
    void (*left_out)(void *ctx, const char *path, const char *why);  /* may be NULL */
    bool (*cancelled)(void *ctx);           /* asked often; true ends it with OSMO_ECONFLICT; may be NULL */
    void *ctx;
    const char *const *link_roots;          /* uploads follow symlinks to files below these only; NULL = anywhere */
    const struct data_environment *environment; /* borrowed; may be NULL */
    const char *state_dir;                  /* uploads in parts that were cut short go on from what is kept here; NULL: they begin anew */
    const char *user_agent;                 /* NULL = "osmo" */
};
typedef struct data_session data_session_t;
int data_session_new(const struct data_options *o, data_session_t **out, osmo_error_t *err);
void data_session_free(data_session_t *s);

/* Each path: a file, a directory (its own name becomes the first part of the keys), or "dir/" followed by a star: what is in it. */
int data_upload(data_session_t *s, const char *uri, const char *const *paths, size_t npaths, const char *regex, struct data_totals *totals,
                osmo_error_t *err);
/* Files that the caller opens: relative is the key below the URI; open returns a descriptor that is closed here, or a negative code. */
struct data_file { const char *relative; uint64_t size; };
int data_upload_files(data_session_t *s, const char *uri, const struct data_file *files, size_t n,
                      int (*open)(void *ctx, size_t i), void *ctx,
                      struct data_totals *totals, osmo_error_t *err);
/* An object as folder/basename, or all below the prefix by their relative paths whose start matches the regex ("" or NULL = all). Files are
 * written aside and renamed. resume: what is there whole is left, what was begun goes on. Nothing found is no failure. */
int data_download(data_session_t *s, const char *uri, const char *regex, const char *folder, bool resume, struct data_totals *totals,
                  osmo_error_t *err);
struct data_object { const char *key, *relative; uint64_t size; int64_t modified_us; const char *etag; bool is_prefix; };
int data_list(data_session_t *s, const char *uri, const char *regex, bool recursive,
              int (*fn)(void *ctx, const struct data_object *o), void *ctx,
              osmo_error_t *err);
int data_delete(data_session_t *s, const char *uri, const char *regex, struct data_totals *totals, osmo_error_t *err);
enum data_access { DATA_READ, DATA_WRITE, DATA_DELETE };
/* OSMO_EDENIED when the credential may not; other codes when it could not be found out. */
int data_check(data_session_t *s, const char *uri, enum data_access access, osmo_error_t *err);
#endif
