/* See rsync.h. */
#include "rsync.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "exec.h"
#include "pace.h"
#include "session.h"

#define CONFIG_MAX (256u << 10)
#define MODULES_MAX 256

static bool plain(const char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == ']' || *text == '[')
            return false;
    }
    return true;
}

static void module(buf_t *out, const char *name, const char *path, bool writable) {
    buf_printf(out, "[%s]\npath = %s\nread only = %s\n", name, path, writable ? "no" : "yes");
}

/* <name>:<path>:<writable>; what is wrong with it, or NULL. */
static const char *add_allowed(buf_t *out, strlist_t *names, char *entry) {
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" }, *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    char *path = strchr(entry, ':'), *last = strrchr(entry, ':');
    struct stat st;
    bool writable = false, known = false;
    if (!path || last == path)
        return "<name>:<path>:<writable> is expected";
    *path++ = '\0';
    *last++ = '\0';
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        writable = writable || strcmp(last, yes[i]) == 0;
        known = known || writable || strcmp(last, no[i]) == 0;
    }
    if (!known)
        return "true or false is expected behind the path";
    if (!*entry || !plain(entry) || path[0] != '/' || !plain(path))
        return "a name and an absolute path are expected";
    if (strlist_has(names, entry))
        return "there is a module of this name already";
    if (names->len >= MODULES_MAX)
        return "there are too many modules";
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return "there is no such directory in this container";
    strlist_add(names, entry);
    module(out, entry, path, writable);
    return NULL;
}

int rsync_config(const struct rsync_options *o, buf_t *out, void (*say)(void *ctx, const char *text), void *ctx) {
    strlist_t entries = { 0 }, names = { 0 };
    char path[PATH_MAX], text[PATH_MAX + 256];
    buf_puts(out, "use chroot = no\nreverse lookup = no\nnumeric ids = yes\nmunge symlinks = no\nlist = yes\nlog file = /dev/null\n");
    if (geteuid() == 0)
        buf_puts(out, "uid = 0\ngid = 0\n"); /* else it would become nobody */
    snprintf(path, sizeof path, "%s/workspace", o->run_location);
    module(out, "osmo", path, true);
    strlist_add(&names, "osmo");
    if (*o->allow_list)
        strlist_split(&entries, o->allow_list, ',');
    for (size_t i = 0; i < entries.len; i++) {
        char *entry = strdup(entries.items[i]);
        const char *wrong = entry ? add_allowed(out, &names, entry) : "out of memory";
        if (wrong) {
            snprintf(text, sizeof text, "rsync: '%s' is left out: %s", entries.items[i], wrong);
            say(ctx, text);
        }
        free(entry);
    }
    strlist_free(&entries);
    strlist_free(&names);
    return out->code;
}

static char *find_program(const struct rsync_options *o) {
    const char *path = getenv("PATH");
    strlist_t dirs = { 0 };
    char *found = NULL;
    strlist_add(&dirs, o->user_bin_path);
    strlist_add(&dirs, "/osmo/bin");
    strlist_split(&dirs, path ? path : "", ':');
    for (size_t i = 0; i < dirs.len && !found; i++) {
        found = dirs.items[i][0] == '/' ? str_printf("%s/rsync", dirs.items[i]) : NULL;
        if (found && access(found, X_OK)) {
            free(found);
            found = NULL;
        }
    }
    strlist_free(&dirs);
    return found;
}

static int listen_loopback(void) {
    const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(RSYNC_PORT), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 32) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

/* By name: rsync reads it again for each connection, and does not follow the links of /proc. */
static char *config_file(const struct rsync_options *o, const buf_t *text) {
    const char *const dirs[] = { o->run_location, "/tmp" };
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        char *path = str_printf("%s/.osmo_rsyncd.conf", dirs[i]);
        if (path && file_write_atomic(path, text->data, text->len, 0600, false, NULL) == 0)
            return path;
        free(path);
    }
    return NULL;
}

int rsync_open(struct rsync_server *r, const struct rsync_options *o, void (*say)(void *ctx, const char *text), void *ctx, char *why,
               size_t cap) {
    buf_t text = BUF_INIT(CONFIG_MAX);
    char workspace[PATH_MAX];
    *r = (struct rsync_server){ .listener = -1 };
    snprintf(workspace, sizeof workspace, "%s/workspace", o->run_location);
    mkdir(workspace, 0777);
    r->program = find_program(o);
    if (!r->program)
        snprintf(why, cap, "there is no program rsync in %s, /osmo/bin or PATH", o->user_bin_path);
    else if (rsync_config(o, &text, say, ctx) || !(r->config = config_file(o, &text)))
        snprintf(why, cap, "cannot write its configuration in %s or /tmp", o->run_location);
    else if ((r->listener = listen_loopback()) < 0)
        snprintf(why, cap, "cannot listen on 127.0.0.1:%d: %s", RSYNC_PORT, strerror(errno));
    r->read_limit = o->read_limit;
    r->write_limit = o->write_limit;
    buf_free(&text);
    return r->listener < 0 ? -1 : 0;
}

/* In a user namespace with one group nobody may set groups, which are those already: rsync, as root, asks for it and takes no for an answer
 * that it cannot live with. So it is told yes. */
static void allow_no_groups(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), /* number 0: done */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = { sizeof program / sizeof program[0], program };
    buf_t text = BUF_INIT(64);
    if (geteuid() == 0 && file_read("/proc/self/setgroups", &text, NULL) == 0 && str_starts(buf_cstr(&text), "deny") &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter); /* where it is refused, rsync says what it could not do */
    buf_free(&text);
}

static void serve(const struct rsync_server *r, int fd) {
    char *config = str_printf("--config=%s", r->config);
    char *argv[] = { "rsync", "--daemon", config, NULL };
    allow_no_groups();
    if (config && dup2(fd, STDIN_FILENO) >= 0)
        execv(r->program, argv);
    _exit(1);
}

/* rsync's own limit is for what it sends; ours are for both ways, so a process of its own is between it and the client. */
static void serve_paced(const struct rsync_server *r, int fd) {
    int pair[2];
    signals_reset();
    setsid();
    if (r->read_limit <= 0 && r->write_limit <= 0)
        serve(r, fd);
    if (pace_pair(pair) < 0)
        _exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        close(pair[0]);
        serve(r, pair[1]);
    }
    if (dup2(fd, STDIN_FILENO) < 0 || dup2(pair[0], STDOUT_FILENO) < 0)
        _exit(1);
    close_inherited(); /* as exec() would: nothing of osmo_exec's may live as long as this */
    pace_carry(STDIN_FILENO, STDOUT_FILENO, r->read_limit, r->write_limit);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    _exit(0);
}

void rsync_accept(struct rsync_server *r) {
    size_t slot = 0;
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    while (slot < RSYNC_CONNECTIONS_MAX && r->running[slot])
        slot++;
    if (fd < 0)
        return;
    pid_t pid = slot < RSYNC_CONNECTIONS_MAX ? fork() : -1;
    if (pid == 0)
        serve_paced(r, fd);
    if (pid > 0)
        r->running[slot] = pid;
    close(fd);
}

void rsync_reaped(struct rsync_server *r, pid_t pid) {
    for (size_t i = 0; i < RSYNC_CONNECTIONS_MAX; i++) {
        if (r->running[i] == pid)
            r->running[i] = 0;
    }
}
