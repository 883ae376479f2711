/* Keys of others and tokens of any kind, good and bad, made by OpenSSL itself, so that what verifies them is tested against something else
 * than itself. For tests of identities. */
#ifndef TESTS_FORGE_H
#define TESTS_FORGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct forge_key forge_key_t;
enum forge_kind { FORGE_RSA, FORGE_EC };
forge_key_t *forge_key_new(enum forge_kind kind, const char *kid);
/* A private RSA key of ours. */
forge_key_t *forge_key_pem(const char *pem);
void forge_key_free(forge_key_t *k);
/* Its public half as a JWK with its kid, and as PEM; the caller frees. */
char *forge_jwk(const forge_key_t *k);
char *forge_public_pem(const forge_key_t *k);
/* A token of the claims (JSON text), signed as the key does: RS256 or ES256, with its kid. The caller frees. */
char *forge_token(const forge_key_t *k, const char *claims);
/* The same with a header of one's own; the signature is what the key makes. */
char *forge_token_as(const forge_key_t *k, const char *header, const char *claims);
/* HS256 with these bytes as the secret, and no signature at all. */
char *forge_hs256(const char *secret, const char *claims);
char *forge_unsigned(const char *claims);
#endif
