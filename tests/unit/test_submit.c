/* Submission: what is refused and recorded, dry runs, resubmission; and the opening of the engine: roles,
 * directories, configuration. */
#include "engine_fixture.h"

#include <stdlib.h>

#include "base/file.h"

static const char hello[] = "workflow:\n  name: hello\n  tasks:\n  - name: hello\n    image: ubuntu:24.04\n    "
                            "command: [echo]\n    args: [hi]\n";

static int try_submit(struct submit_request *rq, const char *text, char **id, osmo_error_t *err) {
    struct submit_result out;
    rq->user = "alice";
    rq->text = text;
    rq->text_len = text ? strlen(text) : 0;
    *id = NULL;
    int rc = engine_submit(e, rq, &out, id, err);
    submit_result_clear(&out);
    return rc;
}

static void submissions(void) {
    static const struct {
        const char *text;
        int code;
        const char *recorded;
    } cases[] = {
        { "workflow:\n  name: bad\n  tasks: []\n", OSMO_EUSAGE, "bad-1" },
        { "workflow:\n  name: bad\n  unknown: 1\n  tasks:\n  - {name: t, image: u, command: [a]}\n", OSMO_EUSAGE,
          "bad-2" },
        { "workflow:\n  name: cred\n  tasks:\n  - {name: t, image: u, command: [a], credentials: {hf: /x}}\n",
          OSMO_ECREDENTIAL, "cred-1" },
        { "nothing: here\n", OSMO_EUSER, NULL },
    };
    REQUIRE(start_with(NULL));
    osmo_error_t err = OSMO_ERROR_INIT;
    char *id = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct submit_request rq = { .pool = "default", .priority = "NORMAL" };
        int rc = try_submit(&rq, cases[i].text, &id, &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %d %s\n", i, rc, err.text);
        CHECK_INT(rc, cases[i].code);
        free(id);
        struct workflow_row w = { 0 };
        if (cases[i].recorded) {
            CHECK_INT(repo_workflow_get(reader(), cases[i].recorded, &w, NULL), 0);
            CHECK_STR(status_name(w.sm.status), "FAILED_SUBMISSION");
            CHECK_STR(w.failure_message, err.text);
            workflow_row_clear(&w);
        }
    }
    struct submit_request rq = { .pool = "nowhere", .priority = "NORMAL" };
    CHECK_INT(try_submit(&rq, hello, &id, &err), OSMO_EUSER);
    free(id);
    stop(true);
}

/* Resource rules: what the task asks for alone, then against the nodes that are known. */
static int add_node(db_t *db, void *ctx, osmo_error_t *err) {
    const struct node_row *row = ctx;
    return repo_node_upsert(db, row, err);
}

static void resource_rules(void) {
    static const struct {
        const char *resources;
        bool nodes;
        int code;
        const char *text;
    } cases[] = {
        { "{memory: 4000Gi}", false, 0, NULL }, /* nobody knows better yet: it waits */
        { "{memory: 0Gi}", false, OSMO_EUSER, "task 't', resource 'default': memory must be more than 0" },
        { "{memory: 4000Gi}", true, OSMO_ERESOURCE, "the largest of 2, node big, takes cpu 15" },
        { "{memory: 20Gi, cpu: 8}", true, 0, NULL },
        { "{cpu: 16}", true, OSMO_ERESOURCE, "is more than the 15 of the node" },
    };
    struct node_row nodes[] = {
        { .name = (char *)"small", .backend = (char *)"default", .available = true, .labels_json = (char *)"{}",
          .allocatable_json = (char *)"{\"cpu\":\"4\",\"memory\":\"8388608Ki\",\"ephemeral-storage\":\"99999999Ki\"}" },
        { .name = (char *)"big", .backend = (char *)"default", .labels_json = (char *)"{}",
          .allocatable_json = (char *)"{\"cpu\":\"16\",\"memory\":\"33554432Ki\",\"ephemeral-storage\":\"99999999Ki\"}" },
        { .name = (char *)"foreign", .backend = (char *)"other", .available = true, .labels_json = (char *)"{}",
          .allocatable_json =
              (char *)"{\"cpu\":\"99\",\"memory\":\"9999999999Ki\",\"ephemeral-storage\":\"99999999Ki\"}" },
    };
    bool known = false;
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        char text[300], *id = NULL;
        struct submit_request rq = { .pool = "default", .priority = "NORMAL" };
        for (size_t k = 0; cases[i].nodes && !known && k < ARRAY_SIZE(nodes); k++)
            CHECK_OK(store_write(e->store, NULL, add_node, &nodes[k], &err), &err);
        known = cases[i].nodes;
        snprintf(text, sizeof text,
                 "workflow:\n  name: rules\n  resources: {default: %s}\n  tasks:\n"
                 "  - {name: t, image: u, command: [a]}\n", cases[i].resources);
        int rc = try_submit(&rq, text, &id, &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %d %s\n", i, rc, err.text);
        CHECK_INT(rc, cases[i].code);
        if (cases[i].text)
            CHECK_CONTAINS(err.text, cases[i].text);
        free(id);
    }
    stop(true);
}

/* A dry run and a validation write nothing; a resubmission takes text and labels of its parent. */
static void dry_and_again(void) {
    REQUIRE(start_with(NULL));
    osmo_error_t err = OSMO_ERROR_INIT;
    char *id = NULL;
    struct submit_result out;
    struct submit_request dry = { .user = "alice",
                                  .pool = "default",
                                  .priority = "NORMAL",
                                  .text = hello,
                                  .text_len = strlen(hello),
                                  .dry_run = true };
    strlist_add(&dry.labels, "team=blue");
    CHECK_OK(engine_submit(e, &dry, &out, &id, &err), &err);
    CHECK_STR(out.name, "hello");
    CHECK_CONTAINS(out.spec_yaml, "team: blue");
    submit_result_clear(&out);
    dry.dry_run = false;
    dry.validation_only = true;
    CHECK_OK(engine_submit(e, &dry, &out, &id, &err), &err);
    CHECK(out.validated);
    submit_result_clear(&out);
    dry.validation_only = false;
    CHECK_OK(engine_submit(e, &dry, &out, &id, &err), &err);
    CHECK_STR(out.name, "hello-1");
    submit_result_clear(&out);
    struct submit_request again = {
        .user = "alice", .pool = "default", .priority = "NORMAL", .resubmit_id = "hello-1"
    };
    CHECK_OK(engine_submit(e, &again, &out, &id, &err), &err);
    CHECK_STR(out.name, "hello-2");
    struct workflow_row w = { 0 };
    CHECK_INT(repo_workflow_get(reader(), "hello-2", &w, NULL), 0);
    CHECK_CONTAINS(w.labels_json, "blue");
    CHECK_STR(w.parent_name, "hello");
    CHECK_INT(w.parent_job_id, 1);
    workflow_row_clear(&w);
    submit_result_clear(&out);
    submit_request_clear(&dry);
    stop(true);
}

/* What a dry run shows means what was rendered: clients send it back. Keys are sorted, labels merged in. */
static void dry_run_text(void) {
    static const char text[] = "workflow:\n  tasks:\n  - name: t\n    image: u\n    command: [a, [b, {c: d, a: []}], {}]\n"
                               "    environment: {D: 2024-01-02, I: 123456789012345678901234567890, F: .inf, T: yes,\n"
                               "                  N: ~, O: 010, Q: '010', E: '', ON: x, 5: y, G: 1.0e+16}\n"
                               "    files: [{path: /a, contents: \"  if x:\\n\\n    y \\n\\n\"}]\n"
                               "  name: dry\n  labels: {z: '1', a: b}\ndefault-values: {unused: 1}\n";
    static const char want[] = "workflow:\n  labels:\n    a: b\n    team: blue\n    z: '1'\n  name: dry\n  tasks:\n"
                               "  - command:\n    - a\n    - - b\n      - a: []\n        c: d\n    - {}\n"
                               "    environment:\n      5: y\n      D: 2024-01-02\n      E: ''\n      F: .inf\n"
                               "      G: 1.0e+16\n      I: 123456789012345678901234567890\n      N: null\n      O: 8\n"
                               "      Q: '010'\n      T: true\n      true: x\n"
                               "    files:\n    - contents: |2+\n          if x:\n\n            y \n\n      path: /a\n"
                               "    image: u\n    name: t\n";
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    char *id = NULL;
    REQUIRE(start_with(NULL));
    struct submit_request rq = { .user = "alice", .pool = "default", .text = text, .text_len = strlen(text), .dry_run = true };
    strlist_add(&rq.labels, "team=blue");
    CHECK_OK(engine_submit(e, &rq, &out, &id, &err), &err);
    CHECK_STR(out.spec_yaml, want);
    submit_result_clear(&out);
    submit_request_clear(&rq);
    stop(true);
}

/* What the last stored workflow says about itself. */
static char *spec_of(const char *id, struct workflow_row *w) {
    char *text = NULL;
    size_t len = 0;
    if (repo_workflow_get(reader(), id, w, NULL) < 0 ||
        repo_file_get(reader(), w->uuid, "workflow_spec.yaml", &text, &len, NULL) < 0)
        return NULL;
    return text;
}

/* Of a -> b -> c and d, b fails: c with it. They run again, on what a has made; d does not. */
static void restart(void) {
    static const char text[] = "workflow:\n  name: chain\n  labels: {team: blue}\n"
                               "  timeout: {exec_timeout: 90m}\n  tasks:\n"
                               "  - {name: a, image: u, command: [x], files: [{path: /f, contents: \"two \\n\\n\"}]}\n"
                               "  - {name: b, image: u, command: [x], inputs: [{task: a}]}\n"
                               "  - {name: c, image: u, command: [x, '{{input:0}}'], inputs: [{task: b}, {task: a}]}\n"
                               "  - {name: d, image: u, command: [x]}\n";
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    struct workflow_row w = { 0 };
    char *id = NULL;
    REQUIRE(start_with(NULL));
    backend_connect("jobs");
    struct submit_request first = { .user = "alice", .pool = "default", .priority = "LOW", .text = text,
                                    .text_len = strlen(text) };
    CHECK_OK(engine_submit(e, &first, &out, &id, &err), &err);
    snprintf(wf_id, sizeof wf_id, "%s", out.name);
    submit_result_clear(&out);
    CHECK_INT(repo_workflow_get(reader(), wf_id, &w, NULL), 0);
    memcpy(wf_uuid, w.uuid, sizeof wf_uuid);
    workflow_row_clear(&w);
    struct submit_request again = { .user = "bob", .pool = "default", .restart_id = wf_id };
    CHECK_INT(engine_submit(e, &again, &out, &id, &err), OSMO_ESUBMISSION);
    CHECK_CONTAINS(err.text, "chain-1 has not failed, its status is PENDING");
    CHECK(!id);
    submit_result_clear(&out);
    job("CreateGroup", "a-group", "SUCCESS");
    job("CreateGroup", "d-group", "SUCCESS");
    run_pod("a", "COMPLETED", 0);
    job("CleanupGroup", "a-group", "SUCCESS");
    job("CreateGroup", "b-group", "SUCCESS");
    run_pod("d", "COMPLETED", 0);
    run_pod("b", "FAILED", 3);
    CHECK_INT(group_status("c-group"), STATUS_FAILED_UPSTREAM);
    CHECK_OK(engine_submit(e, &again, &out, &id, &err), &err);
    CHECK_STR(out.name, "chain-2");
    submit_result_clear(&out);
    _cleanup_free_ char *spec = spec_of("chain-2", &w);
    REQUIRE(spec);
    CHECK_CONTAINS(spec, "name: b-group");
    CHECK_CONTAINS(spec, "name: c-group");
    CHECK(!strstr(spec, "name: a-group") && !strstr(spec, "name: d-group"));
    CHECK_CONTAINS(spec, "task: chain-1:a");
    CHECK_CONTAINS(spec, "task: b");
    CHECK_CONTAINS(spec, "{{input:0}}");
    CHECK_STR(w.priority, "LOW");
    CHECK_STR(w.parent_name, "chain");
    CHECK_INT(w.parent_job_id, 1);
    CHECK_STR(w.user, "bob");
    CHECK_CONTAINS(w.labels_json, "blue");
    CHECK_INT(w.exec_timeout_us, INT64_C(90) * 60 * 1000000);
    workflow_row_clear(&w);
    stop(true);
}

/* A failed submission can be restarted too, once what it failed of is gone; one without a specification can not. */
static void restart_of_a_submission(void) {
    static const struct { const char *text; int code; const char *words; } cases[] = {
        { "workflow:\n  name: sub\n  tasks: [{name: t, image: u, command: [x], inputs: [{task: 'ghost-1:x'}]}]\n",
          OSMO_EDATABASE, "ghost-1:x" },
        { "workflow:\n  name: sub\n  tasks: []\n", OSMO_EUSAGE, "tasks" },
        { "workflow:\n  name: [\n", OSMO_EUSAGE, "line" },
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    char *id = NULL;
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct submit_request rq = { .pool = "default", .priority = "NORMAL" };
        struct workflow_row *rows = NULL;
        struct workflow_filter newest = { .all_users = true, .all_pools = true, .limit = 1 };
        size_t n = 0;
        CHECK_INT(try_submit(&rq, cases[i].text, &id, &err), cases[i].code);
        free(id);
        strlist_add(&newest.statuses, "FAILED_SUBMISSION");
        CHECK_INT(repo_workflow_list(reader(), &newest, &rows, &n, NULL), 0);
        strlist_free(&newest.statuses);
        REQUIRE(n == 1);
        struct submit_request again = { .user = "alice", .pool = "default", .restart_id = rows[0].id };
        CHECK_INT(engine_submit(e, &again, &out, &id, &err), cases[i].code);
        CHECK_CONTAINS(out.message ? out.message : err.text, cases[i].words);
        submit_result_clear(&out);
        free(id);
        workflow_rows_free(rows, n);
    }
    stop(true);
}

/* The stored specification means what was submitted, also where upstream's does not survive. */
static void faithful_resubmission(void) {
    static const char text[] = "workflow:\n  name: faith\n  timeout: {exec_timeout: 90m, queue_timeout: 90}\n"
                               "  groups:\n  - name: g\n    barrier: false\n    tasks:\n"
                               "    - name: t\n      image: u\n      command: [x, '{{output}}', '{{host:t}}', '{{uuid}}']\n"
                               "      environment: {A: 010, B: yes, C: '{% raw %}{{workflow_id}}{% endraw %}'}\n"
                               "      files: [{path: /f, contents: \"one \\n\\n\"}, {path: /g, contents: ''}]\n"
                               "default-values: {unused: 1}\n";
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_result out;
    struct workflow_row w = { 0 }, w2 = { 0 };
    char *id = NULL;
    REQUIRE(start_with(NULL));
    struct submit_request rq = { .user = "alice", .pool = "default", .text = text, .text_len = strlen(text) };
    strlist_add(&rq.env_vars, "D=a=b");
    CHECK_OK(engine_submit(e, &rq, &out, &id, &err), &err);
    submit_result_clear(&out);
    struct submit_request again = { .user = "alice", .pool = "default", .resubmit_id = "faith-1" };
    strlist_add(&again.labels, "try=second");
    CHECK_OK(engine_submit(e, &again, &out, &id, &err), &err);
    submit_result_clear(&out);
    _cleanup_free_ char *one = spec_of("faith-1", &w), *two = spec_of("faith-2", &w2);
    REQUIRE(one && two);
    CHECK_CONTAINS(one, "a=b");
    CHECK_CONTAINS(one, "{{workflow_id}}");
    CHECK_CONTAINS(two, "try: second");
    char *labels = strstr(two, "  labels:\n    try: second\n");
    CHECK(labels != NULL);
    if (labels) /* but for the new label they are the same */
        memmove(labels, labels + 26, strlen(labels + 26) + 1);
    CHECK_STR(two, one);
    CHECK_INT(w2.exec_timeout_us, w.exec_timeout_us);
    workflow_row_clear(&w);
    workflow_row_clear(&w2);
    submit_request_clear(&rq);
    submit_request_clear(&again);
    stop(true);
}

/* Only what goes on counts, and only of this user. */
static void user_limits(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct submit_request rq = { .pool = "default" };
    struct submit_result out;
    char *id = NULL;
    REQUIRE(start_with("workflow: {user_workflow_limits: {max_num_workflows: 2, max_num_tasks: 2}}\n"));
    backend_connect("jobs");
    REQUIRE(submit(hello));
    rq = (struct submit_request){ .user = "somebody else", .pool = "default", .text = hello, .text_len = strlen(hello) };
    for (int i = 0; i < 2; i++) {
        CHECK_OK(engine_submit(e, &rq, &out, &id, &err), &err);
        submit_result_clear(&out);
    }
    CHECK_INT(engine_submit(e, &rq, &out, &id, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "you have 2 unfinished workflows, at most 2");
    submit_result_clear(&out);
    int64_t workflows = 0, tasks = 0;
    CHECK_INT(repo_user_ongoing(reader(), "somebody else", &workflows, &tasks, NULL), 0);
    CHECK_INT(workflows, 2);
    CHECK_INT(tasks, 2);
    REQUIRE(engine_cancel(e, "hello-2", "somebody else", "enough", true, &err) >= 0);
    CHECK_INT(repo_user_ongoing(reader(), "somebody else", &workflows, &tasks, NULL), 0);
    CHECK_INT(workflows, 1);
    CHECK_INT(tasks, 1);
    CHECK_OK(engine_submit(e, &rq, &out, &id, &err), &err);
    submit_result_clear(&out);
    CHECK_INT(repo_user_ongoing(reader(), "nobody", &workflows, &tasks, NULL), 0);
    CHECK(workflows == 0 && tasks == 0);
    stop(true);
}

/* Without a server these run on SQLite once more. */
static void on_pgsql(void) {
    use_pgsql = true;
    submissions();
    dry_and_again();
    restart();
    faithful_resubmission();
    user_limits();
    use_pgsql = false;
}

static void roles(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_service_options_t o = { .size = sizeof o, .data_dir = "/tmp", .roles = "core,cook" };
    CHECK_INT(engine_open(&o, &e, &err), OSMO_EINVAL);
    CHECK_CONTAINS(err.text, "unknown role 'cook'");
    o.roles = NULL;
    o.data_dir = "/nonexistent/dir";
    CHECK_INT(engine_open(&o, &e, &err), OSMO_ENOTFOUND);
    e = NULL;
}

/* The file is watched: a good change is taken, a bad one is not. */
static bool limit_is_two(void) {
    const struct settings *s = engine_settings(e);
    bool yes = s->max_num_tasks == 2;
    engine_settings_put(s);
    return yes;
}

static void config_reload(void) {
    REQUIRE(start_with("workflow:\n  max_num_tasks: 3\n"));
    osmo_error_t err = OSMO_ERROR_INIT;
    char path[128];
    snprintf(path, sizeof path, "%s/config.yaml", test_dir);
    const struct settings *old = engine_settings(e);
    CHECK_INT(old->max_num_tasks, 3);
    const char *good = "workflow:\n  max_num_tasks: 2\n", *wrong = "workflow:\n  max_num_tasks: [\n";
    CHECK_OK(file_write_atomic(path, good, strlen(good), 0600, false, &err), &err);
    CHECK(until(limit_is_two));       /* nobody asked for a reload */
    CHECK_INT(old->max_num_tasks, 3); /* a reader keeps its snapshot */
    engine_settings_put(old);
    CHECK_OK(file_write_atomic(path, wrong, strlen(wrong), 0600, false, &err), &err);
    CHECK(engine_reload(e, &err) < 0);
    CHECK_CONTAINS(err.text, "config.yaml");
    CHECK(limit_is_two());
    char *url = engine_base_url(e);
    CHECK_STR(url, "http://127.0.0.1:8000");
    free(url);
    CHECK_INT(engine_set_base_url(e, "ftp://x", &err), OSMO_EINVAL);
    stop(true);
}

static const struct check_test tests[] = {
    { "roles", roles },
    { "submissions", submissions },
    { "resource rules", resource_rules },
    { "dry run, validation, resubmission", dry_and_again },
    { "text of a dry run", dry_run_text },
    { "restart", restart },
    { "restart of a failed submission", restart_of_a_submission },
    { "faithful resubmission", faithful_resubmission },
    { "limits of a user", user_limits },
    { "on PostgreSQL", on_pgsql },
    { "config reload", config_reload },
};
TEST_MAIN("submit", tests)
