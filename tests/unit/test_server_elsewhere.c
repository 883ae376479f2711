/* Connections that belong to another service: carried there as they are. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server/net.h"
#include "server_fixture.h"
#include "ws_raw.h"

#define REQUEST "GET /a%2Fb//c?x HTTP/1.1\r\nHost: webserver-else-1.x\r\nAuthorization: Bearer t\r\nX-A: 1\r\nX-A: 2\r\n"
#define CARRIED REQUEST "X-Osmo-Carried: yes\r\n\r\n"

/* -1 when it cannot. */
static int listen_somewhere(int backlog) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -1;
    elsewhere_port = ntohs(a.sin_port);
    return fd;
}

static int ask(const char *text) {
    int fd = dial();
    CHECK(write_exactly(fd, text, strlen(text)));
    return fd;
}

static void expect_bytes(int fd, const char *want) {
    char got[1024] = "";
    CHECK(read_exactly(fd, got, strlen(want)));
    CHECK_STR(got, want);
}

/* The head as it came and one line more, then everything, both ways, and the ends of both ways. */
static void test_bytes(void) {
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    char byte;
    REQUIRE(start_with(2, 0));
    int listener = listen_somewhere(8);
    for (int i = 0; i < 2; i++) {
        strcpy(elsewhere_host, hosts[i]);
        int fd = ask(REQUEST "\r\nmore\1of it"), other = accept(listener, NULL, NULL);
        expect_bytes(other, CARRIED "more\1of it");
        CHECK(write_exactly(fd, "and more", 8));
        expect_bytes(other, "and more");
        CHECK(write_exactly(other, "answer", 6));
        expect_bytes(fd, "answer");
        shutdown(i ? other : fd, SHUT_WR);
        CHECK_INT(recv(i ? fd : other, &byte, 1, 0), 0);
        CHECK(write_exactly(i ? fd : other, "last", 4));
        expect_bytes(i ? other : fd, "last");
        close(i ? fd : other);
        CHECK_INT(recv(i ? other : fd, &byte, 1, 0), 0);
        close(i ? other : fd);
    }
    strcpy(elsewhere_host, "127.0.0.1");
    close(listener);
    stop();
}

static void test_failures(void) {
    REQUIRE(start_with(2, 0));
    close(listen_somewhere(1)); /* nobody is there */
    int fd = ask(REQUEST "\r\n");
    const char *got = read_until(fd, NULL);
    CHECK_CONTAINS(got, "HTTP/1.1 502 Bad Gateway\r\n");
    CHECK_CONTAINS(got, "The service that has this session cannot be reached: it does not accept connections");
    close(fd);
    strcpy(elsewhere_host, "no-such-host.invalid");
    fd = ask(REQUEST "\r\n");
    CHECK_CONTAINS(read_until(fd, NULL), "its name is unknown");
    close(fd);
    strcpy(elsewhere_host, "127.0.0.1");
    fd = ask(REQUEST "X-Osmo-Carried: no\r\n\r\n"); /* somebody has carried it here */
    CHECK_CONTAINS(read_until(fd, NULL), "HTTP/1.1 502 Bad Gateway\r\n");
    close(fd);
    stop();
}

/* One that takes no connections, and says nothing. */
static void test_silence(void) {
    REQUIRE(start_with(2, 0));
    int listener = listen_somewhere(0), fill[4], fd;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)elsewhere_port) };
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&a, sizeof a);
    }
    close(ask(REQUEST "\r\n")); /* somebody who does not wait */
    fd = ask(REQUEST "\r\n");
    CHECK_CONTAINS(read_until(fd, NULL), "it does not answer");
    close(fd);
    for (int i = 0; i < 4; i++)
        close(fill[i]);
    close(listener);
    stop();
}

/* Another service of our own: a request and a websocket for it. */
static void test_second_server(void) {
    struct osmo_service second_service = { 0 };
    osmo_server_t *second = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0", .workers = 2 };
    REQUIRE(start_with(2, 0));
    REQUIRE(osmo_server_open(&o, &second, &err) == 0);
    second_service.transport = osmo_server_transport(second);
    elsewhere_port = osmo_server_port(second);
    REQUIRE(osmo_server_start(second, &second_service, &err) == 0);
    int fd = ask("GET /line HTTP/1.1\r\nHost: webserver-else-2\r\nConnection: close\r\n\r\n");
    CHECK_CONTAINS(read_until(fd, NULL), "GET /line ?");
    close(fd);
    fd = dial();
    CHECK_INT(ws_raw_upgrade(fd, "/else/../ws", "x"), 101);
    close(fd);
    fd = dial();
    CHECK_INT(ws_raw_upgrade(fd, "/else", "x"), 403); /* it has no such websocket */
    close(fd);
    fd = dial();
    CHECK_INT(ws_raw_upgrade(fd, "/ws", "webserver-else-3"), 101);
    struct ws_raw_message m = ws_raw_read(fd);
    CHECK_STR(m.data, "hello");
    free(m.data);
    char *large = calloc(1, 8 << 20);
    CHECK(ws_raw_send(fd, 2, true, large, 8 << 20));
    m = ws_raw_read(fd);
    CHECK_INT(m.len, 8 << 20);
    free(m.data);
    free(large);
    CHECK(ws_raw_send(fd, 1, true, "close", 5));
    m = ws_raw_read(fd);
    CHECK_INT(m.code, 4001);
    free(m.data);
    close(fd);
    osmo_server_stop(second, 1000);
    osmo_server_free(second);
    stop();
}

static const struct check_test tests[] = {
    { "bytes", test_bytes },
    { "failures", test_failures },
    { "silence", test_silence },
    { "a second server", test_second_server },
};
TEST_MAIN("server_elsewhere", tests)
