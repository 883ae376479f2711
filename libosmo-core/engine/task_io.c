/* Metrics of transfers into the table task_io; see task_io.h. Outside of the workflow's lock: nothing is decided by them. */
#include "engine/task_io.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/logs_internal.h"
#include "store/repo_task_io.h"

#define TEXT_MAX 4096 /* of a name or an address; one that is longer is none */

struct told { engine_t *e; struct task_io_row row; };

static void told_free(struct told *t) {
    char *texts[] = { t->row.group_name, t->row.task, t->row.url, t->row.type, t->row.operation_type, t->row.download_type };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(t);
}

static int store_run(db_t *db, void *ctx, osmo_error_t *err) { return repo_task_io_add(db, &((const struct told *)ctx)->row, err); }

static void store_done(void *ctx, int rc, const osmo_error_t *err) {
    struct told *t = ctx;
    if (rc < 0)
        log_warning(&t->e->log, "a transfer of task %s was not noted: %s", t->row.task, err ? err->text : "");
    logs_write_end(t->e);
    told_free(t);
}

static char *text_of(const json_t *o, const char *name) {
    const char *text = json_get_str(o, name);
    return str_dup(text && strlen(text) <= TEXT_MAX ? text : "");
}

/* As text or as a number, never negative. */
static int64_t count_of(const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    int64_t n = 0;
    if (!json_str(v) || !str_to_i64(json_str(v), &n))
        n = json_as_int(v, 0);
    return n < 0 ? 0 : n;
}

static int64_t time_of(const json_t *o, const char *name) {
    const char *text = json_get_str(o, name);
    int64_t us;
    return text && time_parse(text, &us) ? us : 0;
}

void task_io_take(engine_t *e, const char workflow_uuid[33], const char *task, int64_t retry_id, const json_t *metric) {
    struct told *t = json_kind(metric) == JSON_OBJECT ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return;
    t->e = e;
    t->row = (struct task_io_row){
        .group_name = text_of(metric, "group_name"), .task = str_dup(task), .url = text_of(metric, "url"), .type = text_of(metric, "type"),
        .operation_type = text_of(metric, "operation_type"), .download_type = text_of(metric, "download_type"), .retry_id = retry_id,
        .start_us = time_of(metric, "start_time"), .end_us = time_of(metric, "end_time"), .bytes = count_of(metric, "size_in_bytes"),
        .files = count_of(metric, "number_of_files"),
    };
    memcpy(t->row.workflow_uuid, workflow_uuid, sizeof t->row.workflow_uuid);
    if (!t->row.group_name || !t->row.task || !t->row.url || !t->row.type || !t->row.operation_type || !t->row.download_type) {
        told_free(t);
        return;
    }
    logs_write_begin(e);
    int rc = store_post(e->store, workflow_uuid, store_run, store_done, t);
    if (rc < 0) {
        logs_write_end(e);
        log_warning(&e->log, "a transfer of task %s was not noted: %s", task, osmo_error_name(rc));
        told_free(t);
    }
}
