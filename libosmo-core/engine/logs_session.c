/* Sessions of osmo-ctrl on the logger websocket: frames in, log lines, metrics and barrier joins out.
 * Frames are TEXT with a JSON string that holds a JSON object (upstream's double encoding) or the object itself; member names
 * are matched without regard to case. Calls for one session come one after another, so lines keep their order. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/logs_batch.h"
#include "engine/masks.h"
#include "engine/task_io.h"
#include "engine/router.h"
#include "model/messages.h"

#define EXTENSION_LOGS "logs"
#define EXTENSION_RESTARTS "restarts"
#define EXTENSION_ACTIONS "actions"

/* ---- opening and closing ---- */

/* The session has the names as the ctrl gave them until here. */
static int load_attempt(struct logger_session *s, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    struct task_row t = { 0 };
    db_t *db;
    int rc = store_reader(s->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, s->workflow_id, &w, err);
    if (rc == OSMO_ENOTFOUND)
        osmo_error_set(err, rc, "Workflow %s does not exist", s->workflow_id);
    if (rc >= 0) {
        rc = repo_task_by_name(db, w.uuid, s->task, s->retry_id, &t, err);
        if (rc == OSMO_ENOTFOUND)
            osmo_error_set(err, rc, "Workflow %s has no task %s, attempt %lld", w.id, s->task, (long long)s->retry_id);
    }
    if (rc >= 0) {
        memcpy(s->workflow_uuid, w.uuid, sizeof s->workflow_uuid);
        memcpy(s->task_uuid, t.uuid, sizeof s->task_uuid);
        memcpy(s->group_uuid, t.group_uuid, sizeof s->group_uuid);
        free(s->workflow_id);
        free(s->task);
        s->workflow_id = STEAL(w.id);
        s->task = STEAL(t.name);
        rc = masks_get(s->engine, db, w.user ? w.user : "", &s->mask, err);
    }
    task_row_clear(&t);
    workflow_row_clear(&w);
    return rc;
}

static void session_free(struct logger_session *s) {
    free(s->workflow_id);
    free(s->task);
    free(s->key);
    masks_put(s->mask);
    free(s);
}

static int session_register(struct logger_session *s) {
    struct loggers *l = s->engine->loggers;
    s->key = logs_attempt_key(s->workflow_id, s->task, s->retry_id);
    if (!s->key)
        return OSMO_ENOMEM;
    pthread_mutex_lock(&l->lock);
    int rc = map_set(l->by_attempt, s->key, s);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static void session_unregister(struct logger_session *s) {
    struct loggers *l = s->engine->loggers;
    if (!s->key)
        return;
    pthread_mutex_lock(&l->lock);
    if (map_get(l->by_attempt, s->key) == s)
        map_remove(l->by_attempt, s->key);
    pthread_mutex_unlock(&l->lock);
}

/* The network thread is waiting for this, so nothing here may: the database is asked when the session is open. */
int logger_open(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, uint64_t conn,
                const char *offered_extensions,
                logger_session_t **out, const char **accepted_extensions, osmo_error_t *err) {
    struct logger_session *s = calloc(1, sizeof *s);
    if (s) {
        s->workflow_id = str_dup(workflow_id);
        s->task = str_dup(task);
    }
    if (!s || !s->workflow_id || !s->task) {
        if (s)
            session_free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    s->engine = e;
    s->conn = conn;
    s->retry_id = retry_id;
    static const char *const accepted[2][2][2] = { /* logs, restarts, actions */
        { { NULL, EXTENSION_ACTIONS }, { EXTENSION_RESTARTS, EXTENSION_RESTARTS ", " EXTENSION_ACTIONS } },
        { { EXTENSION_LOGS, EXTENSION_LOGS ", " EXTENSION_ACTIONS },
          { EXTENSION_LOGS ", " EXTENSION_RESTARTS, EXTENSION_LOGS ", " EXTENSION_RESTARTS ", " EXTENSION_ACTIONS } },
    };
    s->batches = extension_offered(offered_extensions, EXTENSION_LOGS);
    s->answers = extension_offered(offered_extensions, EXTENSION_RESTARTS);
    s->takes_actions = extension_offered(offered_extensions, EXTENSION_ACTIONS);
    *accepted_extensions = accepted[s->batches][s->answers][s->takes_actions];
    *out = s;
    return 0;
}

void logs_send_text(struct logger_session *s, const char *text) {
    const osmo_transport_t *t = s->engine->transport;
    if (t)
        (void)t->ws_send(t->impl, s->conn, text, strlen(text), 0);
}

void logs_close_session(struct logger_session *s, int code, const char *reason) {
    const osmo_transport_t *t = s->engine->transport;
    if (t)
        t->ws_close(t->impl, s->conn, code, reason);
}

static void send_ack(struct logger_session *s, uint64_t seq) {
    char text[64];
    snprintf(text, sizeof text, "{\"action\":\"log_ack\",\"seq\":%llu}", (unsigned long long)seq);
    logs_send_text(s, text);
}

/* The protocol refuses after the handshake, by a close frame. Its reason has room for 120 bytes and must stay UTF-8. */
static void refuse(struct logger_session *s, int rc, const osmo_error_t *err) {
    char reason[121];
    s->refused = true;
    if (rc != OSMO_ENOTFOUND) {
        log_error(&s->engine->log, "logger of %s, task %s: %s", s->workflow_id, s->task, err->text);
        logs_close_session(s, CLOSE_INTERNAL, "the task cannot be looked up now: connect again");
        return;
    }
    size_t n = strnlen(err->text, sizeof reason - 1);
    while (n && err->text[n] && ((unsigned char)err->text[n] & 0xC0) == 0x80)
        n--;
    memcpy(reason, err->text, n);
    reason[n] = '\0';
    logs_close_session(s, CLOSE_APPLICATION, reason);
}

void logger_opened(logger_session_t *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t seq = 0;
    int rc = load_attempt(s, &err);
    if (rc < 0) {
        refuse(s, rc, &err);
        return;
    }
    if (session_register(s) < 0) {
        logs_close_session(s, CLOSE_INTERNAL, "out of memory");
        return;
    }
    if (s->batches) {
        if (logstore_last_seq(s->engine->logs, s->workflow_id, s->task, s->retry_id, &seq, &err) < 0) {
            log_error(&s->engine->log, "log of %s: %s", s->workflow_id, err.text);
            logs_close_session(s, CLOSE_INTERNAL, "the log cannot be read");
            return;
        }
        send_ack(s, seq);
    }
    restart_check_one(s);
    barrier_check_one(s);
    actions_check_one(s);
}

/* The end of the workflow's log waits for those that are registered: first the lines, then that. */
void logger_closed(logger_session_t *s) {
    lines_flush(s);
    session_unregister(s);
    session_free(s);
}

/* ---- frames ---- */

/* Member by name, exact first: upstream's server lower-cases names, Go matches them in any case. */
static json_t *member(const json_t *o, const char *name) {
    json_t *v = json_get(o, name);
    json_iter_t it = json_iter(o);
    while (!v && json_iter_next(&it)) {
        if (!strcasecmp(it.key, name))
            v = it.value;
    }
    return v;
}

static const char *member_str(const json_t *o, const char *name) {
    return json_str(member(o, name));
}

/* A number, or a number as text. */
static int64_t member_int(const json_t *o, const char *name, int64_t fallback) {
    const json_t *v = member(o, name);
    int64_t n;
    return json_str(v) && str_to_i64(json_str(v), &n) ? n : json_as_int(v, fallback);
}

static int64_t member_time(const json_t *o, const char *name, int64_t fallback) {
    const char *text = member_str(o, name);
    int64_t us;
    return text && time_parse(text, &us) ? us : fallback;
}

static bool is_line(enum io_type t) {
    return t == IO_STDOUT || t == IO_STDERR || t == IO_DOWNLOAD || t == IO_UPLOAD || t == IO_OSMO_CTRL;
}

static void entry_read(const json_t *o, enum io_type type, struct log_entry *out) {
    const json_t *text = member(o, "Text");
    out->type = type;
    out->time_us = member_time(o, "Time", 0);
    if (!out->time_us)
        out->time_us = clock_now_us();
    out->text = json_bytes(text, &out->len);
    if (!out->text) {
        out->text = "";
        out->len = 0;
    }
    out->seq = (uint64_t)member_int(o, "seq", 0);
}

/* The values of the user's credentials do not come into the log. *own (malloc'ed) is what the entry points to then. */
static int entry_mask(struct logger_session *s, struct log_entry *entry, char **own) {
    uint32_t *begun = (size_t)entry->type < IO_LINE_TYPES ? &s->mask_begun[entry->type] : NULL;
    bool cut = begun && entry->len >= LINE_CUT_FROM && entry->text[entry->len - 1] != '\n';
    *own = NULL;
    int rc = s->mask ? masks_apply(s->mask, entry->text, entry->len, begun, cut, own, &entry->len) : 0;
    if (rc >= 0 && *own)
        entry->text = *own;
    return rc;
}

static void owned_free(char **own, size_t n) {
    for (size_t i = 0; own && i < n; i++)
        free(own[i]);
    free(own);
}

/* Lines after the end of the workflow's log are dropped: nobody can read them any more. */
static bool append(struct logger_session *s, const struct log_entry *entries, size_t n) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = logstore_append(s->engine->logs, s->workflow_id, s->task, s->retry_id, entries, n, &err);
    if (rc >= 0 || rc == OSMO_EGONE)
        return true;
    log_error(&s->engine->log, "log of %s, task %s: %s", s->workflow_id, s->task, err.text);
    logs_close_session(s, CLOSE_INTERNAL, "the lines cannot be stored");
    return false;
}

static bool append_masked(struct logger_session *s, struct log_entry *entries, size_t n) {
    char **own = s->mask ? calloc(n, sizeof *own) : NULL;
    int rc = s->mask && !own ? OSMO_ENOMEM : 0;
    for (size_t i = 0; own && i < n && rc >= 0; i++)
        rc = entry_mask(s, &entries[i], &own[i]);
    if (rc < 0)
        logs_close_session(s, CLOSE_INTERNAL, "out of memory");
    bool stored = rc >= 0 && append(s, entries, n);
    owned_free(own, n);
    return stored;
}

static void put_line(struct logger_session *s, struct log_entry *entry) {
    char *own = NULL;
    if (entry_mask(s, entry, &own) < 0)
        logs_close_session(s, CLOSE_INTERNAL, "out of memory");
    else if (!s->engine->loggers->lines)
        (void)append(s, entry, 1);
    else if (lines_put(s, entry) < 0)
        logs_close_session(s, CLOSE_INTERNAL, "out of memory");
    free(own);
}

static void on_batch(struct logger_session *s, const json_t *o) {
    const json_t *list = member(o, "entries");
    size_t n = json_len(list), used = 0;
    if (!s->batches || json_kind(list) != JSON_ARRAY || n > BATCH_ENTRIES_MAX) {
        logs_close_session(s, CLOSE_APPLICATION,
                           "a batch of log entries was not agreed on, has no entries or too many");
        return;
    }
    _cleanup_free_ struct log_entry *entries = calloc(n ? n : 1, sizeof *entries);
    if (!entries) {
        logs_close_session(s, CLOSE_INTERNAL, "out of memory");
        return;
    }
    uint64_t last = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_at(list, i);
        enum io_type type = io_type_parse(member_str(item, "IOType") ? member_str(item, "IOType") : "");
        int64_t seq = member_int(item, "seq", 0);
        if (!is_line(type) || seq <= 0) {
            logs_close_session(s, CLOSE_APPLICATION, "a log entry of the batch is malformed");
            return;
        }
        entry_read(item, type, &entries[used++]);
        last = (uint64_t)seq;
    }
    lines_flush(s); /* those without a number came before */
    if (used && append_masked(s, entries, used))
        send_ack(s, last);
}

static void take_batch(struct logger_session *s, const char *data, size_t len) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct log_batch b;
    int rc = batch_read(data, len, clock_now_us(), &b, &err);
    if (rc < 0) {
        logs_close_session(s, rc == OSMO_ENOMEM ? CLOSE_INTERNAL : CLOSE_APPLICATION, err.text);
        return;
    }
    lines_flush(s); /* those without a number came before */
    if (b.n && append_masked(s, b.entries, b.n))
        send_ack(s, b.last);
    batch_clear(&b);
}

/* ---- metrics ---- */

struct metric { char workflow_uuid[33]; char *task, *type; int64_t retry_id, start_us, end_us; engine_t *engine; };

static void metric_free(struct metric *m) {
    free(m->task);
    free(m->type);
    free(m);
}

static int metric_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct metric *m = ctx;
    return repo_task_metric(db, m->workflow_uuid, m->task, m->retry_id, m->type, m->start_us, m->end_us, err);
}

static void metric_done(void *ctx, int rc, const osmo_error_t *err) {
    struct metric *m = ctx;
    if (rc < 0)
        log_warning(&m->engine->log, "metric of task %s was not stored: %s", m->task, err ? err->text : "");
    logs_write_end(m->engine);
    metric_free(m);
}

/* The transfer times of the task, and its transfers one by one; other metric types are accepted and not kept. */
static void on_metrics(struct logger_session *s, const json_t *o) {
    const json_t *metric = member(o, "Metric");
    const char *type = metric ? member_str(metric, "type_of_metrics") : NULL;
    if (str_eq(member_str(o, "MetricType"), "task_io_metrics"))
        task_io_take(s->engine, s->workflow_uuid, s->task, s->retry_id, metric);
    if (!type || (strcmp(type, "input_download") && strcmp(type, "output_upload")))
        return;
    struct metric *m = calloc(1, sizeof *m);
    if (!m)
        return;
    m->engine = s->engine;
    memcpy(m->workflow_uuid, s->workflow_uuid, sizeof m->workflow_uuid);
    m->task = str_dup(s->task);
    m->type = str_dup(type);
    m->retry_id = s->retry_id;
    m->start_us = member_time(metric, "start_time", 0);
    m->end_us = member_time(metric, "end_time", 0);
    if (!m->task || !m->type) {
        metric_free(m);
        return;
    }
    logs_write_begin(s->engine);
    int rc = store_post(s->engine->store, s->workflow_uuid, metric_fn, metric_done, m);
    if (rc < 0) {
        logs_write_end(s->engine);
        log_warning(&s->engine->log, "metric of task %s was not stored: %s", s->task, osmo_error_name(rc));
        metric_free(m);
    }
}

static void on_frame(struct logger_session *s, const json_t *o) {
    const char *type_name = member_str(o, "IOType");
    enum io_type type = type_name ? io_type_parse(type_name) : IO_INVALID;
    if (type_name && !strcmp(type_name, "LOG_BATCH")) {
        on_batch(s, o);
    } else if (type_name && s->answers && !strcmp(type_name, "RESTARTED")) {
        restart_confirmed(s, member_str(o, "id"));
    } else if (type_name && s->takes_actions && !strcmp(type_name, "ACTION_DONE")) {
        actions_confirmed(s, member_int(o, "id", 0));
    } else if (is_line(type)) {
        struct log_entry entry;
        entry_read(o, type, &entry);
        entry.seq = 0;
        put_line(s, &entry);
    } else if (type == IO_METRICS) {
        on_metrics(s, o);
    } else if (type == IO_BARRIER) {
        const char *name = member_str(o, "Name");
        barrier_join(s, name ? name : "", member_int(o, "Count", -1));
    } else if (type == IO_LOG_DONE) {
        lines_flush(s); /* everything before this frame is stored, or the session is closed */
        logs_send_text(s, "{\"action\":\"log_done\"}");
    } else {
        logs_close_session(s, CLOSE_APPLICATION, "a frame has an unknown IOType");
    }
}

void logger_message(logger_session_t *s, const void *data, size_t len, bool binary) {
    _cleanup_json_ json_t *outer = NULL, *inner = NULL;
    (void)binary;
    if (s->refused)
        return;
    if (s->batches && batch_is_one(data, len)) {
        take_batch(s, data, len);
        return;
    }
    if (json_parse(data, len, &outer, NULL) >= 0 && json_kind(outer) == JSON_STRING)
        (void)json_parse(json_str(outer), json_str_len(outer), &inner, NULL);
    const json_t *o = inner ? inner : outer;
    if (json_kind(o) != JSON_OBJECT) {
        logs_close_session(s, CLOSE_APPLICATION, "a frame is not a JSON object");
        return;
    }
    on_frame(s, o);
}
