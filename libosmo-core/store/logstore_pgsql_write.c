/* Appending to chunks: one transaction takes the requests of a log that came together. It locks the log's row, so that of
 * two services with the same lines the second sees what the first has stored and drops them. */
#include "store/logstore_pgsql.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct task { const char *name; int64_t no; /* -1 = it has no number yet */ };
struct attempt { size_t task; int64_t retry; uint64_t seq; bool stored, changed; };

/* Rebuilt from the requests each time the transaction runs. */
struct batch {
    const char *id;
    struct log_request *list;
    struct log_pgsql_state st;
    struct task *tasks;
    struct attempt *attempts;
    size_t n_requests, n_tasks, n_attempts; /* there are at most as many of either as requests */
    buf_t text, records;
};

/* ---- the log's row ---- */

static int select_locked(db_t *db, const char *id, struct log_pgsql_state *out, osmo_error_t *err) {
    static const char sql[] = "SELECT log_id, bytes, entries, tasks, ended,"
                              " CASE WHEN lines_entries = entries THEN lines ELSE -1 END FROM log_state WHERE workflow_id = ?"
                              " FOR UPDATE";
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, sql, DB_ARGS(DB_T(id)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) <= 0)
        return rc;
    *out = (struct log_pgsql_state){ db_int(rows, 0), db_int(rows, 1), db_int(rows, 2), db_int(rows, 3), db_int(rows, 4),
                                     db_int(rows, 5) };
    return 1;
}

int log_pgsql_lock(db_t *db, const char *id, bool create, struct log_pgsql_state *out, osmo_error_t *err) {
    static const char sql[] = "INSERT INTO log_state (workflow_id, bytes, entries, tasks, ended, lines)"
                              " VALUES (?, 0, 0, 0, 0, 0) ON CONFLICT (workflow_id) DO NOTHING";
    int rc = select_locked(db, id, out, err);
    if (rc == 0 && create) {
        rc = db_exec(db, sql, DB_ARGS(DB_T(id)), NULL, err);
        if (rc >= 0)
            rc = select_locked(db, id, out, err);
    }
    if (rc == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "workflow %s has no log", id);
    return rc < 0 ? rc : 0;
}

/* ---- tasks and attempts ---- */

static size_t task_of(struct batch *b, const char *name) {
    for (size_t i = 0; i < b->n_tasks; i++) {
        if (strcmp(b->tasks[i].name, name) == 0)
            return i;
    }
    b->tasks[b->n_tasks] = (struct task){ .name = name, .no = -1 };
    return b->n_tasks++;
}

static struct attempt *attempt_of(struct batch *b, size_t task, int64_t retry, bool add) {
    for (size_t i = 0; i < b->n_attempts; i++) {
        if (b->attempts[i].task == task && b->attempts[i].retry == retry)
            return &b->attempts[i];
    }
    if (!add)
        return NULL;
    b->attempts[b->n_attempts] = (struct attempt){ .task = task, .retry = retry };
    return &b->attempts[b->n_attempts++];
}

static int load_attempts(struct batch *b, db_t *db, osmo_error_t *err) {
    static const char sql[] = "SELECT task, retry_id, task_no, seq FROM log_attempts"
                              " WHERE log_id = ? AND task = ANY (string_to_array(?, chr(10)))";
    _cleanup_rows_ db_rows_t *rows = NULL;
    _cleanup_buf_ buf_t names = BUF_INIT(1u << 20);
    for (const struct log_request *q = b->list; q; q = q->next)
        attempt_of(b, task_of(b, q->task), q->retry, true);
    for (size_t i = 0; i < b->n_tasks; i++)
        buf_printf(&names, "%s%s", i ? "\n" : "", b->tasks[i].name);
    if (buf_failed(&names))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = db_query(db, sql, DB_ARGS(DB_I(b->st.log_id), DB_T(buf_cstr(&names))), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        size_t task = 0;
        while (task < b->n_tasks && strcmp(b->tasks[task].name, db_text(rows, 0)) != 0)
            task++;
        if (task == b->n_tasks)
            continue;
        b->tasks[task].no = db_int(rows, 2);
        struct attempt *a = attempt_of(b, task, db_int(rows, 1), false);
        if (a) {
            a->seq = (uint64_t)db_int(rows, 3);
            a->stored = true;
        }
    }
    return rc < 0 ? rc : 0;
}

/* ---- entries ---- */

static int take_entry(struct batch *b, struct log_request *q, struct attempt *a, const struct log_entry *e) {
    uint8_t raw[LOG_PACKED_SIZE];
    struct log_record r;
    int rc = logstore_render(b->id, q->task, q->retry, e, &b->text, &r, &q->err);
    if (rc <= 0)
        return rc;
    if (b->tasks[a->task].no < 0)
        b->tasks[a->task].no = b->st.tasks++;
    r.task = (uint32_t)b->tasks[a->task].no;
    if (e->seq)
        a->seq = e->seq;
    log_record_pack_short(&r, raw);
    if (buf_append(&b->records, raw, sizeof(raw)) < 0)
        return osmo_error_set(&q->err, OSMO_ELIMIT, "log of workflow %s: too many entries in one append", b->id);
    return 0;
}

static void cut(buf_t *b, size_t len) {
    buf_truncate(b, len);
    b->code = 0;
}

/* All entries of a request or none. */
static void take_request(struct batch *b, struct log_request *q) {
    size_t text = b->text.len, records = b->records.len;
    struct attempt *a = attempt_of(b, task_of(b, q->task), q->retry, false);
    uint64_t seq = a->seq;
    bool again = false;
    b->text.max = text + LOG_APPEND_TEXT_MAX;
    b->records.max = records + LOG_APPEND_TEXT_MAX;
    for (size_t i = 0; q->rc == 0 && i < q->n; i++) {
        if (!q->e[i].seq || q->e[i].seq > a->seq)
            q->rc = take_entry(b, q, a, &q->e[i]);
        else
            again = true;
    }
    if (q->rc < 0) {
        a->seq = seq;
        cut(&b->text, text);
        cut(&b->records, records);
    }
    bool more = b->records.len > records;
    q->grew = more || (again && q->rc == 0); /* whoever stored it may not have come to tell of it */
    a->changed |= more && (!a->stored || a->seq != seq);
}

/* ---- writing ---- */

struct piece { const char *text; const uint8_t *records; size_t bytes, n, lines; int64_t first_entry, first_offset, first_line; };

/* The next chunk of what is left; false when that is the last. */
static bool next_piece(const struct batch *b, struct piece *p) {
    p->first_entry += (int64_t)p->n;
    p->first_offset += (int64_t)p->bytes;
    p->first_line += p->first_line < 0 ? 0 : (int64_t)p->lines;
    p->text += p->bytes;
    p->records += p->n * LOG_PACKED_SIZE;
    size_t left = (size_t)((const uint8_t *)b->records.data + b->records.len - p->records) / LOG_PACKED_SIZE;
    for (p->bytes = p->n = p->lines = 0; p->n < left && p->n < LOG_CHUNK_ENTRIES_MAX; p->n++) {
        size_t length = (size_t)log_get(p->records + p->n * LOG_PACKED_SIZE, 4);
        if (p->n && p->bytes + length > LOG_CHUNK_BYTES_MAX)
            break;
        p->bytes += length;
        p->lines += length > 0;
    }
    return p->n < left;
}

struct columns { buf_t tasks, retries, numbers, seqs; };

static int attempts_columns(const struct batch *b, struct columns *c) {
    bool more = false;
    for (size_t i = 0; i < b->n_attempts; i++) {
        const struct attempt *a = &b->attempts[i];
        if (!a->changed)
            continue;
        buf_printf(&c->tasks, "%s%s", more ? "\n" : "", b->tasks[a->task].name);
        buf_printf(&c->retries, "%s%" PRId64, more ? "," : "", a->retry);
        buf_printf(&c->numbers, "%s%" PRId64, more ? "," : "", b->tasks[a->task].no);
        buf_printf(&c->seqs, "%s%" PRId64, more ? "," : "", (int64_t)a->seq);
        more = true;
    }
    return c->tasks.code | c->retries.code | c->numbers.code | c->seqs.code ? OSMO_ENOMEM : 0;
}

#define INSERT_CHUNK "INSERT INTO log_chunks (log_id, end_entry, first_entry, first_offset, lines, body, entries)" \
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
#define PIECE_ARGS(b, p) DB_I((b)->st.log_id), DB_I((p)->first_entry + (int64_t)(p)->n), DB_I((p)->first_entry), \
    DB_I((p)->first_offset), DB_I((p)->first_line), DB_B((p)->text, (p)->bytes), DB_B((p)->records, (p)->n * LOG_PACKED_SIZE)

/* The last chunk, with what is to be known from now on. */
static int insert_last(const struct batch *b, db_t *db, const struct piece *p, osmo_error_t *err) {
    static const char sql[] =
        "WITH c AS (" INSERT_CHUNK "), a AS (INSERT INTO log_attempts (log_id, task, retry_id, task_no, seq)"
        " SELECT CAST(? AS BIGINT), u.task, u.retry_id, u.task_no, u.seq FROM unnest(string_to_array(?, chr(10)),"
        " CAST(string_to_array(?, ',') AS BIGINT[]), CAST(string_to_array(?, ',') AS BIGINT[]),"
        " CAST(string_to_array(?, ',') AS BIGINT[])) AS u (task, retry_id, task_no, seq)"
        " ON CONFLICT (log_id, task, retry_id) DO UPDATE SET seq = EXCLUDED.seq)"
        " UPDATE log_state SET bytes = ?, entries = ?, tasks = ?, lines = ?, lines_entries = ? WHERE workflow_id = ?";
    struct columns c = { BUF_INIT(1u << 20), BUF_INIT(1u << 20), BUF_INIT(1u << 20), BUF_INIT(1u << 20) };
    int rc = attempts_columns(b, &c);
    if (rc < 0)
        osmo_error_set(err, rc, "out of memory");
    else
        rc = db_exec(db, sql, DB_ARGS(PIECE_ARGS(b, p), DB_I(b->st.log_id), DB_T(buf_cstr(&c.tasks)),
                                      DB_T(buf_cstr(&c.retries)), DB_T(buf_cstr(&c.numbers)), DB_T(buf_cstr(&c.seqs)),
                                      DB_I(p->first_offset + (int64_t)p->bytes), DB_I(p->first_entry + (int64_t)p->n),
                                      DB_I(b->st.tasks), DB_I(p->first_line < 0 ? -1 : p->first_line + (int64_t)p->lines),
                                      DB_I(p->first_entry + (int64_t)p->n), DB_T(b->id)), NULL, err);
    buf_free(&c.tasks);
    buf_free(&c.retries);
    buf_free(&c.numbers);
    buf_free(&c.seqs);
    return rc;
}

static int write_chunks(const struct batch *b, db_t *db, osmo_error_t *err) {
    static const char sql[] = INSERT_CHUNK;
    struct piece p = { .text = b->text.data ? b->text.data : "", .records = (const uint8_t *)b->records.data,
                       .first_entry = b->st.entries, .first_offset = b->st.bytes, .first_line = b->st.lines };
    while (next_piece(b, &p)) {
        int rc = db_exec(db, sql, DB_ARGS(PIECE_ARGS(b, &p)), NULL, err);
        if (rc < 0)
            return rc;
    }
    return insert_last(b, db, &p, err);
}

static void start_over(struct batch *b) {
    buf_reset(&b->text);
    buf_reset(&b->records);
    b->n_tasks = b->n_attempts = 0;
    for (struct log_request *q = b->list; q; q = q->next) {
        q->rc = 0;
        q->grew = false;
    }
}

static int write_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct batch *b = ctx;
    start_over(b);
    int rc = log_pgsql_lock(db, b->id, true, &b->st, err);
    if (rc < 0)
        return rc;
    if (b->st.ended) {
        for (struct log_request *q = b->list; q; q = q->next)
            q->rc = osmo_error_set(&q->err, OSMO_EGONE, "log of workflow %s has ended", b->id);
        return 0;
    }
    rc = load_attempts(b, db, err);
    if (rc < 0)
        return rc;
    for (struct log_request *q = b->list; q; q = q->next)
        take_request(b, q);
    return b->records.len ? write_chunks(b, db, err) : 0;
}

bool log_pgsql_write(struct log_pgsql *s, const char *workflow_id, struct log_request *list) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct batch b = { .id = workflow_id, .list = list, .text = BUF_INIT(0), .records = BUF_INIT(0) };
    for (const struct log_request *q = list; q; q = q->next)
        b.n_requests++;
    b.tasks = calloc(b.n_requests, sizeof(*b.tasks));
    b.attempts = calloc(b.n_requests, sizeof(*b.attempts));
    int rc = b.tasks && b.attempts ? writers_write(s->writers, workflow_id, write_fn, &b, &err)
                                   : osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    for (struct log_request *q = list; rc < 0 && q; q = q->next) {
        q->rc = rc;
        q->grew = false;
        q->err = err;
    }
    int64_t entries = b.st.entries + (int64_t)(b.records.len / LOG_PACKED_SIZE);
    free(b.tasks);
    free(b.attempts);
    buf_free(&b.text);
    buf_free(&b.records);
    return rc >= 0 && entries / LOG_MARK_ENTRIES > b.st.entries / LOG_MARK_ENTRIES;
}
