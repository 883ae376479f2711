/* See exec_session.h.
 *
 * A peer that knows OSMO 6.4 only has a terminal there, whatever is here: its stream is bytes, and ^D is how input ends. Ours says
 * {"extensions":…} before anything else; then, without a terminal here there is none there: stdout and stderr come
 * apart, an empty message ends the input. */
#include "exec_session.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crypto.h"

#define SILENCE_MS 5000 /* so long input waits for the other side's first word */
#define EOT "\x04"

struct exec_session {
    ws_loop_t *loop;
    struct ws_pump *pump;
    struct exec_hooks hooks;
    bool tty, began, ours, input_over, ended;
    char last;              /* byte of the input */
    uint64_t timer;
    char size[160];
    size_t size_len;
};

/* ---- pure ---- */

size_t exec_size_frame(char out[160], int rows, int cols, bool tty, bool escape) {
    static const char mark[] = "\0RESIZE:";
    size_t at = 0;
    if (escape) {
        memcpy(out, mark, sizeof mark - 1);
        at = sizeof mark - 1;
    }
    int n = snprintf(out + at, 160 - at, "{\"Rows\":%d,\"Cols\":%d", rows, cols);
    at += (size_t)n;
    if (!escape)
        at += (size_t)snprintf(out + at, 160 - at, ",\"Extensions\":\"" EXEC_EXTENSIONS "\"%s", tty ? "" : ",\"Tty\":false");
    out[at++] = '}';
    return at;
}

size_t exec_signal_frame(char out[64], int number) {
    int n = snprintf(out + 1, 63, "SIGNAL:{\"Signal\":%d}", number);
    out[0] = '\0';
    return (size_t)n + 1;
}

int exec_status_of(const char *reason) {
    int64_t n;
    return str_starts(reason, "exit ") && str_to_i64(reason + 5, &n) && n >= 0 && n <= 255 ? (int)n : -1;
}

bool exec_is_interactive(const char *entry) {
    static const char *const shells[] = { "bash", "sh", "zsh", "fish", "tcsh", "csh", "ksh", "dash" };
    char word[64];
    const char *p = entry + strspn(entry, " \t");
    size_t n = strcspn(p, " \t");
    if (p[n + strspn(p + n, " \t")]) /* it is told what to do */
        return false;
    while (memchr(p, '/', n)) {
        size_t skip = strcspn(p, "/") + 1;
        p += skip;
        n -= skip;
    }
    snprintf(word, sizeof word, "%.*s", (int)n, p);
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        if (str_eq(word, shells[i]))
            return true;
    }
    return false;
}

/* ---- the stream ---- */

static void end_input(struct exec_session *s) {
    if (!s->began || !s->input_over)
        return; /* how it is told, we do not know yet */
    if (s->ours && !s->tty)
        ws_pump_send(s->pump, "", 0, true);
    else if (!s->ours)
        ws_pump_send(s->pump, EOT EOT, s->last == '\n' ? 1 : 2, true); /* the first ends a line that is not complete */
}

static void begin(struct exec_session *s) {
    if (s->began)
        return;
    s->began = true;
    if (s->timer)
        ws_loop_cancel(s->loop, s->timer);
    s->timer = 0;
    ws_pump_go(s->pump);
    if (s->hooks.began)
        s->hooks.began(s->hooks.ctx);
    end_input(s);
}

static void on_silence(void *ctx) {
    struct exec_session *s = ctx;
    s->timer = 0;
    ws_pump_go(s->pump);
    if (s->hooks.began && s->tty)
        s->hooks.began(s->hooks.ctx);
}

static void on_opened(void *ctx, const char *extensions) {
    struct exec_session *s = ctx;
    (void)extensions;
    ws_pump_send(s->pump, s->size, s->size_len, true);
    s->timer = ws_loop_after(s->loop, SILENCE_MS, on_silence, s);
}

static void error_output(struct exec_session *s, const char *text, size_t len) {
    buf_t data = BUF_INIT(16u << 20);
    if (crypto_base64_decode(text, len, &data, NULL) == 0 && data.len) {
        if (s->hooks.output)
            s->hooks.output(s->hooks.ctx, data.data, data.len, true);
        else
            ws_pump_error(s->pump, data.data, data.len);
    }
    buf_free(&data);
}

static bool on_text(void *ctx, const char *data, size_t len) {
    struct exec_session *s = ctx;
    json_t *o = NULL;
    if (json_parse(data, len, &o, NULL) < 0)
        return true;
    const json_t *error = json_get(o, "stderr");
    if (json_get_str(o, "extensions"))
        s->ours = true;
    if (json_str(error))
        error_output(s, json_str(error), json_str_len(error));
    json_free(o);
    begin(s);
    return true;
}

static void on_output(void *ctx, const char *data, size_t len) {
    struct exec_session *s = ctx;
    begin(s);
    if (s->hooks.output)
        s->hooks.output(s->hooks.ctx, data, len, false);
}

static size_t on_input(void *ctx, char *data, size_t len, size_t cap) {
    struct exec_session *s = ctx;
    (void)cap;
    s->last = data[len - 1];
    return len;
}

static void on_input_over(void *ctx) {
    struct exec_session *s = ctx;
    s->input_over = true;
    if (s->tty)
        ws_pump_close(s->pump, 1000, ""); /* the terminal is gone */
    else
        end_input(s);
}

static void on_ended(void *ctx, int code, int http_status, const char *reason) {
    struct exec_session *s = ctx;
    struct exec_hooks hooks = s->hooks;
    if (s->timer)
        ws_loop_cancel(s->loop, s->timer);
    free(s);
    if (hooks.ended)
        hooks.ended(hooks.ctx, code == 1000 ? exec_status_of(reason) : -1, code, http_status, reason);
}

int exec_session_start(ws_loop_t *l, const struct dial *d, const struct exec_hooks *h, int in, int out, int err, bool tty, int rows,
    int cols,
                       struct exec_session **session, osmo_error_t *error) {
    struct exec_session *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(error, OSMO_ENOMEM, "out of memory");
    s->loop = l;
    s->hooks = *h;
    s->tty = tty;
    s->input_over = in < 0;
    s->last = '\n';
    s->size_len = exec_size_frame(s->size, rows, cols, tty, false);
    const struct ws_pump_options o = {
        .loop = l, .in = in, .out = out, .err = err, .held = true, .opened = on_opened, .text = on_text, .output = on_output,
        .input = on_input, .input_over = on_input_over, .ended = on_ended, .ctx = s
    };
    int rc = ws_pump_start(&o, &d->options, &s->pump, error);
    if (rc < 0) {
        free(s);
        return rc;
    }
    *session = s;
    return OSMO_OK;
}

void exec_session_resize(struct exec_session *s, int rows, int cols) {
    char frame[160];
    ws_pump_send(s->pump, frame, exec_size_frame(frame, rows, cols, true, true), true);
}

bool exec_session_signal(struct exec_session *s, int number) {
    char frame[64];
    if (s->ours)
        return ws_pump_send(s->pump, frame, exec_signal_frame(frame, number), true) == 0;
    const char *key = number == 2 ? "\x03" : number == 3 ? "\x1c" : NULL; /* what its terminal makes of it */
    return s->began && key && ws_pump_send(s->pump, key, 1, true) == 0;
}

void exec_session_close(struct exec_session *s) { ws_pump_close(s->pump, 1000, ""); }

bool exec_session_began(const struct exec_session *s) { return s->began; }
