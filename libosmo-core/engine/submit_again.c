/* Earlier workflows as the source of a submission: the stored specification and the labels of the row, whole
 * (resubmission) or what failed of it (restart). Called by submit.c. */
#include <string.h>

#include "base/error.h"
#include "base/map.h"
#include "engine/submit_internal.h"

#define SPEC_MAX (64u << 20)

static int take_row(struct submission *s, struct workflow_row *wf, osmo_error_t *err) {
    s->parent_name = STEAL(wf->name);
    s->parent_job_id = wf->job_id;
    if (s->rq->restart_id)
        s->priority = STEAL(wf->priority);
    if (wf->labels_json && strcmp(wf->labels_json, "{}") != 0)
        return json_parse(wf->labels_json, strlen(wf->labels_json), &s->labels, err);
    return 0;
}

int submission_load_parent(struct submission *s, const char *id, osmo_error_t *err) {
    db_t *db;
    struct workflow_row wf = { 0 };
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, id, &wf, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EDATABASE, "workflow %s is not found", id);
    if (rc >= 0 && s->rq->restart_id && !status_is_failed(wf.sm.status))
        rc = osmo_error_set(err, OSMO_ESUBMISSION, "workflow %s has not failed, its status is %s: only a failed "
                            "workflow can be restarted; submit it again instead", id, status_name(wf.sm.status));
    if (rc >= 0) {
        rc = repo_file_get(db, wf.uuid, "workflow_spec.yaml", &s->text, &s->text_len, err);
        if (rc == OSMO_ENOTFOUND)
            rc = osmo_error_set(err, OSMO_EDATABASE, "workflow %s has no stored specification", id);
    }
    if (rc >= 0) {
        memcpy(s->parent_uuid, wf.uuid, sizeof s->parent_uuid);
        rc = take_row(s, &wf, err);
    }
    workflow_row_clear(&wf);
    return rc;
}

/* ---- restart ---- */

/* Names of the groups that did not fail; those without a row never ran. */
static int load_kept(struct submission *s, map_t *kept, osmo_error_t *err) {
    struct group_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_groups_of(db, s->parent_uuid, false, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        if (!status_is_failed(rows[i].sm.status) && map_set(kept, rows[i].name, s) < 0)
            rc = no_memory(err);
    group_rows_free(rows, n);
    return rc;
}

/* Splits the groups: those to run again are returned, the tasks of the others go to `tasks`. */
static json_t *failed_groups(const json_t *groups, const map_t *kept, map_t *tasks) {
    json_t *again = json_array();
    for (size_t i = 0; again && i < json_len(groups); i++) {
        json_t *g = json_at(groups, i);
        const json_t *list = json_get(g, "tasks");
        bool keep = json_get_str(g, "name") && map_has(kept, json_get_str(g, "name"));
        int failed = keep ? 0 : json_add(again, json_ref(g));
        for (size_t t = 0; keep && t < json_len(list); t++) {
            const char *name = json_get_str(json_at(list, t), "name");
            failed |= name ? map_set(tasks, name, again) : 0;
        }
        if (failed < 0) {
            json_free(again);
            return NULL;
        }
    }
    return again;
}

/* An input from a task that is kept becomes one from the earlier workflow. */
static int rewrite_inputs(json_t *task, const char *workflow_id, const map_t *kept_tasks) {
    const json_t *inputs = json_get(task, "inputs");
    for (size_t i = 0; i < json_len(inputs); i++) {
        json_t *in = json_at(inputs, i);
        const char *from = json_get_str(in, "task");
        if (!from || !map_has(kept_tasks, from))
            continue;
        _cleanup_free_ char *source = str_printf("%s:%s", workflow_id, from);
        if (!source || json_set_str(in, "task", source) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

/* A failed submission was never divided into groups: all of it runs again. */
static int cut(json_t *document, const char *workflow_id, const map_t *kept, map_t *kept_tasks, osmo_error_t *err) {
    json_t *workflow = json_get(document, "workflow"), *groups = json_get(workflow, "groups");
    if (json_kind(workflow) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_ESUBMISSION, "workflow %s has no specification that could be restarted",
                              workflow_id);
    if (json_len(groups) == 0)
        return 0;
    _cleanup_json_ json_t *again = failed_groups(groups, kept, kept_tasks);
    int failed = !again;
    for (size_t g = 0; g < json_len(again); g++) {
        const json_t *tasks = json_get(json_at(again, g), "tasks");
        for (size_t t = 0; t < json_len(tasks); t++)
            failed |= rewrite_inputs(json_at(tasks, t), workflow_id, kept_tasks) < 0;
    }
    if (failed)
        return no_memory(err);
    if (json_len(again) == 0)
        return osmo_error_set(err, OSMO_ESUBMISSION, "no group of workflow %s failed: there is nothing to run again",
                              workflow_id);
    return json_set(workflow, "groups", STEAL(again)) < 0 ? no_memory(err) : 0;
}

static int parse_stored(struct submission *s, json_t **out, osmo_error_t *err) {
    static const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    yaml_node_t *document = NULL;
    int rc = yaml_parse(s->text, s->text_len, &limits, &document, err);
    if (rc >= 0)
        rc = yaml_to_json(document, out, err);
    yaml_free(document);
    return rc;
}

int submission_load_restart(struct submission *s, osmo_error_t *err) {
    _cleanup_json_ json_t *document = NULL;
    _cleanup_free_ char *id = str_printf("%s-%lld", s->parent_name, (long long)s->parent_job_id);
    map_t *kept = map_new(NULL), *kept_tasks = map_new(NULL);
    int rc = id && kept && kept_tasks ? load_kept(s, kept, err) : no_memory(err);
    if (rc >= 0)
        rc = parse_stored(s, &document, err);
    if (rc >= 0)
        rc = cut(document, id, kept, kept_tasks, err);
    if (rc >= 0 && yaml_emit(document, &s->rendered) < 0)
        rc = osmo_error_set(err, OSMO_ELIMIT, "the specification of %s is larger than %u MiB", id, SPEC_MAX >> 20);
    map_free(kept);
    map_free(kept_tasks);
    return rc;
}
