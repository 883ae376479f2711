/* What the scheduler of a backend is told of its pools: the objects as a table, and when the service sends them. The engine runs on
 * SQLite, and on PostgreSQL where there is one. test_queues_cluster.c has what becomes of them in a cluster. */
#include "base/file.h"
#include "engine_fixture.h"
#include "model/pods_queues.h"
#include "store/repo_explain.h"

/* ---- objects ---- */

static const char pools_yaml[] =
    "pools:\n"
    "  zebra: {backend: east, resources: {gpu: {guarantee: 8, maximum: 16, weight: 2}},\n"
    "    topology_keys: [{key: zone, label: topology.kubernetes.io/zone}, {key: rack, label: rack}]}\n"
    "  apes: {backend: east, resources: {gpu: {maximum: 4}}}\n"
    "  other: {backend: west, resources: {gpu: {guarantee: 1, maximum: 1}}}\n"
    "  plain: {backend: east}\n"
    "  nothing: {backend: east, resources: {gpu: null}, topology_keys: []}\n"
    "  half: {backend: east, resources: {gpu: {guarantee: 0, weight: 0.5}}}\n"
    "backends: {east: {}, west: {}}\n";

static struct settings *settings_of(const char *yaml) {
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(settings_parse(yaml, strlen(yaml), "f", &s, &err), &err);
    return s;
}

static json_t *objects_of(const char *yaml, const char *backend, const char *ns) {
    struct settings *s = settings_of(yaml);
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (s)
        CHECK_OK(pods_queues(s, backend, ns, &v, &err), &err);
    settings_free(s);
    return v;
}

/* "name parent quota limit weight" of a Queue, "name labels" of a Topology. */
static void object_line(const json_t *o, char *out, size_t size) {
    const json_t *spec = json_get(o, "spec"), *gpu = json_path(spec, "resources", "gpu", NULL), *levels = json_get(spec, "levels");
    const char *name = json_get_str(json_get(o, "metadata"), "name"), *parent = json_get_str(spec, "parentQueue");
    size_t n = (size_t)snprintf(out, size, "%s", name);
    if (gpu)
        snprintf(out + n, size - n, " %s %g %g %g", parent ? parent : "-", json_get_double(gpu, "quota", 99),
                 json_get_double(gpu, "limit", 99), json_get_double(gpu, "overQuotaWeight", 99));
    for (size_t i = 0; i < json_len(levels); i++)
        n += (size_t)snprintf(out + n, size - n, " %s", json_get_str(json_at(levels, i), "nodeLabel"));
}

static void objects(void) {
    static const char *const want[] = {
        "osmo-default-ns - -1 -1 1",
        "osmo-pool-ns-apes osmo-default-ns -1 4 1",
        "osmo-pool-ns-half osmo-default-ns 0 -1 0.5",
        "osmo-pool-ns-nothing osmo-default-ns -1 -1 1",
        "osmo-pool-ns-plain osmo-default-ns -1 -1 1",
        "osmo-pool-ns-zebra osmo-default-ns 8 16 2",
        "osmo-pool-ns-zebra-topology topology.kubernetes.io/zone rack",
    };
    _cleanup_json_ json_t *v = objects_of(pools_yaml, "east", "ns");
    const json_t *list = json_get(v, "k8s_resources"), *specs = json_get(v, "cleanup_specs");
    char line[200];
    CHECK_INT(json_len(list), ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        const json_t *o = json_at(list, i);
        bool topology = i + 1 == ARRAY_SIZE(want);
        object_line(o, line, sizeof line);
        CHECK_STR(line, want[i]);
        CHECK_STR(json_get_str(o, "apiVersion"), topology ? "kai.scheduler/v1alpha1" : "scheduling.run.ai/v2");
        CHECK_STR(json_get_str(o, "kind"), topology ? "Topology" : "Queue");
        CHECK_STR(json_get_str(json_path(o, "metadata", "labels", NULL), "osmo.namespace"), "ns");
        const json_t *cpu = json_path(o, "spec", "resources", "cpu", NULL), *memory = json_path(o, "spec", "resources", "memory", NULL);
        CHECK_INT(json_get_int(cpu, "quota", 9), topology ? 9 : -1); /* only GPUs are shared out */
        CHECK_INT(json_get_int(memory, "limit", 9), topology ? 9 : -1);
    }
    CHECK_INT(json_len(specs), 2);
    for (size_t i = 0; i < json_len(specs); i++) {
        const json_t *api = json_get(json_at(specs, i), "generic_api");
        CHECK_STR(json_get_str(api, "api_version"), i ? "kai.scheduler/v1alpha1" : "scheduling.run.ai/v2");
        CHECK_STR(json_get_str(api, "kind"), i ? "Topology" : "Queue");
        CHECK_STR(json_get_str(json_get(json_at(specs, i), "labels"), "osmo.namespace"), "ns");
    }
    CHECK_INT(json_len(json_get(v, "immutable_kinds")), 1);
    CHECK_STR(json_str(json_at(json_get(v, "immutable_kinds"), 0)), "Topology");
    _cleanup_json_ json_t *none = objects_of(pools_yaml, "nowhere", "ns");
    CHECK_INT(json_len(json_get(none, "k8s_resources")), 1); /* the parent; the rest is removed */
}

static void digest_of(const char *yaml, const char *uid, const char *ns, char out[65]) {
    _cleanup_json_ json_t *v = objects_of(yaml, "east", ns);
    _cleanup_free_ char *text = json_to_text(v);
    pods_queues_digest(uid, text ? text : "", out);
}

/* Equal when nothing a scheduler would see is different. */
static void digests(void) {
    static const struct { const char *yaml, *uid, *ns; bool same; } cases[] = {
        { "pools: {a: {backend: east}, b: {backend: east}}", "u", "ns", true },
        { "pools: {b: {backend: east, description: other}, a: {backend: east, enable_maintenance: true}, c: {backend: west}}", "u", "ns",
          true },
        { "pools: {a: {backend: east}}", "u", "ns", false },
        { "pools: {a: {backend: east}, b: {backend: east, resources: {gpu: {guarantee: 1}}}}", "u", "ns", false },
        { "pools: {a: {backend: east}, b: {backend: east}}", "v", "ns", false }, /* another cluster */
        { "pools: {a: {backend: east}, b: {backend: east}}", "u", "n", false },
    };
    char first[65], d[65];
    digest_of(cases[0].yaml, "u", "ns", first);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        digest_of(cases[i].yaml, cases[i].uid, cases[i].ns, d);
        if ((strcmp(d, first) == 0) != cases[i].same)
            fprintf(stderr, "case %zu\n", i);
        CHECK_INT(strcmp(d, first) == 0, cases[i].same);
    }
}

/* ---- the engine ---- */

static const char single[] = "workflow:\n  name: one\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n";

#define POOLS(guarantee) \
    "pools:\n  default: {backend: default, default_platform: default, platforms: {default: {}}, resources: {gpu: {guarantee: " #guarantee \
    "}}}\nbackends: {default: {}}\n"

static int64_t one_number(const char *sql) {
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t n = -1;
    if (db_query(reader(), sql, NULL, 0, &rows, &err) >= 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

static int64_t items(void) { return one_number("SELECT COUNT(*) FROM work WHERE kind = 'sync_queues'"); }
static bool nothing_owed(void) { return items() == 0; }
/* Also that of a group: what is not settled when the connection goes is sent again. */
static bool no_job_owed(void) {
    return items() == 0 && one_number("SELECT COUNT(*) FROM work WHERE kind IN ('create_group', 'cleanup_group')") == 0;
}
static bool given_up(void) { return one_number("SELECT COUNT(*) FROM work WHERE kind = 'sync_queues' AND dead = 1") == 1; }

/* The next job tells the backend of its pools. *guarantee: of `default`, -9 when it is not there. */
static json_t *queues_job(double *guarantee) {
    json_t *j = net_take(WORKER, 1, NULL);
    CHECK_STR(json_get_str(j, "job_type"), "BackendSynchronizeQueues");
    CHECK_STR(json_get_str(j, "super_type"), "backend");
    CHECK_STR(json_get_str(j, "backend"), "default");
    CHECK(str_starts(json_get_str(j, "job_id") ? json_get_str(j, "job_id") : "", "default-modify-queues-"));
    const json_t *list = json_get(j, "k8s_resources");
    *guarantee = -9;
    for (size_t i = 0; i < json_len(list); i++)
        if (str_eq(json_get_str(json_get(json_at(list, i), "metadata"), "name"), "osmo-pool-ns-default"))
            *guarantee = json_get_double(json_path(json_at(list, i), "spec", "resources", "gpu", NULL), "quota", -9);
    return j;
}

static void expect_queues(double guarantee, const char *status) {
    double got;
    _cleanup_json_ json_t *j = queues_job(&got);
    CHECK_INT(got, guarantee);
    if (j)
        answer(j, status);
}

static void configure(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    CHECK_OK(file_write_atomic(path, text, strlen(text), 0600, false, &err), &err);
    CHECK_OK(engine_reload(e, &err), &err); /* the file is watched too: twice is as good as once */
}

static bool begin(const char *config) {
    knows_pools = false;
    return start_with(config);
}

static void end(void) {
    stop(true);
    knows_pools = true;
}

/* Before the jobs of groups that waited already, which wait until it is confirmed; and never again. */
static void once_and_first(void) {
    REQUIRE(begin(POOLS(3)));
    REQUIRE(submit(single));
    backend_connect("jobs");
    double guarantee;
    _cleanup_json_ json_t *j = queues_job(&guarantee);
    CHECK_INT(guarantee, 3);
    REQUIRE(j != NULL);
    CHECK_INT(jobs_sent(), 1);
    CHECK_INT(items(), 1);
    answer(j, "SUCCESS");
    job("CreateGroup", "t-group", "SUCCESS");
    CHECK(until(no_job_owed));
    CHECK_INT(jobs_sent(), 2);
    for (int i = 0; i < 2; i++) {
        backend_gone();
        backend_connect(i ? "jobs" : NULL);
    }
    pod("t", "RUNNING", -1);
    pod("t", "COMPLETED", 0);
    job("CleanupGroup", "t-group", "SUCCESS"); /* the next job after all */
    CHECK(until(no_job_owed));
    CHECK_INT(jobs_sent(), 3);
    stop(false);
    REQUIRE(start_with(POOLS(3)));
    REQUIRE(submit(single));
    backend_connect("jobs");
    job("CreateGroup", "t-group", "SUCCESS");
    CHECK_INT(jobs_sent(), 1);
    end();
}

/* While it is connected, and while it is away; a change that nobody sees is none. */
static void changes_are_told(void) {
    REQUIRE(begin(POOLS(3)));
    backend_connect("jobs");
    expect_queues(3, "SUCCESS");
    CHECK(until(nothing_owed));
    configure(POOLS(4));
    expect_queues(4, "SUCCESS");
    CHECK(until(nothing_owed));
    configure("# the same\n" POOLS(4));
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    CHECK(until(no_job_owed));
    backend_gone();
    configure(POOLS(5));
    configure(POOLS(6));
    backend_connect(NULL);
    expect_queues(6, "SUCCESS");
    CHECK(until(nothing_owed));
    CHECK_INT(jobs_sent(), 4);
    stop(false);
    REQUIRE(start_with(POOLS(7))); /* while the service was down */
    backend_connect("jobs");
    expect_queues(7, "SUCCESS");
    CHECK(until(nothing_owed));
    end();
}

/* Its answer is about what was sent, not about what is wanted now. */
static void a_change_while_it_is_told(void) {
    REQUIRE(begin(POOLS(3)));
    backend_connect("jobs");
    double guarantee;
    _cleanup_json_ json_t *j = queues_job(&guarantee);
    REQUIRE(j != NULL);
    configure(POOLS(4));
    backend_gone(); /* the answer is lost, and what it has now is not known */
    backend_connect("jobs");
    expect_queues(4, "SUCCESS");
    CHECK(until(nothing_owed));
    configure(POOLS(5));
    _cleanup_json_ json_t *k = queues_job(&guarantee);
    CHECK_INT(guarantee, 5);
    REQUIRE(k != NULL);
    configure(POOLS(4)); /* what was confirmed last is what is wanted again, and not what it may have */
    answer(k, "SUCCESS");
    expect_queues(4, "SUCCESS");
    CHECK(until(nothing_owed));
    end();
}

static void failures(void) {
    REQUIRE(begin("workflow:\n  max_retry_per_job: 3\n" POOLS(3)));
    backend_connect("jobs");
    expect_queues(3, "FAILED_RETRY");
    REQUIRE(submit(single)); /* is not kept waiting for it */
    bool created = false;
    for (int i = 0; i < 2; i++) {
        _cleanup_json_ json_t *j = net_take(WORKER, 1, NULL);
        bool create = str_eq(json_get_str(j, "job_type"), "CreateGroup");
        created |= create;
        if (j)
            answer(j, create ? "SUCCESS" : "FAILED_NO_RETRY");
    }
    CHECK(created);
    CHECK(until(given_up));
    struct dead_row *dead = NULL;
    size_t n = 0;
    CHECK_INT(repo_work_dead(reader(), 0, 10, &dead, &n, NULL), 0);
    CHECK_INT(n, 1);
    if (n) {
        CHECK_STR(dead[0].kind, "sync_queues");
        CHECK_STR(dead[0].backend, "default");
        CHECK_STR(dead[0].last_error, "FAILED_NO_RETRY");
    }
    dead_rows_free(dead, n);
    backend_gone();
    backend_connect("jobs"); /* it may have been mended */
    expect_queues(3, "SUCCESS");
    CHECK(until(nothing_owed));
    end();
}

/* Another service has the operator; what this one learns from its configuration reaches it. */
static void of_another_service(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    use_pgsql = true;
    knows_pools = false;
    REQUIRE(prepare());
    if (!fixture_is_pgsql()) {
        use_pgsql = false;
        knows_pools = true;
        stop(true);
        return;
    }
    REQUIRE(start_with(POOLS(3)));
    backend_connect("jobs");
    expect_queues(3, "SUCCESS");
    CHECK(until(nothing_owed));
    engine_t *first = e, *second = start_another("second", POOLS(4), &err);
    CHECK(second != NULL);
    expect_queues(4, "SUCCESS");
    CHECK(until(nothing_owed));
    CHECK_OK(engine_reload(first, &err), &err); /* the same file by now */
    CHECK_OK(engine_reload(second, &err), &err);
    REQUIRE(submit(single));
    job("CreateGroup", "t-group", "SUCCESS");
    CHECK_INT(items(), 0);
    engine_close(second);
    end();
    use_pgsql = false;
}

static void on_pgsql(void) {
    use_pgsql = true;
    once_and_first();
    changes_are_told();
    a_change_while_it_is_told();
    failures();
    use_pgsql = false;
}

static const struct check_test tests[] = {
    { "objects", objects },
    { "digests", digests },
    { "once and first", once_and_first },
    { "changes are told", changes_are_told },
    { "a change while it is told", a_change_while_it_is_told },
    { "failures", failures },
    { "of another service", of_another_service },
    { "on PostgreSQL", on_pgsql },
};
TEST_MAIN("queues", tests)
