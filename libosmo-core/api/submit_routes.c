/* Submission: POST /api/pool/{pool}/workflow and …/workflow/{id}/restart. Reads query and body; the rest is
 * engine_submit's. */
#include <stdlib.h>
#include <string.h>

#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "model/redact.h"

#define VALIDATED "The workflow passed validation"
#define MAX_SPEC (64u << 20)
#define SHOWN_MAX (256u << 20)

static int fail_body(struct call *c, const char *field, const char *type, const char *message) {
    int rc = answer_unprocessable(c, "body", field, type, message);
    return rc < 0 ? rc : OSMO_EINVAL;
}

static int copy_strings(struct call *c, const json_t *body, const char *key, strlist_t *out) {
    const json_t *list = json_get(body, key);
    if (!list)
        return 0;
    if (json_kind(list) != JSON_ARRAY)
        return fail_body(c, key, "list_type", "Input should be a valid list");
    for (size_t i = 0; i < json_len(list); i++) {
        const char *text = json_str(json_at(list, i));
        if (!text)
            return fail_body(c, key, "string_type", "Input should be a list of texts without NUL characters");
        if (strlist_add(out, text) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

static int check_size(const char *field, const json_t *text, osmo_error_t *err) {
    size_t len = text ? json_str_len(text) : 0;
    if (len <= MAX_SPEC)
        return 0;
    return osmo_error_set(err, OSMO_ELIMIT, "%s has %zu bytes, at most %u MiB are accepted", field, len,
                          MAX_SPEC >> 20);
}

static int read_body(struct call *c, const json_t *body, struct submit_request *rq, osmo_error_t *err) {
    static const char *const known[] = { "file", "set_variables", "set_string_variables", "uploaded_templated_spec" };
    json_iter_t it = json_iter(body);
    while (json_iter_next(&it)) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
            found |= !strcmp(it.key, known[i]);
        if (!found)
            return fail_body(c, it.key, "extra_forbidden", "Extra inputs are not permitted");
    }
    const json_t *file = json_get(body, "file"), *template = json_get(body, "uploaded_templated_spec");
    if (!json_str(file))
        return fail_body(c, "file", json_has(body, "file") ? "string_type" : "missing",
                         json_has(body, "file") ? "Input should be a valid string" : "Field required");
    if (template && !json_str(template))
        return fail_body(c, "uploaded_templated_spec", "string_type", "Input should be a valid string");
    if (check_size("file", file, err) < 0 || check_size("uploaded_templated_spec", template, err) < 0)
        return OSMO_ELIMIT;
    rq->text = json_str(file);
    rq->text_len = json_str_len(file);
    rq->uploaded_template = json_str(template);
    int rc = copy_strings(c, body, "set_variables", &rq->set_variables);
    return rc < 0 ? rc : copy_strings(c, body, "set_string_variables", &rq->set_string_variables);
}

static int copy_query(struct call *c, const char *name, strlist_t *out) {
    const strlist_t *from = query_all(c, name);
    for (size_t i = 0; from && i < from->len; i++) {
        if (strlist_add(out, from->items[i]) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

static int read_query(struct call *c, struct submit_request *rq, osmo_error_t *err) {
    const char *priority = query_get(c, "priority");
    int64_t app_version; /* of an app the text came from: only its type matters here */
    int rc = query_bool(c, "dry_run", false, &rq->dry_run, err);
    if (rc >= 0)
        rc = query_bool(c, "validation_only", false, &rq->validation_only, err);
    if (rc < 0)
        return rc;
    rq->priority = priority ? priority : "NORMAL";
    if (strcmp(rq->priority, "HIGH") && strcmp(rq->priority, "NORMAL") && strcmp(rq->priority, "LOW")) {
        rc = answer_unprocessable(c, "query", "priority", "enum", "Input should be 'HIGH', 'NORMAL' or 'LOW'");
        return rc < 0 ? rc : OSMO_EINVAL;
    }
    rq->resubmit_id = query_get(c, "workflow_id");
    rc = query_int(c, "app_version", 0, &app_version, err);
    if (rc >= 0)
        rc = copy_query(c, "env_vars", &rq->env_vars);
    return rc < 0 ? rc : copy_query(c, "label", &rq->labels);
}

static json_t *warnings_json(const strlist_t *warnings) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < warnings->len; i++) {
        if (json_add_str(list, warnings->items[i]) < 0) {
            json_free(list);
            return NULL;
        }
    }
    return list;
}

static int answer_submit(struct call *c, const struct submit_request *rq, const struct submit_result *r) {
    _cleanup_json_ json_t *o = json_object();
    json_t *warnings = warnings_json(&r->warnings);
    const char *base = call_base_url(c);
    bool stored = !rq->dry_run && !rq->validation_only;
    if (!o || !warnings) {
        json_free(warnings);
        return OSMO_ENOMEM;
    }
    int failed = json_set_str(o, "name", r->name);
    failed |= stored ? json_set_url(o, "overview", "%s/workflows/%s", base, r->name) : json_set(o, "overview", NULL);
    if (stored)
        failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs", base, r->name);
    else
        failed |= json_set_str(o, "logs", rq->dry_run ? NULL : VALIDATED);
    failed |= json_set_str(o, "spec", rq->dry_run ? r->spec_yaml : NULL);
    failed |= json_set(o, "dashboard_url", NULL);
    failed |= json_set(o, "warnings", warnings);
    return failed ? OSMO_ENOMEM : answer_json(c, 200, STEAL(o));
}

static int may_read(void *ctx, const char *workflow, osmo_error_t *err) {
    return call_authorize_workflow(ctx, ACTION_WORKFLOW_READ, workflow, err);
}

/* What is stored is shown without secrets here as it is elsewhere; who submits a text knows what is in it. */
static int hide_secrets(struct submit_result *r, osmo_error_t *err) {
    _cleanup_buf_ buf_t shown = BUF_INIT(SHOWN_MAX);
    if (!r->spec_yaml)
        return 0;
    if (redact_text(r->spec_yaml, strlen(r->spec_yaml), &shown) < 0)
        return osmo_error_set(err, OSMO_ELIMIT, "the rendered workflow is larger than %u MiB", SHOWN_MAX >> 20);
    explicit_bzero(r->spec_yaml, strlen(r->spec_yaml));
    free(r->spec_yaml);
    r->spec_yaml = buf_steal(&shown, NULL);
    return r->spec_yaml ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

static int submit(struct call *c, struct submit_request *rq, osmo_error_t *err) {
    struct submit_result r = { 0 };
    rq->user = c->user;
    rq->pool = c->params[0];
    rq->is_admin = call_may_all(c);
    rq->may_read = may_read;
    rq->may_read_ctx = c;
    const char *source = rq->resubmit_id ? rq->resubmit_id : rq->restart_id; /* whose specification the answer may show */
    int rc = source ? call_authorize_workflow(c, ACTION_WORKFLOW_READ, source, err) : 0;
    if (rc >= 0)
        rc = engine_submit(c->engine, rq, &r, &c->error_workflow_id, err);
    if (rc >= 0 && source)
        rc = hide_secrets(&r, err);
    if (rc >= 0)
        rc = answer_submit(c, rq, &r);
    else
        c->error_message = STEAL(r.message);
    submit_result_clear(&r);
    return rc;
}

/* No body and the body null are the same. */
static bool has_body(const struct call *c) {
    return c->rq->body_len > 0 && !(c->rq->body_len == 4 && !memcmp(c->rq->body, "null", 4));
}

int post_workflow(struct call *c, osmo_error_t *err) {
    _cleanup_json_ json_t *body = NULL;
    struct submit_request rq = { 0 };
    bool given = has_body(c);
    int rc = read_query(c, &rq, err);
    if (rc >= 0 && given) {
        rc = body_json(c, &body, err);
        if (rc >= 0)
            rc = read_body(c, body, &rq, err);
    }
    if (rc >= 0 && given == (rq.resubmit_id != NULL))
        rc = osmo_error_set(err, OSMO_EUSAGE, "%s; send one of them",
                            given ? "a workflow file and workflow_id were both given"
                                  : "neither a workflow file nor workflow_id was given");
    if (rc >= 0)
        rc = submit(c, &rq, err);
    submit_request_clear(&rq);
    return rc;
}

int post_restart(struct call *c, osmo_error_t *err) {
    struct submit_request rq = { .restart_id = c->params[1] };
    return submit(c, &rq, err);
}
