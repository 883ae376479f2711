/* osmo_ctrl: the sidecar of a task. Phases: connect → download → barrier → run → upload → finish. The main thread walks
 * the phases and relays the command's output into the spool; the loop thread (ws_client) carries the logger connection
 * and all sessions with users (actions.h), and never waits for anything. Beside them two that sleep: one fetches tokens,
 * one waits for a termination; and while a checkpoint is uploaded, one for it. They share the spool and the logger's
 * control state, each under its own mutex. Flags, exit codes and wire are OSMO's. */
#ifndef OSMO_CTRL_H
#define OSMO_CTRL_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/http.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "base/ws_client.h"
#include "model/logline.h"
#include "osmo/error.h"

/* Raw exit codes of osmo_ctrl (reported as 2000 + n). OSMO's 31, a client that failed, has no cause here: data is moved without one. */
enum ctrl_exit {
    CTRL_OK = 0,
    CTRL_TERMINATED = 1,
    CTRL_DOWNLOAD = 10,
    CTRL_UPLOAD = 12,
    CTRL_ACCESS = 13,        /* could not be found out */
    CTRL_DENIED = 14,       /* access to data */
    CTRL_TOKEN = 20,
    CTRL_LOGGER = 21,
    CTRL_MESSAGE = 22,       /* a log line, 24: a barrier, 25: a metric could not be put into a message */
    CTRL_SOCKET = 23,
    CTRL_BARRIER = 24,
    CTRL_METRIC = 25,
    CTRL_ARGUMENT = 30,
    CTRL_FILE = 32,
    CTRL_OTHER = 40
};

struct options {
    strlist_t inputs, outputs;
    const char *workflow, *group, *retry_id, *log_source, *barrier, *socket_path, *scheme, *host, *port, *refresh_token,
        *refresh_scheme, *token_header;
    const char *user_config, *service_config, *input_path, *output_path, *metadata_file, *login_file, *spool_path,
        *termination_log;
    int64_t timeout_min, unix_timeout_min, exec_timeout_min, data_timeout_min, logs_period_ms, logs_buffer,
        spool_limit_mib;
};

/* ---- spool.c: the log lines that the logger has not confirmed, in one file of the pod's emptyDir ---- */
struct spool_entry { uint64_t seq; int64_t time_ns; enum io_type type; const char *text; size_t len; };
struct spool;
int spool_open(const char *path, uint64_t limit, struct spool **out, osmo_error_t *err);
void spool_free(struct spool *s);
/* Append one line; blocks while the spool holds its limit of unconfirmed bytes, or the disk is full and confirmations
 * can make room. Gives it the next sequence number. */
int spool_append(struct spool *s, enum io_type type, const char *text, size_t len);
/* Hand over unsent entries in order, up to max_bytes of text; fn returns false to stop before that entry. Number handed
 * over. */
size_t spool_send(struct spool *s, size_t max_bytes, bool (*fn)(void *ctx, const struct spool_entry *e), void *ctx);
void spool_confirm(struct spool *s, uint64_t seq);       /* everything up to seq is safe; UINT64_MAX: all that was sent */
void spool_rewind(struct spool *s);                      /* reconnect: send again from the first unconfirmed entry */
uint64_t spool_unconfirmed(struct spool *s);             /* bytes */
uint64_t spool_in_flight(struct spool *s);               /* bytes sent and not confirmed */
bool spool_wait_empty(struct spool *s, int64_t timeout_ms); /* -1 = until empty or abandoned */
void spool_abandon(struct spool *s); /* the end is near: writers never wait again, what exceeds the limit is dropped */

/* ---- token.c ---- */
struct token;
int token_open(const struct options *o, struct token **out);
void token_free(struct token *t);
/* "Bearer …" with a JWT that is valid for a while, asking the service for a new one when needed; NULL when the task has
 * no token. Blocks; any thread but one at a time is served. *gone is set when the service says the task is finished. */
char *token_bearer(struct token *t, bool *gone, osmo_error_t *err);
/* Without waiting: true, and *bearer (NULL: this task has none) is good for a while; false: it has to be fetched. */
bool token_at_hand(struct token *t, char **bearer);
/* Does the service count this attempt as over? Asks it, for at most timeout_ms; false when it cannot be asked. */
bool token_is_over(struct token *t, int64_t timeout_ms);
/* CTRL_TOKEN when the file of the refresh token is there and cannot be used. */
int token_check(const struct options *o);

/* ---- logger.c: the websocket to the logger ---- */
struct logger_link;
struct actions;
int logger_link_open(const struct options *o, struct token *t, struct spool *s, struct actions *a, struct logger_link **out,
                     osmo_error_t *err);
ws_loop_t *logger_link_loop(struct logger_link *l);
/* Loop thread. As token_at_hand(); with `ask`, false also has it fetched, and actions_token_ready() follows. */
bool logger_link_bearer(struct logger_link *l, char **bearer, bool ask);
void logger_link_close(struct logger_link *l);
void logger_link_pump(struct logger_link *l);            /* the spool grew */
/* Wait until connected once. 0, or a ctrl_exit code. */
int logger_link_wait_connected(struct logger_link *l);
/* Ask for the barrier and wait for its release; asked again after each reconnect. */
int logger_link_barrier(struct logger_link *l, const char *name);
/* Readable when the command has to begin again; cleared by hand, and by waiting at a barrier. */
int logger_link_restart_fd(const struct logger_link *l);
void logger_link_restart_clear(struct logger_link *l);
/* Metrics object (taken); delivered at least once, in the background. */
void logger_link_metric(struct logger_link *l, const char *metric_type, json_t *metric);
/* All lines confirmed, then the LOG_DONE handshake. */
int logger_link_finish(struct logger_link *l);
void logger_link_interrupt(struct logger_link *l);       /* makes every wait return CTRL_TERMINATED */

/* ---- main.c ---- */
enum run_phase { RUN_BEFORE, RUN_NOW, RUN_OVER }; /* of the user's command */
struct ctrl {
    struct options o;
    struct token *token;
    struct spool *spool;
    struct logger_link *link;
    struct actions *actions;
    struct termination *end;
    int listener, exec_fd, signals;
    pthread_mutex_t exec_lock;  /* of writing to exec_fd */
    buf_t exec_in;
    bool exec_started;
    atomic_int run_phase;       /* written by the main thread, as the next two: what osmo_exec said */
    atomic_bool exec_ours, rsync_running;
    _Atomic int64_t started_us; /* monotonic: when the command was asked for */
};
/* One [osmo] line of the given type into the log. */
void ctrl_say(struct ctrl *c, enum io_type type, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Wait until the whole group is ready, if the task was given a barrier. */
int group_barrier(struct ctrl *c);

/* ---- termination.c: SIGTERM, as a cluster sends it when a pod is deleted, preempted or evicted ---- */
enum stage { STAGE_BEFORE, STAGE_INPUTS, STAGE_RUN, STAGE_OUTPUTS, STAGE_END };
struct termination;
/* Starts the thread that waits for it. Signals are blocked. */
int termination_watch(struct ctrl *c);
/* The main thread enters a stage. false: it ends here, with CTRL_TERMINATED. */
bool termination_enter(struct ctrl *c, enum stage stage);
/* How long the command may still run, once we were told to end. */
int64_t termination_command_ms(struct ctrl *c);
/* And how long all the rest may take. */
int64_t termination_left_ms(struct ctrl *c);
/* Told to end, and the attempt does not count any more (cancelled, replaced): its outputs are nobody's. Waits a moment for the answer. */
bool termination_is_over(struct ctrl *c);
/* Leave the code as termination message, and end. */
void ctrl_exit(const struct ctrl *c, int code) __attribute__((noreturn));

/* ---- actions.c: what the service asks of a task that runs ---- */
int actions_new(struct ctrl *c, struct actions **out);
/* Loop thread. */
void actions_take(struct actions *a, struct logger_link *link, const json_t *action);
void actions_token_ready(struct actions *a);
/* Any thread: osmo_exec is connected, or what is known of the command changed. */
void actions_changed(struct ctrl *c);

/* ---- transfer.c ---- */
int transfer_inputs(struct ctrl *c);                     /* ctrl_exit code */
int transfer_outputs(struct ctrl *c);

/* ---- checkpoint.c ---- */
/* Loop thread. A connection on which osmo_exec sends a checkpoint's files; taken when true. */
bool checkpoint_take(struct ctrl *c, int fd, const json_t *what);

/* ---- exec_link.c ---- */
int exec_listen(struct ctrl *c);
int exec_accept(struct ctrl *c);
int exec_send(struct ctrl *c, const char *type, const char *field, const char *text);
/* Any thread. Ask for a session; id NULL: in OSMO's way. */
int exec_send_session(struct ctrl *c, const char *command, const char *id);
/* The command may begin. */
int exec_start(struct ctrl *c);
/* Relay the command's messages until it ends; when the group begins again the command is stopped and, behind the
 * barrier, started again. CTRL_OK whatever the command's own code. */
int exec_relay(struct ctrl *c);
#endif
