/* Fuzz entry: what the logger reads and writes without a socket. The first byte chooses: a batch of entries, which must say what
 * the tree of the same text says; lines that leave as server-sent events and as JSON, which must come back; the file of a sealed
 * segment, with checksums that are right, which may say anything. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "engine/logs_batch.h"
#include "engine/logs_emit.h"
#include "store/logstore_file.h"

#define NOW 1772357400000000LL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good)
        abort();
}

/* ---- batches ---- */

/* Keys that stand twice are the tree's last ones, and ours the last as well. */
static void same_entry(const struct log_entry *e, const json_t *item) {
    size_t len = 0;
    int64_t us;
    const char *text = json_bytes(json_get(item, "Text"), &len), *time = json_get_str(item, "Time");
    require(e->type == io_type_parse(json_get_str(item, "IOType") ? json_get_str(item, "IOType") : ""));
    require(e->len == (text ? len : 0) && (!text || memcmp(e->text, text, len) == 0));
    require((int64_t)e->seq == json_get_int(item, "seq", 0));
    if (time && strlen(time) < 60 && time_parse(time, &us) && us)
        require(e->time_us == us);
}

static void batch(const char *text, size_t len) {
    static const char beginning[] = "{\"IOType\":\"LOG_BATCH\",\"entries\":[";
    buf_t frame = BUF_INIT(1u << 20);
    struct log_batch b;
    json_t *tree = NULL;
    buf_puts(&frame, beginning);
    buf_append(&frame, text, len);
    require(batch_is_one(frame.data, frame.len) == (len > 0));
    if (batch_read(frame.data, frame.len, NOW, &b, NULL) == 0) {
        /* what is passed over is looked at less strictly than a tree looks */
        if (json_parse(frame.data, frame.len, &tree, NULL) == 0 && json_len(json_get(tree, "entries")) == b.n) {
            for (size_t i = 0; i < b.n; i++)
                same_entry(&b.entries[i], json_at(json_get(tree, "entries"), i));
        }
        json_free(tree);
        batch_clear(&b);
    }
    buf_free(&frame);
}

/* ---- lines ---- */

/* What a browser makes of the data fields of one event. */
static void read_event(const char *p, const char *end, buf_t *out) {
    bool first = true;
    while (p < end && *p != '\n') {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        require(nl != NULL);
        if (strncmp(p, "data: ", 6) == 0) {
            buf_puts(out, first ? "" : "\n");
            buf_append(out, p + 6, (size_t)(nl - p) - 6);
            first = false;
        } else {
            require(strncmp(p, "id: 7\n", 6) == 0);
        }
        p = nl + 1;
    }
    require(p + 1 == end && *p == '\n');
}

static void lines(const char *text, size_t len) {
    struct line_emit sse = { .format = LINES_SSE }, json = { .format = LINES_JSON };
    buf_t out = BUF_INIT(1u << 22), back = BUF_INIT(1u << 22), want = BUF_INIT(1u << 22), line = BUF_INIT(1u << 22);
    json_t *o = NULL;
    buf_append(&line, text, len);
    buf_putc(&line, '\n');
    emit_line(&sse, 7, line.data, line.len, &out);
    require(!buf_failed(&out));
    read_event(out.data, out.data + out.len, &back);
    for (size_t i = 0; i < len; i++) { /* every end of a line is one newline there */
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            i++;
        buf_putc(&want, text[i] == '\r' ? '\n' : text[i]);
    }
    require(back.len == want.len && memcmp(buf_cstr(&back), buf_cstr(&want), back.len) == 0);
    if (utf8_valid(text, len)) {
        size_t n;
        buf_reset(&out);
        emit_line(&json, 7, line.data, line.len, &out);
        require(out.data[out.len - 1] == '\n' && json_parse(out.data, out.len - 1, &o, NULL) == 0 && json_get_int(o, "line", 0) == 7);
        const char *got = json_bytes(json_get(o, "text"), &n);
        require(got && n == line.len && memcmp(got, line.data, n) == 0);
        json_free(o);
    }
    buf_free(&out);
    buf_free(&back);
    buf_free(&want);
    buf_free(&line);
}

/* ---- segments ---- */

static char dir[64];

static void clean(void) { dir_remove_tree(dir, NULL); }

static const char *folder(void) {
    if (!dir[0]) {
        strcpy(dir, "/tmp/osmo-fuzz-XXXXXX");
        require(mkdtemp(dir) != NULL);
        atexit(clean);
    }
    return dir;
}

/* So that what stands behind them is looked at. */
static void right_checksums(uint8_t *file, size_t size) {
    if (size < SEALED_FOOTER)
        return;
    uint8_t *footer = file + size - SEALED_FOOTER;
    uint64_t table = log_get(footer + 24, 8);
    if (table < size - SEALED_FOOTER)
        log_put(footer + 136, log_checksum(file + table, size - SEALED_FOOTER - (size_t)table), 4);
    memcpy(footer, SEALED_MAGIC, 8);
    log_put(footer + SEALED_FOOTER - 4, log_checksum(footer, SEALED_FOOTER - 4), 4);
}

static void read_all(logstore_t *s, const struct log_query *q) {
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1u << 20);
    static struct log_item items[LOG_ITEMS_MAX];
    int rc = logstore_reader(s, "w-1", q, &r, NULL);
    for (int i = 0; rc >= 0 && i < 100 && (rc = log_reader_items(r, &out, 4096, items, NULL)) > 0; i++)
        buf_reset(&out);
    log_reader_free(r);
    buf_free(&out);
}

static void segment(const uint8_t *data, size_t size) {
    static const struct log_query queries[] = { { .retry_id = -1 }, { .retry_id = -1, .last_n = 3 }, { .retry_id = -1, .from_line = 2 },
                                                { .retry_id = 0, .task = "a", .from_line = 2 }, { .retry_id = -1, .since_us = NOW } };
    char path[128];
    logstore_t *s = NULL;
    uint8_t *file = malloc(size + 1);
    require(file != NULL);
    memcpy(file, data, size);
    right_checksums(file, size);
    snprintf(path, sizeof path, "%s/w-1", folder());
    dir_remove_tree(path, NULL);
    require(dir_make(path, 0700, NULL) == 0);
    snprintf(path, sizeof path, "%s/w-1/workflow_logs.zst", dir);
    require(file_write_new(path, file, size, 0600, NULL) == 0);
    snprintf(path, sizeof path, "%s/w-1/workflow_logs.tasks", dir);
    require(file_write_new(path, "a\nb\n", 4, 0600, NULL) == 0);
    free(file);
    require(logstore_open(dir, NULL, NULL, &s, NULL) == 0);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        read_all(s, &queries[i]);
    struct log_entry e = { NOW, IO_STDOUT, "more", 4, 1000 };
    (void)logstore_append(s, "w-1", "a", 0, &e, 1, NULL);
    read_all(s, &queries[0]);
    logstore_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size && data[0] % 4 == 0)
        lines((const char *)data + 1, size - 1);
    else if (size && data[0] % 4 == 1)
        segment(data + 1, size - 1);
    else if (size)
        batch((const char *)data + 1, size - 1);
    return 0;
}
