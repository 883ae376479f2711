/* Placement: table of gangs against nodes. */
#include "check.h"
#include "model/schedule.h"

#define GI (1024ll * 1024 * 1024)

static struct sched_pod pod_of(int64_t cpu, int64_t gib)
{
    return (struct sched_pod){.request = {.cpu_milli = cpu, .memory = gib * GI, .pods = 1}, .node = -1};
}

static void test_table(void)
{
    static const struct {
        int64_t a, b;
        int priority_b, strict, placed;
        bool a_in, b_in;
        const char *reason_a;
    } cases[] = {
        { 4, 4, 0, 1, 2, true, true, "" },
        { 40, 4, 0, 1, 0, false, false, "needs 40Gi memory, node n has 22Gi free" },
        { 40, 4, 0, 0, 1, false, true, "needs 40Gi memory, node n has 22Gi free" },
        { 20, 10, 1, 1, 1, false, true, "needs 20Gi memory, node n has 12Gi free" },
        { 20, 10, 0, 1, 1, true, false, "" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sched_node n = {.name = "n", .free = {.cpu_milli = 4000, .memory = 22 * GI, .pods = 10}};
        struct sched_pod a = pod_of(100, cases[i].a), b = pod_of(100, cases[i].b);
        struct sched_gang g[] = {
            { .name = "a", .arrival = 1, .pods = &a, .npods = 1 },
            { .name = "b", .arrival = 2, .priority = cases[i].priority_b, .pods = &b, .npods = 1 }
        };
        CHECK_INT(schedule_place(&n, 1, g, 2, cases[i].strict), cases[i].placed);
        CHECK_INT(a.node, cases[i].a_in ? 0 : -1);
        CHECK_INT(b.node, cases[i].b_in ? 0 : -1);
        CHECK_STR(g[0].reason, cases[i].reason_a);
    }
}

static void test_all_or_nothing(void)
{
    struct sched_node n[] = {{"x", {4000, 8 * GI, 0, 0, 10}}, {"y", {4000, 8 * GI, 0, 0, 10}}};
    struct sched_pod two[] = {pod_of(1000, 2), pod_of(1000, 7)}, three[] = {pod_of(1, 7), pod_of(1, 7), pod_of(1, 7)};
    struct sched_gang big = { .name = "big", .pods = three, .npods = 3 },
                      fits = { .name = "fits", .pods = two, .npods = 2 };
    CHECK_INT(schedule_place(n, 2, &big, 1, 1), 0);
    CHECK_INT(n[0].free.memory + n[1].free.memory, 16 * GI);
    CHECK_INT(schedule_place(n, 2, &fits, 1, 1), 1);
    CHECK(two[0].node != two[1].node);
    CHECK_INT(schedule_place(NULL, 0, &fits, 1, 1), 0);
    CHECK_STR(fits.reason, "there is no node");
}

static const struct check_test tests[] = {{"table", test_table}, {"all or nothing", test_all_or_nothing}};
TEST_MAIN("schedule", tests)
