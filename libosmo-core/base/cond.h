/* Condition variables whose waits end by the clock that nobody sets. */
#ifndef BASE_COND_H
#define BASE_COND_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define COND_FOR_EVER INT64_MAX

/* @return 0 or OSMO_ENOMEM. Ends with pthread_cond_destroy(). */
int cond_init(pthread_cond_t *c);
/* Until it is signalled, without a reason, or until clock_mono_us() is mono_us. The mutex is held. @return false when the time has come */
bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, int64_t mono_us);
#endif
