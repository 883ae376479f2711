/* The operator's pod pipeline with every allocation failing in turn: nothing is told in halves, nothing leaks, and what
 * could not be told is told when the pod is seen again with memory. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"
#include "failing_alloc.h"
#include "operator/events.h"
#include "operator/nodes.h"
#include "operator/pods.h"

#define NOW INT64_C(1767225600000000)

static struct told { size_t running, monitors, conditions, gone, usage, resources, events; } told;

/* A member that the wire requires; JSON null is none. */
static void must_have(const json_t *body, const char *const *keys) {
    for (; *keys; keys++) {
        if (!json_get(body, *keys))
            fprintf(stderr, "a message without %s\n", *keys);
        CHECK(json_get(body, *keys) != NULL);
    }
}

static bool emit_pod(void *ctx, enum message_type type, json_t *body) {
    static const char *const ids[] = {"workflow_uuid", "task_uuid", NULL};
    static const char *const update[] = {"container", "status", "message", "backend", "conditions", NULL};
    const char *status = json_get_str(body, "status");
    (void)ctx;
    must_have(body, ids);
    if (type == MSG_UPDATE_POD) {
        must_have(body, update);
        told.running += str_eq(status, "INITIALIZING");
        told.gone += str_eq(status, "FAILED_BACKEND_ERROR");
    } else {
        told.monitors += type == MSG_MONITOR_POD;
        told.conditions += type == MSG_POD_CONDITIONS && json_kind(json_get(body, "conditions")) == JSON_ARRAY;
    }
    json_free(body);
    return true;
}

static void emit_node(void *ctx, enum message_type type, const char *key, json_t *body) {
    (void)ctx;
    CHECK(key && body);
    told.usage += type == MSG_RESOURCE_USAGE;
    told.resources += type == MSG_RESOURCE;
    json_free(body);
}

static bool never(void *ctx, const json_t *labels) {
    (void)ctx, (void)labels;
    return false;
}

static const char pod_text[] =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"6f1c7e0a-0000-4000-8000-0123456789ab\",\"labels\":{"
    "\"osmo.workflow_uuid\":\"000102030405060708090a0b0c0d0e0f\",\"osmo.task_uuid\":\"t\",\"osmo.retry_id\":\"1\"}},"
    "\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"train\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]},"
    "\"status\":{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"lastTransitionTime\":"
    "\"2026-01-01T00:00:00Z\"}],\"initContainerStatuses\":[{\"name\":\"osmo-init\",\"state\":{\"waiting\":{\"reason\":"
    "\"PodInitializing\"}}}]}}";
static const char gone_text[] = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":"
    "\"6f1c7e0a-0000-4000-8000-0123456789ab\"}}";
static const char node_text[] = "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"h1\"}},"
    "\"spec\":{"
    "\"taints\":[{\"key\":\"k\"}]},\"status\":{\"allocatable\":{\"cpu\":\"4\"},\"conditions\":[{\"type\":\"Ready\","
    "\"status\":\"True\"}]}}";
static const char event_text[] = "{\"reason\":\"Pulled\",\"lastTimestamp\":\"2026-01-01T00:00:05Z\","
    "\"involvedObject\":{"
    "\"kind\":\"Pod\",\"name\":\"p\"}}";

struct parts { pods_t *pods; nodes_t *nodes; events_t *events; };

static void see_pod(struct parts *x) {
    pod_facts_t *pod = NULL;
    json_t *entry = NULL;
    if (pod_facts_read(pod_text, sizeof pod_text - 1, &pod, NULL) < 0)
        return;
    nodes_apply_pod(x->nodes, pod);
    pods_apply(x->pods, pod, NOW);
    if (pods_describe("ns", pod, NOW, &entry) == 0)
        CHECK(json_get_str(entry, "pod_name") != NULL);
    json_free(entry);
    pod_facts_free(pod);
}

static void see_gone(struct parts *x) {
    pod_facts_t *pod = NULL;
    if (pod_facts_read(gone_text, sizeof gone_text - 1, &pod, NULL) < 0)
        return;
    nodes_remove_pod(x->nodes, pod);
    pods_remove(x->pods, pod, NOW);
    pod_facts_free(pod);
}

static void see_node(struct parts *x) {
    json_t *node = NULL;
    if (json_parse(node_text, sizeof node_text - 1, &node, NULL) == 0)
        nodes_apply(x->nodes, node);
    json_free(node);
    nodes_flush_usage(x->nodes);
}

static void see_event(struct parts *x) {
    event_facts_t *event = events_read(event_text, sizeof event_text - 1);
    json_t *body = event ? events_apply(x->events, event, NOW) : NULL;
    told.events += body != NULL;
    CHECK(!body || json_get_str(body, "timestamp"));
    json_free(body);
    free(event);
}

static bool make(struct parts *x) {
    static const logger_t log;
    struct pods_out out = { .emit = emit_pod, .cleaning = never };
    *x = (struct parts){ pods_new("b", "ns", &out, &log), nodes_new("ns", emit_node, NULL, &log), events_new("ns") };
    return x->pods && x->nodes && x->events;
}

static void unmake(struct parts *x) {
    pods_free(x->pods);
    nodes_free(x->nodes);
    events_free(x->events);
}

static void opening(void) {
    for (size_t n = 1; n < 1000; n++) {
        struct parts x;
        alloc_fail_at(n, n % 2);
        bool ok = make(&x);
        bool failed = alloc_failed();
        alloc_stop();
        CHECK(ok == !failed);
        unmake(&x);
        if (!failed)
            return;
    }
    CHECK(false);
}

/* One failure, or everything from some allocation on; then the same again with memory. */
static bool round_of(size_t n, bool onwards) {
    struct parts x;
    memset(&told, 0, sizeof told);
    CHECK(make(&x));
    alloc_fail_at(n, onwards);
    see_node(&x);
    see_pod(&x);
    see_event(&x);
    bool failed = alloc_failed();
    alloc_stop();
    see_node(&x);
    see_pod(&x);
    nodes_flush_usage(x.nodes);
    CHECK_INT(told.running, 1);
    CHECK_INT(told.monitors, 1);
    CHECK(told.conditions >= 1);
    CHECK_INT(pods_count(x.pods), 1);
    see_gone(&x);
    CHECK_INT(told.gone, 1);
    CHECK_INT(pods_count(x.pods), 0);
    unmake(&x);
    return failed;
}

static void watching(void) {
    for (int onwards = 0; onwards < 2; onwards++) {
        size_t n = 1;
        while (n < 5000 && round_of(n, onwards))
            n++;
        CHECK(n > 100 && n < 5000);
    }
}

static void going(void) {
    bool failed = true;
    for (size_t n = 1; n < 1000 && failed; n++) {
        struct parts x;
        memset(&told, 0, sizeof told);
        CHECK(make(&x));
        see_pod(&x);
        alloc_fail_at(n, false);
        see_gone(&x);
        failed = alloc_failed();
        alloc_stop();
        CHECK(failed || told.gone == 1);
        unmake(&x);
    }
    CHECK(!failed);
}

static const struct check_test tests[] = { {"opening", opening}, {"watching", watching}, {"going", going} };
TEST_MAIN("oom_pods", tests)
