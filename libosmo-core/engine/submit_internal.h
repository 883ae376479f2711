/* Shared by submit.c (checks), submit_labels.c, submit_resources.c and submit_store.c (rows and the transaction) only. */
#ifndef ENGINE_SUBMIT_INTERNAL_H
#define ENGINE_SUBMIT_INTERNAL_H
#include "base/buf.h"
#include "engine/reactor_internal.h"
#include "model/spec.h"

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
    char *name;     /* from the document, when there is a usable one */
    json_t *labels; /* merged: of the document (or the stored row) and of the request */
    char *parent_name;
    int64_t parent_job_id;
    struct spec *spec;
    char *workflow_id; /* out, of the stored workflow */
};

/* Labels of the document or of the resubmitted workflow, overlaid by the request's "key=value" items. OSMO_EUSAGE. */
int submission_labels(struct submission *s, osmo_error_t *err);
/* Resource rules of the pool over the nodes its backend has reported. OSMO_EUSER, OSMO_ERESOURCE, OSMO_EUSAGE. */
int submission_check_resources(struct submission *s, osmo_error_t *err);
/* Writes everything in one transaction and waits for the commit; fills s->workflow_id. */
int submission_store(struct submission *s, osmo_error_t *err);
/* A FAILED_SUBMISSION row for the record. Its own failure is logged only. */
void submission_record_failure(struct submission *s, const char *name, const char *message);
#endif
