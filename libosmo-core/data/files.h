/* Between transfer.c, upload.c, walk.c and download.c alone. */
#ifndef DATA_FILES_H
#define DATA_FILES_H
#include "base/re.h"
#include "data/run.h"

#define ASIDE_PART ".osmo-part-"   /* files that are being written, and what is known of them */
#define ASIDE_STATE ".osmo-state-"
#define PART_STEP (1u << 20)
#define TRIES_FOR_SAME 3           /* a file that changes while it is carried, sums that do not fit */

/* upload.c, walk.c */
struct upload_source {
    const char *const *paths; size_t npaths;               /* of data_upload() */
    const struct data_file *files; size_t nfiles;          /* of data_upload_files() */
    int (*open)(void *ctx, size_t i); void *ctx;
    re_t *re;
};
int upload_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err); /* ctx: struct upload_source */
/* A directory that is walked; alive as long as jobs need it. */
struct base;
struct base *base_ref(struct base *b);
void base_unref(struct base *b);
/* Tells of each file: its path in the base, its name for the storage, whether it is a link. */
typedef int (*walk_fn)(void *ctx, struct base *b, const char *path, const char *relative, bool is_link, uint64_t size, osmo_error_t *err);
int walk_path(struct run *run, const char *path, walk_fn fn, void *ctx, osmo_error_t *err);
/* The descriptor of a file that the walk told of; -1 and *why (NULL: errno) when it is left out. */
int base_open(struct run *run, struct base *b, const char *path, bool is_link, const char **why);

/* transfer.c: what a URI names, told one by one; *skip is set before: how much of a key is not part of its relative name */
int each_object(struct remote *r, struct data_conn *c, bool deep, remote_entry_fn fn, void *ctx, size_t *skip, osmo_error_t *err);

/* download.c */
struct download { const char *folder; re_t *re; bool resume; };
int download_feed(struct run *run, struct data_conn *c, void *ctx, osmo_error_t *err);

/* parts_up.c, parts_down.c */
uint64_t part_size_for(const struct run *run, uint64_t size);
int upload_in_parts(struct run *run, struct data_conn *c, const char *name, const char *key, int fd, uint64_t size, osmo_error_t *err);
struct wanted { char *name, *key, *etag, *md5, *sha256, *target; uint64_t size; int mode; };
int download_in_parts(struct run *run, struct data_conn *c, struct wanted *w, bool resume, osmo_error_t *err); /* takes what is in it */
void wanted_clear(struct wanted *w);
/* Name of a file beside the target, the same for the same object. Malloc'ed. */
char *aside_name(const struct run *run, const struct wanted *w, const char *prefix);
/* Opens and locks it; a negative code when that cannot be. */
int open_aside(const char *path, bool empty, osmo_error_t *err);
/* Does the descriptor have what the storage keeps? 1, 0, or -1 when it cannot be told. */
int same_bytes(struct run *run, struct data_conn *c, const struct wanted *w, int fd);
int give_name(const struct wanted *w, int fd, const char *aside, osmo_error_t *err);
int file_fail(int e, const char *what, osmo_error_t *err);
#endif
