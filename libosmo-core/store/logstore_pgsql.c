/* Chunks in PostgreSQL: opening, and appends that wait for one another. Many tasks of a workflow write at once, and each
 * commit takes as long as a disk needs, so the first thread that finds nobody writing to a log takes what has queued up
 * for it into one transaction; the others wait, and one of them writes the next. The transaction runs on writers of our
 * own: those of the store may be busy with submissions. */
#include "store/logstore_pgsql.h"
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

#define LOG_WRITERS 4
#define BATCH_REQUESTS_MAX 256
#define BATCH_TEXT_MAX (1u << 20)

/* A log that somebody is appending to. Under the log store's mutex. */
struct appending {
    struct log_request *first, **last;
    size_t users;         /* threads in append() */
    bool busy;            /* one of them is writing */
    pthread_cond_t turn;  /* requests are done, and nobody writes */
};

static void appending_free(void *p) {
    struct appending *a = p;
    pthread_cond_destroy(&a->turn);
    free(a);
}

/* ---- the queue of one log; all with the mutex held ---- */

static struct appending *enter(struct log_pgsql *s, const char *id) {
    struct appending *a = map_get(s->logs, id);
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (!a)
            return NULL;
        pthread_cond_init(&a->turn, NULL);
        a->last = &a->first;
        if (map_set(s->logs, id, a) < 0)
            return NULL; /* the map has freed it */
    }
    a->users++;
    return a;
}

static void leave(struct log_pgsql *s, const char *id, struct appending *a) {
    if (--a->users == 0)
        map_remove(s->logs, id);
}

static size_t text_bytes(const struct log_request *q) {
    size_t bytes = 0;
    for (size_t i = 0; i < q->n; i++)
        bytes += q->e[i].len;
    return bytes;
}

/* In the order of arrival, until enough; at least one. */
static struct log_request *take_batch(struct appending *a) {
    struct log_request *list = a->first, **end = &list;
    size_t bytes = 0, n = 0;
    while (*end && n < BATCH_REQUESTS_MAX) {
        bytes += text_bytes(*end);
        if (n++ && bytes > BATCH_TEXT_MAX)
            break;
        end = &(*end)->next;
    }
    a->first = *end;
    if (!a->first)
        a->last = &a->first;
    *end = NULL;
    return list;
}

static void write_some(struct log_pgsql *s, const char *id, struct appending *a) {
    struct log_request *list = take_batch(a);
    a->busy = true;
    pthread_mutex_unlock(&s->mutex);
    bool due = log_pgsql_write(s, id, list);
    pthread_mutex_lock(&s->mutex);
    a->busy = false;
    for (struct log_request *q = list, *next; q; q = next) {
        next = q->next; /* once it is done its thread may be gone */
        q->done = true;
    }
    pthread_cond_broadcast(&a->turn);
    if (due) { /* meanwhile another one writes */
        pthread_mutex_unlock(&s->mutex);
        log_pgsql_mark(s, id);
        pthread_mutex_lock(&s->mutex);
    }
}

static int pgsql_append(logstore_t *base, const char *workflow_id, const char *task, int64_t retry_id,
                        const struct log_entry *e, size_t n, bool *grew, osmo_error_t *err) {
    struct log_pgsql *s = log_pgsql_of(base);
    struct log_request q = { .task = task, .retry = retry_id, .e = e, .n = n, .err = OSMO_ERROR_INIT };
    if (!utf8_valid(task, strlen(task)))
        return osmo_error_set(err, OSMO_EINVAL, "a log entry needs a task name in UTF-8");
    pthread_mutex_lock(&s->mutex);
    struct appending *a = enter(s, workflow_id);
    if (!a) {
        pthread_mutex_unlock(&s->mutex);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *a->last = &q;
    a->last = &q.next;
    while (!q.done) {
        if (a->busy)
            pthread_cond_wait(&a->turn, &s->mutex);
        else
            write_some(s, workflow_id, a);
    }
    leave(s, workflow_id, a);
    pthread_mutex_unlock(&s->mutex);
    *grew = q.grew;
    if (q.rc < 0 && err)
        *err = q.err;
    return q.rc;
}

/* ---- the rest of the driver ---- */

static int pgsql_last_seq(logstore_t *base, const char *workflow_id, const char *task, int64_t retry_id, uint64_t *seq,
                          osmo_error_t *err) {
    static const char sql[] = "SELECT a.seq FROM log_state s JOIN log_attempts a ON a.log_id = s.log_id"
                              " WHERE s.workflow_id = ? AND a.task = ? AND a.retry_id = ?";
    _cleanup_rows_ db_rows_t *rows = NULL;
    db_t *db;
    int rc = store_reader(log_pgsql_of(base)->store, &db, err);
    if (rc >= 0)
        rc = db_query(db, sql, DB_ARGS(DB_T(workflow_id), DB_T(task), DB_I(retry_id)), &rows, err);
    if (rc >= 0 && (rc = db_next(rows, err)) == 1)
        *seq = (uint64_t)db_int(rows, 0);
    return rc < 0 ? rc : 0;
}

static int pgsql_has_ended(logstore_t *base, const char *workflow_id, bool *ended, osmo_error_t *err) {
    static const char sql[] = "SELECT ended FROM log_state WHERE workflow_id = ?";
    _cleanup_rows_ db_rows_t *rows = NULL;
    db_t *db;
    int rc = store_reader(log_pgsql_of(base)->store, &db, err);
    if (rc >= 0)
        rc = db_query(db, sql, DB_ARGS(DB_T(workflow_id)), &rows, err);
    if (rc >= 0 && (rc = db_next(rows, err)) == 1)
        *ended = db_int(rows, 0) != 0;
    return rc < 0 ? rc : 0;
}

static void pgsql_close(logstore_t *base) {
    struct log_pgsql *s = log_pgsql_of(base);
    writers_stop(s->writers);
    map_free(s->logs);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static const struct logstore_driver pgsql_driver = {
    .close = pgsql_close, .append = pgsql_append, .last_seq = pgsql_last_seq, .end = log_pgsql_end,
    .has_ended = pgsql_has_ended, .remove = log_pgsql_remove, .read = log_pgsql_read,
};

int logstore_open_pgsql(store_t *store, log_notify_fn notify, void *notify_ctx, logstore_t **out, osmo_error_t *err) {
    *out = NULL;
    if (!store_is_pgsql(store))
        return osmo_error_set(err, OSMO_EINVAL, "logs in the database need PostgreSQL");
    struct log_pgsql *s = calloc(1, sizeof(*s));
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->base = (struct logstore){ .drv = &pgsql_driver, .notify = notify, .notify_ctx = notify_ctx };
    s->store = store;
    pthread_mutex_init(&s->mutex, NULL);
    s->logs = map_new(appending_free);
    int rc = s->logs ? store_more_writers(store, LOG_WRITERS, &s->writers, err)
                     : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0) {
        pgsql_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return 0;
}
