/* Outbox work items and timers: what is due, who has it, until when. Part of repo.h. Ids are never handed out
 * twice, so an answer that arrives late can only ever hit its own item. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "store/repo.h"
#include "store/rows.h"

#define WORK_LIST(F, N) \
    F(I64, id, id) N(TEXT, kind, kind) N(TEXT, work_key, key) N(UUID, workflow_uuid, workflow_uuid) \
        N(TEXT, payload_json, payload_json) \
    N(TEXT, last_error, last_error) N(I64, priority, priority) N(I64, run_at_us, run_at_us) \
        N(I64, lease_until_us, lease_until_us) \
    N(I64, attempts, attempts) N(TEXT, owner, owner) N(BOOL, dead, dead) N(TEXT, backend, backend)
#define W_COL(kind, column, field) COL_ENTRY(work_row, kind, column, field)
#define NAME_F(kind, column, field) #column
#define NAME_N(kind, column, field) ", " #column
static const struct col work_cols[] = { WORK_LIST(W_COL, W_COL) };
#define WORK_LEN (sizeof(work_cols) / sizeof(work_cols[0]))
static const struct row_type work_type = { "work", sizeof(struct work_row), work_cols, WORK_LEN, WORK_LEN };

void work_rows_free(struct work_row *r, size_t n) { row_list_free(&work_type, r, n); }

int repo_work_add(db_t *db, const char *kind, const char *key, const char *workflow_uuid, const char *backend,
                  int64_t priority,
                  const char *payload_json, int64_t run_at_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO work (kind, work_key, workflow_uuid, backend, payload_json, priority, "
                       "run_at_us, lease_until_us, due_us,"
                       " attempts, dead) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0) ON CONFLICT (kind, work_key) "
                       "DO UPDATE SET dead = 0, attempts = 0, run_at_us = excluded.run_at_us, due_us = excluded.due_us,"
                       " payload_json = excluded.payload_json WHERE work.dead = 1",
                   DB_ARGS(DB_T(kind), DB_T(key), DB_T(workflow_uuid ? workflow_uuid : ""),
                           DB_T(backend ? backend : ""),
                           DB_T(payload_json), DB_I(priority), DB_I(run_at_us), DB_I(run_at_us)), NULL, err);
}

int repo_work_hurry(db_t *db, const char *kind, const char *key, const char *workflow_uuid, const char *backend,
                    int64_t run_at_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO work (kind, work_key, workflow_uuid, backend, payload_json, priority, run_at_us,"
                       " lease_until_us, due_us, attempts, dead) VALUES (?, ?, ?, ?, '{}', 5, ?, 0, ?, 0, 0)"
                       " ON CONFLICT (kind, work_key) DO UPDATE SET run_at_us = excluded.run_at_us,"
                       " due_us = CASE WHEN work.lease_until_us > excluded.due_us THEN work.due_us ELSE excluded.due_us END,"
                       " attempts = CASE WHEN work.dead = 1 THEN 0 ELSE work.attempts END, dead = 0",
                   DB_ARGS(DB_T(kind), DB_T(key), DB_T(workflow_uuid), DB_T(backend), DB_I(run_at_us), DB_I(run_at_us)),
                   NULL, err);
}

static int by_urgency(const void *a, const void *b) {
    const struct work_row *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

#define CLAIM(of, where, lock) \
    "UPDATE work SET owner = ?, lease_until_us = ?, due_us = ? WHERE id IN (SELECT " of "id FROM work " where \
    " AND dead = 0 AND due_us <= ? ORDER BY priority, id LIMIT ?" lock ") RETURNING " WORK_LIST(NAME_F, NAME_N)

/* OFFSET keeps the server from joining all items with all that are taken: it is asked for each of the few. */
#define KEY_OF_GROUP(of) "substr(" of "work_key, 1, 32)"
#define NOT_ELSEWHERE \
    "w WHERE NOT EXISTS (SELECT 1 FROM work o WHERE " KEY_OF_GROUP("o.") " = " KEY_OF_GROUP("w.") " AND o.owner IS NOT NULL" \
    " AND o.lease_until_us > ? AND split_part(o.owner, '/', 1) <> ? OFFSET 0) AND backend = ?"
/* A worker that came later, to whichever service, gets the jobs: the connection of the other may be long lost without a sign. */
#define NO_NEWER_WORKER \
    " AND NOT EXISTS (SELECT 1 FROM backends b JOIN replicas r ON r.id = split_part(b.worker, '/', 1) AND r.ended = 0" \
    " WHERE b.name = ? AND b.worker <> ?)"

/* Jobs of one group may have to wait for each other, which a service knows of those that it has taken itself: what has another job of
 * its group with another service is left. Two that claim at once would not see each other's; so there is one at a time for each
 * backend, which waits for nothing while it has its turn. */
static int claim_jobs(db_t *db, const char *backend, const char *owner, int64_t now_us, int64_t until_us, int64_t limit,
                      void **list, size_t *n, osmo_error_t *err) {
    char replica[64];
    int64_t unused;
    snprintf(replica, sizeof replica, "%.*s", (int)strcspn(owner, "/"), owner);
    int rc = int_select(db, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended(?, 5718))) AS locked",
                        DB_ARGS(DB_T(backend)), 0, &unused, err);
    return rc < 0 ? rc : rows_select(db, &work_type, CLAIM("w.", NOT_ELSEWHERE NO_NEWER_WORKER, " FOR UPDATE OF w SKIP LOCKED"),
                                     DB_ARGS(DB_T(owner), DB_I(until_us), DB_I(until_us), DB_I(now_us), DB_T(replica),
                                             DB_T(backend), DB_T(backend), DB_T(owner), DB_I(now_us), DB_I(limit)),
                                     list, n, err);
}

int repo_work_claim(db_t *db, const char *backend, const char *owner, int64_t now_us, int64_t lease_us, size_t limit,
                    struct work_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int64_t until = now_us + lease_us;
    int rc;
    if (db_is_pgsql(db) && backend && backend[0] != '/')
        rc = claim_jobs(db, backend, owner, now_us, until, (int64_t)limit, &list, n, err);
    else
        rc = rows_select(db, &work_type, db_is_pgsql(db) ? CLAIM("", "WHERE backend = ?", " FOR UPDATE SKIP LOCKED")
                                                         : CLAIM("", "WHERE backend = ?", ""),
                         DB_ARGS(DB_T(owner), DB_I(until), DB_I(until), DB_T(backend ? backend : ""), DB_I(now_us),
                                 DB_I((int64_t)limit)), &list, n, err);
    struct work_row *rows = *out = list;
    for (size_t i = 0; rc == 0 && i < *n; i++) {
        if (rows[i].backend && !rows[i].backend[0]) {
            free(rows[i].backend);
            rows[i].backend = NULL;
        }
    }
    if (rows) /* RETURNING has no order */
        qsort(rows, *n, sizeof(*rows), by_urgency);
    return rc;
}

static int change_item(db_t *db, const char *sql, const struct db_arg *args, size_t n, int64_t id, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, sql, args, n, &changed, err);
    if (rc == 0 && changed == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "work item %lld does not exist", (long long)id);
    return rc;
}

int repo_work_done(db_t *db, int64_t id, osmo_error_t *err) {
    return change_item(db, "DELETE FROM work WHERE id = ?", DB_ARGS(DB_I(id)), id, err);
}

int repo_work_is_mine(db_t *db, int64_t id, const char *owner, bool *mine, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, db_is_pgsql(db) ? "SELECT 1 FROM work WHERE id = ? AND owner = ? FOR UPDATE"
                                            : "SELECT 1 FROM work WHERE id = ? AND owner = ?",
                        DB_ARGS(DB_I(id), DB_T(owner)), 0, &n, err);
    *mine = n > 0;
    return rc;
}

int repo_work_retry(db_t *db, int64_t id, int64_t run_at_us, const char *error, osmo_error_t *err) {
    return change_item(db, "UPDATE work SET owner = NULL, lease_until_us = 0, run_at_us = ?, due_us = ?, "
                           "attempts = attempts + 1, last_error = ?"
                           " WHERE id = ?", DB_ARGS(DB_I(run_at_us), DB_I(run_at_us), DB_T(error), DB_I(id)), id, err);
}

int repo_work_payload(db_t *db, int64_t id, const char *payload_json, osmo_error_t *err) {
    return change_item(db, "UPDATE work SET payload_json = ? WHERE id = ?", DB_ARGS(DB_T(payload_json), DB_I(id)), id, err);
}

int repo_work_postpone(db_t *db, int64_t id, int64_t run_at_us, osmo_error_t *err) {
    return change_item(db, "UPDATE work SET owner = NULL, lease_until_us = 0, run_at_us = ?, due_us = ? WHERE id = ?",
                       DB_ARGS(DB_I(run_at_us), DB_I(run_at_us), DB_I(id)), id, err);
}

/* run_at_us tells from then on when the item was given up. */
#define KILL(now) \
    "UPDATE work SET owner = NULL, lease_until_us = 0, dead = 1, attempts = attempts + 1, run_at_us = " now \
    ", last_error = ? WHERE id = ?"

int repo_work_kill(db_t *db, int64_t id, const char *error, osmo_error_t *err) {
    return change_item(db, db_is_pgsql(db) ? KILL("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)")
                                           : KILL("CAST(strftime('%s', 'now') AS INTEGER) * 1000000"),
                       DB_ARGS(DB_T(error), DB_I(id)), id, err);
}

/* On a server, rows that somebody else has locked are left: waiting for one with others in hand could be a deadlock. */
#define OF_OWNER "(SELECT id FROM work WHERE owner = ? FOR UPDATE SKIP LOCKED)"

static int count_of_owner(db_t *db, const char *owner, int64_t *left, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM work WHERE owner = ?", DB_ARGS(DB_T(owner)), 0, left, err);
}

int repo_work_release(db_t *db, const char *owner, int64_t *left, osmo_error_t *err) {
    static const char all[] = "UPDATE work SET owner = NULL, lease_until_us = 0, due_us = run_at_us WHERE owner = ?";
    static const char free_ones[] = "UPDATE work SET owner = NULL, lease_until_us = 0, due_us = run_at_us WHERE id IN " OF_OWNER;
    *left = 0;
    int rc = db_exec(db, db_is_pgsql(db) ? free_ones : all, DB_ARGS(DB_T(owner)), NULL, err);
    return rc < 0 || !db_is_pgsql(db) ? rc : count_of_owner(db, owner, left, err);
}

int repo_work_release_one(db_t *db, const char *owner, int64_t *left, osmo_error_t *err) {
    int rc = db_exec(db, "UPDATE work SET owner = NULL, lease_until_us = 0, due_us = run_at_us WHERE id ="
                         " (SELECT MIN(id) FROM work WHERE owner = ?) AND owner = ?", DB_ARGS(DB_T(owner), DB_T(owner)), NULL, err);
    return rc < 0 ? rc : count_of_owner(db, owner, left, err);
}

int repo_work_renew(db_t *db, const char *owner, int64_t lease_until_us, osmo_error_t *err) {
    return db_exec(db, db_is_pgsql(db) ? "UPDATE work SET lease_until_us = ?, due_us = ? WHERE id IN " OF_OWNER
                                       : "UPDATE work SET lease_until_us = ?, due_us = ? WHERE owner = ?",
                   DB_ARGS(DB_I(lease_until_us), DB_I(lease_until_us), DB_T(owner)), NULL, err);
}

int repo_work_next_due(db_t *db, int64_t now_us, int64_t *due_us, osmo_error_t *err) {
    return int_select(db, "SELECT MIN(due_us) FROM work WHERE dead = 0 AND due_us > ?", DB_ARGS(DB_I(now_us)),
                      0, due_us, err);
}

/* ---- timers ---- */

#define TIMER_LIST(F, N) \
    F(I64, id, id) N(TEXT, kind, kind) N(UUID, workflow_uuid, workflow_uuid) N(TEXT, subject, subject) \
        N(I64, generation, generation) \
    N(I64, due_us, due_us)
#define TM_COL(kind, column, field) COL_ENTRY(timer_row, kind, column, field)
static const struct col timer_cols[] = { TIMER_LIST(TM_COL, TM_COL) };
#define TIMER_LEN (sizeof(timer_cols) / sizeof(timer_cols[0]))
static const struct row_type timer_type = { "timers", sizeof(struct timer_row), timer_cols, TIMER_LEN, TIMER_LEN };

#define SELECT_TIMER "SELECT " TIMER_LIST(NAME_F, NAME_N) " FROM timers"

void timer_rows_free(struct timer_row *r, size_t n) { row_list_free(&timer_type, r, n); }

/* A replaced timer gets a new id: whoever still holds the old row cannot delete the new timer. */
int repo_timer_set(db_t *db, const char *kind, const char *workflow_uuid, const char *subject,
                   int64_t generation, int64_t due_us, osmo_error_t *err) {
    static const char replace[] = "REPLACE INTO timers (kind, workflow_uuid, subject, generation, due_us) VALUES (?, ?, ?, ?, ?)";
    static const char insert[] = "INSERT INTO timers (kind, workflow_uuid, subject, generation, due_us) VALUES (?, ?, ?, ?, ?)"
                                 " ON CONFLICT (kind, subject) DO UPDATE SET generation = excluded.generation, due_us = "
                                 "excluded.due_us";
    int rc = db_is_pgsql(db) ? db_exec(db, "DELETE FROM timers WHERE kind = ? AND subject = ?",
                                       DB_ARGS(DB_T(kind), DB_T(subject)), NULL, err) : 0;
    if (rc < 0)
        return rc;
    return db_exec(db, db_is_pgsql(db) ? insert : replace,
                   DB_ARGS(DB_T(kind), DB_T(workflow_uuid ? workflow_uuid : ""), DB_T(subject), DB_I(generation),
                           DB_I(due_us)), NULL, err);
}

int repo_timer_due(db_t *db, int64_t now_us, size_t limit, struct timer_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &timer_type, SELECT_TIMER " WHERE due_us <= ? ORDER BY due_us, id LIMIT ?",
                         DB_ARGS(DB_I(now_us), DB_I((int64_t)limit)), &list, n, err);
    *out = list;
    return rc;
}

int repo_timer_next(db_t *db, int64_t *due_us, osmo_error_t *err) {
    return int_select(db, "SELECT MIN(due_us) FROM timers", NULL, 0, 0, due_us, err);
}

int repo_timer_take(db_t *db, int64_t id, bool *taken, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, "DELETE FROM timers WHERE id = ?", DB_ARGS(DB_I(id)), &changed, err);
    *taken = changed > 0;
    return rc;
}

int repo_timers_of_workflow_delete(db_t *db, const char *workflow_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM timers WHERE workflow_uuid = ?", DB_ARGS(DB_T(workflow_uuid)), NULL, err);
}

/* The clock was set by step_us: everything that waits goes on waiting as long as before. Dead items wait for nothing. */
int repo_deadlines_move(db_t *db, int64_t step_us, osmo_error_t *err) {
    /* a silent backend is not longer silent than before; first, as whoever gives one up locks it before timers and items */
    int rc = db_exec(db, "UPDATE backends SET heartbeat_us = heartbeat_us + ?", DB_ARGS(DB_I(step_us)), NULL, err);
    if (rc >= 0)
        rc = db_exec(db, "UPDATE timers SET due_us = due_us + ?", DB_ARGS(DB_I(step_us)), NULL, err);
    return rc < 0 ? rc : db_exec(db, "UPDATE work SET run_at_us = run_at_us + ?, due_us = due_us + ?, lease_until_us ="
                                     " CASE WHEN lease_until_us > 0 THEN lease_until_us + ? ELSE 0 END WHERE dead = 0",
                                 DB_ARGS(DB_I(step_us), DB_I(step_us), DB_I(step_us)), NULL, err);
}
