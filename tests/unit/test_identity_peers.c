/* Who is asking, by others' words and on other ways: gateways that vouch for users, headers that must not be believed, websockets that end
 * with what they were opened by. */
#include "identity_fixture.h"

#include "engine/access.h"

#define PROFILE "/api/profile/settings"

/* ---- gateways ---- */

static void trust(osmo_service_options_t *o) { o->trusted_gateways = "10.1.0.0/16, 192.168.7.9,fd00:1::/32"; }

static void gateway_peers(void) {
    static const struct { const char *peer; int status; } cases[] = {
        { "10.1.2.3", 200 },       { "10.1.255.255", 200 },      { "::ffff:10.1.2.3", 200 }, { "192.168.7.9", 200 },
        { "fd00:1:2::5", 200 },    { "fd00:1::1%eth0", 200 },    { "FD00:1::A", 200 },       { "10.2.0.1", 401 },
        { "10.0.255.255", 401 },   { "192.168.7.8", 401 },       { "192.168.7.10", 401 },    { "::ffff:10.2.0.1", 401 },
        { "fd00:2::1", 401 },      { "::1", 401 },               { "127.0.0.1", 401 },       { "10.1.2.3:80", 401 },
        { "10.1.2", 401 },         { "10.1.2.3.4", 401 },        { "", 401 },                { "gateway", 401 },
        { "010.1.2.3", 401 },      { "::10.1.2.3", 401 },        { " 10.1.2.3", 401 },       { NULL, 401 },
    };
    static const char *const headers[] = { "host", "x", "x-osmo-user", "gwen", "x-osmo-roles", "osmo-user", NULL };
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, trust));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *who = NULL;
        int status = identity_from(&f, cases[i].peer, PROFILE, headers, &who);
        if (status != cases[i].status)
            fprintf(stderr, "%s: %s\n", cases[i].peer ? cases[i].peer : "NULL", who ? who : "");
        CHECK_INT(status, cases[i].status);
        CHECK(status != 200 || str_eq(who, "gwen"));
    }
    fixture_close(&f);
}

static void say_headers(void) {
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, trust) && identity_seed(&f));
    _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN);
    REQUIRE(jwt != NULL);
    _cleanup_free_ char *bearer = str_printf("Bearer %s", jwt);
    char longest[259];
    memset(longest, 'u', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const struct { const char *peer, *path, *headers[11]; int status; const char *user; } cases[] = {
        /* a token counts more than what is said beside it, good or bad */
        { "10.1.0.1", PROFILE, { "authorization", bearer, "x-osmo-user", "gwen", NULL }, 200, "maya" },
        { "10.1.0.1", PROFILE, { "authorization", "Bearer a.b.c", "x-osmo-user", "gwen", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-auth", "a.b.c", "x-osmo-user", "gwen", NULL }, 401, NULL },
        { "127.0.0.1", PROFILE, { "authorization", bearer, "x-osmo-user", "gwen", "x-osmo-roles", "osmo-admin", NULL }, 200, "maya" },
        { "127.0.0.1", "/api/configs/role", { "authorization", bearer, "x-osmo-user", "gwen", "x-osmo-roles", "osmo-admin", NULL },
          403, NULL },
        /* what a gateway says */
        { "10.1.0.1", "/api/configs/role", { "x-osmo-user", "root", "x-osmo-roles", "osmo-admin , osmo-user", NULL }, 200, NULL },
        { "10.1.0.1", "/api/configs/role", { "x-osmo-user", "gwen", "x-osmo-roles", "osmo-user,osmo-\tadmin", NULL }, 403, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-roles", "osmo-admin", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "", "x-osmo-roles", "osmo-admin", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "gwen", "x-osmo-user", "root", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "gwen", "x-osmo-roles", "a", "x-osmo-roles", "osmo-admin", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "gw\x01" "en", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "gw\xff" "en", NULL }, 401, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", longest, NULL }, 401, NULL },
        /* which token of ours it has verified */
        { "10.1.0.1", PROFILE, { "x-osmo-user", "maya", "x-osmo-token-name", "laptop", NULL }, 200, "maya" },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "maya", "x-osmo-token-name", "desk", NULL }, 401, NULL },
        { "10.1.0.1", "/api/configs/role", { "x-osmo-user", "maya", "x-osmo-token-name", "laptop", "x-osmo-roles", "osmo-admin", NULL },
          403, NULL },
        { "10.1.0.1", PROFILE, { "x-osmo-user", "backend-operator-x", "x-osmo-token-name", "backend-bootstrap-x", NULL }, 401, NULL },
        /* a task's token does not become its user's */
        { "10.1.0.1", "/api/configs/role", { "x-osmo-user", "maya", "x-osmo-workflow-id", "wf-1", "x-osmo-roles", "osmo-admin", NULL },
          403, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int again = 0; again < 2; again++) { /* remembered */
            _cleanup_free_ char *who = NULL;
            int status = identity_from(&f, cases[i].peer, cases[i].path, cases[i].headers, &who);
            if (status != cases[i].status)
                fprintf(stderr, "case %zu: %s\n", i, who ? who : "");
            CHECK_INT(status, cases[i].status);
            CHECK(!cases[i].user || str_eq(who, cases[i].user));
        }
    }
    fixture_close(&f);
}

static void gateway_headers(void) { identity_both(say_headers); }

static int take_role(db_t *db, void *role, osmo_error_t *err) { return repo_assignment_delete(db, "gwen", role, err); }

/* Without the role among those it names, the user has what is assigned here. */
static void gateway_users_lose_roles(void) {
    static const char *const first[] = { "x-osmo-user", "gwen", "x-osmo-roles", "osmo-user", NULL };
    static const char *const later[] = { "x-osmo-user", "gwen", NULL };
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, trust));
    CHECK_INT(identity_from(&f, "10.1.0.1", "/api/workflow", first, NULL), 200);
    CHECK_INT(identity_from(&f, "10.1.0.1", "/api/workflow", later, NULL), 200);
    CHECK(identity_change(&f, take_role, "osmo-user"));
    CHECK_INT(identity_from(&f, "10.1.0.1", "/api/workflow", later, NULL), 403);
    fixture_close(&f);
}

static const char *list;
static void trust_list(osmo_service_options_t *o) { o->trusted_gateways = list; }

static void gateway_lists(void) {
    static const struct { const char *list, *why; } cases[] = {
        { "10.0.0.0/8", NULL }, { "10.0.0.1", NULL }, { " ::1 , fe80::/10 ,", NULL }, { "0.0.0.0/0", NULL }, { "", NULL },
        { "gateway.example", "'gateway.example' is not an address" }, { "10.0.0.1/8", "is an address within the block" },
        { "10.0.0.0/33", "0 to 32 bits" }, { "fd00::/129", "0 to 128 bits" }, { "10.0.0.0/-1", "0 to 32" }, { "10.0.0.0/x", "0 to 32" },
        { "10.0.0.1;10.0.0.2", "is not an address" }, { "fd00::1/64", "is an address within" }, { "/8", "is not an address" },
    };
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        osmo_service_t *other = NULL;
        osmo_service_close(f.service);
        f.service = NULL;
        list = cases[i].list;
        trust_list(&f.options);
        int rc = osmo_service_open(&f.options, &other, &err);
        CHECK_INT(rc, cases[i].why ? OSMO_EINVAL : 0);
        if (cases[i].why)
            CHECK_CONTAINS(err.text, cases[i].why);
        osmo_service_close(other);
    }
    fixture_close(&f);
}

/* ---- what handlers see ---- */

static void stripped(void) {
    static const char *const headers[] = { "host", "a", "authorization", "Bearer x", "x-osmo-user", "root", "x-osmo-auth", "y",
        "x-osmo-roles", "osmo-admin", "x-osmo-client-version", "6.4.0", "x-osmo-token-name", "t", "x-osmo-workflow-id", "w",
        "x-osmo-allowed-pools", "p", "accept", "*/*", NULL };
    static const struct route open_route = { .flags = ROUTE_OPEN };
    osmo_request_t rq = { .size = sizeof rq, .headers = headers };
    for (int open = 0; open < 2; open++) {
        osmo_response_t rs = { 0 };
        struct call c = { .rq = &rq, .rs = &rs, .route = open ? &open_route : NULL };
        CHECK_INT(call_strip(&c), 0);
        size_t n = 0;
        for (const char *const *h = c.rq->headers; *h; h++)
            n++;
        CHECK_INT(n, open ? 8 : 6);
        CHECK(request_header(c.rq, "x-osmo-user") == NULL && request_header(c.rq, "x-osmo-roles") == NULL);
        CHECK(!request_header(c.rq, "authorization") == !open);
        CHECK_STR(request_header(c.rq, "x-osmo-client-version"), "6.4.0");
        CHECK_STR(request_header(c.rq, "accept"), "*/*");
        call_clear(&c);
    }
}

/* ---- websockets ---- */

static int delete_token(db_t *db, void *name, osmo_error_t *err) { return repo_token_delete(db, "maya", name, err); }
static int take_mayas_role(db_t *db, void *role, osmo_error_t *err) { return repo_assignment_delete(db, "maya", role, err); }

/* The upgrade is answered by the signature, the close comes from the store: of what was deleted before, and while it was open. */
static void sockets(void) {
    static const struct { store_fn change; const char *of; bool before; } cases[] = {
        { delete_token, "edge", true }, { delete_token, "edge", false }, { take_mayas_role, "osmo-backend", true },
        { take_mayas_role, "osmo-backend", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        int status;
        REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
        _cleanup_free_ char *jwt = identity_login(&f, EASTS_TOKEN);
        REQUIRE(jwt != NULL);
        if (cases[i].before)
            CHECK(identity_change(&f, cases[i].change, cases[i].of));
        osmo_ws_t *ws = identity_socket(&f, jwt, "east", 70 + i, &status);
        CHECK_INT(status, 101);
        REQUIRE(ws != NULL);
        osmo_ws_opened(ws);
        if (!cases[i].before) {
            CHECK_INT(fixture_nsent(&f), 0);
            CHECK(identity_change(&f, cases[i].change, cases[i].of));
        }
        CHECK_INT(identity_close_code(&f, 70 + i), 4000);
        osmo_ws_message(ws, "{}", 2, 0); /* counts no more */
        osmo_ws_closed(ws);
        fixture_close(&f);
    }
}

static void sockets_end(void) { identity_both(sockets); }

static void sockets_of_others(void) {
    struct fixture f;
    int status;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    _cleanup_free_ char *jwt = identity_login(&f, EASTS_TOKEN);
    CHECK(identity_socket(&f, jwt, "west", 1, &status) == NULL);
    CHECK_INT(status, 403);
    _cleanup_free_ char *users = identity_login(&f, MAYAS_TOKEN);
    CHECK(identity_socket(&f, users, "east", 1, &status) == NULL);
    CHECK_INT(status, 403);
    CHECK(identity_socket(&f, "a.b.c", "east", 1, &status) == NULL);
    CHECK_INT(status, 401);
    fixture_close(&f);
}

/* Nothing is looked up on the thread of the connections: first a moment's patience, then an answer. */
static int patient(struct fixture *f, const char *token, uint64_t conn) {
    struct timespec moment = { .tv_nsec = 10000000 };
    int status = 503;
    for (int i = 0; i < 1000 && status == 503; i++) {
        osmo_ws_t *ws = identity_socket(f, token, "east", conn, &status);
        if (ws) {
            osmo_ws_opened(ws);
            osmo_ws_closed(ws);
        } else
            nanosleep(&moment, NULL);
    }
    return status;
}

static void sockets_by_access_token(void) {
    struct fixture f;
    int status;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    CHECK(identity_socket(&f, EASTS_TOKEN, "east", 1, &status) == NULL);
    CHECK_INT(status, 503);
    CHECK_INT(patient(&f, EASTS_TOKEN, 2), 101);
    CHECK_INT(patient(&f, UNKNOWN_TOKEN, 3), 401);
    CHECK_INT(patient(&f, MAYAS_TOKEN, 4), 403);
    CHECK_INT(fixture_nsent(&f), 0);
    fixture_close(&f);
}

static void sockets_of_tasks(void) {
    struct fixture f;
    struct seed s;
    const char *extensions;
    char *jwt = NULL;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f) && seed_workflow(&f, "wf", "maya", 1, &s));
    CHECK_INT(auth_task_jwt(f.engine, "maya", s.id, "g", "t0", 0, &jwt, NULL), 0);
    CHECK(seed_task_status(&f, &s, 0, STATUS_FAILED));
    _cleanup_free_ char *path = str_printf("/api/logger/workflow/%s/osmo_ctrl/t0/retry_id/0", s.id);
    _cleanup_free_ char *value = str_printf("Bearer %s", jwt);
    const char *headers[] = { "host", "127.0.0.1:8000", "authorization", value, NULL };
    osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = path, .query = "", .headers = headers, .peer = "127.0.0.1" };
    osmo_response_t rs;
    osmo_ws_t *ws = NULL;
    osmo_service_ws_open(f.service, &rq, 9, &ws, &extensions, &rs);
    osmo_response_clear(&rs);
    free(jwt);
    REQUIRE(ws != NULL);
    osmo_ws_opened(ws);
    CHECK_INT(identity_close_code(&f, 9), 4000);
    CHECK(fixture_nsent(&f) == 1 && strstr(f.sent[0].text, "is finished") && strlen(f.sent[0].text) <= 120);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "gateways by address", gateway_peers },
    { "what gateways and others say in headers", gateway_headers },
    { "users of gateways lose roles", gateway_users_lose_roles },
    { "lists of gateways", gateway_lists },
    { "handlers see no identity headers", stripped },
    { "websockets end with what they were opened by", sockets_end },
    { "websockets of other backends", sockets_of_others },
    { "websockets by access token", sockets_by_access_token },
    { "websockets of finished tasks", sockets_of_tasks },
};
TEST_MAIN("identity_peers", tests)
