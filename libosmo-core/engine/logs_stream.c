/* Readers for the API: log text, event text and status lines of one workflow,
    produced as they happen. A stream registers with
 * the followers of its workflow before its first read, so nothing that happens in between is missed. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/re.h"
#include "engine/archive.h"
#include "store/repo_archive.h"

#define READ_CHUNK (64u << 10)
#define PENDING_MAX (64u << 20)
#define LOOK_AGAIN_US (5LL * 1000 * 1000)

struct follow {
    osmo_stream_t base;
    engine_t *engine;
    uint64_t request_id;
    char *workflow_id, *workflow_uuid;
    bool watching, ended;
    bool archived;                       /* when the stream was opened: nothing will be appended any more */
    buf_t pending;                       /* produced and not yet taken; `taken` bytes of it are gone */
    size_t taken;
    int (*produce)(struct follow *f, osmo_error_t *err); /* appends to pending; sets ended at the end */
    /* logs */
    log_reader_t *reader; re_t *re; buf_t raw;
    struct log_query query;              /* its task is the one below */
    archive_reader_t *kept;              /* instead of the reader, when the log store's copy is gone */
    uint64_t given, dropped; int64_t looked_at;
    /* events */
    char *task; int64_t retry_id, last_event;
    /* status */
    enum status last_status; char *last_message;
};

static void follow_close(osmo_stream_t *base) {
    struct follow *f = (struct follow *)base;
    if (f->watching)
        watch_remove(f->engine, f->workflow_id, f->request_id);
    log_reader_free(f->reader);
    archive_reader_free(f->kept);
    re_free(f->re);
    buf_free(&f->pending);
    buf_free(&f->raw);
    free(f->task);
    free(f->last_message);
    free(f->workflow_id);
    free(f->workflow_uuid);
    free(f);
}

static ssize_t follow_read(osmo_stream_t *base, char *data, size_t max) {
    struct follow *f = (struct follow *)base;
    osmo_error_t err = OSMO_ERROR_INIT;
    while (f->taken == f->pending.len) {
        buf_reset(&f->pending);
        f->taken = 0;
        if (f->ended)
            return OSMO_EGONE;
        int rc = f->produce(f, &err);
        if (rc >= 0 && buf_failed(&f->pending))
            rc = f->pending.code;
        if (rc < 0) {
            log_warning(&f->engine->log, "following %s: %s", f->workflow_id, err.text);
            return rc;
        }
        if (!rc && !f->ended)
            return 0;
    }
    size_t n = f->pending.len - f->taken < max ? f->pending.len - f->taken : max;
    memcpy(data, f->pending.data + f->taken, n);
    f->taken += n;
    return (ssize_t)n;
}

/* ---- logs: produce returns 1 when something was read (even if every line was filtered out) ---- */

static int append_matching(struct follow *f) {
    const char *p = f->raw.data, *end = p + f->raw.len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = nl ? (size_t)(nl - p) : (size_t)(end - p);
        if (re_find(f->re, p, len))
            buf_append(&f->pending, p, len + (nl != NULL));
        p += len + (nl != NULL);
    }
    return 1;
}

/* 1 when the log is in the archive and the log store may have lost it. Asked when nothing came, which is often: the database is
 * asked only if the log store has no such log, which may have been another process's doing, if a copy was dropped by this
 * process, or now and then. */
static int is_archive_only(struct follow *f, osmo_error_t *err) {
    enum archive_state state = ARCHIVE_NONE;
    uint64_t dropped = atomic_load(&f->engine->loggers->dropped);
    int64_t now = clock_mono_us();
    db_t *db;
    bool none = !f->reader || log_reader_found_none(f->reader); /* who follows events does not know and asks */
    if (!none && dropped == f->dropped && now - f->looked_at < LOOK_AGAIN_US)
        return 0;
    int rc = store_reader(f->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_archive_get(db, f->workflow_uuid, &state, err);
    f->dropped = dropped;
    f->looked_at = now;
    if (rc >= 0 && none && f->given && state == ARCHIVE_NONE)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the workflow was deleted before its log was read to the end");
    return rc < 0 ? rc : state == ARCHIVE_DROPPING || state == ARCHIVE_ONLY;
}

/* Goes on in the archive behind what was given. The last n lines of a log are counted from what was its end then, so only those
 * that have given nothing can go on. */
static int read_archive(struct follow *f, osmo_error_t *err) {
    if (f->query.last_n > 0 && f->given)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the log was archived before its last lines were read: read it again");
    return archive_reader(f->engine, f->workflow_id, &f->query, f->given, &f->kept, err);
}

static int read_log(struct follow *f, buf_t *out, osmo_error_t *err) {
    size_t before = out->len;
    int rc = f->kept ? 0 : log_reader_read(f->reader, out, READ_CHUNK, err);
    if (!f->kept && rc == 0 && out->len == before) {
        rc = is_archive_only(f, err);
        if (rc > 0)
            rc = read_archive(f, err);
    }
    if (f->kept && rc >= 0)
        rc = archive_reader_read(f->kept, out, READ_CHUNK, err);
    f->given += out->len - before;
    return rc;
}

static int produce_logs(struct follow *f, osmo_error_t *err) {
    buf_t *out = f->re ? &f->raw : &f->pending;
    buf_reset(&f->raw);
    int rc = read_log(f, out, err);
    if (rc == OSMO_EGONE) {
        f->ended = true;
        rc = 0;
    }
    if (rc >= 0 && !out->len && f->archived)
        f->ended = true; /* a workflow that was refused has no log at all */
    if (rc < 0 || !out->len)
        return rc < 0 ? rc : 0;
    return f->re ? append_matching(f) : 1;
}

/* ---- events: the events of a workflow end when its log does ---- */

static int log_has_ended(struct follow *f, osmo_error_t *err) {
    bool ended;
    int rc = logstore_has_ended(f->engine->logs, f->workflow_id, &ended, err);
    if (rc >= 0 && !ended && !f->archived)
        return is_archive_only(f, err);
    return rc < 0 ? rc : 1;
}

static int produce_events(struct follow *f, osmo_error_t *err) {
    strlist_t texts = { 0 };
    db_t *db;
    /* The end is looked up first: an event stored before the end is then always seen. */
    int ended = log_has_ended(f, err);
    int rc = ended < 0 ? ended : store_reader(f->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_event_list(db, f->workflow_uuid, f->task, f->retry_id, f->last_event, &texts, &f->last_event, err);
    for (size_t i = 0; rc >= 0 && i < texts.len; i++) {
        buf_puts(&f->pending, texts.items[i]);
        if (!str_ends(texts.items[i], "\n"))
            buf_putc(&f->pending, '\n');
    }
    size_t n = texts.len;
    strlist_free(&texts);
    if (rc >= 0 && ended && !n)
        f->ended = true;
    return rc < 0 ? rc : n > 0;
}

/* ---- status ---- */

static int status_line(struct follow *f, const struct workflow_row *w) {
    _cleanup_json_ json_t *o = json_object();
    const char *message = w->failure_message && *w->failure_message ? w->failure_message : NULL;
    if (!o || json_set_str(o, "name", w->id) < 0 || json_set_str(o, "status", status_name(w->sm.status)) < 0 ||
        json_set_str(o, "failure_message", message) < 0)
        return OSMO_ENOMEM;
    free(f->last_message);
    f->last_message = str_dup(message);
    f->last_status = w->sm.status;
    int rc = json_print(o, 0, &f->pending);
    return rc < 0 ? rc : buf_putc(&f->pending, '\n') < 0 ? OSMO_ENOMEM : 1;
}

static int produce_status(struct follow *f, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    db_t *db;
    int rc = store_reader(f->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, f->workflow_uuid, &w, err);
    if (rc < 0)
        return rc;
    const char *message = w.failure_message && *w.failure_message ? w.failure_message : NULL;
    rc = 0;
    if (w.sm.status != f->last_status || !str_eq(message, f->last_message))
        rc = status_line(f, &w);
    if (rc >= 0 && status_is_workflow_finished(w.sm.status))
        f->ended = true;
    workflow_row_clear(&w);
    return rc;
}

/* ---- opening ---- */

static int follow_new(engine_t *e, const char *workflow_id, uint64_t request_id, struct follow **out,
                      osmo_error_t *err) {
    struct workflow_row w = { 0 };
    db_t *db;
    struct follow *f = calloc(1, sizeof *f);
    if (!f)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    f->base.read = follow_read;
    f->base.close = follow_close;
    f->engine = e;
    f->request_id = request_id;
    f->retry_id = -1;
    buf_init(&f->pending, PENDING_MAX);
    buf_init(&f->raw, PENDING_MAX);
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, workflow_id, &w, err);
    if (rc >= 0) {
        f->workflow_id = STEAL(w.id);
        f->workflow_uuid = str_dup(w.uuid);
        f->archived = w.archived;
        rc = f->workflow_id && f->workflow_uuid ? watch_add(e, f->workflow_id, request_id) : OSMO_ENOMEM;
        f->watching = rc >= 0;
        if (rc < 0)
            osmo_error_set(err, rc, "cannot follow %s: %s", workflow_id, osmo_error_name(rc));
    }
    workflow_row_clear(&w);
    if (rc < 0) {
        follow_close(&f->base);
        return rc;
    }
    *out = f;
    return 0;
}

static int finish(struct follow *f, int rc, osmo_stream_t **out) {
    if (rc < 0)
        follow_close(&f->base);
    else
        *out = &f->base;
    return rc < 0 ? rc : 0;
}

/* An archive that cannot be read is told of now, while there is an answer to tell it with. */
static int open_log(struct follow *f, osmo_error_t *err) {
    int rc = is_archive_only(f, err);
    if (rc > 0)
        return read_archive(f, err);
    return rc < 0 ? rc : logstore_reader(f->engine->logs, f->workflow_id, &f->query, &f->reader, err);
}

int logs_stream(engine_t *e, const char *workflow_id, const struct log_query *q, const char *regex, uint64_t request_id,
                osmo_stream_t **out, osmo_error_t *err) {
    static const struct log_query all = { .retry_id = -1 };
    struct follow *f;
    int rc = follow_new(e, workflow_id, request_id, &f, err);
    if (rc < 0)
        return rc;
    f->produce = produce_logs;
    f->query = q ? *q : all;
    f->task = str_dup(f->query.task);
    if (f->query.task && !f->task)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    f->query.task = f->task;
    if (rc >= 0 && regex)
        rc = re_compile(regex, &f->re, err);
    if (rc >= 0)
        rc = open_log(f, err);
    return finish(f, rc, out);
}

int events_stream(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, uint64_t request_id,
                  osmo_stream_t **out, osmo_error_t *err) {
    struct follow *f;
    int rc = follow_new(e, workflow_id, request_id, &f, err);
    if (rc < 0)
        return rc;
    f->produce = produce_events;
    f->retry_id = retry_id;
    f->task = str_dup(task);
    rc = task && !f->task ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
    return finish(f, rc, out);
}

int status_stream(engine_t *e, const char *workflow_id, uint64_t request_id, osmo_stream_t **out, osmo_error_t *err) {
    struct follow *f;
    int rc = follow_new(e, workflow_id, request_id, &f, err);
    if (rc < 0)
        return rc;
    f->produce = produce_status;
    return finish(f, rc, out);
}
