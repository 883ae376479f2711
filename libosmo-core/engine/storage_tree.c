/* Walking storage directories without following symbolic links. */
#include "engine/storage_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"

int storage_io_error(osmo_error_t *err, int error, const char *what) {
    if (error == ENOSPC || error == EDQUOT)
        return osmo_error_set(err, OSMO_EIO, "the storage is full: %s failed; free space in the data directory", what);
    return osmo_error_set(err, OSMO_EIO, "storage: %s failed: %s", what, strerror(error));
}

int storage_name_check(const char *what, const char *name, osmo_error_t *err) {
    size_t len = strlen(name);
    if (!len || len > 255 || name[0] == '.' || strchr(name, '/'))
        return osmo_error_set(err, OSMO_EINVAL, "%s %.64s is not a usable name", what, name);
    return 0;
}

int storage_dir_at(int at, const char *name, bool make) {
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make) {
        if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
            return OSMO_EIO;
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd >= 0)
        return fd;
    return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? OSMO_ENOTFOUND : OSMO_EIO;
}

int storage_dir(engine_t *e, const char *const *parts, bool make, osmo_error_t *err) {
    int fd = open(e->storage_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make && mkdir(e->storage_dir, 0700) >= 0)
        fd = open(e->storage_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT && !make ? OSMO_ENOTFOUND
            : storage_io_error(err, errno, "opening the storage directory");
    for (; fd >= 0 && *parts; parts++) {
        int next = storage_dir_at(fd, *parts, make);
        if (next == OSMO_EIO)
            storage_io_error(err, errno, "opening a directory");
        close(fd);
        fd = next;
    }
    return fd;
}

struct walk { json_t *list; int64_t count; size_t depth; buf_t path; };

static int list_object(struct walk *w, int dir, const char *name, const struct stat *st) {
    char sha[65] = "";
    _cleanup_json_ json_t *o = json_object();
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? fgetxattr(fd, STORAGE_XATTR_SHA256, sha, 64) : -1;
    if (!o || json_set_str(o, "path", buf_cstr(&w->path)) < 0 || json_set_int(o, "size", st->st_size) < 0 ||
        json_set_int(o, "mode", st->st_mode & 0777) < 0)
        return OSMO_ENOMEM;
    if (n == 64 && json_set_str(o, "sha256", sha) < 0)
        return OSMO_ENOMEM;
    return json_add(w->list, STEAL(o));
}

static int walk_dir(struct walk *w, int dir_fd, osmo_error_t *err);

static int walk_entry(struct walk *w, int dir, const char *name, osmo_error_t *err) {
    struct stat st;
    size_t before = w->path.len;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : storage_io_error(err, errno, "reading a file's attributes");
    int rc = before ? buf_putc(&w->path, '/') : 0;
    if (rc >= 0)
        rc = buf_puts(&w->path, name);
    if (rc < 0)
        return osmo_error_set(err, rc, "a stored path is too long");
    if (S_ISDIR(st.st_mode)) {
        int fd = storage_dir_at(dir, name, false);
        rc = fd < 0 ? 0 : walk_dir(w, fd, err);
    } else if (S_ISREG(st.st_mode)) {
        if (++w->count > STORAGE_MAX_OBJECTS)
            rc = osmo_error_set(err, OSMO_ELIMIT, "more than %d objects in one task's storage", STORAGE_MAX_OBJECTS);
        else if (w->list)
            rc = list_object(w, dir, name, &st);
    }
    buf_truncate(&w->path, before);
    return rc;
}

/* Takes the descriptor. Depth is bounded by what storage_put accepts. */
static int walk_dir(struct walk *w, int dir_fd, osmo_error_t *err) {
    DIR *d = fdopendir(dir_fd);
    int rc = 0;
    if (!d) {
        close(dir_fd);
        return storage_io_error(err, errno, "listing a directory");
    }
    if (++w->depth > STORAGE_MAX_DEPTH + 1)
        rc = osmo_error_set(err, OSMO_ELIMIT, "stored directories are nested too deep");
    for (struct dirent *entry; rc >= 0 && (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            rc = walk_entry(w, dirfd(d), entry->d_name, err);
    }
    w->depth--;
    closedir(d);
    return rc;
}

int storage_walk(int dir, json_t *list, int64_t *count, osmo_error_t *err) {
    struct walk w = { .list = list, .path = BUF_INIT(32768) };
    int rc = walk_dir(&w, dir, err);
    buf_free(&w.path);
    *count = w.count;
    return rc < 0 ? rc : 0;
}
