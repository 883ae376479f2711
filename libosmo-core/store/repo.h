/* Rows and the queries on them. Times are microseconds UTC, 0 = NULL. uuids are 32 hex digits. All functions take a
 * connection: a reader (reads only) or the writer's inside a store function. Row strings are owned by the row: free
 * with the *_clear / *_free functions. NOTFOUND is OSMO_ENOTFOUND; everything else from the driver is OSMO_EDATABASE /
 * OSMO_EUNAVAIL. */
#ifndef STORE_REPO_H
#define STORE_REPO_H
#include "base/str.h"
#include "model/sm.h"
#include "store/store.h"

struct workflow_row {
    char uuid[33]; char *id, *name; int64_t job_id;
    char *user, *cancelled_by, *pool, *backend, *priority, *outputs, *failure_message;
    const char *outputs_below;      /* for repo_workflow_insert(), borrowed, may be NULL: outputs becomes this, "/" and the id */
    char *labels_json;                       /* "{}" */
    char *parent_name; int64_t parent_job_id;
    int64_t submit_us, exec_timeout_us, queue_timeout_us;
    bool rsync;                              /* files may be synchronised with its tasks */
    struct sm_workflow sm;                   /* status, counters, start, end */
    bool cancel_requested, archived; int64_t groups_uncleaned;
};
struct group_row {
    char uuid[33], workflow_uuid[33]; char *name, *spec_json, *failure_message;
    int64_t ordinal; struct sm_group sm;
    bool cleaned_up; int64_t exec_generation, queue_generation; /* timers of older generations are dead */
};
struct task_row {
    char key[33], uuid[33], workflow_uuid[33], group_uuid[33];
    char *name, *failure_message, *node_name, *pod_name, *pod_ip;
    char *group_name;                        /* filled by reads */
    char *exit_actions_json;                 /* "{}" */
    int64_t ordinal; double cpu, gpu, memory_gib, storage_gib;
    struct sm_task sm;
    int64_t input_download_start_us, input_download_end_us, output_upload_start_us, output_upload_end_us, heartbeat_us;
};
void workflow_row_clear(struct workflow_row *r);
void group_row_clear(struct group_row *r);
void task_row_clear(struct task_row *r);
void group_rows_free(struct group_row *r, size_t n);
void task_rows_free(struct task_row *r, size_t n);
void workflow_rows_free(struct workflow_row *r, size_t n);

/* -- submission -- */
/* Workflows whose names have one lane get their numbers one after another: those of one transaction should be of one lane. */
#define NAME_LANES 8
unsigned repo_name_lane(const char *name);
/* Allocates job_id (1 + max for the name) and id "<name>-<n>" into the row, then inserts. */
int repo_workflow_insert(db_t *db, struct workflow_row *r, osmo_error_t *err);
int repo_groups_insert(db_t *db, const struct group_row *rows, size_t n, osmo_error_t *err);
int repo_tasks_insert(db_t *db, const struct task_row *rows, size_t n, osmo_error_t *err);
int repo_edges_insert(db_t *db, const char *workflow_uuid,
                      const char *const (*pairs)[2] /* upstream, downstream group uuid */, size_t n, osmo_error_t *err);
/* Groups, tasks and edges of a large workflow come in several transactions before its own row, which makes them visible.
 * The first one marks the insertion as begun, the one with the row takes the mark away. */
int repo_submission_begin(db_t *db, const char *workflow_uuid, const char *owner, int64_t now_us, osmo_error_t *err);
/* For the transactions in between: is it still the owner's? It stays that until the end of the transaction. */
int repo_submission_is_mine(db_t *db, const char *workflow_uuid, const char *owner, bool *mine, osmo_error_t *err);
int repo_submission_end(db_t *db, const char *workflow_uuid, osmo_error_t *err);
/* Those that never ended and whose owner lives no more, oldest first; on an embedded database all. */
int repo_submission_list(db_t *db, strlist_t *workflow_uuids, osmo_error_t *err);
/* Makes it ours if its owner lives no more. */
int repo_submission_take(db_t *db, const char *workflow_uuid, const char *owner, bool *taken, osmo_error_t *err);
/* Removes up to `limit` of their rows; *more says whether there may be others. Ends with the mark. */
int repo_submission_remove(db_t *db, const char *workflow_uuid, int64_t limit, bool *more, osmo_error_t *err);
struct group_place { char uuid[33]; int64_t ordinal; };
/* Groups behind `after` whose create job may be queued: PROCESSING and not handed to the backend, by ordinal. `out` has
 * room for `limit`. */
int repo_groups_ready(db_t *db, const char *workflow_uuid, int64_t after, size_t limit, struct group_place *out,
                      size_t *n, osmo_error_t *err);
/* Groups that depend on this one, behind `after`, by ordinal; the same. */
int repo_downstream_after(db_t *db, const char *group_uuid, int64_t after, size_t limit, struct group_place *out,
                          size_t *n, osmo_error_t *err);
/* workflow_spec.yaml … */
int repo_file_put(db_t *db, const char *workflow_uuid, const char *path, const char *content, size_t len,
                  osmo_error_t *err);
int repo_file_get(db_t *db, const char *workflow_uuid, const char *path, char **content, size_t *len,
                  osmo_error_t *err);

/* -- reads; `id_or_uuid` accepts the public id or the uuid -- */
int repo_workflow_get(db_t *db, const char *id_or_uuid, struct workflow_row *out, osmo_error_t *err);
/* FOR UPDATE on PostgreSQL */
int repo_workflow_lock(db_t *db, const char *uuid, struct workflow_row *out,
                       osmo_error_t *err);
int repo_group_get(db_t *db, const char *group_uuid, struct group_row *out, osmo_error_t *err);
/* Everything but spec_json, which stays NULL: what an event needs, whatever the size of the group. */
int repo_group_state(db_t *db, const char *group_uuid, struct group_row *out, osmo_error_t *err);
/* by ordinal */
int repo_groups_of(db_t *db, const char *workflow_uuid, bool with_spec, struct group_row **out, size_t *n,
                   osmo_error_t *err);
/* The same of those behind an ordinal, without specs, at most `limit`. */
int repo_groups_after(db_t *db, const char *workflow_uuid, int64_t after, size_t limit, struct group_row **out, size_t *n,
                      osmo_error_t *err);
int repo_task_get(db_t *db, const char *workflow_uuid, const char *task_uuid, int64_t retry_id, struct task_row *out,
                  osmo_error_t *err);
int repo_task_by_name(db_t *db, const char *workflow_uuid, const char *name, int64_t retry_id /* -1 latest */,
                      struct task_row *out, osmo_error_t *err);
/* Of the attempt of a task of a group, by the public names. OSMO_ENOTFOUND. */
int repo_attempt_status(db_t *db, const char *workflow_id, const char *group, const char *name, int64_t retry_id, enum status *status,
                        osmo_error_t *err);
int repo_tasks_by_pod(db_t *db, const char *pod_name, struct task_row **out, size_t *n, osmo_error_t *err);
/* unfinished ones */
int repo_tasks_by_node(db_t *db, const char *backend, const char *node, struct task_row **out, size_t *n,
                       osmo_error_t *err);
int repo_tasks_of_group(db_t *db, const char *group_uuid, bool all_retries, struct task_row **out, size_t *n,
                        osmo_error_t *err);
int repo_tasks_of_workflow(db_t *db, const char *workflow_uuid, bool all_retries, struct task_row **out, size_t *n,
                           osmo_error_t *err);
/* names: pairs upstream,downstream of the whole workflow (group names, even = upstream) */
int repo_edges_of(db_t *db, const char *workflow_uuid, strlist_t *names, osmo_error_t *err);

struct workflow_filter {
    strlist_t users, statuses, pools, priorities; bool all_users, all_pools;
    const char *name_contains; int64_t submitted_after_us, submitted_before_us; int64_t offset, limit; bool ascending;
    strlist_t labels;      /* "key=value", "key=value|other*|…" with '*' for any text, "key=*" for the key alone */
    strlist_t no_labels;   /* keys that must be absent */
    strlist_t tags;        /* any of them */
};
/* asks limit+1 itself? no: returns up to limit */
int repo_workflow_list(db_t *db, const struct workflow_filter *f, struct workflow_row **out, size_t *n,
                       osmo_error_t *err);
/* How the database would do it, one step a string: for tests, which look for whole tables being read. */
int repo_workflow_list_explain(db_t *db, const struct workflow_filter *f, strlist_t *steps, osmo_error_t *err);
/* Everyone who has ever submitted a workflow, by name. */
int repo_submitters(db_t *db, strlist_t *users, osmo_error_t *err);
/* Users and submitters of this name; without one those whose name before the '@' it is, at most three. */
int repo_user_find(db_t *db, const char *name, strlist_t *found, osmo_error_t *err);

/* -- the list of tasks: repo_task_list.c -- */
struct task_filter {
    const struct workflow_filter *workflows;  /* what their workflows are; its page, order and statuses do not count */
    strlist_t statuses, nodes;
    int64_t started_after_us;                 /* keeps those that have not started */
    int64_t started_before_us; bool before_set;
    int64_t offset, limit;
};
struct task_item {
    char *workflow_id, *user, *pool, *priority, *name, *node_name; char workflow_uuid[33];
    int64_t retry_id, start_us, end_us; enum status status; double cpu, gpu, memory_gib, storage_gib;
};
/* SCHEDULING, INITIALIZING, RUNNING, then the others; the last started first. */
int repo_task_list(db_t *db, const struct task_filter *f, struct task_item **out, size_t *n, osmo_error_t *err);
void task_items_free(struct task_item *r, size_t n);
/* What the tasks ask for together, by user, pool and priority, and by workflow; no pages. */
struct task_sum { char *user, *pool, *priority, *workflow_id /* or NULL */; double cpu, gpu, memory_gib, storage_gib; };
int repo_task_sums(db_t *db, const struct task_filter *f, bool by_workflow, struct task_sum **out, size_t *n,
                   osmo_error_t *err);
void task_sums_free(struct task_sum *r, size_t n);

/* What a user has going on: workflows that are not finished, and their tasks that are not. */
int repo_user_ongoing(db_t *db, const char *user, int64_t *workflows, int64_t *tasks, osmo_error_t *err);

/* -- writes of mutable columns -- */
int repo_workflow_update(db_t *db, const struct workflow_row *r, osmo_error_t *err);
int repo_group_update(db_t *db, const struct group_row *r, osmo_error_t *err);   /* everything but spec and names */
int repo_task_update(db_t *db, const struct task_row *r, osmo_error_t *err);
int repo_history_add(db_t *db, const char *workflow_uuid,
                     const char *subject /* "workflow", "group:NAME", "task:NAME:RETRY" */, enum status from,
                     enum status to, const char *cause, int64_t at_us, osmo_error_t *err);
/* Several, in their order. */
#define HISTORY_ROWS_MAX 64
struct history_entry { char *subject, *cause /* or NULL */; enum status from, to; };
int repo_history_insert(db_t *db, const char *workflow_uuid, const struct history_entry *rows, size_t n /* at most the maximum */,
                        int64_t at_us, osmo_error_t *err);

/* -- outbox work items; kinds: "create_group" "cleanup_group" "archive_workflow" … -- */
struct work_row {
    int64_t id;
    char *kind, *key /* unique per kind */, *backend /* NULL: run by the worker role */, *payload_json, *last_error;
    char workflow_uuid[33];
    int64_t priority, run_at_us, lease_until_us, attempts;
    char *owner;
    bool dead;
};
void work_rows_free(struct work_row *r, size_t n);
/* An equal (kind, key) is left as it is, unless it is dead: it gets new attempts */
int repo_work_add(db_t *db, const char *kind, const char *key, const char *workflow_uuid, const char *backend,
                  int64_t priority, const char *payload_json, int64_t run_at_us, osmo_error_t *err);
/* Queues an item, or brings forward the one that is queued; one that was given up gets new attempts. */
int repo_work_hurry(db_t *db, const char *kind, const char *key, const char *workflow_uuid, const char *backend,
                    int64_t run_at_us, osmo_error_t *err);
/* Claim up to `limit` due, unleased, living items for `backend` (NULL = worker items), lowest priority number first,
 * then oldest. owner: "<id of the service>/…". On a server database, not those of groups of which another service has an item. */
int repo_work_claim(db_t *db, const char *backend, const char *owner, int64_t now_us, int64_t lease_us, size_t limit,
                    struct work_row **out, size_t *n, osmo_error_t *err);
/* Has the owner the item still? Until the end of the transaction nobody else gets it then. */
int repo_work_is_mine(db_t *db, int64_t id, const char *owner, bool *mine, osmo_error_t *err);
int repo_work_done(db_t *db, int64_t id, osmo_error_t *err);                              /* deletes */
/* releases, attempts+1 */
int repo_work_retry(db_t *db, int64_t id, int64_t run_at_us, const char *error,
                    osmo_error_t *err);
int repo_work_payload(db_t *db, int64_t id, const char *payload_json, osmo_error_t *err);
/* Releases until run_at_us, attempts kept. */
int repo_work_postpone(db_t *db, int64_t id, int64_t run_at_us, osmo_error_t *err);
int repo_work_kill(db_t *db, int64_t id, const char *error, osmo_error_t *err);           /* dead letter */
/* Leases of an owner, attempts kept. *left: how many somebody else had locked, to be given back one by one, each in a transaction that
 * has nothing else in hand, for it waits. */
int repo_work_release(db_t *db, const char *owner, int64_t *left, osmo_error_t *err);
int repo_work_release_one(db_t *db, const char *owner, int64_t *left, osmo_error_t *err);
/* all leases of an owner */
int repo_work_renew(db_t *db, const char *owner, int64_t lease_until_us,
                    osmo_error_t *err);
/* earliest run_at or lease end in the future; 0 = none */
int repo_work_next_due(db_t *db, int64_t now_us, int64_t *due_us,
                       osmo_error_t *err);

/* -- timers -- */
struct timer_row { int64_t id; char *kind; char workflow_uuid[33]; char *subject; int64_t generation, due_us; };
void timer_rows_free(struct timer_row *r, size_t n);
/* replaces (kind, subject) */
int repo_timer_set(db_t *db, const char *kind, const char *workflow_uuid, const char *subject, int64_t generation,
                   int64_t due_us, osmo_error_t *err);
int repo_timer_due(db_t *db, int64_t now_us, size_t limit, struct timer_row **out, size_t *n, osmo_error_t *err);
int repo_timer_next(db_t *db, int64_t *due_us, osmo_error_t *err);                        /* 0 = none */
/* Deletes it. Whoever finds it gone (*taken is false) has no say. */
int repo_timer_take(db_t *db, int64_t id, bool *taken, osmo_error_t *err);
/* Moves every deadline of timers and living work items by step_us. */
int repo_deadlines_move(db_t *db, int64_t step_us, osmo_error_t *err);
int repo_timers_of_workflow_delete(db_t *db, const char *workflow_uuid, osmo_error_t *err);

/* -- backends and nodes -- */
struct backend_row {
    char *name, *k8s_uid, *k8s_namespace, *version, *node_prefix; int64_t heartbeat_us, created_us;
    bool pulls_images; /* from registries, by their names: what its operator does not deny */
    char *status; /* read only: what its operator says about its cluster, "" for nothing */
};
void backend_row_clear(struct backend_row *r);
void backend_rows_free(struct backend_row *r, size_t n);
/* OSMO_ECONFLICT when the uid differs, or the backend is being deleted. Those are not among what is read, either. */
int repo_backend_upsert(db_t *db, const struct backend_row *r,
                        osmo_error_t *err);
int repo_backend_heartbeat(db_t *db, const char *name, int64_t at_us, const char *status, osmo_error_t *err);
int repo_backend_get(db_t *db, const char *name, struct backend_row *out, osmo_error_t *err);
int repo_backend_list(db_t *db, struct backend_row **out, size_t *n, osmo_error_t *err);
struct node_row {
    char *name, *backend;
    bool available;
    char *allocatable_json, *labels_json, *taints_json, *conditions_json, *usage_json, *foreign_usage_json;
};
void node_row_clear(struct node_row *r);
void node_rows_free(struct node_row *r, size_t n);
int repo_node_upsert(db_t *db, const struct node_row *r, osmo_error_t *err);              /* keeps usage */
/* A node that has not reported itself yet gets an unavailable row, so that its usage is not lost. */
int repo_node_usage(db_t *db, const char *backend, const char *name, const char *usage_json, const char *foreign_json,
                    osmo_error_t *err);
int repo_node_delete(db_t *db, const char *backend, const char *name, osmo_error_t *err);
int repo_nodes_keep(db_t *db, const char *backend, const strlist_t *names, osmo_error_t *err);
/* Those that are not among the names; reported: only such as were reported themselves, not just used. */
int repo_nodes_missing(db_t *db, const char *backend, const strlist_t *names, bool reported, strlist_t *out, osmo_error_t *err);
int repo_node_list(db_t *db, const char *backend /* NULL = all */, struct node_row **out, size_t *n, osmo_error_t *err);

/* -- events of a workflow (pod conditions and events), as text lines in arrival order -- */
int repo_event_add(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t at_us,
                   const char *text, osmo_error_t *err);
/* The same unless the attempt has this text already (operators report everything again after a restart) or `max` lines.
 */
int repo_event_add_once(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t at_us,
                        const char *text, int64_t max, bool *added, osmo_error_t *err);
int repo_event_list(db_t *db, const char *workflow_uuid, const char *task /* NULL */, int64_t retry_id /* -1 */,
                    int64_t after_id, strlist_t *texts, int64_t *last_id, osmo_error_t *err);
/* The same with the time of each, malloc'ed in *times, which is NULL before (texts is empty before). */
int repo_event_list_timed(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t after_id,
                          strlist_t *texts, int64_t **times, int64_t *last_id, osmo_error_t *err);

/* -- barriers; the barriers of a group are listed as members of this one -- */
#define BARRIER_INDEX ""
/* idempotent */
int repo_barrier_join(db_t *db, const char *group_uuid, const char *name, const char *task,
                      osmo_error_t *err);
int repo_barrier_members(db_t *db, const char *group_uuid, const char *name, strlist_t *tasks, osmo_error_t *err);
int repo_barrier_count(db_t *db, const char *group_uuid, const char *name, int64_t *members, osmo_error_t *err);
int repo_barrier_leave(db_t *db, const char *group_uuid, const char *task, int64_t *left /* barriers it was in */,
                       osmo_error_t *err);
int repo_barrier_clear(db_t *db, const char *group_uuid, osmo_error_t *err);

/* -- identity -- */
int repo_kv_get(db_t *db, const char *key, char **value, osmo_error_t *err);               /* OSMO_ENOTFOUND */
int repo_kv_set(db_t *db, const char *key, const char *value, osmo_error_t *err);
/* keeps an existing value */
int repo_kv_set_if_absent(db_t *db, const char *key, const char *value,
                          osmo_error_t *err);
/* The value, or "" for a new one, is nobody else's until the end of the transaction. */
int repo_kv_touch(db_t *db, const char *key, osmo_error_t *err);
int repo_user_ensure(db_t *db, const char *user, const char *created_by, int64_t now_us, osmo_error_t *err);
int repo_user_roles(db_t *db, const char *user, strlist_t *roles, osmo_error_t *err);
/* backend: the only one that the token may serve, or NULL */
struct token_row { char *user, *name, *description, *backend; uint8_t hash[32]; int64_t expires_us, created_us; };
void token_row_clear(struct token_row *r);
int repo_token_by_hash(db_t *db, const uint8_t hash[32], struct token_row *out, osmo_error_t *err);
int repo_token_delete(db_t *db, const char *user, const char *name, osmo_error_t *err); /* OSMO_ENOTFOUND */
struct profile_row { bool email_notification, slack_notification; char *pool; };
int repo_profile_get(db_t *db, const char *user, struct profile_row *out, osmo_error_t *err); /* defaults when absent */
int repo_profile_set(db_t *db, const char *user, const struct profile_row *p, osmo_error_t *err);

/* -- metrics of ctrl -- */
int repo_task_metric(db_t *db, const char *workflow_uuid, const char *task, int64_t retry_id,
                     const char *type /* input_download | output_upload */, int64_t start_us, int64_t end_us,
                     osmo_error_t *err);
#endif
