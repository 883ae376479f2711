/* The life of a server: open (bind), start, stop. Public functions of osmo/server.h. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/cond.h"
#include "server/net_carry.h"

#define DEFAULT_WORKERS 64
#define MAX_WORKERS 256
#define DEFAULT_QUEUE 4096
#define EXPIRY_WARNING_S (14 * 86400)

static int transport_send(void *impl, uint64_t conn, const void *data, size_t len, int binary) {
    return ws_send_to(impl, conn, data, len, binary != 0);
}

static void transport_close(void *impl, uint64_t conn, int code, const char *reason) { ws_close_to(impl, conn, code, reason); }

static int transport_join(void *impl, uint64_t a, uint64_t b) { return ws_join(impl, a, b); }

static int transport_traffic(void *impl, uint64_t conn, osmo_traffic_t *out) { return ws_traffic(impl, conn, out); }

static void transport_wake(void *impl, uint64_t request) { http_stream_wake(impl, request); }

/* "ADDR:PORT" or "[V6]:PORT" */
static int split_listen(const char *listen_text, char *host, size_t host_size, char *port, size_t port_size, osmo_error_t *err) {
    const char *colon = strrchr(listen_text, ':'), *start = listen_text, *end = colon;
    if (colon && *start == '[' && colon > start + 1 && colon[-1] == ']') {
        start++;
        end--;
    }
    size_t digits = colon ? strlen(colon + 1) : 0;
    if (!colon || end == start || (size_t)(end - start) >= host_size || digits == 0 || digits > 5 || digits >= port_size ||
        strspn(colon + 1, "0123456789") != digits || atoi(colon + 1) > 65535)
        return osmo_error_set(err, OSMO_EINVAL, "listen address \"%.200s\" is not ADDR:PORT, for example 127.0.0.1:8000",
                              listen_text);
    snprintf(host, host_size, "%.*s", (int)(end - start), start);
    snprintf(port, port_size, "%s", colon + 1);
    return OSMO_OK;
}

static int bind_failed(int why, const char *host, const char *port, osmo_error_t *err) {
    if (why == EADDRINUSE)
        return osmo_error_set(err, OSMO_EBUSY, "port %s on %s is in use: choose another with --listen ADDR:PORT", port, host);
    if (why == EACCES || why == EPERM)
        return osmo_error_set(err, OSMO_EDENIED, "port %s on %s needs more rights: choose a port above 1023 with --listen ADDR:PORT",
                              port, host);
    if (why == EADDRNOTAVAIL)
        return osmo_error_set(err, OSMO_EINVAL, "%s is no address of this machine: choose another with --listen ADDR:PORT", host);
    return osmo_error_set(err, OSMO_EIO, "cannot listen on port %s of %s: %s", port, host, strerror(why));
}

static int bind_port(struct osmo_server *s, const char *listen_text, osmo_error_t *err) {
    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *found = NULL;
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char port[8];
    const int on = 1;
    int rc = split_listen(listen_text, s->host, sizeof s->host, port, sizeof port, err);
    if (rc < 0)
        return rc;
    if (getaddrinfo(s->host, port, &hints, &found) != 0 || !found)
        return osmo_error_set(err, OSMO_EINVAL, "listen address %s is unknown: choose another with --listen ADDR:PORT", s->host);
    s->listen_fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rc = OSMO_OK;
    if (s->listen_fd < 0 || setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(s->listen_fd, found->ai_addr, found->ai_addrlen) < 0 || listen(s->listen_fd, 1024) < 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&bound, &len) < 0)
        rc = bind_failed(errno, s->host, port, err);
    else if (getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) == 0)
        s->port = atoi(port);
    freeaddrinfo(found);
    return rc;
}

static void warn_of_expiry(struct osmo_server *s, const char *cert_file) {
    int64_t left = tls_server_expires_s(s->tls) - (int64_t)time(NULL);
    if (left <= 0)
        log_error(&s->log, "the certificate %s has expired: no client accepts it", cert_file);
    else if (left < EXPIRY_WARNING_S)
        log_warning(&s->log, "the certificate %s expires in less than %lld days", cert_file, (long long)left / 86400 + 1);
}

static int open_tls(struct osmo_server *s, const osmo_server_options_t *o, osmo_error_t *err) {
    if (!o->cert_file && !o->key_file)
        return OSMO_OK;
    if (!o->cert_file || !o->key_file)
        return osmo_error_set(err, OSMO_EINVAL, "TLS needs both a certificate and its key");
    int rc = tls_server_open(o->cert_file, o->key_file, &s->tls, err);
    if (rc == OSMO_OK)
        warn_of_expiry(s, o->cert_file);
    return rc;
}

int osmo_server_reload_tls(osmo_server_t *server, osmo_error_t *err) {
    return server->tls ? tls_server_reload(server->tls, err) : OSMO_OK;
}

int osmo_server_open(const osmo_server_options_t *options, osmo_server_t **out, osmo_error_t *err) {
    if (options->size < sizeof *options || options->workers < 0 || options->workers > MAX_WORKERS)
        return osmo_error_set(err, OSMO_EINVAL, "the number of workers must be between 1 and %d", MAX_WORKERS);
    struct osmo_server *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for the server");
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->work);
    s->listen_fd = -1;
    s->next_id = 1;
    s->log = (logger_t){ options->log, options->log_ctx, options->log_level };
    s->worker_count = options->workers ? options->workers : DEFAULT_WORKERS;
    s->max_queue = options->max_queue ? options->max_queue : DEFAULT_QUEUE;
    s->transport = (osmo_transport_t){ .size = sizeof s->transport, .impl = s, .ws_send = transport_send,
                                       .ws_close = transport_close, .stream_wake = transport_wake,
                                       .join = transport_join, .traffic = transport_traffic };
    int rc = bind_port(s, options->listen ? options->listen : "127.0.0.1:8000", err);
    if (rc == OSMO_OK && options->spool_dir && !(s->spool_dir = strdup(options->spool_dir)))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory for the server");
    if (rc == OSMO_OK)
        rc = open_tls(s, options, err);
    if (rc == OSMO_OK)
        rc = net_open(s, err);
    if (rc < 0) {
        osmo_server_free(s);
        return rc;
    }
    *out = s;
    return OSMO_OK;
}

const osmo_transport_t *osmo_server_transport(osmo_server_t *server) { return &server->transport; }

int osmo_server_port(const osmo_server_t *server) { return server->port; }

int osmo_server_start(osmo_server_t *server, osmo_service_t *service, osmo_error_t *err) {
    server->service = service;
    int rc = workers_start(server, err);
    if (rc < 0)
        return rc;
    if (pthread_create(&server->net_thread, NULL, net_main, server) != 0) {
        workers_stop(server);
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start the network thread");
    }
    server->started = true;
    return OSMO_OK;
}

void osmo_server_stop(osmo_server_t *server, int drain_ms) {
    if (!server->started)
        return;
    pthread_mutex_lock(&server->lock);
    server->stop = true;
    server->stop_deadline_ms = net_now_ms() + (drain_ms > 0 ? drain_ms : 0);
    net_signal(server);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->net_thread, NULL);
    workers_stop(server);
    while (server->ready_head) { /* answers that came after the network thread had left */
        struct exchange *ex = server->ready_head;
        server->ready_head = ex->ready_next;
        exchange_free(ex);
    }
    elsewhere_close(server);
    server->started = false;
}

void osmo_server_free(osmo_server_t *server) {
    if (!server)
        return;
    net_close(server);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    tls_server_close(server->tls);
    free(server->spool_dir);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->work);
    free(server);
}
