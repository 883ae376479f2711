/* What a submission is refused for, over HTTP: the request, the text and its template, the workflow, its groups and their
 * graph. Rows 1 to 67 of the table of invalid inputs; the others are in test_invalid_tasks.c. */
#include "invalid_fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/repo_auth.h"

#define LEN64 "x234567890123456789012345678901234567890123456789012345678901234"
#define NAMED(name) "workflow:\n  name: " name "\n  tasks: [{name: t, image: u, command: [a]}]\n"
#define CHECK_ONLY "validation_only=true"

/* ---- rows 1 to 13: the request ---- */

static void unprocessable(void) {
    static const struct { int row; const char *query, *body, *where, *field, *type; } cases[] = {
        { 1, "", "{}", "body", "file", "missing" },
        { 1, "", "{\"set_variables\": []}", "body", "file", "missing" },
        { 2, "", "{\"file\": \"x\", \"colour\": 1}", "body", "colour", "extra_forbidden" },
        { 3, "", "{\"file\": \"x\", \"set_variables\": \"a=1\"}", "body", "set_variables", "list_type" },
        { 3, "", "{\"file\": \"x\", \"set_string_variables\": [1]}", "body", "set_string_variables", "string_type" },
        { 4, "", "{\"file\": 5}", "body", "file", "string_type" },
        { 4, "", "{\"file\": null}", "body", "file", "string_type" },
        { 4, "", "{\"file\": \"x\", \"uploaded_templated_spec\": 1}", "body", "uploaded_templated_spec", "string_type" },
        { 4, "", "[]", "body", NULL, "model_attributes_type" },
        { 4, "", "{\"file\"", "body", NULL, "json_invalid" },
        { 5, "priority=URGENT", "{\"file\": \"x\"}", "query", "priority", "enum" },
        { 5, "dry_run=perhaps", "{\"file\": \"x\"}", "query", "dry_run", "bool_parsing" },
        { 5, "validation_only=2", "{\"file\": \"x\"}", "query", "validation_only", "bool_parsing" },
        { 5, "app_version=two", "{\"file\": \"x\"}", "query", "app_version", "int_parsing" },
    };
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask(&f, "POST", "/api/pool/default/workflow", cases[i].query, cases[i].body, NULL);
        const json_t *item = json_at(json_get(a.json, "detail"), 0), *loc = json_get(item, "loc");
        bool good = a.status == 422 && str_eq(json_get_str(item, "type"), cases[i].type) &&
                    str_eq(json_str(json_at(loc, 0)), cases[i].where) && json_get_str(item, "msg") &&
                    (!cases[i].field || str_eq(json_str(json_at(loc, 1)), cases[i].field));
        if (!good)
            fprintf(stderr, "row %d: %s: %d %s\n", cases[i].row, cases[i].body, a.status, a.body ? a.body : "");
        CHECK(good);
        answer_free(&a);
    }
    CHECK_INT(failed_submissions(&f), 0);
    fixture_close(&f);
}

static void check_answer(struct fixture *f, int row, struct answer *a, int status, const char *code, const char *names) {
    const char *message = json_get_str(a->json, "message");
    bool good = a->status == status && str_eq(json_get_str(a->json, "error_code"), code) && message &&
                strstr(message, names) && json_has(a->json, "workflow_id") && !json_get(a->json, "workflow_id") &&
                failed_submissions(f) == 0;
    if (!good)
        fprintf(stderr, "row %d: %d %s\n", row, a->status, a->body ? a->body : "");
    CHECK(good);
    answer_free(a);
}

static void requests(void) {
    static const char file[] = "{\"file\": \"workflow:\\n  name: w\\n\"}";
    static const struct { int row; const char *path, *query, *body, *code, *names; } cases[] = {
        { 6, "/api/pool/default/workflow", "workflow_id=w-1", file, "USAGE", "both" },
        { 7, "/api/pool/default/workflow", "", NULL, "USAGE", "neither" },
        { 7, "/api/pool/default/workflow", "", "null", "USAGE", "neither" },
        { 8, "/api/pool/default/workflow", "workflow_id=ghost-7", NULL, "DATABASE", "ghost-7" },
        { 8, "/api/pool/nowhere/workflow", "workflow_id=ghost-7", NULL, "DATABASE", "ghost-7" },
        { 9, "/api/pool/nowhere/workflow", "", file, "USER", "nowhere" },
        { 9, "/api/pool/nowhere/workflow", "dry_run=true", file, "USER", "nowhere" },
        { 12, "/api/pool/default/workflow/ghost-7/restart", "", NULL, "DATABASE", "ghost-7" },
    };
    struct fixture f;
    struct seed running;
    REQUIRE(invalid_open(&f, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask(&f, "POST", cases[i].path, cases[i].query, cases[i].body, NULL);
        check_answer(&f, cases[i].row, &a, 400, cases[i].code, cases[i].names);
    }
    REQUIRE(seed_workflow(&f, "busy", "maya", 1, &running));
    struct answer a = ask(&f, "POST", "/api/pool/default/workflow/busy-1/restart", "", NULL, NULL);
    check_answer(&f, 12, &a, 400, "SUBMISSION", "busy-1");
    fixture_close(&f);
}

/* A text of 64 MiB is read, one byte more is 413. */
static void sizes(void) {
    static const char begin[] = "{\"file\": \"" "workflow:\\n  name: w\\n  tasks: [{name: t, image: u, command: [a]}]\\n#";
    static const size_t newlines = 3;
    size_t most = (64u << 20) + strlen("{\"file\": \"") + newlines;
    char *body = malloc(most + 8);
    struct fixture f;
    int to_file;
    REQUIRE(body && invalid_open(&f, NULL));
    CHECK(osmo_service_body_limit(f.service, "POST", "/api/pool/default/workflow", &to_file) >= (UINT64_C(192) << 20));
    memset(body, 'x', most);
    memcpy(body, begin, strlen(begin));
    memcpy(body + most, "\"}", 3);
    struct answer a = ask(&f, "POST", "/api/pool/default/workflow", "validation_only=true", body, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    memcpy(body + most, "x\"}", 4);
    a = ask(&f, "POST", "/api/pool/default/workflow", "validation_only=true", body, NULL);
    CHECK_INT(a.status, 413);
    CHECK_CONTAINS(json_get_str(a.json, "message"), "file has 67108865 bytes, at most 64 MiB");
    answer_free(&a);
    free(body);
    fixture_close(&f);
}

#define MAYAS_TOKEN "mayamayamayamayamayamayamayamayamayamayamay"

/* maya, who may submit to one pool, and her access token. */
static int add_maya(db_t *db, void *ctx, osmo_error_t *err) {
    char *names[] = { (char *)ctx };
    strlist_t roles = { .items = names, .len = 1 };
    struct token_row row = { .user = (char *)"maya", .name = (char *)"laptop", .description = (char *)"",
                             .created_us = clock_now_us(), .expires_us = clock_now_us() + 3600LL * 1000000 };
    crypto_sha256(MAYAS_TOKEN, strlen(MAYAS_TOKEN), row.hash);
    int rc = repo_user_ensure(db, "maya", "admin", row.created_us, err);
    if (rc >= 0)
        rc = repo_assignment_add(db, "maya", ctx, "admin", row.created_us, NULL, NULL, err);
    return rc < 0 ? rc : repo_token_add(db, &row, &roles, "admin", err);
}

/* Rows 10 and 11 need somebody who is not the administrator. */
static void callers(void) {
    static const char body[] = "{\"file\": \"workflow:\\n  name: w\\n  tasks: [{name: t, image: u, command: [a]}]\\n\"}";
    static const char config[] =
        "roles: {closers: {policies: [{actions: ['workflow:*'], resources: [pool/closed]}]}}\n"
        "pools: {closed: {backend: default, default_platform: cpu, enable_maintenance: true, platforms: {cpu: {}}}}\n";
    struct fixture f;
    char role[] = "closers";
    REQUIRE(invalid_open_required(&f, config));
    struct answer a = ask(&f, "POST", "/api/pool/closed/workflow", "", body, NULL);
    CHECK_INT(a.status, 401); /* row 10 */
    answer_free(&a);
    CHECK_INT(store_write(f.engine->store, NULL, add_maya, role, NULL), 0);
    a = ask_as(&f, MAYAS_TOKEN, "POST", "/api/pool/closed/workflow", "", body);
    CHECK_INT(a.status, 400);
    CHECK_STR(json_get_str(a.json, "error_code"), "USAGE");
    CHECK_CONTAINS(json_get_str(a.json, "message"), "pool closed is in maintenance");
    CHECK(json_has(a.json, "workflow_id") && !json_get(a.json, "workflow_id"));
    answer_free(&a);
    a = ask_as(&f, MAYAS_TOKEN, "GET", "/api/workflow", "statuses=FAILED_SUBMISSION&all_pools=true&all_users=true", NULL);
    CHECK_INT(a.status, 200);
    CHECK_INT(json_len(json_get(a.json, "workflows")), 0);
    answer_free(&a);
    fixture_close(&f);
}

static void user_limits(void) {
    static const char two[] = TASKS("  - {name: a, image: u, command: [a]}\n  - {name: b, image: u, command: [a]}\n");
    static const struct invalid many =
        BAD(13, NAMED("w"), "USER", NULL, NOT, "2 unfinished workflows, at most 2");
    static const struct invalid wide =
        BAD(13, two, "USER", NULL, NOT, "2 unfinished tasks and this workflow has 2, at most 3");
    static const struct invalid good = BAD(13, NAMED("w"), NULL, NULL, NOT, NULL);
    static const struct invalid checked = BAD(13, two, NULL, NULL, NOT, NULL, .query = CHECK_ONLY);
    static const struct { const char *config; const struct invalid *last; } cases[] = {
        { "workflow: {user_workflow_limits: {max_num_workflows: 2}}\n", &many },
        { "workflow: {user_workflow_limits: {max_num_tasks: 3}}\n", &wide },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        REQUIRE(invalid_open(&f, cases[i].config));
        const struct invalid rows[] = { good, good, checked, *cases[i].last };
        invalid_run(&f, rows, ARRAY_SIZE(rows));
        fixture_close(&f);
    }
}

/* ---- rows 14 to 34: text, template, YAML ---- */

static const struct invalid texts[] = {
    BAD(14, "", "USER", NULL, NOT, "workflow"),
    BAD(14, "# only a comment\n", "USER", NULL, NOT, "workflow"),
    BAD(14, "\"workflow\":\n  name: w\n", "USER", NULL, NOT, "workflow"),
    BAD(14, "workflow :\n  name: w\n", "USER", NULL, NOT, "workflow"),
    BAD(14, "{\"workflow\": {\"name\": \"w\"}}", "USER", NULL, NOT, "workflow"),
    BAD(14, "default-values: {a: 1}\n", "USER", NULL, NOT, "workflow"),
    BAD(15, IN_TASK("") "resources:\n  default: {}\n", "USER", NULL, NOT, "resources"),
    BAD(16, IN_TASK("") "workflow:\n  name: x\n", "USER", NULL, NOT, "workflow"),
    BAD(16, IN_TASK("") "default-values: {}\ndefault-values: {}\n", "USER", NULL, NOT, "default-values"),
    BAD(17, "version: foo\n" IN_TASK(""), NULL, NULL, NOT, NULL, .query = CHECK_ONLY),
    BAD(17, "version: 3\n" IN_TASK(""), NULL, NULL, NOT, NULL, .query = CHECK_ONLY),
    BAD(18, NAMED("w-{{ nothing }}"), "USAGE", NULL, NOT, "nothing"),
    BAD(18, IN_TASK("    # {{ nothing }}\n"), "USAGE", NULL, NOT, "nothing"),
    BAD(19, IN_TASK("    args: ['{{ output }}']\n"), "USAGE", NULL, NOT, "output"),
    BAD(19, IN_TASK("    args: ['{{ workflow_id }}']\n"), "USAGE", NULL, NOT, "workflow_id"),
    BAD(20, IN_TASK("    args: ['{{ input:0 }}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(21, IN_TASK("    args: ['${#x}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(22, IN_TASK("    args: ['{% frobnicate %}']\n"), "USAGE", NULL, NOT, "frobnicate"),
    BAD(22, IN_TASK("    args: ['{{ x']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(22, IN_TASK("    args: ['{{ }}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(23, IN_TASK("    args: [\"{{ ''.__class__ }}\"]\n"), "USAGE", NULL, NOT, "__class__"),
    BAD(24,
        IN_TASK("    args: ['{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}']\n"), "USAGE",
      NULL, NOT, "line 7"),
    BAD(24, IN_TASK("    args: ['{{ \"x\" * 300000000 }}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(25, IN_TASK("    args: ['{{ \"a\" + 1 }}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(25, IN_TASK("    args: ['{% include \"x\" %}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(26, IN_TASK("    args: ['{{ 1/0 }}']\n"), "USAGE", NULL, NOT, "line 7"),
    BAD(26, IN_TASK("    args: ['{{ range(200000) }}']\n"), "USAGE", NULL, NOT, "range"),
    BAD(27, IN_TASK(""), "USAGE", NULL, NOT, "novalue", .set = "novalue"),
    BAD(28, IN_TASK(""), "USAGE", NULL, NOT, "NAME=VALUE", .query = "env_vars=NOVALUE"),
    BAD(28, IN_TASK("    inputs: [{task: ghost}]\n"), "USAGE", NULL, NOT, "NAME=VALUE", .query = "env_vars=NOVALUE"),
    BAD(28, IN_TASK(""), NULL, NULL, NOT, "name: w", .query = "env_vars=NOVALUE&dry_run=true"),
    BAD(29, IN_TASK("") "default-values: [a]\n", "USAGE", NULL, NOT, "default-values"),
    BAD(30, IN_TASK("") "default-values: text\n", "USAGE", NULL, NOT, "default-values"),
    BAD(31, IN_TASK("") "default-values:\n  a: [\n", "USAGE", ID_UUID, REC, "default-values"),
    BAD(31, IN_TASK("") "default-values:\n  a: {{ b }}\n", "USAGE", ID_UUID, REC, "default-values"),
    BAD(32, "workflow:\n  name: [w\n", "USAGE", ID_UUID, REC, "line"),
    BAD(32, "workflow:\n\tname: w\n", "USAGE", ID_UUID, REC, "line"),
    BAD(32, "workflow:\n  name: [w\n", "USAGE", ID_UUID, REC, "line", .query = CHECK_ONLY),
    BAD(32, "workflow:\n  name: [w\n", "USAGE", ID_UUID, NOT, "line", .query = "dry_run=true"),
    BAD(33, "workflow:\n", "USAGE", NULL, NOT, "mapping"),
    BAD(33, "workflow: [a]\n", "USAGE", NULL, NOT, "mapping"),
    BAD(33, "workflow: text\n", "USAGE", NULL, NOT, "mapping"),
    BAD(34, IN_TASK("    image: again\n"), NULL, NULL, NOT, "image: again", .query = "dry_run=true"),
};

/* Row 24 by the clock: this renders for minutes, and no other limit would end it soon. */
static void template_time(void) {
    static const char config[] = "workflow: {user_workflow_limits: {jinja_sandbox_max_time: 0.01}}\n";
    static const struct invalid slow = BAD(
        24, IN_TASK("    args: ['{% for a in range(99999) %}{% for b in range(150) %}{% endfor %}{% endfor %}']\n"), "USAGE", NULL,
        NOT, "takes too long");
    struct fixture f;
    REQUIRE(invalid_open(&f, config));
    invalid_run(&f, &slow, 1);
    fixture_close(&f);
}

static void text_rows(void) {
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, texts, ARRAY_SIZE(texts));
    fixture_close(&f);
}

/* ---- rows 35 to 54: the workflow ---- */

static const struct invalid workflows[] = {
    BAD(35, "workflow:\n  tasks: [{name: t, image: u, command: [a]}]\n", "USAGE", ID_FAILED, REC, "workflow.name"),
    BAD(36, NAMED("123"), "USAGE", "123", NOT, "workflow.name"),
    BAD(37, NAMED("1abc"), "USAGE", "1abc", NOT, "1abc"),
    BAD(37, NAMED("abc-"), "USAGE", "abc-", NOT, "abc-"),
    BAD(37, NAMED("a.b"), "USAGE", "a.b", NOT, "a.b"),
    BAD(38, NAMED("w" LEN64), "USER", NULL, REC, "65 characters, at most 64"),
    BAD(39, IN_TASK("  groups: [{name: g, tasks: [{name: x, image: u, command: [a]}]}]\n"), "USAGE", "w", REC,
        "groups"),
    BAD(40, WORKFLOW(""), "USAGE", "w", REC, "tasks"),
    BAD(40, WORKFLOW("  tasks: []\n"), "USAGE", "w", REC, "tasks"),
    BAD(40, WORKFLOW("  tasks:\n"), "USAGE", "w", REC, "tasks"),
    BAD(40, WORKFLOW("  tasks: []\n  groups: []\n"), "USAGE", "w", REC, "tasks"),
    BAD(40, WORKFLOW("  tasks: []\n"), "USAGE", "w", REC, "tasks", .query = CHECK_ONLY),
    BAD(41, IN_WORKFLOW("  groups:\n"), "USAGE", "w", REC, "workflow.groups"),
    BAD(42, WORKFLOW("  tasks: {name: t}\n"), "USAGE", "w", REC, "workflow.tasks"),
    BAD(42, WORKFLOW("  tasks: text\n"), "USAGE", "w", REC, "workflow.tasks"),
    BAD(42, WORKFLOW("  tasks: [t]\n"), "USAGE", "w", REC, "workflow.tasks.0"),
    BAD(43, IN_WORKFLOW("  colour: red\n"), "USAGE", "w", REC, "colour"),
    BAD(44, IN_WORKFLOW("  pool: 5\n"), "USAGE", "w", REC, "workflow.pool"),
    BAD(45, TASKS("{% for i in range(21) %}  - {name: t{{i}}, image: u, command: [a]}\n{% endfor %}"), "USER", NULL,
        NOT,
      "21 tasks, at most 20"),
    BAD(46, IN_WORKFLOW("  timeout: 5m\n"), "USAGE", "w", REC, "workflow.timeout"),
    BAD(46, IN_WORKFLOW("  timeout: [5m]\n"), "USAGE", "w", REC, "workflow.timeout"),
    BAD(46, IN_WORKFLOW("  timeout:\n"), "USAGE", "w", REC, "workflow.timeout"),
    BAD(46, IN_WORKFLOW("  timeout: {start_timeout: 5m}\n"), "USAGE", "w", REC, "start_timeout"),
    BAD(47, IN_WORKFLOW("  timeout: {exec_timeout: '10'}\n"), "USAGE", "w", REC, "exec_timeout"),
    BAD(47, IN_WORKFLOW("  timeout: {exec_timeout: 1h30m}\n"), "USAGE", "w", REC, "1h30m"),
    BAD(47, IN_WORKFLOW("  timeout: {queue_timeout: 1.5h}\n"), "USAGE", "w", REC, "queue_timeout"),
    BAD(47, IN_WORKFLOW("  timeout: {exec_timeout: 10w}\n"), "USAGE", "w", REC, "10w"),
    BAD(47, IN_WORKFLOW("  timeout: {exec_timeout: abc}\n"), "USAGE", "w", REC, "abc"),
    BAD(47, IN_WORKFLOW("  timeout: {exec_timeout: ''}\n"), "USAGE", "w", REC, "exec_timeout"),
    BAD(48, IN_WORKFLOW("  timeout: {exec_timeout: [5m]}\n"), "USAGE", "w", REC, "exec_timeout"),
    BAD(49, IN_WORKFLOW("  timeout: {exec_timeout: -5m, queue_timeout: 0}\n"), NULL, NULL, NOT, NULL,
        .query = CHECK_ONLY),
    BAD(49, IN_WORKFLOW("  timeout: {exec_timeout: true, queue_timeout: 100d}\n"), NULL, NULL, NOT, NULL,
        .query = CHECK_ONLY),
    BAD(50, IN_WORKFLOW("  labels:\n"), "USAGE", "w", NOT, "labels"),
    BAD(50, IN_WORKFLOW("  labels: [a]\n"), "USAGE", "w", NOT, "labels"),
    BAD(50, IN_WORKFLOW("  labels: {team: 1}\n"), "USAGE", "w", NOT, "team"),
    BAD(50, IN_WORKFLOW("  labels: {team: ''}\n"), "USAGE", "w", NOT, "team"),
    BAD(50, IN_WORKFLOW("  labels: {-team: a}\n"), "USAGE", "w", NOT, "-team"),
    BAD(50, IN_WORKFLOW("  labels: {team: a b}\n"), "USAGE", "w", NOT, "a b"),
    BAD(50, IN_WORKFLOW("  labels: {Example.com/team: a}\n"), "USAGE", "w", NOT, "Example.com/team"),
    BAD(50, IN_WORKFLOW("  labels: {{ '{' }}{% for i in range(17) %}l{{i}}: a,{% endfor %}}\n"), "USAGE", "w", NOT,
        "17"),
    BAD(51, IN_TASK(""), "USAGE", "w", NOT, "team", .query = "label=team"),
    BAD(51, IN_TASK(""), "USAGE", "w", NOT, "team", .query = "label=team&dry_run=true"),
    BAD(51, "workflow:\n  tasks: []\n", "USAGE", ID_FAILED, NOT, "team", .query = "label=team"),
    BAD(51, IN_WORKFLOW("  labels: {team: red}\n"), NULL, NULL, NOT, "team: blue",
        .query = "label=team%3Dblue&dry_run=true"),
    BAD(54, IN_WORKFLOW("  resources:\n"), "USAGE", "w", REC, "workflow.resources"),
};

static void workflow_rows(void) {
    struct fixture f;
    REQUIRE(invalid_open(&f, NULL));
    invalid_run(&f, workflows, ARRAY_SIZE(workflows));
    fixture_close(&f);
}

static void label_policies(void) {
    static const char config[] = "workflow:\n  labels_config:\n    policy:\n"
                                 "    - {key: team, allow_list: [red, blue], enforcement: enforce, assert_message: say who}\n"
                                 "    - {key: cost, allow_list: [], enforcement: warn, assert_message: name a cost centre}\n"
                                 "    - {key: mood, allow_list: [good], enforcement: 'off', assert_message: never said}\n";
    static const char prefixed[] = "workflow: {labels_config: {pod_label_prefix: 'example.com/'}}\n";
    static const struct invalid policy[] = {
        BAD(52, IN_TASK(""), "USAGE", "w", NOT, "team"),
        BAD(52, IN_TASK(""), "USAGE", "w", NOT, "say who"),
        BAD(52, IN_WORKFLOW("  labels: {team: green}\n"), "USAGE", "w", NOT, "green"),
        BAD(52, IN_TASK(""), NULL, NULL, NOT, "name: w", .query = "dry_run=true"),
        BAD(52, IN_WORKFLOW("  labels: {team: red, mood: bad}\n"), NULL, NULL, NOT, NULL, .query = CHECK_ONLY),
    };
    static const struct invalid prefix[] = {
        BAD(53, IN_WORKFLOW("  labels: {other.com/team: red}\n"), "USAGE", "w", NOT, "other.com/team"),
        BAD(53, IN_WORKFLOW("  labels: {team: red}\n"), NULL, NULL, NOT, NULL, .query = CHECK_ONLY),
    };
    struct fixture f;
    REQUIRE(invalid_open(&f, config));
    invalid_run(&f, policy, ARRAY_SIZE(policy));
    struct answer a = invalid_ask(&f, &policy[4]); /* the one that is only warned of */
    const char *warning = json_str(json_at(json_get(a.json, "warnings"), 0));
    CHECK_INT(json_len(json_get(a.json, "warnings")), 1);
    CHECK(warning && strstr(warning, "name a cost centre"));
    answer_free(&a);
    fixture_close(&f);
    REQUIRE(invalid_open(&f, prefixed));
    invalid_run(&f, prefix, ARRAY_SIZE(prefix));
    fixture_close(&f);
}

/* ---- rows 55 to 67: groups and graph ---- */

#define T(name) "{name: " name ", image: u, command: [a]}"
#define LEAD(name) "{name: " name ", image: u, command: [a], lead: true}"
#define FROM(name, source) "{name: " name ", image: u, command: [a], inputs: [{task: " source "}]}"

static const struct invalid graphs[] = {
    BAD(55, WORKFLOW("  tasks: [" T("A_b") ", " T("a-b") "]\n"), "USAGE", "w", REC, "a-b"),
    BAD(56, WORKFLOW("  groups: [{name: t, tasks: [" T("t") "]}]\n"), "USAGE", "w", REC, "'t'"),
    BAD(57, WORKFLOW("  tasks: [" T("a") ", " T("a-group") "]\n"), "USAGE", NULL, NOT, "a-group"),
    BAD(58, WORKFLOW("  groups: [{name: g}]\n"), "USAGE", "w", REC, "workflow.groups.0.tasks"),
    BAD(58, WORKFLOW("  groups: [{name: g, tasks: []}]\n"), "USAGE", "w", REC, "workflow.groups.0.tasks"),
    BAD(59, WORKFLOW("  groups: [{name: g, tasks: }]\n"), "USAGE", "w", REC, "workflow.groups.0.tasks"),
    BAD(60, WORKFLOW("  groups: [{name: 5, tasks: [" T("t") "]}]\n"), "USAGE", "w", REC, "workflow.groups.0.name"),
    BAD(60, WORKFLOW("  tasks: [" T("5") "]\n"), "USAGE", "w", REC, "workflow.tasks.0.name"),
    BAD(61, WORKFLOW("  groups: [{name: g, tasks: [" T("a") ", " T("b") "]}]\n"), "USAGE", "w", REC, "lead"),
    BAD(61, WORKFLOW("  groups: [{name: g, tasks: [" LEAD("a") ", " LEAD("b") "]}]\n"), "USAGE", "w", REC, "lead"),
    BAD(62, WORKFLOW("  groups: [{name: g, colour: red, tasks: [" T("t") "]}]\n"), "USAGE", "w", REC, "colour"),
    BAD(63, WORKFLOW("  tasks: [" FROM("t", "ghost") "]\n"), "SUBMISSION", NULL, NOT, "ghost"),
    BAD(64, WORKFLOW("  tasks: [" FROM("t", "t") "]\n"), "USAGE", NULL, NOT, "'t'"),
    BAD(64, WORKFLOW("  tasks: [" FROM("a", "b") ", " FROM("b", "a") "]\n"), "USAGE", NULL, NOT, "'b'"),
    BAD(64, WORKFLOW("  groups: [{name: g, tasks: [" LEAD("a") ", " FROM("b", "a") "]}]\n"), "USAGE", NULL, NOT, "'b'"),
    BAD(65, WORKFLOW("  tasks: [" FROM("t", "ghost-1:x") "]\n"), "DATABASE", NULL, REC, "ghost-1:x"),
    BAD(65, WORKFLOW("  tasks: [" FROM("t", "earlier-1:x") "]\n"), "DATABASE", NULL, REC, "earlier-1:x"),
    BAD(66, WORKFLOW("  tasks: [" FROM("t", "earlier-1:t0") "]\n"), "SUBMISSION", NULL, REC, "earlier-1:t0"),
    BAD(67, WORKFLOW("  tasks: [" T("x2345678901234567890123456789012345678901234567890123456789") "]\n"), "USER",
        NULL, REC,
      "59 characters, at most 58"),
    BAD(67, WORKFLOW("  groups: [{name: g, tasks: [" T("w" LEN64) "]}]\n"), "USER", NULL, REC,
        "65 characters, at most 64"),
};

static void graph_rows(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(invalid_open(&f, NULL));
    REQUIRE(seed_workflow(&f, "earlier", "maya", 1, &s));
    invalid_run(&f, graphs, ARRAY_SIZE(graphs));
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "422", unprocessable },
    { "requests", requests },
    { "callers", callers },
    { "sizes", sizes },
    { "limits of a user", user_limits },
    { "time of templates", template_time },
    { "text, template, YAML", text_rows },
    { "workflow", workflow_rows },
    { "label policies", label_policies },
    { "groups and graph", graph_rows },
};
TEST_MAIN("invalid", tests)
