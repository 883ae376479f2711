/* Answers of backend workers: which job a job_status belongs to, what it changes, and the error logs collected on the
 * way. Called by agent.c (messages) and agent_dispatch.c (jobs that could not be built). */
#include <string.h>

#include "base/clock.h"
#include "engine/masks.h"
#include "engine/queues.h"
#include "engine/reconcile.h"
#include "model/spec.h"

void job_free(struct job *j) {
    if (!j)
        return;
    for (size_t i = 0; i < j->nlogs; i++) {
        free(j->logs[i].task);
        buf_free(&j->logs[i].text);
    }
    free(j->logs);
    free(j->payload);
    free(j->id);
    buf_free(&j->frame);
    free(j);
}

/* What the tasks have left in them of the credentials of their user. */
static void mask_logs(engine_t *e, struct job *j) {
    for (size_t i = 0; i < j->nlogs; i++) {
        struct job_log *l = &j->logs[i];
        size_t len = l->text.len;
        char *text = len ? buf_steal(&l->text, NULL) : NULL;
        masks_workflow_text(e, j->workflow_uuid, &text);
        buf_init(&l->text, ERROR_LOG_MAX + 256);
        if (text)
            buf_puts(&l->text, text);
        free(text);
    }
}

/* The collected error logs become files of the workflow. */
static int logs_to_files(struct job *j, struct job_result *r) {
    r->files = calloc(j->nlogs + 1, sizeof *r->files);
    if (!r->files)
        return OSMO_ENOMEM;
    for (size_t i = 0; i < j->nlogs; i++) {
        struct job_log *l = &j->logs[i];
        if (!l->text.len)
            continue;
        if (l->cut)
            buf_puts(&l->text, "\n[the rest is longer than 1 MiB and was not kept]\n");
        struct job_file *f = &r->files[r->nfiles++];
        f->path = l->retry_id > 0 ? str_printf("%s_%lld_error_logs.txt", l->task, (long long)l->retry_id)
                                  : str_printf("%s_error_logs.txt", l->task);
        f->content = buf_steal(&l->text, &f->len);
        if (!f->path || !f->content)
            return OSMO_ENOMEM;
    }
    return 0;
}

/* A job that fails is tried again until its attempts are used up; a create that the backend calls hopeless is not. */
static int final_outcome(engine_t *e, const struct job *j, int outcome) {
    if (outcome == JOB_DONE)
        return outcome;
    const struct settings *s = engine_settings(e);
    int64_t limit = s->max_retry_per_job > 0 ? s->max_retry_per_job : 1;
    engine_settings_put(s);
    if (j->kind != JOB_CLEANUP && outcome == JOB_FAILED)
        return JOB_FAILED;
    return j->attempts + 1 >= limit ? JOB_FAILED : JOB_RETRY;
}

/* Logs are kept even if the job is done again: the pods may be gone by then. */
static int post_result(engine_t *e, struct job *j, int outcome, const char *cause, engine_done_fn done, void *ctx) {
    struct job_result *r = calloc(1, sizeof *r);
    if (!r)
        return OSMO_ENOMEM;
    r->work_id = j->work_id;
    r->attempts = j->attempts;
    r->kind = j->kind;
    r->payload = STEAL(j->payload);
    memcpy(r->workflow_uuid, j->workflow_uuid, sizeof r->workflow_uuid);
    memcpy(r->group_uuid, j->group_uuid, sizeof r->group_uuid);
    memcpy(r->owner, j->owner, sizeof r->owner);
    r->outcome = outcome;
    r->cause = str_dup(cause);
    mask_logs(e, j);
    int rc = logs_to_files(j, r);
    if (rc >= 0)
        return reactor_job_result(e, r, done, ctx);
    job_result_free(r);
    return rc;
}

static bool has_logs(const struct job *j) {
    for (size_t i = 0; i < j->nlogs; i++)
        if (j->logs[i].text.len)
            return true;
    return false;
}

void jobs_keep_logs(struct agent_session *s) {
    struct job *jobs[JOBS_MAX];
    size_t n = 0;
    pthread_mutex_lock(&s->lock); /* they stay with the session until it is freed */
    for (size_t i = 0; i < s->njobs; i++)
        if (s->jobs[i]->sent && has_logs(s->jobs[i]))
            jobs[n++] = s->jobs[i];
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++)
        if (post_result(s->e, jobs[i], JOB_LOST, NULL, NULL, NULL) < 0)
            log_warning(&s->e->log, "error logs that came with job %s were not stored", jobs[i]->id ? jobs[i]->id : "");
}

static void finish(engine_t *e, struct job *j, int outcome, const char *cause, engine_done_fn done, void *ctx) {
    int rc = post_result(e, j, final_outcome(e, j, outcome), cause, done, ctx);
    if (rc < 0)
        log_error(&e->log, "the outcome of job %s was not stored; the job is sent again when its lease ends",
                  j->id ? j->id : "");
    if (rc < 0 && done)
        done(ctx, rc, NULL);
    job_free(j);
}

void job_finish(engine_t *e, struct job *j, int outcome, const char *cause) {
    if (j->kind == JOB_ORPHAN)
        orphan_finish(e, j, final_outcome(e, j, outcome), cause);
    else if (job_tells(j))
        queues_finish(e, j, final_outcome(e, j, outcome), cause);
    else
        finish(e, j, outcome, cause, NULL, NULL);
}

/* Those that wait to be sent stay in order. */
static struct job *take_at(struct agent_session *s, size_t i) {
    struct job *j = s->jobs[i];
    memmove(&s->jobs[i], &s->jobs[i + 1], (--s->njobs - i) * sizeof *s->jobs);
    return j;
}

/* With the "jobs" extension the answer names its job; without it the one job in flight is meant. */
static struct job *take_job(struct agent_session *s, const json_t *body) {
    const char *id = json_get_str(body, "job_id"), *uuid = json_get_str(body, "job_uuid");
    struct job *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->njobs && !found; i++) {
        struct job *j = s->jobs[i];
        if (!j->sent || (s->jobs_extension && (!str_eq(j->id, id) || !str_eq(j->uuid, uuid))))
            continue;
        found = take_at(s, i);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* ---- jobs that are not answered ---- */

static struct job *take_overdue(struct agent_session *s, int64_t limit_us, int64_t now, int64_t *next) {
    struct job *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->njobs && !found && !s->closed; i++) {
        struct job *j = s->jobs[i];
        if (!j->sent)
            continue;
        if (j->sent_us + limit_us <= now) {
            found = take_at(s, i);
        } else if (j->sent_us + limit_us < *next) {
            *next = j->sent_us + limit_us;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* After the outcome is stored: the end of the session gives back all its leases, and what is given back was never tried. */
static void close_late(void *ctx, int rc, const osmo_error_t *err) {
    (void)rc;
    (void)err;
    session_close(ctx, 1013, "a job was not answered in time, connect again");
    session_unref(ctx);
}

/* Such an operator may be stuck: it has to begin again. Late answers find nobody, and jobs may be done twice. */
int64_t jobs_overdue(struct agent_session *s, int64_t next) {
    const struct settings *settings = engine_settings(s->e);
    int64_t limit = settings_job_timeout(settings, s->backend), now = clock_mono_us();
    engine_settings_put(settings);
    char text[32], cause[300];
    for (struct job *j; (j = take_overdue(s, limit, now, &next));) {
        duration_text(limit, text);
        snprintf(cause, sizeof cause, "the operator of backend %.200s did not answer within its job_timeout of %s", s->backend, text);
        log_warning(&s->e->log, "job %s: %s", j->id, cause);
        session_ref(s);
        s->overdue = true;
        if (job_is_loose(j)) {
            job_finish(s->e, j, JOB_RETRY, cause);
            close_late(s, 0, NULL);
        } else {
            finish(s->e, j, JOB_RETRY, cause, close_late, s);
        }
    }
    return next;
}

/* ---- answers ---- */

void agent_job_status(struct agent_session *s, const json_t *body) {
    const char *status = json_get_str(body, "status");
    _cleanup_free_ char *message = str_dup(json_get_str(body, "message"));
    struct job *j = take_job(s, body);
    if (!j) {
        log_warning(&s->e->log, "backend %s answered a job that this session did not send: ignored", s->backend);
        strays_came(s);
        return;
    }
    int outcome = !status || str_eq(status, "SUCCESS") ? JOB_DONE
                  : str_eq(status, "FAILED_RETRY")     ? JOB_RETRY
                                                       : JOB_FAILED;
    if (outcome != JOB_DONE && !job_is_loose(j))
        masks_workflow_text(s->e, j->workflow_uuid, &message); /* a cluster may quote what it refuses */
    if (outcome != JOB_DONE)
        log_warning(&s->e->log, "backend %s could not do job %s: %.500s", s->backend, j->id,
                    message ? message : status);
    job_finish(s->e, j, outcome, message ? message : status);
    agents_wake(s->e);
}

void agent_pod_log(struct agent_session *s, const json_t *body) {
    const char *task = json_get_str(body, "task"), *text = json_get_str(body, "text");
    int64_t retry = body_int(body, "retry_id", 0);
    if (!task || !text)
        return;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->njobs; i++)
        for (size_t k = 0; k < s->jobs[i]->nlogs; k++) {
            struct job_log *l = &s->jobs[i]->logs[k];
            if (strcmp(l->uuid, task) != 0 || l->retry_id != retry || l->cut)
                continue;
            size_t len = strlen(text), room = ERROR_LOG_MAX - l->text.len;
            while (len > room && room && ((unsigned char)text[room] & 0xC0) == 0x80)
                room--;
            l->cut = len > room;
            buf_append(&l->text, text, l->cut ? room : len);
        }
    pthread_mutex_unlock(&s->lock);
}
