/* Exec sessions: between a websocket to the router and a connection of osmo_exec, which has the command and its
 * terminal; see runtime/link.h. Steps: held until the command has started; asked osmo_exec for a connection; dialling the router; open. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actions.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "runtime/link.h"

#define TRIES 5
#define HOLD_MS 50000             /* within the time that clients wait */
#define ANNOUNCE_US 1000000       /* so long after its start osmo_exec may say what it can */
#define PIECE (16u << 10)
#define QUEUE (128u << 10)
#define QUEUE_MAX (18u << 20)     /* one message comes whole */

enum step { STEP_HELD, STEP_ASKED, STEP_DIALING, STEP_OPEN };

struct exec_session {
    struct exec_session *next;
    struct actions *a;
    struct action action;
    enum step step;
    char id[24];
    struct dial dial;
    uint64_t conn, timer;
    int fd, status;               /* status: of the command, -1 while it runs */
    bool framed, extended, fd_ended, full, deaf, closing;
    buf_t in, out;                /* from and towards osmo_exec */
};

static void on_fd(void *ctx, int fd, int events);

static void session_free(struct exec_session *s) {
    struct exec_session **p = &s->a->sessions;
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    s->a->nsessions--;
    if (s->timer)
        ws_loop_cancel(s->a->loop, s->timer);
    dial_stop(&s->dial);
    if (s->fd >= 0) {
        ws_loop_watch(s->a->loop, s->fd, 0, NULL, NULL);
        close(s->fd); /* to osmo_exec this is the departure of the client */
    }
    action_clear(&s->action);
    buf_free(&s->in);
    buf_free(&s->out);
    free(s);
}

static void refuse(struct exec_session *s, const char *why) {
    action_refuse(s->a, &s->action.at, ACTION_EXEC, "%s", why);
    session_free(s);
}

/* ---- carrying ---- */

static void rewatch(struct exec_session *s) {
    bool reads = s->step == STEP_OPEN && !s->fd_ended && !s->full && !s->closing && s->in.len < QUEUE;
    int events = (reads ? WS_FD_READ : 0) | (s->out.len ? WS_FD_WRITE : 0);
    if (s->fd >= 0)
        ws_loop_watch(s->a->loop, s->fd, events, on_fd, s);
    bool deaf = s->out.len > QUEUE || (s->deaf && s->out.len > QUEUE / 2);
    if (deaf != s->deaf && s->step == STEP_OPEN)
        ws_conn_read(s->a->loop, s->conn, !deaf);
    s->deaf = deaf;
}

static void flush_out(struct exec_session *s) {
    while (s->out.len) {
        ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            buf_reset(&s->out); /* the end is seen by reading */
        else
            buf_consume(&s->out, (size_t)n);
    }
}

static void send_bytes(struct exec_session *s, const char *data, size_t len) {
    char *room;
    ws_out_t *m = len ? ws_out_new(len, &room) : NULL;
    if (!m)
        return;
    memcpy(room, data, len);
    ws_out_send(s->a->loop, s->conn, m, len, true);
}

/* {"<name>":"<text>"} */
static void send_word(struct exec_session *s, const char *name, const char *text) {
    json_t *o = json_object();
    json_set_str(o, name, text);
    _cleanup_free_ char *line = json_to_text(o);
    json_free(o);
    char *room;
    size_t len = line ? strlen(line) : 0;
    ws_out_t *m = line ? ws_out_new(len, &room) : NULL;
    if (m) {
        memcpy(room, line, len);
        ws_out_send(s->a->loop, s->conn, m, len, false);
    }
}

static void send_error_output(struct exec_session *s, const char *data, size_t len) {
    buf_t text = BUF_INIT(2 * LINK_FRAME_MAX);
    if (crypto_base64(data, len, &text) == 0)
        send_word(s, "stderr", buf_cstr(&text));
    buf_free(&text);
}

static void on_frame(struct exec_session *s, const struct link_frame *f) {
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)(f->len < 63 ? f->len : 63), f->data);
    switch (f->type) {
    case 'H':
        s->extended = text[0] != '\0';
        if (s->extended)
            send_word(s, "extensions", text);
        break;
    case 'O': send_bytes(s, f->data, f->len); break;
    case 'E': send_error_output(s, f->data, f->len); break;
    case 'X': s->status = atoi(text) & 0xff; break;
    default: break;
    }
}

static void say_end(struct exec_session *s) {
    char reason[32] = "";
    if (s->closing)
        return;
    s->closing = true;
    if (s->extended && s->status >= 0)
        snprintf(reason, sizeof reason, "exit %d", s->status);
    if (s->framed && s->status < 0)
        ws_conn_close(s->a->loop, s->conn, CLOSE_REFUSED, "the container of the task ended, and the session with it");
    else
        ws_conn_close(s->a->loop, s->conn, 1000, reason);
}

/* What is whole goes on, as long as the websocket takes it. */
static void pass_frames(struct exec_session *s) {
    struct link_frame f;
    size_t used, at = 0;
    int rc = 0;
    while (!s->closing && !(s->full = ws_conn_full(s->a->loop, s->conn)) &&
           (rc = link_frame_next(s->in.data + at, s->in.len - at, &f, &used)) > 0) {
        on_frame(s, &f);
        at += used;
    }
    buf_consume(&s->in, at);
    if (rc < 0 || (s->fd_ended && !s->full))
        say_end(s);
}

static void read_raw(struct exec_session *s) {
    char *room;
    s->full = ws_conn_full(s->a->loop, s->conn);
    ws_out_t *m = s->full ? NULL : ws_out_new(PIECE, &room);
    if (!m)
        return;
    ssize_t n = recv(s->fd, room, PIECE, MSG_DONTWAIT);
    if (n > 0) {
        ws_out_send(s->a->loop, s->conn, m, (size_t)n, true);
        return;
    }
    ws_out_free(m);
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        s->fd_ended = true;
        say_end(s);
    }
}

static void read_framed(struct exec_session *s) {
    char block[PIECE];
    ssize_t n = recv(s->fd, block, sizeof block, MSG_DONTWAIT);
    if (n > 0)
        buf_append(&s->in, block, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        s->fd_ended = true;
    pass_frames(s);
}

static void on_fd(void *ctx, int fd, int events) {
    struct exec_session *s = ctx;
    (void)fd;
    if (events & WS_FD_WRITE)
        flush_out(s);
    if ((events & WS_FD_READ) && s->step == STEP_OPEN && !s->closing && !s->fd_ended)
        s->framed ? read_framed(s) : read_raw(s);
    rewatch(s);
}

/* ---- the websocket ---- */

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct exec_session *s = ctx;
    (void)conn, (void)extensions;
    dial_stop(&s->dial);
    s->step = STEP_OPEN;
    rewatch(s);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct exec_session *s = ctx;
    (void)conn;
    if (s->fd_ended || (!binary && s->extended))
        return; /* texts of ours are none of the command's input */
    if (!s->framed)
        buf_append(&s->out, data, len);
    else
        link_frame_put(&s->out, len ? 'I' : 'Z', data, len);
    flush_out(s);
    rewatch(s);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct exec_session *s = ctx;
    (void)conn, (void)code;
    s->conn = 0;
    if (s->step == STEP_DIALING)
        dial_failed(&s->dial, http_status, reason);
    else
        session_free(s);
}

static void on_writable(void *ctx, uint64_t conn) {
    struct exec_session *s = ctx;
    (void)conn;
    s->full = false;
    if (s->framed)
        pass_frames(s);
    rewatch(s);
}

static int attempt(void *ctx, const ws_options_t *o) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed, .writable = on_writable };
    struct exec_session *s = ctx;
    return ws_connect(s->a->loop, o, &handlers, s, &s->conn, NULL);
}

static void gave_up(void *ctx, const char *reason) {
    struct exec_session *s = ctx;
    fprintf(stderr, "osmo_ctrl: an exec session could not reach the router: %s\n", reason);
    session_free(s);
}

/* ---- the steps before ---- */

static void on_timeout(void *ctx) {
    struct exec_session *s = ctx;
    s->timer = 0;
    refuse(s, s->step == STEP_HELD ? "the task has not started its command yet: try again when its inputs are there and its group is ready"
                                   : "the user container did not answer: its osmo_exec may be gone");
}

static void again(void *ctx) { exec_sessions_changed(ctx); }

/* Does osmo_exec of this pod name sessions? -1: it may still say so. */
static int names_sessions(struct actions *a) {
    if (atomic_load(&a->c->exec_ours))
        return 1;
    int64_t since = clock_mono_us() - atomic_load(&a->c->started_us);
    if (since >= ANNOUNCE_US)
        return 0;
    if (!ws_loop_after(a->loop, (ANNOUNCE_US - since) / 1000 + 1, again, a))
        return 0;
    return -1;
}

static bool another_asks(const struct actions *a) {
    for (const struct exec_session *s = a->sessions; s; s = s->next) {
        if (s->step == STEP_ASKED)
            return true;
    }
    return false;
}

/* false: nobody can be asked now. */
static bool ask(struct exec_session *s) {
    int named = names_sessions(s->a);
    if (named < 0 || (!named && another_asks(s->a))) /* who does not name them gets one at a time: they come in no order */
        return false;
    s->step = STEP_ASKED;
    s->framed = named;
    if (exec_send_session(s->a->c, s->action.command, named ? s->id : NULL)) {
        refuse(s, "the user container does not listen");
        return true;
    }
    ws_loop_cancel(s->a->loop, s->timer);
    s->timer = ws_loop_after(s->a->loop, s->a->c->o.exec_timeout_min * 60000, on_timeout, s);
    return true;
}

void exec_sessions_changed(struct actions *a) {
    int phase = atomic_load(&a->c->run_phase);
    for (struct exec_session *s = a->sessions, *next; s && phase != RUN_BEFORE; s = next) {
        next = s->next;
        if (s->step != STEP_HELD)
            continue;
        if (phase == RUN_OVER)
            refuse(s, "the command of the task has ended");
        else if (!ask(s))
            return;
    }
}

void exec_session_open(struct actions *a, struct action *action) {
    if (a->nsessions >= EXEC_SESSIONS_MAX) {
        action_refuse(a, &action->at, ACTION_EXEC, "there are %d sessions in this task already: end one of them first", EXEC_SESSIONS_MAX);
        return;
    }
    struct exec_session *s = calloc(1, sizeof *s), **p = &a->sessions;
    if (!s)
        return;
    *s = (struct exec_session){ .a = a, .action = *action, .fd = -1, .status = -1 };
    *action = (struct action){ 0 };
    uint64_t id = 0;
    crypto_random(&id, sizeof id); /* so that nobody else in the user container knows it */
    snprintf(s->id, sizeof s->id, "%llu", (unsigned long long)id);
    buf_init(&s->in, 4 * QUEUE);
    buf_init(&s->out, QUEUE_MAX);
    while (*p)
        p = &(*p)->next;
    *p = s;
    a->nsessions++;
    s->timer = ws_loop_after(a->loop, HOLD_MS, on_timeout, s);
    exec_sessions_changed(a);
}

bool exec_session_connected(struct actions *a, int fd, const char *id) {
    struct exec_session *s = a->sessions;
    while (s && !(s->step == STEP_ASKED && s->framed == (id != NULL) && (!id || strcmp(s->id, id) == 0)))
        s = s->next;
    if (!s)
        return false;
    ws_loop_cancel(a->loop, s->timer);
    s->timer = 0;
    s->fd = fd;
    s->step = STEP_DIALING;
    if (dial_start(&s->dial, a, &s->action.at, ACTION_EXEC, TRIES, attempt, gave_up, s))
        session_free(s);
    exec_sessions_changed(a); /* the next one may ask now */
    return true;
}
