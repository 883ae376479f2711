/* Why no pod stays for ever.
 *
 * Pods of workflows carry the finalizer osmo.nvidia.com/cleanup, so that their last state can be seen after they were deleted. It is taken
 * away by the cleanup of their group (removal.c), which the service orders when the group has ended, again until it succeeded, and also for
 * pods of its installation that it knows nothing of, when it compares snapshots. A pod that is not deleted is therefore the service's to
 * clean up. What is deleted by somebody else and waits for its finalizer alone is what this file is about:
 *
 *   - deleted while it ran (kubectl delete, an eviction, the end of its namespace): its containers end, the operator reports how, the
 *     service cleans the group up. If the service does not know the group, or never hears of it, nobody would.
 *   - deleted before it had a node: it never runs, no status follows, and there is nothing more to be learned of it.
 *   - its node is gone, or does not answer: the garbage collector deletes the pod with no grace, or the controller does with some; its
 *     containers never get a last state.
 *   - any of these while no operator was there: the first list shows the pod as it is, with its deletionTimestamp.
 *
 * So one rule: a pod with the finalizer and a deletionTimestamp has its grace period, and after that the service has its time to fetch what
 * it wants (it usually takes a second); then the finalizer is taken away. Without a node it is at once. That the pod is then gone is
 * reported, and if nobody heard of its end before, the operator says that it was deleted outside of OSMO. Time is counted from when the
 * deletion was first seen, by our own clock, as that of the API server may be another one. A pod whose kubelet still has it stays until
 * that is done, as it would without any finalizer. What fails is tried again until the pod is gone or is seen to be without finalizer. */
#include "cluster/kubernetes/finalizers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/error.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/kubernetes/meta.h"

#define PATIENCE_MS 120000
#define AGAIN_MS 10000
#define GRACE_MAX_S (30 * 24 * 3600)

struct waiting { char uid[40]; int64_t due_us; };

struct finalizers {
    osmo_kube_t *client;
    char *namespace_;
    int64_t patience_ms;
    const logger_t *log;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop, started;
    map_t *waiting;             /* by name of the pod; few at a time */
};

/* ---- what is seen ---- */

static bool has_node(const json_slice_t *spec) {
    json_reader_t r;
    json_slice_t key, node = { 0 };
    json_reader_init(&r, spec->text, spec->len);
    if (!spec->len || !json_reader_object(&r))
        return false;
    while (!node.len && json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "nodeName"))
            json_reader_string(&r, &node);
        else
            json_reader_skip(&r, NULL);
    }
    return node.len > 0;
}

static int64_t due_of(const finalizers_t *f, const struct meta *m) {
    int64_t grace = m->grace_s < 0 ? 0 : m->grace_s > GRACE_MAX_S ? GRACE_MAX_S : m->grace_s;
    int64_t now = clock_mono_us();
    return has_node(&m->spec) ? now + grace * 1000000 + f->patience_ms * 1000 : now;
}

static void note(finalizers_t *f, const char *name, const struct meta *m) {
    struct waiting *w = map_get(f->waiting, name);
    int64_t due = due_of(f, m);
    if (w && json_slice_is(&m->uid, w->uid)) {
        if (due < w->due_us) /* deleted again, with less grace */
            w->due_us = due;
    } else if (m->uid.len < sizeof w->uid && (w = calloc(1, sizeof *w))) {
        json_slice_copy(&m->uid, w->uid, sizeof w->uid);
        w->due_us = due;
        map_set(f->waiting, name, w);
    }
    pthread_cond_signal(&f->cond);
}

void finalizers_see(finalizers_t *f, osmo_change_t change, const char *json, size_t len) {
    struct meta m;
    char name[256];
    if (!meta_read(json, len, false, &m))
        return;
    bool waits = change != OSMO_CHANGE_DELETED && m.finalizer && m.deleted.len;
    json_slice_copy(&m.name, name, sizeof name);
    pthread_mutex_lock(&f->lock);
    if (waits && meta_read(json, len, true, &m))
        note(f, name, &m);
    else if (!waits && map_len(f->waiting))
        map_remove(f->waiting, name);
    pthread_mutex_unlock(&f->lock);
}

/* ---- what is done ---- */

/* The one that is due first; false when there is none. Its next try is later, in case this one fails. Lock held. */
static bool next_due(finalizers_t *f, char name[256], char uid[40], int64_t *due) {
    const char *key;
    void *value;
    struct waiting *first = NULL;
    for (size_t it = 0; map_next(f->waiting, &it, &key, &value);) {
        struct waiting *w = value;
        if (first && w->due_us >= first->due_us)
            continue;
        first = w;
        snprintf(name, 256, "%s", key);
    }
    if (!first)
        return false;
    *due = first->due_us;
    memcpy(uid, first->uid, sizeof first->uid);
    if (*due <= clock_mono_us())
        first->due_us = clock_mono_us() + AGAIN_MS * 1000;
    return true;
}

static void strip(finalizers_t *f, const char *name, const char *uid) {
    const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "Pod", .namespace_ = f->namespace_, .name = name };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = kubernetes_strip(f->client, &t, uid, &err);
    if (rc >= 0)
        log_info(f->log, "pod %s was deleted and nobody cleaned it up: its finalizer is taken away", name);
    else
        log_warning(f->log, "the finalizer of pod %s cannot be taken away, trying again: %s", name, err.text);
}

static void *finalizers_main(void *ctx) {
    finalizers_t *f = ctx;
    char name[256], uid[40];
    int64_t due;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (!next_due(f, name, uid, &due)) {
            pthread_cond_wait(&f->cond, &f->lock);
        } else if (due > clock_mono_us()) {
            cond_wait_until(&f->cond, &f->lock, due);
        } else {
            pthread_mutex_unlock(&f->lock);
            strip(f, name, uid);
            pthread_mutex_lock(&f->lock);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- making and freeing ---- */

int finalizers_start(osmo_kube_t *client, const char *namespace_, int64_t patience_ms, const logger_t *log, finalizers_t **out,
                     osmo_error_t *err) {
    finalizers_t *f = calloc(1, sizeof *f);
    if (!f)
        return no_memory(err);
    f->client = client;
    f->patience_ms = patience_ms ? patience_ms : PATIENCE_MS;
    f->log = log;
    pthread_mutex_init(&f->lock, NULL);
    cond_init(&f->cond);
    f->namespace_ = str_dup(namespace_);
    f->waiting = map_new(free);
    int rc = f->namespace_ && f->waiting ? 0 : no_memory(err);
    if (rc == 0 && pthread_create(&f->thread, NULL, finalizers_main, f) != 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    f->started = rc == 0;
    if (rc < 0)
        finalizers_stop(f);
    else
        *out = f;
    return rc;
}

void finalizers_stop(finalizers_t *f) {
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    if (f->started)
        pthread_join(f->thread, NULL);
    map_free(f->waiting);
    free(f->namespace_);
    pthread_cond_destroy(&f->cond);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
