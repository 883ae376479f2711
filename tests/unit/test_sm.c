/* Guards and derivations of tasks, groups and workflows over all statuses. */
#include "check.h"
#include "model/sm.h"

#define S(x) STATUS_##x
#define BIT(s) (1u << (s))
#define ALIVE (BIT(S(WAITING)) | BIT(S(PROCESSING)) | BIT(S(SCHEDULING)) | BIT(S(INITIALIZING)) | BIT(S(RUNNING)))

static unsigned task_sources(enum status to) {
    switch (to) {
    case S(PROCESSING): return BIT(S(WAITING));
    case S(SCHEDULING): return BIT(S(WAITING)) | BIT(S(PROCESSING));
    case S(INITIALIZING): return BIT(S(WAITING)) | BIT(S(PROCESSING)) | BIT(S(SCHEDULING));
    case S(RUNNING):
    case S(FAILED_START_TIMEOUT): return ALIVE & ~BIT(S(RUNNING));
    default: return to >= S(COMPLETED) && to <= S(FAILED_PREEMPTED) ? ALIVE : 0;
    }
}

static void task_all_pairs(void) {
    for (int from = 0; from < STATUS_COUNT; from++) {
        for (int to = 0; to < STATUS_COUNT; to++) {
            struct sm_task t = { .status = (enum status)from, .exit_code = EXIT_CODE_NONE };
            bool want = (task_sources((enum status)to) & BIT(from)) != 0;
            bool got = sm_task_apply(&t, (enum status)to, 7, 100);
            if (got != want)
                fprintf(stderr, "%s -> %s\n", status_name((enum status)from), status_name((enum status)to));
            CHECK_INT(got, want);
            CHECK_INT(t.status, want ? to : from);
            bool finished = want && status_is_task_finished((enum status)to);
            CHECK_INT(t.end_us, finished ? 100 : 0);
            CHECK_INT(t.exit_code, finished ? 7 : EXIT_CODE_NONE);
        }
    }
}

static void task_stamps(void) {
    struct sm_task t = { .status = S(WAITING), .exit_code = EXIT_CODE_NONE };
    CHECK(sm_task_apply(&t, S(PROCESSING), EXIT_CODE_NONE, 1));
    CHECK(sm_task_apply(&t, S(SCHEDULING), EXIT_CODE_NONE, 2));
    CHECK(!sm_task_apply(&t, S(SCHEDULING), EXIT_CODE_NONE, 3));
    CHECK(sm_task_apply(&t, S(INITIALIZING), EXIT_CODE_NONE, 4));
    CHECK(!sm_task_apply(&t, S(SCHEDULING), EXIT_CODE_NONE, 5));
    CHECK(sm_task_apply(&t, S(RUNNING), EXIT_CODE_NONE, 6));
    CHECK(!sm_task_apply(&t, S(FAILED_START_TIMEOUT), EXIT_START_TIMEOUT, 7));
    CHECK(sm_task_apply(&t, S(FAILED), 3, 8));
    CHECK(!sm_task_apply(&t, S(COMPLETED), 0, 9));
    CHECK_INT(t.scheduling_us, 2);
    CHECK_INT(t.initializing_us, 4);
    CHECK_INT(t.start_us, 6);
    CHECK_INT(t.end_us, 8);
    CHECK_INT(t.exit_code, 3);
}

static unsigned group_sources(enum status to, bool forced) {
    unsigned all = ALIVE | BIT(S(SUBMITTING));
    switch (to) {
    case S(WAITING): return BIT(S(SUBMITTING));
    case S(PROCESSING): return BIT(S(SUBMITTING)) | BIT(S(WAITING));
    case S(SCHEDULING): return BIT(S(SUBMITTING)) | BIT(S(WAITING)) | BIT(S(PROCESSING));
    case S(INITIALIZING): return all & ~BIT(S(RUNNING)) & ~BIT(S(INITIALIZING));
    case S(RUNNING): return all & ~BIT(S(RUNNING));
    case S(FAILED_CANCELED):
    case S(FAILED_EXEC_TIMEOUT):
    case S(FAILED_QUEUE_TIMEOUT): return forced ? all : all & ~BIT(S(PROCESSING));
    case S(RESCHEDULED): return 0;
    default: return to >= S(COMPLETED) && to <= S(FAILED_PREEMPTED) ? all : 0;
    }
}

static void group_all_pairs(void) {
    for (int forced = 0; forced < 2; forced++)
        for (int from = 0; from < STATUS_COUNT; from++)
            for (int to = 0; to < STATUS_COUNT; to++) {
                struct sm_group g = { .status = (enum status)from };
                bool want = (group_sources((enum status)to, forced) & BIT(from)) != 0;
                bool got = sm_group_apply(&g, (enum status)to, forced, 50);
                if (got != want)
                    fprintf(stderr, "group %s -> %s\n", status_name((enum status)from), status_name((enum status)to));
                CHECK_INT(got, want);
                CHECK_INT(g.end_us, want && status_is_group_finished((enum status)to) ? 50 : 0);
            }
}

/* Derivation: tasks (the first is the lead) and the group status they must give, with ignoreNonleadStatus true and
 * false. */
static void group_derivation(void) {
    static const struct {
        enum status tasks[3];
        enum status ignore, strict;
    } cases[] = {
        { { S(WAITING) }, S(INITIALIZING), S(INITIALIZING) },
        { { S(RUNNING), S(SCHEDULING) }, S(RUNNING), S(RUNNING) },
        { { S(COMPLETED), S(SCHEDULING) }, S(RUNNING), S(RUNNING) },
        { { S(RESCHEDULED) }, S(RUNNING), S(RUNNING) },
        { { S(RESCHEDULED), S(COMPLETED) }, S(RUNNING), S(RUNNING) },
        { { S(COMPLETED), S(COMPLETED) }, S(COMPLETED), S(COMPLETED) },
        { { S(COMPLETED), S(FAILED) }, S(COMPLETED), S(FAILED) },
        { { S(FAILED), S(COMPLETED) }, S(FAILED), S(FAILED) },
        { { S(COMPLETED), S(FAILED_EVICTED) }, S(COMPLETED), S(FAILED_EVICTED) },
        { { S(FAILED_EVICTED), S(FAILED) }, S(FAILED_EVICTED), S(FAILED_EVICTED) },
        { { S(COMPLETED), S(FAILED_PREEMPTED) }, S(FAILED_PREEMPTED), S(FAILED_PREEMPTED) },
        { { S(COMPLETED), S(FAILED_SERVER_ERROR), S(FAILED_PREEMPTED) },
          S(FAILED_SERVER_ERROR),
          S(FAILED_SERVER_ERROR) },
        { { S(COMPLETED), S(FAILED_SERVER_ERROR), S(FAILED_UPSTREAM) }, S(FAILED_UPSTREAM), S(FAILED_UPSTREAM) },
        { { S(FAILED_IMAGE_PULL) }, S(FAILED), S(FAILED) },
        { { S(FAILED_START_TIMEOUT), S(FAILED) }, S(FAILED), S(FAILED) },
        { { S(FAILED_BACKEND_ERROR), S(COMPLETED) }, S(FAILED), S(FAILED) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int ignore = 0; ignore < 2; ignore++) {
            struct sm_group g = { .ignore_nonlead_status = ignore };
            size_t n = 0;
            for (; n < 3 && cases[i].tasks[n]; n++)
                sm_group_count(&g, n == 0, STATUS_NONE, S(WAITING));
            for (size_t k = 0; k < n; k++)
                sm_group_count(&g, k == 0, S(WAITING), cases[i].tasks[k]);
            CHECK_INT(g.total, n);
            CHECK_STR(status_name(sm_group_derive(&g)), status_name(ignore ? cases[i].ignore : cases[i].strict));
        }
}

static void workflow_derivation(void) {
    static const struct {
        enum status groups[4];
        enum status want;
    } cases[] = {
        { { S(SUBMITTING) }, S(PENDING) },
        { { S(PROCESSING), S(COMPLETED) }, S(PENDING) },
        { { S(RUNNING), S(WAITING) }, S(RUNNING) },
        { { S(FAILED), S(RUNNING) }, S(RUNNING) },
        { { S(FAILED_CANCELED), S(WAITING) }, S(PENDING) },
        { { S(COMPLETED), S(COMPLETED) }, S(COMPLETED) },
        { { S(COMPLETED), S(FAILED_CANCELED) }, S(FAILED_CANCELED) },
        { { S(FAILED_SERVER_ERROR), S(FAILED_CANCELED) }, S(FAILED_CANCELED) },
        { { S(FAILED_EXEC_TIMEOUT), S(FAILED_SERVER_ERROR) }, S(FAILED_SERVER_ERROR) },
        { { S(FAILED_QUEUE_TIMEOUT), S(FAILED_EXEC_TIMEOUT), S(FAILED) }, S(FAILED_EXEC_TIMEOUT) },
        { { S(FAILED), S(FAILED_QUEUE_TIMEOUT) }, S(FAILED_QUEUE_TIMEOUT) },
        { { S(FAILED_EVICTED), S(FAILED_UPSTREAM), S(COMPLETED) }, S(FAILED_EVICTED) },
        { { S(FAILED_EVICTED), S(FAILED_EVICTED) }, S(FAILED_EVICTED) },
        { { S(FAILED_EVICTED), S(FAILED_PREEMPTED) }, S(FAILED) },
        { { S(FAILED_EVICTED), S(FAILED_PREEMPTED), S(FAILED_EVICTED) }, S(FAILED) },
        { { S(FAILED), S(FAILED_UPSTREAM), S(FAILED_UPSTREAM) }, S(FAILED) },
        { { S(FAILED_UPSTREAM) }, S(FAILED) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sm_workflow w = { .status = S(PENDING) };
        size_t n = 0;
        for (; n < 4 && cases[i].groups[n]; n++)
            sm_workflow_count(&w, STATUS_NONE, S(SUBMITTING));
        for (size_t k = 0; k < n; k++)
            sm_workflow_count(&w, S(SUBMITTING), cases[i].groups[k]);
        CHECK_INT(w.total, n);
        CHECK_STR(status_name(sm_workflow_derive(&w)), status_name(cases[i].want));
    }
}

static void workflow_apply(void) {
    struct sm_workflow w = { .status = S(PENDING) };
    CHECK(!sm_workflow_apply(&w, S(PENDING), 1));
    CHECK(sm_workflow_apply(&w, S(RUNNING), 2));
    CHECK(!sm_workflow_apply(&w, S(RUNNING), 3));
    CHECK(!sm_workflow_apply(&w, S(PENDING), 4)); /* stays RUNNING between groups */
    CHECK(sm_workflow_apply(&w, S(FAILED), 5));
    CHECK(!sm_workflow_apply(&w, S(COMPLETED), 6));
    CHECK(!sm_workflow_apply(&w, S(RUNNING), 7));
    CHECK_INT(w.status, S(FAILED));
    CHECK_INT(w.start_us, 2);
    CHECK_INT(w.end_us, 5);
}

static void codes(void) {
    static const struct {
        const char *text;
        bool valid;
        int64_t code;
        bool contains;
    } cases[] = {
        { "0", true, 0, true },
        { "0", true, 1, false },
        { "1-3", true, 2, true },
        { "1-3", true, 4, false },
        { "0,10-12", true, 12, true },
        { "0,10-12", true, 9, false },
        { "3-1", true, 2, false },
        { "1-23-4", true, 2, true },
        { "1-23-4", true, 5, false },
        { "", false, 0, false },
        { ",1", false, 1, false },
        { "1,", false, 1, false },
        { "1, 2", false, 1, false },
        { "-1", false, 1, false },
        { "1-", false, 1, false },
        { "1--2", false, 1, false },
        { "1-2-3", false, 2, false },
        { "5,1-23-4", false, 5, false },
        { "abc", false, 0, false },
        { "99999999999999999999999", true, 5, false },
        { "3000-3006", true, 3006, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sm_codes_valid(cases[i].text) != cases[i].valid)
            fprintf(stderr, "codes '%s'\n", cases[i].text);
        CHECK_INT(sm_codes_valid(cases[i].text), cases[i].valid);
        CHECK_INT(sm_codes_contain(cases[i].text, cases[i].code), cases[i].contains);
    }
    CHECK(!sm_codes_valid(NULL));
}

static void exit_actions(void) {
    const struct sm_exit_action a[] = { { "Complete", "3" }, { "fail", "0,3-5" }, { "RESCHEDULE", "3006" } };
    static const struct {
        enum status in;
        int64_t code;
        enum status want;
    } cases[] = {
        { S(FAILED), 3, S(COMPLETED) }, { S(FAILED), 4, S(FAILED) },
        { S(COMPLETED), 0, S(FAILED) }, { S(FAILED_PREEMPTED), 3006, S(RESCHEDULED) },
        { S(FAILED), 77, S(FAILED) },   { S(FAILED_EVICTED), 3004, S(FAILED_EVICTED) },
        { S(RUNNING), 3, S(RUNNING) },  { S(FAILED), EXIT_CODE_NONE, S(FAILED) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_INT(sm_exit_action_status(a, 3, cases[i].in, cases[i].code), cases[i].want);
    CHECK_INT(sm_exit_action_status(NULL, 0, S(FAILED), 1), S(FAILED));
}

static void siblings(void) {
    for (int s = S(COMPLETED); s <= S(FAILED_PREEMPTED); s++)
        CHECK_INT(sm_sibling_status((enum status)s), s == S(COMPLETED) ? S(COMPLETED) : S(FAILED));
}

static const struct check_test tests[] = {
    { "task: all pairs", task_all_pairs },
    { "task: stamps and monotony", task_stamps },
    { "group: all pairs", group_all_pairs },
    { "group: derivation", group_derivation },
    { "workflow: derivation", workflow_derivation },
    { "workflow: apply", workflow_apply },
    { "exit codes", codes },
    { "exit actions", exit_actions },
    { "siblings", siblings },
};
TEST_MAIN("sm", tests)
