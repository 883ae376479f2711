/* The registry API as far as a check needs it: a HEAD of a manifest or a GET of /v2/, the challenge, a token, the same again. Several
 * images are asked for by a few threads; outcomes are remembered for a short while. See registry.h. */
#include "engine/registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/http.h"
#include "base/map.h"
#include "model/credential.h"

#define LOGIN_US (8LL * 1000 * 1000)
#define IMAGES_US (5LL * 1000 * 1000)
#define THREADS_MAX 4          /* of one call */
#define ALL_THREADS_MAX 32
#define CACHE_MAX 4096
#define TAG_US (15LL * 1000 * 1000)          /* a tag may be moved: somebody who pushes and submits means the new one */
#define DIGEST_US (10LL * 60 * 1000 * 1000)
#define UNREACHABLE_US (30LL * 1000 * 1000)
#define ANSWER_MAX (1u << 20)
#define HEADER_MAX (64u << 10)
#define ACCEPT                                                                                                                   \
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "                              \
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*"

struct known {
    int64_t until_us;
    char digest[IMAGE_DIGEST_MAX];
    char why[200]; /* of a registry that could not be asked */
};
struct registries {
    pthread_mutex_t lock;
    map_t *known; /* what → struct known */
    unsigned threads;
};

int registry_open(engine_t *e, osmo_error_t *err) {
    struct registries *r = calloc(1, sizeof *r);
    if (r)
        r->known = map_new(free);
    if (!r || !r->known) {
        free(r);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&r->lock, NULL);
    e->registries = r;
    return 0;
}

void registry_close(engine_t *e) {
    struct registries *r = e->registries;
    if (!r)
        return;
    e->registries = NULL;
    map_free(r->known);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- what is known ---- */

static bool recall(struct registries *r, const char *what, struct known *out) {
    pthread_mutex_lock(&r->lock);
    const struct known *k = map_get(r->known, what);
    bool found = k && k->until_us > clock_mono_us();
    if (found)
        *out = *k;
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void forget_old(map_t *m, int64_t now) {
    const char *key;
    void *value;
    for (size_t it = 0; map_next(m, &it, &key, &value);)
        if (((struct known *)value)->until_us <= now)
            map_remove(m, key);
}

/* When the memory is full of what still counts, this one is not remembered. */
static void remember(struct registries *r, const char *what, int64_t for_us, const char *digest, const char *why) {
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return;
    k->until_us = clock_mono_us() + for_us;
    snprintf(k->digest, sizeof k->digest, "%s", digest ? digest : "");
    snprintf(k->why, sizeof k->why, "%s", why ? why : "");
    pthread_mutex_lock(&r->lock);
    if (map_len(r->known) >= CACHE_MAX)
        forget_old(r->known, clock_mono_us());
    if (map_len(r->known) < CACHE_MAX)
        (void)map_set(r->known, what, STEAL(k));
    pthread_mutex_unlock(&r->lock);
    free(k);
}

bool registry_knows(engine_t *e, const char *what) {
    struct known k;
    return recall(e->registries, what, &k);
}

void registry_note(engine_t *e, const char *what) { remember(e->registries, what, TAG_US, "", ""); }

/* ---- one registry ---- */

struct asking {
    engine_t *e;
    http_client_t *http;
    const char *host, *username, *auth; /* username and auth NULL: anonymous */
    int64_t deadline_us;
    char why[200];
};

/* "host" or "host:port" */
static bool host_is_here(const char *host) { return host_is_loopback(host, strcspn(host, ":")); }

static int unreachable(struct asking *a, const char *why) {
    snprintf(a->why, sizeof a->why, "%s", why);
    return OSMO_EUNAVAIL;
}

static int refused(struct asking *a, const char *why, int status) {
    snprintf(a->why, sizeof a->why, "%s (HTTP %d)", why, status);
    return OSMO_ECREDENTIAL;
}

/* 0 when there is an answer. */
static int ask(struct asking *a, const char *method, const char *url, const char *authorization, http_response_t *rs) {
    const char *headers[3] = { ACCEPT, authorization, NULL };
    int64_t left_ms = (a->deadline_us - clock_mono_us()) / 1000;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (left_ms < 1)
        return unreachable(a, "it did not answer in time");
    http_request_t rq = { .method = method,
                          .url = url,
                          .headers = headers,
                          .timeout_ms = (long)left_ms,
                          .connect_timeout_ms = (long)left_ms,
                          .max_response = ANSWER_MAX };
    http_client_set_hints(a->http, "", NULL); /* no osmo-service is asked here */
    int rc = http_perform(a->http, &rq, rs, &err);
    rs->body.secret = true;
    if (rc >= 0)
        return 0;
    return unreachable(a, rc == OSMO_ETIMEOUT   ? "it did not answer in time"
                          : rc == OSMO_EUNAVAIL ? "there is no connection to it"
                                                : err.text);
}

/* "Authorization: Basic …", or NULL for nobody. */
static int basic_header(const struct asking *a, buf_t *out) {
    _cleanup_buf_ buf_t plain = BUF_SECRET(HEADER_MAX);
    if (!a->auth)
        return 0;
    buf_printf(&plain, "%s:%s", a->username ? a->username : "", a->auth);
    buf_puts(out, "Authorization: Basic ");
    return buf_failed(&plain) ? plain.code : crypto_base64(plain.data, plain.len, out);
}

/* The challenge of a 401: 1 with a bearer's, 0 when a login itself is asked for, OSMO_EUNAVAIL for anything else. */
static int challenge_of(struct asking *a, const http_response_t *rs, struct bearer_challenge *out) {
    static const char name[] = "www-authenticate:";
    bool basic = false;
    for (size_t i = 0; i < rs->headers.len; i++) {
        const char *h = rs->headers.items[i];
        if (strncasecmp(h, name, sizeof name - 1) != 0)
            continue;
        h += sizeof name - 1;
        h += strspn(h, " \t");
        if (bearer_challenge_parse(h, out) >= 0)
            return 1;
        basic |= strncasecmp(h, "Basic", 5) == 0;
    }
    return basic ? 0 : unreachable(a, "it asks for a login of a kind that is not known");
}

/* Passwords go over TLS, or stay on this machine. */
static bool realm_is_safe(const struct asking *a, const char *realm) {
    url_parts_t u;
    if (url_parse(realm, &u, NULL) < 0)
        return false;
    if (host_is_here(u.host))
        return host_is_here(a->host);
    return strcmp(u.scheme, "https") == 0;
}

static void add_parameter(buf_t *url, const char *key, const char *value) {
    if (!value || !*value)
        return;
    buf_printf(url, "%c%s=", strchr(buf_cstr(url), '?') ? '&' : '?', key);
    url_encode(value, url);
}

/* "Authorization: Bearer …" of the token service. */
static int token_header(struct asking *a, const struct bearer_challenge *c, const char *scope, buf_t *out) {
    _cleanup_buf_ buf_t url = BUF_INIT(HEADER_MAX), login = BUF_SECRET(HEADER_MAX);
    _cleanup_json_secret_ json_t *answer = NULL;
    http_response_t rs = { 0 };
    if (!realm_is_safe(a, c->realm))
        return unreachable(a, "its token service is not at an https address");
    buf_puts(&url, c->realm);
    add_parameter(&url, "service", c->service);
    add_parameter(&url, "scope", scope);
    if (basic_header(a, &login) < 0 || buf_failed(&url) || buf_failed(&login))
        return unreachable(a, "its challenge or the login is too long");
    int rc = ask(a, "GET", buf_cstr(&url), login.len ? buf_cstr(&login) : NULL, &rs);
    if (rc >= 0 && (rs.status == 401 || rs.status == 403 || rs.status == 400))
        rc = refused(a, a->auth ? "it refuses the stored login" : "it gives nothing to the anonymous", rs.status);
    else if (rc >= 0 && rs.status != 200)
        rc = unreachable(a, "its token service does not work");
    if (rc >= 0) {
        const char *token = NULL;
        if (json_parse_secret(buf_cstr(&rs.body), rs.body.len, &answer, NULL) >= 0)
            token = json_get_str(answer, "token") ? json_get_str(answer, "token") : json_get_str(answer, "access_token");
        rc = !token || buf_printf(out, "Authorization: Bearer %s", token) < 0 ? unreachable(a, "its token service gives no token") : 0;
    }
    http_response_free(&rs);
    return rc;
}

/* The request, and once more with what its challenge leads to. `scope`: of the token, NULL = as the challenge says. */
static int ask_in(struct asking *a, const char *method, const char *url, const char *scope, http_response_t *rs) {
    _cleanup_(bearer_challenge_clear) struct bearer_challenge c = { 0 };
    _cleanup_buf_ buf_t header = BUF_SECRET(HEADER_MAX);
    int rc = ask(a, method, url, NULL, rs);
    if (rc < 0 || rs->status != 401)
        return rc;
    rc = challenge_of(a, rs, &c);
    if (rc > 0)
        rc = token_header(a, &c, scope ? scope : c.scope, &header);
    else if (rc == 0 && basic_header(a, &header) < 0)
        rc = unreachable(a, "the login is too long");
    if (rc < 0 || !header.len)
        return rc;
    http_response_free(rs);
    return ask(a, method, url, buf_cstr(&header), rs);
}

static char *registry_url(const struct asking *a, const char *rest) {
    return str_printf("%s://%s/v2/%s", host_is_here(a->host) ? "http" : "https", a->host, rest);
}

static int asking_start(struct asking *a) {
    return http_client_new("osmo-service", &a->http, NULL) < 0 ? unreachable(a, "there is no HTTP client") : 0;
}

/* ---- a login ---- */

static int try_login(struct asking *a) {
    _cleanup_free_ char *url = registry_url(a, "");
    http_response_t rs = { 0 };
    int rc = url ? asking_start(a) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = ask_in(a, "GET", url, NULL, &rs);
    if (rc >= 0 && (rs.status == 401 || rs.status == 403))
        rc = refused(a, "it refuses the login", rs.status);
    else if (rc >= 0 && rs.status != 200)
        rc = unreachable(a, "it does not answer as a registry does");
    http_response_free(&rs);
    http_client_free(a->http);
    return rc;
}

bool registry_is_checked(const struct settings *s, const char *image_scope) {
    for (size_t i = 0; i < s->unchecked_registries.len; i++) {
        _cleanup_free_ char *scope = registry_scope(s->unchecked_registries.items[i]);
        if (scope && registry_scope_covers(scope, image_scope))
            return false;
    }
    return true;
}

int registry_check_login(engine_t *e, const char *scope, const char *username, const char *auth, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    bool checked = registry_is_checked(s, scope);
    engine_settings_put(s);
    if (!checked)
        return 0;
    _cleanup_free_ char *host = strndup(scope, strcspn(scope, "/"));
    struct asking a = { .e = e, .host = host, .username = username, .auth = auth, .deadline_us = clock_mono_us() + LOGIN_US };
    int rc = host ? try_login(&a) : OSMO_ENOMEM;
    if (rc == OSMO_ECREDENTIAL)
        return osmo_error_set(err, rc, "registry %s does not take this credential: %s; correct username and auth", host, a.why);
    if (rc == OSMO_EUNAVAIL)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "registry %s cannot be asked whether this credential is good: %s; try again, or "
                              "an administrator lists it in workflow.credential_config.disable_registry_validation", host, a.why);
    return rc < 0 ? osmo_error_set(err, rc, "out of memory") : 0;
}

/* ---- an image ---- */

/* algorithm:hex, as long as a digest is. */
static bool digest_valid(const char *text) {
    size_t name = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+._-");
    const char *hex = text + name + 1;
    return name && text[name] == ':' && strlen(hex) >= 32 && strlen(text) < IMAGE_DIGEST_MAX &&
           hex[strspn(hex, "0123456789abcdef")] == '\0';
}

static int try_image(struct asking *a, const struct image_reference *r, char digest[IMAGE_DIGEST_MAX]) {
    _cleanup_free_ char *rest = str_printf("%s/manifests/%s", r->repository, r->reference);
    _cleanup_free_ char *url = rest ? registry_url(a, rest) : NULL;
    _cleanup_free_ char *scope = str_printf("repository:%s:pull", r->repository);
    http_response_t rs = { 0 };
    int rc = url && scope ? ask_in(a, "HEAD", url, scope, &rs) : OSMO_ENOMEM;
    const char *given = rc >= 0 ? http_response_header(&rs, "docker-content-digest") : NULL;
    if (given && rs.status == 200 && digest_valid(given))
        snprintf(digest, IMAGE_DIGEST_MAX, "%s", given);
    if (rc >= 0 && (rs.status == 401 || rs.status == 403))
        rc = refused(a, a->auth ? "the stored login may not read it" : "it may not be read without a login", rs.status);
    else if (rc >= 0 && rs.status == 404)
        rc = refused(a, "it is not there", rs.status);
    else if (rc >= 0 && rs.status != 200)
        rc = unreachable(a, rs.status == 429 ? "it is asked too often" : "it does not answer as a registry does");
    http_response_free(&rs);
    return rc;
}

/* Who asks is part of what is known. */
static char *image_key(const struct image_check *c) {
    _cleanup_buf_ buf_t text = BUF_SECRET(HEADER_MAX + CREDENTIAL_TOTAL_MAX);
    char hex[65];
    buf_printf(&text, "%s\n%s\n%s", c->image, c->username ? c->username : "", c->auth ? c->auth : "");
    if (buf_failed(&text))
        return NULL;
    crypto_sha256_hex(text.data, text.len, hex);
    return str_printf("image %s", hex);
}

static void check_one(engine_t *e, http_client_t *http, int64_t deadline_us, struct image_check *c) {
    _cleanup_(image_reference_clear) struct image_reference r = { 0 };
    _cleanup_free_ char *key = image_key(c);
    int rc = image_reference_parse(c->image, &r);
    _cleanup_free_ char *host_key = r.host ? str_printf("host %s", r.host) : NULL;
    struct known k;
    c->rc = OSMO_EUNAVAIL;
    if (rc < 0 || !key || !host_key) {
        snprintf(c->why, sizeof c->why, "%s", rc == OSMO_EINVAL ? "its name cannot be read" : "out of memory");
        return;
    }
    if (recall(e->registries, key, &k)) {
        c->rc = 0;
        memcpy(c->digest, k.digest, sizeof c->digest);
        return;
    }
    if (recall(e->registries, host_key, &k)) {
        memcpy(c->why, k.why, sizeof k.why);
        return;
    }
    struct asking a = { .e = e, .http = http, .host = r.host, .username = c->username, .auth = c->auth, .deadline_us = deadline_us };
    c->rc = try_image(&a, &r, c->digest);
    if (c->rc == 0)
        remember(e->registries, key, r.pinned ? DIGEST_US : TAG_US, c->digest, NULL);
    else if (c->rc == OSMO_EUNAVAIL)
        remember(e->registries, host_key, UNREACHABLE_US, NULL, a.why);
    snprintf(c->why, sizeof c->why, "%s", c->rc == OSMO_ENOMEM ? "out of memory" : a.why);
    if (c->rc != OSMO_ECREDENTIAL && c->rc < 0)
        c->rc = OSMO_EUNAVAIL;
}

struct round {
    engine_t *e;
    struct image_check *checks;
    size_t n;
    _Atomic size_t next;
    int64_t deadline_us;
};

static void *round_main(void *ctx) {
    struct round *r = ctx;
    http_client_t *http = NULL;
    bool works = http_client_new("osmo-service", &http, NULL) >= 0;
    for (size_t i; (i = atomic_fetch_add(&r->next, 1)) < r->n;) {
        struct image_check *c = &r->checks[i];
        if (works && clock_mono_us() < r->deadline_us) {
            check_one(r->e, http, r->deadline_us, c);
            continue;
        }
        c->rc = OSMO_EUNAVAIL;
        snprintf(c->why, sizeof c->why, "%s", works ? "there was no time left to ask it" : "there is no HTTP client");
    }
    http_client_free(http);
    return NULL;
}

/* One thread more, if there may be. */
static bool start_thread(struct registries *rs, struct round *r, pthread_t *thread) {
    pthread_mutex_lock(&rs->lock);
    bool may = rs->threads < ALL_THREADS_MAX;
    rs->threads += may;
    pthread_mutex_unlock(&rs->lock);
    if (may && pthread_create(thread, NULL, round_main, r) == 0)
        return true;
    pthread_mutex_lock(&rs->lock);
    rs->threads -= may;
    pthread_mutex_unlock(&rs->lock);
    return false;
}

void registry_check_images(engine_t *e, struct image_check *checks, size_t n) {
    struct round r = { .e = e, .checks = checks, .n = n, .deadline_us = clock_mono_us() + IMAGES_US };
    pthread_t threads[THREADS_MAX];
    size_t started = 0;
    while (started + 1 < n && started + 1 < THREADS_MAX && start_thread(e->registries, &r, &threads[started]))
        started++;
    round_main(&r); /* this one takes part */
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_lock(&e->registries->lock);
    e->registries->threads -= (unsigned)started;
    pthread_mutex_unlock(&e->registries->lock);
}
