/* One interactive session; see session.h, and runtime/link.h for what is said. One poll loop over the connection, the command's terminal or
 * pipes, and a signal descriptor. */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "escapes.h"
#include "exec.h"
#include "pty.h"
#include "runtime/link.h"
#include "words.h"

#define PIECE (16u << 10)
#define QUEUE (128u << 10)      /* so much waits in either direction before reading stops */
#define QUEUE_MAX (1u << 20)
#define DIAL_S 10
#define SIZE_WAIT_US (300LL * 1000000)
#define HANG_UP_US (10LL * 1000000)
#define ESCAPE_WAIT_MS 50
#define LAST_BYTES_MAX (1u << 20) /* what a pipe holds at most */
#define LAST_BYTES_US (60LL * 1000000)

struct session {
    const struct session_plan *plan;
    int fd, signals;
    bool framed, tty, begun, departed, input_ended, told;
    buf_t raw, input, to_child, out;
    struct escapes escapes;
    struct spawned child;
    char extensions[48];
    int status;                 /* of the command once it ended, else -1 */
    size_t last_bytes;          /* read since */
    int64_t kill_at_us, give_up_us;
};

void close_inherited(void) {
    if (close_range(STDERR_FILENO + 1, ~0u, 0) == 0)
        return;
    for (int fd = STDERR_FILENO + 1; fd < 4096; fd++) /* a kernel before 5.9 */
        close(fd);
}

/* ---- towards osmo_ctrl ---- */

static void put(struct session *s, char type, const void *data, size_t len) {
    if (s->framed)
        link_frame_put(&s->out, type, data, len);
    else
        buf_append(&s->out, data, len);
}

/* A word of our own into what the client sees. */
static void tell(struct session *s, const char *text) {
    char line[1024];
    int n = snprintf(line, sizeof line, "%s%s", text, s->tty ? "\r\n" : "\n");
    put(s, s->tty ? 'O' : 'E', line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

static void write_out(struct session *s) {
    while (s->out.len && !s->departed) {
        ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            s->departed = true;
        else
            buf_consume(&s->out, (size_t)n);
    }
}

/* ---- input ---- */

static void on_bytes(void *ctx, const char *data, size_t len) {
    struct session *s = ctx;
    if (s->child.in >= 0 && !s->input_ended)
        buf_append(&s->to_child, data, len);
}

static void on_resize(void *ctx, int rows, int cols) {
    struct session *s = ctx;
    if (s->tty && s->child.in >= 0)
        terminal_resize(s->child.in, rows, cols);
}

static void on_signal(void *ctx, int number) {
    struct session *s = ctx;
    pid_t group = s->child.pid;
    if (s->tty && (s->child.in < 0 || ioctl(s->child.in, TIOCGPGRP, &group) || group <= 0))
        group = s->child.pid;
    if (s->status < 0 && group > 0)
        kill(-group, number);
}

static const struct escape_sink *sink_of(struct session *s, struct escape_sink *sink) {
    *sink = (struct escape_sink){ .bytes = on_bytes, .resize = on_resize, .signal = on_signal, .ctx = s };
    return sink;
}

static void set_environment(const struct session *s) {
    static const char *const values[][2] = {
        { "TERM", "xterm" },         { "HISTSIZE", "1000" }, { "HISTFILESIZE", "2000" }, { "HISTCONTROL", "ignoredups:ignorespace" },
        { "HISTIGNORE", "" },        { "PS1", "\\$ " },
    };
    for (size_t i = 0; s->tty && i < sizeof values / sizeof values[0]; i++)
        setenv(values[i][0], values[i][1], 1);
    if (s->tty && *s->plan->history_path)
        setenv("HISTFILE", s->plan->history_path, 1);
}

static void begin(struct session *s) {
    struct session_size size;
    char why[512] = "";
    strlist_t words = { 0 };
    int rc = size_take(&s->input, s->framed, &size, why, sizeof why);
    if (rc == 0)
        return;
    s->begun = true;
    s->tty = rc < 0 || size.tty;
    snprintf(s->extensions, sizeof s->extensions, "%s", rc < 0 ? "" : size.extensions);
    s->escapes.signals = link_has_word(s->extensions, "signal");
    if (s->framed)
        put(s, 'H', s->extensions, strlen(s->extensions));
    int status = rc < 0 ? 126 : 0;
    if (!status && s->plan->refusal) {
        snprintf(why, sizeof why, "%s", s->plan->refusal);
        status = 126;
    }
    if (!status && words_split(s->plan->command, &words, why, sizeof why))
        status = 126;
    if (!status) {
        set_environment(s);
        status = spawn_command(&words, s->tty, size.rows, size.cols, &s->child, why, sizeof why);
    }
    strlist_free(&words);
    if (status) {
        tell(s, why);
        s->child = (struct spawned){ 0, -1, -1, -1 };
        s->status = status;
        return;
    }
    struct escape_sink sink;
    escapes_feed(&s->escapes, s->input.data, s->input.len, sink_of(s, &sink));
    buf_free(&s->input);
}

static void take_input(struct session *s, const char *data, size_t len) {
    struct escape_sink sink;
    if (s->begun) {
        escapes_feed(&s->escapes, data, len, sink_of(s, &sink));
        return;
    }
    buf_append(&s->input, data, len);
    begin(s);
}

static void end_input(struct session *s) {
    struct escape_sink sink;
    escapes_flush(&s->escapes, sink_of(s, &sink)); /* nothing makes an escape of it any more */
    s->input_ended = true;
}

static void take_frames(struct session *s) {
    struct link_frame f;
    size_t used, at = 0;
    int rc;
    while ((rc = link_frame_next(s->raw.data + at, s->raw.len - at, &f, &used)) > 0) {
        if (f.type == 'I') /* signals may come behind the end of the input, too */
            take_input(s, f.data, f.len);
        else if (f.type == 'Z')
            end_input(s);
        at += used;
    }
    buf_consume(&s->raw, at);
    if (rc < 0)
        s->departed = true;
}

static void read_connection(struct session *s) {
    char block[PIECE];
    ssize_t n = recv(s->fd, block, sizeof block, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        s->departed = true;
    } else if (s->framed) {
        buf_append(&s->raw, block, (size_t)n);
        take_frames(s);
    } else {
        take_input(s, block, (size_t)n);
    }
}

/* ---- the command ---- */

static void close_input(struct session *s) {
    if (s->child.in >= 0 && s->child.in != s->child.out)
        close(s->child.in);
    s->child.in = -1;
    buf_reset(&s->to_child);
}

static void write_child(struct session *s) {
    while (s->to_child.len && s->child.in >= 0) {
        ssize_t n = write(s->child.in, s->to_child.data, s->to_child.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            close_input(s);
        else
            buf_consume(&s->to_child, (size_t)n);
    }
    if (s->input_ended && !s->tty && !s->to_child.len && s->child.in >= 0)
        close_input(s);
}

static void close_output(struct session *s, int *fd) {
    if (*fd == s->child.in)
        s->child.in = -1;
    close(*fd);
    *fd = -1;
}

/* @return whether there may be more */
static bool read_child(struct session *s, int *fd, char type) {
    char block[PIECE];
    ssize_t n = *fd < 0 ? -1 : read(*fd, block, sizeof block);
    if (n > 0) {
        put(s, type, block, (size_t)n);
        s->last_bytes += s->status < 0 ? 0 : (size_t)n;
        return s->last_bytes < LAST_BYTES_MAX;
    }
    if (*fd >= 0 && !(n < 0 && (errno == EAGAIN || errno == EINTR)))
        close_output(s, fd); /* of a terminal the end is EIO */
    return false;
}

/* The client is gone: what runs is told so, and gets its time. */
static void hang_up(struct session *s) {
    if (s->kill_at_us)
        return;
    s->kill_at_us = clock_mono_us() + HANG_UP_US;
    buf_reset(&s->out);
    if (s->status >= 0 || !s->begun)
        return;
    if (s->child.out >= 0)
        close_output(s, &s->child.out); /* of a terminal this hangs it up */
    if (s->child.err >= 0)
        close_output(s, &s->child.err);
    close_input(s);
    kill(-s->child.pid, SIGHUP);
    kill(-s->child.pid, SIGCONT);
}

static void read_signals(struct session *s) {
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            s->departed = true; /* the task ends */
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->child.pid && s->status < 0)
            s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

/* The command ended: what it wrote last is its output too, what others it left behind write is not. */
static void settle(struct session *s) {
    if (s->status < 0 || s->told || s->out.len > QUEUE)
        return;
    while (s->out.len <= QUEUE && read_child(s, &s->child.out, 'O'))
        continue;
    while (s->out.len <= QUEUE && read_child(s, &s->child.err, 'E'))
        continue;
    if (s->out.len > QUEUE)
        return;
    char text[16];
    snprintf(text, sizeof text, "%d", s->status);
    if (s->framed)
        put(s, 'X', text, strlen(text));
    if (s->child.out >= 0)
        close_output(s, &s->child.out);
    if (s->child.err >= 0)
        close_output(s, &s->child.err);
    close_input(s);
    s->told = true;
    s->give_up_us = clock_mono_us() + LAST_BYTES_US;
}

/* ---- the loop ---- */

static int timeout_ms(const struct session *s) {
    int64_t at = s->kill_at_us ? s->kill_at_us : s->told || !s->begun ? s->give_up_us : 0;
    int64_t left = at ? (at - clock_mono_us()) / 1000 + 1 : -1;
    if (s->escapes.len && (left < 0 || left > ESCAPE_WAIT_MS))
        return ESCAPE_WAIT_MS;
    return at && left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void turn(struct session *s) {
    bool full = s->out.len > QUEUE, listens = !s->departed && s->to_child.len < QUEUE;
    struct pollfd p[5] = {
        { .fd = s->departed ? -1 : s->fd, .events = (short)((listens ? POLLIN : 0) | (s->out.len ? POLLOUT : 0)) },
        { .fd = s->signals, .events = POLLIN },
        { .fd = full ? -1 : s->child.out, .events = POLLIN },
        { .fd = full ? -1 : s->child.err, .events = POLLIN },
        { .fd = s->to_child.len ? s->child.in : -1, .events = POLLOUT },
    };
    int n = poll(p, 5, timeout_ms(s));
    if (n == 0 && s->escapes.len) {
        struct escape_sink sink;
        escapes_flush(&s->escapes, sink_of(s, &sink));
    }
    if (n > 0 && p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
        if (p[0].revents & POLLIN)
            read_connection(s);
        else
            s->departed = true;
    }
    if (n > 0 && p[1].revents)
        read_signals(s);
    if (n > 0 && p[2].revents && s->child.out >= 0)
        read_child(s, &s->child.out, 'O');
    if (n > 0 && p[3].revents && s->child.err >= 0)
        read_child(s, &s->child.err, 'E');
    write_child(s);
    settle(s);
    write_out(s);
}

static bool done(struct session *s) {
    if (s->departed) {
        hang_up(s);
        if (s->begun && s->status < 0 && clock_mono_us() >= s->kill_at_us) {
            session_kill(s->child.pid);
            s->kill_at_us = clock_mono_us() + HANG_UP_US;
        }
        return !s->begun || s->status >= 0;
    }
    if (!s->begun && clock_mono_us() >= s->give_up_us)
        return true;
    return s->told && (!s->out.len || clock_mono_us() >= s->give_up_us);
}

static void greet(struct session *s) {
    if (!s->framed)
        return;
    char line[64];
    int n = snprintf(line, sizeof line, "{\"Session\":\"%s\"}\n", s->plan->id);
    buf_append(&s->out, line, (size_t)n);
}

void session_main(const struct session_plan *plan) {
    static struct session s = { .fd = -1, .tty = true, .status = -1, .child = { 0, -1, -1, -1 } };
    pid_t parent = getppid();
    sigset_t mask;
    close_inherited();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    s.plan = plan;
    s.framed = plan->id != NULL;
    s.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    s.fd = connect_socket(plan->socket_path, DIAL_S, s.signals);
    if (s.fd < 0 || s.signals < 0 || getppid() != parent)
        _exit(1);
    buf_init(&s.raw, QUEUE_MAX);
    buf_init(&s.input, QUEUE_MAX);
    buf_init(&s.to_child, QUEUE_MAX);
    buf_init(&s.out, QUEUE_MAX);
    s.give_up_us = clock_mono_us() + SIZE_WAIT_US;
    greet(&s);
    write_out(&s);
    while (!done(&s))
        turn(&s);
    _exit(0);
}
