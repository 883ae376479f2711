/* The root file system of a container under ISO_MAPPED, put together by direct system calls while we still are root, so
 * that bubblewrap binds one tree instead of dozens of places (it reads the whole mount table at each of them). Used by
 * sandbox.c, in the forked child.
 *
 * Nothing is followed by name from the host's root once the container's root exists: every place is opened below the
 * container's root without symlinks, so what an image or a task left behind cannot lead a mount elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "supervisor.h"

#define ENTRIES_MAX 2000
#define WALLS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

struct stage { const struct supervisor *s; int root; size_t entries; };

static void set_flags(int tree, uint64_t flags, bool below)
{
    struct mount_attr attr = {.attr_set = flags};
    if (mount_setattr(tree, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0), &attr, sizeof(attr)) < 0)
        sandbox_fail("mount_setattr");
}

/* Detached mounts survive the change of mount namespace; plain descriptors could not be bound in the new one. */
static int clone_tree(int at, const char *path, uint64_t flags)
{
    int tree = open_tree(at, path,
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW |
                             (*path ? 0 : AT_EMPTY_PATH));
    if (tree >= 0)
        set_flags(tree, flags, true);
    return tree;
}

/* Mount a detached tree at a path of the container; the place is made where it can be. Takes the tree. */
static void place(const struct stage *g, int tree, const char *path, bool is_dir)
{
    int at = mounts_open_beneath(g->root, path + 1);
    if (at < 0 && errno == ENOENT && mounts_make_beneath(g->root, path, is_dir, g->s->uid) == 0)
        at = mounts_open_beneath(g->root, path + 1);
    if (at < 0 || move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        sandbox_fail(path);
    close(at);
    close(tree);
}

static int new_fs(const char *type, const char *const options[][2], uint64_t flags)
{
    int fs = fsopen(type, FSOPEN_CLOEXEC);
    for (size_t i = 0; fs >= 0 && options[i][0]; i++)
        if (fsconfig(fs, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0) < 0)
            sandbox_fail(options[i][0]);
    if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        sandbox_fail(type);
    int tree = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)flags);
    if (tree < 0)
        sandbox_fail(type);
    close(fs);
    return tree;
}

/* Empty, private to the container and owned by its root. */
static int new_tmpfs(const struct stage *g)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", (unsigned)g->s->uid);
    const char *const options[][2] = {{"mode", "0755"}, {"uid", id}, {"gid", id}, {NULL, NULL}};
    return new_fs("tmpfs", options, WALLS);
}

/* Bind every entry of root+dir back at dir, read-only, except top-level names that are replaced anyway. */
static void add_entries(struct stage *g, const char *root, const char *dir)
{
    char host[PATH_MAX], inside[PATH_MAX], link[PATH_MAX];
    if ((size_t)snprintf(host, sizeof(host), "%s%s", root, *dir ? dir : "/") >= sizeof(host))
        return;
    DIR *d = opendir(host);
    if (!d)
        sandbox_fail(host);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
            (size_t)snprintf(inside, sizeof(inside), "%s/%s", dir, e->d_name) >= sizeof(inside) ||
            sandbox_replaces(inside) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (++g->entries > ENTRIES_MAX) {
            errno = E2BIG;
            sandbox_fail(dir);
        }
        ssize_t n = S_ISLNK(st.st_mode) ? readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1) : -1;
        if (n >= 0) {
            int at = *dir ? mounts_open_beneath(g->root, dir + 1) : g->root;
            link[n] = '\0';
            if (at < 0 || symlinkat(link, at, e->d_name) < 0)
                sandbox_fail(inside);
            if (at != g->root)
                close(at);
            continue;
        }
        int tree = clone_tree(dirfd(d), e->d_name, WALLS | MOUNT_ATTR_RDONLY);
        if (tree >= 0)
            place(g, tree, inside, S_ISDIR(st.st_mode));
    }
    closedir(d);
}

/* A minimal /dev: harmless devices of the host, terminals of its own. */
static void add_dev(const struct stage *g)
{
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const struct {
        const char *name, *to;
    } links[] = {
        { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
        { "stderr", "/proc/self/fd/2" }, { "core", "/proc/kcore" },      { "ptmx", "pts/ptmx" },
    };
    static const char *const terminals[][2] = {{"ptmxmode", "0666"}, {"mode", "0620"}, {NULL, NULL}};
    char path[64];
    place(g, new_tmpfs(g), "/dev", true);
    int dev = mounts_open_beneath(g->root, "dev");
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
        snprintf(path, sizeof(path), "/dev/%s", nodes[i]);
        int tree = clone_tree(AT_FDCWD, path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
        if (tree < 0)
            sandbox_fail(path);
        place(g, tree, path, false);
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (symlinkat(links[i].to, dev, links[i].name) < 0)
            sandbox_fail(links[i].name);
    if (mkdirat(dev, "shm", 01777) < 0 || fchmodat(dev, "shm", 01777, 0) < 0)
        sandbox_fail("/dev/shm");
    close(dev);
    place(g, new_fs("devpts", terminals, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "/dev/pts", true);
}

static void add_hidden(const struct stage *g, const char *path)
{
    char real[PATH_MAX];
    char *missing;
    struct stat st;
    if (root_resolve("", path, real, &missing) < 0 || missing || is_private(real) || str_eq(real, "/") ||
        stat(real, &st) < 0)
        return;
    place(g, S_ISDIR(st.st_mode) ? new_tmpfs(g) : clone_tree(AT_FDCWD, "/dev/null", WALLS | MOUNT_ATTR_RDONLY), real,
          S_ISDIR(st.st_mode));
}

static void add_base(struct stage *g, const struct container *c, const struct root_plan *plan, const char *root)
{
    static const char *const masks[] = {"/tmp", "/home", "/root", "/run", "/osmo"};
    char path[PATH_MAX];
    char *missing;
    add_entries(g, root, "");
    for (size_t i = 0; i < plan->explode.len; i++) {
        place(g, new_tmpfs(g), plan->explode.items[i], true);
        add_entries(g, root, plan->explode.items[i]);
    }
    if (mkdirat(g->root, "proc", 0755) < 0)
        sandbox_fail("/proc");
    add_dev(g);
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
        place(g, new_tmpfs(g), masks[i], true);
    if (root_resolve(c->rootfs, "/var/tmp", path, &missing) == 0 && !missing && !path_under(path, "/tmp"))
        place(g, new_tmpfs(g), path, true);
    if (*c->rootfs)
        return;
    /* Name look-up must go on where resolv.conf points into the hidden /run. */
    if (root_resolve("", "/etc/resolv.conf", path, &missing) == 0 && !missing && path_under(path, "/run"))
        place(g, clone_tree(AT_FDCWD, path, WALLS | MOUNT_ATTR_RDONLY), path, false);
    for (size_t i = 0; i < g->s->hide.len; i++)
        add_hidden(g, g->s->hide.items[i]);
}

static void make_read_only(const struct stage *g, const char *path)
{
    int at = *path ? mounts_open_beneath(g->root, path + 1) : g->root;
    if (at < 0)
        sandbox_fail(path);
    set_flags(at, MOUNT_ATTR_RDONLY, false);
    if (at != g->root)
        close(at);
}

void stage_build(const struct supervisor *s, struct container *c, const struct root_plan *plan)
{
    struct stage g = {.s = s, .root = -1};
    int image = -1;
    if (*c->rootfs && (image = open_tree(AT_FDCWD, c->rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)) < 0)
        sandbox_fail(c->rootfs);
    for (size_t i = 0; i < c->nmounts; i++) {
        struct mount *m = &c->mounts[i];
        m->fd = clone_tree(m->fd, "", WALLS | (m->ro ? MOUNT_ATTR_RDONLY : 0));
        if (m->fd < 0)
            sandbox_fail(m->target);
    }
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        sandbox_fail("mount namespace");
    int root = new_tmpfs(&g);
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0 || mkdir(STAGE_DIR, 0755) < 0 ||
        mkdir(STAGE_ROOT, 0755) < 0 || mkdir(STAGE_IMAGE, 0755) < 0 ||
        (image >= 0 && move_mount(image, "", AT_FDCWD, STAGE_IMAGE, MOVE_MOUNT_F_EMPTY_PATH) < 0) ||
        move_mount(root, "", AT_FDCWD, STAGE_ROOT, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        sandbox_fail("staging directory");
    g.root = open(STAGE_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (g.root < 0)
        sandbox_fail("staging directory");
    add_base(&g, c, plan, image >= 0 ? STAGE_IMAGE : "");
    for (size_t i = 0; i < c->nmounts; i++)
        place(&g, STEAL_FD(c->mounts[i].fd), c->mounts[i].dest, c->mounts[i].is_dir);
    for (size_t i = 0; i < plan->explode.len; i++)
        make_read_only(&g, plan->explode.items[i]);
    make_read_only(&g, "");
}
