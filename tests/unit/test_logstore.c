/* Logs as segments and as chunks: replay, filters, followers, the end, removal, many logs; of segments the repair after a
 * crash at any byte. What several services do to the same chunks is test_logstore_shared. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/logstore.h"

/* Of a task, an attempt (-1 any), the last lines (0 all), errors only; looking at so many entries. */
#define Q(t, r, n, e, s) { .task = t, .retry_id = r, .last_n = n, .error_only = e, .scan_max = s }
#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */

static char dir[64];
static osmo_error_t err;

/* ---- the two kinds ---- */

static bool chunks;
static char *url;      /* of the database with the chunks */
static store_t *store; /* open as long as the log store on it */

static void fresh_dir(void) {
    if (dir[0])
        dir_remove_tree(dir, NULL);
    strcpy(dir, "/tmp/osmo-log-XXXXXX");
    if (!mkdtemp(dir))
        abort();
}

static void fresh(void) {
    free(url);
    url = NULL;
    if (chunks)
        url = pgsql_fixture_url();
    else
        fresh_dir();
}

static logstore_t *open_at(const char *path, log_notify_fn notify, void *ctx) {
    logstore_t *s = NULL;
    CHECK_OK(logstore_open(path, notify, ctx, &s, &err), &err);
    return s;
}

static logstore_t *open_log(log_notify_fn notify, void *ctx) {
    struct store_options o = { .url = url };
    logstore_t *s = NULL;
    if (!chunks)
        return open_at(dir, notify, ctx);
    if (store_open(&o, &store, &err) < 0 || logstore_open_pgsql(store, notify, ctx, &s, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return s;
}

static void close_log(logstore_t *s) {
    logstore_close(s);
    store_close(store);
    store = NULL;
}

static int put(logstore_t *s, const char *id, const char *task, int64_t retry, enum io_type type,
               const char *text, uint64_t seq) {
    struct log_entry e = { T0, type, text, strlen(text), seq };
    return logstore_append(s, id, task, retry, &e, 1, &err);
}

/* All that is there now. *rc is how the last read ended. */
static char *read_all(logstore_t *s, const char *id, const struct log_query *q, size_t step, int *rc) {
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 24);
    CHECK_OK(logstore_reader(s, id, q, &r, &err), &err);
    while (r && (*rc = log_reader_read(r, &out, step, &err)) > 0)
        ;
    log_reader_free(r);
    char *text = str_dup(buf_cstr(&out));
    buf_free(&out);
    return text;
}

#define EXPECT(s, id, query, want_rc, want) do { \
        int rc_; char *got_ = read_all((s), (id), (query), 64, &rc_); \
        CHECK_STR(got_, (want)); CHECK_INT(rc_, (want_rc)); free(got_); } while (0)
#define L(task, text) "2026/03/01 09:30:00 [" task "] " text "\n"

static void filters(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    static const struct log_query all = Q(NULL, -1, 0, false, 0), a = Q("a", -1, 0, false, 0), a1 = Q("a", 1, 0, false, 0),
        errors = Q(NULL, -1, 0, true, 0), last2 = Q(NULL, -1, 2, false, 0), last_a = Q("a", -1, 1, false, 0), many =
            Q(NULL, -1, 99, false, 0),
        nobody = Q("nobody", -1, 0, false, 0), near = Q(NULL, -1, 1, true, 2), nearer = Q(NULL, -1, 1, true, 4);
    EXPECT(s, "w-1", &all, 0, "");
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "one", 1), 0);
    CHECK_INT(put(s, "w-1", "b", 0, IO_STDERR, "two", 0), 0);
    CHECK_INT(put(s, "w-1", "a", 1, IO_STDOUT, "three", 1), 0);
    CHECK_INT(put(s, "w-1", "a", 1, IO_METRICS, "{}", 2), 0);
    CHECK_INT(put(s, "w-1", "b", 0, IO_DUMP, "x\ny", 0), 0);
    EXPECT(s, "w-1", &all, 0, L("a", "one") L("b", "two") L("a retry-1", "three") "x\ny\n");
    EXPECT(s, "w-1", &near, 0, ""); /* the error line is the fourth from the end: beyond what is looked at */
    EXPECT(s, "w-1", &nearer, 0, L("b", "two"));
    EXPECT(s, "w-1", &a, 0, L("a", "one") L("a retry-1", "three"));
    EXPECT(s, "w-1", &a1, 0, L("a retry-1", "three"));
    EXPECT(s, "w-1", &errors, 0, L("b", "two"));
    EXPECT(s, "w-1", &last2, 0, L("a retry-1", "three") "x\ny\n");
    EXPECT(s, "w-1", &last_a, 0, L("a retry-1", "three"));
    EXPECT(s, "w-1", &many, 0, L("a", "one") L("b", "two") L("a retry-1", "three") "x\ny\n");
    EXPECT(s, "w-1", &nobody, 0, "");
    bool ended = true;
    CHECK(logstore_has_ended(s, "w-1", &ended, &err) == 0 && !ended);
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    CHECK(logstore_has_ended(s, "w-1", &ended, &err) == 0 && ended);
    CHECK(logstore_has_ended(s, "never", &ended, &err) == 0 && !ended);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "late", 9), OSMO_EGONE);
    EXPECT(s, "w-1", &a1, OSMO_EGONE, L("a retry-1", "three"));
    EXPECT(s, "w-1", &nobody, OSMO_EGONE, "");
    close_log(s);
    s = open_log(NULL, NULL); /* finished logs outlive the process */
    EXPECT(s, "w-1", &last2, OSMO_EGONE, L("a retry-1", "three") "x\ny\n");
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "late", 9), OSMO_EGONE);
    CHECK_INT(logstore_end(s, "empty-1", &err), 0);
    EXPECT(s, "empty-1", &all, OSMO_EGONE, "");
    close_log(s);
}

static void replay(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    uint64_t seq = 7;
    struct log_entry e[4] = { { T0, IO_STDOUT, "1", 1, 1 }, { T0, IO_STDOUT, "2", 1, 2 }, { T0, IO_METRICS, "",
        0, 3 }, { T0, IO_STDOUT, "4", 1, 4 } };
    CHECK_INT(logstore_last_seq(s, "w-1", "a", 0, &seq, &err), 0);
    CHECK_INT(seq, 0);
    CHECK_INT(logstore_append(s, "w-1", "a", 0, e, 2, &err), 0);
    CHECK_INT(logstore_append(s, "w-1", "a", 0, e, 3, &err), 0);
    CHECK_INT(logstore_append(s, "w-1", "a", 1, e, 1, &err), 0);
    for (int pass = 0; pass < 2; pass++) {
        CHECK_INT(logstore_last_seq(s, "w-1", "a", 0, &seq, &err), 0);
        CHECK_INT(seq, pass ? 4 : 3);
        CHECK_INT(logstore_last_seq(s, "w-1", "a", 1, &seq, &err), 0);
        CHECK_INT(seq, 1);
        CHECK_INT(logstore_append(s, "w-1", "a", 0, e, 4, &err), 0);
        close_log(s);
        s = open_log(NULL, NULL);
    }
    EXPECT(s, "w-1", NULL, 0, L("a", "1") L("a", "2") L("a retry-1", "1") L("a", "4"));
    close_log(s);
}

static void bad_names(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    static const char *const ids[] = { "", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n", "caf\xc3\xa9" };
    log_reader_t *r = NULL;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        CHECK_INT(put(s, ids[i], "a", 0, IO_STDOUT, "x", 0), OSMO_EINVAL);
        CHECK_INT(logstore_end(s, ids[i], &err), OSMO_EINVAL);
        CHECK_INT(logstore_reader(s, ids[i], NULL, &r, &err), OSMO_EINVAL);
    }
    CHECK_INT(put(s, "w-1", "a\nb", 0, IO_STDOUT, "x", 0), OSMO_EINVAL);
    CHECK_INT(put(s, "w-1", "", 0, IO_STDOUT, "x", 0), OSMO_EINVAL);
    CHECK_INT(put(s, "w-1", "a", -1, IO_STDOUT, "x", 0), OSMO_EINVAL);
    CHECK_INT(put(s, "w-1", "a", 0, IO_INVALID, "x", 0), OSMO_EINVAL);
    close_log(s);
}

static void one_owner(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL), *second = NULL;
    CHECK_INT(logstore_open(dir, NULL, NULL, &second, &err), OSMO_EBUSY);
    CHECK_CONTAINS(err.text, dir);
    close_log(s);
}

static void sqlite_has_no_chunks(void) {
    char *sqlite = sqlite_fixture_url();
    struct store_options o = { .url = sqlite };
    logstore_t *s = NULL;
    CHECK_OK(store_open(&o, &store, &err), &err);
    CHECK_INT(logstore_open_pgsql(store, NULL, NULL, &s, &err), OSMO_EINVAL);
    CHECK(s == NULL);
    close_log(s);
    free(sqlite);
}

/* ---- crashes ---- */

static void copy_cut(const char *from, const char *to, const char *name, size_t size) {
    char src[200], dst[200];
    snprintf(src, sizeof(src), "%s/w-1/%s", from, name);
    snprintf(dst, sizeof(dst), "%s/w-1/%s", to, name);
    CHECK_OK(file_copy(src, dst, 0600, &err), &err);
    CHECK_INT(truncate(dst, (off_t)size), 0);
}

static size_t size_of(const char *base, const char *name) {
    struct stat st;
    char path[200];
    snprintf(path, sizeof(path), "%s/w-1/%s", base, name);
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

/* The state a crash may leave: any prefix of each file. Whatever it is, what is served is a prefix in whole
 * entries and goes on. */
static void crash_once(size_t text, size_t idx, size_t tasks) {
    static const char *const want[] = { "", L("a", "one"), L("a", "one") L("b", "two\nlines"),
                                        L("a", "one") L("b", "two\nlines") L("a", "three") };
    char to[100], more[300], path[200];
    snprintf(to, sizeof(to), "%s/crash", dir);
    dir_remove_tree(to, NULL);
    snprintf(path, sizeof(path), "%s/w-1", to);
    CHECK_OK(dir_make(path, 0700, &err), &err);
    copy_cut(dir, to, "workflow_logs.txt", text);
    copy_cut(dir, to, "workflow_logs.idx", idx);
    copy_cut(dir, to, "workflow_logs.tasks", tasks);
    size_t n = idx / 48 > 3 ? 3 : idx / 48;
    while (n && strlen(want[n]) > text)
        n--;
    if (tasks < 2)
        n = 0;
    else if (tasks < 4 && n > 1)
        n = 1;
    bool ended = n == 3 && idx == 4 * 48;
    logstore_t *s = open_at(to, NULL, NULL);
    EXPECT(s, "w-1", NULL, ended ? OSMO_EGONE : 0, want[n]);
    CHECK_INT(size_of(to, "workflow_logs.txt"), strlen(want[n]));
    CHECK_INT(size_of(to, "workflow_logs.idx"), (n + ended) * 48);
    uint64_t seq = 0;
    CHECK_INT(logstore_last_seq(s, "w-1", "a", 0, &seq, &err), 0);
    CHECK_INT(seq, n == 3 ? 2 : n >= 1 ? 1 : 0);
    if (!ended) {
        CHECK_INT(put(s, "w-1", "b", 0, IO_STDOUT, "more", 0), 0);
        snprintf(more, sizeof(more), "%s" L("b", "more"), want[n]);
        EXPECT(s, "w-1", NULL, 0, more);
        logstore_close(s);
        s = open_at(to, NULL, NULL);
        EXPECT(s, "w-1", NULL, 0, more);
    }
    logstore_close(s);
}

static void crashes(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "one", 1), 0);
    CHECK_INT(put(s, "w-1", "b", 0, IO_STDOUT, "two\nlines", 1), 0);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "three", 2), 0);
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    logstore_close(s);
    size_t text = size_of(dir, "workflow_logs.txt"), idx = size_of(dir, "workflow_logs.idx"), tasks =
        size_of(dir, "workflow_logs.tasks");
    CHECK_INT(idx, 4 * 48);
    CHECK_INT(tasks, 4);
    for (size_t cut = 0; cut <= idx; cut++)
        crash_once(text, cut, tasks);
    for (size_t cut = 0; cut <= text; cut++) {
        crash_once(cut, idx, tasks);
        crash_once(cut, 2 * 48 + 5, tasks);
    }
    for (size_t cut = 0; cut <= tasks; cut++)
        crash_once(text, idx, cut);
}

static void flipped_bytes(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "one", 1), 0);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "two", 2), 0);
    logstore_close(s);
    char path[200];
    snprintf(path, sizeof(path), "%s/w-1/workflow_logs.idx", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char bad = 0x55;
    CHECK(pwrite(fd, &bad, 1, 48 + 13) == 1);
    close(fd);
    s = open_at(dir, NULL, NULL);
    EXPECT(s, "w-1", NULL, 0, L("a", "one"));
    logstore_close(s);
}

/* ---- followers ---- */

struct bell { pthread_mutex_t m; pthread_cond_t c; unsigned rung; };
static void ring(void *ctx, const char *id) {
    struct bell *b = ctx;
    (void)id;
    pthread_mutex_lock(&b->m);
    b->rung++;
    pthread_cond_broadcast(&b->c);
    pthread_mutex_unlock(&b->m);
}

struct follower { logstore_t *s; struct bell *bell; const char *task; size_t lines, wrong; int rc; };
#define LINES (chunks ? 500 : 4000)
static void *follow(void *arg) {
    struct follower *f = arg;
    struct log_query q = Q(f->task, -1, 0, false, 0);
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 20);
    osmo_error_t mine = OSMO_ERROR_INIT;
    logstore_reader(f->s, "w-1", &q, &r, &mine);
    for (;;) {
        pthread_mutex_lock(&f->bell->m);
        unsigned seen = f->bell->rung;
        pthread_mutex_unlock(&f->bell->m);
        buf_reset(&out);
        while ((f->rc = log_reader_read(r, &out, 4096, &mine)) > 0)
            ;
        for (char *line = out.data, *end = out.len ? out.data + out.len : line; line < end; line = strchr(line, '\n') + 1)
            f->wrong += (size_t)atol(strstr(line, "] ") + 2) != f->lines++ / (f->task ? 1 : 2);
        if (f->rc < 0)
            break;
        pthread_mutex_lock(&f->bell->m);
        while (f->bell->rung == seen)
            pthread_cond_wait(&f->bell->c, &f->bell->m);
        pthread_mutex_unlock(&f->bell->m);
    }
    buf_free(&out);
    log_reader_free(r);
    return NULL;
}

static void followers(void) {
    fresh();
    struct bell bell = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    logstore_t *s = open_log(ring, &bell);
    struct follower f[4];
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        f[i] = (struct follower){ s, &bell, i == 0 ? NULL : i == 1 ? "b" : "a", 0, 0, 0 };
        REQUIRE(pthread_create(&t[i], NULL, follow, &f[i]) == 0);
    }
    for (int i = 0; i < LINES; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, text, (uint64_t)i + 1), 0);
        CHECK_INT(put(s, "w-1", "b", 0, IO_STDOUT, text, 0), 0);
    }
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(f[i].rc, OSMO_EGONE);
        CHECK_INT(f[i].lines, i ? LINES : 2 * LINES);
        CHECK_INT(f[i].wrong, 0);
    }
    CHECK_INT(bell.rung, 2 * LINES + 1);
    close_log(s);
}

static size_t open_descriptors(void) {
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static void many_logs(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    char id[32];
    int many = chunks ? 100 : 400;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < many; i++) {
            snprintf(id, sizeof(id), "w-%d", i);
            CHECK_INT(put(s, id, "a", 0, IO_STDOUT, round ? "two" : "one", (uint64_t)round + 1), 0);
        }
    }
    CHECK(open_descriptors() < 300);
    for (int i = 0; i < many; i++) {
        snprintf(id, sizeof(id), "w-%d", i);
        EXPECT(s, id, NULL, 0, L("a", "one") L("a", "two"));
    }
    close_log(s);
}

static void big(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    static struct log_entry e[1000];
    for (int b = 0; b < 100; b++) {
        for (int i = 0; i < 1000; i++)
            e[i] = (struct log_entry){ T0, IO_STDOUT, "twelve bytes", 12, (uint64_t)(b * 1000 + i + 1) };
        CHECK_INT(logstore_append(s, "w-1", "task", 0, e, 1000, &err), 0);
    }
    char *huge = malloc(300001);
    memset(huge, 'x', 300000);
    huge[300000] = '\0';
    CHECK_INT(put(s, "w-1", "task", 0, IO_STDOUT, huge, 0), 0);
    struct log_query last = Q(NULL, -1, 70001, false, 0);
    int rc;
    char *got = read_all(s, "w-1", &last, 65536, &rc); /* the long entry comes whole, whatever the step */
    CHECK_INT(rc, 0);
    CHECK_INT(strlen(got), 70000 * (20 + 7 + 12 + 1) + 20 + 7 + 300000 + 1);
    free(got);
    free(huge);
    close_log(s);
}

/* ---- removal ---- */

/* Whoever stored something may have failed behind it, and told nobody: the next attempt does. */
static void told_again(void) {
    struct bell bell = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    struct log_entry e = { T0, IO_STDOUT, "line", 4, 7 };
    fresh();
    logstore_t *s = open_log(ring, &bell);
    for (unsigned i = 1; i <= 2; i++) {
        CHECK_INT(logstore_append(s, "w-1", "a", 0, &e, 1, &err), 0);
        CHECK_INT(bell.rung, chunks ? i : 1); /* one process's memory knows what it told */
    }
    for (unsigned i = 1; i <= 2; i++) {
        unsigned before = bell.rung;
        CHECK_INT(logstore_end(s, "w-1", &err), 0);
        CHECK_INT(bell.rung, before + 1);
    }
    EXPECT(s, "w-1", NULL, OSMO_EGONE, L("a", "line"));
    close_log(s);
}

static void removal(void) {
    fresh();
    logstore_t *s = open_log(NULL, NULL);
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 20);
    uint64_t seq = 9;
    CHECK_INT(logstore_remove(s, "w-1", &err), 0);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "one", 5), 0);
    CHECK_INT(put(s, "w-2", "a", 0, IO_STDOUT, "other", 1), 0);
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    CHECK_OK(logstore_reader(s, "w-1", NULL, &r, &err), &err);
    CHECK(log_reader_read(r, &out, 100, &err) > 0);
    CHECK_INT(logstore_remove(s, "w-1", &err), 0);
    CHECK_INT(log_reader_read(r, &out, 100, &err), 0); /* as if nothing had been written */
    EXPECT(s, "w-1", NULL, 0, "");
    EXPECT(s, "w-2", NULL, 0, L("a", "other"));
    CHECK_INT(logstore_last_seq(s, "w-1", "a", 0, &seq, &err), 0);
    CHECK_INT(seq, 0);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "again", 1), 0);
    EXPECT(s, "w-1", NULL, 0, L("a", "again"));
    CHECK_INT(logstore_remove(s, "w-1", &err), 0);
    CHECK_INT(logstore_remove(s, "w-1", &err), 0);
    log_reader_free(r);
    buf_free(&out);
    close_log(s);
}

/* ---- both hand out the same ---- */

static unsigned dice;
static unsigned roll(unsigned sides) {
    dice = dice * 1103515245u + 12345u;
    return (dice >> 16) % sides;
}

/* Some entries of one attempt: lines of all kinds, empty ones, long ones, bytes that are no text, repeated sequences. */
static size_t some_entries(struct log_entry *e, size_t max, uint64_t *seq, char *room, size_t size) {
    static const enum io_type types[] = { IO_STDOUT, IO_STDERR, IO_STDOUT, IO_DUMP, IO_OSMO_CTRL, IO_METRICS, IO_UPLOAD };
    size_t n = roll(8) ? 1 + roll(4) : 1 + roll((unsigned)max);
    for (size_t i = 0; i < n; i++) {
        size_t len = roll(50) ? roll(60) : roll((unsigned)(size / max));
        e[i] = (struct log_entry){ T0 + (int64_t)roll(100) * 1000000, types[roll(7)], room, len, 0 };
        for (size_t b = 0; b < len; b++)
            *room++ = (char)(roll(20) ? 'a' + roll(26) : roll(256));
        if (roll(4))
            e[i].seq = *seq += roll(3) - (*seq > 3 && !roll(10) ? 2 : 0);
    }
    return n;
}

static void same_reads(logstore_t *files, logstore_t *rows, const struct log_query *q, size_t step, size_t call) {
    static struct log_item item[2][LOG_ITEMS_MAX];
    log_reader_t *a = NULL, *b = NULL;
    buf_t left = BUF_INIT(1 << 25), right = BUF_INIT(1 << 25);
    CHECK_OK(logstore_reader(files, "w-1", q, &a, &err), &err);
    CHECK_OK(logstore_reader(rows, "w-1", q, &b, &err), &err);
    for (int rc = 1; rc > 0;) {
        buf_reset(&left);
        buf_reset(&right);
        rc = call ? log_reader_items(a, &left, step, item[0], &err) : log_reader_read(a, &left, step, &err);
        int other = call ? log_reader_items(b, &right, step, item[1], &err) : log_reader_read(b, &right, step, &err);
        CHECK_INT(other, rc);
        CHECK_INT(right.len, left.len);
        CHECK(left.len == right.len && (!left.len || memcmp(left.data, right.data, left.len) == 0));
        for (int i = 0; call && rc == other && i < rc; i++) {
            CHECK_STR(item[1][i].task, item[0][i].task);
            CHECK(item[1][i].retry_id == item[0][i].retry_id && item[1][i].time_us == item[0][i].time_us &&
                  item[1][i].type == item[0][i].type && item[1][i].length == item[0][i].length);
        }
        if (rc != other)
            break;
    }
    log_reader_free(a);
    log_reader_free(b);
    buf_free(&left);
    buf_free(&right);
}

static void every_query(logstore_t *files, logstore_t *rows) {
    static const struct log_query queries[] = {
        Q(NULL, -1, 0, false, 0), Q("a", -1, 0, false, 0), Q("b", 1, 0, false, 0), Q(NULL, 2, 0, false, 0),
        Q(NULL, -1, 0, true, 0), Q("c", 0, 0, true, 0), Q("nobody", -1, 0, false, 0), Q(NULL, -1, 1, false, 0),
        Q(NULL, -1, 10, false, 0), Q(NULL, -1, 777, false, 0), Q(NULL, -1, 1000000, false, 0), Q("a", -1, 3, false, 0),
        Q("rare", -1, 1, false, 0), Q("rare", -1, 1, false, 500), Q("b", -1, 50, true, 3000), Q(NULL, 1, 9999, false, 9),
    };
    static const size_t steps[] = { 1, 300, 4096, 65536, 3000000 };
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        bool few = queries[i].last_n > 0 && queries[i].last_n <= 10; /* one by one only these */
        for (size_t k = few ? 0 : i == 0 ? 1 : 2; k < sizeof(steps) / sizeof(steps[0]); k++)
            same_reads(files, rows, &queries[i], steps[k], (i + k) % 2);
    }
}

static void the_same(void) {
    static const char *const tasks[] = { "a", "b", "c" };
    enum { SOME = 300, ROOM = 3000000 };
    static struct log_entry e[SOME];
    char *room = malloc(ROOM + SOME * 60);
    chunks = false;
    fresh();
    logstore_t *files = open_log(NULL, NULL);
    chunks = true;
    fresh();
    if (!url) {
        chunks = false;
        close_log(files);
        free(room);
        return;
    }
    logstore_t *rows = open_log(NULL, NULL);
    uint64_t seq[9] = { 0 };
    dice = 4;
    CHECK_INT(put(files, "w-1", "rare", 0, IO_STDOUT, "once", 1), put(rows, "w-1", "rare", 0, IO_STDOUT, "once", 1));
    for (int i = 0; i < 500; i++) {
        unsigned who = roll(9);
        size_t n = some_entries(e, SOME, &seq[who], room, ROOM);
        CHECK_INT(logstore_append(files, "w-1", tasks[who / 3], who % 3, e, n, &err), 0);
        CHECK_INT(logstore_append(rows, "w-1", tasks[who / 3], who % 3, e, n, &err), 0);
    }
    for (unsigned who = 0; who < 9; who++) {
        uint64_t left, right;
        CHECK_INT(logstore_last_seq(files, "w-1", tasks[who / 3], who % 3, &left, &err), 0);
        CHECK_INT(logstore_last_seq(rows, "w-1", tasks[who / 3], who % 3, &right, &err), 0);
        CHECK_INT(right, left);
    }
    every_query(files, rows);
    CHECK_INT(logstore_end(files, "w-1", &err), 0);
    CHECK_INT(logstore_end(rows, "w-1", &err), 0); /* and merges */
    every_query(files, rows);
    logstore_close(files);
    close_log(rows);
    free(room);
}

/* ---- the table ---- */

static void on_chunks(void (*test)(void)) {
    char *there = pgsql_fixture_url();
    chunks = there != NULL;
    if (chunks)
        test();
    chunks = false;
    free(there);
}
#define BOTH(test) \
    static void test##_in_chunks(void) { on_chunks(test); }
BOTH(filters) BOTH(replay) BOTH(bad_names) BOTH(followers) BOTH(many_logs) BOTH(big) BOTH(removal) BOTH(told_again)

static void clean_up(void) {
    free(url);
    url = NULL;
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "filters and the end", filters }, { "filters and the end, chunks", filters_in_chunks },
    { "replay", replay }, { "replay, chunks", replay_in_chunks },
    { "bad names", bad_names }, { "bad names, chunks", bad_names_in_chunks },
    { "one owner of segments", one_owner }, { "no chunks in SQLite", sqlite_has_no_chunks },
    { "a crash at every byte", crashes }, { "flipped bytes", flipped_bytes },
    { "followers", followers }, { "followers, chunks", followers_in_chunks },
    { "many logs", many_logs }, { "many logs, chunks", many_logs_in_chunks },
    { "many lines", big }, { "many lines, chunks", big_in_chunks },
    { "told again", told_again }, { "told again, chunks", told_again_in_chunks },
    { "removal", removal }, { "removal, chunks", removal_in_chunks },
    { "segments and chunks hand out the same", the_same }, { "cleaning up", clean_up },
};
TEST_MAIN("logstore", tests)
