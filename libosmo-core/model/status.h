/* Statuses, predicates, exit codes and their names. Wire facts: names and predicates of OSMO 6.4. Pure. */
#ifndef MODEL_STATUS_H
#define MODEL_STATUS_H
#include <stdbool.h>

/* One enum for tasks, groups and workflows; the value is what the store keeps as an integer: append only. */
enum status {
    STATUS_NONE = 0,
    STATUS_SUBMITTING = 1, STATUS_WAITING = 2, STATUS_PROCESSING = 3, STATUS_SCHEDULING = 4, STATUS_INITIALIZING = 5,
    STATUS_RUNNING = 6, STATUS_COMPLETED = 7, STATUS_RESCHEDULED = 8,
    STATUS_FAILED = 9, STATUS_FAILED_CANCELED = 10, STATUS_FAILED_SERVER_ERROR = 11, STATUS_FAILED_BACKEND_ERROR = 12,
    STATUS_FAILED_EXEC_TIMEOUT = 13, STATUS_FAILED_QUEUE_TIMEOUT = 14, STATUS_FAILED_IMAGE_PULL = 15,
    STATUS_FAILED_UPSTREAM = 16, STATUS_FAILED_EVICTED = 17, STATUS_FAILED_START_ERROR = 18,
    STATUS_FAILED_START_TIMEOUT = 19, STATUS_FAILED_PREEMPTED = 20,
    STATUS_PENDING = 21, STATUS_FAILED_SUBMISSION = 22, /* workflows only */
    STATUS_COUNT
};
const char *status_name(enum status s);           /* "FAILED_CANCELED"; "" for NONE */
enum status status_parse(const char *name);       /* STATUS_NONE when unknown */
bool status_is_failed(enum status s);             /* name begins with FAILED */
bool status_is_task_finished(enum status s);      /* COMPLETED, RESCHEDULED or failed */
bool status_is_group_finished(enum status s);     /* COMPLETED or failed */
bool status_is_workflow_finished(enum status s);  /* not PENDING, RUNNING, WAITING */
bool status_is_prescheduling(enum status s);      /* SUBMITTING WAITING PROCESSING */
bool status_is_in_queue(enum status s);           /* + SCHEDULING */
bool status_is_prerunning(enum status s);         /* + INITIALIZING */
bool status_is_canceled(enum status s);           /* FAILED_CANCELED, FAILED_EXEC_TIMEOUT, FAILED_QUEUE_TIMEOUT */
bool status_is_server_errored(enum status s);
bool status_has_error_logs(enum status s);

enum { EXIT_PREFLIGHT = 1001, EXIT_UPSTREAM = 3000, EXIT_BACKEND = 3001, EXIT_SERVER = 3002, EXIT_START_ERROR = 3003,
       EXIT_EVICTED = 3004, EXIT_START_TIMEOUT = 3005, EXIT_PREEMPTED = 3006, EXIT_UNKNOWN = 4000 };
#define EXIT_CODE_NONE (-1)
#endif
