/* Values that stood in the database in plain text and must leave nothing behind in its files. Called by engine/ when it seals what older
 * versions kept open. On PostgreSQL what was there stays in the server's files until it writes over it, which nobody can order. */
#ifndef STORE_REPO_SECURE_H
#define STORE_REPO_SECURE_H
#include "store/store.h"

/* In a transaction: replaces the value of a key, or deletes it (value NULL). */
int repo_kv_overwrite(db_t *db, const char *key, const char *value, osmo_error_t *err);
/* After its commit, on any connection: takes it out of the write-ahead log, too. */
int repo_overwritten(db_t *db, osmo_error_t *err);
#endif
