/* What happened: history of statuses, events of pods, barriers that tasks joined. Part of repo.h. The cursor
 * over events is their id. Ids become visible in order as long as the writers of one workflow's events are
 * serialised, which the key of store_post() does within a process and the workflow's lock between processes. */
#include "store/repo.h"
#include <stdlib.h>
#include "store/rows.h"

int repo_history_add(db_t *db, const char *workflow_uuid, const char *subject, enum status from,
                     enum status to, const char *cause,
                     int64_t at_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO history (workflow_uuid, subject, from_status, to_status, cause, at_us) "
                       "VALUES (?, ?, ?, ?, ?, ?)",
                   DB_ARGS(DB_T(workflow_uuid), DB_T(subject), DB_I(from), DB_I(to), DB_T(cause), DB_I(at_us)),
                       NULL, err);
}

int repo_history_insert(db_t *db, const char *workflow_uuid, const struct history_entry *rows, size_t n, int64_t at_us,
                        osmo_error_t *err) {
    enum { WIDTH = 6 };
    static const struct db_insert into = { "history", "workflow_uuid, subject, from_status, to_status, cause, at_us", WIDTH };
    struct db_arg args[HISTORY_ROWS_MAX * WIDTH];
    for (size_t i = 0; i < n && i < HISTORY_ROWS_MAX; i++) {
        const struct history_entry *r = &rows[i];
        struct db_arg *a = &args[i * WIDTH];
        a[0] = DB_T(workflow_uuid);
        a[1] = DB_T(r->subject);
        a[2] = DB_I(r->from);
        a[3] = DB_I(r->to);
        a[4] = DB_T(r->cause ? r->cause : "");
        a[5] = DB_I(at_us);
    }
    return db_insert(db, &into, args, n, err);
}

int repo_event_add(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t at_us,
                   const char *text, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO events (workflow_uuid, task, retry_id, at_us, content) VALUES (?, ?, ?, ?, ?)",
                   DB_ARGS(DB_T(workflow_uuid), DB_T(task ? task : ""), DB_I(retry_id), DB_I(at_us),
                           DB_T(text ? text : "")), NULL, err);
}

int repo_event_add_once(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t at_us,
                        const char *text, int64_t max, bool *added, osmo_error_t *err) {
    int64_t lines = 0, same = 0;
    {
        _cleanup_rows_ db_rows_t *rows = NULL;
        int rc = db_query(db, "SELECT COUNT(*), COALESCE(SUM(CASE WHEN content = ? THEN 1 ELSE 0 END), 0) FROM events "
                              "WHERE workflow_uuid = ? AND task = ? AND retry_id = ?",
                          DB_ARGS(DB_T(text), DB_T(workflow_uuid), DB_T(task), DB_I(retry_id)), &rows, err);
        if (rc >= 0)
            rc = db_next(rows, err);
        if (rc < 0)
            return rc;
        lines = db_int(rows, 0);
        same = db_int(rows, 1);
    }
    *added = lines < max && !same;
    return *added ? repo_event_add(db, workflow_uuid, task, retry_id, at_us, text, err) : 0;
}

int repo_event_list_timed(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t after_id,
                          strlist_t *texts, int64_t **times, int64_t *last_id, osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    size_t cap = 0;
    *last_id = after_id;
    int rc = db_query(db, "SELECT id, task, retry_id, content, at_us FROM events WHERE workflow_uuid = ? AND id > ? "
                          "ORDER BY id LIMIT 100000",
                      DB_ARGS(DB_T(workflow_uuid), DB_I(after_id)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        *last_id = db_int(rows, 0);
        if ((task && !str_eq(task, db_text(rows, 1))) || (retry_id >= 0 && retry_id != db_int(rows, 2)))
            continue;
        if (times && texts->len == cap) {
            cap = cap ? cap * 2 : 64;
            int64_t *bigger = realloc(*times, cap * sizeof *bigger);
            if (!bigger)
                return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
            *times = bigger;
        }
        if (times)
            (*times)[texts->len] = db_int(rows, 4);
        if (strlist_add(texts, db_text(rows, 3)) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return rc;
}

int repo_event_list(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t after_id,
                    strlist_t *texts, int64_t *last_id, osmo_error_t *err) {
    return repo_event_list_timed(db, workflow_uuid, task, retry_id, after_id, texts, NULL, last_id, err);
}

int repo_barrier_join(db_t *db, const char *group_uuid, const char *name, const char *task, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO barrier_members (group_uuid, barrier, task) VALUES (?, ?, ?) ON CONFLICT "
                       "(group_uuid, barrier, task) DO NOTHING",
                   DB_ARGS(DB_T(group_uuid), DB_T(name), DB_T(task)), NULL, err);
}

int repo_barrier_members(db_t *db, const char *group_uuid, const char *name, strlist_t *tasks, osmo_error_t *err) {
    return strings_select(db, "SELECT task FROM barrier_members WHERE group_uuid = ? AND barrier = ? ORDER BY task",
                          DB_ARGS(DB_T(group_uuid), DB_T(name)), 1, tasks, err);
}

int repo_barrier_count(db_t *db, const char *group_uuid, const char *name, int64_t *members, osmo_error_t *err) {
    return int_select(db, "SELECT COUNT(*) FROM barrier_members WHERE group_uuid = ? AND barrier = ?",
                      DB_ARGS(DB_T(group_uuid), DB_T(name)), 0, members, err);
}

int repo_barrier_leave(db_t *db, const char *group_uuid, const char *task, int64_t *left, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM barrier_members WHERE group_uuid = ? AND task = ?",
                   DB_ARGS(DB_T(group_uuid), DB_T(task)), left, err);
}

int repo_barrier_clear(db_t *db, const char *group_uuid, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM barrier_members WHERE group_uuid = ?", DB_ARGS(DB_T(group_uuid)), NULL, err);
}
