/* From a container to a bubblewrap command line. Used by run.c (in the forked child) and by main.c for the probe.
 *
 * Root file system: an empty tmpfs into which the entries of the image (by default the host's /) are bound read-only,
 * so that new top-level directories can be made; then /proc, a minimal /dev, private directories over the ones that
 * hold other people's data, the volumes, and at last the tmpfs itself is made read-only.
 *
 * Who the task is. As root (ISO_MAPPED) bubblewrap itself runs as an unprivileged id that belongs to this pod alone and
 * maps it to uid 0 of a user namespace: the task believes to be root, as in a container, and on the host it is nobody:
 * files of root such as /etc/shadow stay unreadable and other pods' files are somebody else's. That id could not walk
 * to the volumes (their parents are closed to it), so the whole root is put together before (stage.c), where it can.
 * Where user namespaces are not to be had, root falls back to bubblewrap as root without capabilities (ISO_ROOT), with
 * the password files hidden. A normal user (ISO_USER) gets the user namespace with its own id. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/file.h"
#include "supervisor.h"

#define ARGS_MAX (16 * 1024 * 1024)
#define EXPLODE_MAX 2000 /* bubblewrap takes at most 9000 words */
#define PROBE_UID 1900000000

void sandbox_fail(const char *what)
{
    dprintf(STDERR_FILENO, "sandbox: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void add(buf_t *b, const char *word)
{
    buf_append(b, word, strlen(word) + 1);
}

static void add2(buf_t *b, const char *option, const char *value)
{
    add(b, option);
    add(b, value);
}

static void add3(buf_t *b, const char *option, const char *from, const char *to)
{
    add2(b, option, from);
    add(b, to);
}

bool sandbox_replaces(const char *path)
{
    static const char *const names[] = { "/proc", "/dev",  "/tmp",          "/home",         "/root",
                                         "/run",  "/osmo", "/osmo_runtime", "/osmo_binaries" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eq(path, names[i]))
            return true;
    return false;
}

/* Bind every entry of root+dir back at dir, except top-level names that are replaced anyway. */
static void add_entries(buf_t *b, const char *root, const char *dir, size_t *budget)
{
    char host[PATH_MAX], inside[PATH_MAX], link[PATH_MAX];
    if ((size_t)snprintf(host, sizeof(host), "%s%s", root, *dir ? dir : "/") >= sizeof(host))
        return;
    DIR *d = opendir(host);
    if (!d)
        sandbox_fail(host);
    for (struct dirent *e; (e = readdir(d));) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        if ((size_t)snprintf(inside, sizeof(inside), "%s/%s", dir, e->d_name) >= sizeof(inside) ||
            (size_t)snprintf(host, sizeof(host), "%s%s", root, inside) >= sizeof(host))
            continue;
        if (sandbox_replaces(inside))
            continue;
        if ((*budget)-- == 0) {
            errno = E2BIG;
            sandbox_fail(dir);
        }
        ssize_t n = readlink(host, link, sizeof(link) - 1);
        if (n >= 0) {
            link[n] = '\0';
            add3(b, "--symlink", link, inside);
        } else {
            add3(b, "--ro-bind-try", host, inside);
        }
    }
    closedir(d);
}

static void add_hidden(buf_t *b, const char *path)
{
    char real[PATH_MAX];
    char *missing;
    struct stat st;
    if (root_resolve("", path, real, &missing) < 0 || missing || is_private(real) || str_eq(real, "/"))
        return;
    if (stat(real, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode))
        add2(b, "--tmpfs", real);
    else
        add3(b, "--ro-bind", "/dev/null", real);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_root(const struct supervisor *s, const struct container *c, const struct root_plan *plan, buf_t *b)
{
    static const char *const masks[] = {"/tmp", "/home", "/root", "/run", "/osmo"};
    static const char *const secret_files[] = { "/etc/shadow",     "/etc/shadow-",     "/etc/gshadow", "/etc/gshadow-",
                                                "/etc/ssh",        "/etc/ssl/private", "/etc/sudoers", "/etc/sudoers.d",
                                                "/var/spool/cron", "/var/backups" };
    size_t budget = EXPLODE_MAX;
    char path[PATH_MAX];
    char *missing;
    add_entries(b, c->rootfs, "", &budget);
    for (size_t i = 0; i < plan->explode.len; i++) {
        add2(b, "--tmpfs", plan->explode.items[i]);
        add_entries(b, c->rootfs, plan->explode.items[i], &budget);
    }
    add2(b, "--proc", "/proc");
    add2(b, "--dev", "/dev");
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
        add2(b, "--tmpfs", masks[i]);
    if (root_resolve(c->rootfs, "/var/tmp", path, &missing) == 0 && !missing && !path_under(path, "/tmp"))
        add2(b, "--tmpfs", path);
    if (*c->rootfs)
        return;
    /* Name look-up must go on where resolv.conf points into the hidden /run. */
    if (root_resolve("", "/etc/resolv.conf", path, &missing) == 0 && !missing && path_under(path, "/run"))
        add3(b, "--ro-bind-try", path, path);
    for (size_t i = 0; i < s->hide.len; i++)
        add_hidden(b, s->hide.items[i]);
    for (size_t i = 0; s->isolation == ISO_ROOT && i < ARRAY_SIZE(secret_files); i++)
        add_hidden(b, secret_files[i]);
}

static void add_mounts(const struct container *c, buf_t *b)
{
    char source[PATH_MAX];
    for (size_t i = 0; i < c->nmounts; i++) {
        const struct mount *m = &c->mounts[i];
        snprintf(source, sizeof(source), "%s%s%s", m->source, m->sub && *m->sub ? "/" : "", m->sub ? m->sub : "");
        add3(b, m->ro ? "--ro-bind" : "--bind", source, m->dest);
    }
}

static void add_env(const struct container *c, buf_t *b)
{
    add(b, "--clearenv");
    for (size_t i = 0; i < c->env.len; i++) {
        const char *eq = strchr(c->env.items[i], '=');
        if (!eq || eq == c->env.items[i])
            continue;
        add(b, "--setenv");
        buf_append(b, c->env.items[i], (size_t)(eq - c->env.items[i]));
        buf_putc(b, '\0');
        add(b, eq + 1);
    }
}

/* ISO_MAPPED: put the root file system together, then become the id that belongs to this pod alone. */
static void stage_and_drop(const struct supervisor *s, struct container *c, const struct root_plan *plan)
{
    stage_build(s, c, plan);
    if (setgroups(0, NULL) < 0 || setresgid(s->uid, s->uid, s->uid) < 0 || setresuid(s->uid, s->uid, s->uid) < 0)
        sandbox_fail("setresuid");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the change of id cleared it */
    if (s->pid && getppid() != s->pid)
        _exit(126);
}

void sandbox_exec(const struct supervisor *s, struct container *c, const struct root_plan *plan, int report_fd)
{
    buf_t args = BUF_INIT(ARGS_MAX);
    char number[16], args_number[16];
    umask(022);
    if (plan->explode.len) /* parents before children */
        qsort(plan->explode.items, plan->explode.len, sizeof(char *), by_text);
    if (chdir("/") < 0)
        sandbox_fail("/");
    if (s->isolation == ISO_MAPPED)
        stage_and_drop(s, c, plan);
    static const char *const fixed[] = { "--die-with-parent", "--new-session",        "--unshare-pid", "--unshare-ipc",
                                         "--unshare-uts",     "--unshare-cgroup-try", "--as-pid-1" };
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        add(&args, fixed[i]);
    if (s->isolation != ISO_ROOT) {
        add(&args, "--unshare-user");
        add2(&args, "--uid", "0");
        add2(&args, "--gid", "0");
    }
    add2(&args, "--cap-drop", "ALL");
    add2(&args, "--hostname", s->hostname);
    snprintf(number, sizeof(number), "%d", report_fd);
    add2(&args, "--json-status-fd", number);
    if (s->isolation == ISO_MAPPED) {
        add3(&args, "--dev-bind", STAGE_ROOT, "/");
        add2(&args, "--proc", "/proc");
    } else {
        add_root(s, c, plan, &args);
        add_mounts(c, &args);
        for (size_t i = 0; i < plan->explode.len; i++)
            add2(&args, "--remount-ro", plan->explode.items[i]);
        add2(&args, "--remount-ro", "/");
    }
    add2(&args, "--chdir", c->cwd);
    add_env(c, &args);
    if (buf_failed(&args)) {
        errno = E2BIG;
        sandbox_fail("arguments");
    }
    /* Options travel in a memory file: the environment holds secrets, and command lines are public. */
    int fd = memfd_create("bwrap-args", 0);
    if (fd < 0 || fd_write_all(fd, args.data, args.len) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(report_fd, F_SETFD, 0) < 0)
        sandbox_fail("arguments");
    snprintf(args_number, sizeof(args_number), "%d", fd);
    char **argv = calloc(c->argv.len + 5, sizeof(char *));
    if (!argv)
        sandbox_fail("arguments");
    char *head[] = {s->bwrap, (char[]){"--args"}, args_number, (char[]){"--"}};
    memcpy(argv, head, sizeof(head));
    memcpy(argv + 4, c->argv.items, c->argv.len * sizeof(char *));
    char *envp[] = {NULL};
    execve(s->bwrap, argv, envp);
    sandbox_fail(s->bwrap);
}

static bool probe_one(const char *bwrap, enum isolation isolation, const struct network *net, char *text, size_t max)
{
    char name[] = "true", *words[] = {name};
    char env_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *env[] = {env_path};
    char root[] = "", cwd[] = "/", host[] = "probe";
    struct container c = {
        .argv = { .items = words, .len = 1 }, .env = { .items = env, .len = 1 }, .rootfs = root, .cwd = cwd
    };
    struct supervisor s = {.isolation = isolation, .uid = PROBE_UID, .hostname = host};
    struct root_plan plan = {{0}};
    int out[2], report[2], status = -1;
    s.bwrap = str_dup(bwrap);
    if (!s.bwrap || pipe2(out, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDERR_FILENO);
        if (network_join(net) < 0)
            sandbox_fail("network");
        sandbox_exec(&s, &c, &plan, report[1]);
    }
    close(out[1]);
    close(report[1]);
    size_t len = 0;
    for (ssize_t n; len + 1 < max && (n = read(out[0], text + len, max - len - 1)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(out[0]);
    close(report[0]);
    free(s.bwrap);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int probe_network(const char *text, struct network *net, osmo_error_t *err)
{
    _cleanup_json_ json_t *plan = NULL;
    int rc = json_parse(text, strlen(text), &plan, err);
    if (rc == 0)
        rc = network_load(net, plan, err);
    return rc == 0 ? network_make(net, err) : rc;
}

int sandbox_probe(const char *bwrap, const char *network)
{
    static const enum isolation as_root[] = {ISO_MAPPED, ISO_ROOT}, as_user[] = {ISO_USER};
    const enum isolation *kinds = geteuid() == 0 ? as_root : as_user;
    size_t n = geteuid() == 0 ? ARRAY_SIZE(as_root) : ARRAY_SIZE(as_user);
    char text[512] = "";
    struct network net = NETWORK_INIT;
    osmo_error_t err = OSMO_ERROR_INIT;
    bool found = false;
    if (network && probe_network(network, &net, &err) < 0)
        snprintf(text, sizeof(text), "%.500s", err.text);
    else
        for (size_t i = 0; i < n && !found; i++) {
            found = probe_one(bwrap, kinds[i], &net, text, sizeof(text));
            if (found)
                printf("%s\n", isolation_name(kinds[i]));
        }
    if (!found)
        fprintf(stderr, "%s\n", *text ? text : "bubblewrap ended without a word");
    network_free(&net);
    return found ? 0 : 1;
}
