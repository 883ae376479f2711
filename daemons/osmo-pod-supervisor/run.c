/* Life of one container: start, output, end. Used by main.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "base/clock.h"
#include "base/file.h"
#include "supervisor.h"

void container_fail(struct container *c, const char *text)
{
    free(c->message);
    c->message = str_dup(text);
    c->state = RUN_ENDED;
    c->reason = "StartError";
    c->exit_code = SUP_START_ERROR_CODE;
    c->finished_us = clock_now_us();
    if (!c->started_us)
        c->started_us = c->finished_us;
}

static void child(const struct supervisor *s, struct container *c, const struct root_plan *plan, int out, int report)
{
    sigset_t none;
    close(s->lock_fd); /* the lock speaks of the supervisor, not of us */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->pid)
        _exit(126);
    if (s->net.limited)
        setrlimit(RLIMIT_NOFILE, &s->net.files);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (network_join(&s->net) < 0)
        sandbox_fail("network");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user namespace may have cleared it */
    if (getppid() != s->pid)
        _exit(126);
    if (s->isolation != ISO_PLAIN)
        sandbox_exec(s, c, plan, report);
    plain_exec(s, c);
    _exit(write(report, "E", 1) == 1 ? 127 : 126); /* tells the parent that nothing was started */
}

static int prepare(struct supervisor *s, struct container *c, struct root_plan *plan, osmo_error_t *err)
{
    int rc = mounts_open(c, s->isolation == ISO_MAPPED ? s->uid : 0, err);
    if (rc == 0)
        rc = s->isolation == ISO_PLAIN ? plain_prepare(s, c, err) : mounts_place(c, plan, err);
    if (rc == 0) {
        c->log_fd = open(c->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (c->log_fd < 0)
            rc = osmo_error_set(err, OSMO_EIO, "%s: %s", c->log_path, strerror(errno));
    }
    return rc;
}

void container_start(struct supervisor *s, struct container *c)
{
    struct root_plan plan = {{0}};
    osmo_error_t err = OSMO_ERROR_INIT;
    int out[2] = {-1, -1}, report[2] = {-1, -1};
    if (prepare(s, c, &plan, &err) < 0) {
        container_fail(c, err.text);
    } else if (pipe2(out, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0 || (c->pid = fork()) < 0) {
        container_fail(c, strerror(errno));
    } else if (c->pid == 0) {
        child(s, c, &plan, out[1], report[1]);
    } else {
        c->started_us = clock_now_us();
        c->state = RUN_RUNNING;
        c->out_fd = STEAL_FD(out[0]);
        c->report_fd = STEAL_FD(report[0]);
        fcntl(c->out_fd, F_SETFL, O_NONBLOCK);
        fcntl(c->report_fd, F_SETFL, O_NONBLOCK);
    }
    int fds[] = {out[0], out[1], report[0], report[1]};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    mounts_close(c);
    strlist_free(&plan.explode);
}

/* bwrap writes one JSON document a line: {"child-pid": N, …}, and after the command was really started {"exit-code": N}. */
static void report_line(struct container *c, const char *line, size_t len)
{
    _cleanup_json_ json_t *v = NULL;
    if (json_parse(line, len, &v, NULL) < 0)
        return;
    int64_t inner = json_get_int(v, "child-pid", 0);
    if (inner > 0 && c->inner_pidfd < 0) {
        c->inner_pid = (pid_t)inner;
        c->inner_pidfd = pidfd_open(c->inner_pid, 0);
    }
    if (json_has(v, "exit-code"))
        c->exec_seen = true;
}

void container_report(struct container *c)
{
    char data[1024];
    ssize_t n;
    while ((n = read(c->report_fd, data, sizeof(data))) > 0)
        buf_append(&c->report, data, (size_t)n);
    for (char *nl; c->report.len && (nl = memchr(c->report.data, '\n', c->report.len));) {
        size_t len = (size_t)(nl - c->report.data);
        report_line(c, c->report.data, len);
        buf_consume(&c->report, len + 1);
    }
    if (n == 0)
        close(STEAL_FD(c->report_fd));
}

/* Keeps at most two halves: when one is full it becomes the old one. */
static void log_append(struct container *c, const char *data, size_t len)
{
    if (c->log_len + len > SUP_LOG_HALF) {
        char old[PATH_MAX];
        snprintf(old, sizeof(old), "%s.1", c->log_path);
        int fresh = -1;
        if (rename(c->log_path, old) == 0 && (fresh = open(c->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) >= 0) {
            close(c->log_fd);
            c->log_fd = fresh;
        } else if (ftruncate(c->log_fd, 0) < 0) {
            return;
        }
        c->log_len = 0;
    }
    if (fd_write_all(c->log_fd, data, len) == 0)
        c->log_len += len;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n')
            c->last_len = 0;
        else if (c->last_len + 1 < sizeof(c->last_line))
            c->last_line[c->last_len++] = data[i], c->last_line[c->last_len] = '\0';
    }
}

void container_output(struct container *c)
{
    char data[32 * 1024];
    ssize_t n;
    for (int i = 0; i < 64 && (n = read(c->out_fd, data, sizeof(data))) > 0; i++)
        log_append(c, data, (size_t)n);
    if (n == 0)
        close(STEAL_FD(c->out_fd));
}

static void read_term_message(struct container *c)
{
    char data[SUP_TERM_MAX];
    _cleanup_close_ int fd = open(c->term_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, data, sizeof(data));
    if (n > 0 && !c->message)
        c->message = utf8_repair(data, (size_t)n, NULL);
}

void container_ended(struct supervisor *s, struct container *c)
{
    int status = 0;
    if (waitpid(c->pid, &status, 0) < 0)
        return;
    if (c->out_fd >= 0)
        container_output(c);
    if (c->report_fd >= 0)
        container_report(c);
    /* Without a sandbox the report pipe closes in silence when the command was started. */
    if (s->isolation == ISO_PLAIN)
        c->exec_seen = c->report.len == 0;
    c->pid = 0;
    c->state = RUN_ENDED;
    c->finished_us = clock_now_us();
    if (WIFEXITED(status) && !c->exec_seen) {
        container_fail(c, *c->last_line ? c->last_line : "bubblewrap could not start the command");
    } else {
        c->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        c->reason = c->exit_code == 0 ? "Completed" : "Error";
        read_term_message(c);
    }
    int *fds[] = {&c->out_fd, &c->report_fd, &c->inner_pidfd, &c->log_fd};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (*fds[i] >= 0)
            close(STEAL_FD(*fds[i]));
}

/* Until the command is executed pid 1 of the container is bwrap itself, to which as a pid 1 without handlers no signal but SIGKILL gets. */
static bool still_building(pid_t inner)
{
    char path[64], name[16] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)inner);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && !strcmp(name, "bwrap\n");
}

/* bwrap is not killed alone: its child would wait for ever for the word to go on. Stopped first, it makes no other one meanwhile. */
static void kill_builder(pid_t bwrap)
{
    char path[64];
    siginfo_t info;
    pid_t child;
    kill(bwrap, SIGSTOP);
    if (waitid(P_PID, (id_t)bwrap, &info, WSTOPPED | WEXITED | WNOWAIT) < 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)bwrap, (int)bwrap);
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &child) == 1)
        kill(child, SIGKILL);
    kill(bwrap, SIGKILL);
}

void container_signal(const struct supervisor *s, struct container *c, int sig)
{
    if (c->state != RUN_RUNNING)
        return;
    if (c->report_fd >= 0)
        container_report(c);
    if (s->isolation == ISO_PLAIN) {
        kill(-c->pid, sig);
        kill(c->pid, sig); /* before its setsid there is no such group */
    } else if (c->inner_pidfd >= 0) {
        pidfd_send_signal(c->inner_pidfd, still_building(c->inner_pid) ? SIGKILL : sig, NULL, 0);
    } else {
        kill_builder(c->pid); /* still building its walls: nothing to be gentle with */
    }
}
