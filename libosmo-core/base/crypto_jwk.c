/* Keys of others and what they have signed; see jwk.h. A part of the door to OpenSSL (crypto.c). */
#include "base/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/crypto_text.h"

#define KID_MAX 512
#define COORDINATE 32 /* bytes of one number of P-256 */
#define RSA_BYTES_MAX 1024

struct jwk { EVP_PKEY *pkey; bool ec; char *kid; };
struct jwk_set { jwk_t *keys[JWK_SET_MAX]; size_t n; };

/* ---- reading ---- */

/* The decoded bytes of a member; 0 < *len <= max, or false. */
static bool member_bytes(const json_t *o, const char *key, uint8_t *out, size_t max, size_t *len) {
    const char *text = json_get_str(o, key);
    _cleanup_buf_ buf_t raw = BUF_INIT(max);
    if (!text || crypto_base64_decode(text, strlen(text), &raw, NULL) < 0 || !raw.len)
        return false;
    memcpy(out, raw.data, raw.len);
    *len = raw.len;
    return true;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *bld) {
    OSSL_PARAM *params = bld ? OSSL_PARAM_BLD_to_param(bld) : NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *read_rsa(const json_t *o) {
    uint8_t n[RSA_BYTES_MAX], e[8];
    size_t n_len, e_len;
    if (!member_bytes(o, "n", n, sizeof n, &n_len) || !member_bytes(o, "e", e, sizeof e, &e_len))
        return NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *bn = BN_bin2bn(n, (int)n_len, NULL), *be = BN_bin2bn(e, (int)e_len, NULL);
    EVP_PKEY *pkey = NULL;
    bool sound = bn && be && BN_num_bits(bn) >= 2048 && BN_is_odd(bn) && BN_is_odd(be) && !BN_is_one(be);
    if (sound && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be))
        pkey = make_key("RSA", bld);
    BN_free(bn);
    BN_free(be);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

/* The point must lie on the curve. */
static bool is_on_curve(EVP_PKEY *pkey) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static EVP_PKEY *read_ec(const json_t *o) {
    uint8_t point[1 + 2 * COORDINATE] = { POINT_CONVERSION_UNCOMPRESSED };
    size_t x_len, y_len;
    if (!str_eq(json_get_str(o, "crv"), "P-256") || !member_bytes(o, "x", point + 1, COORDINATE, &x_len) || x_len != COORDINATE ||
        !member_bytes(o, "y", point + 1 + COORDINATE, COORDINATE, &y_len) || y_len != COORDINATE)
        return NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point))
        pkey = make_key("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    if (pkey && !is_on_curve(pkey)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    return pkey;
}

int jwk_read(const json_t *o, jwk_t **out, osmo_error_t *err) {
    const char *kty = json_get_str(o, "kty"), *use = json_get_str(o, "use"), *alg = json_get_str(o, "alg"), *kid = json_get_str(o, "kid");
    bool ec = str_eq(kty, "EC");
    if (!ec && !str_eq(kty, "RSA"))
        return osmo_error_set(err, OSMO_EINVAL, "a key must be of kty RSA or EC");
    if ((use && !str_eq(use, "sig")) || (alg && !str_eq(alg, ec ? "ES256" : "RS256")))
        return osmo_error_set(err, OSMO_EINVAL, "a key must be for signatures with %s", ec ? "ES256" : "RS256");
    if (kid && strlen(kid) > KID_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "the kid of a key is longer than %d bytes", KID_MAX);
    EVP_PKEY *pkey = ec ? read_ec(o) : read_rsa(o);
    ERR_clear_error();
    if (!pkey)
        return osmo_error_set(err, OSMO_EINVAL,
                              ec ? "an EC key needs crv P-256 and a point x, y on it" : "an RSA key needs n of 2048 to 8192 bits, and e");
    jwk_t *k = calloc(1, sizeof *k);
    if (k)
        *k = (jwk_t){ .pkey = pkey, .ec = ec, .kid = str_dup(kid ? kid : "") };
    if (!k || !k->kid) {
        EVP_PKEY_free(pkey);
        free(k);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = k;
    return 0;
}

void jwk_free(jwk_t *k) {
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k->kid);
    free(k);
}

const char *jwk_kid(const jwk_t *k) { return k->kid; }
const char *jwk_alg(const jwk_t *k) { return k->ec ? "ES256" : "RS256"; }

/* ---- verifying ---- */

/* r and s of 32 bytes each become what OpenSSL reads. Returns the length, 0 when that is impossible. */
static size_t ec_signature(const buf_t *raw, uint8_t *out, size_t max) {
    if (raw->len != 2 * COORDINATE)
        return 0;
    const uint8_t *p = (const uint8_t *)raw->data;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, COORDINATE, NULL), *s = BN_bin2bn(p + COORDINATE, COORDINATE, NULL);
    int len = 0;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
        r = s = NULL;
        len = i2d_ECDSA_SIG(sig, NULL);
        len = len > 0 && (size_t)len <= max ? i2d_ECDSA_SIG(sig, &out) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

static bool signature_fits(const jwk_t *k, const char *token, const struct jwt_parts *p) {
    _cleanup_buf_ buf_t raw = BUF_INIT(RSA_BYTES_MAX);
    uint8_t der[2 * COORDINATE + 16];
    if (crypto_base64_decode(p->signature, p->signature_len, &raw, NULL) < 0 || !raw.len)
        return false;
    const uint8_t *signature = k->ec ? der : (const uint8_t *)raw.data;
    size_t len = k->ec ? ec_signature(&raw, der, sizeof der) : raw.len;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = len && ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
              EVP_DigestVerify(ctx, signature, len, (const uint8_t *)token, p->header_len + 1 + p->claims_len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static int verify_parts(const jwk_t *k, const char *token, const struct jwt_parts *p, const json_t *header, int64_t now_s, int64_t skew_s,
                        json_t **claims, osmo_error_t *err) {
    json_t *body = NULL;
    if (!str_eq(json_get_str(header, "alg"), jwk_alg(k)) || json_has(header, "crit"))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not signed with %s", jwk_alg(k));
    if (!signature_fits(k, token, p))
        return osmo_error_set(err, OSMO_EUNAUTH, "the signature of the token does not fit the key");
    int rc = jwt_part(p->claims, p->claims_len, &body, err);
    if (rc >= 0)
        rc = jwt_check_times(body, now_s, skew_s, err);
    if (rc < 0)
        json_free(body);
    else
        *claims = body;
    return rc;
}

int jwk_verify(const jwk_t *k, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims, osmo_error_t *err) {
    struct jwt_parts p;
    _cleanup_json_ json_t *header = NULL;
    int rc = jwt_split(token, len, &p, err);
    if (rc >= 0)
        rc = jwt_part(p.header, p.header_len, &header, err);
    return rc < 0 ? rc : verify_parts(k, token, &p, header, now_s, skew_s, claims, err);
}

/* ---- sets ---- */

int jwk_set_read(const json_t *o, jwk_set_t **out, osmo_error_t *err) {
    const json_t *keys = json_get(o, "keys");
    if (json_kind(keys) != JSON_ARRAY || json_len(keys) > JWK_SET_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "a key set needs \"keys\", a list of at most %d", JWK_SET_MAX);
    jwk_set_t *s = calloc(1, sizeof *s);
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = s ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc != OSMO_ENOMEM && i < json_len(keys); i++)
        if ((rc = jwk_read(json_at(keys, i), &s->keys[s->n], &why)) == 0)
            s->n++;
    if (rc != OSMO_ENOMEM && s->n) {
        *out = s;
        return 0;
    }
    jwk_set_free(s);
    return rc == OSMO_ENOMEM ? osmo_error_set(err, rc, "out of memory")
                             : osmo_error_set(err, OSMO_EINVAL, "no key of the set can be used: %s",
                                              json_len(keys) ? why.text : "it is empty");
}

void jwk_set_free(jwk_set_t *s) {
    for (size_t i = 0; s && i < s->n; i++)
        jwk_free(s->keys[i]);
    free(s);
}

size_t jwk_set_len(const jwk_set_t *s) { return s->n; }

int jwk_set_verify(const jwk_set_t *s, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims, osmo_error_t *err) {
    struct jwt_parts p;
    _cleanup_json_ json_t *header = NULL;
    int rc = jwt_split(token, len, &p, err);
    if (rc >= 0)
        rc = jwt_part(p.header, p.header_len, &header, err);
    if (rc < 0)
        return rc;
    const char *kid = json_get_str(header, "kid");
    rc = osmo_error_set(err, kid ? OSMO_ENOTFOUND : OSMO_EUNAUTH,
                        kid ? "the token names a key that is not known: %.60s" : "no key fits the token", kid);
    for (size_t i = 0; i < s->n; i++) {
        bool fits = kid ? str_eq(kid, s->keys[i]->kid) : str_eq(json_get_str(header, "alg"), jwk_alg(s->keys[i]));
        if (fits && (rc = verify_parts(s->keys[i], token, &p, header, now_s, skew_s, claims, err)) == 0)
            return 0;
    }
    return rc;
}
