/* Keys, tokens and identities: every way in, and every way that must stay shut. */
#include "service_fixture.h"

#include "base/cleanup.h"
#include "base/file.h"

static char *jwt_of(struct answer *a) {
    const char *t = json_get_str(a->json, "token");
    return t ? strdup(t) : NULL;
}

static char *login(struct fixture *f, const char *token) {
    _cleanup_free_ char *body = str_printf("{\"token\":\"%s\"}", token);
    struct answer a = ask(f, "POST", "/api/auth/jwt/access_token", NULL, body, NULL);
    char *jwt = a.status == 200 ? jwt_of(&a) : NULL;
    CHECK_INT(a.status, 200);
    CHECK(json_get_int(a.json, "expires_at", 0) > 0);
    answer_free(&a);
    return jwt;
}

static void exchange_and_use(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    _cleanup_free_ char *jwt = login(&f, ADMIN_TOKEN);
    CHECK(jwt != NULL);
    for (int i = 0; jwt && i < 2; i++) { /* the second time from the cache */
        struct answer a = ask_as(&f, jwt, "GET", "/api/profile/settings", NULL, NULL);
        CHECK_INT(a.status, 200);
        CHECK_STR(json_get_str(json_get(a.json, "profile"), "username"), "admin");
        CHECK_STR(json_get_str(json_get(a.json, "token"), "name"), "default-admin-token");
        CHECK(json_get_str(json_get(a.json, "token"), "expires_at") != NULL);
        answer_free(&a);
    }
    const char *legacy[] = { "x-osmo-auth", jwt, NULL };
    struct answer a = ask(&f, "GET", "/api/workflow", "limit=0&all_pools=True", NULL, legacy);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

static void bad_tokens(void) {
    static const struct { const char *name, *header, *value, *part; } cases[] = {
        { "none", NULL, NULL, "osmo login" },
        { "spoofed identity", "x-osmo-user", "admin", "no token" },
        { "spoofed roles", "x-osmo-roles", "osmo-admin", "no token" },
        { "garbage", "authorization", "Bearer a.b.c", "not valid" },
        { "other scheme", "authorization", "Basic YTpi", "no token" },
        { "access token of nobody", "authorization", "Bearer ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq", "not known" },
        { "unsigned", "authorization", "Bearer eyJhbGciOiJub25lIn0.eyJ1bmlxdWVfbmFtZSI6ImFkbWluIn0.", "not valid" },
    };
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *headers[] = { cases[i].header, cases[i].value, NULL };
        struct answer a = ask(&f, "GET", "/api/profile/settings", NULL, NULL, headers);
        CHECK_INT(a.status, 401);
        CHECK_CONTAINS(json_get_str(a.json, "message"), cases[i].part);
        CHECK_STR(json_get_str(a.json, "error_code"), "USER");
        CHECK(!a.body || !strstr(a.body, ADMIN_TOKEN));
        answer_free(&a);
    }
    fixture_close(&f);
}

static void bad_exchanges(void) {
    static const struct { const char *body; int status; } cases[] = {
        { "{\"token\":\"short\"}", 400 },
        { "{\"token\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", 400 },
        { "{\"token\":5}", 422 }, { "{}", 422 }, { "[]", 422 }, { "{", 422 }, { "", 422 }, { "null", 422 },
    };
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, cases[i].body, NULL);
        CHECK_INT(a.status, cases[i].status);
        CHECK(json_has(a.json, cases[i].status == 422 ? "detail" : "message"));
        answer_free(&a);
    }
    struct answer a = ask(&f, "GET", "/api/auth/jwt/access_token", "access_token=" ADMIN_TOKEN, NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

static void administrator_token(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, NULL));
    _cleanup_free_ char *made = osmo_service_take_admin_token(f.service),
        *again = osmo_service_take_admin_token(f.service);
    CHECK(made && strlen(made) == 43);
    CHECK(again == NULL);
    CHECK(fixture_reopen(&f));
    _cleanup_free_ char *second = osmo_service_take_admin_token(f.service);
    CHECK(second == NULL);
    _cleanup_free_ char *jwt = made ? login(&f, made) : NULL;
    CHECK(jwt != NULL);
    f.options.admin_token = "too-short";
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_service_t *other = NULL;
    osmo_service_close(f.service);
    f.service = NULL;
    CHECK_INT(osmo_service_open(&f.options, &other, &err), OSMO_EINVAL);
    CHECK_CONTAINS(err.text, "43");
    fixture_close(&f);
}

/* A token and a key survive a restart: what was signed before verifies after. */
static void key_is_kept(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    struct answer a = ask(&f, "GET", "/api/auth/keys", NULL, NULL, NULL);
    _cleanup_free_ char *kid = str_dup(json_get_str(json_at(json_get(a.json, "keys"), 0), "kid"));
    CHECK_STR(json_get_str(json_at(json_get(a.json, "keys"), 0), "kty"), "RSA");
    CHECK(kid && strlen(kid) == 36);
    answer_free(&a);
    _cleanup_free_ char *jwt = login(&f, ADMIN_TOKEN);
    CHECK(fixture_reopen(&f));
    a = ask(&f, "GET", "/api/auth/keys", NULL, NULL, NULL);
    CHECK_STR(json_get_str(json_at(json_get(a.json, "keys"), 0), "kid"), kid);
    answer_free(&a);
    a = ask_as(&f, jwt ? jwt : "", "GET", "/api/profile/settings", NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

static struct answer refresh(struct fixture *f, const char *workflow, const char *group, const char *task, int retry,
                             const char *token) {
    _cleanup_free_ char *query = str_printf("workflow_id=%s&group_name=%s&task_name=%s&retry_id=%d", workflow, group,
                                            task, retry);
    _cleanup_free_ char *body = str_printf("{\"token\":\"%s\"}", token);
    return ask(f, "POST", "/api/auth/jwt/refresh_token", query, body, NULL);
}

static void task_tokens(void) {
    struct fixture f;
    struct seed s;
    char token[44], other[44];
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(seed_workflow(&f, "wf", "maya", 2, &s));
    CHECK_INT(auth_task_refresh_token(f.engine, s.tasks[0], 0, token, NULL), 0);
    CHECK_INT(auth_task_refresh_token(f.engine, s.tasks[1], 0, other, NULL), 0);
    CHECK_INT(strlen(token), 43);
    const struct { const char *workflow, *group, *task; int retry; const char *token; int status; } cases[] = {
        { s.id, "g", "t0", 0, token, 200 },     { s.id, "g", "t0", 0, other, 400 },  { s.id, "g", "t1", 0, token, 400 },
        { s.id, "other", "t0", 0, token, 400 }, { s.id, "g", "t0", 1, token, 400 },
            { "nope-1", "g", "t0", 0, token, 400 },
        { s.id, "g", "t9", 0, token, 400 },     { s.id, "g", "t0", -1, token, 400 }, { s.id, "g", "t0", 0, "", 400 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = refresh(&f, cases[i].workflow, cases[i].group, cases[i].task, cases[i].retry, cases[i].token);
        CHECK_INT(a.status, cases[i].status);
        answer_free(&a);
    }
    struct answer a = refresh(&f, s.id, "g", "t0", 0, token);
    _cleanup_free_ char *jwt = jwt_of(&a);
    answer_free(&a);
    a = ask_as(&f, jwt ? jwt : "", "GET", "/api/profile/settings", NULL, NULL);
    CHECK_STR(json_get_str(json_get(a.json, "profile"), "username"), "maya");
    answer_free(&a);
    a = ask_as(&f, jwt ? jwt : "", "GET", "/api/configs/backend", NULL, NULL);
    CHECK_INT(a.status, 403);
    answer_free(&a);
    CHECK(seed_task_status(&f, &s, 0, STATUS_COMPLETED));
    a = refresh(&f, s.id, "g", "t0", 0, token);
    CHECK_INT(a.status, 400);
    CHECK_STR(json_get_str(json_get(a.json, "detail"), "error"), "FINISHED");
    answer_free(&a);
    fixture_close(&f);
}

static void development_mode(void) {
    static const struct { const char *host, *origin, *type, *peer; bool body; int status; } cases[] = {
        { "localhost:8000", NULL, NULL, "127.0.0.1", false, 200 },
        { "127.3.4.5", "http://localhost:3000", NULL, "127.0.0.1", false, 200 },
        { "[::1]:80", "http://127.0.0.1", NULL, "::1", false, 200 },
        { "osmo.example", NULL, NULL, "127.0.0.1", false, 403 },
        { "127.0.0.1.evil.example", NULL, NULL, "127.0.0.1", false, 403 },
        { "localhost.evil.example", NULL, NULL, "127.0.0.1", false, 403 },
        { "localhost:80@evil", NULL, NULL, "127.0.0.1", false, 403 },
        { NULL, NULL, NULL, "127.0.0.1", false, 403 },
        { "localhost", "http://evil.example", NULL, "127.0.0.1", false, 403 },
        { "localhost", "null", NULL, "127.0.0.1", false, 403 },
        { "localhost", "http://localhost.evil.example", NULL, "127.0.0.1", false, 403 },
        { "localhost", NULL, NULL, "10.1.2.3", false, 403 },
        { "localhost", NULL, "text/plain", "127.0.0.1", true, 403 },
        { "localhost", NULL, "application/json", "127.0.0.1", true, 200 },
        { "localhost", NULL, "application/json; charset=utf-8", "127.0.0.1", true, 200 },
    };
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *h[16];
        size_t n = 0;
        const char *const pairs[][2] = { { "host", cases[i].host }, { "origin", cases[i].origin },
            { "content-type", cases[i].type } };
        for (size_t j = 0; j < ARRAY_SIZE(pairs); j++) {
            if (pairs[j][1]) {
                h[n++] = pairs[j][0];
                h[n++] = pairs[j][1];
            }
        }
        h[n] = NULL;
        osmo_request_t rq = { .size = sizeof rq, .method = cases[i].body ? "POST" : "GET",
            .path = "/api/profile/settings", .query = "",
                              .headers = h, .body = cases[i].body ? "{}" : NULL, .body_len = cases[i].body ? 2 : 0,
                                  .peer = cases[i].peer };
        osmo_response_t rs;
        osmo_service_handle(f.service, &rq, &rs);
        if (rs.status != cases[i].status)
            fprintf(stderr, "case %zu: %s\n", i, rs.body ? rs.body : "");
        CHECK_INT(rs.status, cases[i].status);
        osmo_response_clear(&rs);
    }
    const char *user[] = { "x-osmo-user", "maya@acme.test", NULL };
    struct answer a = ask(&f, "GET", "/api/profile/settings", NULL, NULL, user);
    CHECK_STR(json_get_str(json_get(a.json, "profile"), "username"), "maya@acme.test");
    answer_free(&a);
    a = ask(&f, "GET", "/api/profile/settings", NULL, NULL, NULL);
    CHECK_STR(json_get_str(json_get(a.json, "profile"), "username"), "testuser");
    answer_free(&a);
    fixture_close(&f);
}

/* Clients sign in by what the configuration says; answers with tokens are kept by nobody on the way. */
static void login_information(void) {
    static const char config[] =
        "service:\n  service_auth:\n    login_info: {device_endpoint: 'https://idp.example/device', device_client_id: osmo-cli,\n"
        "      browser_endpoint: 'https://idp.example/auth', token_endpoint: 'https://idp.example/token', logout_endpoint: null}\n";
    static const char none[] = "{\"device_endpoint\":null,\"device_client_id\":null,\"browser_endpoint\":null,\"browser_client_id\":null,"
                               "\"token_endpoint\":null,\"logout_endpoint\":null}";
    struct fixture f;
    char path[128];
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    struct answer a = ask(&f, "GET", "/api/auth/login", NULL, NULL, NULL);
    CHECK_STR(a.body, none);
    answer_free(&a);
    snprintf(path, sizeof path, "%s/osmo.yaml", f.dir);
    CHECK_INT(file_write_atomic(path, config, sizeof config - 1, 0600, false, NULL), 0);
    f.options.config_file = path;
    REQUIRE(fixture_reopen(&f));
    a = ask(&f, "GET", "/api/auth/login", NULL, NULL, NULL);
    CHECK_STR(a.body, "{\"device_endpoint\":\"https://idp.example/device\",\"device_client_id\":\"osmo-cli\","
                      "\"browser_endpoint\":\"https://idp.example/auth\",\"browser_client_id\":null,"
                      "\"token_endpoint\":\"https://idp.example/token\",\"logout_endpoint\":null}");
    answer_free(&a);
    a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    bool kept = true;
    for (char **h = a.rs.headers; h && h[0]; h += 2)
        kept &= strcmp(h[0], "cache-control") || strcmp(h[1], "no-store");
    CHECK(!kept);
    answer_free(&a);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "login information", login_information },
    { "access token becomes a JWT that works", exchange_and_use },
    { "missing, spoofed and forged tokens are refused", bad_tokens },
    { "malformed exchanges", bad_exchanges },
    { "administrator token is made once and kept", administrator_token },
    { "signing key is kept", key_is_kept },
    { "task tokens are bound to their attempt", task_tokens },
    { "development mode answers loopback programs only", development_mode },
};
TEST_MAIN("auth", tests)
