/* Public face of the operator: options in, driver and threads up, the loop, and everything down again in reverse order. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "base/str.h"
#include "operator/internal.h"

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

static int check_options(const osmo_operator_options_t *o, osmo_error_t *err) {
    if (!o->service_url || !o->backend || !*o->backend || !o->driver || !o->state_dir)
        return osmo_error_set(err, OSMO_EINVAL, "service URL, backend name, cluster driver and state directory are needed");
    if (strlen(o->backend) > 200 || strpbrk(o->backend, "\r\n/"))
        return osmo_error_set(err, OSMO_EINVAL, "backend name must be at most 200 characters without '/' and line ends");
    if (o->user && strpbrk(o->user, "\r\n"))
        return osmo_error_set(err, OSMO_EINVAL, "user name must not have line ends");
    if (!osmo_cluster_driver_find(o->driver))
        return osmo_error_set(err, OSMO_EINVAL, "there is no cluster driver \"%s\": use local or scripted", o->driver);
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
    if (!op->backend || !op->namespace_ || !op->user || (o->token_file && !op->token_file))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return OSMO_OK;
}

/* Two operators on one directory would both own its pods. */
static int lock_state(struct osmo_operator *op, const char *dir, osmo_error_t *err) {
    int rc = dir_make(dir, 0700, err);
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

static int make_trackers(struct osmo_operator *op, osmo_error_t *err) {
    struct pods_out out = { .ctx = op, .emit = emit_pod, .cleaning = is_cleaning };
    op->nodes = nodes_new(op->namespace_, emit_node, op, &op->log);
    op->pods = pods_new(op->backend, op->namespace_, &out, &op->log);
    op->events = events_new(op->namespace_);
    if (!op->nodes || !op->pods || !op->events || session_open_all(op) < 0 || changes_open(op) < 0 ||
        snapshot_open(op) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return OSMO_OK;
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
    if (rc < 0)
        return rc;
    osmo_cluster_options_t co = { .size = sizeof co, .name = op->backend, .namespace_ = op->namespace_, .state_dir = o->state_dir,
                                  .settings = o->settings };
    osmo_cluster_sink_t sink = changes_sink(op);
    rc = op->driver->open(&co, &sink, &op->impl, err);
    if (rc < 0) {
        op->impl = NULL;
        return rc;
    }
    rc = worker_open(op, err);
    return rc < 0 ? rc : login_open(op, err);
}

int osmo_operator_open(const osmo_operator_options_t *options, osmo_operator_t **out, osmo_error_t *err) {
    int rc = check_options(options, err);
    if (rc < 0)
        return rc;
    struct osmo_operator *op = calloc(1, sizeof *op);
    if (!op)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    op->lock_fd = -1;
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

int osmo_operator_run(osmo_operator_t *op, osmo_error_t *err) {
    /* The whole list before the first connection, so that node_hash is about all nodes. */
    if (op->driver->list)
        op->driver->list(op->impl, "v1", "Node", "", take_node, op, NULL);
    op->loop_runs = true;
    changes_process(op);
    session_start_all(op);
    int rc = ws_loop_run(op->loop);
    op->stopping = true;
    op->loop_runs = false;
    return rc < 0 ? osmo_error_set(err, rc, "the event loop failed: %s", osmo_error_name(rc)) : OSMO_OK;
}

void osmo_operator_stop(osmo_operator_t *op) { ws_loop_stop(op->loop); }

void osmo_operator_free(osmo_operator_t *op) {
    if (!op)
        return;
    op->stopping = true;
    if (op->changes.opened)
        changes_close(op); /* a driver that waits for room must be able to close */
    if (op->impl && op->driver->stop)
        op->driver->stop(op->impl);
    worker_close(op);
    snapshot_close(op);
    login_close(op);
    if (op->impl)
        op->driver->close(op->impl);
    ws_loop_free(op->loop);
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
    free(op->user);
    free(op);
}
