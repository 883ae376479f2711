/* Names and predicates of statuses as one table. Anyone above base/ may call it; it is pure.
 * The predicates are wire facts: clients, the web UI and scripts group statuses by them. */
#include "model/status.h"

#include <stddef.h>
#include <string.h>

enum {
    FAILED = 1 << 0,    /* the name begins with FAILED */
    TASK_END = 1 << 1,  /* finished for a task */
    GROUP_END = 1 << 2, /* finished for a group */
    PRESCHED = 1 << 3,  /* nothing of it is known in the cluster yet */
    IN_QUEUE = 1 << 4,
    PRERUN = 1 << 5,
    CANCELED = 1 << 6, /* ended from outside: user or clock */
    SERVER = 1 << 7,
    ERROR_LOGS = 1 << 8, /* worth collecting container logs at cleanup */
    WORKFLOW_ALIVE = 1 << 9
};
#define ENDED (TASK_END | GROUP_END)

static const struct {
    const char *name;
    unsigned flags;
} table[STATUS_COUNT] = {
    [STATUS_NONE] = { "", 0 },
    [STATUS_SUBMITTING] = { "SUBMITTING", PRESCHED | IN_QUEUE | PRERUN },
    [STATUS_WAITING] = { "WAITING", PRESCHED | IN_QUEUE | PRERUN | WORKFLOW_ALIVE },
    [STATUS_PROCESSING] = { "PROCESSING", PRESCHED | IN_QUEUE | PRERUN },
    [STATUS_SCHEDULING] = { "SCHEDULING", IN_QUEUE | PRERUN },
    [STATUS_INITIALIZING] = { "INITIALIZING", PRERUN },
    [STATUS_RUNNING] = { "RUNNING", WORKFLOW_ALIVE },
    [STATUS_COMPLETED] = { "COMPLETED", ENDED },
    [STATUS_RESCHEDULED] = { "RESCHEDULED", TASK_END | ERROR_LOGS },
    [STATUS_FAILED] = { "FAILED", FAILED | ENDED | ERROR_LOGS },
    [STATUS_FAILED_CANCELED] = { "FAILED_CANCELED", FAILED | ENDED | CANCELED },
    [STATUS_FAILED_SERVER_ERROR] = { "FAILED_SERVER_ERROR", FAILED | ENDED | SERVER },
    [STATUS_FAILED_BACKEND_ERROR] = { "FAILED_BACKEND_ERROR", FAILED | ENDED | ERROR_LOGS },
    [STATUS_FAILED_EXEC_TIMEOUT] = { "FAILED_EXEC_TIMEOUT", FAILED | ENDED | CANCELED },
    [STATUS_FAILED_QUEUE_TIMEOUT] = { "FAILED_QUEUE_TIMEOUT", FAILED | ENDED | CANCELED },
    [STATUS_FAILED_IMAGE_PULL] = { "FAILED_IMAGE_PULL", FAILED | ENDED | SERVER },
    [STATUS_FAILED_UPSTREAM] = { "FAILED_UPSTREAM", FAILED | ENDED },
    [STATUS_FAILED_EVICTED] = { "FAILED_EVICTED", FAILED | ENDED | SERVER },
    [STATUS_FAILED_START_ERROR] = { "FAILED_START_ERROR", FAILED | ENDED | SERVER },
    [STATUS_FAILED_START_TIMEOUT] = { "FAILED_START_TIMEOUT", FAILED | ENDED | ERROR_LOGS },
    [STATUS_FAILED_PREEMPTED] = { "FAILED_PREEMPTED", FAILED | ENDED | ERROR_LOGS },
    [STATUS_PENDING] = { "PENDING", WORKFLOW_ALIVE },
    [STATUS_FAILED_SUBMISSION] = { "FAILED_SUBMISSION", FAILED },
};

static bool has(enum status s, unsigned flag) { return (unsigned)s < STATUS_COUNT && (table[s].flags & flag); }

const char *status_name(enum status s) { return (unsigned)s < STATUS_COUNT ? table[s].name : ""; }

enum status status_parse(const char *name) {
    for (int s = 1; name && s < STATUS_COUNT; s++)
        if (strcmp(table[s].name, name) == 0)
            return (enum status)s;
    return STATUS_NONE;
}

bool status_is_failed(enum status s) { return has(s, FAILED); }
bool status_is_task_finished(enum status s) { return has(s, TASK_END); }
bool status_is_group_finished(enum status s) { return has(s, GROUP_END); }
bool status_is_prescheduling(enum status s) { return has(s, PRESCHED); }
bool status_is_in_queue(enum status s) { return has(s, IN_QUEUE); }
bool status_is_prerunning(enum status s) { return has(s, PRERUN); }
bool status_is_canceled(enum status s) { return has(s, CANCELED); }
bool status_is_server_errored(enum status s) { return has(s, SERVER); }
bool status_has_error_logs(enum status s) { return has(s, ERROR_LOGS); }

bool status_is_workflow_finished(enum status s) {
    return (unsigned)s < STATUS_COUNT && s != STATUS_NONE && !has(s, WORKFLOW_ALIVE);
}
