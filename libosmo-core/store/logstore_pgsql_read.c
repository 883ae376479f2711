/* Reading chunks. A reader knows the number of the entry it wants next and where its text begins, so one indexed query
 * brings the log's row and what follows in the chunks: slices of text and of records, never more than is asked for. With
 * filters the records come alone first, and the text from the first entry that is wanted. */
#include "store/logstore_pgsql.h"
#include <stdlib.h>
#include <string.h>

#define LOOK_MAX 8192         /* entries of one query */
#define SLICE_MAX (1u << 20)  /* of text of one query, unless one entry alone is longer */
#define SLICE_MIN (4u << 10)
#define LOOK_MIN 256
#define SPARSE_MAX 16         /* at most so much more of text than is asked for, as some of it is not wanted */
#define LINE_SHORT 50         /* few lines are shorter: so many more records than text come along */
#define LINE_LONG 160         /* few are longer: so much text is enough for so many items */

/* What every query says of the log. */
struct view { bool there, other /* than the one that was read so far */; int64_t log_id, entries, ended, task; };

#define VIEW "s.log_id, s.entries, s.ended, COALESCE((SELECT a.task_no FROM log_attempts a" \
    " WHERE a.log_id = s.log_id AND a.task = ? LIMIT 1), -1)"
/* The chunk that holds the reader's place, and those that end not too many entries behind it. Both ends of both are given,
 * so that whatever way the server thinks best it looks at no more chunks than could be handed out. */
#define CHUNK "SELECT l.first_entry, l.first_offset, l.end_entry, l.body, l.entries FROM log_chunks l" \
    " WHERE l.log_id = s.log_id AND l.end_entry > ? AND l.end_entry <= ?"
#define WINDOW " ((" CHUNK " ORDER BY l.end_entry LIMIT 1) UNION ALL (" CHUNK " AND l.first_entry > ?)) w"
#define WINDOW_ARGS(next, many) DB_I(next), DB_I((next) + LOG_CHUNK_ENTRIES_MAX), DB_I(next), DB_I((next) + (many)), DB_I(next)
#define RECORDS \
    " substring(w.entries, CAST(GREATEST(? - w.first_entry, 0) * " LOG_PACKED_SIZE_SQL " AS INT) + 1," \
    " CAST(? AS INT) * " LOG_PACKED_SIZE_SQL ") AS entries"

static const char view_sql[] = "SELECT " VIEW " FROM log_state s WHERE s.workflow_id = ?";

static const char look_sql[] =
    "SELECT " VIEW ", c.first_entry, c.first_offset, c.entries, NULL FROM log_state s LEFT JOIN LATERAL"
    " (SELECT w.end_entry, w.first_entry, w.first_offset," RECORDS " FROM" WINDOW ") c ON TRUE"
    " WHERE s.workflow_id = ? ORDER BY c.end_entry";

static const char text_sql[] =
    "SELECT " VIEW ", c.first_entry, c.first_offset, c.entries, c.body FROM log_state s LEFT JOIN LATERAL"
    " (SELECT w.end_entry, w.first_entry, w.first_offset," RECORDS ","
    " substring(w.body, CAST(GREATEST(? - w.first_offset, 0) AS INT) + 1,"
    " CAST(LEAST(CAST(? AS BIGINT), ? - w.first_offset) AS INT)) AS body FROM" WINDOW
    " WHERE w.first_offset < ?) c ON TRUE WHERE s.workflow_id = ? ORDER BY c.end_entry";

/* A log of the same name that is another one is read from its beginning. */
static void read_view(log_reader_t *r, db_rows_t *rows, struct view *v) {
    *v = (struct view){ true, false, db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3) };
    if (r->log_id == v->log_id)
        return;
    if (r->log_id) {
        v->other = true;
        r->place = (struct log_place){ .started = true };
        strlist_free(&r->tasks);
    }
    r->log_id = v->log_id;
}

static int damaged(const log_reader_t *r, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: its chunks do not fit together", r->id);
}

/* ---- the names of tasks, for those who copy a log ---- */

static int load_tasks(log_reader_t *r, db_t *db, osmo_error_t *err) {
    static const char sql[] = "SELECT task_no, MIN(task) FROM log_attempts WHERE log_id = ? GROUP BY task_no"
                              " ORDER BY task_no";
    _cleanup_rows_ db_rows_t *rows = NULL;
    strlist_free(&r->tasks);
    int rc = db_query(db, sql, DB_ARGS(DB_I(r->log_id)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        while (rc >= 0 && r->tasks.len <= (size_t)db_int(rows, 0)) /* a number that was given to nobody: no name */
            rc = strlist_add(&r->tasks, r->tasks.len == (size_t)db_int(rows, 0) ? db_text(rows, 1) : "");
        if (rc < 0)
            return osmo_error_set(err, rc, "out of memory");
    }
    return rc < 0 ? rc : 0;
}

/* ---- going forward ---- */

/* Why the entries of a query came to their end. */
enum stop { STOP_OUT /* of entries */, STOP_FULL, STOP_CUT /* the next one's text is not whole here */ };

struct slice { const uint8_t *records; size_t n; const char *text; size_t bytes; };

static void pass(log_reader_t *r, const struct log_record *rec, bool wanted) {
    r->place.next++;
    r->place.offset += rec->length;
    r->place.line += wanted;
}

static bool is_given(const log_reader_t *r, const struct log_record *rec) {
    return r->place.line + 1 >= r->place.from_line && log_reader_is_late_enough(r, rec);
}

/* Stops at the first entry that is wanted and handed out, or at entry `until`. */
static bool skip(log_reader_t *r, const struct view *v, const struct slice *c, uint64_t until) {
    for (size_t i = 0; i < c->n; i++) {
        struct log_record rec = log_record_unpack_short(c->records + i * LOG_PACKED_SIZE);
        bool wanted = log_reader_wants(r, &rec, v->task);
        if (r->place.next == until || (until == UINT64_MAX && wanted && is_given(r, &rec)))
            return true;
        pass(r, &rec, wanted);
    }
    return false;
}

struct forward { db_t *db; struct view view; enum stop why; size_t length; /* of the entry that stopped it */ };

static int hand_out(log_reader_t *r, db_t *db, const struct log_record *rec, const char *text, struct log_taken *t,
                    osmo_error_t *err) {
    int rc = t->items && rec->task >= r->tasks.len ? load_tasks(r, db, err) : 0;
    if (rc < 0)
        return rc;
    if (buf_append(t->out, text, rec->length) < 0)
        return osmo_error_set(err, t->out->code, "log of workflow %s: an entry does not fit into the reader's buffer",
                              r->id);
    log_taken_add(t, rec, r->place.line + 1, &r->tasks);
    return 0;
}

static int take(log_reader_t *r, struct forward *f, const struct slice *c, struct log_taken *t, osmo_error_t *err) {
    size_t at = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct log_record rec = log_record_unpack_short(c->records + i * LOG_PACKED_SIZE);
        bool wanted = log_reader_wants(r, &rec, f->view.task);
        if (wanted && is_given(r, &rec)) {
            f->length = rec.length;
            f->why = log_taken_is_full(t, t->out->len, rec.length) ? STOP_FULL
                : at + rec.length > c->bytes ? STOP_CUT : STOP_OUT;
            if (f->why != STOP_OUT)
                return 0;
            int rc = hand_out(r, f->db, &rec, c->text + at, t, err);
            if (rc < 0)
                return rc;
        }
        at += rec.length;
        pass(r, &rec, wanted);
    }
    return 0;
}

/* The slice of the row's chunk that begins at the reader's place. */
static int read_slice(log_reader_t *r, db_rows_t *rows, struct slice *c, buf_t *records, osmo_error_t *err) {
    uint64_t first = (uint64_t)db_int(rows, 4), offset = (uint64_t)db_int(rows, 5);
    size_t bytes;
    const void *packed = db_blob(rows, 6, &bytes); /* gone with the next blob */
    buf_reset(records);
    if (buf_append(records, packed, bytes) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (first > r->place.next || offset > r->place.offset)
        return damaged(r, err);
    *c = (struct slice){ .records = (const uint8_t *)records->data, .n = bytes / LOG_PACKED_SIZE };
    if (!db_is_null(rows, 7))
        c->text = db_blob(rows, 7, &c->bytes);
    return 0;
}

/* One query without text. *found: the reader's place is an entry that is wanted, or the one to be reached. */
static int look(log_reader_t *r, struct forward *f, int64_t many, uint64_t until, bool *found, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    _cleanup_buf_ buf_t records = BUF_INIT(SLICE_MAX);
    struct view *v = &f->view;
    int64_t next = (int64_t)r->place.next;
    int rc = db_query(f->db, look_sql, DB_ARGS(DB_T(r->task), DB_I(next), DB_I(many), WINDOW_ARGS(next, many), DB_T(r->id)),
                      &rows, err);
    *v = (struct view){ 0 };
    *found = false;
    while (rc >= 0 && !*found && (rc = db_next(rows, err)) == 1) {
        struct slice c;
        read_view(r, rows, v);
        if (v->other || db_is_null(rows, 4))
            break;
        rc = read_slice(r, rows, &c, &records, err);
        if (rc >= 0)
            *found = skip(r, v, &c, until);
    }
    return rc < 0 ? rc : 0;
}

/* One query with up to `want` bytes of text. */
static int fetch(log_reader_t *r, struct forward *f, size_t want, struct log_taken *t, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    _cleanup_buf_ buf_t records = BUF_INIT(SLICE_MAX);
    struct view *v = &f->view;
    int64_t next = (int64_t)r->place.next, from = (int64_t)r->place.offset, to = from + (int64_t)want;
    int64_t many = (int64_t)want / LINE_SHORT < LOOK_MAX ? (int64_t)want / LINE_SHORT : LOOK_MAX;
    int rc = db_query(f->db, text_sql, DB_ARGS(DB_T(r->task), DB_I(next), DB_I(many), DB_I(from), DB_I((int64_t)want),
                                               DB_I(to), WINDOW_ARGS(next, many), DB_I(to), DB_T(r->id)), &rows, err);
    *v = (struct view){ 0 };
    f->why = STOP_OUT;
    while (rc >= 0 && f->why == STOP_OUT && (rc = db_next(rows, err)) == 1) {
        struct slice c;
        read_view(r, rows, v);
        if (v->other || db_is_null(rows, 4))
            break;
        rc = read_slice(r, rows, &c, &records, err);
        if (rc >= 0)
            rc = take(r, f, &c, t, err);
    }
    return rc < 0 ? rc : 0;
}

static bool at_end(const log_reader_t *r, const struct view *v) {
    return !v->there || r->place.next >= (uint64_t)v->entries;
}

/* So many are looked at first: at least as many as are passed by all means. */
static int64_t entries_to_pass(const log_reader_t *r, uint64_t until) {
    uint64_t lines = r->place.from_line > r->place.line ? r->place.from_line - r->place.line : 0;
    uint64_t many = until == UINT64_MAX ? lines : until - r->place.next;
    return many < LOOK_MIN ? LOOK_MIN : many > LOOK_MAX ? LOOK_MAX : (int64_t)many;
}

/* To the next entry that is wanted, or to entry `until`: 1, or 0 at the end. */
static int go_to_wanted(log_reader_t *r, struct forward *f, uint64_t until, osmo_error_t *err) {
    for (int64_t many = entries_to_pass(r, until);; many = many < LOOK_MAX ? many * 2 : LOOK_MAX) {
        bool found;
        uint64_t before = r->place.next;
        int rc = look(r, f, many, until, &found, err);
        if (rc < 0 || found)
            return rc < 0 ? rc : 1;
        if (at_end(r, &f->view))
            return 0;
        if (r->place.next == before && !f->view.other)
            return damaged(r, err);
    }
}

static size_t text_to_fetch(const log_reader_t *r, const struct log_taken *t) {
    size_t want = t->enough - t->out->len;
    if (t->items && want > (LOG_ITEMS_MAX - t->n) * LINE_LONG)
        want = (LOG_ITEMS_MAX - t->n) * LINE_LONG;
    want = (want < SLICE_MAX ? want : SLICE_MAX) * (r->sparse ? r->sparse : 1);
    return want < SLICE_MIN ? SLICE_MIN : want > SLICE_MAX ? SLICE_MAX : want;
}

/* How much has to be fetched the next time for as much as is asked for? */
static void learn(log_reader_t *r, size_t passed, size_t taken) {
    size_t sparse = taken ? passed / taken : SPARSE_MAX;
    r->sparse = sparse < 1 ? 1 : sparse > SPARSE_MAX ? SPARSE_MAX : sparse;
}

static int read_forward(log_reader_t *r, struct forward *f, struct log_taken *t, osmo_error_t *err) {
    size_t need = 0; /* of an entry that was not whole */
    while (t->out->len < t->enough) {
        bool filtered = log_reader_filters(r) || r->since_s != INT64_MIN || r->place.line + 1 < r->place.from_line;
        int rc = filtered && !r->place.wanted ? go_to_wanted(r, f, UINT64_MAX, err) : 1;
        if (rc <= 0)
            return rc;
        struct log_place before = r->place;
        size_t have = t->out->len, want = text_to_fetch(r, t);
        r->place.wanted = false;
        rc = fetch(r, f, want < need ? need : want, t, err);
        if (rc < 0)
            return rc;
        r->place.wanted = f->why != STOP_OUT;
        if (filtered && r->place.offset > before.offset)
            learn(r, (size_t)(r->place.offset - before.offset), t->out->len - have);
        if (f->why == STOP_FULL || (f->why == STOP_OUT && at_end(r, &f->view)))
            return 0;
        if (r->place.next == before.next && !f->view.other && (f->why == STOP_OUT || need))
            return damaged(r, err);
        need = f->why == STOP_CUT ? f->length : 0;
    }
    return 0;
}

/* ---- from the end backwards until last_n entries match ---- */

/* The chunk that holds the entry before the place, and chunks before it; of their records the last ones. */
static const char back_sql[] =
    "SELECT c.end_entry, c.first_offset + octet_length(c.body),"
    " substring(c.entries, CAST(GREATEST(? - c.first_entry, 0) * " LOG_PACKED_SIZE_SQL " AS INT) + 1) FROM"
    " ((SELECT l.* FROM log_chunks l WHERE l.log_id = ? AND l.end_entry BETWEEN ? AND ? ORDER BY l.end_entry LIMIT 1)"
    " UNION ALL"
    " (SELECT l.* FROM log_chunks l WHERE l.log_id = ? AND l.end_entry < ? AND l.end_entry > ?)) c"
    " ORDER BY c.end_entry DESC";

struct back { int64_t at, stop, left, offset, task; };

static int back_over(log_reader_t *r, struct back *b, db_rows_t *rows, osmo_error_t *err) {
    int64_t end = db_int(rows, 0), offset = db_int(rows, 1);
    size_t bytes;
    const uint8_t *packed = db_blob(rows, 2, &bytes);
    if (end < b->at)
        return damaged(r, err);
    for (size_t n = bytes / LOG_PACKED_SIZE; n && b->at > b->stop && b->left; n--) {
        struct log_record rec = log_record_unpack_short(packed + (n - 1) * LOG_PACKED_SIZE);
        offset -= rec.length;
        if (end-- > b->at)
            continue;
        b->at--;
        b->offset = offset;
        b->left -= log_reader_wants(r, &rec, b->task);
    }
    return 0;
}

static int go_back(log_reader_t *r, db_t *db, struct back *b, osmo_error_t *err) {
    bool filtered = log_reader_filters(r);
    while (b->at > b->stop && b->left) {
        _cleanup_rows_ db_rows_t *rows = NULL;
        int64_t before = b->at, window = filtered || b->left > LOOK_MAX ? LOOK_MAX : b->left < 64 ? 64 : b->left;
        int64_t from = b->at > window ? b->at - window : 0;
        int rc = db_query(db, back_sql, DB_ARGS(DB_I(from), DB_I(r->log_id), DB_I(b->at),
                                                DB_I(b->at + LOG_CHUNK_ENTRIES_MAX), DB_I(r->log_id), DB_I(b->at),
                                                DB_I(from)), &rows, err);
        while (rc >= 0 && b->at > b->stop && b->left && (rc = db_next(rows, err)) == 1)
            rc = back_over(r, b, rows, err);
        if (rc < 0)
            return rc;
        if (b->at == before) /* it is gone */
            b->at = b->offset = b->stop = 0;
    }
    return 0;
}

static int find_start(log_reader_t *r, db_t *db, osmo_error_t *err) { /* by last_n; a line by its number is come to by reading */
    _cleanup_rows_ db_rows_t *rows = NULL;
    struct view v = { 0 };
    int rc = db_query(db, view_sql, DB_ARGS(DB_T(r->task), DB_T(r->id)), &rows, err);
    if (rc >= 0 && (rc = db_next(rows, err)) == 1)
        read_view(r, rows, &v);
    if (rc < 0)
        return rc;
    struct back b = { .at = v.entries, .left = r->place.last_n, .task = v.task };
    if (r->scan_max > 0 && b.at > r->scan_max)
        b.stop = b.at - r->scan_max;
    rc = go_back(r, db, &b, err);
    if (rc < 0)
        return rc;
    struct forward f = { .db = db };
    r->place = (struct log_place){ .started = true };
    if (r->numbered && b.at > 0) { /* those before it are counted */
        rc = log_pgsql_begin_before(r, db, v.task, b.at, err);
        return rc < 0 ? rc : go_to_wanted(r, &f, (uint64_t)b.at, err);
    }
    r->place.next = (uint64_t)b.at;
    r->place.offset = (uint64_t)b.offset;
    return 0;
}

/* To the chunk that holds entry from_line - 1, or else the last one: the line is there or behind it, as entries without text count for
 * none. Where nobody has counted all of the index is read. */
static int jump(log_reader_t *r, db_t *db, osmo_error_t *err) {
    static const char sql[] =
        "SELECT c.first_entry, c.first_offset, c.lines, c.log_id FROM log_state s JOIN LATERAL"
        " ((SELECT 0 AS o, l.* FROM log_chunks l WHERE l.log_id = s.log_id AND l.end_entry > ? ORDER BY l.end_entry LIMIT 1) UNION ALL"
        " (SELECT 1 AS o, l.* FROM log_chunks l WHERE l.log_id = s.log_id ORDER BY l.end_entry DESC LIMIT 1)) c ON TRUE"
        " WHERE s.workflow_id = ? ORDER BY c.o LIMIT 1";
    _cleanup_rows_ db_rows_t *rows = NULL;
    int64_t before = r->place.from_line > INT64_MAX ? INT64_MAX : (int64_t)r->place.from_line - 1;
    int rc = db_query(db, sql, DB_ARGS(DB_I(before), DB_T(r->id)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) <= 0 || db_int(rows, 2) < 0)
        return rc;
    r->place.next = (uint64_t)db_int(rows, 0);
    r->place.offset = (uint64_t)db_int(rows, 1);
    r->place.line = (uint64_t)db_int(rows, 2);
    r->log_id = db_int(rows, 3);
    return 0;
}

/* Where only some lines count, or times: to a mark. */
static int jump_to_mark(log_reader_t *r, db_t *db, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    struct view v;
    int rc = db_query(db, view_sql, DB_ARGS(DB_T(r->task), DB_T(r->id)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) <= 0)
        return rc;
    read_view(r, rows, &v);
    return log_pgsql_begin_at_mark(r, db, v.task, v.entries, err);
}

int log_pgsql_read(log_reader_t *r, struct log_taken *t, osmo_error_t *err) {
    struct forward f = { 0 };
    int rc = store_reader(log_pgsql_of(r->store)->store, &f.db, err);
    if (rc >= 0 && !r->place.started && r->place.last_n > 0)
        rc = find_start(r, f.db, err);
    else if (rc >= 0 && !r->place.started && r->place.from_line > 1 && !log_reader_filters(r))
        rc = jump(r, f.db, err);
    else if (rc >= 0 && !r->place.started && (r->place.from_line > 1 || r->since_s != INT64_MIN))
        rc = jump_to_mark(r, f.db, err);
    r->place.started = true;
    if (rc >= 0)
        rc = read_forward(r, &f, t, err);
    r->none = rc >= 0 && !f.view.there;
    if (rc < 0 || t->n)
        return rc;
    return f.view.there && f.view.ended && at_end(r, &f.view) ? OSMO_EGONE : 0;
}
