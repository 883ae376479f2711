/* Between vault.c (keys of users, sealing), vault_file.c (the file of master keys) and vault_rotate.c alone. */
#ifndef ENGINE_VAULT_INTERNAL_H
#define ENGINE_VAULT_INTERNAL_H
#include <pthread.h>
#include <sys/stat.h>
#include "base/seal.h"
#include "engine/vault.h"

#define VAULT_MASTERS_MAX 64
#define VAULT_USERS_MAX 256

/* A word sealed under the current master key: tells whether a file of master keys belongs to the database, and which of them is the
 * current one for every service of it. Whoever makes a key or names another current one has this row to itself. */
#define VAULT_CHECK "vault_check"
/* Id of the master key under which everything is, as of the last rotation that came to its end. */
#define VAULT_DONE "vault_rotated"
/* Texts of the kv table that are sealed under a master key. */
#define VAULT_MASTER_SECRET "master_secret"

/* In pages of its own (base/secret.h). */
struct master_ring { struct seal_key keys[VAULT_MASTERS_MAX]; size_t n, current; };
struct vault_user { bool full; uint8_t user[32]; struct seal_key key; int64_t read_us; uint64_t used; };
struct vault_users { struct vault_user items[VAULT_USERS_MAX]; };

struct vault {
    char *path;
    bool ours; /* made by the service, which therefore may write to it */
    pthread_mutex_t lock; /* ring, seen, users, clock */
    struct master_ring *ring;
    struct stat seen; /* the file as it was read last */
    struct vault_users *users;
    uint64_t clock;
    pthread_mutex_t rotating;
};

/* ---- vault_file.c ---- */
/* OSMO_ENOTFOUND when there is no such file; everything else that is wrong with it is said, and nothing of what is in it. */
int master_file_read(const char *path, struct master_ring *out, osmo_error_t *err);
/* One with one new key, unless there is a file already. *made tells. */
int master_file_make(const char *path, bool *made, osmo_error_t *err);
/* A new key, which is the current one from now on. */
int master_file_add(const char *path, struct master_ring *ring, osmo_error_t *err);
const struct seal_key *master_find(const struct master_ring *ring, const char *kid);

/* ---- vault.c ---- */
/* Reads the file into the vault. */
int vault_reload(struct vault *v, osmo_error_t *err);
/* Copies; reads the file again when it has changed and the key is not known. OSMO_EDENIED names the remedy. The caller wipes. */
int vault_master(struct vault *v, const char *kid, struct seal_key *out, osmo_error_t *err);
/* Under the current key of the file from now on; refuses a database that was sealed under other keys. In a transaction. */
int vault_announce(struct vault *v, db_t *db, bool *changed, osmo_error_t *err);
void vault_current(struct vault *v, struct seal_key *out); /* of the file; the caller wipes */
/* What was sealed under a master key, again under `to`. *again is appended to. */
int vault_wrap_again(struct vault *v, const char *sealed, const struct seal_key *to, buf_t *again, osmo_error_t *err);

/* ---- vault_rotate.c ---- */
/* For tests: vault_rotate gives up after so many pieces; 0: never. */
void vault_rotate_pieces(unsigned n);
#endif
