/* The files of one workflow's log and what is known about them in memory. Used by logstore*.c only.
 *
 * workflow_logs.txt    the text, exactly as it is served
 * workflow_logs.idx    one record an entry; the last one may say that the log has ended
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

#define LOG_RECORD_SIZE 48
#define LOG_RECORD_END 255

/* Last sequence of one (task, retry). */
struct log_attempt { uint32_t task; int64_t retry; uint64_t seq; };

struct wlog {
    char *id;
    pthread_mutex_t mutex;
    bool loaded, ended;
    int text_fd, idx_fd;          /* -1 when closed */
    uint64_t text_size, records;  /* of whole entries; the end record is not counted */
    strlist_t tasks;
    map_t *task_index;            /* name → (index + 1) as a pointer */
    map_t *attempts;              /* "<retry>/<task>" → struct log_attempt */
    /* under the store's mutex */
    unsigned users;
    struct wlog *newer, *older;
    bool open_counted;
};

struct wlog *wlog_new(const char *id);
void wlog_free(struct wlog *w);
void wlog_close_files(struct wlog *w);
/* Reads what is there and repairs it; with `create` makes the files when they are missing, else a missing log
 * is an empty one. */
int wlog_load(struct wlog *w, int dir_fd, bool create, osmo_error_t *err);
/* -1 when the task never wrote. */
int64_t wlog_task_index(const struct wlog *w, const char *task);
int wlog_task_add(struct wlog *w, int dir_fd, const char *task, uint32_t *index, osmo_error_t *err);
/* NULL when there is none and `add` is false, or no memory. */
struct log_attempt *wlog_attempt(struct wlog *w, const char *task, uint32_t index, int64_t retry, bool add);
void log_record_pack(const struct log_record *r, uint8_t out[LOG_RECORD_SIZE]);
bool log_record_unpack(const uint8_t in[LOG_RECORD_SIZE], struct log_record *r); /* false: torn */
/* All or nothing: a failed write is cut off again. */
int wlog_write(struct wlog *w, const buf_t *text, const buf_t *records, osmo_error_t *err);
/* The end is durable, and with it everything before it. */
int wlog_finish(struct wlog *w, int dir_fd, osmo_error_t *err);
/* Up to max records from number `first`; *n may be 0. */
int wlog_records(struct wlog *w, uint64_t first, size_t max, struct log_record *out, size_t *n, osmo_error_t *err);

/* ---- logstore_files.c and logstore_files_read.c to each other ---- */
struct log_files;
/* Returns with the log's mutex held and its files loaded (or absent, when not `create`). */
int log_files_hold(struct log_files *s, const char *workflow_id, bool create, struct wlog **out, osmo_error_t *err);
void log_files_let_go(struct log_files *s, struct wlog *w);
int log_files_read(log_reader_t *r, struct log_taken *t, osmo_error_t *err);
#endif
