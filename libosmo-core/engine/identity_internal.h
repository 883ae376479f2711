/* Who is asking, as its files share it: the door (auth_identify.c), what is remembered (auth_cache.c), what the store says now
 * (auth_confirm.c), open websockets (auth_sessions.c), development mode (auth_dev.c), gateways (auth_gateway.c), the backend token
 * directory (auth_backend.c). */
#ifndef ENGINE_IDENTITY_INTERNAL_H
#define ENGINE_IDENTITY_INTERNAL_H
#include <pthread.h>
#include "engine/auth_internal.h"
#include "store/repo_auth.h"

#define MAX_USER_BYTES 256
#define MAX_ROLES 256
#define MAX_EXTERNAL 1024 /* who comes with more is refused: the one too many could be the one that denies something */
#define LOGIN_HINT "log in with: osmo login"
#define ROLE_OF_BACKENDS "osmo-backend"
#define BACKEND_USER_PREFIX "backend-operator-"
#define BACKEND_TOKEN_PREFIX "backend-bootstrap-"
#define BACKEND_NAME_MAX 63

struct cache;
struct gateways;
struct backend_tokens;
struct lookups;
struct sessions;
struct identities {
    struct cache *cache;
    struct gateways *gateways;             /* NULL: none is trusted */
    struct backend_tokens *backend_tokens; /* NULL: no directory */
    struct lookups *lookups;
    struct sessions *sessions;
};

/* A user or role as a name: not empty, at most 256 bytes, as str_is_plain() has it; a role also without a comma, which could pass for two
 * of them further on. */
bool identity_name_usable(const char *name);
bool identity_role_usable(const char *role);
/* May a provider or a gateway have a user of this name? Those of backends are nobody's. */
bool identity_is_foreign(const char *user);
int identity_set_text(char **to, const char *from); /* NULL is NULL; 0 or OSMO_ENOMEM */
/* The fixed identity of a credential of the token directory. 0 or OSMO_ENOMEM; a partly filled one is cleared by the caller. */
int identity_of_backend(const char *name, struct identity *out);
/* Is it the name of such an identity? Then its backend. */
const char *identity_backend_of(const char *user, const char *token_name);

/* ---- identity_json.c: in the store. NULL: no memory. What is read is cleared by the caller ---- */
char *identity_to_json(const struct identity *id);
int identity_from_json(const char *text, struct identity *out, osmo_error_t *err);

/* ---- auth_cache.c: identities by the digest of what proved them; thread-safe ---- */
int cache_new(struct cache **out);
void cache_free(struct cache *c);
/* A copy of what was put, while now_s < *until_s, when it ends. */
bool cache_get(struct cache *c, const uint8_t hash[32], int64_t now_s, struct identity *out, int64_t *until_s);
/* Forget those of a kind: what they were proved by counts no more. */
void cache_drop(struct cache *c, enum identity_kind kind);
/* Best effort. */
void cache_put(struct cache *c, const uint8_t hash[32], int64_t until_s, const struct identity *who);

/* ---- auth_dev.c ---- */
int dev_identify(const osmo_request_t *rq, struct identity *out, osmo_error_t *err);

/* ---- auth_gateway.c ---- */
/* list: addresses and blocks, comma separated; NULL or "" gives NULL. OSMO_EINVAL names the entry. */
int gateways_parse(const char *list, struct gateways **out, osmo_error_t *err);
void gateways_free(struct gateways *g);
bool gateways_trust(const struct gateways *g, const char *peer);
/* From the x-osmo-* headers of a trusted peer; not confirmed. OSMO_EUNAUTH: there is no user, or something is no name. */
int gateway_identify(const osmo_request_t *rq, struct identity *out, osmo_error_t *err);
/* What tells one such identity from another, for the cache. */
int gateway_digest(const struct identity *who, uint8_t hash[32]);

/* ---- auth_backend.c ---- */
int backend_tokens_open(engine_t *e, const char *dir, struct backend_tokens **out, osmo_error_t *err);
void backend_tokens_close(struct backend_tokens *t);
/* The backend whose token it is, and what tells the token from others of that backend. Looks at the directory. */
bool backend_tokens_find(engine_t *e, const char *token, size_t len, char name[BACKEND_NAME_MAX + 1], char id[17]);
/* Does the backend have the token of this id still, or one at all (id ""). Looks at the directory. */
bool backend_tokens_hold(engine_t *e, const char *name, const char *id);

/* ---- auth_tokens.c ---- */
/* An access token (43 or 64 characters): of the directory, else of the store. The identity is confirmed. OSMO_EUSER. */
int token_identify(engine_t *e, const char *token, size_t len, struct identity *out, osmo_error_t *err);

/* ---- auth_confirm.c ---- */
/* Roles of an access token, and those of its user that it does not have, instead of what *who had. */
int identity_token_roles(db_t *db, const char *user, const char *name, struct identity *who, osmo_error_t *err);

/* ---- the look-ups that a thread makes for those that must not wait (auth_lookup.c) ---- */
int lookups_open(engine_t *e, osmo_error_t *err);
void lookups_close(engine_t *e);
/* Find out who has this access token, or confirm this identity, which its proof keeps until until_s: the answer is in the cache then, as
 * an identity of kind IDENTITY_NONE when there is none. Copies; dropped when too many wait, or the same one does. */
void lookups_want(engine_t *e, const uint8_t hash[32], const char *token, const struct identity *who, int64_t until_s);
/* Open sessions are to be gone through. */
void lookups_sweep(engine_t *e);

/* ---- auth_sessions.c ---- */
int sessions_open(engine_t *e, osmo_error_t *err);
void sessions_close(engine_t *e);
/* Closes those whose identity counts no more or is not allowed any more. Blocks on the store. */
void sessions_sweep(engine_t *e);
bool sessions_any(engine_t *e);
#endif
