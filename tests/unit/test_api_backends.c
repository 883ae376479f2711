/* Backends and their tests through the API, on both databases: written, shown, refused, told to those that are connected,
    and taken away so
 * that nothing is left. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "pgsql_fixture.h"
#include "service_fixture.h"
#include "signing_key.h"

#define PATIENCE_S 20
static bool on_pgsql;

/* false: there is no PostgreSQL here. */
static bool open_service(struct fixture *f) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *url = on_pgsql ? pgsql_fixture_url() : NULL;
    if (on_pgsql && !url)
        return false;
    bool good = fixture_open(f, OSMO_AUTH_DEV, NULL);
    if (good && url) {
        CHECK_OK(signing_key_seed(url, &err), &err);
        f->options.database = url;
        good = fixture_reopen(f);
    }
    CHECK(good);
    return good;
}

static void close_service(struct fixture *f) {
    char *url = (char *)(uintptr_t)f->options.database;
    fixture_close(f);
    free(url);
}

static void on_both(void (*body)(struct fixture *f)) {
    struct fixture f;
    for (int i = 0; i < 2; i++) {
        on_pgsql = i;
        if (!open_service(&f))
            return;
        body(&f);
        close_service(&f);
    }
}

/* ---- operators ---- */

static agent_session_t *operator_as(struct fixture *f, const char *backend, enum agent_socket kind, uint64_t conn, const char *extensions,
                                    const char *uid) {
    agent_session_t *s = NULL;
    const char *accepted = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(agent_open(f->engine, kind, backend, conn, extensions, &s, &accepted, &err), &err);
    CHECK_STR(accepted ? accepted : "", extensions);
    agent_opened(s);
    if (kind != AGENT_CONTROL && uid) {
        _cleanup_free_ char *init =
            str_printf("{\"type\":\"init\",\"uuid\":\"%032x\",\"body\":{\"k8s_uid\":\"%s\",\"k8s_namespace\":\"ns\","
                "\"version\":\"6.4.0\","
                       "\"node_condition_prefix\":\"osmo.nvidia.com/\"}}", (unsigned)conn, uid);
        agent_message(s, init, strlen(init), false);
    }
    return s;
}

static void say(agent_session_t *s, unsigned n, const char *type, const char *body) {
    _cleanup_free_ char *text = str_printf("{\"type\":\"%s\",\"uuid\":\"%032x\",\"body\":%s}", type, n, body);
    agent_message(s, text, strlen(text), false);
}

static bool wait_for(struct fixture *f, bool (*holds)(struct fixture *f, const void *arg), const void *arg) {
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&f->lock);
    while (!holds(f, arg) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    bool held = holds(f, arg);
    pthread_mutex_unlock(&f->lock);
    return held;
}

struct wanted { uint64_t conn; const char *part; int close_code; size_t times; };

static bool was_sent(struct fixture *f, const void *arg) {
    const struct wanted *w = arg;
    size_t n = 0;
    for (size_t i = 0; i < f->nsent; i++)
        n += f->sent[i].conn == w->conn && f->sent[i].close_code == w->close_code && strstr(f->sent[i].text, w->part) != NULL;
    return n >= w->times;
}

static bool gets(struct fixture *f, uint64_t conn, const char *part, size_t times) {
    const struct wanted w = { conn, part, 0, times };
    return wait_for(f, was_sent, &w);
}

static bool is_closed(struct fixture *f, uint64_t conn, int code, const char *part) {
    const struct wanted w = { conn, part, code, 1 };
    return wait_for(f, was_sent, &w);
}

/* The uuid of a message is its acknowledgement's. */
static bool acked(struct fixture *f, uint64_t conn, unsigned n) {
    char text[64];
    snprintf(text, sizeof text, "\"body\":{\"uuid\":\"%032x\"}", n);
    return gets(f, conn, text, 1);
}

static int64_t number(struct fixture *f, const char *sql) {
    db_t *db;
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t n = -1;
    if (store_reader(f->engine->store, &db, &err) >= 0 && db_query(db, sql, NULL, 0, &rows, &err) >= 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

/* An operator has been there. */
static void visit(struct fixture *f, const char *backend, uint64_t conn, const char *uid) {
    agent_session_t *s = operator_as(f, backend, AGENT_HEARTBEAT, conn, "", uid);
    say(s, 900, "heartbeat", "{\"time\":\"2025-01-01T00:00:00\"}");
    CHECK(acked(f, conn, 900));
    agent_closed(s);
}

/* ---- requests one after the other ---- */

struct step { const char *method, *path, *body; int status; const char *part; /* "!x": x is not in it */ };

static void run_steps(struct fixture *f, const struct step *steps, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        struct answer a = ask(f, s->method, s->path, "", s->body, NULL);
        const char *body = a.body ? a.body : "";
        bool absent = s->part && s->part[0] == '!';
        bool good = a.status == s->status && (!s->part || absent == !strstr(body, s->part + absent));
        if (!good)
            fprintf(stderr, "step %zu: %s %s %s: %d %s\n", i, s->method, s->path, s->body ? s->body : "", a.status, body);
        CHECK(good);
        answer_free(&a);
    }
}

#define BACKEND "/api/configs/backend"
#define TEST "/api/configs/backend_test"
#define EAST BACKEND "/east"
#define SET(members) "{\"configs\":{" members "}}"
#define RULES(rules) SET("\"node_conditions\":{\"rules\":{" rules "}}")

static const struct step backend_steps[] = {
    { "GET", BACKEND, NULL, 200, "{\"backends\":[{\"name\":\"east\"" },
    { "GET", EAST, NULL, 200, "{\"name\":\"east\",\"description\":\"\",\"version\":\"6.4.0\",\"k8s_uid\":\"u1\","
        "\"k8s_namespace\":\"ns\"" },
    { "GET", EAST, NULL, 200, "\"dashboard_url\":\"\",\"grafana_url\":\"\",\"tests\":[],"
        "\"scheduler_settings\":{\"scheduler_type\":\"kai\","
      "\"scheduler_name\":\"kai-scheduler\",\"scheduler_timeout\":30},\"node_conditions\":{\"rules\":{\"Ready\":\"True\"},\"prefix\":"
      "\"osmo.nvidia.com/\"},\"router_address\":\"ws://127.0.0.1:8000\"" },
    { "GET", EAST, NULL, 200, "\"online\":true,\"status\":\"\"" },
    { "GET", BACKEND "/no", NULL, 404, "does not exist" },
    /* every member, those of others left alone */
    { "POST", EAST, SET("\"description\":\"the east\",\"dashboard_url\":\"https://d\",\"grafana_url\":\"https://g\",\"router_address\":"
                        "\"wss://r.example\",\"scheduler_settings\":{\"scheduler_timeout\":45}") , 200, "null" },
    { "GET", EAST, NULL, 200, "\"description\":\"the east\"" },
    { "GET", EAST, NULL, 200, "\"dashboard_url\":\"https://d\",\"grafana_url\":\"https://g\",\"tests\":[],\"scheduler_settings\":"
      "{\"scheduler_type\":\"kai\",\"scheduler_name\":\"kai-scheduler\",\"scheduler_timeout\":45}" },
    { "GET", EAST, NULL, 200, "\"router_address\":\"wss://r.example\"" },
    { "POST", EAST, SET("\"scheduler_settings\":{\"scheduler_name\":\"other\",\"scheduler_type\":null},\"description\":null"), 200,
        "null" },
    { "GET", EAST, NULL, 200, "{\"scheduler_type\":\"kai\",\"scheduler_name\":\"other\",\"scheduler_timeout\":45}" },
    { "GET", EAST, NULL, 200, "\"description\":\"the east\"" },
    /* what an editor sends back with it, and members that nobody knows */
    { "POST", EAST, SET("\"name\":\"x\",\"online\":false,\"version\":\"9\",\"last_heartbeat\":null,\"created_date\":\"2020-01-01\","
        "\"k\":1"),
      200, "null" },
    { "GET", EAST, NULL, 200, "{\"name\":\"east\",\"description\":\"the east\",\"version\":\"6.4.0\"" },
    { "POST", EAST, SET("\"offline\":{\"action\":\"fail\",\"after\":\"5m\"},\"job_timeout\":\"20m\""), 200, NULL },
    { "GET", EAST, NULL, 200, "\"offline\":{\"action\":\"fail\",\"after\":\"5m\"},\"job_timeout\":\"20m\"" },
    /* rules */
    { "POST", EAST, RULES("\"^Ready$\":\"True\",\"Gpu.*\":\"False|Unknown\""), 200, "null" },
    { "GET", EAST, NULL, 200, "\"rules\":{\"^Ready$\":\"True\",\"Gpu.*\":\"False|Unknown\"},\"prefix\":\"osmo.nvidia.com/\"" },
    { "POST", EAST, RULES("\"Re[ady\":\"True\""), 400, "the condition type is no regular expression" },
    { "POST", EAST, RULES("\"Gpu\":\"Tr(ue\""), 400, "the status is no regular expression" },
    { "POST", EAST, RULES("\"Ready\":\"True|False\""), 400, "only exactly \\\"True\\\" may be allowed, not \\\"True|False\\\"" },
    { "POST", EAST, RULES("\".*\":\"True|False\""), 400, "covers the condition Ready" },
    { "POST", EAST, RULES("\"Rea\":\"Unknown\""), 400, "covers the condition Ready" }, /* patterns hold at the start only */
    { "POST", EAST, RULES("\".*\":\"True\",\"NotReady\":\"False\""), 200, NULL },
    { "POST", EAST, RULES("\"Gpu\":true"), 400, "must be a pattern" },
    { "POST", EAST, SET("\"node_conditions\":{\"rules\":[]}"), 400, "backends.east.node_conditions.rules" },
    { "POST", EAST, SET("\"node_conditions\":7"), 400, "node_conditions must be an object" },
    { "GET", EAST, NULL, 200, "\"rules\":{\".*\":\"True\",\"NotReady\":\"False\"}" }, /* none of those that were refused */
    { "POST", EAST, SET("\"node_conditions\":{\"prefix\":\"x/\"}"), 200, NULL },
    { "GET", EAST, NULL, 200, "\"rules\":{\".*\":\"True\",\"NotReady\":\"False\"},\"prefix\":\"x/\"" },
    { "POST", EAST, SET("\"node_conditions\":{\"rules\":null}"), 200, NULL },
    { "GET", EAST, NULL, 200, "\"rules\":{\"Ready\":\"True\"}" },
    /* what cannot be */
    { "POST", EAST, SET("\"description\":5"), 400, "backends.east.description" },
    { "POST", EAST, SET("\"k8s_uid\":5"), 400, "k8s_uid must be text" },
    { "POST", EAST, SET("\"tests\":\"gpu\""), 400, "backends.east.tests" },
    { "POST", EAST, SET("\"tests\":[\"gone\"]"), 400, "refers to 'gone', which is no backend test" },
    { "POST", EAST, SET("\"scheduler_settings\":[]"), 400, "scheduler_settings must be an object" },
    { "POST", EAST, "{\"configs\":[]}", 422, "configs" },
    { "POST", EAST, "{}", 422, "configs" },
    { "POST", EAST, "{\"configs\":{},\"tags\":7}", 422, "tags" },
    { "POST", BACKEND "/no", SET("\"description\":\"x\""), 400, "Backend no does not exist" },
    { "PUT", EAST, SET(""), 405, NULL },
    { "DELETE", BACKEND "/no", "{}", 400, "Backend no does not exist" },
    { "DELETE", EAST, "{\"force\":\"yes\"}", 422, "force" },
    /* the built-in one is not there until its operator is, and is configured before that */
    { "GET", BACKEND "/default", NULL, 404, NULL },
    { "POST", BACKEND "/default", SET("\"description\":\"mine\""), 200, NULL },
    { "GET", BACKEND "/default", NULL, 200, "\"k8s_uid\":\"\",\"k8s_namespace\":\"\",\"last_heartbeat\":null,\"created_date\":null,"
      "\"online\":false" },
    { "GET", BACKEND, NULL, 200, "[{\"name\":\"default\"" },
    { "DELETE", BACKEND "/default", NULL, 200, "null" },
    { "GET", BACKEND "/default", NULL, 404, NULL },
};

static void backends(struct fixture *f) {
    static const struct step kept[] = { { "GET", EAST, NULL, 200, "\"description\":\"the east\"" },
                                        { "GET", BACKEND "/default", NULL, 404, NULL },
                                        { "DELETE", EAST, NULL, 200, "null" },
                                        { "GET", BACKEND, NULL, 200, "{\"backends\":[]}" } };
    visit(f, "east", 1, "u1");
    run_steps(f, backend_steps, ARRAY_SIZE(backend_steps));
    REQUIRE(fixture_reopen(f));
    run_steps(f, kept, ARRAY_SIZE(kept));
}
static void test_backends(void) { on_both(backends); }

/* ---- tests ---- */

#define GPU "\"description\":\"d\",\"cron_schedule\":\"0 3 * * *\",\"node_conditions\":[\"Gpu\",\"a.example/Net\",\"Gpu\"]," \
            "\"common_pod_template\":[\"default_ctrl\"]"
#define WITH(members) "{\"configs\":{" GPU "," members "}}"

static const struct step test_steps[] = {
    { "GET", TEST, NULL, 200, "{}" },
    { "GET", TEST "/gpu", NULL, 400, "Test gpu does not exist" },
    { "PUT", TEST "/gpu", "{\"configs\":{" GPU "}}", 200, "null" },
    { "GET", TEST "/gpu", NULL, 200, "\"name\":\"gpu\",\"description\":\"d\",\"cron_schedule\":\"0 3 * * *\",\"test_timeout\":\"300s\","
      "\"node_conditions\":[\"Gpu\",\"a.example/Net\"],\"common_pod_template\":[\"default_ctrl\"]" },
    { "GET", TEST "/gpu", NULL, 200, "\"parsed_pod_template\":{\"spec\":{\"containers\":[{\"name\":\"osmo-ctrl\"" },
    { "GET", TEST, NULL, 200, "{\"gpu\":{" },
    { "PATCH", TEST "/gpu", "{\"configs_dict\":{\"test_timeout\":\"1h30m\",\"common_pod_template\":[\"default_ctrl\","
        "\"default_user\"]}}", 200,
      "\"test_timeout\":\"1h30m\"" },
    { "GET", TEST "/gpu", NULL, 200, "{{USER_CONTAINER_NAME}}" },
    { "PATCH", TEST "/no", "{\"configs_dict\":{}}", 400, "Test no does not exist" },
    { "PUT", TEST, "{\"configs\":{\"a\":{" GPU ",\"name\":\"a\",\"parsed_pod_template\":{\"spec\":{}}},\"b\":{" GPU "}}}", 200, "null" },
    { "GET", TEST "/a", NULL, 200, "\"containers\"" }, /* what was sent of it counts for nothing */
    { "GET", TEST, NULL, 200, "\"gpu\"" },
    { "PUT", TEST "/a", WITH("\"name\":\"z\""), 400, "must be the same" },
    /* what cannot be */
    { "PUT", TEST "/Big", "{\"configs\":{" GPU "}}", 400, "'Big' is no name for a test" },
    { "PUT", TEST "/a_b", "{\"configs\":{" GPU "}}", 400, "no name for a test" },
    { "PUT", TEST "/-a", "{\"configs\":{" GPU "}}", 400, "no name for a test" },
    { "PUT", TEST "/a..b", "{\"configs\":{" GPU "}}", 400, "no name for a test" },
    { "PUT", TEST "/a", "{\"configs\":{}}", 400, "backend_tests.a.description" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"* * * *\""), 400, "must have five fields" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"60 * * * *\""), 400, "the minute '60'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"0 24 * * *\""), 400, "the hour '24'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"0 0 0 * *\""), 400, "the day of month '0'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"0 0 1 13 *\""), 400, "the month '13'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"0 0 1 1 8\""), 400, "the day of week '8'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"*/0 * * * *\""), 400, "the minute '*/0'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"0 0 * * MON\""), 400, "the day of week 'MON'" },
    { "PUT", TEST "/a", WITH("\"cron_schedule\":\"*/15 0-6,12 ? 1/2 1#2\""), 200, NULL },
    { "PUT", TEST "/a", WITH("\"test_timeout\":\"29s\""), 400, "at least 30s" },
    { "PUT", TEST "/a", WITH("\"test_timeout\":\"24h1s\""), 400, "at most 24h" },
    { "PUT", TEST "/a", WITH("\"test_timeout\":\"5\""), 400, "is no duration" },
    { "PUT", TEST "/a", WITH("\"test_timeout\":\"1d\""), 200, NULL },
    { "PUT", TEST "/a", WITH("\"node_conditions\":[]"), 400, "at least one node condition" },
    { "PUT", TEST "/a", WITH("\"node_conditions\":[\"a/b/c\"]"), 400, "'a/b/c' is no node condition" },
    { "PUT", TEST "/a", WITH("\"node_conditions\":[\"/c\"]"), 400, "is no node condition" },
    { "PUT", TEST "/a", WITH("\"common_pod_template\":[]"), 400, "at least one pod template" },
    { "PUT", TEST "/a", WITH("\"common_pod_template\":[\"gone\"]"), 400, "refers to 'gone', which is not defined" },
    { "PUT", TEST, "{\"configs\":{\"c\":{" GPU "},\"d\":{}}}", 400, "backend_tests.d" },
    { "GET", TEST "/c", NULL, 400, NULL }, /* one bad, none written */
    { "PUT", TEST "/a", "{\"configs\":[]}", 422, "configs" },
    { "PATCH", TEST "/a", "{\"configs\":{}}", 422, "configs_dict" },
    { "POST", TEST "/a", "{}", 405, NULL },
    /* in use */
    { "POST", EAST, SET("\"tests\":[\"gpu\",\"a\"]"), 200, NULL },
    { "GET", EAST, NULL, 200, "\"tests\":[\"gpu\",\"a\"]" },
    { "POST", EAST, SET("\"tests\":[\"gpu\",\"gpu\"]"), 400, "names 'gpu' twice" },
    { "DELETE", TEST "/gpu", "{}", 400, "Test gpu is run by backend east" },
    { "POST", EAST, SET("\"tests\":[\"a\"]"), 200, NULL },
    { "DELETE", TEST "/gpu", "{}", 200, "null" },
    { "DELETE", TEST "/gpu", NULL, 200, "null" },
    { "GET", TEST, NULL, 200, "!gpu" },
};

static void tests_of_nodes(struct fixture *f) {
    static const struct step kept[] = { { "GET", TEST "/a", NULL, 200, "\"test_timeout\":\"1d\"" },
                                        { "GET", EAST, NULL, 200, "\"tests\":[\"a\"]" } };
    visit(f, "east", 1, "u1");
    run_steps(f, test_steps, ARRAY_SIZE(test_steps));
    REQUIRE(fixture_reopen(f));
    run_steps(f, kept, ARRAY_SIZE(kept));
}
static void test_tests(void) { on_both(tests_of_nodes); }

/* ---- what those that are connected learn ---- */

/* At once and once; of others nothing. */
static void rules_are_told(struct fixture *f) {
    static const struct step first[] = { { "POST", EAST, RULES("\"Gpu\":\"False\""), 200, NULL } };
    static const struct step same[] = { { "POST", EAST, SET("\"description\":\"x\""), 200, NULL },
                                        { "POST", EAST, RULES("\"Gpu\":\"True\""), 200, NULL } };
    visit(f, "east", 1, "u1");
    agent_session_t *east = operator_as(f, "east", AGENT_CONTROL, 2, "", NULL), *west = operator_as(f, "west", AGENT_CONTROL, 3, "",
        NULL);
    CHECK(gets(f, 2, "{\"type\":\"node_conditions\",\"body\":{\"rules\":{\"Ready\":\"True\"}},\"uuid\":\"", 1));
    CHECK(gets(f, 3, "{\"Ready\":\"True\"}", 1));
    run_steps(f, first, ARRAY_SIZE(first));
    CHECK(gets(f, 2, "{\"rules\":{\"Gpu\":\"False\"}}", 1));
    run_steps(f, same, ARRAY_SIZE(same));
    CHECK(gets(f, 2, "{\"rules\":{\"Gpu\":\"True\"}}", 1));
    pthread_mutex_lock(&f->lock);
    size_t n[4] = { 0 };
    for (size_t i = 0; i < f->nsent; i++)
        n[f->sent[i].conn % 4]++;
    pthread_mutex_unlock(&f->lock);
    CHECK_INT(n[2], 3);
    CHECK_INT(n[3], 1);
    agent_closed(east);
    agent_closed(west);
}
static void test_rules(void) { on_both(rules_are_told); }

static void status_is_shown(struct fixture *f) {
    static const struct step shown[] = { { "GET", EAST, NULL, 200, "\"status\":\"no KAI: gangs are admitted by ourselves\"" } };
    static const struct step cut[] = { { "GET", EAST, NULL, 200, "\"status\":\"two  lines\"" } };
    static const struct step gone[] = { { "GET", EAST, NULL, 200, "\"status\":\"\"" } };
    agent_session_t *s = operator_as(f, "east", AGENT_HEARTBEAT, 1, "status", "u1");
    say(s, 101, "heartbeat", "{\"time\":\"2025-01-01T00:00:00\",\"status\":\"no KAI: gangs are admitted by ourselves\"}");
    CHECK(acked(f, 1, 101));
    run_steps(f, shown, ARRAY_SIZE(shown));
    say(s, 102, "heartbeat", "{\"time\":\"2025-01-01T00:00:01\",\"status\":\"two\\n\\u0007lines\"}"); /* written at once: it is another */
    CHECK(acked(f, 1, 102));
    run_steps(f, cut, ARRAY_SIZE(cut));
    agent_closed(s);
    s = operator_as(f, "east", AGENT_HEARTBEAT, 2, "", "u1"); /* an operator that does not know of it */
    say(s, 103, "heartbeat", "{\"time\":\"2025-01-01T00:00:00\",\"status\":\"not agreed on\"}");
    CHECK(acked(f, 2, 103));
    run_steps(f, gone, ARRAY_SIZE(gone));
    agent_closed(s);
}
static void test_status(void) { on_both(status_is_shown); }

/* The name goes to another cluster: the present one's sessions end, and it is refused. */
static void another_cluster(struct fixture *f) {
    static const struct step move[] = { { "POST", EAST, SET("\"k8s_uid\":\"u2\""), 200, "null" },
                                        { "GET", EAST, NULL, 200, "\"k8s_uid\":\"u2\"" } };
    agent_session_t *pod = operator_as(f, "east", AGENT_POD, 1, "", "u1"), *control = operator_as(f, "east", AGENT_CONTROL, 2, "", NULL);
    say(pod, 101, "heartbeat", "{\"time\":\"2025-01-01T00:00:00\"}");
    CHECK(acked(f, 1, 101));
    run_steps(f, move, ARRAY_SIZE(move));
    CHECK(is_closed(f, 1, 4000, "belongs to another cluster"));
    agent_closed(pod);
    agent_closed(control);
    pod = operator_as(f, "east", AGENT_POD, 3, "", "u1");
    CHECK(is_closed(f, 3, 4000, "backend east belongs to another cluster"));
    agent_closed(pod);
    visit(f, "east", 4, "u2");
}
static void test_cluster(void) { on_both(another_cluster); }

/* ---- deletion ---- */

static void everything_goes(struct fixture *f) {
    static const struct step idle[] = {
        { "POST", EAST, SET("\"description\":\"gone with it\""), 200, NULL },
        { "DELETE", EAST, "{\"description\":\"why\"}", 200, "null" },
        { "GET", BACKEND, NULL, 200, "!east" },
        { "GET", EAST, NULL, 404, NULL },
        { "POST", EAST, SET("\"description\":\"x\""), 400, "does not exist" },
    };
    agent_session_t *node = operator_as(f, "east", AGENT_NODE, 1, "", "u1"), *control = operator_as(f, "east", AGENT_CONTROL, 2, "",
        NULL);
    agent_session_t *other = operator_as(f, "west", AGENT_NODE, 3, "", "u9");
    say(node, 101, "resource", "{\"hostname\":\"n1\",\"available\":true,\"conditions\":[],\"processed_fields\":{},"
        "\"allocatable_fields\":{},"
                               "\"label_fields\":{},\"taints\":[]}");
    say(other, 101, "resource", "{\"hostname\":\"n1\",\"available\":true}");
    CHECK(acked(f, 1, 101) && acked(f, 3, 101));
    CHECK_INT(number(f, "SELECT COUNT(*) FROM nodes"), 2);
    static const struct step leave[] = { { "DELETE", BACKEND "/west", "{}", 200, NULL } };
    run_steps(f, idle, ARRAY_SIZE(idle));
    CHECK(is_closed(f, 1, 4000, "deleted"));
    CHECK(is_closed(f, 2, 4000, "deleted"));
    CHECK_INT(number(f, "SELECT COUNT(*) FROM nodes"), 1);
    CHECK_INT(number(f, "SELECT COUNT(*) FROM work WHERE backend = 'east'"), 0);
    CHECK_INT(number(f, "SELECT COUNT(*) FROM kv WHERE name = 'queues/east'"), 0);
    CHECK_INT(number(f, "SELECT COUNT(*) FROM config_objects WHERE name = 'east'"), 0);
    agent_closed(node);
    agent_closed(control);
    visit(f, "east", 5, "another"); /* the same name, as if it had never been there */
    static const struct step again[] = { { "GET", EAST, NULL, 200, "\"description\":\"\"" },
                                         { "GET", EAST, NULL, 200, "\"k8s_uid\":\"another\"" } };
    run_steps(f, again, ARRAY_SIZE(again));
    run_steps(f, leave, ARRAY_SIZE(leave));
    CHECK(is_closed(f, 3, 4000, "deleted"));
    agent_closed(other);
}
static void test_delete(void) { on_both(everything_goes); }

/* ---- a configuration from a file ---- */

static void test_file(void) {
    static const char text[] =
        "backends:\n  east: {description: filed, tests: [gpu], node_conditions: {rules: {Gpu: 'False'}}}\n  never: {}\n"
        "backend_tests:\n  gpu: {description: d, cron_schedule: '0 3 * * *', node_conditions: [Gpu], common_pod_template: [t]}\n"
        "pod_templates:\n  t: {spec: {hostNetwork: true}}\n";
    static const struct step steps[] = {
        { "GET", BACKEND, NULL, 200, "{\"name\":\"never\"" }, /* known, and not online because nobody was there */
        { "GET", BACKEND "/never", NULL, 200, "\"last_heartbeat\":null,\"created_date\":null,\"online\":false" },
        { "GET", TEST "/gpu", NULL, 200, "\"parsed_pod_template\":{\"spec\":{\"hostNetwork\":true}}" },
        { "GET", EAST, NULL, 200, "\"description\":\"filed\"" },
        { "GET", EAST, NULL, 200, "\"tests\":[\"gpu\"]" },
        { "GET", BACKEND "/unlisted", NULL, 200, "\"online\":true" }, /* in the file or not: its operator may serve */
        { "POST", EAST, SET("\"description\":\"x\""), 409, "comes from a file" },
        { "POST", EAST, "nonsense", 409, NULL },
        { "DELETE", EAST, "{}", 409, "comes from a file" },
        { "PUT", TEST, "{\"configs\":{}}", 409, NULL },
        { "PUT", TEST "/gpu", "{\"configs\":{}}", 409, NULL },
        { "PATCH", TEST "/gpu", "{\"configs_dict\":{}}", 409, NULL },
        { "DELETE", TEST "/gpu", NULL, 409, NULL },
    };
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    on_pgsql = false;
    REQUIRE(open_service(&f));
    _cleanup_free_ char *path = str_printf("%s/osmo.yaml", f.dir);
    CHECK_OK(file_write_atomic(path, text, sizeof text - 1, 0600, false, &err), &err);
    f.options.config_file = path;
    REQUIRE(fixture_reopen(&f));
    visit(&f, "east", 1, "u1");
    visit(&f, "unlisted", 2, "u2");
    run_steps(&f, steps, ARRAY_SIZE(steps));
    agent_session_t *control = operator_as(&f, "east", AGENT_CONTROL, 7, "", NULL);
    CHECK(gets(&f, 7, "{\"Gpu\":\"False\"}", 1));
    static const char changed[] = "backends:\n  east: {node_conditions: {rules: {Gpu: 'True'}}}\n";
    CHECK_OK(file_write_atomic(path, changed, sizeof changed - 1, 0600, false, &err), &err);
    CHECK(gets(&f, 7, "{\"Gpu\":\"True\"}", 1)); /* a file that changes is told too */
    agent_closed(control);
    close_service(&f);
}

static const struct check_test tests[] = {
    { "backends", test_backends },
    { "tests of nodes", test_tests },
    { "rules are told at once", test_rules },
    { "what operators say of themselves", test_status },
    { "a name goes to another cluster", test_cluster },
    { "everything goes", test_delete },
    { "a file is changed elsewhere", test_file },
};
TEST_MAIN("api_backends", tests)
