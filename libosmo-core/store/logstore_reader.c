/* Reading a log: a position in the index, filters over records, whole entries handed out. A reader holds
 * nothing between two reads, so any number of followers costs memory only. One reader belongs to one thread at
 * a time. */
#include "store/logstore_int.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 512

struct log_reader {
    logstore_t *store;
    char *id, *task;       /* task NULL: all */
    int64_t retry, last_n, scan_max; /* last_n > 0: the start is still to be found */
    bool error_only;
    uint64_t next;         /* record to look at */
};

int logstore_reader(logstore_t *s, const char *workflow_id, const struct log_query *q, log_reader_t **out,
                    osmo_error_t *err) {
    *out = NULL;
    int rc = logstore_check_id(workflow_id, err);
    if (rc < 0)
        return rc;
    log_reader_t *r = calloc(1, sizeof(*r));
    if (r) {
        *r = (log_reader_t){ .store = s, .id = str_dup(workflow_id), .task = q ? str_dup(q->task) : NULL,
                             .retry = q ? q->retry_id : -1,
                             
                             .last_n = q ? q->last_n : 0, .scan_max = q ? q->scan_max : 0,
                             .error_only = q && q->error_only };
    }
    if (!r || !r->id || (q && q->task && !r->task)) {
        log_reader_free(r);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = r;
    return 0;
}

void log_reader_free(log_reader_t *r) {
    if (!r)
        return;
    free(r->id);
    free(r->task);
    free(r);
}

static bool matches(const log_reader_t *r, const struct log_record *rec, int64_t task) {
    if (rec->length == 0 || (r->task && rec->task != task) || (r->retry >= 0 && rec->retry != r->retry))
        return false;
    return !r->error_only || rec->type == IO_STDERR;
}

/* From the end backwards until last_n entries match. */
static int find_start(log_reader_t *r, struct wlog *w, int64_t task, osmo_error_t *err) {
    struct log_record batch[BATCH];
    uint64_t at = w->records;
    uint64_t stop = r->scan_max > 0 && at > (uint64_t)r->scan_max ? at - (uint64_t)r->scan_max : 0;
    int64_t left = r->last_n;
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
            left -= matches(r, &batch[at - first], task);
        }
    }
    r->next = at;
    r->last_n = 0;
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

/* Neighbouring entries are read with one call. 1 when the next entry would exceed `enough` (the first one may). */
static int take_batch(log_reader_t *r, struct wlog *w, int64_t task, const struct log_record *batch, size_t n,
                      buf_t *out, size_t before, size_t enough, osmo_error_t *err) {
    struct span span = { 0, 0 };
    size_t i = 0;
    bool full = false;
    for (; i < n; i++) {
        size_t have = out->len + (size_t)span.len;
        if (!matches(r, &batch[i], task))
            continue;
        full = have > before && have + batch[i].length > enough;
        if (full)
            break;
        if (span.len && batch[i].offset != span.from + span.len) {
            int rc = read_text(w, span.from, span.len, out, err);
            if (rc < 0)
                return rc;
            span.len = 0;
        }
        if (!span.len)
            span.from = batch[i].offset;
        span.len += batch[i].length;
    }
    int rc = span.len ? read_text(w, span.from, span.len, out, err) : 0;
    r->next += i;
    return rc < 0 ? rc : full;
}

static int read_held(log_reader_t *r, struct wlog *w, buf_t *out, size_t max, osmo_error_t *err) {
    struct log_record batch[BATCH];
    size_t before = out->len, n = 0;
    int64_t task = r->task ? wlog_task_index(w, r->task) : -1;
    int rc = r->last_n > 0 ? find_start(r, w, task, err) : 0;
    while (rc == 0 && out->len - before < max) {
        rc = wlog_records(w, r->next, BATCH, batch, &n, err);
        if (rc < 0 || n == 0)
            break;
        rc = take_batch(r, w, task, batch, n, out, before, before + max, err);
    }
    if (rc < 0)
        return rc;
    if (out->len > before)
        return (int)(out->len - before);
    return w->ended && r->next >= w->records ? OSMO_EGONE : 0;
}

int log_reader_read(log_reader_t *r, buf_t *out, size_t max, osmo_error_t *err) {
    struct wlog *w = NULL;
    int rc = logstore_hold(r->store, r->id, false, &w, err);
    if (rc < 0)
        return rc;
    uint64_t next = r->next;
    int64_t last_n = r->last_n;
    size_t before = out->len;
    rc = read_held(r, w, out, max ? max : 1, err);
    logstore_let_go(r->store, w);
    if (rc < 0 && rc != OSMO_EGONE) { /* a failed read hands out nothing and moves nothing */
        r->next = next;
        r->last_n = last_n;
        buf_truncate(out, before);
    }
    if (rc == OSMO_EGONE)
        osmo_error_set(err, rc, "end of the log of workflow %s", r->id);
    return rc;
}
