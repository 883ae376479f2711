/* Lines appended and read back by the log store.
 *   logstore [SECONDS [DATABASE]]
 * Segments in a temporary directory, and chunks when a PostgreSQL database is given: lines of 80 bytes appended to one
 * workflow's log by 1 and 16 tasks in batches of 1, 100 and 1,000 lines for SECONDS (default 3) each; then the log that
 * the batches of one line made and the one that the largest made are read back, whole and by the last 1,000 lines. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "store/logstore.h"

#define LINE_BYTES 80
#define BATCH_MAX 1000
#define TASKS_MAX 16
#define READ_STEP (64u << 10)
#define LAST_ROUNDS 50

struct job {
    logstore_t *logs;
    const char *id;
    unsigned task;
    size_t batch, lines;
    int64_t until_us;
};

static void die(const char *what, const osmo_error_t *err) {
    fprintf(stderr, "logstore: %s: %s\n", what, err->text);
    exit(1);
}

/* What a training run prints, more or less: neither noise nor one line again and again. */
static size_t line(char *out, unsigned task, uint64_t n) {
    unsigned h = (unsigned)(n * 2654435761u) + task;
    return (size_t)snprintf(out, LINE_BYTES + 1, "step %08llu loss %u.%06u lr %.6f tokens/s %7u gpu %2u%% shard-%05u ok  ",
                            (unsigned long long)n, h % 7, h / 7 % 1000000, (double)(h % 9973) / 1e6, 40000 + h % 20000,
                            60 + h % 40, h % 65536);
}

static void *append_all(void *arg) {
    struct job *j = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct log_entry *e = calloc(j->batch, sizeof *e);
    char *text = malloc(j->batch * (LINE_BYTES + 1)), name[16];
    if (!e || !text)
        abort();
    snprintf(name, sizeof name, "task-%u", j->task);
    while (clock_mono_us() < j->until_us) {
        for (size_t i = 0; i < j->batch; i++) {
            char *at = text + i * (LINE_BYTES + 1);
            size_t len = line(at, j->task, j->lines + i);
            e[i] = (struct log_entry){ clock_now_us(), i % 10 ? IO_STDOUT : IO_STDERR, at, len < LINE_BYTES ? len : LINE_BYTES,
                                       j->lines + i + 1 };
        }
        if (logstore_append(j->logs, j->id, name, 0, e, j->batch, &err) < 0)
            die("append", &err);
        j->lines += j->batch;
    }
    free(e);
    free(text);
    return NULL;
}

static void append(logstore_t *logs, const char *kind, unsigned tasks, size_t batch, int64_t seconds, const char *id) {
    struct job jobs[TASKS_MAX];
    pthread_t threads[TASKS_MAX];
    size_t lines = 0;
    int64_t from = clock_mono_us();
    for (unsigned i = 0; i < tasks; i++) {
        jobs[i] = (struct job){ logs, id, i, batch, 0, from + seconds * 1000000 };
        if (pthread_create(&threads[i], NULL, append_all, &jobs[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < tasks; i++) {
        pthread_join(threads[i], NULL);
        lines += jobs[i].lines;
    }
    double took = (double)(clock_mono_us() - from) / 1e6;
    printf("%-8s %2u tasks, batches of %4zu: %9.0f lines/s, %8.0f appends/s\n", kind, tasks, batch, (double)lines / took,
           (double)(lines / batch) / took);
    fflush(stdout);
}

static size_t read_log(logstore_t *logs, const char *id, const struct log_query *q) {
    _cleanup_buf_ buf_t out = BUF_INIT(READ_STEP * 4);
    osmo_error_t err = OSMO_ERROR_INIT;
    log_reader_t *r = NULL;
    size_t bytes = 0;
    int rc;
    if (logstore_reader(logs, id, q, &r, &err) < 0)
        die("read", &err);
    while ((rc = log_reader_read(r, &out, READ_STEP, &err)) > 0) {
        bytes += out.len;
        buf_reset(&out);
    }
    if (rc < 0 && rc != OSMO_EGONE)
        die("read", &err);
    log_reader_free(r);
    return bytes;
}

static void read_back(logstore_t *logs, const char *kind, const char *what, const char *id) {
    static const struct log_query all = { .retry_id = -1 }, task = { .task = "task-0", .retry_id = -1 },
        errors = { .retry_id = -1, .error_only = true }, last = { .retry_id = -1, .last_n = 1000 };
    static const struct { const char *name; const struct log_query *query; } kinds[] = {
        { "whole", &all }, { "one task", &task }, { "errors", &errors } };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int64_t from = clock_mono_us();
        size_t bytes = read_log(logs, id, kinds[i].query);
        double took = (double)(clock_mono_us() - from) / 1e6;
        printf("%-8s %s, %-8s: %8.1f MB read at %7.1f MB/s\n", kind, what, kinds[i].name, (double)bytes / 1e6,
               (double)bytes / 1e6 / took);
    }
    int64_t from = clock_mono_us();
    for (int i = 0; i < LAST_ROUNDS; i++)
        read_log(logs, id, &last);
    printf("%-8s %s, last 1000 lines: %.2f ms\n", kind, what, (double)(clock_mono_us() - from) / 1e3 / LAST_ROUNDS);
    fflush(stdout);
}

static void end(logstore_t *logs, const char *kind, const char *what, const char *id) {
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t from = clock_mono_us();
    if (logstore_end(logs, id, &err) < 0)
        die("end", &err);
    printf("%-8s %s, end: %.1f ms\n", kind, what, (double)(clock_mono_us() - from) / 1e3);
}

static void measure(logstore_t *logs, const char *kind, int64_t seconds) {
    static const size_t batches[] = { 1, 100, 1000 };
    static const unsigned tasks[] = { 1, TASKS_MAX };
    char id[32];
    for (size_t b = 0; b < ARRAY_SIZE(batches); b++) {
        for (size_t t = 0; t < ARRAY_SIZE(tasks); t++) {
            snprintf(id, sizeof id, "log-%zu-%u", batches[b], tasks[t]);
            append(logs, kind, tasks[t], batches[b], seconds, id);
        }
    }
    read_back(logs, kind, "batches of 1, live", "log-1-1");
    end(logs, kind, "batches of 1", "log-1-1");
    read_back(logs, kind, "batches of 1, ended", "log-1-1");
    end(logs, kind, "batches of 1000", "log-1000-16");
    read_back(logs, kind, "batches of 1000, ended", "log-1000-16");
}

int main(int argc, char **argv) {
    int64_t seconds = argc > 1 ? atoll(argv[1]) : 3;
    osmo_error_t err = OSMO_ERROR_INIT;
    logstore_t *logs = NULL;
    char dir[] = "/tmp/osmo-bench-XXXXXX";
    if (!mkdtemp(dir) || logstore_open(dir, NULL, NULL, &logs, &err) < 0)
        die("open", &err);
    measure(logs, "segments", seconds);
    logstore_close(logs);
    dir_remove_tree(dir, NULL);
    if (argc < 3)
        return 0;
    struct store_options o = { .url = argv[2] };
    store_t *store = NULL;
    if (store_open(&o, &store, &err) < 0 || logstore_open_pgsql(store, NULL, NULL, &logs, &err) < 0)
        die("open", &err);
    measure(logs, "chunks", seconds);
    logstore_close(logs);
    store_close(store);
    return 0;
}
