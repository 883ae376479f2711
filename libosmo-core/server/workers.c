/* The worker threads: they run jobs (requests, stream reads, websocket messages) in the order of arrival. */
#include <stdlib.h>
#include "server/net.h"

#define STACK_SIZE (512u << 10)

void workers_submit(struct osmo_server *s, struct job *job) {
    job->next = NULL;
    if (s->job_tail)
        s->job_tail->next = job;
    else
        s->job_head = job;
    s->job_tail = job;
    s->queued_requests += job->counted;
    pthread_cond_signal(&s->work);
}

static void *worker_main(void *server) {
    struct osmo_server *s = server;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->job_head && !s->stopping_workers)
            pthread_cond_wait(&s->work, &s->lock);
        struct job *job = s->job_head;
        if (!job)
            break;
        s->job_head = job->next;
        if (!s->job_head)
            s->job_tail = NULL;
        s->queued_requests -= job->counted;
        job->counted = false;
        pthread_mutex_unlock(&s->lock);
        job->run(s, job);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int workers_start(struct osmo_server *s, osmo_error_t *err) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    s->workers = calloc((size_t)s->worker_count, sizeof *s->workers);
    while (s->workers && s->workers_started < s->worker_count &&
           pthread_create(&s->workers[s->workers_started], &attr, worker_main, s) == 0)
        s->workers_started++;
    pthread_attr_destroy(&attr);
    if (s->workers_started == s->worker_count)
        return OSMO_OK;
    workers_stop(s);
    return osmo_error_set(err, OSMO_ENOMEM, "cannot start %d worker threads: lower the number of workers", s->worker_count);
}

void workers_stop(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping_workers = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->workers_started; i++)
        pthread_join(s->workers[i], NULL);
    s->workers_started = 0;
    free(s->workers);
    s->workers = NULL;
}
