/* The driver `kubernetes`: pods run on a cluster whose API server is spoken to (kube.h). It opens the watches and gives what they
 * tell to the sink; what callers ask is in objects.c and removal.c. Finalizers that would keep pods are looked after in
 * finalizers.c, and where KAI is not installed gang.c places groups.
 *
 * Pods are watched three times, so that none is told twice: those of workflows in the namespace, all others of other namespaces,
 * all others of the namespace. Of the others, which only take up room, those that have ended are left out by the server. */
#include "cluster/kubernetes/kubernetes.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "cluster/kubernetes/kept.h"
#include "cluster/kubernetes/kubernetes_int.h"
#include "cluster/kubernetes/meta.h"

#define SELECT_OURS "osmo.task_uuid,osmo.workflow_uuid"
#define SELECT_NOT_OURS "!osmo.task_uuid"
#define NOT_ENDED "status.phase!=Succeeded,status.phase!=Failed"
#define PODGROUP_VERSION "scheduling.run.ai/v2alpha2"
#define PLACES_OURSELVES "groups are placed by osmo-backend"
#define CONNECTIONS (KUBERNETES_WIDTH + 8)

/* ---- settings ---- */

enum scheduler { SCHEDULER_AUTO, SCHEDULER_KAI, SCHEDULER_OSMO };

struct settings {
    osmo_kube_options_t kube;
    int64_t page_size, finalizer_patience_ms, gang_patience_ms;
    bool cluster_usage;
    enum scheduler scheduler;
};

static int read_number(const char *key, const char *value, int64_t max, int64_t *out, osmo_error_t *err) {
    if (str_to_i64(value, out) && *out >= 0 && *out <= max)
        return 0;
    return osmo_error_set(err, OSMO_EINVAL, "%s must be a whole number from 0 to %lld, not \"%s\"", key, (long long)max, value);
}

static int read_qps(const char *value, double *out, osmo_error_t *err) {
    char *end;
    *out = strtod(value, &end);
    return *value && !*end && *out >= 0 && *out <= 1e6 ? 0 : osmo_error_set(err, OSMO_EINVAL, "qps must be a number, not \"%s\"", value);
}

static int read_choice(const char *key, const char *value, const char *const *choices, int *out, osmo_error_t *err) {
    for (*out = 0; choices[*out]; ++*out)
        if (str_eq(choices[*out], value))
            return 0;
    return osmo_error_set(err, OSMO_EINVAL, "%s must be %s or %s, not \"%s\"", key, choices[0], choices[1], value);
}

static int read_setting(struct settings *s, const char *setting, osmo_error_t *err) {
    static const char *const usages[] = { "namespace", "cluster", NULL }, *const schedulers[] = { "auto", "kai", "osmo", NULL };
    char key[32];
    size_t n = strcspn(setting, "=");
    const char *value = setting[n] ? setting + n + 1 : "";
    int64_t number = 0;
    int choice = 0, rc = 0;
    snprintf(key, sizeof key, "%.*s", (int)n, setting);
    if (str_eq(key, "kubeconfig"))
        s->kube.kubeconfig = *value ? value : NULL;
    else if (str_eq(key, "context"))
        s->kube.context = *value ? value : NULL;
    else if (str_eq(key, "service-host"))
        s->kube.service_host = value;
    else if (str_eq(key, "service-port"))
        s->kube.service_port = value;
    else if (str_eq(key, "service-account-dir"))
        s->kube.service_account_dir = value;
    else if (str_eq(key, "qps"))
        rc = read_qps(value, &s->kube.qps, err);
    else if (str_eq(key, "burst") && (rc = read_number(key, value, 1000000, &number, err)) == 0)
        s->kube.burst = (int)number;
    else if (str_eq(key, "page-size"))
        rc = read_number(key, value, 100000, &s->page_size, err);
    else if (str_eq(key, "finalizer-patience-ms"))
        rc = read_number(key, value, 86400000, &s->finalizer_patience_ms, err);
    else if (str_eq(key, "gang-patience-ms"))
        rc = read_number(key, value, 86400000, &s->gang_patience_ms, err);
    else if (str_eq(key, "usage") && (rc = read_choice(key, value, usages, &choice, err)) == 0)
        s->cluster_usage = choice == 1;
    else if (str_eq(key, "scheduler") && (rc = read_choice(key, value, schedulers, &choice, err)) == 0)
        s->scheduler = (enum scheduler)choice;
    else if (rc == 0 && !str_eq(key, "burst") && !str_eq(key, "usage") && !str_eq(key, "scheduler") && !str_eq(key, "include-namespace") &&
             !str_eq(key, "test-namespace")) /* these two are the operator's */
        rc = osmo_error_set(err, OSMO_EINVAL, "a kubernetes cluster has no setting \"%s\"", key);
    return rc;
}

/* ---- watches ---- */

static void on_log(void *ctx, int level, const char *text) {
    struct kubernetes *k = ctx;
    if (k->sink.log)
        k->sink.log(k->sink.ctx, level, text);
}

static void on_change(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct watch *w = ctx;
    struct kubernetes *k = w->k;
    const osmo_cluster_sink_t *s = &k->sink;
    if (w->id == WATCH_PODS)
        finalizers_see(k->finalizers, change, json, len);
    if (k->gang && w->id == WATCH_NODES)
        gang_node(k->gang, change, json, len);
    else if (k->gang && w->id == WATCH_KEPT)
        gang_kept(k->gang, change, json, len);
    else if (k->gang && w->id != WATCH_EVENTS)
        gang_pod(k->gang, change, json, len);
    if (w->id == WATCH_NODES && s->node)
        s->node(s->ctx, change, json, len);
    else if (w->id == WATCH_EVENTS && s->event)
        s->event(s->ctx, json, len);
    else if (w->id <= WATCH_UNLABELED && s->pod)
        s->pod(s->ctx, change, json, len);
}

static void on_synced(void *ctx) {
    static const enum gang_source sources[WATCHES] = { [WATCH_PODS] = GANG_PODS, [WATCH_FOREIGN] = GANG_FOREIGN, [WATCH_NODES] = GANG_NODES,
                                                       [WATCH_UNLABELED] = GANG_UNLABELED, [WATCH_KEPT] = GANG_KEPT };
    struct watch *w = ctx;
    if (w->k->gang && sources[w->id])
        gang_synced(w->k->gang, sources[w->id]);
    if (w->id == WATCH_NODES && w->k->sink.nodes_told)
        w->k->sink.nodes_told(w->k->sink.ctx);
}

static void set_trouble(struct kubernetes *k, char to[TROUBLE_MAX], const char *trouble) {
    pthread_mutex_lock(&k->lock);
    bool differs = !str_eq(to, trouble ? trouble : "");
    snprintf(to, TROUBLE_MAX, "%s", trouble ? trouble : "");
    pthread_mutex_unlock(&k->lock);
    if (differs && k->sink.state)
        k->sink.state(k->sink.ctx);
}

static void on_state(void *ctx, const char *trouble) {
    struct watch *w = ctx;
    set_trouble(w->k, w->trouble, trouble);
}

static void on_gang_state(void *ctx, const char *trouble) {
    struct kubernetes *k = ctx;
    set_trouble(k, k->gang_trouble, trouble);
}

static int start_watch(struct kubernetes *k, enum watch_id id, const char *kind, const char *labels, const char *fields, bool everywhere,
                       osmo_error_t *err) {
    struct watch *w = &k->watches[id];
    const struct reflector_options o = {
        .what = { .size = sizeof o.what, .api_version = "v1", .kind = kind, .namespace_ = everywhere ? NULL : k->namespace_,
                  .label_selector = labels, .field_selector = fields },
        .page_size = k->page_size, .from_now = id == WATCH_EVENTS, .log = &k->log, .ctx = w, .change = on_change, .synced = on_synced,
        .state = on_state };
    w->k = k;
    w->id = id;
    return reflector_start(k->client, &o, &w->reflector, err);
}

static int start_watches(struct kubernetes *k, osmo_error_t *err) {
    _cleanup_free_ char *elsewhere = str_printf("metadata.namespace!=%s,%s", k->namespace_, NOT_ENDED);
    if (!elsewhere)
        return no_memory(err);
    int rc = start_watch(k, WATCH_NODES, "Node", NULL, NULL, true, err);
    if (rc == 0)
        rc = start_watch(k, WATCH_PODS, "Pod", SELECT_OURS, NULL, false, err);
    if (rc == 0)
        rc = start_watch(k, WATCH_EVENTS, "Event", NULL, NULL, false, err);
    if (rc == 0 && k->gang)
        rc = start_watch(k, WATCH_KEPT, "ConfigMap", KEPT_LABEL, NULL, false, err);
    if (rc == 0 && k->cluster_usage)
        rc = start_watch(k, WATCH_FOREIGN, "Pod", NULL, elsewhere, true, err);
    if (rc == 0 && k->cluster_usage)
        rc = start_watch(k, WATCH_UNLABELED, "Pod", SELECT_NOT_OURS, NOT_ENDED, false, err);
    return rc;
}

/* ---- opening ---- */

static void kubernetes_stop(void *impl) { osmo_kube_stop(((struct kubernetes *)impl)->client); }

static void kubernetes_close(void *impl) {
    struct kubernetes *k = impl;
    if (!k)
        return;
    if (k->client)
        osmo_kube_stop(k->client);
    for (size_t i = 0; i < WATCHES; i++)
        reflector_stop(k->watches[i].reflector);
    finalizers_stop(k->finalizers);
    gang_stop(k->gang);
    crew_free(k->crew);
    osmo_kube_free(k->client);
    free(k->namespace_);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static int read_uid(struct kubernetes *k, osmo_error_t *err) {
    const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "Namespace", .name = "kube-system" };
    _cleanup_free_ char *json = NULL;
    struct meta m;
    size_t len = 0;
    int rc = osmo_kube_get(k->client, &t, &json, &len, err);
    if (rc == OSMO_EDENIED)
        return osmo_error_set(err, rc, "the identity of the cluster cannot be read: "
                                       "give the operator's account a ClusterRole with the verb get "
                                       "for namespaces");
    if (rc < 0)
        return osmo_error_prefix(err, "cluster %s", osmo_kube_get_server(k->client));
    if (!meta_read(json, len, false, &m) || !m.uid.len || m.uid.len >= sizeof k->uid)
        return osmo_error_set(err, OSMO_EIO, "cluster %s: namespace kube-system has no uid", osmo_kube_get_server(k->client));
    json_slice_copy(&m.uid, k->uid, sizeof k->uid);
    return 0;
}

static int note_one(void *ctx, const char *json, size_t len) {
    (void)json, (void)len;
    *(bool *)ctx = true;
    return 1;
}

/* Those who may not look have none. */
static bool has_kept_groups(struct kubernetes *k) {
    const osmo_kube_target_t t = { .size = sizeof t, .api_version = "v1", .kind = "ConfigMap", .namespace_ = k->namespace_,
                                   .label_selector = KEPT_LABEL "=PodGroup" };
    char version[OSMO_KUBE_VERSION_MAX] = "";
    bool any = false;
    osmo_kube_list(k->client, &t, 1, version, note_one, &any, NULL);
    return any;
}

/* Looked at once: pods that wait for one scheduler are not the other's. */
static int choose_scheduler(struct kubernetes *k, const struct settings *s, osmo_error_t *err) {
    struct gang_options o = { .client = k->client, .namespace_ = k->namespace_, .foreign = k->cluster_usage,
                              .patience_ms = s->gang_patience_ms, .log = &k->log, .ctx = k, .state = on_gang_state };
    osmo_kube_resource_t kai;
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = s->scheduler == SCHEDULER_OSMO ? OSMO_ENOTFOUND : osmo_kube_discover(k->client, PODGROUP_VERSION, "PodGroup", &kai, &why);
    if (rc == OSMO_ENOTFOUND && s->scheduler == SCHEDULER_KAI)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the KAI scheduler is not installed in the cluster "
                                                  "(there is no PodGroup of %s): install it, "
                                                  "or set scheduler=osmo", PODGROUP_VERSION);
    if (rc != OSMO_ENOTFOUND && rc < 0)
        return osmo_error_set(err, rc, "%s", why.text);
    if (rc == 0 && (s->scheduler == SCHEDULER_KAI || !has_kept_groups(k)))
        return 0;
    o.alone = rc == OSMO_ENOTFOUND && s->scheduler != SCHEDULER_OSMO;
    snprintf(k->mode, sizeof k->mode, "%s: %s%s", PLACES_OURSELVES,
             rc == 0 ? "there are some that were made before the KAI scheduler was installed; restart it when they have ended"
             : o.alone ? "the KAI scheduler is not installed" : "scheduler=osmo is set",
             k->cluster_usage ? "" : "; it does not see what others use, because usage=namespace is set");
    return gang_start(&o, &k->gang, err);
}

static int prepare(struct kubernetes *k, const osmo_cluster_options_t *o, osmo_error_t *err) {
    struct settings s = { .kube = { .size = sizeof s.kube, .max_connections = CONNECTIONS, .log = on_log, .log_ctx = k },
                          .cluster_usage = true };
    int rc = 0;
    for (const char *const *text = o->settings; rc == 0 && text && *text; text++)
        rc = read_setting(&s, *text, err);
    s.kube.environment = o->environment;
    if (rc == 0)
        rc = osmo_kube_open(&s.kube, &k->client, err);
    if (rc < 0)
        return rc;
    k->page_size = (int)s.page_size;
    k->cluster_usage = s.cluster_usage;
    const char *namespace_ = o->namespace_ && *o->namespace_ ? o->namespace_ : osmo_kube_get_namespace(k->client);
    k->namespace_ = str_dup(namespace_ ? namespace_ : "default");
    k->crew = crew_new(KUBERNETES_WIDTH - 1);
    if (!k->namespace_ || !k->crew)
        return no_memory(err);
    rc = read_uid(k, err);
    if (rc == 0)
        rc = choose_scheduler(k, &s, err);
    if (rc == 0)
        rc = finalizers_start(k->client, k->namespace_, s.finalizer_patience_ms, &k->log, &k->finalizers, err);
    return rc < 0 ? rc : start_watches(k, err);
}

static int kubernetes_open(const osmo_cluster_options_t *o, const osmo_cluster_sink_t *sink, void **impl, osmo_error_t *err) {
    struct kubernetes *k = calloc(1, sizeof *k);
    if (!k)
        return no_memory(err);
    memcpy(&k->sink, sink, sink->size < sizeof k->sink ? sink->size : sizeof k->sink);
    k->log = (logger_t){ .fn = on_log, .ctx = k, .level = LOG_LEVEL_DEBUG };
    pthread_mutex_init(&k->lock, NULL);
    int rc = prepare(k, o, err);
    if (rc < 0)
        kubernetes_close(k);
    else
        *impl = k;
    return rc;
}

static const char *kubernetes_uid(void *impl) { return ((struct kubernetes *)impl)->uid; }

static int kubernetes_width(void *impl) {
    (void)impl;
    return KUBERNETES_WIDTH;
}

static int kubernetes_describe(void *impl, char *out, size_t cap) {
    struct kubernetes *k = impl;
    size_t n = (size_t)snprintf(out, cap, "%s", k->mode);
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < WATCHES && n < cap; i++)
        if (*k->watches[i].trouble)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? "; " : "", k->watches[i].trouble);
    if (*k->gang_trouble && n < cap)
        snprintf(out + n, cap - n, "%s%s", n ? "; " : "", k->gang_trouble);
    pthread_mutex_unlock(&k->lock);
    return 0;
}

const osmo_cluster_driver_t kubernetes_cluster_driver = {
    .size = sizeof(osmo_cluster_driver_t), .name = "kubernetes", .open = kubernetes_open, .uid = kubernetes_uid,
    .create = kubernetes_create, .remove = kubernetes_remove, .list = kubernetes_list, .logs = kubernetes_logs, .patch = kubernetes_patch,
    .close = kubernetes_close, .replace = kubernetes_replace, .erase = kubernetes_erase, .width = kubernetes_width,
    .describe = kubernetes_describe, .stop = kubernetes_stop,
};
