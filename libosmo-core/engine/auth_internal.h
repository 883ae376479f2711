/* Shared by auth.c (secrets, administrator), auth_keys.c (signing keys), auth_tokens.c (exchanges) and, through identity_internal.h,
 * by those who find out who is asking. */
#ifndef ENGINE_AUTH_INTERNAL_H
#define ENGINE_AUTH_INTERNAL_H
#include <pthread.h>
#include "base/crypto.h"
#include "engine/engine.h"

#define ACCESS_TOKEN_LEN 43        /* base64url of 32 bytes */
#define LEGACY_TOKEN_LEN 64        /* hexadecimal of 32 bytes */
#define KID_SIZE 64
#define JWT_SECONDS 300
#define JWT_SKEW_SECONDS 5
#define JWT_MAX_BYTES 16384

struct auth {
    pthread_mutex_t lock;          /* keys, admin_token */
    pthread_cond_t key_changed;
    pthread_t keygen;
    bool keygen_started, key_done; /* key_done: made, or failed with key_error */
    osmo_error_t key_error;
    struct key_set *keys;          /* NULL until there is one */
    uint64_t keys_generation;      /* access_generation() when they were read */
    int64_t looked_us, asked_us;   /* by the steady clock: the last look, and the last for a key that was not known */
    uint8_t master[32];
    char *admin_token;             /* made by this open, until taken */
};
/* ---- auth_keys.c ---- */
int keys_open(engine_t *e, osmo_error_t *err);
void keys_close(engine_t *e);
/* With the key of now; waits while the first one is being made. May look into the store. */
int keys_sign(engine_t *e, const json_t *claims, buf_t *out, osmo_error_t *err);
/* By the key that the token names, or by each one. may_wait: a key that is not known may be looked for in the store. */
int keys_verify(engine_t *e, const char *token, size_t len, int64_t now_s, bool may_wait, json_t **claims, osmo_error_t *err);

/* ---- auth.c ---- */
/* Was the user made administrator by a start of the service, now or once? */
int auth_is_administrator(engine_t *e, const char *user, bool *yes, osmo_error_t *err);
void secret_text_free(char **text); /* overwritten first */
#define _cleanup_secret_ __attribute__((cleanup(secret_text_free)))
/* base64url of 32 bytes: 43 characters and NUL. */
int token_text(const uint8_t secret[32], char out[ACCESS_TOKEN_LEN + 1]);
#endif
