/* Text of a workflow: logs, events, error logs, specification, and the status follower. */
#include <stdlib.h>
#include <string.h>

#include "api/log_query.h"
#include "api/workflow_view.h"
#include "base/cleanup.h"
#include "engine/archive.h"
#include "engine/logs_emit.h"
#include "model/redact.h"
#include "store/repo_archive.h"

#define SHOWN_MAX (256u << 20)

/* The task the query names: its latest attempt unless retry_id is given. name stays NULL without task_name. */
struct attempt { const char *name; int64_t retry_id; };

static int read_attempt(struct call *c, const struct workflow_row *w, struct attempt *a, osmo_error_t *err) {
    struct task_row t = { 0 };
    a->name = query_get(c, "task_name");
    int rc = query_int(c, "retry_id", -1, &a->retry_id, err);
    if (rc < 0 || !a->name)
        return rc;
    rc = call_task(c, w, a->name, a->retry_id, &t, err);
    a->retry_id = t.sm.retry_id;
    task_row_clear(&t);
    return rc;
}

static int read_lines(struct call *c, int64_t *last_n, osmo_error_t *err) {
    const struct settings *s = engine_settings(c->engine);
    int64_t all = s->max_log_lines;
    engine_settings_put(s);
    int rc = query_int(c, "last_n_lines", 0, last_n, err);
    if (rc >= 0 && *last_n < 0)
        rc = osmo_error_set(err, OSMO_EUSER, "last_n_lines must not be negative");
    if (all > 0 && *last_n >= all)
        *last_n = 0;
    return rc;
}

int get_logs(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct attempt a;
    struct line_options o = { .log = { .retry_id = -1 }, .regex = query_get(c, "query") };
    osmo_stream_t *stream;
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = read_attempt(c, &w, &a, err);
    if (rc >= 0)
        rc = read_lines(c, &o.log.last_n, err);
    if (rc >= 0)
        rc = log_query_read(c, &o, err);
    if (rc >= 0) {
        o.log.task = a.name;
        o.log.retry_id = a.retry_id;
        rc = lines_stream(c->engine, w.id, false, &o, c->rq->id, &stream, err);
    }
    workflow_row_clear(&w);
    return rc < 0 ? rc : log_query_answer(c, &o, stream, err);
}

int get_events(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct attempt a;
    struct line_options o = { 0 };
    osmo_stream_t *stream;
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = read_attempt(c, &w, &a, err);
    if (rc >= 0)
        rc = log_query_read(c, &o, err);
    if (rc >= 0)
        rc = log_query_events(&o, err);
    if (rc >= 0) {
        o.log.task = a.name;
        o.log.retry_id = a.retry_id;
        rc = lines_stream(c->engine, w.id, true, &o, c->rq->id, &stream, err);
    }
    workflow_row_clear(&w);
    return rc < 0 ? rc : log_query_answer(c, &o, stream, err);
}

int watch_workflow(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    osmo_stream_t *stream;
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = status_stream(c->engine, w.id, c->rq->id, &stream, err);
    workflow_row_clear(&w);
    return rc < 0 ? rc : answer_stream(c, "application/x-ndjson", stream, err);
}

/* What the database does not have any more may be in the archive. */
static int get_file(struct call *c, const struct workflow_row *w, const char *path, char **text, size_t *len,
                    osmo_error_t *err) {
    enum archive_state state = ARCHIVE_NONE;
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_file_get(db, w->uuid, path, text, len, err);
    if (rc != OSMO_ENOTFOUND)
        return rc;
    osmo_error_t cause = OSMO_ERROR_INIT;
    int known = repo_archive_get(db, w->uuid, &state, &cause);
    if (known < 0 || state != ARCHIVE_ONLY)
        return known < 0 ? osmo_error_set(err, known, "%s", cause.text) : rc;
    _cleanup_buf_ buf_t found = BUF_INIT(SHOWN_MAX);
    rc = archive_text(c->engine, w->id, path, &found, err);
    *text = rc < 0 ? NULL : buf_steal(&found, len);
    return rc < 0 || *text ? rc : OSMO_ENOMEM;
}

/* ---- error logs ---- */

static int answer_error_index(struct call *c, const struct workflow_row *w, osmo_error_t *err) {
    _cleanup_json_ json_t *table = json_object();
    _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
    struct task_row *tasks = NULL;
    size_t n = 0;
    db_t *db;
    int rc = table ? store_reader(c->engine->store, &db, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = repo_tasks_of_workflow(db, w->uuid, true, &tasks, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (!status_has_error_logs(tasks[i].sm.status))
            continue;
        long long retry = (long long)tasks[i].sm.retry_id;
        _cleanup_free_ char *key = retry ? str_printf("%s retry-%lld", tasks[i].name, retry) : str_dup(tasks[i].name);
        rc = key ? json_set_url(table, key, "%s/api/workflow/%s/error_logs?task_name=%s&retry_id=%lld",
                                call_base_url(c), w->id, tasks[i].name, retry) : OSMO_ENOMEM;
    }
    task_rows_free(tasks, n);
    if (rc >= 0)
        rc = buf_puts(&text, "Error logs are kept per task; fetch the one you need:\n");
    if (rc >= 0)
        rc = json_print(table, 4, &text);
    if (rc >= 0)
        rc = buf_putc(&text, '\n');
    return rc < 0 ? rc : answer_text(c, 200, LOG_TEXT_TYPE, text.data, text.len);
}

/* Where the last n lines begin; 0 = everything. */
static const char *tail_start(const char *text, size_t len, int64_t last_n) {
    const char *p = text + len;
    if (last_n <= 0)
        return text;
    if (len && p[-1] == '\n')
        p--;
    for (; p > text; p--) {
        if (p[-1] == '\n' && --last_n == 0)
            return p;
    }
    return text;
}

/* They do not grow, so every format is an answer with a length. */
static int answer_lines(struct call *c, const char *text, size_t len, const struct line_options *o, osmo_error_t *err) {
    const char *p = text, *end = text + len, *from = tail_start(text, len, o->log.last_n);
    _cleanup_buf_ buf_t out = BUF_INIT(SHOWN_MAX * 2);
    struct line_emit emit;
    int rc = emit_open(&emit, o, err);
    for (uint64_t line = 1; rc >= 0 && p < end; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
        if (p >= from && line >= o->log.from_line)
            emit_line(&emit, line, p, n, &out);
        p += n;
    }
    emit_end(&emit, &out);
    emit_close(&emit);
    if (rc >= 0 && buf_failed(&out))
        rc = osmo_error_set(err, out.code, "the error log is too large to be shown");
    return rc < 0 ? rc : answer_text(c, 200, log_query_type(o), buf_cstr(&out), out.len);
}

static int answer_error_logs(struct call *c, const struct workflow_row *w, const struct attempt *a, osmo_error_t *err) {
    _cleanup_free_ char *path = a->retry_id > 0 ? str_printf("%s_%lld_error_logs.txt", a->name, (long long)a->retry_id)
                                                : str_printf("%s_error_logs.txt", a->name);
    _cleanup_free_ char *text = NULL;
    struct line_options o = { .regex = query_get(c, "query") };
    size_t len = 0;
    int rc = path ? read_lines(c, &o.log.last_n, err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = log_query_read(c, &o, err);
    if (rc >= 0)
        rc = log_query_error_logs(&o, err);
    if (rc < 0)
        return rc;
    rc = get_file(c, w, path, &text, &len, err);
    if (rc == OSMO_ENOTFOUND)
        return answer_lines(c, "", 0, &o, err);
    return rc < 0 ? rc : answer_lines(c, text, len, &o, err);
}

int get_error_logs(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct attempt a;
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = read_attempt(c, &w, &a, err);
    if (rc >= 0)
        rc = a.name ? answer_error_logs(c, &w, &a, err) : answer_error_index(c, &w, err);
    workflow_row_clear(&w);
    return rc;
}

/* ---- specification ---- */

int get_spec(struct call *c, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    bool template;
    int rc = query_bool(c, "use_template", false, &template, err);
    if (rc >= 0)
        rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0)
        rc = get_file(c, &w, template ? "templated_workflow_spec.yaml" : "workflow_spec.yaml", &text, &len, err);
    if (rc == OSMO_ENOTFOUND)
        rc = osmo_error_set(err, OSMO_EUSER, "Workflow %s has no stored %s", c->params[0], template ? "template"
                            : "specification");
    workflow_row_clear(&w);
    _cleanup_buf_ buf_t shown = BUF_INIT(SHOWN_MAX);
    if (rc >= 0)
        rc = redact_text(text, len, &shown);
    return rc < 0 ? rc : answer_text(c, 200, "text/plain; charset=utf-8", buf_cstr(&shown), shown.len);
}
