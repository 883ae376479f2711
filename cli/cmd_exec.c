/* workflow exec: a command in a running task, at this terminal, between pipes, or in all tasks of a group at once. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "exec_session.h"
#include "terminal.h"

#define KEEP_ALIVE_PAUSE_S 10
#define TIMEOUT_MAX_S 3600
#define LINE_MAX_BYTES (64u << 10)
#define GROUP_MAX 1000

struct wanted {
    const char *workflow, *task, *group, *entry;
    int64_t timeout_s;
    bool keep_alive;
};

static char *entry_query(const struct wanted *w) {
    buf_t b = BUF_INIT(64u << 10);
    query_add(&b, "entry_command", w->entry);
    char *text = buf_steal(&b, NULL);
    buf_free(&b);
    return text;
}

/* Why a session ended that nobody here ended; nothing to say when it just did. */
static void tell_end(const char *prefix, int code, int http_status, const char *reason) {
    if (code == 1000 && !http_status)
        return;
    if (code == 1006 || http_status)
        fprintf(stderr, "%sThe session is lost: %s\n", prefix, *reason ? reason : "the connection was cut");
    else if (code)
        fprintf(stderr, "%sThe session was ended: %s\n", prefix, *reason ? reason : "no reason was given");
}

/* ---- one task ---- */

struct run {
    struct wanted *w;
    struct api api;
    ws_loop_t *loop;
    struct exec_session *session;
    int in, out, err;         /* ours, see terminal_own() */
    bool tty, raw, began, again;
    int killed;               /* by this signal */
    int exit_code;
};

static void on_size(void *ctx, int fd, int events) {
    struct run *r = ctx;
    int rows, cols;
    (void)fd, (void)events;
    terminal_size_clear();
    if (r->session && terminal_size(STDIN_FILENO, &rows, &cols))
        exec_session_resize(r->session, rows, cols);
}

static void on_began(void *ctx) {
    struct run *r = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    r->began = true;
    if (!r->tty || r->raw)
        return;
    r->raw = true;
    if (terminal_raw(STDIN_FILENO, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    if (terminal_size_fd() >= 0)
        ws_loop_watch(r->loop, terminal_size_fd(), WS_FD_READ, on_size, r);
    on_size(r, -1, 0); /* it may have changed while we waited */
}

static void on_ended(void *ctx, int status, int code, int http_status, const char *reason) {
    struct run *r = ctx;
    r->session = NULL;
    terminal_restore();
    r->raw = false;
    r->again = !r->killed && status < 0 && (code != 1000 || http_status);
    r->exit_code = status >= 0 ? status : session_exit_code(code ? code : 1000, http_status);
    if (!r->killed) {
        tell_end("", code, http_status, reason);
        if (status < 0 && code == 1000 && !r->began) {
            fprintf(stderr, "The session ended before the task answered: look at its log, or give it longer with --connect-timeout\n");
            r->exit_code = EXIT_SERVER_DOWN;
        }
    }
    ws_loop_stop(r->loop);
}

/* Without a terminal of the session's own, ^C and kill mean the command there; said twice, they mean us. */
static void on_signal(void *ctx, int number) {
    struct run *r = ctx;
    bool taken = r->session && exec_session_signal(r->session, number);
    if ((number == SIGINT || number == SIGQUIT) && taken && !r->killed) {
        r->killed = -1;
        return;
    }
    r->killed = number;
    if (r->session)
        exec_session_close(r->session);
    else
        ws_loop_stop(r->loop);
}

static int connect_once(struct run *r, const char *task) {
    osmo_error_t err = OSMO_ERROR_INIT;
    const struct exec_hooks hooks = { .began = on_began, .ended = on_ended, .ctx = r };
    _cleanup_free_ char *query = entry_query(r->w);
    json_t *answer = NULL;
    struct session s = { 0 };
    struct dial d = { 0 };
    int rows = 24, cols = 80;
    terminal_size(r->tty ? STDIN_FILENO : STDOUT_FILENO, &rows, &cols);
    int code = session_post(&r->api, r->w->workflow, "exec/task", task, query ? query : "", &answer);
    r->again = code && status_is_passing(r->api.status) && r->api.status != 425;
    if (!code && !(code = session_read(&r->api, answer, &s)))
        code = dial_make(&d, &r->api, &s, "exec", r->w->workflow, s.key, s.cookie, r->w->timeout_s);
    if (!code && exec_session_start(r->loop, &d, &hooks, r->in, r->out, r->err, r->tty, rows, cols, &r->session, &err) < 0)
        code = api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    dial_clear(&d);
    session_clear(&s);
    json_free(answer);
    return code;
}

static int run_once(struct run *r, const char *task) {
    osmo_error_t err = OSMO_ERROR_INIT;
    r->began = r->again = false;
    r->killed = 0;
    if (ws_loop_new(&r->loop, &err) < 0)
        return api_fail(false, 0, err.text, EXIT_SERVER_DOWN);
    int code = connect_once(r, task);
    if (!code && !r->tty && loop_signals(r->loop, on_signal, r) < 0)
        code = api_fail(false, 0, "out of memory", EXIT_USER);
    if (!code) {
        ws_loop_run(r->loop);
        code = r->exit_code;
    }
    ws_loop_free(r->loop);
    r->loop = NULL;
    terminal_restore();
    if (r->killed > 0)
        code = r->killed == SIGINT ? EXIT_INTERRUPTED : 128 + r->killed;
    return code;
}

static int exec_task(struct wanted *w) {
    struct run r = { .w = w };
    _cleanup_free_ char *task = NULL;
    int code = api_open(&r.api, false);
    if (!code)
        code = session_task(&r.api, w->workflow, w->task, &task);
    r.tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    r.in = terminal_own(STDIN_FILENO, false);
    r.out = terminal_own(STDOUT_FILENO, true);
    r.err = terminal_own(STDERR_FILENO, true);
    while (!code) {
        code = run_once(&r, task);
        if (!w->keep_alive || !r.again || r.killed)
            break;
        fprintf(stderr, "Trying again in %d seconds; the command begins anew\n", KEEP_ALIVE_PAUSE_S);
        nanosleep(&(struct timespec){ .tv_sec = KEEP_ALIVE_PAUSE_S }, NULL);
        code = 0;
    }
    const int fds[] = { r.in, r.out, r.err };
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    api_close(&r.api);
    return code;
}

/* ---- all tasks of a group ---- */

struct crowd;
struct member {
    struct crowd *crowd;
    char *task;
    struct exec_session *session;
    buf_t lines[2];           /* what has no line break yet, of stdout and stderr */
};

struct crowd {
    ws_loop_t *loop;
    struct member *members;
    size_t n, running;
    int exit_code, killed;
};

static void print_line(const struct member *m, FILE *to, const char *text, size_t len) {
    if (len && text[len - 1] == '\r') /* of a terminal there */
        len--;
    fprintf(to, "[%s] ", m->task);
    fwrite(text, 1, len, to);
    fputc('\n', to);
}

static void on_member_output(void *ctx, const char *data, size_t len, bool is_error) {
    struct member *m = ctx;
    buf_t *line = &m->lines[is_error];
    FILE *to = is_error ? stderr : stdout;
    while (len) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len, room = LINE_MAX_BYTES - line->len;
        if (n > room)
            n = room;
        buf_append(line, data, n);
        if ((end && data + n == end) || line->len == LINE_MAX_BYTES) {
            print_line(m, to, buf_cstr(line), line->len);
            buf_reset(line);
        }
        n += end && data + n == end;
        data += n;
        len -= n;
    }
    fflush(to);
}

static void on_member_ended(void *ctx, int status, int code, int http_status, const char *reason) {
    struct member *m = ctx;
    struct crowd *c = m->crowd;
    _cleanup_free_ char *prefix = str_printf("[%s] ", m->task);
    m->session = NULL;
    for (int i = 0; i < 2; i++) {
        if (m->lines[i].len)
            print_line(m, i ? stderr : stdout, buf_cstr(&m->lines[i]), m->lines[i].len);
    }
    fflush(stdout);
    int result = status >= 0 ? status : session_exit_code(code ? code : 1000, http_status);
    if (!c->killed)
        tell_end(prefix ? prefix : "", code, http_status, reason);
    if (result > c->exit_code)
        c->exit_code = result;
    if (--c->running == 0)
        ws_loop_stop(c->loop);
}

static void on_crowd_signal(void *ctx, int number) {
    struct crowd *c = ctx;
    bool first = !c->killed, taken = false;
    c->killed = number;
    for (size_t i = 0; i < c->n; i++) {
        if (c->members[i].session)
            taken |= exec_session_signal(c->members[i].session, number);
    }
    if (number == SIGINT && first && taken)
        return;
    for (size_t i = 0; i < c->n; i++) {
        if (c->members[i].session)
            exec_session_close(c->members[i].session);
    }
}

static int start_member(struct crowd *c, struct api *a, const struct wanted *w, const char *task, const json_t *answer) {
    struct member *m = &c->members[c->n];
    const struct exec_hooks hooks = { .output = on_member_output, .ended = on_member_ended, .ctx = m };
    osmo_error_t err = OSMO_ERROR_INIT;
    struct session s = { 0 };
    struct dial d = { 0 };
    m->crowd = c;
    m->task = str_dup(task);
    buf_init(&m->lines[0], LINE_MAX_BYTES + 1);
    buf_init(&m->lines[1], LINE_MAX_BYTES + 1);
    c->n++;
    int code = session_read(a, answer, &s);
    if (!code)
        code = dial_make(&d, a, &s, "exec", w->workflow, s.key, s.cookie, w->timeout_s);
    if (!code && (!m->task || exec_session_start(c->loop, &d, &hooks, -1, -1, -1, false, 24, 80, &m->session, &err) < 0))
        code = api_fail(false, 0, m->task ? err.text : "out of memory", EXIT_SERVER_DOWN);
    else if (!code)
        c->running++;
    dial_clear(&d);
    session_clear(&s);
    return code;
}

static int exec_group(const struct wanted *w) {
    struct crowd c = { 0 };
    struct api a;
    json_t *answer = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *query = entry_query(w);
    int code = api_open(&a, false);
    if (!code)
        code = session_post(&a, w->workflow, "exec/group", w->group, query ? query : "", &answer);
    if (!code && (json_len(answer) > GROUP_MAX || !(c.members = calloc(json_len(answer) + 1, sizeof *c.members)) ||
                  ws_loop_new(&c.loop, &err) < 0))
        code = api_fail(false, 0, err.code ? err.text : "the group has too many tasks for one command", EXIT_USER);
    json_iter_t it = json_iter(answer);
    while (!code && json_iter_next(&it))
        code = start_member(&c, &a, w, it.key, it.value);
    if (!code && c.running && loop_signals(c.loop, on_crowd_signal, &c) == 0) {
        ws_loop_run(c.loop);
        code = c.killed && c.exit_code == 0 ? EXIT_INTERRUPTED : c.exit_code;
    }
    ws_loop_free(c.loop);
    for (size_t i = 0; i < c.n; i++) {
        free(c.members[i].task);
        buf_free(&c.members[i].lines[0]);
        buf_free(&c.members[i].lines[1]);
    }
    free(c.members);
    json_free(answer);
    api_close(&a);
    return code;
}

int cmd_exec(int argc, char **argv) {
    struct wanted w = { .entry = "/bin/bash", .timeout_s = 60 };
    const struct opt opts[] = {
        { "--group", OPT_VALUE, &w.group, "GROUP", "run the command in every task of this group, each line with its [task]", NULL },
        { "--entry", OPT_VALUE, &w.entry, "COMMAND", "what to run, with its arguments; default /bin/bash", NULL },
        { "--connect-timeout", OPT_INT, &w.timeout_s, "SECONDS", "how long to wait for the task to answer; default 60", NULL },
        { "--keep-alive", OPT_FLAG, &w.keep_alive, NULL, "when the session is lost, begin anew after 10 seconds", NULL },
    };
    const struct arg args[] = { { "ID", "workflow id", &w.workflow, NULL, false },
                                { "TASK", "a task of it; else the lead task of its first group", &w.task, NULL, true } };
    static const char summary[] =
        "Run a command in a running task, at this terminal or between pipes. Exits as the command does, when the task tells.";
    const struct usage u = { "workflow exec", summary, opts, ARRAY_SIZE(opts), args, ARRAY_SIZE(args) };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    if (w.timeout_s < 1 || w.timeout_s > TIMEOUT_MAX_S)
        return opt_error(&u, "--connect-timeout is from 1 to %d seconds", TIMEOUT_MAX_S);
    if (!w.entry[strspn(w.entry, " \t")])
        return opt_error(&u, "--entry is empty: give a command");
    if (!w.group)
        return exec_task(&w);
    if (w.task)
        return opt_error(&u, "give a TASK or a --group, not both");
    if (w.keep_alive)
        return opt_error(&u, "--keep-alive is for one task, not for a group");
    if (exec_is_interactive(w.entry))
        return opt_error(&u, "%s is interactive: give a command for the group, such as --entry \"%s -c '...'\"", w.entry, w.entry);
    return exec_group(&w);
}
