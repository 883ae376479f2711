/* The websocket client's loop: threads, timers, wakes and the table of connections. ws_client_conn.c is one connection.
 * Callers are the programs that dial: agent, in-pod controller, router client. */
#include "base/ws_client.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/http.h"
#include "base/ws_client_conn.h"

#define SWEEP_MS 1000

int64_t loop_now_ms(void) { return clock_mono_us() / 1000; }

static const struct lws_protocols protocols[] = {
    { .name = "osmo", .callback = conn_callback, .rx_buffer_size = 64u << 10 },
    { .name = NULL },
};

/* No pings by the library: our sweep sends them, and its timers are a sorted list. */
static const lws_retry_bo_t no_policy = { .secs_since_valid_ping = 0, .secs_since_valid_hangup = 0 };

static struct lws_context *make_context(ws_loop_t *l, bool tls) {
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols, .user = l, .gid = (gid_t)-1, .uid = (uid_t)-1,
        .pt_serv_buf_size = 64u << 10, .fd_limit_per_thread = 2 * MAX_CONNS, .retry_and_idle_policy = &no_policy,
        .ka_time = 60, .ka_probes = 3, .ka_interval = 10,
    };
    if (tls) {
        info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.provided_client_ssl_ctx = l->tls_trust;
    }
    return lwsloop_context(&l->base, &info);
}

static void arm(ws_loop_t *l) {
    int64_t now = loop_now_ms();
    int64_t due = l->failures ? now : l->conn_count ? l->next_sweep_ms : INT64_MAX;
    if (l->timers && l->timers->due_ms < due)
        due = l->timers->due_ms;
    if (due != INT64_MAX)
        lwsloop_alarm(&l->base, due - now);
}

static void sweep(ws_loop_t *l, int64_t now) {
    uint64_t ids[MAX_CONNS];
    size_t n = 0;
    l->failures = false;
    pthread_mutex_lock(&l->lock);
    for (struct ws_conn *c = l->conns; c && n < MAX_CONNS; c = c->next)
        ids[n++] = c->id;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++) { /* a callback may end any connection: look each one up again */
        pthread_mutex_lock(&l->lock);
        struct ws_conn *c = l->conns;
        while (c && c->id != ids[i])
            c = c->next;
        pthread_mutex_unlock(&l->lock);
        if (c)
            conn_sweep(c, now);
    }
    l->next_sweep_ms = now + SWEEP_MS;
}

static void on_alarm(void *ctx) {
    ws_loop_t *l = ctx;
    int64_t now = loop_now_ms();
    while (l->timers && l->timers->due_ms <= now) {
        struct ws_timer *t = l->timers;
        l->timers = t->next;
        l->timer_count--;
        t->fn(t->ctx);
        free(t);
    }
    sweep(l, now);
    arm(l);
}

int ws_loop_new(ws_loop_t **out, osmo_error_t *err) {
    ws_loop_t *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for a websocket loop");
    pthread_mutex_init(&l->lock, NULL);
    l->base.on_alarm = on_alarm;
    l->base.alarm_ctx = l;
    l->next_conn = l->next_timer = 1;
    l->plain = make_context(l, false);
    if (!l->plain) {
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
    if (l->tls)
        lws_context_destroy(l->tls);
    if (l->plain)
        lws_context_destroy(l->plain);
    while (l->conns)
        conn_finish(l->conns);
    pumps_end(l);
    watches_free(l);
    lwsloop_free(&l->base);
    if (l->tls_trust)
        tls_client_free(l->tls_trust);
    while (l->timers) {
        struct ws_timer *t = l->timers;
        l->timers = t->next;
        free(t);
    }
    free(l->ca_file);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int ws_loop_run(ws_loop_t *l) {
    pthread_mutex_lock(&l->lock);
    l->thread = pthread_self();
    l->running = true;
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    if (!stop) {
        arm(l);
        lwsloop_run(&l->base);
    }
    return OSMO_OK;
}

/* With the lock held: make the loop thread call loop_process() once. */
static void signal_loop(ws_loop_t *l) {
    if (!l->signalled) {
        l->signalled = true;
        lws_cancel_service(l->plain);
    }
}

void ws_loop_stop(ws_loop_t *l) {
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    signal_loop(l);
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
    signal_loop(l);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* The next connection somebody sent to or closed, taken off the list of the kicked. */
static struct ws_conn *next_kicked(ws_loop_t *l, bool *close_wanted) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = l->conns;
    while (c && !c->kick)
        c = c->next;
    if (c) {
        c->kick = false;
        *close_wanted = c->close_wanted;
    }
    pthread_mutex_unlock(&l->lock);
    return c;
}

void loop_process(struct ws_loop *l) {
    struct ws_wake wakes[MAX_WAKES];
    pthread_mutex_lock(&l->lock);
    l->signalled = false;
    size_t n = l->wake_count;
    memcpy(wakes, l->wakes, n * sizeof wakes[0]);
    l->wake_count = 0;
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    if (stop)
        lwsloop_break(&l->base);
    for (size_t i = 0; i < n; i++)
        wakes[i].fn(wakes[i].ctx);
    struct ws_conn *c;
    bool close_wanted;
    while ((c = next_kicked(l, &close_wanted))) {
        if (c->state == CONN_OPEN) {
            lws_callback_on_writable(c->wsi);
        } else if (c->state == CONN_CONNECTING && close_wanted) {
            if (!c->code) {
                c->code = c->close_code;
                snprintf(c->reason, sizeof c->reason, "%s", c->close_reason);
            }
            conn_drop(c);
        }
    }
}

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
    arm(l);
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

static int copy_options(struct ws_conn *c, const ws_options_t *o, const url_parts_t *u) {
    for (size_t i = 0; o->headers && o->headers[i]; i++) {
        if (strpbrk(o->headers[i], "\r\n"))
            return OSMO_EINVAL;
        if (strlist_add(&c->headers, o->headers[i]) < 0)
            return OSMO_ENOMEM;
    }
    if (o->extensions && strpbrk(o->extensions, "\r\n"))
        return OSMO_EINVAL;
    c->extensions = str_dup(o->extensions);
    bool standard = u->port == (strcmp(u->scheme, "wss") == 0 || strcmp(u->scheme, "https") == 0 ? 443 : 80);
    c->host = standard ? str_dup(u->host) : str_printf(strchr(u->host, ':') ? "[%s]:%d" : "%s:%d", u->host, u->port);
    c->path = str_dup(u->path);
    c->name = str_dup(u->host);
    if ((o->extensions && !c->extensions) || !c->host || !c->path || !c->name)
        return OSMO_ENOMEM;
    c->max_message = o->max_message ? o->max_message : 16u << 20;
    c->max_queue = o->max_queue ? o->max_queue : 16u << 20;
    c->ping_interval_ms = (o->ping_interval_s > 0 ? o->ping_interval_s : 20) * INT64_C(1000);
    buf_init(&c->in, c->max_message);
    return OSMO_OK;
}

/* TLS costs memory and a certificate store, so its context is made when the first wss URL is used. */
static int context_for(ws_loop_t *l, bool tls, const char *ca_file, struct lws_context **out, osmo_error_t *err) {
    if (!tls) {
        *out = l->plain;
        return OSMO_OK;
    }
    if (!l->tls) {
        if (l->tls_trust)
            tls_client_free(l->tls_trust);
        l->tls_trust = NULL;
        l->peers = (struct tls_peers){ conn_expected_host, conn_not_believed, l };
        free(l->ca_file);
        l->ca_file = str_dup(ca_file);
        int rc = tls_client_new(ca_file ? ca_file : http_trusted_file(), ca_file ? NULL : http_trusted_dir(), &l->peers,
                                &l->tls_trust, err);
        if (rc < 0)
            return rc;
        l->tls = make_context(l, true);
        if (!l->tls)
            return osmo_error_set(err, OSMO_EUNAVAIL, "TLS cannot be started: install libwebsockets-evlib-ev");
    } else if (!str_eq(l->ca_file, ca_file)) {
        return osmo_error_set(err, OSMO_EINVAL, "all wss connections of one loop share one CA file");
    } else { /* authorities are replaced while we run */
        tls_client_reload(l->tls_trust, ca_file ? ca_file : http_trusted_file(), ca_file ? NULL : http_trusted_dir());
    }
    *out = l->tls;
    return OSMO_OK;
}

static void start(struct ws_conn *c, struct lws_context *context, const url_parts_t *u, bool tls) {
    struct lws_client_connect_info info = {
        .context = context, .address = u->host, .port = u->port, .path = c->path, .host = c->host,
        .ssl_connection = (tls ? LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .opaque_user_data = c,
        .local_protocol_name = protocols[0].name, .alpn = "http/1.1", .retry_and_idle_policy = &no_policy,
    };
    c->inside_connect = true;
    struct lws *wsi = lws_client_connect_via_info(&info);
    c->inside_connect = false;
    if (wsi && c->state != CONN_FAILED) {
        c->wsi = wsi;
        return;
    }
    c->wsi = NULL;
    c->state = CONN_FAILED; /* reported by the next sweep, never from inside ws_connect */
    if (!c->reason[0])
        snprintf(c->reason, sizeof c->reason, "cannot connect to %s", c->host);
    c->loop->failures = true;
    arm(c->loop);
}

int ws_connect(ws_loop_t *l, const ws_options_t *o, const ws_handlers_t *h, void *ctx, uint64_t *conn,
               osmo_error_t *err) {
    url_parts_t u;
    struct lws_context *context = NULL;
    int rc = url_parse(o->url, &u, err);
    if (rc < 0)
        return rc;
    bool tls = strcmp(u.scheme, "wss") == 0 || strcmp(u.scheme, "https") == 0;
    if ((rc = context_for(l, tls, o->ca_file, &context, err)) < 0)
        return rc;
    struct ws_conn *c = calloc(1, sizeof *c);
    if (!c || (rc = copy_options(c, o, &u)) < 0) {
        conn_free(c);
        return rc == OSMO_EINVAL ? osmo_error_set(err, rc, "a header of the upgrade request contains a line break")
                                 : osmo_error_set(err, OSMO_ENOMEM, "out of memory for a websocket");
    }
    c->loop = l;
    c->handlers = *h;
    c->ctx = ctx;
    c->since_ms = loop_now_ms();
    pthread_mutex_lock(&l->lock);
    bool full = l->conn_count >= MAX_CONNS;
    if (!full) {
        c->id = l->next_conn++;
        c->next = l->conns;
        l->conns = c;
        l->conn_count++;
    }
    pthread_mutex_unlock(&l->lock);
    if (full) {
        conn_free(c);
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d websockets in one loop", MAX_CONNS);
    }
    *conn = c->id;
    l->next_sweep_ms = l->next_sweep_ms ? l->next_sweep_ms : c->since_ms + SWEEP_MS;
    arm(l);
    start(c, context, &u, tls);
    return OSMO_OK;
}

static struct ws_conn *find(ws_loop_t *l, uint64_t id) {
    struct ws_conn *c = l->conns;
    while (c && c->id != id)
        c = c->next;
    return c;
}

ws_out_t *ws_out_new(size_t room, char **data) {
    ws_out_t *m = malloc(sizeof *m + LWS_PRE + room);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    *data = (char *)m->data + LWS_PRE;
    return m;
}

void ws_out_free(ws_out_t *o) { free(o); }

/* Takes the message when it is OSMO_OK. */
static int enqueue(ws_loop_t *l, uint64_t conn, ws_out_t *m, bool any) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    int rc = !c || c->close_wanted ? OSMO_ENOTFOUND : OSMO_OK;
    if (rc == OSMO_OK && !any && c->queued && c->queued + m->len > c->max_queue) {
        c->was_full = true;
        rc = OSMO_EBUSY;
    }
    if (rc == OSMO_OK) {
        if (c->tail)
            c->tail->next = m;
        else
            c->head = m;
        c->tail = m;
        c->queued += m->len;
        c->kick = true;
        signal_loop(l);
    }
    pthread_mutex_unlock(&l->lock);
    return rc;
}

int ws_conn_send(ws_loop_t *l, uint64_t conn, const void *data, size_t len, bool binary) {
    char *to;
    ws_out_t *m = ws_out_new(len, &to);
    if (!m)
        return OSMO_ENOMEM;
    m->len = len;
    m->binary = binary;
    if (len)
        memcpy(to, data, len);
    int rc = enqueue(l, conn, m, false);
    if (rc < 0)
        free(m);
    return rc;
}

int ws_out_send(ws_loop_t *l, uint64_t conn, ws_out_t *o, size_t len, bool binary) {
    o->len = len;
    o->binary = binary;
    int rc = enqueue(l, conn, o, true);
    if (rc < 0)
        free(o);
    return rc;
}

void ws_conn_close(ws_loop_t *l, uint64_t conn, int code, const char *reason) {
    pthread_mutex_lock(&l->lock);
    struct ws_conn *c = find(l, conn);
    if (c && !c->close_wanted) {
        c->close_wanted = c->kick = true;
        c->close_code = code ? code : 1000;
        snprintf(c->close_reason, sizeof c->close_reason, "%s", reason ? reason : "");
        signal_loop(l);
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
    if (c->state == CONN_OPEN)
        lws_rx_flow_control(c->wsi, on);
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
