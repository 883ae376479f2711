/* No spelling of a path gets past its rule: by case, percent-encoding, dot segments, slashes, parameters, NUL or overlong UTF-8, through
 * the service and through a real socket. Whatever a spelling is taken for, it never succeeds without the identity that the plain path
 * needs. */
#include "matrix_fixture.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "osmo/server.h"

#define SPELLINGS_MAX 2048
#define SPELLING_MAX 512

static struct matrix m;

/* ---- spellings ---- */

struct spellings { struct { char text[SPELLING_MAX]; size_t len; } list[SPELLINGS_MAX]; size_t n; };

static void add_n(struct spellings *s, const char *text, size_t len) {
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].len == len && !memcmp(s->list[i].text, text, len))
            return;
    if (s->n >= SPELLINGS_MAX || len >= SPELLING_MAX) {
        CHECK(false);
        return;
    }
    memcpy(s->list[s->n].text, text, len);
    s->list[s->n].text[len] = '\0';
    s->list[s->n++].len = len;
}

static void add(struct spellings *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct spellings *s, const char *format, ...) {
    char text[SPELLING_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(n > 0 && (size_t)n < sizeof text);
    add_n(s, text, strlen(text));
}

/* The i-th character of the path in another form. */
static void other_characters(struct spellings *s, const char *path, size_t i) {
    static const char *const before[] = { "%", "%25", "%2525", "%u00", "\\x" };
    unsigned c = (unsigned char)path[i];
    for (size_t k = 0; k < ARRAY_SIZE(before); k++)
        add(s, "%.*s%s%02x%s", (int)i, path, before[k], c, path + i + 1);
    add(s, "%.*s%%%02X%s", (int)i, path, c, path + i + 1);
    if (isalpha((unsigned char)path[i]))
        add(s, "%.*s%c%s", (int)i, path, toupper((unsigned char)path[i]), path + i + 1);
}

/* What stands in the place of a slash, or after it. */
static void other_slashes(struct spellings *s, const char *path, size_t i) {
    static const char *const instead[] = {
        "//", "///", "/./", "/.//", "/%2e/", "/%2E/", "/x/../", "/x/%2e%2e/", "/x/.%2e/", "/x/%2E%2E/", "/x/..%2f", "/x%2f..%2f",
        "/x/%252e%252e/",
        "\\", "/\\", "%5c", "%2f", "%2F", "%252f", "%c0%af", "%c1%9c", "%e0%80%af", "%f0%80%80%af", "\xc0\xaf", "\xe0\x80\xaf",
        "\xef\xbc\x8f",
        "/;/", "/;x=y/", ";/", ";x=y/", "/..;/x/../", "/%00/", "%00/", "/%20/", "%20/", "/\t/", "/.;/", "/%c0%ae/", "/x/%c0%ae%c0%ae/",
        "/+/",
        "/\x01/", "/\x7f/", "/%0a/", "/%0d%0a/", "/\xe2\x80\x8b/", "/?/", "/#/", "?/", "#/",
    };
    for (size_t k = 0; k < ARRAY_SIZE(instead); k++)
        add(s, "%.*s%s%s", (int)i, path, instead[k], path + i + 1);
}

static void around(struct spellings *s, const char *path) {
    static const char *const behind[] = {
        "/", "//", "/.", "/./", "/..", "/x/..", "/%2e", "/%2e%2e", "%2f", "%2f/", ";", ";x", ";x=y", "%3b", "%00", "%00.json",
        "%00/health", "%20", "%09",
        "%0a", ".", "..", "./", ".json", "/.json", "~", "*", "/*", "#", "#x", "%23", "?", "?x=y", "?/../../health", "%3f", "/%3f", "\\",
        "%5c", "\x7f",
        "\xc2\xa0", "\xc0\x80", "%c0%80", "/\xef\xbb\xbf", "+", "%2b", "%", "%2", "%zz", "/health", "/../health", ";/health",
        "/..%2fhealth",
    };
    static const char *const open[] = {
        "/health", "/api/version", "/client/version", "/api/auth/login", "/api/auth/keys", "/api/router/version",
        "/api/auth/jwt/access_token",
        "/api/auth/jwt/refresh_token", "/api/internal/replica",
    };
    static const char *const between[] = {
        "/..", "/%2e%2e", "/../..", "/../../..", "/../../../..", "/..%2f..", ";/..", "?/..", "#", "%00", "%3f", "%23", "/.", "/", "",
        "\\..", "/..;",
        "%0a", " ", "%20",
    };
    for (size_t k = 0; k < ARRAY_SIZE(behind); k++)
        add(s, "%s%s", path, behind[k]);
    for (size_t k = 0; k < ARRAY_SIZE(open); k++)
        for (size_t j = 0; j < ARRAY_SIZE(between); j++)
            add(s, "%s%s%s", open[k], between[j], path);
    add(s, "/%s", path);
    add(s, "//%s", path);
    add(s, "/.%s", path);
    add(s, "/..%s", path);
    add(s, "/%%2e%%2e%s", path);
    add(s, "/x/..%s", path);
    add(s, "%s", path + 1);
    add(s, "http://127.0.0.1%s", path);
    add(s, "https://other.example/health@127.0.0.1%s", path);
    add(s, "//127.0.0.1%s", path);
}

static void all_spellings(struct spellings *s, const char *path) {
    s->n = 0;
    add(s, "%s", path);
    for (size_t i = 0; path[i]; i++)
        if (path[i] == '/') {
            other_characters(s, path, i);
            other_slashes(s, path, i);
        } else if (i < 40) {
            other_characters(s, path, i);
        }
    around(s, path);
}

/* ---- what is protected ---- */

/* For administrators, each with what nobody else may have of it. */
static const struct { const char *method, *path; } of_administrators[] = {
    { "GET", "/api/configs/role" }, { "GET", "/api/configs/pool" }, { "GET", "/api/auth/user" }, { "GET", "/api/auth/user/root" },
    { "GET", "/api/auth/user/root/access_token" }, { "GET", "/api/work/dead" }, { "GET", "/api/configs/backend" },
    { "GET", "/api/auth/roles/osmo-admin/users" },
};
/* For users; what changes something comes with a body that would do for it. */
static const struct { const char *method, *path; } of_users[] = {
    { "GET", "/api/tag" }, { "GET", "/api/workflow/own-1" }, { "GET", "/api/workflow/own-1/task/t0" }, { "GET", "/api/pool" },
    { "GET", "/api/resources" }, { "GET", "/api/users" }, { "GET", "/api/credentials" }, { "GET", "/api/auth/access_token" },
    { "POST", "/api/workflow/own-1/tag" },
};

/* ---- through the service ---- */

static size_t asked, successes;

static bool ask_once(const struct person *p, const char *method, const char *path) {
    struct answer a = ask_by(&m, p, method, path);
    bool success = a.status < 400;
    asked++;
    successes += success;
    answer_free(&a);
    return success;
}

static void never(const struct person *p, const struct spellings *s, const char *method) {
    for (size_t i = 0; i < s->n; i++)
        if (ask_once(p, method, s->list[i].text)) {
            fprintf(stderr, "%s: %s %s succeeds\n", p->name, method, s->list[i].text);
            CHECK(false);
        }
}

static void through_the_service(void) {
    static struct spellings s;
    static const char *const methods[] = { "get", "Get", "HEAD", "OPTIONS", "TRACE", "CONNECT", "GET ", " GET", "PROPFIND", "" };
    REQUIRE(matrix_open(&m));
    for (size_t i = 0; i < ARRAY_SIZE(of_administrators); i++) {
        const char *method = of_administrators[i].method, *path = of_administrators[i].path;
        CHECK(ask_once(&m.people[ADMIN_ROLE], method, path));
        all_spellings(&s, path);
        CHECK(s.n > 300);
        never(&m.people[NO_TOKEN], &s, method);
        if (!str_eq(path, "/api/configs/backend"))
            never(&m.people[BACKEND], &s, method);
        never(&m.people[USER_ROLE], &s, method);
        never(&m.people[ALG_NONE], &s, method);
        for (size_t k = 0; k < ARRAY_SIZE(methods); k++)
            CHECK(!ask_once(&m.people[USER_ROLE], methods[k], path));
    }
    for (size_t i = 0; i < ARRAY_SIZE(of_users); i++) {
        const char *method = of_users[i].method, *path = of_users[i].path;
        CHECK(ask_once(&m.people[USER_ROLE], method, path));
        all_spellings(&s, path);
        never(&m.people[NO_TOKEN], &s, method);
        if (!str_eq(path, "/api/auth/access_token")) /* everybody has those of his own */
            never(&m.people[DEFAULT_ONLY], &s, method);
        for (size_t k = 0; k < ARRAY_SIZE(methods); k++)
            CHECK(!ask_once(&m.people[NO_TOKEN], methods[k], path));
    }
    fprintf(stderr, "# %zu requests, %zu successes\n", asked, successes);
    matrix_close(&m);
}

/* Of workflows in a foreign pool: the rule looks at the very workflow that the handler takes. */
static void foreign_workflows(void) {
    static struct spellings s;
    REQUIRE(matrix_open(&m));
    const char *names[] = { m.foreign.id, m.foreign.uuid };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = str_printf("/api/workflow/%s/cancel", names[i]);
        all_spellings(&s, path);
        never(&m.people[USER_ROLE], &s, "POST");
        never(&m.people[TASK], &s, "POST");
        for (char *c = path + strlen("/api/workflow/"); *c != '/'; c++) /* a uuid in capitals is no other workflow */
            *c = (char)toupper((unsigned char)*c);
        CHECK(!ask_once(&m.people[USER_ROLE], "POST", path));
    }
    all_spellings(&s, "/api/pool/team/workflow");
    never(&m.people[USER_ROLE], &s, "POST");
    matrix_close(&m);
}

static void sockets(void) {
    static const struct { int who; const char *path; } cases[] = {
        { NO_TOKEN, "/api/agent/worker/backend/default" }, { OTHER_BACKEND, "/api/agent/worker/backend/default" },
        { USER_ROLE, "/api/agent/worker/backend/default" }, { OTHER_TASK, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0" },
        { CTRL_ROLE, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0" },
    };
    static struct spellings s;
    REQUIRE(matrix_open(&m));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        all_spellings(&s, cases[i].path);
        for (size_t k = 0; k < s.n; k++) {
            int status = upgrade_by(&m, &m.people[cases[i].who], s.list[k].text);
            /* another backend may well have a name that looks alike, of its own it has just one */
            if (status == 101)
                fprintf(stderr, "%s: %s opens\n", m.people[cases[i].who].name, s.list[k].text);
            CHECK(status >= 400);
        }
    }
    matrix_close(&m);
}

/* ---- through a real socket ---- */

static osmo_server_t *server;

static int dial(void) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)osmo_server_port(server)) };
    struct timeval patience = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Status of the answer; 0 when the connection is ended without one, -1 when nothing comes. */
static int send_request(const char *method, const char *target, size_t len, const char *token) {
    char head[8192], got[512];
    size_t n = (size_t)snprintf(head, sizeof head, "%s ", method), have = 0;
    _cleanup_close_ int fd = dial();
    if (fd < 0)
        return -1;
    memcpy(head + n, target, len);
    n += len;
    n += (size_t)snprintf(head + n, sizeof head - n, " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    if (token)
        n += (size_t)snprintf(head + n, sizeof head - n, "Authorization: Bearer %s\r\n", token);
    n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
    if (send(fd, head, n, MSG_NOSIGNAL) != (ssize_t)n)
        return 0;
    while (have < 12) {
        ssize_t r = recv(fd, got + have, sizeof got - 1 - have, 0);
        if (r <= 0)
            return r < 0 && errno == EAGAIN ? -1 : 0;
        have += (size_t)r;
    }
    got[have] = '\0';
    return strncmp(got, "HTTP/1.", 7) ? 0 : atoi(got + 9);
}

static bool serve(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0", .workers = 2, .spool_dir = m.f.dir };
    int rc = osmo_server_open(&o, &server, &err);
    if (rc >= 0)
        rc = osmo_server_start(server, m.f.service, &err);
    CHECK_OK(rc, &err);
    return rc >= 0;
}

static void over_the_wire(const char *path, const char *token) {
    static struct spellings s;
    static const char nul[] = "/health\0/../api/configs/role";
    all_spellings(&s, path);
    add_n(&s, nul, sizeof nul - 1);
    for (size_t i = 0; i < s.n; i++) {
        int status = send_request("GET", s.list[i].text, s.list[i].len, token);
        asked++;
        /* what the front takes for one of the open paths is that, and no way to another */
        bool open = status == 200 && (str_starts(s.list[i].text, "/health") || str_starts(s.list[i].text, "/api/version") ||
                                      str_starts(s.list[i].text, "/client/version") || str_starts(s.list[i].text, "/api/auth/") ||
                                      str_starts(s.list[i].text, "/api/router/version"));
        if (status < 0 || (status > 0 && status < 400 && !open))
            fprintf(stderr, "%s: %d\n", s.list[i].text, status);
        CHECK(status == 0 || status >= 400 || open);
    }
}

static void through_a_socket(void) {
    REQUIRE(matrix_open(&m));
    REQUIRE(serve());
    asked = 0;
    CHECK_INT(send_request("GET", "/api/configs/role", 17, m.people[ADMIN_ROLE].token), 200);
    CHECK_INT(send_request("GET", "/api/configs/role", 17, m.people[USER_ROLE].token), 403);
    CHECK_INT(send_request("GET", "/api/configs/role", 17, NULL), 401);
    over_the_wire("/api/configs/role", NULL);
    over_the_wire("/api/configs/role", m.people[USER_ROLE].token);
    over_the_wire("/api/workflow/own-1", NULL);
    fprintf(stderr, "# %zu requests over sockets\n", asked);
    osmo_server_stop(server, 1000);
    matrix_close(&m);
    osmo_server_free(server);
}

static const struct check_test paths_tests[] = {
    { "through the service", through_the_service }, { "workflows of a foreign pool", foreign_workflows }, { "websockets", sockets },
    { "through a socket", through_a_socket },
};
TEST_MAIN("paths", paths_tests)
