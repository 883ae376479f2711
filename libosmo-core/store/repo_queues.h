/* What the backends know of the pools and of their tests, and the items that tell them: one a backend and kind, which always carries what
 * is wanted last. Called by engine/queues.c. Conventions as in repo.h. */
#ifndef STORE_REPO_QUEUES_H
#define STORE_REPO_QUEUES_H
#include "store/repo.h"

/* Kinds of items. */
#define SYNC_QUEUES "sync_queues"
#define SYNC_TESTS "sync_tests"

/* The backend shall have what the payload says; `digest` names it. Nothing is queued where it has that already and no other item may
 * be with it. An item that is there gets the payload, is brought forward and, if it was given up or says something else now, gets
 * new attempts. empty: the payload says nothing, which a backend that was never told anything has. *queued: there is one. */
int repo_queues_want(db_t *db, const char *kind, const char *backend, const char *digest, const char *payload_json, int64_t now_us,
                     bool empty, bool *queued, osmo_error_t *err);
/* It has that. */
int repo_queues_have(db_t *db, const char *kind, const char *backend, const char *digest, osmo_error_t *err);
/* Does the item still want what its payload said when it was handed out? */
int repo_queues_unchanged(db_t *db, int64_t id, const char *payload_json, bool *same, osmo_error_t *err);
/* The backend is gone: what it had says nothing any more. */
int repo_queues_forget(db_t *db, const char *backend, osmo_error_t *err);
#endif
