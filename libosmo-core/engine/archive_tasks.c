/* The log by attempts, one object each, made from the log and its index in the archive. Some attempts are written at a time:
 * those that began first, over the stretch of the log in which they wrote; so the log is read about once where tasks follow
 * each other, and as often as it must where many write all the time. Called by archive.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/map.h"
#include "engine/archive.h"

#define AT_A_TIME 32         /* two descriptors each */
#define RECORDS 4096              /* of the index at a time */
#define TEXT_PIECE (1u << 20)
#define HELD (32u << 10)          /* of each attempt before it is written */

struct lane {
    object_writer_t *w;
    buf_t held;
};
struct pass {
    struct archive_copy *c;
    object_reader_t *text, *index;
    map_t *by_key;                /* "task/retry" → struct lane */
    struct lane lanes[AT_A_TIME];
    buf_t piece;                  /* a stretch of the text */
    uint64_t piece_at;
};

static int lane_flush(struct lane *l, osmo_error_t *err) {
    int rc = l->held.len ? object_write(l->w, l->held.data, l->held.len, err) : 0;
    buf_reset(&l->held);
    return rc;
}

static int lane_add(struct lane *l, const char *data, size_t len, osmo_error_t *err) {
    int rc = l->held.len + len > HELD ? lane_flush(l, err) : 0;
    if (rc < 0 || len > HELD)
        return rc < 0 ? rc : object_write(l->w, data, len, err);
    return buf_append(&l->held, data, len) < 0 ? no_memory(err) : 0;
}

/* ---- one pass ---- */

/* Text of a record is in the piece afterwards; a record larger than a piece makes it grow. */
static int load_text(struct pass *p, uint64_t offset, size_t len, osmo_error_t *err) {
    if (offset >= p->piece_at && offset + len <= p->piece_at + p->piece.len)
        return 0;
    buf_reset(&p->piece);
    p->piece_at = offset;
    size_t want = len > TEXT_PIECE ? len : TEXT_PIECE;
    if (buf_reserve(&p->piece, want) < 0)
        return no_memory(err);
    while (p->piece.len < want) {
        ssize_t n = object_read(p->text, offset + p->piece.len, p->piece.data + p->piece.len, want - p->piece.len, err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        p->piece.len += (size_t)n;
    }
    p->piece.data[p->piece.len] = '\0';
    return p->piece.len >= len ? 0 : osmo_error_set(err, OSMO_EIO, "the archived log of workflow %s is shorter than its index says",
                                                    p->c->workflow_id);
}

static int take_record(struct pass *p, const struct archive_record *r, uint64_t offset, osmo_error_t *err) {
    char key[32];
    snprintf(key, sizeof key, "%u/%u", r->task, r->retry);
    struct lane *l = map_get(p->by_key, key);
    if (!l)
        return 0;
    int rc = load_text(p, offset, r->length, err);
    return rc < 0 ? rc : lane_add(l, p->piece.data + (offset - p->piece_at), r->length, err);
}

static int walk(struct pass *p, uint64_t first, uint64_t last, uint64_t offset, osmo_error_t *err) {
    _cleanup_free_ uint8_t *raw = malloc(RECORDS * ARCHIVE_RECORD_SIZE);
    int rc = raw ? 0 : no_memory(err);
    for (uint64_t at = first; rc >= 0 && at <= last;) {
        uint64_t want = last - at + 1 < RECORDS ? last - at + 1 : RECORDS;
        ssize_t n = object_read(p->index, at * ARCHIVE_RECORD_SIZE, raw, (size_t)want * ARCHIVE_RECORD_SIZE, err);
        if (n >= 0 && n < ARCHIVE_RECORD_SIZE)
            return osmo_error_set(err, OSMO_EIO, "the index of the archived log of workflow %s is too short", p->c->workflow_id);
        rc = n < 0 ? (int)n : 0;
        for (ssize_t i = 0; rc >= 0 && i + ARCHIVE_RECORD_SIZE <= n; i += ARCHIVE_RECORD_SIZE, at++) {
            struct archive_record r;
            archive_record_unpack(raw + i, &r);
            rc = take_record(p, &r, offset, err);
            offset += r.length;
        }
        if (rc >= 0)
            rc = archive_keep_lease(p->c, err);
    }
    return rc;
}

static int open_lane(struct pass *p, struct lane *l, const struct archive_attempt *a, const char *task, osmo_error_t *err) {
    _cleanup_free_ char *name = str_printf("%s/task_logs_%s_%u.txt", p->c->workflow_id, task, a->retry);
    char key[32];
    snprintf(key, sizeof key, "%u/%u", a->task, a->retry);
    buf_init(&l->held, HELD);
    int rc = name ? object_put(p->c->store, name, &l->w, err) : no_memory(err);
    return rc >= 0 && map_set(p->by_key, key, l) < 0 ? no_memory(err) : rc;
}

static int run_pass(struct pass *p, const struct archive_attempt *a, size_t n, const strlist_t *tasks, osmo_error_t *err) {
    uint64_t last = 0;
    int rc = 0;
    map_free(p->by_key);
    p->by_key = map_new(NULL);
    if (!p->by_key)
        return no_memory(err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        rc = open_lane(p, &p->lanes[i], &a[i], tasks->items[a[i].task], err);
        last = a[i].last_record > last ? a[i].last_record : last;
    }
    if (rc >= 0)
        rc = walk(p, a[0].first_record, last, a[0].first_offset, err);
    for (size_t i = 0; i < n; i++) {
        struct lane *l = &p->lanes[i];
        if (rc >= 0)
            rc = lane_flush(l, err);
        if (rc >= 0) {
            rc = object_commit(STEAL(l->w), err);
            if (rc >= 0)
                rc = archive_keep_lease(p->c, err);
        }
        object_discard(STEAL(l->w));
        buf_free(&l->held);
    }
    return rc;
}

/* ---- all of them ---- */

static int by_beginning(const void *a, const void *b) {
    const struct archive_attempt *x = a, *y = b;
    return x->first_record < y->first_record ? -1 : x->first_record > y->first_record;
}

static int open_log(struct pass *p, const char *name, object_reader_t **out, osmo_error_t *err) {
    _cleanup_free_ char *path = archive_name(p->c->workflow_id, name);
    uint64_t size;
    return path ? object_get(p->c->store, path, out, &size, err) : no_memory(err);
}

/* What is not of a task has a name that no task can have, with a colon. */
static size_t keep_tasks(struct archive_attempt *a, size_t n, const strlist_t *tasks) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!strchr(tasks->items[a[i].task], ':'))
            a[kept++] = a[i];
    return kept;
}

int archive_task_logs(struct archive_copy *c, struct archive_attempt *attempts, size_t n, const strlist_t *tasks,
                      osmo_error_t *err) {
    n = keep_tasks(attempts, n, tasks);
    if (!n)
        return 0;
    qsort(attempts, n, sizeof *attempts, by_beginning);
    struct pass *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    p->c = c;
    buf_init(&p->piece, SIZE_MAX / 2); /* a record's length has 32 bits */
    int rc = open_log(p, ARCHIVE_LOG, &p->text, err);
    if (rc >= 0)
        rc = open_log(p, ARCHIVE_INDEX, &p->index, err);
    for (size_t i = 0; rc >= 0 && i < n; i += AT_A_TIME)
        rc = run_pass(p, attempts + i, n - i < AT_A_TIME ? n - i : AT_A_TIME, tasks, err);
    object_done(p->text);
    object_done(p->index);
    map_free(p->by_key);
    buf_free(&p->piece);
    free(p);
    return rc;
}
