/* Digests, randomness, base64, RS256 keys, JWTs. crypto.c is the only door to OpenSSL; crypto_text.c does without. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "osmo/error.h"

void crypto_sha256(const void *data, size_t len, uint8_t out[32]);
void crypto_sha1(const void *data, size_t len, uint8_t out[20]); /* for the handshake of websockets, which asks for it */
void crypto_sha256_hex(const void *data, size_t len, char out[65]);
void crypto_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[32]);
/* A digest of what comes in pieces. OSMO_EUNAVAIL where the system's policy rules it out (MD5: a checksum, never proof of anything). */
typedef struct crypto_digest crypto_digest_t;
enum crypto_digest_kind { CRYPTO_MD5, CRYPTO_SHA256 };
int crypto_digest_new(enum crypto_digest_kind kind, crypto_digest_t **out, osmo_error_t *err);
void crypto_digest_free(crypto_digest_t *d); /* NULL is fine */
static inline void crypto_digest_freep(crypto_digest_t **d) { crypto_digest_free(*d); }
void crypto_digest_add(crypto_digest_t *d, const void *data, size_t len);
size_t crypto_digest_take(crypto_digest_t *d, uint8_t out[32]); /* its length; and begins anew */
int crypto_random(void *out, size_t len);                     /* 0 or OSMO_EIO */
int crypto_random_hex32(char out[33]);                        /* a uuid4 as 32 lower-case hex digits, NUL-terminated */
bool crypto_equal(const void *a, const void *b, size_t len);  /* constant time */
void crypto_wipe(void *p, size_t len);
int crypto_base64(const void *data, size_t len, buf_t *out);     /* standard, padded */
int crypto_base64url(const void *data, size_t len, buf_t *out);  /* no padding */
/* both alphabets, padding optional */
int crypto_base64_decode(const char *text, size_t len, buf_t *out,
                         osmo_error_t *err);

typedef struct rsa_key rsa_key_t;
int rsa_key_generate(unsigned bits, rsa_key_t **out, osmo_error_t *err);
int rsa_key_from_pem(const char *pem, rsa_key_t **out, osmo_error_t *err);
int rsa_key_to_pem(const rsa_key_t *k, buf_t *out);           /* private key, PKCS#8 */
json_t *rsa_key_jwk(const rsa_key_t *k, const char *kid);     /* public {"e","kid","kty","n"} */
void rsa_key_free(rsa_key_t *k);                              /* drops one reference */
rsa_key_t *rsa_key_ref(rsa_key_t *k);
/* What tokens that it signs name it; before it is used by several threads. 0 or OSMO_ENOMEM. */
int rsa_key_set_kid(rsa_key_t *k, const char *kid);
/* Sign claims as a compact RS256 JWT with header {"alg":"RS256","kid":…,"typ":"JWT"}, without kid if the key has none. Thread-safe. */
int jwt_sign(const rsa_key_t *k, const json_t *claims, buf_t *out, osmo_error_t *err);
/* Verify signature with this key only (the key decides the algorithm; a header alg other than RS256 is refused), then
 * exp/nbf against now_s with `skew_s`. Returns the claims. OSMO_EUNAUTH with the reason. Thread-safe. */
int jwt_verify(const rsa_key_t *k, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims,
               osmo_error_t *err);
/* The kid in the header, "" when there is none. OSMO_EUNAUTH: no JWT; OSMO_ENOTFOUND: one that does not fit into size bytes. */
int jwt_kid(const char *token, size_t len, char *kid, size_t size, osmo_error_t *err);
/* Is the header, byte by byte, the one of tokens that this key signs? */
bool jwt_names(const rsa_key_t *k, const char *token, size_t len);
/* Claims of a JWT without verifying anything: for a client that looks at its own token's exp. */
int jwt_peek(const char *token, size_t len, json_t **claims, osmo_error_t *err);
#endif
