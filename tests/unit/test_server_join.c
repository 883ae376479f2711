/* Held and joined websockets on a real server: order, kinds, fragments, back-pressure, ends of every kind. */
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "server/net.h"
#include "server_fixture.h"
#include "tls_fixture.h"
#include "ws_raw.h"

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, END = 0xff };

static int open_ws(const char *path) {
    int fd = dial();
    CHECK_INT(ws_raw_upgrade(fd, path, "x"), 101);
    return fd;
}

static void open_pair(const char *name, int *a, int *b) {
    char path[64];
    snprintf(path, sizeof path, "/held/%s", name);
    *a = open_ws(path);
    REQUIRE(held_session(name, 0) != 0);
    *b = open_ws(path);
    REQUIRE(held_session(name, 1) != 0);
}

static void expect(int fd, unsigned op, const char *data) {
    struct ws_raw_message m = ws_raw_read(fd);
    CHECK_INT(m.op, op);
    CHECK_STR(m.data, data);
    free(m.data);
}

static void expect_close(int fd, int code, const char *reason) {
    struct ws_raw_message m = ws_raw_read(fd);
    CHECK_INT(m.op, CLOSE);
    CHECK_INT(m.code, code);
    if (m.len > 2)
        CHECK_STR(m.data + 2, reason);
    else
        CHECK_STR("", reason);
    free(m.data);
    if (m.op == CLOSE)
        ws_raw_close(fd, code, "");
    m = ws_raw_read(fd);
    CHECK_INT(m.op, END);
    free(m.data);
    close(fd);
}

static char *pattern(size_t len, unsigned seed) {
    char *data = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)((i * 2654435761u + seed) >> 11);
    data[len] = '\0';
    return data;
}

/* What is said before the other is there comes first, in order and as what it was. */
static void test_held_first(void) {
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("one", &a, &b);
    CHECK(ws_raw_send(a, TEXT, true, "size", 4) && ws_raw_send(a, BINARY, true, "\0x", 2) && ws_raw_send(a, BINARY, true, "", 0));
    CHECK(ws_raw_send(a, TEXT, false, "fr", 2) && ws_raw_send(a, 0, false, "ag", 2) && ws_raw_send(a, PING, true, "p", 1) &&
          ws_raw_send(a, 0, true, "ment", 4));
    char data[8];
    unsigned op;
    bool fin;
    CHECK_INT(ws_raw_frame(a, &op, &fin, data, sizeof data), 1); /* answered though it is held */
    CHECK_INT(op, PONG);
    CHECK(ws_raw_send(b, BINARY, true, "from b", 6));
    CHECK_INT(join_held("one"), 0);
    expect(b, TEXT, "size");
    struct ws_raw_message m = ws_raw_read(b);
    CHECK_INT(m.op, BINARY);
    CHECK_INT(m.len, 2);
    CHECK(memcmp(m.data, "\0x", 2) == 0);
    free(m.data);
    expect(b, BINARY, "");
    expect(b, TEXT, "fragment");
    expect(a, BINARY, "from b");
    CHECK(ws_raw_send(b, PING, true, "alive", 5));
    CHECK_INT(ws_raw_frame(b, &op, &fin, data, sizeof data), 5); /* answered here, not by the other */
    CHECK_INT(op, PONG);
    CHECK(ws_raw_send(b, TEXT, true, "later", 5));
    expect(a, TEXT, "later");
    ws_raw_close(b, 1000, "exit 3");
    expect_close(a, 1000, "exit 3");
    expect_close(b, 1000, "");
    wait_for(&ws_closed_count, 2);
    CHECK_INT(ws_opened_count, 2);
    stop();
}

struct sender { int fd; char *data; size_t len, fragment; };

static void *send_main(void *arg) {
    struct sender *s = arg;
    for (size_t at = 0; at < s->len || at == 0; at += s->fragment) {
        size_t n = s->len - at < s->fragment ? s->len - at : s->fragment;
        if (!ws_raw_send(s->fd, at ? 0 : BINARY, at + n == s->len, s->data + at, n))
            return arg;
    }
    return NULL;
}

/* Messages of all sizes around those where something changes, whole and in fragments, both ways. */
static void test_sizes(void) {
    static const struct { size_t len, fragment; } cases[] = {
        { 1, 1 }, { 125, 125 }, { 126, 126 }, { 127, 5 }, { 65535, 65535 }, { 65536, 65536 }, { 65537, 65537 }, { 70000, 125 },
        { 200000, 4096 }, { 1 << 20, 1 << 20 }, { 1 << 20, 65521 }, { 16 << 20, 16 << 20 }, { 20 << 20, 8 << 20 },
    };
    int ends[2];
    REQUIRE(start_with(2, 0));
    open_pair("sizes", &ends[0], &ends[1]);
    CHECK_INT(join_held("sizes"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int from = ends[i & 1], to = ends[1 - (i & 1)];
        struct sender s = { from, pattern(cases[i].len, (unsigned)i), cases[i].len, cases[i].fragment };
        pthread_t thread;
        pthread_create(&thread, NULL, send_main, &s);
        struct ws_raw_message m = ws_raw_read(to);
        CHECK_INT(m.op, BINARY);
        CHECK_INT(m.len, cases[i].len);
        CHECK(m.len == s.len && memcmp(m.data, s.data, m.len) == 0);
        pthread_join(thread, NULL);
        free(m.data);
        free(s.data);
    }
    osmo_traffic_t t = { .size = sizeof t };
    uint64_t sum[2] = { 0, 0 };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        sum[i & 1] += cases[i].len;
    CHECK_INT(service.transport->traffic(service.transport->impl, held_session("sizes", 0), &t), 0);
    CHECK_INT(t.in, sum[0]);
    CHECK_INT(t.out, sum[1]);
    CHECK(t.last_us > 0);
    CHECK_INT(service.transport->traffic(service.transport->impl, 4711, &t), OSMO_ENOTFOUND);
    close(ends[0]);
    close(ends[1]);
    stop();
}

/* Many small messages at once, in one go and byte by byte. */
static void test_many(void) {
    enum { COUNT = 20000 };
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("many", &a, &b);
    CHECK_INT(join_held("many"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char text[32];
        for (int i = 0; i < COUNT; i++) {
            if (!ws_raw_send(a, i & 1 ? TEXT : BINARY, true, text, (size_t)snprintf(text, sizeof text, "n%d", i)))
                _exit(1);
        }
        _exit(0);
    }
    bool in_order = true;
    for (int i = 0; i < COUNT; i++) {
        char want[32];
        struct ws_raw_message m = ws_raw_read(b);
        snprintf(want, sizeof want, "n%d", i);
        in_order = in_order && strcmp(m.data, want) == 0 && m.op == (i & 1 ? TEXT : BINARY);
        free(m.data);
    }
    CHECK(in_order);
    const unsigned char slow[] = { 0x81, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2 };
    for (size_t i = 0; i < sizeof slow; i++) {
        CHECK(write_exactly(a, slow + i, 1));
        usleep(1000);
    }
    struct ws_raw_message m = ws_raw_read(b);
    CHECK_STR(m.data, "hi");
    free(m.data);
    close(a);
    expect_close(b, 1001, "the other end is gone without a goodbye");
    stop();
}

static long resident_kb(void) {
    char line[128];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kb);
    if (f)
        fclose(f);
    return kb;
}

/* Who does not read stops who sends; memory does not grow; then everything is there. */
static void test_back_pressure(void) {
    enum { PIECE = 32 << 10, COUNT = 2000 }; /* 64 MB */
    const int small = 16384;
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("slow", &a, &b);
    setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CHECK_INT(join_held("slow"), 0);
    char *piece = pattern(PIECE, 7), *got = malloc(PIECE + 1);
    long before = resident_kb();
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++) {
            memcpy(piece, &i, sizeof i);
            if (!ws_raw_send(a, BINARY, true, piece, PIECE))
                _exit(1);
        }
        _exit(0);
    }
    struct pollfd p = { .fd = a, .events = POLLOUT };
    for (int quiet = 0, tries = 0; quiet < 10 && tries < 500; tries++) { /* until nothing more can be sent */
        usleep(20000);
        quiet = poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) ? 0 : quiet + 1;
    }
    CHECK(resident_kb() - before < 8 << 10);
    osmo_traffic_t t = { .size = sizeof t };
    CHECK_INT(service.transport->traffic(service.transport->impl, held_session("slow", 0), &t), 0);
    CHECK(t.in > 0 && t.in < (uint64_t)PIECE * COUNT);
    bool same = true;
    for (int i = 0; i < COUNT && same; i++) {
        struct ws_raw_message m = { 0 };
        m = ws_raw_read(b);
        memcpy(piece, &i, sizeof i);
        same = m.len == PIECE && memcmp(m.data, piece, PIECE) == 0;
        free(m.data);
    }
    CHECK(same);
    free(piece);
    free(got);
    close(a);
    close(b);
    stop();
}

/* What a held session may say is bounded, and what it said is not lost. */
static void test_held_overflow(void) {
    enum { PIECE = 8000, COUNT = 4000 };
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("full", &a, &b);
    char *piece = pattern(PIECE, 3);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++) {
            if (!ws_raw_send(a, BINARY, true, piece, PIECE))
                _exit(1);
        }
        _exit(0);
    }
    osmo_traffic_t t = { .size = sizeof t }, last = { .in = 1 };
    for (int i = 0; i < 100 && (t.in == 0 || t.in != last.in); i++) {
        last = t;
        usleep(50000);
        CHECK_INT(service.transport->traffic(service.transport->impl, held_session("full", 0), &t), 0);
    }
    CHECK(t.in > 64 << 10 && t.in < 400 << 10);
    CHECK_INT(join_held("full"), 0);
    bool same = true;
    for (int i = 0; i < COUNT && same; i++) {
        struct ws_raw_message m = ws_raw_read(b);
        same = m.len == PIECE && memcmp(m.data, piece, PIECE) == 0;
        free(m.data);
    }
    CHECK(same);
    free(piece);
    close(a);
    close(b);
    stop();
}

/* A held one that leaves is noticed: with a goodbye, without, and when it is not read from any more. */
static void test_held_leaves(void) {
    char *piece = pattern(9000, 3);
    REQUIRE(start_with(2, 0));
    int a = open_ws("/held/leaves");
    uint64_t id = held_session("leaves", 0);
    ws_raw_close(a, 1000, "never mind");
    expect_close(a, 1000, "");
    wait_for(&ws_closed_count, 1);
    CHECK_INT(service.transport->join(service.transport->impl, id, id), OSMO_ENOTFOUND);
    close(open_ws("/held/leaves"));
    wait_for(&ws_closed_count, 2);
    a = open_ws("/held/leaves");
    held_session("leaves", 2);
    for (int i = 0; i < 35; i++)
        CHECK(ws_raw_send(a, BINARY, true, piece, 9000));
    close(a);
    wait_for(&ws_closed_count, 3);
    free(piece);
    stop();
}

/* The goodbye of one that came too early waits for the other, unless its connection ends, or the service ends it. */
static void test_early_goodbye(void) {
    REQUIRE(start_with(2, 0));
    int a = open_ws("/held/patient"), b;
    held_session("patient", 0);
    CHECK(ws_raw_send(a, BINARY, true, "last words", 10));
    ws_raw_close(a, 4000, "there is no such thing");
    CHECK(poll(&(struct pollfd){ .fd = a, .events = POLLIN }, 1, 100) == 0);
    b = open_ws("/held/patient");
    held_session("patient", 1);
    CHECK_INT(join_held("patient"), 0);
    expect(b, BINARY, "last words");
    expect_close(b, 4000, "there is no such thing");
    expect_close(a, 4000, "");
    wait_for(&ws_closed_count, 2);
    a = open_ws("/held/patient-2");
    held_session("patient-2", 0);
    ws_raw_close(a, 1000, "");
    close(a);
    wait_for(&ws_closed_count, 3);
    a = open_ws("/held/patient-3");
    ws_raw_close(a, 1000, "");
    service.transport->ws_close(service.transport->impl, held_session("patient-3", 0), 4000, "nobody came");
    expect_close(a, 4000, "nobody came");
    wait_for(&ws_closed_count, 4);
    stop();
}

/* What the first has said is delivered, then its goodbye, when both came before they were joined or while the other did not read. */
static void test_close_behind_data(void) {
    enum { PIECE = 100000, COUNT = 100 };
    char *piece = pattern(PIECE, 9);
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("behind", &a, &b);
    CHECK_INT(join_held("behind"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++)
            ws_raw_send(a, BINARY, true, piece, PIECE);
        ws_raw_close(a, 4000, "the task has ended: start it again");
        _exit(0);
    }
    usleep(200000);
    bool same = true;
    for (int i = 0; i < COUNT; i++) {
        struct ws_raw_message m = ws_raw_read(b);
        same = same && m.len == PIECE && memcmp(m.data, piece, PIECE) == 0;
        free(m.data);
    }
    CHECK(same);
    expect_close(b, 4000, "the task has ended: start it again");
    close(a);
    wait_for(&ws_closed_count, 2);
    free(piece);
    stop();
}

enum way { CLOSED, CLOSED_BARE, CUT, RESET, BROKEN, TOO_LARGE, BY_SERVICE };

static void end_it(int fd, enum way way, const char *name) {
    static const unsigned char huge[] = { 0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 1, 2, 3, 4 };
    const struct linger none = { .l_onoff = 1 };
    switch (way) {
    case CLOSED: ws_raw_close(fd, 4321, "for a reason"); break;
    case CLOSED_BARE: ws_raw_close(fd, 0, ""); break;
    case CUT: shutdown(fd, SHUT_RDWR); break;
    case RESET: setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none); close(fd); break;
    case BROKEN: CHECK(write_exactly(fd, "\x83\x80zzzz", 6)); break;
    case TOO_LARGE: CHECK(write_exactly(fd, huge, sizeof huge)); break;
    case BY_SERVICE: service.transport->ws_close(service.transport->impl, held_session(name, 0), 4003, "idle for too long"); break;
    }
}

static void test_ends(void) {
    static const struct { enum way way; int own, code; const char *reason; } cases[] = {
        { CLOSED, 4321, 4321, "for a reason" },
        { CLOSED_BARE, 0, 0, "" },
        { CUT, -1, 1001, "the other end is gone without a goodbye" },
        { RESET, -1, 1001, "the other end is gone without a goodbye" },
        { BROKEN, 1002, 1011, "the other end has broken the protocol" },
        { TOO_LARGE, 1009, 1011, "the other end has broken the protocol" },
        { BY_SERVICE, 4003, 4003, "idle for too long" },
    };
    REQUIRE(start_with(2, 0));
    for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++) {
        char name[16];
        int a, b;
        snprintf(name, sizeof name, "end%d", i);
        open_pair(name, &a, &b);
        CHECK_INT(join_held(name), 0);
        CHECK(ws_raw_send(a, TEXT, true, "last words", 10));
        expect(b, TEXT, "last words");
        end_it(a, cases[i].way, name);
        expect_close(b, cases[i].code, cases[i].reason);
        if (cases[i].own >= 0) {
            struct ws_raw_message m = ws_raw_read(a);
            CHECK_INT(m.op, CLOSE);
            CHECK_INT(m.code, cases[i].own);
            free(m.data);
        }
        if (cases[i].way != RESET)
            close(a);
        wait_for(&ws_closed_count, 2 * (i + 1));
    }
    stop();
}

/* What cannot be joined, and what cannot be sent. */
static void test_refusals(void) {
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("no", &a, &b);
    int plain = open_ws("/ws");
    wait_for(&ws_opened_count, 3);
    const osmo_transport_t *t = service.transport;
    uint64_t first = held_session("no", 0), second = held_session("no", 1);
    CHECK_INT(t->join(t->impl, first, last_ws), OSMO_EINVAL);
    CHECK_INT(t->join(t->impl, first, first), OSMO_EINVAL);
    CHECK_INT(t->join(t->impl, first, 99999), OSMO_ENOTFOUND);
    CHECK_INT(t->ws_send(t->impl, first, "before", 6, 0), 0);
    CHECK_INT(t->join(t->impl, first, second), 0);
    CHECK_INT(t->join(t->impl, first, second), OSMO_ECONFLICT);
    CHECK_INT(t->ws_send(t->impl, first, "between", 7, 0), OSMO_ECONFLICT);
    expect(a, TEXT, "before");
    CHECK(ws_raw_send(b, TEXT, true, "after", 5));
    expect(a, TEXT, "after");
    close(a);
    close(b);
    close(plain);
    stop();
}

/* The service stops: held and joined ones are told. */
static void test_stop(void) {
    int a, b;
    REQUIRE(start_with(2, 0));
    open_pair("stop", &a, &b);
    int c = open_ws("/held/alone");
    held_session("alone", 0);
    CHECK_INT(join_held("stop"), 0);
    CHECK(ws_raw_send(a, TEXT, true, "x", 1));
    expect(b, TEXT, "x");
    int fds[3] = { a, b, c };
    pid_t pid = fork();
    if (pid == 0) {
        int bad = 0;
        for (int i = 0; i < 3; i++) {
            struct ws_raw_message m = ws_raw_read(fds[i]);
            bad += m.op != CLOSE || m.code != 1001 || strcmp(m.data + 2, "the service is stopping") != 0;
            free(m.data);
            ws_raw_close(fds[i], 1001, "");
            close(fds[i]);
        }
        _exit(bad);
    }
    close(a);
    close(b);
    close(c);
    stop();
    CHECK_INT(ws_closed_count, 3);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
}

/* Many pairs at once, each with its own end: while nobody reads, before they are joined, from both sides. */
struct storm { unsigned seed; int thread, done, wrong; };

static void storm_round(struct storm *s, int nth) {
    static const struct linger none = { .l_onoff = 1 };
    static char piece[50000];
    char path[64], number[16];
    int fds[2];
    snprintf(path, sizeof path, "/pair/storm-%d-%d", s->thread, nth);
    for (int i = 0; i < 2; i++) {
        fds[i] = dial();
        s->wrong += ws_raw_upgrade(fds[i], path, "x") != 101;
    }
    s->wrong += held_session(path + sizeof "/pair", 1) == 0; /* else one might wait for another that has left already */
    int count = rand_r(&s->seed) % 20, read_first = rand_r(&s->seed) % 2;
    for (int i = 0; i < count; i++) {
        ws_raw_send(fds[0], TEXT, true, number, (size_t)snprintf(number, sizeof number, "%d", i));
        ws_raw_send(fds[1], BINARY, true, piece, (size_t)rand_r(&s->seed) % sizeof piece);
    }
    for (int i = 0; i < count && read_first; i++) {
        struct ws_raw_message m = ws_raw_read(fds[1]);
        s->wrong += m.op != TEXT || atoi(m.data) != i;
        free(m.data);
    }
    int who = rand_r(&s->seed) % 2, how = rand_r(&s->seed) % 3;
    if (how == 0)
        ws_raw_close(fds[who], 1000, "");
    else if (how == 1)
        setsockopt(fds[who], SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fds[how == 2 ? 1 - who : who]);
    close(fds[how == 2 ? who : 1 - who]);
    s->done++;
}

static void *storm_main(void *arg) {
    for (int i = 0; i < 100; i++)
        storm_round(arg, i);
    return NULL;
}

static void test_storm(void) {
    enum { THREADS = 4 };
    struct storm storms[THREADS];
    pthread_t threads[THREADS];
    REQUIRE(start_with(4, 0));
    for (unsigned i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){ .seed = i + 1, .thread = (int)i };
        pthread_create(&threads[i], NULL, storm_main, &storms[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(storms[i].done, 100);
        CHECK_INT(storms[i].wrong, 0);
    }
    wait_for(&ws_closed_count, 2 * 100 * THREADS);
    stop();
}

/* The time that the library gives to a handshake is over some day; what was begun goes on. */
static void test_outlives_handshake(void) {
    struct net_patience before = net_patience;
    int a, b;
    net_patience.first_ms = 1000;
    REQUIRE(start_with(2, 0));
    open_pair("long", &a, &b);
    CHECK_INT(join_held("long"), 0);
    usleep(3000000);
    CHECK(ws_raw_send(a, TEXT, true, "still here", 10));
    expect(b, TEXT, "still here");
    close(a);
    close(b);
    stop();
    net_patience = before;
}

/* The same when the library reads and writes, as it does with TLS. */
static void test_tls(void) {
    char dir[] = "/tmp/test_server_join_XXXXXX", cert[64], key[64], ca[64];
    REQUIRE(mkdtemp(dir) != NULL);
    if (tls_make_ca(dir) && tls_make_cert(dir, "server", "DNS:localhost,IP:127.0.0.1", 30)) {
        snprintf(cert, sizeof cert, "%s/server.pem", dir);
        snprintf(key, sizeof key, "%s/server.key", dir);
        snprintf(ca, sizeof ca, "%s/ca.pem", dir);
        tls_cert = cert;
        tls_key = key;
        tls_ca = ca;
        test_held_first();
        test_sizes();
        test_back_pressure();
        test_held_overflow();
        test_early_goodbye();
        test_close_behind_data();
        test_outlives_handshake();
        tls_cert = tls_key = tls_ca = NULL;
    }
    CHECK(dir_remove_tree(dir, NULL) == 0);
}

static const struct check_test tests[] = {
    { "held first", test_held_first },
    { "sizes", test_sizes },
    { "many", test_many },
    { "back-pressure", test_back_pressure },
    { "held overflow", test_held_overflow },
    { "held ones that leave", test_held_leaves },
    { "a goodbye before the other is there", test_early_goodbye },
    { "a goodbye behind data", test_close_behind_data },
    { "ends", test_ends },
    { "refusals", test_refusals },
    { "stop", test_stop },
    { "storm", test_storm },
    { "over TLS", test_tls },
};
TEST_MAIN("server_join", tests)
