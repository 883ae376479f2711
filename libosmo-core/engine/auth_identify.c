/* Who is asking. Required mode believes only a JWT that this service signed; identity headers from clients are ignored.
 * Development mode believes x-osmo-user,
     and therefore only answers requests that a loopback program made on purpose: the
 * Host, Origin and Content-Type checks keep web pages in a browser on the same machine out. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/auth_internal.h"

#define DEV_USER "testuser"
#define MAX_USER_BYTES 256
#define MAX_ROLES 64
#define LOGIN_HINT "log in with: osmo login"

void identity_clear(struct identity *id) {
    free(id->user);
    strlist_free(&id->roles);
    free(id->token_name);
    free(id->workflow_id);
    free(id->task_name);
    free(id->group_name);
    memset(id, 0, sizeof *id);
}

bool identity_has_role(const struct identity *id, const char *role) {
    return strlist_has(&id->roles, role);
}

static int copy_text(const char *from, char **to) {
    *to = str_dup(from);
    return from && !*to ? OSMO_ENOMEM : 0;
}

int identity_copy(const struct identity *from, struct identity *to) {
    memset(to, 0, sizeof *to);
    to->token_expires_us = from->token_expires_us;
    to->retry_id = from->retry_id;
    to->anonymous = from->anonymous;
    int failed = copy_text(from->user, &to->user) | copy_text(from->token_name, &to->token_name);
    failed |= copy_text(from->workflow_id, &to->workflow_id) | copy_text(from->task_name, &to->task_name);
    failed |= copy_text(from->group_name, &to->group_name);
    for (size_t i = 0; !failed && i < from->roles.len; i++)
        failed = strlist_add(&to->roles, from->roles.items[i]);
    if (!failed)
        return 0;
    identity_clear(to);
    return OSMO_ENOMEM;
}

static const char *header_of(const osmo_request_t *rq, const char *name) {
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2) {
        if (!strcmp(h[0], name))
            return h[1];
    }
    return NULL;
}

/* ---- cache of verified tokens ---- */

static struct cached_jwt *cache_find(struct auth *a, const uint8_t hash[32]) {
    struct cached_jwt *set = a->cache[hash[0]];
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].full && !memcmp(set[i].hash, hash, 32))
            return &set[i];
    }
    return NULL;
}

static bool cache_get(struct auth *a, const uint8_t hash[32], int64_t now_s, struct identity *out) {
    pthread_mutex_lock(&a->lock);
    struct cached_jwt *c = cache_find(a, hash);
    bool found = c && now_s <= c->exp_s + JWT_SKEW_SECONDS && identity_copy(&c->who, out) >= 0;
    if (found)
        c->used = ++a->cache_clock;
    pthread_mutex_unlock(&a->lock);
    return found;
}

/* Best effort: without memory the next request verifies again. */
static void cache_put(struct auth *a, const uint8_t hash[32], int64_t exp_s, const struct identity *who) {
    struct identity copy;
    if (identity_copy(who, &copy) < 0)
        return;
    pthread_mutex_lock(&a->lock);
    struct cached_jwt *set = a->cache[hash[0]], *victim = cache_find(a, hash);
    for (size_t i = 0; !victim && i < CACHE_WAYS; i++) {
        if (!set[i].full)
            victim = &set[i];
    }
    if (!victim) {
        victim = &set[0];
        for (size_t i = 1; i < CACHE_WAYS; i++) {
            if (set[i].used < victim->used)
                victim = &set[i];
        }
    }
    identity_clear(&victim->who);
    victim->who = copy;
    memcpy(victim->hash, hash, 32);
    victim->exp_s = exp_s;
    victim->full = true;
    victim->used = ++a->cache_clock;
    pthread_mutex_unlock(&a->lock);
}

/* ---- required mode ---- */

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

static int check_claims(engine_t *e, const json_t *claims, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool ours = str_eq(json_get_str(claims, "iss"), s->issuer) && audience_matches(claims, s->audience);
    engine_settings_put(s);
    const char *user = json_get_str(claims, "unique_name");
    if (!ours || json_get_int(claims, "exp", 0) <= 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token was not issued for this service; " LOGIN_HINT);
    if (!user || !*user || strlen(user) > MAX_USER_BYTES)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token names no user; " LOGIN_HINT);
    return 0;
}

/* A role with a comma or a control character could pass for two of them further on: such elements are dropped. */
static bool role_usable(const char *role) {
    if (!role || !*role || strlen(role) > MAX_USER_BYTES)
        return false;
    for (const unsigned char *p = (const unsigned char *)role; *p; p++) {
        if (*p == ',' || *p < 0x20 || *p == 0x7f)
            return false;
    }
    return true;
}

static int identity_from_claims(const json_t *claims, struct identity *out) {
    const json_t *roles = json_get(claims, "roles");
    int failed = copy_text(json_get_str(claims, "unique_name"), &out->user);
    failed |= copy_text(json_get_str(claims, "osmo_token_name"), &out->token_name);
    failed |= copy_text(json_get_str(claims, "osmo_workflow_id"), &out->workflow_id);
    failed |= copy_text(json_get_str(claims, "osmo_task_name"), &out->task_name);
    failed |= copy_text(json_get_str(claims, "osmo_group_name"), &out->group_name);
    out->retry_id = json_get_int(claims, "osmo_retry_id", 0);
    out->token_expires_us = json_get_int(claims, "osmo_token_expires_at", 0) * 1000000;
    for (size_t i = 0; !failed && i < json_len(roles) && i < MAX_ROLES; i++) {
        const char *role = json_str(json_at(roles, i));
        if (role_usable(role))
            failed = strlist_add(&out->roles, role);
    }
    return failed ? OSMO_ENOMEM : 0;
}

static const char *bearer(const osmo_request_t *rq) {
    const char *h = header_of(rq, "authorization");
    if (!h)
        return header_of(rq, "x-osmo-auth");
    if (strncasecmp(h, "Bearer ", 7))
        return NULL;
    h += 7;
    return h + strspn(h, " ");
}

static int verify(engine_t *e, const char *token, size_t len, int64_t now_s, json_t **claims, osmo_error_t *err) {
    const rsa_key_t *key;
    osmo_error_t reason = OSMO_ERROR_INIT;
    int rc = auth_key(e->auth, &key, err);
    if (rc < 0)
        return rc;
    rc = jwt_verify(key, token, len, now_s, JWT_SKEW_SECONDS, claims, &reason);
    if (rc == OSMO_ENOMEM)
        return osmo_error_set(err, rc, "out of memory");
    if (rc < 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is not valid (%s); " LOGIN_HINT, reason.text);
    return check_claims(e, *claims, err);
}

static int identify_token(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    const char *token = bearer(rq);
    if (!token || !*token)
        return osmo_error_set(err, OSMO_EUNAUTH, "the request carries no token; " LOGIN_HINT);
    size_t len = strnlen(token, JWT_MAX_BYTES + 1);
    if (len > JWT_MAX_BYTES)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token is too long; " LOGIN_HINT);
    if (!memchr(token, '.', len) && (len == ACCESS_TOKEN_LEN || len == LEGACY_TOKEN_LEN))
        return osmo_error_set(err, OSMO_EUNAUTH,
                              "an access token must first be exchanged at /api/auth/jwt/access_token; "
                              "log in with: osmo login --method token");
    _cleanup_json_ json_t *claims = NULL;
    uint8_t hash[32];
    int64_t now_s = engine_now(e) / 1000000;
    crypto_sha256(token, len, hash);
    if (cache_get(e->auth, hash, now_s, out))
        return 0;
    int rc = verify(e, token, len, now_s, &claims, err);
    if (rc < 0)
        return rc;
    rc = identity_from_claims(claims, out);
    if (rc < 0) {
        identity_clear(out);
        return osmo_error_set(err, rc, "out of memory");
    }
    cache_put(e->auth, hash, json_get_int(claims, "exp", 0), out);
    return 0;
}

/* ---- development mode ---- */

static bool all_digits(const char *s) {
    return s[strspn(s, "0123456789")] == '\0';
}

/* "127.0.0.0/8", dotted quad only: a name such as 127.evil.example is not an address. */
static bool is_loopback_v4(const char *s, size_t len) {
    char text[16];
    unsigned a, b, c, d;
    char extra;
    if (len >= sizeof text || strncmp(s, "127.", 4))
        return false;
    memcpy(text, s, len);
    text[len] = '\0';
    return text[strspn(text, "0123456789.")] == '\0' &&
        sscanf(text, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &extra) == 4 && b < 256 &&
           c < 256 && d < 256;
}

/* host or host:port */
static bool is_loopback_authority(const char *text) {
    const char *end;
    if (*text == '[') {
        end = strchr(text, ']');
        if (!end || end - text != 4 || memcmp(text, "[::1]", 5))
            return false;
        end++;
    } else {
        end = text + strcspn(text, ":");
        size_t len = (size_t)(end - text);
        bool name = (len == 9 && !strncasecmp(text, "localhost", 9)) ||
            (len == 10 && !strncasecmp(text, "localhost.", 10));
        if (!name && !is_loopback_v4(text, len))
            return false;
    }
    return !*end || (*end == ':' && all_digits(end + 1));
}

static bool is_loopback_origin(const char *origin) {
    const char *host = str_starts(origin, "http://") ? origin + 7 : str_starts(origin, "https://") ? origin + 8 : NULL;
    return host && is_loopback_authority(host);
}

static bool is_loopback_peer(const char *peer) {
    return !peer || !*peer || !strcmp(peer, "::1") || is_loopback_v4(peer, strlen(peer)) ||
           (str_starts(peer, "::ffff:") && is_loopback_v4(peer + 7, strlen(peer + 7)));
}

static bool is_json(const char *type) {
    return type && !strncasecmp(type, "application/json", 16) && (!type[16] || type[16] == ';' || type[16] == ' ');
}

static int check_dev_request(const osmo_request_t *rq, osmo_error_t *err) {
    const char *host = header_of(rq, "host"), *origin = header_of(rq, "origin");
    bool has_body = rq->body_len || rq->body_file;
    if (!is_loopback_peer(rq->peer))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode answers this machine only; start the service with authentication");
    if (!host || !is_loopback_authority(host))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode answers only requests for localhost or 127.0.0.1; use such an address");
    if (origin && !is_loopback_origin(origin))
        return osmo_error_set(err, OSMO_EDENIED, "development mode does not answer pages of other web sites");
    if (has_body && !str_starts(rq->path, "/api/storage/") && !is_json(header_of(rq, "content-type")))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode takes request bodies only with Content-Type: application/json");
    return 0;
}

static int identify_dev(const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    const char *user = header_of(rq, "x-osmo-user");
    int rc = check_dev_request(rq, err);
    if (rc < 0)
        return rc;
    user = user && *user ? user : DEV_USER;
    size_t len = strnlen(user, MAX_USER_BYTES + 1);
    if (len > MAX_USER_BYTES || !utf8_valid(user, len))
        return osmo_error_set(err, OSMO_EUNAUTH, "header x-osmo-user is not a user name of at most %d bytes",
                              MAX_USER_BYTES);
    if (copy_text(user, &out->user) < 0 || strlist_add(&out->roles, "osmo-admin") < 0 ||
        strlist_add(&out->roles, "osmo-user") < 0) {
        identity_clear(out);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}

int auth_identify(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    return e->auth_mode == OSMO_AUTH_DEV ? identify_dev(rq, out, err) : identify_token(e, rq, out, err);
}
