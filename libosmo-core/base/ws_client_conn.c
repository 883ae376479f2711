/* One websocket client connection: its handshake, messages, pings and end. Called by libwebsockets and ws_client.c,
 * always in the loop's thread. */
#include "base/ws_client_conn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 15000
#define CLOSE_TIMEOUT_MS 5000
#define FRAGMENT (64u << 10)
#define WRITES_PER_TURN 16
#define WRITE_CLOSE ((enum lws_write_protocol)4) /* the library keeps the name to itself */

void conn_free(struct ws_conn *c) {
    if (!c)
        return;
    while (c->head) {
        struct ws_out *m = c->head;
        c->head = m->next;
        free(m);
    }
    strlist_free(&c->headers);
    buf_free(&c->in);
    free(c->extensions);
    free(c->host);
    free(c->name);
    free(c->path);
    free(c);
}

static void unlink_conn(struct ws_conn *c) {
    struct ws_loop *l = c->loop;
    pthread_mutex_lock(&l->lock);
    for (struct ws_conn **p = &l->conns; *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            l->conn_count--;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

void conn_finish(struct ws_conn *c) {
    unlink_conn(c);
    if (c->wsi)
        lws_set_opaque_user_data(c->wsi, NULL);
    if (c->handlers.closed)
        c->handlers.closed(c->ctx, c->id, c->code ? c->code : 1006, c->http_status, c->reason);
    conn_free(c);
}

static void set_reason(struct ws_conn *c, int code, const char *text) {
    if (c->reason[0] || c->code)
        return;
    c->code = code;
    snprintf(c->reason, sizeof c->reason, "%s", text);
}

void conn_drop(struct ws_conn *c) {
    if (c->wsi && c->state != CONN_FAILED) {
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_SYNC);
        return;
    }
    c->state = CONN_FAILED;
    c->loop->failures = true;
    lwsloop_alarm(&c->loop->base, 0);
}

void conn_sweep(struct ws_conn *c, int64_t now_ms) {
    if (c->state == CONN_CONNECTING && now_ms - c->since_ms > CONNECT_TIMEOUT_MS) {
        set_reason(c, 1006, "the connection was not established in time");
        conn_drop(c);
    } else if (c->state == CONN_CLOSING && now_ms - c->since_ms > CLOSE_TIMEOUT_MS) {
        conn_drop(c);
    } else if (c->state == CONN_OPEN && !c->deaf && now_ms - c->last_rx_ms > 2 * c->ping_interval_ms + 1000) {
        set_reason(c, 1006, "the peer does not answer pings");
        conn_drop(c);
    } else if (c->state == CONN_OPEN && now_ms - c->last_ping_ms >= c->ping_interval_ms) {
        c->last_ping_ms = now_ms;
        c->ping_due = true;
        lws_callback_on_writable(c->wsi);
    } else if (c->state == CONN_FAILED) {
        conn_finish(c);
    }
}

static int append_headers(struct ws_conn *c, unsigned char **p, size_t room) {
    char *start = (char *)*p, *at = start;
    for (size_t i = 0; i <= c->headers.len; i++) {
        const char *text = i < c->headers.len ? c->headers.items[i] : c->extensions;
        if (!text)
            continue;
        const char *name = i < c->headers.len ? "" : "X-Osmo-Extensions: ";
        int n = snprintf(at, room - (size_t)(at - start), "%s%s\r\n", name, text);
        if (n < 0 || (size_t)n >= room - (size_t)(at - start)) {
            set_reason(c, 1006, "the headers of the upgrade request are too large");
            return -1;
        }
        at += n;
    }
    *p = (unsigned char *)at;
    return 0;
}

static void read_answer(struct ws_conn *c, struct lws *wsi) {
    static const char name[] = "x-osmo-extensions:";
    char value[sizeof c->answer_extensions];
    int n = lws_hdr_custom_copy(wsi, value, sizeof value, name, (int)sizeof name - 1);
    snprintf(c->answer_extensions, sizeof c->answer_extensions, "%s", n > 0 ? value + strspn(value, " ") : "");
}

/* The close frame is written by us, and what still comes is thrown away: libwebsockets 4.1, when it closes while a long message
 * is on its way, reads the rest into memory that it has given back. The sweep ends what the peer does not. */
static int begin_close(struct ws_conn *c, struct lws *wsi, int code, const char *why) {
    set_reason(c, code, why);
    c->state = CONN_CLOSING;
    c->since_ms = loop_now_ms();
    c->bye_len = (size_t)snprintf((char *)c->bye + LWS_PRE + 2, sizeof c->bye - LWS_PRE - 2, "%.*s", REASON_MAX - 1, why) + 2;
    c->bye[LWS_PRE] = (unsigned char)(code >> 8);
    c->bye[LWS_PRE + 1] = (unsigned char)code;
    buf_free(&c->in);
    lws_callback_on_writable(wsi);
    return 0;
}

static int say_bye(struct ws_conn *c, struct lws *wsi) {
    size_t n = c->bye_len;
    c->bye_len = 0;
    return !n || lws_write(wsi, c->bye + LWS_PRE, n, WRITE_CLOSE) >= (int)n ? 0 : -1;
}

static int receive(struct ws_conn *c, struct lws *wsi, const char *data, size_t len) {
    c->last_rx_ms = loop_now_ms();
    if (c->state == CONN_CLOSING)
        return 0;
    if (lws_is_first_fragment(wsi)) {
        buf_reset(&c->in);
        c->in_binary = lws_frame_is_binary(wsi);
    }
    if (buf_append(&c->in, data, len) < 0)
        return begin_close(c, wsi, 1009, "the message is too large");
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi))
        return 0;
    if (!c->in_binary && !utf8_valid(buf_cstr(&c->in), c->in.len))
        return begin_close(c, wsi, 1007, "the text is not UTF-8");
    if (c->handlers.message)
        c->handlers.message(c->ctx, c->id, buf_cstr(&c->in), c->in.len, c->in_binary);
    if (c->in.cap > (256u << 10))
        buf_free(&c->in);
    else
        buf_reset(&c->in);
    return 0;
}

/* Write a piece of the first message; long ones go out in fragments, so that pings and other connections get their
 * turn. */
static int write_piece(struct ws_conn *c, struct lws *wsi) {
    struct ws_out *m = c->head; /* only this thread removes messages, so the head is stable without the lock */
    size_t n = m->len - m->sent < FRAGMENT ? m->len - m->sent : FRAGMENT;
    bool first = m->sent == 0, last = m->sent + n == m->len;
    int flags = lws_write_ws_flags(m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, first, last);
    if (lws_write(wsi, m->data + LWS_PRE + m->sent, n, (enum lws_write_protocol)flags) < (int)n)
        return -1;
    m->sent += n;
    struct ws_loop *l = c->loop;
    pthread_mutex_lock(&l->lock);
    c->queued -= n;
    if (last) {
        c->head = m->next;
        if (!c->head)
            c->tail = NULL;
    }
    bool room = c->was_full && c->queued < c->max_queue / 2;
    if (room)
        c->was_full = false;
    pthread_mutex_unlock(&l->lock);
    if (last)
        free(m);
    if (room && c->handlers.writable)
        c->handlers.writable(c->ctx, c->id);
    return 0;
}

static struct ws_out *peek(struct ws_conn *c, bool *close_wanted) {
    pthread_mutex_lock(&c->loop->lock);
    struct ws_out *m = c->head;
    *close_wanted = c->close_wanted;
    pthread_mutex_unlock(&c->loop->lock);
    return m;
}

static int writable(struct ws_conn *c, struct lws *wsi) {
    bool close_wanted = false;
    if (c->state == CONN_CLOSING)
        return say_bye(c, wsi);
    if (c->ping_due) {
        unsigned char room[LWS_PRE + 4];
        c->ping_due = false;
        memcpy(room + LWS_PRE, "osmo", 4); /* the library leaves an empty ping unanswered */
        if (lws_write(wsi, room + LWS_PRE, 4, LWS_WRITE_PING) < 0)
            return -1;
    }
    for (int i = 0; peek(c, &close_wanted) && i < WRITES_PER_TURN && !lws_send_pipe_choked(wsi); i++) {
        if (write_piece(c, wsi) < 0)
            return -1;
    }
    if (peek(c, &close_wanted)) {
        lws_callback_on_writable(wsi);
    } else if (close_wanted && c->state == CONN_OPEN) {
        return begin_close(c, wsi, c->close_code, c->close_reason);
    }
    return 0;
}

/* The connection of a socket; its handshake is never done before the library has said which that is. */
static struct ws_conn *conn_of_socket(struct ws_loop *l, int fd) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = l->conns;
    while (c && (!c->wsi || c->state != CONN_CONNECTING || lws_get_socket_fd(c->wsi) != fd))
        c = c->next;
    pthread_mutex_unlock(&l->lock);
    return c;
}

const char *conn_expected_host(void *loop, int fd) {
    struct ws_conn *c = conn_of_socket(loop, fd);
    return c ? c->name : NULL;
}

void conn_not_believed(void *loop, int fd, const char *why) {
    struct ws_conn *c = conn_of_socket(loop, fd);
    char text[REASON_MAX];
    snprintf(text, sizeof text, "TLS with %.40s failed: %.60s", c ? c->host : "a host", why);
    if (c)
        set_reason(c, 1006, text);
}

static void connection_error(struct ws_conn *c, struct lws *wsi, const char *text, size_t len) {
    char why[REASON_MAX];
    int status = wsi ? (int)lws_http_client_http_response(wsi) : 0;
    if (status > 0 && status != 101) {
        c->http_status = status;
        snprintf(why, sizeof why, "%s answered the upgrade with HTTP %d", c->host, status);
    } else {
        snprintf(why, sizeof why, "cannot connect to %s: %.*s", c->host, text ? (int)(len < 60 ? len : 60) : 7,
                 text ? text : "refused");
    }
    set_reason(c, 1006, why);
    c->state = CONN_FAILED;
    if (!c->inside_connect)
        conn_finish(c);
}

/* @return -1 when it is the answer to our own */
static int peer_closes(struct ws_conn *c, const unsigned char *in, size_t len) {
    if (c->state == CONN_CLOSING && !c->bye_len)
        return -1;
    if (c->code || len < 2)
        return 0;
    size_t n = len - 2 < REASON_MAX - 1 ? len - 2 : REASON_MAX - 1;
    c->code = in[0] << 8 | in[1];
    memcpy(c->reason, in + 2, n);
    c->reason[n] = '\0';
    return 0;
}

static void established(struct ws_conn *c, struct lws *wsi) {
    c->state = CONN_OPEN;
    c->wsi = wsi;
    c->last_rx_ms = c->last_ping_ms = loop_now_ms();
    if (c->deaf)
        lws_rx_flow_control(wsi, 0);
    if (c->handlers.opened)
        c->handlers.opened(c->ctx, c->id, c->answer_extensions);
    lws_callback_on_writable(wsi);
}

int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    (void)user;
    if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED) {
        struct ws_loop *l = lws_context_user(lws_get_context(wsi));
        loop_process(l);
        return 0;
    }
    if (reason == LWS_CALLBACK_RAW_RX_FILE) { /* the descriptors of others, where the loop is the library's */
        watches_ready(lws_context_user(lws_get_context(wsi)));
        return 0;
    }
    struct ws_conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!c)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return append_headers(c, in, len);
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        read_answer(c, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        established(c, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return receive(c, wsi, in, len);
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG:
        c->last_rx_ms = loop_now_ms();
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writable(c, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return peer_closes(c, in, len);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        connection_error(c, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY:
        c->state = CONN_FAILED;
        if (!c->inside_connect)
            conn_finish(c);
        return 0;
    default:
        return 0;
    }
}
