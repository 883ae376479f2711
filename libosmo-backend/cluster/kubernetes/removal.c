/* Removal of everything that matches a selector. What is removed is what the list showed, by uid: a successor of the same name is
 * never hit. Pods keep their last state until their finalizer is taken away, so that goes first; then they are deleted. Several at
 * a time; one that cannot be removed keeps no other back. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "cluster/kubernetes/kept.h"
#include "cluster/kubernetes/kubernetes_int.h"
#include "cluster/kubernetes/meta.h"

#define REMOVE_MAX 1000000

struct doomed { char *name; char uid[40]; bool finalizer; };

struct removal {
    struct kubernetes *k;
    osmo_kube_target_t target;
    bool pods, force;
    struct doomed *list;
    size_t n, cap;
    pthread_mutex_t lock;
    size_t removed, failed;
    int rc;                     /* of what failed: one that may pass, when there is one */
    osmo_error_t err;
};

static int take(void *ctx, const char *json, size_t len) {
    struct removal *r = ctx;
    struct meta m;
    if (!meta_read(json, len, false, &m) || m.uid.len >= sizeof r->list->uid)
        return 0;
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct doomed *grown = r->cap >= REMOVE_MAX ? NULL : reallocarray(r->list, cap, sizeof *grown);
        if (!grown) {
            r->rc = OSMO_ENOMEM;
            return 1;
        }
        r->list = grown;
        r->cap = cap;
    }
    struct doomed *d = &r->list[r->n];
    *d = (struct doomed){ .name = strndup(m.name.text, m.name.len), .finalizer = m.finalizer };
    json_slice_copy(&m.uid, d->uid, sizeof d->uid);
    if (!d->name) {
        r->rc = OSMO_ENOMEM;
        return 1;
    }
    r->n++;
    return 0;
}

/* ---- one object ---- */

static bool is_gone(int rc) { return rc == OSMO_ENOTFOUND || rc == OSMO_EGONE; }

/* Is the one of that name still the one? 1, 0, or negative. */
static int is_still_there(osmo_kube_t *client, const osmo_kube_target_t *t, const char *uid, osmo_error_t *err) {
    _cleanup_free_ char *json = NULL;
    struct meta m;
    size_t len = 0;
    int rc = osmo_kube_get(client, t, &json, &len, err);
    if (is_gone(rc))
        return 0;
    if (rc < 0)
        return rc;
    return meta_read(json, len, false, &m) && json_slice_is(&m.uid, uid);
}

int kubernetes_strip(osmo_kube_t *client, const osmo_kube_target_t *t, const char *uid, osmo_error_t *err) {
    char patch[160];
    int rc = 0;
    snprintf(patch, sizeof patch, "{\"metadata\":{\"uid\":\"%s\",\"$deleteFromPrimitiveList/finalizers\":[\"%s\"]}}", uid, META_FINALIZER);
    for (int i = 0; i < CONFLICTS_MAX; i++) {
        rc = osmo_kube_patch(client, t, OSMO_KUBE_PATCH_STRATEGIC, patch, strlen(patch), "osmo-backend", err);
        if (rc != OSMO_ECONFLICT)
            break;
        int there = is_still_there(client, t, uid, err); /* somebody else changed it, or it is another one */
        if (there <= 0)
            return there;
    }
    return is_gone(rc) ? 0 : rc;
}

/* 1 when it was there. */
static int remove_one(const struct removal *r, const struct doomed *d, osmo_error_t *err) {
    osmo_kube_target_t t = r->target;
    /* Not in the foreground: a pod would wait for a garbage collector that may not be there. */
    osmo_kube_delete_t how = { .size = sizeof how, .grace_s = r->force ? 0 : -1, .propagation = "Background", .uid = d->uid };
    t.label_selector = NULL;
    t.name = d->name;
    int rc = r->pods && d->finalizer ? kubernetes_strip(r->k->client, &t, d->uid, err) : 0;
    if (rc == 0)
        rc = osmo_kube_remove(r->k->client, &t, &how, err);
    if (rc == OSMO_ECONFLICT) { /* it is another one by now; or something else is in the way, such as the end of the client */
        rc = is_still_there(r->k->client, &t, d->uid, err);
        if (rc == OSMO_EDENIED) /* removing what cannot be read is allowed; what it says is nearly always about another uid */
            return 0;
        return rc > 0 ? osmo_error_set(err, OSMO_EBUSY, "%s is changed by others all the time", d->name) : rc;
    }
    return is_gone(rc) ? 0 : rc < 0 ? rc : 1;
}

static bool may_pass(int rc) { return rc == OSMO_EBUSY || rc == OSMO_EUNAVAIL || rc == OSMO_ETIMEOUT || rc == OSMO_EIO; }

static bool do_one(void *ctx, size_t index) {
    struct removal *r = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = remove_one(r, &r->list[index], &err);
    pthread_mutex_lock(&r->lock);
    r->removed += rc > 0;
    r->failed += rc < 0;
    if (rc < 0 && (r->rc == 0 || (may_pass(rc) && !may_pass(r->rc)))) {
        r->rc = rc;
        r->err = err;
    }
    pthread_mutex_unlock(&r->lock);
    return true;
}

static int outcome(const struct removal *r, osmo_error_t *err) {
    const char *text = *r->err.text ? r->err.text : osmo_error_name(r->rc);
    if (r->rc == 0)
        return (int)r->removed;
    if (!r->failed)
        return no_memory(err);
    return r->failed == 1 && r->n == 1 ? osmo_error_set(err, r->rc, "%s", text)
                                       : osmo_error_set(err, r->rc, "%zu of %zu: %s", r->failed, r->n, text);
}

static int aim(struct removal *r, const char *api_version, const char *kind, const char *selector, char **marked, osmo_error_t *err) {
    struct kubernetes *k = r->k;
    if (k->gang && kept_is(api_version, kind)) {
        *marked = kept_selector(kind, selector);
        r->target = (osmo_kube_target_t){ .size = sizeof r->target, .api_version = "v1", .kind = "ConfigMap", .namespace_ = k->namespace_,
                                          .label_selector = *marked };
        return *marked ? 0 : no_memory(err);
    }
    int rc = kubernetes_target(k, api_version, kind, &r->target, err);
    if (rc < 0)
        return rc;
    if ((rc = kubernetes_stay_inside(&r->target, err)) < 0)
        return rc;
    r->target.label_selector = selector;
    r->pods = str_eq(r->target.kind, "Pod") && str_eq(r->target.api_version, "v1");
    return 0;
}

int kubernetes_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force, osmo_error_t *err) {
    struct removal r = { .k = impl, .force = force != 0, .lock = PTHREAD_MUTEX_INITIALIZER };
    _cleanup_free_ char *marked = NULL;
    char version[OSMO_KUBE_VERSION_MAX] = "";
    if (!selector || !*selector)
        return osmo_error_set(err, OSMO_EINVAL, "a selector is needed: everything of a namespace is never removed");
    int rc = aim(&r, api_version, kind, selector, &marked, err);
    if (rc == 0)
        rc = osmo_kube_list(r.k->client, &r.target, r.k->page_size, version, take, &r, err);
    if (rc >= 0 && r.rc == 0)
        crew_do(r.k->crew, r.n, do_one, &r);
    if (rc >= 0)
        rc = outcome(&r, err);
    for (size_t i = 0; i < r.n; i++)
        free(r.list[i].name);
    free(r.list);
    return rc;
}
