/* Interactive sessions where identities count: whose key, which task, which pool, and that a session ends with the rights of its user. */
#include "base/cleanup.h"
#include "engine/access.h"
#include "engine/router_internal.h"
#include "matrix_fixture.h"
#include "router_fixture.h"

static osmo_error_t err;
static struct as of(const struct matrix *m, int who) { return (struct as){ .token = m->people[who].token }; }

static char *task_token(struct matrix *m, const struct seed *s, const char *name, int retry) {
    char *jwt = NULL;
    CHECK_OK(auth_task_jwt(m->f.engine, "ana", s->id, "g", name, retry, &jwt, &err), &err);
    return jwt;
}

static void expect_closed(struct matrix *m, osmo_ws_t *ws, uint64_t conn, const char *part) {
    _cleanup_free_ char *reason = NULL;
    REQUIRE(ws);
    CHECK_INT(closed_with(&m->f, conn, &reason), 4000);
    CHECK_CONTAINS(reason ? reason : "", part);
    osmo_ws_closed(ws);
}

static void the_right_task(void) {
    struct matrix m;
    REQUIRE(matrix_open(&m));
    router_fixture_transport(&m.f);
    _cleanup_free_ char *key = begin(&m.f, of(&m, USER_ROLE), m.own.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *t0 = task_token(&m, &m.own, "t0", 0), *t1 = task_token(&m, &m.own, "t1", 0), *path = NULL;
    _cleanup_free_ char *other = task_token(&m, &m.other, "t0", 0);
    int status;
    expect_closed(&m, dial_ctrl(&m.f, (struct as){ .token = t1 }, "exec", m.own.id, key, 30), 30, "another task");
    path = str_printf("/api/router/exec/%s/backend/%s", m.own.id, key);
    CHECK(dial(&m.f, (struct as){ .token = other }, path, NULL, 31, &status) == NULL);
    CHECK_INT(status, 403);
    osmo_ws_t *ctrl = dial_ctrl(&m.f, (struct as){ .token = t0 }, "exec", m.own.id, key, 32);
    osmo_ws_t *client = dial_client(&m.f, of(&m, USER_ROLE), "exec", m.own.id, key, 33);
    CHECK(joined_last(33, 32));
    osmo_ws_closed(client);
    osmo_ws_closed(ctrl);
    matrix_close(&m);
}

/* An invented key waits for a ctrl of the same workflow, of whichever task: which one is known when it has come. */
static void invented_keys(void) {
    static const char invented[] = "PORTFORWARD-00112233445566778899aabbccddeeff";
    struct matrix m;
    REQUIRE(matrix_open(&m));
    router_fixture_transport(&m.f);
    _cleanup_free_ char *t1 = task_token(&m, &m.own, "t1", 0), *path = NULL;
    int status;
    osmo_ws_t *ctrl = dial_ctrl(&m.f, (struct as){ .token = t1 }, "portforward", m.own.id, invented, 40);
    path = str_printf("/api/router/portforward/%s/client/%s", m.foreign.id, invented);
    osmo_ws_t *foreign = dial(&m.f, of(&m, USER_ROLE), path, NULL, 41, &status);
    expect_closed(&m, foreign, 41, "access denied");
    CHECK_INT(njoins, 0);
    osmo_ws_t *client = dial_client(&m.f, of(&m, USER_ROLE), "portforward", m.own.id, invented, 42);
    CHECK(joined_last(42, 40));
    osmo_ws_closed(client);
    osmo_ws_closed(ctrl);
    matrix_close(&m);
}

/* The upgrade cannot know which pool it is; the session asks. */
static void the_right_pool(void) {
    struct matrix m;
    REQUIRE(matrix_open(&m));
    router_fixture_transport(&m.f);
    _cleanup_free_ char *key = begin(&m.f, of(&m, ADMIN_ROLE), m.foreign.id, "exec/task/t0", "entry_command=bash");
    struct answer a = post_as(&m.f, of(&m, USER_ROLE), m.foreign.id, "exec/task/t0", "entry_command=bash");
    CHECK_INT(a.status, 403);
    answer_free(&a);
    expect_closed(&m, dial_client(&m.f, of(&m, USER_ROLE), "exec", m.foreign.id, key, 50), 50, "access denied");
    expect_closed(&m, dial_client(&m.f, of(&m, USER_ROLE), "exec", NOWHERE, key, 51), 51, "access denied");
    expect_closed(&m, dial_client(&m.f, of(&m, ADMIN_ROLE), "exec", NOWHERE, key, 52), 52, "does not exist");
    _cleanup_free_ char *path = str_printf("/api/router/exec/%s/client/%s", m.own.id, key);
    int status;
    CHECK(dial(&m.f, of(&m, TASK), path, NULL, 53, &status) == NULL); /* tasks are nobody's client */
    CHECK_INT(status, 403);
    osmo_ws_t *admin = dial_client(&m.f, of(&m, ADMIN_ROLE), "exec", m.foreign.id, key, 54);
    CHECK(!is_closed(&m.f, 54));
    osmo_ws_closed(admin);
    matrix_close(&m);
}

static int drop_tokens(db_t *db, void *ctx, osmo_error_t *e) {
    return db_exec(db, "DELETE FROM tokens WHERE user_name = ?", DB_ARGS(DB_T(ctx)), NULL, e);
}

static int drop_role(db_t *db, void *ctx, osmo_error_t *e) {
    int rc = db_exec(db, "DELETE FROM user_roles WHERE user_name = ?", DB_ARGS(DB_T(ctx)), NULL, e);
    return rc < 0 ? rc : db_exec(db, "DELETE FROM token_roles WHERE user_name = ?", DB_ARGS(DB_T(ctx)), NULL, e);
}

static void rights_end(void) {
    static int (*const changes[])(db_t *db, void *ctx, osmo_error_t *e) = { drop_tokens, drop_role };
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct matrix m;
        REQUIRE(matrix_open(&m));
        router_fixture_transport(&m.f);
        _cleanup_free_ char *key = begin(&m.f, of(&m, USER_ROLE), m.own.id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
        _cleanup_free_ char *t0 = task_token(&m, &m.own, "t0", 0);
        osmo_ws_t *ctrl = dial_ctrl(&m.f, (struct as){ .token = t0 }, "exec", m.own.id, key, 60);
        osmo_ws_t *client = dial_client(&m.f, of(&m, USER_ROLE), "exec", m.own.id, key, 61);
        CHECK(joined_last(61, 60));
        CHECK_OK(store_write(m.f.engine->store, NULL, changes[i], (char *)(uintptr_t)"ana", &err), &err);
        access_changed(m.f.engine);
        CHECK_INT(closed_with(&m.f, 61, &reason), 4000);
        osmo_ws_closed(client);
        osmo_ws_closed(ctrl);
        matrix_close(&m);
    }
}

/* A web server has no connection of its user: whoever opened it has to keep the right all the same, from before the task answers. */
static void rights_to_a_web_server_end(void) {
    static int (*const changes[])(db_t *db, void *ctx, osmo_error_t *e) = { drop_tokens, drop_role };
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct matrix m;
        int status, binary;
        REQUIRE(matrix_open(&m));
        router_fixture_transport(&m.f);
        _cleanup_free_ char *t0 = task_token(&m, &m.own, "t0", 0), *reason = NULL;
        _cleanup_free_ char *key = begin(&m.f, of(&m, USER_ROLE), m.own.id, "webserver/t0", "task_port=80");
        _cleanup_free_ char *late = begin(&m.f, of(&m, USER_ROLE), m.own.id, "webserver/t0", "task_port=80");
        osmo_ws_t *ctrl = dial_ctrl(&m.f, (struct as){ .token = t0 }, "webserver", m.own.id, key, 80);
        osmo_ws_t *browser = browse(&m.f, key, 81, &status);
        REQUIRE(browser);
        _cleanup_json_ json_t *o = message_to(&m.f, 80, 0, &binary);
        osmo_ws_t *data = dial_ctrl(&m.f, (struct as){ .token = t0 }, "portforward", m.own.id, json_get_str(o, "key"), 82);
        CHECK(joined_last(81, 82));
        osmo_ws_t *waits = browse(&m.f, key, 83, &status);
        CHECK_OK(store_write(m.f.engine->store, NULL, changes[i], (char *)(uintptr_t)"ana", &err), &err);
        access_changed(m.f.engine);
        CHECK_INT(closed_with(&m.f, 80, &reason), 4000);
        osmo_ws_closed(ctrl);
        CHECK_INT(closed_with(&m.f, 81, NULL), 502);
        CHECK_INT(closed_with(&m.f, 83, NULL), 502);
        osmo_ws_closed(browser);
        osmo_ws_closed(waits);
        osmo_ws_closed(data);
        ctrl = dial_ctrl(&m.f, (struct as){ .token = t0 }, "webserver", m.own.id, late, 84);
        CHECK_INT(closed_with(&m.f, 84, NULL), 4000);
        CHECK(browse(&m.f, late, 85, &status) == NULL);
        CHECK_INT(status, 404);
        osmo_ws_closed(ctrl);
        CHECK_INT(m.f.engine->router->n, 0);
        matrix_close(&m);
    }
}

/* The mailbox as it is some days later, when its ctrl took what was in it at once. */
struct later { struct matrix *m; int64_t now_us, removed; };

static int take_and_expire(db_t *db, void *ctx, osmo_error_t *e) {
    struct later *l = ctx;
    struct action_row *rows = NULL;
    size_t n = 0;
    int rc = repo_actions_waiting(db, l->m->own.uuid, 0, engine_now(l->m->f.engine), 10, &rows, &n, e);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = repo_action_done(db, rows[i].id, l->m->own.uuid, "t0", 0, engine_now(l->m->f.engine), e);
    action_rows_free(rows, n);
    return rc < 0 ? rc : repo_actions_expire(db, l->now_us, 100, &l->removed, e);
}

static int64_t removed_after(struct matrix *m, int days) {
    struct later l = { .m = m, .now_us = engine_now(m->f.engine) + days * 86400 * SECOND_US };
    CHECK_OK(store_write(m->f.engine->store, NULL, take_and_expire, &l, &err), &err);
    return l.removed;
}

/* A ctrl that comes back finds whose session it is, as long as its key is good. */
static void a_web_server_is_kept(void) {
    struct matrix m;
    REQUIRE(matrix_open(&m));
    router_fixture_transport(&m.f);
    _cleanup_free_ char *t0 = task_token(&m, &m.own, "t0", 0);
    _cleanup_free_ char *exec = begin(&m.f, of(&m, USER_ROLE), m.own.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *key = begin(&m.f, of(&m, USER_ROLE), m.own.id, "webserver/t0", "task_port=80");
    CHECK_INT(removed_after(&m, 6), 1); /* the other one */
    osmo_ws_t *ctrl = dial_ctrl(&m.f, (struct as){ .token = t0 }, "webserver", m.own.id, key, 90);
    CHECK(!is_closed(&m.f, 90));
    osmo_ws_closed(ctrl);
    CHECK_INT(removed_after(&m, 8), 1);
    expect_closed(&m, dial_ctrl(&m.f, (struct as){ .token = t0 }, "webserver", m.own.id, key, 91), 91, "open it again");
    matrix_close(&m);
}

/* The right to the pool that the workflow is in, not to some other one: a role for the foreign pool does not keep the session. */
static int other_pool_only(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    return db_exec(db, "UPDATE roles SET document = ? WHERE name = 'osmo-user'",
                   DB_ARGS(DB_T("{\"name\": \"osmo-user\", \"description\": \"\", \"policies\": [{\"effect\": \"Allow\", \"actions\":"
                                " [\"workflow:*\"], \"resources\": [\"pool/team\"]}]}")), NULL, e);
}

static void the_pool_is_what_counts(void) {
    struct matrix m;
    REQUIRE(matrix_open(&m));
    router_fixture_transport(&m.f);
    _cleanup_free_ char *key = begin(&m.f, of(&m, USER_ROLE), m.own.id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
    osmo_ws_t *client = dial_client(&m.f, of(&m, USER_ROLE), "exec", m.own.id, key, 70);
    CHECK(!is_closed(&m.f, 70));
    CHECK_OK(store_write(m.f.engine->store, NULL, other_pool_only, NULL, &err), &err);
    access_changed(m.f.engine);
    CHECK_INT(closed_with(&m.f, 70, &reason), 4000);
    osmo_ws_closed(client);
    matrix_close(&m);
}

static const struct check_test tests[] = {
    { "a key is for one task", the_right_task },
    { "invented keys", invented_keys },
    { "the pool of the workflow", the_right_pool },
    { "rights that end", rights_end },
    { "rights to a web server that end", rights_to_a_web_server_end },
    { "a web server is kept", a_web_server_is_kept },
    { "rights to another pool", the_pool_is_what_counts },
};
TEST_MAIN("router_access", tests)
