/* Workflows, their labels and files: rows by id, the number of a new one, updates. Part of repo.h; the list is
 * repo_list.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "store/repo.h"
#include "store/repo_retention.h"
#include "store/row_cache.h"
#include "store/workflow_cols.h"

static const struct col workflow_cols[] = { WORKFLOW_FIXED(WF_COL, WF_COL) WORKFLOW_MUTABLE(WF_COL, WF_COL) };
#define WF_FIXED_LEN (sizeof((struct col[]){ WORKFLOW_FIXED(WF_COL, WF_COL) }) / sizeof(struct col))
#define WF_LEN (sizeof(workflow_cols) / sizeof(workflow_cols[0]))
const struct row_type workflow_type = { "workflows", sizeof(struct workflow_row), workflow_cols, WF_LEN, WF_LEN };

void workflow_row_clear(struct workflow_row *r) { row_clear(&workflow_type, r); }
void workflow_rows_free(struct workflow_row *r, size_t n) { row_list_free(&workflow_type, r, n); }

unsigned repo_name_lane(const char *name) {
    unsigned h = 0;
    for (; *name; name++)
        h = h * 31 + (unsigned char)*name;
    return h % NAME_LANES;
}

/* Two submissions of one name must not both read the same maximum. An embedded database has one writer; a
 * server takes a lock that lasts until the transaction ends. One lock for all names of a lane: a transaction has several of
 * them, which another service may have in another order. */
static int allocate_number(db_t *db, struct workflow_row *r, osmo_error_t *err) {
    _cleanup_free_ char *gone = str_printf(KV_WORKFLOW_NUMBER "%s", r->name);
    int64_t highest = 0, unused;
    int rc = gone ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0 && db_is_pgsql(db))
        rc = int_select(db, "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended(COALESCE(current_schema(), ''), 5720) + ?))"
                            " AS locked", DB_ARGS(DB_I(repo_name_lane(r->name))), 0, &unused, err);
    if (rc == 0)
        rc = int_select(db, "SELECT MAX(n) FROM (SELECT MAX(job_id) AS n FROM workflows WHERE name = ?"
                            " UNION ALL SELECT CAST(content AS BIGINT) FROM kv WHERE name = ?) AS numbers",
                        DB_ARGS(DB_T(r->name), DB_T(gone)), 0, &highest, err);
    if (rc < 0)
        return rc;
    char *id = str_printf("%s-%lld", r->name, (long long)highest + 1);
    if (!id)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    free(r->id);
    r->id = id;
    r->job_id = highest + 1;
    return 0;
}

static int labels_insert(db_t *db, const struct workflow_row *r, osmo_error_t *err) {
    _cleanup_json_ json_t *labels = NULL;
    if (!r->labels_json || str_eq(r->labels_json, "{}"))
        return 0;
    int rc = json_parse(r->labels_json, strlen(r->labels_json), &labels, err);
    if (rc < 0)
        return osmo_error_prefix(err, "labels of workflow %s", r->id);
    for (json_iter_t it = json_iter(labels); rc == 0 && json_iter_next(&it);) {
        const char *value = json_str(it.value);
        if (value)
            rc = db_exec(db, "INSERT INTO workflow_labels (workflow_uuid, label_key, label_value, submit_us) VALUES "
                             "(?, ?, ?, ?)", DB_ARGS(DB_T(r->uuid), DB_T(it.key), DB_T(value), DB_I(r->submit_us)),
                         NULL, err);
    }
    return rc;
}

int repo_workflow_insert(db_t *db, struct workflow_row *r, osmo_error_t *err) {
    if (!r->name || !r->name[0] || !r->uuid[0])
        return osmo_error_set(err, OSMO_EINTERNAL, "a workflow row needs a uuid and a name");
    if (!r->labels_json && !(r->labels_json = str_dup("{}")))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = allocate_number(db, r, err);
    if (rc == 0 && r->outputs_below) {
        free(r->outputs);
        r->outputs = str_printf("%s%s%s", r->outputs_below, str_ends(r->outputs_below, "/") ? "" : "/", r->id);
        rc = r->outputs ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    if (rc == 0)
        rc = rows_insert(db, &workflow_type, r, 1, err);
    if (rc == 0 && r->job_id == 1)
        rc = db_exec(db, "INSERT INTO workflow_names (name) VALUES (?) ON CONFLICT (name) DO NOTHING",
                     DB_ARGS(DB_T(r->name)), NULL, err);
    if (rc == 0 && r->user)
        rc = db_exec(db, "INSERT INTO submitters (user_name) VALUES (?) ON CONFLICT (user_name) DO NOTHING",
                     DB_ARGS(DB_T(r->user)), NULL, err);
    return rc == 0 ? labels_insert(db, r, err) : rc;
}

#define SELECT_WORKFLOW "SELECT " WORKFLOW_SELECT " FROM workflows t WHERE "

int repo_workflow_get(db_t *db, const char *id_or_uuid, struct workflow_row *out, osmo_error_t *err) {
    return row_select(db, &workflow_type, SELECT_WORKFLOW "t.uuid = ? OR t.id = ?", DB_ARGS(DB_T(id_or_uuid),
        DB_T(id_or_uuid)),
                      out, err, "workflow %s", id_or_uuid);
}

/* NO KEY: rows that refer to the workflow may be inserted by others meanwhile. */
int repo_workflow_lock(db_t *db, const char *uuid, struct workflow_row *out, osmo_error_t *err) {
    if (db_row_cache(db))
        return row_select_cached(db, &workflow_type, (struct row_key){ uuid, 0 },
                                 "SELECT " WORKFLOW_SELECT ", t.rowid FROM workflows t WHERE t.uuid = ?",
                                 DB_ARGS(DB_T(uuid)), out, err, "workflow %s", uuid);
    const char *sql = db_is_pgsql(db) ? SELECT_WORKFLOW "t.uuid = ? FOR NO KEY UPDATE" : SELECT_WORKFLOW "t.uuid = ?";
    return row_select(db, &workflow_type, sql, DB_ARGS(DB_T(uuid)), out, err, "workflow %s", uuid);
}

#define MUTABLE_COLS (workflow_cols + WF_FIXED_LEN)
#define MUTABLE_LEN (WF_LEN - WF_FIXED_LEN)
#define PLAIN_LEN (MUTABLE_LEN - WORKFLOW_INDEXED_LEN)

/* SQLite writes an index again whenever its column is set, to whatever value; counters change far more often than what is
 * indexed does. */
static int update_status(db_t *db, const struct workflow_row *r, osmo_error_t *err) {
    return db_exec(db, "UPDATE workflows SET status = ? WHERE uuid = ? AND status <> ?",
                   DB_ARGS(DB_I(r->sm.status), DB_T(r->uuid), DB_I(r->sm.status)), NULL, err);
}

static int update_known(db_t *db, const struct workflow_row *known, int64_t rowid, const struct workflow_row *r,
                        osmo_error_t *err) {
    bool status = known->sm.status != r->sm.status;
    bool plain = row_same(MUTABLE_COLS + PLAIN_LEN, WORKFLOW_INDEXED_LEN, known, r);
    if (!status && plain && row_same(MUTABLE_COLS, PLAIN_LEN, known, r))
        return 0;
    int rc = status ? update_status(db, r, err) : 0;
    if (rc == 0 && plain)
        rc = row_update(db, "UPDATE workflows SET " WORKFLOW_PLAIN(COL_SET_F, COL_SET_N) " WHERE rowid = ?", MUTABLE_COLS,
                        PLAIN_LEN, r, DB_ARGS(DB_I(rowid)), r->uuid, "workflow", err);
    else if (rc == 0)
        rc = row_update(db, "UPDATE workflows SET " WORKFLOW_MUTABLE(COL_SET_F, COL_SET_N) " WHERE rowid = ?", MUTABLE_COLS,
                        MUTABLE_LEN, r, DB_ARGS(DB_I(rowid)), r->uuid, "workflow", err);
    if (rc == 0)
        row_cache_put(db_row_cache(db), &workflow_type, r->uuid, 0, rowid, r);
    return rc;
}

/* A server sees for itself that nothing changed, and each statement is a round trip. */
int repo_workflow_update(db_t *db, const struct workflow_row *r, osmo_error_t *err) {
    int64_t rowid;
    if (db_is_pgsql(db))
        return row_update(db, ONE_ROW(db, "UPDATE workflows SET status = ?, " WORKFLOW_MUTABLE(COL_SET_F, COL_SET_N)
                                          " WHERE uuid = ?"), MUTABLE_COLS - 1, MUTABLE_LEN + 1, r,
                          DB_ARGS(DB_T(r->uuid)), r->uuid, "workflow", err);
    row_cache_t *cache = db_row_cache(db);
    const struct workflow_row *known = cache ? row_cache_find(cache, &workflow_type, r->uuid, 0, &rowid) : NULL;
    if (known)
        return update_known(db, known, rowid, r, err);
    int rc = update_status(db, r, err);
    return rc < 0 ? rc : row_update(db, "UPDATE workflows SET " WORKFLOW_MUTABLE(COL_SET_F, COL_SET_N) " WHERE uuid = ?",
                                    MUTABLE_COLS, MUTABLE_LEN, r, DB_ARGS(DB_T(r->uuid)), r->uuid, "workflow", err);
}

int repo_file_put(db_t *db, const char *workflow_uuid, const char *path, const char *content, size_t len,
                  osmo_error_t *err) {
    return db_exec(db, "INSERT INTO workflow_files (workflow_uuid, path, content) VALUES (?, ?, ?)"
                       " ON CONFLICT (workflow_uuid, path) DO UPDATE SET content = excluded.content",
                   DB_ARGS(DB_T(workflow_uuid), DB_T(path), DB_B(content, len)), NULL, err);
}

int repo_file_get(db_t *db, const char *workflow_uuid, const char *path, char **content, size_t *len,
                  osmo_error_t *err) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    *content = NULL;
    *len = 0;
    int rc = db_query(db, "SELECT content FROM workflow_files WHERE workflow_uuid = ? AND path = ?",
                      DB_ARGS(DB_T(workflow_uuid), DB_T(path)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) < 0)
        return rc;
    if (rc == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "file %s of workflow %s does not exist", path, workflow_uuid);
    const void *data = db_blob(rows, 0, len);
    *content = malloc(*len + 1);
    if (!*content)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    memcpy(*content, data, *len);
    (*content)[*len] = '\0';
    return 0;
}
