/* The audit log: whole lines, in order, through rotation and failures. */
#include "engine/audit.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "service_fixture.h"

static struct fixture f;
static char path[128];

/* The service's own requests are written too, so that tests write by the engine alone. */
static bool open_at(const char *file) {
    if (!fixture_open(&f, OSMO_AUTH_DEV, NULL))
        return false;
    if (!file) {
        snprintf(path, sizeof path, "%s/audit.jsonl", f.dir);
        return true;
    }
    snprintf(path, sizeof path, "%s", file);
    f.options.audit_file = path;
    return fixture_reopen(&f);
}

static void put(uint64_t id, const char *name, bool must_not_wait) {
    osmo_request_t rq = { .size = sizeof rq, .id = id, .method = "POST", .path = name, .query = "token=secret", .peer = "192.0.2.7" };
    struct identity who = { .kind = IDENTITY_TOKEN, .user = "maya", .token_name = "laptop" };
    audit_write(f.engine, &(struct audit_event){ .rq = &rq, .who = &who, .action = "workflow:Create", .resource = "pool/default",
                                                 .allowed = true, .must_not_wait = must_not_wait, .status = 200 });
}

/* Closes the service and checks each line; how many there are. */
static size_t lines(const char *file, char **text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t b = BUF_INIT(64u << 20);
    size_t n = 0;
    CHECK_OK(file_read(file, &b, &err), &err);
    for (const char *p = buf_cstr(&b), *end; (end = strchr(p, '\n')); p = end + 1, n++) {
        json_t *line = NULL;
        CHECK_OK(json_parse(p, (size_t)(end - p), &line, &err), &err);
        json_free(line);
    }
    CHECK(b.len == 0 || b.data[b.len - 1] == '\n');
    if (text)
        *text = buf_steal(&b, NULL);
    buf_free(&b);
    return n;
}

static void close_service(void) {
    osmo_service_close(f.service);
    f.service = NULL;
}

static void test_line(void) {
    _cleanup_free_ char *text = NULL;
    struct stat st;
    REQUIRE(open_at(NULL));
    put(7, "/api/pool/a\"b\\c\n\xff/workflow", false);
    CHECK(audit_is_well(f.engine));
    close_service();
    CHECK_INT(lines(path, &text), 1);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_CONTAINS(text, "\"request\":7,\"peer\":\"192.0.2.7\",\"user\":\"maya\",\"token_name\":\"laptop\",\"how\":\"token\","
                         "\"method\":\"POST\",\"path\":\"/api/pool/a\\\"b\\\\c\\u000a\xef\xbf\xbd/workflow\","
                         "\"action\":\"workflow:Create\",\"resource\":\"pool/default\",\"allowed\":true,\"status\":200}");
    CHECK(strncmp(text, "{\"time\":\"2", 10) == 0 && strstr(text, "Z\",\"replica\":\""));
    CHECK(!strstr(text, "secret"));
    fixture_close(&f);
}

static void test_append(void) {
    REQUIRE(open_at(NULL));
    put(1, "/one", false);
    close_service();
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(write(fd, "{\"time\":\"torn", 13) == 13); /* a crash */
    fchmod(fd, 0644);
    close(fd);
    REQUIRE(fixture_reopen(&f));
    put(2, "/two", false);
    close_service();
    _cleanup_free_ char *text = NULL;
    buf_t b = BUF_INIT(1u << 20);
    struct stat st;
    CHECK(file_read(path, &b, NULL) >= 0);
    CHECK_CONTAINS(buf_cstr(&b), "\n{\"time\":\"torn\n{\"time\":");
    CHECK_CONTAINS(buf_cstr(&b), "\"path\":\"/one\"");
    CHECK_CONTAINS(buf_cstr(&b), "\"path\":\"/two\"");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    buf_free(&b);
    fixture_close(&f);
}

static void wait_well(bool well) {
    for (int i = 0; i < 1000 && audit_is_well(f.engine) != well; i++)
        usleep(10000);
    CHECK_INT(audit_is_well(f.engine), well);
}

static void *writer(void *arg) {
    for (int i = 0; i < 2000; i++)
        put((uint64_t)(uintptr_t)arg, "/many", i % 2 != 0);
    return NULL;
}

/* While the file moves from under it. */
static void test_reopen(void) {
    pthread_t threads[4];
    char moved[160];
    size_t n = 0;
    REQUIRE(open_at(NULL));
    for (uintptr_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
    for (int i = 0; i < 5; i++) {
        snprintf(moved, sizeof moved, "%s.%d", path, i);
        CHECK(rename(path, moved) == 0);
        audit_reopen(f.engine);
        for (int k = 0; k < 1000 && !file_exists(path); k++)
            usleep(10000);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    close_service();
    for (int i = 0; i < 5; i++) {
        snprintf(moved, sizeof moved, "%s.%d", path, i);
        n += lines(moved, NULL);
    }
    CHECK_INT(n + lines(path, NULL), 8000);
    fixture_close(&f);
}

static void test_reopen_failed(void) {
    char away[160], link[160];
    REQUIRE(open_at(NULL));
    snprintf(away, sizeof away, "%s.away", path);
    snprintf(link, sizeof link, "%s/no/such/directory", f.dir);
    CHECK(rename(path, away) == 0 && symlink(link, path) == 0);
    audit_reopen(f.engine);
    wait_well(false);
    put(1, "/kept", false);
    for (int k = 0; k < 1000 && lines(away, NULL) < 1; k++) /* what still waits goes to the file that is opened next */
        usleep(10000);
    CHECK(unlink(path) == 0);
    audit_reopen(f.engine);
    wait_well(true);
    put(2, "/new", false);
    close_service();
    CHECK_INT(lines(away, NULL), 1);
    CHECK_INT(lines(path, NULL), 1);
    fixture_close(&f);
}

/* A disk that is full: nobody waits for it, and what was lost is said. */
static void test_full(void) {
    _cleanup_free_ char *text = NULL;
    struct rlimit old, small = { 6000000, RLIM_INFINITY }; /* room for the database */
    const size_t before = 1999500;
    REQUIRE(open_at(NULL));
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    for (size_t i = 0; i < before; i += 100) {
        char some[301] = "";
        for (int k = 0; k < 100; k++)
            memcpy(some + 3 * k, "{}\n", 3);
        CHECK(write(fd, some, 300) == 300);
    }
    close(fd);
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small.rlim_max = old.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (int i = 0; i < 50; i++)
        put(1, "/full", false);
    wait_well(false);
    for (int i = 0; i < 20000; i++)
        put(2, "/lost", false);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    wait_well(true);
    put(3, "/after", false);
    close_service();
    size_t n = lines(path, &text) - before;
    const char *lost = text ? strstr(text, "\"lost\":") : NULL;
    REQUIRE(lost != NULL);
    size_t count = strtoul(lost + 7, NULL, 10);
    CHECK_INT(n - 1 + count, 20051);
    CHECK(count > 0 && count < 20000);
    CHECK_CONTAINS(text, "/after");
    fixture_close(&f);
}

static void test_cannot_open(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_at(NULL));
    close_service();
    f.options.audit_file = "/nonexistent/audit.jsonl";
    CHECK(osmo_service_open(&f.options, &f.service, &err) < 0);
    CHECK_CONTAINS(err.text, "the audit log /nonexistent/audit.jsonl cannot be opened");
    f.options.audit_file = "/dev/null"; /* whoever wants none */
    CHECK(fixture_reopen(&f));
    put(1, "/x", false);
    CHECK(audit_is_well(f.engine));
    fixture_close(&f);
}

/* ---- what is written of requests ---- */

static void upgrade(const char *to, const char *token, int status) {
    char bearer[4096];
    snprintf(bearer, sizeof bearer, "Bearer %s", token);
    const char *headers[] = { "host", "127.0.0.1", "authorization", bearer, NULL };
    osmo_request_t rq = { .size = sizeof rq, .id = 99, .method = "GET", .path = to, .query = "", .headers = headers, .peer = "127.0.0.1" };
    osmo_response_t rs = { .size = sizeof rs, .body_fd = -1 };
    osmo_ws_t *ws = NULL;
    const char *extensions = NULL;
    osmo_service_ws_open(f.service, &rq, 99, &ws, &extensions, &rs);
    CHECK_INT(ws ? 101 : rs.status, status);
    if (ws) {
        osmo_ws_opened(ws);
        osmo_ws_closed(ws);
    }
    osmo_response_clear(&rs);
}

static void test_requests(void) {
    static const struct { const char *method, *path, *query, *body; bool token; const char *line; } cases[] = {
        { "GET", "/api/version", NULL, NULL, false, NULL },
        { "GET", "/api/workflow", "secret=abc", NULL, true, NULL },
        { "POST", "/nowhere", NULL, "{}", true, NULL },
        { "GET", "//api/workflow/", "secret=abc", NULL, false,
          "\"method\":\"GET\",\"path\":\"/api/workflow\",\"action\":\"workflow:List\",\"allowed\":false,\"status\":401}" },
        { "POST", "/api/profile/settings", "secret=abc", "{\"pool\":\"default\"}", true,
          "\"user\":\"admin\",\"token_name\":\"default-admin-token\",\"how\":\"token\",\"method\":\"POST\","
          "\"path\":\"/api/profile/settings\",\"action\":\"profile:Update\"" },
        { "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"wrong\"}", false,
          "\"path\":\"/api/auth/jwt/access_token\",\"action\":\"auth:Refresh\",\"allowed\":false,\"status\":400}" },
        { "GET", "/api/auth/jwt/access_token", "access_token=" ADMIN_TOKEN, NULL, false,
          "\"path\":\"/api/auth/jwt/access_token\",\"action\":\"auth:Refresh\",\"allowed\":true,\"status\":200}" },
    };
    _cleanup_free_ char *text = NULL;
    size_t want = 3;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    snprintf(path, sizeof path, "%s/audit.jsonl", f.dir);
    struct answer a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    REQUIRE(a.status == 200);
    _cleanup_free_ char *token = strdup(json_get_str(a.json, "token"));
    answer_free(&a);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        a = cases[i].token ? ask_as(&f, token, cases[i].method, cases[i].path, cases[i].query, cases[i].body)
                           : ask(&f, cases[i].method, cases[i].path, cases[i].query, cases[i].body, NULL);
        answer_free(&a);
        want += cases[i].line != NULL;
    }
    upgrade("/api/agent/listener/pod/backend/default", "a.b.c", 401);
    upgrade("/api/agent/listener/pod/backend/default", token, 101);
    close_service();
    CHECK_INT(lines(path, &text), want);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK(!cases[i].line || check_contains(text, cases[i].line, cases[i].path, __FILE__, __LINE__));
    CHECK_CONTAINS(text, "\"path\":\"/api/agent/listener/pod/backend/default\",\"action\":\"internal:Operator\",\"allowed\":false,"
                         "\"status\":401}");
    CHECK_CONTAINS(text, "\"action\":\"internal:Operator\",\"resource\":\"backend/default\",\"allowed\":true,\"status\":101}");
    CHECK(!strstr(text, token) && !strstr(text, ADMIN_TOKEN) && !strstr(text, "secret") && !strstr(text, "wrong"));
    fixture_close(&f);
}

static void test_health(void) {
    REQUIRE(open_at("/dev/full"));
    struct answer a = ask(&f, "GET", "/health", NULL, NULL, NULL);
    CHECK_STR(a.body, "{\"status\":\"OK\"}");
    answer_free(&a);
    put(1, "/x", false);
    wait_well(false);
    a = ask(&f, "GET", "/health", NULL, NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_CONTAINS(a.body, "\"audit_log\":\"cannot be written\"");
    answer_free(&a);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "a line", test_line },
    { "a file that is there", test_append },
    { "moved away", test_reopen },
    { "moved away and not opened again", test_reopen_failed },
    { "a full disk", test_full },
    { "no file", test_cannot_open },
    { "requests", test_requests },
    { "health", test_health },
};
TEST_MAIN("audit", tests)
