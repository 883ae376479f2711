/* Files of one log: packing of records, tasks and attempts, appending. */
#include "store/logstore_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/file.h"

#define TASKS_FILE "workflow_logs.tasks"
#define SEGMENTS_MAX (1u << 20)

int wlog_failed(const struct wlog *w, const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: cannot %s: %s", w->id, what, strerror(errno));
}

int wlog_damaged(const struct wlog *w, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: its files are damaged", w->id);
}

/* ---- records ---- */

void log_record_pack(const struct log_record *r, uint8_t out[LOG_RECORD_SIZE]) {
    memset(out, 0, LOG_RECORD_SIZE);
    log_put(out, r->offset, 8);
    log_put(out + 8, r->length, 4);
    log_put(out + 12, r->task, 4);
    log_put(out + 16, r->retry, 4);
    out[20] = r->type;
    log_put(out + 24, (uint64_t)r->time_us, 8);
    log_put(out + 32, r->seq, 8);
    log_put(out + 44, log_checksum(out, LOG_RECORD_SIZE - 4), 4);
}

bool log_record_unpack(const uint8_t in[LOG_RECORD_SIZE], struct log_record *r) {
    *r = (struct log_record){ .offset = log_get(in, 8), .length = (uint32_t)log_get(in + 8, 4),
                              .task = (uint32_t)log_get(in + 12, 4), .retry = (uint32_t)log_get(in + 16, 4), .type = in[20],
                              .time_us = (int64_t)log_get(in + 24, 8), .seq = log_get(in + 32, 8) };
    return log_get(in + 44, 4) == log_checksum(in, LOG_RECORD_SIZE - 4);
}

/* ---- life ---- */

struct wlog *wlog_new(const char *id, int dir_fd) {
    struct wlog *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->text_fd = w->idx_fd = w->view.fd = w->view.idx_fd = -1;
    w->dir_fd = dir_fd;
    log_view_close(&w->view);
    pthread_mutex_init(&w->mutex, NULL);
    w->id = str_dup(id);
    w->task_index = map_new(NULL);
    w->attempts = map_new(free);
    if (!w->id || !w->task_index || !w->attempts) {
        wlog_free(w);
        return NULL;
    }
    return w;
}

void wlog_close_files(struct wlog *w) {
    if (w->text_fd >= 0)
        close(w->text_fd);
    if (w->idx_fd >= 0)
        close(w->idx_fd);
    w->text_fd = w->idx_fd = -1;
    log_view_close(&w->view);
}

void wlog_free(struct wlog *w) {
    if (!w)
        return;
    wlog_close_files(w);
    free(w->segments);
    strlist_free(&w->tasks);
    map_free(w->task_index);
    map_free(w->attempts);
    pthread_mutex_destroy(&w->mutex);
    free(w->id);
    free(w);
}

/* ---- tasks and attempts ---- */

int64_t wlog_task_index(const struct wlog *w, const char *task) {
    return (int64_t)(uintptr_t)map_get(w->task_index, task) - 1;
}

int wlog_task_remember(struct wlog *w, const char *name) {
    if (strlist_add(&w->tasks, name) < 0)
        return OSMO_ENOMEM;
    if (map_set(w->task_index, name, (void *)(uintptr_t)w->tasks.len) == 0)
        return 0;
    free(w->tasks.items[--w->tasks.len]);
    return OSMO_ENOMEM;
}

int wlog_task_add(struct wlog *w, const char *task, uint32_t *index, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/" TASKS_FILE, w->id);
    _cleanup_free_ char *line = str_printf("%s\n", task);
    if (!path || !line)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = openat(w->dir_fd, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return wlog_failed(w, "open its task names", err);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return wlog_failed(w, "look at its task names", err);
    if (fd_write_all(fd, line, strlen(line)) < 0) {
        wlog_failed(w, "write its task names", err);
        if (ftruncate(fd, st.st_size) != 0)
            w->loaded = false; /* look again before anything else is written */
        return OSMO_EIO;
    }
    if (wlog_task_remember(w, task) < 0) {
        w->loaded = false;
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *index = (uint32_t)(w->tasks.len - 1);
    return 0;
}

struct log_attempt *wlog_attempt(struct wlog *w, const char *task, uint32_t index, int64_t retry, bool add) {
    char key[320];
    snprintf(key, sizeof(key), "%lld/%s", (long long)retry, task);
    struct log_attempt *a = map_get(w->attempts, key);
    if (a || !add)
        return a;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->task = index;
    a->retry = retry;
    return map_set(w->attempts, key, a) == 0 ? a : NULL;
}

/* ---- segments ---- */

struct log_segment *wlog_segment_add(struct wlog *w) {
    if (w->nsegments == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 4;
        struct log_segment *bigger = w->nsegments < SEGMENTS_MAX ? realloc(w->segments, cap * sizeof *bigger) : NULL;
        if (!bigger)
            return NULL;
        w->segments = bigger;
        w->cap = cap;
    }
    struct log_segment *g = &w->segments[w->nsegments++];
    *g = (struct log_segment){ .first_record = w->records, .first_offset = w->text_size, .latest_us = INT64_MIN };
    return g;
}

/* The last one is full: what follows goes into files of its own. */
static int next_segment(struct wlog *w, osmo_error_t *err) {
    int text_fd = w->text_fd, idx_fd = w->idx_fd;
    bool there;
    if (!wlog_segment_add(w))
        return osmo_error_set(err, OSMO_ENOMEM, "log of workflow %s: out of memory", w->id);
    w->text_fd = w->idx_fd = -1;
    int rc = wlog_open_raw(w, w->nsegments - 1, true, &there, err);
    /* what is left of a repair that a crash cut short does not belong here */
    if (rc == 0 && (ftruncate(w->text_fd, 0) != 0 || ftruncate(w->idx_fd, 0) != 0))
        rc = wlog_failed(w, "begin a segment", err);
    if (rc < 0) {
        if (w->text_fd >= 0)
            close(w->text_fd);
        if (w->idx_fd >= 0)
            close(w->idx_fd);
        w->nsegments--;
        w->text_fd = text_fd;
        w->idx_fd = idx_fd;
        return rc;
    }
    close(text_fd);
    close(idx_fd);
    return 0;
}

/* ---- writing ---- */

static void count(struct log_segment *g, const struct log_piece *p) {
    g->records += p->records.len / LOG_RECORD_SIZE;
    g->bytes += p->text.len;
    for (int i = 0; i < LOG_KINDS; i++)
        g->lines[i] += p->lines[i];
    if (p->latest_us > g->latest_us)
        g->latest_us = p->latest_us;
}

int wlog_write(struct wlog *w, const struct log_piece *p, const struct log_limits *l, bool *full, osmo_error_t *err) {
    struct log_segment *g = &w->segments[w->nsegments - 1];
    uint64_t n = p->records.len / LOG_RECORD_SIZE;
    *full = g->records && (g->bytes + p->text.len > l->bytes || g->records + n > l->entries);
    if (*full) {
        int rc = next_segment(w, err);
        if (rc < 0)
            return rc;
        g = &w->segments[w->nsegments - 1];
    }
    uint64_t idx_size = g->records * LOG_RECORD_SIZE;
    if (fd_write_at(w->text_fd, p->text.data, p->text.len, g->bytes) < 0 ||
        fd_write_at(w->idx_fd, p->records.data, p->records.len, idx_size) < 0) {
        wlog_failed(w, "append", err);
        if (ftruncate(w->idx_fd, (off_t)idx_size) != 0 || ftruncate(w->text_fd, (off_t)g->bytes) != 0)
            w->loaded = false; /* the next user repairs it first */
        return OSMO_EIO;
    }
    count(g, p);
    w->text_size += p->text.len;
    w->records += n;
    return 0;
}

/* A file of the log, or its directory (name ""); that it was never made is fine. */
static int sync_path(struct wlog *w, const char *path, osmo_error_t *err) {
    _cleanup_close_ int fd = path ? openat(w->dir_fd, path, O_RDONLY | O_CLOEXEC) : -1;
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (fd < 0 && errno == ENOENT)
        return 0;
    return fd < 0 || fsync(fd) != 0 ? wlog_failed(w, "write to the disk", err) : 0;
}

static int sync_segment(struct wlog *w, size_t number, const char *kind, osmo_error_t *err) {
    _cleanup_free_ char *path = log_segment_path(w->id, number, kind);
    return sync_path(w, path, err);
}

/* Records are worth nothing without the names they refer to, and files nothing without their directories. */
static int sync_all(struct wlog *w, osmo_error_t *err) {
    _cleanup_free_ char *tasks = str_printf("%s/" TASKS_FILE, w->id);
    int rc = sync_path(w, tasks, err);
    for (size_t i = 0; rc == 0 && i < w->nsegments; i++) {
        if (w->segments[i].sealed)
            continue;
        rc = sync_segment(w, i, "txt", err);
        if (rc == 0)
            rc = sync_segment(w, i, "idx", err);
    }
    if (rc == 0)
        rc = sync_path(w, w->id, err);
    return rc == 0 && fsync(w->dir_fd) != 0 ? wlog_failed(w, "write to the disk", err) : rc;
}

int wlog_finish(struct wlog *w, osmo_error_t *err) {
    uint8_t raw[LOG_RECORD_SIZE];
    struct log_record r = { .offset = w->text_size, .type = LOG_RECORD_END };
    int rc = sync_all(w, err);
    if (rc < 0)
        return rc;
    log_record_pack(&r, raw);
    if (fd_write_at(w->idx_fd, raw, sizeof(raw), w->segments[w->nsegments - 1].records * LOG_RECORD_SIZE) < 0 ||
        fdatasync(w->idx_fd) != 0) {
        wlog_failed(w, "write its end", err);
        w->loaded = false;
        return OSMO_EIO;
    }
    w->ended = true;
    return 0;
}
