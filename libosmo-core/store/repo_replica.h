/* Services that share one server database: who is alive, what those that are gone had taken, and the clock that all of them go by,
 * which is the database's. A lease is compared with that clock in the statement itself. Used by engine/ where the store is shared;
 * nothing here is for an embedded database, which has one service. */
#ifndef STORE_REPO_REPLICA_H
#define STORE_REPO_REPLICA_H
#include "store/repo.h"

struct replica_row {
    char id[33];
    char *address; /* "" until it is known */
    char *storage; /* id of the directory with its task data */
    char *host, *version;
    int64_t pid, started_us, lease_until_us;
    int64_t roles; /* enum service_role */
    bool ended; /* its lease was over, and somebody has begun to give back what it had */
};
void replica_row_clear(struct replica_row *r);
void replica_rows_free(struct replica_row *r, size_t n);

/* What time it is for everybody. */
int repo_clock(db_t *db, int64_t *now_us, osmo_error_t *err);
/* By how much the clock was set since the database was made, as far as deadlines were moved along; lock = until the end of the
 * transaction nobody else moves them. */
int repo_clock_steps(db_t *db, bool lock, int64_t *steps_us, osmo_error_t *err);
int repo_clock_step(db_t *db, int64_t steps_us, osmo_error_t *err);

/* One service registers at a time, until the end of the transaction. */
int repo_replica_lock(db_t *db, osmo_error_t *err);
/* The row of a service that lives from now on, whatever became of an earlier row of it. */
int repo_replica_put(db_t *db, const struct replica_row *r, int64_t lease_us, osmo_error_t *err);
/* *lost: the row is gone or has ended, and nothing was changed. */
int repo_replica_renew(db_t *db, const char *id, int64_t lease_us, bool *lost, osmo_error_t *err);
int repo_replica_address(db_t *db, const char *id, const char *address, osmo_error_t *err);
int repo_replica_delete(db_t *db, const char *id, osmo_error_t *err);
/* Rows whose lease is over. */
int repo_replica_delete_ended(db_t *db, osmo_error_t *err);
/* At most `limit`, by id. */
int repo_replica_list(db_t *db, size_t limit, struct replica_row **out, size_t *n, osmo_error_t *err);
/* Gives back a piece of what a service had taken, if its lease is over and nobody else is at it. *gone: that was the last piece, and
 * its row is deleted. Waits for nobody. */
int repo_replica_bury(db_t *db, const char *id, bool *gone, osmo_error_t *err);

/* Items that this service has taken, whoever in it: owners begin with "<id>/". */
int repo_work_release_replica(db_t *db, const char *id, osmo_error_t *err);
/* Items whose owner is no living service; on an embedded database all. */
int repo_work_recover(db_t *db, osmo_error_t *err);
/* Which session has the newest worker of the backend; the others get no more jobs. The session with this name has ended. */
int repo_worker_set(db_t *db, const char *backend, const char *owner, osmo_error_t *err);
int repo_worker_ended(db_t *db, const char *owner, osmo_error_t *err);
/* Is there something to claim for the backend (NULL = the worker role)? Read only. */
int repo_work_is_due(db_t *db, const char *backend, int64_t now_us, bool *due, osmo_error_t *err);
#endif
