/* See ws_raw.h. */
#include "ws_raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool read_exactly(int fd, void *data, size_t len) {
    char *to = data;
    while (len) {
        ssize_t n = recv(fd, to, len, 0);
        if (n <= 0)
            return false;
        to += n;
        len -= (size_t)n;
    }
    return true;
}

bool write_exactly(int fd, const void *data, size_t len) {
    const char *from = data;
    while (len) {
        ssize_t n = send(fd, from, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        from += n;
        len -= (size_t)n;
    }
    return true;
}

int ws_raw_upgrade(int fd, const char *path, const char *host) {
    char text[1024];
    size_t len = 0;
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Osmo-User: alice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host);
    if (!write_exactly(fd, text, (size_t)n))
        return -1;
    while (len + 1 < sizeof text && !(len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0)) {
        if (recv(fd, text + len, 1, 0) != 1)
            return -1;
        len++;
    }
    text[len] = '\0';
    return len > 12 ? atoi(text + 9) : -1;
}

bool ws_raw_send(int fd, unsigned op, bool fin, const void *data, size_t len) {
    static const unsigned char mask[4] = { 0x12, 0x34, 0x56, 0x78 };
    unsigned char *frame = malloc(len + 14), *p = frame;
    int more = len < 126 ? 0 : len < 65536 ? 2 : 8;
    *p++ = (unsigned char)((fin ? 0x80 : 0) | op);
    *p++ = (unsigned char)(0x80 | (more == 0 ? len : more == 2 ? 126 : 127));
    for (int i = more - 1; i >= 0; i--)
        *p++ = (unsigned char)((uint64_t)len >> 8 * i);
    memcpy(p, mask, 4);
    p += 4;
    for (size_t i = 0; i < len; i++)
        p[i] = ((const unsigned char *)data)[i] ^ mask[i & 3];
    bool ok = write_exactly(fd, frame, (size_t)(p - frame) + len);
    free(frame);
    return ok;
}

void ws_raw_close(int fd, int code, const char *reason) {
    char data[125];
    size_t n = code ? 2 + (size_t)snprintf(data + 2, sizeof data - 2, "%s", reason) : 0;
    data[0] = (char)(code >> 8);
    data[1] = (char)code;
    ws_raw_send(fd, 8, true, data, n);
}

int64_t ws_raw_frame(int fd, unsigned *op, bool *fin, char *data, size_t max) {
    unsigned char head[14], mask[4] = { 0 };
    if (!read_exactly(fd, head, 2))
        return -1;
    *op = head[0] & 15;
    *fin = head[0] & 0x80;
    uint64_t len = head[1] & 127;
    size_t more = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (more && !read_exactly(fd, head + 2, more))
        return -1;
    for (size_t i = 0; i < more; i++)
        len = i ? len << 8 | head[2 + i] : head[2];
    if ((head[1] & 128) && !read_exactly(fd, mask, 4))
        return -1;
    if (len > max || !read_exactly(fd, data, len))
        return -1;
    for (size_t i = 0; i < len && (head[1] & 128); i++)
        data[i] = (char)(data[i] ^ mask[i & 3]);
    return (int64_t)len;
}

struct ws_raw_message ws_raw_read(int fd) {
    enum { MAX = 40 << 20 };
    size_t room = 70000;
    struct ws_raw_message m = { .op = 0xff };
    char *data = malloc(room);
    size_t len = 0;
    for (;;) {
        unsigned op;
        bool fin;
        if (room - len < 66000 && room < MAX)
            data = realloc(data, room = 2 * room);
        int64_t n = ws_raw_frame(fd, &op, &fin, data + len, room - len);
        if (n < 0)
            break;
        if (op == 9)
            ws_raw_send(fd, 10, true, data + len, (size_t)n);
        if (op == 9 || op == 10)
            continue;
        if (op != 0)
            m.op = op;
        m.fragments++;
        len += (size_t)n;
        if (!fin)
            continue;
        m.data = realloc(data, len + 1);
        m.data[len] = '\0';
        m.len = len;
        m.code = m.op == 8 && len >= 2 ? (unsigned char)m.data[0] << 8 | (unsigned char)m.data[1] : 0;
        return m;
    }
    free(data);
    m = (struct ws_raw_message){ .op = 0xff, .data = calloc(1, 1) };
    return m;
}
