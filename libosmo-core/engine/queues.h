/* What a backend is told of the configuration: Queues and Topologies of its pools (model/pods_queues.h), the tests that it runs
 * (model/backend_config.h). Called by agent_*.c. */
#ifndef ENGINE_QUEUES_H
#define ENGINE_QUEUES_H
#include "engine/agent_internal.h"

/* ---- on the dispatcher's thread ---- */
/* The configuration may be another one now: all backends. Tried again at the next turn where it fails. */
void queues_follow(struct agents *a);
/* Once a worker session, when its INIT is committed: false until its backend has, or is about to be told, what it must know before
 * it gets any other job. */
bool queues_introduced(struct agent_session *s);
/* The job of a WORK_QUEUES or WORK_TESTS item; gives it its id. */
int queues_body(const char *backend, struct job *j, json_t **out, osmo_error_t *err);

/* Its outcome. Takes j. */
void queues_finish(engine_t *e, struct job *j, int outcome, const char *cause);
#endif
