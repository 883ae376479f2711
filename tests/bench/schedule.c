/* Scheduling figures: a cluster of N nodes in racks and zones, P waiting pods in gangs of several users and two queues; every pod is one
 * decision. Prints one line for each number of nodes: time of the first run, which places what fits and explains the rest, and of a run
 * after one gang has ended. Usage: schedule NODES PODS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "osmo/scheduler.h"

#define GI (1024ll * 1024 * 1024)

static long placed_gangs, waiting_gangs;
static char last[64];
static void on_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    (void)ctx, (void)nodes, (void)npods;
    snprintf(last, sizeof last, "%s", gang);
    placed_gangs++;
}
static void on_wait(void *ctx, const char *gang, const char *reason) {
    (void)ctx, (void)gang, (void)reason;
    waiting_gangs++;
}

static void check(int rc, const osmo_error_t *err) {
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void add_nodes(osmo_scheduler_t *s, long nodes) {
    osmo_error_t err = OSMO_ERROR_INIT;
    for (long i = 0; i < nodes; i++) {
        char name[32], zone[32], rack[32];
        snprintf(name, sizeof name, "node-%05ld", i);
        snprintf(zone, sizeof zone, "z%ld", i / 1000);
        snprintf(rack, sizeof rack, "r%ld", i / 20);
        osmo_sched_pair_t labels[] = { { "kubernetes.io/hostname", name }, { "zone", zone }, { "rack", rack }, { "arch", "amd64" },
                                       { "accelerator", i % 4 ? "a" : "b" } };
        osmo_sched_node_t n = { .size = sizeof n, .name = name, .labels = labels, .nlabels = 5,
                                .capacity = { { 64000, 512 * GI, 2048 * GI, 8, 110 } } };
        check(osmo_scheduler_set_node(s, &n, &err), &err);
    }
}

static void add_gangs(osmo_scheduler_t *s, long pods) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static const osmo_sched_pair_t selector[] = { { "accelerator", "a" } };
    osmo_sched_pod_t p[16];
    for (long i = 0, g = 0; i < pods; g++) {
        static const size_t sizes[] = { 1, 1, 1, 2, 4, 1, 8, 1 };
        size_t n = sizes[g % 8];
        char name[32], user[16];
        snprintf(name, sizeof name, "gang-%06ld", g);
        snprintf(user, sizeof user, "user-%ld", g % 50);
        for (size_t k = 0; k < n; k++)
            p[k] = (osmo_sched_pod_t){ .request = { { 4000 + 1000 * (g % 5), (16 + g % 7) * GI, 10 * GI, g % 3 ? 1 : 2, 0 } },
                                       .selector = selector, .nselector = g % 5 == 0, .scope = -1 };
        osmo_sched_gang_t gang = { .size = sizeof gang, .name = name, .queue = g % 2 ? "one" : "two", .user = user,
                                   .priority = 50 + (int)(g % 3) * 25, .preemptible = g % 3 == 0, .arrival = g,
                                   .level = g % 40 == 6 ? "rack" : NULL, .pods = p, .npods = n };
        check(osmo_scheduler_submit(s, &gang, &err), &err);
        i += (long)n;
    }
}

int main(int argc, char **argv) {
    static const char *const levels[] = { "zone", "rack", NULL };
    long nodes = argc > 1 ? atol(argv[1]) : 10000, pods = argc > 2 ? atol(argv[2]) : 100000;
    osmo_scheduler_options_t o = { .size = sizeof o, .levels = levels };
    osmo_sched_sink_t sink = { .size = sizeof sink, .place = on_place, .wait = on_wait };
    osmo_scheduler_t *s;
    osmo_error_t err = OSMO_ERROR_INIT;
    check(osmo_scheduler_new(&o, &s, &err), &err);
    add_nodes(s, nodes);
    add_gangs(s, pods);
    int64_t begin = clock_mono_us();
    int64_t placed = osmo_scheduler_run(s, 0, &sink, &err);
    int64_t first = clock_mono_us() - begin;
    check((int)placed, &err);
    long was = placed_gangs, waits = waiting_gangs;
    check(osmo_scheduler_remove(s, last), &err);
    begin = clock_mono_us();
    check((int)osmo_scheduler_run(s, 0, &sink, &err), &err);
    int64_t again = clock_mono_us() - begin;
    printf("%6ld nodes %7ld pods: %lld pods placed in %ld gangs, %ld gangs wait; first run %.3f s, %.0f pods/s; "
           "run after one ended %.3f s\n",
           nodes, pods, (long long)placed, was, waits, (double)first / 1e6, (double)pods / ((double)first / 1e6), (double)again / 1e6);
    osmo_scheduler_free(s);
    return 0;
}
