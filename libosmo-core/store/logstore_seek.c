/* Where a reader begins: so many lines before the end, at a line by its number, or at a time. Whole segments are passed by what is known of
 * them, blocks of a sealed one by its tables, and only then records are looked at. See logstore_file.h. */
#include "store/logstore_file.h"
#include <stdlib.h>
#include "base/cleanup.h"

struct seek { log_reader_t *r; struct wlog *w; int64_t task; };

static bool counts_kind(const log_reader_t *r, int kind) { return !r->kinds || (r->kinds >> kind & 1); }

static uint64_t of_kinds(const log_reader_t *r, const uint64_t lines[LOG_KINDS]) {
    uint64_t n = 0;
    for (int i = 0; i < LOG_KINDS; i++)
        n += counts_kind(r, i) ? lines[i] : 0;
    return n;
}

static uint64_t of_attempt(const struct seek *s, const struct log_attempt *a) {
    bool wanted = (!s->r->task || (int64_t)a->task == s->task) && (s->r->retry < 0 || a->retry == s->r->retry);
    return wanted ? of_kinds(s->r, a->lines) : 0;
}

static uint64_t of_log(const struct seek *s) {
    const char *key;
    void *value;
    uint64_t n = 0;
    for (size_t it = 0; map_next(s->w->attempts, &it, &key, &value);)
        n += of_attempt(s, value);
    return n;
}

static bool by_attempt(const struct seek *s) { return s->r->task || s->r->retry >= 0; }

/* Goes over the records from the place on, up to record `to`, until `lines` are behind it and the next one is wanted. */
static int pass(const struct seek *s, uint64_t lines, uint64_t to, osmo_error_t *err) {
    struct log_record batch[LOG_BATCH];
    struct log_place *p = &s->r->place;
    while (p->next < to) {
        size_t n, max = to - p->next < LOG_BATCH ? (size_t)(to - p->next) : LOG_BATCH;
        int rc = wlog_records(s->w, p->next, max, batch, &n, err);
        if (rc < 0 || n == 0)
            return rc < 0 ? rc : wlog_damaged(s->w, err);
        for (size_t i = 0; i < n; i++) {
            bool wanted = log_reader_wants(s->r, &batch[i], s->task);
            if (wanted && p->line == lines)
                return 0;
            p->line += wanted;
            p->next++;
        }
    }
    return 0;
}

static int of_sealed(const struct seek *s, size_t segment, uint64_t *out, osmo_error_t *err) {
    _cleanup_free_ struct log_attempt *list = NULL;
    size_t n;
    int rc = wlog_sealed_attempts(s->w, segment, &list, &n, err);
    *out = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        *out += of_attempt(s, &list[i]);
    return rc;
}

/* The place is the beginning of the segment afterwards. */
static int to_segment(const struct seek *s, size_t segment, osmo_error_t *err) {
    struct log_place *p = &s->r->place;
    size_t known = segment;
    int rc = 0;
    p->line = 0;
    if (!by_attempt(s)) {
        for (size_t i = 0; i < segment; i++)
            p->line += of_kinds(s->r, s->w->segments[i].lines);
    } else {
        while (known && !s->w->segments[known - 1].sealed)
            known--;
        rc = known ? of_sealed(s, known - 1, &p->line, err) : 0;
    }
    p->next = known < s->w->nsegments ? s->w->segments[known].first_record : s->w->records;
    return rc == 0 && known < segment ? pass(s, UINT64_MAX, s->w->segments[segment].first_record, err) : rc;
}

/* In a sealed segment at the beginning of which the place is: to the block with the line, or the one where the time begins. */
static int to_block(const struct seek *s, size_t segment, uint64_t lines, osmo_error_t *err) {
    const struct log_segment *g = &s->w->segments[segment];
    struct log_place *p = &s->r->place;
    const struct sealed *t;
    uint32_t block = 0;
    uint64_t before = 0;
    if (!g->sealed || by_attempt(s))
        return 0;
    int rc = wlog_tables(s->w, segment, &t, err);
    for (uint32_t i = 1; rc == 0 && i < t->n_index; i++) {
        uint64_t n = 0;
        for (int k = 0; k < LOG_KINDS; k++)
            n += counts_kind(s->r, k) ? t->index[i].lines_before[k] : 0;
        if (p->line + n > lines || (lines == UINT64_MAX && log_second(t->index[i - 1].latest_us) >= s->r->since_s))
            break;
        block = i;
        before = n;
    }
    if (rc < 0)
        return rc;
    p->line += before;
    p->next += (uint64_t)block * t->block_entries;
    return 0;
}

/* The segment that holds the line with so many before it, which exists. */
static int segment_of_line(const struct seek *s, uint64_t lines, size_t *out, osmo_error_t *err) {
    struct wlog *w = s->w;
    size_t low = 0, high = 0;
    uint64_t n = 0;
    int rc = 0;
    if (!by_attempt(s)) {
        for (low = 0; low + 1 < w->nsegments && (n += of_kinds(s->r, w->segments[low].lines)) <= lines; low++)
            ;
        *out = low;
        return 0;
    }
    while (high < w->nsegments && w->segments[high].sealed)
        high++;
    while (rc == 0 && low < high) {
        size_t middle = low + (high - low) / 2;
        rc = of_sealed(s, middle, &n, err);
        if (n > lines)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low < w->nsegments ? low : w->nsegments - 1;
    return rc;
}

static int to_line(const struct seek *s, uint64_t lines, osmo_error_t *err) {
    struct log_place *p = &s->r->place;
    uint64_t all = of_log(s);
    size_t segment;
    if (lines >= all) { /* it is still to come */
        p->next = s->w->records;
        p->line = all;
        return 0;
    }
    int rc = segment_of_line(s, lines, &segment, err);
    if (rc == 0)
        rc = to_segment(s, segment, err);
    if (rc == 0)
        rc = to_block(s, segment, lines, err);
    return rc == 0 ? pass(s, lines, s->w->records, err) : rc;
}

static int to_time(const struct seek *s, osmo_error_t *err) {
    size_t segment = 0;
    while (segment + 1 < s->w->nsegments && log_second(s->w->segments[segment].latest_us) < s->r->since_s)
        segment++;
    int rc = to_segment(s, segment, err);
    return rc == 0 ? to_block(s, segment, UINT64_MAX, err) : rc;
}

/* From the end backwards until `left` entries match. */
static int to_last(const struct seek *s, int64_t left, osmo_error_t *err) {
    struct log_record batch[LOG_BATCH];
    log_reader_t *r = s->r;
    uint64_t at = s->w->records, line = of_log(s);
    uint64_t stop = r->scan_max > 0 && at > (uint64_t)r->scan_max ? at - (uint64_t)r->scan_max : 0;
    while (at > stop && left) {
        uint64_t first = at - stop > LOG_BATCH ? at - LOG_BATCH : stop;
        size_t n = 0;
        int rc = 0;
        for (uint64_t from = first; rc == 0 && from < at; from += n) { /* where a segment or block ends, in two pieces */
            rc = wlog_records(s->w, from, (size_t)(at - from), batch + (from - first), &n, err);
            if (rc == 0 && n == 0)
                rc = wlog_damaged(s->w, err);
        }
        if (rc < 0)
            return rc;
        while (at > first && left) {
            bool wanted = log_reader_wants(r, &batch[--at - first], s->task);
            left -= wanted;
            line -= wanted;
        }
    }
    r->place.next = at;
    r->place.line = line;
    return 0;
}

int wlog_find_start(log_reader_t *r, struct wlog *w, int64_t task, osmo_error_t *err) {
    struct seek s = { r, w, task };
    int rc = 0;
    if (!w->nsegments)
        ; /* all of it is still to come */
    else if (r->place.last_n > 0)
        rc = to_last(&s, r->place.last_n, err);
    else if (r->place.from_line > 1)
        rc = to_line(&s, r->place.from_line - 1, err);
    else if (r->since_s != INT64_MIN)
        rc = to_time(&s, err);
    r->place.started = rc == 0;
    return rc;
}
