/* Changes below a directory, by inotify: every directory has a watch of its own. See rsync.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "rsync.h"

#define CHANGES (IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | \
                 IN_DELETE_SELF | IN_MOVE_SELF)

struct tree_watch {
    int fd;
    map_t *paths;           /* of directories, by the decimal text of their watch */
    char *file;             /* only this name of the one directory */
    bool incomplete;
};

static void key_of(int wd, char out[16]) { snprintf(out, 16, "%d", wd); }

/* 0 or errno. What vanished meanwhile is none of ours. */
static int watch_one(struct tree_watch *w, const char *path) {
    char key[16];
    if (map_len(w->paths) >= WATCH_MAX)
        return ENOSPC;
    int wd = inotify_add_watch(w->fd, path, CHANGES | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
    if (wd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : errno;
    key_of(wd, key);
    char *copy = strdup(path);
    return copy && map_set(w->paths, key, copy) == 0 ? 0 : ENOMEM;
}

static void list_directories(const char *path, strlist_t *found) {
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        struct stat st;
        bool is_dir = e->d_type == DT_DIR;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        if (e->d_type == DT_UNKNOWN)
            is_dir = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        _cleanup_free_ char *below = is_dir ? str_printf("%s/%s", path, e->d_name) : NULL;
        if (below && found->len < 2 * WATCH_MAX)
            strlist_add(found, below);
    }
    if (d)
        closedir(d);
}

/* A directory with all that is in it. Breadth first: its length is the list's, not the stack's. */
static int watch_tree(struct tree_watch *w, const char *root) {
    strlist_t todo = { 0 };
    int error = strlist_add(&todo, root) ? ENOMEM : 0;
    for (size_t i = 0; !error && i < todo.len; i++) {
        error = watch_one(w, todo.items[i]);
        if (!error)
            list_directories(todo.items[i], &todo);
    }
    strlist_free(&todo);
    w->incomplete |= error != 0;
    return error;
}

int tree_watch_open(const char *path, struct tree_watch **out, osmo_error_t *err) {
    struct tree_watch *w = calloc(1, sizeof *w);
    struct stat st;
    _cleanup_free_ char *dir = strdup(path);
    if (!w || !dir || !(w->paths = map_new(free))) {
        free(w);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->fd < 0 || stat(path, &st)) {
        int rc = osmo_error_set(err, OSMO_EINVAL, "%s cannot be watched: %s", path, strerror(errno));
        tree_watch_free(w);
        return rc;
    }
    char *slash = strrchr(dir, '/');
    if (!S_ISDIR(st.st_mode) && slash) { /* the file may be replaced by another: its directory knows */
        w->file = strdup(slash + 1);
        slash[slash == dir] = '\0';
        w->incomplete = watch_one(w, dir) != 0;
    } else {
        watch_tree(w, dir);
    }
    *out = w;
    return OSMO_OK;
}

void tree_watch_free(struct tree_watch *w) {
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    map_free(w->paths);
    free(w->file);
    free(w);
}

int tree_watch_fd(const struct tree_watch *w) { return w->fd; }
bool tree_watch_complete(const struct tree_watch *w) { return !w->incomplete; }

static bool one_event(struct tree_watch *w, const struct inotify_event *e) {
    char key[16];
    key_of(e->wd, key);
    if (e->mask & IN_Q_OVERFLOW) {
        w->incomplete = true;
        return true;
    }
    if (e->mask & IN_IGNORED) {
        map_remove(w->paths, key);
        return true;
    }
    const char *dir = map_get(w->paths, key), *name = e->len ? e->name : "";
    if (w->file && !str_eq(name, w->file))
        return false;
    if (dir && (e->mask & IN_ISDIR) && (e->mask & (IN_CREATE | IN_MOVED_TO)) && !w->file) {
        _cleanup_free_ char *below = str_printf("%s/%s", dir, name);
        if (below)
            watch_tree(w, below);
    }
    return true;
}

bool tree_watch_read(struct tree_watch *w) {
    char data[64 * (sizeof(struct inotify_event) + NAME_MAX + 1)] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false;
    ssize_t n;
    while ((n = read(w->fd, data, sizeof data)) > 0) {
        for (char *p = data; p < data + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)p;
            changed |= one_event(w, e);
            p += sizeof *e + e->len;
        }
    }
    return changed;
}
