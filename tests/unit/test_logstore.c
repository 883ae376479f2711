/* Log segments: replay, filters, followers, the end, repair after a crash at any byte, many logs. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "store/logstore.h"

#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */

static char dir[64];
static osmo_error_t err;

static void fresh_dir(void) {
    if (dir[0])
        dir_remove_tree(dir, NULL);
    strcpy(dir, "/tmp/osmo-log-XXXXXX");
    if (!mkdtemp(dir))
        abort();
}

static logstore_t *open_at(const char *path, log_notify_fn notify, void *ctx) {
    logstore_t *s = NULL;
    CHECK_OK(logstore_open(path, notify, ctx, &s, &err), &err);
    return s;
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
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
    static const struct log_query all = { NULL, -1, 0, false, 0 }, a = { "a", -1, 0, false, 0 }, a1 = { "a", 1, 0, false, 0 },
        errors = { NULL, -1, 0, true, 0 }, last2 = { NULL, -1, 2, false, 0 }, last_a = { "a", -1, 1, false, 0 }, many =
            { NULL, -1, 99, false, 0 },
        nobody = { "nobody", -1, 0, false, 0 }, near = { NULL, -1, 1, true, 2 }, nearer = { NULL, -1, 1, true, 4 };
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
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    CHECK_INT(logstore_end(s, "w-1", &err), 0);
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "late", 9), OSMO_EGONE);
    EXPECT(s, "w-1", &a1, OSMO_EGONE, L("a retry-1", "three"));
    EXPECT(s, "w-1", &nobody, OSMO_EGONE, "");
    logstore_close(s);
    s = open_at(dir, NULL, NULL); /* finished logs outlive the process */
    EXPECT(s, "w-1", &last2, OSMO_EGONE, L("a retry-1", "three") "x\ny\n");
    CHECK_INT(put(s, "w-1", "a", 0, IO_STDOUT, "late", 9), OSMO_EGONE);
    CHECK_INT(logstore_end(s, "empty-1", &err), 0);
    EXPECT(s, "empty-1", &all, OSMO_EGONE, "");
    logstore_close(s);
}

static void replay(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
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
        logstore_close(s);
        s = open_at(dir, NULL, NULL);
    }
    EXPECT(s, "w-1", NULL, 0, L("a", "1") L("a", "2") L("a retry-1", "1") L("a", "4"));
    logstore_close(s);
}

static void bad_names(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL), *second = NULL;
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
    CHECK_INT(logstore_open(dir, NULL, NULL, &second, &err), OSMO_EBUSY);
    CHECK_CONTAINS(err.text, dir);
    logstore_close(s);
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
#define LINES 4000
static void *follow(void *arg) {
    struct follower *f = arg;
    struct log_query q = { f->task, -1, 0, false, 0 };
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
        for (char *line = out.data, *end = out.data + out.len; line < end; line = strchr(line, '\n') + 1)
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
    fresh_dir();
    struct bell bell = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    logstore_t *s = open_at(dir, ring, &bell);
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
    logstore_close(s);
}

static size_t open_descriptors(void) {
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static void many_logs(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
    char id[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 400; i++) {
            snprintf(id, sizeof(id), "w-%d", i);
            CHECK_INT(put(s, id, "a", 0, IO_STDOUT, round ? "two" : "one", (uint64_t)round + 1), 0);
        }
    }
    CHECK(open_descriptors() < 300);
    for (int i = 0; i < 400; i++) {
        snprintf(id, sizeof(id), "w-%d", i);
        EXPECT(s, id, NULL, 0, L("a", "one") L("a", "two"));
    }
    logstore_close(s);
}

static void big(void) {
    fresh_dir();
    logstore_t *s = open_at(dir, NULL, NULL);
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
    struct log_query last = { NULL, -1, 70001, false, 0 };
    int rc;
    char *got = read_all(s, "w-1", &last, 65536, &rc); /* the long entry comes whole, whatever the step */
    CHECK_INT(rc, 0);
    CHECK_INT(strlen(got), 70000 * (20 + 7 + 12 + 1) + 20 + 7 + 300000 + 1);
    free(got);
    free(huge);
    logstore_close(s);
    dir_remove_tree(dir, NULL);
}

static const struct check_test tests[] = {
    { "filters and the end", filters }, { "replay", replay }, { "bad names", bad_names },
        { "a crash at every byte", crashes },
    { "flipped bytes", flipped_bytes }, { "followers", followers }, { "many logs", many_logs }, { "many lines", big },
};
TEST_MAIN("logstore", tests)
