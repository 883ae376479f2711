/* Tokens of identity providers: see providers.h. One thread fetches all key sets, each when it is due, when a token names a key that is
 * not in it, or when the settings are new. Verification takes a reference to the keys there are and never waits. Keys that cannot be
 * renewed serve for another day, so that a provider's bad hour locks nobody out. */
#include "engine/providers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "engine/identity_internal.h"
#include "engine/providers_internal.h"

#define SECOND_US 1000000LL
#define UNKNOWN_KEY_US (30 * SECOND_US)
#define KEPT_US (86400 * SECOND_US)
#define RETRY_FIRST_US (5 * SECOND_US)
#define RETRY_MOST_US (300 * SECOND_US)
#define CLAIM_DEPTH_MAX 8
#define EXPIRES_MOST 1e12 /* seconds: beyond, a number may not fit */

/* Lives as long as somebody verifies with it. */
struct keys { jwk_set_t *set; atomic_int refs; };
struct source {
    struct provider p;            /* own copies */
    struct keys *keys;            /* NULL: none yet, or too old */
    int64_t due_us, fetched_us, unknown_us; /* steady clock: next fetch; last good one; last one for an unknown key */
    unsigned failures;
    bool settled;                 /* fetched or failed once */
    osmo_error_t error;           /* of the last fetch */
};
struct providers {
    engine_t *e;
    pthread_mutex_t lock;
    pthread_cond_t changed, settled;
    pthread_t thread;
    bool started, stop;
    const struct settings *of;    /* which the sources are from */
    struct source **list;
    size_t n;
    uint64_t serial;              /* of the list */
};

/* What was verified with other keys, or for other settings, is verified again. */
static void forget_identities(struct providers *ps) {
    if (ps->e->identities)
        cache_drop(ps->e->identities->cache, IDENTITY_PROVIDER);
}

/* ---- sources ---- */

static void keys_put(struct keys *k) {
    if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    jwk_set_free(k->set);
    free(k);
}

static void provider_clear(struct provider *p) {
    char *own[] = { p->name, p->issuer, p->jwks_uri, p->user_claim, p->roles_claim };
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        free(own[i]);
    strlist_free(&p->audiences);
}

static void source_free(struct source *s) {
    if (!s)
        return;
    provider_clear(&s->p);
    keys_put(s->keys);
    free(s);
}

static int provider_copy(const struct provider *from, struct provider *to) {
    to->clock_skew_s = from->clock_skew_s;
    int failed = identity_set_text(&to->name, from->name) | identity_set_text(&to->issuer, from->issuer);
    failed |= identity_set_text(&to->jwks_uri, from->jwks_uri);
    for (size_t i = 0; !failed && i < from->audiences.len; i++)
        failed = strlist_add(&to->audiences, from->audiences.items[i]);
    failed |= identity_set_text(&to->user_claim, from->user_claim) | identity_set_text(&to->roles_claim, from->roles_claim);
    return failed;
}

static bool same_source(const struct source *s, const struct provider *p) {
    return str_eq(s->p.issuer, p->issuer) && (s->p.jwks_uri ? str_eq(s->p.jwks_uri, p->jwks_uri) : !p->jwks_uri);
}

/* Keys that were fetched for a provider that is still there go over. */
static void adopt(struct source *fresh, struct source *old) {
    fresh->keys = STEAL(old->keys);
    fresh->due_us = old->due_us;
    fresh->fetched_us = old->fetched_us;
    fresh->unknown_us = old->unknown_us;
    fresh->failures = old->failures;
    fresh->settled = old->settled;
    fresh->error = old->error;
}

static struct source **sources_new(const struct settings *s) {
    struct source **list = calloc(s->nproviders + 1, sizeof *list);
    bool failed = !list;
    for (size_t i = 0; !failed && i < s->nproviders; i++) {
        list[i] = calloc(1, sizeof *list[i]);
        failed = !list[i] || provider_copy(&s->providers[i], &list[i]->p);
    }
    for (size_t i = 0; failed && list && i < s->nproviders; i++)
        source_free(list[i]);
    if (failed)
        free(list);
    return failed ? NULL : list;
}

/* Under the lock. The settings that are there now; what they do not change stays. */
static int follow(struct providers *ps) {
    const struct settings *now = engine_settings(ps->e);
    if (now == ps->of) {
        engine_settings_put(now);
        return 0;
    }
    struct source **list = sources_new(now);
    if (!list) {
        engine_settings_put(now);
        return OSMO_ENOMEM;
    }
    for (size_t i = 0; i < now->nproviders; i++) {
        for (size_t k = 0; k < ps->n; k++) {
            if (same_source(ps->list[k], &now->providers[i]))
                adopt(list[i], ps->list[k]);
        }
    }
    for (size_t k = 0; k < ps->n; k++)
        source_free(ps->list[k]);
    free(ps->list);
    if (ps->of)
        engine_settings_put(ps->of);
    ps->list = list;
    ps->n = now->nproviders;
    ps->of = now;
    ps->serial++;
    forget_identities(ps);
    pthread_cond_broadcast(&ps->changed);
    pthread_cond_broadcast(&ps->settled);
    return 0;
}

static struct source *source_of(struct providers *ps, const char *issuer) {
    (void)follow(ps);
    for (size_t i = 0; i < ps->n; i++) {
        if (str_eq(ps->list[i]->p.issuer, issuer))
            return ps->list[i];
    }
    return NULL;
}

/* ---- the thread ---- */

static int64_t retry_after(unsigned failures) {
    int64_t wait = RETRY_FIRST_US;
    for (unsigned i = 1; i < failures && wait < RETRY_MOST_US; i++)
        wait *= 2;
    uint8_t dice = 0;
    (void)crypto_random(&dice, 1); /* so that many replicas do not come at once */
    return (wait > RETRY_MOST_US ? RETRY_MOST_US : wait) * (192 + dice / 2) / 256;
}

/* Under the lock. Tells the log of a change for better or worse, not of every attempt. */
static void fetch_failed(struct providers *ps, struct source *s, int64_t now, const osmo_error_t *err) {
    bool news = strcmp(s->error.text, err->text) != 0;
    s->error = *err;
    s->failures++;
    s->due_us = now + retry_after(s->failures);
    if (s->keys && now - s->fetched_us > KEPT_US) {
        keys_put(s->keys);
        s->keys = NULL;
    }
    if (news)
        log_warning(&ps->e->log, "keys of identity provider %s cannot be fetched, %s: %s", s->p.name,
                    s->keys ? "those of before serve for a day" : "its tokens are refused", err->text);
}

static void fetch_succeeded(struct providers *ps, struct source *s, int64_t now, struct keys *keys, int64_t fresh_s) {
    if (s->failures || !s->settled)
        log_info(&ps->e->log, "identity provider %s: %zu keys", s->p.name, jwk_set_len(keys->set));
    keys_put(s->keys);
    s->keys = keys;
    forget_identities(ps);
    s->fetched_us = now;
    s->due_us = now + fresh_s * SECOND_US;
    s->failures = 0;
    s->error = (osmo_error_t)OSMO_ERROR_INIT;
}

/* Under the lock, which is let go for the time of the fetch: the list may be another one afterwards. */
static void fetch(struct providers *ps, http_client_t *http, struct source *s) {
    struct provider copy = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct keys *keys = calloc(1, sizeof *keys);
    int64_t fresh_s = PROVIDER_REFRESH_S;
    int rc = keys && !provider_copy(&s->p, &copy) ? 0 : osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    uint64_t serial = ps->serial;
    pthread_mutex_unlock(&ps->lock);
    if (rc >= 0)
        rc = provider_fetch(http, &copy, &keys->set, &fresh_s, &err);
    if (keys)
        atomic_init(&keys->refs, 1);
    pthread_mutex_lock(&ps->lock);
    struct source *now_there = serial == ps->serial ? s : NULL;
    for (size_t i = 0; !now_there && copy.issuer && i < ps->n; i++)
        now_there = same_source(ps->list[i], &copy) ? ps->list[i] : NULL;
    if (now_there && rc >= 0)
        fetch_succeeded(ps, now_there, clock_mono_us(), STEAL(keys), fresh_s);
    else if (now_there)
        fetch_failed(ps, now_there, clock_mono_us(), &err);
    if (now_there)
        now_there->settled = true;
    pthread_cond_broadcast(&ps->settled);
    keys_put(keys);
    provider_clear(&copy);
}

static struct source *most_due(struct providers *ps) {
    struct source *first = NULL;
    for (size_t i = 0; i < ps->n; i++) {
        if (!first || ps->list[i]->due_us < first->due_us)
            first = ps->list[i];
    }
    return first;
}

static void *fetch_main(void *arg) {
    struct providers *ps = arg;
    http_client_t *http = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    pthread_mutex_lock(&ps->lock);
    while (!ps->stop) {
        struct source *s = most_due(ps);
        if (!s)
            pthread_cond_wait(&ps->changed, &ps->lock);
        else if (s->due_us > clock_mono_us())
            cond_wait_until(&ps->changed, &ps->lock, s->due_us);
        else if (!http && http_client_new("osmo-service", &http, &err) < 0) {
            fetch_failed(ps, s, clock_mono_us(), &err);
            s->settled = true;
            pthread_cond_broadcast(&ps->settled);
        } else
            fetch(ps, http, s);
    }
    pthread_mutex_unlock(&ps->lock);
    http_client_free(http);
    return NULL;
}

/* ---- tokens ---- */

static bool audience_has(const json_t *claims, const strlist_t *clients) {
    const json_t *aud = json_get(claims, "aud");
    if (json_kind(aud) != JSON_ARRAY)
        return json_str(aud) && strlist_has(clients, json_str(aud));
    for (size_t i = 0; i < json_len(aud); i++) {
        if (json_str(json_at(aud, i)) && strlist_has(clients, json_str(json_at(aud, i))))
            return true;
    }
    return false;
}

/* By its name, or as a path of names with dots between them: realm_access.roles. */
static const json_t *claim_at(const json_t *claims, const char *path) {
    const json_t *v = json_get(claims, path);
    strlist_t names = { 0 };
    if (v || !strchr(path, '.') || strlist_split(&names, path, '.') < 0)
        return v;
    v = names.len <= CLAIM_DEPTH_MAX ? claims : NULL;
    for (size_t i = 0; v && i < names.len; i++)
        v = json_kind(v) == JSON_OBJECT ? json_get(v, names.items[i]) : NULL;
    strlist_free(&names);
    return v;
}

/* An address that people may enter themselves would make them whomever they like. */
static bool is_unverified(const struct provider *p, const json_t *claims) {
    const json_t *verified = json_get(claims, "email_verified");
    return str_eq(p->user_claim, "email") && verified && !json_as_bool(verified, str_eq(json_str(verified), "true"));
}

static int read_claims(const struct provider *p, const json_t *claims, int64_t now_s, char **user, strlist_t *external, int64_t *exp_s,
                       osmo_error_t *err) {
    const char *name = json_str(claim_at(claims, p->user_claim));
    const json_t *roles = claim_at(claims, p->roles_claim);
    if (!str_eq(json_get_str(claims, "iss"), p->issuer) || !audience_has(claims, &p->audiences))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s was not issued for this service; " LOGIN_HINT, p->name);
    double expires = json_get_double(claims, "exp", 0); /* times may have fractions */
    if (!(expires > 0))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s never expires; " LOGIN_HINT, p->name);
    if (json_has(claims, "iat") && json_get_double(claims, "iat", HUGE_VAL) > (double)(now_s + p->clock_skew_s))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s was issued in the future: check the clocks", p->name);
    if (!identity_name_usable(name))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s names no user: claim %s is not a name of at most %d bytes",
                              p->name, p->user_claim, MAX_USER_BYTES);
    if (is_unverified(p, claims))
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s names a user by an address that nobody has verified: verify it "
                              "there, then " LOGIN_HINT, p->name);
    int rc = identity_set_text(user, name);
    for (size_t i = 0; rc >= 0 && json_kind(roles) == JSON_ARRAY && i < json_len(roles); i++) {
        const char *role = json_str(json_at(roles, i));
        if (!identity_role_usable(role) || strlist_has(external, role))
            continue;
        if (external->len == MAX_EXTERNAL)
            return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s has more than %d roles in claim %s: have it name fewer, "
                                  "such as those that roles here list", p->name, MAX_EXTERNAL, p->roles_claim);
        rc = strlist_add(external, role);
    }
    *exp_s = (int64_t)(expires < EXPIRES_MOST ? expires : EXPIRES_MOST) + p->clock_skew_s;
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : 0;
}

static int ask_again(const struct provider *p, const osmo_error_t *why, osmo_error_t *err) {
    if (why->code)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the keys of identity provider %s cannot be fetched (%.500s): try again in a moment",
                              p->name, why->text);
    return osmo_error_set(err, OSMO_EUNAVAIL, "the keys of identity provider %s are being fetched: try again in a moment", p->name);
}

/* The set may be old. Whether it is asked for once more; then the token may be good in a moment. */
static bool renew(struct providers *ps, const char *issuer, const struct keys *seen) {
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&ps->lock);
    struct source *s = source_of(ps, issuer);
    bool again = s && s->keys != seen; /* somebody was faster */
    if (s && !again && (!s->unknown_us || now - s->unknown_us >= UNKNOWN_KEY_US)) {
        s->unknown_us = now;
        s->due_us = 0;
        again = true;
        pthread_cond_broadcast(&ps->changed);
    } else if (s && !again) {
        again = s->due_us <= now; /* it is on its way */
    }
    pthread_mutex_unlock(&ps->lock);
    return again;
}

static int verify(engine_t *e, const struct provider *p, struct keys *keys, const char *token, size_t len, json_t **claims,
                  osmo_error_t *err) {
    osmo_error_t reason = OSMO_ERROR_INIT;
    int rc = jwk_set_verify(keys->set, token, len, engine_now(e) / SECOND_US, p->clock_skew_s, claims, &reason);
    if (rc == OSMO_ENOTFOUND && renew(e->providers, p->issuer, keys))
        return ask_again(p, &(osmo_error_t)OSMO_ERROR_INIT, err);
    if (rc == OSMO_ENOMEM)
        return osmo_error_set(err, rc, "out of memory");
    if (rc < 0)
        return osmo_error_set(err, OSMO_EUNAUTH, "the token of provider %s is not valid (%s); " LOGIN_HINT, p->name, reason.text);
    return 0;
}

int providers_verify(engine_t *e, const char *token, size_t len, char **user, strlist_t *external, int64_t *exp_s, osmo_error_t *err) {
    struct providers *ps = e->providers;
    _cleanup_json_ json_t *claims = NULL;
    _cleanup_json_ json_t *peeked = NULL;
    struct provider p = { 0 };
    struct keys *keys = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = jwt_peek(token, len, &peeked, NULL);
    const char *issuer = rc < 0 ? NULL : json_get_str(peeked, "iss");
    pthread_mutex_lock(&ps->lock);
    struct source *s = issuer ? source_of(ps, issuer) : NULL;
    int failed = s ? provider_copy(&s->p, &p) : 0;
    if (s && s->keys) {
        keys = s->keys;
        atomic_fetch_add(&keys->refs, 1);
    } else if (s)
        why = s->error;
    pthread_mutex_unlock(&ps->lock);
    if (!s)
        rc = osmo_error_set(err, OSMO_EUNAUTH, "the token is of no identity provider of this service; " LOGIN_HINT);
    else if (failed)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    else
        rc = keys ? verify(e, &p, keys, token, len, &claims, err) : ask_again(&p, &why, err);
    if (rc >= 0)
        rc = read_claims(&p, claims, engine_now(e) / SECOND_US, user, external, exp_s, err);
    keys_put(keys);
    provider_clear(&p);
    return rc;
}

bool providers_know(engine_t *e, const char *issuer) {
    pthread_mutex_lock(&e->providers->lock);
    bool known = source_of(e->providers, issuer) != NULL;
    pthread_mutex_unlock(&e->providers->lock);
    return known;
}

void providers_follow(engine_t *e) {
    if (!e->providers)
        return;
    pthread_mutex_lock(&e->providers->lock);
    if (follow(e->providers) < 0)
        log_error(&e->log, "the identity providers of the new configuration are not in use: out of memory");
    pthread_mutex_unlock(&e->providers->lock);
}

void providers_settle(engine_t *e, int64_t timeout_ms) {
    struct providers *ps = e->providers;
    int64_t until = clock_mono_us() + timeout_ms * 1000;
    bool in_time = true;
    pthread_mutex_lock(&ps->lock);
    (void)follow(ps);
    for (size_t i = 0; i < ps->n && in_time;) {
        if (ps->list[i]->settled && ps->list[i]->due_us > clock_mono_us())
            i++;
        else {
            in_time = cond_wait_until(&ps->settled, &ps->lock, until);
            i = 0;
        }
    }
    pthread_mutex_unlock(&ps->lock);
}

/* ---- life cycle ---- */

int providers_open(engine_t *e, osmo_error_t *err) {
    struct providers *ps = calloc(1, sizeof *ps);
    if (!ps)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    ps->e = e;
    pthread_mutex_init(&ps->lock, NULL);
    cond_init(&ps->changed);
    cond_init(&ps->settled);
    e->providers = ps;
    if (follow(ps) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    ps->started = pthread_create(&ps->thread, NULL, fetch_main, ps) == 0;
    return ps->started ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start a thread for identity providers: too many threads");
}

void providers_close(engine_t *e) {
    struct providers *ps = e->providers;
    if (!ps)
        return;
    pthread_mutex_lock(&ps->lock);
    ps->stop = true;
    pthread_cond_broadcast(&ps->changed);
    pthread_mutex_unlock(&ps->lock);
    if (ps->started)
        pthread_join(ps->thread, NULL);
    for (size_t i = 0; i < ps->n; i++)
        source_free(ps->list[i]);
    free(ps->list);
    if (ps->of)
        engine_settings_put(ps->of);
    pthread_cond_destroy(&ps->changed);
    pthread_cond_destroy(&ps->settled);
    pthread_mutex_destroy(&ps->lock);
    free(ps);
    e->providers = NULL;
}
