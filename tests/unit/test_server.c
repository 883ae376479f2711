/* The network front against a small service of its own, over real loopback sockets: HTTP, bodies, streams, websockets, stop. All of
 * it once more over TLS. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "server_fixture.h"
#include "tls_fixture.h"

static const char *tls_dir;

/* ---- HTTP ---- */
static void test_requests(void) {
    static const struct {
        const char *method, *path, *body, *want;
    } cases[] = {
        { "GET", "/line", NULL, "GET /line ? user=alice type=application/json len=0" },
        { "GET", "//line?a=1&b=x%20y&c=%26", NULL,
          "GET /line ?a=1&b=x%20y&c=%26 user=alice type=application/json len=0" },
        { "POST", "/line?q", "{}", "POST /line ?q user=alice type=application/json len=2" },
        { "PUT", "/line", "abc", "PUT /line ? user=alice type=application/json len=3" },
        { "PATCH", "/line", "abc", "PATCH /line ? user=alice type=application/json len=3" },
        { "DELETE", "/line", NULL, "DELETE /line ? user=alice type=application/json len=0" },
        { "DELETE", "/line", "{}", "DELETE /line ? user=alice type=application/json len=2" },
        { "OPTIONS", "/line", NULL, "OPTIONS /line ? user=alice type=application/json len=0" },
        { "POST", "/line", "", "POST /line ? user=alice type=application/json len=0" },
    };
    http_client_t *c = NULL;
    REQUIRE(start_with(2, 0));
    REQUIRE(http_client_new("test", &c, NULL) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        http_response_t rs;
        CHECK_INT(get(c, cases[i].path, cases[i].method, cases[i].body, cases[i].body ? strlen(cases[i].body) : 0, &rs),
                  200);
        CHECK_STR(buf_cstr(&rs.body), cases[i].want);
        http_response_free(&rs);
    }
    http_response_t rs;
    CHECK_INT(get(c, "/none", "GET", NULL, 0, &rs), 404);
    http_response_free(&rs);
    CHECK_INT(get(c, "/line", "HEAD", NULL, 0, &rs), 200);
    CHECK_INT(rs.body.len, 0);
    CHECK(http_response_header(&rs, "content-length") && atoi(http_response_header(&rs, "content-length")) > 0);
    http_response_free(&rs);
    http_client_free(c);
    stop();
}

static void test_bodies(void) {
    http_client_t *c = NULL;
    http_response_t rs;
    size_t len = 4u << 20;
    char *body = malloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)(i % 253);
    REQUIRE(start_with(2, 0));
    REQUIRE(http_client_new("test", &c, NULL) == 0);
    CHECK_INT(get(c, "/echo", "POST", body, len, &rs), 200);
    CHECK(rs.body.len == len && memcmp(rs.body.data, body, len) == 0);
    http_response_free(&rs);
    CHECK_INT(get(c, "/big", "GET", NULL, 0, &rs), 200);
    CHECK_INT(rs.body.len, 3u << 20);
    CHECK(rs.body.len && (unsigned char)rs.body.data[1000003] == 1000003u * 7 % 251);
    http_response_free(&rs);
    CHECK_INT(get(c, "/fd", "GET", NULL, 0, &rs), 200);
    CHECK_INT(rs.body.len, 999980);
    CHECK(rs.body.len && memcmp(rs.body.data, "000000001\n", 10) == 0);
    http_response_free(&rs);
    CHECK_INT(get(c, "/upload", "POST", body, len, &rs), 200);
    CHECK_STR(buf_cstr(&rs.body), "file size=4194304");
    http_response_free(&rs);
    http_client_free(c);
    free(body);
    stop();
}

static void test_keep_alive(void) {
    REQUIRE(start_with(2, 0));
    int fd = dial();
    REQUIRE(fd >= 0);
    for (int i = 0; i < 3; i++) {
        const char *got = talk(fd, "GET /line HTTP/1.1\r\nHost: x\r\n\r\n", "len=0");
        CHECK_CONTAINS(got, "HTTP/1.1 200 OK");
        CHECK(!strstr(got, "Connection: close"));
    }
    /* two at once: the second waits for its turn */
    CHECK_CONTAINS(
        talk(fd, "GET /line?n=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /line?n=2 HTTP/1.1\r\nHost: x\r\n\r\n", "?n=2"), "?n=1");
    CHECK_CONTAINS(talk(fd, "GET /line HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL), "Connection: close");
    close(fd);
    stop();
}

static void test_refusals(void) {
    static const struct {
        const char *request, *want;
    } cases[] = {
        { "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 " },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n", "HTTP/1.1 413 " },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n", "HTTP/1.1 400 " },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 " },
        { "POST /line HTTP/1.1\r\nHost: x\r\n\r\n", "len=0" },
        { "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
          "HTTP/1.1 100 Continue" },
    };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial();
        REQUIRE(fd >= 0);
        CHECK_CONTAINS(talk(fd, cases[i].request, cases[i].want), cases[i].want);
        close(fd);
    }
    stop();
}

static void test_queue_full(void) {
    REQUIRE(start_with(1, 1));
    int fds[3];
    for (int i = 0; i < 3; i++)
        REQUIRE((fds[i] = dial()) >= 0);
    const char *ask = "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";
    CHECK(send(fds[0], ask, strlen(ask), MSG_NOSIGNAL) > 0);
    wait_for(&handled, 1);
    CHECK(send(fds[1], ask, strlen(ask), MSG_NOSIGNAL) > 0); /* waits in the queue */
    usleep(200000);
    const char *got = talk(fds[2], ask, "Retry-After");
    CHECK_CONTAINS(got, "HTTP/1.1 503 ");
    CHECK_CONTAINS(got, "Retry-After: 1");
    set_gate(true);
    CHECK_CONTAINS(read_until(fds[0], "late"), "200 OK");
    CHECK_CONTAINS(read_until(fds[1], "late"), "200 OK");
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    stop();
}

/* ---- streams ---- */
static void test_stream(void) {
    REQUIRE(start_with(2, 0));
    int fd = dial();
    stream_budget = 1;
    CHECK_CONTAINS(talk(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "piece 0\n"), "Transfer-Encoding: chunked");
    stream_budget = 2;
    service.transport->stream_wake(service.transport->impl, last_stream);
    CHECK_CONTAINS(read_until(fd, "piece 1\n"), "8\r\npiece 1\n\r\n");
    stream_budget = 1000;
    service.transport->stream_wake(service.transport->impl, last_stream);
    CHECK_CONTAINS(read_until(fd, "0\r\n\r\n"), "piece 999\n");
    CHECK_CONTAINS(talk(fd, "GET /line HTTP/1.1\r\nHost: x\r\n\r\n", "len=0"),
                   "200 OK"); /* the connection is still good */
    wait_for(&streams_closed, 1);
    close(fd);
    stop();
}

static void test_stream_disconnect(void) {
    REQUIRE(start_with(2, 0));
    int fd = dial();
    stream_budget = 1;
    CHECK_CONTAINS(talk(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "piece 0\n"), "200 OK");
    close(fd);
    wait_for(&streams_closed, 1);
    service.transport->stream_wake(service.transport->impl, last_stream); /* nobody there: nothing happens */
    stop();
}

/* ---- websockets ---- */
static void test_ws(void) {
    struct client c;
    char *big = malloc(100000);
    memset(big, 'x', 100000);
    REQUIRE(start_with(4, 0));
    REQUIRE(client_start(&c, "/ws", "job-ids, acks"));
    wait_for(&c.messages, 1);
    CHECK_INT(ws_conn_send(c.loop, c.conn, big, 100000, false), 0);
    wait_for(&c.messages, 2);
    CHECK_INT(c.last_len, 100000);
    CHECK(!c.last_binary);
    big[5] = '\0';
    CHECK_INT(ws_conn_send(c.loop, c.conn, big, 100000, true), 0);
    wait_for(&c.messages, 3);
    CHECK(c.last_binary && c.last_len == 100000);
    CHECK_INT(service.transport->ws_send(service.transport->impl, last_ws, "from outside", 12, 0), 0);
    wait_for(&c.messages, 4);
    CHECK_STR(c.last, "from outside");
    CHECK_INT(ws_conn_send(c.loop, c.conn, "close", 5, false), 0);
    client_end(&c);
    CHECK_INT(c.opened, 1);
    CHECK_STR(c.extensions, "job-ids");
    CHECK_INT(c.code, 4001);
    CHECK_STR(c.reason, "as asked");
    wait_for(&ws_closed_count, 1);
    CHECK_INT(service.transport->ws_send(service.transport->impl, last_ws, "x", 1, 0), OSMO_ENOTFOUND);
    free(big);
    stop();
}

static void test_ws_order(void) {
    struct client c;
    REQUIRE(start_with(4, 0));
    REQUIRE(client_start(&c, "/ws", NULL));
    wait_for(&c.messages, 1);
    for (int i = 0; i < 5000; i++) {
        char text_n[32];
        int len = snprintf(text_n, sizeof text_n, "n%d", i);
        CHECK_INT(ws_conn_send(c.loop, c.conn, text_n, (size_t)len, false), 0);
    }
    wait_for(&c.messages, 5001);
    CHECK(c.in_order);
    CHECK_INT(ws_conn_queued(c.loop, c.conn), 0);
    ws_conn_close(c.loop, c.conn, 1000, "done");
    client_end(&c);
    CHECK_STR(c.extensions, "");
    CHECK_INT(c.code, 1000);
    wait_for(&ws_closed_count, 1);
    stop();
}

static void test_ws_refused(void) {
    struct client c;
    REQUIRE(start_with(2, 0));
    REQUIRE(client_start(&c, "/other", NULL));
    client_end(&c);
    CHECK_INT(c.opened, 0);
    CHECK_INT(c.code, 1006);
    CHECK_INT(c.http_status, 403);
    int fd = dial();
    CHECK_CONTAINS(talk(fd, "GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", NULL),
                   "{\"detail\":\"no\"}");
    close(fd);
    stop();
}

/* What a session looks up when it opens holds up a worker and nobody else. Messages wait for it in order; a client that leaves
 * meanwhile ends its session afterwards, with what it had sent. */
static void test_ws_slow_open(void) {
    struct client stays, leaves, other;
    http_client_t *h = NULL;
    http_response_t rs;
    REQUIRE(start_with(4, 0));
    REQUIRE(http_client_new("test", &h, NULL) == 0);
    REQUIRE(client_start(&stays, "/ws/slow", NULL));
    REQUIRE(client_start(&leaves, "/ws/slow", NULL));
    wait_for(&ws_opened_count, 2);
    for (int i = 0; i < 300; i++) {
        char text_n[32];
        int len = snprintf(text_n, sizeof text_n, "n%d", i);
        CHECK_INT(ws_conn_send(stays.loop, stays.conn, text_n, (size_t)len, false), 0);
    }
    CHECK_INT(ws_conn_send(leaves.loop, leaves.conn, "n0", 2, false), 0);
    ws_conn_close(leaves.loop, leaves.conn, 1000, "done");
    client_end(&leaves);
    REQUIRE(client_start(&other, "/ws", NULL));
    wait_for(&other.messages, 1);
    CHECK_INT(get(h, "/line", "GET", NULL, 0, &rs), 200);
    http_response_free(&rs);
    CHECK_INT(stays.messages, 0);
    CHECK_INT(ws_closed_count, 0);
    set_gate(true);
    wait_for(&stays.messages, 301);
    CHECK(stays.in_order);
    wait_for(&ws_closed_count, 1);
    ws_conn_close(stays.loop, stays.conn, 1000, "done");
    ws_conn_close(other.loop, other.conn, 1000, "done");
    client_end(&stays);
    client_end(&other);
    wait_for(&ws_closed_count, 3);
    http_client_free(h);
    stop();
}

/* ---- life ---- */
static void *stop_thread(void *arg) {
    (void)arg;
    osmo_server_stop(server, 5000);
    return NULL;
}

static void test_stop_drains(void) {
    struct client c;
    pthread_t t;
    REQUIRE(start_with(2, 0));
    REQUIRE(client_start(&c, "/ws", NULL));
    wait_for(&c.messages, 1);
    int fd = dial(), idle = dial(), follow = dial();
    const char *ask = "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n";
    stream_budget = 1;
    CHECK_CONTAINS(talk(follow, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", "piece 0\n"), "200 OK");
    int before = handled;
    CHECK(send(fd, ask, strlen(ask), MSG_NOSIGNAL) > 0);
    wait_for(&handled, before + 1);
    REQUIRE(pthread_create(&t, NULL, stop_thread, NULL) == 0);
    client_end(&c);
    CHECK_INT(c.code, 1001);
    set_gate(true);
    CHECK_CONTAINS(read_until(fd, NULL), "late"); /* the running request still got its answer */
    pthread_join(t, NULL);
    CHECK_INT(streams_closed, 1);
    CHECK_INT(ws_closed_count, 1);
    close(fd);
    close(idle);
    close(follow);
    stop();
}

static void test_port_in_use(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char where[64];
    osmo_server_t *second = NULL;
    REQUIRE(start_with(1, 0));
    snprintf(where, sizeof where, "127.0.0.1:%d", osmo_server_port(server));
    osmo_server_options_t o = { .size = sizeof o, .listen = where };
    CHECK_INT(osmo_server_open(&o, &second, &err), OSMO_EBUSY);
    CHECK_CONTAINS(err.text, "is in use: choose another with --listen ADDR:PORT");
    static const char *const bad[] = { "8000",        "127.0.0.1", "127.0.0.1:",  "127.0.0.1:99999",
                                       "127.0.0.1:x", ":1",        "300.1.1.1:80" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.listen = bad[i];
        CHECK_INT(osmo_server_open(&o, &second, &err), OSMO_EINVAL);
    }
    stop();
}

static void test_open_and_free(void) {
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0" };
    osmo_server_t *s = NULL;
    REQUIRE(osmo_server_open(&o, &s, NULL) == 0);
    CHECK(osmo_server_port(s) > 0);
    osmo_server_free(s);
    osmo_server_free(NULL);
}

/* ---- the same over TLS ---- */
static void use_tls(void) {
    static char dir[64], cert[80], key[80], ca[80];
    strcpy(dir, "/tmp/test_server_tls_XXXXXX");
    REQUIRE(mkdtemp(dir) != NULL);
    if (!tls_make_ca(dir) || !tls_make_cert(dir, "server", "DNS:localhost,IP:127.0.0.1", 30)) {
        fprintf(stderr, "# the command openssl makes no certificates: nothing is tried over TLS\n");
        return;
    }
    snprintf(cert, sizeof cert, "%s/server.pem", dir);
    snprintf(key, sizeof key, "%s/server.key", dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    tls_cert = cert;
    tls_key = key;
    tls_ca = ca;
    CHECK(http_trust(ca, NULL) == 0);
    tls_dir = dir;
}

static void end_tls(void) {
    if (tls_dir)
        CHECK(dir_remove_tree(tls_dir, NULL) == 0);
    tls_cert = tls_key = tls_ca = tls_dir = NULL;
    http_trust(NULL, NULL);
}

static const struct check_test tests[] = {
    { "open and free", test_open_and_free },
    { "requests of every method", test_requests },
    { "keep-alive and pipelining", test_keep_alive },
    { "large bodies, files, descriptors", test_bodies },
    { "refusals", test_refusals },
    { "a full queue answers 503", test_queue_full },
    { "stream with wakes", test_stream },
    { "stream whose client leaves", test_stream_disconnect },
    { "websocket echo, extensions, close", test_ws },
    { "websocket order", test_ws_order },
    { "websocket refused", test_ws_refused },
    { "websocket that opens slowly", test_ws_slow_open },
    { "stop drains", test_stop_drains },
    { "port in use and bad addresses", test_port_in_use },
    { "certificates", use_tls },
    { "TLS: requests of every method", test_requests },
    { "TLS: keep-alive and pipelining", test_keep_alive },
    { "TLS: large bodies, files, descriptors", test_bodies },
    { "TLS: refusals", test_refusals },
    { "TLS: stream with wakes", test_stream },
    { "TLS: stream whose client leaves", test_stream_disconnect },
    { "TLS: websocket echo, extensions, close", test_ws },
    { "TLS: websocket order", test_ws_order },
    { "TLS: websocket refused", test_ws_refused },
    { "TLS: websocket that opens slowly", test_ws_slow_open },
    { "TLS: stop drains", test_stop_drains },
    { "no certificates", end_tls },
};
TEST_MAIN("server", tests)
