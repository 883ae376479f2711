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
/* Returns all leases of an owner (work.c). Waits; never on a writer thread. */
int work_give_back(engine_t *e, const char *owner, osmo_error_t *err);
/* For items that take long: they are not waited for to their end. */
bool worker_is_stopping(engine_t *e);
void monitor_stop(engine_t *e);

/* Whether a reload of the configuration wakes the monitor: while there is one. */
void config_wakes(engine_t *e, bool yes);
/* Another service may have changed the configuration in the store; nothing where it comes from a file. What fails is in the log. */
int config_follow(engine_t *e);

/* ---- clock.c, for timers.c, replicas.c and retention.c ---- */
void engine_clock_start(engine_t *e);
/* Takes over the clock of a shared database as it is, whatever was set before. */
int engine_clock_join(engine_t *e, db_t *db, osmo_error_t *err);
/* Notices that the clock was set, and moves the deadlines in the store or finds that another service has; a clock that only drifts is
 * followed. *stepped: what waits for a time should look again. */
int engine_clock_follow(engine_t *e, store_t *store, bool *stepped, osmo_error_t *err);
/* For ages: a clock that was set forward makes nothing old. */
int64_t engine_age_now(engine_t *e);

/* retention.c: deletes what is older than the settings keep. *wait_us is lowered to the time until the next is. */
int retention_sweep(engine_t *e, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err);

/* ---- backends.c ---- */
/* Goes on with deletions of backends that were cut off. */
int backends_end_turn(engine_t *e, bool (*stopped)(void *ctx), void *ctx, osmo_error_t *err);

/* ---- offline.c ---- */
/* Looks after backends that may be lost; *next_us (0 at first) is when there is something to look at again, *wait_us is lowered to it. */
int offline_turn(engine_t *e, int64_t *next_us, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err);
/* The policy of a backend that was last heard of at heartbeat_us, and when it counts as lost if nothing is heard of it; 0: never. */
int offline_since(engine_t *e, db_t *db, const char *backend, int64_t heartbeat_us, struct offline_policy *policy, int64_t *deadline_us,
                  osmo_error_t *err);

/* "core,worker" → bits; NULL or "" = all. OSMO_EINVAL names the unknown role. */
int roles_parse(const char *text, unsigned *roles, osmo_error_t *err);
#endif
