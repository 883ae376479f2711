/* Routes of users, their roles and access tokens through osmo_service_handle: what each answers, good and bad, and what is lost by whom
 * when something is taken away. */
#include "service_fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/access.h"
#include "store/repo_auth.h"

#define DAY_US (86400LL * 1000000)

static struct fixture f;
static char *admin; /* a JWT */

static char *login(const char *token) {
    _cleanup_free_ char *body = str_printf("{\"token\":\"%s\"}", token);
    struct answer a = ask(&f, "POST", "/api/auth/jwt/access_token", NULL, body, NULL);
    char *jwt = str_dup(a.status == 200 ? json_get_str(a.json, "token") : NULL);
    answer_free(&a);
    return jwt;
}

static bool begin(void) {
    if (!fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN))
        return false;
    admin = login(ADMIN_TOKEN);
    CHECK(admin != NULL);
    return admin != NULL;
}
static void end(void) {
    free(admin);
    admin = NULL;
    fixture_close(&f);
}

/* "expires_at=<today + days>" and what follows. */
static const char *until(int days, const char *more) {
    static char text[16][512];
    static int at;
    char date[TIME_TEXT_MAX], *out = text[at++ % 16];
    snprintf(out, sizeof text[0], "expires_at=%.10s%s", time_iso(engine_now(f.engine) + days * DAY_US, date), more);
    return out;
}

struct step { const char *method, *path, *query, *body; int status; const char *part; };
static void run(const char *jwt, const struct step *s) {
    struct answer a = ask_as(&f, jwt, s->method, s->path, s->query, s->body);
    if (a.status != s->status)
        fprintf(stderr, "%s %s?%s %s: %d %s\n", s->method, s->path, s->query ? s->query : "", s->body ? s->body : "", a.status,
                a.body ? a.body : "");
    CHECK_INT(a.status, s->status);
    CHECK_CONTAINS(a.body ? a.body : "", s->part);
    if (a.status >= 400 && a.status != 422)
        CHECK_CONTAINS(a.body ? a.body : "", "\"error_code\":\"USER\"");
    answer_free(&a);
}
static void run_all(const char *jwt, const struct step *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        run(jwt, &s[i]);
}
#define RUN(jwt, steps) run_all(jwt, steps, ARRAY_SIZE(steps))
#define ONE(jwt, ...) run(jwt, &(struct step){ __VA_ARGS__ })

/* Members of an answer in their order. */
static void members_are(const json_t *o, const char *want) {
    _cleanup_buf_ buf_t names = BUF_INIT(4096);
    json_iter_t it = json_iter(o);
    while (json_iter_next(&it))
        buf_printf(&names, "%s%s", names.len ? " " : "", it.key);
    CHECK_STR(buf_cstr(&names), want);
}
/* Zone-aware, as users' and roles' times are. */
static void zoned(const json_t *o, const char *key) {
    const char *text = json_get_str(o, key);
    int64_t us = 0;
    REQUIRE(text != NULL);
    CHECK(str_ends(text, "Z") && time_parse(text, &us));
    CHECK(us > engine_now(f.engine) - 3600 * 1000000LL && us <= engine_now(f.engine));
}
/* "a b c" of member `key` of each element, or of the elements themselves. */
static void list_is(const json_t *list, const char *key, const char *want) {
    _cleanup_buf_ buf_t names = BUF_INIT(65536);
    for (size_t i = 0; i < json_len(list); i++)
        buf_printf(&names, "%s%s", i ? " " : "", key ? json_get_str(json_at(list, i), key) : json_str(json_at(list, i)));
    CHECK_STR(buf_cstr(&names), want);
}

/* A token of the caller; NULL and a failed check when it is refused. */
static char *make_token(const char *jwt, const char *path, const char *query) {
    struct answer a = ask_as(&f, jwt, "POST", path, query, NULL);
    if (a.status != 200)
        fprintf(stderr, "%s?%s: %s\n", path, query, a.body ? a.body : "");
    CHECK_INT(a.status, 200);
    char *token = str_dup(json_str(a.json));
    answer_free(&a);
    CHECK_INT(token ? strlen(token) : 0, 43);
    CHECK_INT(token ? strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") : 0, 43);
    return token;
}
static char *make_login(const char *jwt, const char *path, const char *query) {
    _cleanup_free_ char *token = make_token(jwt, path, query);
    char *made = token ? login(token) : NULL;
    CHECK(made != NULL);
    return made;
}

/* ---- users ---- */

static void users(void) {
    REQUIRE(begin());
    struct answer a = ask_as(&f, admin, "POST", "/api/auth/user", NULL, "{\"id\":\"bob@example.org\",\"roles\":[\"osmo-user\"]}");
    CHECK_INT(a.status, 200);
    members_are(a.json, "id created_at created_by");
    CHECK_STR(json_get_str(a.json, "id"), "bob@example.org");
    CHECK_STR(json_get_str(a.json, "created_by"), "admin");
    zoned(a.json, "created_at");
    answer_free(&a);
    static const struct step steps[] = {
        { "POST", "/api/auth/user", NULL, "{\"id\":\"bob@example.org\"}", 400, "User bob@example.org exists already" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"cleo\",\"roles\":null}", 200, "\"id\":\"cleo\"" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"dan\",\"roles\":[]}", 200, "\"id\":\"dan\"" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"-dan\"}", 400, "cannot name a user" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"dan/x\"}", 400, "cannot name a user" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"\"}", 400, "cannot name a user" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"d\\u0000\"}", 422, "\"loc\":[\"body\",\"id\"]" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"eve\",\"roles\":[\"osmo-user\",\"osmo-king\"]}", 400, "Role osmo-king does" },
        { "GET", "/api/auth/user/eve", NULL, NULL, 400, "User eve does not exist" },
        { "POST", "/api/auth/user", NULL, "{\"roles\":[]}", 422, "\"loc\":[\"body\",\"id\"]" },
        { "POST", "/api/auth/user", NULL, "{\"id\":7}", 422, "string_type" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"eve\",\"roles\":\"osmo-user\"}", 422, "list_type" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"eve\",\"roles\":[1]}", 422, "\"loc\":[\"body\",\"roles\"]" },
        { "POST", "/api/auth/user", NULL, NULL, 422, "missing" },
        { "POST", "/api/auth/user", NULL, "[]", 422, "body" },
        { "GET", "/api/auth/user/cleo", NULL, NULL, 200, "\"roles\":[]" },
        { "GET", "/api/auth/user/Cleo", NULL, NULL, 400, "User Cleo does not exist" },
        { "DELETE", "/api/auth/user/dan", NULL, NULL, 200, "null" },
        { "DELETE", "/api/auth/user/dan", NULL, NULL, 400, "User dan does not exist" },
    };
    RUN(admin, steps);
    a = ask_as(&f, admin, "GET", "/api/auth/user/bob@example.org", NULL, NULL);
    members_are(a.json, "id created_at created_by roles");
    const json_t *role = json_at(json_get(a.json, "roles"), 0);
    members_are(role, "role_name assigned_by assigned_at");
    CHECK_STR(json_get_str(role, "role_name"), "osmo-user");
    CHECK_STR(json_get_str(role, "assigned_by"), "admin");
    zoned(role, "assigned_at");
    answer_free(&a);
    end();
}

static void pages(void) {
    REQUIRE(begin());
    for (int i = 0; i < 5; i++) {
        _cleanup_free_ char *body = str_printf("{\"id\":\"u%d\",\"roles\":[\"%s\"]}", i, i % 2 ? "osmo-user" : "osmo-backend");
        ONE(admin, "POST", "/api/auth/user", NULL, body, 200, "created_at");
    }
    static const struct { const char *query, *ids; int64_t total, start; } cases[] = {
        { NULL, "u4 u3 u2 u1 u0 admin", 6, 1 },
        { "count=2", "u4 u3", 6, 1 },
        { "count=2&start_index=3", "u2 u1", 6, 3 },
        { "count=2&start_index=6", "admin", 6, 6 },
        { "count=2&start_index=7", "", 6, 7 },
        { "count=0", "u4", 6, 1 },
        { "count=-5&start_index=-5", "u4", 6, 1 },
        { "count=999999", "u4 u3 u2 u1 u0 admin", 6, 1 },
        { "id_prefix=u", "u4 u3 u2 u1 u0", 5, 1 },
        { "id_prefix=u&count=1&start_index=2", "u3", 5, 2 },
        { "id_prefix=U", "", 0, 1 },
        { "roles=osmo-backend", "u4 u2 u0", 3, 1 },
        { "roles=osmo-backend&roles=osmo-admin", "u4 u2 u0 admin", 4, 1 },
        { "roles=nothing", "", 0, 1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask_as(&f, admin, "GET", "/api/auth/user", cases[i].query, NULL);
        CHECK_INT(a.status, 200);
        members_are(a.json, "users total_results start_index items_per_page");
        list_is(json_get(a.json, "users"), "id", cases[i].ids);
        CHECK_INT(json_get_int(a.json, "total_results", -1), cases[i].total);
        CHECK_INT(json_get_int(a.json, "start_index", -1), cases[i].start);
        CHECK_INT(json_get_int(a.json, "items_per_page", -1), json_len(json_get(a.json, "users")));
        answer_free(&a);
    }
    ONE(admin, "GET", "/api/auth/user", "count=x", NULL, 422, "\"loc\":[\"query\",\"count\"]");
    ONE(admin, "GET", "/api/auth/user", "start_index=x", NULL, 422, "start_index");
    end();
}

static void roles(void) {
    REQUIRE(begin());
    static const struct step setup[] = {
        { "POST", "/api/auth/user", NULL, "{\"id\":\"bob\"}", 200, "bob" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"cleo\",\"roles\":[\"osmo-user\"]}", 200, "cleo" },
        { "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":\"osmo-king\"}", 400, "Role osmo-king does not exist" },
        { "POST", "/api/auth/user/eve/roles", NULL, "{\"role_name\":\"osmo-user\"}", 400, "User eve does not exist" },
        { "POST", "/api/auth/user/bob/roles", NULL, "{}", 422, "role_name" },
        { "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":null}", 422, "string_type" },
        { "GET", "/api/auth/user/eve/roles", NULL, NULL, 400, "User eve does not exist" },
        { "GET", "/api/auth/user/bob/roles", NULL, NULL, 200, "{\"user_id\":\"bob\",\"roles\":[]}" },
        { "DELETE", "/api/auth/user/eve/roles/osmo-user", NULL, NULL, 400, "User eve does not exist" },
        { "DELETE", "/api/auth/user/bob/roles/osmo-user", NULL, NULL, 200, "null" },
        { "GET", "/api/auth/roles/osmo-king/users", NULL, NULL, 400, "Role osmo-king does not exist" },
        { "POST", "/api/auth/roles/osmo-king/users", NULL, "{\"user_ids\":[\"bob\"]}", 400, "Role osmo-king does not exist" },
        { "POST", "/api/auth/roles/osmo-user/users", NULL, "{}", 422, "user_ids" },
        { "POST", "/api/auth/roles/osmo-user/users", NULL, "{\"user_ids\":null}", 422, "list_type" },
        { "POST", "/api/auth/roles/osmo-user/users", NULL, "{\"user_ids\":[]}", 200, "\"assigned\":[]," },
        { "GET", "/api/auth/roles/osmo-ctrl/users", NULL, NULL, 200, "{\"role_name\":\"osmo-ctrl\",\"users\":[]}" },
    };
    RUN(admin, setup);
    _cleanup_buf_ buf_t crowd = BUF_INIT(1u << 20);
    buf_puts(&crowd, "{\"user_ids\":[\"bob\"");
    for (int i = 0; i < 10000; i++)
        buf_puts(&crowd, ",\"bob\"");
    buf_puts(&crowd, "]}");
    ONE(admin, "POST", "/api/auth/roles/osmo-user/users", NULL, buf_cstr(&crowd), 400, "more than 10000 users");
    struct answer first = ask_as(&f, admin, "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":\"osmo-backend\"}");
    struct answer again = ask_as(&f, admin, "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":\"osmo-backend\"}");
    members_are(first.json, "user_id role_name assigned_by assigned_at");
    zoned(first.json, "assigned_at");
    CHECK_STR(again.body, first.body);
    answer_free(&first);
    answer_free(&again);
    static const char ids[] = "{\"user_ids\":[\"bob\",\"cleo\",\"eve\",\"bob\"]}";
    struct answer a = ask_as(&f, admin, "POST", "/api/auth/roles/osmo-user/users", NULL, ids);
    members_are(a.json, "role_name assigned already_assigned failed");
    list_is(json_get(a.json, "assigned"), NULL, "bob");
    list_is(json_get(a.json, "already_assigned"), NULL, "cleo bob");
    list_is(json_get(a.json, "failed"), NULL, "eve");
    answer_free(&a);
    a = ask_as(&f, admin, "GET", "/api/auth/roles/osmo-user/users", NULL, NULL);
    list_is(json_get(a.json, "users"), "user_id", "bob cleo admin");
    members_are(json_at(json_get(a.json, "users"), 0), "user_id assigned_by assigned_at");
    zoned(json_at(json_get(a.json, "users"), 0), "assigned_at");
    answer_free(&a);
    a = ask_as(&f, admin, "GET", "/api/auth/user/bob/roles", NULL, NULL);
    list_is(json_get(a.json, "roles"), "role_name", "osmo-backend osmo-user");
    answer_free(&a);
    ONE(admin, "DELETE", "/api/auth/user/bob/roles/osmo-user", NULL, NULL, 200, "null");
    ONE(admin, "DELETE", "/api/auth/user/bob/roles/osmo-user", NULL, NULL, 200, "null");
    a = ask_as(&f, admin, "GET", "/api/auth/user/bob/roles", NULL, NULL);
    list_is(json_get(a.json, "roles"), "role_name", "osmo-backend");
    answer_free(&a);
    end();
}

/* ---- tokens ---- */

/* User bob with roles, and a JWT of a token of his that has all of them. */
static char *with_bob(const char *roles) {
    _cleanup_free_ char *body = str_printf("{\"id\":\"bob\",\"roles\":[%s]}", roles);
    ONE(admin, "POST", "/api/auth/user", NULL, body, 200, "bob");
    return make_login(admin, "/api/auth/user/bob/access_token/first", until(1, ""));
}

static void own_tokens(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\",\"osmo-backend\"");
    _cleanup_free_ char *token = make_token(bob, "/api/auth/access_token/laptop", until(30, "&description=on%20the%20desk"));
    struct answer a = ask_as(&f, bob, "GET", "/api/auth/access_token", NULL, NULL);
    CHECK_INT(a.status, 200);
    list_is(a.json, "token_name", "first laptop");
    const json_t *t = json_at(a.json, 1);
    char date[TIME_TEXT_MAX];
    int64_t midnight = engine_now(f.engine) / DAY_US * DAY_US + 30 * DAY_US;
    members_are(t, "user_name token_name expires_at description roles");
    CHECK_STR(json_get_str(t, "user_name"), "bob");
    CHECK_STR(json_get_str(t, "expires_at"), time_iso(midnight, date));
    CHECK_STR(json_get_str(t, "description"), "on the desk");
    list_is(json_get(t, "roles"), NULL, "osmo-backend osmo-user");
    CHECK(!strstr(a.body, token));
    answer_free(&a);
    a = ask_as(&f, bob, "GET", "/api/auth/access_token/laptop/roles", NULL, NULL);
    members_are(a.json, "user_name token_name roles");
    list_is(json_get(a.json, "roles"), "role_name", "osmo-backend osmo-user");
    CHECK_STR(json_get_str(json_at(json_get(a.json, "roles"), 0), "assigned_by"), "bob");
    zoned(json_at(json_get(a.json, "roles"), 0), "assigned_at");
    answer_free(&a);
    ONE(bob, "GET", "/api/auth/access_token/none/roles", NULL, NULL, 400, "Access token none does not exist");
    ONE(bob, "POST", "/api/auth/access_token/laptop", until(1, ""), NULL, 400, "Access token laptop exists already");
    _cleanup_free_ char *jwt = login(token);
    ONE(jwt, "GET", "/api/profile/settings", NULL, NULL, 200, "laptop");
    ONE(bob, "DELETE", "/api/auth/access_token/laptop", NULL, NULL, 200, "null");
    ONE(bob, "DELETE", "/api/auth/access_token/laptop", NULL, NULL, 400, "Access token laptop does not exist");
    CHECK(login(token) == NULL);
    ONE(jwt, "GET", "/api/auth/access_token", NULL, NULL, 401, "");
    end();
}

static void what_a_token_may_be(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\",\"osmo-backend\"");
    ONE(admin, "POST", "/api/auth/user", NULL, "{\"id\":\"bare\"}", 200, "bare");
    static const char path[] = "/api/auth/access_token/";
    const struct { const char *name, *query; int status; const char *part; } cases[] = {
        { "a", "", 422, "\"loc\":[\"query\",\"expires_at\"]" },
        { "a", "expires_at=soon", 400, "is not a date" },
        { "a", "expires_at=2028-02-31", 400, "is not a date" },
        { "a", until(0, ""), 400, "must be after today" },
        { "a", until(366, ""), 400, "365 days at most" },
        { "a1", until(365, ""), 200, "\"" },
        { "a2", until(1, "&roles=osmo-user"), 200, "\"" },
        { "a3", until(1, "&roles=osmo-user&roles=osmo-admin"), 400, "User bob does not have role osmo-admin" },
        { "7a", "x=1&expires_at=2999-01-01", 400, "cannot name an access token" },
        { "a-", "expires_at=2999-01-01", 400, "cannot name an access token" },
        { "a.b", "expires_at=2999-01-01", 400, "cannot name an access token" },
        { "a", until(1, "&backend=b/c"), 400, "cannot name a backend" },
        { "a", until(1, "&backend=east&roles=osmo-user"), 400, "needs role osmo-backend" },
        { "a", until(1, "&description=a%0Ab"), 400, "one line" },
        { "a", until(1, "&roles="), 400, "does not have role" },
        { "east", until(1, "&backend=east&roles=osmo-backend"), 200, "\"" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *whole = str_printf("%s%s", path, cases[i].name);
        ONE(bob, "POST", whole, cases[i].query, NULL, cases[i].status, cases[i].part);
    }
    struct answer a = ask_as(&f, bob, "GET", path, NULL, NULL);
    list_is(a.json, "token_name", "a1 a2 east first");
    list_is(json_get(json_at(a.json, 1), "roles"), NULL, "osmo-user");
    CHECK_STR(json_get_str(json_at(a.json, 2), "backend"), "east");
    answer_free(&a);
    ONE(admin, "POST", "/api/auth/user/bare/access_token/a", until(1, ""), NULL, 400, "User bare has no role");
    ONE(admin, "GET", "/api/auth/user/bare/access_token", NULL, NULL, 200, "[]");
    end();
}

static void no_more_than_its_own(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\",\"osmo-backend\"");
    _cleanup_free_ char *narrow = make_login(bob, "/api/auth/access_token/narrow", until(1, "&roles=osmo-user"));
    ONE(narrow, "POST", "/api/auth/access_token/wide", until(1, "&roles=osmo-backend"), NULL, 403, "have role osmo-backend itself");
    ONE(narrow, "POST", "/api/auth/user/bob/access_token/wide", until(1, "&roles=osmo-backend"), NULL, 403, "osmo-backend");
    ONE(narrow, "POST", "/api/auth/access_token/child", until(1, ""), NULL, 200, "\"");
    struct answer a = ask_as(&f, bob, "GET", "/api/auth/access_token/child/roles", NULL, NULL);
    list_is(json_get(a.json, "roles"), "role_name", "osmo-user");
    answer_free(&a);
    _cleanup_free_ char *bound = make_login(bob, "/api/auth/access_token/bound", until(1, "&backend=east"));
    ONE(bound, "POST", "/api/auth/access_token/free", until(1, ""), NULL, 403, "backend");
    ONE(bound, "GET", "/api/auth/access_token", NULL, NULL, 403, "backend");
    ONE(bound, "DELETE", "/api/auth/access_token/first", NULL, NULL, 403, "backend");
    end();
}

static void tokens_of_others(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\"");
    ONE(admin, "POST", "/api/auth/user", NULL, "{\"id\":\"cleo\",\"roles\":[\"osmo-user\"]}", 200, "cleo");
    _cleanup_free_ char *hers = make_token(admin, "/api/auth/user/cleo/access_token/made", until(1, ""));
    struct answer a = ask_as(&f, admin, "GET", "/api/auth/user/cleo/access_token", NULL, NULL);
    list_is(a.json, "token_name", "made");
    answer_free(&a);
    const struct step foreign[] = {
        { "GET", "/api/auth/user/cleo/access_token", NULL, NULL, 403, "access denied" },
        { "POST", "/api/auth/user/cleo/access_token/b", "expires_at=2999-01-01", NULL, 403, "access denied" },
        { "DELETE", "/api/auth/user/cleo/access_token/made", NULL, NULL, 403, "access denied" },
        { "GET", "/api/auth/user/bob/access_token", NULL, NULL, 200, "first" },
        { "DELETE", "/api/auth/user/bob/access_token/nothing", NULL, NULL, 400, "does not exist" },
        { "GET", "/api/auth/user", NULL, NULL, 403, "administrators" },
        { "POST", "/api/auth/user", NULL, "{\"id\":\"eve\"}", 403, "administrators" },
        { "GET", "/api/auth/user/bob", NULL, NULL, 403, "administrators" },
        { "DELETE", "/api/auth/user/cleo", NULL, NULL, 403, "administrators" },
        { "GET", "/api/auth/user/bob/roles", NULL, NULL, 403, "administrators" },
        { "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":\"osmo-admin\"}", 403, "administrators" },
        { "DELETE", "/api/auth/user/cleo/roles/osmo-user", NULL, NULL, 403, "administrators" },
        { "GET", "/api/auth/roles/osmo-user/users", NULL, NULL, 403, "administrators" },
        { "POST", "/api/auth/roles/osmo-admin/users", NULL, "{\"user_ids\":[\"bob\"]}", 403, "administrators" },
    };
    RUN(bob, foreign);
    static const struct step missing[] = {
        { "GET", "/api/auth/user/eve/access_token", NULL, NULL, 400, "User eve does not exist" },
        { "DELETE", "/api/auth/user/eve/access_token/a", NULL, NULL, 400, "User eve does not exist" },
        { "DELETE", "/api/auth/user/cleo/access_token/a", NULL, NULL, 400, "Access token a does not exist" },
        { "DELETE", "/api/auth/user/cleo/access_token/made", NULL, NULL, 200, "null" },
    };
    RUN(admin, missing);
    ONE(admin, "POST", "/api/auth/user/eve/access_token/a", until(1, ""), NULL, 400, "User eve does not exist");
    CHECK(login(hers) == NULL);
    end();
}

static void tasks_make_no_tokens(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\"");
    struct seed s;
    char *task = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(seed_workflow(&f, "train", "bob", 1, &s));
    CHECK_OK(auth_task_jwt(f.engine, "bob", s.id, "g", "t0", 0, &task, &err), &err);
    static const struct { const char *method, *path; } cases[] = {
        { "GET", "/api/auth/access_token" },        { "POST", "/api/auth/access_token/a" },
        { "DELETE", "/api/auth/access_token/first" }, { "GET", "/api/auth/access_token/first/roles" },
        { "GET", "/api/auth/user/bob/access_token" }, { "POST", "/api/auth/user/bob/access_token/a" },
        { "DELETE", "/api/auth/user/bob/access_token/first" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ONE(task, cases[i].method, cases[i].path, until(1, ""), NULL, 403, "task");
    struct answer a = ask_as(&f, bob, "GET", "/api/auth/access_token", NULL, NULL);
    list_is(a.json, "token_name", "first");
    answer_free(&a);
    free(task);
    end();
}

/* ---- what is taken away ---- */

static void roles_leave_tokens(void) {
    REQUIRE(begin());
    _cleanup_free_ char *bob = with_bob("\"osmo-user\",\"osmo-backend\"");
    ONE(admin, "DELETE", "/api/auth/user/bob/roles/osmo-backend", NULL, NULL, 200, "null");
    ONE(admin, "POST", "/api/auth/user/bob/roles", NULL, "{\"role_name\":\"osmo-backend\"}", 200, "osmo-backend");
    struct answer a = ask_as(&f, admin, "GET", "/api/auth/user/bob/access_token", NULL, NULL);
    list_is(json_get(json_at(a.json, 0), "roles"), NULL, "osmo-user");
    answer_free(&a);
    end();
}

static void users_leave(void) {
    REQUIRE(begin());
    ONE(admin, "POST", "/api/auth/user", NULL, "{\"id\":\"bob\",\"roles\":[\"osmo-user\"]}", 200, "bob");
    _cleanup_free_ char *token = make_token(admin, "/api/auth/user/bob/access_token/a", until(1, ""));
    _cleanup_free_ char *bob = login(token);
    ONE(bob, "GET", "/api/auth/access_token", NULL, NULL, 200, "\"a\"");
    ONE(admin, "DELETE", "/api/auth/user/bob", NULL, NULL, 200, "null");
    CHECK(login(token) == NULL);
    ONE(bob, "GET", "/api/auth/access_token", NULL, NULL, 401, "");
    ONE(admin, "POST", "/api/auth/user", NULL, "{\"id\":\"bob\",\"roles\":[\"osmo-user\"]}", 200, "bob");
    ONE(admin, "GET", "/api/auth/user/bob/access_token", NULL, NULL, 200, "[]");
    CHECK(login(token) == NULL);
    end();
}

/* Whoever locks the administrator out has it back after a restart, with a new token unless one was given. */
static void administrator_returns(void) {
    REQUIRE(begin());
    ONE(admin, "DELETE", "/api/auth/user/admin/roles/osmo-admin", NULL, NULL, 200, "null");
    ONE(admin, "GET", "/api/auth/user", NULL, NULL, 403, "administrators");
    REQUIRE(fixture_reopen(&f));
    free(admin);
    admin = login(ADMIN_TOKEN);
    ONE(admin, "GET", "/api/auth/user", NULL, NULL, 200, "admin");
    ONE(admin, "DELETE", "/api/auth/user/admin", NULL, NULL, 200, "null");
    CHECK(login(ADMIN_TOKEN) == NULL);
    f.options.admin_token = NULL;
    REQUIRE(fixture_reopen(&f));
    _cleanup_free_ char *fresh = osmo_service_take_admin_token(f.service);
    REQUIRE(fresh != NULL);
    free(admin);
    admin = login(fresh);
    ONE(admin, "GET", "/api/auth/user", NULL, NULL, 200, "admin");
    ONE(admin, "DELETE", "/api/auth/user/admin/roles/osmo-admin", NULL, NULL, 200, "null");
    REQUIRE(fixture_reopen(&f));
    _cleanup_free_ char *fresher = osmo_service_take_admin_token(f.service);
    REQUIRE(fresher != NULL);
    CHECK(login(fresh) == NULL);
    free(admin);
    admin = login(fresher);
    ONE(admin, "GET", "/api/auth/user", NULL, NULL, 200, "admin");
    REQUIRE(fixture_reopen(&f));
    CHECK(osmo_service_take_admin_token(f.service) == NULL);
    end();
}

static const struct check_test tests[] = {
    { "users", users },
    { "pages of users", pages },
    { "roles of users", roles },
    { "own tokens", own_tokens },
    { "what a token may be", what_a_token_may_be },
    { "no token makes one that may do more", no_more_than_its_own },
    { "tokens of other users", tokens_of_others },
    { "tasks make no tokens", tasks_make_no_tokens },
    { "roles leave tokens", roles_leave_tokens },
    { "users leave", users_leave },
    { "the administrator returns", administrator_returns },
};
TEST_MAIN("api_users", tests)
