/* Bytes between a websocket and descriptors; see ws_pump.h. What is read goes into the message that is sent, what comes is written at once:
 * bytes are kept only while somebody does not take them. */
#include "base/ws_pump.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/ws_client_conn.h"

#define CHUNK_MIN 4096u
#define READS_PER_TURN 4
#define RATE_STEP 1024 /* fewer bytes are not worth a message */
#define SILENCE_MS 30000 /* so long the end of `in` waits for the other side's first word */
#define SINK_MAX (64u << 20)
#define HALF_CLOSE "{\"half_close\":true}"

struct sink { int fd; buf_t waiting; size_t at; };

struct ws_pump {
    struct ws_pump *next, **link;
    struct ws_pump_options o;
    uint64_t conn;
    struct sink out, err;
    size_t chunk;                /* what the next read asks for */
    int depth;                   /* of our functions on the stack: the last one frees */
    bool open, held, finished;
    bool in_ended, out_ended;    /* there is nothing more to read; nothing more will come for `out` */
    bool out_shut, closing, by_descriptor, gone, full, deaf, waits;
    bool heard, undecided;       /* a message has come; `in` has ended before one */
    uint64_t timer, silence, in_bytes, out_bytes;
    int64_t allowed, allowed_us; /* the rate's bucket, and when it was filled */
    int code, http_status;
    char reason[REASON_MAX];
};

static void on_descriptor(void *ctx, int fd, int events);

static void enter(struct ws_pump *p) { p->depth++; }

static void leave(struct ws_pump *p) {
    if (--p->depth || !p->finished)
        return;
    buf_free(&p->out.waiting);
    buf_free(&p->err.waiting);
    free(p);
}

static size_t waiting(const struct sink *s) { return s->waiting.len - s->at; }

/* ---- the end ---- */

static void unwatch(struct ws_pump *p) {
    const int fds[] = { p->o.in, p->out.fd, p->err.fd };
    for (size_t i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            ws_loop_watch(p->o.loop, fds[i], 0, NULL, NULL);
    }
}

static void finish(struct ws_pump *p) {
    if (p->finished)
        return;
    p->finished = true;
    unwatch(p);
    if (p->timer)
        ws_loop_cancel(p->o.loop, p->timer);
    if (p->silence)
        ws_loop_cancel(p->o.loop, p->silence);
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    if (p->o.close_fds) {
        if (p->out.fd >= 0 && p->out.fd != p->o.in)
            close(p->out.fd);
        if (p->o.in >= 0)
            close(p->o.in);
    }
    if (p->o.ended)
        p->o.ended(p->o.ctx, p->by_descriptor ? 0 : p->code, p->by_descriptor ? 0 : p->http_status, p->by_descriptor ? "" : p->reason);
}

static void close_it(struct ws_pump *p, bool by_descriptor, int code, const char *reason) {
    if (p->closing || p->gone)
        return;
    p->closing = p->in_ended = true;
    p->by_descriptor = by_descriptor;
    ws_conn_read(p->o.loop, p->conn, true); /* for its answer */
    ws_conn_close(p->o.loop, p->conn, code, reason);
}

/* ---- towards the descriptors ---- */

static bool sink_open(const struct sink *s) { return s->fd >= 0; }

/* @return how many bytes were taken; -1 when nobody takes them any more. */
static ssize_t write_some(const struct sink *s, const char *data, size_t len) {
    size_t at = 0;
    while (at < len) {
        ssize_t n = write(s->fd, data + at, len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? (ssize_t)at : -1;
    }
    return (ssize_t)at;
}

static int sink_put(struct sink *s, const char *data, size_t len) {
    ssize_t n = 0;
    if (!waiting(s)) {
        n = write_some(s, data, len);
        if (n < 0)
            return -1;
    }
    if ((size_t)n == len)
        return 0;
    if (s->at > s->waiting.len / 2) {
        buf_consume(&s->waiting, s->at);
        s->at = 0;
    }
    return buf_append(&s->waiting, data + n, len - (size_t)n);
}

static int sink_flush(struct sink *s) {
    ssize_t n = waiting(s) ? write_some(s, s->waiting.data + s->at, waiting(s)) : 0;
    if (n < 0)
        return -1;
    s->at += (size_t)n;
    if (s->at == s->waiting.len && s->waiting.data) {
        buf_free(&s->waiting); /* who is idle keeps nothing */
        s->at = 0;
    }
    return 0;
}

static void shut_out(struct ws_pump *p) {
    p->out_shut = true;
    if (!sink_open(&p->out))
        return;
    if (p->out.fd == p->o.in || !p->o.close_fds) {
        shutdown(p->out.fd, SHUT_WR);
    } else {
        ws_loop_watch(p->o.loop, p->out.fd, 0, NULL, NULL);
        close(p->out.fd);
        p->out.fd = -1;
    }
}

/* What follows from the state that somebody has changed. */
static void settle(struct ws_pump *p) {
    size_t w = waiting(&p->out) + waiting(&p->err);
    if (p->finished)
        return;
    if (p->out_ended && !p->out_shut && !waiting(&p->out))
        shut_out(p);
    if (p->in_ended && p->out_shut)
        close_it(p, true, 1000, "");
    if (p->gone && (w == 0 || p->o.loop->freed)) {
        finish(p);
        return;
    }
    bool deaf = !p->closing && !p->gone && (p->deaf ? w > WS_PUMP_QUEUE / 2 : w >= WS_PUMP_QUEUE);
    if (deaf != p->deaf && !p->gone) {
        p->deaf = deaf;
        ws_conn_read(p->o.loop, p->conn, !deaf);
    }
    bool reads = p->open && !p->held && !p->in_ended && !p->full && !p->waits && p->o.in >= 0;
    int in = reads ? WS_FD_READ : 0, out = waiting(&p->out) ? WS_FD_WRITE : 0;
    if (p->o.in >= 0)
        ws_loop_watch(p->o.loop, p->o.in, in | (p->out.fd == p->o.in ? out : 0), on_descriptor, p);
    if (sink_open(&p->out) && p->out.fd != p->o.in)
        ws_loop_watch(p->o.loop, p->out.fd, out, on_descriptor, p);
    if (sink_open(&p->err))
        ws_loop_watch(p->o.loop, p->err.fd, waiting(&p->err) ? WS_FD_WRITE : 0, on_descriptor, p);
}

/* Whoever took our bytes does not any more. */
static void lost(struct ws_pump *p, struct sink *s) {
    buf_free(&s->waiting);
    s->at = 0;
    p->out_ended = p->out_shut = true;
    close_it(p, true, 1000, "");
}

/* ---- from the descriptors ---- */

static void on_refill(void *ctx) {
    struct ws_pump *p = ctx;
    enter(p);
    p->timer = 0;
    p->waits = false;
    settle(p);
    leave(p);
}

/* How many bytes may be read now; 0: the timer will tell when. */
static size_t allowance(struct ws_pump *p) {
    if (!p->o.rate)
        return p->chunk;
    int64_t now = clock_mono_us(), rate = (int64_t)p->o.rate, most = rate / 8 > RATE_STEP ? rate / 8 : RATE_STEP;
    int64_t since = now - p->allowed_us < 1000000 ? now - p->allowed_us : 1000000;
    int64_t more = (int64_t)((double)rate * (double)since / 1e6);
    if (more > 0) {
        p->allowed = p->allowed + more < most ? p->allowed + more : most;
        p->allowed_us = now;
    }
    if (p->allowed >= RATE_STEP || p->allowed == most)
        return p->allowed < (int64_t)p->chunk ? (size_t)p->allowed : p->chunk;
    if (!p->waits) {
        p->timer = ws_loop_after(p->o.loop, (RATE_STEP - p->allowed) * 1000 / rate + 1, on_refill, p);
        p->waits = p->timer != 0; /* none to be had: the descriptor asks again */
    }
    return 0;
}

/* What the end of `in` means depends on whether the other side knows half-closed connections, too. */
static void tell_end(struct ws_pump *p) {
    p->undecided = false;
    if (!p->o.ends_input)
        close_it(p, true, 1000, "");
    else if (!p->closing && !p->gone)
        ws_conn_send(p->o.loop, p->conn, "", 0, true);
}

static void on_silence(void *ctx) {
    struct ws_pump *p = ctx;
    enter(p);
    p->silence = 0;
    if (p->undecided)
        tell_end(p);
    settle(p);
    leave(p);
}

static void input_ended(struct ws_pump *p) {
    p->in_ended = true;
    if (p->o.input_over) {
        p->o.input_over(p->o.ctx);
    } else if (p->o.half_close && !p->o.ends_input && !p->heard) { /* its first message says it */
        p->undecided = true;
        p->silence = ws_loop_after(p->o.loop, SILENCE_MS, on_silence, p);
        if (!p->silence)
            tell_end(p);
    } else {
        tell_end(p);
    }
}

static void adapt(struct ws_pump *p, size_t asked, size_t got) {
    if (got == asked && asked == p->chunk)
        p->chunk = p->chunk * 4 < WS_PUMP_FRAME ? p->chunk * 4 : WS_PUMP_FRAME;
    else if (got < p->chunk / 8 && p->chunk > CHUNK_MIN)
        p->chunk /= 2;
}

/* @return whether there may be more at once */
static bool read_once(struct ws_pump *p) {
    char *data;
    size_t cap = allowance(p);
    p->full = ws_conn_full(p->o.loop, p->conn);
    ws_out_t *m = cap && !p->full ? ws_out_new(cap, &data) : NULL;
    if (!m)
        return false;
    ssize_t n = read(p->o.in, data, cap);
    if (n <= 0) {
        ws_out_free(m);
        if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) /* EIO: the other side of a terminal is gone */
            input_ended(p);
        return false;
    }
    p->in_bytes += (uint64_t)n;
    p->allowed -= n;
    size_t len = p->o.input ? p->o.input(p->o.ctx, data, (size_t)n, cap) : (size_t)n;
    adapt(p, cap, (size_t)n);
    if (len && !p->in_ended)
        ws_out_send(p->o.loop, p->conn, m, len, true);
    else
        ws_out_free(m);
    return (size_t)n == cap && !p->in_ended;
}

static void on_descriptor(void *ctx, int fd, int events) {
    struct ws_pump *p = ctx;
    enter(p);
    if ((events & WS_FD_WRITE) && fd == p->out.fd && sink_flush(&p->out) < 0)
        lost(p, &p->out);
    if ((events & WS_FD_WRITE) && fd == p->err.fd && sink_flush(&p->err) < 0)
        lost(p, &p->err);
    if ((events & WS_FD_READ) && fd == p->o.in && !p->in_ended) {
        for (int i = 0; i < READS_PER_TURN && read_once(p); i++)
            ;
    }
    settle(p);
    leave(p);
}

/* ---- from the websocket ---- */

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct ws_pump *p = ctx;
    enter(p);
    p->open = true;
    if (p->o.half_close && p->o.ends_input)
        ws_conn_send(p->o.loop, conn, HALF_CLOSE, sizeof HALF_CLOSE - 1, false);
    if (p->o.opened)
        p->o.opened(p->o.ctx, extensions);
    settle(p);
    leave(p);
}

static void take(struct ws_pump *p, struct sink *s, const char *data, size_t len) {
    if (sink_open(s) && !(s == &p->out && p->out_ended) && sink_put(s, data, len) < 0)
        lost(p, s);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct ws_pump *p = ctx;
    (void)conn;
    if (p->finished)
        return;
    enter(p);
    if (!binary && p->o.half_close && len == sizeof HALF_CLOSE - 1 && memcmp(data, HALF_CLOSE, len) == 0) {
        p->o.ends_input = true;
    } else if (!binary && p->o.text && p->o.text(p->o.ctx, data, len)) {
        ; /* it was for us */
    } else if (!len) {
        p->out_ended = true;
        if (!p->o.ends_input)
            close_it(p, false, 1000, "");
    } else {
        p->out_bytes += len;
        if (p->o.output)
            p->o.output(p->o.ctx, data, len);
        take(p, &p->out, data, len);
    }
    p->heard = true;
    if (p->undecided)
        tell_end(p);
    settle(p);
    leave(p);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct ws_pump *p = ctx;
    (void)conn;
    enter(p);
    p->gone = p->in_ended = true;
    p->code = code;
    p->http_status = http_status;
    snprintf(p->reason, sizeof p->reason, "%s", reason);
    settle(p);
    leave(p);
}

static void on_writable(void *ctx, uint64_t conn) {
    struct ws_pump *p = ctx;
    (void)conn;
    enter(p);
    p->full = false;
    settle(p);
    leave(p);
}

/* ---- public ---- */

static int prepare(int fd) {
    int flags = fcntl(fd, F_GETFL), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* whatever else it is does not mind */
    if (flags < 0)
        return -1;
    return flags & O_NONBLOCK ? 0 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int ws_pump_start(const struct ws_pump_options *o, const ws_options_t *connect, struct ws_pump **out, osmo_error_t *err) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed, .writable = on_writable };
    ws_options_t options = *connect;
    struct ws_pump *p = calloc(1, sizeof *p);
    if (!p)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for a connection");
    p->o = *o;
    p->held = o->held;
    p->out.fd = o->out;
    p->err.fd = o->err > 0 ? o->err : -1;
    buf_init(&p->out.waiting, SINK_MAX);
    buf_init(&p->err.waiting, SINK_MAX);
    p->chunk = CHUNK_MIN;
    p->allowed_us = clock_mono_us() - 125000;
    options.max_queue = options.max_queue ? options.max_queue : WS_PUMP_QUEUE;
    options.pieces = true;
    int rc = OSMO_OK;
    const int fds[] = { p->o.in, p->out.fd, p->err.fd };
    for (size_t i = 0; i < 3 && rc == OSMO_OK; i++) {
        if (fds[i] >= 0 && prepare(fds[i]) < 0)
            rc = osmo_error_set(err, OSMO_EINVAL, "descriptor %d cannot be used: %s", fds[i], strerror(errno));
    }
    if (rc == OSMO_OK)
        rc = ws_connect(o->loop, &options, &handlers, p, &p->conn, err);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p->next = o->loop->pumps;
    p->link = &o->loop->pumps;
    if (p->next)
        p->next->link = &p->next;
    o->loop->pumps = p;
    *out = p;
    return OSMO_OK;
}

void ws_pump_go(struct ws_pump *p) {
    enter(p);
    p->held = false;
    settle(p);
    leave(p);
}

int ws_pump_send(struct ws_pump *p, const void *data, size_t len, bool binary) {
    return ws_conn_send(p->o.loop, p->conn, data, len, binary);
}

void ws_pump_error(struct ws_pump *p, const void *data, size_t len) {
    enter(p);
    take(p, &p->err, data, len);
    settle(p);
    leave(p);
}

void ws_pump_close(struct ws_pump *p, int code, const char *reason) {
    enter(p);
    close_it(p, false, code, reason);
    settle(p);
    leave(p);
}

void ws_pump_counts(const struct ws_pump *p, uint64_t *in, uint64_t *out) {
    *in = p->in_bytes;
    *out = p->out_bytes;
}

void pumps_end(struct ws_loop *l) {
    while (l->pumps) {
        struct ws_pump *p = l->pumps;
        enter(p);
        finish(p);
        leave(p);
    }
}
