/* Operators of OSMO 6.4 at the door: the upgrade as their websocket library asks for it, with its offer of compression, which we do not
 * take up; frames in pieces, pings, a client that reads nothing. A real server on the loopback, and plain sockets. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "osmo/server.h"
#include "service_fixture.h"

static struct fixture f;
static osmo_server_t *server;
static char spool[96], base[64];

static bool open_all(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!fixture_open(&f, OSMO_AUTH_DEV, NULL))
        return false;
    snprintf(spool, sizeof spool, "%s/spool", f.dir);
    osmo_server_options_t so = { .size = sizeof so, .listen = "127.0.0.1:0", .workers = 4, .spool_dir = spool };
    CHECK_OK(dir_make(spool, 0700, &err), &err);
    CHECK_OK(osmo_server_open(&so, &server, &err), &err);
    if (!server)
        return false;
    snprintf(base, sizeof base, "http://127.0.0.1:%d", osmo_server_port(server));
    f.options.base_url = base;
    f.options.transport = osmo_server_transport(server);
    bool good = fixture_reopen(&f);
    CHECK_OK(good ? osmo_server_start(server, f.service, &err) : OSMO_EIO, &err);
    return good;
}

static void close_all(void) {
    osmo_server_stop(server, 1000);
    fixture_close(&f);
    osmo_server_free(server);
    server = NULL;
}

/* ---- a client ---- */

static bool read_all(int fd, void *to, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, (char *)to + at, n - at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/* The head of the answer, without a byte behind it. */
static int dial(const char *path, const char *more, char head[2048]) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)osmo_server_port(server)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t n = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    _cleanup_free_ char *rq =
        str_printf("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key:"
                   " dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: Python/3.10 websockets/11.0.3\r\n"
                   "x-osmo-user: operator\r\n%s\r\n", path, osmo_server_port(server), more);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && write(fd, rq, strlen(rq)) == (ssize_t)strlen(rq));
    while (n < 2047 && read_all(fd, head + n, 1)) {
        head[++n] = '\0';
        if (n >= 4 && !memcmp(head + n - 4, "\r\n\r\n", 4))
            break;
    }
    head[n] = '\0';
    return fd;
}

/* Masked, as clients must. */
static void send_frame(int fd, unsigned first, const void *data, size_t n) {
    static const unsigned char mask[4] = { 1, 2, 3, 4 };
    unsigned char out[2048] = { (unsigned char)first, (unsigned char)(0x80 | (n < 126 ? n : 126)) };
    size_t at = 2;
    if (n >= 126) {
        out[at++] = (unsigned char)(n >> 8);
        out[at++] = (unsigned char)n;
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < n; i++)
        out[at++] = ((const unsigned char *)data)[i] ^ mask[i % 4];
    CHECK(write(fd, out, at) == (ssize_t)at);
}

static void say(int fd, const char *text) { send_frame(fd, 0x81, text, strlen(text)); }

/* First byte and payload of the next frame; 0 at the end. */
static unsigned read_frame(int fd, char out[4096]) {
    unsigned char head[2], more[2];
    if (!read_all(fd, head, 2))
        return 0;
    size_t n = head[1];
    if (n == 126 && read_all(fd, more, 2))
        n = (size_t)more[0] << 8 | more[1];
    CHECK(!(head[1] & 0x80) && n < 4096); /* servers do not mask */
    if (n >= 4096 || !read_all(fd, out, n))
        return 0;
    out[n] = '\0';
    return head[0];
}

#define INIT "{\"type\":\"init\",\"uuid\":\"00000000000000000000000000000001\",\"body\":{\"k8s_uid\":\"u\",\"k8s_namespace\":\"n\"," \
             "\"version\":\"6.4.0\",\"node_condition_prefix\":\"\"}}"
#define BEAT "{\"type\":\"heartbeat\",\"uuid\":\"00000000000000000000000000000002\",\"body\":{\"time\":\"2025-11-02T10:00:05.1\"}}"
#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

static const char *const paths[] = {
    "/api/agent/listener/control/backend/east", "/api/agent/listener/pod/backend/east",       "/api/agent/listener/node/backend/east",
    "/api/agent/listener/event/backend/east",   "/api/agent/listener/heartbeat/backend/east", "/api/agent/worker/backend/east",
    "/api/agent/listener/message/backend/east",
};

/* Neither an extension of websockets nor one of ours is agreed on that was not offered. */
static void upgrades(void) {
    char head[2048], text[4096];
    REQUIRE(open_all());
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        int fd = dial(paths[i], DEFLATE, head);
        CHECK(str_starts(head, "HTTP/1.1 101 "));
        CHECK(!strcasestr(head, "sec-websocket-extensions") && !strcasestr(head, "sec-websocket-protocol") &&
              !strcasestr(head, "x-osmo-extensions"));
        CHECK(strcasestr(head, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
        if (strstr(paths[i], "control") || strstr(paths[i], "worker")) {
            CHECK_INT(read_frame(fd, text), 0x81);
            CHECK(strstr(text, strstr(paths[i], "worker") ? "{\"type\":\"heartbeat\"}" : "\"type\":\"node_conditions\"") != NULL);
        } else {
            say(fd, INIT);
            say(fd, BEAT);
            CHECK_INT(read_frame(fd, text), 0x81); /* whole, and not compressed */
            CHECK(strstr(text, "{\"type\":\"ack\",\"body\":{\"uuid\":\"00000000000000000000000000000002\"},\"uuid\":\"") == text);
        }
        close(fd);
    }
    close_all();
}

static void frames(void) {
    char head[2048], text[4096];
    REQUIRE(open_all());
    int fd = dial(paths[1], DEFLATE, head);
    send_frame(fd, 0x01, INIT, 20); /* a message in three pieces, a ping between them */
    send_frame(fd, 0x00, INIT + 20, 30);
    send_frame(fd, 0x89, "hi", 2);
    send_frame(fd, 0x80, INIT + 50, strlen(INIT) - 50);
    CHECK_INT(read_frame(fd, text), 0x8a);
    CHECK_STR(text, "hi");
    say(fd, BEAT);
    CHECK_INT(read_frame(fd, text), 0x81);
    CHECK(strstr(text, "\"ack\"") != NULL);
    send_frame(fd, 0xc1, "x", 1); /* compressed although nobody agreed to that */
    CHECK_INT(read_frame(fd, text), 0x88);
    CHECK_INT((unsigned char)text[0] << 8 | (unsigned char)text[1], 1002);
    close(fd);
    fd = dial(paths[1], "", head);
    say(fd, BEAT); /* before INIT */
    CHECK_INT(read_frame(fd, text), 0x88);
    CHECK_INT((unsigned char)text[0] << 8 | (unsigned char)text[1], 1008);
    close(fd);
    close_all();
}

/* A stopped operator holds up nobody: not its backend's other sockets, not other backends. */
static void stopped(void) {
    char head[2048], text[4096];
    REQUIRE(open_all());
    int deaf = dial(paths[2], "", head), other = dial("/api/agent/listener/node/backend/west", "", head);
    say(deaf, INIT);
    for (int i = 0; i < 20000; i++) /* more acknowledgements than the sockets between us hold; none is read */
        say(deaf, BEAT);
    say(other, INIT);
    say(other, BEAT);
    CHECK_INT(read_frame(other, text), 0x81);
    int pod = dial(paths[1], "", head);
    say(pod, INIT);
    say(pod, BEAT);
    CHECK_INT(read_frame(pod, text), 0x81);
    CHECK_INT(read_frame(deaf, text), 0x81); /* and it can go on where it was */
    close(deaf);
    close(other);
    close(pod);
    close_all();
}

static const struct check_test tests[] = {
    { "upgrades", upgrades },
    { "frames", frames },
    { "one that reads nothing", stopped },
};
TEST_MAIN("interop_upgrade", tests)
