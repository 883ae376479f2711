/* Websocket upgrades: which path opens which session, and who may. The sessions themselves live in engine/.
 * Until a session is open the network thread waits for us, because the library it runs answers an upgrade at once or never. So
 * nothing here may block: path, token and offers are looked at, and what takes the database comes when the session is open,
 * which refuses by a close frame. */
#include <stdlib.h>
#include <string.h>

#include "api/service_internal.h"
#include "base/cleanup.h"

struct osmo_ws { agent_session_t *agent; logger_session_t *logger; };

struct ws_route {
    const char *pattern;
    unsigned role;
    int agent_socket;      /* an enum agent_socket, or -1 */
    int (*open)(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws, const char **extensions,
                osmo_error_t *err);
};

static const char *offered(struct call *c) {
    const char *h = request_header(c->rq, "x-osmo-extensions");
    return h ? h : "";
}

static int open_agent(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                      const char **extensions, osmo_error_t *err) {
    if (!identity_has_role(&c->who, "osmo-backend") && !identity_has_role(&c->who, "osmo-admin"))
        return osmo_error_set(err, OSMO_EDENIED,
                              "access denied: a backend operator needs a token with role osmo-backend");
    return agent_open(c->engine, (enum agent_socket)r->agent_socket, c->params[0], conn, offered(c), &ws->agent,
                      extensions, err);
}

static bool is_that_task(const struct identity *who, const char *workflow, const char *task, int64_t retry) {
    return who->workflow_id && who->task_name && str_eq(who->workflow_id, workflow) && str_eq(who->task_name, task) &&
        who->retry_id == retry;
}

static int open_logger(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                       const char **extensions, osmo_error_t *err) {
    (void)r;
    int64_t retry;
    if (!str_to_i64(c->params[2], &retry) || retry < 0)
        return osmo_error_set(err, OSMO_EINVAL, "retry id %s is not a number", c->params[2]);
    if (!identity_has_role(&c->who, "osmo-admin") && !is_that_task(&c->who, c->params[0], c->params[1], retry))
        return osmo_error_set(err, OSMO_EDENIED,
                              "access denied: the token is not the one of task %s of workflow %s, attempt %lld",
                              c->params[1], c->params[0], (long long)retry);
    return logger_open(c->engine, c->params[0], c->params[1], retry, conn, offered(c), &ws->logger, extensions, err);
}

static int open_router(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                       const char **extensions, osmo_error_t *err) {
    (void)c, (void)r, (void)conn, (void)ws, (void)extensions;
    return osmo_error_set(err, OSMO_EUNAVAIL, "interactive access to tasks is not available on this service");
}

static const struct ws_route ws_routes[] = {
    { "/api/agent/listener/control/backend/{}", ROLE_AGENT, AGENT_CONTROL, open_agent },
    { "/api/agent/listener/pod/backend/{}", ROLE_AGENT, AGENT_POD, open_agent },
    { "/api/agent/listener/node/backend/{}", ROLE_AGENT, AGENT_NODE, open_agent },
    { "/api/agent/listener/event/backend/{}", ROLE_AGENT, AGENT_EVENT, open_agent },
    { "/api/agent/listener/heartbeat/backend/{}", ROLE_AGENT, AGENT_HEARTBEAT, open_agent },
    { "/api/agent/listener/message/backend/{}", ROLE_AGENT, AGENT_MESSAGE, open_agent },
    { "/api/agent/worker/backend/{}", ROLE_AGENT, AGENT_WORKER, open_agent },
    { "/api/logger/workflow/{}/osmo_ctrl/{}/retry_id/{}", ROLE_LOGGER, -1, open_logger },
    { "/api/router/{}", ROLE_ROUTER, -1, open_router },
};

int ws_routes_add(router_t *r, unsigned roles) {
    for (size_t i = 0; i < ARRAY_SIZE(ws_routes); i++) {
        bool rest = ws_routes[i].open == open_router;
        int rc = ws_routes[i].role & roles ? router_add(r, "GET", ws_routes[i].pattern, rest, &ws_routes[i]) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int upgrade(struct call *c, const struct ws_route *r, uint64_t conn, struct osmo_ws *ws,
                   const char **extensions, osmo_error_t *err) {
    if (!auth_is_ready(c->engine))
        return osmo_error_set(err, OSMO_EUNAVAIL, "the service is making its signing key: connect again in a moment");
    int rc = auth_identify(c->engine, c->rq, &c->who, err);
    return rc < 0 ? rc : r->open(c, r, conn, ws, extensions, err);
}

/* 0 with *found false when the path is not a websocket of this process. */
static int find_and_upgrade(osmo_service_t *s, struct call *c, uint64_t conn, struct osmo_ws *ws,
                            const char **extensions, bool *found, osmo_error_t *err) {
    _cleanup_free_ char *path = NULL;
    osmo_request_t copy;
    struct router_match m;
    const osmo_request_t *original = c->rq;
    int rc = call_start(c, &path, &copy, err);
    if (rc >= 0)
        rc = router_find(s->sockets, "GET", path, &m);
    if (rc >= 0) {
        for (size_t i = 0; i < m.nparams; i++)
            c->params[i] = m.params[i];
        *found = m.row != NULL;
        if (m.row)
            rc = upgrade(c, m.row, conn, ws, extensions, err);
        router_match_clear(&m);
    }
    if (rc < 0)
        answer_error(c, rc, err);
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
    osmo_ws_t *made = calloc(1, sizeof *made);
    if (!made)
        answer_error(&c, OSMO_ENOMEM, NULL);
    else if (find_and_upgrade(service, &c, conn, made, extensions, &found, &err) >= 0) {
        if (found)
            *ws = STEAL(made);
        else if (answer_detail(&c, 404, "Not Found") < 0)
            response->status = 404;
    }
    free(made);
    call_clear(&c);
}

void osmo_ws_opened(osmo_ws_t *ws) {
    if (ws->agent)
        agent_opened(ws->agent);
    else
        logger_opened(ws->logger);
}

void osmo_ws_message(osmo_ws_t *ws, const void *data, size_t len, int binary) {
    if (ws->agent)
        agent_message(ws->agent, data, len, binary);
    else
        logger_message(ws->logger, data, len, binary);
}

void osmo_ws_closed(osmo_ws_t *ws) {
    if (ws->agent)
        agent_closed(ws->agent);
    else
        logger_closed(ws->logger);
    free(ws);
}
