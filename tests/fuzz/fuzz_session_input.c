/* Fuzz entry: what osmo_exec is told in a session: frames, the size object, escapes in pieces of any size, the command's
 * words, checkpoints. Escapes must not depend on how the bytes are cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "osmo-exec/checkpoint.h"
#include "osmo-exec/escapes.h"
#include "osmo-exec/words.h"
#include "runtime/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen { buf_t bytes; int resizes, signals; };

static void on_bytes(void *ctx, const char *data, size_t len) { buf_append(&((struct seen *)ctx)->bytes, data, len); }

static void on_resize(void *ctx, int rows, int cols) {
    ((struct seen *)ctx)->resizes++;
    if (rows < 0 || cols < 0 || rows > 65535 || cols > 65535)
        abort();
}

static void on_signal(void *ctx, int number) {
    ((struct seen *)ctx)->signals++;
    if (number < 1 || number > 64)
        abort();
}

static void feed(const char *data, size_t len, size_t piece, struct seen *seen) {
    struct escapes e = { .signals = true };
    const struct escape_sink sink = { on_bytes, on_resize, on_signal, seen };
    *seen = (struct seen){ .bytes = BUF_INIT(1u << 22) };
    for (size_t at = 0; at < len; at += piece)
        escapes_feed(&e, data + at, len - at < piece ? len - at : piece, &sink);
    escapes_flush(&e, &sink);
    if (seen->bytes.len > len)
        abort();
}

static void escapes(const char *data, size_t len, size_t piece) {
    struct seen whole, cut;
    feed(data, len, len ? len : 1, &whole);
    feed(data, len, piece, &cut);
    if (whole.bytes.len != cut.bytes.len || whole.resizes != cut.resizes || whole.signals != cut.signals ||
        (cut.bytes.len && memcmp(whole.bytes.data, cut.bytes.data, cut.bytes.len)))
        abort();
    buf_free(&whole.bytes);
    buf_free(&cut.bytes);
}

static void frames(const char *data, size_t len) {
    struct link_frame f;
    size_t used;
    while (link_frame_next(data, len, &f, &used) > 0) {
        if (used > len || f.len + LINK_FRAME_HEAD != used)
            abort();
        data += used;
        len -= used;
    }
}

static void texts(const char *text) {
    char why[256];
    strlist_t words = { 0 };
    struct checkpoint c;
    if (words_split(text, &words, why, sizeof why) == 0 && !words.len)
        abort();
    strlist_free(&words);
    if (checkpoint_parse(text, &c, why, sizeof why) == 0)
        checkpoint_clear(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why[256];
    struct session_size s;
    buf_t in = BUF_INIT(1u << 22);
    if (!size)
        return 0;
    const char *rest = (const char *)data + 1;
    buf_append(&in, rest, size - 1);
    texts(buf_cstr(&in));
    size_take(&in, data[0] & 1, &s, why, sizeof why);
    buf_free(&in);
    escapes(rest, size - 1, data[0] % 16 + 1u);
    frames(rest, size - 1);
    return 0;
}
