/* The scheduler's nodes: sorted by topology so that a domain is a range, with a tree above that finds the first with room in a range. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "model/schedule_internal.h"

#define HOSTNAME "kubernetes.io/hostname"

int sched_pairs_copy(struct pairs *to, const osmo_sched_pair_t *from, size_t n) {
    *to = (struct pairs){ .items = calloc(n ? n : 1, sizeof *to->items) };
    if (!to->items)
        return OSMO_ENOMEM;
    for (; to->len < n; to->len++) {
        const osmo_sched_pair_t *p = &from[to->len];
        struct pair *copy = &to->items[to->len];
        copy->key = str_dup(p->key);
        copy->value = str_dup(p->value);
        if ((p->key && !copy->key) || (p->value && !copy->value)) {
            to->len++;
            sched_pairs_free(to);
            return OSMO_ENOMEM;
        }
    }
    return 0;
}

void sched_pairs_free(struct pairs *p) {
    for (size_t i = 0; i < p->len; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    *p = (struct pairs){ 0 };
}

bool sched_pair_has(const struct pairs *list, const struct pair *p) {
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i].key, p->key) && str_eq(list->items[i].value, p->value))
            return true;
    return false;
}

bool sched_tolerated(const struct pairs *taints, const struct pairs *tolerations) {
    for (size_t t = 0; t < taints->len; t++) {
        const struct pair *taint = &taints->items[t];
        bool ok = false;
        for (size_t i = 0; i < tolerations->len && !ok; i++) {
            const struct pair *o = &tolerations->items[i];
            ok = (!o->key || str_eq(o->key, taint->key)) && (!o->value || str_eq(o->value, taint->value));
        }
        if (!ok)
            return false;
    }
    return true;
}

amount_t sched_node_idle(const struct node *n) {
    amount_t idle;
    for (int r = 0; r < R; r++) {
        int64_t free_now = n->capacity.of[r] - n->used.of[r];
        int64_t promised = n->reserved.of[r] - n->releasing.of[r];
        idle.of[r] = n->cordoned ? -1 : free_now - (promised > 0 ? promised : 0);
    }
    return idle;
}

/* ---- classes ---- */

static bool is_own_label(const osmo_scheduler_t *s, const char *key) {
    for (size_t i = 0; i < s->nlevels; i++)
        if (str_eq(s->levels[i], key))
            return true;
    return str_eq(key, HOSTNAME);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Lines of labels and taints, sorted: equal for nodes that no selector or toleration can tell apart. */
static char *class_key(const osmo_scheduler_t *s, const struct node *n) {
    size_t count = 0, len = 2, cap = n->labels.len + n->taints.len;
    char **lines = calloc(cap ? cap : 1, sizeof *lines), *key = NULL;
    for (size_t i = 0; lines && i < cap; i++) {
        bool label = i < n->labels.len;
        const struct pair *p = label ? &n->labels.items[i] : &n->taints.items[i - n->labels.len];
        if (label && is_own_label(s, p->key))
            continue;
        char *line = str_printf("%c%s=%s\n", label ? 'l' : 't', p->key ? p->key : "", p->value ? p->value : "");
        if (!line)
            goto out;
        len += strlen(line);
        lines[count++] = line;
    }
    if (!lines || !(key = malloc(len)))
        goto out;
    qsort(lines, count, sizeof *lines, by_text);
    char *end = key;
    *end++ = n->capacity.of[OSMO_SCHED_GPU] > 0 ? 'g' : '-';
    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, lines[i]);
    *end = '\0';
out:
    for (size_t i = 0; i < count; i++)
        free(lines[i]);
    free(lines);
    return key;
}

static int copy_class(const osmo_scheduler_t *s, struct node_class *c, const struct node *n) {
    size_t cap = n->labels.len ? n->labels.len : 1;
    osmo_sched_pair_t *kept = calloc(cap, sizeof *kept), *taints = calloc(n->taints.len ? n->taints.len : 1, sizeof *taints);
    size_t nkept = 0;
    int rc = kept && taints ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc == 0 && i < n->labels.len; i++)
        if (!is_own_label(s, n->labels.items[i].key))
            kept[nkept++] = (osmo_sched_pair_t){ n->labels.items[i].key, n->labels.items[i].value };
    for (size_t i = 0; rc == 0 && i < n->taints.len; i++)
        taints[i] = (osmo_sched_pair_t){ n->taints.items[i].key, n->taints.items[i].value };
    if (rc == 0)
        rc = sched_pairs_copy(&c->labels, kept, nkept);
    if (rc == 0)
        rc = sched_pairs_copy(&c->taints, taints, n->taints.len);
    c->gpu = n->capacity.of[OSMO_SCHED_GPU] > 0;
    free(kept);
    free(taints);
    return rc;
}

static void class_free(struct node_class *c) {
    if (!c)
        return;
    sched_pairs_free(&c->labels);
    sched_pairs_free(&c->taints);
    free(c);
}

static int find_class(osmo_scheduler_t *s, struct node *n) {
    _cleanup_free_ char *key = class_key(s, n);
    if (!key)
        return OSMO_ENOMEM;
    uintptr_t known = (uintptr_t)map_get(s->class_by_key, key); /* index + 1 */
    if (known) {
        n->class_index = known - 1;
        return 0;
    }
    if (s->nclasses == MAX_CLASSES) {
        n->class_index = MAX_CLASSES;
        return 0;
    }
    struct node_class *c = calloc(1, sizeof *c), **grown = NULL;
    int rc = c ? copy_class(s, c, n) : OSMO_ENOMEM;
    if (rc == 0 && !(grown = reallocarray(s->classes, s->nclasses + 1, sizeof *grown)))
        rc = OSMO_ENOMEM;
    if (rc == 0) {
        s->classes = grown;
        rc = map_set(s->class_by_key, key, (void *)(s->nclasses + 1));
    }
    if (rc < 0) {
        class_free(c);
        return rc;
    }
    n->class_index = s->nclasses;
    s->classes[s->nclasses++] = c;
    return 0;
}

static bool class_matches(const struct shape *shape, const osmo_scheduler_t *s, const struct node_class *c) {
    for (size_t i = 0; i < shape->selector.len; i++)
        if (!is_own_label(s, shape->selector.items[i].key) && !sched_pair_has(&c->labels, &shape->selector.items[i]))
            return false;
    return sched_tolerated(&c->taints, &shape->tolerations);
}

/* Learn the classes that came since the shape was last asked. */
static void shape_learn(osmo_scheduler_t *s, struct shape *shape) {
    if (shape->mask_classes == s->nclasses)
        return;
    signed char *grown = realloc(shape->class_ok, s->nclasses);
    if (!grown) {
        s->out_of_memory = true;
        return;
    }
    shape->class_ok = grown;
    for (size_t i = shape->mask_classes; i < s->nclasses; i++) {
        grown[i] = class_matches(shape, s, s->classes[i]) ? 1 : -1;
        if (grown[i] > 0)
            shape->mask |= UINT64_C(1) << (i % 64);
    }
    shape->mask_classes = s->nclasses;
}

bool sched_node_matches(osmo_scheduler_t *s, struct shape *shape, const struct node *n) {
    shape_learn(s, shape);
    if (n->class_index < shape->mask_classes) {
        if (shape->class_ok[n->class_index] < 0)
            return false;
    } else if (!sched_tolerated(&n->taints, &shape->tolerations)) {
        return false;
    }
    bool own = n->class_index >= shape->mask_classes;
    for (size_t i = 0; i < shape->selector.len; i++)
        if ((own || is_own_label(s, shape->selector.items[i].key)) && !sched_pair_has(&n->labels, &shape->selector.items[i]))
            return false;
    return true;
}

/* ---- the tree ---- */

static void leaf_set(osmo_scheduler_t *s, size_t pos) {
    struct tree_node *leaf = &s->tree.nodes[s->tree.leaves + pos];
    const struct node *n = s->order[pos];
    leaf->most = sched_node_idle(n);
    for (int r = 0; r < R; r++) {
        leaf->sum.of[r] = leaf->most.of[r] > 0 ? leaf->most.of[r] : 0;
        leaf->possible.of[r] = leaf->most.of[r] + (n->cordoned ? 0 : n->soft.of[r]);
    }
    leaf->classes = n->class_index < MAX_CLASSES ? UINT64_C(1) << (n->class_index % 64) : ~UINT64_C(0);
}

static void inner_set(struct tree *t, size_t i) {
    const struct tree_node *a = &t->nodes[2 * i], *b = &t->nodes[2 * i + 1];
    struct tree_node *n = &t->nodes[i];
    for (int r = 0; r < R; r++) {
        n->most.of[r] = a->most.of[r] > b->most.of[r] ? a->most.of[r] : b->most.of[r];
        n->possible.of[r] = a->possible.of[r] > b->possible.of[r] ? a->possible.of[r] : b->possible.of[r];
        n->sum.of[r] = a->sum.of[r] + b->sum.of[r];
    }
    n->classes = a->classes | b->classes;
}

void sched_node_changed(osmo_scheduler_t *s, struct node *n) {
    if (s->order_dirty)
        return;
    leaf_set(s, n->pos);
    for (size_t i = (s->tree.leaves + n->pos) / 2; i; i /= 2)
        inner_set(&s->tree, i);
}

static void mark_dirty(osmo_scheduler_t *s, struct node *n) {
    if (n->dirty)
        return;
    n->dirty = true;
    s->dirty[s->ndirty++] = n;
}

/* Where a node gets room, gangs that failed may fit now. */
void sched_node_commit(osmo_scheduler_t *s, struct node *n) {
    amount_t idle = sched_node_idle(n);
    for (int r = 0; r < R; r++) {
        s->version += idle.of[r] != n->seen.of[r];
        if (idle.of[r] > n->seen.of[r])
            mark_dirty(s, n);
    }
    n->seen = idle;
    sched_node_changed(s, n);
}

static int tree_build(osmo_scheduler_t *s) {
    size_t leaves = 1;
    while (leaves < s->nnodes)
        leaves *= 2;
    if (2 * leaves > s->tree.cap) {
        struct tree_node *grown = reallocarray(s->tree.nodes, 2 * leaves, sizeof *grown);
        if (!grown)
            return OSMO_ENOMEM;
        s->tree.nodes = grown;
        s->tree.cap = 2 * leaves;
    }
    s->tree.leaves = leaves;
    for (size_t i = 0; i < leaves; i++) {
        if (i < s->nnodes) {
            leaf_set(s, i);
            continue;
        }
        struct tree_node *empty = &s->tree.nodes[leaves + i];
        *empty = (struct tree_node){ .classes = 0 };
        for (int r = 0; r < R; r++)
            empty->most.of[r] = empty->possible.of[r] = -1;
    }
    for (size_t i = leaves; --i;)
        inner_set(&s->tree, i);
    return 0;
}

static bool may_hold(const struct tree_node *n, const struct shape *shape) {
    return (n->classes & shape->mask) && amount_fits(&shape->request, &n->most);
}

/* Depth first, left before right; [lo, hi) is what tree node i covers. */
static struct node *find_below(osmo_scheduler_t *s, struct shape *shape, size_t i, size_t lo, size_t hi, size_t from, size_t to) {
    if (hi <= from || lo >= to || !may_hold(&s->tree.nodes[i], shape))
        return NULL;
    if (i >= s->tree.leaves)
        return sched_node_matches(s, shape, s->order[lo]) ? s->order[lo] : NULL;
    size_t middle = lo + (hi - lo) / 2;
    struct node *found = find_below(s, shape, 2 * i, lo, middle, from, to);
    return found ? found : find_below(s, shape, 2 * i + 1, middle, hi, from, to);
}

struct node *sched_find(osmo_scheduler_t *s, struct shape *shape, size_t from, size_t to) {
    shape_learn(s, shape);
    if (!s->nnodes || from >= to)
        return NULL;
    /* Pods without devices leave the nodes with devices to others as long as they can. */
    uint64_t all = shape->mask;
    if (shape->request.of[OSMO_SCHED_GPU] == 0) {
        for (size_t i = 0; i < shape->mask_classes && i < 64; i++)
            if (s->classes[i]->gpu && s->nclasses <= 64)
                shape->mask &= ~(UINT64_C(1) << i);
        struct node *found = shape->mask != all && shape->mask ? find_below(s, shape, 1, 0, s->tree.leaves, from, to) : NULL;
        shape->mask = all;
        if (found)
            return found;
    }
    return find_below(s, shape, 1, 0, s->tree.leaves, from, to);
}

static bool held_below(osmo_scheduler_t *s, struct shape *shape, size_t i) {
    const struct tree_node *n = &s->tree.nodes[i];
    if (!(n->classes & shape->mask) || !amount_fits(&shape->request, &n->possible))
        return false;
    if (i >= s->tree.leaves)
        return sched_node_matches(s, shape, s->order[i - s->tree.leaves]);
    return held_below(s, shape, 2 * i) || held_below(s, shape, 2 * i + 1);
}

bool sched_could_hold(osmo_scheduler_t *s, struct shape *shape) {
    shape_learn(s, shape);
    return s->nnodes && held_below(s, shape, 1);
}

static void sum_below(const osmo_scheduler_t *s, size_t i, size_t lo, size_t hi, size_t from, size_t to, amount_t *sum) {
    if (hi <= from || lo >= to)
        return;
    if (from <= lo && hi <= to) {
        amount_add(sum, &s->tree.nodes[i].sum, 1);
        return;
    }
    size_t middle = lo + (hi - lo) / 2;
    sum_below(s, 2 * i, lo, middle, from, to, sum);
    sum_below(s, 2 * i + 1, middle, hi, from, to, sum);
}

amount_t sched_sum(const osmo_scheduler_t *s, size_t from, size_t to) {
    amount_t sum = { { 0 } };
    if (s->nnodes && from < to)
        sum_below(s, 1, 0, s->tree.leaves, from, to, &sum);
    return sum;
}

/* ---- topology order ---- */

static int compare_nodes(const void *a, const void *b) {
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    for (size_t i = 0; i < MAX_LEVELS; i++)
        if (x->domain[i] != y->domain[i])
            return x->domain[i] < y->domain[i] ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Domain i of a level is [starts[i], starts[i + 1]). A level's domain ends where any coarser one does. */
static int find_domains(osmo_scheduler_t *s, size_t level) {
    free(s->starts[level]);
    s->nstarts[level] = 0;
    s->starts[level] = calloc(s->nnodes + 1, sizeof *s->starts[level]);
    if (!s->starts[level])
        return OSMO_ENOMEM;
    for (size_t i = 0; i < s->nnodes; i++)
        if (i == 0 || memcmp(s->order[i]->domain, s->order[i - 1]->domain, (level + 1) * sizeof s->order[i]->domain[0]))
            s->starts[level][s->nstarts[level]++] = i;
    s->starts[level][s->nstarts[level]] = s->nnodes;
    return 0;
}

int sched_nodes_order(osmo_scheduler_t *s) {
    if (!s->order_dirty)
        return 0;
    if (s->nnodes)
        qsort(s->order, s->nnodes, sizeof *s->order, compare_nodes);
    s->capacity = (amount_t){ { 0 } };
    for (size_t i = 0; i < s->nnodes; i++) {
        s->order[i]->pos = i;
        amount_add(&s->capacity, &s->order[i]->capacity, 1);
    }
    for (size_t level = 0; level < s->nlevels; level++)
        if (find_domains(s, level) < 0)
            return OSMO_ENOMEM;
    int rc = tree_build(s);
    if (rc == 0)
        s->order_dirty = false;
    return rc;
}

/* ---- nodes ---- */

static int set_domains(osmo_scheduler_t *s, struct node *n) {
    for (size_t level = 0; level < s->nlevels; level++) {
        const char *value = NULL;
        for (size_t i = 0; i < n->labels.len; i++)
            if (str_eq(n->labels.items[i].key, s->levels[level]))
                value = n->labels.items[i].value;
        n->domain[level] = 0;
        if (!value)
            continue;
        uintptr_t number = (uintptr_t)map_get(s->domain_values[level], value);
        if (!number) {
            number = map_len(s->domain_values[level]) + 1;
            if (map_set(s->domain_values[level], value, (void *)number) < 0)
                return OSMO_ENOMEM;
        }
        n->domain[level] = (uint32_t)number;
    }
    return 0;
}

static int node_fill(osmo_scheduler_t *s, struct node *n, const osmo_sched_node_t *from) {
    struct pairs labels, taints;
    if (sched_pairs_copy(&labels, from->labels, from->nlabels) < 0)
        return OSMO_ENOMEM;
    if (sched_pairs_copy(&taints, from->taints, from->ntaints) < 0) {
        sched_pairs_free(&labels);
        return OSMO_ENOMEM;
    }
    sched_pairs_free(&n->labels);
    sched_pairs_free(&n->taints);
    n->labels = labels;
    n->taints = taints;
    n->capacity = from->capacity;
    n->cordoned = from->cordoned != 0;
    int rc = set_domains(s, n);
    return rc < 0 ? rc : find_class(s, n);
}

static int node_check(const osmo_sched_node_t *n, osmo_error_t *err) {
    if (n->size < sizeof *n || !n->name || !*n->name)
        return osmo_error_set(err, OSMO_EINVAL, "a node needs its size and a name");
    if (n->nlabels > 256 || n->ntaints > 64)
        return osmo_error_set(err, OSMO_EINVAL, "node %s has more than 256 labels or 64 taints", n->name);
    for (int r = 0; r < R; r++)
        if (n->capacity.of[r] < 0 || n->capacity.of[r] > MAX_AMOUNT)
            return osmo_error_set(err, OSMO_EINVAL, "node %s has an impossible amount of %s", n->name, sched_resource_names[r]);
    return 0;
}

static int node_add(osmo_scheduler_t *s, const osmo_sched_node_t *from, osmo_error_t *err) {
    if (s->nnodes == MAX_NODES)
        return osmo_error_set(err, OSMO_ELIMIT, "node %s is one more than %d", from->name, MAX_NODES);
    if (s->nnodes == s->cap_nodes) {
        size_t cap = s->cap_nodes ? 2 * s->cap_nodes : 64;
        struct node **grown = reallocarray(s->order, cap, sizeof *grown);
        if (!grown)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        s->order = grown;
        struct node **dirty = reallocarray(s->dirty, cap, sizeof *dirty);
        if (!dirty)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        s->dirty = dirty;
        s->cap_nodes = cap;
    }
    struct node *n = calloc(1, sizeof *n);
    if (n && (n->name = str_dup(from->name)) && node_fill(s, n, from) == 0 && map_set(s->node_by_name, n->name, n) == 0) {
        s->order[s->nnodes++] = n;
        s->order_dirty = true;
        n->seen = sched_node_idle(n);
        mark_dirty(s, n);
        return 0;
    }
    if (n) {
        sched_pairs_free(&n->labels);
        sched_pairs_free(&n->taints);
        free(n->name);
    }
    free(n);
    return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int osmo_scheduler_set_node(osmo_scheduler_t *s, const osmo_sched_node_t *node, osmo_error_t *err) {
    int rc = node_check(node, err);
    if (rc < 0)
        return rc;
    struct node *n = map_get(s->node_by_name, node->name);
    s->version++;
    if (!n)
        return node_add(s, node, err);
    amount_add(&s->capacity, &n->capacity, -1);
    uint32_t before[MAX_LEVELS];
    memcpy(before, n->domain, sizeof before);
    rc = node_fill(s, n, node);
    amount_add(&s->capacity, &n->capacity, 1);
    if (memcmp(before, n->domain, sizeof before))
        s->order_dirty = true;
    sched_node_commit(s, n);
    mark_dirty(s, n); /* its labels may be what somebody waits for */
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : 0;
}

static void node_free(struct node *n) {
    sched_pairs_free(&n->labels);
    sched_pairs_free(&n->taints);
    free(n->name);
    free(n);
}

static void leave_node(struct gang *g, const struct node *n) {
    for (size_t i = 0; i < g->npods; i++)
        if (g->pods[i].node == n)
            g->pods[i].node = NULL;
}

/* Gangs that run there stay charged to their queues; their pods have no node any more. */
static void forget_node(osmo_scheduler_t *s, const struct node *n) {
    for (size_t q = 0; q < s->nqueues; q++)
        for (size_t i = 0; i < s->queues[q]->nrunning; i++)
            leave_node(s->queues[q]->running[i], n);
    for (size_t i = 0; i < s->nnominated; i++)
        leave_node(s->nominated[i], n);
    for (size_t i = 0; i < s->ndirty; i++)
        if (s->dirty[i] == n) {
            s->dirty[i] = s->dirty[--s->ndirty];
            break;
        }
}

int osmo_scheduler_remove_node(osmo_scheduler_t *s, const char *name) {
    struct node *n = map_take(s->node_by_name, name);
    if (!n)
        return OSMO_ENOTFOUND;
    forget_node(s, n);
    for (size_t i = 0; i < s->nnodes; i++)
        if (s->order[i] == n) {
            s->order[i] = s->order[--s->nnodes];
            break;
        }
    node_free(n);
    s->order_dirty = true;
    s->version++;
    return 0;
}

void sched_nodes_free(osmo_scheduler_t *s) {
    for (size_t i = 0; i < s->nnodes; i++)
        node_free(s->order[i]);
    free(s->order);
    free(s->dirty);
    free(s->tree.nodes);
    for (size_t i = 0; i < s->nclasses; i++)
        class_free(s->classes[i]);
    free(s->classes);
    for (size_t i = 0; i < s->nlevels; i++) {
        free(s->starts[i]);
        free(s->levels[i]);
        map_free(s->domain_values[i]);
    }
}
