/* The scheduler's gangs and what they ask for. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "model/schedule_internal.h"

/* ---- shapes and kinds ---- */

static void shape_free(struct shape *x) {
    if (!x)
        return;
    sched_pairs_free(&x->selector);
    sched_pairs_free(&x->tolerations);
    free(x->class_ok);
    free(x->key);
    free(x);
}

static void put_pairs(buf_t *key, char mark, const osmo_sched_pair_t *pairs, size_t n) {
    for (size_t i = 0; i < n; i++)
        buf_printf(key, "%c%s\x1f%s\x1e", mark, pairs[i].key ? pairs[i].key : "", pairs[i].value ? pairs[i].value : "\x1d");
}

static struct shape *shape_new(const char *key, const osmo_sched_pod_t *pod) {
    struct shape *x = calloc(1, sizeof *x);
    if (!x || !(x->key = str_dup(key)) || sched_pairs_copy(&x->selector, pod->selector, pod->nselector) < 0 ||
        sched_pairs_copy(&x->tolerations, pod->tolerations, pod->ntolerations) < 0) {
        shape_free(x);
        return NULL;
    }
    x->request = pod->request;
    if (x->request.of[OSMO_SCHED_PODS] == 0)
        x->request.of[OSMO_SCHED_PODS] = 1;
    return x;
}

static struct shape *shape_get(osmo_scheduler_t *s, const osmo_sched_pod_t *pod) {
    _cleanup_buf_ buf_t key = BUF_INIT(1u << 20);
    for (int r = 0; r < R; r++)
        buf_printf(&key, "%lld ", (long long)pod->request.of[r]);
    put_pairs(&key, 's', pod->selector, pod->nselector);
    put_pairs(&key, 't', pod->tolerations, pod->ntolerations);
    if (buf_failed(&key))
        return NULL;
    struct shape *x = map_get(s->shape_by_key, key.data);
    if (!x) {
        x = shape_new(key.data, pod);
        if (x && map_set(s->shape_by_key, x->key, x) < 0) {
            shape_free(x);
            x = NULL;
        }
    }
    if (x)
        x->refs++;
    return x;
}

static void shape_put(osmo_scheduler_t *s, struct shape *x) {
    if (x && --x->refs == 0) {
        map_remove(s->shape_by_key, x->key);
        shape_free(x);
    }
}

/* Shapes by address: they live at least as long as a gang of the kind does. */
static struct kind *kind_get(osmo_scheduler_t *s, const struct gang *g) {
    _cleanup_buf_ buf_t key = BUF_INIT(16u << 20);
    for (size_t i = 0; i < g->nscopes; i++)
        buf_printf(&key, "%d,%d,%d;", g->scopes[i].parent, g->scopes[i].level, g->scopes[i].preferred);
    for (size_t i = 0; i < g->npods;) {
        size_t same = i + 1;
        while (same < g->npods && g->pods[same].shape == g->pods[i].shape && g->pods[same].scope == g->pods[i].scope)
            same++;
        buf_printf(&key, "%p*%zu@%d ", (void *)g->pods[i].shape, same - i, g->pods[i].scope);
        i = same;
    }
    if (buf_failed(&key))
        return NULL;
    struct kind *k = map_get(s->kind_by_key, key.data);
    if (!k) {
        k = calloc(1, sizeof *k);
        if (!k || !(k->key = str_dup(key.data)) || map_set(s->kind_by_key, k->key, k) < 0) {
            free(k ? k->key : NULL);
            free(k);
            return NULL;
        }
    }
    k->refs++;
    k->total = g->total;
    k->level = g->scopes[0].preferred ? -1 : g->scopes[0].level;
    k->simple = g->nscopes == 1 && !strchr(k->key, ' ')[1];
    return k;
}

static void kind_put(osmo_scheduler_t *s, struct kind *k) {
    if (k && --k->refs == 0) {
        sched_kind_open(s, k);
        map_remove(s->kind_by_key, k->key);
        free(k->key);
        free(k);
    }
}

/* ---- gangs ---- */

void sched_gang_free(osmo_scheduler_t *s, struct gang *g) {
    if (!g)
        return;
    kind_put(s, g->kind);
    for (size_t i = 0; g->pods && i < g->npods; i++)
        shape_put(s, g->pods[i].shape);
    free(g->pods);
    free(g->scopes);
    free(g->name);
    if (g->share)
        sched_share_put(g->queue, g->share);
    free(g);
}

static int gang_check(const osmo_scheduler_t *s, const osmo_sched_gang_t *g, osmo_error_t *err) {
    if (g->size < sizeof *g || !g->name || !*g->name)
        return osmo_error_set(err, OSMO_EINVAL, "a gang needs its size and a name");
    if (g->npods < 1 || g->npods > MAX_PODS || g->nscopes > MAX_SCOPES)
        return osmo_error_set(err, OSMO_EINVAL, "gang %s has %zu pods and %zu scopes; 1 to %d and at most %d are possible", g->name,
                              g->npods, g->nscopes, MAX_PODS, MAX_SCOPES);
    for (size_t i = 0; i < g->nscopes; i++)
        if (g->scopes[i].parent < -1 || g->scopes[i].parent >= (int)i)
            return osmo_error_set(err, OSMO_EINVAL, "scope %zu of gang %s comes before its parent", i, g->name);
    for (size_t i = 0; i < g->npods; i++) {
        const osmo_sched_pod_t *p = &g->pods[i];
        if (p->scope < -1 || p->scope >= (int)g->nscopes || p->nselector > 64 || p->ntolerations > 64)
            return osmo_error_set(err, OSMO_EINVAL, "pod %zu of gang %s names no scope of it, or has more than 64 selectors or tolerations",
                                  i, g->name);
        for (int r = 0; r < R; r++)
            if (p->request.of[r] < 0 || p->request.of[r] > MAX_REQUEST)
                return osmo_error_set(err, OSMO_EINVAL, "pod %zu of gang %s requests an impossible amount of %s", i, g->name,
                                      sched_resource_names[r]);
    }
    if (map_has(s->gang_by_name, g->name))
        return osmo_error_set(err, OSMO_EEXISTS, "gang %s is known already", g->name);
    if (!map_has(s->queue_by_name, g->queue ? g->queue : "") && s->nqueues >= MAX_QUEUES)
        return osmo_error_set(err, OSMO_ELIMIT, "the queue of gang %s is one more than %d", g->name, MAX_QUEUES);
    if (map_len(s->gang_by_name) >= MAX_GANGS)
        return osmo_error_set(err, OSMO_ELIMIT, "gang %s is one more than %d", g->name, MAX_GANGS);
    return 0;
}

static int level_index(const osmo_scheduler_t *s, const char *label, int *level, osmo_error_t *err) {
    *level = -1;
    if (!label)
        return 0;
    for (size_t i = 0; i < s->nlevels; i++)
        if (!strcmp(s->levels[i], label))
            *level = (int)i;
    return *level < 0 ? osmo_error_set(err, OSMO_EINVAL, "'%s' is no level of the topology", label) : 0;
}

static int scopes_fill(osmo_scheduler_t *s, struct gang *g, const osmo_sched_gang_t *from, osmo_error_t *err) {
    g->scopes = calloc(from->nscopes + 1, sizeof *g->scopes);
    if (!g->scopes)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    g->nscopes = from->nscopes + 1;
    for (size_t i = 0; i < g->nscopes; i++) {
        const osmo_sched_scope_t *x = i ? &from->scopes[i - 1] : NULL;
        int level, rc = level_index(s, x ? x->level : from->level, &level, err);
        if (rc < 0)
            return rc;
        g->scopes[i] = (struct scope){ .parent = x ? x->parent + 1 : -1, .level = level,
                                       .preferred = (x ? x->preferred : from->preferred) != 0 };
    }
    return 0;
}

static int pods_fill(osmo_scheduler_t *s, struct gang *g, const osmo_sched_gang_t *from, osmo_error_t *err) {
    g->pods = calloc(from->npods, sizeof *g->pods);
    if (!g->pods)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < from->npods; i++) {
        struct pod *p = &g->pods[i];
        p->shape = shape_get(s, &from->pods[i]);
        if (!p->shape)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        g->npods++;
        p->scope = from->pods[i].scope + 1;
        amount_add(&g->total, &p->shape->request, 1);
        for (int r = 0; r < R; r++)
            if (g->total.of[r] > MAX_TOTAL)
                return osmo_error_set(err, OSMO_EINVAL, "gang %s requests an impossible amount of %s", g->name, sched_resource_names[r]);
        for (int at = p->scope; at >= 0; at = g->scopes[at].parent)
            amount_add(&g->scopes[at].total, &p->shape->request, 1);
    }
    return 0;
}

int sched_gang_new(osmo_scheduler_t *s, const osmo_sched_gang_t *from, struct gang **out, osmo_error_t *err) {
    int rc = gang_check(s, from, err);
    if (rc < 0)
        return rc;
    struct gang *g = calloc(1, sizeof *g);
    if (!g)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    g->name = str_dup(from->name);
    g->queue = sched_queue_get(s, from->queue ? from->queue : "");
    g->share = g->queue ? sched_share_get(g->queue, from->user ? from->user : "") : NULL;
    g->priority = from->priority;
    g->preemptible = from->preemptible != 0;
    g->arrival = from->arrival;
    rc = g->name && g->share ? scopes_fill(s, g, from, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = pods_fill(s, g, from, err);
    if (rc == 0 && (!(g->kind = kind_get(s, g)) || map_set(s->gang_by_name, g->name, g) < 0))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0) {
        sched_gang_free(s, g);
        return rc;
    }
    *out = g;
    return 0;
}
