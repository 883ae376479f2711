/* Where readers of logs in chunks begin: with marks, without them and with the last ones missing the same lines under the same numbers,
 * for lines by number and by time, of one task, an attempt and a kind, and for the last ones; and that the marks are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/str.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/logstore_pgsql.h"

#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */
#define BATCH 700
#define ENTRIES (5 * LOG_MARK_ENTRIES + 3000)

static osmo_error_t err;
static store_t *store;
static logstore_t *logs;

static int run_sql(db_t *db, void *ctx, osmo_error_t *e) { return db_exec(db, ctx, NULL, 0, NULL, e); }
static void sql(const char *text) { CHECK_OK(store_write(store, NULL, run_sql, (void *)(uintptr_t)text, &err), &err); }

static int64_t ask(const char *text) {
    _cleanup_rows_ db_rows_t *rows = NULL;
    db_t *db;
    int64_t n = -1;
    CHECK_OK(store_reader(store, &db, &err), &err);
    CHECK_OK(db_query(db, text, NULL, 0, &rows, &err), &err);
    if (rows && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    return n;
}
static int64_t marks(void) { return ask("SELECT COUNT(*) FROM log_marks"); }

/* Three tasks, one of them in its second attempt from the middle on; one entry in seven has no text, one in nine is of stderr; times that
 * sometimes go back. */
static void fill(const char *id) {
    static struct log_entry e[BATCH];
    static char text[BATCH][24];
    uint64_t seq[2][3] = { { 0 } };
    for (int at = 0, batch = 0; at < ENTRIES; batch++) {
        char task[] = { (char)('a' + batch % 3), '\0' };
        int retry = batch % 3 == 1 && at > ENTRIES / 2, n = ENTRIES - at < BATCH ? ENTRIES - at : BATCH;
        for (int i = 0; i < n; i++, at++) {
            int len = snprintf(text[i], sizeof text[i], "line %d", at);
            e[i] = (struct log_entry){ T0 + at * 1000LL - (at % 1000 == 0 ? 5000000 : 0), at % 9 ? IO_STDOUT : IO_STDERR, text[i],
                                       at % 7 ? (size_t)len : 0, ++seq[retry][batch % 3] };
            if (!e[i].len)
                e[i].type = IO_DUMP;
        }
        CHECK_OK(logstore_append(logs, id, task, retry, e, (size_t)n, &err), &err);
    }
}

/* The lines with their numbers, or the first ones of them, and how it ended. */
static char *answer(const char *id, const struct log_query *q) {
    static struct log_item items[LOG_ITEMS_MAX];
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 24), said = BUF_INIT(1 << 24);
    log_reader_t *r = NULL;
    int rc;
    CHECK_OK(logstore_reader(logs, id, q, &r, &err), &err);
    for (int reads = 0; (rc = log_reader_items(r, &out, 4096, items, &err)) > 0 && reads < 3; reads++) {
        for (int i = 0; i < rc; i++)
            buf_printf(&said, "%llu %s/%d %d\n", (unsigned long long)items[i].line, items[i].task, (int)items[i].retry_id,
                       (int)items[i].type);
    }
    buf_printf(&said, "%d\n%s", rc > 0, buf_cstr(&out));
    log_reader_free(r);
    return str_dup(buf_cstr(&said));
}

static const struct log_query queries[] = {
    { .retry_id = -1, .task = "a", .from_line = 2 },
    { .retry_id = -1, .task = "a", .from_line = 9000 },
    { .retry_id = -1, .task = "b", .from_line = 20000 },
    { .retry_id = 1, .task = "b", .from_line = 5000 },
    { .retry_id = 1, .from_line = 700 },
    { .retry_id = -1, .kinds = 1u << IO_STDERR, .from_line = 7000 },
    { .retry_id = -1, .kinds = 1u << IO_STDERR, .task = "c", .from_line = 2500 },
    { .retry_id = -1, .task = "c", .from_line = 10000000 },
    { .retry_id = -1, .task = "nobody", .from_line = 40 },
    { .retry_id = -1, .since_us = T0 + 60000000 },
    { .retry_id = -1, .since_us = T0 + 100 },
    { .retry_id = -1, .task = "b", .since_us = T0 + 70000000, .from_line = 3 },
    { .retry_id = -1, .task = "b", .since_us = T0 + 10000000, .from_line = 21000 },
    { .retry_id = -1, .since_us = T0 + 900000000 },
    { .retry_id = -1, .task = "b", .last_n = 10, .numbered = true },
    { .retry_id = -1, .last_n = 25000, .numbered = true },
};

static void compare(const char *what, const char *id, char *const want[]) {
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        _cleanup_free_ char *got = answer(id, &queries[i]);
        if (strcmp(got, want[i]) != 0)
            fprintf(stderr, "%s, query %zu: %.300s\ninstead of %.300s\n", what, i, got, want[i]);
        CHECK(strcmp(got, want[i]) == 0);
    }
}

static void the_same_lines(void) {
    char *want[ARRAY_SIZE(queries)];
    fill("w");
    CHECK_INT(marks(), 5);
    CHECK_INT(ask("SELECT MAX(entry) FROM log_marks"), 5 * LOG_MARK_ENTRIES);
    sql("CREATE TABLE aside AS SELECT * FROM log_marks");
    sql("DELETE FROM log_marks");
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
        want[i] = answer("w", &queries[i]);
    CHECK(strstr(want[1], "9000 a/0 ") == want[1]);
    sql("INSERT INTO log_marks SELECT * FROM aside");
    compare("with marks", "w", want);
    sql("DELETE FROM log_marks WHERE entry > 40000");
    compare("with two of five", "w", want);
    sql("INSERT INTO log_marks SELECT * FROM aside ON CONFLICT DO NOTHING");
    CHECK_INT(logstore_end(logs, "w", &err), 0);
    compare("when the chunks are merged", "w", want);
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
        free(want[i]);
}

/* What is before the mark is gone, and nobody misses it. */
static void marks_are_used(void) {
    static const struct log_query q = { .retry_id = -1, .task = "a", .from_line = 15000 };
    static const struct log_query since = { .retry_id = -1, .since_us = T0 + 60000000 };
    _cleanup_free_ char *want = answer("w", &q), *late = answer("w", &since);
    sql("DELETE FROM log_chunks WHERE end_entry <= 15000");
    _cleanup_free_ char *got = answer("w", &q), *got_late = answer("w", &since);
    CHECK_STR(got, want);
    CHECK_STR(got_late, late);
}

/* What a service has left out the next one makes; of a log that is gone nothing is left. */
static void made_later(void) {
    static const struct log_entry e = { T0, IO_STDOUT, "x", 1, 0 };
    sql("DELETE FROM log_marks");
    CHECK_INT(logstore_remove(logs, "w", &err), 0);
    fill("w");
    CHECK_INT(marks(), 5);
    sql("DELETE FROM log_marks WHERE entry > 20000");
    for (int i = 0; i < LOG_MARK_ENTRIES - 3000 && marks() < 6; i += 64) {
        struct log_entry more[64];
        for (int k = 0; k < 64; k++)
            more[k] = e;
        CHECK_OK(logstore_append(logs, "w", "d", 0, more, 64, &err), &err);
    }
    CHECK_INT(marks(), 6);
    CHECK_INT(ask("SELECT COUNT(*) FROM log_marks m JOIN aside a ON a.entry = m.entry AND a.text_offset = m.text_offset"
                  " AND a.latest_us = m.latest_us AND a.tallies = m.tallies"), 5);
    CHECK_INT(logstore_remove(logs, "w", &err), 0);
    CHECK_INT(marks(), 0);
}

static void on_chunks(void (*test)(void)) {
    static char *url;
    if (!url)
        url = pgsql_fixture_url();
    struct store_options o = { .url = url };
    if (!url)
        return;
    CHECK_OK(store_open(&o, &store, &err), &err);
    CHECK_OK(logstore_open_pgsql(store, NULL, NULL, &logs, &err), &err);
    test();
    logstore_close(logs);
    store_close(store);
}
static void the_same_lines_(void) { on_chunks(the_same_lines); }
static void marks_are_used_(void) { on_chunks(marks_are_used); }
static void made_later_(void) { on_chunks(made_later); }

static const struct check_test tests[] = {
    { "the same lines with marks and without", the_same_lines_ },
    { "marks are used", marks_are_used_ },
    { "made later, and gone with the log", made_later_ },
};
TEST_MAIN("logstore_marks", tests)
