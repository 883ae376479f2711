/* Directories of this machine as a place of storage: file:///DIRECTORY. Files share their blocks where the file system can do that, and are
 * written aside and renamed. Keys are absolute paths below the directory of the URI. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "data/remote.h"
#include "data/session.h"

#define WALK_DEPTH_MAX 64
#define COPY_STEP (8u << 20) /* between looks at whether it shall end */
#define ASIDE ".osmo-part-"

static int fail(osmo_error_t *err, int e, const char *what, const char *path) {
    int code = e == ENOENT ? OSMO_ENOTFOUND : e == EACCES || e == EPERM || e == EROFS ? OSMO_EDENIED
               : e == ENOSPC || e == EDQUOT ? OSMO_ELIMIT : e == ENOMEM ? OSMO_ENOMEM : OSMO_EIO;
    return osmo_error_set(err, code, "cannot %s %s: %s", what, path, strerror(e));
}

static int local_open(struct remote *r, osmo_error_t *err) {
    (void)r;
    (void)err;
    return 0;
}

static void local_close(struct remote *r) { (void)r; }

static int local_stat(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err) {
    struct stat st;
    (void)c;
    (void)r;
    memset(out, 0, sizeof *out);
    if (stat(key, &st) < 0)
        return fail(err, errno == ENOTDIR ? ENOENT : errno, "read", key);
    if (!S_ISREG(st.st_mode))
        return fail(err, ENOENT, "read as a file", key);
    out->size = (uint64_t)st.st_size;
    out->modified_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    out->mode = (int)(st.st_mode & 0777);
    return 0;
}

/* ---- lists ---- */

struct walk { struct data_conn *conn; bool deep; remote_entry_fn fn; void *ctx; };

static int walk_dir(struct walk *w, const char *dir, int depth, osmo_error_t *err);

/* Links to files are followed, those to directories are not, or there would be circles. */
static int visit(struct walk *w, const char *dir, const char *name, int depth, osmo_error_t *err) {
    _cleanup_free_ char *path = str_printf("%s/%s", str_eq(dir, "/") ? "" : dir, name);
    struct stat link, st;
    if (!path)
        return no_memory(err);
    if (lstat(path, &link) < 0 || stat(path, &st) < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : fail(err, errno, "read", path);
    if (S_ISDIR(link.st_mode)) {
        if (w->deep)
            return walk_dir(w, path, depth + 1, err);
        _cleanup_free_ char *prefix = str_printf("%s/", path);
        struct remote_entry e = { .key = prefix, .etag = "", .mode = REMOTE_MODE_NONE, .is_prefix = true };
        return prefix ? w->fn(w->ctx, &e, err) : no_memory(err);
    }
    if (!S_ISREG(st.st_mode) || str_starts(name, ASIDE))
        return 0;
    struct remote_entry e = { .key = path, .etag = "", .size = (uint64_t)st.st_size, .mode = (int)(st.st_mode & 0777),
                              .modified_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000 };
    return w->fn(w->ctx, &e, err);
}

static int walk_dir(struct walk *w, const char *dir, int depth, osmo_error_t *err) {
    struct dirent **entries = NULL;
    if (depth > WALK_DEPTH_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "%.300s is nested deeper than %d directories", dir, WALK_DEPTH_MAX);
    int n = scandir(dir, &entries, NULL, alphasort), rc = 0;
    if (n < 0)
        return (errno == ENOENT || errno == ENOTDIR) && depth == 0 ? 0 : fail(err, errno, "read", dir);
    for (int i = 0; i < n; i++) {
        if (!rc && strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
            rc = session_stopped(w->conn->session) ? session_cancelled(err) : visit(w, dir, entries[i]->d_name, depth, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int local_list(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn,
                      void *ctx, osmo_error_t *err) {
    struct walk w = { c, deep, fn, ctx };
    size_t n = strlen(prefix);
    _cleanup_free_ char *dir = strndup(prefix, n > 1 && prefix[n - 1] == '/' ? n - 1 : n);
    (void)r;
    int rc = dir ? walk_dir(&w, dir, 0, err) : no_memory(err);
    return rc > 0 ? 0 : rc;
}

/* ---- bytes ---- */

/* From one descriptor to another at places: shared, copied by the kernel, or by us. *moved counts for who watches. */
static int copy(struct data_conn *c, int from, uint64_t at, int to, uint64_t to_at, uint64_t len, const char *path, osmo_error_t *err) {
    bool kernel = true;
    struct file_clone_range range = { .src_fd = from, .src_offset = at, .src_length = len, .dest_offset = to_at };
    if (len && ioctl(to, FICLONERANGE, &range) == 0)
        return 0;
    for (uint64_t done = 0; done < len;) {
        off_t a = (off_t)(at + done), b = (off_t)(to_at + done);
        ssize_t n = kernel ? copy_file_range(from, &a, to, &b, len - done < COPY_STEP ? (size_t)(len - done) : COPY_STEP, 0) : -1;
        if (n <= 0 && kernel) {
            kernel = false; /* another file system, or one that cannot */
            continue;
        }
        if (!kernel) {
            n = pread(from, c->buffer, len - done < REMOTE_BUFFER ? (size_t)(len - done) : REMOTE_BUFFER, (off_t)(at + done));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return n ? fail(err, errno, "read", path) : osmo_error_set(err, OSMO_EIO, "%.300s became shorter while it was read", path);
            for (ssize_t put = 0, m; put < n; put += m)
                if ((m = pwrite(to, c->buffer + put, (size_t)(n - put), (off_t)(to_at + done) + put)) < 0 && (errno != EINTR || (m = 0)))
                    return fail(err, errno, "write a copy of", path);
        }
        done += (uint64_t)n;
        atomic_store_explicit(&c->in_flight, done, memory_order_relaxed);
        if (session_stopped(c->session))
            return session_cancelled(err);
    }
    return 0;
}

static int local_get(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err) {
    struct stat st;
    _cleanup_close_ int fd = open(key, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    (void)r;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, errno, "read", key);
    if (!S_ISREG(st.st_mode) || (s->whole && (uint64_t)st.st_size != s->len))
        return osmo_error_set(err, OSMO_ECONFLICT, "%.300s changed while it was read", key);
    int rc = copy(c, fd, s->offset, s->fd, s->offset, s->len, key, err);
    atomic_store_explicit(&c->in_flight, 0, memory_order_relaxed);
    s->done = rc ? 0 : s->len;
    return rc;
}

static int make_parent(const char *path, osmo_error_t *err) {
    _cleanup_free_ char *dir = strdup(path);
    if (!dir)
        return no_memory(err);
    *strrchr(dir, '/') = '\0';
    return *dir ? dir_make(dir, 0777, err) : 0;
}

static int write_aside(struct data_conn *c, const char *key, const char *aside, const struct source *s, osmo_error_t *err) {
    _cleanup_close_ int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return fail(err, errno, "write", key);
    int rc = 0;
    if (s->memory) {
        errno = EIO;
        rc = fd_write_all(fd, (const char *)s->memory + s->offset, (size_t)s->len) < 0 ? fail(err, errno, "write", key) : 0;
    } else {
        rc = copy(c, s->fd, s->offset, fd, 0, s->len, key, err);
    }
    atomic_store_explicit(&c->in_flight, 0, memory_order_relaxed);
    if (!rc && s->mode > 0 && fchmod(fd, ((mode_t)s->mode & 0777) | 0400) < 0)
        rc = fail(err, errno, "write", key);
    if (!rc && rename(aside, key) < 0)
        rc = fail(err, errno, "write", key);
    if (rc)
        unlink(aside);
    return rc;
}

static int local_put(struct data_conn *c, struct remote *r, const char *key, const struct source *s, osmo_error_t *err) {
    char id[33];
    (void)r;
    int rc = make_parent(key, err);
    if (rc < 0)
        return rc;
    if (crypto_random_hex32(id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    _cleanup_free_ char *aside = str_printf("%.*s/" ASIDE "%s", (int)(strrchr(key, '/') - key), key, id);
    return aside ? write_aside(c, key, aside, s, err) : no_memory(err);
}

/* Directories that become empty go, up to that of the URI: objects know no others. */
static int local_remove(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err) {
    (void)c;
    for (size_t i = 0; i < n; i++) {
        if (unlink(keys[i]) < 0 && errno != ENOENT)
            return fail(err, errno, "remove", keys[i]);
        for (char *slash; (slash = strrchr(keys[i], '/')) && (size_t)(slash - keys[i]) > strlen(r->uri.path);) {
            *slash = '\0';
            if (rmdir(keys[i]) < 0)
                break;
        }
    }
    return 0;
}

static int local_check(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err) {
    _cleanup_free_ char *dir = strdup(r->uri.path);
    int wanted = access == DATA_READ ? R_OK : W_OK | X_OK;
    (void)c;
    for (;;) {
        if (!dir)
            return no_memory(err);
        if (faccessat(AT_FDCWD, dir, wanted, AT_EACCESS) == 0)
            return 0;
        if (errno != ENOENT || access != DATA_WRITE || !strcmp(dir, "/")) /* what is missing would be made */
            return fail(err, errno, access == DATA_READ ? "read" : "write", r->uri.path);
        char *slash = strrchr(dir, '/');
        slash[slash == dir] = '\0';
    }
}

const struct data_driver local_driver = {
    .schemes = { DATA_FILE }, .nschemes = 1, .ranges = true, .keyed = true, .delete_batch = 100,
    .open = local_open, .close = local_close,
    .stat = local_stat, .list = local_list, .get = local_get, .put = local_put, .remove = local_remove, .check = local_check,
};
