/* Users and the roles they have, for administrators. Whatever is changed here counts from the next request on, here and in every other
 * replica (access_changed). The administrator of the installation has its role and its token again after a restart (engine/auth.c), so
 * nobody can be locked out by what is deleted here. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/access.h"
#include "model/account.h"
#include "store/repo_auth.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
#define GRANTS_MAX 10000 /* users that get a role at once, in one transaction */

/* rc of a store function that found no user, as this API says it. */
static int user_rc(int rc, const char *user, osmo_error_t *err) {
    if (rc != OSMO_ENOTFOUND)
        return rc;
    return osmo_error_set(err, OSMO_EUSER, "User %.200s does not exist; osmo user list shows the users", user);
}

static int role_rc(int rc, const char *role, osmo_error_t *err) {
    if (rc != OSMO_ENOTFOUND)
        return rc;
    return osmo_error_set(err, OSMO_EUSER, "Role %.200s does not exist; osmo config list ROLE shows the roles", role);
}

/* ---- shapes: these times carry their zone, unlike those of workflows ---- */

static int set_zoned(json_t *o, const char *key, int64_t us) {
    char text[TIME_TEXT_MAX];
    return json_set_str(o, key, us ? time_rfc3339(us, text) : NULL);
}

int assignments_json(json_t *o, const char *key, const struct assignment_row *rows, size_t n) {
    json_t *list = json_array();
    int failed = !list || json_set(o, key, list) < 0;
    for (size_t i = 0; !failed && i < n; i++) {
        json_t *a = json_object();
        failed = !a || json_add(list, a) < 0 || json_set_str(a, "role_name", rows[i].role) < 0 ||
            json_set_text(a, "assigned_by", rows[i].assigned_by) < 0 || set_zoned(a, "assigned_at", rows[i].assigned_us) < 0;
    }
    return failed ? OSMO_ENOMEM : 0;
}

static int set_user(json_t *o, const struct user_row *u) {
    int failed = json_set_str(o, "id", u->name) < 0 || set_zoned(o, "created_at", u->created_us) < 0;
    return failed || json_set_text(o, "created_by", u->created_by) < 0 ? OSMO_ENOMEM : 0;
}

/* ---- bodies ---- */

static int bad_field(struct call *c, const char *key, const char *type, const char *message, osmo_error_t *err) {
    int rc = answer_unprocessable(c, "body", key, type, message);
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "member %s of the body is wrong", key);
}

static int read_text(struct call *c, const json_t *body, const char *key, const char **out, osmo_error_t *err) {
    if (!json_has(body, key))
        return bad_field(c, key, "missing", "Field required", err);
    *out = json_get_str(body, key);
    return *out ? 0 : bad_field(c, key, "string_type", "Input should be a valid string", err);
}

/* An absent list is an empty one where it is optional; so is null. */
static int read_texts(struct call *c, const json_t *body, const char *key, bool optional, strlist_t *out, osmo_error_t *err) {
    const json_t *list = json_get(body, key);
    if (!list && optional)
        return 0;
    if (!json_has(body, key))
        return bad_field(c, key, "missing", "Field required", err);
    if (json_kind(list) != JSON_ARRAY)
        return bad_field(c, key, "list_type", "Input should be a valid list", err);
    for (size_t i = 0; i < json_len(list); i++) {
        const char *text = json_str(json_at(list, i));
        if (!text || strlen(text) != json_str_len(json_at(list, i)))
            return bad_field(c, key, "string_type", "Each element should be a valid string", err);
        if (strlist_add(out, text) < 0)
            return no_memory(err);
    }
    return 0;
}

/* ---- list ---- */

static int answer_users(struct call *c, const struct user_row *rows, size_t n, int64_t total, int64_t start) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    if (!o || !list || json_set(o, "users", list) < 0) {
        if (!o)
            json_free(list);
        return OSMO_ENOMEM;
    }
    int failed = json_set_int(o, "total_results", total) < 0 || json_set_int(o, "start_index", start) < 0 ||
        json_set_int(o, "items_per_page", (int64_t)n) < 0;
    for (size_t i = 0; !failed && i < n; i++) {
        json_t *u = json_object();
        failed = !u || json_add(list, u) < 0 || set_user(u, &rows[i]) < 0;
    }
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

int get_auth_users(struct call *c, osmo_error_t *err) {
    struct user_row *rows = NULL;
    size_t n = 0;
    int64_t start = 1, count = PAGE_DEFAULT, total = 0;
    db_t *db;
    int rc = query_int(c, "start_index", 1, &start, err);
    if (rc >= 0)
        rc = query_int(c, "count", PAGE_DEFAULT, &count, err);
    if (rc >= 0)
        rc = store_reader(c->engine->store, &db, err);
    if (rc < 0)
        return rc;
    start = start < 1 ? 1 : start;
    count = count < 1 ? 1 : count > PAGE_MAX ? PAGE_MAX : count;
    rc = repo_user_list(db, query_get(c, "id_prefix"), query_all(c, "roles"), start - 1, count, &rows, &n, &total, err);
    if (rc >= 0)
        rc = answer_users(c, rows, n, total, start);
    user_rows_free(rows, n);
    return rc;
}

/* ---- one user ---- */

/* GET …/user/{}: with its roles; GET …/user/{}/roles: those alone. */
static int answer_user(struct call *c, bool whole, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    struct user_row u = { 0 };
    struct assignment_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = o ? store_reader(c->engine->store, &db, err) : no_memory(err);
    if (rc >= 0)
        rc = user_rc(repo_user_get(db, c->params[0], &u, err), c->params[0], err);
    if (rc >= 0)
        rc = repo_assignment_list(db, c->params[0], NULL, &rows, &n, err);
    if (rc >= 0 && ((whole ? set_user(o, &u) : json_set_str(o, "user_id", u.name)) < 0 || assignments_json(o, "roles", rows, n) < 0))
        rc = no_memory(err);
    user_row_clear(&u);
    assignment_rows_free(rows, n);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

int get_auth_user(struct call *c, osmo_error_t *err) { return answer_user(c, true, err); }
int get_user_roles(struct call *c, osmo_error_t *err) { return answer_user(c, false, err); }

struct new_user { struct user_row row; strlist_t roles; };

static int insert_user(db_t *db, void *ctx, osmo_error_t *err) {
    const struct new_user *u = ctx;
    int rc = repo_user_add(db, &u->row, err);
    if (rc == OSMO_EEXISTS)
        return osmo_error_set(err, rc, "User %.200s exists already; osmo user update changes its roles", u->row.name);
    for (size_t i = 0; rc >= 0 && i < u->roles.len; i++) {
        rc = role_rc(repo_role_check(db, u->roles.items[i], true, err), u->roles.items[i], err);
        if (rc >= 0)
            rc = repo_assignment_add(db, u->row.name, u->roles.items[i], u->row.created_by, u->row.created_us, NULL, NULL, err);
    }
    return rc;
}

static int create_user(struct call *c, struct new_user *u, osmo_error_t *err) {
    if (!user_name_valid(u->row.name))
        return osmo_error_set(err, OSMO_EUSER, "\"%.200s\" cannot name a user: begin and end with a letter or digit, with those and "
                              "_ . @ - in between, %d characters at most, and not with backend-operator-", u->row.name, USER_NAME_MAX);
    int rc = store_write(c->engine->store, NULL, insert_user, u, err);
    if (rc < 0)
        return rc;
    access_changed(c->engine);
    _cleanup_json_ json_t *o = json_object();
    return o && set_user(o, &u->row) >= 0 ? answer_json(c, 200, STEAL(o)) : no_memory(err);
}

int post_auth_user(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    struct new_user u = { .row = { .created_by = (char *)c->user, .created_us = engine_now(c->engine) } };
    const char *name = NULL;
    int rc = body_json(c, &body, err);
    if (rc >= 0)
        rc = read_text(c, body, "id", &name, err);
    if (rc >= 0)
        rc = read_texts(c, body, "roles", true, &u.roles, err);
    u.row.name = (char *)name;
    if (rc >= 0)
        rc = create_user(c, &u, err);
    strlist_free(&u.roles);
    return rc;
}

static int remove_user(db_t *db, void *ctx, osmo_error_t *err) { return user_rc(repo_user_delete(db, ctx, err), ctx, err); }

int delete_auth_user(struct call *c, osmo_error_t *err) {
    int rc = store_write(c->engine->store, NULL, remove_user, (void *)(uintptr_t)c->params[0], err);
    if (rc < 0)
        return rc;
    access_changed(c->engine);
    return answer_null(c);
}

/* ---- roles of a user ---- */

struct grant { const char *user, *role, *by; int64_t now; struct assignment_row row; };

static int insert_grant(db_t *db, void *ctx, osmo_error_t *err) {
    struct grant *g = ctx;
    assignment_row_clear(&g->row);
    int rc = user_rc(repo_user_lock(db, g->user, err), g->user, err);
    if (rc >= 0)
        rc = role_rc(repo_role_check(db, g->role, true, err), g->role, err);
    return rc < 0 ? rc : repo_assignment_add(db, g->user, g->role, g->by, g->now, &g->row, NULL, err);
}

static int answer_grant(struct call *c, const struct assignment_row *a, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    if (!o || json_set_str(o, "user_id", a->user) < 0 || json_set_str(o, "role_name", a->role) < 0 ||
        json_set_text(o, "assigned_by", a->assigned_by) < 0 || set_zoned(o, "assigned_at", a->assigned_us) < 0)
        return no_memory(err);
    return answer_json(c, 200, STEAL(o));
}

int post_user_role(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    struct grant g = { .user = c->params[0], .by = c->user, .now = engine_now(c->engine) };
    int rc = body_json(c, &body, err);
    if (rc >= 0)
        rc = read_text(c, body, "role_name", &g.role, err);
    if (rc >= 0)
        rc = store_write(c->engine->store, NULL, insert_grant, &g, err);
    if (rc >= 0) {
        access_changed(c->engine);
        rc = answer_grant(c, &g.row, err);
    }
    assignment_row_clear(&g.row);
    return rc;
}

static int remove_grant(db_t *db, void *ctx, osmo_error_t *err) {
    const struct grant *g = ctx;
    int rc = user_rc(repo_user_lock(db, g->user, err), g->user, err);
    return rc < 0 ? rc : repo_assignment_delete(db, g->user, g->role, err);
}

int delete_user_role(struct call *c, osmo_error_t *err) {
    struct grant g = { .user = c->params[0], .role = c->params[1] };
    int rc = store_write(c->engine->store, NULL, remove_grant, &g, err);
    if (rc < 0)
        return rc;
    access_changed(c->engine);
    return answer_null(c);
}

/* ---- users of a role ---- */

int get_role_users(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    struct assignment_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = role_rc(repo_role_check(db, c->params[0], false, err), c->params[0], err);
    if (rc >= 0)
        rc = repo_assignment_list(db, NULL, c->params[0], &rows, &n, err);
    bool failed = !o || !list;
    for (size_t i = 0; rc >= 0 && !failed && i < n; i++) {
        json_t *u = json_object();
        failed = !u || json_add(list, u) < 0 || json_set_str(u, "user_id", rows[i].user) < 0 ||
            json_set_text(u, "assigned_by", rows[i].assigned_by) < 0 || set_zoned(u, "assigned_at", rows[i].assigned_us) < 0;
    }
    failed |= !o || json_set_str(o, "role_name", c->params[0]) < 0;
    if (o)
        failed |= json_set(o, "users", list) < 0;
    else
        json_free(list);
    assignment_rows_free(rows, n);
    if (rc >= 0 && failed)
        rc = no_memory(err);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

struct grants { const char *role, *by; int64_t now; strlist_t users, assigned, already, failed; };

static int grant_one(db_t *db, struct grants *g, const char *user, osmo_error_t *err) {
    bool added = false;
    int rc = repo_user_lock(db, user, err);
    if (rc == OSMO_ENOTFOUND)
        return strlist_add(&g->failed, user) < 0 ? no_memory(err) : 0;
    if (rc >= 0)
        rc = repo_assignment_add(db, user, g->role, g->by, g->now, NULL, &added, err);
    if (rc >= 0 && strlist_add(added ? &g->assigned : &g->already, user) < 0)
        rc = no_memory(err);
    return rc;
}

static int insert_grants(db_t *db, void *ctx, osmo_error_t *err) {
    struct grants *g = ctx;
    strlist_free(&g->assigned);
    strlist_free(&g->already);
    strlist_free(&g->failed);
    int rc = role_rc(repo_role_check(db, g->role, true, err), g->role, err);
    for (size_t i = 0; rc >= 0 && i < g->users.len; i++)
        rc = grant_one(db, g, g->users.items[i], err);
    return rc;
}

static int answer_grants(struct call *c, const struct grants *g, osmo_error_t *err) {
    _cleanup_json_ json_t *o = json_object();
    if (!o || json_set_str(o, "role_name", g->role) < 0 || json_set_strs(o, "assigned", &g->assigned) < 0 ||
        json_set_strs(o, "already_assigned", &g->already) < 0 || json_set_strs(o, "failed", &g->failed) < 0)
        return no_memory(err);
    return answer_json(c, 200, STEAL(o));
}

int post_role_users(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    struct grants g = { .role = c->params[0], .by = c->user, .now = engine_now(c->engine) };
    int rc = body_json(c, &body, err);
    if (rc >= 0)
        rc = read_texts(c, body, "user_ids", false, &g.users, err);
    if (rc >= 0 && g.users.len > GRANTS_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "more than %d users at once: send them in several requests", GRANTS_MAX);
    if (rc >= 0)
        rc = store_write(c->engine->store, NULL, insert_grants, &g, err);
    if (rc >= 0) {
        access_changed(c->engine);
        rc = answer_grants(c, &g, err);
    }
    strlist_t *lists[] = { &g.users, &g.assigned, &g.already, &g.failed };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        strlist_free(lists[i]);
    return rc;
}
