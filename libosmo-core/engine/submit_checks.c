/* The checks between a document and its transaction, in the order in which clients see them fail (OSMO 6.4: schema,
 * environment, normalisation, number of tasks, label policies, names and earlier inputs, maintenance, GPU guarantee,
 * resources, addresses and credentials; then the limits of the user). Called by submit.c. */
#include <string.h>

#include "engine/submit_internal.h"
#include "model/credential.h"
#include "store/repo_auth.h"

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
                rc = s->rq->may_read ? s->rq->may_read(s->rq->may_read_ctx, in->workflow, err) : 0;
                if (rc >= 0)
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

struct stored {
    struct credential_row *rows;
    size_t n;
};

static void stored_clear(struct stored *st) { credential_rows_free(st->rows, st->n); }

/* What is stored counts, not what it holds: nothing is opened here. */
static int load_stored(const struct submission *s, struct stored *st, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(s->e->store, &db, err);
    return rc < 0 ? rc : repo_credential_list(db, s->rq->user, &st->rows, &st->n, err);
}

static bool scheme_unchecked(const struct submission *s, const char *url) {
    const strlist_t *l = &s->settings->unchecked_schemes;
    for (size_t i = 0; i < l->len; i++) {
        size_t len = strlen(l->items[i]);
        if (strncmp(url, l->items[i], len) == 0 && strncmp(url + len, "://", 3) == 0)
            return true;
    }
    return false;
}

/* gs, tos and swift are not open to anybody, so they need a credential of the user. */
static int check_url(const struct submission *s, const struct stored *st, const char *task, const char *url,
                     osmo_error_t *err) {
    if (!url || !data_needs_credential(url) || scheme_unchecked(s, url))
        return 0;
    for (size_t i = 0; i < st->n; i++)
        if (str_eq(st->rows[i].type, "DATA") && st->rows[i].profile && data_profile_covers(st->rows[i].profile, url))
            return 0;
    return osmo_error_set(err, OSMO_ECREDENTIAL, "task %s uses %s, and you have set no data credential for %.*s: osmo credential "
                          "set NAME --type DATA", task, url, (int)data_profile_len(url), url);
}

/* The keys that variables are made of. */
static int check_keys(const struct credential_row *row, const char *task, const json_t *wanted, osmo_error_t *err) {
    _cleanup_json_ json_t *payload = NULL;
    if (json_kind(wanted) != JSON_OBJECT)
        return 0;
    int rc = row->payload ? json_parse(row->payload, strlen(row->payload), &payload, err) : OSMO_EINTERNAL;
    for (json_iter_t it = json_iter(wanted); rc >= 0 && json_iter_next(&it);)
        if (!json_has(payload, json_str(it.value) ? json_str(it.value) : ""))
            rc = osmo_error_set(err, OSMO_ECREDENTIAL, "task %s wants the key '%s' of the credential '%s', which has no such key: "
                                "correct the key or set the credential with it", task, json_str(it.value) ? json_str(it.value) : "",
                                row->name);
    return rc;
}

static int check_named(const struct stored *st, const struct spec_task *t, osmo_error_t *err) {
    int rc = 0;
    for (json_iter_t it = json_iter(t->credentials); rc >= 0 && json_iter_next(&it);) {
        size_t i = 0;
        while (i < st->n && !str_eq(st->rows[i].name, it.key))
            i++;
        rc = i < st->n ? check_keys(&st->rows[i], t->name, it.value, err)
                       : osmo_error_set(err, OSMO_ECREDENTIAL, "task %s needs the credential '%s', which you have not set: osmo "
                                        "credential set %s", t->name, it.key, it.key);
    }
    return rc;
}

static int check_task_credentials(const struct submission *s, const struct stored *st, const struct spec_task *t,
                                  osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < t->ninputs; i++)
        rc = check_url(s, st, t->name, t->inputs[i].url, err);
    for (size_t i = 0; rc >= 0 && i < t->noutputs; i++)
        rc = check_url(s, st, t->name, t->outputs[i].url, err);
    return rc < 0 ? rc : check_named(st, t, err);
}

/* What a look at the store tells comes before what others have to be asked for. */
static int check_credentials(struct submission *s, osmo_error_t *err) {
    _cleanup_(stored_clear) struct stored st = { 0 };
    int rc = load_stored(s, &st, err);
    for (size_t g = 0; rc >= 0 && g < s->spec->ngroups; g++)
        for (size_t t = 0; rc >= 0 && t < s->spec->groups[g].ntasks; t++)
            rc = check_task_credentials(s, &st, &s->spec->groups[g].tasks[t], err);
    if (rc >= 0)
        rc = submission_check_data(s, err);
    return rc < 0 ? rc : submission_check_images(s, err);
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
