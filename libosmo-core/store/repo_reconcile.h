/* What the control plane believes to be in a cluster: a row for each group that was handed to its backend and is not cleaned up, and
 * one for each later attempt of a task. It is what a snapshot of the cluster is compared with, and the index by which everything at a
 * backend is found. Called by engine/reconcile.c, engine/offline.c and the reactor. Conventions as in repo.h. */
#ifndef STORE_REPO_RECONCILE_H
#define STORE_REPO_RECONCILE_H
#include "store/repo.h"

/* -- placements -- */
/* The group is being handed out; what is there stays. */
int repo_placement_add(db_t *db, const char *group_uuid, const char *workflow_uuid, const char *backend, osmo_error_t *err);
/* The backend has confirmed that its objects exist: the first attempts of all its tasks (task_uuid "" and retry 0), or a later
 * attempt of one. They carry the number of the last snapshot that was asked for before. */
int repo_placement_confirm(db_t *db, const char *group_uuid, const char *task_uuid, int64_t retry_id, const char *workflow_uuid,
                           const char *backend, int64_t now_us, osmo_error_t *err);
/* Nothing of the group is left there, or it is given up. */
int repo_placement_remove(db_t *db, const char *group_uuid, osmo_error_t *err);

/* -- snapshots -- */
/* The number of a new snapshot. What a placement with a smaller number stands for was there before it began. */
int repo_snapshot_begin(db_t *db, const char *backend, int64_t *number, osmo_error_t *err);

struct placed_task { char uuid[33], group_uuid[33], workflow_uuid[33]; char *name, *pod_name; int64_t retry_id; };
void placed_tasks_free(struct placed_task *r, size_t n);
/* Where a walk over the placements of a backend stands; zero: at the beginning. */
struct placement_cursor { char workflow_uuid[33], group_uuid[33], task_uuid[33]; int64_t retry_id; bool end; };
/* Unfinished tasks of the next `limit` placements that were confirmed before the snapshot, and not after confirmed_us. Few or none
 * may come although there are more: go on until cursor->end. */
int repo_placed_tasks(db_t *db, const char *backend, int64_t snapshot, int64_t confirmed_us, size_t limit,
                      struct placement_cursor *cursor, struct placed_task **out, size_t *n, osmo_error_t *err);

/* One attempt of a task and where it belongs. */
struct pod_known {
    char uuid[33], workflow_uuid[33], group_uuid[33]; char *backend, *name; int64_t retry_id, exec_generation;
    enum status status, group_status; bool lead, retry_pending; /* the next attempt is not confirmed yet */
};
void pods_known_free(struct pod_known *r, size_t n);
/* All attempts of tasks with these uuids. */
#define PODS_KNOWN_MAX 32
int repo_pods_known(db_t *db, const char *const *task_uuids, size_t n_uuids, struct pod_known **out, size_t *n, osmo_error_t *err);
/* Which of them exist? A group that is none of the workflow does not. *backend is malloc'ed, NULL when there is no such workflow. */
int repo_place_known(db_t *db, const char *workflow_uuid, const char *group_uuid, char **backend, bool *group, osmo_error_t *err);

/* -- a backend that is gone -- */
struct backend_life { char *name; int64_t heartbeat_us, lost_us; };
void backend_lives_free(struct backend_life *r, size_t n);
int repo_backend_lives(db_t *db, struct backend_life **out, size_t *n, osmo_error_t *err);
/* *lost is false when it has been heard of since, or is lost already. */
int repo_backend_lose(db_t *db, const char *name, int64_t heartbeat_us, int64_t now_us, bool *lost, osmo_error_t *err);
/* Is it lost? Keeps it so until the end of the transaction. */
int repo_backend_is_lost(db_t *db, const char *name, bool *lost, osmo_error_t *err);
/* It was heard of. *returned: it was lost. */
int repo_backend_returned(db_t *db, const char *name, bool *returned, osmo_error_t *err);
/* Workflows with something at the backend, behind `after`, by uuid. */
int repo_placed_workflows(db_t *db, const char *backend, const char *after, size_t limit, strlist_t *uuids, osmo_error_t *err);
/* Groups of the workflow that are there and not finished. */
int repo_placed_unfinished(db_t *db, const char *workflow_uuid, const char *backend, int64_t *groups, osmo_error_t *err);
/* The cleanup items of a group become dead letters. */
int repo_work_bury(db_t *db, const char *group_uuid, const char *error, int64_t now_us, osmo_error_t *err);
/* Dead items of these kinds at a backend get new attempts, at most `limit` at a time. */
int repo_work_revive_at(db_t *db, const char *backend, const char *kind, int64_t now_us, size_t limit, int64_t *revived, osmo_error_t *err);
#endif
