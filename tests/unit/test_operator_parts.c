/* Parts of the operator by themselves: quantities, the outbox, nodes, cluster events. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "check.h"
#include "operator/events.h"
#include "operator/nodes.h"
#include "operator/outbox.h"
#include "operator/quantity.h"

static void quantities(void) {
    static const struct { const char *text; int scale; bool ok; int64_t ceil, floor; } cases[] = {
        {"1", 0, true, 1, 1}, {"63500m", 0, true, 64, 63}, {"63500m", 3, true, 63500, 63500}, {"1.5Gi", 0, true,
            1610612736, 1610612736},
        {"1e9", 0, true, 1000000000, 1000000000}, {"1E3", 0, true, 1000, 1000}, {"100k", 0, true, 100000, 100000},
        {"1Pi", 0, true, INT64_C(1) << 50, INT64_C(1) << 50}, {"-1.5", 0, true, -1, -2}, {"+2", 0, true, 2, 2},
        {"100n", 3, true, 1, 0}, {"8Ei", 0, true, INT64_MAX, INT64_MAX}, {".5", 0, true, 1, 0}, {"2E", 0, true,
            INT64_C(2000000000000000000), INT64_C(2000000000000000000)},
        {"", 0, false, 0, 0}, {"x", 0, false, 0, 0}, {"1GB", 0, false, 0, 0}, {"1e", 0, false, 0, 0}, {"1.2.3", 0,
            false, 0, 0}, {"--1", 0, false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t up = 0, down = 0;
        CHECK_INT(quantity_parse(cases[i].text, cases[i].scale, &up), cases[i].ok);
        CHECK_INT(quantity_parse_floor(cases[i].text, cases[i].scale, &down), cases[i].ok);
        CHECK_INT(up, cases[i].ceil);
        CHECK_INT(down, cases[i].floor);
    }
}

static void outbox_replaces_in_place(void) {
    outbox_t *o = outbox_new(2, 3);
    REQUIRE(o != NULL);
    CHECK_INT(outbox_add(o, MSG_RESOURCE, "a", json_object(), false), 0);
    CHECK_INT(outbox_add(o, MSG_RESOURCE_USAGE, "b", json_object(), false), 0);
    CHECK_INT(outbox_add(o, MSG_HEARTBEAT, "a", json_object(), false), 0);
    CHECK_INT(outbox_len(o), 2);
    CHECK_CONTAINS(outbox_next(o)->data, "heartbeat");
    outbox_sent(o);
    CHECK_INT(outbox_add(o, MSG_RESOURCE, "a", json_object(), false), 0); /* what was sent is not replaced */
    CHECK_INT(outbox_len(o), 3);
    CHECK_INT(outbox_add(o, MSG_POD_EVENT, NULL, json_object(), false), OSMO_ELIMIT);
    CHECK_INT(outbox_add(o, MSG_POD_EVENT, NULL, json_object(), true), 0);
    CHECK_INT(outbox_dropped(o), 2);
    outbox_sent(o);
    CHECK(outbox_next(o) == NULL); /* window of two */
    outbox_rewind(o);
    CHECK_CONTAINS(outbox_next(o)->data, "heartbeat");
    outbox_free(o);
}

/* ---- nodes and events without an operator ---- */

struct told { buf_t text; };

static void tell(void *ctx, enum message_type type, const char *key, json_t *body) {
    struct told *t = ctx;
    char *text = json_to_text(body);
    (void)key;
    buf_printf(&t->text, "%s %s\n", message_type_name(type), text);
    free(text);
    json_free(body);
}

static json_t *parsed(const char *text) {
    json_t *v = NULL;
    CHECK(json_parse(text, strlen(text), &v, NULL) == 0);
    return v;
}

static void apply_pod(nodes_t *n, const char *text) {
    pod_facts_t *pod = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(pod_facts_read(text, strlen(text), &pod, &err), &err);
    if (pod)
        nodes_apply_pod(n, pod);
    pod_facts_free(pod);
}

#define POD(ns, name, phase, cpu) "{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\"}," \
    "\"spec\":{\"nodeName\":\"n1\"," \
    "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"" cpu "\",\"memory\":\"1025\"}}}]}," \
        "\"status\":{\"phase\":\"" phase "\"}}"

/* The service fails the tasks of nodes that are not in a node_hash, so one is sent of the whole list only. */
static void node_hash_is_whole(void) {
    struct told t = { .text = BUF_INIT(1 << 20) };
    logger_t log = { 0 };
    nodes_t *n = nodes_new("ns", tell, &t, &log);
    REQUIRE(n != NULL);
    json_t *node = parsed("{\"metadata\":{\"name\":\"n1\"},\"status\":{}}"), *other = parsed("{\"metadata\":{\"name\":\"n2\"}}");
    nodes_begin(n);
    nodes_apply(n, node); /* and then the list broke off */
    nodes_resend(n);
    CHECK_CONTAINS(buf_cstr(&t.text), "resource {\"hostname\":\"n1\"");
    CHECK(!strstr(buf_cstr(&t.text), "node_hash"));
    nodes_apply(n, other);
    CHECK(nodes_are_all(n));
    CHECK(!nodes_are_all(n)); /* it is news once */
    buf_reset(&t.text);
    nodes_resend(n);
    CHECK_CONTAINS(buf_cstr(&t.text), "node_hash {\"node_hashes\":[\"n");
    json_free(node);
    json_free(other);
    nodes_free(n);
    buf_free(&t.text);
}

static void node_messages(void) {
    struct told t = { .text = BUF_INIT(1 << 20) };
    logger_t log = { 0 };
    nodes_t *n = nodes_new("ns", tell, &t, &log);
    REQUIRE(n != NULL);
    json_t *node = parsed("{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"h1\","
        "\"feature.node.kubernetes.io/x\":\"y\"}},"
                          "\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\",\"timeAdded\":\"t\"}]},"
                              "\"status\":{\"allocatable\":"
                          "{\"cpu\":\"3900m\",\"memory\":\"8Gi\"},\"conditions\":[{\"type\":\"Ready\","
                              "\"status\":\"True\"},{\"type\":\"Bad\",\"status\":\"False\"}]}}");
    nodes_apply(n, node);
    CHECK_STR(buf_cstr(&t.text), "resource {\"hostname\":\"h1\",\"available\":true,\"conditions\":[\"Ready\"],"
        "\"processed_fields\":{},"
              "\"allocatable_fields\":{\"cpu\":\"3\",\"memory\":\"8Gi\"},"
                  "\"label_fields\":{\"kubernetes.io/hostname\":\"h1\"},"
              "\"taints\":[{\"effect\":\"NoSchedule\",\"key\":\"k\",\"time_added\":\"t\",\"value\":null}]}\n");
    buf_reset(&t.text);
    nodes_apply(n, node);
    CHECK_INT(t.text.len, 0); /* nothing new */
    apply_pod(n, POD("ns", "a", "Running", "1500m"));
    apply_pod(n, POD("other", "a", "Pending", "100n"));
    nodes_flush_usage(n);
    CHECK_STR(buf_cstr(&t.text), "resource_usage {\"hostname\":\"h1\",\"usage_fields\":{\"cpu\":\"2\","
        "\"memory\":\"2Ki\",\"ephemeral-storage\":\"0Ki\","
              "\"nvidia.com/gpu\":\"0\"},\"non_workflow_usage_fields\":{\"cpu\":\"1\",\"memory\":\"2Ki\","
                  "\"ephemeral-storage\":\"0Ki\",\"nvidia.com/gpu\":\"0\"}}\n");
    buf_reset(&t.text);
    apply_pod(n, POD("ns", "a", "Running", "1600m"));
    nodes_flush_usage(n);
    CHECK_INT(t.text.len, 0); /* rounds to the same */
    apply_pod(n, POD("ns", "a", "Succeeded", "1600m"));
    nodes_flush_usage(n);
    CHECK_CONTAINS(buf_cstr(&t.text), "\"usage_fields\":{\"cpu\":\"0\"");
    buf_reset(&t.text);
    json_t *rules = parsed("{\"^Bad\":\"True\"}"), *refused = parsed("{\"Rea\":\"False\"}");
    CHECK_INT(nodes_set_rules(n, refused, NULL), OSMO_EINVAL);
    CHECK_INT(t.text.len, 0);
    CHECK_INT(nodes_set_rules(n, rules, NULL), 0);
    CHECK_CONTAINS(buf_cstr(&t.text), "\"available\":false");
    CHECK_INT(nodes_set_rules(n, NULL, NULL), 0);
    CHECK_CONTAINS(buf_cstr(&t.text), "\"available\":true");
    buf_reset(&t.text);
    nodes_remove(n, node);
    CHECK_STR(buf_cstr(&t.text), "delete_resource {\"resource\":\"h1\"}\n");
    json_free(rules);
    json_free(refused);
    json_free(node);
    nodes_free(n);
    buf_free(&t.text);
}

static void cluster_events(void) {
    static const struct { const char *text, *pod; } cases[] = {
        {"{\"type\":\"Normal\",\"reason\":\"Pulled\",\"message\":\"m\",\"lastTimestamp\":\"2026-01-01T00:00:05Z\","
            "\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"ns\"}}", "p"},
        {"{\"type\":\"Normal\",\"reason\":\"Pulled\",\"message\":\"m\",\"lastTimestamp\":\"2026-01-01T00:00:05Z\","
            "\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"ns\"}}", NULL},
        {"{\"type\":\"Normal\",\"reason\":\"Pulled\",\"message\":\"m\",\"lastTimestamp\":\"2026-01-01T00:00:06Z\","
            "\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"ns\"}}", "p"},
        {"{\"reason\":\"Failed\",\"eventTime\":\"2026-01-01T00:00:01.000000Z\",\"lastTimestamp\":null,\"series\":null,"
            "\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"s\"}}", "s"},
        {"{\"reason\":\"Failed\",\"eventTime\":\"2026-01-01T00:00:01.000000Z\",\"lastTimestamp\":null,\"series\":{\"count\":2,"
            "\"lastObservedTime\":\"2026-01-01T00:00:09.000000Z\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"s\"}}", "s"},
        {"{\"reason\":\"Failed\",\"eventTime\":\"2026-01-01T00:00:01.000000Z\",\"series\":{"
            "\"lastObservedTime\":\"2026-01-01T00:00:09.000000Z\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"s\"}}", NULL},
        {"{\"reason\":\"x\",\"involvedObject\":{\"kind\":\"Pod\",\"name\":7}}", NULL},
        {"{\"reason\":7,\"message\":{},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"odd\"}}", "odd"},
        {"{\"reason\":\"Pulled\",\"lastTimestamp\":null,\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"q\"}}", "q"},
        {"{\"reason\":\"Pulled\",\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"namespace\":\"other\"}}", NULL},
        {"{\"reason\":\"x\",\"involvedObject\":{\"kind\":\"Node\",\"name\":\"p\"}}", NULL},
        {"{\"reason\":\"Evict\",\"message\":\"Pod ns/r was preempted by q\",\"reportingComponent\":\"kai-scheduler\","
            "\"involvedObject\":{\"kind\":\"PodGroup\",\"name\":\"g\"}}", "r"},
        {"{\"reason\":\"Evict\",\"message\":\"Pod ns/r was preempted\",\"reportingComponent\":\"other\","
            "\"involvedObject\":{\"kind\":\"PodGroup\",\"name\":\"g\"}}", NULL},
        {"{}", NULL},
    };
    events_t *e = events_new("ns");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        event_facts_t *event = events_read(cases[i].text, strlen(cases[i].text));
        json_t *body = event ? events_apply(e, event, 1000000) : NULL;
        CHECK_STR(json_get_str(body, "pod_name"), cases[i].pod);
        free(event);
        json_free(body);
    }
    events_free(e);
}

static const struct check_test tests[] = {
    {"node_hash", node_hash_is_whole}, {"node messages", node_messages}, {"cluster events", cluster_events}, {"quantities", quantities},
    {"outbox replaces in place", outbox_replaces_in_place},
};
TEST_MAIN("operator parts", tests)
