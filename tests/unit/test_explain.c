/* What explain_workflow says of snapshots. */
#include "check.h"
#include "model/explain.h"

#define NOW INT64_C(1700000000000000)
#define EVENT(words) "2026-03-01 09:30:00+00:00 [t] " words

static struct explain_snapshot snapshot(const struct explain_group *g, size_t n) {
    return (struct explain_snapshot){ .now_us = NOW, .id = "w-1", .status = STATUS_PENDING, .groups_total = (int64_t)n,
                                      .groups_unfinished = (int64_t)n, .backend = "gpu", .backend_known = true,
                                      .heartbeat_us = NOW - 1000000, .link = LINK_UP, .groups = g, .ngroups = n };
}

/* The reason at the place, or "" */
static const char *why(const struct explain *x, size_t reason) {
    return x->ngroups && reason < x->groups[0].n ? explain_why_name(x->groups[0].reasons[reason].why) : "";
}

static const char *text(const struct explain *x, size_t reason) {
    return x->ngroups && reason < x->groups[0].n ? x->groups[0].reasons[reason].text : "";
}

/* ---- what the scheduler and the kubelet say ---- */

static void words_of_the_cluster(void) {
    static const struct {
        enum status status;
        const char *event, *why, *says;
    } cases[] = {
        { STATUS_SCHEDULING, EVENT("PodScheduled: False, Reason: Unschedulable, Message: needs 8Gi of memory, 4Gi free"),
          "fit", "the scheduler has not placed task t: needs 8Gi of memory, 4Gi free" },
        { STATUS_SCHEDULING, EVENT("FailedScheduling: 0/3 nodes are available: 1 node(s) had untolerated taint {a: b}."),
          "taint", "untolerated taint {a: b}" },
        { STATUS_SCHEDULING,
          EVENT("FailedScheduling: 0/3 nodes are available: 1 had untolerated taint, 2 Insufficient nvidia.com/gpu."),
          "fit", "Insufficient nvidia.com/gpu" },
        { STATUS_SCHEDULING, EVENT("Unschedulable: Non-preemptible workload is over quota"), "quota", "over quota" },
        { STATUS_SCHEDULING, EVENT("FailedScheduling: 3 node(s) didn't match Pod's node affinity/selector."), "placement",
          "affinity" },
        { STATUS_SCHEDULING, EVENT("FailedScheduling: topology zone of the gang is split"), "topology", "zone" },
        { STATUS_SCHEDULING, EVENT("FailedScheduling: waits for its turn"), "scheduler", "waits for its turn" },
        { STATUS_SCHEDULING, EVENT("Pulled: image is there"), "scheduler", "gave no reason" },
        { STATUS_SCHEDULING, NULL, "scheduler", "the scheduler of backend gpu has not placed it yet and gave no reason" },
        { STATUS_INITIALIZING, EVENT("Pulling: Pulling image \"a:1\""), "image",
          "task t waits for its image: Pulling image \"a:1\"" },
        { STATUS_INITIALIZING, EVENT("Failed: Failed to pull image \"a:1\": not found"), "image", "not found" },
        { STATUS_INITIALIZING, EVENT("BackOff: Back-off pulling image \"a:1\""), "image", "Back-off" },
        { STATUS_INITIALIZING, EVENT("BackOff: Back-off restarting failed container"), "starting", "are being started" },
        { STATUS_INITIALIZING, EVENT("FailedMount: no secret"), "volume", "task t waits for a volume: no secret" },
        { STATUS_INITIALIZING, EVENT("FailedCreatePodSandBox: no address"), "starting", "does not start: no address" },
        { STATUS_INITIALIZING, EVENT("FailedScheduling: 0/3 nodes"), "starting", "are being started" },
        { STATUS_SCHEDULING, "no brackets at all", "scheduler", "gave no reason" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct explain_event event = { cases[i].event, NOW };
        struct explain_task t = { .name = "t", .status = cases[i].status, .events = &event,
                                  .nevents = cases[i].event ? 1 : 0 };
        struct explain_group g = { .name = "g", .status = cases[i].status, .sent = true, .tasks_total = 1,
                                   .tasks_unfinished = 1, .tasks = &t, .ntasks = 1 };
        struct explain_snapshot s = snapshot(&g, 1);
        struct explain x;
        CHECK_INT(explain_workflow(&s, &x, NULL), 0);
        CHECK_STR(why(&x, 0), cases[i].why);
        CHECK_CONTAINS(text(&x, 0), cases[i].says);
        explain_clear(&x);
    }
}

/* What was said before the pod was placed, or its image was there, is past; the newest word counts. */
static void newest_word_counts(void) {
    static const struct explain_event placed[] = { { EVENT("PodScheduled: True"), NOW },
                                                   { EVENT("FailedScheduling: Insufficient cpu"), NOW - 1 } };
    static const struct explain_event pulled[] = { { EVENT("Pulled: it is there"), NOW },
                                                   { EVENT("Failed: Failed to pull image: late"), NOW - 1 } };
    static const struct explain_event again[] = { { EVENT("FailedScheduling: taint {new}"), NOW },
                                                  { EVENT("FailedScheduling: Insufficient cpu"), NOW - 1 } };
    const struct {
        enum status status;
        const struct explain_event *events;
        const char *why;
    } cases[] = { { STATUS_SCHEDULING, placed, "scheduler" }, { STATUS_INITIALIZING, pulled, "starting" },
                  { STATUS_SCHEDULING, again, "taint" } };
    for (size_t i = 0; i < 3; i++) {
        struct explain_task t[2] = { { .name = "t", .status = cases[i].status, .events = cases[i].events, .nevents = 2 } };
        t[1] = t[0]; /* the same words of two tasks are said once */
        struct explain_group g = { .name = "g", .status = cases[i].status, .tasks_total = 2, .tasks = t, .ntasks = 2 };
        struct explain_snapshot s = snapshot(&g, 1);
        struct explain x;
        CHECK_INT(explain_workflow(&s, &x, NULL), 0);
        CHECK_STR(why(&x, 0), cases[i].why);
        CHECK_INT(x.groups[0].n, 1);
        explain_clear(&x);
    }
}

/* ---- before the cluster ---- */

static void dependencies(void) {
    static const struct explain_dependency up[] = { { "a", STATUS_RUNNING }, { "b", STATUS_WAITING } };
    struct explain_group g = { .name = "c", .status = STATUS_WAITING, .upstream = up, .nupstream = 2, .upstream_total = 5 };
    struct explain_snapshot s = snapshot(&g, 1);
    struct explain x;
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    CHECK_STR(why(&x, 0), "dependency");
    CHECK_STR(text(&x, 0), "waits for group a (RUNNING), group b (WAITING) and 3 more to complete");
    CHECK_STR(x.summary, "workflow w-1 is PENDING: group c: waits for group a (RUNNING), group b (WAITING) and 3 more to "
                         "complete");
    explain_clear(&x);
    g.upstream_total = 0;
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    CHECK_STR(why(&x, 0), "turn");
    explain_clear(&x);
}

static void creation(void) {
    static const struct {
        struct explain_job job;
        bool sent, known;
        enum explain_link link;
        int64_t silent_s;
        const char *why, *says;
    } cases[] = {
        { { 0 }, false, true, LINK_UP, 1, "turn", "not queued yet" },
        { { 0 }, true, true, LINK_UP, 1, "created", "has not reported its pods" },
        { { .exists = true }, false, true, LINK_UP, 1, "handover", "waits for a worker of backend gpu" },
        { { .exists = true, .leased = true }, true, true, LINK_UP, 1, "handover", "creates it now" },
        { { .exists = true }, false, false, LINK_DOWN, 1, "backend_unknown", "never connected" },
        { { .exists = true }, false, true, LINK_DOWN, 1, "backend_offline", "its operator is not connected" },
        { { .exists = true }, false, true, LINK_UNKNOWN, 121, "backend_offline", "offline" },
        { { .exists = true }, false, true, LINK_UNKNOWN, 119, "handover", "waits" },
        { { .exists = true, .attempts = 2, .last_error = "timed out" }, true, true, LINK_UP, 1, "create_retry",
          "creating it failed (attempt 2): timed out" },
        { { .exists = true, .attempts = 1, .last_error = "admission webhook \"x\" denied the request: no" }, true, true,
          LINK_UP, 1, "admission", "denied the request: no" },
        { { .exists = true, .dead = true, .id = 77, .attempts = 5, .last_error = "no" }, true, true, LINK_UP, 1,
          "given_up", "its create job 77 ran out of attempts: no" },
        { { .exists = true, .attempts = 1 }, true, true, LINK_UP, 1, "create_retry", "no cause was given" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct explain_group g = { .name = "g", .status = STATUS_PROCESSING, .sent = cases[i].sent,
                                   .create = cases[i].job };
        struct explain_snapshot s = snapshot(&g, 1);
        struct explain x;
        s.backend_known = cases[i].known;
        s.link = cases[i].link;
        s.heartbeat_us = NOW - cases[i].silent_s * 1000000;
        CHECK_INT(explain_workflow(&s, &x, NULL), 0);
        CHECK_STR(why(&x, 0), cases[i].why);
        CHECK_CONTAINS(text(&x, 0), cases[i].says);
        explain_clear(&x);
    }
}

static void cancelling_comes_first(void) {
    struct explain_task t = { .name = "t", .status = STATUS_RUNNING };
    struct explain_group g = { .name = "g", .status = STATUS_RUNNING, .tasks_total = 3, .tasks_running = 2, .tasks = &t,
                               .ntasks = 1 };
    struct explain_snapshot s = snapshot(&g, 1);
    struct explain x;
    s.cancel_requested = true;
    s.cancelled_by = "alice";
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    CHECK_STR(why(&x, 0), "cancel");
    CHECK_STR(text(&x, 0), "it is being cancelled by alice");
    CHECK_STR(why(&x, 1), "running");
    CHECK_STR(text(&x, 1), "2 of its 3 tasks run");
    explain_clear(&x);
}

/* ---- next and first ---- */

static void what_happens_next(void) {
    struct explain_task t = { .name = "t", .status = STATUS_INITIALIZING, .start_timeout_us = NOW + 50 };
    struct explain_group g = { .name = "g", .status = STATUS_RUNNING, .exec_timeout_us = NOW + 100, .tasks = &t,
                               .ntasks = 1, .tasks_total = 1 };
    struct explain_duty duties[] = {
        { "cleanup", "old", { .exists = true, .attempts = 2, .run_at_us = NOW + 70, .last_error = "busy" } },
        { "cleanup", "older", { .exists = true, .dead = true, .id = 9, .last_error = "gone" } },
        { "archive", NULL, { .exists = true, .run_at_us = NOW - 5 } },
    };
    struct explain_snapshot s = snapshot(&g, 1);
    struct explain x;
    s.duties = duties;
    s.nduties = 3;
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    REQUIRE(x.nsteps == 5);
    CHECK_STR(x.steps[0].what, "archive");
    CHECK_INT(x.steps[0].at_us, NOW);
    CHECK_STR(x.steps[1].what, "start_timeout");
    CHECK_STR(x.steps[2].text, "attempt 3; the last one failed: busy");
    CHECK_STR(x.steps[3].what, "exec_timeout");
    CHECK_STR(x.steps[4].text, "work item 9 ran out of attempts: gone; `osmo work retry 9` tries again");
    CHECK_INT(x.steps[4].at_us, 0);
    explain_clear(&x);
}

static void after_the_end(void) {
    struct explain_snapshot s = snapshot(NULL, 0);
    struct explain x;
    s.status = STATUS_FAILED;
    s.failure_message = "task a failed";
    s.groups_total = 2;
    s.groups_uncleaned = 1;
    s.end_us = NOW - 10;
    s.retention_us = 100;
    s.failure = (struct explain_failure){ .exists = true, .task = "a", .group = "g", .retry_id = 1, .status = STATUS_FAILED,
                                          .exit_code = 3, .message = "it broke" };
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    CHECK_STR(x.summary, "workflow w-1 is FAILED: task a failed");
    CHECK_STR(x.failure, "task a (attempt 2) ended first: FAILED with exit code 3: it broke");
    REQUIRE(x.nsteps == 1);
    CHECK_STR(x.steps[0].what, "archive");
    explain_clear(&x);
    s.archived = true;
    s.groups_uncleaned = 0;
    s.failure.task = NULL;
    s.failure.exit_code = EXIT_CODE_NONE;
    s.failure.message = NULL;
    CHECK_INT(explain_workflow(&s, &x, NULL), 0);
    CHECK_STR(x.failure, "group g (attempt 2) ended first: FAILED");
    REQUIRE(x.nsteps == 1);
    CHECK_STR(x.steps[0].what, "retention");
    CHECK_INT(x.steps[0].at_us, NOW + 90);
    explain_clear(&x);
}

static const struct check_test tests[] = {
    { "words of the cluster", words_of_the_cluster },
    { "newest word counts", newest_word_counts },
    { "dependencies", dependencies },
    { "creation", creation },
    { "cancelling comes first", cancelling_comes_first },
    { "what happens next", what_happens_next },
    { "after the end", after_the_end },
};
TEST_MAIN("explain", tests)
