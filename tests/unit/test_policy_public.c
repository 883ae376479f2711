/* osmo/policy.h as a program sees it: this one links libosmo-core alone and includes nothing of ours but public headers. */
#include <osmo/policy.h>
#include <stdio.h>
#include <string.h>
#include "check.h"

static osmo_error_t err;

static osmo_policy_t *policy_of(const char *const *documents, size_t n) {
    osmo_policy_t *p = NULL;
    CHECK_OK(osmo_policy_new(&p, &err), &err);
    for (size_t i = 0; p && i < n; i++)
        CHECK_OK(osmo_policy_add(p, documents[i], strlen(documents[i]), &err), &err);
    return p;
}

static void documents(void) {
    static const struct { const char *text, *why; } bad[] = {
        { "{}", "name" }, { "{", "" }, { "[]", "name" },
        { "{\"name\":\"r\",\"description\":\"\",\"policies\":[{\"effect\":\"No\"}]}", "effect" },
    };
    static const char *const one[] = { "{\"name\":\"a\",\"description\":\"\",\"policies\":[]}",
                                       "{\"name\":\"a\",\"description\":\"again\",\"policies\":[]}" };
    osmo_policy_t *p = policy_of(one, 2);
    REQUIRE(p);
    CHECK_INT(osmo_policy_len(p), 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(osmo_policy_add(p, bad[i].text, strlen(bad[i].text), &err) < 0);
        CHECK_CONTAINS(err.text, bad[i].why);
    }
    CHECK_INT(osmo_policy_len(p), 1);
    CHECK_OK(osmo_policy_add_defaults(p, &err), &err);
    CHECK_INT(osmo_policy_len(p), 6);
    osmo_policy_free(p);
    osmo_policy_free(NULL);
    osmo_policy_grants_free(NULL);
}

static void actions(void) {
    CHECK_INT(osmo_policy_action("workflow:Fly"), OSMO_EINVAL);
    CHECK_INT(osmo_policy_action(""), 0);
    int n = 0;
    for (; osmo_policy_action_name(n); n++)
        CHECK_INT(osmo_policy_action(osmo_policy_action_name(n)), n);
    CHECK(n > 30);
    CHECK(!osmo_policy_action_name(-1));
}

static void decisions(void) {
    static const char *const roles[] = { "osmo-user", "osmo-default", "nobody-knows-it", NULL };
    static const struct { const char *action, *resource; osmo_verdict_t want; } cases[] = {
        { "workflow:Create", "pool/default", OSMO_ALLOW }, { "workflow:Create", "pool/other", OSMO_NOT_ALLOWED },
        { "workflow:Read", "pool/other", OSMO_ALLOW },     { "pool:List", NULL, OSMO_ALLOW },
        { "config:Read", "config/role", OSMO_NOT_ALLOWED }, { "", NULL, OSMO_NOT_ALLOWED },
        { "auth:Token", "user/somebody", OSMO_NOT_ALLOWED }, { "profile:Read", "", OSMO_ALLOW },
    };
    osmo_policy_t *p = policy_of(NULL, 0);
    osmo_policy_grants_t *g = NULL;
    REQUIRE(p);
    CHECK_OK(osmo_policy_add_defaults(p, &err), &err);
    CHECK_OK(osmo_policy_grants(p, roles, &g, &err), &err);
    osmo_policy_free(p); /* what was made from it stays */
    REQUIRE(g);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_INT(osmo_policy_decide(g, osmo_policy_action(cases[i].action), cases[i].resource), cases[i].want);
    CHECK_INT(osmo_policy_decide(g, -1, NULL), OSMO_NOT_ALLOWED);
    CHECK_INT(osmo_policy_decide(g, 10000, NULL), OSMO_NOT_ALLOWED);
    osmo_policy_grants_free(g);
}

/* Every reason agrees with the decision. */
static void reasons(void) {
    static const char *const documents[] = {
        "{\"name\":\"team\",\"description\":\"\",\"policies\":[{\"actions\":\"pool:List\"},"
        "{\"actions\":\"workflow:*\",\"resources\":[\"pool/shared\",\"pool/team-*\"]}]}",
        "{\"name\":\"calm\",\"description\":\"\","
        "\"policies\":[{\"effect\":\"Deny\",\"actions\":\"*:Exec\",\"resources\":\"pool/team-b\"}]}",
        "{\"name\":\"root\",\"description\":\"\",\"policies\":[{\"actions\":\"*:*\",\"resources\":\"*\"}]}",
        "{\"name\":\"own\",\"description\":\"\",\"policies\":[{\"actions\":\"auth:*\",\"resources\":\"*\"}]}",
    };
    static const char *const some[] = { "team", "gone", "calm", NULL }, *const all[] = { "team", "calm", "own", "root", NULL };
    static const struct { const char *const *roles; const char *action, *resource, *want; } cases[] = {
        { some, "workflow:Exec", "pool/team-a", "1 team 2 workflow:* pool/team-*" },
        { some, "workflow:Exec", "pool/team-b", "2 calm 1 *:Exec pool/team-b" },
        { some, "workflow:Read", "pool/shared", "1 team 2 workflow:* pool/shared" }, { some, "pool:List", NULL, "1 team 1 pool:List -" },
        { some, "workflow:Read", "pool/x", "0 - 0 - -" },                            { some, "", NULL, "0 - 0 - -" },
        { all, "", NULL, "1 root 1 *:* -" },                                         { all, "auth:Token", "user/x", "1 root 1 *:* *" },
        { all, "auth:Token", NULL, "1 own 1 auth:* -" },                             { all, "workflow:Exec", "", "2 calm 1 *:Exec -" },
    };
    osmo_policy_t *p = policy_of(documents, sizeof documents / sizeof *documents);
    REQUIRE(p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        osmo_policy_grants_t *g = NULL;
        osmo_policy_reason_t r;
        char text[200];
        int action = osmo_policy_action(cases[i].action);
        osmo_policy_explain(p, cases[i].roles, action, cases[i].resource, &r);
        snprintf(text, sizeof text, "%d %s %zu %s %s", (int)r.verdict, r.role ? r.role : "-", r.policy, r.action ? r.action : "-",
                 r.resource ? r.resource : "-");
        CHECK_STR(text, cases[i].want);
        CHECK_OK(osmo_policy_grants(p, cases[i].roles, &g, &err), &err);
        CHECK_INT(osmo_policy_decide(g, action, cases[i].resource), r.verdict);
        osmo_policy_grants_free(g);
    }
    osmo_policy_free(p);
}

static const struct check_test policy_tests[] = {
    { "documents", documents }, { "actions", actions }, { "decisions", decisions }, { "reasons", reasons },
};
TEST_MAIN("policy_public", policy_tests)
