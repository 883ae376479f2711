/* Explores small workflows exhaustively: from the stored submission, in every state that can be reached, every event of
 * the alphabet happens next: reports of every attempt (also of past ones and of one that never was), timeouts, lost
 * backends, cancels, outcomes of jobs. So all orders, repetitions and losses of events are covered, to the fixpoint.
 * The bounds are the shapes, the alphabet and the retry limit. What is reached is compared with a recomputation from
 * scratch and with the invariants of the life cycle. */
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "model/sm_workflow.h"

#define S(x) STATUS_##x
#define KEY_MAX 64
#define STATES_MAX (4u << 20) /* of one shape; reaching it is a failure */
#define COMPLAINTS_MAX 20
#define EVENTS_MAX 400
#define OLD_EXIT 77 /* the exit code of rows that ended before: it must stay */

/* ---- what happens ---- */

static const struct sm_exit_action task_actions[] = { { "RESCHEDULE", "7,3005-3006" }, { "COMPLETE", "5" } };
static const struct sm_exit_action pool_actions[] = { { "FAIL", "301" }, { "COMPLETE", "7" }, { "RESCHEDULE", "5" } };

/* Reports and what they come to, said a second time: `end` where it stands, RESCHEDULED where the limit allows it. */
static const struct report {
    enum status status;
    int64_t exit_code;
    enum status end;
    bool retry, small; /* small: also in the alphabet of the larger shapes */
} reports[] = {
    { S(SCHEDULING), EXIT_CODE_NONE, S(SCHEDULING), false, true },
    { S(RUNNING), EXIT_CODE_NONE, S(RUNNING), false, true },
    { S(COMPLETED), 0, S(COMPLETED), false, true },
    { S(FAILED), 1, S(FAILED), false, true },
    { S(FAILED_PREEMPTED), EXIT_PREEMPTED, S(FAILED_PREEMPTED), true, true },
    { S(FAILED_START_TIMEOUT), EXIT_START_TIMEOUT, S(FAILED_START_TIMEOUT), true, true },
    { S(INITIALIZING), EXIT_CODE_NONE, S(INITIALIZING), false, false },
    { S(FAILED), 5, S(COMPLETED), false, false },
    { S(FAILED), 7, S(FAILED), true, false },
    { S(FAILED_EVICTED), EXIT_EVICTED, S(FAILED_EVICTED), false, false },
    { S(FAILED_IMAGE_PULL), 301, S(FAILED), false, false },
    { S(FAILED_IMAGE_PULL), EXIT_CODE_NONE, S(FAILED_IMAGE_PULL), false, false },
    { S(FAILED_START_ERROR), EXIT_START_ERROR, S(FAILED_START_ERROR), false, false },
    { S(FAILED_BACKEND_ERROR), EXIT_BACKEND, S(FAILED_BACKEND_ERROR), false, false },
};
#define REPORTS (sizeof reports / sizeof reports[0])

/* ---- shapes ---- */

struct shape {
    const char *name;
    struct {
        int tasks;
        uint32_t upstream;
        bool ignore;
    } groups[4];
    int ngroups;
    bool small;
    int64_t max_retry; /* from 0 to this */
};

static const struct shape shapes[] = {
    { "1 x 1", { { 1, 0, true } }, 1, false, 2 },
    { "1 x 2, non-leads ignored", { { 2, 0, true } }, 1, false, 2 },
    { "1 x 2, non-leads count", { { 2, 0, false } }, 1, false, 2 },
    { "1 x 3, non-leads ignored", { { 3, 0, true } }, 1, true, 1 },
    { "1 x 3, non-leads count", { { 3, 0, false } }, 1, false, 1 },
    { "chain of 2", { { 1, 0, true }, { 1, 1, true } }, 2, false, 2 },
    { "chain of 4", { { 1, 0, true }, { 1, 1, true }, { 1, 2, true }, { 1, 4, true } }, 4, true, 1 },
    { "diamond of 4", { { 1, 0, true }, { 1, 1, true }, { 1, 1, true }, { 1, 6, true } }, 4, true, 1 },
    { "diamond of 4, all reports", { { 1, 0, true }, { 1, 1, true }, { 1, 1, true }, { 1, 6, true } }, 4, false, 0 },
    { "chain 2 x 2", { { 2, 0, false }, { 2, 1, true } }, 2, false, 1 },
    { "pair 2 x 2", { { 2, 0, true }, { 2, 0, false } }, 2, true, 1 },
};

struct world {
    const struct shape *shape;
    struct smw first;
    struct smw_event events[EVENTS_MAX];
    int meaning[EVENTS_MAX]; /* index in reports */
    size_t nevents;
    /* what was visited */
    uint8_t *keys;
    uint32_t *table;
    size_t key_len, nkeys, cap, mask;
    uint64_t transitions;
    unsigned complaints;
};

static void event_add(struct world *v, struct smw_event ev, int meaning) {
    if (v->nevents < EVENTS_MAX) {
        v->events[v->nevents] = ev;
        v->meaning[v->nevents++] = meaning;
    }
}

static void alphabet(struct world *v) {
    static const enum smw_kind of_workflow[] = { SMW_ACCEPTED, SMW_CANCEL, SMW_FORCE_CANCEL, SMW_BACKEND_LOST };
    static const enum smw_kind of_group[] = { SMW_SENT, SMW_CREATE_FAILED, SMW_QUEUE_TIMEOUT, SMW_EXEC_TIMEOUT,
                                              SMW_CLEANED };
    for (size_t k = 0; k < sizeof of_workflow / sizeof *of_workflow; k++)
        event_add(v, (struct smw_event){ .kind = of_workflow[k] }, -1);
    for (int g = 0; g < v->shape->ngroups; g++) {
        for (size_t k = 0; k < sizeof of_group / sizeof *of_group; k++)
            event_add(v, (struct smw_event){ .kind = of_group[k], .group = g }, -1);
        for (int t = 0; t < v->shape->groups[g].tasks; t++)
            for (int64_t retry = 0; retry <= v->first.max_retry + 1; retry++)
                for (size_t r = 0; r < REPORTS; r++)
                    if (reports[r].small || !v->shape->small)
                        event_add(v,
                                  (struct smw_event){ .kind = SMW_REPORT, .group = g, .task = t, .retry_id = retry,
                                                      .exit_code = reports[r].exit_code, .status = reports[r].status },
                                  (int)r);
    }
}

static bool world_open(struct world *v, const struct shape *shape, int64_t max_retry) {
    memset(v, 0, sizeof *v);
    v->shape = shape;
    struct smw *w = &v->first;
    w->ngroups = (size_t)shape->ngroups;
    w->max_retry = max_retry;
    w->pool_actions = pool_actions;
    w->npool_actions = sizeof pool_actions / sizeof *pool_actions;
    v->key_len = 4;
    for (int g = 0; g < shape->ngroups; g++) {
        w->groups[g].ntasks = (size_t)shape->groups[g].tasks;
        w->groups[g].upstream = shape->groups[g].upstream;
        w->groups[g].sm.ignore_nonlead_status = shape->groups[g].ignore;
        for (int t = 0; t < shape->groups[g].tasks; t++)
            w->groups[g].tasks[t] = (struct smw_task){ .sm.lead = t == 0, .actions = task_actions, .nactions = 2 };
        v->key_len += 3 + 2 * w->groups[g].ntasks;
    }
    v->cap = 1 << 12;
    v->mask = 4 * v->cap - 1;
    v->keys = malloc(v->cap * v->key_len);
    v->table = calloc(v->mask + 1, sizeof *v->table);
    bool ok = smw_init(w) && v->keys && v->table && v->key_len <= KEY_MAX;
    alphabet(v);
    return ok && v->nevents < EVENTS_MAX;
}

static void world_close(struct world *v) {
    free(v->keys);
    free(v->table);
}

/* ---- states as keys ---- */

/* What the test counts beside the machine: jobs that were asked for, of each group. */
struct ghost {
    uint8_t creates[4], cleanups[4];
};

static bool finished(enum status s) { return s >= S(COMPLETED) && s <= S(FAILED_PREEMPTED); }
static bool failed(enum status s) { return s >= S(FAILED) && s <= S(FAILED_PREEMPTED); }

static void encode(const struct world *v, const struct smw *w, const struct ghost *gh, uint8_t *key) {
    uint8_t *p = key;
    *p++ = (uint8_t)w->sm.status;
    *p++ = (uint8_t)(w->cancel_requested | w->archived << 1);
    *p++ = (uint8_t)w->cause.status;
    *p++ = (uint8_t)w->cause.group;
    for (size_t g = 0; g < w->ngroups; g++) {
        const struct smw_group *gr = &w->groups[g];
        *p++ = (uint8_t)gr->sm.status;
        *p++ = (uint8_t)(gr->sent | gr->cleaned << 1 | gh->creates[g] << 2 | gh->cleanups[g] << 4);
        *p++ = (uint8_t)gr->sm.remaining_upstream;
        for (size_t t = 0; t < gr->ntasks; t++) {
            *p++ = (uint8_t)gr->tasks[t].sm.status;
            *p++ = (uint8_t)gr->tasks[t].sm.retry_id;
        }
    }
    if ((size_t)(p - key) != v->key_len)
        abort();
}

static void recount(struct smw *w);

static void copy(struct smw *to, const struct smw *from) {
    memcpy(to, from, offsetof(struct smw, groups) + from->ngroups * sizeof from->groups[0]);
}

/* Counters are recomputed: that they never drift is checked in every transition, before its result becomes a key. */
static void decode(const struct world *v, const uint8_t *key, struct smw *w, struct ghost *gh) {
    const uint8_t *p = key;
    copy(w, &v->first);
    w->sm.status = (enum status) * p++;
    w->cancel_requested = *p & 1;
    w->archived = *p++ >> 1 & 1;
    w->cause.status = (enum status) * p++;
    w->cause.group = *p++;
    w->sm.end_us = w->sm.status >= S(COMPLETED) && w->sm.status <= S(FAILED_PREEMPTED);
    for (size_t g = 0; g < w->ngroups; g++) {
        struct smw_group *gr = &w->groups[g];
        gr->sm.status = (enum status) * p++;
        gr->sm.end_us = finished(gr->sm.status);
        gr->sent = *p & 1;
        gr->cleaned = *p >> 1 & 1;
        gh->creates[g] = *p >> 2 & 3;
        gh->cleanups[g] = *p++ >> 4;
        gr->sm.remaining_upstream = *p++;
        for (size_t t = 0; t < gr->ntasks; t++) {
            struct smw_task *k = &gr->tasks[t];
            k->sm.status = (enum status) * p++;
            k->sm.retry_id = *p++;
            k->sm.end_us = finished(k->sm.status);
            k->sm.exit_code = finished(k->sm.status) ? OLD_EXIT : EXIT_CODE_NONE;
            k->reported = finished(k->sm.status) && !finished(gr->sm.status);
        }
    }
    recount(w);
}

static uint64_t hash(const uint8_t *p, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static bool grow(struct world *v) {
    size_t cap = v->cap * 2, mask = 4 * cap - 1;
    uint8_t *keys = realloc(v->keys, cap * v->key_len);
    uint32_t *table = calloc(mask + 1, sizeof *table);
    if (keys)
        v->keys = keys;
    if (!keys || !table) {
        free(table);
        return false;
    }
    for (size_t i = 0; i < v->nkeys; i++) {
        size_t at = hash(v->keys + i * v->key_len, v->key_len) & mask;
        while (table[at])
            at = (at + 1) & mask;
        table[at] = (uint32_t)i + 1;
    }
    free(v->table);
    v->table = table;
    v->cap = cap;
    v->mask = mask;
    return true;
}

/* true when the state is new. */
static bool visit(struct world *v, const uint8_t *key) {
    size_t at = hash(key, v->key_len) & v->mask;
    for (; v->table[at]; at = (at + 1) & v->mask)
        if (memcmp(v->keys + (v->table[at] - 1) * v->key_len, key, v->key_len) == 0)
            return false;
    if (v->nkeys == v->cap && (v->cap >= STATES_MAX || !grow(v)))
        abort();
    for (at = hash(key, v->key_len) & v->mask; v->table[at];)
        at = (at + 1) & v->mask;
    memcpy(v->keys + v->nkeys * v->key_len, key, v->key_len);
    v->table[at] = (uint32_t)++v->nkeys;
    return true;
}

/* ---- complaints ---- */

struct move { /* one transition */
    struct world *v;
    const struct smw *b, *a; /* before, after */
    const struct smw_event *ev;
    int meaning;
    const struct smw_effects *fx;
};

static void print_state(const struct smw *w) {
    fprintf(stderr, "    workflow %s%s%s\n", status_name(w->sm.status), w->cancel_requested ? " cancel" : "",
            w->archived ? " archived" : "");
    for (size_t g = 0; g < w->ngroups; g++) {
        const struct smw_group *gr = &w->groups[g];
        fprintf(stderr, "      group %zu %s%s%s remaining %d:", g, status_name(gr->sm.status), gr->sent ? " sent" : "",
                gr->cleaned ? " cleaned" : "", (int)gr->sm.remaining_upstream);
        for (size_t t = 0; t < gr->ntasks; t++)
            fprintf(stderr, " %s/%d", status_name(gr->tasks[t].sm.status), (int)gr->tasks[t].sm.retry_id);
        fprintf(stderr, "\n");
    }
}

static void complain(const struct move *m, const char *what) {
    CU_assertImplementation(CU_FALSE, __LINE__, what, __FILE__, "", CU_FALSE);
    if (m->v->complaints++ >= COMPLAINTS_MAX)
        return;
    fprintf(stderr, "%s, retry limit %d: %s\n    event %d group %d task %d attempt %d %s exit %d, effects:",
            m->v->shape->name, (int)m->v->first.max_retry, what, m->ev->kind, m->ev->group, m->ev->task,
            (int)m->ev->retry_id, status_name(m->ev->status), (int)m->ev->exit_code);
    for (size_t i = 0; i < m->fx->n; i++)
        fprintf(stderr, " %d(%d,%d)", m->fx->items[i].what, m->fx->items[i].group, m->fx->items[i].task);
    fprintf(stderr, "\n");
    print_state(m->b);
    print_state(m->a);
}
#define MUST(cond, what)                                                                                               \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            complain(m, what);                                                                                         \
    } while (0)

/* ---- recomputation from scratch ---- */

static void recount_group(const struct smw_group *g, struct sm_group *c) {
    c->total = (int64_t)g->ntasks;
    c->unfinished = c->running = c->finished_or_rescheduled = c->failed_upstream = c->failed_server_error =
        c->failed_preempted = c->considered_evicted = c->considered_failed = 0;
    for (size_t t = 0; t < g->ntasks; t++) {
        enum status s = g->tasks[t].sm.status;
        bool considered = t == 0 || !g->sm.ignore_nonlead_status;
        c->unfinished += !finished(s);
        c->running += s == S(RUNNING);
        c->finished_or_rescheduled += finished(s);
        c->failed_upstream += s == S(FAILED_UPSTREAM);
        c->failed_server_error += s == S(FAILED_SERVER_ERROR);
        c->failed_preempted += s == S(FAILED_PREEMPTED);
        c->considered_evicted += considered && s == S(FAILED_EVICTED);
        c->considered_failed += considered && failed(s);
    }
}

static void recount_workflow(const struct smw *w, struct sm_workflow *c) {
    c->total = (int64_t)w->ngroups;
    c->unfinished = c->running = c->canceled = c->server_error = c->exec_timeout = c->queue_timeout = c->failed =
        c->failed_upstream = 0;
    c->failed_kind = S(NONE);
    c->failed_mixed = false;
    for (size_t g = 0; g < w->ngroups; g++) {
        enum status s = w->groups[g].sm.status;
        c->unfinished += !finished(s);
        c->running += s == S(RUNNING);
        c->canceled += s == S(FAILED_CANCELED);
        c->server_error += s == S(FAILED_SERVER_ERROR);
        c->exec_timeout += s == S(FAILED_EXEC_TIMEOUT);
        c->queue_timeout += s == S(FAILED_QUEUE_TIMEOUT);
        c->failed_upstream += s == S(FAILED_UPSTREAM);
        c->failed += failed(s);
        if (failed(s) && s != S(FAILED_UPSTREAM)) {
            c->failed_mixed = c->failed_mixed || (c->failed_kind && c->failed_kind != s);
            c->failed_kind = s;
        }
    }
    if (c->failed_mixed)
        c->failed_kind = S(NONE);
}

static void recount(struct smw *w) {
    w->uncleaned = 0;
    for (size_t g = 0; g < w->ngroups; g++) {
        recount_group(&w->groups[g], &w->groups[g].sm);
        w->uncleaned += !w->groups[g].cleaned;
    }
    recount_workflow(w, &w->sm);
}

static bool any_task(const struct smw_group *g, enum status s, bool considered) {
    for (size_t t = 0; t < g->ntasks; t++)
        if (g->tasks[t].sm.status == s && (!considered || t == 0 || !g->sm.ignore_nonlead_status))
            return true;
    return false;
}

/* The status of a group all of whose tasks are finished: the precedence of the reference, in its words. */
static enum status naive_end(const struct smw_group *g) {
    static const enum status whole[] = { S(FAILED_CANCELED), S(FAILED_EXEC_TIMEOUT), S(FAILED_QUEUE_TIMEOUT),
                                         S(FAILED_UPSTREAM), S(FAILED_SERVER_ERROR), S(FAILED_PREEMPTED) };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (any_task(g, whole[i], false))
            return whole[i];
    if (any_task(g, S(FAILED_EVICTED), true))
        return S(FAILED_EVICTED);
    for (int s = S(FAILED); s <= S(FAILED_PREEMPTED); s++)
        if (any_task(g, (enum status)s, true))
            return S(FAILED);
    return S(COMPLETED);
}

/* Groups go forward only, so what one is while it lasts follows from what it was and what its tasks are. */
static enum status naive_group(const struct smw_group *b, const struct smw_group *a, bool accepted) {
    size_t open = 0, begun = 0, retried = 0, initializing = 0, scheduling = 0;
    for (size_t t = 0; t < a->ntasks; t++) {
        enum status s = a->tasks[t].sm.status;
        open += !finished(s);
        begun += finished(s) || s == S(RUNNING);
        initializing += s == S(INITIALIZING);
        scheduling += s == S(SCHEDULING);
        retried += a->tasks[t].sm.retry_id > 0;
    }
    if (finished(b->sm.status))
        return b->sm.status;
    if (!open)
        return naive_end(a);
    enum status least = begun || retried          ? S(RUNNING)
                        : initializing            ? S(INITIALIZING)
                        : scheduling              ? S(SCHEDULING)
                        : a->tasks[0].sm.status == S(PROCESSING) ? S(PROCESSING)
                        : accepted                               ? S(WAITING)
                                                                 : b->sm.status;
    return least > b->sm.status ? least : b->sm.status;
}

static enum status naive_workflow(const struct smw *b, const struct smw *a) {
    static const enum status first[] = { S(FAILED_CANCELED), S(FAILED_SERVER_ERROR), S(FAILED_EXEC_TIMEOUT),
                                         S(FAILED_QUEUE_TIMEOUT) };
    bool open = false, running = false;
    enum status kind = S(COMPLETED);
    for (size_t g = 0; g < a->ngroups; g++) {
        open |= !finished(a->groups[g].sm.status);
        running |= a->groups[g].sm.status == S(RUNNING);
    }
    if (open)
        return running || b->sm.status == S(RUNNING) ? S(RUNNING) : S(PENDING);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        for (size_t g = 0; g < a->ngroups; g++)
            if (a->groups[g].sm.status == first[i])
                return first[i];
    for (size_t g = 0; g < a->ngroups; g++) {
        enum status s = a->groups[g].sm.status;
        if (s != S(COMPLETED) && s != S(FAILED_UPSTREAM))
            kind = kind == S(COMPLETED) || kind == s ? s : S(FAILED);
    }
    return kind;
}

/* ---- what an event should do to the tasks ---- */

static void close_open(struct smw_group *g, enum status to) {
    for (size_t t = 0; t < g->ntasks; t++)
        if (!finished(g->tasks[t].sm.status))
            g->tasks[t].sm.status = to;
}

static bool naive_report(struct smw *x, const struct smw_event *ev, const struct report *r) {
    struct smw_group *g = &x->groups[ev->group];
    struct smw_task *t = &g->tasks[ev->task];
    enum status now = t->sm.status, end = r->end;
    bool possible = r->status == S(FAILED_START_TIMEOUT) ? now < S(RUNNING) : r->status > now;
    if (!g->sent || finished(now) || ev->retry_id != t->sm.retry_id || !possible)
        return false;
    if (r->retry && t->sm.retry_id < x->max_retry) {
        t->sm.status = S(PROCESSING);
        t->sm.retry_id++;
        return true;
    }
    t->sm.status = end;
    if (finished(end) && ev->task == 0)
        close_open(g, end == S(COMPLETED) ? S(COMPLETED) : S(FAILED));
    else if (failed(end) && !g->sm.ignore_nonlead_status)
        close_open(g, S(FAILED));
    return true;
}

static bool group_done(const struct smw_group *g) {
    for (size_t t = 0; t < g->ntasks; t++)
        if (!finished(g->tasks[t].sm.status))
            return false;
    return true;
}

/* 1: all groups before it COMPLETED, -1: one of them failed, 0: some are going on. */
static int upstream_state(const struct smw *w, size_t g) {
    int state = 1;
    for (size_t u = 0; u < g; u++) {
        if (!(w->groups[g].upstream >> u & 1))
            continue;
        if (!group_done(&w->groups[u]))
            state = state < 0 ? state : 0;
        else if (naive_end(&w->groups[u]) != S(COMPLETED))
            state = -1;
    }
    return state;
}

/* x: the tasks as they should be after the event, from a copy of the state before it. */
static void naive_event(struct smw *x, const struct smw_event *ev, int meaning) {
    struct smw_group *g = &x->groups[ev->group];
    bool lost[4] = { false };
    switch (ev->kind) {
    case SMW_REPORT: naive_report(x, ev, &reports[meaning]); break;
    case SMW_CREATE_FAILED:
        if (g->sent)
            close_open(g, S(FAILED_SERVER_ERROR));
        break;
    case SMW_QUEUE_TIMEOUT:
        if (g->sm.status == S(SCHEDULING))
            close_open(g, S(FAILED_QUEUE_TIMEOUT));
        break;
    case SMW_EXEC_TIMEOUT:
        if (g->sm.status == S(RUNNING))
            close_open(g, S(FAILED_EXEC_TIMEOUT));
        break;
    case SMW_CANCEL:
    case SMW_FORCE_CANCEL:
        for (size_t i = 0; i < x->ngroups; i++)
            close_open(&x->groups[i], S(FAILED_CANCELED));
        break;
    case SMW_BACKEND_LOST:
        for (size_t i = 0; i < x->ngroups; i++)
            lost[i] = upstream_state(x, i) == 1;
        for (size_t i = 0; i < x->ngroups; i++)
            if (lost[i])
                close_open(&x->groups[i], S(FAILED_BACKEND_ERROR));
        break;
    default: break;
    }
    for (size_t i = 0; i < x->ngroups; i++) {
        struct smw_group *d = &x->groups[i];
        bool stored = d->sm.status == S(WAITING) || (d->sm.status == S(SUBMITTING) && ev->kind == SMW_ACCEPTED);
        if (upstream_state(x, i) < 0)
            close_open(d, S(FAILED_UPSTREAM));
        else if (stored && upstream_state(x, i) == 1 && d->tasks[0].sm.status == S(WAITING))
            for (size_t t = 0; t < d->ntasks; t++)
                d->tasks[t].sm.status = S(PROCESSING);
    }
}

/* ---- invariants of one transition ---- */

static void check_statuses(const struct move *m) {
    struct smw x;
    copy(&x, m->b);
    naive_event(&x, m->ev, m->meaning);
    for (size_t g = 0; g < x.ngroups; g++) {
        const struct smw_group *bg = &m->b->groups[g], *ag = &m->a->groups[g];
        for (size_t t = 0; t < ag->ntasks; t++) {
            const struct sm_task *b = &bg->tasks[t].sm, *a = &ag->tasks[t].sm;
            MUST(a->status == x.groups[g].tasks[t].sm.status, "a task has not the status the event gives it");
            MUST(a->retry_id == x.groups[g].tasks[t].sm.retry_id, "a task is not at the attempt it should be at");
            MUST(a->retry_id <= m->a->max_retry, "the retry limit is exceeded");
            MUST(!finished(b->status) || memcmp(a, b, sizeof *a) == 0, "a finished attempt changed");
            MUST(finished(a->status) == (a->end_us != 0), "end of a task without its time");
        }
        MUST(finished(ag->sm.status) == group_done(ag), "a group is finished and a task is not, or the reverse");
        MUST(finished(ag->sm.status) == (ag->sm.end_us != 0), "end of a group without its time");
        MUST(ag->sm.status == naive_group(bg, ag, m->ev->kind == SMW_ACCEPTED), "status of a group");
        MUST(!finished(bg->sm.status) || memcmp(&ag->sm, &bg->sm, sizeof ag->sm) == 0, "a finished group changed");
    }
    MUST(m->a->sm.status == naive_workflow(m->b, m->a), "status of the workflow");
    MUST(!finished(m->b->sm.status) || memcmp(&m->a->sm, &m->b->sm, sizeof m->a->sm) == 0,
         "a finished workflow changed");
    MUST(finished(m->a->sm.status) == (m->a->sm.end_us != 0), "end of the workflow without its time");
}

static void check_counters(const struct move *m) {
    struct smw x;
    copy(&x, m->a);
    recount(&x);
    MUST(x.uncleaned == m->a->uncleaned, "number of groups that are not cleaned");
    MUST(memcmp(&x.sm, &m->a->sm, sizeof x.sm) == 0, "counters of the workflow");
    for (size_t g = 0; g < x.ngroups; g++)
        MUST(memcmp(&x.groups[g].sm, &m->a->groups[g].sm, sizeof x.groups[g].sm) == 0, "counters of a group");
}

/* Nothing runs too early, and whatever is not finished is waiting for something that will come. */
static void check_obligations(const struct move *m, const struct ghost *gh) {
    for (size_t g = 0; g < m->a->ngroups; g++) {
        const struct smw_group *a = &m->a->groups[g];
        enum status s = a->sm.status;
        int up = upstream_state(m->a, g);
        bool reached = s >= S(PROCESSING) && s <= S(RUNNING);
        int open = 0;
        for (size_t u = 0; u < g; u++)
            open += (a->upstream >> u & 1) && m->a->groups[u].sm.status != S(COMPLETED);
        MUST(!(reached || a->sent || gh->creates[g]) || up == 1, "started before its upstream completed");
        MUST(finished(s) || a->sm.remaining_upstream == open, "number of upstream groups that remain");
        MUST(s != S(WAITING) || (up == 0 && !m->a->cancel_requested), "waits for nothing");
        MUST(s != S(SUBMITTING) || !m->a->cancel_requested, "not accepted and never will be");
        MUST(s != S(PROCESSING) || a->sent || gh->creates[g] == 1, "to be created and no job does it");
        MUST(gh->creates[g] <= 1, "created twice");
        MUST(!a->sent || gh->creates[g] == 1, "sent and never asked for");
        MUST(gh->cleanups[g] == (finished(s) && a->sent), "a cleanup is missing or too many");
        MUST(!a->cleaned || finished(s), "cleaned before its end");
        MUST(a->cleaned || !finished(s) || a->sent, "cleanup of a group that the backend never had");
        MUST(a->sent == m->b->groups[g].sent || m->ev->kind == SMW_SENT, "sent by another event");
        MUST(!m->a->cancel_requested || finished(s), "goes on after the cancel");
    }
    MUST(m->a->archived == (finished(m->a->sm.status) && m->a->uncleaned == 0), "archive too early or never");
}

enum { KINDS = SMW_ARCHIVE + 1 };

static void expect_group(const struct move *m, size_t g, int (*want)[4]) {
    const struct smw_group *b = &m->b->groups[g], *a = &m->a->groups[g];
    enum status from = b->sm.status, to = a->sm.status;
    bool ends = !finished(from) && finished(to), mine = m->ev->kind == SMW_REPORT && (size_t)m->ev->group == g;
    want[SMW_CREATE][g] = from < S(PROCESSING) && to >= S(PROCESSING) && to <= S(RUNNING);
    want[SMW_CLEANUP][g] = ends && a->sent;
    want[SMW_CLEANUP_FORCED][g] = m->ev->kind == SMW_FORCE_CANCEL && a->sent;
    want[SMW_ARM_QUEUE][g] = from != to && to == S(SCHEDULING);
    want[SMW_ARM_EXEC][g] = from != to && to == S(RUNNING);
    want[SMW_BARRIER_CLEAR][g] = ends;
    if (!mine)
        return;
    int ti = m->ev->task;
    bool retried = a->tasks[ti].sm.retry_id != b->tasks[ti].sm.retry_id;
    bool counts = ti == 0 || !a->sm.ignore_nonlead_status;
    want[SMW_RESCHEDULE][g] = retried;
    for (int t = 0; retried && counts && t < (int)a->ntasks; t++)
        want[SMW_RESTART][g] += t != ti && (b->tasks[t].sm.status == S(RUNNING) ||
                                            b->tasks[t].sm.status == S(INITIALIZING));
    want[SMW_BARRIER_CLEAR][g] += retried && counts;
    bool over = retried || (finished(a->tasks[ti].sm.status) && !finished(b->tasks[ti].sm.status));
    want[SMW_BARRIER_LEAVE][g] = over && !want[SMW_BARRIER_CLEAR][g];
}

static void check_effects(const struct move *m) {
    int want[KINDS][4] = { { 0 } }, got[KINDS][4] = { { 0 } };
    for (size_t g = 0; g < m->a->ngroups; g++)
        expect_group(m, g, want);
    want[SMW_FINISH][0] = !finished(m->b->sm.status) && finished(m->a->sm.status);
    want[SMW_ARCHIVE][0] = !m->b->archived && m->a->archived;
    for (size_t i = 0; i < m->fx->n; i++) {
        const struct smw_effect *e = &m->fx->items[i];
        got[e->what][e->group < 0 ? 0 : e->group]++;
        MUST(e->what != SMW_RESCHEDULE ||
                 (e->task == m->ev->task && e->retry_id == m->ev->retry_id + 1 && !m->a->cancel_requested),
             "a reschedule of the wrong attempt, or after a cancel");
        MUST(e->what != SMW_RESTART || (e->task != m->ev->task && e->group == m->ev->group),
             "restart of the wrong task");
        MUST(e->what != SMW_BARRIER_LEAVE || e->task == m->ev->task, "another task leaves the barrier");
    }
    MUST(memcmp(want, got, sizeof want) == 0, "the effects are not those of the change");
}

/* A failure names the task that gave the group its status, and the workflow the group that gave it its own. */
static void check_causes(const struct move *m) {
    int highest = -1;
    for (size_t g = 0; g < m->a->ngroups; g++) {
        const struct smw_group *a = &m->a->groups[g];
        enum status s = a->sm.status;
        int rank = sm_failure_rank(s);
        highest = rank > highest ? rank : highest;
        if (!failed(s) || finished(m->b->groups[g].sm.status))
            continue;
        if (m->ev->kind != SMW_REPORT || (size_t)m->ev->group != g) {
            MUST(a->cause.task == -1 && failed(a->cause.status), "cause of a group that ended as a whole");
            continue;
        }
        const struct smw_task *t = a->cause.task < 0 ? NULL : &a->tasks[a->cause.task];
        MUST(t && t->reported && t->sm.status == a->cause.status && t->sm.exit_code == a->cause.exit_code,
             "the cause is not that of a task");
        MUST(a->cause.status == s || (s == S(FAILED) && failed(a->cause.status)),
             "the cause does not explain the status");
        MUST(s == S(FAILED_PREEMPTED) || a->cause.task == 0 || !a->sm.ignore_nonlead_status,
             "an ignored task is blamed");
    }
    MUST((m->a->cause.status == S(NONE)) == (highest < 1), "the failure of the workflow has no cause");
    MUST(highest < 1 || sm_failure_rank(m->a->groups[m->a->cause.group].sm.status) == highest,
         "the cause of the workflow is not its status");
}

/* ---- invariants of one state ---- */

/* The same event again, and statuses that no pod has, change nothing. */
static void check_repetition(const struct move *m, bool again, const uint8_t *key, const struct ghost *gh) {
    struct smw x;
    struct smw_effects fx;
    uint8_t other[KEY_MAX];
    copy(&x, m->a);
    smw_event(&x, m->ev, 2, &fx);
    encode(m->v, &x, gh, other);
    MUST(memcmp(key, other, m->v->key_len) == 0, "a repeated event changes the state");
    MUST(fx.n == 0 || m->ev->kind == SMW_FORCE_CANCEL, "a repeated event has effects");
    static const enum status foreign[] = { S(WAITING), S(PROCESSING), S(RESCHEDULED), S(FAILED_CANCELED),
                                           S(FAILED_UPSTREAM), S(FAILED_SERVER_ERROR), S(FAILED_EXEC_TIMEOUT) };
    for (size_t i = 0; again && i < sizeof foreign / sizeof *foreign; i++) {
        struct smw_event ev = { .kind = SMW_REPORT, .status = foreign[i], .exit_code = 5,
                                .retry_id = m->a->groups[0].tasks[0].sm.retry_id };
        smw_event(&x, &ev, 2, &fx);
        encode(m->v, &x, gh, other);
        MUST(memcmp(key, other, m->v->key_len) == 0 && fx.n == 0, "a backend reported what no pod can have");
    }
}

/* From everywhere the way to the end is open when jobs are done and tasks complete. */
static void check_way_out(const struct move *m) {
    struct smw x;
    struct smw_effects fx;
    copy(&x, m->a);
    for (int round = 0; round < 8 && !x.archived; round++) {
        smw_event(&x, &(struct smw_event){ .kind = SMW_ACCEPTED }, 3, &fx);
        for (int g = 0; g < (int)x.ngroups; g++) {
            smw_event(&x, &(struct smw_event){ .kind = SMW_SENT, .group = g }, 3, &fx);
            smw_event(&x, &(struct smw_event){ .kind = SMW_REPORT, .group = g, .status = S(COMPLETED),
                                               .retry_id = x.groups[g].tasks[0].sm.retry_id }, 3, &fx);
            smw_event(&x, &(struct smw_event){ .kind = SMW_CLEANED, .group = g }, 3, &fx);
        }
    }
    MUST(x.archived && finished(x.sm.status), "stuck");
}

/* ---- the walk ---- */

static void try_event(struct world *v, const struct smw *b, const struct ghost *before, const uint8_t *from, size_t e) {
    struct smw a;
    struct smw_effects fx;
    struct ghost gh = *before;
    uint8_t key[KEY_MAX];
    copy(&a, b);
    struct move move = { v, b, &a, &v->events[e], v->meaning[e], &fx }, *m = &move;
    bool accepts = smw_event(&a, m->ev, 1, &fx);
    v->transitions++;
    MUST(accepts || (m->ev->kind == SMW_CANCEL && finished(b->sm.status) && fx.n == 0), "an event is refused");
    for (size_t i = 0; i < fx.n; i++) {
        uint8_t *count = fx.items[i].what == SMW_CREATE    ? gh.creates
                         : fx.items[i].what == SMW_CLEANUP ? gh.cleanups
                                                           : NULL;
        if (count && count[fx.items[i].group] < 3)
            count[fx.items[i].group]++;
    }
    check_statuses(m);
    check_counters(m);
    check_effects(m);
    encode(v, &a, &gh, key);
    if (memcmp(key, from, v->key_len) == 0) /* most of what comes late changes nothing: the state was checked before */
        return;
    check_obligations(m, &gh);
    check_causes(m);
    bool new = visit(v, key);
    check_repetition(m, new, key, &gh);
    if (new)
        check_way_out(m);
}

static void explore(const struct shape *shape, int64_t max_retry, size_t *states, uint64_t *transitions) {
    struct world v;
    struct smw b;
    struct ghost gh = { { 0 }, { 0 } };
    uint8_t key[KEY_MAX];
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    bool ready = world_open(&v, shape, max_retry);
    CHECK(ready);
    if (ready) {
        encode(&v, &v.first, &gh, key);
        visit(&v, key);
    }
    for (size_t at = 0; at < v.nkeys && v.complaints < COMPLAINTS_MAX; at++) {
        memcpy(key, v.keys + at * v.key_len, v.key_len);
        decode(&v, key, &b, &gh);
        for (size_t e = 0; e < v.nevents; e++)
            try_event(&v, &b, &gh, key, e);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("    %-26s retry limit %d: %3zu events, %8zu states, %10llu transitions, %.2f s\n", shape->name,
           (int)max_retry, v.nevents, v.nkeys, (unsigned long long)v.transitions,
           (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9);
    *states += v.nkeys;
    *transitions += v.transitions;
    world_close(&v);
}

static void all_shapes(void) {
    size_t states = 0;
    uint64_t transitions = 0;
    printf("\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int64_t retries = 0; retries <= shapes[i].max_retry; retries++)
            explore(&shapes[i], retries, &states, &transitions);
    printf("    visited %zu states by %llu transitions\n", states, (unsigned long long)transitions);
    CHECK(states > 1000);
}

static const struct check_test tests[] = {
    { "every order of events in small workflows", all_shapes },
};
TEST_MAIN("sm_explore", tests)
