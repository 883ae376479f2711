/* The log store: rendered text with an index, append-only, one log per workflow, followed without polling. Two kinds behind
 * the same functions, handing out the same bytes:
 *   segments  files below DIR/<workflow id>/ of one service, of bounded size: workflow_logs.N.txt holds exactly the text that is
 *             served, workflow_logs.N.idx one fixed record an entry: offset, length, time, io type, task, retry, sequence; full
 *             segments, and ended logs, are compressed in the background
 *   chunks    rows of a PostgreSQL database; any number of services append to and read the same logs
 * Thread-safe. Nothing here may be called on one of the store's writer threads, except for reading. */
#ifndef STORE_LOGSTORE_H
#define STORE_LOGSTORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "model/logline.h"
#include "osmo/error.h"
#include "store/store.h"

typedef struct logstore logstore_t;
struct log_entry {
    int64_t time_us;
    enum io_type type;
    const char *text;
    size_t len;
    uint64_t seq; /* 0 = unsequenced */
};
typedef void (*log_notify_fn)(void *ctx, const char *workflow_id); /* something was appended or the log ended */

int logstore_open(const char *dir, log_notify_fn notify, void *notify_ctx, logstore_t **out, osmo_error_t *err);
/* The logs of all services on the database, which must be PostgreSQL and stay open longer than the log store. What other
 * services append is not notified here: their notifications have to be brought over. */
int logstore_open_pgsql(store_t *store, log_notify_fn notify, void *notify_ctx, logstore_t **out, osmo_error_t *err);
void logstore_close(logstore_t *s);
/* Append entries of one task attempt in order; sequenced entries at or below the stored sequence are skipped (replay
 * after reconnect), also when another service stored them. The text is in the page cache when this returns, or committed;
 * it blocks until then. All of the entries are appended or none. After logstore_end appends are refused with OSMO_EGONE. */
int logstore_append(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id,
                    const struct log_entry *e, size_t n, osmo_error_t *err);
/* Highest sequence stored for an attempt; 0 = none. */
int logstore_last_seq(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id, uint64_t *seq,
                      osmo_error_t *err);
/* No more lines will come; readers get end of file. Idempotent. */
int logstore_end(logstore_t *s, const char *workflow_id, osmo_error_t *err);
int logstore_has_ended(logstore_t *s, const char *workflow_id, bool *ended, osmo_error_t *err);

/* Deletes the log of a workflow; that there is none is fine. OSMO_EBUSY while somebody writes it, or is in a read of the
 * segments. A reader that was somewhere in the log finds nothing more, as if nothing had been written. */
int logstore_remove(logstore_t *s, const char *workflow_id, osmo_error_t *err);

typedef struct log_reader log_reader_t;
struct log_query { const char *task; int64_t retry_id; /* -1 any */ int64_t last_n; /* 0 all */ bool error_only;
                   int64_t scan_max; /* entries looked at to find the last_n; 0 = as many as it takes */
                   unsigned kinds;     /* bits by enum io_type, 0 = all; error_only is 1 << IO_STDERR */
                   /* Lines are the entries that have text and that all of the above select, counted from 1. Begins at this line; 0 = no
                    * matter. Not beside last_n. */
                   uint64_t from_line;
                   int64_t since_us;   /* lines of earlier seconds are left out, and have their numbers all the same; 0 = none are */
                   bool numbered; };   /* the numbers of lines are wanted, beside last_n too, where that costs something */
int logstore_reader(logstore_t *s, const char *workflow_id, const struct log_query *q, log_reader_t **out,
                    osmo_error_t *err);
/* Append up to about max bytes of whole lines: >0 bytes, 0 nothing now (log still open), OSMO_EGONE at the end of a
 * finished log. */
int log_reader_read(log_reader_t *r, buf_t *out, size_t max, osmo_error_t *err);
/* The same for those who copy a log: also says what each entry is, in the order of the text; at most LOG_ITEMS_MAX of
 * them. >0 entries, 0, OSMO_EGONE. */
#define LOG_ITEMS_MAX 128
struct log_item { char task[256]; int64_t retry_id, time_us; enum io_type type; size_t length; uint64_t line; };
int log_reader_items(log_reader_t *r, buf_t *out, size_t max, struct log_item *items, osmo_error_t *err);
/* Was there no log at all when it was read last? */
bool log_reader_found_none(const log_reader_t *r);
void log_reader_free(log_reader_t *r);
#endif
