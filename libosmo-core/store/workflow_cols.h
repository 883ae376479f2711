/* The columns of a workflow row, shared by repo_workflow.c and repo_list.c only. */
#ifndef STORE_WORKFLOW_COLS_H
#define STORE_WORKFLOW_COLS_H
#include "store/repo.h"
#include "store/rows.h"

/* Set at submission; and the status, last, see repo_workflow_update(). */
#define WORKFLOW_FIXED(F, N) \
    F(UUID, uuid, uuid) N(TEXT, id, id) N(TEXT, name, name) N(I64, job_id, job_id) N(TEXT, user_name, user) \
    N(TEXT, labels_json, labels_json) N(TEXT, parent_name, parent_name) N(I64, parent_job_id, parent_job_id) \
        N(I64, submit_us, submit_us) \
    N(TEXT, pool, pool) N(TEXT, backend, backend) N(TEXT, priority, priority) \
    N(I64, exec_timeout_us, exec_timeout_us) N(I64, queue_timeout_us, queue_timeout_us) N(BOOL, rsync, rsync) \
    N(ENUM, status, sm.status)
#define WORKFLOW_PLAIN(F, N) \
    F(TEXT, cancelled_by, cancelled_by) N(TEXT, outputs, outputs) N(TEXT, failure_message, failure_message) \
    N(I64, groups_total, sm.total) N(I64, groups_unfinished, sm.unfinished) N(I64, groups_running, sm.running) \
    N(I64, groups_canceled, sm.canceled) N(I64, groups_server_error, sm.server_error) \
        N(I64, groups_exec_timeout, sm.exec_timeout) \
    N(I64, groups_queue_timeout, sm.queue_timeout) N(I64, groups_failed, sm.failed) \
        N(I64, groups_failed_upstream, sm.failed_upstream) \
    N(ENUM, failed_kind, sm.failed_kind) N(BOOL, failed_mixed, sm.failed_mixed) N(I64, start_us, sm.start_us) \
    N(BOOL, cancel_requested, cancel_requested) N(I64, groups_uncleaned, groups_uncleaned)
/* In an index. */
#define WORKFLOW_INDEXED(N) N(I64, end_us, sm.end_us) N(BOOL, archived, archived)
#define WORKFLOW_INDEXED_LEN 2
#define WORKFLOW_MUTABLE(F, N) WORKFLOW_PLAIN(F, N) WORKFLOW_INDEXED(N)
#define WORKFLOW_SELECT WORKFLOW_FIXED(COL_SELECT_F, COL_SELECT_N) WORKFLOW_MUTABLE(COL_SELECT_N, COL_SELECT_N)
#define WF_COL(kind, column, field) COL_ENTRY(workflow_row, kind, column, field)

extern const struct row_type workflow_type;
#endif
