/* Sealed texts; see seal.h. A part of the door to OpenSSL (crypto.c). */
#include "base/seal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/crypto.h"

#define IV_SIZE 12
#define TAG_SIZE 16
#define HEADER_MAX 4096
#define SEALED_MAX (SEAL_TEXT_MAX / 3 * 4 + 2 * HEADER_MAX)

void seal_key_wipe(struct seal_key *k) { crypto_wipe(k, sizeof *k); }

int seal_key_new(struct seal_key *out) {
    memset(out, 0, sizeof *out);
    int rc = crypto_random(out->key, sizeof out->key);
    return rc < 0 ? rc : crypto_random_hex32(out->kid);
}

/* ---- keys as JSON ---- */

/* Exactly n bytes. */
static int read_bytes(const char *text, size_t len, uint8_t *out, size_t n) {
    _cleanup_buf_ buf_t raw = BUF_SECRET(HEADER_MAX);
    int rc = text && crypto_base64_decode(text, len, &raw, NULL) == 0 && raw.len == n ? 0 : OSMO_EINVAL;
    if (rc == 0)
        memcpy(out, raw.data, n);
    return rc;
}

static int read_kid(const json_t *o, char out[SEAL_KID_MAX]) {
    const char *kid = json_get_str(o, "kid");
    if (!kid || !*kid || strlen(kid) >= SEAL_KID_MAX)
        return OSMO_EINVAL;
    strcpy(out, kid);
    return 0;
}

int seal_key_read(const json_t *jwk, struct seal_key *out, osmo_error_t *err) {
    const char *k = json_get_str(jwk, "k");
    memset(out, 0, sizeof *out);
    if (!str_eq(json_get_str(jwk, "kty"), "oct"))
        return osmo_error_set(err, OSMO_EINVAL, "a sealing key is a JWK with \"kty\": \"oct\"");
    if (read_kid(jwk, out->kid) < 0)
        return osmo_error_set(err, OSMO_EINVAL, "a sealing key needs a \"kid\" of 1 to %d bytes", SEAL_KID_MAX - 1);
    if (read_bytes(k, k ? strlen(k) : 0, out->key, sizeof out->key) < 0) {
        seal_key_wipe(out);
        return osmo_error_set(err, OSMO_EINVAL, "a sealing key needs 256 bits of base64url as \"k\"");
    }
    return 0;
}

json_t *seal_key_json(const struct seal_key *k) {
    json_t *o = json_object();
    _cleanup_buf_ buf_t text = BUF_SECRET(64);
    int rc = o ? crypto_base64url(k->key, sizeof k->key, &text) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(o, "k", buf_cstr(&text));
    if (rc >= 0)
        rc = json_set_str(o, "kid", k->kid);
    if (rc >= 0)
        rc = json_set_str(o, "kty", "oct");
    if (rc >= 0)
        return o;
    json_free_secret(o);
    return NULL;
}

int seal_key_write(const struct seal_key *k, buf_t *out, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *o = seal_key_json(k);
    int rc = o ? json_print(o, 0, out) : OSMO_ENOMEM;
    return rc < 0 ? osmo_error_set(err, rc, "a key cannot be written: %s", osmo_error_name(rc)) : 0;
}

int seal_key_parse(const char *text, size_t len, struct seal_key *out, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *o = NULL;
    if (json_parse_secret(text, len, &o, NULL) < 0)
        return osmo_error_set(err, OSMO_EINVAL, "a sealing key is a JSON object");
    return seal_key_read(o, out, err);
}

/* ---- AES-256-GCM ---- */

struct gcm { const uint8_t *key, *iv; const void *aad; size_t aad_len; };

static EVP_CIPHER_CTX *gcm_begin(const struct gcm *g, bool encrypt) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;
    if (ctx && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, g->key, g->iv, encrypt) == 1 &&
        (!g->aad_len || EVP_CipherUpdate(ctx, NULL, &n, g->aad, (int)g->aad_len) == 1))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return NULL;
}

static bool gcm_encrypt(const struct gcm *g, const void *data, size_t len, uint8_t *out, uint8_t tag[TAG_SIZE]) {
    EVP_CIPHER_CTX *ctx = gcm_begin(g, true);
    int n = 0, end = 0;
    bool ok = ctx && (!len || EVP_CipherUpdate(ctx, out, &n, data, (int)len) == 1) && EVP_CipherFinal_ex(ctx, out + n, &end) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool gcm_decrypt(const struct gcm *g, const void *data, size_t len, uint8_t *out, const uint8_t tag[TAG_SIZE]) {
    EVP_CIPHER_CTX *ctx = gcm_begin(g, false);
    uint8_t expected[TAG_SIZE];
    int n = 0, end = 0;
    memcpy(expected, tag, TAG_SIZE);
    bool ok = ctx && (!len || EVP_CipherUpdate(ctx, out, &n, data, (int)len) == 1) &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, expected) == 1 && EVP_CipherFinal_ex(ctx, out + n, &end) == 1;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* ---- sealing ---- */

static int set_bytes(json_t *o, const char *key, const uint8_t *data, size_t len) {
    _cleanup_buf_ buf_t text = BUF_INIT(HEADER_MAX);
    int rc = crypto_base64url(data, len, &text);
    return rc < 0 ? rc : json_set_str(o, key, buf_cstr(&text));
}

/* The protected header, encoded: how the content key is wrapped. */
static int write_header(const struct seal_key *k, const uint8_t iv[IV_SIZE], const uint8_t tag[TAG_SIZE], buf_t *out) {
    _cleanup_json_ json_t *o = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(HEADER_MAX);
    int rc = o ? json_set_str(o, "alg", "A256GCMKW") : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(o, "enc", "A256GCM");
    if (rc >= 0)
        rc = set_bytes(o, "iv", iv, IV_SIZE);
    if (rc >= 0)
        rc = json_set_str(o, "kid", k->kid);
    if (rc >= 0)
        rc = set_bytes(o, "tag", tag, TAG_SIZE);
    if (rc >= 0)
        rc = json_print(o, 0, &text);
    return rc < 0 ? rc : crypto_base64url(text.data, text.len, out);
}

static int put_part(buf_t *out, const void *data, size_t len) {
    buf_putc(out, '.');
    return crypto_base64url(data, len, out);
}

int seal(const struct seal_key *k, const void *data, size_t len, buf_t *out, osmo_error_t *err) {
    uint8_t content_key[SEAL_KEY_SIZE], wrapped[SEAL_KEY_SIZE], ivs[2][IV_SIZE], tags[2][TAG_SIZE];
    _cleanup_buf_ buf_t header = BUF_INIT(HEADER_MAX);
    if (len > SEAL_TEXT_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "a secret of %zu bytes is longer than %u", len, SEAL_TEXT_MAX);
    _cleanup_free_ uint8_t *cipher = malloc(len + 1);
    if (!cipher)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const struct gcm wrap = { k->key, ivs[0], NULL, 0 };
    bool ok = crypto_random(content_key, sizeof content_key) == 0 && crypto_random(ivs, sizeof ivs) == 0 &&
              gcm_encrypt(&wrap, content_key, sizeof content_key, wrapped, tags[0]) && write_header(k, ivs[0], tags[0], &header) >= 0;
    const struct gcm content = { content_key, ivs[1], header.data, header.len };
    ok = ok && gcm_encrypt(&content, data, len, cipher, tags[1]);
    crypto_wipe(content_key, sizeof content_key);
    if (!ok)
        return osmo_error_set(err, OSMO_EIO, "a secret cannot be sealed");
    buf_append(out, header.data, header.len);
    put_part(out, wrapped, sizeof wrapped);
    put_part(out, ivs[1], IV_SIZE);
    put_part(out, cipher, len);
    put_part(out, tags[1], TAG_SIZE);
    return out->code ? osmo_error_set(err, out->code, "a sealed secret is too long") : 0;
}

/* ---- opening ---- */

#define PARTS 5
struct parts { const char *text[PARTS]; size_t len[PARTS]; };

static int split(const char *text, size_t len, struct parts *out) {
    const char *end = text + len;
    if (len > SEALED_MAX)
        return OSMO_EINVAL;
    for (size_t i = 0; i < PARTS; i++) {
        const char *dot = memchr(text, '.', (size_t)(end - text));
        if (!dot != (i == PARTS - 1))
            return OSMO_EINVAL;
        out->text[i] = text;
        out->len[i] = (size_t)((dot ? dot : end) - text);
        text = dot ? dot + 1 : end;
    }
    return 0;
}

static int read_header(const struct parts *p, json_t **out) {
    _cleanup_buf_ buf_t raw = BUF_INIT(HEADER_MAX);
    json_t *o = NULL;
    if (crypto_base64_decode(p->text[0], p->len[0], &raw, NULL) < 0 || json_parse(raw.data ? raw.data : "", raw.len, &o, NULL) < 0)
        return OSMO_EINVAL;
    if (json_kind(o) == JSON_OBJECT && str_eq(json_get_str(o, "alg"), "A256GCMKW") && str_eq(json_get_str(o, "enc"), "A256GCM") &&
        !json_has(o, "crit") && !json_has(o, "zip")) {
        *out = o;
        return 0;
    }
    json_free(o);
    return OSMO_EINVAL;
}

static int no_seal(osmo_error_t *err) { return osmo_error_set(err, OSMO_EINVAL, "not a sealed text"); }

int sealed_kid(const char *text, size_t len, char kid[SEAL_KID_MAX], osmo_error_t *err) {
    struct parts p;
    _cleanup_json_ json_t *header = NULL;
    if (split(text, len, &p) < 0 || read_header(&p, &header) < 0 || read_kid(header, kid) < 0)
        return no_seal(err);
    return 0;
}

static int header_bytes(const json_t *header, const char *key, uint8_t *out, size_t n) {
    const char *text = json_get_str(header, key);
    return read_bytes(text, text ? strlen(text) : 0, out, n);
}

static int open_content(const struct parts *p, const uint8_t *key, buf_t *out, osmo_error_t *err) {
    uint8_t iv[IV_SIZE], tag[TAG_SIZE];
    _cleanup_buf_ buf_t cipher = BUF_INIT(SEALED_MAX);
    if (read_bytes(p->text[2], p->len[2], iv, IV_SIZE) < 0 || read_bytes(p->text[4], p->len[4], tag, TAG_SIZE) < 0 ||
        crypto_base64_decode(p->text[3], p->len[3], &cipher, NULL) < 0)
        return no_seal(err);
    uint8_t *plain = malloc(cipher.len + 1);
    if (!plain)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const struct gcm content = { key, iv, p->text[0], p->len[0] };
    bool ok = gcm_decrypt(&content, cipher.data, cipher.len, plain, tag);
    int rc = !ok ? osmo_error_set(err, OSMO_EDENIED, "the sealed text was changed")
             : buf_append(out, plain, cipher.len) < 0 ? osmo_error_set(err, out->code, "a secret is too long") : 0;
    crypto_wipe(plain, cipher.len);
    free(plain);
    return rc;
}

int unseal(const struct seal_key *k, const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    struct parts p;
    _cleanup_json_ json_t *header = NULL;
    uint8_t iv[IV_SIZE], tag[TAG_SIZE], wrapped[SEAL_KEY_SIZE], content_key[SEAL_KEY_SIZE];
    char kid[SEAL_KID_MAX];
    if (split(text, len, &p) < 0 || read_header(&p, &header) < 0 || read_kid(header, kid) < 0 ||
        header_bytes(header, "iv", iv, IV_SIZE) < 0 ||
        header_bytes(header, "tag", tag, TAG_SIZE) < 0 || read_bytes(p.text[1], p.len[1], wrapped, sizeof wrapped) < 0)
        return no_seal(err);
    const struct gcm wrap = { k->key, iv, NULL, 0 };
    if (!str_eq(kid, k->kid) || !gcm_decrypt(&wrap, wrapped, sizeof wrapped, content_key, tag))
        return osmo_error_set(err, OSMO_EDENIED, "the text was sealed under another key: %.40s", kid);
    int rc = open_content(&p, content_key, out, err);
    crypto_wipe(content_key, sizeof content_key);
    return rc;
}
