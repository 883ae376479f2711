/* The processes beside the command: interactive sessions, runs of checkpoints, connections of the rsync server. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "exec.h"
#include "runtime/link.h"
#include "session.h"

#define RC_FILE_MAX (1u << 20)

void say_ops(void *exec, const char *text) {
    struct exec *x = exec;
    link_message(&x->out, "MessageOps", "MessageOps", text, strlen(text));
}

/* ---- sessions ---- */

void open_session(struct exec *x, const char *command, const char *id) {
    size_t slot = 0;
    while (slot < SESSIONS_MAX && x->sessions[slot])
        slot++;
    const struct session_plan plan = {
        .socket_path = x->o.socket_path,
        .command = command,
        .id = id,
        .history_path = x->o.history_path,
        .refusal = slot == SESSIONS_MAX ? "there are too many sessions in this task: end one of them first" : NULL,
    };
    pid_t pid = fork();
    if (pid == 0)
        session_main(&plan);
    if (pid < 0)
        say_ops(x, "cannot start an interactive session: no process is to be had");
    else if (slot < SESSIONS_MAX)
        x->sessions[slot] = pid;
}

static bool line_is_there(const buf_t *text, const char *line) {
    const char *found = text->len ? strstr(text->data, line) : NULL;
    return found != NULL;
}

/* Shells of sessions complete the client's commands. */
static void source_completion(const char *script) {
    const char *home = getenv("HOME");
    _cleanup_free_ char *rc = str_printf("%s/.bashrc", home ? home : "");
    _cleanup_free_ char *line = str_printf("source %s\n", script);
    buf_t text = BUF_INIT(RC_FILE_MAX);
    if (home && *home && rc && line && file_exists(script)) {
        int found = file_read(rc, &text, NULL);
        int fd = (found == 0 && !line_is_there(&text, line)) || found == OSMO_ENOTFOUND
                     ? open(rc, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644)
                     : -1;
        if (fd >= 0) {
            if (text.len && text.data[text.len - 1] != '\n')
                fd_write_all(fd, "\n", 1);
            fd_write_all(fd, line, strlen(line));
            close(fd);
        }
    }
    buf_free(&text);
}

void prepare_shells(const struct options *o) {
    int fd = *o->history_path ? open(o->history_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644) : -1;
    if (fd >= 0)
        close(fd);
    if (*o->completion)
        source_completion(o->completion);
}

/* ---- checkpoints ---- */

void checkpoints_begin(struct exec *x) {
    char why[1024];
    if (x->o.checkpoints.len && !x->ours) {
        say_ops(x, "checkpoints are not transferred: the osmo_ctrl of this pod does not take files from osmo_exec");
        return;
    }
    for (size_t i = 0; i < x->o.checkpoints.len && x->ncheckpoints < CHECKPOINTS_MAX; i++) {
        struct checkpoint *c = &x->checkpoints[x->ncheckpoints];
        if (checkpoint_parse(x->o.checkpoints.items[i], c, why, sizeof why)) {
            say_ops(x, why);
            continue;
        }
        c->due_us = clock_mono_us() + c->period_us;
        x->ncheckpoints++;
    }
}

static void start_run(struct exec *x, struct checkpoint *c) {
    c->last_done = x->ended;
    c->pid = fork();
    if (c->pid == 0)
        checkpoint_main(c, x->o.socket_path);
    if (c->pid < 0) {
        c->pid = 0;
        c->due_us = clock_mono_us() + c->period_us;
        say_ops(x, "cannot start a checkpoint: no process is to be had");
    }
}

void checkpoints_run(struct exec *x) {
    size_t running = 0;
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < x->ncheckpoints; i++)
        running += x->checkpoints[i].pid != 0;
    for (size_t i = 0; i < x->ncheckpoints && running < CHECKPOINTS_AT_ONCE; i++) {
        struct checkpoint *c = &x->checkpoints[i];
        if (c->pid || (x->ended ? c->last_done : now < c->due_us))
            continue;
        start_run(x, c);
        running++;
    }
}

int checkpoints_wait_ms(const struct exec *x) {
    int64_t first = INT64_MAX, now = clock_mono_us();
    size_t running = 0;
    for (size_t i = 0; i < x->ncheckpoints; i++) {
        const struct checkpoint *c = &x->checkpoints[i];
        running += c->pid != 0;
        if (!c->pid && c->due_us < first)
            first = c->due_us;
    }
    if (x->ended || first == INT64_MAX || running >= CHECKPOINTS_AT_ONCE)
        return -1; /* the end of a run tells when to look again */
    return first <= now ? 0 : first - now > 3600000000LL ? 3600000 : (int)((first - now + 999) / 1000);
}

bool checkpoints_done(const struct exec *x) {
    for (size_t i = 0; i < x->ncheckpoints; i++) {
        if (x->checkpoints[i].pid || !x->checkpoints[i].last_done)
            return false;
    }
    return true;
}

/* ---- the rsync server ---- */

void rsync_begin(struct exec *x) {
    char why[512], text[640];
    const struct rsync_options o = { .run_location = x->o.run_location,
                                     .allow_list = x->o.allow_list,
                                     .user_bin_path = x->o.user_bin_path,
                                     .read_limit = x->o.read_limit,
                                     .write_limit = x->o.write_limit };
    if (!x->o.enable_rsync)
        return;
    bool running = rsync_open(&x->rsync, &o, say_ops, x, why, sizeof why) == 0;
    if (!running) {
        snprintf(text, sizeof text, "the rsync server of this task does not run: %s", why);
        say_ops(x, text);
    }
    link_rsync_status(&x->out, running);
}

void helper_reaped(struct exec *x, pid_t pid, int status) {
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (x->sessions[i] == pid)
            x->sessions[i] = 0;
    }
    for (size_t i = 0; i < x->ncheckpoints; i++) {
        struct checkpoint *c = &x->checkpoints[i];
        if (c->pid != pid)
            continue;
        c->pid = 0;
        c->due_us = clock_mono_us() + c->period_us; /* from the end of one to the begin of the next */
        if (!WIFEXITED(status)) /* else osmo_ctrl has said how it went */
            say_ops(x, "a checkpoint was not completed: the process that read its files was killed");
    }
    rsync_reaped(&x->rsync, pid);
}
