/* WebSocket client connections (RFC 6455); the server's are in server/net_ws.c.
 * One loop owns its connections and runs in the thread that calls ws_loop_run(). All callbacks run
 * in that thread. Only ws_conn_send, ws_conn_close, ws_loop_wake and ws_loop_stop may be called from other threads.
 * Connections are named by 64-bit ids that are never reused; an id whose connection is gone is simply not found. */
#ifndef BASE_WS_CLIENT_H
#define BASE_WS_CLIENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "osmo/error.h"

typedef struct ws_loop ws_loop_t;
typedef struct ws_handlers {
    /* extensions: value of X-Osmo-Extensions in the answer, or "". */
    void (*opened)(void *ctx, uint64_t conn, const char *extensions);
    /* Whole messages, with a NUL behind them. */
    void (*message)(void *ctx, uint64_t conn, const char *data, size_t len, bool binary);
    /* Also called when connecting failed. code is the close code, 1006 without one; http_status is set when the upgrade
     * was refused. */
    void (*closed)(void *ctx, uint64_t conn, int code, int http_status, const char *reason);
    /* Optional: the queue fell below half its maximum after a send had returned OSMO_EBUSY. */
    void (*writable)(void *ctx, uint64_t conn);
} ws_handlers_t;
typedef struct ws_options {
    const char *url;                 /* ws://host:port/path?query or wss://… ; http(s) is accepted too */
    const char *const *headers;      /* "Name: value", NULL-terminated; may be NULL */
    const char *extensions;          /* value of X-Osmo-Extensions to offer; NULL = none */
    size_t max_message;              /* inbound cap; 0 = 16 MiB */
    size_t max_queue;                /* outbound bytes; 0 = 16 MiB */
    /* Binary messages may come in pieces, as they arrive, without a sign where one ends: they are a stream. An empty
     * one is told as such. */
    bool pieces;
    int ping_interval_s;             /* 0 = 20 */
    const char *ca_file;             /* NULL = as http_trust() says */
} ws_options_t;

int ws_loop_new(ws_loop_t **out, osmo_error_t *err);
void ws_loop_free(ws_loop_t *l);
int ws_loop_run(ws_loop_t *l);           /* until ws_loop_stop */
void ws_loop_stop(ws_loop_t *l);
/* Ask the loop thread to call fn(ctx) once soon; coalesced per (fn, ctx). */
int ws_loop_wake(ws_loop_t *l, void (*fn)(void *ctx), void *ctx);
/* One-shot timer in the loop thread; returns a timer id (never 0) that ws_loop_cancel accepts. Loop thread only. */
uint64_t ws_loop_after(ws_loop_t *l, int64_t delay_ms, void (*fn)(void *ctx), void *ctx);
void ws_loop_cancel(ws_loop_t *l, uint64_t timer);
/* Start connecting; loop thread or before the loop runs. *conn is set before any callback. */
int ws_connect(ws_loop_t *l, const ws_options_t *o, const ws_handlers_t *h, void *ctx, uint64_t *conn,
               osmo_error_t *err);
/* Copies. OSMO_EBUSY = queue full (nothing taken), OSMO_ENOTFOUND = connection gone. */
int ws_conn_send(ws_loop_t *l, uint64_t conn, const void *data, size_t len, bool binary);
void ws_conn_close(ws_loop_t *l, uint64_t conn, int code, const char *reason);
/* Loop thread only. Off: nothing more is read from it (what has been read is still told), so its peer has to wait. */
void ws_conn_read(ws_loop_t *l, uint64_t conn, bool on);
/* Descriptors of others in the loop; loop thread only. events: WS_FD_READ | WS_FD_WRITE; 0 ends it. fn gets what is
 * ready (both on errors and at the end). One watch a descriptor. OSMO_ENOMEM, OSMO_EINVAL. */
enum { WS_FD_READ = 1, WS_FD_WRITE = 2 };
int ws_loop_watch(ws_loop_t *l, int fd, int events, void (*fn)(void *ctx, int fd, int events), void *ctx);
size_t ws_conn_queued(ws_loop_t *l, uint64_t conn); /* bytes accepted and not yet written to the socket */
/* Is the queue at its maximum? Then `writable` is called when it has fallen below half. */
bool ws_conn_full(ws_loop_t *l, uint64_t conn);
/* A message that is made in place: `data` has room for `room` bytes. ws_out_send takes it, whatever becomes of it; as ws_conn_send, but
 * a full queue takes it too. Loop thread only. */
typedef struct ws_out ws_out_t;
ws_out_t *ws_out_new(size_t room, char **data);
void ws_out_free(ws_out_t *o);
int ws_out_send(ws_loop_t *l, uint64_t conn, ws_out_t *o, size_t len, bool binary);
#endif
