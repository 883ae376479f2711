/* Another master key: what is sealed under others is wrapped again, in pieces, while everything runs. See vault.h.
 *
 * The key is announced first (VAULT_CHECK): from then on every service of the database seals under it. A piece is one transaction that
 * reads its rows again, so that it can be repeated, and two services may rotate at once. Passes go on until one finds nothing to do. What
 * cannot be opened stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/secret.h"
#include "engine/replicas.h"
#include "engine/vault_internal.h"
#include "store/repo_auth.h"

#define PIECE 32
#define PASSES_MAX 10
#define SEALED_MAX (2u << 20)

static _Atomic unsigned pieces_left;

void vault_rotate_pieces(unsigned n) { atomic_store(&pieces_left, n); }

/* Of all pieces, the last one allowed is the one before which it ends. */
static bool ends_here(void) { return atomic_load(&pieces_left) && atomic_fetch_sub(&pieces_left, 1) == 1; }

struct rotation {
    engine_t *e;
    struct vault *v;
    struct seal_key to;
    strlist_t *left;    /* of this pass; what a piece adds is undone when it runs again */
    size_t left_before, changed, changed_before;
    const struct user_key_row *users;
    const struct signing_key_row *signing;
    size_t n;
};

/* Sets *again to NULL when there is nothing to do, or no way. */
static int wrap(struct rotation *r, const char *what, const char *name, const char *sealed, char **again, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(SEALED_MAX);
    osmo_error_t why = OSMO_ERROR_INIT;
    char kid[SEAL_KID_MAX];
    *again = NULL;
    int rc = sealed_kid(sealed, strlen(sealed), kid, &why);
    if (rc >= 0 && str_eq(kid, r->to.kid))
        return 0;
    if (rc >= 0)
        rc = vault_wrap_again(r->v, sealed, &r->to, &text, &why);
    if (rc == OSMO_EINVAL || rc == OSMO_EDENIED) {
        _cleanup_free_ char *line = str_printf("%s %s: %s", what, name, why.text);
        return line && strlist_add(r->left, line) >= 0 ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    if (rc < 0)
        return osmo_error_set(err, rc, "%s %s: %s", what, name, why.text);
    *again = buf_steal(&text, NULL);
    if (!*again)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    r->changed++;
    return 0;
}

static void start_piece(struct rotation *r) {
    while (r->left->len > r->left_before)
        free(r->left->items[--r->left->len]);
    r->changed = r->changed_before;
}

/* ---- keys of users ---- */

static int wrap_user_key(struct rotation *r, db_t *db, const struct user_key_row *wanted, osmo_error_t *err) {
    struct user_key_row *now = NULL;
    size_t n = 0;
    int rc = repo_user_keys(db, wanted->user, &now, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        _cleanup_free_ char *again = NULL;
        if (!str_eq(now[i].kid, wanted->kid))
            continue;
        _cleanup_free_ char *name = str_printf("%s of user %s", now[i].kid, now[i].user);
        rc = name ? wrap(r, "key", name, now[i].sealed, &again, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        if (rc < 0 || !again)
            continue;
        struct user_key_row row = now[i];
        row.sealed = again;
        rc = repo_user_key_put(db, &row, err);
    }
    user_key_rows_free(now, n);
    return rc;
}

static int users_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct rotation *r = ctx;
    int rc = 0;
    start_piece(r);
    for (size_t i = 0; rc >= 0 && i < r->n; i++)
        rc = wrap_user_key(r, db, &r->users[i], err);
    return rc;
}

/* ---- signing keys, and what else the service has ---- */

static int wrap_signing_key(struct rotation *r, db_t *db, const struct signing_key_row *k, osmo_error_t *err) {
    _cleanup_free_ char *again = NULL;
    int rc = wrap(r, "signing key", k->kid, k->sealed, &again, err);
    if (rc < 0 || !again)
        return rc;
    struct signing_key_row row = *k;
    row.sealed = again;
    return repo_signing_key_put(db, &row, err);
}

static int wrap_kv(struct rotation *r, db_t *db, const char *key, osmo_error_t *err) {
    _cleanup_free_ char *now = NULL, *again = NULL;
    int rc = repo_kv_get(db, key, &now, err);
    if (rc == OSMO_ENOTFOUND)
        return 0;
    if (rc >= 0)
        rc = wrap(r, "the service's", key, now, &again, err);
    return rc >= 0 && again ? repo_kv_set(db, key, again, err) : rc;
}

static int service_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct rotation *r = ctx;
    struct signing_key_row *rows = NULL;
    size_t n = 0;
    start_piece(r);
    int rc = repo_kv_touch(db, VAULT_CHECK, err); /* whoever changes signing keys does so, too */
    if (rc >= 0)
        rc = wrap_kv(r, db, VAULT_MASTER_SECRET, err);
    if (rc >= 0)
        rc = repo_signing_keys(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = wrap_signing_key(r, db, &rows[i], err);
    signing_key_rows_free(rows, n);
    return rc;
}

/* ---- passes ---- */

static int piece(struct rotation *r, store_fn fn, osmo_error_t *err) {
    if (ends_here())
        return osmo_error_set(err, OSMO_EIO, "the rotation was stopped");
    r->left_before = r->left->len;
    r->changed_before = r->changed;
    return store_write(r->e->store, NULL, fn, r, err);
}

static int pass(struct rotation *r, osmo_error_t *err) {
    struct user_key_row *rows = NULL;
    char kid[SEAL_KID_MAX];
    size_t n = 0, kept = 0;
    db_t *db;
    int rc = piece(r, service_fn, err);
    if (rc >= 0)
        rc = store_reader(r->e->store, &db, err);
    if (rc >= 0)
        rc = repo_user_keys(db, NULL, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) { /* those that are done go behind the others */
        if (sealed_kid(rows[i].sealed, strlen(rows[i].sealed), kid, NULL) >= 0 && str_eq(kid, r->to.kid))
            continue;
        struct user_key_row other = rows[kept];
        rows[kept++] = rows[i];
        rows[i] = other;
    }
    for (size_t i = 0; rc >= 0 && i < kept; i += PIECE) {
        r->users = rows + i;
        r->n = kept - i < PIECE ? kept - i : PIECE;
        rc = piece(r, users_fn, err);
    }
    user_key_rows_free(rows, n);
    return rc;
}

/* ---- the whole ---- */

struct announcement { struct vault *v; bool changed; };

static int announce_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct announcement *a = ctx;
    return vault_announce(a->v, db, &a->changed, err);
}

static int done_fn(db_t *db, void *ctx, osmo_error_t *err) { return repo_kv_set(db, VAULT_DONE, ctx, err); }

/* Is everything under the current key of the vault, as far as is known without looking? */
static int is_done(struct rotation *r, bool *done, osmo_error_t *err) {
    _cleanup_free_ char *kid = NULL;
    db_t *db;
    *done = false;
    int rc = store_reader(r->e->store, &db, err);
    if (rc >= 0)
        rc = repo_kv_get(db, VAULT_DONE, &kid, err);
    if (rc >= 0)
        *done = str_eq(kid, r->to.kid);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* To the current key of the vault. *any: it was not done already. */
static int rotate(struct rotation *r, bool *any, osmo_error_t *err) {
    struct announcement a = { r->v, false };
    bool done = false;
    vault_current(r->v, &r->to);
    int rc = is_done(r, &done, err);
    *any = !done;
    if (rc >= 0)
        rc = store_write(r->e->store, NULL, announce_fn, &a, err);
    for (int i = 0; rc >= 0 && i < PASSES_MAX; i++) {
        strlist_free(r->left);
        r->changed = 0;
        rc = pass(r, err);
        if (!r->changed)
            break;
        *any = true;
    }
    return rc < 0 || done ? rc : store_write(r->e->store, NULL, done_fn, r->to.kid, err);
}

/* A file that the service has made itself gets the new key from it, unless other services have copies of it. */
static int new_key(engine_t *e, struct vault *v, osmo_error_t *err) {
    if (!v->ours || replicas_shared(e))
        return osmo_error_set(err, OSMO_ECONFLICT, "everything is under the current master key: add another key to %s%s, name it as "
                              "currentMek there, and ask again", v->path, replicas_shared(e) ? " and its copies" : "");
    struct master_ring *ring = secret_alloc(sizeof *ring);
    int rc = ring ? master_file_read(v->path, ring, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = master_file_add(v->path, ring, err);
    secret_free(ring, sizeof *ring);
    return rc < 0 ? rc : vault_reload(v, err);
}

int vault_rotate(engine_t *e, strlist_t *left, osmo_error_t *err) {
    struct rotation r = { .e = e, .v = e->vault, .left = left };
    bool any = false;
    pthread_mutex_lock(&r.v->rotating);
    int rc = vault_reload(r.v, err);
    if (rc >= 0)
        rc = rotate(&r, &any, err);
    if (rc >= 0 && !any) { /* else an earlier one had not come to its end, or the operator has named another key */
        rc = new_key(e, r.v, err);
        if (rc >= 0)
            rc = rotate(&r, &any, err);
    }
    seal_key_wipe(&r.to);
    pthread_mutex_unlock(&r.v->rotating);
    return rc;
}
