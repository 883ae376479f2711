/* Placement of gangs on nodes. See schedule.h. Within a gang the largest pods are placed first, each on the node that is left
 * with the least room, so that large holes stay large. */
#include "model/schedule.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 5 };
static const char *const kind_names[KINDS] = {"cpu", "memory", "storage", "gpu", "pods"};

static int64_t amount_of(const struct sched_amount *a, int kind)
{
    const int64_t values[KINDS] = {a->cpu_milli, a->memory, a->storage, a->gpu, a->pods};
    return values[kind];
}

static int lacking(const struct sched_amount *want, const struct sched_amount *have)
{
    for (int k = 0; k < KINDS; k++)
        if (amount_of(want, k) > amount_of(have, k))
            return k;
    return -1;
}

static void take(struct sched_amount *from, const struct sched_amount *want, int64_t sign)
{
    from->cpu_milli -= sign * want->cpu_milli;
    from->memory -= sign * want->memory;
    from->storage -= sign * want->storage;
    from->gpu -= sign * want->gpu;
    from->pods -= sign * want->pods;
}

static void amount_text(int kind, int64_t v, char out[32])
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti"};
    if (kind == 0 && v % 1000) {
        snprintf(out, 32, "%lldm", (long long)v);
    } else if (kind == 0) {
        snprintf(out, 32, "%lld", (long long)(v / 1000));
    } else if (kind == 1 || kind == 2) {
        int u = 0;
        double d = (double)(v < 0 ? 0 : v);
        for (; d >= 1024 && u < 4; u++)
            d /= 1024;
        snprintf(out, 32, "%.4g%s", d, units[u]);
    } else {
        snprintf(out, 32, "%lld", (long long)v);
    }
}

static int by_size(const void *a, const void *b)
{
    const struct sched_pod *x = *(struct sched_pod *const *)a, *y = *(struct sched_pod *const *)b;
    static const int order[KINDS] = {3, 1, 0, 2, 4}; /* gpu first: the scarcest */
    for (int i = 0; i < KINDS; i++) {
        int64_t l = amount_of(&x->request, order[i]), r = amount_of(&y->request, order[i]);
        if (l != r)
            return l > r ? -1 : 1;
    }
    return x < y ? -1 : x > y;
}

/* Best fit: the node that has the least left of what counts most. */
static int best_node(const struct sched_node *nodes, size_t nnodes, const struct sched_amount *want)
{
    int best = -1;
    for (size_t i = 0; i < nnodes; i++) {
        if (lacking(want, &nodes[i].free) >= 0)
            continue;
        if (best < 0 || nodes[i].free.gpu < nodes[best].free.gpu ||
            (nodes[i].free.gpu == nodes[best].free.gpu && nodes[i].free.memory < nodes[best].free.memory))
            best = (int)i;
    }
    return best;
}

static void explain(struct sched_gang *g, const struct sched_pod *p, const struct sched_node *nodes, size_t nnodes)
{
    char want[32], have[32];
    if (nnodes == 0) {
        snprintf(g->reason, sizeof(g->reason), "there is no node");
        return;
    }
    int kind = lacking(&p->request, &nodes[0].free);
    const struct sched_node *most = &nodes[0];
    for (size_t i = 1; i < nnodes; i++)
        if (amount_of(&nodes[i].free, kind) > amount_of(&most->free, kind))
            most = &nodes[i];
    amount_text(kind, amount_of(&p->request, kind), want);
    amount_text(kind, amount_of(&most->free, kind), have);
    snprintf(g->reason, sizeof(g->reason), "needs %s %s, %s %.64s has %s free", want, kind_names[kind], nnodes > 1 ? "even node" : "node",
             most->name ? most->name : "", have);
}

static bool place_gang(struct sched_node *nodes, size_t nnodes, struct sched_gang *g)
{
    struct sched_pod **order = calloc(g->npods + 1, sizeof(struct sched_pod *));
    size_t done = 0;
    g->reason[0] = '\0';
    if (!order) {
        snprintf(g->reason, sizeof(g->reason), "out of memory");
        return false;
    }
    for (size_t i = 0; i < g->npods; i++) {
        order[i] = &g->pods[i];
        order[i]->node = -1;
    }
    qsort(order, g->npods, sizeof(*order), by_size);
    for (; done < g->npods; done++) {
        int n = best_node(nodes, nnodes, &order[done]->request);
        if (n < 0)
            break;
        order[done]->node = n;
        take(&nodes[n].free, &order[done]->request, 1);
    }
    bool all = done == g->npods;
    if (!all) {
        explain(g, order[done], nodes, nnodes);
        for (size_t i = 0; i < done; i++) {
            take(&nodes[order[i]->node].free, &order[i]->request, -1);
            order[i]->node = -1;
        }
    }
    free(order);
    return all;
}

static int by_turn(const void *a, const void *b)
{
    const struct sched_gang *x = *(struct sched_gang *const *)a, *y = *(struct sched_gang *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->arrival != y->arrival)
        return x->arrival < y->arrival ? -1 : 1;
    return x < y ? -1 : x > y;
}

size_t schedule_place(struct sched_node *nodes, size_t nnodes, struct sched_gang *gangs, size_t ngangs, int strict_fifo)
{
    struct sched_gang **order = calloc(ngangs + 1, sizeof(struct sched_gang *));
    const struct sched_gang *head = NULL; /* the one that waits longest and must not be overtaken */
    size_t placed = 0;
    if (!order)
        return 0;
    for (size_t i = 0; i < ngangs; i++)
        order[i] = &gangs[i];
    qsort(order, ngangs, sizeof(*order), by_turn);
    for (size_t i = 0; i < ngangs; i++) {
        struct sched_gang *g = order[i];
        if (head && strict_fifo) {
            for (size_t p = 0; p < g->npods; p++)
                g->pods[p].node = -1;
            snprintf(g->reason, sizeof(g->reason), "waits its turn, behind %.80s", head->name ? head->name : "an earlier group");
        } else if (place_gang(nodes, nnodes, g)) {
            placed++;
        } else if (!head) {
            head = g;
        }
    }
    free(order);
    return placed;
}
