/* Files of one log: packing of records, loading with repair, appending. */
#include "store/logstore_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/file.h"

#define TEXT_FILE "workflow_logs.txt"
#define INDEX_FILE "workflow_logs.idx"
#define TASKS_FILE "workflow_logs.tasks"
#define TASKS_BYTES_MAX (64u << 20)
#define BATCH 512

static int failed(const struct wlog *w, const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: cannot %s: %s", w->id, what, strerror(errno));
}

/* ---- records ---- */

/* FNV-1a: tells a torn record from a whole one, nothing more. */
static uint32_t checksum(const uint8_t *p) {
    uint32_t h = 0x811c9dc5u;
    for (int i = 0; i < LOG_RECORD_SIZE - 4; i++)
        h = (h ^ p[i]) * 0x01000193u;
    return h;
}

void log_record_pack(const struct log_record *r, uint8_t out[LOG_RECORD_SIZE]) {
    memset(out, 0, LOG_RECORD_SIZE);
    log_put(out, r->offset, 8);
    log_put(out + 8, r->length, 4);
    log_put(out + 12, r->task, 4);
    log_put(out + 16, r->retry, 4);
    out[20] = r->type;
    log_put(out + 24, (uint64_t)r->time_us, 8);
    log_put(out + 32, r->seq, 8);
    log_put(out + 44, checksum(out), 4);
}

bool log_record_unpack(const uint8_t in[LOG_RECORD_SIZE], struct log_record *r) {
    *r = (struct log_record){ .offset = log_get(in, 8), .length = (uint32_t)log_get(in + 8, 4),
                              .task = (uint32_t)log_get(in + 12, 4), .retry = (uint32_t)log_get(in + 16, 4), .type = in[20],
                              .time_us = (int64_t)log_get(in + 24, 8), .seq = log_get(in + 32, 8) };
    return log_get(in + 44, 4) == checksum(in);
}

/* ---- life ---- */

struct wlog *wlog_new(const char *id) {
    struct wlog *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->text_fd = w->idx_fd = -1;
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
}

void wlog_free(struct wlog *w) {
    if (!w)
        return;
    wlog_close_files(w);
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

static int remember_task(struct wlog *w, const char *name) {
    if (strlist_add(&w->tasks, name) < 0)
        return OSMO_ENOMEM;
    if (map_set(w->task_index, name, (void *)(uintptr_t)w->tasks.len) == 0)
        return 0;
    free(w->tasks.items[--w->tasks.len]);
    return OSMO_ENOMEM;
}

int wlog_task_add(struct wlog *w, int dir_fd, const char *task, uint32_t *index, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/" TASKS_FILE, w->id);
    _cleanup_free_ char *line = str_printf("%s\n", task);
    if (!path || !line)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(w, "open its task names", err);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return failed(w, "look at its task names", err);
    if (fd_write_all(fd, line, strlen(line)) < 0) {
        failed(w, "write its task names", err);
        if (ftruncate(fd, st.st_size) != 0)
            w->loaded = false; /* look again before anything else is written */
        return OSMO_EIO;
    }
    if (remember_task(w, task) < 0) {
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

/* ---- loading ---- */

static int open_one(struct wlog *w, int dir_fd, const char *name, int flags, int *out, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/%s", w->id, name);
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = openat(dir_fd, path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (*out < 0 && !(errno == ENOENT && !(flags & O_CREAT)))
        return failed(w, "open its files", err);
    return 0;
}

static int open_files(struct wlog *w, int dir_fd, bool create, osmo_error_t *err) {
    int flags = create ? O_CREAT : 0;
    if (create && mkdirat(dir_fd, w->id, 0700) != 0 && errno != EEXIST)
        return failed(w, "make its directory", err);
    wlog_close_files(w);
    int rc = open_one(w, dir_fd, TEXT_FILE, flags, &w->text_fd, err);
    if (rc == 0)
        rc = open_one(w, dir_fd, INDEX_FILE, flags, &w->idx_fd, err);
    if (rc < 0 || w->text_fd < 0 || w->idx_fd < 0)
        wlog_close_files(w);
    return rc;
}

static int load_tasks(struct wlog *w, int dir_fd, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(TASKS_BYTES_MAX);
    _cleanup_close_ int fd = -1;
    struct stat st;
    int rc = open_one(w, dir_fd, TASKS_FILE, 0, &fd, err);
    if (rc < 0 || fd < 0)
        return rc;
    if (fstat(fd, &st) != 0)
        return failed(w, "look at its task names", err);
    if (buf_reserve(&text, (size_t)st.st_size + 1) < 0)
        return osmo_error_set(err, OSMO_ELIMIT, "log of workflow %s: its task names are too large", w->id);
    ssize_t got = pread(fd, text.data, (size_t)st.st_size, 0);
    if (got < 0)
        return failed(w, "read its task names", err);
    char *line = text.data, *end = text.data + got, *nl;
    while (line < end && (nl = memchr(line, '\n', (size_t)(end - line)))) {
        *nl = '\0';
        if (remember_task(w, line) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        line = nl + 1;
    }
    if (line < end && ftruncate(fd, line - text.data) != 0) /* a name the crash cut short */
        return failed(w, "repair its task names", err);
    return 0;
}

static int note_attempt(struct wlog *w, const struct log_record *r) {
    if (!r->seq)
        return 0;
    struct log_attempt *a = wlog_attempt(w, w->tasks.items[r->task], r->task, r->retry, true);
    if (!a)
        return OSMO_ENOMEM;
    if (r->seq > a->seq)
        a->seq = r->seq;
    return 0;
}

/* Does the record go on where the one before it stopped, within what the files hold? */
static bool fits(const struct wlog *w, const struct log_record *r, uint64_t text_bytes) {
    if (r->offset != w->text_size)
        return false;
    return r->type == LOG_RECORD_END || (r->length <= text_bytes - w->text_size && r->task < w->tasks.len);
}

/* Accepts whole records in order; stops at the first that is torn, or after the end record. */
static int scan(struct wlog *w, uint64_t text_bytes, osmo_error_t *err) {
    _cleanup_free_ uint8_t *block = malloc(BATCH * LOG_RECORD_SIZE);
    if (!block)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (;;) {
        ssize_t got = pread(w->idx_fd, block, BATCH * LOG_RECORD_SIZE, (off_t)(w->records * LOG_RECORD_SIZE));
        if (got < 0)
            return failed(w, "read its index", err);
        size_t n = (size_t)got / LOG_RECORD_SIZE;
        for (size_t i = 0; i < n; i++) {
            struct log_record r;
            if (!log_record_unpack(block + i * LOG_RECORD_SIZE, &r) || !fits(w, &r, text_bytes))
                return 0;
            if (r.type == LOG_RECORD_END) {
                w->ended = true;
                return 0;
            }
            if (note_attempt(w, &r) < 0)
                return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
            w->text_size += r.length;
            w->records++;
        }
        if (n < BATCH)
            return 0;
    }
}

static int repair(struct wlog *w, uint64_t text_bytes, uint64_t idx_bytes, osmo_error_t *err) {
    uint64_t keep = (w->records + w->ended) * LOG_RECORD_SIZE;
    if (idx_bytes > keep && ftruncate(w->idx_fd, (off_t)keep) != 0)
        return failed(w, "repair its index", err);
    if (text_bytes > w->text_size && ftruncate(w->text_fd, (off_t)w->text_size) != 0)
        return failed(w, "repair its text", err);
    return 0;
}

static int forget(struct wlog *w, osmo_error_t *err) {
    map_free(w->task_index);
    map_free(w->attempts);
    strlist_free(&w->tasks);
    w->task_index = map_new(NULL);
    w->attempts = map_new(free);
    w->text_size = w->records = 0;
    w->ended = false;
    return w->task_index && w->attempts ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int load_state(struct wlog *w, int dir_fd, osmo_error_t *err) {
    struct stat text, idx;
    int rc = forget(w, err);
    if (rc < 0)
        return rc;
    if (fstat(w->text_fd, &text) != 0 || fstat(w->idx_fd, &idx) != 0)
        return failed(w, "look at its files", err);
    rc = load_tasks(w, dir_fd, err);
    if (rc == 0)
        rc = scan(w, (uint64_t)text.st_size, err);
    return rc == 0 ? repair(w, (uint64_t)text.st_size, (uint64_t)idx.st_size, err) : rc;
}

int wlog_load(struct wlog *w, int dir_fd, bool create, osmo_error_t *err) {
    if (w->text_fd < 0) {
        int rc = open_files(w, dir_fd, create, err);
        if (rc < 0 || w->text_fd < 0)
            return rc;
    }
    if (w->loaded)
        return 0;
    int rc = load_state(w, dir_fd, err);
    if (rc < 0)
        wlog_close_files(w);
    w->loaded = rc == 0;
    return rc;
}

/* ---- writing and reading ---- */

static int write_at(int fd, const char *data, size_t len, uint64_t at) {
    while (len) {
        ssize_t n = pwrite(fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return OSMO_EIO;
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

int wlog_write(struct wlog *w, const buf_t *text, const buf_t *records, osmo_error_t *err) {
    uint64_t idx_size = w->records * LOG_RECORD_SIZE;
    if (write_at(w->text_fd, text->data, text->len, w->text_size) < 0 ||
        write_at(w->idx_fd, records->data, records->len, idx_size) < 0) {
        failed(w, "append", err);
        if (ftruncate(w->idx_fd, (off_t)idx_size) != 0 || ftruncate(w->text_fd, (off_t)w->text_size) != 0)
            w->loaded = false; /* the next user repairs it first */
        return OSMO_EIO;
    }
    w->text_size += text->len;
    w->records += records->len / LOG_RECORD_SIZE;
    return 0;
}

/* A file of the log, or its directory (name ""); that it was never made is fine. */
static int sync_one(struct wlog *w, int dir_fd, const char *name, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/%s", w->id, name);
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    return fd < 0 || fsync(fd) != 0 ? failed(w, "write to the disk", err) : 0;
}

/* Records are worth nothing without the names they refer to, and files nothing without their directories. */
int wlog_finish(struct wlog *w, int dir_fd, osmo_error_t *err) {
    uint8_t raw[LOG_RECORD_SIZE];
    struct log_record r = { .offset = w->text_size, .type = LOG_RECORD_END };
    int rc = sync_one(w, dir_fd, TASKS_FILE, err);
    if (rc == 0)
        rc = sync_one(w, dir_fd, "", err);
    if (rc < 0)
        return rc;
    if (fsync(dir_fd) != 0 || fdatasync(w->text_fd) != 0 || fdatasync(w->idx_fd) != 0)
        return failed(w, "write to the disk", err);
    log_record_pack(&r, raw);
    if (write_at(w->idx_fd, (const char *)raw, sizeof(raw), w->records * LOG_RECORD_SIZE) < 0 ||
        fdatasync(w->idx_fd) != 0) {
        failed(w, "write its end", err);
        w->loaded = false;
        return OSMO_EIO;
    }
    w->ended = true;
    return 0;
}

int wlog_records(struct wlog *w, uint64_t first, size_t max, struct log_record *out, size_t *n, osmo_error_t *err) {
    uint8_t block[BATCH * LOG_RECORD_SIZE];
    *n = 0;
    if (first >= w->records || w->idx_fd < 0)
        return 0;
    size_t want = w->records - first < max ? (size_t)(w->records - first) : max;
    if (want > BATCH)
        want = BATCH;
    ssize_t got = pread(w->idx_fd, block, want * LOG_RECORD_SIZE, (off_t)(first * LOG_RECORD_SIZE));
    if (got < 0)
        return failed(w, "read its index", err);
    for (size_t i = 0; i < (size_t)got / LOG_RECORD_SIZE; i++) {
        if (!log_record_unpack(block + i * LOG_RECORD_SIZE, &out[i]))
            return osmo_error_set(err, OSMO_EIO, "log of workflow %s: its index is damaged", w->id);
        (*n)++;
    }
    return 0;
}
