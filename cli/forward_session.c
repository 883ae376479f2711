/* The session behind a forwarded port: its websocket, and the next one when it is lost. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "forward.h"

struct renewal {
    struct port *port;
    struct api api;           /* its own */
    char *path, *cookie;
    struct session session;
    osmo_error_t err;
    int rc, status;
    pthread_t thread;
};

int64_t port_wait_ms(int failures, unsigned random) {
    return (INT64_C(1000) << (failures < 5 ? failures : 5)) + random % 5001;
}

/* For a task that is about to start. */
static int64_t start_wait_ms(int failures, unsigned random) {
    return (INT64_C(500) << (failures < 4 ? failures : 4)) + random % 501;
}

static void renewal_free(struct renewal *r) {
    session_clear(&r->session);
    free(r->path);
    free(r->cookie);
    api_close(&r->api);
    free(r);
}

static void fail(struct port *p, int code) {
    if (p->f->o.failed && !p->f->stopping)
        p->f->o.failed(p->f->o.ctx, code);
}

static void on_timer(void *ctx) {
    struct port *p = ctx;
    p->timer = 0;
    int code = port_renew(p);
    if (code)
        fail(p, code);
}

static void try_later(struct port *p, const char *why) {
    unsigned random = 0;
    struct forward *f = p->f;
    if (f->stopping || p->timer || p->renewal)
        return;
    if (f->o.once) {
        fail(p, api_fail(false, 0, why, EXIT_SERVER_DOWN));
        return;
    }
    crypto_random(&random, sizeof random);
    int64_t wait = f->o.patient && !p->was_ready ? start_wait_ms(p->failures, random) : port_wait_ms(p->failures, random);
    p->failures++;
    if (!f->o.quiet)
        fprintf(stderr, "Port %d: the session is lost: %s. Trying again in %.1f seconds\n", p->pair.local, why, (double)wait / 1000);
    p->timer = ws_loop_after(f->o.loop, wait, on_timer, p);
    if (!p->timer)
        fail(p, api_fail(false, 0, "out of memory", EXIT_USER));
}

/* ---- asking for the next ---- */

/* In the loop: the thread has come to its end. */
static void on_renewed(void *ctx) {
    struct renewal *r = ctx;
    struct port *p = r->port;
    pthread_join(r->thread, NULL);
    p->renewal = NULL;
    if (r->rc == OSMO_OK) {
        session_clear(&p->session);
        p->session = r->session;
        r->session = (struct session){ 0 };
        free(p->f->cookie);
        p->f->cookie = STEAL(r->cookie);
        int code = port_connect(p);
        if (code)
            fail(p, code);
    } else if (status_is_passing(r->status)) {
        try_later(p, r->err.text);
    } else {
        fail(p, api_fail(false, r->status, r->err.text, EXIT_USER));
    }
    renewal_free(r);
}

static void *ask_again(void *arg) {
    struct renewal *r = arg;
    json_t *answer = NULL;
    r->rc = api_try(&r->api, "POST", r->path, &answer, &r->err);
    r->status = r->api.status;
    if (r->rc == OSMO_OK && session_read(&r->api, json_kind(answer) == JSON_ARRAY ? json_at(answer, 0) : answer, &r->session))
        r->rc = osmo_error_set(&r->err, OSMO_EIO, "the service answered without a session");
    if (r->rc == OSMO_OK)
        r->cookie = router_cookie(&r->api, r->session.address);
    json_free(answer);
    ws_loop_wake(r->port->f->o.loop, on_renewed, r);
    return NULL;
}

int port_renew(struct port *p) {
    struct renewal *r = calloc(1, sizeof *r);
    int code = r && (r->path = forward_path(p->f, &p->pair, 1)) ? api_open(&r->api, false) : api_fail(false, 0, "out of memory", EXIT_USER);
    if (!code) {
        r->port = p;
        p->renewal = r;
        if (pthread_create(&r->thread, NULL, ask_again, r) == 0)
            return 0;
        p->renewal = NULL;
        code = api_fail(false, 0, "no thread can be started", EXIT_USER);
    }
    if (r)
        renewal_free(r);
    return code;
}

/* ---- the session ---- */

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct port *p = ctx;
    (void)conn, (void)extensions;
    if (p->failures && !p->f->o.quiet)
        fprintf(stderr, "Port %d: there is a session again\n", p->pair.local);
    p->open = true;
    p->failures = 0;
    tcp_accept(p);
    udp_ready(p);
    if (!p->was_ready && p->f->o.ready)
        p->f->o.ready(p->f->o.ctx, p->pair.local);
    p->was_ready = true;
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct port *p = ctx;
    (void)conn;
    if (binary && p->udp)
        udp_received(p, data, len);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct port *p = ctx;
    (void)conn, (void)code, (void)http_status;
    p->control = 0;
    p->open = false;
    if (p->f->stopping)
        return;
    tcp_accept(p);
    udp_ready(p);
    try_later(p, *reason ? reason : "the other side has gone");
}

int port_connect(struct port *p) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed };
    struct forward *f = p->f;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct dial d;
    int code = dial_make(&d, &f->api, &p->session, f->o.family, f->o.workflow, p->session.key, p->session.cookie, f->o.timeout_s);
    p->ours = session_is_ours(p->session.key);
    if (!code && ws_connect(f->o.loop, &d.options, &handlers, p, &p->control, &err) < 0)
        code = api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    dial_clear(&d);
    return code;
}

void port_end(struct port *p) {
    if (p->renewal) {
        http_client_cancel(p->renewal->api.http);
        pthread_join(p->renewal->thread, NULL);
        renewal_free(p->renewal);
        p->renewal = NULL;
    }
    if (p->timer)
        ws_loop_cancel(p->f->o.loop, p->timer);
    p->timer = 0;
    if (p->control)
        ws_conn_close(p->f->o.loop, p->control, 1000, "");
}
