/* Guards and derivations of tasks, groups and workflows over all statuses. */
#include "check.h"
#include "model/sm_workflow.h"

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

/* Reports about an attempt: exitActions of the task before those of the pool, the retry limit, the guard first. */
static void verdicts(void) {
    static const struct sm_exit_action mine[] = { { "RESCHEDULE", "7,3005-3006" }, { "FAIL", "8" } };
    static const struct sm_exit_action pool[] = { { "complete", "7-9" }, { "RESTART", "10" } };
    static const struct {
        enum status from;
        int64_t retry;
        enum status reported;
        int64_t code, limit;
        bool may_retry;
        enum status want;
        enum sm_note note;
    } cases[] = {
        { S(RUNNING), 0, S(FAILED), 7, 1, true, S(RESCHEDULED), SM_NOTE_RETRY },
        { S(RUNNING), 1, S(FAILED), 7, 1, true, S(FAILED), SM_NOTE_LIMIT },
        { S(RUNNING), 1, S(FAILED), 7, 2, true, S(RESCHEDULED), SM_NOTE_RETRY },
        { S(RUNNING), 0, S(FAILED), 7, 0, true, S(FAILED), SM_NOTE_LIMIT },
        { S(RUNNING), 0, S(COMPLETED), 7, 0, true, S(COMPLETED), SM_NOTE_LIMIT },
        { S(RUNNING), 0, S(FAILED), 7, 1, false, S(FAILED), SM_NOTE_CANCELED },
        { S(RUNNING), 0, S(FAILED), 8, 1, true, S(FAILED), SM_NOTE_NONE }, /* its own match ends the search */
        { S(RUNNING), 0, S(FAILED), 9, 1, true, S(COMPLETED), SM_NOTE_TURNED },
        { S(RUNNING), 0, S(COMPLETED), 8, 1, true, S(FAILED), SM_NOTE_TURNED },
        { S(RUNNING), 0, S(FAILED), 10, 1, true, S(FAILED), SM_NOTE_NONE },
        { S(RUNNING), 0, S(FAILED_EVICTED), EXIT_EVICTED, 1, true, S(FAILED_EVICTED), SM_NOTE_NONE },
        { S(SCHEDULING), 0, S(FAILED_PREEMPTED), EXIT_PREEMPTED, 1, true, S(RESCHEDULED), SM_NOTE_RETRY },
        { S(INITIALIZING), 0, S(FAILED_START_TIMEOUT), EXIT_START_TIMEOUT, 1, true, S(RESCHEDULED), SM_NOTE_RETRY },
        { S(RUNNING), 0, S(FAILED_START_TIMEOUT), EXIT_START_TIMEOUT, 1, true, S(NONE), SM_NOTE_NONE },
        { S(RUNNING), 0, S(SCHEDULING), EXIT_CODE_NONE, 1, true, S(NONE), SM_NOTE_NONE },
        { S(SCHEDULING), 0, S(RUNNING), 7, 1, true, S(RUNNING), SM_NOTE_NONE },
        { S(COMPLETED), 0, S(FAILED), 7, 1, true, S(NONE), SM_NOTE_NONE },
        { S(RESCHEDULED), 0, S(FAILED), 7, 1, true, S(NONE), SM_NOTE_NONE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sm_task t = { .status = cases[i].from, .retry_id = cases[i].retry };
        struct sm_actions actions = { mine, 2, pool, 2, cases[i].limit };
        struct sm_verdict v =
            sm_task_verdict(&t, cases[i].reported, cases[i].code, &actions, cases[i].may_retry);
        if (v.status != cases[i].want || v.note != cases[i].note)
            fprintf(stderr, "verdict %zu\n", i);
        CHECK_STR(status_name(v.status), status_name(cases[i].want));
        CHECK_INT(v.note, cases[i].note);
    }
}

static void retry(void) {
    struct sm_task t = { .status = S(RUNNING), .lead = true, .retry_id = 2, .exit_code = 7, .start_us = 5 }, next;
    struct sm_group g = { 0 };
    sm_group_count(&g, true, S(NONE), S(RUNNING));
    CHECK(!sm_task_retry(&t, &next));
    CHECK(sm_task_apply(&t, S(RESCHEDULED), 7, 9));
    sm_group_count(&g, true, S(RUNNING), S(RESCHEDULED));
    CHECK(sm_task_retry(&t, &next));
    sm_group_count(&g, true, S(RESCHEDULED), next.status);
    CHECK_INT(next.status, S(PROCESSING));
    CHECK_INT(next.retry_id, 3);
    CHECK_INT(next.lead, true);
    CHECK_INT(next.exit_code, EXIT_CODE_NONE);
    CHECK_INT(next.start_us + next.end_us, 0);
    CHECK_INT(t.status, S(RESCHEDULED));
    CHECK_INT(g.total, 1);
    CHECK_INT(g.unfinished, 1);
    CHECK_INT(g.finished_or_rescheduled, 0);
    CHECK_INT(sm_group_follow(&g, S(RESCHEDULED)), S(RUNNING));
}

static void ends_of_tasks(void) {
    enum { KEEP = SM_BARRIER_KEEP, LEAVE = SM_BARRIER_LEAVE, CLEAR = SM_BARRIER_CLEAR };
    static const struct {
        bool lead, ignore;
        enum status ended, close;
        bool restart;
        int barrier;
    } cases[] = {
        { true, true, S(COMPLETED), S(COMPLETED), false, CLEAR },
        { true, false, S(FAILED_EVICTED), S(FAILED), false, CLEAR },
        { true, true, S(RESCHEDULED), S(NONE), true, CLEAR },
        { false, true, S(RESCHEDULED), S(NONE), false, LEAVE },
        { false, false, S(RESCHEDULED), S(NONE), true, CLEAR },
        { false, true, S(FAILED), S(NONE), false, LEAVE },
        { false, false, S(FAILED_IMAGE_PULL), S(FAILED), false, CLEAR },
        { false, false, S(COMPLETED), S(NONE), false, LEAVE },
        { true, true, S(RUNNING), S(NONE), false, KEEP },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sm_siblings s = sm_task_ended(cases[i].lead, cases[i].ignore, cases[i].ended);
        CHECK_STR(status_name(s.close), status_name(cases[i].close));
        CHECK_INT(s.restart, cases[i].restart);
        CHECK_INT(s.barrier, cases[i].barrier);
    }
}

static void failures(void) {
    static const struct {
        enum status group, task;
        bool considered, want;
    } cases[] = {
        { S(FAILED), S(FAILED), true, true },
        { S(FAILED), S(FAILED_IMAGE_PULL), true, true },
        { S(FAILED), S(FAILED), false, false },
        { S(FAILED_EVICTED), S(FAILED_EVICTED), true, true },
        { S(FAILED_EVICTED), S(FAILED_EVICTED), false, false },
        { S(FAILED_EVICTED), S(FAILED), true, false },
        { S(FAILED_PREEMPTED), S(FAILED_PREEMPTED), false, true },
        { S(FAILED_PREEMPTED), S(FAILED), true, false },
        { S(FAILED), S(COMPLETED), true, false },
        { S(COMPLETED), S(COMPLETED), true, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_INT(sm_explains(cases[i].group, cases[i].considered, cases[i].task), cases[i].want);
    static const enum status order[] = { S(FAILED_CANCELED), S(FAILED_SERVER_ERROR), S(FAILED_EXEC_TIMEOUT),
                                         S(FAILED_QUEUE_TIMEOUT), S(FAILED), S(FAILED_UPSTREAM), S(COMPLETED) };
    for (size_t i = 1; i < sizeof order / sizeof order[0]; i++)
        CHECK(sm_failure_rank(order[i - 1]) > sm_failure_rank(order[i]));
    CHECK_INT(sm_failure_rank(S(FAILED_EVICTED)), sm_failure_rank(S(FAILED)));
    unsigned pods = 0;
    for (int s = 0; s < STATUS_COUNT; s++)
        pods += sm_is_pod_status((enum status)s);
    CHECK_INT(pods, 11);
    CHECK(!sm_is_pod_status(S(RESCHEDULED)) && !sm_is_pod_status(S(FAILED_CANCELED)));
}

/* A workflow takes the statuses it can have, from those it lives in, and nothing else. */
static void workflow_all_pairs(void) {
    for (int from = 0; from < STATUS_COUNT; from++)
        for (int to = 0; to < STATUS_COUNT; to++) {
            struct sm_workflow w = { .status = (enum status)from };
            bool alive = from == S(PENDING) || from == S(RUNNING) || from == S(WAITING);
            bool ends = to == S(COMPLETED) || status_is_failed((enum status)to);
            bool goes_on = (to == S(RUNNING) || to == S(WAITING)) && from != to;
            CHECK_INT(sm_workflow_apply(&w, (enum status)to, 9), alive && (ends || goes_on));
            CHECK_INT(w.end_us, alive && ends ? 9 : 0);
        }
}

/* Malformed workflows are refused. */
static void workflow_init(void) {
    static struct smw w;
    CHECK(!smw_init(&w));
    w.ngroups = 1;
    CHECK(!smw_init(&w)); /* no tasks */
    w.groups[0].ntasks = 2;
    CHECK(!smw_init(&w)); /* no lead */
    w.groups[0].tasks[1].sm.lead = true;
    CHECK(smw_init(&w));
    w.groups[0].tasks[0].sm.lead = true;
    CHECK(!smw_init(&w)); /* two */
    w.groups[0].tasks[0].sm.lead = false;
    w.groups[0].upstream = 1;
    CHECK(!smw_init(&w)); /* waits for itself */
    w.groups[0].upstream = 0;
    w.groups[0].ntasks = SMW_TASKS_MAX + 1;
    CHECK(!smw_init(&w));
    w.ngroups = SMW_GROUPS_MAX + 1;
    CHECK(!smw_init(&w));
}

/* The largest workflow: no list of effects is cut. */
static void workflow_effects(void) {
    static struct smw w;
    static struct smw_effects fx;
    w.ngroups = SMW_GROUPS_MAX;
    for (int g = 0; g < SMW_GROUPS_MAX; g++) {
        w.groups[g].ntasks = SMW_TASKS_MAX;
        w.groups[g].tasks[0].sm.lead = true;
    }
    REQUIRE(smw_init(&w));
    CHECK(smw_event(&w, &(struct smw_event){ .kind = SMW_ACCEPTED }, 1, &fx));
    CHECK_INT(fx.n, SMW_GROUPS_MAX);
    for (int g = 0; g < SMW_GROUPS_MAX; g++)
        CHECK(smw_event(&w, &(struct smw_event){ .kind = SMW_SENT, .group = g }, 1, &fx));
    CHECK(smw_event(&w, &(struct smw_event){ .kind = SMW_FORCE_CANCEL }, 1, &fx));
    CHECK_INT(fx.n, 3 * SMW_GROUPS_MAX + 1);
    CHECK_STR(status_name(w.sm.status), "FAILED_CANCELED");
    for (int g = -1; g <= SMW_GROUPS_MAX; g++)
        CHECK(smw_event(&w, &(struct smw_event){ .kind = SMW_CLEANED, .group = g }, 1, &fx));
    CHECK(w.archived);
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
    { "verdicts", verdicts },
    { "retry", retry },
    { "ends of tasks", ends_of_tasks },
    { "failures: who and in which order", failures },
    { "workflow: all pairs", workflow_all_pairs },
    { "a whole workflow: what is refused", workflow_init },
    { "a whole workflow: all effects", workflow_effects },
};
TEST_MAIN("sm", tests)
