/* The texts of a websocket client, without a socket: its request, what comes of the answer, and frames both ways (RFC
 * 6455). For ws_client_conn.c; and for fuzzers. */
#ifndef BASE_WS_CLIENT_WIRE_H
#define BASE_WS_CLIENT_WIRE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"

#define WIRE_HEAD_MAX 14       /* bytes before a payload */
#define WIRE_CONTROL_MAX 125
#define WIRE_ANSWER_MAX (64u << 10)
#define WIRE_KEY_TEXT 25

enum { WIRE_CONTINUE = 0, WIRE_TEXT = 1, WIRE_BINARY = 2, WIRE_CLOSE = 8, WIRE_PING = 9, WIRE_PONG = 10 };

/* A fresh Sec-WebSocket-Key. 0 or OSMO_EIO. */
int wire_key(char key[WIRE_KEY_TEXT]);
/* headers without line breaks; extensions may be NULL. OSMO_ELIMIT when it gets too large. */
int wire_request(buf_t *out, const char *path, const char *host, const char *key, const strlist_t *headers, const char *extensions);
/* What has come so far: the length of the answer's head, 0 when it is not complete, negative when it is none. *status is set when > 0;
 * *why when it is a 101 that does not fit the request. extensions: value of X-Osmo-Extensions, or "". */
long wire_answer(const char *text, size_t len, const char *key, int *status, char *extensions, size_t size, const char **why);

/* Frames from the server, as they come. */
struct wire {
    buf_t message;             /* what is there of a message that did not come in one piece */
    bool pieces;               /* binary messages are told of piece by piece, as they come */
    bool binary;               /* the message that is being told of */
    /* ---- the reader's own ---- */
    unsigned char head[10], control[WIRE_CONTROL_MAX + 1], op;
    size_t head_len, control_len;
    bool open, fin, in_message, told;
    uint64_t left;
};
enum { WIRE_MORE, WIRE_MESSAGE, WIRE_CONTROL };
void wire_init(struct wire *w, size_t max_message);
void wire_free(struct wire *w);
/* Reads on. WIRE_MORE: all of it is used up. WIRE_MESSAGE: *text, *text_len, w->binary; a text has a NUL behind it,
 * for which data[len] has to
 * be there; wire_done() afterwards. WIRE_CONTROL: w->op, w->control. Negative: the close code with which it has to end, *why. */
int wire_read(struct wire *w, char *data, size_t len, size_t *used, const char **text, size_t *text_len, const char **why);
void wire_done(struct wire *w);

/* Masks the payload in place and puts the head before it, for which there is room; where the frame begins. */
unsigned char *wire_frame(unsigned char *payload, size_t len, unsigned op, bool fin, const unsigned char mask[4]);
#endif
