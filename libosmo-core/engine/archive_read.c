/* Reading archived logs with the same filters, and the same bytes, as the log store gives. A reader walks the index in pieces
 * and fetches the stretches of text that match. See archive.h. Called by logs_stream.c and api/log_routes.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/archive.h"

#define RECORDS 1024        /* of the index at a time */
#define NAMES_PIECE (64u << 10)
#define TIMES_PIECE (64u << 10) /* of the text, to look at the times of lines */
#define TIME_LENGTH 19          /* "2026/03/01 09:30:00" */
#define TEXT_FILE_MAX (256u << 20)

struct archive_reader {
    object_store_t *store;
    object_reader_t *text, *index;
    char *id;
    int64_t task;           /* number; -1 = all, -2 = it never wrote */
    int64_t retry, last_n, scan_max;
    unsigned kinds;
    bool numbered;
    uint64_t from_line, line;    /* line: of those that match, how many are before `next` */
    int64_t since_s, now_s;      /* now_s: of the last line that told its time */
    char *times;                 /* a stretch of the text */
    uint64_t times_at, times_len;
    strlist_t names;             /* of tasks, for items */
    uint64_t records, text_size;
    uint64_t next, offset;  /* record to look at, and where its text begins */
    uint64_t skip;          /* bytes of what matches that were given before */
};

/* ---- opening ---- */

static int open_object(archive_reader_t *r, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err) {
    _cleanup_free_ char *path = archive_name(r->id, name);
    osmo_error_t cause = OSMO_ERROR_INIT;
    int rc = path ? object_get(r->store, path, out, size, &cause) : no_memory(&cause);
    if (rc != OSMO_ENOTFOUND)
        return rc < 0 ? osmo_error_set(err, rc, "the log of workflow %s is in the archive (" ARCHIVE_KEY "), which cannot be read now: %s",
                                       r->id, cause.text) : 0;
    return osmo_error_set(err, OSMO_EUNAVAIL, "the log of workflow %s was archived, but now: %s: bring it back, or point "
                                              ARCHIVE_KEY " to where the archive is now", r->id, cause.text);
}

/* Looks through the names for the one wanted; a name that lies across two pieces is looked at with the second. */
static int find_task(archive_reader_t *r, object_reader_t *names, const char *task, osmo_error_t *err) {
    _cleanup_free_ char *piece = malloc(NAMES_PIECE);
    size_t have = 0, len = strlen(task);
    uint64_t at = 0;
    int64_t number = 0;
    r->task = -2;
    if (!piece)
        return no_memory(err);
    for (;;) {
        ssize_t n = object_read(names, at, piece + have, NAMES_PIECE - have, err);
        if (n <= 0)
            return (int)n;
        at += (uint64_t)n;
        have += (size_t)n;
        char *p = piece, *nl;
        for (; (nl = memchr(p, '\n', have - (size_t)(p - piece))); p = nl + 1, number++) {
            if ((size_t)(nl - p) == len && memcmp(p, task, len) == 0) {
                r->task = number;
                return 0;
            }
        }
        have -= (size_t)(p - piece);
        memmove(piece, p, have);
        if (have == NAMES_PIECE)
            return osmo_error_set(err, OSMO_EIO, "the archived log of workflow %s has a broken list of tasks", r->id);
    }
}

static int open_all(archive_reader_t *r, const struct log_query *q, osmo_error_t *err) {
    object_reader_t *names = NULL;
    uint64_t size = 0;
    int rc = open_object(r, ARCHIVE_INDEX, &r->index, &size, err);
    r->records = size / ARCHIVE_RECORD_SIZE;
    if (rc >= 0)
        rc = open_object(r, ARCHIVE_LOG, &r->text, &r->text_size, err);
    if (rc >= 0 && q->task) {
        rc = open_object(r, ARCHIVE_TASKS, &names, &size, err);
        if (rc >= 0)
            rc = find_task(r, names, q->task, err);
        object_done(names);
    }
    return rc;
}

int archive_has_log(engine_t *e, const char *workflow_id, osmo_error_t *err) {
    static const struct log_query all = { .retry_id = -1 };
    archive_reader_t *r = NULL;
    int rc = archive_reader(e, workflow_id, &all, 0, &r, err);
    archive_reader_free(r);
    return rc;
}

int archive_reader(engine_t *e, const char *workflow_id, const struct log_query *q, uint64_t skip, archive_reader_t **out,
                   osmo_error_t *err) {
    archive_reader_t *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return no_memory(err);
    r->task = -1;
    r->retry = q->retry_id;
    r->last_n = q->last_n;
    r->scan_max = q->scan_max;
    r->kinds = q->error_only ? 1u << IO_STDERR : q->kinds;
    r->numbered = q->numbered;
    r->from_line = q->from_line;
    r->since_s = q->since_us ? q->since_us / 1000000 : INT64_MIN;
    r->now_s = INT64_MIN;
    r->skip = skip;
    r->id = str_dup(workflow_id);
    int rc = r->id ? archive_open(e, ARCHIVE_READ_MS, &r->store, err) : no_memory(err);
    if (rc == OSMO_EUNAVAIL)
        osmo_error_prefix(err, "the log of workflow %s was archived", workflow_id);
    if (rc >= 0)
        rc = open_all(r, q, err);
    if (rc < 0) {
        archive_reader_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void archive_reader_free(archive_reader_t *r) {
    if (!r)
        return;
    object_done(r->text);
    object_done(r->index);
    object_store_close(r->store);
    strlist_free(&r->names);
    free(r->times);
    free(r->id);
    free(r);
}

/* ---- reading ---- */

static bool wanted(const archive_reader_t *r, const struct archive_record *rec) {
    return (r->task == -1 || r->task == (int64_t)rec->task) && (r->retry < 0 || r->retry == (int64_t)rec->retry) &&
           rec->length && (!r->kinds || (rec->type < 32 && (r->kinds >> rec->type & 1)));
}

static int read_exactly(archive_reader_t *r, object_reader_t *from, uint64_t offset, void *data, size_t len, osmo_error_t *err) {
    char *p = data;
    while (len) {
        ssize_t n = object_read(from, offset, p, len, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return osmo_error_set(err, OSMO_EIO, "the archived log of workflow %s is shorter than its index says", r->id);
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int read_records(archive_reader_t *r, uint64_t first, size_t n, struct archive_record *out, osmo_error_t *err) {
    uint8_t raw[RECORDS * ARCHIVE_RECORD_SIZE];
    int rc = read_exactly(r, r->index, first * ARCHIVE_RECORD_SIZE, raw, n * ARCHIVE_RECORD_SIZE, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        archive_record_unpack(raw + i * ARCHIVE_RECORD_SIZE, &out[i]);
    return rc;
}

/* The index knows no times, but most lines begin with theirs; others belong to the one before. */
static int line_time(archive_reader_t *r, uint64_t offset, uint32_t length, osmo_error_t *err) {
    char text[TIME_LENGTH + 1];
    int64_t us;
    if (length < TIME_LENGTH)
        return 0;
    if (offset < r->times_at || offset + TIME_LENGTH > r->times_at + r->times_len) {
        if (!r->times && !(r->times = malloc(TIMES_PIECE)))
            return no_memory(err);
        uint64_t left = r->text_size > offset ? r->text_size - offset : 0;
        r->times_len = 0;
        int rc = read_exactly(r, r->text, offset, r->times, left < TIMES_PIECE ? (size_t)left : TIMES_PIECE, err);
        if (rc < 0)
            return rc;
        r->times_at = offset;
        r->times_len = left < TIMES_PIECE ? left : TIMES_PIECE;
    }
    if (offset + TIME_LENGTH > r->times_at + r->times_len)
        return 0;
    memcpy(text, r->times + (offset - r->times_at), TIME_LENGTH);
    text[TIME_LENGTH] = '\0';
    if (text[4] != '/' || text[7] != '/' || text[10] != ' ')
        return 0;
    text[4] = text[7] = '-';
    if (time_parse(text, &us))
        r->now_s = us / 1000000;
    return 0;
}

/* Is the line, which matches, handed out? 1, 0. */
static int is_given(archive_reader_t *r, const struct archive_record *rec, osmo_error_t *err) {
    if (r->line + 1 < r->from_line)
        return 0;
    if (r->since_s == INT64_MIN)
        return 1;
    int rc = line_time(r, r->offset, rec->length, err);
    return rc < 0 ? rc : r->now_s >= r->since_s;
}

/* How many match before the record `to`? */
static int count_lines(archive_reader_t *r, uint64_t to, osmo_error_t *err) {
    struct archive_record batch[RECORDS];
    for (uint64_t at = 0; at < to;) {
        size_t n = to - at < RECORDS ? (size_t)(to - at) : RECORDS;
        int rc = read_records(r, at, n, batch, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < n; i++)
            r->line += wanted(r, &batch[i]);
        at += n;
    }
    return 0;
}

/* From the end backwards until last_n entries match. */
static int find_start(archive_reader_t *r, osmo_error_t *err) {
    struct archive_record batch[RECORDS];
    uint64_t at = r->records, offset = r->text_size;
    uint64_t stop = r->scan_max > 0 && at > (uint64_t)r->scan_max ? at - (uint64_t)r->scan_max : 0;
    int64_t left = r->last_n;
    while (at > stop && left) {
        size_t n = at - stop < RECORDS ? (size_t)(at - stop) : RECORDS;
        int rc = read_records(r, at - n, n, batch, err);
        if (rc < 0)
            return rc;
        for (; n && left; n--) {
            left -= wanted(r, &batch[n - 1]);
            if (offset < batch[n - 1].length)
                return osmo_error_set(err, OSMO_EIO, "the archived log of workflow %s is shorter than its index says", r->id);
            offset -= batch[n - 1].length;
            at--;
        }
    }
    r->next = at;
    r->offset = offset;
    r->last_n = 0;
    return r->numbered ? count_lines(r, at, err) : 0;
}

struct span {
    uint64_t from, len;
};

static int fetch(archive_reader_t *r, const struct span *s, buf_t *out, osmo_error_t *err) {
    if (!s->len)
        return 0;
    if (buf_reserve(out, (size_t)s->len) < 0)
        return osmo_error_set(err, out->code, "the log of workflow %s: an entry does not fit into the reader's buffer", r->id);
    int rc = read_exactly(r, r->text, s->from, out->data + out->len, (size_t)s->len, err);
    if (rc < 0)
        return rc;
    out->len += (size_t)s->len;
    out->data[out->len] = '\0';
    return 0;
}

/* What a read hands out: text, and what each entry is where that is asked for. */
struct given { buf_t *out; size_t before, enough; struct log_item *items; size_t n; };

static bool is_full(const struct given *g, size_t have, size_t len) {
    return (have > g->before && have + len > g->enough) || (g->items && g->n == LOG_ITEMS_MAX); /* the first one always fits */
}

static void add_item(archive_reader_t *r, struct given *g, const struct archive_record *rec, uint64_t len) {
    if (!g->items || !len)
        return;
    struct log_item *i = &g->items[g->n++];
    *i = (struct log_item){ .retry_id = rec->retry, .type = (enum io_type)rec->type, .length = (size_t)len, .line = r->line };
    snprintf(i->task, sizeof i->task, "%s", rec->task < r->names.len ? r->names.items[rec->task] : "");
}

/* Takes what matches of a batch. Neighbouring entries are fetched with one call. 1 when there is enough. */
static int take_batch(archive_reader_t *r, const struct archive_record *batch, size_t n, struct given *g, osmo_error_t *err) {
    struct span s = { 0, 0 };
    int rc = 0, full = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t from = r->offset, len = batch[i].length;
        bool matches = wanted(r, &batch[i]);
        int given = matches ? is_given(r, &batch[i], err) : 0;
        if (given < 0)
            return given;
        full = given && is_full(g, g->out->len + (size_t)s.len, (size_t)len);
        if (full)
            break;
        r->next++;
        r->offset += len;
        r->line += matches;
        if (!given)
            continue;
        uint64_t skipped = r->skip < len ? r->skip : len;
        r->skip -= skipped;
        from += skipped;
        len -= skipped;
        if (s.len && s.from + s.len != from) {
            rc = fetch(r, &s, g->out, err);
            if (rc < 0)
                return rc;
            s.len = 0;
        }
        if (!s.len)
            s.from = from;
        s.len += len;
        add_item(r, g, &batch[i], len);
    }
    rc = fetch(r, &s, g->out, err);
    return rc < 0 ? rc : full;
}

static int read_some(archive_reader_t *r, struct given *g, osmo_error_t *err) {
    struct archive_record batch[RECORDS];
    int rc = r->last_n > 0 ? find_start(r, err) : 0;
    while (rc == 0 && r->next < r->records) {
        size_t n = r->records - r->next < RECORDS ? (size_t)(r->records - r->next) : RECORDS;
        rc = read_records(r, r->next, n, batch, err);
        if (rc >= 0)
            rc = take_batch(r, batch, n, g, err);
    }
    if (rc < 0)
        return rc;
    return g->out->len > g->before ? 0 : osmo_error_set(err, OSMO_EGONE, "end of the log of workflow %s", r->id);
}

int archive_reader_read(archive_reader_t *r, buf_t *out, size_t max, osmo_error_t *err) {
    struct given g = { .out = out, .before = out->len, .enough = out->len + max };
    int rc = read_some(r, &g, err);
    return rc < 0 ? rc : (int)(out->len - g.before);
}

static int load_names(archive_reader_t *r, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(TEXT_FILE_MAX);
    object_reader_t *names = NULL;
    uint64_t size = 0;
    int rc = open_object(r, ARCHIVE_TASKS, &names, &size, err);
    if (rc >= 0 && buf_reserve(&text, (size_t)size + 1) < 0)
        rc = no_memory(err);
    if (rc >= 0)
        rc = read_exactly(r, names, 0, text.data, (size_t)size, err);
    object_done(names);
    char *p = text.data, *end = p + size, *nl;
    while (rc >= 0 && p < end && (nl = memchr(p, '\n', (size_t)(end - p)))) {
        *nl = '\0';
        rc = strlist_add(&r->names, p);
        p = nl + 1;
    }
    return rc == OSMO_ENOMEM ? no_memory(err) : rc;
}

int archive_reader_items(archive_reader_t *r, buf_t *out, size_t max, struct log_item *items, osmo_error_t *err) {
    struct given g = { .out = out, .before = out->len, .enough = out->len + max, .items = items };
    int rc = r->names.len ? 0 : load_names(r, err);
    if (rc >= 0)
        rc = read_some(r, &g, err);
    return rc < 0 ? rc : (int)g.n;
}

/* ---- small objects ---- */

int archive_text(engine_t *e, const char *workflow_id, const char *name, buf_t *out, osmo_error_t *err) {
    _cleanup_free_ char *path = archive_name(workflow_id, name);
    object_store_t *store = NULL;
    object_reader_t *r = NULL;
    uint64_t size = 0;
    int rc = path ? archive_open(e, ARCHIVE_READ_MS, &store, err) : no_memory(err);
    if (rc >= 0)
        rc = object_get(store, path, &r, &size, err);
    if (rc >= 0 && (size > TEXT_FILE_MAX || buf_reserve(out, (size_t)size + 1) < 0))
        rc = osmo_error_set(err, OSMO_ELIMIT, "%s of workflow %s is too large to be shown", name, workflow_id);
    for (uint64_t at = 0; rc >= 0 && at < size;) {
        ssize_t n = object_read(r, at, out->data + out->len, (size_t)(size - at), err);
        if (n <= 0) {
            rc = (int)n;
            break;
        }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        at += (uint64_t)n;
    }
    object_done(r);
    object_store_close(store);
    return rc < 0 ? rc : 0;
}
