/* Fuzz entry: any bytes as what a Kubernetes API server sends: a pod, an Event. Whatever is a pod gets a status name or
 * none, and a message; the trackers take it in, look again later, and let it go, by its last state or by no more than
 * its name; in the end nothing of it is left. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "operator/events.h"
#include "operator/nodes.h"
#include "operator/pods.h"
#include "osmo/backend/pod_status.h"

#define NOW INT64_C(1772357400000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool emit_pod(void *ctx, enum message_type type, json_t *body) {
    (void)ctx, (void)type;
    if (!body)
        abort();
    json_free(body);
    return true;
}

static void emit_node(void *ctx, enum message_type type, const char *key, json_t *body) {
    (void)ctx, (void)type, (void)key;
    json_free(body);
}

static bool cleaning(void *ctx, const json_t *labels) {
    (void)ctx;
    return json_len(labels) % 2;
}

static void through_trackers(pod_facts_t *pod) {
    static const logger_t log;
    struct pods_out out = { .emit = emit_pod, .cleaning = cleaning };
    pods_t *pods = pods_new("b", "ns", &out, &log);
    nodes_t *nodes = nodes_new("ns", emit_node, NULL, &log);
    pod_facts_t gone = { .refs = 1, .name = pod->name, .namespace_ = pod->namespace_, .uid = pod->uid };
    json_t *entry = NULL;
    for (int i = 0; pods && nodes && i < 2; i++) {
        pods_apply(pods, pod, NOW);
        nodes_apply_pod(nodes, pod);
    }
    pods_recheck(pods, NOW + INT64_C(86400000000));
    pods_describe("ns", pod, NOW, &entry);
    nodes_flush_usage(nodes);
    pods_remove(pods, pod->size % 2 ? pod : &gone, NOW);
    nodes_remove_pod(nodes, &gone);
    if (pods_count(pods))
        abort();
    json_free(entry);
    nodes_free(nodes);
    pods_free(pods);
}

static void as_event(const char *text, size_t size) {
    events_t *events = events_new("ns");
    event_facts_t *event = events_read(text, size);
    json_t *body = events && event ? events_apply(events, event, NOW) : NULL;
    if (body && !json_get_str(body, "pod_name"))
        abort();
    json_free(body);
    free(event);
    events_free(events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_pod_status_t s = { 0 };
    char *text = malloc(size ? size : 1); /* of its exact size, for the address sanitizer */
    pod_facts_t *pod = NULL;
    if (!text)
        return 0;
    memcpy(text, data, size);
    if (osmo_pod_status(text, size, NOW, &s, &err) >= 0 && !s.message)
        abort();
    osmo_pod_status_clear(&s);
    if (pod_facts_read(text, size, &pod, NULL) == 0)
        through_trackers(pod);
    pod_facts_free(pod);
    as_event(text, size);
    free(text);
    return 0;
}
