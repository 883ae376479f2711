/* Why a workflow is where it is: what each unfinished group waits for, what failed first, what happens next and when.
 * Pure: engine/explain.c fills the snapshot from rows, api/explain_routes.c shows the answer. */
#ifndef MODEL_EXPLAIN_H
#define MODEL_EXPLAIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/settings.h"
#include "model/status.h"
#include "osmo/error.h"

enum {
    EXPLAIN_GROUPS_MAX = 50,   /* unfinished groups that are explained one by one */
    EXPLAIN_TASKS_MAX = 8,     /* unfinished tasks of each */
    EXPLAIN_EVENTS_MAX = 12,   /* newest lines of each task */
    EXPLAIN_REASONS_MAX = 8,   /* of a group */
    EXPLAIN_STEPS_MAX = 200,
    EXPLAIN_NAMES_MAX = 10     /* upstream groups named */
};

enum explain_why {
    WHY_DEPENDENCY,      /* other groups must complete first */
    WHY_CANCEL,          /* it is being cancelled */
    WHY_TURN,            /* its job is not queued yet */
    WHY_BACKEND_UNKNOWN, /* the backend never connected */
    WHY_BACKEND_OFFLINE,
    WHY_HANDOVER,        /* its job waits for the backend, or is with it */
    WHY_CREATE_RETRY,    /* the backend could not create it and tries again */
    WHY_ADMISSION,       /* the cluster refused it */
    WHY_GIVEN_UP,        /* the job ran out of attempts */
    WHY_CREATED,         /* created, no word of its pods yet */
    WHY_QUOTA, WHY_TOPOLOGY, WHY_FIT, WHY_TAINT, WHY_PLACEMENT, WHY_SCHEDULER, /* the scheduler has not placed it */
    WHY_IMAGE, WHY_VOLUME, WHY_STARTING,
    WHY_RETRY,           /* a task failed and runs again */
    WHY_RUNNING,         /* nothing is waited for */
    WHY_COUNT
};
const char *explain_why_name(enum explain_why why); /* "dependency" */

/* ---- the snapshot; everything is borrowed ---- */
struct explain_event { const char *text; int64_t at_us; };
struct explain_task {
    const char *name; int64_t retry_id; enum status status; bool lead;
    int64_t start_timeout_us;                                        /* when it ends for not starting; 0 = no timer */
    const struct explain_event *events; size_t nevents;              /* newest first */
};
/* One job of the outbox. */
struct explain_job {
    bool exists, leased, dead;
    int64_t id, attempts, run_at_us;
    const char *last_error;
};
struct explain_group {
    const char *name; enum status status;
    bool sent;                                                       /* handed to the backend once */
    int64_t since_us;                                                /* of its status; 0 = unknown */
    int64_t tasks_total, tasks_unfinished, tasks_running;
    const struct explain_task *tasks; size_t ntasks;                 /* unfinished ones */
    const struct explain_dependency { const char *name; enum status status; } *upstream; size_t nupstream; /* not COMPLETED */
    int64_t upstream_total;                                          /* all that are not COMPLETED */
    struct explain_job create;
    int64_t queue_timeout_us, exec_timeout_us;                       /* deadlines; 0 = none armed */
};
/* What is owed after the end: cleanup of a group, archiving, the rest of a cancellation … */
struct explain_duty { const char *kind, *subject; struct explain_job job; };
struct explain_failure {
    bool exists;
    const char *task, *group, *node; int64_t retry_id;               /* task NULL: the group or workflow as a whole */
    enum status status; int64_t exit_code; const char *message; int64_t at_us;
    const struct explain_event *events; size_t nevents;
};
enum explain_link { LINK_UNKNOWN, LINK_UP, LINK_DOWN };
struct explain_snapshot {
    int64_t now_us;
    const char *id; enum status status; const char *failure_message, *cancelled_by;
    bool cancel_requested, archived;
    int64_t end_us, retention_us;                                    /* 0 = kept */
    int64_t groups_total, groups_unfinished, groups_uncleaned;
    const char *backend; bool backend_known; int64_t heartbeat_us; enum explain_link link;
    struct offline_policy offline; int64_t lost_at_us;               /* when the backend counts as lost, or did; 0 = never */
    bool lost;
    const struct explain_group *groups; size_t ngroups;              /* unfinished ones, at most EXPLAIN_GROUPS_MAX */
    const struct explain_duty *duties; size_t nduties;
    struct explain_failure failure;
};

/* ---- the answer; names are borrowed from the snapshot ---- */
struct explain_reason { enum explain_why why; const char *task; char *text; int64_t since_us; };
struct explain_step { const char *what; /* "exec_timeout", "create", "cleanup" … */ const char *subject; char *text; int64_t at_us; };
struct explain_verdict { const struct explain_group *group; struct explain_reason reasons[EXPLAIN_REASONS_MAX]; size_t n; };
struct explain {
    char *summary;                                                   /* one line */
    char *failure;                                                   /* one line; NULL when nothing failed */
    struct explain_verdict *groups; size_t ngroups;
    struct explain_step *steps; size_t nsteps;                       /* by time; those without a time come last */
    bool failed_alloc;
};
/* OSMO_ENOMEM or 0. */
int explain_workflow(const struct explain_snapshot *s, struct explain *out, osmo_error_t *err);
void explain_clear(struct explain *x);
#endif
