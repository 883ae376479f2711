/* The table of routes: every route has exactly one rule, the rule can be applied to its path, and what OSMO 6.4's registry of actions knows
 * is the same action here. */
#include "api/service_internal.h"
#include "base/cleanup.h"
#include "check.h"
#include "actions_fixture.h"

/* Nobody needs to say who he is for these. */
static const char *const open_routes[] = {
    "GET /health", "GET /api/version", "GET /client/version", "GET /api/router/version", "GET /api/auth/login", "GET /api/auth/keys",
    "POST /api/auth/jwt/access_token", "GET /api/auth/jwt/access_token", "POST /api/auth/jwt/refresh_token",
    "GET /api/auth/jwt/refresh_token", "POST /api/internal/replica",
};
/* What upstream has no action for has one here. */
static const char *const our_actions[] = {
    "POST /api/workflow/{}/tag", "GET /api/storage/{}/{}", "GET /api/storage/{}/{}/{}",
};

static bool named(const char *const *list, size_t n, const char *method, const char *pattern) {
    _cleanup_free_ char *text = str_printf("%s %s", method, pattern);
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], text))
            return true;
    return false;
}

static size_t params_of(const char *pattern) {
    size_t n = 0;
    for (const char *p = pattern; (p = strstr(p, "{}")); p += 2)
        n++;
    return n;
}

static size_t params_needed(enum scope s) {
    static const size_t needed[] = {
        [SCOPE_NONE] = 0,   [SCOPE_POOL] = 1, [SCOPE_WORKFLOW] = 1, [SCOPE_SOME_POOL] = 0, [SCOPE_CONFIG] = 0,
        [SCOPE_BACKEND] = 1, [SCOPE_USER] = 1, [SCOPE_STORAGE] = 1,  [SCOPE_ATTEMPT] = 3,   [SCOPE_SESSION] = 1,
    };
    return (size_t)s < ARRAY_SIZE(needed) ? needed[s] : 99;
}

/* A path of the pattern: its i-th parameter is a name that no literal has. */
static char *sample(const char *pattern) {
    char text[300], *w = text;
    int n = 0;
    for (const char *p = pattern; *p; p++) {
        if (!strncmp(p, "{}", 2) || *p == '*') {
            w += sprintf(w, "name%d", n++);
            p += *p == '{';
        } else {
            *w++ = *p;
        }
    }
    *w = '\0';
    return str_dup(text);
}

static void every_route_has_one_rule(void) {
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route *r = &api_routes[i];
        bool open = named(open_routes, ARRAY_SIZE(open_routes), r->method, r->pattern);
        bool good = r->handler && r->role && r->action < ACTION_COUNT && params_of(r->pattern) >= params_needed(r->scope) &&
                    open == !!(r->flags & ROUTE_OPEN);
        good &= r->action != ACTION_NONE || r->scope == SCOPE_NONE || r->scope == SCOPE_STORAGE;
        good &= r->scope != SCOPE_CONFIG || str_starts(r->pattern, "/api/configs/");
        good &= r->scope != SCOPE_POOL || str_starts(r->pattern, "/api/pool/{}/");
        good &= r->scope != SCOPE_USER || str_starts(r->pattern, "/api/auth/user/{}/");
        good &= r->scope != SCOPE_WORKFLOW || str_starts(r->pattern, "/api/workflow/{}");
        for (size_t k = 0; k < i; k++)
            good &= !str_eq(api_routes[k].method, r->method) || !str_eq(api_routes[k].pattern, r->pattern);
        if (!good)
            fprintf(stderr, "%s %s\n", r->method, r->pattern);
        CHECK(good);
    }
    for (size_t i = 0; i < ARRAY_SIZE(open_routes); i++) {
        bool there = false;
        for (size_t k = 0; k < api_route_count; k++)
            there |= named(&open_routes[i], 1, api_routes[k].method, api_routes[k].pattern);
        CHECK(there);
    }
}

static void every_socket_has_one_rule(void) {
    struct ws_rule r, other;
    size_t n = 0;
    for (; ws_route_rule(n, &r); n++) {
        CHECK(r.role && r.action != ACTION_NONE && r.action < ACTION_COUNT && r.scope != SCOPE_NONE);
        CHECK(params_of(r.pattern) >= params_needed(r.scope));
        for (size_t k = 0; k < n && ws_route_rule(k, &other); k++)
            CHECK(!str_eq(other.pattern, r.pattern));
    }
    CHECK(n >= 15);
}

static router_t *all_routes(void) {
    router_t *r = router_new();
    for (size_t i = 0; r && i < api_route_count; i++)
        CHECK_INT(router_add(r, api_routes[i].method, api_routes[i].pattern, api_routes[i].flags & ROUTE_REST, &api_routes[i]), 0);
    return r;
}

/* Each row is the one that a path of its pattern finds, and upstream has the same action for it. */
static void as_the_registry_says(void) {
    router_t *router = all_routes();
    REQUIRE(router);
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route *r = &api_routes[i];
        _cleanup_free_ char *path = sample(r->pattern);
        struct router_match m;
        REQUIRE(path && router_find(router, r->method, path, &m) == 0);
        CHECK(m.row == r);
        router_match_clear(&m);
        const char *theirs = registry_action(r->method, path), *ours = action_name(r->action);
        if (!theirs && named(our_actions, ARRAY_SIZE(our_actions), r->method, r->pattern))
            continue;
        if (!str_eq(theirs ? theirs : "", ours))
            fprintf(stderr, "%s %s: %s, upstream %s\n", r->method, path, ours, theirs ? theirs : "none");
        CHECK_STR(ours, theirs ? theirs : "");
    }
    router_free(router);
}

static void sockets_as_the_registry_says(void) {
    struct ws_rule r;
    for (size_t i = 0; ws_route_rule(i, &r); i++) {
        _cleanup_free_ char *path = sample(r.pattern);
        const char *theirs = registry_action("GET", path);
        /* upstream takes the side of the task for that of a client, because a shorter pattern weighs more there */
        CHECK_STR(action_name(r.action), str_starts(path, "/api/router/webserver/") ? "internal:Router" : theirs);
    }
}

/* Whatever the registry knows and we serve has its action. */
static void whatever_the_registry_knows(void) {
    static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
    const char *action, *allowed, *pattern;
    router_t *router = all_routes();
    size_t served = 0;
    REQUIRE(router);
    for (size_t i = 0; registry_entry(i, &action, &allowed, &pattern); i++) {
        _cleanup_free_ char *base = sample(pattern);
        for (size_t k = 0; k < ARRAY_SIZE(methods); k++)
            for (int deeper = 0; deeper < 3; deeper++) {
                static const char *const tails[] = { "", "/name8", "/name8/name9" };
                _cleanup_free_ char *path = str_printf("%s%s", base, tails[deeper]);
                const char *theirs = registry_action(methods[k], path);
                struct router_match m;
                REQUIRE(router_find(router, methods[k], path, &m) == 0);
                if (m.row && theirs) {
                    CHECK_STR(action_name(((const struct route *)m.row)->action), theirs);
                    served++;
                }
                router_match_clear(&m);
            }
    }
    CHECK(served > 30);
    router_free(router);
}

/* The registry of this test is the one of the library, name by name. */
static void names(void) {
    const char *action, *methods, *pattern;
    bool seen[ACTION_COUNT] = { true };
    for (size_t i = 0; registry_entry(i, &action, &methods, &pattern); i++) {
        CHECK(action_parse(action) != ACTION_NONE);
        seen[action_parse(action)] = true;
    }
    for (int a = 0; a < ACTION_COUNT; a++)
        CHECK(seen[a]);
    static const struct { const char *method, *path, *want; } resolved[] = {
        { "GET", "/api/router/webserver/k", "workflow:PortForward" }, { "GET", "/api/router/exec/w/backend/k", "internal:Router" },
        { "GET", "/api/router/exec/w/client/k", "workflow:Exec" },    { "POST", "/api/workflow/w/tag", NULL },
        { "POST", "/api/workflow/w/exec/t", "workflow:Exec" },        { "DELETE", "/api/configs/role/x", NULL },
        { "GET", "/api/workflow/w/task/t", "workflow:Read" },         { "GET", "/api/auth/user", NULL },
        { "GET", "/api/auth/user/u/access_token", "auth:Token" },     { "GET", "/api/workflow/", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(resolved); i++)
        CHECK_STR(registry_action(resolved[i].method, resolved[i].path), resolved[i].want);
}

static const struct check_test routes_tests[] = {
    { "every route has one rule", every_route_has_one_rule }, { "every socket has one rule", every_socket_has_one_rule },
    { "as the registry says", as_the_registry_says }, { "sockets as the registry says", sockets_as_the_registry_says },
    { "whatever the registry knows", whatever_the_registry_knows }, { "names", names },
};
TEST_MAIN("routes", routes_tests)
