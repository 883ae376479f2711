/* Backends (clusters) and their nodes. Part of repo.h. */
#include "base/map.h"
#include "store/repo.h"
#include "store/rows.h"

#define NAME_F(kind, column, field) #column
#define NAME_N(kind, column, field) ", " #column

#define BACKEND_LIST(F, N) \
    F(TEXT, name, name) N(TEXT, k8s_uid, k8s_uid) N(TEXT, k8s_namespace, k8s_namespace) N(TEXT, version, version) \
    N(TEXT, node_prefix, node_prefix) N(I64, heartbeat_us, heartbeat_us) N(I64, created_us, created_us) \
    N(BOOL, pulls_images, pulls_images)
#define B_COL(kind, column, field) COL_ENTRY(backend_row, kind, column, field)
static const struct col backend_cols[] = { BACKEND_LIST(B_COL, B_COL) B_COL(TEXT, status, status) };
#define BACKEND_LEN (sizeof(backend_cols) / sizeof(backend_cols[0]) - 1)
static const struct row_type backend_type = { "backends", sizeof(struct backend_row), backend_cols,
                                              BACKEND_LEN, BACKEND_LEN + 1 };

#define SELECT_BACKEND "SELECT " BACKEND_LIST(NAME_F, NAME_N) ", status FROM backends WHERE ending = 0"

#define NODE_LIST(F, N) \
    F(TEXT, backend, backend) N(TEXT, name, name) N(BOOL, available, available) \
        N(TEXT, allocatable_json, allocatable_json) \
    N(TEXT, labels_json, labels_json) N(TEXT, taints_json, taints_json) N(TEXT, conditions_json, conditions_json) \
    N(TEXT, usage_json, usage_json) N(TEXT, foreign_usage_json, foreign_usage_json)
#define N_COL(kind, column, field) COL_ENTRY(node_row, kind, column, field)
static const struct col node_cols[] = { NODE_LIST(N_COL, N_COL) };
#define NODE_LEN (sizeof(node_cols) / sizeof(node_cols[0]))
static const struct row_type node_type = { "nodes", sizeof(struct node_row), node_cols, NODE_LEN, NODE_LEN };

#define SELECT_NODE "SELECT " NODE_LIST(NAME_F, NAME_N) " FROM nodes"

void backend_row_clear(struct backend_row *r) { row_clear(&backend_type, r); }
void backend_rows_free(struct backend_row *r, size_t n) { row_list_free(&backend_type, r, n); }
void node_row_clear(struct node_row *r) { row_clear(&node_type, r); }
void node_rows_free(struct node_row *r, size_t n) { row_list_free(&node_type, r, n); }

/* One statement decides: a second cluster under the same name never overwrites the first. */
int repo_backend_upsert(db_t *db, const struct backend_row *r, osmo_error_t *err) {
    struct db_arg args[BACKEND_LEN];
    int64_t changed = 0;
    row_args(backend_cols, BACKEND_LEN, r, args);
    int rc = db_exec(db, "INSERT INTO backends (" BACKEND_LIST(NAME_F, NAME_N) ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                         " ON CONFLICT (name) DO UPDATE SET k8s_uid = excluded.k8s_uid,"
                         " k8s_namespace = excluded.k8s_namespace,"
                         " version = excluded.version, node_prefix = excluded.node_prefix, heartbeat_us = "
                         "excluded.heartbeat_us, pulls_images = excluded.pulls_images"
                         " WHERE (COALESCE(backends.k8s_uid, '') = '' OR backends.k8s_uid = excluded.k8s_uid) AND backends.ending = 0",
                     args, BACKEND_LEN, &changed, err);
    if (rc < 0 || changed)
        return rc;
    int64_t ending = 0;
    rc = int_select(db, "SELECT ending FROM backends WHERE name = ?", DB_ARGS(DB_T(r->name)), 0, &ending, err);
    if (rc < 0)
        return rc;
    return ending ? osmo_error_set(err, OSMO_ECONFLICT, "backend %s is being deleted", r->name)
                  : osmo_error_set(err, OSMO_ECONFLICT, "backend %s belongs to another cluster: choose another backend name, or delete "
                                                        "it with osmo backend delete first", r->name);
}

int repo_backend_heartbeat(db_t *db, const char *name, int64_t at_us, const char *status, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, "UPDATE backends SET heartbeat_us = ?, status = ? WHERE name = ? AND ending = 0",
                     DB_ARGS(DB_I(at_us), DB_T(status ? status : ""), DB_T(name)), &changed, err);
    if (rc == 0 && changed == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "backend %s does not exist", name);
    return rc;
}

int repo_backend_get(db_t *db, const char *name, struct backend_row *out, osmo_error_t *err) {
    return row_select(db, &backend_type, SELECT_BACKEND " AND name = ?", DB_ARGS(DB_T(name)), out, err,
                      "backend %s", name);
}

int repo_backend_list(db_t *db, struct backend_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &backend_type, SELECT_BACKEND " ORDER BY name", NULL, 0, &list, n, err);
    *out = list;
    return rc;
}

int repo_node_upsert(db_t *db, const struct node_row *r, osmo_error_t *err) {
    struct db_arg args[NODE_LEN];
    row_args(node_cols, NODE_LEN, r, args);
    return db_exec(db, "INSERT INTO nodes (" NODE_LIST(NAME_F, NAME_N) ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                       " ON CONFLICT (backend, name) DO UPDATE SET available = excluded.available, "
                       "allocatable_json = excluded.allocatable_json,"
                       " labels_json = excluded.labels_json, taints_json = excluded.taints_json, "
                       "conditions_json = excluded.conditions_json",
                   args, NODE_LEN, NULL, err);
}

int repo_node_usage(db_t *db, const char *backend, const char *name, const char *usage_json,
                    const char *foreign_json, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO nodes (backend, name, available, allocatable_json, labels_json, taints_json, "
                       "conditions_json, usage_json, foreign_usage_json) VALUES (?, ?, 0, '{}', '{}', '[]', '[]', ?, ?)"
                       " ON CONFLICT (backend, name) DO UPDATE SET usage_json = excluded.usage_json, "
                       "foreign_usage_json = excluded.foreign_usage_json",
                   DB_ARGS(DB_T(backend), DB_T(name), DB_T(usage_json), DB_T(foreign_json)), NULL, err);
}

int repo_node_delete(db_t *db, const char *backend, const char *name, osmo_error_t *err) {
    return db_exec(db, "DELETE FROM nodes WHERE backend = ? AND name = ?", DB_ARGS(DB_T(backend), DB_T(name)),
                   NULL, err);
}

/* Pairs of a name and whether the node has reported itself. */
static int list_missing(const strlist_t *have, const map_t *keep, bool reported, strlist_t *out) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < have->len; i += 2)
        if (!map_has(keep, have->items[i]) && (!reported || str_eq(have->items[i + 1], "1")))
            rc = strlist_add(out, have->items[i]);
    return rc;
}

int repo_nodes_missing(db_t *db, const char *backend, const strlist_t *names, bool reported, strlist_t *out, osmo_error_t *err) {
    strlist_t have = { 0 };
    map_t *keep = map_new(NULL);
    int rc = keep ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc == 0 && i < names->len; i++)
        rc = map_set(keep, names->items[i], names->items[i]);
    if (rc < 0)
        osmo_error_set(err, rc, "out of memory");
    if (rc == 0)
        rc = strings_select(db, "SELECT name, CASE WHEN COALESCE(allocatable_json, '{}') = '{}' THEN '' ELSE '1' END FROM nodes"
                                " WHERE backend = ? ORDER BY name", DB_ARGS(DB_T(backend)), 2, &have, err);
    if (rc == 0 && list_missing(&have, keep, reported, out) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    strlist_free(&have);
    map_free(keep);
    return rc;
}

int repo_nodes_keep(db_t *db, const char *backend, const strlist_t *names, osmo_error_t *err) {
    strlist_t missing = { 0 };
    int rc = repo_nodes_missing(db, backend, names, false, &missing, err);
    for (size_t i = 0; rc == 0 && i < missing.len; i++)
        rc = repo_node_delete(db, backend, missing.items[i], err);
    strlist_free(&missing);
    return rc;
}

int repo_node_list(db_t *db, const char *backend, struct node_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = backend ? rows_select(db, &node_type, SELECT_NODE " WHERE backend = ? ORDER BY name",
                                   DB_ARGS(DB_T(backend)), &list, n, err)
                     : rows_select(db, &node_type, SELECT_NODE " ORDER BY backend, name",
                                   NULL, 0, &list, n, err);
    *out = list;
    return rc;
}
