/* Explaining a workflow, and dead letters of the outbox, for api/. */
#ifndef ENGINE_EXPLAIN_H
#define ENGINE_EXPLAIN_H
#include "engine/engine.h"
#include "model/explain.h"

struct explained;
/* Reads what is known of the workflow and decides; OSMO_ENOTFOUND when there is none. */
int engine_explain(engine_t *e, const char *id_or_uuid, struct explained **out, osmo_error_t *err);
void explained_free(struct explained *x);
/* Borrowed. */
const struct explain_snapshot *explained_snapshot(const struct explained *x);
const struct explain *explained_answer(const struct explained *x);

/* Gives one dead item (id 0: every one of them) new attempts and wakes whoever does it. OSMO_ENOTFOUND when there is no such
 * dead item. */
int engine_dead_retry(engine_t *e, int64_t id, int64_t *revived, osmo_error_t *err);
#endif
