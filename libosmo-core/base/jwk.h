/* Keys of others, by which their tokens are verified: JWKs (RFC 7517) of RSA and P-256, and sets of them. For
 * tokens of identity providers (engine/providers.c). Implemented in base/crypto_jwk.c. Immutable, so that several threads may verify. */
#ifndef BASE_JWK_H
#define BASE_JWK_H
#include "base/json.h"

#define JWK_SET_MAX 100

typedef struct jwk jwk_t;
/* A public key: kty RSA (2048 to 8192 bits: RS256) or EC with crv P-256 (ES256); use, where given, must be sig, and alg the one of the
 * key. OSMO_EINVAL says what is wrong. */
int jwk_read(const json_t *o, jwk_t **out, osmo_error_t *err);
void jwk_free(jwk_t *k);
const char *jwk_kid(const jwk_t *k); /* "" when it has none */
const char *jwk_alg(const jwk_t *k); /* "RS256" or "ES256" */
/* Signature with this key (whose algorithm it is, whatever the header says: another one there is refused), then exp and nbf against
 * now_s with skew_s. *claims is the caller's. OSMO_EUNAUTH with the reason. */
int jwk_verify(const jwk_t *k, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims, osmo_error_t *err);

typedef struct jwk_set jwk_set_t;
/* {"keys": […]}: keys of other kinds are passed over, as the standard says; OSMO_EINVAL when that leaves none. */
int jwk_set_read(const json_t *o, jwk_set_t **out, osmo_error_t *err);
void jwk_set_free(jwk_set_t *s);
size_t jwk_set_len(const jwk_set_t *s);
/* By the key that the token names, or by each one when it names none. OSMO_ENOTFOUND when it names one that is not in the set: the set
 * may be old. */
int jwk_set_verify(const jwk_set_t *s, const char *token, size_t len, int64_t now_s, int64_t skew_s, json_t **claims, osmo_error_t *err);
#endif
