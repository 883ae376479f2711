/* A cluster in memory whose pods do what a script says: for tests, demos and trying the control plane out without running
 * anything. One thread owns the clock: it moves pods on and reports, in order; callers only change objects under the lock. */
#include "cluster/scripted/scripted.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/crypto.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/scripted/script.h"

#define MAX_OBJECTS (1u << 20)

struct object { json_t *json; const struct script_rule *rule; enum pod_phase phase; uint64_t id; bool pod; };
struct timer { int64_t at_us; uint64_t order; char *key; uint64_t id; };
enum report_kind { REPORT_POD, REPORT_NODE };
struct report { struct report *next; enum report_kind kind; osmo_change_t change; size_t len; char text[]; };

struct scripted {
    osmo_cluster_sink_t sink;
    struct script script;
    char uid[40];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t thread;
    bool stop;
    map_t *objects;            /* kind/name → struct object */
    struct timer *heap;
    size_t heap_len, heap_cap;
    struct report *first, **last;
    uint64_t next_id;
};

static void free_object(void *p) {
    struct object *o = p;
    json_free(o->json);
    free(o);
}

/* ---- timers: a binary heap ordered by time, then by creation ---- */

static bool earlier(const struct timer *a, const struct timer *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap_timers(struct timer *a, struct timer *b) {
    struct timer t = *a;
    *a = *b;
    *b = t;
}

static int heap_push(struct scripted *s, struct timer t) {
    if (s->heap_len == s->heap_cap) {
        size_t cap = s->heap_cap ? 2 * s->heap_cap : 64;
        struct timer *heap = realloc(s->heap, cap * sizeof *heap);
        if (!heap)
            return OSMO_ENOMEM;
        s->heap = heap;
        s->heap_cap = cap;
    }
    size_t i = s->heap_len++;
    s->heap[i] = t;
    for (; i && earlier(&s->heap[i], &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap_timers(&s->heap[i], &s->heap[(i - 1) / 2]);
    return OSMO_OK;
}

static struct timer heap_pop(struct scripted *s) {
    struct timer top = s->heap[0];
    s->heap[0] = s->heap[--s->heap_len];
    for (size_t i = 0, child; (child = 2 * i + 1) < s->heap_len; i = child) {
        if (child + 1 < s->heap_len && earlier(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!earlier(&s->heap[child], &s->heap[i]))
            break;
        swap_timers(&s->heap[i], &s->heap[child]);
    }
    return top;
}

static void schedule(struct scripted *s, const char *key, const struct object *o, int64_t delay_ms) {
    struct timer t = { .at_us = clock_mono_us() + delay_ms * 1000, .order = ++s->next_id, .key = str_dup(key), .id = o->id };
    if (!t.key || heap_push(s, t) < 0)
        free(t.key);
}

/* ---- reports (lock held) ---- */

static void report(struct scripted *s, enum report_kind kind, osmo_change_t change, const json_t *json) {
    _cleanup_free_ char *text = json_to_text(json);
    size_t len = text ? strlen(text) : 0;
    struct report *r = text ? malloc(sizeof *r + len + 1) : NULL;
    if (!r)
        return;
    *r = (struct report){ .kind = kind, .change = change, .len = len };
    memcpy(r->text, text, len + 1);
    *s->last = r;
    s->last = &r->next;
    pthread_cond_signal(&s->cond);
}

static int put(struct scripted *s, const char *key, json_t *json, struct object **out) {
    struct object *o = calloc(1, sizeof *o);
    if (!o) {
        json_free(json);
        return OSMO_ENOMEM;
    }
    o->json = json;
    o->id = ++s->next_id;
    *out = o;
    return map_set(s->objects, key, o);
}

static void ensure_node(struct scripted *s, const char *name) {
    _cleanup_free_ char *key = str_printf("Node/%s", name);
    struct object *o = NULL;
    if (!key || map_has(s->objects, key))
        return;
    json_t *node = script_node(name);
    if (node && put(s, key, node, &o) == 0)
        report(s, REPORT_NODE, OSMO_CHANGE_ADDED, o->json);
}

static void lose_node(struct scripted *s, const char *name) {
    _cleanup_free_ char *key = str_printf("Node/%s", name);
    struct object *o = key ? map_get(s->objects, key) : NULL;
    if (!o)
        return;
    report(s, REPORT_NODE, OSMO_CHANGE_DELETED, o->json);
    map_remove(s->objects, key);
    if (strcmp(name, SCRIPT_NODE) == 0)
        ensure_node(s, name); /* it comes back at once, or nothing could ever run again */
}

/* ---- the life of a pod (lock held) ---- */

static void advance(struct scripted *s, const char *key, struct object *o) {
    const struct script_rule *r = o->rule;
    char now[TIME_TEXT_MAX];
    if (o->phase == POD_RUNNING && r->event == EVENT_DELETE) {
        report(s, REPORT_POD, OSMO_CHANGE_DELETED, o->json);
        map_remove(s->objects, key);
        return;
    }
    if (o->phase == POD_PENDING)
        ensure_node(s, r->node ? r->node : SCRIPT_NODE);
    o->phase++;
    script_pod_status(o->json, r, o->phase, time_rfc3339(clock_now_us(), now));
    report(s, REPORT_POD, OSMO_CHANGE_MODIFIED, o->json);
    if (o->phase == POD_ENDED && r->event == EVENT_NODE_LOSS)
        lose_node(s, r->node ? r->node : SCRIPT_NODE);
    if (o->phase == POD_ENDED || (o->phase == POD_INITIALIZING && r->event == EVENT_IMAGE_PULL_ERROR))
        return;
    schedule(s, key, o, o->phase == POD_RUNNING ? r->duration_ms : 0);
}

static void fire(struct scripted *s) {
    struct timer t = heap_pop(s);
    struct object *o = map_get(s->objects, t.key);
    if (o && o->id == t.id) /* a pod that was removed meanwhile has no future */
        advance(s, t.key, o);
    free(t.key);
}

static void deliver(struct scripted *s, const struct report *r) {
    if (r->kind == REPORT_POD && s->sink.pod)
        s->sink.pod(s->sink.ctx, r->change, r->text, r->len);
    else if (r->kind == REPORT_NODE && s->sink.node)
        s->sink.node(s->sink.ctx, r->change, r->text, r->len);
}

static void *scripted_main(void *ctx) {
    struct scripted *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        if (s->first) {
            struct report *r = s->first;
            s->first = r->next;
            if (!s->first)
                s->last = &s->first;
            pthread_mutex_unlock(&s->lock);
            deliver(s, r);
            free(r);
            pthread_mutex_lock(&s->lock);
        } else if (!s->heap_len) {
            pthread_cond_wait(&s->cond, &s->lock);
        } else if (s->heap[0].at_us <= clock_mono_us()) {
            fire(s);
        } else {
            cond_wait_until(&s->cond, &s->lock, s->heap[0].at_us);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- driver ---- */

static void scripted_free(struct scripted *s) {
    for (struct report *r = s->first, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    for (size_t i = 0; i < s->heap_len; i++)
        free(s->heap[i].key);
    free(s->heap);
    map_free(s->objects);
    script_free(&s->script);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void make_uid(struct scripted *s, const char *name) {
    char hex[65];
    _cleanup_free_ char *text = str_printf("scripted cluster %s", name ? name : "");
    crypto_sha256_hex(text ? text : "", text ? strlen(text) : 0, hex);
    snprintf(s->uid, sizeof s->uid, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static int scripted_open(const osmo_cluster_options_t *o, const osmo_cluster_sink_t *sink, void **impl, osmo_error_t *err) {
    const char *path = NULL;
    for (size_t i = 0; o->settings && o->settings[i]; i++) {
        if (str_starts(o->settings[i], "script="))
            path = o->settings[i] + 7;
    }
    struct scripted *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->cond);
    s->sink = *sink;
    s->last = &s->first;
    s->objects = map_new(free_object);
    make_uid(s, o->name);
    int rc = s->objects ? script_load(path, &s->script, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0) {
        ensure_node(s, SCRIPT_NODE);
        if (pthread_create(&s->thread, NULL, scripted_main, s) != 0)
            rc = osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    }
    if (rc < 0) {
        scripted_free(s);
        return rc;
    }
    *impl = s;
    return OSMO_OK;
}

static const char *scripted_uid(void *impl) { return ((struct scripted *)impl)->uid; }

static void start_pod(struct scripted *s, const char *key, struct object *o) {
    char now[TIME_TEXT_MAX];
    o->pod = true;
    o->rule = script_find(&s->script, o->json);
    json_set_str(json_get(o->json, "metadata"), "creationTimestamp", time_rfc3339(clock_now_us(), now));
    script_pod_status(o->json, o->rule, POD_PENDING, now);
    report(s, REPORT_POD, OSMO_CHANGE_ADDED, o->json);
    if (o->rule->event != EVENT_UNSCHEDULABLE)
        schedule(s, key, o, 0);
}

static int scripted_create(void *impl, const char *text, size_t len, osmo_error_t *err) {
    struct scripted *s = impl;
    _cleanup_json_ json_t *json = NULL;
    int rc = json_parse(text, len, &json, err);
    if (rc < 0)
        return rc;
    const char *kind = json_get_str(json, "kind"), *name = json_get_str(json_get(json, "metadata"), "name");
    bool pod = str_eq(kind, "Pod");
    if (!kind || !name || (pod && json_kind(json_get(json, "spec")) != JSON_OBJECT))
        return osmo_error_set(err, OSMO_EINVAL, "an object needs kind and metadata.name, and a pod a spec");
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    struct object *o = NULL;
    pthread_mutex_lock(&s->lock);
    if (!key)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    else if (map_has(s->objects, key))
        rc = osmo_error_set(err, OSMO_EEXISTS, "%s %s exists already", kind, name);
    else if (map_len(s->objects) >= MAX_OBJECTS)
        rc = osmo_error_set(err, OSMO_ELIMIT, "more than %u objects", MAX_OBJECTS);
    else
        rc = put(s, key, STEAL(json), &o);
    if (rc == 0 && pod)
        start_pod(s, key, o);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static bool matches(const json_t *object, const char *selector) {
    strlist_t terms = { 0 };
    bool all = strlist_split(&terms, selector ? selector : "", ',') == 0;
    const json_t *labels = json_path(object, "metadata", "labels", NULL);
    for (size_t i = 0; all && i < terms.len; i++) {
        char *eq = strchr(terms.items[i], '=');
        if (!eq) {
            all = !*terms.items[i] || json_has(labels, terms.items[i]);
            continue;
        }
        *eq = '\0';
        all = str_eq(json_get_str(labels, terms.items[i]), eq + 1);
    }
    strlist_free(&terms);
    return all;
}

static bool of_kind(const char *key, const char *kind) {
    size_t len = strlen(kind);
    return strncmp(key, kind, len) == 0 && key[len] == '/';
}

static int scripted_replace(void *impl, const char *text, size_t len, osmo_error_t *err) {
    struct scripted *s = impl;
    _cleanup_json_ json_t *json = NULL;
    int rc = json_parse(text, len, &json, err);
    if (rc < 0)
        return rc;
    const char *kind = json_get_str(json, "kind"), *name = json_get_str(json_get(json, "metadata"), "name");
    _cleanup_free_ char *key = str_printf("%s/%s", kind ? kind : "", name ? name : "");
    pthread_mutex_lock(&s->lock);
    struct object *o = key ? map_get(s->objects, key) : NULL;
    if (o && !o->pod) {
        json_free(o->json);
        o->json = STEAL(json);
    } else {
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "there is no %s to be replaced", key ? key : "object");
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int scripted_erase(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err) {
    struct scripted *s = impl;
    (void)api_version;
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    pthread_mutex_lock(&s->lock);
    struct object *o = key ? map_get(s->objects, key) : NULL;
    int rc = o && !o->pod ? 0 : osmo_error_set(err, OSMO_ENOTFOUND, "there is no %s %s to be removed", kind, name);
    if (rc == 0)
        map_remove(s->objects, key);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int scripted_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force,
                           osmo_error_t *err) {
    struct scripted *s = impl;
    (void)api_version, (void)force, (void)err;
    int removed = 0;
    size_t it = 0;
    const char *key;
    void *value;
    pthread_mutex_lock(&s->lock);
    while (map_next(s->objects, &it, &key, &value)) {
        struct object *o = value;
        if (!of_kind(key, kind) || !matches(o->json, selector))
            continue;
        if (o->pod)
            report(s, REPORT_POD, OSMO_CHANGE_DELETED, o->json);
        map_remove(s->objects, key);
        removed++;
    }
    pthread_mutex_unlock(&s->lock);
    return removed;
}

/* Texts are collected under the lock and handed out without it, so that the callee may call the driver. */
static int scripted_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn,
                         void *ctx, osmo_error_t *err) {
    struct scripted *s = impl;
    (void)api_version;
    strlist_t found = { 0 };
    size_t it = 0;
    const char *key;
    void *value;
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (rc == 0 && map_next(s->objects, &it, &key, &value)) {
        struct object *o = value;
        if (!of_kind(key, kind) || !matches(o->json, selector))
            continue;
        _cleanup_free_ char *text = json_to_text(o->json);
        rc = text ? strlist_add(&found, text) : OSMO_ENOMEM;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc < 0)
        osmo_error_set(err, rc, "out of memory");
    for (size_t i = 0; rc == 0 && i < found.len; i++) {
        if (fn(ctx, found.items[i], strlen(found.items[i])) != 0)
            break;
    }
    strlist_free(&found);
    return rc;
}

static int scripted_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx,
                         osmo_error_t *err) {
    struct scripted *s = impl;
    (void)tail;
    _cleanup_free_ char *key = str_printf("Pod/%s", pod);
    pthread_mutex_lock(&s->lock);
    struct object *o = key ? map_get(s->objects, key) : NULL;
    const char *first = o ? json_get_str(json_at(json_path(o->json, "spec", "containers", NULL), 0), "name") : NULL;
    const char *log = o && o->rule->log && str_eq(first, container) ? o->rule->log : "";
    pthread_mutex_unlock(&s->lock);
    if (!o)
        return osmo_error_set(err, OSMO_ENOTFOUND, "there is no pod %s", pod);
    if (*log)
        fn(ctx, log, strlen(log)); /* rules live as long as the driver */
    return OSMO_OK;
}

static int merge(json_t *target, const json_t *patch) {
    int rc = 0;
    json_iter_t it = json_iter(patch);
    while (rc == 0 && json_iter_next(&it)) {
        json_t *old = json_get(target, it.key);
        if (json_kind(it.value) == JSON_OBJECT && json_kind(old) == JSON_OBJECT)
            rc = merge(old, it.value);
        else if (json_kind(it.value) == JSON_NULL)
            json_del(target, it.key);
        else
            rc = json_set(target, it.key, json_copy(it.value));
    }
    return rc;
}

static int scripted_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *text, size_t len,
                          osmo_error_t *err) {
    struct scripted *s = impl;
    (void)api_version;
    _cleanup_json_ json_t *patch = NULL;
    _cleanup_free_ char *key = str_printf("%s/%s", kind, name);
    int rc = json_parse(text, len, &patch, err);
    if (rc < 0 || !key)
        return rc < 0 ? rc : OSMO_ENOMEM;
    if (json_kind(patch) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "a patch must be an object");
    pthread_mutex_lock(&s->lock);
    struct object *o = map_get(s->objects, key);
    rc = o ? merge(o->json, patch) : osmo_error_set(err, OSMO_ENOTFOUND, "there is no %s %s", kind, name);
    if (rc == 0 && (o->pod || of_kind(key, "Node")))
        report(s, o->pod ? REPORT_POD : REPORT_NODE, OSMO_CHANGE_MODIFIED, o->json);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void scripted_close(void *impl) {
    struct scripted *s = impl;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    scripted_free(s);
}

const osmo_cluster_driver_t scripted_cluster_driver = {
    .size = sizeof(osmo_cluster_driver_t), .name = "scripted", .open = scripted_open, .uid = scripted_uid,
    .create = scripted_create, .remove = scripted_remove, .list = scripted_list, .logs = scripted_logs, .patch = scripted_patch,
    .close = scripted_close, .replace = scripted_replace, .erase = scripted_erase,
};
