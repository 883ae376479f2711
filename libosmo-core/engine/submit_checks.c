/* The checks between a document and its transaction, in the order in which clients see them fail (OSMO 6.4: schema,
 * environment, normalisation, number of tasks, label policies, names and earlier inputs, maintenance, GPU guarantee,
 * resources, addresses and credentials; then the limits of the user). Called by submit.c. */
#include <string.h>

#include "engine/submit_internal.h"

static const yaml_node_t *workflow_node(const struct submission *s) { return yaml_get(s->document, "workflow"); }

/* ---- schema to label policies ---- */

static int overlay_env(struct submission *s, struct spec *spec, osmo_error_t *err) {
    submission_step(s, false, FAILURE_ID_NONE);
    return spec_overlay_env(spec, &s->rq->env_vars, err);
}

/* A bad size ends upstream's reading outside of its schema: neither kept nor named. The environment is looked at before
 * what the groups make of one another, although it needs a specification to be laid over. */
static int check_schema(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    struct spec none = { 0 };
    bool schema_failed = false;
    submission_step(s, true, FAILURE_ID_NAME);
    int rc = spec_read(workflow_node(s), &s->spec, &schema_failed, &f);
    if (rc < 0 && f.code == OSMO_ERESOURCE)
        submission_step(s, false, FAILURE_ID_NONE);
    if (rc < 0 && !schema_failed) {
        int env = overlay_env(s, &none, err);
        if (env < 0) {
            spec_findings_clear(&f);
            return env;
        }
    }
    rc = submission_findings(s, &f, err);
    if (rc < 0)
        return rc;
    json_free(s->spec->labels);
    s->spec->labels = json_ref(s->labels);
    return overlay_env(s, s->spec, err);
}

static int check_place(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    submission_step(s, false, FAILURE_ID_NONE);
    spec_set_timeouts(s->spec, s->settings, s->pool);
    int rc = spec_place(s->spec, s->pool, &f);
    if (rc >= 0 && !s->rq->restart_id)
        spec_check_count(s->spec, s->settings, &f);
    return submission_findings(s, &f, err);
}

static int check_label_policy(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    submission_step(s, false, FAILURE_ID_NAME);
    spec_check_labels(s->labels, s->settings, &s->warnings, &f);
    return submission_findings(s, &f, err);
}

/* ---- names, inputs, pool ---- */

static int check_names(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    submission_step(s, true, FAILURE_ID_NONE);
    spec_check_names(s->spec, s->settings, &f);
    return submission_findings(s, &f, err);
}

/* A task of another workflow can be an input once it is finished, however it ended. */
static int check_earlier(db_t *db, const char *task, const struct spec_input *in, osmo_error_t *err) {
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
    const struct spec_input *last = NULL; /* many tasks read the same one */
    db_t *db = NULL;
    int rc = store_reader(s->e->store, &db, err);
    for (size_t g = 0; rc >= 0 && g < s->spec->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->spec->groups[g].ntasks; t++) {
            const struct spec_task *task = &s->spec->groups[g].tasks[t];
            for (size_t i = 0; rc >= 0 && i < task->ninputs; i++) {
                const struct spec_input *in = &task->inputs[i];
                if (!in->workflow || (last && str_eq(last->workflow, in->workflow) && str_eq(last->task, in->task)))
                    continue;
                last = in;
                rc = check_earlier(db, task->name, in, err);
            }
        }
    return rc < 0 ? rc : 0;
}

static int check_maintenance(struct submission *s, osmo_error_t *err) {
    submission_step(s, false, FAILURE_ID_NONE);
    if (s->pool->enable_maintenance && !s->rq->is_admin)
        return osmo_error_set(err, OSMO_EUSAGE, "pool %s is in maintenance; try again later or choose another pool",
                              s->pool->name);
    return 0;
}

static int check_guarantee(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    submission_step(s, true, FAILURE_ID_NAME);
    spec_check_guarantee(s->spec, s->pool, submission_priority(s), &f);
    return submission_findings(s, &f, err);
}

/* ---- addresses and credentials ---- */

static int check_addresses(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    submission_step(s, true, FAILURE_ID_NONE);
    spec_check_addresses(s->spec, &f);
    return submission_findings(s, &f, err);
}

/* The part of an address that a credential belongs to: bucket, account, or endpoint and bucket. */
static char *profile_of(const char *url) {
    const char *scheme = strstr(url, "://"), *end = scheme ? scheme + 3 : url;
    int parts = str_starts(url, "tos:") || str_starts(url, "swift:") ? 2 : 1;
    for (; *end && (*end != '/' || --parts); end++)
        ;
    return strndup(url, (size_t)(end - url));
}

/* These are not open to anybody, so they need a credential of the user. */
static int check_url(const struct submission *s, const char *task, const char *url, osmo_error_t *err) {
    static const char *const closed[] = { "gs", "tos", "swift" };
    for (size_t i = 0; url && i < ARRAY_SIZE(closed); i++) {
        size_t len = strlen(closed[i]);
        if (strncmp(url, closed[i], len) != 0 || strncmp(url + len, "://", 3) != 0 ||
            strlist_has(&s->settings->unchecked_schemes, closed[i]))
            continue;
        _cleanup_free_ char *profile = profile_of(url);
        return osmo_error_set(err, OSMO_ECREDENTIAL, "task %s uses %s, and you have set no data credential for %s",
                              task, url, profile ? profile : closed[i]);
    }
    return 0;
}

static int check_task_credentials(const struct submission *s, const struct spec_task *t, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < t->ninputs; i++)
        rc = check_url(s, t->name, t->inputs[i].url, err);
    for (size_t i = 0; rc >= 0 && i < t->noutputs; i++)
        rc = check_url(s, t->name, t->outputs[i].url, err);
    json_iter_t it = json_iter(t->credentials);
    if (rc >= 0 && json_iter_next(&it))
        rc = osmo_error_set(err, OSMO_ECREDENTIAL, "task %s needs the credential '%s', which you have not set", t->name,
                            it.key);
    return rc;
}

static int check_credentials(const struct submission *s, osmo_error_t *err) {
    int rc = 0;
    for (size_t g = 0; rc >= 0 && g < s->spec->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->spec->groups[g].ntasks; t++)
            rc = check_task_credentials(s, &s->spec->groups[g].tasks[t], err);
    return rc;
}

int submission_check(struct submission *s, osmo_error_t *err) {
    int (*const steps[])(struct submission *, osmo_error_t *) = {
        check_schema,     check_place,     check_label_policy,         check_names,    check_inputs,
        check_maintenance, check_guarantee, submission_check_resources, check_addresses,
    };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(steps); i++)
        rc = steps[i](s, err);
    return rc < 0 ? rc : check_credentials(s, err);
}

/* ---- the user ---- */

int submission_check_user(struct submission *s, osmo_error_t *err) {
    const struct settings *l = s->settings;
    int64_t workflows = 0, tasks = 0, more = (int64_t)spec_task_count(s->spec);
    db_t *db;
    if (l->max_user_workflows <= 0 && l->max_user_tasks <= 0)
        return 0;
    int rc = store_reader(s->e->store, &db, err);
    if (rc >= 0)
        rc = repo_user_ongoing(db, s->rq->user, &workflows, &tasks, err);
    if (rc < 0)
        return rc;
    if (l->max_user_workflows > 0 && workflows >= l->max_user_workflows)
        return osmo_error_set(err, OSMO_EUSER, "you have %lld unfinished workflows, at most %lld are allowed: wait for "
                              "one to finish or cancel one", (long long)workflows, (long long)l->max_user_workflows);
    if (l->max_user_tasks > 0 && tasks + more > l->max_user_tasks)
        return osmo_error_set(err, OSMO_EUSER, "you have %lld unfinished tasks and this workflow has %lld, at most "
                              "%lld are allowed: wait for some to finish or submit fewer", (long long)tasks,
                              (long long)more, (long long)l->max_user_tasks);
    return 0;
}
