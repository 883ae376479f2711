/* Interactive sessions over the service's door: the mailbox of the ctrls, who meets whom, what ends it, web servers. On both databases. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "engine/audit.h"
#include "engine/logs_internal.h"
#include "engine/router_internal.h"
#include "router_fixture.h"

#define ALL "logs, restarts, actions"
#define CTRL 10 /* the logger socket of t0 */
static const struct as jane = { .user = "jane" }, joe = { .user = "joe" }, task = { .user = "task" };

static osmo_ws_t *logger(struct fixture *f, const struct seed *s, const char *name, uint64_t conn, const char *offer) {
    const char *extensions;
    int status;
    osmo_ws_t *ws = connect_ctrl(f, s->id, name, 0, conn, offer, &extensions, &status);
    CHECK_INT(status, 101);
    CHECK_STR(extensions, offer);
    return ws;
}

static void hang_up(osmo_ws_t *ws) {
    if (ws)
        osmo_ws_closed(ws);
}

/* ---- the mailbox ---- */

static void check_action(struct fixture *f, uint64_t conn, size_t n, const char *action, const char *key, char id[24]) {
    int binary = 0;
    _cleanup_json_ json_t *o = message_to(f, conn, n, &binary);
    CHECK_INT(binary, 1);
    CHECK_STR(json_get_str(o, "action"), action);
    CHECK_STR(json_get_str(o, "key"), key);
    CHECK_STR(json_get_str(o, "router_address"), "ws://127.0.0.1:8000");
    CHECK_STR(json_get_str(o, "cookie"), "");
    const char *got = json_get_str(o, "id");
    snprintf(id, 24, "%s", got ? got : "");
}

static void confirm(osmo_ws_t *ws, const char *id) {
    _cleanup_free_ char *text = str_printf("{\"IOType\":\"ACTION_DONE\",\"Id\":\"%s\"}", id);
    send_double(ws, text);
}

static int64_t waiting(struct fixture *f) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    db_t *db;
    if (store_reader(f->engine->store, &db, NULL) < 0 ||
        db_query(db, "SELECT COUNT(*) FROM ctrl_actions WHERE done = 0", NULL, 0, &rows, NULL) < 0 || db_next(rows, NULL) != 1)
        return -1;
    return db_int(rows, 0);
}

/* What was posted to the writer before is done. */
static int nothing(db_t *db, void *ctx, osmo_error_t *err) {
    (void)db, (void)ctx, (void)err;
    return 0;
}

static void settle(struct fixture *f, const struct seed *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(f->engine->store, s->uuid, nothing, NULL, &err), &err);
}

static void mailbox(void) {
    struct fixture f;
    struct seed s;
    char first_id[24], second_id[24], again[24];
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 2, &s));
    _cleanup_free_ char *first = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"); /* before it connects */
    osmo_ws_t *ctrl = logger(&f, &s, "t0", CTRL, ALL), *other = logger(&f, &s, "t1", CTRL + 1, ALL);
    _cleanup_free_ char *second = begin(&f, jane, s.id, "exec/task/t0", "entry_command=%2Fbin%2Fsh"); /* and while it is there */
    /* the first message of this socket is the acknowledgement of its log */
    check_action(&f, CTRL, 1, "exec", first, first_id);
    check_action(&f, CTRL, 2, "exec", second, second_id);
    _cleanup_json_ json_t *o = message_to(&f, CTRL, 2, NULL);
    CHECK_STR(json_get_str(o, "entry_command"), "/bin/sh");
    CHECK_INT(messages_to(&f, CTRL + 1), 1); /* the other task is told nothing */
    CHECK(strcmp(first, second) != 0 && strcmp(first_id, second_id) != 0);
    confirm(ctrl, first_id);
    confirm(other, second_id); /* not its own: nothing happens */
    settle(&f, &s);
    CHECK_INT(waiting(&f), 1);
    hang_up(ctrl);
    ctrl = logger(&f, &s, "t0", CTRL + 2, ALL);
    check_action(&f, CTRL + 2, 1, "exec", second, again); /* once more, what was not confirmed, under the same number */
    CHECK_STR(again, second_id);
    confirm(ctrl, again);
    settle(&f, &s);
    CHECK_INT(waiting(&f), 0);
    hang_up(ctrl);
    ctrl = logger(&f, &s, "t0", CTRL + 3, ALL);
    CHECK_INT(messages_to(&f, CTRL + 3), 1);
    hang_up(ctrl);
    hang_up(other);
    router_fixture_close(&f);
}

static int damage(db_t *db, void *ctx, osmo_error_t *err) {
    return db_exec(db, "UPDATE ctrl_actions SET payload_json = ?", DB_ARGS(DB_T(ctx)), NULL, err);
}

/* Is left out, and in nobody's way. */
static void damaged_row(void) {
    static const char *const payloads[] = { "{\"task_port\":", "[]" };
    for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
        struct fixture f;
        struct seed s;
        char id[24];
        osmo_error_t err = OSMO_ERROR_INIT;
        REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
        _cleanup_free_ char *first = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
        CHECK_OK(store_write(f.engine->store, NULL, damage, (char *)(uintptr_t)payloads[i], &err), &err);
        _cleanup_free_ char *second = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
        osmo_ws_t *ctrl = logger(&f, &s, "t0", CTRL, ALL);
        check_action(&f, CTRL, 1, "exec", second, id);
        CHECK(!is_closed(&f, CTRL));
        settle(&f, &s);
        CHECK_INT(waiting(&f), 1); /* the second */
        hang_up(ctrl);
        router_fixture_close(&f);
    }
}

/* What was asked for before a service was started anew is told after it, and its key still leads there. */
static void restart(void) {
    struct fixture f;
    struct seed s;
    char id[24];
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    REQUIRE(fixture_reopen(&f));
    osmo_ws_t *logs = logger(&f, &s, "t0", CTRL, ALL);
    check_action(&f, CTRL, 1, "exec", key, id);
    osmo_ws_t *client = dial_client(&f, jane, "exec", s.id, key, 20), *ctrl = dial_ctrl(&f, task, "exec", s.id, key, 21);
    CHECK(joined_last(20, 21));
    hang_up(client);
    hang_up(ctrl);
    hang_up(logs);
    router_fixture_close(&f);
}

/* A ctrl that confirms nothing is told once, without a number. */
static void upstream_mailbox(void) {
    struct fixture f;
    struct seed s;
    char id[24];
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    osmo_ws_t *ctrl = logger(&f, &s, "t0", CTRL, NULL);
    _cleanup_free_ char *key = begin(&f, jane, s.id, "portforward/t0", "task_ports=80&use_udp=true");
    check_action(&f, CTRL, 0, "portforward", key, id);
    CHECK_STR(id, "");
    _cleanup_json_ json_t *o = message_to(&f, CTRL, 0, NULL);
    CHECK_INT(json_get_int(o, "task_port", 0), 80);
    CHECK(json_get_bool(o, "use_udp", false));
    settle(&f, &s);
    CHECK_INT(waiting(&f), 0);
    hang_up(ctrl);
    ctrl = logger(&f, &s, "t0", CTRL + 1, NULL);
    CHECK_INT(messages_to(&f, CTRL + 1), 0);
    hang_up(ctrl);
    router_fixture_close(&f);
}

static int make_old(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "UPDATE ctrl_actions SET expires_us = 1", NULL, 0, NULL, err);
}

static void old_actions_go(void) {
    struct fixture f;
    struct seed s;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t wait = INT64_MAX;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    free(begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"));
    CHECK_OK(store_write(f.engine->store, NULL, make_old, NULL, &err), &err);
    osmo_ws_t *ctrl = logger(&f, &s, "t0", CTRL, ALL);
    CHECK_INT(messages_to(&f, CTRL), 1); /* nobody waits for it */
    CHECK_OK(actions_sweep(f.engine, &wait, &err), &err);
    CHECK_INT(waiting(&f), 0);
    free(begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"));
    CHECK_OK(actions_sweep(f.engine, &wait, &err), &err);
    CHECK(wait > 0 && wait <= 3660 * SECOND_US);
    CHECK_INT(waiting(&f), 1);
    hang_up(ctrl);
    router_fixture_close(&f);
}

/* ---- meeting ---- */

static void both_orders(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *one = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    osmo_ws_t *client = dial_client(&f, jane, "exec", s.id, one, 20);
    CHECK_INT(osmo_ws_held(client), 1);
    CHECK_INT(njoins, 0);
    osmo_ws_t *ctrl = dial_ctrl(&f, task, "exec", s.id, one, 21);
    CHECK_INT(osmo_ws_held(ctrl), 2); /* with its goodbye: it may well be here first */
    CHECK(joined_last(20, 21));
    osmo_ws_t *third = dial_client(&f, jane, "exec", s.id, one, 22); /* it is in use */
    _cleanup_free_ char *reason = NULL;
    CHECK_INT(closed_with(&f, 22, &reason), 4000);
    CHECK_CONTAINS(reason, "in use");
    hang_up(third);
    hang_up(client);
    CHECK_INT(f.engine->router->n, 1); /* the other end goes when it has got everything */
    hang_up(ctrl);
    CHECK_INT(f.engine->router->n, 0);
    _cleanup_free_ char *two = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    ctrl = dial_ctrl(&f, task, "exec", s.id, two, 23);
    client = dial_client(&f, jane, "exec", s.id, two, 24);
    CHECK(joined_last(24, 23));
    CHECK_INT(njoins, 2);
    hang_up(ctrl);
    hang_up(client);
    CHECK(!is_closed(&f, 20) && !is_closed(&f, 21) && !is_closed(&f, 23) && !is_closed(&f, 24));
    router_fixture_close(&f);
}

/* A client that lost its connection comes again before that was noticed. */
static void the_newer_one_waits(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    osmo_ws_t *old = dial_client(&f, jane, "exec", s.id, key, 20), *new = dial_client(&f, jane, "exec", s.id, key, 21);
    CHECK_INT(closed_with(&f, 20, NULL), 4000);
    hang_up(old);
    osmo_ws_t *ctrl = dial_ctrl(&f, task, "exec", s.id, key, 22);
    CHECK(joined_last(21, 22));
    hang_up(ctrl);
    hang_up(new);
    router_fixture_close(&f);
}

/* The other end leaves while it is joined. */
static void join_fails(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
    join_answer = OSMO_ENOTFOUND;
    osmo_ws_t *client = dial_client(&f, jane, "exec", s.id, key, 20), *ctrl = dial_ctrl(&f, task, "exec", s.id, key, 21);
    CHECK_INT(closed_with(&f, 20, &reason), 4000);
    CHECK_CONTAINS(reason, "begin a new session");
    CHECK_INT(closed_with(&f, 21, NULL), 4000);
    hang_up(client);
    hang_up(ctrl);
    CHECK_INT(f.engine->router->n, 0);
    router_fixture_close(&f);
}

static void refusals(void) {
    struct fixture f;
    struct seed s, w2;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s) &&
            seed_workflow(&f, "wf", "jane", 1, &w2));
    _cleanup_free_ char *exec = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *forward = begin(&f, jane, s.id, "portforward/t0", "task_ports=80");
    _cleanup_free_ char *web = begin(&f, jane, s.id, "webserver/t0", "task_port=80");
    _cleanup_free_ char *bad = str_dup(exec), *below = str_printf("%s-1", forward), *web_below = str_printf("%s-1", web);
    bad[10] = bad[10] == 'a' ? 'b' : 'a';
    struct { const char *what, *workflow, *end, *key; struct as as; int status; const char *reason; } cases[] = {
        { "exec", s.id, "client", exec, joe, 101, "another user" },
        { "exec", w2.id, "client", exec, jane, 101, "none of this workflow" },
        { "exec", w2.id, "backend", exec, task, 101, "none of this workflow" },
        { "exec", "wf-99", "client", exec, jane, 101, "does not exist" },
        { "exec", s.id, "client", bad, jane, 101, "none of this workflow" },
        { "portforward", s.id, "client", below, jane, 101, "the session of this connection has ended" },
        { "portforward", s.id, "backend", below, task, 101, "the session of this connection has ended" },
        { "portforward", s.id, "backend", web_below, task, 101, "the session of this connection has ended" },
        { "portforward", s.id, "client", exec, jane, 400, NULL }, /* asked for another right */
        { "rsync", s.id, "client", forward, jane, 400, NULL },
        { "portforward", s.id, "client", web_below, jane, 400, NULL }, /* browsers do not come this way */
        { "exec", s.id, "client", "EXEC-00112233445566778899aabbccddeeff", jane, 400, NULL },
        { "exec", s.id, "client", "EXEC-", jane, 400, NULL },
        { "webserver", s.id, "client", web, jane, 404, NULL },
        { "webserver", s.id, "backend", forward, task, 400, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *path = str_printf("/api/router/%s/%s/%s/%s", cases[i].what, cases[i].workflow, cases[i].end, cases[i].key);
        _cleanup_free_ char *reason = NULL;
        int status;
        osmo_ws_t *ws = dial(&f, cases[i].as, path, NULL, 100 + i, &status);
        if (status != cases[i].status)
            fprintf(stderr, "%s as %s\n", path, cases[i].as.user);
        CHECK_INT(status, cases[i].status);
        if (ws) {
            CHECK_INT(closed_with(&f, 100 + i, &reason), 4000);
            CHECK_CONTAINS(reason, cases[i].reason);
        }
        hang_up(ws);
    }
    CHECK_INT(njoins, 0);
    CHECK_INT(f.engine->router->n, 0);
    router_fixture_close(&f);
}

static void nobody_comes(void) {
    struct fixture f;
    struct seed s;
    int status;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
    _cleanup_free_ char *path = str_printf("/api/router/exec/%s/client/%s", s.id, key);
    osmo_ws_t *client = dial(&f, jane, path, "timeout=1", 20, &status);
    CHECK_INT(closed_with(&f, 20, &reason), 4000);
    CHECK_CONTAINS(reason, "task t0 did not answer within 1 s");
    hang_up(client);
    CHECK_INT(f.engine->router->n, 0);
    client = dial(&f, jane, path, "timeout=x", 21, &status);
    CHECK_INT(status, 400);
    CHECK(client == NULL);
    router_fixture_close(&f);
}

/* Time passes in the table, not in the test. */
static struct meeting *age(struct fixture *f, int64_t by_us) {
    struct router_table *t = f->engine->router;
    pthread_mutex_lock(&t->lock);
    struct meeting *m = t->first;
    for (struct meeting *one = m; one; one = one->next) {
        one->began_us -= by_us;
        one->last_us -= by_us;
        one->due_us = 0;
    }
    pthread_mutex_unlock(&t->lock);
    waker_wake(&t->waker);
    return m;
}

static void limits_of_time(void) {
    struct fixture f;
    struct seed s;
    const char config[] = "service: {interactive: {exec: {idle: 1h, total: 10h}}}\n";
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, config) && seed_workflow(&f, "wf", "jane", 1, &s));
    for (int idle = 1; idle >= 0; idle--) {
        _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
        uint64_t conn = 20 + 2 * (uint64_t)idle;
        osmo_ws_t *client = dial_client(&f, jane, "exec", s.id, key, conn), *ctrl = dial_ctrl(&f, task, "exec", s.id, key, conn + 1);
        router_fixture_carried(&f, 0, 0, clock_mono_us()); /* busy */
        CHECK(age(&f, 2 * 3600 * SECOND_US) != NULL);
        if (idle) { /* not any more: it is looked at again when that could be over */
            router_fixture_carried(&f, 0, 0, clock_mono_us() - 3700 * SECOND_US);
            age(&f, 2 * 3600 * SECOND_US);
        } else {
            age(&f, 11 * 3600 * SECOND_US);
        }
        CHECK_INT(closed_with(&f, conn, &reason), 4000);
        CHECK_CONTAINS(reason, idle ? "idle for 60 minutes" : "at most 10 hours");
        CHECK(!is_closed(&f, conn + 1)); /* the transport does that */
        hang_up(client);
        hang_up(ctrl);
    }
    router_fixture_close(&f);
}

static void old_keys(void) {
    struct fixture f;
    struct seed s;
    char text[ROUTER_KEY_MAX];
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    const uint8_t *secret = f.engine->router->secret;
    struct router_key k = { .action = ROUTER_EXEC, .nonce = 5, .expires_s = (uint32_t)(clock_now_us() / SECOND_US - 2) };
    k.user = router_key_user(secret, k.nonce, "jane");
    k.task = router_key_task(secret, k.nonce, "t0", 0);
    router_key_make(secret, s.uuid, &k, text);
    osmo_ws_t *ws = dial_client(&f, jane, "exec", s.id, text, 20);
    _cleanup_free_ char *reason = NULL;
    CHECK_INT(closed_with(&f, 20, &reason), 4000);
    CHECK_CONTAINS(reason, "too old");
    hang_up(ws);
    router_fixture_close(&f);
}

static void numbers(void) {
    struct fixture f;
    struct seed s, w2;
    const char config[] = "service: {interactive: {max_sessions: 5, max_sessions_per_user: 2, max_sessions_per_workflow: 3}}\n";
    static const struct { struct as as; int which; const char *reason; } cases[] = {
        { { .user = "jane" }, 0, NULL }, { { .user = "jane" }, 0, NULL }, { { .user = "jane" }, 1, "you have 2 interactive sessions" },
        { { .user = "joe" }, 0, NULL }, { { .user = "joe" }, 0, "the workflow has 3" }, { { .user = "joe" }, 1, NULL },
        { { .user = "max" }, 1, NULL }, { { .user = "max" }, 1, "carries its 5" },
    };
    osmo_ws_t *open[ARRAY_SIZE(cases)];
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, config) && seed_workflow(&f, "wf", "jane", 1, &s) &&
            seed_workflow(&f, "wf", "jane", 1, &w2));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *id = cases[i].which ? w2.id : s.id;
        _cleanup_free_ char *key = begin(&f, cases[i].as, id, "exec/task/t0", "entry_command=bash"), *reason = NULL;
        open[i] = dial_client(&f, cases[i].as, "exec", id, key, 50 + i);
        CHECK_INT(is_closed(&f, 50 + i), cases[i].reason != NULL);
        if (cases[i].reason) {
            CHECK_INT(closed_with(&f, 50 + i, &reason), 4000);
            CHECK_CONTAINS(reason, cases[i].reason);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        hang_up(open[i]);
    router_fixture_close(&f);
}

/* ---- connections ---- */

static void connections(void) {
    struct fixture f;
    struct seed s, w2;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s) &&
            seed_workflow(&f, "wf", "jane", 1, &w2));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "portforward/t0", "task_ports=80");
    osmo_ws_t *client = dial_client(&f, jane, "portforward", s.id, key, 20), *ctrl = dial_ctrl(&f, task, "portforward", s.id, key, 21);
    CHECK(joined_last(20, 21));
    osmo_ws_t *ends[8];
    for (uint64_t i = 0; i < 4; i++) { /* whoever is first */
        _cleanup_free_ char *below = str_printf("%s-%d", key, (int)i + 1);
        if (i % 2)
            ends[2 * i] = dial_ctrl(&f, task, "portforward", s.id, below, 30 + i);
        ends[2 * i + (i % 2)] = dial_client(&f, jane, "portforward", s.id, below, 40 + i);
        if (i % 2 == 0)
            ends[2 * i + 1] = dial_ctrl(&f, task, "portforward", s.id, below, 30 + i);
        CHECK(joined_last(40 + i, 30 + i));
    }
    for (size_t i = 0; i < 8; i++)
        hang_up(ends[i]);
    /* another user does not come in below it */
    _cleanup_free_ char *below = str_printf("%s-9", key);
    osmo_ws_t *thief = dial_client(&f, joe, "portforward", s.id, below, 60);
    CHECK_INT(closed_with(&f, 60, NULL), 4000);
    hang_up(thief);
    /* upstream's client invents them; they meet in one workflow only */
    static const char invented[] = "PORTFORWARD-00112233445566778899aabbccddeeff";
    osmo_ws_t *a = dial_client(&f, jane, "rsync", s.id, invented, 61), *b = dial_ctrl(&f, task, "portforward", w2.id, invented, 62);
    CHECK_INT(njoins, 5);
    osmo_ws_t *c = dial_ctrl(&f, task, "portforward", s.id, invented, 63);
    CHECK(joined_last(61, 63));
    hang_up(a);
    hang_up(b);
    hang_up(c);
    hang_up(client);
    hang_up(ctrl);
    CHECK_INT(f.engine->router->n, 0);
    osmo_ws_t *late = dial_client(&f, jane, "portforward", s.id, below, 64);
    CHECK_INT(closed_with(&f, 64, NULL), 4000);
    hang_up(late);
    router_fixture_close(&f);
}

/* ---- what ends it ---- */

static void the_task_ends(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 2, &s));
    _cleanup_free_ char *one = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *two = begin(&f, jane, s.id, "exec/task/t1", "entry_command=bash"), *reason = NULL;
    osmo_ws_t *c1 = dial_client(&f, jane, "exec", s.id, one, 20), *b1 = dial_ctrl(&f, task, "exec", s.id, one, 21);
    osmo_ws_t *c2 = dial_client(&f, jane, "exec", s.id, two, 22);
    CHECK(seed_task_status(&f, &s, 0, STATUS_COMPLETED));
    watch_workflow_here(f.engine, s.id);
    CHECK_INT(closed_with(&f, 20, &reason), 4000);
    CHECK_STR(reason, "task t0 has ended");
    CHECK(!is_closed(&f, 22));
    _cleanup_free_ char *again = NULL;
    osmo_ws_t *late = dial_client(&f, jane, "exec", s.id, one, 23);
    CHECK_INT(closed_with(&f, 23, &again), 4000);
    hang_up(late);
    CHECK(seed_workflow_status(&f, &s, STATUS_FAILED, ""));
    watch_workflow_here(f.engine, s.id);
    CHECK_INT(closed_with(&f, 22, NULL), 4000);
    hang_up(c1);
    hang_up(b1);
    hang_up(c2);
    router_fixture_close(&f);
}

static void the_service_ends(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    osmo_ws_t *c = dial_client(&f, jane, "exec", s.id, key, 20);
    router_stop(f.engine);
    CHECK_INT(closed_with(&f, 20, NULL), 1001);
    hang_up(c);
    CHECK_INT(f.engine->router->n, 0);
    router_fixture_close(&f);
}

/* ---- web servers ---- */

static bool is_alive(struct fixture *f, const char *key) {
    _cleanup_free_ char *path = str_printf("/api/router/webserver/%s", key);
    struct answer a = ask(f, "GET", path, NULL, NULL, NULL);
    CHECK_INT(a.status, 200);
    bool alive = a.body && strcmp(a.body, "true") == 0;
    answer_free(&a);
    return alive;
}

static void web_server(void) {
    struct fixture f;
    struct seed s;
    int status, binary = 1;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "webserver/t0", "task_port=8080");
    CHECK(browse(&f, key, 19, &status) == NULL);
    CHECK_INT(status, 404);
    CHECK(!is_alive(&f, key));
    osmo_ws_t *server = dial_ctrl(&f, task, "webserver", s.id, key, 20);
    CHECK_INT(osmo_ws_held(server), 0);
    osmo_ws_message(server, "anything", 8, 1); /* nobody listens, nothing happens */
    CHECK(is_alive(&f, key));
    osmo_ws_t *browser = browse(&f, key, 21, &status);
    REQUIRE(browser);
    CHECK_INT(osmo_ws_held(browser), 1);
    _cleanup_json_ json_t *o = message_to(&f, 20, 0, &binary);
    CHECK_INT(binary, 0); /* upstream's ctrl wants these as TEXT */
    CHECK_STR(json_get_str(o, "type"), "tcp");
    CHECK_STR(json_get_str(o, "cookie"), "");
    const char *below = json_get_str(o, "key");
    REQUIRE(below);
    CHECK(str_starts(below, key));
    osmo_ws_t *data = dial_ctrl(&f, task, "portforward", s.id, below, 22);
    CHECK(joined_last(21, 22));
    osmo_ws_t *waits = browse(&f, key, 23, &status);
    _cleanup_free_ char *reason = NULL;
    hang_up(server); /* who waits learns of it at once, who is joined goes on */
    CHECK_INT(closed_with(&f, 23, &reason), 502);
    CHECK(!is_closed(&f, 21));
    CHECK(!is_alive(&f, key));
    CHECK(browse(&f, key, 24, &status) == NULL);
    CHECK_INT(status, 404);
    hang_up(waits);
    hang_up(browser);
    hang_up(data);
    CHECK_INT(f.engine->router->n, 0);
    router_fixture_close(&f);
}

static void browsers_wait(void) {
    struct fixture f;
    struct seed s;
    osmo_ws_t *waiting_ones[TUNNELS_PENDING_MAX];
    int status;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "webserver/t0", "task_port=8080"), *reason = NULL;
    osmo_ws_t *server = dial_ctrl(&f, task, "webserver", s.id, key, 20);
    for (uint64_t i = 0; i < TUNNELS_PENDING_MAX; i++)
        waiting_ones[i] = browse(&f, key, 100 + i, &status);
    CHECK(browse(&f, key, 99, &status) == NULL);
    CHECK_INT(status, 503);
    age(&f, 61 * SECOND_US);
    CHECK_INT(closed_with(&f, 100, &reason), 504);
    CHECK_CONTAINS(reason, "did not answer");
    for (uint64_t i = 0; i < TUNNELS_PENDING_MAX; i++) {
        CHECK_INT(closed_with(&f, 100 + i, NULL), 504);
        hang_up(waiting_ones[i]);
    }
    osmo_ws_t *again = browse(&f, key, 98, &status);
    CHECK(again != NULL);
    hang_up(again);
    age(&f, 31 * 60 * SECOND_US);
    CHECK_INT(closed_with(&f, 20, NULL), 4000); /* idle */
    hang_up(server);
    router_fixture_close(&f);
}

/* A session that has lasted long enough takes with it what browsers opened meanwhile, be that ever so young. */
static void web_server_lasts(void) {
    struct fixture f;
    struct seed s;
    int status, binary;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    struct router_table *t = f.engine->router;
    _cleanup_free_ char *key = begin(&f, jane, s.id, "webserver/t0", "task_port=8080"), *reason = NULL;
    osmo_ws_t *server = dial_ctrl(&f, task, "webserver", s.id, key, 20), *browser = browse(&f, key, 21, &status);
    _cleanup_json_ json_t *o = message_to(&f, 20, 0, &binary);
    osmo_ws_t *data = dial_ctrl(&f, task, "portforward", s.id, json_get_str(o, "key"), 22), *waits = browse(&f, key, 23, &status);
    CHECK(joined_last(21, 22));
    router_fixture_carried(&f, 0, 0, clock_mono_us());
    pthread_mutex_lock(&t->lock);
    for (struct meeting *m = t->first; m; m = m->next) {
        if (m->state == MEETING_SERVES)
            m->began_us -= 8 * 86400 * SECOND_US;
        m->due_us = 0;
    }
    pthread_mutex_unlock(&t->lock);
    waker_wake(&t->waker);
    CHECK_INT(closed_with(&f, 20, &reason), 4000);
    CHECK_CONTAINS(reason, "at most 168 hours");
    CHECK_INT(closed_with(&f, 21, NULL), 4000);
    CHECK_INT(closed_with(&f, 23, NULL), 504);
    hang_up(server);
    hang_up(browser);
    hang_up(waits);
    hang_up(data);
    CHECK_INT(f.engine->router->n, 0);
    router_fixture_close(&f);
}

/* ---- the audit log ---- */

static void audit(void) {
    struct fixture f;
    struct seed s;
    buf_t text = BUF_INIT(1u << 20);
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 1, &s));
    _cleanup_free_ char *key = begin(&f, jane, s.id, "exec/task/t0", "entry_command=bash");
    _cleanup_free_ char *file = str_printf("%s/audit.jsonl", f.dir);
    router_fixture_carried(&f, 17, 4711, 0);
    osmo_ws_t *thief = dial_client(&f, joe, "exec", s.id, key, 19), *client = dial_client(&f, jane, "exec", s.id, key, 20);
    osmo_ws_t *ctrl = dial_ctrl(&f, task, "exec", s.id, key, 21);
    _cleanup_free_ char *slashes = str_printf("/api//router/exec/%s/client/%s//", s.id, key);
    int status;
    osmo_ws_t *again = dial(&f, joe, slashes, NULL, 22, &status); /* the same path */
    CHECK_INT(status, 101);
    hang_up(again);
    hang_up(thief);
    hang_up(client);
    hang_up(ctrl);
    osmo_service_close(f.service);
    f.service = NULL;
    CHECK_INT(file_read(file, &text, NULL), 0);
    CHECK_CONTAINS(buf_cstr(&text), "\"session\":\"refused\",\"allowed\":false");
    CHECK_CONTAINS(buf_cstr(&text), "\"session\":\"opened\",\"allowed\":true");
    CHECK_CONTAINS(buf_cstr(&text), "\"session\":\"closed\",\"bytes_in\":17,\"bytes_out\":4711");
    CHECK_CONTAINS(buf_cstr(&text), "\"action\":\"workflow:Exec\",\"resource\":\"pool/default\"");
    CHECK(!strstr(buf_cstr(&text), "EXEC-"));
    buf_free(&text);
    router_fixture_close(&f);
}

/* ---- on both databases ---- */

static void on_both(void (*body)(void)) {
    on_pgsql = false;
    body();
    _cleanup_free_ char *url = pgsql_fixture_url();
    if (!url)
        return;
    on_pgsql = true;
    body();
    on_pgsql = false;
}

#define BOTH(name) static void test_##name(void) { on_both(name); }
BOTH(mailbox)
BOTH(upstream_mailbox)
BOTH(damaged_row)
BOTH(old_actions_go)
BOTH(both_orders)
BOTH(refusals)
BOTH(connections)
BOTH(the_task_ends)
BOTH(web_server)

static const struct check_test tests[] = {
    { "the mailbox of a ctrl", test_mailbox },
    { "the mailbox of upstream's ctrl", test_upstream_mailbox },
    { "a damaged row", test_damaged_row },
    { "a restart", restart },
    { "what nobody waits for", test_old_actions_go },
    { "two ends meet", test_both_orders },
    { "the newer of two", the_newer_one_waits },
    { "the other end leaves", join_fails },
    { "refusals", test_refusals },
    { "nobody comes", nobody_comes },
    { "idle and long sessions", limits_of_time },
    { "old keys", old_keys },
    { "how many", numbers },
    { "connections", test_connections },
    { "a task ends", test_the_task_ends },
    { "the service ends", the_service_ends },
    { "a web server", test_web_server },
    { "browsers wait", browsers_wait },
    { "a web server lasts long", web_server_lasts },
    { "audit", audit },
};
TEST_MAIN("router", tests)
