/* What the tasks of a workflow carried in and out, a row an input or output (table task_io). Used by engine/task_io.c and tests. */
#ifndef STORE_REPO_TASK_IO_H
#define STORE_REPO_TASK_IO_H
#include "store/store.h"

struct task_io_row {
    char workflow_uuid[33];
    char *group_name, *task, *url, *type /* INPUT, OUTPUT, … */, *operation_type, *download_type;
    int64_t retry_id, start_us, end_us, bytes, files;
};
/* Told again it is the same row. */
int repo_task_io_add(db_t *db, const struct task_io_row *r, osmo_error_t *err);
/* In the order of their beginning. */
int repo_task_io_list(db_t *db, const char *workflow_uuid, struct task_io_row **out, size_t *n, osmo_error_t *err);
void task_io_rows_free(struct task_io_row *rows, size_t n);
#endif
