/* operator/pods.c by itself: what is said of a pod, once, and what is said when it goes; its snapshot; grace times
 * without an event. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "check.h"
#include "operator/pods.h"

#define T0 INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define MINUTE (60 * INT64_C(1000000))
#define WORKFLOW "000102030405060708090a0b0c0d0e0f"
#define GROUP "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
#define TASK "00112233445566778899aabbccddeeff"
#define UID1 "11111111-0000-4000-8000-000000000001"
#define UID2 "11111111-0000-4000-8000-000000000002"
#define READY_SINCE "\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"," \
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]"
#define WAITS(reason) "\"containerStatuses\":[{\"name\":\"train\",\"state\":{\"waiting\":{\"reason\":\"" reason "\"}}}]"

static struct told { buf_t text; bool full, cleaning; char labels[512]; } told;
static pods_t *pods;

static bool emit(void *ctx, enum message_type type, json_t *body) {
    _cleanup_free_ char *text = json_to_text(body);
    (void)ctx;
    json_free(body);
    if (told.full)
        return false;
    buf_printf(&told.text, "%s %s\n", message_type_name(type), text);
    return true;
}

static bool cleaning(void *ctx, const json_t *labels) {
    _cleanup_free_ char *text = json_to_text(labels);
    (void)ctx;
    snprintf(told.labels, sizeof told.labels, "%s", text);
    return told.cleaning;
}

static bool begin(void) {
    static const logger_t log;
    struct pods_out out = { .emit = emit, .cleaning = cleaning };
    told = (struct told){ .text = BUF_INIT(1 << 20) };
    pods = pods_new("east", "ns", &out, &log);
    CHECK(pods != NULL);
    return pods != NULL;
}

static void end(void) {
    pods_free(pods);
    buf_free(&told.text);
}

/* What was said since the last call. */
static const char *said(void) {
    static char copy[8192];
    snprintf(copy, sizeof copy, "%s", buf_cstr(&told.text));
    buf_reset(&told.text);
    return copy;
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    while ((text = strstr(text, part))) {
        n++;
        text += strlen(part);
    }
    return n;
}

static pod_facts_t *facts(const char *text) {
    pod_facts_t *f = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(pod_facts_read(text, strlen(text), &f, &err), &err);
    return f;
}

static const char *pod_text(const char *name, const char *uid, int retry, const char *meta, const char *status) {
    static char text[4096];
    snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
        "%s%s%s%s\"labels\":{\"osmo.workflow_uuid\":\"" WORKFLOW "\","
             "\"osmo.group_uuid\":\"" GROUP "\",\"osmo.task_uuid\":\"" TASK "\",\"osmo.task_name\":\"train\","
             "\"osmo.retry_id\":\"%d\","
             "\"osmo.installation\":\"here\"}},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"train\"}]},"
             "\"status\":{%s}}",
             name, uid ? "\"uid\":\"" : "", uid ? uid : "", uid ? "\"," : "", meta, retry, status);
    return text;
}

static void apply_at(const char *text, int64_t now) {
    pod_facts_t *f = facts(text);
    if (f)
        pods_apply(pods, f, now);
    pod_facts_free(f);
}
static void apply(const char *text) { apply_at(text, T0); }

static void remove_pod(const char *text) {
    pod_facts_t *f = facts(text);
    if (f)
        pods_remove(pods, f, T0);
    pod_facts_free(f);
}

#define RUNNING "\"phase\":\"Running\",\"podIP\":\"10.0.0.9\""
#define GONE(uid) "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"" uid "\"}}"

/* ---- while it lives ---- */

static void each_status_once(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 2, "", RUNNING));
    CHECK_STR(said(), "update_pod {\"workflow_uuid\":\"" WORKFLOW "\",\"task_uuid\":\"" TASK "\",\"retry_id\":2,"
        "\"container\":\"train\",\"node\":\"n1\","
              "\"pod_ip\":\"10.0.0.9\",\"message\":\"\",\"status\":\"RUNNING\",\"exit_code\":null,\"backend\":\"east\","
              "\"conditions\":[]}\n");
    apply(pod_text("p", UID1, 2, "", RUNNING));
    CHECK_STR(said(), "");
    apply(pod_text("p", UID1, 2, "", "\"phase\":\"Succeeded\""));
    CHECK_CONTAINS(said(), "\"status\":\"COMPLETED\",\"exit_code\":0");
    apply(pod_text("p", UID1, 2, "", RUNNING));
    CHECK_STR(said(), "");
    CHECK_INT(pods_count(pods), 1);
    end();
}

static void monitors_once(void) {
    static const char *const init = "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"osmo-init\","
        "\"state\":{\"waiting\":{\"reason\":"
                                    "\"PodInitializing\"}}}]";
    REQUIRE(begin());
    apply(pod_text("p", UID1, 0, "", init));
    const char *text = said();
    CHECK_INT(count_of(text, "monitor_pod {\"workflow_uuid\":\"" WORKFLOW "\",\"task_uuid\":\"" TASK "\","
        "\"retry_id\":0,\"message\":\"\"}"), 1);
    CHECK_INT(count_of(text, "INITIALIZING"), 1);
    apply(pod_text("p", UID1, 0, "", init));
    CHECK_STR(said(), "");
    end();
}

static void conditions_when_they_change(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\","
        "\"status\":\"False\",\"reason\":\"Unschedulable\","
                   "\"message\":\"0/3 nodes\",\"lastTransitionTime\":\"2026-01-01T00:00:01Z\"},"
                   "{\"status\":\"True\"}]"));
    const char *text = said();
    CHECK_CONTAINS(text, "pod_conditions {\"workflow_uuid\":\"" WORKFLOW "\",\"task_uuid\":\"" TASK "\",\"retry_id\":0,"
        "\"conditions\":[{\"reason\":"
                   "\"Unschedulable\",\"message\":\"0/3 nodes\",\"timestamp\":\"2026-01-01T00:00:01Z\","
                   "\"status\":\"False\",\"type\":\"PodScheduled\"}]}\n");
    CHECK_CONTAINS(text, "\"message\":\"Pod cannot be scheduled: 0/3 nodes\",\"status\":\"SCHEDULING\"");
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\","
        "\"status\":\"False\",\"reason\":\"Unschedulable\","
                   "\"message\":\"0/3 nodes\",\"lastTransitionTime\":\"2026-01-01T00:00:01Z\"}]"));
    CHECK_STR(said(), "");
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\","
        "\"status\":\"False\",\"reason\":\"Unschedulable\","
                   "\"message\":\"0/4 nodes\"}]"));
    CHECK_CONTAINS(said(), "\"message\":\"0/4 nodes\",\"timestamp\":\"1970-01-01T00:00:00Z\"");
    end();
}

static void only_pods_of_workflows_here(void) {
    REQUIRE(begin());
    apply("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"status\":{\"phase\":\"Running\"}}");
    apply("{\"metadata\":{\"name\":\"p\",\"namespace\":\"other\",\"labels\":{\"osmo.task_uuid\":\"t\","
        "\"osmo.workflow_uuid\":\"w\"}},"
          "\"status\":{\"phase\":\"Running\"}}");
    apply("{\"metadata\":{\"namespace\":\"ns\",\"labels\":{\"osmo.task_uuid\":\"t\",\"osmo.workflow_uuid\":\"w\"}},"
        "\"status\":{\"phase\":\"Running\"}}");
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Unknown\""));
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Odd\""));
    CHECK_STR(said(), "");
    CHECK_INT(pods_count(pods), 0);
    end();
}

/* What could not be queued is said with the next event. */
static void a_full_queue(void) {
    REQUIRE(begin());
    told.full = true;
    apply(pod_text("p", UID1, 0, "", RUNNING));
    told.full = false;
    apply(pod_text("p", UID1, 0, "", RUNNING));
    CHECK_INT(count_of(said(), "RUNNING"), 1);
    end();
}

/* ---- grace times ---- */

static void grace_ends_without_an_event(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Pending\"," READY_SINCE "," WAITS("CreateContainerConfigError")));
    CHECK_INT(count_of(said(), "SCHEDULING"), 1);
    CHECK_INT(pods_next_recheck(pods), T0 + 10 * MINUTE + 1);
    CHECK_INT(pods_recheck(pods, T0 + 5 * MINUTE), T0 + 10 * MINUTE + 1);
    CHECK_STR(said(), "");
    apply(pod_text("q", UID2, 1, "", "\"phase\":\"Running\"," READY_SINCE "," WAITS("ContainerStatusUnknown")));
    said();
    CHECK_INT(pods_next_recheck(pods), T0 + 10 * MINUTE + 1);
    CHECK_INT(pods_recheck(pods, T0 + 10 * MINUTE + 1), T0 + 30 * MINUTE + 1);
    const char *text = said();
    CHECK_INT(count_of(text, "\"status\":\"FAILED_BACKEND_ERROR\",\"exit_code\":3001"), 1);
    CHECK_CONTAINS(text, "CreateContainerConfigError");
    apply(pod_text("q", UID2, 1, "", RUNNING));
    CHECK_INT(pods_next_recheck(pods), 0);
    CHECK_INT(pods_recheck(pods, T0 + 60 * MINUTE), 0);
    CHECK_INT(count_of(said(), "update_pod"), 1);
    end();
}

/* Deleted by somebody, held by our finalizer, and no kubelet to end it. */
static void deleted_and_still_there(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 0, "\"deletionTimestamp\":\"2026-01-01T00:00:30Z\",", "\"phase\":\"Pending\""));
    CHECK_INT(count_of(said(), "SCHEDULING"), 1);
    int64_t at = pods_next_recheck(pods);
    CHECK_INT(at, T0 + MINUTE + MINUTE / 2);
    CHECK_INT(pods_recheck(pods, at), 0);
    CHECK_CONTAINS(said(), "the pod p does not end in cluster east: it was deleted outside of OSMO\","
        "\"status\":\"FAILED_BACKEND_ERROR\"");
    apply_at(pod_text("p", UID1, 0, "\"deletionTimestamp\":\"2026-01-01T00:00:30Z\",", "\"phase\":\"Pending\""),
        at + MINUTE);
    CHECK_STR(said(), "");
    remove_pod(GONE(UID1));
    CHECK_STR(said(), "");
    end();
}

/* What a drained node leaves: the command was ended by a signal. One that ended by itself keeps its own cause. */
static void deleted_and_ended(void) {
    static const struct { int code; bool cleaning; const char *expected; } cases[] = {
        {143, false, "the pod p was deleted outside of OSMO, perhaps to drain its node\\n- Task train failed with exit code 143"},
        {137, false, "\"status\":\"FAILED_BACKEND_ERROR\",\"exit_code\":3001"},
        {143, true, "\"status\":\"FAILED\",\"exit_code\":143"}, {7, false, "\"status\":\"FAILED\",\"exit_code\":7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char status[256];
        snprintf(status, sizeof status, "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"train\",\"state\":{\"terminated\":{"
                 "\"exitCode\":%d,\"reason\":\"Error\"}}}]", cases[i].code);
        REQUIRE(begin());
        told.cleaning = cases[i].cleaning;
        apply(pod_text("p", UID1, 0, "\"deletionTimestamp\":\"2026-01-01T00:00:30Z\",", status));
        CHECK_CONTAINS(said(), cases[i].expected);
        end();
    }
}

static void deleted_by_ourselves(void) {
    REQUIRE(begin());
    told.cleaning = true;
    apply_at(pod_text("p", UID1, 0, "\"deletionTimestamp\":\"2026-01-01T00:00:30Z\",", "\"phase\":\"Running\""),
        T0 + 60 * MINUTE);
    CHECK_INT(count_of(said(), "update_pod"), 1); /* that it runs */
    CHECK_STR(told.labels, "{\"osmo.workflow_uuid\":\"" WORKFLOW "\",\"osmo.group_uuid\":\"" GROUP "\","
        "\"osmo.task_uuid\":\"" TASK "\","
              "\"osmo.task_name\":\"train\",\"osmo.retry_id\":\"0\"}");
    end();
}

/* ---- when it goes ---- */

static void gone_by_name_and_uid_only(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 4, "", RUNNING));
    said();
    remove_pod(GONE(UID2)); /* another one of that name, which nobody knows */
    remove_pod("{\"metadata\":{\"name\":\"p\",\"namespace\":\"other\",\"uid\":\"" UID1 "\"}}");
    remove_pod("{\"metadata\":{\"uid\":\"" UID1 "\"}}");
    CHECK_STR(said(), "");
    CHECK_INT(pods_count(pods), 1);
    remove_pod(GONE(UID1));
    CHECK_STR(said(), "update_pod {\"workflow_uuid\":\"" WORKFLOW "\",\"task_uuid\":\"" TASK "\",\"retry_id\":4,"
        "\"container\":\"\",\"node\":null,"
              "\"pod_ip\":null,\"message\":\"the pod p is gone from cluster east: it was deleted outside of OSMO\","
              "\"status\":\"FAILED_BACKEND_ERROR\","
              "\"exit_code\":3001,\"backend\":\"east\",\"conditions\":[]}\n");
    CHECK_STR(told.labels, "{\"osmo.workflow_uuid\":\"" WORKFLOW "\",\"osmo.group_uuid\":\"" GROUP "\","
        "\"osmo.task_uuid\":\"" TASK "\","
              "\"osmo.task_name\":\"train\",\"osmo.retry_id\":\"4\"}");
    CHECK_INT(pods_count(pods), 0);
    remove_pod(GONE(UID1));
    CHECK_STR(said(), "");
    end();
}

static void gone_when_that_is_fine(void) {
    REQUIRE(begin());
    apply(pod_text("p", UID1, 0, "", "\"phase\":\"Succeeded\""));
    said();
    remove_pod(GONE(UID1));
    CHECK_STR(said(), "");
    apply(pod_text("q", UID2, 0, "", RUNNING));
    said();
    told.cleaning = true;
    remove_pod("{\"metadata\":{\"name\":\"q\",\"namespace\":\"ns\",\"uid\":\"" UID2 "\"}}");
    CHECK_STR(said(), "");
    CHECK_INT(pods_count(pods), 0);
    end();
}

static void gone_with_its_last_state(void) {
    REQUIRE(begin());
    remove_pod(pod_text("p", UID1, 0, "", "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"train\","
        "\"state\":{\"terminated\":{\"exitCode\":3}}}]"));
    const char *text = said();
    CHECK_INT(count_of(text, "update_pod"), 1);
    CHECK_CONTAINS(text, "\"status\":\"FAILED\",\"exit_code\":3");
    remove_pod(pod_text("q", UID2, 0, "", RUNNING));
    text = said();
    CHECK_INT(count_of(text, "update_pod"), 2);
    CHECK_CONTAINS(text, "the pod q is gone");
    CHECK_INT(pods_count(pods), 0);
    end();
}

/* Without uids the name is all there is, and the next retry may have taken it. */
static void the_next_retry_under_the_same_name(void) {
    REQUIRE(begin());
    apply(pod_text("p", NULL, 0, "", RUNNING));
    apply(pod_text("p", NULL, 1, "", RUNNING));
    CHECK_INT(count_of(said(), "RUNNING"), 2);
    CHECK_INT(pods_count(pods), 1);
    remove_pod(pod_text("p", NULL, 0, "", RUNNING));
    CHECK_STR(said(), "");
    CHECK_INT(pods_count(pods), 1);
    remove_pod(pod_text("p", NULL, 1, "", RUNNING));
    CHECK_CONTAINS(said(), "\"retry_id\":1");
    CHECK_INT(pods_count(pods), 0);
    /* with uids both live beside each other */
    apply(pod_text("p", UID1, 0, "", RUNNING));
    apply(pod_text("p", UID2, 1, "", RUNNING));
    said();
    remove_pod(GONE(UID1));
    CHECK_CONTAINS(said(), "\"retry_id\":0");
    CHECK_INT(pods_count(pods), 1);
    end();
}

/* ---- snapshots ---- */

static void described(void) {
    pod_facts_t *f = facts(pod_text("p", UID1, 1, "", "\"phase\":\"Failed\",\"message\":\"why\""));
    _cleanup_json_ json_t *entry = NULL, *none = NULL;
    REQUIRE(f != NULL);
    CHECK_INT(pods_describe("ns", f, T0, &entry), 0);
    _cleanup_free_ char *text = json_to_text(entry);
    CHECK_STR(text, "{\"workflow_uuid\":\"" WORKFLOW "\",\"task_uuid\":\"" TASK "\",\"retry_id\":1,"
        "\"group_uuid\":\"" GROUP "\",\"pod_name\":\"p\","
              "\"installation\":\"here\",\"node\":\"n1\",\"pod_ip\":null,\"status\":\"FAILED\",\"message\":\"why\","
              "\"exit_code\":4000}");
    CHECK_INT(pods_describe("other", f, T0, &none), 0);
    CHECK(none == NULL);
    pod_facts_free(f);
}

static const struct check_test tests[] = {
    {"each status once", each_status_once}, {"monitors once", monitors_once}, {"conditions when they change",
        conditions_when_they_change},
    {"only pods of workflows here", only_pods_of_workflows_here}, {"a full queue", a_full_queue},
    {"grace ends without an event", grace_ends_without_an_event}, {"deleted and still there", deleted_and_still_there},
    {"deleted and ended", deleted_and_ended},
    {"deleted by ourselves", deleted_by_ourselves}, {"gone by name and uid only", gone_by_name_and_uid_only},
    {"gone when that is fine", gone_when_that_is_fine}, {"gone with its last state", gone_with_its_last_state},
    {"the next retry under the same name", the_next_retry_under_the_same_name}, {"described", described},
};
TEST_MAIN("pod tracker", tests)
