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
/* Keep the group's counters in step with one task's change (also on insert: from STATUS_NONE). */
void sm_group_count(struct sm_group *g, bool lead, enum status from, enum status to);
/* Status the group should have after its tasks changed (the aggregate rule). */
enum status sm_group_derive(const struct sm_group *g);
/* Guarded group transition; `forced` lifts the PROCESSING guard of the cancel family. */
bool sm_group_apply(struct sm_group *g, enum status to, bool forced, int64_t now_us);
void sm_workflow_count(struct sm_workflow *w, enum status from, enum status to);
enum status sm_workflow_derive(const struct sm_workflow *w);
bool sm_workflow_apply(struct sm_workflow *w, enum status to, int64_t now_us);
/* Status that the other unfinished tasks of the group get when this lead ended so: COMPLETED or FAILED. */
enum status sm_sibling_status(enum status lead_status);
/* exitActions: the status an exit code is turned into: COMPLETED, FAILED, RESCHEDULED, or `status` itself when nothing matches.
 * `actions` are pairs action/codes in order; the first match wins. */
struct sm_exit_action { const char *action, *codes; };
enum status sm_exit_action_status(const struct sm_exit_action *actions, size_t n, enum status status, int64_t exit_code);
/* "0,10-12" syntax check and membership. */
bool sm_codes_valid(const char *codes);
bool sm_codes_contain(const char *codes, int64_t code);
#endif
