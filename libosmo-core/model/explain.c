/* The reasons behind a workflow's state; see explain.h. What the backend's scheduler said is passed on in its own words
 * and only sorted by what it is about. */
#include "model/explain.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "model/spec.h"

/* An operator says every 20 s that it lives; one that was silent for longer than this counts as offline. */
#define ONLINE_US (120LL * 1000 * 1000)
#define MISSED_US (25LL * 1000 * 1000) /* at least once it said nothing */
#define WORDS_MAX 2000

static const char *const why_names[WHY_COUNT] = {
    [WHY_DEPENDENCY] = "dependency", [WHY_CANCEL] = "cancel", [WHY_TURN] = "turn",
    [WHY_BACKEND_UNKNOWN] = "backend_unknown", [WHY_BACKEND_OFFLINE] = "backend_offline",
    [WHY_HANDOVER] = "handover", [WHY_CREATE_RETRY] = "create_retry", [WHY_ADMISSION] = "admission",
    [WHY_GIVEN_UP] = "given_up", [WHY_CREATED] = "created", [WHY_QUOTA] = "quota", [WHY_TOPOLOGY] = "topology",
    [WHY_FIT] = "fit", [WHY_TAINT] = "taint", [WHY_PLACEMENT] = "placement", [WHY_SCHEDULER] = "scheduler",
    [WHY_IMAGE] = "image", [WHY_VOLUME] = "volume", [WHY_STARTING] = "starting", [WHY_RETRY] = "retry",
    [WHY_RUNNING] = "running",
};

const char *explain_why_name(enum explain_why why) { return (unsigned)why < WHY_COUNT ? why_names[why] : ""; }

/* ---- the answer grows ---- */

static void add_reason(struct explain *x, struct explain_verdict *v, enum explain_why why, const char *task,
                       int64_t since_us, char *text /* taken */) {
    if (!text)
        x->failed_alloc = true;
    if (!text || v->n == EXPLAIN_REASONS_MAX) {
        free(text);
        return;
    }
    v->reasons[v->n++] = (struct explain_reason){ .why = why, .task = task, .text = text, .since_us = since_us };
}

static void add_step(struct explain *x, const char *what, const char *subject, int64_t at_us, char *text /* taken */) {
    if (!text)
        x->failed_alloc = true;
    if (!text || x->nsteps == EXPLAIN_STEPS_MAX) {
        free(text);
        return;
    }
    x->steps[x->nsteps++] = (struct explain_step){ .what = what, .subject = subject, .text = text, .at_us = at_us };
}

/* ---- what events say ---- */

static bool has(const char *text, const char *word) { return strcasestr(text, word) != NULL; }

/* "2026-03-01 09:30:00+00:00 [task retry-1] FailedScheduling: words" → "FailedScheduling: words" */
static const char *event_words(const char *text) {
    const char *open = strchr(text, '['), *close = open ? strstr(open, "] ") : NULL;
    return close ? close + 2 : text;
}

/* Behind "Message: " of a condition, else behind the reason of an event. */
static const char *event_message(const char *words) {
    const char *message = strstr(words, ", Message: "), *colon = strstr(words, ": ");
    if (message)
        return message + strlen(", Message: ");
    return colon && colon[2] ? colon + 2 : words;
}

enum topic { TOPIC_NONE, TOPIC_PLACED, TOPIC_UNPLACED, TOPIC_IMAGE, TOPIC_IMAGE_DONE, TOPIC_VOLUME, TOPIC_SANDBOX };

static enum topic event_topic(const char *words) {
    static const struct { const char *begin; enum topic topic; bool image; } table[] = {
        { "PodScheduled: False", TOPIC_UNPLACED, false }, { "PodScheduled: True", TOPIC_PLACED, false },
        { "FailedScheduling: ", TOPIC_UNPLACED, false },  { "Unschedulable: ", TOPIC_UNPLACED, false },
        { "NotTriggerScaleUp: ", TOPIC_UNPLACED, false }, { "Scheduled: ", TOPIC_PLACED, false },
        { "Pulling: ", TOPIC_IMAGE, false },              { "Pulled: ", TOPIC_IMAGE_DONE, false },
        { "Failed: ", TOPIC_IMAGE, true },                { "BackOff: ", TOPIC_IMAGE, true },
        { "ErrImagePull", TOPIC_IMAGE, false },           { "ImagePullBackOff", TOPIC_IMAGE, false },
        { "InspectFailed: ", TOPIC_IMAGE, false },        { "ErrImageNeverPull", TOPIC_IMAGE, false },
        { "FailedMount: ", TOPIC_VOLUME, false },         { "FailedAttachVolume: ", TOPIC_VOLUME, false },
        { "FailedCreatePodSandBox: ", TOPIC_SANDBOX, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (str_starts(words, table[i].begin) && (!table[i].image || has(words, "image")))
            return table[i].topic;
    return TOPIC_NONE;
}

/* What the words of a scheduler are about. A message that counts nodes by cause has several causes: the one that only
 * an administrator or time can change comes before what the user chose. */
static enum explain_why scheduler_why(const char *words) {
    static const struct { const char *word; enum explain_why why; } table[] = {
        { "has a maximum of", WHY_QUOTA }, { "is guaranteed", WHY_QUOTA },
        { "quota", WHY_QUOTA }, { "over limit", WHY_QUOTA }, { "overlimit", WHY_QUOTA },
        { "over-limit", WHY_QUOTA }, { "limit of", WHY_QUOTA }, { "deserved", WHY_QUOTA },
        { "topology", WHY_TOPOLOGY }, { "insufficient", WHY_FIT }, { "not enough", WHY_FIT }, { "too large", WHY_FIT },
        { "does not fit", WHY_FIT }, { "do not fit", WHY_FIT }, { "no node", WHY_FIT }, { "fits no", WHY_FIT },
        { "free", WHY_FIT }, { "more than", WHY_FIT }, { "needs ", WHY_FIT }, { "no room", WHY_FIT },
        { "taint", WHY_TAINT }, { "tolerat", WHY_TAINT }, { "affinity", WHY_PLACEMENT },
        { "selector", WHY_PLACEMENT }, { "label", WHY_PLACEMENT },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (has(words, table[i].word))
            return table[i].why;
    return WHY_SCHEDULER;
}

/* The newest event of a task that says why it is not placed, or not started. */
static const struct explain_event *telling_event(const struct explain_task *t, bool placed, enum topic *topic) {
    for (size_t i = 0; i < t->nevents; i++) {
        *topic = event_topic(event_words(t->events[i].text));
        if (!placed && *topic == TOPIC_PLACED)
            return NULL; /* what was said before is past */
        if (!placed ? *topic == TOPIC_UNPLACED : *topic >= TOPIC_IMAGE && *topic != TOPIC_IMAGE_DONE)
            return &t->events[i];
        if (placed && *topic == TOPIC_IMAGE_DONE)
            return NULL;
    }
    return NULL;
}

/* ---- one group ---- */

/* Where a deadline runs it is told before it is over. */
static int64_t silence(const struct explain_snapshot *s) {
    int64_t half = s->offline.action == OFFLINE_FAIL ? s->offline.after_us / 2 : ONLINE_US;
    return half < MISSED_US ? MISSED_US : half < ONLINE_US ? half : ONLINE_US;
}

static bool backend_offline(const struct explain_snapshot *s) {
    return s->link == LINK_DOWN || (s->link == LINK_UNKNOWN && s->now_us - s->heartbeat_us > silence(s));
}

/* What was handed out may fail by then; what was not waits in any case. */
static char *offline_text(const struct explain_snapshot *s, const struct explain_group *g) {
    char limit[32], when[TIME_TEXT_MAX];
    const char *base = "is offline: its operator is not connected; the group goes on when it is back";
    if (s->offline.action != OFFLINE_FAIL)
        return str_printf("backend %s %s (offline policy: wait)", s->backend, base);
    duration_text(s->offline.after_us, limit);
    if (!g->sent)
        return str_printf("backend %s %s (offline policy: fail after %s, of what was handed to it)", s->backend, base, limit);
    return str_printf("backend %s %s, and fails if it is not by %s UTC (offline policy: fail after %s)", s->backend, base,
                      time_log(s->lost_at_us, when), limit);
}

/* Does the group depend on a backend that is not there? */
static bool why_backend(struct explain *x, struct explain_verdict *v, const struct explain_snapshot *s) {
    if (!s->backend_known)
        add_reason(x, v, WHY_BACKEND_UNKNOWN, NULL, 0,
                   str_printf("backend %s of the pool has never connected to this service: start its operator",
                              s->backend));
    else if (backend_offline(s))
        add_reason(x, v, WHY_BACKEND_OFFLINE, NULL, s->heartbeat_us,
                   offline_text(s, v->group));
    return !s->backend_known || backend_offline(s);
}

static void why_dependency(struct explain *x, struct explain_verdict *v) {
    const struct explain_group *g = v->group;
    if (!g->upstream_total) {
        add_reason(x, v, WHY_TURN, NULL, g->since_us, str_dup("nothing it depends on is missing: it starts next"));
        return;
    }
    _cleanup_buf_ buf_t b = BUF_INIT(1u << 16);
    buf_puts(&b, "waits for ");
    for (size_t i = 0; i < g->nupstream && i < EXPLAIN_NAMES_MAX; i++)
        buf_printf(&b, "%sgroup %s (%s)", i ? ", " : "", g->upstream[i].name, status_name(g->upstream[i].status));
    size_t named = g->nupstream < EXPLAIN_NAMES_MAX ? g->nupstream : EXPLAIN_NAMES_MAX;
    if (g->upstream_total > (int64_t)named)
        buf_printf(&b, "%s%lld more", named ? " and " : "groups: ", (long long)g->upstream_total - (long long)named);
    buf_puts(&b, " to complete");
    add_reason(x, v, WHY_DEPENDENCY, NULL, g->since_us, buf_failed(&b) ? NULL : buf_steal(&b, NULL));
}

static bool is_admission(const char *error) {
    return has(error, "admission") || has(error, "denied the request") || has(error, "forbidden") ||
           has(error, "exceeded quota") || has(error, "is invalid");
}

static void why_create(struct explain *x, struct explain_verdict *v, const struct explain_snapshot *s) {
    const struct explain_group *g = v->group;
    const struct explain_job *j = &g->create;
    const char *error = j->last_error && *j->last_error ? j->last_error : "no cause was given";
    bool absent = why_backend(x, v, s);
    if (j->exists && j->dead) {
        add_reason(x, v, WHY_GIVEN_UP, NULL, 0,
                   str_printf("its create job %lld ran out of attempts: %.*s; an administrator may retry it",
                              (long long)j->id, WORDS_MAX, error));
    } else if (j->exists && j->attempts > 0) {
        add_reason(x, v, is_admission(error) ? WHY_ADMISSION : WHY_CREATE_RETRY, NULL, 0,
                   str_printf("creating it failed (attempt %lld): %.*s", (long long)j->attempts, WORDS_MAX, error));
    } else if (absent) {
        return; /* says all */
    } else if (j->exists) {
        add_reason(x, v, WHY_HANDOVER, NULL, g->since_us,
                   str_printf(j->leased ? "backend %s creates it now" : "its create job waits for a worker of backend %s",
                              s->backend));
    } else if (g->sent) {
        add_reason(x, v, WHY_CREATED, NULL, g->since_us,
                   str_printf("it was created in backend %s, which has not reported its pods yet", s->backend));
    } else {
        add_reason(x, v, WHY_TURN, NULL, g->since_us,
                   str_dup("its create job is not queued yet: other groups of the workflow come first"));
    }
}

static void why_unplaced(struct explain *x, struct explain_verdict *v, const struct explain_task *t) {
    enum topic topic;
    const struct explain_event *e = telling_event(t, false, &topic);
    if (!e)
        return;
    const char *message = event_message(event_words(e->text));
    for (size_t i = 0; i < v->n; i++) /* tasks of a gang are told the same */
        if (strstr(v->reasons[i].text, message))
            return;
    add_reason(x, v, scheduler_why(message), t->name, e->at_us,
               str_printf("the scheduler has not placed task %s: %.*s", t->name, WORDS_MAX, message));
}

static void why_not_started(struct explain *x, struct explain_verdict *v, const struct explain_task *t) {
    enum topic topic;
    const struct explain_event *e = telling_event(t, true, &topic);
    if (!e)
        return;
    bool image = topic == TOPIC_IMAGE;
    add_reason(x, v, image ? WHY_IMAGE : topic == TOPIC_VOLUME ? WHY_VOLUME : WHY_STARTING, t->name, e->at_us,
               str_printf("task %s %s: %.*s", t->name,
                          image ? "waits for its image" : topic == TOPIC_VOLUME ? "waits for a volume" : "does not start",
                          WORDS_MAX, event_message(event_words(e->text))));
}

static void why_tasks(struct explain *x, struct explain_verdict *v, const struct explain_snapshot *s) {
    const struct explain_group *g = v->group;
    size_t before = v->n;
    for (size_t i = 0; i < g->ntasks; i++) {
        const struct explain_task *t = &g->tasks[i];
        if (t->status == STATUS_SCHEDULING)
            why_unplaced(x, v, t);
        else if (t->status == STATUS_INITIALIZING)
            why_not_started(x, v, t);
        else if (t->status == STATUS_PROCESSING && t->retry_id > 0)
            add_reason(x, v, WHY_RETRY, t->name, 0,
                       str_printf("task %s failed %lld times and is created again", t->name, (long long)t->retry_id));
    }
    if (v->n > before)
        return;
    if (g->status == STATUS_SCHEDULING)
        add_reason(x, v, WHY_SCHEDULER, NULL, g->since_us,
                   str_printf("the scheduler of backend %s has not placed it yet and gave no reason", s->backend));
    else if (g->status == STATUS_INITIALIZING)
        add_reason(x, v, WHY_STARTING, NULL, g->since_us, str_dup("its containers are being started"));
    else
        add_reason(x, v, WHY_RUNNING, NULL, g->since_us,
                   str_printf("%lld of its %lld tasks run", (long long)g->tasks_running, (long long)g->tasks_total));
}

static void explain_group(struct explain *x, struct explain_verdict *v, const struct explain_snapshot *s) {
    const struct explain_group *g = v->group;
    if (s->cancel_requested)
        add_reason(x, v, WHY_CANCEL, NULL, 0,
                   str_printf("it is being cancelled%s%s", s->cancelled_by ? " by " : "",
                              s->cancelled_by ? s->cancelled_by : ""));
    if (g->status <= STATUS_WAITING) {
        why_dependency(x, v);
    } else if (g->status == STATUS_PROCESSING) {
        why_create(x, v, s);
    } else {
        why_backend(x, v, s);
        why_tasks(x, v, s);
    }
}

/* ---- what happens next ---- */

static void step_job(struct explain *x, const char *what, const char *subject, const struct explain_job *j, int64_t now) {
    const char *error = j->last_error && *j->last_error ? j->last_error : NULL;
    if (!j->exists)
        return;
    if (j->dead)
        add_step(x, what, subject, 0,
                 str_printf("work item %lld ran out of attempts%s%.*s; `osmo work retry %lld` tries again",
                            (long long)j->id, error ? ": " : "", WORDS_MAX, error ? error : "", (long long)j->id));
    else if (j->leased)
        add_step(x, what, subject, now, str_printf("is being done now, attempt %lld", (long long)j->attempts + 1));
    else if (j->attempts)
        add_step(x, what, subject, j->run_at_us > now ? j->run_at_us : now,
                 str_printf("attempt %lld%s%.*s", (long long)j->attempts + 1, error ? "; the last one failed: " : "",
                            WORDS_MAX, error ? error : ""));
    else
        add_step(x, what, subject, j->run_at_us > now ? j->run_at_us : now, str_dup("is due"));
}

static void group_steps(struct explain *x, const struct explain_group *g, int64_t now) {
    step_job(x, "create", g->name, &g->create, now);
    if (g->queue_timeout_us)
        add_step(x, "queue_timeout", g->name, g->queue_timeout_us,
                 str_dup("the group fails if it has not been placed by then"));
    if (g->exec_timeout_us)
        add_step(x, "exec_timeout", g->name, g->exec_timeout_us, str_dup("the group fails if it still runs then"));
    for (size_t i = 0; i < g->ntasks; i++)
        if (g->tasks[i].start_timeout_us)
            add_step(x, "start_timeout", g->tasks[i].name, g->tasks[i].start_timeout_us,
                     str_dup("the task fails if it has not started by then"));
}

/* By time; what has none comes last. */
static int by_time(const void *a, const void *b) {
    const struct explain_step *p = a, *q = b;
    if (!p->at_us != !q->at_us)
        return p->at_us ? -1 : 1;
    return p->at_us < q->at_us ? -1 : p->at_us > q->at_us;
}

/* The archive's item is there from the end of the workflow on, to end the log; what it waits for then is said below. */
static bool waits_for_cleanup(const struct explain_snapshot *s, const struct explain_duty *d) {
    return s->groups_uncleaned > 0 && !d->job.dead && strcmp(d->kind, "archive") == 0;
}

static bool any_sent(const struct explain_snapshot *s) {
    bool any = false;
    for (size_t i = 0; i < s->ngroups && !any; i++)
        any = s->groups[i].sent;
    return any;
}

static void explain_steps(struct explain *x, const struct explain_snapshot *s) {
    for (size_t i = 0; i < s->nduties; i++)
        if (!waits_for_cleanup(s, &s->duties[i]))
            step_job(x, s->duties[i].kind, s->duties[i].subject, &s->duties[i].job, s->now_us);
    for (size_t i = 0; i < s->ngroups; i++)
        group_steps(x, &s->groups[i], s->now_us);
    bool finished = status_is_workflow_finished(s->status), owes = finished ? s->groups_uncleaned > 0 : any_sent(s);
    if (owes && s->backend_known && backend_offline(s) && s->lost_at_us && !s->lost)
        add_step(x, "backend_lost", s->backend, s->lost_at_us,
                 str_printf("unless backend %s is back by then, what is there fails or is given up", s->backend));
    if (finished && !s->archived && s->groups_uncleaned)
        add_step(x, "archive", NULL, 0,
                 str_printf("the log is archived when the objects of %lld groups are removed from backend %s",
                            (long long)s->groups_uncleaned, s->backend));
    if (finished && s->archived && s->retention_us && !s->nduties)
        add_step(x, "retention", NULL, s->end_us + s->retention_us, str_dup("the workflow and its log are deleted"));
    if (x->nsteps)
        qsort(x->steps, x->nsteps, sizeof *x->steps, by_time);
}

/* ---- what failed first, and the summary ---- */

static char *failure_line(const struct explain_failure *f) {
    char code[48] = "", retry[48] = "";
    if (f->exit_code != EXIT_CODE_NONE)
        snprintf(code, sizeof code, " with exit code %lld", (long long)f->exit_code);
    if (f->retry_id > 0)
        snprintf(retry, sizeof retry, " (attempt %lld)", (long long)f->retry_id + 1);
    bool said = f->message && *f->message;
    const char *name = f->task ? f->task : f->group;
    return str_printf("%s%s%s ended first: %s%s%s%.*s", f->task ? "task " : f->group ? "group " : "the workflow",
                      name ? name : "", retry, status_name(f->status), code, said ? ": " : "", WORDS_MAX,
                      said ? f->message : "");
}

static char *summary_line(const struct explain *x, const struct explain_snapshot *s) {
    const char *status = status_name(s->status);
    if (status_is_workflow_finished(s->status)) {
        bool said = s->failure_message && *s->failure_message;
        return str_printf("workflow %s is %s%s%.*s", s->id, status, said ? ": " : "", WORDS_MAX,
                          said ? s->failure_message : "");
    }
    for (size_t i = 0; i < x->ngroups; i++) {
        const struct explain_verdict *v = &x->groups[i];
        if (v->n && v->reasons[0].why != WHY_RUNNING)
            return str_printf("workflow %s is %s: group %s: %s", s->id, status, v->group->name, v->reasons[0].text);
    }
    return str_printf("workflow %s is %s: %lld of its %lld groups are not finished", s->id, status,
                      (long long)s->groups_unfinished, (long long)s->groups_total);
}

int explain_workflow(const struct explain_snapshot *s, struct explain *out, osmo_error_t *err) {
    *out = (struct explain){ 0 };
    out->groups = calloc(s->ngroups + 1, sizeof *out->groups);
    out->steps = calloc(EXPLAIN_STEPS_MAX, sizeof *out->steps);
    if (out->groups && out->steps) {
        out->ngroups = s->ngroups;
        for (size_t i = 0; i < s->ngroups; i++) {
            out->groups[i].group = &s->groups[i];
            explain_group(out, &out->groups[i], s);
        }
        explain_steps(out, s);
        if (s->failure.exists)
            out->failure = failure_line(&s->failure);
        out->summary = summary_line(out, s);
    }
    if (!out->summary || out->failed_alloc || (s->failure.exists && !out->failure)) {
        explain_clear(out);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}

void explain_clear(struct explain *x) {
    for (size_t i = 0; x->groups && i < x->ngroups; i++)
        for (size_t k = 0; k < x->groups[i].n; k++)
            free(x->groups[i].reasons[k].text);
    for (size_t i = 0; x->steps && i < x->nsteps; i++)
        free(x->steps[i].text);
    free(x->groups);
    free(x->steps);
    free(x->summary);
    free(x->failure);
    *x = (struct explain){ 0 };
}
