/* Submission: from the user's text to a stored workflow. The checks run in a fixed order, because clients see which
 * one fails first; all that is written is written by submit_store.c in one transaction. Called by api/. */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "engine/submit_internal.h"
#include "model/submission.h"

void submit_request_clear(struct submit_request *r) {
    strlist_free(&r->set_variables);
    strlist_free(&r->set_string_variables);
    strlist_free(&r->env_vars);
    strlist_free(&r->labels);
}

void submit_result_clear(struct submit_result *r) {
    free(r->name);
    free(r->spec_yaml);
    strlist_free(&r->warnings);
    *r = (struct submit_result){ 0 };
}

static void submission_clear(struct submission *s) {
    engine_settings_put(s->settings);
    free(s->text);
    buf_free(&s->rendered);
    yaml_free(s->document);
    free(s->name);
    json_free(s->labels);
    free(s->parent_name);
    spec_free(s->spec);
    free(s->workflow_id);
}

static int no_memory(osmo_error_t *err) { return osmo_error_set(err, OSMO_ENOMEM, "out of memory"); }

/* ---- source ---- */

/* Resubmission: the stored specification and the labels of the row. */
static int load_parent(struct submission *s, osmo_error_t *err) {
    db_t *db;
    struct workflow_row wf = { 0 };
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, s->rq->resubmit_id, &wf, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EDATABASE, "workflow %s is not found", s->rq->resubmit_id);
    if (rc >= 0) {
        rc = repo_file_get(db, wf.uuid, "workflow_spec.yaml", &s->text, &s->text_len, err);
        if (rc == OSMO_ENOTFOUND)
            rc = osmo_error_set(err, OSMO_EDATABASE, "workflow %s has no stored specification", s->rq->resubmit_id);
    }
    if (rc >= 0 && wf.labels_json && strcmp(wf.labels_json, "{}") != 0)
        rc = json_parse(wf.labels_json, strlen(wf.labels_json), &s->labels, err);
    if (rc >= 0 && wf.name) {
        s->parent_name = str_dup(wf.name);
        s->parent_job_id = wf.job_id;
        rc = s->parent_name ? 0 : no_memory(err);
    }
    workflow_row_clear(&wf);
    return rc;
}

static bool name_usable(const char *p) {
    size_t n = p ? strlen(p) : 0;
    if (n < 1 || n > 200 || !isalpha((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '_' && p[i] != '-')
            return false;
    return true;
}

static int read_document(struct submission *s, osmo_error_t *err) {
    const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    int rc = yaml_parse(buf_cstr(&s->rendered), s->rendered.len, &limits, &s->document, err);
    if (rc < 0)
        return rc;
    const yaml_node_t *workflow = yaml_get(s->document, "workflow");
    if (!workflow || workflow->kind != YAML_MAP)
        return osmo_error_set(err, OSMO_EUSAGE, "workflow must be a mapping, it is %s",
                              workflow ? yaml_kind_name(workflow) : "missing");
    const yaml_node_t *name = yaml_get(workflow, "name");
    if (name && name->kind != YAML_LIST && name->kind != YAML_MAP && name->kind != YAML_NULL) {
        s->name = yaml_scalar_text(name);
        return s->name ? 0 : no_memory(err);
    }
    return 0;
}

static int render(struct submission *s, osmo_error_t *err) {
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    if (s->settings->template_max_bytes > 0)
        limits.max_output = (size_t)s->settings->template_max_bytes;
    const char *text = s->text ? s->text : s->rq->text;
    size_t len = s->text ? s->text_len : s->rq->text_len;
    return submission_render(text, len, &s->rq->set_variables, &s->rq->set_string_variables, &limits, &s->rendered,
                             err);
}

/* ---- dry run ---- */

static int dry_run(struct submission *s, struct submit_result *out, osmo_error_t *err) {
    _cleanup_json_ json_t *mapping = NULL, *sorted = NULL, *document = json_object();
    _cleanup_buf_ buf_t yaml = BUF_INIT(64u << 20);
    int rc = document ? yaml_to_json(yaml_get(s->document, "workflow"), &mapping, err) : no_memory(err);
    if (rc >= 0 && s->labels && json_set(mapping, "labels", json_ref(s->labels)) < 0)
        rc = no_memory(err);
    if (rc >= 0 && (json_set(document, "workflow", STEAL(mapping)) < 0 || json_sort_keys(document, &sorted) < 0))
        rc = no_memory(err);
    if (rc >= 0) {
        rc = yaml_emit(sorted, &yaml);
        if (rc < 0)
            osmo_error_set(err, rc, "the rendered workflow is too large to show");
    }
    if (rc < 0)
        return rc;
    out->spec_yaml = buf_steal(&yaml, NULL);
    out->name = s->name ? str_dup(s->name) : str_printf("failed-%s", s->uuid);
    return out->spec_yaml && out->name ? 0 : no_memory(err);
}

/* ---- checks against the world ---- */

static int check_credentials(const struct spec *spec, osmo_error_t *err) {
    for (size_t g = 0; g < spec->ngroups; g++)
        for (size_t t = 0; t < spec->groups[g].ntasks; t++) {
            json_iter_t it = json_iter(spec->groups[g].tasks[t].credentials);
            if (json_iter_next(&it))
                return osmo_error_set(err, OSMO_ECREDENTIAL,
                                      "task %s needs the credential '%s', which you have not set",
                                      spec->groups[g].tasks[t].name, it.key);
        }
    return 0;
}

/* A task of another workflow can be an input once it is finished, however it ended. */
static int check_foreign_input(db_t *db, const char *task, const struct spec_input *in, osmo_error_t *err) {
    struct workflow_row wf = { 0 };
    struct task_row t = { 0 };
    int rc = repo_workflow_get(db, in->workflow, &wf, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, wf.uuid, in->task, -1, &t, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EDATABASE, "input %s:%s of task %s is not found", in->workflow, in->task, task);
    else if (rc >= 0 && !status_is_task_finished(t.sm.status))
        rc = osmo_error_set(err, OSMO_ESUBMISSION, "input %s:%s of task %s is not finished, its status is %s",
                            in->workflow, in->task, task, status_name(t.sm.status));
    task_row_clear(&t);
    workflow_row_clear(&wf);
    return rc;
}

static int check_inputs(struct submission *s, osmo_error_t *err) {
    db_t *db = NULL;
    int rc = store_reader(s->e->store, &db, err);
    for (size_t g = 0; rc >= 0 && g < s->spec->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->spec->groups[g].ntasks; t++) {
            const struct spec_task *task = &s->spec->groups[g].tasks[t];
            for (size_t i = 0; rc >= 0 && i < task->ninputs; i++)
                if (task->inputs[i].workflow)
                    rc = check_foreign_input(db, task->name, &task->inputs[i], err);
        }
    return rc;
}

/* More GPUs than the pool guarantees can only be borrowed, which needs the priority LOW. */
static int check_guarantee(const struct submission *s, osmo_error_t *err) {
    if (s->pool->gpu_guarantee < 0 || str_eq(s->rq->priority, "LOW"))
        return 0;
    for (size_t g = 0; g < s->spec->ngroups; g++) {
        const struct spec_group *group = &s->spec->groups[g];
        int64_t gpus = 0;
        for (size_t t = 0; t < group->ntasks; t++) {
            const struct spec_resource *r = spec_find_resource(s->spec, group->tasks[t].resource);
            gpus += r && r->has_gpu ? r->gpu : 0;
        }
        if (gpus > s->pool->gpu_guarantee)
            return osmo_error_set(err, OSMO_EUSAGE,
                                  "group %s asks for %lld GPUs, pool %s guarantees %lld: submit with priority LOW",
                                  group->name, (long long)gpus, s->pool->name, (long long)s->pool->gpu_guarantee);
    }
    return 0;
}

static int check_maintenance(const struct submission *s, osmo_error_t *err) {
    if (s->pool->enable_maintenance && !s->rq->is_admin)
        return osmo_error_set(err, OSMO_EUSAGE, "pool %s is in maintenance; try again later or choose another pool",
                              s->pool->name);
    return 0;
}

/* Everything between the document and the transaction. *record tells whether a failure is kept as a FAILED_SUBMISSION
 * row. */
static int validate(struct submission *s, bool *record, osmo_error_t *err) {
    *record = !s->name || name_usable(s->name);
    int rc = spec_parse(yaml_get(s->document, "workflow"), s->settings, &s->spec, err);
    if (rc < 0)
        return rc;
    if (s->labels) {
        json_free(s->spec->labels);
        s->spec->labels = json_ref(s->labels);
    }
    *record = false;
    rc = spec_overlay_env(s->spec, &s->rq->env_vars, err);
    if (rc < 0)
        return rc;
    *record = true;
    rc = spec_resolve(s->spec, s->settings, s->pool, err);
    if (rc >= 0)
        rc = check_inputs(s, err);
    if (rc >= 0)
        rc = submission_check_resources(s, err);
    if (rc >= 0)
        rc = check_guarantee(s, err);
    if (rc >= 0)
        rc = check_credentials(s->spec, err);
    if (rc < 0)
        return rc;
    *record = false;
    return check_maintenance(s, err);
}

static int parse(struct submission *s, osmo_error_t *err) {
    if (s->rq->resubmit_id) {
        int rc = load_parent(s, err);
        if (rc < 0)
            return rc;
    }
    s->pool = settings_pool(s->settings, s->rq->pool);
    if (!s->pool)
        return osmo_error_set(err, OSMO_EUSER, "pool %s does not exist; see the list of pools",
                              s->rq->pool ? s->rq->pool : "");
    if (!s->rq->resubmit_id && !s->rq->text)
        return osmo_error_set(err, OSMO_EUSAGE, "either a workflow file or a workflow id is needed");
    return render(s, err);
}

/* What the error answer carries as workflow_id, and the row kept for the audit. */
static void keep_failure(struct submission *s, bool record, char **id, const osmo_error_t *err) {
    _cleanup_free_ char *failed = str_printf("failed-%s", s->uuid);
    const char *name = s->name ? s->name : failed;
    *id = str_dup(s->document ? name : s->uuid);
    if (record && name && !s->rq->validation_only && !s->rq->dry_run)
        submission_record_failure(s, name_usable(name) ? name : failed, err->text);
}

static int submit(struct submission *s, struct submit_result *out, char **id, osmo_error_t *err) {
    bool record = false;
    int rc = parse(s, err);
    if (rc < 0)
        return rc;
    rc = read_document(s, err);
    record = rc < 0 && !s->document;
    if (rc >= 0)
        rc = submission_labels(s, err);
    if (rc >= 0 && s->rq->dry_run)
        return dry_run(s, out, err);
    if (rc >= 0)
        rc = validate(s, &record, err);
    if (rc < 0) {
        keep_failure(s, record, id, err);
        return rc;
    }
    if (s->rq->validation_only) {
        out->validated = true;
        out->name = str_dup(s->spec->name);
        return out->name ? 0 : no_memory(err);
    }
    rc = submission_store(s, err);
    if (rc >= 0)
        out->name = STEAL(s->workflow_id);
    return rc;
}

int engine_submit(engine_t *e, const struct submit_request *rq, struct submit_result *out,
                  char **workflow_id_of_error, osmo_error_t *err) {
    _cleanup_(submission_clear) struct submission s = {
        .e = e, .rq = rq, .settings = engine_settings(e), .rendered = BUF_INIT(64u << 20)
    };
    osmo_error_t local = OSMO_ERROR_INIT; /* the record needs the text even when the caller does not */
    char *id = NULL;
    *out = (struct submit_result){ 0 };
    int rc = crypto_random_hex32(s.uuid);
    if (rc < 0)
        osmo_error_set(&local, rc, "no randomness for ids");
    else
        rc = submit(&s, out, &id, &local);
    if (rc < 0 && err)
        *err = local;
    if (workflow_id_of_error)
        *workflow_id_of_error = STEAL(id);
    free(id);
    if (rc < 0)
        submit_result_clear(out);
    return rc;
}
