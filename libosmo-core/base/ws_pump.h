/* Carries bytes between a websocket of a loop and descriptors (a socket, or a pair of them), both ways, with bounded buffers: whoever does not
 * take stops whoever sends. Used by the client (exec, port-forward, rsync) and by osmo_ctrl for the other end of the same sessions.
 * Everything in the loop's thread. */
#ifndef BASE_WS_PUMP_H
#define BASE_WS_PUMP_H
#include "base/ws_client.h"

#define WS_PUMP_FRAME (64u << 10)   /* most bytes of one frame */
#define WS_PUMP_QUEUE (256u << 10)  /* so many bytes wait in either direction before reading stops */

struct ws_pump;
struct ws_pump_options {
    ws_loop_t *loop;
    int in, out;               /* read from, written to; the same for a socket; -1 = none. Made non-blocking; closed at the end if close_fds */
    bool close_fds;
    bool ends_input;           /* end of `in` is told by an empty binary message instead of ending everything; an empty message shuts `out` down */
    uint64_t rate;             /* bytes a second towards the websocket; 0 = as many as go */
    /* Optional: what is a message for us and no bytes for `out`. true = taken. */
    bool (*text)(void *ctx, const char *data, size_t len);
    /* Optional: sees bytes read from `in` before they are sent; may change them in place, and how many there are up to `cap`. */
    size_t (*input)(void *ctx, char *data, size_t len, size_t cap);
    /* Once, at the end: by the websocket (code, reason, http_status as in ws_handlers_t.closed), or by a descriptor (code 0). */
    void (*ended)(void *ctx, int code, int http_status, const char *reason);
    void *ctx;
};
/* Connects and begins to carry when the websocket is open. ended() is not called when this fails. */
int ws_pump_start(const struct ws_pump_options *o, const ws_options_t *connect, struct ws_pump **out, osmo_error_t *err);
/* One message of our own, between what is read. */
int ws_pump_send(struct ws_pump *p, const void *data, size_t len, bool binary);
/* Ends it with this close; what was read before is still sent. ended() follows. */
void ws_pump_close(struct ws_pump *p, int code, const char *reason);
#endif
