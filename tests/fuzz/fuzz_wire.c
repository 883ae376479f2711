/* Fuzz entry: any bytes as what a websocket client gets, first an answer to its upgrade, then frames. However they are cut, the same
 * messages come of them, and in pieces the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ws_client_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

/* Everything that is told, and how it ended. Each piece lies in memory of its own, with one byte behind it. */
static int feed(const uint8_t *bytes, size_t size, size_t step, bool pieces, buf_t *told) {
    struct wire w;
    int rc = WIRE_MORE;
    wire_init(&w, 1u << 16);
    w.pieces = pieces;
    for (size_t at = 0; at < size && rc >= 0; at += step) {
        size_t n = size - at < step ? size - at : step, used = 0;
        char *copy = malloc(n + 1);
        must(copy != NULL);
        memcpy(copy, bytes + at, n);
        for (size_t k = 0; k < n && rc >= 0; k += used) {
            const char *text = NULL, *why = NULL;
            size_t len = 0;
            rc = wire_read(&w, copy + k, n - k, &used, &text, &len, &why);
            must(used > 0 || rc < 0);
            if (rc == WIRE_MESSAGE) {
                if (!pieces || !w.binary)
                    buf_printf(told, "%c%zu:", w.binary ? 'B' : 'T', len);
                if (len)
                    buf_append(told, text, len);
                wire_done(&w);
            } else if (rc == WIRE_CONTROL) {
                must(w.control_len <= WIRE_CONTROL_MAX);
                if (!pieces)
                    buf_printf(told, "C%u:%zu", w.op, w.control_len);
            } else if (rc < 0) {
                must(why != NULL && rc > -1016 && rc < -1000);
            }
        }
        free(copy);
    }
    wire_free(&w);
    return rc < 0 ? rc : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    buf_t whole = BUF_INIT(8u << 20), cut = BUF_INIT(8u << 20), piece = BUF_INIT(8u << 20), piece_cut = BUF_INIT(8u << 20);
    char extensions[64];
    const char *why = NULL;
    int status = 0;
    if (size < 2 || size > (1u << 18))
        return 0;
    size_t step = data[0] ? data[0] : 1;
    data++;
    size--;
    long head = wire_answer((const char *)data, size, "dGhlIHNhbXBsZSBub25jZQ==", &status, extensions, sizeof extensions, &why);
    must(head <= (long)size && (head <= 0 || (status >= 0 && status <= 999)));
    if (head > 0) {
        data += head;
        size -= (size_t)head;
    }
    int one = feed(data, size, size + 1, false, &whole), two = feed(data, size, step, false, &cut);
    must(one == two && whole.len == cut.len && (!whole.len || memcmp(whole.data, cut.data, whole.len) == 0));
    one = feed(data, size, size + 1, true, &piece);
    two = feed(data, size, step, true, &piece_cut);
    must(one == two && piece.len == piece_cut.len && (!piece.len || memcmp(piece.data, piece_cut.data, piece.len) == 0));
    buf_free(&whole);
    buf_free(&cut);
    buf_free(&piece);
    buf_free(&piece_cut);
    return 0;
}
