/* What users stored for their workflows: sealed on the way in, opened only where pods are built, registries are asked or logs are
 * masked, and wiped behind that. For api/, submit*.c and agent_frames.c. */
#ifndef ENGINE_CREDENTIALS_H
#define ENGINE_CREDENTIALS_H
#include "engine/engine.h"
#include "model/credential.h"
#include "model/pods.h"
#include "model/spec.h"
#include "store/repo_auth.h"

#define CREDENTIALS_PER_USER 500
#define CREDENTIALS_BYTES (6u << 20) /* of one user together, sealed: they are read together */

/* Replaces what the user has of this name, and of this registry or address. OSMO_ECREDENTIAL, OSMO_EUSER. */
int credentials_store(engine_t *e, const char *user, const char *name, const struct credential *c, osmo_error_t *err);
/* *out is what was removed, its payload cleared. OSMO_EUSER when there is none. */
int credentials_remove(engine_t *e, const char *user, const char *name, struct credential_row *out, osmo_error_t *err);

/* Some of them in the clear; the lists belong together. */
struct credentials {
    struct pod_credential *list;
    size_t n;
    struct credential_row *rows;
    size_t nrows;
    json_t **payloads; /* of rows: sealed, they hold the keys */
};
typedef bool (*credentials_wanted_fn)(const void *ctx, const struct credential_row *row);
/* Those that are wanted, by DATA, REGISTRY, GENERIC and name. OSMO_ECREDENTIAL names one that cannot be opened any more. */
int credentials_open(engine_t *e, db_t *db, const char *user, credentials_wanted_fn wanted, const void *ctx,
                     struct credentials *out, osmo_error_t *err);
/* All of them but those that cannot be opened any more. */
int credentials_open_readable(engine_t *e, db_t *db, const char *user, struct credentials *out, osmo_error_t *err);
/* What the pods of a group are given: all registries and addresses, and what its tasks name. */
int credentials_of_group(engine_t *e, db_t *db, const char *user, const struct spec *group, struct credentials *out,
                         osmo_error_t *err);
void credentials_wipe(struct credentials *c);
/* The value of a key; NULL without. */
const char *credentials_value(const struct pod_credential *c, const char *key);
#endif
