/* Sessions of the transfer engine as a task uses them: credentials, lines of progress, links, metrics. See transfer.h. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "transfer.h"

static atomic_bool stopping;

void transfer_cancel(bool cancelled) { atomic_store(&stopping, cancelled); }
bool transfer_cancelled(void) { return atomic_load(&stopping); }

static bool is_cancelled(void *ctx) {
    const struct transfer *t = ctx;
    return atomic_load(&stopping) || (t->stop && atomic_load(t->stop));
}

static char *bearer(void *ctx) { return token_bearer(((struct transfer *)ctx)->c->token, NULL, NULL); }

static void left_out(void *ctx, const char *path, const char *why) {
    struct transfer *t = ctx;
    ctrl_say(t->c, t->log, "%s is left out: %s", path, why);
}

static void progress(void *ctx, const struct data_progress *p) {
    struct transfer *t = ctx;
    char text[DATA_METER_TEXT_MAX];
    int64_t now = clock_mono_us();
    if (data_meter_due(&t->meter, p, now))
        ctrl_say(t->c, t->log, "%s%s%s", t->label ? t->label : "", t->label ? " " : "", data_meter_log(&t->meter, p, now, text));
}

int transfer_begin(struct ctrl *c, enum transfer_owner owner, enum io_type log, int connections, struct transfer *t, osmo_error_t *err) {
    const atomic_bool *stop = t->stop;
    const char *label = t->label;
    *t = (struct transfer){ .c = c, .log = log, .label = label, .stop = stop,
                            .link_roots = { c->o.output_path, *c->o.input_path ? c->o.input_path : NULL, NULL } };
    int rc = data_surroundings_read(owner == OWNER_USER ? c->o.user_config : c->o.service_config, true, getenv, &t->around, err);
    if (rc < 0)
        return rc;
    struct data_options o = {
        .credentials = t->around.credentials,
        .environment = &t->around.environment,
        .user_agent = "osmo-ctrl/" OSMO_VERSION,
        .connections = connections,
        .retry_for_ms = c->o.data_timeout_min * 60000,
        .stall_ms = c->o.data_timeout_min * 60000,
        .authorization = owner == OWNER_SERVICE ? bearer : NULL,
        .progress = progress,
        .left_out = left_out,
        .cancelled = is_cancelled,
        .ctx = t,
        .link_roots = t->link_roots,
    };
    data_meter_start(&t->meter, clock_mono_us());
    rc = data_session_new(&o, &t->session, err);
    if (rc < 0)
        transfer_end(t);
    return rc;
}

void transfer_end(struct transfer *t) {
    data_session_free(t->session);
    data_surroundings_clear(&t->around);
    t->session = NULL;
}

/* ---- metrics ---- */

/* "2026-11-26 16:45:00.123" */
static void put_time(json_t *o, const char *key, int64_t us) {
    char text[TIME_TEXT_MAX];
    time_iso(us, text);
    char *t = strchr(text, 'T');
    if (t)
        *t = ' ';
    json_set_str(o, key, text);
}

void transfer_group_metric(struct ctrl *c, const char *which, int64_t from_us, int64_t to_us) {
    json_t *m = json_object();
    json_set_str(m, "retry_id", c->o.retry_id);
    put_time(m, "start_time", from_us);
    put_time(m, "end_time", to_us);
    json_set_str(m, "type_of_metrics", which);
    logger_link_metric(c->link, "group_metrics", m);
}

void transfer_metric(struct ctrl *c, const char *type, const char *url, int64_t from_us, int64_t to_us, const struct data_totals *totals) {
    json_t *m = json_object();
    bool input = str_ends(type, "INPUT");
    json_set_str(m, "retry_id", c->o.retry_id);
    json_set_str(m, "group_name", c->o.group);
    json_set_str(m, "task_name", c->o.log_source);
    json_set_str(m, "url", url);
    json_set_str(m, "type", type);
    put_time(m, "start_time", from_us);
    put_time(m, "end_time", to_us);
    json_set_int(m, "size_in_bytes", (int64_t)totals->bytes);
    json_set_int(m, "number_of_files", (int64_t)totals->files);
    json_set_str(m, "operation_type", *url ? "Url" : "");
    json_set_str(m, "download_type", input ? "download" : "N/A");
    logger_link_metric(c->link, "task_io_metrics", m);
}
