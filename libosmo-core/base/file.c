/* Files and trees; see file.h. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define TREE_MAX_DEPTH 256

static int from_errno(int e) {
    switch (e) {
    case ENOENT: case ENOTDIR: return OSMO_ENOTFOUND;
    case EACCES: case EPERM: case EROFS: return OSMO_EDENIED;
    case EEXIST: return OSMO_EEXISTS;
    case ENOMEM: return OSMO_ENOMEM;
    default: return OSMO_EIO;
    }
}

static int fail(osmo_error_t *err, const char *what, const char *path) {
    int e = errno;
    return osmo_error_set(err, from_errno(e), "%s %s: %s", what, path, strerror(e));
}

int file_read(const char *path, buf_t *out, osmo_error_t *err) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "cannot read", path);
    for (;;) {
        size_t room = out->max - out->len < 65536 ? out->max - out->len : 65536;
        /* one byte beyond the maximum tells "exactly full" from "too large" */
        if (room == 0) {
            char extra;
            ssize_t n = read(fd, &extra, 1);
            if (n > 0)
                return osmo_error_set(err, OSMO_ELIMIT, "%s is larger than %zu bytes", path, out->max);
            return n < 0 ? fail(err, "cannot read", path) : 0;
        }
        if (buf_reserve(out, room))
            return osmo_error_set(err, out->code, "%s: %s", path, osmo_error_name(out->code));
        ssize_t n = read(fd, out->data + out->len, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "cannot read", path);
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (n == 0)
            return 0;
    }
}

int fd_write_all(int fd, const void *data, size_t len) {
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return OSMO_EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static void sync_parent(const char *path) {
    _cleanup_free_ char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;
    if (!slash)
        return;
    slash[slash == dir] = '\0';
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        fsync(fd);
}

/* Some file systems know no hard links, others no such rename. */
static int rename_new(const char *from, const char *to) {
    if (link(from, to) == 0) {
        unlink(from);
        return 0;
    }
    return errno == EEXIST ? -1 : renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

static int write_file(const char *path, const void *data, size_t len, mode_t mode, bool durable, bool only_new, osmo_error_t *err) {
    _cleanup_free_ char *tmp = str_printf("%s.XXXXXX", path);
    if (!tmp)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_close_ int fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return fail(err, "cannot create a file beside", path);
    if (fd_write_all(fd, data, len) || fchmod(fd, mode) || (durable && fsync(fd)) ||
        (only_new ? rename_new(tmp, path) : rename(tmp, path))) {
        int rc = fail(err, "cannot write", path);
        unlink(tmp);
        return rc;
    }
    if (durable)
        sync_parent(path);
    return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool durable, osmo_error_t *err) {
    return write_file(path, data, len, mode, durable, false, err);
}

int file_write_new(const char *path, const void *data, size_t len, mode_t mode, osmo_error_t *err) {
    return write_file(path, data, len, mode, true, true, err);
}

int dir_make(const char *path, mode_t mode, osmo_error_t *err) {
    if (mkdir(path, mode) == 0)
        return 0;
    if (errno == ENOENT) {
        _cleanup_free_ char *parent = strdup(path);
        if (!parent)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        char *slash = strrchr(parent, '/');
        if (slash && slash != parent) {
            *slash = '\0';
            int rc = dir_make(parent, mode, err);
            if (rc)
                return rc;
        }
        if (mkdir(path, mode) == 0)
            return 0;
    }
    int e = errno;
    struct stat st;
    if (e == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    errno = e == EEXIST ? ENOTDIR : e;
    return fail(err, "cannot create directory", path);
}

static int remove_in(int dirfd, const char *name, int depth);

static int remove_entries(int fd, int depth) {
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    int rc = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && remove_in(dirfd(d), e->d_name, depth + 1))
            rc = -1;
    }
    closedir(d);
    return rc;
}

static int remove_in(int dirfd, const char *name, int depth) {
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth > TREE_MAX_DEPTH)
        return -1;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(dirfd, name, 0700, 0) == 0)
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    /* A directory without write permission still belongs to us: make it removable. */
    fchmod(fd, 0700);
    remove_entries(fd, depth);
    return unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT ? -1 : 0;
}

int dir_remove_tree(const char *path, osmo_error_t *err) {
    return remove_in(AT_FDCWD, path, 0) ? fail(err, "cannot remove", path) : 0;
}

static int copy_bytes(int in, int out) {
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, 1u << 30, 0);
        if (n == 0)
            return 0;
        if (n < 0)
            break;
    }
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EBADF)
        return -1;
    char block[65536];
    for (;;) {
        ssize_t n = read(in, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        if (fd_write_all(out, block, (size_t)n))
            return -1;
    }
}

int file_copy(const char *from, const char *to, mode_t mode, osmo_error_t *err) {
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return fail(err, "cannot read", from);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (out < 0)
        return fail(err, "cannot write", to);
    if (copy_bytes(in, out) || fchmod(out, mode))
        return fail(err, "cannot write", to);
    return 0;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool fd_read_at(int fd, void *out, size_t len, uint64_t at) {
    char *p = out;
    errno = 0;
    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

int fd_write_at(int fd, const void *data, size_t len, uint64_t at) {
    const char *p = data;
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return OSMO_EIO;
        p += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}
