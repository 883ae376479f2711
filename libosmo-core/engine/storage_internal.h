/* Directory walking shared by storage.c and storage_tree.c. */
#ifndef ENGINE_STORAGE_INTERNAL_H
#define ENGINE_STORAGE_INTERNAL_H
#include "engine/storage.h"

#define STORAGE_MAX_DEPTH 64
#define STORAGE_MAX_OBJECTS 1000000
#define STORAGE_XATTR_SHA256 "user.osmo.sha256"
#define STORAGE_UPLOAD_FILE "upload"
#define STORAGE_DATA_DIR "data"
#define STORAGE_STAGING ".staging"

/* Directory below `at`, never through a symbolic link; made when `make`. Descriptor or a negative code
 * (OSMO_ENOTFOUND). */
int storage_dir_at(int at, const char *name, bool make);
/* Directory `parts` below the storage root, NULL-terminated list of checked names. */
int storage_dir(engine_t *e, const char *const *parts, bool make, osmo_error_t *err);
/* Regular files below the directory (descriptor taken): counted, and listed when `list` is not NULL. */
int storage_walk(int dir, json_t *list, int64_t *count, osmo_error_t *err);
/* One name of a workflow or task: usable as a file name. */
int storage_name_check(const char *what, const char *name, osmo_error_t *err);
int storage_io_error(osmo_error_t *err, int error, const char *what);
#endif
