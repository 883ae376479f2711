/* Secrets of the service: the master secret, from which tokens of tasks are derived, and the administrator. Called by
 * engine_open/engine_close; signing keys are in auth_keys.c, token work in auth_tokens.c, identities in auth_identify.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/auth_internal.h"
#include "engine/vault_internal.h"
#include "model/account.h"
#include "store/repo_auth.h"
#include "store/repo_secure.h"

#define SEALED_MAX 8192
#define KV_ADMIN_PREFIX "admin_token_sha256:"
#define ADMIN_TOKEN_NAME "default-admin-token"
#define ADMIN_ROLE "osmo-admin"
#define ADMIN_TOKEN_DAYS 3650
#define DEFAULT_ADMIN "admin"
#define DIFFERENT_CHARS_MIN 12
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

void secret_text_free(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

/* ---- the master secret ---- */

struct master_change { char *kept; const char *plain, *sealed; };

/* Whoever comes first makes it; what an earlier version left in plain text is replaced. */
static int master_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct master_change *m = ctx;
    secret_text_free(&m->kept);
    int rc = repo_kv_touch(db, VAULT_CHECK, err); /* it may just be wrapped under another key */
    if (rc >= 0)
        rc = m->plain ? 0 : repo_kv_set_if_absent(db, VAULT_MASTER_SECRET, m->sealed, err);
    if (rc >= 0)
        rc = repo_kv_get(db, VAULT_MASTER_SECRET, &m->kept, err);
    if (rc < 0 || !m->plain || !str_eq(m->kept, m->plain))
        return rc;
    secret_text_free(&m->kept);
    rc = repo_kv_overwrite(db, VAULT_MASTER_SECRET, m->sealed, err);
    return rc < 0 ? rc : repo_kv_get(db, VAULT_MASTER_SECRET, &m->kept, err);
}

static bool is_sealed(const char *text) {
    char kid[SEAL_KID_MAX];
    return text && sealed_kid(text, strlen(text), kid, NULL) == 0;
}

/* Seals `secret`, base64url of 32 bytes, and keeps it unless there is one. *kept is sealed. */
static int master_put(engine_t *e, const char *secret, bool was_plain, char **kept, osmo_error_t *err) {
    _cleanup_buf_ buf_t sealed = BUF_INIT(SEALED_MAX);
    struct master_change m = { .plain = was_plain ? secret : NULL };
    db_t *db;
    int rc = vault_seal(e, secret, strlen(secret), &sealed, err);
    m.sealed = sealed.data;
    if (rc >= 0)
        rc = store_write(e->store, NULL, master_fn, &m, err);
    if (rc >= 0 && was_plain)
        rc = store_reader(e->store, &db, err);
    if (rc >= 0 && was_plain)
        rc = repo_overwritten(db, err);
    *kept = m.kept;
    return rc;
}

static int find_master(engine_t *e, char **kept, osmo_error_t *err) {
    uint8_t secret[32];
    char text[ACCESS_TOKEN_LEN + 1] = "";
    _cleanup_secret_ char *plain = NULL;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_kv_get(db, VAULT_MASTER_SECRET, &plain, err);
    if (rc >= 0 && is_sealed(plain)) {
        *kept = STEAL(plain);
        return 0;
    }
    if (rc >= 0)
        return master_put(e, plain, true, kept, err);
    if (rc != OSMO_ENOTFOUND)
        return rc;
    if (crypto_random(secret, sizeof secret) < 0 || token_text(secret, text) < 0)
        rc = osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    else
        rc = master_put(e, text, false, kept, err);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(text, sizeof text);
    return rc;
}

static int load_master(engine_t *e, struct auth *a, osmo_error_t *err) {
    _cleanup_secret_ char *kept = NULL;
    _cleanup_buf_ buf_t text = BUF_SECRET(SEALED_MAX), raw = BUF_SECRET(64);
    int rc = find_master(e, &kept, err);
    if (rc >= 0)
        rc = vault_unseal(e, kept, strlen(kept), &text, err);
    if (rc >= 0)
        rc = crypto_base64_decode(buf_cstr(&text), text.len, &raw, err);
    if (rc >= 0 && raw.len == sizeof a->master)
        memcpy(a->master, raw.data, sizeof a->master);
    else if (rc >= 0 || rc == OSMO_EINVAL)
        rc = osmo_error_set(err, OSMO_EDATABASE, "the master secret in the store is damaged; restore the database from a backup");
    return rc < 0 ? rc : 0;
}

/* ---- administrator ---- */

static int was_administrator(db_t *db, const char *user, bool *yes, osmo_error_t *err) {
    _cleanup_free_ char *key = str_printf("%s%s", KV_ADMIN_PREFIX, user);
    _cleanup_secret_ char *kept = NULL;
    int rc = key ? repo_kv_get(db, key, &kept, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *yes = rc >= 0;
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

int auth_is_administrator(engine_t *e, const char *user, bool *yes, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    return rc < 0 ? rc : was_administrator(db, user, yes, err);
}

struct admin_change { const char *user, *kv_key; uint8_t hash[32]; char hex[65]; bool with_token, only_if_absent,
    kept; int64_t now; };

/* Is there a token that an earlier open made, or was given as now, still this user's and an administrator's? It stays then, and with it
 * what it was exchanged for. Whoever took the last administrator its role has it back by a restart. */
static int admin_token_known(db_t *db, const struct admin_change *ch, bool *known, osmo_error_t *err) {
    _cleanup_free_ char *hex = NULL;
    struct token_row row = { 0 };
    strlist_t held = { 0 };
    uint8_t hash[32];
    *known = false;
    int rc = repo_kv_get(db, ch->kv_key, &hex, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    if (!ch->only_if_absent && !str_eq(hex, ch->hex))
        return 0;
    for (size_t i = 0; i < sizeof hash; i++) {
        unsigned byte;
        if (strlen(hex) != 64 || sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return 0;
        hash[i] = (uint8_t)byte;
    }
    rc = repo_token_by_hash(db, hash, &row, err);
    if (rc >= 0)
        rc = repo_token_held(db, row.user, row.name, &held, err);
    *known = rc >= 0 && str_eq(row.user, ch->user) && row.expires_us > ch->now && strlist_has(&held, ADMIN_ROLE);
    strlist_free(&held);
    token_row_clear(&row);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* The same token under another name: who had it before has it no more. Anybody else's it must not be. */
static int take_over(db_t *db, const struct admin_change *ch, osmo_error_t *err) {
    struct token_row row = { 0 };
    bool before = false;
    int rc = repo_token_by_hash(db, ch->hash, &row, err);
    if (rc == OSMO_ENOTFOUND)
        return 0;
    if (rc >= 0)
        rc = was_administrator(db, row.user, &before, err);
    if (rc >= 0 && !(before && str_eq(row.name, ADMIN_TOKEN_NAME)))
        rc = osmo_error_set(err, OSMO_EINVAL, "the administrator token is access token %.130s of user %.256s already: make another one",
                            row.name, row.user);
    else if (rc >= 0)
        rc = repo_token_delete(db, row.user, row.name, err);
    token_row_clear(&row);
    return rc;
}

static int admin_token_put(db_t *db, struct admin_change *ch, osmo_error_t *err) {
    bool known = false;
    /* Another replica may be making one at the same time: whoever writes this row first goes first. */
    int rc = repo_kv_touch(db, ch->kv_key, err);
    if (rc >= 0)
        rc = admin_token_known(db, ch, &known, err);
    ch->kept = known;
    if (rc < 0 || known)
        return rc;
    struct token_row row = { .user = (char *)ch->user, .name = (char *)ADMIN_TOKEN_NAME,
        .description = (char *)"made at the first start",
                             .created_us = ch->now };
    char *names[] = { (char *)ADMIN_ROLE, (char *)"osmo-user" };
    const strlist_t roles = { .items = names, .len = 2 };
    row.expires_us = ch->now + ADMIN_TOKEN_DAYS * DAY_US;
    memcpy(row.hash, ch->hash, sizeof row.hash);
    rc = repo_token_delete(db, ch->user, ADMIN_TOKEN_NAME, err);
    if (rc >= 0 || rc == OSMO_ENOTFOUND)
        rc = take_over(db, ch, err);
    if (rc >= 0)
        rc = repo_token_add(db, &row, &roles, ch->user, err);
    return rc < 0 ? rc : repo_kv_set(db, ch->kv_key, ch->hex, err);
}

static int admin_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct admin_change *ch = ctx;
    int rc = repo_user_ensure(db, ch->user, ch->user, ch->now, err);
    if (rc >= 0)
        rc = repo_user_lock(db, ch->user, err);
    if (rc >= 0)
        rc = repo_assignment_add(db, ch->user, ADMIN_ROLE, ch->user, ch->now, NULL, NULL, err);
    if (rc >= 0)
        rc = repo_assignment_add(db, ch->user, "osmo-user", ch->user, ch->now, NULL, NULL, err);
    return rc >= 0 && ch->with_token ? admin_token_put(db, ch, err) : rc;
}

static bool token_chars(const char *text, size_t len) {
    return strlen(text) == len && strspn(text,
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

/* Random bytes have many different ones of 64 characters in 43; a word that is repeated has not. */
static bool is_random(const char *text) {
    bool seen[256] = { false };
    size_t n = 0;
    for (; *text; text++) {
        n += !seen[(unsigned char)*text];
        seen[(unsigned char)*text] = true;
    }
    return n >= DIFFERENT_CHARS_MIN;
}

static int check_admin(const char *user, const char *token, osmo_error_t *err) {
    if (!user_name_valid(user))
        return osmo_error_set(err, OSMO_EINVAL, "the administrator's name must begin and end with a letter or digit, with those and "
                                                "_ . @ - in between, and not with backend-operator-");
    if (token && !(token_chars(token, ACCESS_TOKEN_LEN) && is_random(token)))
        return osmo_error_set(err, OSMO_EINVAL,
                              "the administrator token must be %d random characters of A-Z a-z 0-9 - _; "
                              "make one with: head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =", ACCESS_TOKEN_LEN);
    return 0;
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
    if (check_admin(ch.user, o->admin_token, err) < 0)
        return OSMO_EINVAL;
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
        rc = keys_open(e, err);
    if (rc < 0)
        auth_close(e);
    return rc;
}

void auth_close(engine_t *e) {
    struct auth *a = e->auth;
    if (!a)
        return;
    keys_close(e);
    secret_text_free(&a->admin_token);
    crypto_wipe(a->master, sizeof a->master);
    pthread_cond_destroy(&a->key_changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
    e->auth = NULL;
}
