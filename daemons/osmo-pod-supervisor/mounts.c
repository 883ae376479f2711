/* Where the mounts of a container go. The root file system is read-only, so a mount point that does not exist in it
 * cannot simply be made: the deepest directory that does exist is "exploded" instead, that is, replaced by an empty one
 * into which its entries are bound back, beside the new one. Used by run.c and sandbox.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "supervisor.h"

bool path_under(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n && dir[n - 1] == '/')
        n--;
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Put the target of the symlink `host` in front of `rest`. */
static int follow(const char *host, char rest[PATH_MAX], char out[PATH_MAX], size_t *len, const char *tail)
{
    char link[PATH_MAX], joined[PATH_MAX];
    ssize_t n = readlink(host, link, sizeof(link) - 1);
    if (n < 0)
        return OSMO_EIO;
    link[n] = '\0';
    if (link[0] == '/') {
        *len = 0;
        out[0] = '\0';
    }
    if ((size_t)snprintf(joined, sizeof(joined), "%s%s%s", link, *tail ? "/" : "", tail) >= sizeof(joined))
        return OSMO_ELIMIT;
    memcpy(rest, joined, strlen(joined) + 1);
    return 0;
}

int root_resolve(const char *root, const char *path, char out[PATH_MAX], char **missing)
{
    char rest[PATH_MAX], host[PATH_MAX];
    size_t len = 0;
    int links = 0;
    *missing = NULL;
    out[0] = '\0';
    if ((size_t)snprintf(rest, sizeof(rest), "%s", path) >= sizeof(rest))
        return OSMO_ELIMIT;
    for (char *p = rest; *p;) {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        if (n == 0)
            break;
        char *next = p + n;
        if (n == 1 && p[0] == '.') {
            p = next;
            continue;
        }
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            while (len && out[len - 1] != '/')
                len--;
            len = len ? len - 1 : 0;
            out[len] = '\0';
            p = next;
            continue;
        }
        if (len + n + 2 > PATH_MAX)
            return OSMO_ELIMIT;
        size_t parent = len;
        out[len++] = '/';
        memcpy(out + len, p, n);
        len += n;
        out[len] = '\0';
        struct stat st;
        if ((size_t)snprintf(host, sizeof(host), "%s%s", root, out) >= sizeof(host))
            return OSMO_ELIMIT;
        if (lstat(host, &st) < 0) {
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
                return OSMO_EIO;
            size_t more = strlen(next);
            if (len + more + 1 > PATH_MAX)
                return OSMO_ELIMIT;
            memcpy(out + len, next, more + 1);
            *missing = out + parent;
            return 0;
        }
        p = next;
        if (S_ISLNK(st.st_mode)) {
            if (++links > 40)
                return OSMO_ELIMIT;
            char tail[PATH_MAX];
            memcpy(tail, next + (*next == '/'), strlen(next + (*next == '/')) + 1);
            len = parent;
            out[len] = '\0';
            int rc = follow(host, rest, out, &len, tail);
            if (rc < 0)
                return rc;
            p = rest;
        }
    }
    if (len == 0)
        memcpy(out, "/", 2);
    return 0;
}

int mounts_open_beneath(int dir, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Make `path` below the directory `dir`: directories, and an empty file at its end unless `leaf_is_dir`. Follows no
 * links, so what a task leaves in a volume cannot lead outside it. */
int mounts_make_beneath(int dir, const char *path, bool leaf_is_dir, uid_t owner)
{
    _cleanup_close_ int at = mounts_open_beneath(dir, ".");
    char part[NAME_MAX + 1];
    for (const char *p = path; at >= 0 && *p;) {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        if (n == 0)
            break;
        if (n > NAME_MAX || (n == 2 && p[0] == '.' && p[1] == '.'))
            return OSMO_EINVAL;
        memcpy(part, p, n);
        part[n] = '\0';
        p += n;
        bool last = p[strspn(p, "/")] == '\0';
        int made = -1;
        if (!last || leaf_is_dir) {
            made = mkdirat(at, part, 0777);
        } else {
            made = openat(at, part, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
            if (made >= 0)
                close(made);
        }
        if (made >= 0 && owner && fchownat(at, part, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
            return OSMO_EIO;
        int next = mounts_open_beneath(at, part);
        close(STEAL_FD(at));
        at = next;
    }
    return at < 0 ? OSMO_EIO : 0;
}

int mounts_open(struct container *c, uid_t owner, osmo_error_t *err)
{
    for (size_t i = 0; i < c->nmounts; i++) {
        struct mount *m = &c->mounts[i];
        struct stat st;
        _cleanup_close_ int base = open(m->source, O_PATH | O_CLOEXEC);
        if (base < 0)
            return osmo_error_set(err, OSMO_EIO, "mount %s: cannot open %s: %s", m->target, m->source, strerror(errno));
        if (m->sub && *m->sub) {
            m->fd = mounts_open_beneath(base, m->sub);
            if (m->fd < 0 && errno == ENOENT && mounts_make_beneath(base, m->sub, true, owner) == 0)
                m->fd = mounts_open_beneath(base, m->sub);
        } else {
            m->fd = STEAL_FD(base);
        }
        if (m->fd < 0 || fstat(m->fd, &st) < 0)
            return osmo_error_set(err, OSMO_EIO, "mount %s: subPath %s cannot be used: %s", m->target,
                                  m->sub ? m->sub : "", strerror(errno));
        m->is_dir = S_ISDIR(st.st_mode);
    }
    return 0;
}

void mounts_close(struct container *c)
{
    for (size_t i = 0; i < c->nmounts; i++)
        if (c->mounts[i].fd >= 0)
            close(STEAL_FD(c->mounts[i].fd));
}

/* Directories that are private to the container and writable while bwrap builds it: bwrap makes mount points there
 * itself. */
bool is_private(const char *path)
{
    static const char *const areas[] = {"/tmp", "/var/tmp", "/home", "/root", "/run", "/osmo", "/dev"};
    for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
        if (path_under(path, areas[i]))
            return true;
    return false;
}

static struct mount *containing(struct container *c, size_t upto, const char *path)
{
    struct mount *best = NULL;
    for (size_t i = 0; i < upto; i++) {
        struct mount *m = &c->mounts[i];
        if (path_under(path, m->dest) && (!best || strlen(m->dest) >= strlen(best->dest)))
            best = m;
    }
    return best;
}

static int place_on_root(struct container *c, struct mount *m, struct root_plan *plan, osmo_error_t *err)
{
    char path[PATH_MAX], host[PATH_MAX * 2];
    char *missing;
    struct stat st;
    if (root_resolve(c->rootfs, m->target, path, &missing) < 0 || str_eq(path, "/"))
        return osmo_error_set(err, OSMO_EINVAL, "mount %s: cannot be placed in the root file system", m->target);
    free(m->dest);
    m->dest = str_dup(path);
    if (!m->dest)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (is_private(path))
        return 0;
    snprintf(host, sizeof(host), "%s%s", c->rootfs, path);
    if (!missing) {
        if (stat(host, &st) < 0 || S_ISDIR(st.st_mode) != m->is_dir)
            return osmo_error_set(err, OSMO_EINVAL, "mount %s: the image has a %s there", m->target,
                                  m->is_dir ? "file" : "directory");
        return 0;
    }
    *missing = '\0';
    if (path[0] == '\0' || strlist_has(&plan->explode, path))
        return 0;
    return strlist_add(&plan->explode, path) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

int mounts_place(struct container *c, struct root_plan *plan, osmo_error_t *err)
{
    for (size_t i = 0; i < c->nmounts; i++) {
        struct mount *m = &c->mounts[i];
        m->dest = str_dup(m->target);
        if (!m->dest)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        struct mount *parent = containing(c, i, m->dest);
        if (parent && !str_eq(parent->dest, m->dest)) {
            if (!parent->is_dir || mounts_make_beneath(parent->fd, m->dest + strlen(parent->dest), m->is_dir, 0) < 0)
                return osmo_error_set(err, OSMO_EINVAL, "mount %s: no mount point can be made in %s", m->target,
                                      parent->target);
        } else if (!parent && !is_private(m->dest)) {
            int rc = place_on_root(c, m, plan, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}
