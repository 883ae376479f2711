/* See forge.h. */
#include "forge.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/str.h"

struct forge_key { EVP_PKEY *pkey; enum forge_kind kind; char kid[64]; };

forge_key_t *forge_key_new(enum forge_kind kind, const char *kid) {
    forge_key_t *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->kind = kind;
    snprintf(k->kid, sizeof k->kid, "%s", kid);
    k->pkey = kind == FORGE_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    return k;
}

forge_key_t *forge_key_pem(const char *pem) {
    forge_key_t *k = calloc(1, sizeof *k);
    BIO *in = BIO_new_mem_buf(pem, -1);
    if (k && in)
        k->pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    BIO_free(in);
    return k;
}

void forge_key_free(forge_key_t *k) {
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

static char *taken(buf_t *b) { return buf_steal(b, NULL); }

static void put_number(const forge_key_t *k, const char *name, size_t size, buf_t *out) {
    uint8_t bytes[512];
    BIGNUM *n = NULL;
    EVP_PKEY_get_bn_param(k->pkey, name, &n);
    size_t len = size ? size : (size_t)BN_num_bytes(n);
    BN_bn2binpad(n, bytes, (int)len);
    BN_free(n);
    crypto_base64url(bytes, len, out);
}

char *forge_jwk(const forge_key_t *k) {
    buf_t b = BUF_INIT(4096);
    if (k->kind == FORGE_RSA) {
        buf_printf(&b, "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\",\"n\":\"", k->kid);
        put_number(k, OSSL_PKEY_PARAM_RSA_N, 0, &b);
        buf_puts(&b, "\",\"e\":\"");
        put_number(k, OSSL_PKEY_PARAM_RSA_E, 0, &b);
    } else {
        buf_printf(&b, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"kid\":\"%s\",\"x\":\"", k->kid);
        put_number(k, OSSL_PKEY_PARAM_EC_PUB_X, 32, &b);
        buf_puts(&b, "\",\"y\":\"");
        put_number(k, OSSL_PKEY_PARAM_EC_PUB_Y, 32, &b);
    }
    buf_puts(&b, "\"}");
    return taken(&b);
}

char *forge_public_pem(const forge_key_t *k) {
    BIO *out = BIO_new(BIO_s_mem());
    char *data = NULL;
    PEM_write_bio_PUBKEY(out, k->pkey);
    long len = BIO_get_mem_data(out, &data);
    char *text = strndup(data, (size_t)len);
    BIO_free(out);
    return text;
}

/* The two numbers side by side, as RFC 7518 §3.4 has them, instead of DER. */
static size_t raw_ec(const uint8_t *der, size_t len, uint8_t *out) {
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)len);
    BN_bn2binpad(ECDSA_SIG_get0_r(s), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(s), out + 32, 32);
    ECDSA_SIG_free(s);
    return 64;
}

static void put_signed_part(const char *header, const char *claims, buf_t *out) {
    crypto_base64url(header, strlen(header), out);
    buf_putc(out, '.');
    crypto_base64url(claims, strlen(claims), out);
}

char *forge_token_as(const forge_key_t *k, const char *header, const char *claims) {
    buf_t b = BUF_INIT(65536);
    uint8_t signature[512], raw[64];
    size_t len = sizeof signature;
    put_signed_part(header, claims, &b);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey);
    EVP_DigestSign(ctx, signature, &len, (const uint8_t *)b.data, b.len);
    EVP_MD_CTX_free(ctx);
    buf_putc(&b, '.');
    if (k->kind == FORGE_EC)
        crypto_base64url(raw, raw_ec(signature, len, raw), &b);
    else
        crypto_base64url(signature, len, &b);
    return taken(&b);
}

char *forge_token(const forge_key_t *k, const char *claims) {
    char header[160];
    snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}", k->kind == FORGE_EC ? "ES256" : "RS256", k->kid);
    return forge_token_as(k, k->kid[0] ? header : "{\"alg\":\"RS256\",\"typ\":\"JWT\"}", claims);
}

char *forge_hs256(const char *secret, const char *claims) {
    buf_t b = BUF_INIT(65536);
    uint8_t mac[32];
    unsigned len = sizeof mac;
    put_signed_part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims, &b);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)b.data, b.len, mac, &len);
    buf_putc(&b, '.');
    crypto_base64url(mac, len, &b);
    return taken(&b);
}

char *forge_unsigned(const char *claims) {
    buf_t b = BUF_INIT(65536);
    put_signed_part("{\"alg\":\"none\",\"typ\":\"JWT\"}", claims, &b);
    buf_putc(&b, '.');
    return taken(&b);
}
