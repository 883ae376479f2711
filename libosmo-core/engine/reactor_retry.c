/* What the end of one attempt of a task becomes: exitActions and the retry limit, the next attempt, what its siblings
 * do meanwhile, and the items at the backend that follow. Called by reactor_rules.c (events) and reactor_jobs.c (the
 * items); the pure decisions are in model/sm.c. */
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "engine/reactor_internal.h"
#include "store/repo_reconcile.h"

#define ACTIONS_MAX 16 /* of one mapping; the language knows three */

static int no_memory(struct txn *x) { return osmo_error_set(x->err, OSMO_ENOMEM, "out of memory"); }

/* ---- exit actions ---- */

void verdict_clear(struct verdict *v) {
    free(v->message);
    v->message = NULL;
}

static int verdict_note(struct txn *x, struct verdict *v, const char *note) {
    bool has = v->message && *v->message;
    char *joined = str_printf("%s%s%s", has ? v->message : "", has ? "; " : "", note);
    if (!joined)
        return no_memory(x);
    free(v->message);
    v->message = joined;
    return 0;
}

struct mapping {
    json_t *json; /* owns the texts of the actions */
    struct sm_exit_action actions[ACTIONS_MAX];
    size_t n;
};

static void mapping_clear(struct mapping *m) { json_free(m->json); }

static int mapping_read(struct txn *x, const char *text, struct mapping *m) {
    if (!text || strcmp(text, "{}") == 0)
        return 0;
    int rc = json_parse(text, strlen(text), &m->json, x->err);
    if (rc < 0)
        return rc;
    json_iter_t it = json_iter(m->json);
    while (json_iter_next(&it) && m->n < ACTIONS_MAX)
        if (json_str(it.value))
            m->actions[m->n++] = (struct sm_exit_action){ it.key, json_str(it.value) };
    return 0;
}

/* What was reported, in words; nothing for an attempt that has ended already. */
static int verdict_cause(struct txn *x, const struct task_row *t, const struct task_event *ev, struct verdict *v) {
    v->message = cause_line(ev->message, t->name);
    if (ev->message && !v->message)
        return no_memory(x);
    if (status_is_failed(ev->status) && !status_is_task_finished(t->sm.status) &&
        cause_explain(x->e, x->wf.id, t, ev->status, ev->exit_code, &v->message) < 0)
        return no_memory(x);
    return 0;
}

static int verdict_explain(struct txn *x, const struct task_event *ev, enum sm_note note, int64_t attempt,
                           int64_t limit, struct verdict *v) {
    char text[200];
    switch (note) {
    case SM_NOTE_NONE: return 0;
    case SM_NOTE_TURNED:
        snprintf(text, sizeof text, "exit code %lld was turned from %s into %s by exitActions",
                 (long long)ev->exit_code, status_name(ev->status), status_name(v->to));
        break;
    case SM_NOTE_RETRY:
        snprintf(text, sizeof text, "exit code %lld is rescheduled by exitActions: retry %lld of at most %lld",
                 (long long)ev->exit_code, (long long)attempt + 1, (long long)limit);
        break;
    case SM_NOTE_LIMIT:
        snprintf(text, sizeof text, "not rescheduled: the retry limit max_retry_per_task of %lld is reached",
                 (long long)limit);
        break;
    case SM_NOTE_CANCELED:
        snprintf(text, sizeof text, "not rescheduled: the workflow is being cancelled");
        break;
    }
    return verdict_note(x, v, text);
}

int txn_verdict(struct txn *x, const struct task_row *t, const struct task_event *ev, struct verdict *v) {
    _cleanup_(mapping_clear) struct mapping task = { 0 };
    _cleanup_(mapping_clear) struct mapping pool = { 0 };
    int rc = verdict_cause(x, t, ev, v);
    if (rc >= 0)
        rc = mapping_read(x, t->exit_actions_json, &task);
    const struct settings *s = engine_settings(x->e);
    const struct pool *p = settings_pool(s, x->wf.pool);
    int64_t limit = s->max_retry_per_task;
    if (rc >= 0 && p)
        rc = mapping_read(x, p->default_exit_actions_json, &pool);
    engine_settings_put(s);
    if (rc < 0)
        return rc;
    struct sm_actions actions = { task.actions, task.n, pool.actions, pool.n, limit };
    struct sm_verdict sm = sm_task_verdict(&t->sm, ev->status, ev->exit_code, &actions, !x->wf.cancel_requested);
    v->to = sm.status;
    return verdict_explain(x, ev, sm.note, t->sm.retry_id, limit, v);
}

/* ---- siblings ---- */

/* The end of a task that has not joined may open a barrier for those that wait; the end of one that has joined changes
 * nothing for them. */
static int barrier_left(struct txn *x, const struct group_row *g, const struct task_row *t) {
    int64_t left = 0, barriers = 0;
    if (g->sm.total == 1 && t->sm.status != STATUS_RESCHEDULED) /* nobody waits */
        return 0;
    int rc = repo_barrier_leave(x->db, g->uuid, t->name, &left, x->err);
    if (rc >= 0)
        rc = repo_barrier_count(x->db, g->uuid, BARRIER_INDEX, &barriers, x->err);
    if (rc >= 0 && barriers > left && strlist_add(&x->fx->barrier_groups, g->uuid) < 0)
        rc = no_memory(x);
    return rc;
}

/* The number tells this restart from those before. */
static int restart_mark(struct txn *x, const struct group_row *g, const struct task_row *sibling, const char *mark) {
    _cleanup_free_ char *member =
        str_printf("%lld:%s:%lld", (long long)sibling->sm.retry_id, sibling->name, (long long)x->now);
    return member ? repo_barrier_join(x->db, g->uuid, mark, member, x->err) : no_memory(x);
}

/* All that wait at a barrier begin to wait again, and all others that run begin their command again: they are told
 * after the commit. Who is not connected then finds its mark when it is. */
static int restart_others(struct txn *x, const struct group_row *g, const struct task_row *t) {
    int64_t barriers = 0, marks = 0;
    int rc = repo_barrier_count(x->db, g->uuid, BARRIER_INDEX, &barriers, x->err);
    if (rc >= 0)
        rc = repo_barrier_count(x->db, g->uuid, RESTART_UNTIL_JOIN, &marks, x->err);
    if (rc >= 0)
        rc = repo_barrier_clear(x->db, g->uuid, x->err);
    struct task_row *tasks = NULL;
    size_t n = 0;
    if (rc >= 0)
        rc = repo_tasks_of_group(x->db, g->uuid, false, &tasks, &n, x->err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (strcmp(tasks[i].uuid, t->uuid) != 0 && !status_is_task_finished(tasks[i].sm.status))
            rc = restart_mark(x, g, &tasks[i], barriers || marks ? RESTART_UNTIL_JOIN : RESTART_ONCE);
    if (rc >= 0 && n > 1 && strlist_add(&x->fx->restart_groups, g->uuid) < 0)
        rc = no_memory(x);
    task_rows_free(tasks, n);
    return rc;
}

static int close_others(struct txn *x, struct group_row *g, const struct task_row *t, enum status to) {
    _cleanup_free_ char *text =
        t->sm.lead ? str_printf("the lead task %s ended with %s", t->name, status_name(t->sm.status))
                   : str_printf("task %s of the group failed with %s", t->name, status_name(t->sm.status));
    return text ? txn_tasks_close(x, g, t->key, to, EXIT_CODE_NONE, text) : no_memory(x);
}

/* ---- the next attempt ---- */

static int next_item(struct txn *x, const struct group_row *g, const struct task_row *next) {
    char key[128], payload[128];
    snprintf(key, sizeof key, "%s:%s:%lld", g->uuid, next->uuid, (long long)next->sm.retry_id);
    snprintf(payload, sizeof payload, "{\"task_uuid\":\"%s\",\"retry_id\":%lld}", next->uuid,
             (long long)next->sm.retry_id);
    x->fx->wake |= WAKE_WORK;
    return repo_work_add(x->db, WORK_RESCHEDULE, key, x->wf.uuid, x->wf.backend, 3, payload, x->now, x->err);
}

/* The same task and pod name; nothing of what the ended attempt has seen. The texts stay those of `ended`. */
static int next_attempt(struct txn *x, struct group_row *g, const struct task_row *ended) {
    struct task_row next = *ended;
    if (!sm_task_retry(&ended->sm, &next.sm))
        return 0;
    if (crypto_random_hex32(next.key) < 0)
        return osmo_error_set(x->err, OSMO_EIO, "no randomness for ids");
    next.failure_message = next.node_name = next.pod_ip = NULL;
    next.input_download_start_us = next.input_download_end_us = next.output_upload_start_us =
        next.output_upload_end_us = next.heartbeat_us = 0;
    sm_group_count(&g->sm, next.sm.lead, ended->sm.status, next.sm.status);
    int rc = repo_tasks_insert(x->db, &next, 1, x->err);
    if (rc >= 0)
        rc = txn_history(x, "task", next.name, next.sm.retry_id, STATUS_NONE, next.sm.status, NULL);
    return rc < 0 ? rc : next_item(x, g, &next);
}

int txn_task_ended(struct txn *x, struct group_row *g, struct task_row *t) {
    struct sm_siblings others = sm_task_ended(t->sm.lead, g->sm.ignore_nonlead_status, t->sm.status);
    int rc = 0;
    if (others.restart)
        rc = restart_others(x, g, t);
    else if (others.barrier == SM_BARRIER_CLEAR)
        rc = repo_barrier_clear(x->db, g->uuid, x->err);
    else if (others.barrier == SM_BARRIER_LEAVE)
        rc = barrier_left(x, g, t);
    if (rc >= 0 && others.close != STATUS_NONE)
        rc = close_others(x, g, t, others.close);
    return rc < 0 ? rc : next_attempt(x, g, t);
}

/* ---- the items ---- */

struct retry_ref {
    const char *task_uuid;
    int64_t retry_id;
    json_t *json;
};

static void retry_ref_clear(struct retry_ref *r) { json_free(r->json); }

static int retry_ref_read(struct txn *x, const char *payload, struct retry_ref *r) {
    const char *text = payload ? payload : "{}";
    int rc = json_parse(text, strlen(text), &r->json, x->err);
    r->task_uuid = json_get_str(r->json, "task_uuid");
    r->retry_id = json_get_int(r->json, "retry_id", -1);
    if (rc >= 0 && (!r->task_uuid || r->retry_id < 1))
        rc = osmo_error_set(x->err, OSMO_EINTERNAL, "a %s item names no task", WORK_RESCHEDULE);
    return rc;
}

/* h->tasks holds the latest attempts. An attempt that has been seen has its pod; one that ended needs none. */
int reschedule_find(struct txn *x, struct handout *h) {
    _cleanup_(retry_ref_clear) struct retry_ref ref = { 0 };
    int rc = retry_ref_read(x, h->payload, &ref);
    h->retry = NULL;
    for (size_t i = 0; rc >= 0 && i < h->ntasks; i++) {
        const struct task_row *t = &h->tasks[i];
        if (str_eq(t->uuid, ref.task_uuid) && t->sm.retry_id == ref.retry_id && t->sm.status == STATUS_PROCESSING)
            h->retry = t;
    }
    return rc;
}

int reschedule_done(struct txn *x, const struct job_result *r) {
    _cleanup_(retry_ref_clear) struct retry_ref ref = { 0 };
    int rc = retry_ref_read(x, r->payload, &ref);
    return rc < 0 ? rc
                  : repo_placement_confirm(x->db, r->group_uuid, ref.task_uuid, ref.retry_id, x->wf.uuid, x->wf.backend, x->now,
                                           x->err);
}

int reschedule_failed(struct txn *x, const struct job_result *r) {
    _cleanup_(retry_ref_clear) struct retry_ref ref = { 0 };
    int rc = retry_ref_read(x, r->payload, &ref);
    if (rc < 0)
        return rc;
    struct task_event ev = { .status = STATUS_FAILED_BACKEND_ERROR, .retry_id = ref.retry_id,
                             .exit_code = EXIT_BACKEND };
    snprintf(ev.task_uuid, sizeof ev.task_uuid, "%s", ref.task_uuid);
    ev.message = str_printf("its pod could not be created again: %s", r->cause ? r->cause : "no reason was given");
    rc = ev.message ? txn_task_event(x, &ev) : no_memory(x);
    task_event_clear(&ev);
    return rc;
}

int txn_label_node(struct txn *x, const struct task_row *t, const struct task_event *ev) {
    const char *node = t->node_name && *t->node_name ? t->node_name : ev->node;
    if (ev->exit_code != EXIT_PREFLIGHT || !node || !*node)
        return 0;
    _cleanup_json_ json_t *payload = json_object();
    _cleanup_free_ char *key = str_printf("%s/%s", x->wf.backend, node);
    int rc = payload && key ? json_set_str(payload, "node", node) : OSMO_ENOMEM;
    _cleanup_free_ char *text = rc < 0 ? NULL : json_to_text(payload);
    x->fx->wake |= WAKE_WORK;
    return text ? repo_work_add(x->db, WORK_LABEL, key, x->wf.uuid, x->wf.backend, 6, text, x->now, x->err)
                : no_memory(x);
}
