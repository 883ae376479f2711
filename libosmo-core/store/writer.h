/* The threads that write. Used by store.c, and by logstore_pgsql.c for its own. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H
#include "store/driver.h"

typedef struct writers writers_t;
/* The connections are taken over, one a thread, also on failure. */
int writers_start(db_t **connections, size_t n, const logger_t *log, writers_t **out, osmo_error_t *err);
/* Runs what is queued, then stops the threads and closes their connections. NULL is fine. */
void writers_stop(writers_t *w);
int writers_post(writers_t *w, const char *key, store_fn fn, void *fn_ctx, store_done_fn done, void *done_ctx);
/* Posts and waits; refused on a writer thread. */
int writers_write(writers_t *w, const char *key, store_fn fn, void *ctx, osmo_error_t *err);
/* Further threads on connections of their own to a server, stopped by the caller before the store is closed. For writes
 * that must neither wait for the store's nor hold them up. */
int store_more_writers(store_t *s, size_t n, writers_t **out, osmo_error_t *err);
/* Is the calling thread one of any store's writers? It must not wait for a write. */
bool writers_is_writer(void);
#endif
