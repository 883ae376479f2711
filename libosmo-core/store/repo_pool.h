/* What changes of the configuration ask the store beside the objects themselves (store/repo_auth.h). Called by
 * engine/config_objects.c. */
#ifndef STORE_REPO_POOL_H
#define STORE_REPO_POOL_H
#include "store/store.h"

/* Until the transaction ends nobody else changes configuration objects, here or in another service. */
int repo_config_lock(db_t *db, osmo_error_t *err);
/* Workflows of a pool that are not finished. */
int repo_pool_ongoing(db_t *db, const char *pool, int64_t *workflows, osmo_error_t *err);
#endif
