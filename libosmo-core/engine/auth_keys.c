/* Signing keys: sealed in the store, several at a time. The newest signs; one that was replaced still verifies until every token it signed
 * has ended, and others that copy /api/auth/keys had time to do so again. Called by auth.c (life cycle) and auth_tokens.c.
 *
 * What is in memory is a picture of the table: it is looked at anew when somebody changed who may do what (HINT_ACCESS, which a rotation is
 * also told by), when it is old, and when a token names a key that is not in it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/seal.h"
#include "engine/access.h"
#include "engine/auth_internal.h"
#include "engine/replicas.h"
#include "engine/vault_internal.h"
#include "store/repo_auth.h"
#include "store/repo_secure.h"

#define KV_SERVICE_AUTH "service_auth" /* the key of earlier versions, in plain text */
#define SIGNING_KEYS_MAX 32
#define SEALED_MAX (64u << 10)
#define BITS_DEFAULT 2048
/* Twice the life of a token, and ten minutes for those who keep a copy of the public keys. */
#define RETIRED_KEPT_US ((2 * JWT_SECONDS + 600) * 1000000LL)
#define LOOK_AGAIN_US (60LL * 1000 * 1000)
#define LOOK_UNKNOWN_US (100LL * 1000) /* for a key that perhaps nobody has, not more often */

struct signing_key { rsa_key_t *key; char kid[KID_SIZE]; int64_t retired_us; };
struct key_set { _Atomic unsigned refs; size_t n; struct signing_key keys[SIGNING_KEYS_MAX]; }; /* newest first */

static void set_put(struct key_set *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->n; i++)
        rsa_key_free(s->keys[i].key);
    free(s);
}
static void set_putp(struct key_set **s) { set_put(*s); }
#define _cleanup_set_ __attribute__((cleanup(set_putp)))

static struct key_set *set_of(struct auth *a) {
    pthread_mutex_lock(&a->lock);
    struct key_set *s = a->keys;
    if (s)
        atomic_fetch_add(&s->refs, 1);
    pthread_mutex_unlock(&a->lock);
    return s;
}

static const struct signing_key *set_find(const struct key_set *s, const char *kid) {
    for (size_t i = 0; s && i < s->n; i++)
        if (str_eq(s->keys[i].kid, kid))
            return &s->keys[i];
    return NULL;
}

static bool is_over(int64_t retired_us, int64_t now) { return retired_us && now - retired_us >= RETIRED_KEPT_US; }

/* ---- keys and their texts ---- */

/* The key id is the digest of the public half in uuid form. */
static int key_id(const rsa_key_t *key, char out[KID_SIZE]) {
    _cleanup_json_ json_t *jwk = rsa_key_jwk(key, "");
    char hex[65];
    const char *n = jwk ? json_get_str(jwk, "n") : NULL;
    if (!n)
        return OSMO_ENOMEM;
    crypto_sha256_hex(n, strlen(n), hex);
    snprintf(out, KID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return 0;
}

static int key_open(engine_t *e, const struct signing_key_row *row, struct signing_key *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t pem = BUF_SECRET(SEALED_MAX);
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = vault_unseal(e, row->sealed, strlen(row->sealed), &pem, &why);
    if (rc >= 0)
        rc = rsa_key_from_pem(buf_cstr(&pem), &out->key, &why);
    if (rc >= 0)
        rc = rsa_key_set_kid(out->key, row->kid);
    if (rc < 0) {
        rsa_key_free(out->key);
        return osmo_error_set(err, rc, "signing key %.40s cannot be opened: %s", row->kid, why.text);
    }
    snprintf(out->kid, sizeof out->kid, "%s", row->kid);
    out->retired_us = row->retired_us;
    return 0;
}

/* A row for a key that is made or found. */
static int key_seal(engine_t *e, const rsa_key_t *key, char kid[KID_SIZE], buf_t *sealed, osmo_error_t *err) {
    _cleanup_buf_ buf_t pem = BUF_SECRET(SEALED_MAX);
    int rc = key_id(key, kid);
    if (rc >= 0)
        rc = rsa_key_to_pem(key, &pem);
    return rc < 0 ? osmo_error_set(err, rc, "a signing key cannot be written") : vault_seal(e, pem.data, pem.len, sealed, err);
}

/* ---- the picture ---- */

/* Keys that are known already are not opened again. */
static int set_add(engine_t *e, struct key_set *s, const struct key_set *known, const struct signing_key_row *row, osmo_error_t *err) {
    const struct signing_key *same = set_find(known, row->kid);
    struct signing_key k = { 0 };
    if (s->n == SIGNING_KEYS_MAX || is_over(row->retired_us, engine_now(e)))
        return 0;
    if (same) {
        k = *same;
        k.key = rsa_key_ref(same->key);
        k.retired_us = row->retired_us;
    } else {
        int rc = key_open(e, row, &k, err);
        if (rc < 0)
            return rc;
    }
    s->keys[s->n++] = k;
    return 0;
}

static bool set_signs(const struct key_set *s) {
    for (size_t i = 0; i < s->n; i++)
        if (!s->keys[i].retired_us)
            return true;
    return false;
}

/* One damaged key does not take the others along. */
static int set_fill(engine_t *e, struct key_set *s, const struct key_set *known, osmo_error_t *err) {
    struct signing_key_row *rows = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_signing_keys(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (set_add(e, s, known, &rows[i], &why) < 0)
            log_error(&e->log, "%s", why.text);
    signing_key_rows_free(rows, n);
    if (rc >= 0 && n && !set_signs(s))
        rc = osmo_error_set(err, OSMO_EDATABASE, "%s; restore the database or the master key file from a backup",
                            why.code ? why.text : "no signing key is in use");
    return rc < 0 ? rc : n > 0;
}

/* 1 when there are keys, 0 when the table is empty, which changes nothing. */
static int keys_look(engine_t *e, osmo_error_t *err) {
    struct auth *a = e->auth;
    _cleanup_set_ struct key_set *known = set_of(a);
    struct key_set *s = calloc(1, sizeof *s);
    uint64_t generation = access_generation(e);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    s->refs = 1;
    int rc = set_fill(e, s, known, err);
    pthread_mutex_lock(&a->lock);
    a->looked_us = clock_mono_us();
    if (rc > 0) {
        struct key_set *old = a->keys;
        a->keys = s;
        a->keys_generation = generation;
        s = old;
    }
    pthread_mutex_unlock(&a->lock);
    set_put(s);
    return rc;
}

static bool is_old(engine_t *e, int64_t age_us) {
    struct auth *a = e->auth;
    uint64_t generation = access_generation(e);
    pthread_mutex_lock(&a->lock);
    bool old = a->keys && (generation != a->keys_generation || clock_mono_us() - a->looked_us >= age_us);
    pthread_mutex_unlock(&a->lock);
    return old;
}

/* Only another service can have made a key that is not known here. */
static bool may_be_new(engine_t *e) {
    struct auth *a = e->auth;
    int64_t now = clock_mono_us();
    if (!replicas_shared(e))
        return false;
    bool told = is_old(e, INT64_MAX);
    pthread_mutex_lock(&a->lock);
    bool may = told || now - a->asked_us >= LOOK_UNKNOWN_US;
    if (may)
        a->asked_us = now;
    pthread_mutex_unlock(&a->lock);
    return may;
}

static void key_finish(struct auth *a, int rc, const osmo_error_t *err) {
    pthread_mutex_lock(&a->lock);
    if (rc < 0) {
        a->key_error = *err;
        a->key_error.code = rc;
    }
    a->key_done = true;
    pthread_cond_broadcast(&a->key_changed);
    pthread_mutex_unlock(&a->lock);
}

static struct key_set *wait_for_set(struct auth *a, osmo_error_t *err) {
    pthread_mutex_lock(&a->lock);
    while (!a->key_done)
        pthread_cond_wait(&a->key_changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
    struct key_set *s = set_of(a);
    if (!s)
        osmo_error_set(err, OSMO_EUNAVAIL, "there is no signing key: %s", a->key_error.text);
    return s;
}

bool auth_is_ready(engine_t *e) {
    pthread_mutex_lock(&e->auth->lock);
    bool ready = e->auth_mode == OSMO_AUTH_DEV || e->auth->key_done;
    pthread_mutex_unlock(&e->auth->lock);
    return ready;
}

/* ---- new keys ---- */

struct key_change { struct signing_key_row row; bool replace; int64_t now; };

/* Rows of others: those that signed are retired, those that nobody needs any more go. */
static int retire_others(db_t *db, const struct key_change *c, struct signing_key_row *rows, size_t n, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (is_over(rows[i].retired_us, c->now))
            rc = repo_signing_key_delete(db, rows[i].kid, err);
        else if (c->replace && !rows[i].retired_us) {
            rows[i].retired_us = c->now;
            rc = repo_signing_key_put(db, &rows[i], err);
        }
    }
    return rc;
}

static int key_change_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct key_change *c = ctx;
    struct signing_key_row *rows = NULL;
    size_t n = 0, kept = 0;
    bool one = false;
    int rc = repo_kv_touch(db, VAULT_CHECK, err); /* another service may be making one, or wrapping them under another master key */
    if (rc >= 0)
        rc = repo_signing_keys(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        one |= !rows[i].retired_us;
        kept += !is_over(rows[i].retired_us, c->now);
    }
    if (rc >= 0 && c->replace && kept >= SIGNING_KEYS_MAX)
        rc = osmo_error_set(err, OSMO_ELIMIT, "there were %zu signing keys within the last %d minutes: tokens of each are still good, so "
                            "wait before there is another", kept, (int)(RETIRED_KEPT_US / 60000000));
    if (rc >= 0)
        rc = retire_others(db, c, rows, n, err);
    if (rc >= 0 && c->row.kid && (c->replace || !one))
        rc = repo_signing_key_put(db, &c->row, err);
    signing_key_rows_free(rows, n);
    return rc;
}

/* replace: the new one signs from now on; otherwise only if there is none (another service may have been faster). */
static int key_make(engine_t *e, bool replace, osmo_error_t *err) {
    _cleanup_buf_ buf_t sealed = BUF_INIT(SEALED_MAX);
    struct key_change c = { .replace = replace };
    rsa_key_t *key = NULL;
    char kid[KID_SIZE];
    const struct settings *set = engine_settings(e);
    unsigned bits = set->signing_key_bits ? (unsigned)set->signing_key_bits : BITS_DEFAULT;
    engine_settings_put(set);
    int rc = rsa_key_generate(bits, &key, err);
    if (rc >= 0)
        rc = key_seal(e, key, kid, &sealed, err);
    rsa_key_free(key);
    if (rc < 0)
        return rc;
    c.now = engine_now(e);
    c.row = (struct signing_key_row){ .kid = kid, .sealed = sealed.data, .created_us = c.now };
    rc = store_write(e->store, NULL, key_change_fn, &c, err);
    return rc < 0 ? rc : keys_look(e, err);
}

int auth_rotate_key(engine_t *e, osmo_error_t *err) {
    struct key_set *s = wait_for_set(e->auth, err);
    if (!s)
        return OSMO_EUNAVAIL;
    set_put(s);
    int rc = key_make(e, true, err);
    if (rc < 0)
        return rc;
    access_changed(e);
    log_info(&e->log, "another key signs tokens from now on; the one before it verifies for %d minutes more",
             (int)(RETIRED_KEPT_US / 60000000));
    return 0;
}

static void *keygen_main(void *arg) {
    engine_t *e = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = key_make(e, false, &err);
    if (rc < 0)
        log_error(&e->log, "cannot make the signing key: %s", err.text);
    key_finish(e->auth, rc, &err);
    return NULL;
}

/* ---- databases of earlier versions ---- */

struct plain_key { const char *pem; struct key_change change; };

static int move_plain_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct plain_key *p = ctx;
    int rc = key_change_fn(db, &p->change, err);
    return rc < 0 ? rc : repo_kv_overwrite(db, KV_SERVICE_AUTH, NULL, err);
}

static int seal_plain_key(engine_t *e, const char *pem, osmo_error_t *err) {
    _cleanup_buf_ buf_t sealed = BUF_INIT(SEALED_MAX);
    struct plain_key p = { .pem = pem };
    rsa_key_t *key = NULL;
    char kid[KID_SIZE];
    db_t *db;
    if (rsa_key_from_pem(pem, &key, err) < 0)
        return osmo_error_set(err, OSMO_EDATABASE, "the signing key in the store is damaged; restore the database from a backup");
    int rc = key_seal(e, key, kid, &sealed, err);
    rsa_key_free(key);
    if (rc < 0)
        return rc;
    p.change.now = engine_now(e);
    p.change.row = (struct signing_key_row){ .kid = kid, .sealed = sealed.data, .created_us = p.change.now };
    rc = store_write(e->store, NULL, move_plain_fn, &p, err);
    if (rc >= 0)
        rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_overwritten(db, err);
    if (rc >= 0)
        log_info(&e->log, "the signing key, which stood in the database in plain text, is sealed now; copies of the database that were "
                 "made before have it: consider osmo keys rotate signing");
    return rc;
}

static int move_plain_key(engine_t *e, osmo_error_t *err) {
    char *pem = NULL;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_kv_get(db, KV_SERVICE_AUTH, &pem, err);
    if (rc >= 0)
        rc = seal_plain_key(e, pem, err);
    secret_text_free(&pem);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* ---- life cycle ---- */

int keys_open(engine_t *e, osmo_error_t *err) {
    struct auth *a = e->auth;
    int rc = move_plain_key(e, err);
    if (rc >= 0)
        rc = keys_look(e, err);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        key_finish(a, 0, NULL);
        return 0;
    }
    if (pthread_create(&a->keygen, NULL, keygen_main, e))
        return osmo_error_set(err, OSMO_EIO, "cannot start a thread for the signing key");
    a->keygen_started = true;
    return 0;
}

void keys_close(engine_t *e) {
    if (e->auth->keygen_started)
        pthread_join(e->auth->keygen, NULL);
    set_put(e->auth->keys);
}

/* ---- use ---- */

static void swept(void *ctx, int rc, const osmo_error_t *err) {
    (void)rc, (void)err; /* the next signature tries again */
    free(ctx);
}

/* Rows of keys that are over are removed by whoever comes across one. */
static bool sweep(engine_t *e, const struct key_set *s) {
    int64_t now = engine_now(e);
    for (size_t i = 0; i < s->n; i++) {
        struct key_change *c = is_over(s->keys[i].retired_us, now) ? calloc(1, sizeof *c) : NULL;
        if (!c)
            continue;
        c->now = now;
        if (store_post(e->store, NULL, key_change_fn, swept, c) < 0)
            free(c);
        return true;
    }
    return false;
}

int keys_sign(engine_t *e, const json_t *claims, buf_t *out, osmo_error_t *err) {
    struct key_set *first = wait_for_set(e->auth, err);
    if (!first)
        return OSMO_EUNAVAIL;
    bool over = sweep(e, first);
    set_put(first);
    if (over || is_old(e, LOOK_AGAIN_US))
        keys_look(e, NULL); /* the picture is still good for a while when this fails */
    _cleanup_set_ struct key_set *s = set_of(e->auth);
    for (size_t i = 0; i < s->n; i++)
        if (!s->keys[i].retired_us)
            return jwt_sign(s->keys[i].key, claims, out, err);
    return osmo_error_set(err, OSMO_EUNAVAIL, "there is no signing key");
}

/* Without a key id (as those of OSMO are) each key has its try. */
static int set_verify(engine_t *e, const struct key_set *s, const char *kid, const char *token, size_t len, int64_t now_s, json_t **claims,
                      osmo_error_t *err) {
    int64_t now = engine_now(e);
    int rc = OSMO_ENOTFOUND;
    for (size_t i = 0; i < s->n; i++) {
        const struct signing_key *k = &s->keys[i];
        if ((*kid && !str_eq(kid, k->kid)) || is_over(k->retired_us, now))
            continue;
        rc = jwt_verify(k->key, token, len, now_s, JWT_SKEW_SECONDS, claims, err);
        if (rc >= 0 || rc == OSMO_ENOMEM)
            return rc;
    }
    return rc;
}

int keys_verify(engine_t *e, const char *token, size_t len, int64_t now_s, bool may_wait, json_t **claims, osmo_error_t *err) {
    char kid[KID_SIZE];
    _cleanup_set_ struct key_set *s = wait_for_set(e->auth, err);
    if (!s)
        return OSMO_EUNAVAIL;
    for (size_t i = 0; i < s->n; i++)
        if (jwt_names(s->keys[i].key, token, len) && !is_over(s->keys[i].retired_us, engine_now(e)))
            return jwt_verify(s->keys[i].key, token, len, now_s, JWT_SKEW_SECONDS, claims, err);
    int rc = jwt_kid(token, len, kid, sizeof kid, err);
    if (rc >= 0)
        rc = set_verify(e, s, kid, token, len, now_s, claims, err);
    if (rc != OSMO_ENOTFOUND)
        return rc;
    if (may_wait && may_be_new(e) && keys_look(e, err) > 0) {
        _cleanup_set_ struct key_set *now = set_of(e->auth);
        rc = set_verify(e, now, kid, token, len, now_s, claims, err);
    }
    return rc == OSMO_ENOTFOUND ? osmo_error_set(err, OSMO_EUNAUTH, "it was signed with a key that is not in use") : rc;
}

static int add_jwk(json_t *list, const struct signing_key *k) {
    json_t *jwk = rsa_key_jwk(k->key, k->kid);
    return jwk ? json_add(list, jwk) : OSMO_ENOMEM;
}

json_t *auth_jwks(engine_t *e) {
    struct key_set *first = wait_for_set(e->auth, NULL);
    if (!first)
        return NULL;
    set_put(first);
    if (is_old(e, LOOK_AGAIN_US))
        keys_look(e, NULL);
    _cleanup_set_ struct key_set *s = set_of(e->auth);
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    int64_t now = engine_now(e);
    int rc = o && list ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < s->n; i++)
        if (!is_over(s->keys[i].retired_us, now))
            rc = add_jwk(list, &s->keys[i]);
    if (rc < 0) {
        json_free(list);
        return NULL;
    }
    return json_set(o, "keys", list) < 0 ? NULL : STEAL(o);
}
