/* Tokens of identity providers against a provider on the loopback: what is verified, keys that are exchanged, and providers that are slow
 * or broken. */
#include "identity_fixture.h"

#include "base/file.h"
#include "engine/providers.h"
#include "engine/providers_internal.h"
#include "idp_fixture.h"

#define SETTLE_MS 20000

static char *config_of(const struct idp *p, const char *more) {
    return str_printf("service:\n  service_auth:\n    providers:\n"
                      "    - {name: idp, issuer: '%s', audience: osmo-cli, clock_skew: 30s%s}\n", p->issuer, more);
}

static char *claims_of(const char *iss, const char *aud, int iat, int exp, const char *more) {
    long long now = clock_now_us() / 1000000;
    return str_printf("{\"iss\":\"%s\",\"aud\":%s,\"sub\":\"u1\",\"iat\":%lld,\"exp\":%lld,\"preferred_username\":\"ida\","
                      "\"roles\":[\"osmo-user\"]%s}", iss, aud, now + iat, now + exp, more);
}

static char *token_of(const struct idp *p, const forge_key_t *k) {
    _cleanup_free_ char *claims = claims_of(p->issuer, "\"osmo-cli\"", 0, 300, "");
    return forge_token(k, claims);
}

/* A provider with the keys of a and b (may be NULL), and a service that believes it. */
static bool open_with(struct fixture *f, struct idp *p, const forge_key_t *a, const forge_key_t *b, const char *more) {
    _cleanup_free_ char *first = forge_jwk(a);
    _cleanup_free_ char *second = b ? forge_jwk(b) : NULL;
    if (!idp_start(p))
        return false;
    idp_keys(p, first, second);
    _cleanup_free_ char *config = config_of(p, more);
    bool good = identity_open(f, config, NULL);
    if (good)
        providers_settle(f->engine, SETTLE_MS);
    return good;
}

static void verify(void) {
    struct fixture f;
    struct idp p;
    forge_key_t *rsa = forge_key_new(FORGE_RSA, "r1"), *ec = forge_key_new(FORGE_EC, "e1");
    REQUIRE(open_with(&f, &p, rsa, ec, ""));
    const forge_key_t *keys[] = { rsa, ec };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        _cleanup_free_ char *token = token_of(&p, keys[i]);
        for (int again = 0; again < 2; again++) {
            _cleanup_free_ char *who = NULL;
            int status = identity_status(&f, token, &who);
            CHECK_INT(status, 200);
            CHECK_STR(who, "ida");
            struct answer a = ask_as(&f, token, "GET", "/api/workflow", "limit=1", NULL);
            CHECK_INT(a.status, 200);
            answer_free(&a);
            a = ask_as(&f, token, "GET", "/api/configs/role", NULL, NULL);
            CHECK_INT(a.status, 403);
            answer_free(&a);
        }
    }
    CHECK_INT(p.discoveries, 1);
    CHECK_INT(p.key_requests, 1);
    fixture_close(&f);
    idp_stop(&p);
    forge_key_free(rsa);
    forge_key_free(ec);
}

static void good_tokens(void) { identity_both(verify); }

static void bad_tokens(void) {
    static const struct { const char *what, *iss /* NULL: right */, *aud; int iat, exp; const char *more; int status; } cases[] = {
        { "good", NULL, "\"osmo-cli\"", 0, 300, "", 200 },
        { "one of several audiences", NULL, "[\"a\",\"osmo-cli\"]", 0, 300, "", 200 },
        { "expired within the skew", NULL, "\"osmo-cli\"", -300, -20, "", 200 },
        { "expired", NULL, "\"osmo-cli\"", -300, -40, "", 401 },
        { "times with fractions", NULL, "\"osmo-cli\"", 0, 300, ",\"exp\":9999999999.5,\"iat\":1700000000.25", 200 },
        { "a far away end", NULL, "\"osmo-cli\"", 0, 300, ",\"exp\":9223372036854775807", 200 },
        { "further away", NULL, "\"osmo-cli\"", 0, 300, ",\"exp\":1e300", 200 },
        { "a start that is a text", NULL, "\"osmo-cli\"", 0, 300, ",\"iat\":\"now\"", 401 },
        { "issued in the future", NULL, "\"osmo-cli\"", 100, 300, "", 401 },
        { "not valid yet", NULL, "\"osmo-cli\"", 0, 300, ",\"nbf\":99999999999", 401 },
        { "other audience", NULL, "\"osmo\"", 0, 300, "", 401 },
        { "no audience", NULL, "null", 0, 300, "", 401 },
        { "our issuer", "osmo", "\"osmo\"", 0, 300, ",\"unique_name\":\"admin\",\"osmo_token_name\":\"default-admin-token\"", 401 },
        { "unknown issuer", "https://other.example", "\"osmo-cli\"", 0, 300, "", 401 },
        { "no expiry", NULL, "\"osmo-cli\"", 0, 300, ",\"exp\":null", 401 },
        { "no user", NULL, "\"osmo-cli\"", 0, 300, ",\"preferred_username\":null", 401 },
        { "a user with a control character", NULL, "\"osmo-cli\"", 0, 300, ",\"preferred_username\":\"a\\u0001\"", 401 },
        { "a user who is a list", NULL, "\"osmo-cli\"", 0, 300, ",\"preferred_username\":[\"admin\"]", 401 },
        { "a backend", NULL, "\"osmo-cli\"", 0, 300, ",\"preferred_username\":\"backend-operator-east\"", 401 },
    };
    struct fixture f;
    struct idp p;
    forge_key_t *key = forge_key_new(FORGE_RSA, "r1"), *other = forge_key_new(FORGE_RSA, "r1"), *ec = forge_key_new(FORGE_EC, "r1");
    forge_key_t *ours = forge_key_pem(signing_key_pem());
    REQUIRE(open_with(&f, &p, key, NULL, ""));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *iss = cases[i].iss ? cases[i].iss : p.issuer;
        _cleanup_free_ char *claims = claims_of(iss, cases[i].aud, cases[i].iat, cases[i].exp, cases[i].more);
        _cleanup_free_ char *token = forge_token(key, claims);
        _cleanup_free_ char *why = NULL;
        int status = identity_status(&f, token, &why);
        if (status != cases[i].status)
            fprintf(stderr, "%s: %s\n", cases[i].what, why ? why : "");
        CHECK_INT(status, cases[i].status);
    }
    _cleanup_free_ char *claims = claims_of(p.issuer, "\"osmo-cli\"", 0, 300, "");
    _cleanup_free_ char *jwk = forge_jwk(key);
    _cleanup_free_ char *pem = forge_public_pem(key);
    char *forged[] = { forge_token(other, claims), forge_token(ec, claims), forge_token(ours, claims), forge_unsigned(claims),
                       forge_hs256(jwk, claims), forge_hs256(pem, claims),
                       forge_token_as(key, "{\"alg\":\"HS256\",\"kid\":\"r1\"}", claims),
                       forge_token_as(key, "{\"alg\":\"ES256\"}", claims) };
    for (size_t i = 0; i < ARRAY_SIZE(forged); i++) {
        CHECK_INT(identity_status(&f, forged[i], NULL), 401);
        free(forged[i]);
    }
    CHECK_INT(p.key_requests, 1);
    forge_key_free(key);
    forge_key_free(other);
    forge_key_free(ec);
    forge_key_free(ours);
    fixture_close(&f);
    idp_stop(&p);
}

/* Keys without discovery, names from other claims. */
static void other_claims(void) {
    struct fixture f;
    struct idp p;
    forge_key_t *key = forge_key_new(FORGE_EC, "");
    REQUIRE(idp_start(&p));
    _cleanup_free_ char *jwk = forge_jwk(key);
    idp_keys(&p, jwk, NULL);
    _cleanup_free_ char *more = str_printf(", jwks_uri: '%s/keys', user_claim: email, roles_claim: realm_access.roles", p.issuer);
    _cleanup_free_ char *config = config_of(&p, more);
    REQUIRE(identity_open(&f, config, NULL));
    providers_settle(f.engine, SETTLE_MS);
    _cleanup_free_ char *claims = claims_of(p.issuer, "\"osmo-cli\"", 0, 300,
                                            ",\"email\":\"ida@example.com\",\"roles\":[],"
                                            "\"realm_access\":{\"roles\":[\"osmo-admin\",7,\"a,b\"]}");
    _cleanup_free_ char *token = forge_token_as(key, "{\"alg\":\"ES256\"}", claims);
    _cleanup_free_ char *who = NULL;
    CHECK_INT(identity_status(&f, token, &who), 200);
    CHECK_STR(who, "ida@example.com");
    struct answer a = ask_as(&f, token, "GET", "/api/configs/role", NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    CHECK_INT(p.discoveries, 0);
    forge_key_free(key);
    fixture_close(&f);
    idp_stop(&p);
}

/* A token by a key that is not known makes the keys be fetched, once for all such tokens; what was removed counts no more. */
static void rollover(void) {
    struct fixture f;
    struct idp p;
    forge_key_t *a = forge_key_new(FORGE_RSA, "r1"), *b = forge_key_new(FORGE_EC, "e2"), *c = forge_key_new(FORGE_EC, "e3");
    REQUIRE(open_with(&f, &p, a, NULL, ""));
    _cleanup_free_ char *first = token_of(&p, a);
    _cleanup_free_ char *second = token_of(&p, b);
    _cleanup_free_ char *third = token_of(&p, c);
    CHECK_INT(identity_status(&f, first, NULL), 200);
    _cleanup_free_ char *jwk = forge_jwk(b);
    idp_keys(&p, jwk, NULL);
    CHECK_INT(identity_status(&f, second, NULL), 503);
    CHECK(identity_becomes(&f, second, 200));
    CHECK_INT(p.key_requests, 2);
    CHECK_INT(identity_status(&f, first, NULL), 401); /* although it was remembered */
    for (int i = 0; i < 5; i++)
        CHECK_INT(identity_status(&f, third, NULL), 401); /* not again so soon */
    providers_settle(f.engine, SETTLE_MS);
    CHECK_INT(p.key_requests, 2);
    forge_key_free(a);
    forge_key_free(b);
    forge_key_free(c);
    fixture_close(&f);
    idp_stop(&p);
}

/* The provider's trouble is not that of those who are in. */
static void keys_are_kept(void) {
    struct fixture f;
    struct idp p;
    forge_key_t *a = forge_key_new(FORGE_EC, "e1"), *b = forge_key_new(FORGE_EC, "e2");
    REQUIRE(open_with(&f, &p, a, NULL, ""));
    _cleanup_free_ char *unknown = token_of(&p, b);
    idp_status(&p, 500, false);
    CHECK_INT(identity_status(&f, unknown, NULL), 503);
    CHECK(idp_wait(&p, 2));
    providers_settle(f.engine, SETTLE_MS);
    _cleanup_free_ char *token = token_of(&p, a);
    CHECK_INT(identity_status(&f, token, NULL), 200);
    CHECK_INT(identity_status(&f, unknown, NULL), 401);
    forge_key_free(a);
    forge_key_free(b);
    fixture_close(&f);
    idp_stop(&p);
}

static void broken_providers(void) {
    static const struct { const char *keys, *discovery, *why; int status; bool silent; } cases[] = {
        { "{}", NULL, "a key set needs", 200, false },
        { "{\"keys\":[]}", NULL, "it is empty", 200, false },
        { "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"e1\"}]}", NULL, "no key of the set can be used", 200, false },
        { "not json", NULL, "did not answer with a JSON object", 200, false },
        { "[]", NULL, "did not answer with a JSON object", 200, false },
        { NULL, "{\"issuer\":\"http://127.0.0.1:1\",\"jwks_uri\":\"http://127.0.0.1:1/keys\"}", "speaks of the issuer", 200, false },
        { NULL, "{}", "speaks of the issuer ''", 200, false },
        { NULL, NULL, "answered HTTP 503", 503, false },
        { NULL, NULL, "cannot be fetched", 302, false },
        { NULL, NULL, "cannot be fetched", 200, true },
    };
    forge_key_t *key = forge_key_new(FORGE_EC, "e1");
    _cleanup_free_ char *jwk = forge_jwk(key);
    _cleanup_free_ char *set = str_printf("{\"keys\":[%s]}", jwk);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        struct idp p;
        REQUIRE(idp_start(&p));
        idp_say(&p, cases[i].keys ? cases[i].keys : set, cases[i].discovery);
        idp_status(&p, cases[i].status, cases[i].silent);
        _cleanup_free_ char *config = config_of(&p, "");
        REQUIRE(identity_open(&f, config, NULL) && identity_seed(&f));
        _cleanup_free_ char *token = token_of(&p, key);
        CHECK_INT(identity_status(&f, token, NULL), 503); /* never waits */
        CHECK_INT(identity_status(&f, MAYAS_TOKEN, NULL), 200);
        providers_settle(f.engine, SETTLE_MS);
        _cleanup_free_ char *why = NULL;
        CHECK_INT(identity_status(&f, token, &why), 503);
        CHECK_CONTAINS(why, "Internal server error: ");
        CHECK_CONTAINS(why, cases[i].why);
        fixture_close(&f);
        idp_stop(&p);
    }
    forge_key_free(key);
}

/* Discovery may not lead into the clear. */
static void unsafe_addresses(void) {
    static const struct { const char *url; bool good; } cases[] = {
        { "https://idp.example", true }, { "https://idp.example:8443/realms/x?y=1", true }, { "http://127.0.0.1:9/x", true },
        { "http://localhost", true }, { "http://LOCALHOST:1/", true }, { "http://[::1]:8/x", true }, { "https://[fd00::1]/", true },
        { "http://idp.example", false }, { "http://127.evil.example", false }, { "http://127.0.0.1.evil.example", false },
        { "http://127.0.0.1@evil.example/", false }, { "https://user@idp.example/", false }, { "http://localhost.evil.example", false },
        { "http://128.0.0.1", false }, { "http://0.0.0.0", false }, { "ftp://idp.example", false }, { "HTTPS://idp.example", false },
        { "https://", false }, { "https:///x", false }, { "https://:8/", false }, { "https://a b/", false }, { "https://a/#x", false },
        { "http://[::1", false }, { "http://127.1", false }, { "", false }, { "http://127.0.0.1\\@evil.example", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (settings_provider_url(cases[i].url) != cases[i].good)
            fprintf(stderr, "%s\n", cases[i].url);
        CHECK(settings_provider_url(cases[i].url) == cases[i].good);
    }
}

static void reload(void) {
    struct fixture f;
    struct idp p, q;
    osmo_error_t err = OSMO_ERROR_INIT;
    forge_key_t *key = forge_key_new(FORGE_EC, "e1");
    REQUIRE(open_with(&f, &p, key, NULL, "") && idp_start(&q));
    _cleanup_free_ char *jwk = forge_jwk(key);
    idp_keys(&q, jwk, NULL);
    _cleanup_free_ char *token = token_of(&p, key);
    _cleanup_free_ char *others = token_of(&q, key);
    CHECK_INT(identity_status(&f, token, NULL), 200);
    CHECK_INT(identity_status(&f, others, NULL), 401);
    _cleanup_free_ char *config = config_of(&q, "");
    CHECK_OK(file_write_atomic(f.options.config_file, config, strlen(config), 0600, false, &err), &err);
    CHECK_OK(osmo_service_reload(f.service, &err), &err);
    providers_settle(f.engine, SETTLE_MS);
    CHECK_INT(identity_status(&f, token, NULL), 401); /* although it was remembered */
    CHECK_INT(identity_status(&f, others, NULL), 200);
    _cleanup_free_ char *stricter = config_of(&q, ", user_claim: email");
    CHECK_OK(file_write_atomic(f.options.config_file, stricter, strlen(stricter), 0600, false, &err), &err);
    CHECK_OK(osmo_service_reload(f.service, &err), &err);
    CHECK_INT(identity_status(&f, others, NULL), 401);
    CHECK_INT(q.key_requests, 1); /* its keys were not fetched again */
    forge_key_free(key);
    fixture_close(&f);
    idp_stop(&p);
    idp_stop(&q);
}

static void freshness(void) {
    static const struct { const char *header; int64_t seconds; } cases[] = {
        { NULL, 600 }, { "", 600 }, { "max-age=120", 120 }, { "public, max-age=900, must-revalidate", 900 }, { "max-age=5", 60 },
        { "Max-Age=86400", 3600 }, { "no-cache", 60 }, { "max-age=300,no-store", 60 }, { "max-age=x", 600 }, { "max-age=", 600 },
        { "max-age=-5", 600 }, { "max-age=\"240\"", 240 }, { "s-maxage=1", 600 }, { "max-age=99999999999999999999999", 3600 },
        { ",,,", 600 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_INT(provider_freshness(cases[i].header), cases[i].seconds);
}

static void sockets(void) {
    struct fixture f;
    struct idp p;
    int status;
    forge_key_t *key = forge_key_new(FORGE_EC, "e1");
    REQUIRE(open_with(&f, &p, key, NULL, ""));
    _cleanup_free_ char *claims = claims_of(p.issuer, "\"osmo-cli\"", 0, 300, ",\"roles\":[\"osmo-backend\"]");
    _cleanup_free_ char *token = forge_token(key, claims);
    CHECK(identity_socket(&f, token, "east", 1, &status) == NULL);
    CHECK_INT(status, 503); /* its roles are being looked up */
    CHECK(identity_becomes(&f, token, 200));
    osmo_ws_t *ws = identity_socket(&f, token, "east", 1, &status);
    CHECK_INT(status, 101);
    REQUIRE(ws != NULL);
    osmo_ws_opened(ws);
    CHECK_INT(fixture_nsent(&f), 0);
    osmo_ws_closed(ws);
    forge_key_free(key);
    fixture_close(&f);
    idp_stop(&p);
}

static const struct check_test tests[] = {
    { "RS256 and ES256 tokens", good_tokens },
    { "tokens that are not what they seem", bad_tokens },
    { "names and roles from other claims", other_claims },
    { "keys are exchanged", rollover },
    { "keys are kept while the provider is in trouble", keys_are_kept },
    { "slow and broken providers", broken_providers },
    { "addresses of providers", unsafe_addresses },
    { "new settings", reload },
    { "how long keys are fresh", freshness },
    { "websockets by a provider's token", sockets },
};
TEST_MAIN("providers", tests)
