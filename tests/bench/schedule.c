/*
 * Scheduling figures: a cluster of N nodes in racks and zones and P waiting pods in gangs of several users and two queues. Two schedulers
 * see the same events: one that remembers what failed ("incremental"), and one that looks at everything that waits in each run ("full").
 * At the end a third is made anew from the picture, as a caller without a lasting scheduler would for each decision. Medians of processor
 * time; decisions are pods placed, and pods found to have to wait. Usage: schedule NODES PODS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "osmo/scheduler.h"

#define GI (1024ll * 1024 * 1024)
enum { REPEATS = 51, DELTAS = 1000, MAX_PODS = 8 };

static osmo_error_t err = OSMO_ERROR_INIT;

static void check(int64_t rc) {
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err.text);
    exit(1);
}

/* Of the processor: the machine may be shared. */
static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the cluster and what runs in it ---- */

static const char *const levels[] = { "zone", "rack", NULL };
struct gang { char name[16]; long number; bool waiting, running; char (*nodes)[16]; };
static struct gang *gangs;
static long ngangs, pods_waiting;
static size_t *running; /* numbers of running gangs, in no order */
static size_t nrunning;
static uint64_t random_state = 88172645463325252u;

static size_t pick(size_t n) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (size_t)(random_state >> 20) % n;
}

static size_t size_of(long g) { return (const size_t[]){ 1, 1, 1, 2, 4, 1, 8, 1 }[g % 8]; }

struct side { osmo_scheduler_t *s; bool leads; int64_t placed; };

static void on_place(void *ctx, const char *name, const char *const *nodes, size_t npods) {
    struct side *side = ctx;
    struct gang *g = &gangs[atol(name + 5)];
    side->placed += (int64_t)npods;
    if (!side->leads)
        return;
    g->waiting = false;
    g->running = true;
    pods_waiting -= (long)npods;
    running[nrunning++] = (size_t)g->number;
    for (size_t i = 0; i < npods; i++)
        snprintf(g->nodes[i], sizeof g->nodes[i], "%s", nodes[i]);
}

static void run(struct side *side) {
    const osmo_sched_sink_t sink = { .size = sizeof sink, .ctx = side, .place = on_place };
    check(osmo_scheduler_run(side->s, 0, &sink, &err));
}

static void add_nodes(osmo_scheduler_t *s, long nodes) {
    for (long i = 0; i < nodes; i++) {
        char name[32], zone[32], rack[32];
        snprintf(name, sizeof name, "node-%05ld", i);
        snprintf(zone, sizeof zone, "z%ld", i / 1000);
        snprintf(rack, sizeof rack, "r%ld", i / 20);
        osmo_sched_pair_t labels[] = { { "kubernetes.io/hostname", name }, { "zone", zone }, { "rack", rack }, { "arch", "amd64" },
                                       { "accelerator", i % 4 ? "a" : "b" } };
        osmo_sched_node_t n = { .size = sizeof n, .name = name, .labels = labels, .nlabels = 5,
                                .capacity = { { 64000, 512 * GI, 2048 * GI, 8, 110 } } };
        check(osmo_scheduler_set_node(s, &n, &err));
    }
}

static void add_gang(osmo_scheduler_t *s, const struct gang *g, bool runs) {
    static const osmo_sched_pair_t selector[] = { { "accelerator", "a" } };
    osmo_sched_pod_t p[MAX_PODS];
    const char *nodes[MAX_PODS];
    long k = g->number;
    char user[16];
    snprintf(user, sizeof user, "user-%ld", k % 50);
    for (size_t i = 0; i < size_of(k); i++) {
        p[i] = (osmo_sched_pod_t){ .request = { { 4000 + 1000 * (k % 5), (16 + k % 7) * GI, 10 * GI, k % 3 ? 1 : 2, 0 } },
                                   .selector = selector, .nselector = k % 5 == 0, .scope = -1 };
        nodes[i] = g->nodes[i];
    }
    osmo_sched_gang_t gang = { .size = sizeof gang, .name = g->name, .queue = k % 2 ? "one" : "two", .user = user,
                               .priority = 50 + (int)(k % 3) * 25, .preemptible = k % 3 == 0, .arrival = k,
                               .level = k % 40 == 6 ? "rack" : NULL, .pods = p, .npods = size_of(k) };
    check(runs ? osmo_scheduler_adopt(s, &gang, nodes, &err) : osmo_scheduler_submit(s, &gang, &err));
}

static struct gang *gang_new(void) {
    struct gang *g = &gangs[ngangs];
    *g = (struct gang){ .number = ngangs, .waiting = true, .nodes = calloc(MAX_PODS, sizeof *g->nodes) };
    if (!g->nodes)
        exit(1);
    snprintf(g->name, sizeof g->name, "gang-%07ld", ngangs++);
    pods_waiting += (long)size_of(g->number);
    return g;
}

static osmo_scheduler_t *make(long nodes, int full) {
    osmo_scheduler_options_t o = { .size = sizeof o, .levels = levels, .full_runs = full };
    osmo_scheduler_t *s;
    check(osmo_scheduler_new(&o, &s, &err));
    add_nodes(s, nodes);
    for (long i = 0; i < ngangs; i++)
        if (gangs[i].running)
            add_gang(s, &gangs[i], true);
    for (long i = 0; i < ngangs; i++)
        if (gangs[i].waiting)
            add_gang(s, &gangs[i], false);
    return s;
}

/* ---- figures ---- */

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, size_t n) {
    qsort(list, n, sizeof *list, by_number);
    return list[n / 2];
}

static void end_one(struct side *sides) {
    size_t at = pick(nrunning);
    struct gang *g = &gangs[running[at]];
    running[at] = running[--nrunning];
    g->running = false;
    for (int i = 0; i < 2; i++)
        check(osmo_scheduler_remove(sides[i].s, g->name));
}

static void begin_one(struct side *sides) {
    const struct gang *g = gang_new();
    for (int i = 0; i < 2; i++)
        add_gang(sides[i].s, g, false);
}

static void measure(const char *what, struct side *sides, void (*event)(struct side *), int events) {
    double took[2][REPEATS];
    for (int n = 0; n < REPEATS; n++) {
        for (int e = 0; e < events; e++)
            event(sides);
        for (int i = 0; i < 2; i++) {
            double begin = now_us();
            run(&sides[i]);
            took[i][n] = now_us() - begin;
        }
    }
    double quick = median(took[0], REPEATS), full = median(took[1], REPEATS);
    printf("  %-44s %10.1f us %12.1f us %8.0f times\n", what, quick, full, full / quick);
}

static void delta(struct side *sides) { (pick(2) ? end_one : begin_one)(sides); }

/* Each followed by a run: what a live cluster does. */
static void churn(struct side *sides) {
    double took[2] = { 0, 0 };
    int64_t before = sides[0].placed;
    for (int n = 0; n < DELTAS; n++) {
        delta(sides);
        for (int i = 0; i < 2; i++) {
            double begin = now_us();
            run(&sides[i]);
            took[i] += now_us() - begin;
        }
    }
    printf("  %-44s %10.1f us %12.1f us   a run\n", "1,000 random deltas, a run after each", took[0] / DELTAS, took[1] / DELTAS);
    printf("  %-44s %10.0f /s   of %lld pods placed\n", "runs", DELTAS / (took[0] / 1e6), (long long)(sides[0].placed - before));
}

int main(int argc, char **argv) {
    long nodes = argc > 1 ? atol(argv[1]) : 10000, pods = argc > 2 ? atol(argv[2]) : 100000;
    double first[2];
    if (nodes < 1 || pods < 1 || pods > 10000000)
        return 2;
    gangs = calloc((size_t)pods + 64 * DELTAS, sizeof *gangs);
    running = calloc((size_t)pods + 64 * DELTAS, sizeof *running);
    if (!gangs || !running)
        return 1;
    while (pods_waiting < pods)
        gang_new();
    long asked = pods_waiting;
    struct side sides[2] = { { make(nodes, 0), true, 0 }, { make(nodes, 1), false, 0 } };
    for (int i = 0; i < 2; i++) {
        double begin = now_us();
        run(&sides[i]);
        first[i] = now_us() - begin;
    }
    printf("%ld nodes, %ld pods in %ld gangs: %lld placed, %ld wait\n", nodes, asked, ngangs, (long long)sides[0].placed, pods_waiting);
    printf("  %-44s %13s %15s\n", "median of a run", "incremental", "full");
    printf("  %-44s %10.0f us %12.0f us\n", "the first run", first[0], first[1]);
    printf("  %-44s %10.0f /s\n", "decisions in it", (double)asked / (first[0] / 1e6));
    measure("one gang ended", sides, end_one, 1);
    measure("one gang came", sides, begin_one, 1);
    measure("1,000 random deltas, one run", sides, delta, DELTAS);
    churn(sides);
    double begin = now_us();
    struct side anew = { make(nodes, 0), false, 0 };
    run(&anew);
    printf("  %-44s %10.0f us\n", "made anew from the picture, and a run", now_us() - begin);
    for (int i = 0; i < 2; i++)
        osmo_scheduler_free(sides[i].s);
    osmo_scheduler_free(anew.s);
    for (long i = 0; i < ngangs; i++)
        free(gangs[i].nodes);
    free(gangs);
    free(running);
    return sides[0].placed == sides[1].placed ? 0 : 1;
}
