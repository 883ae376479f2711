/* The HTTP half of the scripted agent: logging in, the upgrade, and every place where a connection may end before it is one. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/str.h"
#include "check.h"
#include "upstream_int.h"

static const char *const names[UP_PATHS] = { "listener/control", "listener/pod", "listener/node", "listener/event", "listener/heartbeat",
                                             "worker" };

/* ---- SHA-1, which the answer to an upgrade needs and nothing else here does ---- */

static uint32_t rotate(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void sha1_block(uint32_t h[5], const uint8_t *p) {
    uint32_t w[80], s[5];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (s[1] & s[2]) | (~s[1] & s[3]) : i < 40 || i >= 60 ? s[1] ^ s[2] ^ s[3]
                                                             : (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t t = rotate(s[0], 5) + f + s[4] + k + w[i];
        s[4] = s[3], s[3] = s[2], s[2] = rotate(s[1], 30), s[1] = s[0], s[0] = t;
    }
    for (int i = 0; i < 5; i++)
        h[i] += s[i];
}

/* Of a key of a WebSocket with its suffix: two blocks at the most. */
static void accept_key(const char *key, buf_t *out) {
    uint8_t block[128] = { 0 }, digest[20];
    uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    size_t len = (size_t)snprintf((char *)block, sizeof block - 9, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    size_t end = len < 56 ? 64 : 128;
    block[len] = 0x80;
    block[end - 2] = (uint8_t)(len * 8 >> 8), block[end - 1] = (uint8_t)(len * 8);
    for (size_t i = 0; i < end; i += 64)
        sha1_block(h, block + i);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    crypto_base64(digest, sizeof digest, out);
}

/* ---- requests ---- */

struct request { char text[16384]; size_t len; char *body; };

/* @return false when the client went */
static bool read_request(int fd, struct request *r) {
    char *end = NULL;
    *r = (struct request){ .len = 0 };
    while (!end && r->len + 1 < sizeof r->text) {
        ssize_t n = recv(fd, r->text + r->len, 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        r->text[++r->len] = '\0';
        end = strstr(r->text, "\r\n\r\n");
    }
    if (!end)
        return false;
    r->body = end + 4;
    return true;
}

static bool header(const struct request *r, const char *name, char *out, size_t max) {
    size_t n = strlen(name);
    for (const char *line = strstr(r->text, "\r\n"); line && line + 2 < r->body - 2; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) != 0 || line[2 + n] != ':')
            continue;
        const char *value = line + 3 + n + strspn(line + 3 + n, " ");
        snprintf(out, max, "%.*s", (int)strcspn(value, "\r"), value);
        return true;
    }
    return false;
}

static bool answer(int fd, int status, const char *body) {
    _cleanup_free_ char *text = str_printf("HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                                           strlen(body), body);
    return text && up_write(fd, text, strlen(text));
}

/* ---- POST /api/auth/jwt/access_token ---- */

static void check_login(struct up_conn *c, const struct request *r, const json_t *v) { /* lock held */
    char text[256];
    const char *token = json_get_str(v, "token");
    if (json_len(v) != 1 || !token)
        up_complain(c, str_dup("the login is not exactly a token"));
    if (!header(r, "User-Agent", text, sizeof text) || strncmp(text, "osmo-operator/6.", 16) != 0)
        up_complain(c, str_dup("the login has another User-Agent"));
    if (!header(r, "Content-Type", text, sizeof text) || strncmp(text, "application/json", 16) != 0)
        up_complain(c, str_dup("the login is not said to be JSON"));
    if (U.asked < 256)
        U.token_lengths[U.asked] = token ? (int)strlen(token) : 0;
    U.asked++;
    pthread_cond_broadcast(&U.cond);
}

/* @return false when the connection ends */
static bool log_in(struct up_conn *c, struct request *r) {
    char text[64], body[256];
    json_t *v = NULL;
    size_t len = header(r, "Content-Length", text, sizeof text) ? (size_t)atol(text) : 0, have = r->len - (size_t)(r->body - r->text);
    while (have < len && r->len + 1 < sizeof r->text) {
        ssize_t n = recv(c->fd, r->text + r->len, len - have, 0);
        if (n <= 0)
            return false;
        r->len += (size_t)n, have += (size_t)n;
    }
    if (json_parse(r->body, len, &v, NULL) < 0)
        v = NULL;
    pthread_mutex_lock(&U.lock);
    int what = U.nlogins ? U.logins[U.asked < U.nlogins ? U.asked : U.nlogins - 1] : 200;
    check_login(c, r, v);
    const char *token = json_get_str(v, "token");
    if (what == 200 && (!token || (strlen(token) != 43 && strlen(token) != 64)))
        what = 422;
    if (what == 200 && U.token[0] && strcmp(U.token, token) != 0)
        what = 401;
    pthread_mutex_unlock(&U.lock);
    json_free(v);
    if (what == UP_LOGIN_CLOSE)
        return false;
    if (what == UP_LOGIN_SILENT) { /* until the client has enough */
        while (recv(c->fd, text, sizeof text, 0) > 0)
            ;
        return false;
    }
    if (what == UP_LOGIN_EMPTY || what == UP_LOGIN_NO_TOKEN)
        return answer(c->fd, 200, what == UP_LOGIN_EMPTY ? "" : "{\"expires_at\":1}");
    snprintf(body, sizeof body, "{\"token\":\"header.payload.signature\",\"expires_at\":1900000000}");
    return answer(c->fd, what, what == 200 ? body : "{\"message\":\"no\",\"error_code\":\"USER\"}");
}

/* ---- the upgrade ---- */

static int path_of(const struct request *r) {
    for (int i = 0; i < UP_PATHS; i++) {
        _cleanup_free_ char *line = str_printf("GET /api/agent/%s/backend/east HTTP/1.1\r\n", names[i]);
        if (line && strncmp(r->text, line, strlen(line)) == 0)
            return i;
    }
    return -1;
}

static void check_upgrade(struct up_conn *c, const struct request *r) { /* lock held */
    char text[256];
    if (header(r, "Sec-WebSocket-Protocol", text, sizeof text))
        up_complain(c, str_dup("a subprotocol is asked for"));
    if (!header(r, "Sec-WebSocket-Version", text, sizeof text) || strcmp(text, "13") != 0)
        up_complain(c, str_dup("another version of WebSocket"));
    bool jwt = header(r, "Authorization", text, sizeof text);
    if (U.token[0] ? !jwt || strcmp(text, "Bearer header.payload.signature") != 0 : jwt)
        up_complain(c, str_dup("the upgrade has another Authorization"));
    bool user = header(r, "x-osmo-user", text, sizeof text);
    if (U.token[0] ? user : !user || !*text)
        up_complain(c, str_dup("x-osmo-user is for the development mode, and for nothing else"));
}

static enum up_cut cut_here(int path, int *status) { /* lock held */
    enum up_cut stage = U.cuts[path].stage;
    *status = U.cuts[path].http_status;
    U.cuts[path].stage = UP_CUT_NONE;
    return stage;
}

/* @return true when it is a WebSocket now */
static bool upgrade(struct up_conn *c, const struct request *r) {
    char key[128] = "";
    int status = 0;
    _cleanup_buf_ buf_t accept = BUF_INIT(256);
    pthread_mutex_lock(&U.lock);
    int path = path_of(r);
    if (path >= 0 && header(r, "Sec-WebSocket-Key", key, sizeof key))
        check_upgrade(c, r);
    else
        up_complain(c, str_printf("an unknown request: %.80s", r->text));
    c->path = path;
    c->cut = path >= 0 ? cut_here(path, &status) : UP_CUT_NONE;
    pthread_mutex_unlock(&U.lock);
    accept_key(key, &accept);
    if (path < 0 || !*key || c->cut == UP_CUT_REQUEST)
        return false;
    if (c->cut == UP_CUT_REFUSED)
        return answer(c->fd, status, "{}"), false;
    _cleanup_free_ char *text = str_printf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                           "Sec-WebSocket-Accept: %s\r\nserver: uvicorn\r\n\r\n", buf_cstr(&accept));
    if (!text || !up_write(c->fd, text, c->cut == UP_CUT_HALF_ANSWER ? 40 : strlen(text)))
        return false;
    return c->cut != UP_CUT_HALF_ANSWER && c->cut != UP_CUT_UPGRADED;
}

/* ---- connections ---- */

static void opened(struct up_conn *c) {
    pthread_mutex_lock(&U.lock);
    U.current[c->path] = c;
    U.upgraded[c->path]++;
    pthread_cond_broadcast(&U.cond);
    pthread_mutex_unlock(&U.lock);
    static const char *const hello[UP_PATHS] = {
        [UP_CONTROL] = "{\"type\":\"node_conditions\",\"body\":{\"rules\":null},\"uuid\":\"0123456789abcdef0123456789abcdef\"}",
        [UP_WORKER] = "{\"type\":\"heartbeat\"}",
    };
    const char *text = hello[c->path];
    if (text)
        up_frame(c, 1, true, text, strlen(text));
}

static void closed(struct up_conn *c) {
    shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_lock(&U.lock);
    while (c->users)
        pthread_cond_wait(&U.cond, &U.lock);
    if (c->path >= 0 && U.current[c->path] == c)
        U.current[c->path] = NULL;
    if (U.job_conn == c->id)
        U.job_conn = 0; /* given back: it is delivered again when the test says so */
    close(c->fd);
    c->fd = -1;
    pthread_cond_broadcast(&U.cond);
    pthread_mutex_unlock(&U.lock);
}

static void *conn_main(void *ctx) {
    struct up_conn *c = ctx;
    struct request r;
    while (read_request(c->fd, &r)) {
        if (strncmp(r.text, "POST /api/auth/jwt/access_token HTTP/1.1\r\n", 42) == 0) {
            if (!log_in(c, &r))
                break;
            continue;
        }
        if (upgrade(c, &r)) {
            opened(c);
            up_talk(c);
        }
        break;
    }
    closed(c);
    return NULL;
}

static bool all_cut_accepted(void) { /* lock held */
    bool all = true;
    for (int i = 0; i < UP_PATHS; i++)
        all = all && U.cuts[i].stage == UP_CUT_ACCEPTED;
    for (int i = 0; all && i < UP_PATHS; i++)
        U.cuts[i].stage = UP_CUT_NONE;
    return all;
}

static void *accept_main(void *ctx) {
    (void)ctx;
    for (;;) {
        int fd = accept(U.listen_fd, NULL, NULL);
        if (fd < 0 && errno == EINTR)
            continue;
        pthread_mutex_lock(&U.lock);
        bool stop = fd < 0 || U.stop, refuse = U.vanished || (!stop && all_cut_accepted());
        struct up_conn *c = stop || refuse ? NULL : calloc(1, sizeof *c);
        if (c) {
            *c = (struct up_conn){ .next = U.conns, .id = ++U.next_id, .fd = fd, .path = -1 };
            pthread_mutex_init(&c->write_lock, NULL);
            if (pthread_create(&c->thread, NULL, conn_main, c) == 0)
                U.conns = c, fd = -1;
            else
                free(c);
        }
        pthread_mutex_unlock(&U.lock);
        if (fd >= 0)
            close(fd);
        if (stop)
            return NULL;
    }
}

/* ---- the test's side ---- */

int upstream_start(void) {
    U.stop = U.vanished = false;
    U.listen_fd = check_listen(&U.port);
    if (U.listen_fd < 0 || pthread_create(&U.thread, NULL, accept_main, NULL) != 0)
        return -1;
    return U.port;
}

static void forget(void) {
    for (size_t i = 0; i < U.nrecords; i++)
        free(U.records[i].text);
    for (size_t i = 0; i < U.ncomplaints; i++)
        free(U.complaints[i]);
    for (size_t i = 0; i < U.ntasks; i++)
        free(U.tasks[i]);
    memset(&U.records, 0, sizeof U - offsetof(struct upstream, records));
    memset(U.current, 0, sizeof U.current);
}

void upstream_stop(void) {
    pthread_mutex_lock(&U.lock);
    U.stop = true;
    shutdown(U.listen_fd, SHUT_RDWR);
    for (struct up_conn *c = U.conns; c; c = c->next)
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&U.lock);
    pthread_join(U.thread, NULL);
    for (struct up_conn *c = U.conns, *next; c; c = next) {
        next = c->next;
        pthread_join(c->thread, NULL);
        pthread_mutex_destroy(&c->write_lock);
        free(c);
    }
    U.conns = NULL;
    close(U.listen_fd);
    CHECK_INT(U.ncomplaints, 0);
    forget();
}

void upstream_login(const int *answers, size_t n) {
    pthread_mutex_lock(&U.lock);
    U.asked = 0;
    U.nlogins = n;
    memcpy(U.logins, answers, n * sizeof *answers);
    pthread_mutex_unlock(&U.lock);
}

void upstream_expect_token(const char *token) { snprintf(U.token, sizeof U.token, "%s", token); }

void upstream_cut(int path, enum up_cut stage, int http_status) {
    pthread_mutex_lock(&U.lock);
    for (int i = 0; i < UP_PATHS; i++)
        if (path < 0 || path == i) {
            U.cuts[i].stage = stage;
            U.cuts[i].http_status = http_status;
        }
    pthread_mutex_unlock(&U.lock);
}

void upstream_vanish(bool on) {
    pthread_mutex_lock(&U.lock);
    U.vanished = on;
    for (struct up_conn *c = U.conns; on && c; c = c->next)
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&U.lock);
}

size_t upstream_logins(void) {
    pthread_mutex_lock(&U.lock);
    size_t n = U.asked;
    pthread_mutex_unlock(&U.lock);
    return n;
}

int upstream_await_login(size_t nth) {
    struct timespec until = up_limit();
    pthread_mutex_lock(&U.lock);
    while (U.asked < nth && up_wait(&until))
        ;
    int len = U.asked >= nth && nth <= 256 ? U.token_lengths[nth - 1] : -1;
    pthread_mutex_unlock(&U.lock);
    return len;
}
