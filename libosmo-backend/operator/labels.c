/* See labels.h. */
#include "operator/labels.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"

#define WAITING_MAX 65536u
#define AGAIN_MS 5000

struct labels {
    const osmo_cluster_driver_t *driver;
    void *impl;
    const logger_t *log;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    map_t *wanted;             /* node → text of the patch */
    bool stop, told;           /* told: that it does not work */
};

static char *make_patch(const char *label, const char *value) {
    _cleanup_json_ json_t *patch = json_object();
    json_t *meta = json_object(), *labels = json_object();
    int rc = labels ? json_set_str(labels, label, value) : OSMO_ENOMEM;
    rc |= meta ? json_set(meta, "labels", labels) : OSMO_ENOMEM;
    rc |= patch ? json_set(patch, "metadata", meta) : OSMO_ENOMEM;
    return rc ? NULL : json_to_text(patch);
}

void labels_set(void *ctx, const char *node, const char *label, const char *value) {
    labels_t *l = ctx;
    char *patch = make_patch(label, value);
    if (!patch)
        return;
    pthread_mutex_lock(&l->lock);
    if (map_has(l->wanted, node) || map_len(l->wanted) < WAITING_MAX)
        map_set(l->wanted, node, patch);
    else
        free(patch);
    pthread_cond_signal(&l->change);
    pthread_mutex_unlock(&l->lock);
}

/* A node that is gone needs no label. */
static bool write_one(labels_t *l, const char *node, const char *patch) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = l->driver->patch(l->impl, "v1", "Node", node, patch, strlen(patch), &err);
    if (rc < 0 && rc != OSMO_ENOTFOUND && !l->told)
        log_warning(l->log, "node %s cannot be labelled, trying again: %s%s", node, *err.text ? err.text : osmo_error_name(rc),
                    rc == OSMO_EDENIED ? " (allow the operator to patch nodes, or leave --enable-node-label-update out)" : "");
    l->told = rc < 0 && rc != OSMO_ENOTFOUND;
    return !l->told;
}

static void *labels_main(void *ctx) {
    labels_t *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        size_t it = 0;
        const char *name;
        if (!map_next(l->wanted, &it, &name, NULL)) {
            pthread_cond_wait(&l->change, &l->lock);
            continue;
        }
        _cleanup_free_ char *node = str_dup(name), *patch = map_take(l->wanted, name);
        pthread_mutex_unlock(&l->lock);
        bool done = node && patch && write_one(l, node, patch);
        pthread_mutex_lock(&l->lock);
        if (!done && node && patch && !map_has(l->wanted, node))
            map_set(l->wanted, node, STEAL(patch));
        if (!done && !l->stop)
            cond_wait_until(&l->change, &l->lock, clock_mono_us() + AGAIN_MS * 1000);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

labels_t *labels_new(const osmo_cluster_driver_t *driver, void *impl, const logger_t *log) {
    labels_t *l = calloc(1, sizeof *l);
    if (!l || !(l->wanted = map_new(free))) {
        free(l);
        return NULL;
    }
    l->driver = driver;
    l->impl = impl;
    l->log = log;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->change);
    if (pthread_create(&l->thread, NULL, labels_main, l) == 0)
        return l;
    pthread_cond_destroy(&l->change);
    pthread_mutex_destroy(&l->lock);
    map_free(l->wanted);
    free(l);
    return NULL;
}

void labels_free(labels_t *l) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->change);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->change);
    pthread_mutex_destroy(&l->lock);
    map_free(l->wanted);
    free(l);
}
