/* Forwards to TCP ports of this pod: port-forwards, rsync, and requests of browsers to a web server. A control connection says which
 * connections there are; each of them is a tunnel of its own, between a websocket and a socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actions.h"
#include "base/clock.h"
#include "transfer.h"

#define CONTROL_TRIES 10
#define TUNNEL_TRIES 5
#define RETRY_MS 1000
#define CONNECT_MS 5000

/* ---- tunnels ---- */

struct tunnel {
    struct actions *a;
    struct meeting at;
    enum action_kind kind;         /* of the control connection */
    int port, fd, tries;
    bool half_close, telemetry, v6, open;
    struct dial dial;
    struct ws_pump *pump;
    uint64_t timer;
    int64_t from_us;
};

static void connect_local(void *ctx);

static void tunnel_free(struct tunnel *t) {
    if (t->timer)
        ws_loop_cancel(t->a->loop, t->timer);
    dial_stop(&t->dial);
    if (t->fd >= 0)
        close(t->fd);
    t->a->ntunnels--;
    meeting_clear(&t->at);
    free(t);
}

static void tell_carried(const struct tunnel *t, uint64_t out, uint64_t in) {
    static const char *const names[ACTION_KINDS] = { "EXEC", "PORTFORWARD", "WEBSERVER", "RSYNC" };
    char type[32];
    const struct { const char *way; uint64_t bytes; } ways[] = { { "INPUT", in }, { "OUTPUT", out } };
    for (size_t i = 0; i < 2; i++) {
        const struct data_totals totals = { .bytes = ways[i].bytes };
        snprintf(type, sizeof type, "%s_%s", names[t->kind], ways[i].way);
        transfer_metric(t->a->c, type, "", t->from_us, clock_now_us(), &totals);
    }
}

static void on_pump_opened(void *ctx, const char *extensions) {
    struct tunnel *t = ctx;
    (void)extensions;
    t->open = true;
    dial_stop(&t->dial);
}

static void on_pump_ended(void *ctx, int code, int http_status, const char *reason) {
    struct tunnel *t = ctx;
    uint64_t in, out;
    (void)code;
    ws_pump_counts(t->pump, &in, &out);
    t->pump = NULL;
    if (!t->open) {
        dial_failed(&t->dial, http_status, reason);
        return;
    }
    if (t->telemetry)
        tell_carried(t, in, out);
    tunnel_free(t);
}

static int attempt(void *ctx, const ws_options_t *o) {
    struct tunnel *t = ctx;
    const struct ws_pump_options p = { .loop = t->a->loop,
                                       .in = t->fd,
                                       .out = t->fd,
                                       .err = -1,
                                       .half_close = t->half_close,
                                       .ends_input = t->half_close, /* whoever announced the connection has said so */
                                       .opened = on_pump_opened,
                                       .ended = on_pump_ended,
                                       .ctx = t };
    return ws_pump_start(&p, o, &t->pump, NULL);
}

static void tunnel_gave_up(void *ctx, const char *reason) {
    struct tunnel *t = ctx;
    fprintf(stderr, "osmo_ctrl: a connection to port %d could not reach the router: %s\n", t->port, reason);
    tunnel_free(t);
}

static void local_connected(struct tunnel *t) {
    /* under this path whatever the session is, as OSMO's ctrl does: the key alone tells where */
    if (dial_start(&t->dial, t->a, &t->at, ACTION_PORTFORWARD, TUNNEL_TRIES, attempt, tunnel_gave_up, t))
        tunnel_free(t);
}

static void local_failed(struct tunnel *t, int error) {
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    t->v6 = !t->v6;
    if (t->v6) { /* a server may have chosen one of the two */
        connect_local(t);
        return;
    }
    if (--t->tries > 0 && (t->timer = ws_loop_after(t->a->loop, RETRY_MS, connect_local, t)))
        return;
    action_refuse(t->a, &t->at, ACTION_PORTFORWARD, "nothing in the task answers on port %d: %s", t->port, strerror(error));
    tunnel_free(t);
}

static void on_connecting(void *ctx, int fd, int events) {
    struct tunnel *t = ctx;
    int error = 0;
    socklen_t len = sizeof error;
    (void)events;
    ws_loop_watch(t->a->loop, fd, 0, NULL, NULL);
    ws_loop_cancel(t->a->loop, t->timer);
    t->timer = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
        error = errno;
    if (error)
        local_failed(t, error);
    else
        local_connected(t);
}

static void on_connect_timeout(void *ctx) {
    struct tunnel *t = ctx;
    t->timer = 0;
    ws_loop_watch(t->a->loop, t->fd, 0, NULL, NULL);
    local_failed(t, ETIMEDOUT);
}

int forward_socket(int port, bool v6, int type) {
    struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int rc = v6 ? connect(fd, (struct sockaddr *)&a6, sizeof a6) : connect(fd, (struct sockaddr *)&a4, sizeof a4);
    if (rc == 0 || errno == EINPROGRESS)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static void connect_local(void *ctx) {
    struct tunnel *t = ctx;
    t->timer = 0;
    t->fd = forward_socket(t->port, t->v6, SOCK_STREAM);
    if (t->fd < 0) {
        local_failed(t, errno);
        return;
    }
    t->timer = ws_loop_after(t->a->loop, CONNECT_MS, on_connect_timeout, t);
    if (ws_loop_watch(t->a->loop, t->fd, WS_FD_WRITE, on_connecting, t)) {
        ws_loop_cancel(t->a->loop, t->timer);
        t->timer = 0;
        local_failed(t, ENOMEM);
    }
}

static void tunnel_open(struct actions *a, enum action_kind kind, int port, bool telemetry, bool half_close, struct meeting *at) {
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t)
        return;
    *t = (struct tunnel){ .a = a, .at = *at, .kind = kind, .port = port, .fd = -1, .tries = TUNNEL_TRIES, .half_close = half_close };
    t->telemetry = telemetry;
    t->from_us = clock_now_us();
    *at = (struct meeting){ 0 };
    a->ntunnels++;
    connect_local(t);
}

/* ---- control connections ---- */

struct forward {
    struct actions *a;
    struct action action;
    struct dial dial;
    uint64_t conn;
    bool open;
};

static void forward_free(struct forward *f) {
    dial_stop(&f->dial);
    f->a->nforwards--;
    action_clear(&f->action);
    free(f);
}

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct forward *f = ctx;
    (void)conn, (void)extensions;
    f->open = true;
    dial_stop(&f->dial);
}

static void announced(struct forward *f, struct announcement *what) {
    struct meeting at = { strdup(f->action.at.router_address), what->key, what->cookie };
    what->key = what->cookie = NULL;
    if (!at.router_address)
        ; /* no memory: it will not come to the meeting */
    else if (f->a->ntunnels >= TUNNELS_MAX)
        action_refuse(f->a, &at, ACTION_PORTFORWARD, "there are %d connections into this task already", TUNNELS_MAX);
    else if (what->websocket)
        forward_ws_open(f->a, f->action.port, &at, what);
    else
        tunnel_open(f->a, f->action.kind, f->action.port, f->action.telemetry, what->half_close, &at);
    meeting_clear(&at);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct forward *f = ctx;
    struct announcement what;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)conn, (void)binary;
    if (!len)
        return; /* the client says that it announces nothing more */
    if (announcement_parse(data, len, &what, &err))
        fprintf(stderr, "osmo_ctrl: a connection to port %d was announced that is none: %s\n", f->action.port, err.text);
    else
        announced(f, &what);
    announcement_clear(&what);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct forward *f = ctx;
    (void)conn, (void)code;
    f->conn = 0;
    if (!f->open)
        dial_failed(&f->dial, http_status, reason);
    else
        forward_free(f); /* the tunnels go on until one of their own ends leaves */
}

static int control_attempt(void *ctx, const ws_options_t *o) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed };
    struct forward *f = ctx;
    return ws_connect(f->a->loop, o, &handlers, f, &f->conn, NULL);
}

static void control_gave_up(void *ctx, const char *reason) {
    struct forward *f = ctx;
    fprintf(stderr, "osmo_ctrl: a forward of port %d could not reach the router: %s\n", f->action.port, reason);
    forward_free(f);
}

void forward_open(struct actions *a, struct action *action) {
    struct forward *f = calloc(1, sizeof *f);
    if (!f)
        return;
    *f = (struct forward){ .a = a, .action = *action };
    *action = (struct action){ 0 };
    a->nforwards++;
    if (dial_start(&f->dial, a, &f->action.at, f->action.kind, CONTROL_TRIES, control_attempt, control_gave_up, f))
        forward_free(f);
}
