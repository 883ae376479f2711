/* Users, roles, tokens, role documents, credentials, keys and configuration objects, over each database; and what becomes of the tokens
 * of a database that was made before they had roles of their own. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/str.h"
#include "check.h"
#include "model/policy.h"
#include "pgsql_fixture.h"
#include "store/driver.h"
#include "store/repo_auth.h"

static osmo_error_t err;
static store_t *st;

static db_t *rd(void) {
    db_t *db = NULL;
    CHECK_OK(store_reader(st, &db, &err), &err);
    return db;
}
#define WRITE(fn, ctx) CHECK_OK(store_write(st, "k", fn, ctx, &err), &err)
static char *S(const char *s) { return (char *)(uintptr_t)s; }

/* "a b c" of a list. */
static const char *joined(const strlist_t *l) {
    static char text[1024];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < l->len && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "", l->items[i]);
    return text;
}
static strlist_t words(const char *text) {
    strlist_t l = { 0 };
    if (*text)
        CHECK_INT(strlist_split(&l, text, ' '), 0);
    return l;
}
static const char *roles_of(const char *user) {
    strlist_t l = { 0 };
    CHECK_OK(repo_user_roles(rd(), user, &l, &err), &err);
    const char *text = joined(&l);
    strlist_free(&l);
    return text;
}
static const char *held_by(const char *user, const char *token) {
    strlist_t l = { 0 };
    CHECK_OK(repo_token_held(rd(), user, token, &l, &err), &err);
    const char *text = joined(&l);
    strlist_free(&l);
    return text;
}

/* ---- users ---- */

static int add_users(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    static const char *const names[] = { "ann", "anton", "bob", "cleo" };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 4; i++) {
        struct user_row u = { .name = S(names[i]), .created_by = i ? S("ann") : NULL, .created_us = 100 + (int64_t)i };
        rc = repo_user_add(db, &u, e);
    }
    rc = rc ? rc : repo_assignment_add(db, "ann", "osmo-admin", "ann", 5, NULL, NULL, e);
    rc = rc ? rc : repo_assignment_add(db, "ann", "osmo-user", "ann", 5, NULL, NULL, e);
    rc = rc ? rc : repo_assignment_add(db, "bob", "osmo-user", "ann", 6, NULL, NULL, e);
    return rc ? rc : repo_assignment_add(db, "cleo", "osmo-backend", "ann", 6, NULL, NULL, e);
}
static int add_again(db_t *db, void *ctx, osmo_error_t *e) {
    struct user_row u = { .name = ctx, .created_us = 1 };
    return repo_user_add(db, &u, e);
}
static int ensure(db_t *db, void *ctx, osmo_error_t *e) { return repo_user_ensure(db, ctx, "x", 900, e); }
static int delete_user(db_t *db, void *ctx, osmo_error_t *e) { return repo_user_delete(db, ctx, e); }

static void list_is(const char *prefix, const char *roles, int64_t offset, int64_t limit, const char *want, int64_t want_total) {
    strlist_t wanted = words(roles), got = { 0 };
    struct user_row *rows = NULL;
    size_t n = 0;
    int64_t total = -1;
    CHECK_OK(repo_user_list(rd(), prefix, &wanted, offset, limit, &rows, &n, &total, &err), &err);
    for (size_t i = 0; i < n; i++)
        strlist_add(&got, rows[i].name);
    CHECK_STR(joined(&got), want);
    CHECK_INT(total, want_total);
    user_rows_free(rows, n);
    strlist_free(&got);
    strlist_free(&wanted);
}

static void users_body(store_t *s, const char *url) {
    struct user_row u;
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    CHECK_INT(store_write(st, "k", add_again, S("bob"), &err), OSMO_EEXISTS);
    CHECK_STR(err.text, "user bob exists already");
    WRITE(ensure, S("bob"));
    CHECK_OK(repo_user_get(rd(), "bob", &u, &err), &err);
    CHECK(str_eq(u.created_by, "ann") && u.created_us == 102);
    user_row_clear(&u);
    CHECK_OK(repo_user_get(rd(), "ann", &u, &err), &err);
    CHECK(!u.created_by);
    user_row_clear(&u);
    CHECK_INT(repo_user_get(rd(), "Bob", &u, &err), OSMO_ENOTFOUND);
    CHECK_STR(err.text, "user Bob does not exist");
    list_is(NULL, "", 0, 10, "cleo bob anton ann", 4);
    list_is(NULL, "", 1, 2, "bob anton", 4);
    list_is(NULL, "", 4, 2, "", 4);
    list_is("an", "", 0, 10, "anton ann", 2);
    list_is("n", "", 0, 10, "", 0);
    list_is("%", "", 0, 10, "", 0);
    list_is("", "osmo-user osmo-admin", 0, 10, "bob ann", 2);
    list_is("b", "osmo-user osmo-user", 0, 1, "bob", 1);
    list_is("", "none", 0, 1, "", 0);
    strlist_t many = { 0 };
    for (int i = 0; i < 201; i++)
        strlist_add(&many, "r");
    struct user_row *rows;
    size_t n;
    int64_t total;
    CHECK_INT(repo_user_list(rd(), NULL, &many, 0, 1, &rows, &n, &total, &err), OSMO_ELIMIT);
    strlist_free(&many);
}
static void users(void) { fixture_each(users_body); }

/* ---- roles of users ---- */

struct grant { const char *user, *role; struct assignment_row row; bool added; };
static int grant(db_t *db, void *ctx, osmo_error_t *e) {
    struct grant *g = ctx;
    assignment_row_clear(&g->row);
    return repo_assignment_add(db, g->user, g->role, "later", 77, &g->row, &g->added, e);
}
static int revoke(db_t *db, void *ctx, osmo_error_t *e) {
    struct grant *g = ctx;
    return repo_assignment_delete(db, g->user, g->role, e);
}

static int grant_many(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = repo_assignment_delete(db, "cleo", "osmo-backend", e);
    for (int i = 0; rc == 0 && i < *(int *)ctx; i++) {
        char role[16];
        snprintf(role, sizeof role, "r%d", i);
        rc = repo_assignment_add(db, "cleo", role, "ann", 5, NULL, NULL, e);
    }
    return rc;
}

static void assignments_body(store_t *s, const char *url) {
    struct assignment_row *rows;
    size_t n;
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    struct grant g = { .user = "bob", .role = "osmo-user" };
    WRITE(grant, &g);
    CHECK(!g.added && str_eq(g.row.assigned_by, "ann") && g.row.assigned_us == 6 && str_eq(g.row.user, "bob"));
    g.role = "osmo-admin";
    WRITE(grant, &g);
    CHECK(g.added && str_eq(g.row.assigned_by, "later") && g.row.assigned_us == 77 && str_eq(g.row.role, "osmo-admin"));
    assignment_row_clear(&g.row);
    CHECK_OK(repo_assignment_list(rd(), "bob", NULL, &rows, &n, &err), &err);
    REQUIRE(n == 2);
    CHECK(str_eq(rows[0].role, "osmo-admin") && str_eq(rows[1].role, "osmo-user"));
    assignment_rows_free(rows, n);
    CHECK_OK(repo_assignment_list(rd(), NULL, "osmo-user", &rows, &n, &err), &err);
    REQUIRE(n == 2);
    CHECK(str_eq(rows[0].user, "bob") && str_eq(rows[1].user, "ann"));
    assignment_rows_free(rows, n);
    g.role = "osmo-user";
    WRITE(revoke, &g);
    WRITE(revoke, &g);
    CHECK_STR(roles_of("bob"), "osmo-admin");
    g.user = "nobody";
    WRITE(revoke, &g);
    int many = USER_ROLES_MAX + 1;
    CHECK_INT(store_write(st, "k", grant_many, &many, &err), OSMO_EUSER);
    CHECK_STR(err.text, "User cleo would have more than 200 roles: take some away first");
    CHECK_STR(roles_of("cleo"), "osmo-backend");
    many--;
    WRITE(grant_many, &many);
}
static void assignments(void) { fixture_each(assignments_body); }

/* ---- tokens ---- */

static struct token_row token(const char *user, const char *name, const char *backend, int mark) {
    struct token_row t = { .user = S(user), .name = S(name), .description = S("of a test"), .backend = S(backend), .expires_us = 9,
                           .created_us = 8 };
    memset(t.hash, mark, sizeof t.hash);
    t.hash[3] = 0;
    return t;
}
struct new_token { struct token_row row; const char *roles; };
static int add_token(db_t *db, void *ctx, osmo_error_t *e) {
    struct new_token *t = ctx;
    strlist_t roles = words(t->roles);
    int rc = repo_token_add(db, &t->row, &roles, "ann", e);
    strlist_free(&roles);
    return rc;
}
static int drop_token(db_t *db, void *ctx, osmo_error_t *e) { return repo_token_delete(db, "ann", ctx, e); }

static void tokens_body(store_t *s, const char *url) {
    struct token_row t, *list;
    struct assignment_row *rows;
    size_t n;
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    struct new_token wanted[] = { { token("ann", "laptop", NULL, 0xab), "osmo-user osmo-admin" },
                                  { token("ann", "east", "east", 0xac), "osmo-user" },
                                  { token("bob", "laptop", NULL, 0xad), "osmo-user" } };
    for (size_t i = 0; i < 3; i++)
        WRITE(add_token, &wanted[i]);
    CHECK_INT(store_write(st, "k", add_token, &wanted[0], &err), OSMO_EEXISTS);
    CHECK_STR(err.text, "access token laptop exists already");
    struct new_token twice = { token("bob", "other", NULL, 0xab), "osmo-user" };
    CHECK(store_write(st, "k", add_token, &twice, &err) < 0); /* the hash of another */
    int64_t count = 0;
    CHECK_OK(repo_token_count(rd(), "ann", &count, &err), &err);
    CHECK_INT(count, 2);
    CHECK_OK(repo_token_list(rd(), "ann", &list, &n, &err), &err);
    REQUIRE(n == 2);
    CHECK(str_eq(list[0].name, "east") && str_eq(list[0].backend, "east") && str_eq(list[1].name, "laptop") && !list[1].backend);
    token_rows_free(list, n);
    CHECK_OK(repo_token_by_hash(rd(), wanted[1].row.hash, &t, &err), &err);
    CHECK(str_eq(t.user, "ann") && str_eq(t.name, "east") && str_eq(t.backend, "east") && t.expires_us == 9 && t.created_us == 8);
    CHECK(memcmp(t.hash, wanted[1].row.hash, 32) == 0);
    token_row_clear(&t);
    CHECK_OK(repo_token_get(rd(), "bob", "laptop", &t, &err), &err);
    CHECK_STR(t.description, "of a test");
    token_row_clear(&t);
    CHECK_INT(repo_token_get(rd(), "bob", "east", &t, &err), OSMO_ENOTFOUND);
    strlist_t pairs = { 0 };
    CHECK_OK(repo_tokens_held(rd(), "ann", &pairs, &err), &err);
    CHECK_STR(joined(&pairs), "east osmo-user laptop osmo-admin laptop osmo-user");
    strlist_free(&pairs);
    CHECK_OK(repo_token_roles(rd(), "ann", "laptop", &rows, &n, &err), &err);
    REQUIRE(n == 2);
    CHECK(str_eq(rows[0].role, "osmo-admin") && str_eq(rows[0].assigned_by, "ann") && rows[0].assigned_us == 8);
    assignment_rows_free(rows, n);
    WRITE(drop_token, S("east"));
    CHECK_INT(store_write(st, "k", drop_token, S("east"), &err), OSMO_ENOTFOUND);
    CHECK_INT(repo_token_by_hash(rd(), wanted[1].row.hash, &t, &err), OSMO_ENOTFOUND);
    CHECK_STR(held_by("ann", "east"), "");
    CHECK_STR(held_by("bob", "laptop"), "osmo-user");
}
static void tokens(void) { fixture_each(tokens_body); }

/* What is taken from a user is taken from its tokens, and does not come back to them. */
static void cascade_body(store_t *s, const char *url) {
    struct token_row *list;
    size_t n;
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    struct new_token wanted[] = { { token("ann", "laptop", NULL, 0xab), "osmo-user osmo-admin" },
                                  { token("bob", "laptop", NULL, 0xad), "osmo-user" } };
    for (size_t i = 0; i < 2; i++)
        WRITE(add_token, &wanted[i]);
    struct grant g = { .user = "ann", .role = "osmo-user" };
    WRITE(revoke, &g);
    CHECK_STR(held_by("ann", "laptop"), "osmo-admin");
    WRITE(grant, &g);
    assignment_row_clear(&g.row);
    CHECK_STR(held_by("ann", "laptop"), "osmo-admin");
    CHECK_STR(held_by("bob", "laptop"), "osmo-user");
    WRITE(delete_user, S("ann"));
    CHECK_INT(store_write(st, "k", delete_user, S("ann"), &err), OSMO_ENOTFOUND);
    CHECK_STR(roles_of("ann"), "");
    CHECK_OK(repo_token_list(rd(), "ann", &list, &n, &err), &err);
    CHECK_INT(n, 0);
    token_rows_free(list, n);
    WRITE(ensure, S("ann"));
    WRITE(grant, &g);
    assignment_row_clear(&g.row);
    CHECK_STR(held_by("ann", "laptop"), "");
}
static void cascade(void) { fixture_each(cascade_body); }

/* A token is made while its owner's role is taken: whichever comes first, none is left with a role that its owner does not have. The
 * role is taken after the owner's roles were read, by another writer, which has to wait for the end of the transaction; where it does
 * not, it is waited for. */
static struct { pthread_mutex_t lock; pthread_cond_t changed; bool done; } taken = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
                                                                                     false };
static void taken_done(void *ctx, int rc, const osmo_error_t *e) {
    (void)ctx, (void)e;
    CHECK_INT(rc, 0);
    pthread_mutex_lock(&taken.lock);
    taken.done = true;
    pthread_cond_broadcast(&taken.changed);
    pthread_mutex_unlock(&taken.lock);
}
static void wait_taken(long ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&taken.lock);
    while (!taken.done && pthread_cond_timedwait(&taken.changed, &taken.lock, &until) == 0)
        ;
    pthread_mutex_unlock(&taken.lock);
}
static struct grant racing = { .user = "bob", .role = "osmo-user" };
static int racing_token(db_t *db, void *ctx, osmo_error_t *e) {
    struct new_token *t = ctx;
    strlist_t held = { 0 };
    int rc = repo_user_lock(db, t->row.user, e);
    if (rc >= 0)
        rc = repo_user_roles(db, t->row.user, &held, e);
    if (rc >= 0 && !t->roles) {
        t->roles = "posted";
        CHECK_INT(store_post(st, "b", revoke, taken_done, &racing), 0);
        wait_taken(300);
    }
    if (rc >= 0)
        rc = repo_token_add(db, &t->row, &held, "ann", e);
    strlist_free(&held);
    return rc;
}
static void race_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    if (!store_is_pgsql(s))
        return; /* one writer, one thing at a time */
    WRITE(add_users, NULL);
    struct new_token t = { token("bob", "laptop", NULL, 1), NULL };
    taken.done = false;
    CHECK_OK(store_write(st, "a", racing_token, &t, &err), &err);
    wait_taken(20000);
    CHECK(taken.done);
    struct assignment_row *rows;
    size_t n;
    CHECK_OK(repo_token_roles(rd(), "bob", "laptop", &rows, &n, &err), &err);
    CHECK_INT(n, 0);
    assignment_rows_free(rows, n);
}
static void race(void) { fixture_each(race_body); }

/* ---- role documents and providers ---- */

struct put_role { const char *name, *document, *external; /* NULL: left alone */ };
static int put_role(db_t *db, void *ctx, osmo_error_t *e) {
    struct put_role *p = ctx;
    strlist_t external = words(p->external ? p->external : "");
    int rc = repo_role_put(db, p->name, p->document, p->external ? &external : NULL, e);
    strlist_free(&external);
    return rc;
}
static int check_role(db_t *db, void *ctx, osmo_error_t *e) { return repo_role_check(db, ctx, true, e); }
static int drop_role(db_t *db, void *ctx, osmo_error_t *e) { return repo_role_delete(db, ctx, e); }

static const char *role_picture(void) {
    static char text[1024];
    struct role_row *rows;
    size_t n, at = 0;
    text[0] = '\0';
    CHECK_OK(repo_role_list(rd(), &rows, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s=%s [%s]", i ? ", " : "", rows[i].name, rows[i].document,
                               joined(&rows[i].external));
    role_rows_free(rows, n);
    return text;
}

static void role_documents_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    struct put_role steps[] = { { "team", "{}", NULL }, { "Team", "{\"a\":1}", "idp-a idp-b idp-a" }, { "x", "{}", "" } };
    for (size_t i = 0; i < 3; i++)
        WRITE(put_role, &steps[i]);
    CHECK_STR(role_picture(), "Team={\"a\":1} [idp-a idp-b], team={} [team], x={} []");
    struct put_role more[] = { { "Team", "{\"a\":2}", NULL }, { "team", "{}", "" }, { "x", "{}", NULL } };
    for (size_t i = 0; i < 3; i++)
        WRITE(put_role, &more[i]);
    CHECK_STR(role_picture(), "Team={\"a\":2} [idp-a idp-b], team={} [], x={} []");
    WRITE(check_role, S("team"));
    CHECK_INT(store_write(st, "k", check_role, S("TEAM"), &err), OSMO_ENOTFOUND);
    CHECK_OK(repo_role_check(rd(), "team", false, &err), &err);
    WRITE(add_users, NULL);
    struct grant g = { .user = "bob", .role = "Team" };
    WRITE(grant, &g);
    assignment_row_clear(&g.row);
    struct new_token t = { token("bob", "laptop", NULL, 1), "Team osmo-user" };
    WRITE(add_token, &t);
    WRITE(drop_role, S("Team"));
    CHECK_INT(store_write(st, "k", drop_role, S("Team"), &err), OSMO_ENOTFOUND);
    CHECK_STR(role_picture(), "team={} [], x={} []");
    CHECK_STR(roles_of("bob"), "osmo-user");
    CHECK_STR(held_by("bob", "laptop"), "osmo-user");
}
static void role_documents(void) { fixture_each(role_documents_body); }

struct sync { const char *external; strlist_t roles; bool changed; };
static int sync_user(db_t *db, void *ctx, osmo_error_t *e) {
    static const struct role_mode modes[] = { { "imported", ROLE_SYNC_IMPORT }, { "forced", ROLE_SYNC_FORCE },
                                              { "ignored", ROLE_SYNC_IGNORE }, { "unmapped", ROLE_SYNC_FORCE },
                                              { "everybody's", ROLE_SYNC_IMPORT } };
    struct sync *y = ctx;
    strlist_t external = words(y->external);
    int rc = repo_user_sync(db, "bob", &external, modes, 5, 42, &y->roles, &y->changed, e);
    strlist_free(&external);
    return rc;
}

static void sync_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    struct put_role roles[] = { { "everybody's", "{}", ROLE_OF_EVERYBODY }, { "imported", "{}", "a b" },
                                { "forced", "{}", "b" }, { "ignored", "{}", "a" }, { "unmapped", "{}", "" } };
    for (size_t i = 0; i < 5; i++)
        WRITE(put_role, &roles[i]);
    struct grant g = { .user = "bob", .role = "unmapped" };
    WRITE(grant, &g);
    assignment_row_clear(&g.row);
    const struct { const char *external, *roles; bool changed; } cases[] = {
        { "a x", "everybody's imported osmo-user", true },
        { "a x", "everybody's imported osmo-user", false },
        { "b", "everybody's forced imported osmo-user", true },
        { "", "everybody's imported osmo-user", true },
        { "forced", "everybody's imported osmo-user", false }, /* not its own name: it is mapped from another */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sync y = { .external = cases[i].external };
        WRITE(sync_user, &y);
        CHECK_STR(joined(&y.roles), cases[i].roles);
        CHECK_INT(y.changed, cases[i].changed);
        strlist_free(&y.roles);
        if (i == 2) { /* what is forced away goes from the tokens too */
            struct new_token t = { token("bob", "laptop", NULL, 1), "forced osmo-user" };
            WRITE(add_token, &t);
        }
    }
    CHECK_STR(held_by("bob", "laptop"), "osmo-user");
    struct assignment_row *rows;
    size_t n;
    CHECK_OK(repo_assignment_list(rd(), NULL, "imported", &rows, &n, &err), &err);
    CHECK(n == 1 && str_eq(rows[0].assigned_by, "idp-sync") && rows[0].assigned_us == 42);
    assignment_rows_free(rows, n);
}
static void sync_modes(void) { fixture_each(sync_body); }

/* ---- credentials, keys, configuration objects ---- */

static int put_credential(db_t *db, void *ctx, osmo_error_t *e) { return repo_credential_put(db, ctx, e); }
struct take { const char *name; struct credential_row row; };
static int take_credential(db_t *db, void *ctx, osmo_error_t *e) {
    struct take *t = ctx;
    credential_row_clear(&t->row);
    return repo_credential_take(db, "bob", t->name, &t->row, e);
}
static const char *credential_names(const char *user) {
    struct credential_row *rows;
    strlist_t l = { 0 };
    size_t n;
    CHECK_OK(repo_credential_list(rd(), user, &rows, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        strlist_add(&l, rows[i].name);
    credential_rows_free(rows, n);
    const char *text = joined(&l);
    strlist_free(&l);
    return text;
}

static void credentials_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    WRITE(add_users, NULL);
    static const struct { const char *user, *name, *type, *profile, *names; } puts[] = {
        { "bob", "plain", "GENERIC", NULL, "plain" },
        { "bob", "other", "GENERIC", NULL, "other plain" },
        { "bob", "hub", "REGISTRY", "registry-1.docker.io", "hub other plain" },
        { "bob", "bucket", "DATA", "s3://b", "bucket hub other plain" },
        { "bob", "bucket2", "DATA", "s3://b", "bucket2 hub other plain" },     /* the endpoint has one */
        { "bob", "hub", "DATA", "s3://c", "bucket2 hub other plain" },         /* a name means one thing */
        { "ann", "bucket2", "DATA", "s3://b", "bucket2" },
        { "stranger", "plain", "GENERIC", NULL, "plain" },
    };
    for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
        struct credential_row r = { .user = S(puts[i].user), .name = S(puts[i].name), .type = S(puts[i].type),
                                    .profile = S(puts[i].profile), .payload = S("{\"auth\":\"sealed\"}"), .created_us = 3 };
        WRITE(put_credential, &r);
        CHECK_STR(credential_names(puts[i].user), puts[i].names);
    }
    struct take t = { .name = "bucket2" };
    WRITE(take_credential, &t);
    CHECK(str_eq(t.row.profile, "s3://b") && str_eq(t.row.type, "DATA") && str_eq(t.row.payload, "{\"auth\":\"sealed\"}"));
    CHECK_INT(store_write(st, "k", take_credential, &t, &err), OSMO_ENOTFOUND);
    CHECK_STR(credential_names("bob"), "hub other plain");
    WRITE(delete_user, S("bob"));
    CHECK_STR(credential_names("bob"), "");
    CHECK_STR(credential_names("ann"), "bucket2");
}
static void credentials(void) { fixture_each(credentials_body); }

static int put_user_key(db_t *db, void *ctx, osmo_error_t *e) { return repo_user_key_put(db, ctx, e); }
static int put_signing_key(db_t *db, void *ctx, osmo_error_t *e) { return repo_signing_key_put(db, ctx, e); }
static int drop_signing_key(db_t *db, void *ctx, osmo_error_t *e) { return repo_signing_key_delete(db, ctx, e); }

static void user_keys_are(const char *user, const char *want) {
    struct user_key_row *rows;
    size_t n, at = 0;
    char text[256] = "";
    CHECK_OK(repo_user_keys(rd(), user, &rows, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%s:%s", i ? " " : "", rows[i].user, rows[i].kid,
                               rows[i].current ? rows[i].sealed : "-");
    CHECK_STR(text, want);
    user_key_rows_free(rows, n);
}

static void keys_body(store_t *s, const char *url) {
    (void)url;
    st = s;
    struct user_key_row user[] = { { S("bob"), S("k1"), S("one"), true }, { S("ann"), S("k1"), S("hers"), true },
                                   { S("bob"), S("k2"), S("two"), true }, { S("bob"), S("k1"), S("one again"), false } };
    for (size_t i = 0; i < 4; i++)
        WRITE(put_user_key, &user[i]);
    user_keys_are("bob", "bob:k1:- bob:k2:two");
    user_keys_are(NULL, "ann:k1:hers bob:k1:- bob:k2:two");
    user_keys_are("none", "");
    struct signing_key_row keys[] = { { S("a"), S("old"), 10, 0 }, { S("b"), S("new"), 20, 0 }, { S("a"), S("old"), 10, 30 } };
    for (size_t i = 0; i < 3; i++)
        WRITE(put_signing_key, &keys[i]);
    struct signing_key_row *rows;
    size_t n;
    CHECK_OK(repo_signing_keys(rd(), &rows, &n, &err), &err);
    REQUIRE(n == 2);
    CHECK(str_eq(rows[0].kid, "b") && rows[0].retired_us == 0 && str_eq(rows[1].kid, "a") && rows[1].retired_us == 30);
    signing_key_rows_free(rows, n);
    WRITE(drop_signing_key, S("a"));
    WRITE(drop_signing_key, S("a"));
    CHECK_OK(repo_signing_keys(rd(), &rows, &n, &err), &err);
    CHECK_INT(n, 1);
    signing_key_rows_free(rows, n);
}
static void keys(void) { fixture_each(keys_body); }

static int put_config(db_t *db, void *ctx, osmo_error_t *e) {
    struct config_row *r = ctx;
    return repo_config_put(db, r->kind, r->name, r->body, e);
}
static int drop_config(db_t *db, void *ctx, osmo_error_t *e) { return repo_config_delete(db, "pool", "b", ctx, e); }
static void config_body(store_t *s, const char *url) {
    struct config_row *rows;
    size_t n;
    bool there = false;
    (void)url;
    st = s;
    struct config_row puts[] = { { S("pool"), S("b"), S("{}") }, { S("pool"), S("a"), S("{}") }, { S("backend"), S("b"), S("{}") },
                                 { S("pool"), S("b"), S("{\"x\":1}") } };
    for (size_t i = 0; i < 4; i++)
        WRITE(put_config, &puts[i]);
    CHECK_OK(repo_config_list(rd(), "pool", &rows, &n, &err), &err);
    CHECK(n == 2 && str_eq(rows[0].name, "a") && str_eq(rows[1].body, "{\"x\":1}"));
    config_rows_free(rows, n);
    CHECK_OK(repo_config_list(rd(), NULL, &rows, &n, &err), &err);
    CHECK(n == 3 && str_eq(rows[0].kind, "backend"));
    config_rows_free(rows, n);
    WRITE(drop_config, &there);
    CHECK(there);
    WRITE(drop_config, &there);
    CHECK(!there);
}
static void config_objects(void) { fixture_each(config_body); }

/* ---- a database of version 5 ---- */

static int version_5(const char *url) {
    static const char rows[] =
        "INSERT INTO users (name, created_by, created_us) VALUES ('ann', NULL, 1), ('bob', 'ann', 2);"
        "INSERT INTO user_roles (user_name, role, assigned_by, assigned_us) VALUES ('ann', 'osmo-admin', 'ann', 1),"
        " ('ann', 'osmo-user', 'ann', 1), ('ann', 'osmo_user', 'ann', 1), ('bob', 'osmo-user', 'ann', 2);";
    const struct db_driver *drv = str_starts(url, "sqlite:") ? &db_sqlite : &db_pgsql;
    struct db_target target = { .url = url };
    db_t *db = NULL;
    int rc = drv->open(&target, true, &db, &err);
    if (rc >= 0)
        rc = store_migrate_to(db, url, 5, &err);
    if (rc >= 0)
        rc = drv->begin(db, &err);
    if (rc >= 0)
        rc = drv->script(db, rows, &err);
    static const struct { const char *user, *name, *roles; } tokens5[] = {
        { "ann", "all", "osmo-admin,osmo-user" }, { "ann", "some", "osmo-user,Osmo-Admin,gone" }, { "ann", "none", "" },
        { "ann", "null", NULL },                  { "bob", "more", "osmo-admin,osmo-user" },
    };
    for (size_t i = 0; rc >= 0 && i < sizeof tokens5 / sizeof tokens5[0]; i++)
        rc = db_exec(db, "INSERT INTO tokens (user_name, name, description, roles_csv, hash, expires_us, created_us)"
                         " VALUES (?, ?, 'old', ?, ?, 9, 7)",
                     DB_ARGS(DB_T(tokens5[i].user), DB_T(tokens5[i].name), DB_T(tokens5[i].roles),
                             DB_B(i ? "\x01\x02\x03\x04\x05" + i : "ab", i ? 1 : 2)), NULL, &err);
    if (rc >= 0)
        rc = drv->commit(db, &err);
    if (db)
        drv->close(db);
    return rc;
}

static void migration_on(char *url) {
    struct store_options o = { .url = url };
    struct token_row t;
    CHECK_OK(version_5(url), &err);
    CHECK_OK(store_open(&o, &st, &err), &err);
    if (!st)
        return;
    CHECK_STR(held_by("ann", "all"), "osmo-admin osmo-user");
    CHECK_STR(held_by("ann", "some"), "osmo-user");
    CHECK_STR(held_by("ann", "none"), "");
    CHECK_STR(held_by("ann", "null"), "");
    CHECK_STR(held_by("bob", "more"), "osmo-user");
    CHECK_OK(repo_token_get(rd(), "ann", "all", &t, &err), &err);
    CHECK(str_eq(t.description, "old") && !t.backend && t.expires_us == 9);
    token_row_clear(&t);
    struct assignment_row *rows;
    size_t n;
    CHECK_OK(repo_token_roles(rd(), "bob", "more", &rows, &n, &err), &err);
    CHECK(n == 1 && str_eq(rows[0].assigned_by, "bob") && rows[0].assigned_us == 7);
    assignment_rows_free(rows, n);
    store_close(st);
    st = NULL;
}
static void migration(void) {
    char *urls[] = { sqlite_fixture_url(), pgsql_fixture_url() };
    for (size_t i = 0; i < 2; i++) {
        if (urls[i])
            migration_on(urls[i]);
        free(urls[i]);
    }
}

static const struct check_test tests[] = {
    { "users", users }, { "roles of users", assignments }, { "tokens", tokens }, { "what is taken away", cascade },
    { "while it is taken away", race },
    { "role documents", role_documents }, { "providers", sync_modes }, { "credentials", credentials }, { "keys", keys },
    { "configuration objects", config_objects }, { "migration from version 5", migration },
};
TEST_MAIN("repo_auth", tests)
