/* The job that removes a group (or one retry of a task): first the last words of failed containers, then the objects.
 * Called by jobs.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "operator/jobs.h"

#define LOG_CHUNK 32768u
#define LOG_MAX (16u << 20)    /* of one container; the service keeps less */
#define MAX_TAIL 100000
#define SILENT_MAX 3           /* containers that could not be asked; each took its time, and no others are asked then */

/* ---- error logs ---- */

struct last_words {
    const struct job_env *env;
    int tail;
    json_t *pods;              /* array of {name, task, retry, containers: [name]} */
    const char *task; int64_t retry;
    buf_t held;                /* bytes not sent yet: whole UTF-8 characters only leave */
    size_t said;               /* of this container */
    int silent;
    bool gone;
};

static bool say(struct last_words *w, const char *text, size_t len, bool mask) {
    if (w->gone)
        return false;
    _cleanup_free_ char *clean = utf8_repair(text, len, NULL);
    json_t *body = json_object();
    if (!clean || !body) {
        json_free(body);
        return false;
    }
    int rc = json_set_str(body, "text", clean);
    rc |= json_set_str(body, "task", w->task);
    rc |= json_set_int(body, "retry_id", w->retry);
    rc |= json_set_bool(body, "mask", mask);
    if (rc) {
        json_free(body);
        return false;
    }
    w->gone = !w->env->pod_log(w->env->ctx, w->env->job_ctx, body);
    return !w->gone;
}

/* Chunks end at a line where there is one, so that masking of secrets and characters are not cut in two. */
static void flush(struct last_words *w, bool all) {
    size_t len = w->held.len;
    while (!all && len && w->held.data[len - 1] != '\n')
        len--;
    if (!len)
        len = w->held.len;
    if (len && !w->gone)
        say(w, w->held.data, len, true);
    buf_consume(&w->held, len);
}

static int take_log(void *ctx, const char *text, size_t len) {
    struct last_words *w = ctx;
    w->said += len;
    while (len && !w->gone) {
        size_t room = LOG_CHUNK - w->held.len, n = len < room ? len : room;
        if (buf_append(&w->held, text, n) < 0)
            return 1;
        text += n;
        len -= n;
        if (w->held.len >= LOG_CHUNK)
            flush(w, false);
    }
    return w->gone || w->said > LOG_MAX;
}

static void container_words(struct last_words *w, const char *pod, const char *container) {
    _cleanup_buf_ buf_t line = BUF_INIT(4096);
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_printf(&line, "\nLast %d lines of container %s:\n", w->tail, container);
    say(w, buf_cstr(&line), line.len, false);
    w->said = 0;
    int rc = w->env->driver->logs(w->env->impl, pod, container, w->tail, take_log, w, &err);
    flush(w, true);
    w->silent += rc < 0 && job_error_may_pass(rc);
    buf_reset(&line);
    if (w->said > LOG_MAX)
        buf_puts(&line, "\nThe rest is left out.\n");
    else if (rc < 0)
        buf_printf(&line, "No output could be read from container %s: %s\n", container, *err.text ? err.text : osmo_error_name(rc));
    for (int i = 0; i < 80; i++)
        buf_putc(&line, '-');
    buf_puts(&line, "\n\n");
    say(w, buf_cstr(&line), line.len, false);
}

static bool failed(const json_t *statuses) {
    for (size_t i = 0; i < json_len(statuses); i++) {
        if (json_get_int(json_path(json_at(statuses, i), "state", "terminated", NULL), "exitCode", 0) != 0)
            return true;
    }
    return false;
}

static void add_names(json_t *out, const json_t *containers) {
    for (size_t i = 0; i < json_len(containers); i++) {
        const char *name = json_get_str(json_at(containers, i), "name");
        if (name)
            json_add_str(out, name);
    }
}

static int take_pod(void *ctx, const char *json, size_t len) {
    struct last_words *w = ctx;
    _cleanup_json_ json_t *pod = NULL;
    if (json_parse(json, len, &pod, NULL) < 0)
        return 0;
    const json_t *status = json_get(pod, "status"), *labels = json_path(pod, "metadata", "labels", NULL);
    const char *task = json_get_str(labels, "osmo.task_uuid"), *retry = json_get_str(labels, "osmo.retry_id");
    if (!task || (!failed(json_get(status, "containerStatuses")) && !failed(json_get(status, "initContainerStatuses"))))
        return 0;
    int64_t id = 0;
    if (retry)
        str_to_i64(retry, &id);
    json_t *one = json_object(), *names = json_array();
    if (!one || !names) {
        json_free(one);
        json_free(names);
        return 0;
    }
    add_names(names, json_path(pod, "spec", "initContainers", NULL));
    add_names(names, json_path(pod, "spec", "containers", NULL));
    json_set_str(one, "name", json_get_str(json_get(pod, "metadata"), "name"));
    json_set_str(one, "task", task);
    json_set_int(one, "retry", id);
    json_set(one, "containers", names);
    json_add(w->pods, one);
    return 0;
}

void job_spec_kind(const json_t *spec, char version[128], const char **kind) {
    const json_t *generic = json_get(spec, "generic_api"), *custom = json_get(spec, "custom_api");
    const char *api = json_get_str(generic, "api_version");
    *kind = json_get_str(generic, "kind");
    if (api && *kind) {
        snprintf(version, 128, "%s", api);
        return;
    }
    const char *major = json_get_str(custom, "api_major"), *minor = json_get_str(custom, "api_minor");
    *kind = json_get_str(spec, "resource_type");
    snprintf(version, 128, "%s%s%s", major ? major : "v1", major && minor ? "/" : "", major && minor ? minor : "");
}

static bool find_pods(struct last_words *w, const char *selector) {
    for (int attempt = 1;; attempt++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        json_free(w->pods);
        w->pods = json_array();
        int rc = w->pods ? w->env->driver->list(w->env->impl, "v1", "Pod", selector, take_pod, w, &err) : OSMO_ENOMEM;
        int64_t delay = job_error_may_pass(rc) ? job_retry_delay(attempt) : -1;
        if (rc >= 0)
            return true;
        if (delay < 0 || !w->env->wait(w->env->ctx, delay)) {
            log_warning(w->env->log, "error logs are left out: %s", *err.text ? err.text : osmo_error_name(rc));
            return false;
        }
    }
}

/* Failing to read logs never stops a cleanup: it only makes the last words shorter. */
static void send_last_words(const struct job_env *env, const json_t *job) {
    const json_t *spec = json_get(job, "error_log_spec");
    _cleanup_free_ char *selector = job_selector(json_get(spec, "labels"));
    if (!selector || !env->driver->list || !env->driver->logs)
        return;
    int64_t tail = json_get_int(job, "max_log_lines", 100);
    struct last_words w = { .env = env, .held = BUF_INIT(2 * LOG_CHUNK),
                            .tail = tail < 1 ? 1 : tail > MAX_TAIL ? MAX_TAIL : (int)tail };
    bool found = find_pods(&w, selector);
    for (size_t i = 0; found && i < json_len(w.pods) && !w.gone; i++) {
        const json_t *pod = json_at(w.pods, i), *names = json_get(pod, "containers");
        w.task = json_get_str(pod, "task");
        w.retry = json_get_int(pod, "retry", 0);
        for (size_t c = 0; c < json_len(names) && !w.gone && w.silent < SILENT_MAX; c++)
            container_words(&w, json_get_str(pod, "name"), json_str(json_at(names, c)));
    }
    buf_free(&w.held);
    json_free(w.pods);
}

/* ---- removal ---- */

static int remove_matching(const struct job_env *env, const char *version, const char *kind, const char *selector, bool force,
                           osmo_error_t *err) {
    for (int attempt = 1;; attempt++) {
        int rc = env->driver->remove(env->impl, version, kind, selector, force, err);
        int64_t delay = job_error_may_pass(rc) ? job_retry_delay(attempt) : -1;
        if (rc >= 0 || delay < 0 || !env->wait(env->ctx, delay))
            return rc;
    }
}

static enum job_outcome remove_spec(const struct job_env *env, const json_t *spec, bool force, struct job_result *r) {
    char version[128];
    const char *kind;
    job_spec_kind(spec, version, &kind);
    _cleanup_free_ char *selector = job_selector(json_get(spec, "labels"));
    if (!kind || !selector)
        return job_fail(r, JOB_FAILED_NO_RETRY, "a cleanup spec needs a kind and labels");
    if (!job_kind_stays(kind))
        return job_fail(r, JOB_FAILED_NO_RETRY, "cleanup spec %s " JOB_KIND_STRAYS, kind);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = remove_matching(env, version, kind, selector, force, &err);
    if (rc >= 0 || rc == OSMO_ENOTFOUND)
        return JOB_SUCCESS;
    return job_fail(r, job_error_may_pass(rc) ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY, "removing %s objects: %s", kind,
                    *err.text ? err.text : osmo_error_name(rc));
}

static bool is_of_pods(const json_t *spec) {
    char version[128];
    const char *kind;
    job_spec_kind(spec, version, &kind);
    return str_eq(kind, "Pod");
}

/* One spec that fails does not keep the others from being removed; the worst outcome is the job's. Pods first, wherever they stand: a node
 * that finds the secrets of a running pod gone waits minutes for them before it sees that the pod shall end. */
static enum job_outcome remove_all(const struct job_env *env, const json_t *specs, bool force, struct job_result *r) {
    if (json_kind(specs) == JSON_OBJECT)
        return remove_spec(env, specs, force, r);
    enum job_outcome worst = JOB_SUCCESS;
    for (int pods = 1; pods >= 0; pods--)
        for (size_t i = 0; i < json_len(specs); i++) {
            if (is_of_pods(json_at(specs, i)) != (bool)pods)
                continue;
            enum job_outcome o = remove_spec(env, json_at(specs, i), force, r);
            worst = o > worst ? o : worst;
        }
    return worst;
}

static void announce(const struct job_env *env, const json_t *specs) {
    if (json_kind(specs) == JSON_OBJECT)
        env->cleaning(env->ctx, json_get(specs, "labels"));
    for (size_t i = 0; json_kind(specs) == JSON_ARRAY && i < json_len(specs); i++)
        if (is_of_pods(json_at(specs, i)))
            env->cleaning(env->ctx, json_get(json_at(specs, i), "labels"));
}

enum job_outcome job_cleanup(const struct job_env *env, const json_t *job, bool force, struct job_result *result) {
    const json_t *specs = json_get(job, "cleanup_specs");
    if (!env->driver->remove)
        return job_fail(result, JOB_FAILED_NO_RETRY, "the %s cluster cannot remove objects", env->driver->name);
    send_last_words(env, job);
    announce(env, specs);
    return remove_all(env, specs, force, result);
}
