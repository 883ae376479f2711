/* Objects of a cluster for whoever calls the driver: create, list, logs, patch, replace, erase. Kinds are found by discovery; those
 * of KAI are translated where there is none (kept.h). */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "cluster/kubernetes/kept.h"
#include "cluster/kubernetes/kubernetes_int.h"
#include "cluster/kubernetes/meta.h"

#define NAME_MAX_LEN 254
#define DEFAULT_SCHEDULER "default-scheduler"
#define LIST_ITEM_MAX (8u << 20)

/* ---- where a kind is ---- */

int kubernetes_target(struct kubernetes *k, const char *api_version, const char *kind, osmo_kube_target_t *out, osmo_error_t *err) {
    osmo_kube_resource_t resource;
    *out = (osmo_kube_target_t){ .size = sizeof *out, .api_version = api_version && *api_version ? api_version : "v1" };
    out->kind = kind;
    if (!kind || !*kind)
        return osmo_error_set(err, OSMO_EINVAL, "a kind is needed");
    int rc = osmo_kube_discover(k->client, out->api_version, out->kind, &resource, err);
    if (rc == 0 && resource.namespaced)
        out->namespace_ = k->namespace_;
    return rc;
}

int kubernetes_stay_inside(const osmo_kube_target_t *t, osmo_error_t *err) {
    if (t->namespace_ || kept_is(t->api_version, t->kind))
        return 0;
    return osmo_error_set(err, OSMO_EDENIED, "a %s is in no namespace: of such objects the operator only makes and removes queues and "
                          "topologies", t->kind);
}

static bool is_kept(const struct kubernetes *k, const char *api_version, const char *kind) { return k->gang && kept_is(api_version, kind); }

static osmo_kube_target_t kept_target(const struct kubernetes *k) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = "v1", .kind = "ConfigMap",
                                 .namespace_ = k->namespace_ };
}

/* What the server says of a namespace that is not there is about the object; say what to do instead. */
static int explain(int rc, const char *namespace_, osmo_error_t *err) {
    if (rc == OSMO_ENOTFOUND && err && str_starts(err->text, "namespaces \""))
        return osmo_error_set(err, rc, "the cluster has no namespace %s: create it", namespace_);
    return rc;
}

/* ---- create ---- */

static void wipe_text(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
}

static bool find_scheduler(const json_slice_t *spec, json_slice_t *out) {
    json_reader_t r;
    json_slice_t key;
    json_reader_init(&r, spec->text, spec->len);
    if (!json_reader_object(&r))
        return false;
    while (json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "schedulerName"))
            return json_reader_string(&r, out);
        json_reader_skip(&r, NULL);
    }
    return false;
}

static bool has_group(const struct meta *m) {
    json_reader_t r;
    json_slice_t key;
    json_reader_init(&r, m->annotations.text, m->annotations.len);
    if (!m->annotations.len || !json_reader_object(&r))
        return false;
    while (json_reader_key(&r, &key)) {
        if (json_slice_is(&key, GANG_ANNOTATION))
            return true;
        json_reader_skip(&r, NULL);
    }
    return false;
}

/* A pod of a PodGroup waits for us instead of a scheduler that is not there. NULL without memory; *out may be the text itself. */
static char *with_our_scheduler(const struct meta *m, const char *json, size_t len) {
    json_slice_t name;
    if (!m->spec.len || !has_group(m) || !find_scheduler(&m->spec, &name) || json_slice_is(&name, DEFAULT_SCHEDULER))
        return NULL;
    size_t before = (size_t)(name.text - json), after = len - before - name.len;
    char *text = malloc(before + strlen(GANG_SCHEDULER) + after + 1);
    if (!text)
        return NULL;
    memcpy(text, json, before);
    memcpy(text + before, GANG_SCHEDULER, strlen(GANG_SCHEDULER));
    memcpy(text + before + strlen(GANG_SCHEDULER), name.text + name.len, after);
    text[before + strlen(GANG_SCHEDULER) + after] = '\0';
    return text;
}

static int create_kept(struct kubernetes *k, const char *json, size_t len, osmo_error_t *err) {
    osmo_kube_target_t t = kept_target(k);
    _cleanup_free_ char *map = NULL;
    int rc = kept_wrap(json, len, k->namespace_, &map, err);
    if (rc == 0)
        rc = osmo_kube_create(k->client, &t, map, strlen(map), NULL, err);
    return explain(rc, k->namespace_, err);
}

struct head { char api_version[NAME_MAX_LEN], kind[NAME_MAX_LEN], name[NAME_MAX_LEN], namespace_[NAME_MAX_LEN]; };

static int read_head(const char *json, size_t len, struct meta *m, struct head *h, osmo_error_t *err) {
    if (!meta_read(json, len, true, m) || !m->kind.len)
        return osmo_error_set(err, OSMO_EINVAL, "an object needs a kind and a metadata.name");
    json_slice_copy(&m->api_version, h->api_version, sizeof h->api_version);
    json_slice_copy(&m->kind, h->kind, sizeof h->kind);
    json_slice_copy(&m->name, h->name, sizeof h->name);
    json_slice_copy(&m->namespace_, h->namespace_, sizeof h->namespace_);
    return 0;
}

int kubernetes_create(void *impl, const char *json, size_t len, osmo_error_t *err) {
    struct kubernetes *k = impl;
    osmo_kube_target_t t;
    struct meta m;
    struct head h;
    int rc = read_head(json, len, &m, &h, err);
    if (rc < 0)
        return rc;
    if (is_kept(k, h.api_version, h.kind))
        return create_kept(k, json, len, err);
    if ((rc = kubernetes_target(k, h.api_version, h.kind, &t, err)) < 0 || (rc = kubernetes_stay_inside(&t, err)) < 0)
        return rc;
    if (t.namespace_ && *h.namespace_)
        t.namespace_ = h.namespace_;
    _cleanup_(wipe_text) char *ours = k->gang && str_eq(h.kind, "Pod") ? with_our_scheduler(&m, json, len) : NULL;
    rc = osmo_kube_create(k->client, &t, ours ? ours : json, ours ? strlen(ours) : len, NULL, err);
    return explain(rc, t.namespace_, err);
}

/* ---- list ---- */

struct listing {
    osmo_cluster_object_fn fn;
    void *ctx;
    const char *api_version, *kind;
    buf_t text;
    int rc;
};

/* The items of a list come without what the list is of. */
static int with_kind(void *ctx, const char *json, size_t len) {
    struct listing *l = ctx;
    struct meta m;
    meta_read(json, len, false, &m);
    if (m.kind.len || !len)
        return l->fn(l->ctx, json, len);
    buf_reset(&l->text);
    buf_printf(&l->text, "{\"apiVersion\":\"%s\",\"kind\":\"%s\",", l->api_version, l->kind);
    buf_append(&l->text, json + 1, len - 1);
    if (buf_failed(&l->text)) {
        l->rc = l->text.code;
        return 1;
    }
    return l->fn(l->ctx, l->text.data, l->text.len);
}

static int unwrapped(void *ctx, const char *json, size_t len) {
    struct listing *l = ctx;
    _cleanup_free_ char *text = NULL;
    l->rc = kept_unwrap(json, len, &text);
    return l->rc < 0 ? 1 : text ? l->fn(l->ctx, text, strlen(text)) : 0;
}

int kubernetes_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn, void *ctx,
                    osmo_error_t *err) {
    struct kubernetes *k = impl;
    char version[OSMO_KUBE_VERSION_MAX] = "";
    osmo_kube_target_t t;
    bool kept = is_kept(k, api_version, kind);
    _cleanup_free_ char *marked = kept ? kept_selector(kind, selector) : NULL;
    int rc = 0;
    if (kept && !marked)
        return no_memory(err);
    if (kept)
        t = kept_target(k);
    else if ((rc = kubernetes_target(k, api_version, kind, &t, err)) < 0)
        return rc;
    t.label_selector = kept ? marked : selector && *selector ? selector : NULL;
    struct listing l = { .fn = fn, .ctx = ctx, .api_version = t.api_version, .kind = t.kind, .text = BUF_INIT(LIST_ITEM_MAX) };
    rc = osmo_kube_list(k->client, &t, k->page_size, version, kept ? unwrapped : with_kind, &l, err);
    buf_free(&l.text);
    return rc < 0 ? rc : l.rc < 0 ? osmo_error_set(err, l.rc, "cannot list %s: too large, or out of memory", t.kind) : 0;
}

int kubernetes_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx,
                    osmo_error_t *err) {
    struct kubernetes *k = impl;
    return osmo_kube_logs(k->client, k->namespace_, pod, container, tail, fn, ctx, err);
}

/* ---- change ---- */

int kubernetes_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *json, size_t len,
                     osmo_error_t *err) {
    struct kubernetes *k = impl;
    osmo_kube_target_t t;
    if (!name || !*name || is_kept(k, api_version, kind))
        return osmo_error_set(err, OSMO_EINVAL, "%s cannot be patched", name && *name ? kind : "an object without a name");
    int rc = kubernetes_target(k, api_version, kind, &t, err);
    if (rc < 0)
        return rc;
    if (!t.namespace_ && !str_eq(t.kind, "Node"))
        return osmo_error_set(err, OSMO_EDENIED, "a %s is in no namespace: of such objects the operator only patches nodes", t.kind);
    t.name = name;
    return osmo_kube_patch(k->client, &t, OSMO_KUBE_PATCH_MERGE, json, len, "osmo-backend", err);
}

/* The text with the version that is to be replaced. NULL without memory. */
static char *with_version(const char *json, size_t len, const char *current, size_t current_len) {
    _cleanup_json_secret_ json_t *object = NULL;
    struct meta m;
    char version[OSMO_KUBE_VERSION_MAX];
    if (!meta_read(current, current_len, false, &m) || json_parse_secret(json, len, &object, NULL) < 0)
        return NULL;
    json_slice_copy(&m.version, version, sizeof version);
    return json_set_str(json_get(object, "metadata"), "resourceVersion", version) < 0 ? NULL : json_to_text(object);
}

static int replace_once(struct kubernetes *k, const osmo_kube_target_t *t, const char *json, size_t len, osmo_error_t *err) {
    _cleanup_(wipe_text) char *current = NULL;
    size_t current_len = 0;
    int rc = osmo_kube_get(k->client, t, &current, &current_len, err);
    if (rc < 0)
        return rc;
    _cleanup_(wipe_text) char *text = with_version(json, len, current, current_len);
    return text ? osmo_kube_replace(k->client, t, text, strlen(text), NULL, err) : no_memory(err);
}

int kubernetes_replace(void *impl, const char *json, size_t len, osmo_error_t *err) {
    struct kubernetes *k = impl;
    char name[KEPT_NAME_MAX];
    _cleanup_free_ char *map = NULL;
    osmo_kube_target_t t;
    struct meta m;
    struct head h;
    int rc = read_head(json, len, &m, &h, err);
    if (rc == 0 && str_eq(h.kind, "Pod"))
        return osmo_error_set(err, OSMO_EINVAL, "a Pod cannot be replaced");
    bool kept = rc == 0 && is_kept(k, h.api_version, h.kind);
    if (kept) {
        t = kept_target(k);
        rc = kept_wrap(json, len, k->namespace_, &map, err);
    } else if (rc == 0) {
        rc = kubernetes_target(k, h.api_version, h.kind, &t, err);
    }
    if (rc < 0 || (!kept && (rc = kubernetes_stay_inside(&t, err)) < 0))
        return rc;
    if (!kept && t.namespace_ && *h.namespace_)
        t.namespace_ = h.namespace_;
    t.name = kept && kept_name(h.kind, h.name, name) ? name : h.name;
    rc = OSMO_ECONFLICT;
    for (int i = 0; rc == OSMO_ECONFLICT && i < CONFLICTS_MAX; i++)
        rc = replace_once(k, &t, kept ? map : json, kept ? strlen(map) : len, err);
    return rc == OSMO_ECONFLICT ? osmo_error_set(err, OSMO_EBUSY, "%s %s is changed by others all the time", h.kind, h.name) : rc;
}

int kubernetes_erase(void *impl, const char *api_version, const char *kind, const char *name, osmo_error_t *err) {
    static const osmo_kube_delete_t how = { .size = sizeof how, .grace_s = -1, .propagation = "Background" };
    struct kubernetes *k = impl;
    char kept[KEPT_NAME_MAX];
    osmo_kube_target_t t;
    if (!name || !*name || str_eq(kind, "Pod"))
        return osmo_error_set(err, OSMO_EINVAL, "a kind, other than Pod, and a name are needed");
    if (is_kept(k, api_version, kind) && kept_name(kind, name, kept)) {
        t = kept_target(k);
        t.name = kept;
        return osmo_kube_remove(k->client, &t, &how, err);
    }
    int rc = kubernetes_target(k, api_version, kind, &t, err);
    if (rc < 0 || (rc = kubernetes_stay_inside(&t, err)) < 0)
        return rc;
    t.name = name;
    return osmo_kube_remove(k->client, &t, &how, err);
}
