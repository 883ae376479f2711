/* Websockets: upgrade, messages in order through the workers (one at a time per session), bounded queues both ways.
 * Network thread unless marked "worker" or "any thread".
 *
 * libwebsockets answers an upgrade from within its callback, so whether there is a session must be known without waiting for
 * anything. What the service has to look up is looked up by the first call on a worker, osmo_ws_opened(); messages that arrive
 * meanwhile wait in the session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "server/net.h"

#define PING_MS 20000
#define CLOSE_MS 5000
#define FRAGMENT (64u << 10)
#define MESSAGES_PER_TURN 64
#define WRITES_PER_TURN 16

static struct session *find(struct osmo_server *s, uint64_t id) { /* lock held */
    struct session *w = s->sessions[id % NET_BUCKETS];
    while (w && w->id != id)
        w = w->bucket_next;
    return w;
}

static void free_messages(struct message *m) {
    while (m) {
        struct message *next = m->next;
        free(m);
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

static void kick(struct osmo_server *s, struct session *w) { /* lock held */
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
        kick(s, w);
    return m;
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
            free(m);
            continue;
        }
        if (!more && gone) {
            osmo_ws_closed(w->ws);
            session_free(w);
        }
        return;
    }
}

/* Worker: the upgrade was accepted and then came to nothing. */
static void run_closed(struct osmo_server *s, struct job *job) {
    (void)s;
    struct session *w = (struct session *)job;
    osmo_ws_closed(w->ws);
    session_free(w);
}

int ws_upgrade(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = NULL;
    const char *headers[2 * REQUEST_MAX_HEADERS + 1], *extensions = NULL;
    osmo_response_t r = { .size = sizeof r, .body_fd = -1 };
    osmo_request_t rq;
    osmo_ws_t *ws = NULL;
    struct session *w = calloc(1, sizeof *w);
    char busy[] = "{\"detail\":\"The service is stopping\"}", type[] = "application/json";
    osmo_response_t stopping = { .size = sizeof r, .status = 503, .content_type = type, .body = busy,
                                 .body_len = sizeof busy - 1, .body_fd = -1 };
    if (!w || c->session || request_read(s, c->wsi, c, &ex) < 0) {
        free(w);
        return -1;
    }
    w->id = ex->id;
    w->conn = c;
    c->is_head = c->http10 = false;
    if (s->draining) {
        exchange_free(ex);
        free(w);
        return http_refuse(s, c, &stopping);
    }
    request_view(ex, headers, LWS_ARRAY_SIZE(headers), &rq);
    osmo_service_ws_open(s->service, &rq, w->id, &ws, &extensions, &r);
    exchange_free(ex);
    if (!ws) {
        free(w);
        int rc = http_refuse(s, c, &r);
        osmo_response_clear(&r);
        return rc;
    }
    w->ws = ws;
    w->extensions = extensions;
    c->session = w;
    pthread_mutex_lock(&s->lock);
    struct session **bucket = &s->sessions[w->id % NET_BUCKETS];
    w->bucket_next = *bucket;
    *bucket = w;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int ws_add_headers(struct conn *c, struct lws_process_html_args *args) {
    if (!c->session || !c->session->extensions)
        return 0;
    const char *value = c->session->extensions;
    unsigned char *p = (unsigned char *)args->p;
    if (strpbrk(value, "\r\n") ||
        lws_add_http_header_by_name(c->wsi, (const unsigned char *)"x-osmo-extensions:", (const unsigned char *)value,
                                    (int)strlen(value), &p, (unsigned char *)args->p + args->max_len))
        return -1;
    args->p = (char *)p;
    return 0;
}

void ws_established(struct osmo_server *s, struct conn *c) {
    c->established = true;
    c->last_rx_ms = c->last_ping_ms = net_now_ms();
    buf_init(&c->in, NET_MAX_MESSAGE);
    pthread_mutex_lock(&s->lock);
    c->session->job.run = run_session;
    schedule(s, c->session);
    pthread_mutex_unlock(&s->lock);
}

static int cut(struct conn *c, int code, const char *why) {
    lws_close_reason(c->wsi, (enum lws_close_status)code, (unsigned char *)(uintptr_t)why, strlen(why));
    return -1;
}

static int deliver(struct osmo_server *s, struct conn *c) {
    struct session *w = c->session;
    struct message *m = message_new(c->in.data, c->in.len, c->in_binary);
    if (!m)
        return cut(c, 1011, "out of memory");
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
        lws_rx_flow_control(c->wsi, 0);
    return 0;
}

int ws_receive(struct osmo_server *s, struct conn *c, const void *data, size_t len) {
    c->last_rx_ms = net_now_ms();
    if (!c->session)
        return -1;
    if (lws_is_first_fragment(c->wsi)) {
        buf_reset(&c->in);
        c->in_binary = lws_frame_is_binary(c->wsi);
    }
    if (buf_append(&c->in, data, len) < 0)
        return cut(c, 1009, "the message is larger than 16 MiB");
    if (!lws_is_final_fragment(c->wsi) || lws_remaining_packet_payload(c->wsi))
        return 0;
    if (!c->in_binary && !utf8_valid(buf_cstr(&c->in), c->in.len))
        return cut(c, 1007, "the text is not UTF-8");
    int rc = deliver(s, c);
    if (c->in.cap > FRAGMENT)
        buf_free(&c->in); /* idle connections keep no large buffers */
    else
        buf_reset(&c->in);
    return rc;
}

static int write_piece(struct osmo_server *s, struct conn *c, struct message *m) {
    struct session *w = c->session;
    size_t n = m->len - m->sent < FRAGMENT ? m->len - m->sent : FRAGMENT;
    bool first = m->sent == 0, last = m->sent + n == m->len;
    int flags = lws_write_ws_flags(m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT, first, last);
    if (lws_write(c->wsi, m->data + LWS_PRE + m->sent, n, (enum lws_write_protocol)flags) < (int)n)
        return -1;
    m->sent += n;
    pthread_mutex_lock(&s->lock);
    w->out_bytes -= n;
    if (last) {
        w->out_head = m->next;
        if (!w->out_head)
            w->out_tail = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (last)
        free(m);
    return 0;
}

static struct message *peek(struct osmo_server *s, struct session *w, bool *close_wanted) {
    pthread_mutex_lock(&s->lock);
    struct message *m = w->out_head;
    *close_wanted = w->close_wanted;
    pthread_mutex_unlock(&s->lock);
    return m;
}

int ws_writable(struct osmo_server *s, struct conn *c) {
    bool close_wanted;
    struct message *m;
    if (!c->session)
        return -1;
    if (c->ping_due) {
        unsigned char room[LWS_PRE + 4];
        c->ping_due = false;
        memcpy(room + LWS_PRE, "osmo", 4); /* the library leaves an empty ping unanswered */
        if (lws_write(c->wsi, room + LWS_PRE, 4, LWS_WRITE_PING) < 0)
            return -1;
    }
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
    c->kill_ms = net_now_ms() + CLOSE_MS;
    return cut(c, c->session->close_code, c->session->close_reason);
}

void ws_left(struct osmo_server *s, struct conn *c) {
    struct session *w = c->session;
    if (!w)
        return;
    c->session = NULL;
    buf_free(&c->in);
    pthread_mutex_lock(&s->lock);
    struct session **p = &s->sessions[w->id % NET_BUCKETS];
    while (*p && *p != w)
        p = &(*p)->bucket_next;
    if (*p)
        *p = w->bucket_next;
    for (p = &s->kick_head; *p && *p != w;)
        p = &(*p)->kick_next;
    if (*p)
        *p = w->kick_next;
    w->conn = NULL;
    w->gone = true;
    if (!c->established)
        w->job.run = run_closed;
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
        struct conn *c = w->conn;
        pthread_mutex_unlock(&s->lock);
        if (resume)
            lws_rx_flow_control(c->wsi, 1);
        lws_callback_on_writable(c->wsi);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

void ws_sweep(struct osmo_server *s, struct conn *c, int64_t now_ms) {
    if (!c->established || !c->session || now_ms - c->last_ping_ms < PING_MS)
        return;
    pthread_mutex_lock(&s->lock);
    bool deaf = c->session->rx_stopped; /* we do not read, so no answer can be seen */
    pthread_mutex_unlock(&s->lock);
    if (deaf)
        c->last_rx_ms = now_ms;
    if (now_ms - c->last_rx_ms > 3 * PING_MS) {
        c->kill_ms = now_ms; /* three pings without an answer */
        return;
    }
    c->last_ping_ms = now_ms;
    c->ping_due = true;
    lws_callback_on_writable(c->wsi);
}

int ws_send_to(struct osmo_server *s, uint64_t id, const void *data, size_t len, bool binary) { /* any thread */
    struct message *m = message_new(data, len, binary);
    if (!m)
        return OSMO_ENOMEM;
    pthread_mutex_lock(&s->lock);
    struct session *w = find(s, id);
    int rc = !w || w->gone || w->close_wanted ? OSMO_ENOTFOUND : w->out_bytes + len > NET_MAX_OUT ? OSMO_ELIMIT : OSMO_OK;
    if (rc == OSMO_OK) {
        if (w->out_tail)
            w->out_tail->next = m;
        else
            w->out_head = m;
        w->out_tail = m;
        w->out_bytes += len;
        kick(s, w);
        m = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    free(m);
    return rc;
}

void ws_close_to(struct osmo_server *s, uint64_t id, int code, const char *reason) { /* any thread */
    pthread_mutex_lock(&s->lock);
    struct session *w = find(s, id);
    if (w && !w->close_wanted) {
        w->close_wanted = true;
        w->close_code = code ? code : 1000;
        snprintf(w->close_reason, sizeof w->close_reason, "%s", reason ? reason : "");
        kick(s, w);
    }
    pthread_mutex_unlock(&s->lock);
}
