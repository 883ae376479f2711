/* Terminals by hand: openpty() and forkpty() of a static libc would look up groups. */
#include "pty.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "exec.h"

struct ends { int in, out, err; };

void terminal_resize(int terminal, int rows, int cols) {
    const struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
    ioctl(terminal, TIOCSWINSZ, &size); /* the kernel sends SIGWINCH when it is another size */
}

static int open_terminal(int *master, int *slave) {
    int unlocked = 0;
    unsigned number = 0;
    char path[32];
    *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked))
        return -1;
    *slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*slave < 0 && ioctl(*master, TIOCGPTN, &number) == 0) { /* a kernel before 4.13 */
        snprintf(path, sizeof path, "/dev/pts/%u", number);
        *slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    return *slave < 0 ? -1 : 0;
}

static int open_pipes(struct ends *ours, struct ends *theirs) {
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC))
        return -1;
    theirs->in = in[0], ours->in = in[1];
    if (pipe2(out, O_CLOEXEC))
        return -1;
    ours->out = out[0], theirs->out = out[1];
    if (pipe2(err, O_CLOEXEC))
        return -1;
    ours->err = err[0], theirs->err = err[1];
    const int mine[] = { ours->in, ours->out, ours->err };
    for (size_t i = 0; i < ARRAY_SIZE(mine); i++)
        fcntl(mine[i], F_SETFL, fcntl(mine[i], F_GETFL) | O_NONBLOCK);
    return 0;
}

static void close_ends(struct ends *e) {
    const int fds[] = { e->in, e->out == e->in ? -1 : e->out, e->err };
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    *e = (struct ends){ -1, -1, -1 };
}

static void run_child(const strlist_t *words, bool tty, const struct ends *theirs, int report) {
    signals_reset();
    setsid();
    if (!(tty && ioctl(theirs->in, TIOCSCTTY, 0)) && dup2(theirs->in, STDIN_FILENO) >= 0 && dup2(theirs->out, STDOUT_FILENO) >= 0 &&
        dup2(theirs->err >= 0 ? theirs->err : theirs->out, STDERR_FILENO) >= 0)
        execvp(words->items[0], words->items);
    int e = errno;
    ssize_t ignored = write(report, &e, sizeof e);
    (void)ignored;
    _exit(127);
}

/* execvp wants a NULL behind the last word. */
static int terminate(strlist_t *words) {
    if (strlist_add(words, ""))
        return -1;
    free(words->items[--words->len]);
    words->items[words->len] = NULL;
    return 0;
}

static int start(strlist_t *words, bool tty, struct ends *ours, struct ends *theirs, struct spawned *out, char *why, size_t cap) {
    int report[2], e = 0;
    if (pipe2(report, O_CLOEXEC) || terminate(words)) {
        snprintf(why, cap, "cannot prepare '%s': %s", words->items[0], strerror(errno));
        return 126;
    }
    out->pid = fork();
    if (out->pid == 0)
        run_child(words, tty, theirs, report[1]);
    close(report[1]);
    ssize_t n = out->pid < 0 ? (e = errno, (ssize_t)sizeof e) : read(report[0], &e, sizeof e);
    close(report[0]);
    if (n == (ssize_t)sizeof e) {
        snprintf(why, cap, "cannot run '%s': %s", words->items[0], strerror(e));
        if (out->pid > 0)
            waitpid(out->pid, NULL, 0);
        return e == ENOENT || e == ENOTDIR ? 127 : 126;
    }
    out->in = ours->in, out->out = ours->out, out->err = ours->err;
    *ours = (struct ends){ -1, -1, -1 };
    return 0;
}

int spawn_command(const strlist_t *words, bool tty, int rows, int cols, struct spawned *out, char *why, size_t cap) {
    struct ends ours = { -1, -1, -1 }, theirs = { -1, -1, -1 };
    strlist_t copy = { 0 };
    int code = 0;
    for (size_t i = 0; i < words->len; i++)
        code |= strlist_add(&copy, words->items[i]);
    if (tty) {
        int failed = open_terminal(&ours.in, &theirs.in);
        ours.out = ours.in, theirs.out = theirs.in;
        if (failed)
            snprintf(why, cap, "there is no terminal to be had in this container: %s", strerror(errno));
        else
            terminal_resize(ours.in, rows, cols);
        code = code || failed ? 126 : 0;
    } else if (open_pipes(&ours, &theirs)) {
        snprintf(why, cap, "cannot make pipes: %s", strerror(errno));
        code = 126;
    }
    if (!code)
        code = start(&copy, tty, &ours, &theirs, out, why, cap);
    close_ends(&ours);
    close_ends(&theirs);
    strlist_free(&copy);
    return code;
}

/* The session of a process, as /proc tells it; -1 when it does not. */
static pid_t session_of(const char *pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 0; p && field < 4; field++) /* state, parent, group, and then the session */
        p = strchr(p + 1, ' ');
    return p ? (pid_t)strtol(p, NULL, 10) : -1;
}

void session_kill(pid_t leader) {
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && (e = readdir(proc));) {
        if (isdigit((unsigned char)e->d_name[0]) && session_of(e->d_name) == leader)
            kill((pid_t)atoi(e->d_name), SIGKILL);
    }
    if (proc)
        closedir(proc);
    kill(-leader, SIGKILL);
}
