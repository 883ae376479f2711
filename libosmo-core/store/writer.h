/* The threads that write. Used by store.c only. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H
#include "store/driver.h"

typedef struct writers writers_t;
/* The connections are taken over, one a thread, also on failure. */
int writers_start(db_t **connections, size_t n, const logger_t *log, writers_t **out, osmo_error_t *err);
/* Runs what is queued, then stops the threads and closes their connections. NULL is fine. */
void writers_stop(writers_t *w);
int writers_post(writers_t *w, const char *key, store_fn fn, void *fn_ctx, store_done_fn done, void *done_ctx);
/* Is the calling thread one of any store's writers? It must not wait for a write. */
bool writers_is_writer(void);
#endif
