/* Users and the roles they have; see repo_auth.h. A role that is taken from a user is taken from its tokens as well, in the same
 * transaction. */
#include "store/repo_auth.h"

#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"
#include "store/list_query.h"
#include "store/rows.h"

#define SYNC_BY "idp-sync"

/* ---- users ---- */

#define U_COL(kind, column, field) COL_ENTRY(user_row, kind, column, field)
static const struct col user_cols[] = { U_COL(TEXT, name, name) U_COL(TEXT, created_by, created_by) U_COL(I64, created_us, created_us) };
#define USER_LEN ARRAY_SIZE(user_cols)
#define USER_SELECT "SELECT t.name, t.created_by, t.created_us FROM users t"
static const struct row_type user_type = { "users", sizeof(struct user_row), user_cols, USER_LEN, USER_LEN };

void user_row_clear(struct user_row *r) { row_clear(&user_type, r); }
void user_rows_free(struct user_row *r, size_t n) { row_list_free(&user_type, r, n); }

int repo_user_get(db_t *db, const char *name, struct user_row *out, osmo_error_t *err) {
    return row_select(db, &user_type, USER_SELECT " WHERE t.name = ?", DB_ARGS(DB_T(name)), out, err, "user %s", name);
}

int repo_user_add(db_t *db, const struct user_row *r, osmo_error_t *err) {
    int64_t added = 0;
    int rc = db_exec(db, "INSERT INTO users (name, created_by, created_us) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                     DB_ARGS(DB_T(r->name), DB_T(r->created_by), DB_I(r->created_us)), &added, err);
    return rc == 0 && added == 0 ? osmo_error_set(err, OSMO_EEXISTS, "user %s exists already", r->name) : rc;
}

int repo_user_ensure(db_t *db, const char *user, const char *created_by, int64_t now_us, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO users (name, created_by, created_us) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                   DB_ARGS(DB_T(user), DB_T(created_by), DB_I(now_us)), NULL, err);
}

int repo_user_lock(db_t *db, const char *name, osmo_error_t *err) {
    int64_t there = 0;
    int rc = db_exec(db, "UPDATE users SET created_us = created_us WHERE name = ?", DB_ARGS(DB_T(name)), &there, err);
    return rc == 0 && there == 0 ? osmo_error_set(err, OSMO_ENOTFOUND, "user %s does not exist", name) : rc;
}

static void user_where(struct list_query *q, const char *prefix, const strlist_t *roles) {
    list_sql(q, " WHERE 1 = 1");
    if (prefix && *prefix)
        list_add(q, q->pgsql ? " AND strpos(t.name, ?) = 1" : " AND instr(t.name, ?) = 1", DB_T(prefix));
    if (roles && roles->len) {
        list_sql(q, " AND EXISTS (SELECT 1 FROM user_roles r WHERE r.user_name = t.name");
        list_any_of(q, "r.role", roles);
        list_sql(q, ")");
    }
}

static int user_count(db_t *db, const char *prefix, const strlist_t *roles, int64_t *total, osmo_error_t *err) {
    struct list_query q;
    list_query_init(&q, db);
    list_sql(&q, "SELECT COUNT(*) FROM users t");
    user_where(&q, prefix, roles);
    int rc = list_query_check(&q, err);
    if (rc == 0)
        rc = int_select(db, buf_cstr(&q.sql), q.args, q.n, 0, total, err);
    list_query_clear(&q);
    return rc;
}

int repo_user_list(db_t *db, const char *prefix, const strlist_t *roles, int64_t offset, int64_t limit, struct user_row **out, size_t *n,
                   int64_t *total, osmo_error_t *err) {
    struct list_query q;
    void *list = NULL;
    *n = 0;
    list_query_init(&q, db);
    list_sql(&q, USER_SELECT);
    user_where(&q, prefix, roles);
    list_add(&q, " ORDER BY t.created_us DESC, t.name DESC LIMIT ?", DB_I(limit));
    list_add(&q, " OFFSET ?", DB_I(offset));
    int rc = roles && roles->len > FILTER_VALUES_MAX
                 ? osmo_error_set(err, OSMO_ELIMIT, "more than %d values for filter roles: ask for fewer", FILTER_VALUES_MAX)
                 : list_query_check(&q, err);
    if (rc == 0)
        rc = user_count(db, prefix, roles, total, err);
    if (rc == 0)
        rc = rows_select(db, &user_type, buf_cstr(&q.sql), q.args, q.n, &list, n, err);
    list_query_clear(&q);
    *out = list;
    return rc;
}

int repo_user_delete(db_t *db, const char *name, osmo_error_t *err) {
    static const char *const parts[] = {
        "DELETE FROM token_roles WHERE user_name = ?", "DELETE FROM tokens WHERE user_name = ?",
        "DELETE FROM user_roles WHERE user_name = ?",  "DELETE FROM credentials WHERE user_name = ?",
        "DELETE FROM profiles WHERE user_name = ?",    "DELETE FROM user_keys WHERE user_name = ?",
        "DELETE FROM users WHERE name = ?",
    };
    int rc = repo_user_lock(db, name, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(parts); i++)
        rc = db_exec(db, parts[i], DB_ARGS(DB_T(name)), NULL, err);
    return rc;
}

/* ---- roles of users ---- */

#define A_COL(kind, column, field) COL_ENTRY(assignment_row, kind, column, field)
static const struct col assignment_cols[] = {
    A_COL(TEXT, user_name, user) A_COL(TEXT, role, role) A_COL(TEXT, assigned_by, assigned_by) A_COL(I64, assigned_us, assigned_us)
};
#define ASSIGNMENT_LEN ARRAY_SIZE(assignment_cols)
#define ASSIGNMENT_SELECT "SELECT t.user_name, t.role, t.assigned_by, t.assigned_us FROM "
static const struct row_type assignment_type = { "user_roles", sizeof(struct assignment_row), assignment_cols, ASSIGNMENT_LEN,
                                                 ASSIGNMENT_LEN };

void assignment_row_clear(struct assignment_row *r) { row_clear(&assignment_type, r); }
void assignment_rows_free(struct assignment_row *r, size_t n) { row_list_free(&assignment_type, r, n); }

int repo_assignment_list(db_t *db, const char *user, const char *role, struct assignment_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    const char *sql = user ? ASSIGNMENT_SELECT "user_roles t WHERE t.user_name = ? ORDER BY t.role"
                           : ASSIGNMENT_SELECT "user_roles t WHERE t.role = ? ORDER BY t.assigned_us DESC, t.user_name DESC";
    int rc = rows_select(db, &assignment_type, sql, DB_ARGS(DB_T(user ? user : role)), &list, n, err);
    *out = list;
    return rc;
}

int repo_token_roles(db_t *db, const char *user, const char *name, struct assignment_row **out, size_t *n, osmo_error_t *err) {
    void *list = NULL;
    int rc = rows_select(db, &assignment_type,
                         ASSIGNMENT_SELECT "token_roles t WHERE t.user_name = ? AND t.token_name = ? ORDER BY t.role",
                         DB_ARGS(DB_T(user), DB_T(name)), &list, n, err);
    *out = list;
    return rc;
}

/* A role too many would not count, and it might be the one that denies something. */
static int check_count(db_t *db, const char *user, osmo_error_t *err) {
    int64_t n = 0;
    int rc = int_select(db, "SELECT COUNT(*) FROM user_roles WHERE user_name = ?", DB_ARGS(DB_T(user)), 0, &n, err);
    if (rc < 0 || n <= USER_ROLES_MAX)
        return rc;
    return osmo_error_set(err, OSMO_EUSER, "User %.200s would have more than %d roles: take some away first", user, USER_ROLES_MAX);
}

int repo_assignment_add(db_t *db, const char *user, const char *role, const char *by, int64_t now_us, struct assignment_row *out,
                        bool *added, osmo_error_t *err) {
    int64_t changed = 0;
    if (out)
        memset(out, 0, sizeof *out);
    int rc = db_exec(db, "INSERT INTO user_roles (user_name, role, assigned_by, assigned_us) VALUES (?, ?, ?, ?)"
                         " ON CONFLICT (user_name, role) DO NOTHING",
                     DB_ARGS(DB_T(user), DB_T(role), DB_T(by), DB_I(now_us)), &changed, err);
    if (added)
        *added = changed > 0;
    if (rc >= 0 && changed)
        rc = check_count(db, user, err);
    if (rc < 0 || !out)
        return rc;
    return row_select(db, &assignment_type, ASSIGNMENT_SELECT "user_roles t WHERE t.user_name = ? AND t.role = ?",
                      DB_ARGS(DB_T(user), DB_T(role)), out, err, "role %s of user %s", role, user);
}

int repo_assignment_delete(db_t *db, const char *user, const char *role, osmo_error_t *err) {
    int rc = repo_user_lock(db, user, err);
    if (rc < 0 && rc != OSMO_ENOTFOUND)
        return rc;
    rc = db_exec(db, "DELETE FROM token_roles WHERE user_name = ? AND role = ?", DB_ARGS(DB_T(user), DB_T(role)), NULL, err);
    if (rc == 0)
        rc = db_exec(db, "DELETE FROM user_roles WHERE user_name = ? AND role = ?", DB_ARGS(DB_T(user), DB_T(role)), NULL, err);
    return rc;
}

int repo_user_roles(db_t *db, const char *user, strlist_t *roles, osmo_error_t *err) {
    return strings_select(db, "SELECT role FROM user_roles WHERE user_name = ? ORDER BY role", DB_ARGS(DB_T(user)), 1, roles, err);
}

/* ---- roles of a provider's users ---- */

/* Does one of the names lead to the role, or does everybody have it? `pairs` are role, external role, … */
static bool is_mapped(const strlist_t *pairs, const char *role, const strlist_t *external) {
    for (size_t i = 0; i + 1 < pairs->len; i += 2) {
        const char *name = pairs->items[i + 1];
        if (str_eq(pairs->items[i], role) && (strlist_has(external, name) || str_eq(name, ROLE_OF_EVERYBODY)))
            return true;
    }
    return false;
}

/* Gives it, unless the role was deleted meanwhile. */
static int sync_add(db_t *db, const char *user, const char *role, int64_t now_us, bool *changed, osmo_error_t *err) {
    int rc = repo_role_check(db, role, true, err);
    if (rc == OSMO_ENOTFOUND)
        return 0;
    if (rc >= 0)
        rc = repo_assignment_add(db, user, role, SYNC_BY, now_us, NULL, NULL, err);
    *changed = true;
    return rc;
}

int repo_user_sync(db_t *db, const char *user, const strlist_t *external, const struct role_mode *modes, size_t nmodes, int64_t now_us,
                   strlist_t *roles, bool *changed, osmo_error_t *err) {
    strlist_t pairs = { 0 }, held = { 0 };
    *changed = false;
    strlist_free(roles);
    int rc = strings_select(db, "SELECT role, external_role FROM role_external ORDER BY role, external_role", NULL, 0, 2, &pairs, err);
    if (rc >= 0)
        rc = repo_user_roles(db, user, &held, err);
    for (size_t i = 0; rc >= 0 && i < nmodes; i++) {
        bool mapped = modes[i].mode != ROLE_SYNC_IGNORE && is_mapped(&pairs, modes[i].role, external);
        bool has = strlist_has(&held, modes[i].role);
        bool goes = !mapped && has && modes[i].mode == ROLE_SYNC_FORCE;
        if (mapped && !has)
            rc = sync_add(db, user, modes[i].role, now_us, changed, err);
        else if (goes && (rc = repo_assignment_delete(db, user, modes[i].role, err)) >= 0)
            *changed = true;
    }
    if (rc >= 0)
        rc = repo_user_roles(db, user, roles, err);
    strlist_free(&pairs);
    strlist_free(&held);
    return rc;
}
