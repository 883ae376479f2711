/* State machines of task, group and workflow as pure functions over rows with counters: O(1) per event.
 * Facts: OSMO 6.4 transition guards and derivation precedence. The engine loads rows, calls these, writes rows and performs the
 * effects in the same transaction. */
#ifndef MODEL_SM_H
#define MODEL_SM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/status.h"

struct sm_task { enum status status; bool lead; int64_t retry_id; int64_t exit_code; /* EXIT_CODE_NONE */
                 int64_t scheduling_us, initializing_us, start_us, end_us; };
/* Counters are over the latest retry of each task. */
struct sm_group { enum status status; bool ignore_nonlead_status;
                  int64_t total, unfinished, running, finished_or_rescheduled;
                  int64_t failed_upstream, failed_server_error, failed_preempted;       /* over all tasks */
                  int64_t considered_evicted, considered_failed;                        /* over considered tasks */
                  int64_t remaining_upstream;                                           /* groups not yet COMPLETED */
                  int64_t processing_us, scheduling_us, initializing_us, start_us, end_us; };
/* Counters are over groups. failed_kind is the single status all failures other than FAILED_UPSTREAM share, NONE when none or mixed. */
struct sm_workflow { enum status status; int64_t total, unfinished, running;
                     int64_t canceled, server_error, exec_timeout, queue_timeout, failed, failed_upstream;
                     enum status failed_kind; bool failed_mixed; int64_t start_us, end_us; };

/* Guarded task transition. true when the row changed (status, timestamps, exit code). */
bool sm_task_apply(struct sm_task *t, enum status to, int64_t exit_code, int64_t now_us);
/* Would sm_task_apply change the row? */
bool sm_task_allows(const struct sm_task *t, enum status to);
/* The row of the next attempt of a task whose last one is RESCHEDULED; false when it is not. The counters of the group
 * follow with sm_group_count(g, lead, STATUS_RESCHEDULED, STATUS_PROCESSING). */
bool sm_task_retry(const struct sm_task *ended, struct sm_task *next);
/* Keep the group's counters in step with one task's change (also on insert: from STATUS_NONE). */
void sm_group_count(struct sm_group *g, bool lead, enum status from, enum status to);
/* Status the group should have after its tasks changed (the aggregate rule). */
enum status sm_group_derive(const struct sm_group *g);
/* Guarded group transition; `forced` lifts the PROCESSING guard of the cancel family. */
bool sm_group_apply(struct sm_group *g, enum status to, bool forced, int64_t now_us);
/* Status the group should have after one of its tasks got task_status and the counters moved: what waits in the queue
 * is handed on as it is, everything else is derived. A group whose task begins again runs, also when it did not before: from then on its
 * exec_timeout counts, over all attempts. */
enum status sm_group_follow(const struct sm_group *g, enum status task_status);
void sm_workflow_count(struct sm_workflow *w, enum status from, enum status to);
enum status sm_workflow_derive(const struct sm_workflow *w);
bool sm_workflow_apply(struct sm_workflow *w, enum status to, int64_t now_us);
/* Status that the other unfinished tasks of the group get when this lead ended so: COMPLETED or FAILED. */
enum status sm_sibling_status(enum status lead_status);
/* What the end of one task means for the rest of its group. */
enum sm_barrier { SM_BARRIER_KEEP, SM_BARRIER_LEAVE /* this member */, SM_BARRIER_CLEAR };
struct sm_siblings { enum status close; /* for all that are unfinished; NONE: they go on */
                     bool restart;      /* those that run begin their command again */
                     enum sm_barrier barrier; };
struct sm_siblings sm_task_ended(bool lead, bool ignore_nonlead_status, enum status ended);
/* Statuses a backend may report of a pod; the others belong to the service. */
bool sm_is_pod_status(enum status s);
/* Precedence of failures in a workflow, the same as that of its status: the message of the highest one is kept, of
 * equals the first. -1 for what is no failure. */
int sm_failure_rank(enum status s);
/* Is the failure of a task what gave its group this status? Only tasks that ended by themselves explain anything; a
 * task is considered when it is the lead or ignoreNonleadStatus is off. */
bool sm_explains(enum status group, bool considered, enum status task);
/* exitActions: the status an exit code is turned into: COMPLETED, FAILED, RESCHEDULED, or `status` itself when nothing matches.
 * `actions` are pairs action/codes in order; the first match wins. */
struct sm_exit_action { const char *action, *codes; };
enum status sm_exit_action_status(const struct sm_exit_action *actions, size_t n, enum status status, int64_t exit_code);
/* What a report about an attempt becomes after exitActions and the retry limit. */
struct sm_actions { const struct sm_exit_action *task; size_t ntask; const struct sm_exit_action *pool; size_t npool;
                    int64_t max_retry; /* highest retry_id that may exist */ };
enum sm_note { SM_NOTE_NONE, SM_NOTE_TURNED, SM_NOTE_RETRY,
               SM_NOTE_LIMIT,    /* not rescheduled: the retry limit is reached; the original status stands */
               SM_NOTE_CANCELED  /* not rescheduled: cancellation is wanted; the same */ };
struct sm_verdict { enum status status; /* NONE: the report does not apply to this attempt any more */
                    enum sm_note note; };
struct sm_verdict sm_task_verdict(const struct sm_task *t, enum status reported, int64_t exit_code,
                                  const struct sm_actions *actions, bool may_retry);
/* "0,10-12" syntax check and membership. */
bool sm_codes_valid(const char *codes);
bool sm_codes_contain(const char *codes, int64_t code);
#endif
