/* Logs of many small segments: whatever is asked of them, before and after they are compressed, in one life of the store and the next, is
 * what a plain list of the lines says, numbers included; chunks say the same. A process that is killed while it writes and compresses
 * leaves every line that it had told of, once and in order; so does every state that a crash may leave between two steps of sealing. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/logstore_file.h"

#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */
#define LINES 3000

static char dir[64];
static osmo_error_t err;
static unsigned dice = 7;
static unsigned roll(unsigned n) { return (dice = dice * 1103515245u + 12345u) / 65536u % n; }

static const struct log_limits small = { .bytes = 6000, .entries = 150, .seal_from = 500, .block_bytes = 700, .block_entries = 16 };

static void fresh_dir(void) {
    if (dir[0])
        dir_remove_tree(dir, NULL);
    strcpy(dir, "/tmp/osmo-log-XXXXXX");
    if (!mkdtemp(dir))
        abort();
}

static logstore_t *open_files(void) {
    logstore_t *s = NULL;
    CHECK_OK(logstore_open(dir, NULL, NULL, &s, &err), &err);
    if (s)
        log_files_set_limits(s, &small);
    return s;
}

/* ---- the list ---- */

static const char *const tasks[] = { "a", "b", "c", "rare" };
struct line { unsigned task, retry; enum io_type type; int64_t time_us; char text[64]; };
static struct line lines[LINES];
static size_t nlines;
static uint64_t seqs[4][3];

static void add(logstore_t **stores, size_t n) {
    unsigned task = roll(200) ? roll(3) : 3, retry = roll(3), many = 1 + roll(40);
    struct log_entry e[40];
    for (unsigned i = 0; i < many; i++) {
        bool empty = roll(20) == 0;
        enum io_type type = empty ? IO_OSMO_CTRL : roll(5) == 0 ? IO_STDERR : roll(9) == 0 ? IO_DUMP : IO_STDOUT;
        struct line l = { task, retry, type, T0 + (int64_t)nlines * 400000 - (int64_t)roll(9000000), "" };
        snprintf(l.text, sizeof l.text, "line %zu%s", nlines, roll(30) ? "" : "\nof two");
        if (nlines == LINES) {
            many = i;
            break;
        }
        lines[nlines] = l;
        e[i] = (struct log_entry){ l.time_us, type, empty ? "" : lines[nlines].text, empty ? 0 : strlen(l.text), ++seqs[task][retry] };
        nlines += !empty;
    }
    for (size_t i = 0; i < n; i++)
        CHECK_OK(logstore_append(stores[i], "w-1", tasks[task], retry, e, many, &err), &err);
}

static bool selects(const struct log_query *q, const struct line *l) {
    return (!q->task || strcmp(q->task, tasks[l->task]) == 0) && (q->retry_id < 0 || q->retry_id == l->retry) &&
        (!q->error_only || l->type == IO_STDERR) && (!q->kinds || (q->kinds >> l->type & 1));
}

static void render(const struct line *l, buf_t *out) {
    logline_render(l->time_us, tasks[l->task], l->retry, l->type, l->text, strlen(l->text), out);
}

static void expected(const struct log_query *q, buf_t *out) {
    uint64_t all = 0, n = 0;
    for (size_t i = 0; i < nlines; i++)
        all += selects(q, &lines[i]);
    for (size_t i = 0; i < nlines; i++) {
        if (!selects(q, &lines[i]))
            continue;
        n++;
        bool given = n >= q->from_line && (!q->last_n || n + (uint64_t)q->last_n > all) &&
            (!q->since_us || lines[i].time_us / 1000000 >= q->since_us / 1000000);
        if (given)
            buf_printf(out, "%" PRIu64 " %s %u %d ", n, tasks[lines[i].task], lines[i].retry, (int)lines[i].type);
        if (given)
            render(&lines[i], out);
    }
}

static void found(logstore_t *s, const struct log_query *q, size_t step, buf_t *out) {
    static struct log_item items[LOG_ITEMS_MAX];
    log_reader_t *r = NULL;
    buf_t text = BUF_INIT(1 << 22);
    int rc;
    CHECK_OK(logstore_reader(s, "w-1", q, &r, &err), &err);
    while ((rc = log_reader_items(r, &text, step, items, &err)) > 0) {
        const char *p = text.data;
        for (int i = 0; i < rc; i++) {
            buf_printf(out, "%" PRIu64 " %s %" PRId64 " %d ", items[i].line, items[i].task, items[i].retry_id, (int)items[i].type);
            buf_append(out, p, items[i].length);
            p += items[i].length;
        }
        buf_reset(&text);
    }
    CHECK(rc == 0 || rc == OSMO_EGONE);
    log_reader_free(r);
    buf_free(&text);
}

static struct log_query some_query(void) {
    struct log_query q = { .retry_id = roll(3) ? -1 : (int64_t)roll(3), .task = roll(2) ? NULL : tasks[roll(4)], .numbered = true };
    if (roll(3) == 0)
        q.kinds = 1u << IO_STDOUT | (roll(2) ? 1u << IO_DUMP : 0);
    else
        q.error_only = roll(4) == 0;
    switch (roll(4)) {
    case 0: q.last_n = 1 + roll(roll(2) ? 5 : LINES); break;
    case 1: q.from_line = roll(LINES / (roll(2) + 1)); break;
    case 2: q.since_us = T0 + (int64_t)roll(LINES) * 400000; break;
    default: q.since_us = roll(2) ? T0 + (int64_t)roll(LINES) * 400000 : 0; q.from_line = roll(LINES); break;
    }
    return q;
}

static void ask(logstore_t *s, unsigned times) {
    static const size_t steps[] = { 1, 300, 4096, 65536 };
    for (unsigned i = 0; i < times; i++) {
        struct log_query q = some_query();
        buf_t want = BUF_INIT(1 << 22), got = BUF_INIT(1 << 22);
        expected(&q, &want);
        found(s, &q, steps[q.last_n > 5 || !q.last_n ? 1 + roll(3) : roll(4)], &got);
        bool same = want.len == got.len && memcmp(buf_cstr(&want), buf_cstr(&got), want.len) == 0;
        CHECK(same);
        if (!same)
            fprintf(stderr, "task %s retry %" PRId64 " last %" PRId64 " from %" PRIu64 " since %" PRId64 " kinds %x errors %d\n",
                    q.task ? q.task : "-", q.retry_id, q.last_n, q.from_line, q.since_us, q.kinds, q.error_only);
        buf_free(&want);
        buf_free(&got);
    }
}

static bool there(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "%s/w-1/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void queries(void) {
    char *url = pgsql_fixture_url();
    store_t *store = NULL;
    logstore_t *s[2] = { NULL, NULL };
    struct store_options o = { .url = url };
    fresh_dir();
    nlines = 0;
    s[0] = open_files();
    if (url)
        CHECK_OK(store_open(&o, &store, &err), &err);
    if (store)
        CHECK_OK(logstore_open_pgsql(store, NULL, NULL, &s[1], &err), &err);
    for (int part = 0; part < 3; part++) {
        while (nlines < LINES * (size_t)(part + 1) / 3)
            add(s, store ? 2 : 1);
        ask(s[0], 60);
        log_files_set_limits(s[0], NULL); /* until all is compressed */
        ask(s[0], 60);
        CHECK(there("workflow_logs.zst") && !there("workflow_logs.txt") && !there("workflow_logs.idx"));
        logstore_close(s[0]);
        s[0] = open_files();
        for (unsigned t = 0; t < 4; t++) {
            uint64_t seq;
            CHECK_OK(logstore_last_seq(s[0], "w-1", tasks[t], 1, &seq, &err), &err);
            CHECK_INT(seq, seqs[t][1]);
        }
        ask(s[0], 60);
        if (store)
            ask(s[1], 40);
    }
    for (int i = 0; i < (store ? 2 : 1); i++)
        CHECK_OK(logstore_end(s[i], "w-1", &err), &err);
    log_files_set_limits(s[0], NULL);
    ask(s[0], 60);
    logstore_close(s[0]);
    s[0] = open_files();
    ask(s[0], 30);
    bool ended = false;
    CHECK(logstore_has_ended(s[0], "w-1", &ended, &err) == 0 && ended);
    CHECK_OK(logstore_remove(s[0], "w-1", &err), &err);
    CHECK(!there(""));
    logstore_close(s[0]);
    if (store) {
        ask(s[1], 40);
        logstore_close(s[1]);
    }
    store_close(store);
    free(url);
}

/* ---- a follower does not see where segments end ---- */

static void borders(void) {
    fresh_dir();
    nlines = 0;
    logstore_t *s = open_files();
    struct log_query q = { .retry_id = -1 };
    log_reader_t *r = NULL;
    buf_t got = BUF_INIT(1 << 22), want = BUF_INIT(1 << 22);
    CHECK_OK(logstore_reader(s, "w-1", &q, &r, &err), &err);
    while (nlines < LINES) {
        add(&s, 1);
        if (roll(4) == 0)
            log_files_set_limits(s, NULL);
        while (roll(3) && log_reader_read(r, &got, 1 + roll(9000), &err) > 0)
            ;
    }
    while (log_reader_read(r, &got, 9000, &err) > 0)
        ;
    for (size_t i = 0; i < nlines; i++)
        render(&lines[i], &want);
    CHECK(got.len == want.len && memcmp(got.data, want.data, want.len) == 0);
    log_reader_free(r);
    buf_free(&got);
    buf_free(&want);
    logstore_close(s);
}

/* ---- crashes between the steps of sealing ---- */

static void keep(const char *name, bool save) {
    char from[200], to[200];
    snprintf(save ? from : to, sizeof from, "%s/w-1/%s", dir, name);
    snprintf(save ? to : from, sizeof to, "%s/%s.kept", dir, name);
    CHECK_OK(file_copy(from, to, 0600, &err), &err);
}

static void cut(const char *name, off_t size) {
    char path[200];
    snprintf(path, sizeof path, "%s/w-1/%s", dir, name);
    CHECK_INT(truncate(path, size), 0);
}

static void steps_of_sealing(void) {
    static const char *const raw[] = { "workflow_logs.txt", "workflow_logs.idx", "workflow_logs.1.txt", "workflow_logs.1.idx" };
    fresh_dir();
    nlines = 0;
    logstore_t *s = open_files();
    struct log_limits never = small;
    never.seal_from = UINT64_MAX; /* segments that are full are still compressed, but not before the next one begins */
    log_files_set_limits(s, &never);
    while (nlines < 100)
        add(&s, 1);
    keep(raw[0], true);
    keep(raw[1], true);
    while (!there(raw[2]) && !there("workflow_logs.1.zst"))
        add(&s, 1);
    log_files_set_limits(s, NULL);
    CHECK(!there(raw[0]));
    logstore_close(s);
    keep(raw[0], false); /* renamed, and the old files not gone: they may even be older than the segment */
    s = open_files();
    ask(s, 10);
    CHECK(!there(raw[0]));
    logstore_close(s);
    keep(raw[1], false);
    char path[200];
    snprintf(path, sizeof path, "%s/w-1/workflow_logs.seal.tmp", dir);
    CHECK_OK(file_write_atomic(path, "half of it", 10, 0600, false, &err), &err); /* not renamed */
    s = open_files();
    ask(s, 10);
    while (nlines < 900)
        add(&s, 1);
    log_files_set_limits(s, NULL);
    ask(s, 10);
    CHECK(!there("workflow_logs.seal.tmp"));
    logstore_close(s);
    cut("workflow_logs.zst", 300); /* that is no crash, and is told */
    s = open_files();
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 20);
    CHECK_OK(logstore_reader(s, "w-1", NULL, &r, &err), &err);
    CHECK_INT(log_reader_read(r, &out, 100, &err), OSMO_EIO);
    CHECK_CONTAINS(err.text, "w-1");
    log_reader_free(r);
    buf_free(&out);
    logstore_close(s);
}

/* ---- kill -9 ---- */

struct told { _Atomic uint64_t stored; };

static void writer(struct told *told, uint64_t from) {
    logstore_t *s = NULL;
    if (logstore_open(dir, NULL, NULL, &s, NULL) < 0)
        _exit(1);
    log_files_set_limits(s, &small);
    for (uint64_t n = from;; n += 10) {
        struct log_entry e[10];
        char text[10][32];
        for (unsigned i = 0; i < 10; i++)
            e[i] = (struct log_entry){ T0, IO_STDOUT, text[i], (size_t)sprintf(text[i], "number %" PRIu64, n + i), n + i };
        if (logstore_append(s, "w-1", "a", 0, e, 10, NULL) < 0)
            _exit(1);
        told->stored = n + 9;
    }
}

static void killed(void) {
    struct told *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t last = 0;
    REQUIRE(told != MAP_FAILED);
    fresh_dir();
    for (int round = 0; round < 25; round++) {
        uint64_t enough = told->stored + 200 + roll(600) * 10;
        pid_t pid = fork();
        if (pid == 0)
            writer(told, last + 1);
        REQUIRE(pid > 0);
        while (told->stored < enough && waitpid(pid, NULL, WNOHANG) == 0)
            sched_yield();
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        logstore_t *s = open_files();
        CHECK_OK(logstore_last_seq(s, "w-1", "a", 0, &last, &err), &err);
        CHECK(last >= told->stored && last >= enough);
        struct log_query q = { .retry_id = -1 };
        buf_t got = BUF_INIT(1 << 26);
        found(s, &q, 65536, &got);
        uint64_t n = 0, wrong = 0;
        for (const char *p = buf_cstr(&got), *end = p + got.len, *nl; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
            const char *number = memmem(p, (size_t)(nl - p), "number ", 7);
            wrong += !number || strtoull(number + 7, NULL, 10) != ++n;
        }
        CHECK_INT(wrong, 0);
        CHECK_INT(n, last);
        buf_free(&got);
        logstore_close(s);
    }
    munmap(told, 4096);
}

static void cleaning_up(void) { dir_remove_tree(dir, NULL); }

static const struct check_test tests[] = {
    { "what a list of the lines says", queries }, { "followers over borders", borders },
    { "crashes between the steps of sealing", steps_of_sealing }, { "kill -9", killed }, { "cleaning up", cleaning_up },
};
TEST_MAIN("segments of logs", tests)
