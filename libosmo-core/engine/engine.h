/* The engine: decides through model/, writes through store/, performs effects from the outbox. Only entry to engine/
 * for api/. Files: engine.c (open, close, roles, threads), submit*.c, reactor*.c, work.c (outbox dispatch), timers.c,
 * config*.c (snapshots, objects), agent*.c (operator sessions), auth*.c and providers*.c (keys, who is asking), access*.c (who may
 * what), vault*.c, credentials.c and masks.c (secrets), audit.c, limits.c, logs*.c (log store, logger sessions), archive*.c,
 * replica*.c (other services), storage*.c (task data), registry of followers in watch.c. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "model/settings.h"
#include "model/status.h"
#include "osmo/service.h"
#include "store/logstore.h"
#include "store/store.h"

enum service_role {
    ROLE_CORE = 1,
    ROLE_WORKER = 2,
    ROLE_AGENT = 4,
    ROLE_LOGGER = 8,
    ROLE_ROUTER = 16,
    ROLE_MONITOR = 32,
    ROLE_ALL = 63
};

struct auth;
struct identities;
struct vault;
struct access;
struct audit;
struct providers;
struct limits;
struct registries;
struct masks;
struct reactor;
struct agents;
struct loggers;
struct watchers;
struct worker;
struct monitor;
struct config;
struct channel;
struct router_table;
struct replicas;
typedef struct engine {
    store_t *store;
    logstore_t *logs;
    logger_t log;
    const osmo_transport_t *transport;
    char *data_dir, *storage_dir, *base_url_option;
    unsigned roles;
    osmo_auth_mode_t auth_mode;
    _Atomic int64_t clock_first;  /* clock.c: wall minus steady clock at the start */
    _Atomic int64_t clock_offset; /* … and as the deadlines in the store know it */
    _Atomic int64_t clock_steps;  /* by how much the deadlines of a shared store were moved, as far as this process knows */
    /* each owned by the file of its name */
    struct config *config;     /* config.c */
    struct auth *auth;         /* auth.c */
    struct identities *identities; /* auth_identify.c */
    struct vault *vault;       /* vault.c */
    struct access *access;     /* access.c */
    struct audit *audit;       /* audit.c */
    struct providers *providers; /* providers.c */
    struct limits *limits;     /* limits.c */
    struct registries *registries; /* registry.c */
    struct masks *masks;       /* masks.c */
    struct reactor *reactor;   /* reactor.c: posted events that are not committed yet */
    struct agents *agents;     /* agent.c */
    struct loggers *loggers;   /* logs.c */
    struct watchers *watchers; /* watch.c */
    struct worker *worker;     /* work.c */
    struct monitor *monitor;   /* timers.c */
    struct replicas *replicas; /* replicas.c */
    struct router_table *router; /* router.c */
    struct channel *channel;   /* replica_channel.c; NULL where there can be no other replica */
} engine_t;

int engine_open(const osmo_service_options_t *o, engine_t **out, osmo_error_t *err);
void engine_close(engine_t *e);

/* ---- clock.c ---- */
/* The time that deadlines are made of and compared with: the wall clock, except that it jumps with it only after the
 * deadlines in the store have been moved along. */
int64_t engine_now(engine_t *e);
/* For tests, before engine_open: other clocks than the system's; NULL for that. */
void engine_clock_source(int64_t (*wall)(void), int64_t (*steady)(void));

/* ---- config.c ---- */
/* Reference-counted snapshot; release with engine_settings_put. Never NULL. */
const struct settings *engine_settings(engine_t *e);
void engine_settings_put(const struct settings *s);
int engine_reload(engine_t *e, osmo_error_t *err);
int engine_set_base_url(engine_t *e, const char *url, osmo_error_t *err);
/* Copy of the base URL without trailing slash; caller frees. "" when unknown. */
char *engine_base_url(engine_t *e);

/* ---- submit.c ---- */
struct submit_request {
    const char *user, *pool, *priority;
    const char *text;
    size_t text_len;               /* priority HIGH NORMAL LOW */
    const char *uploaded_template; /* may be NULL */
    strlist_t set_variables, set_string_variables, env_vars, labels;
    const char *resubmit_id; /* workflow_id query; text is NULL then */
    const char *restart_id;  /* a failed workflow, of which the groups that failed run again; the same */
    bool dry_run, validation_only, is_admin;
    /* May the user read this workflow (id or uuid)? Asked for those that inputs come from; NULL: yes. 0 or a negative code with text. */
    int (*may_read)(void *ctx, const char *workflow, osmo_error_t *err);
    void *may_read_ctx;
};
struct submit_result {
    char *name;
    char *spec_yaml; /* dry run */
    strlist_t warnings;
    bool validated;
    char *message; /* of a failure: the whole text when err holds its beginning only, else NULL */
};
void submit_request_clear(struct submit_request *r); /* the lists only */
void submit_result_clear(struct submit_result *r);
/* On failure err holds code and text, *workflow_id_of_error (malloc'ed or NULL) what the error envelope carries. */
int engine_submit(engine_t *e, const struct submit_request *rq, struct submit_result *out,
                  char **workflow_id_of_error, osmo_error_t *err);

/* ---- reactor.c: every change of state goes through these; they post to the writer and return at once ---- */
struct task_event {
    char workflow_uuid[33], task_uuid[33];
    int64_t retry_id;
    enum status status;
    int64_t exit_code;             /* EXIT_CODE_NONE */
    char *message, *node, *pod_ip; /* owned; may be NULL */
};
void task_event_clear(struct task_event *ev);
typedef void (*engine_done_fn)(void *ctx, int rc, const osmo_error_t *err);
/* Waits for the commit. OSMO_EUSER when finished and not forced, OSMO_EDATABASE unknown. */
int engine_cancel(engine_t *e, const char *id_or_uuid, const char *user, const char *message, bool force,
                  osmo_error_t *err);
/* Called by agent.c when the backend confirmed: create done (nothing to change), cleanup done. work_id is deleted in
 * the same transaction. */
int reactor_work_done(engine_t *e, int64_t work_id, const char *kind, const char *workflow_uuid,
                      const char *group_uuid, engine_done_fn done, void *ctx);
/* The backend failed a job for good (after its attempts): create_group fails the group 3002 with the cause, cleanup
 * becomes a dead letter. */
int reactor_work_failed(engine_t *e, int64_t work_id, const char *kind, const char *workflow_uuid,
                        const char *group_uuid, const char *cause, bool retry, engine_done_fn done, void *ctx);

/* ---- work.c / timers.c / watch.c: wake-ups, safe from any thread. After a commit: here, and as a hint in every other
 * replica. What ends in _here is for this process alone, and for what a hint means. ---- */
#define WAKE_WORK 1u /* outbox items for backends or the worker role */
#define WAKE_TIMERS 2u
#define WAKE_ARCHIVE 4u /* outbox items of the archive */
void engine_wake(engine_t *e, unsigned what);
void engine_wake_here(engine_t *e, unsigned what);
/* State of a workflow changed (status of it, a group or a task): followers of /watch and of logs look again. */
void watch_workflow_changed(engine_t *e, const char *workflow_uuid, const char *workflow_id);
void watch_workflow_here(engine_t *e, const char *workflow_id);
int watch_all_here(engine_t *e); /* 0 or OSMO_ENOMEM */
/* Register a stream (request id) to be woken by transport->stream_wake when the workflow (by public id) changes or
 * its log grows. */
int watch_add(engine_t *e, const char *workflow_id, uint64_t request_id);
void watch_remove(engine_t *e, const char *workflow_id, uint64_t request_id);

/* ---- agent.c: operator websockets. Sessions are created by api/ws routes ---- */
enum agent_socket { AGENT_CONTROL, AGENT_POD, AGENT_NODE, AGENT_EVENT, AGENT_HEARTBEAT, AGENT_MESSAGE, AGENT_WORKER };
typedef struct agent_session agent_session_t;
int agent_open(engine_t *e, enum agent_socket kind, const char *backend, uint64_t conn,
               const char *offered_extensions, agent_session_t **out, const char **accepted_extensions,
               osmo_error_t *err);
void agent_opened(agent_session_t *s);
void agent_message(agent_session_t *s, const void *data, size_t len, bool binary);
void agent_closed(agent_session_t *s);

/* ---- logs.c: logger websockets of osmo-ctrl and log reading ---- */
typedef struct logger_session logger_session_t;
int logger_open(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, uint64_t conn,
                const char *offered_extensions, logger_session_t **out, const char **accepted_extensions,
                osmo_error_t *err);
void logger_opened(logger_session_t *s);
void logger_message(logger_session_t *s, const void *data, size_t len, bool binary);
void logger_closed(logger_session_t *s);
/* Push an action to the ctrl of a task attempt: "barrier", "restart" … (JSON text). Dropped when no ctrl is
 * connected: ctrl re-asks. */
void logger_action(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, const char *action_json);
/* Re-check the group's barrier: when every unfinished task has joined, release them. After commit of a join or a
 * task's end. */
void logger_barrier_check(engine_t *e, const char *workflow_uuid, const char *group_uuid);
/* Tasks that must begin their command again are kept as "RETRY:TASK:NUMBER" beside the barriers of their group, until they
 * confirm it. A ctrl that cannot confirm is known to have heard when it joins a barrier again, or, in groups without
 * barriers, when it could be told once. Names no task can join. */
#define RESTART_UNTIL_JOIN "\x01restart until join"
#define RESTART_ONCE "\x01restart once"
/* Tell those of a group that are connected; the others are told when they are. */
void logger_restart(engine_t *e, const char *workflow_uuid, const char *group_uuid);
/* Worker item "archive_workflow": failure banner, end of log. OSMO_EBUSY: tasks still send their last lines, soon again. */
int logs_finish_workflow(engine_t *e, const char *workflow_uuid, osmo_error_t *err);
/* Streams for the API: logs (query may be NULL), events. *out is an osmo_stream_t that reads until the end of the
 * workflow's log. */
int logs_stream(engine_t *e, const char *workflow_id, const struct log_query *q, const char *regex,
                uint64_t request_id, osmo_stream_t **out, osmo_error_t *err);
int events_stream(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, uint64_t request_id,
                  osmo_stream_t **out, osmo_error_t *err);
/* The same with everything that can be asked for. Lines have the numbers that the store counts; of events, each is one. */
enum line_format {
    LINES_TEXT, /* as it is */
    LINES_SSE,  /* server-sent events: id is the number, data the line without its end; "event: end" at the end */
    LINES_JSON  /* {"line":N,"text":"…\n"}, one a line; an empty line keeps the connection alive */
};
struct line_options {
    struct log_query log;       /* of events only task, retry_id, from_line and since_us */
    const char *regex, *grep;   /* regex is asked for each line of an entry, grep for the entry; NULL = all match */
    enum line_format format;
    bool to_present;            /* ends where nothing more is there now */
};
int lines_stream(engine_t *e, const char *workflow_id, bool events, const struct line_options *o, uint64_t request_id,
                 osmo_stream_t **out, osmo_error_t *err);
/* One JSON line {"status":…} per change until the workflow is finished. */
int status_stream(engine_t *e, const char *workflow_id, uint64_t request_id, osmo_stream_t **out, osmo_error_t *err);

/* osmo_stream implementors: first member of their struct. */
struct osmo_stream {
    ssize_t (*read)(struct osmo_stream *s, char *data, size_t max);
    void (*close)(struct osmo_stream *s);
};

/* ---- auth.c ---- */
enum identity_kind {
    IDENTITY_NONE,
    IDENTITY_DEV,      /* development mode: x-osmo-user */
    IDENTITY_TOKEN,    /* an access token, or the JWT it was exchanged for */
    IDENTITY_TASK,     /* JWT of a task attempt */
    IDENTITY_BACKEND,  /* a token of the backend token directory, or the JWT it was exchanged for */
    IDENTITY_PROVIDER, /* token of a configured OIDC provider */
    IDENTITY_GATEWAY   /* x-osmo-* headers of a configured peer */
};
struct identity {
    enum identity_kind kind;
    char *backend;            /* the only backend it may serve; NULL: what its roles say */
    char *user;
    strlist_t roles;
    char *token_name;         /* NULL unless an access token */
    int64_t token_expires_us; /* of that access token; 0 = unknown */
    char *workflow_id;        /* claim osmo_workflow_id: a task's token */
    char *task_name;
    int64_t retry_id;
    char *group_name; /* of a task's token */
    strlist_t external;     /* names of its roles at the provider or gateway that vouches for it */
    strlist_t left_out;     /* roles of its user that the token or task does not have: what they deny counts all the same */
    int64_t issued_s;       /* iat of a JWT of ours; 0 = none */
    int64_t made_us;        /* of an access token: tells it from those before and after it of its name; 0 = unknown */
    char token_id[17];      /* of a backend's token: tells it from those before and after it; "" = unknown */
    uint64_t generation;    /* auth_confirm(): the access_generation() it was found good under */
    int64_t confirmed_us;   /* ... and when, by the steady clock; 0 = never */
    bool stale;             /* proved some time ago: where its roles came from elsewhere, those may be others by now */
};
void identity_clear(struct identity *id);
/* Copies; 0 or OSMO_ENOMEM. */
int identity_copy(const struct identity *from, struct identity *to);
/* Who is asking: Authorization: Bearer / x-osmo-auth (required mode), x-osmo-user (dev mode, with Host and Origin
 * checks), x-osmo-* headers of a gateway. OSMO_EUNAUTH / OSMO_EDENIED; *out is empty then, but for the names in a genuine token that counts
 * no more, which is no guess. */
int auth_identify(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err);
/* The same on a thread that must not wait: by what is remembered, or by a signature alone; auth_confirm() is owed before the identity
 * counts. OSMO_EUNAVAIL: the store has to be asked, which is being done; again in a moment. */
int auth_identify_now(engine_t *e, const osmo_request_t *rq, struct identity *out, osmo_error_t *err);
/* Is the identity still good: token, user and roles as they are now, the task's attempt not finished? Costs nothing while it was found
 * good under the present access_generation() a moment ago; may block on the store otherwise. Brings its roles up to date. OSMO_EUNAUTH. */
int auth_confirm(engine_t *e, struct identity *who, osmo_error_t *err);
/* Is it a header by which somebody says who is asking? Nobody behind auth_identify() looks at those: only what it concluded counts. */
bool auth_is_identity_header(const char *name);
/* Is the peer a gateway that speaks for many? */
bool auth_trusts_gateway(engine_t *e, const char *peer);
/* Whether auth_identify() would wait for nothing: only while the first signing key of a database is being made it would. */
bool auth_is_ready(engine_t *e);
/* Access token (43 or 64 characters) → JWT valid 300 s. */
int auth_exchange(engine_t *e, const char *token, char **jwt, int64_t *expires_at_s, osmo_error_t *err);
/* Task refresh token → JWT. *finished set when the task is finished (answer is the FINISHED detail). */
int auth_exchange_task(engine_t *e, const char *workflow_id, const char *group, const char *task, int64_t retry_id,
                       const char *token, char **jwt, int64_t *expires_at_s, bool *finished, osmo_error_t *err);
/* Another key signs from now on; the one before it verifies until all its tokens have ended. Its size is settings.signing_key_bits. */
int auth_rotate_key(engine_t *e, osmo_error_t *err);
json_t *auth_jwks(engine_t *e); /* waits for the key when it is still being made */
/* The refresh token of a task attempt: derived from the master secret, so every re-send of a create carries the same.
 * 43 characters + NUL. */
int auth_task_refresh_token(engine_t *e, const char *task_uuid, int64_t retry_id, char out[44], osmo_error_t *err);
/* First login JWT of a task (300 s). */
int auth_task_jwt(engine_t *e, const char *user, const char *workflow_id, const char *group, const char *task,
                  int64_t retry_id, char **jwt, osmo_error_t *err);
char *auth_take_admin_token(engine_t *e);

/* internal constructors, called by engine_open in this order and destroyed in reverse */
int config_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err);
void config_close(engine_t *e);
int auth_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err);
void auth_close(engine_t *e);
int identities_open(engine_t *e, const osmo_service_options_t *o, osmo_error_t *err); /* after auth and access, before providers */
void identities_close(engine_t *e);
/* What identities are worth was changed: open sessions are gone through. Called by access.c. */
void identities_changed(engine_t *e);
int watch_open(engine_t *e, osmo_error_t *err);
void watch_close(engine_t *e);
int logs_open(engine_t *e, osmo_error_t *err); /* opens e->logs below data_dir/logs */
void logs_close(engine_t *e);
int agents_open(engine_t *e,
                osmo_error_t *err); /* dispatcher thread: claims create/cleanup items for connected backends */
void agents_close(engine_t *e);
/* The threads of the parts that are open; each may wake any other, so all are prepared before the first one starts. */
int agents_start(engine_t *e, osmo_error_t *err);
int worker_start(engine_t *e, osmo_error_t *err);
int monitor_start(engine_t *e, osmo_error_t *err);
int worker_open(engine_t *e, osmo_error_t *err); /* worker role: archive and other service-side items */
void worker_close(engine_t *e);
int monitor_open(engine_t *e, osmo_error_t *err); /* delayed-job monitor: sleeps until the next timer row */
void monitor_close(engine_t *e);
void agents_wake(engine_t *e);
void worker_wake(engine_t *e);
void archivers_wake(engine_t *e);
void monitor_wake(engine_t *e);
#endif
