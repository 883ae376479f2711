/* Routes: one row each in api/routes.c, one handler file per noun. Handlers get a parsed request and fill an answer; no sockets. */
#ifndef API_ROUTE_H
#define API_ROUTE_H
#include "base/json.h"
#include "base/str.h"
#include "engine/engine.h"

#define ROUTE_MAX_PARAMS 6
struct call {                         /* one request on its way through a handler */
    engine_t *engine; const osmo_request_t *rq; osmo_response_t *rs;
    const char *params[ROUTE_MAX_PARAMS]; /* path parameters in order of the pattern */
    struct identity who; const char *user; /* user name for handlers */
    struct map *query;                /* name → strlist_t* */
    char *error_workflow_id;          /* for the error envelope */
};
typedef int (*handler_fn)(struct call *c, osmo_error_t *err); /* <0: the error envelope is written from err */
enum route_flags { ROUTE_OPEN = 1 /* no identity needed */, ROUTE_BODY_FILE = 2, ROUTE_TASK = 4 /* a task's token is enough */, ROUTE_BACKEND = 8, ROUTE_REST = 16 /* last param takes the rest of the path */ };
struct route { const char *method, *pattern; /* "/api/workflow/{}/logs" */ unsigned role, flags; handler_fn handler; const char *action; /* OSMO semantic action, for the authorization issue */ uint64_t max_body; };
extern const struct route api_routes[]; extern const size_t api_route_count;

/* Answer helpers */
int answer_json(struct call *c, int status, json_t *value /* taken */);
int answer_null(struct call *c);
int answer_text(struct call *c, int status, const char *content_type, const char *text, size_t len);
int answer_header(struct call *c, const char *name, const char *value);
/* Query helpers: first value or NULL; repeated values (may be NULL); booleans in any of Python's and JSON's spellings (422 detail on bad ones). */
const char *query_get(struct call *c, const char *name);
const strlist_t *query_all(struct call *c, const char *name);
int query_bool(struct call *c, const char *name, bool fallback, bool *out, osmo_error_t *err);
int query_int(struct call *c, const char *name, int64_t fallback, int64_t *out, osmo_error_t *err);
/* JSON body as an object; FastAPI-shaped 422 when it is not. */
int body_json(struct call *c, json_t **out, osmo_error_t *err);
/* 422 {"detail":[{type,loc,msg,input}]}: fills the answer and returns 0. */
int answer_unprocessable(struct call *c, const char *where, const char *field, const char *type, const char *message);
#endif
