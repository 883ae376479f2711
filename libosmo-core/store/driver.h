/* What a database driver gives the store, and the state every connection shares. Only store/ includes this:
 * the repositories speak through the db_* functions of store.h, the writer and the store through this table. */
#ifndef STORE_DRIVER_H
#define STORE_DRIVER_H
#include "base/log.h"
#include "store/stmt_cache.h"
#include "store/store.h"

struct db_target {
    const char *url;
    const logger_t *log;
};

/* Why the last failing statement failed, as far as trying again is concerned. */
enum db_trouble { DB_FINE, DB_RETRY /* the transaction lost a race: run it again */,
                  DB_LOST /* the connection is gone */ };

struct db_driver {
    bool pgsql;
    /* The one exclusive owner of an embedded database: *lock_fd stays open as long as the ownership. NULL: a
     * server arbitrates. */
    int (*own)(const struct db_target *t, int *lock_fd, osmo_error_t *err);
    int (*open)(const struct db_target *t, bool writer, db_t **out, osmo_error_t *err);
    void (*close)(db_t *db);
    int (*exec)(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t *changed, osmo_error_t *err);
    /* One INSERT of n_rows rows of `width` values each, in one transaction already begun. */
    int (*insert)(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows, osmo_error_t *err);
    int (*query)(db_t *db, const char *sql, const struct db_arg *args, size_t n, db_rows_t **out, osmo_error_t *err);
    int (*next)(db_rows_t *r, osmo_error_t *err);
    void (*rows_free)(db_rows_t *r);
    int64_t (*get_int)(db_rows_t *r, int col);
    double (*get_real)(db_rows_t *r, int col);
    const char *(*get_text)(db_rows_t *r, int col);
    bool (*get_null)(db_rows_t *r, int col);
    const void *(*get_blob)(db_rows_t *r, int col, size_t *len);
    int (*begin)(db_t *db, osmo_error_t *err);               /* a transaction that is going to write */
    int (*commit)(db_t *db, osmo_error_t *err);
    void (*rollback)(db_t *db);
    int (*savepoint)(db_t *db, osmo_error_t *err);
    int (*release)(db_t *db, osmo_error_t *err);             /* keep what was done since the savepoint */
    /* Rows changed by this connection so far. NULL: a failed statement spoils the transaction, so there is no use for it. */
    int64_t (*changes)(db_t *db);
    /* drop what was done since the savepoint, and the savepoint */
    int (*undo)(db_t *db, osmo_error_t *err);
    /* Waits for the answers of what was sent without; NULL: none is. */
    int (*settle)(db_t *db, osmo_error_t *err);
    int (*ping)(db_t *db, osmo_error_t *err);                /* reconnects when needed */
    /* after a commit that lost its connection: 1 happened, 0 did not, <0 not known yet */
    int (*outcome)(db_t *db, osmo_error_t *err);
    int (*script)(db_t *db, const char *sql, osmo_error_t *err); /* several statements without arguments */
};

/* First member of every driver's connection. */
struct db {
    const struct db_driver *drv;
    const logger_t *log;
    struct stmt_cache cache;
    struct row_cache *rows;      /* of the writer of an embedded database; else NULL */
    bool failed;                 /* a statement failed since db_forget_failure() */
    enum db_trouble trouble;
};
/* First member of every driver's result. */
struct db_rows { db_t *db; };

extern const struct db_driver db_sqlite, db_pgsql;

/* Reports a failed statement: remembers it on the connection and fills err. Returns code. */
int db_fail(db_t *db, enum db_trouble trouble, int code, osmo_error_t *err, const char *text);
void db_forget_failure(db_t *db);

/* migrate.c: bring the schema up to what this program knows. OSMO_ECONFLICT when the database is newer. */
int store_migrate(db_t *db, const char *shown_url, osmo_error_t *err);
int store_migrate_to(db_t *db, const char *shown_url, int version, osmo_error_t *err); /* no further than this one: for tests */
#endif
