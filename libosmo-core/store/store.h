/* The store: connections, transactions and the group-commit writer over SQLite or PostgreSQL. The only SQL is in
 * store/.
 *
 * Reads: store_reader() gives the calling thread its own read connection (opened on first use, closed with the store).
 * Writes: store_post()/store_write() run a function inside a transaction on a writer thread. SQLite has one writer
 * thread that runs many functions in one transaction and commits them together, a failing one alone leaving no trace;
 * PostgreSQL has several writer threads, functions with the same key go to the same thread in order. A function may run
 * more than once (retry after a lost connection or a serialisation failure, or because another one of its transaction
 * failed): it must change nothing but the database and what its ctx documents, and start from scratch each time. `done`
 * runs on the writer thread after the commit (rc 0) or after the final failure; only then may anything be acknowledged. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/log.h"
#include "osmo/error.h"

typedef struct store store_t;
typedef struct db db_t;         /* one connection */
typedef struct db_rows db_rows_t;

struct store_options {
    const char *url; /* sqlite:PATH or postgresql://… */
    const logger_t *log;
    int writers; /* 0 = default */
};
/* A server database may be open many times; an embedded one is one process's.
 * Opens, migrates (compiled-in migrations, forward only), starts the writers. OSMO_EUNAVAIL, OSMO_EDENIED, OSMO_EBUSY
 * (locked by another process), OSMO_EIO: text names the file or server and the remedy. */
int store_open(const struct store_options *o, store_t **out, osmo_error_t *err);
void store_close(store_t *s);   /* drains posted writes */
bool store_is_pgsql(const store_t *s);

typedef int (*store_fn)(db_t *db, void *ctx, osmo_error_t *err); /* 0 commits, <0 rolls this function back */
typedef void (*store_done_fn)(void *ctx, int rc, const osmo_error_t *err);       /* exactly once */
/* Queue a write. key: workflow uuid, or NULL for any. OSMO_EBUSY when the queue (bounded) is full. */
int store_post(store_t *s, const char *key, store_fn fn, store_done_fn done, void *ctx);
/* Queue and wait. Returns fn's code or the store's failure. Never call from a done function. */
int store_write(store_t *s, const char *key, store_fn fn, void *ctx, osmo_error_t *err);
int store_reader(store_t *s, db_t **out, osmo_error_t *err);

/* --- inside store/ and in transactions --- */
enum db_type { DB_NULL, DB_INT, DB_REAL, DB_TEXT, DB_BLOB };
struct db_arg { enum db_type type; int64_t i; double d; const void *p; size_t len; };
#define DB_I(v) ((struct db_arg){ .type = DB_INT, .i = (v) })
#define DB_D(v) ((struct db_arg){ .type = DB_REAL, .d = (v) })
#define DB_T(v) db_text_arg(v)                                    /* NULL gives SQL NULL */
#define DB_B(v, n) ((struct db_arg){ .type = DB_BLOB, .p = (v), .len = (n) })
struct db_arg db_text_arg(const char *s);
#define DB_ARGS(...) (struct db_arg[]){ __VA_ARGS__ }, sizeof((struct db_arg[]){ __VA_ARGS__ }) / sizeof(struct db_arg)

/* SQL in the common dialect, `?` placeholders; statements are prepared once per connection and cached by their text
 * pointer. */
int db_exec(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t *changed, osmo_error_t *err);
/* Many rows into one table: n_rows times `width` arguments, in the order of `columns`. */
struct db_insert { const char *table, *columns /* "a, b, c" */; size_t width; };
int db_insert(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows, osmo_error_t *err);
int db_query(db_t *db, const char *sql, const struct db_arg *args, size_t n, db_rows_t **out, osmo_error_t *err);
int db_next(db_rows_t *r, osmo_error_t *err);                      /* 1 row, 0 end, <0 */
void db_rows_free(db_rows_t *r);
static inline void db_rows_freep(db_rows_t **r) { db_rows_free(*r); }
#define _cleanup_rows_ __attribute__((cleanup(db_rows_freep)))
int64_t db_int(db_rows_t *r, int col);                             /* 0 for NULL */
double db_real(db_rows_t *r, int col);
const char *db_text(db_rows_t *r, int col);                        /* "" for NULL; valid until db_next */
bool db_is_null(db_rows_t *r, int col);
const void *db_blob(db_rows_t *r, int col, size_t *len);
bool db_is_pgsql(const db_t *db);
#endif
