/* The backend token directory: a sub-directory for each backend with the files `token` and, while tokens are being exchanged,
 * `previous-token`, as Kubernetes projects a Secret (then what `..data` points to is read, both files from the same version). Looked at
 * whenever a token is presented or an identity from here is confirmed, and parsed again when a file has changed; a token that is taken
 * away takes the JWTs it was exchanged for along. Tokens are kept as digests. Called by auth_tokens.c and auth_confirm.c. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/access.h"
#include "engine/identity_internal.h"

#define CREDENTIALS_MAX 1024
#define TOKEN_FILE_MAX 128
#define CHANGING_NS (2 * 1000000000LL) /* a file that was changed so lately may be changed again without looking different */

enum { CURRENT, PREVIOUS, FILES };
static const char *const file_names[FILES] = { "token", "previous-token" };

struct file_state { bool there; dev_t dev; ino_t ino; off_t size; int64_t mtime_ns, ctime_ns; };
struct credential {
    char name[BACKEND_NAME_MAX + 1];
    struct file_state files[FILES];
    uint8_t digest[FILES][32];
    bool has[FILES];    /* a token was read from it */
    bool usable;
};
struct listing { struct credential *list; size_t n; };
struct backend_tokens {
    pthread_mutex_t lock;
    char *dir;
    struct listing now;
    bool settled;       /* the files were old enough to tell any later change */
};

static void listing_free(struct listing *l) {
    if (l->list)
        crypto_wipe(l->list, l->n * sizeof *l->list);
    free(l->list);
    memset(l, 0, sizeof *l);
}

/* ---- looking ---- */

static bool name_usable(const char *name) {
    size_t len = strlen(name);
    if (!len || len > BACKEND_NAME_MAX || name[0] == '-' || name[len - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* The directory that holds the files: a descriptor, so that both come from one version although the link may be swapped meanwhile. */
static int open_credential(int top, const char *name) {
    char data[BACKEND_NAME_MAX + 16];
    struct stat st;
    snprintf(data, sizeof data, "%.*s/..data", BACKEND_NAME_MAX, name);
    bool projected = fstatat(top, data, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    return openat(top, projected ? data : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void look_at(int dir, struct credential *c) {
    for (size_t i = 0; i < FILES; i++) {
        struct stat st;
        if (fstatat(dir, file_names[i], &st, 0) < 0)
            continue;
        c->files[i] = (struct file_state){ .there = true, .dev = st.st_dev, .ino = st.st_ino, .size = st.st_size,
                                           .mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
                                           .ctime_ns = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec };
    }
}

/* False when the file is not there. A file of another length is no token: has stays false. */
static bool read_token(int dir, struct credential *c, size_t i, osmo_error_t *err) {
    char text[TOKEN_FILE_MAX + 1];
    size_t len = 0;
    ssize_t n = 1;
    _cleanup_close_ int fd = openat(dir, file_names[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno != ENOENT)
            osmo_error_set(err, OSMO_EIO, "cannot read its file %s: %s", file_names[i], strerror(errno));
        return errno != ENOENT;
    }
    while (n > 0 && len < sizeof text) {
        n = read(fd, text + len, sizeof text - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (len && len <= TOKEN_FILE_MAX && text[len - 1] == '\n')
        len -= len > 1 && text[len - 2] == '\r' ? 2 : 1;
    bool good = n == 0 && (len == ACCESS_TOKEN_LEN || len == LEGACY_TOKEN_LEN);
    for (size_t k = 0; good && k < len; k++)
        good = isgraph((unsigned char)text[k]);
    if (good) {
        crypto_sha256(text, len, c->digest[i]);
        c->has[i] = true;
    } else {
        osmo_error_set(err, OSMO_EINVAL, "its file %s does not hold one token of %d or %d characters", file_names[i], ACCESS_TOKEN_LEN,
                       LEGACY_TOKEN_LEN);
    }
    crypto_wipe(text, sizeof text);
    return true;
}

static void parse_credential(engine_t *e, int dir, bool tell, struct credential *c) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool there = read_token(dir, c, CURRENT, &err);
    if (!there)
        osmo_error_set(&err, OSMO_EINVAL, "it has no file %s", file_names[CURRENT]);
    else if (c->has[CURRENT])
        (void)read_token(dir, c, PREVIOUS, &err);
    if (!err.code && c->has[PREVIOUS] && crypto_equal(c->digest[CURRENT], c->digest[PREVIOUS], 32))
        osmo_error_set(&err, OSMO_EINVAL, "its files %s and %s hold the same token", file_names[CURRENT], file_names[PREVIOUS]);
    c->usable = !err.code;
    if (err.code && tell)
        log_warning(&e->log, "backend token '%s' is ignored: %s", c->name, err.text);
}

static bool shares_token(const struct credential *a, const struct credential *b) {
    bool same = false;
    for (size_t i = 0; i < FILES; i++) {
        for (size_t k = 0; k < FILES; k++)
            same |= a->has[i] && b->has[k] && crypto_equal(a->digest[i], b->digest[k], 32);
    }
    return same;
}

/* A token that two backends have tells neither from the other. */
static void drop_shared(engine_t *e, bool tell, struct listing *l) {
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (!shares_token(&l->list[i], &l->list[k]))
                continue;
            if (tell && (l->list[i].usable || l->list[k].usable))
                log_warning(&e->log, "backend tokens '%s' and '%s' are ignored: they share a token", l->list[k].name, l->list[i].name);
            l->list[i].usable = l->list[k].usable = false;
        }
    }
}

static int compare(const void *a, const void *b) {
    return strcmp(((const struct credential *)a)->name, ((const struct credential *)b)->name);
}

enum how { LOOK, PARSE, PARSE_AND_TELL };

/* Names and states of the files; unless LOOK also the tokens. OSMO_ENOTFOUND when there is no such directory. */
static int look(engine_t *e, const char *path, enum how how, struct listing *out, osmo_error_t *err) {
    DIR *d = opendir(path);
    if (!d)
        return osmo_error_set(err, OSMO_ENOTFOUND, "backend token directory %s cannot be read: %s", path, strerror(errno));
    struct dirent *entry;
    int rc = 0;
    out->list = calloc(CREDENTIALS_MAX, sizeof *out->list);
    if (!out->list)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    while (rc >= 0 && out->n < CREDENTIALS_MAX && (entry = readdir(d))) {
        struct credential *c = &out->list[out->n];
        if (entry->d_name[0] == '.')
            continue;
        _cleanup_close_ int dir = name_usable(entry->d_name) ? open_credential(dirfd(d), entry->d_name) : -1;
        if (dir < 0) {
            if (how == PARSE_AND_TELL && entry->d_type != DT_REG)
                log_warning(&e->log, "backend token '%.64s' is ignored: it must be a directory with a name of a-z, 0-9 and inner dashes",
                            entry->d_name);
            continue;
        }
        memcpy(c->name, entry->d_name, strlen(entry->d_name) + 1);
        look_at(dir, c);
        if (how != LOOK)
            parse_credential(e, dir, how == PARSE_AND_TELL, c);
        out->n++;
    }
    if (rc >= 0 && out->n == CREDENTIALS_MAX && how == PARSE_AND_TELL)
        log_warning(&e->log, "backend token directory %s: no more than %d backends are looked at", path, CREDENTIALS_MAX);
    closedir(d);
    if (rc >= 0)
        qsort(out->list, out->n, sizeof *out->list, compare);
    if (rc >= 0 && how != LOOK)
        drop_shared(e, how == PARSE_AND_TELL, out);
    return rc;
}

/* ---- what has changed ---- */

static bool same_state(const struct listing *a, const struct listing *b) {
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        const struct credential *x = &a->list[i], *y = &b->list[i];
        same = str_eq(x->name, y->name);
        for (size_t k = 0; same && k < FILES; k++) {
            const struct file_state *f = &x->files[k], *g = &y->files[k];
            same = f->there == g->there && f->dev == g->dev && f->ino == g->ino && f->size == g->size && f->mtime_ns == g->mtime_ns &&
                   f->ctime_ns == g->ctime_ns;
        }
    }
    return same;
}

static bool is_settled(const struct listing *l, int64_t now_ns) {
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < FILES; k++) {
            const struct file_state *f = &l->list[i].files[k];
            if (f->there && now_ns - f->ctime_ns < CHANGING_NS)
                return false;
        }
    }
    return true;
}

static struct credential *credential_of(const struct listing *l, const char *name) {
    struct credential key;
    snprintf(key.name, sizeof key.name, "%s", name);
    return l->n ? bsearch(&key, l->list, l->n, sizeof key, compare) : NULL;
}

/* Does `fresh` take every token that `old` took? */
static bool keeps_all(const struct credential *old, const struct credential *fresh) {
    bool all = !old->usable || (fresh && fresh->usable);
    for (size_t i = 0; all && old->usable && i < FILES; i++) {
        bool kept = !old->has[i];
        for (size_t k = 0; k < FILES; k++)
            kept |= fresh->has[k] && crypto_equal(old->digest[i], fresh->digest[k], 32);
        all = kept;
    }
    return all;
}

static bool lost_some(const struct listing *old, const struct listing *fresh) {
    bool lost = false;
    for (size_t i = 0; i < old->n; i++)
        lost |= !keeps_all(&old->list[i], credential_of(fresh, old->list[i].name));
    return lost;
}

/* Under the lock. Whether tokens were taken away. A directory that cannot be read has none. */
static bool refresh(engine_t *e, struct backend_tokens *t) {
    struct listing seen = { 0 }, fresh = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = look(e, t->dir, LOOK, &seen, &err);
    bool same = rc >= 0 && same_state(&seen, &t->now);
    listing_free(&seen);
    if (same && t->settled)
        return false;
    if (rc >= 0)
        rc = look(e, t->dir, same ? PARSE : PARSE_AND_TELL, &fresh, &err);
    if (rc < 0 && t->now.n)
        log_warning(&e->log, "%s; no backend token is accepted from there", err.text);
    bool lost = lost_some(&t->now, &fresh);
    listing_free(&t->now);
    t->now = fresh;
    t->settled = rc >= 0 && is_settled(&fresh, clock_now_us() * 1000);
    return lost;
}

/* ---- what others ask ---- */

int backend_tokens_open(engine_t *e, const char *dir, struct backend_tokens **out, osmo_error_t *err) {
    *out = NULL;
    if (!dir || !*dir)
        return 0;
    struct backend_tokens *t = calloc(1, sizeof *t);
    if (!t || !(t->dir = str_dup(dir))) {
        free(t);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&t->lock, NULL);
    int rc = look(e, dir, PARSE_AND_TELL, &t->now, err);
    if (rc >= 0 && !t->now.n)
        rc = osmo_error_set(err, OSMO_EINVAL, "backend token directory %s has no backend in it: make DIRECTORY/BACKEND/token", dir);
    if (rc < 0) {
        backend_tokens_close(t);
        return rc;
    }
    t->settled = is_settled(&t->now, clock_now_us() * 1000);
    *out = t;
    return 0;
}

void backend_tokens_close(struct backend_tokens *t) {
    if (!t)
        return;
    listing_free(&t->now);
    pthread_mutex_destroy(&t->lock);
    free(t->dir);
    free(t);
}

/* A quarter of the digest, which tells nothing of a token that was made at random. */
static void token_id(const uint8_t digest[32], char id[17]) {
    for (size_t i = 0; i < 8; i++)
        snprintf(id + 2 * i, 3, "%02x", digest[i]);
}

/* All are compared, so that the time it takes tells nothing. */
bool backend_tokens_find(engine_t *e, const char *token, size_t len, char name[BACKEND_NAME_MAX + 1], char id[17]) {
    struct backend_tokens *t = e->identities->backend_tokens;
    uint8_t digest[32];
    const struct credential *found = NULL;
    if (!t)
        return false;
    crypto_sha256(token, len, digest);
    pthread_mutex_lock(&t->lock);
    bool lost = refresh(e, t);
    for (size_t i = 0; i < t->now.n; i++) {
        const struct credential *c = &t->now.list[i];
        for (size_t k = 0; k < FILES; k++) {
            bool same = crypto_equal(c->digest[k], digest, sizeof digest);
            if (same && c->has[k] && c->usable)
                found = c;
        }
    }
    if (found)
        memcpy(name, found->name, sizeof found->name);
    pthread_mutex_unlock(&t->lock);
    token_id(digest, id);
    crypto_wipe(digest, sizeof digest);
    if (lost)
        access_changed_here(e); /* sessions that are open look again */
    return found != NULL;
}

static bool has_token(const struct credential *c, const char *id) {
    bool found = !*id;
    for (size_t k = 0; c->usable && k < FILES; k++) {
        char own[17];
        token_id(c->digest[k], own);
        found |= c->has[k] && str_eq(own, id);
    }
    return c->usable && found;
}

bool backend_tokens_hold(engine_t *e, const char *name, const char *id) {
    struct backend_tokens *t = e->identities->backend_tokens;
    if (!t)
        return false;
    pthread_mutex_lock(&t->lock);
    bool lost = refresh(e, t);
    const struct credential *c = credential_of(&t->now, name);
    bool good = c && has_token(c, id);
    pthread_mutex_unlock(&t->lock);
    if (lost)
        access_changed_here(e);
    return good;
}
