/* Fuzz entry: any bytes as the head of a request. Its end is the same however it comes; what is accepted has a clean path, headers that
 * come once, and one length. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/net_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

/* As it comes in pieces. */
static int64_t in_pieces(const char *data, size_t size, size_t step) {
    size_t scanned = 0;
    int64_t got = 0;
    for (size_t n = step < size ? step : size; got == 0; n = n + step < size ? n + step : size) {
        got = head_size(data, n, &scanned);
        if (n == size)
            break;
    }
    return got;
}

static void check_path(const char *path) {
    must(*path == '/' && !strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./"));
    size_t n = strlen(path);
    must(n < 3 || strcmp(path + n - 3, "/..") != 0);
    must(n < 2 || strcmp(path + n - 2, "/.") != 0);
}

static void check_headers(const struct head *h) {
    size_t n = 0;
    for (; h->headers[2 * n]; n++) {
        const char *name = h->headers[2 * n], *value = h->headers[2 * n + 1];
        must(*name && !strpbrk(name, " \t:\r\n"));
        for (const char *p = name; *p; p++)
            must(!isupper((unsigned char)*p));
        must(!strpbrk(value, "\r\n"));
        for (size_t i = 0; i < n; i++)
            must(strcmp(h->headers[2 * i], name) != 0);
    }
    must(n == h->count && n <= HEAD_MAX_HEADERS);
    must(!head_header(h, "transfer-encoding"));
    must(h->body_len == 0 || head_header(h, "content-length"));
    must(h->http10 || head_header(h, "host"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t scanned = 0;
    char *copy = malloc(size ? size : 1);
    struct head h;
    if (!copy || size > 2 * HEAD_MAX) {
        free(copy);
        return 0;
    }
    if (size)
        memcpy(copy, data, size);
    int64_t end = head_size(copy, size, &scanned);
    if (end > 0) { /* refusals may come sooner in pieces, never otherwise */
        must(end == in_pieces(copy, size, 1) && end == in_pieces(copy, size, 7));
        if (head_parse(copy, (size_t)end, &h) == 0) {
            check_path(h.path);
            check_headers(&h);
        } else {
            must(h.why != NULL);
        }
        head_free(&h);
    } else if (end == 0) {
        must(in_pieces(copy, size, 3) == 0);
    }
    free(copy);
    return 0;
}
