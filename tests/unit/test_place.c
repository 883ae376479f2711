/* Placement for drivers: nodes, PodGroups and pods as Kubernetes writes them go in, and what a driver has to do comes out. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "check.h"
#include "cluster/place.h"
#include "../oom/failing_alloc.h"

/* ---- a driver that writes down what it is told ---- */

static place_t *p;
static buf_t said = BUF_INIT(1u << 20);

static void on_bind(void *ctx, const char *pod, const char *node) {
    buf_printf(ctx, "%s: %s\n", pod, node);
}
static void on_preempt(void *ctx, const char *pod, const char *message) {
    buf_printf(ctx, "-%s, %s\n", pod, message);
}
static void on_wait(void *ctx, const char *pod, const char *reason) {
    buf_printf(ctx, "%s? %s\n", pod, reason);
}
static const struct place_sink sink = { .ctx = &said, .bind = on_bind, .preempt = on_preempt, .wait = on_wait };

static const char *run(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_reset(&said);
    CHECK(place_run(p, &sink, &err) >= 0);
    return buf_cstr(&said);
}

static json_t *parse(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *v = NULL;
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    return v;
}

static const char *const levels[] = { "rack", NULL };
static void begin(bool any_node, bool strict) {
    const struct place_options o = { .levels = levels, .any_node = any_node, .strict_order = strict };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(place_new(&o, &p, &err), &err);
}
static void end(void) {
    place_free(p);
    buf_free(&said);
    p = NULL;
}

static json_t *node_json(const char *name, int cpu, int gpu, const char *rack, const char *more) {
    _cleanup_free_ char *text = str_printf(
        "{\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"rack\":\"%s\"}},\"spec\":{%s},"
        "\"status\":{\"allocatable\":{\"cpu\":\"%d\",\"memory\":\"8Gi\",\"nvidia.com/gpu\":\"%d\",\"pods\":\"100\"}}}",
        name, rack, more, cpu, gpu);
    return parse(text);
}
static void node(const char *name, int cpu, int gpu, const char *rack, const char *more) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *v = node_json(name, cpu, gpu, rack, more);
    CHECK_OK(place_node(p, v, &err), &err);
}

static json_t *group_json(const char *name, const char *queue, const char *priority, const char *more) {
    _cleanup_free_ char *text = str_printf("{\"kind\":\"PodGroup\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"queue\":\"%s\","
                                           "\"priorityClassName\":\"osmo-%s\",%s}}",
                                           name, queue, priority, more);
    return parse(text);
}
static void group(const char *name, const char *queue, const char *priority, const char *more) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *v = group_json(name, queue, priority, more);
    CHECK_OK(place_object(p, v, &err), &err);
}

static json_t *pod_json(const char *name, const char *group, const char *requests, const char *spec) {
    _cleanup_free_ char *text = str_printf(
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"osmo.submitted_by\":\"ann\"},\"annotations\":{\"pod-group-name\":"
        "\"%s\"}},\"spec\":{%s\"containers\":[{\"name\":\"u\",\"resources\":{\"requests\":{%s}}}]}}",
        name, group, spec, requests);
    return parse(text);
}
static int64_t arrivals;
static void pod_at(const char *name, const char *group, const char *requests, const char *spec, const char *on) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *v = pod_json(name, group, requests, spec);
    CHECK_OK(place_pod(p, v, ++arrivals, on, &err), &err);
}
static void pod(const char *name, const char *group, const char *requests) { pod_at(name, group, requests, "", NULL); }

/* ---- tests ---- */

static void test_group_starts_together(void) {
    begin(false, true);
    node("n1", 4, 0, "r1", "");
    group("g", "q", "normal", "\"minMember\":2");
    pod("a", "g", "\"cpu\":\"3\"");
    CHECK_STR(run(), "a? waits for 1 more pods of its group\n");
    pod("b", "g", "\"cpu\":\"3\"");
    CHECK_STR(run(), "a? needs 6 cpu in all, the cluster has 4\nb? needs 6 cpu in all, the cluster has 4\n");
    node("n2", 4, 0, "r1", "");
    CHECK_STR(run(), "a: n1\nb: n2\n");
    CHECK_STR(run(), "");
    place_pod_ended(p, "a");
    place_pod_gone(p, "a");
    place_pod_gone(p, "a");
    place_pod_ended(p, "nobody");
    pod("a", "g", "\"cpu\":\"4\""); /* a retry joins the one that runs */
    CHECK_STR(run(), "a: n1\n");
    end();
}

static void test_retry_after_the_others_ended(void) {
    begin(true, true);
    node("n", 4, 0, "r", "");
    group("g", "q", "normal", "\"minMember\":2");
    pod("a", "g", "\"cpu\":1");
    pod("b", "g", "\"cpu\":1");
    CHECK_STR(run(), "a: n\nb: n\n");
    place_pod_ended(p, "b"); /* it is there still */
    place_pod_ended(p, "a");
    place_pod_gone(p, "a");
    pod("a", "g", "\"cpu\":4");
    CHECK_STR(run(), "a: n\n");
    place_pod_gone(p, "a");
    place_pod_gone(p, "b");
    place_object_gone(p, "PodGroup", "g");
    CHECK_STR(run(), "");
    end();
}

static void test_preemption_takes_whole_groups(void) {
    begin(false, true);
    node("n1", 4, 0, "r", "");
    node("n2", 4, 0, "r", "");
    group("low", "q", "low", "\"minMember\":2");
    pod("l1", "low", "\"cpu\":3");
    pod("l2", "low", "\"cpu\":3");
    CHECK_STR(run(), "l1: n1\nl2: n2\n");
    pod("l3", "low", "\"cpu\":1"); /* came later: on its own for the scheduler */
    CHECK_STR(run(), "l3: n1\n");
    group("high", "q", "high", "\"minMember\":1");
    pod("h", "high", "\"cpu\":1");
    pod("h2", "high", "\"cpu\":1");
    CHECK_STR(run(), "-l3, preempted for group high: a gang of higher priority needs its place\n"
                     "-l1, preempted for group high: a gang of higher priority needs its place\n"
                     "-l2, preempted for group high: a gang of higher priority needs its place\n"
                     "h? waits for the gangs that leave for it\nh2? waits for the gangs that leave for it\n");
    place_pod_ended(p, "l1");
    CHECK_STR(run(), "");
    place_pod_ended(p, "l3");
    CHECK_STR(run(), "h: n1\nh2: n2\n");
    place_pod_ended(p, "l2");
    CHECK_STR(run(), "");
    end();
}

static void test_selectors_taints_and_cordons(void) {
    static const char tolerates[] = "\"tolerations\":[{\"key\":\"x\",\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}],";
    begin(false, false);
    node("n1", 4, 0, "r1", "\"taints\":[{\"key\":\"x\",\"value\":\"y\",\"effect\":\"NoSchedule\"}]");
    node("n2", 4, 0, "r2", "\"taints\":[{\"key\":\"soft\",\"effect\":\"PreferNoSchedule\"}]");
    pod_at("a", "a", "\"cpu\":1", "\"nodeSelector\":{\"rack\":\"r1\"},", NULL);
    CHECK_STR(run(), "a? none of 2 nodes fits: 1 with a taint that is not tolerated, 1 without the labels asked for\n");
    pod_at("b", "b", "\"cpu\":1", tolerates, NULL);
    pod("c", "c", "\"cpu\":1");
    CHECK_STR(run(), "b: n1\nc: n2\n");
    node("n1", 4, 0, "r1", "");
    CHECK_STR(run(), "a: n1\n");
    node("n1", 4, 0, "r1", "\"unschedulable\":true");
    pod_at("d", "d", "\"cpu\":1", "\"nodeSelector\":{\"rack\":\"r1\"},", NULL);
    CHECK_STR(run(), "d? none of 2 nodes fits: 1 cordoned, 1 without the labels asked for\n");
    place_node_gone(p, "n1");
    node("n3", 4, 0, "r1", "");
    CHECK_STR(run(), "d: n3\n");
    end();
}

static void test_topology(void) {
    begin(false, true);
    node("n1", 2, 0, "r1", "");
    node("n2", 2, 0, "r2", "");
    node("n3", 2, 0, "r2", "");
    group("one", "q", "normal", "\"minMember\":2,\"topologyConstraint\":{\"topology\":\"t\",\"requiredTopologyLevel\":\"rack\"}");
    pod("a", "one", "\"cpu\":2");
    pod("b", "one", "\"cpu\":2");
    CHECK_STR(run(), "a: n2\nb: n3\n");
    place_pod_gone(p, "a");
    place_pod_gone(p, "b");
    group("two", "q", "normal",
          "\"subGroups\":[{\"name\":\"x\",\"minMember\":2,\"topologyConstraint\":{\"requiredTopologyLevel\":\"rack\"}},"
          "{\"name\":\"y\",\"minMember\":1,\"topologyConstraint\":{\"preferredTopologyLevel\":\"unknown\"}}]");
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        _cleanup_json_ json_t *v = pod_json(name, "two", "\"cpu\":2", "");
        json_set_str(json_path(v, "metadata", "labels", NULL), "kai.scheduler/subgroup-name", i == 1 ? "y" : "x");
        CHECK_INT(place_pod(p, v, ++arrivals, NULL, NULL), 0);
        if (i < 2)
            CHECK_CONTAINS(run(), i ? "p1? waits for 1 more pods of its group" : "p0? waits for 2 more pods of its group");
    }
    CHECK_STR(run(), "p0: n2\np1: n1\np2: n3\n");
    end();
}

static void test_queues_reclaim(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin(true, true);
    node("n", 64, 8, "r", "");
    for (int i = 0; i < 2; i++) {
        _cleanup_json_ json_t *q = parse(i ? "{\"kind\":\"Queue\",\"metadata\":{\"name\":\"owner\"},\"spec\":{\"parentQueue\":\"d\","
                                             "\"resources\":{\"gpu\":{\"quota\":4,\"limit\":8,\"overQuotaWeight\":2},"
                                             "\"cpu\":{\"quota\":-1,\"limit\":-1}}}}"
                                           : "{\"kind\":\"Queue\",\"metadata\":{\"name\":\"guest\"},\"spec\":{\"resources\":{\"gpu\":"
                                             "{\"quota\":4,\"limit\":8}}}}");
        CHECK_OK(place_object(p, q, &err), &err);
    }
    group("lent", "guest", "low", "\"minMember\":1");
    pod("a", "lent", "\"nvidia.com/gpu\":6");
    CHECK_STR(run(), "a: n\n");
    group("over", "owner", "normal", "\"minMember\":1");
    pod("b", "over", "\"nvidia.com/gpu\":5");
    CHECK_STR(run(), "b? queue owner is guaranteed 4 gpu, of which 0 are used and 5 asked; a lower priority may borrow\n");
    group("own", "owner", "normal", "\"minMember\":1");
    pod("c", "own", "\"nvidia.com/gpu\":4");
    CHECK_STR(run(), "-a, preempted for group own: the queue of another gang takes back what is guaranteed to it\n"
                     "c? waits for the gangs that leave for it\n");
    place_pod_gone(p, "a");
    CHECK_STR(run(), "c: n\n");
    place_object_gone(p, "Queue", "owner"); /* no limit is left */
    CHECK_STR(run(), "b? needs 5 gpu in all, 4 are free in the cluster\n");
    end();
}

/* After a restart: what runs is told again, and counts; who began last leaves first. */
static void test_adoption(void) {
    begin(true, true);
    node("n", 4, 0, "r", "");
    group("l1", "q", "low", "\"minMember\":1");
    group("l2", "q", "low", "\"minMember\":1");
    pod_at("a", "l1", "\"cpu\":2", "", "n");
    pod_at("b", "l2", "\"cpu\":2", "", "n");
    pod_at("old", "l2", "\"cpu\":2", "", "n");
    place_pod_ended(p, "old");
    group("h", "q", "high", "\"minMember\":1");
    pod("c", "h", "\"cpu\":1");
    CHECK_STR(run(), "-b, preempted for group h: a gang of higher priority needs its place\nc? waits for the gangs that leave for it\n");
    place_pod_ended(p, "b");
    CHECK_STR(run(), "c: n\n");
    end();
}

/* One that was preempted before the restart is still on its way out: nobody else has to go. */
static void test_adoption_of_one_that_leaves(void) {
    begin(true, true);
    node("n", 4, 0, "r", "");
    group("l1", "q", "low", "\"minMember\":1");
    group("l2", "q", "low", "\"minMember\":1");
    group("h", "q", "high", "\"minMember\":1");
    pod_at("a", "l1", "\"cpu\":2", "", "n");
    place_pod_leaving(p, "a");
    pod_at("b", "l2", "\"cpu\":2", "", "n");
    pod("c", "h", "\"cpu\":2");
    CHECK_STR(run(), "c? waits for the gangs that leave for it\n");
    place_pod_ended(p, "a");
    CHECK_STR(run(), "c: n\n");
    end();
}

static void test_bad_input(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin(true, true);
    node("n", 4, 0, "r", "");
    _cleanup_json_ json_t *nameless = parse("{\"kind\":\"PodGroup\",\"metadata\":{}}");
    _cleanup_json_ json_t *secret = parse("{\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"}}");
    CHECK_INT(place_object(p, nameless, &err), OSMO_EINVAL);
    CHECK_INT(place_pod(p, nameless, 1, NULL, &err), OSMO_EINVAL);
    CHECK_INT(place_node(p, nameless, &err), OSMO_EINVAL);
    CHECK_INT(place_object(p, secret, &err), 0);
    _cleanup_json_ json_t *v = pod_json("huge", "huge", "\"cpu\":\"9e18\"", "");
    CHECK_INT(place_pod(p, v, 1, NULL, &err), 0);
    CHECK_INT(place_pod(p, v, 1, NULL, &err), OSMO_EEXISTS);
    CHECK_CONTAINS(run(), "requests an impossible amount of cpu");
    pod("next", "next", "\"cpu\":1");
    CHECK_STR(run(), "next: n\n");
    end();
}

/* ---- out of memory ---- */

static int again(int rc) { return rc == OSMO_ENOMEM ? (alloc_stop(), 1) : 0; }
#define TRY(call) do { if (again(call)) CHECK(!again(call)); } while (0)

static void run_out(buf_t *decided) {
    const struct place_sink quiet = { .ctx = decided, .bind = on_bind, .preempt = on_preempt, .wait = on_wait };
    TRY((int)place_run(p, &quiet, NULL));
}

/* Every call that fails is made again and then goes on as if nothing had happened: what is said last of each pod is the same. */
static void story(buf_t *decided, json_t **objects, json_t **pods) {
    const struct place_options o = { .levels = levels };
    TRY(place_new(&o, &p, NULL));
    TRY(place_node(p, objects[0], NULL));
    TRY(place_object(p, objects[1], NULL));
    TRY(place_object(p, objects[2], NULL));
    TRY(place_pod(p, pods[0], 1, NULL, NULL));
    TRY(place_pod(p, pods[1], 2, NULL, NULL));
    run_out(decided);
    run_out(decided);
    TRY(place_pod(p, pods[2], 3, NULL, NULL));
    run_out(decided);
    place_pod_ended(p, "l1");
    place_pod_ended(p, "l2");
    run_out(decided);
    alloc_stop();
    place_free(p);
    p = NULL;
}

static void test_out_of_memory(void) {
    json_t *objects[] = { node_json("n", 4, 0, "r", ""), group_json("low", "q", "low", "\"minMember\":2"),
                          group_json("high", "q", "high", "\"minMember\":1") };
    json_t *pods[] = { pod_json("l1", "low", "\"cpu\":2", "\"nodeSelector\":{\"rack\":\"r\"},"), pod_json("l2", "low", "\"cpu\":1", ""),
                       pod_json("h", "high", "\"cpu\":4", "") };
    bool failed = true;
    size_t n = 0;
    while (failed && n < 20000) {
        buf_t decided = BUF_INIT(1u << 16);
        buf_reserve(&decided, 8192);
        alloc_fail_at(++n, false);
        story(&decided, objects, pods);
        failed = alloc_failed();
        alloc_fail_at(0, false);
        const char *text = buf_cstr(&decided);
        bool good = strstr(text, "l1: n") && strstr(text, "l2: n") && strstr(text, "-l1, ") && strstr(text, "-l2, ") &&
                    strstr(text, "h: n");
        if (!good)
            fprintf(stderr, "allocation %zu: %s\n", n, text);
        CHECK(good);
        buf_free(&decided);
    }
    printf("%zu allocations ", n);
    CHECK(n > 50 && !failed);
    for (size_t i = 0; i < 3; i++) {
        json_free(objects[i]);
        json_free(pods[i]);
    }
}

static const struct check_test tests[] = {
    { "a group starts together", test_group_starts_together },
    { "retry after the others ended", test_retry_after_the_others_ended },
    { "preemption takes whole groups", test_preemption_takes_whole_groups },
    { "selectors, taints, cordons", test_selectors_taints_and_cordons },
    { "topology", test_topology },
    { "queues reclaim", test_queues_reclaim },
    { "adoption", test_adoption },
    { "adoption of one that leaves", test_adoption_of_one_that_leaves },
    { "bad input", test_bad_input },
    { "out of memory", test_out_of_memory },
};
TEST_MAIN("place", tests)
