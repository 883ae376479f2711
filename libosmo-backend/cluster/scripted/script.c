/* Reading scripts and making pod states; see script.h. */
#include "cluster/scripted/script.h"
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "base/yaml.h"

#define RULES_MAX 10000u
#define SCRIPT_BYTES_MAX (4u << 20)

static const char *const event_names[] = {"", "image_pull_error", "evict", "node_loss", "preempt", "oom", "start_error",
                                          "delete", "unschedulable"};

void script_free(struct script *s) {
    for (size_t i = 0; i < s->len; i++) {
        free(s->rules[i].pattern);
        free(s->rules[i].message);
        free(s->rules[i].node);
        free(s->rules[i].log);
    }
    free(s->rules);
    memset(s, 0, sizeof *s);
}

static int bad(osmo_error_t *err, const char *pattern, const char *key, const char *what) {
    return osmo_error_set(err, OSMO_EINVAL, "script: %s of task %s must be %s", key, pattern, what);
}

static int read_event(const char *name, enum script_event *out) {
    for (size_t i = 1; name && i < ARRAY_SIZE(event_names); i++) {
        if (strcmp(event_names[i], name) == 0) {
            *out = (enum script_event)i;
            return 0;
        }
    }
    return -1;
}

static int read_number(const json_t *v, int64_t max, int64_t *out) {
    *out = json_as_int(v, -1);
    return json_kind(v) == JSON_INT && *out >= 0 && *out <= max ? 0 : -1;
}

static int read_text(const json_t *v, char **out) {
    free(*out);
    *out = str_dup(json_str(v));
    return *out ? 0 : -1;
}

static int read_key(struct script_rule *r, const char *key, const json_t *v, osmo_error_t *err) {
    if (strcmp(key, "duration_ms") == 0)
        return read_number(v, INT32_MAX, &r->duration_ms) ? bad(err, r->pattern, key, "a number of milliseconds") : 0;
    if (strcmp(key, "exit_code") == 0)
        return read_number(v, 255, &r->exit_code) ? bad(err, r->pattern, key, "a number from 0 to 255") : 0;
    if (strcmp(key, "retry") == 0)
        return read_number(v, INT32_MAX, &r->retry) ? bad(err, r->pattern, key, "a retry number") : 0;
    if (strcmp(key, "message") == 0)
        return read_text(v, &r->message) ? bad(err, r->pattern, key, "a text") : 0;
    if (strcmp(key, "node") == 0)
        return read_text(v, &r->node) ? bad(err, r->pattern, key, "a node name") : 0;
    if (strcmp(key, "log") == 0)
        return read_text(v, &r->log) ? bad(err, r->pattern, key, "a text") : 0;
    if (strcmp(key, "event") == 0)
        return read_event(json_str(v), &r->event) ? bad(err, r->pattern, key, "image_pull_error, evict, node_loss, preempt, "
                                                        "oom, start_error, delete or unschedulable") : 0;
    return osmo_error_set(err, OSMO_EINVAL, "script: task %s has the unknown key %s: use duration_ms, exit_code, message, node, "
                          "log, event or retry", r->pattern, key);
}

static int read_rules(const json_t *tasks, struct script *out, osmo_error_t *err) {
    if (json_kind(tasks) != JSON_OBJECT || json_len(tasks) > RULES_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "script: tasks must map at most %u task patterns to settings", RULES_MAX);
    out->rules = calloc(json_len(tasks) + 1, sizeof *out->rules);
    if (!out->rules)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    json_iter_t it = json_iter(tasks);
    while (json_iter_next(&it)) {
        struct script_rule *r = &out->rules[out->len++];
        *r = (struct script_rule){ .pattern = str_dup(it.key), .retry = -1 };
        if (!r->pattern)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        if (json_kind(it.value) != JSON_OBJECT && json_kind(it.value) != JSON_NULL)
            return bad(err, r->pattern, "value", "a mapping");
        json_iter_t k = json_iter(it.value);
        while (json_kind(it.value) == JSON_OBJECT && json_iter_next(&k)) {
            int rc = read_key(r, k.key, k.value, err);
            if (rc < 0)
                return rc;
        }
    }
    return OSMO_OK;
}

int script_load(const char *path, struct script *out, osmo_error_t *err) {
    memset(out, 0, sizeof *out);
    if (!path)
        return OSMO_OK;
    _cleanup_buf_ buf_t text = BUF_INIT(SCRIPT_BYTES_MAX);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    _cleanup_json_ json_t *v = NULL;
    const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    int rc = file_read(path, &text, err);
    if (rc == 0)
        rc = yaml_parse(buf_cstr(&text), text.len, &limits, &doc, err);
    if (rc == 0)
        rc = yaml_to_json(doc, &v, err);
    if (rc < 0)
        return osmo_error_prefix(err, "script %s", path);
    if (json_has(v, "tasks"))
        rc = read_rules(json_get(v, "tasks"), out, err);
    else if (json_kind(v) != JSON_NULL)
        rc = osmo_error_set(err, OSMO_EINVAL, "script %s: the top level must have the key tasks", path);
    if (rc < 0)
        script_free(out);
    return rc;
}

const struct script_rule *script_find(const struct script *s, const json_t *pod) {
    static const struct script_rule fallback = { .retry = -1 };
    const json_t *meta = json_get(pod, "metadata"), *labels = json_get(meta, "labels");
    const char *task = json_get_str(labels, "osmo.task_name"), *name = json_get_str(meta, "name");
    const char *text = json_get_str(labels, "osmo.retry_id");
    int64_t retry = 0;
    if (text)
        str_to_i64(text, &retry);
    for (size_t i = 0; i < s->len; i++) {
        const struct script_rule *r = &s->rules[i];
        if (r->retry >= 0 && r->retry != retry)
            continue;
        if ((task && fnmatch(r->pattern, task, 0) == 0) || (name && fnmatch(r->pattern, name, 0) == 0))
            return r;
    }
    return &fallback;
}

/* ---- states ---- */

static void add_condition(json_t *list, const char *type, bool state, const char *reason, const char *message, const char *now) {
    json_t *c = json_object();
    if (!c)
        return;
    json_set_str(c, "type", type);
    json_set_str(c, "status", state ? "True" : "False");
    if (reason)
        json_set_str(c, "reason", reason);
    if (message)
        json_set_str(c, "message", message);
    json_set_str(c, "lastTransitionTime", now);
    json_add(list, c);
}

static json_t *make_conditions(const struct script_rule *rule, enum pod_phase phase, const char *now) {
    json_t *list = json_array();
    if (!list)
        return NULL;
    if (rule->event == EVENT_UNSCHEDULABLE) {
        add_condition(list, "PodScheduled", false, "Unschedulable", rule->message ? rule->message : "no node fits", now);
        return list;
    }
    if (phase == POD_PENDING)
        return list;
    add_condition(list, "PodScheduled", true, NULL, NULL, now);
    add_condition(list, "Initialized", phase != POD_INITIALIZING, NULL, NULL, now);
    add_condition(list, "Ready", phase == POD_RUNNING, NULL, NULL, now);
    if (phase == POD_ENDED && rule->event == EVENT_PREEMPT)
        add_condition(list, "DisruptionTarget", true, "PreemptionByScheduler", rule->message, now);
    if (phase == POD_ENDED && rule->event == EVENT_NODE_LOSS)
        add_condition(list, "DisruptionTarget", true, "DeletionByTaintManager", rule->message ? rule->message : "node lost", now);
    return list;
}

static bool is_failure(const struct script_rule *r) { return r->exit_code != 0 || r->event != EVENT_NONE; }

static json_t *waiting(const char *reason, const char *message) {
    json_t *w = json_object(), *state = json_object();
    if (w && state) {
        json_set_str(w, "reason", reason);
        if (message)
            json_set_str(w, "message", message);
        json_set(state, "waiting", w);
        return state;
    }
    json_free(w);
    return state;
}

static json_t *terminated(const struct script_rule *rule, bool user, const char *now) {
    json_t *t = json_object(), *state = json_object();
    int64_t code = !user ? 0 : rule->event == EVENT_OOM ? 137 : rule->exit_code;
    if (!t || !state) {
        json_free(t);
        return state;
    }
    json_set_int(t, "exitCode", code);
    json_set_str(t, "reason", user && rule->event == EVENT_OOM ? "OOMKilled" : code ? "Error" : "Completed");
    if (code && rule->message)
        json_set_str(t, "message", rule->message);
    json_set_str(t, "finishedAt", now);
    json_set(state, "terminated", t);
    return state;
}

static json_t *running(const char *now) {
    json_t *r = json_object(), *state = json_object();
    if (r)
        json_set_str(r, "startedAt", now);
    if (state)
        json_set(state, "running", r);
    else
        json_free(r);
    return state;
}

static json_t *container_state(const struct script_rule *rule, enum pod_phase phase, bool init, bool user, const char *now) {
    if (phase == POD_INITIALIZING) {
        bool pull = rule->event == EVENT_IMAGE_PULL_ERROR && user;
        return waiting(pull ? "ErrImagePull" : "PodInitializing", pull ? rule->message : NULL);
    }
    if (init)
        return terminated(rule, false, now);
    return phase == POD_RUNNING ? running(now) : terminated(rule, user, now);
}

static json_t *container_states(const json_t *containers, const struct script_rule *rule, enum pod_phase phase, bool init,
                                const char *now) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_len(containers); i++) {
        const char *name = json_get_str(json_at(containers, i), "name");
        json_t *one = json_object();
        if (!one)
            break;
        json_set_str(one, "name", name ? name : "");
        json_set(one, "state", container_state(rule, phase, init, !init && i == 0, now));
        json_set_bool(one, "ready", phase == POD_RUNNING && !init);
        json_set_int(one, "restartCount", 0);
        json_add(list, one);
    }
    return list;
}

static void set_end(json_t *status, const struct script_rule *rule) {
    json_set_str(status, "phase", is_failure(rule) ? "Failed" : "Succeeded");
    if (rule->event == EVENT_EVICT || rule->event == EVENT_START_ERROR) {
        json_set_str(status, "reason", rule->event == EVENT_EVICT ? "Evicted" : "StartError");
        json_set_str(status, "message", rule->message ? rule->message : "as the script says");
    }
}

int script_pod_status(json_t *pod, const struct script_rule *rule, enum pod_phase phase, const char *now) {
    json_t *status = json_object(), *spec = json_get(pod, "spec");
    if (!status)
        return OSMO_ENOMEM;
    json_set(status, "conditions", make_conditions(rule, phase, now));
    json_set_str(status, "phase", phase == POD_RUNNING ? "Running" : "Pending");
    if (phase == POD_ENDED)
        set_end(status, rule);
    if (phase != POD_PENDING) {
        json_set_str(spec, "nodeName", rule->node ? rule->node : SCRIPT_NODE);
        json_set_str(status, "podIP", "127.0.0.1");
        json_set_str(status, "startTime", now);
        json_set(status, "initContainerStatuses", container_states(json_get(spec, "initContainers"), rule, phase, true, now));
        json_set(status, "containerStatuses", container_states(json_get(spec, "containers"), rule, phase, false, now));
    }
    return json_set(pod, "status", status);
}

/* Room for everything: a script is about what happens to pods, not about where they fit. */
json_t *script_node(const char *name) {
    _cleanup_buf_ buf_t text = BUF_INIT(8192);
    json_t *node = NULL;
    buf_puts(&text, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"labels\":{\"kubernetes.io/arch\":\"amd64\",");
    buf_puts(&text, "\"kubernetes.io/os\":\"linux\"}},\"spec\":{},\"status\":{\"allocatable\":{\"cpu\":\"100000\",");
    buf_puts(&text, "\"memory\":\"1000000000Ki\",\"ephemeral-storage\":\"1000000000Ki\",\"nvidia.com/gpu\":\"10000\",");
    buf_puts(&text, "\"pods\":\"100000\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    if (buf_failed(&text) || json_parse(text.data, text.len, &node, NULL) < 0)
        return NULL;
    json_set_str(json_get(node, "metadata"), "name", name);
    json_set_str(json_path(node, "metadata", "labels", NULL), "kubernetes.io/hostname", name);
    return node;
}
