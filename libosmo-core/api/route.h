/* Routes: one row each in api/routes.c,
    one handler file per noun. Handlers get a parsed request and fill an answer; no sockets.
 * Used by api/ only; servers see include/osmo/service.h. */
#ifndef API_ROUTE_H
#define API_ROUTE_H
#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "engine/engine.h"
#include "model/policy.h"

#define ROUTE_MAX_PARAMS 6
struct call {                         /* one request on its way through a handler */
    engine_t *engine; const osmo_request_t *rq; osmo_response_t *rs;
    const char *params[ROUTE_MAX_PARAMS]; /* path parameters in order of the pattern */
    struct identity who; const char *user; /* user name for handlers */
    struct map *query;                /* name → strlist_t* */
    char *error_workflow_id;          /* for the error envelope */
    char *error_message;              /* the same: a text longer than an osmo_error_t holds */
    char *base_url;                   /* made by call_base_url */
    const struct route *route;        /* NULL while it is not known */
    char *resource;                   /* what the rule of the route is asked about; NULL for none */
    int64_t retry_after_s;            /* of a 429, when it is known */
    osmo_request_t seen;              /* made by call_strip */
    const char **headers;             /* of it */
};
/* <0: the error envelope is written from err, unless the handler has already filled the answer (422). */
typedef int (*handler_fn)(struct call *c, osmo_error_t *err);
enum route_flags {
    ROUTE_OPEN = 1,      /* no identity needed; its action is for the audit log */
    ROUTE_BODY_FILE = 2, /* large bodies arrive in a file */
    ROUTE_REST = 4       /* last param takes the rest of the path */
};
/* On what the action of a route is done, by its path. Policies (model/policy.h) decide whether it may be. */
enum scope {
    SCOPE_NONE,     /* nothing in particular. With ACTION_NONE: for those who may do everything */
    SCOPE_POOL,     /* pool/<param 0> */
    SCOPE_WORKFLOW, /* pool/<that of workflow param 0, an id or a uuid> */
    SCOPE_SOME_POOL, /* any pool is enough */
    SCOPE_CONFIG,   /* config/<segment of the pattern behind /api/configs> */
    SCOPE_BACKEND,  /* backend/<param 0> */
    SCOPE_USER,     /* user/<param 0>; oneself always counts as what one has for oneself */
    SCOPE_STORAGE,  /* as SCOPE_WORKFLOW; for a task's token its own workflow, whatever its roles, and nothing that others write */
    SCOPE_ATTEMPT,  /* of a task's token: attempt <param 2> of task <param 1> of workflow <param 0> */
    SCOPE_SESSION   /* of a task's token: sessions of workflow <param 0> */
};
struct route {
    const char *method, *pattern;     /* "/api/workflow/{}/logs" */
    unsigned role, flags;
    handler_fn handler;
    enum action action;               /* exactly one rule a route: what is done … */
    enum scope scope;                 /* … and on what */
    uint64_t max_body;                /* 0 = ROUTE_SMALL_BODY */
};
extern const struct route api_routes[];
extern const size_t api_route_count;
#define ROUTE_SMALL_BODY (64u << 10)

/* authorize.c: may the caller do this? Sets c->resource. OSMO_EDENIED, with a text that names action, resource and remedy. */
int call_authorize(struct call *c, enum action action, enum scope scope, const char *pattern, osmo_error_t *err);
/* The same without reading the store, for the thread of the connections: of SCOPE_WORKFLOW it is left open which pool it is, so any
 * in which the caller may do it passes. */
int call_authorize_now(struct call *c, enum action action, enum scope scope, const char *pattern, osmo_error_t *err);
/* For handlers: a workflow that the request names besides that of its path. */
int call_authorize_workflow(struct call *c, enum action action, const char *id_or_uuid, osmo_error_t *err);
/* "pool/NAME" of the workflow that the path names first. */
int call_workflow_pool(struct call *c, char **resource, osmo_error_t *err);
/* Leaves of the pools (none: of all that are configured) those in which the caller may do it, or a name that no pool has; unchanged when
 * it may in every pool there could be. */
int call_pools(struct call *c, enum action action, strlist_t *pools, osmo_error_t *err);
/* For handlers: an action on one resource more than the route's own. */
bool call_may(struct call *c, enum action action, const char *resource);
/* Nothing is kept from this caller: it may do everything and is bound to no task and no backend. */
bool call_may_all(struct call *c);

/* Answer helpers */
int answer_json(struct call *c, int status, json_t *value /* taken */);
/* With a token in it: nothing of it stays behind. */
int answer_secret(struct call *c, json_t *value /* taken */);
int answer_null(struct call *c);
/* Takes the body, also when it fails. */
int answer_body(struct call *c, int status, const char *content_type, char *body, size_t len);
int answer_text(struct call *c, int status, const char *content_type, const char *text, size_t len);
/* Of the workflow that the path names first. It ends when the caller may do the action of the route no more (stream_guard.c). */
int answer_stream(struct call *c, const char *content_type, osmo_stream_t *stream /* taken */, osmo_error_t *err);
int stream_guard(struct call *c, osmo_stream_t *stream /* taken */, osmo_stream_t **out, osmo_error_t *err);
int answer_header(struct call *c, const char *name, const char *value);
/* {"detail": text} */
int answer_detail(struct call *c, int status, const char *text);
/* The envelope {message, error_code, workflow_id}, or the 5xx form. Never fails: falls back to an answer without a
 * body. */
void answer_error(struct call *c, int code, const osmo_error_t *err);
/* 422 {"detail":[{type,loc,msg,input}]}: fills the answer and returns 0. */
int answer_unprocessable(struct call *c, const char *where, const char *field, const char *type, const char *message);
void answer_init(osmo_response_t *rs);

/* Query helpers: first value or NULL; repeated values (may be NULL); booleans in any of Python's and JSON's spellings. The int and
 * bool readers fill the 422 answer on a bad value and return OSMO_EINVAL. */
int query_parse(const char *text, struct map **out, osmo_error_t *err);
const char *query_get(struct call *c, const char *name);
const strlist_t *query_all(struct call *c, const char *name);
int query_bool(struct call *c, const char *name, bool fallback, bool *out, osmo_error_t *err);
int query_int(struct call *c, const char *name, int64_t fallback, int64_t *out, osmo_error_t *err);
int query_time(struct call *c, const char *name, int64_t *out_us, osmo_error_t *err); /* 0 when absent */
/* JSON body as an object; the 422 answer is filled and OSMO_EINVAL returned when it is not. */
int body_json(struct call *c, json_t **out, osmo_error_t *err);

const char *request_header(const osmo_request_t *rq, const char *name); /* borrowed or NULL */
/* Base URL without trailing slash: as configured, else from the Host header. Borrowed from the call. */
const char *call_base_url(struct call *c);
/* Setters of the shapes that repeat: time or null, text or null ("" is null). */
int json_set_time(json_t *o, const char *key, int64_t us);
int json_set_text(json_t *o, const char *key, const char *text);
/* Compact JSON text as a tree; `fallback` (taken) when it is NULL or does not parse. */
json_t *json_from_text(const char *text, json_t *fallback);
/* Version middleware: 0 go on, 1 the answer is filled. */
int version_gate(struct call *c);
#endif
