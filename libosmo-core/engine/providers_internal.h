/* Shared by providers.c (verification, the thread) and providers_fetch.c (what is asked of a provider). */
#ifndef ENGINE_PROVIDERS_INTERNAL_H
#define ENGINE_PROVIDERS_INTERNAL_H
#include "base/http.h"
#include "base/jwk.h"
#include "model/settings.h"

#define PROVIDER_REFRESH_MIN_S 60
#define PROVIDER_REFRESH_MAX_S 3600
#define PROVIDER_REFRESH_S 600 /* when the provider does not say */

/* The provider's key set, looked up at its issuer unless jwks_uri is given. *fresh_s: after how many seconds it is to be asked for again.
 * Takes a few seconds at most. */
int provider_fetch(http_client_t *http, const struct provider *p, jwk_set_t **keys, int64_t *fresh_s, osmo_error_t *err);
/* max-age of a Cache-Control header's value within the bounds; NULL: none. */
int64_t provider_freshness(const char *cache_control);
#endif
