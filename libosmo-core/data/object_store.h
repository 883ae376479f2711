/* Objects under names, whole or not at all: where finished things are kept for good. A store is named by a URL; its
 * scheme says which driver it is. Drivers: file (object_file.c); s3, gs, azure, swift, tos (object_remote.c). Used by
 * engine/archive*.c. A store may be used by several threads, a writer and a reader belong to one at a time. */
#ifndef DATA_OBJECT_STORE_H
#define DATA_OBJECT_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "data/data_credentials.h"
#include "osmo/error.h"

#define OBJECT_NAME_MAX 1024 /* "a/b/c": relative, parts of at most 240 bytes, none of them empty, or beginning with "." */

typedef struct object_store object_store_t;
typedef struct object_writer object_writer_t;
typedef struct object_reader object_reader_t;
typedef int (*object_list_fn)(void *ctx, const char *name, uint64_t size, osmo_error_t *err); /* <0 ends the list */

/* How a store is reached. NULL for the whole, or all zero, is fine for file:// stores; others find no credential then. */
struct object_options {
    const data_credentials_t *credentials; /* copied: needed while it is opened only */
    int64_t retry_for_ms;                  /* storage that is down or busy; 0 = 1 minute */
};
/* What a driver is; called through the functions below only, with names that have been checked. */
struct object_driver {
    const char *scheme;
    int (*open)(const char *url, const struct object_options *o, object_store_t **out, osmo_error_t *err);
    void (*close)(object_store_t *s);
    int (*put)(object_store_t *s, const char *name, object_writer_t **out, osmo_error_t *err);
    int (*write)(object_writer_t *w, const void *data, size_t len, osmo_error_t *err);
    int (*commit)(object_writer_t *w, osmo_error_t *err);
    void (*discard)(object_writer_t *w);
    int (*get)(object_store_t *s, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err);
    ssize_t (*read)(object_reader_t *r, uint64_t offset, void *data, size_t max, osmo_error_t *err);
    void (*done)(object_reader_t *r);
    int (*list)(object_store_t *s, const char *prefix, object_list_fn fn, void *ctx, osmo_error_t *err);
    int (*remove)(object_store_t *s, const char *name, osmo_error_t *err);
    int (*tidy)(object_store_t *s, const char *prefix, osmo_error_t *err);
};
/* First members of a driver's own structs. */
struct object_store { const struct object_driver *driver; };
struct object_writer { const struct object_driver *driver; };
struct object_reader { const struct object_driver *driver; };
extern const struct object_driver object_file_driver, object_s3_driver, object_gs_driver, object_azure_driver, object_swift_driver,
    object_tos_driver;

/* OSMO_EINVAL when the URL is of no store that can be used. A file store's directory is made when it is missing. */
int object_store_open(const char *url, const struct object_options *o, object_store_t **out, osmo_error_t *err);
void object_store_close(object_store_t *s);

/* An object that is written in pieces appears with commit, durable, in place of what was there; commit and discard both end
 * the writer. OSMO_EIO, OSMO_EDENIED, OSMO_ELIMIT (no room): the text names the place and the remedy. */
int object_put(object_store_t *s, const char *name, object_writer_t **out, osmo_error_t *err);
int object_write(object_writer_t *w, const void *data, size_t len, osmo_error_t *err);
int object_commit(object_writer_t *w, osmo_error_t *err);
void object_discard(object_writer_t *w); /* NULL is fine */
static inline void object_discardp(object_writer_t **w) { object_discard(*w); }
int object_put_bytes(object_store_t *s, const char *name, const void *data, size_t len, osmo_error_t *err);

/* OSMO_ENOTFOUND when there is none. */
int object_get(object_store_t *s, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err);
/* What is there at the offset, up to max bytes; 0 at the end. */
ssize_t object_read(object_reader_t *r, uint64_t offset, void *data, size_t max, osmo_error_t *err);
void object_done(object_reader_t *r); /* NULL is fine */

/* The objects right below "prefix" (a name; no trailing slash), in no order. None is fine. */
int object_list(object_store_t *s, const char *prefix, object_list_fn fn, void *ctx, osmo_error_t *err);
/* That there is none is fine. */
int object_remove(object_store_t *s, const char *name, osmo_error_t *err);
/* Removes what writers below the prefix left behind when their process died, nothing of those that still write, and the
 * place itself when nothing is in it. Storage does not tell whose writers live: there it is what began more than a day ago. */
int object_tidy(object_store_t *s, const char *prefix, osmo_error_t *err);
#endif
