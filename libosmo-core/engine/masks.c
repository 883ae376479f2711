/* See masks.h. A mask is found by its user and is right as long as the digest of the user's rows is the same. */
#include "engine/masks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/map.h"
#include "engine/credentials.h"
#include "model/mask.h"
#include "model/redact.h"
#include "store/repo.h"

#define USERS_MAX 256
#define MASKED_MAX (64u << 20)

struct user_mask {
    _Atomic unsigned refs;
    struct mask *mask;
    uint8_t digest[32]; /* of the rows it was made of */
};
struct masks {
    pthread_mutex_t lock;
    map_t *users; /* → struct user_mask */
};

void masks_put(struct user_mask *m) {
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    mask_free(m->mask);
    free(m);
}

static void put_value(void *m) { masks_put(m); }

int masks_open(engine_t *e, osmo_error_t *err) {
    struct masks *m = calloc(1, sizeof *m);
    if (m)
        m->users = map_new(put_value);
    if (!m || !m->users) {
        free(m);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&m->lock, NULL);
    e->masks = m;
    return 0;
}

void masks_close(engine_t *e) {
    struct masks *m = e->masks;
    if (!m)
        return;
    e->masks = NULL;
    map_free(m->users);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- making one ---- */

/* A login is a secret by itself, and as registries' configuration files have it. */
static int add_registry(struct mask *m, const struct pod_credential *c) {
    const char *user = credentials_value(c, "username"), *auth = credentials_value(c, "auth");
    _cleanup_buf_ buf_t both = BUF_SECRET(CREDENTIAL_TOTAL_MAX);
    int rc = auth ? mask_add(m, auth) : 0;
    if (rc < 0 || !auth || !*auth)
        return rc;
    buf_printf(&both, "%s:%s", user ? user : "", auth);
    return buf_failed(&both) ? both.code : mask_add(m, both.data);
}

static int add_credential(struct mask *m, const struct pod_credential *c) {
    int rc = 0;
    if (c->type == POD_CREDENTIAL_REGISTRY)
        return add_registry(m, c);
    for (size_t i = 0; i < c->npairs && rc >= 0; i++)
        if (c->type == POD_CREDENTIAL_GENERIC || str_eq(c->pairs[i].key, "access_key"))
            rc = mask_add(m, c->pairs[i].value);
    return rc;
}

static int make(engine_t *e, db_t *db, const char *user, const uint8_t digest[32], struct user_mask **out, osmo_error_t *err) {
    _cleanup_(credentials_wipe) struct credentials own = { 0 };
    int rc = credentials_open_readable(e, db, user, &own, err);
    struct user_mask *m = rc < 0 ? NULL : calloc(1, sizeof *m);
    if (m)
        m->mask = mask_new();
    if (rc >= 0 && (!m || !m->mask))
        rc = OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < own.n; i++) {
        rc = add_credential(m->mask, &own.list[i]);
        if (rc == OSMO_ELIMIT) {
            log_warning(&e->log, "credential %s of %s is too large to be masked in logs", own.list[i].name, user);
            rc = 0;
        }
    }
    if (rc >= 0)
        rc = mask_build(m->mask);
    if (rc < 0) {
        if (m)
            mask_free(m->mask);
        free(m);
        return rc == OSMO_ENOMEM ? osmo_error_set(err, rc, "out of memory") : rc;
    }
    memcpy(m->digest, digest, 32);
    atomic_init(&m->refs, 1);
    *out = m;
    return 0;
}

static int digest_of(const struct credential_row *rows, size_t n, uint8_t out[32]) {
    uint8_t chain[64] = { 0 };
    for (size_t i = 0; i < n; i++) {
        crypto_sha256(rows[i].payload ? rows[i].payload : "", rows[i].payload ? strlen(rows[i].payload) : 0, chain + 32);
        crypto_sha256(chain, sizeof chain, chain);
    }
    memcpy(out, chain, 32);
    return 0;
}

static struct user_mask *find(struct masks *all, const char *user, const uint8_t digest[32]) {
    pthread_mutex_lock(&all->lock);
    struct user_mask *m = map_get(all->users, user);
    if (m && memcmp(m->digest, digest, 32) != 0)
        m = NULL;
    if (m)
        atomic_fetch_add(&m->refs, 1);
    pthread_mutex_unlock(&all->lock);
    return m;
}

/* For the next one who asks. Anybody's makes room. */
static void keep(struct masks *all, const char *user, struct user_mask *m) {
    const char *key;
    void *value;
    size_t it = 0;
    atomic_fetch_add(&m->refs, 1);
    pthread_mutex_lock(&all->lock);
    if (map_len(all->users) >= USERS_MAX && !map_has(all->users, user) && map_next(all->users, &it, &key, &value))
        map_remove(all->users, key);
    (void)map_set(all->users, user, m); /* it lets go of m where it fails */
    pthread_mutex_unlock(&all->lock);
}

int masks_get(engine_t *e, db_t *db, const char *user, struct user_mask **out, osmo_error_t *err) {
    struct credential_row *rows = NULL;
    size_t n = 0;
    uint8_t digest[32];
    *out = NULL;
    int rc = repo_credential_list(db, user, &rows, &n, err);
    if (rc >= 0 && n) {
        digest_of(rows, n, digest);
        *out = find(e->masks, user, digest);
        if (!*out && (rc = make(e, db, user, digest, out, err)) >= 0)
            keep(e->masks, user, *out);
    }
    credential_rows_free(rows, n);
    if (rc >= 0 && *out && mask_is_empty((*out)->mask)) {
        masks_put(*out);
        *out = NULL;
    }
    return rc < 0 ? rc : 0;
}

/* ---- using it ---- */

int masks_apply(const struct user_mask *m, const char *text, size_t len, uint32_t *state, bool cut, char **out, size_t *out_len) {
    _cleanup_buf_ buf_t masked = BUF_INIT(MASKED_MAX);
    bool changed = false;
    *out = NULL;
    int rc = m ? mask_apply(m->mask, text, len, state, cut, &masked, &changed) : 0;
    if (rc < 0 || !changed)
        return rc;
    *out = buf_steal(&masked, out_len);
    return *out ? 0 : OSMO_ENOMEM;
}

static int replace(engine_t *e, db_t *db, const char *user, char **text) {
    struct user_mask *m = NULL;
    char *masked = NULL;
    size_t len;
    int rc = masks_get(e, db, user, &m, NULL);
    if (rc >= 0)
        rc = masks_apply(m, *text, strlen(*text), NULL, false, &masked, &len);
    masks_put(m);
    if (masked) {
        free(*text);
        *text = masked;
    }
    return rc;
}

static void drop(char **text) {
    free(*text);
    *text = str_dup(REDACTED);
}

void masks_text(engine_t *e, db_t *db, const char *user, char **text) {
    if (*text && **text && user && replace(e, db, user, text) < 0)
        drop(text);
}

void masks_workflow_text(engine_t *e, const char *workflow_uuid, char **text) {
    struct workflow_row wf = { 0 };
    db_t *db = NULL;
    if (!*text || !**text)
        return;
    int rc = store_reader(e->store, &db, NULL);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_uuid, &wf, NULL);
    if (rc >= 0)
        masks_text(e, db, wf.user, text);
    else if (rc != OSMO_ENOTFOUND) /* else it is nobody's */
        drop(text);
    workflow_row_clear(&wf);
}
