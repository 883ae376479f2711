/* Marks: how many lines of each attempt and kind are before every so many entries of a log in chunks, so that a line of one task is come
 * to without all records before it. Whoever's append passes such an entry makes the mark that is due, and those that somebody else has
 * left out; the last ones may be missing, and then a reader begins farther ahead. A mark is of entries that stay as they are. */
#include "store/logstore_pgsql.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

#define TALLY_SIZE 16
#define TALLIES_MAX 4096 /* a log of more attempts gets no further marks */

struct tally { uint32_t task, retry; uint8_t kind; uint64_t lines; };
struct mark { int64_t entry, offset, latest_us; struct tally *tallies; size_t n; };

/* ---- tallies ---- */

static int compare(const struct tally *a, uint32_t task, uint32_t retry, uint8_t kind) {
    return a->task != task ? (a->task < task ? -1 : 1) : a->retry != retry ? (a->retry < retry ? -1 : 1) : (int)a->kind - kind;
}

/* There is room for one more. NULL: there would be too many. */
static struct tally *tally_of(struct mark *m, const struct log_record *rec) {
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare(&m->tallies[middle], rec->task, rec->retry, rec->type);
        if (c == 0)
            return &m->tallies[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (m->n == TALLIES_MAX)
        return NULL;
    memmove(&m->tallies[low + 1], &m->tallies[low], (m->n++ - low) * sizeof *m->tallies);
    m->tallies[low] = (struct tally){ .task = rec->task, .retry = rec->retry, .kind = rec->type };
    return &m->tallies[low];
}

static struct tally unpack(const uint8_t *p) {
    return (struct tally){ (uint32_t)log_get(p, 4), (uint32_t)log_get(p + 4, 4), p[8], log_get(p + 9, 7) };
}

static void pack(const struct tally *t, uint8_t *p) {
    log_put(p, t->task, 4);
    log_put(p + 4, t->retry, 4);
    p[8] = t->kind;
    log_put(p + 9, t->lines, 7);
}

/* ---- making one ---- */

struct marking { const char *id; bool more; };

/* Where the last mark is, or the beginning; 0: there is no such log. */
static int last_mark(db_t *db, const char *id, int64_t *log_id, int64_t *entries, struct mark *m, osmo_error_t *err) {
    static const char sql[] =
        "SELECT s.log_id, s.entries, m.entry, m.text_offset, m.latest_us, m.tallies FROM log_state s LEFT JOIN LATERAL"
        " (SELECT k.* FROM log_marks k WHERE k.log_id = s.log_id ORDER BY k.entry DESC LIMIT 1) m ON TRUE WHERE s.workflow_id = ?";
    _cleanup_rows_ db_rows_t *rows = NULL;
    size_t bytes = 0;
    int rc = db_query(db, sql, DB_ARGS(DB_T(id)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) <= 0)
        return rc;
    *log_id = db_int(rows, 0);
    *entries = db_int(rows, 1);
    m->latest_us = INT64_MIN;
    if (db_is_null(rows, 2))
        return 1;
    m->entry = db_int(rows, 2);
    m->offset = db_int(rows, 3);
    m->latest_us = db_int(rows, 4);
    const uint8_t *packed = db_blob(rows, 5, &bytes);
    for (; m->n < TALLIES_MAX && m->n < bytes / TALLY_SIZE; m->n++)
        m->tallies[m->n] = unpack(packed + m->n * TALLY_SIZE);
    return 1;
}

static bool count(struct mark *m, const uint8_t *packed, size_t n) {
    struct tally *t = NULL;
    for (size_t i = 0; i < n; i++) {
        struct log_record rec = log_record_unpack_short(packed + i * LOG_PACKED_SIZE);
        m->entry++;
        m->offset += rec.length;
        if (rec.time_us > m->latest_us)
            m->latest_us = rec.time_us;
        if (!rec.length)
            continue;
        if (!t || compare(t, rec.task, rec.retry, rec.type) != 0)
            t = tally_of(m, &rec);
        if (!t)
            return false;
        t->lines++;
    }
    return true;
}

/* On to entry `to`. 0: it cannot be, because chunks are gone or there are too many attempts. */
static int count_to(db_t *db, int64_t log_id, int64_t to, struct mark *m, osmo_error_t *err) {
    static const char sql[] = "SELECT first_entry, entries FROM log_chunks"
                              " WHERE log_id = ? AND end_entry > ? AND end_entry <= ? AND first_entry < ? ORDER BY end_entry";
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, sql, DB_ARGS(DB_I(log_id), DB_I(m->entry), DB_I(to + LOG_CHUNK_ENTRIES_MAX), DB_I(to)), &rows, err);
    while (rc >= 0 && m->entry < to && (rc = db_next(rows, err)) == 1) {
        size_t bytes, skipped = (size_t)(m->entry - db_int(rows, 0));
        const uint8_t *packed = db_blob(rows, 1, &bytes);
        size_t n = bytes / LOG_PACKED_SIZE;
        if (m->entry < db_int(rows, 0) || skipped >= n)
            return 0;
        n = n - skipped < (size_t)(to - m->entry) ? n - skipped : (size_t)(to - m->entry);
        if (!count(m, packed + skipped * LOG_PACKED_SIZE, n))
            return 0;
    }
    return rc < 0 ? rc : m->entry == to;
}

/* The log may be gone meanwhile: then its row has another name, and whoever gives it that name waits for this. */
static int insert(db_t *db, const char *id, int64_t log_id, const struct mark *m, osmo_error_t *err) {
    static const char sql[] =
        "INSERT INTO log_marks (log_id, entry, text_offset, latest_us, tallies)"
        " SELECT s.log_id, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BYTEA) FROM log_state s"
        " WHERE s.workflow_id = ? AND s.log_id = ? FOR KEY SHARE OF s ON CONFLICT (log_id, entry) DO NOTHING";
    _cleanup_free_ uint8_t *packed = malloc(m->n * TALLY_SIZE + 1);
    if (!packed)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++)
        pack(&m->tallies[i], packed + i * TALLY_SIZE);
    return db_exec(db, sql, DB_ARGS(DB_I(m->entry), DB_I(m->offset), DB_I(m->latest_us), DB_B(packed, m->n * TALLY_SIZE), DB_T(id),
                                    DB_I(log_id)), NULL, err);
}

static int mark_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct marking *w = ctx;
    _cleanup_free_ struct tally *tallies = malloc(TALLIES_MAX * sizeof *tallies);
    struct mark m = { .tallies = tallies };
    int64_t log_id = 0, entries = 0;
    w->more = false;
    if (!tallies)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = last_mark(db, w->id, &log_id, &entries, &m, err);
    if (rc <= 0 || m.entry + LOG_MARK_ENTRIES > entries)
        return rc < 0 ? rc : 0;
    rc = count_to(db, log_id, m.entry + LOG_MARK_ENTRIES, &m, err);
    if (rc <= 0)
        return rc;
    w->more = m.entry + LOG_MARK_ENTRIES <= entries;
    return insert(db, w->id, log_id, &m, err);
}

void log_pgsql_mark(struct log_pgsql *s, const char *workflow_id) {
    struct marking w = { workflow_id, true };
    while (w.more && writers_write(s->writers, NULL, mark_fn, &w, NULL) >= 0)
        ;
}

/* ---- beginning at one ---- */

static uint64_t wanted_lines(const log_reader_t *r, int64_t task, const uint8_t *packed, size_t n) {
    uint64_t lines = 0;
    for (size_t i = 0; i < n; i++) {
        struct tally t = unpack(packed + i * TALLY_SIZE);
        struct log_record rec = { .length = 1, .task = t.task, .retry = t.retry, .type = t.kind };
        lines += log_reader_wants(r, &rec, task) ? t.lines : 0;
    }
    return lines;
}

struct found { int64_t entry, offset, latest_us; uint64_t lines; };

/* The last mark that is not behind the entry. @return 1, or 0 when there is none */
static int find(log_reader_t *r, db_t *db, int64_t task, int64_t entry, struct found *out, osmo_error_t *err) {
    static const char sql[] = "SELECT entry, text_offset, latest_us, tallies FROM log_marks WHERE log_id = ? AND entry <= ?"
                              " ORDER BY entry DESC LIMIT 1";
    _cleanup_rows_ db_rows_t *rows = NULL;
    size_t bytes;
    int rc = db_query(db, sql, DB_ARGS(DB_I(r->log_id), DB_I(entry)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) <= 0)
        return rc;
    const uint8_t *packed = db_blob(rows, 3, &bytes);
    *out = (struct found){ db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), wanted_lines(r, task, packed, bytes / TALLY_SIZE) };
    return 1;
}

static void begin_at(log_reader_t *r, const struct found *m) {
    r->place.next = (uint64_t)m->entry;
    r->place.offset = (uint64_t)m->offset;
    r->place.line = m->lines;
}

int log_pgsql_begin_before(log_reader_t *r, db_t *db, int64_t task, int64_t entry, osmo_error_t *err) {
    struct found m;
    int rc = entry < LOG_MARK_ENTRIES ? 0 : find(r, db, task, entry, &m, err);
    if (rc == 1)
        begin_at(r, &m);
    return rc < 0 ? rc : 0;
}

/* Is nothing of what is before it handed out? */
static bool is_too_early(const log_reader_t *r, const struct found *m) {
    return log_second(m->latest_us) < r->since_s || m->lines + 1 < r->place.from_line;
}

int log_pgsql_begin_at_mark(log_reader_t *r, db_t *db, int64_t task, int64_t entries, osmo_error_t *err) {
    struct found best = { 0 }, m;
    int64_t low = 0, high = entries / LOG_MARK_ENTRIES;
    for (int64_t look = high; low < high; look = low + (high - low + 1) / 2) {
        int rc = find(r, db, task, look * LOG_MARK_ENTRIES, &m, err);
        if (rc < 0)
            return rc;
        int64_t at = rc == 0 ? 0 : m.entry / LOG_MARK_ENTRIES;
        if (at > low && is_too_early(r, &m)) {
            best = m;
            low = at;
            high = at < look ? at : high; /* the marks behind it are missing */
        } else {
            high = at > low ? at - 1 : low;
        }
    }
    if (low)
        begin_at(r, &best);
    return 0;
}
