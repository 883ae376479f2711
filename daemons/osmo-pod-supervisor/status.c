/* The pod's status as Kubernetes shapes it, written for the driver: once while it runs, at every end of a container, and
 * durably when the pod is over. Used by main.c. */
#include "base/clock.h"
#include "base/file.h"
#include "supervisor.h"

static void set_time(json_t *o, const char *key, int64_t us)
{
    char text[TIME_TEXT_MAX];
    json_set_str(o, key, time_rfc3339(us - us % 1000000, text));
}

static json_t *state_of(const struct container *c)
{
    json_t *state = json_object(), *v = json_object();
    if (!state || !v)
        return json_free(state), v;
    if (c->state == RUN_WAITING) {
        json_set_str(v, "reason", c->wait_reason);
        json_set(state, "waiting", v);
    } else if (c->state == RUN_RUNNING) {
        set_time(v, "startedAt", c->started_us);
        json_set(state, "running", v);
    } else {
        json_set_int(v, "exitCode", c->exit_code);
        json_set_str(v, "reason", c->reason);
        if (c->message)
            json_set_str(v, "message", c->message);
        set_time(v, "startedAt", c->started_us);
        set_time(v, "finishedAt", c->finished_us);
        json_set(state, "terminated", v);
    }
    return state;
}

static json_t *container_status(const struct container *c)
{
    json_t *o = json_object();
    bool ready = c->init ? c->state == RUN_ENDED && c->exit_code == 0 : c->state == RUN_RUNNING;
    json_set_str(o, "name", c->name);
    json_set(o, "state", state_of(c));
    json_set(o, "lastState", json_object());
    json_set_bool(o, "ready", ready);
    json_set_bool(o, "started", c->state == RUN_RUNNING);
    json_set_int(o, "restartCount", 0);
    json_set_str(o, "image", c->image ? c->image : "");
    json_set_str(o, "imageID", "");
    return o;
}

static void add_condition(json_t *list, const char *type, bool on, const char *reason, int64_t us)
{
    json_t *o = json_object();
    json_set_str(o, "type", type);
    json_set_str(o, "status", on ? "True" : "False");
    if (!on && reason)
        json_set_str(o, "reason", reason);
    set_time(o, "lastTransitionTime", us);
    json_add(list, o);
}

static const char *phase_of(const struct supervisor *s, bool final)
{
    bool failed = s->reason != NULL;
    for (size_t i = 0; i < s->ncontainers; i++)
        failed |= s->containers[i].state != RUN_ENDED || s->containers[i].exit_code != 0;
    return final ? (failed ? "Failed" : "Succeeded") : s->initialized ? "Running" : "Pending";
}

int status_write(const struct supervisor *s, bool final, osmo_error_t *err)
{
    _cleanup_json_ json_t *st = s->base_status ? json_copy(s->base_status) : json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(4 * 1024 * 1024);
    json_t *inits = json_array(), *regular = json_array(), *old = json_get(st, "conditions");
    json_t *conditions = old ? json_copy(old) : json_array();
    bool ready = s->initialized && !final;
    int64_t now = clock_now_us();
    for (size_t i = 0; i < s->ncontainers; i++) {
        const struct container *c = &s->containers[i];
        ready = ready && (c->init || c->state == RUN_RUNNING);
        json_add(c->init ? inits : regular, container_status(c));
    }
    add_condition(conditions, "Initialized", s->initialized, "ContainersNotInitialized", s->initialized_us ? s->initialized_us : now);
    add_condition(conditions, "ContainersReady", ready, final ? "PodCompleted" : "ContainersNotReady", now);
    add_condition(conditions, "Ready", ready, final ? "PodCompleted" : "ContainersNotReady", now);
    json_set_str(st, "phase", phase_of(s, final));
    json_set(st, "conditions", conditions);
    if (json_len(inits))
        json_set(st, "initContainerStatuses", inits);
    else
        json_free(inits);
    json_set(st, "containerStatuses", regular);
    if (s->reason)
        json_set_str(st, "reason", s->reason);
    if (s->message)
        json_set_str(st, "message", s->message);
    int rc = json_print(st, 0, &text);
    if (rc < 0)
        return osmo_error_set(err, rc, "status of %s does not fit", s->pod_name);
    return file_write_atomic(s->status_path, text.data, text.len, 0600, final, err);
}
