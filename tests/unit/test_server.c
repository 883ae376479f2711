/* The network front against a small service of its own, over real loopback sockets: HTTP, bodies, streams, websockets,
 * stop. */
#include "check.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/http.h"
#include "base/ws_client.h"
#include "osmo/server.h"

/* ---- the service under the server: echoes, sleeps, streams ---- */
struct osmo_service { const osmo_transport_t *transport; };
struct osmo_stream { uint64_t id; int pieces; };
struct osmo_ws { uint64_t conn; int count; bool slow; };

static osmo_server_t *server;
static struct osmo_service service;
static char base[64], spool[64];
static atomic_int streams_closed, ws_opened_count, ws_closed_count, handled;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static atomic_int stream_budget; /* pieces a stream may give before it says "nothing now" */
static _Atomic uint64_t last_stream, last_ws;

static char *dup_n(const char *s, size_t n) {
    char *p = malloc(n + 1);
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

static void text(osmo_response_t *r, int status, const char *body) {
    r->status = status;
    r->content_type = strdup("text/plain");
    r->body = strdup(body);
    r->body_len = strlen(body);
}

static const char *find_header(const osmo_request_t *rq, const char *name) {
    for (size_t i = 0; rq->headers[i]; i += 2) {
        if (!strcmp(rq->headers[i], name))
            return rq->headers[i + 1];
    }
    return "-";
}

static void wait_gate(void) {
    pthread_mutex_lock(&gate_lock);
    while (!gate_open)
        pthread_cond_wait(&gate_cond, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static void set_gate(bool open) {
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_cond);
    pthread_mutex_unlock(&gate_lock);
}

static void file_answer(const osmo_request_t *rq, osmo_response_t *r) {
    struct stat st;
    char line[600];
    snprintf(line, sizeof line, "%s size=%lld", rq->body_file ? "file" : "memory",
             rq->body_file && stat(rq->body_file, &st) == 0 ? (long long)st.st_size : (long long)rq->body_len);
    text(r, 200, line);
}

void osmo_service_handle(osmo_service_t *s, const osmo_request_t *rq, osmo_response_t *r) {
    (void)s;
    handled++;
    r->body_fd = -1;
    if (!strcmp(rq->path, "/echo")) {
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body = dup_n(rq->body ? rq->body : "", rq->body_len);
        r->body_len = rq->body_len;
    } else if (!strcmp(rq->path, "/line")) {
        char line[1024];
        snprintf(line, sizeof line, "%s %s ?%s user=%s type=%s len=%zu", rq->method, rq->path, rq->query,
                 find_header(rq, "x-osmo-user"), find_header(rq, "content-type"), rq->body_len);
        text(r, 200, line);
    } else if (!strcmp(rq->path, "/big")) {
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body_len = 3u << 20;
        r->body = malloc(r->body_len);
        for (size_t i = 0; i < r->body_len; i++)
            r->body[i] = (char)(i * 7 % 251);
    } else if (!strcmp(rq->path, "/fd")) {
        char path[] = "/tmp/test_server_fd_XXXXXX";
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body_fd = mkstemp(path);
        unlink(path);
        for (int i = 0; i < 100000; i++)
            dprintf(r->body_fd, "%09d\n", i);
        r->body_fd_offset = 10;
        r->body_fd_len = 999980;
    } else if (!strcmp(rq->path, "/upload")) {
        file_answer(rq, r);
    } else if (!strcmp(rq->path, "/gate")) {
        wait_gate();
        text(r, 200, "late");
    } else if (!strcmp(rq->path, "/stream")) {
        r->status = 200;
        r->content_type = strdup("text/plain");
        r->stream = calloc(1, sizeof *r->stream);
        r->stream->id = rq->id;
        last_stream = rq->id;
    } else {
        text(r, 404, "{\"detail\":\"Not Found\"}");
    }
}

void osmo_response_clear(osmo_response_t *r) {
    free(r->content_type);
    free(r->body);
    if (r->body_fd >= 0)
        close(r->body_fd);
    if (r->stream) {
        free(r->stream);
        streams_closed++;
    }
    memset(r, 0, sizeof *r);
    r->body_fd = -1;
}

uint64_t osmo_service_body_limit(osmo_service_t *s, const char *method, const char *path, int *to_file) {
    (void)s, (void)method;
    *to_file = !strcmp(path, "/upload");
    return *to_file ? 64u << 20 : 4u << 20;
}

/* Pieces "piece N\n" while the budget lasts; 1000 and more ends the stream. */
ssize_t osmo_stream_read(osmo_stream_t *st, char *data, size_t max) {
    if (st->pieces >= 1000)
        return OSMO_EGONE;
    if (st->pieces >= stream_budget)
        return 0;
    return snprintf(data, max, "piece %d\n", st->pieces++);
}

void osmo_service_ws_open(osmo_service_t *s, const osmo_request_t *rq, uint64_t conn, osmo_ws_t **ws,
                          const char **extensions, osmo_response_t *r) {
    (void)s;
    bool slow = strcmp(rq->path, "/ws/slow") == 0;
    if ((!slow && strcmp(rq->path, "/ws") != 0) || strcmp(find_header(rq, "x-osmo-user"), "alice") != 0) {
        text(r, 403, "{\"detail\":\"no\"}");
        return;
    }
    *ws = calloc(1, sizeof **ws);
    (*ws)->conn = conn;
    (*ws)->slow = slow;
    last_ws = conn;
    *extensions = strcmp(find_header(rq, "x-osmo-extensions"), "job-ids, acks") == 0 ? "job-ids" : NULL;
}

void osmo_ws_opened(osmo_ws_t *ws) {
    ws_opened_count++;
    if (ws->slow) /* as one that asks a database */
        wait_gate();
    service.transport->ws_send(service.transport->impl, ws->conn, "hello", 5, 0);
}

void osmo_ws_message(osmo_ws_t *ws, const void *data, size_t len, int binary) {
    ws->count++;
    if (len == 5 && !memcmp(data, "close", 5))
        service.transport->ws_close(service.transport->impl, ws->conn, 4001, "as asked");
    else
        service.transport->ws_send(service.transport->impl, ws->conn, data, len, binary);
}

void osmo_ws_closed(osmo_ws_t *ws) {
    free(ws);
    ws_closed_count++;
}

/* ---- helpers ---- */
static bool start_with(int workers, size_t max_queue) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0", .workers = workers, .max_queue = max_queue,
                                .spool_dir = spool };
    strcpy(spool, "/tmp/test_server_XXXXXX");
    if (!mkdtemp(spool))
        return false;
    if (osmo_server_open(&o, &server, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    service.transport = osmo_server_transport(server);
    streams_closed = ws_opened_count = ws_closed_count = handled = 0;
    stream_budget = 0;
    set_gate(false);
    snprintf(base, sizeof base, "http://127.0.0.1:%d", osmo_server_port(server));
    return osmo_server_start(server, &service, &err) == 0;
}

static void stop(void) {
    osmo_server_stop(server, 2000);
    osmo_server_free(server);
    server = NULL;
    CHECK(rmdir(spool) == 0); /* fails when a spooled body was left behind */
}

static int dial(void) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)osmo_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

/* Read until `mark` was seen or the peer closes. */
static char *read_until(int fd, const char *mark) {
    static char got[65536];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, got + len, sizeof got - 1 - len);
        if (n > 0)
            len += (size_t)n;
        got[len] = '\0';
        if (n <= 0 || (mark && strstr(got, mark)))
            return got;
    }
}

static char *talk(int fd, const char *request, const char *mark) {
    CHECK_INT(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return read_until(fd, mark);
}

static void wait_for(atomic_int *value, int want) {
    for (int i = 0; i < 1000 && *value < want; i++)
        usleep(10000);
    CHECK_INT(*value, want);
}

static int get(http_client_t *c, const char *path, const char *method, const void *body, size_t len,
               http_response_t *rs) {
    char url[256];
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char *const headers[] = { "X-Osmo-User: alice", "Content-Type: application/json", NULL };
    snprintf(url, sizeof url, "%s%s", base, path);
    http_request_t rq = {
        .method = method, .url = url, .headers = headers, .body = body, .body_len = len, .timeout_ms = 20000
    };
    int rc = http_perform(c, &rq, rs, &err);
    CHECK_OK(rc, &err);
    return rc < 0 ? rc : rs->status;
}

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
struct client {
    ws_loop_t *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    uint64_t conn;
    char extensions[64], last[64];
    int opened, closed, code, http_status;
    atomic_int messages;
    size_t last_len;
    bool last_binary, in_order;
    char reason[200];
};

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct client *c = ctx;
    c->opened++;
    CHECK_INT(conn, c->conn);
    snprintf(c->extensions, sizeof c->extensions, "%s", extensions);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct client *c = ctx;
    (void)conn;
    char want[32];
    snprintf(want, sizeof want, "n%d", c->messages - 1);
    if (c->messages > 0 && strcmp(want, data) != 0)
        c->in_order = false;
    snprintf(c->last, sizeof c->last, "%.60s", data);
    c->last_len = len;
    c->last_binary = binary;
    c->messages++;
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct client *c = ctx;
    (void)conn;
    c->closed++;
    c->code = code;
    c->http_status = http_status;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    ws_loop_stop(c->loop);
}

static void *client_main(void *ctx) {
    ws_loop_run(((struct client *)ctx)->loop);
    return NULL;
}

static bool client_start(struct client *c, const char *path, const char *extensions) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed };
    static const char *const headers[] = { "X-Osmo-User: alice", "Authorization: Bearer t", NULL };
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[128];
    memset(c, 0, sizeof *c);
    c->in_order = true;
    snprintf(url, sizeof url, "%s%s", base, path);
    if (ws_loop_new(&c->loop, &err) < 0)
        return false;
    ws_options_t o = { .url = url, .headers = headers, .extensions = extensions };
    if (ws_connect(c->loop, &o, &handlers, c, &c->conn, &err) < 0)
        return false;
    return pthread_create(&c->thread, NULL, client_main, c) == 0;
}

static void client_end(struct client *c) {
    pthread_join(c->thread, NULL);
    ws_loop_free(c->loop);
    CHECK_INT(c->closed, 1);
}

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
};
TEST_MAIN("server", tests)
