/* Rows of workflows, groups and tasks in the memory of the writer of an embedded database, which alone changes them: an event
 * of a running task finds its rows here, and writes what differs. Reached by the repo_*.c files through rows of the types
 * they share, and by sqlite.c, which drops what is not true any more: a row that a statement changed, and everything after a
 * rollback or when another program has written to the file. Belongs to one thread. */
#ifndef STORE_ROW_CACHE_H
#define STORE_ROW_CACHE_H
#include "store/rows.h"

typedef struct row_cache row_cache_t;

row_cache_t *row_cache_new(size_t bytes_max);
void row_cache_free(row_cache_t *c);
void row_cache_reset(row_cache_t *c);
/* The row with this number of this table is not what it was. */
void row_cache_changed(row_cache_t *c, const char *table, int64_t rowid);

/* NULL: not here. Valid until the next call that changes the cache, or a statement that changes the row. The key of a row
 * is a uuid, and a number for rows of one uuid (0 for others). */
const void *row_cache_find(row_cache_t *c, const struct row_type *t, const char *uuid, int64_t number, int64_t *rowid);
/* Keeps a copy, unless memory is short. */
void row_cache_put(row_cache_t *c, const struct row_type *t, const char *uuid, int64_t number, int64_t rowid, const void *row);
size_t row_cache_bytes(const row_cache_t *c);

/* The cache of a connection; NULL: it has none. */
row_cache_t *db_row_cache(db_t *db);

/* A deep copy; the texts are the caller's. */
int row_copy(const struct row_type *t, const void *from, void *to, osmo_error_t *err);
/* Do the n columns from `cols` say the same in both rows? */
bool row_same(const struct col *cols, size_t n, const void *a, const void *b);

/* row_select() of the row with this key, from the cache if it is there. `sql` selects, behind the columns of the type, the
 * number of the row in an embedded database; it is used only for connections that have a cache. */
struct row_key { const char *uuid; int64_t number; };
int row_select_cached(db_t *db, const struct row_type *t, struct row_key key, const char *sql, const struct db_arg *args,
                      size_t n_args, void *out, osmo_error_t *err, const char *what_format, ...)
    __attribute__((format(printf, 9, 10)));
#endif
