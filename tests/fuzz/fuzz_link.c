/* Fuzz entry: bytes of the socket between osmo_ctrl and osmo_exec, arriving in pieces (the first byte tells their
 * size), and the same bytes as the text of a message, which must come back whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "runtime/link.h"
#include "runtime/link_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct lines { buf_t text; };

static void on_line(void *ctx, const char *type, const char *text, size_t len) {
    struct lines *l = ctx;
    buf_printf(&l->text, "%s %zu ", type, len);
    buf_append(&l->text, text, len);
}

static void put_line(struct lines *l, const json_t *v) {
    static const char *const types[] = { "MessageOut", "MessageErr", "MessageOps" };
    const char *type = json_get_str(v, "Type");
    size_t len;
    for (size_t i = 0; type && i < 3; i++) {
        const char *text = strcmp(type, types[i]) ? NULL : json_bytes(json_get(v, types[i]), &len);
        if (text)
            on_line(l, type, text, len);
    }
}

/* What is taken as lines first is what the messages say. */
static void lines_are_the_same(const char *text, size_t len) {
    buf_t in = BUF_INIT(2 * LINK_MESSAGE_MAX), again = BUF_INIT(2 * LINK_MESSAGE_MAX);
    struct lines a = { BUF_INIT(8 * LINK_MESSAGE_MAX) }, b = { BUF_INIT(8 * LINK_MESSAGE_MAX) };
    json_t *v = NULL;
    int rc;
    buf_append(&in, text, len);
    buf_append(&again, text, len);
    link_take_lines(&in, on_line, &a);
    size_t fast = len - in.len;
    while (again.len > len - fast && (rc = link_next(&again, &v)) > 0) {
        put_line(&b, v);
        json_free(v);
        v = NULL;
    }
    if (utf8_valid(text, len) && (a.text.len != b.text.len || memcmp(buf_cstr(&a.text), buf_cstr(&b.text), a.text.len)))
        abort();
    buf_free(&in);
    buf_free(&again);
    buf_free(&a.text);
    buf_free(&b.text);
}

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
    lines_are_the_same((const char *)data + 1, size - 1);
    return 0;
}
