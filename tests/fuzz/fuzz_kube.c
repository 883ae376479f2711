/* Fuzz entry: what an API server sends to the Kubernetes client. The first byte tells the size of the pieces it comes in. As a watch: cut
 * differently, the same must be told. As a page of a list: every item handed out is JSON on its own. As a Status: never a message that is
 * no line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told { buf_t text; };

static void check_slice(const char *json, size_t len) {
    json_reader_t r;
    json_slice_t whole;
    json_reader_init(&r, json, len);
    json_reader_skip(&r, &whole);
    if (json_reader_failed(&r) || !json_reader_at_end(&r) || whole.text != json || whole.len != len)
        abort();
}

static int on_change(void *ctx, osmo_kube_change_t change, const char *json, size_t len) {
    struct told *t = ctx;
    check_slice(json, len);
    buf_printf(&t->text, "%d:", (int)change);
    buf_append(&t->text, json, len);
    return 0;
}

static int on_item(void *ctx, const char *json, size_t len) {
    (void)ctx;
    check_slice(json, len);
    return 0;
}

static int watch(const char *text, size_t len, size_t piece, struct told *out, char message[OSMO_ERROR_TEXT_MAX]) {
    struct kube_stream s;
    osmo_error_t err = OSMO_ERROR_INIT;
    kube_stream_init(&s, false, on_change, out);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < piece ? len - at : piece;
        bool going = kube_stream_feed(&s, text + at, n);
        if (going != (!s.code && !s.stopped))
            abort();
        at += n;
        if (!going)
            break;
    }
    int rc = kube_stream_end(&s, &err);
    if (strpbrk(err.text, "\r\n") || (rc < 0) != (err.code < 0))
        abort();
    memcpy(message, err.text, OSMO_ERROR_TEXT_MAX);
    kube_stream_clear(&s);
    return rc;
}

static void watch_both_ways(const char *text, size_t len, size_t piece) {
    struct told a = {BUF_INIT(8u << 20)}, b = {BUF_INIT(8u << 20)};
    char first[OSMO_ERROR_TEXT_MAX], second[OSMO_ERROR_TEXT_MAX];
    int rc = watch(text, len, piece, &a, first);
    if (rc != watch(text, len, len ? len : 1, &b, second) || strcmp(first, second) || strcmp(buf_cstr(&a.text), buf_cstr(&b.text)))
        abort();
    buf_free(&a.text);
    buf_free(&b.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct kube_page page;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t wait_us;
    if (size < 2 || size > 1u << 20)
        return 0;
    const char *text = (const char *)data + 1;
    watch_both_ways(text, size - 1, data[0] % 64 + 1u);
    if (kube_page_read(text, size - 1, on_item, NULL, &page, &err) == 0 && strlen(page.version) >= sizeof page.version)
        abort();
    buf_free(&page.next);
    for (int http = 300; http < 520; http += 11) {
        int rc = kube_error_of(http, text, size - 1, NULL, data[0] & 1, &wait_us, &err);
        if (rc >= 0 || !err.text[0] || strpbrk(err.text, "\r\n") || wait_us < 0)
            abort();
    }
    return 0;
}
