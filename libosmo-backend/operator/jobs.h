/* Jobs of the worker socket: one row per job type. Runs on executor threads and blocks in the driver; knows no sockets. */
#ifndef OPERATOR_JOBS_H
#define OPERATOR_JOBS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "operator/crew.h"
#include "osmo/backend/cluster.h"

enum job_outcome { JOB_SUCCESS, JOB_FAILED_RETRY, JOB_FAILED_NO_RETRY };
const char *job_outcome_name(enum job_outcome o);

/* What tests of nodes need beside the driver: a client, as they live in a namespace of their own. */
struct job_tests {
    struct osmo_kube *kube;    /* NULL = this cluster has none */
    const char *backend, *namespace_;
    const char *image;         /* of osmo-node-test */
    const char *template_;     /* of the CronJob; NULL = backend_tests.c has one */
};

struct job_env {
    const osmo_cluster_driver_t *driver;
    void *impl;
    const char *namespace_;
    const logger_t *log;
    void *ctx;
    /* Wait for up to `ms`; false when the operator stops. */
    bool (*wait)(void *ctx, int64_t ms);
    /* Waits until this replica may change the cluster; false when it is to stop. NULL = it always may. */
    bool (*may_act)(void *ctx);
    /* Wait until a pod was deleted since `seen` was read with pods_generation, or for `ms`. */
    uint64_t (*pods_generation)(void *ctx);
    bool (*wait_pods)(void *ctx, uint64_t seen, int64_t ms);
    /* From now on a deleted pod with these labels is the operator's own doing. */
    void (*cleaning)(void *ctx, const json_t *labels);
    /* Send a pod_log body for the job; takes body. False when nobody listens any more. */
    bool (*pod_log)(void *ctx, void *job_ctx, json_t *body);
    void *job_ctx;
    const struct job_tests *tests; /* NULL = none */
    crew_t *crew;              /* threads that share the work of large jobs; NULL = none */
};

struct job_result { enum job_outcome outcome; buf_t message; };
#define JOB_MESSAGE_MAX 8192u

/* Jobs with the same key run one after another, in order of arrival. Malloc'ed; NULL when out of memory. */
char *job_key(const json_t *job);
/* result->message is released by the caller. */
void job_run(const struct job_env *env, const json_t *job, struct job_result *result);

#define JOB_OBJECTS_MAX 100000u

/* Parts shared by jobs.c, create.c, cleanup.c, queues.c and backend_tests.c. */
enum job_outcome job_fail(struct job_result *r, enum job_outcome o, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Asked before each change of the cluster: this process may have been stopped for long, and what it knows may be old. */
bool job_may_act(const struct job_env *env);
#define JOB_NO_LEASE "this replica does not hold the lease any more"
/* Will the same request perhaps do better later? */
bool job_error_may_pass(int code);
/* How long to wait before attempt n (from 1) is repeated: doubling up to a few seconds, scattered. */
int64_t job_retry_pause(int attempt);
/* Delay before attempt n (from 1), or -1 when there were enough. */
int64_t job_retry_delay(int attempt);
/* The pools of the backend, as its scheduler is to know them. */
enum job_outcome job_queues(const struct job_env *env, const json_t *job, struct job_result *result);
/* existed: something was there already, and is as good as what was to be made; stale: but it is a pod of an earlier retry. */
enum job_outcome job_create(const struct job_env *env, const json_t *job, struct job_result *result, bool *existed, bool *stale);
/* The driver's, tried again where that may help. */
int job_create_object(const struct job_env *env, const char *text, osmo_error_t *err);
/* The tests of the backend's nodes, as CronJobs. */
enum job_outcome job_backend_tests(const struct job_env *env, const json_t *job, struct job_result *result);
enum job_outcome job_cleanup(const struct job_env *env, const json_t *job, bool force, struct job_result *result);
/* The kind that a cleanup spec names, in whichever form; *kind is NULL when it names none. */
void job_spec_kind(const json_t *spec, char version[128], const char **kind);
/* Is it a kind alone, without a namespace in front of it? Whatever the service says, jobs stay in the namespace of the operator. */
bool job_kind_stays(const char *kind);
#define JOB_KIND_STRAYS "names a namespace in front of its kind: jobs stay in the namespace of the operator"
/* "k=v,k=v" of a labels object. NULL when there are none, or one is no text: without it more would match. */
char *job_selector(const json_t *labels);
#endif
