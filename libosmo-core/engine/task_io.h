/* What ctrls tell of their transfers (task_io_metrics). For logs_session.c. */
#ifndef ENGINE_TASK_IO_H
#define ENGINE_TASK_IO_H
#include "engine/engine.h"

/* Who tells it is known from its session, not from what it says. Stored in the background; what cannot be understood is passed over. */
void task_io_take(engine_t *e, const char workflow_uuid[33], const char *task, int64_t retry_id, const json_t *metric);
#endif
