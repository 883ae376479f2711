/* A service that demands identities, on SQLite or PostgreSQL, with a user and her tokens. For test_identity*, test_backend_tokens and
 * test_providers. */
#ifndef TESTS_IDENTITY_FIXTURE_H
#define TESTS_IDENTITY_FIXTURE_H
#include "base/cleanup.h"
#include "base/clock.h"
#include "forge.h"
#include "logs_fixture.h"
#include "signing_key.h"
#include "store/repo_auth.h"

#define MAYAS_TOKEN "mayamayamayamayamayamayamayamayamayamayamay" /* "laptop": osmo-user */
#define EASTS_TOKEN "easteasteasteasteasteasteasteasteasteasteas" /* "edge" of maya: osmo-backend, for backend east only */
#define UNKNOWN_TOKEN "unknownunknownunknownunknownunknownunknownu"

/* On PostgreSQL when on_pgsql is set. config is the text of the configuration file or NULL; change may set further options. */
bool identity_open(struct fixture *f, const char *config, void (*change)(osmo_service_options_t *o));
/* maya: osmo-user and osmo-backend, and the two tokens. */
bool identity_seed(struct fixture *f);
/* Runs in a transaction, then access_changed(). */
bool identity_change(struct fixture *f, store_fn fn, const void *ctx);
/* The JWT for an access token, or NULL; the caller frees. */
char *identity_login(struct fixture *f, const char *token);
/* The status for GET /api/profile/settings with this token; *user (may be NULL) who it was. */
int identity_status(struct fixture *f, const char *token, char **user);
/* A GET of the path from a peer with headers as they are. */
int identity_from(struct fixture *f, const char *peer, const char *path, const char *const *headers, char **user);
/* The same until the status is that one, for what takes effect in a moment; false when it never does. */
bool identity_becomes(struct fixture *f, const char *token, int status);
/* An upgrade of the heartbeat socket of a backend; *status what it was refused with. */
osmo_ws_t *identity_socket(struct fixture *f, const char *token, const char *backend, uint64_t conn, int *status);
/* The code that a connection was closed with, waiting for it, 0 when it is not. */
int identity_close_code(struct fixture *f, uint64_t conn);
/* Claims of a JWT of the service for maya's token "laptop" with `more` members ("" or ",\"a\":1") behind; times relative to now. */
char *identity_claims(const char *iss, const char *aud, int iat, int nbf, int exp, const char *more);
void identity_both(void (*body)(void)); /* on both databases */
#endif
