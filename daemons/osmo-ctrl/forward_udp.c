/* Forwards to a UDP port of this pod. One websocket for all: each message is a datagram behind the six bytes that say who sent it, and the
 * answers bear the same bytes. Each sender has a socket of its own, so that the server tells them apart; who is silent loses it. Datagrams
 * that nobody takes are dropped. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actions.h"
#include "base/clock.h"

#define TRIES 10
#define FROM_BYTES 6
#define DATAGRAM_MAX 65536
#define SOURCES_MAX 256
#define IDLE_US (120LL * 1000000)
#define SWEEP_MS 30000
#define READS_PER_TURN 16

struct source {
    struct source *next;
    struct udp_forward *f;
    unsigned char from[FROM_BYTES];
    int fd;
    int64_t used_us;
};

struct udp_forward {
    struct actions *a;
    struct action action;
    struct dial dial;
    struct source *sources;
    size_t nsources;
    uint64_t conn, timer;
    bool open;
};

static void source_free(struct udp_forward *f, struct source **p) {
    struct source *s = *p;
    *p = s->next;
    ws_loop_watch(f->a->loop, s->fd, 0, NULL, NULL);
    close(s->fd);
    f->nsources--;
    f->a->nsources--;
    free(s);
}

static void forward_free(struct udp_forward *f) {
    while (f->sources)
        source_free(f, &f->sources);
    if (f->timer)
        ws_loop_cancel(f->a->loop, f->timer);
    dial_stop(&f->dial);
    f->a->nforwards--;
    action_clear(&f->action);
    free(f);
}

static void sweep(void *ctx) {
    struct udp_forward *f = ctx;
    int64_t now = clock_mono_us();
    for (struct source **p = &f->sources; *p;) {
        if (now - (*p)->used_us > IDLE_US)
            source_free(f, p);
        else
            p = &(*p)->next;
    }
    f->timer = ws_loop_after(f->a->loop, SWEEP_MS, sweep, f);
}

/* From the server, back to who asked. false: nothing more is there. */
static bool answer(struct source *s) {
    struct udp_forward *f = s->f;
    static char drop[1];
    char *room;
    ws_out_t *m = ws_conn_full(f->a->loop, f->conn) ? NULL : ws_out_new(FROM_BYTES + DATAGRAM_MAX, &room);
    ssize_t n = m ? recv(s->fd, room + FROM_BYTES, DATAGRAM_MAX, MSG_DONTWAIT) : recv(s->fd, drop, sizeof drop, MSG_DONTWAIT);
    if (n < 0 || !m) {
        ws_out_free(m);
        return n >= 0 || errno == ECONNREFUSED || errno == EINTR; /* refused: an earlier datagram; that is told once */
    }
    memcpy(room, s->from, FROM_BYTES);
    s->used_us = clock_mono_us();
    ws_out_send(f->a->loop, f->conn, m, FROM_BYTES + (size_t)n, true);
    return true;
}

static void on_fd(void *ctx, int fd, int events) {
    struct source *s = ctx;
    (void)fd, (void)events;
    for (int i = 0; i < READS_PER_TURN && answer(s); i++)
        continue;
}

static struct source *source_new(struct udp_forward *f, const char *from) {
    struct source *s = calloc(1, sizeof *s);
    if (!s || (s->fd = forward_socket(f->action.port, false, SOCK_DGRAM)) < 0) {
        free(s);
        return NULL;
    }
    if (ws_loop_watch(f->a->loop, s->fd, WS_FD_READ, on_fd, s)) {
        close(s->fd);
        free(s);
        return NULL;
    }
    s->f = f;
    memcpy(s->from, from, FROM_BYTES);
    s->next = f->sources;
    f->sources = s;
    f->nsources++;
    f->a->nsources++;
    return s;
}

static void drop_oldest(struct udp_forward *f) {
    struct source **oldest = &f->sources;
    for (struct source **p = &f->sources; *p; p = &(*p)->next) {
        if ((*p)->used_us < (*oldest)->used_us)
            oldest = p;
    }
    if (*oldest)
        source_free(f, oldest);
}

static struct source *source_of(struct udp_forward *f, const char *from) {
    for (struct source **p = &f->sources; *p; p = &(*p)->next) {
        struct source *s = *p;
        if (memcmp(s->from, from, FROM_BYTES) != 0)
            continue;
        *p = s->next; /* to the front: who talks is found at once */
        s->next = f->sources;
        f->sources = s;
        return s;
    }
    if (f->nsources >= SOURCES_MAX || f->a->nsources >= UDP_SOURCES_MAX)
        drop_oldest(f);
    return f->a->nsources < UDP_SOURCES_MAX ? source_new(f, from) : NULL;
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct udp_forward *f = ctx;
    (void)conn, (void)binary;
    struct source *s = len >= FROM_BYTES ? source_of(f, data) : NULL;
    if (!s)
        return;
    s->used_us = clock_mono_us();
    for (int i = 0; i < 2; i++) { /* the first time may only tell that an earlier one was refused */
        if (send(s->fd, data + FROM_BYTES, len - FROM_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != ECONNREFUSED)
            break;
    }
}

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct udp_forward *f = ctx;
    (void)conn, (void)extensions;
    f->open = true;
    dial_stop(&f->dial);
    sweep(f);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct udp_forward *f = ctx;
    (void)conn, (void)code;
    if (!f->open)
        dial_failed(&f->dial, http_status, reason);
    else
        forward_free(f);
}

static int attempt(void *ctx, const ws_options_t *o) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed };
    struct udp_forward *f = ctx;
    return ws_connect(f->a->loop, o, &handlers, f, &f->conn, NULL);
}

static void gave_up(void *ctx, const char *reason) {
    struct udp_forward *f = ctx;
    fprintf(stderr, "osmo_ctrl: a forward of UDP port %d could not reach the router: %s\n", f->action.port, reason);
    forward_free(f);
}

void forward_udp_open(struct actions *a, struct action *action) {
    struct udp_forward *f = calloc(1, sizeof *f);
    if (!f)
        return;
    *f = (struct udp_forward){ .a = a, .action = *action };
    *action = (struct action){ 0 };
    a->nforwards++;
    if (dial_start(&f->dial, a, &f->action.at, ACTION_PORTFORWARD, TRIES, attempt, gave_up, f))
        forward_free(f);
}
