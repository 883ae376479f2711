/* Backends that are not heard of any more, where the settings say that their work is to end (`offline: {action: fail}`). The
 * delayed-job monitor calls offline_turn and sleeps until the next backend may be lost; whether one is, the database decides: its last
 * heartbeat, whichever service has taken it, and since when any service has listened. A lost backend's unfinished groups fail and its
 * cleanups become dead letters, so that workflows and their logs end; both are taken up again when it returns (offline_returned). */
#include <string.h>

#include "base/clock.h"
#include "engine/engine_internal.h"
#include "engine/reconcile.h"
#include "model/reconcile.h"
#include "store/repo_reconcile.h"

#define KV_LISTENING "offline_listening" /* "SINCE SEEN" */
#define TURN_US (OFFLINE_GAP_US / 3)     /* between two looks */
#define WORKFLOWS_PER_PAGE 64
#define REVIVED_PER_TXN 1000

/* ---- since when somebody listens ---- */

struct listening {
    int64_t now, since;
};

static int read_listening(db_t *db, int64_t *since, int64_t *seen, osmo_error_t *err) {
    _cleanup_free_ char *text = NULL;
    long long a = 0, b = 0;
    int rc = repo_kv_get(db, KV_LISTENING, &text, err);
    if (rc >= 0 && sscanf(text, "%lld %lld", &a, &b) != 2)
        a = b = 0;
    *since = a;
    *seen = b;
    return gone_is_fine(rc);
}

static int listening_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct listening *l = ctx;
    int64_t since = 0, seen = 0;
    char text[64];
    int rc = read_listening(db, &since, &seen, err);
    if (rc < 0)
        return rc;
    l->since = offline_listening(since, seen, l->now);
    snprintf(text, sizeof text, "%lld %lld", (long long)l->since, (long long)(seen > l->now && since == l->since ? seen : l->now));
    return repo_kv_set(db, KV_LISTENING, text, err);
}

int offline_since(engine_t *e, db_t *db, const char *backend, int64_t heartbeat_us, struct offline_policy *policy, int64_t *deadline_us,
                  osmo_error_t *err) {
    const struct settings *settings = engine_settings(e);
    int64_t since = 0, seen = 0;
    *policy = settings_offline(settings, backend);
    engine_settings_put(settings);
    int rc = policy->action == OFFLINE_FAIL ? read_listening(db, &since, &seen, err) : 0;
    *deadline_us = offline_deadline(policy, heartbeat_us, offline_listening(since, seen, engine_now(e)));
    return rc;
}

/* ---- a lost backend ---- */

struct loss {
    const char *backend, *cause;
    const char *owed; /* the same, of what is done later */
    int64_t after; /* ordinal of the last group that is done with; -1: none yet */
    bool begun;    /* something of the workflow is at the backend that is not finished: the workflow ends. Out of the first turn */
    bool more;     /* out */
    int64_t last;  /* out: for `after` */
    size_t failed; /* out: groups of this turn */
};

/* Nobody can remove its objects now; what is owed stays visible, and the log of the workflow need not wait for it. */
static int bury_cleanup(struct txn *x, struct group_row *g, const char *cause) {
    int rc = repo_work_add(x->db, WORK_CLEANUP, g->uuid, x->wf.uuid, x->wf.backend, 5, "{}", x->now, x->err);
    if (rc >= 0)
        rc = repo_work_bury(x->db, g->uuid, cause, x->now, x->err);
    return rc < 0 ? rc : txn_group_cleaned(x, g);
}

/* Groups that wait for others fail with those. What was not handed out of a workflow that has begun ends with the rest of it. */
static int lose_group(struct txn *x, struct group_row *g, struct loss *l) {
    bool sent = group_was_sent(g);
    int rc = 0;
    if (l->begun && !status_is_group_finished(g->sm.status) && g->sm.remaining_upstream == 0) {
        rc = txn_group_fail(x, g, STATUS_FAILED_BACKEND_ERROR, EXIT_BACKEND, l->cause);
        l->failed++;
    }
    return rc >= 0 && sent && status_is_group_finished(g->sm.status) && !g->cleaned_up ? bury_cleanup(x, g, l->owed) : rc;
}

static int decide_loss(struct txn *x, void *arg) {
    struct loss *l = arg;
    struct group_row *groups = NULL;
    size_t n = 0;
    bool lost = false;
    int64_t unfinished = 0;
    l->more = false;
    l->failed = 0;
    int rc = repo_backend_is_lost(x->db, l->backend, &lost, x->err);
    if (rc < 0 || !lost || !str_eq(x->wf.backend, l->backend))
        return rc;
    if (l->after < 0) {
        rc = repo_placed_unfinished(x->db, x->wf.uuid, l->backend, &unfinished, x->err);
        l->begun = unfinished > 0;
    }
    if (rc >= 0)
        rc = repo_groups_after(x->db, x->wf.uuid, l->after, GROUPS_PER_TXN, &groups, &n, x->err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = lose_group(x, &groups[i], l);
    l->last = n ? groups[n - 1].ordinal : l->after;
    l->more = n == GROUPS_PER_TXN;
    group_rows_free(groups, n);
    return rc;
}

static int lose_workflow(engine_t *e, const char *workflow_uuid, struct loss *l, size_t *failed, osmo_error_t *err) {
    int rc;
    l->after = -1;
    do {
        rc = reactor_run(e, workflow_uuid, decide_loss, l, err);
        if (rc >= 0)
            *failed += l->failed;
        l->after = l->last;
    } while (rc >= 0 && l->more);
    return rc;
}

static int lose_work(engine_t *e, db_t *db, const struct backend_life *b, bool (*stopped)(void *), void *ctx, osmo_error_t *err) {
    char since[TIME_TEXT_MAX], after[33] = "";
    size_t failed = 0;
    _cleanup_free_ char *cause =
        str_printf("backend %s has not been heard of since %s UTC", b->name, time_log(b->heartbeat_us, since));
    _cleanup_free_ char *owed = cause ? str_printf("%s; it is tried again when the backend is back", cause) : NULL;
    struct loss l = { .backend = b->name, .cause = cause, .owed = owed };
    int rc = owed ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (bool more = true; rc >= 0 && more && !stopped(ctx);) {
        strlist_t uuids = { 0 };
        rc = repo_placed_workflows(db, b->name, after, WORKFLOWS_PER_PAGE, &uuids, err);
        more = uuids.len == WORKFLOWS_PER_PAGE;
        for (size_t i = 0; rc >= 0 && i < uuids.len && !stopped(ctx); i++) {
            rc = lose_workflow(e, uuids.items[i], &l, &failed, err);
            snprintf(after, sizeof after, "%s", uuids.items[i]);
        }
        strlist_free(&uuids);
    }
    if (failed)
        log_warning(&e->log, "%s: %zu groups failed", cause, failed);
    return rc;
}

struct losing {
    const struct backend_life *b;
    int64_t now;
    bool lost;
};

static int lose_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct losing *l = ctx;
    return repo_backend_lose(db, l->b->name, l->b->heartbeat_us, l->now, &l->lost, err);
}

static int lose_backend(engine_t *e, const struct backend_life *b, bool *lost, osmo_error_t *err) {
    struct losing l = { .b = b, .now = engine_now(e) };
    int rc = store_write(e->store, NULL, lose_run, &l, err);
    *lost = rc >= 0 && l.lost;
    if (*lost)
        log_error(&e->log, "backend %s counts as lost: its operator has not been heard of for as long as its offline policy waits",
                  b->name);
    return rc;
}

/* ---- the turn of the monitor ---- */

static bool any_fails(const struct settings *s) {
    bool any = s->offline.action == OFFLINE_FAIL;
    for (size_t i = 0; i < s->nbackends && !any; i++)
        any = settings_offline(s, s->backends[i].name).action == OFFLINE_FAIL;
    return any;
}

/* Of one backend; lowers *wait_us to the time until it may be lost. */
static int look_at(engine_t *e, db_t *db, const struct backend_life *b, const struct offline_policy *p, int64_t since,
                   bool (*stopped)(void *), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    int64_t deadline = offline_deadline(p, b->heartbeat_us, since), left = deadline - engine_now(e);
    bool lost = b->lost_us > 0;
    int rc = 0;
    if (!deadline)
        return 0;
    if (!lost && left > 0) {
        *wait_us = left < *wait_us ? left : *wait_us;
        return 0;
    }
    if (!lost)
        rc = lose_backend(e, b, &lost, err);
    return rc < 0 || !lost ? rc : lose_work(e, db, b, stopped, ctx, err);
}

static int look_at_all(engine_t *e, const struct settings *s, bool (*stopped)(void *), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    struct listening l = { .now = engine_now(e) };
    struct backend_life *lives = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_write(e->store, NULL, listening_run, &l, err);
    if (rc >= 0)
        rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_backend_lives(db, &lives, &n, err);
    for (size_t i = 0; rc >= 0 && i < n && !stopped(ctx); i++) {
        struct offline_policy p = settings_offline(s, lives[i].name);
        rc = look_at(e, db, &lives[i], &p, l.since, stopped, ctx, wait_us, err);
    }
    backend_lives_free(lives, n);
    return rc;
}

int offline_turn(engine_t *e, int64_t *next_us, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    int64_t now = engine_now(e), wait = TURN_US;
    int rc = 0;
    if (now < *next_us && *next_us - now <= TURN_US) { /* more: the clock was set back */
        wait = *next_us - now;
    } else {
        const struct settings *s = engine_settings(e);
        rc = backends_end_turn(e, stopped, ctx, err);
        if (rc >= 0 && any_fails(s))
            rc = look_at_all(e, s, stopped, ctx, &wait, err);
        engine_settings_put(s);
        *next_us = engine_now(e) + wait;
    }
    *wait_us = wait < *wait_us ? wait : *wait_us;
    return rc;
}

/* ---- the return ---- */

struct revival {
    struct agent_session *s;
    size_t kind;
    int64_t count;
};

static const char *const revived_kinds[] = { WORK_CLEANUP, WORK_ORPHAN };

static int revive_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct revival *r = ctx;
    r->count = 0;
    return repo_work_revive_at(db, r->s->backend, revived_kinds[r->kind], engine_now(r->s->e), REVIVED_PER_TXN, &r->count, err);
}

static void revive_done(void *ctx, int rc, const osmo_error_t *err) {
    struct revival *r = ctx;
    if (rc >= 0 && r->count)
        engine_wake(r->s->e, WAKE_WORK);
    if (rc >= 0 && r->count < REVIVED_PER_TXN)
        r->kind++;
    if (rc >= 0 && r->kind < ARRAY_SIZE(revived_kinds))
        rc = store_post(r->s->e->store, NULL, revive_run, revive_done, r);
    else if (rc >= 0)
        rc = 1;
    if (rc == 0)
        return;
    if (rc < 0)
        log_error(&r->s->e->log, "the dead letters of backend %s were not taken up, `osmo work retry` does it: %s", r->s->backend,
                  err && *err->text ? err->text : "the store does not accept more work");
    session_unref(r->s);
    free(r);
}

void offline_returned(struct agent_session *s) {
    struct revival *r = calloc(1, sizeof *r);
    log_info(&s->e->log, "backend %s was lost and is back: what is owed there is done now", s->backend);
    if (!r) {
        log_error(&s->e->log, "out of memory: `osmo work retry` takes up the dead letters of backend %s", s->backend);
        return;
    }
    r->s = s;
    session_ref(s);
    int rc = store_post(s->e->store, NULL, revive_run, revive_done, r);
    if (rc < 0)
        revive_done(r, rc, NULL);
}
