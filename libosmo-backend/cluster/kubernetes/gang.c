/* Placement without KAI; see gang.h. The callbacks of the reflectors bring what cluster/place.h knows in line, one thread lets it
 * decide and begins what follows, and a few carry that out (gang_act.c). */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/error.h"
#include "base/str.h"
#include "cluster/kubernetes/gang_int.h"
#include "cluster/kubernetes/kept.h"

#define ACTS_MAX 1000000

/* ---- what is seen ---- */

void gang_node(gang_t *g, osmo_change_t change, const char *json, size_t len) {
    struct node_facts f;
    char name[GANG_NAME_MAX];
    if (!gang_read_node(json, len, &f))
        return;
    json_slice_copy(&f.meta.name, name, sizeof name);
    pthread_mutex_lock(&g->lock);
    if (change == OSMO_CHANGE_DELETED)
        gang_node_drop(g, name);
    else
        gang_node_put(g, &f);
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

/* What is gone is told by name alone, and may be either. */
static void drop_pod(gang_t *g, const struct pod_facts *f, const char *key) {
    char name[GANG_NAME_MAX];
    json_slice_copy(&f->meta.name, name, sizeof name);
    if (json_slice_is(&f->meta.namespace_, g->namespace_)) {
        const struct gang_pod *p = map_get(g->pods, name);
        if (p && json_slice_is(&f->meta.uid, p->uid))
            gang_pod_drop(g, name);
    }
    gang_foreign_drop(g, key);
}

static bool is_ours(const gang_t *g, const struct pod_facts *f) {
    return json_slice_is(&f->meta.namespace_, g->namespace_) &&
           (json_slice_is(&f->scheduler, GANG_SCHEDULER) || (g->o.alone && f->group.len && json_slice_is(&f->scheduler, "kai-scheduler")));
}

/* What does not change is read when a pod is seen for the first time. */
static bool is_new(gang_t *g, const struct pod_facts *f, const char *key, bool ours) {
    pthread_mutex_lock(&g->lock);
    const struct gang_pod *p = ours ? map_get(g->pods, strchr(key, '/') + 1) : NULL;
    const struct foreign_pod *other = ours ? NULL : map_get(g->foreign, key);
    bool known = (p && json_slice_is(&f->meta.uid, p->uid)) || (other && json_slice_is(&f->meta.uid, other->uid));
    pthread_mutex_unlock(&g->lock);
    return !known;
}

void gang_pod(gang_t *g, osmo_change_t change, const char *json, size_t len) {
    struct pod_facts f;
    char key[META_KEY_MAX];
    osmo_sched_amount_t request = { { 0 } };
    char *manifest = NULL;
    if (!gang_read_pod(json, len, &f) || !meta_key(&f.meta, key))
        return;
    bool gone = change == OSMO_CHANGE_DELETED, ours = is_ours(g, &f), fresh = !gone && is_new(g, &f, key, ours);
    if (fresh && ours && !(manifest = gang_read_manifest(&f)))
        return;
    if (fresh && !ours && !f.ended && f.node.len && !gang_read_request(&f, &request))
        return;
    pthread_mutex_lock(&g->lock);
    if (gone)
        drop_pod(g, &f, key);
    else if (ours)
        gang_pod_put(g, &f, manifest);
    else
        gang_foreign_put(g, key, &f, &request);
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

void gang_kept(gang_t *g, osmo_change_t change, const char *json, size_t len) {
    struct meta m;
    char name[GANG_NAME_MAX];
    _cleanup_free_ char *text = NULL;
    if (!meta_read(json, len, false, &m))
        return;
    json_slice_copy(&m.name, name, sizeof name);
    if (change != OSMO_CHANGE_DELETED && (kept_unwrap(json, len, &text) < 0 || !text)) {
        log_warning(&g->log, "ConfigMap %s holds no object", name);
        return;
    }
    pthread_mutex_lock(&g->lock);
    if (change == OSMO_CHANGE_DELETED)
        gang_kept_drop(g, name);
    else
        gang_kept_put(g, name, text);
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

void gang_synced(gang_t *g, enum gang_source source) {
    pthread_mutex_lock(&g->lock);
    g->synced |= source;
    g->work = true;
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

/* ---- what is decided ---- */

static void on_bind(void *ctx, const char *pod, const char *node) {
    gang_t *g = ctx;
    struct gang_pod *p = map_get(g->pods, pod);
    if (!p || !gang_text(g, &p->at, node))
        return;
    gang_text(g, &p->why, NULL);
    p->why_due_us = 0;
    p->bind_sent = false;
    gang_pod_todo(g, p);
}

static void on_preempt(void *ctx, const char *pod, const char *message) {
    gang_t *g = ctx;
    struct gang_pod *p = map_get(g->pods, pod);
    if (!p || !gang_text(g, &p->preempt, message))
        return;
    p->leaving = true;
    gang_pod_todo(g, p);
}

static void on_wait(void *ctx, const char *pod, const char *reason) {
    gang_t *g = ctx;
    struct gang_pod *p = map_get(g->pods, pod);
    if (p)
        gang_pod_say(g, p, reason);
}

static void decide(gang_t *g) {
    const struct place_sink sink = { .ctx = g, .bind = on_bind, .preempt = on_preempt, .wait = on_wait };
    osmo_error_t err = OSMO_ERROR_INIT;
    g->work = false;
    if (g->rebuild && gang_rebuild(g) < 0) {
        log_error(&g->log, "out of memory: groups are placed later");
        return;
    }
    g->work = false;
    gang_nodes_flush(g);
    int64_t n = place_run(g->place, &sink, &err);
    if (n < 0)
        log_error(&g->log, "groups are placed later: %s", err.text);
    g->work = n > 0;
}

static void *gang_main(void *ctx) {
    gang_t *g = ctx;
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        bool ready = (g->synced & g->needed) == g->needed;
        if (ready && (g->work || g->rebuild))
            decide(g);
        int64_t next = ready ? gang_dispatch(g) : 0;
        if (ready && g->work)
            continue;
        cond_wait_until(&g->cond, &g->lock, next ? next : COND_FOR_EVER);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* ---- making and freeing ---- */

static int start_threads(gang_t *g, osmo_error_t *err) {
    g->decider_started = pthread_create(&g->decider, NULL, gang_main, g) == 0;
    while (g->decider_started && g->nactors < GANG_THREADS && pthread_create(&g->actors[g->nactors], NULL, gang_actor, g) == 0)
        g->nactors++;
    return g->nactors == GANG_THREADS ? 0
                                      : osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
}

int gang_start(const struct gang_options *o, gang_t **out, osmo_error_t *err) {
    gang_t *g = calloc(1, sizeof *g);
    if (!g)
        return no_memory(err);
    g->o = *o;
    g->log = o->log ? *o->log : (logger_t){ 0 };
    g->todo.next = g->todo.prev = &g->todo;
    g->needed = GANG_NODES | GANG_PODS | GANG_KEPT | (o->foreign ? GANG_FOREIGN | GANG_UNLABELED : 0);
    pthread_mutex_init(&g->lock, NULL);
    cond_init(&g->cond);
    g->namespace_ = str_dup(o->namespace_);
    g->pods = map_new(gang_pod_free);
    g->foreign = map_new(gang_foreign_free);
    g->nodes = map_new(gang_node_free);
    g->kept = map_new(gang_kept_free);
    g->acts = queue_new(ACTS_MAX);
    int rc = g->namespace_ && g->pods && g->foreign && g->nodes && g->kept && g->acts && gang_rebuild(g) == 0 ? 0 : no_memory(err);
    if (rc == 0)
        rc = start_threads(g, err);
    if (rc < 0)
        gang_stop(g);
    else
        *out = g;
    return rc;
}

void gang_stop(gang_t *g) {
    struct act *a;
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
    if (g->decider_started)
        pthread_join(g->decider, NULL);
    if (g->acts)
        queue_close(g->acts);
    for (int i = 0; i < g->nactors; i++)
        pthread_join(g->actors[i], NULL);
    while (g->acts && (a = queue_pop(g->acts, 0)))
        gang_act_free(a);
    queue_free(g->acts);
    map_free(g->pods);
    map_free(g->foreign);
    map_free(g->nodes);
    map_free(g->kept);
    place_free(g->place);
    free(g->namespace_);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
