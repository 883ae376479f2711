/* See repo_queues.h. */
#include "store/repo_queues.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "store/rows.h"

#define PRIORITY 0 /* before the jobs of any group */

/* "queues/NAME", of the kind sync_queues. */
static char *kv_name(const char *kind, const char *backend) {
    return str_printf("%s/%s", str_starts(kind, "sync_") ? kind + strlen("sync_") : kind, backend);
}

/* Whoever settles the item at the same time comes before this transaction or after it. */
static int is_queued(db_t *db, const char *kind, const char *backend, bool *queued, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, db_is_pgsql(db) ? "SELECT 1 FROM work WHERE kind = ? AND work_key = ? FOR UPDATE"
                                            : "SELECT 1 FROM work WHERE kind = ? AND work_key = ?",
                        DB_ARGS(DB_T(kind), DB_T(backend)), 0, &n, err);
    *queued = n > 0;
    return rc;
}

int repo_queues_want(db_t *db, const char *kind, const char *backend, const char *digest, const char *payload_json, int64_t now_us,
                     bool empty, bool *queued, osmo_error_t *err) {
    _cleanup_free_ char *name = kv_name(kind, backend), *have = NULL;
    int rc = name ? is_queued(db, kind, backend, queued, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0 && !*queued)
        rc = repo_kv_get(db, name, &have, err);
    if (rc < 0 && rc != OSMO_ENOTFOUND)
        return rc;
    if (!*queued && (have ? str_eq(have, digest) : empty))
        return 0;
    *queued = true;
    return db_exec(db, "INSERT INTO work (kind, work_key, workflow_uuid, backend, payload_json, priority, run_at_us,"
                       " lease_until_us, due_us, attempts, dead) VALUES (?, ?, '', ?, ?, ?, ?, 0, ?, 0, 0)"
                       " ON CONFLICT (kind, work_key) DO UPDATE SET run_at_us = excluded.run_at_us,"
                       " due_us = CASE WHEN work.lease_until_us > excluded.due_us THEN work.due_us ELSE excluded.due_us END,"
                       " attempts = CASE WHEN work.dead = 1 OR work.payload_json <> excluded.payload_json THEN 0"
                       " ELSE work.attempts END, payload_json = excluded.payload_json, dead = 0",
                   DB_ARGS(DB_T(kind), DB_T(backend), DB_T(backend), DB_T(payload_json), DB_I(PRIORITY), DB_I(now_us), DB_I(now_us)),
                   NULL, err);
}

int repo_queues_have(db_t *db, const char *kind, const char *backend, const char *digest, osmo_error_t *err) {
    _cleanup_free_ char *name = kv_name(kind, backend);
    return name ? repo_kv_set(db, name, digest, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int repo_queues_unchanged(db_t *db, int64_t id, const char *payload_json, bool *same, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, "SELECT 1 FROM work WHERE id = ? AND payload_json = ?", DB_ARGS(DB_I(id), DB_T(payload_json)), 0, &n, err);
    *same = n > 0;
    return rc;
}

int repo_queues_forget(db_t *db, const char *backend, osmo_error_t *err) {
    static const char *const kinds[] = { SYNC_QUEUES, SYNC_TESTS };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *name = kv_name(kinds[i], backend);
        rc = name ? db_exec(db, "DELETE FROM kv WHERE name = ?", DB_ARGS(DB_T(name)), NULL, err)
                  : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return rc;
}
