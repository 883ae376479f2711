/* Frames of a websocket client on their way in (RFC 6455): what they carry, piece by piece. */
#ifndef SERVER_NET_FRAME_H
#define SERVER_NET_FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

#define FRAME_CONTROL_MAX 125

enum { OP_CONTINUE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { FRAMES_MORE, FRAMES_MESSAGE, FRAMES_PING, FRAMES_PONG, FRAMES_CLOSE, FRAMES_PIECE };

struct frames {
    bool deaf;                /* set by the caller: messages are not collected any more, and not told of */
    buf_t message;            /* after FRAMES_MESSAGE; the caller empties it */
    bool binary;
    /* Set by the caller: messages are not collected but told of as they come, each piece (after FRAMES_PIECE) as what it is as a frame of
     * its own. Whether a text is UTF-8 is then for its reader to say. A frame may be as large as a message. */
    bool pieces;
    char *piece;              /* in the caller's data */
    size_t piece_len;
    unsigned piece_op;        /* OP_CONTINUE unless it is the first of its message */
    bool piece_fin;           /* the last of it */
    unsigned char control[FRAME_CONTROL_MAX]; /* after FRAMES_PING, _PONG and _CLOSE */
    size_t control_len;
    const char *why;          /* of a refusal */
    /* ---- the reader's own ---- */
    unsigned char head[14], mask[4], op;
    size_t head_len;
    bool open, fin, in_message, begun;
    uint64_t left, at;
};

void frames_init(struct frames *f, size_t max_message);
void frames_free(struct frames *f);
/* Reads on, and unmasks in place. One of FRAMES_*, or the negative close code with which the connection has to end; *used tells how far it
 * came: to the end for FRAMES_MORE, otherwise what is behind it may hold more. */
int frames_read(struct frames *f, char *data, size_t len, size_t *used);
#endif
