/* The files of rsync daemons; see rsync_state.h. And the commands that look at them. */
#include "rsync_state.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#define PREFIX "rsync_daemon_"
#define STATE_MAX (64u << 10)
#define STOP_MS 15000

struct rsync_state {
    char *path, *log;
    int fd;                /* its lock is the daemon's life */
    off_t log_from;
};

static char *state_dir(void) {
    const char *dir = getenv("OSMO_LOG_FILE_DIR"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (dir && *dir)
        return str_printf("%s/rsync", dir);
    return xdg && *xdg ? str_printf("%s/osmo/rsync", xdg) : str_printf("%s/.local/state/osmo/rsync", home && *home ? home : ".");
}

static int64_t pid_in(const char *path) {
    buf_t text = BUF_INIT(STATE_MAX);
    json_t *o = NULL;
    int64_t pid = 0;
    if (file_read(path, &text, NULL) == 0 && json_parse(buf_cstr(&text), text.len, &o, NULL) == 0)
        pid = json_get_int(o, "pid", 0);
    json_free(o);
    buf_free(&text);
    return pid;
}

int state_open(const struct rsync_daemon *d, struct rsync_state **out) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct rsync_state *s = calloc(1, sizeof *s);
    _cleanup_free_ char *dir = state_dir();
    struct stat st;
    int code = 0;
    if (!s || !dir || strchr(d->job.workflow, '/') || strchr(d->job.task, '/')) {
        free(s);
        return api_fail(false, 0, dir && s ? "names of workflows and tasks have no /" : "out of memory", EXIT_USER);
    }
    s->fd = -1;
    s->path = str_printf("%s/" PREFIX "%s_%s.pid", dir, d->job.workflow, d->job.task);
    s->log = str_printf("%s/" PREFIX "%s_%s.log", dir, d->job.workflow, d->job.task);
    if (!s->path || !s->log || dir_make(dir, 0700, &err) < 0)
        code = api_fail(false, 0, err.code ? err.text : "out of memory", EXIT_USER);
    if (!code)
        s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (!code && s->fd < 0)
        code = api_fail(false, 0, strerror(errno), EXIT_USER);
    if (!code && flock(s->fd, LOCK_EX | LOCK_NB) < 0) {
        _cleanup_free_ char *text = str_printf("An rsync daemon of this task runs already, with PID %lld: stop it with: "
                                               "osmo workflow rsync stop "
                                               "%s --task %s", (long long)pid_in(s->path), d->job.workflow, d->job.task);
        code = api_fail(false, 0, text ? text : "out of memory", EXIT_USER);
    }
    if (code) {
        state_free(s, false);
        return code;
    }
    s->log_from = stat(s->log, &st) == 0 ? st.st_size : 0;
    *out = s;
    return 0;
}

void state_free(struct rsync_state *s, bool gone) {
    if (!s)
        return;
    if (gone)
        unlink(s->path);
    if (s->fd >= 0)
        close(s->fd);
    free(s->path);
    free(s->log);
    free(s);
}

int state_write(struct rsync_state *s, const struct rsync_daemon *d, pid_t pid) {
    char when[TIME_TEXT_MAX];
    json_t *o = json_object();
    json_set_int(o, "pid", pid);
    json_set_str(o, "workflow_id", d->job.workflow);
    json_set_str(o, "task_name", d->job.task);
    json_set_str(o, "local_path", d->job.local);
    json_set_str(o, "remote_path", d->job.remote);
    json_set_str(o, "started_at", time_iso(clock_now_us(), when));
    _cleanup_free_ char *text = json_to_text(o);
    json_free(o);
    return text && ftruncate(s->fd, 0) == 0 && pwrite(s->fd, text, strlen(text), 0) == (ssize_t)strlen(text) ? 0 : -1;
}

bool state_is_ours(const struct rsync_state *s) {
    struct stat here, there;
    return fstat(s->fd, &here) == 0 && stat(s->path, &there) == 0 && here.st_ino == there.st_ino && pid_in(s->path) == getpid();
}

int state_log(struct rsync_state *s) {
    int fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd < 0)
        return -1;
    fflush(stdout);
    int rc = dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0 ? -1 : 0;
    close(fd);
    return rc;
}

void state_rotate(struct rsync_state *s, int64_t max) {
    struct stat st;
    _cleanup_free_ char *old = str_printf("%s.1", s->log);
    if (old && fstat(STDOUT_FILENO, &st) == 0 && st.st_size >= max && rename(s->log, old) == 0)
        state_log(s);
}

const char *state_log_path(const struct rsync_state *s) { return s->log; }

void state_show_log(const struct rsync_state *s) {
    _cleanup_close_ int fd = open(s->log, O_RDONLY | O_CLOEXEC);
    char data[4096];
    ssize_t n = fd >= 0 ? pread(fd, data, sizeof data, s->log_from) : 0;
    if (n > 0)
        fwrite(data, 1, (size_t)n, stderr);
}

/* ---- all of them ---- */

/* Files that nobody holds are removed. */
static void each(void (*fn)(void *ctx, const json_t *what), void *ctx) {
    _cleanup_free_ char *dir = state_dir();
    DIR *d = dir ? opendir(dir) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        buf_t text = BUF_INIT(STATE_MAX);
        json_t *o = NULL;
        if (!str_starts(e->d_name, PREFIX) || !str_ends(e->d_name, ".pid"))
            continue;
        _cleanup_close_ int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_free_ char *path = str_printf("%s/%s", dir, e->d_name);
        if (fd < 0 || !path)
            continue;
        if (flock(fd, LOCK_SH | LOCK_NB) == 0)
            unlink(path); /* its daemon was killed */
        else if (file_read(path, &text, NULL) == 0 && json_parse(buf_cstr(&text), text.len, &o, NULL) == 0)
            fn(ctx, o);
        json_free(o);
        buf_free(&text);
    }
    if (d)
        closedir(d);
}

static void show_one(void *ctx, const json_t *o) {
    struct table *t = ctx;
    char pid[24], when[48];
    snprintf(pid, sizeof pid, "%lld", (long long)json_get_int(o, "pid", 0));
    table_add(t, json_get_str(o, "workflow_id"));
    table_add(t, json_get_str(o, "task_name"));
    table_add(t, pid);
    table_add(t, local_time(json_get_str(o, "started_at"), when));
    table_add(t, json_get_str(o, "local_path"));
    table_add(t, json_get_str(o, "remote_path"));
}

int rsync_daemon_status(void) {
    static const char *const heads[] = { "Workflow ID", "Task", "PID", "Started", "Local", "Remote" };
    struct table t = { .columns = ARRAY_SIZE(heads) };
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        table_add(&t, heads[i]);
    each(show_one, &t);
    if (t.cells.len == ARRAY_SIZE(heads)) {
        strlist_free(&t.cells);
        puts("No rsync daemon runs.");
        return 0;
    }
    table_print(&t, 1);
    return 0;
}

struct stopping { const char *workflow, *task; json_t *chosen; };

static void choose(void *ctx, const json_t *o) {
    struct stopping *s = ctx;
    if ((!s->workflow || str_eq(s->workflow, json_get_str(o, "workflow_id"))) && (!s->task || str_eq(s->task, json_get_str(o,
        "task_name"))))
        json_add(s->chosen, json_copy(o));
}

static bool confirmed(size_t n) {
    char line[16] = "";
    printf("Stop %zu rsync daemon%s? [y/N] ", n, n == 1 ? "" : "s");
    fflush(stdout);
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

/* Until it has ended. */
static bool end_one(pid_t pid) {
    _cleanup_close_ int fd = pid > 1 ? pidfd_open(pid, 0) : -1;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return fd >= 0 && pidfd_send_signal(fd, SIGTERM, NULL, 0) == 0 && poll(&p, 1, STOP_MS) == 1;
}

int rsync_daemon_stop(const char *workflow, const char *task, bool yes) {
    struct stopping s = { workflow, task, json_array() };
    int code = 0;
    each(choose, &s);
    size_t n = json_len(s.chosen);
    if (!n)
        puts("No such rsync daemon runs.");
    else if (!yes && !confirmed(n))
        puts("Nothing was stopped.");
    else
        for (size_t i = 0; i < n; i++) {
            const json_t *o = json_at(s.chosen, i);
            bool ended = end_one((pid_t)json_get_int(o, "pid", 0));
            printf("The rsync daemon of %s, task %s, %s\n", json_get_str(o, "workflow_id"), json_get_str(o, "task_name"),
                   ended ? "was stopped" : "did not stop");
            code = ended ? code : EXIT_USER;
        }
    json_free(s.chosen);
    return code;
}
