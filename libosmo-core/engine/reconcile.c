/* Snapshots of clusters: each pod of one is compared with what is known of it, and, when the last has come, what ought to be there with
 * what was. Everything that follows is an event of its workflow like any other, so a snapshot may come twice or break off. What is
 * decided is in model/reconcile.c. */
#include "engine/reconcile.h"

#include <string.h>

#include "base/crypto.h"
#include "model/pods.h"
#include "model/reconcile.h"
#include "store/repo_reconcile.h"

#define KV_INSTALLATION "installation"
#define EVENTS_OPEN_MAX 256 /* events of a snapshot on their way to the store */
#define PLACEMENTS_PER_TURN 256
#define SETTLED_US (60LL * 1000 * 1000) /* lists that nobody asked for may be this old */

/* ---- whose pods they are ---- */

static int installation_run(db_t *db, void *ctx, osmo_error_t *err) {
    char fresh[33], **out = ctx;
    free(*out);
    *out = NULL;
    if (crypto_random_hex32(fresh) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    int rc = repo_kv_set_if_absent(db, KV_INSTALLATION, fresh, err);
    return rc < 0 ? rc : repo_kv_get(db, KV_INSTALLATION, out, err);
}

int reconcile_open(engine_t *e, osmo_error_t *err) {
    _cleanup_free_ char *id = NULL;
    int rc = store_write(e->store, NULL, installation_run, &id, err);
    snprintf(e->agents->installation, sizeof e->agents->installation, "%s", id ? id : "");
    return rc;
}

static enum pod_owner owner_of(const engine_t *e, const char *mark) {
    return !mark || !*mark ? POD_OWNER_UNMARKED : str_eq(mark, e->agents->installation) ? POD_OWNER_US : POD_OWNER_OTHER;
}

/* ---- one message: acknowledged when all that follows from it is stored ---- */

struct sweep {
    struct agent_session *s;
    struct ticket *ticket;
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t open; /* events, and 1 for the one who posts them */
    int rc;
    osmo_error_t err;
};

static struct sweep *sweep_new(struct agent_session *s, struct ticket *t) {
    struct sweep *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->s = s;
    w->ticket = t;
    w->open = 1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->room, NULL);
    return w;
}

/* engine_done_fn */
static void sweep_step(void *ctx, int rc, const osmo_error_t *err) {
    struct sweep *w = ctx;
    pthread_mutex_lock(&w->lock);
    if (rc < 0 && w->rc >= 0) {
        w->rc = rc;
        osmo_error_set(&w->err, rc, "%s", err && *err->text ? err->text : "the store does not accept more work");
    }
    bool last = --w->open == 0;
    pthread_cond_signal(&w->room);
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    ticket_done(w->ticket, w->rc, &w->err);
    pthread_cond_destroy(&w->room);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* Before each event: not more of them than the store likes. Commits do not wait for this thread. */
static void sweep_event(struct sweep *w) {
    pthread_mutex_lock(&w->lock);
    while (w->open > EVENTS_OPEN_MAX)
        pthread_cond_wait(&w->room, &w->lock);
    w->open++;
    pthread_mutex_unlock(&w->lock);
}

static void sweep_report(struct sweep *w, struct task_event *ev) {
    sweep_event(w);
    int rc = reactor_backend_event(w->s->e, w->s->backend, ev, sweep_step, w);
    if (rc < 0)
        sweep_step(w, rc, NULL);
}

/* ---- what is found ---- */

struct found {
    const char *workflow, *group, *task, *pod;
    const json_t *json;
    int64_t retry_id;
};

static bool is_uuid(const char *text) {
    for (size_t i = 0; text && i < 32; i++)
        if (!strchr("0123456789abcdef", text[i]) || !text[i])
            return false;
    return text && !text[32];
}

static bool read_found(const json_t *json, struct found *out) {
    *out = (struct found){ .workflow = json_get_str(json, "workflow_uuid"), .group = json_get_str(json, "group_uuid"),
                           .task = json_get_str(json, "task_uuid"), .pod = json_get_str(json, "pod_name"), .json = json,
                           .retry_id = json_get_int(json, "retry_id", -1) };
    return is_uuid(out->workflow) && is_uuid(out->group) && is_uuid(out->task) && out->retry_id >= 0;
}

static void report_found(struct sweep *w, const struct found *f) {
    struct task_event ev = { .retry_id = f->retry_id, .status = status_parse(json_get_str(f->json, "status")),
                             .exit_code = json_get_int(f->json, "exit_code", EXIT_CODE_NONE) };
    memcpy(ev.workflow_uuid, f->workflow, sizeof ev.workflow_uuid);
    memcpy(ev.task_uuid, f->task, sizeof ev.task_uuid);
    ev.message = str_dup(json_get_str(f->json, "message"));
    ev.node = str_dup(json_get_str(f->json, "node"));
    ev.pod_ip = str_dup(json_get_str(f->json, "pod_ip"));
    w->s->found.reported++;
    sweep_report(w, &ev);
}

/* A group that has ended and of which something is there: its cleanup is owed, again where it was believed to be done. */
static int decide_clean(struct txn *x, void *arg) {
    const char *group_uuid = arg;
    struct group_row g = { 0 };
    int rc = repo_group_state(x->db, group_uuid, &g, x->err);
    if (rc >= 0 && status_is_group_finished(g.sm.status)) {
        if (g.cleaned_up)
            log_info(&x->e->log, "pods of group %s of workflow %s are left in backend %s: it is cleaned up again", g.name, x->wf.id,
                     x->wf.backend);
        x->fx->wake |= WAKE_WORK;
        rc = repo_work_add(x->db, WORK_CLEANUP, g.uuid, x->wf.uuid, x->wf.backend, 5, "{}", x->now, x->err);
    }
    group_row_clear(&g);
    return gone_is_fine(rc);
}

static void clean_found(struct sweep *w, const struct found *f) {
    struct agent_session *s = w->s;
    if (str_eq(s->found.cleaned, f->group)) /* pods of one group mostly come together */
        return;
    snprintf(s->found.cleaned, sizeof s->found.cleaned, "%s", f->group);
    char *group = str_dup(f->group);
    sweep_event(w);
    int rc = group ? reactor_post(s->e, f->workflow, decide_clean, group, free, sweep_step, w) : OSMO_ENOMEM;
    if (rc < 0)
        sweep_step(w, rc, NULL);
}

struct orphan {
    struct sweep *w;
    char *key, *payload;
    char workflow_uuid[33];
};

static int orphan_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct orphan *o = ctx;
    const struct agent_session *s = o->w->s;
    return repo_work_add(db, WORK_ORPHAN, o->key, o->workflow_uuid, s->backend, 5, o->payload, engine_now(s->e), err);
}

static void orphan_posted(void *ctx, int rc, const osmo_error_t *err) {
    struct orphan *o = ctx;
    if (rc >= 0)
        engine_wake(o->w->s->e, WAKE_WORK);
    sweep_step(o->w, rc, err);
    free(o->key);
    free(o->payload);
    free(o);
}

static char *orphan_payload(const struct found *f, bool whole_group) {
    _cleanup_json_ json_t *p = json_object();
    int rc = p ? json_set_str(p, "workflow_uuid", f->workflow) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(p, "group_uuid", f->group);
    if (rc >= 0 && !whole_group)
        rc = json_set_str(p, "task_uuid", f->task);
    if (rc >= 0 && !whole_group)
        rc = json_set_int(p, "retry_id", f->retry_id);
    return rc < 0 ? NULL : json_to_text(p);
}

/* The key is that of the group, and of the attempt if only that one goes. */
static void remove_found(struct sweep *w, const struct found *f, bool whole_group) {
    struct agent_session *s = w->s;
    log_warning(&s->e->log, "pod %s in backend %s belongs to %s that does not exist: it is removed", f->pod ? f->pod : f->task,
                s->backend, whole_group ? "a workflow" : "an attempt");
    s->found.orphans++;
    struct orphan *o = calloc(1, sizeof *o);
    sweep_event(w);
    if (!o) {
        sweep_step(w, OSMO_ENOMEM, NULL);
        return;
    }
    o->w = w;
    memcpy(o->workflow_uuid, f->workflow, sizeof o->workflow_uuid);
    o->payload = orphan_payload(f, whole_group);
    o->key = whole_group ? str_dup(f->group) : str_printf("%s:%s:%lld", f->group, f->task, (long long)f->retry_id);
    int rc = o->payload && o->key ? store_post(s->e->store, NULL, orphan_run, orphan_posted, o) : OSMO_ENOMEM;
    if (rc < 0)
        orphan_posted(o, rc, NULL);
}

/* ---- what is known of it ---- */

/* Of a pod whose task is unknown. */
static int facts_of_stranger(db_t *db, const struct agent_session *s, const struct found *f, struct pod_facts *out, osmo_error_t *err) {
    _cleanup_free_ char *backend = NULL;
    int rc = repo_place_known(db, f->workflow, f->group, &backend, &out->group, err);
    out->workflow = backend != NULL;
    out->this_backend = str_eq(backend, s->backend);
    if (rc < 0 || !out->group)
        return rc;
    struct group_row g = { 0 };
    rc = repo_group_state(db, f->group, &g, err);
    out->group_status = g.sm.status;
    out->sent = group_was_sent(&g);
    group_row_clear(&g);
    return gone_is_fine(rc);
}

static int facts_of(db_t *db, const struct agent_session *s, const struct found *f, const struct pod_known *known, size_t n,
                    struct pod_facts *out, osmo_error_t *err) {
    *out = (struct pod_facts){ .owner = owner_of(s->e, json_get_str(f->json, "installation")), .retry_id = f->retry_id,
                               .latest_retry = -1, .reported = status_parse(json_get_str(f->json, "status")) };
    for (size_t i = 0; i < n; i++) {
        const struct pod_known *k = &known[i];
        if (!str_eq(k->uuid, f->task) || !str_eq(k->group_uuid, f->group) || !str_eq(k->workflow_uuid, f->workflow))
            continue;
        out->workflow = out->group = out->task = true;
        out->this_backend = str_eq(k->backend, s->backend);
        out->sent = k->exec_generation > 0;
        out->group_status = k->group_status;
        if (k->retry_id == f->retry_id)
            out->status = k->status;
        if (k->retry_id > out->latest_retry) {
            out->latest_retry = k->retry_id;
            out->latest_pending = k->retry_pending;
        }
    }
    return out->task ? 0 : facts_of_stranger(db, s, f, out, err);
}

static int settle_found(db_t *db, struct sweep *w, const struct found *f, const struct pod_known *known, size_t n, osmo_error_t *err) {
    struct pod_facts facts;
    int rc = facts_of(db, w->s, f, known, n, &facts, err);
    if (rc < 0)
        return rc;
    switch (pod_fate(&facts)) {
    case POD_KEEP: break;
    case POD_REPORT: report_found(w, f); break;
    case POD_CLEAN_GROUP: clean_found(w, f); break;
    case POD_REMOVE: remove_found(w, f, false); break;
    case POD_REMOVE_GROUP: remove_found(w, f, true); break;
    case POD_FOREIGN: w->s->found.foreign++; break;
    }
    return 0;
}

/* At most PODS_KNOWN_MAX pods. */
static int settle_some(struct sweep *w, const struct found *found, size_t n, osmo_error_t *err) {
    const char *uuids[PODS_KNOWN_MAX];
    struct pod_known *known = NULL;
    size_t nknown = 0;
    db_t *db;
    for (size_t i = 0; i < n; i++)
        uuids[i] = found[i].task;
    int rc = store_reader(w->s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_pods_known(db, uuids, n, &known, &nknown, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = settle_found(db, w, &found[i], known, nknown, err);
    pods_known_free(known, nknown);
    return rc;
}

static int take_pods(struct sweep *w, const json_t *pods, osmo_error_t *err) {
    struct found found[PODS_KNOWN_MAX];
    struct agent_session *s = w->s;
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < json_len(pods); i++) {
        if (!read_found(json_at(pods, i), &found[n])) {
            s->found.foreign++;
            continue;
        }
        s->found.pods++;
        rc = pod_set_add(&s->found.set, found[n].task, found[n].retry_id);
        if (rc < 0)
            return osmo_error_set(err, rc, "too many pods, or out of memory");
        if (++n == PODS_KNOWN_MAX) {
            rc = settle_some(w, found, n, err);
            n = 0;
        }
    }
    return rc < 0 || !n ? rc : settle_some(w, found, n, err);
}

/* ---- what is missing ---- */

static void miss_task(struct sweep *w, const struct placed_task *t) {
    struct agent_session *s = w->s;
    struct task_event ev = { .retry_id = t->retry_id, .status = STATUS_FAILED_BACKEND_ERROR, .exit_code = EXIT_BACKEND };
    memcpy(ev.workflow_uuid, t->workflow_uuid, sizeof ev.workflow_uuid);
    memcpy(ev.task_uuid, t->uuid, sizeof ev.task_uuid);
    ev.message = str_printf("the pod %s is gone from cluster %s: it was deleted outside of OSMO, or the cluster was reset",
                            t->pod_name && *t->pod_name ? t->pod_name : t->name, s->backend);
    s->found.missing++;
    sweep_report(w, &ev);
}

/* Everything that was confirmed before the snapshot began, and is not in it. */
static int miss_pods(struct sweep *w, int64_t confirmed_us, osmo_error_t *err) {
    struct agent_session *s = w->s;
    struct placement_cursor cursor = { 0 };
    db_t *db;
    int rc = store_reader(s->e->store, &db, err);
    while (rc >= 0 && !cursor.end) {
        struct placed_task *tasks = NULL;
        size_t n = 0;
        rc = repo_placed_tasks(db, s->backend, s->snapshot, confirmed_us, PLACEMENTS_PER_TURN, &cursor, &tasks, &n, err);
        for (size_t i = 0; rc >= 0 && i < n; i++)
            if (!pod_set_has(&s->found.set, tasks[i].uuid, tasks[i].retry_id))
                miss_task(w, &tasks[i]);
        placed_tasks_free(tasks, n);
    }
    return rc;
}

static void snapshot_ended(struct agent_session *s) {
    const struct snapshot_found *f = &s->found;
    bool news = f->reported || f->orphans || f->missing;
    log_write(&s->e->log, news ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              "backend %s has %zu pods: %zu with a status that was not known, %zu that nobody knows, %zu of others, and %zu are missing",
              s->backend, f->pods, f->reported, f->orphans, f->foreign, f->missing);
}

static void found_reset(struct agent_session *s) {
    pod_set_clear(&s->found.set);
    s->found = (struct snapshot_found){ 0 };
}

/* ---- messages ---- */

/* What nobody asked for: the uuids of all tasks, whatever their attempts, in one message. */
static int plain_list(struct sweep *w, const json_t *list, osmo_error_t *err) {
    struct agent_session *s = w->s;
    found_reset(s);
    int rc = json_kind(list) == JSON_ARRAY ? 0 : osmo_error_set(err, OSMO_EINVAL, "task_list is missing or no list");
    for (size_t i = 0; rc >= 0 && i < json_len(list); i++) {
        const char *uuid = json_str(json_at(list, i));
        rc = uuid && strlen(uuid) == 32 ? pod_set_add(&s->found.set, uuid, POD_ANY_RETRY) : OSMO_EINVAL;
        if (rc < 0)
            osmo_error_set(err, rc, "task_list holds something that is no task, or too many");
        s->found.pods++;
    }
    if (rc >= 0)
        rc = miss_pods(w, s->introduced_us - SETTLED_US, err);
    if (rc >= 0)
        snapshot_ended(s);
    return rc;
}

static int snapshot_part(struct sweep *w, const json_t *body, osmo_error_t *err) {
    struct agent_session *s = w->s;
    int rc = take_pods(w, json_get(body, "pods"), err);
    if (rc < 0)
        s->found.broken = true; /* what is missing cannot be told any more */
    if (rc < 0 || !json_get_bool(body, "last", false))
        return rc;
    if (!s->found.broken)
        rc = miss_pods(w, INT64_MAX, err);
    if (rc >= 0 && !s->found.broken)
        snapshot_ended(s);
    found_reset(s);
    s->snapshot_done = true;
    return rc;
}

/* The number of the session's snapshot. An INIT that came just before may not be committed yet. */
static int64_t introduced(struct agent_session *s) {
    bool pods = s->kind == AGENT_POD || s->kind == AGENT_MESSAGE;
    pthread_mutex_lock(&s->lock);
    while (pods && !s->snapshot && !s->closed && !s->failed)
        pthread_cond_wait(&s->room, &s->lock);
    int64_t number = s->snapshot;
    pthread_mutex_unlock(&s->lock);
    return number;
}

/* Bad input is acknowledged; a store that fails is not, and the operator comes back. */
int agent_task_list(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    bool asked = json_has(body, "snapshot");
    int64_t number = introduced(s);
    bool stale = asked && (!s->snapshot_extension || s->snapshot_done || json_get_int(body, "snapshot", 0) != number);
    if (!number || stale) { /* of an earlier connection, or one that is not for pods */
        ticket_done(t, 0, NULL);
        return 0;
    }
    struct sweep *w = sweep_new(s, t);
    if (!w) {
        osmo_error_t memory = OSMO_ERROR_INIT;
        ticket_done(t, osmo_error_set(&memory, OSMO_ENOMEM, "out of memory"), &memory);
        return 0;
    }
    int rc = asked ? snapshot_part(w, body, err) : plain_list(w, json_get(body, "task_list"), err);
    bool bad = rc == OSMO_EINVAL || rc == OSMO_ELIMIT;
    sweep_step(w, bad ? 0 : rc, err);
    return bad ? rc : 0;
}

void reconcile_ask(struct agent_session *s, int64_t snapshot, int64_t introduced_us) {
    pthread_mutex_lock(&s->lock);
    s->introduced_us = introduced_us;
    s->snapshot = snapshot;
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
    if (!s->snapshot_extension)
        return;
    char uuid[33];
    _cleanup_buf_ buf_t out = BUF_INIT(4096);
    json_t *body = json_object();
    if (!body || json_set_int(body, "snapshot", snapshot) < 0 || crypto_random_hex32(uuid) < 0) {
        json_free(body);
        return;
    }
    const osmo_transport_t *t = s->e->transport;
    if (message_build(MSG_TASK_LIST, uuid, body, &out) >= 0 && t && t->ws_send)
        t->ws_send(t->impl, s->conn, out.data, out.len, false);
}

/* ---- the job that removes what nobody knows ---- */

static json_t *orphan_labels(const json_t *payload) {
    json_t *labels = json_object();
    const char *task = json_get_str(payload, "task_uuid");
    char retry[24];
    snprintf(retry, sizeof retry, "%lld", (long long)json_get_int(payload, "retry_id", 0));
    int rc = labels ? json_set_str(labels, "osmo.workflow_uuid", json_get_str(payload, "workflow_uuid")) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(labels, "osmo.group_uuid", json_get_str(payload, "group_uuid"));
    if (rc >= 0 && task)
        rc = json_set_str(labels, "osmo.task_uuid", task);
    if (rc >= 0 && task)
        rc = json_set_str(labels, "osmo.retry_id", retry);
    if (rc >= 0)
        return labels;
    json_free(labels);
    return NULL;
}

static json_t *orphan_specs(const json_t *payload) {
    if (!json_has(payload, "task_uuid")) {
        _cleanup_json_ json_t *kinds = json_array();
        return kinds ? pods_cleanup_specs(json_get_str(payload, "workflow_uuid"), json_get_str(payload, "group_uuid"), kinds) : NULL;
    }
    json_t *list = json_array(), *spec = json_object();
    int rc = list && spec ? json_set(spec, "labels", orphan_labels(payload)) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(spec, "resource_type", "Pod");
    if (rc >= 0)
        rc = json_set(spec, "custom_api", NULL);
    if (rc >= 0)
        rc = json_set(spec, "generic_api", NULL);
    if (rc >= 0 && json_kind(json_get(spec, "labels")) == JSON_OBJECT && json_add(list, json_ref(spec)) >= 0) {
        json_free(spec);
        return list;
    }
    json_free(spec);
    json_free(list);
    return NULL;
}

/* Jobs of one group are done one after another, by its name; one that nobody knows gets one of its own. */
static int orphan_names(engine_t *e, struct job *j, const char *group_uuid, json_t *o, osmo_error_t *err) {
    struct workflow_row wf = { 0 };
    struct group_row g = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = gone_is_fine(repo_workflow_get(db, j->workflow_uuid, &wf, err));
    if (rc >= 0)
        rc = gone_is_fine(repo_group_state(db, group_uuid, &g, err));
    if (rc >= 0)
        rc = json_set_str(o, "workflow_id", wf.id ? wf.id : j->workflow_uuid);
    if (rc >= 0)
        rc = json_set_str(o, "user", wf.user ? wf.user : "osmo");
    if (rc >= 0)
        rc = json_set_str(o, "group_name", g.name ? g.name : group_uuid);
    workflow_row_clear(&wf);
    group_row_clear(&g);
    return rc;
}

int orphan_body(engine_t *e, const char *backend, struct job *j, json_t **out, osmo_error_t *err) {
    _cleanup_json_ json_t *payload = NULL;
    const char *text = j->payload ? j->payload : "{}";
    int rc = json_parse(text, strlen(text), &payload, err);
    const char *workflow = json_get_str(payload, "workflow_uuid"), *group = json_get_str(payload, "group_uuid");
    if (rc < 0 || !is_uuid(workflow) || !is_uuid(group))
        return osmo_error_set(err, OSMO_EINTERNAL, "a %s item names no group", WORK_ORPHAN);
    _cleanup_json_ json_t *o = json_object();
    const char *const fields[][2] = { { "super_type", "frontend" }, { "job_type", "CleanupGroup" }, { "job_id", j->id },
                                      { "job_uuid", j->uuid },      { "backend", backend },         { "workflow_uuid", workflow } };
    rc = o ? orphan_names(e, j, group, o, err) : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(fields); i++)
        rc = json_set_str(o, fields[i][0], fields[i][1]);
    json_t *specs = orphan_specs(payload);
    if (rc >= 0)
        rc = specs ? json_set(o, "cleanup_specs", specs) : OSMO_ENOMEM;
    else
        json_free(specs);
    if (rc >= 0)
        rc = json_set(o, "error_log_spec", NULL);
    if (rc >= 0)
        rc = json_set_bool(o, "force_delete", false);
    if (rc >= 0)
        rc = json_set_int(o, "max_log_lines", 1);
    if (rc < 0)
        return err && *err->text ? rc : osmo_error_set(err, rc, "out of memory");
    *out = STEAL(o);
    return 0;
}

struct orphan_end {
    engine_t *e;
    int64_t work_id, attempts;
    int outcome;
    char *cause;
};

static int orphan_end_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct orphan_end *o = ctx;
    const char *cause = o->cause ? o->cause : "";
    if (o->outcome == JOB_DONE)
        return gone_is_fine(repo_work_done(db, o->work_id, err));
    if (o->outcome == JOB_FAILED)
        return gone_is_fine(repo_work_kill(db, o->work_id, cause, err));
    return gone_is_fine(repo_work_retry(db, o->work_id, engine_now(o->e) + retry_delay_us(o->attempts), cause, err));
}

static void orphan_end_done(void *ctx, int rc, const osmo_error_t *err) {
    struct orphan_end *o = ctx;
    struct agents *a = o->e->agents;
    if (rc < 0)
        log_error(&o->e->log, "the outcome of a %s job was not stored, it is sent again when its lease ends: %s", WORK_ORPHAN,
                  err ? err->text : "");
    free(o->cause);
    free(o);
    waker_wake(&a->waker);
    pthread_mutex_lock(&a->lock);
    if (--a->pending == 0)
        pthread_cond_broadcast(&a->idle);
    pthread_mutex_unlock(&a->lock);
}

void orphan_finish(engine_t *e, struct job *j, int outcome, const char *cause) {
    struct agents *a = e->agents;
    struct orphan_end *o = calloc(1, sizeof *o);
    if (o) {
        *o = (struct orphan_end){ e, j->work_id, j->attempts, outcome, str_dup(cause) };
        pthread_mutex_lock(&a->lock);
        a->pending++;
        pthread_mutex_unlock(&a->lock);
        int rc = store_post(e->store, NULL, orphan_end_run, orphan_end_done, o);
        if (rc < 0)
            orphan_end_done(o, rc, NULL);
    }
    job_free(j);
}
