/* One websocket client connection: socket, handshakes, messages, pings and end. Called by ws_client.c, always in the
 * loop's thread. The callbacks of its user may send and close, on this connection and others, but nothing is freed
 * under them: whatever ends is finished by the loop. */
#include "base/ws_client_conn.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/crypto.h"

#define CONNECT_TIMEOUT_MS 15000
#define CLOSE_TIMEOUT_MS 5000
#define FRAGMENT (64u << 10)     /* of a message in one frame, so that pings get their turn */
#define WRITES_PER_TURN 64
#define READS_PER_TURN 4
#define CONTROLS_MAX 16          /* that wait: who pings without reading our answers gets no more of them */

static void on_socket(void *ctx, int fd, int events);

/* ---- memory ---- */

static void free_list(struct ws_out *m) {
    while (m) {
        struct ws_out *next = m->next;
        free(m);
        m = next;
    }
}

static void dialling_free(struct dialling *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->headers.len; i++)
        crypto_wipe(d->headers.items[i], strlen(d->headers.items[i])); /* logins */
    strlist_free(&d->headers);
    if (d->text.data)
        crypto_wipe(d->text.data, d->text.cap);
    buf_free(&d->text);
    free(d->extensions);
    free(d->path);
    free(d);
}

void conn_free(struct ws_conn *c) {
    if (!c)
        return;
    free_list(c->head);
    free_list(c->control);
    dialling_free(c->dial);
    wire_free(&c->wire);
    free(c->host);
    free(c->name);
    free(c);
}

static void disconnect(struct ws_conn *c) {
    if (c->fd < 0)
        return;
    ws_loop_watch(c->loop, c->fd, 0, NULL, NULL);
    c->watched = 0;
    tls_stream_close(c->tls);
    c->tls = NULL;
    close(c->fd);
    c->fd = -1;
}

static void forget(struct ws_conn *c) {
    struct ws_loop *l = c->loop;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    for (struct ws_conn **p = &l->later; c->later && *p; p = &(*p)->later_next) {
        if (*p == c) {
            *p = c->later_next;
            break;
        }
    }
    pthread_mutex_lock(&l->lock);
    for (struct ws_conn **p = &l->kicked; c->kick && *p; p = &(*p)->kicked) {
        if (*p == c) {
            *p = c->kicked;
            break;
        }
    }
    l->slots[c->id % MAX_CONNS] = NULL;
    l->conn_count--;
    pthread_mutex_unlock(&l->lock);
}

void conn_finish(struct ws_conn *c) {
    disconnect(c);
    forget(c);
    if (c->handlers.closed)
        c->handlers.closed(c->ctx, c->id, c->code ? c->code : 1006, c->http_status, c->reason);
    conn_free(c);
}

static void set_reason(struct ws_conn *c, int code, const char *text) {
    if (c->code)
        return;
    c->code = code;
    if (!c->reason[0])
        snprintf(c->reason, sizeof c->reason, "%s", text);
}

void conn_fail(struct ws_conn *c, int code, const char *why) {
    set_reason(c, code, why);
    disconnect(c);
    c->state = CONN_FAILED;
    loop_later(c);
}

__attribute__((format(printf, 2, 3))) static void fail_with(struct ws_conn *c, const char *format, ...) {
    char text[REASON_MAX * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    conn_fail(c, 1006, text);
}

/* ---- bytes ---- */

/* > 0, 0 at the end, -1 for later, -2 broken. */
static ssize_t receive(struct ws_conn *c, char *data, size_t len) {
    ssize_t n;
    if (c->tls) {
        n = tls_stream_read(c->tls, data, len);
        c->tls_writes = n == TLS_WANTS_WRITE;
        return n >= 0 ? n : n == TLS_BROKEN ? -2 : -1;
    }
    do
        n = recv(c->fd, data, len, 0);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN || errno == EWOULDBLOCK ? -1 : -2;
}

/* The same; 0 does not happen. */
static ssize_t transmit(struct ws_conn *c, const void *data, size_t len) {
    ssize_t n;
    if (c->tls) {
        n = tls_stream_write(c->tls, data, len);
        c->tls_reads = n == TLS_WANTS_READ;
        return n > 0 ? n : n == TLS_BROKEN || n == 0 ? -2 : -1;
    }
    do
        n = send(c->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN || errno == EWOULDBLOCK ? -1 : -2;
}

/* ---- frames out ---- */

/* Random bytes cost a call each; a mask is four of them. */
static bool mask_for(struct ws_loop *l, unsigned char mask[4]) {
    if (l->masks_left < 4) {
        if (crypto_random(l->masks, sizeof l->masks) < 0)
            return false;
        l->masks_left = sizeof l->masks;
    }
    l->masks_left -= 4;
    memcpy(mask, l->masks + l->masks_left, 4);
    return true;
}

/* Makes the next frame of a message. */
static bool make_frame(struct ws_conn *c, struct ws_out *m) {
    unsigned char mask[4], *payload = m->data + WIRE_HEAD_MAX + m->sent; /* what is before it has been sent */
    size_t n = m->len - m->sent < FRAGMENT ? m->len - m->sent : FRAGMENT;
    if (!mask_for(c->loop, mask))
        return false;
    c->from = wire_frame(payload, n, m->sent ? WIRE_CONTINUE : m->op, m->sent + n == m->len, mask);
    c->to = payload + n;
    m->sent += n;
    c->writing = m;
    return true;
}

static struct ws_out *first_message(struct ws_conn *c) {
    pthread_mutex_lock(&c->loop->lock);
    struct ws_out *m = c->head;
    pthread_mutex_unlock(&c->loop->lock);
    return m;
}

static void take_control(struct ws_conn *c) {
    c->control = c->writing->next;
    if (!c->control)
        c->control_tail = &c->control;
    c->bye_sent |= c->writing->op == WIRE_CLOSE;
    free(c->writing);
}

/* The frame is out: what follows for the lists. True: `writable` is due. */
static bool frame_is_out(struct ws_conn *c) {
    struct ws_out *m = c->writing;
    struct ws_loop *l = c->loop;
    bool room = false;
    c->writing = NULL;
    if (m == c->control) {
        c->writing = m;
        take_control(c);
        c->writing = NULL;
        return false;
    }
    pthread_mutex_lock(&l->lock);
    if (m->sent == m->len) {
        c->head = m->next;
        if (!c->head)
            c->tail = NULL;
        c->queued -= m->len;
        room = c->was_full && c->queued < c->max_queue / 2;
        if (room)
            c->was_full = false;
    }
    pthread_mutex_unlock(&l->lock);
    if (m->sent == m->len)
        free(m);
    return room;
}

static bool add_control(struct ws_conn *c, unsigned op, const void *data, size_t len) {
    char *to;
    size_t n = 0;
    for (const struct ws_out *m = c->control; m; m = m->next)
        n++;
    struct ws_out *m = n < CONTROLS_MAX || op == WIRE_CLOSE ? ws_out_new(len, &to) : NULL;
    if (!m)
        return false;
    m->op = op;
    m->len = len;
    if (len)
        memcpy(to, data, len);
    *c->control_tail = m;
    c->control_tail = &m->next;
    return true;
}

/* Our goodbye. What still comes is thrown away but for the other's; the sweep ends what does not say one. */
static void say_bye(struct ws_conn *c, int code, const char *why) {
    unsigned char text[REASON_MAX + 2];
    size_t n = strnlen(why, WIRE_CONTROL_MAX - 2);
    set_reason(c, code, why);
    if (c->state != CONN_OPEN)
        return;
    c->state = CONN_CLOSING;
    c->since_ms = loop_now_ms();
    text[0] = (unsigned char)(code >> 8);
    text[1] = (unsigned char)code;
    memcpy(text + 2, why, n);
    if (!add_control(c, WIRE_CLOSE, text, code == 1005 ? 0 : n + 2))
        conn_fail(c, code, why);
}

/* As much as goes. False: broken, and told so. */
static bool write_all(struct ws_conn *c) {
    for (int i = 0; i < WRITES_PER_TURN; i++) {
        struct ws_out *m = c->writing;
        if (!m) { /* in a goodbye there is nothing more to say before it, or behind it */
            m = c->control ? c->control : c->state == CONN_OPEN ? first_message(c) : NULL;
            if (!m)
                return true;
            if (!make_frame(c, m)) {
                conn_fail(c, 1006, "no random numbers are to be had");
                return false;
            }
        }
        ssize_t n = transmit(c, c->from, (size_t)(c->to - c->from));
        if (n == -1)
            return true;
        if (n < 0) {
            conn_fail(c, 1006, "");
            return false;
        }
        c->from += n;
        if (c->from < c->to)
            return true;
        if (frame_is_out(c)) {
            c->told_writable = true;
            loop_later(c);
        }
    }
    loop_later(c); /* the others get their turn */
    return true;
}

/* ---- the end ---- */

/* Both have said goodbye, or the other went without. */
static bool is_over(struct ws_conn *c) {
    if (c->state != CONN_CLOSING || !c->bye_seen || !c->bye_sent)
        return false;
    conn_fail(c, c->code, c->reason);
    return true;
}

/* It is shown to users, and may be a task's: nothing in it is for a terminal. */
static void make_printable(char *text) {
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        bool high = p[0] == 0xc2 && p[1] < 0xa0; /* the control characters behind 127 */
        if (*p < ' ' || *p == 0x7f || high)
            *p = '?';
        if (high)
            *++p = '?';
    }
}

static void peer_closes(struct ws_conn *c) {
    const unsigned char *in = c->wire.control;
    size_t len = c->wire.control_len;
    int code = len < 2 ? 1005 : in[0] << 8 | in[1];
    char *why = len > 2 ? utf8_repair((const char *)in + 2, len - 2, NULL) : NULL;
    c->bye_seen = true;
    if (why)
        make_printable(why);
    if (c->state == CONN_OPEN) {
        set_reason(c, code, why ? why : "");
        say_bye(c, code, "");
    }
    free(why);
}

/* ---- what the socket is watched for ---- */

static void settle(struct ws_conn *c) {
    if (c->state == CONN_FAILED || c->fd < 0)
        return;
    bool reads = true, writes = false;
    switch (c->state) {
    case CONN_CONNECTING: writes = true; reads = false; break;
    case CONN_TLS: writes = c->tls_writes; reads = !writes; break;
    case CONN_REQUEST: writes = !c->dial->asked; break;
    default:
        reads = !c->deaf || c->state == CONN_CLOSING;
        writes = c->writing || c->control || (c->state == CONN_OPEN && first_message(c));
        if (c->tls_reads) { /* for what is to be written */
            reads = true;
            writes = false;
        }
        writes |= c->tls_writes;
    }
    int events = (reads ? WS_FD_READ : 0) | (writes ? WS_FD_WRITE : 0);
    if (events == c->watched)
        return;
    c->watched = events;
    if (ws_loop_watch(c->loop, c->fd, events, on_socket, c) < 0)
        conn_fail(c, 1006, "too few descriptors or memory");
}

/* ---- messages in ---- */

static void deliver(struct ws_conn *c, const char *text, size_t len) {
    char *end = (char *)(uintptr_t)text + len, kept = *end;
    if (c->state == CONN_OPEN && c->handlers.message) {
        *end = '\0'; /* in our own buffer, which has room for it */
        c->handlers.message(c->ctx, c->id, text, len, c->wire.binary);
        *end = kept;
    }
    wire_done(&c->wire);
}

static void control_frame(struct ws_conn *c) {
    if (c->wire.op == WIRE_CLOSE)
        peer_closes(c);
    else if (c->wire.op == WIRE_PING && c->state == CONN_OPEN)
        add_control(c, WIRE_PONG, c->wire.control, c->wire.control_len);
}

/* data[len] is ours, too. */
static void take_frames(struct ws_conn *c, char *data, size_t len) {
    size_t at = 0;
    c->last_rx_ms = loop_now_ms();
    while (at < len && !c->bye_seen && !c->garbled && c->state != CONN_FAILED) {
        const char *text = NULL, *why = NULL;
        size_t used = 0, n = 0;
        int rc = wire_read(&c->wire, data + at, len - at, &used, &text, &n, &why);
        at += used;
        if (rc == WIRE_MESSAGE) {
            deliver(c, text, n);
        } else if (rc == WIRE_CONTROL) {
            control_frame(c);
        } else if (rc < 0) { /* the rest is thrown away until the peer has read why: closed at once it might lose that */
            say_bye(c, -rc, why);
            c->garbled = true;
        }
    }
}

static void read_frames(struct ws_conn *c) {
    char *data = c->loop->input;
    for (int i = 0; i < READS_PER_TURN && (c->state == CONN_OPEN || c->state == CONN_CLOSING); i++) {
        if (c->deaf && c->state == CONN_OPEN)
            return;
        ssize_t n = receive(c, data, READ_SIZE);
        if (n == -1)
            return;
        if (n <= 0) {
            conn_fail(c, c->state == CONN_CLOSING ? c->code : 1006, "");
            return;
        }
        take_frames(c, data, (size_t)n);
        if ((size_t)n < READ_SIZE && !c->tls)
            return;
    }
    if (c->tls && c->state != CONN_FAILED && tls_stream_waits(c->tls))
        loop_later(c); /* the socket may have nothing more, and no event will come */
}

/* ---- handshakes ---- */

static void opened(struct ws_conn *c, const char *extensions) {
    struct dialling *d = c->dial;
    c->state = CONN_OPEN;
    c->dial = NULL;
    c->last_rx_ms = c->last_ping_ms = loop_now_ms();
    if (c->handlers.opened)
        c->handlers.opened(c->ctx, c->id, extensions);
    dialling_free(d);
    loop_later(c); /* messages that waited for this */
}

/* The answer so far; frames may come right behind it. */
static void read_answer(struct ws_conn *c) {
    struct dialling *d = c->dial;
    char extensions[512], *data = c->loop->input;
    const char *why = NULL;
    ssize_t n = receive(c, data, READ_SIZE);
    if (n == -1)
        return;
    if (n <= 0) {
        fail_with(c, "cannot connect to %s: the connection was closed", c->host);
        return;
    }
    d->text.max = WIRE_ANSWER_MAX + READ_SIZE;
    buf_append(&d->text, data, (size_t)n);
    int status = 0;
    long head = buf_failed(&d->text) ? OSMO_ELIMIT
                                     : wire_answer(d->text.data, d->text.len, d->key, &status, extensions, sizeof extensions, &why);
    if (head == 0)
        return;
    if (head < 0 || (status == 101 && why)) {
        fail_with(c, "cannot connect to %s: %s", c->host, why ? why : "it does not speak HTTP");
    } else if (status >= 100 && status < 200 && status != 101) {
        buf_consume(&d->text, (size_t)head); /* the answer is still to come */
    } else if (status != 101) {
        c->http_status = status;
        fail_with(c, "%s answered the upgrade with HTTP %d", c->host, status);
    } else {
        size_t rest = d->text.len - (size_t)head;
        if (rest > READ_SIZE)
            rest = READ_SIZE;
        memcpy(data, d->text.data + head, rest);
        opened(c, extensions);
        if (rest)
            take_frames(c, data, rest);
    }
}

static void send_request(struct ws_conn *c) {
    struct dialling *d = c->dial;
    if (!d->text.len && !d->asked) {
        if (wire_key(d->key) < 0 || wire_request(&d->text, d->path, c->host, d->key, &d->headers, d->extensions) < 0) {
            conn_fail(c, 1006, "the headers of the upgrade request are too large");
            return;
        }
    }
    while (d->sent < d->text.len) {
        ssize_t n = transmit(c, d->text.data + d->sent, d->text.len - d->sent);
        if (n == -1)
            return;
        if (n < 0) {
            fail_with(c, "cannot connect to %s: the connection was closed", c->host);
            return;
        }
        d->sent += (size_t)n;
    }
    d->asked = true;
    buf_reset(&d->text);
}

static void tls_step(struct ws_conn *c) {
    char why[80] = "";
    int rc = tls_stream_handshake(c->tls, why, sizeof why);
    c->tls_writes = rc == TLS_WANTS_WRITE;
    if (rc == TLS_BROKEN) {
        fail_with(c, "TLS with %.40s failed: %.60s", c->host, why);
    } else if (rc == 0) {
        c->state = CONN_REQUEST;
        send_request(c);
    }
}

static void connected(struct ws_conn *c) {
    if (!c->dial->ssl_ctx) {
        c->state = CONN_REQUEST;
        send_request(c);
        return;
    }
    c->state = CONN_TLS;
    if (tls_stream_open(c->dial->ssl_ctx, c->fd, c->name, &c->tls) < 0)
        conn_fail(c, 1006, "out of memory for TLS");
    else
        tls_step(c);
}

/* ---- the socket ---- */

static int open_socket(const struct address *a) {
    int one = 1, idle = 60, every = 10, count = 3;
    int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    if (connect(fd, &a->at.any, a->len) == 0 || errno == EINPROGRESS)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* The next address of the name, or the end. */
static void try_address(struct ws_conn *c, int error) {
    struct dialling *d = c->dial;
    disconnect(c);
    c->state = CONN_CONNECTING;
    while (c->fd < 0 && d->next_address < d->naddresses) {
        c->fd = open_socket(&d->addresses[d->next_address++]);
        error = c->fd < 0 ? errno : 0;
    }
    if (c->fd < 0)
        fail_with(c, "cannot connect to %s: %s", c->host, strerror(error));
}

static void resolve(struct ws_conn *c, int port) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list = NULL;
    struct dialling *d = c->dial;
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    int rc = getaddrinfo(c->name, service, &hints, &list);
    if (rc) {
        fail_with(c, "cannot connect to %s: %s", c->host, gai_strerror(rc));
        return;
    }
    for (const struct addrinfo *a = list; a && d->naddresses < MAX_ADDRESSES; a = a->ai_next) {
        struct address *to = &d->addresses[d->naddresses];
        if (a->ai_addrlen > sizeof to->at)
            continue;
        to->family = a->ai_family;
        to->len = a->ai_addrlen;
        memcpy(&to->at, a->ai_addr, a->ai_addrlen);
        d->naddresses++;
    }
    freeaddrinfo(list);
}

void conn_start(struct ws_conn *c, int port) {
    resolve(c, port);
    if (c->state != CONN_FAILED)
        try_address(c, EADDRNOTAVAIL);
    settle(c);
}

/* ---- events ---- */

static void on_connecting(struct ws_conn *c) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error)
        try_address(c, error);
    else
        connected(c);
}

static void on_socket(void *ctx, int fd, int events) {
    struct ws_conn *c = ctx;
    (void)fd;
    switch (c->state) {
    case CONN_CONNECTING: on_connecting(c); break;
    case CONN_TLS: tls_step(c); break;
    case CONN_REQUEST:
        if (!c->dial->asked)
            send_request(c);
        else
            read_answer(c);
        break;
    default:
        if ((events & WS_FD_READ) || c->tls_writes)
            read_frames(c);
        if (c->state != CONN_FAILED && (c->writing || c->control || (events & WS_FD_WRITE) || c->tls_reads))
            write_all(c);
    }
    if (c->state != CONN_FAILED && !is_over(c))
        settle(c);
}

void conn_flush(struct ws_conn *c) {
    if (c->state == CONN_OPEN && write_all(c))
        settle(c);
}

static bool wants_close(struct ws_conn *c) {
    pthread_mutex_lock(&c->loop->lock);
    bool wanted = c->close_wanted && !c->head;
    if (c->close_wanted && c->state < CONN_OPEN)
        wanted = true;
    pthread_mutex_unlock(&c->loop->lock);
    return wanted;
}

void conn_look(struct ws_conn *c) {
    if (c->state == CONN_FAILED)
        return;
    if (c->state < CONN_OPEN) {
        if (wants_close(c))
            conn_fail(c, c->close_code, c->close_reason);
        return;
    }
    if (c->told_writable) {
        c->told_writable = false;
        if (c->handlers.writable)
            c->handlers.writable(c->ctx, c->id);
    }
    if (c->tls && !c->deaf && tls_stream_waits(c->tls))
        read_frames(c);
    if (c->state == CONN_FAILED || !write_all(c))
        return;
    if (c->state == CONN_OPEN && wants_close(c)) {
        say_bye(c, c->close_code, c->close_reason);
        if (c->state == CONN_FAILED || !write_all(c))
            return;
    }
    if (!is_over(c))
        settle(c);
}

void conn_sweep(struct ws_conn *c, int64_t now_ms) {
    if (c->wire.pieces && c->writing) /* who does not take a stream does not read our pings: TCP knows whether he is there */
        c->last_rx_ms = now_ms;
    if (c->state < CONN_OPEN && now_ms - c->since_ms > CONNECT_TIMEOUT_MS) {
        conn_fail(c, 1006, "the connection was not established in time");
    } else if (c->state == CONN_CLOSING && now_ms - c->since_ms > CLOSE_TIMEOUT_MS) {
        conn_fail(c, c->code, c->reason);
    } else if (c->state == CONN_OPEN && !c->deaf && now_ms - c->last_rx_ms > 2 * c->ping_interval_ms + 1000) {
        conn_fail(c, 1006, "the peer does not answer pings");
    } else if (c->state == CONN_OPEN && now_ms - c->last_ping_ms >= c->ping_interval_ms) {
        c->last_ping_ms = now_ms;
        if (add_control(c, WIRE_PING, "osmo", 4)) /* some leave an empty ping unanswered */
            loop_later(c);
    }
}
