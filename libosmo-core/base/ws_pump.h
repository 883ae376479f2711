/* Carries bytes between a websocket of a loop and descriptors (a socket, or a pair of them), both ways, with bounded
 * buffers: whoever does not take stops whoever sends. Used by the client (exec, port-forward, rsync) and by osmo_ctrl
 * for the other end of the same sessions. Everything in the loop's thread. */
#ifndef BASE_WS_PUMP_H
#define BASE_WS_PUMP_H
#include "base/ws_client.h"

#define WS_PUMP_FRAME (64u << 10)   /* most bytes of one frame */
#define WS_PUMP_QUEUE (256u << 10)  /* so many bytes wait in either direction before reading stops */

struct ws_pump;
struct ws_pump_options {
    ws_loop_t *loop;
    /* read from, written to; the same for a socket; -1 = none. Made non-blocking; closed at the end if close_fds */
    int in, out;
    int err;                   /* for ws_pump_error; 0 or -1 = none. Never closed */
    bool close_fds;
    bool held;                 /* nothing is read from `in` before ws_pump_go() */
    /* end of `in` is told by an empty binary message instead of ending everything; an empty message shuts `out` down */
    bool ends_input;
    /* The same between two of us, where only one side knows it: with ends_input it says so in a first text message, {"half_close":true};
     * without, it begins when the other side has said so. To a stranger nothing is said. */
    bool half_close;
    uint64_t rate;             /* bytes a second towards the websocket; 0 = as many as go */
    /* Optional: the websocket is open; extensions as in ws_handlers_t.opened. */
    void (*opened)(void *ctx, const char *extensions);
    /* Optional: what is a message for us and no bytes for `out`. true = taken. */
    bool (*text)(void *ctx, const char *data, size_t len);
    /* Optional: sees bytes for `out` before they are written. */
    void (*output)(void *ctx, const char *data, size_t len);
    /* Optional: sees bytes read from `in` before they are sent; may change them in place, and how many there are up to `cap`. */
    size_t (*input)(void *ctx, char *data, size_t len, size_t cap);
    /* Optional: `in` has ended, and whoever asked for this says so itself, or not; nothing else follows from it. */
    void (*input_over)(void *ctx);
    /* Once, at the end, when what had come is written: by the websocket (code, reason, http_status as in ws_handlers_t.closed), or by a
     * descriptor (code 0). The pump is gone afterwards. */
    void (*ended)(void *ctx, int code, int http_status, const char *reason);
    void *ctx;
};
/* Connects and begins to carry when the websocket is open. ended() is not called when this fails. */
int ws_pump_start(const struct ws_pump_options *o, const ws_options_t *connect, struct ws_pump **out, osmo_error_t *err);
/* Begins to read a held `in`. */
void ws_pump_go(struct ws_pump *p);
/* One message of our own, between what is read. */
int ws_pump_send(struct ws_pump *p, const void *data, size_t len, bool binary);
/* Bytes for `err`, with the bounds that `out` has. */
void ws_pump_error(struct ws_pump *p, const void *data, size_t len);
/* Ends it with this close; what was read before is still sent. ended() follows, possibly before this returns. */
void ws_pump_close(struct ws_pump *p, int code, const char *reason);
/* Bytes carried so far, from `in` and towards `out`. */
void ws_pump_counts(const struct ws_pump *p, uint64_t *in, uint64_t *out);
#endif
