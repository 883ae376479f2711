/* Reading from and writing to connections whose bytes are carried. Once they are joined, plain ones are watched on
 * our own loop: that saves the library's copies, and lets an end of input be something else than the end. With TLS,
 * or without libev, the library reads and writes. Network thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/crypto.h"
#include "server/net_carry.h"

#define READS_PER_TURN 4

static int received(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len) {
    struct carry *k = c->carry;
    int rc = 0;
    switch (k->kind) {
    case CARRY_WS:
        c->last_rx_ms = net_now_ms();
        rc = relay_received(s, c, data, len);
        break;
    case CARRY_TUNNEL:
        rc = tunnel_received(s, c, data, len);
        break;
    case CARRY_RAW:
        rc = carry_pass(s, c, data, len, 1) ? 0 : -1;
        break;
    }
    crypto_wipe(data, len);
    return rc;
}

int carry_library_read(struct osmo_server *s, struct conn *c, const void *data, size_t len) {
    const char *from = data;
    int rc = 0;
    while (rc == 0 && len && c->carry) {
        size_t n = len < CARRY_READ ? len : CARRY_READ;
        memcpy(s->relay + CARRY_ROOM, from, n);
        rc = received(s, c, s->relay + CARRY_ROOM, n);
        from += n;
        len -= n;
    }
    return rc;
}

int carry_input(struct osmo_server *s, struct conn *c) {
    buf_t in = c->in;
    buf_init(&c->in, in.max);
    c->in.secret = in.secret;
    int rc = carry_library_read(s, c, in.data, in.len);
    buf_free(&in);
    return rc;
}

/* Its side says no more. */
static int input_ended(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (k->kind == CARRY_WS || !k->peer)
        return -1;
    if (k->kind == CARRY_TUNNEL)
        return tunnel_input_ended(s, c);
    k->deaf = true;
    carry_reading(s, c);
    k->peer->carry->fin_due = true;
    carry_wants_write(s, k->peer);
    return k->fin_sent && !k->out.head ? -1 : 0;
}

static struct osmo_server *server_of(struct conn *c) { return lws_context_user(lws_get_context(c->wsi)); }

static void on_readable(struct ev_loop *loop, ev_io *w, int events) {
    struct conn *c = w->data;
    struct osmo_server *s = server_of(c);
    int rc = 0;
    (void)loop, (void)events;
    for (int i = 0; i < READS_PER_TURN && rc == 0; i++) {
        ssize_t n = recv(w->fd, s->relay + CARRY_ROOM, CARRY_READ, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        c->carry->spoilt = c->carry->spoilt || n < 0;
        rc = n > 0 ? received(s, c, s->relay + CARRY_ROOM, (size_t)n) : n == 0 ? input_ended(s, c) : -1;
        if (n < (ssize_t)CARRY_READ || !c->carry || !ev_is_active(&c->carry->readable))
            break;
    }
    if (rc < 0)
        net_kill(s, c);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events) {
    struct conn *c = w->data;
    struct osmo_server *s = server_of(c);
    (void)events;
    ev_io_stop(loop, w);
    if (carry_writable(s, c) < 0)
        net_kill(s, c);
}

void carry_own_io(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (k->own_io || !s->loop.ev || lws_get_ssl(c->wsi))
        return;
    int fd = lws_get_socket_fd(c->wsi);
    net_read(c, false);
    ev_io_init(&k->readable, on_readable, fd, EV_READ);
    ev_io_init(&k->writable, on_writable, fd, EV_WRITE);
    k->readable.data = k->writable.data = c;
    k->own_io = true;
}

void carry_own_io_end(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (!k->own_io)
        return;
    ev_io_stop(s->loop.ev, &k->readable);
    ev_io_stop(s->loop.ev, &k->writable);
    k->own_io = false;
}

void carry_reading(struct osmo_server *s, struct conn *c) {
    const struct carry *k = c->carry;
    bool on = !k->paused && !k->waits && (!k->deaf || k->kind == CARRY_WS);
    if (!k->own_io)
        net_read(c, on);
    else if (on)
        ev_io_start(s->loop.ev, &c->carry->readable);
    else
        ev_io_stop(s->loop.ev, &c->carry->readable);
}

void carry_wants_write(struct osmo_server *s, struct conn *c) {
    if (c->carry && c->carry->own_io)
        ev_io_start(s->loop.ev, &c->carry->writable);
    else
        lws_callback_on_writable(c->wsi);
}

ssize_t carry_write(struct osmo_server *s, struct conn *c, const void *data, size_t len) {
    struct carry *k = c->carry;
    ssize_t n;
    if (lws_partial_buffered(c->wsi)) { /* it calls when that is written */
        lws_callback_on_writable(c->wsi);
        return 0;
    }
    if (k->own_io) {
        n = send(lws_get_socket_fd(c->wsi), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            n = errno == EAGAIN || errno == EINTR ? 0 : -1;
    } else {
        n = net_write(s, c, (unsigned char *)(uintptr_t)data, len) < 0 ? -1 : (ssize_t)len;
    }
    if (n > 0) {
        k->said = true;
        k->wrote_ms = net_now_ms();
    }
    return n;
}

/* Its peer is read from again when it has taken enough. */
static void let_go_on(struct osmo_server *s, struct conn *c) {
    struct conn *p = c->carry->peer;
    if (p && p->carry->paused && !carry_waits_long(s, c)) {
        p->carry->paused = false;
        carry_reading(s, p);
    }
}

/* 1: all is written; 0: it takes no more now; -1: it is broken. */
static int write_line(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    for (;;) {
        if (k->kind == CARRY_WS && carry_at_boundary(c) && ws_controls(s, c) < 0)
            return -1;
        struct chunk *first = k->out.head;
        if (!first)
            return !lws_partial_buffered(c->wsi);
        ssize_t n = carry_write(s, c, first->data + first->sent, first->len - first->sent);
        if (n < 0)
            return -1;
        first->sent += (size_t)n;
        if (first->sent < first->len)
            return 0;
        line_drop(s, &k->out);
    }
}

static int finish(struct osmo_server *s, struct conn *c) {
    switch (c->carry->kind) {
    case CARRY_WS:
        return ws_say_goodbye(s, c);
    case CARRY_TUNNEL:
        return tunnel_finish(s, c);
    default:
        return c->carry->spoilt ? net_reset(c) : net_linger(s, c);
    }
}

int carry_writable(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    if (k->broken)
        return -1;
    if (!k->joined && k->kind == CARRY_WS)
        return ws_writable(s, c);
    if (!k->joined && c->dial)
        return elsewhere_writable(s, c);
    int rc = write_line(s, c);
    if (rc < 0)
        return -1;
    let_go_on(s, c);
    if (rc == 0) {
        if (k->ending && !c->closing)
            c->kill_ms = net_now_ms() + net_patience.stall_ms;
        carry_wants_write(s, c);
        return 0;
    }
    if (k->fin_due && !k->fin_sent) {
        net_shut(s, c);
        k->fin_sent = true;
        if (k->deaf && !k->ending && k->kind == CARRY_RAW)
            return -1;
        if (k->deaf && !k->ending)
            tunnel_over(s, c);
    }
    return k->ending && !c->closing ? finish(s, c) : 0;
}
