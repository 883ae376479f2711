/* The parts of osmo_ctrl and osmo_exec that need no process: words, sizes, escapes, frames, actions, announcements, checkpoints. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "osmo-ctrl/action_parse.h"
#include "osmo-exec/checkpoint.h"
#include "osmo-exec/escapes.h"
#include "osmo-exec/pace.h"
#include "osmo-exec/words.h"
#include "runtime/link.h"

static char why[256];

static void words(void) {
    static const struct { const char *text, *want; } cases[] = {
        { "ls", "ls|" },
        { "  sh\t-c  'a b'\n", "sh|-c|a b|" },
        { "a\\ b \"c d\" 'e\"f' g'h'\"i\"", "a b|c d|e\"f|ghi|" },
        { "x \"a\\\"b\\$c\\d\" ''", "x|a\"b$c\\d||" },
        { "x '\\'", "x|\\|" },
        { "# y", "#|y|" },
        { "", "!empty" },
        { " \t ", "!empty" },
        { "''", "!empty" },
        { "a 'b", "!a ' is not closed" },
        { "a \"b", "!a \" is not closed" },
        { "a \\", "!ends with a backslash" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strlist_t list = { 0 };
        char got[256] = "";
        int rc = words_split(cases[i].text, &list, why, sizeof why);
        for (size_t k = 0; k < list.len; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s|", list.items[k]);
        if (cases[i].want[0] == '!') {
            CHECK_INT(rc, -1);
            CHECK_CONTAINS(why, cases[i].want + 1);
        } else {
            CHECK_INT(rc, 0);
            CHECK_STR(got, cases[i].want);
        }
        strlist_free(&list);
    }
}

static void sizes(void) {
    static const struct { const char *text; bool ours; int rc, rows, cols; bool tty; const char *granted; size_t left; } cases[] = {
        { "{\"Rows\":24,\"Cols\":80}rest", true, 1, 24, 80, true, "", 4 },
        { " {\"ROWS\":1,\"cols\":2,\"Tty\":false}", true, 1, 1, 2, true, "", 0 },
        { "{\"Tty\":false,\"Extensions\":\"signal, pipe,more\"}", true, 1, 0, 0, false, "pipe,signal", 0 },
        { "{\"Tty\":false,\"Extensions\":\"exit,pipe\"}", false, 1, 0, 0, true, "", 0 },
        { "{\"Rows\":-1,\"Cols\":123456}", true, 1, 0, 10000, true, "", 0 },
        { "{\"Rows\":2", true, 0, 0, 0, false, "", 9 },
        { "Rows", true, -1, 0, 0, false, "", 4 },
        { "{\"Rows\":}", true, -1, 0, 0, false, "", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct session_size s = { 0 };
        buf_t in = BUF_INIT(8192);
        buf_puts(&in, cases[i].text);
        int rc = size_take(&in, cases[i].ours, &s, why, sizeof why);
        CHECK_INT(rc, cases[i].rc);
        CHECK_INT(in.len, cases[i].left);
        if (rc > 0) {
            CHECK_INT(s.rows, cases[i].rows);
            CHECK_INT(s.cols, cases[i].cols);
            CHECK_INT(s.tty, cases[i].tty);
            CHECK_STR(s.extensions, cases[i].granted);
        }
        buf_free(&in);
    }
}

struct seen { char text[512]; };

static char *rest_of(struct seen *s) { return s->text + strlen(s->text); }
static size_t room_of(const struct seen *s) { return sizeof s->text - strlen(s->text); }

static void on_bytes(void *ctx, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (data[i])
            snprintf(rest_of(ctx), room_of(ctx), "%c", data[i]);
        else
            snprintf(rest_of(ctx), room_of(ctx), "<0>");
    }
}

static void on_resize(void *ctx, int rows, int cols) { snprintf(rest_of(ctx), room_of(ctx), "[%dx%d]", rows, cols); }
static void on_signal(void *ctx, int number) { snprintf(rest_of(ctx), room_of(ctx), "[signal %d]", number); }

static void escapes(void) {
#define TEXT(s) s, sizeof s - 1
    static const struct { const char *data; size_t len; bool signals; const char *want; } cases[] = {
        { TEXT("plain"), true, "plain" },
        { TEXT("a\0RESIZE:{\"Rows\":1,\"Cols\":2}b"), false, "a[1x2]b" },
        { TEXT("\0RESIZE:{\"rows\":3,\"cols\":4}\0RESIZE:{}"), false, "[3x4][0x0]" },
        { TEXT("\0SIGNAL:{\"Signal\":15}x"), true, "[signal 15]x" },
        { TEXT("\0SIGNAL:{\"Signal\":15}x"), false, "<0>SIGNAL:{\"Signal\":15}x" },
        { TEXT("\0SIGNAL:{\"Signal\":0}\0SIGNAL:{\"Signal\":64}"), true, "" },
        { TEXT("\0RESIZE:garbage}after"), true, "after" },
        { TEXT("a\0b\0\0c"), true, "a<0>b<0><0>c" },
        { TEXT("\0RESIZ\0RESIZE:{\"Rows\":1}"), true, "<0>RESIZ[1x0]" },
        { TEXT("end\0RESIZE:{"), true, "end<0>RESIZE:{" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= cases[i].len; piece++) {
            struct seen seen = { "" };
            struct escapes e = { .signals = cases[i].signals };
            const struct escape_sink sink = { on_bytes, on_resize, on_signal, &seen };
            for (size_t at = 0; at < cases[i].len; at += piece)
                escapes_feed(&e, cases[i].data + at, cases[i].len - at < piece ? cases[i].len - at : piece, &sink);
            escapes_flush(&e, &sink);
            CHECK_STR(seen.text, cases[i].want);
        }
    }
}

static void frames(void) {
    buf_t out = BUF_INIT(1u << 20);
    struct link_frame f;
    size_t used = 0;
    static char big[LINK_FRAME_MAX + 10];
    CHECK_INT(link_frame_put(&out, 'Z', NULL, 0), 0);
    CHECK_INT(link_frame_put(&out, 'I', big, sizeof big), 0);
    CHECK_INT(out.len, 4 + 4 + LINK_FRAME_MAX + 4 + 10);
    CHECK_INT(link_frame_next(out.data, 3, &f, &used), 0);
    CHECK_INT(link_frame_next(out.data, out.len, &f, &used), 1);
    CHECK(f.type == 'Z' && f.len == 0 && used == 4);
    CHECK_INT(link_frame_next(out.data + 4, out.len - 4, &f, &used), 1);
    CHECK(f.type == 'I' && f.len == LINK_FRAME_MAX);
    CHECK_INT(link_frame_next(out.data + 4, LINK_FRAME_MAX + 3, &f, &used), 0);
    CHECK(link_frame_next("I\1\0\1", 4, &f, &used) < 0);
    CHECK(link_frame_next("\0\0\0\1", 4, &f, &used) < 0);
    CHECK(link_has_word("exit, pipe,signal", "pipe") && !link_has_word("pipes", "pipe"));
    CHECK(!link_has_word("", "a") && !link_has_word(NULL, "a"));
    buf_free(&out);
}

static void actions(void) {
#define AT "\"router_address\":\"ws://r\",\"key\":\"K-1\",\"cookie\":\"a=b\""
    static const struct { const char *text; int rc; const char *want; } cases[] = {
        { "{\"action\":\"exec\"," AT ",\"entry_command\":\"bash\"}", 0, "exec bash" },
        { "{\"action\":\"exec\"," AT "}", 0, "exec " },
        { "{\"action\":\"portforward\"," AT ",\"task_port\":80}", 0, "portforward 80" },
        { "{\"action\":\"portforward\"," AT ",\"task_port\":80,\"use_udp\":true}", 0, "portforward 80 udp" },
        { "{\"action\":\"webserver\"," AT ",\"task_port\":65535,\"use_udp\":true}", 0, "webserver 65535" },
        { "{\"action\":\"rsync\"," AT ",\"task_port\":1,\"enable_telemetry\":true}", 0, "rsync 16000 telemetry" },
        { "{\"action\":\"portforward\"," AT "}", OSMO_EINVAL, "task_port is no port" },
        { "{\"action\":\"portforward\"," AT ",\"task_port\":65536}", OSMO_EINVAL, "task_port is no port" },
        { "{\"action\":\"exec\",\"key\":\"k\"}", OSMO_EINVAL, "router_address" },
        { "{\"action\":\"exec\",\"router_address\":\"ftp://r\",\"key\":\"k\"}", OSMO_EINVAL, "router_address" },
        { "{\"action\":\"exec\",\"router_address\":\"ws://r\",\"key\":\"a/b\"}", OSMO_EINVAL, "key" },
        { "{\"action\":\"exec\",\"router_address\":\"ws://r\",\"key\":\"\"}", OSMO_EINVAL, "key" },
        { "{\"action\":\"exec\",\"router_address\":\"ws://r\",\"key\":\"k\",\"cookie\":\"a\\r\\nX: 1\"}", OSMO_EINVAL, "cookie" },
        { "{\"action\":\"barrier\"}", OSMO_ENOTFOUND, "" },
        { "{\"action\":\"something\"}", OSMO_ENOTFOUND, "" },
        { "{}", OSMO_ENOTFOUND, "" },
        { "[]", OSMO_ENOTFOUND, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct action a;
        osmo_error_t err = OSMO_ERROR_INIT;
        json_t *o = NULL;
        char got[128];
        CHECK_INT(json_parse(cases[i].text, strlen(cases[i].text), &o, NULL), 0);
        CHECK_INT(action_parse(o, &a, &err), cases[i].rc);
        if (cases[i].rc == 0 && a.kind == ACTION_EXEC)
            snprintf(got, sizeof got, "exec %s", a.command);
        else
            snprintf(got, sizeof got, "%s %d%s%s", action_kind_name(a.kind), a.port, a.udp ? " udp" : "",
                     a.telemetry ? " telemetry" : "");
        if (cases[i].rc == 0)
            CHECK_STR(got, cases[i].want);
        else
            CHECK_CONTAINS(err.text, cases[i].want);
        action_clear(&a);
        json_free(o);
    }
}

static void announcements(void) {
    static const struct { const char *text; int rc; bool websocket, half_close; const char *path, *headers; } cases[] = {
        { "{\"key\":\"PORTFORWARD-1\",\"cookie\":\"c\"}", 0, false, false, NULL, "" },
        { "{\"key\":\"k\",\"cookie\":\"\",\"type\":\"tcp\",\"half_close\":true}", 0, false, true, NULL, "" },
        { "{\"key\":\"k\",\"type\":\"ws\",\"payload\":{\"path\":\"/a?b\",\"headers\":{\"A\":\"1\",\"b\":[\"2\",\"3\"],\"Host\":\"x\","
          "\"Connection\":\"x\",\"Sec-WebSocket-Version\":\"13\",\"bad name\":\"x\",\"C\":\"a\\nb\",\"D\":4}}}",
          0, true, false, "/a?b", "A: 1|b: 2|b: 3|" },
        { "{\"key\":\"k\",\"type\":\"ws\"}", OSMO_EINVAL, false, false, NULL, "" },
        { "{\"key\":\"k\",\"type\":\"ws\",\"payload\":{\"path\":\"no\"}}", OSMO_EINVAL, false, false, NULL, "" },
        { "{\"key\":\"k\",\"type\":\"ws\",\"payload\":{\"path\":\"/a b\"}}", OSMO_EINVAL, false, false, NULL, "" },
        { "{\"cookie\":\"c\"}", OSMO_EINVAL, false, false, NULL, "" },
        { "{\"key\":\"k\",\"cookie\":\"\\u0001\"}", OSMO_EINVAL, false, false, NULL, "" },
        { "nothing", OSMO_EINVAL, false, false, NULL, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct announcement a;
        char got[256] = "";
        CHECK_INT(announcement_parse(cases[i].text, strlen(cases[i].text), &a, NULL), cases[i].rc);
        for (size_t k = 0; k < a.headers.len; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s|", a.headers.items[k]);
        CHECK_STR(got, cases[i].headers);
        CHECK_INT(a.websocket, cases[i].websocket);
        CHECK_INT(a.half_close, cases[i].half_close);
        if (cases[i].path)
            CHECK_STR(a.path, cases[i].path);
        announcement_clear(&a);
    }
}

static void checkpoints(void) {
    static const struct { const char *text, *want; } cases[] = {
        { "/work;s3://b/c;90;", "/work s3://b/c 90 " },
        { "/a b;gs://b;7200;.*;\\.pt$", "/a b gs://b 7200 .*;\\.pt$" },
        { "/a;s3://b;0;", "/a s3://b 1 " }, /* never without a pause */
        { "/a;s3://b;-5;", NULL },
        { "/a;s3://b;soon;", NULL },
        { "/a;s3://b;5", NULL },
        { ";s3://b;5;", NULL },
        { "/a;;5;", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct checkpoint c;
        char got[256];
        CHECK_INT(checkpoint_parse(cases[i].text, &c, why, sizeof why), cases[i].want ? 0 : -1);
        if (!cases[i].want)
            continue;
        snprintf(got, sizeof got, "%s %s %lld %s", c.path, c.url, (long long)c.period_us / 1000000, c.regex);
        CHECK_STR(got, cases[i].want);
        checkpoint_clear(&c);
    }
}

/* ---- a limit on how fast ---- */

static void pace(void) {
    struct pace p = { .rate = 1000 }, any = { 0 };
    CHECK_INT((long long)pace_piece(&p, 65536), 50);
    CHECK_INT((long long)pace_piece(&any, 65536), 65536);
    CHECK_INT((long long)pace_piece(&(struct pace){ .rate = 3 }, 65536), 1);
    CHECK_INT(pace_wait_us(&p, 5000000), 0);
    pace_took(&p, 5000000, 50);
    CHECK_INT(pace_wait_us(&p, 5000000), 50000);
    pace_took(&p, 5000000, 50); /* more than was due is owed */
    CHECK_INT(pace_wait_us(&p, 5040000), 60000);
    CHECK_INT(pace_wait_us(&p, 9000000), 0);
    pace_took(&p, 9000000, 50); /* nothing is saved up */
    CHECK_INT(pace_wait_us(&p, 9000000), 50000);
    pace_took(&any, 9000000, 65536);
    CHECK_INT(pace_wait_us(&any, 9000000), 0);
}

struct carry { int client, server; };
static void *carry_main(void *arg) {
    const struct carry *c = arg;
    pace_carry(c->client, c->server, 64 << 20, 0);
    return NULL;
}

/* The far end of a connection: sends back what it gets, and its end after that. */
static void *echo_main(void *arg) {
    int fd = *(int *)arg;
    char data[4096];
    ssize_t n;
    while ((n = read(fd, data, sizeof data)) > 0)
        CHECK(write(fd, data, (size_t)n) == n);
    close(fd);
    return NULL;
}

static void carrying(void) {
    enum { SIZE = 1 << 20 };
    int client[2], server[2];
    pthread_t carrier, echo;
    char *sent = malloc(SIZE), *got = malloc(SIZE);
    REQUIRE(sent && got && pace_pair(client) == 0 && pace_pair(server) == 0);
    struct carry c = { client[1], server[0] };
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (char)(i * 7 + (i >> 8));
    REQUIRE(pthread_create(&carrier, NULL, carry_main, &c) == 0 && pthread_create(&echo, NULL, echo_main, &server[1]) == 0);
    size_t in = 0, out = 0;
    while (in < SIZE) {
        struct pollfd p = { .fd = client[0], .events = (short)(out < SIZE ? POLLIN | POLLOUT : POLLIN) };
        REQUIRE(poll(&p, 1, 30000) > 0);
        ssize_t n = p.revents & POLLOUT ? send(client[0], sent + out, SIZE - out, MSG_DONTWAIT) : 0;
        if (n > 0 && (out += (size_t)n) == SIZE)
            shutdown(client[0], SHUT_WR);
        n = p.revents & POLLIN ? recv(client[0], got + in, SIZE - in, 0) : 1;
        REQUIRE(n > 0);
        if (p.revents & POLLIN)
            in += (size_t)n;
    }
    CHECK(memcmp(sent, got, SIZE) == 0);
    CHECK_INT((long long)recv(client[0], got, 1, 0), 0); /* the end comes through, too */
    close(client[0]);
    pthread_join(carrier, NULL);
    pthread_join(echo, NULL);
    free(sent);
    free(got);
}

static const struct check_test tests[] = {
    { "words", words },     { "sizes", sizes },     { "escapes", escapes },           { "frames", frames },
    { "actions", actions }, { "announcements", announcements }, { "checkpoints", checkpoints },
    { "a limit on how fast", pace }, { "carried both ways", carrying },
};
TEST_MAIN("runtime_parts", tests)
