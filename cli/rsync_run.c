/* One transfer: the system's rsync, and the forwarded port that it dials. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rsync.h"

#define END_MS 3000

extern char **environ;

static int missing(int error) {
    if (error == ENOENT)
        return api_fail(false, 0, "rsync is not installed here: install the package rsync (on Debian: apt-get install rsync) and try again",
                        EXIT_USER);
    _cleanup_free_ char *text = str_printf("rsync cannot be started: %s", strerror(error));
    return api_fail(false, 0, text ? text : "rsync cannot be started", EXIT_USER);
}

/* Signals as a program expects them: ours are blocked or ignored. */
static int spawn(char *const argv[], int out, pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, normal;
    sigemptyset(&none);
    sigemptyset(&normal);
    sigaddset(&normal, SIGPIPE);
    sigaddset(&normal, SIGINT);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &normal);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (out >= 0) {
        posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
    }
    int error = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

int rsync_spawn(const struct rsync_job *j, int port, int out, pid_t *pid, int *pidfd) {
    _cleanup_free_ char *url = str_printf("rsync://127.0.0.1:%d/%s", port, j->remote);
    /* a path with a colon in it is a host's to rsync, unless there is a slash before */
    _cleanup_free_ char *local = str_printf("%s%s", j->local[0] == '/' || j->local[0] == '.' ? "" : "./", j->local);
    const char *argv[10];
    size_t n = 0;
    argv[n++] = "rsync";
    argv[n++] = j->verbose ? "-avv" : "-av";
    if (j->progress)
        argv[n++] = "--progress";
    argv[n++] = "--"; /* paths are no options */
    argv[n++] = j->upload ? local : url;
    argv[n++] = j->upload ? url : local;
    argv[n] = NULL;
    if (!url || !local)
        return api_fail(false, 0, "out of memory", EXIT_USER);
    unsetenv("RSYNC_PROXY"); /* the port is on this machine */
    unsetenv("RSYNC_CONNECT_PROG");
    int error = spawn((char *const *)(uintptr_t)argv, out, pid);
    if (error)
        return missing(error);
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd >= 0)
        return 0;
    error = errno;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    return missing(error);
}

int rsync_result(int status) {
    static const int network[] = { 5, 10, 12, 30, 35 };
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 0 || code == 24) /* files that vanished meanwhile */
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(network); i++) {
        if (code == network[i])
            return EXIT_SERVER_DOWN;
    }
    return EXIT_USER;
}

void rsync_end(pid_t pid, int pidfd) {
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    if (pid) {
        kill(pid, SIGTERM);
        if (pidfd < 0 || poll(&p, 1, END_MS) != 1)
            kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (pidfd >= 0)
        close(pidfd);
}

/* ---- one transfer ---- */

struct transfer {
    const struct rsync_job *job;
    ws_loop_t *loop;
    pid_t pid;
    int pidfd, code, killed;
};

static void on_child(void *ctx, int fd, int events) {
    struct transfer *t = ctx;
    int status = 0;
    (void)fd, (void)events;
    ws_loop_watch(t->loop, t->pidfd, 0, NULL, NULL);
    waitpid(t->pid, &status, 0);
    t->pid = 0;
    t->code = rsync_result(status);
    ws_loop_stop(t->loop);
}

static void on_ready(void *ctx, int port) {
    struct transfer *t = ctx;
    t->code = rsync_spawn(t->job, port, -1, &t->pid, &t->pidfd);
    if (t->code || ws_loop_watch(t->loop, t->pidfd, WS_FD_READ, on_child, t) < 0)
        ws_loop_stop(t->loop);
}

/* The session is lost, and with it, soon, the transfer, which tells more. */
static void on_failed(void *ctx, int code) {
    struct transfer *t = ctx;
    t->code = code;
    if (!t->pid)
        ws_loop_stop(t->loop);
}

static void on_signal(void *ctx, int number) {
    struct transfer *t = ctx;
    t->killed = number;
    if (t->pid)
        kill(t->pid, number == SIGHUP ? SIGTERM : number);
    else
        ws_loop_stop(t->loop);
}

int rsync_once(const struct rsync_job *j) {
    static const struct port_pair any = { 0, 0 };
    struct transfer t = { .job = j, .pidfd = -1 };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct forward *f = NULL;
    if (ws_loop_new(&t.loop, &err) < 0)
        return api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    const struct forward_options o = {
        .loop = t.loop, .workflow = j->workflow, .task = j->task, .family = "rsync", .host = "127.0.0.1", .ports = &any, .nports = 1,
        .timeout_s = j->timeout_s, .rate = j->upload ? j->rate : 0, .quiet = true, .once = true, .ready = on_ready, .failed = on_failed,
        .ctx = &t
    };
    t.code = forward_start(&o, &f);
    if (!t.code && loop_signals(t.loop, on_signal, &t) == 0)
        ws_loop_run(t.loop);
    forward_stop(f);
    ws_loop_free(t.loop);
    forward_free(f);
    rsync_end(t.pid, t.pidfd);
    if (t.killed)
        return t.killed == SIGINT ? EXIT_INTERRUPTED : 128 + t.killed;
    return t.code;
}
