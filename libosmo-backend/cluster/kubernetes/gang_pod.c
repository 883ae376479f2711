/* Pods as placement keeps them: those that are ours to place, and others that only take up room. Called by gang.c; the lock is held. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cluster/kubernetes/gang_int.h"

#define PATIENCE_MS 2000
#define SAY_AT_LAST 15          /* so many times that, even when the reason changes all the time, as while a large group is made */
#define UNKNOWN_GROUP "waits for its PodGroup, which is not there"

bool gang_text(gang_t *g, char **to, const char *text) {
    char *copy = str_dup(text);
    if (text && !copy) {
        g->rebuild = g->work = true;
        return false;
    }
    free(*to);
    *to = copy;
    return true;
}

bool gang_slice(gang_t *g, char **to, const json_slice_t *text) {
    _cleanup_free_ char *copy = text->len ? malloc(text->len + 1) : NULL;
    if (copy)
        json_slice_copy(text, copy, text->len + 1);
    else if (text->len)
        g->rebuild = g->work = true;
    return (copy || !text->len) && gang_text(g, to, copy);
}

/* ---- the list of those with something to be done ---- */

void gang_pod_todo(gang_t *g, struct gang_pod *p) {
    if (p->next)
        return;
    p->next = &g->todo;
    p->prev = g->todo.prev;
    p->prev->next = p;
    g->todo.prev = p;
}

void gang_pod_done(struct gang_pod *p) {
    if (!p->next)
        return;
    p->next->prev = p->prev;
    p->prev->next = p->next;
    p->next = p->prev = NULL;
}

void gang_pod_free(void *pod) {
    struct gang_pod *p = pod;
    gang_pod_done(p);
    free(p->name), free(p->group), free(p->manifest), free(p->node), free(p->at), free(p->preempt), free(p->why), free(p->told);
    free(p);
}

void gang_pod_say(gang_t *g, struct gang_pod *p, const char *why) {
    int64_t now = clock_mono_us(), patience = (g->o.patience_ms ? g->o.patience_ms : PATIENCE_MS) * 1000;
    if (str_eq(p->why, why) || !gang_text(g, &p->why, why) || !why)
        return;
    if (!p->why_due_us)
        p->why_last_us = now + SAY_AT_LAST * patience;
    p->why_due_us = now + patience < p->why_last_us ? now + patience : p->why_last_us;
    gang_pod_todo(g, p);
}

/* ---- in line with cluster/place.h ---- */

static void leave_place(gang_t *g, struct gang_pod *p) {
    if (p->in_place)
        place_pod_gone(g->place, p->name);
    p->in_place = p->end_told = p->bind_sent = false;
    free(p->at);
    p->at = NULL;
    g->work = true;
}

static void enter_place(gang_t *g, struct gang_pod *p) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *pod = NULL;
    int rc = !p->node || gang_text(g, &p->at, p->node) ? json_parse(p->manifest, strlen(p->manifest), &pod, &err) : OSMO_ENOMEM;
    if (rc == 0)
        rc = place_pod(g->place, pod, p->arrival, p->at, &err);
    if (rc < 0) {
        log_warning(&g->log, "pod %s cannot be placed: %s", p->name, *err.text ? err.text : osmo_error_name(rc));
        gang_pod_say(g, p, err.text);
        return;
    }
    p->in_place = true;
    if (p->at && p->leaving)
        place_pod_leaving(g->place, p->name);
    g->work = true;
}

static bool is_held(const gang_t *g, const struct gang_pod *p) { return !p->at && p->group && !gang_kept_has_group(g, p->group); }

void gang_pod_sync(gang_t *g, struct gang_pod *p) {
    if (p->in_place && p->node && !str_eq(p->node, p->at))
        leave_place(g, p); /* somebody else gave it a node */
    if (!p->node && !p->ended && (p->deleting || is_held(g, p))) {
        if (p->in_place)
            leave_place(g, p);
        g->held += !p->deleting;
        if (!p->deleting)
            gang_pod_say(g, p, UNKNOWN_GROUP);
        return;
    }
    if (!p->in_place)
        enter_place(g, p);
    if (p->ended && p->in_place && !p->end_told) {
        place_pod_ended(g->place, p->name);
        p->end_told = g->work = true;
    }
}

/* ---- ours ---- */

static int64_t arrival_of(const struct pod_facts *f) {
    char text[64];
    int64_t us = 0;
    json_slice_copy(&f->meta.created, text, sizeof text);
    return time_parse(text, &us) ? us : 0;
}

static struct gang_pod *pod_new(gang_t *g, const struct pod_facts *f, const char *name, char *manifest) {
    struct gang_pod *p = calloc(1, sizeof *p);
    if (!p) {
        free(manifest);
        return NULL;
    }
    p->manifest = manifest;
    p->name = str_dup(name);
    p->arrival = arrival_of(f);
    json_slice_copy(&f->meta.uid, p->uid, sizeof p->uid);
    if (!p->name || !gang_slice(g, &p->group, &f->group)) {
        gang_pod_free(p);
        return NULL;
    }
    return map_set(g->pods, name, p) < 0 ? NULL : p;
}

/* The preemption of an earlier life that was not finished is finished now. */
static void read_preemption(gang_t *g, struct gang_pod *p, const struct pod_facts *f) {
    if (!f->preempted || p->ended || !p->node)
        return;
    p->leaving = true;
    if (!p->deleting && !p->preempt && gang_slice(g, &p->preempt, &f->preempted_why))
        gang_pod_todo(g, p);
}

void gang_pod_put(gang_t *g, const struct pod_facts *f, char *manifest) {
    char name[GANG_NAME_MAX];
    json_slice_copy(&f->meta.name, name, sizeof name);
    struct gang_pod *p = map_get(g->pods, name);
    if (p && !json_slice_is(&f->meta.uid, p->uid)) {
        gang_pod_drop(g, name);
        p = NULL;
    }
    if (!p)
        p = pod_new(g, f, name, manifest);
    else
        free(manifest);
    if (!p || !gang_slice(g, &p->node, &f->node)) {
        log_error(&g->log, "out of memory: pod %s is not placed", name);
        return;
    }
    p->ended = f->ended;
    p->deleting = f->meta.deleted.len > 0;
    gang_slice(g, &p->told, f->unschedulable ? &f->why : &(json_slice_t){ 0 });
    read_preemption(g, p, f);
    gang_pod_sync(g, p);
    gang_pod_todo(g, p); /* what was told may not be so any more */
}

void gang_pod_drop(gang_t *g, const char *name) {
    struct gang_pod *p = map_get(g->pods, name);
    if (!p)
        return;
    leave_place(g, p);
    map_remove(g->pods, name);
}

/* ---- others ---- */

void gang_foreign_free(void *pod) {
    struct foreign_pod *p = pod;
    free(p->node);
    free(p);
}

void gang_foreign_drop(gang_t *g, const char *key) {
    struct foreign_pod *p = map_get(g->foreign, key);
    if (!p)
        return;
    gang_node_use(g, p->node, &p->request, -1);
    map_remove(g->foreign, key);
}

void gang_foreign_put(gang_t *g, const char *key, const struct pod_facts *f, const osmo_sched_amount_t *request) {
    struct foreign_pod *p = map_get(g->foreign, key);
    if (p && (f->ended || !f->node.len || !json_slice_is(&f->meta.uid, p->uid))) {
        gang_foreign_drop(g, key);
        p = NULL;
    }
    if (p || f->ended || !f->node.len)
        return;
    p = calloc(1, sizeof *p);
    if (p && !gang_slice(g, &p->node, &f->node)) {
        gang_foreign_free(p);
        p = NULL;
    }
    if (!p || map_set(g->foreign, key, p) < 0) {
        log_error(&g->log, "out of memory: pod %s is not counted", key);
        return;
    }
    json_slice_copy(&f->meta.uid, p->uid, sizeof p->uid);
    p->request = *request;
    gang_node_use(g, p->node, &p->request, 1);
}
