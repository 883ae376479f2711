/* Writing the archive: the work item of a workflow that has ended and owes no cleanup any more. Every object is whole and
 * durable before the next is begun; only when all are, a row says that the workflow is in the archive, and from then on the
 * log store may lose its copy. See archive.h. Called by work.c and retention.c. */
#include "engine/archive.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "engine/data_access.h"
#include "engine/engine_internal.h"
#include "engine/reactor_internal.h"
#include "model/redact.h"
#include "store/repo_archive.h"

#define PIECE (1u << 20)                        /* of the log at a time */
#define TEXT_MAX (PIECE + LOG_ITEMS_MAX * 4u + (64u << 20)) /* the first entry of a piece may be as large as an append */
#define FILE_MAX (256u << 20)
#define NAMES_PAGE 100
#define LEASE_US (60LL * 1000 * 1000)
#define RENEW_US (15LL * 1000 * 1000)

/* ---- shared ---- */

static void put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void archive_record_pack(const struct archive_record *r, uint8_t out[ARCHIVE_RECORD_SIZE]) {
    put_u32(out, r->length);
    put_u32(out + 4, r->task);
    put_u32(out + 8, r->retry);
    put_u32(out + 12, r->type);
}

void archive_record_unpack(const uint8_t in[ARCHIVE_RECORD_SIZE], struct archive_record *r) {
    *r = (struct archive_record){ get_u32(in), get_u32(in + 4), get_u32(in + 8), get_u32(in + 12) };
}

char *archive_name(const char *workflow_id, const char *name) { return str_printf("%s/%s", workflow_id, name); }

/* Copy of the configured place; "" when there is none. */
static char *endpoint(engine_t *e) {
    const struct settings *s = engine_settings(e);
    char *url = str_dup(s->archive_endpoint);
    engine_settings_put(s);
    return url;
}

static int open_store(const struct settings *s, int64_t retry_for_ms, object_store_t **out, osmo_error_t *err) {
    const struct data_login *l = &s->archive_login;
    const struct storage_login login = { l->access_key_id, l->access_key, l->region, l->override_url, l->addressing_style };
    data_credentials_t *credentials = NULL;
    if (!s->archive_endpoint)
        return no_memory(err);
    if (!*s->archive_endpoint)
        return osmo_error_set(err, OSMO_EUNAVAIL, "there is no archive: " ARCHIVE_KEY " is not configured");
    int rc = data_credentials_parse("", 0, &credentials, err);
    if (rc >= 0 && storage_login_add(credentials, s->archive_endpoint, &login) < 0)
        rc = no_memory(err);
    struct object_options o = { .credentials = credentials, .retry_for_ms = retry_for_ms };
    if (rc >= 0)
        rc = object_store_open(s->archive_endpoint, &o, out, err);
    data_credentials_free(credentials);
    return rc < 0 ? osmo_error_prefix(err, ARCHIVE_KEY) : 0;
}

int archive_open(engine_t *e, int64_t retry_for_ms, object_store_t **out, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    *out = NULL;
    int rc = open_store(s, retry_for_ms, out, err);
    engine_settings_put(s);
    return rc;
}

struct renewal {
    const char *owner;
    int64_t until;
};

static int renew_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct renewal *r = ctx;
    return repo_work_renew(db, r->owner, r->until, err);
}

int archive_keep_lease(struct archive_copy *c, osmo_error_t *err) {
    int64_t now = clock_mono_us();
    if (worker_is_stopping(c->e))
        return osmo_error_set(err, OSMO_EBUSY, "the service is stopping, workflow %s is archived later", c->workflow_id);
    if (!c->renew_at)
        c->renew_at = now + RENEW_US;
    if (now < c->renew_at || !c->item->owner)
        return 0;
    c->renew_at = now + RENEW_US;
    struct renewal r = { c->item->owner, engine_now(c->e) + LEASE_US };
    return store_write(c->e->store, NULL, renew_run, &r, err);
}

/* ---- the log ---- */

struct log_copy {
    struct archive_copy *c;
    object_writer_t *text, *index, *names;
    map_t *task_index;                  /* name → number + 1 as a pointer */
    map_t *attempt_index;               /* "task number/retry" → number + 1 */
    strlist_t tasks;
    struct archive_attempt *attempts;
    size_t nattempts, cap;
    uint64_t offset, records;
};

static void log_copy_clear(struct log_copy *l) {
    object_discard(l->text);
    object_discard(l->index);
    object_discard(l->names);
    map_free(l->task_index);
    map_free(l->attempt_index);
    strlist_free(&l->tasks);
    free(l->attempts);
}

static int log_task(struct log_copy *l, const char *task, uint32_t *out, osmo_error_t *err) {
    uintptr_t known = (uintptr_t)map_get(l->task_index, task);
    if (known) {
        *out = (uint32_t)(known - 1);
        return 0;
    }
    if (strlist_add(&l->tasks, task) < 0 || map_set(l->task_index, task, (void *)(uintptr_t)l->tasks.len) < 0)
        return no_memory(err);
    *out = (uint32_t)(l->tasks.len - 1);
    int rc = object_write(l->names, task, strlen(task), err);
    return rc < 0 ? rc : object_write(l->names, "\n", 1, err);
}

static int log_attempt(struct log_copy *l, const struct archive_record *r, osmo_error_t *err) {
    char key[32];
    snprintf(key, sizeof key, "%u/%u", r->task, r->retry);
    uintptr_t known = (uintptr_t)map_get(l->attempt_index, key);
    if (known) {
        l->attempts[known - 1].last_record = l->records;
        return 0;
    }
    if (l->nattempts == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        struct archive_attempt *bigger = realloc(l->attempts, cap * sizeof *bigger);
        if (!bigger)
            return no_memory(err);
        l->attempts = bigger;
        l->cap = cap;
    }
    l->attempts[l->nattempts++] = (struct archive_attempt){ .task = r->task, .retry = r->retry, .first_offset = l->offset,
                                                            .first_record = l->records, .last_record = l->records };
    return map_set(l->attempt_index, key, (void *)(uintptr_t)l->nattempts) < 0 ? no_memory(err) : 0;
}

static int log_piece(struct log_copy *l, const buf_t *text, const struct log_item *items, size_t n, osmo_error_t *err) {
    uint8_t packed[LOG_ITEMS_MAX][ARCHIVE_RECORD_SIZE];
    int rc = object_write(l->text, text->data, text->len, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        struct archive_record r = { (uint32_t)items[i].length, 0, (uint32_t)items[i].retry_id, (uint32_t)items[i].type };
        rc = log_task(l, items[i].task, &r.task, err);
        if (rc >= 0)
            rc = log_attempt(l, &r, err);
        archive_record_pack(&r, packed[i]);
        l->offset += r.length;
        l->records++;
    }
    return rc < 0 ? rc : object_write(l->index, packed, n * ARCHIVE_RECORD_SIZE, err);
}

static int log_pieces(struct log_copy *l, osmo_error_t *err) {
    static const struct log_query all = { .retry_id = -1 };
    _cleanup_buf_ buf_t text = BUF_INIT(TEXT_MAX);
    _cleanup_free_ struct log_item *items = malloc(LOG_ITEMS_MAX * sizeof *items);
    log_reader_t *reader = NULL;
    int rc = items ? logstore_reader(l->c->e->logs, l->c->workflow_id, &all, &reader, err) : no_memory(err);
    while (rc >= 0) {
        buf_reset(&text);
        rc = log_reader_items(reader, &text, PIECE, items, err);
        if (rc == 0)
            rc = osmo_error_set(err, OSMO_EBUSY, "the log of workflow %s has not ended yet", l->c->workflow_id);
        if (rc > 0)
            rc = log_piece(l, &text, items, (size_t)rc, err);
        if (rc >= 0)
            rc = archive_keep_lease(l->c, err);
    }
    log_reader_free(reader);
    return rc == OSMO_EGONE ? 0 : rc;
}

static int begin(struct archive_copy *c, const char *name, object_writer_t **out, osmo_error_t *err) {
    _cleanup_free_ char *path = archive_name(c->workflow_id, name);
    return path ? object_put(c->store, path, out, err) : no_memory(err);
}

/* Another service, or another item of the same workflow, may have archived the log meanwhile, and the log store's copy may be
 * dropped since: then what was read is not the log. Asked when all has been read. */
static int is_archived(const struct archive_copy *c, bool *yes, osmo_error_t *err) {
    enum archive_state state = ARCHIVE_NONE;
    db_t *db;
    int rc = store_reader(c->e->store, &db, err);
    if (rc >= 0)
        rc = repo_archive_get(db, c->workflow_uuid, &state, err);
    *yes = state != ARCHIVE_NONE;
    return rc;
}

/* The index comes last: a reader that finds it finds the others. */
static int log_commit(struct log_copy *l, osmo_error_t *err) {
    object_writer_t **order[] = { &l->text, &l->names, &l->index };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(order); i++)
        rc = object_commit(STEAL(*order[i]), err);
    return rc;
}

static int copy_log(struct archive_copy *c, osmo_error_t *err) {
    const struct settings *s = engine_settings(c->e);
    bool by_task = s->archive_task_logs;
    engine_settings_put(s);
    _cleanup_(log_copy_clear) struct log_copy l = { .c = c, .task_index = map_new(NULL), .attempt_index = map_new(NULL) };
    int rc = l.task_index && l.attempt_index ? begin(c, ARCHIVE_LOG, &l.text, err) : no_memory(err);
    if (rc >= 0)
        rc = begin(c, ARCHIVE_INDEX, &l.index, err);
    if (rc >= 0)
        rc = begin(c, ARCHIVE_TASKS, &l.names, err);
    bool archived = false;
    if (rc >= 0)
        rc = log_pieces(&l, err);
    if (rc >= 0)
        rc = is_archived(c, &archived, err);
    if (rc >= 0 && !archived)
        rc = log_commit(&l, err);
    return rc < 0 || archived || !by_task ? rc : archive_task_logs(c, l.attempts, l.nattempts, &l.tasks, err);
}

/* ---- events and files ---- */

static int write_events(struct archive_copy *c, object_writer_t *w, osmo_error_t *err) {
    int64_t last = 0;
    size_t n = 1;
    db_t *db;
    int rc = store_reader(c->e->store, &db, err);
    while (rc >= 0 && n) {
        strlist_t texts = { 0 };
        _cleanup_buf_ buf_t piece = BUF_INIT(FILE_MAX);
        rc = repo_event_list(db, c->workflow_uuid, NULL, -1, last, &texts, &last, err);
        for (size_t i = 0; rc >= 0 && i < texts.len; i++) {
            buf_puts(&piece, texts.items[i]);
            if (!str_ends(texts.items[i], "\n"))
                buf_putc(&piece, '\n');
        }
        n = texts.len;
        strlist_free(&texts);
        if (rc >= 0 && buf_failed(&piece))
            rc = osmo_error_set(err, piece.code, "the events of workflow %s do not fit into memory", c->workflow_id);
        if (rc >= 0)
            rc = object_write(w, buf_cstr(&piece), piece.len, err);
        if (rc >= 0)
            rc = archive_keep_lease(c, err);
    }
    return rc;
}

static int copy_events(struct archive_copy *c, osmo_error_t *err) {
    object_writer_t *w = NULL;
    int rc = begin(c, ARCHIVE_EVENTS, &w, err);
    if (rc >= 0)
        rc = write_events(c, w, err);
    if (rc >= 0)
        return object_commit(w, err);
    object_discard(w);
    return rc;
}

static int copy_file(struct archive_copy *c, db_t *db, const char *name, osmo_error_t *err) {
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ char *path = archive_name(c->workflow_id, name);
    _cleanup_buf_ buf_t masked = BUF_INIT(FILE_MAX);
    size_t len = 0;
    int rc = path ? repo_file_get(db, c->workflow_uuid, name, &text, &len, err) : no_memory(err);
    if (rc == OSMO_ENOTFOUND)
        return 0;
    bool spec = rc >= 0 && str_ends(name, "_spec.yaml");
    if (spec && redact_text(text, len, &masked) < 0)
        rc = osmo_error_set(err, masked.code, "%s of workflow %s: %s", name, c->workflow_id, osmo_error_name(masked.code));
    if (rc >= 0)
        rc = object_put_bytes(c->store, path, spec ? buf_cstr(&masked) : text, spec ? masked.len : len, err);
    return rc < 0 ? rc : archive_keep_lease(c, err);
}

static int copy_files(struct archive_copy *c, osmo_error_t *err) {
    _cleanup_free_ char *after = str_dup("");
    size_t n = NAMES_PAGE;
    db_t *db;
    int rc = after ? store_reader(c->e->store, &db, err) : no_memory(err);
    while (rc >= 0 && n == NAMES_PAGE) {
        strlist_t names = { 0 };
        rc = repo_file_names(db, c->workflow_uuid, after, NAMES_PAGE, &names, err);
        n = names.len;
        for (size_t i = 0; rc >= 0 && i < n; i++)
            rc = copy_file(c, db, names.items[i], err);
        if (n) {
            free(after);
            after = STEAL(names.items[n - 1]);
            names.len--;
        }
        strlist_free(&names);
    }
    return rc;
}

/* ---- the work item ---- */

struct done {
    const struct workflow_row *w;
    int64_t now;
};

static int done_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct done *d = ctx;
    return repo_archive_add(db, d->w->uuid, d->w->id, d->now, err);
}

/* What is there already and may be all that is left of it is not written again: the log. The others may have grown. */
static int copy_all(struct archive_copy *c, const struct workflow_row *w, enum archive_state state, osmo_error_t *err) {
    int rc = archive_open(c->e, ARCHIVE_WRITE_MS, &c->store, err);
    if (rc >= 0)
        rc = object_tidy(c->store, w->id, err);
    if (rc >= 0 && state == ARCHIVE_NONE)
        rc = copy_log(c, err);
    if (rc >= 0)
        rc = copy_events(c, err);
    if (rc >= 0)
        rc = copy_files(c, err);
    object_store_close(c->store);
    c->store = NULL;
    struct done d = { w, clock_now_us() };
    if (rc >= 0)
        rc = store_write(c->e->store, w->uuid, done_run, &d, err);
    if (rc >= 0)
        log_debug(&c->e->log, "workflow %s is archived", w->id);
    return rc;
}

/* A cleanup that is still owed may bring more of the log and of the error logs, but followers wait for it for a while only. */
static int finish_log(engine_t *e, const struct workflow_row *w, enum archive_state state, osmo_error_t *err) {
    bool waits = w->groups_uncleaned > 0;
    int rc = 0;
    if (waits && engine_now(e) < w->sm.end_us + LOG_GRACE_US)
        return osmo_error_set(err, OSMO_EBUSY, "objects of workflow %s are being removed", w->id);
    if (state == ARCHIVE_NONE)
        rc = logs_finish_workflow(e, w->uuid, err);
    if (rc >= 0 && waits)
        rc = osmo_error_set(err, OSMO_EBUSY, "workflow %s still owes the cleanup of %lld groups", w->id,
                            (long long)w->groups_uncleaned);
    return rc;
}

int archive_workflow(engine_t *e, const struct work_row *item, osmo_error_t *err) {
    _cleanup_free_ char *url = endpoint(e);
    struct workflow_row w = { 0 };
    enum archive_state state = ARCHIVE_NONE;
    db_t *db;
    int rc = url ? store_reader(e->store, &db, err) : no_memory(err);
    if (rc >= 0)
        rc = repo_workflow_get(db, item->workflow_uuid, &w, err);
    if (rc >= 0)
        rc = repo_archive_get(db, w.uuid, &state, err);
    if (rc >= 0)
        rc = finish_log(e, &w, state, err);
    if (rc >= 0 && *url) {
        struct archive_copy c = { .e = e, .item = item, .workflow_id = w.id, .workflow_uuid = w.uuid };
        rc = copy_all(&c, &w, state, err);
    }
    workflow_row_clear(&w);
    return rc;
}

/* ---- removing ---- */

static int remove_one(void *ctx, const char *name, uint64_t size, osmo_error_t *err) {
    (void)size;
    return object_remove(ctx, name, err);
}

int archive_remove(engine_t *e, const char *workflow_id, osmo_error_t *err) {
    object_store_t *store = NULL;
    int rc = archive_open(e, ARCHIVE_WRITE_MS, &store, err);
    if (rc == OSMO_EUNAVAIL)
        return 0;
    if (rc >= 0)
        rc = object_list(store, workflow_id, remove_one, store, err);
    if (rc >= 0)
        rc = object_tidy(store, workflow_id, err);
    object_store_close(store);
    return rc;
}
