/* Pod tracker; see pods.h. One small record per workflow pod remembers what was said about it, so that each status of a
 * task and retry goes out once, start timeouts are armed once and conditions are repeated only when they change. */
#include "operator/pods.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "model/status.h"
#include "operator/pod_decide.h"
#include "operator/pod_ids.h"
#include "operator/pod_table.h"

#define MAX_PODS (1u << 20)
#define GOING_US (60 * INT64_C(1000000)) /* after its deletionTimestamp a pod may take this long to go */

struct later { int64_t at_us; pod_facts_t *pod; }; /* while a grace period lasts */

struct pod_record {
    uint64_t conditions;       /* hash of those sent last; 0 = none */
    struct later *later;
    uint32_t said;             /* bit per status: acknowledged, or held by the outbox until it is */
    bool finished, monitored;
    uint16_t len;              /* of the ids */
    uint8_t ids[];             /* packed by pod_ids.h */
};

struct pods {
    char *backend, *namespace_;
    struct pods_out out;
    const logger_t *log;
    pod_table_t *records;      /* of struct pod_record * */
    size_t rechecks;
    int64_t next_us;           /* no recheck is due before; 0 = none at all */
};

static void free_later(struct later *l) {
    if (!l)
        return;
    pod_facts_free(l->pod);
    free(l);
}

static void free_record(struct pod_record *r) {
    if (!r)
        return;
    free_later(r->later);
    free(r);
}

pods_t *pods_new(const char *backend, const char *namespace_, const struct pods_out *out, const logger_t *log) {
    pods_t *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->backend = str_dup(backend);
    p->namespace_ = str_dup(namespace_);
    p->records = pod_table_new(sizeof(struct pod_record *));
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
    for (size_t i = 0; i < pod_table_count(p->records); i++)
        free_record(*(struct pod_record **)pod_table_at(p->records, i));
    pod_table_free(p->records);
    free(p->backend);
    free(p->namespace_);
    free(p);
}

size_t pods_count(const pods_t *p) { return pod_table_count(p->records); }

/* ---- whose a pod is ---- */

static bool is_here(const char *namespace_, const pod_facts_t *pod) {
    return pod->name && (!pod->namespace_ || strcmp(pod->namespace_, namespace_) == 0);
}

static bool is_ours(const pod_facts_t *pod) { return pod->labels[LABEL_TASK] && pod->labels[LABEL_WORKFLOW]; }

static struct pod_record *find_record(const pods_t *p, const pod_facts_t *pod) {
    struct pod_key key;
    struct pod_record **at = pod_key_of(pod, &key) ? pod_table_get(p->records, key) : NULL;
    return at ? *at : NULL;
}

static void forget(pods_t *p, const pod_facts_t *pod, struct pod_record *r) {
    struct pod_key key;
    if (pod_key_of(pod, &key))
        pod_table_remove(p->records, key);
    p->rechecks -= r->later != NULL;
    free_record(r);
}

static struct pod_record *add_record(pods_t *p, const pod_facts_t *pod, const uint8_t *ids, size_t len) {
    struct pod_key key;
    bool fits = pod_key_of(pod, &key) && pod_table_count(p->records) < MAX_PODS;
    struct pod_record *r = fits ? calloc(1, sizeof *r + len) : NULL;
    struct pod_record **at = r ? pod_table_add(p->records, key) : NULL;
    if (!at) {
        free(r);
        log_error(p->log, "pod %s is not tracked: out of room", pod->name);
        return NULL;
    }
    r->len = (uint16_t)len;
    memcpy(r->ids, ids, len);
    return *at = r;
}

/* The record of a pod with these ids; where there are no uids, the one of an earlier retry under the same name makes
 * room for it. */
static struct pod_record *record_of(pods_t *p, const pod_facts_t *pod) {
    uint8_t ids[POD_IDS_MAX];
    size_t len = pod_ids_pack(pod, ids);
    struct pod_record *r = find_record(p, pod);
    if (r && (r->len != len || memcmp(r->ids, ids, len) != 0)) {
        forget(p, pod, r);
        r = NULL;
    }
    return r ? r : add_record(p, pod, ids, len);
}

/* ---- messages ---- */

static json_t *start_body(const struct pod_ids *ids) {
    json_t *body = json_object();
    if (!body)
        return NULL;
    int rc = json_set_str(body, "workflow_uuid", ids->label[LABEL_WORKFLOW]);
    rc |= json_set_str(body, "task_uuid", ids->label[LABEL_TASK]);
    rc |= json_set_int(body, "retry_id", ids->retry);
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

/* The time of a condition is required on the wire, and Kubernetes leaves it out now and then. */
static const char *condition_time(const struct condition_facts *c, const pod_facts_t *pod) {
    const char *t = c->time ? c->time : pod->created;
    return t ? t : "1970-01-01T00:00:00Z";
}

static json_t *make_conditions(const pod_facts_t *pod) {
    json_t *out = json_array();
    for (size_t i = 0; out && i < pod->nconditions; i++) {
        const struct condition_facts *c = &pod->conditions[i];
        json_t *one = c->type && c->status ? json_object() : NULL;
        if (!one)
            continue;
        json_set_str(one, "reason", c->reason);
        json_set_str(one, "message", c->message);
        json_set_str(one, "timestamp", condition_time(c, pod));
        json_set_str(one, "status", c->status);
        json_set_str(one, "type", c->type);
        json_add(out, one);
    }
    return out;
}

static int set_conditions(json_t *body, const pod_facts_t *pod) {
    json_t *list = make_conditions(pod);
    return list ? json_set(body, "conditions", list) : OSMO_ENOMEM;
}

static const char *or_null(const char *s) { return s && *s ? s : NULL; }

static json_t *make_update(const pods_t *p, const struct pod_ids *ids, const pod_facts_t *pod,
    const osmo_pod_status_t *s) {
    json_t *body = start_body(ids);
    if (!body)
        return NULL;
    int rc = json_set_str(body, "container", fact_text(pod->container));
    rc |= json_set_str(body, "node", or_null(pod->node));
    rc |= json_set_str(body, "pod_ip", or_null(pod->ip));
    rc |= json_set_str(body, "message", s->message);
    rc |= json_set_str(body, "status", s->status);
    rc |= s->exit_code < 0 ? json_set(body, "exit_code", NULL) : json_set_int(body, "exit_code", s->exit_code);
    rc |= json_set_str(body, "backend", p->backend);
    rc |= set_conditions(body, pod);
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

/* Did the task end because somebody deleted the pod, as drains of nodes do, and not by itself? Its command was ended by a
 * signal then, or has not ended. */
static bool was_stopped(const pod_facts_t *pod, const osmo_pod_status_t *s) {
    const struct container_facts *task = pod->nmain ? &pod->main[0] : NULL;
    return pod->deleted && status_parse(s->status) == STATUS_FAILED &&
           (!task || task->state != CONTAINER_TERMINATED || task->exit_code == 128 + SIGTERM || task->exit_code == 128 + SIGKILL);
}

/* The cause is told instead of what followed from it. */
static void blame_deletion(const pod_facts_t *pod, osmo_pod_status_t *s) {
    char *cause = str_printf("the pod %s was deleted outside of OSMO, perhaps to drain its node\n%s", pod->name,
        fact_text(s->message));
    if (!cause)
        return;
    osmo_pod_status_clear(s);
    s->status = status_name(STATUS_FAILED_BACKEND_ERROR);
    s->exit_code = EXIT_BACKEND;
    s->message = cause;
}

static int describe_status(json_t *entry, const pod_facts_t *pod, int64_t now_us) {
    osmo_pod_status_t s;
    int64_t recheck_us;
    if (pod_decide(pod, now_us, &s, &recheck_us, NULL) < 0 || !s.status)
        return 0; /* it is there, and that is all there is to say */
    if (was_stopped(pod, &s)) /* what OSMO itself deleted has ended for the service already */
        blame_deletion(pod, &s);
    int rc = json_set_str(entry, "status", s.status);
    rc |= json_set_str(entry, "message", s.message);
    if (s.exit_code >= 0)
        rc |= json_set_int(entry, "exit_code", s.exit_code);
    osmo_pod_status_clear(&s);
    return rc;
}

int pods_describe(const char *namespace_, const pod_facts_t *pod, int64_t now_us, json_t **out) {
    *out = NULL;
    if (!is_here(namespace_, pod) || !is_ours(pod))
        return 0;
    struct pod_ids ids = pod_ids_of(pod);
    json_t *entry = start_body(&ids);
    int rc = entry ? json_set_str(entry, "group_uuid", ids.label[LABEL_GROUP]) : OSMO_ENOMEM;
    rc |= json_set_str(entry, "pod_name", pod->name);
    rc |= json_set_str(entry, "installation", pod->labels[LABEL_INSTALLATION]);
    rc |= json_set_str(entry, "node", or_null(pod->node));
    rc |= json_set_str(entry, "pod_ip", or_null(pod->ip));
    rc |= describe_status(entry, pod, now_us);
    if (rc) {
        json_free(entry);
        return OSMO_ENOMEM;
    }
    *out = entry;
    return 0;
}

static void send_update(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const pod_facts_t *pod,
    const osmo_pod_status_t *s) {
    enum status status = status_parse(s->status);
    uint32_t bit = UINT32_C(1) << status;
    if (r->said & bit)
        return;
    json_t *body = make_update(p, ids, pod, s);
    if (!body || !p->out.emit(p->out.ctx, MSG_UPDATE_POD, body)) {
        log_error(p->log, "status %s of pod %s could not be queued", s->status, pod->name);
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

/* 0 when there is none to tell of. */
static uint64_t hash_conditions(const pod_facts_t *pod) {
    uint64_t hash = 0;
    for (size_t i = 0; i < pod->nconditions; i++) {
        const struct condition_facts *c = &pod->conditions[i];
        const char *texts[] = { c->type, c->status, c->reason, c->message, condition_time(c, pod) };
        for (size_t t = 0; c->type && c->status && t < ARRAY_SIZE(texts); t++)
            hash = pod_ids_mix(hash, texts[t]);
    }
    return hash;
}

static void send_conditions(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const pod_facts_t *pod) {
    uint64_t hash = hash_conditions(pod);
    if (!hash || hash == r->conditions)
        return;
    json_t *body = start_body(ids);
    if (!body || set_conditions(body, pod) < 0) {
        json_free(body);
        return;
    }
    if (p->out.emit(p->out.ctx, MSG_POD_CONDITIONS, body))
        r->conditions = hash;
}

/* ---- changes ---- */

static void look_later(pods_t *p, struct pod_record *r, pod_facts_t *pod, int64_t at_us) {
    struct later *l = at_us ? calloc(1, sizeof *l) : NULL;
    if (l)
        *l = (struct later){ .at_us = at_us, .pod = pod_facts_ref(pod) };
    p->rechecks = p->rechecks - (r->later != NULL) + (l != NULL);
    free_later(r->later);
    r->later = l;
    if (l && (!p->next_us || at_us < p->next_us))
        p->next_us = at_us;
}

static bool is_cleaned(const pods_t *p, const struct pod_ids *ids) {
    _cleanup_json_ json_t *labels = json_object();
    int rc = 0;
    for (int i = 0; labels && i < LABEL_KEPT; i++)
        rc |= ids->label[i] ? json_set_str(labels, label_names[i], ids->label[i]) : 0;
    return labels && rc == 0 && p->out.cleaning(p->out.ctx, labels);
}

/* A pod without a last word: the task is told why nothing will come of it. */
static void say_gone(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const pod_facts_t *pod,
    const char *how) {
    struct pod_record unknown = { 0 };
    if (is_cleaned(p, ids))
        return;
    char cause[640];
    snprintf(cause, sizeof cause, "the pod %s %s cluster %s: it was deleted outside of OSMO", pod->name, how, p->backend);
    osmo_pod_status_t gone = { .status = status_name(STATUS_FAILED_BACKEND_ERROR), .exit_code = EXIT_BACKEND,
        .message = cause };
    send_update(p, r ? r : &unknown, ids, pod, &gone);
}

/* Somebody deleted the pod, and our finalizer keeps it: where no kubelet ends it (it had no node, or that one is lost),
 * nothing would ever be told. Returns when to look at it again, 0 = not. */
static int64_t check_going(pods_t *p, struct pod_record *r, const struct pod_ids *ids, const pod_facts_t *pod,
    int64_t now_us) {
    int64_t deleted_us;
    if (r->finished || !pod->deleted || !time_parse(pod->deleted, &deleted_us))
        return 0;
    if (now_us < deleted_us + GOING_US)
        return deleted_us + GOING_US;
    say_gone(p, r, ids, pod, "does not end in");
    return 0;
}

static int64_t earlier(int64_t a, int64_t b) { return !a || (b && b < a) ? b : a; }

void pods_apply(pods_t *p, pod_facts_t *pod, int64_t now_us) {
    if (!is_here(p->namespace_, pod) || !is_ours(pod))
        return;
    osmo_pod_status_t s;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t recheck_us;
    if (pod_decide(pod, now_us, &s, &recheck_us, &err) < 0) {
        log_warning(p->log, "pod %s: %s", pod->name, err.text);
        return;
    }
    struct pod_record *r = s.status ? record_of(p, pod) : NULL;
    if (r) {
        struct pod_ids ids = pod_ids_of(pod);
        if (s.monitor)
            send_monitor(p, r, &ids, s.message);
        send_conditions(p, r, &ids, pod);
        if (was_stopped(pod, &s) && !is_cleaned(p, &ids))
            blame_deletion(pod, &s);
        send_update(p, r, &ids, pod, &s);
        look_later(p, r, pod, earlier(recheck_us, check_going(p, r, &ids, pod, now_us)));
    }
    osmo_pod_status_clear(&s);
}

/* Without uids: has the next retry taken the name? */
static bool has_successor(const struct pod_record *r, const pod_facts_t *pod) {
    uint8_t ids[POD_IDS_MAX];
    size_t len = pod_ids_pack(pod, ids);
    return r && is_ours(pod) && (r->len != len || memcmp(r->ids, ids, len) != 0);
}

void pods_remove(pods_t *p, pod_facts_t *pod, int64_t now_us) {
    if (!is_here(p->namespace_, pod) || has_successor(find_record(p, pod), pod))
        return;
    if (pod->phase)
        pods_apply(p, pod, now_us); /* its last state may be the terminal one */
    struct pod_record *r = find_record(p, pod);
    if (!r && !is_ours(pod))
        return;
    if (!r || !r->finished) {
        struct pod_unpacked unpacked;
        struct pod_ids ids = is_ours(pod) ? pod_ids_of(pod) : pod_ids_unpack(r->ids, r->len, &unpacked);
        say_gone(p, r, &ids, pod, "is gone from");
    }
    if (r)
        forget(p, pod, r);
}

int64_t pods_recheck(pods_t *p, int64_t now_us) {
    int64_t next = 0;
    for (size_t i = 0; p->rechecks && i < pod_table_count(p->records); i++) {
        const struct pod_record *r = *(struct pod_record **)pod_table_at(p->records, i);
        if (r->later && r->later->at_us <= now_us) {
            _cleanup_facts_ pod_facts_t *pod = pod_facts_ref(r->later->pod);
            pods_apply(p, pod, now_us); /* the same ids, so the record stays */
        }
        if (r->later && r->later->at_us > now_us && (!next || r->later->at_us < next))
            next = r->later->at_us;
    }
    p->next_us = next;
    return next;
}

int64_t pods_next_recheck(const pods_t *p) { return p->rechecks ? p->next_us : 0; }
