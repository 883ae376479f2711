/* The requests that begin interactive sessions: answers, every status, and what the configuration says of them. */
#include "base/cleanup.h"
#include "base/file.h"
#include "engine/router_internal.h"
#include "router_fixture.h"

static const struct as jane = { .user = "jane" };
static const char with_rsync[] =
    "service:\n"
    "  interactive: {max_sessions_per_user: 7, webserver: {idle: 1h}}\n"
    "workflow:\n"
    "  max_num_ports_per_task: 3\n"
    "  plugins_config:\n"
    "    rsync:\n"
    "      enabled: true\n"
    "      read_bandwidth_limit: 1000\n"
    "      daemon_poll_interval: 2.5\n"
    "      allowed_paths: {code: {path: /workspace/code, writable: true}, data: {path: /data}}\n"
    "backends: {default: {description: '', router_address: 'wss://router.example/'}}\n"
    "pools: {default: {backend: default, default_platform: default, platforms: {default: {}}}}\n";

struct change { const char *sql; const struct seed *s; };
static int change_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct change *c = ctx;
    return db_exec(db, c->sql, DB_ARGS(DB_T(c->s->uuid)), NULL, err);
}

static void change(struct fixture *f, const struct seed *s, const char *sql) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct change c = { sql, s };
    CHECK_OK(store_write(f->engine->store, NULL, change_run, &c, &err), &err);
}

static void expect(struct fixture *f, const struct seed *s, const char *what, const char *query, int status, const char *code,
                   const char *part) {
    struct answer a = post_as(f, jane, s->id, what, query);
    if (a.status != status)
        fprintf(stderr, "%s?%s: %d %s\n", what, query ? query : "", a.status, a.body ? a.body : "");
    CHECK_INT(a.status, status);
    if (code) {
        CHECK_STR(json_get_str(a.json, "error_code"), code);
        CHECK_STR(json_get_str(a.json, "workflow_id"), s->id);
        CHECK_CONTAINS(json_get_str(a.json, "message") ? json_get_str(a.json, "message") : "", part);
    } else {
        CHECK_CONTAINS(a.body ? a.body : "", part);
    }
    answer_free(&a);
}

static void test_statuses(void) {
    struct fixture f;
    struct seed s, late, over, off;
    char *many = str_dup("task_ports=1");
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL));
    REQUIRE(seed_workflow(&f, "wf", "jane", 3, &s) && seed_workflow(&f, "late", "jane", 1, &late) &&
            seed_workflow(&f, "over", "jane", 1, &over) && seed_workflow(&f, "off", "jane", 1, &off));
    CHECK(seed_workflow_status(&f, &late, STATUS_PENDING, NULL) && seed_workflow_status(&f, &over, STATUS_COMPLETED, NULL));
    CHECK(seed_task_status(&f, &s, 1, STATUS_COMPLETED) && seed_task_status(&f, &s, 2, STATUS_INITIALIZING));
    change(&f, &off, "UPDATE workflows SET backend = NULL WHERE uuid = ?");
    for (int i = 2; i <= 31; i++) {
        char *more = str_printf("%s&task_ports=%d", many, i);
        free(many);
        many = more;
    }
    const struct seed none = { .id = "wf-99" };
    expect(&f, &late, "exec/task/t0", "entry_command=bash", 425, "USER", "not running yet");
    expect(&f, &over, "exec/task/t0", "entry_command=bash", 410, "USER", "has ended, it is COMPLETED");
    expect(&f, &off, "exec/task/t0", "entry_command=bash", 422, "NOTFOUND", "has no backend");
    expect(&f, &s, "exec/task/t9", "entry_command=bash", 404, "USER", "has no task t9");
    expect(&f, &s, "exec/task/t1", "entry_command=bash", 404, "USER", "has ended");
    expect(&f, &s, "exec/task/t2", "entry_command=bash", 425, "USER", "is not running yet, it is INITIALIZING");
    expect(&f, &s, "exec/group/none", "entry_command=bash", 404, "USER", "has no group none");
    expect(&f, &s, "exec/task/t0", NULL, 422, NULL, "Field required");
    expect(&f, &s, "exec/group/g", NULL, 422, NULL, "Field required");
    expect(&f, &s, "exec/task/t0", "entry_command=%20", 400, "USER", "must name a command");
    expect(&f, &s, "portforward/t0", NULL, 400, NULL, "at least one port");
    expect(&f, &s, "portforward/t0", many, 400, NULL, "31 ports are more than the 30");
    expect(&f, &s, "portforward/t0", "task_ports=x", 422, NULL, "valid integer");
    expect(&f, &s, "portforward/t0", "task_ports=70000", 400, "USER", "70000 is no port");
    expect(&f, &s, "portforward/t0", "task_ports=80&use_udp=perhaps", 422, NULL, "valid boolean");
    expect(&f, &s, "webserver/t0", NULL, 422, NULL, "Field required");
    expect(&f, &s, "webserver/t0", "task_port=0", 400, "USER", "is no port");
    expect(&f, &s, "rsync/task/t0", NULL, 403, "USER", "rsync was not enabled");
    expect(&f, &over, "rsync/task/t0", NULL, 410, "USER", "has ended");
    expect(&f, &none, "exec/task/t0", "entry_command=bash", 400, NULL, "does not exist");
    free(many);
    router_fixture_close(&f);
}

static void check_answer(const json_t *o, const char *prefix, const char *address) {
    const char *key = json_get_str(o, "key");
    CHECK_INT(json_len(o), 3);
    CHECK(key && str_starts(key, prefix) && strlen(key) == strlen(prefix) + ROUTER_KEY_TEXT);
    CHECK_STR(json_get_str(o, "router_address"), address);
    CHECK_STR(json_get_str(o, "cookie"), "");
}

static void test_answers(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, with_rsync) && seed_workflow(&f, "wf", "jane", 3, &s));
    CHECK(seed_task_status(&f, &s, 1, STATUS_COMPLETED));
    change(&f, &s, "UPDATE workflows SET rsync = 1 WHERE uuid = ?");
    struct answer a = post_as(&f, jane, s.uuid, "exec/task/t0", "entry_command=bash");
    CHECK_INT(a.status, 200);
    check_answer(a.json, "EXEC-", "wss://router.example");
    answer_free(&a);
    a = post_as(&f, jane, s.id, "exec/group/g", "entry_command=bash"); /* those that run */
    CHECK_INT(json_len(a.json), 2);
    check_answer(json_get(a.json, "t0"), "EXEC-", "wss://router.example");
    check_answer(json_get(a.json, "t2"), "EXEC-", "wss://router.example");
    answer_free(&a);
    a = post_as(&f, jane, s.id, "portforward/t0", "task_ports=80&task_ports=443&task_ports=80");
    CHECK_INT(json_kind(a.json), JSON_ARRAY);
    CHECK_INT(json_len(a.json), 3);
    for (size_t i = 0; i < json_len(a.json); i++)
        check_answer(json_at(a.json, i), "PORTFORWARD-", "wss://router.example");
    answer_free(&a);
    a = post_as(&f, jane, s.id, "portforward/t0", "task_ports=1&task_ports=2&task_ports=3&task_ports=4");
    CHECK_INT(a.status, 400);
    answer_free(&a);
    a = post_as(&f, jane, s.id, "webserver/t0", "task_port=8080");
    check_answer(a.json, "webserver-", "wss://router.example");
    answer_free(&a);
    a = post_as(&f, jane, s.id, "rsync/task/t0", NULL);
    check_answer(a.json, "RSYNC-", "wss://router.example");
    answer_free(&a);
    router_fixture_close(&f);
}

/* A group whose tasks have all ended, and one of which none runs yet. */
static void test_groups(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL) && seed_workflow(&f, "wf", "jane", 2, &s));
    CHECK(seed_task_status(&f, &s, 0, STATUS_INITIALIZING) && seed_task_status(&f, &s, 1, STATUS_INITIALIZING));
    expect(&f, &s, "exec/group/g", "entry_command=bash", 425, "USER", "is not running yet");
    CHECK(seed_task_status(&f, &s, 0, STATUS_COMPLETED) && seed_task_status(&f, &s, 1, STATUS_COMPLETED));
    expect(&f, &s, "exec/group/g", "entry_command=bash", 404, "USER", "has ended");
    router_fixture_close(&f);
}

static void test_configured(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, with_rsync) && seed_workflow(&f, "wf", "jane", 1, &s));
    struct answer a = ask(&f, "GET", "/api/plugins/configs", NULL, NULL, NULL);
    const json_t *r = json_get(a.json, "rsync");
    CHECK(json_get_bool(r, "enabled", false));
    CHECK_INT(json_get_int(r, "read_bandwidth_limit", 0), 1000);
    CHECK_INT(json_get_int(r, "write_bandwidth_limit", 0), 2621440);
    CHECK_STR(json_get_str(json_get(json_get(r, "allowed_paths"), "code"), "path"), "/workspace/code");
    CHECK(json_get_bool(json_get(json_get(r, "allowed_paths"), "code"), "writable", false));
    CHECK(!json_get_bool(json_get(json_get(r, "allowed_paths"), "data"), "writable", true));
    CHECK_CONTAINS(a.body, "\"daemon_poll_interval\":2.5");
    answer_free(&a);
    a = ask(&f, "GET", "/api/configs/workflow", NULL, NULL, NULL);
    CHECK(json_get_bool(json_get(json_get(a.json, "plugins_config"), "rsync"), "enabled", false));
    CHECK_INT(json_get_int(a.json, "max_num_ports_per_task", 0), 3);
    answer_free(&a);
    a = ask(&f, "GET", "/api/configs/service", NULL, NULL, NULL);
    CHECK_INT(json_get_int(json_get(a.json, "interactive"), "max_sessions_per_user", 0), 7);
    answer_free(&a);
    change(&f, &s, "UPDATE workflows SET rsync = 1 WHERE uuid = ?");
    _cleanup_free_ char *path = str_printf("/api/workflow/%s", s.id);
    a = ask(&f, "GET", path, NULL, NULL, NULL);
    CHECK(json_get_bool(json_get(a.json, "plugins"), "rsync", false));
    answer_free(&a);
    router_fixture_close(&f);
}

static void test_wrong_configuration(void) {
    static const struct { const char *text, *part; } cases[] = {
        { "service: {interactive: {max_sessions: 0}}", "service.interactive.max_sessions" },
        { "service: {interactive: {exec: {idle: 5s}}}", "service.interactive.exec.idle" },
        { "service: {interactive: {exec: {idle: 0, total: 0}}}", NULL },
        { "service: {interactive: {shell: {idle: 1h}}}", "shell" },
        { "workflow: {plugins_config: {rsync: {read_bandwidth_limit: -1}}}", "read_bandwidth_limit" },
        { "workflow: {plugins_config: {rsync: {daemon_poll_interval: 0}}}", "daemon_poll_interval" },
        { "workflow: {plugins_config: {rsync: {daemon_poll_interval: soon}}}", "daemon_poll_interval" },
        { "workflow: {plugins_config: {rsync: {allowed_paths: {a: {path: data}}}}}", "absolute path" },
        { "workflow: {plugins_config: {rsync: {allowed_paths: {a: {path: /x/../y}}}}}", "absolute path" },
        { "workflow: {plugins_config: {rsync: {allowed_paths: {'a:b': {path: /x}}}}}", "a name without" },
        { "workflow: {plugins_config: {rsync: {allowed_paths: {a: {writable: true}}}}}", "path" },
        { "workflow: {plugins_config: {rsync: {allowed_paths: [a]}}}", "allowed_paths" },
        { "workflow: {plugins_config: {others: {enabled: true}}}", NULL },
        { "workflow: {max_num_ports_per_task: 0}", "max_num_ports_per_task" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct settings *s = NULL;
        int rc = settings_parse(cases[i].text, strlen(cases[i].text), "test", &s, &err);
        if ((rc >= 0) != !cases[i].part)
            fprintf(stderr, "%s: %d %s\n", cases[i].text, rc, err.text);
        CHECK_INT(rc >= 0, !cases[i].part);
        if (rc < 0 && cases[i].part)
            CHECK_CONTAINS(err.text, cases[i].part);
        settings_free(s);
    }
}

/* Alone, a service needs no cookie, and carries nothing elsewhere. */
static void test_alone(void) {
    struct fixture f;
    osmo_elsewhere_t where;
    REQUIRE(router_fixture_open(&f, OSMO_AUTH_DEV, NULL));
    struct answer a = ask(&f, "GET", "/api/router/version", NULL, NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK(a.rs.headers == NULL);
    CHECK_CONTAINS(a.body, "\"major\"");
    answer_free(&a);
    static const char *const paths[] = {
        "/api/router/exec/w/client/EXEC-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "//api//router/portforward/w/backend/PORTFORWARD-00112233445566778899aabbccddeeff",
        "/api/router/exec/w/client/EXEC-", "/api/router/exec/w/client/a/b/c/d/e/f", "/", "", "/api/version",
    };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        const char *headers[] = { "host", "127.0.0.1", "upgrade", "websocket", "cookie", ROUTER_COOKIE "=00000000", NULL };
        osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = paths[i], .query = "", .headers = headers, .peer = "127.0.0.1" };
        CHECK_INT(osmo_service_place(f.service, &rq, &where), OSMO_PLACE_HERE);
    }
    /* and believes nobody who says that he carries */
    const char *claims[] = { ROUTER_PEER_HEADER, "0 1 2 3 4", NULL };
    a = ask(&f, "GET", "/api/version", NULL, NULL, claims);
    CHECK_INT(a.status, 403);
    answer_free(&a);
    router_fixture_close(&f);
}

static const struct check_test tests[] = {
    { "every status", test_statuses },
    { "answers", test_answers },
    { "groups", test_groups },
    { "what is configured", test_configured },
    { "wrong configuration", test_wrong_configuration },
    { "a service alone", test_alone },
};
TEST_MAIN("router_api", tests)
