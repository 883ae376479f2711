/* The mailbox of the ctrls (table ctrl_actions): what the ctrl of a task is to do for an interactive session. No key is in it: whoever has
 * the secret makes it again from the rest (model/router_key.h). Rows of one workflow are added under its lock, so that their ids are in
 * the order of their commits. Used by engine/router*.c. */
#ifndef STORE_REPO_ACTIONS_H
#define STORE_REPO_ACTIONS_H
#include "store/repo.h"

struct action_row {
    int64_t id;
    char workflow_uuid[33], group_uuid[33];
    char *task, *user, *payload_json; /* members of the message beside action, key and cookie */
    char *made_by_json;               /* of a web server, whose user has no connection: identity_json.c; else "" */
    int64_t retry_id, action, nonce, replica, key_expires_s;
    int64_t expires_us;               /* of the row: nobody waits behind it */
    bool done;                        /* the ctrl has it */
};
void action_row_clear(struct action_row *r);
void action_rows_free(struct action_row *r, size_t n);

/* In a transaction that holds the workflow's lock. OSMO_EBUSY: so many wait already that no ctrl can be listening. */
#define ACTIONS_WAITING_MAX 4096
int repo_action_add(db_t *db, const struct action_row *r, osmo_error_t *err);
/* Those that no ctrl has taken, behind an id, by id. */
int repo_actions_waiting(db_t *db, const char *workflow_uuid, int64_t after, int64_t now_us, size_t limit, struct action_row **out,
                         size_t *n, osmo_error_t *err);
/* OSMO_ENOTFOUND */
int repo_action_by_nonce(db_t *db, const char *workflow_uuid, int64_t nonce, struct action_row *out, osmo_error_t *err);
/* Only of that attempt. The row is needed until then at most, for those who come with its key; one that says who made it is kept. */
int repo_action_done(db_t *db, int64_t id, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t expires_us,
                     osmo_error_t *err);
int repo_actions_expire(db_t *db, int64_t now_us, int64_t limit, int64_t *removed, osmo_error_t *err);
int repo_actions_next_expiry(db_t *db, int64_t *expires_us, osmo_error_t *err); /* 0 = none */
#endif
