/* Reading segments, sealed or not: a record by its number, text by its place. See logstore_segment.h. */
#include "store/logstore_segment.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/cleanup.h"
#include "store/compress.h"
#include "store/logstore_file.h"

#define BLOCK_MAX (64u << 20)
#define TABLE_ROWS_MAX (1u << 24)

/* FNV-1a: tells a torn record or table from a whole one, nothing more. */
uint32_t log_checksum(const uint8_t *p, size_t len) {
    uint32_t h = 0x811c9dc5u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x01000193u;
    return h;
}

char *log_segment_path(const char *id, size_t number, const char *kind) {
    return number ? str_printf("%s/workflow_logs.%zu.%s", id, number, kind) : str_printf("%s/workflow_logs.%s", id, kind);
}

/* ---- the footer and the tables of a sealed segment ---- */

void sealed_footer_pack(const struct sealed *s, uint8_t out[SEALED_FOOTER]) {
    const struct log_segment *g = &s->segment;
    memset(out, 0, SEALED_FOOTER);
    memcpy(out, SEALED_MAGIC, 8);
    log_put(out + 8, s->ended, 4);
    log_put(out + 12, s->n_text, 4);
    log_put(out + 16, s->n_index, 4);
    log_put(out + 20, s->n_attempts, 4);
    log_put(out + 24, s->table_at, 8);
    log_put(out + 32, g->first_record, 8);
    log_put(out + 40, g->records, 8);
    log_put(out + 48, g->first_offset, 8);
    log_put(out + 56, g->bytes, 8);
    log_put(out + 64, (uint64_t)g->latest_us, 8);
    for (int i = 0; i < LOG_KINDS; i++)
        log_put(out + 72 + 8 * i, g->lines[i], 8);
    log_put(out + 128, s->block_bytes, 4);
    log_put(out + 132, s->block_entries, 4);
    log_put(out + 136, s->table_sum, 4);
    log_put(out + SEALED_FOOTER - 4, log_checksum(out, SEALED_FOOTER - 4), 4);
}

static bool is_possible(const struct sealed *s, uint64_t size) {
    const struct log_segment *g = &s->segment;
    uint64_t table = (uint64_t)s->n_text * 4 + (uint64_t)s->n_index * SEALED_INDEX_ROW +
        (uint64_t)s->n_attempts * SEALED_ATTEMPT_ROW;
    return s->block_bytes && s->block_bytes <= BLOCK_MAX && s->block_entries &&
        s->block_entries <= BLOCK_MAX / LOG_PACKED_SIZE && s->n_text <= TABLE_ROWS_MAX && s->n_index <= TABLE_ROWS_MAX &&
        s->n_attempts <= TABLE_ROWS_MAX && s->n_text == (g->bytes + s->block_bytes - 1) / s->block_bytes &&
        s->n_index == (g->records + s->block_entries - 1) / s->block_entries && s->table_at >= SEALED_HEADER &&
        s->table_at < size && s->table_at + table + SEALED_FOOTER == size;
}

int sealed_footer(int fd, struct sealed *out, osmo_error_t *err) {
    uint8_t p[SEALED_FOOTER];
    struct stat st;
    bool whole = fstat(fd, &st) == 0 && st.st_size > SEALED_FOOTER &&
        fd_read_at(fd, p, sizeof p, (uint64_t)st.st_size - sizeof p) && memcmp(p, SEALED_MAGIC, 8) == 0 &&
        log_get(p + SEALED_FOOTER - 4, 4) == log_checksum(p, SEALED_FOOTER - 4);
    *out = (struct sealed){ 0 };
    if (whole) {
        *out = (struct sealed){ .ended = log_get(p + 8, 4), .n_text = (uint32_t)log_get(p + 12, 4),
            .n_index = (uint32_t)log_get(p + 16, 4), .n_attempts = (uint32_t)log_get(p + 20, 4), .table_at = log_get(p + 24, 8),
            .block_bytes = (uint32_t)log_get(p + 128, 4), .block_entries = (uint32_t)log_get(p + 132, 4),
            .table_sum = (uint32_t)log_get(p + 136, 4) };
        out->segment = (struct log_segment){ .first_record = log_get(p + 32, 8), .records = log_get(p + 40, 8),
            .first_offset = log_get(p + 48, 8), .bytes = log_get(p + 56, 8), .latest_us = (int64_t)log_get(p + 64, 8),
            .sealed = true };
        for (int i = 0; i < LOG_KINDS; i++)
            out->segment.lines[i] = log_get(p + 72 + 8 * i, 8);
        whole = is_possible(out, (uint64_t)st.st_size);
    }
    return whole ? 0 : osmo_error_set(err, OSMO_EIO, "a sealed segment has no whole footer");
}

/* The whole table, checked; malloc'ed. */
static int read_table(int fd, const struct sealed *s, uint8_t **out, osmo_error_t *err) {
    size_t size = (size_t)s->n_text * 4 + (size_t)s->n_index * SEALED_INDEX_ROW + (size_t)s->n_attempts * SEALED_ATTEMPT_ROW;
    uint8_t *table = malloc(size + 1);
    *out = NULL;
    if (!table)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!fd_read_at(fd, table, size, s->table_at) || log_checksum(table, size) != s->table_sum) {
        free(table);
        return osmo_error_set(err, OSMO_EIO, "a sealed segment has a broken table");
    }
    *out = table;
    return 0;
}

int sealed_attempts(int fd, const struct sealed *s, struct log_attempt **out, osmo_error_t *err) {
    _cleanup_free_ uint8_t *table = NULL;
    *out = NULL;
    int rc = read_table(fd, s, &table, err);
    if (rc < 0)
        return rc;
    *out = calloc(s->n_attempts + 1, sizeof **out);
    if (!*out)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    const uint8_t *p = table + (size_t)s->n_text * 4 + (size_t)s->n_index * SEALED_INDEX_ROW;
    for (uint32_t i = 0; i < s->n_attempts; i++, p += SEALED_ATTEMPT_ROW) {
        struct log_attempt *a = &(*out)[i];
        *a = (struct log_attempt){ .task = (uint32_t)log_get(p, 4), .retry = (int64_t)log_get(p + 4, 4), .seq = log_get(p + 8, 8) };
        for (int k = 0; k < LOG_KINDS; k++)
            a->lines[k] = log_get(p + 16 + 8 * k, 8);
    }
    return 0;
}

static int read_rows(struct sealed *s, const uint8_t *p, osmo_error_t *err) {
    uint64_t at = SEALED_HEADER;
    s->text = calloc(s->n_text + 1u, sizeof *s->text);
    s->index = calloc(s->n_index + 1u, sizeof *s->index);
    if (!s->text || !s->index)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < s->n_text; i++, p += 4) {
        s->text[i] = (struct sealed_block){ at, (uint32_t)log_get(p, 4) };
        at += s->text[i].size;
    }
    for (uint32_t i = 0; i < s->n_index; i++, p += SEALED_INDEX_ROW) {
        struct sealed_index *x = &s->index[i];
        *x = (struct sealed_index){ .at = at, .size = (uint32_t)log_get(p, 4), .first_offset = log_get(p + 4, 8),
                                    .latest_us = (int64_t)log_get(p + 12, 8) };
        for (int k = 0; k < LOG_KINDS; k++)
            x->lines_before[k] = (uint32_t)log_get(p + 20 + 4 * k, 4);
        at += x->size;
    }
    return at == s->table_at ? 0 : osmo_error_set(err, OSMO_EIO, "a sealed segment has a broken table");
}

/* ---- the view ---- */

void log_view_close(struct log_view *v) {
    if (v->fd >= 0)
        close(v->fd);
    if (v->idx_fd >= 0)
        close(v->idx_fd);
    free(v->sealed.text);
    free(v->sealed.index);
    free(v->text);
    free(v->index);
    *v = (struct log_view){ .segment = SIZE_MAX, .fd = -1, .idx_fd = -1, .text_block = UINT32_MAX, .index_block = UINT32_MAX };
}

static int open_kind(const struct wlog *w, size_t segment, const char *kind, int *out, osmo_error_t *err) {
    _cleanup_free_ char *path = log_segment_path(w->id, segment, kind);
    if (!path)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = openat(w->dir_fd, path, O_RDONLY | O_CLOEXEC);
    return *out < 0 ? wlog_failed(w, "open a segment", err) : 0;
}

static int view_open(struct wlog *w, size_t segment, osmo_error_t *err) {
    struct log_view *v = &w->view;
    _cleanup_free_ uint8_t *table = NULL;
    if (v->segment == segment)
        return 0;
    log_view_close(v);
    bool sealed = w->segments[segment].sealed;
    int rc = open_kind(w, segment, sealed ? "zst" : "txt", &v->fd, err);
    if (rc == 0 && !sealed)
        rc = open_kind(w, segment, "idx", &v->idx_fd, err);
    if (rc == 0 && sealed) {
        rc = sealed_footer(v->fd, &v->sealed, err);
        if (rc == 0)
            rc = read_table(v->fd, &v->sealed, &table, err);
        if (rc == 0)
            rc = read_rows(&v->sealed, table, err);
        if (rc < 0)
            osmo_error_prefix(err, "log of workflow %s", w->id);
    }
    if (rc < 0)
        log_view_close(v);
    else
        v->segment = segment;
    return rc;
}

int wlog_tables(struct wlog *w, size_t segment, const struct sealed **out, osmo_error_t *err) {
    int rc = view_open(w, segment, err);
    *out = rc < 0 ? NULL : &w->view.sealed;
    return rc;
}

int wlog_sealed_attempts(struct wlog *w, size_t segment, struct log_attempt **out, size_t *n, osmo_error_t *err) {
    _cleanup_close_ int fd = -1;
    struct sealed s;
    *out = NULL;
    *n = 0;
    int rc = open_kind(w, segment, "zst", &fd, err);
    if (rc < 0)
        return rc;
    rc = sealed_footer(fd, &s, err);
    if (rc == 0)
        rc = sealed_attempts(fd, &s, out, err);
    *n = rc < 0 ? 0 : s.n_attempts;
    return rc < 0 ? osmo_error_prefix(err, "log of workflow %s", w->id) : 0;
}

/* Decompresses a block into *have, which is of room bytes at least. */
static int load_block(struct wlog *w, uint64_t at, size_t size, void *have, size_t len, osmo_error_t *err) {
    _cleanup_free_ char *packed = malloc(size + 1);
    if (!packed)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!fd_read_at(w->view.fd, packed, size, at))
        return wlog_failed(w, "read a segment", err);
    int rc = decompress_block(packed, size, have, len, err);
    return rc < 0 ? osmo_error_prefix(err, "log of workflow %s", w->id) : 0;
}

static size_t smaller(uint64_t a, uint64_t b) { return (size_t)(a < b ? a : b); }

static int load_text(struct wlog *w, uint32_t block, osmo_error_t *err) {
    struct log_view *v = &w->view;
    const struct sealed *s = &v->sealed;
    uint64_t left = s->segment.bytes - (uint64_t)block * s->block_bytes;
    if (v->text_block == block)
        return 0;
    if (!v->text && !(v->text = malloc(s->block_bytes)))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    v->text_block = UINT32_MAX;
    int rc = load_block(w, s->text[block].at, s->text[block].size, v->text, smaller(left, s->block_bytes), err);
    v->text_block = rc < 0 ? UINT32_MAX : block;
    return rc;
}

static int load_index(struct wlog *w, uint32_t block, osmo_error_t *err) {
    struct log_view *v = &w->view;
    const struct sealed *s = &v->sealed;
    uint64_t left = s->segment.records - (uint64_t)block * s->block_entries;
    if (v->index_block == block)
        return 0;
    if (!v->index && !(v->index = malloc((size_t)s->block_entries * LOG_PACKED_SIZE)))
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    v->index_block = UINT32_MAX;
    int rc = load_block(w, s->index[block].at, s->index[block].size, v->index,
                        smaller(left, s->block_entries) * LOG_PACKED_SIZE, err);
    v->index_block = rc < 0 ? UINT32_MAX : block;
    return rc;
}

/* ---- records and text ---- */

size_t wlog_segment_of(const struct wlog *w, uint64_t record) {
    size_t low = 0, high = w->nsegments;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(w->segments[middle].first_record <= record ? &low : &high) = middle;
    }
    return low;
}

static int sealed_records(struct wlog *w, uint64_t first, size_t want, struct log_record *out, size_t *n, osmo_error_t *err) {
    const struct sealed *s = &w->view.sealed;
    uint32_t block = (uint32_t)(first / s->block_entries), at = (uint32_t)(first % s->block_entries);
    int rc = load_index(w, block, err);
    if (rc < 0)
        return rc;
    size_t here = smaller(s->segment.records - (uint64_t)block * s->block_entries, s->block_entries);
    uint64_t offset = s->segment.first_offset + s->index[block].first_offset;
    const uint8_t *p = w->view.index;
    for (uint32_t i = 0; i < at; i++)
        offset += log_get(p + (size_t)i * LOG_PACKED_SIZE, 4);
    for (; at < here && *n < want; at++) {
        struct log_record *r = &out[(*n)++];
        *r = log_record_unpack_short(p + (size_t)at * LOG_PACKED_SIZE);
        r->offset = offset;
        offset += r->length;
    }
    return 0;
}

static int raw_records(struct wlog *w, int fd, uint64_t first, size_t want, struct log_record *out, size_t *n, osmo_error_t *err) {
    uint8_t block[LOG_BATCH * LOG_RECORD_SIZE];
    if (!fd_read_at(fd, block, want * LOG_RECORD_SIZE, first * LOG_RECORD_SIZE))
        return errno ? wlog_failed(w, "read its index", err) : wlog_damaged(w, err);
    for (size_t i = 0; i < want; i++) {
        if (!log_record_unpack(block + i * LOG_RECORD_SIZE, &out[i]))
            return wlog_damaged(w, err);
    }
    *n = want;
    return 0;
}

int wlog_records(struct wlog *w, uint64_t first, size_t max, struct log_record *out, size_t *n, osmo_error_t *err) {
    *n = 0;
    if (first >= w->records || !w->nsegments)
        return 0;
    size_t number = wlog_segment_of(w, first);
    const struct log_segment *g = &w->segments[number];
    uint64_t at = first - g->first_record;
    size_t want = smaller(g->records - at, max < LOG_BATCH ? max : LOG_BATCH);
    if (number == w->nsegments - 1 && !g->sealed)
        return raw_records(w, w->idx_fd, at, want, out, n, err);
    int rc = view_open(w, number, err);
    if (rc < 0)
        return rc;
    return g->sealed ? sealed_records(w, at, want, out, n, err) : raw_records(w, w->view.idx_fd, at, want, out, n, err);
}

static int sealed_text(struct wlog *w, uint64_t at, size_t len, char *out, osmo_error_t *err) {
    uint32_t size = w->view.sealed.block_bytes;
    while (len) {
        uint32_t block = (uint32_t)(at / size), from = (uint32_t)(at % size);
        int rc = load_text(w, block, err);
        if (rc < 0)
            return rc;
        size_t n = smaller(len, size - from);
        memcpy(out, w->view.text + from, n);
        out += n;
        at += n;
        len -= n;
    }
    return 0;
}

static size_t segment_of_offset(const struct wlog *w, uint64_t offset) {
    size_t low = 0, high = w->nsegments;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(w->segments[middle].first_offset <= offset ? &low : &high) = middle;
    }
    return low;
}

int wlog_text(struct wlog *w, uint64_t offset, uint64_t len, buf_t *out, osmo_error_t *err) {
    int rc = 0;
    if (buf_reserve(out, (size_t)len) < 0)
        return osmo_error_set(err, out->code, "log of workflow %s: an entry does not fit into the reader's "
                                              "buffer", w->id);
    while (rc == 0 && len) {
        size_t number = segment_of_offset(w, offset);
        const struct log_segment *g = &w->segments[number];
        uint64_t at = offset - g->first_offset;
        if (at >= g->bytes)
            return wlog_damaged(w, err);
        size_t n = smaller(len, g->bytes - at);
        bool writing = number == w->nsegments - 1 && !g->sealed;
        if (!writing)
            rc = view_open(w, number, err);
        if (rc == 0 && g->sealed)
            rc = sealed_text(w, at, n, out->data + out->len, err);
        else if (rc == 0 && !fd_read_at(writing ? w->text_fd : w->view.fd, out->data + out->len, n, at))
            rc = errno ? wlog_failed(w, "read its text", err) : wlog_damaged(w, err);
        if (rc == 0)
            out->len += n;
        offset += n;
        len -= n;
    }
    if (out->data)
        out->data[out->len] = '\0';
    return rc;
}
