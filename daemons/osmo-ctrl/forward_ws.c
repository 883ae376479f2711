/* A browser's websocket to a web server of this pod: the router's websocket and one to the server, messages copied with
 * their kind. The side that takes nothing stops the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actions.h"

#define TRIES 5

enum side { SIDE_ROUTER, SIDE_SERVER, SIDES };

struct bridge {
    struct actions *a;
    struct meeting at;
    struct announcement what;
    int port;
    struct dial dial;
    struct end { struct bridge *b; uint64_t conn; bool open, deaf; } ends[SIDES];
    int left;                    /* ends that have not reported that they are closed */
    bool closing;
};

static void bridge_free(struct bridge *b) {
    dial_stop(&b->dial);
    b->a->ntunnels--;
    meeting_clear(&b->at);
    announcement_clear(&b->what);
    free(b);
}

static struct end *other_of(struct end *e) { return &e->b->ends[e == &e->b->ends[SIDE_ROUTER] ? SIDE_SERVER : SIDE_ROUTER]; }

/* An end reads while the other takes. */
static void listen_again(struct end *e) {
    struct end *other = other_of(e);
    bool deaf = !e->b->closing && (!other->open || ws_conn_full(e->b->a->loop, other->conn));
    if (e->open && deaf != e->deaf)
        ws_conn_read(e->b->a->loop, e->conn, !deaf);
    e->deaf = e->open && deaf;
}

static void close_end(struct end *e, int code, const char *reason) {
    if (e->conn) {
        ws_conn_read(e->b->a->loop, e->conn, true);
        ws_conn_close(e->b->a->loop, e->conn, code, reason);
    }
}

static int attempt(void *ctx, const ws_options_t *o);
static void gave_up(void *ctx, const char *reason);

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct end *e = ctx;
    struct bridge *b = e->b;
    (void)conn, (void)extensions;
    e->open = true;
    if (e == &b->ends[SIDE_ROUTER]) {
        dial_stop(&b->dial);
    } else if (dial_start(&b->dial, b->a, &b->at, ACTION_PORTFORWARD, TRIES, attempt, gave_up, b)) {
        b->closing = true;
        close_end(e, 1001, "");
    }
    listen_again(e);
    listen_again(other_of(e));
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct end *e = ctx, *other = other_of(e);
    char *room;
    ws_out_t *m = e->b->closing || !other->open ? NULL : ws_out_new(len, &room);
    (void)conn;
    if (!m)
        return;
    if (len)
        memcpy(room, data, len);
    ws_out_send(e->b->a->loop, other->conn, m, len, binary); /* also into a full queue: then nothing more is read */
    listen_again(e);
}

static void on_writable(void *ctx, uint64_t conn) {
    (void)conn;
    listen_again(other_of(ctx));
}

/* Codes that only a library makes up must not be sent. */
static int passable(int code) { return code == 1005 || code == 1006 || code == 1015 || code < 1000 ? 1001 : code; }

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct end *e = ctx;
    struct bridge *b = e->b;
    bool was_open = e->open;
    (void)conn;
    e->conn = 0;
    e->open = false;
    b->left--;
    if (!was_open && !b->closing && e == &b->ends[SIDE_ROUTER]) {
        dial_failed(&b->dial, http_status, reason);
        return;
    }
    if (!was_open && !b->closing) {
        action_refuse(b->a, &b->at, ACTION_PORTFORWARD, "no websocket server answers on port %d: %.60s", b->port, reason);
    } else if (!b->closing) {
        b->closing = true;
        close_end(other_of(e), passable(code), reason);
    }
    if (!b->left)
        bridge_free(b);
}

static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed, .writable = on_writable };

static int attempt(void *ctx, const ws_options_t *o) {
    struct bridge *b = ctx;
    int rc = ws_connect(b->a->loop, o, &handlers, &b->ends[SIDE_ROUTER], &b->ends[SIDE_ROUTER].conn, NULL);
    b->left += rc == 0;
    return rc;
}

static void gave_up(void *ctx, const char *reason) {
    struct bridge *b = ctx;
    fprintf(stderr, "osmo_ctrl: a connection to port %d could not reach the router: %s\n", b->port, reason);
    b->closing = true;
    if (b->left)
        close_end(&b->ends[SIDE_SERVER], 1001, "");
    else
        bridge_free(b);
}

static int dial_server(struct bridge *b) {
    char *url = str_printf("ws://127.0.0.1:%d%s", b->port, b->what.path);
    const char *headers[65] = { NULL };
    for (size_t i = 0; i < b->what.headers.len && i < 64; i++)
        headers[i] = b->what.headers.items[i];
    const ws_options_t o = { .url = url, .headers = headers, .max_queue = WS_PUMP_QUEUE };
    int rc = url ? ws_connect(b->a->loop, &o, &handlers, &b->ends[SIDE_SERVER], &b->ends[SIDE_SERVER].conn, NULL) : OSMO_ENOMEM;
    free(url);
    b->left += rc == 0;
    return rc;
}

void forward_ws_open(struct actions *a, int port, struct meeting *at, struct announcement *what) {
    struct bridge *b = calloc(1, sizeof *b);
    if (!b)
        return;
    *b = (struct bridge){ .a = a, .at = *at, .what = *what, .port = port };
    *at = (struct meeting){ 0 };
    *what = (struct announcement){ 0 };
    a->ntunnels++;
    for (int i = 0; i < SIDES; i++)
        b->ends[i].b = b;
    if (dial_server(b)) {
        action_refuse(a, &b->at, ACTION_PORTFORWARD, "there is no websocket server on port %d", port);
        bridge_free(b);
    }
}
