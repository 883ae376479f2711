/* Fuzz entry: tokens against a fixed key. The first byte says what the rest is: a token; a change of a genuine token (place, length, what
 * comes instead); claims, which are signed and verified; a header, under which what the key signed, and a MAC made with the public key, are
 * offered. Nothing is accepted whose signed part is not the one that was signed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/signing_key.h"
#include "base/crypto.h"
#include "base/str.h"

#define NOW INT64_C(1800000000)
#define SKEW 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const genuine_claims[] = {
    "{\"iss\":\"osmo\",\"aud\":\"osmo\",\"exp\":1800000300,\"iat\":1799999990,\"unique_name\":\"maya\",\"roles\":[\"osmo-user\"]}",
    "{\"exp\":1800000300,\"nbf\":1800000000,\"osmo_workflow_id\":\"a-1\"}",
    "{\"exp\":1700000000}",
};
#define GENUINE (sizeof genuine_claims / sizeof genuine_claims[0])
static buf_t genuine[GENUINE];
static rsa_key_t *key;

static json_t *parse(const char *text, size_t len) {
    json_t *v = NULL;
    return json_parse(text, len, &v, NULL) < 0 ? NULL : v;
}

static void prepare(void) {
    if (key)
        return;
    if (rsa_key_from_pem(signing_key_pem(), &key, NULL) < 0 || rsa_key_set_kid(key, "fixed") < 0)
        abort();
    for (size_t i = 0; i < GENUINE; i++) {
        json_t *claims = parse(genuine_claims[i], strlen(genuine_claims[i]));
        genuine[i] = (buf_t)BUF_INIT(1u << 16);
        if (jwt_sign(key, claims, &genuine[i], NULL) < 0)
            abort();
        json_free(claims);
    }
}

/* How much of a token is signed. */
static size_t signed_len(const char *token, size_t len) {
    const char *dot = len ? memrchr(token, '.', len) : NULL;
    return dot ? (size_t)(dot - token) : 0;
}

static void offer(const char *token, size_t len) {
    json_t *claims = NULL;
    char kid[64];
    bool known = false;
    (void)jwt_kid(token, len, kid, sizeof kid, NULL);
    (void)jwt_names(key, token, len);
    if (jwt_peek(token, len, &claims, NULL) >= 0)
        json_free(claims);
    claims = NULL;
    if (jwt_verify(key, token, len, NOW, SKEW, &claims, NULL) < 0)
        return;
    for (size_t i = 0; i < GENUINE; i++) {
        size_t n = signed_len(genuine[i].data, genuine[i].len);
        known |= n == signed_len(token, len) && memcmp(genuine[i].data, token, n) == 0;
    }
    if (!known || json_get_int(claims, "exp", 0) + SKEW < NOW)
        abort();
    json_free(claims);
}

static void change(const uint8_t *data, size_t size) {
    buf_t token = BUF_INIT(1u << 20);
    if (size < 4)
        return;
    const buf_t *from = &genuine[data[0] % GENUINE];
    size_t at = ((size_t)data[1] << 8 | data[2]) % (from->len + 1), cut = data[3];
    if (cut > from->len - at)
        cut = from->len - at;
    buf_append(&token, from->data, at);
    buf_append(&token, data + 4, size - 4);
    buf_append(&token, from->data + at + cut, from->len - at - cut);
    if (!buf_failed(&token))
        offer(buf_cstr(&token), token.len);
    buf_free(&token);
}

/* What was signed comes back, unless its times say otherwise. */
static void carry(const char *text, size_t len) {
    json_t *claims = parse(text, len), *back = NULL;
    buf_t token = BUF_INIT(1u << 20);
    if (json_kind(claims) == JSON_OBJECT && jwt_sign(key, claims, &token, NULL) >= 0) {
        json_t *exp = json_get(claims, "exp"), *nbf = json_get(claims, "nbf");
        bool begun = !nbf || (json_kind(nbf) == JSON_INT && json_as_int(nbf, 0) <= NOW);
        bool live = begun && json_kind(exp) == JSON_INT && json_as_int(exp, 0) > NOW;
        int rc = jwt_verify(key, token.data, token.len, NOW, 0, &back, NULL);
        if (rc >= 0 && !json_equal(claims, back))
            abort();
        if (rc < 0 && rc != OSMO_ENOMEM && live && token.len < 4096)
            abort();
        if (rc >= 0 && json_kind(exp) == JSON_INT && json_as_int(exp, 0) < NOW)
            abort();
    }
    json_free(back);
    json_free(claims);
    buf_free(&token);
}

/* A header of another algorithm over genuine claims. */
static void confuse(const char *header, size_t len) {
    buf_t token = BUF_INIT(1u << 20);
    const char *claims = memchr(genuine[0].data, '.', genuine[0].len);
    size_t n = signed_len(genuine[0].data, genuine[0].len) - (size_t)(claims - genuine[0].data);
    uint8_t mac[32];
    crypto_base64url(header, len, &token);
    buf_append(&token, claims, n);
    size_t begun = token.len;
    buf_puts(&token, genuine[0].data + signed_len(genuine[0].data, genuine[0].len));
    if (!buf_failed(&token))
        offer(buf_cstr(&token), token.len);
    buf_truncate(&token, begun);
    json_t *jwk = rsa_key_jwk(key, "fixed");
    const char *modulus = json_get_str(jwk, "n");
    crypto_hmac_sha256(modulus, strlen(modulus), token.data, token.len, mac);
    buf_putc(&token, '.');
    crypto_base64url(mac, sizeof mac, &token);
    if (!buf_failed(&token))
        offer(buf_cstr(&token), token.len);
    buf_truncate(&token, begun + 1);
    if (!buf_failed(&token))
        offer(buf_cstr(&token), token.len);
    json_free(jwk);
    buf_free(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    prepare();
    if (!size)
        return 0;
    const char *rest = (const char *)data + 1;
    switch (data[0] % 4) {
    case 0: offer(rest, size - 1); break;
    case 1: change(data + 1, size - 1); break;
    case 2: carry(rest, size - 1); break;
    default: confuse(rest, size - 1); break;
    }
    return 0;
}
