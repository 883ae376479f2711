/* Connections for web servers of tasks, which are carried by a joined session: what gets to the task, what does not, how it ends. */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "server/net.h"
#include "server_fixture.h"
#include "ws_raw.h"

enum { BINARY = 2, CLOSE = 8, END = 0xff };
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define HOST(name) "Host: webserver-pair-" name ".example.org\r\n"
#define FORWARDED(name) \
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: webserver-pair-" name ".example.org\r\nX-Forwarded-Proto: http\r\n"
#define TAIL(name) FORWARDED(name) "Connection: close\r\n\r\n"

static int backend_of(const char *name) {
    char path[64];
    int fd = dial();
    snprintf(path, sizeof path, "/pair/%s", name);
    CHECK_INT(ws_raw_upgrade(fd, path, "x"), 101);
    return fd;
}

static int ask(const char *text) {
    int fd = dial();
    CHECK(write_exactly(fd, text, strlen(text)));
    return fd;
}

/* What the task gets, until it is `len` bytes or the session ends; *code tells of a close. */
static char *task_reads(int backend, size_t len, int *code) {
    buf_t got = BUF_INIT(64 << 20);
    *code = -1;
    buf_reserve(&got, len + 1);
    while (got.len < len && *code < 0) {
        struct ws_raw_message m = ws_raw_read(backend);
        if (m.op == BINARY)
            buf_append(&got, m.data, m.len);
        else
            *code = m.op == CLOSE ? m.code : 0;
        free(m.data);
    }
    buf_append(&got, "", 1);
    return buf_steal(&got, NULL);
}

static void task_got(int backend, const char *want) {
    int code;
    char *got = task_reads(backend, strlen(want), &code);
    CHECK_STR(got, want);
    free(got);
}

static void answer(int backend, const char *text) {
    CHECK(ws_raw_send(backend, BINARY, true, text, strlen(text)));
    ws_raw_close(backend, 1000, "");
    int code;
    free(task_reads(backend, 1, &code));
    CHECK_INT(code, 1000);
    close(backend);
}

/* ---- heads and bodies ---- */

#define V "HTTP/1.1\r\n"
#define H HOST("r")
#define T TAIL("r")
#define F FORWARDED("r")
static const struct { const char *name, *request, *want; } requests[] = {
    { "plain",
      "GET / " V H "\r\n",
      "GET / " V H T },
    { "as it came",
      "GET /a%2Fb//c/../d%00?q=%20&a=b?c " V H "Accept: a\r\nX-B: 1\r\nAccept: b\r\nCookie: x=y\r\n\r\n", NULL },
    { "as it came, without a NUL",
      "GET /a%2Fb//c/../d?q=%20&a=b?c " V H "Accept: a\r\nX-B: 1\r\nACCEPT: b\r\nCookie: x=y\r\n\r\n",
      "GET /a%2Fb//c/../d?q=%20&a=b?c " V H "Accept: a\r\nX-B: 1\r\nACCEPT: b\r\nCookie: x=y\r\n" T },
    { "absolute",
      "GET http://webserver-pair-r.example.org/p?x " V H "\r\n",
      "GET /p?x " V H T },
    { "absolute, no path",
      "GET http://webserver-pair-r.example.org?x " V H "\r\n",
      "GET /?x " V H T },
    { "ours",
      "GET / HTTP/1.1\r\nAuthorization: Bearer secret\r\n" H "X-OSMO-User: alice\r\nx-osmo-auth: t\r\nProxy-Authorization: b\r\n\r\n",
      "GET / " V H T },
    { "one hop",
      "GET / " V H "Connection: keep-alive, X-Mine, host, Cookie\r\nX-Mine: 1\r\nX-Yours: 2\r\nKeep-Alive: 3\r\nTE: trailers\r\n"
      "Cookie: a=b\r\nTrailer: X\r\n\r\n",
      "GET / " V H "X-Yours: 2\r\nCookie: a=b\r\n" T },
    { "forwarded",
      "GET / " V H "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=x\r\n\r\n",
      "GET / " V H "X-Forwarded-For: 10.1.2.3, 127.0.0.1\r\nX-Forwarded-Host: webserver-pair-r.example.org\r\n"
      "X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n" },
    { "carried by another replica",
      "GET / " V H "X-Osmo-Replica-Peer: 203.0.113.9\r\n\r\n",
      "GET / " V H "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: webserver-pair-r.example.org\r\n"
      "X-Forwarded-Proto: http\r\nConnection: close\r\n\r\n" },
    { "h2c",
      "GET / " V H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
      "GET / " V H T },
    { "other method",
      "PROPFIND /dav " V H "Depth: 1\r\n\r\n",
      "PROPFIND /dav " V H "Depth: 1\r\n" T },
    { "old",
      "GET / HTTP/1.0\r\n" H "\r\n",
      "GET / HTTP/1.0\r\n" H T },
    { "body",
      "POST /x " V H "Content-Length: 5\r\n\r\nhello",
      "POST /x " V H "Content-Length: 5\r\n" T "hello" },
    { "behind a body",
      "POST /x " V H "Content-Length: 5\r\n\r\nhelloGET /admin HTTP/1.1\r\nHost: y\r\n\r\n",
      "POST /x " V H "Content-Length: 5\r\n" T "hello" },
    { "behind no body",
      "GET / " V H "\r\nGET /admin HTTP/1.1\r\nHost: y\r\n\r\n",
      "GET / " V H T },
    { "chunks",
      "POST /x " V H "Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n001\r\n!\r\n0\r\nX-Osmo-User: alice\r\n\r\n",
      "POST /x HTTP/1.1\r\n" H F "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" },
    { "behind chunks",
      "POST /x " V H "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: y\r\n\r\n",
      "POST /x HTTP/1.1\r\n" H F "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n" },
};

static void test_requests(void) {
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int fd = ask(requests[i].request), backend;
        if (!requests[i].want) {
            CHECK_CONTAINS(read_until(fd, NULL), "HTTP/1.1 400 ");
            close(fd);
            continue;
        }
        backend = backend_of("r");
        task_got(backend, requests[i].want);
        answer(backend, OK);
        const char *got = read_until(fd, NULL);
        if (strcmp(got, OK) != 0)
            fprintf(stderr, "request: %s\n", requests[i].name);
        CHECK_STR(got, OK);
        close(fd);
    }
    stop();
}

/* What the chunks of a body carry, up to the first thing that is none. */
static const char *carried(const char *head_and_body) {
    static char text[64];
    const char *p = strstr(head_and_body, "\r\n\r\n");
    size_t len = 0;
    for (p = p ? p + 4 : ""; *p;) {
        char *end;
        unsigned long n = strtoul(p, &end, 16);
        if (end == p || strncmp(end, "\r\n", 2) != 0 || n >= sizeof text - len || strlen(end) < n + 4 ||
            strncmp(end + 2 + n, "\r\n", 2) != 0)
            break;
        memcpy(text + len, end + 2, n);
        len += n;
        p = end + n + 4;
    }
    text[len] = '\0';
    return text;
}

/* However the bytes come: chunks are the client's or ours, but what they carry is the same. */
static void test_byte_by_byte(void) {
    static const char text[] = "POST /x HTTP/1.1\r\n" HOST("b") "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6 \r\n";
    REQUIRE(start_with(2, 0));
    int fd = dial(), backend = backend_of("b"), code;
    for (size_t i = 0; text[i]; i++) {
        CHECK(write_exactly(fd, text + i, 1));
        usleep(200);
    }
    char *got = task_reads(backend, 1 << 20, &code);
    CHECK_STR(carried(got), "hello");
    CHECK_INT(code, 1001); /* a space behind a size */
    CHECK_CONTAINS(read_until(fd, NULL), "HTTP/1.1 400 Bad Request\r\n");
    free(got);
    close(fd);
    close(backend);
    stop();
}

#define CHUNKED "POST / HTTP/1.1\r\n" HOST("s") "Transfer-Encoding: chunked\r\n\r\n"

static void test_smuggling(void) {
    static const struct { const char *request; bool head; } cases[] = {
        { "POST / HTTP/1.1\r\n" HOST("s") "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.0\r\n" HOST("s") "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false },
        { "POST / HTTP/1.1\r\n" HOST("s") "Content-Length: +3\r\n\r\nabc", false },
        { "POST / HTTP/1.1\r\n" HOST("s") HOST("s") "Content-Length: 3\r\n\r\nabc", false },
        { "GET / HTTP/1.1\r\n" HOST("s") "X: a\r\n b\r\n\r\n", false },
        { "GET / HTTP/1.1\r\n" HOST("s") "X: a\nX-Osmo-User: b\r\n\r\n", false },
        { "CONNECT webserver-pair-s:80 HTTP/1.1\r\n" HOST("s") "\r\n", false },
        { "TRACE / HTTP/1.1\r\n" HOST("s") "\r\n", false },
        { CHUNKED "\r\n", true },
        { CHUNKED "x\r\n", true },
        { CHUNKED "-1\r\n", true },
        { CHUNKED "0x1\r\na\r\n", true },
        { CHUNKED "1\na\n", true },
        { CHUNKED "1\r\nab\r\n", true },
        { CHUNKED "1\r\na\rb", true },
        { CHUNKED "1000000000000000\r\n", true },
        { CHUNKED "1;a\nb\r\na\r\n", true },
        { CHUNKED "0\r\n X: a\r\n\r\n", true },
        { CHUNKED "0\r\nX: a\n\r\n", true },
        { CHUNKED "0\r\n\rG", true },
        { "GET / HTTP/1.1\r\n" HOST("s") "Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", false },
    };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *request = cases[i].request;
        size_t head = cases[i].head ? (size_t)(strstr(request, "\r\n\r\n") - request) + 4 : 0;
        int fd = dial(), code, backend = -1;
        CHECK(write_exactly(fd, request, head));
        if (cases[i].head) { /* the rest when they are joined */
            backend = backend_of("s");
            free(task_reads(backend, 1, &code));
        }
        CHECK(write_exactly(fd, request + head, strlen(request) - head));
        if (cases[i].head) {
            char *got = task_reads(backend, 1 << 20, &code);
            CHECK_INT(code, 1001);
            CHECK_STR(got, ""); /* not even the bytes of the chunk before */
            free(got);
            close(backend);
        }
        char *got = read_until(fd, NULL);
        if (strncmp(got, "HTTP/1.1 4", 10) != 0 && strncmp(got, "HTTP/1.1 501", 12) != 0)
            fprintf(stderr, "case %zu: %s\n", i, cases[i].request);
        CHECK(strncmp(got, "HTTP/1.1 4", 10) == 0 || strncmp(got, "HTTP/1.1 501", 12) == 0);
        close(fd);
    }
    stop();
}

/* The body is asked for when there is somebody to have it. */
static void test_continue(void) {
    REQUIRE(start_with(2, 0));
    int fd = ask("POST /x HTTP/1.1\r\n" HOST("c") "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    held_session("c", 0);
    int backend = backend_of("c");
    CHECK_STR(read_until(fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(write_exactly(fd, "hello", 5));
    task_got(backend, "POST /x HTTP/1.1\r\n" HOST("c") "Content-Length: 5\r\n" TAIL("c") "hello");
    answer(backend, OK);
    CHECK_STR(read_until(fd, NULL), OK);
    close(fd);
    stop();
}

/* ---- upgrades ---- */

#define UPGRADE(name) "GET /chat HTTP/1.1\r\n" HOST(name) "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" \
    "Sec-WebSocket-Key: k\r\nSec-WebSocket-Protocol: jupyter\r\n\r\n"
#define UPGRADED(name) "GET /chat HTTP/1.1\r\n" HOST(name) "Sec-WebSocket-Key: k\r\nSec-WebSocket-Protocol: jupyter\r\n" FORWARDED(name) \
    "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

static void test_upgrade(void) {
    REQUIRE(start_with(2, 0));
    int fd = ask(UPGRADE("u")), backend = backend_of("u"), code;
    task_got(backend, UPGRADED("u"));
    for (size_t i = 0; SWITCH[i]; i++)
        CHECK(ws_raw_send(backend, BINARY, true, &SWITCH[i], 1));
    CHECK_STR(read_until(fd, "\r\n\r\n"), SWITCH);
    CHECK(write_exactly(fd, "any\0bytes", 9));
    char *got = task_reads(backend, 9, &code);
    CHECK(memcmp(got, "any\0bytes", 9) == 0);
    free(got);
    CHECK(ws_raw_send(backend, 1, true, "not for you", 11)); /* texts are no bytes */
    CHECK(ws_raw_send(backend, BINARY, true, "back", 4));
    CHECK_STR(read_until(fd, "back"), "back");
    shutdown(fd, SHUT_WR); /* said all: an empty message */
    struct ws_raw_message m = ws_raw_read(backend);
    CHECK_INT(m.op, BINARY);
    CHECK_INT(m.len, 0);
    free(m.data);
    CHECK(ws_raw_send(backend, BINARY, true, "still here", 10));
    CHECK_STR(read_until(fd, "here"), "still here");
    CHECK(ws_raw_send(backend, BINARY, true, "", 0));
    CHECK_STR(read_until(fd, NULL), "");
    close(fd);
    free(task_reads(backend, 1, &code));
    CHECK_INT(code, 1000);
    close(backend);
    wait_for(&ws_closed_count, 2);
    stop();
}

/* The other way round: the task says no more first. */
static void test_half_closed_by_task(void) {
    REQUIRE(start_with(2, 0));
    int fd = ask(UPGRADE("h")), backend = backend_of("h"), code;
    task_got(backend, UPGRADED("h"));
    CHECK(ws_raw_send(backend, BINARY, true, SWITCH "bye", sizeof SWITCH + 2) && ws_raw_send(backend, BINARY, true, "", 0));
    CHECK_STR(read_until(fd, NULL), SWITCH "bye");
    CHECK(write_exactly(fd, "goes on", 7));
    char *got = task_reads(backend, 7, &code);
    CHECK_STR(got, "goes on");
    free(got);
    close(fd);
    got = task_reads(backend, 1, &code);
    CHECK_INT(code, 1000);
    free(got);
    close(backend);
    stop();
}

/* No is the answer: whatever the client sends then stays here. */
static void test_upgrade_refused(void) {
    REQUIRE(start_with(2, 0));
    int fd = ask(UPGRADE("n")), backend = backend_of("n"), code;
    task_got(backend, UPGRADED("n"));
    CHECK(ws_raw_send(backend, BINARY, true, OK, strlen(OK)));
    CHECK_STR(read_until(fd, "ok"), OK);
    CHECK(write_exactly(fd, "GET /admin HTTP/1.1\r\nHost: y\r\n\r\n", 32));
    struct ws_raw_message m = ws_raw_read(backend);
    CHECK_INT(m.op, BINARY);
    CHECK_INT(m.len, 0);
    free(m.data);
    usleep(100000);
    ws_raw_close(backend, 1000, "");
    char *got = task_reads(backend, 1, &code);
    CHECK_STR(got, "");
    CHECK_INT(code, 1000);
    free(got);
    CHECK_STR(read_until(fd, NULL), "");
    close(fd);
    close(backend);
    stop();
}

/* ---- ends ---- */

static void test_errors(void) {
    static const struct { int code; const char *reason, *want; } cases[] = {
        { 504, "the task did not answer within 60 s", "HTTP/1.1 504 Gateway Timeout\r\n" },
        { 404, "there is no such web server any more", "HTTP/1.1 404 Not Found\r\n" },
        { 502, "the task has ended", "HTTP/1.1 502 Bad Gateway\r\n" },
        { 4000, "that was all", "HTTP/1.1 502 Bad Gateway\r\n" },
    };
    REQUIRE(start_with(2, 0));
    int fd = ask("GET / HTTP/1.1\r\nHost: webserver-none.x\r\n\r\n");
    const char *got = read_until(fd, NULL);
    CHECK_CONTAINS(got, "HTTP/1.1 404 Not Found\r\n");
    CHECK_CONTAINS(got, "there is no such web server");
    close(fd);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128], name[16];
        snprintf(name, sizeof name, "e%zu", i);
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: webserver-held-%s.x\r\n\r\n", name);
        fd = ask(text);
        service.transport->ws_close(service.transport->impl, held_session(name, 0), cases[i].code, cases[i].reason);
        got = read_until(fd, NULL);
        CHECK_CONTAINS(got, cases[i].want);
        CHECK_CONTAINS(got, cases[i].reason);
        close(fd);
    }
    fd = ask("GET / HTTP/1.1\r\n" HOST("gone") "\r\n");
    int backend = backend_of("gone");
    task_got(backend, "GET / HTTP/1.1\r\n" HOST("gone") TAIL("gone"));
    close(backend);
    CHECK_CONTAINS(read_until(fd, NULL), "HTTP/1.1 503");
    close(fd);
    stop();
}

static void test_client_leaves(void) {
    const struct linger none = { .l_onoff = 1 };
    int code;
    REQUIRE(start_with(2, 0));
    for (int how = 0; how < 3; how++) { /* within its body; by a reset; before anybody was there for it */
        int fd = ask("POST / HTTP/1.1\r\n" HOST("l") "Content-Length: 10\r\n\r\nhalf"), backend = -1;
        if (how < 2) {
            backend = backend_of("l");
            task_got(backend, "POST / HTTP/1.1\r\n" HOST("l") "Content-Length: 10\r\n" TAIL("l") "half");
        } else {
            held_session("l", 4);
        }
        if (how == 1)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        close(fd);
        if (backend >= 0) {
            free(task_reads(backend, 1, &code));
            CHECK_INT(code, 1001);
            close(backend);
        }
    }
    wait_for(&ws_closed_count, 5);
    stop();
}

/* ---- large bodies, slowly ---- */

static void test_large(void) {
    enum { SIZE = 24 << 20 };
    char *data = malloc(SIZE), head[256];
    int code;
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    REQUIRE(start_with(2, 0));
    int fd = dial(), backend = backend_of("big");
    snprintf(head, sizeof head, "PUT / HTTP/1.1\r\n" HOST("big") "Content-Length: %d\r\n\r\n", SIZE);
    pid_t pid = fork();
    if (pid == 0)
        _exit(!write_exactly(fd, head, strlen(head)) || !write_exactly(fd, data, SIZE));
    usleep(300000);
    snprintf(head, sizeof head, "PUT / HTTP/1.1\r\n" HOST("big") "Content-Length: %d\r\n" TAIL("big"), SIZE);
    char *got = task_reads(backend, strlen(head) + SIZE, &code);
    CHECK(strncmp(got, head, strlen(head)) == 0 && memcmp(got + strlen(head), data, SIZE) == 0);
    free(got);
    pid = fork();
    if (pid == 0) {
        for (int at = 0; at < SIZE; at += 60000)
            ws_raw_send(backend, BINARY, true, data + at, SIZE - at < 60000 ? (size_t)(SIZE - at) : 60000);
        ws_raw_close(backend, 1000, "");
        _exit(0);
    }
    usleep(300000);
    got = malloc(SIZE);
    CHECK(read_exactly(fd, got, SIZE) && memcmp(got, data, SIZE) == 0);
    CHECK_INT(recv(fd, got, 1, 0), 0);
    free(got);
    free(data);
    close(fd);
    close(backend);
    stop();
}

static const struct check_test tests[] = {
    { "requests", test_requests },
    { "byte by byte", test_byte_by_byte },
    { "smuggling", test_smuggling },
    { "100-continue", test_continue },
    { "upgrade", test_upgrade },
    { "half closed by the task", test_half_closed_by_task },
    { "upgrade refused", test_upgrade_refused },
    { "errors", test_errors },
    { "clients that leave", test_client_leaves },
    { "large", test_large },
};
TEST_MAIN("server_tunnel", tests)
