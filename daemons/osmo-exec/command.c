/* The user's command: spawn, output lines, signals, reaping. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "exec.h"
#include "runtime/link.h"

void signals_reset(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++) /* whatever who started us ignores: shells do that to what they start in the background */
        signal(i, SIG_DFL);
}

static void run_child(struct command *c, int out, int err, int report) {
    signals_reset();
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
        execvp(c->argv.items[0], c->argv.items);
    int e = errno;
    ssize_t ignored = write(report, &e, sizeof e);
    (void)ignored;
    _exit(127);
}

int command_start(struct command *c, char *why, size_t cap) {
    int out[2] = { -1, -1 }, err[2] = { -1, -1 }, report[2] = { -1, -1 };
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(report, O_CLOEXEC) || strlist_add(&c->argv, "")) {
        snprintf(why, cap, "cannot prepare '%s': %s", c->argv.items[0], strerror(errno));
        c->exit_code = 126;
        return -1;
    }
    /* execvp wants a NULL after the last word: the extra item makes room for it */
    free(c->argv.items[--c->argv.len]);
    c->argv.items[c->argv.len] = NULL;
    c->pid = fork();
    if (c->pid == 0)
        run_child(c, out[1], err[1], report[1]);
    close(out[1]);
    close(err[1]);
    close(report[1]);
    int e = 0;
    ssize_t n = c->pid < 0 ? (e = errno, (ssize_t)sizeof e) : read(report[0], &e, sizeof e);
    close(report[0]);
    if (n == (ssize_t)sizeof e) {
        snprintf(why, cap, "cannot run '%s': %s", c->argv.items[0], strerror(e));
        if (c->pid > 0)
            waitpid(c->pid, NULL, 0);
        close(out[0]);
        close(err[0]);
        c->pid = 0;
        c->exit_code = e == ENOENT || e == ENOTDIR ? 127 : 126;
        return -1;
    }
    setpgid(c->pid, c->pid); /* whichever of parent and child comes first */
    c->out = out[0];
    c->err = err[0];
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    fcntl(c->err, F_SETFL, O_NONBLOCK);
    return 0;
}

static void emit_line(bool is_err, const char *text, size_t len, buf_t *messages) {
    const char *type = is_err ? "MessageErr" : "MessageOut";
    if (utf8_valid(text, len)) {
        link_message(messages, type, type, text, len);
        return;
    }
    size_t fixed_len;
    char *fixed = utf8_repair(text, len, &fixed_len);
    if (fixed)
        link_message(messages, type, type, fixed, fixed_len);
    free(fixed);
}

/* Whole lines out of `line` (a trailing CR goes); pieces of a line that never ends. */
static void split_lines(bool is_err, buf_t *line, buf_t *messages) {
    size_t from = 0;
    for (;;) {
        char *nl = line->len > from ? memchr(line->data + from, '\n', line->len - from) : NULL;
        size_t len = nl ? (size_t)(nl - (line->data + from)) : line->len - from;
        if (!nl && len < LINE_PIECE_MAX)
            break;
        size_t take = len > LINE_PIECE_MAX ? LINE_PIECE_MAX : len;
        bool ends = nl && take == len;
        size_t text = take;
        if (ends && text && line->data[from + text - 1] == '\r')
            text--;
        emit_line(is_err, line->data + from, text, messages);
        from += take + (ends ? 1 : 0);
    }
    buf_consume(line, from);
}

bool command_read(struct command *c, bool is_err, buf_t *messages) {
    int *fd = is_err ? &c->err : &c->out;
    buf_t *line = is_err ? &c->err_line : &c->out_line;
    static char block[PIPE_READ];
    ssize_t n = read(*fd, block, sizeof block);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return false;
    }
    /* The container's own output too: what a cluster keeps as the container's log. */
    fd_write_all(is_err ? STDERR_FILENO : STDOUT_FILENO, block, (size_t)n);
    buf_append(line, block, (size_t)n);
    split_lines(is_err, line, messages);
    return true;
}

void command_flush(struct command *c, buf_t *messages) {
    if (c->out_line.len)
        emit_line(false, c->out_line.data, c->out_line.len, messages);
    if (c->err_line.len)
        emit_line(true, c->err_line.data, c->err_line.len, messages);
    buf_reset(&c->out_line);
    buf_reset(&c->err_line);
}

void command_signal(const struct command *c, int signal_number) {
    if (c->pid > 0)
        kill(-c->pid, signal_number);
}

bool command_reaped(struct command *c, pid_t pid, int status) {
    if (pid != c->pid || !pid)
        return false;
    c->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    c->pid = 0;
    return true;
}
