/* The service object, shared by api/service.c and api/ws.c. */
#ifndef API_SERVICE_INTERNAL_H
#define API_SERVICE_INTERNAL_H
#include "api/route.h"
#include "api/router.h"

struct osmo_service {
    engine_t *engine;
    router_t *routes, *sockets;
};
/* Websocket routes of the roles that run here. */
int ws_routes_add(router_t *r, unsigned roles);
/* The rule of the i-th, for the test that goes through all of them; false behind the last. */
struct ws_rule { const char *pattern; unsigned role; enum action action; enum scope scope; };
bool ws_route_rule(size_t i, struct ws_rule *out);
/* Canonical copy of a request's path and the decisions every request needs; used for HTTP and websocket upgrades
 * alike. */
int call_start(struct call *c, char **path, osmo_request_t *copy, osmo_error_t *err);
/* A connection that another replica carries here: who the peer is, it says. c->rq becomes *seen then, with that peer. OSMO_EDENIED: it is
 * none, and is refused. */
int call_carried(struct call *c, osmo_request_t *seen, char peer[64], osmo_error_t *err);
void call_clear(struct call *c);
/* Once it is known who is asking: handlers see no header by which somebody says who it is. Until call_clear(). */
int call_strip(struct call *c);
#endif
