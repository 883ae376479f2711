/* What explaining a workflow reads, and dead letters. See repo_explain.h. Every statement is bounded and goes over an
 * index of the workflow, the group or the task attempt. */
#include <stdlib.h>
#include "store/repo_explain.h"
#include "store/rows.h"

#define ROWS_OF(name, type, table, ...)                                                                                \
    static const struct col name##_cols[] = { __VA_ARGS__ };                                                           \
    static const struct row_type name##_type = { table, sizeof(type), name##_cols,                                     \
                                                 sizeof(name##_cols) / sizeof(name##_cols[0]),                         \
                                                 sizeof(name##_cols) / sizeof(name##_cols[0]) };

#define OG(kind, column, field) COL_ENTRY(open_group, kind, column, field)
ROWS_OF(open_group, struct open_group, "workflow_groups",
        OG(UUID, uuid, uuid) OG(TEXT, name, name) OG(ENUM, status, status) OG(I64, tasks_total, tasks_total)
        OG(I64, tasks_unfinished, tasks_unfinished) OG(I64, tasks_running, tasks_running)
        OG(I64, remaining_upstream, remaining_upstream) OG(I64, exec_generation, exec_generation)
        OG(I64, queue_generation, queue_generation) OG(I64, processing_us, processing_us)
        OG(I64, scheduling_us, scheduling_us) OG(I64, initializing_us, initializing_us) OG(I64, start_us, start_us))
#define OT(kind, column, field) COL_ENTRY(open_task, kind, column, field)
ROWS_OF(open_task, struct open_task, "tasks", OT(UUID, uuid, uuid) OT(TEXT, name, name) OT(I64, retry_id, retry_id)
        OT(BOOL, is_lead, lead) OT(ENUM, status, status))
#define OE(kind, column, field) COL_ENTRY(open_edge, kind, column, field)
ROWS_OF(open_edge, struct open_edge, "group_edges", OE(TEXT, name, name) OE(ENUM, status, status))
#define EV(kind, column, field) COL_ENTRY(event_row, kind, column, field)
ROWS_OF(event, struct event_row, "events", EV(TEXT, content, content) EV(I64, at_us, at_us))
#define HI(kind, column, field) COL_ENTRY(history_row, kind, column, field)
ROWS_OF(history, struct history_row, "history", HI(TEXT, subject, subject) HI(TEXT, cause, cause)
        HI(ENUM, from_status, from_status) HI(ENUM, to_status, to_status) HI(I64, at_us, at_us))
#define TR(kind, column, field) COL_ENTRY(timer_row, kind, column, field)
ROWS_OF(timer, struct timer_row, "timers", TR(I64, id, id) TR(TEXT, kind, kind) TR(UUID, workflow_uuid, workflow_uuid)
        TR(TEXT, subject, subject) TR(I64, generation, generation) TR(I64, due_us, due_us))
#define WR(kind, column, field) COL_ENTRY(work_row, kind, column, field)
ROWS_OF(work, struct work_row, "work", WR(I64, id, id) WR(TEXT, kind, kind) WR(TEXT, work_key, key)
        WR(UUID, workflow_uuid, workflow_uuid) WR(TEXT, last_error, last_error) WR(I64, run_at_us, run_at_us)
        WR(I64, lease_until_us, lease_until_us) WR(I64, attempts, attempts) WR(BOOL, dead, dead) WR(TEXT, owner, owner))
#define DR(kind, column, field) COL_ENTRY(dead_row, kind, column, field)
ROWS_OF(dead, struct dead_row, "work", DR(I64, id, id) DR(I64, attempts, attempts) DR(I64, since_us, since_us)
        DR(TEXT, kind, kind) DR(TEXT, work_key, work_key) DR(TEXT, workflow_uuid, workflow_uuid)
        DR(TEXT, workflow_id, workflow_id) DR(TEXT, group_name, group_name) DR(TEXT, backend, backend)
        DR(TEXT, last_error, last_error))

void open_groups_free(struct open_group *r, size_t n) { row_list_free(&open_group_type, r, n); }
void open_tasks_free(struct open_task *r, size_t n) { row_list_free(&open_task_type, r, n); }
void open_edges_free(struct open_edge *r, size_t n) { row_list_free(&open_edge_type, r, n); }
void event_rows_free(struct event_row *r, size_t n) { row_list_free(&event_type, r, n); }
void history_row_clear(struct history_row *r) { row_clear(&history_type, r); }
void dead_rows_free(struct dead_row *r, size_t n) { row_list_free(&dead_type, r, n); }

#define SELECT_LIST(type, sql, out, n, err, ...)                                                                       \
    __extension__({                                                                                                    \
        void *list_ = NULL;                                                                                            \
        int rc_ = rows_select(db, &type, sql, DB_ARGS(__VA_ARGS__), &list_, n, err);                                   \
        *(out) = list_;                                                                                                \
        rc_;                                                                                                           \
    })

int repo_open_groups(db_t *db, const char *workflow_uuid, size_t limit, struct open_group **out, size_t *n,
                     osmo_error_t *err) {
    return SELECT_LIST(open_group_type,
                       "SELECT uuid, name, status, tasks_total, tasks_unfinished, tasks_running, remaining_upstream,"
                       " exec_generation, queue_generation, processing_us, scheduling_us, initializing_us, start_us"
                       " FROM workflow_groups WHERE workflow_uuid = ? AND status < ?"
                       " ORDER BY CASE WHEN status IN (3, 4, 5) THEN 0 WHEN status = 6 THEN 1 ELSE 2 END, ordinal"
                       " LIMIT ?",
                       out, n, err, DB_T(workflow_uuid), DB_I(STATUS_COMPLETED), DB_I((int64_t)limit));
}

int repo_open_tasks(db_t *db, const char *group_uuid, size_t limit, struct open_task **out, size_t *n,
                    osmo_error_t *err) {
    return SELECT_LIST(open_task_type,
                       "SELECT uuid, name, retry_id, is_lead, status FROM tasks WHERE group_uuid = ? AND status < ?"
                       " ORDER BY CASE WHEN status = 6 THEN 1 ELSE 0 END, ordinal LIMIT ?",
                       out, n, err, DB_T(group_uuid), DB_I(STATUS_COMPLETED), DB_I((int64_t)limit));
}

int repo_open_upstream(db_t *db, const char *group_uuid, size_t limit, struct open_edge **out, size_t *n,
                       osmo_error_t *err) {
    /* edges have an index by workflow, which the group names */
    return SELECT_LIST(open_edge_type,
                       "SELECT u.name, u.status FROM workflow_groups g JOIN group_edges e ON e.workflow_uuid ="
                       " g.workflow_uuid AND e.downstream_uuid = g.uuid JOIN workflow_groups u ON u.uuid ="
                       " e.upstream_uuid WHERE g.uuid = ? AND u.status <> ? ORDER BY u.ordinal LIMIT ?",
                       out, n, err, DB_T(group_uuid), DB_I(STATUS_COMPLETED), DB_I((int64_t)limit));
}

int repo_events_newest(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, size_t limit,
                       struct event_row **out, size_t *n, osmo_error_t *err) {
    return SELECT_LIST(event_type,
                       "SELECT content, at_us FROM events WHERE workflow_uuid = ? AND task = ? AND retry_id = ?"
                       " ORDER BY id DESC LIMIT ?",
                       out, n, err, DB_T(workflow_uuid), DB_T(task), DB_I(retry_id), DB_I((int64_t)limit));
}

int repo_first_failure(db_t *db, const char *workflow_uuid, struct history_row *out, osmo_error_t *err) {
    return row_select(db, &history_type,
                      "SELECT subject, cause, from_status, to_status, at_us FROM history WHERE workflow_uuid = ?"
                      " AND to_status BETWEEN ? AND ? AND to_status <> ? ORDER BY id LIMIT 1",
                      DB_ARGS(DB_T(workflow_uuid), DB_I(STATUS_RESCHEDULED), DB_I(STATUS_FAILED_PREEMPTED),
                              DB_I(STATUS_FAILED_UPSTREAM)),
                      out, err, "a failure in workflow %s", workflow_uuid);
}

int repo_timers_of_workflow(db_t *db, const char *workflow_uuid, size_t limit, struct timer_row **out, size_t *n,
                            osmo_error_t *err) {
    return SELECT_LIST(timer_type,
                       "SELECT id, kind, workflow_uuid, subject, generation, due_us FROM timers"
                       " WHERE workflow_uuid = ? ORDER BY due_us, id LIMIT ?",
                       out, n, err, DB_T(workflow_uuid), DB_I((int64_t)limit));
}

int repo_work_of_workflow(db_t *db, const char *workflow_uuid, size_t limit, struct work_row **out, size_t *n,
                          osmo_error_t *err) {
    return SELECT_LIST(work_type,
                       "SELECT id, kind, work_key, workflow_uuid, last_error, run_at_us, lease_until_us, attempts, dead,"
                       " owner FROM work WHERE workflow_uuid = ? ORDER BY dead DESC, attempts DESC, id LIMIT ?",
                       out, n, err, DB_T(workflow_uuid), DB_I((int64_t)limit));
}

/* ---- dead letters ---- */

int repo_work_dead(db_t *db, int64_t after, size_t limit, struct dead_row **out, size_t *n, osmo_error_t *err) {
    return SELECT_LIST(dead_type,
                       "SELECT k.id, k.attempts, k.run_at_us, k.kind, k.work_key, k.workflow_uuid, w.id, g.name,"
                       " CASE WHEN k.backend LIKE '/%' THEN '' ELSE k.backend END, k.last_error"
                       " FROM work k LEFT JOIN workflows w ON w.uuid = k.workflow_uuid"
                       " LEFT JOIN workflow_groups g ON g.uuid = substr(k.work_key, 1, 32) WHERE k.dead = 1 AND k.id > ?"
                       " ORDER BY k.id LIMIT ?",
                       out, n, err, DB_I(after), DB_I((int64_t)limit));
}

int repo_work_revive(db_t *db, int64_t id, int64_t now_us, size_t limit, int64_t *revived, osmo_error_t *err) {
    if (id)
        return db_exec(db, "UPDATE work SET dead = 0, attempts = 0, owner = NULL, lease_until_us = 0, run_at_us = ?,"
                           " due_us = ? WHERE id = ? AND dead = 1",
                       DB_ARGS(DB_I(now_us), DB_I(now_us), DB_I(id)), revived, err);
    return db_exec(db, "UPDATE work SET dead = 0, attempts = 0, owner = NULL, lease_until_us = 0, run_at_us = ?,"
                       " due_us = ? WHERE id IN (SELECT id FROM work WHERE dead = 1 ORDER BY id LIMIT ?)",
                   DB_ARGS(DB_I(now_us), DB_I(now_us), DB_I((int64_t)limit)), revived, err);
}
