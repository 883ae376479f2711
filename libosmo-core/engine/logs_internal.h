/* Shared by logs.c (log store, session table,
                     end of a workflow's log), logs_session.c (frames from ctrl), logs_barrier.c and
 * logs_stream.c (readers for the API). */
#ifndef ENGINE_LOGS_INTERNAL_H
#define ENGINE_LOGS_INTERNAL_H
#include <pthread.h>
#include "base/buf.h"
#include "base/map.h"
#include "engine/engine.h"
#include "store/repo.h"

#define CLOSE_APPLICATION 4000   /* unknown workflow or task, malformed frame: the reason says which */
#define CLOSE_INTERNAL 1011      /* the lines could not be stored: reconnect and send them again */
#define IO_LINE_TYPES (IO_OSMO_CTRL + 1)
#define LINE_CUT_FROM 16384     /* a line of so many bytes may be a piece of a longer one: osmo-ctrl cuts them at 32768 */

struct loggers {
    pthread_mutex_t lock;
    struct map *by_attempt;      /* attempt key → struct logger_session, the newest connection of each attempt */
    pthread_cond_t idle;
    _Atomic uint64_t dropped;    /* copies of archived logs: followers see that theirs may be gone */
    size_t writes;               /* posted and not yet done: closing waits for them */
    struct line_writers *lines;  /* NULL: appending is fast, nothing is queued */
    struct beats *beats;         /* logs_beat.c */
    int64_t beat_us;             /* how often streams that promise it give a sign of life */
};
/* Lines that are to be written, under the lock of logs_lines.c. */
struct session_lines {
    struct logger_session *prev, *next;
    struct log_entry *entries;   /* one behind the other in text, which they do not point to yet */
    size_t n, cap;
    buf_t text;
    uint64_t oldest, writing_since; /* when they came, by the count of lines: of those that wait, of those being written */
    bool listed, writing;
};
struct logger_session {
    engine_t *engine;
    uint64_t conn;
    char *workflow_id, *task;
    char *key;                   /* in the session table; NULL = not there */
    char workflow_uuid[33], group_uuid[33], task_uuid[33];
    int64_t retry_id;
    bool batches;                /* extension "logs" in use */
    bool answers;                /* extension "restarts" in use: it confirms them */
    bool takes_actions;          /* extension "actions" in use: it confirms what it finds in its mailbox (router_actions.c) */
    int64_t last_action;         /* of its mailbox, sent over this connection; under the lock of the table */
    bool refused;                /* closed as soon as it was open */
    struct user_mask *mask;      /* of the workflow's user; NULL = nothing to mask */
    uint32_t mask_begun[IO_LINE_TYPES]; /* by type: what the last line began, where it was cut */
    struct session_lines lines;
};
/* "workflow \n task \n retry", malloc'ed. */
char *logs_attempt_key(const char *workflow_id, const char *task, int64_t retry_id);
struct ctrl_action {
    const char *json, *numbered; /* numbered: for a ctrl that confirms it; NULL = the same */
};
/* Send to the attempt's ctrl; false when none is connected. *answers (may be NULL): it will confirm. */
bool logs_send_action(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id,
                      const struct ctrl_action *action, bool *answers);
/* Around every store_post of this area, from posting to the end of its done function. */
void logs_write_begin(engine_t *e);
void logs_write_end(engine_t *e);
void logs_send_text(struct logger_session *s, const char *text);
void logs_close_session(struct logger_session *s, int code, const char *reason);

/* logs_lines.c: where each append waits for a commit, lines without a number queue up and are written in bulk. */
int lines_open(engine_t *e, osmo_error_t *err);
void lines_close(engine_t *e); /* writes what there is */
/* Copies the line; waits while too much is queued. 0 or OSMO_ENOMEM, OSMO_ELIMIT. */
int lines_put(struct logger_session *s, const struct log_entry *entry);
/* Returns when everything the session has sent is written. Not while somebody calls lines_put() for it. */
void lines_flush(struct logger_session *s);
/* Everything that the ctrls of the workflow that are connected here have sent until now. */
void lines_flush_workflow(engine_t *e, const char *workflow_id);

/* logs_beat.c: streams that are woken every beat_us. */
int beats_open(engine_t *e, osmo_error_t *err);
void beats_close(engine_t *e);
int beats_add(engine_t *e, uint64_t request_id); /* 0, OSMO_ENOMEM, OSMO_EBUSY, OSMO_EUNAVAIL */
void beats_remove(engine_t *e, uint64_t request_id);

/* Does a task of the workflow have its ctrl connected to this process? */
bool logs_ctrl_is_here(engine_t *e, const char *workflow_id);
/* logs_barrier.c, logs_restart.c: for the ctrls that are connected here. Whether others may have to look for theirs. */
bool barrier_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid);
bool restart_check_here(engine_t *e, const char *workflow_uuid, const char *group_uuid);
/* logs_barrier.c: record the join; the group is checked once the join is committed. */
void barrier_join(struct logger_session *s, const char *name, int64_t count);
/* logs_restart.c: tell this ctrl alone if it missed a restart. */
void restart_check_one(struct logger_session *s);
/* The ctrl confirms the restart of this number. */
void restart_confirmed(struct logger_session *s, const char *id);
/* In a transaction: the attempt has joined again, which is how a ctrl answers that does not confirm. */
int restart_answered(db_t *db, const char *group_uuid, const char *task, int64_t retry_id, osmo_error_t *err);
/* Release this ctrl alone if it has joined a barrier that is open already. */
void barrier_check_one(struct logger_session *s);
#endif
