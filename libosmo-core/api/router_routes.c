/* Interactive sessions: the requests that begin them, and what clients ask of the router itself. The sessions are engine/router.h's. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "engine/router.h"

static json_t *answer_object(const struct router_answer *a) {
    json_t *o = json_object();
    if (o && json_set_str(o, "router_address", a->router_address) >= 0 && json_set_str(o, "key", a->key) >= 0 &&
        json_set_str(o, "cookie", a->cookie) >= 0)
        return o;
    json_free(o);
    return NULL;
}

/* No status of osmo/error.h is 422: what cannot be routed is upstream's NOTFOUND. */
static int answer_unroutable(struct call *c, int rc, const osmo_error_t *err) {
    json_t *o = json_object();
    if (!o || json_set_str(o, "message", err->text) < 0 || json_set_str(o, "error_code", "NOTFOUND") < 0 ||
        json_set_str(o, "workflow_id", c->error_workflow_id) < 0) {
        json_free(o);
        return OSMO_ENOMEM;
    }
    int filled = answer_json(c, 422, o);
    return filled < 0 ? filled : rc;
}

static int create(struct call *c, struct router_request *rq, struct router_answer **out, size_t *n, osmo_error_t *err) {
    bool unroutable = false;
    rq->workflow = c->params[0];
    rq->user = c->user;
    rq->who = &c->who;
    int rc = router_create(c->engine, rq, out, n, &unroutable, &c->error_workflow_id, err);
    return unroutable ? answer_unroutable(c, rc, err) : rc;
}

static int create_one(struct call *c, struct router_request *rq, osmo_error_t *err) {
    struct router_answer *list = NULL;
    size_t n = 0;
    int rc = create(c, rq, &list, &n, err);
    json_t *o = rc >= 0 ? answer_object(&list[0]) : NULL;
    router_answers_free(list, n);
    return rc < 0 ? rc : o ? answer_secret(c, o) : OSMO_ENOMEM;
}

static int entry_command(struct call *c, struct router_request *rq, osmo_error_t *err) {
    rq->entry_command = query_get(c, "entry_command");
    if (rq->entry_command)
        return 0;
    int rc = answer_unprocessable(c, "query", "entry_command", "missing", "Field required");
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter entry_command is required");
}

int post_exec_task(struct call *c, osmo_error_t *err) {
    struct router_request rq = { .action = ROUTER_EXEC, .task = c->params[1] };
    int rc = entry_command(c, &rq, err);
    return rc < 0 ? rc : create_one(c, &rq, err);
}

int post_exec_group(struct call *c, osmo_error_t *err) {
    struct router_request rq = { .action = ROUTER_EXEC, .group = c->params[1] };
    struct router_answer *list = NULL;
    size_t n = 0;
    int rc = entry_command(c, &rq, err);
    if (rc >= 0)
        rc = create(c, &rq, &list, &n, err);
    _cleanup_json_ json_t *map = rc < 0 ? NULL : json_object();
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        json_t *o = map ? answer_object(&list[i]) : NULL;
        rc = o ? json_set(map, list[i].task, o) : OSMO_ENOMEM;
    }
    router_answers_free(list, n);
    return rc < 0 ? rc : map ? answer_secret(c, STEAL(map)) : OSMO_ENOMEM;
}

int post_rsync_task(struct call *c, osmo_error_t *err) {
    return create_one(c, &(struct router_request){ .action = ROUTER_RSYNC, .task = c->params[1] }, err);
}

int post_webserver(struct call *c, osmo_error_t *err) {
    int64_t port = 0;
    if (!query_get(c, "task_port")) {
        int rc = answer_unprocessable(c, "query", "task_port", "missing", "Field required");
        return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter task_port is required");
    }
    int rc = query_int(c, "task_port", 0, &port, err);
    struct router_request rq = { .action = ROUTER_WEBSERVER, .task = c->params[1], .ports = &port, .nports = 1 };
    return rc < 0 ? rc : create_one(c, &rq, err);
}

/* ---- ports ---- */

static int ports_read(struct call *c, int64_t **out, size_t *n, osmo_error_t *err) {
    const strlist_t *texts = query_all(c, "task_ports");
    const struct settings *s = engine_settings(c->engine);
    size_t most = (size_t)s->max_ports_per_task;
    engine_settings_put(s);
    *n = texts ? texts->len : 0;
    if (*n == 0)
        return osmo_error_set(err, OSMO_EUSER, "name at least one port with task_ports");
    if (*n > most)
        return osmo_error_set(err, OSMO_EUSER, "%zu ports are more than the %zu that one request may forward: ask in several, or for "
                                               "workflow.max_num_ports_per_task to be raised", *n, most);
    *out = calloc(*n, sizeof **out);
    if (!*out)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < *n; i++) {
        if (str_to_i64(texts->items[i], &(*out)[i]))
            continue;
        int rc = answer_unprocessable(c, "query", "task_ports", "int_parsing", "Input should be a valid integer");
        return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter task_ports is not an integer");
    }
    return 0;
}

int post_portforward(struct call *c, osmo_error_t *err) {
    struct router_request rq = { .action = ROUTER_PORTFORWARD, .task = c->params[1] };
    struct router_answer *list = NULL;
    _cleanup_free_ int64_t *ports = NULL;
    size_t n = 0;
    int rc = query_bool(c, "use_udp", false, &rq.use_udp, err);
    if (rc >= 0)
        rc = ports_read(c, &ports, &rq.nports, err);
    rq.ports = ports;
    if (rc >= 0)
        rc = create(c, &rq, &list, &n, err);
    _cleanup_json_ json_t *answers = rc < 0 ? NULL : json_array();
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        json_t *o = answers ? answer_object(&list[i]) : NULL;
        rc = o ? json_add(answers, o) : OSMO_ENOMEM;
    }
    router_answers_free(list, n);
    return rc < 0 ? rc : answers ? answer_secret(c, STEAL(answers)) : OSMO_ENOMEM;
}

/* ---- the router itself ---- */

/* Clients that invent keys come back to the service that answered them. */
int get_router_version(struct call *c, osmo_error_t *err) {
    _cleanup_free_ char *cookie = router_cookie(c->engine);
    int rc = cookie ? answer_header(c, "set-cookie", cookie) : 0;
    return rc < 0 ? rc : get_version(c, err);
}

int get_router_webserver(struct call *c, osmo_error_t *err) {
    char key[ROUTER_KEY_MAX];
    bool alive = false;
    size_t len = strlen(c->params[0]);
    for (size_t i = 0; i <= len && len < sizeof key; i++)
        key[i] = c->params[0][i] >= 'A' && c->params[0][i] <= 'Z' ? (char)(c->params[0][i] - 'A' + 'a') : c->params[0][i];
    int rc = len < sizeof key ? router_webserver_alive(c->engine, key, &alive, err) : 0;
    return rc < 0 ? rc : answer_text(c, 200, "application/json", alive ? "true" : "false", alive ? 4 : 5);
}
