/* The wake-up of the engine's own threads. Used by timers.c, work.c and agent_dispatch.c. */
#include "base/clock.h"
#include "base/cond.h"
#include "engine/engine_internal.h"

void waker_init(struct waker *w) {
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->cond);
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
    int64_t until = clock_mono_us() + wait_us;
    pthread_mutex_lock(&w->lock);
    while (!w->woken && !w->stopped && cond_wait_until(&w->cond, &w->lock, until))
        ;
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
}
