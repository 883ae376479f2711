/* Batches of log entries, read in place: a busy task sends hundreds of thousands of lines in a second, and a tree of each frame would take
 * longer than storing them. Pure. For logs_session.c and the fuzzer. */
#include "engine/logs_batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_reader.h"
#include "base/str.h"

#define BEGINNING "{\"IOType\":\"LOG_BATCH\",\"entries\":["

bool batch_is_one(const char *data, size_t len) {
    return len > strlen(BEGINNING) && memcmp(data, BEGINNING, strlen(BEGINNING)) == 0;
}

struct time_memo { char second[20]; int64_t us; };

/* The time of a line is mostly in the second of the one before. */
static int64_t read_time(const json_slice_t *text, struct time_memo *memo) {
    char copy[64];
    int64_t us = 0;
    size_t n = text->text ? json_slice_copy(text, copy, sizeof copy) : 0;
    const char *p = copy + 19;
    if (n < 21 || n + 1 >= sizeof copy || *p != '.' || copy[n - 1] != 'Z' || strspn(p + 1, "0123456789") + 21 != n)
        return n && time_parse(copy, &us) ? us : 0;
    if (memcmp(copy, memo->second, 19) != 0) {
        char whole[24];
        memcpy(whole, copy, 19);
        memcpy(whole + 19, "Z", 2);
        if (!time_parse(whole, &memo->us))
            return 0;
        memcpy(memo->second, copy, 19);
    }
    int64_t fraction = 0;
    for (int i = 0; i < 6; i++)
        fraction = fraction * 10 + (p[1] >= '0' && p[1] <= '9' ? *++p - '0' : 0);
    return memo->us + fraction;
}

static enum io_type read_type(const json_slice_t *text) {
    char name[16];
    if (!text->text || text->len >= sizeof name)
        return IO_INVALID;
    json_slice_copy(text, name, sizeof name);
    return io_type_parse(name);
}

struct members { json_slice_t type, time, text; int64_t seq; };

static void read_members(json_reader_t *r, struct members *m) {
    json_slice_t key;
    *m = (struct members){ .seq = 0 };
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) { /* of a key that stands there twice the last one counts, whatever it is */
        json_slice_t *text = json_slice_is(&key, "Time") ? &m->time : json_slice_is(&key, "IOType") ? &m->type
            : json_slice_is(&key, "Text") ? &m->text : NULL;
        if (text) {
            *text = (json_slice_t){ 0 };
            json_reader_string(r, text);
        } else if (json_slice_is(&key, "seq")) {
            m->seq = 0;
            json_reader_int(r, &m->seq);
        } else {
            json_reader_skip(r, NULL);
        }
    }
}

/* Text with escapes is written out behind what there is of it; the frame is at least as long. */
static const char *plain(const json_slice_t *text, char *room, size_t room_len, size_t *used, size_t *len) {
    if (!text->escaped) {
        *len = text->len;
        return text->text ? text->text : "";
    }
    char *at = room + *used;
    *len = json_slice_copy(text, at, room_len - *used);
    *used += *len + 1;
    return at;
}

static int grow(struct log_batch *b, size_t *cap, osmo_error_t *err) {
    if (b->n == BATCH_ENTRIES_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "a batch of log entries has too many");
    if (b->n < *cap)
        return 0;
    size_t more = *cap ? *cap * 2 : 512;
    struct log_entry *bigger = realloc(b->entries, more * sizeof *bigger);
    if (!bigger)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    b->entries = bigger;
    *cap = more;
    return 0;
}

static int read_entries(json_reader_t *r, size_t len, int64_t now_us, struct log_batch *b, osmo_error_t *err) {
    struct time_memo memo = { .second = "" };
    size_t cap = 0, used = 0;
    while (json_reader_element(r)) {
        struct members m;
        read_members(r, &m);
        enum io_type type = read_type(&m.type);
        if (json_reader_failed(r))
            break;
        if (m.seq <= 0 || type < IO_STDOUT || type > IO_OSMO_CTRL)
            return osmo_error_set(err, OSMO_EINVAL, "a log entry of the batch is malformed");
        int rc = grow(b, &cap, err);
        if (rc < 0)
            return rc;
        struct log_entry *e = &b->entries[b->n++];
        *e = (struct log_entry){ .type = type, .time_us = read_time(&m.time, &memo), .seq = (uint64_t)m.seq };
        if (!e->time_us)
            e->time_us = now_us;
        e->text = plain(&m.text, b->room, len + 1, &used, &e->len);
        b->last = e->seq;
    }
    return 0;
}

int batch_read(const char *data, size_t len, int64_t now_us, struct log_batch *out, osmo_error_t *err) {
    json_reader_t r;
    json_slice_t key;
    *out = (struct log_batch){ .room = malloc(len + 1) };
    if (!out->room)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    json_reader_init(&r, data, len);
    /* what is no UTF-8 would be longer when it is read than it is here */
    bool good = utf8_valid(data, len) && json_reader_object(&r);
    int rc = good ? 0 : osmo_error_set(err, OSMO_EINVAL, "a frame is not a JSON object");
    while (rc == 0 && json_reader_key(&r, &key)) {
        bool entries = json_slice_is(&key, "entries");
        if (entries && out->n)
            rc = osmo_error_set(err, OSMO_EINVAL, "a batch of log entries has them twice");
        else if (entries && json_reader_array(&r))
            rc = read_entries(&r, len, now_us, out, err);
        else if (!entries)
            json_reader_skip(&r, NULL);
    }
    if (rc == 0 && (json_reader_failed(&r) || !json_reader_at_end(&r)))
        rc = osmo_error_set(err, OSMO_EINVAL, "a frame is not a JSON object");
    if (rc < 0)
        batch_clear(out);
    return rc;
}

void batch_clear(struct log_batch *b) {
    free(b->entries);
    free(b->room);
    *b = (struct log_batch){ 0 };
}
