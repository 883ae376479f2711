/* The worker threads: they run jobs (requests, stream reads, websocket messages) in the order of arrival. A few are always
 * there; more start while jobs wait, because a request that waits for its commit holds its thread, and requests that wait
 * together share a commit. Those end when there is nothing for them to do. */
#include <stdlib.h>
#include "base/clock.h"
#include "base/cond.h"
#include "server/net.h"

#define STACK_SIZE (512u << 10)
#define STANDING 8
#define IDLE_S 10

struct worker {
    struct osmo_server *s;
    pthread_t thread;
    enum { WORKER_NONE, WORKER_RUNS, WORKER_ENDED /* to be joined */ } state;
    bool standing;
};

static void *worker_main(void *worker);

static int worker_start(struct osmo_server *s, struct worker *w, bool standing) { /* lock held, or no thread yet */
    pthread_attr_t attr;
    if (w->state == WORKER_ENDED)
        pthread_join(w->thread, NULL);
    *w = (struct worker){ .s = s, .standing = standing, .state = WORKER_RUNS };
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int rc = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        w->state = WORKER_NONE;
    else
        s->workers_running++;
    return rc == 0 ? OSMO_OK : OSMO_ENOMEM;
}

/* One more, if there may be. Without it the others do the work. */
static void add_worker(struct osmo_server *s) {
    for (int i = 0; i < s->worker_count; i++) {
        if (s->workers[i].state != WORKER_RUNS) {
            (void)!worker_start(s, &s->workers[i], false);
            return;
        }
    }
}

void workers_submit(struct osmo_server *s, struct job *job) {
    job->next = NULL;
    if (s->job_tail)
        s->job_tail->next = job;
    else
        s->job_head = job;
    s->job_tail = job;
    s->queued_jobs++;
    s->queued_requests += job->counted;
    pthread_cond_signal(&s->work);
    if (s->queued_jobs > s->workers_idle && s->workers_running < s->worker_count && s->workers && !s->stopping_workers)
        add_worker(s);
}

/* True when there is a job; false when the thread has to end. */
static bool wait_for_job(struct osmo_server *s, const struct worker *w) {
    int64_t until = w->standing ? COND_FOR_EVER : clock_mono_us() + IDLE_S * INT64_C(1000000);
    s->workers_idle++;
    while (!s->job_head && !s->stopping_workers && cond_wait_until(&s->work, &s->lock, until))
        ;
    s->workers_idle--;
    return s->job_head != NULL;
}

static void *worker_main(void *worker) {
    struct worker *w = worker;
    struct osmo_server *s = w->s;
    pthread_mutex_lock(&s->lock);
    while (wait_for_job(s, w)) {
        struct job *job = s->job_head;
        s->job_head = job->next;
        if (!s->job_head)
            s->job_tail = NULL;
        s->queued_jobs--;
        s->queued_requests -= job->counted;
        job->counted = false;
        pthread_mutex_unlock(&s->lock);
        job->run(s, job);
        pthread_mutex_lock(&s->lock);
    }
    w->state = WORKER_ENDED;
    s->workers_running--;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int workers_start(struct osmo_server *s, osmo_error_t *err) {
    int standing = s->worker_count < STANDING ? s->worker_count : STANDING, started = 0;
    s->workers = calloc((size_t)s->worker_count, sizeof *s->workers);
    pthread_mutex_lock(&s->lock);
    while (s->workers && started < standing && worker_start(s, &s->workers[started], true) == OSMO_OK)
        started++;
    pthread_mutex_unlock(&s->lock);
    if (started == standing)
        return OSMO_OK;
    workers_stop(s);
    return osmo_error_set(err, OSMO_ENOMEM, "cannot start %d worker threads: lower the number of workers", standing);
}

void workers_stop(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping_workers = true; /* from here on none is added */
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; s->workers && i < s->worker_count; i++) {
        pthread_mutex_lock(&s->lock);
        bool join = s->workers[i].state != WORKER_NONE;
        pthread_mutex_unlock(&s->lock);
        if (join)
            pthread_join(s->workers[i].thread, NULL);
    }
    free(s->workers);
    s->workers = NULL;
}
