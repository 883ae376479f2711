/* Retention: finished workflows that are older than the settings keep them are deleted, oldest first. Called by the
 * delayed-job monitor. A workflow disappears with its own row; groups, tasks, history, events and files follow in
 * transactions of bounded size, and what a crash leaves of them goes at the next start. */
#include <string.h>

#include "engine/engine_internal.h"
#include "store/repo_retention.h"

#define PIECE_ROWS 5000 /* of one kind in one transaction */
#define SWEEP_MAX 100   /* workflows of one turn of the monitor */

struct deletion {
    const char *uuid;
    int64_t now;
    bool hidden, more;
};

static int hide_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct deletion *d = ctx;
    return repo_retention_hide(db, d->uuid, d->now, &d->hidden, err);
}

static int piece_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct deletion *d = ctx;
    return repo_submission_remove(db, d->uuid, PIECE_ROWS, &d->more, err);
}

/* The log first: nothing would find it by the id of a workflow that is gone. */
static int delete_workflow(engine_t *e, const struct expired_row *w, int64_t now, osmo_error_t *err) {
    struct deletion d = { .uuid = w->uuid, .now = now, .more = true };
    int rc = e->logs ? logstore_remove(e->logs, w->id, err) : 0;
    if (rc >= 0)
        rc = store_write(e->store, w->uuid, hide_run, &d, err);
    while (rc >= 0 && d.hidden && d.more)
        rc = store_write(e->store, w->uuid, piece_run, &d, err);
    if (rc >= 0 && d.hidden)
        log_info(&e->log, "workflow %s was deleted: it ended longer ago than workflow.retention keeps it", w->id);
    return rc;
}

int retention_sweep(engine_t *e, bool (*stopped)(void *ctx), void *ctx, int64_t *wait_us, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    int64_t keep = s->retention_us, now = engine_age_now(e);
    engine_settings_put(s);
    struct expired_row w = { 0 }, last = { 0 };
    db_t *db;
    int rc = keep > 0 ? store_reader(e->store, &db, err) : OSMO_ENOTFOUND;
    for (size_t i = 0; rc >= 0 && !stopped(ctx); i++) {
        rc = repo_retention_next(db, last.end_us, last.uuid, &w, err);
        if (rc < 0)
            break;
        int64_t left = w.end_us + keep - now;
        if (left > 0 || i == SWEEP_MAX) {
            *wait_us = left > 0 ? left : 0;
            break;
        }
        rc = delete_workflow(e, &w, now, err);
        rc = rc == OSMO_EBUSY ? 0 : rc; /* somebody reads its log: later */
        last.end_us = w.end_us;
        memcpy(last.uuid, w.uuid, sizeof last.uuid);
        expired_row_clear(&w);
    }
    expired_row_clear(&w);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}
