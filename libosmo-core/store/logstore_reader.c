/* A reader: a place in a log and what is wanted of it. It holds nothing of the store between two reads, so any number of
 * followers costs memory only. One reader belongs to one thread at a time. */
#include "store/logstore_int.h"
#include <stdio.h>
#include <stdlib.h>

int logstore_reader(logstore_t *s, const char *workflow_id, const struct log_query *q, log_reader_t **out,
                    osmo_error_t *err) {
    *out = NULL;
    int rc = logstore_check_id(workflow_id, err);
    if (rc < 0)
        return rc;
    log_reader_t *r = calloc(1, sizeof(*r));
    if (r) {
        *r = (log_reader_t){ .store = s, .id = str_dup(workflow_id), .retry = -1, .since_s = INT64_MIN };
        if (q) {
            r->task = str_dup(q->task);
            r->retry = q->retry_id;
            r->scan_max = q->scan_max;
            r->kinds = q->error_only ? 1u << IO_STDERR : q->kinds;
            r->since_s = q->since_us ? log_second(q->since_us) : INT64_MIN;
            r->numbered = q->numbered;
            r->place.last_n = q->last_n;
            r->place.from_line = q->from_line;
        }
    }
    if (!r || !r->id || (q && q->task && !r->task)) {
        log_reader_free(r);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = r;
    return 0;
}

bool log_reader_found_none(const log_reader_t *r) { return r->none; }

void log_reader_free(log_reader_t *r) {
    if (!r)
        return;
    strlist_free(&r->tasks);
    free(r->id);
    free(r->task);
    free(r);
}

void log_taken_add(struct log_taken *t, const struct log_record *rec, uint64_t line, const strlist_t *tasks) {
    if (t->items) {
        struct log_item *i = &t->items[t->n];
        *i = (struct log_item){ .retry_id = rec->retry, .time_us = rec->time_us, .type = (enum io_type)rec->type,
                                .length = rec->length, .line = line };
        snprintf(i->task, sizeof i->task, "%s", rec->task < tasks->len ? tasks->items[rec->task] : "");
    }
    t->n++;
}

static int read_into(log_reader_t *r, struct log_taken *t, size_t max, osmo_error_t *err) {
    struct log_place before = r->place;
    int64_t log_id = r->log_id;
    t->before = t->out->len;
    t->enough = t->before + (max ? max : 1);
    int rc = r->store->drv->read(r, t, err);
    if (rc < 0 && rc != OSMO_EGONE) { /* a failed read hands out nothing and moves nothing */
        r->place = before;
        if (r->log_id != log_id) /* a place in the other one, and its numbers of tasks */
            strlist_free(&r->tasks);
        r->log_id = log_id;
        buf_truncate(t->out, t->before);
    }
    if (rc == OSMO_EGONE)
        osmo_error_set(err, rc, "end of the log of workflow %s", r->id);
    return rc;
}

int log_reader_read(log_reader_t *r, buf_t *out, size_t max, osmo_error_t *err) {
    struct log_taken t = { .out = out };
    int rc = read_into(r, &t, max, err);
    return rc < 0 ? rc : (int)(out->len - t.before);
}

int log_reader_items(log_reader_t *r, buf_t *out, size_t max, struct log_item *items, osmo_error_t *err) {
    struct log_taken t = { .out = out, .items = items };
    int rc = read_into(r, &t, max, err);
    return rc < 0 ? rc : (int)t.n;
}
