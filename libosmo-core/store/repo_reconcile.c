/* What is believed to be in the clusters; see repo_reconcile.h. */
#include "store/repo_reconcile.h"

#include <string.h>

#include "base/cleanup.h"
#include "store/rows.h"

/* ---- placements ---- */

int repo_placement_add(db_t *db, const char *group_uuid, const char *workflow_uuid, const char *backend, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO placements (group_uuid, task_uuid, retry_id, workflow_uuid, backend, snapshot, confirmed_us)"
                       " VALUES (?, '', 0, ?, ?, 0, 0) ON CONFLICT (group_uuid, task_uuid, retry_id) DO NOTHING",
                   DB_ARGS(DB_T(group_uuid), DB_T(workflow_uuid), DB_T(backend)), NULL, err);
}

/* A confirmation that comes twice keeps the first number: the objects were there then. One of a group that was given up is void, so
 * that nothing is left of it. */
int repo_placement_confirm(db_t *db, const char *group_uuid, const char *task_uuid, int64_t retry_id, const char *workflow_uuid,
                           const char *backend, int64_t now_us, osmo_error_t *err) {
    if (!*task_uuid)
        return db_exec(db, "UPDATE placements SET snapshot = (SELECT snapshot FROM backends WHERE name = ?), confirmed_us = ?"
                           " WHERE group_uuid = ? AND task_uuid = '' AND retry_id = 0 AND snapshot = 0",
                       DB_ARGS(DB_T(backend), DB_I(now_us), DB_T(group_uuid)), NULL, err);
    return db_exec(db, "INSERT INTO placements (group_uuid, task_uuid, retry_id, workflow_uuid, backend, snapshot, confirmed_us)"
                       " SELECT g.group_uuid, ?, ?, ?, g.backend, b.snapshot, ? FROM placements g JOIN backends b"
                       " ON b.name = g.backend WHERE g.group_uuid = ? AND g.task_uuid = '' AND g.retry_id = 0"
                       " ON CONFLICT (group_uuid, task_uuid, retry_id) DO NOTHING",
                   DB_ARGS(DB_T(task_uuid), DB_I(retry_id), DB_T(workflow_uuid), DB_I(now_us), DB_T(group_uuid)), NULL, err);
}

int repo_placement_remove(db_t *db, const char *group_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM placements WHERE group_uuid = ?", DB_ARGS(DB_T(group_uuid)), NULL, err);
}

/* ---- snapshots ---- */

int repo_snapshot_begin(db_t *db, const char *backend, int64_t *number, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_query(db, "UPDATE backends SET snapshot = snapshot + 1 WHERE name = ? RETURNING snapshot", DB_ARGS(DB_T(backend)),
                      &rows, err);
    if (rc >= 0)
        rc = db_next(rows, err);
    if (rc == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "backend %s does not exist", backend);
    if (rc > 0)
        *number = db_int(rows, 0);
    return rc < 0 ? rc : 0;
}

#define PLACED(kind, column, field) COL_ENTRY(placed_task, kind, column, field)
static const struct col placed_cols[] = { PLACED(UUID, uuid, uuid) PLACED(UUID, group_uuid, group_uuid)
                                          PLACED(UUID, workflow_uuid, workflow_uuid) PLACED(TEXT, name, name)
                                          PLACED(TEXT, pod_name, pod_name) PLACED(I64, retry_id, retry_id) };
static const struct row_type placed_type = { "tasks", sizeof(struct placed_task), placed_cols, ARRAY_SIZE(placed_cols),
                                             ARRAY_SIZE(placed_cols) };

void placed_tasks_free(struct placed_task *r, size_t n) { row_list_free(&placed_type, r, n); }

static void copy_uuid(char out[33], const char *text) { snprintf(out, 33, "%s", text); }

/* One page of placements, as the end of the walk or where it goes on. */
static int next_page(db_t *db, const char *backend, size_t limit, struct placement_cursor *c, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    size_t n = 0;
    int rc = db_query(db, "SELECT workflow_uuid, group_uuid, task_uuid, retry_id FROM placements WHERE backend = ?"
                          " AND (workflow_uuid, group_uuid, task_uuid, retry_id) > (?, ?, ?, ?)"
                          " ORDER BY workflow_uuid, group_uuid, task_uuid, retry_id LIMIT ?",
                      DB_ARGS(DB_T(backend), DB_T(c->workflow_uuid), DB_T(c->group_uuid), DB_T(c->task_uuid), DB_I(c->retry_id),
                              DB_I((int64_t)limit)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) > 0) {
        copy_uuid(c->workflow_uuid, db_text(rows, 0));
        copy_uuid(c->group_uuid, db_text(rows, 1));
        copy_uuid(c->task_uuid, db_text(rows, 2));
        c->retry_id = db_int(rows, 3);
        n++;
    }
    c->end = n < limit;
    return rc;
}

int repo_placed_tasks(db_t *db, const char *backend, int64_t snapshot, int64_t confirmed_us, size_t limit,
                      struct placement_cursor *c, struct placed_task **out, size_t *n, osmo_error_t *err) {
    struct placement_cursor from = *c;
    void *list = NULL;
    int rc = next_page(db, backend, limit, c, err);
    if (rc >= 0)
        rc = rows_select(db, &placed_type,
                         "SELECT t.uuid, t.group_uuid, t.workflow_uuid, t.name, t.pod_name, t.retry_id FROM placements p JOIN tasks t"
                         " ON t.group_uuid = p.group_uuid AND t.retry_id = p.retry_id AND t.status < 7"
                         " AND (p.task_uuid = '' OR p.task_uuid = t.uuid)"
                         " WHERE p.backend = ? AND p.snapshot > 0 AND p.snapshot < ? AND p.confirmed_us <= ?"
                         " AND (p.workflow_uuid, p.group_uuid, p.task_uuid, p.retry_id) > (?, ?, ?, ?)"
                         " AND (p.workflow_uuid, p.group_uuid, p.task_uuid, p.retry_id) <= (?, ?, ?, ?)"
                         " ORDER BY p.workflow_uuid, p.group_uuid, t.ordinal",
                         DB_ARGS(DB_T(backend), DB_I(snapshot), DB_I(confirmed_us), DB_T(from.workflow_uuid), DB_T(from.group_uuid),
                                 DB_T(from.task_uuid), DB_I(from.retry_id), DB_T(c->workflow_uuid), DB_T(c->group_uuid),
                                 DB_T(c->task_uuid), DB_I(c->retry_id)),
                         &list, n, err);
    *out = list;
    return rc;
}

#define KNOWN(kind, column, field) COL_ENTRY(pod_known, kind, column, field)
static const struct col known_cols[] = { KNOWN(UUID, uuid, uuid) KNOWN(UUID, workflow_uuid, workflow_uuid)
                                         KNOWN(UUID, group_uuid, group_uuid) KNOWN(TEXT, backend, backend) KNOWN(TEXT, name, name)
                                         KNOWN(I64, retry_id, retry_id) KNOWN(I64, exec_generation, exec_generation)
                                         KNOWN(ENUM, status, status) KNOWN(ENUM, group_status, group_status)
                                         KNOWN(BOOL, is_lead, lead) KNOWN(BOOL, retry_pending, retry_pending) };
static const struct row_type known_type = { "tasks", sizeof(struct pod_known), known_cols, ARRAY_SIZE(known_cols),
                                            ARRAY_SIZE(known_cols) };

void pods_known_free(struct pod_known *r, size_t n) { row_list_free(&known_type, r, n); }

int repo_pods_known(db_t *db, const char *const *task_uuids, size_t n_uuids, struct pod_known **out, size_t *n, osmo_error_t *err) {
    struct db_arg args[PODS_KNOWN_MAX];
    void *list = NULL;
    for (size_t i = 0; i < PODS_KNOWN_MAX; i++)
        args[i] = DB_T(i < n_uuids ? task_uuids[i] : "");
    int rc = rows_select(db, &known_type,
                         "SELECT t.uuid, t.workflow_uuid, t.group_uuid, w.backend, t.name, t.retry_id, g.exec_generation, t.status,"
                         " g.status, t.is_lead, CASE WHEN t.retry_id > 0 AND t.status < 7 AND NOT EXISTS (SELECT 1 FROM placements p"
                         " WHERE p.group_uuid = t.group_uuid AND p.task_uuid = t.uuid AND p.retry_id = t.retry_id) THEN 1 ELSE 0 END"
                         " FROM tasks t JOIN workflow_groups g ON g.uuid = t.group_uuid JOIN workflows w ON w.uuid = t.workflow_uuid"
                         " WHERE t.uuid IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                         " ?, ?)",
                         args, PODS_KNOWN_MAX, &list, n, err);
    *out = list;
    return rc;
}

int repo_place_known(db_t *db, const char *workflow_uuid, const char *group_uuid, char **backend, bool *group, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *backend = NULL;
    *group = false;
    int rc = db_query(db, "SELECT w.backend, g.uuid FROM workflows w LEFT JOIN workflow_groups g ON g.workflow_uuid = w.uuid AND"
                          " g.uuid = ? WHERE w.uuid = ?", DB_ARGS(DB_T(group_uuid), DB_T(workflow_uuid)), &rows, err);
    if (rc >= 0)
        rc = db_next(rows, err);
    if (rc <= 0)
        return rc;
    *group = !db_is_null(rows, 1);
    *backend = str_dup(db_text(rows, 0));
    return *backend ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* ---- a backend that is gone ---- */

#define LIFE(kind, column, field) COL_ENTRY(backend_life, kind, column, field)
static const struct col life_cols[] = { LIFE(TEXT, name, name) LIFE(I64, heartbeat_us, heartbeat_us) LIFE(I64, lost_us, lost_us) };
static const struct row_type life_type = { "backends", sizeof(struct backend_life), life_cols, ARRAY_SIZE(life_cols),
                                           ARRAY_SIZE(life_cols) };

void backend_lives_free(struct backend_life *r, size_t n) { row_list_free(&life_type, r, n); }

int repo_backend_lives(db_t *db, struct backend_life **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &life_type, "SELECT name, heartbeat_us, lost_us FROM backends ORDER BY name", NULL, 0, &list, n, err);
    *out = list;
    return rc;
}

static int changes(db_t *db, const char *sql, const struct db_arg *args, size_t n, bool *yes, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, sql, args, n, &changed, err);
    *yes = changed > 0;
    return rc;
}

int repo_backend_lose(db_t *db, const char *name, int64_t heartbeat_us, int64_t now_us, bool *lost, osmo_error_t *err) {
    return changes(db, "UPDATE backends SET lost_us = ? WHERE name = ? AND heartbeat_us = ? AND lost_us = 0",
                   DB_ARGS(DB_I(now_us), DB_T(name), DB_I(heartbeat_us)), lost, err);
}

/* An update, for it locks the row. */
int repo_backend_is_lost(db_t *db, const char *name, bool *lost, osmo_error_t *err) {
    return changes(db, "UPDATE backends SET lost_us = lost_us WHERE name = ? AND lost_us > 0", DB_ARGS(DB_T(name)), lost, err);
}

int repo_backend_returned(db_t *db, const char *name, bool *returned, osmo_error_t *err) {
    return changes(db, "UPDATE backends SET lost_us = 0 WHERE name = ? AND lost_us > 0", DB_ARGS(DB_T(name)), returned, err);
}

int repo_placed_workflows(db_t *db, const char *backend, const char *after, size_t limit, strlist_t *uuids, osmo_error_t *err) {
    return strings_select(db, "SELECT DISTINCT workflow_uuid FROM placements WHERE backend = ? AND workflow_uuid > ?"
                              " ORDER BY workflow_uuid LIMIT ?",
                          DB_ARGS(DB_T(backend), DB_T(after), DB_I((int64_t)limit)), 1, uuids, err);
}

int repo_placed_unfinished(db_t *db, const char *workflow_uuid, const char *backend, int64_t *groups, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM placements p JOIN workflow_groups g ON g.uuid = p.group_uuid AND g.status < 7"
                          " WHERE p.backend = ? AND p.workflow_uuid = ? AND p.task_uuid = ''",
                      DB_ARGS(DB_T(backend), DB_T(workflow_uuid)), 0, groups, err);
}

int repo_work_bury(db_t *db, const char *group_uuid, const char *error, int64_t now_us, osmo_error_t *err) {
    _cleanup_free_ char *forced = str_printf("%s:force", group_uuid);
    if (!forced)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return db_exec(db, "UPDATE work SET owner = NULL, lease_until_us = 0, dead = 1, run_at_us = ?, last_error = ?"
                       " WHERE kind = 'cleanup_group' AND work_key IN (?, ?) AND dead = 0",
                   DB_ARGS(DB_I(now_us), DB_T(error), DB_T(group_uuid), DB_T(forced)), NULL, err);
}

int repo_work_revive_at(db_t *db, const char *backend, const char *kind, int64_t now_us, size_t limit, int64_t *revived,
                        osmo_error_t *err) {
    return db_exec(db, "UPDATE work SET dead = 0, attempts = 0, owner = NULL, lease_until_us = 0, run_at_us = ?, due_us = ?"
                       " WHERE id IN (SELECT id FROM work WHERE dead = 1 AND backend = ? AND kind = ? ORDER BY id LIMIT ?)",
                   DB_ARGS(DB_I(now_us), DB_I(now_us), DB_T(backend), DB_T(kind), DB_I((int64_t)limit)), revived, err);
}
