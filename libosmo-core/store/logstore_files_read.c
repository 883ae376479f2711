/* Reading segment files: a position in the index, filters over records, whole entries handed out. Called through the
 * driver's table by logstore_reader.c. */
#include "store/logstore_file.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BATCH 512

/* From the end backwards until last_n entries match. */
static int find_start(log_reader_t *r, struct wlog *w, int64_t task, osmo_error_t *err) {
    struct log_record batch[BATCH];
    uint64_t at = w->records;
    uint64_t stop = r->scan_max > 0 && at > (uint64_t)r->scan_max ? at - (uint64_t)r->scan_max : 0;
    int64_t left = r->place.last_n;
    while (at > stop && left) {
        uint64_t first = at - stop > BATCH ? at - BATCH : stop;
        size_t n;
        int rc = wlog_records(w, first, (size_t)(at - first), batch, &n, err);
        if (rc < 0)
            return rc;
        if (n != at - first)
            return osmo_error_set(err, OSMO_EIO, "log of workflow %s: its index is shorter than expected", w->id);
        while (at > first && left) {
            at--;
            left -= log_reader_wants(r, &batch[at - first], task);
        }
    }
    r->place.next = at;
    r->place.last_n = 0;
    return 0;
}

static int read_text(struct wlog *w, uint64_t offset, uint64_t len, buf_t *out, osmo_error_t *err) {
    if (buf_reserve(out, (size_t)len) < 0)
        return osmo_error_set(err, out->code, "log of workflow %s: an entry does not fit into the reader's "
                                              "buffer", w->id);
    while (len) {
        ssize_t n = pread(w->text_fd, out->data + out->len, (size_t)len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return osmo_error_set(err, OSMO_EIO, "log of workflow %s: cannot read its text: %s", w->id,
                                  n ? strerror(errno) : "it is too short");
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

struct span { uint64_t from, len; };

/* Neighbouring entries are read with one call. 1 when the next entry would exceed `enough` (the first one may), or there
 * is no room to describe it. */
static int take_batch(log_reader_t *r, struct wlog *w, int64_t task, const struct log_record *batch, size_t n,
                      struct log_taken *t, osmo_error_t *err) {
    struct span span = { 0, 0 };
    size_t i = 0;
    bool full = false;
    for (; i < n; i++) {
        size_t have = t->out->len + (size_t)span.len;
        if (!log_reader_wants(r, &batch[i], task))
            continue;
        full = log_taken_is_full(t, have, batch[i].length);
        if (full)
            break;
        if (span.len && batch[i].offset != span.from + span.len) {
            int rc = read_text(w, span.from, span.len, t->out, err);
            if (rc < 0)
                return rc;
            span.len = 0;
        }
        if (!span.len)
            span.from = batch[i].offset;
        span.len += batch[i].length;
        log_taken_add(t, &batch[i], &w->tasks);
    }
    int rc = span.len ? read_text(w, span.from, span.len, t->out, err) : 0;
    r->place.next += i;
    return rc < 0 ? rc : full;
}

static int read_held(log_reader_t *r, struct wlog *w, struct log_taken *t, osmo_error_t *err) {
    struct log_record batch[BATCH];
    size_t n = 0;
    int64_t task = r->task ? wlog_task_index(w, r->task) : -1;
    int rc = r->place.last_n > 0 ? find_start(r, w, task, err) : 0;
    while (rc == 0 && t->out->len < t->enough) {
        rc = wlog_records(w, r->place.next, BATCH, batch, &n, err);
        if (rc < 0 || n == 0)
            break;
        rc = take_batch(r, w, task, batch, n, t, err);
    }
    if (rc < 0)
        return rc;
    if (t->n)
        return 0;
    return w->ended && r->place.next >= w->records ? OSMO_EGONE : 0;
}

int log_files_read(log_reader_t *r, struct log_taken *t, osmo_error_t *err) {
    struct log_files *s = (struct log_files *)r->store;
    struct wlog *w = NULL;
    int rc = log_files_hold(s, r->id, false, &w, err);
    if (rc < 0)
        return rc;
    r->none = w->idx_fd < 0;
    rc = read_held(r, w, t, err);
    log_files_let_go(s, w);
    return rc;
}
