/* Readers for the API: log text, event text and status lines of one workflow,
    produced as they happen. A stream registers with
 * the followers of its workflow before its first read, so nothing that happens in between is missed. */
#include "engine/logs_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/archive.h"
#include "engine/logs_emit.h"
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
    struct line_emit emit;
    bool to_present, beats, said_end;
    int64_t spoken_at;                   /* monotonic */
    struct log_query query;              /* its task is the next one */
    char *task;
    /* logs */
    log_reader_t *reader; buf_t raw;
    struct log_item *items;              /* NULL: entries need not be told apart */
    archive_reader_t *kept;              /* instead of the reader, when the log store's copy is gone */
    uint64_t given, dropped; int64_t looked_at;
    /* events */
    int64_t last_event; uint64_t line;
    /* status */
    enum status last_status; char *last_message;
};

static void follow_close(osmo_stream_t *base) {
    struct follow *f = (struct follow *)base;
    if (f->watching)
        watch_remove(f->engine, f->workflow_id, f->request_id);
    if (f->beats)
        beats_remove(f->engine, f->request_id);
    log_reader_free(f->reader);
    archive_reader_free(f->kept);
    emit_close(&f->emit);
    free(f->items);
    buf_free(&f->pending);
    buf_free(&f->raw);
    free(f->task);
    free(f->last_message);
    free(f->workflow_id);
    free(f->workflow_uuid);
    free(f);
}

/* More for the reader: 1, 0 = nothing now, OSMO_EGONE at the end. */
static int follow_more(struct follow *f, osmo_error_t *err) {
    buf_reset(&f->pending);
    f->taken = 0;
    int rc = f->ended ? 0 : f->produce(f, err);
    if (rc >= 0 && !rc && f->to_present)
        f->ended = true;
    if (rc >= 0 && f->ended && !f->said_end) {
        f->said_end = true;
        emit_end(&f->emit, &f->pending);
        rc = 1;
    } else if (!rc && !f->ended && f->beats && clock_mono_us() - f->spoken_at >= f->engine->loggers->beat_us / 10 * 9) {
        emit_beat(&f->emit, &f->pending);
    }
    if (rc >= 0 && buf_failed(&f->pending))
        rc = osmo_error_set(err, f->pending.code, "%s", osmo_error_name(f->pending.code));
    if (rc < 0 || f->pending.len)
        return rc < 0 ? rc : 1;
    return f->ended && !rc ? OSMO_EGONE : rc;
}

static ssize_t follow_read(osmo_stream_t *base, char *data, size_t max) {
    struct follow *f = (struct follow *)base;
    osmo_error_t err = OSMO_ERROR_INIT;
    while (f->taken == f->pending.len) {
        int rc = follow_more(f, &err);
        if (rc < 0 && rc != OSMO_EGONE)
            log_warning(&f->engine->log, "following %s: %s", f->workflow_id, err.text);
        if (rc <= 0)
            return rc;
    }
    size_t n = f->pending.len - f->taken < max ? f->pending.len - f->taken : max;
    memcpy(data, f->pending.data + f->taken, n);
    f->taken += n;
    if (f->beats)
        f->spoken_at = clock_mono_us();
    return (ssize_t)n;
}

/* ---- logs: produce returns 1 when something was read (even if every line was filtered out) ---- */

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

static int read_some(struct follow *f, buf_t *out, osmo_error_t *err) {
    if (f->kept && f->items)
        return archive_reader_items(f->kept, out, READ_CHUNK, f->items, err);
    if (f->kept)
        return archive_reader_read(f->kept, out, READ_CHUNK, err);
    return f->items ? log_reader_items(f->reader, out, READ_CHUNK, f->items, err) : log_reader_read(f->reader, out, READ_CHUNK, err);
}

/* How many entries, where they are told apart, else bytes. */
static int read_log(struct follow *f, buf_t *out, osmo_error_t *err) {
    size_t before = out->len;
    int rc = read_some(f, out, err);
    if (!f->kept && rc == 0 && out->len == before) {
        rc = is_archive_only(f, err);
        if (rc > 0)
            rc = read_archive(f, err);
        if (f->kept && rc >= 0)
            rc = read_some(f, out, err);
    }
    f->given += out->len - before;
    return rc;
}

static void emit_items(struct follow *f, size_t n) {
    const char *p = f->raw.data;
    for (size_t i = 0; i < n; i++) {
        emit_line(&f->emit, f->items[i].line, p, f->items[i].length, &f->pending);
        p += f->items[i].length;
    }
}

static int produce_logs(struct follow *f, osmo_error_t *err) {
    bool plain = !f->items && !f->emit.regex;
    buf_t *out = plain ? &f->pending : &f->raw;
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
    if (f->items)
        emit_items(f, (size_t)rc);
    else if (!plain)
        emit_line(&f->emit, 0, f->raw.data, f->raw.len, &f->pending);
    return 1;
}

/* ---- events: the events of a workflow end when its log does ---- */

static int log_has_ended(struct follow *f, osmo_error_t *err) {
    bool ended;
    int rc = logstore_has_ended(f->engine->logs, f->workflow_id, &ended, err);
    if (rc >= 0 && !ended && !f->archived)
        return is_archive_only(f, err);
    return rc < 0 ? rc : 1;
}

static void emit_event(struct follow *f, const char *text, int64_t at_us) {
    bool since = f->query.since_us && at_us / 1000000 < f->query.since_us / 1000000;
    if (++f->line < f->query.from_line || since)
        return;
    buf_reset(&f->raw);
    buf_puts(&f->raw, text);
    if (!str_ends(text, "\n"))
        buf_putc(&f->raw, '\n');
    if (buf_failed(&f->raw))
        f->pending.code = f->raw.code;
    else
        emit_line(&f->emit, f->line, f->raw.data, f->raw.len, &f->pending);
}

static int produce_events(struct follow *f, osmo_error_t *err) {
    strlist_t texts = { 0 };
    int64_t *times = NULL;
    db_t *db;
    /* The end is looked up first: an event stored before the end is then always seen. */
    int ended = log_has_ended(f, err);
    int rc = ended < 0 ? ended : store_reader(f->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_event_list_timed(db, f->workflow_uuid, f->task, f->query.retry_id, f->last_event, &texts, &times,
                                   &f->last_event, err);
    for (size_t i = 0; rc >= 0 && i < texts.len; i++)
        emit_event(f, texts.items[i], times[i]);
    size_t n = texts.len;
    strlist_free(&texts);
    free(times);
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

static int prepare(struct follow *f, const struct line_options *o, osmo_error_t *err) {
    f->query = o->log;
    f->query.numbered = o->format != LINES_TEXT;
    f->task = str_dup(o->log.task);
    if (o->log.task && !f->task)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    f->query.task = f->task;
    f->to_present = o->to_present;
    if (o->format != LINES_TEXT || o->grep) {
        f->items = malloc(LOG_ITEMS_MAX * sizeof *f->items);
        if (!f->items)
            return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    f->spoken_at = clock_mono_us();
    if (o->format != LINES_TEXT && !o->to_present) {
        int rc = beats_add(f->engine, f->request_id);
        if (rc < 0)
            return osmo_error_set(err, rc, "cannot follow %s: %s", f->workflow_id, osmo_error_name(rc));
        f->beats = true;
    }
    return emit_open(&f->emit, o, err);
}

int lines_stream(engine_t *e, const char *workflow_id, bool events, const struct line_options *o, uint64_t request_id,
                 osmo_stream_t **out, osmo_error_t *err) {
    struct follow *f;
    int rc = follow_new(e, workflow_id, request_id, &f, err);
    if (rc < 0)
        return rc;
    f->produce = events ? produce_events : produce_logs;
    rc = prepare(f, o, err);
    if (rc >= 0 && !events)
        rc = open_log(f, err);
    return finish(f, rc, out);
}

int logs_stream(engine_t *e, const char *workflow_id, const struct log_query *q, const char *regex, uint64_t request_id,
                osmo_stream_t **out, osmo_error_t *err) {
    struct line_options o = { .log = { .retry_id = -1 }, .regex = regex };
    if (q)
        o.log = *q;
    return lines_stream(e, workflow_id, false, &o, request_id, out, err);
}

int events_stream(engine_t *e, const char *workflow_id, const char *task, int64_t retry_id, uint64_t request_id,
                  osmo_stream_t **out, osmo_error_t *err) {
    struct line_options o = { .log = { .task = task, .retry_id = retry_id } };
    return lines_stream(e, workflow_id, true, &o, request_id, out, err);
}

int status_stream(engine_t *e, const char *workflow_id, uint64_t request_id, osmo_stream_t **out, osmo_error_t *err) {
    struct follow *f;
    int rc = follow_new(e, workflow_id, request_id, &f, err);
    if (rc < 0)
        return rc;
    f->produce = produce_status;
    return finish(f, rc, out);
}
