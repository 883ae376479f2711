/* A workflow with its groups and tasks as the client reads it. Pure apart from the clock value that comes in. */
#include "api/workflow_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

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

/* ---- groups ---- */

/* Edges by group: indexes of the groups before and behind each, in the order of the edges. */
struct neighbours {
    size_t *up, *up_from, *down, *down_from; /* x[x_from[g] .. x_from[g + 1]] belong to group g */
};

static void neighbours_free(struct neighbours *n) {
    free(n->up);
    free(n->up_from);
    free(n->down);
    free(n->down_from);
}

/* Sorts the pairs by key; among equals the order stays. `from` has room for ngroups + 2 and is zeroed. */
static void by_group(const size_t (*pairs)[2], size_t n, int key, size_t ngroups, size_t *out, size_t *from) {
    for (size_t i = 0; i < n; i++)
        from[pairs[i][key] + 2]++;
    for (size_t g = 2; g <= ngroups + 1; g++)
        from[g] += from[g - 1];
    for (size_t i = 0; i < n; i++)
        out[from[pairs[i][key] + 1]++] = pairs[i][!key];
}

static size_t read_pairs(const struct workflow_view *v, map_t *index, size_t (*pairs)[2]) {
    size_t n = 0;
    for (size_t i = 0; i + 1 < v->edges->len; i += 2) {
        const struct group_row *from = map_get(index, v->edges->items[i]), *to = map_get(index, v->edges->items[i + 1]);
        if (!from || !to)
            continue;
        pairs[n][0] = (size_t)(from - v->groups);
        pairs[n++][1] = (size_t)(to - v->groups);
    }
    return n;
}

static int neighbours_make(const struct workflow_view *v, struct neighbours *out) {
    map_t *index = map_new(NULL);
    size_t (*pairs)[2] = calloc(v->edges->len / 2 + 1, sizeof *pairs);
    int rc = index && pairs ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < v->ngroups && v->edges->len; i++)
        rc = map_set(index, v->groups[i].name, (void *)(uintptr_t)&v->groups[i]);
    out->up = calloc(v->edges->len / 2 + 1, sizeof(size_t));
    out->down = calloc(v->edges->len / 2 + 1, sizeof(size_t));
    out->up_from = calloc(v->ngroups + 2, sizeof(size_t));
    out->down_from = calloc(v->ngroups + 2, sizeof(size_t));
    if (rc >= 0 && out->up && out->down && out->up_from && out->down_from) {
        size_t n = read_pairs(v, index, pairs);
        by_group((const size_t (*)[2])pairs, n, 0, v->ngroups, out->down, out->down_from);
        by_group((const size_t (*)[2])pairs, n, 1, v->ngroups, out->up, out->up_from);
    } else {
        rc = OSMO_ENOMEM;
    }
    map_free(index);
    free(pairs);
    return rc;
}

/* An upstream group remains until it is COMPLETED. */
static int group_neighbours(json_t *o, const struct workflow_view *v, const struct neighbours *n, size_t g) {
    json_t *up = json_array(), *down = json_array();
    int failed = !up || !down;
    for (size_t i = n->up_from[g]; !failed && i < n->up_from[g + 1]; i++)
        if (v->groups[n->up[i]].sm.status != STATUS_COMPLETED)
            failed |= json_add_str(up, v->groups[n->up[i]].name);
    for (size_t i = n->down_from[g]; !failed && i < n->down_from[g + 1]; i++)
        failed |= json_add_str(down, v->groups[n->down[i]].name);
    failed |= json_set(o, "remaining_upstream_groups", up);
    return failed | json_set(o, "downstream_groups", down);
}

static int group_head(json_t *o, const struct workflow_view *v, const struct neighbours *n, size_t index) {
    const struct group_row *g = &v->groups[index];
    int failed = json_set_str(o, "name", g->name);
    failed |= json_set_str(o, "status", status_name(g->sm.status));
    failed |= json_set_time(o, "start_time", g->sm.start_us);
    failed |= json_set_time(o, "end_time", g->sm.end_us);
    failed |= json_set_time(o, "processing_start_time", g->sm.processing_us);
    failed |= json_set_time(o, "scheduling_start_time", g->sm.scheduling_us);
    failed |= json_set_time(o, "initializing_start_time", g->sm.initializing_us);
    failed |= group_neighbours(o, v, n, index);
    return failed | json_set_text(o, "failure_message", g->failure_message);
}

/* A tree of one group or task at a time: those of a hundred thousand tasks would take half a gigabyte. Tasks come in the
 * order of their groups; *task is the first that was not written yet. */
static int write_group(const struct workflow_view *v, const struct neighbours *n, size_t index, size_t *task,
                       buf_t *out) {
    _cleanup_json_ json_t *o = json_object();
    if (!o || group_head(o, v, n, index) || json_print(o, 0, out) < 0)
        return OSMO_ENOMEM;
    buf_truncate(out, out->len - 1); /* its closing brace */
    buf_puts(out, ",\"tasks\":[");
    const struct group_row *g = &v->groups[index];
    for (size_t first = *task; *task < v->ntasks && !strcmp(v->tasks[*task].group_uuid, g->uuid); ++*task) {
        _cleanup_json_ json_t *t = task_json(v, g, &v->tasks[*task]);
        if (*task > first)
            buf_putc(out, ',');
        if (!t)
            return OSMO_ENOMEM;
        if (json_print(t, 0, out) < 0)
            break;
    }
    buf_puts(out, "]}");
    return out->code;
}

static int write_groups(const struct workflow_view *v, buf_t *out) {
    struct neighbours n = { 0 };
    size_t task = 0;
    int rc = neighbours_make(v, &n);
    buf_putc(out, '[');
    for (size_t i = 0; rc >= 0 && i < v->ngroups; i++) {
        if (i)
            buf_putc(out, ',');
        rc = write_group(v, &n, i, &task, out);
    }
    buf_putc(out, ']');
    neighbours_free(&n);
    return rc < 0 ? rc : out->code;
}

/* ---- the workflow ---- */

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

/* The members before "groups", and those behind. */
static int set_head(json_t *o, const struct workflow_view *v) {
    const struct workflow_row *w = v->w;
    int failed = json_set_str(o, "name", w->id) | json_set_str(o, "uuid", w->uuid) |
        json_set_str(o, "submitted_by", w->user);
    failed |= json_set_text(o, "cancelled_by", w->cancelled_by);
    failed |= set_urls(o, v) | set_parent(o, w);
    failed |= json_set(o, "dashboard_url", NULL) | json_set(o, "grafana_url", NULL);
    failed |= json_set_strs(o, "tags", v->tags);
    failed |= json_set_time(o, "submit_time", w->submit_us) | json_set_time(o, "start_time", w->sm.start_us);
    failed |= json_set_time(o, "end_time", w->sm.end_us);
    failed |= set_timeouts(o, w) | view_set_durations(o, w->submit_us, w->sm.start_us, w->sm.end_us, v->now_us);
    return failed | json_set_str(o, "status", status_name(w->sm.status)) |
        json_set_str(o, "outputs", w->outputs ? w->outputs : "");
}

static int set_tail(json_t *o, const struct workflow_view *v) {
    const struct workflow_row *w = v->w;
    json_t *plugins = json_object();
    int failed = !plugins || json_set_bool(plugins, "rsync", w->rsync);
    failed |= json_set_text(o, "pool", w->pool) | json_set_text(o, "backend", w->backend);
    failed |= view_set_apps(o) | json_set(o, "plugins", plugins);
    failed |= json_set_str(o, "priority", w->priority ? w->priority : "NORMAL");
    failed |= json_set(o, "labels", json_from_text(w->labels_json, json_object())) |
        json_set(o, "warnings", json_array());
    return failed | json_set_text(o, "failure_message", w->failure_message);
}

int workflow_view_write(const struct workflow_view *v, buf_t *out) {
    _cleanup_json_ json_t *head = json_object(), *tail = json_object();
    _cleanup_buf_ buf_t end = BUF_INIT(out->max);
    if (!head || !tail || set_head(head, v) || set_tail(tail, v))
        return OSMO_ENOMEM;
    int rc = json_print(head, 0, out);
    if (rc >= 0)
        rc = json_print(tail, 0, &end);
    if (rc < 0)
        return rc;
    buf_truncate(out, out->len - 1); /* one object of the two: without the braces between them */
    buf_puts(out, ",\"groups\":");
    rc = write_groups(v, out);
    buf_putc(out, ',');
    buf_append(out, end.data + 1, end.len - 1);
    return rc < 0 ? rc : out->code;
}
