/* Websockets (RFC 6455): upgrade, frames, messages in order through the workers (one at a time per session), bounded queues both ways.
 * Network thread unless marked "worker" or "any thread".
 *
 * An upgrade is answered at once: whether there is a session is known without waiting for anything. What the service has to look up is
 * looked up by the first call on a worker, osmo_ws_opened(); messages that arrive meanwhile wait in the session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/crypto.h"
#include "server/net_carry.h"

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define PING_MS 20000
#define PINGS 3 /* unanswered, or unsent for a client that takes nothing */
#define CLOSE_MS 5000
#define FRAGMENT (64u << 10)
#define MESSAGES_PER_TURN 64
#define WRITES_PER_TURN 16
#define OVERHEAD (sizeof(struct message) + LWS_PRE + 16) /* of a message that waits, however small */

struct session *ws_find(struct osmo_server *s, uint64_t id) { /* lock held */
    struct session *w = s->sessions[id % NET_BUCKETS];
    while (w && w->id != id)
        w = w->bucket_next;
    return w;
}

/* Jobs for backends hold the secrets of their pods. */
void ws_free_message(struct message *m) {
    if (m)
        crypto_wipe(m->data, LWS_PRE + m->len);
    free(m);
}

static void free_messages(struct message *m) {
    while (m) {
        struct message *next = m->next;
        ws_free_message(m);
        m = next;
    }
}

static void session_free(struct session *w) {
    free_messages(w->in_head);
    free_messages(w->out_head);
    free(w);
}

static struct message *message_new(const void *data, size_t len, bool binary) {
    struct message *m = malloc(sizeof *m + LWS_PRE + len + 1);
    if (!m)
        return NULL;
    *m = (struct message){ .len = len, .binary = binary };
    if (len)
        memcpy(m->data + LWS_PRE, data, len);
    m->data[LWS_PRE + len] = '\0';
    return m;
}

void ws_kick(struct osmo_server *s, struct session *w) { /* lock held */
    if (w->kicked || w->gone)
        return;
    w->kicked = true;
    w->kick_next = s->kick_head;
    s->kick_head = w;
    net_signal(s);
}

static void schedule(struct osmo_server *s, struct session *w) { /* lock held */
    if (w->scheduled)
        return;
    w->scheduled = true;
    workers_submit(s, &w->job);
}

static struct message *take_message(struct osmo_server *s, struct session *w) { /* lock held */
    struct message *m = w->in_head;
    if (!m)
        return NULL;
    w->in_head = m->next;
    if (!w->in_head)
        w->in_tail = NULL;
    w->in_count--;
    w->in_bytes -= m->len;
    if (w->rx_stopped && w->in_count < NET_MAX_IN_COUNT / 2 && w->in_bytes < NET_MAX_IN_BYTES / 2)
        ws_kick(s, w);
    return m;
}

static void unlist(struct osmo_server *s, struct session *w) {
    pthread_mutex_lock(&s->lock);
    struct session **p = &s->sessions[w->id % NET_BUCKETS];
    while (*p && *p != w)
        p = &(*p)->bucket_next;
    if (*p)
        *p = w->bucket_next;
    pthread_mutex_unlock(&s->lock);
}

/* Worker: at most one at a time per session, so calls keep their order. */
static void run_session(struct osmo_server *s, struct job *job) {
    struct session *w = (struct session *)job;
    pthread_mutex_lock(&s->lock);
    bool first = !w->opened;
    w->opened = true;
    pthread_mutex_unlock(&s->lock);
    if (first)
        osmo_ws_opened(w->ws);
    for (int i = 0;; i++) {
        pthread_mutex_lock(&s->lock);
        struct message *m = i < MESSAGES_PER_TURN ? take_message(s, w) : NULL;
        bool more = w->in_head != NULL, gone = w->gone;
        if (!m && more)
            workers_submit(s, &w->job); /* the others get their turn */
        else if (!m && !gone)
            w->scheduled = false;
        pthread_mutex_unlock(&s->lock);
        if (m) {
            osmo_ws_message(w->ws, m->data + LWS_PRE, m->len, m->binary);
            ws_free_message(m);
            continue;
        }
        if (!more && gone) {
            osmo_ws_closed(w->ws);
            unlist(s, w); /* until here it could be asked what it has carried */
            session_free(w);
        }
        return;
    }
}

/* ---- upgrade ---- */

static bool accept_key(const char *key, char out[32]) {
    unsigned char hash[20];
    char text[24 + sizeof WS_GUID];
    if (!key || strlen(key) != 24 || strspn(key, BASE64) != 22 || strcmp(key + 22, "==") != 0)
        return false;
    snprintf(text, sizeof text, "%s%s", key, WS_GUID);
    lws_SHA1((const unsigned char *)text, strlen(text), hash);
    return lws_b64_encode_string((const char *)hash, sizeof hash, out, 32) > 0;
}

static int answer_upgrade(struct osmo_server *s, struct conn *c, const char *accepted, const char *extensions) {
    char *to = (char *)s->scratch + LWS_PRE;
    bool named = extensions && !strpbrk(extensions, "\r\n");
    int n = snprintf(to, NET_PIECE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n%s%.1000s%s\r\n", accepted, named ? "X-Osmo-Extensions: " : "",
                     named ? extensions : "", named ? "\r\n" : "");
    return net_write(s, c, (unsigned char *)to, (size_t)n);
}

void ws_begin(struct osmo_server *s, struct conn *c, struct session *w) {
    w->conn = c;
    c->session = w;
    c->kill_ms = 0;
    c->last_rx_ms = c->last_ping_ms = net_now_ms();
    c->choked = 0;
    net_read(c, true);
    frames_init(&c->frames, NET_MAX_MESSAGE);
    pthread_mutex_lock(&s->lock);
    struct session **bucket = &s->sessions[w->id % NET_BUCKETS];
    w->bucket_next = *bucket;
    *bucket = w;
    w->job.run = run_session;
    schedule(s, w);
    pthread_mutex_unlock(&s->lock);
}

static int deny_version(struct osmo_server *s, struct conn *c) {
    static char *versions[] = { (char *)(uintptr_t)"Sec-WebSocket-Version", (char *)(uintptr_t)"13", NULL };
    char body[] = "{\"detail\":\"Only version 13 of websockets is spoken here\"}", type[] = "application/json";
    osmo_response_t r = { .size = sizeof r, .status = 426, .content_type = type, .body = body, .body_len = sizeof body - 1,
                          .body_fd = -1, .headers = versions };
    return http_refuse(s, c, &r);
}

/* The session is ours or there is none; then the refusal is on its way. */
static int open_session(struct osmo_server *s, struct conn *c, const struct exchange *ex, const char *accepted) {
    const char *extensions = NULL;
    osmo_response_t r = { .size = sizeof r, .body_fd = -1 };
    osmo_request_t rq;
    struct session *w = calloc(1, sizeof *w);
    if (!w)
        return -1;
    w->id = ex->id;
    request_view(ex, &rq);
    osmo_service_ws_open(s->service, &rq, w->id, &w->ws, &extensions, &r);
    int rc = 0;
    if (w->ws) {
        rc = answer_upgrade(s, c, accepted, extensions);
        int held = osmo_ws_held(w->ws);
        w->held = held > 0;
        w->patient = held > 1;
        ws_begin(s, c, w);
        if (w->held)
            ws_hold(s, c);
    } else {
        free(w);
        rc = http_refuse(s, c, &r);
    }
    osmo_response_clear(&r);
    return rc;
}

int ws_upgrade(struct osmo_server *s, struct conn *c) {
    const struct head *h = &c->ex->head;
    const char *version = head_header(h, "sec-websocket-version");
    char accepted[32];
    if (strcmp(h->method, "GET") != 0 || h->body_len || !accept_key(head_header(h, "sec-websocket-key"), accepted))
        return http_deny(s, c, 400, "This is no request for a websocket");
    int rc = version && strcmp(version, "13") == 0 ? open_session(s, c, c->ex, accepted) : deny_version(s, c);
    struct exchange *ex = c->ex;
    c->ex = NULL;
    exchange_free(ex);
    return rc;
}

/* ---- frames out ---- */

int ws_control(struct osmo_server *s, struct conn *c, unsigned op, const void *data, size_t len) {
    unsigned char room[LWS_PRE + FRAME_CONTROL_MAX], *payload = room + LWS_PRE;
    if (len)
        memcpy(payload, data, len);
    unsigned char *p = relay_head(payload, len, op, true);
    return net_write(s, c, p, (size_t)(payload - p) + len);
}

/* Code 0: without one. */
int ws_cut(struct osmo_server *s, struct conn *c, int code, const char *why) {
    unsigned char text[FRAME_CONTROL_MAX];
    size_t n = code ? strnlen(why, FRAME_CONTROL_MAX - 2) + 2 : 0;
    if (c->closing)
        return 0;
    text[0] = (unsigned char)(code >> 8);
    text[1] = (unsigned char)code;
    if (code)
        memcpy(text + 2, why, n - 2);
    c->closing = c->frames.deaf = true;
    c->kill_ms = net_now_ms() + CLOSE_MS;
    return ws_control(s, c, OP_CLOSE, text, n);
}

static int deliver(struct osmo_server *s, struct conn *c) {
    struct session *w = c->session;
    struct message *m = message_new(c->frames.message.data, c->frames.message.len, c->frames.binary);
    if (c->frames.message.cap > FRAGMENT)
        buf_free(&c->frames.message); /* idle connections keep no large buffers */
    else
        buf_reset(&c->frames.message);
    if (!m)
        return ws_cut(s, c, 1011, "out of memory");
    pthread_mutex_lock(&s->lock);
    if (w->in_tail)
        w->in_tail->next = m;
    else
        w->in_head = m;
    w->in_tail = m;
    w->in_count++;
    w->in_bytes += m->len;
    schedule(s, w);
    /* Frames that are already buffered still arrive after this and are still queued. */
    bool stop = !w->rx_stopped && (w->in_count > NET_MAX_IN_COUNT || w->in_bytes > NET_MAX_IN_BYTES);
    if (stop)
        w->rx_stopped = true;
    pthread_mutex_unlock(&s->lock);
    if (stop)
        net_read(c, false);
    return 0;
}

/* ---- frames in ---- */

/* The peer says goodbye, first or in answer to us. */
int ws_peer_closes(struct osmo_server *s, struct conn *c) {
    const struct frames *f = &c->frames;
    int rc = c->carry ? ws_carried_closes(s, c) : 1;
    if (rc <= 0)
        return rc;
    if (!c->closing && ws_control(s, c, OP_CLOSE, f->control, f->control_len ? 2 : 0) < 0)
        return -1;
    ws_left(s, c);
    return net_linger(s, c);
}

/* What comes after this cannot be understood any more. */
int ws_break_off(struct osmo_server *s, struct conn *c, int code, const char *why) {
    if (c->carry) {
        ws_join_due(s, c);
        carry_ended(s, c, 1011, "the other end has broken the protocol");
        if (!carry_at_boundary(c))
            return -1;
    }
    if (ws_cut(s, c, code, why) < 0)
        return -1;
    ws_left(s, c);
    return net_linger(s, c);
}

static int next_frame(struct osmo_server *s, struct conn *c, char *data, size_t len, size_t *used) {
    struct frames *f = &c->frames;
    int what = frames_read(f, data, len, used);
    switch (what) {
    case FRAMES_MESSAGE:
        return deliver(s, c);
    case FRAMES_PING:
        memcpy(c->pong, f->control, c->pong_len = f->control_len);
        c->pong_due = true;
        lws_callback_on_writable(c->wsi);
        return 0;
    case FRAMES_CLOSE:
        return ws_peer_closes(s, c);
    default:
        return what < 0 ? ws_break_off(s, c, -what, what == -1009 ? "the message is larger than 16 MiB" : f->why) : 0;
    }
}

int ws_received(struct osmo_server *s, struct conn *c) {
    if (c->carry)
        return carry_input(s, c);
    buf_t in = c->in;
    size_t at = 0;
    int rc = 0;
    buf_init(&c->in, in.max);
    c->in.secret = in.secret;
    c->last_rx_ms = net_now_ms();
    while (rc == 0 && at < in.len && c->session) {
        size_t used = 0;
        rc = next_frame(s, c, in.data + at, in.len - at, &used);
        at += used;
    }
    buf_free(&in);
    return rc;
}

static int write_piece(struct osmo_server *s, struct conn *c, struct message *m) {
    struct session *w = c->session;
    size_t n = m->len - m->sent < FRAGMENT ? m->len - m->sent : FRAGMENT;
    bool first = m->sent == 0, last = m->sent + n == m->len;
    unsigned char *payload = m->data + LWS_PRE + m->sent; /* what is before it has been sent */
    unsigned char *p = relay_head(payload, n, !first ? OP_CONTINUE : m->binary ? OP_BINARY : OP_TEXT, last);
    if (net_write(s, c, p, (size_t)(payload - p) + n) < 0)
        return -1;
    m->sent += n;
    pthread_mutex_lock(&s->lock);
    w->out_bytes -= n;
    if (last) {
        w->out_bytes -= OVERHEAD;
        w->out_head = m->next;
        if (!w->out_head)
            w->out_tail = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (last)
        ws_free_message(m);
    return 0;
}

static struct message *peek(struct osmo_server *s, struct session *w, bool *close_wanted) {
    pthread_mutex_lock(&s->lock);
    struct message *m = w->out_head;
    *close_wanted = w->close_wanted;
    pthread_mutex_unlock(&s->lock);
    return m;
}

int ws_controls(struct osmo_server *s, struct conn *c) {
    if (c->closing)
        return 0;
    if (c->pong_due && ws_control(s, c, OP_PONG, c->pong, c->pong_len) < 0)
        return -1;
    if (c->ping_due && ws_control(s, c, OP_PING, "osmo", 4) < 0) /* some leave an empty ping unanswered */
        return -1;
    c->pong_due = c->ping_due = false;
    c->choked = 0;
    return 0;
}

int ws_writable(struct osmo_server *s, struct conn *c) {
    bool close_wanted;
    struct message *m;
    if (!c->session)
        return -1;
    if (c->closing)
        return 0;
    if (ws_controls(s, c) < 0)
        return -1;
    for (int i = 0; (m = peek(s, c->session, &close_wanted)) && i < WRITES_PER_TURN && !lws_send_pipe_choked(c->wsi); i++) {
        if (write_piece(s, c, m) < 0)
            return -1;
    }
    if (m) {
        lws_callback_on_writable(c->wsi);
        return 0;
    }
    if (!close_wanted)
        return 0;
    return ws_cut(s, c, c->session->close_code, c->session->close_reason);
}

void ws_left(struct osmo_server *s, struct conn *c) {
    struct session *w = c->session;
    if (!w)
        return;
    c->session = NULL;
    frames_free(&c->frames);
    pthread_mutex_lock(&s->lock);
    struct session **p = &s->kick_head;
    while (*p && *p != w)
        p = &(*p)->kick_next;
    if (*p)
        *p = w->kick_next;
    w->conn = NULL;
    w->gone = true;
    schedule(s, w);
    pthread_mutex_unlock(&s->lock);
}

void ws_kicked(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    while (s->kick_head) {
        struct session *w = s->kick_head;
        s->kick_head = w->kick_next;
        w->kicked = false;
        bool resume = w->rx_stopped && w->in_count < NET_MAX_IN_COUNT / 2 && w->in_bytes < NET_MAX_IN_BYTES / 2;
        if (resume)
            w->rx_stopped = false;
        bool ends = w->close_wanted, join = w->join_with;
        struct conn *c = w->conn;
        pthread_mutex_unlock(&s->lock);
        if (resume)
            net_read(c, true);
        if (join)
            ws_join_due(s, c);
        if (ends && c->carry && (c->carry->joined || w->tunnel)) {
            carry_ended(s, c, w->close_code, w->close_reason);
            carry_end(s, c, w->close_code, w->close_reason);
        } else if (ends && !c->kill_ms) { /* it may be one that does not take what is to be said before */
            c->kill_ms = net_now_ms() + net_patience.stall_ms;
        }
        carry_wants_write(s, c);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

void ws_sweep(struct osmo_server *s, struct conn *c, int64_t now_ms) {
    if (!c->session || now_ms - c->last_ping_ms < PING_MS)
        return;
    pthread_mutex_lock(&s->lock);
    bool deaf = c->session->rx_stopped; /* we do not read, so no answer can be seen */
    pthread_mutex_unlock(&s->lock);
    if (c->session->tunnel)
        return;
    if (deaf || (c->carry && (c->carry->paused || c->carry->out.head)))
        c->last_rx_ms = now_ms;
    /* The last one is still waiting for room. Whoever is carried to may take his time: TCP knows whether he is there. */
    c->choked = c->carry ? 0 : c->choked + c->ping_due;
    if (now_ms - c->last_rx_ms > PINGS * PING_MS || c->choked >= PINGS) {
        c->kill_ms = now_ms;
        return;
    }
    c->last_ping_ms = now_ms;
    c->ping_due = true;
    carry_wants_write(s, c);
}

int ws_send_to(struct osmo_server *s, uint64_t id, const void *data, size_t len, bool binary) { /* any thread */
    struct message *m = message_new(data, len, binary);
    if (!m)
        return OSMO_ENOMEM;
    pthread_mutex_lock(&s->lock);
    struct session *w = ws_find(s, id);
    int rc = OSMO_OK;
    if (!w || w->gone || w->close_wanted)
        rc = OSMO_ENOTFOUND;
    else if (w->join_with || w->tunnel)
        rc = OSMO_ECONFLICT; /* its messages are those of the other end */
    else if (w->out_bytes + len + OVERHEAD > NET_MAX_OUT)
        rc = OSMO_ELIMIT;
    if (rc == OSMO_OK) {
        if (w->out_tail)
            w->out_tail->next = m;
        else
            w->out_head = m;
        w->out_tail = m;
        w->out_bytes += len + OVERHEAD;
        ws_kick(s, w);
        m = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    ws_free_message(m);
    return rc;
}

void ws_close_to(struct osmo_server *s, uint64_t id, int code, const char *reason) { /* any thread */
    pthread_mutex_lock(&s->lock);
    struct session *w = ws_find(s, id);
    if (w && !w->close_wanted) {
        w->close_wanted = true;
        w->close_code = code ? code : 1000;
        snprintf(w->close_reason, sizeof w->close_reason, "%s", reason ? reason : "");
        ws_kick(s, w);
    }
    pthread_mutex_unlock(&s->lock);
}
