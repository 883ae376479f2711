/* The only door to libpq, which is opened on first use so that nobody without PostgreSQL needs it. Reached
 * through db_pgsql only. A connection belongs to one thread. Readers reconnect by themselves; a writer's
 * transaction is run again by writer.c.
 *
 * What a transaction writes without asking for an answer is sent together with the next statement that has one, at the
 * latest with COMMIT: libpq's pipeline mode. An error of such a statement is that one's, which is not executed then. */
#include "store/driver.h"
#include <dlfcn.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define LIBPQ "libpq.so.5"
#define SENT_MAX 128 /* their results must fit into what a socket holds while nobody reads it */
#define RECONNECT_PAUSE_US 200000 /* a dead server is not asked more often than this by one connection */

#define PQ_FUNCTIONS(X) \
    X(PQconnectdbParams) X(PQfinish) X(PQstatus) X(PQerrorMessage) X(PQhost) X(PQport) X(PQdb) \
    X(PQconninfoParse) X(PQconninfoFree) X(PQexec) X(PQprepare) X(PQexecPrepared) X(PQresultStatus) \
    X(PQresultErrorField) X(PQclear) X(PQntuples) X(PQgetvalue) X(PQgetisnull) X(PQcmdTuples) X(PQcmdStatus) \
    X(PQenterPipelineMode) X(PQexitPipelineMode) X(PQpipelineSync) X(PQsendQueryPrepared) X(PQsendQueryParams) \
    X(PQputCopyData) X(PQputCopyEnd) X(PQgetResult) X(PQunescapeBytea) X(PQfreemem) X(PQsslInUse) X(PQhostaddr) \
    X(PQsetNoticeProcessor) X(PQisthreadsafe)

static struct {
#define X(f) __typeof__(f) *f##_;
    PQ_FUNCTIONS(X)
#undef X
    bool ok;
} pq;
static pthread_once_t pq_once = PTHREAD_ONCE_INIT;

static void load_libpq(void) {
    void *lib = dlopen(LIBPQ, RTLD_NOW | RTLD_LOCAL); /* stays open: its TLS library registers exit handlers */
    if (!lib)
        return;
    pq.ok = true;
#define X(f) { void *sym = dlsym(lib, #f); memcpy(&pq.f##_, &sym, sizeof(sym)); pq.ok = pq.ok && sym; }
    PQ_FUNCTIONS(X)
#undef X
}

struct pg_conn {
    struct db base;
    PGconn *conn;
    char *url;
    bool writer, in_tx;
    bool broken;          /* found dead, whatever libpq still says of it */
    unsigned next_name;
    int64_t retry_at_us;  /* monotonic: no new attempt to connect before */
    char xid[24];         /* of the running or last transaction, "" = not told yet; for pgsql_outcome() */
    bool piped;           /* in pipeline mode */
    unsigned sent;        /* statements whose results are to be fetched */
    unsigned xid_at;      /* which of them tells the xid; SENT_MAX = none */
};

struct pg_stmt { char name[16]; unsigned params; };

struct pg_rows {
    struct db_rows base;
    PGresult *res;
    int row, count;
    void *blob; /* decoded bytea of the current row */
};

static struct pg_conn *conn_of(db_t *db) { return (struct pg_conn *)db; }
static struct pg_rows *rows_of(db_rows_t *r) { return (struct pg_rows *)r; }

/* ---- errors ---- */

static void one_line(char *text) {
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (; *text; text++) {
        if (*text == '\n' || *text == '\t')
            *text = ' ';
    }
}

static bool is_loss(const char *state) {
    return strncmp(state, "08", 2) == 0 || strcmp(state, "57P01") == 0 || strcmp(state, "57P02") == 0 ||
        strcmp(state, "57P03") == 0;
}

/* Only the primary message: the details repeat values of the row. Takes res. */
static int result_error(struct pg_conn *c, PGresult *res, osmo_error_t *err) {
    const char *state = res ? pq.PQresultErrorField_(res, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = res ? pq.PQresultErrorField_(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    /* An error without a state comes from libpq itself. After a failed send it leaves the status as it was (15.x). */
    bool lost = pq.PQstatus_(c->conn) == CONNECTION_BAD || !state || is_loss(state);
    char text[512];
    snprintf(text, sizeof(text), "database server: %s", primary ? primary : pq.PQerrorMessage_(c->conn));
    one_line(text);
    enum db_trouble trouble = DB_FINE;
    int code = OSMO_EDATABASE;
    if (lost) {
        trouble = DB_LOST;
        code = OSMO_EUNAVAIL;
        c->broken = true;
    } else if (state && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0)) {
        trouble = DB_RETRY;
        code = OSMO_EUNAVAIL;
    } else if (state && strcmp(state, "22012") == 0) { /* see ONE_ROW */
        code = OSMO_ENOTFOUND;
        snprintf(text, sizeof(text), "a row that was to be changed does not exist");
    } else if (state && (strncmp(state, "53", 2) == 0 || strcmp(state, "57014") == 0 || strcmp(state, "55P03") == 0)) {
        code = OSMO_EUNAVAIL; /* out of resources, statement or lock timeout */
    }
    pq.PQclear_(res);
    return db_fail(&c->base, trouble, code, err, text);
}

/* ---- connection ---- */

static int leave_pipeline(struct pg_conn *c, osmo_error_t *err);

static void drop_statement(void *ctx, void *handle) {
    struct pg_conn *c = ctx;
    struct pg_stmt *s = handle;
    if (c->conn && !c->broken && pq.PQstatus_(c->conn) == CONNECTION_OK && leave_pipeline(c, NULL) >= 0) {
        char sql[40];
        snprintf(sql, sizeof(sql), "DEALLOCATE %s", s->name);
        pq.PQclear_(pq.PQexec_(c->conn, sql));
    }
    free(s);
}

static void disconnect(struct pg_conn *c) {
    PGconn *conn = STEAL(c->conn); /* statements die with the connection: nothing to deallocate */
    if (conn)
        pq.PQfinish_(conn);
    stmt_cache_clear(&c->base.cache);
    c->in_tx = c->broken = c->piped = false;
    c->sent = 0;
    c->xid_at = SENT_MAX;
}

static void quiet(void *arg, const char *message) {
    (void)arg;
    (void)message;
}

static int connect_error(struct pg_conn *c, osmo_error_t *err) {
    const char *message = pq.PQerrorMessage_(c->conn);
    bool denied = strstr(message, "authentication failed") || strstr(message, "no password supplied") ||
        strstr(message, "no pg_hba.conf entry");
    char text[400], where[200];
    snprintf(text, sizeof(text), "%s", message);
    one_line(text);
    const char *host = pq.PQhost_(c->conn), *port = pq.PQport_(c->conn), *name = pq.PQdb_(c->conn);
    snprintf(where, sizeof(where), "%s:%s/%s", host && *host ? host : "localhost", port && *port ? port
             : "5432", name ? name : "");
    osmo_error_set(err, denied ? OSMO_EDENIED : OSMO_EUNAVAIL, "cannot use database server %s: %s: check the "
                                                               "database URL and the server", where, text);
    return denied ? OSMO_EDENIED : OSMO_EUNAVAIL;
}

static int session_setup(struct pg_conn *c, osmo_error_t *err) {
    PGresult *res = pq.PQexec_(c->conn, c->writer
        ? "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '20s'; SET timezone = 'UTC'"
        : "SET statement_timeout = '60s'; SET default_transaction_read_only = on; SET timezone = 'UTC'; "
          "SET max_parallel_workers_per_gather = 0" /* many small questions at once, on threads of their own */);
    if (pq.PQresultStatus_(res) != PGRES_COMMAND_OK)
        return result_error(c, res, err);
    pq.PQclear_(res);
    return 0;
}

/* A socket of this machine has no address. */
static bool is_near(const char *address) {
    return !address || !*address || host_is_loopback(address, strlen(address));
}

/* Once a process: every connection is like the first. */
static void warn_of_plain_text(struct pg_conn *c) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (is_near(pq.PQhostaddr_(c->conn)) || pq.PQsslInUse_(c->conn) || atomic_flag_test_and_set(&told))
        return;
    log_warning(c->base.log, "what is asked of the database server %s travels unencrypted: add sslmode=verify-full&sslrootcert=FILE to the "
                "database URL", pq.PQhost_(c->conn));
}

static int connect_now(struct pg_conn *c, osmo_error_t *err) {
    /* ours first: what the URL says comes later and wins */
    const char *keys[] = { "connect_timeout", "application_name", "keepalives_idle", "keepalives_interval",
                           "keepalives_count",
                           "tcp_user_timeout", "client_encoding", "dbname", NULL };
    const char *values[] = { "10", "osmo-service", "15", "5", "3", "20000", "UTF8", c->url, NULL };
    disconnect(c);
    c->conn = pq.PQconnectdbParams_(keys, values, 1);
    if (!c->conn)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = pq.PQstatus_(c->conn) == CONNECTION_OK ? 0 : connect_error(c, err);
    if (rc == 0) {
        pq.PQsetNoticeProcessor_(c->conn, quiet, NULL);
        warn_of_plain_text(c);
        rc = session_setup(c, err);
    }
    if (rc < 0) {
        disconnect(c);
        c->retry_at_us = clock_mono_us() + RECONNECT_PAUSE_US;
    }
    return rc;
}

static bool is_alive(const struct pg_conn *c) {
    return c->conn && !c->broken && pq.PQstatus_(c->conn) == CONNECTION_OK;
}

static int pgsql_ping(db_t *db, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    if (is_alive(c))
        return 0;
    if (c->in_tx)
        return db_fail(db, DB_LOST, OSMO_EUNAVAIL, err, "database server: the connection was lost inside a "
                                                        "transaction");
    if (clock_mono_us() < c->retry_at_us)
        return db_fail(db, DB_LOST, OSMO_EUNAVAIL, err, "database server: the connection is lost and could not "
                                                        "be made again yet");
    int rc = connect_now(c, err);
    if (rc < 0) {
        db->failed = true;
        db->trouble = DB_LOST;
        return OSMO_EUNAVAIL;
    }
    log_info(db->log, "database server: connected again");
    return 0;
}

static void pgsql_shut(db_t *db) {
    struct pg_conn *c = conn_of(db);
    disconnect(c);
    free(c->url);
    free(c);
}

static int check_url(const char *url, osmo_error_t *err) {
    char *why = NULL; /* may quote the password: not shown */
    PQconninfoOption *o = pq.PQconninfoParse_(url, &why);
    pq.PQfreemem_(why);
    if (!o)
        return osmo_error_set(err, OSMO_EINVAL, "the database URL is malformed: write "
                                                "postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
    pq.PQconninfoFree_(o);
    return 0;
}

static int pgsql_connect(const struct db_target *t, bool writer, db_t **out, osmo_error_t *err) {
    pthread_once(&pq_once, load_libpq);
    if (!pq.ok || !pq.PQisthreadsafe_())
        return osmo_error_set(err, OSMO_EUNAVAIL, "the PostgreSQL client library %s cannot be loaded: install "
                                                  "the package libpq5", LIBPQ);
    int rc = check_url(t->url, err);
    if (rc < 0)
        return rc;
    struct pg_conn *c = calloc(1, sizeof(*c));
    if (!c || !(c->url = str_dup(t->url))) {
        free(c);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    c->base.drv = &db_pgsql;
    c->base.log = t->log;
    c->writer = writer;
    stmt_cache_init(&c->base.cache, drop_statement, c);
    rc = connect_now(c, err);
    if (rc < 0) {
        pgsql_shut(&c->base);
        return rc;
    }
    *out = &c->base;
    return 0;
}

/* ---- pipeline ---- */

static bool is_good(const PGresult *res) {
    ExecStatusType status = pq.PQresultStatus_(res);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static int fetch_one(struct pg_conn *c, bool xid, PGresult **out, osmo_error_t *err) {
    PGresult *res = pq.PQgetResult_(c->conn);
    if (!is_good(res))
        return result_error(c, res, err);
    if (xid && pq.PQntuples_(res) == 1)
        snprintf(c->xid, sizeof(c->xid), "%s", pq.PQgetvalue_(res, 0, 0));
    if (out)
        *out = res;
    else
        pq.PQclear_(res);
    return 0;
}

/* The results of all that was sent; that of the last one in *last, if it is wanted. Those behind a failed one were not
 * executed. */
static int fetch_results(struct pg_conn *c, PGresult **last, osmo_error_t *err) {
    unsigned n = c->sent, xid_at = c->xid_at;
    int rc = 0;
    c->sent = 0;
    c->xid_at = SENT_MAX;
    if (n && pq.PQpipelineSync_(c->conn) != 1)
        return result_error(c, NULL, err);
    for (unsigned i = 0; i < n && !c->broken; i++) {
        if (rc == 0)
            rc = fetch_one(c, i == xid_at, i + 1 == n ? last : NULL, err);
        else
            pq.PQclear_(pq.PQgetResult_(c->conn));
        while (!c->broken) { /* each ends with a NULL */
            PGresult *end = pq.PQgetResult_(c->conn);
            if (!end)
                break;
            pq.PQclear_(end);
        }
    }
    if (n && !c->broken)
        pq.PQclear_(pq.PQgetResult_(c->conn)); /* of the synchronisation */
    return rc;
}

static int leave_pipeline(struct pg_conn *c, osmo_error_t *err) {
    if (!c->piped)
        return 0;
    int rc = fetch_results(c, NULL, err);
    if (c->broken)
        return rc;
    c->piped = false;
    return pq.PQexitPipelineMode_(c->conn) == 1 || rc < 0 ? rc : result_error(c, NULL, err);
}

/* Makes room for one more statement. */
static int join_pipeline(struct pg_conn *c, osmo_error_t *err) {
    if (!c->piped && pq.PQenterPipelineMode_(c->conn) != 1)
        return result_error(c, NULL, err);
    c->piped = true;
    return c->sent < SENT_MAX ? 0 : fetch_results(c, NULL, err);
}

/* ---- statements ---- */

/* `?` outside of quotes becomes $1, $2, … */
static char *number_params(const char *sql, unsigned *params) {
    unsigned n = 0;
    size_t len = strlen(sql), at = 0;
    for (const char *p = sql; *p; p++)
        n += *p == '?';
    char *out = malloc(len + (size_t)n * 6 + 1);
    bool quoted = false;
    *params = 0;
    for (const char *p = sql; out && *p; p++) {
        if (*p == '\'')
            quoted = !quoted;
        if (*p == '?' && !quoted)
            at += (size_t)snprintf(out + at, len + (size_t)n * 6 + 1 - at, "$%u", ++*params);
        else
            out[at++] = *p;
    }
    if (out)
        out[at] = '\0';
    return out;
}

static int prepare_new(struct pg_conn *c, const char *sql, struct pg_stmt **out, osmo_error_t *err) {
    int rc = leave_pipeline(c, err);
    if (rc < 0)
        return rc;
    struct pg_stmt *s = calloc(1, sizeof(*s));
    _cleanup_free_ char *text = s ? number_params(sql, &s->params) : NULL;
    if (!text) {
        free(s);
        return db_fail(&c->base, DB_FINE, OSMO_ENOMEM, err, "out of memory");
    }
    snprintf(s->name, sizeof(s->name), "s%u", ++c->next_name);
    PGresult *res = pq.PQprepare_(c->conn, s->name, text, 0, NULL);
    if (pq.PQresultStatus_(res) != PGRES_COMMAND_OK) {
        free(s);
        return result_error(c, res, err);
    }
    pq.PQclear_(res);
    if (!stmt_cache_add(&c->base.cache, sql, s)) { /* no memory: nothing is ever busy here */
        drop_statement(c, s);
        return db_fail(&c->base, DB_FINE, OSMO_ENOMEM, err, "out of memory");
    }
    *out = s;
    return 0;
}

/* Values as PQexecPrepared wants them: numbers as text, texts and blobs as they are. */
struct values { const char **value; int *length, *format; char (*number)[32]; };

static void values_free(struct values *v) {
    free(v->value);
    free(v->length);
    free(v->format);
    free(v->number);
}

static int values_make(struct values *v, const struct db_arg *args, size_t n) {
    size_t room = n ? n : 1;
    v->value = calloc(room, sizeof(*v->value));
    v->length = calloc(room, sizeof(*v->length));
    v->format = calloc(room, sizeof(*v->format));
    v->number = calloc(room, sizeof(*v->number));
    if (!v->value || !v->length || !v->format || !v->number)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct db_arg *a = &args[i];
        if (a->type == DB_INT)
            snprintf(v->number[i], sizeof(v->number[i]), "%lld", (long long)a->i);
        else if (a->type == DB_REAL)
            snprintf(v->number[i], sizeof(v->number[i]), "%.17g", a->d);
        if (a->type == DB_INT || a->type == DB_REAL)
            v->value[i] = v->number[i];
        else if (a->type != DB_NULL)
            v->value[i] = a->p ? a->p : "";
        v->length[i] = (int)a->len;
        v->format[i] = a->type == DB_BLOB || a->type == DB_TEXT; /* by length: text need not end with NUL */
    }
    return 0;
}

static int find_statement(struct pg_conn *c, const char *sql, size_t n_args, struct pg_stmt **out, osmo_error_t *err) {
    struct stmt *cached = stmt_cache_find(&c->base.cache, sql);
    *out = cached ? cached->handle : NULL;
    int rc = *out ? 0 : prepare_new(c, sql, out, err);
    return rc < 0 || (*out)->params == n_args ? rc : db_fail(&c->base, DB_FINE, OSMO_EINTERNAL, err,
                                                             "SQL statement called with the wrong number of arguments");
}

/* out NULL: in a transaction, the result is fetched later. */
static int run_once(struct pg_conn *c, const char *sql, const struct db_arg *args, size_t n, PGresult **out,
                    osmo_error_t *err) {
    struct pg_stmt *s;
    int rc = pgsql_ping(&c->base, err);
    if (rc >= 0)
        rc = find_statement(c, sql, n, &s, err);
    if (rc >= 0)
        rc = c->in_tx ? join_pipeline(c, err) : leave_pipeline(c, err);
    if (rc < 0)
        return rc;
    struct values v = { 0 };
    PGresult *res = NULL;
    rc = values_make(&v, args, n);
    if (rc < 0)
        rc = db_fail(&c->base, DB_FINE, rc, err, "out of memory");
    else if (!c->in_tx)
        res = pq.PQexecPrepared_(c->conn, s->name, (int)n, v.value, v.length, v.format, 0);
    else if (pq.PQsendQueryPrepared_(c->conn, s->name, (int)n, v.value, v.length, v.format, 0) != 1)
        rc = result_error(c, NULL, err);
    else
        c->sent++;
    values_free(&v);
    if (rc < 0)
        return rc;
    if (c->in_tx)
        return out ? fetch_results(c, out, err) : 0;
    if (!is_good(res))
        return result_error(c, res, err);
    if (out)
        *out = res;
    else
        pq.PQclear_(res);
    return 0;
}

/* A reader that finds its idle connection dead asks once more on a new one. */
static int run(db_t *db, const char *sql, const struct db_arg *args, size_t n, PGresult **out, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    int rc = run_once(c, sql, args, n, out, err);
    if (rc < 0 && !c->writer && db->trouble == DB_LOST && c->conn) {
        db_forget_failure(db);
        disconnect(c);
        rc = run_once(c, sql, args, n, out, err);
    }
    if (!c->writer)
        db_forget_failure(db);
    return rc;
}

static int pgsql_exec(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t *changed,
                      osmo_error_t *err) {
    PGresult *res = NULL;
    int rc = run(db, sql, args, n, changed ? &res : NULL, err);
    if (rc < 0 || !changed)
        return rc;
    *changed = strtoll(pq.PQcmdTuples_(res), NULL, 10);
    pq.PQclear_(res);
    return 0;
}

/* ---- many rows ---- */

#define COPY_FROM_ROWS 8        /* fewer are sent as statements, which need no change of protocol */
#define COPY_PIECE (256u << 10)

/* A value in the text form of COPY. */
static void copy_value(buf_t *b, const struct db_arg *a) {
    const char *p = a->p;
    switch (a->type) {
    case DB_NULL: buf_puts(b, "\\N"); return;
    case DB_INT: buf_printf(b, "%lld", (long long)a->i); return;
    case DB_REAL: buf_printf(b, "%.17g", a->d); return;
    case DB_BLOB:
        buf_puts(b, "\\\\x");
        for (size_t i = 0; i < a->len; i++)
            buf_printf(b, "%02x", (unsigned char)p[i]);
        return;
    case DB_TEXT: break;
    }
    size_t from = 0;
    for (size_t i = 0; i < a->len; i++) {
        char c = p[i];
        if (c != '\\' && c != '\n' && c != '\r' && c != '\t')
            continue;
        buf_append(b, p + from, i - from);
        from = i + 1;
        buf_putc(b, '\\');
        buf_putc(b, c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\\');
    }
    buf_append(b, p + from, a->len - from);
}

static int copy_rows(struct pg_conn *c, size_t width, const struct db_arg *args, size_t n_rows, osmo_error_t *err) {
    _cleanup_buf_ buf_t b = BUF_INIT(SIZE_MAX / 2); /* a piece and one row, whose values the caller bounds */
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < width; i++) {
            if (i)
                buf_putc(&b, '\t');
            copy_value(&b, &args[r * width + i]);
        }
        buf_putc(&b, '\n');
        if (b.len < COPY_PIECE && r + 1 < n_rows)
            continue;
        if (buf_failed(&b))
            return db_fail(&c->base, DB_FINE, OSMO_ENOMEM, err, "out of memory");
        if (pq.PQputCopyData_(c->conn, b.data, (int)b.len) != 1)
            return result_error(c, NULL, err);
        buf_reset(&b);
    }
    return 0;
}

/* Leaves the COPY in any case; the error of the server counts more than ours. */
static int copy_end(struct pg_conn *c, int rc, osmo_error_t *err) {
    if (pq.PQputCopyEnd_(c->conn, rc < 0 ? "given up" : NULL) != 1)
        return rc < 0 ? rc : result_error(c, NULL, err);
    PGresult *res;
    while ((res = pq.PQgetResult_(c->conn))) {
        if (rc == 0 && pq.PQresultStatus_(res) != PGRES_COMMAND_OK)
            rc = result_error(c, res, err);
        else
            pq.PQclear_(res);
    }
    return rc;
}

static int insert_single(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows,
                         osmo_error_t *err) {
    _cleanup_buf_ buf_t sql = BUF_INIT(1u << 16);
    buf_printf(&sql, "INSERT INTO %s (%s) VALUES (", into->table, into->columns);
    for (size_t i = 0; i < into->width; i++)
        buf_puts(&sql, i ? ", ?" : "?");
    buf_putc(&sql, ')');
    int rc = buf_failed(&sql) ? db_fail(db, DB_FINE, OSMO_ENOMEM, err, "out of memory") : 0;
    for (size_t i = 0; rc == 0 && i < n_rows; i++)
        rc = pgsql_exec(db, buf_cstr(&sql), args + i * into->width, into->width, NULL, err);
    return rc;
}

static int pgsql_insert(db_t *db, const struct db_insert *into, const struct db_arg *args, size_t n_rows,
                        osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    if (n_rows < COPY_FROM_ROWS)
        return insert_single(db, into, args, n_rows, err);
    _cleanup_free_ char *sql = str_printf("COPY %s (%s) FROM STDIN", into->table, into->columns);
    if (!sql)
        return db_fail(db, DB_FINE, OSMO_ENOMEM, err, "out of memory");
    int rc = pgsql_ping(db, err);
    if (rc >= 0)
        rc = leave_pipeline(c, err);
    if (rc < 0)
        return rc;
    PGresult *res = pq.PQexec_(c->conn, sql);
    if (pq.PQresultStatus_(res) != PGRES_COPY_IN)
        return result_error(c, res, err);
    pq.PQclear_(res);
    return copy_end(c, copy_rows(c, into->width, args, n_rows, err), err);
}

static int pgsql_query(db_t *db, const char *sql, const struct db_arg *args, size_t n, db_rows_t **out,
                       osmo_error_t *err) {
    struct pg_rows *r = calloc(1, sizeof(*r));
    if (!r)
        return db_fail(db, DB_FINE, OSMO_ENOMEM, err, "out of memory");
    int rc = run(db, sql, args, n, &r->res, err);
    if (rc < 0) {
        free(r);
        return rc;
    }
    r->base.db = db;
    r->row = -1;
    r->count = pq.PQntuples_(r->res);
    *out = &r->base;
    return 0;
}

static int pgsql_next(db_rows_t *rows, osmo_error_t *err) {
    struct pg_rows *r = rows_of(rows);
    (void)err;
    pq.PQfreemem_(r->blob);
    r->blob = NULL;
    if (r->row + 1 >= r->count)
        return 0;
    r->row++;
    return 1;
}

static void pgsql_rows_drop(db_rows_t *rows) {
    struct pg_rows *r = rows_of(rows);
    pq.PQfreemem_(r->blob);
    pq.PQclear_(r->res);
    free(r);
}

static const char *pgsql_text(db_rows_t *r, int col) { return pq.PQgetvalue_(rows_of(r)->res, rows_of(r)->row, col); }
static int64_t pgsql_int(db_rows_t *r, int col) { return strtoll(pgsql_text(r, col), NULL, 10); }
static double pgsql_real(db_rows_t *r, int col) { return strtod(pgsql_text(r, col), NULL); }
static bool pgsql_null(db_rows_t *r, int col) { return pq.PQgetisnull_(rows_of(r)->res, rows_of(r)->row, col); }

static const void *pgsql_blob(db_rows_t *rows, int col, size_t *len) {
    struct pg_rows *r = rows_of(rows);
    pq.PQfreemem_(r->blob);
    r->blob = pq.PQunescapeBytea_((const unsigned char *)pgsql_text(rows, col), len);
    if (!r->blob)
        *len = 0;
    return r->blob ? r->blob : "";
}

/* ---- transactions ---- */

static int command(db_t *db, const char *sql, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    int rc = leave_pipeline(c, err);
    if (rc < 0)
        return rc;
    PGresult *res = pq.PQexec_(c->conn, sql);
    if (!is_good(res))
        return result_error(c, res, err);
    pq.PQclear_(res);
    return 0;
}

/* Without waiting for the answer. */
static int send_command(struct pg_conn *c, const char *sql, osmo_error_t *err) {
    int rc = pgsql_ping(&c->base, err);
    if (rc >= 0)
        rc = join_pipeline(c, err);
    if (rc < 0)
        return rc;
    if (pq.PQsendQueryParams_(c->conn, sql, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return result_error(c, NULL, err);
    c->sent++;
    return 0;
}

/* The transaction's id is fetched along with BEGIN: when COMMIT's answer is lost, it tells whether the commit
 * happened. */
static int pgsql_begin(db_t *db, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    c->xid[0] = '\0';
    int rc = send_command(c, "BEGIN", err);
    if (rc < 0)
        return rc;
    c->in_tx = true;
    rc = run_once(c, "SELECT txid_current()", NULL, 0, NULL, err);
    if (rc >= 0)
        c->xid_at = c->sent - 1;
    return rc;
}

/* What is still on its way cannot matter any more. */
static void pgsql_rollback(db_t *db) {
    struct pg_conn *c = conn_of(db);
    if (c->in_tx && is_alive(c)) {
        leave_pipeline(c, NULL);
        command(db, "ROLLBACK", NULL);
    }
    c->in_tx = false;
}

/* COMMIT of an aborted transaction succeeds and says ROLLBACK. Behind a statement that failed it is not executed. */
static int pgsql_commit(db_t *db, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    PGresult *res = NULL;
    int rc = c->xid[0] ? 0 : fetch_results(c, NULL, err);
    if (rc >= 0)
        rc = send_command(c, "COMMIT", err);
    if (rc >= 0)
        rc = fetch_results(c, &res, err);
    bool as_told = res && strcmp(pq.PQcmdStatus_(res), "COMMIT") == 0;
    pq.PQclear_(res);
    if (rc < 0)
        pgsql_rollback(db);
    c->in_tx = false;
    return rc < 0 || as_told ? rc : db_fail(db, DB_FINE, OSMO_EDATABASE, err,
                                            "database server: the transaction was rolled back");
}

static int pgsql_settle(db_t *db, osmo_error_t *err) { return fetch_results(conn_of(db), NULL, err); }
static int pgsql_savepoint(db_t *db, osmo_error_t *err) { return send_command(conn_of(db), "SAVEPOINT item", err); }
static int pgsql_release(db_t *db, osmo_error_t *err) { return send_command(conn_of(db), "RELEASE SAVEPOINT item", err); }
static int pgsql_undo(db_t *db, osmo_error_t *err) {
    struct pg_conn *c = conn_of(db);
    int rc = leave_pipeline(c, err); /* its errors are undone */
    return rc < 0 && c->broken ? rc : command(db, "ROLLBACK TO SAVEPOINT item; RELEASE SAVEPOINT item", err);
}

static int pgsql_outcome(db_t *db, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    if (!conn_of(db)->xid[0]) /* COMMIT was not even sent */
        return 0;
    int rc = db_query(db, "SELECT COALESCE(txid_status(CAST(? AS BIGINT)), 'unknown')",
                      DB_ARGS(DB_I(strtoll(conn_of(db)->xid, NULL, 10))), &rows, err);
    if (rc < 0)
        return rc;
    if ((rc = db_next(rows, err)) <= 0)
        return rc < 0 ? rc : osmo_error_set(err, OSMO_EUNAVAIL, "database server: the outcome of a commit is unknown");
    const char *status = db_text(rows, 0);
    if (strcmp(status, "committed") == 0)
        return 1;
    if (strcmp(status, "aborted") == 0)
        return 0;
    return osmo_error_set(err, OSMO_EUNAVAIL, "database server: the outcome of a commit is %s", status);
}

static int pgsql_script(db_t *db, const char *sql, osmo_error_t *err) { return command(db, sql, err); }

const struct db_driver db_pgsql = {
    .pgsql = true, .own = NULL, .open = pgsql_connect, .close = pgsql_shut,
    .exec = pgsql_exec, .insert = pgsql_insert, .query = pgsql_query, .next = pgsql_next, .rows_free = pgsql_rows_drop,
    .get_int = pgsql_int, .get_real = pgsql_real, .get_text = pgsql_text, .get_null = pgsql_null, .get_blob =
        pgsql_blob,
    .begin = pgsql_begin, .commit = pgsql_commit, .rollback = pgsql_rollback,
    .savepoint = pgsql_savepoint, .release = pgsql_release, .undo = pgsql_undo, .settle = pgsql_settle,
    .ping = pgsql_ping, .outcome = pgsql_outcome, .script = pgsql_script,
};
