/* Bytes between descriptors and a websocket, against a server written by hand: whole and in order, ends of either side, and that nobody has
 * to keep what the other does not take. */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/ws_pump.h"
#include "ws_peer.h"

#define MIB (1u << 20)
#define LOTS (3u * MIB + 12345)

static char pattern(size_t i) { return (char)(i * 2654435761u >> 11); }

struct stage {
    ws_loop_t *loop;
    struct ws_pump *pump;
    int listener, port, mine, theirs; /* mine: the other side of the pump's descriptor */
    int ended, code, status, opened, taken;
    char reason[128], text[128], extensions[64];
    pthread_t server, user;
};

static void on_ended(void *ctx, int code, int status, const char *reason) {
    struct stage *s = ctx;
    s->ended++;
    s->code = code;
    s->status = status;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    ws_loop_stop(s->loop);
}

static void on_opened(void *ctx, const char *extensions) {
    struct stage *s = ctx;
    s->opened++;
    snprintf(s->extensions, sizeof s->extensions, "%s", extensions);
}

static bool on_text(void *ctx, const char *data, size_t len) {
    struct stage *s = ctx;
    s->taken++;
    snprintf(s->text, sizeof s->text, "%.*s", (int)len, data);
    return true;
}

/* A stream socket into the pump, a server behind it and somebody at the socket's other side. */
static bool play(struct stage *s, const struct ws_pump_options *options, void *(*server)(void *), void *(*user)(void *)) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct ws_pump_options o = *options;
    char url[64];
    int pair[2];
    memset(s, 0, sizeof *s);
    s->listener = check_listen(&s->port);
    if (s->listener < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || ws_loop_new(&s->loop, &err) < 0)
        return false;
    s->mine = pair[0];
    s->theirs = pair[1];
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/pump", s->port);
    o.loop = s->loop;
    o.in = o.out = s->theirs;
    o.close_fds = true;
    o.opened = on_opened;
    o.ended = on_ended;
    o.ctx = s;
    const ws_options_t connect = { .url = url };
    CHECK_OK(ws_pump_start(&o, &connect, &s->pump, &err), &err);
    if (pthread_create(&s->server, NULL, server, s) || (user && pthread_create(&s->user, NULL, user, s)))
        return false;
    ws_loop_run(s->loop);
    ws_loop_free(s->loop);
    pthread_join(s->server, NULL);
    if (user)
        pthread_join(s->user, NULL);
    close(s->mine);
    close(s->listener);
    CHECK_INT(s->ended, 1);
    return true;
}

static int serve(struct stage *s) {
    char request[4096];
    return ws_peer_accept(s->listener, request, sizeof request, "X-Osmo-Extensions: exit\r\n");
}

static void send_pattern(int fd, size_t from, size_t to) {
    static const size_t step = 50000;
    char *data = malloc(step);
    while (data && from < to) {
        size_t n = to - from < step ? to - from : step;
        for (size_t i = 0; i < n; i++)
            data[i] = pattern(from + i);
        for (size_t at = 0; at < n;) {
            ssize_t w = send(fd, data + at, n - at, MSG_NOSIGNAL);
            if (w <= 0) {
                free(data);
                return;
            }
            at += (size_t)w;
        }
        from += n;
    }
    free(data);
}

/* Until `to`, or the end; how many bytes were as they should be. */
static size_t take_pattern(int fd, size_t from, size_t to) {
    char data[65536];
    ssize_t n;
    while (from < to && (n = read(fd, data, sizeof data)) > 0) {
        for (ssize_t i = 0; i < n; i++, from++) {
            if (data[i] != pattern(from))
                return from;
        }
    }
    return from;
}

/* ---- there and back ---- */

static void *echo_server(void *arg) {
    struct stage *s = arg;
    int fd = serve(s), opcode;
    size_t n, total = 0;
    char *data = malloc(MIB);
    while (total < LOTS && (opcode = ws_peer_read(fd, data, MIB, &n)) >= 0) {
        CHECK_INT(opcode, PEER_BINARY);
        CHECK(n <= WS_PUMP_FRAME);
        total += n;
        if (n > 100 && total % 3 == 0) /* in two frames, or in one */
            CHECK(ws_peer_write_part(fd, PEER_BINARY, data, 100, false) && ws_peer_write_part(fd, 0, data + 100, n - 100, true));
        else
            CHECK(ws_peer_write(fd, PEER_BINARY, data, n));
    }
    CHECK_INT(total, LOTS);
    CHECK(ws_peer_write(fd, PEER_TEXT, "{\"a\":1}", 7));
    ws_peer_close(fd, 4321, "en\x1b[ough \xc2\x9b \xc3\xa9");
    free(data);
    return NULL;
}

static void *echo_writer(void *arg) {
    send_pattern(((struct stage *)arg)->mine, 0, LOTS);
    return NULL;
}

static void *echo_user(void *arg) {
    struct stage *s = arg;
    pthread_t writer;
    if (pthread_create(&writer, NULL, echo_writer, s))
        return NULL;
    CHECK_INT(take_pattern(s->mine, 0, LOTS + 1), LOTS); /* and the end */
    pthread_join(writer, NULL);
    return NULL;
}

static void test_echo(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .text = on_text }, echo_server, echo_user));
    CHECK_INT(s.opened, 1);
    CHECK_STR(s.extensions, "exit");
    CHECK_INT(s.taken, 1);
    CHECK_STR(s.text, "{\"a\":1}");
    CHECK_INT(s.code, 4321);
    CHECK_STR(s.reason, "en?[ough ?? \xc3\xa9");
}

/* ---- ends ---- */

static void *closing_user(void *arg) {
    struct stage *s = arg;
    send_pattern(s->mine, 0, 1000);
    shutdown(s->mine, SHUT_RDWR);
    return NULL;
}

static void *counting_server(void *arg) {
    struct stage *s = arg;
    int fd = serve(s), opcode;
    size_t n, total = 0;
    char data[65536];
    while ((opcode = ws_peer_read(fd, data, sizeof data, &n)) == PEER_BINARY)
        total += n;
    CHECK_INT(total, 1000);
    CHECK_INT(opcode, PEER_CLOSE);
    CHECK_INT((unsigned char)data[0] << 8 | (unsigned char)data[1], 1000);
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void test_descriptor_ends(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .held = false }, counting_server, closing_user));
    CHECK_INT(s.code, 0);
    CHECK_STR(s.reason, "");
}

static void *half_server(void *arg) {
    struct stage *s = arg;
    int fd = serve(s);
    size_t n, total = 0;
    char data[65536];
    while (ws_peer_read(fd, data, sizeof data, &n) == PEER_BINARY && n) /* an empty message: there will be no more */
        total += n;
    CHECK_INT(total, 1000);
    CHECK(ws_peer_write(fd, PEER_BINARY, data, 500)); /* the answer comes afterwards */
    CHECK(ws_peer_write(fd, PEER_BINARY, "", 0));
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_CLOSE);
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void *half_user(void *arg) {
    struct stage *s = arg;
    char data[1024];
    size_t total = 0;
    ssize_t n;
    send_pattern(s->mine, 0, 1000);
    shutdown(s->mine, SHUT_WR);
    while ((n = read(s->mine, data, sizeof data)) > 0)
        total += (size_t)n;
    CHECK_INT(total, 500);
    return NULL;
}

static void test_half_close(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .ends_input = true }, half_server, half_user));
    CHECK_INT(s.code, 0);
}

/* The user is done before the other side has said anything: what that means, its first word tells. */
static void *late_half_server(void *arg) {
    struct stage *s = arg;
    int fd = serve(s);
    size_t n, total = 0;
    char data[65536];
    while (total < 1000 && ws_peer_read(fd, data, sizeof data, &n) == PEER_BINARY)
        total += n;
    CHECK_INT(total, 1000);
    CHECK(ws_peer_write(fd, PEER_TEXT, "{\"half_close\":true}", 19));
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_BINARY);
    CHECK_INT(n, 0);
    CHECK(ws_peer_write(fd, PEER_BINARY, data, 500));
    CHECK(ws_peer_write(fd, PEER_BINARY, "", 0));
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_CLOSE);
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void *stranger_server(void *arg) {
    struct stage *s = arg;
    int fd = serve(s);
    size_t n, total = 0;
    char data[65536];
    while (total < 1000 && ws_peer_read(fd, data, sizeof data, &n) == PEER_BINARY)
        total += n;
    CHECK(ws_peer_write(fd, PEER_BINARY, data, 500)); /* knows nothing of it */
    CHECK_INT(ws_peer_read(fd, data, sizeof data, &n), PEER_CLOSE);
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void test_half_close_agreed(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .half_close = true }, late_half_server, half_user));
    CHECK_INT(s.code, 0);
    REQUIRE(play(&s, &(struct ws_pump_options){ .half_close = true }, stranger_server, half_user));
    CHECK_INT(s.code, 0);
}

static void *refusing_server(void *arg) {
    struct stage *s = arg;
    char request[4096];
    int fd = accept(s->listener, NULL, NULL);
    CHECK(read(fd, request, sizeof request) > 0);
    CHECK(write(fd, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 45) == 45);
    close(fd);
    return NULL;
}

static void test_refused(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .held = false }, refusing_server, NULL));
    CHECK_INT(s.opened, 0);
    CHECK_INT(s.status, 403);
    CHECK_INT(s.code, 1006);
}

/* ---- nobody takes it ---- */

#define FLOOD (40u * MIB) /* more than the kernel and the pump together may hold */

static int stuck[2]; /* whoever sends says here that nothing is taken any more, or that all of it was */

/* All of it, and says so when it is not taken. @return where that was first; `len` when it never was */
static size_t flood(int fd, const char *data, size_t len) {
    size_t at = 0, first = len;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (at < len) {
        ssize_t n = send(fd, data + at, len - at, MSG_NOSIGNAL);
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            break;
        else if (poll(&p, 1, first == len ? 500 : 10000) == 0) {
            if (first != len)
                break;
            first = at;
            CHECK_INT(write(stuck[1], "s", 1), 1);
        }
    }
    CHECK_INT(at, len);
    if (first == len)
        CHECK_INT(write(stuck[1], "d", 1), 1);
    fcntl(fd, F_SETFL, 0);
    return first;
}

static bool is_stuck(void) {
    char c = 0;
    return read(stuck[0], &c, 1) == 1 && c == 's';
}

static void *flooding_server(void *arg) {
    static const unsigned char head[10] = { 0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0 }; /* 64 KiB */
    struct stage *s = arg;
    int fd = serve(s);
    size_t len = FLOOD / 65536 * (65536 + sizeof head);
    char *wire = malloc(len), *p = wire;
    for (size_t i = 0; i < FLOOD; i++) {
        if (i % 65536 == 0) {
            memcpy(p, head, sizeof head);
            p += sizeof head;
        }
        *p++ = pattern(i);
    }
    CHECK(flood(fd, wire, len) < len);
    free(wire);
    ws_peer_close(fd, 1000, "");
    return NULL;
}

static void *late_reader(void *arg) {
    struct stage *s = arg;
    CHECK(is_stuck());
    CHECK_INT(take_pattern(s->mine, 0, FLOOD + 1), FLOOD);
    return NULL;
}

static void test_user_takes_nothing(void) {
    static struct stage s;
    REQUIRE(pipe(stuck) == 0);
    REQUIRE(play(&s, &(struct ws_pump_options){ .held = false }, flooding_server, late_reader));
    CHECK_INT(s.code, 1000);
    close(stuck[0]);
    close(stuck[1]);
}

static void *flooding_user(void *arg) {
    struct stage *s = arg;
    char *data = malloc(FLOOD);
    for (size_t i = 0; i < FLOOD; i++)
        data[i] = pattern(i);
    CHECK(flood(s->mine, data, FLOOD) < FLOOD);
    free(data);
    shutdown(s->mine, SHUT_RDWR);
    return NULL;
}

static void *late_server(void *arg) {
    static char data[65536];
    struct stage *s = arg;
    int fd = serve(s), opcode;
    size_t n, total = 0, bad = 0;
    CHECK(is_stuck());
    while ((opcode = ws_peer_read(fd, data, sizeof data, &n)) == PEER_BINARY || opcode == PEER_PING) {
        for (size_t i = 0; i < n && opcode == PEER_BINARY; i++)
            bad += data[i] != pattern(total + i);
        total += opcode == PEER_BINARY ? n : 0; /* who waits long is pinged */
    }
    CHECK_INT(total, FLOOD);
    CHECK_INT(bad, 0);
    CHECK_INT(opcode, PEER_CLOSE);
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void test_server_takes_nothing(void) {
    static struct stage s;
    REQUIRE(pipe(stuck) == 0);
    REQUIRE(play(&s, &(struct ws_pump_options){ .held = false }, late_server, flooding_user));
    CHECK_INT(s.code, 0);
    close(stuck[0]);
    close(stuck[1]);
}

/* ---- a rate, text of our own, a plain file, a loop that is freed ---- */

static void *measured_user(void *arg) {
    struct stage *s = arg;
    send_pattern(s->mine, 0, 300000);
    shutdown(s->mine, SHUT_RDWR);
    return NULL;
}

static void *measuring_server(void *arg) {
    static char data[65536];
    struct stage *s = arg;
    int fd = serve(s);
    size_t n, total = 0, largest = 0;
    while (ws_peer_read(fd, data, sizeof data, &n) == PEER_BINARY) {
        total += n;
        largest = n > largest ? n : largest;
    }
    CHECK_INT(total, 300000);
    CHECK(largest <= 125000); /* an eighth of a second's worth */
    ws_peer_write(fd, PEER_CLOSE, data, n);
    close(fd);
    return NULL;
}

static void test_rate(void) {
    static struct stage s;
    REQUIRE(play(&s, &(struct ws_pump_options){ .rate = 1000000 }, measuring_server, measured_user));
    CHECK_INT(s.code, 0);
}

static void *file_server(void *arg) {
    static char data[65536];
    struct stage *s = arg;
    int fd = serve(s);
    size_t n, total = 0;
    while (ws_peer_read(fd, data, sizeof data, &n) == PEER_BINARY && n)
        total += n;
    CHECK_INT(total, 200000);
    CHECK(ws_peer_write(fd, PEER_BINARY, "done", 4));
    ws_peer_close(fd, 1000, "exit 3");
    return NULL;
}

/* What epoll does not know, as in `osmo workflow exec … < file > other`. */
static void test_files(void) {
    static struct stage s;
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[64], from[] = "/tmp/osmo-test-XXXXXX", to[] = "/tmp/osmo-test-XXXXXX", got[8] = "";
    int in = mkstemp(from), out = mkstemp(to);
    s.listener = check_listen(&s.port);
    REQUIRE(in >= 0 && out >= 0 && s.listener >= 0 && ws_loop_new(&s.loop, &err) == 0);
    CHECK_INT(ftruncate(in, 200000), 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/pump", s.port);
    const struct ws_pump_options o = { .loop = s.loop, .in = in, .out = out, .ends_input = true, .ended = on_ended, .ctx = &s };
    const ws_options_t connect = { .url = url };
    REQUIRE(ws_pump_start(&o, &connect, &s.pump, &err) == 0 && pthread_create(&s.server, NULL, file_server, &s) == 0);
    ws_loop_run(s.loop);
    pthread_join(s.server, NULL);
    ws_loop_free(s.loop);
    CHECK_INT(s.ended, 1);
    CHECK_STR(s.reason, "exit 3");
    CHECK_INT(pread(out, got, sizeof got, 0), 4);
    CHECK_STR(got, "done");
    close(in);
    close(out);
    close(s.listener);
    unlink(from);
    unlink(to);
}

static void test_free(void) {
    static struct stage s;
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[64];
    int pair[2];
    s.listener = check_listen(&s.port);
    REQUIRE(s.listener >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && ws_loop_new(&s.loop, &err) == 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/pump", s.port);
    const struct ws_pump_options o = { .loop = s.loop, .in = pair[0], .out = pair[0], .close_fds = true, .ended = on_ended, .ctx = &s };
    const ws_options_t connect = { .url = url };
    REQUIRE(ws_pump_start(&o, &connect, &s.pump, &err) == 0);
    ws_loop_stop(s.loop);
    ws_loop_run(s.loop);
    ws_loop_free(s.loop);
    CHECK_INT(s.ended, 1);
    CHECK_INT(fcntl(pair[0], F_GETFD), -1);
    close(pair[1]);
    close(s.listener);
}

static const struct check_test tests[] = {
    { "there and back", test_echo }, { "the descriptor ends", test_descriptor_ends }, { "half close", test_half_close },
    { "half close, agreed", test_half_close_agreed },
    { "refused", test_refused }, { "the user takes nothing", test_user_takes_nothing },
    { "the server takes nothing", test_server_takes_nothing }, { "rate", test_rate }, { "files", test_files }, { "free", test_free },
};
TEST_MAIN("ws_pump", tests)
