/* The mailbox of the ctrls; see repo_actions.h. */
#include "store/repo_actions.h"
#include "base/cleanup.h"
#include "store/rows.h"

#define ACTION_STORED(F, N) \
    F(UUID, workflow_uuid, workflow_uuid) N(UUID, group_uuid, group_uuid) N(TEXT, task, task) N(I64, retry_id, retry_id) \
    N(TEXT, user_name, user) N(I64, action, action) N(I64, nonce, nonce) N(I64, replica, replica) \
    N(I64, key_expires_s, key_expires_s) N(TEXT, payload_json, payload_json) \
    N(TEXT, made_by_json, made_by_json) N(I64, expires_us, expires_us) N(BOOL, done, done)
#define A_COL(kind, column, field) COL_ENTRY(action_row, kind, column, field)
/* The id is the database's: read, never written. */
static const struct col action_cols[] = { ACTION_STORED(A_COL, A_COL) A_COL(I64, id, id) };
#define ACTION_LEN (sizeof(action_cols) / sizeof(action_cols[0]))
static const struct row_type action_type = { "ctrl_actions", sizeof(struct action_row), action_cols, ACTION_LEN - 1, ACTION_LEN };
#define SELECT_ACTION "SELECT " ACTION_STORED(COL_SELECT_F, COL_SELECT_N) ", t.id FROM ctrl_actions t WHERE "

void action_row_clear(struct action_row *r) { row_clear(&action_type, r); }
void action_rows_free(struct action_row *r, size_t n) { row_list_free(&action_type, r, n); }

int repo_action_add(db_t *db, const struct action_row *r, osmo_error_t *err) {
    int64_t waiting = 0;
    int rc = int_select(db, "SELECT COUNT(*) FROM (SELECT 1 FROM ctrl_actions WHERE workflow_uuid = ? AND done = 0 LIMIT ?) AS x",
                        DB_ARGS(DB_T(r->workflow_uuid), DB_I(ACTIONS_WAITING_MAX)), 0, &waiting, err);
    if (rc >= 0 && waiting >= ACTIONS_WAITING_MAX)
        return osmo_error_set(err, OSMO_EBUSY, "%d interactive sessions of this workflow wait for its tasks, which do not answer: try "
                                               "again later", ACTIONS_WAITING_MAX);
    return rc < 0 ? rc : rows_insert(db, &action_type, r, 1, err);
}

int repo_actions_waiting(db_t *db, const char *workflow_uuid, int64_t after, int64_t now_us, size_t limit, struct action_row **out,
                         size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &action_type, SELECT_ACTION "t.workflow_uuid = ? AND t.id > ? AND t.done = 0 AND t.expires_us > ?"
                                                         " ORDER BY t.id LIMIT ?",
                         DB_ARGS(DB_T(workflow_uuid), DB_I(after), DB_I(now_us), DB_I((int64_t)limit)), &list, n, err);
    *out = list;
    return rc;
}

int repo_action_by_nonce(db_t *db, const char *workflow_uuid, int64_t nonce, struct action_row *out, osmo_error_t *err) {
    return row_select(db, &action_type, SELECT_ACTION "t.workflow_uuid = ? AND t.nonce = ?", DB_ARGS(DB_T(workflow_uuid), DB_I(nonce)),
                      out, err, "this interactive session");
}

int repo_action_done(db_t *db, int64_t id, const char *workflow_uuid, const char *task, int64_t retry_id, int64_t expires_us,
                     osmo_error_t *err) {
    return db_exec(db, "UPDATE ctrl_actions SET done = 1,"
                       " expires_us = CASE WHEN made_by_json = '' AND expires_us > ? THEN ? ELSE expires_us END"
                       " WHERE id = ? AND workflow_uuid = ? AND task = ? AND retry_id = ?",
                   DB_ARGS(DB_I(expires_us), DB_I(expires_us), DB_I(id), DB_T(workflow_uuid), DB_T(task), DB_I(retry_id)), NULL, err);
}

int repo_actions_expire(db_t *db, int64_t now_us, int64_t limit, int64_t *removed, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM ctrl_actions WHERE id IN (SELECT id FROM ctrl_actions WHERE expires_us <= ?"
                       " ORDER BY expires_us LIMIT ?)", DB_ARGS(DB_I(now_us), DB_I(limit)), removed, err);
}

int repo_actions_next_expiry(db_t *db, int64_t *expires_us, osmo_error_t *err) {
    return int_select(db, "SELECT MIN(expires_us) FROM ctrl_actions", NULL, 0, 0, expires_us, err);
}
