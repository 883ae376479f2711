/* Who is asking: the door for requests and upgrades. A JWT that this service signed, an access token itself, a token of a configured
 * identity provider, or what a trusted gateway says when there is no token; headers by which clients name themselves count for nothing
 * else. The key decides the algorithm, never the token, and the issuer decides the keys. What was proved is remembered (auth_cache.c) and
 * compared with the store (auth_confirm.c). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/identity_internal.h"
#include "engine/providers.h"

/* ---- identities ---- */

void identity_clear(struct identity *id) {
    free(id->user);
    free(id->backend);
    strlist_free(&id->roles);
    strlist_free(&id->external);
    strlist_free(&id->left_out);
    free(id->token_name);
    free(id->workflow_id);
    free(id->task_name);
    free(id->group_name);
    memset(id, 0, sizeof *id);
}

int identity_set_text(char **to, const char *from) {
    *to = str_dup(from);
    return from && !*to ? OSMO_ENOMEM : 0;
}

static int copy_list(const strlist_t *from, strlist_t *to) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < from->len; i++)
        rc = strlist_add(to, from->items[i]);
    return rc;
}

int identity_copy(const struct identity *from, struct identity *to) {
    *to = (struct identity){ .kind = from->kind, .token_expires_us = from->token_expires_us, .retry_id = from->retry_id,
                             .issued_s = from->issued_s, .made_us = from->made_us, .generation = from->generation,
                             .confirmed_us = from->confirmed_us, .stale = from->stale };
    memcpy(to->token_id, from->token_id, sizeof to->token_id);
    int failed = identity_set_text(&to->user, from->user) | identity_set_text(&to->token_name, from->token_name);
    failed |= identity_set_text(&to->backend, from->backend);
    failed |= identity_set_text(&to->workflow_id, from->workflow_id) | identity_set_text(&to->task_name, from->task_name);
    failed |= identity_set_text(&to->group_name, from->group_name);
    failed |= copy_list(&from->roles, &to->roles) | copy_list(&from->external, &to->external);
    failed |= copy_list(&from->left_out, &to->left_out);
    if (!failed)
        return 0;
    identity_clear(to);
    return OSMO_ENOMEM;
}

bool identity_name_usable(const char *name) {
    size_t len = name ? strnlen(name, MAX_USER_BYTES + 1) : 0;
    return len && len <= MAX_USER_BYTES && str_is_plain(name);
}

bool identity_role_usable(const char *role) {
    return identity_name_usable(role) && !strchr(role, ',');
}

bool identity_is_foreign(const char *user) { return !str_starts(user, BACKEND_USER_PREFIX); }

const char *identity_backend_of(const char *user, const char *token_name) {
    if (!user || !token_name || !str_starts(user, BACKEND_USER_PREFIX) || !str_starts(token_name, BACKEND_TOKEN_PREFIX))
        return NULL;
    const char *backend = user + strlen(BACKEND_USER_PREFIX);
    return *backend && str_eq(backend, token_name + strlen(BACKEND_TOKEN_PREFIX)) ? backend : NULL;
}

int identity_of_backend(const char *name, struct identity *out) {
    out->kind = IDENTITY_BACKEND;
    out->user = str_printf(BACKEND_USER_PREFIX "%s", name);
    out->token_name = str_printf(BACKEND_TOKEN_PREFIX "%s", name);
    out->backend = str_dup(name);
    return out->user && out->token_name && out->backend ? strlist_add(&out->roles, ROLE_OF_BACKENDS) : OSMO_ENOMEM;
}

/* ---- what the request carries ---- */

static const char *const identity_headers[] = { "authorization", "x-osmo-auth", "x-osmo-user", "x-osmo-roles", "x-osmo-token-name",
                                                "x-osmo-workflow-id", "x-osmo-allowed-pools" };

bool auth_is_identity_header(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(identity_headers); i++) {
        if (!strcasecmp(name, identity_headers[i]))
            return true;
    }
    return false;
}

static const char *after_scheme(const char *value) {
    if (strncasecmp(value, "Bearer", 6) || (value[6] != ' ' && value[6]))
        return NULL;
    return value + 6 + strspn(value + 6, " ");
}

/* Authorization: Bearer, else x-osmo-auth. Somebody in front of us may have looked at another one of two than we would: only one may be
 * there, or the same twice. *token NULL: none. */
static int find_token(const osmo_request_t *rq, const char **token, osmo_error_t *err) {
    const char *bearer = NULL, *own = NULL;
    unsigned authorizations = 0, owns = 0;
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2) {
        if (!strcmp(h[0], "authorization")) {
            authorizations++;
            bearer = after_scheme(h[1]);
        } else if (!strcmp(h[0], "x-osmo-auth")) {
            owns++;
            own = h[1];
        }
    }
    bearer = bearer && *bearer ? bearer : NULL;
    own = own && *own ? own : NULL;
    if (authorizations > 1 || owns > 1 || (bearer && own && strcmp(bearer, own)))
        return osmo_error_set(err, OSMO_EUNAUTH, "the request carries more than one token; send one, as Authorization: Bearer TOKEN");
    *token = bearer ? bearer : own;
    return 0;
}

/* ---- JWTs of ours ---- */

static bool audience_matches(const json_t *claims, const char *audience) {
    const json_t *aud = json_get(claims, "aud");
    if (json_kind(aud) != JSON_ARRAY)
        return str_eq(json_str(aud), audience);
    for (size_t i = 0; i < json_len(aud); i++) {
        if (str_eq(json_str(json_at(aud, i)), audience))
            return true;
    }
    return false;
}

static int check_claims(engine_t *e, const json_t *claims, int64_t now_s, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool ours = str_eq(json_get_str(claims, "iss"), s->issuer) && audience_matches(claims, s->audience);
    engine_settings_put(s);
    int64_t issued = json_get_int(claims, "iat", 0);
    if (!ours || json_get_int(claims, "exp", 0) <= 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token was not issued for this service; " LOGIN_HINT);
    if (issued <= 0 || issued > now_s + JWT_SKEW_SECONDS)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token was issued in the future or at no time; check the clocks, then " LOGIN_HINT);
    if (!identity_name_usable(json_get_str(claims, "unique_name")))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token names no user; " LOGIN_HINT);
    return 0;
}

/* Every token we issue is that of an access token, a backend or a task: what ends it is known. */
static enum identity_kind kind_of(const json_t *claims) {
    const char *token = json_get_str(claims, "osmo_token_name"), *backend = json_get_str(claims, "osmo_backend");
    if (json_has(claims, "osmo_workflow_id")) {
        bool whole = json_get_str(claims, "osmo_workflow_id") && json_get_str(claims, "osmo_task_name") &&
                     json_get_str(claims, "osmo_group_name") && json_get_int(claims, "osmo_retry_id", -1) >= 0;
        return whole ? IDENTITY_TASK : IDENTITY_NONE;
    }
    if (json_has(claims, "osmo_backend_token")) {
        const char *id = json_get_str(claims, "osmo_backend_token");
        bool fits = backend && str_eq(identity_backend_of(json_get_str(claims, "unique_name"), token), backend);
        return fits && id && *id ? IDENTITY_BACKEND : IDENTITY_NONE;
    }
    return token ? IDENTITY_TOKEN : IDENTITY_NONE;
}

static int identity_from_claims(const json_t *claims, struct identity *out) {
    const json_t *roles = json_get(claims, "roles");
    const char *id = json_get_str(claims, "osmo_backend_token");
    out->kind = kind_of(claims);
    int failed = identity_set_text(&out->user, json_get_str(claims, "unique_name"));
    failed |= identity_set_text(&out->token_name, json_get_str(claims, "osmo_token_name"));
    failed |= identity_set_text(&out->backend, json_get_str(claims, "osmo_backend"));
    failed |= identity_set_text(&out->workflow_id, json_get_str(claims, "osmo_workflow_id"));
    failed |= identity_set_text(&out->task_name, json_get_str(claims, "osmo_task_name"));
    failed |= identity_set_text(&out->group_name, json_get_str(claims, "osmo_group_name"));
    out->retry_id = json_get_int(claims, "osmo_retry_id", 0);
    out->token_expires_us = json_get_int(claims, "osmo_token_expires_at", 0) * 1000000;
    out->issued_s = json_get_int(claims, "iat", 0);
    out->made_us = json_get_int(claims, "osmo_token_made_us", 0);
    snprintf(out->token_id, sizeof out->token_id, "%s", id ? id : "");
    for (size_t i = 0; !failed && i < json_len(roles) && i < MAX_ROLES; i++) {
        const char *role = json_str(json_at(roles, i));
        if (identity_role_usable(role))
            failed = strlist_add(&out->roles, role);
    }
    return failed ? OSMO_ENOMEM : 0;
}

/* ---- any token ---- */

struct proof { const char *token; size_t len; uint8_t hash[32]; int64_t until_s; bool wait; };

static int prove_own(engine_t *e, struct proof *p, int64_t now_s, struct identity *out, osmo_error_t *err) {
    _cleanup_json_ json_t *claims = NULL;
    osmo_error_t reason = OSMO_ERROR_INIT;
    int rc = keys_verify(e, p->token, p->len, now_s, p->wait, &claims, &reason);
    if (rc == OSMO_ENOMEM || rc == OSMO_EUNAVAIL)
        return osmo_error_set(err, rc, "%s", reason.text);
    if (rc < 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not valid (%s); " LOGIN_HINT, reason.text);
    rc = check_claims(e, claims, now_s, err);
    if (rc < 0)
        return rc;
    rc = identity_from_claims(claims, out);
    if (rc < 0)
        return osmo_error_set(err, rc, "out of memory");
    if (out->kind == IDENTITY_NONE)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is neither that of an access token nor of a task or a backend; " LOGIN_HINT);
    p->until_s = json_get_int(claims, "exp", 0) + JWT_SKEW_SECONDS;
    return 0;
}

static bool is_access_token(const struct proof *p) {
    return (p->len == ACCESS_TOKEN_LEN || p->len == LEGACY_TOKEN_LEN) && !memchr(p->token, '.', p->len);
}

static int ask_again(osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUNAVAIL, "who is asking is being looked up: connect again in a moment");
}

static int prove_access_token(engine_t *e, struct proof *p, int64_t now_s, struct identity *out, osmo_error_t *err) {
    if (!p->wait) {
        lookups_want(e, p->hash, p->token, NULL, 0);
        return ask_again(err);
    }
    int rc = token_identify(e, p->token, p->len, out, err);
    if (rc == OSMO_EUSER && err)
        err->code = rc = OSMO_EUNAUTH;
    p->until_s = out->token_expires_us ? out->token_expires_us / 1000000 : now_s + JWT_SECONDS;
    return rc == OSMO_EUSER ? OSMO_EUNAUTH : rc;
}

static int prove_foreign(engine_t *e, struct proof *p, struct identity *out, osmo_error_t *err) {
    int rc = providers_verify(e, p->token, p->len, &out->user, &out->external, &p->until_s, err);
    if (rc < 0)
        return rc;
    out->kind = IDENTITY_PROVIDER;
    if (!identity_is_foreign(out->user))
        return osmo_error_set(err, OSMO_EUNAUTH, "a provider cannot vouch for user %.256s: names that begin so are those of backends",
                              out->user);
    if (p->wait)
        return 0;
    lookups_want(e, p->hash, NULL, out, p->until_s);
    return ask_again(err);
}

/* By its shape and by who says that he issued it, before anything is believed. */
static int prove(engine_t *e, struct proof *p, int64_t now_s, struct identity *out, osmo_error_t *err) {
    _cleanup_json_ json_t *claims = NULL;
    if (is_access_token(p))
        return prove_access_token(e, p, now_s, out, err);
    if (jwt_peek(p->token, p->len, &claims, NULL) < 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not valid (it is no token of this service); " LOGIN_HINT);
    const char *issuer = json_get_str(claims, "iss");
    if (issuer && providers_know(e, issuer))
        return prove_foreign(e, p, out, err);
    if (!p->wait && !auth_is_ready(e))
        return ask_again(err);
    return prove_own(e, p, now_s, out, err);
}

/* ---- the door ---- */

/* Of a token that is genuine and counts no more, whose it was, for the record. */
static void keep_name(struct identity *who) {
    who->kind = IDENTITY_NONE;
    strlist_free(&who->roles);
    strlist_free(&who->external);
    strlist_free(&who->left_out);
}

/* Who waits must not have anything confirmed later. What was learnt is remembered either way. */
static int conclude(engine_t *e, const struct proof *p, bool remembered, struct identity *out, osmo_error_t *err) {
    struct cache *c = e->identities->cache;
    int64_t before = out->confirmed_us;
    int rc = p->wait ? auth_confirm(e, out, err) : 0;
    if (rc >= 0 && (!remembered || out->confirmed_us != before))
        cache_put(c, p->hash, p->until_s, out);
    if (rc == OSMO_EUNAUTH)
        keep_name(out);
    else if (rc < 0)
        identity_clear(out);
    return rc;
}

static int identify_token(engine_t *e, const char *token, bool wait, struct identity *out, osmo_error_t *err) {
    struct proof p = { .token = token, .len = strnlen(token, JWT_MAX_BYTES + 1), .wait = wait };
    int64_t now_s = engine_now(e) / 1000000;
    if (p.len > JWT_MAX_BYTES)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is too long; " LOGIN_HINT);
    crypto_sha256(token, p.len, p.hash);
    bool remembered = cache_get(e->identities->cache, p.hash, now_s, out, &p.until_s);
    if (remembered && out->kind == IDENTITY_NONE) { /* by auth_lookup.c: it was refused just now */
        if (!wait)
            return osmo_error_set(err, OSMO_EUNAUTH, "the token is not known to this service any more; " LOGIN_HINT);
        identity_clear(out);
        remembered = false;
    }
    int rc = remembered ? 0 : prove(e, &p, now_s, out, err);
    if (rc >= 0)
        return conclude(e, &p, remembered, out, err);
    identity_clear(out);
    return rc;
}

static int identify_by_gateway(engine_t *e, const osmo_request_t *rq, bool wait, struct identity *out, osmo_error_t *err) {
    struct proof p = { .wait = wait };
    struct identity known = { 0 };
    int64_t now_s = engine_now(e) / 1000000;
    int rc = gateway_identify(rq, out, err);
    if (rc >= 0 && gateway_digest(out, p.hash) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0) {
        identity_clear(out);
        return rc;
    }
    bool remembered = cache_get(e->identities->cache, p.hash, now_s, &known, &p.until_s);
    if (remembered && known.kind != IDENTITY_NONE) {
        identity_clear(out);
        *out = known;
        return conclude(e, &p, true, out, err);
    }
    p.until_s = now_s + JWT_SECONDS;
    if (wait)
        return conclude(e, &p, false, out, err);
    if (!remembered)
        lookups_want(e, p.hash, NULL, out, p.until_s);
    identity_clear(out);
    return !remembered ? ask_again(err)
                       : osmo_error_set(err, OSMO_EUNAUTH, "whom the gateway names is not known to this service; " LOGIN_HINT);
}

static int identify(engine_t *e, const osmo_request_t *rq, bool wait, struct identity *out, osmo_error_t *err) {
    const char *token = NULL;
    memset(out, 0, sizeof *out);
    if (e->auth_mode == OSMO_AUTH_DEV)
        return dev_identify(rq, out, err);
    int rc = find_token(rq, &token, err);
    if (rc < 0)
        return rc;
    if (token)
        return identify_token(e, token, wait, out, err);
    if (gateways_trust(e->identities->gateways, rq->peer))
        return identify_by_gateway(e, rq, wait, out, err);
    return osmo_error_set(err, OSMO_EUNAUTH, "the request carries no token; " LOGIN_HINT);
}

int auth_identify(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    return identify(e, rq, true, out, err);
}

int auth_identify_now(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    return identify(e, rq, false, out, err);
}

bool auth_trusts_gateway(engine_t *e, const char *peer) {
    return e->identities && gateways_trust(e->identities->gateways, peer);
}

/* ---- life cycle ---- */

int identities_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    struct identities *i = calloc(1, sizeof *i);
    e->identities = i;
    if (!i || cache_new(&i->cache) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = gateways_parse(o->trusted_gateways, &i->gateways, err);
    if (rc >= 0)
        rc = backend_tokens_open(e, o->backend_token_dir, &i->backend_tokens, err);
    if (rc >= 0)
        rc = sessions_open(e, err);
    return rc < 0 ? rc : lookups_open(e, err);
}

void identities_close(engine_t *e) {
    struct identities *i = e->identities;
    if (!i)
        return;
    lookups_close(e);
    sessions_close(e);
    backend_tokens_close(i->backend_tokens);
    gateways_free(i->gateways);
    cache_free(i->cache);
    free(i);
    e->identities = NULL;
}
