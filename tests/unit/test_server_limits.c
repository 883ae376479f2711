/* What the network front refuses, over real sockets: requests that two servers could read differently, and those that are too large, too
 * many or too slow. After each the server still serves. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server/net.h"
#include "server_fixture.h"

#define HOST "Host: 127.0.0.1\r\n"
#define END "Connection: close\r\n\r\n"
#define GET "GET /line HTTP/1.1\r\n"
#define POST "POST /line HTTP/1.1\r\n"

struct shape { const char *name, *request; int status; size_t len; /* 0: strlen */ };

/* Everything until the server closes; the answers' statuses in order. */
static char *ask(const char *request, size_t len) {
    int fd = dial();
    CHECK(fd >= 0);
    CHECK_INT(send(fd, request, len, MSG_NOSIGNAL), len);
    char *got = read_until(fd, NULL);
    close(fd);
    return got;
}

static int status_of(const char *answer) { return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0; }

static int answers(const char *text) {
    int n = 0;
    for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")); p++)
        n += p[9] >= '1' && p[9] <= '5';
    return n;
}

static void check_shapes(const struct shape *shapes, size_t n) {
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < n; i++) {
        size_t len = shapes[i].len ? shapes[i].len : strlen(shapes[i].request);
        const char *got = ask(shapes[i].request, len);
        if (status_of(got) != shapes[i].status || answers(got) != 1)
            fprintf(stderr, "# %s: %.300s\n", shapes[i].name, got);
        CHECK_INT(status_of(got), shapes[i].status);
        CHECK_INT(answers(got), 1);
        if (shapes[i].status >= 400) {
            CHECK_CONTAINS(got, "{\"detail\":\"");
            CHECK_CONTAINS(got, "Connection: close");
        }
        CHECK_CONTAINS(ask(GET HOST END, strlen(GET HOST END)), "200 OK");
    }
    stop();
}
#define SHAPES(list) check_shapes(list, sizeof(list) / sizeof((list)[0]))

/* Where a body ends, and what belongs to the next request. */
static void test_lengths(void) {
    static const struct shape shapes[] = {
        { "length twice, the same", POST HOST "Content-Length: 2\r\nContent-Length: 2\r\n" END "{}", 400, 0 },
        { "length twice", POST HOST "Content-Length: 2\r\nContent-Length: 50\r\n" END "{}", 400, 0 },
        { "list of lengths", POST HOST "Content-Length: 2, 2\r\n" END "{}", 400, 0 },
        { "signed length", POST HOST "Content-Length: +2\r\n" END "{}", 400, 0 },
        { "negative length", POST HOST "Content-Length: -1\r\n" END "{}", 400, 0 },
        { "hexadecimal length", POST HOST "Content-Length: 0x2\r\n" END "{}", 400, 0 },
        { "empty length", POST HOST "Content-Length:\r\n" END "{}", 400, 0 },
        { "length with a unit", POST HOST "Content-Length: 2b\r\n" END "{}", 400, 0 },
        { "enormous length", POST HOST "Content-Length: 99999999999999999999\r\n" END "{}", 400, 0 },
        { "blank before the colon", POST HOST "Content-Length : 2\r\n" END "{}", 400, 0 },
        { "length and coding", POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, 0 },
        { "coding and length", POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END "0\r\n\r\n", 400, 0 },
        { "coding", POST HOST "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n", 411, 0 },
        { "coding in other letters", POST HOST "tRANSFER-eNCODING: Chunked\r\n" END "0\r\n\r\n", 411, 0 },
        { "unknown coding", POST HOST "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n" END "{}", 400, 0 },
        { "empty coding", POST HOST "Transfer-Encoding:\r\nContent-Length: 2\r\n" END "{}", 400, 0 },
        { "coding, blank before the colon", POST HOST "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n" END "{}", 400, 0 },
        { "coding behind a tab", POST HOST "Transfer-Encoding:\tchunked\r\n" END, 411, 0 },
        { "coding of a GET", GET HOST "Transfer-Encoding: chunked\r\n" END, 411, 0 },
        { "coding twice", POST HOST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n" END, 400, 0 },
        { "larger than the path takes", POST HOST "Content-Length: 4194305\r\n" END, 413, 0 },
        { "other expectation", POST HOST "Expect: magic\r\nContent-Length: 2\r\n" END "{}", 417, 0 },
        { "blanks around a length", POST HOST "Content-Length: \t2 \r\n" END "{}", 200, 0 },
    };
    SHAPES(shapes);
}

static void test_lines(void) {
    static const char nul_value[] = GET HOST "X-Osmo-User: a\0b\r\n" END, nul_name[] = GET HOST "X\0Y: a\r\n" END,
                      nul_path[] = "GET /li\0ne HTTP/1.1\r\n" HOST END;
    static const struct shape shapes[] = {
        { "folded header", GET HOST "X-Osmo-User: a\r\n b\r\n" END, 400, 0 },
        { "folded by a tab", GET HOST "X-Osmo-User: a\r\n\tb\r\n" END, 400, 0 },
        { "folded coding", POST HOST "Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n" END "{}", 400, 0 },
        { "first header folded", GET " X: y\r\n" HOST END, 400, 0 },
        { "line feeds only", "GET /line HTTP/1.1\nHost: x\nConnection: close\n\n", 400, 0 },
        { "one line feed", GET "Host: 127.0.0.1\nX-Osmo-User: bob\r\n" END, 400, 0 },
        { "carriage return", GET "Host: 127.0.0.1\rX-Osmo-User: bob\r\n" END, 400, 0 },
        { "NUL in a value", nul_value, 400, sizeof nul_value - 1 },
        { "NUL in a name", nul_name, 400, sizeof nul_name - 1 },
        { "NUL in the path", nul_path, 400, sizeof nul_path - 1 },
        { "control character", GET HOST "X-Osmo-User: a\x01\r\n" END, 400, 0 },
        { "blank in a name", GET HOST "X Y: z\r\n" END, 400, 0 },
        { "no name", GET HOST ": z\r\n" END, 400, 0 },
        { "no colon", GET HOST "nonsense\r\n" END, 400, 0 },
        { "no host", GET END, 400, 0 },
        { "two hosts", GET HOST "Host: evil.example\r\n" END, 400, 0 },
        { "host with a path", GET "Host: 127.0.0.1/x\r\n" END, 400, 0 },
        { "host with a user", GET "Host: a@b\r\n" END, 400, 0 },
        { "two authorizations", GET HOST "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" END, 400, 0 },
        { "two users", GET HOST "X-Osmo-User: a\r\nx-osmo-user: b\r\n" END, 400, 0 },
        { "two tokens", GET HOST "X-Osmo-Auth: a\r\nX-Osmo-Auth: b\r\n" END, 400, 0 },
        { "a list is one", GET HOST "Accept: a\r\nAccept: b\r\n" END, 200, 0 },
    };
    SHAPES(shapes);
}

static void test_request_lines(void) {
    static const struct shape shapes[] = {
        { "absolute address", "GET http://127.0.0.1/line HTTP/1.1\r\n" HOST END, 200, 0 },
        { "of another host", "GET http://evil.example/line HTTP/1.1\r\n" HOST END, 400, 0 },
        { "with a user", "GET http://a@127.0.0.1/line HTTP/1.1\r\n" HOST END, 400, 0 },
        { "of another scheme", "GET ftp://127.0.0.1/line HTTP/1.1\r\n" HOST END, 400, 0 },
        { "asterisk", "OPTIONS * HTTP/1.1\r\n" HOST END, 400, 0 },
        { "authority", "CONNECT 127.0.0.1:80 HTTP/1.1\r\n" HOST END, 501, 0 },
        { "trace", "TRACE /line HTTP/1.1\r\n" HOST END, 501, 0 },
        { "unknown method", "BREW /line HTTP/1.1\r\n" HOST END, 501, 0 },
        { "small letters", "get /line HTTP/1.1\r\n" HOST END, 400, 0 },
        { "no version", "GET /line\r\n" HOST END, 400, 0 },
        { "version 0.9", "GET /line\r\n\r\n", 400, 0 },
        { "version 2", "GET /line HTTP/2.0\r\n" HOST END, 505, 0 },
        { "preface of version 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 0 },
        { "two blanks", "GET  /line HTTP/1.1\r\n" HOST END, 400, 0 },
        { "blank in the path", "GET /li ne HTTP/1.1\r\n" HOST END, 400, 0 },
        { "fragment", "GET /line#x HTTP/1.1\r\n" HOST END, 400, 0 },
        { "bytes above ASCII", "GET /line\xff HTTP/1.1\r\n" HOST END, 400, 0 },
        { "escaped NUL", "GET /li%00ne HTTP/1.1\r\n" HOST END, 400, 0 },
        { "bad escape", "GET /li%zzne HTTP/1.1\r\n" HOST END, 400, 0 },
        { "half an escape", "GET /line% HTTP/1.1\r\n" HOST END, 400, 0 },
        { "TLS", "\x16\x03\x01\x02\x01\x01\x01\x01\xfc\x03\x03", 400, 0 },
        { "dots", "GET /a/../b/.././line HTTP/1.1\r\n" HOST END, 200, 0 },
        { "escaped dots", "GET /a/%2e%2e/line HTTP/1.1\r\n" HOST END, 200, 0 },
        { "dots above the root", "GET /../../line HTTP/1.1\r\n" HOST END, 200, 0 },
        { "empty lines before", "\r\n\r\n" GET HOST END, 200, 0 },
        { "version 1.0", "GET /line HTTP/1.0\r\n\r\n", 200, 0 },
        { "another protocol offered", GET HOST "Upgrade: h2c\r\n" END, 200, 0 },
    };
    SHAPES(shapes);
}

static char *of_size(const char *before, size_t n, const char *after) {
    char *text = malloc(strlen(before) + n + strlen(after) + 1), *p = stpcpy(text, before);
    memset(p, 'a', n);
    strcpy(p + n, after);
    return text;
}

static void test_sizes(void) {
    static const struct { const char *name, *before; size_t n; const char *after; int status; } cases[] = {
        { "a large header", GET HOST "X-Osmo-User: ", 20000, "\r\n" END, 200 },
        { "too large a header", GET HOST "X-Osmo-User: ", 33000, "\r\n" END, 431 },
        { "much too large", GET HOST "X: ", 1000000, "\r\n" END, 431 },
        { "that never ends", GET HOST "X: ", 40000, "", 431 },
        { "a long query", "GET /line?", 10000, " HTTP/1.1\r\n" HOST END, 200 },
        { "too long a query", "GET /line?", 17000, " HTTP/1.1\r\n" HOST END, 414 },
        { "too long a path", "GET /", 9000, " HTTP/1.1\r\n" HOST END, 414 },
        { "an address without an end", "GET /", 20000, "", 414 },
    };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = of_size(cases[i].before, cases[i].n, cases[i].after);
        int fd = dial();
        if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) /* the server may have hung up on us */
            CHECK_INT(cases[i].status, 431);
        char *got = read_until(fd, NULL);
        if (status_of(got) != cases[i].status)
            fprintf(stderr, "# %s: %.100s\n", cases[i].name, got);
        CHECK_INT(status_of(got), cases[i].status);
        close(fd);
        free(text);
    }
    char *many = malloc(100000), *p = stpcpy(many, GET HOST);
    for (int i = 0; i < 1000; i++)
        p += sprintf(p, "X-%d: v\r\n", i);
    strcpy(p, END);
    CHECK_INT(status_of(ask(many, strlen(many))), 431);
    free(many);
    stop();
}

/* One request does not hide in another. */
static void test_hidden(void) {
    static const char inner[] = "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";
    char text[512];
    REQUIRE(start_with(2, 0));
    set_gate(true);
    snprintf(text, sizeof text, GET HOST "Content-Length: %zu\r\n\r\n%s" GET HOST END, sizeof inner - 1, inner);
    const char *got = ask(text, strlen(text));
    CHECK_INT(answers(got), 2); /* the body of the first is its body */
    CHECK(!strstr(got, "late"));
    snprintf(text, sizeof text, POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", inner);
    got = ask(text, strlen(text));
    CHECK_INT(answers(got), 1);
    CHECK(!strstr(got, "late"));
    snprintf(text, sizeof text, POST HOST "\r\n" GET HOST END); /* without a length there is no body */
    CHECK_INT(answers(ask(text, strlen(text))), 2);
    stop();
}

/* Byte by byte, and with the next one behind it. */
static void test_pieces(void) {
    static const char both[] = POST HOST "X-Osmo-User: alice\r\nContent-Length: 3\r\n\r\nabc" GET HOST "X-Osmo-User: bob\r\n" END;
    REQUIRE(start_with(2, 0));
    int fd = dial();
    for (size_t i = 0; i < sizeof both - 1; i++)
        CHECK_INT(send(fd, both + i, 1, MSG_NOSIGNAL), 1);
    const char *got = read_until(fd, NULL);
    CHECK_CONTAINS(got, "POST /line ? user=alice type=- len=3");
    CHECK_CONTAINS(got, "GET /line ? user=bob type=- len=0");
    close(fd);
    stop();
}

/* The connection of somebody who says nothing, or half of a request, ends; nobody waits for him. */
static void test_slow(void) {
    static const char *const halves[] = { "", "GET /line HT", GET "Host: x\r\nX-A: ", POST HOST "Content-Length: 10\r\n\r\nabc" };
    int fds[4];
    net_patience = (struct net_patience){ 300, 400, 500, 300, 60000 };
    REQUIRE(start_with(2, 0));
    for (int i = 0; i < 4; i++) {
        fds[i] = dial();
        CHECK(send(fds[i], halves[i], strlen(halves[i]), MSG_NOSIGNAL) >= 0);
    }
    CHECK_CONTAINS(ask(GET HOST END, strlen(GET HOST END)), "200 OK");
    CHECK_STR(read_until(fds[0], NULL), "");
    CHECK_INT(status_of(read_until(fds[1], NULL)), 408);
    CHECK_INT(status_of(read_until(fds[2], NULL)), 408);
    CHECK_INT(status_of(read_until(fds[3], NULL)), 408);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    stop();
}

static void test_safety_headers(void) {
    static const char *const requests[] = { GET HOST END, "GET /none HTTP/1.1\r\n" HOST END, GET END, "GET /api/x HTTP/1.1\r\n" HOST END };
    static const char *const want[] = {
        "X-Content-Type-Options: nosniff\r\n", "X-Frame-Options: DENY\r\n", "Referrer-Policy: no-referrer\r\n",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n", "Cross-Origin-Resource-Policy: same-origin\r\n" };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < 4; i++) {
        const char *got = ask(requests[i], strlen(requests[i]));
        for (size_t k = 0; k < sizeof want / sizeof want[0]; k++)
            CHECK_CONTAINS(got, want[k]);
        CHECK(!strstr(got, "Access-Control-"));
        CHECK(!strstr(got, "Strict-Transport-Security")); /* only over TLS */
        if (i == 3)
            CHECK_CONTAINS(got, "Cache-Control: no-store\r\n");
    }
    stop();
}

/* ---- websockets ---- */
#define UPGRADE(path, key, version) \
    "GET " path " HTTP/1.1\r\nHost: x\r\nX-Osmo-User: alice\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" \
    "Sec-WebSocket-Key: " key "\r\nSec-WebSocket-Version: " version "\r\n\r\n"
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static void test_upgrades(void) {
    static const struct { const char *request; int status; const char *part; } cases[] = {
        { UPGRADE("/ws", KEY, "13"), 101, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" }, /* the example of RFC 6455 */
        { UPGRADE("/ws", "short", "13"), 400, "websocket" },
        { UPGRADE("/ws", KEY, "8"), 426, "Sec-WebSocket-Version: 13\r\n" },
        { UPGRADE("/other", KEY, "13"), 403, "no" },
    };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial();
        const char *got = talk(fd, cases[i].request, cases[i].status == 101 ? "hello" : NULL);
        CHECK_INT(status_of(got), cases[i].status);
        CHECK_CONTAINS(got, cases[i].part);
        close(fd);
    }
    wait_for(&ws_closed_count, 1);
    stop();
}

/* The close code that an answer ends with; 0 without one. */
static int close_code(const unsigned char *got, size_t len) {
    for (size_t i = len; i-- > 0;) {
        if (got[i] == 0x88 && i + 3 < len && (size_t)got[i + 1] == len - i - 2)
            return got[i + 2] << 8 | got[i + 3];
    }
    return 0;
}

#define FRAME(text) text, sizeof(text) - 1

static void test_frames(void) {
    static const struct { const char *name, *data; size_t len; int code; const char *part; } cases[] = {
        { "echo", FRAME("\x81\x82\0\0\0\0hi"), 0, "\x81\x02hi" },
        { "masked", FRAME("\x81\x82\x01\x02\x03\x04ik"), 0, "\x81\x02hi" },
        { "in fragments, a ping between", FRAME("\x01\x82\0\0\0\0ab\x89\x81\0\0\0\0p\x00\x82\0\0\0\0" "cd\x80\x81\0\0\0\0e"), 0,
          "\x81\x05" "abcde" },
        { "an answer to a ping", FRAME("\x89\x82\0\0\0\0pp\x81\x82\0\0\0\0hi"), 0, "\x8a\x02pp" },
        { "a code that comes back", FRAME("\x88\x82\0\0\0\0\x03\xe8"), 1000, "" },
        { "not masked", FRAME("\x81\x02hi12345678"), 1002, "" },
        { "reserved bit", FRAME("\xc1\x82\0\0\0\0hi"), 1002, "" },
        { "unknown kind", FRAME("\x83\x82\0\0\0\0hi"), 1002, "" },
        { "continuation of nothing", FRAME("\x80\x82\0\0\0\0hi"), 1002, "" },
        { "a message within a message", FRAME("\x01\x82\0\0\0\0hi\x81\x82\0\0\0\0hi"), 1002, "" },
        { "a ping in pieces", FRAME("\x09\x82\0\0\0\0hi"), 1002, "" },
        { "a long ping", FRAME("\x89\xfe\x00\x7e\0\0\0\0"), 1002, "" },
        { "text that is none", FRAME("\x81\x82\0\0\0\0\xff\xfe"), 1007, "" },
        { "larger than a message may be", FRAME("\x82\xff\0\0\0\0\x02\0\0\0\0\0\0\0"), 1009, "" },
        { "enormous", FRAME("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), 1009, "" },
    };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial();
        CHECK_CONTAINS(talk(fd, UPGRADE("/ws", KEY, "13"), "hello"), " 101 ");
        CHECK_INT(send(fd, cases[i].data, cases[i].len, MSG_NOSIGNAL), cases[i].len);
        unsigned char got[4096];
        size_t len = 0, part_len = strlen(cases[i].part);
        bool seen = false;
        ssize_t n;
        while (len < sizeof got && (n = read(fd, got + len, sizeof got - len)) > 0) {
            len += (size_t)n;
            if (part_len && !seen && memmem(got, len, cases[i].part, part_len)) {
                seen = true;
                CHECK(send(fd, "\x88\x80\0\0\0\0", 6, MSG_NOSIGNAL) == 6);
            }
            if (close_code(got, len))
                shutdown(fd, SHUT_WR); /* whoever is told that it is over hangs up */
        }
        if (close_code(got, len) != cases[i].code)
            fprintf(stderr, "# %s\n", cases[i].name);
        CHECK_INT(close_code(got, len), cases[i].code);
        CHECK(seen == (part_len > 0));
        close(fd);
    }
    wait_for(&ws_closed_count, (int)(sizeof cases / sizeof cases[0]));
    stop();
}

static const struct check_test tests[] = {
    { "lengths of bodies", test_lengths },
    { "lines", test_lines },
    { "request lines", test_request_lines },
    { "sizes", test_sizes },
    { "a request within a request", test_hidden },
    { "in pieces", test_pieces },
    { "safety headers", test_safety_headers },
    { "upgrades", test_upgrades },
    { "frames", test_frames },
    { "slow clients", test_slow },
};
TEST_MAIN("server_limits", tests)
