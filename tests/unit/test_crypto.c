/* Digests, base64 and RS256 tokens against published vectors and tampering. */
#include "base/cleanup.h"
#include "check.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/crypto.h"

static rsa_key_t *key, *other;

static void hex(const uint8_t *p, size_t n, char *out) {
    for (size_t i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", p[i]);
}

static void test_digests(void) {
    char text[65];
    uint8_t mac[32];
    crypto_sha256_hex("abc", 3, text);
    CHECK_STR(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256_hex("", 0, text);
    CHECK_STR(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac); /* RFC 4231 case 2 */
    hex(mac, 32, text);
    CHECK_STR(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    CHECK(crypto_equal("same", "same", 4));
    CHECK(!crypto_equal("same", "sane", 4));
}

static void test_random(void) {
    char a[33], b[33];
    CHECK_INT(crypto_random_hex32(a), 0);
    CHECK_INT(crypto_random_hex32(b), 0);
    CHECK_INT(strspn(a, "0123456789abcdef"), 32);
    CHECK(strcmp(a, b) != 0);
    CHECK(a[12] == '4' && strchr("89ab", a[16]) != NULL);
}

static void test_base64(void) {
    static const struct {
        const char *plain, *standard, *url;
    } cases[] = {
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" },
        { "\xfb\xff\xfe", "+//+", "-__-" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        _cleanup_buf_ buf_t s = BUF_INIT(100), u = BUF_INIT(100), back = BUF_INIT(100), back2 = BUF_INIT(100);
        CHECK_INT(crypto_base64(cases[i].plain, strlen(cases[i].plain), &s), 0);
        CHECK_STR(buf_cstr(&s), cases[i].standard);
        CHECK_INT(crypto_base64url(cases[i].plain, strlen(cases[i].plain), &u), 0);
        CHECK_STR(buf_cstr(&u), cases[i].url);
        CHECK_INT(crypto_base64_decode(s.data ? s.data : "", s.len, &back, NULL), 0);
        CHECK_STR(buf_cstr(&back), cases[i].plain);
        CHECK_INT(crypto_base64_decode(u.data ? u.data : "", u.len, &back2, NULL), 0);
        CHECK_STR(buf_cstr(&back2), cases[i].plain);
        buf_free(&u);
        buf_free(&back);
        buf_free(&back2);
    }
    static const char *const bad[] = { "A", "AA=", "A===", "AB==C", "A A=", "Zh==", "Zm9=", "====" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(100);
        CHECK_INT(crypto_base64_decode(bad[i], strlen(bad[i]), &out, NULL), OSMO_EINVAL);
    }
}

static json_t *claims_of(int64_t nbf, int64_t exp) {
    json_t *c = json_object();
    json_set_str(c, "unique_name", "alice");
    json_set_int(c, "nbf", nbf);
    json_set_int(c, "exp", exp);
    return c;
}

static void test_tokens(void) {
    static const struct { int64_t now; int rc; } times[] = {
        { 1000, 0 }, { 1299, 0 }, { 1300, OSMO_EUNAUTH }, { 999, OSMO_EUNAUTH },
    };
    _cleanup_json_ json_t *claims = claims_of(1000, 1300);
    _cleanup_buf_ buf_t token = BUF_INIT(10000);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(jwt_sign(key, claims, &token, &err), &err);
    CHECK(strncmp(buf_cstr(&token), "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.", 37) == 0);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        json_t *got = NULL;
        CHECK_INT(jwt_verify(key, token.data, token.len, times[i].now, 0, &got, &err), times[i].rc);
        if (times[i].rc == 0)
            CHECK(json_equal(got, claims));
        json_free(got);
    }
    json_t *got = NULL;
    CHECK_INT(jwt_verify(key, token.data, token.len, 1305, 10, &got, &err), 0);
    json_free(got);
    got = NULL;
    CHECK_INT(jwt_verify(other, token.data, token.len, 1100, 0, &got, &err), OSMO_EUNAUTH);
    CHECK_INT(jwt_peek(token.data, token.len, &got, &err), 0);
    CHECK_INT(json_get_int(got, "exp", 0), 1300);
    json_free(got);
    got = NULL;
    for (size_t i = 0; i < token.len; i += 7) { /* any changed character breaks it */
        char was = token.data[i];
        token.data[i] = was == 'x' ? 'y' : 'x';
        CHECK_INT(jwt_verify(key, token.data, token.len, 1100, 0, &got, &err), OSMO_EUNAUTH);
        token.data[i] = was;
    }
}

/* Header and claims of the attacker's choice, signed with HMAC keyed by the public key, or not at all. */
static void test_forged_headers(void) {
    static const char *const headers[] = { "{\"alg\":\"none\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{}", "[]",
                                           "{\"alg\":\"RS256\",\"crit\":[\"x\"]}", "{\"alg\":\"RS256\"}" };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        _cleanup_buf_ buf_t t = BUF_INIT(1000);
        uint8_t mac[32];
        json_t *got = NULL;
        crypto_base64url(headers[i], strlen(headers[i]), &t);
        buf_putc(&t, '.');
        crypto_base64url("{\"exp\":99999999999}", 19, &t);
        crypto_hmac_sha256("public", 6, t.data, t.len, mac);
        buf_putc(&t, '.');
        crypto_base64url(mac, sizeof mac, &t);
        CHECK_INT(jwt_verify(key, t.data, t.len, 1, 0, &got, NULL), OSMO_EUNAUTH);
    }
    static const char *const bad[] = { "", ".", "..", "...", "a.b", "a.b.c.d", "\xff.\xff.\xff" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *got = NULL;
        CHECK_INT(jwt_verify(key, bad[i], strlen(bad[i]), 1, 0, &got, NULL), OSMO_EUNAUTH);
        CHECK_INT(jwt_peek(bad[i], strlen(bad[i]), &got, NULL), OSMO_EUNAUTH);
    }
}

static void test_keys(void) {
    _cleanup_buf_ buf_t pem = BUF_INIT(100000), a = BUF_INIT(10000), b = BUF_INIT(10000);
    rsa_key_t *again = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(rsa_key_to_pem(key, &pem), 0);
    CHECK_CONTAINS(buf_cstr(&pem), "-----BEGIN PRIVATE KEY-----");
    CHECK_OK(rsa_key_from_pem(buf_cstr(&pem), &again, &err), &err);
    REQUIRE(again);
    _cleanup_json_ json_t *claims = claims_of(1, 2);
    CHECK_INT(jwt_sign(key, claims, &a, &err), 0);
    CHECK_INT(jwt_sign(again, claims, &b, &err), 0);
    CHECK_STR(buf_cstr(&a), buf_cstr(&b));
    rsa_key_free(again);
    _cleanup_json_ json_t *jwk = rsa_key_jwk(key, "kid-1");
    CHECK_STR(json_get_str(jwk, "kid"), "kid-1");
    CHECK_STR(json_get_str(jwk, "kty"), "RSA");
    CHECK_STR(json_get_str(jwk, "e"), "AQAB");
    CHECK_INT(strlen(json_get_str(jwk, "n")), 342);
    CHECK_INT(json_len(jwk), 4);
    CHECK_INT(rsa_key_from_pem("nonsense", &again, &err), OSMO_EINVAL);
    CHECK_INT(rsa_key_from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &again, &err),
              OSMO_EINVAL);
    CHECK_INT(rsa_key_generate(512, &again, &err), OSMO_EINVAL);
    rsa_key_free(NULL);
}

static void *sign_many(void *arg) {
    size_t *good = arg;
    for (int i = 0; i < 20; i++) {
        _cleanup_json_ json_t *claims = claims_of(i, i + 10), *got = NULL;
        _cleanup_buf_ buf_t token = BUF_INIT(10000);
        if (jwt_sign(key, claims, &token, NULL) == 0 &&
            jwt_verify(key, token.data, token.len, i + 1, 0, &got, NULL) == 0)
            ++*good;
    }
    return NULL;
}

static void test_threads(void) {
    pthread_t t[4];
    size_t good[4] = { 0 };
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&t[i], NULL, sign_many, &good[i]) == 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(good[i], 20);
    }
}

/* What a token says of its key, and what a verifier may do with many at once. */
static void test_key_ids(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *claims = json_object(), *got = NULL;
    char kid[16];
    static const struct { const char *kid, *header; int code; } cases[] = {
        { "one", "{\"alg\":\"RS256\",\"kid\":\"one\",\"typ\":\"JWT\"}", 0 },
        { "fifteen-letters", "{\"alg\":\"RS256\",\"kid\":\"fifteen-letters\",\"typ\":\"JWT\"}", 0 },
        { "sixteen-letters-", "{\"alg\":\"RS256\",\"kid\":\"sixteen-letters-\",\"typ\":\"JWT\"}", OSMO_ENOTFOUND },
        { NULL, "{\"alg\":\"RS256\",\"typ\":\"JWT\"}", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        buf_t t = BUF_INIT(1u << 14), head = BUF_INIT(1u << 14);
        CHECK_INT(rsa_key_set_kid(key, cases[i].kid), 0);
        CHECK_OK(jwt_sign(key, claims, &t, &err), &err);
        CHECK(jwt_names(key, t.data, t.len) && !jwt_names(other, t.data, t.len) == (cases[i].kid != NULL));
        CHECK_INT(crypto_base64_decode(t.data, strcspn(t.data, "."), &head, NULL), 0);
        CHECK_STR(buf_cstr(&head), cases[i].header);
        CHECK_INT(jwt_kid(t.data, t.len, kid, sizeof kid, &err), cases[i].code);
        if (!cases[i].code)
            CHECK_STR(kid, cases[i].kid ? cases[i].kid : "");
        CHECK_OK(jwt_verify(key, t.data, t.len, 1, 0, &got, &err), &err);
        json_free(got);
        CHECK_INT(jwt_verify(other, t.data, t.len, 1, 0, &got, &err), OSMO_EUNAUTH);
        buf_free(&head);
        buf_free(&t);
    }
    CHECK_INT(jwt_kid("a.b", 3, kid, sizeof kid, &err), OSMO_EUNAUTH);
    json_free(claims);
}

static buf_t shared_token = BUF_INIT(1u << 14);

static void *verify_many(void *arg) {
    size_t *good = arg;
    for (int i = 0; i < 200; i++) {
        json_t *got = NULL;
        *good += jwt_verify(key, shared_token.data, shared_token.len, 1, 0, &got, NULL) == 0;
        json_free(got);
        *good += jwt_verify(other, shared_token.data, shared_token.len, 1, 0, &got, NULL) == OSMO_EUNAUTH;
    }
    return NULL;
}

/* More threads than contexts that wait for them. */
static void test_many_verifiers(void) {
    enum { THREADS = 24 };
    pthread_t t[THREADS];
    size_t good[THREADS] = { 0 };
    json_t *claims = json_object();
    CHECK_OK(jwt_sign(key, claims, &shared_token, NULL), &(osmo_error_t)OSMO_ERROR_INIT);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&t[i], NULL, verify_many, &good[i]) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(good[i], 400);
    }
    json_free(claims);
    buf_free(&shared_token);
}

static void test_free(void) {
    rsa_key_free(key);
    rsa_key_free(other);
    key = other = NULL;
}

static void test_generate(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(rsa_key_generate(2048, &key, &err), &err);
    CHECK_OK(rsa_key_generate(2048, &other, &err), &err);
}

static const struct check_test tests[] = {
    { "digests", test_digests }, { "random", test_random },
    { "base64", test_base64 },   { "generate keys", test_generate },
    { "tokens", test_tokens },   { "forged headers", test_forged_headers },
    { "keys", test_keys },       { "threads", test_threads },
    { "key ids", test_key_ids }, { "many verifiers", test_many_verifiers },
    { "free keys", test_free },
};
TEST_MAIN("crypto", tests)
