/* What every kind of log store shares: the functions a driver has, a reader's place in a log, the entries of a log as they are
 * known without their text. Used by logstore*.c only.
 *
 * A log is a sequence of entries, numbered from 0 in the order in which they were stored; each is a stretch of the text that is
 * served, one behind the other. Entries of no length carry a sequence number and nothing else. */
#ifndef STORE_LOGSTORE_INT_H
#define STORE_LOGSTORE_INT_H
#include "base/str.h"
#include "store/logstore.h"

#define LOG_APPEND_TEXT_MAX (64u << 20) /* of one call */

#define LOG_KINDS 7 /* by enum io_type: those that have text, from 1 on */
#define LOG_PACKED_SIZE 24

struct log_record { uint64_t offset; uint32_t length, task, retry; uint8_t type; int64_t time_us; uint64_t seq; };

struct log_reader {
    logstore_t *store;
    char *id, *task;       /* task NULL: all */
    int64_t retry, scan_max;
    unsigned kinds;        /* bits by enum io_type; 0 = all */
    int64_t since_s;       /* entries of an earlier second are passed over; INT64_MIN = none */
    bool numbered;         /* lines are to be counted, whatever that costs */
    bool none;             /* the last read found no log */
    /* What a read moves, and what a failed one puts back. */
    struct log_place {
        bool started;      /* else the start is still to be found: */
        int64_t last_n;    /* > 0: so many lines before the end */
        uint64_t from_line;/* > 0: this line */
        uint64_t line;     /* lines that are wanted before `next`: known to readers that are numbered, and those that begin at a line */
        uint64_t next;     /* entry to look at */
        uint64_t offset;   /* of its text, for drivers that need it */
        bool wanted;       /* chunks: it is known to be one that is wanted */
    } place;
    int64_t log_id;        /* chunks: the log this is a place in; 0 = not known yet */
    strlist_t tasks;       /* chunks: names by number, as far as they were needed */
    size_t sparse;         /* chunks: so many bytes were passed for one that was wanted */
};

/* Where a read puts entries; items NULL: only their text is asked for. */
struct log_taken { buf_t *out; size_t before, enough; struct log_item *items; size_t n; };

struct logstore_driver {
    void (*close)(logstore_t *s);
    /* Names and numbers were looked at. *grew: there is something new to read. */
    int (*append)(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id, const struct log_entry *e,
                  size_t n, bool *grew, osmo_error_t *err);
    int (*last_seq)(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id, uint64_t *seq,
                    osmo_error_t *err);
    int (*end)(logstore_t *s, const char *workflow_id, osmo_error_t *err); /* tells of it by logstore_notify */
    int (*has_ended)(logstore_t *s, const char *workflow_id, bool *ended, osmo_error_t *err);
    int (*remove)(logstore_t *s, const char *workflow_id, osmo_error_t *err);
    /* 0, or OSMO_EGONE when nothing was taken at the end of a finished log. */
    int (*read)(log_reader_t *r, struct log_taken *t, osmo_error_t *err);
};

/* First member of every driver's store. */
struct logstore {
    const struct logstore_driver *drv;
    log_notify_fn notify;
    void *notify_ctx;
};

static inline void log_put(uint8_t *p, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline uint64_t log_get(const uint8_t *p, int bytes) {
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

void logstore_notify(const logstore_t *s, const char *workflow_id);
int logstore_check_id(const char *workflow_id, osmo_error_t *err);
/* Appends the line of an entry to text and describes it; its offset is the caller's. 1: it has to be stored, 0: it leaves no
 * trace. */
int logstore_render(const char *workflow_id, const char *task, int64_t retry_id, const struct log_entry *e, buf_t *text,
                    struct log_record *out, osmo_error_t *err);

/* Does the reader want the entry? `task` is the number of the reader's task, -1 when it has not written yet. */
static inline bool log_reader_wants(const log_reader_t *r, const struct log_record *rec, int64_t task) {
    if (rec->length == 0 || (r->task && rec->task != task) || (r->retry >= 0 && rec->retry != r->retry))
        return false;
    return !r->kinds || (r->kinds >> rec->type & 1);
}
/* Times are served in seconds, so that is what they are told apart by, wherever the log is. */
static inline int64_t log_second(int64_t time_us) { return time_us / 1000000 - (time_us % 1000000 < 0); }
/* Of a line that is wanted, and has its number: is it handed out? */
static inline bool log_reader_is_late_enough(const log_reader_t *r, const struct log_record *rec) {
    return log_second(rec->time_us) >= r->since_s;
}
static inline bool log_reader_filters(const log_reader_t *r) { return r->task || r->retry >= 0 || r->kinds; }

static inline void log_record_pack_short(const struct log_record *r, uint8_t out[LOG_PACKED_SIZE]) {
    log_put(out, r->length, 4);
    log_put(out + 4, r->task, 4);
    log_put(out + 8, r->retry, 4);
    log_put(out + 12, r->type, 4);
    log_put(out + 16, (uint64_t)r->time_us, 8);
}
static inline struct log_record log_record_unpack_short(const uint8_t in[LOG_PACKED_SIZE]) {
    return (struct log_record){ .length = (uint32_t)log_get(in, 4), .task = (uint32_t)log_get(in + 4, 4),
                                .retry = (uint32_t)log_get(in + 8, 4), .type = in[12],
                                .time_us = (int64_t)log_get(in + 16, 8) };
}
/* Has enough been taken, `have` bytes being in or on their way into the buffer? The first entry always fits. */
static inline bool log_taken_is_full(const struct log_taken *t, size_t have, size_t length) {
    return (have > t->before && have + length > t->enough) || (t->items && t->n == LOG_ITEMS_MAX);
}
/* Counts the entry, describes it when that is asked for. */
void log_taken_add(struct log_taken *t, const struct log_record *rec, uint64_t line, const strlist_t *tasks);
#endif
