/* The channel between replicas: two services in this process on one PostgreSQL, each behind its own listener on the
 * loopback, and scripted peers that are members in the table only. */
#include "check.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/ws_client.h"
#include "engine/auth_internal.h"
#include "engine/replica_internal.h"
#include "engine/vault_internal.h"
#include "osmo/server.h"
#include "pgsql_fixture.h"
#include "service_fixture.h"
#include "signing_key.h"
#include "store/repo_replica.h"

#define NOBODY "00000000000000000000000000000001"
#define BOX_CONNS 8
#define PATIENCE_S 30
#define SCHEME_HEADER "Authorization: OSMO-Replica "

/* ---- a replica ---- */

struct side {
    char dir[64], spool[80], base[64];
    osmo_server_t *server;
    osmo_service_t *service;
    engine_t *engine;
    struct fixture seeds; /* only its engine is used */
};
static struct side one, two;

static void print_log(void *ctx, int level, const char *text) {
    (void)level;
    fprintf(stderr, "# %s: %s\n", (const char *)ctx, text);
}

static bool side_open(struct side *s, const char *name, const char *database) {
    osmo_error_t err = OSMO_ERROR_INIT;
    memset(s, 0, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "/tmp/osmo-test-XXXXXX");
    if (!mkdtemp(s->dir))
        return false;
    snprintf(s->spool, sizeof s->spool, "%s/spool", s->dir);
    bool made;
    _cleanup_free_ char *storage = str_printf("%s/storage", fixture_dir()), *key = str_printf("%s/master-key.yaml", fixture_dir());
    osmo_server_options_t so = { .size = sizeof so, .listen = "127.0.0.1:0", .workers = 4, .spool_dir = s->spool };
    osmo_service_options_t o = { .size = sizeof o, .data_dir = s->dir, .storage_dir = storage, .database = database, .auth = OSMO_AUTH_DEV,
                                 .master_key_file = key, .log = print_log, .log_ctx = (void *)name, .log_level = 30 };
    int rc = dir_make(s->spool, 0700, &err);
    if (rc >= 0)
        rc = master_file_make(key, &made, &err);
    if (rc >= 0)
        rc = osmo_server_open(&so, &s->server, &err);
    if (rc >= 0) {
        snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d", osmo_server_port(s->server));
        o.transport = osmo_server_transport(s->server);
        o.base_url = s->base;
        rc = osmo_service_open(&o, &s->service, &err);
    }
    if (rc >= 0) {
        s->engine = s->seeds.engine = s->service->engine;
        rc = osmo_server_start(s->server, s->service, &err);
    }
    if (rc >= 0)
        rc = replicas_set_address(s->engine, s->base, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", name, err.text);
    return rc >= 0;
}

static void side_close(struct side *s) {
    if (s->server)
        osmo_server_stop(s->server, 1000);
    osmo_service_close(s->service);
    osmo_server_free(s->server);
    if (s->dir[0])
        dir_remove_tree(s->dir, NULL);
    memset(s, 0, sizeof *s);
}

static bool until(bool (*holds)(void *), void *ctx) {
    int64_t end = clock_mono_us() + PATIENCE_S * 1000000LL;
    while (!holds(ctx)) {
        if (clock_mono_us() > end)
            return false;
        usleep(5000);
    }
    return true;
}

static bool knows_others(void *ctx) { return atomic_load(&((struct side *)ctx)->engine->channel->others); }

/* Two replicas that know each other; false where there is no PostgreSQL. */
static bool pair_open(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *url = pgsql_fixture_url();
    if (!url)
        return false;
    if (signing_key_seed(url, &err) < 0 || !side_open(&one, "one", url) || !side_open(&two, "two", url) ||
        !until(knows_others, &one) || !until(knows_others, &two)) {
        CHECK(!"two replicas that know each other");
        return false;
    }
    return true;
}

static void pair_close(void) {
    side_close(&one);
    side_close(&two);
}

/* ---- messages as a replica would make them ---- */

struct message {
    const char *from_key; /* NULL: the right one */
    const char *to;
    int64_t at_us;
    const char *scheme, *signed_body, *body;
};

static void make_header(const struct side *s, const struct message *m, char *out, size_t size) {
    char digest[65], text[256], mac[65];
    uint8_t key[32], sum[32];
    crypto_hmac_sha256(s->engine->auth->master, 32, "replica-channel:1", 17, key);
    if (m->from_key)
        memcpy(key, m->from_key, 32);
    crypto_sha256_hex(m->signed_body, strlen(m->signed_body), digest);
    snprintf(text, sizeof text, "POST\n/api/internal/replica\n%lld\n%s\n%s", (long long)m->at_us, m->to, digest);
    crypto_hmac_sha256(key, sizeof key, text, strlen(text), sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(mac + 2 * i, 3, "%02x", sum[i]);
    snprintf(out, size, "Authorization: %s %lld:%s", m->scheme, (long long)m->at_us, mac);
}

static int say(const struct side *s, const char *header, const char *body, size_t len, char *answer, size_t size) {
    http_client_t *http = NULL;
    http_response_t rs = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[128];
    snprintf(url, sizeof url, "%s/api/internal/replica", s->base);
    const char *headers[] = { "Content-Type: application/json", header, NULL };
    http_request_t rq = { .method = "POST", .url = url, .headers = headers, .body = body, .body_len = len };
    int rc = http_client_new("test", &http, &err);
    if (rc >= 0)
        rc = http_perform(http, &rq, &rs, &err);
    CHECK_OK(rc, &err);
    snprintf(answer, size, "%s", rs.body.data ? rs.body.data : "");
    int status = rs.status;
    http_response_free(&rs);
    http_client_free(http);
    return status;
}

static const char good[] = "{\"from\":\"" NOBODY "\",\"hints\":[[\"work\"],[\"workflow\",\"hello-1\"]]}";

static void test_signature(void) {
    static const struct {
        const char *what;
        int64_t late_us;
        bool wrong_key, wrong_receiver, other_body;
        const char *scheme;
        int status;
    } cases[] = {
        { "as it should be", 0, false, false, false, "OSMO-Replica", 200 },
        { "nearly too old", 50 * 1000000, false, false, false, "OSMO-Replica", 200 },
        { "played again later", 61 * 1000000, false, false, false, "OSMO-Replica", 401 },
        { "from the future", -61 * 1000000, false, false, false, "OSMO-Replica", 401 },
        { "another key", 0, true, false, false, "OSMO-Replica", 401 },
        { "meant for another replica", 0, false, true, false, "OSMO-Replica", 401 },
        { "another body", 0, false, false, true, "OSMO-Replica", 401 },
        { "a user's scheme", 0, false, false, false, "Bearer", 401 },
    };
    char header[256], answer[4096];
    if (!pair_open())
        return pair_close();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct message m = { cases[i].wrong_key ? "0123456789abcdef0123456789abcdef" : NULL,
                             cases[i].wrong_receiver ? replicas_id(two.engine) : replicas_id(one.engine),
                             engine_now(one.engine) - cases[i].late_us, cases[i].scheme,
                             cases[i].other_body ? "{\"hints\":[]}" : good, good };
        make_header(&one, &m, header, sizeof header);
        int status = say(&one, header, m.body, strlen(m.body), answer, sizeof answer);
        if (!CHECK_INT(status, cases[i].status))
            fprintf(stderr, "  %s: %s\n", cases[i].what, answer);
        CHECK_STR(answer, status == 200 ? "{}" : "{\"detail\":\"Unauthorized\"}");
    }
    CHECK_INT(say(&one, NULL, good, strlen(good), answer, sizeof answer), 401);
    CHECK_INT(say(&one, "Authorization: OSMO-Replica", good, strlen(good), answer, sizeof answer), 401);
    CHECK_INT(say(&one, "Authorization: OSMO-Replica :", good, strlen(good), answer, sizeof answer), 401);
    CHECK_INT(say(&one, "Authorization: OSMO-Replica 99999999999999999999999999:00", good, strlen(good), answer, sizeof answer), 401);
    pair_close();
}

static void test_bodies(void) {
    static const struct {
        const char *body;
        int status;
        const char *answer;
    } cases[] = {
        { "{\"hints\":[]}", 200, "{}" },
        { "{\"hints\":[[\"a kind of next year\",\"x\"],[\"workflow\"],[\"barrier\",\"short\"],[],[1],\"x\",null]}", 200, "{}" },
        { "{\"hints\":[[\"barrier\",\"0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef\"]]}", 200, "{}" },
        { "{\"hints\":7}", 400, NULL },
        { "{}", 400, NULL },
        { "[", 400, NULL },
        { "", 400, NULL },
        { "{\"ask\":\"ctrl_connected\",\"workflow\":\"nobody-1\"}", 200, "{\"connected\":false}" },
        { "{\"ask\":\"ctrl_connected\"}", 400, NULL },
        { "{\"ask\":\"the time\",\"workflow\":\"nobody-1\"}", 400, NULL },
    };
    char header[256], answer[4096];
    if (!pair_open())
        return pair_close();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct message m = { NULL, replicas_id(one.engine), engine_now(one.engine), "OSMO-Replica", cases[i].body, cases[i].body };
        make_header(&one, &m, header, sizeof header);
        int status = say(&one, header, m.body, strlen(m.body), answer, sizeof answer);
        if (!CHECK_INT(status, cases[i].status))
            fprintf(stderr, "  %s: %s\n", cases[i].body, answer);
        if (cases[i].answer)
            CHECK_STR(answer, cases[i].answer);
    }
    size_t len = REPLICA_BODY_MAX + 1;
    _cleanup_free_ char *big = calloc(1, len + 1);
    REQUIRE(big);
    memset(big, ' ', len);
    struct message m = { NULL, replicas_id(one.engine), engine_now(one.engine), "OSMO-Replica", big, big };
    make_header(&one, &m, header, sizeof header);
    CHECK_INT(say(&one, header, big, len, answer, sizeof answer), 413);
    pair_close();
}

/* Where there can be no other replica, there is no such path. */
static void test_alone(void) {
    char header[256], answer[4096];
    _cleanup_free_ char *url = sqlite_fixture_url();
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(signing_key_seed(url, &err), &err);
    REQUIRE(side_open(&one, "alone", url));
    struct message m = { NULL, NOBODY, engine_now(one.engine), "OSMO-Replica", good, good };
    make_header(&one, &m, header, sizeof header);
    CHECK_INT(say(&one, header, good, strlen(good), answer, sizeof answer), 404);
    CHECK(!one.engine->channel);
    replicas_hint(one.engine, HINT_WORK, NULL);
    bool connected = true;
    CHECK_OK(replicas_ctrl_connected(one.engine, "nobody-1", &connected, &err), &err);
    CHECK(!connected);
    side_close(&one);
}

/* ---- followers ---- */

struct follower {
    char url[160];
    pthread_t thread;
    pthread_mutex_t lock;
    char text[4096];
    size_t len;
    int status, rc;
};

static bool on_line(void *ctx, const char *data, size_t len) {
    struct follower *f = ctx;
    pthread_mutex_lock(&f->lock);
    if (f->len + len < sizeof f->text) {
        memcpy(f->text + f->len, data, len);
        f->len += len;
    }
    pthread_mutex_unlock(&f->lock);
    return true;
}

static void *follower_main(void *ctx) {
    struct follower *f = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    http_client_t *http = NULL;
    http_response_t rs = { 0 };
    http_request_t rq = { .method = "GET", .url = f->url, .on_data = on_line, .ctx = f, .timeout_ms = PATIENCE_S * 1000 };
    f->rc = http_client_new("test", &http, &err);
    if (f->rc >= 0)
        f->rc = http_perform(http, &rq, &rs, &err);
    if (f->rc < 0)
        fprintf(stderr, "follower: %s\n", err.text);
    f->status = rs.status;
    http_response_free(&rs);
    http_client_free(http);
    return NULL;
}

static bool has_a_line(void *ctx) {
    struct follower *f = ctx;
    pthread_mutex_lock(&f->lock);
    bool some = memchr(f->text, '\n', f->len) != NULL;
    pthread_mutex_unlock(&f->lock);
    return some;
}

static bool follow(struct follower *f, const struct side *s, const char *workflow_id) {
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    snprintf(f->url, sizeof f->url, "%s/api/workflow/%s/watch", s->base, workflow_id);
    return pthread_create(&f->thread, NULL, follower_main, f) == 0 && until(has_a_line, f);
}

static void expect_cancelled(struct follower *f) {
    pthread_join(f->thread, NULL);
    CHECK_INT(f->rc, 0);
    CHECK_INT(f->status, 200);
    CHECK_CONTAINS(f->text, "\"RUNNING\"");
    CHECK_CONTAINS(f->text, "\"FAILED_CANCELED\"");
    pthread_mutex_destroy(&f->lock);
}

static void test_follower(void) {
    struct seed seed;
    struct follower f, g;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!pair_open())
        return pair_close();
    CHECK(seed_workflow(&one.seeds, "seen", "alice", 2, &seed));
    CHECK(follow(&f, &two, seed.id));
    CHECK(follow(&g, &one, seed.id));
    CHECK_OK(engine_cancel(one.engine, seed.id, "alice", NULL, false, &err), &err);
    expect_cancelled(&f);
    expect_cancelled(&g);
    pair_close();
}

/* ---- ctrls ---- */

struct ctrl {
    ws_loop_t *loop;
    pthread_t thread;
    uint64_t conn;
    atomic_int opened, barriers, restarts;
};

static void ctrl_opened(void *ctx, uint64_t conn, const char *extensions) {
    (void)conn, (void)extensions;
    atomic_fetch_add(&((struct ctrl *)ctx)->opened, 1);
}

static void ctrl_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct ctrl *c = ctx;
    (void)conn, (void)binary;
    if (len == 20 && !memcmp(data, "{\"action\":\"barrier\"}", len))
        atomic_fetch_add(&c->barriers, 1);
    if (len == 20 && !memcmp(data, "{\"action\":\"restart\"}", len))
        atomic_fetch_add(&c->restarts, 1);
}

static void ctrl_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct ctrl *c = ctx;
    (void)conn, (void)code, (void)http_status, (void)reason;
    ws_loop_stop(c->loop);
}

static void *ctrl_main(void *ctx) {
    ws_loop_run(((struct ctrl *)ctx)->loop);
    return NULL;
}

static bool is_open(void *ctx) { return atomic_load(&((struct ctrl *)ctx)->opened) > 0; }
static bool is_released(void *ctx) { return atomic_load(&((struct ctrl *)ctx)->barriers) > 0; }
static bool is_restarted(void *ctx) { return atomic_load(&((struct ctrl *)ctx)->restarts) > 0; }

static bool ctrl_connect(struct ctrl *c, const struct side *s, const char *workflow_id, const char *task) {
    static const ws_handlers_t handlers = { .opened = ctrl_opened, .message = ctrl_message, .closed = ctrl_closed };
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[256];
    memset(c, 0, sizeof *c);
    snprintf(url, sizeof url, "%s/api/logger/workflow/%s/osmo_ctrl/%s/retry_id/0", s->base, workflow_id, task);
    ws_options_t o = { .url = url };
    return ws_loop_new(&c->loop, &err) >= 0 && ws_connect(c->loop, &o, &handlers, c, &c->conn, &err) >= 0 &&
           pthread_create(&c->thread, NULL, ctrl_main, c) == 0 && until(is_open, c);
}

static void ctrl_join(struct ctrl *c) {
    static const char frame[] = "{\"IOType\":\"BARRIER\",\"Name\":\"together\",\"Count\":2}";
    CHECK_INT(ws_conn_send(c->loop, c->conn, frame, sizeof frame - 1, false), 0);
}

static void ctrl_end(struct ctrl *c) {
    ws_conn_close(c->loop, c->conn, 1000, "");
    pthread_join(c->thread, NULL);
    ws_loop_free(c->loop);
}

static const char *asked;
static bool two_has_ctrl(void *ctx) {
    bool *connected = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(replicas_ctrl_connected(one.engine, asked, connected, &err), &err);
    return *connected;
}
static bool two_has_none(void *ctx) { return !two_has_ctrl(ctx); }

static int mark_restart(db_t *db, void *ctx, osmo_error_t *err) {
    return repo_barrier_join(db, ((struct seed *)ctx)->group_uuid, RESTART_ONCE, "0:t1:5", err);
}

static void test_ctrls(void) {
    struct seed seed;
    struct ctrl a, b, again;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool connected = false;
    if (!pair_open())
        return pair_close();
    CHECK(seed_workflow(&one.seeds, "meet", "alice", 2, &seed));
    asked = seed.id;
    REQUIRE(ctrl_connect(&a, &one, seed.id, "t0"));
    CHECK(two_has_none(&connected));
    REQUIRE(ctrl_connect(&b, &two, seed.id, "t1"));
    CHECK(until(two_has_ctrl, &connected));
    ctrl_join(&a);
    ctrl_join(&b);
    CHECK(until(is_released, &a));
    CHECK(until(is_released, &b));
    /* What the reactor does after a commit of replica one, for a ctrl of replica two. */
    CHECK_OK(store_write(one.engine->store, seed.uuid, mark_restart, &seed, &err), &err);
    logger_restart(one.engine, seed.uuid, seed.group_uuid);
    CHECK(until(is_restarted, &b));
    CHECK_INT(atomic_load(&a.restarts), 0);
    ctrl_end(&b);
    CHECK(until(two_has_none, &connected));
    /* It finds at the other replica what it missed. */
    REQUIRE(ctrl_connect(&again, &one, seed.id, "t1"));
    CHECK(until(is_released, &again));
    ctrl_end(&again);
    ctrl_end(&a);
    pair_close();
}

/* What was committed without a word, as by one that died behind its commit. */
static void test_everything(void) {
    struct seed seed;
    struct ctrl a;
    struct follower f;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!pair_open())
        return pair_close();
    CHECK(seed_workflow(&one.seeds, "quiet", "alice", 2, &seed));
    REQUIRE(ctrl_connect(&a, &two, seed.id, "t1"));
    CHECK(follow(&f, &two, seed.id));
    CHECK_OK(store_write(one.engine->store, seed.uuid, mark_restart, &seed, &err), &err);
    CHECK(seed_workflow_status(&one.seeds, &seed, STATUS_FAILED_CANCELED, NULL));
    hint_apply(two.engine, HINT_ALL, NULL);
    CHECK(until(is_restarted, &a));
    expect_cancelled(&f);
    ctrl_end(&a);
    pair_close();
}

/* ---- a member that is only a listener: what it is told, and when it is not there ---- */

struct box {
    int port, fd;
    pthread_t thread;
    pthread_mutex_t lock;
    int status;
    size_t accepted, refused; /* messages */
    atomic_int connections;
    strlist_t hints; /* accepted, "kind key" */
};
static struct box box = { .fd = -1 };

static void box_note(const char *body, size_t len) {
    json_t *o = NULL;
    CHECK_INT(json_parse(body, len, &o, NULL), 0);
    CHECK_STR(json_get_str(o, "from"), replicas_id(one.engine));
    const json_t *list = json_get(o, "hints");
    for (size_t i = 0; i < json_len(list); i++) {
        const char *key = json_str(json_at(json_at(list, i), 1));
        char text[400];
        snprintf(text, sizeof text, "%s%s%s", json_str(json_at(json_at(list, i), 0)), key ? " " : "", key ? key : "");
        strlist_add(&box.hints, text);
    }
    json_free(o);
}

/* It would accept what it is sent. */
static void check_signature(const char *head, const char *body) {
    char header[256], *p = strstr(head, SCHEME_HEADER);
    REQUIRE(p);
    struct message m = { NULL, NOBODY, strtoll(p + sizeof SCHEME_HEADER - 1, NULL, 10), "OSMO-Replica", body, body };
    make_header(&one, &m, header, sizeof header);
    CHECK(!strncmp(p, header, strlen(header)));
    CHECK(m.at_us > engine_now(one.engine) - 10 * 1000000 && m.at_us <= engine_now(one.engine));
}

static bool box_answer(int fd, char *text, size_t size) {
    size_t len = 0, want = SIZE_MAX;
    while (len < want) {
        ssize_t n = len + 1 < size ? read(fd, text + len, size - 1 - len) : 0;
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end && length)
            want = (size_t)(end + 4 - text) + (size_t)atol(length + 16);
    }
    char *body = strstr(text, "\r\n\r\n") + 4, answer[128];
    check_signature(text, body);
    pthread_mutex_lock(&box.lock);
    int status = box.status;
    if (status == 200)
        box_note(body, strlen(body));
    box.accepted += status == 200;
    box.refused += status != 200;
    pthread_mutex_unlock(&box.lock);
    int n = snprintf(answer, sizeof answer, "HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\n{}", status);
    return write(fd, answer, (size_t)n) == n;
}

/* Until the listener is shut down. */
static void *box_main(void *arg) {
    (void)arg;
    static char text[2u << 20];
    struct pollfd fds[BOX_CONNS + 1] = { { .fd = box.fd, .events = POLLIN } };
    size_t n = 1;
    while (poll(fds, n, -1) > 0) {
        int fd = fds[0].revents ? accept4(box.fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fds[0].revents && fd < 0)
            break;
        for (size_t i = 1; i < n; i++)
            if (fds[i].revents && !box_answer(fds[i].fd, text, sizeof text)) {
                close(fds[i].fd);
                fds[i--] = fds[--n];
            }
        if (fd >= 0 && n <= BOX_CONNS) {
            fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
            box.connections++;
        }
    }
    while (n > 1)
        close(fds[--n].fd);
    return NULL;
}

/* port 0 takes any; later it comes back to the same. */
static bool box_up(int status) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)box.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int yes = 1;
    box.status = status;
    box.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(box.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    bool ok = bind(box.fd, (struct sockaddr *)&a, len) == 0 && listen(box.fd, 8) == 0 &&
              getsockname(box.fd, (struct sockaddr *)&a, &len) == 0 && pthread_create(&box.thread, NULL, box_main, NULL) == 0;
    box.port = ntohs(a.sin_port);
    return ok;
}

static void box_down(void) {
    shutdown(box.fd, SHUT_RDWR);
    pthread_join(box.thread, NULL);
    close(box.fd);
}

static size_t box_count(const char *hint) {
    size_t n = 0;
    pthread_mutex_lock(&box.lock);
    for (size_t i = 0; i < box.hints.len; i++)
        n += !hint || !strcmp(box.hints.items[i], hint);
    pthread_mutex_unlock(&box.lock);
    return n;
}

static void box_forget(void) {
    pthread_mutex_lock(&box.lock);
    strlist_free(&box.hints);
    box.accepted = box.refused = 0;
    pthread_mutex_unlock(&box.lock);
}

static bool box_has(void *hint) { return box_count(hint) > 0; }
static bool box_has_many(void *n) { return box_count(NULL) >= *(size_t *)n; }
static bool box_has_refused(void *n) {
    pthread_mutex_lock(&box.lock);
    bool yes = box.refused >= *(size_t *)n;
    pthread_mutex_unlock(&box.lock);
    return yes;
}

static int join_member(db_t *db, void *ctx, osmo_error_t *err) {
    struct replica_row *rows = NULL, row = { .id = NOBODY, .address = ctx, .host = (char *)"x", .version = (char *)"x" };
    size_t n = 0;
    int rc = repo_replica_list(db, 1, &rows, &n, err);
    row.storage = n ? rows[0].storage : NULL;
    if (rc >= 0)
        rc = repo_replica_put(db, &row, 3600LL * 1000000, err);
    replica_rows_free(rows, n);
    return rc;
}

static int leave_member(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return repo_replica_delete(db, NOBODY, err);
}

static bool is_alone(void *ctx) { return !knows_others(ctx); }

/* One replica, and the box as the other. */
static bool box_join(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char address[64];
    _cleanup_free_ char *url = pgsql_fixture_url();
    if (!url)
        return false;
    box = (struct box){ .fd = -1 };
    pthread_mutex_init(&box.lock, NULL);
    if (signing_key_seed(url, &err) < 0 || !side_open(&one, "one", url) || !box_up(200)) {
        CHECK(!"a replica and a listener");
        return false;
    }
    snprintf(address, sizeof address, "http://127.0.0.1:%d", box.port);
    CHECK_OK(store_write(one.engine->store, NULL, join_member, address, &err), &err);
    /* A new member may have missed something: it is told to look at everything. */
    CHECK(until(box_has, (void *)"all"));
    CHECK_INT(box_count(NULL), 1);
    box_forget();
    return true;
}

static void box_leave(void) {
    if (box.fd >= 0)
        box_down();
    side_close(&one);
    strlist_free(&box.hints);
}

static void test_told_again(void) {
    size_t one_refused = 1;
    if (!box_join())
        return;
    replicas_hint(one.engine, HINT_WORKFLOW, "first-1");
    CHECK(until(box_has, (void *)"workflow first-1"));
    replicas_hint_group(one.engine, HINT_BARRIER, "0123456789abcdef0123456789abcdef", NOBODY);
    CHECK(until(box_has, (void *)"barrier 0123456789abcdef0123456789abcdef/" NOBODY));
    CHECK_INT(box.connections, 1); /* it stays open */
    box_down();
    box_forget();
    for (int i = 0; i < 3; i++) {
        replicas_hint(one.engine, HINT_WORKFLOW, "late-1");
        replicas_hint(one.engine, HINT_WORKFLOW, "late-2");
        replicas_hint(one.engine, HINT_WORK, NULL);
    }
    REQUIRE(box_up(503));
    CHECK(until(box_has_refused, &one_refused));
    pthread_mutex_lock(&box.lock);
    box.status = 200;
    pthread_mutex_unlock(&box.lock);
    CHECK(until(box_has, (void *)"workflow late-1"));
    CHECK(until(box_has, (void *)"workflow late-2"));
    CHECK(until(box_has, (void *)"work"));
    CHECK_INT(box_count(NULL), 3); /* each once, however often it was said */
    box_leave();
}

/* One that dies takes with it what it had to tell. */
static void test_silence(void) {
    struct seed seed;
    struct follower f;
    if (!box_join())
        return;
    CHECK(seed_workflow(&one.seeds, "untold", "alice", 1, &seed));
    CHECK(follow(&f, &one, seed.id));
    CHECK(seed_workflow_status(&one.seeds, &seed, STATUS_FAILED_CANCELED, NULL)); /* as the other would have */
    box_down();
    box.fd = -1;
    expect_cancelled(&f);
    box_leave();
}

static void hint_many(int n) {
    char key[32];
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "flood-%d", i);
        replicas_hint(one.engine, HINT_WORKFLOW, key);
    }
}

static void test_overflow(void) {
    size_t many = 20000;
    if (!box_join())
        return;
    hint_many((int)many);
    CHECK(until(box_has_many, &many)); /* more than fits one message */
    CHECK_INT(box_count("workflow flood-0"), 1);
    CHECK_INT(box_count("workflow flood-19999"), 1);
    CHECK_INT(box_count(NULL), many);
    box_down();
    box_forget();
    hint_many(70000);
    REQUIRE(box_up(200));
    CHECK(until(box_has, (void *)"all"));
    CHECK_INT(box_count(NULL), 1);
    replicas_hint(one.engine, HINT_WORK, NULL); /* and then as before */
    CHECK(until(box_has, (void *)"work"));
    CHECK_INT(box_count(NULL), 2);
    box_leave();
}

/* Questions to a member that does not answer cannot be answered, until it is none any more. */
static void test_gone(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool connected = true;
    if (!box_join())
        return;
    CHECK_OK(replicas_ctrl_connected(one.engine, "some-1", &connected, &err), &err);
    CHECK(!connected);
    box_down();
    box.fd = -1;
    CHECK_INT(replicas_ctrl_connected(one.engine, "some-1", &connected, &err), OSMO_EUNAVAIL);
    replicas_hint(one.engine, HINT_WORKFLOW, "never-1");
    CHECK_OK(store_write(one.engine->store, NULL, leave_member, NULL, &err), &err);
    CHECK(until(is_alone, &one));
    CHECK_OK(replicas_ctrl_connected(one.engine, "some-1", &connected, &err), &err);
    CHECK(!connected);
    replicas_hint(one.engine, HINT_WORKFLOW, "never-2");
    box_leave();
}

static const struct check_test tests[] = {
    { "only what a replica has signed is heard", test_signature },
    { "bodies, and what they may be", test_bodies },
    { "an embedded database has no replicas", test_alone },
    { "a commit here wakes who follows there", test_follower },
    { "a barrier and a restart reach ctrls at two replicas", test_ctrls },
    { "what nobody told is found by looking at everything", test_everything },
    { "what a peer could not be told is told again", test_told_again },
    { "whoever is silent may have died behind a commit", test_silence },
    { "too much becomes everything", test_overflow },
    { "a peer that is gone", test_gone },
};

int main(int argc, char **argv) {
    replicas_times(0, 100 * 1000); /* members are noticed soon */
    return check_main("replica_channel", tests, ARRAY_SIZE(tests), argc, argv);
}
