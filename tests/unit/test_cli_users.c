/* The client's users and tokens: which requests a command makes, what it prints of the answers, where it stops. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "capture.h"
#include "check.h"
#include "cli.h"
#include "peer.h"

static char dir[] = "/tmp/osmo-cli-XXXXXX";
/* Be logged in at the peer as a user of development mode. */
static bool at_peer(struct peer *p, const char *const *answers) {
    char url[64];
    struct login l = { .url = url, .name = strdup("ana"), .dev_user = strdup("ana") };
    bool ok = peer_start(p, answers);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", p->port);
    ok = login_save(&l, NULL) == 0 && ok;
    free(l.name);
    free(l.dev_user);
    return ok;
}

/* "noun verb word…"; options point into these. */
static int command(const char *line) {
    static char text[512];
    static char *words[32];
    int n = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *p = text, *at; (at = strsep(&p, " "));) {
        if (*at && n < 32)
            words[n++] = at;
    }
    bool user = str_eq(words[0], "user");
    const struct command *list = user ? user_commands : token_commands;
    for (size_t i = 0; i < (user ? USER_COMMANDS : TOKEN_COMMANDS); i++) {
        if (str_eq(list[i].name, words[1]))
            return list[i].run(n - 2, words + 2);
    }
    return -1;
}

static char *http(const char *status, const char *body) {
    return str_printf("HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
}

/* The request lines of what came, one a line. The first of them begins the text, the others follow upon a head or a body. */
static const char *request_lines(const char *got) {
    static char out[4096];
    size_t at = 0;
    out[0] = '\0';
    for (const char *p = got, *end; (end = strstr(p, " HTTP/1.1\r\n")); p = end + 1) {
        const char *begin = end;
        while (begin > got && begin[-1] != '\n' && begin[-1] != '}')
            begin--;
        at += (size_t)snprintf(out + at, sizeof out - at, "%.*s\n", (int)(end - begin), begin);
    }
    return out;
}

#define NO "{\"error_code\":\"USER\",\"message\":\"no!\"}"
#define GRANT "{\"role_name\":\"a\"}"
#define ANN                                                                                                                                \
    "{\"id\":\"ann\",\"created_at\":\"2026-03-01T09:30:00.000000Z\",\"created_by\":null,\"roles\":[{\"role_name\":\"osmo-user\","          \
    "\"assigned_by\":\"root\",\"assigned_at\":\"2026-03-02T10:00:00.5+01:00\"}]}"
#define TOKENS                                                                                                                             \
    "[{\"token_name\":\"new\",\"expires_at\":\"2999-01-02T00:00:00\",\"description\":\"d d\",\"roles\":[\"a\",\"b\"]},"                    \
    "{\"token_name\":\"old\",\"expires_at\":\"2020-01-02T00:00:00\",\"description\":\"\",\"roles\":[]}]"

static void commands(void) {
    static const struct {
        const char *line;
        const char *answers[4]; /* "-…": a refusal */
        int code;
        const char *requests, *printed;
    } cases[] = {
        { "user create ann@x -r a b", { ANN }, 0, "POST /api/auth/user\n", "User ann@x is created.\n" },
        { "user create ann", { "-" NO }, 2, "POST /api/auth/user\n", "no!" },
        { "user get ann@x/y", { ANN }, 0, "GET /api/auth/user/ann%40x%2Fy\n",
          "User ID: ann\nCreated At: Mar 01, 2026 09:30 UTC\nCreated By: -\nRoles:\n  - osmo-user (by root, Mar 02, 2026 09:00 UTC)\n" },
        { "user update ann -a a b -r c", { GRANT, GRANT, "null" }, 0,
          "POST /api/auth/user/ann/roles\nPOST /api/auth/user/ann/roles\nDELETE /api/auth/user/ann/roles/c\n",
          "User ann has role a.\nUser ann has role b.\nUser ann does not have role c any more.\n" },
        { "user update ann -a a b -r c", { GRANT, "-" NO }, 2, "POST /api/auth/user/ann/roles\nPOST /api/auth/user/ann/roles\n",
          "User ann has role a.\n" },
        { "user update ann -r c -t json", { "null", ANN }, 0, "DELETE /api/auth/user/ann/roles/c\nGET /api/auth/user/ann\n",
          "{\n  \"id\": \"ann\"" },
        { "user delete ann --force", { "null" }, 0, "DELETE /api/auth/user/ann\n", "User ann is deleted.\n" },
        { "user list -p an -r a b -c 7", { "{\"total_results\":9,\"users\":[" ANN "]}" }, 0,
          "GET /api/auth/user?count=7&id_prefix=an&roles=a&roles=b\n",
          "Total users: 9\nUser ID   Created At\n====================\nann       2026-03-01\n" },
        { "user list -c 0", { NULL }, 2, "", "at least 1" },
        { "user update ann", { NULL }, 2, "", "give --add-roles or --remove-roles" },
        { "token set t -e 2999-01-02 -d x -r a b -u ann --backend east", { "\"secret\"" }, 0,
          "POST /api/auth/user/ann/access_token/t?expires_at=2999-01-02&description=x&roles=a&roles=b&backend=east\n",
          "Access token: secret\n" },
        { "token create t -e 2999-01-02 -t json", { "\"secret\"" }, 0,
          "POST /api/auth/access_token/t?expires_at=2999-01-02&description=\n", "{\n  \"token\": \"secret\"\n}\n" },
        { "token set t -e x", { "-" NO }, 2, "POST /api/auth/access_token/t?expires_at=x&description=\n", "no!" },
        { "token delete t", { "null" }, 0, "DELETE /api/auth/access_token/t\n", "Access token t is deleted.\n" },
        { "token delete t -u ann", { "null" }, 0, "DELETE /api/auth/user/ann/access_token/t\n", "Access token t is deleted.\n" },
        { "token list", { TOKENS }, 0, "GET /api/auth/access_token\n",
          "new    d d           True     2999-01-02         a, b \nold                  False    2020-01-02              \n" },
        { "token list", { "[{\"token_name\":\"x\",\"roles\":[\"b\"]},"
                          "{\"token_name\":\"y\",\"backend\":\"east\",\"roles\":[\"b\"]}]" }, 0,
          "GET /api/auth/access_token\n",
          "x      -             False    -                  b       -      \n"
          "y      -             False    -                  b       east   \n" },
        { "token list --user ann -t json", { TOKENS }, 0, "GET /api/auth/user/ann/access_token\n", "\"token_name\": \"old\"" },
        { "token roles t", { "{\"user_name\":\"ann\",\"token_name\":\"t\",\"roles\":[{\"role_name\":\"a\",\"assigned_by\":\"ann\","
                             "\"assigned_at\":\"2026-03-01T09:30:00Z\"}]}" }, 0, "GET /api/auth/access_token/t/roles\n",
          "Access token t of ann:\nRole   Assigned By   Assigned At           \n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *answers[5] = { NULL };
        struct peer p = { 0 };
        for (size_t k = 0; k < 4 && cases[i].answers[k]; k++)
            answers[k] = cases[i].answers[k][0] == '-' ? http("400 Bad Request", cases[i].answers[k] + 1)
                                                       : http("200 OK", cases[i].answers[k]);
        REQUIRE(at_peer(&p, (const char *const *)answers));
        capture();
        int code = command(cases[i].line);
        const char *printed = release();
        peer_end(&p);
        if (code != cases[i].code)
            fprintf(stderr, "%s\n", cases[i].line);
        CHECK_INT(code, cases[i].code);
        CHECK_STR(request_lines(p.got), cases[i].requests);
        CHECK_CONTAINS(printed, cases[i].printed);
        for (size_t k = 0; k < 4; k++)
            free(answers[k]);
    }
}

/* Bodies are what the service reads. */
static void bodies(void) {
    char *answers[] = { http("200 OK", ANN), NULL };
    struct peer p = { 0 };
    REQUIRE(at_peer(&p, (const char *const *)answers));
    capture();
    CHECK_INT(command("user create ann --roles a b"), 0);
    release();
    peer_end(&p);
    CHECK_CONTAINS(p.got, "{\"id\":\"ann\",\"roles\":[\"a\",\"b\"]}");
    free(answers[0]);
}

static void default_expiry(void) {
    char *answers[] = { http("200 OK", "\"secret\""), NULL };
    char want[64], text[TIME_TEXT_MAX];
    struct peer p = { 0 };
    REQUIRE(at_peer(&p, (const char *const *)answers));
    int64_t before = clock_now_us();
    capture();
    CHECK_INT(command("token set t"), 0);
    release();
    peer_end(&p);
    snprintf(want, sizeof want, "expires_at=%.10s&", time_iso(before + 31 * 86400LL * 1000000, text));
    if (!strstr(p.got, want)) /* midnight came in between */
        snprintf(want, sizeof want, "expires_at=%.10s&", time_iso(clock_now_us() + 31 * 86400LL * 1000000, text));
    CHECK_CONTAINS(p.got, want);
    free(answers[0]);
}

static char *page(int first, int n) {
    buf_t b = BUF_INIT(1u << 20);
    buf_puts(&b, "{\"total_results\":5000,\"start_index\":1,\"items_per_page\":1000,\"users\":[");
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s{\"id\":\"u%d\"}", i ? "," : "", first + i);
    buf_puts(&b, "]}");
    char *answer = http("200 OK", buf_cstr(&b));
    buf_free(&b);
    return answer;
}

/* More users than the service gives at once; and a service that has fewer than it was asked for. */
static void pages(void) {
    static const struct { const char *line; int pages[4]; const char *requests; int64_t n; } cases[] = {
        { "user list -c 1000 -t json", { 1000 }, "GET /api/auth/user?count=1000\n", 1000 },
        { "user list -c 2001 -t json", { 1000, 1000, 1 },
          "GET /api/auth/user?count=1000\nGET /api/auth/user?count=1000&start_index=1001\n"
          "GET /api/auth/user?count=1&start_index=2001\n", 2001 },
        { "user list -c 9000 -t json", { 1000, 3 },
          "GET /api/auth/user?count=1000\nGET /api/auth/user?count=1000&start_index=1001\n", 1003 },
        { "user list -c 9000 -t json", { 0 }, "GET /api/auth/user?count=1000\n", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *answers[5] = { NULL };
        struct peer p = { 0 };
        _cleanup_json_ json_t *v = NULL;
        int first = 0;
        for (size_t k = 0; k < 4 && (!k || cases[i].pages[k]); first += cases[i].pages[k++])
            answers[k] = page(first, cases[i].pages[k]);
        REQUIRE(at_peer(&p, (const char *const *)answers));
        capture();
        CHECK_INT(command(cases[i].line), 0);
        const char *printed = release();
        peer_end(&p);
        CHECK_STR(request_lines(p.got), cases[i].requests);
        CHECK_INT(json_parse(printed, strlen(printed), &v, NULL), 0);
        const json_t *users = json_get(v, "users");
        CHECK_INT(json_len(users), cases[i].n);
        if (cases[i].n > 1000)
            CHECK_INT(json_get_int(v, "items_per_page", 0), cases[i].n);
        for (size_t k = 0; k < json_len(users); k += 333) {
            char id[32];
            snprintf(id, sizeof id, "u%zu", k);
            CHECK_STR(json_get_str(json_at(users, k), "id"), id);
        }
        for (size_t k = 0; k < 4; k++)
            free(answers[k]);
    }
}

static void leaves_nothing(void) {
    CHECK_INT(dir_remove_tree(dir, NULL), 0);
    capture_end();
}

static const struct check_test tests[] = {
    { "commands", commands }, { "bodies", bodies }, { "default expiry", default_expiry }, { "pages", pages },
    { "leaves nothing behind", leaves_nothing },
};

int main(int argc, char **argv) {
    if (!mkdtemp(dir) || setenv("OSMO_CONFIG_FILE_DIR", dir, 1) || setenv("TZ", "UTC", 1))
        return 99;
    return check_main("cli_users", tests, ARRAY_SIZE(tests), argc, argv);
}
