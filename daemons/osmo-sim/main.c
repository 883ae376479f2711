/* osmo-sim FILE: what would this scheduler do with that trace on that cluster? Simulated time; the same file gives the same answer. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "osmo/version.h"
#include "sim.h"

enum event_kind { EVENT_SUBMIT, EVENT_END, EVENT_LEAVE };
struct event { double at; enum event_kind kind; size_t gang; uint64_t generation, order; };
struct heap { struct event *items; size_t len, cap; uint64_t order; };

struct world {
    struct sim sim;
    struct heap heap;
    map_t *by_name; /* gang's index + 1 */
    double now;
    bool show;
    size_t placements, evictions, runs;
    double gpu_seconds, busy_until;
    int64_t gpus_busy, scheduling_us;
    bool failed;
};

/* ---- events ---- */

static bool earlier(const struct event *a, const struct event *b) {
    if (a->at < b->at || a->at > b->at)
        return a->at < b->at;
    return a->order < b->order;
}

static void swap(struct event *a, struct event *b) {
    struct event t = *a;
    *a = *b;
    *b = t;
}

static void push(struct world *w, double at, enum event_kind kind, size_t gang) {
    struct heap *h = &w->heap;
    if (h->len == h->cap) {
        size_t cap = h->cap ? 2 * h->cap : 1024;
        struct event *grown = reallocarray(h->items, cap, sizeof *grown);
        if (!grown) {
            w->failed = true;
            return;
        }
        h->items = grown;
        h->cap = cap;
    }
    h->items[h->len] = (struct event){ at, kind, gang, w->sim.gangs[gang].generation, h->order++ };
    for (size_t i = h->len++; i && earlier(&h->items[i], &h->items[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&h->items[i], &h->items[(i - 1) / 2]);
}

static struct event pop(struct heap *h) {
    struct event top = h->items[0];
    h->items[0] = h->items[--h->len];
    for (size_t i = 0, least;; i = least) {
        least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < h->len; child++)
            if (earlier(&h->items[child], &h->items[least]))
                least = child;
        if (least == i)
            return top;
        swap(&h->items[i], &h->items[least]);
    }
}

/* ---- what the scheduler says ---- */

static size_t index_of(const struct world *w, const char *gang) { return (size_t)(uintptr_t)map_get(w->by_name, gang) - 1; }

static int64_t gpus_of(const struct sim_gang *g) { return g->request.of[OSMO_SCHED_GPU] * (int64_t)g->npods; }

static void on_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    struct world *w = ctx;
    size_t i = index_of(w, gang);
    struct sim_gang *g = &w->sim.gangs[i];
    g->generation++;
    if (g->placed_at < 0)
        g->placed_at = w->now;
    w->placements += npods;
    w->gpus_busy += gpus_of(g);
    push(w, w->now + g->duration, EVENT_END, i);
    if (w->show)
        printf("%.0f place %s on %s%s\n", w->now, gang, nodes[0], npods > 1 ? " and others" : "");
}

static void on_evict(void *ctx, const char *gang, const char *for_gang, const char *reason) {
    struct world *w = ctx;
    size_t i = index_of(w, gang);
    w->sim.gangs[i].generation++;
    w->sim.gangs[i].evictions++;
    w->evictions++;
    push(w, w->now + w->sim.grace, EVENT_LEAVE, i);
    if (w->show)
        printf("%.0f evict %s for %s: %s\n", w->now, gang, for_gang, reason);
}

static void on_wait(void *ctx, const char *gang, const char *reason) {
    struct world *w = ctx;
    if (w->show)
        printf("%.0f wait %s: %s\n", w->now, gang, reason);
}

/* ---- time goes on ---- */

static int submit(struct world *w, const struct sim_gang *g, osmo_error_t *err) {
    osmo_sched_pod_t *pods = calloc(g->npods ? g->npods : 1, sizeof *pods);
    if (!pods)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->npods; i++)
        pods[i] = (osmo_sched_pod_t){ .request = g->request, .scope = -1 };
    osmo_sched_gang_t gang = { .size = sizeof gang, .name = g->name, .queue = g->queue, .user = g->user, .priority = g->priority,
                               .preemptible = g->preemptible, .arrival = (int64_t)(g->at * 1000), .level = g->level,
                               .pods = pods, .npods = g->npods };
    int rc = osmo_scheduler_submit(w->sim.scheduler, &gang, err);
    free(pods);
    return rc;
}

static int apply(struct world *w, const struct event *e, osmo_error_t *err) {
    struct sim_gang *g = &w->sim.gangs[e->gang];
    if (e->kind == EVENT_SUBMIT)
        return submit(w, g, err);
    if (e->generation != g->generation)
        return 0;
    osmo_scheduler_remove(w->sim.scheduler, g->name);
    w->gpus_busy -= gpus_of(g);
    if (e->kind == EVENT_LEAVE)
        return submit(w, g, err); /* begins anew */
    g->ended_at = w->now;
    if (w->show)
        printf("%.0f end %s\n", w->now, g->name);
    return 0;
}

static int simulate(struct world *w, osmo_error_t *err) {
    const osmo_sched_sink_t sink = { .size = sizeof sink, .ctx = w, .place = on_place, .evict = on_evict, .wait = on_wait };
    while (w->heap.len && !w->failed) {
        double at = w->heap.items[0].at;
        w->gpu_seconds += (double)w->gpus_busy * (at - w->now);
        w->now = at;
        while (w->heap.len && w->heap.items[0].at <= at) {
            struct event e = pop(&w->heap);
            int rc = apply(w, &e, err);
            if (rc < 0)
                return rc;
        }
        int64_t begin = clock_mono_us(), placed;
        while ((placed = osmo_scheduler_run(w->sim.scheduler, 0, &sink, err)) > 0)
            w->runs++; /* what was placed now may have to leave for somebody who waits: look again */
        if (placed < 0)
            return OSMO_ENOMEM;
        w->runs++;
        w->scheduling_us += clock_mono_us() - begin;
    }
    return w->failed ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

/* ---- the report ---- */

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int report(const struct world *w, osmo_error_t *err) {
    const struct sim *sim = &w->sim;
    double *waits = calloc(sim->ngangs + 1, sizeof *waits), last = 0;
    size_t n = 0, ended = 0;
    if (!waits)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < sim->ngangs; i++) {
        const struct sim_gang *g = &sim->gangs[i];
        if (g->placed_at >= 0)
            waits[n++] = g->placed_at - g->at;
        ended += g->ended_at >= 0;
        if (g->ended_at > last)
            last = g->ended_at;
    }
    if (n)
        qsort(waits, n, sizeof *waits, by_number);
    printf("nodes            %zu (%lld cores, %lld GPUs)\n", sim->nnodes, (long long)sim->cpus, (long long)sim->gpus);
    printf("gangs            %zu (%zu pods), %zu ended, %zu never placed\n", sim->ngangs, sim->npods, ended, sim->ngangs - n);
    if (n)
        printf("wait (s)         p50 %.0f, p90 %.0f, p99 %.0f, longest %.0f\n", waits[n / 2], waits[n * 9 / 10], waits[n * 99 / 100],
               waits[n - 1]);
    printf("makespan (s)     %.0f\n", last);
    if (sim->gpus && last > 0)
        printf("GPU use          %.1f %%\n", 100 * w->gpu_seconds / (last * (double)sim->gpus));
    printf("evictions        %zu\n", w->evictions);
    printf("decisions        %zu pods placed by %zu runs in %.3f s of scheduling\n", w->placements, w->runs,
           (double)w->scheduling_us / 1e6);
    for (size_t i = 0, shown = 0; i < sim->ngangs && shown < 10; i++)
        if (sim->gangs[i].placed_at < 0) {
            printf("never placed     %s: %s\n", sim->gangs[i].name, osmo_scheduler_get_reason(sim->scheduler, sim->gangs[i].name));
            shown++;
        }
    free(waits);
    return 0;
}

static int run(struct world *w, const char *path, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    int rc = file_read(path, &text, err);
    if (rc >= 0)
        rc = sim_load(buf_cstr(&text), text.len, &w->sim, err);
    for (size_t i = 0; rc >= 0 && i < w->sim.ngangs; i++) {
        if (map_set(w->by_name, w->sim.gangs[i].name, (void *)(uintptr_t)(i + 1)) < 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        push(w, w->sim.gangs[i].at, EVENT_SUBMIT, i);
    }
    if (rc >= 0)
        rc = simulate(w, err);
    return rc < 0 ? rc : report(w, err);
}

static void usage(FILE *to) {
    fprintf(to, "usage: osmo-sim [--events] FILE\n"
                "  FILE      nodes, queues and gangs as YAML, see osmo-sim(1)\n"
                "  --events  print every decision\n");
}

int main(int argc, char **argv) {
    static const struct option options[] = { { "events", no_argument, NULL, 'e' }, { "help", no_argument, NULL, 'h' },
                                             { "version", no_argument, NULL, 'v' }, { 0 } };
    struct world w = { .by_name = map_new(NULL) };
    osmo_error_t err = OSMO_ERROR_INIT;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'e') {
            w.show = true;
            continue;
        }
        if (c == 'h')
            usage(stdout);
        else if (c == 'v')
            printf("osmo-sim %s\n", osmo_version());
        else
            usage(stderr);
        map_free(w.by_name);
        return c == '?' ? 2 : 0;
    }
    if (optind != argc - 1 || !w.by_name) {
        usage(stderr);
        map_free(w.by_name);
        return 2;
    }
    int rc = run(&w, argv[optind], &err);
    if (rc < 0)
        fprintf(stderr, "osmo-sim: %s: %s\n", argv[optind], err.text);
    sim_free(&w.sim);
    free(w.heap.items);
    map_free(w.by_name);
    return rc < 0 ? 1 : 0;
}
