/* What a submission is refused for, over HTTP: the fields of tasks, resources and platforms. Rows 68 to 113 of the table
 * of invalid inputs; the others are in test_invalid.c. */
#include "invalid_fixture.h"

#include "base/cleanup.h"

#define CHECK_ONLY .query = "validation_only=true"
#define PATH "workflow.tasks.0."
#define ONE_TASK(fields) WORKFLOW("  tasks: [{" fields "}]\n")
/* A field of the task that the schema refuses: kept under the name of the workflow. */
#define FIELD(row, lines, names, ...) BAD(row, IN_TASK("    " lines "\n"), "USAGE", "w", REC, names, __VA_ARGS__)
#define GOOD(row, text, ...) BAD(row, text, NULL, NULL, NOT, NULL, CHECK_ONLY, __VA_ARGS__)

/* ---- rows 68 to 94: fields of tasks ---- */

static const struct invalid fields[] = {
    BAD(68, ONE_TASK("name: t, command: [a]"), "USAGE", "w", REC, PATH "image"),
    BAD(68, ONE_TASK("name: t, image: u"), "USAGE", "w", REC, PATH "command"),
    BAD(68, ONE_TASK("image: u, command: [a]"), "USAGE", "w", REC, PATH "name"),
    BAD(68, ONE_TASK("name: t"), "USAGE", "w", REC, PATH "image"),
    BAD(68, ONE_TASK("name: t"), "USAGE", "w", REC, PATH "command"), /* both are told */
    FIELD(69, "command: echo", PATH "command"),
    FIELD(69, "command: []", PATH "command"),
    FIELD(69, "command: [[a]]", PATH "command.0"),
    FIELD(70, "args: text", PATH "args"),
    FIELD(70, "args: [a, true]", PATH "args.1"),
    FIELD(70, "args: [null]", PATH "args.0"),
    FIELD(71, "name: osmo-ctrl", "osmo-ctrl"),
    FIELD(71, "name: OSMO_CTRL", "OSMO_CTRL"),
    FIELD(71, "name: 1a", "1a"),
    FIELD(72, "env: {A: b}", "env"),
    FIELD(72, "kpi: [{index: 1, path: a}]", "kpi"),
    FIELD(72, "priority: HIGH", "priority"),
    FIELD(73, "args:", PATH "args"),
    FIELD(73, "environment:", PATH "environment"),
    FIELD(73, "files:", PATH "files"),
    FIELD(73, "inputs:", PATH "inputs"),
    FIELD(73, "outputs:", PATH "outputs"),
    FIELD(73, "kpis:", PATH "kpis"),
    FIELD(73, "credentials:", PATH "credentials"),
    FIELD(73, "resource:", PATH "resource"),
    FIELD(73, "lead:", PATH "lead"),
    FIELD(73, "volumeMounts:", PATH "volumeMounts"),
    FIELD(73, "privileged:", PATH "privileged"),
    FIELD(73, "hostNetwork:", PATH "hostNetwork"),
    FIELD(73, "exitActions:", PATH "exitActions"),
    FIELD(73, "checkpoint:", PATH "checkpoint"),
    FIELD(73, "image:", PATH "image"),
    GOOD(73, IN_TASK("    downloadType:\n    cacheSize:\n")), /* these two may be null */
    FIELD(74, "files: [{path: /a}]", PATH "files.0.contents"),
    FIELD(74, "files: [{path: /a, localpath: b}]", "localpath"),
    FIELD(75, "files: [{path: /, contents: a}]", PATH "files.0.path"),
    FIELD(75, "files: [{path: /osmo/x, contents: a}]", "/osmo/x"),
    FIELD(75, "files: [{path: osmo/x, contents: a}]", "osmo/x"),
    GOOD(75, IN_TASK("    files: [{path: /osmo/data/output/x, contents: ''}]\n")),
    FIELD(76, "files: [{path: /a, contents: a}, {path: /a, contents: b}]", "/a"),
    FIELD(77, "files: [{path: /a, contents: {b: c}}]", PATH "files.0.contents"),
    GOOD(78, IN_TASK("    files: [{path: /a, contents: '%%%', base64: true}]\n")),
    FIELD(79, "environment: {A: }", PATH "environment.A"),
    FIELD(79, "environment: {A: [b]}", PATH "environment.A"),
    FIELD(79, "environment: {A: 2024-01-02}", PATH "environment.A"),
    FIELD(79, "environment: [A]", PATH "environment"),
    FIELD(80, "exitActions: {RESTART: 1}", "RESTART"),
    FIELD(80, "exitActions: {FAIL: a}", PATH "exitActions.FAIL"),
    FIELD(80, "exitActions: {FAIL: -1}", PATH "exitActions.FAIL"),
    FIELD(80, "exitActions: {FAIL: 1.5}", PATH "exitActions.FAIL"),
    FIELD(80, "exitActions: {FAIL: '0, 1'}", PATH "exitActions.FAIL"),
    FIELD(80, "exitActions: {FAIL: [1]}", PATH "exitActions.FAIL"),
    FIELD(81, "downloadType: mountpoint-s3", PATH "downloadType"),
    FIELD(81, "downloadType: 1", PATH "downloadType"),
    BAD(82, IN_TASK("    cacheSize: 120%\n"), "RESOURCE", NULL, REC, "120%"),
    BAD(82, IN_TASK("    cacheSize: abc%\n"), "RESOURCE", NULL, REC, "abc%"),
    BAD(82, IN_TASK("    cacheSize: foo\n"), "RESOURCE", NULL, REC, "foo"),
    FIELD(83, "checkpoint: [{path: /a, url: 's3://b/c'}]", PATH "checkpoint.0.frequency"),
    FIELD(83, "checkpoint: [{path: /a, url: 's3://b/c', frequency: true}]", PATH "checkpoint.0.frequency"),
    FIELD(83, "checkpoint: [{path: /a, url: 's3://b/c', frequency: 1h30m}]", "1h30m"),
    FIELD(83, "checkpoint: [{path: /a, url: 'http://b/c', frequency: 5m}]", "http://b/c"),
    FIELD(83, "checkpoint: {path: /a}", PATH "checkpoint"),
    FIELD(85, "kpis: [{path: a}]", PATH "kpis.0.index"),
    FIELD(86, "inputs: [{task: x, url: 's3://b/c'}]", PATH "inputs.0"),
    FIELD(86, "inputs: [{regex: x}]", PATH "inputs.0"),
    FIELD(86, "inputs: [x]", PATH "inputs.0"),
    FIELD(86, "inputs: [{dataset: {name: x}}]", "dataset"),
    FIELD(86, "inputs: [{task: 1x}]", "1x"),
    FIELD(86, "inputs: [{url: 's3://b/c', regex: '('}]", PATH "inputs.0.regex"),
    FIELD(87, "outputs: [{task: x}]", PATH "outputs.0"),
    BAD(88, IN_TASK("    inputs: [{url: 'http://b/c'}]\n"), "USAGE", NULL, REC, "http://b/c"),
    BAD(88, IN_TASK("    outputs: [{url: 's3://'}]\n"), "USAGE", NULL, REC, "s3://"),
    BAD(88, IN_TASK("    outputs: [{url: 'azure://a'}]\n"), "USAGE", NULL, REC, "azure://a"),
    BAD(88, IN_TASK("    outputs: [{url: 's3://b//c'}]\n"), "USAGE", NULL, REC, "s3://b//c"),
    BAD(88, IN_TASK("    outputs: [{url: 's3://b,c'}]\n"), "USAGE", NULL, REC, "s3://b,c"),
    BAD(89, IN_TASK("    inputs: [{url: 'gs://b/c'}]\n"), "CREDENTIAL", NULL, REC, "gs://b"),
    BAD(89, IN_TASK("    outputs: [{url: 'tos://e/b/c'}]\n"), "CREDENTIAL", NULL, REC, "tos://e/b"),
    BAD(89, IN_TASK("    outputs: [{url: 'swift://h/a/c/d'}]\n"), "CREDENTIAL", NULL, REC, "swift://h/a"),
    GOOD(89, IN_TASK("    inputs: [{url: 's3://b/c'}]\n    outputs: [{url: 'azure://a/c/d'}]\n")),
    FIELD(90, "credentials: text", PATH "credentials"),
    FIELD(90, "credentials: [a]", PATH "credentials"),
    FIELD(90, "credentials: {hf: }", PATH "credentials.hf"),
    FIELD(90, "credentials: {hf: [a]}", PATH "credentials.hf"),
    FIELD(90, "credentials: {hf: {A: }}", PATH "credentials.hf.A"),
    BAD(91, IN_TASK("    credentials: {hf: /x}\n"), "CREDENTIAL", NULL, REC, "hf"),
    BAD(91, IN_TASK("    credentials: {hf: {TOKEN: token}}\n"), "CREDENTIAL", NULL, REC, "hf"),
    FIELD(92, "lead: 2", PATH "lead"),
    BAD(93, IN_TASK("    image: Ubuntu\n"), "USAGE", NULL, REC, "Ubuntu"),
    BAD(93, IN_TASK("    image: 'a b'\n"), "USAGE", NULL, REC, "a b"),
};

static void field_rows(void) {
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, fields, ARRAY_SIZE(fields));
    fixture_close(&f);
}

/* Row 89: a site may leave a scheme unchecked. */
static void unchecked_scheme(void) {
    static const char config[] = "workflow: {credential_config: {disable_data_validation: [gs]}}\n";
    static const struct invalid rows[] = {
        GOOD(89, IN_TASK("    inputs: [{url: 'gs://b/c'}]\n")),
        BAD(89, IN_TASK("    inputs: [{url: 'tos://e/b/c'}]\n"), "CREDENTIAL", NULL, REC, "tos://e/b"),
    };
    struct fixture f;
    REQUIRE(invalid_open(&f, config));
    invalid_run(&f, rows, ARRAY_SIZE(rows));
    fixture_close(&f);
}

/* Row 84: a negative frequency never comes, so it is refused where upstream falls over it later. */
static void checkpoint_frequency(void) {
    static const struct invalid rows[] = {
        FIELD(84, "checkpoint: [{path: /a, url: 's3://b/c', frequency: -5}]", PATH "checkpoint.0.frequency"),
    };
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, rows, ARRAY_SIZE(rows));
    fixture_close(&f);
}

/* ---- rows 95 to 113: resources and platforms ---- */

#define FIELD_OF_RESOURCE(row, members, names) BAD(row, RESOURCE(members), "USAGE", "w", REC, names)
#define BAD_SIZE(members, names) BAD(96, RESOURCE(members), "RESOURCE", NULL, NOT, names)
#define TOPOLOGY(items) RESOURCE("topology: [" items "]")

static const struct invalid resources[] = {
    FIELD_OF_RESOURCE(95, "colour: red", "colour"),
    FIELD_OF_RESOURCE(95, "cpu: 0.5", "workflow.resources.default.cpu"),
    FIELD_OF_RESOURCE(95, "cpu: 500m", "workflow.resources.default.cpu"),
    FIELD_OF_RESOURCE(95, "nodesExcluded: a", "workflow.resources.default.nodesExcluded"),
    BAD_SIZE("memory: 10GB", "10GB"),
    BAD_SIZE("memory: abc", "abc"),
    BAD_SIZE("memory: 1Pi", "1Pi"),
    BAD_SIZE("storage: 1e3", "1e3"),
    BAD_SIZE("storage: 10 Gi", "10 Gi"),
    BAD_SIZE("memory: -1Gi", "-1Gi"),
    BAD_SIZE("memory: ''", "memory"),
    BAD(97, IN_TASK("    resource: big\n"), "RESOURCE", NULL, NOT, "big"),
    BAD(97, IN_WORKFLOW("  resources: {big: {cpu: 1}}\n"), "RESOURCE", NULL, NOT, "default"),
    BAD(98, IN_TASK(""), "RESOURCE", NULL, NOT, "homeless", .pool = "homeless"),
    BAD(99, RESOURCE("platform: moon"), "RESOURCE", NULL, REC, "moon"),
    GOOD(100, RESOURCE("cpu: 500")), /* no node is known: it waits */
    BAD(102, RESOURCE("memory: 0"), "USER", NULL, REC, "memory"),
    BAD(102, RESOURCE("storage: 0Gi"), "USER", NULL, REC, "storage"),
    BAD(103, RESOURCE("cpu: -1"), "USAGE", "w", REC, "workflow.resources.default.cpu"),
    GOOD(104, RESOURCE("cpu: 0, gpu: -1")),
    GOOD(104, RESOURCE("cpu: true, gpu: 100")),
    GOOD(104, RESOURCE("cpu: '2'")),
    GOOD(104, RESOURCE("cpu: 2.0")),
    BAD(105, IN_TASK(""), "USAGE", NULL, REC, "USER_CPU", .pool = "unset"),
    BAD(106, IN_TASK(""), "USAGE", NULL, REC, "NO_SUCH", .pool = "odd"),
    BAD(107, IN_TASK("    privileged: true\n"), "RESOURCE", NULL, REC, "privileged"),
    BAD(107, IN_TASK("    hostNetwork: true\n"), "RESOURCE", NULL, REC, "hostNetwork"),
    GOOD(107, IN_TASK("    privileged: true\n  resources: {default: {platform: gpu}}\n")),
    BAD(108, IN_TASK("    volumeMounts: [/etc]\n"), "RESOURCE", NULL, REC, "/etc"),
    BAD(108, IN_TASK("    volumeMounts: ['a:b:c']\n"), "RESOURCE", NULL, REC, "a:b:c"),
    BAD(108, IN_TASK("    volumeMounts: ['/opt:']\n"), "RESOURCE", NULL, REC, "/opt:"),
    GOOD(108, IN_TASK("    volumeMounts: ['/opt:/x']\n  resources: {default: {platform: gpu}}\n")),
    BAD(109, TOPOLOGY("{}"), "USAGE", "w", REC, "topology.0.key"),
    BAD(109, TOPOLOGY("{key: rack, requirementType: maybe}"), "USAGE", "w", REC, "requirementType"),
    BAD(110, TOPOLOGY("{key: moon}"), "SUBMISSION", NULL, NOT, "moon"),
    BAD(111, WORKFLOW("  resources: {default: {topology: [{key: rack}]}, other: {topology: [{key: zone}]}}\n"
                      "  tasks: [{name: a, image: u, command: [a]}, {name: b, image: u, command: [a], resource: other}]\n"),
        "RESOURCE", NULL, REC, "topology"),
    BAD(112, RESOURCE("gpu: 5"), "USAGE", "w", REC, "5 GPUs", .pool = "guarded"),
    BAD(112, RESOURCE("gpu: 5"), "USAGE", "w", REC, "5 GPUs", .pool = "guarded", .query = "priority=HIGH"),
    BAD(112, RESOURCE("gpu: 5"), NULL, NULL, NOT, NULL, .pool = "guarded",
        .query = "priority=LOW&validation_only=true"),
    GOOD(112, RESOURCE("gpu: 4"), .pool = "guarded"),
};

static void resource_rows(void) {
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, resources, ARRAY_SIZE(resources));
    fixture_close(&f);
}

static int add_node(db_t *db, void *ctx, osmo_error_t *err) { return repo_node_upsert(db, ctx, err); }

/* Row 101: the nodes are told with what they can give and why they will not do. */
static void node_rules(void) {
    static const struct invalid rows[] = {
        BAD(101, RESOURCE("cpu: 99"), "RESOURCE", "w", REC, "cpu", .pool = "sized"),
        BAD(101, RESOURCE("memory: 900Gi"), "RESOURCE", "w", REC, "memory", .pool = "sized"),
        BAD(101, RESOURCE("storage: 9000Gi"), "RESOURCE", "w", REC, "storage", .pool = "sized"),
        BAD(101, RESOURCE("cpu: 99"), "RESOURCE", "w", REC, "node-small", .pool = "sized"),
        BAD(101, RESOURCE("cpu: 99"), "RESOURCE", "w", REC, "node-big", .pool = "sized"),
        /* what comes after the nodes is not looked at, what comes before is said instead */
        BAD(101, IN_TASK("    cacheSize: foo\n    image: Ubuntu\n  resources: {default: {cpu: 99}}\n"), "RESOURCE",
            NULL,
            REC, "foo", .pool = "sized"),
        GOOD(101, RESOURCE("cpu: 9, memory: 20Gi"), .pool = "sized"),
    };
    struct node_row nodes[] = {
        { .name = (char *)"node-small", .backend = (char *)"sized", .available = true, .labels_json = (char *)"{}",
          .allocatable_json = (char *)"{\"cpu\":\"4\",\"memory\":\"8388608Ki\",\"ephemeral-storage\":\"99999999Ki\"}" },
        { .name = (char *)"node-big", .backend = (char *)"sized", .available = true, .labels_json = (char *)"{}",
          .allocatable_json =
              (char *)"{\"cpu\":\"16\",\"memory\":\"33554432Ki\",\"ephemeral-storage\":\"99999999Ki\"}" },
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        CHECK_OK(store_write(f.engine->store, NULL, add_node, &nodes[i], &err), &err);
    invalid_run(&f, rows, ARRAY_SIZE(rows));
    fixture_close(&f);
}

/* All that is wrong is told in one answer, with its line, however much it is. */
static void all_findings(void) {
    static const struct invalid long_one = BAD(
        68, TASKS("{% for i in range(19) %}  - {name: t{{i}}, image: u, command: [a], first{{i}}: 1, second{{i}}: 2}\n{% endfor %}"),
        "USAGE", "w", REC, "38 errors");
    static const char *const parts[] = { "workflow.tasks.0.first0", "workflow.tasks.18.first18",
                                         "workflow.tasks.18.second18", "(line 22, " };
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, &long_one, 1);
    struct answer a = invalid_ask(&f, &long_one);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        CHECK_CONTAINS(json_get_str(a.json, "message"), parts[i]);
    answer_free(&a);
    fixture_close(&f);
}

/* When several things are wrong, the answer is the one upstream gives: the checks have an order. */
static void order(void) {
#define MANY_TASKS "  tasks:\n{% for i in range(21) %}  - {name: t{{i}}, image: u, command: [a]}\n{% endfor %}"
    static const struct invalid rows[] = {
        /* labels before schema, schema before environment, environment before the pool's say */
        BAD(50, "workflow:\n  name: w\n  colour: red\n  labels: {a: 1}\n", "USAGE", "w", NOT, "label",
            .query = "env_vars=X"),
        BAD(43, IN_WORKFLOW("  colour: red\n"), "USAGE", "w", REC, "colour", .query = "env_vars=X"),
        BAD(28, IN_TASK("    resource: big\n"), "USAGE", NULL, NOT, "NAME=VALUE", .query = "env_vars=X"),
        /* what the pool says before the number of tasks, that before names and earlier inputs */
        BAD(97, WORKFLOW("  resources: {big: {}}\n" MANY_TASKS), "RESOURCE", NULL, NOT, "default"),
        BAD(45, "workflow:\n  name: w2345678901234567890123456789012345678901234567890123456789012345\n" MANY_TASKS,
            "USER",
            NULL, NOT, "21 tasks"),
        BAD(65, IN_TASK("    inputs: [{task: 'ghost-1:x'}]\n  resources: {default: {gpu: 5}}\n"), "DATABASE", NULL, REC,
            "ghost-1:x", .pool = "guarded"),
        /* the guarantee before platforms, a platform before permissions, all of these before addresses */
        BAD(112, RESOURCE("gpu: 5, platform: moon"), "USAGE", "w", REC, "GPUs", .pool = "guarded"),
        BAD(99, IN_TASK("    image: Ubuntu\n    privileged: true\n  resources: {default: {platform: moon}}\n"),
            "RESOURCE",
            NULL, REC, "moon"),
        BAD(102, IN_TASK("    privileged: true\n  resources: {default: {memory: 0}}\n"), "USER", NULL, REC, "memory"),
        BAD(93, IN_TASK("    image: Ubuntu\n    credentials: {hf: /x}\n"), "USAGE", NULL, REC, "Ubuntu"),
    };
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, rows, ARRAY_SIZE(rows));
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "fields of tasks", field_rows },   { "checkpoint frequency", checkpoint_frequency },
    { "unchecked scheme", unchecked_scheme },
    { "resources", resource_rows },      { "node rules", node_rules },
    { "all findings", all_findings },    { "order of the checks", order },
};
TEST_MAIN("invalid tasks", tests)
