/* The rows of a submission and the one transaction that writes them: workflow, groups, tasks, edges, files and the
 * work items of the groups that can start. Nothing of a workflow exists before it commits. Called by submit.c. */
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "engine/submit_internal.h"
#include "model/pods.h"

#define SPEC_FILE_MAX (64u << 20)
#define GIB (1024.0 * 1024 * 1024)

struct batch {
    struct submission *s;
    struct workflow_row wf;
    struct group_row *groups;
    size_t ngroups;
    struct task_row *tasks;
    size_t ntasks;
    const char *(*edges)[2];
    size_t nedges;
    buf_t spec_file;
};

static int no_memory(osmo_error_t *err) { return osmo_error_set(err, OSMO_ENOMEM, "out of memory"); }

static void batch_clear(struct batch *b) {
    workflow_row_clear(&b->wf);
    group_rows_free(b->groups, b->ngroups);
    task_rows_free(b->tasks, b->ntasks);
    free(b->edges);
    buf_free(&b->spec_file);
}

static int fill_workflow(struct batch *b, const char *name, osmo_error_t *err) {
    struct submission *s = b->s;
    struct workflow_row *w = &b->wf;
    memcpy(w->uuid, s->uuid, sizeof w->uuid);
    w->name = str_dup(name);
    w->user = str_dup(s->rq->user);
    w->pool = str_dup(s->pool->name);
    w->backend = str_dup(s->pool->backend);
    w->priority = str_dup(s->rq->priority ? s->rq->priority : "NORMAL");
    w->labels_json = s->spec && s->spec->labels ? json_to_text(s->spec->labels) : str_dup("{}");
    w->parent_name = str_dup(s->parent_name);
    w->parent_job_id = s->parent_job_id;
    w->submit_us = clock_now_us();
    w->sm.status = STATUS_PENDING;
    return w->name && w->user && w->pool && w->backend && w->priority && w->labels_json ? 0 : no_memory(err);
}

static char *exit_actions_text(const struct spec_task *t) {
    _cleanup_json_ json_t *map = json_object();
    for (size_t i = 0; map && i < t->nexit_actions; i++)
        if (json_set_str(map, t->exit_actions[i].action, t->exit_actions[i].codes) < 0)
            return NULL;
    return map ? json_to_text(map) : NULL;
}

static double gib(const char *quantity) {
    double bytes = 0;
    return quantity && quantity_bytes(quantity, &bytes) ? bytes / GIB : 0;
}

static int fill_task(struct batch *b, const struct spec_task *t, const struct group_row *g, bool starts,
                     osmo_error_t *err) {
    struct task_row *row = &b->tasks[b->ntasks];
    char pod[40];
    if (crypto_random_hex32(row->key) < 0 || crypto_random_hex32(row->uuid) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    row->ordinal = (int64_t)b->ntasks++;
    memcpy(row->workflow_uuid, b->wf.uuid, sizeof row->workflow_uuid);
    memcpy(row->group_uuid, g->uuid, sizeof row->group_uuid);
    pod_name(b->wf.uuid, row->uuid, pod);
    row->name = str_dup(t->name);
    row->pod_name = str_dup(pod);
    row->exit_actions_json = exit_actions_text(t);
    const struct spec_resource *r = spec_find_resource(b->s->spec, t->resource);
    if (r) {
        row->cpu = r->has_cpu ? (double)r->cpu : 0;
        row->gpu = r->has_gpu ? (double)r->gpu : 0;
        row->memory_gib = gib(r->memory);
        row->storage_gib = gib(r->storage);
    }
    row->sm = (struct sm_task){ .status = STATUS_WAITING, .lead = t->lead, .exit_code = EXIT_CODE_NONE };
    if (starts)
        sm_task_apply(&row->sm, STATUS_PROCESSING, EXIT_CODE_NONE, b->wf.submit_us);
    return row->name && row->pod_name && row->exit_actions_json ? 0 : no_memory(err);
}

static int fill_group(struct batch *b, size_t index, osmo_error_t *err) {
    const struct spec_group *g = &b->s->spec->groups[index];
    struct group_row *row = &b->groups[index];
    if (crypto_random_hex32(row->uuid) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    b->ngroups++;
    memcpy(row->workflow_uuid, b->wf.uuid, sizeof row->workflow_uuid);
    row->ordinal = (int64_t)index;
    row->name = str_dup(g->name);
    _cleanup_json_ json_t *spec = spec_group_to_json(b->s->spec, index);
    row->spec_json = spec ? json_to_text(spec) : NULL;
    if (!row->name || !row->spec_json)
        return no_memory(err);
    bool starts = g->nupstream == 0;
    row->sm = (struct sm_group){ .status = STATUS_SUBMITTING,
                                 .ignore_nonlead_status = g->ignore_nonlead_status,
                                 .remaining_upstream = (int64_t)g->nupstream };
    sm_group_apply(&row->sm, STATUS_WAITING, false, b->wf.submit_us);
    if (starts)
        sm_group_apply(&row->sm, STATUS_PROCESSING, false, b->wf.submit_us);
    int rc = 0;
    for (size_t t = 0; rc >= 0 && t < g->ntasks; t++) {
        rc = fill_task(b, &g->tasks[t], row, starts, err);
        if (rc >= 0)
            sm_group_count(&row->sm, g->tasks[t].lead, STATUS_NONE, b->tasks[b->ntasks - 1].sm.status);
    }
    sm_workflow_count(&b->wf.sm, STATUS_NONE, row->sm.status);
    return rc;
}

static void fill_edges(struct batch *b) {
    const struct spec *spec = b->s->spec;
    for (size_t g = 0; g < spec->ngroups; g++)
        for (size_t u = 0; u < spec->groups[g].nupstream; u++) {
            b->edges[b->nedges][0] = b->groups[spec->groups[g].upstream[u]].uuid;
            b->edges[b->nedges++][1] = b->groups[g].uuid;
        }
}

static int fill_spec_file(struct batch *b, osmo_error_t *err) {
    _cleanup_json_ json_t *spec = spec_to_json(b->s->spec), *sorted = NULL;
    if (!spec || json_sort_keys(spec, &sorted) < 0)
        return no_memory(err);
    int rc = yaml_emit(sorted, &b->spec_file);
    return rc < 0 ? osmo_error_set(err, rc, "the normalised specification is larger than %u MiB", SPEC_FILE_MAX >> 20)
                  : 0;
}

static int fill(struct batch *b, osmo_error_t *err) {
    const struct spec *spec = b->s->spec;
    size_t edges = 0;
    for (size_t g = 0; g < spec->ngroups; g++)
        edges += spec->groups[g].nupstream;
    b->groups = calloc(spec->ngroups + 1, sizeof *b->groups);
    b->tasks = calloc(spec_task_count(spec) + 1, sizeof *b->tasks);
    b->edges = calloc(edges + 1, sizeof *b->edges);
    if (!b->groups || !b->tasks || !b->edges)
        return no_memory(err);
    int rc = fill_workflow(b, spec->name, err);
    b->wf.exec_timeout_us = spec->exec_timeout_us;
    b->wf.queue_timeout_us = spec->queue_timeout_us;
    for (size_t g = 0; rc >= 0 && g < spec->ngroups; g++)
        rc = fill_group(b, g, err);
    if (rc < 0)
        return rc;
    b->wf.groups_uncleaned = (int64_t)b->ngroups;
    fill_edges(b);
    return fill_spec_file(b, err);
}

/* ---- the transaction ---- */

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

static int insert_all(db_t *db, void *ctx, osmo_error_t *err) {
    struct batch *b = ctx;
    int rc = insert_workflow(db, b, err);
    if (rc >= 0)
        rc = repo_groups_insert(db, b->groups, b->ngroups, err);
    if (rc >= 0)
        rc = repo_tasks_insert(db, b->tasks, b->ntasks, err);
    if (rc >= 0 && b->nedges)
        rc = repo_edges_insert(db, b->wf.uuid, (const char *const(*)[2])b->edges, b->nedges, err);
    for (size_t g = 0; rc >= 0 && g < b->ngroups; g++)
        if (b->groups[g].sm.status == STATUS_PROCESSING)
            rc = repo_work_add(db, WORK_CREATE, b->groups[g].uuid, b->wf.uuid, b->wf.backend, 6, "{}",
                               b->wf.submit_us, err);
    return rc;
}

int submission_store(struct submission *s, osmo_error_t *err) {
    _cleanup_(batch_clear) struct batch b = { .s = s, .spec_file = BUF_INIT(SPEC_FILE_MAX) };
    int rc = fill(&b, err);
    if (rc >= 0)
        rc = store_write(s->e->store, b.wf.uuid, insert_all, &b, err);
    if (rc < 0)
        return rc;
    s->workflow_id = str_dup(b.wf.id);
    engine_wake(s->e, WAKE_WORK);
    watch_workflow_changed(s->e, b.wf.uuid, b.wf.id);
    return s->workflow_id ? 0 : no_memory(err);
}

static int insert_failed(db_t *db, void *ctx, osmo_error_t *err) { return insert_workflow(db, ctx, err); }

void submission_record_failure(struct submission *s, const char *name, const char *message) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_(batch_clear) struct batch b = { .s = s, .spec_file = BUF_INIT(SPEC_FILE_MAX) };
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
