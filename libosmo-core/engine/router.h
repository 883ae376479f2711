/* The router: interactive sessions between users and tasks (exec, port-forward, rsync, web servers), and the mailbox by which the ctrl of a
 * task learns of them. Called by api/router_routes.c, api/ws.c and api/service.c; bytes are carried by the transport (osmo/service.h).
 *
 * The life of a session
 *
 *  1. POST /api/workflow/{}/exec/task/{} … (router_create): the state of workflow and task is checked, and one transaction makes a key
 *     (model/router_key.h) and a row in the mailbox `ctrl_actions`. The client gets {router_address, key, cookie}.
 *  2. The row is what the task's ctrl is to do. It is sent over the ctrl's logger socket, wherever that is connected: at once where it is
 *     here, by a hint elsewhere, and when it connects. A ctrl with the extension "actions" gets the row's "id", confirms it by
 *     {"IOType":"ACTION_DONE","Id":"<id>"} and is told again until it has; to others it is told once. In order of the rows.
 *  3. Client and ctrl each open a websocket with the key: /api/router/{exec|portforward|rsync}/{workflow}/{client|backend}/{key}. The
 *     service that the key names is where they meet; others carry the connection there (router_place). Who comes first waits: a ctrl
 *     60 s, a client its ?timeout= (1 to 3600 s, 60 without). The key is good for coming first until 60 s after the POST, and for coming
 *     second as long as somebody waits. Then transport.join() carries the messages, and nothing of them passes through here.
 *  4. A session of a port-forward or rsync is joined as any other: what the client announces on it, {"key","cookie"}, only the ctrl reads.
 *     Each announced connection is a meeting of its own under the same paths, below the key of its session.
 *  5. A web server session has the ctrl's end only, /api/router/webserver/{workflow}/backend/{key}. A browser asks for the host
 *     <key>.<anything>: router_tunnel_open() makes a connection's key, announces it to the ctrl as TEXT {"key","cookie","type":"tcp"} and
 *     joins the browser's bytes with what the ctrl opens as /api/router/portforward/{workflow}/backend/{key}-{number}.
 *  6. It ends when an end leaves (the transport passes code and reason on), at its limits of idleness and length, with the attempt of its
 *     task, with the rights of its user (auth_sessions.h; of who made the web server's, which has the ctrl's end only: the mailbox says who
 *     that was) and with the service.
 *     Refusals and ends are closes with 4000 and a reason that says what to do; beginnings and ends are lines of the audit log.
 *
 * Who may meet: the client's token has to allow the action on the pool of the workflow, and be the user's who made the key; the ctrl's has
 * to be one of the workflow, of the task and attempt that the key was made for. Keys that clients invent (a connection of a port-forward
 * by upstream's client) have no MAC; they are safe all the same: they meet within one workflow only, both ends prove the same rights on it
 * as for any other session, the ctrl connects only what it was told over a session that began with a genuine key, and they are 128
 * random bits. Our own clients' are below the key of a session, which has to be here, alive and of the same workflow, user and task. */
#ifndef ENGINE_ROUTER_H
#define ENGINE_ROUTER_H
#include "engine/engine.h"
#include "model/router_key.h"

#define ROUTER_WAIT_S 60          /* for the other end */
#define ROUTER_WAIT_MAX_S 3600
#define ROUTER_COOKIE "_osmo_router_replica"
#define ROUTER_PEER_HEADER "x-osmo-replica-peer" /* who the peer is of a connection that another replica carries here */

int router_start(engine_t *e, osmo_error_t *err);
void router_stop(engine_t *e);  /* closes all sessions; none is joined any more */
void router_free_all(engine_t *e);

/* ---- router_create.c: new sessions ---- */
#define ROUTER_PORTS_MAX 65535
struct router_request {
    enum router_action action;
    const char *workflow;          /* id or uuid */
    const char *task, *group;      /* one of them */
    const char *user, *entry_command;
    const struct identity *who;    /* the session of a web server ends with their rights */
    const int64_t *ports; size_t nports; /* portforward: one session each; webserver: one */
    bool use_udp;
};
struct router_answer { char *task, *router_address, *key, *cookie; };
/* OSMO_EDATABASE no such workflow, OSMO_EGONE finished, OSMO_EEARLY not running yet, OSMO_ENOTFOUND no such task or group, or it has ended,
 * OSMO_EDENIED no rsync for this workflow, OSMO_EUSER ports; *unroutable: OSMO_EUSER for a workflow without a backend or a way to it. */
int router_create(engine_t *e, const struct router_request *rq, struct router_answer **out, size_t *n, bool *unroutable,
                  char **workflow_id, osmo_error_t *err);
void router_answers_free(struct router_answer *a, size_t n);

/* ---- router_place.c: which service a connection is for; nothing here blocks ---- */
/* From the first request of a connection: host, path, cookie. */
osmo_place_t router_place(engine_t *e, const osmo_request_t *rq, osmo_elsewhere_t *where);
/* Value of Set-Cookie by which clients that invent keys come back to this service; NULL while it is the only one. Caller frees. */
char *router_cookie(engine_t *e);
/* A request with ROUTER_PEER_HEADER: 1 when another replica vouches for the peer in it, which is put into peer; 0 without the header;
 * OSMO_EDENIED. Each header is accepted once. */
int router_peer(engine_t *e, const osmo_request_t *rq, char peer[64], osmo_error_t *err);

/* ---- router_session.c: websockets ---- */
struct router_upgrade {
    enum router_action action;
    bool ctrl;                     /* the task's end */
    const char *workflow, *key;    /* of the path */
    int64_t wait_s;
    const osmo_request_t *rq;      /* for the audit log */
};
typedef struct router_session router_session_t;
/* On the thread of the connections. Copies. OSMO_EINVAL: it is no key; OSMO_EUNAVAIL: the service that it names is not there any more. */
int router_open(engine_t *e, const struct router_upgrade *u, uint64_t conn, router_session_t **out, osmo_error_t *err);
/* The workflow of the path, for the caller's rights on its pool; then, with who it is, the meeting. False: it is being closed. */
bool router_session_workflow(router_session_t *s, char **workflow, char **pool);
void router_opened(router_session_t *s, const struct identity *who);
int router_held(const router_session_t *s); /* osmo_ws_held() */
const char *router_peer_of(const router_session_t *s); /* osmo_ws_peer() */
void router_refuse(router_session_t *s, int rc, const osmo_error_t *err); /* close it with that */
void router_closed(router_session_t *s);

/* ---- router_tunnel.c: browsers ---- */
int router_tunnel_open(engine_t *e, const osmo_request_t *rq, uint64_t conn, router_session_t **out, int *status, osmo_error_t *err);
/* Is there a web server session of this key, in any service? */
int router_webserver_alive(engine_t *e, const char *key, bool *alive, osmo_error_t *err);
bool router_webserver_here(engine_t *e, const char *key);

/* ---- router_actions.c: the mailbox ---- */
struct logger_session;
/* Tell the ctrls of a group's tasks that are connected here what waits for them; the first also has the other services look. */
void actions_changed(engine_t *e, const char *workflow_uuid, const char *group_uuid);
bool actions_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid);
/* This ctrl has just connected. */
void actions_check_one(struct logger_session *s);
/* The ctrl has taken the action of this id. */
void actions_confirmed(struct logger_session *s, int64_t id);
/* Deletes what nobody waits for any more; *wait_us is lowered to when there is more. */
int actions_sweep(engine_t *e, int64_t *wait_us, osmo_error_t *err);

/* ---- router.c ---- */
/* The state of this workflow, or (NULL) of any, may have changed; any thread, never blocks. */
void router_workflow_changed(engine_t *e, const char *workflow_id);
#endif
