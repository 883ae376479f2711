/* The only door to SQLite. One process owns a database file (a lock file beside it says which); its writer
 * thread has the one connection that writes, readers have connections that refuse to. Reached through
 * db_sqlite only. */
#include "store/driver.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "store/row_cache.h"

#define BUSY_TIMEOUT_MS 10000
#define ROW_CACHE_BYTES (24u << 20)

struct sqlite_conn {
    struct db base;
    sqlite3 *handle;
    char *path;
    int64_t data_version; /* counts the commits of others, of which there should be none */
};

struct sqlite_rows {
    struct db_rows base;
    sqlite3_stmt *stmt;
    struct stmt *cached; /* NULL: the statement is ours alone */
    bool done;
};

static struct sqlite_conn *conn_of(db_t *db) { return (struct sqlite_conn *)db; }
static struct sqlite_rows *rows_of(db_rows_t *r) { return (struct sqlite_rows *)r; }

static const char *target_path(const struct db_target *t) { return t->url + strlen("sqlite:"); }

/* ---- ownership ---- */

static int lock_refused(const char *path, int fd, osmo_error_t *err) {
    char pid[24] = "";
    ssize_t got = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[got > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return osmo_error_set(err, OSMO_EBUSY, "database %s is in use by another osmo-service (pid %s): stop it or "
                                           "choose another --data-dir",
                          path, pid[0] ? pid : "unknown");
}

static int file_error(const char *what, const char *path, int e, osmo_error_t *err) {
    int code = e == EACCES || e == EPERM || e == EROFS ? OSMO_EDENIED : OSMO_EIO;
    return osmo_error_set(err, code, "%s %s: %s: %s", what, path, strerror(e),
                          e == ENOENT ? "create its directory first" : "check the directory and its permissions");
}

static int sqlite_own(const struct db_target *t, int *lock_fd, osmo_error_t *err) {
    const char *path = target_path(t);
    _cleanup_free_ char *lock_path = str_printf("%s.lock", path);
    if (!lock_path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error("cannot lock database", path, errno, err);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? lock_refused(path, fd, err) : file_error("cannot lock database", path,
            errno, err);
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len)
        return file_error("cannot lock database", path, errno, err);
    *lock_fd = STEAL_FD(fd);
    return 0;
}

/* ---- errors ---- */

static int sqlite_error(db_t *db, int rc, osmo_error_t *err) {
    struct sqlite_conn *c = conn_of(db);
    char text[512];
    snprintf(text, sizeof(text), "database %s: %s", c->path, c->handle ? sqlite3_errmsg(c->handle)
             : sqlite3_errstr(rc));
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return db_fail(db, DB_FINE, OSMO_ENOMEM, err, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return db_fail(db, DB_RETRY, OSMO_EUNAVAIL, err, text);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return db_fail(db, DB_FINE, OSMO_EUNAVAIL, err, text);
    default:
        return db_fail(db, DB_FINE, OSMO_EDATABASE, err, text);
    }
}

static int open_error(struct sqlite_conn *c, int rc, osmo_error_t *err) {
    const char *text = c->handle ? sqlite3_errmsg(c->handle) : sqlite3_errstr(rc);
    if ((rc & 0xff) == SQLITE_NOTADB)
        return osmo_error_set(err, OSMO_EIO, "%s is not an SQLite database: choose another --data-dir or "
                                             "restore it from a backup", c->path);
    return osmo_error_set(err, OSMO_EIO, "cannot open database %s: %s: check the file, its directory and the "
                                         "free space", c->path, text);
}

/* ---- connection ---- */

static void drop_statement(void *ctx, void *handle) {
    (void)ctx;
    sqlite3_finalize(handle);
}

static void sqlite_shut(db_t *db) {
    struct sqlite_conn *c = conn_of(db);
    stmt_cache_clear(&db->cache);
    row_cache_free(db->rows);
    sqlite3_close(c->handle);
    free(c->path);
    free(c);
}

/* The file holds secrets: it is made here, for its owner only; SQLite gives its neighbours (-wal, -shm) the
 * same mode. */
static int make_private(const char *path, osmo_error_t *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_error("cannot open database", path, errno, err);
    close(fd); /* before SQLite opens it: closing later would drop SQLite's locks */
    return 0;
}

/* busy_timeout comes first: switching to WAL may itself have to wait. */
static const char *const open_pragmas[] = {
    "PRAGMA busy_timeout=10000", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY", "PRAGMA trusted_schema=OFF", "PRAGMA journal_size_limit=67108864",
};
/* Pages that are changed again before they are carried over into the database file are carried over once: 32 MiB. */
static const char writer_pragmas[] = "PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=8192";
static const char reader_pragmas[] = "PRAGMA cache_size=-4096; PRAGMA query_only=ON";

static int configure(struct sqlite_conn *c, bool writer, osmo_error_t *err) {
    sqlite3_busy_timeout(c->handle, BUSY_TIMEOUT_MS);
    for (size_t i = 0; i < ARRAY_SIZE(open_pragmas); i++) {
        int rc = sqlite3_exec(c->handle, open_pragmas[i], NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            return open_error(c, rc, err);
    }
    if (sqlite3_exec(c->handle, writer ? writer_pragmas : reader_pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return open_error(c, SQLITE_ERROR, err);
    return 0;
}

/* Counting its memory makes every allocation of SQLite take a lock of the whole process. */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static void library_setup(void) { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

/* Called for every row but those of a DELETE without WHERE, which nobody writes for the tables in question. */
static void row_changed(void *ctx, int op, const char *database, const char *table, sqlite3_int64 rowid) {
    (void)op;
    (void)database;
    row_cache_changed(ctx, table, rowid);
}

/* Without it the writer reads every row again: no reason to fail. */
static void remember_rows(struct sqlite_conn *c) {
    c->base.rows = row_cache_new(ROW_CACHE_BYTES);
    if (c->base.rows)
        sqlite3_update_hook(c->handle, row_changed, c->base.rows);
}

static int sqlite_connect(const struct db_target *t, bool writer, db_t **out, osmo_error_t *err) {
    const char *path = target_path(t);
    if (!*path || *path == ':')
        return osmo_error_set(err, OSMO_EINVAL, "database URL %s names no file: write sqlite:PATH", t->url);
    if (!sqlite3_threadsafe())
        return osmo_error_set(err, OSMO_EUNAVAIL, "the SQLite library was built without thread support: install "
                                                  "another one");
    pthread_once(&library_once, library_setup);
    int rc = writer ? make_private(path, err) : 0;
    if (rc < 0)
        return rc;
    struct sqlite_conn *c = calloc(1, sizeof(*c));
    if (!c || !(c->path = str_dup(path))) {
        free(c);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    c->base.drv = &db_sqlite;
    c->base.log = t->log;
    stmt_cache_init(&c->base.cache, drop_statement, c);
    rc = sqlite3_open_v2(path, &c->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    rc = rc == SQLITE_OK ? configure(c, writer, err) : open_error(c, rc, err);
    if (rc < 0) {
        sqlite_shut(&c->base);
        return rc;
    }
    if (writer)
        remember_rows(c);
    *out = &c->base;
    return 0;
}

/* ---- statements ---- */

/* Finds or prepares. *cached is NULL when the caller must finalize the statement itself. */
static int prepare(db_t *db, const char *sql, sqlite3_stmt **stmt, struct stmt **cached, osmo_error_t *err) {
    *cached = stmt_cache_find(&db->cache, sql);
    if (*cached && !(*cached)->busy) {
        *stmt = (*cached)->handle;
        return 0;
    }
    bool add = !*cached;
    *cached = NULL;
    int rc = sqlite3_prepare_v3(conn_of(db)->handle, sql, -1, add ? SQLITE_PREPARE_PERSISTENT : 0, stmt, NULL);
    if (rc != SQLITE_OK)
        return sqlite_error(db, rc, err);
    if (!*stmt)
        return db_fail(db, DB_FINE, OSMO_EINTERNAL, err, "empty SQL statement");
    if (add)
        *cached = stmt_cache_add(&db->cache, sql, *stmt);
    return 0;
}

static void finish(sqlite3_stmt *stmt, struct stmt *cached) {
    if (!cached) {
        sqlite3_finalize(stmt);
        return;
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    cached->busy = 0;
}

static int bind_all(db_t *db, sqlite3_stmt *stmt, const struct db_arg *args, size_t n,
                    sqlite3_destructor_type life, osmo_error_t *err) {
    if ((size_t)sqlite3_bind_parameter_count(stmt) != n)
        return db_fail(db, DB_FINE, OSMO_EINTERNAL, err, "SQL statement called with the wrong number of arguments");
    for (size_t i = 0; i < n; i++) {
        const struct db_arg *a = &args[i];
        int k = (int)i + 1, rc = SQLITE_OK;
        switch (a->type) {
        case DB_NULL: rc = sqlite3_bind_null(stmt, k); break;
        case DB_INT: rc = sqlite3_bind_int64(stmt, k, a->i); break;
        case DB_REAL: rc = sqlite3_bind_double(stmt, k, a->d); break;
        case DB_TEXT: rc = sqlite3_bind_text64(stmt, k, a->p, a->len, life, SQLITE_UTF8); break;
        case DB_BLOB: /* a NULL pointer would bind NULL: an empty blob is something else */
            rc = a->len ? sqlite3_bind_blob64(stmt, k, a->p, a->len, life) : sqlite3_bind_zeroblob(stmt, k, 0);
            break;
        }
        if (rc != SQLITE_OK)
            return sqlite_error(db, rc, err);
    }
    return 0;
}

static int sqlite_run(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t *changed,
                      osmo_error_t *err) {
    sqlite3_stmt *stmt = NULL;
    struct stmt *cached = NULL;
    int rc = prepare(db, sql, &stmt, &cached, err);
    if (rc < 0)
        return rc;
    rc = bind_all(db, stmt, args, n, SQLITE_STATIC, err);
    if (rc == 0) {
        int step;
        while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
            ;
        if (step != SQLITE_DONE)
            rc = sqlite_error(db, step, err);
        else if (changed)
            *changed = sqlite3_changes64(conn_of(db)->handle);
    }
    finish(stmt, cached);
    return rc;
}

/* Row by row with one prepared statement: several rows in one statement cost a copy of every page they touch, kept for
 * the case that a later row fails. */
static int sqlite_insert(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows,
                         osmo_error_t *err) {
    sqlite3_stmt *stmt = NULL;
    struct stmt *cached = NULL;
    _cleanup_buf_ buf_t sql = BUF_INIT(1u << 16);
    const char *const parts[] = { "INSERT INTO ", into->table, " (", into->columns, ") VALUES (" };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        buf_puts(&sql, parts[i]);
    for (size_t i = 0; i < into->width; i++)
        buf_puts(&sql, i ? ", ?" : "?");
    buf_putc(&sql, ')');
    int rc = buf_failed(&sql) ? db_fail(db, DB_FINE, OSMO_ENOMEM, err, "out of memory")
                              : prepare(db, buf_cstr(&sql), &stmt, &cached, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < n_rows; i++) {
        rc = bind_all(db, stmt, args + i * into->width, into->width, SQLITE_STATIC, err);
        int step = rc == 0 ? sqlite3_step(stmt) : SQLITE_DONE;
        if (step != SQLITE_DONE)
            rc = sqlite_error(db, step, err);
        sqlite3_reset(stmt);
    }
    finish(stmt, cached);
    return rc;
}

static int sqlite_select(db_t *db, const char *sql, const struct db_arg *args, size_t n, db_rows_t **out,
                         osmo_error_t *err) {
    struct sqlite_rows *r = calloc(1, sizeof(*r));
    if (!r)
        return db_fail(db, DB_FINE, OSMO_ENOMEM, err, "out of memory");
    r->base.db = db;
    int rc = prepare(db, sql, &r->stmt, &r->cached, err);
    if (rc < 0) {
        free(r);
        return rc;
    }
    rc = bind_all(db, r->stmt, args, n, SQLITE_TRANSIENT, err);
    if (rc < 0) {
        finish(r->stmt, r->cached);
        free(r);
        return rc;
    }
    if (r->cached)
        r->cached->busy = 1;
    *out = &r->base;
    return 0;
}

static int sqlite_step(db_rows_t *rows, osmo_error_t *err) {
    struct sqlite_rows *r = rows_of(rows);
    if (r->done) /* stepping on would start the statement again */
        return 0;
    int step = sqlite3_step(r->stmt);
    if (step == SQLITE_ROW)
        return 1;
    r->done = true;
    return step == SQLITE_DONE ? 0 : sqlite_error(rows->db, step, err);
}

static void sqlite_rows_drop(db_rows_t *rows) {
    finish(rows_of(rows)->stmt, rows_of(rows)->cached);
    free(rows);
}

static int64_t sqlite_int(db_rows_t *r, int col) { return sqlite3_column_int64(rows_of(r)->stmt, col); }
static double sqlite_real(db_rows_t *r, int col) { return sqlite3_column_double(rows_of(r)->stmt, col); }
static bool sqlite_null(db_rows_t *r, int col) { return sqlite3_column_type(rows_of(r)->stmt, col) == SQLITE_NULL; }

static const char *sqlite_text(db_rows_t *r, int col) {
    const unsigned char *text = sqlite3_column_text(rows_of(r)->stmt, col);
    return text ? (const char *)text : "";
}

static const void *sqlite_blob(db_rows_t *r, int col, size_t *len) {
    const void *data = sqlite3_column_blob(rows_of(r)->stmt, col);
    *len = (size_t)sqlite3_column_bytes(rows_of(r)->stmt, col);
    return data ? data : "";
}

/* ---- transactions ---- */

static void forget_rows(db_t *db) {
    if (db->rows)
        row_cache_reset(db->rows);
}

/* Another program should not write to the file, but may: an administrator's shell. */
static int forget_foreign(db_t *db, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = sqlite_select(db, "PRAGMA data_version", NULL, 0, &rows, err);
    if (rc < 0 || (rc = sqlite_step(rows, err)) < 0)
        return rc;
    int64_t version = sqlite_int(rows, 0);
    if (version != conn_of(db)->data_version)
        forget_rows(db);
    conn_of(db)->data_version = version;
    return 0;
}

static int sqlite_begin(db_t *db, osmo_error_t *err) {
    int rc = sqlite_run(db, "BEGIN IMMEDIATE", NULL, 0, NULL, err);
    return rc < 0 ? rc : forget_foreign(db, err);
}
static int sqlite_commit(db_t *db, osmo_error_t *err) { return sqlite_run(db, "COMMIT", NULL, 0, NULL, err); }
static int sqlite_savepoint(db_t *db, osmo_error_t *err) { return sqlite_run(db, "SAVEPOINT item", NULL, 0,
    NULL, err); }
static int sqlite_release(db_t *db, osmo_error_t *err) { return sqlite_run(db, "RELEASE item", NULL, 0, NULL, err); }

static int sqlite_undo(db_t *db, osmo_error_t *err) {
    int rc = sqlite_run(db, "ROLLBACK TO item", NULL, 0, NULL, err);
    forget_rows(db);
    return rc < 0 ? rc : sqlite_release(db, err);
}

static int64_t sqlite_changes(db_t *db) { return sqlite3_total_changes64(conn_of(db)->handle); }

static void sqlite_rollback(db_t *db) {
    forget_rows(db);
    if (!sqlite3_get_autocommit(conn_of(db)->handle)) /* a full disk may have rolled back already */
        sqlite_run(db, "ROLLBACK", NULL, 0, NULL, NULL);
}

static int sqlite_ping(db_t *db, osmo_error_t *err) {
    (void)db;
    (void)err;
    return 0;
}

static int sqlite_outcome(db_t *db, osmo_error_t *err) { /* a failed COMMIT of an embedded database is a rollback */
    (void)db;
    (void)err;
    return 0;
}

static int sqlite_script(db_t *db, const char *sql, osmo_error_t *err) {
    int rc = sqlite3_exec(conn_of(db)->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_error(db, rc, err);
}

const struct db_driver db_sqlite = {
    .pgsql = false, .own = sqlite_own, .open = sqlite_connect, .close = sqlite_shut,
    .exec = sqlite_run, .insert = sqlite_insert, .query = sqlite_select, .next = sqlite_step, .rows_free = sqlite_rows_drop,
    .get_int = sqlite_int, .get_real = sqlite_real, .get_text = sqlite_text, .get_null = sqlite_null,
        .get_blob = sqlite_blob,
    .begin = sqlite_begin, .commit = sqlite_commit, .rollback = sqlite_rollback,
    .savepoint = sqlite_savepoint, .release = sqlite_release, .undo = sqlite_undo,
        .changes = sqlite_changes,
    .ping = sqlite_ping, .outcome = sqlite_outcome, .script = sqlite_script,
};
