/* The log store as the engine sees it: names are looked at here, everything else is the driver's, segment files
 * (logstore_files.c) or chunks in PostgreSQL (logstore_pgsql.c). Reading is logstore_reader.c. */
#include "store/logstore_int.h"
#include <string.h>

#define ID_MAX 200
#define TASK_NAME_MAX 255

void logstore_close(logstore_t *s) {
    if (s)
        s->drv->close(s);
}

void logstore_notify(const logstore_t *s, const char *workflow_id) {
    if (s->notify)
        s->notify(s->notify_ctx, workflow_id);
}

/* ---- names ---- */

int logstore_check_id(const char *id, osmo_error_t *err) {
    size_t len = id ? strlen(id) : 0;
    bool good = len > 0 && len <= ID_MAX && id[0] != '.';
    for (size_t i = 0; good && i < len; i++) {
        char c = id[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.", c);
    }
    return good ? 0 : osmo_error_set(err, OSMO_EINVAL, "workflow id %.*s is not usable as a name of a log: "
                                                       "letters, digits, - _ . only",
                                     (int)(len < 80 ? len : 80), id ? id : "");
}

static int check_attempt(const char *id, const char *task, int64_t retry_id, osmo_error_t *err) {
    size_t len = task ? strlen(task) : 0;
    bool good = len > 0 && len <= TASK_NAME_MAX && retry_id >= 0 && retry_id <= UINT32_MAX;
    for (size_t i = 0; good && i < len; i++)
        good = (unsigned char)task[i] >= ' ';
    if (!good)
        return osmo_error_set(err, OSMO_EINVAL, "a log entry needs a task name of 1 to %d characters and "
                                                "a retry of 0 or more", TASK_NAME_MAX);
    return logstore_check_id(id, err);
}

/* ---- appending ---- */

int logstore_render(const char *workflow_id, const char *task, int64_t retry_id, const struct log_entry *e, buf_t *text,
                    struct log_record *out, osmo_error_t *err) {
    size_t before = text->len;
    bool control = e->type >= IO_METRICS; /* no text, but its sequence counts */
    if (e->type <= IO_INVALID || e->type > IO_LOG_DONE)
        return osmo_error_set(err, OSMO_EINVAL, "log of workflow %s: unknown kind of entry", workflow_id);
    int rc = control ? 0 : logline_render(e->time_us, task, retry_id, e->type, e->text, e->len, text);
    if (rc < 0)
        return osmo_error_set(err, rc, "log of workflow %s: entries of one append exceed %u bytes", workflow_id,
                              LOG_APPEND_TEXT_MAX);
    if (text->len == before && !e->seq)
        return 0;
    *out = (struct log_record){ .length = (uint32_t)(text->len - before), .retry = (uint32_t)retry_id,
                                .type = (uint8_t)e->type, .time_us = e->time_us, .seq = e->seq };
    return 1;
}

int logstore_append(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id,
                    const struct log_entry *e, size_t n, osmo_error_t *err) {
    bool grew = false;
    int rc = check_attempt(workflow_id, task, retry_id, err);
    if (rc == 0)
        rc = s->drv->append(s, workflow_id, task, retry_id, e, n, &grew, err);
    if (rc == 0 && grew)
        logstore_notify(s, workflow_id);
    return rc;
}

int logstore_last_seq(logstore_t *s, const char *workflow_id, const char *task, int64_t retry_id,
                      uint64_t *seq, osmo_error_t *err) {
    *seq = 0;
    int rc = check_attempt(workflow_id, task, retry_id, err);
    return rc == 0 ? s->drv->last_seq(s, workflow_id, task, retry_id, seq, err) : rc;
}

int logstore_end(logstore_t *s, const char *workflow_id, osmo_error_t *err) {
    int rc = logstore_check_id(workflow_id, err);
    return rc == 0 ? s->drv->end(s, workflow_id, err) : rc;
}

int logstore_has_ended(logstore_t *s, const char *workflow_id, bool *ended, osmo_error_t *err) {
    *ended = false;
    int rc = logstore_check_id(workflow_id, err);
    return rc == 0 ? s->drv->has_ended(s, workflow_id, ended, err) : rc;
}

int logstore_remove(logstore_t *s, const char *workflow_id, osmo_error_t *err) {
    int rc = logstore_check_id(workflow_id, err);
    return rc == 0 ? s->drv->remove(s, workflow_id, err) : rc;
}
