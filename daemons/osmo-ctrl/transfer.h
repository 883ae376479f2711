/* Data of a task: what transfer*.c share, and what checkpoints need of them. */
#ifndef OSMO_CTRL_TRANSFER_H
#define OSMO_CTRL_TRANSFER_H
#include "ctrl.h"
#include "data/data_environment.h"
#include "data/progress.h"
#include "data/transfer.h"

/* ---- transfer_spec.c: the grammar of -inputs and -outputs ----
 *   input   task:<index>,<url>,<regex> | url:<index>,<url>,<regex>
 *   output  task:<url> | url:<url>,<regex> | kpi:<url>,<path>
 * A regex is what is left, with its commas. */
enum transfer_kind { TRANSFER_TASK, TRANSFER_URL, TRANSFER_KPI };
struct transfer_spec {
    enum transfer_kind kind;
    int64_t index;           /* of an input; -1 of an output */
    char *url;
    const char *rest;        /* regex or path, "" without */
    char *text;              /* holds it */
    struct data_uri uri;
};
/* OSMO_EUSER: not understood, or no place that a task may use. */
int transfer_spec_parse(const char *arg, bool input, struct transfer_spec *out, osmo_error_t *err);
void transfer_spec_clear(struct transfer_spec *s);
/* A KPI's url is <prefix>/<workflow>/<task>[/<directory of path>]: what remains without the directory. malloc'ed */
char *transfer_kpi_root(const char *url, const char *path);

/* ---- transfer_session.c ---- */
enum transfer_owner { OWNER_USER, OWNER_SERVICE }; /* whose credentials: of urls; of what tasks hand on, and KPIs */
struct transfer {
    struct ctrl *c;
    enum io_type log;        /* of its lines */
    const char *label;       /* before lines of progress; borrowed */
    struct data_meter meter;
    struct data_surroundings around;
    data_session_t *session;
    const char *link_roots[3];
    const atomic_bool *stop; /* ends it too; may be NULL */
};
/* For one thread. connections: 0 = as many as are good for one. */
int transfer_begin(struct ctrl *c, enum transfer_owner owner, enum io_type log, int connections, struct transfer *t, osmo_error_t *err);
void transfer_end(struct transfer *t);
/* While it is true, transfers end at once, and so do those that begin. From any thread. */
void transfer_cancel(bool cancelled);
bool transfer_cancelled(void);
/* task_io_metrics of one input or output ("INPUT", "OUTPUT", …). */
void transfer_metric(struct ctrl *c, const char *type, const char *url, int64_t from_us, int64_t to_us, const struct data_totals *totals);
/* group_metrics: input_download, output_upload */
void transfer_group_metric(struct ctrl *c, const char *which, int64_t from_us, int64_t to_us);

/* ---- transfer_check.c ---- */
/* May the credentials read every url of the inputs and write every one of the outputs? A ctrl_exit code, after saying why. */
int transfer_validate(struct ctrl *c);
#endif
