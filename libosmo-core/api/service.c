/* include/osmo/service.h: bytes in, bytes out. Finds the route, proves the identity, runs the handler,
    writes the envelope.
 * Called by servers, embedders, tests and fuzzers. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/guard.h"
#include "api/service_internal.h"
#include "base/cleanup.h"
#include "engine/audit.h"
#include "engine/router.h"
#include "engine/vault.h"

#define MAX_PATH_BYTES 8192

/* ---- life cycle ---- */

static int routes_build(osmo_service_t *s) {
    s->routes = router_new();
    s->sockets = router_new();
    if (!s->routes || !s->sockets)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route *row = &api_routes[i];
        int rc = row->role & s->engine->roles ? router_add(s->routes, row->method, row->pattern,
                                                           row->flags & ROUTE_REST, row) : 0;
        if (rc < 0)
            return rc;
    }
    return ws_routes_add(s->sockets, s->engine->roles);
}

int osmo_service_open(const osmo_service_options_t *options, osmo_service_t **out, osmo_error_t *err) {
    if (!options || !out || options->size < sizeof *options)
        return osmo_error_set(err, OSMO_EINVAL,
                              "service options are missing or of another library version; set options.size");
    osmo_service_t *s = calloc(1, sizeof *s);
    if (!s)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    int rc = engine_open(options, &s->engine, err);
    if (rc >= 0) {
        rc = routes_build(s);
        if (rc < 0)
            osmo_error_set(err, rc, "cannot build the route table: %s", osmo_error_name(rc));
    }
    if (rc < 0) {
        osmo_service_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void osmo_service_close(osmo_service_t *service) {
    if (!service)
        return;
    if (service->engine)
        engine_close(service->engine);
    router_free(service->routes);
    router_free(service->sockets);
    free(service);
}

int osmo_service_reload(osmo_service_t *service, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    audit_reopen(service->engine);
    int keys = vault_read_again(service->engine, &why), rc = engine_reload(service->engine, err);
    return rc < 0 || keys >= 0 ? rc : osmo_error_set(err, keys, "%s", why.text);
}

int osmo_service_set_base_url(osmo_service_t *service, const char *url, osmo_error_t *err) {
    return engine_set_base_url(service->engine, url, err);
}

char *osmo_service_take_admin_token(osmo_service_t *service) {
    return auth_take_admin_token(service->engine);
}

/* ---- one request ---- */

int call_start(struct call *c, char **path, osmo_request_t *copy, osmo_error_t *err) {
    const char *raw = c->rq->path ? c->rq->path : "";
    size_t len = strlen(raw);
    if (len > MAX_PATH_BYTES)
        return osmo_error_set(err, OSMO_ELIMIT, "the path is longer than %d bytes", MAX_PATH_BYTES);
    if (!utf8_valid(raw, len))
        return osmo_error_set(err, OSMO_EINVAL, "the path is not UTF-8");
    *path = path_canonical(raw);
    if (!*path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *copy = *c->rq;
    copy->path = *path;
    copy->method = copy->method ? copy->method : "GET";
    copy->query = copy->query ? copy->query : "";
    c->rq = copy;
    return 0;
}

int call_carried(struct call *c, osmo_request_t *seen, char peer[64], osmo_error_t *err) {
    int rc = router_peer(c->engine, c->rq, peer, err);
    if (rc <= 0)
        return rc;
    *seen = *c->rq;
    seen->peer = peer;
    c->rq = seen;
    return 0;
}

void call_clear(struct call *c) {
    identity_clear(&c->who);
    map_free(c->query);
    free(c->error_workflow_id);
    free(c->error_message);
    free(c->base_url);
    free(c->resource);
    free(c->headers);
}

/* Routes that are open may have a proof of their own in it: the door for other replicas does. */
static bool is_kept(const struct call *c, const char *name) {
    return !auth_is_identity_header(name) || (c->route && c->route->flags & ROUTE_OPEN && !strcmp(name, "authorization"));
}

int call_strip(struct call *c) {
    size_t n = 0, kept = 0;
    const char *const *h = c->rq->headers;
    while (h && h[n] && h[n + 1])
        n += 2;
    c->headers = calloc(n + 1, sizeof *c->headers);
    if (!c->headers)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < n; i += 2) {
        if (!is_kept(c, h[i]))
            continue;
        c->headers[kept++] = h[i];
        c->headers[kept++] = h[i + 1];
    }
    c->seen = *c->rq;
    c->seen.headers = c->headers;
    c->rq = &c->seen;
    return 0;
}

static int check_body(struct call *c, const struct route *row, osmo_error_t *err) {
    uint64_t limit = row->max_body ? row->max_body : ROUTE_SMALL_BODY;
    if (c->rq->body_len > limit)
        return osmo_error_set(err, OSMO_ELIMIT, "the request body is %zu bytes long; %s %s takes at most %llu",
                              c->rq->body_len, row->method, row->pattern, (unsigned long long)limit);
    return 0;
}

static int run_route(struct call *c, const struct route *row, osmo_error_t *err) {
    c->route = row;
    int rc = check_body(c, row, err);
    if (rc >= 0 && !(row->flags & ROUTE_OPEN)) {
        rc = guard_identify(c, auth_identify, err);
        if (rc >= 0)
            rc = call_authorize(c, row->action, row->scope, row->pattern, err);
    }
    if (rc < 0)
        return rc;
    c->user = c->who.user ? c->who.user : "";
    rc = call_strip(c);
    if (rc < 0)
        return rc;
    if (version_gate(c))
        return 0;
    rc = query_parse(c->rq->query, &c->query, err);
    return rc < 0 ? rc : row->handler(c, err);
}

static int handle(osmo_service_t *s, struct call *c, osmo_error_t *err) {
    _cleanup_free_ char *path = NULL;
    osmo_request_t copy;
    const osmo_request_t *original = c->rq;
    struct router_match m;
    int rc = call_start(c, &path, &copy, err);
    if (rc >= 0)
        rc = router_find(s->routes, c->rq->method, path, &m);
    if (rc >= 0) {
        for (size_t i = 0; i < m.nparams; i++)
            c->params[i] = m.params[i];
        if (m.row)
            rc = run_route(c, m.row, err);
        else
            rc = answer_detail(c, m.other_method ? 405 : 404, m.other_method ? "Method Not Allowed" : "Not Found");
        router_match_clear(&m);
    }
    if (rc < 0 && c->rs->status != 422)
        answer_error(c, rc, err);
    c->rq = original;
    return 0;
}

void osmo_service_handle(osmo_service_t *service, const osmo_request_t *request, osmo_response_t *response) {
    struct call c = { .engine = service->engine, .rq = request, .rs = response };
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_request_t seen;
    char peer[64];
    answer_init(response);
    if (call_carried(&c, &seen, peer, &err) < 0)
        answer_error(&c, err.code, &err);
    else
        handle(service, &c, &err);
    guard_record(&c, c.rq, c.route ? c.route->action : ACTION_NONE, false);
    call_clear(&c);
}

uint64_t osmo_service_body_limit(osmo_service_t *service, const char *method, const char *path, int *to_file) {
    _cleanup_free_ char *canonical = strlen(path) <= MAX_PATH_BYTES ? path_canonical(path) : NULL;
    struct router_match m;
    uint64_t limit = ROUTE_SMALL_BODY;
    *to_file = 0;
    if (!canonical || router_find(service->routes, method, canonical, &m) < 0)
        return limit;
    const struct route *row = m.row;
    if (row) {
        limit = row->max_body ? row->max_body : ROUTE_SMALL_BODY;
        *to_file = !!(row->flags & ROUTE_BODY_FILE);
    }
    router_match_clear(&m);
    return limit;
}

/* ---- answers and streams ---- */

#define SECRET_ANSWER_MAX (64u << 10) /* none with a token is longer */

void osmo_response_clear(osmo_response_t *response) {
    for (char **h = response->headers; h && *h; h++)
        free(*h);
    free(response->headers);
    free(response->content_type);
    if (response->body && response->body_len <= SECRET_ANSWER_MAX)
        explicit_bzero(response->body, response->body_len);
    free(response->body);
    if (response->body_fd >= 0)
        close(response->body_fd);
    if (response->stream)
        response->stream->close(response->stream);
    answer_init(response);
}

ssize_t osmo_stream_read(osmo_stream_t *stream, char *data, size_t max) {
    return max ? stream->read(stream, data, max) : 0;
}
