/* Objects as files below a directory: file:///DIRECTORY. An object is written beside its place under a name of the driver's
 * own, synced, renamed, and the directory synced. Its writer holds a lock on it, which ends with the process: so others can tell
 * what is left over from what is being written. Nothing here follows a symbolic link below the directory. */
#include "data/object_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"

#define SCHEME "file://"
#define PART_PREFIX ".osmo-part-" /* of objects that are being written */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct file_store {
    object_store_t base;
    char *root;
    int fd;
};
struct file_writer {
    object_writer_t base;
    char *path;      /* of the object, for texts */
    char *name;      /* its last part */
    char part[64];
    int dir, fd;
};
struct file_reader {
    object_reader_t base;
    char *path;
    int fd;
};

/* ---- texts ---- */

static const char *remedy(int e) {
    switch (e) {
    case EACCES: case EPERM: return ": let the user that osmo-service runs as write there";
    case EROFS: return ": mount it writable";
    case ENOSPC: case EDQUOT: return ": make room there";
    case ENOTDIR: case ELOOP: return ": a directory is needed there, and below it no symbolic links";
    default: return "";
    }
}

static int fail(osmo_error_t *err, int e, const char *what, const char *path) {
    int code = e == ENOENT                                  ? OSMO_ENOTFOUND
               : e == EACCES || e == EPERM || e == EROFS    ? OSMO_EDENIED
               : e == ENOSPC || e == EDQUOT || e == EFBIG   ? OSMO_ELIMIT
               : e == ENOMEM                                ? OSMO_ENOMEM
                                                            : OSMO_EIO;
    return osmo_error_set(err, code, "cannot %s %s: %s%s", what, path, strerror(e), remedy(e));
}

/* ---- the store ---- */

static int check_path(const char *url, osmo_error_t *err) {
    const char *path = url + strlen(SCHEME);
    bool good = path[0] == '/' && strspn(path, "/") < strlen(path) && strlen(path) < 4096 &&
                !strstr(path, "/../") && !str_ends(path, "/..");
    return good ? 0 : osmo_error_set(err, OSMO_EINVAL, "'%.200s' does not name a directory: use file:///ABSOLUTE/DIRECTORY, "
                                                       "without '..'", url);
}

static void file_close(object_store_t *base) {
    struct file_store *s = (struct file_store *)base;
    if (s->fd >= 0)
        close(s->fd);
    free(s->root);
    free(s);
}

/* The directory is there after a power failure, too. */
static int sync_parent(const struct file_store *s) {
    _cleanup_close_ int fd = openat(s->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : -1;
}

static int open_root(struct file_store *s, osmo_error_t *err) {
    s->fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->fd >= 0 || errno != ENOENT)
        return s->fd < 0 ? fail(err, errno, "open the directory", s->root) : 0;
    errno = 0;
    if (dir_make(s->root, 0700, err) < 0)
        return fail(err, errno ? errno : EIO, "make the directory", s->root);
    s->fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->fd < 0 || sync_parent(s) < 0 ? fail(err, errno, "open the directory", s->root) : 0;
}

static int file_open(const char *url, const struct object_options *o, object_store_t **out, osmo_error_t *err) {
    (void)o;
    struct file_store *s = NULL;
    int rc = check_path(url, err);
    if (rc < 0)
        return rc;
    s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    s->fd = -1;
    s->root = str_dup(url + strlen(SCHEME));
    rc = s->root ? 0 : no_memory(err);
    for (size_t n = s->root ? strlen(s->root) : 0; n > 1 && s->root[n - 1] == '/'; n--)
        s->root[n - 1] = '\0';
    if (rc >= 0)
        rc = open_root(s, err);
    if (rc < 0) {
        file_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return 0;
}

/* ---- directories ---- */

static int step_into(int dir, const char *part, bool make) {
    int fd = openat(dir, part, DIR_FLAGS);
    if (fd >= 0 || errno != ENOENT || !make)
        return fd;
    if (mkdirat(dir, part, 0700) < 0 && errno != EEXIST)
        return -1;
    return fsync(dir) < 0 ? -1 : openat(dir, part, DIR_FLAGS);
}

/* The directory `parts` names, all of it or without its last part; -1 and errno. */
static int walk(const struct file_store *s, const strlist_t *parts, size_t n, bool make) {
    int dir = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
    for (size_t i = 0; dir >= 0 && i < n; i++) {
        int next = step_into(dir, parts->items[i], make), e = errno;
        close(dir);
        errno = e;
        dir = next;
    }
    return dir;
}

/* With the name's last part when `last` is given. */
static int walk_name(const struct file_store *s, const char *name, bool make, char **last) {
    strlist_t parts = { 0 };
    errno = ENOMEM;
    int dir = strlist_split(&parts, name, '/') < 0 ? -1 : walk(s, &parts, parts.len - (last != NULL), make);
    int e = errno;
    if (dir >= 0 && last) {
        *last = STEAL(parts.items[parts.len - 1]);
        parts.len--;
    }
    strlist_free(&parts);
    errno = e;
    return dir;
}

/* ---- writing ---- */

static void file_discard(object_writer_t *base) {
    struct file_writer *w = (struct file_writer *)base;
    if (w->fd >= 0) {
        close(w->fd);
        unlinkat(w->dir, w->part, 0);
    }
    if (w->dir >= 0)
        close(w->dir);
    free(w->path);
    free(w->name);
    free(w);
}

static int open_part(struct file_writer *w, osmo_error_t *err) {
    char id[33];
    if (crypto_random_hex32(id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    snprintf(w->part, sizeof w->part, PART_PREFIX "%s", id);
    w->fd = openat(w->dir, w->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd >= 0)
        (void)flock(w->fd, LOCK_EX | LOCK_NB); /* where there are no locks, nothing is ever taken for left over */
    return w->fd < 0 ? fail(err, errno, "write", w->path) : 0;
}

/* Somebody else may tidy up between the two steps, and remove a directory in which nothing is yet. */
static int open_place(struct file_store *s, const char *name, struct file_writer *w, osmo_error_t *err) {
    for (int again = 0;; again++) {
        w->dir = walk_name(s, name, true, &w->name);
        if (w->dir < 0)
            return fail(err, errno, "write", w->path);
        int rc = open_part(w, err);
        if (rc != OSMO_ENOTFOUND || again == 3)
            return rc;
        close(w->dir);
        w->dir = -1;
        free(STEAL(w->name));
    }
}

static int file_put(object_store_t *base, const char *name, object_writer_t **out, osmo_error_t *err) {
    struct file_store *s = (struct file_store *)base;
    struct file_writer *w = calloc(1, sizeof *w);
    if (!w)
        return no_memory(err);
    w->fd = w->dir = -1;
    w->path = str_printf("%s/%s", s->root, name);
    int rc = w->path ? 0 : no_memory(err);
    if (rc >= 0)
        rc = open_place(s, name, w, err);
    if (rc < 0) {
        file_discard(&w->base);
        return rc;
    }
    *out = &w->base;
    return 0;
}

static int file_write(object_writer_t *base, const void *data, size_t len, osmo_error_t *err) {
    struct file_writer *w = (struct file_writer *)base;
    errno = EIO;
    return fd_write_all(w->fd, data, len) < 0 ? fail(err, errno, "write", w->path) : 0;
}

static int file_commit(object_writer_t *base, osmo_error_t *err) {
    struct file_writer *w = (struct file_writer *)base;
    int rc = 0;
    if (fsync(w->fd) < 0 || renameat(w->dir, w->part, w->dir, w->name) < 0)
        rc = fail(err, errno, "write", w->path);
    if (rc >= 0) {
        close(w->fd);
        w->fd = -1; /* it has its name */
        rc = fsync(w->dir) < 0 ? fail(err, errno, "write", w->path) : 0;
    }
    file_discard(base);
    return rc;
}

/* ---- reading ---- */

static void file_done(object_reader_t *base) {
    struct file_reader *r = (struct file_reader *)base;
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}

static int open_file(struct file_store *s, const char *name, struct file_reader *r, uint64_t *size, osmo_error_t *err) {
    _cleanup_free_ char *last = NULL;
    struct stat st;
    _cleanup_close_ int dir = walk_name(s, name, false, &last);
    if (dir < 0)
        return fail(err, errno, "read", r->path);
    r->fd = openat(dir, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (r->fd < 0 || fstat(r->fd, &st) < 0)
        return fail(err, errno, "read", r->path);
    if (!S_ISREG(st.st_mode))
        return fail(err, ENOENT, "read", r->path);
    *size = (uint64_t)st.st_size;
    return 0;
}

static int file_get(object_store_t *base, const char *name, object_reader_t **out, uint64_t *size, osmo_error_t *err) {
    struct file_store *s = (struct file_store *)base;
    struct file_reader *r = calloc(1, sizeof *r);
    if (!r)
        return no_memory(err);
    r->fd = -1;
    r->path = str_printf("%s/%s", s->root, name);
    int rc = r->path ? open_file(s, name, r, size, err) : no_memory(err);
    if (rc < 0) {
        file_done(&r->base);
        return rc;
    }
    *out = &r->base;
    return 0;
}

static ssize_t file_read_at(object_reader_t *base, uint64_t offset, void *data, size_t max, osmo_error_t *err) {
    struct file_reader *r = (struct file_reader *)base;
    ssize_t n;
    do
        n = pread(r->fd, data, max, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? fail(err, errno, "read", r->path) : n;
}

/* ---- many ---- */

static int open_listing(struct file_store *s, const char *prefix, DIR **out, osmo_error_t *err) {
    int dir = walk_name(s, prefix, false, NULL);
    *out = dir < 0 ? NULL : fdopendir(dir);
    if (*out)
        return 0;
    int e = errno;
    if (dir >= 0)
        close(dir);
    _cleanup_free_ char *path = str_printf("%s/%s", s->root, prefix);
    return e == ENOENT ? 0 : fail(err, e, "list", path ? path : prefix);
}

static int file_list(object_store_t *base, const char *prefix, object_list_fn fn, void *ctx, osmo_error_t *err) {
    struct dirent *entry;
    struct stat st;
    DIR *d;
    int rc = open_listing((struct file_store *)base, prefix, &d, err);
    while (d && rc >= 0 && (entry = readdir(d))) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        _cleanup_free_ char *name = str_printf("%s/%s", prefix, entry->d_name);
        rc = name ? fn(ctx, name, (uint64_t)st.st_size, err) : no_memory(err);
    }
    if (d)
        closedir(d);
    return rc;
}

static int file_remove(object_store_t *base, const char *name, osmo_error_t *err) {
    struct file_store *s = (struct file_store *)base;
    _cleanup_free_ char *last = NULL;
    _cleanup_close_ int dir = walk_name(s, name, false, &last);
    if (dir >= 0 && unlinkat(dir, last, 0) == 0)
        return fsync(dir) < 0 ? fail(err, errno, "remove an object from", s->root) : 0;
    int e = errno;
    _cleanup_free_ char *path = str_printf("%s/%s", s->root, name);
    return e == ENOENT ? 0 : fail(err, e, "remove", path ? path : name);
}

static void remove_left_over(int dir, const char *part) {
    _cleanup_close_ int fd = openat(dir, part, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(dir, part, 0); /* what stays does no harm */
}

static int file_tidy(object_store_t *base, const char *prefix, osmo_error_t *err) {
    struct file_store *s = (struct file_store *)base;
    struct dirent *entry;
    DIR *d;
    int rc = open_listing(s, prefix, &d, err);
    while (d && (entry = readdir(d)))
        if (str_starts(entry->d_name, PART_PREFIX))
            remove_left_over(dirfd(d), entry->d_name);
    if (!d)
        return rc;
    closedir(d);
    _cleanup_free_ char *last = NULL;
    _cleanup_close_ int parent = walk_name(s, prefix, false, &last);
    if (parent >= 0)
        (void)unlinkat(parent, last, AT_REMOVEDIR); /* only when it is empty */
    return 0;
}

const struct object_driver object_file_driver = {
    .scheme = "file", .open = file_open, .close = file_close,
    .put = file_put, .write = file_write, .commit = file_commit, .discard = file_discard,
    .get = file_get, .read = file_read_at, .done = file_done,
    .list = file_list, .remove = file_remove, .tidy = file_tidy,
};
