/* Small things several engine files need: a wake-up that is never lost, and the role list. Included by engine/ only.
 */
#ifndef ENGINE_ENGINE_INTERNAL_H
#define ENGINE_ENGINE_INTERNAL_H
#include <pthread.h>
#include "engine/engine.h"

/* A thread that sleeps until a time or until somebody has news. Wakes that arrive while it works are kept (as one).
 */
struct waker {
    pthread_mutex_t lock;
    pthread_cond_t cond; /* on CLOCK_MONOTONIC */
    bool woken, stopped;
};
void waker_init(struct waker *w);
void waker_destroy(struct waker *w);
void waker_wake(struct waker *w);
void waker_stop(struct waker *w);
bool waker_stopped(struct waker *w);
/* Up to wait_us microseconds; returns at once when a wake is pending, and takes it. */
void waker_wait(struct waker *w, int64_t wait_us);

/* End a thread and wait for what it has posted; its struct stays, because commits of others still wake it. The
 * *_close functions of engine.h free the struct and come after the reactor has drained. */
void agents_stop(engine_t *e);
void worker_stop(engine_t *e);
void monitor_stop(engine_t *e);

/* ---- clock.c, for timers.c and retention.c ---- */
void engine_clock_start(engine_t *e);
/* By how much the wall clock was set since the deadlines were moved last; 0 when it only drifted, which is taken over. *offset is
 * what engine_clock_stepped takes once they have been moved. */
int64_t engine_clock_step(engine_t *e, int64_t *offset);
void engine_clock_stepped(engine_t *e, int64_t offset);
/* For ages: a clock that was set forward makes nothing old. */
int64_t engine_age_now(engine_t *e);

/* retention.c: deletes what is older than the settings keep. *wait_us is lowered to the time until the next is. */
int retention_sweep(engine_t *e, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err);

/* "core,worker" → bits; NULL or "" = all. OSMO_EINVAL names the unknown role. */
int roles_parse(const char *text, unsigned *roles, osmo_error_t *err);
#endif
