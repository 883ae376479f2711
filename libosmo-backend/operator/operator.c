/* Public face of the operator: options in, driver and threads up, the loop, and everything down again in reverse order. With a lease there
 * is a wait before the driver is opened, and what is done ends when the lease does. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/http.h"
#include "base/str.h"
#include "operator/internal.h"
#include "osmo/version.h"

#define CONDITION_PREFIX "osmo.nvidia.com/"
#define LEASE_REQUEST_MS 3000 /* a lease of 15 s is given up after 10 s without an answer, and this */

/* ---- messages of the trackers into the sockets ---- */

static void emit_node(void *ctx, enum message_type type, const char *key, json_t *body) {
    struct osmo_operator *op = ctx;
    const char *host = type == MSG_DELETE_RESOURCE ? json_get_str(body, "resource") : NULL;
    static const char *const kinds[] = {"resource", "usage"};
    for (size_t i = 0; host && i < ARRAY_SIZE(kinds); i++) {
        /* What waits about a node that is gone must not be replaced later by news that belong behind its removal. */
        _cleanup_free_ char *stale = str_printf("%s:%s", kinds[i], host);
        if (stale)
            outbox_purge(op->sessions[STREAM_NODE].out, stale);
    }
    session_queue(op, STREAM_NODE, type, key, body);
}

static bool emit_pod(void *ctx, enum message_type type, json_t *body) {
    return session_queue(ctx, type == MSG_POD_CONDITIONS ? STREAM_EVENT : STREAM_POD, type, NULL, body) == 0;
}

/* ---- what the driver tells, counted ---- */

static void count_pod(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct osmo_operator *op = ctx;
    metrics_count(&op->metrics, METRIC_WATCHED, "pod");
    op->sink.pod(op, change, json, len);
}

static void count_node(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct osmo_operator *op = ctx;
    metrics_count(&op->metrics, METRIC_WATCHED, "node");
    op->sink.node(op, change, json, len);
}

static void count_event(void *ctx, const char *json, size_t len) {
    struct osmo_operator *op = ctx;
    metrics_count(&op->metrics, METRIC_WATCHED, "event");
    op->sink.event(op, json, len);
}

static void note_state(void *ctx) {
    struct osmo_operator *op = ctx;
    ws_loop_wake(op->loop, session_status_changed, op);
}

static osmo_cluster_sink_t make_sink(struct osmo_operator *op) {
    op->sink = changes_sink(op);
    return (osmo_cluster_sink_t){ .size = sizeof(osmo_cluster_sink_t), .ctx = op, .pod = count_pod, .node = count_node,
                                  .event = count_event, .log = op->sink.log, .state = note_state,
                                  .nodes_told = op->sink.nodes_told };
}

void operator_describe(struct osmo_operator *op, char out[HEALTH_TEXT_MAX]) {
    *out = '\0';
    if (op->impl && op->driver->describe && op->driver->describe(op->impl, out, HEALTH_TEXT_MAX) < 0)
        *out = '\0';
}

static bool is_cleaning(void *ctx, const json_t *labels) { return worker_is_cleaning(ctx, labels); }

/* ---- open ---- */

static int make_url(const char *text, char **out, osmo_error_t *err) {
    url_parts_t u;
    int rc = url_parse(text, &u, err);
    if (rc < 0)
        return rc;
    if (strcmp(u.scheme, "http") != 0 && strcmp(u.scheme, "https") != 0)
        return osmo_error_set(err, OSMO_EINVAL, "service URL %s: write http://HOST:PORT or https://HOST:PORT", text);
    bool v6 = strchr(u.host, ':') && u.host[0] != '[';
    *out = str_printf("%s://%s%s%s:%d", u.scheme, v6 ? "[" : "", u.host, v6 ? "]" : "", u.port);
    return *out ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

/* The one whose state is all in its cluster. */
static bool is_kubernetes(const osmo_operator_options_t *o) { return strcmp(o->driver, "kubernetes") == 0; }

static int check_options(const osmo_operator_options_t *o, osmo_error_t *err) {
    if (!o->service_url || !o->backend || !*o->backend || !o->driver || (!o->state_dir && !is_kubernetes(o)))
        return osmo_error_set(err, OSMO_EINVAL, "service URL, backend name, cluster driver and state directory are needed");
    if (strlen(o->backend) > 200 || strpbrk(o->backend, "\r\n/"))
        return osmo_error_set(err, OSMO_EINVAL, "backend name must be at most 200 characters without '/' and line ends");
    if (o->user && strpbrk(o->user, "\r\n"))
        return osmo_error_set(err, OSMO_EINVAL, "user name must not have line ends");
    if (!osmo_cluster_driver_find(o->driver))
        return osmo_error_set(err, OSMO_EINVAL, "there is no cluster driver \"%s\": use local, kubernetes or scripted", o->driver);
    if (o->lease && (!o->identity || !*o->identity || strlen(o->identity) > 200))
        return osmo_error_set(err, OSMO_EINVAL, "a lease needs an identity of this replica of at most 200 characters");
    if (o->lease && !is_kubernetes(o))
        return osmo_error_set(err, OSMO_EINVAL, "a lease needs a cluster that has them: leave it out with %s", o->driver);
    return OSMO_OK;
}

static int copy_options(struct osmo_operator *op, const osmo_operator_options_t *o, osmo_error_t *err) {
    int rc = make_url(o->service_url, &op->url, err);
    if (rc < 0)
        return rc;
    op->driver = osmo_cluster_driver_find(o->driver);
    op->log = (logger_t){ .fn = o->log, .ctx = o->log_ctx, .level = o->log_level ? o->log_level : LOG_LEVEL_INFO };
    op->backend = str_dup(o->backend);
    op->namespace_ = str_dup(o->namespace_ ? o->namespace_ : "default");
    op->token_file = str_dup(o->token_file);
    op->user = str_dup(o->user ? o->user : "osmo-backend");
    op->state_dir = str_dup(o->state_dir);
    op->condition_prefix = str_dup(o->node_condition_prefix ? o->node_condition_prefix : CONDITION_PREFIX);
    op->own_images = !is_kubernetes(o);
    op->label_nodes = o->label_nodes != 0;
    op->environment = o->environment;
    op->token = str_dup(o->token_file ? NULL : o->token);
    for (size_t i = 0; o->settings && o->settings[i]; i++)
        if (strlist_add(&op->settings, o->settings[i]) < 0)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    op->settings_list = calloc(op->settings.len + 1, sizeof *op->settings_list);
    if (!op->backend || !op->namespace_ || !op->user || (o->token_file && !op->token_file) ||
        (!o->token_file && o->token && !op->token) || (o->state_dir && !op->state_dir) ||
        !op->condition_prefix || !op->settings_list)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < op->settings.len; i++)
        op->settings_list[i] = op->settings.items[i];
    return OSMO_OK;
}

/* ---- clients beside the driver's ---- */

static const char *setting(const struct osmo_operator *op, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < op->settings.len; i++)
        if (strncmp(op->settings.items[i], name, len) == 0 && op->settings.items[i][len] == '=')
            return op->settings.items[i] + len + 1;
    return NULL;
}

static void on_client_log(void *ctx, int level, const char *text) {
    const struct osmo_operator *op = ctx;
    log_write(&op->log, level, "%s", text);
}

static int open_client(struct osmo_operator *op, bool patient, osmo_kube_t **out, osmo_error_t *err) {
    osmo_kube_options_t o = { .size = sizeof o, .kubeconfig = setting(op, "kubeconfig"), .context = setting(op, "context"),
                              .service_host = setting(op, "service-host"), .service_port = setting(op, "service-port"),
                              .service_account_dir = setting(op, "service-account-dir"),
                              .timeout_ms = patient ? 0 : LEASE_REQUEST_MS, .retry_ms = patient ? 0 : -1, .max_connections = 2,
                              .log = on_client_log, .log_ctx = op, .environment = op->environment,
                              .idle_ms = patient ? 0 : LEASE_REQUEST_MS };
    return osmo_kube_open(&o, out, err);
}

/* Work ends before the lease does: the driver's calls return, and so does the loop. */
static void on_lost(void *ctx) {
    struct osmo_operator *op = ctx;
    pthread_mutex_lock(&op->term_lock);
    op->lost = true;
    if (op->in_term) {
        if (op->driver->stop)
            op->driver->stop(op->impl);
        ws_loop_stop(op->loop);
    }
    pthread_mutex_unlock(&op->term_lock);
}

/* Whether a lost lease has anything to stop. False when it is lost already. */
static bool set_term(struct osmo_operator *op, bool on) {
    pthread_mutex_lock(&op->term_lock);
    op->in_term = on;
    bool lost = op->lost;
    pthread_mutex_unlock(&op->term_lock);
    return !lost;
}

bool operator_may_act(struct osmo_operator *op) { return !op->lease || lease_is_held(op->lease); }

static int open_lease(struct osmo_operator *op, const osmo_operator_options_t *o, osmo_error_t *err) {
    osmo_kube_t *k = NULL;
    int rc = open_client(op, false, &k, err);
    if (rc < 0)
        return rc;
    const char *ns = o->agent_namespace ? o->agent_namespace : osmo_kube_get_namespace(k);
    struct lease_options lo = { .name = o->lease, .namespace_ = ns ? ns : op->namespace_, .identity = o->identity, .log = &op->log,
                                .ctx = op, .lost = on_lost };
    return lease_open(k, &lo, &op->lease, err);
}

static int open_tests(struct osmo_operator *op, const osmo_operator_options_t *o, osmo_error_t *err) {
    op->tests.backend = op->backend;
    op->tests.namespace_ = op->test_namespace = str_dup(o->test_namespace ? o->test_namespace : "osmo-test");
    op->tests.template_ = op->test_template = str_dup(o->test_template);
    op->tests.image = op->test_image = o->test_image ? str_dup(o->test_image) : str_printf("osmo/backend:%s", osmo_version());
    if (!op->test_namespace || !op->test_image || (o->test_template && !op->test_template))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return open_client(op, true, &op->tests.kube, err);
}

/* Two operators on one directory would both own its pods. */
static int lock_state(struct osmo_operator *op, const char *dir, osmo_error_t *err) {
    int rc = dir ? dir_make(dir, 0700, err) : OSMO_OK;
    if (!dir)
        return rc;
    if (rc < 0)
        return rc;
    _cleanup_free_ char *path = str_printf("%s/operator.lock", dir);
    op->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (op->lock_fd < 0)
        return osmo_error_set(err, OSMO_EIO, "state directory %s cannot be written (%s): choose another one", dir, strerror(errno));
    if (flock(op->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return OSMO_OK;
    return osmo_error_set(err, OSMO_EBUSY, "state directory %s is in use by another osmo-backend: stop that one or choose another "
                          "directory", dir);
}

static int include_namespaces(struct osmo_operator *op) {
    int rc = OSMO_OK;
    for (size_t i = 0; rc == 0 && i < op->settings.len; i++)
        if (str_starts(op->settings.items[i], "include-namespace="))
            rc = nodes_include_namespace(op->nodes, strchr(op->settings.items[i], '=') + 1);
    return rc;
}

static int make_trackers(struct osmo_operator *op, osmo_error_t *err) {
    struct pods_out out = { .ctx = op, .emit = emit_pod, .cleaning = is_cleaning };
    op->nodes = nodes_new(op->namespace_, emit_node, op, &op->log);
    op->pods = pods_new(op->backend, op->namespace_, &out, &op->log);
    op->events = events_new(op->namespace_);
    if (!op->nodes || !op->pods || !op->events || include_namespaces(op) < 0 || session_open_all(op) < 0 || changes_open(op) < 0 ||
        snapshot_open(op) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return OSMO_OK;
}

static int open_labels(struct osmo_operator *op, osmo_error_t *err) {
    if (!op->driver->patch)
        return osmo_error_set(err, OSMO_EINVAL, "the nodes of a %s cluster cannot be labelled", op->driver->name);
    op->labels = labels_new(op->driver, op->impl, &op->log);
    if (!op->labels || nodes_label_with(op->nodes, op->condition_prefix, labels_set, op->labels) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "no memory or threads for labels of nodes");
    return OSMO_OK;
}

static int open_cluster(struct osmo_operator *op, osmo_error_t *err) {
    osmo_cluster_options_t co = { .size = sizeof co, .name = op->backend, .namespace_ = op->namespace_, .state_dir = op->state_dir,
                                  .settings = op->settings_list, .environment = op->environment };
    osmo_cluster_sink_t sink = make_sink(op);
    int rc = op->driver->open(&co, &sink, &op->impl, err);
    if (rc < 0) {
        op->impl = NULL;
        return rc;
    }
    rc = op->label_nodes ? open_labels(op, err) : OSMO_OK;
    if (rc == 0)
        rc = worker_open(op, err);
    return rc < 0 ? rc : login_open(op, err);
}

static int open_parts(struct osmo_operator *op, const osmo_operator_options_t *o, osmo_error_t *err) {
    int rc = copy_options(op, o, err);
    if (rc == 0 && (o->ca_file || o->ca_dir) && (rc = http_trust(o->ca_file, o->ca_dir)) < 0)
        osmo_error_set(err, rc, "out of memory");
    if (rc == 0)
        rc = lock_state(op, o->state_dir, err);
    if (rc == 0)
        rc = make_trackers(op, err);
    if (rc == 0)
        rc = ws_loop_new(&op->loop, err);
    if (rc == 0 && is_kubernetes(o))
        rc = open_tests(op, o, err);
    if (rc == 0 && o->lease)
        rc = open_lease(op, o, err);
    if (rc == 0)
        rc = health_open(op, o->health_listen, err);
    return rc < 0 || o->lease ? rc : open_cluster(op, err);
}

int osmo_operator_open(const osmo_operator_options_t *options, osmo_operator_t **out, osmo_error_t *err) {
    int rc = check_options(options, err);
    if (rc < 0)
        return rc;
    struct osmo_operator *op = calloc(1, sizeof *op);
    if (!op)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    op->lock_fd = -1;
    pthread_mutex_init(&op->term_lock, NULL);
    metrics_open(&op->metrics);
    rc = open_parts(op, options, err);
    if (rc < 0) {
        osmo_operator_free(op);
        return rc;
    }
    *out = op;
    return OSMO_OK;
}

/* ---- run ---- */

static int take_node(void *ctx, const char *json, size_t len) {
    changes_apply_node(ctx, json, len);
    return 0;
}

/* A list that breaks off is made up for by that of the driver's watch. */
static void list_nodes(struct osmo_operator *op) {
    osmo_error_t why = OSMO_ERROR_INIT;
    if (!op->driver->list)
        return;
    nodes_begin(op->nodes);
    if (op->driver->list(op->impl, "v1", "Node", "", take_node, op, &why) >= 0)
        nodes_are_all(op->nodes);
    else
        log_warning(&op->log, "the nodes cannot be listed, the watch of them has to tell: %s", why.text);
}

/* 0 = go on, 1 = stopped before. */
static int begin_term(struct osmo_operator *op, osmo_error_t *err) {
    if (!op->lease)
        return OSMO_OK;
    int rc = lease_wait(op->lease);
    if (rc == OSMO_ECONFLICT)
        return 1;
    if (rc == 0)
        rc = open_cluster(op, err);
    if (rc == 0 && !set_term(op, true))
        rc = OSMO_EGONE;
    return rc;
}

static int lost_lease(const struct osmo_operator *op, osmo_error_t *err) {
    char text[HEALTH_TEXT_MAX];
    lease_describe(op->lease, text, sizeof text);
    return osmo_error_set(err, OSMO_EGONE, "this replica %s", text);
}

int osmo_operator_run(osmo_operator_t *op, osmo_error_t *err) {
    int rc = begin_term(op, err);
    if (rc != 0)
        return rc == OSMO_EGONE ? lost_lease(op, err) : rc < 0 ? rc : OSMO_OK;
    /* The whole list before the first connection, so that node_hash is about all nodes. */
    list_nodes(op);
    operator_describe(op, op->mode);
    op->loop_runs = true;
    changes_process(op);
    session_start_all(op);
    health_running(op, true);
    rc = ws_loop_run(op->loop);
    health_running(op, false);
    op->stopping = true;
    op->loop_runs = false;
    if (rc < 0)
        return osmo_error_set(err, rc, "the event loop failed: %s", osmo_error_name(rc));
    return set_term(op, false) ? OSMO_OK : lost_lease(op, err);
}

void osmo_operator_stop(osmo_operator_t *op) {
    if (op->lease)
        lease_interrupt(op->lease);
    ws_loop_stop(op->loop);
}

void osmo_operator_free(osmo_operator_t *op) {
    if (!op)
        return;
    op->stopping = true;
    set_term(op, false);
    health_close(op);
    if (op->tests.kube)
        osmo_kube_stop(op->tests.kube);
    if (op->changes.opened)
        changes_close(op); /* a driver that waits for room must be able to close */
    if (op->impl && op->driver->stop)
        op->driver->stop(op->impl);
    worker_close(op);
    labels_free(op->labels);
    snapshot_close(op);
    login_close(op);
    if (op->impl)
        op->driver->close(op->impl);
    ws_loop_free(op->loop);
    lease_close(op->lease); /* now another replica may begin */
    osmo_kube_free(op->tests.kube);
    session_free_all(op);
    nodes_free(op->nodes);
    pods_free(op->pods);
    events_free(op->events);
    if (op->changes.opened)
        changes_free(op);
    if (op->lock_fd >= 0)
        close(op->lock_fd);
    free(op->url);
    free(op->backend);
    free(op->namespace_);
    free(op->token_file);
    if (op->token)
        crypto_wipe(op->token, strlen(op->token));
    free(op->token);
    free(op->user);
    free(op->state_dir);
    free(op->condition_prefix);
    free(op->test_namespace);
    free(op->test_template);
    free(op->test_image);
    free(op->settings_list);
    strlist_free(&op->settings);
    metrics_close(&op->metrics);
    pthread_mutex_destroy(&op->term_lock);
    free(op);
}
