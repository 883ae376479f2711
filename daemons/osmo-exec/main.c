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
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/flags.h"
#include "runtime/link.h"

#define OUTGOING_MAX (8u << 20)
#define OUTGOING_PAUSE (256u << 10) /* while this much waits for osmo_ctrl the pipes are not read: the writer blocks */

struct options {
    strlist_t commands, args, checkpoints;
    const char *socket_path, *user_bin_path, *history_path, *run_location, *allow_list, *completion;
    int64_t unix_timeout_min, read_limit, write_limit;
    bool enable_rsync;
};

struct session {
    struct options o;
    struct command command;
    int socket, signals;
    buf_t in, out;
    char *output_folder;
    bool started, stopping, restart, refused; /* refused: osmo_ctrl failed before the start */
};

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

static int prepare_command(struct session *s) {
    for (size_t i = 0; i < s->o.commands.len; i++) {
        if (strlist_add(&s->command.argv, s->o.commands.items[i]))
            return -1;
    }
    for (size_t i = 0; i < s->o.args.len; i++) {
        if (strlist_add(&s->command.argv, s->o.args.items[i]))
            return -1;
    }
    s->command.out = s->command.err = -1;
    buf_init(&s->command.out_line, 4 * LINE_PIECE_MAX + PIPE_READ);
    buf_init(&s->command.err_line, 4 * LINE_PIECE_MAX + PIPE_READ);
    return 0;
}

static void say(struct session *s, const char *type, const char *text) {
    link_message(&s->out, type, type, text, strlen(text));
}

static void start(struct session *s) {
    char why[512];
    if (command_start(&s->command, why, sizeof why)) {
        fprintf(stderr, "osmo_exec: %s\n", why);
        say(s, "MessageErr", why);
    }
}

static void on_message(struct session *s, const json_t *m) {
    const char *type = json_get_str(m, "Type");
    if (!type)
        return;
    if (!s->started && strcmp(type, "ExecStart") == 0) {
        const char *folder = json_get_str(m, "OutputFolder");
        s->output_folder = strdup(folder ? folder : "");
        s->started = true;
        start(s);
    } else if (!s->started && strcmp(type, "CtrlFailed") == 0) {
        s->refused = true;
    } else if (s->started && strcmp(type, "UserStop") == 0) {
        s->stopping = true;
        command_signal(&s->command, SIGKILL);
    } else if (s->started && strcmp(type, "UserStart") == 0 && !s->command.pid) {
        s->stopping = false;
        start(s);
    }
}

/* false when osmo_ctrl is gone. */
static bool read_socket(struct session *s) {
    char block[16384];
    ssize_t n = recv(s->socket, block, sizeof block, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    buf_append(&s->in, block, (size_t)n);
    json_t *m;
    int rc;
    while ((rc = link_next(&s->in, &m)) > 0) {
        on_message(s, m);
        json_free(m);
    }
    return rc == 0;
}

static bool write_socket(struct session *s) {
    while (s->out.len) {
        ssize_t n = send(s->socket, s->out.data, s->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_consume(&s->out, (size_t)n);
    }
    return true;
}

static void read_signals(struct session *s) {
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD) {
            command_signal(&s->command, (int)info.ssi_signo);
            if (!s->started)
                exit(128 + (int)info.ssi_signo);
        }
    }
}

/* The command ended: whatever its pipes still hold belongs to it; children it left behind do not keep us. */
static void drain_pipes(struct session *s) {
    for (int i = 0; i < 2; i++) {
        int *fd = i ? &s->command.err : &s->command.out;
        struct pollfd p = { .fd = *fd, .events = POLLIN };
        while (*fd >= 0 && poll(&p, 1, 0) > 0 && command_read(&s->command, i, &s->out)) {
            if (s->out.len > OUTGOING_PAUSE) {
                struct pollfd w = { .fd = s->socket, .events = POLLOUT };
                poll(&w, 1, -1);
                if (!write_socket(s))
                    return;
            }
        }
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    command_flush(&s->command, &s->out);
}

static bool flush_socket(struct session *s) {
    while (s->out.len) {
        struct pollfd p = { .fd = s->socket, .events = POLLOUT };
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return false;
        if (!write_socket(s))
            return false;
    }
    return true;
}

static int finish(struct session *s) {
    char text[64] = "";
    if (s->output_folder && *s->output_folder) {
        struct stat st;
        if (stat(s->output_folder, &st) == 0)
            chmod(s->output_folder, (st.st_mode & 07777) | 0444); /* so that osmo_ctrl can read it whoever it runs as */
    }
    if (s->command.exit_code)
        snprintf(text, sizeof text, "exit status %d", s->command.exit_code);
    link_message(&s->out, s->command.exit_code ? "ExecFailed" : "ExecFinished",
                 s->command.exit_code ? "MessageErr" : NULL, text, strlen(text));
    flush_socket(s);
    return s->command.exit_code;
}

/* One round of waiting. Returns false when osmo_ctrl is gone. */
static bool turn(struct session *s) {
    bool paused = s->out.len > OUTGOING_PAUSE;
    struct pollfd p[4] = {
        { .fd = s->socket, .events = (short)(POLLIN | (s->out.len ? POLLOUT : 0)) },
        { .fd = s->signals, .events = POLLIN },
        { .fd = paused ? -1 : s->command.out, .events = POLLIN },
        { .fd = paused ? -1 : s->command.err, .events = POLLIN },
    };
    if (poll(p, 4, -1) < 0)
        return errno == EINTR;
    if (p[1].revents)
        read_signals(s);
    if (p[2].revents)
        command_read(&s->command, false, &s->out);
    if (p[3].revents)
        command_read(&s->command, true, &s->out);
    if ((p[0].revents & POLLOUT) || s->out.len)
        if (!write_socket(s))
            return false;
    return !(p[0].revents & (POLLIN | POLLHUP | POLLERR)) || read_socket(s);
}

static int run(struct session *s) {
    for (;;) {
        bool connected = turn(s);
        if (s->refused)
            return 0;
        if (!connected) {
            fprintf(stderr, "osmo_exec: osmo_ctrl is gone\n");
            command_signal(&s->command, SIGKILL);
            return 2;
        }
        bool ended = command_reap(&s->command);
        if (!s->started || s->command.pid)
            continue;
        if (s->stopping) {
            if (ended) {
                drain_pipes(s);
                link_message(&s->out, "UserStopFinished", NULL, "", 0);
            }
            continue;
        }
        drain_pipes(s);
        return finish(s);
    }
}

int main(int argc, char **argv) {
    struct session s = { .o = { .socket_path = "",
                                .user_bin_path = "/osmo/usr/bin",
                                .history_path = "",
                                .run_location = "/osmo/run",
                                .unix_timeout_min = 120 } };
    if (read_options(&s.o, argc, argv) || prepare_command(&s))
        return 2;
    sigset_t mask;
    sigemptyset(&mask);
    static const int forwarded[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
    for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
        sigaddset(&mask, forwarded[i]);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    s.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    append_path(s.o.user_bin_path);
    buf_init(&s.in, 2 * LINK_MESSAGE_MAX);
    buf_init(&s.out, OUTGOING_MAX);
    s.socket = connect_socket(s.o.socket_path, s.o.unix_timeout_min * 60, s.signals);
    if (s.socket < 0) {
        fprintf(stderr, "osmo_exec: cannot reach osmo_ctrl at %s: %s\n", s.o.socket_path, strerror(errno));
        return 2;
    }
    for (size_t i = 0; i < s.o.checkpoints.len; i++)
        say(&s, "MessageOps", "checkpoints are not transferred: this runtime has no object storage client");
    return run(&s);
}
