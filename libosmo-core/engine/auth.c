/* Keys and secrets of the service: the signing key (made in the background at the first start), the master secret, the
 * administrator. Called by engine_open/engine_close; token work is in auth_tokens.c, identities in auth_identify.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/auth_internal.h"
#include "store/repo.h"

#define KV_SERVICE_AUTH "service_auth"
#define KV_MASTER "master_secret"
#define KV_ADMIN_PREFIX "admin_token_sha256:"
#define ADMIN_TOKEN_NAME "default-admin-token"
#define ADMIN_TOKEN_DAYS 3650
#define DEFAULT_ADMIN "admin"
#define DAY_US (86400LL * 1000000)

int token_text(const uint8_t secret[32], char out[ACCESS_TOKEN_LEN + 1]) {
    _cleanup_buf_ buf_t text = BUF_INIT(128);
    int rc = crypto_base64url(secret, 32, &text);
    if (rc < 0 || text.len != ACCESS_TOKEN_LEN)
        return rc < 0 ? rc : OSMO_EINTERNAL;
    memcpy(out, text.data, ACCESS_TOKEN_LEN + 1);
    crypto_wipe(text.data, text.len);
    return 0;
}

/* ---- a value of the kv table that is made once ---- */

struct kv_once { const char *key, *made; char *kept; };

static int kv_once_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct kv_once *k = ctx;
    free(k->kept);
    k->kept = NULL;
    int rc = k->made ? repo_kv_set_if_absent(db, k->key, k->made, err) : 0;
    return rc < 0 ? rc : repo_kv_get(db, k->key, &k->kept, err);
}

/* Keep `made` unless the key exists, and return what is there now. made NULL: only read, OSMO_ENOTFOUND when absent. */
static int kv_once(engine_t *e, const char *key, const char *made, char **kept, osmo_error_t *err) {
    struct kv_once k = { key, made, NULL };
    int rc = store_write(e->store, NULL, kv_once_fn, &k, err);
    if (rc < 0)
        free(k.kept);
    else
        *kept = k.kept;
    return rc;
}

static void free_secret(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
}
#define _cleanup_secret_ __attribute__((cleanup(free_secret)))

static int load_master(engine_t *e, struct auth *a, osmo_error_t *err) {
    uint8_t secret[32];
    char text[ACCESS_TOKEN_LEN + 1];
    _cleanup_secret_ char *kept = NULL;
    _cleanup_buf_ buf_t raw = BUF_INIT(64);
    if (crypto_random(secret, sizeof secret) < 0 || token_text(secret, text) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    int rc = kv_once(e, KV_MASTER, text, &kept, err);
    if (rc >= 0)
        rc = crypto_base64_decode(kept, strlen(kept), &raw, err);
    if (rc >= 0 && raw.len != sizeof a->master)
        rc = osmo_error_set(err, OSMO_EDATABASE,
                            "the master secret in the store is damaged; restore the database from a backup");
    if (rc >= 0)
        memcpy(a->master, raw.data, sizeof a->master);
    if (raw.data)
        crypto_wipe(raw.data, raw.len);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(text, sizeof text);
    return rc < 0 ? rc : 0;
}

/* ---- signing key ---- */

/* The key id is the digest of the public half in uuid form, so it needs no storage of its own. */
static int key_id(const rsa_key_t *key, char out[37]) {
    _cleanup_json_ json_t *jwk = rsa_key_jwk(key, "");
    char hex[65];
    const char *n = jwk ? json_get_str(jwk, "n") : NULL;
    if (!n)
        return OSMO_ENOMEM;
    crypto_sha256_hex(n, strlen(n), hex);
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return 0;
}

static void key_finish(struct auth *a, rsa_key_t *key, int rc, const osmo_error_t *err) {
    char kid[37] = "";
    if (rc >= 0)
        rc = key_id(key, kid);
    pthread_mutex_lock(&a->lock);
    if (rc >= 0) {
        a->key = key;
        memcpy(a->kid, kid, sizeof kid);
    } else {
        a->key_error = *err;
        a->key_error.code = rc;
        rsa_key_free(key);
    }
    a->key_done = true;
    pthread_cond_broadcast(&a->key_changed);
    pthread_mutex_unlock(&a->lock);
}

static int key_from_text(const char *pem, rsa_key_t **key, osmo_error_t *err) {
    int rc = rsa_key_from_pem(pem, key, err);
    return rc < 0 ? osmo_error_set(err, rc,
                                   "the signing key in the store is damaged; restore the database from a backup") : 0;
}

static int key_make(engine_t *e, rsa_key_t **key, osmo_error_t *err) {
    rsa_key_t *fresh = NULL;
    buf_t pem = BUF_INIT(65536);
    _cleanup_secret_ char *kept = NULL;
    int rc = rsa_key_generate(2048, &fresh, err);
    if (rc >= 0)
        rc = rsa_key_to_pem(fresh, &pem);
    rsa_key_free(fresh);
    if (rc >= 0)
        /* another replica may have been first: its key counts */
        rc = kv_once(e, KV_SERVICE_AUTH, buf_cstr(&pem), &kept, err);
    if (pem.data)
        crypto_wipe(pem.data, pem.len);
    buf_free(&pem);
    return rc < 0 ? rc : key_from_text(kept, key, err);
}

static void *keygen_main(void *arg) {
    engine_t *e = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    rsa_key_t *key = NULL;
    int rc = key_make(e, &key, &err);
    if (rc < 0)
        log_error(&e->log, "cannot make the signing key: %s", err.text);
    key_finish(e->auth, key, rc, &err);
    return NULL;
}

static int load_key(engine_t *e, struct auth *a, osmo_error_t *err) {
    _cleanup_secret_ char *pem = NULL;
    rsa_key_t *key = NULL;
    int rc = kv_once(e, KV_SERVICE_AUTH, NULL, &pem, err);
    if (rc == OSMO_ENOTFOUND) {
        if (pthread_create(&a->keygen, NULL, keygen_main, e))
            return osmo_error_set(err, OSMO_EIO, "cannot start a thread for the signing key");
        a->keygen_started = true;
        return 0;
    }
    if (rc >= 0)
        rc = key_from_text(pem, &key, err);
    if (rc >= 0)
        key_finish(a, key, 0, NULL);
    return rc;
}

int auth_key(struct auth *a, const rsa_key_t **out, osmo_error_t *err) {
    pthread_mutex_lock(&a->lock);
    while (!a->key_done)
        pthread_cond_wait(&a->key_changed, &a->lock);
    const rsa_key_t *key = a->key;
    pthread_mutex_unlock(&a->lock);
    if (!key)
        return osmo_error_set(err, OSMO_EUNAVAIL, "there is no signing key: %s", a->key_error.text);
    *out = key;
    return 0;
}

bool auth_is_ready(engine_t *e) {
    pthread_mutex_lock(&e->auth->lock);
    bool ready = e->auth_mode == OSMO_AUTH_DEV || e->auth->key_done;
    pthread_mutex_unlock(&e->auth->lock);
    return ready;
}

json_t *auth_jwks(engine_t *e) {
    const rsa_key_t *key = NULL;
    if (auth_key(e->auth, &key, NULL) < 0)
        return NULL;
    json_t *o = json_object(), *list = json_array();
    json_t *jwk = rsa_key_jwk(key, e->auth->kid);
    if (!o || !list || !jwk || json_add(list, jwk) < 0) {
        if (!list)
            json_free(jwk);
        json_free(list);
        json_free(o);
        return NULL;
    }
    if (json_set(o, "keys", list) < 0) {
        json_free(o);
        return NULL;
    }
    return o;
}

/* ---- administrator ---- */

struct admin_change { const char *user, *kv_key; uint8_t hash[32]; char hex[65]; bool with_token, only_if_absent,
    kept; int64_t now; };

/* Is there a token that an earlier open made or was given, still this user's? */
static int admin_token_known(db_t *db, const struct admin_change *ch, bool *known, osmo_error_t *err) {
    _cleanup_free_ char *hex = NULL;
    struct token_row row = { 0 };
    uint8_t hash[32];
    *known = false;
    int rc = repo_kv_get(db, ch->kv_key, &hex, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    for (size_t i = 0; i < sizeof hash; i++) {
        unsigned byte;
        if (strlen(hex) != 64 || sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return 0;
        hash[i] = (uint8_t)byte;
    }
    rc = repo_token_by_hash(db, hash, &row, err);
    *known = rc >= 0 && str_eq(row.user, ch->user) && row.expires_us > ch->now;
    token_row_clear(&row);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int admin_token_put(db_t *db, struct admin_change *ch, osmo_error_t *err) {
    bool known = false;
    /* Another replica may be making one at the same time: whoever writes this row first goes first. */
    int rc = repo_kv_touch(db, ch->kv_key, err);
    if (rc >= 0 && ch->only_if_absent)
        rc = admin_token_known(db, ch, &known, err);
    ch->kept = known;
    if (rc < 0 || known)
        return rc;
    struct token_row row = { .user = (char *)ch->user, .name = (char *)ADMIN_TOKEN_NAME,
        .description = (char *)"made at the first start",
                             .roles_csv = (char *)"osmo-admin,osmo-user", .created_us = ch->now };
    row.expires_us = ch->now + ADMIN_TOKEN_DAYS * DAY_US;
    memcpy(row.hash, ch->hash, sizeof row.hash);
    rc = repo_token_put(db, &row, err);
    return rc < 0 ? rc : repo_kv_set(db, ch->kv_key, ch->hex, err);
}

static int admin_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct admin_change *ch = ctx;
    int rc = repo_user_ensure(db, ch->user, ch->user, ch->now, err);
    if (rc >= 0)
        rc = repo_user_role_add(db, ch->user, "osmo-admin", ch->user, ch->now, err);
    if (rc >= 0)
        rc = repo_user_role_add(db, ch->user, "osmo-user", ch->user, ch->now, err);
    return rc >= 0 && ch->with_token ? admin_token_put(db, ch, err) : rc;
}

static bool token_chars(const char *text, size_t len) {
    return strlen(text) == len && strspn(text,
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

static int admin_write(engine_t *e, struct auth *a, struct admin_change *ch, const char *token, osmo_error_t *err) {
    _cleanup_free_ char *kv_key = str_printf("%s%s", KV_ADMIN_PREFIX, ch->user);
    if (!kv_key)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    ch->kv_key = kv_key;
    ch->now = engine_now(e);
    if (ch->with_token) {
        crypto_sha256(token, strlen(token), ch->hash);
        crypto_sha256_hex(token, strlen(token), ch->hex);
    }
    int rc = store_write(e->store, NULL, admin_fn, ch, err);
    if (rc >= 0 && ch->only_if_absent && !ch->kept) {
        a->admin_token = str_dup(token);
        if (!a->admin_token)
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    crypto_wipe(ch->hash, sizeof ch->hash);
    crypto_wipe(ch->hex, sizeof ch->hex);
    return rc;
}

/* Development mode needs no token, so none is made there: it would be shown once and missed. */
static int ensure_admin(engine_t *e, struct auth *a, const osmo_service_options_t *o, osmo_error_t *err) {
    struct admin_change ch = { .user = o->admin_user && *o->admin_user ? o->admin_user : DEFAULT_ADMIN };
    uint8_t secret[32];
    char made[ACCESS_TOKEN_LEN + 1] = "";
    if (o->admin_token && !token_chars(o->admin_token, ACCESS_TOKEN_LEN))
        return osmo_error_set(err, OSMO_EINVAL,
                              "the administrator token must have exactly %d characters of A-Z a-z 0-9 - _; "
                              "make one with: head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =",
                                  ACCESS_TOKEN_LEN);
    ch.with_token = o->admin_token || o->auth == OSMO_AUTH_REQUIRED;
    ch.only_if_absent = !o->admin_token;
    if (ch.with_token && !o->admin_token && (crypto_random(secret, sizeof secret) < 0 || token_text(secret, made) < 0))
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    int rc = admin_write(e, a, &ch, o->admin_token ? o->admin_token : made, err);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(made, sizeof made);
    return rc;
}

char *auth_take_admin_token(engine_t *e) {
    pthread_mutex_lock(&e->auth->lock);
    char *token = STEAL(e->auth->admin_token);
    pthread_mutex_unlock(&e->auth->lock);
    return token;
}

/* ---- life cycle ---- */

int auth_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    struct auth *a = calloc(1, sizeof *a);
    if (!a)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->key_changed, NULL);
    e->auth = a;
    int rc = load_master(e, a, err);
    if (rc >= 0)
        rc = ensure_admin(e, a, o, err);
    if (rc >= 0)
        rc = load_key(e, a, err);
    if (rc < 0)
        auth_close(e);
    return rc;
}

void auth_close(engine_t *e) {
    struct auth *a = e->auth;
    if (!a)
        return;
    if (a->keygen_started)
        pthread_join(a->keygen, NULL);
    for (size_t i = 0; i < CACHE_SETS * CACHE_WAYS; i++)
        identity_clear(&a->cache[i / CACHE_WAYS][i % CACHE_WAYS].who);
    rsa_key_free(a->key);
    free_secret(&a->admin_token);
    crypto_wipe(a->master, sizeof a->master);
    pthread_cond_destroy(&a->key_changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
    e->auth = NULL;
}
