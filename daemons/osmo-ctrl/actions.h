/* Sessions with users, inside osmo_ctrl: what actions.c, dial.c, session_exec.c and forward*.c share. Everything here is done in the loop's
 * thread. Each session is on its own: none waits for another, and nothing blocks. */
#ifndef OSMO_CTRL_ACTIONS_H
#define OSMO_CTRL_ACTIONS_H
#include "action_parse.h"
#include "base/ws_pump.h"
#include "ctrl.h"

#define EXEC_SESSIONS_MAX 32
#define FORWARDS_MAX 256
#define TUNNELS_MAX 384        /* each has a websocket and a socket */
#define UDP_SOURCES_MAX 512    /* of all UDP forwards together */
#define REFUSALS_AT_ONCE 64
#define CLOSE_REFUSED 4000     /* with a reason that the user is shown */

struct exec_session;

struct actions {
    struct ctrl *c;
    struct logger_link *link;
    ws_loop_t *loop;
    struct dial *waiting;          /* for a token */
    struct exec_session *sessions; /* oldest first */
    size_t nsessions, nforwards, ntunnels, nrefusals, nsources;
    bool listening;                /* the socket towards osmo_exec is watched */
    char done[256][24];            /* ids that were carried out, a ring */
    size_t next_done;
    size_t greetings;              /* accepted connections that have not said what they are for */
};

/* ---- dial.c: a websocket to the router, tried several times ---- */
struct dial {
    struct actions *a;
    struct dial *next;
    char *url, *cookie;            /* cookie: the whole header, or NULL */
    int tries;
    uint64_t timer;
    bool waits;
    /* One attempt: start to connect. Negative = this one failed already. When it fails later: dial_failed(). */
    int (*attempt)(void *ctx, const ws_options_t *o);
    void (*gave_up)(void *ctx, const char *reason); /* after the last; d is stopped */
    void *ctx;
};
/* <router_address>/api/router/<kind>/<workflow>/backend/<key>; kind may differ from the action's. Attempts begin from the loop. */
int dial_start(struct dial *d, struct actions *a, const struct meeting *at, enum action_kind kind, int tries,
               int (*attempt)(void *ctx, const ws_options_t *o), void (*gave_up)(void *ctx, const char *reason), void *ctx);
/* The websocket ended before it was open. http_status as in ws_handlers_t.closed. */
void dial_failed(struct dial *d, int http_status, const char *reason);
void dial_stop(struct dial *d);    /* it is open, or not wanted any more; may be called twice */
void dial_token_ready(struct actions *a);

/* ---- actions.c ---- */
/* Tell who waits at this meeting why nothing comes of it. */
void action_refuse(struct actions *a, const struct meeting *at, enum action_kind kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- session_exec.c ---- */
void exec_session_open(struct actions *a, struct action *action);   /* takes what is in it */
void exec_sessions_changed(struct actions *a);                      /* the command started, ended, or osmo_exec connected */
/* A connection of osmo_exec (taken) for this session; id NULL: of one that does not say which. false: for none. */
bool exec_session_connected(struct actions *a, int fd, const char *id);

/* ---- forward.c ---- */
void forward_open(struct actions *a, struct action *action);        /* takes what is in it */
/* A socket that is being connected to a port of this pod, v6 or v4. -1 with errno. */
int forward_socket(int port, bool v6, int type);

/* ---- forward_udp.c ---- */
void forward_udp_open(struct actions *a, struct action *action);    /* takes what is in it */

/* ---- forward_ws.c ---- */
/* Joins a websocket server of this pod with the router. Counts as a tunnel; takes what is in the announcement and the meeting. */
void forward_ws_open(struct actions *a, int port, struct meeting *at, struct announcement *what);
#endif
