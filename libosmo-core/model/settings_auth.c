/* service.service_auth of the configuration: who signs tokens for whom, how clients sign in, which identity providers are believed
 * and how often one may ask. Called by settings_sections.c. Keys without a place are accepted, because upstream's files hold them. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/cleanup.h"
#include "model/settings_internal.h"

#define AT(member) offsetof(struct settings, member)
#define PROVIDERS_MAX 16
#define SKEW_MAX_S 300
#define AUDIENCES_MAX 16
#define RATE_MAX 1000000000
#define SECOND_US INT64_C(1000000)

/* ---- addresses of providers ---- */

bool settings_provider_url(const char *url)
{
    bool plain = str_starts(url, "http://");
    if (!plain && !str_starts(url, "https://"))
        return false;
    const char *host = url + (plain ? 7 : 8);
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '#' || *p == '\\')
            return false;
    const char *end = host + strcspn(host, "/?");
    if (host == end || *host == ':' || memchr(host, '@', (size_t)(end - host)))
        return false;
    const char *port = *host == '[' ? strchr(host, ']') : host + strcspn(host, ":/?");
    if (!port || port > end)
        return false;
    port += *port == ']';
    return !plain || host_is_loopback(host, (size_t)(port - host));
}

static void read_url_to(struct reader *r, const yaml_node_t *n, const struct read_path *at, char **out)
{
    char *url = NULL;
    if (!read_text(r, n, at, false, &url))
        return;
    if (!settings_provider_url(url))
        read_report(r, at, n, "is '%.200s': it must begin with https:// (http:// for a provider on this machine only) and name a "
                              "host", url);
    free(*out);
    *out = url;
}

/* ---- how clients sign in ---- */

#define INFO(member) { #member, READ_TEXT, READ_NULLABLE, offsetof(struct login_info, member), NULL }
static const struct read_field info_fields[] = {
    INFO(device_endpoint), INFO(device_client_id), INFO(browser_endpoint),
    INFO(browser_client_id), INFO(token_endpoint), INFO(logout_endpoint),
};
static const struct read_table info_table = READ_TABLE(info_fields, true);

static void read_login_info(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &info_table, &((struct settings *)object)->login_info);
}

/* ---- providers ---- */

static void read_issuer(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_url_to(r, n, at, &((struct provider *)object)->issuer);
}

static void read_jwks_uri(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_url_to(r, n, at, &((struct provider *)object)->jwks_uri);
}

static void read_skew(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t us = 0;
    if (!read_duration(r, n, at, false, &us))
        return;
    if (us < 0 || us > SKEW_MAX_S * SECOND_US)
        read_report(r, at, n, "must be 0 to %d seconds: set the clocks instead", SKEW_MAX_S);
    ((struct provider *)object)->clock_skew_s = us / SECOND_US;
}

/* A client, or several: there may be one for browsers and another one for devices. */
static void read_audience(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    strlist_t *out = &((struct provider *)object)->audiences;
    char *one = NULL;
    if (n->kind == YAML_LIST)
        read_texts(r, n, at, out);
    else if (read_text(r, n, at, false, &one))
        r->oom |= strlist_add(out, one) < 0;
    free(one);
    if (!out->len || out->len > AUDIENCES_MAX || strlist_has(out, ""))
        read_report(r, at, n, "must name a client, or a list of 1 to %d", AUDIENCES_MAX);
}

static const struct read_field provider_fields[] = {
    { "name", READ_TEXT, READ_REQUIRED, offsetof(struct provider, name), NULL },
    { "issuer", READ_CUSTOM, READ_REQUIRED, 0, read_issuer },
    { "audience", READ_CUSTOM, READ_REQUIRED, 0, read_audience },
    { "jwks_uri", READ_CUSTOM, READ_NULLABLE, 0, read_jwks_uri },
    { "user_claim", READ_TEXT, 0, offsetof(struct provider, user_claim), NULL },
    { "roles_claim", READ_TEXT, 0, offsetof(struct provider, roles_claim), NULL },
    { "clock_skew", READ_CUSTOM, 0, 0, read_skew },
};
static const struct read_table provider_table = READ_TABLE(provider_fields, false);

static void need_text(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *key, char **text,
                      const char *fallback)
{
    struct read_path member = { at, key, 0 };
    if (!*text && fallback)
        r->oom |= !(*text = str_dup(fallback));
    else if (*text && !**text)
        read_report(r, &member, n, "must not be empty");
}

static void read_provider(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct provider *p = object;
    p->clock_skew_s = 60;
    read_mapping(r, n, at, &provider_table, p);
    need_text(r, n, at, "name", &p->name, NULL);
    need_text(r, n, at, "user_claim", &p->user_claim, "preferred_username");
    need_text(r, n, at, "roles_claim", &p->roles_claim, "roles");
}

static void providers_clear(struct settings *s)
{
    for (size_t i = 0; i < s->nproviders; i++) {
        struct provider *p = &s->providers[i];
        char *own[] = { p->name, p->issuer, p->jwks_uri, p->user_claim, p->roles_claim };
        for (size_t k = 0; k < ARRAY_SIZE(own); k++)
            free(own[k]);
        strlist_free(&p->audiences);
    }
    free(s->providers);
    s->providers = NULL;
    s->nproviders = 0;
}

static void read_providers(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;
    providers_clear(s);
    if (n->kind == YAML_LIST && n->len > PROVIDERS_MAX) {
        read_report(r, at, n, "has %zu providers, more than the %d there may be", n->len, PROVIDERS_MAX);
        return;
    }
    s->providers = read_list(r, n, at, sizeof(*s->providers), &s->nproviders, read_provider);
}

/* Whoever issued a token is known by its name alone, so no two may share one. */
static void check_issuers(struct reader *r, const yaml_node_t *n, const struct read_path *at, const struct settings *s)
{
    struct read_path list = { at, "providers", 0 };
    for (size_t i = 0; i < s->nproviders; i++) {
        struct read_path item = { &list, NULL, i };
        if (str_eq(s->providers[i].issuer, s->issuer))
            read_report(r, &item, n, "has the issuer of this service's own tokens, %s: change one of them", s->issuer);
        for (size_t k = 0; k < i; k++)
            if (s->providers[i].issuer && str_eq(s->providers[i].issuer, s->providers[k].issuer))
                read_report(r, &item, n, "has the same issuer as provider %zu", k);
    }
}

/* ---- the section ---- */

static void read_bits(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    int64_t *out = &((struct settings *)object)->signing_key_bits;
    if (read_int(r, n, at, out) && *out != 2048 && *out != 3072 && *out != 4096)
        read_report(r, at, n, "must be 2048, 3072 or 4096, it is %lld", (long long)*out);
}

static void read_rate_to(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *out)
{
    if (read_int(r, n, at, out) && (*out < 0 || *out > RATE_MAX))
        read_report(r, at, n, "must be 0 (not limited) to %d, it is %lld", RATE_MAX, (long long)*out);
}

static void read_request_rate(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate_to(r, n, at, &((struct settings *)object)->request_rate);
}

static void read_request_burst(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate_to(r, n, at, &((struct settings *)object)->request_burst);
}

static void read_refused_rate(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_rate_to(r, n, at, &((struct settings *)object)->refused_rate);
}

/* Keys never come from a file: they live in the store. */
static const struct read_field auth_fields[] = {
    { "issuer", READ_TEXT, 0, AT(issuer), NULL },
    { "audience", READ_TEXT, 0, AT(audience), NULL },
    { "ctrl_roles", READ_TEXTS, 0, AT(ctrl_roles), NULL },
    { "max_token_duration", READ_DURATION, 0, AT(max_token_us), NULL },
    { "login_info", READ_CUSTOM, READ_NULLABLE, 0, read_login_info },
    { "providers", READ_CUSTOM, READ_NULLABLE, 0, read_providers },
    { "signing_key_bits", READ_CUSTOM, 0, 0, read_bits },
    { "request_rate", READ_CUSTOM, 0, 0, read_request_rate },
    { "request_burst", READ_CUSTOM, 0, 0, read_request_burst },
    { "refused_rate", READ_CUSTOM, 0, 0, read_refused_rate },
};
static const struct read_table auth_table = READ_TABLE(auth_fields, true);

void settings_read_auth(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct settings *s = object;
    read_mapping(r, n, at, &auth_table, s);
    need_text(r, n, at, "issuer", &s->issuer, NULL);
    need_text(r, n, at, "audience", &s->audience, NULL);
    check_issuers(r, n, at, s);
}

void settings_auth_default(struct settings *s)
{
    s->signing_key_bits = 2048;
    s->request_burst = 200;
    s->refused_rate = 30;
}

void settings_auth_clear(struct settings *s)
{
    struct login_info *l = &s->login_info;
    char *texts[] = { l->device_endpoint, l->device_client_id, l->browser_endpoint, l->browser_client_id, l->token_endpoint,
                      l->logout_endpoint };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    providers_clear(s);
}
