/* HTTP: dispatch of requests to workers, answers and streams back to the client. Network thread unless marked "worker". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "server/net.h"

#define HEAD_ROOM (16u << 10)
#define READ_PIECE (32u << 10)
#define LINGER_MS 3000
#define STALL_MS 60000
#define PIECES_PER_TURN 8

void exchange_free(struct exchange *ex) {
    if (!ex)
        return;
    osmo_response_clear(&ex->response);
    if (ex->body_fd >= 0)
        close(ex->body_fd);
    if (ex->body_file) {
        unlink(ex->body_file); /* absent when the service renamed it away */
        free(ex->body_file);
    }
    strlist_free(&ex->headers);
    buf_free(&ex->body);
    buf_free(&ex->pending);
    free(ex->method);
    free(ex->path);
    free(ex->query);
    free(ex);
}

/* Worker: the client is gone, let go of stream and descriptor here and not in the network thread. */
static void run_release(struct osmo_server *s, struct job *job) {
    (void)s;
    exchange_free((struct exchange *)job);
}

static void release(struct osmo_server *s, struct exchange *ex) { /* lock held */
    ex->busy = true;
    ex->job.run = run_release;
    ex->job.counted = false;
    workers_submit(s, &ex->job);
}

static void table_add(struct osmo_server *s, struct exchange *ex) { /* lock held */
    struct exchange **bucket = &s->exchanges[ex->id % NET_BUCKETS];
    ex->bucket_next = *bucket;
    *bucket = ex;
}

static void table_remove(struct osmo_server *s, struct exchange *ex) { /* lock held */
    struct exchange **p = &s->exchanges[ex->id % NET_BUCKETS];
    while (*p && *p != ex)
        p = &(*p)->bucket_next;
    if (*p)
        *p = ex->bucket_next;
}

static void push_ready(struct osmo_server *s, struct exchange *ex) { /* lock held */
    if (ex->ready)
        return;
    ex->ready = true;
    ex->ready_next = NULL;
    if (s->ready_tail)
        s->ready_tail->ready_next = ex;
    else
        s->ready_head = ex;
    s->ready_tail = ex;
    net_signal(s);
}

/* Worker, lock held: give up the exchange if its client left. */
static bool abandoned(struct osmo_server *s, struct exchange *ex) {
    if (!ex->gone)
        return false;
    ex->busy = false;
    bool mine = !ex->ready; /* otherwise the network thread meets it on the ready list and releases it */
    pthread_mutex_unlock(&s->lock);
    if (mine)
        exchange_free(ex);
    return true;
}

/* Worker: read the stream until it has nothing, ends, or enough waits for the client. */
static void run_stream(struct osmo_server *s, struct job *job) {
    struct exchange *ex = (struct exchange *)job;
    char *piece = malloc(READ_PIECE);
    for (;;) {
        pthread_mutex_lock(&s->lock);
        if (abandoned(s, ex))
            break;
        if (ex->pending.len >= NET_STREAM_BUFFER) {
            ex->busy = false;
            pthread_mutex_unlock(&s->lock);
            break;
        }
        ex->wake = false;
        pthread_mutex_unlock(&s->lock);
        ssize_t n = piece ? osmo_stream_read(ex->response.stream, piece, READ_PIECE) : OSMO_ENOMEM;
        pthread_mutex_lock(&s->lock);
        if (n > 0 && buf_append(&ex->pending, piece, (size_t)n) < 0)
            n = OSMO_ENOMEM;
        if (n > 0)
            ex->wake = true;
        if (n < 0) {
            ex->eof = true;
            ex->failed = n != OSMO_EGONE;
        }
        if (n != 0 && !ex->gone)
            push_ready(s, ex);
        bool more = n > 0 || (n == 0 && ex->wake) || ex->gone;
        if (!more)
            ex->busy = false;
        pthread_mutex_unlock(&s->lock);
        if (!more)
            break;
    }
    free(piece);
}

/* Worker: answer a request. */
static void run_request(struct osmo_server *s, struct job *job) {
    struct exchange *ex = (struct exchange *)job;
    const char *headers[2 * REQUEST_MAX_HEADERS + 1];
    osmo_request_t rq;
    request_view(ex, headers, LWS_ARRAY_SIZE(headers), &rq);
    ex->response = (osmo_response_t){ .size = sizeof ex->response, .body_fd = -1 };
    osmo_service_handle(s->service, &rq, &ex->response);
    pthread_mutex_lock(&s->lock);
    if (abandoned(s, ex))
        return;
    ex->answered = true;
    ex->is_stream = ex->response.stream != NULL;
    bool stream = ex->is_stream;
    ex->busy = stream;
    push_ready(s, ex);
    pthread_mutex_unlock(&s->lock);
    if (stream)
        run_stream(s, job);
}

void http_stream_wake(struct osmo_server *s, uint64_t request) {
    pthread_mutex_lock(&s->lock);
    struct exchange *ex = s->exchanges[request % NET_BUCKETS];
    while (ex && ex->id != request)
        ex = ex->bucket_next;
    if (ex) {
        ex->wake = true;
        if (ex->is_stream && !ex->busy && !ex->eof && !ex->gone && ex->pending.len < NET_STREAM_BUFFER) {
            ex->busy = true;
            ex->job.run = run_stream;
            workers_submit(s, &ex->job);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* Reading is off while a worker has the request: the library would spin on bytes it is not ready to parse. It gives no
 * writable events to such a connection either, so reading is switched on only while the socket is too slow for us. */
static void read_on(struct conn *c, bool on) {
    if (c->reading != on)
        lws_rx_flow_control(c->wsi, on);
    c->reading = on;
}

static void ask_writable(struct conn *c) {
    read_on(c, true);
    lws_callback_on_writable(c->wsi);
}

static const char *reason_phrase(int status) {
    static const struct { int status; const char *text; } phrases[] = {
        { 200, "OK" }, { 201, "Created" }, { 204, "No Content" }, { 206, "Partial Content" }, { 301, "Moved Permanently" },
        { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 400, "Bad Request" },
        { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 409, "Conflict" },
        { 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
        { 416, "Range Not Satisfiable" }, { 422, "Unprocessable Content" }, { 425, "Too Early" }, { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
        { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    };
    for (size_t i = 0; i < LWS_ARRAY_SIZE(phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].text;
    }
    return "Status";
}

static bool clean_header(const char *name, const char *value) { return !strpbrk(name, "\r\n:") && !strpbrk(value, "\r\n"); }

/* The head of an answer, appended to out. length < 0: chunked, or until close for HTTP/1.0. */
static void write_head(const struct conn *c, const osmo_response_t *r, int64_t length, bool keep_alive, buf_t *out) {
    buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status, reason_phrase(r->status));
    if (r->content_type && clean_header("", r->content_type))
        buf_printf(out, "Content-Type: %s\r\n", r->content_type);
    for (size_t i = 0; r->headers && r->headers[i] && r->headers[i + 1]; i += 2) {
        if (clean_header(r->headers[i], r->headers[i + 1]))
            buf_printf(out, "%s: %s\r\n", r->headers[i], r->headers[i + 1]);
    }
    if (length >= 0 && r->status != 204 && r->status != 304)
        buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (length < 0 && !c->http10)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    buf_puts(out, keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
}

static int send_bytes(struct osmo_server *s, struct conn *c, size_t len) {
    return lws_write(c->wsi, s->scratch + LWS_PRE, len, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

int http_refuse(struct osmo_server *s, struct conn *c, const osmo_response_t *r) {
    _cleanup_buf_ buf_t out = BUF_INIT(HEAD_ROOM + NET_PIECE);
    write_head(c, r, (int64_t)r->body_len, false, &out);
    if (!c->is_head)
        buf_append(&out, r->body, r->body_len);
    if (!buf_failed(&out)) {
        memcpy(s->scratch + LWS_PRE, out.data, out.len);
        (void)!send_bytes(s, c, out.len);
    }
    c->kill_ms = net_now_ms() + LINGER_MS;
    return -1;
}

/* Take the exchange off its connection; whoever holds it frees it. */
static void detach(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    c->ex = NULL;
    ex->conn = NULL;
    if (ex->body.max)
        s->body_bytes -= ex->body_len;
    bool mine = !c->dispatched;
    if (c->dispatched) {
        pthread_mutex_lock(&s->lock);
        table_remove(s, ex);
        ex->gone = true;
        if (!ex->busy && !ex->ready) {
            mine = !ex->is_stream && ex->response.body_fd < 0;
            if (!mine)
                release(s, ex);
        }
        pthread_mutex_unlock(&s->lock);
    }
    if (mine)
        exchange_free(ex);
}

/* Refuse before the service sees the request. The connection ends: what follows in it is a body nobody wants. */
static int refuse(struct osmo_server *s, struct conn *c, int status, const char *detail) {
    static char *retry[] = { (char *)(uintptr_t)"Retry-After", (char *)(uintptr_t)"1", NULL };
    char body[256], type[] = "application/json";
    int n = snprintf(body, sizeof body, "{\"detail\":\"%s\"}", detail);
    osmo_response_t r = { .size = sizeof r, .status = status, .content_type = type, .body = body, .body_len = (size_t)n,
                          .body_fd = -1, .headers = status == 503 ? retry : NULL };
    http_refuse(s, c, &r);
    if (c->ex)
        detach(s, c);
    /* A body that is on its way is read and dropped for a moment, so that the client gets to see the answer. */
    if (status == 413)
        return lws_http_transaction_completed(c->wsi) ? -1 : 0;
    return -1;
}

static bool queue_full(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    bool full = s->queued_requests >= s->max_queue;
    pthread_mutex_unlock(&s->lock);
    return full;
}

static int dispatch(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    if (ex->body_fd >= 0) {
        close(ex->body_fd);
        ex->body_fd = -1;
    }
    c->dispatched = true;
    /* The library's timeout for a body would cut a request whose answer takes its time. */
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    read_on(c, false);
    pthread_mutex_lock(&s->lock);
    ex->busy = true;
    ex->job.run = run_request;
    ex->job.counted = true;
    table_add(s, ex);
    workers_submit(s, &ex->job);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* -1 malformed, 0 absent or zero, 1 present */
static int body_length(const struct exchange *ex, uint64_t *len) {
    const char *text = http_request_header(ex, "content-length");
    *len = 0;
    if (!text)
        return 0;
    if (!*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
        return -1;
    *len = strtoull(text, NULL, 10);
    return *len > 0;
}

static void read_connection(struct conn *c, struct lws *wsi) {
    char version[16] = "";
    const char *connection = http_request_header(c->ex, "connection");
    if (lws_hdr_copy(wsi, version, sizeof version, WSI_TOKEN_HTTP) < 0)
        version[0] = '\0';
    c->http10 = strcmp(version, "HTTP/1.1") != 0;
    c->keep_alive = connection ? strcasecmp(connection, "close") != 0 && (!c->http10 || strcasecmp(connection, "keep-alive") == 0)
                               : !c->http10;
    c->is_head = strcmp(c->ex->method, "HEAD") == 0;
}

static int accept_body(struct osmo_server *s, struct conn *c, uint64_t len) {
    int to_file = 0;
    uint64_t limit = osmo_service_body_limit(s->service, c->ex->method, c->ex->path, &to_file);
    if (len > limit)
        return refuse(s, c, 413, "The request body is larger than the limit of this path");
    int rc = request_body_open(s, c->ex, len, to_file != 0);
    if (rc < 0)
        return refuse(s, c, rc == OSMO_EBUSY ? 503 : 500, "The request body cannot be stored now");
    const char *expect = http_request_header(c->ex, "expect");
    if (expect && strcasecmp(expect, "100-continue") == 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        memcpy(s->scratch + LWS_PRE, go_on, sizeof go_on - 1);
        return send_bytes(s, c, sizeof go_on - 1);
    }
    return 0;
}

int http_begin(struct osmo_server *s, struct conn *c) {
    uint64_t len;
    c->dispatched = c->head_sent = c->http10 = c->is_head = c->keep_alive = false;
    c->sent = 0;
    c->kill_ms = 0;
    c->reading = true;
    int rc = request_read(s, c->wsi, c, &c->ex);
    if (rc < 0)
        return refuse(s, c, rc == OSMO_ELIMIT ? 431 : 400, "The request cannot be understood");
    read_connection(c, c->wsi);
    int has_body = body_length(c->ex, &len);
    if (http_request_header(c->ex, "transfer-encoding"))
        return refuse(s, c, 411, "Chunked request bodies are not supported: send Content-Length");
    if (has_body < 0)
        return refuse(s, c, 400, "Content-Length is malformed");
    if (s->draining)
        return refuse(s, c, 503, "The service is stopping");
    if (has_body)
        return accept_body(s, c, len);
    if (queue_full(s))
        return refuse(s, c, 503, "Too many requests are waiting");
    /* Without a length the library waits for a body that never comes: the connection cannot be used again. */
    const char *m = c->ex->method;
    if (!http_request_header(c->ex, "content-length") && (!strcmp(m, "POST") || !strcmp(m, "PUT") || !strcmp(m, "PATCH")))
        c->keep_alive = false;
    return dispatch(s, c);
}

int http_body(struct osmo_server *s, struct conn *c, const void *data, size_t len) {
    if (!c->ex || c->dispatched || len == 0)
        return 0;
    int rc = request_body_add(s, c->ex, data, len);
    return rc < 0 ? refuse(s, c, 500, "The request body cannot be stored") : 0;
}

int http_body_done(struct osmo_server *s, struct conn *c) {
    if (!c->ex || c->dispatched)
        return 0;
    if (queue_full(s))
        return refuse(s, c, 503, "Too many requests are waiting");
    return dispatch(s, c);
}

void http_left(struct osmo_server *s, struct conn *c) {
    if (c->ex)
        detach(s, c);
}

static int finish(struct osmo_server *s, struct conn *c) {
    detach(s, c);
    c->kill_ms = 0;
    c->dispatched = false;
    read_on(c, true); /* also lets the library flush what it buffered */
    if (!c->keep_alive || s->draining) {
        c->kill_ms = net_now_ms() + (lws_partial_buffered(c->wsi) ? STALL_MS : LINGER_MS);
        return -1;
    }
    return lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

static uint64_t total_length(const osmo_response_t *r) { return r->body_fd >= 0 ? r->body_fd_len : r->body_len; }

/* Fill up to `room` bytes of the body at its current position. Negative when the descriptor fails. */
static ssize_t fill(struct conn *c, unsigned char *to, size_t room) {
    const osmo_response_t *r = &c->ex->response;
    uint64_t left = total_length(r) - c->sent;
    size_t n = left < room ? (size_t)left : room;
    if (n == 0)
        return 0;
    if (r->body_fd < 0) {
        memcpy(to, r->body + c->sent, n);
        return (ssize_t)n;
    }
    ssize_t got = pread(r->body_fd, to, n, (off_t)(r->body_fd_offset + c->sent));
    return got > 0 ? got : -1;
}

static int write_head_and_body(struct osmo_server *s, struct conn *c) {
    const osmo_response_t *r = &c->ex->response;
    unsigned char *p = s->scratch + LWS_PRE;
    size_t used = 0;
    if (!c->head_sent) {
        _cleanup_buf_ buf_t head = BUF_INIT(HEAD_ROOM);
        bool keep = c->keep_alive && !s->draining;
        if (r->stream && c->http10)
            c->keep_alive = keep = false;
        write_head(c, r, r->stream ? -1 : (int64_t)total_length(r), keep, &head);
        if (buf_failed(&head))
            return -1;
        memcpy(p, head.data, used = head.len);
        c->head_sent = true;
    }
    bool no_body = c->is_head || r->status == 204 || r->status == 304;
    if (!r->stream && !no_body) {
        ssize_t n = fill(c, p + used, NET_PIECE);
        if (n < 0)
            return -1;
        c->sent += (uint64_t)n;
        used += (size_t)n;
    }
    if (used && send_bytes(s, c, used) < 0)
        return -1;
    c->kill_ms = net_now_ms() + STALL_MS;
    if (no_body || (!r->stream && c->sent == total_length(r)))
        return finish(s, c);
    if (r->stream)
        c->kill_ms = 0;
    c->wants_write = true;
    return 0;
}

/* Take what the worker read, and let it go on reading. */
static size_t take_pending(struct osmo_server *s, struct conn *c, unsigned char *to, bool *eof, bool *failed) {
    struct exchange *ex = c->ex;
    pthread_mutex_lock(&s->lock);
    size_t n = ex->pending.len < NET_PIECE ? ex->pending.len : NET_PIECE;
    if (n) {
        memcpy(to, ex->pending.data, n);
        buf_consume(&ex->pending, n);
    }
    *eof = ex->eof && ex->pending.len == 0;
    *failed = ex->failed;
    bool more = ex->pending.len > 0;
    if (!ex->busy && ex->wake && !ex->eof && ex->pending.len < NET_STREAM_BUFFER) {
        ex->busy = true;
        ex->job.run = run_stream;
        workers_submit(s, &ex->job);
    }
    pthread_mutex_unlock(&s->lock);
    if (more || *eof)
        c->wants_write = true;
    return n;
}

static int write_stream(struct osmo_server *s, struct conn *c) {
    unsigned char *p = s->scratch + LWS_PRE, *data = p + 16;
    bool eof, failed;
    size_t n = take_pending(s, c, data, &eof, &failed), used = 0;
    if (n && c->http10) {
        memmove(p, data, n);
        used = n;
    } else if (n) {
        char size[16];
        int len = snprintf(size, sizeof size, "%zx\r\n", n);
        p = data - len;
        memcpy(p, size, (size_t)len);
        memcpy(data + n, "\r\n", 2);
        used = (size_t)len + n + 2;
    }
    if (eof && !failed && !c->http10) {
        memcpy(p + used, "0\r\n\r\n", 5);
        used += 5;
    }
    if (used && lws_write(c->wsi, p, used, LWS_WRITE_HTTP) < 0)
        return -1;
    if (!eof)
        return 0;
    return failed ? -1 : finish(s, c); /* a cut stream must not look complete */
}

static bool answered(struct osmo_server *s, struct conn *c) {
    if (!c->ex || !c->dispatched)
        return false;
    pthread_mutex_lock(&s->lock);
    bool yes = c->ex->answered;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* Write until there is nothing, the socket is full, or others deserve a turn. -1: the connection is to be closed. */
int http_writable(struct osmo_server *s, struct conn *c) {
    if (!answered(s, c))
        return 0;
    c->wants_write = true;
    for (int i = 0; i < PIECES_PER_TURN && c->wants_write && !lws_send_pipe_choked(c->wsi); i++) {
        c->wants_write = false;
        int rc = c->ex->response.stream && c->head_sent ? write_stream(s, c) : write_head_and_body(s, c);
        if (rc < 0 || !c->ex)
            return rc;
    }
    if (c->wants_write || lws_partial_buffered(c->wsi))
        ask_writable(c);
    else
        read_on(c, false);
    return 0;
}

void http_ready(struct osmo_server *s) {
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct exchange *ex = s->ready_head;
        struct conn *c = ex ? ex->conn : NULL;
        if (ex) {
            s->ready_head = ex->ready_next;
            if (!s->ready_head)
                s->ready_tail = NULL;
            ex->ready = false;
            if (!c && !ex->busy)
                release(s, ex);
        }
        pthread_mutex_unlock(&s->lock);
        if (!ex)
            return;
        if (c && http_writable(s, c) < 0)
            lws_set_timeout(c->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    }
}
