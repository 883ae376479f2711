/* Transfers of tasks; see repo_task_io.h. */
#include "store/repo_task_io.h"

#include "base/cleanup.h"
#include "store/rows.h"

static const struct col cols[] = {
    COL_ENTRY(task_io_row, UUID, workflow_uuid, workflow_uuid) COL_ENTRY(task_io_row, TEXT, group_name, group_name)
    COL_ENTRY(task_io_row, TEXT, task, task) COL_ENTRY(task_io_row, I64, retry_id, retry_id) COL_ENTRY(task_io_row, TEXT, io_type, type)
    COL_ENTRY(task_io_row, TEXT, url, url) COL_ENTRY(task_io_row, I64, start_us, start_us) COL_ENTRY(task_io_row, I64, end_us, end_us)
    COL_ENTRY(task_io_row, I64, bytes, bytes) COL_ENTRY(task_io_row, I64, files, files)
    COL_ENTRY(task_io_row, TEXT, operation_type, operation_type) COL_ENTRY(task_io_row, TEXT, download_type, download_type)
};
static const struct row_type type = { "task_io", sizeof(struct task_io_row), cols, ARRAY_SIZE(cols), ARRAY_SIZE(cols) };
#define NAMES "workflow_uuid, group_name, task, retry_id, io_type, url, start_us, end_us, bytes, files, operation_type, download_type"

int repo_task_io_add(db_t *db, const struct task_io_row *r, osmo_error_t *err) {
    struct db_arg args[ARRAY_SIZE(cols)];
    row_args(cols, ARRAY_SIZE(cols), r, args);
    return db_exec(db, "INSERT INTO task_io (" NAMES ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", args,
                   ARRAY_SIZE(cols), NULL, err);
}

int repo_task_io_list(db_t *db, const char *workflow_uuid, struct task_io_row **out, size_t *n, osmo_error_t *err) {
    void *rows = NULL;
    int rc = rows_select(db, &type, "SELECT " NAMES " FROM task_io WHERE workflow_uuid = ? ORDER BY start_us, task, retry_id, io_type, url",
                         DB_ARGS(DB_T(workflow_uuid)), &rows, n, err);
    *out = rows;
    return rc;
}

void task_io_rows_free(struct task_io_row *rows, size_t n) { row_list_free(&type, rows, n); }
