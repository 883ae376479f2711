/* Making a sealed segment of the two files of one that does not change any more. It is written under a name of its own, flushed, and put in
 * place by renaming, so that whatever a crash leaves is either the old files, or both, or the new one. See logstore_segment.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "store/compress.h"
#include "store/logstore_file.h"

#define WRITE_STEP (1u << 20)
#define OUT_MAX ((64u << 20) * 2)
#define TABLE_MAX (1u << 30)

struct sealing {
    const struct seal_job *j;
    struct compressor *compressor;
    int text_fd, idx_fd, out_fd;
    buf_t out;                   /* not yet written, up to out_at */
    uint64_t out_at, text_at;    /* bytes of the file; text that the records so far cover */
    buf_t text_rows, index_rows;
    struct sealed s;
    uint64_t lines[LOG_KINDS];   /* of the records so far */
    int64_t latest_us;
    map_t *by_key;               /* "task/retry" → number + 1 */
    struct log_attempt *attempts;
    size_t nattempts, cap, last; /* last: the one of the record before, + 1 */
};

static int failed(const struct sealing *z, const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: cannot %s: %s", z->j->id, what,
                          errno ? strerror(errno) : "it is too short");
}

static int damaged(const struct sealing *z, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "log of workflow %s: its index is damaged", z->j->id);
}

static int no_memory_for(const struct sealing *z, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_ENOMEM, "log of workflow %s: out of memory", z->j->id);
}

static int flush(struct sealing *z, size_t from, osmo_error_t *err) {
    if (z->out.len < from)
        return 0;
    if (fd_write_at(z->out_fd, z->out.data, z->out.len, z->out_at) < 0)
        return failed(z, "write a sealed segment", err);
    z->out_at += z->out.len;
    buf_reset(&z->out);
    return 0;
}

static void put(buf_t *b, uint64_t v, int bytes) {
    uint8_t raw[8];
    log_put(raw, v, 8);
    buf_append(b, raw, (size_t)bytes);
}

/* ---- attempts ---- */

static int attempt_of(struct sealing *z, uint32_t task, int64_t retry, struct log_attempt **out) {
    char key[48];
    if (z->last && z->attempts[z->last - 1].task == task && z->attempts[z->last - 1].retry == retry) {
        *out = &z->attempts[z->last - 1];
        return 0;
    }
    snprintf(key, sizeof key, "%u/%lld", task, (long long)retry);
    z->last = (size_t)(uintptr_t)map_get(z->by_key, key);
    if (!z->last) {
        if (z->nattempts == z->cap) {
            size_t cap = z->cap ? z->cap * 2 : 64;
            struct log_attempt *bigger = realloc(z->attempts, cap * sizeof *bigger);
            if (!bigger)
                return OSMO_ENOMEM;
            z->attempts = bigger;
            z->cap = cap;
        }
        if (map_set(z->by_key, key, (void *)(uintptr_t)(z->nattempts + 1)) < 0)
            return OSMO_ENOMEM;
        z->attempts[z->nattempts++] = (struct log_attempt){ .task = task, .retry = retry };
        z->last = z->nattempts;
    }
    *out = &z->attempts[z->last - 1];
    return 0;
}

/* Those of the segments before. */
static int load_before(struct sealing *z, osmo_error_t *err) {
    const struct seal_job *j = z->j;
    _cleanup_free_ char *path = j->number ? log_segment_path(j->id, j->number - 1, "zst") : NULL;
    _cleanup_free_ struct log_attempt *list = NULL;
    struct sealed s;
    if (!j->number)
        return 0;
    if (!path)
        return no_memory_for(z, err);
    _cleanup_close_ int fd = openat(j->dir_fd, path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? failed(z, "open the segment before", err) : sealed_footer(fd, &s, err);
    if (rc == 0)
        rc = sealed_attempts(fd, &s, &list, err);
    for (uint32_t i = 0; rc == 0 && i < s.n_attempts; i++) {
        struct log_attempt *a;
        if (attempt_of(z, list[i].task, list[i].retry, &a) < 0)
            return no_memory_for(z, err);
        *a = list[i];
    }
    return rc;
}

/* ---- blocks ---- */

static int cancelled(const struct sealing *z, osmo_error_t *err) {
    return atomic_load(z->j->cancelled) ? osmo_error_set(err, OSMO_EBUSY, "log of workflow %s: left alone", z->j->id) : 0;
}

static int add_block(struct sealing *z, const void *data, size_t len, uint32_t *size, osmo_error_t *err) {
    size_t before = z->out.len;
    int rc = compress_block(z->compressor, data, len, &z->out, err);
    *size = (uint32_t)(z->out.len - before);
    return rc < 0 ? rc : flush(z, WRITE_STEP, err);
}

static int seal_text(struct sealing *z, osmo_error_t *err) {
    const struct log_segment *g = &z->j->segment;
    uint32_t block = z->s.block_bytes, size = 0;
    _cleanup_free_ char *text = malloc(block);
    if (!text)
        return no_memory_for(z, err);
    for (uint64_t at = 0; at < g->bytes; at += block) {
        size_t len = g->bytes - at < block ? (size_t)(g->bytes - at) : block;
        int rc = cancelled(z, err);
        if (rc == 0 && !fd_read_at(z->text_fd, text, len, at))
            rc = failed(z, "read its text", err);
        if (rc == 0)
            rc = add_block(z, text, len, &size, err);
        if (rc < 0)
            return rc;
        put(&z->text_rows, size, 4);
        z->s.n_text++;
    }
    return 0;
}

static int seal_record(struct sealing *z, const struct log_record *r) {
    struct log_attempt *a;
    if (attempt_of(z, r->task, r->retry, &a) < 0)
        return OSMO_ENOMEM;
    if (r->seq > a->seq)
        a->seq = r->seq;
    if (r->length && r->type < LOG_KINDS) {
        a->lines[r->type]++;
        z->lines[r->type]++;
    }
    if (r->time_us > z->latest_us)
        z->latest_us = r->time_us;
    z->text_at += r->length;
    return 0;
}

static void index_row(struct sealing *z, const uint64_t lines[LOG_KINDS], uint64_t first_offset, uint32_t size) {
    put(&z->index_rows, size, 4);
    put(&z->index_rows, first_offset, 8);
    put(&z->index_rows, (uint64_t)z->latest_us, 8);
    for (int k = 0; k < LOG_KINDS; k++)
        put(&z->index_rows, lines[k], 4);
    z->s.n_index++;
}

static int seal_records(struct sealing *z, uint64_t first, size_t n, uint8_t *raw, uint8_t *packed, osmo_error_t *err) {
    uint64_t lines[LOG_KINDS], offset = z->text_at;
    uint32_t size = 0;
    memcpy(lines, z->lines, sizeof lines);
    if (!fd_read_at(z->idx_fd, raw, n * LOG_RECORD_SIZE, first * LOG_RECORD_SIZE))
        return failed(z, "read its index", err);
    for (size_t i = 0; i < n; i++) {
        struct log_record r;
        if (!log_record_unpack(raw + i * LOG_RECORD_SIZE, &r) || r.offset != z->j->segment.first_offset + z->text_at)
            return damaged(z, err);
        if (seal_record(z, &r) < 0)
            return no_memory_for(z, err);
        log_record_pack_short(&r, packed + i * LOG_PACKED_SIZE);
    }
    int rc = add_block(z, packed, n * LOG_PACKED_SIZE, &size, err);
    if (rc == 0)
        index_row(z, lines, offset, size);
    return rc;
}

static int seal_index(struct sealing *z, osmo_error_t *err) {
    uint64_t records = z->j->segment.records;
    uint32_t block = z->s.block_entries;
    _cleanup_free_ uint8_t *raw = malloc((size_t)block * LOG_RECORD_SIZE);
    _cleanup_free_ uint8_t *packed = malloc((size_t)block * LOG_PACKED_SIZE);
    int rc = raw && packed ? 0 : no_memory_for(z, err);
    for (uint64_t at = 0; rc == 0 && at < records; at += block) {
        rc = cancelled(z, err);
        if (rc == 0)
            rc = seal_records(z, at, records - at < block ? (size_t)(records - at) : block, raw, packed, err);
    }
    return rc == 0 && z->text_at != z->j->segment.bytes ? damaged(z, err) : rc;
}

/* ---- table, footer ---- */

static int seal_end(struct sealing *z, osmo_error_t *err) {
    _cleanup_buf_ buf_t table = BUF_INIT(TABLE_MAX);
    uint8_t footer[SEALED_FOOTER];
    buf_append(&table, buf_cstr(&z->text_rows), z->text_rows.len);
    buf_append(&table, buf_cstr(&z->index_rows), z->index_rows.len);
    for (size_t i = 0; i < z->nattempts; i++) {
        const struct log_attempt *a = &z->attempts[i];
        put(&table, a->task, 4);
        put(&table, (uint64_t)a->retry, 4);
        put(&table, a->seq, 8);
        for (int k = 0; k < LOG_KINDS; k++)
            put(&table, a->lines[k], 8);
    }
    int rc = buf_failed(&table) || buf_failed(&z->text_rows) || buf_failed(&z->index_rows) ? no_memory_for(z, err)
                                                                                           : flush(z, 1, err);
    if (rc < 0)
        return rc;
    z->s.table_at = z->out_at;
    z->s.table_sum = log_checksum((const uint8_t *)buf_cstr(&table), table.len);
    z->s.n_attempts = (uint32_t)z->nattempts;
    memcpy(z->s.segment.lines, z->lines, sizeof z->lines);
    z->s.segment.latest_us = z->latest_us;
    sealed_footer_pack(&z->s, footer);
    if (fd_write_at(z->out_fd, table.data, table.len, z->out_at) < 0 ||
        fd_write_at(z->out_fd, footer, sizeof footer, z->out_at + table.len) < 0 || fsync(z->out_fd) != 0)
        return failed(z, "write a sealed segment", err);
    return 0;
}

static int seal_files(struct sealing *z, osmo_error_t *err) {
    int rc = buf_append(&z->out, SEALED_MAGIC "\0\0\0\0\0\0\0\0", SEALED_HEADER) < 0 ? no_memory_for(z, err) : load_before(z, err);
    if (rc == 0)
        rc = seal_text(z, err);
    if (rc == 0)
        rc = seal_index(z, err);
    return rc == 0 ? seal_end(z, err) : rc;
}

static char *new_path(const struct seal_job *j) { return str_printf("%s/workflow_logs.seal.tmp", j->id); }

static int open_one(const struct sealing *z, const char *path, int flags, int *fd, osmo_error_t *err) {
    if (!path)
        return no_memory_for(z, err);
    *fd = openat(z->j->dir_fd, path, flags | O_CLOEXEC, 0600);
    return *fd < 0 ? failed(z, "open its files", err) : 0;
}

static int open_all(struct sealing *z, osmo_error_t *err) {
    const struct seal_job *j = z->j;
    _cleanup_free_ char *text = log_segment_path(j->id, j->number, "txt");
    _cleanup_free_ char *idx = log_segment_path(j->id, j->number, "idx");
    _cleanup_free_ char *new = new_path(j);
    int rc = open_one(z, text, O_RDONLY, &z->text_fd, err);
    if (rc == 0)
        rc = open_one(z, idx, O_RDONLY, &z->idx_fd, err);
    return rc == 0 ? open_one(z, new, O_RDWR | O_CREAT | O_TRUNC, &z->out_fd, err) : rc;
}

static void clear(struct sealing *z) {
    const int fds[] = { z->text_fd, z->idx_fd, z->out_fd };
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    compressor_free(z->compressor);
    map_free(z->by_key);
    free(z->attempts);
    buf_free(&z->out);
    buf_free(&z->text_rows);
    buf_free(&z->index_rows);
}

int seal_write(const struct seal_job *j, osmo_error_t *err) {
    struct sealing z = { .j = j, .compressor = compressor_new(), .text_fd = -1, .idx_fd = -1, .out_fd = -1,
                         .out = BUF_INIT(OUT_MAX), .text_rows = BUF_INIT(TABLE_MAX), .index_rows = BUF_INIT(TABLE_MAX),
                         .by_key = map_new(NULL), .latest_us = INT64_MIN,
                         .s = { .segment = j->segment, .ended = j->ended, .block_bytes = j->limits.block_bytes,
                                .block_entries = j->limits.block_entries } };
    int rc = z.compressor && z.by_key ? open_all(&z, err) : no_memory_for(&z, err);
    if (rc == 0)
        rc = seal_files(&z, err);
    clear(&z);
    if (rc < 0) {
        _cleanup_free_ char *path = new_path(j);
        if (path)
            (void)unlinkat(j->dir_fd, path, 0);
    }
    return rc;
}

/* The name is durable before the old ones go. */
int seal_install(struct wlog *w, const struct seal_job *j, osmo_error_t *err) {
    static const char *const kinds[] = { "txt", "idx" };
    struct log_segment *g = &w->segments[j->number];
    _cleanup_free_ char *from = new_path(j);
    _cleanup_free_ char *to = log_segment_path(j->id, j->number, "zst");
    if (!from || !to)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (renameat(w->dir_fd, from, w->dir_fd, to) != 0)
        return wlog_failed(w, "put a sealed segment in place", err);
    _cleanup_close_ int dir = openat(w->dir_fd, j->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wlog_close_files(w);
    g->sealed = true;
    if (dir < 0 || fsync(dir) != 0)
        return 0; /* the old files stay for the next loading */
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *path = log_segment_path(j->id, j->number, kinds[i]);
        if (path)
            (void)unlinkat(w->dir_fd, path, 0);
    }
    return 0;
}
