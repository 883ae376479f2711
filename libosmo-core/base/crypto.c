/* The only door to OpenSSL: digests, randomness, RS256 keys, signing and verifying JWTs. Everybody may call it; every
 * function is thread-safe. The algorithm is fixed by the key, never by what a token says about itself. */
#include "base/crypto.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto_text.h"

#define PEM_MAX (64u << 10)

#define VERIFIERS_MAX 16

/* The header is that of the tokens it signs, encoded. Contexts that are prepared for verifying wait here for the next thread: making one
 * costs a third of what it is for. */
struct rsa_key {
    EVP_PKEY *pkey;
    _Atomic unsigned refs;
    char *header;
    size_t header_len;
    _Atomic(EVP_PKEY_CTX *) verifiers[VERIFIERS_MAX];
};

static EVP_MD *sha256_md;
static pthread_once_t md_once = PTHREAD_ONCE_INIT;

/* Implicit fetching costs more than the digest itself in OpenSSL 3.0, so the method is fetched once. */
static void fetch_md(void) { sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL); }

static const EVP_MD *sha256(void) {
    pthread_once(&md_once, fetch_md);
    return sha256_md ? sha256_md : EVP_sha256();
}

void crypto_sha256(const void *data, size_t len, uint8_t out[32]) {
    if (!EVP_Digest(data, len, out, NULL, sha256(), NULL))
        abort(); /* out of memory inside the digest: a wrong hash must never leave this function */
}

void crypto_sha1(const void *data, size_t len, uint8_t out[20]) {
    if (!EVP_Digest(data, len, out, NULL, EVP_sha1(), NULL))
        abort();
}

void crypto_sha256_hex(const void *data, size_t len, char out[65]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[32];
    crypto_sha256(data, len, hash);
    for (size_t i = 0; i < sizeof hash; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[64] = '\0';
}

void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32]) {
    if (key_len > INT32_MAX || !HMAC(sha256(), key_len ? key : "", (int)key_len, data, len, out, NULL))
        abort();
}

int crypto_random(void *out, size_t len) {
    if (len > INT32_MAX || RAND_bytes(out, (int)len) != 1) {
        ERR_clear_error();
        return OSMO_EIO;
    }
    return OSMO_OK;
}

int crypto_random_hex32(char out[33]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[16];
    int rc = crypto_random(raw, sizeof raw);
    if (rc < 0)
        return rc;
    raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
    raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof raw; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[32] = '\0';
    return OSMO_OK;
}

bool crypto_equal(const void *a, const void *b, size_t len) { return CRYPTO_memcmp(a, b, len) == 0; }

int rsa_key_set_kid(rsa_key_t *k, const char *kid) {
    _cleanup_json_ json_t *o = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(TOKEN_MAX), encoded = BUF_INIT(TOKEN_MAX);
    int failed = !o || json_set_str(o, "alg", "RS256") < 0 || (kid && json_set_str(o, "kid", kid) < 0) || json_set_str(o, "typ", "JWT") < 0;
    if (failed || json_print(o, 0, &text) < 0 || crypto_base64url(text.data, text.len, &encoded) < 0)
        return OSMO_ENOMEM;
    free(k->header);
    k->header = buf_steal(&encoded, &k->header_len);
    return k->header ? OSMO_OK : OSMO_ENOMEM;
}

static int wrap_key(EVP_PKEY *pkey, rsa_key_t **out, osmo_error_t *err) {
    rsa_key_t *k = calloc(1, sizeof *k);
    if (k) {
        k->pkey = pkey;
        k->refs = 1;
    }
    if (!k || rsa_key_set_kid(k, NULL) < 0) {
        if (k)
            rsa_key_free(k);
        else
            EVP_PKEY_free(pkey);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for a key");
    }
    *out = k;
    return OSMO_OK;
}

int rsa_key_generate(unsigned bits, rsa_key_t **out, osmo_error_t *err) {
    if (bits < 2048 || bits > 8192)
        return osmo_error_set(err, OSMO_EINVAL, "RSA key size %u is out of range 2048..8192", bits);
    EVP_PKEY *pkey = EVP_RSA_gen(bits);
    if (!pkey) {
        ERR_clear_error();
        return osmo_error_set(err, OSMO_EIO, "cannot generate an RSA key");
    }
    return wrap_key(pkey, out, err);
}

/* An encrypted PEM must fail instead of asking on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *ctx) {
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

int rsa_key_from_pem(const char *pem, rsa_key_t **out, osmo_error_t *err) {
    size_t len = strnlen(pem, PEM_MAX);
    BIO *bio = len < PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *pkey = NULL;
    if (bio)
        pkey = strstr(pem, "PRIVATE KEY") ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                                          : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (!pkey)
        return osmo_error_set(err, OSMO_EINVAL, "not an unencrypted PEM key");
    if (!EVP_PKEY_is_a(pkey, "RSA") || EVP_PKEY_get_bits(pkey) < 2048) {
        EVP_PKEY_free(pkey);
        return osmo_error_set(err, OSMO_EINVAL, "the key must be RSA of at least 2048 bits");
    }
    return wrap_key(pkey, out, err);
}

int rsa_key_to_pem(const rsa_key_t *k, buf_t *out) {
    BIO *bio = BIO_new(BIO_s_secmem());
    char *data = NULL;
    int rc = OSMO_EIO;
    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL)) {
        long len = BIO_get_mem_data(bio, &data);
        rc = len > 0 ? buf_append(out, data, (size_t)len) : OSMO_EIO;
    }
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

static int jwk_number(const rsa_key_t *k, const char *param, json_t *jwk, const char *name) {
    BIGNUM *bn = NULL;
    uint8_t raw[1024];
    _cleanup_buf_ buf_t text = BUF_INIT(2048);
    if (!EVP_PKEY_get_bn_param(k->pkey, param, &bn)) {
        ERR_clear_error();
        return OSMO_EIO;
    }
    int len = BN_num_bytes(bn) <= (int)sizeof raw ? BN_bn2bin(bn, raw) : -1;
    BN_free(bn);
    if (len <= 0 || crypto_base64url(raw, (size_t)len, &text) < 0)
        return OSMO_EIO;
    return json_set_str(jwk, name, buf_cstr(&text));
}

json_t *rsa_key_jwk(const rsa_key_t *k, const char *kid) {
    json_t *jwk = json_object();
    if (!jwk || jwk_number(k, OSSL_PKEY_PARAM_RSA_E, jwk, "e") < 0 || json_set_str(jwk, "kid", kid) < 0 ||
        json_set_str(jwk, "kty", "RSA") < 0 || jwk_number(k, OSSL_PKEY_PARAM_RSA_N, jwk, "n") < 0) {
        json_free(jwk);
        return NULL;
    }
    return jwk;
}

rsa_key_t *rsa_key_ref(rsa_key_t *k) {
    atomic_fetch_add(&k->refs, 1);
    return k;
}

void rsa_key_free(rsa_key_t *k) {
    if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    for (size_t i = 0; i < VERIFIERS_MAX; i++)
        EVP_PKEY_CTX_free(k->verifiers[i]);
    EVP_PKEY_free(k->pkey);
    free(k->header);
    free(k);
}

static int rsa_sign(const rsa_key_t *k, const buf_t *input, buf_t *out) {
    uint8_t signature[1024];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, sha256(), NULL, k->pkey) == 1 &&
              EVP_DigestSign(ctx, signature, &len, (const uint8_t *)input->data, input->len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok ? crypto_base64url(signature, len, out) : OSMO_EIO;
}

int jwt_sign(const rsa_key_t *k, const json_t *claims, buf_t *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t body = BUF_INIT(TOKEN_MAX);
    _cleanup_buf_ buf_t token = BUF_SECRET(TOKEN_MAX);
    _cleanup_buf_ buf_t signature = BUF_INIT(2048);
    if (json_print(claims, 0, &body) < 0 || buf_failed(&body))
        return osmo_error_set(err, OSMO_ELIMIT, "the claims of a token are too large");
    buf_append(&token, k->header, k->header_len);
    buf_putc(&token, '.');
    crypto_base64url(body.data, body.len, &token);
    if (buf_failed(&token))
        return osmo_error_set(err, token.code, "the claims of a token are too large");
    if (rsa_sign(k, &token, &signature) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot sign a token");
    buf_append(out, token.data, token.len);
    buf_putc(out, '.');
    buf_append(out, signature.data, signature.len);
    return out->code ? osmo_error_set(err, out->code, "the token is too large") : OSMO_OK;
}

/* ---- verifying ---- */

static EVP_PKEY_CTX *verifier_new(const rsa_key_t *k) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
    if (ctx && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
        EVP_PKEY_CTX_set_signature_md(ctx, sha256()) == 1)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static EVP_PKEY_CTX *verifier_take(rsa_key_t *k) {
    for (size_t i = 0; i < VERIFIERS_MAX; i++) {
        EVP_PKEY_CTX *ctx = atomic_load(&k->verifiers[i]) ? atomic_exchange(&k->verifiers[i], NULL) : NULL;
        if (ctx)
            return ctx;
    }
    return verifier_new(k);
}

static void verifier_give(rsa_key_t *k, EVP_PKEY_CTX *ctx) {
    for (size_t i = 0; i < VERIFIERS_MAX; i++) {
        EVP_PKEY_CTX *none = NULL;
        if (atomic_compare_exchange_strong(&k->verifiers[i], &none, ctx))
            return;
    }
    EVP_PKEY_CTX_free(ctx);
}

static bool signature_fits(const rsa_key_t *key, const char *token, const struct jwt_parts *p) {
    rsa_key_t *k = (rsa_key_t *)key; /* what it keeps for the next one is no part of its value */
    _cleanup_buf_ buf_t raw = BUF_INIT(1024);
    uint8_t hash[32];
    if (crypto_base64_decode(p->signature, p->signature_len, &raw, NULL) < 0 || raw.len == 0)
        return false;
    EVP_PKEY_CTX *ctx = verifier_take(k);
    crypto_sha256(token, p->header_len + 1 + p->claims_len, hash);
    bool ok = ctx && EVP_PKEY_verify(ctx, (const uint8_t *)raw.data, raw.len, hash, sizeof hash) == 1;
    if (!ok)
        ERR_clear_error();
    if (ctx)
        verifier_give(k, ctx);
    return ok;
}

static bool is_header_of(const rsa_key_t *k, const struct jwt_parts *p) {
    return p->header_len == k->header_len && memcmp(p->header, k->header, p->header_len) == 0;
}

bool jwt_names(const rsa_key_t *k, const char *token, size_t len) {
    return len > k->header_len && token[k->header_len] == '.' && memcmp(token, k->header, k->header_len) == 0;
}

static int read_header(const struct jwt_parts *p, osmo_error_t *err) {
    _cleanup_json_ json_t *header = NULL;
    int rc = jwt_part(p->header, p->header_len, &header, err);
    const char *alg = rc < 0 ? NULL : json_get_str(header, "alg");
    if (rc >= 0 && (!alg || strcmp(alg, "RS256") != 0 || json_has(header, "crit")))
        rc = osmo_error_set(err, OSMO_EUNAUTH, "the token is not signed with RS256");
    return rc;
}

int jwt_verify(const rsa_key_t *k, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims,
               osmo_error_t *err) {
    struct jwt_parts p;
    _cleanup_json_ json_t *body = NULL;
    int rc = jwt_split(token, len, &p, err);
    if (rc < 0 || (!is_header_of(k, &p) && (rc = read_header(&p, err)) < 0))
        return rc;
    if (!signature_fits(k, token, &p))
        return osmo_error_set(err, OSMO_EUNAUTH, "the signature of the token does not fit the key");
    if ((rc = jwt_part(p.claims, p.claims_len, &body, err)) < 0 || (rc = jwt_check_times(body, now_s, skew_s, err)) < 0)
        return rc;
    *claims = json_ref(body);
    return OSMO_OK;
}
