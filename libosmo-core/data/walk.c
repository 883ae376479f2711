/* Finds the files of an upload. Directories are held open, and nothing below them is reached through a link but the
 * files that links name: whoever owns the tree cannot lead us elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"
#include "data/files.h"
#include "data/session.h"

#define DEPTH_MAX 64

struct base { int fd; char *path; atomic_uint refs; };

struct base *base_ref(struct base *b) {
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void base_unref(struct base *b) {
    if (!b || atomic_fetch_sub(&b->refs, 1) > 1)
        return;
    close(b->fd);
    free(b->path);
    free(b);
}

static int base_new(const char *path, struct base **out, osmo_error_t *err) {
    struct base *b = calloc(1, sizeof *b);
    if (!b || !(b->path = strdup(path))) {
        free(b);
        return no_memory(err);
    }
    atomic_init(&b->refs, 1);
    b->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->fd < 0) {
        int e = errno;
        free(b->path);
        free(b);
        return file_fail(e, path, err);
    }
    *out = b;
    return 0;
}

/* Below the directory, through no link. Old kernels and seccomp filters lack the call: then the last part alone is guarded. */
static int open_beneath(int dir, const char *path, int flags) {
    struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return fd < 0 && (errno == ENOSYS || errno == EPERM) ? openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW) : fd;
}

/* Whoever made a link saw another file system than we do: it must lead to data, not to what only we can see. */
static int open_link(struct run *run, struct base *b, const char *path) {
    const char *const *roots = run_options(run)->link_roots;
    char real[PATH_MAX], root[PATH_MAX], name[PATH_MAX];
    if (!roots)
        return openat(b->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if ((size_t)snprintf(name, sizeof name, "%s/%s", b->path, path) >= sizeof name || !realpath(name, real))
        return -1;
    for (; *roots; roots++) {
        size_t n = realpath(*roots, root) ? strlen(root) : 0;
        if (!n || strncmp(real, root, n) != 0 || real[n] != '/')
            continue;
        _cleanup_close_ int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return dir < 0 ? -1 : open_beneath(dir, real + n + 1, O_RDONLY | O_NONBLOCK);
    }
    errno = EXDEV;
    return -1;
}

int base_open(struct run *run, struct base *b, const char *path, bool is_link, const char **why) {
    struct stat st;
    *why = NULL;
    int fd = is_link ? open_link(run, b, path) : open_beneath(b->fd, path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        if (is_link)
            *why = errno == EXDEV ? "it is a link that leads outside the data of this task" : "it is a link that leads nowhere";
        return -1;
    }
    if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
        return fd;
    close(fd);
    *why = is_link ? "it is a link to something that is no regular file" : "it is no regular file";
    return -1;
}

/* ---- the walk ---- */

struct walk { struct run *run; data_session_t *s; struct base *base; const char *start; walk_fn fn; void *ctx; };

static int walk_dir(struct walk *w, const char *path, int depth, osmo_error_t *err);

static int visit(struct walk *w, int dir, const char *path, const char *name, int depth, osmo_error_t *err) {
    struct stat st;
    _cleanup_free_ char *full = *path ? str_printf("%s/%s", path, name) : strdup(name);
    _cleanup_free_ char *relative = full ? str_printf("%s%s%s", w->start, *w->start ? "/" : "", full) : NULL;
    if (!relative)
        return no_memory(err);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : file_fail(errno, full, err);
    if (S_ISDIR(st.st_mode))
        return walk_dir(w, full, depth + 1, err);
    if (str_starts(name, ASIDE_PART) || str_starts(name, ASIDE_STATE))
        return 0; /* of downloads that are not finished */
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
        session_left_out(w->s, relative, "it is no regular file");
        return 0;
    }
    bool link = S_ISLNK(st.st_mode);
    return w->fn(w->ctx, w->base, full, relative, link, link ? 0 : (uint64_t)st.st_size, err);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int read_names(int fd, const char *path, strlist_t *names, osmo_error_t *err) {
    struct dirent *e;
    int copy = dup(fd);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        int saved = errno;
        if (copy >= 0)
            close(copy);
        return file_fail(saved, path, err);
    }
    int rc = 0;
    while (!rc && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = strlist_add(names, e->d_name);
    closedir(d);
    if (rc < 0)
        return no_memory(err);
    if (names->len)
        qsort(names->items, names->len, sizeof *names->items, by_name);
    return 0;
}

static int walk_dir(struct walk *w, const char *path, int depth, osmo_error_t *err) {
    strlist_t names = { 0 };
    if (depth > DEPTH_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "%.300s is nested deeper than %d directories", path, DEPTH_MAX);
    _cleanup_close_ int fd = *path ? open_beneath(w->base->fd, path, O_RDONLY | O_DIRECTORY)
                                   : openat(w->base->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : file_fail(errno, *path ? path : w->base->path, err);
    int rc = read_names(fd, *path ? path : w->base->path, &names, err);
    for (size_t i = 0; !rc && i < names.len; i++)
        rc = session_stopped(w->s) ? session_cancelled(err) : visit(w, fd, path, names.items[i], depth, err);
    strlist_free(&names);
    return rc;
}

/* The last part of a path, "." and ".." resolved. */
static char *last_part(const char *path) {
    char real[PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *p = path + n;
    while (p > path && p[-1] != '/')
        p--;
    size_t len = (size_t)(path + n - p);
    if ((len == 1 && *p == '.') || (len == 2 && p[0] == '.' && p[1] == '.') || (len == 1 && *p == '/')) {
        if (!realpath(path, real))
            return strdup("");
        return strdup(strrchr(real, '/') + 1);
    }
    return strndup(p, len);
}

static int walk_file(struct walk *w, const char *path, const char *name, uint64_t size, osmo_error_t *err) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!dir)
        return no_memory(err);
    int rc = base_new(dir, &w->base, err);
    if (!rc)
        rc = w->fn(w->ctx, w->base, slash ? slash + 1 : path, name, false, size, err);
    base_unref(w->base);
    return rc;
}

int walk_path(struct run *run, const char *path, walk_fn fn, void *ctx, osmo_error_t *err) {
    struct walk w = { .run = run, .s = run_remote(run)->session, .fn = fn, .ctx = ctx, .start = "" };
    struct stat st;
    bool contents = str_ends(path, "/*");
    _cleanup_free_ char *root = contents ? strndup(path, strlen(path) - 1) : strdup(path);
    _cleanup_free_ char *name = root ? last_part(root) : NULL;
    _cleanup_free_ char *real = NULL;
    if (!root || !name)
        return no_memory(err);
    if (stat(root, &st) < 0)
        return file_fail(errno, path, err);
    if (S_ISREG(st.st_mode) && !contents) {
        real = realpath(root, NULL); /* the caller named it: a link to it is meant */
        return real ? walk_file(&w, real, name, (uint64_t)st.st_size, err) : file_fail(errno, path, err);
    }
    if (!S_ISDIR(st.st_mode))
        return osmo_error_set(err, OSMO_EUSER, "%.300s is neither a file nor a directory", path);
    w.start = contents ? "" : name;
    int rc = base_new(root, &w.base, err);
    if (rc < 0)
        return rc;
    rc = walk_dir(&w, "", 0, err);
    base_unref(w.base);
    return rc;
}
