/* Shared by the files of submission only: submit.c (the way of a text), submit_checks.c and submit_resources.c (checks
 * against the world, in their order), submit_again.c (earlier workflows) and submit_store.c (rows, the transaction). */
#ifndef ENGINE_SUBMIT_INTERNAL_H
#define ENGINE_SUBMIT_INTERNAL_H
#include "base/buf.h"
#include "engine/reactor_internal.h"
#include "model/spec.h"

/* What the error answer carries as workflow_id: nothing, the name in the text (failed-<uuid> when it has none), or the
 * uuid. */
enum failure_id { FAILURE_ID_NONE, FAILURE_ID_NAME, FAILURE_ID_UUID };

/* One submission on its way through the checks. */
struct submission {
    engine_t *e;
    const struct submit_request *rq;
    const struct settings *settings;
    const struct pool *pool;
    char uuid[33]; /* of the workflow; also names a failed one without a name */
    char *text;
    size_t text_len; /* of a resubmission */
    buf_t rendered;
    yaml_node_t *document;
    char *name;     /* from the document, of any type; NULL without one */
    bool name_unusable; /* it is no name that a row can have */
    json_t *labels; /* merged: of the document (or the stored row) and of the request */
    char *parent_name, parent_uuid[33];
    int64_t parent_job_id;
    struct spec *spec;
    char *workflow_id; /* out, of the stored workflow */
    /* of a failure in the step that runs now: see submission_step */
    bool record;
    enum failure_id failure_id;
    buf_t message;    /* of a failure: all of it, where an osmo_error_t holds only the beginning */
    strlist_t warnings;
    char *priority;   /* of a restarted workflow */
};

/* Begins a step: whether its failure leaves a FAILED_SUBMISSION row, and what it answers as workflow_id. */
void submission_step(struct submission *s, bool record, enum failure_id id);
/* 0, or the findings' code with all of them in s->message; clears them. */
int submission_findings(struct submission *s, struct spec_findings *f, osmo_error_t *err);
const char *submission_priority(const struct submission *s);
/* Everything between the document and the transaction, in the order clients see. Fills s->spec. */
int submission_check(struct submission *s, osmo_error_t *err);
/* Task by task: platform, resource rules of the pool over the nodes its backend has reported, permissions. */
int submission_check_resources(struct submission *s, osmo_error_t *err);
/* Images against their registries, where the backend pulls images: OSMO_ECREDENTIAL, warnings; pins them to the digest that is there. */
int submission_check_images(struct submission *s, osmo_error_t *err);
/* Addresses of inputs and outputs against their storage, with the credentials of the user: OSMO_ECREDENTIAL, warnings. */
int submission_check_data(struct submission *s, osmo_error_t *err);
/* How much of this user is going on, against the limits of the site. OSMO_EUSER. */
int submission_check_user(struct submission *s, osmo_error_t *err);
/* The earlier workflow's text and labels. OSMO_EDATABASE when it is unknown. */
int submission_load_parent(struct submission *s, const char *id, osmo_error_t *err);
/* Its specification without the groups that did not fail, into s->rendered. OSMO_ESUBMISSION when it has not failed. */
int submission_load_restart(struct submission *s, osmo_error_t *err);
/* The rendered workflow with its merged labels, as YAML. OSMO_ELIMIT. */
int submission_show(const struct submission *s, char **out, osmo_error_t *err);
/* Writes everything, in chunks when it is large, and waits for the last commit; fills s->workflow_id. */
int submission_store(struct submission *s, osmo_error_t *err);
/* Removes what submissions and deletions that were cut off have left. At start, before anything is served, and again and again
 * where another service may have ended. */
int submissions_recover(engine_t *e, osmo_error_t *err);
/* A FAILED_SUBMISSION row for the record. Its own failure is logged only. */
void submission_record_failure(struct submission *s, const char *name, const char *message);
#endif
