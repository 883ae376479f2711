/* A workflow with its groups and tasks as the client reads it. Pure apart from the clock value that comes in. */
#include "api/workflow_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static double seconds(int64_t us) {
    return (double)us / 1e6;
}

int json_set_url(json_t *o, const char *key, const char *format, ...) {
    _cleanup_buf_ buf_t text = BUF_INIT(4096);
    va_list args;
    va_start(args, format);
    int rc = buf_vprintf(&text, format, args);
    va_end(args);
    return rc < 0 ? rc : json_set_str(o, key, buf_cstr(&text));
}

int view_set_durations(json_t *o, int64_t submit_us, int64_t start_us, int64_t end_us, int64_t now_us) {
    int64_t until = end_us ? end_us : now_us;
    int failed = json_set_double(o, "queued_time", seconds((start_us ? start_us : until) - submit_us));
    failed |= start_us ? json_set_double(o, "duration", seconds(until - start_us)) : json_set(o, "duration", NULL);
    return failed;
}

static json_t *names_json(const strlist_t *l) {
    json_t *a = json_array();
    for (size_t i = 0; a && i < l->len; i++) {
        if (json_add_str(a, l->items[i]) < 0) {
            json_free(a);
            return NULL;
        }
    }
    return a;
}

static int set_error_logs(json_t *o, const char *base, const char *workflow, const struct task_row *t) {
    if (!status_has_error_logs(t->sm.status))
        return json_set(o, "error_logs", NULL);
    return json_set_url(o, "error_logs", "%s/api/workflow/%s/error_logs?task_name=%s&retry_id=%lld", base, workflow,
                        t->name, (long long)t->sm.retry_id);
}

static int task_times(json_t *o, const struct group_row *g, const struct task_row *t) {
    int failed = json_set_time(o, "processing_start_time", g->sm.processing_us);
    failed |= json_set_time(o, "scheduling_start_time", t->sm.scheduling_us);
    failed |= json_set_time(o, "initializing_start_time", t->sm.initializing_us);
    failed |= json_set_time(o, "start_time", t->sm.start_us);
    failed |= json_set_time(o, "end_time", t->sm.end_us);
    failed |= json_set_time(o, "input_download_start_time", t->input_download_start_us);
    failed |= json_set_time(o, "input_download_end_time", t->input_download_end_us);
    failed |= json_set_time(o, "output_upload_start_time", t->output_upload_start_us);
    return failed;
}

static json_t *task_json(const struct workflow_view *v, const struct group_row *g, const struct task_row *t) {
    json_t *o = json_object();
    if (!o)
        return NULL;
    long long retry = (long long)t->sm.retry_id;
    int failed = json_set_str(o, "name", t->name);
    failed |= json_set_int(o, "retry_id", t->sm.retry_id);
    failed |= json_set_str(o, "status", status_name(t->sm.status));
    failed |= json_set_text(o, "failure_message", t->failure_message);
    failed |= t->sm.exit_code == EXIT_CODE_NONE ? json_set(o, "exit_code", NULL)
        : json_set_int(o, "exit_code", t->sm.exit_code);
    failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs?last_n_lines=%lld&task_name=%s&retry_id=%lld", v->base,
                           v->w->id, (long long)v->url_lines, t->name, retry);
    failed |= set_error_logs(o, v->base, v->w->id, t);
    failed |= json_set_url(o, "events", "%s/api/workflow/%s/events?task_name=%s&retry_id=%lld", v->base, v->w->id,
                           t->name, retry);
    failed |= task_times(o, g, t);
    failed |= json_set(o, "dashboard_url", NULL);
    failed |= json_set_str(o, "pod_name", t->pod_name ? t->pod_name : "");
    failed |= json_set_text(o, "pod_ip", t->pod_ip);
    failed |= json_set_str(o, "task_uuid", t->uuid);
    failed |= json_set_text(o, "node_name", t->node_name);
    failed |= json_set_bool(o, "lead", t->sm.lead);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static const struct group_row *group_named(const struct workflow_view *v, const char *name) {
    for (size_t i = 0; i < v->ngroups; i++) {
        if (str_eq(v->groups[i].name, name))
            return &v->groups[i];
    }
    return NULL;
}

/* Edges are pairs upstream, downstream; an upstream group remains until it is COMPLETED. */
static int group_neighbours(json_t *o, const struct workflow_view *v, const struct group_row *g) {
    strlist_t up = { 0 }, down = { 0 };
    int failed = 0;
    for (size_t i = 0; i + 1 < v->edges->len; i += 2) {
        const char *from = v->edges->items[i], *to = v->edges->items[i + 1];
        const struct group_row *source = str_eq(to, g->name) ? group_named(v, from) : NULL;
        if (source && source->sm.status != STATUS_COMPLETED)
            failed |= strlist_add(&up, from);
        if (str_eq(from, g->name))
            failed |= strlist_add(&down, to);
    }
    failed |= json_set(o, "remaining_upstream_groups", names_json(&up));
    failed |= json_set(o, "downstream_groups", names_json(&down));
    strlist_free(&up);
    strlist_free(&down);
    return failed;
}

/* Tasks come ordered; those of one group are found by its uuid. */
static json_t *group_tasks(const struct workflow_view *v, const struct group_row *g) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < v->ntasks; i++) {
        if (strcmp(v->tasks[i].group_uuid, g->uuid))
            continue;
        json_t *t = task_json(v, g, &v->tasks[i]);
        if (!t || json_add(list, t) < 0) {
            json_free(list);
            return NULL;
        }
    }
    return list;
}

static json_t *group_json(const struct workflow_view *v, const struct group_row *g) {
    json_t *o = json_object(), *tasks = group_tasks(v, g);
    if (!o || !tasks) {
        json_free(o);
        json_free(tasks);
        return NULL;
    }
    int failed = json_set_str(o, "name", g->name);
    failed |= json_set_str(o, "status", status_name(g->sm.status));
    failed |= json_set_time(o, "start_time", g->sm.start_us);
    failed |= json_set_time(o, "end_time", g->sm.end_us);
    failed |= json_set_time(o, "processing_start_time", g->sm.processing_us);
    failed |= json_set_time(o, "scheduling_start_time", g->sm.scheduling_us);
    failed |= json_set_time(o, "initializing_start_time", g->sm.initializing_us);
    failed |= group_neighbours(o, v, g);
    failed |= json_set_text(o, "failure_message", g->failure_message);
    failed |= json_set(o, "tasks", tasks);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}

static json_t *groups_json(const struct workflow_view *v) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < v->ngroups; i++) {
        json_t *g = group_json(v, &v->groups[i]);
        if (!g || json_add(list, g) < 0) {
            json_free(list);
            return NULL;
        }
    }
    return list;
}

static int set_urls(json_t *o, const struct workflow_view *v) {
    const char *base = v->base, *id = v->w->id;
    int failed = json_set_url(o, "spec", "%s/api/workflow/%s/spec", base, id);
    failed |= json_set_url(o, "template_spec", "%s/api/workflow/%s/spec?use_template=true", base, id);
    failed |= json_set_url(o, "logs", "%s/api/workflow/%s/logs?last_n_lines=%lld", base, id, (long long)v->url_lines);
    failed |= json_set_url(o, "events", "%s/api/workflow/%s/events", base, id);
    failed |= json_set_url(o, "overview", "%s/workflows/%s", base, id);
    return failed;
}

static int set_parent(json_t *o, const struct workflow_row *w) {
    bool has = w->parent_name && *w->parent_name;
    return json_set_text(o, "parent_name", w->parent_name) |
        (has ? json_set_int(o, "parent_job_id", w->parent_job_id) : json_set(o, "parent_job_id", NULL));
}

static int set_timeouts(json_t *o, const struct workflow_row *w) {
    int failed = w->exec_timeout_us ? json_set_double(o, "exec_timeout", seconds(w->exec_timeout_us))
        : json_set(o, "exec_timeout", NULL);
    return failed | (w->queue_timeout_us ? json_set_double(o, "queue_timeout", seconds(w->queue_timeout_us))
                     : json_set(o, "queue_timeout", NULL));
}

int view_set_apps(json_t *o) {
    return json_set(o, "app_owner", NULL) | json_set(o, "app_name", NULL) | json_set(o, "app_version", NULL);
}

json_t *workflow_view_json(const struct workflow_view *v) {
    const struct workflow_row *w = v->w;
    json_t *o = json_object(), *plugins = json_object(), *groups = groups_json(v);
    if (!o || !plugins || !groups || json_set_bool(plugins, "rsync", false) < 0) {
        json_free(o);
        json_free(plugins);
        json_free(groups);
        return NULL;
    }
    int failed = json_set_str(o, "name", w->id) | json_set_str(o, "uuid", w->uuid) |
        json_set_str(o, "submitted_by", w->user);
    failed |= json_set_text(o, "cancelled_by", w->cancelled_by);
    failed |= set_urls(o, v) | set_parent(o, w);
    failed |= json_set(o, "dashboard_url", NULL) | json_set(o, "grafana_url", NULL) | json_set(o, "tags", json_array());
    failed |= json_set_time(o, "submit_time", w->submit_us) | json_set_time(o, "start_time", w->sm.start_us);
    failed |= json_set_time(o, "end_time", w->sm.end_us);
    failed |= set_timeouts(o, w) | view_set_durations(o, w->submit_us, w->sm.start_us, w->sm.end_us, v->now_us);
    failed |= json_set_str(o, "status", status_name(w->sm.status)) |
        json_set_str(o, "outputs", w->outputs ? w->outputs : "");
    failed |= json_set(o, "groups", groups);
    failed |= json_set_text(o, "pool", w->pool) | json_set_text(o, "backend", w->backend);
    failed |= view_set_apps(o) | json_set(o, "plugins", plugins);
    failed |= json_set_str(o, "priority", w->priority ? w->priority : "NORMAL");
    failed |= json_set(o, "labels", json_from_text(w->labels_json, json_object())) |
        json_set(o, "warnings", json_array());
    failed |= json_set_text(o, "failure_message", w->failure_message);
    if (!failed)
        return o;
    json_free(o);
    return NULL;
}
