/* An agent as OSMO 6.4 has it, on real sockets and scripted by a test: it knows no extension, accepts exactly the messages and
 * keys of its own operator, and drops a connection that sends anything else. For tests of our operator. */
#ifndef TESTS_UPSTREAM_FIXTURE_H
#define TESTS_UPSTREAM_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"

enum { UP_CONTROL, UP_POD, UP_NODE, UP_EVENT, UP_HEARTBEAT, UP_WORKER, UP_PATHS };

/* Where a connection ends, once for each path that is named; in the order of a handshake. */
enum up_cut { UP_CUT_NONE, UP_CUT_ACCEPTED, UP_CUT_REQUEST, UP_CUT_REFUSED, UP_CUT_HALF_ANSWER, UP_CUT_UPGRADED, UP_CUT_INIT,
              UP_CUT_STAGES };

/* Answers of the token endpoint, one after another; the last one for ever. */
enum { UP_LOGIN_CLOSE = 1, UP_LOGIN_EMPTY, UP_LOGIN_NO_TOKEN, UP_LOGIN_SILENT }; /* or an HTTP status from 200 */

int upstream_start(void);                /* the port; negative when there is none */
void upstream_stop(void);                /* every complaint that was not expected is a failed check */
void upstream_login(const int *answers, size_t n);
void upstream_expect_token(const char *token);
void upstream_cut(int path, enum up_cut stage, int http_status); /* the next connection of the path, or of all with -1 */
void upstream_mute(int path, bool on);   /* its acknowledgements are held back, as by an agent that lags */
void upstream_vanish(bool on);           /* nobody listens; what is connected is cut */

/* What came, in order. `part` NULL counts every message. */
size_t upstream_count(int path, const char *part);
const char *upstream_await(int path, const char *part, size_t nth); /* from 1; NULL after a time that only a bug reaches */
const char *upstream_nth(int path, size_t nth);                      /* from 0; NULL behind the end */
size_t upstream_connections(int path);   /* upgraded ones, ever */
void upstream_await_connection(int path, size_t nth);
size_t upstream_logins(void);            /* requests to the token endpoint */
int upstream_await_login(size_t nth);    /* the length of the nth token, -1 when it does not come */
int upstream_await_close(int path);      /* the code that the operator closed its last connection with; 1006 for none */
size_t upstream_pongs(int path);
void upstream_await_pongs(int path, size_t n);
int upstream_complaints(const char *part); /* those that have it, and no longer fails the test */

void upstream_say(int path, const char *text);
void upstream_send(int path, int opcode, const void *data, size_t len);  /* one frame */
void upstream_send_parts(int path, int opcode, const void *data, size_t len, size_t part);
void upstream_ping(int path, const char *payload);
void upstream_drop(int path);            /* as uvicorn does: no close frame */
void upstream_close(int path, int code, const char *reason);
/* The job after its turn: when the one before is answered, or its connection gone. */
void upstream_job(const char *json);
void upstream_job_raw(const void *frame, size_t len, const char *type); /* `type` decides whether pod_log is allowed */
bool upstream_deflate(const char *text, size_t len, buf_t *out); /* a zlib stream of anything */
/* Until every job given so far is answered, or given back by a lost connection: how many were answered. */
size_t upstream_jobs_answered(size_t want);
/* The message of the nth job_status, from 1, as JSON; borrowed. */
const char *upstream_status(size_t nth);

/* upstream_schema.c: what is wrong with it for the agent, or NULL; the type is told in any case. Malloc'ed. */
char *upstream_check(int path, const char *text, size_t len, json_t **message);
#endif
