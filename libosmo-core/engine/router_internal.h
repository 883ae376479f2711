/* Shared by router.c (the table of meetings, limits, the thread), router_session.c (ends that come and go), router_create.c,
 * router_tunnel.c, router_place.c and router_actions.c; see router.h for the whole. */
#ifndef ENGINE_ROUTER_INTERNAL_H
#define ENGINE_ROUTER_INTERNAL_H
#include <pthread.h>
#include "base/map.h"
#include "engine/engine_internal.h"
#include "engine/router.h"
#include "store/repo_actions.h"

#define CLOSE_REFUSED 4000
#define CLOSE_AWAY 1001
#define REASON_MAX 120
#define SECOND_US 1000000LL
#define TUNNELS_PENDING_MAX 64 /* of one web server session: connections of browsers that the ctrl has not opened yet */
#define TUNNEL_WAIT_S 60

enum meeting_state {
    MEETING_WAITS,  /* for the other end */
    MEETING_JOINED,
    MEETING_SERVES, /* the ctrl's end of a web server session, which has no other */
    MEETING_ENDS    /* an end has left, or was told to; nobody can join it */
};
/* Everything of it is under the table's lock. */
struct meeting {
    struct meeting *prev, *next;
    struct meeting *parent;        /* the session of a connection; NULL: it is none, or that is gone */
    char *name;                    /* "<workflow uuid>/<key>" */
    bool listed;                   /* found by its name */
    enum meeting_state state;
    enum router_action action;
    char workflow_uuid[33];
    char *workflow_id, *task, *user; /* task, user: NULL while nobody knows them (keys that were invented) */
    int64_t retry_id;
    struct router_session *client, *ctrl;
    int64_t began_us, last_us;     /* steady clock; last: it carried something */
    int64_t due_us;                /* something is to be looked at then; INT64_MAX: never */
    uint64_t in, out;              /* bytes from the client and to it, as far as is known */
    uint32_t number;               /* of the last connection to a web server */
    unsigned pending;              /* such connections that wait */
    bool pends;                    /* it is one of them */
};
struct router_session {
    engine_t *e;
    uint64_t conn;
    enum router_action action;     /* of the path */
    bool ctrl, tunnel, refused;
    struct router_key key;
    char text[ROUTER_KEY_MAX];
    char *workflow;                /* of the path */
    char workflow_uuid[33];        /* "": there is none */
    char *workflow_id, *pool;
    bool workflow_over;
    int64_t wait_s;
    struct meeting *meeting;       /* under the table's lock */
    struct identity who;
    struct auth_session *owner;    /* of a web server: for whom it is, as long as they may */
    char *method, *path;           /* for the audit log */
    char peer[64];
    uint64_t request;
};

struct peers_seen;                 /* headers of other replicas that have been accepted */
struct router_table {
    engine_t *e;
    uint8_t secret[32];            /* of keys; the same in every replica */
    pthread_mutex_t lock;
    map_t *by_name;                /* meetings that can be joined, or have been */
    struct meeting *first;
    size_t n;
    map_t *changed;                /* ids of workflows whose state is to be looked at */
    bool all_changed, stopping;
    int64_t look_us;               /* not before then */
    int64_t next_us;               /* when the thread looks at what is due, unless it is woken */
    _Atomic bool any;              /* is there a meeting? */
    struct waker waker;
    pthread_t thread;
    bool started;
    pthread_mutex_t tell_lock;     /* one at a time tells ctrls of their mailbox */
    pthread_mutex_t peers_lock;
    struct peers_seen *peers;
};

/* ---- router.c; those with _locked want the table's lock ---- */
struct meeting *meeting_find_locked(struct router_table *t, const char *workflow_uuid, const char *key);
/* A new one, listed. OSMO_EBUSY with a text: a limit is reached. Takes nothing. */
int meeting_new_locked(struct router_table *t, const struct router_session *s, const struct action_row *made_for,
                       struct meeting **out, osmo_error_t *err);
void meeting_unlist_locked(struct router_table *t, struct meeting *m);
/* A browser's connection waits no more. */
void meeting_settle_locked(struct meeting *m);
/* Frees it when it has no ends any more. */
void meeting_leave_locked(struct router_table *t, struct meeting *m);
/* The meeting changes from now on: when is it to be looked at? */
void meeting_plan_locked(struct router_table *t, struct meeting *m, const struct settings *settings);
struct session_limits router_limits(const struct settings *s, enum router_action a);
/* "task train of workflow w-1" and the like need their names short. */
void router_close(engine_t *e, uint64_t conn, int code, const char *reason);
/* A line of the audit log: "opened", "refused" or "closed". */
void router_audit(const struct router_session *s, const char *what, bool allowed, const struct meeting *m);

/* ---- router_session.c ---- */
void router_session_free(struct router_session *s);
int router_remember(struct router_session *s, const osmo_request_t *rq); /* 0 or OSMO_ENOMEM */
/* Puts the session, which is an end of the one or the other kind, into its meeting: alone, or together with the end that waits there. */
int router_meet(struct router_session *s, const struct action_row *made_for, osmo_error_t *err);

/* ---- router_tunnel.c ---- */
void router_tunnel_opened(struct router_session *s);

/* ---- router_place.c ---- */
/* "name=value; Path=/" that leads to the replica; "" (not NULL) while there is one only. NULL: no memory. */
char *router_cookie_of(engine_t *e, uint32_t replica);
int peers_seen_new(struct peers_seen **out); /* 0 or OSMO_ENOMEM */
void peers_seen_free(struct peers_seen *p);
#endif
