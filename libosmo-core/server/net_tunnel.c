/* Connections of browsers that are for the web server of a task. To the service one is a held session; the session
 * it is joined with carries its bytes: the head of the request as rewrite_head() makes it, the body as it comes, and
 * what is answered, untouched. One request a connection, unless it becomes a websocket. Network thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "server/net_carry.h"
#include "server/net_rewrite.h"

#define KEY "webserver-"
#define STATUS_LEN 12 /* "HTTP/1.1 101" */
#define PIECE_ROOM 32 /* around a chunk: its size, and the head of a frame before that */

struct tunnel {
    enum { TUNNEL_LENGTH, TUNNEL_CHUNKS, TUNNEL_DONE, TUNNEL_UPGRADE, TUNNEL_RAW } state;
    uint64_t left;
    struct chunks chunks;
    bool wants_continue;
    char status[STATUS_LEN + 1];
    size_t status_len;
};

bool tunnel_meant(const struct head *h) {
    const char *host = head_header(h, "host");
    return host && strncasecmp(host, KEY, sizeof KEY - 1) == 0 && strcspn(host, ".:") > sizeof KEY - 1;
}

void tunnel_free(struct tunnel *t) { free(t); }

/* ---- towards the task ---- */

/* Bytes for the other session, with room for the head of a frame before them. */
static int send_frame(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len) {
    struct carry *k = c->carry;
    unsigned char *p = relay_head(data, len, OP_BINARY, true);
    ws_count_in(c->session, len);
    if (k->peer)
        ws_count_out(k->peer->session, len);
    return carry_pass(s, c, p, (size_t)(data - p) + len, 1) ? 0 : -1;
}

/* Nothing more of the client is read; it is not asked either whether it is still there, unless it has to wait long. */
static void request_done(struct osmo_server *s, struct conn *c) {
    c->carry->tunnel->state = TUNNEL_DONE;
    c->carry->deaf = true;
    carry_reading(s, c);
}

/* Chunks of our own around what the client's carry. */
static int send_chunks(struct osmo_server *s, struct conn *c, const char *data, size_t len) {
    struct tunnel *t = c->carry->tunnel;
    unsigned char *base = s->scratch + LWS_PRE + PIECE_ROOM;
    size_t made = 0;
    int what = CHUNKS_MORE;
    for (size_t at = 0; at < len && what >= 0 && what != CHUNKS_END;) {
        const char *piece = NULL;
        size_t used = 0, n = 0;
        what = chunks_read(&t->chunks, data + at, len - at, &used, &piece, &n);
        at += used;
        if (what == CHUNKS_PIECE) {
            made += (size_t)snprintf((char *)base + made, PIECE_ROOM, "%zx\r\n", n);
            memcpy(base + made, piece, n);
            memcpy(base + made + n, "\r\n", 2);
            made += n + 2;
        } else if (what == CHUNKS_END) {
            memcpy(base + made, "0\r\n\r\n", 5);
            made += 5;
        }
    }
    if (made && what >= 0 && send_frame(s, c, base, made) < 0)
        return -1;
    if (what == CHUNKS_END) {
        request_done(s, c);
    } else if (what < 0) {
        carry_ended(s, c, 1001, "the body of the request is malformed");
        carry_end(s, c, 400, "The body of the request is not chunked as its head says");
    }
    return 0;
}

int tunnel_received(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len) {
    struct tunnel *t = c->carry->tunnel;
    size_t n;
    int rc;
    if (c->carry->ending || len == 0)
        return 0;
    switch (t->state) {
    case TUNNEL_RAW:
        return send_frame(s, c, data, len);
    case TUNNEL_LENGTH:
        n = len < t->left ? len : (size_t)t->left;
        rc = send_frame(s, c, data, n);
        t->left -= n;
        if (t->left == 0)
            request_done(s, c);
        return rc;
    case TUNNEL_CHUNKS:
        return send_chunks(s, c, (const char *)data, len);
    case TUNNEL_UPGRADE:
        carry_ended(s, c, 1001, "the client spoke before it was answered");
        carry_end(s, c, 400, "There is something behind the request for a websocket");
        return 0;
    default:
        return 0; /* behind the end of the request: another one, which would have to be looked at by us first */
    }
}

int tunnel_input_ended(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    unsigned char frame[PIECE_ROOM];
    if (k->tunnel->state != TUNNEL_RAW || k->ending)
        return -1;
    k->deaf = true;
    k->wrote_ms = net_now_ms(); /* from here on it may be that nobody is there any more */
    carry_reading(s, c);
    if (send_frame(s, c, frame + CARRY_ROOM, 0) < 0)
        return -1;
    if (k->fin_sent)
        tunnel_over(s, c);
    return 0;
}

/* ---- towards the client ---- */

void tunnel_joined(struct osmo_server *s, struct conn *c) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct tunnel *t = c->carry->tunnel;
    if (!t->wants_continue)
        return;
    t->wants_continue = false;
    memcpy(s->scratch + LWS_PRE, go_on, sizeof go_on - 1);
    if (net_write(s, c, s->scratch + LWS_PRE, sizeof go_on - 1) < 0)
        c->carry->broken = true;
}

/* Until the answer to an upgrade is there nothing of the client is passed on: were it no, that would be a request
 * nobody has looked at. */
void tunnel_answered(struct osmo_server *s, struct conn *c, const unsigned char *data, size_t len) {
    struct tunnel *t = c->carry->tunnel;
    unsigned char frame[PIECE_ROOM];
    if (t->state != TUNNEL_UPGRADE)
        return;
    size_t n = STATUS_LEN - t->status_len < len ? STATUS_LEN - t->status_len : len;
    memcpy(t->status + t->status_len, data, n);
    t->status_len += n;
    if (t->status_len < STATUS_LEN)
        return;
    c->carry->waits = false;
    if (strcmp(t->status, "HTTP/1.1 101") == 0) {
        t->state = TUNNEL_RAW;
        carry_reading(s, c);
        return;
    }
    request_done(s, c);
    (void)!send_frame(s, c, frame + CARRY_ROOM, 0); /* so that its end comes with the end of the answer */
}

void tunnel_over(struct osmo_server *s, struct conn *c) {
    carry_ended(s, c, 1000, "");
    carry_end(s, c, 1000, "");
}

static int status_of(int code) { return code >= 400 && code < 600 ? code : code == 1001 ? 503 : 502; }

int tunnel_finish(struct osmo_server *s, struct conn *c) {
    struct carry *k = c->carry;
    static const char silence[] = "The web server of the task has closed the connection without an answer";
    char body[sizeof k->reason + 2], type[] = "text/plain; charset=utf-8";
    int status = status_of(k->code);
    bool said = k->said, spoilt = k->spoilt;
    snprintf(body, sizeof body, "%s\n", k->reason[0] ? k->reason : silence);
    ws_left(s, c);
    if (said)
        return spoilt ? net_reset(c) : net_linger(s, c);
    osmo_response_t r = { .size = sizeof r, .status = status, .content_type = type, .body = body,
                          .body_len = strlen(body), .body_fd = -1 };
    return http_refuse(s, c, &r);
}

/* ---- begin ---- */

static struct session *open_session(struct osmo_server *s, struct conn *c, osmo_response_t *refusal) {
    osmo_request_t rq;
    struct session *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->id = c->ex->id;
    w->held = w->tunnel = true;
    request_view(c->ex, &rq);
    osmo_service_tunnel_open(s->service, &rq, w->id, &w->ws, refusal);
    if (w->ws)
        return w;
    free(w);
    return NULL;
}

static struct tunnel *tunnel_new(const struct head *h) {
    struct tunnel *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->left = h->body_len;
    t->state = h->websocket ? TUNNEL_UPGRADE : h->chunked ? TUNNEL_CHUNKS : h->body_len ? TUNNEL_LENGTH : TUNNEL_DONE;
    t->wants_continue = h->wants_continue && (h->chunked || h->body_len);
    return t;
}

/* The session is there: its first bytes are the head, and what has come behind it. */
static int start(struct osmo_server *s, struct conn *c, struct session *w, struct tunnel *t, const buf_t *head) {
    unsigned char *data = s->scratch + LWS_PRE + PIECE_ROOM;
    exchange_free(c->ex);
    c->ex = NULL;
    ws_begin(s, c, w);
    c->carry->tunnel = t;
    c->carry->waits = t->state == TUNNEL_UPGRADE;
    memcpy(data, head->data, head->len);
    if (send_frame(s, c, data, head->len) < 0)
        return -1;
    if (t->state == TUNNEL_DONE)
        request_done(s, c);
    else
        carry_reading(s, c);
    return c->in.len ? carry_input(s, c) : 0;
}

/* Another replica may have said who the client is. */
static bool head_for(struct osmo_server *s, struct conn *c, const struct session *w, size_t size, buf_t *head) {
    const char *peer = osmo_ws_peer(w->ws), *why;
    if (strcmp(peer, c->ex->peer) == 0)
        return true;
    buf_reset(head);
    return rewrite_head(&c->ex->head, c->in.data, size, peer, s->tls != NULL, head, &why) == 0;
}

int tunnel_begin(struct osmo_server *s, struct conn *c, size_t size) {
    _cleanup_buf_ buf_t head = BUF_SECRET(NET_PIECE);
    osmo_response_t r = { .size = sizeof r, .body_fd = -1 };
    const char *why;
    int status = rewrite_head(&c->ex->head, c->in.data, size, c->ex->peer, s->tls != NULL, &head, &why), rc;
    struct tunnel *t = status || carry_full(s) ? NULL : tunnel_new(&c->ex->head);
    struct session *w = t ? open_session(s, c, &r) : NULL;
    bool good = !w || head_for(s, c, w, size, &head);
    http_take(c, size);
    if (status)
        return http_deny(s, c, status, why);
    if (!t || (!w && !r.status)) {
        rc = http_deny(s, c, 503, "Too many sessions are open: try again later");
    } else if (!w) {
        rc = http_refuse(s, c, &r);
        exchange_free(c->ex);
        c->ex = NULL;
    } else if (!good || carry_begin(s, c, CARRY_TUNNEL) < 0) {
        rc = -1; /* its session is told as soon as it has begun */
        ws_begin(s, c, w);
    } else {
        rc = start(s, c, w, t, &head);
        t = NULL;
    }
    tunnel_free(t);
    osmo_response_clear(&r);
    return rc;
}
