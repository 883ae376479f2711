/* The end of a backend: it is marked, what runs there is ended workflow by workflow, and then everything that bears its name goes at
 * once. Whoever is cut off in between leaves the mark, and somebody goes on. Called by engine/backends.c and by what writes for the
 * sessions of a backend. Conventions as in repo.h. */
#ifndef STORE_REPO_BACKEND_END_H
#define STORE_REPO_BACKEND_END_H
#include "store/repo.h"

/* Is it there and not being deleted? Then it stays so until the end of the transaction. */
int repo_backend_accepts(db_t *db, const char *name, bool *yes, osmo_error_t *err);
/* Another cluster, another prefix of node conditions; NULL leaves what there is. *found: there is such a backend. */
int repo_backend_identity(db_t *db, const char *name, const char *k8s_uid, const char *node_prefix, bool *found, osmo_error_t *err);

/* Unfinished workflows of the backend, and groups with objects there. */
int repo_backend_owed(db_t *db, const char *name, int64_t *workflows, int64_t *groups, osmo_error_t *err);
/* Marks it. *found: there is such a backend. */
int repo_backend_end_begin(db_t *db, const char *name, bool *found, osmo_error_t *err);
/* Names of those that are marked. */
int repo_backends_ending(db_t *db, strlist_t *names, osmo_error_t *err);
/* Workflows that are not finished or have something there, behind `after`, by uuid. */
int repo_backend_workflows(db_t *db, const char *name, const char *after, size_t limit, strlist_t *uuids, osmo_error_t *err);
/* Takes it all away: the row, its nodes, what is owed there, and the access tokens that serve it alone. *again: a workflow has brought
 * something there meanwhile, and nothing was done. Items of workflows that only wait stay: they are for the next backend of that name. */
int repo_backend_end(db_t *db, const char *name, bool *again, int64_t *tokens, osmo_error_t *err);
#endif
