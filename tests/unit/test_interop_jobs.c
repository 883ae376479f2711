/* Our operator against an agent of OSMO 6.4, the worker's half: jobs as that agent writes them, one at a time, each answered once
 * on the connection that it came on and on no other. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"
#include "interop_bench.h"
#include "model/messages.h"
#include "upstream_fixture.h"

#define SCRIPT "tasks:\n  slow: {duration_ms: 3600000}\n  bad: {exit_code: 7, log: \"last words\"}\n"
#define HEAD "\"job_uuid\":\"6a1d0f3e-0000-4000-8000-000000000003\",\"backend\":\"east\",\"workflow_id\":\"mnist-12\"," \
    "\"workflow_uuid\":\"w1\",\"user\":\"alice\""

static void say_cleanup(const char *specs, const char *error_logs, bool force) {
    _cleanup_free_ char *text = str_printf("{\"super_type\":\"frontend\",\"job_type\":\"CleanupGroup\",\"job_id\":"
                                           "\"w1-train-0fab12-backend-cleanup\"," HEAD ",\"group_name\":\"train\",\"force_delete\":%s,"
                                           "\"max_log_lines\":100,\"error_log_spec\":%s,\"cleanup_specs\":%s}", force ? "true" : "false",
                                           error_logs, specs);
    upstream_job(text);
}

#define SELECTOR "\"labels\":{" GROUP_LABELS "}"
#define GENERIC(version, kind) "{\"resource_type\":null,\"custom_api\":null,\"generic_api\":{\"api_version\":\"" version "\",\"kind\":\"" \
    kind "\"}," SELECTOR "}"
#define LEGACY(kind) "{\"resource_type\":\"" kind "\"," SELECTOR ",\"custom_api\":null}"

/* ---- creating ---- */

#define SECRET "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s1\"," SELECTOR "},\"type\":\"Opaque\",\"data\":{}," \
    "\"stringData\":{\"k\":\"v\"}}"

static void creates(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    say_create("j1", SECRET, "slow", 1);
    CHECK_CONTAINS(upstream_status(1), "\"body\":{\"status\":\"SUCCESS\",\"message\":null}");
    say_create("j1", SECRET, "slow", 1); /* delivered again */
    CHECK_CONTAINS(upstream_status(2), "\"body\":{\"status\":\"SUCCESS\",\"message\":\"AlreadyExists\"}");
    upstream_job("{\"job_type\":\"CreateGroup\",\"job_id\":\"j2\"," HEAD ",\"group_name\":\"train\",\"k8s_resources\":[],"
                 "\"unheard_of\":{}}");
    CHECK_CONTAINS(upstream_status(3), "\"SUCCESS\"");
    CHECK_INT(upstream_connections(UP_WORKER), 1);
    bench_close(&b);
}

/* What is wrong with a job is said in its answer, and the socket goes on. */
static void refuses(void) {
    struct bench b;
    static const char *const jobs[] = {
        "{\"job_type\":\"BakeCake\",\"job_id\":\"j\"}", "{\"job_type\":\"\",\"job_id\":\"j\"}",
        "{\"job_type\":\"CreateGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\"}",
        "{\"job_type\":\"CreateGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\",\"k8s_resources\":{}}",
        "{\"job_type\":\"CreateGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\",\"k8s_resources\":[7]}",
        "{\"job_type\":\"CreateGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\",\"k8s_resources\":[{}]}",
        "{\"job_type\":\"CleanupGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\",\"cleanup_specs\":[{}]}",
        "{\"job_type\":\"CleanupGroup\",\"job_id\":\"j\"," HEAD ",\"group_name\":\"g\",\"cleanup_specs\":[{\"resource_type\":\"Pod\"}]}",
        "{\"job_type\":\"RescheduleTask\",\"job_id\":\"j\"," HEAD "}",
        "{\"job_type\":\"LabelNode\",\"job_id\":\"j\"}",
        "{\"job_type\":\"LabelNode\",\"job_id\":\"j\",\"node_name\":\"no-such-node\",\"labels\":{\"a\":\"b\"}}",
        "{\"job_type\":\"BackendSynchronizeQueues\",\"job_id\":\"j\"}",
    };
    REQUIRE(bench_open(&b, SCRIPT));
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
        upstream_job(jobs[i]);
        const char *text = upstream_status(i + 1);
        CHECK_CONTAINS(text, "\"status\":\"FAILED_");
        CHECK(text && !strstr(text, "\"message\":null"));
    }
    CHECK_INT(upstream_connections(UP_WORKER), 1);
    bench_close(&b);
}

/* Frames that hold no job: each counts as one for the agent, which waits for its answer. */
static void broken_frames(void) {
    struct bench b;
    static const char zero[64];
    _cleanup_buf_ buf_t frame = BUF_INIT(1 << 20);
    static const char *const texts[] = { "{\"job_type\":\"CreateGroup\"", "[]", "7", "null", "\"x\"", "{}", "{\"job_id\":\"x\"}", "" };
    size_t n = 0;
    json_t *job = NULL;
    REQUIRE(bench_open(&b, SCRIPT));
    upstream_job_raw("no zlib at all", 14, "CreateGroup");
    CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    upstream_job_raw(zero, sizeof zero, "CreateGroup");
    CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    upstream_job_raw("", 0, "CreateGroup");
    CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    REQUIRE(json_parse("{\"job_type\":\"x\"}", 16, &job, NULL) == 0 && job_frame_pack(job, &frame, NULL) == 0);
    for (size_t cut = 1; cut < frame.len; cut += 3) { /* a stream that ends early */
        upstream_job_raw(frame.data, frame.len - cut, "x");
        CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    }
    frame.data[frame.len / 2] ^= 0x20; /* and one with a wrong byte */
    upstream_job_raw(frame.data, frame.len, "x");
    CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    json_free(job);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) { /* whole streams of something else */
        buf_reset(&frame);
        REQUIRE(upstream_deflate(texts[i], strlen(texts[i]), &frame));
        upstream_job_raw(frame.data, frame.len, "x");
        CHECK_CONTAINS(upstream_status(++n), "FAILED_NO_RETRY");
    }
    CHECK_INT(upstream_connections(UP_WORKER), 1);
    bench_close(&b);
}

/* The frame limit of the agent's model is 16 MiB: that much is taken, more is told to be too large, and the agent gives the job up. */
static void frame_limit(void) {
    struct bench b;
    size_t max = 16u << 20, huge = 40u << 20;
    char *frame = calloc(1, huge);
    REQUIRE(frame && bench_open(&b, SCRIPT));
    upstream_job_raw(frame, max, "CreateGroup");
    CHECK_CONTAINS(upstream_status(1), "FAILED_NO_RETRY"); /* no job, but read to its end */
    for (size_t i = 0; i < 4; i++) {
        upstream_job_raw(frame, i % 2 ? huge : max + 1, "CreateGroup");
        CHECK_INT(upstream_await_close(UP_WORKER), 1009);
        upstream_await_connection(UP_WORKER, i + 2);
    }
    say_create("j1", "", "slow", 1);
    CHECK_CONTAINS(upstream_status(2), "SUCCESS");
    free(frame);
    bench_close(&b);
}

/* A few kilobytes that become far more than any job is. */
static void bomb(void) {
    struct bench b;
    size_t len = 300u << 20;
    char *zeros = calloc(1, len);
    _cleanup_buf_ buf_t frame = BUF_INIT(1 << 20);
    REQUIRE(zeros && upstream_deflate(zeros, len, &frame));
    free(zeros);
    CHECK(frame.len < 1 << 20);
    REQUIRE(bench_open(&b, SCRIPT));
    upstream_job_raw(frame.data, frame.len, "CreateGroup");
    CHECK_CONTAINS(upstream_status(1), "larger than");
    bench_close(&b);
}

/* The agent's heartbeat has neither body nor uuid; it is answered by nothing. */
static void heartbeats(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    bench_await_inits(1);
    for (int i = 0; i < 5; i++)
        upstream_say(UP_WORKER, "{\"type\":\"heartbeat\"}");
    upstream_ping(UP_WORKER, "x");
    upstream_await_pongs(UP_WORKER, 1);
    CHECK_INT(upstream_count(UP_WORKER, NULL), 1); /* INIT */
    bench_close(&b);
}

/* ---- cleaning up ---- */

static void cleans_up(void) {
    struct bench b;
    static const char *const specs[] = {
        "[" GENERIC("v1", "Secret") "," GENERIC("v1", "Service") "," GENERIC("v1", "Pod") ","
        GENERIC("scheduling.run.ai/v2alpha2", "PodGroup") "]",
        "[" LEGACY("Secret") "," LEGACY("Service") "," LEGACY("Pod") ",{\"resource_type\":\"PodGroup\"," SELECTOR ",\"custom_api\":"
        "{\"api_major\":\"scheduling.run.ai\",\"api_minor\":\"v2alpha2\",\"path\":\"podgroups\"}}]",
        LEGACY("Pod"), GENERIC("v1", "Pod"), "[{\"resource_type\":\"Pod\"," SELECTOR "}]",
        "[{\"resource_type\":\"Secret\",\"generic_api\":{\"api_version\":\"v1\",\"kind\":\"Pod\"}," SELECTOR "}]", /* the newer form wins */
    };
    size_t n = 0;
    REQUIRE(bench_open(&b, SCRIPT));
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        say_create("j1", "", "slow", 1);
        CHECK_CONTAINS(upstream_status(++n), "\"message\":null"); /* the one before is gone */
        say_cleanup(specs[i], "null", i % 2);
        CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    }
    say_cleanup(specs[0], "null", false); /* nothing is there any more */
    CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    say_cleanup("[]", "null", false);
    CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    bench_close(&b);
}

/* Last words come before the answer and only within this job; the agent would drop a pod_log at any other time. */
static void sends_last_words(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    say_create("j1", "", "bad", 1);
    CHECK(upstream_await(UP_POD, "\"FAILED\"", 1) != NULL);
    say_cleanup("[" GENERIC("v1", "Pod") "]", LEGACY("Pod"), false);
    CHECK_CONTAINS(upstream_status(2), "SUCCESS");
    const char *text = upstream_await(UP_WORKER, "last words", 1);
    CHECK_CONTAINS(text, "\"task\":\"u-bad\",\"retry_id\":0,\"mask\":true");
    CHECK(upstream_count(UP_WORKER, "\"mask\":false") > 0);
    bench_close(&b);
}

/* ---- rescheduling ---- */

static void say_reschedule(const char *id, const char *labels, const char *name, int retry) {
    _cleanup_buf_ buf_t text = BUF_INIT(1 << 20);
    buf_printf(&text, "{\"super_type\":\"frontend\",\"job_type\":\"RescheduleTask\",\"job_id\":\"%s\"," HEAD ",\"retry_id\":%d,"
               "\"task_name\":\"slow\",\"lead_task\":true,\"cleanup_job\":{\"job_type\":\"CleanupGroup\",\"job_id\":\"c\"," HEAD ","
               "\"group_name\":\"train\","
               "\"force_delete\":false,\"max_log_lines\":100,\"error_log_spec\":null,\"cleanup_specs\":[{\"generic_api\":{\"api_version\":"
               "\"v1\",\"kind\":\"Pod\"},\"labels\":{%s}}]},\"create_job\":{\"job_type\":\"CreateGroup\",\"job_id\":\"n\"," HEAD
               ",\"group_name\":\"train\",\"backend_k8s_timeout\":60,\"scheduler_settings\":{},\"k8s_resources\":[", id, retry, labels);
    make_pod(&text, name, "slow", retry);
    buf_puts(&text, "]}}");
    upstream_job(buf_cstr(&text));
}

static void reschedules(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    say_create("j1", "", "slow", 1);
    CHECK(upstream_await(UP_POD, "\"RUNNING\"", 1) != NULL);
    say_reschedule("r1", GROUP_LABELS ",\"osmo.task_name\":\"slow\",\"osmo.retry_id\":\"0\"", "slow", 1);
    CHECK_CONTAINS(upstream_status(2), "\"status\":\"SUCCESS\"");
    CHECK(upstream_await(UP_POD, "\"retry_id\":1,\"container\"", 1) != NULL);
    say_reschedule("r1", GROUP_LABELS ",\"osmo.task_name\":\"slow\",\"osmo.retry_id\":\"0\"", "slow", 1); /* delivered again */
    CHECK_CONTAINS(upstream_status(3), "\"status\":\"SUCCESS\"");
    CHECK_INT(upstream_count(UP_POD, "FAILED_BACKEND_ERROR"), 0);
    bench_close(&b);
}

/* A job that is still at work when its connection goes: its answer reaches nobody, the next job on the new connection has its own. */
static void answers_its_own_connection_only(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    say_create("j1", "", "slow", 1);
    CHECK_CONTAINS(upstream_status(1), "SUCCESS");
    say_reschedule("r1", "\"none\":\"such\"", "slow", 1); /* waits for a pod that nothing removes */
    for (int i = 0; i < 3; i++) {
        upstream_drop(UP_WORKER);
        CHECK(upstream_await(UP_WORKER, "\"type\":\"init\"", (size_t)i + 2) != NULL);
        CHECK_CONTAINS(upstream_nth(UP_WORKER, (size_t)i + 2), "\"type\":\"init\"");
    }
    say_cleanup("[" GENERIC("v1", "Pod") "]", "null", true); /* has its turn when the one before gave up */
    CHECK_CONTAINS(upstream_status(2), "SUCCESS");
    say_create("j2", "", "other", 1);
    CHECK_CONTAINS(upstream_status(3), "SUCCESS");
    upstream_ping(UP_WORKER, "x");
    upstream_await_pongs(UP_WORKER, 1);
    CHECK_INT(upstream_count(UP_WORKER, "job_status"), 3);
    bench_close(&b);
}

/* The agent goes while last words are on their way; on the next connection the whole job comes again. */
static void lost_within_last_words(void) {
    struct bench b;
    REQUIRE(bench_open(&b, SCRIPT));
    say_create("j1", "", "bad", 1);
    CHECK(upstream_await(UP_POD, "\"FAILED\"", 1) != NULL);
    say_cleanup("[" GENERIC("v1", "Pod") "]", LEGACY("Pod"), false);
    upstream_drop(UP_WORKER);
    CHECK(upstream_await(UP_WORKER, "\"type\":\"init\"", 2) != NULL);
    size_t before = upstream_count(UP_WORKER, "job_status");
    say_cleanup("[" GENERIC("v1", "Pod") "]", LEGACY("Pod"), false);
    CHECK_CONTAINS(upstream_status(before + 1), "SUCCESS");
    bench_close(&b);
}

/* ---- the jobs of a backend ---- */

static void synchronizes(void) {
    struct bench b;
    static const char *const specs[] = {
        "[{\"generic_api\":{\"api_version\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\"},\"labels\":{\"osmo.namespace\":\"wf-ns\"}}]",
        "{\"generic_api\":{\"api_version\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\"},\"labels\":{\"osmo.namespace\":\"wf-ns\"}}",
        "{\"resource_type\":\"Queue\",\"custom_api\":{\"api_major\":\"scheduling.run.ai\",\"api_minor\":\"v2\",\"path\":\"queues\"},"
        "\"labels\":{\"osmo.namespace\":\"wf-ns\"}}",
    };
    size_t n = 0;
    REQUIRE(bench_open(&b, SCRIPT));
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        _cleanup_free_ char *text = str_printf(
            "{\"super_type\":\"backend\",\"job_type\":\"BackendSynchronizeQueues\",\"job_id\":\"east-modify-queues-8d%zu\",\"job_uuid\":"
            "\"6a1d0f3e-0000-4000-8000-000000000004\",\"backend\":\"east\",\"immutable_kinds\":[\"Topology\"],\"cleanup_specs\":%s,"
            "\"k8s_resources\":[{\"apiVersion\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"osmo-default-wf-ns\","
            "\"labels\":{\"osmo.namespace\":\"wf-ns\"}},\"spec\":{\"resources\":{}}}]}", i, specs[i]);
        upstream_job(text);
        CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    }
    upstream_job("{\"super_type\":\"backend\",\"job_type\":\"BackendSynchronizeBackendTest\",\"job_id\":\"east-sync-tests-1\",\"job_uuid\":"
                 "\"6a1d0f3e-0000-4000-8000-000000000005\",\"backend\":\"east\",\"test_configs\":{},\"node_condition_prefix\":"
                 "\"osmo.nvidia.com/\"}");
    CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    upstream_job("{\"super_type\":\"backend\",\"job_type\":\"LabelNode\",\"job_id\":\"scripted-node-4fe21-labelnode\",\"job_uuid\":"
                 "\"6a1d0f3e-0000-4000-8000-000000000006\",\"backend\":\"east\",\"node_name\":\"scripted-node\",\"labels\":"
                 "{\"osmo.verified\":\"False\",\"osmo.last-labeled\":\"2026-01-02\"},\"workflow_uuid\":\"w1\",\"user\":\"alice\"}");
    CHECK_CONTAINS(upstream_status(++n), "\"status\":\"SUCCESS\"");
    CHECK(upstream_await(UP_NODE, "\"osmo.last-labeled\":\"2026-01-02\"", 1) != NULL);
    bench_close(&b);
}

static const struct check_test tests[] = {
    { "creates", creates }, { "refuses", refuses }, { "broken frames", broken_frames }, { "frame limit", frame_limit }, { "bomb", bomb },
    { "heartbeats", heartbeats }, { "cleans up", cleans_up }, { "sends last words", sends_last_words },
    { "reschedules", reschedules }, { "answers its own connection only", answers_its_own_connection_only },
    { "lost within last words", lost_within_last_words }, { "synchronizes", synchronizes },
};
TEST_MAIN("interop jobs", tests)
