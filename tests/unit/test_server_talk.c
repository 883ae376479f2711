/* Conversations with clients that are within their rights, and not usual: requests behind requests, halves of connections, slow readers. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "server/net.h"
#include "server_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define LAST(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define BIG (3u << 20) /* of /big */
#define FILE_LEN 999980 /* of /fd */

static int answers(const char *text) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")); p++)
        n++;
    return n;
}

/* Bytes until the end of the connection, read by somebody in no hurry at first; -1 when it breaks. */
static int64_t drink(int fd, int sips) {
    static char got[65536];
    int64_t sum = 0;
    ssize_t n;
    for (int i = 0; (n = read(fd, got, i < sips ? 1000 : sizeof got)) > 0; i++) {
        sum += n;
        if (i < sips)
            usleep(1000);
    }
    return n < 0 ? -1 : sum;
}

static int dial_slow(const char *request) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)osmo_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int small = 4096; /* what waits for him waits at the server */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK_INT(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return fd;
}

/* The request behind a stream is answered when its answer is there, not when the stream ends. */
static void test_behind_a_stream(void) {
    REQUIRE(start_with(2, 0));
    stream_budget = 1000;
    for (int i = 0; i < 10; i++) {
        set_gate(false);
        int fd = dial();
        const char *got = talk(fd, GET("/stream") LAST("/gate"), "0\r\n\r\n");
        CHECK_CONTAINS(got, "piece 999\n");
        set_gate(true);
        got = read_until(fd, NULL);
        CHECK_CONTAINS(got, "late");
        CHECK(!strstr(got, "HTTP/1.1 0"));
        close(fd);
    }
    stop();
}

static void test_pipelined(void) {
    enum { COUNT = 5000 };
    char *text = malloc(COUNT * sizeof GET("/none") + 200), *p = text;
    REQUIRE(start_with(2, 0));
    for (int i = 0; i < COUNT; i++)
        p = stpcpy(p, "HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n");
    strcpy(p, LAST("/line"));
    int fd = dial(), n = 0;
    pid_t pid = fork(); /* somebody who only sends */
    if (pid == 0) {
        for (size_t at = 0, len = strlen(text); at < len;) {
            ssize_t sent = send(fd, text + at, len - at, MSG_NOSIGNAL);
            if (sent <= 0)
                _exit(1);
            at += (size_t)sent;
        }
        _exit(0);
    }
    char last[16] = "";
    for (char c; read(fd, &c, 1) == 1;) {
        memmove(last, last + 1, 8);
        last[8] = c;
        n += memcmp(last, "HTTP/1.1 ", 9) == 0;
    }
    CHECK_INT(n, COUNT + 1);
    CHECK_INT(handled, COUNT + 1);
    close(fd);
    free(text);
    stop();
}

/* Whoever has said all he wants to say gets the whole answer, also when it takes its time and he does. */
static void test_half_closed(void) {
    static const struct { const char *request; int64_t at_least; } cases[] = {
        { LAST("/big"), BIG }, { GET("/big"), BIG }, { GET("/fd") GET("/fd") GET("/fd"), 3 * FILE_LEN }, { GET("/stream"), 9890 } };
    REQUIRE(start_with(2, 0));
    stream_budget = 1000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial_slow(cases[i].request);
        shutdown(fd, SHUT_WR);
        CHECK(drink(fd, 500) > cases[i].at_least);
        close(fd);
    }
    int fd = dial();
    CHECK(send(fd, GET("/gate"), strlen(GET("/gate")), MSG_NOSIGNAL) > 0);
    shutdown(fd, SHUT_WR);
    wait_for(&handled, 7);
    usleep(1500000); /* longer than a turn of the sweep that looks for those who left */
    set_gate(true);
    CHECK_CONTAINS(read_until(fd, NULL), "late");
    close(fd);
    stop();
}

/* A stream that has nothing to send is not kept for him, though. */
static void test_half_closed_stream(void) {
    REQUIRE(start_with(2, 0));
    stream_budget = 5;
    int fd = dial();
    CHECK(send(fd, GET("/stream"), strlen(GET("/stream")), MSG_NOSIGNAL) > 0);
    shutdown(fd, SHUT_WR);
    const char *got = read_until(fd, NULL);
    CHECK_CONTAINS(got, "piece 4\n");
    CHECK(!strstr(got, "\r\n0\r\n\r\n")); /* it is not complete */
    wait_for(&streams_closed, 1);
    close(fd);
    stop();
}

static void test_slow_readers(void) {
    REQUIRE(start_with(2, 0));
    int fd = dial_slow(GET("/big") GET("/big") LAST("/line"));
    CHECK(drink(fd, 500) > 2 * BIG);
    close(fd);
    stop();
}

/* Who takes nothing at all is cut off in the middle. */
static void test_stalled_reader(void) {
    struct net_patience before = net_patience;
    net_patience.stall_ms = 300;
    REQUIRE(start_with(2, 0));
    int fd = dial_slow(GET("/big") GET("/big") GET("/big"));
    usleep(2500000); /* two turns of the sweep */
    CHECK(drink(fd, 0) < 3 * BIG);
    close(fd);
    stop();
    net_patience = before;
}

static void test_old_clients(void) {
    REQUIRE(start_with(2, 0));
    stream_budget = 1000;
    int fd = dial();
    const char *got = talk(fd, "GET /line HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "len=0");
    CHECK_CONTAINS(got, "Connection: keep-alive\r\n");
    struct tm t;
    CHECK(strstr(got, "\r\nDate: ") && strptime(strstr(got, "\r\nDate: ") + 8, "%a, %d %b %Y %H:%M:%S GMT\r\n", &t));
    CHECK(llabs((long long)time(NULL) - timegm(&t)) < 60);
    got = talk(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", NULL); /* its end is the end */
    CHECK_CONTAINS(got, "Connection: close\r\n");
    CHECK(!strstr(got, "chunked"));
    CHECK_CONTAINS(got, "piece 999\n");
    close(fd);
    fd = dial();
    got = talk(fd, "GET /line HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", NULL);
    CHECK_CONTAINS(got, "Connection: close\r\n");
    close(fd);
    stop();
}

/* Bodies that are announced and do not come take no room from those that do. */
static void test_announced_bodies(void) {
    enum { MANY = 300 }; /* of 4 MiB: more than all bodies together may be */
    static const char announced[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\na";
    int fds[MANY];
    REQUIRE(start_with(2, 0));
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial();
        CHECK(send(fds[i], announced, sizeof announced - 1, MSG_NOSIGNAL) > 0);
    }
    int fd = dial();
    const char *got = talk(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", NULL);
    CHECK_CONTAINS(got, "200 OK");
    CHECK_INT(answers(got), 1);
    close(fd);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    stop();
}

static const struct check_test tests[] = {
    { "behind a stream", test_behind_a_stream },
    { "pipelined", test_pipelined },
    { "half closed", test_half_closed },
    { "half closed, a stream that waits", test_half_closed_stream },
    { "slow readers", test_slow_readers },
    { "a reader that stalls", test_stalled_reader },
    { "HTTP/1.0", test_old_clients },
    { "announced bodies", test_announced_bodies },
};
TEST_MAIN("server_talk", tests)
