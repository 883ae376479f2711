/* The log store's place in the engine, the table of connected osmo-ctrls, and the end of a workflow's log.
 * Called by engine_open/close, by the archive work item and by whoever has an action for a task. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "engine/replicas.h"
#include "engine/storage.h"

#define BANNER_SOURCE "osmo:banner" /* no task can have this name */
#define LAST_LINES_US (10LL * 1000 * 1000) /* how long the end of the log waits for those that still send */
#define BANNER_RULE "----------------------------------------------------------------------------------------------------"

static void log_grew(void *ctx, const char *workflow_id) {
    watch_workflow_changed(ctx, NULL, workflow_id);
}

/* Where the database is shared, so are the logs. */
static int open_log_store(engine_t *e, osmo_error_t *err) {
    if (store_is_pgsql(e->store)) {
        int opened = logstore_open_pgsql(e->store, log_grew, e, &e->logs, err);
        return opened < 0 ? opened : lines_open(e, err);
    }
    _cleanup_free_ char *dir = str_printf("%s/logs", e->data_dir);
    int rc = dir ? dir_make(dir, 0700, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return rc < 0 ? rc : logstore_open(dir, log_grew, e, &e->logs, err);
}

int logs_open(engine_t *e, osmo_error_t *err) {
    struct loggers *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->idle, NULL);
    e->loggers = l;
    l->by_attempt = map_new(NULL);
    int rc = l->by_attempt ? beats_open(e, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc >= 0)
        rc = open_log_store(e, err);
    if (rc < 0)
        logs_close(e);
    return rc;
}

void logs_close(engine_t *e) {
    struct loggers *l = e->loggers;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    while (l->writes)
        pthread_cond_wait(&l->idle, &l->lock);
    pthread_mutex_unlock(&l->lock);
    lines_close(e);
    beats_close(e);
    if (e->logs)
        logstore_close(e->logs);
    e->logs = NULL;
    map_free(l->by_attempt);
    pthread_cond_destroy(&l->idle);
    pthread_mutex_destroy(&l->lock);
    free(l);
    e->loggers = NULL;
}

void logs_write_begin(engine_t *e) {
    pthread_mutex_lock(&e->loggers->lock);
    e->loggers->writes++;
    pthread_mutex_unlock(&e->loggers->lock);
}

void logs_write_end(engine_t *e) {
    pthread_mutex_lock(&e->loggers->lock);
    if (--e->loggers->writes == 0)
        pthread_cond_broadcast(&e->loggers->idle);
    pthread_mutex_unlock(&e->loggers->lock);
}

/* ---- connected ctrls ---- */

char *logs_attempt_key(const char *workflow_id, const char *task, int64_t retry_id) {
    return str_printf("%s\n%s\n%lld", workflow_id, task, (long long)retry_id);
}

bool logs_send_action(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id,
                      const struct ctrl_action *action, bool *answers) {
    _cleanup_free_ char *key = logs_attempt_key(workflow_id, task, retry_id);
    uint64_t conn = 0;
    bool confirms = false;
    if (!key || !e->transport)
        return false;
    pthread_mutex_lock(&e->loggers->lock);
    const struct logger_session *s = map_get(e->loggers->by_attempt, key);
    bool found = s != NULL;
    if (found) {
        conn = s->conn;
        confirms = s->answers;
    }
    pthread_mutex_unlock(&e->loggers->lock);
    if (!found)
        return false;
    if (answers)
        *answers = confirms;
    const char *json = confirms && action->numbered ? action->numbered : action->json;
    int rc = e->transport->ws_send(e->transport->impl, conn, json, strlen(json), 1);
    if (rc == OSMO_ELIMIT)
        log_warning(&e->log, "task %s of %s does not read its actions: one was dropped", task, workflow_id);
    return rc >= 0;
}

void logger_action(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, const char *action_json) {
    const struct ctrl_action action = { action_json, NULL };
    (void)logs_send_action(e, workflow_id, task, retry_id, &action, NULL);
}

/* ---- end of a workflow's log ---- */

/* Sequence numbers make the banner appear once, however often the item is run. */
static int append_banner(engine_t *e, const struct workflow_row *w, osmo_error_t *err) {
    _cleanup_free_ char *base = engine_base_url(e);
    const char *why = w->failure_message && *w->failure_message ? w->failure_message : "no cause was recorded";
    _cleanup_free_ char *text = str_printf("%s\nWorkflow %s: %s\nCause: %s\nStatus: %s/workflows/%s\n"
                                           "Error logs: %s/api/workflow/%s/error_logs\n%s",
                                           BANNER_RULE, w->id, status_name(w->sm.status), why, base ? base : "", w->id,
                                           base ? base : "", w->id, BANNER_RULE);
    if (!text)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    struct log_entry entry = { .time_us = w->sm.end_us ? w->sm.end_us : engine_now(e), .type = IO_DUMP, .text = text,
        .len = strlen(text), .seq = 1 };
    int rc = logstore_append(e->logs, w->id, BANNER_SOURCE, 0, &entry, 1, err);
    return rc == OSMO_EGONE ? 0 : rc;
}

bool logs_ctrl_is_here(engine_t *e, const char *workflow_id) {
    size_t it = 0, len = strlen(workflow_id);
    const char *key;
    void *session;
    bool found = false;
    pthread_mutex_lock(&e->loggers->lock);
    while (!found && map_next(e->loggers->by_attempt, &it, &key, &session))
        found = !strncmp(key, workflow_id, len) && key[len] == '\n';
    pthread_mutex_unlock(&e->loggers->lock);
    return found;
}

/* A cancelled task's ctrl may still be sending what it has: its lines would come after the end. Of a replica that cannot be asked
 * the same is assumed; its lease ends soon. */
static bool ctrl_is_connected(engine_t *e, const char *workflow_id) {
    bool elsewhere = false;
    return logs_ctrl_is_here(e, workflow_id) || replicas_ctrl_connected(e, workflow_id, &elsewhere, NULL) < 0 || elsewhere;
}

int logs_finish_workflow(engine_t *e, const char *workflow_uuid, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_uuid, &w, err);
    if (rc < 0)
        return rc;
    if (engine_now(e) < w.sm.end_us + LAST_LINES_US && ctrl_is_connected(e, w.id))
        rc = osmo_error_set(err, OSMO_EBUSY, "tasks of workflow %s are still sending their log", w.id);
    else
        lines_flush_workflow(e, w.id);
    if (rc >= 0 && status_is_failed(w.sm.status))
        rc = append_banner(e, &w, err);
    if (rc >= 0)
        rc = logstore_end(e->logs, w.id, err);
    if (rc >= 0)
        storage_forget_uploads(e, w.id); /* its tasks are gone: nobody will commit them */
    workflow_row_clear(&w);
    return rc;
}
