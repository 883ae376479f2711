/* What the service asks of a task over the logger's socket, and the connections of osmo_exec that belong to it; see actions.h. */
#include "actions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "runtime/link.h"

#define REFUSAL_TRIES 5
#define REASON_BYTES 120       /* of a close frame */
#define GREETING_MS 10000
#define GREETINGS_MAX 64
#define ACCEPTS_PER_TURN 16

/* ---- refusals ---- */

struct refusal {
    struct actions *a;
    struct dial dial;
    uint64_t conn;
    bool open;
    char reason[REASON_BYTES];
};

static void refusal_free(struct refusal *r) {
    dial_stop(&r->dial);
    r->a->nrefusals--;
    free(r);
}

static void refusal_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct refusal *r = ctx;
    (void)extensions;
    r->open = true;
    dial_stop(&r->dial);
    ws_conn_close(r->a->loop, conn, CLOSE_REFUSED, r->reason);
}

static void refusal_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    (void)ctx, (void)conn, (void)data, (void)len, (void)binary;
}

static void refusal_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct refusal *r = ctx;
    (void)conn, (void)code;
    if (!r->open)
        dial_failed(&r->dial, http_status, reason);
    else
        refusal_free(r);
}

static int refusal_attempt(void *ctx, const ws_options_t *o) {
    static const ws_handlers_t handlers = { .opened = refusal_opened, .message = refusal_message, .closed = refusal_closed };
    struct refusal *r = ctx;
    return ws_connect(r->a->loop, o, &handlers, r, &r->conn, NULL);
}

static void refusal_gave_up(void *ctx, const char *reason) {
    (void)reason;
    refusal_free(ctx);
}

void action_refuse(struct actions *a, const struct meeting *at, enum action_kind kind, const char *format, ...) {
    struct refusal *r = a->nrefusals < REFUSALS_AT_ONCE ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return; /* then the router says that nobody came */
    va_list args;
    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
    fprintf(stderr, "osmo_ctrl: %s: %s\n", action_kind_name(kind), r->reason);
    r->a = a;
    a->nrefusals++;
    if (dial_start(&r->dial, a, at, kind, REFUSAL_TRIES, refusal_attempt, refusal_gave_up, r))
        refusal_free(r);
}

/* ---- actions ---- */

/* Each id is carried out once, however often it is told. */
static bool is_done(struct actions *a, const char *id) {
    for (size_t i = 0; i < ARRAY_SIZE(a->done); i++) {
        if (strcmp(a->done[i], id) == 0)
            return true;
    }
    snprintf(a->done[a->next_done], sizeof a->done[0], "%s", id);
    a->next_done = (a->next_done + 1) % ARRAY_SIZE(a->done);
    return false;
}

static void refuse_rsync(struct actions *a, const struct action *action) {
    static const char *const why[] = {
        [RUN_BEFORE] = "the task has not started its command yet, and its rsync server neither: try again soon",
        [RUN_NOW] = "the rsync server of this task does not run: its log says why",
        [RUN_OVER] = "the command of the task has ended, and its rsync server too",
    };
    action_refuse(a, &action->at, ACTION_RSYNC, "%s", why[atomic_load(&a->c->run_phase)]);
}

static void carry_out(struct actions *a, struct action *action) {
    bool forwards = action->kind != ACTION_EXEC;
    if (forwards && a->nforwards >= FORWARDS_MAX)
        action_refuse(a, &action->at, action->kind, "there are %d forwards into this task already", FORWARDS_MAX);
    else if (action->kind == ACTION_RSYNC && !atomic_load(&a->c->rsync_running))
        refuse_rsync(a, action);
    else if (!forwards)
        exec_session_open(a, action);
    else if (action->udp)
        forward_udp_open(a, action);
    else
        forward_open(a, action);
}

void actions_take(struct actions *a, struct logger_link *link, const json_t *o) {
    struct action action;
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *id = json_get_str(o, "id");
    a->link = link;
    a->loop = logger_link_loop(link);
    if (id && *id && strlen(id) < sizeof a->done[0] && is_done(a, id))
        return;
    int rc = action_parse(o, &action, &err);
    if (rc == OSMO_EINVAL || rc == OSMO_ENOMEM)
        fprintf(stderr, "osmo_ctrl: an action cannot be carried out: %s\n", err.text);
    if (rc)
        return;
    carry_out(a, &action);
    action_clear(&action);
}

void actions_token_ready(struct actions *a) {
    if (a->loop)
        dial_token_ready(a);
}

/* ---- connections of osmo_exec ---- */

struct greeting { struct actions *a; int fd; uint64_t timer; buf_t line; };

/* Takes the descriptor away from it. */
static int greeting_end(struct greeting *g) {
    int fd = g->fd;
    ws_loop_watch(g->a->loop, fd, 0, NULL, NULL);
    if (g->timer)
        ws_loop_cancel(g->a->loop, g->timer);
    g->a->greetings--;
    buf_free(&g->line);
    free(g);
    return fd;
}

static void on_greeting_timeout(void *ctx) {
    struct greeting *g = ctx;
    g->timer = 0;
    close(greeting_end(g));
}

static void greeted(struct actions *a, int fd, const json_t *o) {
    const char *session = json_get_str(o, "Session");
    const json_t *checkpoint = json_get(o, "Checkpoint");
    bool taken = session ? exec_session_connected(a, fd, session) : checkpoint && checkpoint_take(a->c, fd, checkpoint);
    if (!taken)
        close(fd);
}

static void parse_greeting(struct greeting *g) {
    struct actions *a = g->a;
    json_t *o = NULL;
    int rc = json_parse(g->line.data, g->line.len, &o, NULL), fd = greeting_end(g);
    if (rc)
        close(fd);
    else
        greeted(a, fd, o);
    json_free(o);
}

/* One line, and not a byte of what follows: descriptors may come with that. */
static void on_greeting(void *ctx, int fd, int events) {
    struct greeting *g = ctx;
    char block[LINK_GREETING_MAX];
    (void)events;
    ssize_t n = recv(fd, block, sizeof block, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    const char *end = n > 0 ? memchr(block, '\n', (size_t)n) : NULL;
    size_t len = n <= 0 ? 0 : end ? (size_t)(end + 1 - block) : (size_t)n;
    if (!len || recv(fd, block, len, MSG_DONTWAIT) != (ssize_t)len || buf_append(&g->line, block, len))
        close(greeting_end(g));
    else if (end)
        parse_greeting(g);
}

static void await_greeting(struct actions *a, int fd) {
    struct greeting *g = a->greetings < GREETINGS_MAX ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        close(fd);
        return;
    }
    *g = (struct greeting){ .a = a, .fd = fd, .line = BUF_INIT(LINK_GREETING_MAX) };
    a->greetings++;
    g->timer = ws_loop_after(a->loop, GREETING_MS, on_greeting_timeout, g);
    if (!g->timer || ws_loop_watch(a->loop, fd, WS_FD_READ, on_greeting, g))
        close(greeting_end(g));
}

static void on_listener(void *ctx, int listener, int events) {
    struct actions *a = ctx;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (!exec_session_connected(a, fd, NULL)) /* nobody waits for one without a word */
            await_greeting(a, fd);
    }
}

static void on_changed(void *ctx) {
    struct actions *a = ctx;
    a->link = a->c->link;
    a->loop = logger_link_loop(a->link);
    if (!a->listening) {
        fcntl(a->c->listener, F_SETFL, fcntl(a->c->listener, F_GETFL) | O_NONBLOCK);
        a->listening = ws_loop_watch(a->loop, a->c->listener, WS_FD_READ, on_listener, a) == 0;
    }
    exec_sessions_changed(a);
}

void actions_changed(struct ctrl *c) { ws_loop_wake(logger_link_loop(c->link), on_changed, c->actions); }

int actions_new(struct ctrl *c, struct actions **out) {
    struct actions *a = calloc(1, sizeof *a);
    if (!a)
        return CTRL_OTHER;
    a->c = c;
    *out = a;
    return CTRL_OK;
}
