/* Reading segments: a position in the index, filters over records, whole entries handed out. Called through the
 * driver's table by logstore_reader.c. */
#include "store/logstore_file.h"

struct span { uint64_t from, len; };

static int take_span(struct wlog *w, struct span *span, struct log_taken *t, osmo_error_t *err) {
    int rc = span->len ? wlog_text(w, span->from, span->len, t->out, err) : 0;
    span->len = 0;
    return rc;
}

/* Neighbouring entries are read with one call. 1 when the next entry would exceed `enough` (the first one may), or there
 * is no room to describe it. */
static int take_batch(log_reader_t *r, struct wlog *w, int64_t task, const struct log_record *batch, size_t n,
                      struct log_taken *t, osmo_error_t *err) {
    struct log_place *p = &r->place;
    struct span span = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        bool wanted = log_reader_wants(r, &batch[i], task);
        bool given = wanted && p->line + 1 >= p->from_line && log_reader_is_late_enough(r, &batch[i]);
        if (given && log_taken_is_full(t, t->out->len + (size_t)span.len, batch[i].length)) {
            int rc = take_span(w, &span, t, err);
            return rc < 0 ? rc : 1;
        }
        p->next++;
        p->line += wanted;
        if (!given)
            continue;
        if (span.len && batch[i].offset != span.from + span.len) {
            int rc = take_span(w, &span, t, err);
            if (rc < 0)
                return rc;
        }
        if (!span.len)
            span.from = batch[i].offset;
        span.len += batch[i].length;
        log_taken_add(t, &batch[i], p->line, &w->tasks);
    }
    return take_span(w, &span, t, err);
}

static int read_held(log_reader_t *r, struct wlog *w, struct log_taken *t, osmo_error_t *err) {
    struct log_record batch[LOG_BATCH];
    size_t n = 0;
    int64_t task = r->task ? wlog_task_index(w, r->task) : -1;
    int rc = r->place.started ? 0 : wlog_find_start(r, w, task, err);
    while (rc == 0 && t->out->len < t->enough) {
        rc = wlog_records(w, r->place.next, LOG_BATCH, batch, &n, err);
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
    r->none = w->nsegments == 0;
    rc = read_held(r, w, t, err);
    log_files_let_go(s, w);
    return rc;
}
