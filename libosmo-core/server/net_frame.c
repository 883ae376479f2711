/* Frames of a websocket client, read strictly. No sockets here; called by net_ws.c on the network thread, and by the fuzzer of frames. */
#include "server/net_frame.h"
#include <string.h>
#include "base/str.h"

static int fail(struct frames *f, int code, const char *why) {
    f->why = why;
    return -code;
}

void frames_init(struct frames *f, size_t max_message) {
    memset(f, 0, sizeof *f);
    buf_init(&f->message, max_message);
}

void frames_free(struct frames *f) { buf_free(&f->message); }

static bool is_control(const struct frames *f) { return f->op & 8; }

static size_t head_size(const struct frames *f) {
    unsigned len = f->head[1] & 0x7f;
    return f->head_len < 2 ? 2 : 6 + (len == 126 ? 2u : len == 127 ? 8u : 0u);
}

/* Its first two bytes: nobody has to send more of a frame that is none. */
static int check_start(struct frames *f) {
    f->fin = f->head[0] & 0x80;
    f->op = f->head[0] & 0x0f;
    if (f->head[0] & 0x70)
        return fail(f, 1002, "no extension was agreed on");
    if (!(f->head[1] & 0x80))
        return fail(f, 1002, "frames of a client are masked");
    if (f->op > OP_PONG || (f->op > OP_BINARY && !is_control(f)))
        return fail(f, 1002, "the kind of the frame is unknown");
    if (is_control(f))
        return f->fin && (f->head[1] & 0x7f) <= FRAME_CONTROL_MAX ? 0 : fail(f, 1002, "a control frame is short and whole");
    if (f->in_message == (f->op != OP_CONTINUE))
        return fail(f, 1002, f->in_message ? "the message before is not complete" : "there is no message to continue");
    return 0;
}

/* Its head is whole. */
static int open_frame(struct frames *f) {
    size_t more = head_size(f) - 6;
    f->left = more ? 0 : f->head[1] & 0x7f;
    for (size_t i = 0; i < more; i++)
        f->left = f->left << 8 | f->head[2 + i];
    memcpy(f->mask, f->head + 2 + more, sizeof f->mask);
    f->at = 0;
    f->open = true;
    if (is_control(f))
        return 0;
    if (f->left > f->message.max - f->message.len)
        return fail(f, 1009, "the message is too large");
    if (f->op != OP_CONTINUE)
        f->binary = f->op == OP_BINARY;
    f->in_message = true;
    return 0;
}

static void unmask(char *data, size_t n, const unsigned char mask[4], uint64_t at) {
    unsigned char m[8];
    uint64_t word, key;
    for (size_t i = 0; i < sizeof m; i++)
        m[i] = mask[(at + i) & 3];
    memcpy(&key, m, sizeof key);
    for (; n >= sizeof word; n -= sizeof word, data += sizeof word) {
        memcpy(&word, data, sizeof word);
        word ^= key;
        memcpy(data, &word, sizeof word);
    }
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(data[i] ^ m[i]);
}

/* The next bytes of its payload. */
static int add_payload(struct frames *f, char *data, size_t n) {
    unmask(data, n, f->mask, f->at);
    if (is_control(f))
        memcpy(f->control + f->at, data, n);
    else if (!f->deaf && !f->pieces && buf_append(&f->message, data, n) < 0)
        return fail(f, 1011, "out of memory");
    f->at += n;
    f->left -= n;
    return 0;
}

/* The codes that may be sent: those of RFC 6455 and its registry but for the ones that are never on the wire, and what applications
 * agree on. */
static bool may_be_sent(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static int end_of_close(struct frames *f) {
    if (f->control_len == 0)
        return FRAMES_CLOSE;
    if (f->control_len == 1 || !may_be_sent((unsigned)f->control[0] << 8 | f->control[1]))
        return fail(f, 1002, "that is no code to close with");
    if (!utf8_valid((const char *)f->control + 2, f->control_len - 2))
        return fail(f, 1007, "the reason is not UTF-8");
    return FRAMES_CLOSE;
}

static int end_of_frame(struct frames *f) {
    f->open = false;
    f->head_len = 0;
    if (is_control(f)) {
        f->control_len = (size_t)f->at;
        return f->op == OP_CLOSE ? end_of_close(f) : f->op == OP_PING ? FRAMES_PING : FRAMES_PONG;
    }
    if (!f->fin)
        return FRAMES_MORE;
    f->in_message = false;
    if (f->deaf || f->pieces)
        return FRAMES_MORE;
    if (!f->binary && !utf8_valid(buf_cstr(&f->message), f->message.len))
        return fail(f, 1007, "the text is not UTF-8");
    return FRAMES_MESSAGE;
}

/* The next bytes of its head, or of its payload; *n of them. */
static int one_step(struct frames *f, char *data, size_t len, size_t *n) {
    if (f->open) {
        *n = len < f->left ? len : (size_t)f->left;
        return add_payload(f, data, *n);
    }
    *n = head_size(f) - f->head_len;
    *n = len < *n ? len : *n;
    memcpy(f->head + f->head_len, data, *n);
    f->head_len += *n;
    if (f->head_len == 2)
        return check_start(f);
    return f->head_len > 2 && f->head_len == head_size(f) ? open_frame(f) : 0;
}

/* What a step has brought of a message, if anything. */
static int tell_piece(struct frames *f, char *data, size_t n, bool ends) {
    bool fin = ends && f->fin;
    if (!f->pieces || is_control(f) || (n == 0 && !fin))
        return FRAMES_MORE;
    f->piece = data;
    f->piece_len = n;
    f->piece_fin = fin;
    f->piece_op = f->begun ? OP_CONTINUE : f->binary ? OP_BINARY : OP_TEXT;
    f->begun = !fin;
    return f->deaf ? FRAMES_MORE : FRAMES_PIECE;
}

int frames_read(struct frames *f, char *data, size_t len, size_t *used) {
    int rc = FRAMES_MORE;
    for (*used = 0; rc == FRAMES_MORE && *used < len;) {
        size_t n = 0;
        bool payload = f->open;
        rc = one_step(f, data + *used, len - *used, &n);
        *used += n;
        bool ends = rc == 0 && f->open && f->left == 0;
        if (ends)
            rc = end_of_frame(f);
        if (rc == 0)
            rc = tell_piece(f, data + *used - n, payload ? n : 0, ends);
    }
    return rc;
}
