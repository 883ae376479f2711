/* The daemon of `osmo workflow rsync upload --daemon`: detached, with a file that says what it does and whose lock
 * says that it lives. It transfers when something below the local path has changed and then been quiet for a while,
 * and now and then in any case. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "rsync.h"
#include "rsync_state.h"

#define DEBOUNCE_FACTOR_MAX 10 /* who never rests is not waited for longer than this many times the pause */

struct daemon {
    const struct rsync_daemon *d;
    struct rsync_state *state;
    struct api api;
    ws_loop_t *loop;
    struct forward *forward;
    struct tree_watch *tree;
    int port, pidfd, tell;          /* tell: whoever started us waits for a byte there; -1 afterwards */
    pid_t pid;
    bool dirty;
    int64_t dirty_since_ms;
    uint64_t debounce;
    int code;
};

static int64_t now_ms(void) { return clock_mono_us() / 1000; }
static int64_t to_ms(double seconds) { return (int64_t)(seconds * 1000); }

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char when[TIME_TEXT_MAX];
    va_list args;
    va_start(args, format);
    printf("%s ", time_log(clock_now_us(), when));
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

static void tell(struct daemon *s, char what) {
    if (s->tell < 0)
        return;
    ssize_t n = write(s->tell, &what, 1);
    (void)n;
    close(s->tell);
    s->tell = -1;
}

static void stop(struct daemon *s, int code, const char *why) {
    say("The daemon ends: %s", why);
    s->code = code;
    ws_loop_stop(s->loop);
}

/* ---- transfers ---- */

static void on_child(void *ctx, int fd, int events);

static void transfer(struct daemon *s) {
    if (s->pid || !s->port)
        return;
    state_rotate(s->state, s->d->max_log);
    s->dirty = false;
    if (s->debounce)
        ws_loop_cancel(s->loop, s->debounce);
    s->debounce = 0;
    say("Transfer begins");
    int code = rsync_spawn(&s->d->job, s->port, -1, &s->pid, &s->pidfd);
    if (code) {
        s->pid = 0;
        stop(s, code, "rsync cannot be started");
    } else if (ws_loop_watch(s->loop, s->pidfd, WS_FD_READ, on_child, s) < 0) {
        stop(s, EXIT_USER, "out of memory");
    }
}

static void on_debounce(void *ctx) {
    struct daemon *s = ctx;
    s->debounce = 0;
    transfer(s);
}

/* Quiet has to last, but not for ever. */
static void wait_for_quiet(struct daemon *s) {
    int64_t pause = to_ms(s->d->debounce_s), now = now_ms();
    if (!s->dirty)
        s->dirty_since_ms = now;
    s->dirty = true;
    if (s->debounce)
        ws_loop_cancel(s->loop, s->debounce);
    int64_t left = s->dirty_since_ms + DEBOUNCE_FACTOR_MAX * pause - now;
    s->debounce = ws_loop_after(s->loop, left < pause ? left : pause, on_debounce, s);
}

static void on_child(void *ctx, int fd, int events) {
    struct daemon *s = ctx;
    int status = 0;
    (void)fd, (void)events;
    ws_loop_watch(s->loop, s->pidfd, 0, NULL, NULL);
    close(s->pidfd);
    s->pidfd = -1;
    waitpid(s->pid, &status, 0);
    s->pid = 0;
    say("Transfer ended with status %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (s->dirty || rsync_result(status) == EXIT_SERVER_DOWN)
        wait_for_quiet(s);
}

static void on_changes(void *ctx, int fd, int events) {
    struct daemon *s = ctx;
    (void)fd, (void)events;
    if (tree_watch_read(s->tree))
        wait_for_quiet(s);
}

/* ---- the task ---- */

static bool is_over(const char *status) { return status && (str_starts(status, "FAILED") || str_eq(status, "COMPLETED")); }

static void watch(struct daemon *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (s->tree) {
        ws_loop_watch(s->loop, tree_watch_fd(s->tree), 0, NULL, NULL);
        tree_watch_free(s->tree);
        s->tree = NULL;
    }
    if (tree_watch_open(s->d->job.local, &s->tree, &err) < 0) {
        say("%s", err.text);
        return;
    }
    if (!tree_watch_complete(s->tree))
        say("Not everything below %s can be watched (see fs.inotify.max_user_watches); the rest is found every %.0f seconds",
            s->d->job.local,
            s->d->reconcile_s);
    ws_loop_watch(s->loop, tree_watch_fd(s->tree), WS_FD_READ, on_changes, s);
}

static void on_reconcile(void *ctx) {
    struct daemon *s = ctx;
    if (!s->tree || !tree_watch_complete(s->tree))
        watch(s);
    transfer(s);
    ws_loop_after(s->loop, to_ms(s->d->reconcile_s), on_reconcile, s);
}

static void on_poll(void *ctx) {
    struct daemon *s = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *task = NULL;
    _cleanup_free_ char *path = session_path(s->d->job.workflow, "task", s->d->job.task, "");
    if (!state_is_ours(s->state)) {
        stop(s, 0, "its file says that it is not wanted any more");
        return;
    }
    int rc = path ? api_try(&s->api, "GET", path, &task, &err) : OSMO_ENOMEM;
    if (rc == OSMO_OK && is_over(json_get_str(task, "status")))
        stop(s, 0, "the task is finished");
    else if (rc < 0 && (s->api.status == 404 || s->api.status == 410))
        stop(s, 0, err.text);
    json_free(task);
    ws_loop_after(s->loop, to_ms(s->d->poll_s), on_poll, s);
}

static void on_ready(void *ctx, int port) {
    struct daemon *s = ctx;
    s->port = port;
    say("There is a session");
    tell(s, 'y');
    transfer(s);
    ws_loop_after(s->loop, to_ms(s->d->reconcile_s), on_reconcile, s);
}

static void on_failed(void *ctx, int code) { stop(ctx, code, "there is no session to be had"); }
static void on_signal(void *ctx, int number) { stop(ctx, 0, strsignal(number)); }

static int serve(struct daemon *s) {
    static const struct port_pair any = { 0, 0 };
    const struct rsync_job *j = &s->d->job;
    osmo_error_t err = OSMO_ERROR_INIT;
    int code = ws_loop_new(&s->loop, &err) < 0 ? api_fail(false, 0, err.text, EXIT_SERVER_DOWN) : api_open(&s->api, false);
    const struct forward_options o = {
        .loop = s->loop, .workflow = j->workflow, .task = j->task, .family = "rsync", .host = "127.0.0.1", .ports = &any, .nports = 1,
        .timeout_s = j->timeout_s, .rate = j->rate, .patient = s->d->wait_for_start, .ready = on_ready, .failed = on_failed, .ctx = s
    };
    if (!code)
        code = forward_start(&o, &s->forward);
    if (!code && loop_signals(s->loop, on_signal, s) < 0)
        code = api_fail(false, 0, "out of memory", EXIT_USER);
    if (!code) {
        if (s->d->wait_for_start)
            tell(s, 'y');
        watch(s);
        ws_loop_after(s->loop, to_ms(s->d->poll_s), on_poll, s);
        ws_loop_run(s->loop);
        code = s->code;
    }
    forward_stop(s->forward);
    tree_watch_free(s->tree);
    ws_loop_free(s->loop);
    forward_free(s->forward);
    rsync_end(s->pid, s->pidfd);
    api_close(&s->api);
    return code;
}

/* In the child: nothing of where it was started is kept. */
static int detach(struct rsync_state *state) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (setsid() < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || state_log(state) < 0 || chdir("/") < 0)
        return -1;
    close(null);
    return 0;
}

int rsync_daemon_start(const struct rsync_daemon *d) {
    struct rsync_state *state = NULL;
    int pipe_fd[2];
    char answer = 0;
    int code = state_open(d, &state);
    if (code)
        return code;
    fflush(stdout);
    pid_t pid = pipe2(pipe_fd, O_CLOEXEC) < 0 ? -1 : fork();
    if (pid < 0) {
        state_free(state, true);
        return api_fail(false, 0, "no process can be started", EXIT_USER);
    }
    if (pid == 0) {
        struct daemon s = { .d = d, .state = state, .pidfd = -1, .tell = pipe_fd[1] };
        close(pipe_fd[0]);
        code = detach(state) < 0 || state_write(state, d, getpid()) < 0 ? EXIT_USER : serve(&s);
        tell(&s, 'n');
        state_free(state, true);
        exit(code);
    }
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], &answer, 1);
    close(pipe_fd[0]);
    if (n == 1 && answer == 'y') {
        printf("The rsync daemon of %s, task %s, runs with PID %d; its log is %s\n", d->job.workflow, d->job.task, (int)pid,
               state_log_path(state));
        state_free(state, false);
        return 0;
    }
    waitpid(pid, &code, 0);
    state_show_log(state);
    state_free(state, false);
    return WIFEXITED(code) && WEXITSTATUS(code) ? WEXITSTATUS(code) : EXIT_USER;
}
