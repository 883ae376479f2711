/* The files of one workflow's log and what is known about them in memory. Used by logstore*.c only.
 *
 * The log is a row of segments. The last one is written to; one that is full, and the last one when the log has ended, is
 * compressed in the background. N is left out of the names of segment 0.
 * workflow_logs.N.txt  the text, exactly as it is served
 * workflow_logs.N.idx  one record an entry; the last one may say that the log has ended
 * workflow_logs.N.zst  both, of a sealed segment (logstore_segment.h); the other two are gone, or about to go
 * workflow_logs.tasks  the names of tasks, one a line; records say the line's number
 *
 * Text is written before the record that covers it, a task's name before the record that uses it. What a crash
 * leaves behind is cut back to the last whole entry when the log is loaded. All functions are called with the
 * log's mutex held. */
#ifndef STORE_LOGSTORE_FILE_H
#define STORE_LOGSTORE_FILE_H
#include <pthread.h>
#include "base/map.h"
#include "base/str.h"
#include "store/logstore_int.h"
#include "store/logstore_segment.h"

#define LOG_RECORD_SIZE 48
#define LOG_RECORD_END 255
#define LOG_BATCH 512 /* records that are read at a time */

struct wlog {
    char *id;
    pthread_mutex_t mutex;
    int dir_fd;                   /* of the store */
    bool loaded, ended;
    int text_fd, idx_fd;          /* of the last segment; -1 when closed, or when it is sealed */
    uint64_t text_size, records;  /* of whole entries; the end record is not counted */
    struct log_segment *segments;
    size_t nsegments, cap;        /* none: there is no such log */
    struct log_view view;
    strlist_t tasks;
    map_t *task_index;            /* name → (index + 1) as a pointer */
    map_t *attempts;              /* "<retry>/<task>" → struct log_attempt */
    /* under the store's mutex */
    unsigned users;
    struct wlog *newer, *older;
    bool open_counted;
};

/* How large segments get. */
struct log_limits {
    uint64_t bytes, entries; /* a full one; one append may exceed them */
    uint64_t seal_from;      /* the last segment of an ended log is compressed from so many bytes on */
    uint32_t block_bytes, block_entries;
};

struct wlog *wlog_new(const char *id, int dir_fd);
void wlog_free(struct wlog *w);
void wlog_close_files(struct wlog *w);
int wlog_failed(const struct wlog *w, const char *what, osmo_error_t *err); /* OSMO_EIO by errno */
int wlog_damaged(const struct wlog *w, osmo_error_t *err);
/* -1 when the task never wrote. */
int64_t wlog_task_index(const struct wlog *w, const char *task);
/* Of a name that is in the file. 0 or OSMO_ENOMEM. */
int wlog_task_remember(struct wlog *w, const char *name);
int wlog_task_add(struct wlog *w, const char *task, uint32_t *index, osmo_error_t *err);
/* NULL when there is none and `add` is false, or no memory. */
struct log_attempt *wlog_attempt(struct wlog *w, const char *task, uint32_t index, int64_t retry, bool add);
void log_record_pack(const struct log_record *r, uint8_t out[LOG_RECORD_SIZE]);
bool log_record_unpack(const uint8_t in[LOG_RECORD_SIZE], struct log_record *r); /* false: torn */
/* NULL when there is no memory; its beginning is the end of what there is. */
struct log_segment *wlog_segment_add(struct wlog *w);
/* What is written of one attempt at once. */
struct log_piece { buf_t text, records; uint64_t lines[LOG_KINDS]; int64_t latest_us; };
/* All or nothing: a failed write is cut off again. A segment that would get too large is left, and a new one begun: *full. */
int wlog_write(struct wlog *w, const struct log_piece *p, const struct log_limits *l, bool *full, osmo_error_t *err);
/* The end is durable, and with it everything before it. */
int wlog_finish(struct wlog *w, osmo_error_t *err);

/* ---- logstore_load.c ---- */
/* Reads what is there and repairs it; with `create` makes the files when they are missing, else a missing log
 * is an empty one. */
int wlog_load(struct wlog *w, bool create, osmo_error_t *err);
/* Opens the files of a segment that is not sealed as those that are written to. *there false: it has none. */
int wlog_open_raw(struct wlog *w, size_t number, bool create, bool *there, osmo_error_t *err);

/* ---- logstore_segment.c ---- */
/* Up to max records, at most LOG_BATCH, from number `first`; *n may be 0. */
int wlog_records(struct wlog *w, uint64_t first, size_t max, struct log_record *out, size_t *n, osmo_error_t *err);
int wlog_text(struct wlog *w, uint64_t offset, uint64_t len, buf_t *out, osmo_error_t *err);
/* The segment that holds the record; the last one for records that are still to come. */
size_t wlog_segment_of(const struct wlog *w, uint64_t record);
/* The tables of a sealed segment, valid until another segment is looked at. */
int wlog_tables(struct wlog *w, size_t segment, const struct sealed **out, osmo_error_t *err);
/* What was written up to the end of a sealed segment, by attempts; malloc'ed. */
int wlog_sealed_attempts(struct wlog *w, size_t segment, struct log_attempt **out, size_t *n, osmo_error_t *err);

/* ---- logstore_seek.c ---- */
/* Puts the reader's place where its query says that it begins. */
int wlog_find_start(log_reader_t *r, struct wlog *w, int64_t task, osmo_error_t *err);

/* ---- logstore_seal.c ---- */
struct seal_job {
    const char *id;
    int dir_fd;
    size_t number;
    struct log_segment segment;
    bool ended;
    struct log_limits limits;
    _Atomic bool *cancelled;
};
/* Writes the compressed segment beside the other files. Without any lock: the segment does not change any more. */
int seal_write(const struct seal_job *j, osmo_error_t *err);
/* Puts it in their place. */
int seal_install(struct wlog *w, const struct seal_job *j, osmo_error_t *err);

/* ---- logstore_files.c and the others to each other ---- */
struct log_files;
/* Returns with the log's mutex held and its files loaded (or absent, when not `create`). */
int log_files_hold(struct log_files *s, const char *workflow_id, bool create, struct wlog **out, osmo_error_t *err);
void log_files_let_go(struct log_files *s, struct wlog *w);
int log_files_read(log_reader_t *r, struct log_taken *t, osmo_error_t *err);
/* For tests: other limits, from now on. NULL: waits until everything that can be compressed is. */
void log_files_set_limits(logstore_t *s, const struct log_limits *l);

/* ---- logstore_sealer.c: the thread that compresses ---- */
struct log_sealer;
int sealer_start(struct log_files *s, const struct log_limits *l, struct log_sealer **out, osmo_error_t *err);
void sealer_stop(struct log_sealer *s);
void sealer_limits(struct log_sealer *s, const struct log_limits *l);
struct log_limits sealer_get_limits(struct log_sealer *s);
/* Something of the log may be worth it. */
void sealer_look(struct log_sealer *s, const char *workflow_id);
/* Leaves the log alone from now on until it is told of it again; returns when it does. */
void sealer_leave(struct log_sealer *s, const char *workflow_id);
void sealer_wait(struct log_sealer *s);
#endif
