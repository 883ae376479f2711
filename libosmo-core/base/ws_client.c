/* The websocket client's loop: threads, timers, wakes and the table of connections. ws_client_conn.c is one
 * connection, ws_client_watch.c what the loop waits for. Callers are the programs that dial: operator, in-pod
 * controller, the user's client. */
#include "base/ws_client.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/http.h"
#include "base/ws_client_conn.h"

#define SWEEP_MS 1000

int64_t loop_now_ms(void) { return clock_mono_us() / 1000; }

static void on_wake(void *ctx, int fd, int events) {
    uint64_t n;
    (void)ctx, (void)events;
    ssize_t got = read(fd, &n, sizeof n);
    (void)got; /* what there is to do is found afterwards */
}

int ws_loop_new(ws_loop_t **out, osmo_error_t *err) {
    ws_loop_t *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for a websocket loop");
    pthread_mutex_init(&l->lock, NULL);
    l->next_conn = l->next_timer = 1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->input = malloc(READ_SIZE + 1);
    if (!l->input || l->epoll_fd < 0 || l->wake_fd < 0 || ws_loop_watch(l, l->wake_fd, WS_FD_READ, on_wake, l) < 0) {
        ws_loop_free(l);
        return osmo_error_set(err, OSMO_EIO, "cannot start a websocket loop: too few descriptors or memory");
    }
    *out = l;
    return OSMO_OK;
}

void ws_loop_free(ws_loop_t *l) {
    if (!l)
        return;
    l->freed = true;
    while (l->conns)
        conn_finish(l->conns);
    pumps_end(l);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    if (l->tls_trust)
        tls_client_free(l->tls_trust);
    while (l->timers) {
        struct ws_timer *t = l->timers;
        l->timers = t->next;
        free(t);
    }
    free(l->watches);
    free(l->input);
    free(l->ca_file);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- running ---- */

bool loop_is_here(const struct ws_loop *l) { return l->running && pthread_equal(l->thread, pthread_self()); }

void loop_later(struct ws_conn *c) {
    if (c->later)
        return;
    c->later = true;
    c->later_next = c->loop->later;
    c->loop->later = c;
}

/* The next connection that somebody sent to or closed. */
static struct ws_conn *next_kicked(ws_loop_t *l) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = l->kicked;
    if (c) {
        l->kicked = c->kicked;
        c->kick = false;
        c->kicked = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return c;
}

/* What was asked for, by other threads or by callbacks. False: to stop. */
static bool process(ws_loop_t *l) {
    struct ws_wake wakes[MAX_WAKES];
    struct ws_conn *c;
    pthread_mutex_lock(&l->lock);
    l->signalled = false;
    size_t n = l->wake_count;
    memcpy(wakes, l->wakes, n * sizeof wakes[0]);
    l->wake_count = 0;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++)
        wakes[i].fn(wakes[i].ctx);
    while ((c = next_kicked(l)))
        conn_look(c);
    struct ws_conn *list = l->later; /* what is added meanwhile is for the next turn */
    l->later = NULL;
    while ((c = list)) {
        list = c->later_next;
        c->later = false;
        if (c->state == CONN_FAILED)
            conn_finish(c);
        else
            conn_look(c);
    }
    pthread_mutex_lock(&l->lock);
    bool go_on = !l->stop;
    pthread_mutex_unlock(&l->lock);
    return go_on;
}

static void sweep(ws_loop_t *l, int64_t now) {
    for (struct ws_conn *c = l->conns; c; c = c->next) /* ends come later: the list stays */
        conn_sweep(c, now);
    l->next_sweep_ms = now + SWEEP_MS;
}

static void run_timers(ws_loop_t *l) {
    int64_t now = loop_now_ms();
    while (l->timers && l->timers->due_ms <= now) {
        struct ws_timer *t = l->timers;
        l->timers = t->next;
        l->timer_count--;
        t->fn(t->ctx);
        free(t);
    }
    if (l->conns && l->next_sweep_ms <= now)
        sweep(l, now);
}

static int until_due(ws_loop_t *l) {
    int64_t due = l->conns ? l->next_sweep_ms : INT64_MAX, now;
    if (l->timers && l->timers->due_ms < due)
        due = l->timers->due_ms;
    pthread_mutex_lock(&l->lock);
    bool busy = l->later || l->kicked || l->wake_count || l->stop;
    pthread_mutex_unlock(&l->lock);
    if (busy)
        return 0;
    if (due == INT64_MAX)
        return -1;
    now = loop_now_ms();
    return due <= now ? 0 : due - now > 3600000 ? 3600000 : (int)(due - now);
}

int ws_loop_run(ws_loop_t *l) {
    pthread_mutex_lock(&l->lock);
    l->thread = pthread_self();
    l->running = true;
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    while (!stop) {
        if (watches_wait(l, until_due(l)) < 0 && errno != EINTR)
            return OSMO_EIO;
        run_timers(l);
        stop = !process(l);
    }
    return OSMO_OK;
}

/* ---- from any thread ---- */

void loop_signal(ws_loop_t *l) {
    uint64_t one = 1;
    if (l->signalled || loop_is_here(l)) /* the loop looks before it waits again */
        return;
    l->signalled = true;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n;
}

void ws_loop_stop(ws_loop_t *l) {
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    loop_signal(l);
    pthread_mutex_unlock(&l->lock);
}

int ws_loop_wake(ws_loop_t *l, void (*fn)(void *ctx), void *ctx) {
    int rc = OSMO_OK;
    pthread_mutex_lock(&l->lock);
    size_t i = 0;
    while (i < l->wake_count && (l->wakes[i].fn != fn || l->wakes[i].ctx != ctx))
        i++;
    if (i == MAX_WAKES)
        rc = OSMO_EBUSY;
    else if (i == l->wake_count)
        l->wakes[l->wake_count++] = (struct ws_wake){ fn, ctx };
    loop_signal(l);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* ---- timers ---- */

uint64_t ws_loop_after(ws_loop_t *l, int64_t delay_ms, void (*fn)(void *ctx), void *ctx) {
    struct ws_timer *t = l->timer_count < MAX_TIMERS ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return 0;
    *t = (struct ws_timer){
        .id = l->next_timer++, .due_ms = loop_now_ms() + (delay_ms > 0 ? delay_ms : 0), .fn = fn, .ctx = ctx
    };
    struct ws_timer **p = &l->timers;
    while (*p && (*p)->due_ms <= t->due_ms)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
    l->timer_count++;
    return t->id;
}

void ws_loop_cancel(ws_loop_t *l, uint64_t timer) {
    for (struct ws_timer **p = &l->timers; *p; p = &(*p)->next) {
        if ((*p)->id == timer) {
            struct ws_timer *t = *p;
            *p = t->next;
            l->timer_count--;
            free(t);
            return;
        }
    }
}

/* ---- connections ---- */

static int copy_options(struct ws_conn *c, const ws_options_t *o, const url_parts_t *u) {
    struct dialling *d = c->dial;
    for (size_t i = 0; o->headers && o->headers[i]; i++) {
        if (strpbrk(o->headers[i], "\r\n"))
            return OSMO_EINVAL;
        if (strlist_add(&d->headers, o->headers[i]) < 0)
            return OSMO_ENOMEM;
    }
    if (o->extensions && strpbrk(o->extensions, "\r\n"))
        return OSMO_EINVAL;
    d->extensions = str_dup(o->extensions);
    bool standard = u->port == (strcmp(u->scheme, "wss") == 0 || strcmp(u->scheme, "https") == 0 ? 443 : 80);
    c->host = standard ? str_dup(u->host) : str_printf(strchr(u->host, ':') ? "[%s]:%d" : "%s:%d", u->host, u->port);
    d->path = str_dup(u->path);
    c->name = str_dup(u->host);
    if ((o->extensions && !d->extensions) || !c->host || !d->path || !c->name)
        return OSMO_ENOMEM;
    c->max_queue = o->max_queue ? o->max_queue : 16u << 20;
    c->ping_interval_ms = (o->ping_interval_s > 0 ? o->ping_interval_s : 20) * INT64_C(1000);
    wire_init(&c->wire, o->max_message ? o->max_message : 16u << 20);
    c->wire.pieces = o->pieces;
    return OSMO_OK;
}

static const char *expected_host(void *loop, int fd) {
    struct ws_conn *c = ((struct ws_loop *)loop)->conns;
    while (c && !(c->state == CONN_TLS && c->fd == fd))
        c = c->next;
    return c ? c->name : NULL;
}

static void not_believed(void *loop, int fd, const char *why) {
    struct ws_conn *c = ((struct ws_loop *)loop)->conns;
    while (c && !(c->state == CONN_TLS && c->fd == fd))
        c = c->next;
    if (c && !c->reason[0])
        snprintf(c->reason, sizeof c->reason, "TLS with %.40s failed: %.60s", c->host, why);
}

/* TLS costs memory and a certificate store, so its context is made when the first wss URL is used. */
static int trust_for(ws_loop_t *l, bool tls, const char *ca_file, void **ssl_ctx, osmo_error_t *err) {
    int rc = OSMO_OK;
    *ssl_ctx = NULL;
    if (!tls)
        return OSMO_OK;
    if (!l->tls_trust) {
        l->peers = (struct tls_peers){ expected_host, not_believed, l };
        free(l->ca_file);
        l->ca_file = str_dup(ca_file);
        rc = tls_client_new(ca_file ? ca_file : http_trusted_file(), ca_file ? NULL : http_trusted_dir(), &l->peers, &l->tls_trust, err);
    } else if (!str_eq(l->ca_file, ca_file)) {
        return osmo_error_set(err, OSMO_EINVAL, "all wss connections of one loop share one CA file");
    } else { /* authorities are replaced while we run */
        tls_client_reload(l->tls_trust, ca_file ? ca_file : http_trusted_file(), ca_file ? NULL : http_trusted_dir());
    }
    *ssl_ctx = l->tls_trust;
    return rc;
}

/* A slot, and with it an id that nobody had before. */
static bool add(ws_loop_t *l, struct ws_conn *c) {
    pthread_mutex_lock(&l->lock);
    bool room = l->conn_count < MAX_CONNS;
    if (room) {
        while (l->slots[l->next_conn % MAX_CONNS])
            l->next_conn++;
        c->id = l->next_conn++;
        l->slots[c->id % MAX_CONNS] = c;
        l->conn_count++;
    }
    pthread_mutex_unlock(&l->lock);
    if (!room)
        return false;
    if (!l->conns)
        l->next_sweep_ms = c->since_ms + SWEEP_MS;
    c->next = l->conns;
    c->link = &l->conns;
    if (c->next)
        c->next->link = &c->next;
    l->conns = c;
    return true;
}

int ws_connect(ws_loop_t *l, const ws_options_t *o, const ws_handlers_t *h, void *ctx, uint64_t *conn,
               osmo_error_t *err) {
    url_parts_t u;
    void *ssl_ctx = NULL;
    int rc = url_parse(o->url, &u, err);
    if (rc < 0)
        return rc;
    bool tls = strcmp(u.scheme, "wss") == 0 || strcmp(u.scheme, "https") == 0;
    if ((rc = trust_for(l, tls, o->ca_file, &ssl_ctx, err)) < 0)
        return rc;
    struct ws_conn *c = calloc(1, sizeof *c);
    if (c) {
        c->fd = -1;
        c->dial = calloc(1, sizeof *c->dial);
    }
    if (!c || !c->dial || (rc = copy_options(c, o, &u)) < 0) {
        conn_free(c);
        return rc == OSMO_EINVAL ? osmo_error_set(err, rc, "a header of the upgrade request contains a line break")
                                 : osmo_error_set(err, OSMO_ENOMEM, "out of memory for a websocket");
    }
    c->loop = l;
    c->dial->ssl_ctx = ssl_ctx;
    c->handlers = *h;
    c->ctx = ctx;
    c->since_ms = loop_now_ms();
    c->control_tail = &c->control;
    if (!add(l, c)) {
        conn_free(c);
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d websockets in one loop", MAX_CONNS);
    }
    *conn = c->id;
    conn_start(c, u.port);
    return OSMO_OK;
}

static struct ws_conn *find(ws_loop_t *l, uint64_t id) {
    struct ws_conn *c = l->slots[id % MAX_CONNS];
    return c && c->id == id ? c : NULL;
}

ws_out_t *ws_out_new(size_t room, char **data) {
    ws_out_t *m = malloc(sizeof *m + WIRE_HEAD_MAX + room);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    *data = (char *)m->data + WIRE_HEAD_MAX;
    return m;
}

void ws_out_free(ws_out_t *o) { free(o); }

static void kick(ws_loop_t *l, struct ws_conn *c) { /* lock held */
    if (!c->kick) {
        c->kick = true;
        c->kicked = l->kicked;
        l->kicked = c;
    }
    loop_signal(l);
}

/* Takes the message when it is OSMO_OK. In the loop's thread it goes out at once, if nothing waits. */
static int enqueue(ws_loop_t *l, uint64_t conn, ws_out_t *m, bool any) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    bool now = false;
    int rc = !c || c->close_wanted ? OSMO_ENOTFOUND : OSMO_OK;
    if (rc == OSMO_OK && !any && c->queued && c->queued + m->len > c->max_queue) {
        c->was_full = true;
        rc = OSMO_EBUSY;
    }
    if (rc == OSMO_OK) {
        now = !c->head && loop_is_here(l) && c->state == CONN_OPEN;
        if (c->tail)
            c->tail->next = m;
        else
            c->head = m;
        c->tail = m;
        c->queued += m->len;
        if (!now)
            kick(l, c);
    }
    pthread_mutex_unlock(&l->lock);
    if (now)
        conn_flush(c);
    return rc;
}

int ws_conn_send(ws_loop_t *l, uint64_t conn, const void *data, size_t len, bool binary) {
    char *to;
    ws_out_t *m = ws_out_new(len, &to);
    if (!m)
        return OSMO_ENOMEM;
    m->len = len;
    m->op = binary ? WIRE_BINARY : WIRE_TEXT;
    if (len)
        memcpy(to, data, len);
    int rc = enqueue(l, conn, m, false);
    if (rc < 0)
        free(m);
    return rc;
}

int ws_out_send(ws_loop_t *l, uint64_t conn, ws_out_t *o, size_t len, bool binary) {
    o->len = len;
    o->op = binary ? WIRE_BINARY : WIRE_TEXT;
    int rc = enqueue(l, conn, o, true);
    if (rc < 0)
        free(o);
    return rc;
}

void ws_conn_close(ws_loop_t *l, uint64_t conn, int code, const char *reason) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    if (c && !c->close_wanted) {
        c->close_wanted = true;
        c->close_code = code ? code : 1000;
        snprintf(c->close_reason, sizeof c->close_reason, "%s", reason ? reason : "");
        kick(l, c);
    }
    pthread_mutex_unlock(&l->lock);
}

void ws_conn_read(ws_loop_t *l, uint64_t conn, bool on) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    pthread_mutex_unlock(&l->lock);
    if (!c || c->deaf == !on)
        return;
    c->deaf = !on;
    c->last_rx_ms = loop_now_ms(); /* what it said meanwhile was not heard */
    loop_later(c);
}

bool ws_conn_full(ws_loop_t *l, uint64_t conn) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    bool full = c && c->queued >= c->max_queue;
    if (full)
        c->was_full = true;
    pthread_mutex_unlock(&l->lock);
    return full;
}

size_t ws_conn_queued(ws_loop_t *l, uint64_t conn) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    size_t n = c ? c->queued : 0;
    pthread_mutex_unlock(&l->lock);
    return n;
}
