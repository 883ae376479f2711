/* Fuzz entry: bytes of the socket between osmo_ctrl and osmo_exec, arriving in pieces (the first byte tells their
 * size), and the same bytes as the text of a message, which must come back whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "runtime/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(const char *text, size_t len, size_t piece) {
    buf_t in = BUF_INIT(2 * LINK_MESSAGE_MAX);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < piece ? len - at : piece;
        json_t *v = NULL;
        int rc;
        buf_append(&in, text + at, n);
        at += n;
        while ((rc = link_next(&in, &v)) > 0) {
            if (json_kind(v) != JSON_OBJECT)
                abort();
            json_free(v);
            v = NULL;
        }
        if (rc < 0)
            break;
    }
    buf_free(&in);
}

static void message(const char *text, size_t len) {
    buf_t out = BUF_INIT(LINK_MESSAGE_MAX);
    json_t *v = NULL;
    if (link_message(&out, "user_message", "MessageOut", text, len) < 0)
        abort();
    int rc = link_next(&out, &v);
    if (utf8_valid(text, len)) {
        size_t n;
        const char *back = json_bytes(json_get(v, "MessageOut"), &n);
        if (rc != 1 || !back || n != len || memcmp(back, text, len))
            abort();
    }
    json_free(v);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    feed((const char *)data + 1, size - 1, data[0] % 64 + 1u);
    message((const char *)data + 1, size - 1);
    return 0;
}
