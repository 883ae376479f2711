/* The transactions of a submission. A small one is a single transaction: workflow, groups, tasks, edges, files and the
 * create jobs of the groups that can start. A large one comes in chunks of groups and tasks, written while the next chunk
 * is made, and becomes a workflow with the last transaction; what a crash leaves of it is removed at the next start, or by
 * another service of the same database. Called by submit.c, and by engine.c and timers.c for that. */
#include <pthread.h>
#include <string.h>

#include "base/crypto.h"
#include "base/error.h"
#include "engine/agent_internal.h"
#include "engine/replicas.h"
#include "engine/submit_rows.h"

#define SPEC_FILE_MAX (256u << 20)
#define REMOVE_ROWS 5000 /* of one kind in one transaction */

/* One chunk, being filled or being written. */
struct load {
    struct rows_chunk rows;
    struct batch *b;
    bool first, busy;
    int rc;
    osmo_error_t err;
};

struct batch {
    struct submission *s;
    struct workflow_row wf;
    struct rows_filler filler;
    struct load loads[2];
    struct load *last; /* goes into the transaction of the workflow row; NULL when there are no groups */
    bool chunked;
    buf_t spec_file;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static void batch_init(struct batch *b, struct submission *s) {
    *b = (struct batch){ .s = s, .spec_file = BUF_INIT(SPEC_FILE_MAX) };
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->cond, NULL);
}

static void batch_clear(struct batch *b) {
    workflow_row_clear(&b->wf);
    rows_close(&b->filler);
    for (size_t i = 0; i < ARRAY_SIZE(b->loads); i++)
        rows_chunk_free(&b->loads[i].rows);
    buf_free(&b->spec_file);
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
}

static int fill_workflow(struct batch *b, const char *name, osmo_error_t *err) {
    struct submission *s = b->s;
    struct workflow_row *w = &b->wf;
    memcpy(w->uuid, s->uuid, sizeof w->uuid);
    w->name = str_dup(name);
    w->user = str_dup(s->rq->user);
    w->pool = str_dup(s->pool->name);
    w->backend = str_dup(s->pool->backend);
    w->priority = str_dup(submission_priority(s));
    w->labels_json = s->spec && s->spec->labels ? json_to_text(s->spec->labels) : str_dup("{}");
    w->parent_name = str_dup(s->parent_name);
    w->parent_job_id = s->parent_job_id;
    w->rsync = s->settings->rsync.enabled;
    w->outputs_below = s->settings->data_base_url && *s->settings->data_base_url ? s->settings->data_base_url : NULL;
    w->submit_us = engine_now(s->e);
    w->sm.status = STATUS_PENDING;
    return w->name && w->user && w->pool && w->backend && w->priority && w->labels_json ? 0 : no_memory(err);
}

static int fill_spec_file(struct batch *b, osmo_error_t *err) {
    int rc = spec_write_yaml(b->s->spec, &b->spec_file);
    if (rc == OSMO_ELIMIT)
        return osmo_error_set(err, rc, "the normalised specification is larger than %u MiB", SPEC_FILE_MAX >> 20);
    return rc < 0 ? no_memory(err) : 0;
}

/* ---- transactions ---- */

static int insert_workflow(db_t *db, struct batch *b, osmo_error_t *err) {
    free(b->wf.id); /* of an earlier run of this function that was not committed */
    b->wf.id = NULL;
    int rc = repo_workflow_insert(db, &b->wf, err);
    if (rc >= 0)
        rc = repo_history_add(db, b->wf.uuid, "workflow", STATUS_NONE, b->wf.sm.status, "submitted", b->wf.submit_us,
                              err);
    if (rc >= 0 && b->spec_file.len)
        rc = repo_file_put(db, b->wf.uuid, "workflow_spec.yaml", buf_cstr(&b->spec_file), b->spec_file.len, err);
    const char *uploaded = b->s->rq->uploaded_template;
    if (rc >= 0 && uploaded)
        rc = repo_file_put(db, b->wf.uuid, "templated_workflow_spec.yaml", uploaded, strlen(uploaded), err);
    return rc;
}

/* Others remove the submission of a service that seems to be gone. If it is not, it must neither add to what is removed nor make
 * a workflow of the rest. */
static int still_mine(db_t *db, const struct batch *b, osmo_error_t *err) {
    bool mine = false;
    int rc = repo_submission_is_mine(db, b->wf.uuid, replicas_id(b->s->e), &mine, err);
    return rc < 0 || mine ? rc : osmo_error_set(err, OSMO_EUNAVAIL, "the service was cut off from its database in the middle of "
                                                                    "the submission: submit again");
}

/* The transaction that makes the workflow: with it, everything of it is visible at once. */
static int insert_last(db_t *db, void *ctx, osmo_error_t *err) {
    struct batch *b = ctx;
    int rc = b->chunked ? still_mine(db, b, err) : 0;
    if (rc >= 0)
        rc = insert_workflow(db, b, err);
    if (rc >= 0)
        rc = rows_insert_chunk(db, &b->last->rows, b->wf.uuid, err);
    if (rc >= 0)
        rc = groups_queue(db, &b->wf, b->filler.ready, b->filler.nready, b->filler.more_ready, b->wf.submit_us, err);
    return rc >= 0 && b->chunked ? repo_submission_end(db, b->wf.uuid, err) : rc;
}

static int insert_chunk(db_t *db, void *ctx, osmo_error_t *err) {
    struct load *l = ctx;
    int rc = l->first ? repo_submission_begin(db, l->b->wf.uuid, replicas_id(l->b->s->e), l->b->wf.submit_us, err)
                      : still_mine(db, l->b, err);
    return rc < 0 ? rc : rows_insert_chunk(db, &l->rows, l->b->wf.uuid, err);
}

static void chunk_done(void *ctx, int rc, const osmo_error_t *err) {
    struct load *l = ctx;
    pthread_mutex_lock(&l->b->lock);
    l->rc = rc;
    if (rc < 0)
        l->err = *err;
    l->busy = false;
    pthread_cond_signal(&l->b->cond);
    pthread_mutex_unlock(&l->b->lock);
}

/* Waits until the chunk is written, and says whether it was. */
static int load_wait(struct load *l, osmo_error_t *err) {
    pthread_mutex_lock(&l->b->lock);
    while (l->busy)
        pthread_cond_wait(&l->b->cond, &l->b->lock);
    pthread_mutex_unlock(&l->b->lock);
    if (l->rc < 0 && err)
        *err = l->err;
    return l->rc;
}

static int load_post(struct load *l, osmo_error_t *err) {
    struct batch *b = l->b;
    l->first = !b->chunked;
    l->busy = b->chunked = true;
    int rc = store_post(b->s->e->store, b->wf.uuid, insert_chunk, chunk_done, l);
    if (rc >= 0)
        return 0;
    l->busy = false;
    return osmo_error_set(err, rc, "too many writes are waiting for the database: try again later");
}

/* Fills one chunk while the other is written. Ends with the last chunk, which is not written yet. */
static int load_all(struct batch *b, osmo_error_t *err) {
    bool more = true;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && more; i++) {
        struct load *l = &b->loads[i % 2];
        if (i < 2) {
            l->b = b;
            rc = rows_chunk_init(&l->rows, b->s->spec, err);
        } else {
            rc = load_wait(l, err);
            rows_chunk_reset(&l->rows);
        }
        if (rc >= 0)
            rc = rows_fill(&b->filler, &l->rows, &more, err);
        if (rc >= 0 && more)
            rc = load_post(l, err);
        b->last = l;
    }
    return rc;
}

/* Nothing may be running when the batch is cleared, whatever became of it. */
static int loads_settle(struct batch *b, int rc, osmo_error_t *err) {
    for (size_t i = 0; i < ARRAY_SIZE(b->loads); i++) {
        struct load *l = &b->loads[i];
        int written = l->b ? load_wait(l, rc < 0 ? NULL : err) : 0;
        rc = rc < 0 ? rc : written;
    }
    return rc;
}

/* ---- what was not finished ---- */

struct removal {
    const char *workflow_uuid;
    bool more;
};

static int remove_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct removal *r = ctx;
    return repo_submission_remove(db, r->workflow_uuid, REMOVE_ROWS, &r->more, err);
}

static int remove_rows(store_t *store, const char *workflow_uuid, osmo_error_t *err) {
    struct removal r = { .workflow_uuid = workflow_uuid, .more = true };
    int rc = 0;
    while (rc >= 0 && r.more)
        rc = store_write(store, workflow_uuid, remove_run, &r, err);
    return rc;
}

struct taking {
    const char *workflow_uuid, *owner;
    bool taken;
};

static int take_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct taking *t = ctx;
    return repo_submission_take(db, t->workflow_uuid, t->owner, &t->taken, err);
}

/* Of several services one does it. */
int submissions_recover(engine_t *e, osmo_error_t *err) {
    strlist_t uuids = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_submission_list(db, &uuids, err);
    for (size_t i = 0; rc >= 0 && i < uuids.len; i++) {
        struct taking t = { .workflow_uuid = uuids.items[i], .owner = replicas_id(e) };
        rc = store_write(e->store, t.workflow_uuid, take_run, &t, err);
        if (rc < 0 || !t.taken)
            continue;
        log_warning(&e->log, "the submission or deletion of workflow %s was cut off by the end of the service: its rows are removed",
                    uuids.items[i]);
        rc = remove_rows(e->store, uuids.items[i], err);
    }
    strlist_free(&uuids);
    return rc;
}

static void discard(struct batch *b) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (remove_rows(b->s->e->store, b->wf.uuid, &err) < 0)
        log_error(&b->s->e->log, "the rows of a failed submission stay until the next start: %s", err.text);
}

/* ---- the size of create jobs ---- */

#define POD_BYTES 4096 /* roughly what a pod takes in a compressed job, tokens included */

/* Only groups that may come near the limit are worth building. */
static bool may_be_too_large(const struct spec_group *g, size_t limit) {
    size_t bytes = g->ntasks * POD_BYTES;
    for (size_t t = 0; t < g->ntasks; t++)
        for (size_t i = 0; i < g->tasks[t].nfiles; i++)
            bytes += g->tasks[t].files[i].contents ? strlen(g->tasks[t].files[i].contents) : 0;
    return bytes > limit;
}

/* Builds the create job of one group as it will be sent. Its strings are borrowed. */
static int try_job(struct batch *b, size_t index, size_t limit, osmo_error_t *err) {
    const struct spec_group *g = &b->s->spec->groups[index];
    _cleanup_buf_ buf_t spec = BUF_INIT(GROUP_SPEC_MAX);
    struct job *j = calloc(1, sizeof *j);
    struct task_row *tasks = calloc(g->ntasks + 1, sizeof *tasks);
    int rc = j && tasks ? spec_group_write(b->s->spec, index, &spec) : OSMO_ENOMEM;
    if (rc >= 0) {
        struct handout h = { .wf = b->wf, .group = { .name = g->name, .spec_json = spec.data }, .tasks = tasks,
                             .ntasks = g->ntasks, .settings = b->s->settings };
        h.wf.id = b->wf.name;
        memcpy(h.group.uuid, b->filler.groups[index], sizeof h.group.uuid);
        for (size_t t = 0; t < g->ntasks; t++) {
            tasks[t].name = g->tasks[t].name;
            snprintf(tasks[t].uuid, sizeof tasks[t].uuid, "%.10s%022zx", b->filler.groups[index], t);
        }
        rc = job_frame(b->s->e, b->wf.backend, &h, limit, j, err);
    } else {
        osmo_error_set(err, rc, "the specification of group %s cannot be written: %s", g->name, osmo_error_name(rc));
    }
    job_free(j);
    free(tasks);
    return rc;
}

/* A group that no worker can take is refused here, not when its turn comes. What else may be wrong with a job is not
 * decided now: the backend may be unknown yet. */
static int check_jobs(struct batch *b, osmo_error_t *err) {
    size_t limit = agent_job_limit(b->s->e, b->wf.backend);
    for (size_t g = 0; g < b->s->spec->ngroups; g++) {
        osmo_error_t why = OSMO_ERROR_INIT;
        if (!may_be_too_large(&b->s->spec->groups[g], limit) || try_job(b, g, limit, &why) != OSMO_ELIMIT)
            continue;
        return osmo_error_set(err, OSMO_EUSER, "%.700s", why.text);
    }
    return 0;
}

/* ---- entry ---- */

/* Workflows of one name get their numbers one after another, so a server would commit each on its own while the others wait
 * for its name. A name always has the same lane: those that wait share a transaction, and no two transactions of a process
 * wait for each other's names. */
static void lane_of(const char *name, char key[16]) { snprintf(key, 16, "submit-%u", repo_name_lane(name)); }

static int store_batch(struct batch *b, osmo_error_t *err) {
    const struct spec *spec = b->s->spec;
    char lane[16];
    lane_of(spec->name, lane);
    int rc = fill_workflow(b, spec->name, err);
    b->wf.exec_timeout_us = spec->exec_timeout_us;
    b->wf.queue_timeout_us = spec->queue_timeout_us;
    if (rc >= 0)
        rc = rows_open(&b->filler, spec, &b->wf, START_BATCH, err);
    if (rc >= 0)
        rc = check_jobs(b, err);
    if (rc >= 0)
        rc = load_all(b, err);
    if (rc >= 0)
        rc = fill_spec_file(b, err);
    rc = loads_settle(b, rc, err);
    if (rc >= 0)
        rc = store_write(b->s->e->store, lane, insert_last, b, err);
    if (rc < 0 && b->chunked)
        discard(b);
    return rc;
}

int submission_store(struct submission *s, osmo_error_t *err) {
    _cleanup_(batch_clear) struct batch b;
    batch_init(&b, s);
    int rc = store_batch(&b, err);
    if (rc < 0)
        return rc;
    s->workflow_id = str_dup(b.wf.id);
    engine_wake(s->e, WAKE_WORK);
    watch_workflow_here(s->e, b.wf.id); /* nobody can follow it elsewhere yet */
    return s->workflow_id ? 0 : no_memory(err);
}

static int insert_failed(db_t *db, void *ctx, osmo_error_t *err) { return insert_workflow(db, ctx, err); }

void submission_record_failure(struct submission *s, const char *name, const char *message) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_(batch_clear) struct batch b;
    batch_init(&b, s);
    int rc = fill_workflow(&b, name, &err);
    b.wf.sm.status = STATUS_FAILED_SUBMISSION;
    b.wf.sm.start_us = b.wf.sm.end_us = b.wf.submit_us;
    b.wf.archived = true; /* there is no log */
    b.wf.failure_message = str_dup(message);
    if (rc >= 0 && buf_append(&b.spec_file, buf_cstr(&s->rendered), s->rendered.len) == 0)
        rc = store_write(s->e->store, b.wf.uuid, insert_failed, &b, &err);
    if (rc < 0)
        log_warning(&s->e->log, "a failed submission of %s was not recorded: %s", s->rq->user, err.text);
}
