/* Names and predicates of every status, as a table of wire facts. */
#include "check.h"
#include "model/status.h"

/* T task finished, G group finished, Q in queue, P pre-running, S pre-scheduling, C cancel family, V server errored,
 * E error logs */
static const struct {
    enum status s;
    const char *name, *flags;
} cases[] = {
    { STATUS_SUBMITTING, "SUBMITTING", "QPS" },
    { STATUS_WAITING, "WAITING", "QPS" },
    { STATUS_PROCESSING, "PROCESSING", "QPS" },
    { STATUS_SCHEDULING, "SCHEDULING", "QP" },
    { STATUS_INITIALIZING, "INITIALIZING", "P" },
    { STATUS_RUNNING, "RUNNING", "" },
    { STATUS_COMPLETED, "COMPLETED", "TG" },
    { STATUS_RESCHEDULED, "RESCHEDULED", "TE" },
    { STATUS_FAILED, "FAILED", "TGE" },
    { STATUS_FAILED_CANCELED, "FAILED_CANCELED", "TGC" },
    { STATUS_FAILED_SERVER_ERROR, "FAILED_SERVER_ERROR", "TGV" },
    { STATUS_FAILED_BACKEND_ERROR, "FAILED_BACKEND_ERROR", "TGE" },
    { STATUS_FAILED_EXEC_TIMEOUT, "FAILED_EXEC_TIMEOUT", "TGC" },
    { STATUS_FAILED_QUEUE_TIMEOUT, "FAILED_QUEUE_TIMEOUT", "TGC" },
    { STATUS_FAILED_IMAGE_PULL, "FAILED_IMAGE_PULL", "TGV" },
    { STATUS_FAILED_UPSTREAM, "FAILED_UPSTREAM", "TG" },
    { STATUS_FAILED_EVICTED, "FAILED_EVICTED", "TGV" },
    { STATUS_FAILED_START_ERROR, "FAILED_START_ERROR", "TGV" },
    { STATUS_FAILED_START_TIMEOUT, "FAILED_START_TIMEOUT", "TGE" },
    { STATUS_FAILED_PREEMPTED, "FAILED_PREEMPTED", "TGE" },
    { STATUS_PENDING, "PENDING", "" },
    { STATUS_FAILED_SUBMISSION, "FAILED_SUBMISSION", "" },
};

static void names_round_trip(void) {
    CHECK_INT(sizeof cases / sizeof cases[0], STATUS_COUNT - 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_STR(status_name(cases[i].s), cases[i].name);
        CHECK_INT(status_parse(cases[i].name), cases[i].s);
        CHECK_INT(status_is_failed(cases[i].s), strncmp(cases[i].name, "FAILED", 6) == 0);
    }
    CHECK_STR(status_name(STATUS_NONE), "");
    CHECK_STR(status_name((enum status)99), "");
    CHECK_INT(status_parse(""), STATUS_NONE);
    CHECK_INT(status_parse("running"), STATUS_NONE);
    CHECK_INT(status_parse(NULL), STATUS_NONE);
}

static void predicates(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum status s = cases[i].s;
        char got[16];
        size_t n = 0;
        if (status_is_task_finished(s))
            got[n++] = 'T';
        if (status_is_group_finished(s))
            got[n++] = 'G';
        if (status_is_in_queue(s))
            got[n++] = 'Q';
        if (status_is_prerunning(s))
            got[n++] = 'P';
        if (status_is_prescheduling(s))
            got[n++] = 'S';
        if (status_is_canceled(s))
            got[n++] = 'C';
        if (status_is_server_errored(s))
            got[n++] = 'V';
        if (status_has_error_logs(s))
            got[n++] = 'E';
        got[n] = '\0';
        CHECK_STR(got, cases[i].flags);
    }
}

static void workflow_end(void) {
    for (int s = 1; s < STATUS_COUNT; s++)
        CHECK_INT(status_is_workflow_finished((enum status)s),
                  s != STATUS_PENDING && s != STATUS_RUNNING && s != STATUS_WAITING);
    CHECK(!status_is_workflow_finished(STATUS_NONE));
}

static const struct check_test tests[] = {
    { "names round trip", names_round_trip },
    { "predicates", predicates },
    { "workflow end", workflow_end },
};
TEST_MAIN("status", tests)
