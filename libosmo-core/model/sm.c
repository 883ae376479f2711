/* Transitions of tasks, groups and workflows: guards as bit masks, aggregates from counters, so every event costs the
 * same however large the group is. Called by the engine inside a transaction; pure. */
#include "model/sm.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define BIT(s) (1u << (s))
#define BEFORE_SCHEDULING (BIT(STATUS_WAITING) | BIT(STATUS_PROCESSING))
#define BEFORE_INITIALIZING (BEFORE_SCHEDULING | BIT(STATUS_SCHEDULING))
#define BEFORE_RUNNING (BEFORE_INITIALIZING | BIT(STATUS_INITIALIZING))
#define UNFINISHED (BEFORE_RUNNING | BIT(STATUS_RUNNING))

#define STARTING BIT(STATUS_SUBMITTING) /* groups only: a task is born WAITING */

static bool in(enum status s, unsigned mask) { return (unsigned)s < 32 && (mask & BIT(s)); }

/* What each status may be reached from. A status without a row is never entered from another one: SUBMITTING, WAITING
 * of a task, and what belongs to workflows. */
static const struct {
    unsigned task, group;
} sources[STATUS_COUNT] = {
    [STATUS_WAITING] = { 0, STARTING },
    [STATUS_PROCESSING] = { BIT(STATUS_WAITING), STARTING | BIT(STATUS_WAITING) },
    [STATUS_SCHEDULING] = { BEFORE_SCHEDULING, STARTING | BEFORE_SCHEDULING },
    [STATUS_INITIALIZING] = { BEFORE_INITIALIZING, STARTING | BEFORE_INITIALIZING },
    [STATUS_RUNNING] = { BEFORE_RUNNING, STARTING | BEFORE_RUNNING },
    [STATUS_COMPLETED] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_RESCHEDULED] = { UNFINISHED, 0 },
    [STATUS_FAILED] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_CANCELED] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_SERVER_ERROR] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_BACKEND_ERROR] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_EXEC_TIMEOUT] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_QUEUE_TIMEOUT] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_IMAGE_PULL] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_UPSTREAM] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_EVICTED] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_START_ERROR] = { UNFINISHED, STARTING | UNFINISHED },
    [STATUS_FAILED_START_TIMEOUT] = { BEFORE_RUNNING /* a task that runs has started */, STARTING | UNFINISHED },
    [STATUS_FAILED_PREEMPTED] = { UNFINISHED, STARTING | UNFINISHED },
};

static unsigned task_sources(enum status to) { return (unsigned)to < STATUS_COUNT ? sources[to].task : 0; }

static unsigned group_sources(enum status to, bool forced) {
    unsigned mask = (unsigned)to < STATUS_COUNT ? sources[to].group : 0;
    return status_is_canceled(to) && !forced ? mask & ~BIT(STATUS_PROCESSING) : mask;
}

bool sm_task_allows(const struct sm_task *t, enum status to) { return in(t->status, task_sources(to)); }

/* Each stamp is written once. */
static bool stamp(int64_t *slot, int64_t now_us) {
    if (slot && *slot)
        return false;
    if (slot)
        *slot = now_us;
    return true;
}

bool sm_task_apply(struct sm_task *t, enum status to, int64_t exit_code, int64_t now_us) {
    bool ends = status_is_task_finished(to);
    int64_t *slot = to == STATUS_SCHEDULING     ? &t->scheduling_us
                    : to == STATUS_INITIALIZING ? &t->initializing_us
                    : to == STATUS_RUNNING      ? &t->start_us
                    : ends                      ? &t->end_us
                                                : NULL;
    if (!sm_task_allows(t, to) || !stamp(slot, now_us))
        return false;
    t->status = to;
    if (ends && exit_code != EXIT_CODE_NONE)
        t->exit_code = exit_code;
    return true;
}

bool sm_task_retry(const struct sm_task *ended, struct sm_task *next) {
    if (ended->status != STATUS_RESCHEDULED)
        return false;
    *next = (struct sm_task){ .status = STATUS_PROCESSING,
                              .lead = ended->lead,
                              .retry_id = ended->retry_id + 1,
                              .exit_code = EXIT_CODE_NONE };
    return true;
}

static void group_count_one(struct sm_group *g, bool lead, enum status s, int64_t d) {
    if (s == STATUS_NONE)
        return;
    bool considered = lead || !g->ignore_nonlead_status;
    g->total += d;
    if (!status_is_group_finished(s))
        g->unfinished += d;
    if (s == STATUS_RUNNING)
        g->running += d;
    if (status_is_task_finished(s))
        g->finished_or_rescheduled += d;
    if (s == STATUS_FAILED_UPSTREAM)
        g->failed_upstream += d;
    if (s == STATUS_FAILED_SERVER_ERROR)
        g->failed_server_error += d;
    if (s == STATUS_FAILED_PREEMPTED)
        g->failed_preempted += d;
    if (considered && s == STATUS_FAILED_EVICTED)
        g->considered_evicted += d;
    if (considered && status_is_failed(s))
        g->considered_failed += d;
}

void sm_group_count(struct sm_group *g, bool lead, enum status from, enum status to) {
    group_count_one(g, lead, from, -1);
    group_count_one(g, lead, to, 1);
}

enum status sm_group_derive(const struct sm_group *g) {
    if (g->unfinished > 0)
        return g->running > 0 || g->finished_or_rescheduled > 0 ? STATUS_RUNNING : STATUS_INITIALIZING;
    if (g->failed_upstream > 0)
        return STATUS_FAILED_UPSTREAM;
    if (g->failed_server_error > 0)
        return STATUS_FAILED_SERVER_ERROR;
    if (g->failed_preempted > 0)
        return STATUS_FAILED_PREEMPTED;
    if (g->considered_evicted > 0)
        return STATUS_FAILED_EVICTED;
    return g->considered_failed > 0 ? STATUS_FAILED : STATUS_COMPLETED;
}

bool sm_group_apply(struct sm_group *g, enum status to, bool forced, int64_t now_us) {
    int64_t *slot = to == STATUS_PROCESSING        ? &g->processing_us
                    : to == STATUS_SCHEDULING      ? &g->scheduling_us
                    : to == STATUS_INITIALIZING    ? &g->initializing_us
                    : to == STATUS_RUNNING         ? &g->start_us
                    : status_is_group_finished(to) ? &g->end_us
                                                   : NULL;
    if (!in(g->status, group_sources(to, forced)) || !stamp(slot, now_us))
        return false;
    g->status = to;
    return true;
}

enum status sm_group_follow(const struct sm_group *g, enum status task_status) {
    if (status_is_in_queue(task_status))
        return task_status;
    return task_status == STATUS_RESCHEDULED ? STATUS_RUNNING : sm_group_derive(g);
}

static void workflow_count_one(struct sm_workflow *w, enum status s, int64_t d) {
    if (s == STATUS_NONE)
        return;
    w->total += d;
    if (!status_is_group_finished(s))
        w->unfinished += d;
    if (s == STATUS_RUNNING)
        w->running += d;
    if (s == STATUS_FAILED_CANCELED)
        w->canceled += d;
    if (s == STATUS_FAILED_SERVER_ERROR)
        w->server_error += d;
    if (s == STATUS_FAILED_EXEC_TIMEOUT)
        w->exec_timeout += d;
    if (s == STATUS_FAILED_QUEUE_TIMEOUT)
        w->queue_timeout += d;
    if (s == STATUS_FAILED_UPSTREAM)
        w->failed_upstream += d;
    if (status_is_failed(s))
        w->failed += d;
}

void sm_workflow_count(struct sm_workflow *w, enum status from, enum status to) {
    workflow_count_one(w, from, -1);
    workflow_count_one(w, to, 1);
    /* A finished group never changes, so the kinds of failure only accumulate. */
    if (status_is_failed(to) && to != STATUS_FAILED_UPSTREAM && from != to) {
        if (w->failed_kind != STATUS_NONE && w->failed_kind != to)
            w->failed_mixed = true;
        w->failed_kind = w->failed_mixed ? STATUS_NONE : to;
    }
}

enum status sm_workflow_derive(const struct sm_workflow *w) {
    if (w->unfinished > 0)
        return w->running > 0 ? STATUS_RUNNING : STATUS_PENDING;
    if (w->canceled > 0)
        return STATUS_FAILED_CANCELED;
    if (w->server_error > 0)
        return STATUS_FAILED_SERVER_ERROR;
    if (w->exec_timeout > 0)
        return STATUS_FAILED_EXEC_TIMEOUT;
    if (w->queue_timeout > 0)
        return STATUS_FAILED_QUEUE_TIMEOUT;
    if (w->failed > 0)
        return w->failed_mixed || w->failed_kind == STATUS_NONE ? STATUS_FAILED : w->failed_kind;
    return STATUS_COMPLETED;
}

bool sm_workflow_apply(struct sm_workflow *w, enum status to, int64_t now_us) {
    unsigned alive = BIT(STATUS_PENDING) | BIT(STATUS_RUNNING) | BIT(STATUS_WAITING);
    bool goes_on = to == STATUS_RUNNING || to == STATUS_WAITING;
    /* PENDING is where a workflow begins; it never returns there */
    if (!in(w->status, alive) || w->status == to ||
        !(goes_on || status_is_group_finished(to) || to == STATUS_FAILED_SUBMISSION))
        return false;
    if (goes_on)
        w->start_us = w->start_us ? w->start_us : now_us;
    else if (!stamp(&w->end_us, now_us))
        return false;
    w->status = to;
    return true;
}

int sm_failure_rank(enum status s) {
    switch (s) {
    case STATUS_FAILED_CANCELED: return 5;
    case STATUS_FAILED_SERVER_ERROR: return 4;
    case STATUS_FAILED_EXEC_TIMEOUT: return 3;
    case STATUS_FAILED_QUEUE_TIMEOUT: return 2;
    case STATUS_FAILED_UPSTREAM: return 0;
    default: return status_is_failed(s) ? 1 : -1;
    }
}

/* ---- what the end of a task means ---- */

enum status sm_sibling_status(enum status lead_status) {
    return lead_status == STATUS_COMPLETED ? STATUS_COMPLETED : STATUS_FAILED;
}

struct sm_siblings sm_task_ended(bool lead, bool ignore_nonlead_status, enum status ended) {
    struct sm_siblings out = { .close = STATUS_NONE };
    bool counts = lead || !ignore_nonlead_status;
    if (!status_is_task_finished(ended))
        return out;
    if (ended == STATUS_RESCHEDULED)
        out.restart = counts;
    else if (lead || (counts && status_is_failed(ended)))
        out.close = sm_sibling_status(ended);
    out.barrier = out.close != STATUS_NONE || out.restart ? SM_BARRIER_CLEAR : SM_BARRIER_LEAVE;
    return out;
}

bool sm_is_pod_status(enum status s) {
    static const unsigned of_pods =
        BIT(STATUS_SCHEDULING) | BIT(STATUS_INITIALIZING) | BIT(STATUS_RUNNING) | BIT(STATUS_COMPLETED) |
        BIT(STATUS_FAILED) | BIT(STATUS_FAILED_BACKEND_ERROR) | BIT(STATUS_FAILED_IMAGE_PULL) |
        BIT(STATUS_FAILED_EVICTED) | BIT(STATUS_FAILED_START_ERROR) | BIT(STATUS_FAILED_START_TIMEOUT) |
        BIT(STATUS_FAILED_PREEMPTED);
    return in(s, of_pods);
}

bool sm_explains(enum status group, bool considered, enum status task) {
    bool by_considered = group == STATUS_FAILED || group == STATUS_FAILED_EVICTED;
    return status_is_failed(task) && (considered || !by_considered) && (task == group || group == STATUS_FAILED);
}

/* ---- exit codes: "0,10-12" ---- */

/* One item: digits, then at most one "-digits". The first item of a list may repeat that pair ("1-23-4"), which the
 * wire grammar lets through; its bounds are then the first and the last number. */
static bool code_item(const char **text, bool first, int64_t *low, int64_t *high) {
    const char *p = *text;
    int dashes = 0, digits = 0;
    int64_t number = 0;
    for (;; p++) {
        if (isdigit((unsigned char)*p)) {
            number = number > INT64_MAX / 10 - 10 ? number : number * 10 + (*p - '0');
            digits++;
        } else if (*p == '-') {
            if (digits < (dashes ? 2 : 1) || (dashes && !first))
                return false;
            if (!dashes)
                *low = number;
            dashes++;
            number = digits = 0;
        } else {
            break;
        }
    }
    if (!digits)
        return false;
    if (!dashes)
        *low = number;
    *high = number;
    *text = p;
    return true;
}

static bool codes_scan(const char *codes, int64_t code, bool *contains) {
    const char *p = codes;
    bool first = true;
    *contains = false;
    for (;; p++, first = false) {
        int64_t low = 0, high = 0;
        if (!p || !code_item(&p, first, &low, &high))
            return false;
        if (code >= low && code <= high)
            *contains = true;
        if (*p == '\0')
            return true;
        if (*p != ',')
            return false;
    }
}

bool sm_codes_valid(const char *codes) {
    bool contains;
    return codes_scan(codes, 0, &contains);
}

bool sm_codes_contain(const char *codes, int64_t code) {
    bool contains;
    return codes_scan(codes, code, &contains) && contains;
}

/* The first match; STATUS_NONE when nothing matches. */
static enum status exit_action_match(const struct sm_exit_action *actions, size_t n, enum status status,
                                     int64_t exit_code) {
    static const struct {
        const char *action;
        enum status status;
    } map[] = { { "COMPLETE", STATUS_COMPLETED }, { "FAIL", STATUS_FAILED }, { "RESCHEDULE", STATUS_RESCHEDULED } };
    if (exit_code == EXIT_CODE_NONE || !status_is_task_finished(status))
        return STATUS_NONE;
    for (size_t i = 0; i < n; i++) {
        if (!sm_codes_contain(actions[i].codes, exit_code))
            continue;
        for (size_t k = 0; k < sizeof map / sizeof map[0]; k++)
            if (strcasecmp(actions[i].action, map[k].action) == 0)
                return map[k].status;
    }
    return STATUS_NONE;
}

enum status sm_exit_action_status(const struct sm_exit_action *actions, size_t n, enum status status,
                                  int64_t exit_code) {
    enum status to = exit_action_match(actions, n, status, exit_code);
    return to == STATUS_NONE ? status : to;
}

struct sm_verdict sm_task_verdict(const struct sm_task *t, enum status reported, int64_t exit_code,
                                  const struct sm_actions *actions, bool may_retry) {
    struct sm_verdict v = { reported, SM_NOTE_NONE };
    /* What was reported must be possible by itself: a start timeout that comes when the task runs is void, whatever its
     * exit code would be turned into. */
    if (!sm_task_allows(t, reported))
        return (struct sm_verdict){ STATUS_NONE, SM_NOTE_NONE };
    enum status to = exit_action_match(actions->task, actions->ntask, reported, exit_code);
    if (to == STATUS_NONE)
        to = exit_action_match(actions->pool, actions->npool, reported, exit_code);
    if (to == STATUS_NONE || to == reported)
        return v;
    if (to == STATUS_RESCHEDULED && t->retry_id >= actions->max_retry)
        v.note = SM_NOTE_LIMIT;
    else if (to == STATUS_RESCHEDULED && !may_retry)
        v.note = SM_NOTE_CANCELED;
    else
        v = (struct sm_verdict){ to, to == STATUS_RESCHEDULED ? SM_NOTE_RETRY : SM_NOTE_TURNED };
    return v;
}
