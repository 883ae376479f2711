/* See router.h. */
#include "router.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"

#define KEY_TAIL 52
#define COOKIE_MAX 8192

/* ---- sessions ---- */

void session_clear(struct session *s) {
    free(s->address);
    free(s->key);
    free(s->cookie);
    *s = (struct session){ 0 };
}

int session_read(struct api *a, const json_t *answer, struct session *out) {
    const char *address = json_get_str(answer, "router_address"), *key = json_get_str(answer, "key"), *cookie = json_get_str(answer,
        "cookie");
    *out = (struct session){ 0 };
    if (!address || !key)
        return api_fail(a->json_errors, 0, "The service answered without an address and a key of the session", EXIT_SERVER_DOWN);
    *out = (struct session){ strdup(address), strdup(key), strdup(cookie ? cookie : "") };
    if (out->address && out->key && out->cookie) {
        for (size_t n = strlen(out->address); n && out->address[n - 1] == '/';)
            out->address[--n] = '\0';
        return 0;
    }
    session_clear(out);
    return api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
}

bool session_is_ours(const char *key) {
    const char *tail = strchr(key, '-');
    return tail && strlen(++tail) == KEY_TAIL && strspn(tail, "abcdefghijklmnopqrstuvwxyz234567") == KEY_TAIL;
}

char *cookie_pairs(const char *set_cookie) {
    buf_t b = BUF_INIT(COOKIE_MAX);
    buf_puts(&b, "");
    while (*set_cookie) {
        set_cookie += strspn(set_cookie, " ,");
        size_t whole = strcspn(set_cookie, ","), pair = strcspn(set_cookie, ",;");
        while (pair && set_cookie[pair - 1] == ' ')
            pair--;
        if (memchr(set_cookie, '=', pair)) /* not the rest of a date */
            buf_printf(&b, "%s%.*s", b.len ? "; " : "", (int)pair, set_cookie);
        set_cookie += whole;
    }
    char *text = buf_steal(&b, NULL);
    buf_free(&b);
    return text;
}

char *router_cookie(struct api *a, const char *address) {
    bool tls = str_starts(address, "wss:") || str_starts(address, "https:");
    const char *host = strstr(address, "://");
    _cleanup_free_ char *url = host ? str_printf("http%s%s/api/router/version", tls ? "s" : "", host) : NULL;
    buf_t all = BUF_INIT(COOKIE_MAX);
    http_request_t rq = { .method = "GET", .url = url, .timeout_ms = 10000, .connect_timeout_ms = 5000 };
    http_response_t rs = { 0 };
    if (url && http_perform(a->http, &rq, &rs, NULL) == 0 && rs.status == 200) {
        for (size_t i = 0; i < rs.headers.len; i++) {
            if (strncasecmp(rs.headers.items[i], "set-cookie:", 11) == 0)
                buf_printf(&all, "%s%s", all.len ? ", " : "", rs.headers.items[i] + 11 + strspn(rs.headers.items[i] + 11, " "));
        }
    }
    http_response_free(&rs);
    char *text = buf_steal(&all, NULL);
    buf_free(&all);
    return text;
}

/* ---- dialling ---- */

void dial_clear(struct dial *d) {
    free(d->url);
    for (size_t i = 0; i < d->headers.len; i++)
        explicit_bzero(d->headers.items[i], strlen(d->headers.items[i])); /* the login */
    strlist_free(&d->headers);
    free(d->list);
    *d = (struct dial){ 0 };
}

int dial_make(struct dial *d, struct api *a, const struct session *s, const char *family, const char *workflow, const char *key,
              const char *cookie, int64_t timeout_s) {
    buf_t url = BUF_INIT(8192);
    *d = (struct dial){ 0 };
    int code = api_headers(a, &d->headers);
    _cleanup_free_ char *pairs = cookie ? cookie_pairs(cookie) : NULL;
    _cleanup_free_ char *line = pairs && *pairs ? str_printf("Cookie: %s", pairs) : NULL;
    if (!code && ((line && strlist_add(&d->headers, line)) || strlist_add(&d->headers, "User-Agent: osmo-cli/" CLIENT_VERSION)))
        code = EXIT_USER;
    buf_printf(&url, "%s/api/router/%s/", s->address, family);
    url_encode(workflow, &url);
    buf_printf(&url, "/client/%s?timeout=%lld", key, (long long)timeout_s);
    d->url = buf_steal(&url, NULL);
    d->list = calloc(d->headers.len + 1, sizeof *d->list);
    buf_free(&url);
    if (!code && (!d->url || !d->list))
        code = api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
    for (size_t i = 0; !code && i < d->headers.len; i++)
        d->list[i] = d->headers.items[i];
    d->options = (ws_options_t){ .url = d->url, .headers = d->list };
    if (code)
        dial_clear(d);
    return code;
}

/* ---- which task, and the POST ---- */

static const json_t *lead_of(const json_t *tasks) {
    for (size_t i = 0; i < json_len(tasks); i++) {
        if (json_get_bool(json_at(tasks, i), "lead", false))
            return json_at(tasks, i);
    }
    return json_at(tasks, 0);
}

int session_task(struct api *a, const char *workflow, const char *task, char **out) {
    json_t *w = NULL;
    *out = NULL;
    if (task)
        return (*out = strdup(task)) ? 0 : EXIT_USER;
    _cleanup_free_ char *path = workflow_path(workflow, "");
    int code = api_call(a, "GET", path, NULL, &w);
    const char *name = json_get_str(lead_of(json_get(json_at(json_get(w, "groups"), 0), "tasks")), "name");
    if (!code && !(*out = str_dup(name)))
        code = api_fail(a->json_errors, 0, "The workflow has no task yet: try again when it runs, or name a task", EXIT_USER);
    json_free(w);
    return code;
}

char *session_path(const char *workflow, const char *what, const char *name, const char *query) {
    buf_t path = BUF_INIT(64u << 10);
    buf_puts(&path, "/api/workflow/");
    url_encode(workflow, &path);
    buf_printf(&path, "/%s/", what);
    url_encode(name, &path);
    buf_puts(&path, query);
    char *text = buf_steal(&path, NULL);
    buf_free(&path);
    return text;
}

int session_post(struct api *a, const char *workflow, const char *what, const char *name, const char *query, json_t **answer) {
    _cleanup_free_ char *path = session_path(workflow, what, name, query);
    return path ? api_call(a, "POST", path, NULL, answer) : api_fail(a->json_errors, 0, "out of memory", EXIT_USER);
}

bool status_is_passing(int status) {
    return status == 0 || status == 408 || status == 425 || status == 429 || status >= 500;
}

int session_exit_code(int code, int http_status) {
    if (http_status)
        return http_status == 429 ? EXIT_TRY_LATER : http_status >= 500 ? EXIT_SERVER_DOWN : EXIT_USER;
    return code == 1000 ? 0 : code == 4000 ? EXIT_USER : EXIT_SERVER_DOWN;
}

/* ---- signals ---- */

static struct { void (*fn)(void *ctx, int number); void *ctx; } signals;

static void on_signals(void *ctx, int fd, int events) {
    struct signalfd_siginfo info;
    (void)ctx, (void)events;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        signals.fn(signals.ctx, (int)info.ssi_signo);
}

int loop_signals(ws_loop_t *l, void (*fn)(void *ctx, int number), void *ctx) {
    static int fd = -1;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (fd < 0)
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signals.fn = fn;
    signals.ctx = ctx;
    return fd < 0 ? -1 : ws_loop_watch(l, fd, WS_FD_READ, on_signals, NULL);
}
