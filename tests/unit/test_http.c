/* The HTTP client against a scripted peer, and the URL helpers. */
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/http.h"
#include "peer.h"

static int ask(http_client_t *c, int port, http_request_t *rq, http_response_t *rs, osmo_error_t *err) {
    static char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/path?q=1", port);
    rq->url = url;
    rq->timeout_ms = rq->timeout_ms ? rq->timeout_ms : 10000;
    return http_perform(c, rq, rs, err);
}

#define ANSWER(body) "HTTP/1.1 200 OK\r\nX-Mark:  yes \r\nContent-Length: " body

static void test_requests(void) {
    static const char *const answers[] = {
        ANSWER("5\r\n\r\nhello"),
        "HTTP/1.1 100 Continue\r\n\r\n" ANSWER("0\r\n\r\n"),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        ANSWER("5\r\n\r\nhello"),
        NULL
    };
    static const char *const headers[] = { "Authorization: Bearer t", NULL };
    static struct peer p;
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(peer_start(&p, answers));
    REQUIRE(http_client_new("unit/1", &c, &err) == 0);
    http_request_t rq = { .method = "GET", .headers = headers };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    CHECK_INT(rs.status, 200);
    CHECK_STR(buf_cstr(&rs.body), "hello");
    CHECK_STR(http_response_header(&rs, "x-mark"), "yes");
    CHECK(!http_response_header(&rs, "x-mar"));
    http_response_free(&rs);
    rq = (http_request_t){ .method = "POST", .body = "{\"a\":1}", .body_len = 7 };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    CHECK_INT(rs.status, 200);
    http_response_free(&rs);
    rq = (http_request_t){ .method = "DELETE" };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    CHECK_INT(rs.status, 404);
    http_response_free(&rs);
    rq = (http_request_t){ .method = "POST" };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    CHECK_INT(rs.status, 302); /* never followed */
    http_response_free(&rs);
    rq = (http_request_t){ .method = "GET", .max_response = 4 };
    CHECK_INT(ask(c, p.port, &rq, &rs, &err), OSMO_ELIMIT);
    http_response_free(&rs);
    http_client_free(c);
    peer_end(&p);
    CHECK_INT(p.connections, 1); /* kept alive throughout */
    CHECK_CONTAINS(p.got, "GET /path?q=1 HTTP/1.1\r\n");
    CHECK_CONTAINS(p.got, "Authorization: Bearer t\r\n");
    CHECK_CONTAINS(p.got, "User-Agent: unit/1\r\n");
    CHECK_CONTAINS(p.got, "\r\n\r\n{\"a\":1}");
    CHECK_CONTAINS(p.got, "Content-Length: 0\r\n");
    CHECK(!strstr(p.got, "Expect:"));
}

struct pieces { char text[64]; int calls, stop_after, status_seen; int *status; };

static bool on_piece(void *ctx, const char *data, size_t len) {
    struct pieces *p = ctx;
    p->calls++;
    p->status_seen = *p->status;
    strncat(p->text, data, len < 30 ? len : 30);
    return !p->stop_after || p->calls < p->stop_after;
}

static void test_streaming(void) {
    static const char chunked[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    static const char *const answers[] = { chunked, chunked, NULL };
    static struct peer p;
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    int status = 0;
    struct pieces got = { .status = &status };
    REQUIRE(peer_start(&p, answers));
    REQUIRE(http_client_new(NULL, &c, &err) == 0);
    http_request_t rq = { .method = "GET", .on_data = on_piece, .ctx = &got, .status_out = &status };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    CHECK_STR(got.text, "abcdef");
    CHECK_INT(got.status_seen, 200);
    CHECK_INT(rs.body.len, 0);
    http_response_free(&rs);
    got = (struct pieces){ .status = &status, .stop_after = 1 };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err); /* stopped by the caller: no error */
    CHECK_INT(got.calls, 1);
    http_response_free(&rs);
    http_client_free(c);
    peer_end(&p);
}

static void test_upload(void) {
    static const char *const answers[] = { ANSWER("0\r\n\r\n"), NULL };
    static struct peer p;
    char path[] = "/tmp/test_http_XXXXXX";
    int fd = mkstemp(path);
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(fd >= 0 && peer_start(&p, answers) && http_client_new(NULL, &c, &err) == 0);
    for (int i = 0; i < 10000; i++)
        dprintf(fd, "%08d\n", i);
    lseek(fd, 0, SEEK_SET);
    http_request_t rq = { .method = "PUT", .upload = true, .upload_fd = fd, .upload_len = 90000 };
    CHECK_OK(ask(c, p.port, &rq, &rs, &err), &err);
    http_response_free(&rs);
    http_client_free(c);
    peer_end(&p);
    CHECK_CONTAINS(p.got, "PUT /path?q=1 HTTP/1.1");
    CHECK_CONTAINS(p.got, "Content-Length: 90000\r\n");
    CHECK_CONTAINS(p.got, "\n00009999\n");
    close(fd);
    unlink(path);
}

static void test_failures(void) {
    static const char *const answers[] = { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc",
                                           NULL };
    static struct peer p;
    static const char *const broken[] = { "X: a\r\nY: b", NULL };
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(peer_start(&p, answers) && http_client_new(NULL, &c, &err) == 0);
    http_request_t rq = { .method = "GET" };
    CHECK_INT(ask(c, p.port, &rq, &rs, &err), OSMO_EIO); /* cut short */
    http_response_free(&rs);
    peer_end(&p);
    CHECK_INT(ask(c, p.port, &rq, &rs, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "connection refused by 127.0.0.1:");
    CHECK_CONTAINS(err.text, ": is osmo-service running?");
    http_response_free(&rs);
    rq.headers = broken;
    CHECK_INT(ask(c, p.port, &rq, &rs, &err), OSMO_EINVAL);
    http_response_free(&rs);
    static const char *const urls[] = {
        "file:///etc/passwd", "ftp://x/", "ws://x/", "http://", "http://user:pw@x/", "x"
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        http_request_t bad = { .method = "GET", .url = urls[i] };
        CHECK_INT(http_perform(c, &bad, &rs, &err), OSMO_EINVAL);
        http_response_free(&rs);
    }
    http_client_free(c);
    http_client_free(NULL);
}

static void test_timeout(void) {
    int port;
    int fd = check_listen(&port);
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(fd >= 0);
    REQUIRE(http_client_new(NULL, &c, &err) == 0);
    http_request_t rq = { .method = "GET", .timeout_ms = 50 };
    CHECK_INT(ask(c, port, &rq, &rs, &err), OSMO_ETIMEOUT); /* nobody accepts */
    http_response_free(&rs);
    http_client_free(c);
    close(fd);
}

/* The proxy that the environment names is for what is far away: not for this machine, nor where the caller knows better. */
static void test_proxy(void) {
    static const struct { const char *host; bool direct; int rc; } cases[] = {
        { "127.0.0.1", false, 0 }, { "0x7f000001", false, OSMO_EUNAVAIL }, { "0x7f000001", true, 0 },
    };
    static const char *const answers[] = { ANSWER("0\r\n\r\n"), ANSWER("0\r\n\r\n"), NULL };
    static struct peer p;
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    int port, closed = check_listen(&port);
    char url[64];
    REQUIRE(closed >= 0 && peer_start(&p, answers));
    close(closed); /* nobody listens there now */
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    setenv("http_proxy", url, 1);
    REQUIRE(http_client_new("unit/1", &c, &err) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(url, sizeof url, "http://%s:%d/", cases[i].host, p.port);
        http_request_t rq = { .method = "GET", .url = url, .direct = cases[i].direct, .timeout_ms = 10000 };
        CHECK_INT(http_perform(c, &rq, &rs, &err), cases[i].rc);
        http_response_free(&rs);
    }
    unsetenv("http_proxy");
    http_client_free(c);
    peer_end(&p);
}

static void test_urls(void) {
    static const struct { const char *url, *scheme, *host; int port; const char *path; } good[] = {
        { "http://h", "http", "h", 80, "/" }, { "https://h:8443/a/b?c=d#e", "https", "h", 8443, "/a/b?c=d" },
        { "ws://[::1]:9000?x", "ws", "::1", 9000, "/?x" }, { "WSS://h/", "wss", "h", 443, "/" },
    };
    static const char *const bad[] = {
        "", "h:80", "http://h:0/", "http://h:65536/", "http://h:8a/", "http://[::1", "http://h/a b"
    };
    url_parts_t u;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_INT(url_parse(good[i].url, &u, NULL), 0);
        CHECK_STR(u.scheme, good[i].scheme);
        CHECK_STR(u.host, good[i].host);
        CHECK_INT(u.port, good[i].port);
        CHECK_STR(u.path, good[i].path);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_INT(url_parse(bad[i], &u, NULL), OSMO_EINVAL);
}

static void test_escapes(void) {
    static const struct { const char *text; bool plus; const char *want; } good[] = {
        { "a%20b+c", true, "a b c" }, { "a%20b+c", false, "a b+c" }, { "%C3%a4", false, "\xc3\xa4" }, { "", false, "" },
    };
    static const char *const bad[] = { "%", "%1", "%zz", "%00", "a%2" };
    _cleanup_buf_ buf_t e = BUF_INIT(100);
    CHECK_INT(url_encode("a b/\xc3\xa4-._~", &e), 0);
    CHECK_STR(buf_cstr(&e), "a%20b%2F%C3%A4-._~");
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        _cleanup_buf_ buf_t d = BUF_INIT(100);
        CHECK_INT(url_decode(good[i].text, strlen(good[i].text), good[i].plus, &d), 0);
        CHECK_STR(buf_cstr(&d), good[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        _cleanup_buf_ buf_t d = BUF_INIT(100);
        CHECK_INT(url_decode(bad[i], strlen(bad[i]), false, &d), OSMO_EINVAL);
    }
}

/* ---- ends that others make ---- */

struct asking { http_client_t *c; int port, rc; enum http_fate fate; };

static void *ask_alone(void *arg) {
    struct asking *a = arg;
    http_request_t rq = { .method = "GET", .timeout_ms = 600000 };
    http_response_t rs;
    a->rc = ask(a->c, a->port, &rq, &rs, NULL);
    a->fate = rs.fate;
    http_response_free(&rs);
    return NULL;
}

/* Nobody answers: at once the end when another thread says so, whether the request waits already or not yet. */
static void test_cancel(void) {
    struct asking a = { .rc = 1 };
    int fd = check_listen(&a.port);
    pthread_t thread;
    REQUIRE(fd >= 0 && http_client_new(NULL, &a.c, NULL) == 0);
    REQUIRE(pthread_create(&thread, NULL, ask_alone, &a) == 0);
    int taken = accept(fd, NULL, NULL);
    http_client_cancel(a.c);
    pthread_join(thread, NULL);
    CHECK_INT(a.rc, OSMO_ECONFLICT);
    CHECK_INT(a.fate, HTTP_CANCELLED);
    ask_alone(&a);
    CHECK_INT(a.rc, OSMO_ECONFLICT);
    http_client_free(a.c);
    close(taken);
    close(fd);
}

static bool set_idle(void *ctx, const char *data, size_t len) {
    (void)data;
    http_client_set_idle(ctx, 20);
    return len > 0;
}

/* A stream that goes quiet, and one that is given less patience while it runs. */
static void test_idle(void) {
    int port;
    int fd = check_listen(&port);
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(fd >= 0 && http_client_new(NULL, &c, NULL) == 0);
    http_request_t rq = { .method = "GET", .timeout_ms = 600000, .idle_ms = 300 };
    CHECK_INT(ask(c, port, &rq, &rs, &err), OSMO_ETIMEOUT);
    CHECK_INT(rs.fate, HTTP_LATE);
    CHECK_CONTAINS(err.text, "said nothing for 300 ms");
    http_response_free(&rs);
    close(fd);
    static struct peer p;
    static const char *const answers[] = { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "never", NULL };
    REQUIRE(peer_start(&p, answers));
    rq = (http_request_t){ .method = "GET", .timeout_ms = 600000, .idle_ms = 500000, .on_data = set_idle, .ctx = c };
    CHECK_INT(ask(c, p.port, &rq, &rs, &err), OSMO_ETIMEOUT);
    CHECK_INT(rs.status, 200);
    http_response_free(&rs);
    http_client_free(c);
    shutdown(p.listen_fd, SHUT_RDWR); /* the second answer is not asked for */
    peer_end(&p);
}

/* What became of a request, and the words for servers that are not osmo-service. */
static void test_fates(void) {
    static const struct { const char *answer; enum http_fate fate; int rc; } cases[] = {
        { "", HTTP_UNREACHED, OSMO_EUNAVAIL },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc", HTTP_CUT, OSMO_EIO },
        { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", HTTP_ANSWERED, 0 },
        { "Connection: close no HTTP at all\r\n\r\n", HTTP_UNUSABLE, OSMO_EIO },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct peer p;
        const char *const answers[] = { cases[i].answer[0] ? cases[i].answer : NULL, NULL };
        http_client_t *c = NULL;
        http_response_t rs;
        osmo_error_t err = OSMO_ERROR_INIT;
        REQUIRE(peer_start(&p, answers) && http_client_new(NULL, &c, NULL) == 0);
        if (!answers[0])
            peer_end(&p);
        http_client_set_hints(c, "is the registry up?", NULL);
        http_request_t rq = { .method = "GET" };
        CHECK_INT(ask(c, p.port, &rq, &rs, &err), cases[i].rc);
        CHECK_INT(rs.fate, cases[i].fate);
        CHECK(!strstr(err.text, "osmo-service"));
        if (!answers[0])
            CHECK_CONTAINS(err.text, ": is the registry up?");
        http_response_free(&rs);
        http_client_free(c);
        if (answers[0])
            peer_end(&p);
    }
}

/* Other certificates: what was kept alive with the old ones is not used again. */
static void test_new_tls(void) {
    static const char *const answers[] = { ANSWER("0\r\n\r\n"), ANSWER("0\r\n\r\n"), ANSWER("0\r\n\r\n"), NULL };
    static struct peer p;
    http_client_t *c = NULL;
    http_response_t rs;
    REQUIRE(peer_start(&p, answers) && http_client_new(NULL, &c, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        http_request_t rq = { .method = "GET" };
        if (i == 2)
            CHECK_INT(http_client_set_tls(c, &(http_tls_t){ .ca_pem = "x", .key_pem = "y", .server_name = "z" }, NULL), 0);
        CHECK_INT(ask(c, p.port, &rq, &rs, NULL), 0);
        http_response_free(&rs);
    }
    http_client_free(c);
    peer_end(&p);
    CHECK_INT(p.connections, 2);
}

static void test_long_url(void) {
    static const char *const answers[] = { ANSWER("0\r\n\r\n"), NULL };
    static struct peer p;
    char url[9000];
    http_client_t *c = NULL;
    http_response_t rs;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(peer_start(&p, answers) && http_client_new(NULL, &c, NULL) == 0);
    int n = snprintf(url, sizeof url, "http://127.0.0.1:%d/a?q=", p.port);
    memset(url + n, 'x', 8000);
    memcpy(url + n + 8000, "END", 4);
    http_request_t rq = { .method = "GET", .url = url, .timeout_ms = 10000 };
    CHECK_OK(http_perform(c, &rq, &rs, &err), &err);
    http_response_free(&rs);
    memcpy(url + n + 8000, "\nX", 3);
    CHECK_INT(http_perform(c, &rq, &rs, &err), OSMO_EINVAL);
    http_response_free(&rs);
    http_client_free(c);
    peer_end(&p);
    CHECK_CONTAINS(p.got, "xxxEND HTTP/1.1\r\n");
}

static const struct check_test tests[] = {
    { "requests, keep-alive, cap", test_requests },
    { "streaming", test_streaming },
    { "upload from a descriptor", test_upload },
    { "failures", test_failures },
    { "timeout", test_timeout },
    { "proxies", test_proxy },
    { "cancelled", test_cancel },
    { "idle", test_idle },
    { "fates", test_fates },
    { "new certificates", test_new_tls },
    { "long URLs", test_long_url },
    { "URLs", test_urls },
    { "escapes", test_escapes },
};
TEST_MAIN("http", tests)
