/* The values of a user's credentials in what his tasks say: logs, error logs, messages of failures, events. One mask a user, made of all
 * that is stored, shared by everything that needs it now, and made anew when what is stored has changed. For logs_session.c, agent_*.c. */
#ifndef ENGINE_MASKS_H
#define ENGINE_MASKS_H
#include "engine/engine.h"

struct user_mask;
/* *out NULL: the user has nothing to be masked. A credential that cannot be opened was given to no task and is left out. */
int masks_get(engine_t *e, db_t *db, const char *user, struct user_mask **out, osmo_error_t *err);
void masks_put(struct user_mask *m); /* NULL is fine */
static inline void masks_putp(struct user_mask **m) { masks_put(*m); }

/* *out: the masked text (malloc'ed, *out_len bytes and a NUL), NULL when it stays as it is. state and cut: see model/mask.h. */
int masks_apply(const struct user_mask *m, const char *text, size_t len, uint32_t *state, bool cut, char **out, size_t *out_len);
/* The masked text in place of *text (malloc'ed; NULL is fine). When that cannot be found out, the text is dropped rather than told. */
void masks_text(engine_t *e, db_t *db, const char *user, char **text);
/* The same for the user of a workflow, by the reader of this thread. */
void masks_workflow_text(engine_t *e, const char *workflow_uuid, char **text);

int masks_open(engine_t *e, osmo_error_t *err);
void masks_close(engine_t *e);
#endif
