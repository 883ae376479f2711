/* Retention: finished workflows that are older than the settings keep them are deleted, oldest first; and the log store's
 * copies of archived logs are dropped when they have been kept long enough beside the archive. Called by the delayed-job
 * monitor. A workflow disappears with its own row; groups, tasks, history, events and files follow in transactions of bounded
 * size, and what a crash leaves of them goes at the next start. */
#include <string.h>

#include "engine/archive.h"
#include "engine/engine_internal.h"
#include "engine/logs_internal.h"
#include "engine/replicas.h"
#include "store/repo_archive.h"

#define PIECE_ROWS 5000 /* of one kind in one transaction */
#define SWEEP_MAX 100   /* workflows of one turn of the monitor */

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
    if (rc >= 0 && with_archive && (rc = archive_remove(e, w->id, err)) < 0) {
        log_warning(&e->log, "workflow %s is kept beyond its retention, its archive could not be deleted: %s", w->id,
                    err ? err->text : "");
        return OSMO_EBUSY;
    }
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, hide_run, &d, err);
    while (rc >= 0 && d.hidden && d.more)
        rc = store_write(e->store, w->uuid, piece_run, &d, err);
    if (rc >= 0 && d.hidden)
        log_info(&e->log, "workflow %s was deleted: it ended longer ago than workflow.retention keeps it", w->id);
    return rc;
}

/* ---- copies of logs ---- */

struct drop {
    const char *uuid;
    enum archive_state state;
};

static int drop_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct drop *d = ctx;
    int rc = repo_archive_set(db, d->uuid, d->state, err);
    return rc < 0 || d->state != ARCHIVE_ONLY ? rc : repo_file_drop_errors(db, d->uuid, err);
}

/* From the first transaction on, readers go to the archive; until the second, this is done again after a crash. */
static int drop_copy(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    struct drop d = { w->uuid, ARCHIVE_DROPPING };
    (void)now;
    int rc = store_write(e->store, w->uuid, drop_run, &d, err);
    if (rc >= 0)
        rc = e->logs ? logstore_remove(e->logs, w->id, err) : 0;
    d.state = ARCHIVE_ONLY;
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, drop_run, &d, err);
    atomic_fetch_add(&e->loggers->dropped, 1);
    watch_workflow_changed(e, w->uuid, w->id); /* whoever has not read to the end goes on in the archive */
    return rc;
}

/* ---- both are a walk from the oldest on ---- */

struct walk {
    int (*next)(db_t *db, int64_t after_us, const char *after_uuid, struct expired_row *out, osmo_error_t *err);
    int (*take)(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err);
    int64_t keep_us;
};

static int take_workflow(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    return delete_workflow(e, w, false, now, err);
}

static int take_with_archive(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    return delete_workflow(e, w, true, now, err);
}

static int sweep(engine_t *e, const struct walk *k, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us,
                 osmo_error_t *err) {
    struct expired_row w = { 0 }, last = { 0 };
    int64_t now = engine_age_now(e);
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    for (size_t i = 0; rc >= 0 && !stopped(ctx); i++) {
        rc = k->next(db, last.end_us, last.uuid, &w, err);
        if (rc < 0)
            break;
        int64_t left = w.end_us + k->keep_us - now;
        if (left > 0 || i == SWEEP_MAX) {
            left = left > 0 ? left : 0;
            *wait_us = left < *wait_us ? left : *wait_us;
            break;
        }
        rc = k->take(e, &w, now, err);
        rc = rc == OSMO_EBUSY ? 0 : rc; /* somebody reads its log: later */
        last.end_us = w.end_us;
        memcpy(last.uuid, w.uuid, sizeof last.uuid);
        expired_row_clear(&w);
    }
    expired_row_clear(&w);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

int retention_sweep(engine_t *e, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    struct walk copies = { repo_archive_next, drop_copy, s->archive_keep_local_us };
    struct walk workflows = { repo_retention_next, s->archive_delete ? take_with_archive : take_workflow, s->retention_us };
    engine_settings_put(s);
    int rc = sweep(e, &copies, stopped, ctx, wait_us, err);
    return rc < 0 || workflows.keep_us <= 0 ? rc : sweep(e, &workflows, stopped, ctx, wait_us, err);
}
