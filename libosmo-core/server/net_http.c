/* HTTP: dispatch of requests to workers, answers and streams back to the client. Network thread unless marked "worker". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include "base/crypto.h"
#include "server/net_carry.h"

#define HEAD_ROOM (16u << 10)
#define READ_PIECE (32u << 10)
#define KEPT_INPUT (8u << 10)
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
    buf_free(&ex->body);
    buf_free(&ex->pending);
    head_free(&ex->head);
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
    osmo_request_t rq;
    request_view(ex, &rq);
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

bool http_stream_idles(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    pthread_mutex_lock(&s->lock);
    bool idles = ex->is_stream && !ex->busy && !ex->eof && ex->pending.len == 0;
    pthread_mutex_unlock(&s->lock);
    return idles;
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

static const char *reason_phrase(int status) {
    static const struct { int status; const char *text; } phrases[] = {
        { 200, "OK" }, { 201, "Created" }, { 204, "No Content" }, { 206, "Partial Content" }, { 301, "Moved Permanently" },
        { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" }, { 400, "Bad Request" },
        { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 409, "Conflict" },
        { 410, "Gone" }, { 411, "Length Required" }, { 412, "Precondition Failed" }, { 413, "Content Too Large" },
        { 414, "URI Too Long" }, { 408, "Request Timeout" }, { 417, "Expectation Failed" }, { 426, "Upgrade Required" },
        { 416, "Range Not Satisfiable" }, { 422, "Unprocessable Content" }, { 425, "Too Early" }, { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" },
        { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < LWS_ARRAY_SIZE(phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].text;
    }
    return "Status";
}

static bool clean_header(const char *name, const char *value) { return !strpbrk(name, "\r\n:") && !strpbrk(value, "\r\n"); }

/* What a browser may do with our answers: nothing but hand them to whoever asked, from here. An answer may say otherwise. */
static const struct { const char *name, *value; } safe[] = {
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "no-referrer" },
    { "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
    { "Cross-Origin-Resource-Policy", "same-origin" },
    { "Cache-Control", "no-store" },
    { "Strict-Transport-Security", "max-age=31536000" },
};
#define SAFE_CACHE 5
#define SAFE_HSTS 6

static bool says(const osmo_response_t *r, const char *name) {
    for (size_t i = 0; r->headers && r->headers[i] && r->headers[i + 1]; i += 2) {
        if (strcasecmp(r->headers[i], name) == 0)
            return true;
    }
    return false;
}

static void write_line(buf_t *out, const char *name, const char *value) {
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_puts(out, value);
    buf_puts(out, "\r\n");
}

static void write_safety(const struct osmo_server *s, const struct conn *c, const osmo_response_t *r, buf_t *out) {
    bool api = !c->ex || !c->ex->head.path || strncmp(c->ex->head.path, "/api/", 5) == 0;
    for (size_t i = 0; i < LWS_ARRAY_SIZE(safe); i++) {
        bool meant = (i != SAFE_CACHE || api) && (i != SAFE_HSTS || s->tls);
        if (meant && !says(r, safe[i].name))
            write_line(out, safe[i].name, safe[i].value);
    }
}

/* Whoever keeps an answer counts its age from this. */
static void write_date(struct osmo_server *s, buf_t *out) {
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm t;
    if (now != s->date_of && gmtime_r(&now, &t)) {
        snprintf(s->date, sizeof s->date, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT", days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon,
                 t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
        s->date_of = now;
    }
    write_line(out, "Date", s->date);
}

/* The head of an answer, appended to out. length < 0: chunked, or until close for HTTP/1.0. */
static void write_head(struct osmo_server *s, const struct conn *c, const osmo_response_t *r, int64_t length, bool keep_alive,
                       buf_t *out) {
    buf_reserve(out, 1024);
    buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status, reason_phrase(r->status));
    write_date(s, out);
    if (r->content_type && clean_header("", r->content_type))
        write_line(out, "Content-Type", r->content_type);
    for (size_t i = 0; r->headers && r->headers[i] && r->headers[i + 1]; i += 2) {
        if (clean_header(r->headers[i], r->headers[i + 1]))
            write_line(out, r->headers[i], r->headers[i + 1]);
    }
    write_safety(s, c, r, out);
    if (length >= 0 && r->status != 204 && r->status != 304)
        buf_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (length < 0 && !c->http10)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    buf_puts(out, !keep_alive ? "Connection: close\r\n\r\n" : c->http10 ? "Connection: keep-alive\r\n\r\n" : "\r\n");
}

/* What the scratch buffer holds. It may be a token, which is not left there. */
static int send_bytes(struct osmo_server *s, struct conn *c, size_t len) {
    int rc = net_write(s, c, s->scratch + LWS_PRE, len);
    crypto_wipe(s->scratch + LWS_PRE, len);
    return rc;
}

int http_refuse(struct osmo_server *s, struct conn *c, const osmo_response_t *r) {
    _cleanup_buf_ buf_t out = BUF_INIT(HEAD_ROOM + NET_PIECE);
    write_head(s, c, r, (int64_t)r->body_len, false, &out);
    if (!c->is_head)
        buf_append(&out, r->body, r->body_len);
    if (!buf_failed(&out)) {
        memcpy(s->scratch + LWS_PRE, out.data, out.len);
        (void)!send_bytes(s, c, out.len);
    }
    return net_linger(s, c);
}

/* Take the exchange off its connection; whoever holds it frees it. */
static void detach(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    c->ex = NULL;
    ex->conn = NULL;
    if (ex->body.max)
        s->body_bytes -= ex->body_got;
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
int http_deny(struct osmo_server *s, struct conn *c, int status, const char *detail) {
    static char *retry[] = { (char *)(uintptr_t)"Retry-After", (char *)(uintptr_t)"1", NULL };
    char body[256], type[] = "application/json";
    int n = snprintf(body, sizeof body, "{\"detail\":\"%s\"}", detail);
    osmo_response_t r = { .size = sizeof r, .status = status, .content_type = type, .body = body, .body_len = (size_t)n,
                          .body_fd = -1, .headers = status == 503 ? retry : NULL };
    int rc = http_refuse(s, c, &r);
    if (c->ex)
        detach(s, c);
    return rc;
}

static bool queue_full(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    bool full = s->queued_requests >= s->max_queue;
    pthread_mutex_unlock(&s->lock);
    return full;
}

/* Off the front of what came. It may hold tokens, so nothing of it stays behind. */
void http_take(struct conn *c, size_t n) {
    if (n == 0)
        return;
    buf_consume(&c->in, n);
    crypto_wipe(c->in.data + c->in.len, n);
    c->scanned = 0;
    if (c->in.len == 0 && c->in.cap > KEPT_INPUT)
        buf_free(&c->in);
}

static int dispatch(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    if (ex->body_fd >= 0) {
        close(ex->body_fd);
        ex->body_fd = -1;
    }
    c->dispatched = true;
    c->kill_ms = c->body_since_ms = 0;
    net_read(c, false); /* what comes meanwhile may wait in the socket */
    pthread_mutex_lock(&s->lock);
    ex->busy = true;
    ex->job.run = run_request;
    ex->job.counted = true;
    table_add(s, ex);
    workers_submit(s, &ex->job);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int accept_body(struct osmo_server *s, struct conn *c, uint64_t len) {
    int to_file = 0;
    uint64_t limit = osmo_service_body_limit(s->service, c->ex->head.method, c->ex->head.path, &to_file);
    if (len > limit)
        return http_deny(s, c, 413, "The request body is larger than the limit of this path");
    if (request_body_open(s, c->ex, len, to_file != 0) < 0)
        return http_deny(s, c, 500, "The request body cannot be stored");
    c->body_since_ms = net_now_ms();
    c->kill_ms = 0;
    if (c->ex->head.wants_continue) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        memcpy(s->scratch + LWS_PRE, go_on, sizeof go_on - 1);
        return send_bytes(s, c, sizeof go_on - 1);
    }
    return 0;
}

/* Most requests are for here, and nobody is asked. */
static osmo_place_t place_of(struct osmo_server *s, struct conn *c, osmo_elsewhere_t *where) {
    osmo_request_t rq;
    if (!c->ex->head.websocket && !tunnel_meant(&c->ex->head))
        return OSMO_PLACE_HERE;
    request_view(c->ex, &rq);
    return osmo_service_place(s->service, &rq, where);
}

/* A head is there. */
static int begin(struct osmo_server *s, struct conn *c, size_t size) {
    struct exchange *ex = exchange_new(s, c);
    c->dispatched = c->head_sent = c->http10 = c->is_head = c->keep_alive = false;
    c->sent = 0;
    c->ex = ex;
    if (!ex)
        return http_deny(s, c, 503, "There is no memory for the request");
    int status = head_read(c->in.data, size, &ex->head);
    osmo_elsewhere_t where = { .size = sizeof where };
    osmo_place_t place = status ? OSMO_PLACE_HERE : place_of(s, c, &where);
    if (!status && place == OSMO_PLACE_HERE)
        status = head_ours(&ex->head);
    if (status) {
        http_take(c, size);
        return http_deny(s, c, status, ex->head.why);
    }
    c->http10 = ex->head.http10;
    c->keep_alive = ex->head.keep_alive;
    c->is_head = strcmp(ex->head.method, "HEAD") == 0;
    if (s->draining)
        return http_deny(s, c, 503, "The service is stopping");
    if (place == OSMO_PLACE_TUNNEL)
        return tunnel_begin(s, c, size);
    if (place == OSMO_PLACE_ELSEWHERE)
        return elsewhere_begin(s, c, &where, size);
    http_take(c, size);
    if (ex->head.websocket)
        return ws_upgrade(s, c);
    if (ex->head.body_len)
        return accept_body(s, c, ex->head.body_len);
    if (queue_full(s))
        return http_deny(s, c, 503, "Too many requests are waiting");
    return dispatch(s, c);
}

/* The next piece of a body. */
static int go_on(struct osmo_server *s, struct conn *c) {
    struct exchange *ex = c->ex;
    uint64_t left = ex->body_len - ex->body_got;
    size_t n = c->in.len < left ? c->in.len : (size_t)left;
    int rc = request_body_add(s, ex, c->in.data, n);
    http_take(c, n);
    if (rc < 0)
        return http_deny(s, c, rc == OSMO_EBUSY ? 503 : 500, "The request body cannot be stored now");
    if (ex->body_got < ex->body_len)
        return 0;
    if (queue_full(s))
        return http_deny(s, c, 503, "Too many requests are waiting");
    return dispatch(s, c);
}

static int deny_head(struct osmo_server *s, struct conn *c, int status) {
    c->is_head = c->http10 = false;
    return http_deny(s, c, status, status == 414 ? "The address is longer than 16 KiB"
                              : status == 431 ? "The headers are larger than 32 KiB"
                                              : "This is no HTTP/1.1 request");
}

int http_received(struct osmo_server *s, struct conn *c) {
    while (c->in.len && !c->lingers && !c->session && !c->carry && !(c->ex && c->dispatched)) {
        if (c->ex) {
            int rc = go_on(s, c);
            if (rc < 0)
                return rc;
            continue;
        }
        size_t blank = 0;
        while (c->in.len >= blank + 2 && memcmp(c->in.data + blank, "\r\n", 2) == 0) /* left over from the last one */
            blank += 2;
        http_take(c, blank);
        if (c->in.len == 0 || (c->in.len == 1 && c->in.data[0] == '\r'))
            break;
        if (!c->kill_ms || c->idle)
            c->kill_ms = net_now_ms() + net_patience.head_ms;
        c->idle = false;
        int64_t size = head_size(c->in.data, c->in.len, &c->scanned);
        if (size == 0)
            break;
        int rc = size < 0 ? deny_head(s, c, (int)-size) : begin(s, c, (size_t)size);
        if (rc < 0)
            return rc;
    }
    return c->carry && c->in.len ? carry_input(s, c) : c->session ? ws_received(s, c) : 0;
}

int http_timeout(struct osmo_server *s, struct conn *c) {
    if (c->carry && !c->session && !c->carry->joined && !c->carry->ending)
        return elsewhere_late(s, c);
    return c->idle || c->lingers || c->session || c->carry || (c->ex && c->dispatched)
               ? -1 : http_deny(s, c, 408, "The request did not come in time");
}

void http_left(struct osmo_server *s, struct conn *c) {
    if (c->ex)
        detach(s, c);
}

/* The answer is written. What has come behind its request waits for the next turn of the loop. As long as the library still holds a part
 * of the answer nothing is read: it would drop that part when it saw the client's end. */
static int finish(struct osmo_server *s, struct conn *c) {
    detach(s, c);
    c->dispatched = false;
    if (!c->keep_alive || s->draining)
        return net_linger(s, c);
    bool waits = lws_partial_buffered(c->wsi);
    c->kill_ms = net_now_ms() + (waits ? net_patience.stall_ms : net_patience.idle_ms);
    c->idle = true;
    net_read(c, !waits);
    if (waits)
        lws_callback_on_writable(c->wsi);
    return c->in.len ? http_received(s, c) : 0;
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
        write_head(s, c, r, r->stream ? -1 : (int64_t)total_length(r), keep, &head);
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
    c->kill_ms = net_now_ms() + net_patience.stall_ms;
    if (no_body || (!r->stream && c->sent == total_length(r)))
        return finish(s, c);
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
    if (used && net_write(s, c, p, used) < 0)
        return -1;
    if (used)
        c->kill_ms = net_now_ms() + net_patience.stall_ms;
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
    /* An answer to a client that takes what it gets is one piece, and asking whether there is room costs as much as writing it. */
    bool room = !lws_partial_buffered(c->wsi);
    if (room && !(c->ex && c->dispatched))
        net_read(c, true);
    if (!answered(s, c))
        return 0;
    uint64_t id = c->ex->id;
    c->wants_write = true;
    for (int i = 0; i < PIECES_PER_TURN && c->wants_write && (room || !lws_send_pipe_choked(c->wsi)); i++) {
        room = false;
        c->wants_write = false;
        int rc = c->ex->response.stream && c->head_sent ? write_stream(s, c) : write_head_and_body(s, c);
        if (rc < 0 || !c->ex || c->ex->id != id) /* done with this one, and perhaps at the next */
            return rc;
    }
    if (c->wants_write || lws_partial_buffered(c->wsi))
        lws_callback_on_writable(c->wsi);
    else if (c->ex->response.stream) /* it is up to the stream now, not to the client */
        c->kill_ms = 0;
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
