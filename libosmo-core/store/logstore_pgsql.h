/* Logs as chunks in a PostgreSQL database that several services share. Used by logstore_pgsql*.c only.
 *
 * log_state     one row a log: its number, how much there is, whether it has ended. Its lock decides between services.
 * log_chunks    the text of some entries, and a fixed record for each; a chunk once stored changes only by being merged
 *               with its neighbours when the log has ended, so what is at an entry's number stays the same
 * log_attempts  the last sequence of each attempt, and the numbers of the tasks that records refer to
 * log_marks     how many lines of each attempt and kind are before every LOG_MARK_ENTRIES-th entry */
#ifndef STORE_LOGSTORE_PGSQL_H
#define STORE_LOGSTORE_PGSQL_H
#include <pthread.h>
#include "base/map.h"
#include "store/logstore_int.h"
#include "store/writer.h"

/* Of text, unless one entry alone is longer. A slice of a chunk costs the server all of the chunk that is before it. */
#define LOG_CHUNK_BYTES_MAX (256u << 10)
#define LOG_CHUNK_ENTRIES_MAX 16384
#define LOG_PACKED_SIZE_SQL "24"
#define LOG_MARK_ENTRIES 16384

struct log_pgsql {
    struct logstore base;
    store_t *store;
    writers_t *writers;
    pthread_mutex_t mutex;
    map_t *logs;       /* id → struct appending: the logs that somebody is appending to */
};
static inline struct log_pgsql *log_pgsql_of(logstore_t *s) { return (struct log_pgsql *)s; }

/* What one thread wants appended. It waits for it, so nothing is copied. */
struct log_request {
    const char *task;
    int64_t retry;
    const struct log_entry *e;
    size_t n;
    int rc;
    bool grew, done;
    osmo_error_t err;
    struct log_request *next;
};

/* logstore_pgsql_write.c: one transaction for all requests of a log. Each has its own result when this returns. True: a mark is due. */
bool log_pgsql_write(struct log_pgsql *s, const char *workflow_id, struct log_request *list);
/* logstore_pgsql_upkeep.c: the end, merging and removal. */
int log_pgsql_end(logstore_t *s, const char *workflow_id, osmo_error_t *err);
int log_pgsql_remove(logstore_t *s, const char *workflow_id, osmo_error_t *err);
/* logstore_pgsql_marks.c: makes the marks that are due. What fails is due the next time, too. */
void log_pgsql_mark(struct log_pgsql *s, const char *workflow_id);
/* Puts the place of a reader, whose task has this number, to the last mark that is not behind the entry; it stays at the beginning where
 * there is none. */
int log_pgsql_begin_before(log_reader_t *r, db_t *db, int64_t task, int64_t entry, osmo_error_t *err);
/* To the last mark before what is handed out first, of a log of so many entries. */
int log_pgsql_begin_at_mark(log_reader_t *r, db_t *db, int64_t task, int64_t entries, osmo_error_t *err);
/* logstore_pgsql_read.c */
int log_pgsql_read(log_reader_t *r, struct log_taken *t, osmo_error_t *err);

struct log_pgsql_state { int64_t log_id, bytes, entries, tasks, ended, lines /* -1: not counted */; };
#define LOG_ENDED 1
#define LOG_MERGED 2 /* and its chunks are as few as they will be */
/* In a transaction: the log's row, locked until its end. OSMO_ENOTFOUND when there is none and it is not to be made. */
int log_pgsql_lock(db_t *db, const char *workflow_id, bool create, struct log_pgsql_state *out, osmo_error_t *err);
#endif
