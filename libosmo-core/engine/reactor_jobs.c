/* Jobs at the backends as the reactor sees them: handing a group out, and what the outcome of its job changes. Called
 * by agent*.c; reactor_work_done and reactor_work_failed are the entry for others. */
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "engine/archive.h"
#include "engine/reactor_internal.h"
#include "store/repo_archive.h"
#include "store/repo_reconcile.h"

#define RETRY_FIRST_US (1000 * 1000)
#define RETRY_LAST_US (300LL * 1000 * 1000)

int64_t retry_delay_us(int64_t attempts) {
    int64_t delay = RETRY_FIRST_US;
    for (int64_t i = 0; i < attempts && delay < RETRY_LAST_US; i++)
        delay *= 2;
    if (delay > RETRY_LAST_US)
        delay = RETRY_LAST_US;
    uint32_t noise = 0;
    if (crypto_random(&noise, sizeof noise) < 0)
        noise = 0;
    return delay + (int64_t)(noise % (uint32_t)(delay / 4));
}

enum job_kind job_kind_of(const char *work_kind) {
    return str_eq(work_kind, WORK_CLEANUP)      ? JOB_CLEANUP
           : str_eq(work_kind, WORK_RESCHEDULE) ? JOB_RESCHEDULE
           : str_eq(work_kind, WORK_LABEL)      ? JOB_LABEL
           : str_eq(work_kind, WORK_ORPHAN)     ? JOB_ORPHAN
           : str_eq(work_kind, WORK_QUEUES)     ? JOB_QUEUES
           : str_eq(work_kind, WORK_TESTS)      ? JOB_TESTS
                                                : JOB_CREATE;
}

void job_result_free(void *p) {
    struct job_result *r = p;
    if (!r)
        return;
    for (size_t i = 0; i < r->nfiles; i++) {
        free(r->files[i].path);
        free(r->files[i].content);
    }
    free(r->files);
    free(r->payload);
    free(r->cause);
    free(r);
}

/* The job succeeded, or (dead) will never succeed: a cleanup that was given up must not keep the log of the workflow
 * open for ever; the dead letter remembers it. */
static int cleanup_settled(struct txn *x, const struct job_result *r) {
    struct group_row g = { 0 };
    int rc = repo_group_state(x->db, r->group_uuid, &g, x->err);
    if (rc >= 0)
        rc = txn_group_cleaned(x, &g);
    group_row_clear(&g);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

static int create_failed(struct txn *x, const struct job_result *r) {
    struct group_row g = { 0 };
    int rc = repo_group_state(x->db, r->group_uuid, &g, x->err);
    if (rc >= 0) {
        _cleanup_free_ char *text =
            str_printf("group %s could not be created: %s", g.name, r->cause ? r->cause : "no reason was given");
        rc = text ? txn_group_fail(x, &g, STATUS_FAILED_SERVER_ERROR, EXIT_SERVER, text)
                  : osmo_error_set(x->err, OSMO_ENOMEM, "out of memory");
    }
    group_row_clear(&g);
    return rc == OSMO_ENOTFOUND ? 0 : rc;
}

/* What nobody will do any more: a cleanup is kept as a dead letter, a label is only told, the rest has failed its group
 * or task. */
static int job_buried(struct txn *x, const struct job_result *r) {
    const char *cause = r->cause ? r->cause : "";
    if (r->kind == JOB_LABEL)
        log_error(&x->e->log, "a node of backend %s that failed a preflight test could not be labelled: %s",
                  x->wf.backend, cause);
    if (r->kind != JOB_CLEANUP)
        return gone_is_fine(repo_work_done(x->db, r->work_id, x->err));
    _cleanup_free_ char *text = str_printf("objects labelled osmo.group_uuid=%s may be left in backend %s: %s", r->group_uuid,
                                           x->wf.backend, *cause ? cause : "it gave no reason");
    if (!text)
        return osmo_error_set(x->err, OSMO_ENOMEM, "out of memory");
    log_error(&x->e->log, "the cleanup of a group of workflow %s was given up: %s", x->wf.id, text);
    return gone_is_fine(repo_work_kill(x->db, r->work_id, text, x->err));
}

/* A cleanup that was given up and tried again brings files when the workflow is archived, or is being archived right now. */
static int archive_late_files(struct txn *x, const struct job_result *r) {
    if (!status_is_workflow_finished(x->wf.sm.status) || x->wf.groups_uncleaned > 0)
        return 0;
    /* an item of its own: another one may be running, and has looked already which files there are */
    _cleanup_free_ char *key = str_printf("%s/late/%lld/%lld", x->wf.uuid, (long long)r->work_id, (long long)r->attempts);
    x->fx->wake |= WAKE_ARCHIVE;
    return key ? repo_work_hurry(x->db, WORK_ARCHIVE, key, x->wf.uuid, ARCHIVE_LANE, x->now, x->err)
               : osmo_error_set(x->err, OSMO_ENOMEM, "out of memory");
}

/* Unless another service has it by now, because this one seemed to be dead. What was done is done, whoever tells of it; what was not
 * is the other's to do. */
static int job_again(struct txn *x, const struct job_result *r) {
    bool mine = !*r->owner;
    int rc = mine ? 0 : repo_work_is_mine(x->db, r->work_id, r->owner, &mine, x->err);
    x->fx->wake |= WAKE_WORK;
    return rc < 0 || !mine ? rc : gone_is_fine(repo_work_retry(x->db, r->work_id, x->now + retry_delay_us(r->attempts),
                                                               r->cause ? r->cause : "", x->err));
}

static int decide_job(struct txn *x, void *arg) {
    const struct job_result *r = arg;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < r->nfiles; i++)
        rc = repo_file_put(x->db, x->wf.uuid, r->files[i].path, r->files[i].content, r->files[i].len, x->err);
    if (rc >= 0 && r->nfiles)
        rc = archive_late_files(x, r);
    if (rc < 0 || r->outcome == JOB_LOST)
        return rc;
    if (r->outcome == JOB_RETRY)
        return job_again(x, r);
    if (r->kind == JOB_CLEANUP)
        rc = cleanup_settled(x, r);
    else if (r->outcome == JOB_DONE && r->kind == JOB_CREATE)
        rc = repo_placement_confirm(x->db, r->group_uuid, "", 0, x->wf.uuid, x->wf.backend, x->now, x->err);
    else if (r->outcome == JOB_DONE && r->kind == JOB_RESCHEDULE)
        rc = reschedule_done(x, r);
    else if (r->outcome == JOB_FAILED && r->kind == JOB_CREATE)
        rc = create_failed(x, r);
    else if (r->outcome == JOB_FAILED && r->kind == JOB_RESCHEDULE)
        rc = reschedule_failed(x, r);
    if (rc < 0)
        return rc;
    return r->outcome == JOB_FAILED ? job_buried(x, r) : gone_is_fine(repo_work_done(x->db, r->work_id, x->err));
}

int reactor_job_result(engine_t *e, struct job_result *r, engine_done_fn done, void *ctx) {
    char uuid[33];
    memcpy(uuid, r->workflow_uuid, sizeof uuid);
    return reactor_post(e, uuid, decide_job, r, job_result_free, done, ctx);
}

static struct job_result *result_new(int64_t work_id, const char *kind, const char *workflow_uuid,
                                     const char *group_uuid) {
    struct job_result *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->work_id = work_id;
    r->kind = job_kind_of(kind);
    snprintf(r->workflow_uuid, sizeof r->workflow_uuid, "%s", workflow_uuid);
    snprintf(r->group_uuid, sizeof r->group_uuid, "%s", group_uuid);
    return r;
}

int reactor_work_done(engine_t *e, int64_t work_id, const char *kind, const char *workflow_uuid,
                      const char *group_uuid, engine_done_fn done, void *ctx) {
    struct job_result *r = result_new(work_id, kind, workflow_uuid, group_uuid);
    return r ? reactor_job_result(e, r, done, ctx) : OSMO_ENOMEM;
}

int reactor_work_failed(engine_t *e, int64_t work_id, const char *kind, const char *workflow_uuid,
                        const char *group_uuid, const char *cause, bool retry, engine_done_fn done, void *ctx) {
    struct job_result *r = result_new(work_id, kind, workflow_uuid, group_uuid);
    if (!r)
        return OSMO_ENOMEM;
    r->outcome = retry ? JOB_RETRY : JOB_FAILED;
    r->cause = str_dup(cause);
    return reactor_job_result(e, r, done, ctx);
}

/* ---- queueing ---- */

int groups_queue(db_t *db, const struct workflow_row *wf, const struct group_place *groups, size_t n, bool more,
                 int64_t now, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        char payload[48] = "{}";
        if (more && i == n / 2)
            snprintf(payload, sizeof payload, "{\"" WORK_NEXT "\":%lld}", (long long)groups[n - 1].ordinal);
        rc = repo_work_add(db, WORK_CREATE, groups[i].uuid, wf->uuid, wf->backend, 6, payload, now, err);
    }
    return rc;
}

int groups_queue_next(db_t *db, const struct workflow_row *wf, int64_t after, int64_t now, osmo_error_t *err) {
    struct group_place groups[START_BATCH];
    size_t n = 0;
    int rc = repo_groups_ready(db, wf->uuid, after, START_BATCH, groups, &n, err);
    return rc < 0 ? rc : groups_queue(db, wf, groups, n, n == START_BATCH, now, err);
}

/* ---- handing out ---- */

void handout_clear(struct handout *h) {
    workflow_row_clear(&h->wf);
    group_row_clear(&h->group);
    task_rows_free(h->tasks, h->ntasks);
    free(h->kinds_json);
    h->kinds_json = NULL;
    h->tasks = NULL;
    h->ntasks = 0;
    h->retry = NULL;
}

static int handout_drop(struct txn *x, struct handout *h) {
    h->drop = true;
    return gone_is_fine(repo_work_done(x->db, h->work_id, x->err));
}

/* Once: an item that is handed out again must not begin a second row of batches. */
static int handout_next(struct txn *x, const struct handout *h) {
    if (h->next_after < 0 || x->wf.cancel_requested)
        return 0;
    int rc = gone_is_fine(repo_work_payload(x->db, h->work_id, "{}", x->err));
    x->fx->wake |= WAKE_WORK;
    return rc < 0 ? rc : groups_queue_next(x->db, &x->wf, h->next_after, x->now, x->err);
}

/* A cancelled group that was not sent yet is dropped here; it left nothing behind in the cluster. */
static bool handout_is_void(const struct txn *x, const struct handout *h) {
    return h->kind != JOB_CLEANUP && (x->wf.cancel_requested || status_is_group_finished(h->group.sm.status));
}

static int handout_group(struct txn *x, struct handout *h) {
    int rc = handout_next(x, h);
    if (rc >= 0)
        rc = repo_group_get(x->db, h->group_uuid, &h->group, x->err);
    if (rc == OSMO_ENOTFOUND || (rc >= 0 && handout_is_void(x, h)))
        return handout_drop(x, h);
    if (rc >= 0 && h->kind == JOB_CREATE && !group_was_sent(&h->group)) {
        h->group.exec_generation = 1;
        rc = repo_group_update(x->db, &h->group, x->err);
        if (rc >= 0)
            rc = repo_placement_add(x->db, h->group.uuid, x->wf.uuid, x->wf.backend, x->err);
    }
    if (rc >= 0)
        rc = h->kind == JOB_CLEANUP ? repo_group_kinds_get(x->db, h->group_uuid, &h->kinds_json, x->err) : kinds_remember(x, h);
    if (rc >= 0)
        rc = repo_tasks_of_group(x->db, h->group_uuid, false, &h->tasks, &h->ntasks, x->err);
    if (rc >= 0 && h->kind == JOB_RESCHEDULE) {
        rc = reschedule_find(x, h);
        if (rc >= 0 && !h->retry)
            return handout_drop(x, h);
    }
    return rc;
}

int handout_decide(struct txn *x, void *arg) {
    struct handout *h = arg;
    handout_clear(h);
    h->drop = false;
    int rc = h->kind == JOB_LABEL ? 0 : handout_group(x, h);
    return rc < 0 || h->drop ? rc : repo_workflow_get(x->db, x->wf.uuid, &h->wf, x->err);
}
