/* Role documents with the names that providers have for them, and configuration objects; see repo_auth.h. */
#include "store/repo_auth.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/rows.h"

/* ---- role documents ---- */

#define R_COL(kind, column, field) COL_ENTRY(role_row, kind, column, field)
static const struct col role_cols[] = { R_COL(TEXT, name, name) R_COL(TEXT, document, document) };
static const struct row_type role_type = { "roles", sizeof(struct role_row), role_cols, 2, 2 };

void role_row_clear(struct role_row *r) {
    if (r)
        strlist_free(&r->external);
    row_clear(&role_type, r);
}

void role_rows_free(struct role_row *r, size_t n) {
    for (size_t i = 0; r && i < n; i++)
        role_row_clear(&r[i]);
    free(r);
}

/* Both lists are sorted by the names of the roles. */
static int add_external(struct role_row *roles, size_t n, const strlist_t *pairs) {
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < pairs->len; i += 2) {
        while (at < n && strcmp(roles[at].name, pairs->items[i]) < 0)
            at++;
        if (at < n && str_eq(roles[at].name, pairs->items[i]))
            rc = strlist_add(&roles[at].external, pairs->items[i + 1]);
    }
    return rc;
}

int repo_role_list(db_t *db, struct role_row **out, size_t *n, osmo_error_t *err) {
    strlist_t pairs = { 0 };
    void *list = NULL;
    *n = 0;
    int rc = rows_select(db, &role_type, "SELECT t.name, t.document FROM roles t ORDER BY t.name", NULL, 0, &list, n, err);
    if (rc >= 0)
        rc = strings_select(db, "SELECT role, external_role FROM role_external ORDER BY role, external_role", NULL, 0, 2, &pairs, err);
    if (rc >= 0 && (rc = add_external(list, *n, &pairs)) < 0)
        osmo_error_set(err, rc, "out of memory");
    strlist_free(&pairs);
    if (rc < 0) {
        role_rows_free(list, *n);
        list = NULL;
        *n = 0;
    }
    *out = list;
    return rc;
}

int repo_role_check(db_t *db, const char *name, bool keep, osmo_error_t *err) {
    int64_t there = 0;
    bool lock = keep && db_is_pgsql(db);
    int rc = int_select(db, lock ? "SELECT 1 FROM roles WHERE name = ? FOR SHARE" : "SELECT 1 FROM roles WHERE name = ?",
                        DB_ARGS(DB_T(name)), 0, &there, err);
    return rc == 0 && !there ? osmo_error_set(err, OSMO_ENOTFOUND, "role %s does not exist", name) : rc;
}

static int map_external(db_t *db, const char *role, const char *external, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO role_external (role, external_role) VALUES (?, ?) ON CONFLICT (role, external_role) DO NOTHING",
                   DB_ARGS(DB_T(role), DB_T(external)), NULL, err);
}

int repo_role_put(db_t *db, const char *name, const char *document, const strlist_t *external, osmo_error_t *err) {
    int64_t fresh = 0;
    int rc = db_exec(db, "INSERT INTO roles (name, document) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                     DB_ARGS(DB_T(name), DB_T(document)), &fresh, err);
    if (rc == 0 && !fresh)
        rc = db_exec(db, "UPDATE roles SET document = ? WHERE name = ?", DB_ARGS(DB_T(document), DB_T(name)), NULL, err);
    if (rc == 0 && external)
        rc = db_exec(db, "DELETE FROM role_external WHERE role = ?", DB_ARGS(DB_T(name)), NULL, err);
    else if (rc == 0 && fresh)
        rc = map_external(db, name, name, err);
    for (size_t i = 0; rc == 0 && external && i < external->len; i++)
        rc = map_external(db, name, external->items[i], err);
    return rc;
}

int repo_role_delete(db_t *db, const char *name, osmo_error_t *err) {
    /* The first as repo_user_lock() does it: no token gets the role meanwhile. */
    static const char *const parts[] = {
        "UPDATE users SET created_us = created_us WHERE name IN (SELECT user_name FROM user_roles WHERE role = ?)",
        "DELETE FROM role_external WHERE role = ?", "DELETE FROM token_roles WHERE role = ?", "DELETE FROM user_roles WHERE role = ?"
    };
    int64_t there = 0;
    int rc = db_exec(db, "DELETE FROM roles WHERE name = ?", DB_ARGS(DB_T(name)), &there, err);
    if (rc == 0 && there == 0)
        return osmo_error_set(err, OSMO_ENOTFOUND, "role %s does not exist", name);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(parts); i++)
        rc = db_exec(db, parts[i], DB_ARGS(DB_T(name)), NULL, err);
    return rc;
}

/* ---- configuration objects ---- */

#define C_COL(kind, column, field) COL_ENTRY(config_row, kind, column, field)
static const struct col config_cols[] = { C_COL(TEXT, kind, kind) C_COL(TEXT, name, name) C_COL(TEXT, body, body) };
static const struct row_type config_type = { "config_objects", sizeof(struct config_row), config_cols, 3, 3 };
#define CONFIG_SELECT "SELECT t.kind, t.name, t.body FROM config_objects t"

void config_row_clear(struct config_row *r) { row_clear(&config_type, r); }
void config_rows_free(struct config_row *r, size_t n) { row_list_free(&config_type, r, n); }

int repo_config_list(db_t *db, const char *kind, struct config_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = kind ? rows_select(db, &config_type, CONFIG_SELECT " WHERE t.kind = ? ORDER BY t.name", DB_ARGS(DB_T(kind)), &list, n, err)
                  : rows_select(db, &config_type, CONFIG_SELECT " ORDER BY t.kind, t.name", NULL, 0, &list, n, err);
    *out = list;
    return rc;
}

int repo_config_put(db_t *db, const char *kind, const char *name, const char *body, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO config_objects (kind, name, body) VALUES (?, ?, ?)"
                       " ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
                   DB_ARGS(DB_T(kind), DB_T(name), DB_T(body)), NULL, err);
}

int repo_config_delete(db_t *db, const char *kind, const char *name, bool *there, osmo_error_t *err) {
    int64_t changed = 0;
    int rc = db_exec(db, "DELETE FROM config_objects WHERE kind = ? AND name = ?", DB_ARGS(DB_T(kind), DB_T(name)), &changed, err);
    if (there)
        *there = changed > 0;
    return rc;
}
