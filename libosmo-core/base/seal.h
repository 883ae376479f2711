/* Sealed texts: compact JWE (RFC 7516) with key wrapping A256GCMKW and content encryption A256GCM (RFC 7518 §4.7, §5.3), for
 * secrets in the store (engine/vault.h). Implemented in base/crypto_seal.c. Thread-safe; what is opened is wiped by
 * its buffer's owner with crypto_wipe. */
#ifndef BASE_SEAL_H
#define BASE_SEAL_H
#include "base/buf.h"
#include "base/json.h"

#define SEAL_KEY_SIZE 32
#define SEAL_KID_MAX 128
#define SEAL_TEXT_MAX (1u << 20) /* bytes of one secret */
struct seal_key { char kid[SEAL_KID_MAX]; uint8_t key[SEAL_KEY_SIZE]; };

/* A new key with a random id. 0 or OSMO_EIO. */
int seal_key_new(struct seal_key *out);
void seal_key_wipe(struct seal_key *k);
/* {"k": base64url, "kid", "kty": "oct"}: reading names what is missing (OSMO_EINVAL), never what is there. */
int seal_key_read(const json_t *jwk, struct seal_key *out, osmo_error_t *err);
json_t *seal_key_json(const struct seal_key *k); /* freed with json_free_secret */
/* The same as text; *out is a secret buffer (base/buf.h). */
int seal_key_write(const struct seal_key *k, buf_t *out, osmo_error_t *err);
int seal_key_parse(const char *text, size_t len, struct seal_key *out, osmo_error_t *err);

/* Appends the sealed text. OSMO_ELIMIT, OSMO_EIO. */
int seal(const struct seal_key *k, const void *data, size_t len, buf_t *out, osmo_error_t *err);
/* Is it a sealed text, and under which key? OSMO_EINVAL when it is none. */
int sealed_kid(const char *text, size_t len, char kid[SEAL_KID_MAX], osmo_error_t *err);
/* Appends what was sealed. OSMO_EINVAL when it is no sealed text, OSMO_EDENIED when it was sealed under another key or changed since. */
int unseal(const struct seal_key *k, const char *text, size_t len, buf_t *out, osmo_error_t *err);
#endif
