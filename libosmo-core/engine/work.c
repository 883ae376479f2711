/* The worker role: runs the outbox items that need no backend, under a lease, with back-off and a dead letter at the
 * end. A kind of item is one row in the table below. Archiving waits for disks, so it has threads of its own. Called by engine.c;
 * woken through engine_wake. */
#include <string.h>

#include "base/clock.h"
#include "engine/archive.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "engine/replicas.h"
#include "store/repo_replica.h"

#define BATCH 32
#define ARCHIVERS 4
#define ARCHIVE_BATCH 8 /* of each; a full one wakes the next */
#define THREADS (1 + ARCHIVERS)
#define ATTEMPTS_MAX 8
#define LEASE_US (60LL * 1000 * 1000) /* an item takes far less; run twice, it does no harm */
#define POSTPONE_US (100LL * 1000)
#define CLEANUP_WAIT_US (3600LL * 1000 * 1000) /* the last cleanup brings the item forward */
#define LONGEST_WAIT_US (60LL * 1000 * 1000)

/* The first of THREADS takes what is not for the archivers. */
struct worker {
    engine_t *e;
    const char *backend; /* whose items; NULL: the worker's */
    size_t limit;
    struct worker *next; /* helps when there is much; may be NULL */
    pthread_t thread;
    bool started, usable;
    struct waker waker;
    char owner[48]; /* "<replica>/worker", "<replica>/archive-1" */
};

struct kind {
    const char *name;
    /* What is done outside of the database; may be NULL. */
    int (*run)(engine_t *e, const struct work_row *item, osmo_error_t *err);
    /* Writes what the success means, in the transaction that has deleted the item. */
    int (*settle)(struct txn *x, const struct work_row *item);
    int64_t (*attempts)(const struct settings *s); /* until it is a dead letter; NULL: ATTEMPTS_MAX */
};

static int archive_settle(struct txn *x, const struct work_row *item) {
    (void)item;
    x->wf.archived = true;
    x->fx->wake |= WAKE_TIMERS; /* its retention begins */
    x->fx->changed = true;
    x->wf_dirty = true;
    return 0;
}

static int64_t archive_attempts(const struct settings *s) { return s->archive_attempts; }

static const struct kind kinds[] = {
    { WORK_ARCHIVE, archive_workflow, archive_settle, archive_attempts },
    { WORK_CANCEL, NULL, cancel_resume, NULL },
    { WORK_PROPAGATE, NULL, propagate_resume, NULL },
};

static const struct kind *find_kind(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_eq(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

struct claim {
    struct worker *w;
    struct work_row *rows;
    size_t n;
};

static int claim_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct claim *c = ctx;
    work_rows_free(c->rows, c->n);
    c->rows = NULL;
    c->n = 0;
    return repo_work_claim(db, c->w->backend, c->w->owner, engine_now(c->w->e), LEASE_US, c->w->limit, &c->rows, &c->n, err);
}

struct outcome {
    const struct work_row *item;
    const struct kind *kind;
    int rc;
    const char *cause;
};

static bool is_last_attempt(engine_t *e, const struct outcome *o) {
    if (!o->kind)
        return true;
    const struct settings *s = engine_settings(e);
    int64_t most = o->kind->attempts ? o->kind->attempts(s) : ATTEMPTS_MAX;
    engine_settings_put(s);
    return o->item->attempts + 1 >= most;
}

/* Not yet, and no failure: something ends soon, or the backend has still to remove objects. */
static int64_t postponed(const struct txn *x, const struct outcome *o) {
    bool cleanup = str_eq(o->item->kind, WORK_ARCHIVE) && x->wf.groups_uncleaned > 0;
    return x->now + (cleanup ? CLEANUP_WAIT_US : POSTPONE_US);
}

/* An item that another service has taken, because this one seemed to be dead, is that one's to settle. */
static int decide_outcome(struct txn *x, void *arg) {
    const struct outcome *o = arg;
    bool mine = false;
    int held = repo_work_is_mine(x->db, o->item->id, o->item->owner, &mine, x->err);
    if (held < 0 || !mine)
        return held;
    if (o->rc >= 0) {
        int rc = gone_is_fine(repo_work_done(x->db, o->item->id, x->err));
        return rc < 0 ? rc : o->kind->settle(x, o->item);
    }
    if (o->rc == OSMO_EBUSY)
        return gone_is_fine(repo_work_postpone(x->db, o->item->id, postponed(x, o), x->err));
    if (is_last_attempt(x->e, o)) {
        log_error(&x->e->log, "%s of workflow %s was given up after %lld attempts: %s", o->item->kind, x->wf.id,
                  (long long)o->item->attempts + 1, o->cause);
        x->fx->changed = true; /* what is owed is part of the workflow's state */
        return gone_is_fine(repo_work_kill(x->db, o->item->id, o->cause, x->err));
    }
    return gone_is_fine(
        repo_work_retry(x->db, o->item->id, x->now + retry_delay_us(o->item->attempts), o->cause, x->err));
}

static void run_item(struct worker *w, const struct work_row *item) {
    osmo_error_t err = OSMO_ERROR_INIT, store_err = OSMO_ERROR_INIT;
    struct outcome o = { .item = item, .kind = find_kind(item->kind) };
    o.rc = o.kind ? o.kind->run ? o.kind->run(w->e, item, &err) : 0 : osmo_error_set(&err, OSMO_EINTERNAL, "unknown kind of work");
    o.cause = err.text;
    if (o.rc < 0 && o.rc != OSMO_EBUSY)
        log_warning(&w->e->log, "%s failed: %s", item->kind, err.text);
    if (reactor_run(w->e, item->workflow_uuid, decide_outcome, &o, &store_err) <
        0) /* the lease ends and the item is run again */
        log_error(&w->e->log, "the outcome of %s was not stored: %s", item->kind, store_err.text);
}

/* since: when items were looked for last. */
static int64_t next_wait(struct worker *w, int64_t since) {
    db_t *db;
    int64_t due = 0;
    int64_t longest = replicas_longest_wait(w->e, LONGEST_WAIT_US);
    if (store_reader(w->e->store, &db, NULL) < 0 || repo_work_next_due(db, since, &due, NULL) < 0 || !due)
        return longest;
    int64_t left = due - engine_now(w->e);
    return left < 0 ? 0 : left < longest ? left : longest;
}

/* Where others may bring work without a word, this thread looks every second, mostly for nothing: no reason to write. */
static bool is_due(struct worker *w) {
    db_t *db = NULL;
    bool due = true;
    if ((replicas_shared(w->e) || w->backend) && store_reader(w->e->store, &db, NULL) >= 0)
        repo_work_is_due(db, w->backend, engine_now(w->e), &due, NULL);
    return due;
}

struct giving_back {
    const char *owner;
    int64_t left; /* out */
};

static int release_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct giving_back *g = ctx;
    return repo_work_release(db, g->owner, &g->left, err);
}

static int release_one_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct giving_back *g = ctx;
    return repo_work_release_one(db, g->owner, &g->left, err);
}

int work_give_back(engine_t *e, const char *owner, osmo_error_t *err) {
    struct giving_back g = { .owner = owner };
    int rc = store_write(e->store, NULL, release_run, &g, err);
    while (rc >= 0 && g.left > 0)
        rc = store_write(e->store, NULL, release_one_run, &g, err);
    return rc;
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    int64_t failures = 0;
    while (!waker_stopped(&w->waker)) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct claim c = { .w = w };
        int64_t since = engine_now(w->e); /* what becomes due from here on may be missed by this turn */
        int rc = is_due(w) ? store_write(w->e->store, NULL, claim_run, &c, &err) : 0;
        size_t n = rc < 0 ? 0 : c.n;
        if (n == w->limit && w->next)
            waker_wake(&w->next->waker);
        for (size_t i = 0; i < n && !waker_stopped(&w->waker); i++)
            run_item(w, &c.rows[i]);
        work_rows_free(c.rows, c.n);
        if (n)
            continue;
        if (rc < 0)
            log_error(&w->e->log, "work items cannot be claimed, trying again: %s", err.text);
        failures = rc < 0 ? failures + 1 : 0;
        waker_wait(&w->waker, rc < 0 ? retry_delay_us(failures) : next_wait(w, since));
    }
    return NULL;
}

static void thread_init(engine_t *e, struct worker *w, size_t number) {
    w->e = e;
    w->limit = number ? ARCHIVE_BATCH : BATCH;
    w->backend = number ? ARCHIVE_LANE : NULL;
    w->next = number && number + 1 < THREADS ? w + 1 : NULL;
    if (number)
        snprintf(w->owner, sizeof w->owner, "%s/archive-%zu", replicas_id(e), number);
    else
        snprintf(w->owner, sizeof w->owner, "%s/worker", replicas_id(e));
    waker_init(&w->waker);
    w->usable = true;
}

int worker_open(engine_t *e, osmo_error_t *err) {
    struct worker *w = calloc(THREADS, sizeof *w);
    if (!w)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < THREADS; i++)
        thread_init(e, &w[i], i);
    e->worker = w;
    return 0;
}

int worker_start(engine_t *e, osmo_error_t *err) {
    for (size_t i = 0; i < THREADS; i++) {
        struct worker *w = &e->worker[i];
        w->started = pthread_create(&w->thread, NULL, worker_main, w) == 0;
        if (!w->started)
            return osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the worker threads: too many threads");
    }
    return 0;
}

bool worker_is_stopping(engine_t *e) {
    struct worker *last = e->worker ? &e->worker[THREADS - 1] : NULL;
    return last && last->usable && waker_stopped(&last->waker);
}

static void thread_stop(struct worker *w) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!w->started)
        return;
    pthread_join(w->thread, NULL);
    w->started = false;
    if (work_give_back(w->e, w->owner, &err) < 0)
        log_warning(&w->e->log, "leases of the worker were not returned, they end by themselves: %s", err.text);
}

void worker_stop(engine_t *e) {
    struct worker *w = e->worker;
    for (size_t i = 0; w && i < THREADS; i++)
        if (w[i].usable)
            waker_stop(&w[i].waker);
    for (size_t i = 0; w && i < THREADS; i++)
        thread_stop(&w[i]);
}

void worker_close(engine_t *e) {
    struct worker *w = e->worker;
    if (!w)
        return;
    worker_stop(e);
    for (size_t i = 0; i < THREADS; i++)
        if (w[i].usable)
            waker_destroy(&w[i].waker);
    e->worker = NULL;
    free(w);
}

void worker_wake(engine_t *e) {
    if (e->worker)
        waker_wake(&e->worker->waker);
}

void archivers_wake(engine_t *e) {
    if (e->worker)
        waker_wake(&e->worker[1].waker);
}
