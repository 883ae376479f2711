/* osmo_exec: see exec.h. Exit status: the command's own; 128+n for a signal; 127/126 when it cannot be run; 2 without
 * osmo_ctrl. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "runtime/flags.h"
#include "runtime/link.h"

static int read_options(struct options *o, int argc, char **argv) {
    const struct flag flags[] = {
        { "commands", FLAG_LIST, &o->commands },
        { "args", FLAG_LIST, &o->args },
        { "checkpoint", FLAG_LIST, &o->checkpoints },
        { "socketPath", FLAG_TEXT, &o->socket_path },
        { "unixTimeout", FLAG_INT, &o->unix_timeout_min },
        { "userBinPath", FLAG_TEXT, &o->user_bin_path },
        { "historyFilePath", FLAG_TEXT, &o->history_path },
        { "runLocation", FLAG_TEXT, &o->run_location },
        { "enableRsync", FLAG_SWITCH, &o->enable_rsync },
        { "rsyncReadLimit", FLAG_INT, &o->read_limit },
        { "rsyncWriteLimit", FLAG_INT, &o->write_limit },
        { "rsyncPathAllowList", FLAG_TEXT, &o->allow_list },
        { "cliAutoCompleteScriptPath", FLAG_TEXT, &o->completion },
    };
    if (flags_parse("osmo_exec", flags, ARRAY_SIZE(flags), argc, argv))
        return -1;
    if (!o->commands.len || !o->socket_path[0]) {
        fprintf(stderr, "osmo_exec: -commands and -socketPath are needed\n");
        return -1;
    }
    return 0;
}

static void append_path(const char *dir) {
    const char *path = getenv("PATH");
    _cleanup_free_ char *longer = str_printf(
        "%s:%s", path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", dir);
    if (longer)
        setenv("PATH", longer, 1);
}

static int prepare_command(struct exec *x) {
    for (size_t i = 0; i < x->o.commands.len; i++) {
        if (strlist_add(&x->command.argv, x->o.commands.items[i]))
            return -1;
    }
    for (size_t i = 0; i < x->o.args.len; i++) {
        if (strlist_add(&x->command.argv, x->o.args.items[i]))
            return -1;
    }
    x->command.out = x->command.err = -1;
    buf_init(&x->command.out_line, 4 * LINE_PIECE_MAX + PIPE_READ);
    buf_init(&x->command.err_line, 4 * LINE_PIECE_MAX + PIPE_READ);
    return 0;
}

static void say(struct exec *x, const char *type, const char *text) {
    link_message(&x->out, type, type, text, strlen(text));
}

static void start(struct exec *x) {
    char why[512];
    if (command_start(&x->command, why, sizeof why)) {
        fprintf(stderr, "osmo_exec: %s\n", why);
        say(x, "MessageErr", why);
    }
}

static void exec_start(struct exec *x, const json_t *m) {
    const char *folder = json_get_str(m, "OutputFolder");
    x->output_folder = strdup(folder ? folder : "");
    x->ours = link_has_word(json_get_str(m, "Extensions"), "sessions");
    x->started = true;
    if (x->ours)
        link_message_with(&x->out, "Extensions", NULL, "", 0, "Extensions", LINK_EXTENSIONS);
    checkpoints_begin(x);
    start(x);
    rsync_begin(x);
}

/* The group begins again. Whether the command still runs or only its last checkpoints do is the same to it. */
static void user_stop(struct exec *x) {
    command_signal(&x->command, SIGKILL);
    if (x->terminated)
        return; /* its time is over, and there is no other beginning */
    x->stopping = true;
    if (!x->ended)
        return;
    x->ended = false;
    for (size_t i = 0; i < x->ncheckpoints; i++)
        x->checkpoints[i].last_done = false;
    link_message(&x->out, "UserStopFinished", NULL, "", 0);
}

static void user_session(struct exec *x, const json_t *m) {
    const char *command = json_get_str(m, "Command"), *id = x->ours ? json_get_str(m, "Session") : NULL;
    if (id && (!*id || strlen(id) > 20 || strspn(id, "0123456789") != strlen(id)))
        return;
    open_session(x, command ? command : "", id);
}

static void on_message(struct exec *x, const json_t *m) {
    const char *type = json_get_str(m, "Type");
    if (!type)
        return;
    if (!x->started && strcmp(type, "ExecStart") == 0) {
        exec_start(x, m);
    } else if (!x->started && strcmp(type, "CtrlFailed") == 0) {
        x->refused = true;
    } else if (x->started && strcmp(type, "UserStop") == 0) {
        user_stop(x);
    } else if (x->started && strcmp(type, "UserStart") == 0 && !x->command.pid && x->stopping) {
        x->stopping = false;
        start(x);
    } else if (x->started && strcmp(type, "UserExecStart") == 0) {
        user_session(x, m);
    }
}

/* false when osmo_ctrl is gone. */
static bool read_socket(struct exec *x) {
    char block[16384];
    ssize_t n = recv(x->socket, block, sizeof block, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    buf_append(&x->in, block, (size_t)n);
    json_t *m;
    int rc;
    while ((rc = link_next(&x->in, &m)) > 0) {
        on_message(x, m);
        json_free(m);
    }
    return rc == 0;
}

static bool write_socket(struct exec *x) {
    while (x->out.len) {
        ssize_t n = send(x->socket, x->out.data, x->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_consume(&x->out, (size_t)n);
    }
    return true;
}

static void read_signals(struct exec *x) {
    struct signalfd_siginfo info;
    while (read(x->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD) {
            x->terminated = x->terminated || info.ssi_signo == SIGTERM;
            command_signal(&x->command, (int)info.ssi_signo);
            if (!x->started)
                exit(128 + (int)info.ssi_signo);
        }
    }
}

/* The command ended: whatever its pipes still hold belongs to it; children it left behind do not keep us. */
static void drain_pipes(struct exec *x) {
    for (int i = 0; i < 2; i++) {
        int *fd = i ? &x->command.err : &x->command.out;
        struct pollfd p = { .fd = *fd, .events = POLLIN };
        while (*fd >= 0 && poll(&p, 1, 0) > 0 && command_read(&x->command, i, &x->out)) {
            if (x->out.len > OUTGOING_PAUSE) {
                struct pollfd w = { .fd = x->socket, .events = POLLOUT };
                poll(&w, 1, -1);
                if (!write_socket(x))
                    return;
            }
        }
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    command_flush(&x->command, &x->out);
}

static bool flush_socket(struct exec *x) {
    while (x->out.len) {
        struct pollfd p = { .fd = x->socket, .events = POLLOUT };
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return false;
        if (!write_socket(x))
            return false;
    }
    return true;
}

static int finish(struct exec *x) {
    char text[64] = "";
    if (x->output_folder && *x->output_folder) {
        struct stat st;
        if (stat(x->output_folder, &st) == 0)
            chmod(x->output_folder, (st.st_mode & 07777) | 0444); /* so that osmo_ctrl can read it whoever it runs as */
    }
    if (x->command.exit_code)
        snprintf(text, sizeof text, "exit status %d", x->command.exit_code);
    link_message(&x->out, x->command.exit_code ? "ExecFailed" : "ExecFinished",
                 x->command.exit_code ? "MessageErr" : NULL, text, strlen(text));
    flush_socket(x);
    return x->command.exit_code;
}

/* One round of waiting. Returns false when osmo_ctrl is gone. */
static bool turn(struct exec *x) {
    bool paused = x->out.len > OUTGOING_PAUSE;
    struct pollfd p[5] = {
        { .fd = x->socket, .events = (short)(POLLIN | (x->out.len ? POLLOUT : 0)) },
        { .fd = x->signals, .events = POLLIN },
        { .fd = paused ? -1 : x->command.out, .events = POLLIN },
        { .fd = paused ? -1 : x->command.err, .events = POLLIN },
        { .fd = x->rsync.listener, .events = POLLIN },
    };
    if (poll(p, ARRAY_SIZE(p), checkpoints_wait_ms(x)) < 0)
        return errno == EINTR;
    if (p[1].revents)
        read_signals(x);
    if (p[2].revents)
        command_read(&x->command, false, &x->out);
    if (p[3].revents)
        command_read(&x->command, true, &x->out);
    if (p[4].revents)
        rsync_accept(&x->rsync);
    if ((p[0].revents & POLLOUT) || x->out.len)
        if (!write_socket(x))
            return false;
    return !(p[0].revents & (POLLIN | POLLHUP | POLLERR)) || read_socket(x);
}

/* Every child that ended, orphans that came to us too. true when the command was among them. */
static bool reap(struct exec *x) {
    bool ended = false;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (command_reaped(&x->command, pid, status))
            ended = true;
        else
            helper_reaped(x, pid, status);
    }
    return ended;
}

/* The command does not run. true when there is nothing left to do. */
static bool settle(struct exec *x, bool just_ended) {
    if (x->stopping) {
        if (just_ended) {
            drain_pipes(x);
            link_message(&x->out, "UserStopFinished", NULL, "", 0);
        }
        return false;
    }
    if (!x->ended) {
        drain_pipes(x);
        x->ended = true;
    }
    checkpoints_run(x);
    return checkpoints_done(x);
}

static int run(struct exec *x) {
    for (;;) {
        bool connected = turn(x);
        if (x->refused)
            return 0;
        if (!connected) {
            fprintf(stderr, "osmo_exec: osmo_ctrl is gone\n");
            command_signal(&x->command, SIGKILL);
            return 2;
        }
        bool ended = reap(x);
        if (!x->started)
            continue;
        if (x->command.pid)
            checkpoints_run(x);
        else if (settle(x, ended))
            return finish(x);
    }
}

int main(int argc, char **argv) {
    static struct exec x = { .o = { .socket_path = "",
                                .user_bin_path = "/osmo/usr/bin",
                                .history_path = "/osmo/data/.bash_history",
                                .run_location = "/osmo/run",
                               .allow_list = "",
                               .completion = "/osmo/usr/bin/osmo_cli/osmo/autocomplete.bash",
                               .read_limit = 2621440,
                               .write_limit = 2621440,
                                .unix_timeout_min = 120 },
                        .rsync = { .listener = -1 } };
    if (read_options(&x.o, argc, argv) || prepare_command(&x))
        return 2;
    sigset_t mask;
    sigemptyset(&mask);
    static const int forwarded[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
    for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
        sigaddset(&mask, forwarded[i]);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* where we are not PID 1 orphans come to us too */
    x.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    append_path(x.o.user_bin_path);
    prepare_shells(&x.o);
    buf_init(&x.in, 2 * LINK_MESSAGE_MAX);
    buf_init(&x.out, OUTGOING_MAX);
    x.socket = connect_socket(x.o.socket_path, x.o.unix_timeout_min * 60, x.signals);
    if (x.socket < 0) {
        fprintf(stderr, "osmo_exec: cannot reach osmo_ctrl at %s: %s\n", x.o.socket_path, strerror(errno));
        return 2;
    }
    return run(&x);
}
