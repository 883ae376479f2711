/* Limits and the audit log around requests; see guard.h. */
#include "api/guard.h"
#include <stdio.h>
#include <string.h>
#include "api/router.h"
#include "base/cleanup.h"
#include "engine/audit.h"
#include "engine/limits.h"

/* Who counts as the peer: behind a trusted gateway the client that it names. The last entry is the gateway's own, what stands before it
 * is what the client claims. */
static const char *peer_of(struct call *c, const osmo_request_t *rq, char text[64]) {
    const char *chain = request_header(rq, "x-forwarded-for");
    if (!chain || !auth_trusts_gateway(c->engine, rq->peer))
        return rq->peer;
    const char *comma = strrchr(chain, ','), *start = comma ? comma + 1 : chain;
    start += strspn(start, " \t");
    size_t len = strcspn(start, " \t");
    if (len == 0 || len >= 64)
        return rq->peer;
    snprintf(text, 64, "%.*s", (int)len, start);
    return text;
}

static int too_often(struct call *c, int64_t wait_s, const char *what, osmo_error_t *err) {
    c->retry_after_s = wait_s;
    return osmo_error_set(err, OSMO_EBUSY, "%s: try again in %lld second%s", what, (long long)wait_s, wait_s == 1 ? "" : "s");
}

int guard_may_prove(struct call *c, osmo_error_t *err) {
    char text[64];
    int64_t wait_s;
    if (limits_may_prove(c->engine, peer_of(c, c->rq, text), &wait_s))
        return 0;
    return too_often(c, wait_s, "too many tokens from this address were refused", err);
}

void guard_refused(struct call *c) {
    char text[64];
    limits_refused(c->engine, peer_of(c, c->rq, text));
}

int guard_identify(struct call *c, identify_fn identify, osmo_error_t *err) {
    int64_t wait_s;
    /* Without a token nothing is tried. */
    bool proof = request_header(c->rq, "authorization") || request_header(c->rq, "x-osmo-auth");
    int rc = proof ? guard_may_prove(c, err) : 0;
    if (rc < 0)
        return rc;
    rc = identify(c->engine, c->rq, &c->who, err);
    if (proof && rc == OSMO_EUNAUTH && !c->who.user) /* one that has ended is no guess: tasks hold on to theirs for a while */
        guard_refused(c);
    if (rc >= 0 && !limits_take(c->engine, &c->who, &wait_s))
        return too_often(c, wait_s, "too many requests of this user", err);
    return rc;
}

static bool changes(const char *method) {
    return method && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

char *guard_shown_path(const char *path) {
    static const char routers[] = "/api/router/";
    char *shown = path_canonical(path ? path : "");
    char *last = shown && str_starts(shown, routers) ? strrchr(shown, '/') : NULL;
    if (last && last >= shown + sizeof routers - 1)
        *last = '\0';
    return shown;
}

void guard_record(struct call *c, const osmo_request_t *rq, enum action action, bool upgrade) {
    int status = upgrade && c->rs->status == 0 ? 101 : c->rs->status;
    bool refused = status == 401 || status == 403 || status == 429;
    bool known = c->route || upgrade;
    /* Services talk to each other all the time: that is ACTION_NONE and open. */
    bool internal = c->route && c->route->flags & ROUTE_OPEN && action == ACTION_NONE;
    if (!refused && (internal || !known || (!upgrade && !changes(rq->method) && action != ACTION_AUTH_REFRESH)))
        return;
    char text[64];
    osmo_request_t seen = *rq;
    _cleanup_free_ char *path = guard_shown_path(rq->path);
    seen.path = path ? path : "";
    seen.peer = peer_of(c, rq, text);
    bool allowed = !refused && (action != ACTION_AUTH_REFRESH || status < 400);
    audit_write(c->engine, &(struct audit_event){ .rq = &seen, .who = &c->who, .action = action_name(action), .resource = c->resource,
                                                  .allowed = allowed, .must_not_wait = upgrade, .status = status });
}
