/* What the files of the reactor share: the transaction of one event, the rules that change rows in it and the effects
 * that follow its commit. Included by reactor*.c, timers.c, submit*.c, work.c and agent*.c only. */
#ifndef ENGINE_REACTOR_INTERNAL_H
#define ENGINE_REACTOR_INTERNAL_H
#include "base/cleanup.h"
#include "engine/engine.h"
#include "store/repo.h"
#include "store/repo_queues.h"

#define WORK_CREATE "create_group"
#define WORK_CLEANUP "cleanup_group"
#define WORK_RESCHEDULE "reschedule_task" /* the key is group:task:retry, the payload names the attempt to create */
#define WORK_ORPHAN "remove_orphan"       /* the key is group, or group:task:retry; the payload names them and the workflow */
#define WORK_LABEL "label_node"           /* the key is backend/node, the payload names the node */
#define WORK_QUEUES SYNC_QUEUES           /* the key is the backend; the payload names it, the objects and their digest */
#define WORK_TESTS SYNC_TESTS             /* the same */
#define WORK_NEXT "next_after" /* member of the payload of some create jobs, see START_BATCH */
#define WORK_CANCEL "cancel_groups"       /* the rest of a cancellation; the key is the workflow */
#define WORK_PROPAGATE "propagate_group"  /* the rest of what an ended group means for those behind it */
#define WORK_ARCHIVE "archive_workflow"
#define TIMER_EXEC "exec_timeout"
#define TIMER_QUEUE "queue_timeout"
#define TIMER_START "start_timeout"

/* What must happen after the commit, and only then. */
struct effects {
    unsigned wake;
    bool changed; /* a status of the workflow, a group or a task */
    char *workflow_id;
    strlist_t barrier_groups; /* groups whose barrier may be satisfied now */
    strlist_t restart_groups; /* groups with tasks that must begin their command again */
};

struct ended_group {
    char uuid[33];
    char *name;
    enum status status;
};

/* One event in its transaction, with the workflow row locked. */
struct txn {
    engine_t *e;
    db_t *db;
    int64_t now;
    struct workflow_row wf;
    bool wf_dirty;
    bool cascade;              /* ended groups promote or fail what is downstream of them */
    struct ended_group *ended; /* groups that ended in this transaction, in order */
    size_t nended, cap_ended;
    struct history_entry history[HISTORY_ROWS_MAX]; /* to be written with the others of the transaction */
    size_t nhistory;
    int64_t resume_after;      /* groups behind the first ended one up to this ordinal have been told already; else -1 */
    struct effects *fx;
    osmo_error_t *err;
};

/* Decide and write. arg is read-only for it, except for fields meant as its answer: it may run again from scratch.
 * <0 rolls everything back. */
typedef int (*decide_fn)(struct txn *x, void *arg);

/* For deletions: somebody was faster. */
static inline int gone_is_fine(int rc) { return rc == OSMO_ENOTFOUND ? 0 : rc; }

int reactor_open(engine_t *e, osmo_error_t *err);
void reactor_close(engine_t *e); /* waits until every posted event is committed and reported */
/* Post an event of a workflow; takes arg (freed with free_arg after done). A workflow that does not exist is a
 * warning and rc 0. */
int reactor_post(engine_t *e, const char *workflow_uuid, decide_fn decide, void *arg, void (*free_arg)(void *),
                 engine_done_fn done, void *ctx);
/* The same, waiting for the commit. Never call it from a done function. */
int reactor_run(engine_t *e, const char *workflow_uuid, decide_fn decide, void *arg, osmo_error_t *err);

/* An event of one task as reported by a backend; only workflows of that backend are changed. backend NULL = trusted
 * source. Takes the strings of *ev. done (may be NULL) runs after the commit, on a writer thread. */
int reactor_backend_event(engine_t *e, const char *backend, struct task_event *ev, engine_done_fn done, void *ctx);
/* Arm the start timeout of a task that a backend reports as stuck before RUNNING. */
int reactor_start_timer(engine_t *e, const char *backend, const char *workflow_uuid, const char *task_uuid,
                        int64_t retry_id, engine_done_fn done, void *ctx);

/* ---- many groups ---- */
/* Create jobs in the queue of one workflow are few, however many of its groups may start: others get their turn, and a
 * cancellation finds little to take back. The job in the middle of a batch brings the next batch when it is handed out. */
#define START_BATCH 512
/* Groups that one event changes in its own transaction; the rest follows in transactions of this size, by work items. */
#define GROUPS_PER_TXN 256
/* Queues the create jobs of the n groups; `more` says that groups behind the last may start too. */
int groups_queue(db_t *db, const struct workflow_row *wf, const struct group_place *groups, size_t n, bool more,
                 int64_t now, osmo_error_t *err);
/* The next batch behind the group with this ordinal. */
int groups_queue_next(db_t *db, const struct workflow_row *wf, int64_t after, int64_t now, osmo_error_t *err);

/* ---- rules (reactor_rules.c) ---- */
int txn_task_set(struct txn *x, struct group_row *g, struct task_row *t, enum status to, int64_t exit_code,
                 const char *message, bool *changed);
/* Every unfinished task of the group except the one with key `except` (may be NULL). */
int txn_tasks_close(struct txn *x, struct group_row *g, const char *except, enum status to, int64_t exit_code,
                    const char *message);
/* Give the group the status `to` if its guard allows, write it, and do what the new status demands. message (may be
 * NULL) is kept when `to` is a failure. */
int txn_group_settle(struct txn *x, struct group_row *g, enum status to, bool forced, const char *message);
int txn_group_fail(struct txn *x, struct group_row *g, enum status status, int64_t exit_code, const char *message);
/* Start a group all of whose upstream groups are COMPLETED. */
int txn_group_start(struct txn *x, struct group_row *g);
int txn_group_cleaned(struct txn *x, struct group_row *g);
int txn_task_event(struct txn *x, const struct task_event *ev);
/* kind "workflow" "group" "task"; name may be NULL, retry < 0: none; cause may be NULL. */
int txn_history(struct txn *x, const char *kind, const char *name, int64_t retry, enum status from, enum status to,
                const char *cause);
void txn_history_clear(struct txn *x);
/* Downstream groups, workflow status, archive item, workflow row. Once, last. */
int txn_finish(struct txn *x);
/* Was the group ever handed to its backend? Then objects may exist there and a cleanup job is owed. */
static inline bool group_was_sent(const struct group_row *g) { return g->exec_generation > 0; }

/* ---- attempts (reactor_retry.c) ---- */
/* What a report becomes after exitActions; NONE when it does not apply to the attempt any more. */
struct verdict {
    enum status to;
    char *message;
};
void verdict_clear(struct verdict *v);
int txn_verdict(struct txn *x, const struct task_row *t, const struct task_event *ev, struct verdict *v);
/* The task has just got a finished status: its group follows, and its next attempt begins if it was rescheduled. */
int txn_task_ended(struct txn *x, struct group_row *g, struct task_row *t);
/* A failed preflight test marks the node. */
int txn_label_node(struct txn *x, const struct task_row *t, const struct task_event *ev);

/* ---- the rest of large changes, as work items ---- */
/* Each deletes nothing: the caller has deleted the item, what is left is queued as a new one. */
int cancel_resume(struct txn *x, const struct work_row *item);
int propagate_resume(struct txn *x, const struct work_row *item);

/* ---- the words of failures (cause.c) ---- */
/* "task NAME failed with exit code 3: message" */
char *task_failure_text(const struct task_row *t);
/* What a backend says of a task as one line, malloc'ed; "" for NULL. NULL when memory is short. */
char *cause_line(const char *message, const char *task);
/* Adds the last error output of the attempt to a *message that names nothing but the exit code. 0 or OSMO_ENOMEM. */
int cause_explain(engine_t *e, const char *workflow_id, const struct task_row *t, enum status status,
                  int64_t exit_code, char **message);

/* ---- outcome of jobs (reactor_jobs.c) ---- */
enum job_kind { JOB_CREATE, JOB_CLEANUP, JOB_RESCHEDULE, JOB_LABEL, JOB_ORPHAN, JOB_QUEUES, JOB_TESTS };
enum job_kind job_kind_of(const char *work_kind);
struct job_file {
    char *path, *content;
    size_t len;
};
struct job_result {
    int64_t work_id, attempts;
    enum job_kind kind;
    char workflow_uuid[33], group_uuid[33], owner[64]; /* owner: who had taken the item; "" = whoever it was */
    char *payload;          /* owned; of the item, may be NULL */
    enum { JOB_DONE, JOB_RETRY, JOB_FAILED, JOB_LOST } outcome; /* lost: its session ended; the item is given back elsewhere */
    char *cause;            /* owned */
    struct job_file *files; /* owned; stored with the outcome */
    size_t nfiles;
};
void job_result_free(void *r);
int reactor_job_result(engine_t *e, struct job_result *r /* taken */, engine_done_fn done, void *ctx);
/* The next attempt has got its pod. */
int reschedule_done(struct txn *x, const struct job_result *r);
/* The next attempt never got its pod. */
int reschedule_failed(struct txn *x, const struct job_result *r);
/* Delay before attempt n+1: doubles from 1 s to 5 min, with jitter of a quarter. */
int64_t retry_delay_us(int64_t attempts);

/* Group and tasks of a job about to be sent; marks the group as handed to the backend. `drop` is set when the item is
 * not needed any more (then it is deleted). */
struct handout {
    int64_t work_id;
    enum job_kind kind;
    char group_uuid[33]; /* "" of a node */
    const char *payload; /* of the item, borrowed; may be NULL */
    int64_t next_after;  /* the item brings the groups behind this ordinal; -1: none */
    bool drop;
    struct workflow_row wf;
    struct group_row group;
    struct task_row *tasks;
    size_t ntasks;
    const struct task_row *retry; /* of tasks: the attempt that is rescheduled */
    const struct settings *settings; /* what its objects are made from; held by the dispatcher */
    char *kinds_json;                /* of a cleanup: what was kept with the group; may be NULL */
};
void handout_clear(struct handout *h);
int handout_decide(struct txn *x, void *handout);
/* agent_kinds.c: keeps the kinds of objects that are made now; those a cleanup must look for, NULL when memory is short. */
int kinds_remember(struct txn *x, struct handout *h);
json_t *kinds_to_clean(const struct handout *h);
/* Finds h->retry, the attempt the item is about; NULL when it needs no pod any more. */
int reschedule_find(struct txn *x, struct handout *h);

static inline void effects_reset(struct effects *fx) {
    free(fx->workflow_id);
    strlist_free(&fx->barrier_groups);
    strlist_free(&fx->restart_groups);
    *fx = (struct effects){ 0 };
}
#endif
