/* Groups of a workflow and the edges between them. Part of repo.h. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "store/repo.h"
#include "store/row_cache.h"

#define GROUP_FIXED(F, N) F(UUID, uuid, uuid) N(UUID, workflow_uuid, workflow_uuid) N(TEXT, name, name) \
    N(I64, ordinal, ordinal)
#define GROUP_MUTABLE(F, N) \
    F(ENUM, status, sm.status) N(TEXT, failure_message, failure_message) \
        N(BOOL, ignore_nonlead, sm.ignore_nonlead_status) \
    N(I64, tasks_total, sm.total) N(I64, tasks_unfinished, sm.unfinished) N(I64, tasks_running, sm.running) \
    N(I64, tasks_finished, sm.finished_or_rescheduled) N(I64, failed_upstream, sm.failed_upstream) \
    N(I64, failed_server_error, sm.failed_server_error) N(I64, failed_preempted, sm.failed_preempted) \
    N(I64, considered_evicted, sm.considered_evicted) N(I64, considered_failed, sm.considered_failed) \
    N(I64, remaining_upstream, sm.remaining_upstream) N(I64, processing_us, sm.processing_us) \
        N(I64, scheduling_us, sm.scheduling_us) \
    N(I64, initializing_us, sm.initializing_us) N(I64, start_us, sm.start_us) N(I64, end_us, sm.end_us) \
    N(BOOL, cleaned_up, cleaned_up) N(I64, exec_generation, exec_generation) N(I64, queue_generation, queue_generation)
#define G_COL(kind, column, field) COL_ENTRY(group_row, kind, column, field)

/* the spec is read from its own table, last */
static const struct col group_cols[] =
    { GROUP_FIXED(G_COL, G_COL) GROUP_MUTABLE(G_COL, G_COL) G_COL(TEXT, spec_json, spec_json) };
#define GROUP_LEN (sizeof(group_cols) / sizeof(group_cols[0]))
#define GROUP_FIXED_LEN (sizeof((struct col[]){ GROUP_FIXED(G_COL, G_COL) }) / sizeof(struct col))
static const struct row_type group_type = { "workflow_groups", sizeof(struct group_row), group_cols,
                                            GROUP_LEN - 1, GROUP_LEN };

#define GROUP_SELECT "SELECT " GROUP_FIXED(COL_SELECT_F, COL_SELECT_N) GROUP_MUTABLE(COL_SELECT_N, COL_SELECT_N)
#define WITH_SPEC GROUP_SELECT ", s.spec_json FROM workflow_groups t LEFT JOIN group_specs s ON s.group_uuid = " \
                               "t.uuid WHERE "
#define WITHOUT_SPEC GROUP_SELECT ", NULL FROM workflow_groups t WHERE "
#define NUMBERED GROUP_SELECT ", NULL, t.rowid FROM workflow_groups t WHERE "

void group_row_clear(struct group_row *r) { row_clear(&group_type, r); }
void group_rows_free(struct group_row *r, size_t n) { row_list_free(&group_type, r, n); }

int repo_groups_insert(db_t *db, const struct group_row *rows, size_t n, osmo_error_t *err) {
    int rc = rows_insert(db, &group_type, rows, n, err);
    _cleanup_free_ struct db_arg *args = malloc((n ? n : 1) * 2 * sizeof(*args));
    if (!args)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        args[2 * i] = DB_T(rows[i].uuid);
        args[2 * i + 1] = DB_T(rows[i].spec_json);
    }
    return rc < 0 ? rc : db_insert(db, &(struct db_insert){ "group_specs", "group_uuid, spec_json", 2 }, args, n, err);
}

int repo_edges_insert(db_t *db, const char *workflow_uuid, const char *const (*pairs)[2], size_t n, osmo_error_t *err) {
    _cleanup_free_ struct db_arg *args = malloc((n ? n : 1) * 3 * sizeof(*args));
    if (!args)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        args[3 * i] = DB_T(workflow_uuid);
        args[3 * i + 1] = DB_T(pairs[i][0]);
        args[3 * i + 2] = DB_T(pairs[i][1]);
    }
    return db_insert(db, &(struct db_insert){ "group_edges", "workflow_uuid, upstream_uuid, downstream_uuid", 3 }, args,
                     n, err);
}

int repo_group_get(db_t *db, const char *group_uuid, struct group_row *out, osmo_error_t *err) {
    return row_select(db, &group_type, WITH_SPEC "t.uuid = ?", DB_ARGS(DB_T(group_uuid)), out, err, "group %s",
                      group_uuid);
}

int repo_group_state(db_t *db, const char *group_uuid, struct group_row *out, osmo_error_t *err) {
    if (db_row_cache(db))
        return row_select_cached(db, &group_type, (struct row_key){ group_uuid, 0 }, NUMBERED "t.uuid = ?",
                                 DB_ARGS(DB_T(group_uuid)), out, err, "group %s", group_uuid);
    return row_select(db, &group_type, WITHOUT_SPEC "t.uuid = ?", DB_ARGS(DB_T(group_uuid)), out, err, "group %s",
                      group_uuid);
}

int repo_groups_of(db_t *db, const char *workflow_uuid, bool with_spec, struct group_row **out, size_t *n,
                   osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &group_type, with_spec ? WITH_SPEC "t.workflow_uuid = ? ORDER BY t.ordinal"
                                                    : WITHOUT_SPEC "t.workflow_uuid = ? ORDER BY t.ordinal",
                         DB_ARGS(DB_T(workflow_uuid)), &list, n, err);
    *out = list;
    return rc;
}

int repo_groups_after(db_t *db, const char *workflow_uuid, int64_t after, size_t limit, struct group_row **out, size_t *n,
                      osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &group_type, WITHOUT_SPEC "t.workflow_uuid = ? AND t.ordinal > ? ORDER BY t.ordinal LIMIT ?",
                         DB_ARGS(DB_T(workflow_uuid), DB_I(after), DB_I((int64_t)limit)), &list, n, err);
    *out = list;
    return rc;
}

#define MUTABLE_COLS (group_cols + GROUP_FIXED_LEN)
#define MUTABLE_LEN (GROUP_LEN - 1 - GROUP_FIXED_LEN)

int repo_group_update(db_t *db, const struct group_row *r, osmo_error_t *err) {
    row_cache_t *cache = db_row_cache(db);
    int64_t rowid;
    const struct group_row *known = cache ? row_cache_find(cache, &group_type, r->uuid, 0, &rowid) : NULL;
    if (!known)
        return row_update(db, ONE_ROW(db, "UPDATE workflow_groups SET " GROUP_MUTABLE(COL_SET_F, COL_SET_N) " WHERE uuid = ?"),
                          MUTABLE_COLS, MUTABLE_LEN, r, DB_ARGS(DB_T(r->uuid)), r->uuid, "group", err);
    if (row_same(MUTABLE_COLS, MUTABLE_LEN, known, r))
        return 0;
    int rc = row_update(db, "UPDATE workflow_groups SET " GROUP_MUTABLE(COL_SET_F, COL_SET_N) " WHERE rowid = ?",
                        MUTABLE_COLS, MUTABLE_LEN, r, DB_ARGS(DB_I(rowid)), r->uuid, "group", err);
    struct group_row state = *r;
    state.spec_json = NULL;
    if (rc == 0)
        row_cache_put(cache, &group_type, r->uuid, 0, rowid, &state);
    return rc;
}

int repo_edges_of(db_t *db, const char *workflow_uuid, strlist_t *names, osmo_error_t *err) {
    return strings_select(db, "SELECT u.name, d.name FROM group_edges e JOIN workflow_groups u ON u.uuid = "
                              "e.upstream_uuid"
                              " JOIN workflow_groups d ON d.uuid = e.downstream_uuid WHERE e.workflow_uuid = ? "
                              "ORDER BY u.ordinal, d.ordinal",
                          DB_ARGS(DB_T(workflow_uuid)), 2, names, err);
}
