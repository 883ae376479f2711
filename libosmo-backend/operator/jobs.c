/* The job table and the small jobs; create.c and cleanup.c have those that make and remove the objects of a group, queues.c the one for
 * pools, backend_tests.c the one for tests of nodes. Every job may arrive twice and may have been half done before: existing objects are
 * fine, missing ones are fine. Called by the executor (worker.c). */
#include "operator/jobs.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/str.h"

#define MAX_ATTEMPTS 7
#define PAUSE_DOUBLINGS 5
#define PAUSE_MAX_MS 3200
#define RESCHEDULE_ROUNDS 5
#define RESCHEDULE_WAIT_MS 3000

const char *job_outcome_name(enum job_outcome o) {
    static const char *const names[] = {"SUCCESS", "FAILED_RETRY", "FAILED_NO_RETRY"};
    return names[o];
}

enum job_outcome job_fail(struct job_result *r, enum job_outcome o, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (r->message.len)
        buf_putc(&r->message, '\n');
    buf_vprintf(&r->message, format, args);
    va_end(args);
    return o;
}

bool job_may_act(const struct job_env *env) { return !env->may_act || env->may_act(env->ctx); }

bool job_error_may_pass(int code) {
    return code == OSMO_EBUSY || code == OSMO_EUNAVAIL || code == OSMO_ETIMEOUT || code == OSMO_EIO || code == OSMO_ECONFLICT ||
           code == OSMO_EUNAUTH;
}

int64_t job_retry_pause(int attempt) {
    int64_t ms = attempt > PAUSE_DOUBLINGS ? PAUSE_MAX_MS : INT64_C(100) << (attempt - 1);
    uint32_t r = 0;
    crypto_random(&r, sizeof r);
    return ms * 3 / 4 + (int64_t)(r % (uint32_t)(ms / 2));
}

int64_t job_retry_delay(int attempt) { return attempt >= MAX_ATTEMPTS ? -1 : job_retry_pause(attempt); }

int job_create_object(const struct job_env *env, const char *text, osmo_error_t *err) {
    for (int attempt = 1;; attempt++) {
        int rc = env->driver->create(env->impl, text, strlen(text), err);
        int64_t delay = job_error_may_pass(rc) ? job_retry_delay(attempt) : -1;
        if (rc >= 0 || delay < 0 || !env->wait(env->ctx, delay))
            return rc;
    }
}

bool job_kind_stays(const char *kind) { return !kind || !strchr(kind, '/'); }

char *job_selector(const json_t *labels) {
    buf_t text = BUF_INIT(65536);
    json_iter_t it = json_iter(labels);
    bool whole = true;
    while (json_kind(labels) == JSON_OBJECT && json_iter_next(&it)) {
        const char *v = json_str(it.value);
        whole = whole && v;
        if (v)
            buf_printf(&text, "%s%s=%s", text.len ? "," : "", it.key, v);
    }
    buf_cstr(&text);
    return buf_failed(&text) || !text.len || !whole ? (buf_free(&text), NULL) : buf_steal(&text, NULL);
}

/* ---- create ---- */

static enum job_outcome run_create(const struct job_env *env, const json_t *job, struct job_result *r) {
    bool existed, stale;
    enum job_outcome o = job_create(env, job, r, &existed, &stale);
    if (o != JOB_SUCCESS || !stale)
        return o;
    buf_reset(&r->message);
    return job_fail(r, JOB_FAILED_RETRY, "a pod of an earlier attempt is still there");
}

static enum job_outcome run_cleanup(const struct job_env *env, const json_t *job, struct job_result *r) {
    return job_cleanup(env, job, json_get_bool(job, "force_delete", false), r);
}

/* ---- reschedule ---- */

/* What of the job's pod is there now: the retry of the first one found, -1 when none. */
static int note_retry(void *ctx, const char *json, size_t len) {
    int64_t *retry = ctx, id = 0;
    _cleanup_json_ json_t *pod = NULL;
    if (json_parse(json, len, &pod, NULL) < 0)
        return 0;
    const char *text = json_get_str(json_path(pod, "metadata", "labels", NULL), "osmo.retry_id");
    *retry = text && str_to_i64(text, &id) ? id : 0;
    return 1;
}

static int64_t present_retry(const struct job_env *env, const json_t *job) {
    const json_t *labels = NULL, *objects = json_path(job, "create_job", "k8s_resources", NULL);
    for (size_t i = 0; i < json_len(objects); i++) {
        if (str_eq(json_get_str(json_at(objects, i), "kind"), "Pod"))
            labels = json_path(json_at(objects, i), "metadata", "labels", NULL);
    }
    const char *task = json_get_str(labels, "osmo.task_uuid");
    _cleanup_free_ char *selector = task ? str_printf("osmo.task_uuid=%s", task) : NULL;
    int64_t retry = -1;
    if (selector && env->driver->list)
        env->driver->list(env->impl, "v1", "Pod", selector, note_retry, &retry, NULL);
    return retry;
}

/* The attempt before the wanted one may never have had a pod: then an older one is in the way. True when the cleanup
 * was for another one. */
static bool aim_at(json_t *cleanup, int64_t retry) {
    json_t *specs = json_get(cleanup, "cleanup_specs");
    char text[24];
    bool moved = false;
    snprintf(text, sizeof text, "%lld", (long long)retry);
    for (size_t i = 0; retry >= 0 && i < json_len(specs); i++) {
        json_t *labels = json_get(json_at(specs, i), "labels");
        const char *aim = json_get_str(labels, "osmo.retry_id");
        if (aim && !str_eq(aim, text))
            moved |= json_set_str(labels, "osmo.retry_id", text) >= 0;
    }
    return moved;
}

/* The new pod has the name of the old one, so it can only be made once the old one is really gone. */
static enum job_outcome run_reschedule(const struct job_env *env, const json_t *job, struct job_result *r) {
    const json_t *create = json_get(job, "create_job");
    _cleanup_json_ json_t *cleanup = json_copy(json_get(job, "cleanup_job"));
    int64_t wanted = json_get_int(job, "retry_id", 0);
    if (json_kind(create) != JSON_OBJECT || json_kind(cleanup) != JSON_OBJECT)
        return job_fail(r, JOB_FAILED_NO_RETRY, "RescheduleTask needs create_job and cleanup_job");
    for (int round = 0; round < RESCHEDULE_ROUNDS; round++) {
        bool existed = false, stale;
        uint64_t seen = env->pods_generation(env->ctx);
        enum job_outcome o = job_cleanup(env, cleanup, round > 0, r);
        if (o == JOB_SUCCESS) {
            buf_reset(&r->message);
            o = job_create(env, create, r, &existed, &stale);
        }
        int64_t present = o == JOB_SUCCESS && existed ? present_retry(env, job) : wanted;
        if (present >= wanted)
            return o;
        buf_reset(&r->message);
        if (!aim_at(cleanup, present) && !env->wait_pods(env->ctx, seen, RESCHEDULE_WAIT_MS))
            break;
    }
    return job_fail(r, JOB_FAILED_RETRY, "the pod of the previous attempt is still there");
}

/* ---- nodes ---- */

static enum job_outcome run_label(const struct job_env *env, const json_t *job, struct job_result *r) {
    const char *node = json_get_str(job, "node_name");
    json_t *labels = json_get(job, "labels");
    if (!node || json_kind(labels) != JSON_OBJECT)
        return job_fail(r, JOB_FAILED_NO_RETRY, "LabelNode needs node_name and labels");
    if (!env->driver->patch)
        return job_fail(r, JOB_FAILED_NO_RETRY, "the %s cluster cannot label nodes", env->driver->name);
    _cleanup_json_ json_t *patch = json_object(), *meta = json_object();
    if (!patch || !meta || json_set(meta, "labels", json_ref(labels)) < 0 || json_set(patch, "metadata", STEAL(meta)) < 0)
        return job_fail(r, JOB_FAILED_RETRY, "out of memory");
    _cleanup_free_ char *text = json_to_text(patch);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = text ? env->driver->patch(env->impl, "v1", "Node", node, text, strlen(text), &err) : OSMO_ENOMEM;
    if (rc >= 0)
        return JOB_SUCCESS;
    const char *cause = *err.text ? err.text : osmo_error_name(rc);
    if (rc == OSMO_EDENIED)
        return job_fail(r, JOB_FAILED_NO_RETRY, "node %s may not be labelled by this operator: allow it to patch nodes (%s)", node, cause);
    return job_fail(r, job_error_may_pass(rc) ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY, "labelling node %s: %s", node, cause);
}

/* ---- the table ---- */

typedef enum job_outcome (*job_fn)(const struct job_env *env, const json_t *job, struct job_result *r);
static const struct { const char *type; job_fn run; } job_table[] = {
    {"CreateGroup", run_create},
    {"CleanupGroup", run_cleanup},
    {"RescheduleTask", run_reschedule},
    {"LabelNode", run_label},
    {"BackendSynchronizeQueues", job_queues},
    {"BackendSynchronizeBackendTest", job_backend_tests},
};

void job_run(const struct job_env *env, const json_t *job, struct job_result *result) {
    const char *type = json_get_str(job, "job_type");
    buf_init(&result->message, JOB_MESSAGE_MAX);
    for (size_t i = 0; type && i < ARRAY_SIZE(job_table); i++) {
        if (strcmp(job_table[i].type, type) == 0) {
            result->outcome = job_table[i].run(env, job, result);
            return;
        }
    }
    result->outcome = job_fail(result, JOB_FAILED_NO_RETRY, "this operator does not know the job type \"%.100s\"",
                               type ? type : "");
}

char *job_key(const json_t *job) {
    const char *workflow = json_get_str(job, "workflow_uuid"), *group = json_get_str(job, "group_name");
    const char *node = json_get_str(job, "node_name"), *type = json_get_str(job, "job_type");
    if (!group)
        group = json_get_str(json_get(job, "create_job"), "group_name");
    if (workflow && group)
        return str_printf("group/%s/%s", workflow, group);
    return node ? str_printf("node/%s", node) : str_printf("type/%s", type ? type : "");
}
