/* The table of services that share the database, and their clock. See repo_replica.h. */
#include "store/repo_replica.h"
#include "base/cleanup.h"
#include "store/rows.h"

#define DB_NOW "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
#define KV_CLOCK "clock_steps_us"
#define PIECE "1000" /* items given back in one transaction */

#define REPLICA_LIST(F, N) \
    F(UUID, id, id) N(TEXT, address, address) N(TEXT, storage, storage) N(TEXT, host, host) N(TEXT, version, version) \
    N(I64, pid, pid) N(I64, started_us, started_us) N(I64, lease_until_us, lease_until_us) N(BOOL, ended, ended) \
    N(I64, roles, roles)
#define R_COL(kind, column, field) COL_ENTRY(replica_row, kind, column, field)
#define NAME_F(kind, column, field) #column
#define NAME_N(kind, column, field) ", " #column
static const struct col replica_cols[] = { REPLICA_LIST(R_COL, R_COL) };
#define REPLICA_LEN (sizeof(replica_cols) / sizeof(replica_cols[0]))
static const struct row_type replica_type = { "replicas", sizeof(struct replica_row), replica_cols, REPLICA_LEN, REPLICA_LEN };

void replica_row_clear(struct replica_row *r) { row_clear(&replica_type, r); }
void replica_rows_free(struct replica_row *r, size_t n) { row_list_free(&replica_type, r, n); }

/* ---- the clock ---- */

int repo_clock(db_t *db, int64_t *now_us, osmo_error_t *err) {
    return int_select(db, "SELECT " DB_NOW, NULL, 0, 0, now_us, err);
}

int repo_clock_steps(db_t *db, bool lock, int64_t *steps_us, osmo_error_t *err) {
    int rc = lock ? repo_kv_set_if_absent(db, KV_CLOCK, "0", err) : 0;
    return rc < 0 ? rc : int_select(db, lock ? "SELECT CAST(content AS BIGINT) FROM kv WHERE name = '" KV_CLOCK "' FOR UPDATE"
                                             : "SELECT CAST(content AS BIGINT) FROM kv WHERE name = '" KV_CLOCK "'",
                                    NULL, 0, 0, steps_us, err);
}

int repo_clock_step(db_t *db, int64_t steps_us, osmo_error_t *err) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)steps_us);
    return repo_kv_set(db, KV_CLOCK, text, err);
}

/* ---- the table ---- */

int repo_replica_lock(db_t *db, osmo_error_t *err) {
    int64_t unused;
    return int_select(db, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended(COALESCE(current_schema(), ''), 5719)))"
                          " AS locked", NULL, 0, 0, &unused, err);
}

int repo_replica_put(db_t *db, const struct replica_row *r, int64_t lease_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO replicas (id, address, storage, host, version, pid, roles, started_us, lease_until_us, ended)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, " DB_NOW ", " DB_NOW " + ?, 0) ON CONFLICT (id) DO UPDATE SET"
                       " address = excluded.address, lease_until_us = excluded.lease_until_us, ended = 0",
                   DB_ARGS(DB_T(r->id), DB_T(r->address ? r->address : ""), DB_T(r->storage), DB_T(r->host), DB_T(r->version),
                           DB_I(r->pid), DB_I(r->roles), DB_I(lease_us)), NULL, err);
}

/* Not whether the lease is over counts, but whether somebody has acted on that: a clock may have been set. */
int repo_replica_renew(db_t *db, const char *id, int64_t lease_us, bool *lost, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, "UPDATE replicas SET lease_until_us = " DB_NOW " + ? WHERE id = ? AND ended = 0",
                     DB_ARGS(DB_I(lease_us), DB_T(id)), &changed, err);
    *lost = rc >= 0 && changed == 0;
    return rc;
}

int repo_replica_address(db_t *db, const char *id, const char *address, osmo_error_t *err) {
    return db_exec(db, "UPDATE replicas SET address = ? WHERE id = ?", DB_ARGS(DB_T(address), DB_T(id)), NULL, err);
}

int repo_replica_delete(db_t *db, const char *id, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM replicas WHERE id = ?", DB_ARGS(DB_T(id)), NULL, err);
}

int repo_replica_delete_ended(db_t *db, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM replicas WHERE id IN (SELECT id FROM replicas WHERE lease_until_us <= " DB_NOW
                       " ORDER BY id FOR UPDATE SKIP LOCKED)", NULL, 0, NULL, err);
}

int repo_replica_list(db_t *db, size_t limit, struct replica_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &replica_type, "SELECT " REPLICA_LIST(NAME_F, NAME_N) " FROM replicas ORDER BY id LIMIT ?",
                         DB_ARGS(DB_I((int64_t)limit)), &list, n, err);
    *out = list;
    return rc;
}

/* ---- what others had ---- */

/* A row that somebody else has locked is being settled: its answer has come. */
#define FREE_WHERE(where) \
    "UPDATE work SET owner = NULL, lease_until_us = 0, due_us = run_at_us WHERE id IN (SELECT w.id FROM work w WHERE " where \
    " FOR UPDATE OF w SKIP LOCKED)"
/* The character behind '/' is '0': exactly the owners that begin with "<id>/", as a stretch of the index. */
#define OF_REPLICA "w.owner >= ? AND w.owner < ?"

struct owners { char from[40], to[40]; };

static struct owners owners_of(const char *id) {
    struct owners o;
    snprintf(o.from, sizeof o.from, "%.33s/", id);
    snprintf(o.to, sizeof o.to, "%.33s0", id);
    return o;
}

int repo_work_release_replica(db_t *db, const char *id, osmo_error_t *err) {
    struct owners o = owners_of(id);
    return db_exec(db, FREE_WHERE(OF_REPLICA), DB_ARGS(DB_T(o.from), DB_T(o.to)), NULL, err);
}

int repo_work_recover(db_t *db, osmo_error_t *err) {
    static const char all[] = "UPDATE work SET owner = NULL, lease_until_us = 0, due_us = run_at_us WHERE owner IS NOT NULL";
    static const char of_none[] =
        FREE_WHERE("w.owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = split_part(w.owner, '/', 1)"
                   " AND r.ended = 0)");
    return db_exec(db, db_is_pgsql(db) ? of_none : all, NULL, 0, NULL, err);
}

int repo_replica_bury(db_t *db, const char *id, bool *gone, osmo_error_t *err) {
    struct owners o = owners_of(id);
    int64_t mine = 0, left = 0;
    *gone = false;
    int rc = int_select(db, "SELECT 1 FROM replicas WHERE id = ? AND lease_until_us <= " DB_NOW " FOR UPDATE SKIP LOCKED",
                        DB_ARGS(DB_T(id)), 0, &mine, err);
    if (rc < 0 || !mine)
        return rc;
    rc = db_exec(db, "UPDATE replicas SET ended = 1 WHERE id = ? AND ended = 0", DB_ARGS(DB_T(id)), NULL, err);
    if (rc >= 0)
        rc = db_exec(db, FREE_WHERE(OF_REPLICA " ORDER BY w.id LIMIT " PIECE), DB_ARGS(DB_T(o.from), DB_T(o.to)), NULL, err);
    if (rc >= 0)
        rc = int_select(db, "SELECT COUNT(*) FROM (SELECT 1 FROM work w WHERE " OF_REPLICA " LIMIT 1) AS x",
                        DB_ARGS(DB_T(o.from), DB_T(o.to)), 0, &left, err);
    if (rc < 0 || left)
        return rc;
    *gone = true;
    return repo_replica_delete(db, id, err);
}

int repo_worker_set(db_t *db, const char *backend, const char *owner, osmo_error_t *err) {
    return db_exec(db, "UPDATE backends SET worker = ? WHERE name = ?", DB_ARGS(DB_T(owner), DB_T(backend)), NULL, err);
}

int repo_worker_ended(db_t *db, const char *owner, osmo_error_t *err) {
    return db_exec(db, "UPDATE backends SET worker = '' WHERE worker = ?", DB_ARGS(DB_T(owner)), NULL, err);
}

int repo_work_is_due(db_t *db, const char *backend, int64_t now_us, bool *due, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, "SELECT COUNT(*) FROM (SELECT 1 FROM work WHERE backend = ? AND dead = 0 AND due_us <= ? LIMIT 1) AS x",
                        DB_ARGS(DB_T(backend ? backend : ""), DB_I(now_us)), 0, &n, err);
    *due = n > 0;
    return rc;
}
