/* See ws_client_wire.h. */
#include "base/ws_client_wire.h"
#include <string.h>
#include <strings.h>
#include "base/crypto.h"
#include "osmo/error.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define REQUEST_MAX (64u << 10)

/* ---- the handshake ---- */

int wire_key(char key[WIRE_KEY_TEXT]) {
    unsigned char random[16];
    buf_t text = BUF_INIT(64);
    int rc = crypto_random(random, sizeof random);
    if (rc == 0)
        rc = crypto_base64(random, sizeof random, &text);
    if (rc == 0)
        memcpy(key, buf_cstr(&text), WIRE_KEY_TEXT);
    buf_free(&text);
    return rc;
}

int wire_request(buf_t *out, const char *path, const char *host, const char *key, const strlist_t *headers, const char *extensions) {
    out->max = REQUEST_MAX;
    buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
               "Sec-WebSocket-Version: 13\r\n", path, host, key);
    for (size_t i = 0; i < headers->len; i++)
        buf_printf(out, "%s\r\n", headers->items[i]);
    if (extensions)
        buf_printf(out, "X-Osmo-Extensions: %s\r\n", extensions);
    return buf_puts(out, "\r\n");
}

static bool accepted(const char *key, const char *value, size_t len) {
    unsigned char digest[20];
    buf_t text = BUF_INIT(128), want = BUF_INIT(64);
    buf_printf(&text, "%s%s", key, GUID);
    crypto_sha1(text.data, text.len, digest);
    crypto_base64(digest, sizeof digest, &want);
    bool same = !buf_failed(&text) && !buf_failed(&want) && want.len == len && memcmp(want.data, value, len) == 0;
    buf_free(&text);
    buf_free(&want);
    return same;
}

static bool is(const char *name, size_t len, const char *wanted) { return strlen(wanted) == len && strncasecmp(name, wanted, len) == 0; }

/* Is it one of the words of a list with commas? */
static bool has_word(const char *value, size_t len, const char *word) {
    for (size_t at = 0; at < len; at++) {
        while (at < len && (value[at] == ' ' || value[at] == '\t' || value[at] == ','))
            at++;
        size_t end = at;
        while (end < len && value[end] != ',')
            end++;
        size_t last = end;
        while (last > at && (value[last - 1] == ' ' || value[last - 1] == '\t'))
            last--;
        if (is(value + at, last - at, word))
            return true;
        at = end;
    }
    return false;
}

struct answer { const char *key; char *extensions; size_t size; bool upgrade, connection, accept; const char *why; };

static void header(struct answer *a, const char *name, size_t name_len, const char *value, size_t len) {
    if (is(name, name_len, "upgrade")) {
        a->upgrade = is(value, len, "websocket");
    } else if (is(name, name_len, "connection")) {
        a->connection |= has_word(value, len, "upgrade");
    } else if (is(name, name_len, "sec-websocket-accept")) {
        a->accept = accepted(a->key, value, len);
    } else if (is(name, name_len, "sec-websocket-extensions") || is(name, name_len, "sec-websocket-protocol")) {
        a->why = "the answer agrees to what was not offered";
    } else if (is(name, name_len, "x-osmo-extensions") && len < a->size) {
        memcpy(a->extensions, value, len);
        a->extensions[len] = '\0';
    }
}

static void headers(struct answer *a, const char *text, const char *end) {
    while (text < end) {
        const char *line_end = memmem(text, (size_t)(end - text), "\r\n", 2);
        line_end = line_end ? line_end : end;
        const char *colon = memchr(text, ':', (size_t)(line_end - text));
        if (colon) {
            const char *value = colon + 1, *last = line_end;
            while (value < last && (*value == ' ' || *value == '\t'))
                value++;
            while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
                last--;
            header(a, text, (size_t)(colon - text), value, (size_t)(last - value));
        }
        text = line_end + 2;
    }
}

long wire_answer(const char *text, size_t len, const char *key, int *status, char *extensions, size_t size, const char **why) {
    static const char version[] = "HTTP/1.";
    size_t known = len < sizeof version - 1 ? len : sizeof version - 1;
    if (memcmp(text, version, known) != 0)
        return OSMO_EINVAL;
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (!end)
        return len > WIRE_ANSWER_MAX ? OSMO_ELIMIT : 0;
    if (end - text < 12 || text[8] != ' ' || strspn(text + 9, "0123456789") < 3)
        return OSMO_EINVAL;
    *status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + text[11] - '0';
    struct answer a = { .key = key, .extensions = extensions, .size = size };
    extensions[0] = '\0';
    const char *first = memmem(text, (size_t)(end - text) + 2, "\r\n", 2);
    headers(&a, first + 2, end + 2);
    *why = a.why;
    if (*status == 101 && !a.why && !(a.upgrade && a.connection && a.accept))
        *why = "the answer is not the one to a websocket's request";
    return end + 4 - text;
}

/* ---- frames from the server ---- */

void wire_init(struct wire *w, size_t max_message) {
    memset(w, 0, sizeof *w);
    buf_init(&w->message, max_message);
}

void wire_free(struct wire *w) { buf_free(&w->message); }

static int fail(int code, const char *text, const char **why) {
    *why = text;
    return -code;
}

static size_t head_size(const struct wire *w) {
    unsigned len = w->head[1] & 0x7f;
    return w->head_len < 2 ? 2 : 2 + (len == 126 ? 2u : len == 127 ? 8u : 0u);
}

static int check_start(struct wire *w, const char **why) {
    bool control = w->head[0] & 8;
    w->fin = w->head[0] & 0x80;
    w->op = w->head[0] & 0x0f;
    if (w->head[0] & 0x70)
        return fail(1002, "no extension was agreed on", why);
    if (w->head[1] & 0x80)
        return fail(1002, "frames of a server are not masked", why);
    if (w->op > WIRE_PONG || (w->op > WIRE_BINARY && !control))
        return fail(1002, "the kind of the frame is unknown", why);
    if (control)
        return w->fin && (w->head[1] & 0x7f) <= WIRE_CONTROL_MAX ? 0 : fail(1002, "a control frame is short and whole", why);
    if (w->in_message == (w->op != WIRE_CONTINUE))
        return fail(1002, w->in_message ? "the message before is not complete" : "there is no message to continue", why);
    return 0;
}

static int open_frame(struct wire *w, const char **why) {
    size_t more = head_size(w) - 2;
    w->left = more ? 0 : w->head[1] & 0x7f;
    for (size_t i = 0; i < more; i++)
        w->left = w->left << 8 | w->head[2 + i];
    w->open = true;
    w->control_len = 0;
    if (w->op & 8)
        return 0;
    if (w->op != WIRE_CONTINUE) {
        w->binary = w->op == WIRE_BINARY;
        w->told = false;
    }
    w->in_message = true;
    if (!(w->pieces && w->binary) && (w->left > w->message.max || w->message.len > w->message.max - w->left))
        return fail(1009, "the message is too large", why);
    return 0;
}

/* The frame is whole. */
static int close_frame(struct wire *w) {
    w->open = false;
    w->head_len = 0;
    if (w->op & 8) {
        w->control[w->control_len] = '\0';
        return WIRE_CONTROL;
    }
    if (w->fin)
        w->in_message = false;
    return w->fin ? WIRE_MESSAGE : WIRE_MORE;
}

static int whole(struct wire *w, char *data, size_t len, const char **text, size_t *text_len, const char **why) {
    *text = data;
    *text_len = len;
    if (!w->binary && !utf8_valid(data, len))
        return fail(1007, "the text is not UTF-8", why);
    return WIRE_MESSAGE;
}

/* n bytes of a payload, or none of an empty one. */
static int payload(struct wire *w, char *data, size_t n, const char **text, size_t *text_len, const char **why) {
    if (w->op & 8) {
        memcpy(w->control + w->control_len, data, n);
        w->control_len += n;
        w->left -= n;
        return w->left ? WIRE_MORE : close_frame(w);
    }
    w->left -= n;
    bool over = w->left == 0, direct = over && w->fin && !w->message.len;
    if (w->pieces && w->binary) {
        int rc = over ? close_frame(w) : WIRE_MORE;
        *text = data;
        *text_len = n;
        bool tell = n || (rc == WIRE_MESSAGE && !w->told); /* empty ones mean something as a whole only */
        w->told |= n > 0;
        return tell ? WIRE_MESSAGE : WIRE_MORE;
    }
    if (!direct && buf_append(&w->message, data, n) < 0)
        return fail(1011, "out of memory", why);
    if (!over || close_frame(w) == WIRE_MORE)
        return WIRE_MORE;
    if (direct)
        return whole(w, data, n, text, text_len, why);
    buf_cstr(&w->message);
    return whole(w, w->message.data, w->message.len, text, text_len, why);
}

int wire_read(struct wire *w, char *data, size_t len, size_t *used, const char **text, size_t *text_len, const char **why) {
    size_t at = 0;
    int rc = WIRE_MORE;
    while (rc == WIRE_MORE && (at < len || (w->open && !w->left))) {
        if (w->open) {
            size_t n = len - at < w->left ? len - at : (size_t)w->left;
            rc = payload(w, data + at, n, text, text_len, why);
            at += n;
            continue;
        }
        size_t n = head_size(w) - w->head_len;
        n = len - at < n ? len - at : n;
        memcpy(w->head + w->head_len, data + at, n);
        w->head_len += n;
        at += n;
        if (w->head_len == 2)
            rc = check_start(w, why);
        if (rc == 0 && w->head_len >= 2 && w->head_len == head_size(w))
            rc = open_frame(w, why);
    }
    *used = at;
    return rc;
}

void wire_done(struct wire *w) {
    if (w->message.cap > (64u << 10))
        buf_free(&w->message);
    else
        buf_reset(&w->message);
}

/* ---- frames to the server ---- */

static void mask_it(unsigned char *data, size_t n, const unsigned char mask[4]) {
    uint64_t word, key;
    uint32_t half;
    memcpy(&half, mask, sizeof half);
    key = (uint64_t)half << 32 | half;
    for (; n >= 4 * sizeof word; n -= 4 * sizeof word, data += 4 * sizeof word) { /* the compiler makes vectors of it */
        for (int i = 0; i < 4; i++) {
            memcpy(&word, data + (size_t)i * sizeof word, sizeof word);
            word ^= key;
            memcpy(data + (size_t)i * sizeof word, &word, sizeof word);
        }
    }
    for (size_t i = 0; i < n; i++)
        data[i] ^= mask[i & 3];
}

unsigned char *wire_frame(unsigned char *data, size_t len, unsigned op, bool fin, const unsigned char mask[4]) {
    unsigned char *p = data;
    int more = len < 126 ? 0 : len < 65536 ? 2 : 8;
    mask_it(data, len, mask);
    p -= 4;
    memcpy(p, mask, 4);
    for (int i = 0; i < more; i++)
        *--p = (unsigned char)((uint64_t)len >> 8 * i);
    *--p = (unsigned char)(0x80 | (more == 0 ? (unsigned)len : more == 2 ? 126u : 127u));
    *--p = (unsigned char)((fin ? 0x80 : 0) | op);
    return p;
}
