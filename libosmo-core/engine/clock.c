/* The engine's clock. Deadlines are kept as wall clock times, because processes end and others go on; but a wall clock may
 * be set. What is measured against them is a clock that does not jump with it until the deadlines have been moved by the
 * same amount, in one transaction: a timeout takes as long as it says, however often somebody sets the time. Only the
 * process with the delayed-job monitor does this; it is the only one of its database. */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "engine/engine_internal.h"

#define STEP_US INT64_C(1000000) /* less is drift, which is followed */

/* Goes on while the machine sleeps: its tasks elsewhere do as well. */
static int64_t system_steady(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t (*wall_clock)(void) = clock_now_us;
static int64_t (*steady_clock)(void) = system_steady;

void engine_clock_source(int64_t (*wall)(void), int64_t (*steady)(void)) {
    wall_clock = wall ? wall : clock_now_us;
    steady_clock = steady ? steady : system_steady;
}

void engine_clock_start(engine_t *e) {
    e->clock_first = wall_clock() - steady_clock();
    atomic_store(&e->clock_offset, e->clock_first);
}

static bool is_step(int64_t difference) { return difference >= STEP_US || difference <= -STEP_US; }

int64_t engine_now(engine_t *e) {
    int64_t wall = wall_clock(), steady = steady_clock(), offset = atomic_load(&e->clock_offset);
    return e->roles & ROLE_MONITOR && is_step(wall - steady - offset) ? steady + offset : wall;
}

int64_t engine_clock_step(engine_t *e, int64_t *offset) {
    *offset = wall_clock() - steady_clock();
    int64_t difference = *offset - atomic_load(&e->clock_offset);
    if (is_step(difference))
        return difference;
    atomic_store(&e->clock_offset, *offset);
    return 0;
}

void engine_clock_stepped(engine_t *e, int64_t offset) { atomic_store(&e->clock_offset, offset); }

int64_t engine_age_now(engine_t *e) {
    int64_t now = engine_now(e), never_set = steady_clock() + e->clock_first;
    return now < never_set ? now : never_set;
}
