/* Logs in chunks that several services share: the same lines from two of them at once, a killed service, lost connections,
 * what one reads of the other, large entries, merging after the end, removal while somebody writes. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "check.h"
#include "pgsql_fixture.h"
#include "store/logstore.h"

/* Of a task, an attempt (-1 any), the last lines (0 all), errors only; looking at so many entries. */
#define Q(t, r, n, e, s) { .task = t, .retry_id = r, .last_n = n, .error_only = e, .scan_max = s }
#define T0 1772357400000000LL /* 2026-03-01 09:30:00 UTC */
#define PREFIX "2026/03/01 09:30:00 "

static osmo_error_t err;
static char *url;

/* As one process has it. */
struct service { store_t *store; logstore_t *logs; };

static void start(struct service *s) {
    struct store_options o = { .url = url };
    *s = (struct service){ 0 };
    if (store_open(&o, &s->store, &err) < 0 || logstore_open_pgsql(s->store, NULL, NULL, &s->logs, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

static void stop(struct service *s) {
    logstore_close(s->logs);
    store_close(s->store);
}

static int put(struct service *s, const char *id, const char *task, const char *text, uint64_t seq) {
    struct log_entry e = { T0, IO_STDOUT, text, strlen(text), seq };
    return logstore_append(s->logs, id, task, 0, &e, 1, &err);
}

static char *read_all(struct service *s, const char *id, const struct log_query *q, int *rc) {
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 26);
    CHECK_OK(logstore_reader(s->logs, id, q, &r, &err), &err);
    while (r && (*rc = log_reader_read(r, &out, 65536, &err)) > 0)
        ;
    log_reader_free(r);
    char *text = str_dup(buf_cstr(&out));
    buf_free(&out);
    return text;
}

#define EXPECT(s, id, query, want_rc, want) do { \
        int rc_; char *got_ = read_all((s), (id), (query), &rc_); \
        CHECK_STR(got_, (want)); CHECK_INT(rc_, (want_rc)); free(got_); } while (0)

static int64_t count(struct service *s, const char *sql) {
    db_rows_t *rows = NULL;
    db_t *db;
    int64_t n = -1;
    CHECK_OK(store_reader(s->store, &db, &err), &err);
    CHECK_OK(db_query(db, sql, NULL, 0, &rows, &err), &err);
    if (rows && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

/* ---- tests ---- */

static void one_reads_the_other(void) {
    struct service a, b;
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 20);
    start(&a);
    start(&b);
    CHECK_OK(logstore_reader(b.logs, "seen", NULL, &r, &err), &err);
    CHECK_INT(log_reader_read(r, &out, 100, &err), 0);
    CHECK_INT(put(&a, "seen", "t", "one", 1), 0);
    CHECK(log_reader_read(r, &out, 100, &err) > 0);
    CHECK_INT(log_reader_read(r, &out, 100, &err), 0);
    CHECK_INT(put(&b, "seen", "t", "one", 1), 0); /* is there */
    CHECK_INT(put(&b, "seen", "t", "two", 2), 0);
    CHECK_INT(put(&a, "seen", "u", "three", 0), 0);
    stop(&a);
    CHECK(log_reader_read(r, &out, 100, &err) > 0);
    CHECK_STR(buf_cstr(&out), PREFIX "[t] one\n" PREFIX "[t] two\n" PREFIX "[u] three\n");
    CHECK_INT(logstore_end(b.logs, "seen", &err), 0);
    CHECK_INT(log_reader_read(r, &out, 100, &err), OSMO_EGONE);
    start(&a);
    CHECK_INT(put(&a, "seen", "t", "late", 3), OSMO_EGONE);
    CHECK_INT(logstore_end(a.logs, "seen", &err), 0);
    log_reader_free(r);
    buf_free(&out);
    stop(&a);
    stop(&b);
}

/* Each of two services gets the lines 1 to MANY of every task, in batches of its own lengths, some of them twice, as ctrls
 * do that connect now here and now there. */
#define MANY 400
#define TASKS 4
struct sender { struct service *s; unsigned task, dice; int rc; };

static void *send_all(void *arg) {
    struct sender *w = arg;
    osmo_error_t mine = OSMO_ERROR_INIT;
    struct log_entry e[32];
    char text[32][16], task[16];
    snprintf(task, sizeof(task), "t%u", w->task);
    for (unsigned sent = 0; sent < MANY && w->rc == 0;) {
        w->dice = w->dice * 1103515245u + 12345u;
        unsigned back = (w->dice >> 16) % 8, n = 1 + (w->dice >> 20) % 24;
        sent -= back < sent ? back : sent;
        n = n < MANY - sent ? n : MANY - sent;
        for (unsigned i = 0; i < n; i++) {
            snprintf(text[i], sizeof(text[i]), "%u", sent + i + 1);
            e[i] = (struct log_entry){ T0, IO_STDOUT, text[i], strlen(text[i]), sent + i + 1 };
        }
        w->rc = logstore_append(w->s->logs, "both", task, 0, e, n, &mine);
        sent += n;
    }
    return NULL;
}

static void the_same_lines_at_once(void) {
    struct service s[2];
    struct sender w[2 * TASKS];
    pthread_t t[2 * TASKS];
    start(&s[0]);
    start(&s[1]);
    for (unsigned i = 0; i < 2 * TASKS; i++) {
        w[i] = (struct sender){ &s[i % 2], i / 2, i * 77 + 5, 0 };
        REQUIRE(pthread_create(&t[i], NULL, send_all, &w[i]) == 0);
    }
    for (unsigned i = 0; i < 2 * TASKS; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(w[i].rc, 0);
    }
    for (unsigned task = 0; task < TASKS; task++) {
        char name[16];
        uint64_t seq = 0;
        int rc, lines = 0;
        snprintf(name, sizeof(name), "t%u", task);
        struct log_query q = Q(name, -1, 0, false, 0);
        char *text = read_all(&s[task % 2], "both", &q, &rc);
        for (char *line = text, *nl; (nl = strchr(line, '\n')); line = nl + 1)
            CHECK_INT(atoi(strstr(line, "] ") + 2), ++lines);
        CHECK_INT(lines, MANY);
        CHECK_INT(logstore_last_seq(s[0].logs, "both", name, 0, &seq, &err), 0);
        CHECK_INT(seq, MANY);
        free(text);
    }
    /* every entry is in one chunk */
    CHECK_INT(count(&s[0], "SELECT COUNT(*) FROM log_chunks c JOIN log_state s ON s.log_id = c.log_id"
                           " WHERE s.workflow_id = 'both' AND s.entries <> (SELECT SUM(d.end_entry - d.first_entry)"
                           " FROM log_chunks d WHERE d.log_id = c.log_id)"), 0);
    stop(&s[0]);
    stop(&s[1]);
}

/* A child appends batches of three lines without end and is killed. */
static void killed(void) {
    static const char *const names[] = { "x", "y" };
    struct service s;
    for (int round = 0; round < 3; round++) {
        int ready[2], rc, lines = 0;
        char byte;
        REQUIRE(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) {
            start(&s);
            for (uint64_t i = 1;; i += 3) {
                struct log_entry e[3] = { { T0, IO_STDOUT, "1", 1, i }, { T0, IO_STDOUT, "2", 1, i + 1 },
                                          { T0, IO_STDOUT, "3\nof 3", 6, i + 2 } };
                if (logstore_append(s.logs, "killed", names[i / 3 % 2], round, e, 3, &err) < 0 ||
                    (i == 1 + (unsigned)round * 30 && write(ready[1], "", 1) != 1))
                    _exit(1);
            }
        }
        close(ready[1]);
        CHECK(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        start(&s);
        struct log_query q = Q(NULL, round, 0, false, 0);
        char *text = read_all(&s, "killed", &q, &rc);
        for (char *line = text, *nl; (nl = strchr(line, '\n')); line = nl + 1, lines++) {
            static const char *const want[] = { "1", "2", "3", "of 3" };
            const char *words = lines % 4 == 3 ? line : strstr(line, "] ") + 2;
            CHECK(strncmp(words, want[lines % 4], strlen(want[lines % 4])) == 0);
        }
        CHECK(lines >= (round * 10 + 1) * 4);
        CHECK_INT(lines % 4, 0);
        CHECK_INT(rc, 0);
        free(text);
        CHECK_INT(count(&s, "SELECT s.bytes - SUM(octet_length(c.body)) FROM log_state s JOIN log_chunks c"
                            " ON c.log_id = s.log_id WHERE s.workflow_id = 'killed' GROUP BY s.bytes"), 0);
        stop(&s);
    }
}

/* Connections are cut while lines come that have no sequence to tell them apart. */
#define LOSSES 6
static int cut_all(db_t *db, void *ctx, osmo_error_t *e) {
    (void)ctx;
    int64_t n;
    return db_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                       " AND backend_type = 'client backend'", NULL, 0, &n, e);
}

struct lines { pthread_mutex_t m; pthread_cond_t c; int n; };

static void *cut_now_and_then(void *arg) {
    struct lines *l = arg;
    struct store_options o = { .url = url, .writers = 1 };
    osmo_error_t mine = OSMO_ERROR_INIT;
    for (int i = 1; i <= LOSSES; i++) {
        store_t *s = NULL;
        pthread_mutex_lock(&l->m);
        while (l->n < i * 20)
            pthread_cond_wait(&l->c, &l->m);
        pthread_mutex_unlock(&l->m);
        if (store_open(&o, &s, &mine) < 0 || store_write(s, NULL, cut_all, NULL, &mine) < 0)
            fprintf(stderr, "%s\n", mine.text);
        store_close(s);
    }
    return NULL;
}

static void connections_lost(void) {
    struct service s;
    pthread_t t;
    struct lines l = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    char text[32];
    int rc, lines = (LOSSES + 1) * 20;
    start(&s);
    REQUIRE(pthread_create(&t, NULL, cut_now_and_then, &l) == 0);
    for (int i = 0; i < lines; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_OK(put(&s, "lost", "t", text, 0), &err);
        pthread_mutex_lock(&l.m);
        l.n = i + 1;
        pthread_cond_broadcast(&l.c);
        pthread_mutex_unlock(&l.m);
    }
    pthread_join(t, NULL);
    char *got = read_all(&s, "lost", NULL, &rc);
    int n = 0;
    for (char *line = got, *nl; (nl = strchr(line, '\n')); line = nl + 1)
        CHECK_INT(atoi(strstr(line, "] ") + 2), n++);
    CHECK_INT(n, lines);
    free(got);
    stop(&s);
}

/* An append that is refused leaves those alone that it was written with. */
struct voice { struct service *s; const char *task; int good; atomic_int *wrong; };
static void *speak(void *arg) {
    struct voice *v = arg;
    osmo_error_t mine = OSMO_ERROR_INIT;
    for (uint64_t i = 1; i <= 60; i++) {
        struct log_entry e[2] = { { T0, IO_STDOUT, "x", 1, i }, { T0, v->good ? IO_STDERR : IO_INVALID, "y", 1, 0 } };
        *v->wrong += logstore_append(v->s->logs, "mixed", v->task, 0, e, 2, &mine) != (v->good ? 0 : OSMO_EINVAL);
    }
    return NULL;
}

static void refused_among_others(void) {
    static const char *const names[] = { "a", "b", "c", "d", "e", "bad" };
    struct service s;
    struct voice v[6];
    pthread_t t[6];
    atomic_int wrong = 0;
    int rc;
    start(&s);
    for (int i = 0; i < 6; i++) {
        v[i] = (struct voice){ &s, names[i], i < 5, &wrong };
        REQUIRE(pthread_create(&t[i], NULL, speak, &v[i]) == 0);
    }
    for (int i = 0; i < 6; i++)
        pthread_join(t[i], NULL);
    CHECK_INT(wrong, 0);
    struct log_query errors = Q(NULL, -1, 0, true, 0), bad = Q("bad", -1, 0, false, 0);
    char *text = read_all(&s, "mixed", &errors, &rc);
    CHECK_INT(strlen(text), 5 * 60 * strlen(PREFIX "[a] y\n"));
    free(text);
    EXPECT(&s, "mixed", &bad, 0, "");
    stop(&s);
}

static void large(void) {
    struct service s;
    size_t size = 3u << 20;
    char *huge = malloc(size + 1), want[64];
    static struct log_entry e[4];
    int rc;
    start(&s);
    memset(huge, 'x', size);
    huge[size] = '\0';
    e[0] = (struct log_entry){ T0, IO_DUMP, huge, 700000, 1 };
    e[1] = (struct log_entry){ T0, IO_DUMP, huge, 700000, 2 };
    e[2] = (struct log_entry){ T0, IO_DUMP, huge, size, 3 };
    e[3] = (struct log_entry){ T0, IO_DUMP, "end", 3, 4 };
    CHECK_INT(logstore_append(s.logs, "large", "t", 0, e, 4, &err), 0);
    CHECK_INT(count(&s, "SELECT COUNT(*) FROM log_chunks c JOIN log_state s ON s.log_id = c.log_id"
                        " WHERE s.workflow_id = 'large'"), 4);
    char *text = read_all(&s, "large", NULL, &rc);
    CHECK_INT(strlen(text), 2 * 700001 + size + 1 + 4);
    free(text);
    struct log_query last = Q(NULL, -1, 1, false, 0), two = Q(NULL, -1, 2, false, 0);
    EXPECT(&s, "large", &last, 0, "end\n");
    text = read_all(&s, "large", &two, &rc);
    snprintf(want, sizeof(want), "x\nend\n");
    CHECK(strlen(text) == size + 5 && strcmp(text + size - 1, want) == 0);
    free(text);
    free(huge);
    stop(&s);
}

/* Small chunks become few when the log has ended, under a reader that is somewhere in between. */
static void merged(void) {
    struct service s;
    log_reader_t *r = NULL;
    buf_t out = BUF_INIT(1 << 22), all = BUF_INIT(1 << 22);
    char text[32];
    static struct log_entry e[200];
    int rc;
    start(&s);
    for (int i = 0; i < 120; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_INT(put(&s, "small", "t", text, 0), 0);
        buf_printf(&all, PREFIX "[t] %d\n", i);
    }
    for (int i = 0; i < 200; i++) {
        e[i] = (struct log_entry){ T0, IO_DUMP, "0123456789", 10, 0 };
        buf_puts(&all, "0123456789\n");
    }
    CHECK_INT(logstore_append(s.logs, "small", "u", 0, e, 200, &err), 0);
    CHECK_OK(logstore_reader(s.logs, "small", NULL, &r, &err), &err);
    CHECK(log_reader_read(r, &out, 1000, &err) > 0);
    CHECK_INT(count(&s, "SELECT COUNT(*) FROM log_chunks c JOIN log_state s ON s.log_id = c.log_id"
                        " WHERE s.workflow_id = 'small'"), 121);
    CHECK_INT(logstore_end(s.logs, "small", &err), 0);
    CHECK_INT(count(&s, "SELECT COUNT(*) FROM log_chunks c JOIN log_state s ON s.log_id = c.log_id"
                        " WHERE s.workflow_id = 'small'"), 1);
    CHECK_INT(count(&s, "SELECT ended FROM log_state WHERE workflow_id = 'small'"), 2);
    while ((rc = log_reader_read(r, &out, 1000, &err)) > 0)
        ;
    CHECK_INT(rc, OSMO_EGONE);
    CHECK_STR(buf_cstr(&out), buf_cstr(&all));
    EXPECT(&s, "small", NULL, OSMO_EGONE, buf_cstr(&all));
    log_reader_free(r);
    buf_free(&out);
    buf_free(&all);
    stop(&s);
}

/* ---- removal ---- */

struct hold { pthread_mutex_t m; pthread_cond_t c; bool held, let_go; };

static int hold_row(db_t *db, void *ctx, osmo_error_t *e) {
    struct hold *h = ctx;
    int64_t locked; /* asked for, so that it has happened */
    int rc = db_exec(db, "UPDATE log_state SET bytes = bytes WHERE workflow_id = 'busy'", NULL, 0, &locked, e);
    pthread_mutex_lock(&h->m);
    h->held = true;
    pthread_cond_broadcast(&h->c);
    while (!h->let_go)
        pthread_cond_wait(&h->c, &h->m);
    pthread_mutex_unlock(&h->m);
    return rc;
}

static void held_done(void *ctx, int rc, const osmo_error_t *e) {
    (void)ctx;
    CHECK_OK(rc, e);
}

static void removed_while_written(void) {
    struct service a, b;
    struct hold h = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };
    start(&a);
    start(&b);
    for (int i = 0; i < 70; i++) /* more chunks than go in one transaction */
        CHECK_INT(put(&a, "busy", "t", "line", 0), 0);
    CHECK_INT(put(&a, "other", "t", "stays", 1), 0);
    CHECK_INT(store_post(a.store, "busy", hold_row, held_done, &h), 0); /* as an append of this service would */
    pthread_mutex_lock(&h.m);
    while (!h.held)
        pthread_cond_wait(&h.c, &h.m);
    pthread_mutex_unlock(&h.m);
    CHECK_INT(logstore_remove(b.logs, "busy", &err), OSMO_EBUSY);
    CHECK_CONTAINS(err.text, "busy");
    CHECK_INT(logstore_remove(b.logs, "never", &err), 0);
    pthread_mutex_lock(&h.m);
    h.let_go = true;
    pthread_cond_broadcast(&h.c);
    pthread_mutex_unlock(&h.m);
    CHECK_INT(store_write(a.store, "busy", hold_row, &h, &err), 0); /* the one before it is over */
    CHECK_INT(logstore_remove(b.logs, "busy", &err), 0);
    EXPECT(&a, "busy", NULL, 0, "");
    EXPECT(&a, "other", NULL, 0, PREFIX "[t] stays\n");
    CHECK_INT(count(&a, "SELECT COUNT(*) FROM log_state WHERE workflow_id = 'busy' OR workflow_id LIKE '!%'"), 0);
    CHECK_INT(count(&a, "SELECT COUNT(*) FROM log_chunks WHERE log_id NOT IN (SELECT log_id FROM log_state)"), 0);
    CHECK_INT(count(&a, "SELECT COUNT(*) FROM log_attempts WHERE log_id NOT IN (SELECT log_id FROM log_state)"), 0);
    stop(&a);
    stop(&b);
}

/* A reader goes on in another log of the same name: from its beginning, whatever it has read of the first. */
static void removed_and_made_again(void) {
    struct service s;
    log_reader_t *r[2] = { NULL };
    static const struct log_query task = Q("t", -1, 0, false, 0);
    buf_t out = BUF_INIT(1 << 20);
    start(&s);
    CHECK_INT(put(&s, "again", "t", "a line that is long", 7), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(logstore_reader(s.logs, "again", i ? &task : NULL, &r[i], &err), &err);
        CHECK(log_reader_read(r[i], &out, 100, &err) > 0);
    }
    CHECK_INT(logstore_remove(s.logs, "again", &err), 0);
    CHECK_INT(put(&s, "again", "u", "1", 1), 0);
    CHECK_INT(put(&s, "again", "t", "2", 1), 0);
    for (int i = 0; i < 2; i++) {
        buf_reset(&out);
        CHECK(log_reader_read(r[i], &out, 100, &err) > 0);
        CHECK_STR(buf_cstr(&out), i ? PREFIX "[t] 2\n" : PREFIX "[u] 1\n" PREFIX "[t] 2\n");
        log_reader_free(r[i]);
    }
    buf_free(&out);
    stop(&s);
}

static int script(db_t *db, void *sql, osmo_error_t *e) { return db_exec(db, sql, NULL, 0, NULL, e); }

/* Where punctuation counts for nothing when names are compared, as in many languages. */
static void removed_in_any_language(void) {
    struct service s;
    start(&s);
    static const char make[] = "CREATE COLLATION words_only (provider = icu, locale = 'und-u-ka-shifted')";
    if (store_write(s.store, NULL, script, (void *)make, &err) == 0) { /* of a server that knows languages */
        CHECK_OK(store_write(s.store, NULL, script, (void *)"ALTER TABLE log_state ALTER COLUMN workflow_id TYPE TEXT COLLATE"
                                                            " words_only", &err), &err);
        CHECK_INT(put(&s, "w-1", "t", "line", 1), 0);
        CHECK_INT(logstore_remove(s.logs, "w-1", &err), 0);
        CHECK_INT(count(&s, "SELECT COUNT(*) FROM log_state WHERE workflow_id LIKE '!%'"), 0);
        CHECK_OK(store_write(s.store, NULL, script, (void *)"ALTER TABLE log_state ALTER COLUMN workflow_id TYPE TEXT COLLATE"
                                                            " \"default\"", &err), &err);
        CHECK_OK(store_write(s.store, NULL, script, (void *)"DROP COLLATION words_only", &err), &err);
    }
    stop(&s);
}

static void on_chunks(void (*test)(void)) {
    if (!url)
        url = pgsql_fixture_url();
    if (url)
        test();
}
#define ON_CHUNKS(test) static void test##_(void) { on_chunks(test); }
ON_CHUNKS(one_reads_the_other) ON_CHUNKS(the_same_lines_at_once) ON_CHUNKS(killed) ON_CHUNKS(connections_lost)
ON_CHUNKS(refused_among_others) ON_CHUNKS(large) ON_CHUNKS(merged) ON_CHUNKS(removed_while_written) ON_CHUNKS(removed_and_made_again)
ON_CHUNKS(removed_in_any_language)

static void clean_up(void) {
    free(url);
    url = NULL;
}

static const struct check_test tests[] = {
    { "one service reads the other", one_reads_the_other_ },
    { "the same lines through two services at once", the_same_lines_at_once_ },
    { "a service is killed", killed_ },
    { "connections are lost", connections_lost_ },
    { "a refused append among others", refused_among_others_ },
    { "large entries", large_ },
    { "merged after the end", merged_ },
    { "removed while written", removed_while_written_ },
    { "removed and made again", removed_and_made_again_ },
    { "removed in any language", removed_in_any_language_ },
    { "cleaning up", clean_up },
};
TEST_MAIN("logstore_shared", tests)
