/* Websocket upgrades: which path opens which session, and who may. The sessions themselves live in engine/.
 * Until a session is open the network thread waits for us, because the library it runs answers an upgrade at once or never. So
 * nothing here may block: path, token and offers are looked at, and what takes the database comes when the session is open,
 * which refuses by a close frame. */
#include <stdlib.h>
#include <string.h>

#include "api/guard.h"
#include "api/service_internal.h"
#include "base/cleanup.h"
#include "engine/auth_sessions.h"
#include "engine/router.h"

struct osmo_ws {
    agent_session_t *agent;
    logger_session_t *logger;
    router_session_t *router;
    struct auth_session *session;  /* NULL of a browser's connection to the web server of a task */
    engine_t *engine;
    const struct ws_route *route;  /* the same */
};

struct ws_route {
    const char *pattern;
    unsigned role;
    enum action action;    /* its rule, as that of a struct route */
    enum scope scope;
    int kind;              /* an enum agent_socket, an enum router_action, or -1 */
    int (*open)(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws, const char **extensions,
                osmo_error_t *err);
};

static const char *offered(struct call *c) {
    const char *h = request_header(c->rq, "x-osmo-extensions");
    return h ? h : "";
}

static int open_agent(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                      const char **extensions, osmo_error_t *err) {
    return agent_open(c->engine, (enum agent_socket)r->kind, c->params[0], conn, offered(c), &ws->agent,
                      extensions, err);
}

static int open_logger(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                       const char **extensions, osmo_error_t *err) {
    (void)r;
    int64_t retry;
    if (!str_to_i64(c->params[2], &retry) || retry < 0)
        return osmo_error_set(err, OSMO_EINVAL, "retry id %s is not a number", c->params[2]);
    return logger_open(c->engine, c->params[0], c->params[1], retry, conn, offered(c), &ws->logger, extensions, err);
}

static int open_router(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                       const char **extensions, osmo_error_t *err) {
    (void)extensions;
    struct router_upgrade u = { .action = (enum router_action)r->kind, .ctrl = r->scope == SCOPE_SESSION, .workflow = c->params[0],
                                .key = c->params[1], .wait_s = ROUTER_WAIT_S, .rq = c->rq };
    int rc = query_parse(c->rq->query, &c->query, err);
    if (rc >= 0)
        rc = query_int(c, "timeout", ROUTER_WAIT_S, &u.wait_s, err);
    return rc < 0 ? rc : router_open(c->engine, &u, conn, &ws->router, err);
}

#define LISTENER(name) "/api/agent/listener/" name "/backend/{}", ROLE_AGENT, ACTION_INTERNAL_OPERATOR, SCOPE_BACKEND
/* Which pool it is is not known on this thread: any passes here, and the workflow's own is asked for when the session is open. */
#define CLIENT(name) "/api/router/" name "/{}/client/{}", ROLE_ROUTER
#define CTRL(name) "/api/router/" name "/{}/backend/{}", ROLE_ROUTER, ACTION_INTERNAL_ROUTER, SCOPE_SESSION

static const struct ws_route ws_routes[] = {
    { LISTENER("control"), AGENT_CONTROL, open_agent },
    { LISTENER("pod"), AGENT_POD, open_agent },
    { LISTENER("node"), AGENT_NODE, open_agent },
    { LISTENER("event"), AGENT_EVENT, open_agent },
    { LISTENER("heartbeat"), AGENT_HEARTBEAT, open_agent },
    { LISTENER("message"), AGENT_MESSAGE, open_agent },
    { "/api/agent/worker/backend/{}", ROLE_AGENT, ACTION_INTERNAL_OPERATOR, SCOPE_BACKEND, AGENT_WORKER, open_agent },
    { "/api/logger/workflow/{}/osmo_ctrl/{}/retry_id/{}", ROLE_LOGGER, ACTION_INTERNAL_LOGGER, SCOPE_ATTEMPT, -1, open_logger },
    { CLIENT("exec"), ACTION_WORKFLOW_EXEC, SCOPE_WORKFLOW, ROUTER_EXEC, open_router },
    { CLIENT("portforward"), ACTION_WORKFLOW_PORT_FORWARD, SCOPE_WORKFLOW, ROUTER_PORTFORWARD, open_router },
    { CLIENT("rsync"), ACTION_WORKFLOW_RSYNC, SCOPE_WORKFLOW, ROUTER_RSYNC, open_router },
    { CTRL("exec"), ROUTER_EXEC, open_router },
    { CTRL("portforward"), ROUTER_PORTFORWARD, open_router },
    { CTRL("rsync"), ROUTER_RSYNC, open_router },
    { CTRL("webserver"), ROUTER_WEBSERVER, open_router },
};

bool ws_route_rule(size_t i, struct ws_rule *out) {
    if (i >= ARRAY_SIZE(ws_routes))
        return false;
    *out = (struct ws_rule){ ws_routes[i].pattern, ws_routes[i].role, ws_routes[i].action, ws_routes[i].scope };
    return true;
}

int ws_routes_add(router_t *r, unsigned roles) {
    for (size_t i = 0; i < ARRAY_SIZE(ws_routes); i++) {
        int rc = ws_routes[i].role & roles ? router_add(r, "GET", ws_routes[i].pattern, false, &ws_routes[i]) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What the token allows is asked again when the session is open: the store may know better. A task's own session ends with its attempt; who
 * may open it otherwise may do everything. */
static int remember(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws, osmo_error_t *err) {
    bool own = r->scope == SCOPE_ATTEMPT || r->scope == SCOPE_SESSION;
    const char *resource = own ? NULL : r->scope == SCOPE_WORKFLOW ? "pool/" : c->resource;
    return auth_session_new(c->engine, conn, &c->who, own ? ACTION_NONE : r->action, resource, &ws->session, err);
}

static int upgrade(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                   const char **extensions, osmo_error_t *err) {
    int rc = guard_identify(c, auth_identify_now, err);
    if (rc >= 0)
        rc = call_authorize_now(c, r->action, r->scope, r->pattern, err);
    if (rc >= 0)
        rc = remember(c, r, conn, ws, err);
    if (rc >= 0)
        rc = call_strip(c);
    ws->engine = c->engine;
    ws->route = r;
    return rc < 0 ? rc : r->open(c, r, conn, ws, extensions, err);
}

/* 0 with *found false when the path is not a websocket of this process. */
static int find_and_upgrade(osmo_service_t *s, struct call *c, uint64_t conn, struct osmo_ws *ws,
                            const char **extensions, bool *found, osmo_error_t *err) {
    _cleanup_free_ char *path = NULL;
    osmo_request_t copy;
    struct router_match m;
    const osmo_request_t *original = c->rq;
    const struct ws_route *row = NULL;
    int rc = call_start(c, &path, &copy, err);
    if (rc >= 0)
        rc = router_find(s->sockets, "GET", path, &m);
    if (rc >= 0) {
        for (size_t i = 0; i < m.nparams; i++)
            c->params[i] = m.params[i];
        *found = m.row != NULL;
        row = m.row;
        if (row)
            rc = upgrade(c, row, conn, ws, extensions, err);
        router_match_clear(&m);
    }
    if (rc < 0)
        answer_error(c, rc, err);
    if (row)
        guard_record(c, original, row->action, true);
    c->rq = original;
    return rc;
}

void osmo_service_ws_open(osmo_service_t *service, const osmo_request_t *request, uint64_t conn, osmo_ws_t **ws,
                          const char **extensions, osmo_response_t *response) {
    struct call c = { .engine = service->engine, .rq = request, .rs = response };
    osmo_error_t err = OSMO_ERROR_INIT;
    bool found = false;
    *ws = NULL;
    *extensions = NULL;
    answer_init(response);
    osmo_request_t seen;
    char peer[64];
    osmo_ws_t *made = calloc(1, sizeof *made);
    if (!made)
        answer_error(&c, OSMO_ENOMEM, NULL);
    else if (call_carried(&c, &seen, peer, &err) < 0)
        answer_error(&c, err.code, &err);
    else if (find_and_upgrade(service, &c, conn, made, extensions, &found, &err) >= 0) {
        if (found)
            *ws = STEAL(made);
        else if (answer_detail(&c, 404, "Not Found") < 0)
            response->status = 404;
    }
    if (made)
        auth_session_free(made->session);
    free(made);
    call_clear(&c);
}

/* The pool is the workflow's own now, and stays what the session depends on. */
static int authorize_pool(struct osmo_ws *ws, const char *workflow, const char *pool, const struct identity *who, osmo_error_t *err) {
    struct call c = { .engine = ws->engine, .params = { workflow } };
    _cleanup_free_ char *resource = str_printf("pool/%s", pool);
    int rc = resource && identity_copy(who, &c.who) >= 0 ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = call_authorize(&c, ws->route->action, ws->route->scope, ws->route->pattern, err);
    if (rc >= 0 && auth_session_narrow(ws->session, resource) < 0)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    call_clear(&c);
    return rc;
}

static void router_session_begin(struct osmo_ws *ws) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct identity who = { 0 };
    _cleanup_free_ char *workflow = NULL, *pool = NULL;
    if (!ws->session) {
        router_opened(ws->router, &who);
        return;
    }
    if (!router_session_workflow(ws->router, &workflow, &pool))
        return;
    int rc = auth_session_identity(ws->session, &who) < 0 ? osmo_error_set(&err, OSMO_ENOMEM, "out of memory") : 0;
    if (rc >= 0 && ws->route->scope == SCOPE_WORKFLOW)
        rc = authorize_pool(ws, workflow, pool, &who, &err);
    if (rc < 0)
        router_refuse(ws->router, rc, &err);
    else
        router_opened(ws->router, &who);
    identity_clear(&who);
}

void osmo_ws_opened(osmo_ws_t *ws) {
    if (ws->session && !auth_session_opened(ws->session))
        return;
    if (ws->agent)
        agent_opened(ws->agent);
    else if (ws->logger)
        logger_opened(ws->logger);
    else
        router_session_begin(ws);
}

void osmo_ws_message(osmo_ws_t *ws, const void *data, size_t len, int binary) {
    if (!ws->session || auth_session_ended(ws->session))
        return;
    if (ws->agent)
        agent_message(ws->agent, data, len, binary);
    else if (ws->logger)
        logger_message(ws->logger, data, len, binary);
}

const char *osmo_ws_peer(const osmo_ws_t *ws) { return ws->router ? router_peer_of(ws->router) : ""; }

int osmo_ws_held(const osmo_ws_t *ws) { return ws->router ? router_held(ws->router) : 0; }

void osmo_ws_closed(osmo_ws_t *ws) {
    if (ws->agent)
        agent_closed(ws->agent);
    else if (ws->logger)
        logger_closed(ws->logger);
    else
        router_closed(ws->router);
    auth_session_free(ws->session);
    free(ws);
}

/* ---- places ---- */

osmo_place_t osmo_service_place(osmo_service_t *service, const osmo_request_t *request, osmo_elsewhere_t *where) {
    return router_place(service->engine, request, where);
}

static int open_tunnel(struct call *c, osmo_request_t *seen, char peer[64], uint64_t conn, struct osmo_ws *ws, int *status,
                       osmo_error_t *err) {
    *status = 403;
    int rc = call_carried(c, seen, peer, err);
    ws->engine = c->engine;
    return rc < 0 ? rc : router_tunnel_open(c->engine, c->rq, conn, &ws->router, status, err);
}

/* Whoever knows the host may connect: there is nobody to identify. Browsers show what is refused as it is. */
void osmo_service_tunnel_open(osmo_service_t *service, const osmo_request_t *request, uint64_t conn, osmo_ws_t **ws,
                              osmo_response_t *response) {
    struct call c = { .engine = service->engine, .rq = request, .rs = response };
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_request_t seen; /* what c refers to then */
    char peer[64];
    int status = 500;
    *ws = NULL;
    answer_init(response);
    osmo_ws_t *made = calloc(1, sizeof *made);
    int rc = made ? open_tunnel(&c, &seen, peer, conn, made, &status, &err) : osmo_error_set(&err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        *ws = STEAL(made);
    else if (answer_text(&c, status, "text/plain; charset=utf-8", err.text, strlen(err.text)) < 0)
        response->status = status;
    free(made);
    call_clear(&c);
}
