/* Submission: from the user's text to a stored workflow. Steps run in a fixed order, because clients see which one
 * fails first; each says beforehand whether its failure is kept as a row and how it is answered. All that is written is
 * written by submit_store.c. Called by api/. */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/submit_internal.h"
#include "model/submission.h"

#define MESSAGE_MAX (1u << 20)
#define NAME_MAX_KEPT 200 /* longer ones are not kept in a row */

void submit_request_clear(struct submit_request *r) {
    strlist_free(&r->set_variables);
    strlist_free(&r->set_string_variables);
    strlist_free(&r->env_vars);
    strlist_free(&r->labels);
}

void submit_result_clear(struct submit_result *r) {
    free(r->name);
    free(r->spec_yaml);
    free(r->message);
    strlist_free(&r->warnings);
    *r = (struct submit_result){ 0 };
}

static void submission_clear(struct submission *s) {
    engine_settings_put(s->settings);
    free(s->text);
    buf_free(&s->rendered);
    buf_free(&s->message);
    yaml_free(s->document);
    free(s->name);
    json_free(s->labels);
    free(s->parent_name);
    spec_free(s->spec);
    free(s->workflow_id);
    free(s->priority);
    strlist_free(&s->warnings);
}

void submission_step(struct submission *s, bool record, enum failure_id id) {
    s->record = record;
    s->failure_id = id;
}

int submission_findings(struct submission *s, struct spec_findings *f, osmo_error_t *err) {
    int rc = spec_findings_result(f, "the workflow", err);
    buf_reset(&s->message);
    if (rc < 0 && spec_findings_write(f, "the workflow", &s->message) < 0)
        buf_reset(&s->message); /* err holds the beginning */
    spec_findings_clear(f);
    return rc;
}

const char *submission_priority(const struct submission *s) {
    return s->priority ? s->priority : s->rq->priority ? s->rq->priority : "NORMAL";
}

/* ---- text ---- */

static bool passed(void *deadline_us) { return clock_mono_us() > *(const int64_t *)deadline_us; }

/* A text that asks for too much is a fault of the text: 400, as upstream answers. */
static int limit_as_usage(int rc, osmo_error_t *err) {
    if (rc != OSMO_ELIMIT && rc != OSMO_ETIMEOUT)
        return rc;
    return err->code = OSMO_EUSAGE;
}

static int render(struct submission *s, osmo_error_t *err) {
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    int64_t deadline_us = clock_mono_us() + s->settings->template_max_us;
    if (s->settings->template_max_bytes > 0)
        limits.max_output = (size_t)s->settings->template_max_bytes;
    if (s->settings->template_max_us > 0) {
        limits.expired = passed;
        limits.expired_arg = &deadline_us;
    }
    const char *text = s->text ? s->text : s->rq->text;
    size_t len = s->text ? s->text_len : s->rq->text_len;
    enum submission_stage stage = SUBMISSION_SECTIONS;
    int rc = submission_render_staged(text, len, &s->rq->set_variables, &s->rq->set_string_variables, &limits,
                                      &s->rendered, &stage, err);
    if (rc < 0 && stage == SUBMISSION_DEFAULTS)
        submission_step(s, true, FAILURE_ID_UUID);
    return rc < 0 ? limit_as_usage(rc, err) : 0;
}

static bool name_usable(const char *p) {
    size_t n = p ? strlen(p) : 0;
    if (n < 1 || n > NAME_MAX_KEPT || !isalpha((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '_' && p[i] != '-')
            return false;
    return true;
}

static const yaml_node_t *workflow_node(const struct submission *s) { return yaml_get(s->document, "workflow"); }

/* The name is what failures are answered and kept under, whatever its type. */
static int read_name(struct submission *s, osmo_error_t *err) {
    const yaml_node_t *name = yaml_get(workflow_node(s), "name");
    if (!name || name->kind == YAML_LIST || name->kind == YAML_MAP || name->kind == YAML_NULL)
        return 0;
    s->name = yaml_scalar_text(name);
    s->name_unusable = name->kind != YAML_STRING || !name_usable(s->name);
    return s->name ? 0 : no_memory(err);
}

static int read_document(struct submission *s, osmo_error_t *err) {
    static const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    submission_step(s, true, FAILURE_ID_UUID);
    int rc = yaml_parse(buf_cstr(&s->rendered), s->rendered.len, &limits, &s->document, err);
    if (rc < 0)
        return limit_as_usage(rc, err);
    submission_step(s, false, FAILURE_ID_NONE);
    const yaml_node_t *workflow = workflow_node(s);
    if (!workflow || workflow->kind != YAML_MAP)
        return osmo_error_set(err, OSMO_EUSAGE, "workflow must be a mapping, it is %s",
                              workflow ? yaml_kind_name(workflow) : "missing");
    return read_name(s, err);
}

static int read_labels(struct submission *s, osmo_error_t *err) {
    struct spec_findings f = SPEC_FINDINGS_INIT;
    json_t *own = STEAL(s->labels);
    submission_step(s, false, FAILURE_ID_NAME);
    spec_labels_merge(yaml_get(workflow_node(s), "labels"), own, &s->rq->labels, &s->labels, &f);
    json_free(own);
    return submission_findings(s, &f, err);
}

/* Source, pool and text, up to the labels: what a dry run does too. */
static int prepare(struct submission *s, osmo_error_t *err) {
    int rc = 0;
    submission_step(s, false, FAILURE_ID_NONE);
    if (s->rq->resubmit_id || s->rq->restart_id)
        rc = submission_load_parent(s, s->rq->restart_id ? s->rq->restart_id : s->rq->resubmit_id, err);
    if (rc < 0)
        return rc;
    s->pool = settings_pool(s->settings, s->rq->pool);
    if (!s->pool)
        return osmo_error_set(err, OSMO_EUSER, "pool %s does not exist; see the list of pools",
                              s->rq->pool ? s->rq->pool : "");
    if (!s->text && !s->rq->text)
        return osmo_error_set(err, OSMO_EUSAGE, "either a workflow file or a workflow id is needed");
    rc = s->rq->restart_id ? submission_load_restart(s, err) : render(s, err);
    if (rc >= 0)
        rc = read_document(s, err);
    return rc < 0 ? rc : read_labels(s, err);
}

/* ---- dry run ---- */

static char *name_or_failed(const struct submission *s) {
    return s->name ? str_dup(s->name) : str_printf("failed-%s", s->uuid);
}

static int dry_run(struct submission *s, struct submit_result *out, osmo_error_t *err) {
    int rc = submission_show(s, &out->spec_yaml, err);
    if (rc < 0)
        return limit_as_usage(rc, err);
    out->name = name_or_failed(s);
    return out->name ? 0 : no_memory(err);
}

/* ---- outcome ---- */

/* What the error answer carries, and the row kept for the audit. */
static void keep_failure(struct submission *s, struct submit_result *out, char **id, const osmo_error_t *err) {
    _cleanup_free_ char *name = name_or_failed(s);
    *id = s->failure_id == FAILURE_ID_NONE ? NULL : str_dup(s->failure_id == FAILURE_ID_UUID ? s->uuid : name);
    const char *text = s->message.len ? buf_cstr(&s->message) : err->text;
    if (s->record && name && !s->name_unusable && !s->rq->dry_run)
        submission_record_failure(s, name, text);
    if (s->message.len)
        out->message = buf_steal(&s->message, NULL);
}

static int submit(struct submission *s, struct submit_result *out, osmo_error_t *err) {
    int rc = prepare(s, err);
    if (rc >= 0 && s->rq->dry_run)
        return dry_run(s, out, err);
    if (rc >= 0)
        rc = submission_check(s, err);
    if (rc < 0)
        return rc;
    submission_step(s, false, FAILURE_ID_NONE);
    if (s->rq->validation_only) {
        out->validated = true;
        out->name = str_dup(s->spec->name);
        return out->name ? 0 : no_memory(err);
    }
    if (!s->rq->restart_id)
        rc = submission_check_user(s, err);
    if (rc >= 0)
        rc = submission_store(s, err);
    if (rc >= 0)
        out->name = STEAL(s->workflow_id);
    return rc;
}

int engine_submit(engine_t *e, const struct submit_request *rq, struct submit_result *out,
                  char **workflow_id_of_error, osmo_error_t *err) {
    _cleanup_(submission_clear) struct submission s = { .e = e, .rq = rq, .settings = engine_settings(e),
                                                        .rendered = BUF_INIT(64u << 20),
                                                        .message = BUF_INIT(MESSAGE_MAX) };
    osmo_error_t local = OSMO_ERROR_INIT; /* the record needs the text even when the caller does not */
    char *id = NULL;
    *out = (struct submit_result){ 0 };
    int rc = crypto_random_hex32(s.uuid);
    if (rc < 0)
        osmo_error_set(&local, rc, "no randomness for ids");
    else
        rc = submit(&s, out, &local);
    if (rc < 0) {
        submit_result_clear(out);
        keep_failure(&s, out, &id, &local);
        if (err)
            *err = local;
    } else {
        out->warnings = s.warnings;
        s.warnings = (strlist_t){ 0 };
    }
    if (workflow_id_of_error)
        *workflow_id_of_error = STEAL(id);
    free(id);
    return rc;
}
