/* An operator of ours with the scripted cluster against the scripted agent of upstream_fixture.h. For test_interop_*.c. */
#ifndef TESTS_INTEROP_BENCH_H
#define TESTS_INTEROP_BENCH_H
#include <pthread.h>
#include <stdbool.h>
#include "base/buf.h"
#include "osmo/backend/operator.h"

#define TOKEN_43 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"

struct bench { osmo_operator_t *op; pthread_t thread; char dir[64], token_file[96], url[64]; bool running; };

/* The agent is started first, so that a test can say what the first connection meets. `token` NULL: development mode. */
bool bench_start(struct bench *b);
bool bench_run(struct bench *b, const char *script, const char *token);
bool bench_open(struct bench *b, const char *script);   /* both, in development mode */
void bench_close(struct bench *b);
void bench_token(const struct bench *b, const char *text);
void bench_await_inits(size_t nth);                      /* of all six */

/* Manifests and jobs in the form of the agent. */
void make_pod(buf_t *out, const char *name, const char *task, int retry);
/* `count` pods NAME or NAME-0, … of the task each is named after; other objects (a list with commas) come before. */
void say_create(const char *id, const char *objects, const char *pod, int count);
#define GROUP_LABELS "\"osmo.workflow_uuid\":\"w1\",\"osmo.group_uuid\":\"g1\""
#endif
