/* Loading one log: which segments there are, what was written, and the repair of what a crash left. See logstore_file.h. */
#include "store/logstore_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"

#define TASKS_BYTES_MAX (64u << 20)

/* -1 in *out: there is none. */
static int open_path(struct wlog *w, const char *path, int flags, int *out, osmo_error_t *err) {
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = openat(w->dir_fd, path, flags | O_CLOEXEC, 0600);
    if (*out < 0 && !(errno == ENOENT && !(flags & O_CREAT)))
        return wlog_failed(w, "open its files", err);
    return 0;
}

static void close_raw(struct wlog *w) {
    if (w->text_fd >= 0)
        close(w->text_fd);
    if (w->idx_fd >= 0)
        close(w->idx_fd);
    w->text_fd = w->idx_fd = -1;
}

int wlog_open_raw(struct wlog *w, size_t number, bool create, bool *there, osmo_error_t *err) {
    int flags = O_RDWR | (create ? O_CREAT : 0);
    _cleanup_free_ char *text = log_segment_path(w->id, number, "txt");
    _cleanup_free_ char *idx = log_segment_path(w->id, number, "idx");
    *there = false;
    if (create && mkdirat(w->dir_fd, w->id, 0700) != 0 && errno != EEXIST)
        return wlog_failed(w, "make its directory", err);
    close_raw(w);
    int rc = open_path(w, text, flags, &w->text_fd, err);
    if (rc == 0)
        rc = open_path(w, idx, flags, &w->idx_fd, err);
    if (rc < 0 || w->text_fd < 0 || w->idx_fd < 0)
        close_raw(w);
    *there = w->text_fd >= 0;
    return rc;
}

/* ---- tasks ---- */

static int load_tasks(struct wlog *w, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/workflow_logs.tasks", w->id);
    _cleanup_buf_ buf_t text = BUF_INIT(TASKS_BYTES_MAX);
    _cleanup_close_ int fd = -1;
    struct stat st;
    int rc = open_path(w, path, O_RDWR, &fd, err);
    if (rc < 0 || fd < 0)
        return rc;
    if (fstat(fd, &st) != 0)
        return wlog_failed(w, "look at its task names", err);
    if (buf_reserve(&text, (size_t)st.st_size + 1) < 0)
        return osmo_error_set(err, OSMO_ELIMIT, "log of workflow %s: its task names are too large", w->id);
    ssize_t got = pread(fd, text.data, (size_t)st.st_size, 0);
    if (got < 0)
        return wlog_failed(w, "read its task names", err);
    char *line = text.data, *end = text.data + got, *nl;
    while (line < end && (nl = memchr(line, '\n', (size_t)(end - line)))) {
        *nl = '\0';
        if (wlog_task_remember(w, line) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        line = nl + 1;
    }
    if (line < end && ftruncate(fd, line - text.data) != 0) /* a name the crash cut short */
        return wlog_failed(w, "repair its task names", err);
    return 0;
}

/* ---- sealed segments ---- */

/* What a crash did not let go: the segment is whole without them. */
static void drop_raw(struct wlog *w, size_t number) {
    static const char *const kinds[] = { "txt", "idx" };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *path = log_segment_path(w->id, number, kinds[i]);
        if (path)
            (void)unlinkat(w->dir_fd, path, 0);
    }
}

static int load_sealed(struct wlog *w, size_t number, bool *there, osmo_error_t *err) {
    _cleanup_free_ char *path = log_segment_path(w->id, number, "zst");
    _cleanup_close_ int fd = -1;
    struct sealed s;
    int rc = open_path(w, path, O_RDONLY, &fd, err);
    *there = fd >= 0;
    if (rc < 0 || fd < 0)
        return rc;
    rc = sealed_footer(fd, &s, err);
    if (rc < 0)
        return osmo_error_prefix(err, "log of workflow %s", w->id);
    if (s.segment.first_record != w->records || s.segment.first_offset != w->text_size)
        return wlog_damaged(w, err);
    struct log_segment *g = wlog_segment_add(w);
    if (!g)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *g = s.segment;
    w->records += g->records;
    w->text_size += g->bytes;
    w->ended = s.ended;
    drop_raw(w, number);
    return 0;
}

/* The last sealed segment knows what all of them hold. */
static int load_attempts(struct wlog *w, size_t sealed, osmo_error_t *err) {
    _cleanup_free_ struct log_attempt *list = NULL;
    size_t n = 0;
    int rc = sealed ? wlog_sealed_attempts(w, sealed - 1, &list, &n, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (list[i].task >= w->tasks.len)
            return wlog_damaged(w, err);
        struct log_attempt *a = wlog_attempt(w, w->tasks.items[list[i].task], list[i].task, list[i].retry, true);
        if (!a)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        *a = list[i];
    }
    return rc;
}

/* ---- segments that are not sealed ---- */

struct scan { struct wlog *w; struct log_attempt *last; uint64_t text_bytes, idx_bytes; };

static int note(struct scan *s, struct log_segment *g, const struct log_record *r) {
    struct wlog *w = s->w;
    struct log_attempt *a = s->last;
    if (!a || a->task != r->task || a->retry != r->retry)
        a = s->last = wlog_attempt(w, w->tasks.items[r->task], r->task, r->retry, true);
    if (!a)
        return OSMO_ENOMEM;
    if (r->seq > a->seq)
        a->seq = r->seq;
    if (r->length && r->type < LOG_KINDS) {
        a->lines[r->type]++;
        g->lines[r->type]++;
    }
    if (r->time_us > g->latest_us)
        g->latest_us = r->time_us;
    g->records++;
    g->bytes += r->length;
    w->records++;
    w->text_size += r->length;
    return 0;
}

/* Does the record go on where the one before it stopped, within what the files hold? */
static bool fits(const struct scan *s, const struct log_segment *g, const struct log_record *r) {
    if (r->offset != s->w->text_size)
        return false;
    return r->type == LOG_RECORD_END || (r->length <= s->text_bytes - g->bytes && r->task < s->w->tasks.len);
}

/* Accepts whole records in order; stops at the first that is torn, or after the end record. */
static int scan(struct scan *s, struct log_segment *g, osmo_error_t *err) {
    struct wlog *w = s->w;
    _cleanup_free_ uint8_t *block = malloc(LOG_BATCH * LOG_RECORD_SIZE);
    if (!block)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (;;) {
        ssize_t got = pread(w->idx_fd, block, LOG_BATCH * LOG_RECORD_SIZE, (off_t)(g->records * LOG_RECORD_SIZE));
        if (got < 0)
            return wlog_failed(w, "read its index", err);
        size_t n = (size_t)got / LOG_RECORD_SIZE;
        for (size_t i = 0; i < n; i++) {
            struct log_record r;
            if (!log_record_unpack(block + i * LOG_RECORD_SIZE, &r) || !fits(s, g, &r))
                return 0;
            if (r.type == LOG_RECORD_END) {
                w->ended = true;
                return 0;
            }
            if (note(s, g, &r) < 0)
                return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
        if (n < LOG_BATCH)
            return 0;
    }
}

/* *torn: something was cut off, so what follows does not belong to it any more. */
static int repair(struct scan *s, const struct log_segment *g, bool *torn, osmo_error_t *err) {
    struct wlog *w = s->w;
    uint64_t keep = (g->records + w->ended) * LOG_RECORD_SIZE;
    *torn = s->idx_bytes > keep || s->text_bytes > g->bytes;
    if (s->idx_bytes > keep && ftruncate(w->idx_fd, (off_t)keep) != 0)
        return wlog_failed(w, "repair its index", err);
    if (s->text_bytes > g->bytes && ftruncate(w->text_fd, (off_t)g->bytes) != 0)
        return wlog_failed(w, "repair its text", err);
    return 0;
}

static int load_raw(struct wlog *w, size_t number, bool *there, bool *torn, osmo_error_t *err) {
    struct stat text, idx;
    int rc = wlog_open_raw(w, number, false, there, err);
    if (rc < 0 || !*there)
        return rc;
    if (fstat(w->text_fd, &text) != 0 || fstat(w->idx_fd, &idx) != 0)
        return wlog_failed(w, "look at its files", err);
    struct scan s = { .w = w, .text_bytes = (uint64_t)text.st_size, .idx_bytes = (uint64_t)idx.st_size };
    struct log_segment *g = wlog_segment_add(w);
    if (!g)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    rc = scan(&s, g, err);
    return rc == 0 ? repair(&s, g, torn, err) : rc;
}

/* Those behind one that was cut, and those behind the end: a machine that went down may have kept the later one only. */
static void drop_from(struct wlog *w, size_t number) {
    for (bool more = true; more; number++) {
        _cleanup_free_ char *sealed = log_segment_path(w->id, number, "zst");
        _cleanup_free_ char *text = log_segment_path(w->id, number, "txt");
        more = sealed && text && (faccessat(w->dir_fd, sealed, F_OK, 0) == 0 || faccessat(w->dir_fd, text, F_OK, 0) == 0);
        if (!more)
            break;
        (void)unlinkat(w->dir_fd, sealed, 0);
        drop_raw(w, number);
    }
}

/* ---- all of it ---- */

static int forget(struct wlog *w, osmo_error_t *err) {
    map_free(w->task_index);
    map_free(w->attempts);
    strlist_free(&w->tasks);
    log_view_close(&w->view);
    w->task_index = map_new(NULL);
    w->attempts = map_new(free);
    w->text_size = w->records = 0;
    w->nsegments = 0;
    w->ended = false;
    return w->task_index && w->attempts ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int load_segments(struct wlog *w, osmo_error_t *err) {
    bool there = true, torn = false;
    int rc = 0;
    while (rc == 0 && !w->ended && (rc = load_sealed(w, w->nsegments, &there, err)) == 0 && there)
        ;
    if (rc == 0)
        rc = load_attempts(w, w->nsegments, err);
    while (rc == 0 && !w->ended && !torn && (rc = load_raw(w, w->nsegments, &there, &torn, err)) == 0 && there)
        ;
    if (rc == 0 && w->nsegments && w->segments[w->nsegments - 1].sealed)
        close_raw(w);
    if (rc == 0 && torn)
        drop_from(w, w->nsegments);
    return rc;
}

/* The last segment, to be written to. */
static int open_last(struct wlog *w, bool create, osmo_error_t *err) {
    bool sealed = w->nsegments && w->segments[w->nsegments - 1].sealed, there = true;
    if (w->text_fd >= 0 || (w->ended && sealed) || (!create && (sealed || !w->nsegments)))
        return 0;
    bool new = !w->nsegments || sealed;
    if (new && !wlog_segment_add(w))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = wlog_open_raw(w, w->nsegments - 1, create, &there, err);
    if (rc < 0 && new)
        w->nsegments--;
    return rc < 0 || there ? rc : wlog_damaged(w, err);
}

int wlog_load(struct wlog *w, bool create, osmo_error_t *err) {
    if (!w->loaded) {
        wlog_close_files(w);
        int rc = forget(w, err);
        if (rc == 0)
            rc = load_tasks(w, err);
        if (rc == 0)
            rc = load_segments(w, err);
        if (rc < 0) {
            wlog_close_files(w);
            return rc;
        }
        w->loaded = w->nsegments > 0; /* what is not there may be made by others */
    }
    int rc = open_last(w, create, err);
    if (rc == 0 && create)
        w->loaded = true;
    return rc;
}
