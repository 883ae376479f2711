/* The scheduler's gangs: what they ask for, and the queues in which they wait and to which they count. */
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
    return k;
}

static void kind_put(osmo_scheduler_t *s, struct kind *k) {
    if (k && --k->refs == 0) {
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
    free(g->user);
    free(g->reason);
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
            if (p->request.of[r] < 0 || p->request.of[r] > MAX_AMOUNT)
                return osmo_error_set(err, OSMO_EINVAL, "pod %zu of gang %s requests an impossible amount of %s", i, g->name,
                                      sched_resource_names[r]);
    }
    if (map_has(s->gang_by_name, g->name))
        return osmo_error_set(err, OSMO_EEXISTS, "gang %s is known already", g->name);
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
    g->user = str_dup(from->user ? from->user : "");
    g->queue = sched_queue_get(s, from->queue ? from->queue : "");
    g->priority = from->priority;
    g->preemptible = from->preemptible != 0;
    g->arrival = from->arrival;
    rc = g->name && g->user && g->queue ? scopes_fill(s, g, from, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
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

/* ---- queues ---- */

static void lane_free(struct lane *l) {
    free(l->items);
    free(l->user);
    free(l);
}

static void band_free(struct band *b) {
    for (size_t i = 0; i < b->nlanes; i++)
        lane_free(b->lanes[i]);
    free(b->lanes);
    map_free(b->by_user);
    free(b);
}

void sched_queue_free(struct queue *q) {
    for (size_t i = 0; i < q->nbands; i++)
        band_free(q->bands[i]);
    free(q->bands);
    map_free(q->shares);
    free(q->running);
    free(q->heap);
    free(q->name);
    free(q);
}

static void no_limits(amount_t *a) {
    for (int r = 0; r < R; r++)
        a->of[r] = -1;
}

struct queue *sched_queue_get(osmo_scheduler_t *s, const char *name) {
    struct queue *q = map_get(s->queue_by_name, name);
    if (q)
        return q;
    struct queue **grown = s->nqueues < MAX_QUEUES ? reallocarray(s->queues, s->nqueues + 1, sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    s->queues = grown;
    q = calloc(1, sizeof *q);
    if (!q || !(q->name = str_dup(name)) || !(q->shares = map_new(free)) || map_set(s->queue_by_name, name, q) < 0) {
        if (q)
            sched_queue_free(q);
        return NULL;
    }
    q->weight = 1;
    no_limits(&q->guarantee);
    no_limits(&q->maximum);
    return s->queues[s->nqueues++] = q;
}

static struct share *share_get(struct queue *q, const char *user) {
    struct share *x = map_get(q->shares, user);
    if (!x && (x = calloc(1, sizeof *x)) && map_set(q->shares, user, x) < 0)
        x = NULL;
    return x;
}

void sched_queue_charge_amount(struct gang *g, const amount_t *amount, int sign) {
    struct share *x = map_get(g->queue->shares, g->user);
    amount_add(&g->queue->used, amount, sign);
    if (!g->preemptible)
        amount_add(&g->queue->firm, amount, sign);
    if (x)
        amount_add(&x->used, amount, sign);
}

void sched_queue_charge(struct gang *g, int sign) { sched_queue_charge_amount(g, &g->total, sign); }

static struct band *band_get(struct queue *q, int priority) {
    size_t at = 0;
    while (at < q->nbands && q->bands[at]->priority > priority)
        at++;
    if (at < q->nbands && q->bands[at]->priority == priority)
        return q->bands[at];
    struct band **grown = reallocarray(q->bands, q->nbands + 1, sizeof *grown), *b = NULL;
    if (!grown)
        return NULL;
    q->bands = grown;
    if (!(b = calloc(1, sizeof *b)) || !(b->by_user = map_new(NULL))) {
        free(b);
        return NULL;
    }
    b->priority = priority;
    memmove(grown + at + 1, grown + at, (q->nbands - at) * sizeof *grown);
    q->nbands++;
    return grown[at] = b;
}

static struct lane *lane_get(struct queue *q, struct band *b, const char *user) {
    struct lane *l = map_get(b->by_user, user), **grown;
    if (l)
        return l;
    if (!(grown = reallocarray(b->lanes, b->nlanes + 1, sizeof *grown)))
        return NULL;
    b->lanes = grown;
    if (!(l = calloc(1, sizeof *l)) || !(l->user = str_dup(user)) || !(l->share = share_get(q, user)) ||
        map_set(b->by_user, user, l) < 0) {
        if (l)
            lane_free(l);
        return NULL;
    }
    return b->lanes[b->nlanes++] = l;
}

/* Holes left by gangs that no longer wait go when a lane is full of them. */
static void lane_squeeze(struct lane *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i]) {
            l->items[n] = l->items[i];
            l->items[n]->lane_pos = n;
            n++;
        }
    l->len = n;
}

/* Room for one more: squeezed first, and grown when that gave less than half back, so that neither happens often. */
static int lane_reserve(struct lane *l) {
    if (l->len < l->cap)
        return 0;
    lane_squeeze(l);
    if (l->cap && l->len <= l->cap / 2)
        return 0;
    size_t cap = l->cap ? 2 * l->cap : 8;
    struct gang **grown = reallocarray(l->items, cap, sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    l->items = grown;
    l->cap = cap;
    return 0;
}

static int lane_insert(struct lane *l, struct gang *g) {
    if (lane_reserve(l) < 0)
        return OSMO_ENOMEM;
    size_t at = l->len;
    while (at > 0 && (!l->items[at - 1] || l->items[at - 1]->arrival > g->arrival))
        at--;
    for (size_t i = l->len; i > at; i--) {
        l->items[i] = l->items[i - 1];
        if (l->items[i])
            l->items[i]->lane_pos = i;
    }
    l->items[at] = g;
    l->len++;
    g->lane = l;
    g->lane_pos = at;
    return 0;
}

int sched_queue_enter(osmo_scheduler_t *s, struct gang *g) {
    (void)s;
    struct band *b = band_get(g->queue, g->priority);
    struct lane *l = b ? lane_get(g->queue, b, g->user) : NULL;
    if (!l || lane_insert(l, g) < 0)
        return OSMO_ENOMEM;
    g->state = GANG_WAITING;
    g->queue->waiting++;
    return 0;
}

void sched_queue_leave(struct gang *g) {
    if (!g->lane)
        return;
    g->lane->items[g->lane_pos] = NULL;
    while (g->lane->len && !g->lane->items[g->lane->len - 1])
        g->lane->len--;
    g->lane = NULL;
    g->queue->waiting--;
}

int sched_running_add(osmo_scheduler_t *s, struct gang *g) {
    struct queue *q = g->queue;
    if (!share_get(q, g->user))
        return OSMO_ENOMEM;
    if (q->nrunning == q->cap_running) {
        size_t cap = q->cap_running ? 2 * q->cap_running : 16;
        struct gang **grown = reallocarray(q->running, cap, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        q->running = grown;
        q->cap_running = cap;
    }
    g->running_pos = q->nrunning;
    q->running[q->nrunning++] = g;
    g->state = GANG_RUNNING;
    g->started = ++s->started;
    return 0;
}

void sched_running_remove(struct gang *g) {
    struct queue *q = g->queue;
    struct gang *last = q->running[--q->nrunning];
    q->running[g->running_pos] = last;
    last->running_pos = g->running_pos;
}

int osmo_scheduler_set_queue(osmo_scheduler_t *s, const osmo_sched_queue_t *queue, osmo_error_t *err) {
    if (queue->size < sizeof *queue || !queue->name)
        return osmo_error_set(err, OSMO_EINVAL, "a queue needs its size and a name");
    if (!map_has(s->queue_by_name, queue->name) && s->nqueues >= MAX_QUEUES)
        return osmo_error_set(err, OSMO_ELIMIT, "queue %s is one more than %d", queue->name, MAX_QUEUES);
    struct queue *q = sched_queue_get(s, queue->name);
    if (!q)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    q->guarantee = queue->guarantee;
    q->maximum = queue->maximum;
    q->weight = queue->weight > 0 ? queue->weight : 1;
    s->epoch++;
    return 0;
}
