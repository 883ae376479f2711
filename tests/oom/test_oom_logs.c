/* Every allocation of the log store, of reading batches and of writing lines out fails once, alone and with all behind it: the answer
 * is an error, or the same as otherwise. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "engine/logs_batch.h"
#include "engine/logs_emit.h"
#include "failing_alloc.h"
#include "store/logstore_file.h"

#define T0 1772357400000000LL
#define LINES 90

static char dir[64];
static const struct log_limits small = { .bytes = 1500, .entries = 30, .seal_from = 100, .block_bytes = 600, .block_entries = 8 };

static void fresh(void) {
    if (dir[0])
        dir_remove_tree(dir, NULL);
    strcpy(dir, "/tmp/osmo-oom-XXXXXX");
    REQUIRE(mkdtemp(dir) != NULL);
}

static int write_lines(logstore_t *s, int from, int to, osmo_error_t *err) {
    int rc = 0;
    for (int i = from; rc >= 0 && i < to; i++) {
        char text[40];
        snprintf(text, sizeof text, "line %d", i);
        struct log_entry e = { T0 + i * 300000LL, i % 5 ? IO_STDOUT : IO_STDERR, text, strlen(text), (uint64_t)i + 1 };
        rc = logstore_append(s, "w-1", i / 10 % 2 ? "a" : "b", 0, &e, 1, err);
    }
    return rc;
}

static int read_lines(logstore_t *s, const struct log_query *q, buf_t *out, osmo_error_t *err) {
    static struct log_item items[LOG_ITEMS_MAX];
    log_reader_t *r = NULL;
    int rc = logstore_reader(s, "w-1", q, &r, err);
    while (rc >= 0 && (rc = log_reader_items(r, out, 700, items, err)) > 0)
        buf_printf(out, "%d to %llu\n", rc, (unsigned long long)items[rc - 1].line);
    log_reader_free(r);
    return rc == OSMO_EGONE ? 0 : rc;
}

static const struct log_query queries[] = {
    { .retry_id = -1 }, { .retry_id = -1, .from_line = 50 }, { .retry_id = 0, .task = "a", .from_line = 20 },
    { .retry_id = -1, .since_us = T0 + 20000000 }, { .retry_id = -1, .last_n = 40 },
};

static int read_all(logstore_t *s, buf_t *out, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(queries); i++)
        rc = read_lines(s, &queries[i], out, err);
    return rc < 0 ? rc : out->code;
}

/* ---- scenarios ---- */

typedef int scenario_fn(buf_t *out, osmo_error_t *err);

static int write_and_seal(buf_t *out, osmo_error_t *err) {
    logstore_t *s = NULL;
    fresh();
    int rc = logstore_open(dir, NULL, NULL, &s, err);
    if (s)
        log_files_set_limits(s, &small);
    for (int i = 0; rc >= 0 && i < LINES; i += 30) {
        rc = write_lines(s, i, i + 30, err);
        log_files_set_limits(s, NULL);
    }
    if (rc >= 0)
        rc = logstore_end(s, "w-1", err);
    if (rc >= 0)
        rc = read_all(s, out, err);
    logstore_close(s);
    return rc;
}

/* What another life of the store finds: sealed segments, and some that are not. */
static int load_and_read(buf_t *out, osmo_error_t *err) {
    logstore_t *s = NULL;
    int rc = logstore_open(dir, NULL, NULL, &s, err);
    if (rc >= 0)
        rc = read_all(s, out, err);
    logstore_close(s);
    return rc;
}

static int batches_and_lines(buf_t *out, osmo_error_t *err) {
    static const char frame[] = "{\"IOType\":\"LOG_BATCH\",\"entries\":["
                                "{\"seq\":1,\"Time\":\"2026-03-01T09:30:00.5Z\",\"IOType\":\"STDOUT\",\"Text\":\"a\\tb\"},"
                                "{\"seq\":2,\"IOType\":\"STDERR\",\"Text\":\"c\"}]}";
    struct line_options o = { .format = LINES_JSON, .regex = "[abc]", .grep = "." };
    struct line_emit emit;
    struct log_batch b;
    int rc = batch_read(frame, sizeof frame - 1, T0, &b, err);
    if (rc < 0)
        return rc;
    rc = emit_open(&emit, &o, err);
    for (size_t i = 0; rc >= 0 && i < b.n; i++)
        emit_line(&emit, i + 1, b.entries[i].text, b.entries[i].len, out);
    emit_close(&emit);
    batch_clear(&b);
    return rc < 0 ? rc : out->code;
}

/* ---- each allocation ---- */

static void fail_each(scenario_fn *run, bool onwards) {
    buf_t want = BUF_INIT(1u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(run(&want, &err), &err);
    size_t n = 1, quiet = 0;
    for (bool failed = true; failed && n < 20000; n += n < 120 ? 1 : n / 12) {
        buf_t got = BUF_INIT(1u << 20);
        alloc_fail_at(n, onwards);
        int rc = run(&got, &err);
        failed = alloc_failed();
        alloc_fail_at(0, false);
        if (rc >= 0 && !buf_failed(&got) && (got.len != want.len || memcmp(buf_cstr(&got), buf_cstr(&want), got.len)))
            quiet++;
        buf_free(&got);
    }
    CHECK_INT(quiet, 0);
    CHECK(n > 5);
    buf_free(&want);
}

static void writing(void) {
    fail_each(write_and_seal, false);
    fail_each(write_and_seal, true);
}

static void loading(void) {
    buf_t whole = BUF_INIT(1u << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    logstore_t *s = NULL;
    fresh();
    CHECK_OK(logstore_open(dir, NULL, NULL, &s, &err), &err);
    log_files_set_limits(s, &small);
    CHECK_OK(write_lines(s, 0, LINES, &err), &err);
    log_files_set_limits(s, NULL);
    logstore_close(s);
    fail_each(load_and_read, false);
    fail_each(load_and_read, true);
    buf_free(&whole);
}

static void lines(void) {
    fail_each(batches_and_lines, false);
    fail_each(batches_and_lines, true);
}

static void cleaning_up(void) { dir_remove_tree(dir, NULL); }

static const struct check_test tests[] = {
    { "writing and sealing", writing }, { "loading", loading }, { "batches and lines", lines }, { "cleaning up", cleaning_up },
};
TEST_MAIN("no memory for logs", tests)
