/* Nodes with what others leave of them, and the objects of KAI that are kept as ConfigMaps. Called by gang.c; the lock is held. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "cluster/kubernetes/gang_int.h"

#define NODE_TEXT_MAX (1u << 20)
#define LEVELS_MAX 8

/* ---- nodes ---- */

void gang_node_free(void *node) {
    struct gang_node *n = node;
    free(n->name), free(n->labels), free(n->taints);
    free(n);
}

static struct gang_node *node_get(gang_t *g, const char *name) {
    struct gang_node *n = map_get(g->nodes, name);
    if (n)
        return n;
    n = calloc(1, sizeof *n);
    if (!n || !(n->name = str_dup(name))) {
        free(n);
        return NULL;
    }
    return map_set(g->nodes, name, n) < 0 ? NULL : n;
}

static bool take_text(char **to, const json_slice_t *text) {
    char *copy = text->len ? strndup(text->text, text->len) : NULL;
    if (text->len && !copy)
        return false;
    free(*to);
    *to = copy;
    return true;
}

static bool is_text(const char *have, const json_slice_t *text) {
    return have ? strlen(have) == text->len && memcmp(have, text->text, text->len) == 0 : text->len == 0;
}

/* A node says something every few seconds; only what placement looks at is a change. */
static bool is_same(const struct gang_node *n, const struct node_facts *f) {
    return n->known && n->cordoned == f->cordoned && memcmp(&n->room, &f->room, sizeof n->room) == 0 &&
           is_text(n->labels, &f->meta.labels) && is_text(n->taints, &f->taints);
}

void gang_node_put(gang_t *g, const struct node_facts *f) {
    char name[GANG_NAME_MAX];
    json_slice_copy(&f->meta.name, name, sizeof name);
    struct gang_node *n = node_get(g, name);
    if (n && is_same(n, f))
        return;
    if (!n || !take_text(&n->labels, &f->meta.labels) || !take_text(&n->taints, &f->taints)) {
        log_error(&g->log, "out of memory: node %s is not used", name);
        return;
    }
    n->room = f->room;
    n->cordoned = f->cordoned;
    n->known = n->dirty = g->work = true;
}

void gang_node_drop(gang_t *g, const char *name) {
    struct gang_node *n = map_get(g->nodes, name);
    if (!n || !n->known)
        return;
    n->known = n->dirty = false; /* what uses it is told by its pods */
    place_node_gone(g->place, name);
    g->work = true;
}

void gang_node_use(gang_t *g, const char *name, const osmo_sched_amount_t *request, int sign) {
    struct gang_node *n = node_get(g, name);
    if (!n)
        return;
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
        n->used.of[r] += sign * (request->of[r] < INT64_MAX / 1024 ? request->of[r] : INT64_MAX / 1024);
    n->dirty = n->dirty || n->known;
    g->work |= n->known;
}

static int put_node(const gang_t *g, const struct gang_node *n) {
    _cleanup_buf_ buf_t text = BUF_INIT(NODE_TEXT_MAX);
    _cleanup_json_ json_t *node = NULL;
    long long left[OSMO_SCHED_RESOURCES];
    for (int r = 0; r < OSMO_SCHED_RESOURCES; r++)
        left[r] = n->room.of[r] > n->used.of[r] ? n->room.of[r] - n->used.of[r] : 0;
    buf_printf(&text, "{\"metadata\":{\"name\":\"%s\",\"labels\":%s},", n->name, n->labels ? n->labels : "{}");
    buf_printf(&text, "\"spec\":{\"taints\":%s,\"unschedulable\":%s},", n->taints ? n->taints : "[]",
               n->cordoned || !left[OSMO_SCHED_PODS] ? "true" : "false");
    buf_printf(&text, "\"status\":{\"allocatable\":{\"cpu\":\"%lldm\",\"memory\":%lld,\"ephemeral-storage\":%lld,"
        "\"nvidia.com/gpu\":%lld,",
               left[OSMO_SCHED_CPU], left[OSMO_SCHED_MEMORY], left[OSMO_SCHED_STORAGE], left[OSMO_SCHED_GPU]);
    buf_printf(&text, "\"pods\":%lld}}}", left[OSMO_SCHED_PODS]);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = buf_failed(&text) ? text.code : json_parse(text.data, text.len, &node, &err);
    if (rc == 0)
        rc = place_node(g->place, node, &err);
    if (rc < 0)
        log_error(&g->log, "node %s is not used: %s", n->name, *err.text ? err.text : osmo_error_name(rc));
    return rc;
}

void gang_nodes_flush(gang_t *g) {
    const char *name;
    void *value;
    for (size_t it = 0; map_next(g->nodes, &it, &name, &value);) {
        struct gang_node *n = value;
        if (n->dirty)
            put_node(g, n);
        n->dirty = false;
    }
}

/* ---- what is kept as ConfigMaps ---- */

void gang_kept_free(void *object) {
    struct kept_object *o = object;
    free(o->kind), free(o->name), free(o->text);
    free(o);
}

/* "podgroup.NAME" */
static const char *map_name_of(const char *kind, const char *name, char out[GANG_NAME_MAX]) {
    snprintf(out, GANG_NAME_MAX, "%s.%s", kind, name);
    return out;
}

bool gang_kept_has_group(const gang_t *g, const char *name) {
    char key[GANG_NAME_MAX];
    return map_has(g->kept, map_name_of("podgroup", name, key));
}

static void sync_held(gang_t *g) {
    const char *name;
    void *value;
    if (!g->held)
        return;
    g->held = 0;
    for (size_t it = 0; map_next(g->pods, &it, &name, &value);) {
        struct gang_pod *p = value;
        if (!p->in_place)
            gang_pod_sync(g, p);
    }
}

static struct kept_object *kept_new(const json_t *object, const char *text) {
    struct kept_object *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->kind = str_dup(json_get_str(object, "kind"));
    o->name = str_dup(json_get_str(json_get(object, "metadata"), "name"));
    o->text = str_dup(text);
    if (o->kind && o->name && o->text)
        return o;
    gang_kept_free(o);
    return NULL;
}

void gang_kept_put(gang_t *g, const char *map_name, const char *text) {
    _cleanup_json_ json_t *object = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = json_parse(text, strlen(text), &object, &err);
    struct kept_object *o = rc == 0 ? kept_new(object, text) : NULL;
    if (!o || map_set(g->kept, map_name, o) < 0) {
        log_warning(&g->log, "ConfigMap %s cannot be read: %s", map_name, *err.text ? err.text : "it has no kind or name, or "
            "out of memory");
        return;
    }
    if (str_eq(o->kind, "Topology"))
        g->rebuild = true;
    else if (place_object(g->place, object, &err) < 0)
        log_warning(&g->log, "%s %s does not count: %s", o->kind, o->name, err.text);
    g->work = true;
    if (str_eq(o->kind, "PodGroup"))
        sync_held(g);
}

void gang_kept_drop(gang_t *g, const char *map_name) {
    struct kept_object *o = map_get(g->kept, map_name);
    if (!o)
        return;
    if (str_eq(o->kind, "Topology"))
        g->rebuild = true;
    else
        place_object_gone(g->place, o->kind, o->name);
    g->work = true;
    map_remove(g->kept, map_name);
}

/* ---- levels, and a new beginning ---- */

/* Each topology goes from coarse to fine; all of them together must too. */
static int merge_levels(const json_t *topology, strlist_t *all) {
    const json_t *levels = json_path(topology, "spec", "levels", NULL);
    size_t at = 0;
    for (size_t i = 0; i < json_len(levels); i++) {
        const char *label = json_get_str(json_at(levels, i), "nodeLabel");
        size_t have = 0;
        while (label && have < all->len && !str_eq(all->items[have], label))
            have++;
        if (label && have < all->len) {
            at = have + 1 > at ? have + 1 : at;
            continue;
        }
        if (!label || all->len >= LEVELS_MAX)
            continue;
        if (strlist_add(all, label) < 0)
            return OSMO_ENOMEM;
        char *last = all->items[all->len - 1];
        memmove(&all->items[at + 1], &all->items[at], (all->len - 1 - at) * sizeof *all->items);
        all->items[at++] = last;
    }
    return 0;
}

static int read_levels(const gang_t *g, strlist_t *all) {
    const char *name;
    void *value;
    int rc = 0;
    for (size_t it = 0; rc == 0 && map_next(g->kept, &it, &name, &value);) {
        const struct kept_object *o = value;
        _cleanup_json_ json_t *object = NULL;
        if (str_eq(o->kind, "Topology") && json_parse(o->text, strlen(o->text), &object, NULL) == 0)
            rc = merge_levels(object, all);
    }
    return rc;
}

static int new_place(gang_t *g) {
    strlist_t all = { 0 };
    const char *levels[LEVELS_MAX + 1] = { NULL };
    const struct place_options options = { .levels = levels };
    place_t *fresh = NULL;
    int rc = read_levels(g, &all);
    for (size_t i = 0; i < all.len; i++)
        levels[i] = all.items[i];
    if (rc == 0)
        rc = place_new(&options, &fresh, NULL);
    strlist_free(&all);
    if (rc < 0)
        return rc;
    place_free(g->place);
    g->place = fresh;
    return 0;
}

static void fill_place(gang_t *g) {
    const char *name;
    void *value;
    for (size_t it = 0; map_next(g->nodes, &it, &name, &value);)
        ((struct gang_node *)value)->dirty = ((struct gang_node *)value)->known;
    for (size_t it = 0; map_next(g->kept, &it, &name, &value);) {
        const struct kept_object *o = value;
        _cleanup_json_ json_t *object = NULL;
        if (!str_eq(o->kind, "Topology") && json_parse(o->text, strlen(o->text), &object, NULL) == 0)
            place_object(g->place, object, NULL);
    }
    for (size_t it = 0; map_next(g->pods, &it, &name, &value);) {
        struct gang_pod *p = value;
        p->in_place = p->end_told = false;
        p->leaving |= p->preempt != NULL;
        gang_pod_sync(g, p);
    }
}

int gang_rebuild(gang_t *g) {
    int rc = new_place(g);
    if (rc < 0)
        return rc;
    g->rebuild = false;
    g->held = 0;
    fill_place(g);
    g->work = true;
    return 0;
}
