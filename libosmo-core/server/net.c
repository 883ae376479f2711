/* The network thread: listener, loop, callbacks of libwebsockets and the one-second sweep. Called by server.c. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/crypto.h"
#include "server/net_carry.h"

#define SWEEP_MS 1000
#define MAX_FDS 65536
#define ACCEPTS_PER_TURN 64
#define LINGER_MS 3000
#define NET_MAX_INPUT (256u << 10)

struct net_patience net_patience = { 10000, 10000, 30000, 15000, 60000 };

int64_t net_now_ms(void) { return clock_mono_us() / 1000; }

void net_signal(struct osmo_server *s) {
    if (!s->signalled && !s->net_gone && s->context) {
        s->signalled = true;
        lws_cancel_service(s->context);
    }
}

static struct conn *conn_of(struct osmo_server *s, struct lws *wsi) {
    struct conn *c = lws_get_opaque_user_data(wsi);
    if (c || !(c = calloc(1, sizeof *c)))
        return c;
    c->wsi = wsi;
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    c->reading = c->idle = true;
    c->kill_ms = net_now_ms() + net_patience.first_ms;
    buf_init(&c->in, NET_MAX_INPUT);
    c->in.secret = true; /* tokens come in it */
    lws_set_opaque_user_data(wsi, c);
    return c;
}

static void left(struct osmo_server *s, struct conn *c) {
    http_left(s, c);
    carry_left(s, c);
    ws_left(s, c);
}

static void conn_destroy(struct osmo_server *s, struct lws *wsi) {
    struct conn *c = lws_get_opaque_user_data(wsi);
    if (!c)
        return;
    left(s, c);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    lws_set_opaque_user_data(wsi, NULL);
    buf_free(&c->in);
    free(c);
}

static struct lws *adopt(struct osmo_server *s, int fd, lws_adoption_type how) {
    const int on = 1, idle = 60, interval = 15, count = 4;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    lws_sock_file_fd_type sock = { .sockfd = fd };
    return lws_adopt_descriptor_vhost(lws_get_vhost_by_name(s->context, "default"), how, sock, "osmo", NULL); /* or it is closed */
}

void net_adopted(struct osmo_server *s, int fd, struct conn **out) {
    struct lws *wsi = adopt(s, fd, LWS_ADOPT_SOCKET);
    *out = wsi ? lws_get_opaque_user_data(wsi) : NULL;
}

/* We accept ourselves: the port is ours from bind on, its errors have our words, and stopping to accept is one close. */
static void accept_some(struct osmo_server *s, struct lws *listener) {
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            adopt(s, fd, LWS_ADOPT_SOCKET | LWS_ADOPT_ALLOW_SSL);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_error(&s->log, "cannot accept connections for a moment: %m");
            s->accept_paused = true; /* the sweep goes on */
            lws_rx_flow_control(listener, 0);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    (void)user, (void)in, (void)len;
    struct osmo_server *s = lws_context_user(lws_get_context(wsi));
    if (reason == LWS_CALLBACK_RAW_RX_FILE) {
        accept_some(s, wsi);
    } else if (reason == LWS_CALLBACK_RAW_CLOSE_FILE) {
        s->listener = NULL;
        s->listen_fd = -1; /* the library closes it */
    }
    return 0;
}

static void stop_accepting(struct osmo_server *s) {
    if (s->listener)
        lws_set_timeout(s->listener, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC); /* closes listen_fd */
}

void net_read(struct conn *c, bool on) {
    if (c->reading != on)
        lws_rx_flow_control(c->wsi, on);
    c->reading = on;
}

int net_write(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len) {
    (void)s;
    return lws_write(c->wsi, data, len, LWS_WRITE_RAW) < 0 ? -1 : 0;
}

/* The library itself says no goodbye over TLS to such connections as ours. */
void net_shut(struct osmo_server *s, struct conn *c) {
    if (s->tls && lws_get_ssl(c->wsi))
        tls_goodbye(lws_get_ssl(c->wsi));
    shutdown(lws_get_socket_fd(c->wsi), SHUT_WR);
}

void net_kill(struct osmo_server *s, struct conn *c) {
    if (!c->lingers && !c->spoilt && !lws_partial_buffered(c->wsi))
        net_shut(s, c);
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

int net_reset(struct conn *c) {
    const struct linger none = { .l_onoff = 1 };
    setsockopt(lws_get_socket_fd(c->wsi), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    c->spoilt = true;
    return -1;
}

int net_linger(struct osmo_server *s, struct conn *c) {
    carry_left(s, c);
    bool waits = lws_partial_buffered(c->wsi);
    buf_free(&c->in);
    c->lingers = true;
    net_read(c, !waits); /* the library drops what waits when it sees the client's end */
    c->kill_ms = net_now_ms() + (waits ? net_patience.stall_ms : LINGER_MS);
    if (waits)
        lws_callback_on_writable(c->wsi);
    else
        net_shut(s, c);
    return 0;
}

static bool in_stream(struct osmo_server *s, struct conn *c) {
    pthread_mutex_lock(&s->lock);
    bool stream = c->ex && c->dispatched && c->ex->is_stream;
    pthread_mutex_unlock(&s->lock);
    return stream;
}

/* While stopping: idle connections and streams end, requests may finish, websockets say goodbye. True when nothing is left. */
static bool drain(struct osmo_server *s) {
    bool any = false, late = net_now_ms() >= s->drain_deadline_ms;
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->session && !late)
            ws_close_to(s, c->session->id, 1001, "the service is stopping");
        bool done = !c->ex && !c->session && !lws_partial_buffered(c->wsi);
        if (late || done || in_stream(s, c))
            net_kill(s, c);
        else
            any = true;
    }
    return !any;
}

static void begin_drain(struct osmo_server *s, int64_t deadline_ms) {
    s->draining = true;
    s->drain_deadline_ms = deadline_ms;
    stop_accepting(s);
}

static void on_wake(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    s->signalled = false;
    bool stop = s->stop;
    int64_t deadline = s->stop_deadline_ms;
    pthread_mutex_unlock(&s->lock);
    http_ready(s);
    ws_kicked(s);
    elsewhere_ready(s);
    if (stop && !s->draining) {
        begin_drain(s, deadline);
        lwsloop_alarm(&s->loop, 0);
    }
}

/* A client that hangs up while its request is being answered: reading is off then, so look for the end of its stream, behind
 * whatever else (TLS says goodbye) it has sent. Whoever has said all he wants to say still gets his answer; a stream that has nothing to
 * send is not kept for him. */
static bool hung_up(struct osmo_server *s, struct conn *c) {
    struct pollfd fd = { .fd = lws_get_socket_fd(c->wsi), .events = POLLRDHUP };
    if (!c->ex || !c->dispatched || poll(&fd, 1, 0) <= 0)
        return false;
    return (fd.revents & (POLLERR | POLLHUP | POLLNVAL)) || (!lws_partial_buffered(c->wsi) && http_stream_idles(s, c));
}

static void on_alarm(void *server) {
    struct osmo_server *s = server;
    int64_t now = net_now_ms();
    if (s->accept_paused && s->listener) {
        s->accept_paused = false;
        lws_rx_flow_control(s->listener, 1);
    }
    for (struct conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        ws_sweep(s, c, now);
        bool late = c->kill_ms && c->kill_ms <= now;
        if (c->body_since_ms && c->ex && !c->dispatched)
            late = now > c->body_since_ms + net_patience.body_ms + (int64_t)c->ex->body_got;
        if (hung_up(s, c) || (c->carry && carry_sweep(s, c, now) < 0) || (late && http_timeout(s, c) < 0))
            net_kill(s, c);
    }
    if (s->draining && drain(s)) {
        lwsloop_break(&s->loop);
        return;
    }
    if (s->conns || s->tls) /* lets the library look at its own timers, which a libev loop re-arms only after socket events */
        lws_cancel_service(s->context);
    lwsloop_alarm(&s->loop, s->draining ? 20 : SWEEP_MS);
}

static int on_writable(struct osmo_server *s, struct conn *c) {
    if (!c->lingers)
        return c->carry ? carry_writable(s, c) : c->session ? ws_writable(s, c) : http_writable(s, c);
    if (lws_partial_buffered(c->wsi)) {
        lws_callback_on_writable(c->wsi);
        return 0;
    }
    c->kill_ms = net_now_ms() + LINGER_MS;
    net_read(c, true);
    net_shut(s, c);
    return 0;
}

static int on_received(struct osmo_server *s, struct conn *c, void *data, size_t len) {
    if (s->tls && !c->untimed) { /* after a handshake the library has set a time again, by which it would end us whatever we do */
        lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
        c->untimed = true;
    }
    if (c->carry) {
        int rc = carry_library_read(s, c, data, len);
        crypto_wipe(data, len);
        return rc;
    }
    if (!c->lingers && buf_append(&c->in, data, len) < 0)
        return -1; /* reading was off, and it does not stop */
    crypto_wipe(data, len); /* the library's buffer: nothing of it is to be found there later */
    return c->lingers ? 0 : c->session ? ws_received(s, c) : http_received(s, c);
}

static int on_connection(struct osmo_server *s, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len) {
    struct conn *c = conn_of(s, wsi);
    if (!c)
        return -1;
    switch (reason) {
    case LWS_CALLBACK_RAW_ADOPT:
        lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); /* ours count from here on */
        return 0;
    case LWS_CALLBACK_RAW_RX:
        return on_received(s, c, in, len);
    case LWS_CALLBACK_RAW_WRITEABLE:
        return on_writable(s, c);
    default:
        return 0;
    }
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    if (!wsi)
        return 0;
    struct osmo_server *s = lws_context_user(lws_get_context(wsi));
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: /* the library asks whoever has given it no certificate */
        return s->tls ? tls_server_attach(s->tls, user) : 0;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        on_wake(s);
        return 0;
    case LWS_CALLBACK_RAW_ADOPT:
    case LWS_CALLBACK_RAW_RX:
    case LWS_CALLBACK_RAW_WRITEABLE:
        return on_connection(s, wsi, reason, in, len);
    case LWS_CALLBACK_RAW_CLOSE: {
        struct conn *c = lws_get_opaque_user_data(wsi);
        if (c)
            left(s, c);
        return 0;
    }
    case LWS_CALLBACK_WSI_DESTROY:
        conn_destroy(s, wsi);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    { .name = "osmo", .callback = on_event, .rx_buffer_size = NET_PIECE },
    { .name = "listener", .callback = on_listener },
    { .name = NULL },
};

static const lws_retry_bo_t no_policy = { .secs_since_valid_ping = 0, .secs_since_valid_hangup = 0 };

static unsigned fd_limit(void) {
    struct rlimit r;
    return getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < MAX_FDS ? (unsigned)r.rlim_cur : MAX_FDS;
}

int net_open(struct osmo_server *s, osmo_error_t *err) {
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER, .protocols = protocols, .user = s, .gid = (gid_t)-1, .uid = (uid_t)-1,
        .vhost_name = "default", .alpn = "http/1.1", .pt_serv_buf_size = NET_PIECE,
        .timeout_secs = (unsigned)((net_patience.first_ms + 999) / 1000), .keepalive_timeout = 10,
        .fd_limit_per_thread = fd_limit(), .retry_and_idle_policy = &no_policy,
    };
    if (s->tls) {
        info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
        info.provided_client_ssl_ctx = tls_server_placeholder(s->tls);
    }
    s->loop.on_alarm = on_alarm;
    s->loop.alarm_ctx = s;
    s->scratch = malloc(LWS_PRE + (16u << 10) + NET_PIECE + 64);
    s->relay = malloc(CARRY_ROOM + CARRY_READ + 64);
    s->context = s->scratch && s->relay ? lwsloop_context(&s->loop, &info) : NULL;
    if (!s->context)
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start the network loop: too few descriptors or memory");
    if (!s->loop.ev)
        log_warning(&s->log, "the libev plugin of libwebsockets is missing: many connections will be slow");
    return OSMO_OK;
}

void *net_main(void *server) {
    struct osmo_server *s = server;
    lws_sock_file_fd_type fd = { .filefd = s->listen_fd };
    s->listener = lws_adopt_descriptor_vhost(lws_get_vhost_by_name(s->context, "default"), LWS_ADOPT_RAW_FILE_DESC, fd,
                                             "listener", NULL);
    if (!s->listener)
        log_error(&s->log, "the listening socket cannot be served");
    lwsloop_alarm(&s->loop, SWEEP_MS);
    lwsloop_run(&s->loop);
    net_close(s);
    return NULL;
}

void net_close(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    s->net_gone = true;
    pthread_mutex_unlock(&s->lock);
    if (s->context)
        lws_context_destroy(s->context);
    s->context = NULL;
    lwsloop_free(&s->loop);
    free(s->scratch);
    free(s->relay);
    s->scratch = s->relay = NULL;
}
