/* The delayed-job monitor: sleeps until the next timer row is due and turns due rows into events. A timer whose
 * generation or status is not current any more is deleted without effect. It also notices that the wall clock was set, and
 * moves the deadlines along (see clock.c), has finished workflows deleted at their age, and removes the halves of submissions that
 * another service has left. Several monitors on one database do no harm to each other: whoever deletes the timer fires it. Called by
 * engine.c; woken through engine_wake. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "engine/replicas.h"
#include "engine/router.h"
#include "engine/submit_internal.h"
#include "model/spec.h"

#define BATCH 256
/* Where the kernel does not tell that the clock was set, this is when it is noticed at the latest; new settings too. */
#define LONGEST_WAIT_US (60LL * 1000 * 1000)
#define NEVER_S (INT64_C(1) << 40)

struct monitor {
    engine_t *e;
    pthread_t thread;
    bool started;
    int wake_fd;    /* an event: look again */
    int step_fd;    /* a timer that never ends, but by the clock being set; -1 when there is no such thing */
    atomic_bool stopped;
    atomic_bool woken; /* wake_fd has been written and not been read: one system call for many events */
    pthread_mutex_t lock;
    pthread_cond_t drained;
    size_t pending;
    bool failed; /* some firing of the last batch was not stored */
    int64_t offline_next; /* offline.c looks again then */
};

struct firing {
    struct monitor *m;
    struct timer_row row;
};

static int fire_group(struct txn *x, const struct timer_row *row) {
    struct group_row g = { 0 };
    int rc = repo_group_state(x->db, row->subject, &g, x->err);
    if (rc >= 0) {
        bool exec = str_eq(row->kind, TIMER_EXEC);
        bool valid = exec ? g.sm.status == STATUS_RUNNING && row->generation == g.exec_generation
                          : g.sm.status == STATUS_SCHEDULING && row->generation == g.queue_generation;
        char limit[32], text[512];
        duration_text(exec ? x->wf.exec_timeout_us : x->wf.queue_timeout_us, limit);
        snprintf(text, sizeof text,
                 exec ? "group %s ran longer than its exec_timeout of %s"
                      : "group %s waited for resources longer than its queue_timeout of %s",
                 g.name, limit);
        if (valid)
            rc = txn_group_fail(x, &g, exec ? STATUS_FAILED_EXEC_TIMEOUT : STATUS_FAILED_QUEUE_TIMEOUT,
                                EXIT_CODE_NONE, text);
    }
    group_row_clear(&g);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* subject is "<task uuid>:<retry>" */
static int fire_start(struct txn *x, const struct timer_row *row) {
    struct task_event ev = { .status = STATUS_FAILED_START_TIMEOUT, .exit_code = EXIT_START_TIMEOUT };
    const char *colon = strchr(row->subject, ':');
    if (!colon || colon - row->subject != 32 || !str_to_i64(colon + 1, &ev.retry_id))
        return 0;
    memcpy(ev.task_uuid, row->subject, 32);
    memcpy(ev.workflow_uuid, x->wf.uuid, sizeof ev.workflow_uuid);
    const struct settings *s = engine_settings(x->e);
    char limit[32], text[128];
    duration_text(s->max_pod_restart_us, limit);
    engine_settings_put(s);
    snprintf(text, sizeof text, "the task did not start within %s", limit);
    ev.message = text;
    return txn_task_event(x, &ev);
}

static int decide_timer(struct txn *x, void *arg) {
    const struct timer_row *row = &((struct firing *)arg)->row;
    bool taken = false;
    int rc = repo_timer_take(x->db, row->id, &taken, x->err);
    if (rc < 0 || !taken) /* set anew, or fired by the monitor of another service */
        return rc;
    return str_eq(row->kind, TIMER_START) ? fire_start(x, row) : fire_group(x, row);
}

static void firing_free(void *p) {
    struct firing *f = p;
    free(f->row.kind);
    free(f->row.subject);
    free(f);
}

static void firing_done(void *ctx, int rc, const osmo_error_t *err) {
    (void)err; /* logged by the reactor; the row is still there and is tried again */
    struct monitor *m = ctx;
    pthread_mutex_lock(&m->lock);
    m->failed = m->failed || rc < 0;
    if (--m->pending == 0)
        pthread_cond_signal(&m->drained);
    pthread_mutex_unlock(&m->lock);
}

static void fire(struct monitor *m, struct timer_row *row) {
    struct firing *f = calloc(1, sizeof *f);
    if (!f)
        return;
    f->m = m;
    f->row = *row;
    row->kind = row->subject = NULL;
    pthread_mutex_lock(&m->lock);
    m->pending++;
    pthread_mutex_unlock(&m->lock);
    char uuid[33];
    memcpy(uuid, f->row.workflow_uuid, sizeof uuid);
    if (reactor_post(m->e, uuid, decide_timer, f, firing_free, firing_done, m) < 0)
        firing_done(m, OSMO_EBUSY, NULL);
}

/* Fires what is due; returns the number of timers fired, or <0. */
static int fire_due(struct monitor *m, db_t *db, osmo_error_t *err) {
    struct timer_row *rows = NULL;
    size_t n = 0;
    int rc = repo_timer_due(db, engine_now(m->e), BATCH, &rows, &n, err);
    if (rc < 0)
        return rc;
    m->failed = false;
    for (size_t i = 0; i < n; i++)
        fire(m, &rows[i]);
    timer_rows_free(rows, n);
    pthread_mutex_lock(&m->lock);
    while (m->pending)
        pthread_cond_wait(&m->drained, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return m->failed ? osmo_error_set(err, OSMO_EUNAVAIL, "a due timer was not stored") : (int)n;
}

/* ---- the clock ---- */

/* Before anything is compared with the time. */
static int follow_clock(struct monitor *m, osmo_error_t *err) {
    bool stepped = false;
    int rc = engine_clock_follow(m->e, m->e->store, &stepped, err);
    if (rc >= 0 && stepped)
        engine_wake(m->e, WAKE_WORK | WAKE_TIMERS);
    return rc;
}

/* Tells of the next time the clock is set. */
static void watch_clock(struct monitor *m) {
    struct itimerspec never = { .it_value.tv_sec = NEVER_S };
    if (m->step_fd >= 0 && timerfd_settime(m->step_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) != 0) {
        close(m->step_fd);
        m->step_fd = -1;
    }
}

static void wait_for_news(struct monitor *m, int64_t wait_us) {
    struct pollfd fds[] = { { .fd = m->wake_fd, .events = POLLIN }, { .fd = m->step_fd, .events = POLLIN } };
    uint64_t count;
    if (atomic_load(&m->stopped) || poll(fds, ARRAY_SIZE(fds), (int)((wait_us + 999) / 1000)) <= 0)
        return;
    if (fds[0].revents) {
        (void)!read(m->wake_fd, &count, sizeof count);
        atomic_store(&m->woken, false); /* behind it everything is looked at */
    }
    if (fds[1].revents) {
        (void)!read(m->step_fd, &count, sizeof count); /* ECANCELED */
        watch_clock(m);
    }
}

/* ---- the thread ---- */

static bool is_stopped(void *ctx) { return atomic_load(&((struct monitor *)ctx)->stopped); }

/* One look at everything; *wait_us is how long nothing will happen. Returns the number of timers fired, or <0. */
static int monitor_turn(struct monitor *m, int64_t *wait_us, osmo_error_t *err) {
    db_t *db = NULL;
    int64_t due = 0;
    int64_t longest = *wait_us = replicas_longest_wait(m->e, LONGEST_WAIT_US);
    int rc = follow_clock(m, err);
    if (rc >= 0 && replicas_shared(m->e))
        rc = submissions_recover(m->e, err);
    if (rc >= 0)
        rc = store_reader(m->e->store, &db, err);
    if (rc >= 0)
        rc = fire_due(m, db, err);
    int fired = rc;
    if (rc >= 0 && rc < BATCH)
        rc = retention_sweep(m->e, is_stopped, m, wait_us, err);
    if (rc >= 0)
        rc = offline_turn(m->e, &m->offline_next, is_stopped, m, wait_us, err);
    if (rc >= 0)
        rc = actions_sweep(m->e, wait_us, err);
    if (rc >= 0)
        rc = repo_timer_next(db, &due, err);
    int64_t left = due ? due - engine_now(m->e) : *wait_us;
    *wait_us = left < 0 ? 0 : left < *wait_us ? left : *wait_us;
    if (*wait_us > longest)
        *wait_us = longest;
    return rc < 0 ? rc : fired;
}

static void *monitor_main(void *arg) {
    struct monitor *m = arg;
    int64_t failures = 0;
    while (!is_stopped(m)) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int64_t wait;
        int rc = monitor_turn(m, &wait, &err);
        if (rc == BATCH)
            continue;
        if (rc < 0) {
            log_error(&m->e->log, "timers are late, trying again: %s", err.text);
            wait = retry_delay_us(failures++);
        } else {
            failures = 0;
        }
        wait_for_news(m, wait);
    }
    return NULL;
}

int monitor_open(engine_t *e, osmo_error_t *err) {
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    m->e = e;
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->step_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    watch_clock(m);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->drained, NULL);
    e->monitor = m;
    if (m->wake_fd >= 0)
        return 0;
    monitor_close(e);
    return osmo_error_set(err, OSMO_EUNAVAIL, "cannot prepare the timer thread: too many open files");
}

int monitor_start(engine_t *e, osmo_error_t *err) {
    struct monitor *m = e->monitor;
    m->started = pthread_create(&m->thread, NULL, monitor_main, m) == 0;
    return m->started ? 0 : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the timer thread: too many threads");
}

void monitor_stop(engine_t *e) {
    struct monitor *m = e->monitor;
    if (!m || !m->started)
        return;
    atomic_store(&m->stopped, true);
    monitor_wake(e);
    pthread_join(m->thread, NULL);
    m->started = false;
}

void monitor_close(engine_t *e) {
    struct monitor *m = e->monitor;
    if (!m)
        return;
    monitor_stop(e);
    if (m->wake_fd >= 0)
        close(m->wake_fd);
    if (m->step_fd >= 0)
        close(m->step_fd);
    pthread_cond_destroy(&m->drained);
    pthread_mutex_destroy(&m->lock);
    e->monitor = NULL;
    free(m);
}

void monitor_wake(engine_t *e) {
    uint64_t one = 1;
    if (e->monitor && !atomic_exchange(&e->monitor->woken, true))
        (void)!write(e->monitor->wake_fd, &one, sizeof one);
}
