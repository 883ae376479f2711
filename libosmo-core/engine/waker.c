/* The wake-up of the engine's own threads. Used by timers.c, work.c and agent_dispatch.c. */
#include <errno.h>
#include <time.h>

#include "engine/engine_internal.h"

void waker_init(struct waker *w) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    w->woken = w->stopped = false;
}

void waker_destroy(struct waker *w) {
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
}

void waker_wake(struct waker *w) {
    pthread_mutex_lock(&w->lock);
    if (!w->woken) /* else it has been told and will look */
        pthread_cond_broadcast(&w->cond);
    w->woken = true;
    pthread_mutex_unlock(&w->lock);
}

void waker_stop(struct waker *w) {
    pthread_mutex_lock(&w->lock);
    w->stopped = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

bool waker_stopped(struct waker *w) {
    pthread_mutex_lock(&w->lock);
    bool stopped = w->stopped;
    pthread_mutex_unlock(&w->lock);
    return stopped;
}

void waker_wait(struct waker *w, int64_t wait_us) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_us / 1000000;
    until.tv_nsec += (wait_us % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (!w->woken && !w->stopped && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
}
