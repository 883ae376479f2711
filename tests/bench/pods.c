/*
 * Figures of the operator's pod pipeline: N pods of realistic size go through what an operator does with a watch's
  * events: read, decide, sum up per node, queue messages, which are acknowledged at once. Each pod is told of four
  * times: it waits, it has a node and begins, it runs, and the same again. Prints medians over five runs of processor
  * time (the machine may be shared), the memory that stays for each pod, a relist of 5,000 pods, and what a tree of
  * json-c alone costs for the same texts. Usage: pods [N] */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/json_reader.h"
#include "operator/nodes.h"
#include "operator/outbox.h"
#include "operator/pods.h"

enum { RUNS = 5, BATCH = 500, STAGES = 4, NODES = 2000, RELIST = 5000, TREE_SHARE = 20 };
#define NOW INT64_C(1767225600000000)

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* ---- the operator without its sockets ---- */

static struct bench {
    outbox_t *pods_box, *nodes_box;
    pods_t *pods;
    nodes_t *nodes;
    uint64_t messages;
} bench;

static void acknowledge(outbox_t *box) {
    const buf_t *text;
    while ((text = outbox_next(box))) {
        char uuid[33];
        const char *at = memmem(text->data, text->len, "\"uuid\":\"", 8);
        must(at != NULL, "a message without uuid");
        snprintf(uuid, sizeof uuid, "%.32s", at + 8);
        outbox_sent(box);
        must(outbox_ack(box, uuid), "not acknowledged");
        bench.messages++;
    }
}

static bool emit_pod(void *ctx, enum message_type type, json_t *body) {
    (void)ctx;
    bool ok = outbox_add(bench.pods_box, type, NULL, body, false) == 0;
    acknowledge(bench.pods_box);
    return ok;
}

static void emit_node(void *ctx, enum message_type type, const char *key, json_t *body) {
    (void)ctx;
    outbox_add(bench.nodes_box, type, key, body, false);
    acknowledge(bench.nodes_box);
}

static bool nothing_is_cleaned(void *ctx, const json_t *labels) {
    (void)ctx, (void)labels;
    return false;
}

static void open_bench(void) {
    static const logger_t log;
    struct pods_out out = { .emit = emit_pod, .cleaning = nothing_is_cleaned };
    bench = (struct bench){ .pods_box = outbox_new(100, 65536), .nodes_box = outbox_new(100, 65536) };
    bench.pods = pods_new("backend", "workflows", &out, &log);
    bench.nodes = nodes_new("workflows", emit_node, NULL, &log);
    must(bench.pods_box && bench.nodes_box && bench.pods && bench.nodes, "out of memory");
    for (int i = 0; i < NODES; i++) {
        char text[256];
        json_t *node = NULL;
        snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"node-%04d\","
            "\"labels\":{\"kubernetes.io/hostname\":\"node-%04d\"}},\"status\":"
                 "{\"allocatable\":{\"cpu\":\"64\",\"memory\":\"512Gi\",\"nvidia.com/gpu\":\"8\"}}}", i, i);
        must(json_parse(text, strlen(text), &node, NULL) == 0, "node");
        nodes_apply(bench.nodes, node);
        json_free(node);
    }
}

static void close_bench(void) {
    pods_free(bench.pods);
    nodes_free(bench.nodes);
    outbox_free(bench.pods_box);
    outbox_free(bench.nodes_box);
}

/* ---- pods as an API server sends them ---- */

static void put_managed(buf_t *b, const char *who, int fields) {
    buf_printf(b, "{\"manager\":\"%s\",\"operation\":\"Update\",\"apiVersion\":\"v1\","
        "\"time\":\"2026-01-01T00:00:00Z\",\"fieldsType\":"
               "\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:osmo.task_uuid\":{}}},"
               "\"f:spec\":{\"f:containers\":{"
               "\"k:{\\\"name\\\":\\\"train\\\"}\":{\".\":{},\"f:env\":{\".\":{}", who);
    for (int i = 0; i < fields; i++)
        buf_printf(b, ",\"k:{\\\"name\\\":\\\"SETTING_%d\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}", i);
    buf_puts(b, "}}}}}}");
}

static void put_metadata(buf_t *b, int i) {
    buf_printf(b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
        "\"metadata\":{\"annotations\":{\"pod-group-name\":\"%032x\"},\"creationTimestamp\":"
               "\"2026-01-01T00:00:00Z\",\"finalizers\":[\"osmo.nvidia.com/cleanup\"],"
               "\"labels\":{\"kai.scheduler/queue\":\"osmo-default\","
               "\"osmo.group_name\":\"train-group\",\"osmo.group_uuid\":\"%032x\",\"osmo.platform\":\"dgx\","
               "\"osmo.pool\":\"default\","
               "\"osmo.priority\":\"normal\",\"osmo.retry_id\":\"0\",\"osmo.submitted_by\":\"someone\","
               "\"osmo.task_name\":\"train-%d\","
               "\"osmo.task_uuid\":\"%08x%024x\",\"osmo.workflow_id\":\"train-resnet-%d\","
               "\"osmo.workflow_uuid\":\"%08x%024x\"},\"managedFields\":[",
               i / 8, i / 8, i % 8, i * 2654435761u, i, i / 64, i / 64 * 40503u, i / 64);
    put_managed(b, "osmo-backend", 24);
    buf_putc(b, ',');
    put_managed(b, "kubelet", 4);
    buf_printf(b, "],\"name\":\"%016x-%016x\",\"namespace\":\"workflows\",\"resourceVersion\":\"%d\","
        "\"uid\":\"%08x-0000-4000-8000-%012x\"},",
               i / 64, i, 100000 + i, i * 2246822519u, i);
}

static void put_container(buf_t *b, const char *name, int variables, const char *requests) {
    buf_printf(b, "{\"args\":[\"--specification\",\"/osmo/spec.json\"],\"command\":[\"/osmo/bin/run\"],\"env\":[");
    for (int i = 0; i < variables; i++)
        buf_printf(b, "%s{\"name\":\"SETTING_%d\",\"value\":\"the value of an environment variable number %d\"}",
            i ? "," : "", i, i);
    buf_printf(b, "],\"image\":\"registry.example.com/team/project/%s:24.03-py3\",\"imagePullPolicy\":\"Always\","
        "\"name\":\"%s\",\"resources\":{"
               "\"limits\":{%s},\"requests\":{%s}},\"terminationMessagePath\":\"/dev/termination-log\","
               "\"terminationMessagePolicy\":\"File\","
               "\"volumeMounts\":[{\"mountPath\":\"/osmo\",\"name\":\"osmo\"},{\"mountPath\":\"/osmo/data\","
               "\"name\":\"data\"},{\"mountPath\":"
               "\"/var/run/secrets/kubernetes.io/serviceaccount\",\"name\":\"kube-api-access\",\"readOnly\":true}]}",
               name, name, requests, requests);
}

static void put_spec(buf_t *b, int i, int stage) {
    static const char whole[] = "\"cpu\":\"4\",\"ephemeral-storage\":\"20Gi\",\"memory\":\"32Gi\","
        "\"nvidia.com/gpu\":\"1\"";
    buf_puts(b, "\"spec\":{\"containers\":[");
    put_container(b, "train", 24, whole);
    buf_putc(b, ',');
    put_container(b, "osmo-ctrl", 12, "\"cpu\":\"250m\",\"memory\":\"256Mi\"");
    buf_puts(b, "],\"dnsPolicy\":\"ClusterFirst\",\"enableServiceLinks\":true,\"initContainers\":[");
    put_container(b, "osmo-init", 4, "\"cpu\":\"100m\",\"memory\":\"64Mi\"");
    buf_puts(b, "],");
    if (stage)
        buf_printf(b, "\"nodeName\":\"node-%04d\",", i % NODES);
    buf_puts(b, "\"nodeSelector\":{\"kubernetes.io/arch\":\"amd64\"},\"preemptionPolicy\":\"PreemptLowerPriority\","
        "\"priority\":0,\"restartPolicy\":"
             "\"Never\",\"schedulerName\":\"kai-scheduler\",\"tolerations\":[{\"effect\":\"NoExecute\","
             "\"key\":\"node.kubernetes.io/not-ready\","
             "\"operator\":\"Exists\",\"tolerationSeconds\":300},{\"effect\":\"NoExecute\","
             "\"key\":\"node.kubernetes.io/unreachable\",\"operator\":"
             "\"Exists\",\"tolerationSeconds\":300}],\"volumes\":[{\"emptyDir\":{},\"name\":\"osmo\"},{\"emptyDir\":{},"
             "\"name\":\"data\"},{\"name\":"
             "\"kube-api-access\",\"projected\":{\"defaultMode\":420,"
             "\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":"
             "\"token\"}},{\"configMap\":{\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}],"
             "\"name\":\"kube-root-ca.crt\"}}]}}]},");
}

static void put_condition(buf_t *b, const char *type, bool is, const char *rest) {
    buf_printf(b, "%s{\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-01-01T00:00:0%dZ\",%s\"status\":\"%s\","
        "\"type\":\"%s\"}",
               b->data[b->len - 1] == '[' ? "" : ",", is ? 2 : 1, rest, is ? "True" : "False", type);
}

static void put_state(buf_t *b, const char *name, const char *state, bool last) {
    buf_printf(b, "{\"containerID\":\"containerd://%064d\","
        "\"image\":\"registry.example.com/team/project/%s:24.03-py3\",\"imageID\":"
               "\"registry.example.com/team/project/%s@sha256:%064d\",\"lastState\":{},\"name\":\"%s\",\"ready\":false,"
               "\"restartCount\":0,"
               "\"started\":false,\"state\":{%s}}%s", 1, name, name, 2, name, state, last ? "" : ",");
}

static void put_status(buf_t *b, int stage) {
    static const char waits[] = "\"waiting\":{\"reason\":\"PodInitializing\"}",
        runs[] = "\"running\":{\"startedAt\":\"2026-01-01T00:00:03Z\"}";
    bool running = stage >= 2;
    buf_puts(b, "\"status\":{\"conditions\":[");
    if (stage) {
        put_condition(b, "Initialized", running, "");
        put_condition(b, "Ready", running, running ? "" : "\"reason\":\"ContainersNotReady\",\"message\":\"containers "
            "with unready status\",");
        put_condition(b, "ContainersReady", running, "");
    }
    put_condition(b, "PodScheduled", stage > 0, stage ? "" : "\"reason\":\"Unschedulable\",\"message\":\"0/2000 nodes "
        "are available\",");
    buf_puts(b, "],");
    if (stage) {
        buf_puts(b, "\"containerStatuses\":[");
        put_state(b, "train", running ? runs : waits, false);
        put_state(b, "osmo-ctrl", running ? runs : waits, true);
        buf_puts(b, "],\"hostIP\":\"10.0.0.1\",\"initContainerStatuses\":[");
        put_state(b, "osmo-init", running ? "\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}" : waits, true);
        buf_printf(b, "],%s", running ? "\"podIP\":\"10.1.2.3\",\"podIPs\":[{\"ip\":\"10.1.2.3\"}]," : "");
    }
    buf_printf(b, "\"phase\":\"%s\",\"qosClass\":\"Burstable\"}}", running ? "Running" : "Pending");
}

static void put_pod(buf_t *b, int i, int stage) {
    buf_reset(b);
    put_metadata(b, i);
    put_spec(b, i, stage);
    put_status(b, stage);
    must(!buf_failed(b), "out of memory");
}

/* ---- measuring ---- */

static buf_t texts[BATCH];
static size_t bytes_told, events_told;

static void make_batch(int first, int n, int stage) {
    for (int i = 0; i < n; i++) {
        texts[i].max = 1u << 20;
        put_pod(&texts[i], first + i, stage);
        bytes_told += texts[i].len;
        events_told++;
    }
}

/* Processor time of n events. */
static double tell(int n) {
    double begin = now_us();
    for (int i = 0; i < n; i++) {
        pod_facts_t *pod = NULL;
        must(pod_facts_read(texts[i].data, texts[i].len, &pod, NULL) == 0, "not a pod");
        nodes_apply_pod(bench.nodes, pod);
        pods_apply(bench.pods, pod, NOW);
        pod_facts_free(pod);
    }
    nodes_flush_usage(bench.nodes);
    return now_us() - begin;
}

static double read_only(int n) {
    double begin = now_us();
    for (int i = 0; i < n; i++) {
        pod_facts_t *pod = NULL;
        must(pod_facts_read(texts[i].data, texts[i].len, &pod, NULL) == 0, "not a pod");
        pod_facts_free(pod);
    }
    return now_us() - begin;
}

static double pass_over(int n, double *bytes) {
    double begin = now_us();
    for (int i = 0; i < n; i++) {
        json_reader_t r;
        json_reader_init(&r, texts[i].data, texts[i].len);
        json_reader_skip(&r, NULL);
        must(json_reader_at_end(&r), "not JSON");
        *bytes += (double)texts[i].len;
    }
    return now_us() - begin;
}

static double parse_trees(int n) {
    double begin = now_us();
    for (int i = 0; i < n; i++) {
        json_t *pod = NULL;
        must(json_parse(texts[i].data, texts[i].len, &pod, NULL) == 0, "not JSON");
        json_free(pod);
    }
    return now_us() - begin;
}

enum { RATE, READ, TREE, SKIP, BYTES, LIST, AGAIN, FIGURES };
static const struct { const char *what, *unit, *aim; } figures[FIGURES] = {
    [RATE] = {"events through facts, trackers and outbox", "/s", ">= 20000"}, [READ] = {"reading facts alone", "/s", ""},
    [TREE] = {"a tree of json-c alone", "/s", ""}, [SKIP] = {"passing over the texts", "MB/s", ""},
    [BYTES] = {"memory that stays for a pod", "bytes", "<= 1 KB"}, [LIST] = {"a list of 5000 pods, all of them news", "ms", ""},
    [AGAIN] = {"the same list again", "ms", ""},
};

static size_t used_memory(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* All stages of all pods; the texts of every TREE_SHARE'th batch are read in other ways too. */
static void watch(int pods, double out[FIGURES]) {
    double told = 0, reads = 0, trees = 0, skips = 0, bytes = 0, n_told = 0, n_read = 0;
    for (int stage = 0; stage < STAGES; stage++) {
        for (int first = 0, part = 0; first < pods; first += BATCH, part++) {
            int n = pods - first < BATCH ? pods - first : BATCH;
            make_batch(first, n, stage);
            told += tell(n);
            n_told += n;
            if (part % TREE_SHARE == 0) {
                reads += read_only(n);
                trees += parse_trees(n);
                skips += pass_over(n, &bytes);
                n_read += n;
            }
        }
    }
    out[RATE] = n_told / told * 1e6;
    out[READ] = n_read / reads * 1e6;
    out[TREE] = n_read / trees * 1e6;
    out[SKIP] = bytes / skips;
}

static void run(int pods, double out[FIGURES]) {
    for (int stage = 0; stage < STAGES; stage++) /* the memory of the texts is not the operator's */
        make_batch(pods - BATCH, BATCH, stage);
    open_bench();
    size_t before = used_memory();
    watch(pods, out);
    out[BYTES] = ((double)used_memory() - (double)before) / pods;
    must(pods_count(bench.pods) == (size_t)pods, "not every pod is known");
    close_bench();
    open_bench();
    for (int figure = LIST; figure <= AGAIN; figure++) {
        out[figure] = 0;
        for (int first = 0; first < RELIST; first += BATCH) {
            make_batch(first, BATCH, 2);
            out[figure] += tell(BATCH) / 1e3;
        }
    }
    close_bench();
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double values[RUNS]) {
    qsort(values, RUNS, sizeof values[0], compare);
    return values[RUNS / 2];
}

int main(int argc, char **argv) {
    int pods = argc > 1 ? atoi(argv[1]) : 40000;
    double all[FIGURES][RUNS];
    must(pods >= BATCH, "usage: pods [N], N at least 500");
    for (int i = 0; i < RUNS; i++) {
        double one[FIGURES];
        run(pods, one);
        for (int f = 0; f < FIGURES; f++)
            all[f][i] = one[f];
    }
    printf("pods %d, texts of %.0f bytes, medians of %d runs, processor time of one thread\n", pods,
           (double)bytes_told / (double)events_told, RUNS);
    printf("| %-42s | %9s %-5s | %-8s |\n| %.42s | %.15s | %.8s |\n", "figure", "measured", "", "aim",
           "------------------------------------------", "---------------", "--------");
    for (int f = 0; f < FIGURES; f++)
        printf("| %-42s | %9.0f %-5s | %-8s |\n", figures[f].what, median(all[f]), figures[f].unit, figures[f].aim);
    for (int i = 0; i < BATCH; i++)
        buf_free(&texts[i]);
    return 0;
}
