/* Between crypto.c, crypto_jwk.c and crypto_text.c alone: the three parts of a compact JWT. */
#ifndef BASE_CRYPTO_TEXT_H
#define BASE_CRYPTO_TEXT_H
#include "base/crypto.h"

#define TOKEN_MAX (16u << 10)

struct jwt_parts {
    const char *header, *claims, *signature;
    size_t header_len, claims_len, signature_len;
};

int jwt_split(const char *token, size_t len, struct jwt_parts *p, osmo_error_t *err);
/* Decode one part, which must be a JSON object. */
int jwt_part(const char *text, size_t len, json_t **out, osmo_error_t *err);
/* exp and nbf, where there are any. OSMO_EUNAUTH with the reason. */
int jwt_check_times(const json_t *claims, int64_t now_s, int64_t skew_s, osmo_error_t *err);
#endif
