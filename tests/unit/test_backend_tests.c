/* Tests of nodes as CronJobs: the job of the operator that brings them in line, against an API server in memory. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "check.h"
#include "fake_kube.h"
#include "operator/jobs.h"

static const logger_t quiet;
static struct job_tests tests_env = { .backend = "b", .namespace_ = "tests", .image = "registry.example/backend:1" };
static const osmo_cluster_driver_t driver = { .size = sizeof driver, .name = "kubernetes" };
static char last[JOB_MESSAGE_MAX];

static bool leased = true;
static bool may_act(void *ctx) { (void)ctx; return leased; }

static enum job_outcome run_with(const struct job_tests *t, const char *configs) {
    struct job_env env = { .driver = &driver, .log = &quiet, .tests = t, .may_act = may_act };
    struct job_result r = { 0 };
    json_t *job = NULL;
    _cleanup_free_ char *text = str_printf("{\"job_type\":\"BackendSynchronizeBackendTest\",\"test_configs\":%s,"
                                           "\"node_condition_prefix\":\"my.osmo.nvidia.com/\"}", configs);
    CHECK(json_parse(text, strlen(text), &job, NULL) == 0);
    job_run(&env, job, &r);
    snprintf(last, sizeof last, "%s", buf_cstr(&r.message));
    buf_free(&r.message);
    json_free(job);
    return r.outcome;
}

static enum job_outcome sync_tests(const char *configs) { return run_with(&tests_env, configs); }

static json_t *object(const char *kind, const char *name) {
    _cleanup_free_ char *text = fake_kube_text(kind, name);
    json_t *v = NULL;
    if (text)
        CHECK(json_parse(text, strlen(text), &v, NULL) == 0);
    return v;
}

/* How often anything was written since the last time. */
static int writes(void) {
    static int told;
    int n = fake_kube_calls("create") + fake_kube_calls("replace") + fake_kube_calls("remove"), before = told;
    told = n;
    return n - before;
}

static void begin(void) {
    fake_kube_reset(false);
    tests_env.template_ = NULL;
    tests_env.kube = fake_kube_client();
    writes();
}

static void end(void) {
    osmo_kube_free(tests_env.kube);
    tests_env.kube = NULL;
}

#define TEST_1 "{\"name\":\"gpu\",\"cron_schedule\":\"0 */6 * * *\",\"test_timeout\":\"10m\",\"node_conditions\":[\"GpuBad\"]}"
#define TEST_2 "{\"name\":\"net\",\"cron_schedule\":\"1 1 * * *\",\"test_timeout\":\"300s\",\"node_conditions\":[\"NetBad\"]}"

static void brought_in_line(void) {
    begin();
    CHECK_INT(sync_tests("{\"gpu\":" TEST_1 ",\"net\":" TEST_2 "}"), JOB_SUCCESS);
    CHECK_STR(last, "");
    CHECK_INT(writes(), 4);
    json_t *cron = object("CronJob", "gpu"), *config = object("ConfigMap", "gpu-config");
    const json_t *meta = json_get(cron, "metadata"), *labels = json_get(meta, "labels"), *spec = json_get(cron, "spec");
    CHECK_STR(json_get_str(cron, "apiVersion"), "batch/v1");
    CHECK_STR(json_get_str(meta, "namespace"), "tests");
    CHECK_STR(json_get_str(labels, "my.osmo.nvidia.com/component"), "backend-test");
    CHECK_STR(json_get_str(labels, "my.osmo.nvidia.com/backend"), "b");
    CHECK_STR(json_get_str(spec, "schedule"), "0 */6 * * *");
    CHECK_STR(json_get_str(spec, "concurrencyPolicy"), "Forbid");
    const json_t *job = json_path(spec, "jobTemplate", "spec", NULL), *pod = json_path(job, "template", "spec", NULL);
    const json_t *container = json_at(json_get(pod, "containers"), 0);
    CHECK_INT(json_get_int(job, "activeDeadlineSeconds", 0), 1200);
    CHECK_STR(json_get_str(container, "image"), "registry.example/backend:1");
    CHECK_STR(json_get_str(json_at(json_get(container, "env"), 2), "value"), "my.osmo.nvidia.com/");
    CHECK_STR(json_get_str(json_get(json_at(json_get(pod, "volumes"), 0), "configMap"), "name"), "gpu-config");
    CHECK_STR(json_get_str(json_path(config, "metadata", "labels", NULL), "my.osmo.nvidia.com/component"), "backend-test-config");
    CHECK_STR(json_get_str(json_get(config, "data"), "test_config.json"), TEST_1);
    json_free(cron);
    json_free(config);
    CHECK_INT(sync_tests("{\"net\":" TEST_2 ",\"gpu\":" TEST_1 "}"), JOB_SUCCESS); /* nothing is disturbed */
    CHECK_INT(writes(), 0);
    CHECK_INT(sync_tests("{\"gpu\":{\"name\":\"gpu\",\"cron_schedule\":\"5 5 * * *\"}}"), JOB_SUCCESS);
    CHECK_INT(writes(), 4); /* two replaced, two removed */
    CHECK_INT(fake_kube_count("CronJob"), 1);
    CHECK_INT(fake_kube_count("ConfigMap"), 1);
    cron = object("CronJob", "gpu");
    CHECK_STR(json_get_str(json_get(cron, "spec"), "schedule"), "5 5 * * *");
    json_free(cron);
    leased = false; /* another replica has it, and may know newer tests */
    CHECK_INT(sync_tests("{\"net\":" TEST_2 "}"), JOB_FAILED_RETRY);
    CHECK_INT(sync_tests("{}"), JOB_FAILED_RETRY);
    CHECK_INT(writes(), 0);
    leased = true;
    /* one that lost its labels is taken over; one of somebody else stays */
    fake_kube_merge("CronJob", "gpu", "{\"metadata\":{\"labels\":{\"my.osmo.nvidia.com/backend\":\"x\"}}}");
    fake_kube_put("{\"kind\":\"CronJob\",\"metadata\":{\"name\":\"theirs\",\"namespace\":\"tests\"}}");
    CHECK_INT(sync_tests("{\"gpu\":{\"name\":\"gpu\",\"cron_schedule\":\"5 5 * * *\"}}"), JOB_SUCCESS);
    cron = object("CronJob", "gpu");
    CHECK_STR(json_get_str(json_path(cron, "metadata", "labels", NULL), "my.osmo.nvidia.com/backend"), "b");
    json_free(cron);
    CHECK_INT(sync_tests("{}"), JOB_SUCCESS);
    CHECK_INT(fake_kube_count("ConfigMap"), 0);
    CHECK_INT(fake_kube_count("CronJob"), 1);
    end();
}

static void by_another_template(void) {
    begin();
    tests_env.template_ = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata:\n  name: {{ resource_name }}-{{ backend_name }}\n"
                          "spec:\n  schedule: \"{{ cron_schedule }}\"\n"
                          "  note: \"{{ test_name }} {{ configmap_name }} {{ node_condition_prefix }}\"\n";
    CHECK_INT(sync_tests("{\"gpu\":" TEST_1 "}"), JOB_SUCCESS);
    json_t *cron = object("CronJob", "gpu-b");
    CHECK_STR(json_get_str(cron, "apiVersion"), "batch/v1");
    CHECK_STR(json_get_str(json_get(cron, "spec"), "note"), "gpu gpu-config my.osmo.nvidia.com/");
    json_free(cron);
    CHECK_INT(sync_tests("{}"), JOB_SUCCESS);
    CHECK_INT(fake_kube_count("CronJob"), 0);
    static const struct { const char *text, *message; } bad[] = {
        { "kind: Pod\n", "the template gives no CronJob" },
        { "kind: {{ who }}\n", "who" },
        { "kind: [\n", "line" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        tests_env.template_ = bad[i].text;
        CHECK_INT(sync_tests("{\"gpu\":" TEST_1 "}"), JOB_FAILED_NO_RETRY);
        CHECK_CONTAINS(last, "making CronJob gpu in namespace tests: ");
        CHECK_CONTAINS(last, bad[i].message);
    }
    end();
}

/* What goes into the template's text must not become more than a value of it: it comes from the service, and the pods have rights. */
static void texts_stay_texts(void) {
    static const char *const bad[] = {
        "{\"gpu\":{\"cron_schedule\":\"* * * * *\\\"\\n  suspend: true\\n  x: \\\"\"}}",
        "{\"gpu\":{\"cron_schedule\":\"\\\\x2a * * * *\"}}",
        "{\"gpu\\n  namespace: kube-system\":{\"cron_schedule\":\"* * * * *\"}}",
        "{\"gpu, labels: {a: b}\":{\"cron_schedule\":\"* * * * *\"}}",
        "{\"\":{\"cron_schedule\":\"* * * * *\"}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        begin();
        CHECK_INT(sync_tests(bad[i]), JOB_FAILED_NO_RETRY);
        CHECK_CONTAINS(last, "cannot be ");
        CHECK_INT(fake_kube_count("CronJob"), 0);
        end();
    }
    begin();
    struct job_env env = { .driver = &driver, .log = &quiet, .tests = &tests_env };
    struct job_result r = { 0 };
    json_t *job = NULL;
    static const char text[] = "{\"job_type\":\"BackendSynchronizeBackendTest\",\"test_configs\":{},"
                               "\"node_condition_prefix\":\"!x,\"}"; /* would remove what is not ours */
    CHECK(json_parse(text, sizeof text - 1, &job, NULL) == 0);
    fake_kube_put("{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"theirs\",\"namespace\":\"tests\"}}");
    job_run(&env, job, &r);
    CHECK_INT(r.outcome, JOB_FAILED_NO_RETRY);
    CHECK_CONTAINS(buf_cstr(&r.message), "node_condition_prefix");
    CHECK_INT(fake_kube_count("ConfigMap"), 1);
    buf_free(&r.message);
    json_free(job);
    end();
}

static void trouble(void) {
    static const struct { const char *call; int code; enum job_outcome outcome; const char *message; } cases[] = {
        { "create", OSMO_EDENIED, JOB_FAILED_NO_RETRY, "storing ConfigMap gpu-config in namespace tests: oh" },
        { "create", OSMO_EUNAVAIL, JOB_FAILED_RETRY, "storing ConfigMap gpu-config in namespace tests: oh" },
        { "list", OSMO_EBUSY, JOB_FAILED_RETRY, "tests of nodes cannot be listed in namespace tests: oh" },
        { "list", OSMO_EDENIED, JOB_FAILED_NO_RETRY, "tests of nodes cannot be listed in namespace tests: oh" },
    };
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake_kube_fail(cases[i].call, cases[i].code, "oh", 1);
        CHECK_INT(sync_tests("{\"gpu\":" TEST_1 "}"), cases[i].outcome);
        CHECK_STR(last, cases[i].message);
    }
    CHECK_INT(sync_tests("{\"gpu\":" TEST_1 "}"), JOB_SUCCESS);
    fake_kube_fail("remove", OSMO_ENOTFOUND, "gone", 2);
    CHECK_INT(sync_tests("{}"), JOB_SUCCESS);
    fake_kube_fail("list", OSMO_EDENIED, "not for you", 1); /* who has nothing to do needs no right to */
    CHECK_INT(sync_tests("{}"), JOB_SUCCESS);
    CHECK_INT(run_with(NULL, "{\"gpu\":" TEST_1 "}"), JOB_SUCCESS); /* a cluster without CronJobs */
    CHECK_INT(sync_tests("[]"), JOB_FAILED_NO_RETRY);
    CHECK_STR(last, "test_configs must be an object of at most 1000 tests");
    end();
}

static const struct check_test tests[] = {
    { "brought in line", brought_in_line }, { "by another template", by_another_template }, { "trouble", trouble },
    { "texts stay texts", texts_stay_texts },
};
TEST_MAIN("tests of nodes", tests)
