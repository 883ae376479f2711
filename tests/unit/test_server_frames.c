/* Frames of websocket clients: what the reader takes and refuses, in whatever pieces it comes; and the goodbyes of both sides over real
 * sockets. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server/net.h"
#include "server_fixture.h"

#define FRAME(text) text, sizeof(text) - 1
#define M "\0\0\0\0" /* a mask that changes nothing */
#define LARGEST 300

/* ---- the reader ---- */

struct input { const char *name, *data; size_t len; const char *told; };

static void tell(buf_t *told, struct frames *f, int what) {
    if (what < 0)
        buf_printf(told, "%d", what);
    else if (what == FRAMES_MESSAGE)
        buf_printf(told, "%s(%s)", f->binary ? "binary" : "text", buf_cstr(&f->message));
    else if (what != FRAMES_MORE)
        buf_printf(told, "%s(%.*s)", what == FRAMES_PING ? "ping" : what == FRAMES_PONG ? "pong" : "close", (int)f->control_len,
                   (const char *)f->control);
    if (what == FRAMES_MESSAGE)
        buf_reset(&f->message);
}

/* Everything that is told of, until the end of a conversation. */
static void read_pieces(const struct input *in, size_t step, bool deaf, buf_t *told) {
    struct frames f;
    int what = FRAMES_MORE;
    frames_init(&f, LARGEST);
    f.deaf = deaf;
    for (size_t at = 0; at < in->len && what >= 0 && what != FRAMES_CLOSE;) {
        char piece[1024];
        size_t n = in->len - at < step ? in->len - at : step, used = 0;
        memcpy(piece, in->data + at, n);
        what = frames_read(&f, piece, n, &used);
        if (what != FRAMES_MORE)
            tell(told, &f, what);
        at += used;
    }
    frames_free(&f);
}

static void check_input(const struct input *in) {
    for (size_t step = 1; step <= in->len; step++) {
        _cleanup_buf_ buf_t told = BUF_INIT(4096);
        read_pieces(in, step, false, &told);
        if (strcmp(buf_cstr(&told), in->told) != 0)
            fprintf(stderr, "# %s, in pieces of %zu\n", in->name, step);
        CHECK_STR(buf_cstr(&told), in->told);
    }
}

static void test_taken(void) {
    static const struct input inputs[] = {
        { "text", FRAME("\x81\x82" M "hi"), "text(hi)" },
        { "binary", FRAME("\x82\x82" M "\xff\xfe"), "binary(\xff\xfe)" },
        { "empty", FRAME("\x81\x80" M), "text()" },
        { "two at once", FRAME("\x81\x81" M "a\x81\x81" M "b"), "text(a)text(b)" },
        { "fragments", FRAME("\x01\x81" M "a\x00\x80" M "\x80\x81" M "b"), "text(ab)" },
        { "a letter in two fragments", FRAME("\x01\x81" M "\xc3\x80\x81" M "\xa9"), "text(\xc3\xa9)" },
        { "control frames between fragments", FRAME("\x02\x81" M "a\x89\x81" M "p\x8a\x80" M "\x80\x81" M "b"), "ping(p)pong()binary(ab)" },
        { "a longer form of a length", FRAME("\x81\xff\0\0\0\0\0\0\0\x02" M "hi"), "text(hi)" },
        { "close", FRAME("\x88\x80" M "\x81\x81" M "a"), "close()" },
        { "close with a reason", FRAME("\x88\x85" M "\x10\x11" "bye"), "close(\x10\x11" "bye)" },
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        check_input(&inputs[i]);
}

static void test_refused(void) {
    static const struct input inputs[] = {
        { "not masked", FRAME("\x81\x02hi"), "-1002" },
        { "two bytes of a ping are enough", FRAME("\x89\x00"), "-1002" },
        { "first reserved bit", FRAME("\xc1\x80"), "-1002" },
        { "second reserved bit", FRAME("\xa1\x80"), "-1002" },
        { "third reserved bit", FRAME("\x91\x80"), "-1002" },
        { "unknown kind", FRAME("\x83\x80"), "-1002" },
        { "unknown control frame", FRAME("\x8b\x80"), "-1002" },
        { "continuation of nothing", FRAME("\x80\x80"), "-1002" },
        { "message within a message", FRAME("\x01\x81" M "a\x81\x80"), "-1002" },
        { "continuation after the end", FRAME("\x81\x81" M "a\x80\x80"), "text(a)-1002" },
        { "ping in fragments", FRAME("\x09\x80"), "-1002" },
        { "long ping", FRAME("\x89\xfe"), "-1002" },
        { "text that is none", FRAME("\x81\x82" M "\xc3\x28"), "-1007" },
        { "half a letter at the end", FRAME("\x01\x81" M "a\x80\x81" M "\xc3"), "-1007" },
        { "a surrogate", FRAME("\x81\x83" M "\xed\xa0\x80"), "-1007" },
        { "close with half a code", FRAME("\x88\x81" M "\x03"), "-1002" },
        { "close with the code of no code", FRAME("\x88\x82" M "\x03\xed"), "-1002" },
        { "close with the code of a lost connection", FRAME("\x88\x82" M "\x03\xee"), "-1002" },
        { "close with a code below all", FRAME("\x88\x82" M "\x03\xe7"), "-1002" },
        { "close with a code above all", FRAME("\x88\x82" M "\x13\x88"), "-1002" },
        { "close with a reason that is no text", FRAME("\x88\x83" M "\x03\xe8\xff"), "-1007" },
        { "too large", FRAME("\x82\xfe\x01\x2d" M), "-1009" },
        { "too large in all", FRAME("\x02\x81" M "a\x80\xfe\x01\x2c" M), "-1009" },
        { "highest bit of a length", FRAME("\x82\xff\x80\0\0\0\0\0\0\0" M), "-1009" },
        { "longest", FRAME("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" M), "-1009" },
    };
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        check_input(&inputs[i]);
}

/* Every mask, at every place of a frame that comes in pieces. */
static void test_masks(void) {
    static const unsigned char mask[4] = { 0x11, 0x80, 0xff, 0x3c };
    char data[6 + 100], plain[101] = "";
    for (size_t step = 1; step <= sizeof data; step++) {
        _cleanup_buf_ buf_t told = BUF_INIT(4096), want = BUF_INIT(4096);
        memcpy(data, "\x81\xe4", 2); /* 100 bytes */
        memcpy(data + 2, mask, 4);
        for (size_t i = 0; i < 100; i++) {
            plain[i] = (char)('a' + i % 26);
            data[6 + i] = (char)(plain[i] ^ mask[i & 3]);
        }
        struct input in = { "masked", data, sizeof data, NULL };
        read_pieces(&in, step, false, &told);
        buf_printf(&want, "text(%s)", plain);
        CHECK_STR(buf_cstr(&told), buf_cstr(&want));
    }
}

/* After our goodbye messages are not told of, and nothing of them is kept; control frames are. */
static void test_deaf(void) {
    static const struct input in = { "deaf", FRAME("\x81\x82" M "hi\x89\x81" M "p\x82\x82" M "\xff\xff\x88\x82" M "\x03\xe8"), NULL };
    _cleanup_buf_ buf_t told = BUF_INIT(4096);
    read_pieces(&in, 3, true, &told);
    CHECK_STR(buf_cstr(&told), "ping(p)close(\x03\xe8)");
}

/* ---- over sockets ---- */
#define UPGRADE \
    "GET /ws HTTP/1.1\r\nHost: x\r\nX-Osmo-User: alice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

static size_t read_rest(int fd, char *got, size_t max) {
    size_t len = 0;
    ssize_t n;
    while (len < max && (n = read(fd, got + len, max - len)) > 0)
        len += (size_t)n;
    return len;
}

/* A client that waits for nothing: its head, its frames and its goodbye are one segment, behind another request too. */
static void test_in_one_segment(void) {
    static const char alone[] = UPGRADE "\r\n\x81\x82" M "hi\x88\x82" M "\x03\xe8",
                      behind[] = "GET /line HTTP/1.1\r\nHost: x\r\n\r\n" UPGRADE "\r\n\x81\x82" M "hi\x88\x82" M "\x03\xe8";
    static const struct { const char *data; size_t len; } cases[] = { { FRAME(alone) }, { FRAME(behind) } };
    REQUIRE(start_with(2, 0));
    for (size_t i = 0; i < 2; i++) {
        char got[8192];
        int fd = dial();
        CHECK_INT(send(fd, cases[i].data, cases[i].len, MSG_NOSIGNAL), cases[i].len);
        size_t len = read_rest(fd, got, sizeof got);
        CHECK(memmem(got, len, " 101 Switching", 14) != NULL);
        CHECK(len > 4 && memcmp(got + len - 4, "\x88\x02\x03\xe8", 4) == 0);
        close(fd);
    }
    wait_for(&ws_closed_count, 2);
    stop();
}

/* What was offered and is not spoken is not mentioned. */
static void test_offers(void) {
    REQUIRE(start_with(2, 0));
    int fd = dial();
    const char *got = talk(fd, UPGRADE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                                       "Sec-WebSocket-Protocol: chat, superchat\r\n\r\n", "hello");
    CHECK_CONTAINS(got, " 101 ");
    CHECK(!strstr(got, "Sec-WebSocket-Extensions") && !strstr(got, "Sec-WebSocket-Protocol"));
    close(fd);
    fd = dial();
    got = talk(fd, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!!==\r\n\r\n", NULL);
    CHECK_CONTAINS(got, " 400 ");
    close(fd);
    fd = dial();
    got = talk(fd, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", NULL);
    CHECK_CONTAINS(got, " 426 ");
    CHECK_CONTAINS(got, "Sec-WebSocket-Version: 13");
    close(fd);
    stop();
}

/* We say goodbye first; what the client sends until it answers is not delivered, and then we hang up. */
static void test_our_goodbye(void) {
    char got[4096];
    REQUIRE(start_with(2, 0));
    int fd = dial();
    CHECK_CONTAINS(talk(fd, UPGRADE "\r\n", "hello"), " 101 ");
    CHECK(send(fd, "\x81\x85" M "close", 11, MSG_NOSIGNAL) == 11);
    size_t len = 0;
    while (len < 4 + 8 && (len += (size_t)read(fd, got + len, sizeof got - len)))
        ;
    CHECK(len == 12 && memcmp(got, "\x88\x0a\x0f\xa1" "as asked", 12) == 0);
    CHECK(send(fd, "\x81\x82" M "hi\x89\x80" M "\x88\x82" M "\x0f\xa1", 22, MSG_NOSIGNAL) == 22);
    CHECK_INT(read_rest(fd, got, sizeof got), 0);
    close(fd);
    wait_for(&ws_closed_count, 1);
    stop();
}

/* A client that takes nothing and talks on is cut off when its session has been ended, if it cannot be told so. */
static void test_never_reads(void) {
    static char large[1 << 20];
    net_patience.stall_ms = 300;
    REQUIRE(start_with(2, 0));
    int fd = dial();
    CHECK_CONTAINS(talk(fd, UPGRADE "\r\n", "hello"), " 101 ");
    const osmo_transport_t *t = service.transport;
    int rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = t->ws_send(t->impl, last_ws, large, sizeof large, 1);
    CHECK_INT(rc, OSMO_ELIMIT); /* what waits for it is bounded */
    rc = 0;
    for (int i = 0; i < 4000000 && rc == 0; i++)
        rc = t->ws_send(t->impl, last_ws, "", 0, 1);
    CHECK_INT(rc, OSMO_ELIMIT); /* empty messages are something, too */
    CHECK(send(fd, "\x89\x80" M, 6, MSG_NOSIGNAL) == 6);
    t->ws_close(t->impl, last_ws, 1008, "revoked");
    CHECK_INT(t->ws_send(t->impl, last_ws, "x", 1, 1), OSMO_ENOTFOUND);
    wait_for(&ws_closed_count, 1);
    close(fd);
    stop();
}

static const struct check_test tests[] = {
    { "taken", test_taken },
    { "refused", test_refused },
    { "masks", test_masks },
    { "after our goodbye", test_deaf },
    { "all in one segment", test_in_one_segment },
    { "offers", test_offers },
    { "our goodbye", test_our_goodbye },
    { "a client that never reads", test_never_reads },
};
TEST_MAIN("server_frames", tests)
