/* A real service on a temporary SQLite store, with a transport that records what is sent. For test_api, test_auth,
 * test_logs. */
#ifndef TESTS_SERVICE_FIXTURE_H
#define TESTS_SERVICE_FIXTURE_H
#include <pthread.h>
#include <stdlib.h>

#include "api/service_internal.h"
#include "base/crypto.h"
#include "check.h"
#include "osmo/service.h"
#include "store/repo.h"

#define ADMIN_TOKEN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
#define MAX_SENT 256

struct sent { uint64_t conn; char *text; size_t len; int binary; int close_code; };
struct fixture {
    char dir[64];
    osmo_service_t *service;
    engine_t *engine;
    osmo_transport_t transport;
    osmo_service_options_t options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct sent sent[MAX_SENT]; size_t nsent;
    int wakes;
};
/* Opens; a failure is printed and reported by false. */
bool fixture_open(struct fixture *f, osmo_auth_mode_t mode, const char *admin_token);
void fixture_close(struct fixture *f);
/* Close and open the service again on the same data. */
bool fixture_reopen(struct fixture *f);
/* Waits (bounded) until n messages or closes were recorded; false when they were not. */
bool fixture_wait_sent(struct fixture *f, size_t n);
/* What was recorded so far; others may be recording. */
size_t fixture_nsent(struct fixture *f);
int fixture_wakes(struct fixture *f);
size_t fixture_count(struct fixture *f, uint64_t conn, const char *text, int binary);

struct answer { int status; char *body; osmo_response_t rs; json_t *json; };
/* One request: loopback Host; `headers` are name, value, …, NULL and may be NULL; body NULL = none. */
struct answer ask(struct fixture *f, const char *method, const char *path, const char *query, const char *body,
                  const char *const *headers);
/* The same with "Authorization: Bearer token". */
struct answer ask_as(struct fixture *f, const char *token, const char *method, const char *path, const char *query,
                     const char *body);
void answer_free(struct answer *a);
/* Reads the stream of an answer until it has nothing or ends; malloc'ed text. *ended tells which. */
char *drain(struct answer *a, bool *ended);

struct seed { char uuid[33], group_uuid[33], tasks[8][33]; char id[80]; };
/* A RUNNING workflow of one group with `ntasks` tasks t0, t1, …, t0 leads. */
bool seed_workflow(struct fixture *f, const char *name, const char *user, size_t ntasks, struct seed *out);
bool seed_task_status(struct fixture *f, const struct seed *s, size_t task, enum status status);
bool seed_workflow_status(struct fixture *f, const struct seed *s, enum status status, const char *message);
#endif
