/* Fuzz entry: the keys of a provider. The first line is a set of keys as JSON, the rest a token; a genuine token of a fixed key is offered
 * to every set as well. What is read has an algorithm, and what is accepted has claims. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/signing_key.h"
#include "base/crypto.h"
#include "base/jwk.h"
#include "base/str.h"

#define NOW INT64_C(1800000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char claims_text[] = "{\"exp\":1800000300,\"sub\":\"maya\"}";
static buf_t genuine = BUF_INIT(1u << 16);
static json_t *claims, *own;

static void prepare(void) {
    rsa_key_t *key = NULL;
    if (own)
        return;
    if (rsa_key_from_pem(signing_key_pem(), &key, NULL) < 0 || rsa_key_set_kid(key, "fixed") < 0 ||
        json_parse(claims_text, sizeof claims_text - 1, &claims, NULL) < 0 || jwt_sign(key, claims, &genuine, NULL) < 0)
        abort();
    own = rsa_key_jwk(key, "fixed");
    rsa_key_free(key);
}

/* Only a set that has the key takes its token; leading zeroes and other spellings of the number are the same key. */
static bool may_have(const json_t *set) {
    const json_t *keys = json_get(set, "keys");
    for (size_t i = 0; i < json_len(keys); i++) {
        const char *n = json_get_str(json_at(keys, i), "n");
        if (n && strlen(n) > 300)
            return true;
    }
    return false;
}

static void offer(const jwk_set_t *set, const json_t *document, const char *token, size_t len, bool is_genuine) {
    json_t *got = NULL;
    int rc = jwk_set_verify(set, token, len, NOW, 60, &got, NULL);
    if (rc >= 0 && json_kind(got) != JSON_OBJECT)
        abort();
    if (rc >= 0 && is_genuine && (!json_equal(got, claims) || !may_have(document)))
        abort();
    if (rc < 0 && got)
        abort();
    json_free(got);
}

static void one_key(const json_t *document) {
    jwk_t *k = NULL;
    json_t *got = NULL;
    if (jwk_read(document, &k, NULL) < 0)
        return;
    if (!jwk_kid(k) || (!str_eq(jwk_alg(k), "RS256") && !str_eq(jwk_alg(k), "ES256")))
        abort();
    if (jwk_verify(k, genuine.data, genuine.len, NOW, 60, &got, NULL) >= 0 && str_eq(jwk_alg(k), "ES256"))
        abort();
    json_free(got);
    jwk_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *nl = size ? memchr(text, '\n', size) : NULL;
    size_t first = nl ? (size_t)(nl - text) : size, behind = nl ? first + 1 : size;
    json_t *document = NULL;
    jwk_set_t *set = NULL;
    prepare();
    if (json_parse(text, first, &document, NULL) < 0)
        return 0;
    one_key(document);
    for (size_t i = 0; i < json_len(json_get(document, "keys")) && i < JWK_SET_MAX; i++)
        one_key(json_at(json_get(document, "keys"), i));
    if (jwk_set_read(document, &set, NULL) >= 0) {
        if (!jwk_set_len(set) || jwk_set_len(set) > JWK_SET_MAX)
            abort();
        offer(set, document, genuine.data, genuine.len, true);
        offer(set, document, text + behind, size - behind, false);
    }
    jwk_set_free(set);
    json_free(document);
    return 0;
}
