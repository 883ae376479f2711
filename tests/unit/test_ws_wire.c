/* What a websocket client reads and writes, without sockets: answers to upgrades, frames however they are cut, and masks. */
#include "check.h"
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/ws_client_wire.h"
#include "osmo/error.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* of RFC 6455 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n"

static void test_answers(void) {
    static const struct { const char *text; int status; bool wrong; const char *extensions; long rc; } cases[] = {
        { GOOD "\r\n", 101, false, "", 1 },
        { GOOD "x-osmo-extensions:  a,b \r\n\r\n", 101, false, "a,b", 1 },
        { "HTTP/1.1 101 X\r\nupgrade:WebSocket\r\nCONNECTION: keep-alive, upgrade\r\nsec-websocket-accept:\t" ACCEPT "\r\n\r\n",
          101, false, "", 1 },
        { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
          101, true, "", 1 },
        { "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 101, true, "", 1 },
        { "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", 101, true, "", 1 },
        { GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101, true, "", 1 },
        { GOOD "Sec-WebSocket-Protocol: x\r\n\r\n", 101, true, "", 1 },
        { "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", 403, false, "", 1 },
        { "HTTP/1.0 200 OK\r\n\r\n", 200, false, "", 1 },
        { "HTTP/1.1 100 Continue\r\n\r\n" GOOD "\r\n", 100, false, "", 1 },
        { GOOD, 0, false, "", 0 }, { "HTTP/1", 0, false, "", 0 }, { "", 0, false, "", 0 },
        { "SSH-2.0-x\r\n", 0, false, "", -1 }, { "HTTP/1.1 1x1 OK\r\n\r\n", 0, false, "", -1 }, { "HTTP/1.1\r\n\r\n", 0, false, "", -1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char extensions[32] = "";
        const char *why = NULL;
        int status = 0;
        long rc = wire_answer(cases[i].text, strlen(cases[i].text), KEY, &status, extensions, sizeof extensions, &why);
        CHECK_INT(rc < 0 ? -1 : rc > 0, cases[i].rc);
        CHECK_INT(status, cases[i].status);
        CHECK_STR(extensions, cases[i].extensions);
        if (status == 101)
            CHECK_INT(why != NULL, cases[i].wrong);
    }
    static char large[WIRE_ANSWER_MAX + 64] = "HTTP/1.1 200 OK\r\nX: ";
    const char *why;
    char extensions[8];
    int status;
    memset(large + 20, 'x', sizeof large - 20);
    CHECK(wire_answer(large, sizeof large, KEY, &status, extensions, sizeof extensions, &why) < 0);
}

/* Everything that is told, as text: B or T and the bytes, C and the opcode; ! and the code at the end. */
static void tell(const char *frames, size_t len, size_t step, bool pieces, buf_t *out) {
    struct wire w;
    wire_init(&w, 1000);
    w.pieces = pieces;
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step, used;
        char *data = malloc(n + 1); /* so that what is read behind it is seen */
        memcpy(data, frames + at, n);
        for (size_t k = 0; k < n; k += used) {
            const char *text = NULL, *why = NULL;
            size_t text_len = 0;
            int rc = wire_read(&w, data + k, n - k, &used, &text, &text_len, &why);
            if (rc == WIRE_MESSAGE) {
                buf_printf(out, "%s%.*s", pieces && w.binary && text_len ? "" : w.binary ? "B" : "T", (int)text_len, text);
                wire_done(&w);
            } else if (rc == WIRE_CONTROL) {
                buf_printf(out, "C%d%s", w.op, w.control);
            } else if (rc < 0) {
                buf_printf(out, "!%d", -rc);
                free(data);
                wire_free(&w);
                return;
            }
        }
        free(data);
    }
    wire_free(&w);
}

static void test_frames(void) {
#define F(bytes) bytes, sizeof bytes - 1
    static const struct { const char *frames; size_t len; const char *whole, *pieces; } cases[] = {
        { F("\x82\x03" "abc"), "Babc", "abc" }, { F("\x81\x03" "abc"), "Tabc", "Tabc" }, { F("\x82\x00"), "B", "B" },
        { F("\x81\x00"), "T", "T" },
        { F("\x02\x02" "ab" "\x80\x01" "c"), "Babc", "abc" }, { F("\x02\x02" "ab" "\x89\x01" "p" "\x80\x01" "c"), "C9pBabc", "abC9pc" },
        { F("\x02\x00\x80\x00"), "B", "B" }, { F("\x02\x01" "a" "\x80\x00" "\x82\x00"), "BaB", "aB" },
        { F("\x82\x7e\x00\x03" "abc"), "Babc", "abc" }, { F("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03" "abc"), "Babc", "abc" },
        { F("\x88\x05\x03\xe8" "bye"), NULL, NULL }, { F("\x81\x02\xc3\xa4"), "T\xc3\xa4", "T\xc3\xa4" },
        { F("\x01\x01\xc3" "\x80\x01\xa4"), "T\xc3\xa4", "T\xc3\xa4" }, { F("\x81\x01\xc3"), "!1007", "!1007" },
        { F("\xc2\x00"), "!1002", "!1002" }, { F("\x82\x80" "1234"), "!1002", "!1002" }, { F("\x83\x00"), "!1002", "!1002" },
        { F("\x80\x00"), "!1002", "!1002" }, { F("\x02\x00\x82\x00"), "!1002", "!1002" }, { F("\x09\x00"), "!1002", "!1002" },
        { F("\x89\x7e\x00\x7e"), "!1002", "!1002" }, { F("\x81\x7e\x03\xe9"), "!1009", "!1009" },
        { F("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "!1009", "" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t step = 1; step <= cases[i].len; step++) {
            for (int pieces = 0; pieces < 2; pieces++) {
                const char *want = pieces ? cases[i].pieces : cases[i].whole;
                buf_t out = BUF_INIT(4096);
                tell(cases[i].frames, cases[i].len, step, pieces, &out);
                if (want)
                    CHECK_STR(buf_cstr(&out), want);
                buf_free(&out);
            }
        }
    }
}

static void test_masks(void) {
    static const size_t lengths[] = { 0, 1, 3, 7, 31, 32, 33, 125, 126, 1000, 65535, 65536, 70001 };
    static const unsigned char mask[4] = { 0x12, 0x34, 0x56, 0x78 };
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        size_t len = lengths[i], more = len < 126 ? 0 : len < 65536 ? 2 : 8;
        unsigned char *room = malloc(WIRE_HEAD_MAX + len + 1), *payload = room + WIRE_HEAD_MAX;
        for (size_t k = 0; k < len; k++)
            payload[k] = (unsigned char)(k * 7);
        payload[len] = 0xee;
        unsigned char *p = wire_frame(payload, len, WIRE_BINARY, true, mask);
        CHECK_INT(payload - p, 6 + more);
        CHECK_INT(p[0], 0x82);
        CHECK(p[1] & 0x80);
        CHECK(memcmp(payload - 4, mask, 4) == 0);
        size_t bad = payload[len] != 0xee;
        for (size_t k = 0; k < len; k++)
            bad += (unsigned char)(payload[k] ^ mask[k & 3]) != (unsigned char)(k * 7);
        CHECK_INT(bad, 0);
        free(room);
    }
}

static void test_requests(void) {
    char *lines[] = { (char *)(uintptr_t)"A: b", (char *)(uintptr_t)"C: d" };
    const strlist_t headers = { lines, 2, 2 };
    buf_t out = BUF_INIT(0);
    CHECK_INT(wire_request(&out, "/p?q", "h:1", KEY, &headers, "x"), 0);
    CHECK_STR(buf_cstr(&out), "GET /p?q HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " KEY
              "\r\nSec-WebSocket-Version: 13\r\nA: b\r\nC: d\r\nX-Osmo-Extensions: x\r\n\r\n");
    buf_free(&out);
    char one[WIRE_KEY_TEXT], two[WIRE_KEY_TEXT];
    CHECK_INT(wire_key(one), 0);
    CHECK_INT(wire_key(two), 0);
    CHECK_INT(strlen(one), 24);
    CHECK(strcmp(one, two) != 0);
}

static const struct check_test tests[] = {
    { "answers", test_answers }, { "frames", test_frames }, { "masks", test_masks }, { "requests", test_requests },
};
TEST_MAIN("ws_wire", tests)
