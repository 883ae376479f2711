/* Kubernetes pod → OSMO task status. The one place that knows the decision table; the pod tracker and embedders call it.
 * Order of the steps, names and numbers are the OSMO 6.4 contract: exit codes reach users and their exitActions. */
#include "osmo/backend/pod_status.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "model/status.h"
#include "operator/pod_decide.h"

#define MESSAGE_MAX 16384u
#define MINUTE_US (60 * INT64_C(1000000))

struct decision {
    const json_t *status;       /* pod.status */
    int64_t now_us;
    enum status result;
    int64_t exit_code;
    int64_t recheck_us;
    buf_t message;
};

/* ---- tables ---- */

static const struct { const char *phase; enum status status; } phases[] = {
    {"Pending", STATUS_SCHEDULING}, {"Running", STATUS_RUNNING}, {"Succeeded", STATUS_COMPLETED}, {"Failed", STATUS_FAILED},
};

/* What runs in a container tells the exit code's range. */
static const struct container_kind { const char *name; int64_t offset; const char *title; } container_kinds[] = {
    {"osmo-init", 255, "OSMO Init"},
    {"preflight-test", 1000, "OSMO Preflight Test"},
    {"osmo-ctrl", 2000, "OSMO Control"},
};

/* A waiting reason with one of these in it is an error; others are progress. */
static const char *const error_words[] = {"Failed", "BackOff", "Error", "ErrImagePull", "ContainerStatusUnknown"};

static const struct waiting_rule {
    const char *reason;         /* NULL = any other */
    enum status status;
    int64_t code;               /* the container's offset is added */
    int grace_minutes;          /* > 0: SCHEDULING until Ready=False is older, then status and code as they are */
} waiting_rules[] = {
    {"ImagePullBackOff", STATUS_FAILED_IMAGE_PULL, 301, 0},
    {"ErrImagePull", STATUS_FAILED_IMAGE_PULL, 302, 0},
    {"CrashLoopBackOff", STATUS_FAILED, 304, 0},
    {"CreateContainerConfigError", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, 10},
    {"ContainerStatusUnknown", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, 30},
    {NULL, STATUS_FAILED, 999, 0},
};

static const struct { const char *reason; enum status status; int64_t code; const char *words; } pod_reasons[] = {
    {"Evicted", STATUS_FAILED_EVICTED, EXIT_EVICTED, "Pod was evicted"},
    {"StartError", STATUS_FAILED_START_ERROR, EXIT_START_ERROR, "Pod could not be started"},
    {"UnexpectedAdmissionError", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, "Pod was not admitted by its node"},
};

/* ---- reading the pod ---- */

static const char *text_of(const json_t *object, const char *key) {
    const char *s = json_get_str(object, key);
    return s ? s : "";
}

static const struct container_kind *kind_of(const json_t *container) {
    const char *name = text_of(container, "name");
    for (size_t i = 0; i < ARRAY_SIZE(container_kinds); i++) {
        if (strcmp(container_kinds[i].name, name) == 0)
            return &container_kinds[i];
    }
    return NULL;
}

static int64_t offset_of(const json_t *container) {
    const struct container_kind *k = kind_of(container);
    return k ? k->offset : 0;
}

/* osmo-ctrl writes {"code":n} as its termination message when its own exit code says less. */
static int64_t raw_exit_code(const json_t *container, const json_t *terminated) {
    int64_t code = json_get_int(terminated, "exitCode", 0);
    const char *message = json_get_str(terminated, "message");
    if (!message || strcmp(text_of(container, "name"), "osmo-ctrl") != 0)
        return code;
    _cleanup_json_ json_t *v = NULL;
    if (json_parse(message, strlen(message), &v, NULL) < 0 || json_kind(v) != JSON_OBJECT)
        return code;
    return json_get_int(v, "code", code);
}

static bool is_completed(const json_t *terminated) {
    const char *reason = text_of(terminated, "reason");
    return strcmp(reason, "Completed") == 0 || (!*reason && json_get_int(terminated, "exitCode", 0) == 0);
}

static const json_t *find_condition(const json_t *status, const char *type, const char *state) {
    const json_t *conditions = json_get(status, "conditions");
    for (size_t i = 0; i < json_len(conditions); i++) {
        const json_t *c = json_at(conditions, i);
        if (strcmp(text_of(c, "type"), type) == 0 && strcmp(text_of(c, "status"), state) == 0)
            return c;
    }
    return NULL;
}

/* ---- building the answer ---- */

static void say(struct decision *d, const char *words, const char *detail) {
    if (d->message.len)
        buf_putc(&d->message, '\n');
    buf_puts(&d->message, words);
    if (detail && *detail)
        buf_printf(&d->message, ": %s", detail);
}

struct failures { int64_t max_code; size_t count; bool oom; buf_t list; };

static void note_failure(struct failures *f, const json_t *container, const json_t *terminated) {
    const struct container_kind *k = kind_of(container);
    int64_t code = raw_exit_code(container, terminated) + offset_of(container);
    const char *reason = text_of(terminated, "reason");
    if (!f->count || code > f->max_code)
        f->max_code = code;
    f->count++;
    f->oom = f->oom || strcmp(reason, "OOMKilled") == 0;
    if (f->list.len)
        buf_putc(&f->list, '\n');
    buf_printf(&f->list, "- %s%s failed with exit code %lld", k ? k->title : "Task ", k ? "" : text_of(container, "name"),
               (long long)code);
    if (*reason && strcmp(reason, "Error") != 0)
        buf_printf(&f->list, " (%s)", reason);
    const char *message = text_of(terminated, "message");
    if (*message && *message != '{') /* a JSON message is data for us, not words for people */
        buf_printf(&f->list, ": %s", message);
}

static void collect_failures(const struct decision *d, struct failures *f) {
    static const char *const lists[] = {"initContainerStatuses", "containerStatuses"};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        const json_t *list = json_get(d->status, lists[l]);
        for (size_t i = 0; i < json_len(list); i++) {
            const json_t *c = json_at(list, i);
            const json_t *t = json_path(c, "state", "terminated", NULL);
            if (t && !is_completed(t))
                note_failure(f, c, t);
        }
    }
}

/* ---- steps ---- */

static bool step_preempted(struct decision *d) {
    const json_t *conditions = json_get(d->status, "conditions");
    for (size_t i = 0; i < json_len(conditions); i++) {
        const json_t *c = json_at(conditions, i);
        if (strcmp(text_of(c, "status"), "True") == 0 && strcmp(text_of(c, "reason"), "PreemptionByScheduler") == 0) {
            d->result = STATUS_FAILED_PREEMPTED;
            d->exit_code = EXIT_PREEMPTED;
            const char *when = json_get_str(c, "lastTransitionTime");
            buf_printf(&d->message, "Pod was preempted at %s", when ? when : "an unknown time");
            return true;
        }
    }
    return false;
}

static void step_initializing(struct decision *d) {
    const json_t *list = json_get(d->status, "initContainerStatuses");
    for (size_t i = 0; i < json_len(list); i++) {
        const char *reason = text_of(json_path(json_at(list, i), "state", "waiting", NULL), "reason");
        if (strcmp(reason, "ContainerCreating") == 0 || strcmp(reason, "PodInitializing") == 0) {
            d->result = STATUS_INITIALIZING;
            return;
        }
    }
}

/* A pod that runs is dead all the same when its control container ended or a container could not start. A crashed user
 * container alone is not: osmo-ctrl goes on and uploads what there is. */
static bool running_is_dead(const struct decision *d) {
    const json_t *list = json_get(d->status, "containerStatuses");
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *c = json_at(list, i);
        const json_t *t = json_path(c, "state", "terminated", NULL);
        if (t && (strcmp(text_of(c, "name"), "osmo-ctrl") == 0 || strcmp(text_of(t, "reason"), "StartError") == 0))
            return true;
    }
    return false;
}

static void step_terminated(struct decision *d) {
    struct failures f = { .list = BUF_INIT(MESSAGE_MAX) };
    if (d->result == STATUS_RUNNING && running_is_dead(d)) {
        collect_failures(d, &f);
        if (f.count)
            d->result = STATUS_FAILED;
    } else if (status_is_failed(d->result)) {
        collect_failures(d, &f);
    }
    if (status_is_failed(d->result)) {
        const char *why = text_of(d->status, "message");
        if (*why)
            say(d, why, NULL);
        if (f.count)
            say(d, buf_cstr(&f.list), NULL);
        d->exit_code = f.count ? f.max_code : EXIT_UNKNOWN;
        if (f.oom) {
            d->result = STATUS_FAILED_EVICTED;
            d->exit_code = EXIT_EVICTED;
        }
    } else if (d->result == STATUS_COMPLETED) {
        d->exit_code = 0;
    }
    buf_free(&f.list);
}

static bool is_error_reason(const char *reason) {
    for (size_t i = 0; i < ARRAY_SIZE(error_words); i++) {
        if (strstr(reason, error_words[i]))
            return true;
    }
    return false;
}

static const json_t *find_waiting_error(const struct decision *d) {
    static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        const json_t *list = json_get(d->status, lists[l]);
        for (size_t i = 0; i < json_len(list); i++) {
            const json_t *c = json_at(list, i);
            if (is_error_reason(text_of(json_path(c, "state", "waiting", NULL), "reason")))
                return c;
        }
    }
    return NULL;
}

/* True while the grace period of a reason lasts. Without a usable time there is nothing to measure, so it lasts. */
static bool in_grace(struct decision *d, const struct waiting_rule *rule) {
    const json_t *ready = find_condition(d->status, "Ready", "False");
    const char *since = json_get_str(ready, "lastTransitionTime");
    int64_t us = 0;
    if (!since || !time_parse(since, &us))
        return true;
    int64_t end = us + rule->grace_minutes * MINUTE_US;
    if (d->now_us > end)
        return false;
    d->recheck_us = end + 1;
    return true;
}

static void step_waiting(struct decision *d) {
    const json_t *container = find_waiting_error(d);
    if (!container)
        return;
    const json_t *waiting = json_path(container, "state", "waiting", NULL);
    const char *reason = text_of(waiting, "reason");
    const struct waiting_rule *rule = waiting_rules;
    while (rule->reason && strcmp(rule->reason, reason) != 0)
        rule++;
    if (rule->grace_minutes && in_grace(d, rule)) {
        d->result = STATUS_SCHEDULING;
        d->exit_code = EXIT_CODE_NONE;
    } else {
        d->result = rule->status;
        d->exit_code = rule->code + (rule->grace_minutes ? 0 : offset_of(container));
    }
    buf_t words = BUF_INIT(MESSAGE_MAX);
    buf_printf(&words, "Container %s cannot start: %s", text_of(container, "name"), reason);
    say(d, buf_cstr(&words), text_of(waiting, "message"));
    buf_free(&words);
}

static void fail_with(struct decision *d, enum status status, int64_t code, const char *words, const char *detail) {
    bool said = detail && *detail && strstr(buf_cstr(&d->message), detail);
    d->result = status;
    d->exit_code = code;
    say(d, words, said ? NULL : detail);
}

static void step_pod_reason(struct decision *d) {
    const char *reason = text_of(d->status, "reason");
    for (size_t i = 0; i < ARRAY_SIZE(pod_reasons); i++) {
        if (strcmp(pod_reasons[i].reason, reason) == 0) {
            fail_with(d, pod_reasons[i].status, pod_reasons[i].code, pod_reasons[i].words, text_of(d->status, "message"));
            return;
        }
    }
    const json_t *disrupted = find_condition(d->status, "DisruptionTarget", "True");
    if (disrupted) {
        fail_with(d, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, "Pod was disrupted by the cluster",
                  *text_of(disrupted, "message") ? text_of(disrupted, "message") : text_of(disrupted, "reason"));
    }
}

/* ---- entry points ---- */

static int read_phase(const json_t *status, enum status *out, osmo_error_t *err) {
    const char *phase = json_get_str(status, "phase");
    if (!phase || !*phase)
        phase = "Pending"; /* accepted by the API server, not touched by anyone yet */
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        if (strcmp(phases[i].phase, phase) == 0) {
            *out = phases[i].status;
            return OSMO_OK;
        }
    }
    *out = STATUS_NONE;
    if (strcmp(phase, "Unknown") == 0)
        return OSMO_OK;
    return osmo_error_set(err, OSMO_EINVAL, "pod has the unknown phase \"%.64s\"", phase);
}

static int finish(struct decision *d, osmo_pod_status_t *out, osmo_error_t *err) {
    buf_cstr(&d->message);
    bool whole = !buf_failed(&d->message) || d->message.code == OSMO_ELIMIT;
    size_t len = 0;
    /* An overlong message is cut, not refused: the status matters more than its last words. */
    char *text = whole ? utf8_repair(d->message.data ? d->message.data : "", d->message.len, &len) : NULL;
    buf_free(&d->message);
    if (!text)
        return osmo_error_set(err, OSMO_ENOMEM, "no memory for a pod's status message");
    out->status = status_name(d->result);
    out->exit_code = d->exit_code;
    out->message = text;
    return OSMO_OK;
}

int pod_decide(const json_t *pod, int64_t now_us, osmo_pod_status_t *out, int64_t *recheck_us, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    out->exit_code = EXIT_CODE_NONE;
    *recheck_us = 0;
    if (json_kind(pod) != JSON_OBJECT || json_kind(json_get(pod, "metadata")) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EINVAL, "not a pod: an object with metadata and status is needed");
    struct decision d = { .status = json_get(pod, "status"), .now_us = now_us, .exit_code = EXIT_CODE_NONE,
                          .message = BUF_INIT(MESSAGE_MAX) };
    if (step_preempted(&d))
        return finish(&d, out, err);
    enum status phase = STATUS_NONE;
    int rc = read_phase(d.status, &phase, err);
    if (rc < 0 || phase == STATUS_NONE)
        return rc;
    d.result = phase;
    step_initializing(&d);
    step_terminated(&d);
    step_waiting(&d);
    step_pod_reason(&d);
    out->monitor = phase == STATUS_SCHEDULING && !status_is_in_queue(d.result);
    *recheck_us = d.recheck_us;
    return finish(&d, out, err);
}

int osmo_pod_status(const char *pod_json, size_t len, int64_t now_us, osmo_pod_status_t *out, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    out->exit_code = EXIT_CODE_NONE;
    _cleanup_json_ json_t *pod = NULL;
    int rc = json_parse(pod_json, len, &pod, err);
    if (rc < 0)
        return rc;
    int64_t recheck_us;
    return pod_decide(pod, now_us, out, &recheck_us, err);
}

void osmo_pod_status_clear(osmo_pod_status_t *s) {
    free(s->message);
    memset(s, 0, sizeof *s);
}
