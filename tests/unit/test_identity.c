/* Who is asking: tokens that are not what they seem, and identities that count no more. Every way that must stay shut, beside the ways
 * that are open. */
#include "identity_fixture.h"

#include "engine/access.h"

enum signer { OURS, THEIRS };

static void forged_times_and_names(void) {
    static const struct {
        const char *what;
        enum signer by;
        const char *iss, *aud;
        int iat, nbf, exp;
        const char *more;
        int status;
    } cases[] = {
        { "good", OURS, "osmo", "\"osmo\"", 0, 0, 300, "", 200 },
        { "audience in a list", OURS, "osmo", "[\"x\",\"osmo\"]", 0, 0, 300, "", 200 },
        { "just expired, within the skew", OURS, "osmo", "\"osmo\"", -300, -300, -2, "", 200 },
        { "expired", OURS, "osmo", "\"osmo\"", -300, -300, -10, "", 401 },
        { "not valid yet", OURS, "osmo", "\"osmo\"", 0, 60, 300, "", 401 },
        { "issued in the future", OURS, "osmo", "\"osmo\"", 60, 0, 300, "", 401 },
        { "other issuer", OURS, "https://idp.example", "\"osmo\"", 0, 0, 300, "", 401 },
        { "no issuer", OURS, "", "\"osmo\"", 0, 0, 300, "", 401 },
        { "other audience", OURS, "osmo", "\"other\"", 0, 0, 300, "", 401 },
        { "audience in no list", OURS, "osmo", "[\"x\"]", 0, 0, 300, "", 401 },
        { "audience is a number", OURS, "osmo", "5", 0, 0, 300, "", 401 },
        { "signed by somebody else", THEIRS, "osmo", "\"osmo\"", 0, 0, 300, "", 401 },
        { "an unknown access token", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"osmo_token_name\":\"desk\"", 401 },
        { "an access token that is no text", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"osmo_token_name\":null", 401 },
        { "nobody", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"unique_name\":\"\"", 401 },
        { "a user with a line break", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"unique_name\":\"a\\nb\"", 401 },
        { "a user who is a number", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"unique_name\":7", 401 },
        { "half a task", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"osmo_workflow_id\":\"wf-1\"", 401 },
        { "a backend without a directory", OURS, "osmo", "\"osmo\"", 0, 0, 300,
          ",\"unique_name\":\"backend-operator-east\",\"osmo_token_name\":\"backend-bootstrap-east\",\"osmo_backend\":\"east\","
          "\"osmo_backend_token\":\"0123456789abcdef\"", 401 },
        { "a backend under another's name", OURS, "osmo", "\"osmo\"", 0, 0, 300,
          ",\"osmo_backend\":\"east\",\"osmo_backend_token\":\"0123456789abcdef\"", 401 },
        { "a backend by no token", OURS, "osmo", "\"osmo\"", 0, 0, 300,
          ",\"unique_name\":\"backend-operator-east\",\"osmo_token_name\":\"backend-bootstrap-east\",\"osmo_backend\":\"east\","
          "\"osmo_backend_token\":true", 401 },
        { "an expiry that is no number", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"exp\":\"never\"", 401 },
        { "an expiry of nothing", OURS, "osmo", "\"osmo\"", 0, 0, 300, ",\"exp\":null", 401 },
    };
    struct fixture f;
    forge_key_t *ours = forge_key_pem(signing_key_pem()), *theirs = forge_key_new(FORGE_RSA, "");
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *claims = identity_claims(cases[i].iss, cases[i].aud, cases[i].iat, cases[i].nbf, cases[i].exp, cases[i].more);
        _cleanup_free_ char *token = forge_token(cases[i].by == OURS ? ours : theirs, claims);
        _cleanup_free_ char *who = NULL;
        int status = identity_status(&f, token, &who);
        if (status != cases[i].status)
            fprintf(stderr, "%s: %s\n", cases[i].what, who ? who : "");
        CHECK_INT(status, cases[i].status);
        CHECK(status != 200 || str_eq(who, "maya"));
        CHECK(!who || !strstr(who, token));
    }
    forge_key_free(ours);
    forge_key_free(theirs);
    fixture_close(&f);
}

/* The key decides: whatever the header says, and whatever of the public key is used as a secret. */
static void forged_algorithms(void) {
    struct fixture f;
    forge_key_t *ours = forge_key_pem(signing_key_pem()), *ec = forge_key_new(FORGE_EC, "");
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    _cleanup_free_ char *claims = identity_claims("osmo", "\"osmo\"", 0, 0, 300, "");
    _cleanup_free_ char *pem = forge_public_pem(ours);
    struct answer a = ask(&f, "GET", "/api/auth/keys", NULL, NULL, NULL);
    const json_t *jwk = json_at(json_get(a.json, "keys"), 0);
    _cleanup_free_ char *jwk_text = json_to_text(jwk);
    _cleanup_free_ char *bare = pem ? str_printf("%.*s", (int)strlen(pem) - 1, pem) : NULL;
    const char *secrets[] = { pem, bare, jwk_text, json_get_str(jwk, "n"), json_get_str(jwk, "kid"), a.body, "" };
    for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
        REQUIRE(secrets[i] != NULL);
        _cleanup_free_ char *token = forge_hs256(secrets[i], claims);
        CHECK_INT(identity_status(&f, token, NULL), 401);
    }
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"alg\":\"none\"}", "{\"alg\":\"RS512\"}", "{\"alg\":\"rs256\"}", "{\"alg\":null}", "{}",
        "{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", "{\"alg\":[\"RS256\"]}", "[\"RS256\"]",
        "{\"alg\":\"PS256\"}", "{\"alg\":\"ES256\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        _cleanup_free_ char *token = forge_token_as(ours, headers[i], claims);
        CHECK_INT(identity_status(&f, token, NULL), 401);
    }
    _cleanup_free_ char *none = forge_unsigned(claims);
    CHECK_INT(identity_status(&f, none, NULL), 401);
    _cleanup_free_ char *by_ec = forge_token_as(ec, "{\"alg\":\"RS256\"}", claims);
    CHECK_INT(identity_status(&f, by_ec, NULL), 401);
    /* a key of the token's own is no key of ours */
    _cleanup_free_ char *ec_jwk = forge_jwk(ec);
    _cleanup_free_ char *with_key = str_printf("{\"alg\":\"ES256\",\"jwk\":%s,\"jku\":\"http://127.0.0.1:1/\"}", ec_jwk);
    _cleanup_free_ char *brought = forge_token_as(ec, with_key, claims);
    CHECK_INT(identity_status(&f, brought, NULL), 401);
    _cleanup_free_ char *good = forge_token(ours, claims);
    CHECK_INT(identity_status(&f, good, NULL), 200);
    answer_free(&a);
    forge_key_free(ours);
    forge_key_free(ec);
    fixture_close(&f);
}

/* Two tokens, or one in a strange place: what somebody in front of us has looked at must be what we look at. */
static void several_tokens(void) {
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN);
    _cleanup_free_ char *other = identity_login(&f, ADMIN_TOKEN);
    REQUIRE(jwt && other);
    _cleanup_free_ char *bearer = str_printf("Bearer %s", jwt);
    _cleanup_free_ char *lower = str_printf("bearer   %s", jwt);
    _cleanup_free_ char *others = str_printf("Bearer %s", other);
    _cleanup_free_ char *both = str_printf("Bearer %s, Bearer %s", jwt, other);
    _cleanup_free_ char *glued = str_printf("Bearer%s", jwt);
    _cleanup_free_ char *tail = str_printf("Bearer %s x", jwt);
    const struct { const char *headers[9]; int status; } cases[] = {
        { { "authorization", bearer, NULL }, 200 },
        { { "authorization", lower, NULL }, 200 },
        { { "x-osmo-auth", jwt, NULL }, 200 },
        { { "authorization", bearer, "x-osmo-auth", jwt, NULL }, 200 },
        { { "authorization", "Basic bWF5YTp4", "x-osmo-auth", jwt, NULL }, 200 },
        { { "authorization", bearer, "x-osmo-auth", "", NULL }, 200 },
        { { "authorization", bearer, "x-osmo-auth", other, NULL }, 401 },
        { { "authorization", bearer, "authorization", others, NULL }, 401 },
        { { "authorization", bearer, "authorization", bearer, NULL }, 401 },
        { { "x-osmo-auth", jwt, "x-osmo-auth", jwt, NULL }, 401 },
        { { "authorization", both, NULL }, 401 },
        { { "authorization", glued, NULL }, 401 },
        { { "authorization", tail, NULL }, 401 },
        { { "authorization", "Bearer ", NULL }, 401 },
        { { "authorization", "Bearer", NULL }, 401 },
        { { "authorization", jwt, NULL }, 401 },
        { { NULL }, 401 },
        { { "authorization", bearer, "x-osmo-user", "admin", "x-osmo-roles", "osmo-admin", NULL }, 200 },
        { { "x-osmo-user", "admin", "x-osmo-roles", "osmo-admin", NULL }, 401 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *who = NULL;
        int status = identity_from(&f, "127.0.0.1", "/api/profile/settings", cases[i].headers, &who);
        if (status != cases[i].status)
            fprintf(stderr, "case %zu: %s\n", i, who ? who : "");
        CHECK_INT(status, cases[i].status);
        CHECK(status != 200 || str_eq(who, "maya"));
    }
    fixture_close(&f);
}

/* An access token is a bearer itself, which upstream's gateway does not take. */
static void access_tokens(void) {
    static const struct { const char *token; int status; } cases[] = {
        { MAYAS_TOKEN, 200 }, { MAYAS_TOKEN, 200 }, { UNKNOWN_TOKEN, 401 }, { "mayamayamayamayamayamayamayamayamayamayama", 401 },
        { MAYAS_TOKEN "y", 401 }, { "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 401 },
    };
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *who = NULL;
        CHECK_INT(identity_status(&f, cases[i].token, &who), cases[i].status);
        CHECK(who && !strstr(who, cases[i].token));
        if (cases[i].status == 200)
            CHECK_STR(who, "maya");
    }
    fixture_close(&f);
}

/* ---- what ends ---- */

static int delete_token(db_t *db, void *name, osmo_error_t *err) { return repo_token_delete(db, "maya", name, err); }
static int delete_user(db_t *db, void *name, osmo_error_t *err) { return repo_user_delete(db, name, err); }
static int take_role(db_t *db, void *role, osmo_error_t *err) { return repo_assignment_delete(db, "maya", role, err); }

static int expire_token(db_t *db, void *name, osmo_error_t *err) {
    return db_exec(db, "UPDATE tokens SET expires_us = ? WHERE user_name = 'maya' AND name = ?",
                   DB_ARGS(DB_I(clock_now_us() - 1), DB_T(name)), NULL, err);
}

/* Of the same name, some time later. */
static int replace_token(db_t *db, void *name, osmo_error_t *err) {
    return db_exec(db, "UPDATE tokens SET created_us = ? WHERE user_name = 'maya' AND name = ?",
                   DB_ARGS(DB_I(clock_now_us() + 60000000), DB_T(name)), NULL, err);
}

static void ends(void) {
    static const struct { const char *what; store_fn change; const char *of; int status; } cases[] = {
        { "nothing", take_role, "osmo-backend", 200 },
        { "a role of the token is taken away", take_role, "osmo-user", 200 },
        { "the token is deleted", delete_token, "laptop", 401 },
        { "the token is another one of its name", replace_token, "laptop", 401 },
        { "the token expires", expire_token, "laptop", 401 },
        { "the user is deleted", delete_user, "maya", 401 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
        _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN);
        _cleanup_free_ char *unused = identity_login(&f, MAYAS_TOKEN);
        REQUIRE(jwt != NULL);
        CHECK_INT(identity_status(&f, jwt, NULL), 200);
        CHECK_INT(identity_status(&f, MAYAS_TOKEN, NULL), 200);
        CHECK(identity_change(&f, cases[i].change, cases[i].of));
        fprintf(stderr, "# %s\n", cases[i].what);
        CHECK_INT(identity_status(&f, jwt, NULL), cases[i].status);
        CHECK_INT(identity_status(&f, MAYAS_TOKEN, NULL), cases[i].status);
        CHECK_INT(identity_status(&f, unused, NULL), cases[i].status);
        fixture_close(&f);
    }
}

static void what_ends(void) { identity_both(ends); }

static void roles(void) {
    struct fixture f;
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN);
    REQUIRE(jwt != NULL);
    struct answer a = ask_as(&f, jwt, "GET", "/api/workflow", "limit=1", NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    CHECK(identity_change(&f, take_role, "osmo-user"));
    a = ask_as(&f, jwt, "GET", "/api/workflow", "limit=1", NULL);
    CHECK_INT(a.status, 403);
    answer_free(&a);
    fixture_close(&f);
}

static void roles_taken_away(void) { identity_both(roles); }

static void tasks(void) {
    struct fixture f;
    struct seed s;
    char *jwt[4] = { 0 };
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f) && seed_workflow(&f, "wf", "maya", 2, &s));
    CHECK_INT(auth_task_jwt(f.engine, "maya", s.id, "g", "t0", 0, &jwt[0], NULL), 0);
    CHECK_INT(auth_task_jwt(f.engine, "maya", s.id, "g", "t1", 0, &jwt[1], NULL), 0);
    CHECK_INT(auth_task_jwt(f.engine, "maya", s.id, "g", "t0", 1, &jwt[2], NULL), 0);
    CHECK_INT(auth_task_jwt(f.engine, "maya", "nope-1", "g", "t0", 0, &jwt[3], NULL), 0);
    CHECK_INT(identity_status(&f, jwt[0], NULL), 200);
    CHECK_INT(identity_status(&f, jwt[2], NULL), 401); /* an attempt that is not there */
    CHECK_INT(identity_status(&f, jwt[3], NULL), 401);
    CHECK(seed_task_status(&f, &s, 0, STATUS_COMPLETED) && seed_task_status(&f, &s, 1, STATUS_RESCHEDULED));
    _cleanup_free_ char *why = NULL;
    CHECK_INT(identity_status(&f, jwt[1], &why), 401); /* never used before */
    CHECK_CONTAINS(why, "is finished");
    CHECK(identity_becomes(&f, jwt[0], 401));
    for (size_t i = 0; i < 4; i++)
        free(jwt[i]);
    fixture_close(&f);
}

static void tasks_that_end(void) { identity_both(tasks); }

static const struct check_test tests[] = {
    { "forged times, issuers and names", forged_times_and_names },
    { "forged algorithms", forged_algorithms },
    { "several tokens, smuggled headers", several_tokens },
    { "access tokens as bearers", access_tokens },
    { "deleted and expired tokens, deleted users", what_ends },
    { "roles that were taken away", roles_taken_away },
    { "tokens of tasks end with their attempt", tasks_that_end },
};
TEST_MAIN("identity", tests)
