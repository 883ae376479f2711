/* What a stored credential is for: scopes of registries against images, endpoints of storage against addresses, and what a registry
 * says about its tokens. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "model/credential.h"

#define CHALLENGE_MAX 4096

/* ---- registries ---- */

static bool is_docker(const char *host, size_t len) {
    static const char *const names[] = { "docker.io", "index.docker.io", REGISTRY_DOCKER };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strlen(names[i]) == len && strncasecmp(host, names[i], len) == 0)
            return true;
    return len == 0;
}

/* host in lower case, without the port that is meant anyway, and what follows it. */
static char *spell(const char *host, size_t len, const char *rest, size_t rest_len) {
    if (len > 4 && memcmp(host + len - 4, ":443", 4) == 0 && !memchr(host, ':', len - 4))
        len -= 4;
    char *out = is_docker(host, len) ? str_printf(REGISTRY_DOCKER "%.*s", (int)rest_len, rest)
                                     : str_printf("%.*s%.*s", (int)len, host, (int)rest_len, rest);
    for (char *p = out; p && *p && *p != '/'; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

char *registry_scope(const char *text) {
    const char *end = text + strlen(text);
    text += strspn(text, " \t\r\n");
    while (end > text && strchr(" \t\r\n", end[-1]))
        end--;
    const char *scheme = strstr(text, "://");
    if (scheme && scheme < end)
        text = scheme + 3;
    while (end > text && end[-1] == '/')
        end--;
    size_t host = strcspn(text, "/");
    if (host > (size_t)(end - text))
        host = (size_t)(end - text);
    size_t rest = (size_t)(end - text) - host;
    if (rest == 3 && memcmp(text + host, "/v1", 3) == 0 && is_docker(text, host)) /* how Docker's own files name it */
        rest = 0;
    return spell(text, host, text + host, rest);
}

static bool host_valid(const char *host, size_t len) {
    size_t name = 0;
    while (name < len && (isalnum((unsigned char)host[name]) || host[name] == '.' || host[name] == '-'))
        name++;
    if (name == 0 || name > 253 || host[0] == '.' || host[0] == '-')
        return false;
    if (name == len)
        return true;
    size_t digits = strspn(host + name + 1, "0123456789");
    return host[name] == ':' && digits >= 1 && digits <= 5 && name + 1 + digits == len;
}

bool registry_scope_valid(const char *scope) {
    size_t host = strcspn(scope, "/");
    const char *p = scope + host;
    if (!host_valid(scope, host))
        return false;
    while (*p == '/') {
        size_t len = strspn(++p, "abcdefghijklmnopqrstuvwxyz0123456789._-");
        if (len == 0 || strspn(p, ".") == len)
            return false;
        p += len;
    }
    return *p == '\0';
}

/* Length of the registry before the first '/', 0 without one: dotted, with a port, or localhost. */
static size_t image_host(const char *image) {
    size_t len = strcspn(image, "@"), host = strcspn(image, "/");
    return host < len && (memchr(image, '.', host) || memchr(image, ':', host) ||
                          (host == 9 && memcmp(image, "localhost", 9) == 0)) ? host : 0;
}

/* Where the name ends: before the tag or the digest. */
static size_t image_name_end(const char *image, size_t host) {
    size_t len = strcspn(image, "@");
    const char *colon = NULL;
    for (size_t i = host; i < len; i++)
        if (image[i] == ':' || image[i] == '/')
            colon = image[i] == ':' ? image + i : NULL;
    return colon ? (size_t)(colon - image) : len;
}

char *registry_image_scope(const char *image) {
    size_t host = image_host(image), end = image_name_end(image, host);
    if (!host)
        return str_printf(REGISTRY_DOCKER "/%s%.*s", memchr(image, '/', end) ? "" : "library/", (int)end, image);
    return spell(image, host, image + host, end - host);
}

bool registry_scope_covers(const char *scope, const char *image_scope) {
    size_t len = strlen(scope);
    return len > 0 && strncmp(scope, image_scope, len) == 0 && (image_scope[len] == '\0' || image_scope[len] == '/');
}

int registry_best_scope(const char *const *scopes, size_t n, const char *image_scope) {
    int best = -1;
    for (size_t i = 0; i < n; i++)
        if (scopes[i] && registry_scope_covers(scopes[i], image_scope) &&
            (best < 0 || strlen(scopes[i]) > strlen(scopes[best])))
            best = (int)i;
    return best;
}

void image_reference_clear(struct image_reference *r) {
    free(r->host);
    free(r->repository);
    free(r->reference);
    *r = (struct image_reference){ 0 };
}

int image_reference_parse(const char *image, struct image_reference *out) {
    size_t host = image_host(image), end = image_name_end(image, host);
    const char *at = strchr(image, '@'), *name = image + (host ? host + 1 : 0), *tag = image + end;
    *out = (struct image_reference){ .pinned = at != NULL };
    if (name >= tag)
        return OSMO_EINVAL;
    size_t len = (size_t)(tag - name);
    out->host = spell(image, host, "", 0);
    /* Docker's own images are in its library, however they are called. */
    bool library = out->host && strcmp(out->host, REGISTRY_DOCKER) == 0 && !memchr(name, '/', len);
    out->repository = str_printf("%s%.*s", library ? "library/" : "", (int)len, name);
    out->reference = at ? str_dup(at + 1) : *tag == ':' ? str_dup(tag + 1) : str_dup("latest");
    if (out->host && out->repository && out->reference)
        return *out->reference ? 0 : OSMO_EINVAL;
    image_reference_clear(out);
    return OSMO_ENOMEM;
}

/* ---- tokens of registries (RFC 6750 §3, as the registry API uses it) ---- */

void bearer_challenge_clear(struct bearer_challenge *c) {
    free(c->realm);
    free(c->service);
    free(c->scope);
    *c = (struct bearer_challenge){ 0 };
}

/* A token or quoted string at *p; malloc'ed, NULL when there is none. */
static char *challenge_value(const char **p) {
    const char *s = *p;
    if (*s != '"') {
        size_t len = strcspn(s, ", \t");
        *p = s + len;
        return strndup(s, len);
    }
    char *out = malloc(strlen(s)), *to = out;
    for (s++; out && *s && *s != '"'; s++) {
        if (*s == '\\' && s[1])
            s++;
        *to++ = *s;
    }
    if (!out || *s != '"') {
        free(out);
        return NULL;
    }
    *to = '\0';
    *p = s + 1;
    return out;
}

int bearer_challenge_parse(const char *header, struct bearer_challenge *out) {
    *out = (struct bearer_challenge){ 0 };
    if (strlen(header) > CHALLENGE_MAX || strncasecmp(header, "Bearer ", 7) != 0)
        return OSMO_EINVAL;
    for (const char *p = header + 7; *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, "=, \t");
        if (!len || p[len] != '=')
            break;
        char **slot = len == 5 && strncasecmp(p, "realm", 5) == 0     ? &out->realm
                      : len == 7 && strncasecmp(p, "service", 7) == 0 ? &out->service
                      : len == 5 && strncasecmp(p, "scope", 5) == 0   ? &out->scope
                                                                      : NULL;
        p += len + 1;
        char *value = challenge_value(&p);
        if (!value)
            break;
        if (slot && !*slot)
            *slot = STEAL(value);
        free(value);
    }
    if (out->realm && *out->realm)
        return 0;
    bearer_challenge_clear(out);
    return OSMO_EINVAL;
}

/* ---- storage ---- */

static const struct { const char *scheme; int parts; bool closed; } schemes[] = {
    { "s3://", 1, false }, { "gs://", 1, true }, { "azure://", 1, false }, { "tos://", 2, true }, { "swift://", 2, true },
};

bool data_endpoint_valid(const char *endpoint, const char **why) {
    *why = "is none: it is s3://BUCKET, gs://BUCKET, azure://ACCOUNT, tos://HOST/BUCKET or swift://HOST/ACCOUNT";
    if (strncasecmp(endpoint, "http://", 7) == 0 || strncasecmp(endpoint, "https://", 8) == 0) {
        *why = "is a web address: name the bucket, such as s3://BUCKET, and give the address as override_url";
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
        if (!str_starts(endpoint, schemes[i].scheme))
            continue;
        const char *p = endpoint + strlen(schemes[i].scheme);
        int parts = 0;
        while (*p && *p != '/') {
            size_t len = strcspn(p, "/,;*");
            if (p[len] && p[len] != '/')
                return false;
            parts++;
            p += len;
            if (*p == '/' && p[1] && p[1] != '/')
                p++;
        }
        return parts >= schemes[i].parts && p[strspn(p, "/")] == '\0';
    }
    return false;
}

size_t data_profile_len(const char *url) {
    const char *p = strstr(url, "://");
    if (!p)
        return strlen(url);
    p += 3;
    p += strcspn(p, "/");
    if (*p && (str_starts(url, "tos://") || str_starts(url, "swift://")))
        p += 1 + strcspn(p + 1, "/");
    return (size_t)(p - url);
}

bool data_profile_covers(const char *profile, const char *url) {
    size_t len = data_profile_len(url);
    return strlen(profile) == len && memcmp(profile, url, len) == 0;
}

bool data_needs_credential(const char *url) {
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (str_starts(url, schemes[i].scheme))
            return schemes[i].closed;
    return false;
}
