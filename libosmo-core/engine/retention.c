/* Retention: finished workflows that are older than the settings keep them are deleted, oldest first; and the log store's
 * copies of archived logs are dropped when they have been kept long enough beside the archive. Called by the delayed-job
 * monitor. A workflow disappears with its own row; groups, tasks, history, events and files follow in transactions of bounded
 * size, and what a crash leaves of them goes at the next start. */
#include <string.h>

#include "engine/archive.h"
#include "engine/engine_internal.h"
#include "engine/logs_internal.h"
#include "engine/reactor_internal.h"
#include "engine/replicas.h"
#include "store/repo_archive.h"

#define PIECE_ROWS 5000 /* of one kind in one transaction */
#define SWEEP_MAX 100   /* workflows of one turn of the monitor */
#define STUCK_MAX 1000  /* that are passed over in one turn, because they cannot go now */
#define STUCK_WAIT_US (60LL * 1000 * 1000)

struct deletion {
    const char *uuid, *owner;
    int64_t now;
    bool hidden, more;
};

static int hide_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct deletion *d = ctx;
    return repo_retention_hide(db, d->uuid, d->owner, d->now, &d->hidden, err);
}

static int piece_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct deletion *d = ctx;
    return repo_submission_remove(db, d->uuid, PIECE_ROWS, &d->more, err);
}

/* Log and archive first: nothing would find them by the id of a workflow that is gone. Of several services that do this at once
 * one hides the workflow, and that one removes the rest. */
static int delete_workflow(engine_t *e, const struct expired_row *w, bool with_archive, int64_t now, osmo_error_t *err) {
    struct deletion d = { .uuid = w->uuid, .owner = replicas_id(e), .now = now, .more = true };
    int rc = e->logs ? logstore_remove(e->logs, w->id, err) : 0;
    if (rc >= 0 && with_archive && (rc = archive_remove(e, w->id, err)) < 0)
        osmo_error_prefix(err, "its archive could not be deleted");
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, hide_run, &d, err);
    while (rc >= 0 && d.hidden && d.more)
        rc = store_write(e->store, w->uuid, piece_run, &d, err);
    if (rc >= 0)
        watch_workflow_changed(e, w->uuid, w->id); /* nothing more comes for those that follow it */
    if (rc >= 0 && d.hidden)
        log_info(&e->log, "workflow %s was deleted: it ended longer ago than workflow.retention keeps it", w->id);
    return rc;
}

/* ---- copies of logs ---- */

struct drop {
    const char *uuid;
    enum archive_state state;
};

/* What is still to be archived keeps what it is to be made from. The workflow's lock decides between this and new items. */
static int drop_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct drop *d = ctx;
    struct workflow_row w = { 0 };
    int64_t items = 0;
    int rc = repo_workflow_lock(db, d->uuid, &w, err);
    if (rc >= 0)
        rc = repo_archive_items(db, d->uuid, WORK_ARCHIVE, &items, err);
    if (rc >= 0 && items)
        rc = osmo_error_set(err, OSMO_EBUSY, "workflow %s has still to be archived", w.id);
    workflow_row_clear(&w);
    if (rc < 0)
        return rc;
    rc = repo_archive_set(db, d->uuid, d->state, err);
    return rc < 0 || d->state != ARCHIVE_ONLY ? rc : repo_file_drop_errors(db, d->uuid, err);
}

/* From the first transaction on, readers go to the archive; until the second, this is done again after a crash. An archive that is
 * somewhere else now, or not mounted, must not cost the only copy that can be read. */
static int drop_copy(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    struct drop d = { w->uuid, ARCHIVE_DROPPING };
    (void)now;
    int rc = archive_has_log(e, w->id, err);
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, drop_run, &d, err);
    if (rc >= 0)
        rc = e->logs ? logstore_remove(e->logs, w->id, err) : 0;
    d.state = ARCHIVE_ONLY;
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, drop_run, &d, err);
    if (rc < 0)
        return gone_is_fine(rc); /* the whole workflow is */
    atomic_fetch_add(&e->loggers->dropped, 1);
    watch_workflow_changed(e, w->uuid, w->id); /* whoever has not read to the end goes on in the archive */
    return rc;
}

/* ---- both are a walk from the oldest on ---- */

struct walk {
    int (*next)(db_t *db, int64_t after_us, const char *after_uuid, struct expired_row *out, osmo_error_t *err);
    int (*take)(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err);
    const char *what;
    int64_t keep_us;
};

static int take_workflow(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    return delete_workflow(e, w, false, now, err);
}

static int take_with_archive(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    return delete_workflow(e, w, true, now, err);
}

/* One that cannot go must not keep the others, nor the monitor, from going on. 1: it has to be tried again. */
static int take_one(engine_t *e, const struct walk *k, const struct expired_row *w, int64_t now, bool *told, osmo_error_t *err) {
    osmo_error_t mine = OSMO_ERROR_INIT;
    int rc = k->take(e, w, now, &mine);
    if (rc == OSMO_EDATABASE || rc == OSMO_ENOMEM)
        return osmo_error_set(err, rc, "%s", mine.text);
    if (rc < 0 && rc != OSMO_EBUSY && !*told) {
        log_warning(&e->log, "workflow %s: %s: %s; it is tried again", w->id, k->what, mine.text);
        *told = true;
    }
    return rc < 0;
}

static int sweep(engine_t *e, const struct walk *k, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us,
                 osmo_error_t *err) {
    struct expired_row w = { 0 }, last = { 0 };
    int64_t now = engine_age_now(e), left = INT64_MAX;
    size_t taken = 0, stuck = 0;
    bool told = false; /* the others have most likely the same cause */
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    while (rc >= 0 && !stopped(ctx)) {
        rc = k->next(db, last.end_us, last.uuid, &w, err);
        if (rc < 0)
            break;
        left = w.end_us + k->keep_us - now;
        if (left > 0 || taken == SWEEP_MAX || stuck == STUCK_MAX)
            break;
        rc = take_one(e, k, &w, now, &told, err);
        *(rc > 0 ? &stuck : &taken) += 1;
        last.end_us = w.end_us;
        memcpy(last.uuid, w.uuid, sizeof last.uuid);
        expired_row_clear(&w);
        left = INT64_MAX;
    }
    expired_row_clear(&w);
    left = left > 0 ? left : taken == SWEEP_MAX ? 0 : STUCK_WAIT_US;
    left = stuck && left > STUCK_WAIT_US ? STUCK_WAIT_US : left;
    *wait_us = left < *wait_us ? left : *wait_us;
    return rc == OSMO_ENOTFOUND || rc > 0 ? 0 : rc;
}

int retention_sweep(engine_t *e, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    struct walk copies = { repo_archive_next, drop_copy, "the log store keeps its copy of the log", s->archive_keep_local_us };
    struct walk workflows = { repo_retention_next, s->archive_delete ? take_with_archive : take_workflow,
                              "it is kept beyond its retention", s->retention_us };
    engine_settings_put(s);
    int rc = sweep(e, &copies, stopped, ctx, wait_us, err);
    return rc < 0 || workflows.keep_us <= 0 ? rc : sweep(e, &workflows, stopped, ctx, wait_us, err);
}
