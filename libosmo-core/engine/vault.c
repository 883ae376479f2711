/* Secrets at rest: sealing under the master key and under keys of users; see vault.h. */
#include "engine/vault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/secret.h"
#include "engine/vault_internal.h"
#include "store/repo_auth.h"

#define CHECK_WORD "osmo"
#define SEALED_KEY_MAX 8192
#define USER_KEY_FRESH_US (60LL * 1000 * 1000) /* a user that was deleted is forgotten after this */

/* ---- master keys ---- */

/* needed: a key without which what was read before stays; NULL for none. */
static int reload(struct vault *v, const char *needed, osmo_error_t *err) {
    struct stat seen = { 0 };
    struct master_ring *fresh = secret_alloc(sizeof *fresh);
    if (!fresh)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (stat(v->path, &seen) < 0) /* before it is read: a later change is seen the next time */
        memset(&seen, 0, sizeof seen);
    int rc = master_file_read(v->path, fresh, err);
    if (rc >= 0 && needed && !master_find(fresh, needed))
        rc = osmo_error_set(err, OSMO_EDENIED, "the master key file %s does not have the key that is in use, %.60s: the former keys stay",
                            v->path, needed);
    pthread_mutex_lock(&v->lock);
    v->seen = seen;
    if (rc >= 0) {
        struct master_ring *old = v->ring;
        v->ring = fresh;
        fresh = old;
    }
    pthread_mutex_unlock(&v->lock);
    secret_free(fresh, sizeof *fresh);
    return rc;
}

int vault_reload(struct vault *v, osmo_error_t *err) { return reload(v, NULL, err); }

static bool file_has_changed(struct vault *v) {
    struct stat now;
    if (stat(v->path, &now) < 0)
        return false;
    pthread_mutex_lock(&v->lock);
    bool changed = now.st_ino != v->seen.st_ino || now.st_size != v->seen.st_size || now.st_dev != v->seen.st_dev ||
                   now.st_mtim.tv_sec != v->seen.st_mtim.tv_sec || now.st_mtim.tv_nsec != v->seen.st_mtim.tv_nsec;
    pthread_mutex_unlock(&v->lock);
    return changed;
}

static bool copy_master(struct vault *v, const char *kid, struct seal_key *out) {
    pthread_mutex_lock(&v->lock);
    const struct seal_key *k = master_find(v->ring, kid);
    if (k)
        *out = *k;
    pthread_mutex_unlock(&v->lock);
    return k;
}

int vault_master(struct vault *v, const char *kid, struct seal_key *out, osmo_error_t *err) {
    if (copy_master(v, kid, out))
        return 0;
    osmo_error_t why = OSMO_ERROR_INIT;
    if (file_has_changed(v) && vault_reload(v, &why) < 0)
        return osmo_error_set(err, OSMO_EDENIED, "a secret was sealed under master key %.60s, and the keys cannot be read again: %s", kid,
                              why.text);
    return copy_master(v, kid, out)
               ? 0 : osmo_error_set(err, OSMO_EDENIED, "a secret was sealed under master key %.60s, which %s does not have: put that key "
                                    "back into the file", kid, v->path);
}

void vault_current(struct vault *v, struct seal_key *out) {
    pthread_mutex_lock(&v->lock);
    *out = v->ring->keys[v->ring->current];
    pthread_mutex_unlock(&v->lock);
}

static int unseal_master(struct vault *v, const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    struct seal_key master;
    char kid[SEAL_KID_MAX];
    int rc = sealed_kid(text, len, kid, err);
    if (rc >= 0)
        rc = vault_master(v, kid, &master, err);
    if (rc >= 0)
        rc = unseal(&master, text, len, out, err);
    seal_key_wipe(&master);
    return rc;
}

int vault_wrap_again(struct vault *v, const char *sealed, const struct seal_key *to, buf_t *again, osmo_error_t *err) {
    _cleanup_buf_ buf_t plain = BUF_SECRET(SEAL_TEXT_MAX);
    int rc = unseal_master(v, sealed, strlen(sealed), &plain, err);
    return rc < 0 ? rc : seal(to, plain.data ? plain.data : "", plain.len, again, err);
}

/* ---- which of them is the current one ---- */

/* The one that the database names, so that all its services agree. */
static int agreed_kid(db_t *db, char kid[SEAL_KID_MAX], osmo_error_t *err) {
    _cleanup_free_ char *check = NULL;
    int rc = repo_kv_get(db, VAULT_CHECK, &check, err);
    return rc < 0 ? rc : sealed_kid(check, strlen(check), kid, err);
}

static int agreed_master(struct vault *v, db_t *db, struct seal_key *out, osmo_error_t *err) {
    char kid[SEAL_KID_MAX];
    int rc = agreed_kid(db, kid, err);
    return rc < 0 ? rc : vault_master(v, kid, out, err);
}

int vault_read_again(engine_t *e, osmo_error_t *err) {
    char kid[SEAL_KID_MAX];
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = agreed_kid(db, kid, err);
    return rc < 0 ? rc : reload(e->vault, kid, err);
}

static int seal_check(const struct seal_key *k, db_t *db, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(SEALED_KEY_MAX);
    int rc = seal(k, CHECK_WORD, sizeof CHECK_WORD - 1, &text, err);
    return rc < 0 ? rc : repo_kv_set(db, VAULT_CHECK, text.data, err);
}

static int check_fits(struct vault *v, const char *check, const char *kid, osmo_error_t *err) {
    _cleanup_buf_ buf_t word = BUF_SECRET(SEALED_KEY_MAX);
    struct seal_key master;
    if (!copy_master(v, kid, &master))
        return osmo_error_set(err, OSMO_EDENIED, "the secrets in the database are sealed under master key %.60s, which %s does not have: "
                              "use the master key file that the database was made with (--master-key FILE)", kid, v->path);
    int rc = unseal(&master, check, strlen(check), &word, NULL);
    seal_key_wipe(&master);
    if (rc == OSMO_ENOMEM)
        return osmo_error_set(err, rc, "out of memory");
    return rc < 0 ? osmo_error_set(err, OSMO_EDENIED, "master key %.60s in %s is another one than the one of this name that the database "
                                   "was made with: use that master key file (--master-key FILE)", kid, v->path) : 0;
}

int vault_announce(struct vault *v, db_t *db, bool *changed, osmo_error_t *err) {
    _cleanup_free_ char *check = NULL;
    struct seal_key current;
    char kid[SEAL_KID_MAX];
    int rc = repo_kv_touch(db, VAULT_CHECK, err);
    if (rc >= 0)
        rc = repo_kv_get(db, VAULT_CHECK, &check, err);
    if (rc >= 0 && *check && sealed_kid(check, strlen(check), kid, NULL) < 0)
        rc = osmo_error_set(err, OSMO_EDATABASE, "row vault_check of the database is damaged; restore the database from a backup");
    if (rc >= 0 && *check)
        rc = check_fits(v, check, kid, err);
    if (rc < 0)
        return rc;
    vault_current(v, &current);
    *changed = !*check || !str_eq(kid, current.kid);
    if (*changed)
        rc = seal_check(&current, db, err);
    if (rc >= 0 && !*check)
        rc = repo_kv_set(db, VAULT_DONE, current.kid, err);
    seal_key_wipe(&current);
    return rc;
}

/* ---- opening ---- */

static int announce_fn(db_t *db, void *ctx, osmo_error_t *err) {
    bool changed;
    return vault_announce(ctx, db, &changed, err);
}

/* A new file is of no use for a database that has secrets already. */
static int check_is_new(engine_t *e, const char *path, osmo_error_t *err) {
    _cleanup_free_ char *check = NULL;
    char kid[SEAL_KID_MAX] = "?";
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_kv_get(db, VAULT_CHECK, &check, err);
    if (rc < 0)
        return rc == OSMO_ENOTFOUND ? 0 : rc;
    sealed_kid(check, strlen(check), kid, NULL);
    return osmo_error_set(err, OSMO_EDENIED, "the secrets in the database are sealed under master key %.60s, and there is no %s: bring the "
                          "master key file that the database was made with to that place, or name it with --master-key FILE", kid,
                          path);
}

static int open_file(engine_t *e, struct vault *v, const osmo_service_options_t *o, bool *made, osmo_error_t *err) {
    struct stat st;
    v->path = o->master_key_file && *o->master_key_file ? str_dup(o->master_key_file) : str_printf("%s/master-key.yaml", e->data_dir);
    v->ours = !(o->master_key_file && *o->master_key_file);
    if (!v->path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (v->ours && !file_exists(v->path)) {
        int rc = check_is_new(e, v->path, err);
        if (rc >= 0)
            rc = master_file_make(v->path, made, err);
        if (rc < 0)
            return rc;
    }
    int rc = vault_reload(v, err);
    if (rc >= 0 && stat(v->path, &st) == 0 && (st.st_mode & 07))
        log_warning(&e->log, "everybody on this machine may read the master keys in %s; remedy: chmod o= %s", v->path, v->path);
    return rc;
}

int vault_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err) {
    bool made = false;
    struct vault *v = calloc(1, sizeof *v);
    if (!v)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&v->lock, NULL);
    pthread_mutex_init(&v->rotating, NULL);
    e->vault = v;
    v->users = secret_alloc(sizeof *v->users);
    int rc = v->users ? open_file(e, v, o, &made, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = store_write(e->store, NULL, announce_fn, v, err);
    if (rc == OSMO_EDENIED && made)
        unlink(v->path); /* another service was faster: nothing was sealed under this one */
    if (rc >= 0 && made)
        log_info(&e->log, "made the master key file %s: keep a copy of it apart from copies of the database", v->path);
    if (rc < 0)
        vault_close(e);
    return rc;
}

void vault_close(engine_t *e) {
    struct vault *v = e->vault;
    if (!v)
        return;
    secret_free(v->ring, sizeof *v->ring);
    secret_free(v->users, sizeof *v->users);
    pthread_mutex_destroy(&v->rotating);
    pthread_mutex_destroy(&v->lock);
    free(v->path);
    free(v);
    e->vault = NULL;
}

/* ---- secrets of the service ---- */

int vault_seal(engine_t *e, const void *data, size_t len, buf_t *out, osmo_error_t *err) {
    struct seal_key master;
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = agreed_master(e->vault, db, &master, err);
    if (rc < 0)
        return rc;
    rc = seal(&master, data, len, out, err);
    seal_key_wipe(&master);
    return rc;
}

int vault_unseal(engine_t *e, const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    return unseal_master(e->vault, text, len, out, err);
}

/* ---- keys of users, as they were read lately ---- */

static bool cache_get(struct vault *v, const uint8_t user[32], const char *kid, struct seal_key *out) {
    int64_t now = clock_mono_us();
    bool found = false;
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < VAULT_USERS_MAX; i++) {
        struct vault_user *u = &v->users->items[i];
        if (u->full && now - u->read_us >= USER_KEY_FRESH_US)
            crypto_wipe(u, sizeof *u);
        if (!found && u->full && !memcmp(u->user, user, 32) && str_eq(u->key.kid, kid)) {
            *out = u->key;
            u->used = ++v->clock;
            found = true;
        }
    }
    pthread_mutex_unlock(&v->lock);
    return found;
}

static void cache_put(struct vault *v, const uint8_t user[32], const struct seal_key *key) {
    pthread_mutex_lock(&v->lock);
    struct vault_user *slot = &v->users->items[0];
    for (size_t i = 0; i < VAULT_USERS_MAX && slot->full; i++)
        if (!v->users->items[i].full || v->users->items[i].used < slot->used)
            slot = &v->users->items[i];
    crypto_wipe(slot, sizeof *slot);
    memcpy(slot->user, user, 32);
    slot->key = *key;
    slot->read_us = clock_mono_us();
    slot->used = ++v->clock;
    slot->full = true;
    pthread_mutex_unlock(&v->lock);
}

static int open_user_key(struct vault *v, const struct user_key_row *row, struct seal_key *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t jwk = BUF_SECRET(SEALED_KEY_MAX);
    int rc = unseal_master(v, row->sealed, strlen(row->sealed), &jwk, err);
    if (rc >= 0)
        rc = seal_key_parse(jwk.data ? jwk.data : "", jwk.len, out, err);
    if (rc >= 0 && !str_eq(out->kid, row->kid))
        rc = osmo_error_set(err, OSMO_EDENIED, "the row has the key of another one");
    if (rc < 0 && rc != OSMO_ENOMEM) {
        seal_key_wipe(out);
        osmo_error_prefix(err, "key %.40s of user %.200s cannot be opened", row->kid, row->user);
    }
    return rc;
}

static int user_key(struct vault *v, const struct user_key_row *row, struct seal_key *out, osmo_error_t *err) {
    uint8_t user[32];
    crypto_sha256(row->user, strlen(row->user), user);
    if (cache_get(v, user, row->kid, out))
        return 0;
    int rc = open_user_key(v, row, out, err);
    if (rc >= 0)
        cache_put(v, user, out);
    return rc;
}

/* ---- secrets of users ---- */

/* The row of the check is touched first: two services, or a rotation, that want the same go one after another. */
static int make_user_key(struct vault *v, db_t *db, const char *user, struct seal_key *out, osmo_error_t *err) {
    _cleanup_buf_ buf_t jwk = BUF_SECRET(SEALED_KEY_MAX), sealed = BUF_INIT(SEALED_KEY_MAX);
    struct seal_key master;
    if (seal_key_new(out) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    int rc = agreed_master(v, db, &master, err);
    if (rc < 0)
        return rc;
    rc = seal_key_write(out, &jwk, err);
    if (rc >= 0)
        rc = seal(&master, jwk.data, jwk.len, &sealed, err);
    seal_key_wipe(&master);
    struct user_key_row row = { .user = (char *)user, .kid = out->kid, .sealed = sealed.data, .current = true };
    return rc < 0 ? rc : repo_user_key_put(db, &row, err);
}

static int find_current(struct vault *v, db_t *db, const char *user, bool *found, struct seal_key *out, osmo_error_t *err) {
    struct user_key_row *rows = NULL;
    size_t n = 0;
    *found = false;
    int rc = repo_user_keys(db, user, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n && !*found; i++) {
        if (!rows[i].current)
            continue;
        *found = true;
        rc = user_key(v, &rows[i], out, err);
    }
    user_key_rows_free(rows, n);
    return rc;
}

int vault_seal_for(engine_t *e, db_t *db, const char *user, const void *data, size_t len, buf_t *out, osmo_error_t *err) {
    struct seal_key key;
    bool found;
    int rc = find_current(e->vault, db, user, &found, &key, err);
    if (rc >= 0 && !found)
        rc = repo_kv_touch(db, VAULT_CHECK, err);
    if (rc >= 0 && !found)
        rc = find_current(e->vault, db, user, &found, &key, err);
    if (rc >= 0 && !found)
        rc = make_user_key(e->vault, db, user, &key, err);
    if (rc >= 0)
        rc = seal(&key, data, len, out, err);
    seal_key_wipe(&key);
    return rc;
}

int vault_unseal_for(engine_t *e, db_t *db, const char *user, const char *text, size_t len, buf_t *out, osmo_error_t *err) {
    struct user_key_row *rows = NULL;
    struct seal_key key;
    uint8_t hash[32];
    char kid[SEAL_KID_MAX];
    size_t n = 0, i = 0;
    int rc = sealed_kid(text, len, kid, err);
    if (rc < 0)
        return rc;
    crypto_sha256(user, strlen(user), hash);
    if (!cache_get(e->vault, hash, kid, &key)) {
        rc = repo_user_keys(db, user, &rows, &n, err);
        while (rc >= 0 && i < n && !str_eq(rows[i].kid, kid))
            i++;
        if (rc >= 0 && i == n)
            rc = osmo_error_set(err, OSMO_EDENIED, "the key %.40s of user %.200s is not there any more: store the secret anew", kid, user);
        if (rc >= 0)
            rc = user_key(e->vault, &rows[i], &key, err);
        user_key_rows_free(rows, n);
    }
    if (rc >= 0)
        rc = unseal(&key, text, len, out, err);
    seal_key_wipe(&key);
    return rc;
}
