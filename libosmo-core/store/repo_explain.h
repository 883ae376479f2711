/* Reads for explaining a workflow, and the dead letters of the outbox. All are bounded by `limit`. As in repo.h, rows own
 * their strings. Used by engine/explain.c and engine/dead.c. */
#ifndef STORE_REPO_EXPLAIN_H
#define STORE_REPO_EXPLAIN_H
#include "store/repo.h"

struct open_group {
    char uuid[33]; char *name; enum status status;
    int64_t tasks_total, tasks_unfinished, tasks_running, remaining_upstream, exec_generation, queue_generation;
    int64_t processing_us, scheduling_us, initializing_us, start_us;
};
void open_groups_free(struct open_group *r, size_t n);
/* Groups that are not finished: what the backend knows first, then by ordinal. */
int repo_open_groups(db_t *db, const char *workflow_uuid, size_t limit, struct open_group **out, size_t *n,
                     osmo_error_t *err);
struct open_task { char uuid[33]; char *name; int64_t retry_id; bool lead; enum status status; };
void open_tasks_free(struct open_task *r, size_t n);
/* Attempts of a group that are not finished: what is not running first, then by ordinal. */
int repo_open_tasks(db_t *db, const char *group_uuid, size_t limit, struct open_task **out, size_t *n,
                    osmo_error_t *err);
struct open_edge { char *name; enum status status; };
void open_edges_free(struct open_edge *r, size_t n);
/* Groups this one waits for. */
int repo_open_upstream(db_t *db, const char *group_uuid, size_t limit, struct open_edge **out, size_t *n,
                       osmo_error_t *err);
struct event_row { char *content; int64_t at_us; };
void event_rows_free(struct event_row *r, size_t n);
/* Newest first. */
int repo_events_newest(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, size_t limit,
                       struct event_row **out, size_t *n, osmo_error_t *err);
struct history_row { char *subject, *cause; enum status from_status, to_status; int64_t at_us; };
void history_row_clear(struct history_row *r);
/* The first change to a failure, or to another attempt, that did not only follow from one upstream. OSMO_ENOTFOUND. */
int repo_first_failure(db_t *db, const char *workflow_uuid, struct history_row *out, osmo_error_t *err);
int repo_timers_of_workflow(db_t *db, const char *workflow_uuid, size_t limit, struct timer_row **out, size_t *n,
                            osmo_error_t *err);
/* Living and dead; those that were tried come first. */
int repo_work_of_workflow(db_t *db, const char *workflow_uuid, size_t limit, struct work_row **out, size_t *n,
                          osmo_error_t *err);

/* Items that ran out of attempts, with ids behind `after`, in order. due_us is when the item was given up. */
struct dead_row {
    int64_t id, attempts, since_us;
    char *kind, *work_key, *workflow_uuid, *workflow_id, *group_name, *backend, *last_error;
};
void dead_rows_free(struct dead_row *r, size_t n);
int repo_work_dead(db_t *db, int64_t after, size_t limit, struct dead_row **out, size_t *n, osmo_error_t *err);
/* Gives a dead item (id 0: up to `limit` of them) new attempts; *revived counts them. */
int repo_work_revive(db_t *db, int64_t id, int64_t now_us, size_t limit, int64_t *revived, osmo_error_t *err);
#endif
