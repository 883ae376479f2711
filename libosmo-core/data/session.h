/* Between transfer.c, remote.c and run.c alone: a session, its connections, its callbacks. */
#ifndef DATA_SESSION_H
#define DATA_SESSION_H
#include "data/remote.h"

struct data_session {
    struct data_options o;         /* with the defaults in place */
    pthread_mutex_t lock;          /* of what runs, see run.c */
    pthread_cond_t changed, room, ended; /* CLOCK_MONOTONIC; for workers and those who pause, the feeder, the caller */
    pthread_mutex_t callbacks;     /* one at a time */
    atomic_bool stop;              /* what runs ends: cancelled, or something failed for good */
    struct data_conn *conns[REMOTE_CONNECTIONS_MAX];
};

/* Connection i, made when it is asked for the first time. */
int session_conn(data_session_t *s, size_t i, struct data_conn **out, osmo_error_t *err);
void session_drop_conns(data_session_t *s); /* while nothing runs */
/* Everything that runs ends soon. Any thread. */
void session_stop(data_session_t *s);
/* 0; OSMO_ECONFLICT when the session stops meanwhile. */
int session_pause(data_session_t *s, int64_t ms, osmo_error_t *err);
bool session_stopped(const data_session_t *s);
int session_cancelled(osmo_error_t *err); /* the text of it */
void session_left_out(data_session_t *s, const char *path, const char *why);
/* "Bearer …" of the moment; malloc'ed, NULL = none. */
char *session_authorization(data_session_t *s);
#endif
