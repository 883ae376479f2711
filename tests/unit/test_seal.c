/* Sealed texts: round trips, one that another implementation has sealed, and every kind of damage. */
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/seal.h"
#include "check.h"

static osmo_error_t err;

/* Sealed by python3-jwcrypto under key1 = 00 01 … 1f. */
static const char foreign[] =
    "eyJhbGciOiJBMjU2R0NNS1ciLCJlbmMiOiJBMjU2R0NNIiwiaXYiOiJQVkc3d0VCT1l5UHltSWNqIiwia2lkIjoia2V5MSIsInRhZyI6Inh0WEhlZktSLXFw"
    "NGpkeTRHRUZJTFEifQ.Puc2ntKzfi28z9MV2tEVbyQMwxdAcsDAW-2040NgjFw.tAME964tHD_xBMsa._ZX-Djv2HLpas0SUjDc.B5q-96vEMWHQAsJCh07t"
    "9A";
static const char key1[] = "{\"kty\":\"oct\",\"kid\":\"key1\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}";

static bool read_key(const char *text, struct seal_key *k) {
    _cleanup_json_ json_t *v = NULL;
    return json_parse(text, strlen(text), &v, &err) == 0 && seal_key_read(v, k, &err) == 0;
}

static void keys(void) {
    static const char *const bad[] = {
        "{}", "{\"kty\":\"RSA\",\"kid\":\"a\",\"k\":\"AA\"}", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}",
        "{\"kty\":\"oct\",\"kid\":\"\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}",
            "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAEC\"}",
        "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A\"}", "{\"kty\":\"oct\",\"kid\":\"a\"}",
    };
    struct seal_key k, again;
    REQUIRE(seal_key_new(&k) == 0);
    _cleanup_json_ json_t *v = seal_key_json(&k);
    CHECK_INT(seal_key_read(v, &again, &err), 0);
    CHECK(!memcmp(&k, &again, sizeof k));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK(!read_key(bad[i], &k));
        CHECK(!strstr(err.text, "AAEC"));
    }
}

static void round_trips(void) {
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 1000, SEAL_TEXT_MAX };
    struct seal_key k, other;
    REQUIRE(seal_key_new(&k) == 0 && seal_key_new(&other) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        _cleanup_buf_ buf_t sealed = BUF_INIT(4u << 20), twice = BUF_INIT(4u << 20), out = BUF_INIT(4u << 20);
        _cleanup_free_ char *data = calloc(1, sizes[i] + 1);
        char kid[SEAL_KID_MAX];
        for (size_t n = 0; n < sizes[i]; n++)
            data[n] = (char)(n * 7 + i);
        CHECK_INT(seal(&k, data, sizes[i], &sealed, &err), 0);
        CHECK_INT(seal(&k, data, sizes[i], &twice, &err), 0);
        CHECK(sealed.len == twice.len && memcmp(sealed.data, twice.data, sealed.len)); /* never the same */
        CHECK_INT(sealed_kid(sealed.data, sealed.len, kid, &err), 0);
        CHECK_STR(kid, k.kid);
        CHECK_INT(unseal(&k, sealed.data, sealed.len, &out, &err), 0);
        CHECK(out.len == sizes[i] && (!out.len || !memcmp(out.data, data, out.len)));
        CHECK_INT(unseal(&other, sealed.data, sealed.len, &out, &err), OSMO_EDENIED);
        strcpy(other.kid, k.kid);
        CHECK_INT(unseal(&other, sealed.data, sealed.len, &out, &err), OSMO_EDENIED);
        CHECK_INT(out.len, sizes[i]);
    }
    char *big = calloc(1, SEAL_TEXT_MAX + 1);
    _cleanup_buf_ buf_t out = BUF_INIT(4u << 20);
    CHECK_INT(seal(&k, big, SEAL_TEXT_MAX + 1, &out, &err), OSMO_ELIMIT);
    free(big);
}

static void others(void) {
    struct seal_key k;
    _cleanup_buf_ buf_t out = BUF_INIT(1u << 16);
    REQUIRE(read_key(key1, &k));
    CHECK_INT(unseal(&k, foreign, strlen(foreign), &out, &err), 0);
    CHECK_STR(buf_cstr(&out), "open sesame \xc3\xbc");
}

/* Any bit of any part changed: refused, never opened as something else. */
static void damage(void) {
    struct seal_key k;
    REQUIRE(read_key(key1, &k));
    size_t len = strlen(foreign), opened = 0;
    char text[sizeof foreign];
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 3; c++) {
            _cleanup_buf_ buf_t out = BUF_INIT(1u << 16);
            memcpy(text, foreign, sizeof text);
            text[i] = "A.~"[c];
            if (text[i] == foreign[i])
                continue;
            opened += unseal(&k, text, len, &out, &err) == 0;
            CHECK_INT(out.len, 0);
        }
        _cleanup_buf_ buf_t out = BUF_INIT(1u << 16);
        opened += unseal(&k, foreign, i, &out, &err) == 0;
    }
    CHECK_INT(opened, 0);
}

static const struct check_test seal_tests[] = {
    { "keys", keys }, { "round trips", round_trips }, { "sealed by others", others }, { "damage", damage },
};
TEST_MAIN("seal", seal_tests)
