/* Operator sessions as the agent_*.c files share them: sockets and acknowledgements (agent.c), what listeners report
 * (agent_messages.c, agent_nodes.c), jobs in flight and their outcome (agent_jobs.c), the frames (agent_frames.c) and
 * the dispatcher (agent_dispatch.c). */
#ifndef ENGINE_AGENT_INTERNAL_H
#define ENGINE_AGENT_INTERNAL_H
#include "base/map.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "model/messages.h"
#include "model/reconcile.h"

#define ACKS_MAX                                                                                                     \
    1024 /* messages of one socket being worked on; clients keep at most 1024 unacknowledged, 100 by default */
#define JOBS_MAX 64 /* jobs in flight of one worker that speaks the "jobs" extension */
/* Bytes of jobs on their way to one worker: less than its connection may hold back, more than any single job. */
#define JOB_BYTES_MAX ((size_t)JOB_TOTAL_MAX)
#define JOB_HEARTBEAT_US (60LL * 1000 * 1000)
#define ERROR_LOG_MAX (1u << 20) /* per task */
#define BACKEND_STATUS_MAX 500   /* bytes kept of what an operator says about its cluster */
/* Codes of close frames. */
#define CLOSE_PROTOCOL 1008
#define CLOSE_AGAIN 1013
#define CLOSE_REFUSED 4000

struct ack {
    char uuid[33];
    bool done;
};

struct job_log {
    char uuid[33];
    char *task;
    int64_t retry_id;
    buf_t text;
    bool cut;
};
struct job {
    int64_t work_id, attempts;
    int64_t next_after; /* see struct handout */
    enum job_kind kind;
    bool plain;       /* for an operator without extensions: not a member more than it knows */
    bool force, sent; /* not sent: waits until the create of the same group is answered */
    char workflow_uuid[33], group_uuid[33]; /* group_uuid "" of a node */
    char owner[64];     /* of the item */
    char *payload;      /* of the item; may be NULL */
    char *id, uuid[40]; /* job_id and job_uuid on the wire */
    buf_t frame;        /* until sent */
    int64_t sent_us;    /* monotonic */
    size_t size;        /* of the frame */
    struct job_log *logs;
    size_t nlogs;
};

/* What the snapshot that comes in has brought so far; only the session's own strand looks at it. */
struct snapshot_found {
    struct pod_set set;
    size_t pods, reported, orphans, foreign, missing;
    char cleaned[33]; /* group that was told of last */
    bool broken;
};

struct agent_session {
    engine_t *e;
    enum agent_socket kind;
    char *backend;
    uint64_t conn;
    bool jobs_extension, parts_extension, snapshot_extension, status_extension;
    char *rules;       /* body of the node_conditions that was sent last */
    char *k8s_uid;     /* with born_us: which backend of this name it belongs to, once that is known */
    int64_t born_us;
    bool pulls_images; /* its operator does not say that it has its own */
    struct agent_session *next; /* list of agents->lock */

    pthread_mutex_t lock; /* everything below; order: agents->lock before it */
    pthread_cond_t room;
    int refs;
    bool opened, closed, failed, inited; /* failed: a commit failed, the rest is neither handled nor acknowledged */
    struct ack acks[ACKS_MAX];           /* ring, in order of arrival */
    uint64_t first_ack, next_ack;

    /* sockets for pods */
    int64_t snapshot, introduced_us; /* number of the one that is asked for, 0 until INIT is committed; when that was */
    bool snapshot_done;              /* this and `found`: of the strand of its messages */
    struct snapshot_found found;

    /* worker socket */
    bool ready;      /* of any socket: its INIT is committed; jobs may go out */
    uint64_t serial; /* the newest wins */
    char owner[64];
    int64_t leases_left; /* of a closed session, while they are given back */
    struct job *jobs[JOBS_MAX];
    size_t njobs;
    _Atomic bool overdue; /* it left a job unanswered for too long */
    int64_t quiet_until; /* no jobs before that (monotonic); see strays in agent_strays.c */
    bool queues_wanted; /* see queues_introduced(); the dispatcher's */
    int64_t next_heartbeat, next_renewal; /* monotonic */
};

struct last_beat { int64_t at /* monotonic */; char status[BACKEND_STATUS_MAX + 1]; };

struct agents {
    engine_t *e;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct agent_session *sessions;
    size_t pending; /* store functions whose done still needs a session */
    uint64_t serial;
    map_t *heartbeats; /* backend → struct last_beat: the last write */
    map_t *strays;     /* backends with a job that may be answered on the next connection; agent_strays.c */
    struct waker waker;
    pthread_t thread;
    bool started;
    const struct settings *queues_of; /* what queues_follow() has followed; the dispatcher's */
    const struct settings *followed;  /* what agents_follow() has, likewise */
    bool look;                        /* agents_follow() has to, even so */
    char installation[33]; /* reconcile.c: on all objects created for this database */
};

/* One message being worked on. ticket_done is an engine_done_fn and a store_done_fn: acknowledges after the commit,
 * in order. */
struct ticket {
    struct agent_session *s;
    uint64_t number;
    bool silent;
};
struct ticket *ticket_new(struct agent_session *s, const char *uuid); /* uuid NULL: nothing to acknowledge */
void ticket_done(void *ticket, int rc, const osmo_error_t *err);
void session_ref(struct agent_session *s);
void session_unref(struct agent_session *s);
void session_close(struct agent_session *s, int code, const char *reason);
/* What the workers have in hand is not ours any more: they connect again. */
void agents_disconnect(engine_t *e);

/* ---- agent_dispatch.c: sessions held so that they stay; only the dispatcher's ---- */
struct held {
    struct agent_session **s;
    size_t n, cap;
};
struct held agents_hold(struct agents *a, bool workers_only);
void agents_drop(struct held *h);

/* ---- agent_follow.c ---- */
void agents_follow(struct agents *a);
/* Next time even if the settings are the same; the dispatcher is woken by the caller. */
void agents_look(engine_t *e);
/* Tells a control socket the rules of its backend, unless they are those that it was told last. */
void agent_send_rules(struct agent_session *s);
void agent_belongs(struct agent_session *s, const char *k8s_uid, int64_t born_us);

/* Handlers take the ticket in any case. <0: err says what is wrong with the message; it is acknowledged all the same.
 */
typedef int (*message_fn)(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);
message_fn agent_handler(enum message_type type);
int agent_resource(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);
int agent_resource_usage(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);
int agent_delete_resource(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);
int agent_node_hash(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);
/* An integer, as a number or as text of one, as OSMO reads them. */
int64_t body_int(const json_t *body, const char *key, int64_t fallback);
void agent_logging(struct agent_session *s, const json_t *body);
/* Text of a required member; OSMO_EINVAL names it. */
const char *body_text(const json_t *body, const char *key, osmo_error_t *err);
/* A 32 hex digit member copied to out. */
int body_uuid(const json_t *body, const char *key, char out[33], osmo_error_t *err);

/* ---- agent_strays.c: answers that come late, from operators whose answers name no job ---- */
/* The session ends. */
void strays_expect(struct agent_session *s);
/* Its INIT has come: does it have to wait for one? */
void strays_begin(struct agent_session *s);
/* An answer came to which there is no job. */
void strays_came(struct agent_session *s);
/* Must it wait still? Returns when it need not, at most `next` (monotonic). */
int64_t strays_wait(struct agent_session *s, int64_t next);
bool strays_quiet(struct agent_session *s);

/* ---- worker socket ---- */
/* Closes the session when its operator has not answered a job for too long. Returns when the next one will be too late, at most
 * `next` (monotonic). */
int64_t jobs_overdue(struct agent_session *s, int64_t next);
void agent_job_status(struct agent_session *s, const json_t *body);
void agent_pod_log(struct agent_session *s, const json_t *body);
/* The session has ended: logs of jobs without an answer are kept. */
void jobs_keep_logs(struct agent_session *s);
void job_free(struct job *j);
/* Does it tell the backend of its configuration (queues.h)? */
static inline bool job_tells(const struct job *j) { return j->kind == JOB_QUEUES || j->kind == JOB_TESTS; }
/* Is it of no workflow? Then it is handed out and settled by itself. */
static inline bool job_is_loose(const struct job *j) { return j->kind == JOB_ORPHAN || job_tells(j); }
/* Outcome of a job that is not (or no longer) in any session. Takes j. */
void job_finish(engine_t *e, struct job *j, int outcome, const char *cause);
/* The frame of a handed-out item, at most `max` bytes. On failure the outcome is reported by the caller. */
int job_frame(engine_t *e, const char *backend, const struct handout *h, size_t max, struct job *j, osmo_error_t *err);
/* What a connected worker of the backend takes; that of our own operator when none is connected. */
size_t agent_job_limit(engine_t *e, const char *backend);
#endif
