/* Pod tracker; see pods.h. One small record per workflow pod remembers what was said about it, so that each status of a task
 * and retry goes out once, start timeouts are armed once and conditions are repeated only when they change. */
#include "operator/pods.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "model/status.h"
#include "operator/pod_decide.h"

#define MAX_PODS (1u << 20)

struct pod_record {
    char task[40];
    int64_t retry;
    unsigned said;             /* bit per status: acknowledged, or held by the outbox until it is */
    bool finished, monitored;
    uint64_t conditions;       /* hash of those sent last; 0 = none */
    int64_t recheck_us;
    char *json;                /* kept only while recheck_us is set */
};

struct pods {
    char *backend, *namespace_;
    struct pods_out out;
    const logger_t *log;
    map_t *records;            /* pod name → struct pod_record */
    size_t rechecks;
};

static void free_record(void *v) {
    struct pod_record *r = v;
    free(r->json);
    free(r);
}

pods_t *pods_new(const char *backend, const char *namespace_, const struct pods_out *out, const logger_t *log) {
    pods_t *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->backend = str_dup(backend);
    p->namespace_ = str_dup(namespace_);
    p->records = map_new(free_record);
    p->out = *out;
    p->log = log;
    if (!p->backend || !p->namespace_ || !p->records) {
        pods_free(p);
        return NULL;
    }
    return p;
}

void pods_free(pods_t *p) {
    if (!p)
        return;
    map_free(p->records);
    free(p->backend);
    free(p->namespace_);
    free(p);
}

/* ---- who a pod belongs to ---- */

struct pod_ids { const char *name, *task, *workflow, *group; int64_t retry; const json_t *labels; };

static bool read_ids(const char *namespace_, const json_t *pod, struct pod_ids *out) {
    const json_t *meta = json_get(pod, "metadata");
    const char *ns = json_get_str(meta, "namespace");
    out->labels = json_get(meta, "labels");
    out->name = json_get_str(meta, "name");
    out->task = json_get_str(out->labels, "osmo.task_uuid");
    out->workflow = json_get_str(out->labels, "osmo.workflow_uuid");
    out->group = json_get_str(out->labels, "osmo.group_uuid");
    const char *retry = json_get_str(out->labels, "osmo.retry_id");
    if (!retry || !str_to_i64(retry, &out->retry))
        out->retry = 0;
    return out->name && out->task && out->workflow && strlen(out->task) < sizeof ((struct pod_record *)0)->task &&
           (!ns || strcmp(ns, namespace_) == 0);
}

static struct pod_record *record_of(pods_t *p, const struct pod_ids *ids) {
    struct pod_record *r = map_get(p->records, ids->name);
    if (r && (r->retry != ids->retry || strcmp(r->task, ids->task) != 0)) {
        p->rechecks -= r->recheck_us != 0;
        map_remove(p->records, ids->name); /* same name, next retry */
        r = NULL;
    }
    if (r)
        return r;
    r = map_len(p->records) < MAX_PODS ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        log_error(p->log, "pod %s is not tracked: out of room", ids->name);
        return NULL;
    }
    snprintf(r->task, sizeof r->task, "%s", ids->task);
    r->retry = ids->retry;
    return map_set(p->records, ids->name, r) == 0 ? r : NULL;
}

/* ---- messages ---- */

static json_t *start_body(const struct pod_ids *ids) {
    json_t *body = json_object();
    if (!body)
        return NULL;
    int rc = json_set_str(body, "workflow_uuid", ids->workflow);
    rc |= json_set_str(body, "task_uuid", ids->task);
    rc |= json_set_int(body, "retry_id", ids->retry);
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

/* The time of a condition is required on the wire, and Kubernetes leaves it out now and then. */
static const char *condition_time(const json_t *condition, const json_t *pod) {
    const char *t = json_get_str(condition, "lastTransitionTime");
    if (!t)
        t = json_get_str(condition, "lastProbeTime");
    if (!t)
        t = json_get_str(json_get(pod, "metadata"), "creationTimestamp");
    return t ? t : "1970-01-01T00:00:00Z";
}

static json_t *make_conditions(const json_t *pod) {
    const json_t *list = json_path(pod, "status", "conditions", NULL);
    json_t *out = json_array();
    for (size_t i = 0; out && i < json_len(list); i++) {
        const json_t *c = json_at(list, i);
        json_t *one = json_get_str(c, "type") && json_get_str(c, "status") ? json_object() : NULL;
        if (!one)
            continue;
        json_set_str(one, "reason", json_get_str(c, "reason"));
        json_set_str(one, "message", json_get_str(c, "message"));
        json_set_str(one, "timestamp", condition_time(c, pod));
        json_set_str(one, "status", json_get_str(c, "status"));
        json_set_str(one, "type", json_get_str(c, "type"));
        json_add(out, one);
    }
    return out;
}

static const char *first_container(const json_t *pod) {
    const char *name = json_get_str(json_at(json_path(pod, "spec", "containers", NULL), 0), "name");
    return name ? name : "";
}

static const char *or_null(const char *s) { return s && *s ? s : NULL; }

static json_t *make_update(const pods_t *p, const struct pod_ids *ids, const json_t *pod, const osmo_pod_status_t *s) {
    json_t *body = start_body(ids);
    if (!body)
        return NULL;
    int rc = json_set_str(body, "container", first_container(pod));
    rc |= json_set_str(body, "node", or_null(json_get_str(json_get(pod, "spec"), "nodeName")));
    rc |= json_set_str(body, "pod_ip", or_null(json_get_str(json_get(pod, "status"), "podIP")));
    rc |= json_set_str(body, "message", s->message);
    rc |= json_set_str(body, "status", s->status);
    rc |= s->exit_code < 0 ? json_set(body, "exit_code", NULL) : json_set_int(body, "exit_code", s->exit_code);
    rc |= json_set_str(body, "backend", p->backend);
    rc |= json_set(body, "conditions", make_conditions(pod));
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

static int describe_status(json_t *entry, const json_t *pod, int64_t now_us) {
    osmo_pod_status_t s;
    int64_t recheck_us;
    if (pod_decide(pod, now_us, &s, &recheck_us, NULL) < 0 || !s.status)
        return 0; /* it is there, and that is all there is to say */
    int rc = json_set_str(entry, "status", s.status);
    rc |= json_set_str(entry, "message", s.message);
    if (s.exit_code >= 0)
        rc |= json_set_int(entry, "exit_code", s.exit_code);
    osmo_pod_status_clear(&s);
    return rc;
}

int pods_describe(const char *namespace_, const json_t *pod, int64_t now_us, json_t **out) {
    struct pod_ids ids;
    *out = NULL;
    if (!read_ids(namespace_, pod, &ids))
        return 0;
    json_t *entry = start_body(&ids);
    int rc = entry ? json_set_str(entry, "group_uuid", ids.group) : OSMO_ENOMEM;
    rc |= json_set_str(entry, "pod_name", ids.name);
    rc |= json_set_str(entry, "installation", json_get_str(ids.labels, "osmo.installation"));
    rc |= json_set_str(entry, "node", or_null(json_get_str(json_get(pod, "spec"), "nodeName")));
    rc |= json_set_str(entry, "pod_ip", or_null(json_get_str(json_get(pod, "status"), "podIP")));
    rc |= describe_status(entry, pod, now_us);
    if (rc) {
        json_free(entry);
        return OSMO_ENOMEM;
    }
    *out = entry;
    return 0;
}

static void send_update(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const json_t *pod,
                        const osmo_pod_status_t *s) {
    enum status status = status_parse(s->status);
    unsigned bit = 1u << status;
    if (r->said & bit)
        return;
    json_t *body = make_update(p, ids, pod, s);
    if (!body || !p->out.emit(p->out.ctx, MSG_UPDATE_POD, body)) {
        log_error(p->log, "status %s of pod %s could not be queued", s->status, ids->name);
        return;
    }
    r->said |= bit;
    r->finished = r->finished || status_is_task_finished(status);
}

static void send_monitor(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const char *message) {
    if (r->monitored)
        return;
    json_t *body = start_body(ids);
    if (!body || json_set_str(body, "message", message) < 0) {
        json_free(body);
        return;
    }
    r->monitored = p->out.emit(p->out.ctx, MSG_MONITOR_POD, body);
}

static uint64_t hash_text(const char *s) {
    uint64_t h = 14695981039346656037u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h ? h : 1;
}

static void send_conditions(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const json_t *pod) {
    _cleanup_json_ json_t *conditions = make_conditions(pod);
    if (!json_len(conditions))
        return;
    _cleanup_free_ char *text = json_to_text(conditions);
    uint64_t hash = text ? hash_text(text) : 0;
    if (!text || hash == r->conditions)
        return;
    json_t *body = start_body(ids);
    if (!body || json_set(body, "conditions", STEAL(conditions)) < 0) {
        json_free(body);
        return;
    }
    if (p->out.emit(p->out.ctx, MSG_POD_CONDITIONS, body))
        r->conditions = hash;
}

/* ---- changes ---- */

static void keep_for_recheck(pods_t *p, struct pod_record *r, const json_t *pod, int64_t recheck_us) {
    p->rechecks -= r->recheck_us != 0;
    free(r->json);
    r->json = recheck_us ? json_to_text(pod) : NULL;
    r->recheck_us = r->json ? recheck_us : 0;
    p->rechecks += r->recheck_us != 0;
}

void pods_apply(pods_t *p, const json_t *pod, int64_t now_us) {
    struct pod_ids ids;
    if (!read_ids(p->namespace_, pod, &ids))
        return;
    osmo_pod_status_t s;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t recheck_us;
    if (pod_decide(pod, now_us, &s, &recheck_us, &err) < 0) {
        log_warning(p->log, "pod %s: %s", ids.name, err.text);
        return;
    }
    struct pod_record *r = s.status ? record_of(p, &ids) : NULL;
    if (r) {
        if (s.monitor)
            send_monitor(p, r, &ids, s.message);
        send_conditions(p, r, &ids, pod);
        send_update(p, r, &ids, pod, &s);
        keep_for_recheck(p, r, pod, recheck_us);
    }
    osmo_pod_status_clear(&s);
}

void pods_remove(pods_t *p, const json_t *pod, int64_t now_us) {
    struct pod_ids ids;
    if (!read_ids(p->namespace_, pod, &ids))
        return;
    pods_apply(p, pod, now_us); /* its last state may be the terminal one */
    struct pod_record *r = map_get(p->records, ids.name);
    if (r && (r->retry != ids.retry || strcmp(r->task, ids.task) != 0))
        return; /* the successor is here already */
    if (!(r && r->finished) && !p->out.cleaning(p->out.ctx, ids.labels)) {
        struct pod_record unknown = { .retry = ids.retry };
        _cleanup_free_ char *cause = str_printf("the pod %s is gone from cluster %s: it was deleted outside of OSMO", ids.name, p->backend);
        osmo_pod_status_t gone = { .status = status_name(STATUS_FAILED_BACKEND_ERROR), .exit_code = EXIT_BACKEND, .message = cause };
        send_update(p, r ? r : &unknown, &ids, pod, &gone);
    }
    if (r) {
        p->rechecks -= r->recheck_us != 0;
        map_remove(p->records, ids.name);
    }
}

int64_t pods_recheck(pods_t *p, int64_t now_us) {
    int64_t next = 0;
    size_t it = 0;
    const char *name;
    void *value;
    while (p->rechecks && map_next(p->records, &it, &name, &value)) {
        struct pod_record *r = value;
        if (r->recheck_us && r->recheck_us <= now_us) {
            _cleanup_json_ json_t *pod = NULL;
            if (json_parse(r->json, strlen(r->json), &pod, NULL) == 0)
                pods_apply(p, pod, now_us);
        }
        if (r->recheck_us > now_us && (!next || r->recheck_us < next))
            next = r->recheck_us;
    }
    return next;
}
