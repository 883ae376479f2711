/* See ws_peer.h. SHA-1 is here because a test may not use the library that the code under test stands on. */
#include "ws_peer.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

static uint32_t rotate(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void sha1_block(uint32_t h[5], const unsigned char *p) {
    static const uint32_t keys[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? (uint32_t)p[i * 4] << 24 | (uint32_t)p[i * 4 + 1] << 16 | (uint32_t)p[i * 4 + 2] << 8 | p[i * 4 + 3]
                      : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t t = rotate(a, 5) + f + e + keys[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* Of at most 119 bytes. */
static void sha1(const char *text, unsigned char out[20]) {
    unsigned char room[128] = { 0 };
    uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    size_t n = strlen(text), blocks = n < 56 ? 1 : 2;
    memcpy(room, text, n);
    room[n] = 0x80;
    room[blocks * 64 - 2] = (unsigned char)(n * 8 >> 8);
    room[blocks * 64 - 1] = (unsigned char)(n * 8);
    for (size_t i = 0; i < blocks; i++)
        sha1_block(h, room + i * 64);
    for (int i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
}

static void accepted(const char *key, char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[24 + sizeof GUID];
    unsigned char d[21] = { 0 };
    snprintf(text, sizeof text, "%.24s%s", key, GUID);
    sha1(text, d);
    for (int i = 0; i < 28; i++) {
        int bit = i * 6, v = d[bit / 8] << 8 | (bit / 8 + 1 < 21 ? d[bit / 8 + 1] : 0);
        out[i] = letters[v >> (10 - bit % 8) & 63];
    }
    out[27] = '=';
    out[28] = '\0';
}

static bool all(int fd, void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, (char *)data + at, len - at);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

int ws_peer_accept(int listener, char *request, size_t size, const char *more) {
    static const char name[] = "Sec-WebSocket-Key: ";
    char answer[1024], accept_text[29];
    int fd = accept(listener, NULL, NULL);
    size_t len = 0;
    if (fd < 0)
        return -1;
    request[0] = '\0';
    while (!strstr(request, "\r\n\r\n") && len + 1 < size && all(fd, request + len, 1))
        request[++len] = '\0';
    const char *key = strcasestr(request, name);
    if (!key) {
        close(fd);
        return -1;
    }
    accepted(key + sizeof name - 1, accept_text);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n%s\r\n", accept_text, more);
    if (send(fd, answer, (size_t)n, MSG_NOSIGNAL) == n)
        return fd;
    close(fd);
    return -1;
}

int ws_peer_read(int fd, char *data, size_t size, size_t *len) {
    unsigned char head[8], mask[4];
    if (!all(fd, head, 2) || !(head[1] & 0x80))
        return -1;
    int opcode = head[0] & 15, more = (head[1] & 127) == 126 ? 2 : (head[1] & 127) == 127 ? 8 : 0;
    uint64_t n = head[1] & 127;
    if (more && !all(fd, head, (size_t)more))
        return -1;
    for (int i = 0; i < more; i++)
        n = (i ? n << 8 : 0) | head[i];
    if (!all(fd, mask, 4) || n > size || !all(fd, data, (size_t)n))
        return -1;
    for (uint64_t i = 0; i < n; i++)
        data[i] = (char)(data[i] ^ mask[i & 3]);
    *len = (size_t)n;
    return opcode;
}

bool ws_peer_write_part(int fd, int opcode, const void *data, size_t len, bool fin) {
    unsigned char head[10] = { (unsigned char)((fin ? 0x80 : 0) | opcode) };
    size_t n = 2;
    if (len < 126) {
        head[1] = (unsigned char)len;
    } else {
        int more = len < 65536 ? 2 : 8;
        head[1] = more == 2 ? 126 : 127;
        for (int i = 0; i < more; i++)
            head[n++] = (unsigned char)((uint64_t)len >> 8 * (more - 1 - i));
    }
    if (send(fd, head, n, MSG_NOSIGNAL | MSG_MORE) != (ssize_t)n)
        return false;
    for (size_t at = 0; at < len;) {
        ssize_t w = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (w <= 0)
            return false;
        at += (size_t)w;
    }
    return len > 0 || send(fd, "", 0, MSG_NOSIGNAL) == 0;
}

bool ws_peer_write(int fd, int opcode, const void *data, size_t len) { return ws_peer_write_part(fd, opcode, data, len, true); }

void ws_peer_close(int fd, int code, const char *reason) {
    char text[128], sink[1 << 16];
    size_t n = strlen(reason);
    int opcode;
    text[0] = (char)(code >> 8);
    text[1] = (char)code;
    memcpy(text + 2, reason, n);
    if (ws_peer_write(fd, PEER_CLOSE, text, n + 2)) {
        do
            opcode = ws_peer_read(fd, sink, sizeof sink, &n);
        while (opcode >= 0 && opcode != PEER_CLOSE);
    }
    close(fd);
}
