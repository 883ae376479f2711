/* Jobs from the worker socket onto a few threads, results back. The connection a job came on is its epoch: connection numbers
 * are never reused, so a result for an earlier connection finds nobody and is dropped, and the service delivers the job again. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/crypto.h"
#include "base/str.h"
#include "operator/internal.h"

#define QUEUED_MAX 1024u
#define CLEANINGS_MAX 4096u

struct queued_job { struct queued_job *next; json_t *job; char *key; uint64_t conn; bool named; };
struct cleaning { char *labels; };

/* ---- answers ---- */

/* From any thread. Waits while the socket has no room, for as long as the connection lives. */
static bool send_on(struct osmo_operator *op, uint64_t conn, enum message_type type, json_t *body) {
    _cleanup_buf_ buf_t text = BUF_INIT(16u << 20);
    char uuid[33];
    struct worker *w = &op->worker;
    if (crypto_random_hex32(uuid) < 0) {
        json_free(body);
        return false;
    }
    if (message_build(type, uuid, body, &text) < 0)
        return false;
    pthread_mutex_lock(&w->lock);
    int rc = OSMO_ENOTFOUND;
    while (!w->stop && w->conn == conn) {
        rc = ws_conn_send(op->loop, conn, text.data, text.len, false);
        if (rc != OSMO_EBUSY)
            break;
        pthread_cond_wait(&w->change, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return rc == 0;
}

static void answer(struct osmo_operator *op, const struct queued_job *q, struct job_result *r) {
    json_t *body = json_object();
    if (!body)
        return;
    int rc = json_set_str(body, "status", job_outcome_name(r->outcome));
    _cleanup_free_ char *message = r->message.len ? utf8_repair(r->message.data, r->message.len, &(size_t){0}) : NULL;
    rc |= json_set_str(body, "message", message);
    if (q->named) {
        rc |= json_set_str(body, "job_id", json_get_str(q->job, "job_id"));
        rc |= json_set_str(body, "job_uuid", json_get_str(q->job, "job_uuid"));
    }
    if (rc)
        json_free(body);
    else if (!send_on(op, q->conn, MSG_JOB_STATUS, body))
        log_info(&op->log, "result of job %s is dropped: its connection is gone", json_get_str(q->job, "job_id"));
}

/* ---- environment of the jobs ---- */

static bool wait_until(struct worker *w, int64_t ms, const uint64_t *seen) {
    int64_t until = clock_mono_us() + ms * 1000;
    pthread_mutex_lock(&w->lock);
    while (!w->stop && !(seen && w->pods_generation != *seen) && cond_wait_until(&w->change, &w->lock, until))
        ;
    bool goes_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return goes_on;
}

static bool env_wait(void *ctx, int64_t ms) { return wait_until(&((struct osmo_operator *)ctx)->worker, ms, NULL); }

static bool env_may_act(void *ctx) {
    while (!operator_may_act(ctx)) /* renewed in a moment, or lost: then another replica is given the job again */
        if (!env_wait(ctx, 200))
            return false;
    return true;
}

static bool env_wait_pods(void *ctx, uint64_t seen, int64_t ms) {
    return wait_until(&((struct osmo_operator *)ctx)->worker, ms, &seen);
}

static uint64_t env_generation(void *ctx) {
    struct worker *w = &((struct osmo_operator *)ctx)->worker;
    pthread_mutex_lock(&w->lock);
    uint64_t g = w->pods_generation;
    pthread_mutex_unlock(&w->lock);
    return g;
}

static void env_cleaning(void *ctx, const json_t *labels) {
    struct worker *w = &((struct osmo_operator *)ctx)->worker;
    char *text = json_kind(labels) == JSON_OBJECT && json_len(labels) ? json_to_text(labels) : NULL;
    if (!text)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->ncleanings == CLEANINGS_MAX) { /* the oldest were done long ago */
        free(w->cleanings[0].labels);
        memmove(w->cleanings, w->cleanings + 1, (--w->ncleanings) * sizeof *w->cleanings);
    }
    w->cleanings[w->ncleanings++].labels = text;
    pthread_mutex_unlock(&w->lock);
}

static bool env_pod_log(void *ctx, void *job_ctx, json_t *body) {
    const struct queued_job *q = job_ctx;
    return send_on(ctx, q->conn, MSG_POD_LOG, body);
}

static bool covers(const char *selector, const json_t *labels) {
    _cleanup_json_ json_t *wanted = NULL;
    if (json_parse(selector, strlen(selector), &wanted, NULL) < 0)
        return false;
    json_iter_t it = json_iter(wanted);
    while (json_iter_next(&it)) {
        const char *v = json_str(it.value);
        if (v && !str_eq(v, json_get_str(labels, it.key)))
            return false;
    }
    return true;
}

bool worker_is_cleaning(struct osmo_operator *op, const json_t *labels) {
    struct worker *w = &op->worker;
    bool found = false;
    pthread_mutex_lock(&w->lock);
    for (size_t i = w->ncleanings; i > 0 && !found; i--)
        found = covers(w->cleanings[i - 1].labels, labels);
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* ---- executors ---- */

static bool is_busy(const struct worker *w, const char *key) {
    for (int i = 0; i < w->nthreads; i++) {
        if (w->busy[i] && strcmp(w->busy[i], key) == 0)
            return true;
    }
    return false;
}

/* The first job whose key is free. Skipping a job whose key is busy keeps the order within a key, because all later
 * jobs of that key are busy too. */
static struct queued_job *take_job(struct worker *w) {
    if (!w->parallel && w->running)
        return NULL;
    for (struct queued_job **p = &w->first; *p; p = &(*p)->next) {
        struct queued_job *q = *p;
        if (is_busy(w, q->key))
            continue;
        *p = q->next;
        if (w->last == &q->next)
            w->last = p;
        w->queued--;
        return q;
    }
    return NULL;
}

static void free_job(struct queued_job *q) {
    json_free_secret(q->job); /* tokens and credentials of tasks */
    free(q->key);
    free(q);
}

/* The literal of a job's type, for the metrics. */
static const char *type_of(const json_t *job) {
    static const char *const types[] = { "CreateGroup", "CleanupGroup", "RescheduleTask", "LabelNode", "BackendSynchronizeQueues",
                                         "BackendSynchronizeBackendTest" };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (str_eq(types[i], json_get_str(job, "job_type")))
            return types[i];
    return "unknown";
}

static void run_one(struct osmo_operator *op, struct queued_job *q) {
    struct job_env env = { .driver = op->driver, .impl = op->impl, .namespace_ = op->namespace_, .log = &op->log, .ctx = op,
                           .wait = env_wait, .may_act = env_may_act, .pods_generation = env_generation, .wait_pods = env_wait_pods,
                           .cleaning = env_cleaning, .pod_log = env_pod_log, .job_ctx = q, .crew = op->worker.crew,
                           .tests = &op->tests };
    const char *id = json_get_str(q->job, "job_id");
    struct job_result r = { 0 };
    if (!env_may_act(op))
        return;
    int64_t begun_us = clock_mono_us();
    job_run(&env, q->job, &r);
    metrics_time(&op->metrics, METRIC_JOB_TIME, type_of(q->job), clock_mono_us() - begun_us);
    if (r.outcome == JOB_SUCCESS)
        log_debug(&op->log, "job %s is done", id ? id : "");
    else
        log_warning(&op->log, "job %s: %s: %s", id ? id : "", job_outcome_name(r.outcome), buf_cstr(&r.message));
    answer(op, q, &r);
    buf_free(&r.message);
}

struct seat { struct osmo_operator *op; int index; };

static void *executor_main(void *ctx) {
    struct seat seat = *(struct seat *)ctx;
    free(ctx);
    struct worker *w = &seat.op->worker;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct queued_job *q = take_job(w);
        if (!q) {
            pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        w->busy[seat.index] = q->key;
        w->running++;
        pthread_mutex_unlock(&w->lock);
        run_one(seat.op, q);
        pthread_mutex_lock(&w->lock);
        w->busy[seat.index] = NULL;
        w->running--;
        free_job(q);
        pthread_cond_broadcast(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* A cluster behind a network is worth asking several things at once. */
static int start_threads(struct osmo_operator *op) {
    struct worker *w = &op->worker;
    int width = op->driver->width ? op->driver->width(op->impl) : 1, executors = width > 1 ? EXECUTORS_MAX : EXECUTORS_MAX / 2;
    w->crew = crew_new(width - 1);
    if (!w->crew)
        return OSMO_ENOMEM;
    for (int i = 0; i < executors; i++) {
        struct seat *seat = malloc(sizeof *seat);
        if (!seat)
            return OSMO_ENOMEM;
        *seat = (struct seat){ op, i };
        if (pthread_create(&w->threads[i], NULL, executor_main, seat) != 0) {
            free(seat);
            return OSMO_ENOMEM;
        }
        pthread_mutex_lock(&w->lock);
        w->nthreads++;
        pthread_mutex_unlock(&w->lock);
    }
    return OSMO_OK;
}

int worker_open(struct osmo_operator *op, osmo_error_t *err) {
    struct worker *w = &op->worker;
    w->last = &w->first;
    buf_init(&w->parts, JOB_TOTAL_MAX);
    w->cleanings = calloc(CLEANINGS_MAX, sizeof *w->cleanings);
    if (!w->cleanings)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    cond_init(&w->change);
    if (start_threads(op) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "cannot start threads: raise the limit of processes (ulimit -u)");
    return OSMO_OK;
}

/* ---- from the loop ---- */

void worker_connected(struct osmo_operator *op, uint64_t conn, bool parallel) {
    struct worker *w = &op->worker;
    pthread_mutex_lock(&w->lock);
    w->conn = conn;
    w->parallel = parallel;
    pthread_mutex_unlock(&w->lock);
}

/* Jobs that were not begun go: they will be delivered again on the next connection. */
void worker_disconnected(struct osmo_operator *op) {
    struct worker *w = &op->worker;
    buf_free(&w->parts);
    pthread_mutex_lock(&w->lock);
    w->conn = 0;
    while (w->first) {
        struct queued_job *q = w->first;
        w->first = q->next;
        free_job(q);
    }
    w->last = &w->first;
    w->queued = 0;
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
}

void worker_writable(struct osmo_operator *op) {
    pthread_mutex_lock(&op->worker.lock);
    pthread_cond_broadcast(&op->worker.change);
    pthread_mutex_unlock(&op->worker.lock);
}

void worker_pods_deleted(struct osmo_operator *op) {
    pthread_mutex_lock(&op->worker.lock);
    op->worker.pods_generation++;
    pthread_cond_broadcast(&op->worker.change);
    pthread_mutex_unlock(&op->worker.lock);
}

static bool enqueue(struct osmo_operator *op, struct queued_job *q) {
    struct worker *w = &op->worker;
    pthread_mutex_lock(&w->lock);
    bool taken = w->queued < QUEUED_MAX;
    if (taken) {
        q->conn = w->conn;
        q->named = w->parallel;
        *w->last = q;
        w->last = &q->next;
        w->queued++;
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

/* Called in the loop, which must not wait for room: a full queue means that the connection is in trouble anyway. */
static void refuse(struct osmo_operator *op, enum job_outcome outcome, const char *text) {
    _cleanup_buf_ buf_t message = BUF_INIT(65536);
    char uuid[33];
    json_t *body = json_object();
    if (!body || json_set_str(body, "status", job_outcome_name(outcome)) < 0 || json_set_str(body, "message", text) < 0 ||
        crypto_random_hex32(uuid) < 0) {
        json_free(body);
        return;
    }
    if (message_build(MSG_JOB_STATUS, uuid, body, &message) == 0)
        ws_conn_send(op->loop, op->sessions[STREAM_WORKER].conn, message.data, message.len, false);
}

/* A text that is no job is a heartbeat or something that is not for us; whatever came as a job is waited for until it is answered. */
static void take_message(struct osmo_operator *op, json_t *job, bool binary) {
    if (!binary && !json_has(job, "job_type")) {
        json_free(job);
        return;
    }
    struct queued_job *q = calloc(1, sizeof *q);
    if (q) {
        q->job = job;
        q->key = job_key(job);
    } else {
        json_free(job);
    }
    if (q && q->key && enqueue(op, q))
        return;
    if (q)
        free_job(q);
    log_error(&op->log, "a job does not fit into the queue: the connection starts over and the service delivers it again");
    ws_conn_close(op->loop, op->sessions[STREAM_WORKER].conn, 1013, "job queue is full");
}

/* *job stays NULL while parts of it are missing. */
static int read_frame(struct worker *w, const char *data, size_t len, json_t **job, osmo_error_t *err) {
    if (!job_is_part(data, len))
        return job_frame_unpack(data, len, job, err);
    int rc = job_part_add(&w->parts, data, len, err);
    if (rc == 0)
        return 0;
    if (rc > 0)
        rc = job_unpack(w->parts.data, w->parts.len, JOB_TOTAL_MAX, job, err);
    buf_free(&w->parts);
    return rc;
}

void worker_message(struct osmo_operator *op, const char *data, size_t len, bool binary) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *job = NULL;
    int rc = binary ? read_frame(&op->worker, data, len, &job, &err) : json_parse(data, len, &job, &err);
    if (rc == 0 && !job)
        return;
    if (rc == 0) {
        take_message(op, job, binary);
        return;
    }
    log_warning(&op->log, "a job cannot be read: %s", err.text);
    if (rc == OSMO_EINVAL && binary && job_is_part(data, len)) { /* parts are missing: the jobs are delivered again */
        ws_conn_close(op->loop, op->sessions[STREAM_WORKER].conn, 1002, "parts of a job are missing");
        return;
    }
    refuse(op, JOB_FAILED_NO_RETRY, err.text);
}

void worker_close(struct osmo_operator *op) {
    struct worker *w = &op->worker;
    if (!w->cleanings)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->change);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->nthreads; i++)
        pthread_join(w->threads[i], NULL);
    crew_free(w->crew);
    w->crew = NULL;
    worker_disconnected(op);
    for (size_t i = 0; i < w->ncleanings; i++)
        free(w->cleanings[i].labels);
    free(w->cleanings);
    w->cleanings = NULL;
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->change);
    pthread_mutex_destroy(&w->lock);
}
