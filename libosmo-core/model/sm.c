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

static bool in(enum status s, unsigned mask) { return (unsigned)s < 32 && (mask & BIT(s)); }

/* Statuses a task may come from. */
static unsigned task_sources(enum status to) {
    switch (to) {
    case STATUS_PROCESSING: return BIT(STATUS_WAITING);
    case STATUS_SCHEDULING: return BEFORE_SCHEDULING;
    case STATUS_INITIALIZING: return BEFORE_INITIALIZING;
    case STATUS_RUNNING:
    case STATUS_FAILED_START_TIMEOUT: /* a task that runs has started */ return BEFORE_RUNNING;
    default: return status_is_task_finished(to) ? UNFINISHED : 0;
    }
}

bool sm_task_apply(struct sm_task *t, enum status to, int64_t exit_code, int64_t now_us) {
    if (!in(t->status, task_sources(to)))
        return false;
    int64_t none = 0, *stamp = &none;
    if (to == STATUS_SCHEDULING)
        stamp = &t->scheduling_us;
    else if (to == STATUS_INITIALIZING)
        stamp = &t->initializing_us;
    else if (to == STATUS_RUNNING)
        stamp = &t->start_us;
    else if (status_is_task_finished(to))
        stamp = &t->end_us;
    if (*stamp)
        return false;
    *stamp = now_us;
    t->status = to;
    if (status_is_task_finished(to) && exit_code != EXIT_CODE_NONE)
        t->exit_code = exit_code;
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

static unsigned group_sources(enum status to, bool forced) {
    unsigned start = BIT(STATUS_SUBMITTING);
    switch (to) {
    case STATUS_WAITING: return start;
    case STATUS_PROCESSING: return start | BIT(STATUS_WAITING);
    case STATUS_SCHEDULING: return start | BEFORE_SCHEDULING;
    case STATUS_INITIALIZING: return start | BEFORE_INITIALIZING;
    case STATUS_RUNNING: return start | BEFORE_RUNNING;
    default:
        if (!status_is_group_finished(to))
            return 0;
        return (start | UNFINISHED) & ~(status_is_canceled(to) && !forced ? BIT(STATUS_PROCESSING) : 0u);
    }
}

bool sm_group_apply(struct sm_group *g, enum status to, bool forced, int64_t now_us) {
    if (!in(g->status, group_sources(to, forced)))
        return false;
    int64_t none = 0, *stamp = &none;
    if (to == STATUS_PROCESSING)
        stamp = &g->processing_us;
    else if (to == STATUS_SCHEDULING)
        stamp = &g->scheduling_us;
    else if (to == STATUS_INITIALIZING)
        stamp = &g->initializing_us;
    else if (to == STATUS_RUNNING)
        stamp = &g->start_us;
    else if (status_is_group_finished(to))
        stamp = &g->end_us;
    if (*stamp)
        return false;
    *stamp = now_us;
    g->status = to;
    return true;
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
    if (to == STATUS_RUNNING || to == STATUS_WAITING) {
        if (!in(w->status, alive) || w->status == to)
            return false;
        if (!w->start_us)
            w->start_us = now_us;
    } else if (status_is_workflow_finished(to)) {
        if (w->end_us)
            return false;
        w->end_us = now_us;
    } else {
        return false; /* PENDING is where a workflow begins; it never returns there */
    }
    w->status = to;
    return true;
}

enum status sm_sibling_status(enum status lead_status) {
    return lead_status == STATUS_COMPLETED ? STATUS_COMPLETED : STATUS_FAILED;
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

enum status sm_exit_action_status(const struct sm_exit_action *actions, size_t n, enum status status,
                                  int64_t exit_code) {
    static const struct {
        const char *action;
        enum status status;
    } map[] = { { "COMPLETE", STATUS_COMPLETED }, { "FAIL", STATUS_FAILED }, { "RESCHEDULE", STATUS_RESCHEDULED } };
    if (exit_code == EXIT_CODE_NONE || !status_is_task_finished(status))
        return status;
    for (size_t i = 0; i < n; i++) {
        if (!sm_codes_contain(actions[i].codes, exit_code))
            continue;
        for (size_t k = 0; k < sizeof map / sizeof map[0]; k++)
            if (strcasecmp(actions[i].action, map[k].action) == 0)
                return map[k].status;
    }
    return status;
}
