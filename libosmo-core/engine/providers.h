/* Tokens of OpenID Connect providers: their key sets, fetched and renewed by a thread of its own, and the verification of tokens by
 * issuer, audience, times and signature. A token that names an unknown key makes the thread fetch once more, at most every 30 seconds a
 * provider. Thread-safe; verification never waits for the network. */
#ifndef ENGINE_PROVIDERS_H
#define ENGINE_PROVIDERS_H
#include "engine/engine.h"

int providers_open(engine_t *e, osmo_error_t *err); /* after config_open; follows reloads of the settings */
void providers_close(engine_t *e);
/* The settings were loaded again. */
void providers_follow(engine_t *e);
/* Is there one of this issuer? */
bool providers_know(engine_t *e, const char *issuer);
/* *user and *external (its roles there, checked) from the claims that the provider is configured with; *exp_s. OSMO_EUNAUTH; OSMO_EUNAVAIL
 * while its keys are being fetched: again in a moment. */
int providers_verify(engine_t *e, const char *token, size_t len, char **user, strlist_t *external, int64_t *exp_s, osmo_error_t *err);
/* Waits, at most timeout_ms, until the keys of all have been fetched or have failed; for tests. */
void providers_settle(engine_t *e, int64_t timeout_ms);
#endif
