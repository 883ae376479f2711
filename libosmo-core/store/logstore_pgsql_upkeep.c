/* The end of a log in chunks, after which they are merged, and the removal of a log. Each transaction is small, and what a
 * crash leaves undone goes on with the next call. */
#include "store/logstore_pgsql.h"
#include <string.h>

#define MERGE_LOOK_MAX 4096   /* chunks looked at in one transaction */
#define MERGE_WORTH 4         /* at least this many become one */
#define REMOVE_CHUNKS_MAX 64  /* in one transaction */

/* ---- the end ---- */

struct ending { const char *id; bool merge; };

static int end_fn(db_t *db, void *ctx, osmo_error_t *err) {
    static const char sql[] = "UPDATE log_state SET ended = 1 WHERE workflow_id = ?";
    struct ending *e = ctx;
    struct log_pgsql_state st;
    int rc = log_pgsql_lock(db, e->id, true, &st, err);
    if (rc < 0)
        return rc;
    e->merge = st.ended != LOG_MERGED;
    return st.ended ? 0 : db_exec(db, sql, DB_ARGS(DB_T(e->id)), NULL, err);
}

/* ---- merging ---- */

struct merge { const char *id; int64_t from /* entries before it are as they stay */, reached; bool more; };
/* Neighbouring chunks. */
struct group { int64_t first_end, last_end, first_entry, first_offset; size_t n; };

static int merge_group(db_t *db, int64_t log_id, const struct group *g, osmo_error_t *err) {
    static const char join[] =
        "UPDATE log_chunks SET first_entry = ?, first_offset = ?, lines = p.lines, body = p.body, entries = p.entries FROM"
        " (SELECT string_agg(c.body, '' ORDER BY c.end_entry) AS body, string_agg(c.entries, '' ORDER BY c.end_entry)"
        " AS entries, MIN(c.lines) AS lines FROM log_chunks c WHERE c.log_id = ? AND c.end_entry BETWEEN ? AND ?) p"
        " WHERE log_id = ? AND end_entry = ?";
    static const char drop[] = "DELETE FROM log_chunks WHERE log_id = ? AND end_entry >= ? AND end_entry < ?";
    int rc = db_exec(db, join, DB_ARGS(DB_I(g->first_entry), DB_I(g->first_offset), DB_I(log_id), DB_I(g->first_end),
                                       DB_I(g->last_end), DB_I(log_id), DB_I(g->last_end)), NULL, err);
    return rc < 0 ? rc : db_exec(db, drop, DB_ARGS(DB_I(log_id), DB_I(g->first_end), DB_I(g->last_end)), NULL, err);
}

/* The next chunks that would fit into one and are worth it; m->reached is behind them, or behind all that was looked at. */
static int find_group(db_t *db, const struct log_pgsql_state *st, struct merge *m, struct group *out, osmo_error_t *err) {
    static const char sql[] = "SELECT end_entry, first_entry, first_offset, octet_length(body) FROM log_chunks"
                              " WHERE log_id = ? AND end_entry > ? ORDER BY end_entry LIMIT 4096";
    _Static_assert(MERGE_LOOK_MAX == 4096, "the limit of the statement");
    _cleanup_rows_ db_rows_t *rows = NULL;
    struct group g = { 0 };
    size_t seen = 0;
    m->reached = m->from;
    int rc = db_query(db, sql, DB_ARGS(DB_I(st->log_id), DB_I(m->from)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        int64_t end = db_int(rows, 0), first = db_int(rows, 1), offset = db_int(rows, 2), bytes = db_int(rows, 3);
        seen++;
        bool fits = g.n && offset + bytes - g.first_offset <= LOG_CHUNK_BYTES_MAX &&
            end - g.first_entry <= LOG_CHUNK_ENTRIES_MAX;
        if (g.n >= MERGE_WORTH && !fits)
            break;
        if (!fits)
            g = (struct group){ .first_end = end, .first_entry = first, .first_offset = offset };
        g.last_end = end;
        g.n++;
        m->reached = end;
    }
    m->more = seen == MERGE_LOOK_MAX || rc == 1;
    *out = g;
    return rc < 0 ? rc : 0;
}

static int merge_fn(db_t *db, void *ctx, osmo_error_t *err) {
    static const char sql[] = "UPDATE log_state SET ended = 2 WHERE workflow_id = ?";
    struct merge *m = ctx;
    struct log_pgsql_state st;
    struct group g;
    m->more = false;
    int rc = log_pgsql_lock(db, m->id, false, &st, err);
    if (rc < 0 || st.ended != LOG_ENDED)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    rc = find_group(db, &st, m, &g, err);
    if (rc >= 0 && g.n >= MERGE_WORTH)
        rc = merge_group(db, st.log_id, &g, err);
    return rc < 0 || m->more ? rc : db_exec(db, sql, DB_ARGS(DB_T(m->id)), NULL, err);
}

int log_pgsql_end(logstore_t *base, const char *workflow_id, osmo_error_t *err) {
    struct log_pgsql *s = log_pgsql_of(base);
    struct ending e = { .id = workflow_id };
    struct merge m = { .id = workflow_id };
    int rc = writers_write(s->writers, workflow_id, end_fn, &e, err);
    if (rc < 0)
        return rc;
    logstore_notify(base, workflow_id); /* also when it had ended: the answer to the one that did it may have been lost */
    for (m.more = e.merge; rc >= 0 && m.more; m.from = m.reached)
        rc = writers_write(s->writers, workflow_id, merge_fn, &m, err);
    return rc;
}

/* ---- removal ---- */

/* The row gets a name that no workflow can have: the log is gone at once, its chunks go in pieces. */
static int hide_fn(db_t *db, void *ctx, osmo_error_t *err) {
    static const char lock[] = "SELECT 1 FROM log_state WHERE workflow_id = ? FOR UPDATE SKIP LOCKED";
    static const char look[] = "SELECT 1 FROM log_state WHERE workflow_id = ?";
    static const char hide[] = "UPDATE log_state SET workflow_id = '!' || CAST(log_id AS TEXT) WHERE workflow_id = ?";
    const char *id = ctx;
    const struct db_arg arg = DB_T(id);
    _cleanup_rows_ db_rows_t *mine = NULL, *locked = NULL;
    int rc = db_query(db, lock, &arg, 1, &mine, err);
    if (rc >= 0)
        rc = db_next(mine, err);
    if (rc == 1)
        return db_exec(db, hide, &arg, 1, NULL, err);
    if (rc == 0)
        rc = db_query(db, look, &arg, 1, &locked, err);
    if (rc >= 0)
        rc = db_next(locked, err);
    return rc == 1 ? osmo_error_set(err, OSMO_EBUSY, "the log of workflow %s is in use", id) : rc;
}

static int next_hidden(db_t *db, int64_t *log_id, osmo_error_t *err) {
    /* Not by a range of names: where one begins depends on the database's collation. As the index log_state_hidden has it. */
    static const char sql[] = "SELECT log_id FROM log_state WHERE workflow_id LIKE '!%' ORDER BY log_id LIMIT 1"
                              " FOR UPDATE SKIP LOCKED";
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, sql, NULL, 0, &rows, err);
    if (rc >= 0 && (rc = db_next(rows, err)) == 1)
        *log_id = db_int(rows, 0);
    return rc;
}

static int sweep_fn(db_t *db, void *ctx, osmo_error_t *err) {
    static const char chunks[] =
        "DELETE FROM log_chunks WHERE log_id = ? AND end_entry <= (SELECT MAX(p.end_entry) FROM (SELECT end_entry"
        " FROM log_chunks WHERE log_id = ? ORDER BY end_entry LIMIT 64) p)";
    static const char marks[] = "DELETE FROM log_marks WHERE log_id = ?";
    static const char attempts[] = "DELETE FROM log_attempts WHERE log_id = ?";
    static const char state[] = "DELETE FROM log_state WHERE workflow_id = '!' || CAST(CAST(? AS BIGINT) AS TEXT)";
    _Static_assert(REMOVE_CHUNKS_MAX == 64, "the limit of the statement");
    bool *more = ctx;
    int64_t log_id = 0, gone = 0;
    int rc = next_hidden(db, &log_id, err);
    *more = rc == 1;
    if (rc <= 0)
        return rc;
    rc = db_exec(db, chunks, DB_ARGS(DB_I(log_id), DB_I(log_id)), &gone, err);
    if (rc < 0 || gone == REMOVE_CHUNKS_MAX)
        return rc;
    rc = db_exec(db, marks, DB_ARGS(DB_I(log_id)), NULL, err);
    if (rc >= 0)
        rc = db_exec(db, attempts, DB_ARGS(DB_I(log_id)), NULL, err);
    return rc < 0 ? rc : db_exec(db, state, DB_ARGS(DB_I(log_id)), NULL, err);
}

int log_pgsql_remove(logstore_t *base, const char *workflow_id, osmo_error_t *err) {
    struct log_pgsql *s = log_pgsql_of(base);
    bool more = true;
    int rc = writers_write(s->writers, workflow_id, hide_fn, (void *)(uintptr_t)workflow_id, err);
    while (rc >= 0 && more)
        rc = writers_write(s->writers, NULL, sweep_fn, &more, err);
    return rc;
}
