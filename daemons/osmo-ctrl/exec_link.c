/* The unix socket towards osmo_exec: listen, accept, relay its messages into the spool. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctrl.h"
#include "runtime/link.h"
#include "runtime/link_lines.h"

#define SEND_MS 10000 /* osmo_exec always reads */

int exec_listen(struct ctrl *c) {
    struct sockaddr_un address;
    int dir = -1;
    unlink(c->o.socket_path);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* the change of mode comes after listen(): osmo_exec watches for it */
    int rc = c->listener < 0 || link_address(c->o.socket_path, &address, &dir) ||
             bind(c->listener, (struct sockaddr *)&address, sizeof address) || listen(c->listener, 16) ||
             chmod(c->o.socket_path, 0777);
    if (rc)
        fprintf(stderr, "osmo_ctrl: cannot listen on %s: %s\n", c->o.socket_path, strerror(errno));
    if (dir >= 0)
        close(dir);
    return rc ? CTRL_SOCKET : CTRL_OK;
}

#define RESTART (-1) /* beside the codes of enum ctrl_exit */

/* Wait for a termination signal, fd or `restart` (-1 = none), in this order. CTRL_OK when fd is ready. */
static int wait_fd(struct ctrl *c, int fd, int restart, int64_t timeout_ms) {
    struct pollfd p[3] = { { .fd = fd, .events = POLLIN },
                           { .fd = c->signals, .events = POLLIN },
                           { .fd = restart, .events = POLLIN } };
    int n;
    do {
        n = poll(p, 3, timeout_ms > INT32_MAX ? -1 : (int)timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && p[1].revents)
        return CTRL_TERMINATED;
    if (n > 0 && !p[0].revents)
        return RESTART;
    return n > 0 ? CTRL_OK : CTRL_SOCKET;
}

int exec_accept(struct ctrl *c) {
    int code = wait_fd(c, c->listener, -1, c->o.unix_timeout_min * 60000);
    if (code)
        return code;
    c->exec_fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    if (c->exec_fd < 0)
        return CTRL_SOCKET;
    actions_changed(c); /* further connections are sessions */
    return CTRL_OK;
}

/* Takes the message. Whole, whoever else sends. */
static int send_message(struct ctrl *c, buf_t *out) {
    size_t sent = 0;
    pthread_mutex_lock(&c->exec_lock);
    while (!buf_failed(out) && sent < out->len) {
        ssize_t n = send(c->exec_fd, out->data + sent, out->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd p = { .fd = c->exec_fd, .events = POLLOUT };
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR && (errno != EAGAIN || poll(&p, 1, SEND_MS) == 0))
            break;
    }
    pthread_mutex_unlock(&c->exec_lock);
    int code = sent && sent == out->len ? CTRL_OK : CTRL_SOCKET;
    buf_free(out);
    return code;
}

int exec_send(struct ctrl *c, const char *type, const char *field, const char *text) {
    buf_t out = BUF_INIT(LINK_MESSAGE_MAX);
    link_message(&out, type, field, text ? text : "", text ? strlen(text) : 0);
    return send_message(c, &out);
}

int exec_send_session(struct ctrl *c, const char *command, const char *id) {
    buf_t out = BUF_INIT(LINK_MESSAGE_MAX);
    link_message_with(&out, "UserExecStart", "Command", command, strlen(command), id ? "Session" : NULL, id);
    return send_message(c, &out);
}

int exec_start(struct ctrl *c) {
    buf_t out = BUF_INIT(LINK_MESSAGE_MAX);
    size_t len = strlen(c->o.output_path);
    link_message_with(&out, "ExecStart", "OutputFolder", c->o.output_path, len && c->o.output_path[len - 1] == '/' ? len - 1 : len,
                      "Extensions", LINK_EXTENSIONS);
    int code = send_message(c, &out);
    c->exec_started = !code;
    if (!code) {
        atomic_store(&c->started_us, clock_mono_us());
        atomic_store(&c->run_phase, RUN_NOW);
        actions_changed(c);
    }
    return code;
}

static const struct {
    const char *type, *field;
    enum io_type io;
} lines[] = {
    { "MessageOut", "MessageOut", IO_STDOUT },
    { "MessageErr", "MessageErr", IO_STDERR },
    { "MessageOps", "MessageOps", IO_OSMO_CTRL },
};

static void on_line(void *ctx, const char *type, const char *text, size_t len) {
    struct ctrl *c = ctx;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (strcmp(type, lines[i].type) == 0)
            spool_append(c->spool, lines[i].io, text, len);
}

enum news { NEWS_NONE, NEWS_ENDED, NEWS_STOPPED };

static enum news on_message(struct ctrl *c, const json_t *m) {
    const char *type = json_get_str(m, "Type");
    for (size_t i = 0; type && i < sizeof lines / sizeof lines[0]; i++) {
        if (strcmp(type, lines[i].type) == 0) {
            size_t len;
            const char *s = json_bytes(json_get(m, lines[i].field), &len);
            if (s)
                spool_append(c->spool, lines[i].io, s, len);
            return NEWS_NONE;
        }
    }
    if (type && strcmp(type, "ExecFailed") == 0) {
        const char *why = json_get_str(m, "MessageErr");
        if (why && *why)
            ctrl_say(c, IO_OSMO_CTRL, "command failed: %s", why);
    }
    if (type && strcmp(type, "Extensions") == 0) {
        atomic_store(&c->exec_ours, link_has_word(json_get_str(m, "Extensions"), "sessions"));
        actions_changed(c);
    }
    if (type && strcmp(type, "UserRsyncStatus") == 0)
        atomic_store(&c->rsync_running, json_get_bool(m, "RsyncRunning", false));
    if (type && strcmp(type, "UserStopFinished") == 0)
        return NEWS_STOPPED;
    return type && (strcmp(type, "ExecFinished") == 0 || strcmp(type, "ExecFailed") == 0) ? NEWS_ENDED : NEWS_NONE;
}

struct relay {
    bool terminated, stopping, killed;
};

/* We were told to end, and osmo_exec with us: the command has its time for what it wants to do, and what it says still
 * belongs in the log. When it takes all of it, it is killed, so that something is left for its outputs. */
static int wait_terminated(struct ctrl *c, struct relay *r) {
    for (;;) {
        int64_t left = r->killed ? termination_left_ms(c) : termination_command_ms(c);
        struct pollfd p = { .fd = c->exec_fd, .events = POLLIN };
        int n = poll(&p, 1, (int)left);
        if (n > 0)
            return CTRL_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (!r->killed && termination_command_ms(c) > 0)
            continue; /* it was found that there is more time */
        if (r->killed || exec_send(c, "UserStop", NULL, NULL))
            return CTRL_TERMINATED;
        r->killed = true;
    }
}

/* Wait for what osmo_exec says, serving what others want of the command meanwhile. */
static int wait_exec(struct ctrl *c, struct relay *r) {
    for (;;) {
        if (r->terminated)
            return wait_terminated(c, r);
        int code = wait_fd(c, c->exec_fd, r->stopping ? -1 : logger_link_restart_fd(c->link), INT64_MAX);
        if (code == CTRL_TERMINATED) {
            r->terminated = true;
        } else if (code == RESTART) {
            logger_link_restart_clear(c->link);
            ctrl_say(c, IO_OSMO_CTRL, "The group begins again: the command is stopped");
            r->stopping = true;
            if (exec_send(c, "UserStop", NULL, NULL))
                return CTRL_SOCKET;
        } else {
            return code;
        }
    }
}

/* The command is stopped: start it with the others. */
static int begin_again(struct ctrl *c, struct relay *r) {
    if (r->terminated)
        return atomic_load(&c->exec_ours) ? CTRL_OK : CTRL_TERMINATED; /* ours goes on to say how the command ended */
    if (!r->stopping)
        return CTRL_OK;
    r->stopping = false;
    int code = group_barrier(c);
    return code ? code : exec_send(c, "UserStart", NULL, NULL);
}

static int relay(struct ctrl *c) {
    static char block[65536];
    struct relay r = { 0 };
    for (;;) {
        int code = wait_exec(c, &r);
        if (code)
            return code;
        ssize_t n = read(c->exec_fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (r.terminated)
                return CTRL_TERMINATED; /* OSMO's ends at once */
            ctrl_say(c, IO_OSMO_CTRL, "the user container ended without a word");
            return CTRL_OK;
        }
        buf_append(&c->exec_in, block, (size_t)n);
        json_t *m;
        enum news news = NEWS_NONE;
        int rc;
        link_take_lines(&c->exec_in, on_line, c);
        while (news == NEWS_NONE && (rc = link_next(&c->exec_in, &m)) > 0) {
            news = on_message(c, m);
            json_free(m);
        }
        logger_link_pump(c->link);
        if (news == NEWS_ENDED)
            return r.terminated ? CTRL_TERMINATED : CTRL_OK;
        if (news == NEWS_STOPPED && (code = begin_again(c, &r)))
            return code;
        if (news == NEWS_NONE && rc < 0) {
            ctrl_say(c, IO_OSMO_CTRL, "the user container sent something that is no message");
            return CTRL_SOCKET;
        }
    }
}

int exec_relay(struct ctrl *c) {
    int code = relay(c);
    atomic_store(&c->run_phase, RUN_OVER);
    actions_changed(c);
    return code;
}
