/* See net_rewrite.h. Called by net_tunnel.c on the network thread, and by the fuzzer of tunnels. What the other end
 * could read in two ways does not get there: one length, our own chunks, no trailers, and nothing of ours. */
#include "server/net_rewrite.h"
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "base/str.h"

#define IDLE_MAX (8u << 10)

/* For one hop, replaced by our own, or a proof of who the user is, which is none of the task's business. */
static const char *const dropped[] = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer", "transfer-encoding",
    "upgrade", "expect", "http2-settings", "authorization", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
};
/* Headers that Connection cannot take away: without them it would be another request. */
static const char *const kept[] = { "host", "content-length", "cookie", "content-type", "origin" };

static bool among(const char *const *names, size_t count, const char *name, size_t len) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
            return true;
    }
    return false;
}

static bool passes(const struct head *h, const char *name, size_t len) {
    char lower[128];
    const char *connection = head_header(h, "connection");
    if (among(kept, ARRAY_SIZE(kept), name, len))
        return true;
    if (among(dropped, ARRAY_SIZE(dropped), name, len) || (len >= 7 && strncasecmp(name, "x-osmo-", 7) == 0))
        return false;
    if (!connection || len >= sizeof lower)
        return true;
    memcpy(lower, name, len);
    lower[len] = '\0';
    return !head_lists(connection, lower);
}

/* The address as it came, without the host that an absolute one begins with. */
static bool write_request_line(const char *line, size_t len, buf_t *out) {
    const char *target = memchr(line, ' ', len), *version = target ? memrchr(line, ' ', len) : NULL;
    if (!version || version == target)
        return false;
    size_t n = (size_t)(version - ++target);
    const char *slashes = *target == '/' ? NULL : memmem(target, n, "://", 3);
    buf_append(out, line, (size_t)(target - line));
    if (slashes) {
        size_t host = (size_t)(slashes - target) + 3;
        while (host < n && target[host] != '/' && target[host] != '?')
            host++;
        if (host == n || target[host] == '?')
            buf_putc(out, '/');
        target += host;
        n -= host;
    }
    buf_append(out, target, n);
    buf_append(out, version, (size_t)(line + len - version));
    buf_puts(out, "\r\n");
    return true;
}

/* Who asked, for whom, and how. A proxy before us may have said so, and knows more. */
static void write_forwarded(const struct head *h, const char *peer, bool tls, buf_t *out) {
    const char *before = head_header(h, "x-forwarded-for"), *proto = head_header(h, "x-forwarded-proto"), *host = head_header(h, "host");
    bool https = tls || (proto && strcasecmp(proto, "https") == 0);
    buf_printf(out, "X-Forwarded-For: %s%s%s\r\n", before ? before : "", before && *before ? ", " : "", peer);
    if (host)
        buf_printf(out, "X-Forwarded-Host: %s\r\n", host);
    buf_printf(out, "X-Forwarded-Proto: %s\r\n", https ? "https" : "http");
}

int rewrite_head(const struct head *h, const char *raw, size_t size, const char *peer, bool tls, buf_t *out, const char **why) {
    const char *line = raw, *end;
    bool first = true;
    *why = "This is no HTTP/1.1 request";
    if (h->websocket && (strcmp(h->method, "GET") != 0 || h->body_len || h->chunked)) {
        *why = "This is no request for a websocket";
        return 400;
    }
    for (; (end = memmem(line, size - (size_t)(line - raw), "\r\n", 2)) && end > line; line = end + 2, first = false) {
        size_t len = (size_t)(end - line);
        const char *colon = memchr(line, ':', len);
        if (first && !write_request_line(line, len, out))
            return 400;
        if (!first && (!colon || colon == line))
            return 400;
        if (!first && passes(h, line, (size_t)(colon - line)))
            buf_append(out, line, len + 2);
    }
    write_forwarded(h, peer, tls, out);
    if (h->chunked)
        buf_puts(out, "Transfer-Encoding: chunked\r\n");
    buf_puts(out, h->websocket ? "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" : "Connection: close\r\n\r\n");
    if (!buf_failed(out))
        return 0;
    *why = "The headers are too large to be passed on";
    return 431;
}

/* ---- chunks ---- */

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_text(char c) { return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f); }

static int on_size(struct chunks *c, char byte) {
    int digit = hex_of(byte);
    if (digit >= 0) {
        c->left = c->left << 4 | (unsigned)digit;
        return ++c->digits <= 15 ? 0 : -400;
    }
    if (c->digits == 0)
        return -400;
    c->state = byte == '\r' ? CHUNKS_SIZE_LF : CHUNKS_EXTENSION;
    return byte == '\r' || byte == ';' ? 0 : -400;
}

/* A byte of what is between the data. */
static int on_byte(struct chunks *c, char byte) {
    switch (c->state) {
    case CHUNKS_SIZE:
        return on_size(c, byte);
    case CHUNKS_EXTENSION:
        if (byte == '\r')
            c->state = CHUNKS_SIZE_LF;
        return (byte == '\r' || is_text(byte)) && ++c->idle <= IDLE_MAX ? 0 : -400;
    case CHUNKS_SIZE_LF:
        c->state = c->left ? CHUNKS_DATA : CHUNKS_TRAILER;
        return byte == '\n' ? 0 : -400;
    case CHUNKS_DATA_CR:
        c->state = CHUNKS_DATA_LF;
        return byte == '\r' ? 0 : -400;
    case CHUNKS_DATA_LF:
        c->state = CHUNKS_SIZE;
        c->digits = 0;
        return byte == '\n' ? 0 : -400;
    case CHUNKS_TRAILER:
        c->state = byte == '\r' ? CHUNKS_LAST_LF : CHUNKS_TRAILER_NAME;
        return byte == '\r' || (is_text(byte) && byte != ' ' && byte != '\t') ? 0 : -400;
    case CHUNKS_TRAILER_NAME:
        if (byte == '\r')
            c->state = CHUNKS_TRAILER_LF;
        return (byte == '\r' || is_text(byte)) && ++c->idle <= IDLE_MAX ? 0 : -400;
    case CHUNKS_TRAILER_LF:
        c->state = CHUNKS_TRAILER;
        return byte == '\n' ? 0 : -400;
    case CHUNKS_LAST_LF:
        c->state = CHUNKS_OVER;
        return byte == '\n' ? CHUNKS_END : -400;
    default:
        return CHUNKS_END;
    }
}

int chunks_read(struct chunks *c, const char *data, size_t len, size_t *used, const char **piece, size_t *piece_len) {
    int rc = c->state == CHUNKS_OVER ? CHUNKS_END : CHUNKS_MORE;
    for (*used = 0; rc == CHUNKS_MORE && *used < len;) {
        if (c->state != CHUNKS_DATA) {
            rc = on_byte(c, data[(*used)++]);
            continue;
        }
        *piece = data + *used;
        *piece_len = len - *used < c->left ? len - *used : (size_t)c->left;
        *used += *piece_len;
        c->left -= *piece_len;
        if (c->left == 0)
            c->state = CHUNKS_DATA_CR;
        rc = CHUNKS_PIECE;
    }
    return rc;
}
