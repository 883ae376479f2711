/* What is asked of an identity provider: its discovery document (OpenID Connect Discovery 1.0 §4), which must speak of the issuer that is
 * configured, and its key set. Addresses are https, or on this machine. Called by the thread of providers.c. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "engine/providers_internal.h"

#define ANSWER_TIMEOUT_MS 5000
#define DOCUMENT_MAX (1u << 20)

int64_t provider_freshness(const char *cache_control) {
    int64_t age = PROVIDER_REFRESH_S;
    for (const char *p = cache_control; p && *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " \t");
        if (!strncasecmp(p, "no-store", 8) || !strncasecmp(p, "no-cache", 8))
            return PROVIDER_REFRESH_MIN_S;
        if (strncasecmp(p, "max-age=", 8))
            continue;
        const char *digits = p + 8 + (p[8] == '"');
        char *end;
        long long v = strtoll(digits, &end, 10);
        if (end > digits && *digits >= '0' && *digits <= '9')
            age = v;
    }
    return age < PROVIDER_REFRESH_MIN_S ? PROVIDER_REFRESH_MIN_S : age > PROVIDER_REFRESH_MAX_S ? PROVIDER_REFRESH_MAX_S : age;
}

static int get_json(http_client_t *http, const char *url, json_t **out, int64_t *fresh_s, osmo_error_t *err) {
    static const char *const headers[] = { "Accept: application/json", NULL };
    http_request_t rq = { .method = "GET", .url = url, .headers = headers, .timeout_ms = ANSWER_TIMEOUT_MS,
                          .connect_timeout_ms = ANSWER_TIMEOUT_MS, .max_response = DOCUMENT_MAX, .direct = str_starts(url, "http://") };
    http_response_t rs = { 0 };
    osmo_error_t reason = OSMO_ERROR_INIT;
    http_client_set_hints(http, "", NULL); /* no osmo-service is asked here */
    int rc = http_perform(http, &rq, &rs, &reason);
    if (rc < 0)
        osmo_error_set(err, rc, "%.300s: %.400s", url, reason.text);
    else if (rs.status != 200)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "%.300s answered HTTP %d", url, rs.status);
    else if (json_parse(rs.body.data, rs.body.len, out, &reason) < 0 || json_kind(*out) != JSON_OBJECT)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "%.300s did not answer with a JSON object", url);
    if (rc >= 0)
        *fresh_s = provider_freshness(http_response_header(&rs, "Cache-Control"));
    http_response_free(&rs);
    return rc;
}

/* *uri is malloc'ed. */
static int discover(http_client_t *http, const struct provider *p, char **uri, osmo_error_t *err) {
    size_t len = strlen(p->issuer);
    while (len && p->issuer[len - 1] == '/')
        len--;
    _cleanup_free_ char *url = str_printf("%.*s/.well-known/openid-configuration", (int)len, p->issuer);
    _cleanup_json_ json_t *document = NULL;
    int64_t ignored;
    int rc = url ? get_json(http, url, &document, &ignored, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0)
        return rc;
    const char *issuer = json_get_str(document, "issuer"), *keys = json_get_str(document, "jwks_uri");
    if (!str_eq(issuer, p->issuer))
        return osmo_error_set(err, OSMO_EUNAVAIL, "%.300s speaks of the issuer '%.200s': the configured one must be the very same text",
                              url, issuer ? issuer : "");
    if (!keys || !settings_provider_url(keys))
        return osmo_error_set(err, OSMO_EUNAVAIL, "%.300s names no usable jwks_uri: it must begin with https://", url);
    *uri = str_dup(keys);
    return *uri ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int provider_fetch(http_client_t *http, const struct provider *p, jwk_set_t **keys, int64_t *fresh_s, osmo_error_t *err) {
    _cleanup_free_ char *uri = NULL;
    _cleanup_json_ json_t *document = NULL;
    osmo_error_t reason = OSMO_ERROR_INIT;
    int rc = 0;
    if (!p->jwks_uri)
        rc = discover(http, p, &uri, err);
    const char *url = p->jwks_uri ? p->jwks_uri : uri;
    if (rc >= 0)
        rc = get_json(http, url, &document, fresh_s, err);
    if (rc >= 0 && (rc = jwk_set_read(document, keys, &reason)) < 0)
        osmo_error_set(err, rc == OSMO_ENOMEM ? rc : OSMO_EUNAVAIL, "%.300s: %.400s", url, reason.text);
    return rc;
}
