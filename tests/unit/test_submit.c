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
    { "config reload", config_reload },
};
TEST_MAIN("submit", tests)
