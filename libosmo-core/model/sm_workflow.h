/* A whole workflow as one pure state machine: groups, tasks and edges in memory, one event in, effects out. It composes
 * the rules of model/sm.h the way the engine composes them over rows, so that tests can compare the engine's end states
 * with it, and it can be explored exhaustively. Anyone above base/ may call it. */
#ifndef MODEL_SM_WORKFLOW_H
#define MODEL_SM_WORKFLOW_H
#include "model/sm.h"

enum { SMW_GROUPS_MAX = 16, SMW_TASKS_MAX = 8 /* of one group */ };

/* Who is to blame: a task of a group, or (task -1) what happened to the group as a whole. */
struct smw_cause { enum status status; /* NONE: nothing failed */ int64_t exit_code; int group, task; };

struct smw_task {
    struct sm_task sm; /* the latest attempt; all earlier ones are RESCHEDULED and never change */
    bool reported;     /* it ended by its own report, not together with others */
    const struct sm_exit_action *actions; size_t nactions; /* exitActions, borrowed */
};
struct smw_group {
    struct sm_group sm;
    struct smw_task tasks[SMW_TASKS_MAX]; size_t ntasks;
    uint32_t upstream;  /* bit per group; only groups before this one */
    bool sent;          /* handed to the backend: objects may exist, a cleanup is owed when it ends */
    bool cleaned;       /* nothing is owed any more */
    struct smw_cause cause;
};
struct smw {
    struct sm_workflow sm;
    size_t ngroups;
    const struct sm_exit_action *pool_actions; size_t npool_actions; /* default_exit_actions of the pool, borrowed */
    int64_t max_retry;  /* max_retry_per_task */
    int64_t uncleaned;  /* groups */
    bool cancel_requested, archived;
    struct smw_cause cause;
    struct smw_group groups[SMW_GROUPS_MAX]; /* last: whoever copies a small workflow need not copy the rest */
};

enum smw_kind {
    SMW_ACCEPTED,      /* the submission is stored: groups without upstream start */
    SMW_SENT,          /* the create job of a group was handed to its backend, once or again */
    SMW_CREATE_FAILED, /* … and will never succeed */
    SMW_REPORT,        /* status, exit code, task and attempt: from its pod, the loss of its node, its start timer, or
                          the failure of its reschedule job (FAILED_BACKEND_ERROR) */
    SMW_QUEUE_TIMEOUT, SMW_EXEC_TIMEOUT, /* of a group */
    SMW_CANCEL, SMW_FORCE_CANCEL,
    SMW_BACKEND_LOST,  /* the backend is given up, with everything that is not finished */
    SMW_CLEANED        /* the cleanup of a group succeeded or was given up */
};
struct smw_event { enum smw_kind kind; int group, task; int64_t retry_id, exit_code; enum status status; };

enum smw_what {
    SMW_CREATE, SMW_CLEANUP, SMW_CLEANUP_FORCED, /* group */
    SMW_ARM_QUEUE, SMW_ARM_EXEC,                 /* group */
    SMW_BARRIER_LEAVE,                           /* group, task */
    SMW_BARRIER_CLEAR,                           /* group */
    SMW_RESCHEDULE,                              /* group, task, the new retry_id */
    SMW_RESTART,                                 /* group, task: its command begins again in the same pod */
    SMW_FINISH,                                  /* the workflow has its final status */
    SMW_ARCHIVE                                  /* … and nothing of it is left in the cluster */
};
struct smw_effect { enum smw_what what; int group, task; int64_t retry_id; };
/* No event has more: of each group a create, a cleanup, a forced one, a cleared barrier and a timer; of one group its
 * tasks; then the end. */
enum { SMW_EFFECTS_MAX = SMW_GROUPS_MAX * 5 + SMW_TASKS_MAX + 4 };
struct smw_effects { struct smw_effect items[SMW_EFFECTS_MAX]; size_t n; };

/* A workflow as it is stored first: groups SUBMITTING, tasks WAITING. The caller has filled ngroups, of each group
 * ntasks, upstream and sm.ignore_nonlead_status, of each task sm.lead and actions, and the limits; all else zero.
 * false when a number is out of range, an edge points forward or a group has not exactly one lead. */
bool smw_init(struct smw *w);
/* Applies one event. fx is overwritten. false when the event is refused: a cancel of a finished workflow that is not
 * forced. What comes late, twice or for nobody changes nothing and has no effects. */
bool smw_event(struct smw *w, const struct smw_event *ev, int64_t now_us, struct smw_effects *fx);
#endif
