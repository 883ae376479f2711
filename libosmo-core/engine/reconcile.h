/* Bringing what is stored and what is in a cluster together. Every session of pods that speaks the extension "snapshot" is asked for
 * all pods once it is introduced; what a plain operator lists of its own accord (task_list) is compared the same way. Called by
 * agent*.c. */
#ifndef ENGINE_RECONCILE_H
#define ENGINE_RECONCILE_H
#include "engine/agent_internal.h"

/* The mark of this installation on what is created for it: made once, kept in the store. */
int reconcile_open(engine_t *e, osmo_error_t *err);
/* After the INIT of a session for pods is committed. */
void reconcile_ask(struct agent_session *s, int64_t snapshot, int64_t introduced_us);
/* message_fn of task_list. */
int agent_task_list(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err);

/* ---- pods that nothing in the store stands for (WORK_ORPHAN) ---- */
/* The job that removes them, as the item's payload names them. */
int orphan_body(engine_t *e, const char *backend, struct job *j, json_t **out, osmo_error_t *err);
/* Its outcome: an item without a workflow is settled by itself. Takes j. */
void orphan_finish(engine_t *e, struct job *j, int outcome, const char *cause);

/* ---- offline.c ---- */
/* The backend was lost and has been heard of again: what is owed there is tried again. Holds the session until that is stored. */
void offline_returned(struct agent_session *s);
#endif
