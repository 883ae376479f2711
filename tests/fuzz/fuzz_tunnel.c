/* Fuzz entry: any bytes as a request for the web server of a task. Its head, written anew, is one head that means
 * the same and holds nothing of ours; its chunks mean the same however they come, and nothing behind their end is
 * passed on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/net_rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

static void check_rewritten(const struct head *h, const buf_t *out, bool tls) {
    struct head again;
    size_t scanned = 0;
    must(head_size(out->data, out->len, &scanned) == (int64_t)out->len);
    int status = head_read(out->data, out->len, &again);
    must(status == 0 || status == 431); /* ours on top of as many as there may be */
    if (status) {
        head_free(&again);
        return;
    }
    must(strcmp(again.method, h->method) == 0 && strcmp(again.path, h->path) == 0 && strcmp(again.query, h->query) == 0);
    must(again.body_len == h->body_len && again.chunked == h->chunked && again.websocket == h->websocket && !again.authority);
    must(again.http10 == h->http10 && !again.wants_continue && (again.websocket || !again.keep_alive));
    for (size_t i = 0; i < again.count; i++) {
        const char *name = again.headers[2 * i], *value = again.headers[2 * i + 1];
        must(strncmp(name, "x-osmo-", 7) != 0 && strcmp(name, "authorization") != 0);
        must(strcmp(name, "te") != 0 && strcmp(name, "trailer") != 0);
        must(strcmp(name, "connection") != 0 || strcmp(value, again.websocket ? "Upgrade" : "close") == 0);
        must(strcmp(name, "upgrade") != 0 || again.websocket);
        must(strcmp(name, "x-forwarded-proto") != 0 || strcmp(value, "https") == 0 || (!tls && strcmp(value, "http") == 0));
    }
    const char *host = head_header(h, "host"), *now = head_header(&again, "host");
    must((!host && !now) || strcmp(host, now) == 0);
    head_free(&again);
}

static void try_head(const char *data, size_t size, bool tls) {
    struct head h;
    size_t scanned = 0;
    const char *why = NULL;
    buf_t out = BUF_INIT(64 << 10);
    int64_t end = head_size(data, size, &scanned);
    if (end <= 0)
        return;
    if (head_read(data, (size_t)end, &h) == 0) {
        int status = rewrite_head(&h, data, (size_t)end, "192.0.2.1", tls, &out, &why);
        must(status == 0 || (status >= 400 && why));
        if (status == 0 && out.len < HEAD_MAX)
            check_rewritten(&h, &out, tls);
    }
    head_free(&h);
    buf_free(&out);
}

/* What the chunks carry goes to `out`, as chunks of our own to `made`; how it ended, and how much of the data was
 * theirs. */
static int read_chunks(const char *data, size_t size, size_t step, buf_t *out, buf_t *made, size_t *taken) {
    struct chunks c = { 0 };
    int what = CHUNKS_MORE;
    *taken = 0;
    while (*taken < size && what >= 0 && what != CHUNKS_END) {
        size_t n = size - *taken < step ? size - *taken : step, used = 0, piece_len = 0;
        const char *from = data + *taken, *piece = NULL;
        what = chunks_read(&c, from, n, &used, &piece, &piece_len);
        must(used <= n && (used > 0 || what < 0) && (what != CHUNKS_MORE || used == n));
        if (what == CHUNKS_PIECE) {
            must(piece >= from && piece + piece_len <= from + used && piece_len > 0);
            buf_append(out, piece, piece_len);
            buf_printf(made, "%zx\r\n", piece_len);
            buf_append(made, piece, piece_len);
            buf_puts(made, "\r\n");
        } else if (what == CHUNKS_END) {
            buf_puts(made, "0\r\n\r\n");
        }
        *taken += used;
    }
    return what < 0 ? what : what == CHUNKS_END;
}

static void try_chunks(const char *data, size_t size) {
    static const size_t steps[] = { 1, 7, SIZE_MAX };
    buf_t first = BUF_INIT(1 << 20), made = BUF_INIT(8 << 20);
    size_t taken, again_taken;
    int how = read_chunks(data, size, steps[0], &first, &made, &taken);
    for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++) {
        buf_t other = BUF_INIT(1 << 20), other_made = BUF_INIT(8 << 20), back = BUF_INIT(1 << 20), unused = BUF_INIT(8 << 20);
        must(read_chunks(data, size, steps[i], &other, &other_made, &again_taken) == how && again_taken == taken);
        must(other.len == first.len && memcmp(buf_cstr(&other), buf_cstr(&first), first.len) == 0);
        if (how == 1) { /* ours carry the same */
            must(read_chunks(other_made.data, other_made.len, SIZE_MAX, &back, &unused, &again_taken) == 1);
            must(again_taken == other_made.len && back.len == first.len && memcmp(buf_cstr(&back), buf_cstr(&first), first.len) == 0);
        }
        buf_free(&other);
        buf_free(&other_made);
        buf_free(&back);
        buf_free(&unused);
    }
    buf_free(&first);
    buf_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > 2 * HEAD_MAX)
        return 0;
    char *copy = malloc(size); /* without its first byte, which chooses, and no byte more */
    must(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if (data[0] == 'c')
        try_chunks(copy, size - 1);
    else
        try_head(copy, size - 1, data[0] == 's');
    free(copy);
    return 0;
}
