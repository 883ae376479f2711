/* Figures of the kubernetes driver against a real API server, for tests/bench/kubernetes.py.
 *   kubernetes KUBECONFIG NAMESPACE relist PODS     from opening the driver until it has told all pods; bytes for each
 *   kubernetes KUBECONFIG NAMESPACE latency TIMES   from a pod's status being written as Running until the sink is told, one after
 *       another
 *   kubernetes KUBECONFIG NAMESPACE create PODS     a group by the driver, against the same pods by nothing but the client Pods are
 *       manifests as the control plane makes them, about 7 KB each at the API server. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cluster/kubernetes/meta.h"
#include "osmo/backend/cluster.h"
#include "osmo/backend/kube.h"
#include "operator/crew.h"

#define CONNECTIONS 8
#define ROUNDS 5

static const char *kubeconfig, *namespace_;
static const osmo_cluster_driver_t *driver;
static osmo_kube_t *client;

/* As kubernetes.py prints its own. */
static void row(const char *aim, char *figure, char *measured) {
    if (!figure || !measured)
        exit(1);
    printf("| %-104s | %22s | %-8s |\n", figure, measured, aim);
    fflush(stdout);
    free(figure);
    free(measured);
}

static void die(const char *what, const osmo_error_t *err) {
    fprintf(stderr, "kubernetes: %s: %s\n", what, err->text);
    exit(1);
}

/* ---- the driver ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long added, deleted, bound;
static char waited_for[64];
static int64_t seen_us;

static void on_pod(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct meta m;
    (void)ctx;
    int64_t now = clock_mono_us();
    bool runs = memmem(json, len, "\"phase\":\"Running\"", 17) != NULL, has_node = memmem(json, len, "\"nodeName\":\"", 12) != NULL;
    meta_read(json, len, false, &m);
    pthread_mutex_lock(&lock);
    added += change == OSMO_CHANGE_ADDED;
    deleted += change == OSMO_CHANGE_DELETED;
    bound += change == OSMO_CHANGE_MODIFIED && has_node;
    if (runs && *waited_for && json_slice_is(&m.name, waited_for))
        seen_us = now;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void *open_driver(const char *setting) {
    _cleanup_free_ char *config = str_printf("kubeconfig=%s", kubeconfig);
    const char *const settings[] = { config, setting, NULL };
    const osmo_cluster_sink_t sink = { .size = sizeof sink, .pod = on_pod };
    const osmo_cluster_options_t o = { .size = sizeof o, .name = "bench", .namespace_ = namespace_, .settings = settings };
    osmo_error_t err = OSMO_ERROR_INIT;
    void *impl = NULL;
    added = deleted = bound = 0;
    if (driver->open(&o, &sink, &impl, &err) < 0)
        die("opening the driver", &err);
    return impl;
}

static void wait_until(const long *number, long least) {
    pthread_mutex_lock(&lock);
    while (*number < least)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- manifests ---- */

/* Those that the client makes alone are nobody's to place. */
static char *manifest(const char *group, long index, const char *scheduler) {
    buf_t b = BUF_INIT(1u << 16);
    buf_printf(&b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%ld\",\"namespace\":\"%s\","
        "\"labels\":{\"osmo.workflow_uuid\":"
               "\"1f0e3c5a9b2d4e6f1f0e3c5a9b2d4e6f\",\"osmo.group_uuid\":\"%s\",\"osmo.task_uuid\":\"task-%ld\","
               "\"osmo.task_name\":\"t%ld\","
               "\"osmo.retry_id\":\"0\",\"osmo.pool\":\"default\",\"osmo.platform\":\"default\",\"osmo.priority\":"
               "\"normal\"},\"annotations\":{"
               "\"pod-group-name\":\"%s\"},\"finalizers\":[\"osmo.nvidia.com/cleanup\"]},\"spec\":{\"restartPolicy\":\"Never\","
               "\"schedulerName\":\"%s\",\"containers\":[", group, index, namespace_, group, index, index, group, scheduler);
    for (int c = 0; c < 2; c++) {
        buf_printf(&b, "%s{\"name\":\"c%d\",\"image\":\"registry.example/team/image:1\",\"command\":"
            "[\"/osmo/bin/osmo_exec\"],\"resources\":{"
                   "\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"env\":[", c ? "," : "", c);
        for (int e = 0; e < 25; e++)
            buf_printf(&b, "%s{\"name\":\"OSMO_VARIABLE_%d\",\"value\":\"a value of some length, number %d\"}", e ? "," : "", e, e);
        buf_puts(&b, "],\"volumeMounts\":[{\"name\":\"osmo\",\"mountPath\":\"/osmo\"},{\"name\":\"osmo-data\",\"mountPath\":"
            "\"/osmo/data\"}]}");
    }
    buf_puts(&b, "],\"volumes\":[{\"name\":\"osmo\",\"emptyDir\":{}},{\"name\":\"osmo-data\",\"emptyDir\":{}}]}}");
    return buf_steal(&b, NULL);
}

struct making { const char *group; void *impl; atomic_int failed; };

static bool make_one(void *ctx, size_t index) {
    const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "Pod", .namespace_ = namespace_ };
    struct making *m = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *text = manifest(m->group, (long)index, m->impl ? "kai-scheduler" : "nobody");
    int rc = m->impl ? driver->create(m->impl, text, strlen(text), &err) : osmo_kube_create(client, &t, text, strlen(text), NULL, &err);
    if (rc < 0 && m->failed++ == 0)
        fprintf(stderr, "kubernetes: a pod cannot be made: %s\n", err.text);
    return rc >= 0;
}

/* Pods a second. */
static double make_all(crew_t *crew, const char *group, void *impl, long n) {
    struct making m = { .group = group, .impl = impl };
    int64_t since = clock_mono_us();
    crew_do(crew, (size_t)n, make_one, &m);
    if (m.failed)
        exit(1);
    return (double)n * 1e6 / (double)(clock_mono_us() - since);
}

static double remove_all(void *impl, const char *group) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *selector = str_printf("osmo.group_uuid=%s", group);
    int64_t since = clock_mono_us();
    int n = driver->remove(impl, "v1", "Pod", selector, 1, &err);
    if (n < 0)
        die("removing", &err);
    driver->remove(impl, "scheduling.run.ai/v2alpha2", "PodGroup", selector, 0, NULL);
    return n * 1e6 / (double)(clock_mono_us() - since);
}

static void make_group(void *impl, const char *group, long n) {
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"scheduling.run.ai/v2alpha2\",\"kind\":\"PodGroup\","
        "\"metadata\":{\"name\":\"%s\","
        "\"labels\":{\"osmo.group_uuid\":\"%s\"}},\"spec\":{\"queue\":\"q\",\"priorityClassName\":\"osmo-normal\","
        "\"minMember\":%ld}}", group,
        group, n);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (driver->create(impl, text, strlen(text), &err) < 0)
        die("making a PodGroup", &err);
}

/* ---- the figures ---- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, by_size);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static int count_bytes(void *ctx, const char *json, size_t len) {
    (void)json;
    *(long *)ctx += (long)len;
    return 0;
}

static void bench_relist(long n) {
    const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "Pod", .namespace_ = namespace_ };
    crew_t *crew = crew_new(CONNECTIONS - 1);
    double seconds[ROUNDS], plain[ROUNDS], bytes[ROUNDS];
    osmo_error_t err = OSMO_ERROR_INIT;
    long size = 0;
    make_all(crew, "many", NULL, n);
    for (int i = 0; i < ROUNDS; i++) {
        char version[OSMO_KUBE_VERSION_MAX] = "";
        int64_t since = clock_mono_us();
        size = 0;
        if (osmo_kube_list(client, &t, 0, version, count_bytes, &size, &err) < 0)
            die("listing", &err);
        plain[i] = (double)(clock_mono_us() - since) / 1e6;
        malloc_trim(0);
        size_t before = mallinfo2().uordblks;
        since = clock_mono_us();
        void *impl = open_driver("usage=namespace");
        wait_until(&added, n);
        seconds[i] = (double)(clock_mono_us() - since) / 1e6;
        osmo_kube_list(client, &t, 0, version, count_bytes, &(long){ 0 }, &err); /* meanwhile its list is put away */
        bytes[i] = (double)(mallinfo2().uordblks - before) / (double)n;
        driver->stop(impl);
        driver->close(impl);
    }
    row("", str_printf("relist at start, %ld pods of %.1f KB until all are told", n, (double)size / 1024 / (double)n),
        str_printf("%.2f s", median(seconds, ROUNDS)));
    row("", str_printf("  the list alone, read by the client"), str_printf("%.2f s", median(plain, ROUNDS)));
    row("<= 1 KB", str_printf("memory of the driver for each watched pod"), str_printf("%.0f bytes", median(bytes, ROUNDS)));
    void *impl = open_driver("usage=namespace");
    wait_until(&added, n);
    row("", str_printf("removal of %ld pods, finalizers and all", n), str_printf("%.0f/s", remove_all(impl, "many")));
    driver->stop(impl);
    driver->close(impl);
    crew_free(crew);
}

static void bench_latency(long n) {
    static const char patch[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}";
    crew_t *crew = crew_new(CONNECTIONS - 1);
    double *told = calloc((size_t)n, sizeof *told), *answered = calloc((size_t)n, sizeof *answered);
    osmo_error_t err = OSMO_ERROR_INIT;
    void *impl = open_driver("usage=cluster");
    make_all(crew, "late", NULL, n);
    wait_until(&added, n);
    for (long i = 0; told && answered && i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "late-%ld", i);
        const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "Pod", .namespace_ = namespace_, .name = name,
                                       .subresource = "status" };
        pthread_mutex_lock(&lock);
        snprintf(waited_for, sizeof waited_for, "%s", name);
        seen_us = 0;
        pthread_mutex_unlock(&lock);
        int64_t since = clock_mono_us();
        if (osmo_kube_patch(client, &t, OSMO_KUBE_PATCH_STRATEGIC, patch, sizeof patch - 1, NULL, &err) < 0)
            die("writing a status", &err);
        answered[i] = (double)(clock_mono_us() - since) / 1000;
        pthread_mutex_lock(&lock);
        while (!seen_us)
            pthread_cond_wait(&cond, &lock);
        told[i] = (double)(seen_us - since) / 1000;
        pthread_mutex_unlock(&lock);
    }
    double p50 = median(told, (int)n), asked = median(answered, (int)n);
    row("", str_printf("pod Running sent to the API -> the operator's sink is told, p50 / p99, n %ld", n),
        str_printf("%.1f / %.1f ms", p50, told[n * 99 / 100]));
    row("", str_printf("  the API server's own part: sent -> answered"), str_printf("%.1f / %.1f ms", asked, answered[n * 99 / 100]));
    remove_all(impl, "late");
    driver->stop(impl);
    driver->close(impl);
    crew_free(crew);
    free(told), free(answered);
}

static void bench_create(long n) {
    crew_t *crew = crew_new(CONNECTIONS - 1);
    double plain[ROUNDS], ours[ROUNDS], bind[ROUNDS], share[ROUNDS];
    void *impl = open_driver("usage=cluster");
    for (int i = 0; i < ROUNDS; i++) {
        char group[32];
        snprintf(group, sizeof group, "plain-%d", i);
        plain[i] = make_all(crew, group, NULL, n);
        wait_until(&added, n * (2 * i + 1));
        remove_all(impl, group);
        wait_until(&deleted, n * (2 * i + 1));
        snprintf(group, sizeof group, "group-%d", i);
        make_group(impl, group, n);
        long before = bound;
        ours[i] = make_all(crew, group, impl, n);
        share[i] = 100 * ours[i] / plain[i];
        int64_t since = clock_mono_us();
        wait_until(&bound, before + n);
        bind[i] = (double)n * 1e6 / (double)(clock_mono_us() - since);
        wait_until(&added, n * (2 * i + 2));
        remove_all(impl, group);
        wait_until(&deleted, n * (2 * i + 2));
    }
    double ceiling = median(plain, ROUNDS), rate = median(ours, ROUNDS);
    row("", str_printf("pods of a group of %ld made by the driver, %d at a time", n, CONNECTIONS), str_printf("%.0f/s", rate));
    row("", str_printf("  the API server's ceiling: the same by nothing but the client"), str_printf("%.0f/s", ceiling));
    row(">= 80 %", str_printf("  share of the ceiling"), str_printf("%.0f %%", median(share, ROUNDS)));
    row("", str_printf("the whole group bound, from the last pod made"), str_printf("%.0f/s", median(bind, ROUNDS)));
    driver->stop(impl);
    driver->close(impl);
    crew_free(crew);
}

int main(int argc, char **argv) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (argc != 5 || atol(argv[4]) < 1) {
        fprintf(stderr, "usage: kubernetes KUBECONFIG NAMESPACE relist|latency|create NUMBER\n");
        return 2;
    }
    kubeconfig = argv[1];
    namespace_ = argv[2];
    driver = osmo_cluster_driver_find("kubernetes");
    const osmo_kube_options_t o = { .size = sizeof o, .kubeconfig = kubeconfig, .max_connections = 2 * CONNECTIONS };
    if (osmo_kube_open(&o, &client, &err) < 0)
        die("opening the client", &err);
    if (str_eq(argv[3], "relist"))
        bench_relist(atol(argv[4]));
    else if (str_eq(argv[3], "latency"))
        bench_latency(atol(argv[4]));
    else
        bench_create(atol(argv[4]));
    osmo_kube_stop(client);
    osmo_kube_free(client);
    return 0;
}
