/* The engine's clock. Deadlines are kept as wall clock times, because processes end and others go on; but a wall clock may
 * be set. What is measured against them is a clock that does not jump with it until the deadlines have been moved by the
 * same amount, in one transaction: a timeout takes as long as it says, however often somebody sets the time.
 *
 * On an embedded database the wall clock is this machine's, and the process with the delayed-job monitor does this; it is the only
 * one of its database. Services that share a server may run on several machines: they all go by the database's clock, which each
 * follows by its own steady one. Whoever notices first that it was set moves the deadlines and says so in the database by how much it
 * was set in all; the others find that and only follow. What they write until then, for the time of a hint or two seconds at the most,
 * is off by that much. */
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "engine/engine_internal.h"
#include "engine/replicas.h"
#include "store/repo_replica.h"

#define STEP_US INT64_C(1000000)  /* less is drift, which is followed */
#define SLEW_US INT64_C(50000)    /* at most so much of it at once: time does not stand still for long */
#define CLOSE_US INT64_C(1000000) /* a reading that took longer says nothing */

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

static void start_from(engine_t *e, int64_t offset) {
    atomic_store(&e->clock_first, offset);
    atomic_store(&e->clock_offset, offset);
}

void engine_clock_start(engine_t *e) { start_from(e, wall_clock() - steady_clock()); }

static bool is_step(int64_t difference) { return difference >= STEP_US || difference <= -STEP_US; }

int64_t engine_now(engine_t *e) {
    int64_t steady = steady_clock(), offset = atomic_load(&e->clock_offset);
    if (replicas_shared(e))
        return steady + offset;
    int64_t wall = wall_clock();
    return e->roles & ROLE_MONITOR && is_step(wall - steady - offset) ? steady + offset : wall;
}

int64_t engine_age_now(engine_t *e) {
    int64_t now = engine_now(e), never_set = steady_clock() + atomic_load(&e->clock_first);
    return now < never_set ? now : never_set;
}

/* ---- readings ---- */

/* The clock that deadlines go by, as the distance from the steady one; *sure unless the answer took too long to say much. */
static int read_offset(engine_t *e, db_t *db, int64_t *offset, bool *sure, osmo_error_t *err) {
    int64_t before = steady_clock(), now = 0;
    *sure = true;
    if (!replicas_shared(e)) {
        *offset = wall_clock() - before;
        return 0;
    }
    int rc = repo_clock(db, &now, err);
    int64_t took = steady_clock() - before;
    if (wall_clock != clock_now_us) /* a test's */
        now = wall_clock();
    *offset = now - before - took / 2;
    *sure = took < CLOSE_US;
    return rc;
}

/* A small difference, by which time goes on a little faster or slower. */
static void follow_drift(engine_t *e, int64_t difference) {
    if (replicas_shared(e)) {
        difference = difference > SLEW_US ? SLEW_US : difference < -SLEW_US ? -SLEW_US : difference;
        atomic_fetch_add(&e->clock_first, difference);
    }
    atomic_fetch_add(&e->clock_offset, difference);
}

int engine_clock_join(engine_t *e, db_t *db, osmo_error_t *err) {
    int64_t offset = 0, steps = 0;
    bool sure;
    int rc = repo_clock_steps(db, false, &steps, err);
    if (rc >= 0)
        rc = read_offset(e, db, &offset, &sure, err);
    if (rc < 0)
        return rc;
    atomic_store(&e->clock_steps, steps);
    start_from(e, offset);
    return 0;
}

/* ---- steps ---- */

struct step {
    engine_t *e;
    int64_t by, offset, steps;
};

/* The clock goes on with the deadlines: on an embedded database transactions of the same writer behind this one see both. */
static int step_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct step *s = ctx;
    bool shared = replicas_shared(s->e), sure = true;
    int64_t known = atomic_load(&s->e->clock_steps);
    s->by = 0;
    s->steps = known;
    int rc = shared ? repo_clock_steps(db, true, &s->steps, err) : 0;
    if (rc >= 0)
        rc = read_offset(s->e, db, &s->offset, &sure, err);
    int64_t difference = s->offset - atomic_load(&s->e->clock_offset);
    if (rc >= 0 && !sure)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the database is too slow to tell the time");
    if (rc < 0 || s->steps != known || !is_step(difference)) /* somebody else has moved them */
        return rc;
    s->by = difference;
    s->steps += difference;
    rc = repo_deadlines_move(db, difference, err);
    if (rc >= 0 && shared)
        return repo_clock_step(db, s->steps, err);
    if (rc >= 0)
        atomic_store(&s->e->clock_offset, s->offset);
    return rc;
}

static int take_step(engine_t *e, store_t *store, int64_t offset, bool *stepped, osmo_error_t *err) {
    struct step s = { .e = e };
    int rc = store_write(store, NULL, step_run, &s, err);
    if (rc < 0) { /* not moved after all */
        if (!replicas_shared(e))
            atomic_store(&e->clock_offset, offset);
        return rc;
    }
    atomic_store(&e->clock_steps, s.steps);
    atomic_store(&e->clock_offset, s.offset);
    *stepped = true;
    if (s.by)
        log_warning(&e->log, "the clock of %s was set %s by %lld s: the deadlines of timers were moved along",
                    replicas_shared(e) ? "the database" : "this machine", s.by > 0 ? "forward" : "back",
                    (long long)((s.by > 0 ? s.by : -s.by) + 500000) / 1000000);
    return 0;
}

int engine_clock_follow(engine_t *e, store_t *store, bool *stepped, osmo_error_t *err) {
    int64_t offset = 0, steps = 0, known = atomic_load(&e->clock_offset);
    bool sure = true;
    db_t *db = NULL;
    *stepped = false;
    int rc = replicas_shared(e) ? store_reader(store, &db, err) : 0;
    if (rc >= 0 && db)
        rc = repo_clock_steps(db, false, &steps, err);
    if (rc >= 0)
        rc = read_offset(e, db, &offset, &sure, err);
    if (rc < 0 || !sure)
        return rc;
    if (is_step(offset - known) || steps != atomic_load(&e->clock_steps))
        return take_step(e, store, known, stepped, err);
    follow_drift(e, offset - known);
    return 0;
}
