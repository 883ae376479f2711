/* The inside of a running operator, shared by operator.c, session.c, login.c, worker.c, health.c and changes.c and nobody else.
 *
 * Threads: the loop thread (the caller of osmo_operator_run) owns sessions, outboxes, nodes, pods and events without locks.
 * The driver's thread only appends to `changes`, the login thread only to `login`, executors only touch `worker`, the one that lists
 * pods `snapshot`; each of these
 * has its own lock and wakes the loop. */
#ifndef OPERATOR_INTERNAL_H
#define OPERATOR_INTERNAL_H
#include <pthread.h>
#include "base/http.h"
#include "base/log.h"
#include "base/ws_client.h"
#include "operator/events.h"
#include "operator/jobs.h"
#include "operator/labels.h"
#include "operator/lease.h"
#include "operator/metrics.h"
#include "operator/nodes.h"
#include "operator/outbox.h"
#include "operator/pods.h"
#include "operator/probe.h"
#include "osmo/backend/operator.h"

#define UNACKED_MAX 100u       /* what the OSMO protocol expects of a listener */
#define OUTBOX_MAX 65536u
#define EXECUTORS_MAX 8

enum stream { STREAM_CONTROL, STREAM_POD, STREAM_NODE, STREAM_EVENT, STREAM_HEARTBEAT, STREAM_WORKER, STREAM_COUNT };
enum session_state { SESSION_WAITING, SESSION_LOGIN, SESSION_CONNECTING, SESSION_OPEN };

struct session {
    struct osmo_operator *op;
    enum stream kind;
    enum session_state state;
    uint64_t conn, timer;
    int64_t backoff_ms, opened_us;
    bool jobs, status;         /* extensions accepted on this connection */
    bool again;                /* a refused token was read again since the last connection */
    outbox_t *out;             /* NULL for control and worker */
};

/* Driver → loop. */
struct change { struct change *next; int what; osmo_change_t change; size_t size; void *object; };
struct changes {
    pthread_mutex_t lock;
    pthread_cond_t room;
    struct change *first, **last;
    size_t count, bytes;
    int64_t recheck_us;  /* when the operator's recheck_timer fires; loop thread only */
    bool opened, closed; /* opened: there is a lock */
};

struct login {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t thread;
    bool started, wanted, busy, done, stop;
    struct http_client *http;  /* of the login that is going on, for the end not to wait for it */
    int code;
    char *jwt;
    osmo_error_t err;
    osmo_error_t told;         /* failure that was logged last; loop thread only */
    uint8_t refused[32];       /* digest of the token that was refused last, when and why; login thread only */
    int64_t refused_us;
    osmo_error_t refusal;
};

struct worker {
    pthread_mutex_t lock;
    pthread_cond_t work;       /* jobs came, a key became free, stop */
    pthread_cond_t change;     /* pods were deleted, the socket has room, stop */
    pthread_t threads[EXECUTORS_MAX];
    crew_t *crew;              /* shared by the executors */
    int nthreads, running;
    struct queued_job *first, **last;
    size_t queued;
    const char *busy[EXECUTORS_MAX];   /* keys being worked on */
    uint64_t conn;             /* connection jobs may be answered on; 0 = none */
    bool parallel, stop;
    uint64_t pods_generation;
    buf_t parts;               /* of a job that comes in several frames; loop thread only */
    struct cleaning *cleanings;
    size_t ncleanings;
};

/* Parts of the answer to the service's last question, on their way from the thread that lists the pods. */
struct snapshot {
    pthread_mutex_t lock;
    pthread_cond_t change;     /* asked, a part taken, stop */
    pthread_t thread;
    bool started, stop;
    int64_t asked;             /* number of the snapshot that is wanted; 0 = none; written by the loop only */
    struct part *first, **last;
    size_t waiting;
};

#define HEALTH_TEXT_MAX 512
struct health {
    pthread_mutex_t lock;
    pthread_cond_t looked;
    probe_t *probe;            /* NULL = nobody asks */
    uint64_t timer, looks;
    int64_t turned_us;
    size_t waiting[STREAM_COUNT], unacked[STREAM_COUNT];
    bool opened, running, ready;
    char why[HEALTH_TEXT_MAX], cluster[HEALTH_TEXT_MAX];
};

struct osmo_operator {
    char *url, *backend, *namespace_, *token_file, *token, *user;
    char *state_dir, *condition_prefix, *test_namespace, *test_template, *test_image;
    strlist_t settings;        /* of the driver */
    const char **settings_list;
    const char *const *environment; /* of programs that give credentials */
    int lock_fd;
    logger_t log;
    const osmo_cluster_driver_t *driver;
    void *impl;
    osmo_cluster_sink_t sink;  /* of changes.c, behind the counters */
    ws_loop_t *loop;
    bool loop_runs, stopping;
    bool label_nodes;
    labels_t *labels;          /* NULL = nodes are not labelled */
    bool own_images;           /* the pods run on what is on this machine */
    char mode[HEALTH_TEXT_MAX]; /* what the driver said of itself when it was opened: no trouble */
    char told_status[HEALTH_TEXT_MAX], seen_status[HEALTH_TEXT_MAX]; /* with the last heartbeat; at the last change */
    lease_t *lease;            /* NULL = this is the only one */
    pthread_mutex_t term_lock; /* what a lost lease stops: there while in_term */
    bool in_term, lost;
    struct job_tests tests;
    struct metrics metrics;
    struct health health;
    nodes_t *nodes;
    pods_t *pods;
    events_t *events;
    struct session sessions[STREAM_COUNT];
    struct changes changes;
    struct login login;
    struct worker worker;
    struct snapshot snapshot;
    uint64_t usage_timer, heartbeat_timer, recheck_timer;
    bool pods_first;           /* node messages wait until the pods of the start were told */
};

/* operator.c */
/* What the driver says of itself, "" for nothing. */
void operator_describe(struct osmo_operator *op, char out[HEALTH_TEXT_MAX]);
/* False for a replica that does not hold the lease any more. Any thread. */
bool operator_may_act(struct osmo_operator *op);

/* health.c */
int health_open(struct osmo_operator *op, const char *listen, osmo_error_t *err);
void health_running(struct osmo_operator *op, bool runs); /* loop thread */
void health_close(struct osmo_operator *op);

/* session.c */
const char *session_name(enum stream kind);
const char *session_missing(const struct osmo_operator *op); /* one that is not connected, or NULL */
void session_status_changed(void *op);
int session_open_all(struct osmo_operator *op);
void session_start_all(struct osmo_operator *op);
void session_free_all(struct osmo_operator *op);
int session_queue(struct osmo_operator *op, enum stream kind, enum message_type type, const char *key, json_t *body);
void session_login_done(void *op);
bool session_has_room(const struct osmo_operator *op, enum stream kind);

/* login.c */
int login_open(struct osmo_operator *op, osmo_error_t *err);
void login_start(struct osmo_operator *op);
/* Result of the login that ended: OSMO_EBUSY while it runs. *jwt is malloc'ed. */
int login_take(struct osmo_operator *op, char **jwt, osmo_error_t *err);
void login_close(struct osmo_operator *op);

/* worker.c */
int worker_open(struct osmo_operator *op, osmo_error_t *err);
void worker_connected(struct osmo_operator *op, uint64_t conn, bool parallel);
void worker_disconnected(struct osmo_operator *op);
void worker_message(struct osmo_operator *op, const char *data, size_t len, bool binary);
void worker_writable(struct osmo_operator *op);
void worker_pods_deleted(struct osmo_operator *op);
bool worker_is_cleaning(struct osmo_operator *op, const json_t *labels);
void worker_close(struct osmo_operator *op);

/* snapshot.c */
int snapshot_open(struct osmo_operator *op);
void snapshot_ask(struct osmo_operator *op, int64_t number);
void snapshot_flush(void *op);
void snapshot_close(struct osmo_operator *op);

/* changes.c */
int changes_open(struct osmo_operator *op);
osmo_cluster_sink_t changes_sink(struct osmo_operator *op);
void changes_process(void *op);
void changes_apply_node(struct osmo_operator *op, const char *json, size_t len);
void changes_close(struct osmo_operator *op);  /* wakes a blocked driver; later reports are dropped */
void changes_free(struct osmo_operator *op);
#endif
