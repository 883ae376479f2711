/* Roles and decisions: documents, the default roles, the table of matches, and random roles against a plain reading of the rules. */
#include "base/cleanup.h"
#include "check.h"
#include "model/policy.h"

static osmo_error_t err;

static bool read_one(const char *text, struct role *r) {
    _cleanup_json_ json_t *v = NULL;
    return json_parse(text, strlen(text), &v, &err) == 0 && role_read(v, r, &err) == 0;
}

static void documents(void) {
    static const struct { const char *text, *want; } good[] = {
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[]}",
          "{\"name\":\"r\",\"description\":\"d\",\"policies\":[],\"immutable\":false,\"sync_mode\":\"import\",\"external_roles\":[]}" },
        { "{\"name\":\"r\",\"description\":\"\",\"policies\":[{\"actions\":\"*\"}],\"sync_mode\":\"force\",\"external_roles\":[\"b\","
          "\"a\",\"b\"]}",
          "{\"name\":\"r\",\"description\":\"\",\"policies\":[{\"effect\":\"Allow\",\"actions\":[\"*\"]}],\"immutable\":false,"
          "\"sync_mode\":\"force\","
          "\"external_roles\":[\"a\",\"b\"]}" },
        { "{\"name\":\"r\",\"description\":\"d\",\"immutable\":true,\"policies\":[{\"effect\":\"Deny\",\"actions\":[\"workflow:Read\","
          "\"*:Cancel\"],"
          "\"resources\":\"pool/x\"}]}",
          "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"effect\":\"Deny\",\"actions\":[\"*:Cancel\",\"workflow:Read\"],"
          "\"resources\":[\"pool/x\"]}],"
          "\"immutable\":true,\"sync_mode\":\"import\",\"external_roles\":[]}" },
    };
    static const struct { const char *text, *why; } bad[] = {
        { "{}", "name" }, { "[]", "name" }, { "{\"name\":\"a,b\"}", "commas" }, { "{\"name\":\"r\"}", "description" },
        { "{\"name\":\"r\",\"description\":\"d\"}", "policies" }, { "{\"name\":\"r\",\"description\":\"d\",\"policies\":{}}", "policies" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[1]}", "policy 1" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[]},{\"effect\":\"allow\"}]}",
          "effect of policy 2 must be Allow or Deny" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[\"Workflow:Read\"]}]}", "actions of policy 1 must look like" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[\"workflow\"]}]}", "must look like" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[\"workflow:\"]}]}", "must look like" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[\"workflow:re*\"]}]}", "must look like" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":[7]}]}", "texts" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":\"*\",\"resources\":[\"\"]}]}", "resources of policy 1" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[{\"actions\":\"*\",\"resources\":5}]}", "resources of policy 1" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[],\"sync_mode\":\"Force\"}", "import, force or ignore" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[],\"immutable\":1}", "true or false" },
        { "{\"name\":\"r\",\"description\":\"d\",\"policies\":[],\"external_roles\":7}", "external_roles" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct role r;
        REQUIRE(read_one(good[i].text, &r));
        _cleanup_json_ json_t *v = role_json(&r);
        _cleanup_free_ char *text = json_to_text(v);
        CHECK_STR(text, good[i].want);
        role_clear(&r);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct role r;
        CHECK(!read_one(bad[i].text, &r));
        CHECK_INT(err.code, OSMO_EUSER);
        CHECK_CONTAINS(err.text, bad[i].why);
    }
}

static grants_t *grants_of(const char *const *texts, size_t n) {
    struct role roles[8];
    const struct role *list[8] = { NULL };
    grants_t *g = NULL;
    for (size_t i = 0; i < n; i++) {
        CHECK(read_one(texts[i], &roles[i]));
        list[i] = &roles[i];
    }
    CHECK_INT(grants_new(list, n, &g, &err), 0);
    for (size_t i = 0; i < n; i++)
        role_clear(&roles[i]);
    return g;
}

static void table(void) {
    static const char *const roles[] = {
        "{\"name\":\"team\",\"description\":\"\",\"policies\":[{\"actions\":\"workflow:*\",\"resources\":[\"pool/team-*\","
        "\"pool/shared\"]},"
        "{\"actions\":[\"pool:List\",\"user:List\"]}]}",
        "{\"name\":\"no-exec\",\"description\":\"\",\"policies\":[{\"effect\":\"Deny\",\"actions\":\"*:Exec\","
        "\"resources\":\"pool/team-b\"}]}",
        "{\"name\":\"reader\",\"description\":\"\",\"policies\":[{\"actions\":\"*:Read\",\"resources\":\"*\"}]}",
    };
    static const struct { enum action a; const char *resource; enum policy_verdict want; } cases[] = {
        { ACTION_WORKFLOW_CREATE, "pool/team-a", VERDICT_ALLOW }, { ACTION_WORKFLOW_CREATE, "pool/team-", VERDICT_ALLOW },
        { ACTION_WORKFLOW_CREATE, "pool/team", VERDICT_NONE }, { ACTION_WORKFLOW_CREATE, "pool/shared", VERDICT_ALLOW },
        { ACTION_WORKFLOW_CREATE, "pool/shared2", VERDICT_NONE }, { ACTION_WORKFLOW_EXEC, "pool/team-a", VERDICT_ALLOW },
        { ACTION_WORKFLOW_EXEC, "pool/team-b", VERDICT_DENY }, { ACTION_WORKFLOW_EXEC, "pool/team-bb", VERDICT_ALLOW },
        { ACTION_WORKFLOW_READ, "pool/other", VERDICT_ALLOW }, { ACTION_CONFIG_READ, "config/role", VERDICT_ALLOW },
        { ACTION_CONFIG_UPDATE, "config/role", VERDICT_NONE }, { ACTION_WORKFLOW_LIST, NULL, VERDICT_ALLOW },
        { ACTION_POOL_LIST, "", VERDICT_ALLOW }, { ACTION_USER_LIST, "user/x", VERDICT_NONE }, { ACTION_NONE, "", VERDICT_NONE },
        { ACTION_WORKFLOW_EXEC, "", VERDICT_DENY }, { ACTION_CREDENTIALS_READ, "", VERDICT_ALLOW },
        { ACTION_CREDENTIALS_CREATE, "", VERDICT_NONE },
    };
    grants_t *g = grants_of(roles, ARRAY_SIZE(roles));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_INT(grants_decide(g, cases[i].a, cases[i].resource), cases[i].want);
        if (grants_decide(g, cases[i].a, cases[i].resource) != cases[i].want)
            fprintf(stderr, "%s on %s\n", action_name(cases[i].a), cases[i].resource);
    }
    grants_free(g);
}

static void default_roles(void) {
    static const struct { size_t role; enum action a; const char *resource; bool allow; } cases[] = {
        { 0, ACTION_NONE, "", true }, { 0, ACTION_INTERNAL_ROUTER, "backend/x", true }, { 1, ACTION_WORKFLOW_CREATE, "pool/default", true },
        { 1, ACTION_WORKFLOW_CREATE, "pool/x", false }, { 1, ACTION_WORKFLOW_READ, "pool/x", true },
        { 1, ACTION_CONFIG_READ, "config/role", false },
        { 1, ACTION_NONE, "", false }, { 2, ACTION_INTERNAL_OPERATOR, "backend/b", true }, { 2, ACTION_WORKFLOW_LIST, "", false },
        { 2, ACTION_CONFIG_READ, "config/backend_test", true }, { 2, ACTION_CONFIG_READ, "config/role", false },
        { 3, ACTION_INTERNAL_LOGGER, "x", true },
        { 3, ACTION_WORKFLOW_READ, "pool/default", false }, { 4, ACTION_PROFILE_UPDATE, "", true }, { 4, ACTION_WORKFLOW_LIST, "", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *text = role_default(cases[i].role);
        grants_t *g = grants_of(&text, 1);
        CHECK_INT(grants_allow(g, cases[i].a, cases[i].resource), cases[i].allow);
        grants_free(g);
    }
    for (int a = 1; a < ACTION_COUNT; a++)
        CHECK_INT(action_parse(action_name((enum action)a)), a);
    CHECK_INT(action_parse("workflow:Fly"), ACTION_NONE);
}

static void completion(void) {
    struct role mine, standard;
    bool changed;
    REQUIRE(read_one("{\"name\":\"osmo-user\",\"description\":\"ours\",\"policies\":[{\"actions\":[\"workflow:*\"],"
    "\"resources\":[\"pool/default\"]},"
                     "{\"effect\":\"Deny\",\"actions\":\"app:*\",\"resources\":\"*\"}]}", &mine));
    REQUIRE(read_one(role_default(1), &standard));
    CHECK_INT(role_complete(&mine, &standard, &changed, &err), 0);
    CHECK(changed);
    CHECK_INT(mine.npolicies, 3);
    CHECK_STR(mine.description, "ours");
    CHECK_INT(mine.policies[2].actions.len, 11);
    CHECK_INT(role_complete(&mine, &standard, &changed, &err), 0);
    CHECK(!changed);
    role_clear(&mine);
    role_clear(&standard);
}

/* ---- the rules, read one by one ---- */

static bool plain_action(const char *pattern, const char *action) {
    const char *colon = strchr(action, ':');
    if (str_eq(pattern, "*") || str_eq(pattern, "*:*"))
        return true;
    if (!colon)
        return false;
    _cleanup_free_ char *left = str_printf("%.*s:*", (int)(colon - action), action), *right = str_printf("*%s", colon);
    return str_eq(pattern, action) || str_eq(pattern, left) || str_eq(pattern, right);
}

/* `wide`: what the policy says of everything counts. */
static bool plain_resource(const struct policy *p, enum action a, bool wide, const char *resource) {
    if (!*resource)
        return a != ACTION_NONE || p->deny || strlist_has(&p->resources, "*");
    for (size_t i = 0; i < p->resources.len; i++) {
        const char *r = p->resources.items[i];
        size_t n = strlen(r);
        if (!wide && str_eq(r, "*"))
            continue;
        if (str_eq(r, resource) || (r[n - 1] == '*' && !strncmp(r, resource, n - 1)))
            return true;
    }
    return false;
}

static enum policy_verdict plain_decide(const struct role *roles, size_t n, enum action a, const char *resource) {
    enum policy_verdict v = VERDICT_NONE;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < roles[i].npolicies; k++) {
            const struct policy *p = &roles[i].policies[k];
            bool action = false, wide = p->deny || a != ACTION_AUTH_TOKEN;
            for (size_t m = 0; m < p->actions.len; m++) {
                action |= plain_action(p->actions.items[m], action_name(a));
                wide |= str_eq(p->actions.items[m], "*") || str_eq(p->actions.items[m], "*:*");
            }
            if (action && plain_resource(p, a, wide, resource))
                v = p->deny ? VERDICT_DENY : v == VERDICT_DENY ? v : VERDICT_ALLOW;
        }
    return v;
}

static uint64_t state = 7;
static unsigned chance(unsigned n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

static const char *const resources[] = { "*", "pool/*", "pool/a", "pool/a*", "pool/ab", "pool/ab*", "pool/b", "p*", "config/role",
    "config/*", "pool/", "z", "user/*", "user/a" };
static const char *const actions[] = { "*", "*:*", "workflow:*", "*:Read", "workflow:Read", "workflow:Exec", "pool:List", "config:*",
    "*:List", "auth:Token", "auth:*" };

static void random_role(struct role *r, struct policy policies[3]) {
    *r = (struct role){ .policies = policies, .npolicies = chance(4) };
    for (size_t k = 0; k < r->npolicies; k++) {
        policies[k] = (struct policy){ .deny = !chance(4) };
        for (unsigned m = chance(3) + 1; m; m--)
            CHECK_INT(strlist_add(&policies[k].actions, actions[chance(ARRAY_SIZE(actions))]), 0);
        for (unsigned m = chance(5); m; m--)
            CHECK_INT(strlist_add(&policies[k].resources, resources[chance(ARRAY_SIZE(resources))]), 0);
    }
}

static void random_roles(void) {
    static const char *const asked[] = { "", "pool/a", "pool/ab", "pool/abc", "pool/b", "pool/", "pool", "config/role", "config/x", "z",
        "zz", "x", "user/a", "user/b" };
    size_t differ = 0, seen[3] = { 0 };
    for (int round = 0; round < 2000; round++) {
        struct policy policies[4][3];
        struct role roles[4];
        const struct role *list[4];
        size_t n = chance(5);
        grants_t *g = NULL;
        for (size_t i = 0; i < n; i++) {
            random_role(&roles[i], policies[i]);
            list[i] = &roles[i];
        }
        REQUIRE(grants_new(list, n, &g, &err) == 0);
        for (int a = 0; a < ACTION_COUNT; a++)
            for (size_t k = 0; k < ARRAY_SIZE(asked); k++) {
                enum policy_verdict want = plain_decide(roles, n, (enum action)a, asked[k]);
                enum policy_verdict got = grants_decide(g, (enum action)a, asked[k]);
                seen[want]++;
                differ += want != got;
            }
        grants_free(g);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < roles[i].npolicies; k++) {
                strlist_free(&policies[i][k].actions);
                strlist_free(&policies[i][k].resources);
            }
    }
    CHECK_INT(differ, 0);
    CHECK(seen[0] > 1000 && seen[1] > 1000 && seen[2] > 1000);
}

/* Of all resources of a kind, and of one: against what is said about many of them. */
static void kinds(void) {
    static const struct { const char *role; enum action a; bool every, some; } cases[] = {
        { "[{\"actions\":\"workflow:*\",\"resources\":\"*\"}]", ACTION_WORKFLOW_READ, true, true },
        { "[{\"actions\":\"workflow:*\",\"resources\":\"pool/*\"}]", ACTION_WORKFLOW_READ, true, true },
        { "[{\"actions\":\"workflow:*\",\"resources\":\"p*\"}]", ACTION_WORKFLOW_READ, true, true },
        { "[{\"actions\":\"workflow:*\",\"resources\":\"pool/a*\"}]", ACTION_WORKFLOW_READ, false, true },
        { "[{\"actions\":\"workflow:*\",\"resources\":\"pool/a\"}]", ACTION_WORKFLOW_READ, false, true },
        { "[{\"actions\":\"workflow:*\",\"resources\":\"config/*\"}]", ACTION_WORKFLOW_READ, false, false },
        { "[{\"actions\":\"workflow:*\"}]", ACTION_WORKFLOW_READ, false, false },
        { "[]", ACTION_WORKFLOW_READ, false, false },
        { "[{\"actions\":\"*\",\"resources\":\"*\"},{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/a\"}]",
          ACTION_WORKFLOW_READ, true, true },
        { "[{\"actions\":\"*\",\"resources\":\"*\"},{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/a\"}]",
          ACTION_WORKFLOW_EXEC, false, true },
        { "[{\"actions\":\"*\",\"resources\":\"*\"},{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/*\"}]",
          ACTION_WORKFLOW_EXEC, false, false },
        { "[{\"actions\":\"*\",\"resources\":\"pool/a*\"},{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/a*\"}]",
          ACTION_WORKFLOW_EXEC, false, false },
        { "[{\"actions\":\"*\",\"resources\":[\"pool/a\",\"pool/b\"]},"
          "{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/a\"}]", ACTION_WORKFLOW_EXEC, false, true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = str_printf("{\"name\":\"r\",\"description\":\"\",\"policies\":%s}", cases[i].role);
        grants_t *g = grants_of((const char *const *)&text, 1);
        CHECK_INT(grants_allow_every(g, cases[i].a, "pool/"), cases[i].every);
        CHECK_INT(grants_allow_some(g, cases[i].a, "pool/"), cases[i].some);
        grants_free(g);
    }
}

/* Where a slip would make an administrator of everybody. */
static void narrow_ones(void) {
    static const struct { const char *role; enum action a; const char *resource; bool allow; } cases[] = {
        { "[{\"actions\":\"*:*\",\"resources\":\"pool/a\"}]", ACTION_NONE, "", false },
        { "[{\"actions\":\"*:*\"}]", ACTION_NONE, "", false },
        { "[{\"actions\":\"*\",\"resources\":\"*\"}]", ACTION_NONE, "", true },
        { "[{\"actions\":\"auth:Token\",\"resources\":\"*\"}]", ACTION_AUTH_TOKEN, "", true },
        { "[{\"actions\":\"auth:Token\",\"resources\":\"*\"}]", ACTION_AUTH_TOKEN, "user/b", false },
        { "[{\"actions\":\"auth:*\",\"resources\":\"*\"}]", ACTION_AUTH_TOKEN, "user/b", false },
        { "[{\"actions\":\"auth:*\",\"resources\":\"user/*\"}]", ACTION_AUTH_TOKEN, "user/b", true },
        { "[{\"actions\":\"auth:*\",\"resources\":[\"*\",\"user/c\"]}]", ACTION_AUTH_TOKEN, "user/b", false },
        { "[{\"actions\":\"*:*\",\"resources\":\"*\"}]", ACTION_AUTH_TOKEN, "user/b", true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = str_printf("{\"name\":\"r\",\"description\":\"\",\"policies\":%s}", cases[i].role);
        grants_t *g = grants_of((const char *const *)&text, 1);
        CHECK_INT(grants_allow(g, cases[i].a, cases[i].resource), cases[i].allow);
        grants_free(g);
    }
}

static const struct check_test policy_tests[] = {
    { "documents", documents }, { "matches", table }, { "default roles", default_roles }, { "completing a role", completion },
    { "random roles", random_roles }, { "kinds of resources", kinds }, { "narrow ones", narrow_ones },
};
TEST_MAIN("policy", policy_tests)
