/* Websockets to the router; see actions.h. They carry the task's token and the cookie that names the router's replica. */
#include <stdlib.h>
#include <string.h>

#include "actions.h"
#include "base/cleanup.h"

#define RETRY_MS 1000
#define URL_MAX 8192

static void try_now(struct dial *d, char *bearer) {
    const char *headers[3] = { NULL };
    size_t n = 0;
    _cleanup_free_ char *authorization = bearer ? str_printf("%s: %s", d->a->c->o.token_header, bearer) : NULL;
    if (authorization)
        headers[n++] = authorization;
    if (d->cookie)
        headers[n++] = d->cookie;
    const ws_options_t o = { .url = d->url, .headers = headers, .max_queue = WS_PUMP_QUEUE };
    d->tries--;
    if (d->attempt(d->ctx, &o) < 0)
        dial_failed(d, 0, "cannot connect");
}

static void unlink_waiting(struct dial *d) {
    struct dial **p = &d->a->waiting;
    while (*p && *p != d)
        p = &(*p)->next;
    if (*p)
        *p = d->next;
    d->waits = false;
}

static void try_next(void *ctx) {
    struct dial *d = ctx;
    char *bearer = NULL;
    d->timer = 0;
    if (!logger_link_bearer(d->a->link, &bearer, true)) {
        d->waits = true;
        d->next = d->a->waiting;
        d->a->waiting = d;
        return;
    }
    try_now(d, bearer);
    free(bearer);
}

void dial_token_ready(struct actions *a) {
    struct dial *waiting = a->waiting;
    a->waiting = NULL;
    while (waiting) { /* an attempt may stop this one, but none of the others */
        struct dial *d = waiting;
        char *bearer = NULL;
        waiting = d->next;
        d->waits = false;
        logger_link_bearer(a->link, &bearer, false);
        try_now(d, bearer); /* without one the router says so */
        free(bearer);
    }
}

static char *make_url(const struct ctrl *c, const struct meeting *at, enum action_kind kind) {
    buf_t b = BUF_INIT(URL_MAX);
    size_t len = strlen(at->router_address);
    while (len && at->router_address[len - 1] == '/')
        len--;
    buf_append(&b, at->router_address, len);
    buf_printf(&b, "/api/router/%s/", action_kind_name(kind));
    url_encode(c->o.workflow, &b);
    buf_puts(&b, "/backend/");
    url_encode(at->key, &b);
    char *url = buf_steal(&b, NULL);
    buf_free(&b);
    return url;
}

int dial_start(struct dial *d, struct actions *a, const struct meeting *at, enum action_kind kind, int tries,
               int (*attempt)(void *ctx, const ws_options_t *o), void (*gave_up)(void *ctx, const char *reason), void *ctx) {
    *d = (struct dial){ .a = a, .tries = tries, .attempt = attempt, .gave_up = gave_up, .ctx = ctx };
    d->url = make_url(a->c, at, kind);
    d->cookie = *at->cookie ? str_printf("Cookie: %s", at->cookie) : NULL;
    d->timer = d->url && (d->cookie || !*at->cookie) ? ws_loop_after(a->loop, 0, try_next, d) : 0;
    if (d->timer)
        return 0;
    dial_stop(d);
    return OSMO_ENOMEM;
}

/* Asking again would not help. */
static bool is_final(int http_status) {
    return http_status >= 400 && http_status < 500 && http_status != 408 && http_status != 425 && http_status != 429;
}

void dial_failed(struct dial *d, int http_status, const char *reason) {
    if (!is_final(http_status) && d->tries > 0) {
        d->timer = ws_loop_after(d->a->loop, RETRY_MS, try_next, d);
        if (d->timer)
            return;
    }
    void (*gave_up)(void *, const char *) = d->gave_up;
    void *ctx = d->ctx;
    dial_stop(d);
    gave_up(ctx, reason);
}

void dial_stop(struct dial *d) {
    if (d->timer)
        ws_loop_cancel(d->a->loop, d->timer);
    d->timer = 0;
    if (d->waits)
        unlink_waiting(d);
    free(d->url);
    free(d->cookie);
    d->url = d->cookie = NULL;
}
