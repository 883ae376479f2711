/* How long it takes to come to line N of a log of ten million, in segments that are compressed but for the last ones: of all lines,
 * of one task's among fifty, of stderr. Medians of readers that begin anew, as every request does. For logs.sh: what, figure, aim,
 * by tabs.
 *   logseek [LINES [DATABASE]]
 * With a PostgreSQL database the same in chunks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/logstore_file.h"

#define TASKS 50
#define BATCH 500
#define ROUNDS 101

static void die(const char *what, const osmo_error_t *err) {
    fprintf(stderr, "logseek: %s: %s\n", what, err->text);
    exit(1);
}

static void fill(logstore_t *logs, uint64_t lines) {
    static struct log_entry e[BATCH];
    static char text[BATCH][200];
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t seq[TASKS] = { 0 };
    for (uint64_t n = 0; n < lines; n += BATCH) {
        char task[16];
        unsigned who = (unsigned)(n / BATCH * 7 % TASKS);
        snprintf(task, sizeof task, "task-%u", who);
        for (unsigned i = 0; i < BATCH; i++) {
            unsigned h = (unsigned)((n + i) * 2654435761u);
            int len = snprintf(text[i], sizeof text[i], "step %010llu loss %u.%06u lr %.6f tokens/s %7u gpu %2u%% shard-%05u %064u",
                               (unsigned long long)(n + i), h % 7, h / 7 % 1000000, (double)(h % 9973) / 1e6, 40000 + h % 20000,
                               60 + h % 40, h % 65536, h);
            e[i] = (struct log_entry){ (int64_t)(1772357400000000LL + (int64_t)(n + i) * 100), i % 10 ? IO_STDOUT : IO_STDERR, text[i],
                                       (size_t)(len < 128 ? len : 128), ++seq[who] };
        }
        if (logstore_append(logs, "w-1", task, 0, e, BATCH, &err) < 0)
            die("append", &err);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void seek(logstore_t *logs, const char *what, struct log_query q, uint64_t lines, const char *aim) {
    static double took[ROUNDS];
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t at = 12345;
    for (int i = 0; i < ROUNDS; i++) {
        buf_t out = BUF_INIT(1u << 20);
        log_reader_t *r;
        at = at * 6364136223846793005u + 1442695040888963407u;
        q.from_line = (at >> 11) % lines + 1;
        int64_t from = clock_mono_us();
        if (logstore_reader(logs, "w-1", &q, &r, &err) < 0 || log_reader_read(r, &out, 4096, &err) <= 0)
            die(what, &err);
        took[i] = (double)(clock_mono_us() - from) / 1e3;
        log_reader_free(r);
        buf_free(&out);
    }
    qsort(took, ROUNDS, sizeof took[0], by_value);
    printf("%s: median, worst of %d (ms)\t%.2f, %.2f\t%s\n", what, ROUNDS, took[ROUNDS / 2], took[ROUNDS - 1], aim);
}

static int chunks(const char *database, uint64_t lines) {
    struct store_options o = { .url = database };
    osmo_error_t err = OSMO_ERROR_INIT;
    store_t *store = NULL;
    logstore_t *logs = NULL;
    if (store_open(&o, &store, &err) < 0 || logstore_open_pgsql(store, NULL, NULL, &logs, &err) < 0)
        die("open", &err);
    fill(logs, lines);
    seek(logs, "chunks: line N of all", (struct log_query){ .retry_id = -1 }, lines, "< 10");
    seek(logs, "chunks: line N of one of 50 tasks", (struct log_query){ .retry_id = 0, .task = "task-7" }, lines / TASKS, "< 10");
    seek(logs, "chunks: line N of stderr", (struct log_query){ .retry_id = -1, .kinds = 1u << IO_STDERR }, lines / 10, "< 10");
    logstore_close(logs);
    store_close(store);
    return 0;
}

int main(int argc, char **argv) {
    uint64_t lines = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    osmo_error_t err = OSMO_ERROR_INIT;
    logstore_t *logs = NULL;
    char dir[] = "/tmp/osmo-bench-XXXXXX";
    lines -= lines % ((uint64_t)BATCH * TASKS);
    if (!mkdtemp(dir) || logstore_open(dir, NULL, NULL, &logs, &err) < 0)
        die("open", &err);
    int64_t from = clock_mono_us();
    fill(logs, lines);
    double took = (double)(clock_mono_us() - from) / 1e6;
    printf("the log store alone, batches of %d lines (lines per s)\t%.0f\t\n", BATCH, (double)lines / took);
    log_files_set_limits(logs, NULL);
    seek(logs, "line N of all", (struct log_query){ .retry_id = -1 }, lines, "< 10");
    seek(logs, "line N of one of 50 tasks", (struct log_query){ .retry_id = 0, .task = "task-7" }, lines / TASKS, "< 10");
    seek(logs, "line N of stderr", (struct log_query){ .retry_id = -1, .kinds = 1u << IO_STDERR }, lines / 10, "< 10");
    logstore_close(logs);
    from = clock_mono_us();
    if (logstore_open(dir, NULL, NULL, &logs, &err) < 0)
        die("open", &err);
    seek(logs, "line N of one of 50 tasks, at first", (struct log_query){ .retry_id = 0, .task = "task-7" }, lines / TASKS, "");
    printf("the same with opening the store (ms)\t%.2f\t\n", (double)(clock_mono_us() - from) / 1e3);
    logstore_close(logs);
    dir_remove_tree(dir, NULL);
    return argc > 2 ? chunks(argv[2], lines) : 0;
}
