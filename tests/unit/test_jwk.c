/* Keys of others and their tokens: RSA and P-256, what is refused, and sets. Keys and tokens were made by python3-jwcrypto. */
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/jwk.h"
#include "base/str.h"
#include "check.h"

static osmo_error_t err;
#define NOW 1800000000

static const char ec_key[] =
    "{\"crv\":\"P-256\",\"kid\":\"ec1\",\"kty\":\"EC\",\"x\":\"cy6fetkZiSvaON17evTyxRpa6ugysq6SFlq6QOHPGp4\","
    "\"y\":\"0OosWKEjqkTClq63CyGNyDh4JUO"
    "Zq1T9CXihktAa0OE\"}";
static const char ec_token[] =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjMSIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJvc21vIiwiZW1haWwiOiJhbm5AZXhhbXBsZS5jb20iLCJleHAiOjQwMDA"
    "wMDAwMDAsImlzcyI6Imh0dHBzOi8vaWRwLmV4YW1wbGUiLCJyb2xlcyI6WyJ0ZWFtIl0sInN1YiI6InUxIn0.2GZ2nC_MDFA6iArqvBpToICaD3YtsiPnwZV"
    "vjgaczsYUeNgj-p-P6gXn2UJqaObM0fyfClNJ6zbwZmaVcybMXg";
static const char rsa_jwk[] =
    "{\"e\":\"AQAB\",\"kid\":\"rsa1\",\"kty\":\"RSA\",\"n\":\"iqxA6mxePjQ3tHBVpjUaaHcSDeW8TFxNryKxotZ7meGDxAVsoIM5vgtcYv"
    "zWwqu-ovuZyOwoWdkV8u"
    "u4zH5JvgNCXE4Pp7K2BcOYjRG7cMzc4gWZyMd5IeGKAhxfnO8NhURXwxX1U2X1R9yEmjr-sCYjxR5qdEazPN8cxsn3khFpA7ydWTdaKNa7Ed6WXZ0MOymqyu"
    "3ptpprJHus-vAqqrLINNxU15aRHFuJACTEJASkDMmoeLNvWwvX1HAHcrC4Bd-DwGDYD-RwRj4gHb6aXxJ4V5FGNJtxMQNFv-mntRYGhyCirwxCfZjPQmX3QB"
    "TaLwLAFwA9IBH-Z44TPfwpXQ\"}";
static const char rsa_token[] =
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYTEiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiJvc21vIiwiZW1haWwiOiJhbm5AZXhhbXBsZS5jb20iLCJleHAiOjQwM"
    "DAwMDAwMDAsImlzcyI6Imh0dHBzOi8vaWRwLmV4YW1wbGUiLCJyb2xlcyI6WyJ0ZWFtIl0sInN1YiI6InUxIn0.BXMvBq37HcWy_BM_hlEZdOGkO8CXIrV-k"
    "foBe8XqCyfC6Rkr08ssl0a9IuwB3A_EU_eLaEVuBsZyjJFKZpSQUh00MotRBaXaOVwYVJB53PUCGlQzD1ygk-f9LM5-PTxEc5dqa-LTM5mRfqzAMiqyCmsmg"
    "9SeX4zO4bCmmg3vQK--9zxvLtVlQybE6Z0qXZzp4mDZGZf7dbJPducDSsy-g7wJekJhAhrtvz1GPU8dZd3WHvLv_T0IVLYzIk75D3kY1VLmpUHuppIIklS4K"
    "4YNjWp_1PUeSm6QHG1RVZU4znDmrtjghdctf2j-UIo6hWyDkT8T2wHyudDW6eefR1F5Mg";

static jwk_t *key_of(const char *text) {
    _cleanup_json_ json_t *v = NULL;
    jwk_t *k = NULL;
    if (json_parse(text, strlen(text), &v, &err) < 0 || jwk_read(v, &k, &err) < 0)
        return NULL;
    return k;
}

static int check(const jwk_t *k, const char *token, int64_t now) {
    json_t *claims = NULL;
    int rc = jwk_verify(k, token, strlen(token), now, 60, &claims, &err);
    if (rc == 0)
        CHECK_STR(json_get_str(claims, "email"), "ann@example.com");
    json_free(claims);
    return rc;
}

static void verifying(void) {
    jwk_t *ec = key_of(ec_key), *rsa = key_of(rsa_jwk);
    REQUIRE(ec && rsa);
    CHECK_STR(jwk_kid(ec), "ec1");
    CHECK_STR(jwk_alg(ec), "ES256");
    CHECK_INT(check(ec, ec_token, NOW), 0);
    CHECK_INT(check(rsa, rsa_token, NOW), 0);
    CHECK_INT(check(rsa, ec_token, NOW), OSMO_EUNAUTH);
    CHECK_INT(check(ec, rsa_token, NOW), OSMO_EUNAUTH);
    CHECK_INT(check(ec, ec_token, 4000000059), 0);
    CHECK_INT(check(ec, ec_token, 4000000060), OSMO_EUNAUTH);
    CHECK_CONTAINS(err.text, "expired");
    jwk_free(ec);
    jwk_free(rsa);
}

static void damage(void) {
    const struct { const char *key, *token; } of[] = { { ec_key, ec_token }, { rsa_jwk, rsa_token } };
    for (size_t m = 0; m < ARRAY_SIZE(of); m++) {
        jwk_t *k = key_of(of[m].key);
        size_t len = strlen(of[m].token), good = 0;
        _cleanup_free_ char *text = str_dup(of[m].token);
        for (size_t i = 0; i < len; i++) {
            char was = text[i];
            text[i] = was == 'A' ? 'B' : 'A';
            good += check(k, text, NOW) == 0;
            text[i] = was;
        }
        CHECK_INT(good, 0);
        jwk_free(k);
    }
}

/* A token that says of itself how it is to be verified: none, or by a public key taken for a secret. */
static void confusion(void) {
    static const char *const headers[] = { "{\"alg\":\"none\"}", "{\"alg\":\"HS256\"}", "{\"alg\":\"rs256\"}", "{}",
        "{\"alg\":[\"RS256\"]}", "{\"alg\":\"RS256\",\"crit\":[\"x\"]}" };
    jwk_t *k = key_of(rsa_jwk);
    const char *rest = strchr(rsa_token, '.');
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        _cleanup_buf_ buf_t token = BUF_INIT(1u << 14);
        CHECK_INT(crypto_base64url(headers[i], strlen(headers[i]), &token), 0);
        buf_puts(&token, rest);
        CHECK_INT(check(k, buf_cstr(&token), NOW), OSMO_EUNAUTH);
        uint8_t mac[32];
        buf_truncate(&token, (size_t)(strrchr(buf_cstr(&token), '.') - token.data));
        CHECK_INT(check(k, buf_cstr(&token), NOW), OSMO_EUNAUTH);
        crypto_hmac_sha256(rsa_jwk, strlen(rsa_jwk), token.data, token.len, mac);
        buf_putc(&token, '.');
        CHECK_INT(check(k, buf_cstr(&token), NOW), OSMO_EUNAUTH);
        crypto_base64url(mac, sizeof mac, &token);
        CHECK_INT(check(k, buf_cstr(&token), NOW), OSMO_EUNAUTH);
    }
    jwk_free(k);
}

static void bad_keys(void) {
    static const char *const bad[] = {
        "{}", "{\"kty\":\"oct\",\"k\":\"AA\"}", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\",\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
        /* not on the curve */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"kquux8k4r9J4DdhuBv5p2lzAJDxTqN9G6NMXcAg9cxg\","
        "\"y\":\"kquux8k4r9J4DdhuBv5p2lzAJDxTqN9G6NMXcAg9cxg\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!key_of(bad[i]));
    _cleanup_free_ char *other_use = str_printf("{\"use\":\"enc\",%s", ec_key + 1), *other_alg = str_printf("{\"alg\":\"RS256\",%s",
        ec_key + 1),
                        *good = str_printf("{\"use\":\"sig\",\"alg\":\"ES256\",%s", ec_key + 1);
    CHECK(!key_of(other_use));
    CHECK(!key_of(other_alg));
    jwk_t *k = key_of(good);
    CHECK(k != NULL);
    jwk_free(k);
}

static void sets(void) {
    _cleanup_free_ char *text = str_printf("{\"keys\":[{\"kty\":\"OKP\",\"kid\":\"ed\"},%s,%s]}", ec_key, rsa_jwk),
                        *only_ec = str_printf("{\"keys\":[%s]}", ec_key);
    static const char *const bad[] = { "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"OKP\"}]}" };
    _cleanup_json_ json_t *v = NULL, *one = NULL;
    jwk_set_t *s = NULL;
    json_t *claims = NULL;
    REQUIRE(json_parse(text, strlen(text), &v, &err) == 0 && jwk_set_read(v, &s, &err) == 0);
    CHECK_INT(jwk_set_len(s), 2);
    CHECK_INT(jwk_set_verify(s, ec_token, strlen(ec_token), NOW, 0, &claims, &err), 0);
    json_free(claims);
    CHECK_INT(jwk_set_verify(s, rsa_token, strlen(rsa_token), NOW, 0, &claims, &err), 0);
    json_free(claims);
    CHECK_INT(jwk_set_verify(s, rsa_token, strlen(rsa_token) - 1, NOW, 0, &claims, &err), OSMO_EUNAUTH);
    jwk_set_free(s);
    REQUIRE(json_parse(only_ec, strlen(only_ec), &one, &err) == 0 && jwk_set_read(one, &s, &err) == 0);
    CHECK_INT(jwk_set_verify(s, rsa_token, strlen(rsa_token), NOW, 0, &claims, &err), OSMO_ENOTFOUND);
    jwk_set_free(s);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        json_t *b = NULL;
        CHECK_INT(json_parse(bad[i], strlen(bad[i]), &b, &err), 0);
        CHECK_INT(jwk_set_read(b, &s, &err), OSMO_EINVAL);
        json_free(b);
    }
}

static const struct check_test jwk_tests[] = {
    { "verifying", verifying }, { "damage", damage }, { "confusion", confusion }, { "keys that are none", bad_keys }, { "sets", sets },
};
TEST_MAIN("jwk", jwk_tests)
