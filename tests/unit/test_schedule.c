/* The scheduler: tables of small clusters with the decisions that follow from the rules, and invariants over random histories. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "osmo/scheduler.h"

#define GI (1024ll * 1024 * 1024)
#define NO_LIMIT { { -1, -1, -1, -1, -1 } }

/* ---- a cluster in few words ---- */

static osmo_scheduler_t *s;
static char told[8192]; /* what the run said, one decision a line */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
    va_list args;
    size_t n = strlen(told);
    va_start(args, format);
    vsnprintf(told + n, sizeof told - n, format, args);
    va_end(args);
}

static void on_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    (void)ctx;
    say("%s:", gang);
    for (size_t i = 0; i < npods; i++)
        say(" %s", nodes[i]);
    say("\n");
}
static void on_evict(void *ctx, const char *gang, const char *for_gang, const char *reason) {
    (void)ctx, (void)reason;
    say("-%s for %s\n", gang, for_gang);
}
static void on_wait(void *ctx, const char *gang, const char *reason) {
    (void)ctx;
    say("%s? %s\n", gang, reason);
}
static const osmo_sched_sink_t sink = { .size = sizeof sink, .place = on_place, .evict = on_evict, .wait = on_wait };

static const char *run(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    told[0] = '\0';
    CHECK(osmo_scheduler_run(s, 0, &sink, &err) >= 0);
    return told;
}

static void begin(const char *const *levels, int strict) {
    osmo_scheduler_options_t o = { .size = sizeof o, .levels = levels, .strict_order = strict };
    REQUIRE(osmo_scheduler_new(&o, &s, NULL) == 0);
}
static void end(void) { osmo_scheduler_free(s); }

static osmo_sched_amount_t amount(int64_t cpu, int64_t gib, int64_t gpu) {
    return (osmo_sched_amount_t){ { cpu * 1000, gib * GI, 0, gpu, 0 } };
}

static void node_with(const char *name, int64_t cpu, int64_t gpu, const osmo_sched_pair_t *labels, size_t nlabels,
                      const osmo_sched_pair_t *taints, size_t ntaints) {
    osmo_sched_node_t n = { .size = sizeof n, .name = name, .capacity = amount(cpu, 64, gpu), .labels = labels,
                            .nlabels = nlabels, .taints = taints, .ntaints = ntaints };
    n.capacity.of[OSMO_SCHED_PODS] = 100;
    CHECK_INT(osmo_scheduler_set_node(s, &n, NULL), 0);
}
static void node(const char *name, int64_t cpu, int64_t gpu) { node_with(name, cpu, gpu, NULL, 0, NULL, 0); }

static void queue(const char *name, int64_t guarantee_gpu, int64_t maximum_gpu, double weight) {
    osmo_sched_queue_t q = { .size = sizeof q, .name = name, .guarantee = NO_LIMIT, .maximum = NO_LIMIT, .weight = weight };
    q.guarantee.of[OSMO_SCHED_GPU] = guarantee_gpu;
    q.maximum.of[OSMO_SCHED_GPU] = maximum_gpu;
    CHECK_INT(osmo_scheduler_set_queue(s, &q, NULL), 0);
}

struct ask { const char *name, *queue, *user; int priority, preemptible; int64_t cpu, gpu; size_t pods; };
static int64_t arrivals;
static int submit(struct ask a) {
    osmo_sched_pod_t pods[64];
    osmo_sched_gang_t g = { .size = sizeof g, .name = a.name, .queue = a.queue, .user = a.user, .priority = a.priority,
                            .preemptible = a.preemptible, .arrival = ++arrivals, .pods = pods, .npods = a.pods ? a.pods : 1 };
    for (size_t i = 0; i < g.npods; i++)
        pods[i] = (osmo_sched_pod_t){ .request = amount(a.cpu, 1, a.gpu), .scope = -1 };
    return osmo_scheduler_submit(s, &g, NULL);
}

/* ---- fit ---- */

static void test_gang_is_whole_or_waits(void) {
    begin(NULL, 0);
    node("a", 4, 0);
    node("b", 4, 0);
    submit((struct ask){ .name = "g", .cpu = 3, .pods = 2 });
    CHECK_STR(run(), "g: a b\n");
    submit((struct ask){ .name = "h", .cpu = 1, .pods = 3 });
    CHECK_STR(run(), "h? needs 3 cpu in all, 2 are free in the cluster\n");
    CHECK_STR(osmo_scheduler_get_reason(s, "h"), "needs 3 cpu in all, 2 are free in the cluster");
    CHECK_STR(run(), ""); /* the same reason is told once */
    CHECK_INT(osmo_scheduler_end_pod(s, "g", 0), 0);
    CHECK_STR(run(), "h: a a a\n");
    CHECK_STR(osmo_scheduler_get_reason(s, "h"), "");
    CHECK(osmo_scheduler_get_reason(s, "nobody") == NULL);
    CHECK_INT(osmo_scheduler_remove(s, "g"), 0);
    CHECK_INT(osmo_scheduler_remove(s, "g"), OSMO_ENOTFOUND);
    submit((struct ask){ .name = "i", .cpu = 4 });
    CHECK_STR(run(), "i: b\n");
    end();
}

static void test_reasons_name_what_is_missing(void) {
    static const osmo_sched_pair_t taint[] = { { "dedicated", "x" } }, arm[] = { { "arch", "arm64" } };
    osmo_sched_pod_t pod = { .request = amount(3, 1, 0), .scope = -1 };
    osmo_sched_gang_t g = { .size = sizeof g, .name = "g", .pods = &pod, .npods = 1 };
    begin(NULL, 0);
    submit((struct ask){ .name = "early", .cpu = 1 });
    CHECK_STR(run(), "early? the cluster has no nodes\n");
    osmo_scheduler_remove(s, "early");
    node_with("tainted", 8, 0, NULL, 0, taint, 1);
    node_with("arm", 8, 0, arm, 1, NULL, 0);
    node("small", 2, 0);
    pod.selector = (const osmo_sched_pair_t[]){ { "arch", "amd64" } };
    pod.nselector = 1;
    CHECK_INT(osmo_scheduler_submit(s, &g, NULL), 0);
    CHECK_STR(run(), "g? none of 3 nodes fits: 1 with a taint that is not tolerated, 2 without the labels asked for\n");
    osmo_scheduler_remove(s, "g");
    pod.nselector = 0;
    pod.request = amount(9, 1, 0);
    CHECK_INT(osmo_scheduler_submit(s, &g, NULL), 0);
    CHECK_STR(run(), "g? none of 3 nodes fits: 1 with a taint that is not tolerated, "
                     "2 with too little cpu (9 asked, at most 8 free on one)\n");
    osmo_scheduler_remove(s, "g");
    pod.request = amount(3, 1, 0);
    pod.tolerations = (const osmo_sched_pair_t[]){ { "dedicated", NULL } };
    pod.ntolerations = 1;
    CHECK_INT(osmo_scheduler_submit(s, &g, NULL), 0);
    CHECK_STR(run(), "g: arm\n");
    end();
}

static void test_pods_without_devices_leave_them_to_others(void) {
    begin(NULL, 0);
    node("a-gpu", 8, 8);
    node("b-cpu", 8, 0);
    submit((struct ask){ .name = "cpu", .cpu = 2 });
    submit((struct ask){ .name = "gpu", .cpu = 2, .gpu = 1 });
    CHECK_STR(run(), "cpu: b-cpu\ngpu: a-gpu\n");
    submit((struct ask){ .name = "more", .cpu = 6, .pods = 2 });
    CHECK_STR(run(), "more: b-cpu a-gpu\n"); /* rather there than not at all */
    end();
}

static void test_bad_input(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_sched_pod_t pod = { .request = amount(1, 1, 0), .scope = -1 };
    osmo_sched_gang_t g = { .size = sizeof g, .name = "g", .pods = &pod, .npods = 0 };
    begin(NULL, 0);
    CHECK_INT(osmo_scheduler_submit(s, &g, &err), OSMO_EINVAL);
    CHECK_STR(err.text, "gang g has 0 pods and 0 scopes; 1 to 65536 and at most 1024 are possible");
    g.npods = 1;
    pod.request.of[OSMO_SCHED_GPU] = -1;
    CHECK_INT(osmo_scheduler_submit(s, &g, &err), OSMO_EINVAL);
    CHECK_STR(err.text, "pod 0 of gang g requests an impossible amount of gpu");
    pod.request.of[OSMO_SCHED_GPU] = 0;
    g.level = "rack";
    CHECK_INT(osmo_scheduler_submit(s, &g, &err), OSMO_EINVAL);
    CHECK_STR(err.text, "'rack' is no level of the topology");
    g.level = NULL;
    CHECK_INT(osmo_scheduler_submit(s, &g, &err), 0);
    CHECK_INT(osmo_scheduler_submit(s, &g, &err), OSMO_EEXISTS);
    CHECK_STR(err.text, "gang g is known already");
    end();
}

/* ---- order ---- */

static void test_priority_then_user_then_arrival(void) {
    begin(NULL, 0);
    node("n", 4, 0);
    submit((struct ask){ .name = "a1", .user = "ann", .cpu = 1 });
    submit((struct ask){ .name = "a2", .user = "ann", .cpu = 1 });
    submit((struct ask){ .name = "a3", .user = "ann", .cpu = 1 });
    submit((struct ask){ .name = "b1", .user = "bob", .cpu = 1 });
    submit((struct ask){ .name = "b2", .user = "bob", .cpu = 1 });
    submit((struct ask){ .name = "c1", .user = "cy", .priority = 5, .cpu = 1 });
    CHECK_STR(run(), "c1: n\na1: n\nb1: n\na2: n\nb2? needs 1 cpu in all, 0 are free in the cluster\n"
                     "a3? needs 1 cpu in all, 0 are free in the cluster\n");
    end();
}

static void test_smaller_ones_pass_unless_order_is_strict(void) {
    for (int strict = 0; strict < 2; strict++) {
        begin(NULL, strict);
        node("n", 4, 0);
        submit((struct ask){ .name = "never", .cpu = 5 });
        submit((struct ask){ .name = "first", .cpu = 2 });
        submit((struct ask){ .name = "big", .cpu = 4 });
        submit((struct ask){ .name = "small", .cpu = 1 });
        CHECK_STR(run(), strict ? "never? needs 5 cpu in all, the cluster has 4\nfirst: n\n"
                                  "big? needs 4 cpu in all, 2 are free in the cluster\n"
                                : "never? needs 5 cpu in all, the cluster has 4\nfirst: n\n"
                                  "big? needs 4 cpu in all, 2 are free in the cluster\nsmall: n\n");
        CHECK_STR(osmo_scheduler_get_reason(s, "small"), "");
        CHECK_STR(run(), ""); /* still held up, though nothing is looked at again */
        end();
    }
}

static void test_queues_share_by_weight(void) {
    int got[2] = { 0, 0 };
    begin(NULL, 0);
    node("n", 60, 60);
    queue("one", 0, -1, 1);
    queue("two", 0, -1, 2);
    for (int i = 0; i < 120; i++) {
        char name[16];
        snprintf(name, sizeof name, "%c%d", i % 2 ? 't' : 'o', i);
        submit((struct ask){ .name = name, .queue = i % 2 ? "two" : "one", .preemptible = 1, .gpu = 1 });
    }
    for (const char *p = run(); p && *p; p = strchr(p, '\n') + 1)
        if (strstr(p, ": n") && strstr(p, ": n") < strchr(p, '\n'))
            got[*p == 't']++;
    CHECK_INT(got[0], 20);
    CHECK_INT(got[1], 40);
    end();
}

/* ---- quota ---- */

static void test_guarantee_and_maximum(void) {
    begin(NULL, 0);
    node("n", 64, 16);
    queue("p", 4, 8, 1);
    submit((struct ask){ .name = "firm", .queue = "p", .priority = 100, .gpu = 4 });
    submit((struct ask){ .name = "over", .queue = "p", .priority = 100, .gpu = 1 });
    submit((struct ask){ .name = "lent", .queue = "p", .priority = 50, .preemptible = 1, .gpu = 4 });
    submit((struct ask){ .name = "max", .queue = "p", .priority = 50, .preemptible = 1, .gpu = 1 });
    CHECK_STR(run(), "firm: n\n"
                     "over? queue p is guaranteed 4 gpu, of which 4 are used and 1 asked; a lower priority may borrow\n"
                     "lent: n\n"
                     "max? queue p has a maximum of 8 gpu, of which 8 are used and 1 asked\n");
    end();
}

static void test_reclaim_takes_back_what_was_lent(void) {
    begin(NULL, 0);
    node("n", 64, 8);
    queue("owner", 4, -1, 1);
    queue("guest", 4, -1, 1);
    submit((struct ask){ .name = "own", .queue = "guest", .priority = 100, .gpu = 4 });
    submit((struct ask){ .name = "old", .queue = "guest", .priority = 50, .preemptible = 1, .gpu = 2 });
    CHECK_STR(run(), "own: n\nold: n\n");
    submit((struct ask){ .name = "new", .queue = "guest", .priority = 50, .preemptible = 1, .gpu = 2 });
    CHECK_STR(run(), "new: n\n");
    submit((struct ask){ .name = "mine", .queue = "owner", .priority = 100, .gpu = 2 });
    CHECK_STR(run(), "-new for mine\nmine? waits for the gangs that leave for it\n"); /* the last to come is the first to go */
    submit((struct ask){ .name = "thief", .queue = "guest", .priority = 50, .preemptible = 1, .gpu = 2 });
    CHECK_STR(run(), "thief? needs 2 gpu in all, 0 are free in the cluster\n");
    CHECK_INT(osmo_scheduler_remove(s, "new"), 0);
    CHECK_STR(run(), "mine: n\n"); /* the claim holds against who asks at the same moment */
    CHECK_INT(osmo_scheduler_remove(s, "mine"), 0);
    CHECK_STR(run(), "thief: n\n");
    end();
}

static void test_priority_displaces_preemptible_ones(void) {
    begin(NULL, 0);
    node("n", 64, 8);
    submit((struct ask){ .name = "low1", .priority = 50, .preemptible = 1, .gpu = 2 });
    submit((struct ask){ .name = "low2", .priority = 50, .preemptible = 1, .gpu = 4 });
    submit((struct ask){ .name = "firm", .priority = 60, .gpu = 2 });
    CHECK_STR(run(), "firm: n\nlow1: n\nlow2: n\n");
    submit((struct ask){ .name = "same", .priority = 50, .preemptible = 1, .gpu = 2 });
    CHECK_STR(run(), "same? needs 2 gpu in all, 0 are free in the cluster\n");
    submit((struct ask){ .name = "two", .priority = 100, .gpu = 2 });
    CHECK_STR(run(), "-low2 for two\ntwo? waits for the gangs that leave for it\n");
    /* the claim is given up: the victim leaves for nobody, and who waited gets the room */
    CHECK_INT(osmo_scheduler_remove(s, "two"), 0);
    CHECK_STR(run(), "");
    CHECK_INT(osmo_scheduler_remove(s, "low2"), 0);
    CHECK_STR(run(), "same: n\n");
    end();
}

static void test_victims_are_as_few_as_possible(void) {
    begin(NULL, 0);
    node("a", 8, 0);
    node("b", 8, 0);
    submit((struct ask){ .name = "a1", .preemptible = 1, .cpu = 8 });
    submit((struct ask){ .name = "b1", .preemptible = 1, .cpu = 4 });
    submit((struct ask){ .name = "b2", .preemptible = 1, .cpu = 4 });
    CHECK_STR(run(), "a1: a\nb1: b\nb2: b\n");
    submit((struct ask){ .name = "high", .priority = 9, .cpu = 8 });
    CHECK_STR(run(), "-b2 for high\n-b1 for high\nhigh? waits for the gangs that leave for it\n");
    CHECK_INT(osmo_scheduler_remove(s, "b1"), 0);
    CHECK_STR(run(), "");
    CHECK_INT(osmo_scheduler_remove(s, "b2"), 0);
    CHECK_STR(run(), "high: b\n");
    end();
}

/* Room that is given back can be too little by itself, but enough with that of a gang that may leave. */
static void test_room_given_back_and_a_victim(void) {
    begin(NULL, 0);
    node("n", 4, 0);
    submit((struct ask){ .name = "firm", .priority = 9, .cpu = 2 });
    CHECK_STR(run(), "firm: n\n");
    submit((struct ask){ .name = "high", .priority = 9, .cpu = 4 });
    submit((struct ask){ .name = "low", .preemptible = 1, .cpu = 1 });
    CHECK_STR(run(), "high? needs 4 cpu in all, 2 are free in the cluster\nlow: n\n");
    CHECK_STR(run(), "");
    CHECK_INT(osmo_scheduler_remove(s, "firm"), 0);
    CHECK_STR(run(), "-low for high\nhigh? waits for the gangs that leave for it\n");
    CHECK_INT(osmo_scheduler_remove(s, "low"), 0);
    CHECK_STR(run(), "high: n\n");
    end();
}

/* What one run placed does not leave in the same run for somebody who comes later in it. */
static void test_nobody_leaves_in_the_run_in_which_it_came(void) {
    begin(NULL, 0);
    node("n", 8, 8);
    queue("a", 0, -1, 1);
    queue("b", 4, -1, 1);
    submit((struct ask){ .name = "fill", .queue = "a", .preemptible = 1, .gpu = 8 });
    submit((struct ask){ .name = "own", .queue = "b", .priority = 9, .gpu = 4 });
    CHECK_STR(run(), "fill: n\nown? needs 4 gpu in all, 0 are free in the cluster\n");
    CHECK_STR(run(), "-fill for own\nown? waits for the gangs that leave for it\n");
    end();
}

static void test_reasons_are_told_to_who_joins(void) {
    begin(NULL, 0);
    node("n", 4, 0);
    submit((struct ask){ .name = "x", .cpu = 4 });
    submit((struct ask){ .name = "y", .cpu = 3 });
    CHECK_STR(run(), "x: n\ny? needs 3 cpu in all, 0 are free in the cluster\n");
    submit((struct ask){ .name = "z", .cpu = 3 });
    CHECK_STR(run(), "z? needs 3 cpu in all, 0 are free in the cluster\n");
    submit((struct ask){ .name = "w", .cpu = 3 });
    CHECK_INT(osmo_scheduler_remove(s, "w"), 0);
    CHECK_STR(run(), "");
    queue("", -1, -1, 1);
    osmo_sched_queue_t q = { .size = sizeof q, .name = "", .guarantee = NO_LIMIT, .maximum = NO_LIMIT, .weight = 1 };
    q.maximum.of[OSMO_SCHED_CPU] = 4000;
    CHECK_INT(osmo_scheduler_set_queue(s, &q, NULL), 0);
    CHECK_STR(osmo_scheduler_get_reason(s, "y"), "queue  has a maximum of 4 cpu, of which 4 are used and 3 asked");
    CHECK_INT(osmo_scheduler_remove(s, "x"), 0);
    CHECK_STR(run(), "y: n\nz? queue  has a maximum of 4 cpu, of which 3 are used and 3 asked\n");
    end();
}

/* ---- topology ---- */

static const char *const levels[] = { "zone", "rack", NULL };

static void racks(void) {
    static const char *const where[][3] = { { "n1", "z1", "r1" }, { "n2", "z1", "r1" }, { "n3", "z1", "r2" },
                                            { "n4", "z2", "r1" }, { "n5", "z2", "r1" } };
    for (size_t i = 0; i < 5; i++) {
        osmo_sched_pair_t labels[] = { { "zone", where[i][1] }, { "rack", where[i][2] } };
        node_with(where[i][0], 2, 0, labels, 2, NULL, 0);
    }
    node("outside", 8, 0);
}

static int submit_scoped(const char *name, const char *level, int preferred, const osmo_sched_scope_t *scopes, size_t nscopes,
                         const int *of, size_t npods, int64_t cpu) {
    osmo_sched_pod_t pods[16];
    osmo_sched_gang_t g = { .size = sizeof g, .name = name, .level = level, .preferred = preferred, .scopes = scopes,
                            .nscopes = nscopes, .pods = pods, .npods = npods, .arrival = ++arrivals };
    for (size_t i = 0; i < npods; i++)
        pods[i] = (osmo_sched_pod_t){ .request = amount(cpu, 1, 0), .scope = of ? of[i] : -1 };
    return osmo_scheduler_submit(s, &g, NULL);
}

static void test_domains(void) {
    begin(levels, 0);
    racks();
    CHECK_INT(submit_scoped("rack", "rack", 0, NULL, 0, NULL, 2, 2), 0);
    CHECK_STR(run(), "rack: n1 n2\n");
    CHECK_INT(submit_scoped("zone", "zone", 0, NULL, 0, NULL, 3, 2), 0);
    CHECK(strstr(run(), "zone? none of 6 nodes fits inside one zone") || strstr(told, "zone? room for"));
    CHECK_INT(osmo_scheduler_remove(s, "zone"), 0);
    CHECK_INT(submit_scoped("wish", "zone", 1, NULL, 0, NULL, 3, 2), 0);
    run();
    CHECK(strncmp(told, "wish: ", 6) == 0); /* preferred only: anywhere */
    end();
}

static void test_scopes_inside_a_domain(void) {
    static const osmo_sched_scope_t two_racks[] = { { -1, "rack", 0 }, { -1, "rack", 0 } };
    static const int of[] = { 0, 0, 1 };
    begin(levels, 0);
    racks();
    CHECK_INT(submit_scoped("g", "zone", 0, two_racks, 2, of, 3, 2), 0);
    CHECK_STR(run(), "g: n1 n2 n3\n");
    /* no zone has two racks free any more */
    CHECK_INT(submit_scoped("h", "zone", 0, two_racks, 2, (const int[]){ 0, 1, 1 }, 3, 1), 0);
    CHECK_STR(run(), "h: n4 n4 n5\n");
    CHECK_INT(submit_scoped("i", "zone", 0, two_racks, 2, of, 3, 1), 0);
    run();
    CHECK(strncmp(told, "i? ", 3) == 0);
    end();
}

/* ---- change ---- */

static void test_nodes_change(void) {
    begin(NULL, 0);
    node("a", 4, 0);
    submit((struct ask){ .name = "x", .cpu = 4 });
    submit((struct ask){ .name = "y", .cpu = 4 });
    CHECK_STR(run(), "x: a\ny? needs 4 cpu in all, 0 are free in the cluster\n");
    node("a", 8, 0); /* grows */
    CHECK_STR(run(), "y: a\n");
    CHECK_INT(osmo_scheduler_remove_node(s, "a"), 0);
    CHECK_INT(osmo_scheduler_remove_node(s, "a"), OSMO_ENOTFOUND);
    submit((struct ask){ .name = "z", .cpu = 1 });
    CHECK_STR(run(), "z? the cluster has no nodes\n");
    node("b", 4, 0);
    CHECK_STR(run(), "z: b\n");
    CHECK_INT(osmo_scheduler_remove(s, "x"), 0); /* its node is gone; its queue is freed */
    osmo_sched_node_t closed = { .size = sizeof closed, .name = "b", .capacity = amount(8, 64, 0), .cordoned = 1 };
    closed.capacity.of[OSMO_SCHED_PODS] = 100;
    CHECK_INT(osmo_scheduler_set_node(s, &closed, NULL), 0);
    submit((struct ask){ .name = "w", .cpu = 1 });
    CHECK_STR(run(), "w? needs 1 cpu in all, 0 are free in the cluster\n");
    end();
}

static void test_adopted_gangs_count(void) {
    const char *nodes[] = { "a", "gone" };
    osmo_sched_pod_t pods[] = { { .request = amount(2, 1, 1), .scope = -1 }, { .request = amount(2, 1, 1), .scope = -1 } };
    osmo_sched_gang_t g = { .size = sizeof g, .name = "old", .queue = "p", .preemptible = 1, .pods = pods, .npods = 2 };
    begin(NULL, 0);
    node("a", 4, 4);
    queue("p", -1, 3, 1);
    CHECK_INT(osmo_scheduler_adopt(s, &g, nodes, NULL), 0);
    submit((struct ask){ .name = "new", .queue = "p", .cpu = 1, .gpu = 2 });
    CHECK_STR(run(), "new? queue p has a maximum of 3 gpu, of which 2 are used and 2 asked\n");
    CHECK_INT(osmo_scheduler_end_pod(s, "old", 1), 0);
    CHECK_STR(run(), "new: a\n");
    end();
}

/* ---- random histories ---- */

enum { NODES = 12, GANGS = 200 };
static struct { bool waiting, running, leaving; int gpu[4], node[4], pods, preemptible, queue; } all[GANGS];
static int broken, placements, evictions;

static int number_of(const char *name) { return atoi(name + 1); }
static void random_place(void *ctx, const char *gang, const char *const *nodes, size_t npods) {
    int g = number_of(gang);
    (void)ctx;
    broken += !all[g].waiting || npods != (size_t)all[g].pods;
    all[g].waiting = false;
    all[g].running = true;
    for (size_t i = 0; i < npods; i++)
        all[g].node[i] = number_of(nodes[i]);
    placements++;
}
static void random_evict(void *ctx, const char *gang, const char *for_gang, const char *reason) {
    int g = number_of(gang);
    (void)ctx, (void)reason;
    broken += !all[g].running || all[g].leaving || !all[g].preemptible || !all[number_of(for_gang)].waiting;
    all[g].leaving = true;
    evictions++;
}

static void check_capacity(void) {
    int used[NODES] = { 0 }, queue_used[3] = { 0 }, firm[3] = { 0 };
    for (int g = 0; g < GANGS; g++)
        for (int i = 0; all[g].running && i < all[g].pods; i++) {
            used[all[g].node[i]] += all[g].gpu[i];
            queue_used[all[g].queue] += all[g].leaving ? 0 : all[g].gpu[i];
            firm[all[g].queue] += all[g].preemptible ? 0 : all[g].gpu[i];
        }
    for (int n = 0; n < NODES; n++)
        broken += used[n] > 8;
    for (int q = 0; q < 3; q++)
        broken += queue_used[q] > 60 || firm[q] > 32;
}

static void random_submit(int g, uint64_t r) {
    char name[16];
    osmo_sched_pod_t pods[4];
    static const char *const queues[] = { "q0", "q1", "q2" };
    memset(&all[g], 0, sizeof all[g]);
    all[g].waiting = true;
    all[g].pods = 1 + (int)(r % 4);
    all[g].preemptible = (r >> 4) % 2;
    all[g].queue = (int)((r >> 8) % 3);
    for (int i = 0; i < all[g].pods; i++) {
        all[g].gpu[i] = 1 + (int)((r >> (16 + 4 * i)) % 8);
        pods[i] = (osmo_sched_pod_t){ .request = amount(1, 1, all[g].gpu[i]), .scope = -1 };
    }
    snprintf(name, sizeof name, "g%d", g);
    osmo_sched_gang_t gang = { .size = sizeof gang, .name = name, .queue = queues[all[g].queue], .user = (r >> 40) % 2 ? "a" : "b",
                               .priority = all[g].preemptible ? 50 : 100, .preemptible = all[g].preemptible,
                               .arrival = ++arrivals, .pods = pods, .npods = (size_t)all[g].pods };
    broken += osmo_scheduler_submit(s, &gang, NULL) != 0;
}

/* Gangs end, victims leave in their own time, new ones come: at every moment everything fits and nobody has more than may be. */
static void test_random_histories(void) {
    static const osmo_sched_sink_t random_sink = { .size = sizeof random_sink, .place = random_place, .evict = random_evict };
    uint64_t r = 88172645463325252u;
    char name[16];
    broken = placements = evictions = 0;
    begin(NULL, 0);
    for (int n = 0; n < NODES; n++) {
        snprintf(name, sizeof name, "n%d", n);
        node(name, 100, 8);
    }
    for (int q = 0; q < 3; q++) {
        snprintf(name, sizeof name, "q%d", q);
        queue(name, 32, 60, 1 + q);
    }
    memset(all, 0, sizeof all);
    for (int step = 0; step < 20000; step++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        int g = (int)(r % GANGS);
        snprintf(name, sizeof name, "g%d", g);
        if (!all[g].waiting && !all[g].running) {
            random_submit(g, r >> 8);
        } else if (all[g].leaving || (r >> 32) % 4 == 0) {
            broken += osmo_scheduler_remove(s, name) != 0;
            all[g].waiting = all[g].running = all[g].leaving = false;
        }
        if ((r >> 36) % 2 == 0)
            broken += osmo_scheduler_run(s, 0, &random_sink, NULL) < 0;
        check_capacity();
    }
    CHECK_INT(broken, 0);
    printf("%d placed, %d evicted ", placements, evictions);
    CHECK(placements > 500);
    CHECK(evictions > 100);
    /* when everything else is gone each of them runs, for each fits the empty cluster */
    for (int g = 0; g < GANGS; g++) {
        snprintf(name, sizeof name, "g%d", g);
        osmo_scheduler_remove(s, name);
    }
    random_submit(0, 3 | 7u << 16 | 7u << 20);
    all[0].waiting = true;
    CHECK_INT(osmo_scheduler_run(s, 0, &random_sink, NULL), 4);
    end();
}

static const struct check_test tests[] = {
    { "a gang is whole or waits", test_gang_is_whole_or_waits },
    { "reasons name what is missing", test_reasons_name_what_is_missing },
    { "pods without devices leave them to others", test_pods_without_devices_leave_them_to_others },
    { "bad input", test_bad_input },
    { "priority, user, arrival", test_priority_then_user_then_arrival },
    { "smaller ones pass unless order is strict", test_smaller_ones_pass_unless_order_is_strict },
    { "queues share by weight", test_queues_share_by_weight },
    { "guarantee and maximum", test_guarantee_and_maximum },
    { "reclaim takes back what was lent", test_reclaim_takes_back_what_was_lent },
    { "priority displaces preemptible ones", test_priority_displaces_preemptible_ones },
    { "victims are as few as possible", test_victims_are_as_few_as_possible },
    { "room given back and a victim", test_room_given_back_and_a_victim },
    { "nobody leaves in the run in which it came", test_nobody_leaves_in_the_run_in_which_it_came },
    { "reasons are told to who joins", test_reasons_are_told_to_who_joins },
    { "domains", test_domains },
    { "scopes inside a domain", test_scopes_inside_a_domain },
    { "nodes change", test_nodes_change },
    { "adopted gangs count", test_adopted_gangs_count },
    { "random histories", test_random_histories },
};
TEST_MAIN("schedule", tests)
