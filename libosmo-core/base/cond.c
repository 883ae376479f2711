/* See cond.h. */
#include "base/cond.h"

#include <time.h>

#include "osmo/error.h"

int cond_init(pthread_cond_t *c) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return OSMO_ENOMEM;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
    return rc ? OSMO_ENOMEM : 0;
}

bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t mono_us) {
    if (mono_us == COND_FOR_EVER)
        return pthread_cond_wait(c, lock) == 0;
    const struct timespec until = { .tv_sec = mono_us / 1000000, .tv_nsec = mono_us % 1000000 * 1000 };
    return pthread_cond_timedwait(c, lock, &until) == 0;
}
