/* Fuzz entry: any bytes as what a websocket client sends. They mean the same however they come, what is told of is sound, and what is
 * refused is refused with a code that may be sent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "server/net_frame.h"

#define MAX_MESSAGE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

static uint64_t add(uint64_t sum, const void *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ ((const uint8_t *)data)[i]) * UINT64_C(1099511628211);
    return sum;
}

static uint64_t look(struct frames *f, int what, uint64_t sum) {
    sum = add(sum, &what, sizeof what);
    if (what == FRAMES_MESSAGE) {
        must(!f->deaf && f->message.len <= MAX_MESSAGE && (f->binary || utf8_valid(buf_cstr(&f->message), f->message.len)));
        sum = add(sum, f->message.data, f->message.len);
        buf_reset(&f->message);
    } else if (what > FRAMES_MESSAGE) {
        must(f->control_len <= FRAME_CONTROL_MAX && (what != FRAMES_CLOSE || f->control_len != 1));
        sum = add(sum, f->control, f->control_len);
    }
    return sum;
}

/* What comes in pieces of `step` bytes; a sum of all that was told of, up to the first goodbye or refusal. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t step, bool deaf) {
    struct frames f;
    char *room = malloc(step);
    must(room != NULL);
    uint64_t sum = UINT64_C(14695981039346656037);
    frames_init(&f, MAX_MESSAGE);
    f.deaf = deaf;
    int what = FRAMES_MORE;
    for (size_t at = 0; at < size && what >= 0 && what != FRAMES_CLOSE;) {
        size_t n = size - at < step ? size - at : step, used = 0;
        char *piece = room + step - n; /* at its end, so that a read behind it is seen */
        memcpy(piece, data + at, n);
        what = frames_read(&f, piece, n, &used);
        must(used > 0 && used <= n && (what != FRAMES_MORE || used == n));
        must(what >= 0 || what == -1002 || what == -1007 || what == -1009);
        must((what < 0) == (f.why != NULL));
        if (what != FRAMES_MORE)
            sum = look(&f, what, sum);
        at += used;
    }
    frames_free(&f);
    free(room);
    return sum;
}

/* Piece by piece: the same bytes in the same messages. */
static uint64_t read_pieces(const uint8_t *data, size_t size, size_t step) {
    struct frames f;
    char *room = malloc(step);
    must(room != NULL);
    uint64_t sum = UINT64_C(14695981039346656037);
    bool within = false;
    frames_init(&f, MAX_MESSAGE);
    f.pieces = true;
    int what = FRAMES_MORE;
    for (size_t at = 0; at < size && what >= 0 && what != FRAMES_CLOSE;) {
        size_t n = size - at < step ? size - at : step, used = 0;
        memcpy(room, data + at, n);
        what = frames_read(&f, room, n, &used);
        must(used > 0 && used <= n && what != FRAMES_MESSAGE && f.message.len == 0);
        if (what == FRAMES_PIECE) {
            must(f.piece >= room && f.piece + f.piece_len <= room + used && (f.piece_len || f.piece_fin));
            must(within == (f.piece_op == OP_CONTINUE) && (within || f.piece_op == (f.binary ? OP_BINARY : OP_TEXT)));
            sum = f.piece_len ? add(sum, f.piece, f.piece_len) : sum;
            if (f.piece_fin)
                sum = add(sum, &f.binary, sizeof f.binary);
            within = !f.piece_fin;
        }
        at += used;
    }
    frames_free(&f);
    free(room);
    return add(sum, &within, sizeof within);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4 * MAX_MESSAGE)
        return 0;
    for (int deaf = 0; deaf < 2; deaf++) {
        uint64_t whole = read_all(data, size, size ? size : 1, deaf);
        must(read_all(data, size, 1, deaf) == whole);
        must(read_all(data, size, 7, deaf) == whole);
    }
    uint64_t pieces = read_pieces(data, size, size ? size : 1);
    must(read_pieces(data, size, 1) == pieces && read_pieces(data, size, 7) == pieces);
    return 0;
}
