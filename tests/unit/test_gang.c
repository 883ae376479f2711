/* Placement without KAI over an API server in memory: what is decided, what of it reaches the server, and that everything is found
 * again after a restart. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "check.h"
#include "cluster/kubernetes/kubernetes.h"
#include "fake_kube.h"

#define D (&kubernetes_cluster_driver)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned changes;
static void *impl;

static char last[256];

static void on_change(void *ctx, osmo_change_t c, const char *json, size_t len) {
    json_t *v = NULL;
    (void)ctx;
    json_parse(json, len, &v, NULL);
    const char *name = json_get_str(json_get(v, "metadata"), "name");
    pthread_mutex_lock(&lock);
    if (c == OSMO_CHANGE_DELETED || !json_get(json_get(v, "metadata"), "finalizers")) /* not those that the driver places */
        snprintf(last, sizeof last, "%c%s", "?+~-"[c], name ? name : "");
    json_free(v);
    changes++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void on_state(void *ctx) { on_change(ctx, OSMO_CHANGE_ADDED, "{}", 2); }

static void begin(void) {
    static const char *const settings[] = { "finalizer-patience-ms=3600000", "gang-patience-ms=1", NULL };
    const osmo_cluster_sink_t sink = { .size = sizeof sink, .pod = on_change, .node = on_change, .state = on_state };
    const osmo_cluster_options_t o = { .size = sizeof o, .name = "b", .namespace_ = "ns", .settings = settings };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(D->open(&o, &sink, &impl, &err), &err);
}

static void end(void) { D->close(impl); }

static bool pod_has(const char *name, const char *part) {
    _cleanup_free_ char *text = fake_kube_text("Pod", name);
    return text && strstr(text, part);
}

/* Each change of a pod is told to the sink, after which it is looked at again. */
static void expect(const char *name, const char *part) {
    pthread_mutex_lock(&lock);
    while (!pod_has(name, part)) {
        unsigned seen = changes;
        while (seen == changes && !pod_has(name, part)) {
            struct timespec ts;
            clock_gettime(CLOCK_REALTIME, &ts);
            ts.tv_sec++;
            pthread_cond_timedwait(&cond, &lock, &ts);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* What the sink was told, placement knows. */
static void expect_told(const char *what) {
    pthread_mutex_lock(&lock);
    while (!str_eq(last, what))
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

#define BOUND(node) "\"nodeName\":\"" node "\""

static void node(const char *name, int cpus, const char *more) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\","
        "\"labels\":{\"zone\":\"%c\"}},"
        "\"spec\":{},\"status\":{\"allocatable\":{\"cpu\":\"%d\",\"memory\":\"64Gi\",\"pods\":\"10\"}%s}}", name, name[0], cpus, more);
    fake_kube_put(text);
}

static void create(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(D->create(impl, text, strlen(text), &err), &err);
}

static void group(const char *name, int members, const char *priority, const char *more) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\","
        "\"metadata\":{\"name\":\"%s\"},"
        "\"spec\":{\"queue\":\"q\",\"priorityClassName\":\"osmo-%s\",\"minMember\":%d%s}}", name, priority, members, more);
    create(text);
}

static void pod(const char *name, const char *of, int cpus) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"ns\",\"labels\":{"
        "\"osmo.task_uuid\":\"t\",\"osmo.workflow_uuid\":\"w\"},\"annotations\":{\"pod-group-name\":\"%s\"},\"finalizers\":["
        "\"osmo.nvidia.com/cleanup\"]},\"spec\":{\"schedulerName\":\"kai-scheduler\",\"containers\":[{\"name\":\"c\","
        "\"resources\":{\"requests\":"
        "{\"cpu\":\"%d\"}}}]}}", name, of, cpus);
    create(text);
}

static void foreign(const char *name, const char *on, int cpus) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"other\"},\"spec\":{"
        "\"nodeName\":\"%s\",\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"%d\"}}}]}}", name, on, cpus);
    fake_kube_put(text);
}

static void fresh(void) {
    fake_kube_reset(false);
    node("a", 4, "");
}

/* ---- cases ---- */

static void test_together(void) {
    fresh();
    begin();
    group("g", 2, "normal", "");
    pod("p1", "g", 1);
    expect("p1", "waits for 1 more pods of its group");
    CHECK(!pod_has("p1", "nodeName"));
    pod("p2", "g", 1);
    expect("p1", BOUND("a"));
    expect("p2", BOUND("a"));
    end();
    CHECK_INT(fake_kube_calls("bind"), 2);
}

static void test_waits_for_its_group(void) {
    fresh();
    begin();
    pod("p1", "late", 1); /* before its PodGroup is known */
    expect("p1", "waits for its PodGroup");
    group("late", 2, "normal", "");
    expect("p1", "waits for 1 more pods of its group");
    pod("p2", "late", 1);
    expect("p1", BOUND("a"));
    expect("p2", BOUND("a"));
    end();
}

static void test_room_of_others(void) {
    fresh();
    foreign("other", "a", 3);
    begin();
    group("g", 1, "normal", "");
    pod("p", "g", 2);
    expect("p", "\"reason\":\"Unschedulable\"");
    fake_kube_end("other", "Succeeded");
    expect("p", BOUND("a"));
    foreign("again", "a", 1);
    expect_told("+again");
    group("h", 1, "normal", "");
    pod("q", "h", 2);
    expect("q", "\"reason\":\"Unschedulable\"");
    fake_kube_end("p", "Succeeded"); /* ours */
    expect("q", BOUND("a"));
    end();
}

static void test_nodes(void) {
    fake_kube_reset(false);
    node("down", 64, ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]");
    node("small", 1, ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]");
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"cordoned\"},\"spec\":{\"unschedulable\":"
        "true},\"status\":{"
                  "\"allocatable\":{\"cpu\":\"64\",\"memory\":\"1Gi\",\"pods\":\"9\"}}}");
    begin();
    group("g", 1, "normal", "");
    pod("p", "g", 2);
    expect("p", "\"reason\":\"Unschedulable\"");
    fake_kube_merge("Node", "down", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    expect("p", BOUND("down"));
    group("h", 1, "normal", "");
    fake_kube_vanish("Node", "down", false);
    expect_told("-down");
    pod("q", "h", 2);
    expect("q", "\"reason\":\"Unschedulable\"");
    node("new", 2, "");
    expect("q", BOUND("new"));
    end();
}

static void test_preemption(void) {
    fresh();
    begin();
    group("low", 1, "low", "");
    pod("victim", "low", 4);
    expect("victim", BOUND("a"));
    group("high", 1, "high", "");
    pod("heir", "high", 3);
    expect("victim", "\"type\":\"DisruptionTarget\"");
    expect("victim", "PreemptionByScheduler");
    expect("victim", "deletionTimestamp");
    CHECK(!pod_has("heir", "nodeName")); /* its room is taken until it has ended */
    fake_kube_end("victim", "Failed");
    expect("heir", BOUND("a"));
    end();
    CHECK_INT(fake_kube_calls("remove"), 1);
}

static void test_restart(void) {
    fresh();
    begin();
    group("g", 1, "normal", "");
    group("h", 2, "normal", "");
    pod("p", "g", 3);
    expect("p", BOUND("a"));
    pod("q1", "h", 1);
    expect("q1", "waits for 1 more pods");
    end();
    begin();
    pod("q2", "h", 1);
    expect("q1", "\"message\":\"needs"); /* p has its room still */
    end();
    begin();
    fake_kube_end("p", "Succeeded");
    expect("q1", BOUND("a"));
    expect("q2", BOUND("a"));
    end();
}

/* The operator fell over between the condition and the deletion: it goes on with that one, and nobody else has to leave. */
static void test_restart_in_preemption(void) {
    fresh();
    node("b", 4, "");
    begin();
    group("low1", 1, "low", "");
    pod("v1", "low1", 4);
    expect("v1", "nodeName");
    group("low2", 1, "low", "");
    pod("v2", "low2", 4);
    expect("v2", "nodeName");
    end();
    fake_kube_merge("Pod", "v1", "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":"
                                 "\"PreemptionByScheduler\",\"message\":\"preempted for group high\"}]}}");
    begin();
    group("high", 1, "high", "");
    pod("heir", "high", 4);
    expect("v1", "deletionTimestamp");
    expect("heir", "PodScheduled");
    fake_kube_end("v1", "Failed");
    expect("heir", "nodeName");
    CHECK(!pod_has("v2", "DisruptionTarget"));
    end();
}

static void test_others_bind(void) {
    fresh();
    node("b", 4, "");
    begin();
    group("g", 2, "normal", "");
    pod("p1", "g", 3);
    expect("p1", "waits for 1 more");
    fake_kube_merge("Pod", "p1", "{\"spec\":{\"nodeName\":\"b\"}}"); /* somebody did it by hand */
    group("h", 1, "normal", "");
    pod("q", "h", 3);
    expect("q", BOUND("a"));
    group("i", 1, "normal", "");
    pod("r", "i", 3);
    expect("r", "Unschedulable"); /* both are known to be taken */
    end();
}

static void test_failures(void) {
    char text[512];
    fresh();
    begin();
    group("g", 1, "normal", "");
    fake_kube_fail("bind", OSMO_EDENIED, "pods/binding is forbidden", 1);
    pod("p", "g", 1);
    pthread_mutex_lock(&lock);
    do {
        D->describe(impl, text, sizeof text);
        if (!strstr(text, "forbidden"))
            pthread_cond_wait(&cond, &lock);
    } while (!strstr(text, "forbidden"));
    pthread_mutex_unlock(&lock);
    CHECK_CONTAINS(text, "pods cannot be placed: pods/binding is forbidden");
    expect("p", BOUND("a")); /* tried again */
    group("h", 1, "normal", "");
    fake_kube_fail("bind", OSMO_ECONFLICT, "Operation cannot be fulfilled", 1);
    pod("q", "h", 1);
    expect("q", BOUND("a")); /* it was as before, so once more */
    end();
    CHECK_INT(fake_kube_calls("bind"), 4);
}

static void test_removed_while_waiting(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    fresh();
    begin();
    group("g", 1, "normal", "");
    pod("large", "g", 40);
    expect("large", "Unschedulable");
    CHECK_INT(D->remove(impl, "v1", "Pod", "osmo.workflow_uuid=w", 0, &err), 1);
    pod("large", "g", 1); /* another one of the name */
    expect("large", BOUND("a"));
    end();
}

static void test_queue_and_topology(void) {
    fake_kube_reset(false);
    node("a1", 2, "");
    node("b1", 2, "");
    node("b2", 2, "");
    begin();
    create("{\"apiVersion\":\"kai.scheduler/v1alpha1\",\"kind\":\"Topology\",\"metadata\":{\"name\":\"t\"},\"spec\":{"
        "\"levels\":[{\"nodeLabel\":"
           "\"zone\"}]}}");
    create("{\"apiVersion\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"q\"},\"spec\":{"
        "\"resources\":{\"cpu\":{\"quota\":"
           "5000,\"limit\":5000}}}}");
    group("g", 2, "normal", ",\"topologyConstraint\":{\"topology\":\"t\",\"requiredTopologyLevel\":\"zone\"}");
    pod("p1", "g", 2);
    pod("p2", "g", 2);
    expect("p1", "nodeName");
    expect("p2", "nodeName");
    CHECK((pod_has("p1", BOUND("b1")) && pod_has("p2", BOUND("b2"))) || (pod_has("p1", BOUND("b2")) && pod_has("p2", BOUND("b1"))));
    group("h", 1, "normal", "");
    pod("more", "h", 2); /* there is room, but the queue has 5 */
    expect("more", "Unschedulable");
    static const char queue[] = "{\"apiVersion\":\"scheduling.run.ai/v2\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"q\"},"
        "\"spec\":{\"resources\":{"
                                "\"cpu\":{\"quota\":9000,\"limit\":9000}}}}";
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(D->replace(impl, queue, strlen(queue), &err), &err);
    expect("more", BOUND("a1"));
    end();
}

static const struct check_test tests[] = {
    { "a group starts together", test_together },
    { "a PodGroup that comes late", test_waits_for_its_group },
    { "room that others take", test_room_of_others },
    { "nodes that do not count", test_nodes },
    { "preemption", test_preemption },
    { "a restart", test_restart },
    { "a restart in a preemption", test_restart_in_preemption },
    { "somebody else binds", test_others_bind },
    { "what fails is tried again", test_failures },
    { "removed while it waits", test_removed_while_waiting },
    { "queues and topologies", test_queue_and_topology },
};
TEST_MAIN("gang", tests)
