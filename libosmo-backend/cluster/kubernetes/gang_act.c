/* Decisions become requests: which is due, and carrying it out in threads of their own. For one pod one at a time. What was asked
 * for is not asked again before the watch has shown what became of it; what failed is tried again, later each time. Called by
 * gang.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cluster/kubernetes/gang_int.h"

#define RETRY_MIN_US 1000000
#define RETRY_MAX_US 60000000

void gang_act_free(struct act *a) {
    if (a)
        free(a->text);
    free(a);
}

/* ---- which ---- */

static bool needs_preempt(const struct gang_pod *p) { return p->preempt && !p->deleting && !p->ended; }
static bool needs_bind(const struct gang_pod *p) { return p->at && !p->node && !p->deleting && !p->ended; }
static bool needs_word(const struct gang_pod *p) { return p->why && !p->at && !p->node && !p->deleting && !str_eq(p->why, p->told); }

/* False when nothing is to be done for it, now or later. *at = when, 0 = when the watch has more to say. */
static bool next_act(const struct gang_pod *p, enum act_kind *kind, int64_t *at) {
    *at = 0;
    if (needs_preempt(p)) {
        *kind = ACT_PREEMPT;
        *at = p->preempt_sent ? 0 : 1;
    } else if (needs_bind(p)) {
        *kind = ACT_BIND;
        *at = p->bind_sent ? 0 : 1;
    } else if (needs_word(p)) {
        *kind = ACT_WAIT;
        *at = p->why_due_us ? p->why_due_us : 1;
    } else {
        return false;
    }
    if (*at && p->retry_us > *at)
        *at = p->retry_us;
    if (p->acting)
        *at = 0;
    return true;
}

static void begin(gang_t *g, struct gang_pod *p, enum act_kind kind) {
    struct act *a = calloc(1, sizeof *a);
    const char *text = kind == ACT_BIND ? p->at : kind == ACT_WAIT ? p->why : p->preempt;
    if (a && (a->text = str_dup(text))) {
        a->kind = kind;
        snprintf(a->name, sizeof a->name, "%s", p->name);
        memcpy(a->uid, p->uid, sizeof a->uid);
        if (queue_push(g->acts, a) == 0) {
            p->acting = true;
            if (kind == ACT_WAIT)
                p->why_due_us = 0;
            return;
        }
    }
    gang_act_free(a);
    p->retry_us = clock_mono_us() + RETRY_MIN_US;
}

int64_t gang_dispatch(gang_t *g) {
    int64_t now = clock_mono_us(), first = 0;
    for (struct gang_pod *p = g->todo.next, *next; p != &g->todo; p = next) {
        enum act_kind kind;
        int64_t at;
        next = p->next;
        if (!next_act(p, &kind, &at)) {
            p->why_due_us = 0;
            gang_pod_done(p);
            continue;
        }
        if (at && at <= now)
            begin(g, p, kind);
        if (at > now && (!first || at < first))
            first = at;
    }
    return first;
}

/* ---- how ---- */

static json_t *condition(const char *type, const char *status, const char *reason, const char *message) {
    char now[TIME_TEXT_MAX];
    json_t *c = json_object();
    if (c && (json_set_str(c, "type", type) | json_set_str(c, "status", status) | json_set_str(c, "reason", reason) |
              json_set_str(c, "message", message) |
              json_set_str(c, "lastTransitionTime", time_rfc3339(clock_now_us() / 1000000 * 1000000, now))) == 0)
        return c;
    json_free(c);
    return NULL;
}

static osmo_kube_target_t target_of(const gang_t *g, const struct act *a, const char *subresource) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = "v1", .kind = "Pod", .namespace_ = g->namespace_,
                                 .name = a->name, .subresource = subresource };
}

/* Takes the condition. */
static int patch_status(const gang_t *g, const struct act *a, json_t *c, osmo_error_t *err) {
    const osmo_kube_target_t t = target_of(g, a, "status");
    _cleanup_json_ json_t *patch = json_object(), *meta = json_object(), *status = json_object(), *list = json_array();
    if (!c || !patch || !meta || !status || !list) {
        json_free(c);
        return OSMO_ENOMEM;
    }
    if ((json_add(list, c) | json_set_str(meta, "uid", a->uid) | json_set(status, "conditions", json_ref(list)) |
         json_set(patch, "metadata", json_ref(meta)) | json_set(patch, "status", json_ref(status))) != 0)
        return OSMO_ENOMEM;
    _cleanup_free_ char *text = json_to_text(patch);
    return text ? osmo_kube_patch(g->o.client, &t, OSMO_KUBE_PATCH_STRATEGIC, text, strlen(text), "osmo-backend", err) : OSMO_ENOMEM;
}

/* A conflict says that it has a node already, is another one now, or is on its way out: then the watch tells. 1 when it is as it was. */
static int look(const gang_t *g, const struct act *a, osmo_error_t *err) {
    const osmo_kube_target_t t = target_of(g, a, NULL);
    _cleanup_free_ char *json = NULL;
    struct pod_facts f;
    size_t len = 0;
    int rc = osmo_kube_get(g->o.client, &t, &json, &len, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    return gang_read_pod(json, len, &f) && json_slice_is(&f.meta.uid, a->uid) && !f.node.len && !f.meta.deleted.len;
}

static int bind(const gang_t *g, const struct act *a, osmo_error_t *err) {
    const osmo_kube_target_t t = target_of(g, a, "binding");
    _cleanup_free_ char *text = str_printf("{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\","
        "\"uid\":\"%s\"},\"target\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"%s\"}}", a->name, g->namespace_, a->uid, a->text);
    return text ? osmo_kube_create(g->o.client, &t, text, strlen(text), NULL, err) : OSMO_ENOMEM;
}

static int preempt(const gang_t *g, const struct act *a, osmo_error_t *err) {
    const osmo_kube_target_t t = target_of(g, a, NULL);
    const osmo_kube_delete_t how = { .size = sizeof how, .grace_s = -1, .propagation = "Background", .uid = a->uid };
    int rc = patch_status(g, a, condition("DisruptionTarget", "True", "PreemptionByScheduler", a->text), err);
    return rc < 0 ? rc : osmo_kube_remove(g->o.client, &t, &how, err);
}

static int carry_out(const gang_t *g, const struct act *a, osmo_error_t *err) {
    int rc = a->kind == ACT_BIND      ? bind(g, a, err)
             : a->kind == ACT_PREEMPT ? preempt(g, a, err)
                                      : patch_status(g, a, condition("PodScheduled", "False", "Unschedulable", a->text), err);
    if (rc == OSMO_ECONFLICT || rc == OSMO_EEXISTS) {
        int same = look(g, a, err);
        return same == 1 ? rc : same;
    }
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* ---- what became of it ---- */

static void tell_state(gang_t *g, const char *name, int rc, const osmo_error_t *err) {
    char text[OSMO_ERROR_TEXT_MAX + 100];
    bool was = g->troubled;
    g->troubled = rc < 0 && rc != OSMO_ECONFLICT && rc != OSMO_EEXISTS;
    if (!g->troubled && !was)
        return;
    snprintf(text, sizeof text, "pods cannot be placed: %s", err && *err->text ? err->text : osmo_error_name(rc));
    if (!was)
        log_warning(&g->log, "pod %s: %s", name, text);
    if (g->o.state)
        g->o.state(g->o.ctx, g->troubled ? text : NULL);
}

static void settle(gang_t *g, const struct act *a, int rc) {
    struct gang_pod *p = map_get(g->pods, a->name);
    if (!p || !str_eq(p->uid, a->uid))
        return;
    p->acting = false;
    gang_pod_todo(g, p);
    if (rc < 0) {
        int64_t wait = RETRY_MIN_US << (p->tries < 6 ? p->tries : 6);
        p->tries++;
        p->retry_us = clock_mono_us() + (wait < RETRY_MAX_US ? wait : RETRY_MAX_US);
    } else {
        p->tries = 0;
        p->retry_us = 0;
        p->bind_sent |= a->kind == ACT_BIND && str_eq(p->at, a->text);
        p->preempt_sent |= a->kind == ACT_PREEMPT;
        if (a->kind == ACT_WAIT)
            gang_text(g, &p->told, a->text);
    }
}

void *gang_actor(void *ctx) {
    gang_t *g = ctx;
    struct act *a;
    while ((a = queue_pop(g->acts, -1))) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = carry_out(g, a, &err);
        pthread_mutex_lock(&g->lock);
        if (!g->stop) {
            settle(g, a, rc);
            tell_state(g, a->name, rc, &err);
            pthread_cond_signal(&g->cond);
        }
        pthread_mutex_unlock(&g->lock);
        gang_act_free(a);
    }
    return NULL;
}
