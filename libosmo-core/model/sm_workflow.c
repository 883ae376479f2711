/* Composition of the rules of tasks, groups and a workflow: what one event changes, and what follows from it until
 * nothing more follows. Called by tests and tools that predict an end state; pure. */
#include "model/sm_workflow.h"

#include <string.h>

/* One event in progress. */
struct step {
    struct smw *w;
    struct smw_effects *fx;
    int64_t now;
    int ended[SMW_GROUPS_MAX]; /* groups that ended in this event, in order; each ends once */
    size_t nended;
    bool moved; /* the status or the debts of a group */
};

static void effect(struct step *s, enum smw_what what, int group, int task, int64_t retry_id) {
    if (s->fx->n < SMW_EFFECTS_MAX)
        s->fx->items[s->fx->n++] = (struct smw_effect){ what, group, task, retry_id };
}

/* ---- groups ---- */

/* The highest rank names the workflow's failure, of equals the first. */
static void blame_workflow(struct smw *w, const struct smw_group *g) {
    enum status s = g->sm.status;
    if (s == STATUS_FAILED_UPSTREAM)
        return;
    int now = 0;
    for (size_t i = 0; i < w->ngroups; i++)
        if (&w->groups[i] != g && sm_failure_rank(w->groups[i].sm.status) > now)
            now = sm_failure_rank(w->groups[i].sm.status);
    if (w->cause.status == STATUS_NONE || sm_failure_rank(s) > now)
        w->cause = g->cause;
}

static void group_ended(struct step *s, int gi) {
    struct smw_group *g = &s->w->groups[gi];
    if (g->sent) {
        effect(s, SMW_CLEANUP, gi, -1, 0);
    } else { /* the backend never heard of it */
        g->cleaned = true;
        s->w->uncleaned--;
    }
    s->ended[s->nended++] = gi;
}

static void group_settle(struct step *s, int gi, enum status to, bool forced, const struct smw_cause *cause) {
    struct smw_group *g = &s->w->groups[gi];
    enum status from = g->sm.status;
    if (!sm_group_apply(&g->sm, to, forced, s->now))
        return;
    s->moved = true;
    if (status_is_failed(to)) {
        g->cause = *cause;
        blame_workflow(s->w, g);
    }
    sm_workflow_count(&s->w->sm, from, to);
    if (to == STATUS_SCHEDULING)
        effect(s, SMW_ARM_QUEUE, gi, -1, 0);
    if (to == STATUS_RUNNING)
        effect(s, SMW_ARM_EXEC, gi, -1, 0);
    if (status_is_group_finished(to))
        group_ended(s, gi);
}

static void task_set(struct step *s, struct smw_group *g, struct smw_task *t, enum status to, int64_t exit_code) {
    enum status from = t->sm.status;
    if (sm_task_apply(&t->sm, to, exit_code, s->now))
        sm_group_count(&g->sm, t->sm.lead, from, to);
}

static void tasks_set(struct step *s, struct smw_group *g, const struct smw_task *except, enum status to,
                      int64_t exit_code) {
    for (size_t i = 0; i < g->ntasks; i++)
        if (&g->tasks[i] != except)
            task_set(s, g, &g->tasks[i], to, exit_code);
}

/* The group as a whole ends; its tasks take the status, the group what follows from theirs. */
static void group_fail(struct step *s, int gi, enum status status, int64_t exit_code) {
    struct smw_group *g = &s->w->groups[gi];
    if (status_is_group_finished(g->sm.status))
        return;
    tasks_set(s, g, NULL, status, exit_code);
    effect(s, SMW_BARRIER_CLEAR, gi, -1, 0);
    struct smw_cause cause = { status, exit_code, gi, -1 };
    group_settle(s, gi, status_is_canceled(status) ? status : sm_group_derive(&g->sm), true, &cause);
}

static void group_start(struct step *s, int gi) {
    tasks_set(s, &s->w->groups[gi], NULL, STATUS_PROCESSING, EXIT_CODE_NONE);
    group_settle(s, gi, STATUS_PROCESSING, false, NULL);
    effect(s, SMW_CREATE, gi, -1, 0);
}

/* Groups that ended start or fail the groups behind them; failing ones extend the list while it is walked. */
static void propagate(struct step *s) {
    for (size_t i = 0; i < s->nended && !s->w->cancel_requested; i++) {
        int from = s->ended[i];
        enum status status = s->w->groups[from].sm.status;
        for (size_t k = 0; k < s->w->ngroups; k++) {
            struct smw_group *g = &s->w->groups[k];
            if (!(g->upstream >> from & 1) || status_is_group_finished(g->sm.status))
                continue;
            if (status != STATUS_COMPLETED)
                group_fail(s, (int)k, STATUS_FAILED_UPSTREAM, EXIT_UPSTREAM);
            else if (--g->sm.remaining_upstream == 0)
                group_start(s, (int)k);
        }
    }
}

/* ---- tasks ---- */

/* The command of a task that runs, or is about to, begins again; a pod that still waits for its node begins anyway. */
static void restart_others(struct step *s, int gi, const struct smw_task *except) {
    struct smw_group *g = &s->w->groups[gi];
    for (size_t i = 0; i < g->ntasks; i++)
        if (&g->tasks[i] != except &&
            (g->tasks[i].sm.status == STATUS_RUNNING || g->tasks[i].sm.status == STATUS_INITIALIZING))
            effect(s, SMW_RESTART, gi, (int)i, 0);
}

static void task_ended(struct step *s, int gi, int ti) {
    struct smw_group *g = &s->w->groups[gi];
    struct smw_task *t = &g->tasks[ti], next = *t;
    struct sm_siblings others = sm_task_ended(t->sm.lead, g->sm.ignore_nonlead_status, t->sm.status);
    if (others.barrier == SM_BARRIER_CLEAR)
        effect(s, SMW_BARRIER_CLEAR, gi, -1, 0);
    else if (others.barrier == SM_BARRIER_LEAVE)
        effect(s, SMW_BARRIER_LEAVE, gi, ti, 0);
    if (others.close != STATUS_NONE)
        tasks_set(s, g, t, others.close, EXIT_CODE_NONE);
    if (others.restart)
        restart_others(s, gi, t);
    if (sm_task_retry(&t->sm, &next.sm)) {
        sm_group_count(&g->sm, t->sm.lead, t->sm.status, next.sm.status);
        *t = next;
        effect(s, SMW_RESCHEDULE, gi, ti, t->sm.retry_id);
    } else {
        t->reported = true;
    }
}

/* The task whose end explains that of its group: the one that reported now, else the first. */
static struct smw_cause group_cause(const struct smw_group *g, int gi, int reporter, enum status to) {
    for (int k = -1; k < (int)g->ntasks; k++) {
        int ti = k < 0 ? reporter : k;
        const struct smw_task *t = &g->tasks[ti];
        if (t->reported && sm_explains(to, t->sm.lead || !g->sm.ignore_nonlead_status, t->sm.status))
            return (struct smw_cause){ t->sm.status, t->sm.exit_code, gi, ti };
    }
    return (struct smw_cause){ STATUS_NONE, EXIT_CODE_NONE, gi, -1 };
}

static void report(struct step *s, const struct smw_event *ev) {
    struct smw_group *g = &s->w->groups[ev->group];
    if (ev->task < 0 || (size_t)ev->task >= g->ntasks || !g->sent || !sm_is_pod_status(ev->status))
        return;
    struct smw_task *t = &g->tasks[ev->task];
    if (ev->retry_id != t->sm.retry_id) /* an attempt that is over, or one that never was */
        return;
    struct sm_actions actions = { t->actions, t->nactions, s->w->pool_actions, s->w->npool_actions, s->w->max_retry };
    struct sm_verdict v =
        sm_task_verdict(&t->sm, ev->status, ev->exit_code, &actions, !s->w->cancel_requested);
    if (v.status == STATUS_NONE)
        return;
    task_set(s, g, t, v.status, ev->exit_code);
    if (status_is_task_finished(v.status))
        task_ended(s, ev->group, ev->task);
    enum status to = sm_group_follow(&g->sm, v.status);
    struct smw_cause cause = group_cause(g, ev->group, ev->task, to);
    group_settle(s, ev->group, to, false, &cause);
}

/* ---- events ---- */

static void accepted(struct step *s) {
    for (size_t i = 0; i < s->w->ngroups; i++) {
        group_settle(s, (int)i, STATUS_WAITING, false, NULL);
        if (s->w->groups[i].sm.status == STATUS_WAITING && s->w->groups[i].sm.remaining_upstream == 0)
            group_start(s, (int)i);
    }
}

static bool cancel(struct step *s, bool force) {
    struct smw *w = s->w;
    if (status_is_workflow_finished(w->sm.status) && !force)
        return false;
    w->cancel_requested = true;
    for (size_t i = 0; i < w->ngroups; i++) {
        group_fail(s, (int)i, STATUS_FAILED_CANCELED, EXIT_CODE_NONE);
        if (force && w->groups[i].sent)
            effect(s, SMW_CLEANUP_FORCED, (int)i, -1, 0);
    }
    return true;
}

/* Groups that wait for others fail with those. */
static void backend_lost(struct step *s) {
    for (size_t i = 0; i < s->w->ngroups; i++)
        if (s->w->groups[i].sm.remaining_upstream == 0)
            group_fail(s, (int)i, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND);
}

static void cleaned(struct step *s, struct smw_group *g) {
    if (g->cleaned || !status_is_group_finished(g->sm.status))
        return;
    g->cleaned = true;
    s->w->uncleaned--;
    s->moved = true;
}

static void group_event(struct step *s, const struct smw_event *ev) {
    if (ev->group < 0 || (size_t)ev->group >= s->w->ngroups)
        return;
    struct smw_group *g = &s->w->groups[ev->group];
    switch (ev->kind) {
    case SMW_SENT:
        if (g->sm.status == STATUS_PROCESSING && !s->w->cancel_requested)
            g->sent = true;
        break;
    case SMW_CREATE_FAILED:
        if (g->sent)
            group_fail(s, ev->group, STATUS_FAILED_SERVER_ERROR, EXIT_SERVER);
        break;
    case SMW_QUEUE_TIMEOUT:
        if (g->sm.status == STATUS_SCHEDULING)
            group_fail(s, ev->group, STATUS_FAILED_QUEUE_TIMEOUT, EXIT_CODE_NONE);
        break;
    case SMW_EXEC_TIMEOUT:
        if (g->sm.status == STATUS_RUNNING)
            group_fail(s, ev->group, STATUS_FAILED_EXEC_TIMEOUT, EXIT_CODE_NONE);
        break;
    case SMW_CLEANED: cleaned(s, g); break;
    default: report(s, ev);
    }
}

static void finish(struct step *s) {
    struct smw *w = s->w;
    if (sm_workflow_apply(&w->sm, sm_workflow_derive(&w->sm), s->now) && status_is_workflow_finished(w->sm.status))
        effect(s, SMW_FINISH, -1, -1, 0);
    if (status_is_workflow_finished(w->sm.status) && w->uncleaned == 0 && !w->archived) {
        w->archived = true;
        effect(s, SMW_ARCHIVE, -1, -1, 0);
    }
}

bool smw_event(struct smw *w, const struct smw_event *ev, int64_t now_us, struct smw_effects *fx) {
    struct step s = { .w = w, .fx = fx, .now = now_us };
    bool accepts = true;
    fx->n = 0;
    switch (ev->kind) {
    case SMW_ACCEPTED: accepted(&s); break;
    case SMW_CANCEL:
    case SMW_FORCE_CANCEL: accepts = cancel(&s, ev->kind == SMW_FORCE_CANCEL); break;
    case SMW_BACKEND_LOST: backend_lost(&s); break;
    default: group_event(&s, ev);
    }
    propagate(&s);
    if (s.moved)
        finish(&s);
    return accepts;
}

bool smw_init(struct smw *w) {
    if (w->ngroups == 0 || w->ngroups > SMW_GROUPS_MAX)
        return false;
    w->sm = (struct sm_workflow){ .status = STATUS_PENDING };
    w->uncleaned = (int64_t)w->ngroups;
    for (size_t i = 0; i < w->ngroups; i++) {
        struct smw_group *g = &w->groups[i];
        size_t leads = 0;
        if (g->ntasks == 0 || g->ntasks > SMW_TASKS_MAX || g->upstream >> i)
            return false;
        g->sm = (struct sm_group){ .status = STATUS_SUBMITTING,
                                   .ignore_nonlead_status = g->sm.ignore_nonlead_status,
                                   .remaining_upstream = __builtin_popcount(g->upstream) };
        for (size_t k = 0; k < g->ntasks; k++) {
            bool lead = g->tasks[k].sm.lead;
            g->tasks[k].sm = (struct sm_task){ .status = STATUS_WAITING, .lead = lead, .exit_code = EXIT_CODE_NONE };
            sm_group_count(&g->sm, lead, STATUS_NONE, STATUS_WAITING);
            leads += lead;
        }
        if (leads != 1)
            return false;
        sm_workflow_count(&w->sm, STATUS_NONE, STATUS_SUBMITTING);
    }
    return true;
}
