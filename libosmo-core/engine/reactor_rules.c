/* The rules of the reactor: what one change of a task or group implies for its group, its neighbours and its
 * workflow. All run inside one transaction with the workflow locked; the pure decisions are in model/sm.c. Called by
 * reactor*.c, submit_store.c, timers.c. */
#include <string.h>

#include "base/json.h"
#include "engine/archive.h"
#include "engine/reactor_internal.h"
#include "store/repo_reconcile.h"

#define FAILURE_TEXT_MAX 4000

static int no_memory(struct txn *x) { return osmo_error_set(x->err, OSMO_ENOMEM, "out of memory"); }

/* Replaces *slot by a copy of text, cut to a bound at a character boundary. */
static int set_text(struct txn *x, char **slot, const char *text) {
    char *copy = str_dup(text);
    if (text && !copy)
        return no_memory(x);
    if (copy && strlen(copy) > FAILURE_TEXT_MAX) {
        size_t n = FAILURE_TEXT_MAX;
        while (n && ((unsigned char)copy[n] & 0xC0) == 0x80)
            n--;
        copy[n] = '\0';
    }
    free(*slot);
    *slot = copy;
    return 0;
}

void txn_history_clear(struct txn *x) {
    for (size_t i = 0; i < x->nhistory; i++) {
        free(x->history[i].subject);
        free(x->history[i].cause);
    }
    x->nhistory = 0;
}

static int history_write(struct txn *x) {
    int rc = repo_history_insert(x->db, x->wf.uuid, x->history, x->nhistory, x->now, x->err);
    txn_history_clear(x);
    return rc;
}

int txn_history(struct txn *x, const char *kind, const char *name, int64_t retry, enum status from, enum status to,
                const char *cause) {
    _cleanup_free_ char *subject = retry >= 0 ? str_printf("%s:%s:%lld", kind, name, (long long)retry)
                                   : name     ? str_printf("%s:%s", kind, name)
                                              : str_dup(kind);
    if (!subject)
        return no_memory(x);
    char *text = NULL;
    if (cause && set_text(x, &text, cause) < 0)
        return OSMO_ENOMEM;
    x->fx->changed = true;
    x->history[x->nhistory++] = (struct history_entry){ STEAL(subject), text, from, to };
    return x->nhistory < HISTORY_ROWS_MAX ? 0 : history_write(x);
}

/* ---- tasks ---- */

int txn_task_set(struct txn *x, struct group_row *g, struct task_row *t, enum status to, int64_t exit_code,
                 const char *message, bool *changed) {
    enum status from = t->sm.status;
    *changed = sm_task_apply(&t->sm, to, exit_code, x->now);
    if (!*changed)
        return 0;
    sm_group_count(&g->sm, t->sm.lead, from, to);
    int rc = 0;
    if ((status_is_failed(to) || to == STATUS_RESCHEDULED) && message && *message)
        rc = set_text(x, &t->failure_message, message);
    if (rc >= 0)
        rc = repo_task_update(x->db, t, x->err);
    return rc < 0 ? rc : txn_history(x, "task", t->name, t->sm.retry_id, from, to, message);
}

int txn_tasks_close(struct txn *x, struct group_row *g, const char *except, enum status to, int64_t exit_code,
                    const char *message) {
    struct task_row *tasks = NULL;
    size_t n = 0;
    if (g->sm.unfinished == 0)
        return 0;
    int rc = repo_tasks_of_group(x->db, g->uuid, false, &tasks, &n, x->err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        bool changed;
        if (!except || strcmp(tasks[i].key, except) != 0)
            rc = txn_task_set(x, g, &tasks[i], to, exit_code, message, &changed);
    }
    task_rows_free(tasks, n);
    return rc;
}

/* ---- groups ---- */

/* Which failure names the workflow's own: the same precedence as its status. */
static int highest_rank(const struct sm_workflow *w) {
    return w->canceled                      ? 5
           : w->server_error                ? 4
           : w->exec_timeout                ? 3
           : w->queue_timeout               ? 2
           : w->failed > w->failed_upstream ? 1
                                            : 0;
}

static int remember_end(struct txn *x, const struct group_row *g) {
    if (x->nended == x->cap_ended) {
        size_t cap = x->cap_ended ? x->cap_ended * 2 : 8;
        struct ended_group *bigger = realloc(x->ended, cap * sizeof *bigger);
        if (!bigger)
            return no_memory(x);
        x->ended = bigger;
        x->cap_ended = cap;
    }
    struct ended_group *end = &x->ended[x->nended];
    memcpy(end->uuid, g->uuid, sizeof end->uuid);
    end->status = g->sm.status;
    end->name = str_dup(g->name);
    if (!end->name)
        return no_memory(x);
    x->nended++;
    return 0;
}

static int arm_timer(struct txn *x, const char *kind, const struct group_row *g, int64_t generation,
                     int64_t timeout_us) {
    if (timeout_us <= 0)
        return 0;
    x->fx->wake |= WAKE_TIMERS;
    return repo_timer_set(x->db, kind, x->wf.uuid, g->uuid, generation, x->now + timeout_us, x->err);
}

/* Generations make timers of the status that was left dead; the timers of the new status are armed. */
static int group_timers(struct txn *x, struct group_row *g, enum status from) {
    enum status to = g->sm.status;
    if (from == STATUS_SCHEDULING || to == STATUS_SCHEDULING)
        g->queue_generation++;
    if (to == STATUS_RUNNING || (status_is_group_finished(to) && group_was_sent(g)))
        g->exec_generation++;
    if (to == STATUS_SCHEDULING)
        return arm_timer(x, TIMER_QUEUE, g, g->queue_generation, x->wf.queue_timeout_us);
    if (to == STATUS_RUNNING)
        return arm_timer(x, TIMER_EXEC, g, g->exec_generation, x->wf.exec_timeout_us);
    return 0;
}

/* The group just ended: its objects must go. A group the backend never heard of owes nothing. */
static int group_cleanup(struct txn *x, struct group_row *g, bool was_sent) {
    if (!was_sent) {
        g->cleaned_up = true;
        if (x->wf.groups_uncleaned > 0)
            x->wf.groups_uncleaned--;
        x->wf_dirty = true;
        return 0;
    }
    x->fx->wake |= WAKE_WORK;
    return repo_work_add(x->db, WORK_CLEANUP, g->uuid, x->wf.uuid, x->wf.backend, 5, "{}", x->now, x->err);
}

static int group_failure_text(struct txn *x, struct group_row *g, const char *message) {
    enum status to = g->sm.status;
    if (message && set_text(x, &g->failure_message, message) < 0)
        return OSMO_ENOMEM;
    if (to != STATUS_FAILED_UPSTREAM && (!x->wf.failure_message || sm_failure_rank(to) > highest_rank(&x->wf.sm))) {
        x->wf_dirty = true;
        return set_text(x, &x->wf.failure_message, g->failure_message ? g->failure_message : message);
    }
    return 0;
}

int txn_group_settle(struct txn *x, struct group_row *g, enum status to, bool forced, const char *message) {
    enum status from = g->sm.status;
    bool was_sent = group_was_sent(g);
    if (!sm_group_apply(&g->sm, to, forced, x->now))
        return repo_group_update(x->db, g, x->err); /* the counters moved */
    int rc = status_is_failed(to) ? group_failure_text(x, g, message) : 0;
    sm_workflow_count(&x->wf.sm, from, to);
    x->wf_dirty = true;
    if (rc >= 0)
        rc = group_timers(x, g, from);
    if (rc >= 0 && status_is_group_finished(to)) {
        rc = group_cleanup(x, g, was_sent);
        if (rc >= 0)
            rc = remember_end(x, g);
    }
    if (rc >= 0)
        rc = repo_group_update(x->db, g, x->err);
    return rc < 0 ? rc : txn_history(x, "group", g->name, -1, from, to, status_is_failed(to) ? message : NULL);
}

int txn_group_fail(struct txn *x, struct group_row *g, enum status status, int64_t exit_code, const char *message) {
    if (status_is_group_finished(g->sm.status))
        return 0;
    int rc = txn_tasks_close(x, g, NULL, status, exit_code, message);
    if (rc >= 0)
        rc = repo_barrier_clear(x->db, g->uuid, x->err);
    if (rc < 0)
        return rc;
    enum status to = status_is_canceled(status) ? status : sm_group_derive(&g->sm);
    return txn_group_settle(x, g, to, true, message);
}

int txn_group_start(struct txn *x, struct group_row *g) {
    int rc = txn_tasks_close(x, g, NULL, STATUS_PROCESSING, EXIT_CODE_NONE, NULL);
    if (rc >= 0)
        rc = txn_group_settle(x, g, STATUS_PROCESSING, false, NULL);
    if (rc >= 0)
        rc = repo_work_add(x->db, WORK_CREATE, g->uuid, x->wf.uuid, x->wf.backend, 6, "{}", x->now, x->err);
    x->fx->wake |= WAKE_WORK;
    return rc;
}

int txn_group_cleaned(struct txn *x, struct group_row *g) {
    if (g->cleaned_up || !status_is_group_finished(g->sm.status))
        return 0;
    g->cleaned_up = true;
    if (x->wf.groups_uncleaned > 0)
        x->wf.groups_uncleaned--;
    x->wf_dirty = true;
    int rc = repo_placement_remove(x->db, g->uuid, x->err);
    return rc < 0 ? rc : repo_group_update(x->db, g, x->err);
}

/* ---- task events ---- */

/* The task whose failure gave the group its status: the one that ended last, else the first one that explains it. */
static int group_cause(struct txn *x, const struct group_row *g, const struct task_row *t, enum status to,
                       char **out) {
    if (sm_explains(to, t->sm.lead || !g->sm.ignore_nonlead_status, t->sm.status)) {
        *out = task_failure_text(t);
        return *out ? 0 : no_memory(x);
    }
    struct task_row *tasks = NULL;
    size_t n = 0;
    int rc = repo_tasks_of_group(x->db, g->uuid, false, &tasks, &n, x->err);
    const struct task_row *found = NULL;
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (!found && sm_explains(to, tasks[i].sm.lead || !g->sm.ignore_nonlead_status, tasks[i].sm.status))
            found = &tasks[i];
    if (found)
        *out = task_failure_text(found);
    task_rows_free(tasks, n);
    return rc;
}

static int group_follow(struct txn *x, struct group_row *g, const struct task_row *t) {
    enum status s = t->sm.status;
    enum status to = status_is_canceled(s) ? s : sm_group_follow(&g->sm, s);
    _cleanup_free_ char *cause = NULL;
    int rc = status_is_failed(to) ? group_cause(x, g, t, to, &cause) : 0;
    return rc < 0 ? rc : txn_group_settle(x, g, to, true, cause);
}

/* First report wins, as the pod does not move. */
static int note_place(struct txn *x, struct task_row *t, const struct task_event *ev, bool *dirty) {
    int rc = 0;
    if (ev->node && *ev->node && !(t->node_name && *t->node_name)) {
        rc = set_text(x, &t->node_name, ev->node);
        *dirty = true;
    }
    if (rc >= 0 && ev->pod_ip && *ev->pod_ip && !(t->pod_ip && *t->pod_ip)) {
        rc = set_text(x, &t->pod_ip, ev->pod_ip);
        *dirty = true;
    }
    return rc;
}

static int task_event_apply(struct txn *x, struct task_row *t, struct group_row *g, const struct task_event *ev) {
    bool dirty = false, changed = false;
    struct verdict v = { 0 };
    if (!sm_is_pod_status(ev->status) || !group_was_sent(g)) {
        log_warning(&x->e->log, "%s reported for task %s of workflow %s, which no pod of it can have now: ignored",
                    status_name(ev->status), t->name, x->wf.id);
        return 0;
    }
    int rc = note_place(x, t, ev, &dirty);
    if (rc >= 0)
        rc = txn_verdict(x, t, ev, &v);
    if (rc >= 0)
        rc = txn_task_set(x, g, t, v.to, ev->exit_code, v.message, &changed);
    if (rc >= 0 && !changed && dirty)
        rc = repo_task_update(x->db, t, x->err);
    if (rc >= 0 && changed && status_is_task_finished(t->sm.status))
        rc = txn_task_ended(x, g, t);
    if (rc >= 0 && changed)
        rc = txn_label_node(x, t, ev);
    if (rc >= 0 && changed)
        rc = group_follow(x, g, t);
    verdict_clear(&v);
    return rc;
}

int txn_task_event(struct txn *x, const struct task_event *ev) {
    struct task_row t = { 0 };
    struct group_row g = { 0 };
    int rc = repo_task_get(x->db, x->wf.uuid, ev->task_uuid, ev->retry_id, &t, x->err);
    if (rc >= 0)
        rc = repo_group_state(x->db, t.group_uuid, &g, x->err);
    if (rc == OSMO_ENOTFOUND) {
        log_warning(&x->e->log, "%s reported for the unknown task %s (attempt %lld) of workflow %s: ignored",
                    status_name(ev->status), ev->task_uuid, (long long)ev->retry_id, x->wf.id);
        rc = 0;
    } else if (rc >= 0) {
        rc = task_event_apply(x, &t, &g, ev);
    }
    task_row_clear(&t);
    group_row_clear(&g);
    return rc;
}

/* ---- the end of the transaction ---- */

static int upstream_completed(struct txn *x, struct group_row *g) {
    if (g->sm.remaining_upstream > 0)
        g->sm.remaining_upstream--;
    if (g->sm.remaining_upstream == 0 && (g->sm.status == STATUS_WAITING || g->sm.status == STATUS_SUBMITTING))
        return txn_group_start(x, g);
    return repo_group_update(x->db, g, x->err);
}

static int upstream_failed(struct txn *x, struct group_row *g, const struct ended_group *from) {
    _cleanup_free_ char *text = str_printf("upstream group %s ended with %s", from->name, status_name(from->status));
    return text ? txn_group_fail(x, g, STATUS_FAILED_UPSTREAM, EXIT_UPSTREAM, text) : no_memory(x);
}

static int propagate_later(struct txn *x, const struct ended_group *from, int64_t after) {
    char payload[48];
    snprintf(payload, sizeof payload, "{\"after\":%lld}", (long long)after);
    x->fx->wake |= WAKE_WORK;
    return repo_work_add(x->db, WORK_PROPAGATE, from->uuid, x->wf.uuid, NULL, 4, payload, x->now, x->err);
}

/* Tells the groups behind `from`, as many as the budget allows. */
static int propagate_one(struct txn *x, const struct ended_group *from, int64_t after, size_t *budget) {
    struct group_place behind[GROUPS_PER_TXN];
    size_t n = 0;
    if (!*budget)
        return propagate_later(x, from, after);
    int rc = repo_downstream_after(x->db, from->uuid, after, *budget, behind, &n, x->err);
    for (size_t k = 0; rc >= 0 && k < n; k++) {
        struct group_row g = { 0 };
        rc = repo_group_state(x->db, behind[k].uuid, &g, x->err);
        if (rc >= 0 && !status_is_group_finished(g.sm.status))
            rc = from->status == STATUS_COMPLETED ? upstream_completed(x, &g) : upstream_failed(x, &g, from);
        group_row_clear(&g);
    }
    if (rc >= 0 && n == *budget)
        rc = propagate_later(x, from, behind[n - 1].ordinal);
    *budget -= n;
    return rc;
}

/* Groups that ended start or fail the groups behind them. Failing groups extend the list while it is walked; a group
 * ends once, so the walk is bounded by the number of groups. */
static int propagate(struct txn *x) {
    int rc = 0;
    size_t budget = GROUPS_PER_TXN;
    for (size_t i = 0; rc >= 0 && x->cascade && i < x->nended; i++) {
        struct ended_group from = x->ended[i]; /* the list may move */
        rc = propagate_one(x, &from, i == 0 ? x->resume_after : -1, &budget);
    }
    return rc;
}

int propagate_resume(struct txn *x, const struct work_row *item) {
    _cleanup_json_ json_t *payload = NULL;
    struct group_row g = { 0 };
    const char *text = item->payload_json ? item->payload_json : "{}";
    int rc = json_parse(text, strlen(text), &payload, x->err);
    if (rc >= 0)
        rc = repo_group_state(x->db, item->key, &g, x->err);
    x->resume_after = json_get_int(payload, "after", -1);
    if (rc >= 0)
        rc = remember_end(x, &g);
    group_row_clear(&g);
    return gone_is_fine(rc);
}

/* The log ends when nothing is owed any more, and a while after the end of the workflow whatever is owed: followers must not
 * wait for a backend that never comes back. The archive waits for it. */
static int archive_queue(struct txn *x, bool ended) {
    bool owes = x->wf.groups_uncleaned > 0;
    if (x->wf.archived || x->wf.sm.total == 0 || !status_is_workflow_finished(x->wf.sm.status) || (owes && !ended))
        return 0;
    x->fx->wake |= WAKE_ARCHIVE;
    return repo_work_hurry(x->db, WORK_ARCHIVE, x->wf.uuid, x->wf.uuid, ARCHIVE_LANE, owes ? x->now + LOG_GRACE_US : x->now, x->err);
}

static int workflow_follow(struct txn *x) {
    int rc = 0;
    enum status from = x->wf.sm.status;
    bool ended = false;
    if (x->wf.sm.total > 0 && sm_workflow_apply(&x->wf.sm, sm_workflow_derive(&x->wf.sm), x->now)) {
        enum status to = x->wf.sm.status;
        rc = txn_history(x, "workflow", NULL, -1, from, to, status_is_failed(to) ? x->wf.failure_message : NULL);
        ended = status_is_workflow_finished(to);
        if (rc >= 0 && ended)
            rc = repo_timers_of_workflow_delete(x->db, x->wf.uuid, x->err);
    }
    if (rc >= 0)
        rc = archive_queue(x, ended);
    return rc < 0 ? rc : repo_workflow_update(x->db, &x->wf, x->err);
}

int txn_finish(struct txn *x) {
    int rc = propagate(x);
    if (rc >= 0 && x->wf_dirty)
        rc = workflow_follow(x);
    return rc < 0 ? rc : history_write(x);
}
