/* Shared by auth.c (keys, secrets, administrator), auth_tokens.c (exchanges) and auth_identify.c (who is asking). */
#ifndef ENGINE_AUTH_INTERNAL_H
#define ENGINE_AUTH_INTERNAL_H
#include <pthread.h>
#include "base/crypto.h"
#include "engine/engine.h"

#define ACCESS_TOKEN_LEN 43        /* base64url of 32 bytes */
#define LEGACY_TOKEN_LEN 64        /* hexadecimal of 32 bytes */
#define JWT_SECONDS 300
#define JWT_SKEW_SECONDS 5
#define JWT_MAX_BYTES 16384
#define CACHE_SETS 256
#define CACHE_WAYS 4

/* A JWT whose signature was verified, by its digest, so that a session pays for RSA once. */
struct cached_jwt { uint8_t hash[32]; int64_t exp_s; uint64_t used; struct identity who; bool full; };
struct auth {
    pthread_mutex_t lock;          /* key, admin_token, cache */
    pthread_cond_t key_changed;
    pthread_t keygen;
    bool keygen_started, key_done; /* key_done: made, or failed with key_error */
    rsa_key_t *key;
    osmo_error_t key_error;
    char kid[37];
    uint8_t master[32];
    char *admin_token;             /* made by this open, until taken */
    uint64_t cache_clock;
    struct cached_jwt cache[CACHE_SETS][CACHE_WAYS];
};
/* Borrowed for the life of the engine; waits while the key is being made. */
int auth_key(struct auth *a, const rsa_key_t **out, osmo_error_t *err);
/* Copies; 0 or OSMO_ENOMEM. */
int identity_copy(const struct identity *from, struct identity *to);
/* base64url of 32 bytes: 43 characters and NUL. */
int token_text(const uint8_t secret[32], char out[ACCESS_TOKEN_LEN + 1]);
#endif
