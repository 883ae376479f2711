/* Task attempts: insertion in bulk, look-ups by name, pod, node and group, updates. Part of repo.h. The
 * transfer times belong to repo_task_metric() alone: ctrl reports them outside of the workflow's lock. */
#include <string.h>
#include "store/repo.h"
#include "store/row_cache.h"

#define TASK_FIXED(F, N) \
    F(UUID, task_key, key) N(UUID, uuid, uuid) N(UUID, workflow_uuid, workflow_uuid) \
        N(UUID, group_uuid, group_uuid) N(TEXT, name, name) \
    N(I64, ordinal, ordinal) N(I64, retry_id, sm.retry_id) N(REAL, cpu, cpu) N(REAL, gpu, gpu) \
        N(REAL, memory_gib, memory_gib) \
    N(REAL, storage_gib, storage_gib) N(I64, input_download_start_us, input_download_start_us) \
    N(I64, input_download_end_us, input_download_end_us) N(I64, output_upload_start_us, output_upload_start_us) \
    N(I64, output_upload_end_us, output_upload_end_us) N(TEXT, pod_name, pod_name) N(BOOL, is_lead, sm.lead) \
    N(TEXT, exit_actions_json, exit_actions_json)
/* What is in an index beside the status comes last: SQLite writes an index again whenever its column is set. */
#define TASK_PLAIN(F, N) \
    F(ENUM, status, sm.status) N(I64, exit_code, sm.exit_code) N(TEXT, failure_message, failure_message) \
    N(TEXT, pod_ip, pod_ip) \
    N(I64, scheduling_us, sm.scheduling_us) N(I64, initializing_us, sm.initializing_us) \
    N(I64, heartbeat_us, heartbeat_us)
#define TASK_ENDED(F, N) TASK_PLAIN(F, N) N(I64, end_us, sm.end_us)
#define TASK_MUTABLE(F, N) TASK_ENDED(F, N) N(I64, start_us, sm.start_us) N(TEXT, node_name, node_name)
#define T_COL(kind, column, field) COL_ENTRY(task_row, kind, column, field)

static const struct col task_cols[] =
    { TASK_FIXED(T_COL, T_COL) TASK_MUTABLE(T_COL, T_COL) T_COL(TEXT, group_name, group_name) };
#define TASK_LEN (sizeof(task_cols) / sizeof(task_cols[0]))
#define TASK_FIXED_LEN (sizeof((struct col[]){ TASK_FIXED(T_COL, T_COL) }) / sizeof(struct col))
#define MUTABLE_COLS (task_cols + TASK_FIXED_LEN)
#define MUTABLE_LEN (TASK_LEN - 1 - TASK_FIXED_LEN)
#define PLAIN_LEN (MUTABLE_LEN - 3)
static const struct row_type task_type = { "tasks", sizeof(struct task_row), task_cols, TASK_LEN - 1, TASK_LEN };

#define TASK_SELECT TASK_SELECT_WITH("")
#define TASK_SELECT_WITH(more) \
    "SELECT " TASK_FIXED(COL_SELECT_F, COL_SELECT_N) TASK_MUTABLE(COL_SELECT_N, COL_SELECT_N) \
    ", g.name" more " FROM tasks t JOIN workflow_groups g ON g.uuid = t.group_uuid "
#define LATEST " AND t.retry_id = (SELECT MAX(x.retry_id) FROM tasks x WHERE x.uuid = t.uuid)"

void task_row_clear(struct task_row *r) { row_clear(&task_type, r); }
void task_rows_free(struct task_row *r, size_t n) { row_list_free(&task_type, r, n); }

int repo_tasks_insert(db_t *db, const struct task_row *rows, size_t n, osmo_error_t *err) {
    return rows_insert(db, &task_type, rows, n, err);
}

static int select_tasks(db_t *db, const char *sql, const struct db_arg *args, size_t n_args,
                        struct task_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &task_type, sql, args, n_args, &list, n, err);
    *out = list;
    return rc;
}

int repo_task_get(db_t *db, const char *workflow_uuid, const char *task_uuid, int64_t retry_id,
                  struct task_row *out, osmo_error_t *err) {
    if (!db_row_cache(db))
        return row_select(db, &task_type, TASK_SELECT "WHERE t.uuid = ? AND t.retry_id = ? AND t.workflow_uuid = ?",
                          DB_ARGS(DB_T(task_uuid), DB_I(retry_id), DB_T(workflow_uuid)), out, err,
                          "task %s retry %lld", task_uuid, (long long)retry_id);
    int rc = row_select_cached(db, &task_type, (struct row_key){ task_uuid, retry_id },
                               TASK_SELECT_WITH(", t.rowid") "WHERE t.uuid = ? AND t.retry_id = ?",
                               DB_ARGS(DB_T(task_uuid), DB_I(retry_id)), out, err, "task %s retry %lld", task_uuid,
                               (long long)retry_id);
    if (rc < 0 || strcmp(out->workflow_uuid, workflow_uuid) == 0)
        return rc;
    task_row_clear(out);
    return osmo_error_set(err, OSMO_ENOTFOUND, "task %s retry %lld does not exist", task_uuid, (long long)retry_id);
}

int repo_task_by_name(db_t *db, const char *workflow_uuid, const char *name, int64_t retry_id,
                      struct task_row *out, osmo_error_t *err) {
    if (retry_id < 0)
        return row_select(db, &task_type, TASK_SELECT "WHERE t.workflow_uuid = ? AND t.name = ? ORDER BY "
                                                      "t.retry_id DESC LIMIT 1",
                          DB_ARGS(DB_T(workflow_uuid), DB_T(name)), out, err, "task %s", name);
    return row_select(db, &task_type, TASK_SELECT "WHERE t.workflow_uuid = ? AND t.name = ? AND t.retry_id = ?",
                      DB_ARGS(DB_T(workflow_uuid), DB_T(name), DB_I(retry_id)), out, err, "task %s retry %lld",
                          name, (long long)retry_id);
}

int repo_attempt_status(db_t *db, const char *workflow_id, const char *group, const char *name, int64_t retry_id, enum status *status,
                        osmo_error_t *err) {
    int64_t found;
    int rc = int_select(db, "SELECT t.status FROM workflows w JOIN tasks t ON t.workflow_uuid = w.uuid"
                            " JOIN workflow_groups g ON g.uuid = t.group_uuid"
                            " WHERE w.id = ? AND t.name = ? AND t.retry_id = ? AND g.name = ?",
                        DB_ARGS(DB_T(workflow_id), DB_T(name), DB_I(retry_id), DB_T(group)), -1, &found, err);
    if (rc < 0)
        return rc;
    *status = (enum status)found;
    return found >= 0 ? 0 : osmo_error_set(err, OSMO_ENOTFOUND, "task %s, attempt %lld, does not exist", name, (long long)retry_id);
}

int repo_tasks_by_pod(db_t *db, const char *pod_name, struct task_row **out, size_t *n, osmo_error_t *err) {
    return select_tasks(db, TASK_SELECT "WHERE t.pod_name = ? ORDER BY t.workflow_uuid, t.ordinal, t.retry_id",
                        DB_ARGS(DB_T(pod_name)), out, n, err);
}

int repo_tasks_by_node(db_t *db, const char *backend, const char *node, struct task_row **out, size_t *n,
                       osmo_error_t *err) {
    return select_tasks(db, TASK_SELECT "JOIN workflows w ON w.uuid = t.workflow_uuid WHERE t.node_name = ? AND "
                                        "t.end_us = 0 AND t.status < 7 AND w.backend = ?"
                        " ORDER BY t.workflow_uuid, t.ordinal, t.retry_id", DB_ARGS(DB_T(node), DB_T(backend)),
                            out, n, err);
}

int repo_tasks_of_group(db_t *db, const char *group_uuid, bool all_retries, struct task_row **out, size_t *n,
                        osmo_error_t *err) {
    return select_tasks(db, all_retries ? TASK_SELECT "WHERE t.group_uuid = ? ORDER BY t.ordinal, t.retry_id"
                                        : TASK_SELECT "WHERE t.group_uuid = ?" LATEST " ORDER BY t.ordinal",
                        DB_ARGS(DB_T(group_uuid)), out, n, err);
}

int repo_tasks_of_workflow(db_t *db, const char *workflow_uuid, bool all_retries, struct task_row **out,
                           size_t *n, osmo_error_t *err) {
    return select_tasks(db, all_retries ? TASK_SELECT "WHERE t.workflow_uuid = ? ORDER BY g.ordinal, t.ordinal, "
                                                      "t.retry_id"
                                        : TASK_SELECT "WHERE t.workflow_uuid = ?" LATEST " ORDER BY g.ordinal, "
                                                                                         "t.ordinal",
                        DB_ARGS(DB_T(workflow_uuid)), out, n, err);
}

/* Writes the indexes of what changed only. */
static int update_known(db_t *db, const struct task_row *known, int64_t rowid, const struct task_row *r, osmo_error_t *err) {
    static const char plain[] = "UPDATE tasks SET " TASK_PLAIN(COL_SET_F, COL_SET_N) " WHERE rowid = ?";
    static const char ended[] = "UPDATE tasks SET " TASK_ENDED(COL_SET_F, COL_SET_N) " WHERE rowid = ?";
    static const char all[] = "UPDATE tasks SET " TASK_MUTABLE(COL_SET_F, COL_SET_N) " WHERE rowid = ?";
    const char *sql = all;
    size_t n = MUTABLE_LEN;
    if (row_same(MUTABLE_COLS + PLAIN_LEN + 1, 2, known, r)) {
        bool end = known->sm.end_us != r->sm.end_us;
        if (!end && row_same(MUTABLE_COLS, PLAIN_LEN, known, r))
            return 0;
        sql = end ? ended : plain;
        n = end ? PLAIN_LEN + 1 : PLAIN_LEN;
    }
    int rc = row_update(db, sql, MUTABLE_COLS, n, r, DB_ARGS(DB_I(rowid)), r->uuid, "task", err);
    if (rc == 0 && r->group_name)
        row_cache_put(db_row_cache(db), &task_type, r->uuid, r->sm.retry_id, rowid, r);
    return rc;
}

int repo_task_update(db_t *db, const struct task_row *r, osmo_error_t *err) {
    row_cache_t *cache = db_row_cache(db);
    int64_t rowid;
    const struct task_row *known = cache ? row_cache_find(cache, &task_type, r->uuid, r->sm.retry_id, &rowid) : NULL;
    if (known)
        return update_known(db, known, rowid, r, err);
    return row_update(db, ONE_ROW(db, "UPDATE tasks SET " TASK_MUTABLE(COL_SET_F, COL_SET_N) " WHERE uuid = ? AND retry_id = ?"),
                      MUTABLE_COLS, MUTABLE_LEN, r, DB_ARGS(DB_T(r->uuid), DB_I(r->sm.retry_id)), r->uuid, "task", err);
}

int repo_task_metric(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, const char *type,
                     int64_t start_us, int64_t end_us, osmo_error_t *err) {
    const char *sql;
    int64_t changed = 0;
    if (str_eq(type, "input_download"))
        sql = "UPDATE tasks SET input_download_start_us = ?, input_download_end_us = ? WHERE workflow_uuid = ? "
              "AND name = ? AND retry_id = ?";
    else if (str_eq(type, "output_upload"))
        sql = "UPDATE tasks SET output_upload_start_us = ?, output_upload_end_us = ? WHERE workflow_uuid = ? "
              "AND name = ? AND retry_id = ?";
    else
        return osmo_error_set(err, OSMO_EINVAL, "unknown metric type %s: input_download or output_upload", type
                              ? type : "");
    int rc = db_exec(db, sql, DB_ARGS(DB_I(start_us), DB_I(end_us), DB_T(workflow_uuid), DB_T(task),
                                      DB_I(retry_id)), &changed, err);
    if (rc == 0 && changed == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "task %s retry %lld does not exist", task, (long long)retry_id);
    return rc;
}
