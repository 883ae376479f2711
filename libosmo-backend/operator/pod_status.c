/* Kubernetes pod → OSMO task status. The one place that knows the decision table; the pod tracker and embedders call
 * it. Order of the steps, names and numbers are the OSMO 6.4 contract: exit codes reach users and their exitActions. */
#include "osmo/backend/pod_status.h"
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "model/status.h"
#include "operator/pod_decide.h"

#define MESSAGE_MAX 16384u
#define MINUTE_US (60 * INT64_C(1000000))

struct decision {
    const pod_facts_t *pod;
    int64_t now_us;
    bool over;                  /* phase Succeeded or Failed: nothing will change any more */
    enum status result;
    int64_t exit_code;
    int64_t recheck_us;
    buf_t message;
};

/* ---- tables ---- */

static const struct { const char *phase; enum status status; } phases[] = {
    {"Pending", STATUS_SCHEDULING}, {"Running", STATUS_RUNNING}, {"Succeeded", STATUS_COMPLETED}, {"Failed",
        STATUS_FAILED},
};

/* What runs in a container tells the exit code's range. */
static const struct container_kind { const char *name; int64_t offset; const char *title; } container_kinds[] = {
    {"osmo-init", 255, "OSMO Init"},
    {"preflight-test", 1000, "OSMO Preflight Test"},
    {"osmo-ctrl", 2000, "OSMO Control"},
};

/* A waiting reason with one of these in it is an error; others are progress. No kubelet tries the last two again:
 * nothing would ever follow. */
static const char *const error_words[] = {"Failed", "BackOff", "Error", "ErrImagePull", "ContainerStatusUnknown",
    "InvalidImageName",
                                          "ErrImageNeverPull"};

static const struct waiting_rule {
    const char *reason;         /* NULL = any other */
    enum status status;
    int64_t code;               /* the container's offset is added */
    int grace_minutes;          /* > 0: SCHEDULING until Ready=False is older, then status and code as they are */
} waiting_rules[] = {
    {"ImagePullBackOff", STATUS_FAILED_IMAGE_PULL, 301, 0},
    {"ErrImagePull", STATUS_FAILED_IMAGE_PULL, 302, 0},
    {"InvalidImageName", STATUS_FAILED_IMAGE_PULL, 302, 0},
    {"ErrImageNeverPull", STATUS_FAILED_IMAGE_PULL, 302, 0},
    {"CrashLoopBackOff", STATUS_FAILED, 304, 0},
    {"CreateContainerConfigError", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, 10},
    {"ContainerStatusUnknown", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, 30},
    {NULL, STATUS_FAILED, 999, 0},
};

static const struct pod_reason {
    const char *reason;
    enum status status;
    int64_t code;
    const char *words;
} pod_reasons[] = {
    {"Evicted", STATUS_FAILED_EVICTED, EXIT_EVICTED, "Pod was evicted"},
    {"StartError", STATUS_FAILED_START_ERROR, EXIT_START_ERROR, "Pod could not be started"},
    {"UnexpectedAdmissionError", STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, "Pod was not admitted by its node"},
};

/* ---- reading the pod ---- */

static bool is(const char *text, const char *word) { return text && strcmp(text, word) == 0; }

static const struct container_kind *kind_of(const struct container_facts *c) {
    for (size_t i = 0; i < ARRAY_SIZE(container_kinds); i++) {
        if (is(c->name, container_kinds[i].name))
            return &container_kinds[i];
    }
    return NULL;
}

static int64_t offset_of(const struct container_facts *c) {
    const struct container_kind *k = kind_of(c);
    return k ? k->offset : 0;
}

static bool has_failed(const struct container_facts *c) {
    const char *reason = fact_text(c->reason);
    return c->state == CONTAINER_TERMINATED && !is(reason, "Completed") && (*reason || c->exit_code != 0);
}

static const struct condition_facts *find_condition(const pod_facts_t *pod, const char *type, const char *state) {
    for (size_t i = 0; i < pod->nconditions; i++) {
        const struct condition_facts *c = &pod->conditions[i];
        if (is(c->type, type) && is(c->status, state))
            return c;
    }
    return NULL;
}

static const struct pod_reason *find_pod_reason(const char *reason) {
    for (size_t i = 0; i < ARRAY_SIZE(pod_reasons); i++) {
        if (is(reason, pod_reasons[i].reason))
            return &pod_reasons[i];
    }
    return NULL;
}

/* ---- building the answer ---- */

/* As much of the text as there is room for: its beginning says most. */
static void put(buf_t *b, const char *text) {
    size_t len = strlen(text), room = b->max - b->len;
    buf_append(b, text, len < room ? len : room);
}

static void say(struct decision *d, const char *words, const char *detail) {
    if (d->message.len)
        put(&d->message, "\n");
    put(&d->message, words);
    if (detail && *detail) {
        put(&d->message, ": ");
        put(&d->message, detail);
    }
}

struct failures { int64_t max_code; size_t count; bool oom; buf_t list; };

/* A code is an int32 in Kubernetes; what osmo-ctrl wrote may be anything. */
static int64_t code_of(const struct container_facts *c) {
    int64_t code;
    return __builtin_add_overflow(c->exit_code, offset_of(c), &code) ? INT64_MAX : code;
}

static void note_failure(struct failures *f, const struct container_facts *c) {
    const struct container_kind *k = kind_of(c);
    int64_t code = code_of(c);
    const char *reason = fact_text(c->reason), *message = fact_text(c->message);
    if (!f->count || code > f->max_code)
        f->max_code = code;
    f->count++;
    f->oom = f->oom || is(reason, "OOMKilled");
    char words[640];
    snprintf(words, sizeof words, "%s- %s%s failed with exit code %lld", f->list.len ? "\n" : "", k ? k->title : "Task "
        "",
             k ? "" : fact_text(c->name), (long long)code);
    put(&f->list, words);
    if (*reason && !is(reason, "Error")) {
        snprintf(words, sizeof words, " (%s)", reason);
        put(&f->list, words);
    }
    if (*message && *message != '{') { /* a JSON message is data for us, not words for people */
        put(&f->list, ": ");
        put(&f->list, message);
    }
}

static void collect_failures(const struct decision *d, struct failures *f) {
    for (size_t i = 0; i < d->pod->ninit; i++) {
        if (has_failed(&d->pod->init[i]))
            note_failure(f, &d->pod->init[i]);
    }
    for (size_t i = 0; i < d->pod->nmain; i++) {
        if (has_failed(&d->pod->main[i]))
            note_failure(f, &d->pod->main[i]);
    }
}

/* ---- steps ---- */

static bool step_preempted(struct decision *d) {
    for (size_t i = 0; i < d->pod->nconditions; i++) {
        const struct condition_facts *c = &d->pod->conditions[i];
        if (is(c->status, "True") && is(c->reason, "PreemptionByScheduler")) {
            d->result = STATUS_FAILED_PREEMPTED;
            d->exit_code = EXIT_PREEMPTED;
            char words[128];
            snprintf(words, sizeof words, "Pod was preempted at %.64s", c->time ? c->time : "an unknown time");
            say(d, words, c->message);
            return true;
        }
    }
    return false;
}

/* What a pod that is over shows as waiting is what it never came to. */
static void step_initializing(struct decision *d) {
    for (size_t i = 0; i < d->pod->ninit && !d->over; i++) {
        const struct container_facts *c = &d->pod->init[i];
        if (c->state == CONTAINER_WAITING && (is(c->reason, "ContainerCreating") || is(c->reason, "PodInitializing"))) {
            d->result = STATUS_INITIALIZING;
            return;
        }
    }
}

/* A pod that runs is dead all the same when its control container ended or a container could not start. A crashed user
 * container alone is not: osmo-ctrl goes on and uploads what there is. */
static bool running_is_dead(const struct decision *d) {
    for (size_t i = 0; i < d->pod->nmain; i++) {
        const struct container_facts *c = &d->pod->main[i];
        if (c->state == CONTAINER_TERMINATED && (is(c->name, "osmo-ctrl") || is(c->reason, "StartError")))
            return true;
    }
    return false;
}

/* Without any container that failed, the pod's own reason is all there is: DeadlineExceeded, NodeAffinity, OutOfcpu,
 * NodeShutdown … Those of the table have their words later. */
static void say_failure(struct decision *d, const struct failures *f) {
    const char *reason = fact_text(d->pod->reason), *why = fact_text(d->pod->message);
    bool later = find_pod_reason(reason) != NULL;
    if (*reason && !f->count && !later)
        say(d, reason, why);
    else if (*why && !later)
        say(d, why, NULL);
    if (f->count)
        say(d, f->list.data, NULL);
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
        say_failure(d, &f);
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

static const struct container_facts *find_waiting_in(const struct container_facts *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (list[i].state == CONTAINER_WAITING && is_error_reason(fact_text(list[i].reason)))
            return &list[i];
    }
    return NULL;
}

/* True while the grace period of a reason lasts. Without a usable time there is nothing to measure, so it lasts. */
static bool in_grace(struct decision *d, const struct waiting_rule *rule) {
    const struct condition_facts *ready = find_condition(d->pod, "Ready", "False");
    const char *since = ready && ready->time ? ready->time : d->pod->created;
    int64_t us = 0;
    if (d->over)
        return false;
    if (!since || !time_parse(since, &us))
        return true;
    int64_t end = us + rule->grace_minutes * MINUTE_US;
    if (d->now_us > end)
        return false;
    d->recheck_us = end + 1;
    return true;
}

static void step_waiting(struct decision *d) {
    const struct container_facts *c = find_waiting_in(d->pod->main, d->pod->nmain);
    if (!c)
        c = find_waiting_in(d->pod->init, d->pod->ninit);
    if (!c)
        return;
    const struct waiting_rule *rule = waiting_rules;
    while (rule->reason && !is(c->reason, rule->reason))
        rule++;
    if (rule->grace_minutes && in_grace(d, rule)) {
        d->result = STATUS_SCHEDULING;
        d->exit_code = EXIT_CODE_NONE;
    } else {
        d->result = rule->status;
        d->exit_code = rule->code + (rule->grace_minutes ? 0 : offset_of(c));
    }
    char words[640];
    snprintf(words, sizeof words, "Container %s cannot start: %.200s", fact_text(c->name), fact_text(c->reason));
    say(d, words, c->message);
}

static void fail_with(struct decision *d, enum status status, int64_t code, const char *words, const char *detail) {
    bool said = detail && *detail && strstr(buf_cstr(&d->message), detail);
    d->result = status;
    d->exit_code = code;
    say(d, words, said ? NULL : detail);
}

static void step_pod_reason(struct decision *d) {
    const struct pod_reason *known = find_pod_reason(d->pod->reason);
    if (known) {
        fail_with(d, known->status, known->code, known->words, d->pod->message);
        return;
    }
    const struct condition_facts *disrupted = find_condition(d->pod, "DisruptionTarget", "True");
    if (disrupted) {
        fail_with(d, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, "Pod was disrupted by the cluster",
                  *fact_text(disrupted->message) ? disrupted->message : disrupted->reason);
    }
}

/* A pod that waits for its place says why. */
static void step_unscheduled(struct decision *d) {
    const struct condition_facts *placed = find_condition(d->pod, "PodScheduled", "False");
    if (d->result == STATUS_SCHEDULING && placed && placed->reason && !d->message.len)
        say(d, is(placed->reason, "SchedulingGated") ? "Pod waits for its group" : "Pod cannot be scheduled",
            placed->message);
}

/* ---- entry points ---- */

static int read_phase(const pod_facts_t *pod, enum status *out, osmo_error_t *err) {
    const char *phase = fact_text(pod->phase);
    if (!*phase)
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

int pod_decide(const pod_facts_t *pod, int64_t now_us, osmo_pod_status_t *out, int64_t *recheck_us, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    out->exit_code = EXIT_CODE_NONE;
    *recheck_us = 0;
    struct decision d = { .pod = pod, .now_us = now_us, .exit_code = EXIT_CODE_NONE, .message = BUF_INIT(MESSAGE_MAX) };
    if (step_preempted(&d))
        return finish(&d, out, err);
    enum status phase = STATUS_NONE;
    int rc = read_phase(pod, &phase, err);
    if (rc < 0)
        return rc;
    if (phase == STATUS_NONE)
        return (out->message = str_dup("")) ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    d.result = phase;
    d.over = status_is_task_finished(phase);
    step_initializing(&d);
    step_terminated(&d);
    step_waiting(&d);
    step_pod_reason(&d);
    step_unscheduled(&d);
    out->monitor = phase == STATUS_SCHEDULING && !status_is_in_queue(d.result);
    *recheck_us = d.recheck_us;
    return finish(&d, out, err);
}

int osmo_pod_status(const char *pod_json, size_t len, int64_t now_us, osmo_pod_status_t *out, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    out->exit_code = EXIT_CODE_NONE;
    _cleanup_facts_ pod_facts_t *pod = NULL;
    int rc = pod_facts_read(pod_json, len, &pod, err);
    if (rc < 0)
        return rc;
    int64_t recheck_us;
    return pod_decide(pod, now_us, out, &recheck_us, err);
}

void osmo_pod_status_clear(osmo_pod_status_t *s) {
    free(s->message);
    memset(s, 0, sizeof *s);
}
