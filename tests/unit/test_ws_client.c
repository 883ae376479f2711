/* The websocket client's loop and its failures, against scripted peers; echo, order and extensions are in
 * test_server.c. */
#include "check.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "base/http.h"
#include "base/ws_client.h"
#include "kube_server.h"
#include "tls_fixture.h"

struct peer { int fd, port; const char *answer; pthread_t thread; char got[8192]; };

static void *peer_main(void *arg) {
    struct peer *p = arg;
    int fd = accept(p->fd, NULL, NULL);
    size_t len = 0;
    ssize_t n;
    while (!strstr(p->got, "\r\n\r\n") && (n = read(fd, p->got + len, sizeof p->got - 1 - len)) > 0)
        len += (size_t)n;
    if (p->answer && send(fd, p->answer, strlen(p->answer), MSG_NOSIGNAL) > 0)
        while (read(fd, p->got + 4096, 4000) > 0)
            ;
    close(fd);
    return NULL;
}

static bool peer_start(struct peer *p, const char *answer) {
    memset(p, 0, sizeof *p);
    p->answer = answer;
    p->fd = check_listen(&p->port);
    return p->fd >= 0;
}

struct seen { ws_loop_t *loop; int opened, closed, code, status; char reason[200]; };

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    (void)conn, (void)extensions;
    ((struct seen *)ctx)->opened++;
}

static void on_closed(void *ctx, uint64_t conn, int code, int status, const char *reason) {
    struct seen *s = ctx;
    (void)conn;
    s->closed++;
    s->code = code;
    s->status = status;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    ws_loop_stop(s->loop);
}

static const ws_handlers_t handlers = { .opened = on_opened, .closed = on_closed };

static void run_to_end(struct seen *s, const char *url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char *const headers[] = { "Authorization: Bearer t", "Cookie: a=b", NULL };
    uint64_t conn = 0;
    memset(s, 0, sizeof *s);
    CHECK_OK(ws_loop_new(&s->loop, &err), &err);
    ws_options_t o = { .url = url, .headers = headers, .extensions = "acks" };
    CHECK_OK(ws_connect(s->loop, &o, &handlers, s, &conn, &err), &err);
    CHECK(conn != 0);
    CHECK_INT(s->closed, 0); /* never from inside ws_connect */
    ws_loop_run(s->loop);
    CHECK_INT(ws_conn_send(s->loop, conn, "x", 1, false), OSMO_ENOTFOUND);
    ws_loop_free(s->loop);
    CHECK_INT(s->opened, 0);
    CHECK_INT(s->closed, 1);
    CHECK_INT(s->code, 1006);
    CHECK(s->reason[0] != '\0');
}

static void test_refused_upgrades(void) {
    static const struct { const char *answer; int status; } cases[] = {
        { "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401 },
        { "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", 403 },
        { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 503 },
        { "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200 },
        { NULL, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct peer p;
        struct seen s;
        char url[64];
        REQUIRE(peer_start(&p, cases[i].answer) && pthread_create(&p.thread, NULL, peer_main, &p) == 0);
        snprintf(url, sizeof url, "ws://127.0.0.1:%d/a/b?c=d", p.port);
        run_to_end(&s, url);
        CHECK_INT(s.status, cases[i].status);
        pthread_join(p.thread, NULL);
        close(p.fd);
        CHECK_CONTAINS(p.got, "GET /a/b?c=d HTTP/1.1");
        CHECK_CONTAINS(p.got, "Authorization: Bearer t\r\n");
        CHECK_CONTAINS(p.got, "Cookie: a=b\r\n");
        CHECK_CONTAINS(p.got, "X-Osmo-Extensions: acks\r\n");
    }
}

static void test_nobody_listens(void) {
    static struct peer p;
    struct seen s;
    char url[64];
    REQUIRE(peer_start(&p, NULL));
    close(p.fd);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", p.port);
    run_to_end(&s, url);
    CHECK_INT(s.status, 0);
    CHECK_CONTAINS(s.reason, "cannot connect to 127.0.0.1:");
}

static void test_close_while_connecting(void) {
    static struct peer p; /* accepts nothing, so the upgrade never ends */
    struct seen s = { 0 };
    char url[64];
    uint64_t conn;
    REQUIRE(peer_start(&p, NULL) && ws_loop_new(&s.loop, NULL) == 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/", p.port);
    ws_options_t o = { .url = url, .max_queue = 100 };
    REQUIRE(ws_connect(s.loop, &o, &handlers, &s, &conn, NULL) == 0);
    char data[80] = "";
    CHECK_INT(ws_conn_send(s.loop, conn, data, 80, true), 0); /* queued until the connection is open */
    CHECK_INT(ws_conn_send(s.loop, conn, data, 80, true), OSMO_EBUSY);
    CHECK_INT(ws_conn_queued(s.loop, conn), 80);
    ws_conn_close(s.loop, conn, 1000, "changed my mind");
    CHECK_INT(ws_conn_send(s.loop, conn, data, 1, true), OSMO_ENOTFOUND);
    ws_loop_run(s.loop);
    CHECK_INT(s.closed, 1);
    CHECK_INT(s.code, 1000);
    ws_loop_free(s.loop);
    close(p.fd);
}

static void test_free_with_connections(void) {
    static struct peer p;
    struct seen s = { 0 };
    char url[64];
    uint64_t conn;
    REQUIRE(peer_start(&p, NULL) && ws_loop_new(&s.loop, NULL) == 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/", p.port);
    ws_options_t o = { .url = url };
    REQUIRE(ws_connect(s.loop, &o, &handlers, &s, &conn, NULL) == 0);
    ws_loop_stop(s.loop);
    ws_loop_run(s.loop);
    ws_loop_free(s.loop);
    CHECK_INT(s.closed, 1);
    close(p.fd);
}

/* ---- timers and wakes ---- */
struct clockwork { ws_loop_t *loop; char order[32]; uint64_t cancel; atomic_int wakes; };

static void note(struct clockwork *c, const char *mark) { strcat(c->order, mark); }
static void on_a(void *ctx) { note(ctx, "a"); }
static void on_x(void *ctx) { note(ctx, "x"); }
static void on_c(void *ctx) {
    note(ctx, "c");
    ws_loop_stop(((struct clockwork *)ctx)->loop);
}
static void on_b(void *ctx) {
    struct clockwork *c = ctx;
    note(c, "b");
    ws_loop_cancel(c->loop, c->cancel);
    CHECK(ws_loop_after(c->loop, 5, on_c, c) != 0);
}

static void test_timers(void) {
    struct clockwork c = { 0 };
    REQUIRE(ws_loop_new(&c.loop, NULL) == 0);
    c.cancel = ws_loop_after(c.loop, 60, on_x, &c);
    CHECK(ws_loop_after(c.loop, 20, on_b, &c) != 0);
    CHECK(ws_loop_after(c.loop, 1, on_a, &c) != 0);
    ws_loop_cancel(c.loop, 999);
    ws_loop_run(c.loop);
    CHECK_STR(c.order, "abc");
    ws_loop_free(c.loop);
    ws_loop_free(NULL);
}

static void on_wake(void *ctx) {
    struct clockwork *c = ctx;
    if (++c->wakes == 3)
        ws_loop_stop(c->loop);
}

static void *waker(void *arg) {
    struct clockwork *c = arg;
    for (int i = 0; i < 3; i++) {
        int before = c->wakes;
        ws_loop_wake(c->loop, on_wake, c);
        while (c->wakes == before)
            usleep(1000);
    }
    return NULL;
}

static void test_wakes(void) {
    struct clockwork c = { 0 };
    pthread_t t;
    REQUIRE(ws_loop_new(&c.loop, NULL) == 0 && pthread_create(&t, NULL, waker, &c) == 0);
    ws_loop_run(c.loop);
    pthread_join(t, NULL);
    CHECK_INT(c.wakes, 3);
    ws_loop_free(c.loop);
}

static void test_bad_options(void) {
    static const char *const broken[] = { "X: a\r\nY: b", NULL };
    ws_loop_t *l = NULL;
    uint64_t conn = 0;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(ws_loop_new(&l, NULL) == 0);
    ws_options_t o = { .url = "nonsense" };
    CHECK_INT(ws_connect(l, &o, &handlers, NULL, &conn, &err), OSMO_EINVAL);
    o = (ws_options_t){ .url = "ws://127.0.0.1:1/", .headers = broken };
    CHECK_INT(ws_connect(l, &o, &handlers, NULL, &conn, &err), OSMO_EINVAL);
    o = (ws_options_t){ .url = "ws://127.0.0.1:1/", .extensions = "a\r\nb" };
    CHECK_INT(ws_connect(l, &o, &handlers, NULL, &conn, &err), OSMO_EINVAL);
    CHECK_INT(ws_conn_send(l, 77, "x", 1, false), OSMO_ENOTFOUND);
    ws_conn_close(l, 77, 1000, NULL);
    ws_loop_free(l);
}

/* ---- authorities ---- */

struct rotation { ws_loop_t *loop; char url[64], trust[64], ca[64]; int closed, status[2]; };

static void on_rotation(void *ctx, uint64_t conn, int code, int status, const char *reason);
static const ws_handlers_t rotation_handlers = { .opened = on_opened, .closed = on_rotation };

static void connect_again(struct rotation *r) {
    const ws_options_t o = { .url = r->url, .ca_file = r->trust };
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t conn;
    CHECK_OK(ws_connect(r->loop, &o, &rotation_handlers, r, &conn, &err), &err);
}

static void on_rotation(void *ctx, uint64_t conn, int code, int status, const char *reason) {
    struct rotation *r = ctx;
    (void)conn, (void)code, (void)reason;
    r->status[r->closed++] = status;
    if (r->closed == 2) {
        ws_loop_stop(r->loop);
        return;
    }
    CHECK_INT(file_copy(r->ca, r->trust, 0600, NULL), 0);
    connect_again(r);
}

/* The login before it goes by HTTP, with the same authorities and a client that is kept. */
static void login_again(struct rotation *r, const char *old) {
    char url[64];
    http_client_t *c = NULL;
    CHECK_INT(file_copy(old, r->trust, 0600, NULL), 0);
    CHECK_INT(http_trust(r->trust, NULL), 0);
    REQUIRE(http_client_new("test", &c, NULL) == 0);
    snprintf(url, sizeof url, "https%s", r->url + 3);
    for (int i = 0; i < 2; i++) {
        const http_request_t rq = { .method = "GET", .url = url, .timeout_ms = 10000, .max_response = 4096 };
        http_response_t rs = { 0 };
        http_perform(c, &rq, &rs, NULL);
        CHECK_INT(rs.status, i ? 404 : 0);
        http_response_free(&rs);
        CHECK_INT(file_copy(r->ca, r->trust, 0600, NULL), 0);
    }
    http_client_free(c);
    http_trust(NULL, NULL);
}

/* A service whose authority is replaced is believed again once the file has the new one, in a loop that was there all the time. */
static void test_new_authority(void) {
    static const struct kube_step no = { .status = 404, .body = "{}" };
    static struct kube_server server;
    char dir[] = "/tmp/osmo-test-XXXXXX", old[64], cert[64], key[64];
    struct rotation r = { 0 };
    REQUIRE(mkdtemp(dir) != NULL);
    snprintf(old, sizeof old, "%s/old", dir);
    snprintf(r.trust, sizeof r.trust, "%s/trust.pem", dir);
    snprintf(r.ca, sizeof r.ca, "%s/ca.pem", dir);
    snprintf(cert, sizeof cert, "%s/it.pem", dir);
    snprintf(key, sizeof key, "%s/it.key", dir);
    REQUIRE(dir_make(old, 0700, NULL) == 0);
    if (tls_make_ca(dir) && tls_make_ca(old)) {
        snprintf(old, sizeof old, "%s/old/ca.pem", dir);
        CHECK_INT(file_copy(old, r.trust, 0600, NULL), 0);
        REQUIRE(tls_make_cert(dir, "it", "IP:127.0.0.1", 5) && kube_server_start(&server, &no, 1, cert, key, NULL));
        snprintf(r.url, sizeof r.url, "wss://127.0.0.1:%d/a", server.port);
        REQUIRE(ws_loop_new(&r.loop, NULL) == 0);
        connect_again(&r);
        ws_loop_run(r.loop);
        ws_loop_free(r.loop);
        CHECK_INT(r.status[0], 0);   /* not believed */
        CHECK_INT(r.status[1], 404); /* it was asked */
        kube_server_play(&server, &no, 1);
        login_again(&r, old);
        kube_server_stop(&server);
    }
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "refused upgrades", test_refused_upgrades }, { "nobody listens", test_nobody_listens },
    { "close while connecting", test_close_while_connecting }, { "free with connections", test_free_with_connections },
    { "timers", test_timers }, { "wakes", test_wakes }, { "bad options", test_bad_options },
    { "new authority", test_new_authority },
};
TEST_MAIN("ws_client", tests)
